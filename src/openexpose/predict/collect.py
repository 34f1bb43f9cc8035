"""Gathering what the networks answered into the record of results."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float

from openexpose.body.keypoints import FLIP, INDEX, JOINT_FLIP, PARTS
from openexpose.body.mesh import keypoints
from openexpose.body.model import BodyModel
from openexpose.geometry.boxes import Crop
from openexpose.geometry.camera import fit_weak, project_perspective
from openexpose.people import People, zero_pose
from openexpose.predict.bundle import Seen
from openexpose.predict.landmarks import joint_visibility
from openexpose.predict.merge import FullCamera, Located
from openexpose.predict.parts import BODY, PartParameters, PartSpec

Array = np.ndarray

FINE_PARTS = ("left_hand", "right_hand", "face")


@dataclass(frozen=True)
class Answer:
    """A part network's answer: where it looked, what the trunk saw, and the decoded parameters."""

    spec: PartSpec
    crop: Crop
    seen: Seen
    parameters: PartParameters
    used: Bool[Array, "n"] = field(default_factory=lambda: np.zeros(0, bool))
    """Of a hand or face: whose answer is believed and merged."""


def nobody(camera: FullCamera, image_size: tuple[int, int], spec: PartSpec = BODY) -> People:
    """The record of a picture without people; ``spec`` tells the numbers of coefficients."""
    none = np.zeros(0)
    num_betas, num_expression = spec.model_size
    return People(
        pose=zero_pose(0),
        betas=np.zeros((0, num_betas), np.float32),
        expression=np.zeros((0, num_expression), np.float32),
        transl=np.zeros((0, 3)),
        score=none,
        bbox_xyxy=np.zeros((0, 4)),
        part_confidence=np.zeros((0, 4)),
        joint_confidence=np.zeros((0, 144)),
        crop_centre_px=np.zeros((0, 2)),
        crop_side_px=none,
        crop_camera=np.zeros((0, 3)),
        focal_px=camera.focal_px,
        principal_px=camera.principal_px,
        image_size=image_size,
    )


def collect(
    model: BodyModel,
    boxes: Float[Array, "p 4"],
    camera: FullCamera,
    image_size: tuple[int, int],
    answer: Answer,
    placed: Located,
    presences: dict[str, Array],
) -> People:
    """The record of a picture's people.

    Args:
        model: the body model.
        boxes: one a person, pixels.
        image_size: width and height, pixels.
        answer: of the body network, or of a lone hand or face network.
        placed: final pose and translation in the full camera's frame.
        presences: presence [p] of each hand and face that was looked at.
    """
    parameters, crop = answer.parameters, answer.crop
    joints = joint_confidence(answer, presences)
    return People(
        pose=placed.pose.astype(np.float32),
        betas=parameters.betas.astype(np.float32),
        expression=parameters.expression.astype(np.float32),
        transl=placed.transl,
        score=np.ones(len(boxes)),
        bbox_xyxy=boxes,
        part_confidence=_part_confidence(answer, joints, presences),
        joint_confidence=joints,
        crop_centre_px=crop.centre_px,
        crop_side_px=crop.side_px,
        crop_camera=_upright_camera(model, answer, placed, camera),
        focal_px=camera.focal_px,
        principal_px=camera.principal_px,
        image_size=image_size,
    )


def _upright_camera(model: BodyModel, answer: Answer, placed: Located, camera: FullCamera) -> Float[Array, "n 3"]:
    """The weak-perspective camera, of the upright crop, that agrees best with the pinhole projection of the result.

    Where the camera is a weak-perspective one, the network's own answer, counted from the root.
    """
    if camera.weak:
        own = answer.parameters.camera.copy()
        if answer.spec.from_origin:
            rest = keypoints(model, answer.parameters.pose, answer.parameters.betas, answer.parameters.expression)
            own[:, 1:] += rest[:, answer.spec.root_joint, :2]
        return own
    points = keypoints(model, placed.pose, answer.parameters.betas, answer.parameters.expression)
    points = points + placed.transl[:, None]
    upright = Crop(answer.crop.centre_px, answer.crop.side_px, np.zeros_like(answer.crop.side_px))
    root = int(JOINT_FLIP[answer.spec.root_joint]) if answer.crop.mirrored else answer.spec.root_joint
    fit = np.arange(22) if answer.spec.name == "body" else np.array(answer.spec.keypoints)
    chosen = points[:, FLIP[fit] if answer.crop.mirrored else fit]
    return weak_camera(chosen, points[:, root], upright, camera)


def weak_camera(
    points: Float[Array, "n k 3"], root: Float[Array, "n 3"], upright: Crop, camera: FullCamera
) -> Float[Array, "n 3"]:
    """The weak-perspective camera (s, tx, ty) that agrees best with the pinhole projection of points.

    Args:
        points: in the camera's frame, metres.
        root: from which xy counts, the same frame.
        upright: the crops it is told for, not turned.
        camera: of the whole picture.
    """
    projected = upright.from_image(project_perspective(points, camera.focal_px, camera.principal_px))
    return fit_weak((points - root[:, None]) @ camera.view(upright), projected)


def joint_confidence(answer: Answer, presences: dict[str, Array]) -> Float[Array, "n 144"]:
    """Confidence of the named joints: presence of the part times visibility of the pose landmark next to the joint.

    A lone hand or face gives confidence to its own joints only.
    """
    presence = answer.seen.presence.astype(float)[:, None]
    if answer.spec.name == "body":
        seen_joints = joint_visibility(answer.seen.visibility) if answer.seen.landmarks.shape[1] else np.ones((1, 144))
        confidence = presence * seen_joints
        for name, seen in presences.items():
            fine = PARTS[name] if name == "face" else PARTS[name][1:]
            confidence[:, fine] = np.minimum(confidence[:, fine], seen[:, None])
    else:
        confidence = np.zeros((len(presence), 144))
        for name in presences:
            confidence[:, PARTS["head" if name == "face" else name]] = presence
    return np.clip(confidence, 0.0, 1.0)


def _part_confidence(answer: Answer, joints: Float[Array, "n 144"], presences: dict[str, Array]) -> Float[Array, "n 4"]:
    """Confidence in body, left hand, right hand and face; without a closer look that of wrists and nose."""
    near = {"left_hand": "left_wrist", "right_hand": "right_wrist", "face": "nose"}
    body = answer.seen.presence.astype(float) if answer.spec.name == "body" else np.zeros(len(joints))
    fine = [presences.get(name, joints[:, INDEX[near[name]]]) for name in FINE_PARTS]
    return np.clip(np.stack([body, *fine], -1), 0.0, 1.0)
