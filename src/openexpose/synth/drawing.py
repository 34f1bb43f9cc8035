"""Draws scenes of many meshes: one z-buffer with supersampling and cut-outs, a sun with a shadow map, ambient light
from spherical harmonics times screen-space occlusion, a floor that receives shadows. One thread, numba.

Frames: camera frame, metres (x right, y down, z forward). Depth is kept as 1 / z, which is linear on the screen.
Colours are linear in here: display values squared.
"""

from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
from jaxtyping import Float, UInt8

from openexpose.errors import InputError
from openexpose.synth.lighting import ambient_light
from openexpose.synth.meshes import (
    CLOSED,
    CUTOUT,
    FIRST_VERTEX,
    GLOSS,
    KIND,
    LAYER_COUNT,
    LAYER_MATERIAL,
    LAYERS,
    NOBODY,
    REPEATS,
    UV_SCALE,
    Meshes,
    cut_out,
    floats_at,
    gather,
    opaque_texel,
    seen_normals,
    texel,
    texture_spot,
)
from openexpose.synth.raster import EYE, MOUTH, light_frame
from openexpose.synth.shadows import (
    contact_map,
    floor_extent,
    floor_light,
    floor_points,
    joint_extent,
    moved,
    picture_occlusion,
    seen_extent,
    shadow_fit,
    sunlit,
)
from openexpose.synth.thing import Body, Drawing, Floor, Lighting, Thing

Array = np.ndarray

_JIT: dict[str, Any] = {"nogil": True, "fastmath": True, "cache": True, "error_model": "numpy"}
_PLAIN: dict[str, Any] = {**_JIT, "_nrt": False}
"""Without the counting of references, which costs a third of the time in inner loops; nothing can be allocated."""
_NEAR_M = 0.03
_ZERO, _HALF, _ONE, _FAR = np.float32(0), np.float32(0.5), np.float32(1), np.float32(1e6)


@numba.njit(**_PLAIN)
def _rasterise(points: Array, mesh: tuple, materials: tuple, seen_as: tuple, depth: Array, face_id: Array) -> None:
    """Fill a z-buffer as :func:`openexpose.synth.raster.rasterise` does, with cut-outs.

    Args:
        seen_as: perspective?, and the sign of the area [px^2] of faces seen from outside (0: all are drawn). With
            perspective the third coordinate is 1 / z, and faces with a corner nearer than 3 cm are left to
            :func:`_rasterise_near`; else it is any depth, larger is nearer, and linear.
        face_id: numbers of the faces from 1; 0 for nothing.
    """
    faces, corner_uv, material, shown = mesh
    perspective, outside = seen_as
    height, width = depth.shape
    near = np.float32(1 / _NEAR_M)
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        x0, y0, x1, y1, x2, y2 = points[a, 0], points[a, 1], points[b, 0], points[b, 1], points[c, 0], points[c, 1]
        i0 = max(0, int(np.ceil(min(x0, x1, x2) - _HALF)))
        i1 = min(width - 1, int(np.floor(max(x0, x1, x2) - _HALF)))
        j0 = max(0, int(np.ceil(min(y0, y1, y2) - _HALF)))
        j1 = min(height - 1, int(np.floor(max(y0, y1, y2) - _HALF)))
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if i0 > i1 or j0 > j1 or area == 0 or shown[f] == 0 or (shown[f] == CLOSED and area * outside < 0):
            continue
        za, zb, zc = points[a, 2], points[b, 2], points[c, 2]
        if perspective and (za >= near or zb >= near or zc >= near):
            continue
        s = _ONE / area
        ax, ay, bx, by = (y2 - y0) * s, -(x2 - x0) * s, -(y1 - y0) * s, (x1 - x0) * s
        m = material[f]
        cut = materials[1][m, CUTOUT] > 0
        wide = i1 - i0 > 3
        kx, ky, cx, cy = (_ONE / ax, _ONE / bx, ax + bx, ay + by) if wide else (_ZERO, _ZERO, _ZERO, _ZERO)
        for j in range(j0, j1 + 1):
            dy, entered, start = np.float32(j) + _HALF - y0, False, i0
            if wide:  # skip to about where the first edge is met, a pixel early
                first = max(-ay * dy * kx if ax > _ZERO else -_FAR, -by * dy * ky if bx > _ZERO else -_FAR)
                first = max(first, (_ONE - cy * dy) / cx if cx < _ZERO else -_FAR)
                start = max(i0, int(min(first + x0, _FAR) - _HALF) - 1)
            for i in range(start, i1 + 1):
                dx = np.float32(i) + _HALF - x0
                w1, w2 = ax * dx + ay * dy, bx * dx + by * dy
                if w1 >= _ZERO and w2 >= _ZERO and w1 + w2 <= _ONE:
                    entered = True
                    z = za + w1 * (zb - za) + w2 * (zc - za)
                    if z > depth[j, i]:
                        if cut:
                            w0 = _ONE - w1 - w2
                            p0, p1, p2 = (w0 * za, w1 * zb, w2 * zc) if perspective else (w0, w1, w2)
                            if cut_out(materials, corner_uv, f, m, p0, p1, p2):
                                continue
                        depth[j, i] = z
                        face_id[j, i] = f + 1
                elif entered:
                    break


@numba.njit(inline="always", **_JIT)
def _hit(vertices: Array, a: int, b: int, c: int, dx: float, dy: float) -> tuple[float, float, float, float]:
    """Weights of the three corners where the ray (dx, dy, 1) meets their plane, all positive inside the triangle; and
    a number that is positive where the ray comes from outside."""
    ax, ay, az = vertices[a, 0], vertices[a, 1], vertices[a, 2]
    ex, ey, ez = vertices[b, 0] - ax, vertices[b, 1] - ay, vertices[b, 2] - az
    gx, gy, gz = vertices[c, 0] - ax, vertices[c, 1] - ay, vertices[c, 2] - az
    px, py, pz = dy * gz - gy, gx - dx * gz, dx * gy - dy * gx
    qx, qy, qz = ey * az - ez * ay, ez * ax - ex * az, ex * ay - ey * ax
    determinant = ex * px + ey * py + ez * pz
    k = _ONE / determinant if determinant != _ZERO else _ZERO
    w1, w2 = -(ax * px + ay * py + az * pz) * k, (dx * qx + dy * qy + qz) * k
    return _ONE - w1 - w2, w1, w2, determinant


@numba.njit(**_PLAIN)
def _rasterise_near(vertices: Array, mesh: tuple, materials: tuple, lens: Array, depth: Array, face_id: Array) -> None:
    """The faces that the plane 3 cm before the camera cuts; ``lens``: focal length, centre x, y of the buffer."""
    faces, corner_uv, material, shown = mesh
    height, width = depth.shape
    near, back = np.float32(_NEAR_M), 1 / lens[0]
    for f in range(faces.shape[0]):
        corners = faces[f]
        ahead = 0
        for k in range(3):
            ahead += vertices[corners[k], 2] > near
        if not shown[f] or ahead == 0 or ahead == 3:
            continue
        x0, y0, x1, y1 = np.float32(width), np.float32(height), np.float32(0), np.float32(0)
        for k in range(3):
            one, two = vertices[corners[k]], vertices[corners[(k + 1) % 3]]
            t = (near - one[2]) / (two[2] - one[2]) if (one[2] > near) != (two[2] > near) else np.float32(0)
            for share in (np.float32(0), t):
                z = one[2] + share * (two[2] - one[2])
                if z > near * np.float32(0.999):
                    x = (one[0] + share * (two[0] - one[0])) / z * lens[0] + lens[1]
                    y = (one[1] + share * (two[1] - one[1])) / z * lens[0] + lens[2]
                    x0, y0, x1, y1 = min(x0, x), min(y0, y), max(x1, x), max(y1, y)
        for j in range(max(0, int(y0)), min(height, int(min(y1, np.float32(height))) + 1)):
            for i in range(max(0, int(x0)), min(width, int(min(x1, np.float32(width))) + 1)):
                dx, dy = (np.float32(i + 0.5) - lens[1]) * back, (np.float32(j + 0.5) - lens[2]) * back
                p0, p1, p2, _ = _hit(vertices, corners[0], corners[1], corners[2], dx, dy)
                if p0 < 0 or p1 < 0 or p2 < 0:
                    continue
                z = p0 * vertices[corners[0], 2] + p1 * vertices[corners[1], 2] + p2 * vertices[corners[2], 2]
                if z > near and 1 / z > depth[j, i]:
                    m = material[f]
                    if materials[1][m, CUTOUT] > 0 and cut_out(materials, corner_uv, f, m, p0, p1, p2):
                        continue
                    depth[j, i] = 1 / z
                    face_id[j, i] = f + 1


@numba.njit(**_PLAIN)
def _nearest(
    depth: Array, face_id: Array, faces: Array, face_mask: Array, near: Array, mask: Array, used: Array
) -> None:
    """Nearest 1 / z and its face's mask for each pixel, and which vertices are seen."""
    height, width = near.shape
    ss, last = depth.shape[0] // height, 0
    for j in range(depth.shape[0]):
        y = j // ss
        for x in range(width):
            for i in range(x * ss, x * ss + ss):
                if depth[j, i] == _ZERO:
                    continue
                f = face_id[j, i]
                if f != last:
                    for k in range(3):
                        used[faces[f - 1, k]] = True
                    last = f
                if depth[j, i] > near[y, x]:
                    near[y, x] = depth[j, i]
                    mask[y, x] = face_mask[f - 1]


@numba.njit(inline="always", **_JIT)
def _colour(
    mesh: tuple, materials: tuple, lights: tuple, shadow: tuple, f: int, dx: float, dy: float, open_: np.float32
) -> tuple:
    """Linear colour of a face where the ray (dx, dy, 1) meets it; ``open_``: the share of ambient light."""
    vertices, normals, faces, corner_uv, material = mesh
    where, look = materials
    sun, harmonics, floor = lights
    a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
    p0, p1, p2, front = _hit(vertices, a, b, c, dx, dy)
    z = p0 * vertices[a, 2] + p1 * vertices[b, 2] + p2 * vertices[c, 2]
    nx = p0 * normals[a, 0] + p1 * normals[b, 0] + p2 * normals[c, 0]
    ny = p0 * normals[a, 1] + p1 * normals[b, 1] + p2 * normals[c, 1]
    nz = p0 * normals[a, 2] + p1 * normals[b, 2] + p2 * normals[c, 2]
    k = _ONE / np.sqrt(nx * nx + ny * ny + nz * nz + np.float32(1e-12))
    k = k if front > 0 else -k
    nx, ny, nz = nx * k, ny * k, nz * k
    u = p0 * corner_uv[f, 0, 0] + p1 * corner_uv[f, 1, 0] + p2 * corner_uv[f, 2, 0]
    v = p0 * corner_uv[f, 0, 1] + p1 * corner_uv[f, 1, 1] + p2 * corner_uv[f, 2, 1]
    m = material[f]
    kind, count = look[m, KIND], where[m, LAYER_COUNT]
    if count > 0:
        fields, first, layers = floats_at(where[m, LAYERS]), where[m, FIRST_VERTEX], where[m, LAYER_MATERIAL]
        for g in range(count):
            i, j, h = (a - first) * count + g, (b - first) * count + g, (c - first) * count + g
            if p0 * fields[i] + p1 * fields[j] + p2 * fields[h] > 0:
                m = layers + g
                break
    spot = texture_spot(where, m, u * look[m, UV_SCALE], v * look[m, UV_SCALE], look[m, REPEATS] > 0)
    diffuse, shine = nx * sun[0, 0] + ny * sun[0, 1] + nz * sun[0, 2], _ZERO
    if diffuse > 0:
        lit = sunlit(shadow, (dx * z, dy * z, z), (nx, ny, nz), diffuse)
        back = _ONE / np.sqrt(dx * dx + dy * dy + _ONE)
        hx, hy, hz = sun[0, 0] - dx * back, sun[0, 1] - dy * back, sun[0, 2] - back
        h = (nx * hx + ny * hy + nz * hz) / np.sqrt(hx * hx + hy * hy + hz * hz + np.float32(1e-6))
        if h > 0:
            h *= h
            h *= h
            h *= h
            h *= h
            shine = look[m, GLOSS] * lit * (h * h * h if kind == EYE else h)
        diffuse *= lit * (np.float32(0.3) if kind == MOUTH else _ONE)
    else:
        diffuse = _ZERO
    if floor[4] > 0:  # the floor that one stands on is in one's own shade
        high = (floor[0] * dx + floor[1] * dy + floor[2]) * z - floor[3]
        down = _HALF * (_ONE - nx * floor[0] - ny * floor[1] - nz * floor[2])
        open_ *= _ONE - np.float32(0.8) * down * np.exp(-max(high, _ZERO) * np.float32(12))
    open_ *= _HALF if kind == MOUTH else _ONE
    out0, out1, out2 = ambient_light(harmonics, nx, ny, nz)
    if look[m, CUTOUT] > _ZERO:
        t0, t1 = opaque_texel(where, m, spot, 0), opaque_texel(where, m, spot, 1)
        t2 = opaque_texel(where, m, spot, 2)
    else:
        t0, t1, t2 = texel(where, m, spot, 0), texel(where, m, spot, 1), texel(where, m, spot, 2)
    t0, t1, t2 = t0 * look[m, 0], t1 * look[m, 1], t2 * look[m, 2]
    return (
        t0 * t0 * (out0 * open_ + sun[1, 0] * diffuse) + shine * sun[1, 0],
        t1 * t1 * (out1 * open_ + sun[1, 1] * diffuse) + shine * sun[1, 1],
        t2 * t2 * (out2 * open_ + sun[1, 2] * diffuse) + shine * sun[1, 2],
    )


@numba.njit(**_PLAIN)
def _shade(
    mesh: tuple, materials: tuple, lights: tuple, shadow: tuple, buffers: tuple, focal: float, out: Array
) -> None:
    """Colour every pixel over the background: each face once, in the middle of its samples of the pixel."""
    face_id, near, occlusion, found, weight = buffers
    height, width = near.shape
    ss, step = face_id.shape[0] // height, (height + occlusion.shape[0] - 1) // occlusion.shape[0]
    count, back = ss * ss, _ONE / focal
    part, cx, cy = _ONE / np.float32(count), np.float32(width) * _HALF, np.float32(height) * _HALF
    for y in range(height):
        row = occlusion[y // step]
        for x in range(width):
            if near[y, x] == _ZERO:
                continue
            different, covered = 0, _ZERO
            for j in range(ss):
                for i in range(ss):
                    f = face_id[y * ss + j, x * ss + i]
                    if f == 0:
                        continue
                    k = 0
                    while k < different and found[k] != f:
                        k += 1
                    if k == different:
                        found[k], different = f, different + 1
                        weight[k] = 0
                    weight[k, 0] += _ONE
                    weight[k, 1] += np.float32(i)
                    weight[k, 2] += np.float32(j)
                    covered += _ONE
            red, green, blue, open_ = _ZERO, _ZERO, _ZERO, row[x // step]
            for k in range(different):
                w = _ONE / (weight[k, 0] * np.float32(ss))
                dx = (np.float32(x) - cx + (weight[k, 1] + weight[k, 0] * _HALF) * w) * back
                dy = (np.float32(y) - cy + (weight[k, 2] + weight[k, 0] * _HALF) * w) * back
                r0, g0, b0 = _colour(mesh, materials, lights, shadow, found[k] - 1, dx, dy, open_)
                red += weight[k, 0] * min(np.sqrt(r0), _ONE)
                green += weight[k, 0] * min(np.sqrt(g0), _ONE)
                blue += weight[k, 0] * min(np.sqrt(b0), _ONE)
            rest, full = _ONE - covered * part, np.float32(255) * part
            out[y, x, 0] = np.uint8(np.float32(out[y, x, 0]) * rest + red * full + _HALF)
            out[y, x, 1] = np.uint8(np.float32(out[y, x, 1]) * rest + green * full + _HALF)
            out[y, x, 2] = np.uint8(np.float32(out[y, x, 2]) * rest + blue * full + _HALF)


def _screen(vertices: Array, focal: float, width: int, height: int) -> Float[Array, "v 3"]:
    """Pixel coordinates, and 1 / z."""
    inverse = 1 / np.maximum(vertices[:, 2], np.float32(1e-3))
    points = np.empty_like(vertices)
    for axis, extent in ((0, width), (1, height)):
        pixels = vertices[:, axis] * inverse * np.float32(focal) + np.float32(extent / 2)
        points[:, axis] = np.clip(pixels, -1e5, 1e5)
    points[:, 2] = inverse
    return points


def _shadows(
    all_: Meshes, lighting: Lighting, floor: Floor | None, near: Array, focal: float, size: int, image: Array
) -> tuple:
    """The sun's shadow map for what is seen; the floor's share of the light goes into the picture in place."""
    mesh, materials = _tables(all_)

    def filled(fitted: tuple[Array, tuple], outside: float) -> tuple:
        """The map, with the scene in it."""
        points, (empty, *others) = fitted
        _rasterise(points, mesh, materials, (False, np.float32(outside)), empty, np.empty(empty.shape, np.int32))
        return (empty, *others)

    frame = light_frame(lighting.direction)
    points = moved(all_.vertices, frame)
    ground = floor_points(near.shape, focal, floor)
    seen, below = seen_extent(near, focal, frame), floor_extent(ground, points, frame)
    joint = joint_extent(seen, below)
    shadow = filled(shadow_fit(points, seen if joint is None else joint, frame, size), 1)
    contact = None if floor is None else contact_map(all_.vertices, floor, ground)
    if floor is not None and (below is not None or contact is not None):
        fallen = None if below is None else shadow
        if below is not None and joint is None:
            fallen = filled(shadow_fit(points, below, frame, size), 1)
        floor_light(image, focal, floor, lighting, fallen, filled(contact, 0) if contact else None)
    return shadow


def _tables(all_: Meshes) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """What the compiled functions call ``mesh`` and ``materials``."""
    return (all_.faces, all_.corner_uv, all_.material, all_.shown), (all_.where, all_.look)


def draw(
    bodies: Sequence[Body],
    things: Sequence[Thing],
    lighting: Lighting,
    floor: Floor | None,
    focal_px: float,
    background: UInt8[Array, "h w 3"],
    *,
    supersampling: int = 2,
    shadow_size: int = 512,
) -> Drawing:
    """Draw people and things over a background.

    Args:
        bodies: at most 15; number k of the mask is ``bodies[k]``. things: those of nobody.
        floor: where shadows fall on the background; None: nowhere.
        focal_px: focal length; the camera's axis goes through the middle of the background.
        supersampling: samples along each side of a pixel. shadow_size: side of the sun's shadow map.

    Raises:
        InputError: more than 15 bodies.
    """
    if len(bodies) > NOBODY:
        raise InputError(f"{len(bodies)} bodies", f"at most {NOBODY}, as the mask has four bits for them")
    height, width = background.shape[:2]
    near, mask = np.zeros((height, width), np.float32), np.zeros((height, width), np.uint8)
    if not bodies and not things:
        return Drawing(background.copy(), np.full_like(near, np.inf), mask)
    all_ = gather(bodies, things)
    vertices, (mesh, materials) = all_.vertices, _tables(all_)
    size = height * supersampling, width * supersampling
    lens = np.array([focal_px * supersampling, size[1] / 2, size[0] / 2], np.float32)
    depth, face_id = np.zeros(size, np.float32), np.zeros(size, np.int32)
    _rasterise(_screen(vertices, lens[0], size[1], size[0]), mesh, materials, (True, -_ONE), depth, face_id)
    _rasterise_near(vertices, mesh, materials, lens, depth, face_id)
    used = np.zeros(len(vertices), bool)
    _nearest(depth, face_id, all_.faces, all_.mask, near, mask, used)
    surface = vertices, seen_normals(vertices, all_.faces, used), all_.faces, all_.corner_uv, all_.material
    image, focal, ground = background.copy(), float(np.float32(focal_px)), np.zeros(5, np.float32)
    if floor is not None:
        ground[:] = *floor.normal, floor.offset_m, 1
    shadow = _shadows(all_, lighting, floor, near, focal, shadow_size, image)
    lights = np.stack([lighting.direction, lighting.colour]).astype(np.float32), lighting.harmonics.astype(np.float32)
    count = supersampling**2
    buffers = face_id, near, picture_occlusion(near, focal), np.empty(count, np.int32), np.empty((count, 3), np.float32)
    _shade(surface, materials, (*lights, ground), shadow, buffers, np.float32(focal), image)
    with np.errstate(divide="ignore"):
        return Drawing(image, 1 / near, mask)
