"""Feet on the floor: where and when they step, and how they roll. World frame: metres, y up, floor y = 0.

A foot that stands does not move: its ball stays where it is while the heel rises behind it, its heel while the toes
come down. Steps follow from where the pelvis goes: a foot stands below where the pelvis is half-way through it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from openexpose.synth.sequence_curves import bump, ramp, rise_and_fall

Array = np.ndarray

WALK, RUN, HOP = "walk", "run", "hop"
_SWING = {WALK: 0.78, RUN: 1.2, HOP: 0.6}
"""Duration of a swing over that of a step."""
_LIFT_M = {WALK: 0.035, RUN: 0.12, HOP: 0.0}
_HEEL_RAD = {WALK: 0.75, RUN: 1.0, HOP: 0.35}
"""How far a heel rises behind the ball of a foot that leaves."""
_TOES_RAD = {WALK: 0.3, RUN: 0.05, HOP: -0.25}
"""How far the toes are up when a foot lands on its heel; negative: lands on the ball."""
_STEP_M, _STEP_S = {WALK: 0.48, RUN: 0.35}, {WALK: 0.22, RUN: 0.3}
"""Length of a step over that of a leg: at no speed, and more per metre a second."""
_FULL_STRIDE_M = 0.5
"""Steps at least as long roll fully; shorter ones less."""
_BEHIND_S = 0.045
"""A foot stands behind the middle of the way that the pelvis goes meanwhile: its heel rises before it leaves."""

_STILL_S = 0.3
"""Before the first step, and after the last."""


@dataclass(frozen=True)
class Swing:
    """A foot in the air from ``start_s`` to ``end_s``; ``manner``: WALK, RUN or HOP; ``aside_m``: where it lands,
    farther out than usual."""

    foot: int
    start_s: float
    end_s: float
    manner: str
    aside_m: float = 0.0


@dataclass(frozen=True)
class Shoe:
    """Measures of a person's feet standing flat, shoe included, metres; axes x to the left, y up, z forward.

    Attributes:
        apart_m: how far the ankles stand to the sides of the pelvis' middle.
        ankle_m: height of the left and the right ankle over the floor. balls: from there to the joints of the toes.
        heel_m: how far the heel's end is behind the ankle.
    """

    apart_m: float
    ankle_m: Float[Array, "2"]
    balls: Float[Array, "2 3"]
    heel_m: float


@dataclass(frozen=True, eq=False)
class Feet:
    """Both feet over time, left first.

    Attributes:
        ankles: [n, 2, 3] world. yaw, pitch: [n, 2] of the foot, radians; pitch is positive with the heel up.
        toes: [n, 2] how far the toes are bent up against the foot, radians.
        base: [n, 2, 3] where the feet stand, or are between standing; on the floor.
        lift: [n, 2] 0 while a foot stands, up to 1 in the middle of its swing.
        planted: [n, 2] whether the ball stands: flat or with the heel up.
    """

    ankles: Float[Array, "n 2 3"]
    yaw: Float[Array, "n 2"]
    pitch: Float[Array, "n 2"]
    toes: Float[Array, "n 2"]
    base: Float[Array, "n 2 3"]
    lift: Float[Array, "n 2"]
    planted: Array


Root = Callable[[Float[Array, "n"]], Float[Array, "n 3"]]
"""Where the pelvis is on the floor and where it looks: x, z (metres), yaw (radians) at given times (seconds)."""


def steps(spans: Sequence[tuple[float, float, str, float]], leg_m: float, first_foot: int) -> list[Swing]:
    """Alternating swings that fill spans of time, as long as people of that size and speed make them.

    Args:
        spans: start, end (seconds), manner, and speed (metres a second; 0: turning on the spot).
        leg_m: length of a leg. first_foot: 0: the left one.
    """
    foot, swings = first_foot, []
    for start, end, manner, speed in spans:
        step_m = leg_m * (_STEP_M[manner] + _STEP_S[manner] * speed)
        count = max(2, round((end - start) * max(speed / step_m, 2.1)))
        step = (end - start) / count
        for k in range(count):
            middle, half = start + (k + 0.5) * step, 0.5 * _SWING[manner] * step
            swings.append(Swing(foot, middle - half, middle + half, manner))
            foot = 1 - foot
    return swings


def walk_feet(times_s: Float[Array, "n"], root: Root, swings: Sequence[Swing], shoe: Shoe) -> Feet:
    """The feet of somebody whose pelvis goes along ``root``."""
    sides = [_foot(times_s, root, [swing for swing in swings if swing.foot == k], k, shoe) for k in (0, 1)]
    return Feet(*(np.stack(parts, 1) for parts in zip(*sides, strict=True)))


def _foot(times_s: Array, root: Root, swings: Sequence[Swing], foot: int, shoe: Shoe) -> tuple[Array, ...]:
    swings = sorted(swings, key=lambda swing: swing.start_s)
    spots = _spots(root, swings, foot, shoe)
    base = np.broadcast_to(spots[0], (len(times_s), 3)).copy()
    heel, toes_up, lift, height = (np.zeros(len(times_s)) for _ in range(4))
    planted = np.ones(len(times_s), bool)
    for swing, before, after in zip(swings, spots[:-1], spots[1:], strict=True):
        start, end = swing.start_s, swing.end_s
        span = end - start
        base += ramp(times_s, start, end)[:, None] * (after - before)
        up = bump(times_s, start, end)
        lift += up
        far = float(np.clip(np.hypot(*(after - before)[:2]) / (2 * _FULL_STRIDE_M), 0.25, 1))
        if swing.manner == HOP:
            far = 1.0
        height += up * (0.012 + far * _LIFT_M[swing.manner])
        heel += (
            far
            * _HEEL_RAD[swing.manner]
            * rise_and_fall(times_s, (start - 0.45 * span, start + 0.12 * span, start + 0.8 * span))
        )
        toes_up += far * _TOES_RAD[swing.manner] * rise_and_fall(times_s, (start + 0.45 * span, end, end + 0.3 * span))
        planted &= ~((times_s > start) & (times_s < end))
    heel, toes_up = heel + np.maximum(-toes_up, 0), np.maximum(toes_up, 0)
    planted &= toes_up < 1e-3
    ankles, pitch = _rolled(base, (heel, toes_up, height), foot, shoe)
    world = np.stack([base[:, 0], np.zeros(len(base)), base[:, 1]], 1)
    return ankles, base[:, 2], pitch, heel * (1 - 0.8 * lift), world, lift, planted


def _spots(root: Root, swings: Sequence[Swing], foot: int, shoe: Shoe) -> Float[Array, "s 3"]:
    """x, z and yaw of every standing of a foot, the first and the last without end."""
    lands, lifts = [swing.end_s for swing in swings], [swing.start_s for swing in swings]
    first, last = (lifts[0] - _STILL_S, lands[-1] + _STILL_S) if swings else (0.0, 0.0)
    between = [(land + lift) / 2 for land, lift in zip(lands[:-1], lifts[1:], strict=True)]
    middles = np.array([first, *between, last] if swings else [first])
    spots = root(middles)
    speed = np.linalg.norm(root(middles + 0.05)[:, :2] - root(middles - 0.05)[:, :2], axis=1) / 0.1
    spots[:, 0] -= _BEHIND_S * speed * np.sin(spots[:, 2])
    spots[:, 1] -= _BEHIND_S * speed * np.cos(spots[:, 2])
    sign = 1.0 - 2.0 * foot
    apart = shoe.apart_m + np.array([0.0, *(swing.aside_m for swing in swings)])
    spots[:, 0] += sign * apart * np.cos(spots[:, 2])
    spots[:, 1] -= sign * apart * np.sin(spots[:, 2])
    spots[:, 2] += sign * 0.12
    return spots


def _rolled(base: Array, angles: tuple[Array, Array, Array], foot: int, shoe: Shoe) -> tuple[Array, Array]:
    """Ankles [n, 3] and pitch [n] of a foot that rolls over its ball and its heel and is lifted."""
    heel, toes_up, height = angles
    (_, up, forward), ankle_m = shoe.balls[foot], shoe.ankle_m[foot]
    c, s = np.cos(heel), np.sin(heel)
    higher, farther = up * (1 - c) + s * forward, forward * (1 - c) - s * up
    c, s = np.cos(toes_up), np.sin(toes_up)
    higher = higher - ankle_m * (1 - c) + s * shoe.heel_m
    farther = farther - shoe.heel_m * (1 - c) - s * ankle_m
    yaw = base[:, 2]
    x, z = base[:, 0] + np.sin(yaw) * farther, base[:, 1] + np.cos(yaw) * farther
    return np.stack([x, ankle_m + height + higher, z], 1), heel - toes_up
