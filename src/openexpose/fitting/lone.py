"""Fits of lone hands and faces: what is free in them, where they begin, and the body model that turns about them."""

import time
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int

from openexpose.body.keypoints import INDEX, PARENTS
from openexpose.body.mesh import keypoints
from openexpose.body.model import BodyModel
from openexpose.errors import InputError
from openexpose.fitting.descent import lbfgs, levenberg_marquardt
from openexpose.fitting.energy import Energy, Penalty
from openexpose.fitting.fit import RULES, Fitted, Method
from openexpose.fitting.objective import STAGES, Aim, Weights
from openexpose.fitting.observed import Observed
from openexpose.fitting.penalties import Priors
from openexpose.fitting.state import State
from openexpose.formats.native import part_keypoints
from openexpose.geometry.camera import locate
from openexpose.geometry.rotation import matrix_to_rotvec, rotation_about_z, rotvec_to_matrix

Array = np.ndarray

SHARE = 0.1
"""A hand or face counts as if it were so large, of a person in the picture: the weights are those of whole bodies."""
CONTOUR_TRUST = 0.5
"""In the contour that a face's trunk tells: it is not quite the skin that annotators and body models mean."""
FEWEST = 4
"""Keypoints to begin a fit with."""
_STAGES = tuple(replace(stage, hand_joints=2.0, face_joints=2.0, collision=0.0) for stage in (STAGES[2], STAGES[4]))
_STEP_DEG = 30
_TRIED, _APART_RAD = 3, 0.8
"""From the mean pose so many orientations are tried, so different from each other."""
_CONTOUR = slice(INDEX["right_contour_1"], None)
_UPRIGHT = np.diag([1.0, -1.0, -1.0])


@dataclass(frozen=True)
class LonePart:
    """A hand or face that is fitted alone.

    Attributes:
        name: as in ``People.part``.
        root: the joint that slot 0 of the pose turns: a wrist, or the head.
        joints: slots of the pose that turn, 0 first.
    """

    name: str
    root: int
    joints: tuple[int, ...]

    @property
    def named(self) -> str:
        """As in ``People.part_confidence``: ``left_hand``, ``right_hand`` or ``face``."""
        return self.name.replace("-", "_")

    @property
    def keypoints(self) -> Int[Array, "k"]:
        """Those of the 144 that are its own."""
        return part_keypoints(self.name)


def less_contour(observed: Observed) -> Observed:
    """What a trunk saw, with less confidence in the face's contour."""
    points = observed.keypoints_px.copy()
    points[_CONTOUR, 2] *= CONTOUR_TRUST
    return replace(observed, keypoints_px=points)


LONE_PARTS: dict[str, LonePart] = {
    "face": LonePart("face", INDEX["head"], (0, INDEX["jaw"])),
    "left-hand": LonePart("left-hand", INDEX["left_wrist"], (0, *range(25, 40))),
    "right-hand": LonePart("right-hand", INDEX["right_wrist"], (0, *range(40, 55))),
}


def fit_lone(
    model: BodyModel, priors: Priors, aim: Aim, part: str, *, start: State | None = None, method: Method = "fast"
) -> Fitted:
    """Fit lone hands or faces to what was seen of them.

    Free are the part's orientation and place, its fingers or its jaw, shape and expression. All else is at rest.

    Args:
        model: the body model.
        priors: its poses'.
        aim: what was seen of the part, and of nothing else.
        part: ``face``, ``left-hand`` or ``right-hand``.
        start: a network's answer to begin with and to stay near to, as :class:`~openexpose.people.People` holds lone
            parts; None: the mean pose, in several orientations.
        method: ``fast``: Levenberg-Marquardt; ``full``: then L-BFGS, too.

    Raises:
        InputError: too little was seen.
    """
    begun, lone = time.perf_counter(), LONE_PARTS[part]
    turning, free, people = alone(model, part), np.array(lone.joints), np.arange(len(aim.focal_px))
    aim = replace(aim, size_px=aim.size_px / SHARE)
    if start is None:
        state, rows = _begin(turning, lone, _mean(turning, lone, priors)[0 * people], aim)
        stages = _STAGES
    else:
        aim, answer = replace(aim, answer=start.pose), _moved(model, lone, start, to_lone=True)
        state, rows = _begin(turning, lone, answer, aim)
        state, rows = _joined(answer, state), np.concatenate([people, rows])
        stages = _STAGES[-1:]

    def energy(stage: Weights, rows: Int[Array, "m"]) -> Energy:
        return Energy(turning, aim[rows], stage, _penalties(priors, lone, stage), free)

    steps = np.zeros(len(rows), int)
    for stage in stages:
        state, values, more = levenberg_marquardt(energy(stage, rows), state, RULES["fast"])
        steps = steps + more
    best = np.array([min(np.flatnonzero(rows == k), key=lambda place: values[place]) for k in people])
    state, values, total = state[best], values[best], np.array([steps[rows == k].sum() for k in people])
    if method == "full":
        state, values, more = lbfgs(energy(stages[-1], people), state, RULES["full"])
        total = total + more
    return Fitted(_moved(model, lone, state, to_lone=False), values, total, time.perf_counter() - begun)


@lru_cache(maxsize=8)
def alone(model: BodyModel, part: str) -> BodyModel:
    """The model with all joints but the part's own on its root, about which slot 0 of the pose then turns it."""
    root = LONE_PARTS[part].root
    own = np.arange(len(PARENTS)) == root
    for joint in range(1, len(PARENTS)):
        own[joint] |= own[PARENTS[joint]]

    def gathered(joints: Array) -> Array:
        return np.where(own.reshape(-1, *[1] * (joints.ndim - 1)), joints, joints[root])

    return replace(
        model,
        joint_template=gathered(model.joint_template),
        joint_shape_dirs=gathered(model.joint_shape_dirs),
        joint_expression_dirs=gathered(model.joint_expression_dirs),
    )


def _moved(model: BodyModel, part: LonePart, state: State, *, to_lone: bool) -> State:
    """The same place in the picture for :func:`alone`'s model, or back from it."""
    shape = np.concatenate([state.betas, state.expression], 1)
    directions = np.concatenate([model.joint_shape_dirs, model.joint_expression_dirs], -1)[[0, part.root]].astype(float)
    rest = model.joint_template[[0, part.root]] + np.einsum("jac,nc->nja", directions, shape)
    arm = rest[:, 1] - rest[:, 0]
    shift = (state.pose[:, 0] @ arm[..., None])[..., 0] - arm
    return replace(state, transl=state.transl + (shift if to_lone else -shift))


def _penalties(priors: Priors, part: LonePart, stage: Weights) -> tuple[tuple[float, Penalty], ...]:
    return () if part.name == "face" else (priors.hand(stage, left=part.name == "left-hand"),)


def _mean(model: BodyModel, part: LonePart, priors: Priors) -> State:
    """The part in its mean pose."""
    pose = np.tile(np.eye(3), (1, 55, 1, 1))
    if part.name != "face":
        pose[0, list(part.joints[1:])] = priors.mean_hand(left=part.name == "left-hand")
    return State(pose, np.zeros((1, model.num_betas)), np.zeros((1, model.num_expression)), np.zeros((1, 3)))


def _begin(model: BodyModel, part: LonePart, shaped: State, aim: Aim) -> tuple[State, Int[Array, "m"]]:
    """Parts in the orientations that agree best with what was seen, as far away as their size says.

    Args:
        model: of :func:`alone`.
        part: what they are.
        shaped: what they are like, one each, in any orientation and place.
        aim: what was seen.

    Returns:
        The starts, and whose each is.

    Raises:
        InputError: too little was seen of one.
    """
    pose = shaped.pose.copy()
    pose[:, 0] = np.eye(3)
    points = keypoints(model, pose, shaped.betas, shaped.expression).astype(float)
    turns, places, rows = [], [], []
    for k in range(len(shaped)):
        seen = np.flatnonzero(aim.keypoints_px[k, :, 2] > 0)
        if len(seen) < FEWEST:
            raise InputError(f"{len(seen)} keypoints of a {part.name}", f"at least {FEWEST} to begin a fit")
        target, arms = aim.keypoints_px[k, seen, :2], points[k, seen] - points[k, part.root]
        for turn in _orientations(arms, target, _views()):
            places.append(
                locate(arms @ turn.T + points[k, part.root], target, float(aim.focal_px[k]), aim.principal_px[k])
            )
            turns.append(turn)
            rows.append(k)
    state = shaped[np.array(rows)]
    pose = state.pose.copy()
    pose[:, 0] = turns
    return replace(state, pose=pose, transl=np.array(places)), np.array(rows)


def _joined(first: State, second: State) -> State:
    return State(*(np.concatenate(pair) for pair in zip(vars(first).values(), vars(second).values(), strict=True)))


def _views() -> Float[Array, "v 3 3"]:
    """Orientations towards all sides, upright."""
    turns = [
        rotvec_to_matrix(np.radians([pitch, 0.0, 0.0])) @ _UPRIGHT @ rotvec_to_matrix(np.radians([0.0, yaw, 0.0]))
        for pitch in range(-90, 91, _STEP_DEG)
        for yaw in range(0, 360, _STEP_DEG)
    ]
    return np.array(turns)


def _orientations(
    points: Float[Array, "k 3"], target_px: Float[Array, "k 2"], views: Float[Array, "v 3 3"]
) -> list[Float[Array, "3 3"]]:
    """Those of the views that, turned and scaled in the picture's plane, lie best on what was seen; the best first."""
    plane = np.einsum("vab,kb->vka", views, points)
    flat, seen = plane[..., 0] + 1j * plane[..., 1], target_px[:, 0] + 1j * target_px[:, 1]
    flat, seen = flat - flat.mean(1, keepdims=True), seen - seen.mean()
    factor = (flat.conj() * seen).sum(1) / np.maximum((abs(flat) ** 2).sum(1), 1e-12)
    error = (abs(seen - factor[:, None] * flat) ** 2).sum(1)
    chosen: list[Array] = []
    for place in np.argsort(error):
        turn = rotation_about_z(np.angle(factor[place])) @ views[place]
        if all(np.linalg.norm(matrix_to_rotvec(turn.T @ other)) > _APART_RAD for other in chosen):
            chosen.append(turn)
        if len(chosen) == _TRIED:
            break
    return chosen
