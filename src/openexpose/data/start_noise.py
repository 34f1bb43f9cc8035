"""Noise on the start vectors of part-only pictures: hand and face networks learn to mend a wrong guess of the body's.

In whole-body training these networks start at what the body network says; pictures of a lone hand or face start at the
mean instead, and the paper makes them start at wrong places now and then.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from openexpose.errors import InputError
from openexpose.geometry.rotation import matrix_to_rotvec, rotvec_to_matrix

Array = np.ndarray


@dataclass(frozen=True)
class StartState:
    """Where an iterative regressor starts, as far as noise touches it (the camera stays)."""

    root: Float[Array, "3 3"]
    """Absolute rotation of the wrist (right-hand space) or the head in the camera's axes."""
    joints: Float[Array, "k 3 3"]
    """The 15 finger rotations of a hand (SMPL-X order), or the one of the jaw."""
    betas: Float[Array, "b"]
    expression: Float[Array, "e"]
    """Empty for hands."""


@dataclass(frozen=True)
class StartNoise:
    """How strong the noise is. Each entry of the start vector is replaced with ``probability``, independently."""

    root_deg: float
    """The root starts at the truth, turned about its own axis by U(-root_deg, root_deg)."""
    probability: float = 0.3
    finger_components: int = 3
    """Hands: the fingers start at N(0, 1) on so many of the hand's principal components."""
    jaw_deg: float = 45.0
    """Faces: the jaw starts opened by U(0, jaw_deg)."""


START_NOISE: dict[str, StartNoise] = {"hand": StartNoise(root_deg=90.0), "face": StartNoise(root_deg=45.0)}
"""The paper's numbers."""


@dataclass(frozen=True)
class HandPrior:
    """Principal components of finger poses, right hand: ``hand_mean[1]`` and ``hand_components[1]`` of a body model."""

    mean: Float[Array, "45"]
    """Axis-angle of the relaxed hand's 15 joints, radians, as full rotations from the flat hand."""
    components: Float[Array, "45 45"]
    """One component a row, the strongest first."""


def turn_about_own_axis(R: Float[Array, "*batch 3 3"], degrees: Float[Array, "*batch"] | float) -> Array:
    """Turn rotations further (or back) about their own axes; the identity, which has none, about x.

    Returns:
        rotations [*batch, 3, 3]. They commute with ``R``.
    """
    rotvec = matrix_to_rotvec(np.asarray(R, float))
    angle = np.linalg.norm(rotvec, axis=-1, keepdims=True)
    axis = np.where(angle < 1e-6, np.array([1.0, 0.0, 0.0]), rotvec / np.maximum(angle, 1e-6))
    return rotvec_to_matrix(axis * np.radians(np.asarray(degrees, float))[..., None]) @ R


def pca_fingers(
    mean: Float[Array, "45"], components: Float[Array, "45 45"], coefficients: Float[Array, "c"]
) -> Float[Array, "15 3 3"]:
    """Finger rotations from the coefficients of the first ``c`` principal components (rows), about the mean pose.

    Raises:
        InputError: more coefficients than components.
    """
    count = len(coefficients)
    if count > len(components):
        raise InputError(f"{count} finger coefficients", f"at most {len(components)}")
    return rotvec_to_matrix((mean + coefficients @ components[:count]).reshape(15, 3))


def jaw_open(degrees: Float[Array, "*batch"] | float) -> Float[Array, "*batch 3 3"]:
    """Jaw rotation about x (the subject's left): positive angles open the mouth."""
    angle = np.radians(np.asarray(degrees, float))
    return rotvec_to_matrix(angle[..., None] * np.array([1.0, 0.0, 0.0]))


def noisy_start(
    rng: np.random.Generator,
    part: str,
    mean: StartState,
    truth_root: Float[Array, "3 3"] | None,
    hand: HandPrior | None = None,
    noise: StartNoise | None = None,
) -> StartState:
    """The start for a picture of a hand or a face alone: the mean, with some entries replaced by wrong ones.

    Takes the same number of random numbers whatever comes out.

    Args:
        part: ``hand`` or ``face``.
        mean: where the network starts without noise. ``betas`` and ``expression`` say how many there are.
        truth_root: the labelled root rotation in the crop's axes (``CropLabels.root``); None: not known, root stays.
        hand: the hands' principal components; needed for hands.
        noise: default: the paper's, ``START_NOISE[part]``.

    Raises:
        InputError: another part, a hand without ``hand``, or a number of joints that does not fit the part.
    """
    joints = {"hand": 15, "face": 1}
    if part not in joints:
        raise InputError(f"start noise for the part {part!r}", "hand or face", "Body networks start at their mean.")
    if mean.joints.shape != (joints[part], 3, 3):
        raise InputError(f"start rotations of shape {mean.joints.shape}", f"({joints[part]}, 3, 3) for a {part}")
    if part == "hand" and hand is None:
        raise InputError("start noise for a hand without finger components", "a HandPrior")
    noise = noise or START_NOISE[part]
    root, fingers_or_jaw, betas, expression = (rng.random(4) < noise.probability).tolist()
    turn = rng.uniform(-noise.root_deg, noise.root_deg)
    jaw = rng.uniform(0.0, noise.jaw_deg)
    coefficients = rng.normal(size=noise.finger_components)
    shape, face = rng.normal(size=mean.betas.shape), rng.normal(size=mean.expression.shape)
    start = mean
    if root and truth_root is not None:
        start = replace(start, root=turn_about_own_axis(truth_root, turn))
    if fingers_or_jaw:
        if part == "hand" and hand is not None:
            start = replace(start, joints=pca_fingers(hand.mean, hand.components, coefficients))
        else:
            start = replace(start, joints=jaw_open(jaw)[None])
    if betas:
        start = replace(start, betas=shape)
    if expression:
        start = replace(start, expression=face)
    return start
