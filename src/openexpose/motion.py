"""Motion: the people of a clip over time.

A track is one person; its record is :class:`~openexpose.people.People` with the first axis counting frames. A photo is
a clip of one frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from openexpose.errors import InputError
from openexpose.geometry.rotation import matrix_to_rotvec, rotvec_to_matrix
from openexpose.people import People

Array = np.ndarray

PHOTO_FPS = 30.0
"""Frame rate that a clip of one frame is said to have."""


@dataclass(frozen=True)
class Clip:
    """What was filmed: a video, a folder of frames, or a photo (one frame)."""

    name: str
    """File name of the video, or name of the folder or photo."""
    times_s: Float[Array, "frames"]
    """When each frame is shown, seconds from the first one; ascending. Steps differ where the frame rate varies."""
    fps: float
    """Frame rate, frames a second: the nominal one, or the mean one where it varies."""

    def __post_init__(self) -> None:
        times = np.asarray(self.times_s)
        if times.ndim != 1 or not len(times) or not np.isfinite(times).all() or (np.diff(times) <= 0).any():
            raise InputError(f"the times of the frames of '{self.name}'", "at least one, finite and ascending")
        if not (np.isfinite(self.fps) and self.fps > 0):
            raise InputError(f"a frame rate of {self.fps}", "a positive number of frames a second")


@dataclass(frozen=True)
class Track:
    """One person in the frames in which they were found."""

    id: int
    """Number of the person within the clip, from 1 in the order of appearance."""
    frames: Int[Array, "n"]
    """Numbers of the clip's frames, from 0; ascending, with gaps where the person was lost."""
    people: People
    """The person in these frames: row k belongs to frame ``frames[k]``."""

    def __post_init__(self) -> None:
        if len(self.frames) != len(self.people) or not len(self.frames):
            got = f"track {self.id} of {len(self.frames)} frames with {len(self.people)} rows"
            raise InputError(got, "at least one frame, and a row for each")
        if self.frames[0] < 0 or (np.diff(self.frames) <= 0).any():
            raise InputError(f"the frame numbers of track {self.id}", "ascending numbers from 0")


@dataclass(frozen=True)
class Motion:
    """A clip and the people in it."""

    clip: Clip
    tracks: tuple[Track, ...]

    def __post_init__(self) -> None:
        for track in self.tracks:
            if track.frames[-1] >= len(self.clip.times_s):
                got = f"track {track.id} with frame {track.frames[-1]}"
                raise InputError(got, f"frames of a clip of {len(self.clip.times_s)}")
        numbers = [track.id for track in self.tracks]
        if len(set(numbers)) != len(numbers):
            raise InputError(f"tracks with the numbers {numbers}", "each number once")


def still(people: People, name: str) -> Motion:
    """The people of a photo as a clip of one frame: person k is track k + 1."""
    tracks = tuple(Track(k + 1, np.zeros(1, int), people[k : k + 1]) for k in range(len(people)))
    return Motion(Clip(name, np.zeros(1), PHOTO_FPS), tracks)


def at_times(track: Track, clip: Clip, times_s: Float[Array, "m"]) -> People:
    """The person at any times: between two frames rotations turn at constant speed, the rest changes linearly.

    Before the first and after the last frame the person stands still. At the time of a frame of the track the row is
    that frame's own.

    Args:
        track: the person.
        clip: when its frames are shown.
        times_s: seconds, any order.
    """
    known = clip.times_s[track.frames]
    times = np.clip(np.asarray(times_s, float), known[0], known[-1])
    after = np.clip(np.searchsorted(known, times, side="left"), 0, len(known) - 1)
    before = np.where(known[after] <= times, after, np.maximum(after - 1, 0))
    span = known[after] - known[before]
    share = np.where(span > 0, (times - known[before]) / np.where(span > 0, span, 1.0), 0.0)
    people = track.people
    start, end = people[before], people[after]
    mixed: dict[str, Any] = {}
    for field in fields(People):
        first = getattr(start, field.name)
        if not isinstance(first, Array) or field.name in ("pose", "principal_px"):
            continue
        weight = share.reshape(-1, *(1,) * (first.ndim - 1)).astype(first.dtype)
        mixed[field.name] = first + weight * (getattr(end, field.name) - first)
    return replace(start, pose=_between(start.pose, end.pose, share), **mixed)


def even_times(track: Track, clip: Clip, fps: float | None = None) -> Float[Array, "m"]:
    """Times at a constant frame rate from a track's first frame to its last: what animation files want.

    A clip whose frames are evenly spaced at ``fps`` gives the times of its own frames, gaps filled.

    Args:
        track: the person.
        clip: when its frames are shown.
        fps: frames a second; None: the clip's.
    """
    rate = clip.fps if fps is None else fps
    if not (np.isfinite(rate) and rate > 0):
        raise InputError(f"a frame rate of {rate}", "a positive number of frames a second")
    first, last = clip.times_s[track.frames[[0, -1]]]
    times = first + np.arange(int(np.floor((last - first) * rate + 0.5)) + 1) / rate
    nearest = clip.times_s[np.clip(np.searchsorted(clip.times_s, times - 0.25 / rate), 0, len(clip.times_s) - 1)]
    return np.where(np.abs(nearest - times) < 1e-3 / rate, nearest, times)


def joined(parts: Sequence[People]) -> People:
    """Rows of several records one after the other; they share camera, picture size and body model.

    Raises:
        InputError: there are none.
    """
    if not parts:
        raise InputError("no people to join", "at least one record")
    arrays: dict[str, Any] = {
        field.name: np.concatenate([getattr(part, field.name) for part in parts])
        for field in fields(People)
        if isinstance(getattr(parts[0], field.name), Array) and field.name != "principal_px"
    }
    return replace(parts[0], **arrays)


def _between(start: Array, end: Array, share: Float[Array, "m"]) -> Float[Array, "m 55 3 3"]:
    """Rotations a share of the way from one to the other, on the shortest arc."""
    turn = matrix_to_rotvec(np.swapaxes(start, -1, -2).astype(float) @ end)
    turned = start @ rotvec_to_matrix(turn * share[:, None, None])
    return np.where((share == 0)[:, None, None, None], start, turned).astype(start.dtype)
