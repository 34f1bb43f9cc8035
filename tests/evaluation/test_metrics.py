"""Laws of the 3D metrics, and agreement with other implementations."""

import numpy as np
import pytest
from scipy.spatial import procrustes
from scipy.spatial.transform import Rotation

from openexpose.errors import InputError
from openexpose.evaluation import metrics
from openexpose.geometry.rotation import rotvec_to_matrix


def move(points: np.ndarray, rng: np.random.Generator, scale: float = 1.0) -> np.ndarray:
    return scale * points @ rotvec_to_matrix(2 * rng.normal(size=3)).T + rng.normal(size=3)


def face_mesh() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A bent grid of 0.2 x 0.2 metres, and seven landmarks on its vertices."""
    x, y = np.meshgrid(np.linspace(-0.1, 0.1, 21), np.linspace(-0.1, 0.1, 21))
    vertices = np.stack([x, y, -5 * x**2 - 2 * y**2 - 3 * x * y], -1).reshape(-1, 3)
    corner = (np.arange(20)[:, None] * 21 + np.arange(20)).reshape(-1, 1)
    faces = np.concatenate([corner + [0, 1, 22], corner + [0, 22, 21]])
    rows = [(6, 6), (6, 9), (6, 11), (6, 14), (12, 10), (15, 8), (15, 12)]
    return vertices, faces, vertices[[row * 21 + column for row, column in rows]]


def test_joint_errors_are_distances() -> None:
    rng = np.random.default_rng(0)
    pred, true = rng.normal(size=(2, 9, 3))
    expected = [sum((a - b) ** 2 for a, b in zip(p, t, strict=True)) ** 0.5 for p, t in zip(pred, true, strict=True)]
    np.testing.assert_allclose(metrics.joint_errors(pred, true), expected, atol=1e-9)
    np.testing.assert_allclose(metrics.joint_errors(true + [0, 0.03, -0.04], true), 0.05)
    np.testing.assert_allclose(metrics.joint_errors(1000 * pred, 1000 * true), 1000 * np.array(expected))


def test_pelvis_alignment_removes_translation_only() -> None:
    rng = np.random.default_rng(1)
    pred, true = rng.normal(size=(2, 14, 3))
    expected = metrics.pelvis_aligned_errors(pred, true)
    np.testing.assert_allclose(metrics.pelvis_aligned_errors(pred + rng.normal(size=3), true), expected, atol=1e-9)
    for row in range(14):
        offset = pred[row] - (pred[2] + pred[3]) / 2 - true[row] + (true[2] + true[3]) / 2
        assert expected[row] == pytest.approx(np.sqrt((offset**2).sum()), abs=1e-9)
    assert metrics.pelvis_aligned_errors(2 * true, true).mean() > 0.1
    with pytest.raises(InputError):
        metrics.pelvis_aligned_errors(pred[:3], true[:3])


def test_a_similarity_leaves_no_procrustes_error() -> None:
    rng = np.random.default_rng(2)
    for scale in (0.2, 1.0, 5.0):
        true = rng.normal(size=(50, 3))
        assert metrics.procrustes_errors(move(true, rng, scale), true).max() < 1e-9


def test_a_mirrored_body_keeps_a_procrustes_error() -> None:
    true = np.random.default_rng(3).normal(size=(50, 3)) * [0.3, 1.0, 0.2]
    assert metrics.procrustes_errors(true * [-1, 1, 1], true).mean() > 0.05


def test_procrustes_errors_agree_with_scipy() -> None:
    rng = np.random.default_rng(4)
    for _ in range(5):
        true = rng.normal(size=(30, 3))
        pred = move(true, rng, 1.7) + 0.05 * rng.normal(size=(30, 3))
        errors = metrics.procrustes_errors(pred, true)
        a, b = pred - pred.mean(0), true - true.mean(0)
        turn = Rotation.align_vectors(b, a)[0]
        scale = (turn.apply(a) * b).sum() / (a**2).sum()
        np.testing.assert_allclose(errors, np.linalg.norm(scale * turn.apply(a) - b, axis=1), atol=1e-9)
        unit_true, aligned, disparity = procrustes(true, pred)  # true comes out with norm 1, so that the scale is known
        size = np.linalg.norm(b)
        np.testing.assert_allclose(errors, size * np.linalg.norm(unit_true - aligned, axis=1), atol=1e-9)
        assert (errors**2).sum() == pytest.approx(disparity * size**2)


def test_procrustes_is_the_least_error_of_all_alignments() -> None:
    rng = np.random.default_rng(5)
    pred, true = rng.normal(size=(2, 20, 3))
    best = (metrics.procrustes_errors(pred, true) ** 2).sum()
    assert best <= (metrics.translation_errors(pred, true) ** 2).sum() <= (metrics.joint_errors(pred, true) ** 2).sum()


def test_undefined_alignments_are_refused() -> None:
    points = np.random.default_rng(6).normal(size=(5, 3))
    for pred, true in (
        (points[:2], points[:2]),
        (np.ones((5, 3)), points),
        (points, np.ones((5, 3))),
        (points, points[:4]),
        (points * np.nan, points),
        (points[:, :2], points[:, :2]),
    ):
        with pytest.raises(InputError):
            metrics.procrustes_errors(pred, true)


def test_errors_of_collinear_points_are_defined() -> None:
    """The rotation about the line is free, but no distance depends on it."""
    rng = np.random.default_rng(7)
    line, points = np.outer(rng.normal(size=6), [1.0, 2.0, 3.0]), rng.normal(size=(6, 3))
    assert metrics.procrustes_errors(move(line, rng, 3.0), line).max() < 1e-9
    errors = metrics.procrustes_errors(points, line)
    np.testing.assert_allclose(metrics.procrustes_errors(move(points, rng), line), errors, atol=1e-9)


def test_translation_errors_forget_translation_only() -> None:
    rng = np.random.default_rng(8)
    pred, true = rng.normal(size=(2, 40, 3))
    assert metrics.translation_errors(true + [1, 2, 3], true).max() < 1e-9
    assert metrics.translation_errors(1.1 * true, true).mean() > 0.05
    offsets = pred - true - sum(pred - true) / 40
    np.testing.assert_allclose(metrics.translation_errors(pred, true), [np.sqrt(o @ o) for o in offsets], atol=1e-9)
    at_joint = metrics.translation_errors(pred, true, (pred[7], true[7]))
    assert at_joint[7] == 0.0
    np.testing.assert_allclose(at_joint[3], np.linalg.norm(pred[3] - pred[7] - true[3] + true[7]))


def test_f_score_agrees_with_loops() -> None:
    rng = np.random.default_rng(9)
    pred, true = rng.normal(size=(40, 3)), rng.normal(size=(55, 3))
    for threshold in (0.3, 0.6, 1.0):
        precision = np.mean([min(np.linalg.norm(p - t) for t in true) < threshold for p in pred])
        recall = np.mean([min(np.linalg.norm(p - t) for p in pred) < threshold for t in true])
        expected = 2 * precision * recall / (precision + recall)
        assert metrics.f_score(pred, true, threshold) == pytest.approx(expected, abs=1e-9)
        assert metrics.f_score(true, pred, threshold) == pytest.approx(expected, abs=1e-9)


def test_f_score_of_equal_shifted_and_distant_sets() -> None:
    grid = np.stack(np.meshgrid(*[np.arange(4.0)] * 3), -1).reshape(-1, 3)
    assert metrics.f_score(grid, grid, 1e-6) == 1.0
    assert metrics.f_score(grid + [0.01, 0, 0], grid, 0.005) == 0.0
    assert metrics.f_score(grid + [0.01, 0, 0], grid, 0.015) == 1.0
    with pytest.raises(InputError):
        metrics.f_score(grid, grid, 0.0)


def test_scan_of_a_similar_mesh_has_no_distance() -> None:
    vertices, faces, landmarks = face_mesh()
    rng = np.random.default_rng(10)
    both = move(np.concatenate([vertices, landmarks]), rng, 1000.0)  # the mesh in millimetres, elsewhere
    distances = metrics.scan_distances(vertices, landmarks, both[: len(vertices)], faces, both[len(vertices) :])
    assert distances.max() < 1e-9 and 20 < len(distances) < len(vertices)


def test_scan_in_front_of_the_mesh_has_that_distance() -> None:
    vertices, faces, landmarks = face_mesh()
    flat, marks = vertices * [1, 1, 0], landmarks * [1, 1, 0]
    scan = flat + [0, 0, 0.002]  # the landmarks say that nothing has to move
    np.testing.assert_allclose(metrics.scan_distances(scan, marks, flat, faces, marks), 0.002, atol=1e-12)


def test_scan_points_are_those_around_the_nose() -> None:
    """The region in numbers: landmarks (in millimetres) with eyes 90 wide and a nose 40 long."""
    marks = np.array([[-45, 0, 0], [-15, 0, 0], [15, 0, 0], [45, 0, 0], [0, 40, 0], [-20, 60, 0], [20, 60, 0.0]])
    square = np.array([[-500, -500, 0], [500, -500, 0], [500, 500, 0], [-500, 500, 0.0]])
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    reach, centre = 1.2 * (90 + 40) / 2, np.array([0, 28, 0.0])
    scan = centre + np.array([[0, 0, 0], [reach - 0.1, 0, 0], [0, reach + 0.1, 0], [0, 0, -7], [0, 0, reach + 0.1]])
    np.testing.assert_allclose(metrics.scan_distances(scan, marks, square, faces, marks), [0, 0, 7], atol=1e-9)
    assert len(metrics.scan_distances(scan, marks, square, faces, marks, radius=1.4)) == 5
    with pytest.raises(InputError, match="around"):
        metrics.scan_distances(scan + 1000.0, marks, square, faces, marks)
    with pytest.raises(InputError, match="line"):
        metrics.scan_distances(scan, marks, square, faces, marks * [1, 0, 0])
    with pytest.raises(InputError, match="landmarks"):
        metrics.scan_distances(scan, marks[:5], square, faces, marks[:5])


def test_acceleration_of_parabolas_is_known() -> None:
    fps, steps = 30.0, np.arange(12)[:, None, None] / 30.0
    still = np.zeros((12, 4, 3))
    falling = still + 0.5 * np.array([0, 9.81, 0]) * steps**2 + 3.0 * steps + 1.0
    np.testing.assert_allclose(metrics.acceleration_errors(falling, still, fps), np.full(10, 9.81))
    np.testing.assert_allclose(metrics.acceleration_errors(falling, still), np.full(10, 9.81 / fps**2))
    np.testing.assert_allclose(metrics.jitter(falling, fps), np.zeros(9), atol=1e-9)
    np.testing.assert_allclose(metrics.jitter(still + [0, 2, 0] * steps**3, fps), np.full(9, 12.0))


def test_acceleration_and_jitter_agree_with_loops() -> None:
    rng = np.random.default_rng(11)
    pred, true = rng.normal(size=(2, 6, 5, 3))
    for frame, error in enumerate(metrics.acceleration_errors(pred, true, 25.0)):
        second = [clip[frame] - 2 * clip[frame + 1] + clip[frame + 2] for clip in (pred, true)]
        expected = np.mean([np.linalg.norm(a - b) for a, b in zip(*second, strict=True)]) * 25**2
        assert error == pytest.approx(expected, abs=1e-9)
    for frame, value in enumerate(metrics.jitter(pred, 25.0)):
        third = pred[frame + 3] - 3 * pred[frame + 2] + 3 * pred[frame + 1] - pred[frame]
        assert value == pytest.approx(np.mean([np.linalg.norm(joint) for joint in third]) * 25**3)


def test_videos_that_are_too_short_are_refused() -> None:
    with pytest.raises(InputError, match="frames"):
        metrics.acceleration_errors(np.zeros((2, 4, 3)), np.zeros((2, 4, 3)))
    with pytest.raises(InputError, match="frames"):
        metrics.jitter(np.zeros((3, 4, 3)))
    with pytest.raises(InputError):
        metrics.acceleration_errors(np.zeros((5, 4, 3)), np.zeros((5, 3, 3)))


@pytest.mark.parametrize("factor", [1000.0, 0.001])
def test_other_units_are_refused_and_other_sizes_are_not(factor: float) -> None:
    points = np.random.default_rng(0).normal(size=(9, 3))
    metrics.check_unit(3.0 * points, points[:5])
    metrics.check_unit(np.ones((2, 3)), points)  # without extent: the alignment tells
    with pytest.raises(InputError, match="--unit mm"):
        metrics.check_unit(factor * points, points)


def test_landmarks_in_another_unit_than_their_mesh_are_refused() -> None:
    flat, faces, marks = face_mesh()
    with pytest.raises(InputError, match="metres"):
        metrics.scan_distances(flat, marks, flat, faces, 1000.0 * marks)


def test_a_surface_finds_back_to_points_that_correspond_to_nothing() -> None:
    rng = np.random.default_rng(6)
    grid = np.stack(np.meshgrid(np.arange(12.0), np.arange(12.0), indexing="ij"), -1).reshape(-1, 2)
    vertices = np.c_[grid, 2.0 * np.sin(grid[:, 0] / 2.0) + np.cos(grid[:, 1] / 1.5) + 0.1 * grid[:, 0] ** 1.5]
    corner = np.add.outer(12 * np.arange(11), np.arange(11)).ravel()
    faces = np.concatenate([np.c_[corner, corner + 12, corner + 1], np.c_[corner + 1, corner + 12, corner + 13]])
    weights = rng.dirichlet(np.ones(3), 3000)
    points = np.einsum("nk,nkd->nd", weights, vertices[faces[rng.integers(len(faces), size=3000)]])
    turn = Rotation.from_rotvec([0.05, -0.08, 0.1]).as_matrix()
    found = metrics.surface_similarity((vertices - 3.0) @ turn.T / 1.3 + 5.0, faces, points)
    back = found((vertices - 3.0) @ turn.T / 1.3 + 5.0)
    assert metrics.joint_errors(back, vertices).mean() < 0.05  # of a surface 11 wide
    with pytest.raises(InputError, match="coincide"):
        metrics.surface_similarity(vertices, faces, np.ones((5, 3)))
