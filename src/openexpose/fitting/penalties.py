"""The priors of :mod:`openexpose.fitting.prior` as terms of the energy: body pose, fingers, hinges, joint limits."""

from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float, Int

from openexpose.body.keypoints import INDEX
from openexpose.fitting.energy import Penalty
from openexpose.fitting.objective import BEND, LIMITS, Weights
from openexpose.fitting.prior import FitPriors, PosePrior, load_priors
from openexpose.fitting.rotation_vectors import turn_derivative
from openexpose.geometry.rotation import matrix_to_rotvec, rotvec_to_matrix

Array = np.ndarray

_BODY: Int[Array, "21"] = np.arange(1, 22)
_LEFT, _RIGHT = (INDEX[f"{side}_index1"] + np.arange(15) for side in ("left", "right"))
_MIRROR = np.tile([1.0, -1.0, -1.0], 15)
_FLOOR_RAD = 0.05
"""Fingers have at least this freedom in every direction."""


@dataclass(frozen=True)
class Priors:
    """What poses are like: the terms of the energy that need no picture.

    Attributes:
        poses: the packaged priors.
    """

    poses: FitPriors

    @classmethod
    def load(cls) -> "Priors":
        """The packaged ones."""
        return cls(load_priors())

    @property
    def body_pose(self) -> Float[Array, "21 3 3"]:
        """Mean pose of the joints 1 to 21."""
        return self.poses.wide.centres

    def mean_hand(self, *, left: bool) -> Float[Array, "15 3 3"]:
        """Mean pose of the fingers of a hand."""
        return rotvec_to_matrix((self.poses.hand_mean * (_MIRROR if left else 1.0)).reshape(15, 3))

    def hand(self, stage: Weights, *, left: bool) -> tuple[float, Penalty]:
        """The term of the fingers of a hand with its weight in a stage."""
        return stage.hand, partial(_hand, self.poses, left)

    def penalties(self, stage: Weights) -> tuple[tuple[float, Penalty], ...]:
        """The terms with their weights in a stage."""
        prior = self.poses.detailed if stage.detailed else self.poses.wide
        hands = [self.hand(stage, left=left) for left in (True, False)]
        bend = float(np.sqrt(BEND * stage.pose / 2.0))  # the residuals' squares are twice the paper's exponentials
        hinges, limits = (bend, partial(_hinges, self.poses)), (LIMITS, partial(_limits, self.poses))
        return (stage.pose, partial(_body, prior)), *hands, hinges, limits


def _body(prior: PosePrior, pose: Float[Array, "n 55 3 3"]) -> tuple[Array, Array, Array]:
    return *prior.residuals(pose[:, _BODY]), _BODY


def _hinges(priors: FitPriors, pose: Float[Array, "n 55 3 3"]) -> tuple[Array, Array, Array]:
    return *priors.limits.hinge_residuals(pose[:, _BODY]), _BODY


def _limits(priors: FitPriors, pose: Float[Array, "n 55 3 3"]) -> tuple[Array, Array, Array]:
    return *priors.limits.residuals(pose[:, _BODY]), _BODY


def _hand(priors: FitPriors, left: bool, pose: Float[Array, "n 55 3 3"]) -> tuple[Array, Array, Array]:
    """Fingers, standardised: the population's right hands, and left ones as their mirror images."""
    joints, mirror = (_LEFT, _MIRROR) if left else (_RIGHT, np.ones(45))
    covariance = priors.hand_covariance * np.outer(mirror, mirror) + _FLOOR_RAD**2 * np.eye(45)
    whitening = np.linalg.inv(np.linalg.cholesky(covariance))
    vectors = matrix_to_rotvec(pose[:, joints])
    residuals = (vectors.reshape(-1, 45) - priors.hand_mean * mirror) @ whitening.T
    slopes = np.einsum("rja,njab->nrjb", whitening.reshape(45, 15, 3), turn_derivative(vectors))
    return residuals, slopes.reshape(len(pose), 45, 45), joints
