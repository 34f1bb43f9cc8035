"""Priors of hands and face: Gaussians over the body model's own coefficients."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from openexpose.body.model import BodyModel
from openexpose.errors import InputError
from openexpose.fitting.prior import FitPriors
from openexpose.fitting.rotation_vectors import turn_derivative
from openexpose.geometry.rotation import matrix_to_rotvec, rotvec_to_matrix

Array = np.ndarray

JAW_SIGMA_RAD = np.array([0.2, 0.02, 0.02])
"""Freedom of the jaw: opening (x), turning, tilting; in the ratio of SMPLify-X's weights."""
_LEAST_SIGMA_RAD = 0.05
"""Components along which hands of the population hardly move still have this freedom."""
_MIRROR = np.tile([1.0, -1.0, -1.0], 15)


@dataclass(frozen=True, eq=False)
class HandPrior:
    """Fingers as c coefficients of the body model's principal components; index 0 of sides is the left hand.

    Attributes:
        mean: [2, 45] rotation vectors of the relaxed hands (radians).
        components: [2, c, 45], one a row. sigma: [2, c] standard deviations of the coefficients.
    """

    mean: Float[Array, "2 45"]
    components: Float[Array, "2 c 45"]
    sigma: Float[Array, "2 c"]

    def pose(self, coefficients: Float[Array, "n 2 c"]) -> Float[Array, "n 2 15 3 3"]:
        """Finger rotations from the flat hand."""
        vectors = self.mean + np.einsum("nsc,sca->nsa", coefficients, self.components)
        return rotvec_to_matrix(vectors.reshape(-1, 2, 15, 3))

    def coefficients(self, pose: Float[Array, "n 2 15 3 3"]) -> Float[Array, "n 2 c"]:
        """The coefficients of finger rotations; what the components do not span is lost."""
        apart = matrix_to_rotvec(pose).reshape(-1, 2, 45) - self.mean
        inverse = np.linalg.pinv(self.components)
        return np.einsum("nsa,sac->nsc", apart, inverse)

    def energy(self, coefficients: Float[Array, "n 2 c"]) -> Float[Array, "n"]:
        """Negative log density up to a constant: 0.5 |coefficients / sigma|^2 of both hands."""
        return 0.5 * ((coefficients / self.sigma) ** 2).sum((1, 2))


def hand_prior(model: BodyModel, priors: FitPriors, components: int = 12) -> HandPrior:
    """The hands of a body model, with as much freedom along its components as the population of hand poses has.

    Raises:
        InputError: fewer than 1 or more than 45 components.
    """
    if not 1 <= components <= 45:
        raise InputError(f"{components} components of a hand", "1 to 45")
    rows = model.hand_components[:, :components].astype(float)
    mean = model.hand_mean.astype(float)
    apart = np.stack([priors.hand_mean * _MIRROR, priors.hand_mean]) - mean
    sides = np.stack([priors.hand_covariance * np.outer(_MIRROR, _MIRROR), priors.hand_covariance])
    spread = sides + np.einsum("sa,sb->sab", apart, apart)
    along = np.linalg.pinv(rows)  # coefficients = (x - mean) @ along
    variance = np.einsum("sac,sab,sbc->sc", along, spread, along)
    return HandPrior(mean, rows, np.sqrt(variance + _LEAST_SIGMA_RAD**2))


def jaw_residuals(jaw: Float[Array, "n 3 3"]) -> tuple[Float[Array, "n 3"], Float[Array, "n 3 3"]]:
    """Residuals of the jaw's rotation, and their derivative by small turns of the jaw in its own frame."""
    vectors = matrix_to_rotvec(np.asarray(jaw, float))
    return vectors / JAW_SIGMA_RAD, turn_derivative(vectors) / JAW_SIGMA_RAD[:, None]


def coefficient_energy(coefficients: Float[Array, "n c"]) -> Float[Array, "n"]:
    """Negative log density of shape or expression coefficients: body models scale them to unit variance."""
    return 0.5 * (coefficients**2).sum(-1)
