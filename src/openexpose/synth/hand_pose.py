"""Sampling of hand poses. All are right hands, axis-angle [15, 3] about the flat hand; mirror them for the left.

Order of the fingers: index, middle, pinky, ring, thumb, three joints each.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product

import numpy as np
from jaxtyping import Float

from openexpose.synth.body_pose import BodyPose
from openexpose.synth.collision import Capsules, depth_of
from openexpose.synth.grasp import HeldObject, sample_grasp, sample_pinch
from openexpose.synth.limits import FINGER_HIGH, FINGER_LOW, clip_right_hand, from_bend_spread_twist
from openexpose.synth.pose_source import PoseSource
from openexpose.synth.skeleton import WRIST, forward

Array = np.ndarray
Rng = np.random.Generator

INDEX_FINGER, MIDDLE_FINGER, PINKY, RING, THUMB = range(5)
GESTURES = {  # stretched fingers, and whether the thumb is
    "fist": ((), False), "thumb": ((), True), "point": ((INDEX_FINGER,), False), "gun": ((INDEX_FINGER,), True),
    "two": ((INDEX_FINGER, MIDDLE_FINGER), False), "three": ((INDEX_FINGER, MIDDLE_FINGER, RING), False),
    "three with thumb": ((INDEX_FINGER, MIDDLE_FINGER), True),
    "four": ((INDEX_FINGER, MIDDLE_FINGER, RING, PINKY), False), "pinky": ((PINKY,), False),
    "horns": ((INDEX_FINGER, PINKY), False), "call": ((PINKY,), True),
    "open": ((INDEX_FINGER, MIDDLE_FINGER, RING, PINKY), True),
}  # fmt: skip
"""Named gestures: which fingers are stretched, and whether the thumb is; the others are closed."""
KINDS = {"library": 0.4, "limits": 0.22, "gesture": 0.2, "relaxed": 0.18}
"""How a hand pose is drawn, with shares."""
_ORDER = np.array([INDEX_FINGER, MIDDLE_FINGER, RING, PINKY])
_THUMB_IN, _THUMB_OUT = np.radians([42.0, -8, -8]), np.radians([2.0, 5, 0])


@dataclass(frozen=True)
class Hands:
    """Both hands of a person.

    Attributes:
        right, left_as_right: [15, 3] axis-angle; the left hand as the right one would do it.
        props: for ``left`` and ``right`` what the hand holds, in the frame of a right wrist, or None.
    """

    right: Float[Array, "15 3"]
    left_as_right: Float[Array, "15 3"]
    props: Mapping[str, HeldObject | None] = field(default_factory=lambda: {"left": None, "right": None})


def sample_hand_pose(rng: Rng, source: PoseSource) -> Float[Array, "15 3"]:
    """A right-hand pose inside the limits: blended library poses, uniform in the limits, gestures, relaxed hands."""
    kind = rng.choice(list(KINDS), p=list(KINDS.values()))
    if kind == "gesture":
        return gesture(rng, str(rng.choice(list(GESTURES))))
    if kind == "limits":
        return _within_limits(rng)
    if kind == "relaxed":
        return relaxed(rng)
    pick = lambda: source.hands[rng.integers(len(source.hands))]  # noqa: E731
    t = rng.beta(0.6, 0.6)
    pose = t * pick() + (1 - t) * pick()
    if rng.random() < 0.5:
        for finger in rng.integers(0, 5, 2):
            pose[3 * finger : 3 * finger + 3] = pick()[3 * finger : 3 * finger + 3]
    pose = pose + rng.normal(0, 0.08, (15, 3)) + np.repeat(rng.normal(0, 0.08, (5, 3)), 3, 0)
    pose[0:12:3, 1] += rng.normal(0, 0.06, 4)  # spread
    return clip_right_hand(pose)


def _within_limits(rng: Rng) -> Float[Array, "15 3"]:
    """Bending nearly uniform in the limits; neighbours and the two outer joints of a finger bend alike."""
    knuckle = _coupled(rng, 0.45)
    middle = _coupled(rng, 0.35)
    spread = rng.uniform(-0.3, 1.0)
    share = np.clip(np.stack([knuckle, middle, 0.75 * middle + rng.normal(0.08, 0.1, 4)], 1), 0, 1)
    angles = np.zeros((5, 3, 3))
    low, high = FINGER_LOW.reshape(5, 3, 3), FINGER_HIGH.reshape(5, 3, 3)
    angles[:4, :, 0] = low[:4, :, 0] + share * (high - low)[:4, :, 0]
    angles[_ORDER, 0, 1] = _fan(rng, spread) * (1 - 0.7 * share[_ORDER, 0])
    angles[THUMB] = rng.uniform(low[THUMB], high[THUMB])
    angles[THUMB, 2, 0] = rng.uniform(-0.3, high[THUMB, 2, 0])
    return clip_right_hand(from_bend_spread_twist(angles.reshape(15, 3)))


def _coupled(rng: Rng, alike: float) -> Float[Array, "4"]:
    """Four numbers in [0, 1] (index, middle, pinky, ring), each uniform, neighbours alike by some share."""
    steps = np.cumsum(rng.normal(0, 0.28, 4))
    line = rng.uniform() + alike * (steps - steps[0]) + (1 - alike) * rng.uniform(-0.6, 0.6, 4)
    folded = np.abs((line + 1) % 2 - 1)  # reflected at 0 and 1: stays uniform
    return folded[[0, 1, 3, 2]]


def _fan(rng: Rng, spread: float) -> Float[Array, "4"]:
    """Spreading of index, middle, ring, pinky (radians)."""
    return np.radians(spread * np.array([12.0, 3, -7, -16]) + rng.normal(0, 2.5, 4))


def gesture(rng: Rng, name: str) -> Float[Array, "15 3"]:
    """One of ``GESTURES``, with some variation."""
    stretched, thumb_out = GESTURES[name]
    angles = np.zeros((5, 3, 3))
    closed = np.array([80.0, 95, 62])
    for finger in _ORDER:
        if finger in stretched:
            bend = np.array([-4, 4, 3]) + rng.normal(0, 6, 3)
        else:
            bend = closed * rng.uniform(0.82, 1.0) + rng.normal(0, 5, 3)
        angles[finger, :, 0] = np.radians(bend)
    fan = _fan(rng, rng.uniform(-0.15, 1.1) if len(stretched) > 1 else 0.1)
    angles[_ORDER, 0, 1] = fan * [1.0 if finger in stretched else 0.2 for finger in _ORDER]
    if thumb_out:
        angles[THUMB, 0] = _THUMB_OUT + np.radians(rng.normal(0, [12, 10, 5]))
        angles[THUMB, 1:, 0] = np.radians(rng.normal([-5, -8], 10))
    else:
        angles[THUMB, 0] = _THUMB_IN + np.radians(rng.normal(0, 5, 3))
        angles[THUMB, 1:, 0] = np.radians(rng.normal([38, 42], 8))
    return clip_right_hand(from_bend_spread_twist(angles.reshape(15, 3)))


def relaxed(rng: Rng, bend_deg: tuple[float, float] = (5.0, 45.0)) -> Float[Array, "15 3"]:
    """Fingers lightly bent, each a little more than the one before."""
    base = rng.uniform(*bend_deg)
    angles = np.zeros((5, 3, 3))
    more = rng.uniform(0, 8)
    for k, finger in enumerate(_ORDER):
        knuckle = 0.6 * base + more * k + rng.normal(0, 4)
        angles[finger, :, 0] = np.radians([knuckle, base + more * k + rng.normal(0, 4), 0.6 * base + rng.normal(0, 3)])
    angles[_ORDER, 0, 1] = _fan(rng, rng.uniform(-0.2, 0.5))
    angles[THUMB, 0] = np.radians(rng.normal([18, -8, 0], [10, 8, 5]))
    angles[THUMB, 1:, 0] = np.radians(rng.normal([12, 12], 9))
    return clip_right_hand(from_bend_spread_twist(angles.reshape(15, 3)))


def sample_hands(rng: Rng, source: PoseSource, body: BodyPose | None = None, *, holding: float = 0.2) -> Hands:
    """Both hands, fitting to what the arms do.

    Args:
        body: the body pose; None: hands of nobody in particular.
        holding: share of the free hands that hold something.
    """
    if body is not None and body.clasp is not None:
        return _clasped(rng, body.clasp)
    poses, props = {}, {}
    for side, name in enumerate(("left", "right")):
        style = body.arms if body is not None and side in body.sides else "as they are"
        stance = body.stance if body is not None else "prior"
        poses[name], props[name] = _one_hand(rng, source, style, stance, holding)
        held = props[name]
        if held is not None and body is not None and _in_the_way(held, side, body, source.capsules):
            poses[name], props[name] = sample_hand_pose(rng, source), None
    if rng.random() < 0.2 and not any(props.values()):
        poses["left"] = clip_right_hand(poses["right"] + rng.normal(0, 0.05, (15, 3)))
    return Hands(poses["right"], poses["left"], props)


def _in_the_way(held: HeldObject, side: int, body: BodyPose, capsules: Capsules) -> bool:
    """Whether what is held would go through the body elsewhere than in its hand."""
    rotations, joints = forward(body.pose, capsules.rest)
    corners = np.array(list(product((-1.0, 0.0, 1.0), np.linspace(-1, 1, 9), (-1.0, 0.0, 1.0))))
    points = (corners * held.size) @ held.rotation.T + held.centre
    points = (points * [1.0 - 2.0 * (side == 0), 1, 1]) @ rotations[WRIST + side].T + joints[WRIST + side]
    name = ("left", "right")[side]
    own = capsules.of((f"{name} hand",))
    return depth_of(points, capsules, rotations, joints, ~own) > 0.0


_USUAL = {
    "folded": (0.8, (5.0, 40.0)), "hips": (0.8, (0.0, 35.0)), "knees": (0.8, (0.0, 30.0)),
    "behind": (0.7, (10.0, 50.0)), "face": (0.55, (5.0, 60.0)),
}  # fmt: skip
"""Arms at whose ends hands are relaxed, how often and how far they are bent (degrees)."""


def _one_hand(
    rng: Rng, source: PoseSource, style: str, stance: str, holding: float
) -> tuple[Float[Array, "15 3"], HeldObject | None]:
    if style == "point" and rng.random() < 0.85:
        return gesture(rng, "point" if rng.random() < 0.8 else "gun"), None
    if style == "wave" and rng.random() < 0.8:
        return gesture(rng, "open"), None
    if style in _USUAL and rng.random() < _USUAL[style][0]:
        return relaxed(rng, _USUAL[style][1]), None
    if stance in ("fours", "upside") and rng.random() < 0.9:
        return relaxed(rng, (0.0, 12.0)), None
    if style not in ("folded", "hips", "knees", "behind", "wave", "point") and rng.random() < holding:
        return sample_pinch(rng) if rng.random() < 0.3 else sample_grasp(rng)
    return sample_hand_pose(rng, source), None


def _clasped(rng: Rng, kind: str) -> Hands:
    """Hands that touch one another."""
    if kind == "palm to palm":
        flat = relaxed(rng, (0.0, 10.0))
        return Hands(flat, clip_right_hand(flat + rng.normal(0, 0.03, (15, 3))))
    if kind == "clasped":
        return Hands(_interlaced(rng), _interlaced(rng))
    held, around = relaxed(rng, (10.0, 35.0)), relaxed(rng, (45.0, 75.0))
    if kind == "loose":
        around = relaxed(rng, (15.0, 45.0))
    return Hands(around, held) if rng.random() < 0.5 else Hands(held, around)


def _interlaced(rng: Rng) -> Float[Array, "15 3"]:
    angles = np.zeros((5, 3, 3))
    angles[:4, :, 0] = np.radians(np.array([48.0, 62, 28]) + rng.normal(0, 6, 3))
    angles[_ORDER, 0, 1] = _fan(rng, rng.uniform(0.5, 0.9))
    angles[THUMB, 0] = np.radians(rng.normal([15, 0, 0], 6))
    angles[THUMB, 1:, 0] = np.radians(rng.normal([20, 25], 8))
    return clip_right_hand(from_bend_spread_twist(angles.reshape(15, 3)))
