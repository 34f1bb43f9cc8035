"""2D metrics on cases computed by hand, and OKS against COCO's own evaluation."""

import numpy as np
import pytest

from openexpose.errors import InputError
from openexpose.evaluation import planar


def body(labelled: float = 2.0) -> np.ndarray:
    """Shoulders at y = 0, hips at y = 40, both 30 apart: diagonals of 50 pixels; the rest at (100, 100)."""
    points = np.full((17, 3), 100.0)
    points[:, 2] = labelled
    points[[5, 6, 11, 12], :2] = [[30, 0], [0, 0], [30, 40], [0, 40]]
    return points


def face() -> np.ndarray:
    """All landmarks at the origin but the outer eye corners, which are 50 pixels apart."""
    truth = np.zeros((68, 3))
    truth[:, 2] = 1
    truth[36, :2], truth[45, :2] = [10, 0], [60, 0]
    return truth


def test_torso_is_the_mean_of_both_diagonals() -> None:
    points = body()[:, :2]
    assert planar.torso_px(points) == 50.0
    points[11] = [0, 80]  # right shoulder (0, 0) to left hip: 80
    assert planar.torso_px(points) == (50.0 + 80.0) / 2


def test_pck_counts_joints_nearer_than_a_fifth_of_the_torso() -> None:
    truth = body()
    predicted = truth[:, :2].copy()
    predicted[9, 0] += 9.9  # a hit: the threshold is 10 pixels
    predicted[10, 1] += 10.1  # a miss
    predicted[0] += 500.0  # the nose does not count
    hits = planar.pck_hits(predicted, truth)
    assert hits.tolist() == [k != 10 for k in range(5, 17)]
    predicted[9] = np.nan  # what was not predicted was missed
    assert planar.pck_hits(predicted, truth).tolist() == [k not in (9, 10) for k in range(5, 17)]


def test_pck_leaves_out_what_is_unlabelled() -> None:
    truth = body()
    truth[15, 2] = 0
    assert planar.pck_hits(truth[:, :2], truth).tolist() == [True] * 11
    truth[12, 2] = 0  # a hip: the torso is unknown
    assert planar.pck_hits(truth[:, :2], truth).size == 0


def test_limb_errors_are_fractions_of_the_box_diagonal() -> None:
    truth = body()
    truth[6:, 2] = 0
    predicted = truth[:, :2] + [3.0, 4.0]
    np.testing.assert_allclose(planar.limb_errors(predicted, truth, np.array([10.0, 10, 40, 50])), [5.0 / 50.0])


def test_face_error_uses_inner_points_and_outer_eye_corners() -> None:
    truth = face()
    predicted = truth[:, :2] + [0.0, 5.0]
    predicted[:17] += 1000.0  # the contour does not count
    assert planar.face_error(predicted, truth) == pytest.approx(0.1)
    truth[20, 2] = 0
    predicted[20] += 1000.0  # nor does what is unlabelled
    assert planar.face_error(predicted, truth) == pytest.approx(0.1)
    truth[45, 2] = 0
    assert planar.face_error(predicted, truth) is None


def test_contour_error_uses_the_seventeen_points() -> None:
    truth = face()
    predicted = truth[:, :2] + [3.0, 4.0]
    predicted[17:] += 1000.0
    assert planar.contour_error(predicted, truth) == pytest.approx(0.1)
    truth[:17, 2] = 0
    assert planar.contour_error(predicted, truth) is None
    truth[3, 2] = 1
    assert planar.contour_error(predicted, truth) == pytest.approx(0.1)
    predicted[3] = np.nan
    assert planar.contour_error(predicted, truth) is None


def test_face_errors_of_every_landmark() -> None:
    rng = np.random.default_rng(0)
    truth = np.concatenate([rng.normal(0, 50, (68, 2)), rng.integers(0, 2, (68, 1))], 1)
    truth[[36, 45], 2] = 1
    predicted = truth[:, :2] + rng.normal(size=(68, 2))
    errors = planar.face_errors_68(predicted, truth)
    for row in range(68):
        expected = np.hypot(*(predicted[row] - truth[row, :2])) / np.hypot(*(truth[36, :2] - truth[45, :2]))
        assert (truth[row, 2] == 0 and np.isnan(errors[row])) or errors[row] == pytest.approx(expected, abs=1e-9)
    assert planar.face_error(predicted, truth) == pytest.approx(np.nanmean(errors[17:]))
    assert planar.contour_error(predicted, truth) == pytest.approx(np.nanmean(errors[:17]))
    truth[36] = truth[45]
    assert np.isnan(planar.face_errors_68(predicted, truth)).all()


def test_hand_error_is_over_the_longer_side() -> None:
    truth = np.zeros((21, 3))
    truth[:, 2] = 1
    truth[1, :2], truth[2, :2] = [20, 0], [0, 40]
    predicted = truth[:, :2] + [4.0, 0.0]
    assert planar.hand_size_px(truth) == 40.0
    assert planar.hand_error(predicted, truth) == pytest.approx(0.1)
    assert planar.hand_error(predicted, truth, wrist_aligned=True) == pytest.approx(0.0)
    predicted[0] -= [4.0, 0.0]  # only the wrist is right: aligning changes nothing, the wrist itself is left out
    assert planar.hand_error(predicted, truth, wrist_aligned=True) == pytest.approx(0.1)
    assert planar.hand_error(predicted, truth) == pytest.approx(0.1 * 20 / 21)


def test_hand_error_is_undefined_without_extent_or_wrist() -> None:
    truth = np.zeros((21, 3))
    assert planar.hand_error(truth[:, :2], truth) is None
    truth[3:5] = [[1, 2, 1], [5, 9, 1]]
    assert planar.hand_error(truth[:, :2], truth) == 0.0
    assert planar.hand_error(truth[:, :2], truth, wrist_aligned=True) is None
    assert planar.hand_error(truth[:, :2] * np.nan, truth) is None


def test_oks_of_exact_near_and_missing_points() -> None:
    truth = body()
    assert planar.oks(truth[:, :2], truth, 5000.0) == 1.0
    sigma, area = planar.COCO_SIGMAS[9], 5000.0
    predicted = truth[:, :2].copy()
    predicted[9, 0] += 2 * sigma * np.sqrt(area)  # a distance of k s
    assert planar.oks(predicted, truth, area) == pytest.approx((16 + np.exp(-0.5)) / 17)
    predicted[9] = np.nan
    assert planar.oks(predicted, truth, area) == pytest.approx(16 / 17)
    assert planar.oks(predicted, body(labelled=0.0), area) is None
    with pytest.raises(InputError, match="area"):
        planar.oks(predicted, truth, 0.0)
    with pytest.raises(InputError, match="shapes"):
        planar.oks(predicted, truth, area, planar.COCO_SIGMAS[:5])


def test_oks_agrees_with_coco() -> None:
    pytest.importorskip("pycocotools")
    from pycocotools.cocoeval import COCOeval

    rng = np.random.default_rng(1)
    evaluation = COCOeval(iouType="keypoints")
    np.testing.assert_allclose(planar.COCO_SIGMAS, evaluation.params.kpt_oks_sigmas)
    for image in range(5):
        truth = np.concatenate([rng.uniform(0, 300, (17, 2)), rng.integers(0, 3, (17, 1))], 1)
        predicted = truth[:, :2] + 10 * rng.normal(size=(17, 2))
        area = rng.uniform(1000, 40000)
        known = {"keypoints": truth.reshape(-1).tolist(), "area": area, "bbox": [0, 0, 300, 300], "id": 1}
        answer = {"keypoints": np.c_[predicted, np.ones(17)].reshape(-1).tolist(), "score": 1.0, "id": 1}
        evaluation._gts[image, 1], evaluation._dts[image, 1] = [known], [answer]
        expected = evaluation.computeOks(image, 1)[0, 0]
        assert planar.oks(predicted, truth, area) == pytest.approx(expected, abs=1e-9)


def test_failure_rate_and_area_under_the_curve() -> None:
    errors = [0.02, 0.05, 0.2, np.nan, np.inf]
    assert planar.failure_rate(errors, 0.1) == 0.5
    assert planar.area_under_curve(errors, 0.1) == pytest.approx((0.8 + 0.5) / 4)
    assert planar.failure_rate([0.1], 0.1) == 0.0 and planar.area_under_curve([0.1], 0.1) == 0.0
    assert planar.area_under_curve([0.0, 0.0], 0.1) == 1.0
    assert np.isnan(planar.failure_rate([], 0.1)) and np.isnan(planar.area_under_curve([np.nan], 0.1))
    with pytest.raises(InputError):
        planar.area_under_curve([0.1], 0.0)


def test_area_under_the_curve_agrees_with_integration() -> None:
    errors = np.random.default_rng(2).gamma(4.0, 0.01, 300)
    at = (np.arange(20000) + 0.5) / 20000 * 0.07
    curve = (errors[None] <= at[:, None]).mean(1)
    assert planar.area_under_curve(errors, 0.07) == pytest.approx(curve.mean(), abs=1e-5)
    assert planar.failure_rate(errors, 0.07) == pytest.approx(1 - curve[-1])
