"""Plans of sequences: the camera, the people's scripts, things in the way. World frame: metres, y up, floor y = 0; the
camera stands over the origin and looks along -z, so x is to the right in the picture."""

from dataclasses import dataclass, replace

import numpy as np

from openexpose.synth.camera import Camera, look_from
from openexpose.synth.figure import sample_material
from openexpose.synth.person import Stage
from openexpose.synth.props import sample_furniture
from openexpose.synth.sequence_moves import MOVES
from openexpose.synth.sequence_script import Part, Script, yaw_to
from openexpose.synth.sequence_steps import RUN, WALK
from openexpose.synth.thing import Thing

Array = np.ndarray
Rng = np.random.Generator

MOST_PEOPLE, LEAST_PEOPLE = 8, 2
_LEVEL_M = 1.5
_EXERCISE_AT = ((-0.15, 5.5), (0.65, 8.1), (-0.4, 8.9), (0.2, 9.7), (0.5, 10.6))
"""Where people exercise: off the middle, over half the picture, to the side of who stands near; depth, metres."""
_BODY_M = 0.35
"""Half of what a walking person takes on the floor."""


@dataclass(frozen=True, eq=False)
class Plan:
    """What is filmed.

    Attributes:
        camera: stands still. scripts: one a person. things: in the way, of nobody; world frame.
    """

    camera: Camera
    scripts: tuple[Script, ...]
    things: tuple[Thing, ...]


def sample_plan(rng: Rng, stage: Stage, people: int, seconds: float, image_size: tuple[int, int]) -> Plan:
    """A scene in which people hide each other, disappear behind a thing, leave and come back.

    The first stands near the camera for a while; the second walks by far behind, to and fro; the third leaves the
    picture at one side and comes back; the others exercise in the back.
    """
    width, height = image_size
    focal = rng.uniform(0.62, 0.68) * width
    place = np.array([0.0, _LEVEL_M + rng.uniform(-0.08, 0.12), 0.0])
    camera = Camera(look_from(place, np.array([0.0, place[1] - 0.75, -5.0])), place, focal, width, height)
    side, edge = float(rng.choice([-1, 1])), 0.5 * width / focal
    near = np.array([side * rng.uniform(0.25, 0.35) * edge, 1.0]) * rng.uniform(2.8, 3.1)
    scripts = [
        _stander(rng, near * [1, -1], edge, side, seconds),
        _passer(rng, near, edge, side, seconds),
        _leaver(rng, edge, -side, seconds),
    ]
    for k in range(max(0, people - 3)):
        aside, depth = _EXERCISE_AT[k]
        scripts.append(_performer(rng, edge, side * (aside + rng.uniform(-0.07, 0.07)), seconds, depth))
    return Plan(camera, tuple(scripts[:people]), (_panel(rng, stage, edge, -side),))


def _stander(rng: Rng, spot: Array, edge: float, side: float, seconds: float) -> Script:
    """Comes in, stops near the camera, gestures, goes on."""
    x, z = spot
    speed = rng.uniform(1.15, 1.4)
    arrive, leave = 0.22 * seconds, 0.74 * seconds
    start = x - side * speed * (arrive + 2.0)
    part = Part(float(start), float(z - 0.3), yaw_to(start, z, (x, z)))
    part.go(float(x), float(z), arrive + 2.0)
    part.turn(yaw_to(x, z) + rng.normal(0, 0.3), 0.7)
    part.wait(leave)
    end = x + side * speed * (seconds + 2 - leave)
    part.go(float(end), float(z + 0.1), seconds + 2 - leave)
    return part.script(talks=True)


def _passer(rng: Rng, near: Array, edge: float, side: float, seconds: float) -> Script:
    """Walks by far behind who stands near, halts there for a moment, goes on, turns and comes back, perhaps running."""
    depth, speed = rng.uniform(6.5, 7.0), rng.uniform(1.1, 1.35)
    met, halt = rng.uniform(0.36, 0.42) * seconds, rng.uniform(0.6, 0.85)
    x = near[0] / near[1] * depth
    way = 0.85 * edge * depth - abs(x)
    part = Part(float(x - side * speed * (met + 2)), -depth, side * np.pi / 2)
    part.go(float(x), -depth, met + 2)
    part.wait(part.time_s + halt)
    part.go(float(x + side * way), -depth, way / speed)
    part.turn(part.yaw + side * np.pi, 1.1)
    rest = seconds + 2 - part.time_s
    manner, fast = (RUN, 2.6) if rng.random() < 0.5 else (WALK, speed)
    part.go(float(part.x - side * rest * fast), -depth - 0.3, rest, manner)
    return part.script()


def _leaver(rng: Rng, edge: float, side: float, seconds: float) -> Script:
    """Crosses the picture, leaves it for a second, comes back, stops and turns around."""
    depth, speed = rng.uniform(4.2, 4.5), rng.uniform(1.35, 1.5)
    out = 0.36 * seconds
    far = side * (edge * depth + _BODY_M + rng.uniform(0.5, 0.8))
    part = Part(float(far - side * speed * (out + 2)), -depth, side * np.pi / 2)
    part.go(float(far), -depth, out + 2)
    inside = side * 0.45 * edge * depth
    part.go(float(inside), -depth - 0.2, abs(far - inside) / speed)
    part.turn(yaw_to(part.x, part.z) + rng.normal(0, 0.4), 0.7)
    part.wait(part.time_s + 0.4)
    part.turn(part.yaw + rng.choice([-1, 1]) * np.pi * 0.99, 1.3)
    part.wait(part.time_s + 0.4)
    part.turn(part.yaw + rng.choice([-1, 1]) * np.pi * 0.9, 1.3)
    part.wait(seconds + 2)
    return part.script()


def _performer(rng: Rng, edge: float, side: float, seconds: float, depth: float) -> Script:
    """Does one quick motion after the other."""
    x = side * edge * depth
    part = Part(float(x), -depth, yaw_to(x, -depth) + rng.normal(0, 0.35), time_s=-0.3)
    names = [str(name) for name in rng.permutation(MOVES)]
    while part.time_s < seconds:
        for name in names:
            part.move(rng, name, rng.uniform(1.6, 2.3))
    return part.script()


def _panel(rng: Rng, stage: Stage, edge: float, side: float) -> Thing:
    """Something wide and high that stands between the camera and the ways in the back."""
    piece = sample_furniture(rng, sample_material(rng, stage.library), "pillar")
    depth = 3.6
    wide = rng.uniform(0.75, 0.95) / float(np.ptp(piece.vertices[:, 0]))
    vertices = piece.vertices * np.array([wide, 1.0, 1.0], np.float32)
    shift = np.array([side * rng.uniform(0.68, 0.75) * edge * depth, 0, -depth], np.float32)
    return replace(piece, vertices=(vertices + shift).astype(np.float32))
