"""Laws of the similarity alignment."""

import numpy as np
import pytest

from openexpose.errors import InputError
from openexpose.geometry.procrustes import align_similarity, find_similarity
from openexpose.geometry.rotation import rotvec_to_matrix


def move(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    batch = points.shape[0]
    rotation = rotvec_to_matrix(2.0 * rng.normal(size=(batch, 3)))
    return rng.uniform(0.2, 5.0, (batch, 1, 1)) * points @ rotation.swapaxes(1, 2) + rng.normal(size=(batch, 1, 3))


def test_similar_point_sets_align_exactly() -> None:
    rng = np.random.default_rng(0)
    source = rng.normal(size=(8, 12, 3))
    target = move(source, rng)
    np.testing.assert_allclose(align_similarity(source, target), target, atol=1e-10)


def test_the_residual_does_not_depend_on_where_the_source_was() -> None:
    rng = np.random.default_rng(1)
    source, target = rng.normal(size=(2, 8, 12, 3))
    np.testing.assert_allclose(align_similarity(move(source, rng), target), align_similarity(source, target), atol=1e-9)


def test_no_similarity_nearby_is_better() -> None:
    rng = np.random.default_rng(2)
    source, target = rng.normal(size=(2, 1, 12, 3))
    aligned = align_similarity(source, target)
    best = ((aligned - target) ** 2).sum()
    centre = aligned.mean(1, keepdims=True)
    for _ in range(100):
        turn = rotvec_to_matrix(0.05 * rng.normal(size=3))
        other = (1 + 0.05 * rng.normal()) * (aligned - centre) @ turn.T + centre + 0.05 * rng.normal(size=3)
        assert ((other - target) ** 2).sum() >= best - 1e-12


def test_reflections_are_never_used() -> None:
    source = np.random.default_rng(3).normal(size=(1, 10, 3))
    mirrored = source * [-1, 1, 1]
    aligned = align_similarity(source, mirrored)
    assert ((aligned - mirrored) ** 2).sum() > 0.1
    volume = np.linalg.det(source[0, 1:4] - source[0, 0]) * np.linalg.det(aligned[0, 1:4] - aligned[0, 0])
    assert volume > 0


def test_flat_point_sets_align() -> None:
    rng = np.random.default_rng(4)
    source = rng.normal(size=(5, 6, 3)) * [1, 1, 0]
    target = move(source, rng)
    np.testing.assert_allclose(align_similarity(source, target), target, atol=1e-9)


def test_leading_axes_are_free() -> None:
    rng = np.random.default_rng(5)
    source, target = rng.normal(size=(2, 2, 3, 7, 3))
    aligned = align_similarity(source, target)
    np.testing.assert_allclose(align_similarity(source[1, 2], target[1, 2]), aligned[1, 2], atol=1e-12)


def test_undefined_alignments_are_errors() -> None:
    points = np.random.default_rng(6).normal(size=(4, 3))
    for source, target, told in (
        (np.zeros((2, 3)), np.zeros((2, 3)), "3 points"),
        (np.ones((4, 3)), points, "source points that all coincide"),
        (np.full((4, 3), 0.1), points, "coincide"),
        (points, np.ones((4, 3)), "target points that all coincide"),
        (points, points[:3], "shape"),
        (points, points * np.inf, "infinity"),
    ):
        with pytest.raises(InputError, match=told):
            align_similarity(source, target)


def test_tiny_and_distant_point_sets_align() -> None:
    rng = np.random.default_rng(7)
    source = 1e-9 * rng.normal(size=(1, 8, 3))
    target = move(source, rng)
    target -= target.mean(1, keepdims=True)
    np.testing.assert_allclose(1e9 * align_similarity(source, target), 1e9 * target, atol=1e-6)
    far = rng.normal(size=(1, 8, 3)) + 1e4
    np.testing.assert_allclose(align_similarity(far, far * 2.0), far * 2.0, atol=1e-8)


def test_found_similarity_moves_other_points_too() -> None:
    rng = np.random.default_rng(8)
    points = rng.normal(size=(1, 20, 3))
    target = move(points, rng)
    similarity = find_similarity(points[0, :5], target[0, :5])
    np.testing.assert_allclose(similarity(points[0]), target[0], atol=1e-9)
    np.testing.assert_allclose(similarity.rotation @ similarity.rotation.T, np.eye(3), atol=1e-12)
    noisy = target[0, :5] + 0.1 * rng.normal(size=(5, 3))
    np.testing.assert_allclose(
        find_similarity(points[0, :5], noisy)(points[0, :5]), align_similarity(points[0, :5], noisy), atol=1e-9
    )


def test_points_on_a_line_do_not_fix_a_similarity() -> None:
    rng = np.random.default_rng(9)
    line, points = np.outer(rng.normal(size=5), [1.0, 2.0, 3.0]) + 1.0, rng.normal(size=(5, 3))
    for source, target in ((line, points), (points, line)):
        with pytest.raises(InputError, match="line"):
            find_similarity(source, target)
        align_similarity(source, target)  # what is aligned itself does not depend on what stays open
