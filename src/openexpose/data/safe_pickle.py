"""Reading pickles from users' data sets without running what is in them.

An ordinary pickle may call any function. This reader builds numpy arrays, numbers, text and plain containers only,
and of scipy's sparse matrices their arrays (:class:`SparseMatrix`; scipy is not imported); the first mention of
anything else ends it.
"""

import io
import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np

from openexpose.errors import InputError


def load_pickle(source: Path | IO[bytes], name: str = "") -> Any:
    """Read a pickle of numpy arrays, numbers, text, and tuples, lists, sets and dicts of them.

    Sparse matrices of scipy come as :class:`SparseMatrix`, ``numpy.matrix`` as an ordinary array. Text of
    Python 2 is read as Latin-1, as numpy's arrays of that age need it.

    Args:
        source: a file, or an open stream that stands at the pickle's start.
        name: what to call a stream in error messages.

    Raises:
        InputError: there is no such file, it is damaged, or it holds anything else (which is never run).
    """
    called = f"'{name or source}'"
    expected = "a pickle of numpy arrays and plain containers"
    try:
        content = source.read_bytes() if isinstance(source, Path) else source.read()
    except OSError as error:
        raise InputError(f"{called}, which cannot be read ({error.strerror})", expected) from None
    try:
        return ArraysOnly(io.BytesIO(content), encoding="latin1").load()
    except ForbiddenError as error:
        fix = "Pickles can run programs; this one was not run. Ask its author for an npz file."
        raise InputError(f"{called}, a pickle that wants {error}", expected, fix) from None
    except Exception as error:  # damaged pickles raise nearly everything
        raise InputError(f"{called}, which does not read as a pickle ({error})", expected) from None


class ForbiddenError(Exception):
    """The pickle names something that is neither an array nor a plain container."""


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """What pickles of protocol 2 call to make bytes, for the one encoding that they use."""
    if encoding not in ("latin1", "latin-1"):
        raise ForbiddenError(f"the encoding {encoding!r}")
    return text.encode("latin1")


class SparseMatrix:
    """A scipy sparse matrix (compressed rows or columns, or coordinates) as a pickle holds it."""

    layout = ""

    def __setstate__(self, state: Any) -> None:
        """Keep the arrays; nothing is looked at yet."""
        self._state: dict[Any, Any] = dict(state) if isinstance(state, dict) else {}

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.entries()[3]

    def entries(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[int, int]]:
        """Row, column and value of each entry, and the shape. Entries that occur twice count as their sum.

        Raises:
            InputError: the arrays do not make up a matrix of numbers.
        """
        state = getattr(self, "_state", {})
        try:
            shape = state["_shape"] if "_shape" in state else state["shape"]
            rows, columns = (int(n) for n in shape)
            values = np.asarray(state["data"])
            if self.layout == "coo":
                first, second = state["coords"] if "coords" in state else (state["row"], state["col"])
            else:
                starts, second = np.asarray(state["indptr"]), np.asarray(state["indices"])
                first = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
            first, second = np.asarray(first), np.asarray(second)
            if self.layout == "csc":
                first, second = second, first
            if not first.shape == second.shape == values.shape == (len(values),) or values.dtype.kind not in "biuf":
                raise ValueError("arrays that do not belong together")
            if len(values) and not (
                0 <= first.min() <= first.max() < rows and 0 <= second.min() <= second.max() < columns
            ):
                raise ValueError("entries outside of it")
        except (KeyError, TypeError, ValueError, IndexError) as error:
            got = f"a sparse matrix that is damaged ({error})"
            raise InputError(got, "arrays of a scipy sparse matrix", "Copy it again.") from None
        return first, second, values, (rows, columns)

    def dense(self) -> np.ndarray:
        """As an ordinary array.

        Raises:
            InputError: see :meth:`entries`.
        """
        rows, columns, values, shape = self.entries()
        matrix = np.zeros(shape, np.result_type(values, np.float32))
        np.add.at(matrix, (rows, columns), values)
        return matrix


class _CompressedRows(SparseMatrix):
    layout = "csr"


class _CompressedColumns(SparseMatrix):
    layout = "csc"


class _Coordinates(SparseMatrix):
    layout = "coo"


_OBJECT = object()  # stands for the class object, which old pickles name but must not call


def _make_sparse(kind: Any, base: object, state: object) -> SparseMatrix:
    """How protocols 0 and 1 make an object."""
    if kind not in _SPARSE.values() or base is not _OBJECT or state is not None:
        raise ForbiddenError(f"an object of the kind {kind}")
    made: SparseMatrix = kind()
    return made


_SPARSE: dict[str, type[SparseMatrix]] = {"csr": _CompressedRows, "csc": _CompressedColumns, "coo": _Coordinates}

_ARRAY = object()  # stands for numpy.ndarray, which pickles name but must not call


def _reconstruct(kind: object, shape: tuple[int, ...], code: bytes | str) -> np.ndarray:
    """An empty array, whose content the pickle sets next."""
    if kind is not _ARRAY:
        raise ForbiddenError(f"an array of the kind {kind}")
    return np.ndarray.__new__(np.ndarray, shape, code.decode() if isinstance(code, bytes) else code)


def _scalar(dtype: np.dtype, content: bytes | str) -> Any:
    """A numpy number from its bytes."""
    if dtype.hasobject:
        raise ForbiddenError("a scalar of objects")
    raw = content.encode("latin1") if isinstance(content, str) else content
    return np.frombuffer(raw, dtype, 1)[0]


def _from_buffer(content: bytes | bytearray, dtype: np.dtype, shape: tuple[int, ...], order: str) -> np.ndarray:
    """An array of numbers from its bytes: how protocol 5 stores it."""
    return np.frombuffer(content, dtype).reshape(shape, order="F" if order == "F" else "C")


_NUMPY: dict[str, Callable[..., Any]] = {"_reconstruct": _reconstruct, "scalar": _scalar}
_ALLOWED: dict[tuple[str, str], Any] = {
    ("_codecs", "encode"): _encode,
    ("collections", "OrderedDict"): OrderedDict,
    ("numpy", "dtype"): np.dtype,
    ("numpy", "ndarray"): _ARRAY,
    ("numpy.matrixlib.defmatrix", "matrix"): _ARRAY,
    ("numpy", "matrix"): _ARRAY,
    **{
        (f"scipy.sparse.{dash}{layout}", f"{layout}_{noun}"): kind
        for layout, kind in _SPARSE.items()
        for dash in ("", "_")
        for noun in ("matrix", "array")
    },
    **{(module, "_reconstructor"): _make_sparse for module in ("copyreg", "copy_reg")},
    **{(module, "object"): _OBJECT for module in ("builtins", "__builtin__")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _from_buffer for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", key): value for core in ("core", "_core") for key, value in _NUMPY.items()},
    **{
        (module, kind.__name__): kind
        for module in ("builtins", "__builtin__")
        for kind in (set, frozenset, bytes, bytearray, complex)
    },
}


class ArraysOnly(pickle.Unpickler):
    """An unpickler that raises :class:`ForbiddenError` at the first name that is neither array nor plain container."""

    def find_class(self, module: str, name: str) -> Any:
        """Only what plain arrays and containers need."""
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise ForbiddenError(f"'{module}.{name}'") from None

    def persistent_load(self, pid: Any) -> Any:
        """No outside objects."""
        raise ForbiddenError(f"the outside object {pid!r}")
