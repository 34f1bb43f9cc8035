"""MediaPipe's landmarks, in all the ways in which its results are saved."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.data.people import Person, people

from openexpose.body.keypoints import INDEX
from openexpose.errors import InputError
from openexpose.fitting.keypoint_files import read_keypoints
from openexpose.fitting.observed import Observed

SIZE = (400, 400)
POSE = (
    *(
        "nose",
        None,
        "left_eye",
        None,
        None,
        "right_eye",
        None,
        "left_ear",
        "right_ear",
        "left_mouth_1",
        "right_mouth_1",
    ),
    *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist"),
    *("left_pinky1", "right_pinky1", "left_index1", "right_index1", "left_thumb3", "right_thumb3"),
    *("left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle", "left_heel", "right_heel"),
    *("left_big_toe", "right_big_toe"),
)
"""From MediaPipe's documentation; None: inner and outer corners of the eyes."""
HAND = ("wrist", *(f"{finger}{k}" for finger in "thumb index middle ring pinky".split() for k in ("1", "2", "3", "")))
FACE = {
    1: "nose4", 33: "right_eye1", 133: "right_eye4", 362: "left_eye4", 263: "left_eye1", 61: "right_mouth_1",
    291: "left_mouth_1", 13: "lip_top", 14: "lip_bottom", 152: "contour_middle", 168: "nose1", 0: "mouth_top",
}  # fmt: skip
"""Well-known vertices of the face mesh: tip of the nose, corners of eyes and mouth, inner lips, chin ..."""


@pytest.fixture(scope="module")
def crowd() -> list[Person]:
    near = people(1, seed=5, size=400, reach_m=2.2)[0].points_px
    shapes = [near - [90.0, 0.0], near + [90.0, 10.0]]
    return [Person(*[np.zeros(0)] * 5, points, 1.0, np.zeros(2), np.zeros(0)) for points in shapes]


def landmarks(points_px: np.ndarray, visibility: float | None = None, size: Any = SIZE) -> list[dict[str, float]]:
    extra = {} if visibility is None else {"visibility": visibility}
    return [{"x": x, "y": y, "z": -0.1, **extra} for x, y in points_px / size]


def pose(person: Person, visibility: float | None = 0.9) -> list[dict[str, float]]:
    return landmarks(person.points_px[[INDEX[name or "head"] for name in POSE]], visibility)


def hand(person: Person, side: str) -> list[dict[str, float]]:
    return landmarks(person.points_px[[INDEX[f"{side}_{name}"] for name in HAND]])


def face(person: Person, count: int = 478) -> list[dict[str, float]]:
    mesh = np.tile(person.points_px[INDEX["nose"]], (count, 1))
    for landmark, name in FACE.items():
        mesh[landmark] = person.points_px[INDEX[name]]
    return landmarks(mesh)


def read(tmp_path: Path, content: Any, image_size: tuple[int, int] = SIZE) -> list[Observed]:
    (tmp_path / "m.json").write_text(json.dumps(content), "utf-8")
    return read_keypoints(tmp_path / "m.json", image="a.jpg", image_size=image_size)


def agree(found: Observed, person: Person, parts: str) -> None:
    """The named parts were seen, where the person has them, and no others; body .9, what has no visibility 1."""
    shown = {part: part in parts.split() for part in ("body", "left_hand", "right_hand", "face")}
    assert {part: found.has(part) for part in shown} == shown
    names = [name for name in POSE if name and shown["body"]] + [name for name in FACE.values() if shown["face"]]
    names += [f"{side}_{name}" for side in ("left", "right") for name in HAND if shown[f"{side}_hand"]]
    rows = [INDEX[name] for name in names]
    np.testing.assert_allclose(found.keypoints_px[rows, :2], person.points_px[rows], atol=1e-6)
    confidence = {name: found.keypoints_px[INDEX[name], 2] for name in names}
    for name, own in (
        ("left_wrist", "body"),
        ("left_pinky1", "left_hand"),
        ("right_index3", "right_hand"),
        ("left_mouth_1", "face"),
    ):
        if shown[own]:
            assert confidence[name] == pytest.approx(0.9 if own == "body" else 1.0)
    assert found.source == "mediapipe"


def test_holistic_results_in_all_their_clothes(tmp_path: Path, crowd: list[Person]) -> None:
    """Flat lists (Solutions, Python Tasks), lists of lists (JavaScript Tasks), protocol buffers, numbers, pixels."""
    person = crowd[0]
    parts = {
        "pose": pose(person),
        "left_hand": hand(person, "left"),
        "right_hand": hand(person, "right"),
        "face": face(person),
    }
    camel = {f"{name.replace('_h', 'H')}Landmarks": value for name, value in parts.items()}
    snake = {f"{name}_landmarks": value for name, value in parts.items()}
    nested = {name: [value] for name, value in camel.items()} | {
        "poseWorldLandmarks": [parts["pose"]],
        "faceBlendshapes": [],
    }
    buffers = {name: {"landmark": value} for name, value in snake.items()} | {
        "pose_world_landmarks": {"landmark": [{}]}
    }
    lists = {
        name: [[p["x"], p["y"], p["z"], *([p["visibility"]] if "visibility" in p else [])] for p in value]
        for name, value in snake.items()
    }
    pixels = {name: [{**p, "x": 400 * p["x"], "y": 400 * p["y"]} for p in value] for name, value in snake.items()}
    unset = {name: [{"visibility": 0.0, "presence": 0.0} | p for p in value] for name, value in snake.items()}
    old_face = snake | {"face_landmarks": face(person, 468)}
    for content in (camel, snake, nested, buffers, lists, pixels, unset, old_face):
        (found,) = read(tmp_path, content)
        agree(found, person, "body left_hand right_hand face")
        assert found.name == "a.jpg/0"


def test_shares_are_of_width_and_height(tmp_path: Path, crowd: list[Person]) -> None:
    points = crowd[0].points_px[[INDEX[name or "head"] for name in POSE]]
    (found,) = read(tmp_path, {"poseLandmarks": landmarks(points, 0.9, (640, 480))}, (640, 480))
    agree(found, crowd[0], "body")


def test_parts_may_be_missing(tmp_path: Path, crowd: list[Person]) -> None:
    person = crowd[0]
    for content, parts in (
        ({"poseLandmarks": pose(person), "leftHandLandmarks": None, "faceLandmarks": []}, "body"),
        ({"landmarks": [pose(person)], "worldLandmarks": [pose(person)]}, "body"),
        (pose(person), "body"),
        ([pose(person)], "body"),
        ({"landmark": pose(person)}, "body"),
        ({"faceLandmarks": [face(person)]}, "face"),
        ({"multiFaceLandmarks": [face(person, 468)]}, "face"),
        ({"rightHandLandmarks": hand(person, "right")}, "right_hand"),
        ({"poseLandmarks": pose(person), "rightHandLandmarks": hand(person, "right")}, "body right_hand"),
    ):
        (found,) = read(tmp_path, content)
        agree(found, person, parts)


def test_a_pose_without_visibility_is_seen(tmp_path: Path, crowd: list[Person]) -> None:
    (found,) = read(tmp_path, {"landmarks": [pose(crowd[0], None)]})
    assert set(found.keypoints_px[[INDEX[name] for name in POSE if name], 2]) == {1.0}


def test_visibility_is_the_confidence(tmp_path: Path, crowd: list[Person]) -> None:
    rows = pose(crowd[0])
    rows[POSE.index("left_ankle")]["visibility"] = 0.02
    rows[POSE.index("right_ankle")]["visibility"] = 0.0
    rows[POSE.index("left_wrist")]["visibility"] = 0.05
    (found,) = read(tmp_path, {"poseLandmarks": rows, "leftHandLandmarks": hand(crowd[0], "left")})
    ankles = found.keypoints_px[[INDEX["left_ankle"], INDEX["right_ankle"]]]
    assert ankles[0, 2] == pytest.approx(0.02) and not ankles[1].any()
    assert found.keypoints_px[INDEX["left_wrist"], 2] == 1.0, "the hand is surer of the wrist"


HANDS_OF_TASKS = [
    [[{"index": 0, "score": 0.9, "categoryName": name, "displayName": name}] for name in ("Left", "Right")],
    [[{"category_name": name}] for name in ("Left", "Right")],
]
HANDS_OF_SOLUTIONS = [
    [{"index": 0, "score": 0.9, "label": name} for name in ("Right", "Left")],
    [{"classification": [{"index": 1, "score": 0.9, "label": name}]} for name in ("Right", "Left")],
]


@pytest.mark.parametrize(
    ("key", "sides_key", "sides"),
    [
        ("landmarks", "handedness", HANDS_OF_TASKS[0]),
        ("landmarks", "handednesses", HANDS_OF_TASKS[0]),
        ("hand_landmarks", "handedness", HANDS_OF_TASKS[1]),
        ("multiHandLandmarks", "multiHandedness", HANDS_OF_SOLUTIONS[0]),
        ("multi_hand_landmarks", "multi_handedness", HANDS_OF_SOLUTIONS[1]),
    ],
)
def test_sides_of_hands_that_the_key_does_not_tell(
    key: str, sides_key: str, sides: list, tmp_path: Path, crowd: list[Person]
) -> None:
    """The Solutions' labels are those of a mirrored picture. With a body the nearest wrist tells, whatever they say."""
    person = crowd[0]
    hands = [hand(person, "left"), hand(person, "right")]
    (found,) = read(tmp_path, {key: hands, sides_key: sides})
    agree(found, person, "left_hand right_hand")
    for order in (slice(None), slice(None, None, -1)):
        content = {"poseLandmarks": pose(person), "multiHandLandmarks": hands[order], sides_key: sides}
        (found,) = read(tmp_path, content)
        agree(found, person, "body left_hand right_hand")
    (found,) = read(tmp_path, {"poseLandmarks": pose(person), "handLandmarks": hands[1:]})
    agree(found, person, "body right_hand")


def test_several_people_get_their_own_hands_and_faces(tmp_path: Path, crowd: list[Person]) -> None:
    one, two = crowd
    content = {
        "pose_landmarks": [pose(one), pose(two)],
        "left_hand_landmarks": [hand(two, "left")],
        "right_hand_landmarks": [hand(two, "right"), hand(one, "right")],
        "face_landmarks": [face(two), face(one)],
    }
    first, second = read(tmp_path, content)
    agree(first, one, "body right_hand face")
    agree(second, two, "body left_hand right_hand face")
    hands = [hand(two, "right"), hand(one, "left"), hand(one, "right"), hand(two, "left")]
    first, second = read(tmp_path, {"poseLandmarks": content["pose_landmarks"], "handLandmarks": hands})
    agree(first, one, "body left_hand right_hand")
    agree(second, two, "body left_hand right_hand")
    assert [first.name, second.name] == ["a.jpg/0", "a.jpg/1"]


def test_hands_far_from_every_body_are_left_out(tmp_path: Path, crowd: list[Person]) -> None:
    (found,) = read(tmp_path, {"poseLandmarks": pose(crowd[0]), "handLandmarks": [hand(crowd[1], "left")]})
    agree(found, crowd[0], "body")


def test_without_bodies_faces_and_hands_go_by_their_number(tmp_path: Path, crowd: list[Person]) -> None:
    content = {"faceLandmarks": [face(one) for one in crowd], "leftHandLandmarks": [hand(crowd[0], "left")]}
    first, second = read(tmp_path, content)
    agree(first, crowd[0], "face left_hand")
    agree(second, crowd[1], "face")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lambda p: {"poseLandmarks": pose(p)[:-1]}, "'poseLandmarks' of 32 landmarks; expected 33"),
        (lambda p: {"leftHandLandmarks": hand(p, "left") * 2}, "'leftHandLandmarks' of 42 landmarks; expected 21"),
        (lambda p: {"faceLandmarks": face(p)[:400]}, "'faceLandmarks' of 400 landmarks; expected 478 or 468"),
        (lambda p: {"landmarks": [pose(p)[:5]]}, "'landmarks' of 5 landmarks; expected 33 or 21"),
        (lambda p: {"poseLandmarks": [{"x": float("nan"), "y": 0.5}, *pose(p)[1:]]}, "'poseLandmarks' that hold NaN"),
        (lambda p: {"poseLandmarks": [{"x": 0.5, "y": 0.5, "visibility": float("nan")}, *pose(p)[1:]]}, "NaN"),
        (lambda p: {"poseLandmarks": [{"x": "left", "y": 0.5}, *pose(p)[1:]]}, "does not read"),
        (lambda p: {"poseLandmarks": [{"x": 0.5}, *pose(p)[1:]]}, "without 'y'"),
        (lambda p: {"poseLandmarks": [[0.5]] * 33}, "does not read"),
        (lambda p: {"poseLandmarks": ["nose"] * 33}, "'nose'; expected lists of landmarks"),
        (lambda p: {"poseLandmarks": "nose"}, "'nose'; expected lists of landmarks"),
        (lambda p: {"poseLandmarks": [{"a": 1}]}, "expected lists of landmarks"),
        (lambda p: {"poseLandmarks": 5}, "expected lists of landmarks"),
        (lambda p: {"handLandmarks": [hand(p, "left")]}, "1 hands and 0 sides; expected the handedness"),
        (lambda p: {"handLandmarks": [hand(p, "left")], "handedness": [[{"categoryName": "Both"}]]}, "'Both'"),
        (lambda p: {"handLandmarks": [hand(p, "left")], "handedness": [[{"score": 1}]]}, "without 'label'"),
        (lambda p: {"handLandmarks": [hand(p, "left")], "handedness": [[]]}, "does not read"),
        (lambda p: hand(p, "left"), "1 hands and 0 sides"),
        (lambda p: {"landmarks": landmarks(p.points_px[:33] - 200.0, 1.0)}, "outside the 400 x 400 picture"),
    ],
)
def test_broken_landmarks_are_told(content: Any, words: str, tmp_path: Path, crowd: list[Person]) -> None:
    with pytest.raises(InputError, match=words) as raised:
        read(tmp_path, content(crowd[0]))
    assert "m.json'" in str(raised.value) and "\n" not in str(raised.value)


def test_where_nobody_was_found_there_is_nobody(tmp_path: Path) -> None:
    assert read(tmp_path, {"poseLandmarks": None, "faceLandmarks": []}) == []
