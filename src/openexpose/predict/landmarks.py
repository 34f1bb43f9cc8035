"""The trunks' own landmarks: what they correspond to on the body, and the crops that the trunks like best."""

import numpy as np
from jaxtyping import Bool, Float

from openexpose.body.keypoints import COCO17, FLIP, IBUG68, KEYPOINT_NAMES, PARTS, RIGHT_HAND21, indices
from openexpose.body.mediapipe import FACE_MESH_68, POSE
from openexpose.geometry.boxes import Crop, box_around

Array = np.ndarray

_POSE_EDGES = (
    *((7, 9), (9, 11), (8, 10), (10, 12), (19, 21), (21, 23), (20, 22), (22, 24), (25, 27), (26, 28), (7, 8), (19, 20)),
    *((19, 7), (20, 8), (3, 4), (4, 0), (3, 0), (11, 15), (11, 13), (12, 16), (12, 14), (0, 5), (0, 6), (1, 2)),
)  # fmt: skip
_HAND_EDGES = (
    *((4 * finger + k, 4 * finger + k + 1) for finger in range(5) for k in (1, 2, 3)),
    *((0, 1), (0, 5), (0, 9), (0, 13), (0, 17), (5, 17)),
)
_FACE_EDGES = (
    (36, 45),
    (27, 30),
    (33, 51),
    (8, 57),
    (0, 16),
    (36, 48),
    (45, 54),
    (31, 35),
    (19, 37),
    (24, 44),
    (27, 8),
)

CORRESPONDENCES: dict[str, tuple[list[int], list[int]]] = {
    "body": (list(POSE), indices(*POSE.values()).tolist()),
    "hand": (list(range(21)), RIGHT_HAND21.tolist()),
    "face": (list(FACE_MESH_68), IBUG68.tolist()),
}
"""Trunk landmark indices and the keypoints (of the 144) that mean the same place, up to a constant offset."""
EDGES: dict[str, tuple[tuple[int, int], ...]] = {"body": _POSE_EDGES, "hand": _HAND_EDGES, "face": _FACE_EDGES}
"""Pairs of positions in the correspondence list between which 3D directions are compared."""


_SKELETONS = {"body": COCO17, "hand": RIGHT_HAND21, "face": IBUG68}


def skeleton_points(
    network: str, landmarks_px: Float[Array, "l 2"], visibility: Float[Array, "l"]
) -> Float[Array, "n 3"]:
    """What a trunk saw, in the order that annotators use: COCO-17, iBUG-68, or a hand's 21 points.

    Args:
        network: ``body``, ``face`` or ``hand`` (either side).
        landmarks_px: all landmarks of its trunk in the picture, pixels.
        visibility: of each.

    Returns:
        Rows x, y, visibility; x and y are NaN and the visibility is 0 where the trunk has no such point.
    """
    landmark, keypoint = CORRESPONDENCES[network]
    rows = np.tile([np.nan, np.nan, 0.0], (len(KEYPOINT_NAMES), 1))
    rows[keypoint] = np.c_[landmarks_px[landmark], visibility[landmark]]
    return rows[_SKELETONS[network]]


def named_points(
    part: str, landmarks_px: Float[Array, "*batch l 2"], confidence: Float[Array, "*batch l"]
) -> Float[Array, "*batch 144 3"]:
    """A trunk's landmarks as named keypoints.

    Args:
        part: ``body``, ``left_hand``, ``right_hand`` or ``face``.
        landmarks_px: the landmarks of its trunk, or the first of them, in the picture, pixels.
        confidence: of each, 0..1.

    Returns:
        Rows x, y, confidence; zeros where the trunk has no such point.
    """
    landmark, keypoint = (np.array(column) for column in CORRESPONDENCES["hand" if part.endswith("hand") else part])
    if part == "left_hand":
        keypoint = FLIP[keypoint]
    rows = np.zeros((*landmarks_px.shape[:-2], len(KEYPOINT_NAMES), 3))
    rows[..., keypoint, :2] = landmarks_px[..., landmark, :]
    rows[..., keypoint, 2] = confidence[..., landmark]
    return rows


DOUBTFUL_WRIST = 0.1
"""Confidence below which the body's wrist gives way to the hand's; below it the paper counts no body keypoint."""


def lay_over(
    body: Float[Array, "*batch 144 3"], fine: dict[str, Float[Array, "*batch 144 3"]]
) -> Float[Array, "*batch 144 3"]:
    """The keypoints of a body, with those of hands and face in place of what the pose trunk tells of them.

    Args:
        body: rows x, y, confidence.
        fine: the same of ``left_hand``, ``right_hand`` and ``face``, all zero of those that were not seen. Wrists stay
            the body's, unless it is hardly sure of them.
    """
    laid = body.copy()
    for name, points in fine.items():
        own = PARTS[name] if name == "face" else PARTS[name][1:]
        seen = points[..., own, 2:].max(-2, keepdims=True) > 0
        laid[..., own, :] = np.where(seen, points[..., own, :], laid[..., own, :])
        if name != "face":
            wrist = PARTS[name][:1]
            sure, better = laid[..., wrist, 2:] >= DOUBTFUL_WRIST, points[..., wrist, 2:] > laid[..., wrist, 2:]
            laid[..., wrist, :] = np.where(~sure & better, points[..., wrist, :], laid[..., wrist, :])
    return laid


def upright(from_points: Array, to_points: Array) -> Array:
    """Angle [n] of the crop in which the direction between two image points [n, 2] points up."""
    direction = to_points - from_points
    return np.arctan2(direction[:, 0], -direction[:, 1])


def pose_trunk_crop(landmarks_px: Float[Array, "n 39 2"]) -> Crop:
    """The crop the pose trunk was trained on: centred on its mid-hip point (33), 1.25 times the circle through its
    full-body point (34), turned so that the way from one to the other points up."""
    centre, rim = landmarks_px[:, 33], landmarks_px[:, 34]
    return Crop(centre, 2.5 * np.linalg.norm(rim - centre, axis=-1), upright(centre, rim))


def hand_trunk_crop(landmarks_px: Float[Array, "n 21 2"], mirrored: bool) -> Crop:
    """The crop the hand trunk was trained on: fingers up (wrist to the middle of the knuckles), twice the extent of
    palm and knuckles, moved a tenth of it towards the fingers."""
    knuckles = 0.25 * landmarks_px[:, 5] + 0.5 * landmarks_px[:, 9] + 0.25 * landmarks_px[:, 13]
    stable = landmarks_px[:, [0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18]]
    return turned_crop(stable, upright(landmarks_px[:, 0], knuckles), 2.0, -0.1, mirrored)


def face_trunk_crop(landmarks_px: Float[Array, "n 478 2"]) -> Crop:
    """The crop the face trunk was trained on: eyes level, 1.5 times the extent of the face mesh."""
    right_eye, left_eye = landmarks_px[:, 33], landmarks_px[:, 263]
    direction = left_eye - right_eye
    return turned_crop(landmarks_px[:, :468], np.arctan2(direction[:, 1], direction[:, 0]), 1.5, 0.0, False)


TRUNK_CROPS = {
    "body": lambda lm, _: pose_trunk_crop(lm),
    "hand": hand_trunk_crop,
    "face": lambda lm, _: face_trunk_crop(lm),
}


def attention_crop(
    projected_px: Float[Array, "n 144 2"],
    part: str,
    scale: float,
    turn: bool,
    angle_rad: Float[Array, "n"] | None = None,
) -> Crop:
    """The crop of body-driven attention: around a part's projected joints, ``scale`` times their extent (paper, 3.2).

    Args:
        projected_px: the body's 144 keypoints in the picture.
        part: ``left_hand`` (its crop is mirrored), ``right_hand`` or ``face``.
        scale: side over the longer side of the box of the part's joints.
        turn: turn the crop so that fingers or forehead point up; the box is then drawn in the turned frame.
        angle_rad: otherwise it is turned so (by default upright).
    """
    first, second = UP[part]
    angle = np.zeros(len(projected_px)) if angle_rad is None else angle_rad
    if turn:
        angle = upright(projected_px[:, first], projected_px[:, second])
    points = projected_px[:, PARTS["head" if part == "face" else part]]
    return turned_crop(points, angle, scale, 0.0, part == "left_hand")


ATTENTION_SCALE = {"hand": 2.0, "face": 2.0}
"""Side of the attention crops over the extent of the part's joints. The paper takes 3.0 for hands; the default hand
trunk sees many more hands at 2.0 (docs/results.md)."""
ANCHORS = {"left_hand": (0, "left_wrist"), "right_hand": (0, "right_wrist"), "face": (1, "nose4")}
"""A landmark of each part's trunk and the keypoint that is the same place: is the part where the body has it?"""
UP = {
    "left_hand": indices("left_wrist", "left_middle1"),
    "right_hand": indices("right_wrist", "right_middle1"),
    "face": indices("contour_middle", "nose1"),
}
"""Keypoints from the first of which to the second is "up" for a part's trunk."""


def turned_crop(points_px: Array, angle_rad: Array, scale: float, shift_y: float, mirrored: bool) -> Crop:
    """Square around points in a frame turned by ``angle_rad``; its centre moves by ``shift_y`` of their height."""
    c, s = np.cos(angle_rad), np.sin(angle_rad)
    turn = np.stack([c, -s, s, c], -1).reshape(-1, 2, 2)
    box = box_around(points_px @ turn)
    extent = box[:, 2:] - box[:, :2]
    centre = (box[:, :2] + box[:, 2:]) / 2.0
    centre[:, 1] += shift_y * extent[:, 1]
    return Crop((turn @ centre[..., None])[..., 0], scale * extent.max(-1), angle_rad, mirrored)


def cut_off(boxes_xyxy_px: Float[Array, "n 4"], width: int, height: int) -> Bool[Array, "n"]:
    """Whether boxes touch the border of the picture (within 1.5 % of its size): part of the person may lie outside."""
    margin = 0.015 * np.array([width, height])
    far = np.array([width, height]) - margin
    beyond = np.concatenate([boxes_xyxy_px[:, :2] < margin, boxes_xyxy_px[:, 2:] > far], 1)
    return np.asarray(beyond.any(1))


def overlap(
    landmarks_px: Float[Array, "n 39 2"], visibility: Float[Array, "n 39"], boxes: Float[Array, "n 4"]
) -> Float[Array, "n"]:
    """Overlap (IoU) of people's boxes with the boxes around the landmarks that are seen; 0 with fewer than four."""
    points, visible = landmarks_px[:, :33], visibility[:, :33] > 0.5
    low = np.where(visible[..., None], points, np.inf).min(1)
    high = np.where(visible[..., None], points, -np.inf).max(1)
    inter = np.clip(np.minimum(high, boxes[:, 2:]) - np.maximum(low, boxes[:, :2]), 0.0, None).prod(1)
    union = (boxes[:, 2:] - boxes[:, :2]).prod(1) + np.where(visible.any(1), (high - low).prod(1), 0.0) - inter
    return np.where(visible.sum(1) >= 4, inter / union, 0.0)


def agreement(
    landmarks_px: Float[Array, "n 39 2"], visibility: Float[Array, "n 39"], boxes: Float[Array, "n 4"]
) -> Float[Array, "n"]:
    """How well what the pose trunk saw explains a person's box, 0 and up.

    Mean visibility of the 33 landmarks inside the box (a tenth larger on each side), times 0.3 plus the overlap.
    """
    margin = 0.1 * (boxes[:, 2:] - boxes[:, :2])
    low, high = (boxes[:, :2] - margin)[:, None], (boxes[:, 2:] + margin)[:, None]
    inside = ((landmarks_px[:, :33] > low) & (landmarks_px[:, :33] < high)).all(-1)
    return (visibility[:, :33] * inside).mean(1) * (0.3 + overlap(landmarks_px, visibility, boxes))


def _nearest_landmarks() -> tuple[tuple[int, ...], ...]:
    """For each of the 144 keypoints the pose landmarks that show whether it is seen."""
    known: dict[int, tuple[int, ...]] = {}
    known |= {keypoint: (landmark,) for landmark, keypoint in zip(*CORRESPONDENCES["body"], strict=True)}
    by_name = {name: k for k, name in enumerate(KEYPOINT_NAMES)}
    torso, hips, shoulders = (11, 12, 23, 24), (23, 24), (11, 12)
    for name in ("pelvis", "spine1"):
        known[by_name[name]] = hips
    for name in ("spine2", "spine3"):
        known[by_name[name]] = torso
    for name in ("neck", "left_collar", "right_collar"):
        known[by_name[name]] = shoulders
    for landmark, side in ((31, "left"), (32, "right")):
        for name in ("foot", "big_toe", "small_toe"):
            known[by_name[f"{side}_{name}"]] = (landmark,)
    for landmark, side in ((15, "left"), (16, "right")):
        for keypoint in PARTS[f"{side}_hand"]:
            known.setdefault(int(keypoint), (landmark,))
    return tuple(known.get(k, (0,)) for k in range(len(KEYPOINT_NAMES)))


_SEEN_BY: Float[Array, "39 144"] = np.stack(
    [np.bincount(near, minlength=39) / len(near) for near in _nearest_landmarks()], 1
).astype(np.float32)
"""What each landmark counts for each keypoint."""


def joint_visibility(visibility: Float[Array, "n 39"]) -> Float[Array, "n 144"]:
    """Visibility of the named joints from that of the pose trunk's landmarks (the mean where several are near)."""
    return visibility @ _SEEN_BY
