"""Arrays of data sets, read from npz and JSON files and checked before anything is made of them."""

import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from openexpose.data.safe_pickle import load_pickle
from openexpose.errors import InputError

Array = np.ndarray
Shape = tuple[int | None, ...]

_BROKEN = (OSError, ValueError, EOFError, KeyError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error)


def read_npz(path: Path, required: dict[str, Shape], optional: dict[str, Shape] | None = None) -> dict[str, Array]:
    """Read the arrays that are wanted from an npz file.

    Arrays of objects (as old data sets hold file names) are read by :func:`~openexpose.data.safe_pickle.load_pickle`.

    Args:
        path: the file.
        required, optional: key and shape of each; None in a shape is any length. All have one row a sample, so the
            first lengths are compared.

    Returns:
        numbers as they are stored, text and bytes as an array of str; without the optional keys that are absent.

    Raises:
        InputError: the file is missing or damaged, lacks a key, or holds an array of a wrong shape or length.
    """
    if not path.is_file():
        raise InputError(f"no file '{path}'", f"an npz file with the keys {', '.join(required)}")
    arrays: dict[str, Array] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            held = {entry.removesuffix(".npy") for entry in archive.namelist()}
            absent = sorted(required.keys() - held)
            if absent:
                raise InputError(f"'{path}' without {', '.join(absent)}", f"the keys {', '.join(required)}")
            for key in [*required, *(optional or {})]:
                if key in held:
                    arrays[key] = _read_array(archive, key, path)
    except InputError:
        raise
    except _BROKEN as error:
        raise InputError(f"'{path}', which does not read as npz ({error})", "an npz file", "Copy it again.") from None
    for key, shape in (required | (optional or {})).items():
        if key in arrays:
            arrays[key] = _checked(arrays[key], shape, f"'{path}' with '{key}'")
    count_rows(arrays, str(path))
    return arrays


def count_rows(arrays: dict[str, Array], name: str) -> int:
    """The number of samples: the common first length.

    Raises:
        InputError: the arrays differ in it.
    """
    lengths = {key: len(array) for key, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise InputError(f"'{name}' with arrays of different lengths {lengths}", "one row a sample in each")
    return next(iter(lengths.values()), 0)


def read_json_array(path: Path, shape: Shape) -> Array:
    """Read a JSON file of nested lists of numbers.

    Args:
        path: the file.
        shape: what to expect after axes of length 1 inside were dropped; None is any length.

    Raises:
        InputError: the file is missing, no JSON, or of another shape.
    """
    content = read_json(path)
    try:
        array = np.array(content, float)
    except (TypeError, ValueError):
        raise InputError(f"'{path}' with rows that differ in length or hold text", f"shape {_shown(shape)}") from None
    if array.ndim == len(shape) + 1 and 1 in array.shape[1:]:
        array = array.squeeze(1 + array.shape[1:].index(1))
    return _checked(array, shape, f"'{path}'")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: it is missing or damaged.
    """
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise InputError(f"no file '{path}'", "a JSON file there") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"'{path}', which does not read as JSON ({error})", "a JSON file", "Copy it again.") from None


_READ_HEADER = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def _read_array(archive: zipfile.ZipFile, key: str, path: Path) -> Array:
    with archive.open(f"{key}.npy") as file:
        read_header = _READ_HEADER.get(np.lib.format.read_magic(file))
        if read_header is not None:
            shape, _, dtype = read_header(file)
            if dtype.hasobject:
                return np.asarray(load_pickle(file, f"{path}:{key}")).reshape(shape)
    with archive.open(f"{key}.npy") as file:
        return np.asarray(np.lib.format.read_array(file, allow_pickle=False))


def _checked(array: Array, shape: Shape, called: str) -> Array:
    if array.dtype.kind in "SO":
        texts = [item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item) for item in array.ravel()]
        array = np.array(texts, dtype=str).reshape(array.shape)
    fits = array.ndim == len(shape) and all(n in (None, m) for n, m in zip(shape, array.shape, strict=True))
    if not fits:
        raise InputError(f"{called} of shape {_shown(array.shape)}", f"shape {_shown(shape)}")
    return array


def _shown(shape: Shape) -> str:
    return "[" + ", ".join("any" if n is None else str(n) for n in shape) + "]"
