"""Similarity alignment of point sets (orthogonal Procrustes)."""

import numpy as np
from jaxtyping import Float

from openexpose.geometry.rotation import project_to_so3

Array = np.ndarray


def align_similarity(
    source: Float[Array, "*batch n 3"], target: Float[Array, "*batch n 3"]
) -> Float[Array, "*batch n 3"]:
    """Move ``source`` onto ``target`` with the best rotation, scale and translation in the least-squares sense.

    Reflections are never used. Both arrays share unit and frame; the aligned source is returned.

    Raises:
        ValueError: fewer than three points, or source points that all coincide (the scale is undefined).
    """
    if source.shape[-2] < 3:
        raise ValueError(f"similarity alignment needs at least 3 points, got {source.shape[-2]}")
    source_mean, target_mean = source.mean(-2, keepdims=True), target.mean(-2, keepdims=True)
    a, b = source - source_mean, target - target_mean
    spread = (a**2).sum((-1, -2))
    if (spread < 1e-18).any():
        raise ValueError("similarity alignment of points that all coincide has no scale")
    covariance = np.swapaxes(b, -1, -2) @ a
    rotation = project_to_so3(covariance)
    scale = (rotation * covariance).sum((-1, -2)) / spread
    return scale[..., None, None] * a @ np.swapaxes(rotation, -1, -2) + target_mean
