"""Model files as pickles: arrays, scipy's sparse matrices, and the arrays inside chumpy's objects.

Older files wrap arrays into objects of the package chumpy. Nothing of it is run: what an object holds is looked up.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np

from openexpose.data.safe_pickle import ArraysOnly, ForbiddenError, SparseMatrix
from openexpose.errors import InputError

_EXPECTED = "a pickled model of SMPL, SMPL-H, SMPL-X, MANO or FLAME"


class _Chumpy:
    """What chumpy pickles: a state and, in ``kind``, what it was."""

    kind = ""

    def __setstate__(self, state: Any) -> None:
        self.state: dict[str, Any] = state if isinstance(state, dict) else {}

    def array(self) -> np.ndarray:
        """Its value: an array, or the chosen elements of another one."""
        if self.kind == "Ch":
            return np.asarray(_plain(self.state["x"]))
        flat = np.asarray(_plain(self.state["a"])).ravel()
        return flat[np.asarray(self.state["idxs"])].reshape(self.state["preferred_shape"])


class _Values(_Chumpy):
    kind = "Ch"


class _Chosen(_Chumpy):
    kind = "Select"


class _Unknown(_Chumpy):
    """Any other of chumpy's objects; no array that is needed is one."""

    def array(self) -> np.ndarray:
        raise KeyError("an expression of chumpy")


class _ModelPickle(ArraysOnly):
    def find_class(self, module: str, name: str) -> Any:
        if module == "chumpy" or module.startswith("chumpy."):
            return {"Ch": _Values, "Select": _Chosen}.get(name, _Unknown)
        if name == "_reconstructor" and module in ("copyreg", "copy_reg"):
            return self._make
        return super().find_class(module, name)

    def _make(self, kind: Any, base: object, state: object) -> Any:
        """How protocols 0 and 1 make an object; only of what this reader knows."""
        if isinstance(kind, type) and issubclass(kind, _Chumpy) and state is None:
            return kind()
        return super().find_class("copyreg", "_reconstructor")(kind, base, state)


def load_model_pickle(path: Path) -> dict[str, Any]:
    """The arrays of a pickled model by key: sparse matrices dense, chumpy's objects as the arrays they hold.

    Entries that are no arrays are left out.

    Raises:
        InputError: the file cannot be read, is damaged, is no dictionary, or wants to run something.
    """
    try:
        content = _ModelPickle(io.BytesIO(path.read_bytes()), encoding="latin1").load()
    except OSError as error:
        raise InputError(f"'{path}', which cannot be read ({error.strerror})", _EXPECTED) from None
    except ForbiddenError as error:
        fix = "Pickles can run programs; this one was not run. Save the model as npz."
        raise InputError(f"'{path}', a pickle that wants {error}", _EXPECTED, fix) from None
    except Exception as error:  # damaged pickles raise nearly everything
        raise InputError(f"'{path}', which does not read as a pickle ({error})", _EXPECTED) from None
    if not isinstance(content, dict):
        raise InputError(f"'{path}', a pickle of a {type(content).__name__}", _EXPECTED)
    arrays: dict[str, Any] = {}
    for key, value in content.items():
        try:
            arrays[str(key)] = np.asarray(_plain(value))
        except (KeyError, ValueError, IndexError, TypeError):
            continue  # a missing key is told where it is needed
    return arrays


def _plain(value: Any) -> Any:
    if isinstance(value, _Chumpy):
        return value.array()
    return value.dense() if isinstance(value, SparseMatrix) else value
