"""How far the body's joints turn: hinges that bend one way only, and a box of rotation vectors for each joint.

Signs hold for SMPL-X's rest pose (T-pose, y up, x to the subject's left, z forward), which freebody shares: a knee
bends by a positive turn about x, a left elbow by a negative, a right elbow by a positive turn about y.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from openexpose.body.keypoints import INDEX
from openexpose.fitting.rotation_vectors import BODY_JOINTS, rotation_vectors, turn_derivative

Array = np.ndarray

_HINGES = {"left_knee": (0, 1.0), "right_knee": (0, 1.0), "left_elbow": (1, -1.0), "right_elbow": (1, 1.0)}
"""Axis and sign of the turn that bends a joint."""
_JOINTS = np.array([INDEX[name] - 1 for name in _HINGES])
_AXES = np.array([axis for axis, _ in _HINGES.values()])
_SIGNS = np.array([sign for _, sign in _HINGES.values()])
_SOFT_RAD = 0.1
"""A joint this far beyond its box has the energy 0.5."""


@dataclass(frozen=True, eq=False)
class JointLimits:
    """Boxes of rotation vectors (radians), one a joint: low and high [21, 3]."""

    low: Float[Array, "21 3"]
    high: Float[Array, "21 3"]

    def residuals(self, pose: Float[Array, "n 21 3 3"]) -> tuple[Float[Array, "n 63"], Float[Array, "n 63 63"]]:
        """How far joints are beyond their boxes, in tenths of a radian; zero inside. Energy is 0.5 |r|^2.

        Returns:
            residuals, and their derivative by small turns of each joint in its own frame, R exp(w).

        Raises:
            InputError: not 21 rotations a pose.
        """
        vectors = self._vectors(pose)
        beyond = vectors - np.clip(vectors, self.low, self.high)
        slopes = turn_derivative(vectors) * (beyond != 0)[..., None] / _SOFT_RAD
        return beyond.reshape(-1, 3 * BODY_JOINTS) / _SOFT_RAD, _block_diagonal(slopes)

    def hinge_residuals(self, pose: Float[Array, "n 21 3 3"]) -> tuple[Float[Array, "n 4"], Float[Array, "n 4 63"]]:
        """Knees and elbows that bend backwards: the energy 0.5 |r|^2 is the sum of exp(-bend) (SMPLify, eq. 3).

        The bend (radians) is the rotation vector's component about the hinge. It counts from the straight limb of the
        rest pose, which costs 1.

        Returns:
            residuals (left and right knee, left and right elbow), and their derivative as :meth:`residuals`.

        Raises:
            InputError: not 21 rotations a pose.
        """
        vectors = self._vectors(pose)[:, _JOINTS]
        hinge = np.arange(len(_JOINTS))
        bend = _SIGNS * vectors[:, hinge, _AXES]
        residuals = np.sqrt(2.0) * np.exp(-0.5 * bend)
        rows = -0.5 * (residuals * _SIGNS)[..., None] * turn_derivative(vectors)[:, hinge, _AXES]
        slopes = np.zeros((len(vectors), len(_JOINTS), BODY_JOINTS, 3))
        slopes[:, hinge, _JOINTS] = rows
        return residuals, slopes.reshape(len(vectors), len(_JOINTS), 3 * BODY_JOINTS)

    def _vectors(self, pose: Array) -> Float[Array, "n 21 3"]:
        """Rotation vectors, of both readings of a rotation the one nearer to the middle of the box."""
        vectors = rotation_vectors(pose)
        angle = np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)
        other = np.where(angle > 0.5 * np.pi, vectors * (1.0 - 2.0 * np.pi / angle), vectors)
        middle = (self.low + self.high) / 2
        nearer = ((other - middle) ** 2).sum(-1) < ((vectors - middle) ** 2).sum(-1)
        return np.where(nearer[..., None], other, vectors)


def _block_diagonal(blocks: Float[Array, "n 21 3 3"]) -> Float[Array, "n 63 63"]:
    people = len(blocks)
    whole = np.zeros((people, BODY_JOINTS, 3, BODY_JOINTS, 3))
    joint = np.arange(BODY_JOINTS)
    whole[:, joint, :, joint] = np.swapaxes(blocks, 0, 1)
    return whole.reshape(people, 3 * BODY_JOINTS, 3 * BODY_JOINTS)
