"""How light reaches surfaces: the sun's shadow map, occlusion of the surroundings, the floor. Numba; camera frame."""

from typing import Any

import cv2
import numba
import numpy as np
from jaxtyping import Float, UInt8

from openexpose.synth.lighting import harmonic_basis
from openexpose.synth.raster import light_frame
from openexpose.synth.thing import Floor, Lighting

Array = np.ndarray

_JIT: dict[str, Any] = {"nogil": True, "fastmath": True, "cache": True, "error_model": "numpy"}
_PLAIN: dict[str, Any] = {**_JIT, "_nrt": False}
"""Without the counting of references; nothing can be allocated."""
_ZERO, _ONE = np.float32(0), np.float32(1)
_REACH_M = 0.25
_OCCLUSION = np.float32(1.4)
_SLABS_M = (0.012, 0.03, 0.07, 0.16, 0.4, 1.0)
_CONTACT_SIZE, _CONTACT_M = 160, 0.7


@numba.njit(**_JIT)
def moved(points: Float[Array, "n 3"], rotation: Float[Array, "3 3"]) -> Float[Array, "n 3"]:
    """``rotation @ x`` for each point, float32 (compiled)."""
    out = np.empty(points.shape, np.float32)
    for n in range(points.shape[0]):
        x, y, z = points[n, 0], points[n, 1], points[n, 2]
        for k in range(3):
            out[n, k] = rotation[k, 0] * x + rotation[k, 1] * y + rotation[k, 2] * z
    return out


@numba.njit(**_JIT)
def _extent(points: Float[Array, "n 3"]) -> Float[Array, "2 3"]:
    """Least and greatest coordinates, as rows."""
    out = np.empty((2, 3), np.float32)
    for k in range(3):
        out[0, k] = out[1, k] = points[0, k]
    for n in range(1, points.shape[0]):
        for k in range(3):
            out[0, k], out[1, k] = min(out[0, k], points[n, k]), max(out[1, k], points[n, k])
    return out


def _rays(shape: tuple[int, ...], focal: float, step: int) -> Float[Array, "h w 3"]:
    """Directions with z = 1 of every step-th pixel of a picture of ``shape``."""
    y, x = (np.arange(n)[::step] + (0.5 - n / 2) for n in shape)
    rays = np.ones((len(y), len(x), 3), np.float32)
    rays[..., 0], rays[..., 1] = x / focal, y[:, None] / focal
    return rays


def seen_extent(near: Float[Array, "h w"], focal: float, frame: Float[Array, "3 3"]) -> Float[Array, "2 2"]:
    """Least and greatest x and y of what the camera sees in the frame of the light, as rows.

    Args: near: 1 / z of the pixels, 0 for the background. focal: pixels.
    """
    step = max(1, min(near.shape) // 64)
    part = near[::step, ::step]
    points = moved(_rays(near.shape, focal, step)[part > 0] / part[part > 0][:, None], frame)
    return _extent(points)[:, :2] if len(points) else np.zeros((2, 2), np.float32)


def floor_points(shape: tuple[int, ...], focal: float, floor: Floor | None) -> Float[Array, "n 3"]:
    """Some points of the floor that the camera sees, within 30 m."""
    if floor is None:
        return np.zeros((0, 3), np.float32)
    rays = _rays(shape, focal, max(1, min(shape) // 48)).reshape(-1, 3)
    slope = rays @ floor.normal.astype(np.float32)
    depth = np.float32(floor.offset_m) / np.minimum(slope, np.float32(-1e-4))
    return (rays * depth[:, None])[(slope < -1e-4) & (depth > 0) & (depth < 30)]


def floor_extent(
    ground: Float[Array, "n 3"], casters: Float[Array, "v 3"], frame: Float[Array, "3 3"], reach_m: float = 0.0
) -> Float[Array, "2 2"] | None:
    """Least and greatest x and y, in a frame, of the floor that the scene can darken, as rows; None: nothing of it.

    Args:
        ground: points of :func:`floor_points`. casters: vertices of the scene in the frame.
        reach_m: how far beyond them there is an effect.
    """
    if not len(ground):
        return None
    low, high = _extent(casters) + np.array([[-reach_m], [reach_m]], np.float32)
    extent = np.clip(_extent(moved(ground, frame)), low, high)[:, :2]
    return extent if (extent[1] > extent[0]).all() else None


def joint_extent(one: Float[Array, "2 2"], two: Float[Array, "2 2"] | None) -> Float[Array, "2 2"] | None:
    """What holds both extents, if it is hardly larger than the first."""
    if two is None:
        return None
    joint = np.stack([np.minimum(one[0], two[0]), np.maximum(one[1], two[1])])
    return joint if np.ptp(joint, 0).max() < 1.3 * np.ptp(one, 0).max() else None


def shadow_fit(
    points: Float[Array, "v 3"], extent: Float[Array, "2 2"], frame: Float[Array, "3 3"], size: int
) -> tuple[Float[Array, "v 3"], tuple]:
    """An empty shadow map.

    Args:
        points: vertices in the frame of the light. extent: least and greatest x and y to show. size: side of the map.

    Returns: the vertices' places in the map and minus their distance to the sun; and (map, frame, its origin, bias,
    scale and offset) for :func:`sunlit`.
    """
    size = max(size, 8)
    low, high = extent
    margin = 0.01 + 0.03 * float((high - low).max())
    scale = (size - 2) / (float((high - low).max()) + 2 * margin)
    origin = low - np.float32(margin + 1 / scale)
    seen = np.empty_like(points)
    seen[:, :2] = (points[:, :2] - origin) * np.float32(scale)
    seen[:, 2] = -points[:, 2]
    plan = np.array([*origin, 0.002 + 0.6 / scale, scale, 1.6 / scale], np.float32)
    return seen, (np.full((size, size), -1e9, np.float32), frame, plan)


@numba.njit(inline="always", **_JIT)
def sunlit(shadow: tuple, point: tuple, normal: tuple, cosine: float) -> np.float32:
    """Share of the sun that reaches a point (compiled): 3x3 bilinear taps of the shadow map.

    The point is moved out along the normal by a few texels of the map, the more the flatter the light falls
    (``cosine``), and towards the sun by the bias.
    """
    depth, frame, origin = shadow
    n, scale = depth.shape[0], origin[3]
    out = origin[4] * np.sqrt(max(_ONE - cosine * cosine, _ZERO))
    px, py, pz = point[0] + out * normal[0], point[1] + out * normal[1], point[2] + out * normal[2]
    sx = (frame[0, 0] * px + frame[0, 1] * py + frame[0, 2] * pz - origin[0]) * scale - np.float32(1.5)
    sy = (frame[1, 0] * px + frame[1, 1] * py + frame[1, 2] * pz - origin[1]) * scale - np.float32(1.5)
    sz = origin[2] - (frame[2, 0] * px + frame[2, 1] * py + frame[2, 2] * pz)
    xf, yf = np.floor(sx), np.floor(sy)
    if not (xf >= 0 and yf >= 0 and xf < n - 3 and yf < n - 3):
        return _ONE
    i, j, tx, ty, lit = int(xf), int(yf), sx - xf, sy - yf, _ZERO
    for q in range(4):
        row = _ONE - tx if depth[j + q, i] <= sz else _ZERO
        row += _ONE if depth[j + q, i + 1] <= sz else _ZERO
        row += _ONE if depth[j + q, i + 2] <= sz else _ZERO
        row += tx if depth[j + q, i + 3] <= sz else _ZERO
        lit += row * (_ONE - ty if q == 0 else ty if q == 3 else _ONE)
    return lit * np.float32(1 / 9)


def _spirals() -> Float[Array, "16 10 2"]:
    """Places to look at around a pixel, in units of the radius: 16 spirals of 10."""
    turn, k = np.meshgrid(np.arange(16) * 7 % 16, np.arange(10), indexing="ij")
    angle, radius = k * 2.4 + turn * 0.3927, np.sqrt((k + (turn + 0.5) / 16) / 10)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], -1).astype(np.float32)


_SPIRALS = _spirals()


@numba.njit(**_PLAIN)
def _occlude(near: Array, focal: float, spirals: Array, out: Array) -> None:
    """Share of the ambient light that reaches each pixel (McGuire 2012, Scalable Ambient Obscurance, section 2.2)."""
    height, width = near.shape
    reach, half, back = np.float32(_REACH_M), np.float32(0.5), _ONE / focal
    largest = np.float32(0.2 * max(height, width))
    cx, cy = np.float32(0.5 - width / 2), np.float32(0.5 - height / 2)
    for y in range(height):
        for x in range(width):
            if near[y, x] == 0:
                continue
            z = _ONE / near[y, x]
            px, py = (np.float32(x) + cx) * z * back, (np.float32(y) + cy) * z * back
            east, west = near[y, min(x + 1, width - 1)], near[y, max(x - 1, 0)]
            south, north = near[min(y + 1, height - 1), x], near[max(y - 1, 0), x]
            gx = east - near[y, x] if abs(east - near[y, x]) < abs(near[y, x] - west) else near[y, x] - west
            gy = south - near[y, x] if abs(south - near[y, x]) < abs(near[y, x] - north) else near[y, x] - north
            nx, ny = gx * focal, gy * focal  # the plane n . P = 1 has 1 / z = n . (x, y, 1) / focal on the screen
            nz = near[y, x] - (nx * (np.float32(x) + cx) + ny * (np.float32(y) + cy)) * back
            k = -_ONE / np.sqrt(nx * nx + ny * ny + nz * nz)
            nx, ny, nz = nx * k, ny * k, nz * k
            radius = min(reach * focal * near[y, x], largest)
            limit = radius * z / focal
            taps, sum_ = spirals[(x & 3) * 4 + (y & 3)], _ZERO
            for t in range(taps.shape[0]):
                i, j = int(np.float32(x) + taps[t, 0] * radius + half), int(np.float32(y) + taps[t, 1] * radius + half)
                if i < 0 or j < 0 or i >= width or j >= height or near[j, i] == 0:
                    continue
                w = _ONE / near[j, i]
                vx, vy, vz = (np.float32(i) + cx) * w * back - px, (np.float32(j) + cy) * w * back - py, w - z
                square = vx * vx + vy * vy + vz * vz
                if square < limit * limit and square > _ZERO:
                    rise = (vx * nx + vy * ny + vz * nz) / np.sqrt(square) - np.float32(0.08)
                    sum_ += max(rise, _ZERO) * (_ONE - square / (limit * limit))
            out[y, x] = max(_ONE - _OCCLUSION * sum_ / np.float32(taps.shape[0]), np.float32(0.1))


def picture_occlusion(near: Float[Array, "h w"], focal: float) -> Float[Array, "h2 w2"]:
    """Share of the ambient light that reaches each pixel, as far as the picture tells.

    Args: near: 1 / z, 0 for the background. focal: pixels.

    Returns: of every pixel, or every second one of pictures larger than 200 pixels.
    """
    step = 2 if max(near.shape) > 200 else 1
    small = np.ascontiguousarray(near[::step, ::step])
    share = np.zeros_like(small)
    _occlude(small, np.float32(focal / step), _SPIRALS, share)
    weight = cv2.blur((small > 0).astype(np.float32), (5, 5))
    return cv2.blur(share, (5, 5)) / np.maximum(weight, np.float32(1e-3))


def contact_map(
    vertices: Float[Array, "v 3"], floor: Floor, ground: Float[Array, "n 3"]
) -> tuple[Float[Array, "v 3"], tuple] | None:
    """An empty map of the scene seen from below the floor; None if the camera sees no floor near it.

    Args: ground: points of :func:`floor_points`.

    Returns: the vertices' places in the map and minus their height; and (map, axes, origin with scale).
    """
    axes = light_frame(floor.normal)
    points = moved(vertices, axes)
    if floor_extent(ground, points, axes, _CONTACT_M) is None:
        return None
    low, high = _extent(points)[:, :2] + np.array([[-_CONTACT_M], [_CONTACT_M]], np.float32)
    scale = np.float32(_CONTACT_SIZE / (high - low).max())
    points[:, :2] = (points[:, :2] - low) * scale
    points[:, 2] += np.float32(floor.offset_m)
    empty = np.full((_CONTACT_SIZE, _CONTACT_SIZE), -1e9, np.float32)
    return points, (empty, axes, np.array([*low, scale], np.float32))


def _darkness(hidden: Float[Array, "n n"], scale: float) -> Float[Array, "n n"]:
    """Share of the surroundings that a map of minus the heights hides from the floor; ``scale``: texels a metre."""
    height_m, below = -hidden, -1e3
    dark: Array = np.zeros_like(hidden)
    mask: Array
    for slab in _SLABS_M:  # something at height h hides h^2 / (h^2 + r^2)^2 / pi of the light: about a Gaussian of h
        mask = ((height_m >= below) & (height_m < slab)).astype(np.float32)
        sigma, below = max(0.7 * slab * scale, 0.3), slab
        if sigma > 5:  # a quarter of the resolution will do
            mask = cv2.resize(mask, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
            mask = cv2.GaussianBlur(mask, (0, 0), sigma / 4, borderType=cv2.BORDER_CONSTANT)
            dark += cv2.resize(mask, hidden.shape[::-1], interpolation=cv2.INTER_LINEAR)
        else:
            dark += cv2.GaussianBlur(mask, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)
    return np.minimum(dark, 1)


@numba.njit(**_PLAIN)
def _floor_factor(shadow: tuple, contact: tuple, plane: Array, lights: Array, focal: float, out: Array) -> None:
    """What the background is multiplied by (linear light): [h, w, 3]; see :func:`floor_light`."""
    height, width = out.shape[:2]
    hidden, axes, origin = contact
    n = hidden.shape[0]
    ambient, sun = lights
    cosine, cx, cy = plane[4], np.float32(0.5 - width / 2), np.float32(0.5 - height / 2)
    for y in range(height):
        for x in range(width):
            dx, dy = (np.float32(x) + cx) / focal, (np.float32(y) + cy) / focal
            slope = plane[0] * dx + plane[1] * dy + plane[2]
            z = plane[3] / slope if slope < np.float32(-1e-4) else _ZERO
            if z <= _ZERO:
                continue
            px, py = dx * z, dy * z
            lit = sunlit(shadow, (px, py, z), (plane[0], plane[1], plane[2]), cosine) if cosine > 0 else _ONE
            u = (axes[0, 0] * px + axes[0, 1] * py + axes[0, 2] * z - origin[0]) * origin[2] - np.float32(0.5)
            v = (axes[1, 0] * px + axes[1, 1] * py + axes[1, 2] * z - origin[1]) * origin[2] - np.float32(0.5)
            dark = _ZERO
            if u >= 0 and v >= 0 and u < n - 1 and v < n - 1:
                i, j = int(u), int(v)
                tx, ty = u - np.float32(i), v - np.float32(j)
                dark += (hidden[j, i] * (_ONE - tx) + hidden[j, i + 1] * tx) * (_ONE - ty)
                dark += (hidden[j + 1, i] * (_ONE - tx) + hidden[j + 1, i + 1] * tx) * ty
            for ch in range(3):
                out[y, x, ch] = (ambient[ch] * (_ONE - dark) + sun[ch] * lit) / (ambient[ch] + sun[ch])


def floor_light(
    image: UInt8[Array, "h w 3"],
    focal: float,
    floor: Floor,
    lighting: Lighting,
    shadow: tuple | None,
    contact: tuple | None,
) -> None:
    """Darken the floor in a picture in place: the sun's shadow, and what hides the surroundings from the floor.

    Args:
        focal: pixels. shadow: a filled map of :func:`shadow_fit`, None: no shadow is in sight.
        contact: a filled map of :func:`contact_map`, None: the scene is not near.
    """
    nowhere = np.eye(3, dtype=np.float32), np.full(5, 1e9, np.float32)
    shadow = shadow or (np.zeros((4, 4), np.float32), *nowhere)
    hidden, axes, origin = contact or (np.zeros((2, 2), np.float32), *nowhere)
    contact = _darkness(hidden, float(origin[2])) if contact else hidden, axes, origin
    normal = floor.normal
    cosine = max(float(normal @ lighting.direction), 0.0)
    ambient = np.maximum(harmonic_basis(normal) @ lighting.harmonics, 1e-3)
    step = 2 if max(image.shape) > 400 else 1
    factor = np.ones((-(-image.shape[0] // step), -(-image.shape[1] // step), 3), np.float32)
    plane = np.array([*normal, floor.offset_m, cosine], np.float32)
    lights = np.stack([ambient, cosine * lighting.colour]).astype(np.float32)
    _floor_factor(shadow, contact, plane, lights, np.float32(focal / step), factor)
    rows = np.flatnonzero((factor < 0.998).any((1, 2))) * step
    if len(rows):
        part = slice(max(rows[0] - step, 0), rows[-1] + 2 * step)
        large = cv2.resize(factor, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)[part]
        image[part] = (image[part] * np.sqrt(large) + np.float32(0.5)).astype(np.uint8)
