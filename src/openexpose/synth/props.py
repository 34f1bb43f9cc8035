"""Simple meshes: things that are held, and furniture to sit on, to lean on or to stand in the way."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int, UInt8

from openexpose.errors import InputError
from openexpose.synth.grasp import HeldObject
from openexpose.synth.thing import THING, Thing

Array = np.ndarray
Rng = np.random.Generator
Mesh = tuple[Array, Array, Array]
"""Vertices [v, 3], faces [f, 3] and texture coordinates of the faces' corners [f, 3, 2]."""

FURNITURE = ("stool", "chair", "bench", "box", "table", "counter", "pillar", "shelf")
SEATS = ("stool", "chair", "bench", "box")
_AROUND = 20
_GLOSS = {"can": 0.5, "bottle": 0.6, "mug": 0.4, "phone": 0.6, "pen": 0.4, "ball": 0.2}
_OPEN_UMBRELLA_M = 0.35
"""Umbrellas whose shaft is longer than twice this are open."""


def held_thing(
    held: HeldObject,
    wrist_rotation_cam: Float[Array, "3 3"],
    wrist_position_cam: Float[Array, "3"],
    texture: UInt8[Array, "h w 4"],
    side: str,
    *,
    hand_scale: float = 1.0,
) -> Thing:
    """What a hand holds, in the camera frame.

    Args:
        held: as drawn with the hand's pose, in the frame of a right wrist; mirrored here for the left.
        wrist_rotation_cam: global rotation of the wrist joint. wrist_position_cam: where it is (metres).
        side: ``left`` or ``right``.
        hand_scale: size of this hand over that of the mean shape's.

    Raises:
        InputError: another side.
    """
    if side not in ("left", "right"):
        raise InputError(f"side {side!r}", "'left' or 'right'")
    vertices, faces, uv = _look(held)
    vertices = vertices @ held.rotation.T + held.centre
    if side == "left":
        vertices = vertices * [-1.0, 1.0, 1.0]
        faces, uv = faces[:, ::-1], uv[:, ::-1]
    placed = hand_scale * vertices @ wrist_rotation_cam.T + wrist_position_cam
    return _thing((placed, faces, uv), texture, _GLOSS.get(held.look, 0.1))


def sample_furniture(rng: Rng, texture: UInt8[Array, "h w 4"], kind: str | None = None) -> Thing:
    """A piece of furniture in a world frame: metres, y up, standing on y = 0 around the origin, front along z.

    Args:
        kind: one of ``FURNITURE``; None: drawn.

    Raises:
        InputError: no such kind.
    """
    kind = kind or str(rng.choice(FURNITURE))
    if kind in SEATS:
        return sample_seat(rng, texture, rng.uniform(0.4, 0.52), kind)
    if kind not in FURNITURE:
        raise InputError(f"furniture {kind!r}", f"one of {FURNITURE}")
    width, depth = rng.uniform(0.8, 1.8), rng.uniform(0.5, 0.9)
    if kind == "table":
        boxes = _top_on_legs(rng, width, depth, rng.uniform(0.68, 0.78))
    elif kind == "counter":
        height = rng.uniform(0.85, 1.15)
        boxes = [_box((0, height / 2, 0), (width, height, 0.45)), _box((0, height + 0.02, 0), (width + 0.1, 0.04, 0.6))]
    elif kind == "pillar":
        radius, height = rng.uniform(0.08, 0.25), rng.uniform(2.2, 3.2)
        boxes = [_turned([(radius, 0.0), (radius, height)], 4.0)]
        if rng.random() < 0.5:
            boxes = [_box((0, height / 2, 0), (2 * radius, height, 2 * radius))]
    else:
        height = rng.uniform(1.0, 2.0)
        boards = int(rng.integers(3, 6))
        boxes = [_box((s * width / 2, height / 2, 0), (0.03, height, 0.3)) for s in (-1, 1)]
        boxes += [_box((0, y, 0), (width, 0.03, 0.3)) for y in np.linspace(0.1, height - 0.02, boards)]
    return _thing(_joined(boxes), texture, rng.uniform(0, 0.3))


def sample_seat(rng: Rng, texture: UInt8[Array, "h w 4"], height_m: float, kind: str | None = None) -> Thing:
    """A seat whose top is at ``height_m``: one of ``SEATS``, in the frame of :func:`sample_furniture`.

    The back of a chair is at negative z.

    Raises:
        InputError: no such kind.
    """
    kind = kind or str(rng.choice(SEATS))
    width = rng.uniform(0.38, 0.5)
    if kind == "stool" and rng.random() < 0.5:
        thick, radius = rng.uniform(0.03, 0.08), width / 2
        profile = [(0.0, height_m), (radius, height_m), (radius, height_m - thick), (0.0, height_m - thick)]
        foot = [(0.03, height_m - thick), (0.03, 0.03), (radius, 0.02), (radius, 0.0)]
        return _thing(_joined([_turned(profile, 2.0), _turned(foot, 2.0)]), texture, 0.1)
    if kind in ("stool", "chair"):
        boxes = _top_on_legs(rng, width, width, height_m)
        if kind == "chair":
            back = rng.uniform(0.3, 0.55)
            boxes.append(_box((0, height_m + back / 2, -width / 2 + 0.02), (width, back, 0.03)))
    elif kind == "bench":
        boxes = _top_on_legs(rng, rng.uniform(1.0, 1.8), rng.uniform(0.3, 0.45), height_m)
    elif kind == "box":
        boxes = [_box((0, height_m / 2, 0), (rng.uniform(0.4, 1.6), height_m, rng.uniform(0.4, 0.7)))]
    else:
        raise InputError(f"seat {kind!r}", f"one of {SEATS}")
    return _thing(_joined(boxes), texture, rng.uniform(0, 0.2))


def _thing(mesh: Mesh, texture: Array, gloss: float) -> Thing:
    vertices, faces, uv = mesh
    return Thing(
        np.ascontiguousarray(vertices, np.float32),
        np.ascontiguousarray(faces, np.int32),
        np.ascontiguousarray(uv, np.float32),
        texture,
        np.ones(3),
        float(gloss),
        False,
        np.full(len(faces), THING, np.uint8),
    )


def _look(held: HeldObject) -> Mesh:
    """The object's mesh in its own frame."""
    if held.shape == "sphere":
        angles = np.linspace(0, np.pi, 11)
        r = held.size[0]
        return _turned([(r * np.sin(a), -r * np.cos(a)) for a in angles], 1.0, in_metres=False)
    if held.shape == "box":
        return _box((0, 0, 0), tuple(2 * held.size), in_metres=False)
    r, half = float(held.size[0]), float(held.size[1])
    tube = [(0.0, -half), (r, -half), (r, half), (0.0, half)]
    parts = [_turned(tube, 1.0, in_metres=False)]
    if held.look == "bottle":
        neck = [(0.36 * r, 0.65 * half), (0.36 * r, half), (0.0, half)]
        parts = [_turned([(0.0, -half), (r, -half), (r, 0.35 * half), *neck], 1.0, in_metres=False)]
    elif held.look == "mug":
        inside = [(0.9 * r, half), (0.9 * r, -0.9 * half), (0.0, -0.9 * half)]
        parts = [_turned([(0.0, -half), (r, -half), (r, half), *inside], 1.0, in_metres=False)]
    elif held.look == "racket":
        parts.append(_head_of_racket(half))
    elif held.look == "umbrella" and half > _OPEN_UMBRELLA_M:
        width = 1.05 * half
        dome = [(width * np.sin(a), half - 0.45 * width * (1 - np.cos(a))) for a in np.linspace(0, np.pi / 2, 6)]
        parts.append(_turned(dome, 1.0, in_metres=False))
    elif held.look == "umbrella":
        parts.append(_turned([(r, -0.1 * half), (3.2 * r, 0.0), (1.2 * r, half)], 1.0, in_metres=False))
    elif held.look == "pen":
        parts.append(_turned([(r, -half), (0.0, -half - 3 * r)], 1.0, in_metres=False))
    return _joined(parts)


def _head_of_racket(half: float) -> Mesh:
    """A flat oval beyond the handle's end."""
    vertices, faces, uv = _turned([(0.0, -0.006), (0.1, -0.008), (0.1, 0.008), (0.0, 0.006)], 1.0, in_metres=False)
    lying = vertices[:, [1, 0, 2]] * [1.0, 1.3, 1.0]  # the axis of revolution becomes x
    return lying + [0.0, half + 0.12, 0.0], faces, uv


def _top_on_legs(rng: Rng, width: float, depth: float, height: float) -> list[Mesh]:
    thick, leg = rng.uniform(0.025, 0.06), rng.uniform(0.03, 0.06)
    boxes = [_box((0, height - thick / 2, 0), (width, thick, depth))]
    for x in (-1, 1):
        for z in (-1, 1):
            middle = (x * (width - leg) / 2, (height - thick) / 2, z * (depth - leg) / 2)
            boxes.append(_box(middle, (leg, height - thick, leg)))
    return boxes


_CORNERS = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
_QUADS = np.array([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]])
_FLAT = ((2, 1), (2, 1), (0, 2), (0, 2), (0, 1), (0, 1))
"""Axes of the texture on each side of a box: across, up."""


def _box(centre: Sequence[float], size: Sequence[float], *, in_metres: bool = True) -> Mesh:
    """A box; its texture repeats every half metre, or covers each side once."""
    extent = np.asarray(size, float)
    faces, uv = [], []
    for quad, axes in zip(_QUADS, _FLAT, strict=True):
        flat = _CORNERS[quad][:, axes] + 0.5
        flat = flat * extent[list(axes)] / 0.5 if in_metres else flat
        for triangle in ((0, 1, 2), (0, 2, 3)):
            faces.append(quad[list(triangle)])
            uv.append(np.stack([flat[list(triangle), 0], -flat[list(triangle), 1]], 1))
    return _CORNERS * extent + np.asarray(centre, float), np.array(faces), np.array(uv)


def _turned(profile: Sequence[tuple[float, float]], per_metre: float, *, in_metres: bool = True) -> Mesh:
    """A surface of revolution about y through (radius, y) points; the texture goes around it once."""
    turn = 2 * np.pi * np.arange(_AROUND) / _AROUND
    rings = [np.stack([r * np.cos(turn), np.full(_AROUND, y), r * np.sin(turn)], 1) for r, y in profile]
    steps = np.linalg.norm(np.diff(np.array(profile), axis=0), axis=1)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    along = along * per_metre if in_metres else along / along[-1]
    faces, uv = [], []
    for ring in range(len(profile) - 1):
        for k in range(_AROUND):
            a, b = ring * _AROUND + k, ring * _AROUND + (k + 1) % _AROUND
            left, right, low, high = k / _AROUND, (k + 1) / _AROUND, along[ring], along[ring + 1]
            faces += [[a, a + _AROUND, b + _AROUND], [a, b + _AROUND, b]]
            uv += [[[left, low], [left, high], [right, high]], [[left, low], [right, high], [right, low]]]
    return np.concatenate(rings), np.array(faces), np.array(uv)


def _joined(parts: Sequence[Mesh]) -> Mesh:
    offsets = np.cumsum([0, *(len(part[0]) for part in parts)])
    faces: Int[Array, "f 3"] = np.concatenate([part[1] + off for part, off in zip(parts, offsets, strict=False)])
    return np.concatenate([part[0] for part in parts]), faces, np.concatenate([part[2] for part in parts])
