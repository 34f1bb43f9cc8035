"""Rules that several data sets share: confidences, boxes, and the order of SMPL-X poses."""

import numpy as np
from jaxtyping import Bool, Float

from openexpose.body.keypoints import PARTS
from openexpose.errors import InputError
from openexpose.geometry.boxes import box_around
from openexpose.geometry.rotation import rotvec_to_matrix
from openexpose.people import POSE_SLICES

Array = np.ndarray

MIN_KEYPOINTS = 8
"""A hand or head with fewer labelled keypoints than this is taken as not labelled."""
BODY_SLOTS = np.arange(55) < POSE_SLICES["jaw_pose"].start
"""The global rotation and the 21 of the body."""
_BOX_MARGIN = 1.2
_SIDE_UNIT_PX = 200.0
_WRISTS = (20, 21)
_FINGERS = {side: np.setdiff1d(PARTS[side], _WRISTS) for side in ("left_hand", "right_hand")}


def binary_confidence(
    keypoints: Float[Array, "144 3"], *, body: float = 0.1, hand: float = 0.2, face: float = 0.4
) -> Float[Array, "144 3"]:
    """Detector confidences to 0 or 1: 1 from a threshold on, which differs by part (as in the training of ExPose).

    Hands with fewer than ``MIN_KEYPOINTS`` of their 21, and heads with fewer of their 77, lose those of the fingers
    and the face: a few stray points do not say what a hand or face does. Confidences that are NaN stay NaN.
    """
    keypoints = np.array(keypoints, np.float32)
    threshold = np.full(len(keypoints), body)
    for fingers in _FINGERS.values():
        threshold[fingers] = hand
    threshold[PARTS["face"]] = face
    confidence = keypoints[:, 2]
    keypoints[:, 2] = np.where(np.isfinite(confidence), confidence >= threshold, np.nan)
    for part, dropped in (*_FINGERS.items(), ("head", PARTS["face"])):
        if (keypoints[PARTS[part], 2] > 0).sum() < MIN_KEYPOINTS:
            keypoints[dropped, 2] *= 0.0
    return keypoints


def visible_slots(keypoints: Float[Array, "144 3"]) -> Bool[Array, "55"]:
    """Which rotations of a whole-body fit to believe: those of the body, of a hand if any of its fingers is labelled,
    and of the jaw if any of the face is; never the eyes, which such fits leave at rest."""
    valid = BODY_SLOTS.copy()
    for part, fingers in _FINGERS.items():
        valid[POSE_SLICES[f"{part}_pose"]] = (keypoints[fingers, 2] > 0).any()
    valid[POSE_SLICES["jaw_pose"]] = (keypoints[PARTS["face"], 2] > 0).any()
    return valid


def smplx_pose(rotvecs_rad: Float[Array, "n j 3"]) -> Float[Array, "n 55 3 3"]:
    """Rotation matrices in our order from axis-angle vectors in the order of fits: global, 21 body, jaw, the eyes if
    there are 55, left hand, right hand. Of 53 rotations the eyes' are the identity.

    Raises:
        InputError: neither 53 nor 55 rotations.
    """
    count, joints = rotvecs_rad.shape[:2]
    if joints not in (53, 55):
        raise InputError(f"poses of {joints} rotations", "53 or 55 rotations: global, 21 body, jaw, [eyes], hands")
    if joints == 53:
        eyes = np.zeros((count, 2, 3), rotvecs_rad.dtype)
        rotvecs_rad = np.concatenate([rotvecs_rad[:, :23], eyes, rotvecs_rad[:, 23:]], 1)
    return rotvec_to_matrix(rotvecs_rad.astype(np.float64)).astype(np.float32)


def labelled_box(keypoints: Float[Array, "144 3"], name: str) -> Float[Array, "4"]:
    """The tight box around the keypoints with confidence.

    Raises:
        InputError: fewer than two keypoints are labelled, or they are NaN.
    """
    labelled = keypoints[keypoints[:, 2] > 0, :2]
    if not np.isfinite(keypoints).all():
        raise InputError(f"{name}: keypoints that are NaN or infinite", "finite numbers")
    if len(labelled) < 2:
        raise InputError(f"{name}: {len(labelled)} keypoints with confidence", "at least two, for a box")
    return box_around(labelled)


def centre_box(centre_px: Float[Array, "2"], scale: float) -> Float[Array, "4"]:
    """The square box of data sets that store a centre and a scale: 200 * scale pixels are 1.2 times its side."""
    half = 0.5 * _SIDE_UNIT_PX * float(scale) / _BOX_MARGIN
    centre = np.asarray(centre_px, float)
    return np.concatenate([centre - half, centre + half])
