"""How much of everybody is seen in a frame, and what hides the rest: shares of silhouettes, measured coarsely."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from openexpose.synth.camera import Camera
from openexpose.synth.meshes import CUTOUT, Meshes, gather
from openexpose.synth.raster import rasterise
from openexpose.synth.thing import Body, Thing

Array = np.ndarray

HIDDEN_SHARE = 0.03
"""Who is seen to no more than this is hidden."""
_NEAREST = 30.0
"""1 / metre: nothing is nearer to the camera."""


@dataclass(frozen=True, eq=False)
class Shares:
    """What becomes of each person's silhouette; the four add up to 1. The last axis is people.

    Attributes:
        visible: is seen. people, things: is behind other people, behind things. outside: is beyond the picture's edges.
    """

    visible: Float[Array, "*n p"]
    people: Float[Array, "*n p"]
    things: Float[Array, "*n p"]
    outside: Float[Array, "*n p"]


def stacked(rows: Sequence[Shares]) -> Shares:
    """Shares of several frames, which become the first axis."""
    return Shares(*(np.stack([getattr(row, name) for row in rows]) for name in Shares.__dataclass_fields__))


def shares(bodies: Sequence[Body], things: Sequence[Thing], camera: Camera, coarse_px: int) -> Shares:
    """What is seen of people; ``coarse_px``: pixels of the picture in one that is counted."""
    height, width = camera.height // coarse_px, camera.width // coarse_px
    size = 2 * height, 3 * width  # with what lies beyond the edges
    inside = np.zeros(size, bool)
    inside[height // 2 : height // 2 + height, width : 2 * width] = True
    start = np.array([width, height // 2]) * coarse_px
    depths = [_depth(gather([body], []), camera, (start, coarse_px), size) for body in bodies]
    thing = _depth(gather([], things), camera, (start, coarse_px), size) if things else np.zeros(size, np.float32)
    nearest = np.max(depths, axis=0)
    rows = [_of(depth, nearest, thing, inside) for depth in depths]
    return Shares(*(np.array(column) for column in zip(*rows, strict=True)))


def _of(depth: Array, nearest: Array, thing: Array, inside: Array) -> tuple[float, float, float, float]:
    there = depth > 0
    total = max(int(there.sum()), 1)
    if not there.any():
        return 0.0, 0.0, 0.0, 1.0
    shown = there & inside
    behind_thing = shown & (thing > np.maximum(depth, nearest))
    behind_people = shown & ~behind_thing & (nearest > depth)
    seen = shown & ~behind_thing & ~behind_people
    counts = (seen.sum(), behind_people.sum(), behind_thing.sum(), (there & ~inside).sum())
    visible, people, things, outside = (float(count) / total for count in counts)
    return visible, people, things, outside


def _depth(mesh: Meshes, camera: Camera, grid: tuple[Array, int], size: tuple[int, int]) -> Float[Array, "h w"]:
    """1 / z of what is opaque, 0 elsewhere."""
    start, coarse = grid
    points = np.empty_like(mesh.vertices)
    points[:, :2] = (camera.to_pixels(mesh.vertices) + start) / coarse
    points[:, 2] = 1 / np.maximum(mesh.vertices[:, 2], 1e-3)
    opaque = (mesh.shown > 0) & (mesh.look[mesh.material, CUTOUT] <= 0)
    depth, face_id = np.zeros(size, np.float32), np.zeros(size, np.int32)
    rasterise(points, np.ascontiguousarray(mesh.faces[opaque]), _NEAREST, depth, face_id)
    return depth


@dataclass(frozen=True)
class Hiding:
    """A person who is not seen for a while, and is seen before and after it.

    Attributes:
        person: number, from 0. cause: ``people``, ``things`` or ``outside``: what hides most of the person meanwhile.
        start_s, end_s: first time at which the person is not seen, and the first at which it is seen again.
    """

    person: int
    cause: str
    start_s: float
    end_s: float


def hidings(seen: Shares, times_s: Float[Array, "n"]) -> list[Hiding]:
    """All times for which somebody is not seen, by person and time."""
    found = []
    for person in range(seen.visible.shape[1]):
        hidden = seen.visible[:, person] <= HIDDEN_SHARE
        for start, end in _runs(hidden):
            if start == 0 or end == len(hidden):
                continue
            meanwhile = (column[start:end, person].mean() for column in (seen.people, seen.things, seen.outside))
            cause = ("people", "things", "outside")[int(np.argmax(list(meanwhile)))]
            found.append(Hiding(person, cause, float(times_s[start]), float(times_s[end])))
    return found


def _runs(flags: Bool[Array, "n"]) -> list[tuple[int, int]]:
    edges = np.diff(np.concatenate([[0], flags.astype(np.int8), [0]]))
    return list(zip(np.flatnonzero(edges > 0).tolist(), np.flatnonzero(edges < 0).tolist(), strict=True))
