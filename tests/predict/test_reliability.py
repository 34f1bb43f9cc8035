"""Which samples are believed."""

from dataclasses import replace

import numpy as np
from tests.predict.moving import MODEL, people_of, standing

from openexpose.body.keypoints import INDEX
from openexpose.predict.columns import DEPTH, EXPRESSION, columns_of
from openexpose.predict.reliability import bridged, confidence, lasting_betas, outliers, repair

ELBOW = INDEX["left_elbow"]


def trembling(count: int, angle: np.ndarray | float = 0.0):
    rng = np.random.default_rng(0)
    rotvec, transl = standing(count)
    rotvec = rotvec + rng.normal(0, 0.01, rotvec.shape)
    rotvec[:, ELBOW, 1] += angle
    return people_of(rotvec, transl + rng.normal(0, 0.005, transl.shape))


def test_one_or_two_wild_samples_are_outliers_and_no_others() -> None:
    angle = np.zeros(40)
    angle[[10, 20, 21]] = 2.0
    people = trembling(40, angle)
    far = people.transl.copy()
    far[30, 2] = 6.0
    found = outliers(columns_of(MODEL, replace(people, transl=far)))
    np.testing.assert_array_equal(np.flatnonzero(found[:, ELBOW]), [10, 20, 21])
    np.testing.assert_array_equal(np.flatnonzero(found[:, DEPTH]), [30])
    assert found.sum() == 4


def test_quick_motions_are_no_outliers() -> None:
    times = np.arange(60) / 30
    for angle in (1.2 * np.sin(2 * np.pi * 3.0 * times), 8.0 * times, 2.0 * (np.abs(times - 1.0) < 0.5)):
        assert not outliers(columns_of(MODEL, trembling(60, angle))).any()


def test_limbs_are_as_sure_as_their_ends_and_nothing_surer_than_the_person() -> None:
    people = trembling(3)
    joints, parts = people.joint_confidence.copy(), people.part_confidence.copy()
    joints[0, INDEX["left_wrist"]] = 0.3
    parts[1, 3] = 0.2
    told = confidence(replace(people, joint_confidence=joints, part_confidence=parts, score=np.array([1.0, 1.0, 0.4])))
    assert told[0, ELBOW] == 0.3 and told[0].sum() == 57.3
    np.testing.assert_array_equal(np.flatnonzero(told[1] == 0.2), [12, 15, 22, 23, 24, EXPRESSION])
    assert (told[2] == 0.4).all()


def test_the_lasting_shape_bears_a_third_of_wrong_ones() -> None:
    people = trembling(30)
    betas = np.random.default_rng(1).normal(1.0, 0.1, (30, 10))
    betas[::3] = -40.0
    assert np.abs(lasting_betas(replace(people, betas=betas)) - 1.0).max() < 0.1
    unseen = np.ones((30, 144))
    unseen[10:] = 0.01
    betas[:10], betas[10:] = 2.0, -2.0
    np.testing.assert_allclose(lasting_betas(replace(people, betas=betas, joint_confidence=unseen)), 2.0, atol=0.05)


def test_samples_between_near_good_ones_are_bridged() -> None:
    times = np.arange(10) / 10
    kept = np.array([0, 0, 1, 0, 0, 1, 0, 0, 0, 0], bool)
    missing = np.zeros(10, bool)
    np.testing.assert_array_equal(np.flatnonzero(bridged(times, kept, missing)), [3, 4])
    np.testing.assert_array_equal(np.flatnonzero(bridged(2 * times, kept, missing)), [])
    np.testing.assert_array_equal(np.flatnonzero(bridged(times, np.zeros(10, bool), missing)), [])


def test_a_bridge_of_rotations_ignores_signs() -> None:
    half = np.linspace(0, 0.5, 11)
    true = np.stack([np.cos(half), np.sin(half), 0 * half, 0 * half], -1)
    told = true * np.where(np.arange(11) % 2, -1, 1)[:, None]
    told[5] = [0, 0, 1, 0]
    wild = np.arange(11) == 5
    found = repair(told, np.arange(11.0), ~wild, wild, turns=True)
    np.testing.assert_allclose(found, true, atol=1e-3)


def test_wild_rotations_that_stay_wind_nothing_up() -> None:
    """Three samples that turn by 120 degrees each: the rotation behind them is the one before, with the same sign."""
    told = np.tile([1.0, 0, 0, 0], (9, 1))
    for k, half in ((3, np.pi / 3), (4, 2 * np.pi / 3), (5, np.pi - 0.1)):
        told[k] = [np.cos(half), np.sin(half), 0, 0]
    kept = np.array([1, 1, 1, 0, 0, 0, 1, 1, 1], bool)
    found = repair(told, np.arange(9.0), kept, np.zeros(9, bool), turns=True)
    np.testing.assert_array_equal(found[kept], told[kept])
    assert (found[:, 0] > -1e-9).all()
