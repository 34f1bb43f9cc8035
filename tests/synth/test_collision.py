"""Distances of capsules are exact, depths are symmetric, and bodies rest on their lowest parts."""

import numpy as np
import pytest

from openexpose.geometry.rotation import rotvec_to_matrix
from openexpose.synth import collision
from openexpose.synth.collision import default_capsules, depth_of, height_m, penetration_m, placed, settle, support
from openexpose.synth.limits import mirror_body
from openexpose.synth.skeleton import forward


@pytest.fixture(scope="module")
def capsules():
    return default_capsules()


def test_segments_agree_with_brute_force():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 40, 2, 3))
    t = np.linspace(0, 1, 201)[:, None]
    gap, s, u = collision._segments(a, b)
    for k in range(40):
        p, q = a[k, 0] + t * (a[k, 1] - a[k, 0]), b[k, 0] + t * (b[k, 1] - b[k, 0])
        assert gap[k] == pytest.approx(np.linalg.norm(p[:, None] - q, axis=-1).min(), abs=2e-3)
    assert ((s >= 0) & (s <= 1) & (u >= 0) & (u <= 1)).all()


def test_rest_and_hanging_arms_do_not_collide_but_an_arm_in_the_chest_does(capsules):
    pose = np.zeros((3, 22, 3))
    pose[1, [16, 17], 2] = [-1.35, 1.35]
    pose[2, 16, 2] = -1.75
    depth = penetration_m(capsules, *forward(pose, capsules.rest))
    assert depth[0] == 0 and depth[1] == 0 and depth[2] > 0.04


def test_depth_does_not_depend_on_place_and_is_the_same_in_a_mirror(capsules):
    pose = np.random.default_rng(1).normal(0, 0.5, (8, 22, 3))
    rotations, joints = forward(pose, capsules.rest)
    depth = penetration_m(capsules, rotations, joints)
    turn = rotvec_to_matrix(np.array([0.3, -1.0, 0.5]))
    np.testing.assert_allclose(penetration_m(capsules, turn @ rotations, joints @ turn.T + 5), depth, atol=1e-9)
    np.testing.assert_allclose(penetration_m(capsules, *forward(mirror_body(pose), capsules.rest)), depth, atol=3e-3)
    assert depth.max() > 0.01


def test_capsules_are_symmetric_and_grow_with_the_body(capsules):
    order = capsules.mirror
    np.testing.assert_allclose(capsules.radii[order], capsules.radii, atol=2e-3)
    heavy, light = (capsules.shaped(np.array([0, 0, 0, w])) for w in (-2.5, 2.5))
    assert (heavy.radii > light.radii).mean() > 0.7
    tall = capsules.shaped(np.array([2.0]))
    assert np.ptp(tall.rest[:, 1]) > 1.1 * np.ptp(capsules.rest[:, 1])
    np.testing.assert_array_equal(capsules.shaped(np.zeros(10)).radii, capsules.radii)


def test_capsules_of_limbs_lie_along_the_skin(capsules, stage):
    rotations, joints = forward(np.zeros((22, 3)), capsules.rest)
    limbs = capsules.of(("arm", "shin", "thigh")) & ~capsules.of(("left thigh", "right thigh"))
    middle = placed(capsules, rotations, joints)[limbs].mean(1)
    gap = np.linalg.norm(stage.model.v_template - middle[:, None], axis=-1).min(1)
    assert np.abs(gap - capsules.radii[limbs].mean(1)).max() < 0.015
    assert 0.1 < capsules.radii[capsules.of(("belly", "chest"))].mean() < 0.14


def test_standing_rests_on_the_feet_and_lying_is_lowest(capsules):
    rotations, joints = forward(np.zeros((22, 3)), capsules.rest)
    parts, floor = support(capsules, rotations, joints)
    assert parts == {"left foot", "right foot"} and floor == height_m(capsules, rotations, joints).min()
    turns = rotvec_to_matrix(np.radians([[0, 0, 0], [30.0, 0, 0], [90, 0, 0]]))
    assert settle(capsules, rotations, joints, turns) == 2


def test_points_are_found_inside(capsules):
    rotations, joints = forward(np.zeros((22, 3)), capsules.rest)
    everything = np.ones(len(capsules.parts), bool)
    inside, outside = joints[[3]] + [0, 0, 0.05], joints[[3]] + [0, 0, 0.5]
    assert depth_of(inside, capsules, rotations, joints, everything) > 0.05
    assert depth_of(outside, capsules, rotations, joints, everything) < -0.2
