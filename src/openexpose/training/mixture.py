"""Which samples a step trains on: data sets mixed as in the paper, a pure function of seed and number.

Sets are drawn equally often, short ones again and again; a fixed share comes from the sets that have 2D labels only.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Int

from openexpose.data.sample import Sample
from openexpose.errors import InputError

PLANAR_SHARE = {"body": 0.25, "hand": 0.25, "face": 0.5}
"""Share of the samples from sets with 2D labels only, where there are both sorts (released configuration)."""
_TRIES = 20
"""So many others are tried in the place of a broken sample."""


class Mixture:
    """An endless, seeded row of samples: draw number t is the same in every run and every process.

    Args:
        sets: the data sets' samples; empty ones are left out.
        planar_share: share of the draws from sets without any pose label, if there are others, too.
        seed: of the order in which a set's samples come.

    Raises:
        InputError: there are no samples.
    """

    endless = True
    """Whether there are others to take in the place of broken samples."""

    def __init__(self, sets: Sequence[Sequence[Sample]], planar_share: float, seed: int = 0) -> None:
        sets = [samples for samples in sets if samples]
        if not sets:
            raise InputError("data sets without a single sample", "samples to train on")
        planar = [samples for samples in sets if all(sample.pose is None for sample in samples)]
        posed = [samples for samples in sets if any(sample.pose is not None for sample in samples)]
        self._planar, self._posed, self._seed = planar, posed, seed
        self._share = planar_share if planar and posed else float(bool(planar))

    def __len__(self) -> int:
        """Samples in all sets."""
        return sum(len(samples) for samples in (*self._planar, *self._posed))

    def __getitem__(self, number: int) -> Sample:
        """Draw ``number``, from 0 on."""
        before, after = int(number * self._share + 1e-9), int((number + 1) * self._share + 1e-9)
        sets, count, kind = (self._planar, before, 1) if after > before else (self._posed, number - before, 0)
        which, k = count % len(sets), count // len(sets)
        samples = sets[which]
        return samples[_order(self._seed, kind, which, k // len(samples), len(samples))[k % len(samples)]]

    def instead(self, number: int) -> Iterator[Sample]:
        """Draw ``number``, then others to take where that one is broken."""
        yield self[number]
        spare = np.random.default_rng([self._seed, number])
        for _ in range(_TRIES):
            yield self[int(spare.integers(max(len(self), number + 1)))]


class Listed:
    """Samples in their own order, each once: stands for a :class:`Mixture` where held-out samples are looked at."""

    endless = False

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.samples = list(samples)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, number: int) -> Sample:
        return self.samples[number]

    def instead(self, number: int) -> Iterator[Sample]:
        """The sample alone."""
        yield self[number]


@lru_cache(maxsize=64)
def _order(seed: int, kind: int, which: int, epoch: int, count: int) -> Int[np.ndarray, "count"]:
    return np.random.default_rng([seed, kind, which, epoch]).permutation(count)
