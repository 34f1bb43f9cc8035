"""How garments follow a body: affine frames at nodes spread over its skin, blended.

A node is a patch of the skin (or a whole limb). Its frame is a linear function of the patch's vertices: the first-order
fit of their positions to their coordinates at rest, as in moving least squares; on a patch, the direction off the skin
is the unit normal of the two fitted tangents. So garments follow pose and shape without joints or weights of their own,
move rigidly when the body does, and are reproduced exactly at rest. This is an embedded deformation (Sumner et al.,
Embedded deformation for shape manipulation, 2007) whose nodes are driven by the skin.
"""

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from jaxtyping import Bool, Float, Int

Array = np.ndarray

_JIT: dict[str, Any] = {"nogil": True, "fastmath": True, "cache": True}


@dataclass(frozen=True)
class Nodes:
    """Frames as functions of the body's vertices.

    Attributes:
        starts: [n + 1]; node k has the entries ``starts[k]:starts[k + 1]``.
        vertices: [e] vertex of each entry. coefficients: [e, 4] its share in the origin and the three axes.
        flat: [n] the third axis is the unit normal of the first two instead.
    """

    starts: Int[Array, "n1"]
    vertices: Int[Array, "e"]
    coefficients: Float[Array, "e 4"]
    flat: Bool[Array, "n"]

    def frames(self, vertices: Float[Array, "v 3"]) -> Float[Array, "n 4 3"]:
        """Origin and three axes of every node on a body, in its frame."""
        return _frames(
            self.starts, self.vertices, self.coefficients, self.flat, np.ascontiguousarray(vertices, np.float32)
        )


@dataclass(frozen=True)
class Binding:
    """Where the vertices of a garment are.

    Attributes:
        nodes: [v, k]. weights: [v, k], rows sum to 1. local: [v, k, 3] coordinates in each node's frame.
        corners: [v, 3] body vertices of the triangle below each vertex. barycentric: [v, 3] the point of it.
        clearance_m: [v] how far above that triangle the vertex stays at least, along the triangle's normal; below
            -1 m: wherever it likes.
    """

    nodes: Int[Array, "v k"]
    weights: Float[Array, "v k"]
    local: Float[Array, "v k 3"]
    corners: Int[Array, "v 3"]
    barycentric: Float[Array, "v 3"]
    clearance_m: Float[Array, "v"]

    def place(self, frames: Float[Array, "n 4 3"], body: Float[Array, "b 3"]) -> Float[Array, "v 3"]:
        """Vertices of the garment on a body, pushed out where they would sink in.

        Args:
            frames: of :meth:`Nodes.frames`. body: the body's vertices.
        """
        return _place(
            (self.nodes, self.weights, self.local),
            (self.corners, self.barycentric, self.clearance_m),
            frames,
            np.ascontiguousarray(body, np.float32),
        )


def fit_nodes(
    base: Float[Array, "v 3"], starts: Int[Array, "n1"], vertices: Int[Array, "e"], flat: Bool[Array, "n"]
) -> Nodes:
    """Nodes of given patches.

    Args:
        base: the body at rest, any pose. starts, vertices, flat: see :class:`Nodes`.
    """
    coefficients = np.zeros((len(vertices), 4), np.float32)
    for k in range(len(flat)):
        part = slice(starts[k], starts[k + 1])
        points = base[vertices[part]].astype(float)
        points = points - points.mean(0)
        axes = np.linalg.svd(points, full_matrices=False)[2]
        if np.linalg.det(axes) < 0:
            axes[2] *= -1
        size = 3 if flat[k] else 4
        design = np.concatenate([np.ones((len(points), 1)), (points @ axes.T)[:, : size - 1]], 1)
        coefficients[part, :size] = np.linalg.pinv(design).T
    return Nodes(starts.astype(np.int32), vertices.astype(np.int32), coefficients, flat.astype(bool))


def local_coordinates(
    points: Float[Array, "v 3"], frames: Float[Array, "n 4 3"], nodes: Int[Array, "v k"]
) -> Float[Array, "v k 3"]:
    """Coordinates of points in the frames of their nodes: what :class:`Binding` keeps."""
    inverse = np.linalg.inv(frames[:, 1:].astype(float))
    offset = points[:, None] - frames[nodes, 0]
    return np.einsum("vki,vkij->vkj", offset, inverse[nodes]).astype(np.float32)


@numba.njit(**_JIT)
def _frames(starts: Array, rows: Array, coefficients: Array, flat: Array, body: Array) -> Array:
    count = flat.shape[0]
    out = np.zeros((count, 4, 3), np.float32)
    for k in range(count):
        for e in range(starts[k], starts[k + 1]):
            v = rows[e]
            for q in range(4):
                w = coefficients[e, q]
                for i in range(3):
                    out[k, q, i] += w * body[v, i]
        if flat[k]:
            a, b = out[k, 1], out[k, 2]
            x, y, z = a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]
            s = 1 / np.sqrt(x * x + y * y + z * z + np.float32(1e-20))
            out[k, 3, 0], out[k, 3, 1], out[k, 3, 2] = x * s, y * s, z * s
    return out


@numba.njit(**_JIT)
def _place(blend: tuple, below: tuple, frames: Array, body: Array) -> Array:
    nodes, weights, local = blend
    corners, barycentric, clearance = below
    count, width = nodes.shape
    out = np.zeros((count, 3), np.float32)
    for v in range(count):
        for q in range(width):
            w = weights[v, q]
            if w == 0:
                continue
            frame = frames[nodes[v, q]]
            x, y, z = local[v, q, 0], local[v, q, 1], local[v, q, 2]
            for i in range(3):
                out[v, i] += w * (frame[0, i] + x * frame[1, i] + y * frame[2, i] + z * frame[3, i])
        if clearance[v] < -1:
            continue
        a, b, c = body[corners[v, 0]], body[corners[v, 1]], body[corners[v, 2]]
        ux, uy, uz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
        vx, vy, vz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        s = 1 / np.sqrt(nx * nx + ny * ny + nz * nz + np.float32(1e-20))
        nx, ny, nz = nx * s, ny * s, nz * s
        p0, p1, p2 = barycentric[v, 0], barycentric[v, 1], barycentric[v, 2]
        height = (
            (out[v, 0] - p0 * a[0] - p1 * b[0] - p2 * c[0]) * nx
            + (out[v, 1] - p0 * a[1] - p1 * b[1] - p2 * c[1]) * ny
            + (out[v, 2] - p0 * a[2] - p1 * b[2] - p2 * c[2]) * nz
        )
        missing = clearance[v] - height
        if missing > 0:
            out[v, 0] += missing * nx
            out[v, 1] += missing * ny
            out[v, 2] += missing * nz
    return out
