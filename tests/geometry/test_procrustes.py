"""Laws of the similarity alignment."""

import numpy as np
import pytest

from openexpose.geometry.procrustes import align_similarity
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
    with pytest.raises(ValueError, match="3 points"):
        align_similarity(np.zeros((2, 3)), np.zeros((2, 3)))
    with pytest.raises(ValueError, match="coincide"):
        align_similarity(np.ones((4, 3)), np.random.default_rng(6).normal(size=(4, 3)))
