"""Smoothing of people over time, without lag for files and causally for live pictures, and feet that stand.

``strength`` scales all cut-off frequencies by 0.5 / strength: at 0.5 they are those of :data:`OFFLINE` and
:data:`openexpose.predict.one_euro.CAUSAL`, at 0.25 twice, at 1 half of them. At 0 nothing is touched, not by one bit;
at any other strength the shape is constant over a track.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float

from openexpose.body.model import BodyModel
from openexpose.motion import Clip, Track, at_times, joined
from openexpose.people import People
from openexpose.predict.columns import COLUMNS, Columns, columns_of, with_columns
from openexpose.predict.cutoffs import LONGEST_GAP_S, Cutoffs, check_strength, scale_of
from openexpose.predict.feet import lock_feet
from openexpose.predict.one_euro import CausalSmoother
from openexpose.predict.placement import reshaped
from openexpose.predict.reliability import (
    UNSEEN,
    agreement,
    bridged,
    confidence,
    lasting_betas,
    outliers,
    repair,
    weights_of,
)
from openexpose.predict.two_pass import low_pass

__all__ = ["OFFLINE", "CausalSmoother", "lock_feet", "smooth"]

Array = np.ndarray

OFFLINE = Cutoffs(
    trunk=4.0, legs=5.0, arms=5.0, head=4.0, jaw=5.0, eyes=3.0, hands=4.0, expression=4.0, place=4.0, depth=1.0
)
"""Cut-offs of :func:`smooth` at strength 0.5. At three fifths of its cut-off a motion keeps 95 % of its amplitude."""

_FILLED_WEIGHT = 0.05
"""Weight of a sample that was put between its neighbours."""
_PIECE, _MARGIN = 5000, 600
"""Rows that are smoothed at once, and rows on both sides that are looked at: memory does not grow with the clip."""
_ROUNDS = 3
"""So often samples far from the smooth curve are weighed anew."""


def smooth(track: Track, clip: Clip, model: BodyModel, strength: float = 0.5, cutoffs: Cutoffs = OFFLINE) -> Track:
    """Smooth a track without lag.

    Rotations (as quaternions), the place in the picture, the depth along the ray, and the expression run through a
    zero-phase low-pass (:mod:`openexpose.predict.two_pass`) at the real times of the frames. What was not seen surely
    weighs less; samples that were not seen or lie apart from their neighbours are replaced by what lies between these.
    The shape becomes one for the whole track; people keep place and size in the picture. ``crop_camera`` agrees with
    the result; boxes, crops and confidences stay what was observed.

    Frames that the track lacks for up to 0.5 s are filled in, with score and confidences 0; longer gaps stay, and what
    lies before and behind them is smoothed apart.

    Args:
        track: the person.
        clip: when its frames are shown.
        model: the body model of the person.
        strength: 0 (the track as it is) to 1; see the top of this page.
        cutoffs: frequencies at strength 0.5.

    Raises:
        InputError: a strength out of range, or a model with other numbers of coefficients.
    """
    check_strength(strength)
    if strength == 0.0 or len(track.frames) == 1:
        return track
    betas = np.repeat(lasting_betas(track.people)[None], len(track.frames), 0)
    shaped = replace(track, people=reshaped(model, track.people, betas))
    times = clip.times_s[track.frames]
    ends = np.flatnonzero(np.diff(times) > LONGEST_GAP_S + 1e-9) + 1
    frames, people = [], []
    for rows in np.split(np.arange(len(times)), ends):
        starts = rows[::_PIECE].tolist()
        for start, stop in zip(starts, [*starts[1:], int(rows[-1]) + 1], strict=True):
            wide = slice(max(int(rows[0]), start - _MARGIN), min(int(rows[-1]) + 1, stop + _MARGIN))
            stretch = Track(track.id, track.frames[wide], shaped.people[wide])
            smoothed = _smooth_stretch(stretch, clip, model, cutoffs.columns, scale_of(strength))
            numbers = np.arange(stretch.frames[0], stretch.frames[-1] + 1)
            end = track.frames[stop] if stop <= rows[-1] else track.frames[stop - 1] + 1
            own = (numbers >= track.frames[start]) & (numbers < end)
            frames.append(numbers[own])
            people.append(smoothed[own])
    return Track(track.id, np.concatenate(frames), joined(people))


def _smooth_stretch(track: Track, clip: Clip, model: BodyModel, cutoff_hz: Float[Array, "58"], scale: float) -> People:
    """A track without long gaps, with a row for each frame from its first to its last.

    ``cutoff_hz`` at strength 0.5, ``scale`` by the strength.
    """
    frames = np.arange(track.frames[0], track.frames[-1] + 1)
    times = clip.times_s[frames]
    real = np.isin(frames, track.frames)
    people = _unseen(at_times(track, clip, times), ~real)
    columns = columns_of(model, people)
    sure = confidence(people)
    kept = np.repeat(real[:, None], COLUMNS, 1)
    kept[real] = (sure[real] >= UNSEEN) & ~outliers(columns[np.flatnonzero(real)])
    weights = weights_of(sure)
    numbers, owners = columns.numbers, columns.owners
    for column in range(COLUMNS):
        replaced = bridged(times, kept[:, column], ~real)
        own = owners == column
        numbers[:, own] = repair(numbers[:, own], times, kept[:, column], replaced, turns=column < 55)
        weights[replaced, column] = _FILLED_WEIGHT
    smoothed = low_pass(numbers, weights[:, owners], times, cutoff_hz[owners])
    for _ in range(_ROUNDS):  # at the usual strength, so that what is believed does not depend on the strength
        believed = weights * agreement(Columns.of_numbers(numbers), Columns.of_numbers(smoothed))
        smoothed = low_pass(numbers, believed[:, owners], times, cutoff_hz[owners])
    smoothed = low_pass(numbers, believed[:, owners], times, scale * cutoff_hz[owners])
    return with_columns(model, people, Columns.of_numbers(smoothed))


def _unseen(people: People, rows: Bool[Array, "n"]) -> People:
    """People with no confidence in some rows."""
    known = (~rows).astype(float)
    return replace(
        people,
        score=people.score * known.astype(people.score.dtype),
        part_confidence=people.part_confidence * known[:, None].astype(people.part_confidence.dtype),
        joint_confidence=people.joint_confidence * known[:, None].astype(people.joint_confidence.dtype),
    )
