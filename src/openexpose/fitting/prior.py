"""Pose prior of the fit: how likely a body pose is, learned from motion capture, as residuals for Gauss-Newton.

A pose is the 21 body joints without the pelvis (SMPL-X joints 1..21), rotations relative to the parent. A prior is a
mixture of Gaussians over their rotation vectors, of which the most likely one counts (SMPLify, section 3.2); its energy
is half the squared length of its residuals. It takes the place of SMPLify-X's VPoser (section 3.2 there).

Derivatives are by small turns w of each joint in its own frame: R becomes R exp(w).
"""

import zipfile
import zlib
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
from jaxtyping import Float

from openexpose.errors import InputError
from openexpose.fitting.joint_limits import JointLimits
from openexpose.fitting.rotation_vectors import BODY_JOINTS, rotation_vectors, turn_derivative

Array = np.ndarray

_SIZE = 3 * BODY_JOINTS
_FAR_RAD = 2.0
"""Rotations farther than this from the centre are also read as the longer turn the other way round."""
_READ_TWICE = 3
"""So many joints of a pose, the farthest, may be read both ways."""


@dataclass(frozen=True, eq=False)
class PosePrior:
    """A mixture of k Gaussians over rotation vectors x [63] (radians) of the 21 body joints from their mean rotations.

    The energy of component k is 0.5 |whitening[k] (x - means[k])|^2 + offsets[k]; the smallest counts. It is the
    negative log density without its constant: the likeliest component has the offset 0.

    A rotation has two vectors, v and the longer one of the turn the other way round. Where both come into question
    the likelier one counts, so that the energy stays continuous where a joint turns past 180 degrees.

    Attributes:
        centres: [21, 3, 3] mean rotations.
        means: [k, 63]. whitening: [k, 63, 63], W with W'W the inverse covariance. offsets: [k], not negative.
    """

    centres: Float[Array, "21 3 3"]
    means: Float[Array, "k 63"]
    whitening: Float[Array, "k 63 63"]
    offsets: Float[Array, "k"]

    def energy(self, pose: Float[Array, "n 21 3 3"]) -> Float[Array, "n"]:
        """Negative log density up to a constant.

        Raises:
            InputError: not 21 rotations a pose.
        """
        return 0.5 * (self._nearest(pose)[0] ** 2).sum(-1)

    def residuals(self, pose: Float[Array, "n 21 3 3"]) -> tuple[Float[Array, "n 64"], Float[Array, "n 64 63"]]:
        """Residuals r with energy 0.5 |r|^2, and their derivative by the joints' small turns (three numbers a joint).

        Raises:
            InputError: not 21 rotations a pose.
        """
        residuals, vectors, component = self._nearest(pose)
        people = len(residuals)
        slopes = self.whitening[component].reshape(people, _SIZE, BODY_JOINTS, 3)
        slopes = np.einsum("nrja,njab->nrjb", slopes, turn_derivative(vectors)).reshape(people, _SIZE, _SIZE)
        return residuals, np.concatenate([slopes, np.zeros((people, 1, _SIZE))], 1)

    def _nearest(self, pose: Array) -> tuple[Float[Array, "n 64"], Float[Array, "n 21 3"], Array]:
        """Residuals of the nearest component, the rotation vectors as it reads them, and its number."""
        readings = _readings(rotation_vectors(pose, self.centres))
        people, count = readings.shape[:2]
        apart = readings.reshape(people, count, 1, _SIZE) - self.means
        whitened = np.einsum("kij,nckj->ncki", self.whitening, apart)
        energy = 0.5 * (whitened**2).sum(-1) + self.offsets
        reading, component = np.divmod(energy.reshape(people, -1).argmin(1), len(self.offsets))
        rows = np.arange(people)
        offset = np.sqrt(2.0 * self.offsets[component])[:, None]
        residuals = np.concatenate([whitened[rows, reading, component], offset], 1)
        return residuals, readings[rows, reading], component


@dataclass(frozen=True, eq=False)
class FitPriors:
    """What the packaged file holds.

    Attributes:
        wide: one Gaussian, for the first stages of a fit: it has one minimum.
        detailed: a mixture, for the last stages.
        limits: how far joints turn.
        hand_mean, hand_covariance: [45] and [45, 45] of right-hand poses, rotation vectors (radians) from the flat
            hand.
    """

    wide: PosePrior
    detailed: PosePrior
    limits: JointLimits
    hand_mean: Float[Array, "45"]
    hand_covariance: Float[Array, "45 45"]


_SHAPES: dict[str, tuple[int | None, ...]] = {
    **{f"{name}_means": (None, _SIZE) for name in ("wide", "detailed")},
    **{f"{name}_covariances": (None, _SIZE, _SIZE) for name in ("wide", "detailed")},
    **{f"{name}_weights": (None,) for name in ("wide", "detailed")},
    "centres": (BODY_JOINTS, 3, 3),
    "limits_rad": (2, BODY_JOINTS, 3),
    "hand_mean": (45,),
    "hand_covariance": (45, 45),
}


_EXPECTED = "a file written by fit_priors"


def load_priors(path: Path | None = None) -> FitPriors:
    """Read the priors of the fit; None: the packaged ones.

    Raises:
        InputError: no such file, an array is missing or of another shape, or a covariance is not positive definite.
    """
    if path is None:
        with as_file(files("openexpose.fitting") / "data" / "pose_prior.npz") as packaged:
            return load_priors(packaged)
    if not path.is_file():
        raise InputError(f"{path}, which does not exist", _EXPECTED)
    arrays = _read(path)
    try:
        wide, detailed = (
            mixture(arrays["centres"], *(arrays[f"{name}_{what}"] for what in ("weights", "means", "covariances")))
            for name in ("wide", "detailed")
        )
    except np.linalg.LinAlgError:
        raise InputError(f"{path} with a covariance that has no inverse", _EXPECTED) from None
    limits = JointLimits(*arrays["limits_rad"])
    return FitPriors(wide, detailed, limits, arrays["hand_mean"], arrays["hand_covariance"])


def _read(path: Path) -> dict[str, Array]:
    """The arrays of a file, of the shapes in ``_SHAPES`` and finite."""
    try:
        with np.load(path, allow_pickle=False) as npz:
            missing = [key for key in _SHAPES if key not in npz.files]
            if missing:
                raise InputError(f"{path} without {missing[0]!r}", _EXPECTED)
            arrays = {key: npz[key].astype(float) for key in _SHAPES}
    except InputError:
        raise
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error):
        raise InputError(f"{path}, which is not an npz archive of numbers", _EXPECTED) from None
    for key, shape in _SHAPES.items():
        array = arrays[key]
        if array.ndim != len(shape) or any(n not in (None, m) for n, m in zip(shape, array.shape, strict=True)):
            raise InputError(f"{path} with {key!r} of shape {array.shape}", f"shape {shape} (None: any length)")
        if not np.isfinite(array).all():
            raise InputError(f"{path} with {key!r} that is not finite", _EXPECTED)
    for name in ("wide", "detailed"):
        lengths = {key: len(arrays[key]) for key in _SHAPES if key.startswith(name)}
        if len(set(lengths.values())) > 1:
            raise InputError(
                f"{path} with {name}_* of the lengths {lengths}", "as many weights as means and covariances"
            )
    return arrays


def mixture(
    centres: Float[Array, "21 3 3"],
    weights: Float[Array, "k"],
    means: Float[Array, "k 63"],
    covariances: Float[Array, "k 63 63"],
) -> PosePrior:
    """The prior of a mixture of Gaussians over rotation vectors (radians) from ``centres``.

    Raises:
        numpy.linalg.LinAlgError: a covariance is not positive definite.
    """
    factors = np.linalg.cholesky(covariances)
    offsets = np.log(np.einsum("kii->ki", factors)).sum(1) - np.log(weights)
    return PosePrior(centres, means, np.linalg.inv(factors), offsets - offsets.min())


def _readings(vectors: Float[Array, "n 21 3"]) -> Float[Array, "n c 21 3"]:
    """All ways to read the largest rotations of each pose: as they are, or as the longer turn the other way round."""
    angles = np.linalg.norm(vectors, axis=-1)
    readings = vectors[:, None]
    if (angles < _FAR_RAD).all():
        return readings
    rows = np.arange(len(vectors))
    for joint in np.argsort(-angles, axis=1)[:, :_READ_TWICE].T:
        angle = np.maximum(angles[rows, joint], _FAR_RAD)
        factor = np.where(angle > _FAR_RAD, 1.0 - 2.0 * np.pi / angle, 1.0)
        turned = readings.copy()
        turned[rows, :, joint] *= factor[:, None, None]
        readings = np.concatenate([readings, turned], 1)
    return readings
