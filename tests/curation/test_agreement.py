"""Agreement against published examples, and where it is not defined."""

from pathlib import Path

import numpy as np
import pytest

from openexpose.curation.agreement import agreement, cohen_kappa, fleiss_kappa
from openexpose.curation.record import FitRow, PhotoRow, Verdict

PHOTO = PhotoRow(1, Path("/a.jpg"), "x", 10, 10, "", "done")


def fits(*said: dict[str, Verdict]) -> list[FitRow]:
    return [FitRow(k, PHOTO, k, {}, 0.0, dict(one)) for k, one in enumerate(said, 1)]


def test_cohens_kappa_of_a_known_table() -> None:
    assert cohen_kappa(np.array([[20, 5], [10, 15]])) == pytest.approx(0.4)
    assert cohen_kappa(np.array([[45, 15], [25, 15]])) == pytest.approx(0.1304, abs=1e-4)


def test_fleiss_kappa_of_his_kind_of_table() -> None:
    counts = [
        *([0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1]),
        *([7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7]),
    ]
    assert fleiss_kappa(np.array(counts)) == pytest.approx(0.210, abs=5e-4)


def test_fleiss_of_random_verdicts_is_nothing_and_of_equal_ones_all() -> None:
    rng = np.random.default_rng(0)
    counts = np.array([np.bincount(rng.integers(0, 3, rng.integers(2, 6)), minlength=3) for _ in range(20_000)])
    assert fleiss_kappa(counts) == pytest.approx(0.0, abs=0.01)
    assert fleiss_kappa(np.eye(3, dtype=int)[rng.integers(0, 3, 50)] * 4) == pytest.approx(1.0)


def test_where_kappa_says_nothing() -> None:
    assert cohen_kappa(np.array([[5, 0], [0, 0]])) is None
    assert cohen_kappa(np.zeros((3, 3), int)) is None
    assert fleiss_kappa(np.array([[3, 0, 0], [2, 0, 0]])) is None
    assert fleiss_kappa(np.zeros((0, 3), int)) is None
    assert agreement(fits({"ann": "accept"}, {})).fleiss is None


def test_pairs_count_only_what_both_judged() -> None:
    found = agreement(
        fits(
            {"ann": "accept", "bob": "accept"},
            {"ann": "reject", "bob": "accept", "eve": "reject"},
            {"ann": "reject", "bob": "reject"},
            {"ann": "flag"},
            {"bob": "flag", "eve": "flag"},
        )
    )
    assert found.fits == 4 and found.disputed == (2,)
    assert [(pair.first, pair.second, pair.fits) for pair in found.pairs] == [
        ("ann", "bob", 3),
        ("ann", "eve", 1),
        ("bob", "eve", 2),
    ]
    assert found.pairs[0].percent == pytest.approx(200 / 3)
    assert found.pairs[0].kappa == pytest.approx(0.4)  # observed 2/3, by chance 4/9
