"""Progress of long work."""

import io
from collections.abc import Callable

import pytest

from openexpose.cli.progress import LINE_EVERY_S, Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def clock_of(step_s: float) -> Callable[[], float]:
    """A clock that goes on by so much whenever it is looked at."""
    times = iter(range(10**6))
    return lambda: next(times) * step_s


@pytest.mark.parametrize(
    ("total", "first"),
    [
        (40, "openexpose: walk.mp4: 16 of 40 frames, 0.1 frames/s, 04:00 left"),
        (None, "openexpose: walk.mp4: 16 frames, 0.1 frames/s"),
        (15, "openexpose: walk.mp4: 16 frames, 0.1 frames/s"),
    ],
)
def test_a_log_gets_a_line_now_and_then(total: int | None, first: str) -> None:
    log = io.StringIO()
    with Progress("walk.mp4", total, 10, stream=log, clock=clock_of(LINE_EVERY_S / 6)) as progress:
        for _ in range(13):
            progress.step(2)
    lines = log.getvalue().splitlines()
    assert len(lines) == 2 and lines[0] == first


def test_short_work_leaves_a_log_alone() -> None:
    log = io.StringIO()
    with Progress("walk.mp4", 50, stream=log, clock=clock_of(LINE_EVERY_S / 100)) as progress:
        for _ in range(50):
            progress.step(1)
    assert log.getvalue() == ""


def test_a_terminal_gets_a_bar() -> None:
    terminal = Terminal()
    with Progress("walk.mp4", 5, stream=terminal) as progress:
        for _ in range(5):
            progress.step(3)
    assert "walk.mp4" in terminal.getvalue() and "5/5" in terminal.getvalue()
