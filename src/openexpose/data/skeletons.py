"""Index tables from the keypoint lists of data sets to the 144 keypoints of SMPL-X, and the one conversion.

A table holds, for every keypoint of the source list, its index among the 144, or -1 where there is no counterpart.
Lists of body, hands and face name the wrists twice: put the body's table first, because the first occurrence wins.
"""

import numpy as np
from jaxtyping import Float, Int

from openexpose.body.keypoints import BODY25, COCO17, IBUG68, KEYPOINT_NAMES, LEFT_HAND21, RIGHT_HAND21, indices
from openexpose.errors import InputError

__all__ = [
    "BODY25",
    "COCO17",
    "FFHQ73",
    "FREIHAND21",
    "H36M17",
    "IBUG68",
    "LSP14",
    "MPII16",
    "OPENPOSE_LEFT_HAND",
    "OPENPOSE_RIGHT_HAND",
    "SPIN24",
    "THREEDPW18",
    "to_keypoints",
]

Array = np.ndarray

_RIGHT_LEG, _LEFT_LEG = (
    indices("right_ankle", "right_knee", "right_hip"),
    indices("left_hip", "left_knee", "left_ankle"),
)
_RIGHT_ARM = indices("right_wrist", "right_elbow", "right_shoulder")
_LEFT_ARM = indices("left_shoulder", "left_elbow", "left_wrist")
_EYES_EARS = indices("right_eye", "left_eye", "right_ear", "left_ear")

OPENPOSE_LEFT_HAND: Int[Array, "21"] = LEFT_HAND21
OPENPOSE_RIGHT_HAND: Int[Array, "21"] = RIGHT_HAND21
FREIHAND21: Int[Array, "21"] = RIGHT_HAND21
"""Wrist, then thumb, index, middle, ring, pinky from the palm to the tip; FreiHAND shows right hands only."""
LSP14: Int[Array, "14"] = np.r_[_RIGHT_LEG, _LEFT_LEG, _RIGHT_ARM, _LEFT_ARM, indices("neck"), -1]
"""Right leg from the ankle, left leg from the hip, right arm from the wrist, left arm from the shoulder, neck, top of
the head (no counterpart). Evaluation's 14 joints have this order, too."""
SPIN24: Int[Array, "24"] = np.r_[
    LSP14,
    indices("pelvis"),
    *(-1, -1, -1, -1),  # thorax, spine, jaw and head of Human3.6M
    indices("nose", "left_eye", "right_eye", "left_ear", "right_ear"),
]
"""The 14 of LSP, pelvis, four joints without counterpart, nose, left and right eye, left and right ear."""
MPII16: Int[Array, "16"] = np.r_[_RIGHT_LEG, _LEFT_LEG, indices("pelvis"), -1, -1, -1, _RIGHT_ARM, _LEFT_ARM]
"""Legs and arms as LSP's; between them pelvis, and thorax, upper neck, top of the head without counterpart."""
THREEDPW18: Int[Array, "18"] = np.r_[
    indices("nose", "neck"), _RIGHT_ARM[::-1], _LEFT_ARM, _RIGHT_LEG[::-1], _LEFT_LEG, _EYES_EARS
]
"""3DPW's poses2d (OpenPose's old body of 18)."""
H36M17: Int[Array, "17"] = np.r_[
    indices("pelvis"),
    _LEFT_LEG,
    _RIGHT_LEG[::-1],
    -1,
    indices("neck"),
    -1,
    indices("head"),
    _LEFT_ARM,
    _RIGHT_ARM[::-1],
]
"""Human3.6M's 17, left first: pelvis, left leg, right leg, spine, neck, neck/nose, head, left arm, right arm."""
FFHQ73: Int[Array, "73"] = np.r_[-1, indices("neck", "jaw", "left_eye", "right_eye"), 76:144]
"""FLAME's five joints (the first without counterpart; the eyeballs count as the eye keypoints, as in the paper's
training), then 51 inner face landmarks and 17 of the contour in SMPL-X's order."""


def to_keypoints(points: Float[Array, "k c"], table: Int[Array, "k"]) -> Float[Array, "144 c"]:
    """Sort the keypoints of a data set into the list of 144.

    Args:
        points: one row a keypoint; the last column is confidence or validity (x, y, confidence or x, y, z, validity).
        table: index among the 144 of each row, -1 for none. Where a target occurs twice, the first row counts.

    Returns:
        one row for each of the 144; zeros, thus confidence 0, where the data set has no such keypoint.

    Raises:
        InputError: not one row for each entry of the table.
    """
    points = np.asarray(points, np.float32)
    if points.ndim != 2 or len(points) != len(table):
        raise InputError(f"keypoints of shape {points.shape}", f"{len(table)} rows")
    found = np.zeros((len(KEYPOINT_NAMES), points.shape[1]), np.float32)
    known = np.flatnonzero(table >= 0)[::-1]  # backwards: the first occurrence is written last
    found[table[known]] = points[known]
    return found
