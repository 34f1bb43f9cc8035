"""Laws of the rotation formats, with the degenerate angles on purpose."""

import numpy as np
import pytest

from openexpose.geometry.rotation import (
    cross_matrix,
    matrix_to_quaternion,
    matrix_to_rotvec,
    matrix_to_sixd,
    mirror_rotation,
    project_to_so3,
    quaternion_to_matrix,
    rotation_about_z,
    rotation_between,
    rotvec_to_matrix,
    sixd_to_matrix,
)

ANGLES = [0.0, 1e-12, 1e-8, 1e-5, 0.99e-4, 1.01e-4, 0.1, 1.0, 3.0, np.pi - 1e-4, np.pi - 1e-9, np.pi]


def axes(count: int = 50) -> np.ndarray:
    random = np.random.default_rng(0).normal(size=(count, 3))
    every = np.concatenate([np.eye(3), -np.eye(3), [[1, 1, 0], [0, -1, 1]], random])
    return every / np.linalg.norm(every, axis=-1, keepdims=True)


def naive_rotvec_to_matrix(rotvec: np.ndarray) -> np.ndarray:
    """The exponential of the skew-symmetric matrix, by its power series."""
    skew, term, total = cross_matrix(rotvec), np.eye(3), np.eye(3)
    for k in range(1, 40):
        term = term @ skew / k
        total = total + term
    return total


@pytest.mark.parametrize("angle", ANGLES)
def test_rotvec_to_matrix_is_the_matrix_exponential(angle: float) -> None:
    matrices = rotvec_to_matrix(angle * axes())
    np.testing.assert_allclose(
        matrices @ matrices.swapaxes(-1, -2), np.broadcast_to(np.eye(3), matrices.shape), atol=1e-12
    )
    np.testing.assert_allclose(np.linalg.det(matrices), 1.0, atol=1e-12)
    for rotvec, matrix in zip(angle * axes(), matrices, strict=True):
        np.testing.assert_allclose(matrix, naive_rotvec_to_matrix(rotvec), atol=1e-11)


@pytest.mark.parametrize("angle", ANGLES)
def test_matrix_to_rotvec_inverts(angle: float) -> None:
    matrices = rotvec_to_matrix(angle * axes())
    back = matrix_to_rotvec(matrices)
    assert (np.linalg.norm(back, axis=-1) <= np.pi + 1e-9).all()
    np.testing.assert_allclose(rotvec_to_matrix(back), matrices, atol=1e-9)
    if angle < 3.1:  # at pi both signs of the axis are the same rotation
        np.testing.assert_allclose(back, angle * axes(), atol=1e-9)


def test_rotvec_known_values() -> None:
    quarter = rotvec_to_matrix(np.array([0.0, 0.0, np.pi / 2]))
    np.testing.assert_allclose(quarter @ [1, 0, 0], [0, 1, 0], atol=1e-15)
    np.testing.assert_array_equal(rotvec_to_matrix(np.zeros((2, 3))), [np.eye(3)] * 2)
    np.testing.assert_array_equal(matrix_to_rotvec(np.eye(3)), np.zeros(3))
    np.testing.assert_allclose(np.abs(matrix_to_rotvec(np.diag([1.0, -1.0, -1.0]))), [np.pi, 0, 0], atol=1e-12)


def test_float32_stays_float32_and_close() -> None:
    rotvec = (2.0 * axes()).astype(np.float32)
    matrices = rotvec_to_matrix(rotvec)
    assert matrices.dtype == np.float32 and matrix_to_rotvec(matrices).dtype == np.float32
    assert sixd_to_matrix(matrix_to_sixd(matrices)).dtype == np.float32
    assert mirror_rotation(matrices).dtype == np.float32
    np.testing.assert_allclose(matrix_to_rotvec(matrices), rotvec, atol=1e-5)


def test_empty_batches_pass_through() -> None:
    none = rotvec_to_matrix(np.zeros((0, 3)))
    assert none.shape == (0, 3, 3) and matrix_to_rotvec(none).shape == (0, 3)
    assert sixd_to_matrix(matrix_to_sixd(none)).shape == (0, 3, 3) and project_to_so3(none).shape == (0, 3, 3)


@pytest.mark.parametrize("angle", ANGLES)
def test_quaternions_of_either_sign_lead_back(angle: float) -> None:
    matrices = rotvec_to_matrix(angle * axes())
    for sign in (1.0, -1.0):
        np.testing.assert_allclose(quaternion_to_matrix(sign * matrix_to_quaternion(matrices)), matrices, atol=1e-12)


@pytest.mark.parametrize("angle", ANGLES)
def test_quaternions_are_unit_and_positive_and_rotate_alike(angle: float) -> None:
    matrices = rotvec_to_matrix(angle * axes())
    quat = matrix_to_quaternion(matrices)
    np.testing.assert_allclose(np.linalg.norm(quat, axis=-1), 1.0, atol=1e-12)
    assert (quat[..., 0] >= 0).all()
    np.testing.assert_allclose(quat[..., 0], np.cos(angle / 2), atol=1e-9)
    w, vector = quat[..., :1], quat[..., 1:]
    point = np.array([0.3, -0.5, 0.8])
    turned = point + 2.0 * w * np.cross(vector, point) + 2.0 * np.cross(vector, np.cross(vector, point))
    np.testing.assert_allclose(turned, matrices @ point, atol=1e-9)


def test_sixd_round_trip_and_layout() -> None:
    matrices = rotvec_to_matrix(1.3 * axes())
    np.testing.assert_allclose(sixd_to_matrix(matrix_to_sixd(matrices)), matrices, atol=1e-12)
    np.testing.assert_array_equal(matrix_to_sixd(np.arange(9.0).reshape(3, 3)), [0, 1, 3, 4, 6, 7])
    np.testing.assert_array_equal(sixd_to_matrix(np.array([1.0, 0, 0, -1, 0, 0])), np.diag([1.0, -1.0, -1.0]))


def test_sixd_ignores_lengths_and_the_part_along_the_first_column() -> None:
    rng = np.random.default_rng(1)
    code = rng.normal(size=(20, 3, 2))
    matrices = sixd_to_matrix(code.reshape(20, 6))
    np.testing.assert_allclose(matrices @ matrices.swapaxes(-1, -2), np.tile(np.eye(3), (20, 1, 1)), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(matrices), 1.0, atol=1e-12)
    other = np.stack([3.0 * code[..., 0], 0.5 * code[..., 1] + 0.7 * code[..., 0]], -1)
    np.testing.assert_allclose(sixd_to_matrix(other.reshape(20, 6)), matrices, atol=1e-12)


def test_mirror_is_an_involution_and_a_homomorphism() -> None:
    a, b = rotvec_to_matrix(1.3 * axes()), rotvec_to_matrix(-0.4 * axes()[::-1])
    np.testing.assert_array_equal(mirror_rotation(mirror_rotation(a)), a)
    np.testing.assert_allclose(mirror_rotation(a @ b), mirror_rotation(a) @ mirror_rotation(b), atol=1e-12)
    flip = np.diag([-1.0, 1.0, 1.0])
    np.testing.assert_allclose(mirror_rotation(a), flip @ a @ flip, atol=1e-15)
    rotvec = 1.3 * axes()
    np.testing.assert_allclose(matrix_to_rotvec(mirror_rotation(a)), rotvec * [1, -1, -1], atol=1e-9)


def test_rotation_about_z_turns_clockwise_on_the_screen() -> None:
    np.testing.assert_allclose(rotation_about_z(np.pi / 2) @ [1, 0, 0], [0, 1, 0], atol=1e-15)  # right becomes down
    angles = np.array([[0.3, -2.0], [0.0, 4.0]])
    np.testing.assert_allclose(rotation_about_z(angles), rotvec_to_matrix(angles[..., None] * [0, 0, 1]), atol=1e-12)


def test_rotation_between_is_the_smallest_one() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(2, 30, 3))
    matrices = rotation_between(a, b)
    unit_a, unit_b = (v / np.linalg.norm(v, axis=-1, keepdims=True) for v in (a, b))
    np.testing.assert_allclose((matrices @ unit_a[..., None])[..., 0], unit_b, atol=1e-12)
    angle = np.linalg.norm(matrix_to_rotvec(matrices), axis=-1)
    np.testing.assert_allclose(np.cos(angle), (unit_a * unit_b).sum(-1), atol=1e-12)
    np.testing.assert_allclose(rotation_between(a, a), np.tile(np.eye(3), (30, 1, 1)), atol=1e-12)


def test_cross_matrix() -> None:
    v, w = np.random.default_rng(3).normal(size=(2, 10, 3))
    np.testing.assert_allclose((cross_matrix(v) @ w[..., None])[..., 0], np.cross(v, w), atol=1e-15)


def test_project_to_so3_finds_the_nearest_rotation() -> None:
    rng = np.random.default_rng(4)
    rotations = rotvec_to_matrix(1.3 * axes())
    np.testing.assert_allclose(project_to_so3(rotations), rotations, atol=1e-12)
    stretch = rng.normal(size=(len(rotations), 3, 3))
    stretch = stretch @ stretch.swapaxes(-1, -2) + 0.1 * np.eye(3)
    np.testing.assert_allclose(project_to_so3(rotations @ stretch), rotations, atol=1e-9)  # polar decomposition
    noisy = rng.normal(size=(40, 3, 3))
    noisy[::2] *= np.sign(np.linalg.det(noisy[::2]))[:, None, None] * -1  # half of them reflections
    nearest = project_to_so3(noisy)
    np.testing.assert_allclose(np.linalg.det(nearest), 1.0, atol=1e-12)
    distance = np.linalg.norm(noisy - nearest, axis=(1, 2))
    for rotation in rotations:
        assert (distance <= np.linalg.norm(noisy - rotation, axis=(1, 2)) + 1e-12).all()
