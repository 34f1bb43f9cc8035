"""Names and index tables of the 144 SMPL-X keypoints, and the maps from other skeletons to them.

Order: 55 skeleton joints, 21 vertex picks (face, feet, finger tips), 51 inner face landmarks, 17 contour landmarks.
"""

import numpy as np

SIDES = ("left", "right")
_FINGERS = ("index", "middle", "pinky", "ring", "thumb")
_HAND = tuple(f"{finger}{k}" for finger in _FINGERS for k in (1, 2, 3))

BODY_JOINT_NAMES: tuple[str, ...] = tuple(
    "pelvis left_hip right_hip spine1 left_knee right_knee spine2 left_ankle right_ankle spine3 left_foot right_foot "
    "neck left_collar right_collar head left_shoulder right_shoulder left_elbow right_elbow left_wrist "
    "right_wrist".split()
)
JOINT_NAMES: tuple[str, ...] = (
    *BODY_JOINT_NAMES,
    *("jaw", "left_eye_smplx", "right_eye_smplx"),
    *(f"{side}_{name}" for side in SIDES for name in _HAND),
)
_PICKS = (
    "nose right_eye left_eye right_ear left_ear left_big_toe left_small_toe left_heel right_big_toe right_small_toe "
    "right_heel left_thumb left_index left_middle left_ring left_pinky right_thumb right_index right_middle right_ring "
    "right_pinky"
).split()
_FACE_51 = (
    "right_eye_brow1 right_eye_brow2 right_eye_brow3 right_eye_brow4 right_eye_brow5 left_eye_brow5 left_eye_brow4 "
    "left_eye_brow3 left_eye_brow2 left_eye_brow1 nose1 nose2 nose3 nose4 right_nose_2 right_nose_1 nose_middle "
    "left_nose_1 left_nose_2 right_eye1 right_eye2 right_eye3 right_eye4 right_eye5 right_eye6 left_eye4 left_eye3 "
    "left_eye2 left_eye1 left_eye6 left_eye5 right_mouth_1 right_mouth_2 right_mouth_3 mouth_top left_mouth_3 "
    "left_mouth_2 left_mouth_1 left_mouth_5 left_mouth_4 mouth_bottom right_mouth_4 right_mouth_5 right_lip_1 "
    "right_lip_2 lip_top left_lip_2 left_lip_1 left_lip_3 lip_bottom right_lip_3"
).split()
_CONTOUR_17 = (
    [f"right_contour_{k}" for k in range(1, 9)] + ["contour_middle"] + [f"left_contour_{k}" for k in range(8, 0, -1)]
)
KEYPOINT_NAMES: tuple[str, ...] = (*JOINT_NAMES, *_PICKS, *_FACE_51, *_CONTOUR_17)
INDEX: dict[str, int] = {name: k for k, name in enumerate(KEYPOINT_NAMES)}


def indices(*names: str) -> np.ndarray:
    """Positions of keypoints by name in the 144-list."""
    return np.array([INDEX[name] for name in names])


_FACE = np.arange(76, 144)
PARTS: dict[str, np.ndarray] = {
    "body": np.r_[0:25, 55:66],
    "left_hand": np.r_[20, 25:40, 66:71],
    "right_hand": np.r_[21, 40:55, 71:76],
    "face": _FACE,
    "head": np.r_[15, 22:25, 55:60, _FACE],
}
"""Index sets of the parts. ``left_hand``, ``right_hand`` and ``head`` are what the attention boxes are drawn around."""


def _other_side(name: str) -> str:
    side, _, rest = name.partition("_")
    return {"left": "right_", "right": "left_"}[side] + rest if side in SIDES else name


FLIP: np.ndarray = indices(*(_other_side(name) for name in KEYPOINT_NAMES))
"""Permutation that renames keypoints when the picture is mirrored."""
JOINT_FLIP: np.ndarray = FLIP[:55]

PARENTS: np.ndarray = np.array(
    [-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 15, 15, 15]
    + [20, 25, 26, 20, 28, 29, 20, 31, 32, 20, 34, 35, 20, 37, 38]
    + [21, 40, 41, 21, 43, 44, 21, 46, 47, 21, 49, 50, 21, 52, 53]
)
"""Parent of each of the 55 joints; the pelvis has -1."""

COCO17: np.ndarray = indices(
    *"nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow".split(),
    *"left_wrist right_wrist left_hip right_hip left_knee right_knee left_ankle right_ankle".split(),
)
BODY25: np.ndarray = indices(
    *"nose neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist pelvis".split(),
    *"right_hip right_knee right_ankle left_hip left_knee left_ankle right_eye left_eye right_ear left_ear".split(),
    *"left_big_toe left_small_toe left_heel right_big_toe right_small_toe right_heel".split(),
)
"""OpenPose's body: nose, neck, right arm, left arm, mid hip, right leg, left leg, eyes, ears, feet."""


def _hand21(side: str) -> np.ndarray:
    fingers = ("thumb", "index", "middle", "ring", "pinky")
    return indices(f"{side}_wrist", *(f"{side}_{f}{k}" for f in fingers for k in ("1", "2", "3", "")))


LEFT_HAND21: np.ndarray = _hand21("left")
RIGHT_HAND21: np.ndarray = _hand21("right")
"""The 21 hand keypoints in OpenPose/FreiHAND order: wrist, then thumb, index, middle, ring, pinky, 4 points each."""
IBUG68: np.ndarray = np.r_[127:144, 76:127]
"""The 68 face landmarks in iBUG order: 17 contour points first, then the inner 51."""
