"""Running ahead changes when things are made, and nothing else."""

import threading
from collections.abc import Iterator

import pytest

from openexpose.predict.ahead import ahead


def test_items_come_in_order_through_several_stages() -> None:
    with ahead(range(50), 3) as first, ahead((k * k for k in first), 1) as second:
        assert list(second) == [k * k for k in range(50)]


def test_an_error_comes_where_its_item_was_due() -> None:
    def items() -> Iterator[int]:
        yield from range(3)
        raise ValueError("the fourth")

    seen = []
    with pytest.raises(ValueError, match="the fourth"), ahead(items(), 5) as made:
        for item in made:
            seen.append(item)
    assert seen == [0, 1, 2]


def test_it_runs_ahead_so_far_and_no_farther() -> None:
    made: list[int] = []
    third = threading.Event()

    def items() -> Iterator[int]:
        for k in range(100):
            made.append(k)
            if k == 3:
                third.set()
            yield k

    with ahead(items(), 2) as ready:
        assert next(ready) == 0
        assert third.wait(5)  # two wait, one is in hand
        assert len(made) <= 4


def test_leaving_early_ends_the_thread() -> None:
    before = threading.active_count()
    with ahead(iter(int, 1), 2) as endless, ahead(endless, 2) as more:
        assert next(more) == 0
    assert threading.active_count() == before
