"""All meshes of a scene as one, with a table of their materials, for :mod:`openexpose.synth.drawing`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from jaxtyping import Float, Int, UInt8
from numba.core import types
from numba.extending import intrinsic

from openexpose.synth.raster import EYE, MOUTH, SKIN
from openexpose.synth.thing import THING, Body, Thing

Array = np.ndarray

_JIT: dict[str, Any] = {"nogil": True, "fastmath": True, "cache": True, "error_model": "numpy"}
_ONE = np.float32(1)

OPEN, CLOSED = 1, 2
NOBODY = 15
"""Number of the person that things of nobody have in a mask."""
TEXTURE, HEIGHT, WIDTH, CHANNELS, LAYERS, LAYER_COUNT, LAYER_MATERIAL, FIRST_VERTEX = range(8)
"""Columns of :attr:`Meshes.where`."""
GLOSS, UV_SCALE, KIND, REPEATS, CUTOUT = range(3, 8)
"""Columns of :attr:`Meshes.look`; those before are the gain."""
_MOUTH_GAIN = np.array([0.85, 0.5, 0.5])


@dataclass(frozen=True)
class Meshes:
    """All meshes as one.

    Attributes:
        vertices: camera frame, metres. faces: [f, 3]. corner_uv: [f, 3, 2].
        material: [f] rows of ``where`` and ``look``, whose columns are the constants above. mask: [f] values of the
            mask. shown: [f] 0: not drawn, OPEN: seen from
            both sides, CLOSED: from outside.
        alive: the arrays that ``where`` has addresses of.
    """

    vertices: Float[Array, "v 3"]
    faces: Int[Array, "f 3"]
    corner_uv: Float[Array, "f 3 2"]
    material: Int[Array, "f"]
    mask: UInt8[Array, "f"]
    shown: UInt8[Array, "f"]
    where: Int[Array, "m 8"]
    look: Float[Array, "m 8"]
    alive: list[Array]


class _Gathering:
    """Meshes and materials being put into one."""

    def __init__(self) -> None:
        self.meshes: list[tuple[Array, ...]] = []
        self.where: list[list[int]] = []
        self.look: list[list[float]] = []
        self.alive: list[Array] = []
        self.vertices = 0

    def address(self, array: Array, dtype: Any) -> int:
        self.alive.append(np.ascontiguousarray(array, dtype))
        return int(self.alive[-1].ctypes.data)

    def add_material(self, texture: Array, gain: Array, look: tuple[float, ...], layers: tuple[int, ...] = ()) -> int:
        """Add a material; ``look``: gloss, uv scale, kind, repeats, cutout; its number."""
        self.where.append([self.address(texture, np.uint8), *texture.shape, *(layers or (0, 0, 0, 0))])
        self.look.append([*(float(value) for value in gain), *look])
        return len(self.where) - 1

    def add_mesh(self, mesh: Body | Thing, faces: Array, uv: Array, *rows: Array) -> None:
        """Add vertices, faces and the rows of the faces: material, mask, shown."""
        self.meshes.append((np.asarray(mesh.vertices, np.float32), faces + np.int32(self.vertices), uv, *rows))
        self.vertices += len(mesh.vertices)

    def add_body(self, body: Body, person: int) -> None:
        surface, white = body.surface, np.ones(3)
        count = surface.layers.shape[1]
        first = len(self.where)
        for g in range(count):
            self.add_material(surface.tiles[g], white, (surface.gloss[g], surface.tile_scale[g], SKIN, 1, 0))
        layers = (self.address(surface.layers, np.float32), count, first, self.vertices)
        materials = np.zeros(3, np.int32)
        for kind, texture, gain in (
            (SKIN, surface.skin, surface.gain),
            (EYE, surface.eye, white),
            (MOUTH, surface.skin, surface.gain * _MOUTH_GAIN),
        ):
            look = (float(surface.gloss[count + kind]), 1.0, kind, 0, 0)
            materials[kind] = self.add_material(texture, gain, look, layers if kind == SKIN else ())
        mask = (16 * person + body.parts).astype(np.uint8)
        self.add_mesh(
            body,
            surface.faces,
            surface.corner_uv,
            materials[surface.kinds],
            mask,
            np.where(body.hidden, 0, CLOSED).astype(np.uint8),
        )

    def add_thing(self, thing: Thing, mask: Array) -> None:
        material = self.add_material(thing.texture, thing.gain, (thing.gloss, 1, SKIN, 1, thing.cutout))
        every = np.ones(len(thing.faces), np.uint8)
        self.add_mesh(thing, thing.faces, thing.corner_uv, material * every.astype(np.int32), mask, every)


def gather(bodies: Sequence[Body], things: Sequence[Thing]) -> Meshes:
    """Put all bodies, what they wear, and things of nobody into one; there must be something."""
    all_ = _Gathering()
    for person, body in enumerate(bodies):
        all_.add_body(body, person)
        for thing in body.things:
            all_.add_thing(thing, (16 * person + thing.parts).astype(np.uint8))
    for thing in things:
        all_.add_thing(thing, np.full(len(thing.faces), 16 * NOBODY + THING, np.uint8))
    vertices, faces, uv, *rows = (np.concatenate(arrays) for arrays in zip(*all_.meshes, strict=True))
    where, look = np.array(all_.where, np.int64), np.array(all_.look, np.float32)
    uv = uv.astype(np.float32, copy=False)
    return Meshes(vertices, faces.astype(np.int32, copy=False), uv, rows[0], rows[1], rows[2], where, look, all_.alive)


def _pointer(kind: Any) -> Any:
    """What turns the address of an array that the caller keeps alive into something to index, without a copy."""

    @intrinsic
    def at(context: Any, address: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return builder.inttoptr(values[0], context.get_value_type(signature.return_type))

        return types.CPointer(kind)(types.int64), code

    return at


_bytes_at, floats_at = _pointer(types.uint8), _pointer(types.float32)


@numba.njit(inline="always", **_JIT)
def texture_spot(where: Array, m: int, u: float, v: float, repeats: bool) -> tuple:
    """Bilinear lookup: offsets of four texels in bytes, and the two fractions."""
    height, width, channels = where[m, HEIGHT], where[m, WIDTH], where[m, CHANNELS]
    if repeats:
        u, v = u - np.floor(u), v - np.floor(v)
    x, y = u * np.float32(width) - np.float32(0.5), v * np.float32(height) - np.float32(0.5)
    xf, yf = np.floor(x), np.floor(y)
    i0, j0 = int(xf), int(yf)
    i1, j1 = i0 + 1, j0 + 1
    if repeats:
        i0, j0 = i0 + width if i0 < 0 else i0, j0 + height if j0 < 0 else j0
        i1, j1 = i1 - width if i1 >= width else i1, j1 - height if j1 >= height else j1
    i0, j0 = min(max(i0, 0), width - 1), min(max(j0, 0), height - 1)
    i1, j1 = min(max(i1, 0), width - 1), min(max(j1, 0), height - 1)
    top, bottom = j0 * width, j1 * width
    return (
        (top + i0) * channels,
        (top + i1) * channels,
        (bottom + i0) * channels,
        (bottom + i1) * channels,
        x - xf,
        y - yf,
    )


@numba.njit(inline="always", **_JIT)
def texel(where: Array, m: int, spot: tuple, channel: int) -> np.float32:
    """One channel at what :func:`texture_spot` found, 0 to 1."""
    texture = _bytes_at(where[m, TEXTURE])
    a, b, c, d, tx, ty = spot
    nw, ne = np.float32(texture[a + channel]), np.float32(texture[b + channel])
    sw, se = np.float32(texture[c + channel]), np.float32(texture[d + channel])
    top, bottom = nw + (ne - nw) * tx, sw + (se - sw) * tx
    return (top + (bottom - top) * ty) * np.float32(1 / 255)


@numba.njit(inline="always", **_JIT)
def opaque_texel(where: Array, m: int, spot: tuple, channel: int) -> np.float32:
    """As :func:`texel`, without the colour of what is transparent."""
    texture = _bytes_at(where[m, TEXTURE])
    a, b, c, d, tx, ty = spot
    nw, ne = (_ONE - tx) * (_ONE - ty) * np.float32(texture[a + 3]), tx * (_ONE - ty) * np.float32(texture[b + 3])
    sw, se = (_ONE - tx) * ty * np.float32(texture[c + 3]), tx * ty * np.float32(texture[d + 3])
    top = nw * np.float32(texture[a + channel]) + ne * np.float32(texture[b + channel])
    bottom = sw * np.float32(texture[c + channel]) + se * np.float32(texture[d + channel])
    return (top + bottom) / (nw + ne + sw + se + np.float32(1e-6)) * np.float32(1 / 255)


@numba.njit(inline="always", **_JIT)
def cut_out(materials: tuple, corner_uv: Array, f: int, m: int, p0: float, p1: float, p2: float) -> bool:
    """Is there nothing at this point of a face? The weights need not sum to 1."""
    where = materials[0]
    k = _ONE / (p0 + p1 + p2)
    u = (p0 * corner_uv[f, 0, 0] + p1 * corner_uv[f, 1, 0] + p2 * corner_uv[f, 2, 0]) * k
    v = (p0 * corner_uv[f, 0, 1] + p1 * corner_uv[f, 1, 1] + p2 * corner_uv[f, 2, 1]) * k
    return texel(where, m, texture_spot(where, m, u, v, True), 3) < np.float32(0.5)


@numba.njit(**_JIT)
def seen_normals(vertices: Array, faces: Array, used: Array) -> Float[Array, "v 3"]:
    """Area-weighted unit normals [v, 3] of the vertices that are ``used`` [v], outward; zero for the others."""
    normals: Array = np.zeros(vertices.shape, np.float32)
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        if not (used[a] or used[b] or used[c]):
            continue
        ux, uy, uz = vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1], vertices[b, 2] - vertices[a, 2]
        vx, vy, vz = vertices[c, 0] - vertices[a, 0], vertices[c, 1] - vertices[a, 1], vertices[c, 2] - vertices[a, 2]
        x, y, z = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for q in (a, b, c):
            normals[q, 0] += x
            normals[q, 1] += y
            normals[q, 2] += z
    for i in range(normals.shape[0]):
        if used[i]:
            nx, ny, nz = normals[i, 0], normals[i, 1], normals[i, 2]
            normals[i] *= np.float32(1) / np.sqrt(nx * nx + ny * ny + nz * nz + np.float32(1e-20))
    return normals
