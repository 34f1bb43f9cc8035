"""A small software rasteriser: z-buffer, supersampling, shadow map, textures, layered clothes. One thread, numba.

Frames: camera frame, metres (x right, y down, z forward). Depth is kept as 1 / z, which is linear on the screen.
"""

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from jaxtyping import Float, Int, UInt8

Array = np.ndarray

_JIT: dict[str, Any] = {"nogil": True, "fastmath": True, "cache": True}
_NEAR_M = 0.03
SKIN, EYE, MOUTH = 0, 1, 2
"""What a face of the mesh is."""


@dataclass(frozen=True)
class Surface:
    """How a body looks; everything is indexed by the mesh's own vertices and faces.

    Attributes:
        faces: [f, 3]. kinds: [f] one of SKIN, EYE, MOUTH. corner_uv: [f, 3, 2] texture coordinates, v down, in [0, 1].
        skin, eye: square textures [s, s, 3].
        gain: [3] colour factor of the skin.
        layers: [v, g] signed covering fields: the first positive one, after interpolation, is what is seen.
        tiles: [g, t, t, 3] repeating textures of the layers. tile_scale: [g] repeats per unit of uv.
        gloss: [g + 3] specular strength of the layers, then skin, eye, mouth.
    """

    faces: Int[Array, "f 3"]
    kinds: UInt8[Array, "f"]
    corner_uv: Float[Array, "f 3 2"]
    skin: UInt8[Array, "s s 3"]
    eye: UInt8[Array, "e e 3"]
    gain: Float[Array, "3"]
    layers: Float[Array, "v g"]
    tiles: UInt8[Array, "g t t 3"]
    tile_scale: Float[Array, "g"]
    gloss: Float[Array, "g3"]


@dataclass(frozen=True)
class Light:
    """One distant light with a shadow and a sky/ground ambient term; linear intensities.

    Attributes:
        direction: [3] unit vector towards the light, camera frame.
        colour, sky, ground: [3] intensities; 1 shows a white surface as white.
        up: [3] unit vector towards the sky.
    """

    direction: Float[Array, "3"]
    colour: Float[Array, "3"]
    sky: Float[Array, "3"]
    ground: Float[Array, "3"]
    up: Float[Array, "3"]


@dataclass(frozen=True)
class Picture:
    """A rendered picture [n, n, 3] and the nearest depth of each pixel [n, n] (metres; infinite on the background)."""

    image: UInt8[Array, "n n 3"]
    depth_m: Float[Array, "n n"]


@numba.njit(**_JIT)
def vertex_normals(vertices: Float[Array, "v 3"], faces: Int[Array, "f 3"]) -> Float[Array, "v 3"]:
    """Area-weighted unit normals [v, 3]; outward where faces turn counter-clockwise seen from outside."""
    normals = np.zeros((vertices.shape[0], 3), np.float32)
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ux, uy, uz = vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1], vertices[b, 2] - vertices[a, 2]
        vx, vy, vz = vertices[c, 0] - vertices[a, 0], vertices[c, 1] - vertices[a, 1], vertices[c, 2] - vertices[a, 2]
        x, y, z = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for q in (a, b, c):
            normals[q, 0] += x
            normals[q, 1] += y
            normals[q, 2] += z
    for i in range(normals.shape[0]):
        s = 1 / np.sqrt(normals[i, 0] ** 2 + normals[i, 1] ** 2 + normals[i, 2] ** 2 + 1e-20)
        normals[i, 0] *= s
        normals[i, 1] *= s
        normals[i, 2] *= s
    return normals


@numba.njit(**_JIT)
def rasterise(points: Array, faces: Array, near: float, depth: Array, face_id: Array) -> None:
    """Fill a z-buffer: larger ``points[:, 2]`` wins.

    Args: points [v, 3] (x, y in pixels of the buffer, third = 1/z or minus distance), near: corners with a third
    coordinate of ``near`` or more are too close and drop their face; depth [h, w] and face_id [h, w] are written.
    """
    height, width = depth.shape
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        if points[a, 2] >= near or points[b, 2] >= near or points[c, 2] >= near:
            continue
        x0, y0, x1, y1, x2, y2 = points[a, 0], points[a, 1], points[b, 0], points[b, 1], points[c, 0], points[c, 1]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if area == 0:
            continue
        i0, i1 = max(0, int(np.ceil(min(x0, x1, x2) - 0.5))), min(width - 1, int(np.floor(max(x0, x1, x2) - 0.5)))
        j0, j1 = max(0, int(np.ceil(min(y0, y1, y2) - 0.5))), min(height - 1, int(np.floor(max(y0, y1, y2) - 0.5)))
        if i0 > i1 or j0 > j1:
            continue
        s = np.float32(1) / area
        ax, ay, bx, by = (y2 - y0) * s, -(x2 - x0) * s, -(y1 - y0) * s, (x1 - x0) * s
        za = points[a, 2]
        zb, zc = points[b, 2] - za, points[c, 2] - za
        for j in range(j0, j1 + 1):
            dy = np.float32(j + 0.5) - y0
            for i in range(i0, i1 + 1):
                dx = np.float32(i + 0.5) - x0
                w1, w2 = ax * dx + ay * dy, bx * dx + by * dy
                if w1 >= 0 and w2 >= 0 and w1 + w2 <= 1:
                    z = za + w1 * zb + w2 * zc
                    if z > depth[j, i]:
                        depth[j, i] = z
                        face_id[j, i] = f


@numba.njit(inline="always", **_JIT)
def _texel(texture: Array, u: float, v: float, ch: int, wrap: bool) -> float:
    """Bilinear lookup of one channel; ``wrap`` repeats the texture, else it is clamped."""
    n = texture.shape[0]
    x, y = u * n - np.float32(0.5), v * n - np.float32(0.5)
    xf, yf = np.floor(x), np.floor(y)
    tx, ty = x - xf, y - yf
    i, j = int(xf), int(yf)
    if wrap:
        i0, j0, i1, j1 = i % n, j % n, (i + 1) % n, (j + 1) % n
    else:
        i0, j0 = min(max(i, 0), n - 1), min(max(j, 0), n - 1)
        i1, j1 = min(max(i + 1, 0), n - 1), min(max(j + 1, 0), n - 1)
    top = texture[j0, i0, ch] * (1 - tx) + texture[j0, i1, ch] * tx
    bottom = texture[j1, i0, ch] * (1 - tx) + texture[j1, i1, ch] * tx
    return (top * (1 - ty) + bottom * ty) * np.float32(1 / 255)


@numba.njit(inline="always", **_JIT)
def _shadow(shadow_map: Array, frame: Array, origin: Array, wx: float, wy: float, wz: float) -> np.float32:
    """Share of the light that reaches a point: 2x2 taps of the shadow map."""
    n = shadow_map.shape[0]
    sx = (frame[0, 0] * wx + frame[0, 1] * wy + frame[0, 2] * wz - origin[0]) * origin[3]
    sy = (frame[1, 0] * wx + frame[1, 1] * wy + frame[1, 2] * wz - origin[1]) * origin[3]
    sz = -(frame[2, 0] * wx + frame[2, 1] * wy + frame[2, 2] * wz) + origin[2]
    ix, iy, lit = int(sx - np.float32(0.5)), int(sy - np.float32(0.5)), 0
    for e in range(4):
        x, y = min(max(ix + (e & 1), 0), n - 1), min(max(iy + (e >> 1), 0), n - 1)
        if shadow_map[y, x] <= sz:
            lit += 1
    return lit * np.float32(0.25)


@numba.njit(inline="always", **_JIT)
def _weights(points: Array, a: int, b: int, c: int, i: int, j: int) -> tuple[float, float, float]:
    """Perspective-correct barycentric weights of the buffer's pixel (i, j) in the triangle a, b, c."""
    x0, x1, x2 = points[a, 0], points[b, 0], points[c, 0]
    y0, y1, y2 = points[a, 1], points[b, 1], points[c, 1]
    s = np.float32(1) / ((x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0))
    dx, dy = np.float32(i + 0.5) - x0, np.float32(j + 0.5) - y0
    w1, w2 = ((y2 - y0) * dx - (x2 - x0) * dy) * s, ((x1 - x0) * dy - (y1 - y0) * dx) * s
    p0, p1, p2 = (1 - w1 - w2) * points[a, 2], w1 * points[b, 2], w2 * points[c, 2]
    k = 1 / (p0 + p1 + p2)
    return p0 * k, p1 * k, p2 * k


@numba.njit(inline="always", **_JIT)
def _mean(values: Array, a: int, b: int, c: int, p0: float, p1: float, p2: float) -> tuple[float, float, float]:
    """The three columns of ``values``, interpolated with the weights of three rows."""
    x = p0 * values[a, 0] + p1 * values[b, 0] + p2 * values[c, 0]
    y = p0 * values[a, 1] + p1 * values[b, 1] + p2 * values[c, 1]
    z = p0 * values[a, 2] + p1 * values[b, 2] + p2 * values[c, 2]
    return x, y, z


@numba.njit(inline="always", **_JIT)
def _paint(surface: tuple, kind: int, layer: int, u: float, v: float, out: Array) -> None:
    """Colour of the surface at texture coordinates, roughly linear, into ``out`` [3]."""
    skin, eye, gain, tiles, tile_scale = surface
    for ch in range(3):
        if layer >= 0:
            t = _texel(tiles[layer], u * tile_scale[layer], v * tile_scale[layer], ch, True)
        elif kind == 1:
            t = _texel(eye, u, v, ch, False)
        else:
            t = _texel(skin, u, v, ch, False) * gain[ch]
            if kind == 2:
                t *= np.float32(0.85) if ch == 0 else np.float32(0.5)
        out[ch] = t * t  # display values to roughly linear ones


@numba.njit(**_JIT)
def _shade(
    mesh: tuple, surface: tuple, face_id: Array, lights: Array, shadow: tuple, background: Array, out: Array, ss: int
) -> None:
    """Colour every pixel: interpolation with perspective, layer choice, texture, light; see :func:`render`."""
    points, world, normals = mesh
    faces, kinds, corner_uv, skin, eye, gain, layers, tiles, tile_scale, gloss = surface
    shadow_map, frame, origin = shadow
    n, count = out.shape[0], layers.shape[1]
    light, half = lights[0], lights[5]
    rgb, albedo = np.zeros(3, np.float32), np.zeros(3, np.float32)
    for yy in range(n):
        for xx in range(n):
            rgb[:] = 0
            hits = 0
            for q in range(ss * ss):
                j, i = yy * ss + q // ss, xx * ss + q % ss
                f = face_id[j, i]
                if f < 0:
                    continue
                hits += 1
                a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
                p0, p1, p2 = _weights(points, a, b, c, i, j)
                nx, ny, nz = _mean(normals, a, b, c, p0, p1, p2)
                k = 1 / np.sqrt(nx * nx + ny * ny + nz * nz + np.float32(1e-12))
                nx, ny, nz = nx * k, ny * k, nz * k
                u = p0 * corner_uv[f, 0, 0] + p1 * corner_uv[f, 1, 0] + p2 * corner_uv[f, 2, 0]
                v = p0 * corner_uv[f, 0, 1] + p1 * corner_uv[f, 1, 1] + p2 * corner_uv[f, 2, 1]
                kind = kinds[f]
                layer = -1
                if kind == 0:
                    for g in range(count):
                        if p0 * layers[a, g] + p1 * layers[b, g] + p2 * layers[c, g] > 0:
                            layer = g
                            break
                _paint((skin, eye, gain, tiles, tile_scale), kind, layer, u, v, albedo)
                diffuse = nx * light[0] + ny * light[1] + nz * light[2]
                lit, shine = np.float32(0), np.float32(0)
                if diffuse > 0:
                    wx, wy, wz = _mean(world, a, b, c, p0, p1, p2)
                    lit = _shadow(shadow_map, frame, origin, wx, wy, wz)
                    h = nx * half[0] + ny * half[1] + nz * half[2]
                    if lit > 0 and h > 0:
                        h *= h
                        h *= h
                        h *= h
                        h *= h
                        shine = gloss[layer if layer >= 0 else count + kind] * h * (h * h if kind == 1 else 1) * lit
                    lit *= diffuse
                up = np.float32(0.5) + np.float32(0.5) * (nx * lights[4, 0] + ny * lights[4, 1] + nz * lights[4, 2])
                if kind == 2:
                    lit *= np.float32(0.3)
                for ch in range(3):
                    ambient = lights[2, ch] * up + lights[3, ch] * (1 - up)
                    t = albedo[ch] * (lights[1, ch] * lit + ambient) + shine * lights[1, ch]
                    rgb[ch] += min(np.sqrt(t), np.float32(1))
            m = ss * ss - hits
            for ch in range(3):
                out[yy, xx, ch] = np.uint8((rgb[ch] * 255 + m * background[yy, xx, ch]) / (ss * ss))


def light_frame(direction: Float[Array, "3"]) -> Float[Array, "3 3"]:
    """Rows: two axes across the light's direction, and the direction in which light travels."""
    helper = np.array([0.0, 0, 1]) if abs(direction[2]) < 0.9 else np.array([0.0, 1, 0])
    x = np.cross(helper, direction)
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(direction, x), -direction]).astype(np.float32)


@numba.njit(**_JIT)
def _bounds(points: Array, screen: Array, low: float, high: float) -> tuple[Array, Array]:
    """Bounds of the points whose screen position lies in [low, high] on both axes and whose depth is positive."""
    lo, hi = np.full(3, np.inf, np.float32), np.full(3, -np.inf, np.float32)
    for i in range(points.shape[0]):
        x, y = screen[i, 0], screen[i, 1]
        if x > low and x < high and y > low and y < high and screen[i, 2] < 1e2:
            for k in range(3):
                lo[k] = min(lo[k], points[i, k])
                hi[k] = max(hi[k], points[i, k])
    if not hi[0] > lo[0]:
        lo[:] = -1
        hi[:] = 1
    return lo, hi


def _shadow_map(world: Array, faces: Array, screen: Array, extent: float, direction: Array, size: int) -> tuple:
    """Depth seen from the light, over the part of the mesh near the picture: map, light frame, origin and scale."""
    frame = light_frame(direction)
    points = world @ frame.T
    low, high = _bounds(points, screen, np.float32(-0.15 * extent), np.float32(1.15 * extent))
    low, high = low - np.float32(0.02), high + np.float32(0.02)
    scale = (size - 2) / max(high[0] - low[0], high[1] - low[1])
    seen = np.empty_like(points)
    seen[:, :2] = (points[:, :2] - low[:2]) * scale + 1
    seen[:, 2] = -points[:, 2]
    shadow = np.full((size, size), -1e9, np.float32)
    rasterise(seen, faces, np.float32(1e9), shadow, np.empty((size, size), np.int32))
    bias = 0.012 + 1.5 / scale
    origin = np.array([low[0] - 1 / scale, low[1] - 1 / scale, bias, scale], np.float32)
    return shadow, frame, origin


def _screen(world: Array, focal: float, size: int) -> Float[Array, "v 3"]:
    """Pixel coordinates of a square buffer, and 1 / z."""
    inverse = 1 / np.maximum(world[:, 2], np.float32(1e-3))
    points = np.empty_like(world)
    for axis in (0, 1):
        pixels = world[:, axis] * inverse * np.float32(focal * size / 2) + np.float32(size / 2)
        points[:, axis] = np.clip(pixels, -1e5, 1e5)
    points[:, 2] = inverse
    return points


def depth_map(vertices: Float[Array, "v 3"], faces: Int[Array, "f 3"], focal: float, size: int) -> Float[Array, "n n"]:
    """Nearest depth of each pixel (metres; infinite where there is nothing). Arguments as :func:`render`."""
    points = _screen(np.ascontiguousarray(vertices, np.float32), focal, size)
    depth = np.zeros((size, size), np.float32)
    rasterise(points, faces, np.float32(1 / _NEAR_M), depth, np.empty((size, size), np.int32))
    with np.errstate(divide="ignore"):
        return 1.0 / depth


def render(
    vertices: Float[Array, "v 3"],
    surface: Surface,
    light: Light,
    focal: float,
    background: UInt8[Array, "n n 3"],
    *,
    supersampling: int = 2,
    shadow_size: int = 320,
) -> Picture:
    """Draw a body over a square background.

    Args:
        vertices: camera frame, metres; the optical axis meets the centre of the picture.
        focal: focal length in half sides of the picture: crop coordinates are focal * (x, y) / z in [-1, 1].
        supersampling: samples along each side of a pixel.
        shadow_size: side of the shadow map; 0 draws no shadow.
    """
    size = background.shape[0]
    extent = size * supersampling
    world = np.ascontiguousarray(vertices, np.float32)
    points = _screen(world, focal, extent)
    normals = vertex_normals(world, surface.faces)
    depth = np.zeros((extent, extent), np.float32)
    face_id = np.full(depth.shape, -1, np.int32)
    rasterise(points, surface.faces, np.float32(1 / _NEAR_M), depth, face_id)
    direction = light.direction.astype(np.float32)
    if shadow_size:
        shadow = _shadow_map(world, surface.faces, points, extent, direction, shadow_size)
    else:
        shadow = np.full((2, 2), -1e9, np.float32), np.eye(3, dtype=np.float32), np.ones(4, np.float32)
    middle = direction + np.array([0, 0, -1], np.float32)
    middle /= max(float(np.linalg.norm(middle)), 1e-3)
    lights = np.stack([direction, light.colour, light.sky, light.ground, light.up, middle]).astype(np.float32)
    arrays = tuple(getattr(surface, name) for name in surface.__dataclass_fields__)
    out = np.empty((size, size, 3), np.uint8)
    _shade((points, world, normals), arrays, face_id, lights, shadow, background, out, supersampling)
    rows = np.max([depth[k::supersampling] for k in range(supersampling)], 0)
    nearest = np.max([rows[:, k::supersampling] for k in range(supersampling)], 0)
    with np.errstate(divide="ignore"):
        return Picture(out, 1.0 / nearest)
