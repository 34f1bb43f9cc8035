"""How far long work is: a bar on a terminal; elsewhere, as in the log of a job, a line now and then."""

import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

from tqdm import tqdm

LINE_EVERY_S = 60.0
"""Seconds between two lines where there is no terminal."""


class Progress:
    """Counts frames, and tells of them on stderr. A ``with`` block ends the bar.

    Args:
        name: what is worked at.
        total: how many frames there are, or None.
        done: how many were done before.
        stream: where to; None: stderr.
        clock: seconds that pass.
    """

    def __init__(
        self,
        name: str,
        total: int | None,
        done: int = 0,
        *,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream or sys.stderr
        self._name, self._total, self._before, self._count, self._clock = name, total, done, done, clock
        self._begin_s = self._told_s = clock()
        self._bar: Any = None
        if self._stream.isatty():
            self._bar = tqdm(total=total, initial=done, unit="frame", file=self._stream, desc=name)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def step(self, people: int | None = None) -> None:
        """One more frame is done, with so many people in it."""
        self._count += 1
        if self._bar is not None:
            if people is not None:
                self._bar.set_postfix(people=people, refresh=False)
            self._bar.update()
            return
        now_s = self._clock()
        if now_s - self._told_s >= LINE_EVERY_S:
            self._told_s = now_s
            print(f"openexpose: {self._name}: {self._line(now_s)}", file=self._stream, flush=True)

    def _line(self, now_s: float) -> str:
        rate = (self._count - self._before) / (now_s - self._begin_s)
        speed = f"{rate:.1f} frames/s"
        if self._total is None or self._total < self._count:  # what a file tells of its length may be wrong
            return f"{self._count} frames, {speed}"
        left = tqdm.format_interval((self._total - self._count) / rate)
        return f"{self._count} of {self._total} frames, {speed}, {left} left"
