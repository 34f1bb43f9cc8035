"""Hand-pose mean and principal components from sampled poses within joint limits (no captured data).

All four fingers close together by a common amount with individual deviations, one finger may stay stretched
(pointing), the last joint follows the middle one (DIP = 0.62 PIP), the thumb opposes and bends.  Right hands are
mirrored left hands."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from .rotations import unit
from .skeleton import joint

SAMPLES = 20000
_PALM = np.array([0.0, -1.0, 0.0])
_FINGERS = ("index", "middle", "pinky", "ring")
#: sideways angle (degrees) of a stretched finger when the hand spreads, positive towards the thumb
_SPREAD_DEG = {"index": 4.0, "middle": 0.0, "ring": -3.0, "pinky": -6.0}
_MIRROR = np.tile([1.0, -1.0, -1.0], 15)


@dataclass(frozen=True)
class HandSpace:
    """Axis-angle hand poses (15 joints x 3, radians): mean, orthonormal components (rows), standard deviations."""

    left_mean: Float[np.ndarray, "45"]
    left_components: Float[np.ndarray, "45 45"]
    right_mean: Float[np.ndarray, "45"]
    right_components: Float[np.ndarray, "45 45"]
    sigma: Float[np.ndarray, "45"]


def fit_hands(joints: Float[np.ndarray, "55 3"], seed: int = 5) -> HandSpace:
    """Hand space of the template skeleton `joints` (zero pose, metres)."""
    poses = sample_left_hands(joints, SAMPLES, np.random.default_rng(seed)).reshape(SAMPLES, 45)
    mean = poses.mean(0)
    _, values, components = np.linalg.svd(poses - mean, full_matrices=False)
    components = components * np.where(components @ mean < 0, -1.0, 1.0)[:, None]
    return HandSpace(mean, components, mean * _MIRROR, components * _MIRROR, values / np.sqrt(SAMPLES))


def sample_left_hands(
    joints: Float[np.ndarray, "55 3"], count: int, rng: np.random.Generator
) -> Float[np.ndarray, "N 15 3"]:
    """Random left-hand poses, axis-angle per joint in SMPL-X finger order."""
    poses = np.zeros((count, 15, 3))
    closing = rng.beta(1.2, 1.6, count)
    pointing = np.where(rng.random(count) < 0.25, rng.integers(0, 4, count), -1)
    for column, finger in enumerate(_FINGERS):
        own = np.clip(closing + rng.normal(0, 0.18, count), 0, 1)
        own = np.where(pointing == column, rng.uniform(0, 0.15, count), own)
        poses[:, 3 * column : 3 * column + 3] = _finger(joints, finger, own, rng)
    poses[:, 12:] = _thumb(joints, closing, rng)
    return poses


def flexion_axis(joints: Float[np.ndarray, "55 3"], finger: str) -> Float[np.ndarray, "3"]:
    """Axis about which a left finger bends towards the palm (right-handed)."""
    first = joint(f"left_{finger}1")
    return unit(np.cross(joints[first + 1] - joints[first], _PALM))


def _finger(
    joints: np.ndarray, finger: str, closing: np.ndarray, rng: np.random.Generator
) -> Float[np.ndarray, "N 3 3"]:
    count, axis = len(closing), flexion_axis(joints, finger)
    knuckle = np.deg2rad(-8 + 88 * closing + 6 * rng.normal(size=count))
    middle = np.deg2rad(2 + 98 * np.clip(closing + 0.08 * rng.normal(size=count), 0, 1))
    last = 0.62 * middle + np.deg2rad(4) * rng.normal(size=count)
    sideways = 6 * rng.normal(size=count) * (1 - 0.7 * closing)
    sideways += _SPREAD_DEG[finger] * (1 - closing) * rng.uniform(-1, 1.5, count)
    first = Rotation.from_rotvec(np.deg2rad(sideways)[:, None] * _PALM) * Rotation.from_rotvec(knuckle[:, None] * axis)
    return np.stack([first.as_rotvec(), middle[:, None] * axis, last[:, None] * axis], axis=1)


def thumb_axes(joints: Float[np.ndarray, "55 3"]) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]:
    """Opposition axis (root joint) and flexion axis (the other two) of the left thumb.

    Opposition carries the thumb towards a point 3.5 cm below the root of the little finger, flexion bends it towards a
    point 2 cm below the root of the middle finger.
    """
    root, second, third = (joints[joint(f"left_thumb{k}")] for k in (1, 2, 3))
    little = joints[joint("left_pinky1")] + 0.035 * _PALM
    middle = joints[joint("left_middle1")] + 0.02 * _PALM
    return unit(np.cross(second - root, little - root)), unit(np.cross(third - second, middle - second))


def _thumb(joints: np.ndarray, closing: np.ndarray, rng: np.random.Generator) -> Float[np.ndarray, "N 3 3"]:
    count = len(closing)
    opposition, flexion = thumb_axes(joints)
    amount = np.clip(0.55 * closing + 0.45 * rng.random(count) + 0.1 * rng.normal(size=count), 0, 1)
    root = Rotation.from_rotvec(np.deg2rad(-5 + 45 * amount)[:, None] * opposition)
    root = root * Rotation.from_rotvec(np.deg2rad(8 * rng.normal(size=count))[:, None] * -_PALM)
    second = np.deg2rad(-5 + 45 * np.clip(amount + 0.15 * rng.normal(size=count), 0, 1))
    last = np.deg2rad(-8 + 65 * np.clip(amount + 0.2 * rng.normal(size=count), 0, 1))
    return np.stack([root.as_rotvec(), second[:, None] * flexion, last[:, None] * flexion], axis=1)
