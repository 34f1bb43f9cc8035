"""Rotations between directions and frames, batched over people (numpy and scipy; bake only)."""

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

Vectors = Float[np.ndarray, "*batch 3"]
Rotations = Float[np.ndarray, "*batch 3 3"]


def unit(vectors: Vectors) -> Vectors:
    """Vectors of length one (a zero vector stays zero)."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def axis_rotation(axis: Vectors, angle_rad: Float[np.ndarray, "*batch"] | float) -> Rotations:
    """Rotation about `axis` (any length) by `angle_rad`, right-handed."""
    return exp_rotation(unit(np.asarray(axis, float)) * np.asarray(angle_rad, float)[..., None])


def exp_rotation(vectors: Vectors) -> Rotations:
    """Rotation matrices of rotation vectors (radians)."""
    return Rotation.from_rotvec(vectors.reshape(-1, 3)).as_matrix().reshape(*vectors.shape[:-1], 3, 3)


def log_rotation(rotations: Rotations) -> Vectors:
    """Rotation vectors (radians, length in [0, pi]) of rotation matrices."""
    return Rotation.from_matrix(rotations.reshape(-1, 3, 3)).as_rotvec().reshape(*rotations.shape[:-2], 3)


def frame(first: Vectors, second: Vectors) -> Rotations:
    """Right-handed orthonormal frame with columns: `first`, the part of `second` normal to it, their cross product."""
    first = unit(first)
    second = unit(second - (first * second).sum(-1, keepdims=True) * first)
    return np.stack([first, second, np.cross(first, second)], axis=-1)


def rotation_aligning(first: Vectors, second: Vectors, to_first: Vectors, to_second: Vectors) -> Rotations:
    """Rotation that takes `first` onto `to_first` and the plane (first, second) onto (to_first, to_second)."""
    return frame(to_first, to_second) @ np.swapaxes(frame(first, second), -1, -2)


def shortest_rotation(source: Vectors, target: Vectors) -> Rotations:
    """Rotation of least angle taking the direction `source` onto `target` (not opposite to each other)."""
    source, target = np.broadcast_arrays(unit(source), unit(target))
    axis = np.cross(source, target)
    cosine = (source * target).sum(-1)[..., None, None]
    skew = cross_matrix(axis)
    return np.eye(3) + skew + skew @ skew / (1 + cosine)


def cross_matrix(vectors: Vectors) -> Rotations:
    """Matrices K with K x = v cross x."""
    x, y, z = np.moveaxis(vectors, -1, 0)
    zero = np.zeros_like(x)
    rows = [np.stack(row, -1) for row in ((zero, -z, y), (z, zero, -x), (-y, x, zero))]
    return np.stack(rows, axis=-2)


def swing_twist(rotation: Rotation, axis: Float[np.ndarray, "3"]) -> tuple[Rotation, Rotation]:
    """Split `rotation` = swing * twist, the twist being about the unit vector `axis`."""
    quaternion = rotation.as_quat()
    twist = Rotation.from_quat(np.append((quaternion[:3] @ axis) * axis, quaternion[3]))
    return rotation * twist.inv(), twist
