"""Which points of one mesh are the vertices of another: from files, and between registered meshes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import csr_matrix
from scipy.sparse import identity as identity_matrix

from openexpose.data.arrays import read_npz
from openexpose.data.safe_pickle import SparseMatrix, load_pickle
from openexpose.errors import InputError
from openexpose.fitting.closest import SurfaceIndex
from openexpose.fitting.models import SkinnedModel
from openexpose.geometry.surface import vertex_normals

Array = np.ndarray

_TOLERANCE = 1e-3
_FARTHEST_M = 0.015
_AGREEING = 0.3
_EXPECTED = (
    "a matrix of deformation transfer (.pkl with mtx or matrix), an npz with indices [n, k] and weights [n, k], or "
    "vertex numbers of SMPL-X for a hand or face (MANO_SMPLX_vertex_ids.pkl, SMPL-X__FLAME_vertex_ids.npy)"
)


@dataclass(frozen=True, eq=False)
class Correspondence:
    """Target vertices as weighted means of source vertices.

    Attributes:
        matrix: [target, source]; the entries of each of ``rows`` sum to 1, other rows mean nothing.
        rows: target vertices that have a counterpart, ascending.
    """

    matrix: csr_matrix
    rows: Int[Array, "r"]

    def apply(self, vertices: Float[Array, "f s 3"]) -> Float[Array, "f r 3"]:
        """Positions of the target vertices ``rows``."""
        frames, count = vertices.shape[:2]
        flat = self.matrix[self.rows] @ np.asarray(vertices, float).transpose(1, 0, 2).reshape(count, -1)
        return flat.reshape(len(self.rows), frames, 3).swapaxes(0, 1)


def identity(count: int) -> Correspondence:
    """Every vertex is itself."""
    return Correspondence(identity_matrix(count, format="csr"), np.arange(count))


def same_topology(first: SkinnedModel, second: SkinnedModel) -> bool:
    """Whether the two have the same vertices and triangles."""
    return first.num_vertices == second.num_vertices and np.array_equal(first.faces, second.faces)


def read_correspondence(path: Path, source: SkinnedModel, target: SkinnedModel) -> Correspondence:
    """Read a correspondence of two models; one that leads the other way is turned round.

    The file is a pickle (never run as a program) with a matrix [target, source], dense or scipy's sparse, right in it
    or under ``matrix``, or under ``mtx`` as the public files for deformation transfer have it, [target, 2 source], of
    which the left half is used; an npz with ``indices`` and ``weights`` [n, k] (and ``rows`` [n], where not all
    vertices have a counterpart); or, for a hand or face and a whole body, the body's vertex for each of the part's:
    numbers, or a dictionary of them with the keys ``left_hand`` and ``right_hand``.

    Raises:
        InputError: it does not read, or belongs to other models.
    """
    if not path.is_file():
        raise InputError(f"no file '{path}'", _EXPECTED)
    content = _content(path, source, target)
    wanted = (target.num_vertices, source.num_vertices)
    if content.shape not in (wanted, wanted[::-1]):
        shape = f"{content.shape[1]} to {content.shape[0]} vertices"
        expected = f"'{source.name}' ({wanted[1]}) to '{target.name}' ({wanted[0]}), or the other way"
        raise InputError(f"'{path}', which leads from {shape}", expected)
    if not np.isfinite(content.data).all():
        raise InputError(f"'{path}' with NaN or infinity", "finite numbers")
    rows = np.flatnonzero(abs(np.asarray(content.sum(axis=1)).reshape(-1) - 1.0) <= _TOLERANCE)
    if len(rows) < 3:
        raise InputError(f"'{path}', a matrix no row of which sums to 1", _EXPECTED)
    found = Correspondence(content, rows)
    return found if content.shape == wanted else turned_round(found, target, source)


def turned_round(forward: Correspondence, source: SkinnedModel, target: SkinnedModel) -> Correspondence:
    """The way from target to source, from that from source to target.

    The target's mesh, laid on the source at rest, is registered with it: the source's vertices have their closest
    points there.
    """
    laid = np.full((target.num_vertices, 3), np.nan)
    laid[forward.rows] = forward.apply(source.v_template[None])[0]
    faces = target.faces[np.isfinite(laid[:, 0])[target.faces].all(1)]
    if not len(faces):  # few scattered vertices: each is one
        entry = forward.matrix[forward.rows].tocoo()
        order = np.argsort(entry.data)
        nearest = np.full(source.num_vertices, -1)
        nearest[entry.col[order]] = forward.rows[entry.row[order]]
        rows = np.flatnonzero(nearest >= 0)
        shape = (source.num_vertices, target.num_vertices)
        return Correspondence(csr_matrix((np.ones(len(rows)), (rows, nearest[rows])), shape), rows)
    rows = np.arange(source.num_vertices)
    normals = vertex_normals(source.v_template, source.faces)
    return closest_points(source.v_template.astype(float), rows, normals, SurfaceIndex(np.nan_to_num(laid), faces))


def closest_points(
    points: Float[Array, "n 3"], among: Int[Array, "r"], normals: Float[Array, "n 3"], surface: SurfaceIndex
) -> Correspondence:
    """For some points (``among``) the closest on a surface, where that is near and faces the same way.

    Args:
        points: vertices of the mesh that gets counterparts, metres.
        among: those of them that are asked for.
        normals: of all of them.
        surface: the other mesh.
    """
    placed, triangle, valid = facing_points(points[among], normals[among], surface, _FARTHEST_M)
    rows, faces = among[valid], surface.faces[triangle[valid]]
    first, *others = np.moveaxis(surface.vertices[faces], 1, 0)
    edges = np.stack([other - first for other in others], -1)
    shares = np.clip((np.linalg.pinv(edges) @ (placed[valid] - first)[..., None])[..., 0], 0.0, 1.0)
    weights = np.concatenate([np.maximum(1.0 - shares.sum(1, keepdims=True), 0.0), shares], 1)
    weights /= weights.sum(1, keepdims=True)
    entries = (weights.ravel(), (np.repeat(rows, 3), faces.ravel()))
    return Correspondence(csr_matrix(entries, (len(points), len(surface.vertices))), rows)


def facing_points(
    points: Float[Array, "n 3"], normals: Float[Array, "n 3"], surface: SurfaceIndex, farthest_m: float
) -> tuple[Float[Array, "n 3"], Int[Array, "n"], Bool[Array, "n"]]:
    """The closest points on a surface, their triangles, and whether they are near and face the same way."""
    distance, placed, triangle = surface.closest(points)
    first, second, third = np.moveaxis(surface.vertices[surface.faces[triangle]], 1, 0)
    facing = np.cross(second - first, third - first)
    facing /= np.maximum(np.linalg.norm(facing, axis=1, keepdims=True), 1e-12)
    return placed, triangle, (distance < farthest_m) & ((facing * normals).sum(1) > _AGREEING)


def _content(path: Path, source: SkinnedModel, target: SkinnedModel) -> csr_matrix:
    if path.suffix.lower() == ".npz":
        return _from_npz(path, source, target)
    content: Any
    if path.suffix.lower() == ".npy":
        try:
            content = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f"'{path}', which does not read ({error})", _EXPECTED) from None
    else:
        content = load_pickle(path)
    halved = False
    if isinstance(content, dict):
        part = next((model.family for model in (source, target) if model.part != "whole"), "")
        key = next((k for k in ("mtx", "matrix", part.replace("-", "_")) if k in content), None)
        content, halved = content.get(key), key == "mtx"
    if isinstance(content, SparseMatrix):
        rows, columns, values, shape = content.entries()
        matrix = csr_matrix((values.astype(float), (rows, columns)), shape)
    else:
        array = np.asarray(content if content is not None else ())
        if array.ndim == 1 and array.dtype.kind in "iu" and len(array):
            return _from_numbers(path, array.astype(int), source, target)
        if array.ndim != 2 or array.dtype.kind not in "fiu":
            raise InputError(f"'{path}' without a matrix", _EXPECTED)
        matrix = csr_matrix(array.astype(float))
    return matrix[:, : matrix.shape[1] // 2] if halved else matrix


def _from_numbers(path: Path, numbers: Int[Array, "n"], source: SkinnedModel, target: SkinnedModel) -> csr_matrix:
    part, whole = (source, target) if source.num_vertices == len(numbers) else (target, source)
    if part.num_vertices != len(numbers) or numbers.min() < 0 or numbers.max() >= whole.num_vertices:
        got = f"'{path}' with {len(numbers)} vertex numbers up to {numbers.max()}"
        raise InputError(got, f"one for each vertex of '{source.name}' or '{target.name}', within the other")
    entries = (np.ones(len(numbers)), (np.arange(len(numbers)), numbers))
    matrix = csr_matrix(entries, (part.num_vertices, whole.num_vertices))
    return matrix if part is target else csr_matrix(matrix.T)


def _from_npz(path: Path, source: SkinnedModel, target: SkinnedModel) -> csr_matrix:
    found = read_npz(path, {"indices": (None, None), "weights": (None, None)}, {"rows": (None,)})
    indices, weights = found["indices"], found["weights"].astype(float)
    if indices.shape != weights.shape or indices.dtype.kind not in "iu" or not indices.size or indices.min() < 0:
        raise InputError(f"'{path}' with indices {indices.shape} and weights {weights.shape}", _EXPECTED)
    rows = found.get("rows", np.arange(len(indices)))
    for one, other in ((target, source), (source, target)):
        whole = "rows" in found or len(indices) == one.num_vertices
        if whole and rows.max() < one.num_vertices and indices.max() < other.num_vertices:
            entries = (weights.ravel(), (np.repeat(rows, indices.shape[1]), indices.ravel()))
            return csr_matrix(entries, (one.num_vertices, other.num_vertices))
    got = f"'{path}' for {len(indices)} vertices, with indices up to {indices.max()}"
    raise InputError(got, f"vertices of '{source.name}' and '{target.name}'")
