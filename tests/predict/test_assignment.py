"""Assignment: the least sum, against trying everything and against scipy."""

from itertools import permutations

import numpy as np
import pytest

from openexpose.predict.assignment import assign


def total(cost: np.ndarray, pairs: np.ndarray, limit: float) -> float:
    return float(cost[pairs[:, 0], pairs[:, 1]].sum() + limit * (min(cost.shape) - len(pairs)))


def test_known_case() -> None:
    """Taking the cheapest pair first would cost 1 + 9."""
    np.testing.assert_array_equal(assign(np.array([[1.0, 2.0], [3.0, 9.0]]), 100.0), [[0, 1], [1, 0]])


def test_dear_pairs_are_not_made() -> None:
    np.testing.assert_array_equal(assign(np.array([[0.2, np.inf], [np.inf, 1.0]]), 1.0), [[0, 0]])
    assert assign(np.zeros((0, 3)), 1.0).shape == assign(np.zeros((3, 0)), 1.0).shape == (0, 2)


@pytest.mark.parametrize("seed", range(6))
def test_equals_trying_everything(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cost = rng.integers(0, 6, (rng.integers(1, 6), 5)).astype(float)
    bounded = np.minimum(cost, 4.0)
    best = min(sum(bounded[r, c] for r, c in enumerate(order)) for order in permutations(range(5), len(cost)))
    pairs = assign(cost, 4.0)
    assert total(cost, pairs, 4.0) == best
    turned = assign(cost.T, 4.0)
    assert total(cost.T, turned, 4.0) == best and (np.diff(turned[:, 0]) > 0).all()


@pytest.mark.parametrize("shape", [(50, 50), (30, 60), (60, 30)])
def test_equals_scipy(shape: tuple[int, int]) -> None:
    scipy_optimize = pytest.importorskip("scipy.optimize")
    cost = np.random.default_rng(1).random(shape)
    rows, columns = scipy_optimize.linear_sum_assignment(cost)
    pairs = assign(cost, 2.0)
    assert len(set(pairs[:, 0])) == len(set(pairs[:, 1])) == len(pairs) == min(shape)
    assert total(cost, pairs, 2.0) == pytest.approx(cost[rows, columns].sum(), rel=1e-12)
