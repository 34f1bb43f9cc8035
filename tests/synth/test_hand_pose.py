"""Hands stay inside the limits; grasping fingers touch what they hold and do not go through it."""

import numpy as np
import pytest

from openexpose.body.keypoints import INDEX
from openexpose.body.mesh import keypoints
from openexpose.synth import limits
from openexpose.synth.grasp import (
    SHAPES,
    HeldObject,
    clearance,
    default_hand,
    finger_joints,
    sample_grasp,
    sample_pinch,
)
from openexpose.synth.hand_pose import GESTURES, gesture, sample_hand_pose, sample_hands
from openexpose.synth.pose import Face, full_pose, sample_body

_TOLERANCE_M = 0.003


def _inside(poses):
    angles = limits.bend_spread_twist(poses)
    return bool((angles >= limits.FINGER_LOW - 1e-9).all() and (angles <= limits.FINGER_HIGH + 1e-9).all())


def test_samples_respect_the_limits_and_vary(stage):
    rng = np.random.default_rng(1)
    poses = np.stack([sample_hand_pose(rng, stage.poses) for _ in range(300)])
    assert _inside(poses)
    bend = np.degrees(limits.bend_spread_twist(poses)[..., 0])
    assert poses[:, :12, 2].mean() > 0.2  # right fingers close about +z
    assert bend[:, :12].std(0).min() > 18 and bend[:, 12:].std(0).min() > 10
    off = np.degrees(limits.bend_spread_twist(poses)[:, [1, 2, 4, 5, 7, 8, 10, 11, 14], 1:])
    assert np.abs(off).max() <= 8 + 1e-6  # hinges


def test_gestures_stretch_the_fingers_they_name():
    rng = np.random.default_rng(2)
    for name, (stretched, _) in GESTURES.items():
        bend = np.degrees(limits.bend_spread_twist(gesture(rng, name))[:12, 0]).reshape(4, 3).sum(1)
        assert {k for k in range(4) if bend[k] < 70} == set(stretched), name


def test_finger_joints_agree_with_the_body_model(stage):
    rng = np.random.default_rng(3)
    right = sample_hand_pose(rng, stage.poses)
    face = Face(np.zeros(20), np.zeros(3), np.zeros((2, 3)))
    pose = full_pose(np.zeros((22, 3)), right, right, face)
    points = keypoints(stage.model, pose[None], np.zeros((1, 10)), np.zeros((1, 20)))[0]
    mine = finger_joints(right, default_hand())[:, :3].reshape(15, 3)
    first = INDEX["right_index1"]
    np.testing.assert_allclose(mine + points[INDEX["right_wrist"]], points[first : first + 15], atol=1e-5)
    mirrored = points[25:40] * [-1, 1, 1]
    np.testing.assert_allclose(mirrored, points[first : first + 15], atol=1e-3)


def test_grasping_fingers_touch_and_do_not_go_through():
    rng, hand = np.random.default_rng(4), default_hand()
    touching = []
    for _ in range(40):
        pose, thing = sample_grasp(rng, hand)
        gaps = clearance(pose, thing, hand)
        assert gaps.min() > -_TOLERANCE_M and _inside(pose)
        touching.append((gaps.min(-1) < _TOLERANCE_M).sum())
        assert thing.look in SHAPES[thing.shape]
    assert np.mean(np.array(touching) >= 3) > 0.9


def test_pinched_things_are_between_two_tips():
    rng, hand = np.random.default_rng(5), default_hand()
    gaps = []
    for _ in range(25):
        pose, thing = sample_pinch(rng, hand)
        tips = clearance(pose, thing, hand)
        assert np.abs(tips[[0, 4], 2]).max() < _TOLERANCE_M and _inside(pose)
        gaps.append(tips.min())
    assert min(gaps) > -_TOLERANCE_M


@pytest.mark.parametrize("shape", ["cylinder", "sphere", "box"])
def test_distances_to_objects(shape):
    size = np.full(3, 0.03) if shape == "sphere" else np.array([0.03, 0.06, 0.03 if shape == "cylinder" else 0.01])
    thing = HeldObject("ball", shape, size, np.eye(3), np.array([0.1, 0, 0]))
    points = np.array([[0.2, 0, 0], [0.1, 0, 0]])
    outside, inside = thing.distance(points)
    assert outside == pytest.approx(0.07) and inside == pytest.approx(-size.min())
    if shape != "sphere":
        assert thing.distance(np.array([0.1, 0.1, 0])) == pytest.approx(0.04)


def test_hands_fit_the_arms(stage):
    rng = np.random.default_rng(6)
    for _ in range(6):
        body = sample_body(rng, stage.poses, stance="prior", arms="point")
        hands = sample_hands(rng, stage.poses, body, holding=1.0)
        assert _inside(hands.right) and _inside(hands.left_as_right)
        assert all(hands.props[("left", "right")[side]] is None for side in body.sides)
    held = [sample_hands(rng, stage.poses, holding=1.0).props for _ in range(20)]
    assert sum(prop is not None for props in held for prop in props.values()) > 30
    assert not any(any(sample_hands(rng, stage.poses, holding=0.0).props.values()) for _ in range(10))
    clasped = sample_body(np.random.default_rng(1), stage.poses, stance="prior", arms="clasped")
    assert not any(sample_hands(rng, stage.poses, clasped).props.values())


def test_a_seed_gives_one_pair_of_hands(stage):
    first, second = (sample_hands(np.random.default_rng(9), stage.poses, holding=0.5) for _ in range(2))
    np.testing.assert_array_equal(first.right, second.right)
    np.testing.assert_array_equal(first.left_as_right, second.left_as_right)
