"""How wrong a part's answers are: joints in 3D and 2D, rotations, and wrong coefficients in millimetres of skin."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from openexpose.body.keypoints import PARTS
from openexpose.body.model import BodyModel
from openexpose.geometry.procrustes import align_similarity
from openexpose.losses import PartTarget, SkinMotion, skin_factor
from openexpose.nets.body_layer import BodyLayer
from openexpose.nets.decode import Decoded, decode, project_weak
from openexpose.predict.parts import PartSpec

Array = np.ndarray

_HAND_JOINTS, _HEAD_JOINTS = (21, *range(40, 55)), (15, 22, 23, 24)
_MOVED_M = 1e-4


def skin_motion(model: BodyModel, spec: PartSpec) -> SkinMotion:
    """What shape coefficients do to the skin of the part, counted from its root, and expression coefficients to what
    they move at all. Of a body it counts what is left after the best overall scale: how tall somebody is cannot be seen
    in a crop, and in millimetres it would outweigh thin and fat."""
    region = {"body": None, "hand": _HAND_JOINTS, "face": _HEAD_JOINTS}[spec.name]
    rows = slice(None) if region is None else np.isin(model.weights.argmax(1), region)
    moved = np.abs(model.expression_dirs).max((1, 2)) > _MOVED_M
    shape = model.shape_dirs[rows] - model.joint_shape_dirs[spec.root_joint]
    if spec.name == "body":
        shape = _without_growth(model.shape_dirs, model.v_template)
    factors = (skin_factor(torch.tensor(d)) for d in (shape, model.expression_dirs[moved]))
    return SkinMotion(*factors)


def _without_growth(directions: Float[Array, "v 3 c"], template: Float[Array, "v 3"]) -> Float[Array, "v 3 c"]:
    """Directions about their mean, without their share of the template's growing as a whole."""
    centred, growth = directions - directions.mean(0), template - template.mean(0)
    share = np.einsum("vdc,vd->c", centred, growth) / np.square(growth).sum()
    return centred - growth[..., None] * share


def importance(spec: PartSpec) -> Float[Tensor, "k"]:
    """Weight of each keypoint of a part: in a body the many hand and face points count little."""
    weight = torch.ones(len(spec.keypoints))
    if spec.name == "body":
        weight[:] = 0.1
        weight[torch.as_tensor(PARTS["body"])] = 1.0
    return weight


def posed_points(answer: Decoded, spec: PartSpec, layer: BodyLayer) -> Float[Tensor, "n k 3"]:
    """The part's keypoints from its root, metres."""
    points = layer.keypoints(answer.pose, answer.betas, answer.expression)
    return points[:, list(spec.keypoints)] - points[:, spec.root_joint, None]


@torch.no_grad()
def part_errors(
    vector: Float[Tensor, "n size"],
    mean: Float[Tensor, "size"],
    target: PartTarget,
    spec: PartSpec,
    layer: BodyLayer,
    skin: SkinMotion,
) -> dict[str, float]:
    """Errors of answers, by name.

    ``mpjpe_mm`` from the part's root, ``mean_pose_mpjpe_mm`` of the mean vector instead, ``pa_mpjpe_mm`` after the best
    similarity; ``error_2d_percent`` of the crop's side; ``root_deg``, ``joints_deg``; ``shape_mm`` and
    ``expression_mm``: how far wrong coefficients move the skin (root mean square over vertices, mean over samples),
    ``no_shape_mm`` and ``no_expression_mm`` of coefficients of zero instead.

    Args:
        vector: answers.
        mean: the mean parameter vector.
        target: the truth.
        spec: the part.
        layer: the body.
        skin: what coefficients do.
    """
    answer = decode(vector, spec)
    points, plain = (posed_points(a, spec, layer) for a in (answer, decode(mean.expand(len(vector), -1), spec)))
    main = (importance(spec) == 1.0).to(points.device)
    flat = (project_weak(points, answer.camera) - target.projected).norm(dim=-1)[:, main]
    slots = list(spec.pose_slots)
    relative = answer.pose[:, slots].transpose(-1, -2) @ target.pose[:, slots]
    cosine = ((relative.diagonal(dim1=-2, dim2=-1).sum(-1) - 1.0) / 2.0).clamp(-1.0, 1.0)
    angle = torch.rad2deg(torch.arccos(cosine))
    errors = {
        "n": float(len(vector)),
        "mpjpe_mm": _mean_distance_mm(points[:, main], target.points[:, main]),
        "mean_pose_mpjpe_mm": _mean_distance_mm(plain[:, main], target.points[:, main]),
        "pa_mpjpe_mm": _aligned_distance_mm(points[:, main], target.points[:, main]),
        "error_2d_percent": float(50 * flat[target.visible[:, main] > 0].mean()),
        "root_deg": float(angle[:, 0].mean()),
        "joints_deg": float(angle[:, 1:].mean()),
        "shape_mm": _skin_mm(answer.betas - target.betas, skin.betas),
        "no_shape_mm": _skin_mm(target.betas, skin.betas),
    }
    if spec.num_expression:
        errors["expression_mm"] = _skin_mm(answer.expression - target.expression, skin.expression)
        errors["no_expression_mm"] = _skin_mm(target.expression, skin.expression)
    return errors


def _mean_distance_mm(points: Tensor, truth: Tensor) -> float:
    return float(1000 * (points - truth).norm(dim=-1).mean())


def _aligned_distance_mm(points: Tensor, truth: Tensor) -> float:
    """After the best similarity."""
    exact = truth.cpu().double().numpy()
    return float(1000 * np.linalg.norm(align_similarity(points.cpu().double().numpy(), exact) - exact, axis=-1).mean())


def _skin_mm(difference: Float[Tensor, "n c"], factor: Float[Tensor, "c c"]) -> float:
    return float((difference @ factor).norm(dim=1).mean())
