"""Joint limits: boxes in axis-angle coordinates (degrees), one per joint, right side = mirrored left side.

Frames are those of the body model (x to the subject's left, y up, z forward; T-pose). They are wide: they keep sampled
poses possible and do not describe a population.
"""

import numpy as np
from jaxtyping import Float

from openexpose.body.keypoints import BODY_JOINT_NAMES, INDEX, JOINT_FLIP

Array = np.ndarray

_MIRROR = np.array([1.0, -1.0, -1.0])

_BODY_DEG = {  # joint: (x low, high), (y low, high), (z low, high); sided names mean the left one
    "left_hip": ((-135, 45), (-50, 50), (-35, 75)),
    "left_knee": ((-3, 150), (-20, 20), (-15, 15)),
    "left_ankle": ((-45, 50), (-35, 35), (-30, 30)),
    "left_foot": ((-40, 50), (-8, 8), (-8, 8)),
    "left_collar": ((-20, 20), (-35, 30), (-15, 40)),
    "left_shoulder": ((-140, 140), (-150, 90), (-130, 120)),
    "left_elbow": ((-110, 110), (-155, 12), (-75, 75)),
    "left_wrist": ((-85, 85), (-40, 40), (-80, 75)),
    "spine1": ((-22, 50), (-30, 30), (-25, 25)),
    "spine2": ((-20, 35), (-30, 30), (-22, 22)),
    "spine3": ((-20, 25), (-25, 25), (-22, 22)),
    "neck": ((-35, 45), (-50, 50), (-35, 35)),
    "head": ((-38, 42), (-50, 50), (-35, 35)),
}

_FINGER_DEG = ((-30, 30), (-30, 30), (-100, 25))
_THUMB_DEG = ((-60, 60), (-70, 70), (-70, 70))


def _body_box() -> tuple[Array, Array]:
    low, high = np.full((22, 3), -np.inf), np.full((22, 3), np.inf)
    for name, box in _BODY_DEG.items():
        joint = INDEX[name]
        low[joint], high[joint] = np.radians(box).T
        other = JOINT_FLIP[joint]
        if other != joint:
            a, b = low[joint] * _MIRROR, high[joint] * _MIRROR
            low[other], high[other] = np.minimum(a, b), np.maximum(a, b)
    return low, high


BODY_LOW, BODY_HIGH = _body_box()
"""Bounds [22, 3] (radians) of the body joints; the pelvis is free."""

_left = np.radians(np.array([*[_FINGER_DEG] * 12, *[_THUMB_DEG] * 3], float))
RIGHT_HAND_LOW = np.minimum(_left[..., 0] * _MIRROR, _left[..., 1] * _MIRROR)
RIGHT_HAND_HIGH = np.maximum(_left[..., 0] * _MIRROR, _left[..., 1] * _MIRROR)
"""Bounds [15, 3] (radians) of the right hand's finger joints: a right finger closes about +z."""


def clip_body(rotvecs: Float[Array, "22 3"]) -> Float[Array, "22 3"]:
    """Body pose (axis-angle, radians) moved into the limits, component by component."""
    return np.clip(rotvecs, BODY_LOW, BODY_HIGH)


def clip_right_hand(rotvecs: Float[Array, "15 3"]) -> Float[Array, "15 3"]:
    """Right-hand pose (axis-angle, radians) moved into the limits."""
    return np.clip(rotvecs, RIGHT_HAND_LOW, RIGHT_HAND_HIGH)


def mirror_body(rotvecs: Float[Array, "22 3"]) -> Float[Array, "22 3"]:
    """The pose seen in a mirror: sides exchanged, y and z components negated. Its own inverse."""
    return rotvecs[JOINT_FLIP[: len(BODY_JOINT_NAMES)]] * _MIRROR


def mirror_hand(rotvecs: Float[Array, "15 3"]) -> Float[Array, "15 3"]:
    """A left-hand pose as the right hand would do it, and back."""
    return rotvecs * _MIRROR
