"""Which triangle is seen at each pixel: a depth buffer in numpy, exact for any triangles."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

Array = np.ndarray

_CHUNK = 1_000_000  # samples looked at together: bounds the memory
_DEPTH_STEPS = 2**30
_EMPTY = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Fragments:
    """The samples of a picture that show a triangle.

    Attributes:
        sample: row * width + column of the sample.
        triangle: the nearest triangle there.
        value: the triangle's values interpolated to the sample.
    """

    sample: Int[Array, "m"]
    triangle: Int[Array, "m"]
    value: Float[Array, "m"]


def rasterize(
    corners_px: Float[Array, "n 3 2"],
    inverse_depth: Float[Array, "n 3"],
    values: Float[Array, "n 3"],
    width: int,
    height: int,
) -> Fragments:
    """Find the nearest triangle at every pixel centre of a picture.

    Args:
        corners_px: triangle corners, continuous pixels (centres at +0.5), turning either way, none without area.
        inverse_depth: 1 / depth at the corners (it is linear over the picture); larger is nearer.
        values: what to interpolate, linearly over the picture.
        width, height: of the picture. Triangles may reach outside.
    """
    corners = corners_px - 0.5  # pixel centres now lie on whole numbers
    triangle, row, first, count = _spans(corners, width, height)
    depth = _planes(corners, inverse_depth)
    low, high = (inverse_depth.min(), inverse_depth.max()) if len(corners) else (0.0, 1.0)
    steps = _DEPTH_STEPS / max(high - low, 1e-12)
    nearest = np.full(width * height, _EMPTY)
    ends = np.cumsum(count)
    start = 0
    while start < len(count):
        stop = max(start + 1, int(np.searchsorted(ends, (ends[start - 1] if start else 0) + _CHUNK, "right")))
        n, t, y, x0 = (array[start:stop] for array in (count, triangle, row, first))
        span = np.repeat(np.arange(start, stop), n)
        x = np.arange(len(span)) - np.repeat(np.cumsum(n) - n - x0, n)
        here = np.repeat(depth[t, 1] * y + depth[t, 2], n) + np.repeat(depth[t, 0], n) * x
        far = np.clip((high - here) * steps, 0.0, _DEPTH_STEPS).astype(np.int64)
        np.minimum.at(nearest, np.repeat(y * width, n) + x, (far << 32) | span)
        start = stop
    sample = np.flatnonzero(nearest != _EMPTY)
    span = nearest[sample] & 0xFFFFFFFF
    seen, y = triangle[span], row[span]
    plane = _planes(corners, values)[seen]
    return Fragments(sample, seen, plane[:, 0] * (sample - y * width) + plane[:, 1] * y + plane[:, 2])


def _planes(corners: Float[Array, "n 3 2"], values: Float[Array, "n 3"]) -> Float[Array, "n 3"]:
    """Coefficients (a, b, c) of a x + b y + c through the values at the corners."""
    e1, e2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    d1, d2 = values[:, 1] - values[:, 0], values[:, 2] - values[:, 0]
    area = e1[:, 0] * e2[:, 1] - e1[:, 1] * e2[:, 0]
    a = (d1 * e2[:, 1] - d2 * e1[:, 1]) / area
    b = (d2 * e1[:, 0] - d1 * e2[:, 0]) / area
    return np.stack([a, b, values[:, 0] - a * corners[:, 0, 0] - b * corners[:, 0, 1]], -1)


def _spans(corners: Float[Array, "n 3 2"], width: int, height: int) -> tuple[Array, Array, Array, Array]:
    """The runs of samples inside triangles: triangle, row, first column, number of columns (at least 1)."""
    low, high = corners.min(1), corners.max(1)
    top = np.ceil(np.clip(low[:, 1], 0, height)).astype(np.int64)
    bottom = np.floor(np.clip(high[:, 1], -1, height - 1)).astype(np.int64)
    rows = np.maximum(bottom - top + 1, 0)
    rows[(np.ceil(low[:, 0]) > high[:, 0]) | (high[:, 0] < 0) | (low[:, 0] > width - 1)] = 0
    triangle = np.repeat(np.arange(len(corners)), rows)
    row = np.arange(len(triangle)) - np.repeat(np.cumsum(rows) - rows - top, rows)
    # Each edge bounds the run from one side: from the left where, going round clockwise as seen, it goes up.
    e1, e2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    clockwise = np.sign(e1[:, 0] * e2[:, 1] - e1[:, 1] * e2[:, 0])
    left, right = np.full(len(row), -1.0), np.full(len(row), float(width))
    for i, j in ((0, 1), (1, 2), (2, 0)):
        p, edge = corners[:, i], corners[:, j] - corners[:, i]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            slope = edge[:, 0] / edge[:, 1]
            crossing = p[triangle, 0] + (row - p[triangle, 1]) * slope[triangle]
        side = (np.sign(edge[:, 1]) * clockwise)[triangle]
        np.maximum(left, crossing, out=left, where=side < 0)
        np.minimum(right, crossing, out=right, where=side > 0)
    first = np.ceil(np.maximum(left, 0.0)).astype(np.int64)
    count = np.ceil(np.minimum(right, width)).astype(np.int64) - first
    kept = count > 0
    return triangle[kept], row[kept], first[kept], count[kept]
