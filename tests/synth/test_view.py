"""Views hold what they are for, and turn it upright."""

import numpy as np
import pytest

from openexpose.body.keypoints import IBUG68, INDEX, LEFT_HAND21, PARTS
from openexpose.synth.figure import sample_figure
from openexpose.synth.view import View, attention_view, body_view, box_view, face_view, hand_view, look_at


@pytest.fixture(scope="module")
def bodies(stage) -> list[tuple[np.ndarray, np.ndarray]]:
    """Joints and vertices in front of a camera that they face."""
    turn, shift = np.diag([1.0, -1, -1]), np.array([0.8, 0.6, 3.0])
    figures = [sample_figure(np.random.default_rng(k), stage, stance="prior") for k in range(4)]
    return [(f.moved(turn, shift).joints, f.moved(turn, shift).vertices) for f in figures]


@pytest.mark.parametrize("kind", ["body", "attention", "hand", "face"])
def test_views_hold_what_they_are_for(bodies, kind):
    rng = np.random.default_rng(11)
    for joints, vertices in bodies:
        view, part = {
            "body": lambda j, v: (body_view(j, v, rng), np.arange(55)),
            "attention": lambda j, v: (attention_view(j, "head", rng), PARTS["head"]),
            "hand": lambda j, v: (hand_view(j, "left", rng), LEFT_HAND21[:1]),
            "face": lambda j, v: (face_view(j, rng), IBUG68),
        }[kind](joints, vertices)
        np.testing.assert_allclose(view.T_view_photo @ view.T_view_photo.T, np.eye(3), atol=1e-9)
        assert np.abs(view.to_crop(joints[part])).mean() < 0.8
        assert np.abs(view.to_crop(joints[part])).max() < 1.6


def test_boxes_are_the_points_times_the_scale(bodies):
    for joints, _ in bodies:
        view = box_view(joints, 1.25, np.zeros(2), 1.0)
        crop = view.to_crop(joints)
        assert np.abs(crop).max() == pytest.approx(1 / 1.25, abs=0.06)


def test_the_torso_is_upright(bodies):
    rng = np.random.default_rng(0)
    angles = []
    for joints, vertices in bodies * 5:
        crop = body_view(joints, vertices, rng).to_crop(joints)
        hips = crop[[INDEX["left_hip"], INDEX["right_hip"]]].mean(0)
        up = crop[[INDEX["left_shoulder"], INDEX["right_shoulder"]]].mean(0) - hips
        angles.append(np.arctan2(up[0], -up[1]))
    assert np.abs(np.mean(angles)) < 0.1 and np.std(angles) < 0.2


def test_points_on_the_axis_are_in_the_middle():
    rng = np.random.default_rng(1)
    for point in rng.normal(0, 1, (10, 3)) + [0, 0, 3]:
        view = View(look_at(point), 0.3)
        np.testing.assert_allclose(view.to_crop(point[None]), 0, atol=1e-9)
