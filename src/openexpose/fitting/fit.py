"""The fit: from 2D keypoints to people, in stages (SMPLify-X, section 3.5)."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from openexpose.body.keypoints import INDEX
from openexpose.body.model import BodyModel
from openexpose.errors import InputError
from openexpose.fitting.descent import Rule, lbfgs, levenberg_marquardt
from openexpose.fitting.energy import Energy
from openexpose.fitting.objective import STAGES, Aim
from openexpose.fitting.observed import Observed
from openexpose.fitting.penalties import Priors
from openexpose.fitting.start import begin, turned_round
from openexpose.fitting.state import State

Array = np.ndarray
Method = Literal["fast", "full"]

_PELVIS = np.array([INDEX["pelvis"]])
_TRUNK = [INDEX[f"{side}_{name}"] for side in ("left", "right") for name in ("shoulder", "hip")]
FROM_ANSWER = 3
"""A fit that begins at a network's answer begins with this stage: earlier ones would pull it to the mean pose."""
RULES: dict[Method, Rule] = {"fast": Rule(30, 1e-3), "full": Rule(900, 1e-9)}
"""SMPLify-X: 30 times 30 steps of L-BFGS."""


@dataclass(frozen=True)
class Fitted:
    """Fitted people, and how the fit went."""

    state: State
    energy: Float[Array, "n"]
    """Of the last stage."""
    steps: Int[Array, "n"]
    """Of all stages, and of both ways of facing where both were tried."""
    seconds: float
    """For all."""
    after: tuple[State, ...] = ()
    """The people where the fit began, and after each stage."""


def aim_at(
    observed: Sequence[Observed], focal_px: Float[Array, "n"], principal_px: Float[Array, "n 2"] | None = None
) -> Aim:
    """What fits of people aim at; cameras' axes go through ``principal_px``, None: the middles of the pictures.

    Raises:
        InputError: all keypoints of somebody lie at one place, or there are none.
    """
    boxes = np.stack([one.box_xyxy_px for one in observed])
    for one, size_px in zip(observed, (boxes[:, 2:] - boxes[:, :2]).max(1), strict=True):
        if not size_px > 0.0:
            raise InputError(f"{one.name}: keypoints that all lie at one place", "a person of some size")
    middles = np.array([one.image_size for one in observed], float) / 2.0
    return Aim(
        keypoints_px=np.stack([one.keypoints_px for one in observed]),
        focal_px=np.asarray(focal_px, float),
        principal_px=middles if principal_px is None else np.asarray(principal_px, float),
        size_px=(boxes[:, 2:] - boxes[:, :2]).max(1),
    )


def fit(model: BodyModel, priors: Priors, aim: Aim, *, start: State | None = None, method: Method = "fast") -> Fitted:
    """Fit people to what was seen of them.

    Args:
        model: the body model.
        priors: its poses'.
        aim: what was seen.
        start: a network's answer to begin with and to stay near to; None: the mean pose, and of people who may face
            either way both.
        method: ``full``: L-BFGS until nothing changes, as SMPLify-X; ``fast``: Levenberg-Marquardt, all at once.

    Raises:
        InputError: too little was seen of somebody.
    """
    begun, rule = time.perf_counter(), RULES[method]
    descend = levenberg_marquardt if method == "fast" else lbfgs
    count, rows = len(aim.focal_px), np.arange(len(aim.focal_px))
    if start is None:
        state, unsure = begin(model, aim, priors.body_pose)
        both = np.flatnonzero(unsure)
        rows = np.concatenate([rows, both])
        round_ = turned_round(state[both])
        state = State(*(np.concatenate(pair) for pair in zip(vars(state).values(), vars(round_).values(), strict=True)))
        trunk = np.zeros(144)
        trunk[_TRUNK] = 1.0
        seen = aim.keypoints_px * np.concatenate([np.ones((144, 2)), trunk[:, None]], 1)
        hips = replace(STAGES[0], hips=1.0)
        energy = Energy(model, replace(aim, keypoints_px=seen)[rows], hips, (), _PELVIS, shape=False)
        after = [state]
        state, _, steps = descend(energy, state, rule)
        stages = STAGES
    else:
        state, steps, stages = start, np.zeros(count, int), STAGES[FROM_ANSWER:]
        aim, after = replace(aim, answer=start.pose, answer_betas=start.betas), []
    values = np.zeros(len(rows))
    after.append(state)
    for stage in stages:
        energy = Energy(model, aim[rows], stage, priors.penalties(stage))
        state, values, more = descend(energy, state, rule)
        steps = steps + more
        after.append(state)
    best = np.array([min(np.flatnonzero(rows == k), key=lambda place: values[place]) for k in range(count)])
    total = np.array([steps[rows == k].sum() for k in range(count)])
    trail = tuple(one[best] for one in after)
    return Fitted(state[best], values[best], total, time.perf_counter() - begun, trail)
