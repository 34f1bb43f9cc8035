"""Where arms go: folded, on the hips, to the face, clasped ... Poses are axis-angle [22, 3], changed in place.

Targets are told for the left arm and mirrored: ``sign`` is 1 on the left and -1 on the right.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from openexpose.synth.collision import Capsules
from openexpose.synth.skeleton import ELBOW, HEAD, HIP, KNEE, SHOULDER, SPINE, WRIST, forward, orient_hand, reach

Array = np.ndarray
Rng = np.random.Generator

ARMS = {
    "reach": 0.21, "up": 0.09, "folded": 0.1, "hips": 0.09, "face": 0.17, "knees": 0.06, "behind": 0.05,
    "clasped": 0.08, "point": 0.05, "wave": 0.04, "free": 0.06,
}  # fmt: skip
"""Where arms that are replaced go, with shares. ``clasped``: the hands touch one another."""
_BOTH = ("folded", "knees", "clasped")
CLASPS = ("palm to palm", "clasped", "holding", "loose")
"""How two hands touch."""


@dataclass(frozen=True)
class Aim:
    """Where a hand goes, model frame: the wrist's place, what the elbow points to, the hand's directions if wanted."""

    wrist: Float[Array, "3"]
    pole: Float[Array, "3"]
    fingers: Float[Array, "3"] | None = None
    palm: Float[Array, "3"] | None = None


def place(style: str, pose: Float[Array, "22 3"], rng: Rng, capsules: Capsules) -> tuple[tuple[int, ...], str | None]:
    """Put one or both arms of a pose where a style, one of ``ARMS``, has them.

    Returns:
        The sides (0: left, 1: right), and for ``clasped`` one of ``CLASPS``.
    """
    sides = (0, 1) if style in _BOTH or rng.random() < 0.45 else (int(rng.integers(2)),)
    if style == "free":
        for side in sides:
            _free(pose, rng, side)
        return sides, None
    if style == "clasped":
        return sides, _clasp(pose, rng, capsules)
    draw = rng.integers(2**31)  # so that both arms share what a style draws once
    for side in sides:
        shared = np.random.default_rng(draw)
        skeleton = forward(pose, capsules.rest)
        aim = _AIMS[style](side, rng, shared, skeleton)
        _go(pose, capsules, side, aim, skeleton)
        if aim.fingers is None and rng.random() < 0.7:
            pose[WRIST + side] = np.radians(rng.normal(0, [28, 13, 26]))
    return sides, None


def _go(pose: Array, capsules: Capsules, side: int, aim: Aim, skeleton: tuple[Array, Array]) -> None:
    reach(pose, capsules.rest, side, aim.wrist, aim.pole, skeleton)
    pose[WRIST + side] = 0
    if aim.fingers is not None and aim.palm is not None:
        orient_hand(pose, capsules.rest, side, aim.fingers, aim.palm)


def _free(pose: Array, rng: Rng, side: int) -> None:
    sign = 1 - 2 * side
    angles = rng.normal(0, 30), -sign * rng.uniform(-25, 85), sign * rng.uniform(-75, 70)
    pose[SHOULDER + side] = np.radians(angles)
    pose[ELBOW + side] = np.radians([rng.normal(0, 35), -sign * rng.uniform(0, 135), 0])
    pose[WRIST + side] = np.radians(rng.normal(0, [28, 13, 26]))


def _pole(rng: Rng, sign: float, chest: Array, spread: float = 0.45) -> Array:
    """Elbows hang down and out."""
    return chest @ (np.array([0.6 * sign, -1.0, -0.4]) + rng.normal(0, spread, 3))


Skeleton = tuple[Array, Array]


def _reach(side: int, rng: Rng, shared: Rng, skeleton: Skeleton) -> Aim:
    rotations, joints = skeleton
    sign, chest = 1.0 - 2.0 * side, rotations[SPINE[2]]
    direction = rng.normal(0, 1, 3) * [0.8, 1, 0.7] + [sign * 0.35, 0, 0.6]
    direction = chest @ direction / np.linalg.norm(direction)
    return Aim(joints[SHOULDER + side] + direction * rng.uniform(0.2, 0.49), _pole(rng, sign, chest))


def _up(side: int, rng: Rng, shared: Rng, skeleton: Skeleton) -> Aim:
    rotations, joints = skeleton
    sign, chest = 1.0 - 2.0 * side, rotations[SPINE[2]]
    offset = np.array([sign * rng.normal(0.1, 0.15), rng.uniform(0.22, 0.5), rng.normal(0.08, 0.12)])
    pole = chest @ (np.array([sign, 0.1, -0.1]) + rng.normal(0, 0.3, 3))
    return Aim(joints[SHOULDER + side] + chest @ offset, pole)


def _folded(side: int, rng: Rng, shared: Rng, skeleton: Skeleton) -> Aim:
    """Forearms crossed before the chest, one over the other; hands on or under the other arm."""
    rotations, joints = skeleton
    sign, chest = 1.0 - 2.0 * side, rotations[SPINE[1]]
    over = shared.integers(2) == side
    height, apart = shared.uniform(-0.01, 0.07), shared.uniform(0.015, 0.04)
    across = rng.uniform(0.0, 0.05)
    spot = np.array([-sign * across, height + (apart if over else -apart), 0.27 if over else 0.215])
    wrist = joints[SPINE[1]] + chest @ spot
    fingers = chest @ np.array([-sign, rng.uniform(0.1, 0.5) if over else rng.uniform(-0.2, 0.2), -0.35])
    pole = chest @ np.array([0.75 * sign, -1.0, 0.1])
    return Aim(wrist, pole, fingers, chest @ np.array([0, 0.1, -1.0]))


def _hips(side: int, rng: Rng, shared: Rng, skeleton: Skeleton) -> Aim:
    rotations, joints = skeleton
    sign, pelvis = 1.0 - 2.0 * side, rotations[0]
    front = shared.random() < 0.65  # fingers to the front, or to the back
    spot = np.array([sign * rng.uniform(0.08, 0.12), rng.uniform(0.1, 0.17), -0.03 if front else 0.04])
    fingers = pelvis @ np.array([-sign * 0.35, -0.45, 1.0 if front else -0.8])
    wrist = joints[HIP + side] + pelvis @ spot
    return Aim(wrist, pelvis @ np.array([sign, 0.05, -0.45]), fingers, pelvis @ np.array([-sign, -0.1, 0]))


_FACE_SPOTS = {  # from the head joint: the place that is touched, the way out of it, where the fingers point
    "chin": ((0.0, -0.045, 0.10), (0, -0.6, 0.8), (-0.35, 0.85, 0.1)),
    "cheek": ((0.055, 0.02, 0.08), (0.8, -0.2, 0.55), (-0.1, 0.95, -0.15)),
    "mouth": ((0.0, 0.0, 0.12), (0.15, -0.1, 1), (-0.7, 0.7, 0)),
    "ear": ((0.078, 0.045, 0.02), (1, -0.1, 0.1), (-0.05, 0.9, -0.15)),
    "eyes": ((0.03, 0.05, 0.11), (0.2, 0.1, 1), (-0.8, 0.55, 0)),
    "brow": ((0.03, 0.1, 0.11), (0.2, 0.5, 0.9), (-0.9, 0.25, 0.1)),
    "crown": ((0.03, 0.15, 0.04), (0.2, 1, 0), (-0.7, 0.1, -0.5)),
    "back of the head": ((0.03, 0.07, -0.07), (0.25, 0.1, -1), (-0.8, 0.35, 0)),
    "neck": ((0.05, -0.07, 0.0), (0.9, 0, -0.2), (-0.3, 0.4, -0.8)),
}
_FACE_SHARES = (0.2, 0.16, 0.12, 0.17, 0.08, 0.07, 0.06, 0.08, 0.06)


def _face(side: int, rng: Rng, shared: Rng, skeleton: Skeleton) -> Aim:
    """The palm or the fingers on some place of the head; where several share a place, both hands."""
    rotations, joints = skeleton
    sign, head = 1.0 - 2.0 * side, rotations[HEAD]
    spot, out, fingers = (np.array(x, float) for x in _FACE_SPOTS[shared.choice(list(_FACE_SPOTS), p=_FACE_SHARES)])
    along = fingers / np.linalg.norm(fingers) + rng.normal(0, 0.12, 3)
    out = out / np.linalg.norm(out)
    touch = shared.choice([0.08, 0.13, 0.16])  # palm, fingers, finger tips
    wrist = spot + out * 0.02 - along * touch + rng.normal(0, 0.012, 3)
    wrist[1] -= 0.004
    flip = np.array([sign, 1, 1])
    pole = rotations[SPINE[2]] @ (np.array([sign, 0.2 if spot[2] < 0.03 and spot[1] > 0.05 else -0.8, 0.25]))
    place_ = joints[HEAD] + head @ (wrist * flip)
    return Aim(place_, pole + rng.normal(0, 0.15, 3), head @ (along * flip), head @ (-out * flip))


def _knees(side: int, rng: Rng, shared: Rng, skeleton: Skeleton) -> Aim:
    """Hands on the thighs or the knees."""
    rotations, joints = skeleton
    sign, thigh = 1.0 - 2.0 * side, rotations[HIP + side]
    along = joints[KNEE + side] - joints[HIP + side]
    front = thigh @ np.array([0, 0, 1.0])
    share = shared.uniform(0.35, 0.85)
    wrist = joints[HIP + side] + share * along + 0.12 * front + thigh @ np.array([rng.normal(0, 0.03), 0, 0])
    return Aim(wrist, _pole(rng, sign, rotations[SPINE[2]], 0.3), along, -front)


def _behind(side: int, rng: Rng, shared: Rng, skeleton: Skeleton) -> Aim:
    rotations, joints = skeleton
    sign, pelvis = 1.0 - 2.0 * side, rotations[SPINE[0]]
    spot = np.array([sign * rng.uniform(-0.02, 0.05), shared.uniform(-0.12, 0.08) - 0.03 * side, -0.14 - 0.05 * side])
    fingers = pelvis @ np.array([-sign, -0.35, -0.05])
    pole = pelvis @ np.array([sign * 0.9, 0, -0.7])
    return Aim(joints[SPINE[0]] + pelvis @ spot, pole, fingers, pelvis @ np.array([0, 0, -1.0]))


def _point(side: int, rng: Rng, shared: Rng, skeleton: Skeleton) -> Aim:
    rotations, joints = skeleton
    sign, chest = 1.0 - 2.0 * side, rotations[SPINE[2]]
    direction = np.array([sign * rng.normal(0.35, 0.5), rng.normal(0.1, 0.45), rng.uniform(0.1, 1.2)])
    direction = chest @ direction / np.linalg.norm(direction)
    wrist = joints[SHOULDER + side] + direction * rng.uniform(0.36, 0.48)
    palm = chest @ np.array([-sign * rng.uniform(0, 1), -1.0, 0])
    return Aim(wrist, _pole(rng, sign, chest), direction + rng.normal(0, 0.1, 3), palm)


def _wave(side: int, rng: Rng, shared: Rng, skeleton: Skeleton) -> Aim:
    rotations, joints = skeleton
    sign, chest = 1.0 - 2.0 * side, rotations[SPINE[2]]
    offset = np.array([sign * rng.uniform(0.08, 0.28), rng.uniform(0.02, 0.36), rng.uniform(0.05, 0.25)])
    fingers = chest @ np.array([sign * rng.normal(0.1, 0.3), 1.0, rng.normal(0, 0.15)])
    pole = chest @ np.array([sign, -0.6, -0.1])
    return Aim(joints[SHOULDER + side] + chest @ offset, pole, fingers, chest @ np.array([0, 0, 1.0]))


def _clasp(pose: Array, rng: Rng, capsules: Capsules) -> str:
    """Both hands together somewhere in front."""
    kind = str(rng.choice(CLASPS, p=[0.25, 0.35, 0.2, 0.2]))
    rotations, joints = forward(pose, capsules.rest)
    chest = rotations[SPINE[1]]
    height = rng.uniform(-0.16, 0.22)
    centre = joints[SPINE[1]] + chest @ np.array([rng.normal(0, 0.04), height, rng.uniform(0.25, 0.34)])
    if kind == "palm to palm":
        centre += chest @ np.array([0, 0.02, 0.1])
    gap = {"palm to palm": 0.022, "clasped": 0.03, "holding": 0.026, "loose": 0.05}[kind]
    turned = rng.uniform(0.0, 1.0)  # fingers from forwards to upwards
    for side, sign in ((0, 1.0), (1, -1.0)):
        if kind == "palm to palm":
            fingers, palm = np.array([-0.06 * sign, turned + 0.3, 1.1 - turned]), np.array([-sign, 0, 0.0])
            spot = np.array([sign * gap, 0, 0]) - 0.1 * fingers / np.linalg.norm(fingers)
        elif kind == "clasped":
            fingers, palm = np.array([-0.75 * sign, 0.5 * turned, 0.75]), np.array([-sign, -0.2, -0.75])
            spot = np.array([sign * (gap + 0.045), -0.03 * turned, -0.055])
        else:  # one hand lies in or over the other
            fingers, palm = np.array([-sign, -0.2, 0.5]), np.array([0.0, 0.0, -1.0])
            spot = np.array([sign * (gap + 0.05), 0, 0.0 if side else 0.04])
        aim = Aim(centre + chest @ spot, chest @ np.array([sign, -0.9, -0.2]), chest @ fingers, chest @ palm)
        _go(pose, capsules, side, aim, forward(pose, capsules.rest))
    return kind


_AIMS = {
    "reach": _reach, "up": _up, "folded": _folded, "hips": _hips, "face": _face, "knees": _knees, "behind": _behind,
    "point": _point, "wave": _wave,
}  # fmt: skip
