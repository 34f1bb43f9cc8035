"""The losses of the default recipe: means over everything that the labels know (after paper, eq. 6)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from openexpose.losses.target import PartTarget
from openexpose.nets.decode import Decoded, project_weak


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms."""

    rotation: float = 1.0
    points: float = 5.0
    """Per metre of 3D error: about 5 for a body, 40 for a hand or face."""
    projected: float = 8.0
    betas: float = 0.03
    """Per millimetre that wrong betas move the skin."""
    expression: float = 0.0
    """Per millimetre that a wrong expression moves the face."""
    camera: float = 0.05


@dataclass(frozen=True)
class SkinMotion:
    """How coefficients move the skin: ``difference @ factor`` has as its length the root mean square, over the vertices
    of a region, of how far they move (millimetres). See :func:`skin_factor`."""

    betas: Float[Tensor, "b b"]
    expression: Float[Tensor, "e e"]


def skin_factor(directions: Float[Tensor, "v 3 c"]) -> Float[Tensor, "c c"]:
    """The factor of :class:`SkinMotion` from the region's directions (metres per unit of each coefficient)."""
    flat = 1000.0 * directions.double().flatten(0, 1)
    values, vectors = torch.linalg.eigh(flat.T @ flat / len(directions))
    return (vectors * values.clamp_min(0).sqrt()).to(directions.dtype)


def rotation_loss(
    predicted: Float[Tensor, "n j 3 3"], target: Float[Tensor, "n j 3 3"], weight: Float[Tensor, "n j"] | None = None
) -> Float[Tensor, ""]:
    """Squared Frobenius distance of rotation matrices, (weighted) mean over joints and samples."""
    return _mean(((predicted - target) ** 2).sum((-1, -2)), weight)


def _mean(values: Tensor, weight: Tensor | None) -> Float[Tensor, ""]:
    """The weighted mean; 0 where all weights are 0."""
    return values.mean() if weight is None else (values * weight).sum() / weight.sum().clamp_min(1e-6)


def weighted_l1(
    predicted: Float[Tensor, "n k d"], target: Float[Tensor, "n k d"], weight: Float[Tensor, "n k"]
) -> Float[Tensor, ""]:
    """Weighted mean over points of the L1 distance between points."""
    return _mean((predicted - target).abs().sum(-1), weight)


_NO_KINK_MM2 = 1e-4


def coefficient_loss(
    predicted: Float[Tensor, "n c"],
    target: Float[Tensor, "n c"],
    factor: Float[Tensor, "c c"],
    weight: Float[Tensor, "n"] | None = None,
) -> Float[Tensor, ""]:
    """How far wrong shape or expression coefficients move the skin: (weighted) mean over samples, mm (see
    :class:`SkinMotion`).

    Coefficients count by what they do: a plain mean squared error cares as much for those that move nothing.
    """
    squared = ((predicted - target) @ factor).square().sum(1)
    return _mean((squared + _NO_KINK_MM2).sqrt() - _NO_KINK_MM2**0.5, weight)


def part_loss(
    answer: Decoded,
    points: Float[Tensor, "n k 3"],
    target: PartTarget,
    slots: list[int],
    importance: Float[Tensor, "k"],
    weights: LossWeights,
    skin: SkinMotion,
) -> dict[str, Float[Tensor, ""]]:
    """All terms of one regressor stage, weighted; their sum is the loss. What the target does not know counts nothing.

    Args:
        answer: decoded parameters.
        points: keypoints of the posed body layer from the part's root, metres.
        slots: pose slots that the part predicts.
        importance: weight of each keypoint.
        weights: of the terms.
        skin: what the coefficients do; rests of one where the part has no expression.
    """
    projected = project_weak(points, answer.camera)
    known = importance.expand_as(target.visible)
    if target.points_weight is not None:
        known = known * target.points_weight
    seen = (0.1 + 0.9 * target.visible) * known
    turned = None if target.pose_weight is None else target.pose_weight[:, slots]
    shape = coefficient_loss(answer.betas, target.betas, skin.betas, target.betas_weight)
    face = coefficient_loss(answer.expression, target.expression, skin.expression, target.expression_weight)
    return {
        "rotation": weights.rotation * rotation_loss(answer.pose[:, slots], target.pose[:, slots], turned),
        "points": weights.points * weighted_l1(points, target.points, known),
        "projected": weights.projected * weighted_l1(projected, target.projected.clamp(-3, 3), seen),
        "betas": weights.betas * shape,
        "expression": weights.expression * face,
        "camera": weights.camera * (torch.log(answer.camera[:, 0]) - torch.log(target.camera[:, 0])).abs().mean(),
    }
