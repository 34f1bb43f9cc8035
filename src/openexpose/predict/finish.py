"""The last step of a clip: from what its journal holds to the tracks that are delivered, one at a time."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from openexpose.body.model import BodyModel
from openexpose.motion import Clip, Motion, Track
from openexpose.people import People
from openexpose.predict.journal import Journal, PeopleFile
from openexpose.predict.smoothing import lock_feet, smooth

Array = np.ndarray
Final = Callable[[Int[Array, "n"]], Int[Array, "n"]]

SHORTEST_S = 0.4
"""Who is never seen for as long as this on end was nobody, most likely; of a clip that is hardly longer everybody
counts."""
BLINK_S, BLINK_FRAMES = 0.2, 3
"""Gaps, up to the longer of both, that are no end."""
_ROUNDING_S = 1e-6


@dataclass(frozen=True)
class Finish:
    """How tracks are finished."""

    smooth: float = 0.5
    """Strength of the smoothing, 0 (none) to 1."""
    lock_feet: bool = False
    """Feet that stand stay where they stand."""


def clip_of(journal: Journal, name: str, fps: float) -> Clip:
    """The clip that a journal is of."""
    return Clip(name, journal.times_s(), fps)


def chosen_tracks(journal: Journal, final: Final) -> list[Int[Array, "n"]]:
    """Rows of the journal of each person to keep, by appearance: certainly people, and seen for long enough on end.

    Args:
        journal: of a clip that is done.
        final: what the numbers in it have turned out to mean (:meth:`Tracker.final`).
    """
    times, index = journal.times_s(), journal.index()
    shortest_s = min(SHORTEST_S, 0.5 * float(times[-1] - times[0])) if len(times) else 0.0
    meant = final(index[:, 1])
    chosen = []
    for number in np.unique(meant[meant > 0]).tolist():
        rows = np.flatnonzero(meant == number)
        rows = rows[np.append(np.diff(index[rows, 0]) > 0, True)]  # of two in one frame that of who proved to be them
        if _longest_s(index[rows, 0], times) >= shortest_s - _ROUNDING_S:
            chosen.append(rows)
    return chosen


def _longest_s(frames: Int[Array, "n"], times_s: Float[Array, "frames"]) -> float:
    """For how long somebody is seen on end, at most."""
    gap = (np.diff(times_s[frames]) > BLINK_S + _ROUNDING_S) & (np.diff(frames) > BLINK_FRAMES)
    first, last = np.flatnonzero(np.append(True, gap)), np.flatnonzero(np.append(gap, True))
    return float((times_s[frames[last]] - times_s[frames[first]]).max())


def finished_tracks(journal: Journal, clip: Clip, final: Final, model: BodyModel, how: Finish) -> Iterator[Track]:
    """The tracks that are delivered, numbered from 1 by appearance; one at a time is held in memory.

    Args:
        journal: of a clip that is done.
        clip: the same clip.
        final: as of :func:`chosen_tracks`.
        model: the people's body model.
        how: smoothing.
    """
    for number, rows in enumerate(chosen_tracks(journal, final), 1):
        track = smooth(journal.track(number, rows), clip, model, how.smooth)
        yield lock_feet(track, clip, model) if how.lock_feet else track


class FinishedPeople:
    """Finished tracks on the disk, to be read frame by frame.

    Args:
        path: a file to make.
        example: as in :class:`PeopleFile`.
    """

    def __init__(self, path: Path, example: People) -> None:
        self._file = PeopleFile(path, example)
        self._spans: list[tuple[int, Array, int]] = []

    def add(self, track: Track) -> None:
        """Store a track."""
        self._spans.append((track.id, track.frames, self._file.rows))
        self._file.append(track.people)

    def at(self, frame: int) -> tuple[Int[Array, "n"], People]:
        """Who is in a frame: numbers and people."""
        ids, rows = [], []
        for number, frames, first in self._spans:
            k = int(np.searchsorted(frames, frame))
            if k < len(frames) and frames[k] == frame:
                ids.append(number)
                rows.append(first + k)
        return np.array(ids, int), self._file.read(np.array(rows, int))

    def motion(self, clip: Clip) -> Motion:
        """All tracks at once, in memory."""
        tracks = []
        for number, frames, first in self._spans:
            tracks.append(Track(number, frames, self._file.read(slice(first, first + len(frames)))))
        return Motion(clip, tuple(tracks))

    def close(self) -> None:
        """Close the file."""
        self._file.close()
