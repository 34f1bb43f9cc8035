"""Exact closest points on a triangle surface."""

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

from openexpose.errors import InputError

Array = np.ndarray

_ROOT = 16
"""Most children of the tree's root; every other node has four."""
_THIN = 1e-4
"""Triangles whose height is a smaller part of their longest edge count as thin."""
_CHUNK = 2048
"""Points that descend the tree together: so few that what they look at stays in the processor's cache."""
_PAIRS = 200_000
"""Most pairs of a point and a node that are looked at together; bounds the memory."""


class SurfaceIndex:
    """A triangle surface that answers how far points are from it, exactly (no sampling of the surface).

    A balanced tree of boxes over the triangles is descended for many points at once; boxes farther from a point than
    the triangle with the nearest centre are given up. Triangles without area count as the segments or points that they
    are. Building costs about a third of asking for as many points as there are vertices (bench/closest.py).

    Args:
        vertices: any unit; vertices that no triangle uses are no part of the surface.
        faces: indices of vertices.

    Raises:
        InputError: no triangles, wrong shapes, NaN or infinity, or faces that name vertices which are not there.
    """

    def __init__(self, vertices: Float[Array, "v 3"], faces: Int[Array, "f 3"]) -> None:
        vertices, faces = np.asarray(vertices, float), np.asarray(faces)
        if vertices.ndim != 2 or vertices.shape[1] != 3 or not np.isfinite(vertices).all():
            raise InputError(f"vertices of shape {vertices.shape} (or not finite)", "finite numbers of shape [v, 3]")
        if faces.ndim != 2 or faces.shape[1] != 3 or not len(faces):
            raise InputError(f"faces of shape {faces.shape}", "triangles: shape [f, 3], at least one")
        if faces.min() < 0 or faces.max() >= len(vertices):
            raise InputError(f"faces that name vertex {faces.max()} of {len(vertices)}", "indices of vertices")
        self.vertices, self.faces = vertices, faces
        corners = vertices[faces]
        self._centres = cKDTree(corners.mean(1))
        self._order = _sort_in_space(self._centres.data)
        self._triangles = _Triangles(corners)
        self._levels = _boxes(corners[self._order])

    def distances(self, points: Float[Array, "n 3"]) -> Float[Array, "n"]:
        """Distance of every point from the surface, in its unit.

        Raises:
            InputError: points of a wrong shape, NaN or infinity.
        """
        return self.closest(points)[0]

    def closest(self, points: Float[Array, "n 3"]) -> tuple[Float[Array, "n"], Float[Array, "n 3"], Int[Array, "n"]]:
        """The closest points of the surface.

        Returns:
            For every point the distance, the closest point, and a triangle (row of ``faces``) that holds it.

        Raises:
            InputError: points of a wrong shape, NaN or infinity.
        """
        points = np.asarray(points, float)
        if points.ndim != 2 or points.shape[1] != 3 or not np.isfinite(points).all():
            raise InputError(f"points of shape {points.shape} (or not finite)", "finite numbers of shape [n, 3]")
        chunks = [points[start : start + _CHUNK] for start in range(0, len(points), _CHUNK)] or [points]
        found = zip(*map(self._closest, chunks), strict=True)
        squares, nearest, triangles = (np.concatenate(arrays) for arrays in found)
        return np.sqrt(squares), nearest, triangles

    def _closest(self, points: Float[Array, "n 3"]) -> tuple[Array, Array, Array]:
        triangle = self._centres.query(points)[1]
        best = _Best(*self._triangles.closest(points, triangle), triangle)
        todo = [(0, np.arange(len(points)), np.zeros(len(points), int))]
        while todo:
            level, at, node = todo.pop()
            if level == len(self._levels):
                triangle = self._order[node]
                best.update(at, *self._triangles.closest(points[at], triangle), triangle)
            elif len(at) > _PAIRS:
                half = len(at) // 2
                todo += [(level, at[:half], node[:half]), (level, at[half:], node[half:])]
            else:
                squares = _box_squares(points[at].T, self._levels[level], node)
                near, child = np.nonzero(squares < best.squares[at][:, None])
                todo.append((level + 1, at[near], squares.shape[1] * node[near] + child))
        return best.squares, best.points, best.triangles


class _Best:
    """The nearest that was found so far of every point."""

    def __init__(self, squares: Array, points: Array, triangles: Array) -> None:
        self.squares, self.points, self.triangles = squares, points, triangles

    def update(self, at: Array, squares: Array, points: Array, triangles: Array) -> None:
        """Take over what is nearer; ``at`` may name a point several times."""
        order = np.argsort(squares)[::-1]  # the last of several assignments stays: the nearest
        order = order[squares[order] < self.squares[at[order]]]
        self.squares[at[order]] = squares[order]
        self.points[at[order]] = points[order]
        self.triangles[at[order]] = triangles[order]


class _Triangles:
    """Triangles prepared for many closest points: the edges, their inverse squares, and the dual basis of two edges."""

    def __init__(self, corners: Float[Array, "t 3 3"]) -> None:
        a, b, c = corners.transpose(1, 0, 2)
        ab, ac, bc = b - a, c - a, c - b
        squares = [(edge**2).sum(-1) for edge in (ab, ac, bc)]
        normal = np.cross(ab, ac)
        normal_squares = (normal**2).sum(-1)
        self._thin = normal_squares <= _THIN**2 * np.max(squares, 0) ** 2
        normal = normal * _inverse(normal_squares)[:, None]
        inverses = [_inverse(square)[:, None] for square in squares]
        self._rows = np.concatenate([a, ab, ac, bc, np.cross(ac, normal), np.cross(normal, ab), *inverses], -1).T.copy()

    def closest(self, points: Float[Array, "m 3"], triangle: Int[Array, "m"]) -> tuple[Array, Array]:
        """Squared distance and closest point of pairs of a point and a triangle.

        That is the foot of the perpendicular if it is inside, else the best on the three edges; for thin triangles,
        whose normal is uncertain, the best of all four. Each of them lies on the triangle, so that rounding cannot make
        a distance too small.
        """
        rows = np.take(self._rows, triangle, axis=1)
        ab, ac, bc = rows[3:6], rows[6:9], rows[9:12]
        to_point = np.subtract(points.T, rows[:3], order="C")
        first, second = _dot(to_point, rows[12:15]), _dot(to_point, rows[15:18])
        rest = to_point - first * ab - second * ac
        first, second = first + _dot(rest, rows[12:15]), second + _dot(rest, rows[15:18])  # once more, for needles
        inside = (first >= 0.0) & (second >= 0.0) & (first + second <= 1.0)
        best = to_point - np.where(inside, first, 0.0) * ab - np.where(inside, second, 0.0) * ac
        squares = _dot(best, best)
        outside = np.flatnonzero(~inside | self._thin[triangle])
        to_point, ab, ac, bc, inverse = (part[:, outside] for part in (to_point, ab, ac, bc, rows[18:]))
        edges = ((to_point, ab), (to_point, ac), (to_point - ab, bc))
        for (start, edge), scale in zip(edges, inverse, strict=True):
            offset = start - np.clip(_dot(start, edge) * scale, 0.0, 1.0) * edge
            offset_squares = _dot(offset, offset)
            nearer = offset_squares < squares[outside]
            best[:, outside[nearer]] = offset[:, nearer]
            squares[outside[nearer]] = offset_squares[nearer]
        return squares, points - best.T


def _sort_in_space(centres: Float[Array, "t 3"]) -> Int[Array, "p"]:
    """Order in which halves, quarters, ... lie together; filled up to a power of two by repetition of the last."""
    count = 1 << (len(centres) - 1).bit_length()
    order = np.minimum(np.arange(count), len(centres) - 1)[None]
    while order.shape[1] > 2:
        parts = np.take(centres, order, axis=0)
        axis = (_over_halves(np.maximum, parts) - _over_halves(np.minimum, parts)).argmax(-1)
        along = np.take_along_axis(parts, axis[:, None, None], 2)[..., 0]
        halves = np.argpartition(along, along.shape[1] // 2, axis=1)
        order = np.take_along_axis(order, halves, 1).reshape(2 * len(order), -1)
    return order.reshape(-1)


def _over_halves(extreme: np.ufunc, parts: Float[Array, "n p 3"]) -> Float[Array, "n 3"]:
    """Minimum or maximum over the middle axis, a power of two; several times faster than numpy's reduction of it."""
    while parts.shape[1] > 1:
        half = parts.shape[1] // 2
        parts = extreme(parts[:, :half], parts[:, half:])
    return parts[:, 0]


def _boxes(corners: Float[Array, "p 3 3"]) -> list[Float[Array, "6 parents children"]]:
    """Bounds (lower, upper corner) of the nodes of a tree with four children a node, the root at first.

    The leaves are the single triangles; the root has as many children as the number of triangles asks for.
    """
    a, b, c = corners.transpose(1, 0, 2)
    low, high = np.minimum(np.minimum(a, b), c), np.maximum(np.maximum(a, b), c)
    bounds, levels = np.concatenate([low, -high], -1).T.copy(), []
    while bounds.shape[1] > _ROOT:
        bounds = bounds.reshape(6, -1, 4)
        levels.append(bounds)
        bounds = bounds.min(-1)
    return [bounds[:, None], *levels[::-1]]


def _box_squares(
    points: Float[Array, "3 m"], boxes: Float[Array, "6 parents children"], node: Int[Array, "m"]
) -> Float[Array, "m children"]:
    """Squared distance of points from all children of a node each."""
    squares = np.zeros((len(node), boxes.shape[2]))
    for coordinate, low, high in zip(points[:, :, None], boxes[:3], boxes[3:], strict=True):
        outside, beyond = np.take(low, node, axis=0), np.take(high, node, axis=0)
        outside -= coordinate
        beyond += coordinate
        np.maximum(outside, beyond, out=outside)
        np.maximum(outside, 0.0, out=outside)
        outside *= outside
        squares += outside
    return squares


def _dot(a: Float[Array, "3 m"], b: Float[Array, "3 m"]) -> Float[Array, "m"]:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _inverse(values: Array) -> Array:
    return np.divide(1.0, values, out=np.zeros_like(values), where=values > 0.0)
