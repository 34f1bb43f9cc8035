"""Lens distortion: OpenCV's numbers, and the way back."""

import numpy as np
import pytest

from openexpose.geometry.lens import distorted, undistorted

LENS = np.array([-0.28, 0.09, 0.0012, -0.0007, -0.011])


def test_it_is_opencvs() -> None:
    cv2 = pytest.importorskip("cv2")
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (50, 3)) + [0.0, 0.0, 2.0]
    expected = cv2.projectPoints(points, np.zeros(3), np.zeros(3), np.eye(3), LENS)[0][:, 0]
    np.testing.assert_allclose(distorted(points[:, :2] / points[:, 2:], LENS), expected, atol=1e-12)


def test_known_numbers() -> None:
    """By hand, at (0.5, 0.25): r^2 = 0.3125."""
    found = distorted(np.array([0.5, 0.25]), np.array([0.1, 0.0, 0.01, 0.02, 0.0]))
    expected = [0.5 * 1.03125 + 0.0025 + 0.02 * 0.8125, 0.25 * 1.03125 + 0.005 + 0.01 * 0.4375]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_the_way_back() -> None:
    plane = np.random.default_rng(1).uniform(-0.6, 0.6, (40, 2))
    np.testing.assert_allclose(undistorted(distorted(plane, LENS), LENS), plane, atol=1e-8)
    np.testing.assert_array_equal(undistorted(plane, np.zeros(5)), plane)


def test_what_no_lens_shows_is_nan() -> None:
    """With k1 = -0.3 nothing is seen farther out than 2 / 3 * sqrt(1 / 0.9) = 0.703."""
    lens = np.array([-0.3, 0.0, 0.0, 0.0, 0.0])
    found = undistorted(np.array([[0.69, 0.0], [0.71, 0.0], [np.nan, 0.0], [1.2, -0.4]]), lens)
    np.testing.assert_array_equal(np.isnan(found).all(1), [False, True, True, True])
    assert found[0, 0] < np.sqrt(1 / 0.9)
