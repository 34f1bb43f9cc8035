"""The losses of the default recipe: means over everything that the synthetic labels know (after paper, eq. 6)."""

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
    betas: float = 0.02
    expression: float = 0.0
    camera: float = 0.05


def rotation_loss(predicted: Float[Tensor, "n j 3 3"], target: Float[Tensor, "n j 3 3"]) -> Float[Tensor, ""]:
    """Squared Frobenius distance of rotation matrices, mean over joints and samples."""
    return ((predicted - target) ** 2).sum((-1, -2)).mean()


def weighted_l1(
    predicted: Float[Tensor, "n k d"], target: Float[Tensor, "n k d"], weight: Float[Tensor, "n k"]
) -> Float[Tensor, ""]:
    """Weighted mean over points of the L1 distance between points."""
    return ((predicted - target).abs().sum(-1) * weight).sum() / weight.sum().clamp_min(1e-6)


def coefficient_loss(predicted: Float[Tensor, "n c"], target: Float[Tensor, "n c"]) -> Float[Tensor, ""]:
    """Mean squared error of shape or expression coefficients."""
    return ((predicted - target) ** 2).mean()


def part_loss(
    answer: Decoded,
    points: Float[Tensor, "n k 3"],
    target: PartTarget,
    slots: list[int],
    importance: Float[Tensor, "k"],
    weights: LossWeights,
) -> dict[str, Float[Tensor, ""]]:
    """All terms of one regressor stage, weighted; their sum is the loss.

    Args:
        answer: decoded parameters.
        points: keypoints of the posed body layer from the part's root, metres.
        slots: pose slots that the part predicts.
        importance: weight of each keypoint.
    """
    projected = project_weak(points, answer.camera)
    seen = (0.1 + 0.9 * target.visible) * importance
    return {
        "rotation": weights.rotation * rotation_loss(answer.pose[:, slots], target.pose[:, slots]),
        "points": weights.points * weighted_l1(points, target.points, importance.expand_as(target.visible)),
        "projected": weights.projected * weighted_l1(projected, target.projected.clamp(-3, 3), seen),
        "betas": weights.betas * coefficient_loss(answer.betas, target.betas),
        "expression": weights.expression * coefficient_loss(answer.expression, target.expression),
        "camera": weights.camera * (torch.log(answer.camera[:, 0]) - torch.log(target.camera[:, 0])).abs().mean(),
    }
