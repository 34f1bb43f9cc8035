"""Reading pandas tables from pickles without pandas and without running what is in them.

A pickled table (``DataFrame.to_pickle``) names classes and functions of pandas. Here each of these names stands for an
inert record that only keeps what it was given; the columns are read from these records. Anything else that is neither
an array nor a plain container ends the reading, see :mod:`openexpose.data.safe_pickle`.
"""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from openexpose.data import safe_pickle
from openexpose.errors import InputError

_EXPECTED = "a pickled pandas table of numbers, text, arrays and lists of them"
_FIX = (
    "This one was not run. If you trust its author, write it again with pandas: `d = pandas.read_pickle(path)`; "
    "`d = d.astype(object)`; `d.to_pickle(path)`."
)


def read_frame(path: Path) -> dict[str, list[Any]]:
    """Read a table that pandas (0.25 to 3) pickled.

    Args:
        path: a pickle, not compressed.

    Returns:
        column name to values, one a row, in the order of the table's rows.

    Raises:
        InputError: there is no such file, it is damaged, is no table, or holds other objects (which are never run).
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"'{path}', which cannot be read ({error.strerror})", _EXPECTED) from None
    try:
        table = _FrameUnpickler(io.BytesIO(content), encoding="latin1").load()
    except safe_pickle.ForbiddenError as error:
        raise InputError(f"'{path}', a pickle that wants {error}", _EXPECTED, _FIX) from None
    except Exception as error:  # damaged pickles raise nearly everything
        raise InputError(f"'{path}', which does not read as a pickle ({error})", _EXPECTED) from None
    if not isinstance(table, _Frame):
        raise InputError(f"'{path}', a pickle of a {type(table).__name__}", _EXPECTED)
    try:
        return _columns(table)
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        raise InputError(f"'{path}', a table of unknown make ({error!r})", _EXPECTED, _FIX) from None


class _Record:
    """Keeps what a pickle builds an object from."""

    given: tuple[Any, ...] = ()
    state: Any = None

    def __init__(self, *given: Any) -> None:
        self.given = given

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Frame(_Record):
    """pandas.DataFrame: its state names the manager of its blocks."""


class _Manager(_Record):
    """BlockManager: blocks and axes, as arguments (pandas 1.3 and later) or in its state (earlier)."""


class _IndexKind(_Record):
    """pandas.Index."""


class _Range(_IndexKind):
    """pandas.RangeIndex."""


class _Text(_Record):
    """pandas' arrays of text that lie on a numpy array."""


def _new_block(values: Any, placement: Any, ndim: int = 2) -> tuple[Any, Any]:
    return values, placement


def _new_text(kind: type[_Text], checksum: int, state: Any) -> _Text:
    text = kind()
    text.state = state
    return text


def _new_index(kind: type, content: dict[str, Any]) -> Sequence[Any]:
    if issubclass(kind, _Range):
        return range(content["start"], content["stop"], content["step"])
    data = content["data"]
    return data if isinstance(data, list) else list(_array(data))


def _array(values: Any) -> np.ndarray:
    """The array inside of pandas' array of text, or the array itself."""
    if isinstance(values, _Text):
        held = values.state if isinstance(values.state, tuple) else (values.state,)
        return next(part for part in held if isinstance(part, np.ndarray))
    if not isinstance(values, np.ndarray):
        raise TypeError(f"values of the kind {type(values).__name__}")
    return values


_STAND_INS: dict[tuple[str, str], Callable[..., Any]] = {
    ("builtins", "slice"): slice,
    ("__builtin__", "slice"): slice,
    ("pandas", "DataFrame"): _Frame,
    ("pandas.core.frame", "DataFrame"): _Frame,
    ("pandas", "Index"): _IndexKind,
    ("pandas", "RangeIndex"): _Range,
    ("pandas", "StringDtype"): _Record,
    ("pandas.core.arrays.string_", "StringDtype"): _Record,
    ("pandas.arrays", "StringArray"): _Text,
    ("pandas.core.arrays.string_", "StringArray"): _Text,
    ("pandas.core.arrays.string_", "StringArrayNumpySemantics"): _Text,
    ("pandas.core.indexes.base", "Index"): _IndexKind,
    ("pandas.core.indexes.base", "_new_Index"): _new_index,
    ("pandas.core.indexes.range", "RangeIndex"): _Range,
    ("pandas.core.indexes.numeric", "Int64Index"): _IndexKind,
    ("pandas.core.internals.managers", "BlockManager"): _Manager,
    ("pandas.core.internals", "BlockManager"): _Manager,
    ("pandas._libs.internals", "_unpickle_block"): _new_block,
    ("pandas._libs.arrays", "__pyx_unpickle_NDArrayBacked"): _new_text,
}


class _FrameUnpickler(safe_pickle.ArraysOnly):
    def find_class(self, module: str, name: str) -> Any:
        """Stand-ins for what tables need; otherwise only plain arrays and containers."""
        stand_in = _STAND_INS.get((module, name))
        return super().find_class(module, name) if stand_in is None else stand_in


def _columns(table: _Frame) -> dict[str, list[Any]]:
    manager = table.state["_mgr"] if "_mgr" in table.state else table.state["_data"]
    if manager.given:
        blocks, (names, rows) = manager.given[:2]
    else:
        content = manager.state[3]["0.14.1"]
        names, rows = content["axes"]
        blocks = [(block["values"], block["mgr_locs"]) for block in content["blocks"]]
    columns: dict[str, list[Any]] = {}
    for values, placement in blocks:
        places = range(len(names))[placement] if isinstance(placement, slice) else placement
        array = _array(values)
        for place, column in zip(places, array if array.ndim > 1 else array[None], strict=True):
            columns[str(names[place])] = list(column)
    uneven = {name: len(column) for name, column in columns.items() if len(column) != len(rows)}
    if uneven or len(columns) != len(names):
        raise ValueError(f"{len(rows)} rows of {len(names)} columns, and columns of {uneven or len(columns)}")
    return columns
