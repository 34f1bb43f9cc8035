"""From part answers to one body: placing a part in the full camera, and the paper's merge (eq. 3-5)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from openexpose.body.keypoints import JOINT_FLIP, PARENTS
from openexpose.body.mesh import keypoints
from openexpose.body.model import BodyModel
from openexpose.geometry.boxes import Crop
from openexpose.geometry.camera import locate, project_weak, view_rotation
from openexpose.geometry.rotation import mirror_rotation
from openexpose.people import zero_pose
from openexpose.predict.parts import PartParameters, PartSpec

Array = np.ndarray


@dataclass(frozen=True)
class FullCamera:
    """The pinhole camera of the whole picture."""

    focal_px: float
    principal_px: Float[Array, "2"]


@dataclass(frozen=True)
class Located:
    """A part, or a body, in the full camera's frame."""

    pose: Float[Array, "n 55 3 3"]
    transl: Float[Array, "n 3"]


def locate_part(model: BodyModel, spec: PartSpec, answer: PartParameters, crop: Crop, camera: FullCamera) -> Located:
    """Turn a part's answer from its crop's frame to the full camera, and place it by its weak-perspective camera.

    The rotation in slot 0 becomes absolute in the full camera's frame. Answers from a mirrored crop are mirrored back:
    a right-hand answer becomes a left hand. The translation puts the part's root where the pinhole projection agrees
    best with the weak-perspective one.
    """
    points = keypoints(model, answer.pose, answer.betas, answer.expression)
    points = points - points[:, [spec.root_joint]]
    fit = [0, *range(1, 22)] if spec.name == "body" else list(spec.keypoints)
    targets = crop.to_image(project_weak(points[:, fit], answer.camera))
    pose = answer.pose
    if crop.mirrored:
        points = points * np.array([-1.0, 1.0, 1.0])
        pose = mirror_rotation(pose)[:, JOINT_FLIP]
    view = view_rotation(crop, camera.focal_px, camera.principal_px)
    pose = pose.copy()
    pose[:, 0] = view @ pose[:, 0]
    root = locate(points[:, fit] @ np.swapaxes(view, -1, -2), targets, camera.focal_px, camera.principal_px)
    joint = JOINT_FLIP[spec.root_joint] if crop.mirrored else spec.root_joint
    return Located(pose, root - keypoints(model, pose, answer.betas, answer.expression)[:, joint])


def absolute_rotation(pose: Float[Array, "n 55 3 3"], joint: int) -> Float[Array, "n 3 3"]:
    """Rotation of a joint in the camera's frame: the product of its chain from the pelvis."""
    rotation = pose[:, joint]
    while (joint := int(PARENTS[joint])) >= 0:
        rotation = pose[:, joint] @ rotation
    return rotation


def condition(
    spec: PartSpec, body: PartParameters, mean: PartParameters, crop: Crop, camera: FullCamera
) -> PartParameters:
    """Start of a hand or face network: the body's estimate of that part, seen from the part's crop (paper, eq. 3, 4).

    Root orientation, fingers or jaw, and expression come from the body; betas and camera from the part's mean.
    """
    joint = int(JOINT_FLIP[spec.root_joint]) if crop.mirrored else spec.root_joint
    view = view_rotation(crop, camera.focal_px, camera.principal_px)
    root = np.swapaxes(view, -1, -2) @ absolute_rotation(body.pose, joint)
    pose, source = zero_pose(len(root)), body.pose
    if crop.mirrored:
        root, source = mirror_rotation(root), mirror_rotation(source)[:, JOINT_FLIP]
    slots = list(spec.pose_slots[1:])
    pose[:, slots] = source[:, slots]
    pose[:, 0] = root
    rows = np.zeros(len(root), int)
    return PartParameters(pose, mean.betas[rows], body.expression, mean.camera[rows])


def merge_part(
    pose: Float[Array, "n 55 3 3"], spec: PartSpec, part: Located, mirrored: bool, use: Array
) -> Float[Array, "n 55 3 3"]:
    """Replace a part's joints in the body's pose where ``use`` [n] is true (paper, eq. 5).

    The absolute root rotation becomes relative: the transpose of the parent's absolute rotation times it.
    """
    joint = int(JOINT_FLIP[spec.root_joint]) if mirrored else spec.root_joint
    slots = JOINT_FLIP[list(spec.pose_slots[1:])] if mirrored else np.array(spec.pose_slots[1:])
    merged = pose.copy()
    parent = absolute_rotation(pose, int(PARENTS[joint]))
    merged[use, joint] = (np.swapaxes(parent, -1, -2) @ part.pose[:, 0])[use]
    merged[np.ix_(use, slots)] = part.pose[np.ix_(use, slots)]
    return merged
