"""Learning the priors of the fit: body poses from motion capture and from the generator's stances, hands from its own.

Motion capture that is free to use walks, climbs and signals, and hardly sits or lies; so part of the poses are stances
of the generator, which come from rules. Only statistics are written.
"""

import io
import json
from pathlib import Path

import numpy as np
from jaxtyping import Float

from openexpose.errors import InputError
from openexpose.fitting.prior import FitPriors, load_priors
from openexpose.fitting.rotation_vectors import rotation_vectors
from openexpose.formats.atomic import write_whole
from openexpose.geometry.rotation import project_to_so3, rotvec_to_matrix
from openexpose.synth.body_pose import sample_body_pose
from openexpose.synth.hand_pose import sample_hand_pose
from openexpose.synth.limits import BODY_HIGH, BODY_LOW, clip_body, mirror_body
from openexpose.synth.pose_source import PoseSource
from openexpose.synth.prior import ACKNOWLEDGEMENT
from openexpose.synth.stances import STANCES

Array = np.ndarray

NOISE_DEG = 4.0
"""Standard deviation added to every joint: skeletons differ, and markers leave some joints still."""
_BEYOND_DEG = 30.0
"""Captured poses farther than this outside the joint limits are faults of the capture."""
_HEAD = 15
_ROUNDS = 30


def fit_priors(
    poses_npz: Path,
    clips_json: Path,
    source: PoseSource,
    out: Path,
    *,
    components: int = 8,
    stances: int = 600,
    stance_share: float = 0.3,
    seed: int = 0,
) -> FitPriors:
    """Learn the priors and write them, with the acknowledgement the data base asks for.

    Args:
        poses_npz: captured poses [n, 22, 3] (axis-angle, key ``poses``); their mirror images count, too.
        clips_json: ``clips`` with ``start`` and ``frames``. A clip's median pitch of the head is removed, because
            marker sets disagree about it.
        source: what the generator's stances and hand poses are drawn from.
        components: of the detailed mixture. stances: how many are drawn; their share of all weight is
            ``stance_share``.

    Raises:
        InputError: clips do not cover the poses.
    """
    rng = np.random.default_rng(seed)
    captured = usable_poses(poses_npz, clips_json)
    kinds = [kind for kind in STANCES if kind != "prior"]
    made = np.stack([sample_body_pose(rng, source, stance=kinds[k % len(kinds)]) for k in range(stances)])
    rotations = rotvec_to_matrix(np.concatenate([both_sides(captured), both_sides(made)])[:, 1:])
    counts = 2 * len(captured), 2 * len(made)
    weights = np.repeat([(1 - stance_share) / counts[0], stance_share / counts[1]], counts)
    centres = project_to_so3(np.einsum("n,njab->jab", weights, rotations))
    x = rotation_vectors(rotations, centres).reshape(-1, 63)
    hands = np.stack([sample_hand_pose(rng, source) for _ in range(2000)]).reshape(-1, 45)
    arrays = {
        "centres": centres,
        **_named("wide", fit_mixture(x, weights, 1, rng)),
        **_named("detailed", fit_mixture(x, weights, components, rng)),
        "limits_rad": _limits(captured),
        "hand_mean": hands.mean(0),
        "hand_covariance": np.cov(hands.T),
    }
    content = io.BytesIO()
    small = {key: array.astype(np.float32) for key, array in arrays.items()}
    np.savez_compressed(content, acknowledgement=np.array(ACKNOWLEDGEMENT), **small)
    write_whole(out, content.getvalue())
    return load_priors(out)


def usable_poses(poses_npz: Path, clips_json: Path) -> Float[Array, "n 22 3"]:
    """Captured poses without faults, the head's pitch relative to its clip's.

    Raises:
        InputError: clips do not cover the poses.
    """
    with np.load(poses_npz, allow_pickle=False) as npz:
        poses = npz["poses"].astype(float)
    clips = json.loads(clips_json.read_text())["clips"]
    if sum(clip["frames"] for clip in clips) != len(poses):
        raise InputError(f"{clips_json}, whose clips do not cover the {len(poses)} poses of {poses_npz}", "all of them")
    for clip in clips:
        frames = slice(clip["start"], clip["start"] + clip["frames"])
        poses[frames, _HEAD, 0] -= np.median(poses[frames, _HEAD, 0])
    beyond = np.abs(poses - clip_body(poses))
    return poses[beyond.max((1, 2)) < np.radians(_BEYOND_DEG)]


def both_sides(poses: Float[Array, "n 22 3"]) -> Float[Array, "n2 22 3"]:
    """The poses and their mirror images."""
    return np.concatenate([poses, mirror_body(poses)])


def fit_mixture(
    x: Float[Array, "n d"], weights: Float[Array, "n"], components: int, rng: np.random.Generator
) -> tuple[Float[Array, "k"], Float[Array, "k d"], Float[Array, "k d d"]]:
    """Weights, means and covariances of a mixture of Gaussians by expectation maximisation, noise added.

    Args:
        weights: of the points, sum 1.
    """
    count, size = x.shape
    noise = np.radians(NOISE_DEG) ** 2 * np.eye(size)
    total = np.cov(x.T, aweights=weights)
    shares, means = np.full(components, 1.0 / components), x[rng.choice(count, components, replace=False, p=weights)]
    covariances = np.repeat((total + noise)[None] * 0.3, components, 0)
    for _ in range(_ROUNDS):
        log_p = np.empty((count, components))
        for k in range(components):
            factor = np.linalg.cholesky(covariances[k])
            u = np.linalg.solve(factor, (x - means[k]).T)
            log_p[:, k] = np.log(shares[k]) - 0.5 * (u**2).sum(0) - np.log(np.diag(factor)).sum()
        belongs = np.exp(log_p - log_p.max(1, keepdims=True))
        belongs *= (weights / belongs.sum(1))[:, None]
        shares = belongs.sum(0) + 1e-9
        means = belongs.T @ x / shares[:, None]
        for k in range(components):
            apart = x - means[k]
            covariances[k] = (belongs[:, k, None] * apart).T @ apart / shares[k] + noise
        shares = shares / shares.sum()
    return shares, means, covariances


def _limits(captured: Float[Array, "n 22 3"]) -> Float[Array, "2 21 3"]:
    """What capture has (but for one pose in a thousand at each end) and what the generator allows, together."""
    low, high = np.quantile(both_sides(captured), [0.001, 0.999], axis=0)
    return np.stack([np.minimum(low, BODY_LOW), np.maximum(high, BODY_HIGH)])[:, 1:]


def _named(name: str, parts: tuple[Array, Array, Array]) -> dict[str, Array]:
    return {f"{name}_{what}": part for what, part in zip(("weights", "means", "covariances"), parts, strict=True)}
