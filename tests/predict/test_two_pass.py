"""The zero-phase low-pass: what it lets through, and that it solves what it says."""

import numpy as np
import pytest

from openexpose.predict.two_pass import low_pass

RNG = np.random.default_rng(0)


def uneven_times(count: int, rng: np.random.Generator) -> np.ndarray:
    return np.cumsum(rng.uniform(0.01, 0.06, count))


@pytest.mark.parametrize("share", [0.3, 0.6, 1.0, 2.0])
@pytest.mark.parametrize("cutoff_hz", [1.0, 5.0])
def test_a_sine_keeps_its_phase_and_the_stated_share_of_its_amplitude(share: float, cutoff_hz: float) -> None:
    times = np.arange(4000) / 200.0
    wave = np.sin(2 * np.pi * share * cutoff_hz * times)[:, None]
    smooth = low_pass(wave, np.ones_like(wave), times, np.array([cutoff_hz]))
    inner = slice(1000, 3000)
    np.testing.assert_allclose(smooth[inner], wave[inner] / (1 + share**6), atol=2e-3)


def test_parabolas_pass_unchanged_whatever_times_and_weights() -> None:
    rng = np.random.default_rng(1)
    times = uneven_times(80, rng)
    values = np.stack([3.0 + 0 * times, 1 - 2 * times, times**2 - times], -1)
    smooth = low_pass(values, rng.uniform(0.001, 1, values.shape), times, np.array([0.5, 3.0, 1.0]))
    np.testing.assert_allclose(smooth, values, atol=1e-6)


def test_it_is_the_minimum_of_distances_and_third_derivatives() -> None:
    """Against dense least squares with divided differences taken recursively."""
    rng = np.random.default_rng(2)
    times, values = uneven_times(30, rng), rng.normal(size=(30, 2))
    weights, cutoff = rng.uniform(0.01, 1, (30, 2)), np.array([2.0, 6.0])
    difference = np.eye(30)
    for order in (1, 2, 3):
        difference = np.diff(difference, axis=0) / (times[order:] - times[:-order])[:, None]
    roughness = 6 * difference * np.sqrt((times[3:] - times[:-3]) / 3)[:, None]
    step = np.gradient(times)
    for column in range(2):
        rows = np.concatenate(
            [np.diag(np.sqrt(weights[:, column] * step)), roughness / (2 * np.pi * cutoff[column]) ** 3]
        )
        aim = np.concatenate([np.sqrt(weights[:, column] * step) * values[:, column], np.zeros(27)])
        expected = np.linalg.lstsq(rows, aim, rcond=None)[0]
        found = low_pass(values[:, [column]], weights[:, [column]], times, cutoff[[column]])[:, 0]
        np.testing.assert_allclose(found, expected, atol=1e-7)


def test_backwards_in_time_it_is_the_same() -> None:
    rng = np.random.default_rng(3)
    times, values, weights = uneven_times(50, rng), rng.normal(size=(50, 3)), rng.uniform(0.01, 1, (50, 3))
    cutoff = np.array([1.0, 3.0, 8.0])
    back = low_pass(values[::-1], weights[::-1], -times[::-1], cutoff)[::-1]
    np.testing.assert_allclose(back, low_pass(values, weights, times, cutoff), atol=1e-9)


def test_samples_without_weight_do_not_count() -> None:
    rng = np.random.default_rng(4)
    times, values = uneven_times(40, rng), rng.normal(size=(40, 1))
    weights, other = np.ones((40, 1)), values.copy()
    weights[12], other[12] = 1e-9, 1000.0
    one, two = (low_pass(each, weights, times, np.array([4.0])) for each in (values, other))
    np.testing.assert_allclose(one, two, atol=1e-4)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_samples_stay(count: int) -> None:
    values = RNG.normal(size=(count, 2))
    np.testing.assert_array_equal(low_pass(values, np.ones((count, 2)), np.arange(count) / 30, np.ones(2)), values)
