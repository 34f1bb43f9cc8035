"""Import of the released ExPose weights that a user owns: checkpoint and SMPL-X file to a bundle that predicts.

Only names, shapes and the meaning of arrays are known here; no code or text of the original is used. The result is a
copy of the user's own files in another format and stays under their licence.
"""

import contextlib
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from openexpose.body.model import load_body_model
from openexpose.errors import InputError
from openexpose.formats.atomic import check_writable
from openexpose.nets.paper import RELEASED_PARTS, build_paper_part
from openexpose.nets.part import PartNet
from openexpose.nets.part_export import export_plain_part, write_bundle
from openexpose.nets.resnet import ConvTrunk, load_trunk_weights, read_trunk_file
from openexpose.predict.bundle import BundleConfig, default_bundle
from openexpose.predict.parts import RECIPES

_PREFIX = {"body": "smplx.", "hand": "smplx.hand_predictor.", "face": "smplx.head_predictor."}
_MODEL = "smplx.body_model."
_BUFFERS = {
    "v_template": "v_template",
    "posedirs": "posedirs",
    "J_regressor": "J_regressor",
    "lbs_weights": "weights",
    "faces_tensor": "f",
    "lmk_faces_idx": "lmk_faces_idx",
    "lmk_bary_coords": "lmk_bary_coords",
    "dynamic_lmk_faces_idx": "dynamic_lmk_faces_idx",
    "dynamic_lmk_bary_coords": "dynamic_lmk_bary_coords",
    "dynamic_lmk_b_coords": "dynamic_lmk_bary_coords",
}
"""Body-model buffers of a checkpoint and the keys of an SMPL-X file that they replace."""
_COLUMNS = {False: 10, True: 300}
"""Where an SMPL-X file's expression directions begin: in narrow files (SMPL-X 1.0), and in those of 400 columns."""
_EXTRAS = (
    *(f"smplx.{name}" for name in ("backbone.stage4.", "keyp_loss.", "body_loss.", "hand_loss.", "head_loss.")),
    *("smplx.body_model.", "smplx.hand_cropper.", "smplx.head_cropper.", "smplx.points_to_crops."),
    *(f"smplx.hand_predictor.{name}" for name in ("hand_offset", "hand_model.", "pca_decoder.", "global_orient_mean")),
    *(f"smplx.head_predictor.{name}" for name in ("head_offset", "head_vertices_ids", "head_model.")),
)
"""First words of names that are in released checkpoints and not needed: a stage that is never run, indices of losses,
body, hand and head models, sampling grids."""
_EXTRA_WORDS = ("_idxs", "_mean", "_kin_chain", "_decoder.mean", "num_batches_tracked")
"""Last words of such names: index lists, means that also lie in ``mean_param``, chains of joints."""

BodyBuffers = Literal["file", "checkpoint"]


@dataclass(frozen=True)
class Released:
    """The networks of a released checkpoint and the body-model arrays it carries."""

    parts: dict[str, PartNet]
    buffers: dict[str, Tensor]
    """By their names in the checkpoint, without prefix."""
    surplus: tuple[str, ...]
    """Arrays that nobody knows: not used."""


def read_released(checkpoint: Path) -> Released:
    """Build the paper's networks from a released checkpoint. Nothing in the file is executed.

    Raises:
        InputError: the file is missing, damaged, holds more than weights, or lacks arrays of the networks, or has them
            in other shapes: they are named.
    """
    state = read_trunk_file(checkpoint)
    parts = {part: build_paper_part(part) for part in RECIPES["paper"]}
    needed = {part: _regressor_names(_PREFIX[part]) for part in parts}
    used: set[str] = set()
    faults: list[str] = []
    for part, net in parts.items():
        prefix = f"{_PREFIX[part]}backbone."
        names = [name for name in state if name.startswith(prefix)]
        used.update(names, needed[part])
        try:
            _load_trunk(net.trunk, {name.removeprefix(prefix): state[name] for name in names})
        except InputError as error:
            faults.append(f"{prefix}*: {error.got}")
        missing = [name for name in needed[part] if name not in state]
        if missing:
            faults.append(f"without {', '.join(missing)}")
            continue
        try:
            _load_regressor(net, state, _PREFIX[part])
        except (RuntimeError, IndexError) as error:
            faults.append(f"{_PREFIX[part]}regressor.*: {' '.join(str(error).split())[:300]}")
    infinite = [name for name in state if name in used and not torch.isfinite(state[name]).all()]
    if infinite:
        faults.append(f"with NaN or infinity in {', '.join(infinite[:10])}")
    if faults:
        raise InputError(f"'{checkpoint}', {'; '.join(faults)}", "the released network's checkpoint (model.ckpt)")
    buffers = {name.removeprefix(_MODEL): state[name] for name in state if name.startswith(_MODEL)}
    surplus = [n for n in state if n not in used and not n.startswith(_EXTRAS) and not n.endswith(_EXTRA_WORDS)]
    return Released({part: net.eval() for part, net in parts.items()}, buffers, tuple(surplus))


def _load_trunk(trunk: torch.nn.Module, state: Mapping[str, Tensor]) -> None:
    if isinstance(trunk, ConvTrunk):
        load_trunk_weights(trunk, state)


def _regressor_names(prefix: str) -> list[str]:
    layers = ("layer_000.0", "layer_001.0", "output_layer")
    linear = [f"{prefix}regressor.module.{layer}.{kind}" for layer in layers for kind in ("weight", "bias")]
    return [f"{prefix}regressor.mean_param", *linear]


def _load_regressor(net: PartNet, state: Mapping[str, Tensor], prefix: str) -> None:
    """The released regressor's first layer reads feature and parameters side by side: ours in two matrices."""
    mean, weight, bias, *rest = (state[name].float() for name in _regressor_names(prefix))
    size = len(net.regressor.evidence.mean)
    ours = dict(zip(("mlp.3.weight", "mlp.3.bias", "output_layer.weight", "output_layer.bias"), rest, strict=True))
    ours |= {"mean": mean.flatten(), "read.weight": weight[:, :size], "read.bias": bias}
    ours |= {"state.weight": weight[:, size:]}
    ours |= {f"evidence.{name}": value for name, value in net.regressor.evidence.state_dict().items()}
    net.regressor.load_state_dict(ours, strict=True)


def merged_body_model(file: Path, buffers: Mapping[str, Tensor], source: BodyBuffers) -> dict[str, np.ndarray]:
    """Arrays of the SMPL-X file; with ``checkpoint`` those that the checkpoint carries, too, replace the file's.

    The released weights were trained with SMPL-X 1.0, whose arrays they carry; the file of today's download is 1.1.

    Raises:
        InputError: the file is no SMPL-X model, or not of the checkpoint's topology.
    """
    load_body_model(file, num_betas=10, num_expression=10)
    arrays = _number_arrays(file)
    if source == "file":
        return arrays
    for name, key in _BUFFERS.items():
        if name not in buffers:
            continue
        value = buffers[name].numpy()
        if name == "posedirs" and value.ndim == 2:
            value = value.T.reshape(-1, 3, value.shape[0])
        _check_shape(file, key, arrays, value)
        arrays[key] = value.astype(arrays[key].dtype)
    arrays["shapedirs"] = arrays["shapedirs"].copy()
    for name, column in (("shapedirs", 0), ("expr_dirs", _COLUMNS[arrays["shapedirs"].shape[-1] >= 400])):
        if name in buffers:
            value = buffers[name].numpy()
            _check_shape(file, "shapedirs", {"shapedirs": arrays["shapedirs"][..., : value.shape[-1]]}, value)
            arrays["shapedirs"][..., column : column + value.shape[-1]] = value
    return arrays


def _number_arrays(file: Path) -> dict[str, np.ndarray]:
    """The arrays of numbers in an npz file, floats in single precision. Others are passed over, pickles unread: the
    official body models hold tables of names as pickles, which nothing here needs."""
    arrays = {}
    with np.load(file, allow_pickle=False) as content:
        for name in content.files:
            with contextlib.suppress(ValueError):  # what numpy raises for a pickle
                value = content[name]
                if value.dtype.kind in "fiu":
                    arrays[name] = value.astype(np.float32) if value.dtype.kind == "f" else value
    return arrays


def _check_shape(file: Path, key: str, arrays: Mapping[str, np.ndarray], value: np.ndarray) -> None:
    if key not in arrays or arrays[key].shape != value.shape:
        mine = arrays[key].shape if key in arrays else "none"
        expected = (
            f"shape {value.shape}, as in the checkpoint: the SMPL-X model (10,475 vertices) that the weights are for"
        )
        raise InputError(f"'{file}' with '{key}' of shape {mine}", expected)


def import_expose(
    source: Path, body_model: Path, out: Path, body_buffers: BodyBuffers = "checkpoint"
) -> tuple[str, ...]:
    """Make a bundle of released weights.

    Args:
        source: the released ``data`` folder, its zip, or the checkpoint itself.
        body_model: the user's ``SMPLX_NEUTRAL.npz``.
        out: bundle folder to write.
        body_buffers: whose body-model arrays count where the checkpoint carries some: its own, as in the original
            program, or the file's.

    Returns:
        Names of arrays in the checkpoint that nobody knows.

    Raises:
        InputError: something is missing, damaged, or of another network or body model; nothing is then written.
    """
    check_writable(out)
    with _checkpoint_in(source) as checkpoint:
        released = read_released(checkpoint)
        arrays = merged_body_model(body_model, released.buffers, body_buffers)
    origin = "released ExPose weights, owned by the user; their authors' licence: non-commercial, not to be passed on"
    provenance = {f"{part}_{kind}.onnx": origin for part in released.parts for kind in ("trunk", "head")}
    provenance["body_model.npz"] = f"SMPL-X, owned by the user, under its own licence; arrays from the {body_buffers}"
    provenance["detector.onnx"] = BundleConfig.read(default_bundle()).provenance["detector.onnx"]

    def fill(folder: Path) -> None:
        for part, net in released.parts.items():
            export_plain_part(net, RELEASED_PARTS[part].size, folder, origin)
        save_body_model(folder / "body_model.npz", arrays)
        shutil.copyfile(default_bundle() / "detector.onnx", folder / "detector.onnx")

    config = BundleConfig(
        "expose", "body_model.npz", RELEASED_PARTS, "detector.onnx", provenance, recipe="paper", weak_camera=True
    )
    write_bundle(out, config, {part: net.regressor.mean for part, net in released.parts.items()}, fill)
    return released.surplus


def save_body_model(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write the arrays of a body model as an npz file."""
    np.savez(path, **arrays)


@contextlib.contextmanager
def _checkpoint_in(source: Path) -> Iterator[Path]:
    """The checkpoint of a released ``data`` folder, of its zip, or the file itself."""
    expected = "the released data folder (with checkpoints/model.ckpt), its zip, or the .ckpt file"
    if source.is_dir():
        yield _found([path for path in source.rglob("*.ckpt")], source, expected)
    elif names := _checkpoints_in_zip(source):
        with zipfile.ZipFile(source) as archive, tempfile.TemporaryDirectory() as folder:
            inside = _found([Path(name) for name in names], source, expected)
            target = Path(folder) / "model.ckpt"
            try:
                with archive.open(inside.as_posix()) as stream, target.open("wb") as file:
                    shutil.copyfileobj(stream, file)
            except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError) as error:
                raise InputError(f"'{source}', whose {inside} cannot be unpacked ({error})", expected) from None
            yield target
    elif source.is_file():
        yield source
    else:
        raise InputError(f"'{source}', which does not exist", expected)


def _checkpoints_in_zip(source: Path) -> list[str]:
    """Names of the checkpoints in a zip file. A checkpoint itself is a zip, too: without any in it."""
    try:
        with zipfile.ZipFile(source) as archive:
            return [name for name in archive.namelist() if name.endswith(".ckpt")]
    except (zipfile.BadZipFile, OSError):
        return []


def _found(paths: list[Path], source: Path, expected: str) -> Path:
    """The one checkpoint; of several, ``model.ckpt``."""
    named = [path for path in paths if path.name == "model.ckpt"] or paths
    if len(named) != 1:
        raise InputError(f"'{source}' with {len(named)} checkpoints", expected, "Name the .ckpt file itself.")
    return named[0]
