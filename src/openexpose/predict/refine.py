"""Refinement: a few Gauss-Newton steps that lay the projected joints on the trunks' own landmarks.

A regressor's answer is loose in the picture; the landmarks that its own trunk saw are tighter. Unknowns are small
rotations of the body's joints about the camera's axes and the translation. Residuals are landmark distances in the
picture, bone directions against the trunk's world points, and the departure from the regressor's answer, which holds
what the picture does not show. Hinges (knees, elbows) give way about their axis only. Goes beyond the paper, whose
conclusion proposes the network as the start of a fit.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from openexpose.body.keypoints import INDEX, KEYPOINT_NAMES, PARENTS
from openexpose.body.mesh import joint_transforms, keypoints
from openexpose.body.model import BodyModel
from openexpose.geometry.rotation import cross_matrix, project_to_so3, rotvec_to_matrix
from openexpose.predict.merge import FullCamera, Located
from openexpose.predict.parts import PartParameters

Array = np.ndarray

ITERATIONS = 6
_SIGMA_2D = 0.012
"""Trust in a fully visible landmark: its standard deviation over the size of the body in the picture."""
_SIGMA_DIRECTION = 0.5
"""Trust in a world point's bone direction, radians."""
_SIGMA_DEPTH = 0.1
"""Freedom of the person's distance, as a share of it."""
_OUTLIER = 4.0
"""Residuals beyond this many standard deviations count less and less (Geman-McClure)."""

_FREE = tuple(INDEX[name] for name in (
    "pelvis left_hip right_hip spine1 left_knee right_knee spine2 left_ankle right_ankle spine3 neck left_collar "
    "right_collar head left_shoulder right_shoulder left_elbow right_elbow").split())  # fmt: skip
_STIFFNESS_RAD = {
    "pelvis": 0.25, "hip": 0.25, "knee": 0.25, "ankle": 0.12, "spine1": 0.12, "spine2": 0.08, "spine3": 0.08,
    "neck": 0.12, "head": 0.12, "collar": 0.08, "shoulder": 0.3, "elbow": 0.3,
}  # fmt: skip
"""Standard deviation of each joint's correction, radians."""
_HINGE_AXES = {"knee": np.array([1.0, 0.15, 0.15]), "elbow": np.array([0.3, 1.0, 0.3])}
"""Freedom of hinges along their local axes, as a share of the above."""


@dataclass(frozen=True)
class Targets:
    """What the joints of each person should agree with."""

    keypoints: Int[Array, "k"]
    """Which of the 144 keypoints the targets are for."""
    points_px: Float[Array, "p k 2"]
    """Where they were seen, pixels."""
    weight: Float[Array, "p k"]
    """Visibility 0..1."""
    edges: Int[Array, "e 2"]
    """Pairs of positions in ``keypoints`` whose 3D direction is known."""
    directions: Float[Array, "p e 3"]
    """Those directions in the full camera's frame, unit vectors."""
    edge_weight: Float[Array, "p e"]
    """Trust in them, 0..1."""


def refine(
    model: BodyModel, placed: Located, shape: PartParameters, camera: FullCamera, targets: Targets
) -> Located:
    """Pull people towards their targets.

    Args:
        placed: pose and translation in the full camera's frame.
        shape: gives betas and expression.
        targets: what was seen.

    Returns:
        The refined people; joints beyond the wrists keep their local rotations.
    """
    refined = [
        _refine_one(model, placed.pose[k], placed.transl[k], (shape.betas[k], shape.expression[k]), camera, targets, k)
        for k in range(len(placed.pose))
    ]
    if not refined:
        return placed
    return Located(np.stack([pose for pose, _ in refined]), np.stack([transl for _, transl in refined]))


def _refine_one(
    model: BodyModel, pose: Array, transl: Array, shape: tuple[Array, Array], camera: FullCamera, targets: Targets, k: int
) -> tuple[Array, Array]:
    moved = np.zeros((len(_FREE), 3))
    start, size = transl, _size_px(targets.points_px[k], targets.weight[k])
    for _ in range(ITERATIONS):
        rotations, joints, points = _posed(model, pose, shape, transl)
        moves = _moves(points[targets.keypoints], joints, targets.keypoints)
        residual, slope = _image_rows(points, moves, camera, targets, k, size)
        bend, bend_slope = _direction_rows(points, moves, targets, k)
        prior, prior_slope = _prior_rows(rotations, moved, transl, start)
        rows = np.concatenate([residual, bend, prior])
        slopes = np.concatenate([slope, bend_slope, prior_slope])
        step = -np.linalg.solve(slopes.T @ slopes + 1e-6 * np.eye(slopes.shape[1]), slopes.T @ rows)
        turns = step[:-3].reshape(-1, 3)
        turns *= np.minimum(1.0, 0.5 / np.maximum(np.linalg.norm(turns, axis=1, keepdims=True), 1e-9))
        pose, transl, moved = _turned(pose, rotations, turns), transl + step[-3:], moved + turns
    return pose.astype(np.float32), transl


def _size_px(points: Float[Array, "k 2"], weight: Float[Array, "k"]) -> float:
    """Extent of the well-seen targets."""
    seen = points[weight > 0.3 * weight.max(initial=0.0)] if weight.size else points
    return float(max(np.ptp(seen, axis=0).max(), 8.0)) if len(seen) else 8.0


def _posed(
    model: BodyModel, pose: Array, shape: tuple[Array, Array], transl: Array
) -> tuple[Float[Array, "55 3 3"], Float[Array, "55 3"], Float[Array, "144 3"]]:
    batch = pose[None], shape[0][None], shape[1][None]
    rotations, joints = joint_transforms(model, *batch)
    return rotations[0].astype(float), joints[0] + transl, keypoints(model, *batch)[0] + transl


def _moves(points: Float[Array, "k 3"], joints: Float[Array, "55 3"], which: Array) -> Float[Array, "k 3 n"]:
    """Derivative of each point by all unknowns: the turns of the free joints that carry it, then the translation."""
    arms = points[:, None] - joints[list(_FREE)][None]
    turning = -cross_matrix(arms) * _CARRIES[which][..., None, None]
    shift = np.broadcast_to(np.eye(3), (len(points), 3, 3))
    return np.concatenate([np.moveaxis(turning, 1, 2).reshape(len(points), 3, -1), shift], -1)


def _image_rows(
    points: Array, moves: Array, camera: FullCamera, targets: Targets, k: int, size: float
) -> tuple[Float[Array, "r"], Float[Array, "r n"]]:
    """Projection minus target in standard deviations, and its derivative."""
    chosen = points[targets.keypoints]
    depth = np.maximum(chosen[:, 2:], 0.1)
    plane = chosen[:, :2] / depth
    error = (camera.focal_px * plane + camera.principal_px - targets.points_px[k]) / (_SIGMA_2D * size)
    slope = camera.focal_px / (_SIGMA_2D * size) * (moves[:, :2] - plane[..., None] * moves[:, 2:]) / depth[..., None]
    robust = 1.0 / (1.0 + (error**2).sum(1) / _OUTLIER**2)
    factor = (targets.weight[k] * robust)[:, None]
    return (error * factor).ravel(), (slope * factor[..., None]).reshape(error.size, -1)


def _direction_rows(
    points: Array, moves: Array, targets: Targets, k: int
) -> tuple[Float[Array, "r"], Float[Array, "r n"]]:
    """Bone direction minus target direction, and its derivative."""
    a, b = targets.edges.T
    bone = points[targets.keypoints[b]] - points[targets.keypoints[a]]
    length = np.maximum(np.linalg.norm(bone, axis=1), 1e-4)[:, None]
    direction = bone / length
    across = (np.eye(3) - direction[:, :, None] * direction[:, None]) / length[..., None]
    factor = (targets.edge_weight[k] / _SIGMA_DIRECTION)[:, None]
    error = (direction - targets.directions[k]) * factor
    slope = across @ (moves[b] - moves[a]) * factor[..., None]
    return error.ravel(), slope.reshape(error.size, -1)


def _prior_rows(
    rotations: Array, moved: Float[Array, "j 3"], transl: Array, start: Array
) -> tuple[Float[Array, "r"], Float[Array, "r n"]]:
    """Departure from the regressor's answer, in each joint's own axes, and of the distance."""
    unknowns = moved.size + 3
    local = np.swapaxes(rotations[list(_FREE)], -1, -2) / _SPREAD_RAD[..., None]
    slope = np.zeros((moved.size + 1, unknowns))
    for joint in range(len(_FREE)):
        slope[3 * joint : 3 * joint + 3, 3 * joint : 3 * joint + 3] = local[joint]
    slope[-1, -1] = 1.0 / (_SIGMA_DEPTH * max(start[2], 0.1))
    departure = np.concatenate([(local @ moved[..., None]).ravel(), [(transl[2] - start[2]) * slope[-1, -1]]])
    return departure, slope


def _turned(pose: Array, rotations: Array, turns: Float[Array, "j 3"]) -> Float[Array, "55 3 3"]:
    """Apply turns about the camera's axes to local rotations."""
    pose = pose.astype(float)
    for joint, turn in zip(_FREE, rotvec_to_matrix(turns), strict=True):
        parent = PARENTS[joint]
        frame = rotations[parent] if parent >= 0 else np.eye(3)
        pose[joint] = frame.T @ turn @ frame @ pose[joint]
    return project_to_so3(pose)


def _carries() -> Bool[Array, "144 j"]:
    """Whether turning a free joint moves a keypoint."""
    table = np.zeros((len(KEYPOINT_NAMES), len(_FREE)), bool)
    for index, name in enumerate(KEYPOINT_NAMES):
        joint = int(PARENTS[index]) if index < 55 else _carrier(name)
        while joint >= 0:
            if joint in _FREE:
                table[index, _FREE.index(joint)] = True
            joint = int(PARENTS[joint])
    return table


def _carrier(name: str) -> int:
    """The joint whose bone carries a vertex keypoint."""
    side, _, rest = name.partition("_")
    if rest in ("big_toe", "small_toe"):
        return INDEX[f"{side}_foot"]
    if rest == "heel":
        return INDEX[f"{side}_ankle"]
    if rest in ("thumb", "index", "middle", "ring", "pinky"):
        return INDEX[f"{side}_{rest}3"]
    return INDEX["head"]


def _spread() -> Float[Array, "j 3"]:
    """Standard deviation of each free joint's correction along its own axes, radians."""
    rows = []
    for joint in _FREE:
        name = KEYPOINT_NAMES[joint].removeprefix("left_").removeprefix("right_")
        rows.append(_STIFFNESS_RAD[name] * _HINGE_AXES.get(name, np.ones(3)))
    return np.array(rows)


_CARRIES = _carries()
_SPREAD_RAD = _spread()
