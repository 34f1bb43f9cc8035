"""Rotation vectors of body poses, and their derivative by small turns of the joints."""

import numpy as np
from jaxtyping import Float

from openexpose.errors import InputError
from openexpose.geometry.rotation import cross_matrix, matrix_to_rotvec

Array = np.ndarray

BODY_JOINTS = 21
"""Joints of a body pose: SMPL-X's 1..21, without the pelvis."""


def rotation_vectors(
    pose: Float[Array, "n 21 3 3"], centres: Float[Array, "21 3 3"] | None = None
) -> Float[Array, "n 21 3"]:
    """Rotation vectors of body poses, from ``centres`` (None: from the rest pose) to each joint; angles in [0, pi].

    Raises:
        InputError: not 21 rotations a pose.
    """
    pose = np.asarray(pose, float)
    if pose.shape[1:] != (BODY_JOINTS, 3, 3):
        raise InputError(f"a body pose of shape {pose.shape}", "shape (n, 21, 3, 3): SMPL-X joints 1..21 as matrices")
    return matrix_to_rotvec(pose if centres is None else np.swapaxes(centres, -1, -2) @ pose)


def turn_derivative(vectors: Float[Array, "*batch 3"]) -> Float[Array, "*batch 3 3"]:
    """Derivative of a rotation vector by a small turn in the rotation's own frame, R exp(w).

    The inverse right Jacobian of SO(3); for angles below 2 pi.
    """
    angle = np.linalg.norm(vectors, axis=-1)[..., None, None]
    skew = cross_matrix(vectors)
    small = angle < 1e-3
    safe = np.where(small, 1.0, angle)
    second = np.where(small, 1.0 / 12.0 + angle**2 / 720.0, 1.0 / safe**2 - 0.5 / (safe * np.tan(safe / 2)))
    return np.eye(3) + 0.5 * skew + second * (skew @ skew)
