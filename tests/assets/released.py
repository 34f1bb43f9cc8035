"""A made-up checkpoint with the released names, for the networks of tiny_paper.py, and what they compute, in numpy."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tests.body.toy import toy_arrays
from tests.nets.tiny_paper import FEATURES
from torch import Tensor

from openexpose.predict.parts import RECIPES

PREFIX = {"body": "smplx.", "hand": "smplx.hand_predictor.", "face": "smplx.head_predictor."}
HIDDEN = 8
VERTICES = 9930  # of the toy body model


def released_state(seed: int = 0) -> dict[str, Tensor]:
    """Weights by the names of the released file, with the extras that users of that file report."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int, scale: float = 0.3) -> Tensor:
        return scale * torch.randn(*shape, generator=generator)

    state: dict[str, Tensor] = {}
    for part, prefix in PREFIX.items():
        feature, size = FEATURES[part], RECIPES["paper"][part].size
        state[f"{prefix}backbone.conv1.weight"] = normal(feature, 3, 4, 4)
        for name in ("weight", "bias", "running_mean"):
            state[f"{prefix}backbone.bn1.{name}"] = normal(feature)
        state[f"{prefix}backbone.bn1.running_var"] = 1.0 + torch.rand(feature, generator=generator)
        if part != "body":  # frozen normalisations have no counter
            state[f"{prefix}backbone.bn1.num_batches_tracked"] = torch.tensor(4)
        state[f"{prefix}regressor.mean_param"] = normal(1, size)
        for layer, rows, columns in (
            ("layer_000.0", HIDDEN, feature + size), ("layer_001.0", HIDDEN, HIDDEN), ("output_layer", size, HIDDEN),
        ):  # fmt: skip
            state[f"{prefix}regressor.module.{layer}.weight"] = normal(rows, columns)
            state[f"{prefix}regressor.module.{layer}.bias"] = normal(rows)
    return state | extras()


def extras() -> dict[str, Tensor]:
    """Of no use to the import, and no reason to tell the user anything."""
    names = (
        "smplx.global_orient_idxs smplx.camera_mean smplx.left_wrist_kin_chain smplx.jaw_pose_decoder.mean "
        "smplx.abs_pose_mean smplx.keyp_loss.body_idxs smplx.head_loss.head_idxs smplx.hand_cropper.grid "
        "smplx.hand_predictor.wrist_pose_mean smplx.hand_predictor.hand_offset smplx.points_to_crops.shift "
        "smplx.hand_predictor.hand_model.v_template smplx.hand_predictor.pca_decoder.pca_components "
        "smplx.hand_predictor.global_orient_mean smplx.head_predictor.head_model.lmk_bary_coords "
        "smplx.head_predictor.head_vertices_ids smplx.head_predictor.shape_mean smplx.head_predictor.head_offset "
        "smplx.body_model.source_idxs smplx.body_model.target_idxs smplx.body_model.extra_joint_regressor"
    )
    return {name: torch.zeros(2) for name in names.split()}


def body_buffers() -> dict[str, Tensor]:
    """Body-model arrays as the checkpoint carries them: every one differs from the file's; landmarks by an old name."""
    arrays, buffers = toy_arrays(), {}
    buffers["v_template"] = torch.from_numpy(arrays["v_template"]).float() + 1.0
    buffers["shapedirs"] = torch.full((VERTICES, 3, 10), 500.0) + torch.arange(10.0)
    buffers["expr_dirs"] = torch.full((VERTICES, 3, 10), 700.0) + torch.arange(10.0)
    buffers["posedirs"] = torch.zeros(486, 3 * VERTICES)
    buffers["posedirs"][17, 3 * 8 + 2] = 0.75  # vertex 8, z
    buffers["J_regressor"] = torch.from_numpy(arrays["J_regressor"]).float().flip(0)
    buffers["lbs_weights"] = torch.from_numpy(arrays["weights"]).roll(1, 1)
    buffers["faces_tensor"] = torch.from_numpy(arrays["f"].astype(np.int64)).flip(0)
    buffers["parents"] = torch.arange(55)
    for name in ("lmk_faces_idx", "lmk_bary_coords", "dynamic_lmk_faces_idx"):
        buffers[name] = torch.from_numpy(arrays[name]).flip(0)
    buffers["dynamic_lmk_b_coords"] = torch.from_numpy(arrays["dynamic_lmk_bary_coords"]).float().flip(0)
    return {f"smplx.body_model.{name}": value for name, value in buffers.items()}


STATE = released_state()
"""Without the body model, which weighs more than the rest: :func:`body_buffers`."""


def save(path: Path, state: dict[str, Tensor] | None = None, **more: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"model": STATE if state is None else state, "iteration": 7, **more}, path)
    return path


@dataclass(frozen=True)
class Naive:
    """A part network in numpy, straight from the released arrays: feature and parameters side by side, three times."""

    part: str

    def weights(self, name: str) -> np.ndarray:
        return STATE[f"{PREFIX[self.part]}{name}"].numpy().astype(float)

    def feature(self, image: np.ndarray) -> np.ndarray:
        normal = (image - np.array([0.485, 0.456, 0.406])[:, None, None]) / np.array([0.229, 0.224, 0.225])[
            :, None, None
        ]
        side = image.shape[-1] // 4
        blocks = normal.reshape(-1, 3, side, 4, side, 4)
        maps = np.einsum("ncyixj,fcij->nfyx", blocks, self.weights("backbone.conv1.weight"))
        w, b, m, v = (
            self.weights(f"backbone.bn1.{k}")[:, None, None] for k in ("weight", "bias", "running_mean", "running_var")
        )
        return np.maximum((maps - m) / np.sqrt(v + 1e-5) * w + b, 0.0).mean((2, 3))

    def parameters(self, feature: np.ndarray, start: np.ndarray | None) -> list[np.ndarray]:
        mean = np.repeat(self.weights("regressor.mean_param"), len(feature), 0)
        vector, stages = mean if start is None else start, []
        for _ in range(3):
            x = np.concatenate([feature, vector], 1)
            for layer in ("layer_000.0", "layer_001.0"):
                x = x @ self.weights(f"regressor.module.{layer}.weight").T + self.weights(
                    f"regressor.module.{layer}.bias"
                )
                x = x if self.part == "body" else np.maximum(x, 0.0)
            head = "regressor.module.output_layer"
            vector = vector + x @ self.weights(f"{head}.weight").T + self.weights(f"{head}.bias")
            stages.append(vector)
        return stages
