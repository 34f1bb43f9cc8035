"""Two ways down an energy: Levenberg-Marquardt for many people at once, and L-BFGS for one, as SMPLify-X has it."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from openexpose.fitting.energy import Energy
from openexpose.fitting.state import FREE_JOINTS, State
from openexpose.geometry.rotation import right_jacobian

Array = np.ndarray

_LONGEST_TURN = 0.6
"""Of a joint in one step, radians."""
_FIRST_DAMPING, _LEAST_DAMPING, _MOST_DAMPING = 1e-3, 1e-7, 1e7


@dataclass(frozen=True)
class Rule:
    """When a stage ends: after so many steps, or when the energy falls by less than this share in one."""

    steps: int = 30
    share: float = 1e-3


def levenberg_marquardt(energy: Energy, state: State, rule: Rule) -> tuple[State, Float[Array, "n"], Int[Array, "n"]]:
    """Steps that lower the energy until the rule ends them, for each person.

    Returns:
        The people, their energies, and how many steps each took.
    """
    values, damping = energy(state), np.full(len(state), _FIRST_DAMPING)
    steps, going = np.zeros(len(state), int), np.ones(len(state), bool)
    frozen = energy.frozen(state.layout)
    for _ in range(rule.steps):
        rows = np.flatnonzero(going)
        if not len(rows):
            break
        some, now = energy.of(rows), state[rows]
        matrix, right = some.equations(now)
        matrix[:, frozen], matrix[:, :, frozen] = 0.0, 0.0
        matrix[:, frozen, frozen] = 1.0
        diagonal = np.einsum("nii->ni", matrix)
        diagonal += damping[rows, None] * diagonal + 1e-9
        step = -np.linalg.solve(matrix, right[..., None])[..., 0]
        step[:, frozen] = 0.0
        there = now.moved(_shortened(step))
        found = some(there)
        better = found < values[rows]
        fell = (values[rows] - found) / np.maximum(values[rows], 1e-12)
        damping[rows] = np.clip(damping[rows] * np.where(better, 0.2, 10.0), _LEAST_DAMPING, _MOST_DAMPING)
        going[rows] = np.where(better, fell > rule.share, damping[rows] < _MOST_DAMPING)
        values[rows] = np.where(better, found, values[rows])
        steps[rows] += 1
        taken, place = np.zeros(len(state), bool), np.zeros(len(state), int)
        taken[rows], place[rows] = better, np.arange(len(rows))
        state = state.where(taken, there[place])
    return state, values, steps


def _shortened(step: Float[Array, "n u"]) -> Float[Array, "n u"]:
    """Steps in which no joint turns farther than :data:`_LONGEST_TURN`."""
    count = 3 * len(FREE_JOINTS)
    turns = step[:, :count].reshape(len(step), -1, 3)
    length = np.linalg.norm(turns, axis=-1, keepdims=True)
    short = turns * np.minimum(1.0, _LONGEST_TURN / np.maximum(length, 1e-12))
    return np.concatenate([short.reshape(len(step), count), step[:, count:]], 1)


def lbfgs(energy: Energy, state: State, rule: Rule) -> tuple[State, Float[Array, "n"], Int[Array, "n"]]:
    """The same by L-BFGS with a line search for the strong Wolfe conditions (scipy's), one person after the other."""
    from scipy.optimize import minimize  # not in every installation

    found, values, steps = [], [], []
    count = 3 * len(FREE_JOINTS)
    for k in range(len(state)):
        rows = np.array([k])
        some, begin = energy.of(rows), state[rows]
        free = np.setdiff1d(np.arange(state.layout.size), some.frozen(begin.layout))

        def value(x: Array, some: Energy = some, begin: State = begin, free: Array = free) -> tuple[float, Array]:
            step = np.zeros((1, begin.layout.size))
            step[0, free] = x
            there = begin.moved(step)
            slope = some.gradient(there)
            turned = right_jacobian(step[:, :count].reshape(-1, 3))
            slope[:, :count] = (np.swapaxes(turned, -1, -2) @ slope[:, :count].reshape(-1, 3, 1)).reshape(1, count)
            return float(some(there)[0]), slope[0, free]

        options = {"maxiter": rule.steps, "ftol": rule.share, "gtol": 1e-9, "maxcor": 20}
        result = minimize(value, np.zeros(len(free)), jac=True, method="L-BFGS-B", options=options)
        step = np.zeros((1, state.layout.size))
        step[0, free] = result.x
        found.append(begin.moved(step))
        values.append(float(result.fun))
        steps.append(int(result.nit))
    people = State(*(np.concatenate([getattr(one, name) for one in found]) for name in vars(state)))
    return people, np.array(values), np.array(steps)
