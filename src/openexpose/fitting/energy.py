"""The energy of a fit, with its exact gradient and Gauss-Newton's equations, for many people at once.

Every term of :mod:`openexpose.fitting.objective` is a sum of squared residuals; the robust function of the keypoints
weighs theirs by where the people are now.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float, Int

from openexpose.body.keypoints import INDEX
from openexpose.body.model import BodyModel
from openexpose.fitting.capsules import capsules_of, overlaps
from openexpose.fitting.objective import ANSWER, ANSWER_SHAPE, OVERLAP_M, ROBUST_PX, Aim, Weights, keypoint_weights
from openexpose.fitting.rotation_vectors import turn_derivative
from openexpose.fitting.slopes import keypoint_slopes
from openexpose.fitting.state import FREE_JOINTS, Layout, State
from openexpose.geometry.rotation import matrix_to_rotvec

Array = np.ndarray
Penalty = Callable[[Float[Array, "n 55 3 3"]], tuple[Float[Array, "n m"], Float[Array, "n m j3"], Int[Array, "j"]]]
"""Residuals of a pose, their derivatives by turns of some joints about their own axes, and these joints."""

_JAW = np.array([INDEX["jaw"]])


@dataclass(frozen=True)
class _Rows:
    """Residuals of n people and their derivatives by some unknowns."""

    error: Float[Array, "n m"]
    slope: Float[Array, "n m c"]
    unknowns: Int[Array, "c"]


@dataclass(frozen=True)
class Energy:
    """The energy of n people in one stage.

    Attributes:
        model: the body model.
        aim: what was seen.
        weights: the stage's.
        penalties: of the pose (prior, hands, hinges, limits), each with its weight.
        free: the joints that may turn.
        shape: whether shape and expression may change; place always may.
    """

    model: BodyModel
    aim: Aim
    weights: Weights
    penalties: tuple[tuple[float, Penalty], ...]
    free: Int[Array, "j"] = field(default_factory=lambda: FREE_JOINTS)
    shape: bool = True

    def frozen(self, layout: Layout) -> Int[Array, "f"]:
        """The unknowns that stay."""
        stay = np.ones(layout.size, bool)
        stay[layout.turns(self.free).ravel()] = False
        stay[layout.betas.start : layout.transl.start] = not self.shape
        stay[layout.transl] = False
        return np.flatnonzero(stay)

    def of(self, rows: Array) -> "Energy":
        """The energy of the people ``rows``."""
        return replace(self, aim=self.aim[rows])

    def __call__(self, state: State) -> Float[Array, "n"]:
        """The energy of every person."""
        seen, weight = self._seen()
        posed = keypoint_slopes(self.model, state.pose, state.betas, state.expression, seen, FREE_JOINTS[:0])
        squared = np.square(self.aim.missed(posed.points + state.transl[:, None], seen)).sum(-1)
        total = (weight**2 * ROBUST_PX**2 * squared / (ROBUST_PX**2 + squared)).sum(1)
        if self.weights.collision:
            deep = np.maximum(overlaps(capsules_of(self.model), posed.joints).depth, 0.0) / OVERLAP_M
            total += self.weights.collision**2 * np.square(deep).sum(1)
        return total + sum(np.square(rows.error).sum(1) for rows in self._priors(state))

    def equations(self, state: State) -> tuple[Float[Array, "n u u"], Float[Array, "n u"]]:
        """Gauss-Newton's normal equations: A and b of ``A step = -b``."""
        size, count = state.layout.size, len(state)
        matrix, right = np.zeros((count, size, size)), np.zeros((count, size))
        for rows in (*self._images(state), *self._priors(state)):
            turned = np.swapaxes(rows.slope, 1, 2)
            matrix[:, rows.unknowns[:, None], rows.unknowns] += turned @ rows.slope
            right[:, rows.unknowns] += (turned @ rows.error[..., None])[..., 0]
        return matrix, right

    def gradient(self, state: State) -> Float[Array, "n u"]:
        """Derivative of the energy by every unknown."""
        right = np.zeros((len(state), state.layout.size))
        for rows in (*self._images(state), *self._priors(state)):
            right[:, rows.unknowns] += (np.swapaxes(rows.slope, 1, 2) @ rows.error[..., None])[..., 0]
        return 2.0 * right

    def _seen(self) -> tuple[Int[Array, "k"], Float[Array, "n k"]]:
        """The keypoints that count for somebody, and their weights."""
        weight = keypoint_weights(self.weights, self.aim.keypoints_px[..., 2])
        seen = np.flatnonzero(weight.any(0))
        return seen, weight[:, seen]

    def _images(self, state: State) -> Iterator[_Rows]:
        """Keypoints in the picture, and capsules that overlap."""
        (seen, weight), layout = self._seen(), state.layout
        slopes = keypoint_slopes(self.model, state.pose, state.betas, state.expression, seen, self.free)
        points = slopes.points + state.transl[:, None]
        error = self.aim.missed(points, seen)
        factor = weight * ROBUST_PX**2 / (ROBUST_PX**2 + np.square(error).sum(-1))
        count, k = error.shape[:2]
        moves = [slopes.turns.reshape(count, k, 3, 3 * len(self.free)), slopes.coefficients]
        moves.append(np.broadcast_to(np.eye(3), (count, k, 3, 3)))
        slope = self.aim.slope(points, np.concatenate(moves, -1)) * factor[..., None, None]
        unknowns = np.concatenate([layout.turns(self.free).ravel(), np.arange(layout.betas.start, layout.size)])
        yield _Rows(
            (error * factor[..., None]).reshape(count, -1), slope.reshape(count, 2 * k, len(unknowns)), unknowns
        )
        if self.weights.collision:
            yield self._collisions(state)

    def _collisions(self, state: State) -> _Rows:
        """Capsules that overlap; their ends are joints."""
        capsules, layout = capsules_of(self.model), state.layout
        ends = np.unique(capsules.ends)
        moved = keypoint_slopes(self.model, state.pose, state.betas, state.expression, ends, self.free)
        found = overlaps(capsules, moved.joints)
        moves = np.concatenate([moved.turns.reshape(*moved.points.shape, -1), moved.coefficients], -1)
        share = np.stack([1.0 - found.along, found.along], -1) * np.array([-1.0, 1.0])[:, None]
        corners = moves[:, np.searchsorted(ends, capsules.ends[capsules.pairs])]
        slope = np.einsum("npse,npa,npseau->npu", share, found.apart, corners, optimize=True)
        factor = self.weights.collision / OVERLAP_M * (found.depth > 0)
        unknowns = [layout.turns(self.free).ravel(), np.arange(layout.betas.start, layout.transl.start)]
        return _Rows(factor * found.depth, factor[..., None] * slope, np.concatenate(unknowns))

    def _away(self, state: State, answer: Float[Array, "n 55 3 3"]) -> _Rows:
        """Turns of the joints away from a network's answer."""
        turns = matrix_to_rotvec(np.swapaxes(answer[:, FREE_JOINTS], -1, -2) @ state.pose[:, FREE_JOINTS])
        count, joints = turns.shape[:2]
        slope = np.zeros((count, joints, 3, joints, 3))
        slope[:, range(joints), :, range(joints)] = ANSWER * np.moveaxis(turn_derivative(turns), 1, 0)
        unknowns = state.layout.turns(FREE_JOINTS).ravel()
        return _Rows(ANSWER * turns.reshape(count, -1), slope.reshape(count, 3 * joints, -1), unknowns)

    def _priors(self, state: State) -> Iterator[_Rows]:
        layout, weights = state.layout, self.weights
        for weight, penalty in self.penalties:
            error, slope, joints = penalty(state.pose)
            yield _Rows(weight * error, weight * slope, layout.turns(joints).ravel())
        if self.aim.answer is not None:
            yield self._away(state, self.aim.answer)
        jaw = np.array(weights.jaw)
        turned = matrix_to_rotvec(state.pose[:, _JAW[0]])
        slope = jaw[:, None] * turn_derivative(turned)
        yield _Rows(jaw * turned, slope, layout.turns(_JAW).ravel())
        coefficients = [
            (weights.shape, state.betas, layout.betas),
            (weights.expression, state.expression, layout.expression),
        ]
        if self.aim.answer_betas is not None:
            coefficients.append((ANSWER_SHAPE, state.betas - self.aim.answer_betas, layout.betas))
        for weight, value, where in coefficients:
            unit = np.broadcast_to(weight * np.eye(value.shape[1]), (*value.shape, value.shape[1]))
            yield _Rows(weight * value, unit, np.arange(where.start, where.stop))
