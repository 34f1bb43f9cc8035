"""One person's keypoints, which of them count, and those of our own trunks."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from openexpose.body.keypoints import INDEX, indices
from openexpose.errors import InputError
from openexpose.fitting.observed import OWN_KEYPOINTS, Observed, confident, observe
from openexpose.image.read import read_image
from openexpose.predict.pipeline import Predictor

EXAMPLE = Path(__file__).parents[2] / "examples" / "astronaut.jpg"
PARTS = ("body", "left_hand", "right_hand", "face")


def person(confidence: Any = 0.9, **changes: Any) -> Observed:
    rng = np.random.default_rng(0)
    points = np.c_[rng.uniform(5.0, 395.0, (144, 2)), np.broadcast_to(confidence, 144)]
    fields = {"name": "a.jpg/0", "keypoints_px": points, "image_size": (400, 300), "source": "openpose"}
    return Observed(**(fields | changes))


def test_every_keypoint_is_of_one_part() -> None:
    assert sorted(np.concatenate(list(OWN_KEYPOINTS.values()))) == list(range(144))
    assert all(np.isin(indices("left_wrist", "right_wrist", "nose", "left_eye"), OWN_KEYPOINTS["body"]))


def test_unseen_keypoints_are_zero_whatever_they_held() -> None:
    points = person().keypoints_px.copy()
    points[3], points[7], points[9] = [np.nan, np.inf, 0.0], [12.0, 13.0, 0.0], [1.0, 2.0, 1.0]
    seen = person(keypoints_px=points)
    assert not seen.keypoints_px[[3, 7]].any() and seen.keypoints_px[9].tolist() == [1.0, 2.0, 1.0]
    assert points[7].tolist() == [12.0, 13.0, 0.0]  # what was given is left alone


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ([np.nan, 1.0, 0.5], "NaN"),
        ([1.0, np.inf, 0.01], "NaN or infinity"),
        ([1.0, 1.0, np.nan], "from 0 to 1"),
        ([1.0, 1.0, -0.1], "from 0 to 1"),
        ([1.0, 1.0, 1.5], "from 0 to 1"),
    ],
)
def test_broken_keypoints_are_told_with_the_persons_name(row: list[float], words: str) -> None:
    points = person().keypoints_px.copy()
    points[100] = row
    with pytest.raises(InputError, match=f"a.jpg/0.*{words}"):
        person(keypoints_px=points)


def test_other_shapes_and_sizes_are_told() -> None:
    with pytest.raises(InputError, match=r"a.jpg/0: keypoints of shape \(143, 3\)"):
        person(keypoints_px=np.zeros((143, 3)))
    with pytest.raises(InputError, match=r"a.jpg/0: a picture of the size \(0, 5\)"):
        person(image_size=(0, 5))


def test_the_box_is_around_what_was_seen() -> None:
    points = np.zeros((144, 3))
    points[[5, 60, 100]] = [[10.0, 80.0, 0.3], [50.0, 20.0, 1.0], [30.0, 95.0, 0.01]]
    np.testing.assert_array_equal(person(keypoints_px=points).box_xyxy_px, [10.0, 20.0, 50.0, 95.0])
    with pytest.raises(InputError, match="no keypoint"):
        _ = person(confidence=0.0).box_xyxy_px


def test_parts_are_there_with_enough_keypoints() -> None:
    assert all(person().has(part) for part in PARTS) and not any(person(0.0).has(part) for part in PARTS)
    for part, fewest in {"body": 4, "left_hand": 8, "right_hand": 8, "face": 8}.items():
        for count, there in ((fewest - 1, False), (fewest, True)):
            confidence = np.zeros(144)
            confidence[OWN_KEYPOINTS[part][-count:]] = 0.2
            assert {one: person(confidence).has(one) for one in PARTS} == {one: there and one == part for one in PARTS}


def test_only_confident_keypoints_stay() -> None:
    """The paper's thresholds: body .1, hands .2, face .4."""
    for part, least in {"body": 0.1, "left_hand": 0.2, "right_hand": 0.2, "face": 0.4}.items():
        own, confidence = OWN_KEYPOINTS[part], np.zeros(144)
        confidence[own] = np.linspace(least - 0.05, least + 0.05, len(own))
        before = person(confidence)
        after = confident(before).keypoints_px
        kept = np.flatnonzero(after[:, 2])
        np.testing.assert_array_equal(kept, np.flatnonzero(confidence >= least))
        np.testing.assert_array_equal(after[kept], before.keypoints_px[kept])
        assert not after[after[:, 2] == 0].any()
        assert (before.keypoints_px[own, 2] > 0).all()  # the record is not changed
        with_others = confident(before, body=0.0, hand=0.0, face=0.0)
        np.testing.assert_array_equal(with_others.keypoints_px, before.keypoints_px)


def test_hands_and_faces_of_few_keypoints_are_dropped() -> None:
    names = [f"left_{finger}{k}" for finger in ("index", "ring") for k in (1, 2, 3)] + ["left_thumb"]
    confidence = np.zeros(144)
    confidence[[*(INDEX[name] for name in names), INDEX["left_wrist"], INDEX["left_mouth_1"]]] = 0.9
    left = person(confidence)
    assert np.flatnonzero(confident(left).keypoints_px[:, 2]).tolist() == [INDEX["left_wrist"]]
    assert np.count_nonzero(confident(left, fewest=7).keypoints_px[:, 2]) == 8
    assert np.count_nonzero(confident(left, fewest=0).keypoints_px[:, 2]) == 9


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor.load(threads=1)


def test_what_our_own_trunks_see(predictor: Predictor) -> None:
    """A portrait: the body is seen from the hips up, the face well, the hands lie outside the picture."""
    pixels = read_image(EXAMPLE).pixels
    people = predictor(pixels)
    seen = observe(predictor, people, "astronaut.jpg")
    assert [one.name for one in seen] == [f"astronaut.jpg/{k}" for k in range(len(people))]
    sure = confident(seen[0])
    assert sure.image_size == (pixels.shape[1], pixels.shape[0]) and sure.source == "openexpose"
    assert [sure.has(part) for part in PARTS] == [True, False, False, True]
    points = {name: sure.keypoints_px[k] for name, k in INDEX.items() if sure.keypoints_px[k, 2] > 0}
    assert {"left_shoulder", "right_hip", "nose", "contour_middle", "lip_top"} <= set(points)
    assert not {"left_ankle", "left_big_toe", "right_heel", "pelvis"} & set(points)
    for pair in ("shoulder", "hip", "eye", "ear", "mouth_1"):
        assert points[f"left_{pair}"][0] > points[f"right_{pair}"][0]
    assert points["nose"][1] < points["lip_top"][1] < points["contour_middle"][1] < points["left_shoulder"][1]
    x1, y1, x2, y2 = people.bbox_xyxy[0]
    inside = [x1 - 10 <= x <= x2 + 10 and y1 - 10 <= y <= y2 + 10 for x, y, _ in points.values()]
    assert np.mean(inside) > 0.95
    trunk = predictor.trunk_points(0)
    np.testing.assert_allclose(points["left_shoulder"][:2], trunk["body"][5, :2])
    np.testing.assert_allclose(points["contour_middle"][:2], trunk["face"][8, :2])
    with pytest.raises(InputError, match=r"'other.jpg' after a prediction of 1"):
        observe(predictor, people[:0], "other.jpg")


def test_a_lone_face_tells_its_landmarks_only(predictor: Predictor) -> None:
    people = predictor(read_image(EXAMPLE).pixels, boxes=np.array([[175.0, 60.0, 275.0, 165.0]]), part="face")
    (seen,) = observe(predictor, people, "face.jpg")
    assert [seen.has(part) for part in PARTS] == [False, False, False, True]
    np.testing.assert_array_equal(np.flatnonzero(seen.keypoints_px[:, 2]), OWN_KEYPOINTS["face"])


def test_bundles_whose_trunks_tell_no_landmarks_are_told() -> None:
    paper = SimpleNamespace(refines=False, config=SimpleNamespace(name="imported"), _looked={})
    with pytest.raises(InputError, match="the bundle 'imported'; expected a bundle whose trunks tell landmarks"):
        Predictor.seen_keypoints(paper)  # type: ignore[arg-type]
