"""Reading pickles from users' data sets without running what is in them.

An ordinary pickle may call any function. This reader builds numpy arrays, numbers, text and plain containers only;
the first mention of anything else ends it.
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

    Text of Python 2 is read as Latin-1, as numpy's arrays of that age need it.

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
        return _ArraysOnly(io.BytesIO(content), encoding="latin1").load()
    except _ForbiddenError as error:
        fix = "Pickles can run programs; this one was not run. Ask its author for an npz file."
        raise InputError(f"{called}, a pickle that wants {error}", expected, fix) from None
    except Exception as error:  # damaged pickles raise nearly everything
        raise InputError(f"{called}, which does not read as a pickle ({error})", expected) from None


class _ForbiddenError(Exception):
    """The pickle names something that is neither an array nor a plain container."""


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """What pickles of protocol 2 call to make bytes, for the one encoding that they use."""
    if encoding not in ("latin1", "latin-1"):
        raise _ForbiddenError(f"the encoding {encoding!r}")
    return text.encode("latin1")


_ARRAY = object()  # stands for numpy.ndarray, which pickles name but must not call


def _reconstruct(kind: object, shape: tuple[int, ...], code: bytes | str) -> np.ndarray:
    """An empty array, whose content the pickle sets next."""
    if kind is not _ARRAY:
        raise _ForbiddenError(f"an array of the kind {kind}")
    return np.ndarray.__new__(np.ndarray, shape, code.decode() if isinstance(code, bytes) else code)


def _scalar(dtype: np.dtype, content: bytes | str) -> Any:
    """A numpy number from its bytes."""
    if dtype.hasobject:
        raise _ForbiddenError("a scalar of objects")
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
    **{(f"numpy.{core}.numeric", "_frombuffer"): _from_buffer for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", key): value for core in ("core", "_core") for key, value in _NUMPY.items()},
    **{
        (module, kind.__name__): kind
        for module in ("builtins", "__builtin__")
        for kind in (set, frozenset, bytes, bytearray, complex)
    },
}


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Only what plain arrays and containers need."""
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise _ForbiddenError(f"'{module}.{name}'") from None

    def persistent_load(self, pid: Any) -> Any:
        """No outside objects."""
        raise _ForbiddenError(f"the outside object {pid!r}")
