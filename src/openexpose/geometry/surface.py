"""Triangle surfaces."""

import numpy as np
from jaxtyping import Float, Int


def vertex_normals(vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]) -> Float[np.ndarray, "v 3"]:
    """Unit normals at the vertices: the mean of the adjoining triangles' normals, weighted by their areas.

    Triangles turn counter-clockwise seen from outside, so normals of a closed surface point out. A vertex without
    area around it gets (0, 0, 1).
    """
    corner = np.asarray(vertices, float)[faces]
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    at = np.asarray(faces).T.ravel()
    sums = np.stack([np.bincount(at, np.tile(part, 3), len(vertices)) for part in normal.T], -1)
    length = np.linalg.norm(sums, axis=-1, keepdims=True)
    return np.where(length > 1e-20, sums / np.maximum(length, 1e-20), [0.0, 0.0, 1.0])
