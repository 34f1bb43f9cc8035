"""Keypoint files of others, written here in their own formats from people whose keypoints are known."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.data import fixtures_planar as made
from tests.data.people import Person, people

from openexpose.body.keypoints import INDEX
from openexpose.errors import InputError
from openexpose.fitting.keypoint_files import read_keypoints
from openexpose.fitting.observed import Observed

SIZE = (400, 400)
HALPE26 = [
    *made.COCO,
    *(None, "neck", "pelvis", "left_big_toe", "right_big_toe", "left_small_toe", "right_small_toe"),
    *("left_heel", "right_heel"),
]
OPENPOSE_COCO18 = (
    "nose neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist right_hip right_knee "
    "right_ankle left_hip left_knee left_ankle right_eye left_eye right_ear left_ear"
).split()
FINE = [*made.FACE, *made.LEFT_HAND, *made.RIGHT_HAND]


@pytest.fixture(scope="module")
def crowd() -> list[Person]:
    return people(3, seed=5, size=400)


def read(tmp_path: Path, content: Any, **options: Any) -> list[Observed]:
    path = made.write_json(tmp_path / "keypoints.json", content)
    return read_keypoints(path, **({"image": "000000000007.jpg", "image_size": SIZE} | options))


def refused(tmp_path: Path, content: Any, words: str, **options: Any) -> None:
    """One sentence, which says what came and what was expected."""
    with pytest.raises(InputError, match=words) as raised:
        read(tmp_path, content, **options)
    assert "\n" not in str(raised.value) and "; expected " in str(raised.value)


def agree(found: Observed, person: Person, names: list, confidence: float = 1.0, tolerance_px: float = 1e-3) -> None:
    """Exactly the named keypoints were seen, where the person has them."""
    rows = sorted({INDEX[name] for name in names if name is not None})
    assert np.flatnonzero(found.keypoints_px[:, 2]).tolist() == rows
    np.testing.assert_allclose(found.keypoints_px[rows, 2], confidence, rtol=1e-6)
    np.testing.assert_allclose(found.keypoints_px[rows, :2], person.points_px[rows], atol=tolerance_px)


def scored(person: Person, names: list, score: float = 0.7) -> list[float]:
    """A flat list of results: the first pixel is called 0."""
    return np.c_[made.points_px(person, names) - 0.5, np.full(len(names), score)].ravel().tolist()


def test_openpose(tmp_path: Path, crowd: list[Person]) -> None:
    """BODY_25 with hands and face; the body alone; COCO's 18; hands alone; nobody."""
    whole, body, hands = (made.openpose_person(crowd[0], hands=k != 1) for k in range(3))
    hands |= {"pose_keypoints_2d": [], "face_keypoints_2d": None}
    old = {"pose_keypoints_2d": np.c_[made.points_px(crowd[2], OPENPOSE_COCO18), np.full(18, 0.8)].ravel().tolist()}
    nobody = {"pose_keypoints_2d": [0.0] * 75}
    found = read(tmp_path, {"version": 1.3, "people": [whole, body, nobody, old, hands]}, image="x.png")
    assert [one.name for one in found] == ["x.png/0", "x.png/1", "x.png/3", "x.png/4"]
    assert {one.source for one in found} == {"openpose"} and {one.image_size for one in found} == {SIZE}
    assert all(found[0].has(part) for part in ("body", "left_hand", "right_hand", "face"))
    confidence = found[0].keypoints_px[:, 2]
    assert confidence[INDEX["left_wrist"]] == pytest.approx(0.9) and confidence[INDEX["left_index"]] == pytest.approx(
        0.6
    )
    seen = np.flatnonzero(confidence)
    assert set(seen) == {INDEX[name] for name in [*made.BODY_25, *FINE]}
    np.testing.assert_allclose(found[0].keypoints_px[seen, :2], crowd[0].points_px[seen], atol=1e-3)
    agree(found[1], crowd[0], made.BODY_25, 0.9)
    agree(found[2], crowd[2], OPENPOSE_COCO18, 0.8)
    agree(found[3], crowd[0], [*made.LEFT_HAND, *made.RIGHT_HAND], 0.6)
    assert not found[3].has("body") and found[3].has("left_hand")


def test_coco_wholebodys_annotations(tmp_path: Path, crowd: list[Person]) -> None:
    """People of one picture of several; a hand that is not valid and crowds do not count."""
    entries = [made.wholebody_entry(person, k) for k, person in enumerate(crowd)]  # pictures 7, 7 and 8
    entries[1]["lefthand_valid"] = False
    crowded = {**entries[0], "iscrowd": 1}
    made.write_coco(tmp_path / "keypoints.json", [*entries, crowded])
    for image in ("000000000007.jpg", "7", "copies/000000000007.png"):
        found = read_keypoints(tmp_path / "keypoints.json", image=image, image_size=SIZE)
        assert [one.name for one in found] == [f"{image}/0", f"{image}/1"]
        agree(found[0], crowd[0], [*made.COCO, *made.FEET, *FINE], 1.0, 0.51)
        agree(found[1], crowd[1], [*made.COCO, *made.FEET, *made.FACE, *made.RIGHT_HAND], 1.0, 0.51)
    fine = [INDEX[name] for name in made.FACE]
    np.testing.assert_allclose(found[0].keypoints_px[fine, :2], crowd[0].points_px[fine], atol=1e-3)
    (other,) = read_keypoints(tmp_path / "keypoints.json", image="000000000008.jpg", image_size=SIZE)
    agree(other, crowd[2], [*made.COCO, *made.FEET, *FINE], 1.0, 0.51)


@pytest.mark.parametrize(
    "names",
    [made.COCO, HALPE26, [*made.COCO, *made.FEET, *FINE], [*HALPE26, *FINE]],
    ids=["coco17", "halpe26", "wholebody133", "halpe136"],
)
def test_lists_of_results(names: list, tmp_path: Path, crowd: list[Person]) -> None:
    """With the picture's id, its name, without either; as MMPose's inferencer and its demo write them."""
    seven, eight = scored(crowd[0], names), scored(crowd[1], names)
    results = [{"image_id": 8, "keypoints": eight, "score": 0.5}, {"image_id": 7, "keypoints": seven, "score": 2.3}]
    named = [{**one, "image_id": f"{one['image_id']:012d}.jpg"} for one in results]
    table = np.reshape(seven, (-1, 3))
    mmpose = {"keypoints": table[:, :2].tolist(), "keypoint_scores": table[:, 2].tolist(), "bbox_score": 0.4}
    contents = [results, named, [{"keypoints": seven}], {"keypoints": seven}, [mmpose], {"instance_info": [mmpose]}]
    for content in contents:
        (found,) = read(tmp_path, content)
        agree(found, crowd[0], names, 0.7)
        assert found.source == "coco"


def test_results_in_wholebodys_own_keys(tmp_path: Path, crowd: list[Person]) -> None:
    entry = {"image_id": 7, "keypoints": scored(crowd[0], made.COCO, 0.9), "face_kpts": scored(crowd[0], made.FACE)}
    entry |= {"foot_kpts": scored(crowd[0], made.FEET, 5.0), "lefthand_kpts": scored(crowd[0], made.LEFT_HAND, 0.3)}
    (found,) = read(tmp_path, [entry])
    agree(
        found,
        crowd[0],
        [*made.COCO, *made.FEET, *made.FACE, *made.LEFT_HAND],
        found.keypoints_px[:, 2][found.keypoints_px[:, 2] > 0],
    )
    confidence = {
        name: found.keypoints_px[INDEX[name], 2] for name in ("left_wrist", "left_heel", "left_ring3", "lip_top")
    }
    assert confidence == pytest.approx({"left_wrist": 0.9, "left_heel": 1.0, "left_ring3": 0.3, "lip_top": 0.7})


def test_pictures_of_the_same_name_in_several_folders(tmp_path: Path, crowd: list[Person]) -> None:
    results = [{"image_id": f"cam{k}/7.jpg", "keypoints": scored(crowd[k], made.COCO)} for k in (0, 1)]
    (found,) = read(tmp_path, results, image="cam1/7.jpg")
    agree(found, crowd[1], made.COCO, 0.7)
    refused(tmp_path, results, r"results of 2 pictures called '7.jpg'.*Name it with its folder", image="7.jpg")
    refused(tmp_path, results, r"without anybody in '8.jpg'", image="8.jpg")


def changed(values: list[float], k: int, value: Any) -> list[Any]:
    return [*values[:k], value, *values[k + 1 :]]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (lambda flat: flat[:-3], r"keypoints.json': person 0.*of \d+ numbers; expected \d"),
        (lambda flat: flat[:-1], r"keypoints.json': person 0.*of \d+ numbers; expected \d"),
        (lambda flat: [*flat, 1.0, 2.0, 0.5], r"keypoints.json': person 0.*of \d+ numbers; expected \d"),
        (lambda flat: changed(flat, 4, float("nan")), r"keypoints.json': person 0.*NaN"),
        (lambda flat: changed(flat, 5, float("nan")), r"keypoints.json': person 0.*NaN"),
        (lambda flat: changed(flat, 3, float("inf")), r"keypoints.json': person 0.*infinity"),
        (lambda flat: changed(flat, 3, None), r"keypoints.json': person 0.*NaN"),
        (lambda flat: changed(flat, 3, "left"), r"keypoints.json': person 0.*does not read"),
        (lambda flat: changed(flat, 3, [1.0, 2.0]), r"keypoints.json': person 0.*does not read"),
        (lambda flat: {"x": 1}, r"keypoints.json': person 0"),
        (lambda flat: "nose", r"keypoints.json': person 0"),
        (
            lambda flat: (100.0 * np.array(flat).reshape(-1, 3).clip(0.5, None) * [1, 1, 0.01]).ravel().tolist(),
            "another size",
        ),
    ],
)
@pytest.mark.parametrize("kind", ["openpose", "coco"])
def test_broken_people_are_told(kind: str, values: Any, words: str, tmp_path: Path, crowd: list[Person]) -> None:
    if kind == "openpose":
        flat = np.c_[made.points_px(crowd[0], made.BODY_25), np.full(25, 0.7)].ravel().tolist()
        content: Any = {"people": [{"pose_keypoints_2d": values(flat)}]}
    else:
        content = [{"image_id": 7, "keypoints": values(scored(crowd[0], made.COCO))}]
    refused(tmp_path, content, words)


def test_broken_hands_and_persons_are_told(tmp_path: Path, crowd: list[Person]) -> None:
    whole = made.openpose_person(crowd[0])
    refused(
        tmp_path,
        {"people": [whole, {**whole, "hand_left_keypoints_2d": [1.0] * 60}]},
        "person 1: 'hand_left.* 60 numbers",
    )
    refused(tmp_path, {"people": [{**whole, "face_keypoints_2d": [1.0] * 204}]}, "person 0: 'face_.* 204 numbers")
    refused(tmp_path, {"people": [{**whole, "pose_keypoints_2d": [0.5] * 75}]}, "--keypoint_scale 0")
    refused(tmp_path, {"people": [7]}, "person 0, which does not read")
    refused(
        tmp_path,
        [{"keypoints": scored(crowd[0], made.COCO), "face_kpts": [1.0] * 3}],
        "'face_kpts' of 3 numbers; expected 204",
    )
    refused(tmp_path, [{"keypoints": [[1.0, 2.0]] * 17, "keypoint_scores": [1.0] * 16}], "person 0.*does not read")
    refused(tmp_path, [{"keypoints": scored(crowd[0], made.COCO)}, 7], "does not read|not iterable")


def test_files_of_other_pictures_are_told(tmp_path: Path, crowd: list[Person]) -> None:
    path = made.write_coco(tmp_path / "keypoints.json", [made.coco_entry(crowd[0], 0)])
    for image, size, words in (
        ("9.jpg", SIZE, "0 'images' called '9.jpg'"),
        ("7.jpg", (200, 200), "a picture of 400 x 400; expected labels of '7.jpg' with its 200 x 200"),
        ("8.jpg", SIZE, "without anybody in '8.jpg'"),
    ):
        with pytest.raises(InputError, match=words):
            read_keypoints(path, image=image, image_size=size)
    controlnet = {"people": [made.openpose_person(crowd[0])], "canvas_width": 512, "canvas_height": 512}
    refused(tmp_path, controlnet, "a canvas of 512 x 512; expected the picture's 400 x 400")
    assert read(tmp_path, controlnet | {"canvas_width": 400, "canvas_height": 400})[0].has("face")


@pytest.mark.parametrize("text", ["", "{", "[[]", "\x00"])
def test_damaged_files_are_told(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(InputError, match=r"x.json', which does not read as JSON"):
        read_keypoints(tmp_path / "x.json", image="a", image_size=SIZE)
    with pytest.raises(InputError, match="no file"):
        read_keypoints(tmp_path / "y.json", image="a", image_size=SIZE)


@pytest.mark.parametrize(
    "content", [{}, [], 7, "people", None, [1, 2], {"joints": []}, [{"joints": []}], [[]], [["x"]]]
)
def test_other_json_is_told(content: Any, tmp_path: Path) -> None:
    refused(tmp_path, content, "expected the JSON of OpenPose, COCO, COCO-WholeBody, Halpe or MediaPipe")


@pytest.mark.parametrize(
    "content", [{"images": [], "annotations": []}, {"people": None}, [{"image_id": 7, "keypoints": [0.0] * 51}]]
)
def test_files_that_do_not_tell_of_a_picture_are_told(content: dict, tmp_path: Path) -> None:
    refused(tmp_path, content, "without anybody|0 'images'|does not read")


@pytest.mark.parametrize("content", [{"people": []}, {"instance_info": []}, {"poseLandmarks": []}])
def test_where_nobody_was_found_there_is_nobody(content: dict, tmp_path: Path) -> None:
    assert read(tmp_path, content) == []


@pytest.mark.parametrize(
    "content", [{}, [], 7, None, "x", [7], {"people": 7}, {"annotations": [], "images": 3}, {"keypoints": 1}]
)
def test_other_files_are_told(content: Any, tmp_path: Path) -> None:
    refused(tmp_path, content, "keypoints.json'")
