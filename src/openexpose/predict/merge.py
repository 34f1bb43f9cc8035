"""From part answers to one body: placing a part in the full camera, and the paper's merge (eq. 3-5)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from openexpose.body.keypoints import JOINT_FLIP, PARENTS
from openexpose.body.mesh import keypoints
from openexpose.body.model import BodyModel
from openexpose.geometry.boxes import Crop
from openexpose.geometry.camera import locate, project_weak, view_rotation
from openexpose.geometry.rotation import matrix_to_sixd, mirror_rotation
from openexpose.people import zero_pose
from openexpose.predict.parts import BODY, PartParameters, PartSpec

Array = np.ndarray


@dataclass(frozen=True)
class FullCamera:
    """The pinhole camera of the whole picture."""

    focal_px: float
    principal_px: Float[Array, "2"]
    weak: bool = False
    """Orientations are those of the crops, whatever ray the crops lie on (the paper's weak-perspective camera)."""

    def view(self, crop: Crop) -> Float[Array, "n 3 3"]:
        """Rotation from the frame in which a crop's orientations are told to this camera's frame."""
        return view_rotation(crop, np.inf if self.weak else self.focal_px, self.principal_px)


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
    fit = [0, *range(1, 22)] if spec.name == "body" else list(spec.keypoints)
    targets = crop.to_image(project_weak(spec.from_root(points)[:, fit], answer.camera))
    points = points - points[:, [spec.root_joint]]
    if crop.mirrored:
        points = points * np.array([-1.0, 1.0, 1.0])
    pose = turn_part(answer, crop, camera)
    turned = points[:, fit] @ np.swapaxes(camera.view(crop), -1, -2)
    root = locate(turned, targets, camera.focal_px, camera.principal_px)
    joint = JOINT_FLIP[spec.root_joint] if crop.mirrored else spec.root_joint
    return Located(pose, root - keypoints(model, pose, answer.betas, answer.expression)[:, joint])


def turn_part(answer: PartParameters, crop: Crop, camera: FullCamera) -> Float[Array, "n 55 3 3"]:
    """The pose of a part's answer, its root turned to the full camera's frame; mirrored back from a mirrored crop."""
    pose = mirror_rotation(answer.pose)[:, JOINT_FLIP] if crop.mirrored else answer.pose.copy()
    pose[:, 0] = camera.view(crop) @ pose[:, 0]
    return pose


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
    rows, slots = np.zeros(len(body.pose), int), list(spec.pose_slots[1:])
    root = np.swapaxes(camera.view(crop), -1, -2) @ absolute_rotation(body.pose, joint)
    pose, source = zero_pose(len(root)), body.pose
    if crop.mirrored:
        root, source = mirror_rotation(root), mirror_rotation(source)[:, JOINT_FLIP]
    pose[:, slots] = source[:, slots]
    pose[:, 0] = root if spec.merges_root else mean.pose[rows, 0]
    sixd = None
    if body.sixd is not None and not crop.mirrored:
        fine = body.sixd[:, [BODY.pose_slots.index(slot) for slot in slots]]
        sixd = np.concatenate([matrix_to_sixd(pose[:, :1]), fine], 1)
    expression = np.zeros((len(root), spec.num_expression or spec.rest_expression), body.expression.dtype)
    known = min(expression.shape[1], body.expression.shape[1])
    expression[:, :known] = body.expression[:, :known]
    return PartParameters(pose, mean.betas[rows], expression, mean.camera[rows], sixd)


def merge_part(
    pose: Float[Array, "n 55 3 3"], spec: PartSpec, part: Float[Array, "n 55 3 3"], mirrored: bool, use: Array
) -> Float[Array, "n 55 3 3"]:
    """Replace a part's joints in the body's pose where ``use`` [n] is true (paper, eq. 5).

    ``part`` is the part's pose in the same camera's frame (:func:`turn_part`), its root in slot 0. The absolute
    root rotation becomes relative: the transpose of the parent's absolute rotation times it.
    """
    joint = int(JOINT_FLIP[spec.root_joint]) if mirrored else spec.root_joint
    slots = JOINT_FLIP[list(spec.pose_slots[1:])] if mirrored else np.array(spec.pose_slots[1:])
    merged = pose.copy()
    if spec.merges_root:
        parent = absolute_rotation(pose, int(PARENTS[joint]))
        merged[use, joint] = (np.swapaxes(parent, -1, -2) @ part[:, 0])[use]
    merged[np.ix_(use, slots)] = part[np.ix_(use, slots)]
    return merged
