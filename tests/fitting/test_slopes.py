"""Derivatives of keypoints: what a small change really does to them."""

import numpy as np
import pytest

from openexpose.body.mesh import keypoints
from openexpose.body.model import BodyModel, load_body_model
from openexpose.fitting.slopes import keypoint_slopes
from openexpose.geometry.rotation import rotvec_to_matrix

EVERY, JOINTS = np.arange(144), np.arange(55)


@pytest.fixture(scope="module")
def model() -> BodyModel:
    return load_body_model(num_betas=4, num_expression=3)


@pytest.fixture(scope="module")
def people() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    pose = rotvec_to_matrix(0.3 * rng.normal(size=(2, 55, 3)))
    pose[:, 0] = rotvec_to_matrix(np.array([[3.0, 0.2, 0.1], [0.4, 1.0, -2.0]]))
    return pose, rng.normal(size=(2, 4)), rng.normal(size=(2, 3))


def test_points_are_the_keypoints(model: BodyModel, people: tuple) -> None:
    which = np.array([143, 0, 60, 21, 100])
    slopes = keypoint_slopes(model, *people, which, JOINTS[:3])
    np.testing.assert_allclose(slopes.points, keypoints(model, *people)[:, which], atol=1e-6)
    assert slopes.turns.shape == (2, 5, 3, 3, 3) and slopes.coefficients.shape == (2, 5, 3, 7)


def test_turning_a_joint_moves_keypoints_as_told(model: BodyModel, people: tuple) -> None:
    pose, betas, expression = people
    slopes, step = keypoint_slopes(model, *people, EVERY, JOINTS), 2e-3
    for joint in (0, 3, 9, 12, 15, 16, 18, 20, 22, 30, 54):
        for axis in range(3):
            turn = rotvec_to_matrix(step * np.eye(3)[axis])
            there, back = pose.copy(), pose.copy()
            there[:, joint], back[:, joint] = pose[:, joint] @ turn, pose[:, joint] @ turn.T
            moved = keypoints(model, there, betas, expression).astype(float) - keypoints(model, back, betas, expression)
            told = slopes.turns[:, :127, :, joint, axis]  # the contour slides when the neck turns
            np.testing.assert_allclose(told, moved[:, :127] / (2 * step), atol=4e-4)


def test_coefficients_move_keypoints_as_told(model: BodyModel, people: tuple) -> None:
    pose, betas, expression = people
    slopes, step = keypoint_slopes(model, *people, EVERY, JOINTS[:1]), 0.05
    for k in range(7):
        change = step * np.eye(7)[k]
        there = keypoints(model, pose, betas + change[:4], expression + change[4:]).astype(float)
        back = keypoints(model, pose, betas - change[:4], expression - change[4:])
        np.testing.assert_allclose(slopes.coefficients[..., k], (there - back) / (2 * step), atol=5e-5)
