"""Laws of the intervals."""

import math

import numpy as np
import pytest

from openexpose.errors import InputError
from openexpose.evaluation.statistics import RESAMPLES, bootstrap, paired_difference, summarise

NAN = float("nan")


def test_mean_pools_values_while_median_and_deviation_are_of_people() -> None:
    summary = summarise([np.array([1.0, 0.0]), np.array([1.0]), np.array([])])
    assert summary is not None
    assert (summary.people, summary.mean) == (2, pytest.approx(2 / 3))
    assert (summary.median, summary.std) == (0.75, 0.25)  # of 0.5 and 1
    assert (summary.low, summary.high) == (0.5, 1.0)  # both draws the first person, both the second


def test_nan_entries_are_left_out() -> None:
    values = [np.array([1.0, NAN, 3.0]), np.array([NAN]), np.array([[5.0], [NAN]])]
    assert summarise(values) == summarise([np.array([1.0, 3.0]), np.array([5.0])])
    assert summarise([]) is None and summarise([np.array([NAN]), np.array([])]) is None


def test_one_person_has_no_interval() -> None:
    summary = summarise([np.array([1.0, 2.0])])
    assert summary is not None and summary.low == summary.mean == summary.high == 1.5


def test_interval_covers_the_mean_of_a_known_distribution() -> None:
    rng = np.random.default_rng(3)
    inside = 0
    for seed in range(100):
        summary = summarise(list(rng.normal(5.0, 2.0, (60, 1))), seed)
        assert summary is not None
        inside += summary.low < 5.0 < summary.high
        assert summary.high - summary.low == pytest.approx(2 * 1.96 * 2.0 / np.sqrt(60), rel=0.35)
    assert 88 <= inside <= 99


def test_interval_knows_that_the_values_of_one_person_go_together() -> None:
    rng = np.random.default_rng(4)
    inside = 0
    for seed in range(60):
        people = rng.normal(0.0, 1.0, (40, 1)) + rng.normal(0.0, 0.05, (40, 14))
        summary = summarise(list(people), seed)
        assert summary is not None
        inside += summary.low < 0.0 < summary.high
        assert summary.high - summary.low > 2 * 1.96 / np.sqrt(40) / 2  # not that of 560 single values
    assert inside >= 50


def test_same_seed_same_interval() -> None:
    values = list(np.random.default_rng(0).random((30, 2)))
    assert summarise(values, 1) == summarise(values, 1) != summarise(values, 2)


def test_infinite_values_are_refused() -> None:
    with pytest.raises(InputError, match="infinite"):
        summarise([np.array([1.0, np.inf])])


def test_paired_difference_knows_what_single_intervals_do_not() -> None:
    rng = np.random.default_rng(0)
    first = list(rng.normal(0, 10, (40, 1)))
    second = [value + 0.5 for value in first]
    difference = paired_difference(first, second)
    assert difference is not None
    assert difference.mean == pytest.approx(-0.5) and difference.high == pytest.approx(-0.5)
    with pytest.raises(InputError):
        paired_difference(first, second[:-1])


def test_pairs_need_both_values() -> None:
    difference = paired_difference([np.array([1.0, NAN, 4.0])], [np.array([NAN, 2.0, 3.0])])
    assert difference is not None and (difference.mean, difference.people) == (1.0, 1)


def test_bootstrap_of_a_derived_number() -> None:
    values = np.random.default_rng(5).normal(3.0, 1.0, 200)
    low, high = bootstrap(200, lambda chosen: float(np.median(values[chosen])))
    spread = 2 * 1.96 * 1.2533 / np.sqrt(200)
    assert low < np.median(values) < high and high - low == pytest.approx(spread, rel=0.35)
    assert bootstrap(200, lambda chosen: float(np.median(values[chosen]))) == (low, high)


def test_bootstrap_draws_with_replacement_and_leaves_out_undefined_draws() -> None:
    seen = []
    bootstrap(5, lambda chosen: seen.append(chosen) or 0.0)
    drawn = np.stack(seen)
    assert drawn.shape == (RESAMPLES, 5) and drawn.min() == 0 and drawn.max() == 4
    assert np.mean([len(set(row)) == 5 for row in drawn.tolist()]) == pytest.approx(120 / 5**5, abs=0.02)
    assert bootstrap(5, lambda chosen: NAN if 0 in chosen else 1.0) == (1.0, 1.0)
    assert all(math.isnan(end) for end in bootstrap(5, lambda chosen: NAN))
    with pytest.raises(InputError):
        bootstrap(0, lambda chosen: 0.0)


def test_joints_of_one_person_do_not_outvote_people() -> None:
    summary = summarise([np.array([0.0, 0.0, 9.0]), np.array([3.0] * 3), np.array([0.0, 0.0, 3.0])])
    assert summary is not None and summary.median == 3.0 and summary.mean == pytest.approx(7.0 / 3.0)
