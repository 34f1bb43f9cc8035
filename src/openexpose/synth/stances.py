"""How bodies hold trunk and legs: sitting, kneeling, lying ... Poses are axis-angle [22, 3], changed in place.

Joint 0 is the tilt of the pelvis against a world whose floor is level (y up); it has no meaning as a yaw.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from openexpose.geometry.rotation import matrix_to_rotvec, rotvec_to_matrix
from openexpose.synth.collision import Capsules, height_m, settle
from openexpose.synth.skeleton import ANKLE, FOOT, HEAD, HIP, KNEE, NECK, SHOULDER, SPINE, WRIST, forward, reach, step

Array = np.ndarray
Rng = np.random.Generator

_SIDES = ((0, 1.0), (1, -1.0))
STANCES = {
    "prior": 0.55, "sit": 0.1, "floor": 0.05, "crouch": 0.05, "kneel": 0.035, "lunge": 0.025, "fours": 0.02,
    "climb": 0.02, "lie": 0.085, "bent": 0.045, "upside": 0.02,
}  # fmt: skip
"""How people hold themselves (``prior``: as the learned prior has it, mostly standing or walking), with shares.

``floor``: sitting on the floor. ``bent``: bent double. ``upside``: handstands and the like.
"""


def take(stance: str, pose: Float[Array, "22 3"], rng: Rng, capsules: Capsules) -> None:
    """Bring a pose into a stance, one of ``STANCES``."""
    if stance != "prior":
        _TAKERS[stance](pose, rng, capsules)


def _bend_legs(pose: Array, rng: Rng, hip_deg: tuple[float, float], knee_deg: tuple[float, float]) -> None:
    """Both legs bent: hip and knee angles uniform in the given ranges, nearly equal in three cases of four."""
    hips, knees = rng.uniform(*hip_deg, 2), rng.uniform(*knee_deg, 2)
    if rng.random() < 0.75:
        hips[1], knees[1] = hips[0] + rng.normal(0, 7), knees[0] + rng.normal(0, 8)
    for side, sign in _SIDES:
        pose[HIP + side] = np.radians([-hips[side], sign * rng.normal(0, 10), sign * rng.uniform(-2, 28)])
        pose[KNEE + side] = np.radians([knees[side], 0, 0])
        pose[FOOT + side] = 0


def _level_feet(pose: Array, rng: Rng, spread_deg: float = 6.0) -> None:
    """Turn the ankles so that the soles are level, as far as they can."""
    for side in (0, 1):
        shin = np.eye(3)
        for joint in (0, HIP + side, KNEE + side):
            shin = shin @ rotvec_to_matrix(pose[joint])
        up = shin.T @ np.array([0.0, 1.0, 0.0])
        pitch = np.arctan2(up[2], up[1]) + np.radians(rng.normal(0, spread_deg))
        pose[ANKLE + side] = [np.clip(pitch, -0.7, 0.75), 0, 0]


def _hang_ankles(pose: Array, rng: Rng) -> None:
    for side in (0, 1):
        pose[ANKLE + side] = np.radians([rng.uniform(-5, 45), rng.normal(0, 5), rng.normal(0, 5)])


def _curl(pose: Array, rng: Rng, low_deg: float, high_deg: float) -> None:
    """The spine bent forwards by so much in all; sideways and turned a little."""
    pose[SPINE] = np.radians(rng.normal(0, [2, 4, 3], (3, 3)))
    pose[SPINE, 0] += np.radians(rng.uniform(low_deg, high_deg)) * np.array([0.4, 0.35, 0.25])


def _sit(pose: Array, rng: Rng, capsules: Capsules) -> None:
    _bend_legs(pose, rng, (70, 105), (35, 115))
    pose[0] = np.radians([rng.normal(-4, 9), 0, rng.normal(0, 3)])
    pose[SPINE, 0] += rng.uniform(-0.05, 0.2)
    if rng.random() < 0.18:  # legs crossed: a thigh over the other, or an ankle on the other knee
        _cross(pose, rng, capsules)
    else:
        _level_feet(pose, rng, 10)


def _cross(pose: Array, rng: Rng, capsules: Capsules) -> None:
    side = int(rng.integers(2))
    sign, other = 1.0 - 2.0 * side, 1 - side
    pose[HIP + other] = np.radians([-88 + rng.normal(0, 5), 0, -sign * rng.uniform(2, 10)])
    pose[KNEE + other] = np.radians([rng.uniform(80, 105), 0, 0])
    if rng.random() < 0.5:
        pose[HIP + side] = np.radians([-112 + rng.normal(0, 4), 0, -sign * rng.uniform(14, 22)])
        pose[KNEE + side] = np.radians([rng.uniform(75, 100), 0, 0])
    else:
        skeleton = forward(pose, capsules.rest)
        knee = skeleton[1][KNEE + other]
        target = knee + np.array([sign * 0.04, 0.12, -0.03 + rng.normal(0, 0.02)])
        step(pose, capsules.rest, side, target, np.array([sign, 0.15, 0.5]), skeleton)
    _level_feet(pose, rng, 10)
    pose[ANKLE + side] = np.radians([rng.uniform(-5, 30), 0, 0])


def _floor(pose: Array, rng: Rng, capsules: Capsules) -> None:
    """Sitting on the floor: cross-legged, legs out, knees up, legs to one side."""
    kind = rng.choice(["crossed", "out", "knees up", "aside"], p=[0.35, 0.3, 0.25, 0.1])
    pose[0] = np.radians([rng.normal(-8, 7), 0, rng.normal(0, 3)])
    _curl(pose, rng, 5, 45)
    if kind == "crossed":
        skeleton = forward(pose, capsules.rest)
        front = rng.permutation([0.3, 0.4])
        for side, sign in _SIDES:
            target = skeleton[1][0] + np.array([-sign * rng.uniform(0.02, 0.1), -0.06, front[side]])
            step(pose, capsules.rest, side, target, np.array([sign, 0.25, 0.45]), skeleton)
    elif kind == "out":
        _bend_legs(pose, rng, (82, 95), (0, 25))
        spread = rng.uniform(0, 45)
        pose[[HIP, HIP + 1], 2] += np.radians([spread, -spread])
    elif kind == "knees up":
        _bend_legs(pose, rng, (105, 130), (108, 142))
    else:
        side = 1 - 2 * int(rng.integers(2))
        pose[HIP], pose[HIP + 1] = np.radians([-75, side * 45, 10]), np.radians([-75, side * 45, -10])
        pose[[KNEE, KNEE + 1]] = np.radians([[rng.uniform(80, 120), 0, 0], [rng.uniform(80, 120), 0, 0]])
    _hang_ankles(pose, rng)
    _lower_legs(pose, capsules)
    if kind == "knees up":
        _level_feet(pose, rng)
    _let_down(pose, rng, capsules, 4)


def _lower_legs(pose: Array, capsules: Capsules) -> None:
    """Lift or sink each leg about its hip until its lowest point is as low as the seat's."""
    seat = capsules.of(("seat",))
    steps = np.radians(np.arange(-60, 61, 4.0))
    for side, name in enumerate(("left", "right")):
        leg = capsules.of((f"{name} lower thigh", f"{name} shin", f"{name} foot"))
        tried = np.repeat(pose[None], len(steps), 0)
        lift = rotvec_to_matrix(np.stack([steps, 0 * steps, 0 * steps], -1))
        tried[:, HIP + side] = matrix_to_rotvec(lift @ rotvec_to_matrix(pose[HIP + side]))
        heights = height_m(capsules, *forward(tried, capsules.rest))
        gap = np.abs(heights[:, leg].min(1) - heights[:, seat].min(1)) + 0.03 * np.abs(steps)
        pose[HIP + side] = tried[gap.argmin(), HIP + side]


def _crouch(pose: Array, rng: Rng, capsules: Capsules) -> None:
    _bend_legs(pose, rng, (50, 125), (65, 145))
    hip, knee = np.degrees(-pose[HIP : HIP + 2, 0].mean()), np.degrees(pose[KNEE : KNEE + 2, 0].mean())
    shin = rng.uniform(5, 28)  # leans forwards
    pose[0] = np.radians([np.clip(shin + hip - knee, -5, 55), 0, rng.normal(0, 5)])
    _level_feet(pose, rng)


def _kneel(pose: Array, rng: Rng, capsules: Capsules) -> None:
    low = rng.random() < 0.35  # on the heels
    bend = rng.uniform(125, 148) if low else rng.uniform(80, 100)
    tilt = rng.uniform(-5, 30)
    thigh = bend - 90  # leans backwards, the shins lie on the floor
    for side, sign in _SIDES:
        turn, spread = sign * rng.normal(0, 5), sign * rng.uniform(0, 18)
        pose[HIP + side] = np.radians([-(tilt + thigh) + rng.normal(0, 2), turn, spread])
        pose[KNEE + side] = np.radians([bend + rng.normal(0, 2), 0, 0])
        pose[ANKLE + side] = np.radians([rng.uniform(20, 48), 0, 0])
        pose[FOOT + side] = 0
    pose[0] = np.radians([tilt, 0, rng.normal(0, 3)])
    if not low and rng.random() < 0.5:  # one foot in front
        pose[HIP] = np.radians([-(90 + tilt) + rng.normal(0, 8), 0, rng.uniform(0, 15)])
        pose[KNEE], pose[ANKLE] = np.radians([92 + rng.normal(0, 10), 0, 0]), np.zeros(3)


def _lunge(pose: Array, rng: Rng, capsules: Capsules) -> None:
    tilt, bend = rng.uniform(-5, 40), rng.uniform(45, 100)
    pose[0] = np.radians([tilt, 0, rng.normal(0, 4)])
    pose[HIP] = np.radians([-(bend * rng.uniform(0.85, 1.0) + tilt), 0, rng.uniform(0, 14)])
    pose[KNEE] = np.radians([bend, 0, 0])
    pose[HIP + 1] = np.radians([rng.uniform(15, 40) - 0.7 * tilt, 0, -rng.uniform(0, 14)])
    pose[KNEE + 1] = np.radians([rng.uniform(0, 50), 0, 0])
    _level_feet(pose, rng)
    pose[ANKLE + 1] = np.radians([-30 + rng.normal(0, 8), 0, 0])
    pose[FOOT + 1] = np.radians([-25, 0, 0])


def _fours(pose: Array, rng: Rng, capsules: Capsules) -> None:
    """On hands and knees, or on hands and feet."""
    bear = rng.random() < 0.25
    tilt = rng.uniform(80, 100) + (12 if bear else 0)
    pose[0] = np.radians([tilt, 0, 0])
    _curl(pose, rng, -15, 20)
    hip = rng.uniform(75, 105)
    for side, sign in _SIDES:
        step_deg = rng.normal(0, 10)
        pose[HIP + side] = np.radians([-(hip + step_deg), 0, sign * rng.uniform(0, 12)])
        knee = rng.uniform(20, 60) if bear else 90 + (hip + step_deg - tilt) + rng.normal(0, 4)
        pose[KNEE + side] = np.radians([knee, 0, 0])
        pose[ANKLE + side] = np.radians([-20 if bear else rng.uniform(5, 45), 0, 0])
        _straighten_arm(pose, side, np.array([sign * rng.uniform(0, 0.25), -1, rng.uniform(-0.2, 0.3)]), capsules)
    pose[NECK, 0], pose[HEAD, 0] = np.radians(rng.uniform(-30, 10, 2))
    _let_down(pose, rng, capsules, 15)


def _straighten_arm(pose: Array, side: int, direction: Array, capsules: Capsules) -> None:
    """The arm nearly straight along a direction of the world (model frame), the elbow a hinge."""
    skeleton = forward(pose, capsules.rest)
    target = skeleton[1][SHOULDER + side] + direction / np.linalg.norm(direction) * 0.47
    reach(pose, capsules.rest, side, target, np.array([1.0 - 2.0 * side, 0, -0.6]), skeleton)


def _climb(pose: Array, rng: Rng, capsules: Capsules) -> None:
    """One leg up on something, arms up: climbing, stretching."""
    pose[0] = np.radians([rng.normal(5, 8), 0, rng.normal(0, 8)])
    pose[HIP] = np.radians([-rng.uniform(50, 115), rng.uniform(0, 35), rng.uniform(0, 45)])
    pose[KNEE] = np.radians([rng.uniform(30, 120), 0, 0])
    pose[HIP + 1] = np.radians([rng.normal(0, 8), 0, -rng.uniform(0, 12)])
    pose[KNEE + 1] = np.radians([rng.uniform(0, 25), 0, 0])
    _level_feet(pose, rng, 12)
    for side, sign in _SIDES:
        if side or rng.random() < 0.6:
            up = np.array([sign * rng.uniform(-0.1, 0.5), 1.0, rng.uniform(-0.1, 0.6)])
            _straighten_arm(pose, side, up, capsules)


def _bent(pose: Array, rng: Rng, capsules: Capsules) -> None:
    """Bent double over nearly upright legs: touching the toes, tying a shoe, looking under something."""
    tilt = rng.uniform(40, 98)
    pose[0] = np.radians([tilt, 0, rng.normal(0, 4)])
    _curl(pose, rng, 15, 65)
    knee = rng.uniform(0, 40)
    for side, sign in _SIDES:
        lean = knee * 0.5 + rng.normal(0, 4)
        pose[HIP + side] = np.radians([-(tilt + lean), sign * rng.normal(0, 6), sign * rng.uniform(0, 22)])
        pose[KNEE + side] = np.radians([knee + rng.normal(0, 3), 0, 0])
    _level_feet(pose, rng)
    pose[NECK, 0], pose[HEAD, 0] = np.radians(rng.uniform(-28, 30, 2))
    if rng.random() < 0.7:
        for side, sign in _SIDES:
            down = [sign * rng.uniform(-0.1, 0.3), -1.0, rng.uniform(-0.2, 0.4)]
            _straighten_arm(pose, side, np.array(down), capsules)


def _upside(pose: Array, rng: Rng, capsules: Capsules) -> None:
    """Head down: handstand, headstand, cartwheel, hanging."""
    axis = np.array([1.0, 0, 0]) if rng.random() < 0.65 else np.array([0, 0, 1.0])
    tilt = rng.choice([-1, 1]) * np.radians(rng.uniform(135, 195))
    pose[0] = matrix_to_rotvec(rotvec_to_matrix(tilt * axis))
    _curl(pose, rng, -25, 30)
    split, tuck = rng.uniform(-10, 60), rng.uniform(0, 1) ** 2
    for side, sign in _SIDES:
        bend = 90 * tuck - sign * split * 0.5
        pose[HIP + side] = np.radians([-bend, sign * rng.normal(0, 8), sign * rng.uniform(0, 40)])
        pose[KNEE + side] = np.radians([rng.uniform(0, 30) + 80 * tuck, 0, 0])
        pose[ANKLE + side] = np.radians([rng.uniform(0, 45), 0, 0])
        if rng.random() < 0.85:
            spine = forward(pose, capsules.rest)[0][SPINE[2]]
            up = np.array([sign * rng.uniform(-0.05, 0.5), 1.0, rng.uniform(-0.1, 0.35)])
            _straighten_arm(pose, side, spine @ up, capsules)


def _lie(pose: Array, rng: Rng, capsules: Capsules) -> None:
    kind = rng.choice(["back", "front", "side"], p=[0.45, 0.27, 0.28])
    _curl(pose, rng, -8, 10)
    pose[[NECK, HEAD]] = np.radians(rng.normal(0, [8, 14, 8], (2, 3)))
    {"back": _lie_on_back, "front": _lie_on_front, "side": _lie_on_side}[kind](pose, rng, capsules)


def _lie_on_back(pose: Array, rng: Rng, capsules: Capsules) -> None:
    pose[0] = np.radians([-90, 0, 0])
    for side, sign in _SIDES:
        pose[HIP + side] = np.radians([rng.normal(0, 3), sign * rng.uniform(0, 25), sign * rng.uniform(0, 28)])
        pose[KNEE + side] = np.radians([rng.uniform(0, 12), 0, 0])
    knees_up = rng.choice(["none", "one", "both", "raised", "hugged"], p=[0.45, 0.2, 0.2, 0.08, 0.07])
    sides = {"none": (), "one": (int(rng.integers(2)),)}.get(str(knees_up), (0, 1))
    for side in sides:
        sign = 1 - 2 * side
        hip, knee = {"raised": (rng.uniform(60, 100), rng.uniform(0, 50)), "hugged": (115.0, 130.0)}.get(
            str(knees_up), (rng.uniform(38, 60), rng.uniform(80, 115))
        )
        pose[HIP + side] = np.radians([-hip, 0, sign * rng.uniform(0, 15)])
        pose[KNEE + side] = np.radians([knee, 0, 0])
    _hang_ankles(pose, rng)
    pose[NECK, 0] += np.radians(rng.choice([0, 25], p=[0.75, 0.25]))
    _lay_arms(pose, rng, capsules, "back")
    _let_down(pose, rng, capsules, 16)


def _lie_on_front(pose: Array, rng: Rng, capsules: Capsules) -> None:
    propped = rng.random() < 0.4
    pose[0] = np.radians([90, 0, 0])
    if propped:
        _curl(pose, rng, -50, -25)
        pose[[NECK, HEAD], 0] = np.radians(rng.uniform(-28, -5, 2))
    else:
        pose[[NECK, HEAD], 1] = rng.choice([-1, 1]) * np.radians(rng.uniform(20, 45, 2))
    for side, sign in _SIDES:
        bent = rng.random() < 0.15
        pose[HIP + side] = np.radians(
            [
                -50 if bent else rng.normal(2, 4),
                sign * rng.uniform(-10, 15),
                sign * (50 if bent else rng.uniform(0, 25)),
            ]
        )
        knee = rng.uniform(60, 115) if rng.random() < 0.25 else rng.uniform(0, 10)
        pose[KNEE + side] = np.radians([80 if bent else knee, 0, 0])
        pose[ANKLE + side] = np.radians([rng.uniform(30, 50), 0, 0])
    _lay_arms(pose, rng, capsules, "elbows" if propped else "front")
    _let_down(pose, rng, capsules, 16)


def _lie_on_side(pose: Array, rng: Rng, capsules: Capsules) -> None:
    """On the left side; the other side comes by mirroring."""
    pose[0] = matrix_to_rotvec(
        rotvec_to_matrix(np.radians([0, 0, -90.0])) @ rotvec_to_matrix(np.array([0, np.radians(rng.normal(0, 12)), 0]))
    )
    _curl(pose, rng, -5, 45)
    pose[[NECK, HEAD]] = np.radians(rng.normal([0, 0, -8], 6, (2, 3)))
    hip = rng.uniform(5, 75)
    for side in (0, 1):
        over = rng.uniform(8, 16) if side else 0.0  # the upper leg sinks on the lower one
        pose[HIP + side] = np.radians([-(hip + rng.normal(0, 12)), 0, over])
        pose[KNEE + side] = np.radians([np.clip(hip * 1.1 + rng.normal(0, 15), 3, 120), 0, 0])
    _hang_ankles(pose, rng)
    _lay_arms(pose, rng, capsules, "side")
    _let_down(pose, rng, capsules, 25)


def _lay_arms(pose: Array, rng: Rng, capsules: Capsules, how: str) -> None:
    """Arms of someone who lies: on the floor, on the belly, under the head."""
    rest = capsules.rest
    for side, sign in _SIDES:
        rotations, joints = forward(pose, rest)
        chest, shoulder = rotations[SPINE[2]], joints[SHOULDER + side]
        kind = rng.choice(["beside", "out", "over", "belly"], p=[0.45, 0.2, 0.2, 0.15])
        spot = {
            "beside": [sign * rng.uniform(0.1, 0.25), -rng.uniform(0.38, 0.46), rng.normal(-0.03, 0.03)],
            "out": [sign * rng.uniform(0.36, 0.46), rng.uniform(-0.2, 0.25), rng.normal(-0.03, 0.03)],
            "over": [sign * rng.uniform(-0.02, 0.2), rng.uniform(0.28, 0.44), rng.normal(0, 0.04)],
            "belly": [-sign * rng.uniform(0.02, 0.15), -rng.uniform(0.15, 0.32), 0.22],
        }[str(kind)]
        pole = [sign, -0.3, -0.15]
        if how == "front" and kind == "belly":
            spot, pole = [-sign * 0.1, 0.2, 0.06], [sign, 0.1, 0]  # under the head
        if how == "elbows":
            spot, pole = [-sign * rng.uniform(0.0, 0.12), -0.05 + rng.normal(0, 0.05), 0.33], [sign * 0.4, -1, 0.4]
        if how == "side":
            spot, pole = _arm_of_one_on_the_side(side, rng)
        reach(pose, rest, side, shoulder + chest @ np.array(spot), chest @ np.array(pole), (rotations, joints))
        pose[WRIST + side] = np.radians(rng.normal(0, [20, 10, 18]))


def _arm_of_one_on_the_side(side: int, rng: Rng) -> tuple[list[float], list[float]]:
    """Wrist from the shoulder and pole, chest frame: the left arm is the lower one, x points to the floor."""
    if side == 0 and rng.random() < 0.4:  # under the head
        return [0.02, rng.uniform(0.22, 0.32), rng.uniform(0.0, 0.15)], [0.3, 0.3, 1.0]
    if side == 0:
        return [rng.uniform(0.0, 0.07), rng.uniform(-0.25, 0.2), rng.uniform(0.28, 0.42)], [0.2, -1, 0.5]
    if rng.random() < 0.45:  # along the body
        return [rng.uniform(-0.02, 0.05), -0.44, rng.uniform(-0.02, 0.1)], [-0.5, 0, -1]
    return [rng.uniform(0.1, 0.3), rng.uniform(-0.25, 0.05), rng.uniform(0.2, 0.35)], [-0.6, -1, 0.2]


def _let_down(pose: Array, rng: Rng, capsules: Capsules, within_deg: float) -> None:
    """Tilt the body as it would come to lie on a floor: its mass as low as possible, within some angle."""
    rotations, joints = forward(pose, capsules.rest)
    angles = np.radians(np.linspace(-within_deg, within_deg, 15))
    pitch, roll = np.meshgrid(angles, angles)
    turns = rotvec_to_matrix(np.stack([pitch.ravel(), 0 * pitch.ravel(), roll.ravel()], -1))
    best = turns[settle(capsules, rotations, joints, turns)]
    pose[0] = matrix_to_rotvec(best @ rotvec_to_matrix(pose[0]))


_TAKERS: dict[str, Callable[[Array, Rng, Capsules], None]] = {
    "sit": _sit, "floor": _floor, "crouch": _crouch, "kneel": _kneel, "lunge": _lunge, "fours": _fours,
    "climb": _climb, "lie": _lie, "bent": _bent, "upside": _upside,
}  # fmt: skip
