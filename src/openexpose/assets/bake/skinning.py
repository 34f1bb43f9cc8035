"""Skinning weights: MakeHuman's bone weights merged into 55 joints, the jaw's solved from the action "jawOpen"."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from .rotations import exp_rotation, log_rotation
from .shape import ShapeSpace
from .skeleton import JOINTS, joint, joint_of_bones, mirrored_joints
from .source import MakeHumanSource

SMALLEST_WEIGHT = 0.004


@dataclass(frozen=True)
class Skinning:
    """Weights and the rigid parts inside the head."""

    weights: Float[np.ndarray, "V 55"]
    tongue: Bool[np.ndarray, "V"]
    eyeballs: Bool[np.ndarray, "V"]
    jaw_open: Float[np.ndarray, "3 3"]
    """Rotation of the jaw joint that comes closest to the action "jawOpen" (about 16 deg about x)."""


def fit_skinning(source: MakeHumanSource, shape: ShapeSpace) -> Skinning:
    """Weights [V,55], at least zero, rows summing to one, mirror-symmetric."""
    merged = np.zeros((len(source.template), len(JOINTS)))
    np.add.at(merged.T, joint_of_bones(source), source.bone_weights.T.astype(np.float64))
    tongue = _bone_share(source, "tongue") > 0.5
    eyeballs = _bone_share(source, "eye.") > 0.5
    hinge = _jaw_hinge(source, merged[:, joint("jaw")])
    jaw = _jaw_weights(source, shape, merged, hinge)
    jaw[tongue] = 1.0

    rest = merged.copy()
    rest[:, joint("jaw")] = 0
    rest[rest.sum(1) < 1e-3, joint("head")] = 1
    weights = rest / rest.sum(1, keepdims=True) * (1 - jaw[:, None])
    weights[:, joint("jaw")] = jaw
    weights = 0.5 * (weights + weights[shape.mirror][:, mirrored_joints()])
    weights[weights < SMALLEST_WEIGHT] = 0
    return Skinning((weights / weights.sum(1, keepdims=True)).astype(np.float32), tongue, eyeballs, hinge)


def _bone_share(source: MakeHumanSource, prefix: str) -> Float[np.ndarray, "V"]:
    return source.bone_weights[:, [str(bone).startswith(prefix) for bone in source.bones]].sum(1)


def _jaw_hinge(source: MakeHumanSource, jaw_weight: Float[np.ndarray, "V"]) -> Float[np.ndarray, "3 3"]:
    """Best rotation (Kabsch) of the chin under "jawOpen", reduced to its part about x."""
    motion = source.action("jawOpen")
    length = np.linalg.norm(motion, axis=1)
    chin = (jaw_weight > 0.99) & (length > 0.6 * length.max())
    before = source.template[chin].astype(np.float64)
    after = before + motion[chin]
    left, _, right = np.linalg.svd((before - before.mean(0)).T @ (after - after.mean(0)))
    flip = np.diag([1, 1, np.linalg.det(right.T @ left.T)])
    vector = log_rotation(right.T @ flip @ left.T)
    return exp_rotation(vector * np.array([1.0, 0.0, 0.0]))


def _jaw_weights(
    source: MakeHumanSource, shape: ShapeSpace, merged: np.ndarray, hinge: np.ndarray
) -> Float[np.ndarray, "V"]:
    """Least-squares weight w of `jawOpen = w (R - I)(x - pivot)`, drawn to the rig's own weight where nothing moves.

    By eye the rig's own jaw weights reach too far down the neck and not far enough up the cheek.
    """
    motion = source.action("jawOpen").astype(np.float64)
    own = merged[:, joint("jaw")]
    rigid = (shape.template - shape.joints[joint("jaw")]) @ (hinge - np.eye(3)).T
    pull = 0.004**2
    weight = ((motion * rigid).sum(1) + pull * own) / ((rigid**2).sum(1) + pull)
    moved = np.linalg.norm(motion, axis=1) > 2e-4
    weight = np.where(moved | (own > 0), weight.clip(0, 1), 0)
    weight[weight < 0.01] = 0
    return weight
