"""Laws of photos: cameras project the labels, the body model reproduces them, what is called visible can be seen."""

from dataclasses import fields

import numpy as np
import pytest

from openexpose.body.keypoints import IBUG68, INDEX, LEFT_HAND21, RIGHT_HAND21
from openexpose.body.mesh import posed_mesh
from openexpose.people import zero_pose
from openexpose.synth.person import HEAD
from openexpose.synth.photo import HIDDEN, OCCLUDED, SUBJECT_LABELS, VISIBLE, Photo, Subject
from openexpose.synth.scene import sample_photo
from openexpose.synth.thing import THING

KINDS = ("body", "hands", "faces", "people")
COUNTS = {"body": 10, "hands": 10, "faces": 8, "people": 6}
FOCUS = {"left_hand": LEFT_HAND21, "right_hand": RIGHT_HAND21, "face": IBUG68}


@pytest.fixture(scope="module")
def photos(stage) -> dict[str, list[Photo]]:
    return {
        kind: [sample_photo(kind, np.random.default_rng([3, k]), stage) for k in range(COUNTS[kind])] for kind in KINDS
    }


@pytest.fixture(scope="module")
def subjects(photos) -> list[tuple[Photo, int, Subject]]:
    return [(photo, k, s) for kind in KINDS for photo in photos[kind] for k, s in enumerate(photo.people)]


def test_the_camera_projects_the_keypoints(subjects):
    for photo, _, subject in subjects:
        shown = subject.keypoints_m @ photo.intrinsics.T
        assert (shown[:, 2] > 0).all()
        np.testing.assert_allclose(shown[:, :2] / shown[:, 2:], subject.keypoints_px, atol=1e-6, rtol=1e-9)


def test_the_body_model_gives_the_keypoints(subjects, stage):
    for _, _, subject in subjects:
        batch = subject.pose[None], subject.betas[None], subject.expression[None]
        joints = posed_mesh(stage.model, *batch).joints[0] + subject.transl
        np.testing.assert_allclose(joints, subject.keypoints_m, atol=2e-4)
        unit = subject.pose @ np.swapaxes(subject.pose, 1, 2)
        np.testing.assert_allclose(unit, np.tile(np.eye(3), (55, 1, 1)), atol=1e-5)


def test_the_contour_is_that_of_the_head_alone(subjects, stage):
    for _, _, subject in subjects[::5]:
        turned = np.eye(3)
        for joint in (0, *(INDEX[n] for n in ("spine1", "spine2", "spine3", "neck", "head"))):
            turned = turned @ subject.pose[joint]
        pose = zero_pose(1)
        pose[0, 0], pose[0, INDEX["jaw"]] = turned, subject.pose[INDEX["jaw"]]
        points = posed_mesh(stage.model, pose, subject.betas[None], subject.expression[None]).joints[0]
        expected = points[IBUG68[:17]] - points[HEAD] + subject.keypoints_m[HEAD]
        np.testing.assert_allclose(subject.contour_m, expected, atol=2e-4)


def test_visible_points_lie_on_the_person(subjects):
    on, count = 0, 0
    for photo, number, subject in subjects:
        height, width = photo.mask.shape
        seen = subject.visibility == VISIBLE
        x, y = subject.keypoints_px[seen].astype(int).T
        assert ((x >= 0) & (x < width) & (y >= 0) & (y < height)).all()
        mask = photo.mask[y, x]
        on += int((((mask >> 4) == number) & (mask > 0)).sum())
        count += len(mask)
    assert on > 0.9 * count


def test_hidden_and_occluded_points_are_behind_something(subjects):
    for photo, number, subject in subjects:
        height, width = photo.mask.shape
        inside = ((subject.keypoints_px >= 0) & (subject.keypoints_px < [width, height])).all(1)
        assert (subject.visibility[~inside] == HIDDEN).all()
        behind = inside & (subject.visibility == OCCLUDED)
        x, y = subject.keypoints_px[behind].astype(int).T
        assert (photo.depth_m[y, x] < subject.keypoints_m[behind, 2]).all()
        assert (photo.mask[y, x] >> 4 == number).all() and (photo.mask[y, x] & 15 != THING).all()


def test_boxes_hold_the_visible_surface(subjects):
    for photo, number, subject in subjects:
        low, high = subject.box_xyxy_px[:2], subject.box_xyxy_px[2:]
        height, width = photo.mask.shape
        assert (low >= 0).all() and (high <= [width, height]).all() and (low <= high).all()
        seen = subject.keypoints_px[subject.visibility == VISIBLE]
        assert ((seen > low - 4) & (seen < high + 4)).all()
        y, x = np.nonzero(((photo.mask >> 4) == number) & (photo.mask > 0) & (photo.mask & 15 != THING))
        if len(x):
            assert x.min() >= low[0] and y.min() >= low[1] and x.max() < high[0] and y.max() < high[1]


def test_close_ups_show_what_they_are_for(photos):
    for kind in ("hands", "faces"):
        for photo in photos[kind]:
            share = (photo.people[0].visibility[FOCUS[photo.focus]] == VISIBLE).mean()
            assert photo.image.shape == (256, 256, 3)
            assert share >= (0.5 if kind == "hands" else 0.3)
    assert {photo.focus for photo in photos["hands"]} == {"left_hand", "right_hand"}
    assert all(photo.image.shape == (256, 256, 3) and photo.focus == "body" for photo in photos["body"])


def test_people_are_large_enough(photos):
    tall = []
    for photo in photos["people"]:
        height, width = photo.mask.shape
        assert min(height, width) >= 480 and max(height, width) <= 1200
        assert photo.depth_m.shape == photo.mask.shape == photo.image.shape[:2]
        field = 2 * np.degrees(np.arctan(height / (2 * photo.focal_px)))
        assert 12 <= field <= 85
        box = photo.people[0].box_xyxy_px
        tall.append(max(box[2] - box[0], box[3] - box[1]))
    assert np.median(tall) >= 400


def test_the_same_seed_gives_the_same_photo(stage):
    for kind in KINDS:
        a, b = (sample_photo(kind, np.random.default_rng([5, 1]), stage) for _ in range(2))
        for name in ("image", "mask", "depth_m"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
        assert (a.focal_px, a.focus, a.place) == (b.focal_px, b.focus, b.place)
        for name in SUBJECT_LABELS:
            np.testing.assert_array_equal(getattr(a.people[0], name), getattr(b.people[0], name))


def test_labels_are_finite(subjects):
    for _, _, subject in subjects:
        assert all(np.isfinite(getattr(subject, field.name)).all() for field in fields(subject))
