"""The rasteriser against a per-pixel oracle."""

import numpy as np
import pytest

from openexpose.render import raster
from openexpose.render.raster import rasterize


def oracle(corners: np.ndarray, depth: np.ndarray, values: np.ndarray, width: int, height: int) -> tuple:
    """Nearest triangle (or -1) and its value at every pixel centre, by barycentric coordinates."""
    nearest, best, value = np.full((height, width), -1), np.full((height, width), -np.inf), np.zeros((height, width))
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    for t, (a, b, c) in enumerate(corners):
        T = np.linalg.inv(np.array([[a[0], b[0], c[0]], [a[1], b[1], c[1]], [1, 1, 1]]))
        weights = np.einsum("ij,jhw->hwi", T, np.stack([x, y, np.ones_like(x)]))
        here = weights @ depth[t]
        front = (weights >= 0).all(-1) & (here > best)
        nearest[front], best[front] = t, here[front]
        value[front] = (weights @ values[t])[front]
    return nearest, value


@pytest.mark.parametrize("chunk", [7, 10**6])
@pytest.mark.parametrize("scale", [2.0, 10.0, 100.0])
def test_equals_the_oracle(monkeypatch: pytest.MonkeyPatch, scale: float, chunk: int) -> None:
    monkeypatch.setattr(raster, "_CHUNK", chunk)
    rng = np.random.default_rng(0)
    corners = rng.uniform(-5, 45, (60, 1, 2)) + rng.normal(0, scale, (60, 3, 2))
    depth, values = rng.uniform(0.1, 1.0, (60, 3)), rng.uniform(0, 1, (60, 3))
    seen = rasterize(corners, depth, values, 41, 33)
    nearest, value = np.full(41 * 33, -1), np.zeros(41 * 33)
    nearest[seen.sample], value[seen.sample] = seen.triangle, seen.value
    expected, expected_value = oracle(corners, depth, values, 41, 33)
    np.testing.assert_array_equal(nearest.reshape(33, 41), expected)
    np.testing.assert_allclose(value.reshape(33, 41), expected_value, atol=1e-6)


def test_neighbours_leave_no_gap_and_no_double() -> None:
    """A grid of triangles over the picture: every pixel once."""
    rng = np.random.default_rng(1)
    grid = np.stack(np.meshgrid(np.linspace(-1, 31, 12), np.linspace(-1, 31, 12)), -1)
    grid[1:-1, 1:-1] += rng.uniform(-1, 1, (10, 10, 2))
    a, b, c, d = grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]
    corners = np.concatenate([np.stack([a, b, c], -2).reshape(-1, 3, 2), np.stack([a, c, d], -2).reshape(-1, 3, 2)])
    ones = np.ones((len(corners), 3))
    assert len(rasterize(corners, ones, ones, 30, 30).sample) == 900
    _, _, _, count = raster._spans(corners - 0.5, 30, 30)
    assert count.sum() == 900


def test_nothing_gives_nothing() -> None:
    none = np.zeros((0, 3))
    assert not len(rasterize(np.zeros((0, 3, 2)), none, none, 5, 5).sample)
