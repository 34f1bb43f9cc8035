"""Means over people with their uncertainty: bootstrap intervals, paired differences."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from openexpose.errors import InputError

Array = np.ndarray

RESAMPLES = 2000
"""Draws of every bootstrap."""
_BLOCK = 1_000_000
"""Most indices that are drawn at once; bounds the memory."""


@dataclass(frozen=True)
class Summary:
    """A mean with its uncertainty, in the unit of the values.

    The mean is the field's: of pooled values, so that MPJPE is the mean over people of the mean over joints where
    everybody has the same joints, and PCK the share of all labelled joints. Median and deviation are over people, by
    each person's own mean: they tell how people differ, not joints.
    """

    people: int
    """How many people (or hands, or faces) have a value."""
    mean: float
    """Mean over all values, every value weighing the same."""
    median: float
    """Over the people's own means."""
    std: float
    """Standard deviation of the people's own means (how people spread; divided by the number of people)."""
    low: float
    """Lower end of the 95 % bootstrap interval of the mean; with one person the mean itself."""
    high: float


def summarise(values: list[Array], seed: int = 0) -> Summary | None:
    """Mean, median, deviation and a 95 % interval of the mean, by resampling people with replacement.

    Args:
        values: one array a person, e.g. the errors of its joints. NaN entries (not labelled) are left out; people
            without any other entry do not count.
        seed: of the resampling; the same seed gives the same interval.

    Returns:
        None without any value.

    Raises:
        InputError: infinite values.
    """
    labelled = [array[~np.isnan(array)] for array in (np.asarray(array, float).reshape(-1) for array in values)]
    labelled = [array for array in labelled if len(array)]
    if not labelled:
        return None
    sums, counts = np.array([array.sum() for array in labelled]), np.array([len(array) for array in labelled])
    if not np.isfinite(sums).all():
        raise InputError("infinite values", "finite numbers, or NaN for what is not labelled")
    drawn = [sums[chosen].sum(-1) / counts[chosen].sum(-1) for chosen in _draws(len(labelled), seed)]
    low, high = _interval(np.concatenate(drawn))
    own = sums / counts
    return Summary(len(own), float(sums.sum() / counts.sum()), float(np.median(own)), float(own.std()), low, high)


def paired_difference(first: list[Array], second: list[Array], seed: int = 0) -> Summary | None:
    """:func:`summarise` of ``first - second``, where entry i of both lists is about the same person and values.

    An entry that is NaN in one of them is left out.

    Raises:
        InputError: the lists do not pair up.
    """
    if [np.shape(a) for a in first] != [np.shape(b) for b in second]:
        raise InputError("values that do not pair up", "the same people and values in both lists")
    return summarise([np.asarray(a, float) - np.asarray(b, float) for a, b in zip(first, second, strict=True)], seed)


def bootstrap(n: int, statistic: Callable[[Int[Array, " n"]], float], seed: int = 0) -> tuple[float, float]:
    """95 % percentile interval of a number made from ``n`` subjects, which are drawn with replacement.

    Args:
        n: number of subjects.
        statistic: makes the number from the indices of the drawn subjects; NaN where a draw has none.
        seed: of the draws.

    Returns:
        Lower and upper end; NaN if no draw has a number.

    Raises:
        InputError: no subjects.
    """
    if n < 1:
        raise InputError(f"{n} subjects to resample", "at least one")
    return _interval(np.array([statistic(chosen) for draws in _draws(n, seed) for chosen in draws]))


def _draws(n: int, seed: int) -> Iterator[Int[Array, "draws n"]]:
    rng, block = np.random.default_rng(seed), max(1, _BLOCK // n)
    for start in range(0, RESAMPLES, block):
        yield rng.integers(n, size=(min(block, RESAMPLES - start), n))


def _interval(numbers: Float[Array, " draws"]) -> tuple[float, float]:
    known = numbers[~np.isnan(numbers)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)
