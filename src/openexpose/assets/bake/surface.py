"""Nearest points on a triangle mesh (brute force; the bake asks for a thousand points)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int


@dataclass(frozen=True)
class Surface:
    """A triangle mesh to project points onto."""

    vertices: Float[np.ndarray, "V 3"]
    faces: Int[np.ndarray, "F 3"]

    def nearest(
        self, point: Float[np.ndarray, "3"], allowed: Bool[np.ndarray, "F"]
    ) -> tuple[int, Float[np.ndarray, "3"]]:
        """Triangle among `allowed` and barycentric weights of the surface point nearest to `point`."""
        rows = np.flatnonzero(allowed)
        corners = self.vertices[self.faces[rows]]
        weights = _nearest_weights(corners, point)
        distance = np.linalg.norm(np.einsum("fc,fci->fi", weights, corners) - point, axis=1)
        best = int(np.argmin(distance))
        return int(rows[best]), weights[best]

    def point(self, face: int, weights: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3"]:
        """Position of a surface point."""
        return weights @ self.vertices[self.faces[face]]


def _nearest_weights(corners: Float[np.ndarray, "F 3 3"], point: Float[np.ndarray, "3"]) -> Float[np.ndarray, "F 3"]:
    """Barycentric weights of the point of every triangle nearest to `point`, inside it or on an edge."""
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    ab, ac, ap = b - a, c - a, point - a
    gram = np.stack(
        [np.stack([(ab * ab).sum(1), (ab * ac).sum(1)], 1), np.stack([(ab * ac).sum(1), (ac * ac).sum(1)], 1)], 1
    )
    gram += 1e-18 * np.eye(2)
    inner = np.linalg.solve(gram, np.stack([(ab * ap).sum(1), (ac * ap).sum(1)], 1)[..., None])[..., 0]
    candidates = [np.stack([1 - inner.sum(1), inner[:, 0], inner[:, 1]], axis=1)]
    for start, end in ((0, 1), (1, 2), (2, 0)):
        edge = corners[:, end] - corners[:, start]
        along = np.clip(((point - corners[:, start]) * edge).sum(1) / np.maximum((edge * edge).sum(1), 1e-18), 0, 1)
        weights = np.zeros((len(corners), 3))
        weights[:, start], weights[:, end] = 1 - along, along
        candidates.append(weights)
    stacked = np.stack(candidates)
    distance = np.linalg.norm(np.einsum("kfc,fci->kfi", stacked, corners) - point, axis=2)
    distance[0, (stacked[0] < 0).any(1)] = np.inf
    return stacked[distance.argmin(0), np.arange(len(corners))]
