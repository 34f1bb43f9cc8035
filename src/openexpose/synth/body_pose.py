"""Sampling of body poses: a stance, arms, a head that may look somewhere; inside joint limits, not inside itself."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from openexpose.geometry.rotation import matrix_to_rotvec, rotation_between, rotvec_to_matrix
from openexpose.synth.arms import ARMS, place
from openexpose.synth.collision import Capsules, overlaps_m
from openexpose.synth.limits import clip_body, mirror_body
from openexpose.synth.pose_source import PoseSource
from openexpose.synth.skeleton import (
    ARM_JOINTS,
    ELBOW,
    HEAD,
    LEG_JOINTS,
    NECK,
    SHOULDER,
    SPINE,
    WRIST,
    forward,
    hinge_elbows,
)
from openexpose.synth.stances import STANCES, take

Array = np.ndarray
Rng = np.random.Generator

BOUND_M = 0.025
"""How deep parts of a sampled body may be in one another, beyond what flesh yields."""
_TRIES, _ROUNDS, _CANDIDATES = 8, 6, 24
_AIM = 0.6
"""Share of the bound below which nothing is moved."""
_OWN_ARMS = {"fours": 0.0, "upside": 0.05, "lie": 0.25, "bent": 0.25, "climb": 0.2}
"""How often arms are replaced in stances that place them themselves; elsewhere: ``_REPLACED``."""
_REPLACED = 0.5
_NO_SIDES: tuple[int, ...] = ()
_ARMS_OF_THE_LYING = ("reach", "up", "folded", "face", "clasped")


@dataclass(frozen=True)
class BodyPose:
    """A sampled body pose.

    Attributes:
        pose: [22, 3] axis-angle; joint 0 is the tilt of the pelvis, without yaw.
        stance, arms: keys of ``STANCES``, ``ARMS`` or ``as they are``. sides: arms that were replaced, 0 is left.
        clasp: how the hands touch, one of ``openexpose.synth.arms.CLASPS``, or None.
    """

    pose: Float[Array, "22 3"]
    stance: str
    arms: str
    sides: tuple[int, ...]
    clasp: str | None


def sample_body_pose(
    rng: Rng,
    source: PoseSource,
    *,
    stance: str | None = None,
    arms: str | None = None,
    gaze_at: Float[Array, "3"] | None = None,
    betas: Float[Array, "b"] | None = None,
) -> Float[Array, "22 3"]:
    """The pose alone of :func:`sample_body`: axis-angle; joint 0 is the tilt of the pelvis, without yaw."""
    return sample_body(rng, source, stance=stance, arms=arms, gaze_at=gaze_at, betas=betas).pose


def sample_body(
    rng: Rng,
    source: PoseSource,
    *,
    stance: str | None = None,
    arms: str | None = None,
    gaze_at: Float[Array, "3"] | None = None,
    betas: Float[Array, "b"] | None = None,
) -> BodyPose:
    """One body pose inside the joint limits whose parts are not in one another by more than :data:`BOUND_M`.

    Args:
        stance: one of ``STANCES``, None: drawn.
        arms: one of ``ARMS``, or ``as they are`` for those of the stance. None: drawn, replaced in half of the poses.
        gaze_at: direction in the model frame (before any yaw) to which the head turns, as far as the neck can;
            None: no wish.
        betas: the shape in which parts shall not intersect; None: the mean shape.
    """
    capsules = source.capsules if betas is None else source.capsules.shaped(betas)
    mirrored = rng.random() < 0.5
    if mirrored and gaze_at is not None:
        gaze_at = gaze_at * [-1.0, 1.0, 1.0]
    best = BodyPose(np.zeros((22, 3)), "prior", "as they are", (), None)
    lowest = np.inf
    for _ in range(_TRIES):
        drawn = _draw(rng, source, capsules, (stance, arms, gaze_at))
        pose, left = keep_apart(drawn.pose, rng, capsules)
        kept = drawn.clasp is None or _hands_stay(drawn.pose, pose, capsules)
        cost = left + (0.0 if kept else 2 * BOUND_M)  # hands torn apart by the repair
        if cost < lowest:
            best, lowest = replace(drawn, pose=pose, clasp=drawn.clasp if kept else None), cost
        if lowest <= BOUND_M:
            break
    return _mirrored(best) if mirrored else best


def _hands_stay(before: Array, after: Array, capsules: Capsules) -> bool:
    """Whether the hands are to one another as they were."""
    across = [np.subtract(*forward(pose, capsules.rest)[1][[WRIST, WRIST + 1]]) for pose in (before, after)]
    return bool(np.linalg.norm(across[0] - across[1]) < 0.03)


def _mirrored(body: BodyPose) -> BodyPose:
    return BodyPose(mirror_body(body.pose), body.stance, body.arms, tuple(1 - s for s in body.sides), body.clasp)


def _draw(
    rng: Rng, source: PoseSource, capsules: Capsules, wishes: tuple[str | None, str | None, Array | None]
) -> BodyPose:
    stance, arms, gaze_at = wishes
    pose = clip_body(source.prior.sample(rng))
    if rng.random() < 0.2:  # the upper half of one, the lower half of another
        upper = [*SPINE, NECK, *range(13, 22)]
        pose[upper] = clip_body(source.prior.sample(rng))[upper]
    kind = stance or str(rng.choice(list(STANCES), p=list(STANCES.values())))
    take(kind, pose, rng, capsules)
    if rng.random() < 0.5:
        pose[[NECK, HEAD]] += rng.normal(0, [0.15, 0.28, 0.12], (2, 3))
    pose[1:] += rng.normal(0, 0.03, (21, 3))
    pose = clip_body(hinge_elbows(pose))
    if gaze_at is not None:
        look(pose, gaze_at, rng.uniform(0.6, 1.0), capsules)
    replaced = arms in ARMS or (arms is None and rng.random() < _OWN_ARMS.get(kind, _REPLACED))
    style, sides, clasp = arms or "as they are", _NO_SIDES, None
    if replaced:
        style = arms if arms is not None else _arm_style(rng, kind)
        sides, clasp = place(style, pose, rng, capsules)
    elif kind not in _OWN_ARMS:
        for wrist in (WRIST, WRIST + 1):
            if rng.random() < 0.7:
                pose[wrist] = np.radians(rng.normal(0, [30, 13, 28]))
    return BodyPose(clip_body(pose), kind, style, sides, clasp)


def _arm_style(rng: Rng, stance: str) -> str:
    names = _ARMS_OF_THE_LYING if stance == "lie" else tuple(ARMS)
    shares = np.array([ARMS[name] for name in names])
    return str(rng.choice(names, p=shares / shares.sum()))


def look(pose: Float[Array, "22 3"], direction: Float[Array, "3"], share: float, capsules: Capsules) -> None:
    """Turn neck and head of a pose, in place, by a share of the way to where the face has a direction."""
    rotations, _ = forward(pose, capsules.rest)
    face = rotations[HEAD] @ np.array([0.0, 0.0, 1.0])
    turn = matrix_to_rotvec(rotation_between(face, direction / np.linalg.norm(direction)))
    half = rotvec_to_matrix(turn * share / 2)
    above = rotations[SPINE[2]]
    neck = above.T @ half @ above @ rotvec_to_matrix(pose[NECK])
    pose[NECK] = np.clip(matrix_to_rotvec(neck), -0.7, 0.7)
    base = above @ rotvec_to_matrix(pose[NECK])
    pose[HEAD] = matrix_to_rotvec(base.T @ rotvec_to_matrix(turn * share) @ rotations[HEAD])
    pose[:] = clip_body(pose)


def keep_apart(
    pose: Float[Array, "22 3"], rng: Rng, capsules: Capsules, bound_m: float = BOUND_M
) -> tuple[Float[Array, "22 3"], float]:
    """Move arms and legs of a pose a little until no parts are deeper in one another than a bound.

    Random changes of the limbs in question, of growing size; the smallest change that helps is taken. They begin where
    parts are deeper than a good half of the bound, so that hands rest on the skin and not in it.

    Returns:
        The pose, and how deep parts still are (metres, 0: apart).
    """
    limbs = _limbs(capsules)
    over = overlaps_m(capsules, *forward(pose, capsules.rest))
    for k in range(_ROUNDS):
        if over.max() <= _AIM * bound_m:
            break
        touched = np.unique(limbs[capsules.pairs[over > _AIM * bound_m]])
        joints = [joint for limb in touched if limb >= 0 for joint in _MOVED[limb]]
        size = (0.06 + 0.09 * k) * rng.uniform(0.3, 2.0, (_CANDIDATES, 1, 1))
        change = np.zeros((_CANDIDATES, 22, 3))
        change[:, joints] = size * rng.normal(0, 1, (_CANDIDATES, len(joints), 3)) * _FREEDOM[joints]
        change[0] = 0
        tried = clip_body(pose + change)
        overlaps = overlaps_m(capsules, *forward(tried, capsules.rest))
        cost = np.maximum(overlaps - 0.8 * _AIM * bound_m, 0).sum(-1) + 0.004 * np.linalg.norm(change, axis=(1, 2))
        best = int(cost.argmin())
        pose, over = tried[best], overlaps[best]
    return pose, float(max(over.max(), 0.0))


_MOVED = (ARM_JOINTS[0][1:], ARM_JOINTS[1][1:], LEG_JOINTS[0][:2], LEG_JOINTS[1][:2])
_FREEDOM = np.ones((22, 3))
_FREEDOM[[ELBOW, ELBOW + 1]] = [0.2, 1.0, 0.0]  # hinges
_FREEDOM[LEG_JOINTS[0][1]] = _FREEDOM[LEG_JOINTS[1][1]] = [1.0, 0.0, 0.0]
_FREEDOM[[SHOULDER, SHOULDER + 1]] = 1.0


def _limbs(capsules: Capsules) -> Array:
    """The limb of each capsule: left arm, right arm, left leg, right leg, else -1."""
    numbers = []
    for part in capsules.parts:
        arm = any(name in part for name in ("arm", "hand"))
        side = ("left", "right").index(part.split()[0]) if part.split()[0] in ("left", "right") else -1
        numbers.append(side + 2 * (not arm) if side >= 0 else -1)
    return np.array(numbers)
