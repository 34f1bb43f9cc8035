"""Files of body models, of SMPL-X's format and its kin: their arrays, checked."""

import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from openexpose.errors import InputError

Array = np.ndarray

_EXPRESSION_COLUMN, _WIDE_COLUMNS = 300, 400
_NARROW_COLUMNS = 10
_SMPLX_JOINTS, _FLAME_JOINTS = 55, 5


@contextmanager
def open_npz(path: Path, expected: str = "an SMPL-X body model as an .npz file") -> Iterator[Mapping[str, Any]]:
    """The arrays of an npz file, each read when it is asked for.

    Raises:
        InputError: no such file, or no npz.
    """
    if not path.is_file():
        raise InputError(f"{path}, which is not a file", expected)
    try:
        npz = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile):
        npz = None
    if not isinstance(npz, np.lib.npyio.NpzFile):
        raise InputError(f"{path}, which is not an npz archive", expected, "A .pkl model has an .npz twin: use that.")
    with npz:
        yield npz


@dataclass(frozen=True)
class ModelFile:
    """The arrays of a model file by key; what is asked for is checked."""

    path: Path
    arrays: Mapping[str, Any]
    finite: bool = False
    """Whether NaN and infinity are looked for."""

    def read(self, key: str, shape: tuple[int | None, ...], kinds: str = "f") -> Array:
        """The array of a key; None in ``shape`` is any length, ``kinds`` the allowed numpy kinds."""
        expected = f"key {key!r} with shape {shape} (None: any length)".replace(",)", ")")
        if key not in self.arrays:
            raise InputError(f"{self.path} without the key {key!r}", expected)
        try:
            array = self.arrays[key]
        except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise InputError(f"{self.path} with an unreadable key {key!r} ({error})", expected) from None
        fits = len(shape) == array.ndim and all(n in (None, m) for n, m in zip(shape, array.shape, strict=True))
        if not fits or array.dtype.kind not in kinds:
            raise InputError(f"{self.path} with {key!r} of shape {array.shape}, type {array.dtype}", expected)
        if self.finite and not np.isfinite(array).all():
            raise InputError(f"{self.path} with NaN or infinity in {key!r}", "finite numbers")
        return array

    def indices(self, key: str, shape: tuple[int | None, ...], count: int, kinds: str = "iu") -> Int[Array, "..."]:
        """An integer array whose entries lie in [0, count)."""
        array = self.read(key, shape, kinds).astype(np.int64)
        if array.size and (array.min() < 0 or array.max() >= count):
            got = f"{self.path} with {key!r} between {array.min()} and {array.max()}"
            raise InputError(got, f"{key!r} in [0, {count})")
        return array

    def parents(self, joints: int) -> Int[Array, "j"]:
        """Parent of each joint, -1 of the root."""
        parents = self.read("kintree_table", (2, joints), "iu")[0].astype(np.int64)
        parents[0] = -1
        if (parents[1:] < 0).any() or (parents >= np.arange(len(parents))).any():
            raise InputError(f"{self.path} with 'kintree_table' {parents.tolist()}", "parents before their children")
        return parents

    def directions(
        self, joints: int, count: int, num_betas: int, num_expression: int | None
    ) -> tuple[Float[Array, "v 3 b"], Float[Array, "v 3 e"]]:
        """Shape and expression directions, metres per unit.

        Where they lie depends on the number of columns: expression follows 300 columns of shape or, in narrow files of
        SMPL-X, 10. Models without a face have none.

        Args:
            joints, count: numbers of joints and vertices.
            num_betas: how many of shape.
            num_expression: how many of expression; None: 10, or as many as there are.
        """
        shapedirs = self.read("shapedirs", (count, 3, None))
        columns = shapedirs.shape[-1]
        start = stop = columns
        if joints in (_SMPLX_JOINTS, _FLAME_JOINTS) and columns >= _WIDE_COLUMNS:
            start = _EXPRESSION_COLUMN
        elif joints == _SMPLX_JOINTS:
            start, stop = min(_NARROW_COLUMNS, columns), min(columns, 2 * _NARROW_COLUMNS)
        wanted = min(10, stop - start) if num_expression is None else num_expression
        for number, limit, what in ((num_betas, start, "betas"), (wanted, stop - start, "expression")):
            if not 0 <= number <= limit:
                raise InputError(
                    f"num_{what} = {number} for {self.path}, whose 'shapedirs' has {columns} columns",
                    f"0 to {limit} {what} coefficients from this file",
                )
        expression = shapedirs[..., start : start + wanted]
        return (
            np.ascontiguousarray(shapedirs[..., :num_betas], np.float32),
            np.ascontiguousarray(expression, np.float32),
        )

    def joints(
        self, joints: int, template: Float[Array, "v 3"], shape: Array, expression: Array
    ) -> tuple[Float[Array, "j 3"], Float[Array, "j 3 b"], Float[Array, "j 3 e"]]:
        """Rest joints and their directions: the vertices' (``shape`` [v, 3, b], ``expression`` [v, 3, e]) multiplied by
        the joint regressor."""
        count = len(template)
        regressor = self.read("J_regressor", (joints, count)).astype(np.float32)
        flat = np.concatenate([template[..., None], shape, expression], -1).reshape(count, -1)
        rest = (regressor @ flat).reshape(joints, 3, -1)
        split = np.split(rest, [1, 1 + shape.shape[-1]], -1)
        return split[0][..., 0].copy(), np.ascontiguousarray(split[1]), np.ascontiguousarray(split[2])

    def landmarks(self, faces: int) -> dict[str, Array]:
        """Triangles and barycentric coordinates of the face's landmarks by their keys, of those that the file has."""
        found: dict[str, Array] = {}
        for which, shape in (("lmk", (51,)), ("dynamic_lmk", (79, 17))):
            numbers, coordinates = f"{which}_faces_idx", f"{which}_bary_coords"
            if {numbers, coordinates} <= self.arrays.keys():
                found[numbers] = self.indices(numbers, shape, faces)
                found[coordinates] = self.read(coordinates, (*shape, 3)).astype(np.float32)
        return found
