"""A pose prior that may ship: a mixture of low-rank Gaussians over body poses, learned from motion capture."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from openexpose.errors import InputError
from openexpose.geometry.rotation import matrix_to_rotvec, rotvec_to_matrix
from openexpose.synth.limits import mirror_body

Array = np.ndarray

ACKNOWLEDGEMENT = (
    "The data used in this project was obtained from mocap.cs.cmu.edu. "
    "The database was created with funding from NSF EIA-0196217."
)
_KEYS = ("mean", "basis", "residual_std", "weights", "centres", "factors")


@dataclass(frozen=True)
class PosePrior:
    """x = mean + basis @ z + residual noise, with z from a mixture of Gaussians; x is a pose [22, 3], axis-angle.

    Joint 0 holds the tilt of the pelvis (its yaw is removed).

    Attributes:
        mean: [66]. basis: [66, rank]. residual_std: [66].
        weights: [k] mixture weights. centres: [k, rank]. factors: [k, rank, rank], covariance = factor @ factor.T.
    """

    mean: Float[Array, "66"]
    basis: Float[Array, "66 r"]
    residual_std: Float[Array, "66"]
    weights: Float[Array, "k"]
    centres: Float[Array, "k r"]
    factors: Float[Array, "k r r"]

    def sample(self, rng: np.random.Generator, temperature: float = 1.0) -> Float[Array, "22 3"]:
        """One pose (axis-angle, radians); ``temperature`` scales the spread inside a component."""
        k = rng.choice(len(self.weights), p=self.weights)
        z = self.centres[k] + temperature * self.factors[k] @ rng.normal(size=self.basis.shape[1])
        x = self.mean + self.basis @ z + temperature * self.residual_std * rng.normal(size=66)
        return x.reshape(22, 3)


def load_pose_prior(path: Path) -> PosePrior:
    """Read a prior written by :func:`fit_pose_prior`.

    Raises:
        InputError: no such file, or a key is missing.
    """
    if not path.is_file():
        raise InputError(f"{path}, which does not exist", "the pose prior of the synth assets")
    with np.load(path, allow_pickle=False) as npz:
        missing = [key for key in _KEYS if key not in npz.files]
        if missing:
            raise InputError(f"{path} without {missing}", "a pose prior written by fit_pose_prior")
        arrays = {key: npz[key].astype(float) for key in _KEYS}
    arrays["weights"] /= arrays["weights"].sum()
    return PosePrior(**arrays)


def fit_pose_prior(poses_npz: Path, out: Path, *, rank: int = 32, components: int = 48, seed: int = 0) -> PosePrior:
    """Learn the prior from poses [n, 22, 3] (axis-angle, key ``poses`` of the file) and their mirror images.

    The head's mean pitch is set to a neutral value, because marker sets disagree about it. Only the statistics are
    written, with the acknowledgement the data base asks for.
    """
    with np.load(poses_npz, allow_pickle=False) as npz:
        poses = npz["poses"].astype(float)
    poses = poses[np.abs(poses[:, 1:]).max((1, 2)) < 2.6]
    poses[:, 0] = _tilts(poses[:, 0])
    poses[:, 15] -= np.median(poses[:, 15], 0)
    x = np.concatenate([poses, np.stack([mirror_body(pose) for pose in poses])]).reshape(-1, 66)
    mean = x.mean(0)
    _, _, vt = np.linalg.svd((x - mean)[:: max(1, len(x) // 8000)], full_matrices=False)
    basis = vt[:rank].T
    z = (x - mean) @ basis
    residual_std = (x - mean - z @ basis.T).std(0)
    weights, centres, covariances = _fit_mixture(z, components, np.random.default_rng(seed))
    factors = np.linalg.cholesky(covariances)
    arrays = dict(zip(_KEYS, (mean, basis, residual_std, weights, centres, factors), strict=True))
    np.savez_compressed(
        out, acknowledgement=np.array(ACKNOWLEDGEMENT), **{k: v.astype(np.float32) for k, v in arrays.items()}
    )
    return load_pose_prior(out)


def _tilts(rotvecs: Float[Array, "n 3"]) -> Float[Array, "n 3"]:
    """The pelvis rotations without the turn about the vertical axis."""
    rotations = rotvec_to_matrix(rotvecs)
    yaw = np.arctan2(rotations[:, 0, 2], rotations[:, 2, 2])
    undo = rotvec_to_matrix(np.stack([0 * yaw, -yaw, 0 * yaw], -1))
    return matrix_to_rotvec(undo @ rotations)


def _fit_mixture(z: Float[Array, "n r"], components: int, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Expectation maximisation, 25 rounds, started from random points; covariances get a floor."""
    count, rank = z.shape
    centres = z[rng.choice(count, components, replace=False)]
    covariances = np.repeat(np.cov(z.T)[None] * 0.3, components, 0)
    weights = np.full(components, 1.0 / components)
    floor = 1e-3 * np.eye(rank)
    for _ in range(25):
        log_p = np.empty((count, components))
        for k in range(components):
            factor = np.linalg.cholesky(covariances[k] + floor)
            u = np.linalg.solve(factor, (z - centres[k]).T)
            log_p[:, k] = np.log(weights[k]) - 0.5 * (u**2).sum(0) - np.log(np.diag(factor)).sum()
        share = np.exp(log_p - log_p.max(1, keepdims=True))
        share /= share.sum(1, keepdims=True)
        total = share.sum(0) + 1e-6
        weights = total / total.sum()
        centres = share.T @ z / total[:, None]
        for k in range(components):
            d = z - centres[k]
            covariances[k] = (share[:, k, None] * d).T @ d / total[k]
    return weights, centres, covariances + floor
