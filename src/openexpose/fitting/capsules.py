"""Bodies as capsules: a coarse proxy whose overlap stands for interpenetration, differentiable and cheap on a CPU.

SMPLify-X looks for triangles that cross, on a GPU (section 3.4). Here each limb, the trunk and the head is the set of
points within a radius of a segment between two joints. Two capsules overlap by the sum of their radii minus the
distance of their segments.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int

from openexpose.body.keypoints import INDEX, PARENTS
from openexpose.body.model import BodyModel

Array = np.ndarray

_LIMBS = (("hip", "knee"), ("knee", "ankle"), ("ankle", "foot"), ("shoulder", "elbow"), ("elbow", "wrist"),
          ("wrist", "middle1"))  # fmt: skip
_SEGMENTS = (
    ("pelvis", "spine2"),
    ("spine2", "neck"),
    ("neck", "head"),
    ("head", "head"),
    *((f"{side}_{a}", f"{side}_{b}") for side in ("left", "right") for a, b in _LIMBS),
)
_APART = 2
"""Capsules whose bones are so near in the tree touch anyway."""
_RADIUS_QUANTILE = 0.35
"""Of the distances of a bone's skin from its axis: narrower than the skin, so that touching is free."""


@dataclass(frozen=True)
class Capsules:
    """The capsules of a body model.

    Attributes:
        ends: joints at both ends of each segment.
        radius: metres.
        pairs: capsules that may not overlap; those that do at rest may.
    """

    ends: Int[Array, "c 2"]
    radius: Float[Array, "c"]
    pairs: Int[Array, "p 2"]


@dataclass(frozen=True)
class Overlaps:
    """How far the pairs of capsules of n bodies overlap, metres, and where their segments are nearest."""

    depth: Float[Array, "n p"]
    """Positive: they overlap."""
    apart: Float[Array, "n p 3"]
    """From the second segment's nearest point to the first one's, of unit length."""
    along: Float[Array, "n p 2"]
    """How far along each segment, 0 to 1, that point lies."""


@lru_cache(maxsize=8)
def capsules_of(model: BodyModel) -> Capsules:
    """The capsules of a body model, as thick as the skin of its template."""
    ends = np.array([[INDEX[a], INDEX[b]] for a, b in _SEGMENTS])
    bones = ends[:, 0]
    owner, joints = model.weights.argmax(1), model.joint_template.astype(float)
    radius = np.array([_radius(model, owner == bone, joints[pair]) for bone, pair in zip(bones, ends, strict=True)])
    pairs = [(a, b) for a in range(len(ends)) for b in range(a) if _distance(int(bones[a]), int(bones[b])) > _APART]
    capsules = Capsules(ends, radius, np.array(pairs))
    apart = overlaps(capsules, joints[None]).depth[0] < 0.0
    return Capsules(ends, radius, capsules.pairs[apart])


def _radius(model: BodyModel, skin: Array, ends: Float[Array, "2 3"]) -> float:
    points = model.v_template[skin].astype(float)
    nearest = ends[0] + _along(points - ends[0], ends[1] - ends[0])[:, None] * (ends[1] - ends[0])
    return float(np.quantile(np.linalg.norm(points - nearest, axis=1), _RADIUS_QUANTILE))


def _along(arms: Float[Array, "*n 3"], axis: Float[Array, "*n 3"]) -> Float[Array, "*n"]:
    """How far along a segment, 0 to 1, a point's nearest one lies."""
    return np.clip((arms * axis).sum(-1) / np.maximum((axis * axis).sum(-1), 1e-12), 0.0, 1.0)


def _distance(a: int, b: int) -> int:
    """Steps between two joints in the tree."""
    chains = []
    for joint in (a, b):
        chain = [joint]
        while (joint := int(PARENTS[joint])) >= 0:
            chain.append(joint)
        chains.append(chain)
    common = next(joint for joint in chains[0] if joint in chains[1])
    return chains[0].index(common) + chains[1].index(common)


def overlaps(capsules: Capsules, joints: Float[Array, "n 55 3"]) -> Overlaps:
    """How far a body's capsules overlap.

    Args:
        capsules: of :func:`capsules_of`.
        joints: posed, metres.
    """
    ends = joints[:, capsules.ends[capsules.pairs]]  # n p 2 2 3
    begin, way = ends[..., 0, :], ends[..., 1, :] - ends[..., 0, :]
    along = _nearest(begin[:, :, 0], way[:, :, 0], begin[:, :, 1], way[:, :, 1])
    points = begin + along[..., None] * way
    apart = points[:, :, 0] - points[:, :, 1]
    distance = np.linalg.norm(apart, axis=-1)
    unit = apart / np.maximum(distance, 1e-9)[..., None]
    return Overlaps(capsules.radius[capsules.pairs].sum(1) - distance, unit, along)


def _nearest(
    a: Float[Array, "*n 3"], u: Float[Array, "*n 3"], b: Float[Array, "*n 3"], v: Float[Array, "*n 3"]
) -> Float[Array, "*n 2"]:
    """Where on the segments from a along u and from b along v the nearest points lie: those of the lines, clipped, then
    each other's nearest."""
    w, uu, vv, uv = a - b, (u * u).sum(-1), (v * v).sum(-1), (u * v).sum(-1)
    flat = uu * vv - uv**2
    s = np.clip((uv * (v * w).sum(-1) - vv * (u * w).sum(-1)) / np.where(flat > 1e-9, flat, np.inf), 0.0, 1.0)
    t = _along(w + s[..., None] * u, v)
    return np.stack([_along(t[..., None] * v - w, u), t], -1)
