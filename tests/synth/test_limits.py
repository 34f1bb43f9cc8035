"""Limits are symmetric and idempotent; finger joints have their own axes, and the outer ones are hinges."""

import numpy as np

from openexpose.body.keypoints import INDEX
from openexpose.synth import limits


def test_limits_are_symmetric_and_mirroring_undoes_itself():
    pose = np.random.default_rng(2).normal(size=(5, 22, 3))
    np.testing.assert_array_equal(limits.mirror_body(limits.mirror_body(pose)), pose)
    np.testing.assert_allclose(limits.mirror_body(limits.clip_body(pose)), limits.clip_body(limits.mirror_body(pose)))
    np.testing.assert_allclose(limits.clip_body(limits.clip_body(pose)), limits.clip_body(pose), atol=1e-12)
    hand = pose[0, :15]
    np.testing.assert_array_equal(limits.mirror_hand(limits.mirror_hand(hand)), hand)


def test_necks_and_heads_do_not_bend_back_together():
    pose = np.zeros((22, 3))
    pose[[INDEX["neck"], INDEX["head"]], 0] = -0.8
    clipped = limits.clip_body(pose)
    assert -np.degrees(clipped[[INDEX["neck"], INDEX["head"]], 0].sum()) <= 48 + 1e-6


def test_finger_axes_are_orthonormal_and_invert():
    frames = limits.FINGER_FRAMES
    np.testing.assert_allclose(np.swapaxes(frames, 1, 2) @ frames, np.tile(np.eye(3), (15, 1, 1)), atol=1e-12)
    pose = np.random.default_rng(0).normal(size=(3, 15, 3))
    np.testing.assert_allclose(limits.from_bend_spread_twist(limits.bend_spread_twist(pose)), pose, atol=1e-12)


def test_clipped_hands_are_inside_and_outer_joints_are_hinges():
    wild = np.random.default_rng(1).normal(size=(200, 15, 3))
    angles = np.degrees(limits.bend_spread_twist(limits.clip_right_hand(wild)))
    assert (angles >= np.degrees(limits.FINGER_LOW) - 1e-9).all()
    assert (angles <= np.degrees(limits.FINGER_HIGH) + 1e-9).all()
    outer = np.delete(np.arange(15), [0, 3, 6, 9, 12, 13])
    assert np.abs(angles[:, outer, 1:]).max() <= 8 + 1e-9
    np.testing.assert_allclose(
        limits.clip_right_hand(limits.clip_right_hand(wild)), limits.clip_right_hand(wild), atol=1e-12
    )
