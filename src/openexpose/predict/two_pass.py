"""A zero-phase low-pass for samples at any times, with a weight for each.

The smooth curve x minimises the weighted squares of its distances from the samples plus the integral of its squared
third derivative: a discrete smoothing spline. Where samples are even and of equal weight, a sine of frequency f keeps
1 / (1 + (f / cutoff)^6) of its amplitude and its phase: the response of a third-order Butterworth filter run forwards
and backwards. The banded equations are solved in two passes, one forwards and one backwards in time.
"""

import numpy as np
from jaxtyping import Float

Array = np.ndarray

_ORDER = 3


def low_pass(
    values: Float[Array, "t c"],
    weights: Float[Array, "t c"],
    times_s: Float[Array, "t"],
    cutoff_hz: Float[Array, "c"],
) -> Float[Array, "t c"]:
    """Smooth columns of samples.

    Steps of a polynomial of second degree are kept exactly. Fewer than four samples come back as they are.

    Args:
        values: the samples.
        weights: above 0. A weight w divides the cut-off by w^(-1/6).
        times_s: ascending.
        cutoff_hz: of each column: the frequency of which half is left.
    """
    count = len(times_s)
    if count <= _ORDER:
        return values.copy()
    step = np.gradient(times_s)  # the share of time that a sample stands for
    bands = _bands(times_s)
    stiffness = (2.0 * np.pi * cutoff_hz) ** (-2 * _ORDER)
    diagonal = weights * step[:, None] + stiffness * bands[0][:, None]
    return _solve(diagonal, stiffness, bands[1:], weights * step[:, None] * (values - values[:1])) + values[:1]


def _bands(times_s: Float[Array, "t"]) -> list[Float[Array, "t"]]:
    """Diagonal and upper bands of D^T P D: the integral of the squared third derivative as a quadratic form."""
    count = len(times_s)
    rows = np.arange(count - _ORDER)[:, None] + np.arange(_ORDER + 1)
    times = times_s[rows]
    differences = times[:, :, None] - times[:, None, :]
    differences[:, np.arange(_ORDER + 1), np.arange(_ORDER + 1)] = 1.0
    derivative = 6.0 / differences.prod(-1)  # divided differences, times 3!
    span = (times[:, -1] - times[:, 0]) / _ORDER
    bands = []
    for offset in range(_ORDER + 1):
        band = np.zeros(count)
        for k in range(_ORDER + 1 - offset):
            np.add.at(band, rows[:, k], span * derivative[:, k] * derivative[:, k + offset])
        bands.append(band)
    return bands


def _solve(
    diagonal: Float[Array, "t c"], stiffness: Float[Array, "c"], upper: list[Float[Array, "t"]], right: Array
) -> Float[Array, "t c"]:
    """Solve symmetric equations of seven bands by L D L^T, all columns at once: forwards, then backwards."""
    count = len(diagonal)
    pivot = np.empty_like(diagonal)
    lower = np.zeros((_ORDER, *diagonal.shape))  # lower[j, k]: entry of column k, row k + j + 1
    result = right.copy()
    for k in range(count):
        value = diagonal[k].copy()
        entries = [stiffness * upper[j][k] for j in range(_ORDER)]
        for back in range(1, min(_ORDER, k) + 1):
            factor = lower[back - 1, k - back] * pivot[k - back]
            value -= factor * lower[back - 1, k - back]
            result[k] -= lower[back - 1, k - back] * result[k - back]
            for j in range(_ORDER - back):
                entries[j] -= factor * lower[back + j, k - back]
        pivot[k] = value
        for j in range(_ORDER):
            lower[j, k] = entries[j] / value
    result /= pivot
    for k in range(count - 2, -1, -1):
        for ahead in range(1, min(_ORDER, count - 1 - k) + 1):
            result[k] -= lower[ahead - 1, k] * result[k + ahead]
    return result
