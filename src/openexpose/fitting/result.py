"""From fits to the record of results, and from a network's answer to the start of a fit."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from openexpose.body.mesh import keypoints
from openexpose.body.model import BodyModel
from openexpose.fitting.lone import LONE_PARTS
from openexpose.fitting.observed import Observed
from openexpose.fitting.state import State
from openexpose.geometry.boxes import Crop, crop_from_boxes
from openexpose.geometry.camera import fit_weak, project_perspective, view_rotation
from openexpose.people import PART_NAMES, People
from openexpose.predict.landmarks import ATTENTION_SCALE

Array = np.ndarray

_CROP_SCALE = 1.2
_BODY = np.arange(22)
_NAMED = ("freebody", "smpl", "smplh", "mano", "flame")


def start_of(people: People) -> State:
    """A network's answer as the start of a fit."""
    return State(*(np.asarray(a, float) for a in (people.pose, people.betas, people.expression, people.transl)))


def people_of(
    model: BodyModel,
    state: State,
    observed: Sequence[Observed],
    focal_px: float,
    *,
    principal_px: Float[Array, "2"] | None = None,
    part: str = "whole",
) -> People:
    """The record of the fitted people of one picture, or of its lone hands or faces.

    Boxes are tight around what was seen; confidences are those of the keypoints, of parts the means of theirs.

    Args:
        model: the body model of the fit.
        state: the people.
        observed: what each was fitted to.
        focal_px: of the picture's camera.
        principal_px: where its axis goes through the picture; None: the middle.
        part: as in ``People.part``.
    """
    width, height = observed[0].image_size
    principal = np.array([width, height]) / 2.0 if principal_px is None else np.asarray(principal_px, float)
    boxes = np.stack([one.box_xyxy_px for one in observed])
    confidence = np.stack([one.keypoints_px[:, 2] for one in observed])
    lone = LONE_PARTS.get(part)
    scale = _CROP_SCALE if lone is None else ATTENTION_SCALE["face" if part == "face" else "hand"]
    crop = crop_from_boxes(boxes, scale)
    points = keypoints(model, state.pose, state.betas, state.expression) + state.transl[:, None]
    seen = _BODY if lone is None else lone.keypoints[confidence[:, lone.keypoints].any(0)]
    chosen = points[:, seen]
    root = points[:, [0 if lone is None else lone.root]]
    projected = Crop(crop.centre_px, crop.side_px, crop.angle_rad).from_image(
        project_perspective(chosen, focal_px, principal)
    )
    parts = np.array([[one.confidence(name) for name in PART_NAMES] for one in observed])
    if lone is not None:
        parts *= [name == lone.named for name in PART_NAMES]  # the wrist is a keypoint of the body, too
    view = view_rotation(crop, focal_px, principal)
    return People(
        pose=state.pose.astype(np.float32),
        betas=state.betas.astype(np.float32),
        expression=state.expression.astype(np.float32),
        transl=state.transl,
        score=np.ones(len(state)),
        bbox_xyxy=boxes,
        part_confidence=parts,
        joint_confidence=confidence,
        crop_centre_px=crop.centre_px,
        crop_side_px=crop.side_px,
        crop_camera=fit_weak((chosen - root) @ view, projected),
        focal_px=focal_px,
        principal_px=principal,
        image_size=(width, height),
        body_model=model.name if model.name in _NAMED else "smplx",
        part=part,
    )
