"""Crops that the trunks and the attention ask for, and the tables between landmarks and keypoints."""

import numpy as np
import pytest

from openexpose.body.keypoints import COCO17, FLIP, IBUG68, INDEX, LEFT_HAND21, PARTS, RIGHT_HAND21
from openexpose.geometry.boxes import Crop
from openexpose.predict.landmarks import (
    CORRESPONDENCES,
    EDGES,
    TRUNK_CROPS,
    agreement,
    attention_crop,
    cut_off,
    face_trunk_crop,
    hand_trunk_crop,
    joint_visibility,
    lay_over,
    named_points,
    overlap,
    pose_trunk_crop,
    skeleton_points,
    upright,
)

COUNTS = {"body": 39, "hand": 21, "face": 478}
WIDTH = 640.0


def points(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(100, 400, (6, count, 2))


def mirrored(points_px: np.ndarray) -> np.ndarray:
    return np.stack([WIDTH - points_px[..., 0], points_px[..., 1]], -1)


def direction(crop: Crop, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    a, b = crop.from_image(np.stack([first, second], 1)).swapaxes(0, 1)
    return (b - a) / np.linalg.norm(b - a, axis=-1, keepdims=True)


def assert_mirrored(crop: Crop, other: Crop) -> None:
    np.testing.assert_allclose(other.centre_px, mirrored(crop.centre_px), atol=1e-9)
    np.testing.assert_allclose(other.side_px, crop.side_px)
    np.testing.assert_allclose(np.exp(1j * other.angle_rad), np.exp(-1j * crop.angle_rad), atol=1e-9)


@pytest.mark.parametrize("turn", [False, True])
@pytest.mark.parametrize(
    ("part", "joints", "first", "second"),
    [
        ("left_hand", "left_hand", "left_wrist", "left_middle1"),
        ("right_hand", "right_hand", "right_wrist", "right_middle1"),
        ("face", "head", "contour_middle", "nose1"),
    ],
)
def test_the_attention_crop_holds_all_joints(part: str, joints: str, first: str, second: str, turn: bool) -> None:
    projected = points(144)
    for scale in (1.0, 2.0, 3.0):
        crop = attention_crop(projected, part, scale, turn)
        inside = crop.from_image(projected[:, PARTS[joints]])
        np.testing.assert_allclose(np.abs(inside).max((1, 2)), 1.0 / scale, atol=1e-9)
        np.testing.assert_allclose(inside.max(1) + inside.min(1), 0.0, atol=1e-9)
        assert crop.mirrored == (part == "left_hand")
    if turn:
        up = direction(crop, projected[:, INDEX[first]], projected[:, INDEX[second]])
        np.testing.assert_allclose(up, np.tile([0.0, -1.0], (6, 1)), atol=1e-9)
    else:
        assert (crop.angle_rad == 0).all()


@pytest.mark.parametrize("turn", [False, True])
def test_attention_in_a_mirror(turn: bool) -> None:
    projected = points(144)
    other = mirrored(projected)[:, FLIP]
    right, left = attention_crop(projected, "right_hand", 3.0, turn), attention_crop(other, "left_hand", 3.0, turn)
    assert_mirrored(right, left)
    assert left.mirrored and not right.mirrored
    np.testing.assert_allclose(left.from_image(other[:, FLIP]), right.from_image(projected), atol=1e-9)
    assert_mirrored(attention_crop(projected, "face", 2.0, turn), attention_crop(other, "face", 2.0, turn))


def test_upright_points_up() -> None:
    origin = np.zeros((4, 2))
    to = np.array([[0.0, -5.0], [5.0, 0.0], [0.0, 5.0], [-5.0, 0.0]])
    np.testing.assert_allclose(upright(origin, to), [0.0, np.pi / 2, np.pi, -np.pi / 2])


def test_the_pose_crop_has_its_rim_at_the_top() -> None:
    landmarks = points(39)
    inside = pose_trunk_crop(landmarks).from_image(landmarks[:, [33, 34]])
    np.testing.assert_allclose(inside, np.tile([[0.0, 0.0], [0.0, -0.8]], (6, 1, 1)), atol=1e-9)


@pytest.mark.parametrize("flip", [False, True])
def test_the_hand_crop_has_the_fingers_up(flip: bool) -> None:
    landmarks = points(21)
    crop = hand_trunk_crop(landmarks, flip)
    knuckles = landmarks[:, [5, 9, 9, 13]].mean(1)
    up = direction(crop, landmarks[:, 0], knuckles)
    np.testing.assert_allclose(up, np.tile([0.0, -1.0], (6, 1)), atol=1e-9)
    assert crop.mirrored == flip
    extent = np.ptp(crop.from_image(landmarks[:, [0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18]]), axis=1).max(1)
    np.testing.assert_allclose(extent, 1.0, atol=1e-9)


def test_the_face_crop_has_the_eyes_level() -> None:
    landmarks = points(478)
    crop = face_trunk_crop(landmarks)
    along = direction(crop, landmarks[:, 33], landmarks[:, 263])
    np.testing.assert_allclose(along, np.tile([1.0, 0.0], (6, 1)), atol=1e-9)
    np.testing.assert_allclose(np.abs(crop.from_image(landmarks[:, :468])).max((1, 2)), 1 / 1.5, atol=1e-9)


@pytest.mark.parametrize("part", ["body", "hand", "face"])
def test_trunk_crops_scale_and_move_with_the_landmarks(part: str) -> None:
    landmarks = points(COUNTS[part])
    before = TRUNK_CROPS[part](landmarks, False)
    after = TRUNK_CROPS[part](3.0 * landmarks + [10.0, -20.0], False)
    np.testing.assert_allclose(after.side_px, 3.0 * before.side_px)
    np.testing.assert_allclose(after.centre_px, 3.0 * before.centre_px + [10.0, -20.0])
    np.testing.assert_allclose(after.angle_rad, before.angle_rad, atol=1e-9)


@pytest.mark.parametrize("part", ["body", "hand", "face"])
def test_correspondences_are_one_to_one_and_edges_lie_in_them(part: str) -> None:
    landmark, keypoint = CORRESPONDENCES[part]
    assert len(landmark) == len(keypoint) == len(set(keypoint)) == len(set(landmark))
    assert max(landmark) < COUNTS[part] and max(keypoint) < 144
    edges = np.array(EDGES[part])
    assert edges.min() >= 0 and edges.max() < len(landmark) and (edges[:, 0] != edges[:, 1]).all()


@pytest.mark.parametrize(("part", "rows"), [("body", COCO17), ("hand", RIGHT_HAND21), ("face", IBUG68)])
def test_a_trunks_landmarks_in_the_annotators_order(part: str, rows: np.ndarray) -> None:
    """A trunk that sees keypoints where they are tells them back."""
    rng = np.random.default_rng(4)
    keypoints, landmarks, visibility = rng.normal(size=(144, 2)), rng.normal(size=(COUNTS[part], 2)), np.zeros(478)
    landmark, keypoint = CORRESPONDENCES[part]
    landmarks[landmark] = keypoints[keypoint]
    visibility[landmark] = rng.uniform(0.1, 1.0, len(landmark))
    found = skeleton_points(part, landmarks, visibility[: COUNTS[part]])
    assert set(rows) <= set(keypoint)  # all of them are known
    np.testing.assert_allclose(found[:, :2], keypoints[rows])
    assert (found[:, 2] > 0).all()


def test_joint_visibility() -> None:
    rng = np.random.default_rng(0)
    np.testing.assert_allclose(joint_visibility(np.ones((2, 39))), 1.0)
    visibility = rng.uniform(size=(3, 39))
    joints = joint_visibility(visibility)
    assert joints.shape == (3, 144) and (joints >= 0).all() and (joints <= 1).all()
    np.testing.assert_allclose(joints[:, INDEX["left_elbow"]], visibility[:, 13])
    np.testing.assert_allclose(joints[:, INDEX["right_middle2"]], visibility[:, 16])
    np.testing.assert_allclose(joints[:, INDEX["pelvis"]], visibility[:, [23, 24]].mean(1))


def test_agreement_prefers_the_look_that_fills_the_box() -> None:
    rng = np.random.default_rng(3)
    box = np.array([[100.0, 50, 200, 350]])
    filling = rng.uniform([100, 50], [200, 350], (1, 39, 2))
    filling[0, :2] = box.reshape(2, 2)
    upper = np.minimum(filling, [[200.0, 150.0]])
    elsewhere, seen = filling + 400.0, np.ones((1, 39))
    scores = [float(agreement(points, seen, box)[0]) for points in (filling, upper, elsewhere)]
    assert scores[0] == pytest.approx(1.3) and scores[0] > scores[1] > scores[2] == 0.0
    assert float(overlap(filling, 0.4 * seen, box)[0]) == 0.0  # nothing is seen


def test_boxes_at_the_border_are_cut_off() -> None:
    boxes = np.array([[50.0, 50, 90, 90], [50, 50, 90, 99.5], [0, 50, 90, 90], [50, 50, 199, 90]])
    assert cut_off(boxes, 200, 100).tolist() == [False, True, True, True]


@pytest.mark.parametrize("part", ["body", "left_hand", "right_hand", "face"])
def test_a_trunks_landmarks_as_named_keypoints(part: str) -> None:
    """A trunk that sees keypoints where they are names them; left hands have left names."""
    rng = np.random.default_rng(5)
    network = "hand" if part.endswith("hand") else part
    truth = rng.normal(size=(2, 144, 2))
    own = {"body": CORRESPONDENCES["body"][1], "left_hand": LEFT_HAND21, "right_hand": RIGHT_HAND21, "face": IBUG68}
    landmarks, confidence = np.zeros((2, COUNTS[network], 2)), rng.uniform(0.1, 1.0, (2, COUNTS[network]))
    landmarks[:, CORRESPONDENCES[network][0]] = truth[:, own[part]]
    named = named_points(part, landmarks, confidence)
    assert set(np.flatnonzero(named[0, :, 2])) == set(own[part])
    np.testing.assert_array_equal(named[:, own[part], :2], truth[:, own[part]])
    np.testing.assert_array_equal(named[1], named_points(part, landmarks[1], confidence[1]))


def test_hands_and_face_are_laid_over_the_body() -> None:
    """Person 0 with all parts seen; 1 with an unsure wrist; 2 without hands and face."""
    body, hand, face = (np.full((3, 144, 3), value) for value in (0.5, 0.7, 0.9))
    body[1, INDEX["left_wrist"], 2] = 0.05
    hand[2], face[2] = 0.0, 0.0
    laid = lay_over(body, {"left_hand": hand, "face": face})
    np.testing.assert_array_equal(laid[2], body[2])
    for name, value in {"left_ring2": 0.7, "left_wrist": 0.5, "right_ring2": 0.5, "lip_top": 0.9, "nose": 0.5}.items():
        np.testing.assert_array_equal(laid[0, INDEX[name]], value)
    np.testing.assert_array_equal(laid[1, INDEX["left_wrist"]], 0.7)
    assert (body[0] == 0.5).all()  # what was given is left alone
