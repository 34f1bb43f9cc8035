"""Refinement: a few Gauss-Newton steps that lay the projected joints on the trunks' own landmarks.

A regressor's answer is loose in the picture; the landmarks that its own trunk saw are tighter. Unknowns are small
rotations of the body's joints about the camera's axes and the translation. Residuals are landmark distances in the
picture and the departure from the regressor's answer, which holds what the picture does not show. Hinges (knees,
elbows) give way about their axis only. Head and wrists whose absolute rotation a hand or face network has settled keep
it and only move along. Goes beyond the paper, whose conclusion proposes the network's answer as the start of a fit.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from openexpose.body.keypoints import INDEX, KEYPOINT_NAMES, PARENTS
from openexpose.body.mesh import posed_keypoints
from openexpose.body.model import NUM_JOINTS, BodyModel
from openexpose.geometry.rotation import cross_matrix, project_to_so3, rotvec_to_matrix
from openexpose.predict.merge import FullCamera, Located, absolute_rotation
from openexpose.predict.parts import PartParameters
from openexpose.predict.targets import Targets

Array = np.ndarray

ITERATIONS = 6
HELD_JOINTS = tuple(INDEX[name] for name in ("head", "left_wrist", "right_wrist"))
"""Joints whose absolute rotation a hand or face network may have settled."""

_SIGMA_DEPTH = 0.1
"""Freedom of the person's distance, as a share of it."""
_OUTLIER = 4.0
"""Residuals beyond this many standard deviations count less and less (Geman-McClure)."""
_LONGEST_TURN = 0.5
"""Limit of one joint's turn in one step, radians."""

_FREE = [
    INDEX[name]
    for name in (
        "pelvis left_hip right_hip spine1 left_knee right_knee spine2 left_ankle right_ankle spine3 neck left_collar "
        "right_collar head left_shoulder right_shoulder left_elbow right_elbow"
    ).split()
]
_TURNING = sorted({*_FREE, *HELD_JOINTS})
_STIFFNESS_RAD = {
    "pelvis": 0.25, "hip": 0.25, "knee": 0.25, "ankle": 0.12, "spine1": 0.12, "spine2": 0.08, "spine3": 0.08,
    "neck": 0.12, "head": 0.12, "collar": 0.08, "shoulder": 0.3, "elbow": 0.3,
}  # fmt: skip
"""Standard deviation of each joint's correction, radians."""
_HINGE_AXES = {"knee": np.array([1.0, 0.15, 0.15]), "elbow": np.array([0.3, 1.0, 0.3])}
"""Freedom of hinges about their local axes, as a share of the above."""


@dataclass(frozen=True)
class _Bodies:
    """The shapes of some people, and which of their :data:`HELD_JOINTS` keep their absolute rotation."""

    model: BodyModel
    betas: Float[Array, "p b"]
    expression: Float[Array, "p e"]
    held: Bool[Array, "p 3"]

    def posed(self, pose: Array, transl: Array) -> tuple[Array, Array]:
        """Absolute rotations [p, 55, 3, 3] and keypoints [p, 144, 3] in the camera's frame."""
        rotations, points = posed_keypoints(self.model, pose, self.betas, self.expression)
        return rotations.astype(float), points + transl[:, None]


def refine(
    model: BodyModel,
    placed: Located,
    shape: PartParameters,
    camera: FullCamera,
    targets: Targets,
    held: Bool[Array, "p 3"] | None = None,
) -> Located:
    """Pull people towards their targets.

    Args:
        placed: pose and translation in the full camera's frame.
        shape: gives betas and expression.
        targets: what was seen.
        held: which of :data:`HELD_JOINTS` keep their absolute rotation; people without any stay as they are, because
            nothing new was seen of them. None: none of them is held, and all people are refined.

    Returns:
        The refined people; joints that are neither free nor held keep their local rotations.
    """
    pose, transl = placed.pose.copy(), placed.transl.copy()
    holds = np.zeros((len(pose), len(HELD_JOINTS)), bool) if held is None else held
    rows = np.arange(len(pose)) if held is None else np.flatnonzero(held.any(1))
    if len(rows):
        bodies = _Bodies(model, shape.betas[rows], shape.expression[rows], holds[rows])
        pose[rows], transl[rows] = _refined(bodies, pose[rows], transl[rows], camera, targets[rows])
    return Located(pose, transl)


def _refined(
    bodies: _Bodies, pose: Float[Array, "p 55 3 3"], transl: Float[Array, "p 3"], camera: FullCamera, seen: Targets
) -> tuple[Float[Array, "p 55 3 3"], Float[Array, "p 3"]]:
    """The refined pose and translation of people, all at once: each has unknowns of their own."""
    moved, start = np.zeros((len(pose), len(_FREE), 3)), transl
    for _ in range(ITERATIONS):
        rotations, points = bodies.posed(pose, transl)
        joints, points = points[:, :NUM_JOINTS], points[:, seen.keypoints]
        moves = _moves(points, joints, seen.keypoints, bodies.held)
        blocks = (
            _image_rows(points, moves, camera, seen),
            _prior_rows(rotations, moved, transl, start),
        )
        error, slope = (np.concatenate(parts, 1) for parts in zip(*blocks, strict=True))
        across = np.swapaxes(slope, 1, 2)
        step = -np.linalg.solve(across @ slope + 1e-6 * np.eye(slope.shape[2]), across @ error[..., None])[..., 0]
        turns = step[:, :-3].reshape(moved.shape)
        length = np.linalg.norm(turns, axis=-1, keepdims=True)
        turns = turns * np.minimum(1.0, _LONGEST_TURN / np.maximum(length, 1e-9))
        pose, transl = _turned(pose, rotations, turns, bodies.held), transl + step[:, -3:]
        moved = moved + turns
    return pose, transl


def _moves(
    points: Float[Array, "p k 3"], joints: Float[Array, "p 55 3"], which: Array, held: Bool[Array, "p 3"]
) -> Float[Array, "p k 3 n"]:
    """Derivative of each point by all unknowns: the turns of the free joints that carry it, then the translation.

    Points beyond a held joint move as that joint does.
    """
    pivots, carried = points, np.broadcast_to(_CARRIES[which], (*points.shape[:2], len(_FREE)))
    for joint, stays in zip(HELD_JOINTS, held.T, strict=True):
        beyond = (stays[:, None] & _BEYOND[joint][which])[..., None]
        pivots = np.where(beyond, joints[:, joint, None], pivots)
        carried = np.where(beyond, _CARRIES[joint], carried)
    arms = pivots[:, :, None] - joints[:, None, _FREE]
    turning = cross_matrix(np.where(carried[..., None], -arms, 0.0))
    shift = np.broadcast_to(np.eye(3), (*points.shape, 3))
    return np.concatenate([np.swapaxes(turning, 2, 3).reshape(*points.shape, -1), shift], -1)


def _image_rows(points: Array, moves: Array, camera: FullCamera, seen: Targets) -> tuple[Array, Array]:
    """Projection minus target in standard deviations [p, 2k], and its derivative [p, 2k, n]."""
    depth = np.maximum(points[..., 2:], 0.1)
    plane = points[..., :2] / depth
    sigma = (seen.sigma * seen.size_px[:, None])[..., None]
    error = (camera.focal_px * plane + camera.principal_px - seen.points_px) / sigma
    robust = 1.0 / (1.0 + (error**2).sum(-1) / _OUTLIER**2)
    factor = (seen.weight * robust)[..., None]
    slope = moves[..., :2, :] - plane[..., None] * moves[..., 2:, :]
    slope *= (camera.focal_px * factor / (depth * sigma))[..., None]
    people = len(points)
    return (error * factor).reshape(people, -1), slope.reshape(people, -1, slope.shape[-1])


def _prior_rows(
    rotations: Float[Array, "p 55 3 3"], moved: Float[Array, "p j 3"], transl: Array, start: Array
) -> tuple[Array, Array]:
    """Departure from the regressor's answer in each joint's own axes and in distance, and its derivative."""
    people, joints, size = len(moved), np.arange(len(_FREE)), 3 * len(_FREE)
    local = np.swapaxes(rotations[:, _FREE], -1, -2) / _SPREAD_RAD[..., None]
    blocks = np.zeros((people, len(_FREE), 3, len(_FREE), 3))
    blocks[:, joints, :, joints] = np.swapaxes(local, 0, 1)
    slope = np.zeros((people, size + 1, size + 3))
    slope[:, :-1, :-3] = blocks.reshape(people, size, size)
    slope[:, -1, -1] = 1.0 / (_SIGMA_DEPTH * np.maximum(start[:, 2], 0.1))
    away = (transl[:, 2] - start[:, 2]) * slope[:, -1, -1]
    return np.concatenate([(local @ moved[..., None]).reshape(people, -1), away[:, None]], 1), slope


def _turned(pose: Array, rotations: Array, turns: Float[Array, "p j 3"], held: Bool[Array, "p 3"]) -> Array:
    """Apply turns about the camera's axes to the local rotations; held joints turn back."""
    pose = pose.astype(float)
    frames = rotations[:, PARENTS[_FREE]]
    frames[:, 0] = np.eye(3)
    pose[:, _FREE] = np.swapaxes(frames, -1, -2) @ rotvec_to_matrix(turns) @ frames @ pose[:, _FREE]
    for joint, stays in zip(HELD_JOINTS, held.T, strict=True):
        parent = absolute_rotation(pose[stays], int(PARENTS[joint]))
        pose[stays, joint] = np.swapaxes(parent, -1, -2) @ rotations[stays, joint]
    pose[:, _TURNING] = project_to_so3(pose[:, _TURNING])
    return pose


def _bearer(index: int) -> int:
    """The joint whose rotation moves a keypoint directly: the parent of a joint, the bone of a vertex."""
    if index < 55:
        return int(PARENTS[index])
    side, _, rest = KEYPOINT_NAMES[index].partition("_")
    bones = {"big_toe": "foot", "small_toe": "foot", "heel": "ankle"}
    bones |= {finger: f"{finger}3" for finger in ("thumb", "index", "middle", "ring", "pinky")}
    return INDEX[f"{side}_{bones[rest]}"] if side in ("left", "right") and rest in bones else INDEX["head"]


def _chain(index: int) -> list[int]:
    """All joints whose rotation moves a keypoint."""
    joint, chain = _bearer(index), []
    while joint >= 0:
        chain.append(joint)
        joint = int(PARENTS[joint])
    return chain


_CARRIES: Bool[Array, "144 j"] = np.array([[joint in _chain(k) for joint in _FREE] for k in range(144)])
"""Whether turning a free joint moves a keypoint."""
_BEYOND: dict[int, Bool[Array, "144"]] = {
    joint: np.array([joint in _chain(k) for k in range(144)]) for joint in HELD_JOINTS
}
"""Whether a keypoint lies beyond a joint that can be held."""
_SPREAD_RAD: Float[Array, "j 3"] = np.array(
    [
        _STIFFNESS_RAD[name] * _HINGE_AXES.get(name, np.ones(3))
        for name in (KEYPOINT_NAMES[joint].removeprefix("left_").removeprefix("right_") for joint in _FREE)
    ]
)
"""Standard deviation of each free joint's correction about its own axes, radians."""
