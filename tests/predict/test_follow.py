"""Attention in time: crops move on with people, and what is not where it was expected is looked for."""

from dataclasses import replace

import numpy as np
import pytest
from tests.conftest import EXAMPLE, EXAMPLE_BOXES

from openexpose.body.keypoints import INDEX
from openexpose.errors import InputError
from openexpose.geometry.boxes import Crop
from openexpose.geometry.camera import project_perspective
from openexpose.image.read import read_image
from openexpose.people import People
from openexpose.predict.bundle import fast_bundle
from openexpose.predict.follow import STRIDE, Aims, unknown
from openexpose.predict.looks import Looker
from openexpose.predict.pipeline import Predictor

BOX = EXAMPLE_BOXES[:1]


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return read_image(EXAMPLE).pixels


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor.load(fast_bundle(), threads=1)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How many crops each network looks at."""
    count: dict[str, int] = {}
    look = Looker.look

    def counted(self: Looker, crop: Crop):
        name = self.runner.spec.name
        count[name] = count.get(name, 0) + len(crop.side_px)
        return look(self, crop)

    monkeypatch.setattr(Looker, "look", counted)
    return count


def shown(predictor: Predictor, people: People) -> np.ndarray:
    """Keypoints of the first person in the picture, pixels."""
    return project_perspective(predictor.keypoints(people)[0], people.focal_px, people.principal_px)


def aims_at(crops: np.ndarray, anchors: np.ndarray) -> Aims:
    return Aims(crops[None], anchors[None], np.ones(1))


def test_a_body_moves_on_by_a_share_of_its_last_step() -> None:
    crops = np.tile([100.0, 50.0, 40.0, 0.3], (4, 1))
    anchors = np.tile([90.0, 54.0], (4, 1))
    crop = aims_at(crops, anchors).body()
    np.testing.assert_allclose(crop.centre_px, [[100 + STRIDE * 10, 50 - STRIDE * 4]])
    assert (crop.side_px, crop.angle_rad) == (40.0, 0.3)


def test_a_hand_moves_on_with_the_bodys_and_unknown_ones_are_where_the_body_has_them() -> None:
    crops, anchors = np.tile([100.0, 50.0, 40.0, 0.3], (4, 1)), np.tile([90.0, 54.0], (4, 1))
    region = Crop(np.array([[95.0, 50.0]]), np.array([60.0]), np.array([0.1]), mirrored=True)
    crop, known = aims_at(crops, anchors).part("left_hand", region)
    np.testing.assert_allclose(crop.centre_px, [[105.0, 46.0]])
    assert crop.mirrored and (crop.side_px, crop.angle_rad) == (40.0, 0.3) and known.all()
    crop, known = unknown(1).part("face", region)
    np.testing.assert_array_equal(crop.centre_px, region.centre_px)
    assert (crop.side_px, crop.angle_rad) == (60.0, 0.1) and not known.any()


def test_new_people_are_looked_at_as_in_a_photo(predictor: Predictor, pixels: np.ndarray) -> None:
    photo = predictor(pixels, boxes=EXAMPLE_BOXES)
    first, aims = predictor.follow(pixels, EXAMPLE_BOXES, unknown(2))
    assert len(aims) == 2 and np.isfinite(aims.crops[:, 0]).all()
    np.testing.assert_allclose(first.transl, photo.transl, atol=1e-3)
    np.testing.assert_allclose(first.pose, photo.pose, atol=1e-3)


def test_one_look_does_for_the_next_frame(predictor: Predictor, pixels: np.ndarray, looks: dict[str, int]) -> None:
    first, aims = predictor.follow(pixels, BOX, unknown(1))
    before = dict(looks)
    looks.clear()
    moved = np.roll(pixels, (3, 5), (0, 1))
    second, _ = predictor.follow(moved, BOX + [5, 3, 5, 3], aims)
    assert looks["body"] <= 2 < before["body"] and looks["face"] == 1
    nose, shoulder = (shown(predictor, second) - shown(predictor, first))[[INDEX["nose"], INDEX["left_shoulder"]]]
    np.testing.assert_allclose(nose, [5, 3], atol=5)
    np.testing.assert_allclose(shoulder, [5, 3], atol=20)
    assert second.part_confidence[0, 0] > 0.8


def test_who_is_not_there_is_looked_for(predictor: Predictor, pixels: np.ndarray, looks: dict[str, int]) -> None:
    """The expected place shows nothing of the person: the box decides."""
    _, aims = predictor.follow(pixels, BOX, unknown(1))
    astray = replace(aims, crops=aims.crops + [2000.0, 0, 0, 0], anchors_px=aims.anchors_px + [2000.0, 0])
    looks.clear()
    found, _ = predictor.follow(pixels, BOX, astray)
    photo = predictor(pixels, boxes=BOX)
    np.testing.assert_allclose(found.transl, photo.transl, atol=1e-3)
    assert looks["body"] > 3


def test_rows_are_people(predictor: Predictor, pixels: np.ndarray) -> None:
    """A known and a new one in one call are what they are alone."""
    _, aims = predictor.follow(pixels, BOX, unknown(1))
    both = Aims(*(np.concatenate([getattr(unknown(1), n), getattr(aims, n)]) for n in vars(aims)))
    together, _ = predictor.follow(pixels, EXAMPLE_BOXES[::-1], both)
    alone = predictor.follow(pixels, EXAMPLE_BOXES[1:], unknown(1))[0], predictor.follow(pixels, BOX, aims)[0]
    for k in (0, 1):
        np.testing.assert_allclose(together.pose[k], alone[k].pose[0], atol=1e-3)
        np.testing.assert_allclose(together.transl[k], alone[k].transl[0], atol=1e-3)


def test_nobody_is_nobody(predictor: Predictor, pixels: np.ndarray) -> None:
    people, aims = predictor.follow(pixels, np.zeros((0, 4)), unknown(0))
    assert len(people) == len(aims) == 0


def test_as_many_aims_as_boxes(predictor: Predictor, pixels: np.ndarray) -> None:
    with pytest.raises(InputError, match="aims at 1 people with 2 boxes"):
        predictor.follow(pixels, EXAMPLE_BOXES, unknown(1))
