"""The paper's losses as sums and counts: each a pure function that says what it added up and what to divide by.

Sums and counts of several batches add up to those of all of them, so that processes that each see a share of the
samples can take the exact loss of all: sum of totals over sum of counts.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

Count = Literal["batch", "pairs"]
CLAMP = 1e-7
"""How near to +-1 the cosine of an angle may come: there the derivative of the arc cosine is infinite."""


@dataclass(frozen=True)
class Term:
    """A loss before its division."""

    total: Float[Tensor, ""]
    """Weighted sum of errors."""
    count: Float[Tensor, ""]
    """What the sum is to be divided by; carries no gradient."""

    @property
    def value(self) -> Float[Tensor, ""]:
        """The loss: total over count; 0 where nothing was counted."""
        return self.total / self.count.clamp_min(1e-6)

    def scaled(self, weight: float) -> "Term":
        """The term with ``weight`` multiplied into its total."""
        return Term(weight * self.total, self.count)

    def __add__(self, other: "Term") -> "Term":
        """The term of both terms' samples together."""
        return Term(self.total + other.total, self.count + other.count)


def l1_2d(predicted: Float[Tensor, "n k 2"], target: Float[Tensor, "n k 2"], weight: Float[Tensor, "n k"]) -> Term:
    """L1 of projected points: sum over points and x, y, divided by the batch.

    A confidence above 0 counts as 1 (the released code binarises).
    """
    error = (predicted - target).abs().sum(-1)
    return Term((error * (weight > 0)).sum(), _batch(predicted))


def l1_3d_hip_centred(
    predicted: Float[Tensor, "n k 3"],
    target: Float[Tensor, "n k 3"],
    weight: Float[Tensor, "n k"],
    left_hip: int,
    right_hip: int,
    chosen: list[int] | None = None,
) -> Term:
    """L1 of 3D points, both sides counted from the middle of their own hips: weighted sum, divided by the batch.

    Args:
        predicted, target: metres, any origin each.
        weight: 0 where a point is not known; a sample without both hips adds nothing to the sum.
        left_hip, right_hip: where the hips lie among the k points.
        chosen: the points that count; None: all.
    """
    return _l1_3d(predicted, target, weight, [left_hip, right_hip], chosen)


def l1_3d_root(
    predicted: Float[Tensor, "n k 3"],
    target: Float[Tensor, "n k 3"],
    weight: Float[Tensor, "n k"],
    root: int,
    chosen: list[int] | None = None,
) -> Term:
    """The same counted from the point ``root``: the wrist of a hand."""
    return _l1_3d(predicted, target, weight, [root], chosen)


def _l1_3d(predicted: Tensor, target: Tensor, weight: Tensor, origin: list[int], chosen: list[int] | None) -> Term:
    known = weight * (weight[:, origin] > 0).all(1, keepdim=True)
    moved = [points - points[:, origin].mean(1, keepdim=True) for points in (predicted, target)]
    error = (moved[0] - moved[1]).abs().sum(-1) * known
    return Term((error if chosen is None else error[:, chosen]).sum(), _batch(predicted))


def geodesic(
    predicted: Float[Tensor, "n j 3 3"],
    target: Float[Tensor, "n j 3 3"],
    weight: Float[Tensor, "n j"],
    count: Count = "batch",
) -> Term:
    """Angle (radians) between rotations: weighted sum over joints and samples.

    The cosine is kept ``CLAMP`` away from +-1, so the gradient is finite everywhere and 0 at equality; equal rotations
    cost the arc cosine of the clamp, less than 0.0005 rad each.

    Args:
        count: divide by the ``batch``, or by the ``pairs`` of sample and joint whose weight is above 0.
    """
    cosine = ((predicted * target).sum((-1, -2)) - 1.0) / 2.0
    angle = torch.arccos(cosine.clamp(-1.0 + CLAMP, 1.0 - CLAMP))
    return Term((angle * weight).sum(), _count(predicted, weight, count))


def rotation_l2(
    predicted: Float[Tensor, "n j 3 3"],
    target: Float[Tensor, "n j 3 3"],
    weight: Float[Tensor, "n j"],
    count: Count = "batch",
) -> Term:
    """Squared Frobenius distance of rotations, the form of the paper's text; counted as in :func:`geodesic`."""
    error = ((predicted - target) ** 2).sum((-1, -2))
    return Term((error * weight).sum(), _count(predicted, weight, count))


def l2(predicted: Float[Tensor, "n c"], target: Float[Tensor, "n d"], weight: Float[Tensor, "n"]) -> Term:
    """Squared L2 distance of coefficients: weighted sum, divided by the batch.

    Where the lengths differ, the coefficients that both sides have are compared: the first min(c, d).
    """
    common = min(predicted.shape[1], target.shape[1])
    error = ((predicted[:, :common] - target[:, :common]) ** 2).sum(1)
    return Term((error * weight).sum(), _batch(predicted))


def threshold_prior(betas: Float[Tensor, "n b"], limit: float = 3.0) -> Term:
    """Mean square of the coefficients beyond +-``limit``: of the whole values, not of their excess."""
    beyond = betas.abs() > limit
    return Term((betas**2 * beyond).sum(), beyond.sum().to(betas.dtype))


def _batch(like: Tensor) -> Float[Tensor, ""]:
    return like.new_tensor(float(len(like)))


def _count(like: Tensor, weight: Tensor, count: Count) -> Float[Tensor, ""]:
    return _batch(like) if count == "batch" else (weight > 0).sum().to(like.dtype)
