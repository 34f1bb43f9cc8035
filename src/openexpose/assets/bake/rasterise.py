"""A small orthographic z-buffer in numpy, to show the baked head to a face-landmark network (authoring only)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8

from .rotations import unit

_LIGHTS = ((0.6, (0.3, 0.5, 0.8)), (0.25, (-0.7, 0.1, 0.4)))
_AMBIENT = 0.25


@dataclass(frozen=True)
class View:
    """Orthographic camera that looks along -z at the body turned by yaw (about y), then by pitch (about x)."""

    centre: Float[np.ndarray, "3"]
    """Point of the body shown in the middle of the picture, metres."""
    side_m: float
    size_px: int
    yaw_rad: float = 0.0
    pitch_rad: float = 0.0

    def project(self, points: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 3"]:
        """Pixel coordinates (x right, y down) and depth in metres (larger is nearer)."""
        cos_yaw, sin_yaw, cos_pitch, sin_pitch = (
            f(angle) for angle in (self.yaw_rad, self.pitch_rad) for f in (np.cos, np.sin)
        )
        yaw = np.array([[cos_yaw, 0, sin_yaw], [0, 1, 0], [-sin_yaw, 0, cos_yaw]])
        pitch = np.array([[1, 0, 0], [0, cos_pitch, -sin_pitch], [0, sin_pitch, cos_pitch]])
        turned = (points - self.centre) @ (pitch @ yaw).T
        scale = self.size_px / self.side_m
        middle = self.size_px / 2
        return np.stack([middle + scale * turned[:, 0], middle - scale * turned[:, 1], turned[:, 2]], axis=1)


@dataclass(frozen=True)
class Fragments:
    """What every pixel sees: triangle (-1: nothing) and barycentric weights."""

    face: Int[np.ndarray, "H W"]
    weights: Float[np.ndarray, "H W 3"]


def rasterise(view: View, vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"]) -> Fragments:
    """Nearest triangle at every pixel centre."""
    size = view.size_px
    corners = view.project(vertices)[faces]
    depth = np.full((size, size), -np.inf)
    found, weights = np.full((size, size), -1), np.zeros((size, size, 3))
    low = np.clip(np.floor(corners[:, :, :2].min(1)), 0, size).astype(int)
    high = np.clip(np.ceil(corners[:, :, :2].max(1)), 0, size).astype(int)
    for index, ((a, b, c), (x0, y0), (x1, y1)) in enumerate(zip(corners, low, high, strict=True)):
        area = (b[0] - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (b[1] - a[1])
        if x1 <= x0 or y1 <= y0 or abs(area) < 1e-12:
            continue
        x, y = np.arange(x0, x1)[None] + 0.5, np.arange(y0, y1)[:, None] + 0.5
        second = ((x - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (y - a[1])) / area
        third = ((b[0] - a[0]) * (y - a[1]) - (x - a[0]) * (b[1] - a[1])) / area
        first = 1 - second - third
        z = first * a[2] + second * b[2] + third * c[2]
        patch = np.s_[y0:y1, x0:x1]
        nearer = (np.minimum(np.minimum(first, second), third) >= -1e-6) & (z > depth[patch])
        depth[patch][nearer], found[patch][nearer] = z[nearer], index
        weights[patch][nearer] = np.stack([first, second, third], axis=-1)[nearer]
    return Fragments(found, weights)


def shade(
    fragments: Fragments,
    vertices: Float[np.ndarray, "V 3"],
    faces: Int[np.ndarray, "F 3"],
    colours: UInt8[np.ndarray, "V 3"],
) -> UInt8[np.ndarray, "H W 3"]:
    """Smoothly lit picture on white."""
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    normals = np.zeros_like(vertices)
    np.add.at(normals, faces, np.cross(b - a, c - a)[:, None])
    seen = fragments.face >= 0
    corners, weights = faces[fragments.face[seen]], fragments.weights[seen][..., None]
    normal = unit((unit(normals)[corners] * weights).sum(1))
    light = _AMBIENT + sum(power * np.clip(normal @ unit(np.array(way)), 0, 1) for power, way in _LIGHTS)
    picture = np.full((*seen.shape, 3), 255.0)
    picture[seen] = (colours[corners] * weights).sum(1) * light[:, None]
    return picture.clip(0, 255).astype(np.uint8)
