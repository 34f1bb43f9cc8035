"""Joint limits: boxes in axis-angle coordinates (degrees), one per joint, right side = mirrored left side.

Boxes of the body's joints lie along the model's axes, those of finger joints along their own (bend, spread, twist).

Frames are those of the body model (x to the subject's left, y up, z forward; T-pose). They are wide: they keep sampled
poses possible and do not describe a population.
"""

import numpy as np
from jaxtyping import Float

from openexpose.body.keypoints import BODY_JOINT_NAMES, INDEX, JOINT_FLIP

Array = np.ndarray

_MIRROR = np.array([1.0, -1.0, -1.0])

_BODY_DEG = {  # joint: (x low, high), (y low, high), (z low, high); sided names mean the left one
    "left_hip": ((-140, 45), (-60, 95), (-45, 85)),
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

_NECK, _HEAD = INDEX["neck"], INDEX["head"]
_LOOK_LOW, _LOOK_HIGH = np.radians([-48, -78, -45]), np.radians([62, 78, 45])
"""Bounds of neck and head together."""

_BONES = np.array(
    [
        *([-0.99, 0.0, 0.12],) * 3, *([-0.99, 0.0, -0.11],) * 3, *([-0.91, 0.0, -0.41],) * 3,
        *([-0.96, 0.0, -0.29],) * 3, *([-0.7, 0.0, 0.71],) * 3,
    ]
)  # fmt: skip
"""Directions of the right hand's phalanges in the rest pose: index, middle, pinky, ring, thumb."""
_HINGES = np.array([*([0.0, 0.0, 1.0],) * 12, [0.71, -0.09, 0.71], [0.4, -0.82, 0.42], [0.22, -0.94, 0.25]])
"""Axes about which they bend; made orthogonal to the bones."""

_FINGER_DEG = (  # (low, high) of bending, spreading, twisting; knuckle, middle and last joint
    ((-28, 92), (-22, 22), (-10, 10)),
    ((-6, 108), (-6, 6), (-8, 8)),
    ((-10, 90), (-6, 6), (-8, 8)),
)
_THUMB_DEG = (((-20, 58), (-38, 38), (-25, 25)), ((-25, 62), (-14, 14), (-14, 14)), ((-42, 78), (-7, 7), (-8, 8)))


def _finger_frames() -> Float[Array, "15 3 3"]:
    bone = _BONES / np.linalg.norm(_BONES, axis=1, keepdims=True)
    bend = _HINGES - bone * (_HINGES * bone).sum(1, keepdims=True)
    bend /= np.linalg.norm(bend, axis=1, keepdims=True)
    return np.stack([bend, np.cross(bone, bend), bone], -1)


FINGER_FRAMES = _finger_frames()
"""[15, 3, 3] of the right hand; columns: axes of bending, of spreading (of fingers: towards the thumb), of twisting."""
_fingers = np.radians(np.array([*_FINGER_DEG * 4, *_THUMB_DEG], float))
FINGER_LOW, FINGER_HIGH = _fingers[..., 0], _fingers[..., 1]
"""Bounds [15, 3] (radians) of bending, spreading and twisting; the last two of each finger's joints are hinges."""


def clip_body(rotvecs: Float[Array, "*n 22 3"]) -> Float[Array, "*n 22 3"]:
    """Body poses (axis-angle, radians) moved into the limits, component by component; neck and head also together."""
    pose = np.clip(rotvecs, BODY_LOW, BODY_HIGH)
    both = pose[..., _NECK, :] + pose[..., _HEAD, :]
    excess = (both - np.clip(both, _LOOK_LOW, _LOOK_HIGH)) / 2
    pose[..., _NECK, :] -= excess
    pose[..., _HEAD, :] -= excess
    return np.clip(pose, BODY_LOW, BODY_HIGH)


def bend_spread_twist(rotvecs: Float[Array, "*n 15 3"]) -> Float[Array, "*n 15 3"]:
    """Right-hand poses (axis-angle) in the joints' own axes, see :data:`FINGER_FRAMES`."""
    return np.einsum("jac,...ja->...jc", FINGER_FRAMES, rotvecs)


def from_bend_spread_twist(angles: Float[Array, "*n 15 3"]) -> Float[Array, "*n 15 3"]:
    """The inverse of :func:`bend_spread_twist`."""
    return np.einsum("jac,...jc->...ja", FINGER_FRAMES, angles)


def clip_right_hand(rotvecs: Float[Array, "*n 15 3"]) -> Float[Array, "*n 15 3"]:
    """Right-hand poses (axis-angle, radians) moved into the limits."""
    return from_bend_spread_twist(np.clip(bend_spread_twist(rotvecs), FINGER_LOW, FINGER_HIGH))


def mirror_body(rotvecs: Float[Array, "*n 22 3"]) -> Float[Array, "*n 22 3"]:
    """The pose seen in a mirror: sides exchanged, y and z components negated. Its own inverse."""
    return rotvecs[..., JOINT_FLIP[: len(BODY_JOINT_NAMES)], :] * _MIRROR


def mirror_hand(rotvecs: Float[Array, "15 3"]) -> Float[Array, "15 3"]:
    """A left-hand pose as the right hand would do it, and back."""
    return rotvecs * _MIRROR
