"""Hands closed around simple objects: fingers are capsules that bend until they touch. Right hands, wrist frame.

The wrist frame is that of the flat right hand: fingers along -x, palm facing -y, thumb towards +z; origin at the wrist.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float

from openexpose.body.keypoints import INDEX
from openexpose.body.model import BodyModel
from openexpose.geometry.rotation import rotvec_to_matrix
from openexpose.synth.collision import free_body
from openexpose.synth.limits import FINGER_HIGH, FINGER_LOW, clip_right_hand, from_bend_spread_twist

Array = np.ndarray
Rng = np.random.Generator

THUMB = 4
_SPOTS = np.array([0.25, 0.55, 0.85, 1.0])
_SCAN, _BISECTIONS = 14, 6
_PINCHES, _CANDIDATES, _THINNEST_M = 16, 300, 0.0025
_CLOSED = np.radians(np.array([*([90.0, 105, 80],) * 4, [50, 55, 65]]))
_TIP_FINGERS = (1, 2, 4, 3, 0)
"""Where the tips of index, middle, pinky, ring and thumb are in the model's list of picked vertices."""

SHAPES = {
    "cylinder": ("can", "bottle", "mug", "stick", "racket", "umbrella"),
    "sphere": ("ball",),
    "box": ("box", "book", "phone"),
    "pinched": ("pen", "ball", "phone"),
}
"""What objects look like, by the shape that is grasped."""


@dataclass(frozen=True)
class HeldObject:
    """Something in a hand, in the frame of a right wrist.

    Attributes:
        look: what it is, one of the names in ``SHAPES``. shape: ``cylinder`` (axis y), ``sphere`` or ``box``.
        size: [3] half extents (metres); a cylinder's radius is size[0], half its length size[1].
        rotation, centre: object to wrist frame.
    """

    look: str
    shape: str
    size: Float[Array, "3"]
    rotation: Float[Array, "3 3"]
    centre: Float[Array, "3"]

    def distance(self, points: Float[Array, "*n 3"]) -> Float[Array, "*n"]:
        """Signed distance from the object's surface to points in the wrist frame, negative inside."""
        p = (points - self.centre) @ self.rotation
        if self.shape == "sphere":
            return np.linalg.norm(p, axis=-1) - self.size[0]
        if self.shape == "cylinder":
            q = np.stack([np.hypot(p[..., 0], p[..., 2]) - self.size[0], np.abs(p[..., 1]) - self.size[1]], -1)
        else:
            q = np.abs(p) - self.size
        return np.linalg.norm(np.maximum(q, 0), axis=-1) + np.minimum(q.max(-1), 0)


@dataclass(frozen=True)
class HandShape:
    """Measures of the right hand, wrist frame.

    Attributes:
        joints: [5, 4, 3] three joints and the tip of each finger, flat hand. radii: [5, 3] of the phalanges.
        palm: [n, 3] points of the palm's skin.
    """

    joints: Float[Array, "5 4 3"]
    radii: Float[Array, "5 3"]
    palm: Float[Array, "n 3"]


def fit_hand(model: BodyModel) -> HandShape:
    """Measure the right hand of a body model's mean shape."""
    wrist = INDEX["right_wrist"]
    origin, first = model.joint_template[wrist].astype(float), INDEX["right_index1"]
    chain = (model.joint_template[first : first + 15].astype(float) - origin).reshape(5, 3, 3)
    tips = model.v_template[model.extra_vertices[-5:]].astype(float)[list(_TIP_FINGERS)] - origin
    v, owner = model.v_template.astype(float) - origin, model.weights.argmax(1)
    radii = np.zeros((5, 3))
    ends = np.concatenate([chain, tips[:, None]], 1)
    for finger in range(5):
        for k in range(3):
            a, bone = ends[finger, k], ends[finger, k + 1] - ends[finger, k]
            skin = v[owner == first + 3 * finger + k] - a
            share = skin @ bone / (bone @ bone)
            skin = skin[(share > 0.2) & (share < 0.8)]
            radii[finger, k] = np.median(np.linalg.norm(np.cross(skin, bone), axis=1)) / np.linalg.norm(bone)
        last = ends[finger, 3] - ends[finger, 2]
        ends[finger, 3] -= last / np.linalg.norm(last) * 0.7 * radii[finger, 2]  # the capsule's end, not the skin's
    palm = v[(owner == wrist) & (v[:, 1] < 0)]
    return HandShape(ends, radii, palm[palm[:, 0] < -0.02])


@lru_cache(maxsize=1)
def default_hand() -> HandShape:
    """That of the packaged free body."""
    return fit_hand(free_body())


def finger_joints(pose: Float[Array, "*n 15 3"], hand: HandShape) -> Float[Array, "*n 5 4 3"]:
    """Joints and tips of the fingers of right hands (axis-angle) in the wrist frame."""
    local = rotvec_to_matrix(pose.reshape(*pose.shape[:-2], 5, 3, 3))
    bones = np.diff(hand.joints, axis=1)
    points = [np.broadcast_to(hand.joints[:, 0], (*pose.shape[:-2], 5, 3))]
    turn = np.broadcast_to(np.eye(3), (*pose.shape[:-2], 5, 3, 3))
    for k in range(3):
        turn = turn @ local[..., k, :, :]
        points.append(points[-1] + (turn @ bones[:, k, :, None])[..., 0])
    return np.stack(points, -2)


def clearance(pose: Float[Array, "*n 15 3"], thing: HeldObject, hand: HandShape) -> Float[Array, "*n 5 3"]:
    """Gap between each phalanx and an object (metres), negative where they overlap."""
    joints = finger_joints(pose, hand)
    start, bone = joints[..., :-1, None, :], np.diff(joints, axis=-2)[..., None, :]
    points = start + _SPOTS[:, None] * bone
    return thing.distance(points).min(-1) - hand.radii


def sample_grasp(rng: Rng, hand: HandShape | None = None) -> tuple[Float[Array, "15 3"], HeldObject]:
    """An object in the palm and a right hand closed around it."""
    hand = hand or default_hand()
    start = _open(rng)
    thing = _laid_in_palm(_sample_object(rng), start, hand)
    return close(thing, start, hand, rng), thing


def _open(rng: Rng) -> Float[Array, "5 3 3"]:
    """An open hand, ready to grasp: bend, spread and twist of each joint."""
    angles = np.zeros((5, 3, 3))
    angles[THUMB, 0] = np.radians(rng.normal([0, -12, 0], [3, 4, 3]))
    angles[:4, 0, 1] = np.radians(rng.normal([2, 1, -4, -2], 1.5))
    return angles


def _sample_object(rng: Rng) -> HeldObject:
    shape = str(rng.choice(["cylinder", "sphere", "box"], p=[0.6, 0.15, 0.25]))
    look = str(rng.choice(SHAPES[shape]))
    if shape == "cylinder":
        radius, half = {
            "can": (rng.uniform(0.025, 0.036), rng.uniform(0.05, 0.08)),
            "bottle": (rng.uniform(0.025, 0.04), rng.uniform(0.09, 0.15)),
            "mug": (rng.uniform(0.03, 0.042), rng.uniform(0.04, 0.055)),
        }.get(look, (rng.uniform(0.009, 0.018), rng.uniform(0.1, 0.5)))
        size = np.array([radius, half, radius])
        slant = rng.uniform(-0.15, 0.6)
        axis = np.array([-np.sin(slant), 0, np.cos(slant)])  # along y of the object, across the palm
        frame = np.stack([np.cross(axis, [0, -1.0, 0]), axis, [0, -1.0, 0]], 1)
        place = np.array([-rng.uniform(0.075, 0.1), 0, rng.uniform(-0.005, 0.01)]) + axis * rng.uniform(
            -0.3, 0.8
        ) * max(half - 0.06, 0)
    elif shape == "sphere":
        size = np.full(3, rng.uniform(0.022, 0.05))
        frame, place = np.eye(3), np.array([-rng.uniform(0.085, 0.105), 0, rng.uniform(0.0, 0.015)])
    else:
        thick = {"box": rng.uniform(0.012, 0.03), "book": rng.uniform(0.007, 0.016), "phone": 0.0042}[look]
        wide = {"box": rng.uniform(0.02, 0.035), "book": rng.uniform(0.05, 0.07), "phone": rng.uniform(0.034, 0.039)}[
            look
        ]
        size = np.array([wide, rng.uniform(0.05, 0.09), thick])
        turn = rng.normal(0, 0.25)
        frame = rotvec_to_matrix(np.array([0, turn, 0])) @ np.array([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]])
        shift = wide - rng.uniform(0.028, 0.036) if look == "book" else 0.0  # held at its edge
        place = np.array([-rng.uniform(0.085, 0.1) + shift, 0, 0.005])
    return HeldObject(look, shape, size, frame, place)


def _laid_in_palm(thing: HeldObject, start: Float[Array, "5 3 3"], hand: HandShape) -> HeldObject:
    """The object moved along the palm's normal until it touches the palm and the flat fingers."""
    low, high = -0.2, 0.02
    pose = from_bend_spread_twist(start.reshape(15, 3))
    for _ in range(18):
        middle = (low + high) / 2
        moved = _moved(thing, middle)
        apart = moved.distance(hand.palm).min() >= -0.002
        gaps = clearance(pose, moved, hand)
        apart = apart and gaps[:THUMB].min() >= 0.0 and gaps[THUMB, 0] >= 0.0
        low, high = (middle, high) if apart else (low, middle)
    return _moved(thing, low)


def _moved(thing: HeldObject, y: float) -> HeldObject:
    return HeldObject(
        thing.look, thing.shape, thing.size, thing.rotation, np.array([thing.centre[0], y, thing.centre[2]])
    )


def close(thing: HeldObject, start: Float[Array, "5 3 3"], hand: HandShape, rng: Rng) -> Float[Array, "15 3"]:
    """Bend each finger until it touches: first all its joints, then those beyond the touching phalanx.

    A finger that finds nothing closes to a loose fist.
    """
    angles = start.copy()
    weights = np.ones((5, 3))
    weights[:, 2] = rng.uniform(0.7, 1.0)
    closed = _CLOSED * weights
    limit = np.repeat([*rng.uniform(0.86, 0.97, 4), 0.85], 3).reshape(5, 3)
    share = np.zeros((5, 3))
    for free in ((0, 1, 2), (1, 2), (2,)):
        share = _advance(angles, closed, share, list(free), limit, thing, hand)
    angles[..., 0] += share * closed
    return clip_right_hand(from_bend_spread_twist(angles.reshape(15, 3)))


def _advance(
    angles: Array, closed: Array, share: Array, free: list[int], limit: Array, thing: HeldObject, hand: HandShape
) -> Array:
    """Close the ``free`` joints of every finger up to the first contact of what they carry."""

    def gaps(step: Array) -> Array:  # [n, 5] steps -> [n, 5] gaps
        tried = np.repeat(share[None], len(step), 0)
        tried[..., free] += step[..., None] * (limit - share)[:, free]
        bent = np.repeat(angles[None], len(step), 0)
        bent[..., 0] += tried * closed
        pose = from_bend_spread_twist(bent.reshape(-1, 15, 3))
        return clearance(pose, thing, hand)[..., free[0] :].min(-1)

    steps = np.linspace(0, 1, _SCAN)
    touching = gaps(np.repeat(steps[:, None], 5, 1)) <= 0
    first = np.where(touching.any(0), touching.argmax(0), _SCAN)
    low = np.where(first == 0, 0.0, steps[np.minimum(first, _SCAN) - 1])
    high = np.where(first == 0, 0.0, steps[np.minimum(first, _SCAN - 1)])
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        inside = gaps(middle[None])[0] <= 0
        low, high = np.where(inside, low, middle), np.where(inside, middle, high)
    result = share.copy()
    result[:, free] += low[:, None] * (limit - share)[:, free]
    return result


def sample_pinch(rng: Rng, hand: HandShape | None = None) -> tuple[Float[Array, "15 3"], HeldObject]:
    """A small object between the tips of thumb and index finger; the other fingers are out of its way."""
    hand = hand or default_hand()
    look = str(rng.choice(SHAPES["pinched"], p=[0.45, 0.3, 0.25]))
    wanted = {"pen": rng.uniform(0.004, 0.006), "ball": rng.uniform(0.006, 0.014), "phone": 0.0042}[look]
    best: tuple[float, Array, HeldObject] = (-np.inf, np.zeros((15, 3)), _sample_object(rng))
    for k in range(_PINCHES):
        if k == _PINCHES // 2:  # a ball is in nobody's way
            look, wanted = "ball", 0.005
        pose = _pinching(rng, hand, wanted)
        pads = finger_joints(pose, hand)[[0, THUMB], 3]
        distance = float(np.linalg.norm(pads[0] - pads[1]))
        between = (pads[0] - pads[1]) / distance
        half = (distance - hand.radii[0, 2] - hand.radii[THUMB, 2]) / 2
        if half < _THINNEST_M:
            continue
        thing = _pinched(rng, look, half, between, pads[1] + between * (hand.radii[THUMB, 2] + half))
        depth = float(clearance(pose, thing, hand).min())
        if depth > best[0]:
            best = depth, pose, thing
        if depth > -0.0015:
            break
    return best[1], best[2]


def _pinching(rng: Rng, hand: HandShape, half: float) -> Float[Array, "15 3"]:
    """Of many poses of thumb and index finger the one whose tips are best apart by an object's thickness."""
    low, high = FINGER_LOW.reshape(5, 3, 3), FINGER_HIGH.reshape(5, 3, 3)
    angles = np.zeros((_CANDIDATES, 5, 3, 3))
    angles[:, 0, :, 0] = np.radians(rng.uniform([25, 20, 5], [75, 70, 40], (_CANDIDATES, 3)))
    saddle = rng.normal(np.radians([32, 0, 0]), 0.2, (_CANDIDATES, 3))
    angles[:, THUMB, 0] = np.clip(saddle, low[THUMB, 0], high[THUMB, 0])
    angles[:, THUMB, 1:, 0] = np.radians(rng.uniform([-5, -5], [50, 50], (_CANDIDATES, 2)))
    others = rng.choice(["stretched", "alike", "curled"])
    if others == "stretched":
        angles[:, 1:4, :, 0] = np.radians(rng.uniform(0, 20, (3, 3)))
    elif others == "alike":
        angles[:, 1:4, :, 0] = angles[:, None, 0, :, 0] + np.radians([[2.0], [14.0], [8.0]])
    else:
        angles[:, 1:4, :, 0] = np.radians([75, 85, 50]) + rng.normal(0, 0.08, (3, 3))
    pose = clip_right_hand(from_bend_spread_twist(angles.reshape(_CANDIDATES, 15, 3)))
    joints = finger_joints(pose, hand)
    gap = np.linalg.norm(joints[:, 0, 3] - joints[:, THUMB, 3], axis=-1) - hand.radii[0, 2] - hand.radii[THUMB, 2]
    inner = np.linalg.norm(joints[:, 0, 2:].mean(1) - joints[:, THUMB, 2:].mean(1), axis=-1)
    crossed = np.maximum(gap + hand.radii[0, 2] + hand.radii[THUMB, 2] - inner, 0)  # the tips come closest
    best: Array = pose[(np.abs(gap - 2 * half) + 0.5 * crossed).argmin()]
    return best


def _pinched(rng: Rng, look: str, half: float, between: Array, centre: Array) -> HeldObject:
    """The object with its thin side along ``between``."""
    lengthwise = np.cross(between, rng.normal(size=3))
    lengthwise /= np.linalg.norm(lengthwise)
    if look == "pen":
        frame = np.stack([between, lengthwise, np.cross(between, lengthwise)], 1)
        length = rng.uniform(0.06, 0.08)
        return HeldObject(look, "cylinder", np.array([half, length, half]), frame, centre + lengthwise * 0.035)
    if look == "ball":
        return HeldObject(look, "sphere", np.full(3, half), np.eye(3), centre)
    outwards = np.array([-0.8, -0.4, 0.6]) + rng.normal(0, 0.4, 3)
    lengthwise = outwards - between * (outwards @ between)
    lengthwise /= np.linalg.norm(lengthwise)
    frame = np.stack([np.cross(lengthwise, between), lengthwise, between], 1)
    size = np.array([0.036, 0.072, half])
    return HeldObject(look, "box", size, frame, centre + lengthwise * 0.055)
