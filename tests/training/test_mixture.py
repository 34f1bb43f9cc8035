"""What a step trains on: the same draws in every run and process, every sample in its turn, fixed shares."""

from collections import Counter
from dataclasses import replace
from itertools import chain, islice

import pytest
from tests.training.paper_fixtures import labelled, planar

from openexpose.data.sample import Sample
from openexpose.errors import InputError
from openexpose.training.mixture import PLANAR_SHARE, Listed, Mixture
from openexpose.training.part_task import share


def named(prefix: str, count: int, flat: bool = False) -> list[Sample]:
    """Samples ``prefix0``, ``prefix1``, ...: with a pose or without."""
    sample = labelled("hand")
    sample = planar(sample) if flat else sample
    return [replace(sample, name=f"{prefix}{k}") for k in range(count)]


def drawn(mixture: Mixture, numbers: range) -> list[str]:
    return [mixture[k].name for k in numbers]


SETS = [named("a", 3), named("b", 5), named("p", 2, True), named("q", 7, True)]


def test_draws_depend_on_seed_and_number_alone() -> None:
    forward = drawn(Mixture(SETS, 0.25, seed=3), range(200))
    again = Mixture([list(samples) for samples in SETS], 0.25, seed=3)
    assert [again[k].name for k in reversed(range(200))] == forward[::-1]
    assert drawn(Mixture(SETS, 0.25, seed=4), range(200)) != forward
    assert len(again) == 17


def test_sets_are_drawn_equally_often_and_short_ones_again_and_again() -> None:
    names = drawn(Mixture(SETS[:2], 0.25), range(300))
    assert Counter(name[0] for name in names) == {"a": 150, "b": 150}
    for prefix, size in (("a", 3), ("b", 5)):
        row = [name for name in names if name[0] == prefix]
        epochs = [tuple(row[k : k + size]) for k in range(0, len(row), size)]
        assert all(len(set(epoch)) == size for epoch in epochs), "every sample of an epoch comes once"
        assert len(set(epochs)) > 2, "epochs are shuffled anew"


@pytest.mark.parametrize("planar_share", sorted({*PLANAR_SHARE.values(), 0.1}))
def test_the_share_of_flat_labels_is_exact(planar_share: float) -> None:
    mixture = Mixture(SETS, planar_share)
    flat = [mixture[k].pose is None for k in range(4000)]
    for count in (100, 1000, 4000):
        assert abs(sum(flat[:count]) - planar_share * count) < 1
    sets = Counter(name[0] for name in drawn(mixture, range(4000)))
    assert sets["p"] == sets["q"] == 2000 * planar_share and sets["a"] == sets["b"]


def test_one_sort_gives_all() -> None:
    assert all(sample.pose is None for sample in (Mixture(SETS[2:], 0.25)[k] for k in range(50)))
    assert all(sample.pose is not None for sample in (Mixture([[], SETS[0]], 0.25)[k] for k in range(50)))
    assert Counter(drawn(Mixture(SETS[2:], 0.25), range(28)))["q0"] == 2


def test_a_set_with_some_poses_counts_as_posed() -> None:
    mixed = [*named("m", 2), *named("n", 2, True)]
    names = drawn(Mixture([mixed, named("p", 3, True)], 0.5), range(40))
    assert sum(name[0] == "p" for name in names) == 20


def test_instead_gives_the_draw_and_then_others() -> None:
    mixture = Mixture([named("a", 40)], 0.25, seed=1)
    for number in (0, 7, 1234):
        row = [sample.name for sample in mixture.instead(number)]
        assert row[0] == mixture[number].name and len(row) > 20 and len(set(row)) > 5
        assert row == [sample.name for sample in mixture.instead(number)]
    spare = [tuple(sample.name for sample in islice(mixture.instead(k), 1, 4)) for k in range(10)]
    assert len(set(spare)) > 5, "broken samples would all be replaced by the same ones"


def test_shares_of_the_processes_make_up_the_batch() -> None:
    for ranks in (1, 2, 3):
        steps = [list(chain.from_iterable(share(step, 6, rank, ranks) for rank in range(ranks))) for step in range(4)]
        assert list(chain.from_iterable(steps)) == list(range(24))
    with pytest.raises(InputError, match="a batch of 6 for 4 processes"):
        share(0, 6, 0, 4)


def test_held_out_samples_keep_their_order_and_stand_for_themselves() -> None:
    mixture = Listed(SETS[1])
    assert drawn(mixture, range(len(mixture))) == ["b0", "b1", "b2", "b3", "b4"]
    assert [sample.name for sample in mixture.instead(2)] == ["b2"]


def test_no_samples_are_refused() -> None:
    with pytest.raises(InputError, match="without a single sample"):
        Mixture([[], []], 0.25)
