"""Causal smoothing: the One-Euro filter (Casiez, Roussel and Vogel, CHI 2012) of every part of a person.

A first-order low-pass whose cut-off grows with the speed: still things do not tremble, fast ones do not lag.
Rotations are filtered on the sphere of quaternions: the answer lies on the shortest arc from the last answer to the
new sample, and the speed is a vector in rad/s in the tangent space of the last answer. So nothing flips.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from openexpose.body.model import BodyModel
from openexpose.errors import InputError
from openexpose.geometry.rotation import (
    matrix_to_quaternion,
    matrix_to_rotvec,
    quaternion_to_matrix,
    rotvec_to_matrix,
)
from openexpose.motion import joined
from openexpose.people import People
from openexpose.predict.columns import COLUMNS, Columns, columns_of, with_columns
from openexpose.predict.cutoffs import LONGEST_GAP_S, Cutoffs, check_strength, scale_of
from openexpose.predict.placement import reshaped
from openexpose.predict.reliability import confidence, shape_weights, weights_of

Array = np.ndarray

CAUSAL = Cutoffs(
    trunk=0.7, legs=0.7, arms=0.7, head=0.7, jaw=1.5, eyes=1.0, hands=0.7, expression=1.5, place=2.0, depth=0.4
)
"""Cut-offs of things at rest, at strength 0.5."""

SLOPES = Cutoffs(
    trunk=1.5, legs=3.5, arms=3.5, head=1.5, jaw=4.0, eyes=0.5, hands=1.5, expression=0.7, place=8.0, depth=1.0
)
"""By how many Hz the cut-off grows a unit of speed (rad/s; shares of the depth a second; coefficients a second)."""

_SPEED_HZ = 1.0
"""Cut-off of the speed itself, as in the paper."""


@dataclass(frozen=True)
class _State:
    """What is known of a person after a frame."""

    time_s: float
    columns: Columns
    """Filtered; one row."""
    speeds: Float[Array, "1 d"]
    """Filtered speeds: 3 numbers of each rotation, then place, depth and expression."""
    betas: Float[Array, "1 b"]
    """Mean shape, and the sum of the weights of the shapes so far."""
    weight: float


class CausalSmoother:
    """Smooths people frame by frame; it never looks ahead.

    ``strength`` is as on the page of :mod:`openexpose.predict.smoothing`; at 0 people come back as they are. The shape
    is the mean of all shapes so far, weighted by how well they were seen; people keep place and size in the picture.
    What was not seen surely moves the answer less. Boxes, crops and confidences stay what was observed.
    """

    def __init__(
        self, model: BodyModel, strength: float = 0.5, cutoffs: Cutoffs = CAUSAL, slopes: Cutoffs = SLOPES
    ) -> None:
        check_strength(strength)
        self._model = model
        self._strength = strength
        self._cutoff_hz, self._slope = (
            (scale_of(strength) if strength else 1.0) * each.columns for each in (cutoffs, slopes)
        )
        self._states: dict[int, _State] = {}

    def __call__(self, track_ids: Int[Array, "n"], time_s: float, people: People) -> People:
        """Smooth the people of a frame.

        Args:
            track_ids: who each row is, each number once. New ones start fresh; who was away for more than 0.5 s, too,
                but for the shape.
            time_s: when the frame is shown; later than the last one of these people.
            people: the rows.

        Raises:
            InputError: numbers twice, not one a row, or a time that is not later.
        """
        ids = np.asarray(track_ids).tolist()
        if len(ids) != len(people) or len(set(ids)) != len(ids):
            raise InputError(f"the track numbers {ids} for {len(people)} people", "one a person, each once")
        if self._strength == 0.0 or not len(people):
            return people
        return joined([self._step(number, time_s, people[k : k + 1]) for k, number in enumerate(ids)])

    def forget(self, track_ids: Int[Array, "n"]) -> None:
        """Forget people: should they come back, they start fresh."""
        for number in np.asarray(track_ids).tolist():
            self._states.pop(number, None)

    def _step(self, number: int, time_s: float, person: People) -> People:
        """Smooth one person (one row)."""
        known = self._states.get(number)
        if known is not None and known.time_s >= time_s:
            raise InputError(f"a frame at {time_s} s, not later than the last one of track {number}", "ascending times")
        weight = float(shape_weights(person)[0])
        betas = person.betas.astype(float)
        if known is not None:
            weight /= max(1.0, float(np.linalg.norm(betas - known.betas)))  # what is far off counts less
            weight += known.weight
            betas = known.betas + (weight - known.weight) / weight * (betas - known.betas)
        shaped = reshaped(self._model, person, betas)
        columns = columns_of(self._model, shaped)
        speeds = np.zeros((1, 3 * 55 + 3 + columns.expression.shape[1]))
        if known is not None and time_s - known.time_s <= LONGEST_GAP_S + 1e-9:
            sure = np.sqrt(weights_of(confidence(person)))
            columns, speeds = self._filtered(known, columns, sure, time_s - known.time_s)
        self._states[number] = _State(time_s, columns, speeds, betas, weight)
        return with_columns(self._model, shaped, columns)

    def _filtered(
        self, known: _State, columns: Columns, sure: Float[Array, "1 58"], step_s: float
    ) -> tuple[Columns, Float[Array, "1 d"]]:
        """The next filtered columns and speeds.

        Args:
            known: after the last frame.
            columns: the new sample.
            sure: factors on the cut-offs.
            step_s: time since the last frame.
        """
        before = quaternion_to_matrix(known.columns.rotations)
        turn = matrix_to_rotvec(np.swapaxes(before, -1, -2) @ quaternion_to_matrix(columns.rotations))
        moves = [columns.place - known.columns.place, columns.depth - known.columns.depth]
        moves.append(columns.expression - known.columns.expression)
        change = np.concatenate([turn.reshape(1, -1), *moves], -1)
        owners = np.repeat(np.arange(COLUMNS), [3] * 55 + [2, 1, columns.expression.shape[1]])
        speeds = known.speeds + _share(_SPEED_HZ * sure[0, owners], step_s) * (change / step_s - known.speeds)
        fastness = np.sqrt(np.bincount(owners, speeds[0] ** 2, COLUMNS))
        share = _share(sure[0] * (self._cutoff_hz + self._slope * fastness), step_s)
        change = change * share[owners]
        ends = np.cumsum([3 * 55, 2, 1])
        turn, place, depth, expression = np.split(change, ends, axis=1)
        rotations = matrix_to_quaternion(before @ rotvec_to_matrix(turn.reshape(1, 55, 3)))
        filtered = Columns(
            rotations,
            known.columns.place + place,
            known.columns.depth + depth,
            known.columns.expression + expression,
        )
        return filtered, speeds


def _share(cutoff_hz: Any, step_s: float) -> Any:
    """How far a first-order low-pass goes towards a new sample."""
    return 1.0 / (1.0 + 1.0 / (2.0 * np.pi * cutoff_hz * step_s))
