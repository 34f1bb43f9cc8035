"""Meshes of one topology laid out in another, vertex by vertex, through a correspondence file of the user's."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_matrix

from openexpose.data.arrays import read_npz
from openexpose.data.safe_pickle import SparseMatrix, load_pickle
from openexpose.errors import InputError
from openexpose.evaluation.record import TOPOLOGIES

Array = np.ndarray

_COUNTS = {name: count for count, name in TOPOLOGIES.items()}
_TOLERANCE = 1e-3
_EXPECTED = (
    "an npz with indices [n, k], weights [n, k] and source, or a pickle with the key mtx (a matrix of deformation "
    "transfer, such as smpl2smplx_deftrafo_setup.pkl)"
)


@dataclass(frozen=True, eq=False)
class Correspondence:
    """Target vertices as weighted means of source vertices."""

    name: str
    """Of the file."""
    source: int
    """Number of vertices of the meshes that it converts."""
    target: int
    """Number of vertices of what they become."""
    matrix: csr_matrix
    """[target, source]; the entries of each of ``rows`` sum to 1, other rows mean nothing."""
    rows: Int[Array, "r"]
    """Target vertices that have a counterpart, ascending."""

    @property
    def note(self) -> str:
        """What it is, in a sentence."""
        names = [TOPOLOGIES.get(count, f"{count} vertices") for count in (self.source, self.target)]
        part = "all" if len(self.rows) == self.target else f"{len(self.rows)} of {self.target}"
        return f"Correspondence '{self.name}' from {names[0]} to {names[1]}: {part} vertices have a counterpart."

    def apply(self, vertices: Float[Array, "s 3"]) -> Float[Array, "r 3"]:
        """Positions of the target vertices ``rows``.

        Raises:
            InputError: vertices of another topology than the source.
        """
        if vertices.shape != (self.source, 3):
            raise InputError(f"vertices of shape {vertices.shape} for '{self.name}'", f"shape [{self.source}, 3]")
        return (self.matrix @ np.asarray(vertices, float))[self.rows]

    def nearest(self) -> Int[Array, "r"]:
        """The source vertex that weighs most in each of ``rows``."""
        chosen = self.matrix[self.rows]
        return np.asarray(abs(chosen).argmax(axis=1)).reshape(-1)


def read_correspondence(path: Path) -> Correspondence:
    """Read a correspondence file.

    Either an npz: ``indices`` [n, k] of source vertices and ``weights`` [n, k], whose rows sum to 1; ``source`` and
    ``target``, each a topology (``smplx``, ``smpl``, ...) or a number of vertices (``target`` is n if it is absent);
    optional ``rows`` [n], the target vertices that the n rows belong to, if not all have a counterpart.

    Or a pickle (never run as a program): a matrix, dense or scipy's sparse, [target, source] right in it or under
    ``matrix``; or under ``mtx``, as the public files for deformation transfer have it, [target, 2 source], whose left
    half is used. Rows that do not sum to 1 have no counterpart then.

    Raises:
        InputError: it does not read, an index is out of range, or weights do not sum to 1.
    """
    if not path.is_file():
        raise InputError(f"no file '{path}'", _EXPECTED)
    return _from_npz(path) if path.suffix.lower() == ".npz" else _from_pickle(path)


def _from_npz(path: Path) -> Correspondence:
    wanted = read_npz(path, {"indices": (None, None), "weights": (None, None)}, {"rows": (None,)})
    indices, weights = wanted["indices"], wanted["weights"].astype(float)
    source, target = _count(path, "source"), _count(path, "target", len(indices))
    rows = wanted.get("rows", np.arange(len(indices)))
    if indices.shape != weights.shape or indices.dtype.kind not in "iu" or rows.dtype.kind not in "iu":
        raise InputError(f"'{path}' with indices {indices.shape} and weights {weights.shape}", "integers and weights")
    if "rows" not in wanted and len(indices) != target:
        raise InputError(f"'{path}' with {len(indices)} rows for {target} vertices", "one row a vertex, or rows")
    if len(np.unique(rows)) != len(rows):
        raise InputError(f"'{path}' with rows that name a vertex twice", "one row a vertex")
    for what, values, count in (("indices", indices, source), ("rows", rows, target)):
        if len(values) and (values.min() < 0 or values.max() >= count):
            raise InputError(f"'{path}' with {what} up to {values.max()}", f"vertices of {count}")
    if not np.isfinite(weights).all() or (abs(weights.sum(1) - 1.0) > _TOLERANCE).any():
        raise InputError(f"'{path}' with weights that do not sum to 1 in each row", "weights of a mean")
    entries = (weights.ravel(), (np.repeat(rows, indices.shape[1]), indices.ravel()))
    return Correspondence(path.name, source, target, csr_matrix(entries, (target, source)), np.sort(rows))


def _from_pickle(path: Path) -> Correspondence:
    content = load_pickle(path)
    halved = False
    if isinstance(content, dict):
        key = next((key for key in ("mtx", "matrix") if key in content), None)
        content, halved = content.get(key), key == "mtx"
    try:
        matrix = _sparse(content)
    except (TypeError, ValueError) as error:
        raise InputError(f"'{path}' without a matrix ({error})", _EXPECTED) from None
    if halved:
        matrix = matrix[:, : matrix.shape[1] // 2]
    target, source = matrix.shape
    if not np.isfinite(matrix.data).all():
        raise InputError(f"'{path}' with NaN or infinity", "finite numbers")
    valid = abs(np.asarray(matrix.sum(axis=1)).reshape(-1) - 1.0) <= _TOLERANCE
    if not valid.any():
        raise InputError(f"'{path}', a matrix no row of which sums to 1", _EXPECTED)
    return Correspondence(path.name, source, target, matrix, np.flatnonzero(valid))


def _sparse(content: Any) -> csr_matrix:
    if isinstance(content, SparseMatrix):
        rows, columns, values, shape = content.entries()
        return csr_matrix((values.astype(float), (rows, columns)), shape)
    array = np.asarray(content, float)
    if array.ndim != 2:
        raise ValueError(f"shape {array.shape}")
    return csr_matrix(array)


def _count(path: Path, key: str, default: int | None = None) -> int:
    """A number of vertices, given as such or by the topology's name."""
    expected = f"a number of vertices, or one of {', '.join(_COUNTS)}"
    try:
        with np.load(path, allow_pickle=False) as archive:
            if key not in archive.files and default is not None:
                return default
            text = str(archive[key])
    except (KeyError, ValueError) as error:
        raise InputError(f"'{path}' without a readable '{key}' ({error})", expected) from None
    count = _COUNTS.get(text) or (int(text) if text.isdecimal() else 0)
    if count < 1:
        raise InputError(f"'{path}' with the {key} {text!r}", expected)
    return count
