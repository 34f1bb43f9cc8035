"""Parameters of a skinned model from vertices: a closed-form start, then Gauss-Newton on all vertices.

The start: each bone's rotation by Procrustes of the vertices skinned to it. The steps: Levenberg-Marquardt with the
normal equations of :mod:`~openexpose.fitting.transfer_equations`; many frames at once.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_matrix

from openexpose.errors import InputError
from openexpose.fitting.models import SkinnedModel
from openexpose.fitting.transfer_equations import Equations
from openexpose.fitting.transfer_skin import Parameters, Skeleton, Skinned, blend, pose_skeleton, pose_vertices
from openexpose.geometry.rotation import project_to_so3, rotvec_to_matrix

Array = np.ndarray

_SUPPORT = 3.0
"""Vertices (sum of weights) that a joint must move to be free."""
_ALL = 0.999
_RIDGE_M = 1e-5
_DAMPING = (1e-5, 1e-7, 1e3)
_EASED, _RAISED = 0.2, 10.0
_LARGEST_TURN = 1.0
_STALE_RAD = 0.2
"""A step with a larger turn makes a new matrix worth its while."""
_ITERATIONS = 40
_SETTLED = 2e-3
_EXACT_M = 3e-6


@dataclass(frozen=True)
class Fit:
    """What was found.

    Attributes:
        parameters: of all frames.
        errors_m: distance of every fitted vertex from its target.
    """

    parameters: Parameters
    errors_m: Float[Array, "f v"]


@dataclass(frozen=True)
class _State:
    """Parameters and what they look like."""

    parameters: Parameters
    skeleton: Skeleton
    skinned: Skinned
    residual: Float[Array, "f v 3"]

    def cost(self, ridge: float) -> Float[Array, "f"]:
        """Sum of squared residuals, and what the coefficients cost."""
        coefficients = (self.parameters.betas**2).sum(1) + (self.parameters.expression**2).sum(1)
        return np.einsum("fvx,fvx->f", self.residual, self.residual, dtype=float) + ridge * coefficients

    def at(self, index: Array) -> "_State":
        """Some of the frames."""
        skeleton = Skeleton(
            *(getattr(self.skeleton, name)[index] for name in ("rest", "rotations", "joints", "offsets"))
        )
        skinned = Skinned(*(getattr(self.skinned, name)[index] for name in ("rest", "turns", "vertices")))
        return _State(self.parameters[index], skeleton, skinned, self.residual[index])


class VertexFitter:
    """Fits a model to targets for some of its vertices.

    Args:
        model: the model, whole.
        rows: its vertices that have targets.
        joints: joints that may turn, the root among them; None: all that move some of the vertices, but not all.
        expression: whether expression coefficients are free (else zero).
        ridge_m: one unit of a coefficient costs as much as this shift of all vertices, metres.

    Raises:
        InputError: fewer than three vertices.
    """

    def __init__(
        self,
        model: SkinnedModel,
        rows: Int[Array, "r"],
        joints: Int[Array, "n"] | None = None,
        *,
        expression: bool = True,
        ridge_m: float = _RIDGE_M,
    ) -> None:
        if len(rows) < 3:
            raise InputError(f"{len(rows)} vertices to fit '{model.name}' to", "at least 3 vertices")
        self.model = model.subset(rows)
        self._ridge = len(rows) * ridge_m**2
        moved = self.model.weights @ self.model.ancestors.astype(np.float32)
        free = (moved.sum(0) >= _SUPPORT) & (moved.min(0) < _ALL)
        free[0] = True
        if joints is not None:
            free &= np.isin(np.arange(model.num_joints), joints)
        self._joints = np.flatnonzero(free)
        self._equations = Equations(
            self.model, self._joints, model.num_expression if expression else 0, self.model.num_betas
        )

    def fit(
        self,
        targets: Float[Array, "f r 3"],
        *,
        shared: bool = False,
        start: Parameters | None = None,
        iterations: int = _ITERATIONS,
    ) -> Fit:
        """Find pose, translation, expression and betas.

        Args:
            targets: where the vertices shall be, metres.
            shared: one set of betas for all frames, which are then solved for together.
            start: where to begin; None: the closed form.
            iterations: most steps.

        Raises:
            InputError: targets of another shape, NaN or infinity.
        """
        if targets.ndim != 3 or targets.shape[1:] != self.model.v_template.shape or not np.isfinite(targets).all():
            expected = f"finite numbers of shape [frames, {self.model.num_vertices}, 3]"
            raise InputError(f"targets of shape {targets.shape} (or not finite)", expected)
        centre = targets.mean(1)  # single precision is enough around it
        near = (targets - centre[:, None]).astype(np.float32)
        start = self.start(near) if start is None else replace(start, transl=start.transl - centre)
        state = self._descend(near, self._look(start, near), shared, iterations)
        found = replace(state.parameters, transl=state.parameters.transl + centre)
        return Fit(found, np.linalg.norm(state.residual, axis=-1))

    def start(self, targets: Float[Array, "f r 3"]) -> Parameters:
        """The closed form: rotations of the bones by Procrustes of the mean shape's vertices, joint after joint."""
        model, frames = self.model, len(targets)
        weights = csr_matrix(model.weights.power(3).T)  # the own vertices of a bone count most
        total = np.maximum(np.asarray(weights.sum(1)), 1e-9)
        rest = (model.v_template - model.v_template.mean(0)).astype(np.float32)
        outer = targets.transpose(1, 0, 2)[..., None] * np.c_[rest, np.ones(len(rest), np.float32)][:, None, None]
        sums = (weights @ outer.reshape(len(rest), -1)).reshape(-1, frames, 3, 4).swapaxes(0, 1).astype(float)
        means = np.asarray(weights @ rest) / total
        spread = sums[..., :3] - sums[..., 3:] * means[:, None]
        whole = np.einsum("fvx,vy->fxy", targets, rest, dtype=float)
        rotations = project_to_so3(np.where((total >= _SUPPORT)[..., None], spread, np.eye(3)))
        if total[0] < _SUPPORT:
            rotations[:, 0] = project_to_so3(whole)
        parameters = Parameters.rest(model, frames)
        parameters.pose[:, 0] = rotations[:, 0]
        known = np.isin(np.arange(model.num_joints), self._joints) & (total[:, 0] >= _SUPPORT)
        for child in range(1, model.num_joints):
            parent = model.parents[child]
            if known[child]:
                parameters.pose[:, child] = rotations[:, parent].swapaxes(1, 2) @ rotations[:, child]
            else:
                rotations[:, child] = rotations[:, parent]
        state = self._look(parameters, targets)
        return replace(parameters, transl=parameters.transl + state.residual.mean(1))

    def _look(self, parameters: Parameters, targets: Array) -> _State:
        skeleton = pose_skeleton(self.model, parameters)
        skinned = pose_vertices(self.model, parameters, skeleton)
        residual = targets - skinned.vertices - parameters.transl[:, None].astype(np.float32)
        return _State(parameters, skeleton, skinned, residual)

    def _descend(self, targets: Array, state: _State, shared: bool, iterations: int) -> _State:
        """Levenberg-Marquardt; each frame for itself, or all together when they share the betas."""
        frames = len(targets)
        damping, todo = np.full(frames, _DAMPING[0]), np.arange(frames)
        best = state.at(todo)
        matrices, stale = np.empty((frames, self._equations.size, self._equations.size)), np.ones(frames, bool)
        old = np.zeros(frames, bool)  # the matrix is that of an earlier step
        for _ in range(iterations):
            now = best.at(todo)
            fresh = todo[stale[todo]]
            if len(fresh):
                new = best.at(fresh)
                matrices[fresh] = self._equations.matrix(new.parameters, new.skeleton, new.skinned)
                old[fresh] = False
            step = self._step(now, matrices[todo], damping[todo], shared)
            tried = self._look(self._moved(now.parameters, step), targets[todo])
            before, after = now.cost(self._ridge), tried.cost(self._ridge)
            if shared:
                before, after = np.full(len(todo), before.sum()), np.full(len(todo), after.sum())
            better = after < before
            turned = np.abs(step[:, : 3 * len(self._joints)]).max(1)
            stale[todo] = np.where(better, turned > _STALE_RAD, old[todo])
            best = _replaced(best, tried.at(np.flatnonzero(better)), todo[better])
            factor = np.where(better, _EASED, np.where(old[todo], 1.0, _RAISED))
            old[todo] |= better
            damping[todo] = np.clip(damping[todo] * factor, *_DAMPING[1:])
            exact = after < targets.shape[1] * (len(todo) if shared else 1) * _EXACT_M**2
            settled = np.where(better, (before - after < _SETTLED * before) | exact, damping[todo] >= 1.0)
            todo = todo[~settled]
            if not len(todo):
                break
        return best

    def _step(self, state: _State, matrix: Array, damping: Float[Array, "f"], shared: bool) -> Float[Array, "f n"]:
        equations, ridge = self._equations, self._ridge
        gradient = equations.gradient(state.parameters, state.skeleton, state.skinned, state.residual)
        coefficients = np.concatenate(
            [state.parameters.expression[:, : equations.num_expression], state.parameters.betas], 1
        )
        split = equations.size - coefficients.shape[1]
        diagonal = np.arange(equations.size)
        matrix[:, diagonal, diagonal] *= 1.0 + damping[:, None]
        matrix[:, diagonal, diagonal] += ridge
        gradient[:, split:] -= ridge * coefficients
        if not shared:
            return np.linalg.solve(matrix, gradient[..., None])[..., 0]
        return _solve_shared(matrix, gradient, equations.size - equations.num_betas)

    def _moved(self, parameters: Parameters, step: Float[Array, "f n"]) -> Parameters:
        """Parameters after a step: turns are about world axes and become turns of the local rotations."""
        turns = step[:, : 3 * len(self._joints)].reshape(len(step), -1, 3)
        turns = turns * np.minimum(1.0, _LARGEST_TURN / np.maximum(np.linalg.norm(turns, axis=-1, keepdims=True), 1e-9))
        skeleton = pose_skeleton(self.model, parameters)
        pose = parameters.pose.copy()
        above = np.maximum(self.model.parents[self._joints], 0)
        axes = np.where((self._joints > 0)[:, None, None], skeleton.rotations[:, above], np.eye(3))
        local = (axes.swapaxes(-1, -2) @ turns[..., None])[..., 0]
        pose[:, self._joints] = rotvec_to_matrix(local) @ pose[:, self._joints]
        rest = step[:, 3 * len(self._joints) :]
        split = 3 + self._equations.num_expression
        expression = parameters.expression.copy()
        expression[:, : self._equations.num_expression] += rest[:, 3:split]
        return Parameters(pose, parameters.betas + rest[:, split:], expression, parameters.transl + rest[:, :3])


def with_shape(model: SkinnedModel, betas: Float[Array, "b"]) -> SkinnedModel:
    """The model whose mean shape is one shape, and which has no others."""
    return replace(
        model,
        v_template=model.v_template + blend(model.shape_dirs, betas[None].astype(np.float32))[0],
        joint_template=model.joint_template + blend(model.joint_shape_dirs, betas[None].astype(np.float32))[0],
        shape_dirs=model.shape_dirs[..., :0],
        joint_shape_dirs=model.joint_shape_dirs[..., :0],
    )


def _solve_shared(matrix: Float[Array, "f n n"], gradient: Float[Array, "f n"], split: int) -> Float[Array, "f n"]:
    """One solution of all frames' equations whose unknowns from ``split`` on are common: Schur's complement."""
    right = np.concatenate([matrix[:, :split, split:], gradient[:, :split, None]], -1)
    solved = np.linalg.solve(matrix[:, :split, :split], right)
    corner = matrix[:, split:, :split] @ solved
    reduced = matrix[:, split:, split:].sum(0) - corner[..., :-1].sum(0)
    common = np.linalg.solve(reduced, gradient[:, split:].sum(0) - corner[..., -1].sum(0))
    own = solved[..., -1] - solved[..., :-1] @ common
    return np.concatenate([own, np.tile(common, (len(own), 1))], 1)


def _replaced(state: _State, part: _State, at: Int[Array, "n"]) -> _State:
    """The state with some frames exchanged (in place: it is the solver's own)."""
    if len(at):
        for whole, new, names in (
            (state.parameters, part.parameters, ("pose", "betas", "expression", "transl")),
            (state.skeleton, part.skeleton, ("rest", "rotations", "joints", "offsets")),
            (state.skinned, part.skinned, ("rest", "turns", "vertices")),
            (state, part, ("residual",)),
        ):
            for name in names:
                getattr(whole, name)[at] = getattr(new, name)
    return state
