"""Metrics on cases computed by hand."""

import numpy as np
import pytest

from openexpose.errors import InputError
from openexpose.evaluation import metrics


def body(labelled: float = 2.0) -> np.ndarray:
    """Shoulders at y = 0, hips at y = 40, both 30 apart: diagonals of 50 pixels; the rest at (100, 100)."""
    points = np.full((17, 3), 100.0)
    points[:, 2] = labelled
    points[[5, 6, 11, 12], :2] = [[30, 0], [0, 0], [30, 40], [0, 40]]
    return points


def test_torso_is_the_mean_of_both_diagonals() -> None:
    points = body()[:, :2]
    assert metrics.torso_px(points) == 50.0
    points[11] = [0, 80]  # right shoulder (0, 0) to left hip: 80
    assert metrics.torso_px(points) == (50.0 + 80.0) / 2


def test_pck_counts_joints_nearer_than_a_fifth_of_the_torso() -> None:
    truth = body()
    predicted = truth[:, :2].copy()
    predicted[9, 0] += 9.9  # a hit: the threshold is 10 pixels
    predicted[10, 1] += 10.1  # a miss
    predicted[0] += 500.0  # the nose does not count
    hits = metrics.pck_hits(predicted, truth)
    assert hits.tolist() == [k != 10 for k in range(5, 17)]


def test_pck_leaves_out_what_is_unlabelled() -> None:
    truth = body()
    truth[15, 2] = 0
    assert metrics.pck_hits(truth[:, :2], truth).tolist() == [True] * 11
    truth[12, 2] = 0  # a hip: the torso is unknown
    assert metrics.pck_hits(truth[:, :2], truth).size == 0


def test_limb_errors_are_fractions_of_the_box_diagonal() -> None:
    truth = body()
    truth[6:, 2] = 0
    predicted = truth[:, :2] + [3.0, 4.0]
    np.testing.assert_allclose(metrics.limb_errors(predicted, truth, np.array([10.0, 10, 40, 50])), [5.0 / 50.0])


def test_face_error_uses_inner_points_and_outer_eye_corners() -> None:
    truth = np.zeros((68, 3))
    truth[:, 2] = 1
    truth[36, :2], truth[45, :2] = [10, 0], [60, 0]
    predicted = truth[:, :2] + [0.0, 5.0]
    predicted[:17] += 1000.0  # the contour does not count
    assert metrics.face_error(predicted, truth) == pytest.approx(0.1)
    truth[20, 2] = 0
    predicted[20] += 1000.0  # nor does what is unlabelled
    assert metrics.face_error(predicted, truth) == pytest.approx(0.1)
    truth[45, 2] = 0
    assert metrics.face_error(predicted, truth) is None


def test_hand_error_is_over_the_longer_side() -> None:
    truth = np.zeros((21, 3))
    truth[:, 2] = 1
    truth[1, :2], truth[2, :2] = [20, 0], [0, 40]
    predicted = truth[:, :2] + [4.0, 0.0]
    assert metrics.hand_size_px(truth) == 40.0
    assert metrics.hand_error(predicted, truth) == pytest.approx(0.1)
    assert metrics.hand_error(predicted, truth, wrist_aligned=True) == pytest.approx(0.0)
    predicted[0] -= [4.0, 0.0]  # only the wrist is right: aligning changes nothing, the wrist itself is left out
    assert metrics.hand_error(predicted, truth, wrist_aligned=True) == pytest.approx(0.1)
    assert metrics.hand_error(predicted, truth) == pytest.approx(0.1 * 20 / 21)


def test_hand_error_is_undefined_without_extent_or_wrist() -> None:
    truth = np.zeros((21, 3))
    assert metrics.hand_error(truth[:, :2], truth) is None
    truth[3:5] = [[1, 2, 1], [5, 9, 1]]
    assert metrics.hand_error(truth[:, :2], truth) == 0.0
    assert metrics.hand_error(truth[:, :2], truth, wrist_aligned=True) is None


def test_summary_pools_values_and_resamples_people() -> None:
    summary = metrics.summarise([np.array([1.0, 0.0]), np.array([1.0]), np.array([])])
    assert (summary.people, summary.mean, summary.median) == (2, pytest.approx(2 / 3), 1.0)
    assert (summary.low, summary.high) == (0.5, 1.0)  # both draws the first person, both the second
    assert metrics.summarise([]) is None


def test_interval_covers_the_mean_of_a_known_distribution() -> None:
    rng = np.random.default_rng(3)
    inside = 0
    for seed in range(100):
        summary = metrics.summarise(list(rng.normal(5.0, 2.0, (60, 1))), seed)
        inside += summary.low < 5.0 < summary.high
        assert summary.high - summary.low == pytest.approx(2 * 1.96 * 2.0 / np.sqrt(60), rel=0.35)
    assert 88 <= inside <= 99


def test_same_seed_same_interval() -> None:
    values = list(np.random.default_rng(0).random((30, 2)))
    assert metrics.summarise(values, 1) == metrics.summarise(values, 1)
    assert metrics.summarise(values, 1) != metrics.summarise(values, 2)


def test_paired_difference_knows_what_single_intervals_do_not() -> None:
    rng = np.random.default_rng(0)
    first = list(rng.normal(0, 10, (40, 1)))
    second = [value + 0.5 for value in first]
    difference = metrics.paired_difference(first, second)
    assert difference.mean == pytest.approx(-0.5)
    assert difference.high == pytest.approx(-0.5)
    with pytest.raises(InputError):
        metrics.paired_difference(first, second[:-1])
