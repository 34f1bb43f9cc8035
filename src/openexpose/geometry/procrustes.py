"""Similarity alignment of point sets (orthogonal Procrustes; Umeyama 1991, eqs. 34-43)."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from openexpose.errors import InputError
from openexpose.geometry.rotation import project_to_so3

Array = np.ndarray

_NO_EXTENT = 1e-12
"""Smaller extents, relative to the coordinates, are rounding."""
_COLLINEAR = 1e-6


class Similarity(NamedTuple):
    """A similarity x -> scale R x + translation, without reflection."""

    scale: float
    rotation: Float[Array, "3 3"]
    translation: Float[Array, "3"]

    def __call__(self, points: Float[Array, "*batch 3"]) -> Float[Array, "*batch 3"]:
        """Move points (same unit and frame as what was aligned)."""
        return self.scale * np.asarray(points, float) @ self.rotation.T + self.translation


def align_similarity(
    source: Float[Array, "*batch n 3"], target: Float[Array, "*batch n 3"]
) -> Float[Array, "*batch n 3"]:
    """Move ``source`` onto ``target`` with the best rotation, scale and translation in the least-squares sense.

    Reflections are never used: a mirrored body keeps an error. Both arrays share unit and frame; the aligned source is
    returned. Collinear points are allowed: the rotation about their line is free then, but no distance depends on it.

    Raises:
        InputError: fewer than three points, other numbers of them, NaN or infinity, or points that all coincide (of the
            source: the scale is undefined; of the target: everything would shrink onto it).
    """
    rotation, scale, a, target_mean = _solve(source, target)
    return scale[..., None, None] * a @ np.swapaxes(rotation, -1, -2) + target_mean


def find_similarity(source: Float[Array, "n 3"], target: Float[Array, "n 3"]) -> Similarity:
    """The similarity of :func:`align_similarity` itself, for moving other points than those that determine it.

    Raises:
        InputError: as :func:`align_similarity`; also collinear points, which leave the rotation open.
    """
    for name, points in (("source", source), ("target", target)):
        extents = np.linalg.svd(points - np.mean(points, 0), compute_uv=False)
        if len(extents) == 3 and extents[1] < _COLLINEAR * extents[0]:
            raise InputError(f"{name} points on one line", "points that fix a rotation: three off one line")
    rotation, scale, _, target_mean = _solve(source, target)
    translation = target_mean[0] - scale * rotation @ np.mean(source, 0)
    return Similarity(float(scale), rotation, translation)


def _solve(source: Array, target: Array) -> tuple[Array, Array, Array, Array]:
    """Rotation, scale, the centred source and the target's mean."""
    source, target = np.asarray(source, float), np.asarray(target, float)
    if source.shape != target.shape or source.ndim < 2 or source.shape[-1] != 3:
        raise InputError(f"point sets of shapes {source.shape} and {target.shape}", "two of the same shape [n, 3]")
    if source.shape[-2] < 3:
        raise InputError(f"{source.shape[-2]} points to align", "at least 3 points")
    if not (np.isfinite(source).all() and np.isfinite(target).all()):
        raise InputError("points with NaN or infinity to align", "finite numbers")
    source_mean, target_mean = source.mean(-2, keepdims=True), target.mean(-2, keepdims=True)
    a, b = source - source_mean, target - target_mean
    for name, centred, points in (("source", a, source), ("target", b, target)):
        if (np.abs(centred).max((-1, -2)) <= _NO_EXTENT * np.abs(points).max((-1, -2))).any():
            raise InputError(f"{name} points that all coincide", "points with an extent, to align them by a similarity")
    covariance = np.swapaxes(b, -1, -2) @ a
    rotation = project_to_so3(covariance)
    return rotation, (rotation * covariance).sum((-1, -2)) / (a**2).sum((-1, -2)), a, target_mean
