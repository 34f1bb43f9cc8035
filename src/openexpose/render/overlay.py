"""Meshes drawn over the photo they were seen in, and the same people from the side."""

import colorsys
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8

from openexpose.errors import InputError
from openexpose.geometry.surface import vertex_normals
from openexpose.render.raster import rasterize

Array = np.ndarray
Picture = UInt8[Array, "height width 3"]

_NEAR_M = 0.05  # triangles that come nearer to the camera are left out
_FINE_BELOW_PX = 6_000_000  # people covering a larger region are drawn with one sample a pixel instead of 2 x 2
_BAND_SAMPLES = 2_000_000  # samples drawn at a time: bounds the memory
_OPACITY = 0.92
_SIDE_BACKGROUND = 244
_LAMP = np.array([-0.3, -0.4, 0.0])  # where the lamp stands, as seen from the camera
_ORTHOGRAPHIC_M = 1000.0  # the side view is seen from this far off


@dataclass(frozen=True)
class _Scene:
    """Triangles that face the camera, all people together, in pixels of the picture."""

    corners_px: Float[Array, "n 3 2"]
    inverse_depth: Float[Array, "n 3"]
    shade: Float[Array, "n 3"]
    person: Int[Array, "n"]


def render_overlay(
    image: Picture,
    vertices_m: Float[Array, "p v 3"],
    faces: Int[Array, "f 3"],
    K: tuple[float, float, float],
    numbers: Int[Array, "p"] | None = None,
    fine: int | None = None,
) -> Picture:
    """Draw people's meshes over the photo, at its own resolution: shaded, the nearer ones in front.

    Args:
        image: the upright RGB photo. It is not changed.
        vertices_m: camera frame (x right, y down, z forward); may reach behind the camera and outside the photo.
        faces: triangles, counter-clockwise seen from outside.
        K: focal length and principal point (focal_px, cx, cy), pixels.
        numbers: whose colour each person has (:func:`person_colour`); None: by their place in the list.
        fine: samples a pixel along each side; None: 2, but 1 of large regions.

    Returns:
        A new picture; with no people, a copy of the photo.
    """
    picture = np.array(image)
    scene = _visible_triangles(np.asarray(vertices_m, float), np.asarray(faces, np.int64), K)
    if len(scene.person):
        colours = np.stack([person_colour(int(k)) for k in (range(len(vertices_m)) if numbers is None else numbers)])
        _draw(picture, scene, _shades(colours), fine)
    return picture


def side_view(
    vertices_m: Float[Array, "p v 3"], faces: Int[Array, "f 3"], K: tuple[float, float, float], height_px: int
) -> Picture:
    """The same people seen from the right of the photo (turned by 90 degrees about the vertical), on a light ground.

    Drawn without perspective, at the scale and the rows people have in the photo; people too deep for a panel as wide
    as it is high are shrunk to fit as a whole, and those that look less than a third as large as the largest are left
    out. Who faces the camera looks left, towards the photo beside it.

    Args:
        vertices_m, faces, K: as for :func:`render_overlay`.
        height_px: height of the photo.
    """
    vertices = np.array(vertices_m, float)
    size = _apparent_size(vertices)
    shown = size > max(size.max(initial=0.0) / 3.0, 0.0)
    if not shown.any():
        return np.full((height_px, max(1, height_px // 3), 3), _SIDE_BACKGROUND, np.uint8)
    vertices[~shown] = np.nan  # left out when drawn; the others keep their colours
    low, high = vertices[shown].min((0, 1)), vertices[shown].max((0, 1))
    centre, extent = (low + high) / 2, np.maximum(high - low, 1e-6)
    focal_px, _, cy = K
    px_per_m = focal_px / centre[2]
    row = cy + px_per_m * centre[1]
    if 1.1 * px_per_m * extent[2] > height_px:
        px_per_m, row = height_px / (1.1 * max(extent[1:])), height_px / 2
    width = int(np.clip(1.1 * px_per_m * extent[2], max(1, height_px // 3), height_px))
    x, y, z = np.moveaxis(vertices - centre, -1, 0)
    turned = np.stack([z, y, _ORTHOGRAPHIC_M - x], -1)
    panel = np.full((height_px, width, 3), _SIDE_BACKGROUND, np.uint8)
    return render_overlay(panel, turned, faces, (px_per_m * _ORTHOGRAPHIC_M, width / 2, row))


def _apparent_size(vertices: Float[Array, "p v 3"]) -> Float[Array, "p"]:
    """Extent over distance of each person; 0 for those that are not finite or not in front of the camera."""
    if not len(vertices):
        return np.zeros(0)
    depth = vertices[..., 2].mean(1)
    visible = np.isfinite(vertices).all((1, 2)) & (depth > _NEAR_M)
    extent = np.ptp(np.where(visible[:, None, None], vertices, 0.0)[..., :2], axis=1).max(1)
    return np.where(visible, extent / np.where(visible, depth, 1.0), 0.0)


def compose(overlay: Picture, side: Picture) -> Picture:
    """The two views in one picture: the overlay left, the side view right.

    Raises:
        InputError: the heights differ.
    """
    if overlay.shape[0] != side.shape[0]:
        raise InputError(f"pictures {overlay.shape[0]} and {side.shape[0]} pixels high", "two of one height")
    return np.concatenate([overlay, side], 1)


def person_colour(index: int) -> Float[Array, "3"]:
    """RGB colour 0..1 of the person with this number: light blue, then hues a golden angle apart."""
    return np.array(colorsys.hsv_to_rgb((0.58 + 0.618034 * index) % 1.0, 0.38, 1.0))


def _visible_triangles(vertices: Array, faces: Array, K: tuple[float, float, float]) -> _Scene:
    """Project; keep the triangles in front of the camera that turn their outside to it."""
    focal_px, cx, cy = K
    parts = []
    for person, points in enumerate(vertices):
        depth = points[:, 2]
        in_front = np.isfinite(points).all(-1) & (depth > _NEAR_M)
        if not in_front.any():
            continue
        safe = np.where(in_front, depth, 1.0)
        corners = (focal_px * points[:, :2] / safe[:, None] + (cx, cy))[faces]
        e1, e2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
        outside = e1[:, 0] * e2[:, 1] - e1[:, 1] * e2[:, 0] < -1e-6  # y down: counter-clockwise is negative
        kept = np.flatnonzero(in_front[faces].all(-1) & outside)
        shade = _shade(points, vertex_normals(np.where(in_front[:, None], points, 0.0), faces))
        parts.append((corners[kept], (1.0 / safe)[faces[kept]], shade[faces[kept]], np.full(len(kept), person)))
    if not parts:
        return _Scene(np.zeros((0, 3, 2)), np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0, np.int64))
    return _Scene(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _shade(points: Float[Array, "v 3"], normals: Float[Array, "v 3"]) -> Float[Array, "v"]:
    """Brightness 0..1: a lamp above and left of the camera, and a softer light from the sky."""
    towards = -points / np.maximum(np.linalg.norm(points, axis=-1, keepdims=True), 1e-9)
    lamp = np.clip((normals * towards + normals * _LAMP).sum(-1) / np.hypot(1.0, np.linalg.norm(_LAMP)), 0.0, 1.0)
    sky = 0.5 - 0.5 * normals[:, 1]
    return 0.20 + 0.65 * lamp + 0.15 * sky


def _shades(colours: Float[Array, "p 3"]) -> Float[Array, "p*256 4"]:
    """Every person's colour at 256 brightnesses as RGBA bytes, four to an unsigned 32-bit number."""
    steps = np.linspace(0.0, 255.0, 256)[None, :, None] * colours[:, None, :]
    rgba = np.concatenate([steps, np.full((len(colours), 256, 1), 255.0)], -1)
    return np.ascontiguousarray(np.rint(rgba).astype(np.uint8)).view(np.uint32).reshape(-1)


def _draw(picture: Picture, scene: _Scene, shades: Array, fine: int | None) -> None:
    """Draw the scene into the picture, band by band."""
    height, width = picture.shape[:2]
    low = np.clip(np.floor(scene.corners_px.min((0, 1))), 0, (width, height)).astype(int)
    high = np.clip(np.ceil(scene.corners_px.max((0, 1))), 0, (width, height)).astype(int)
    if (high <= low).any():
        return
    if fine is None:
        fine = 2 if np.prod(high - low) <= _FINE_BELOW_PX else 1
    rows = max(1, _BAND_SAMPLES // (fine * fine * (high[0] - low[0])))
    top_px, bottom_px = scene.corners_px[..., 1].min(1), scene.corners_px[..., 1].max(1)
    for top in range(low[1], high[1], rows):
        bottom = min(top + rows, high[1])
        near = np.flatnonzero((bottom_px > top) & (top_px < bottom))
        band = _Scene(
            (scene.corners_px[near] - (low[0], top)) * fine,
            scene.inverse_depth[near],
            scene.shade[near],
            scene.person[near],
        )
        _draw_band(picture[top:bottom, low[0] : high[0]], band, fine, shades)


def _draw_band(region: Picture, scene: _Scene, fine: int, shades: Array) -> None:
    """Draw a scene over a region of the picture with fine x fine samples a pixel."""
    height, width = region.shape[:2]
    seen = rasterize(scene.corners_px, scene.inverse_depth, scene.shade, width * fine, height * fine)
    layer = np.zeros(height * fine * width * fine, np.uint32)
    level = np.clip(seen.value * 255.0, 0, 255).astype(np.int64)
    layer[seen.sample] = shades[scene.person[seen.triangle] * 256 + level]
    samples = layer.view(np.uint8).reshape(height, fine, width, fine, 4)
    sums = np.zeros((height, width, 4), np.uint16)
    for i in range(fine):
        for j in range(fine):
            sums += samples[:, i, :, j]
    covered = sums[..., 3] > 0
    mean = sums[covered] * np.float32(_OPACITY / (fine * fine))
    region[covered] = np.rint(region[covered] * (1.0 - mean[:, 3:] / 255.0) + mean[:, :3])
