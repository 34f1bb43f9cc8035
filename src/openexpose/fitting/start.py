"""Where a fit without a network's answer begins: a body at rest, turned and placed by the trunk's keypoints."""

import numpy as np
from jaxtyping import Bool, Float

from openexpose.body.keypoints import INDEX, PARTS
from openexpose.body.mesh import keypoints
from openexpose.body.model import BodyModel
from openexpose.errors import InputError
from openexpose.fitting.objective import UNIT_PX, Aim
from openexpose.fitting.state import State
from openexpose.geometry.camera import locate
from openexpose.geometry.rotation import rotation_about_z

Array = np.ndarray

_SHOULDERS, _HIPS = ([INDEX[f"{side}_{name}"] for side in ("left", "right")] for name in ("shoulder", "hip"))
_PROFILE_PX = 60.0
"""Shoulders nearer than this, of a person of 1000 pixels, may be those of somebody turned either way."""
_FEWEST = 3
_BACK = np.diag([-1.0, 1.0, -1.0])


def begin(model: BodyModel, aim: Aim, body_pose: Float[Array, "21 3 3"]) -> tuple[State, Bool[Array, "n"]]:
    """People in a mean pose, upright along what was seen of their trunks, facing as their shoulders say, as far away as
    their size in the picture says (SMPLify-X, section 3.5).

    Args:
        aim: what was seen.
        body_pose: of all joints but pelvis, jaw, eyes and fingers.

    Returns:
        The people, and of whom it is not clear whether they look towards the camera or away.

    Raises:
        InputError: too little was seen of somebody's body.
    """
    count = len(aim.focal_px)
    pose = np.tile(np.eye(3), (count, 55, 1, 1))
    pose[:, 1:22] = body_pose
    pose[:, 22:] = np.eye(3)
    unsure = np.zeros(count, bool)
    for k in range(count):
        pose[k, 0], unsure[k] = _orientation(aim.keypoints_px[k], float(aim.size_px[k]))
    betas, expression = np.zeros((count, model.num_betas)), np.zeros((count, model.num_expression))
    points = keypoints(model, pose, betas, expression).astype(float)
    transl = np.zeros((count, 3))
    for k in range(count):
        seen = [i for i in PARTS["body"] if aim.keypoints_px[k, i, 2] > 0]
        if len(seen) < _FEWEST:
            got = f"{len(seen)} keypoints of a body"
            raise InputError(got, f"at least {_FEWEST} to begin a fit", "Fit a lone hand or face with --part.")
        target = aim.keypoints_px[k, seen, :2]
        transl[k] = locate(points[k, seen], target, float(aim.focal_px[k]), aim.principal_px[k])
    return State(pose, betas, expression, transl), unsure


def turned_round(state: State) -> State:
    """The people facing the other way, at the same place (SMPLify-X, section 3.5)."""
    pose = state.pose.copy()
    pose[:, 0] = pose[:, 0] @ _BACK
    return State(pose, state.betas, state.expression, state.transl)


def _orientation(seen: Float[Array, "144 3"], size_px: float) -> tuple[Float[Array, "3 3"], bool]:
    """Global orientation of an upright body along the trunk's direction in the picture, and whether its front is not
    clear."""
    upright = np.diag([1.0, -1.0, -1.0])
    if not (seen[_SHOULDERS, 2] > 0).all():
        return upright, True
    left, right = seen[_SHOULDERS, :2]
    roll = 0.0
    if (seen[_HIPS, 2] > 0).all():
        up = (left + right - seen[_HIPS, :2].sum(0)) / 2
        roll = float(np.arctan2(up[0], -up[1]))
    turn = rotation_about_z(np.array(roll))
    across = float((turn.T[:2, :2] @ (left - right))[0])
    facing = upright if across >= 0 else upright @ _BACK
    return turn @ facing, abs(across) < _PROFILE_PX * size_px / UNIT_PX
