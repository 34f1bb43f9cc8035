"""How far reviewers agree: percent agreement, Cohen's kappa of two, Fleiss' kappa of many."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Float, Int

from openexpose.curation.record import VERDICTS, FitRow, Verdict

Array = np.ndarray
Said = Mapping[str, Verdict]
"""Reviewer to verdict, of one fit."""


@dataclass(frozen=True)
class Pair:
    """How far two reviewers agree on the fits that both have judged."""

    first: str
    second: str
    fits: int
    """That both have judged."""
    percent: float
    """Of these, on how many they said the same, 0..100."""
    kappa: float | None
    """Cohen's (1960); None where both always said the same one thing, so that chance explains everything."""


@dataclass(frozen=True)
class Agreement:
    """How far the reviewers of a project agree."""

    fits: int
    """Judged by two or more."""
    disputed: tuple[int, ...]
    """Numbers of the fits on which verdicts differ."""
    pairs: tuple[Pair, ...]
    """Everybody who shares a fit, by names."""
    fleiss: float | None
    """Fleiss' kappa of the fits that two or more have judged; None where there are none, or it is undefined."""


def agreement(fits: Iterable[FitRow]) -> Agreement:
    """How far the reviewers of some fits agree; ``flag`` is a verdict like the others."""
    rows = list(fits)
    said = [row.verdicts for row in rows if len(row.verdicts) > 1]
    names = sorted({name for one in said for name in one})
    pairs = [_pair(first, second, said) for first, second in combinations(names, 2)]
    return Agreement(
        fits=len(said),
        disputed=tuple(row.id for row in rows if is_disputed(row)),
        pairs=tuple(pair for pair in pairs if pair is not None),
        fleiss=fleiss_kappa(np.array([[list(one.values()).count(v) for v in VERDICTS] for one in said]).reshape(-1, 3)),
    )


def is_disputed(fit: FitRow) -> bool:
    """Whether reviewers said different things of a fit."""
    return len(set(fit.verdicts.values())) > 1


def _pair(first: str, second: str, said: Sequence[Said]) -> Pair | None:
    table = np.zeros((len(VERDICTS), len(VERDICTS)), int)
    for one in said:
        if first in one and second in one:
            table[VERDICTS.index(one[first]), VERDICTS.index(one[second])] += 1
    if not table.any():
        return None
    percent = 100.0 * float(np.trace(table)) / int(table.sum())
    return Pair(first, second, int(table.sum()), percent, cohen_kappa(table))


def cohen_kappa(table: Int[Array, "k k"]) -> float | None:
    """Cohen's kappa (1960).

    Args:
        table: how often the one reviewer said row's and the other column's verdict.

    Returns:
        1: they agree, 0: as often as by chance; None where chance explains everything, or there is nothing.
    """
    total = table.sum()
    if not total:
        return None
    shares: Float[Array, "k k"] = table / total
    return _beyond_chance(float(np.trace(shares)), float(shares.sum(0) @ shares.sum(1)))


def fleiss_kappa(counts: Int[Array, "n k"]) -> float | None:
    """Fleiss' kappa (1971). Numbers of reviewers may differ from row to row: each row gives its share of agreeing
    pairs.

    Args:
        counts: how many said each verdict, of every fit; two or more of each.

    Returns:
        As :func:`cohen_kappa`.
    """
    if not len(counts):
        return None
    reviewers = counts.sum(1)
    agreeing = (counts * (counts - 1)).sum(1) / (reviewers * (reviewers - 1))
    shares = counts.sum(0) / counts.sum()
    return _beyond_chance(float(agreeing.mean()), float(shares @ shares))


def _beyond_chance(observed: float, chance: float) -> float | None:
    return None if chance > 1.0 - 1e-12 else (observed - chance) / (1.0 - chance)
