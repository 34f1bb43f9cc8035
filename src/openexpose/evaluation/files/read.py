"""Files with other systems' answers, read into predictions: one list of people a file.

Self-describing files (openexpose's own, SMPLify-X's pickles) are in metres; for the others the unit is told.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from openexpose.body.keypoints import KEYPOINT_NAMES
from openexpose.data.arrays import read_json
from openexpose.data.safe_pickle import load_pickle
from openexpose.errors import InputError
from openexpose.evaluation.files.bodies import Bodies
from openexpose.evaluation.files.names import joint_names, keypoints_144
from openexpose.evaluation.record import Prediction
from openexpose.formats.native import read_npz as read_own_npz

Array = np.ndarray

_NPZ = "an .npz file of openexpose, of ExPose's demo (*_params.npz), or with 'joints' and 'joint_names', or 'vertices'"
_JSON = (
    "a .json file of openexpose, {'joint_names': [...], 'joints': [[x, y, z], ...]} or {'joints': {name: [x, y, z]}}"
)
_LARGEST_M, _SMALLEST_M = 30.0, 0.02
_WRONG_FACTOR = 100.0
_TO_CAMERA = np.array([1.0, -1.0, -1.0])


class Kind(IntEnum):
    """Formats, the preferred first: where a subject has files of several, the first counts, the others are unused."""

    NAMED = 0
    """A row of ``predictions.npz``."""
    EXPOSE = 1
    """``*_params.npz`` of ExPose's demo."""
    NPZ = 2
    """openexpose's own parameters, or named arrays."""
    FITTED_MESH = 3
    """SMPLify-X's ``meshes/NAME/000.obj``."""
    PLY = 4
    OBJ = 5
    FITTED = 6
    """SMPLify-X's ``results/NAME/000.pkl``."""
    JSON = 7


@contextmanager
def told(path: Path, folder: Path) -> Iterator[None]:
    """Errors name the file: its path below ``folder``.

    Raises:
        InputError: as inside, with the file's name.
    """
    name = path.relative_to(folder).as_posix()
    try:
        yield
    except InputError as error:
        got = error.got.replace(f"'{path}'", f"'{name}'")
        raise InputError(got if name in got else f"'{name}': {got}", error.expected, error.fix) from None


def read_answers(path: Path, kind: Kind, *, scale: float, bodies: Bodies) -> list[Prediction]:
    """The people of one file, in its order.

    Args:
        path: the file.
        kind: its format.
        scale: metres a unit of the file (0.001 for millimetres); unused where the format is in metres by definition.
        bodies: what body parameters are posed with.

    Raises:
        InputError: the file is damaged, of another format, holds NaN, or needs a body model that is not at hand.
    """
    readers: dict[Kind, Callable[[Path, float, Bodies], list[Prediction]]] = {
        Kind.EXPOSE: _read_expose,
        Kind.NPZ: _read_npz,
        Kind.FITTED_MESH: _read_fitted_mesh,
        Kind.PLY: _read_mesh,
        Kind.OBJ: _read_mesh,
        Kind.FITTED: _read_fitted,
        Kind.JSON: _read_json,
    }
    return readers[kind](path, scale, bodies)


def check_size(prediction: Prediction, true_m: Float[Array, "n 3"] | None, names: tuple[str, ...], unit: str) -> None:
    """Refuse wrong units: sizes that no body, hand or face has, or that are far from the truth's.

    Args:
        prediction: in metres, if the unit is right.
        true_m, names: true joints and their names, if known.
        unit: the unit that was told, ``m`` or ``mm``.

    Raises:
        InputError: an extent above 30 m or below 2 cm, or a hundred times off the truth's.
    """
    points = prediction.mesh.vertices_m if prediction.mesh is not None else prediction.joints_m
    if points is not None and len(points) > 2:
        extent = float(np.ptp(points, axis=0).max())
        _refuse_size(extent, extent > _LARGEST_M, extent < _SMALLEST_M, unit)
    shared = [k for k, name in enumerate(names) if name in prediction.joint_names]
    predicted = prediction.joints([names[k] for k in shared])
    if true_m is not None and predicted is not None and len(shared) > 2:
        extent, wanted = float(np.ptp(predicted, axis=0).max()), float(np.ptp(true_m[shared], axis=0).max())
        _refuse_size(extent, extent > _WRONG_FACTOR * wanted, extent * _WRONG_FACTOR < wanted, unit)


def _refuse_size(extent: float, large: bool, small: bool, unit: str) -> None:
    if not (large or small):
        return
    wide = f"points that reach over {extent:.3g} m if the unit is '{unit}'"
    if large:
        likely = "They look like millimetres: --unit mm." if unit == "m" else "They are no millimetres."
    else:
        likely = "They look like metres: leave out --unit mm." if unit == "mm" else "They are no metres."
    raise InputError(wide, "people, hands or faces of human size", likely)


def _read_expose(path: Path, scale: float, bodies: Bodies) -> list[Prediction]:
    """ExPose's demo: vertices and joints about the body, moved by ``transl``, the camera's translation.

    Its camera looks along the axis through the crop's ``center``: pixel = center + f / z * (xy + transl_xy), which is
    the weak-perspective projection of ``proj_joints``.
    """
    wanted = ("vertices", "joints", "faces", "transl", "center", "focal_length_in_px", "seconds")
    arrays = _load(path, wanted)
    if "vertices" not in arrays:
        raise InputError(f"'{path}' without 'vertices'", "a _params.npz file that ExPose's demo wrote (--save-params)")
    shift = scale * _shaped(arrays, "transl", (3,), np.zeros(3))
    vertices = scale * _shaped(arrays, "vertices", (-1, 3)) + shift
    prediction = bodies.on_mesh(vertices, arrays.get("faces", np.zeros((0, 3), int)))
    if "joints" in arrays:
        joints = scale * _shaped(arrays, "joints", (-1, 3))
        if len(joints) != len(KEYPOINT_NAMES):
            raise InputError(f"'{path}' with {len(joints)} joints", f"{len(KEYPOINT_NAMES)} joints")
        prediction = replace(prediction, joints_m=joints + shift, joint_names=KEYPOINT_NAMES)
        if {"transl", "center", "focal_length_in_px"} <= arrays.keys() and shift[2] > 0:
            focal_px = float(_shaped(arrays, "focal_length_in_px", ()))
            centre_px = _shaped(arrays, "center", (2,))
            pixels = centre_px + focal_px / shift[2] * (joints + shift)[:, :2]
            prediction = replace(prediction, keypoints_px=pixels)
    return [replace(prediction, seconds=_scalar(arrays, "seconds"))]


def _read_npz(path: Path, scale: float, bodies: Bodies) -> list[Prediction]:
    """openexpose's own file, or named arrays of one person or (one more axis) of several."""
    with _opened(path) as npz:
        own = "global_orient_rotmat" in npz.files
    if own:
        seconds = _scalar(_load(path, ("seconds",)), "seconds")
        try:
            people = read_own_npz(path)
        except InputError:
            raise
        except Exception as error:  # damaged arrays raise nearly everything
            raise InputError(f"'{path}', which does not read as npz ({error})", _NPZ, "Copy it again.") from None
        return [replace(person, seconds=seconds) for person in bodies.people(people)]
    rows = Rows.read(path)
    return [rows.person(k, scale, bodies) for k in range(rows.count)]


@dataclass(frozen=True, eq=False)
class Rows:
    """Named arrays of several people, the first axis counting them.

    ``joints`` [n, j, 3] with ``joint_names`` [j], or ``vertices`` [n, v, 3] with ``faces`` [f, 3], or both; optional
    ``keypoints_2d`` [n, j, 2 or 3] (pixels), ``bbox_xyxy`` [n, 4], ``score`` [n], ``seconds`` [n], ``names`` [n].
    """

    arrays: Mapping[str, Array]
    joint_names: tuple[str, ...]
    faces: Array
    count: int

    @classmethod
    def read(cls, path: Path) -> "Rows":
        """Read an npz file; without ``names``, arrays of one person may lack the first axis.

        Raises:
            InputError: it is damaged, lacks what is needed, or its arrays do not fit each other.
        """
        axes = {"joints": 3, "vertices": 3, "keypoints_2d": 3, "bbox_xyxy": 2, "score": 1, "seconds": 1, "names": 1}
        arrays = _load(path, (*axes, "joint_names", "faces"))
        if not {"joints", "vertices", "keypoints_2d"} & arrays.keys():
            with _opened(path) as npz:
                raise InputError(f"'{path}' with the keys {', '.join(npz.files) or '(none)'}", _NPZ)
        names = arrays.pop("joint_names", None)
        if names is None and {"joints", "keypoints_2d"} & arrays.keys():
            raise InputError(f"'{path}' without 'joint_names'", _NPZ)
        faces = arrays.pop("faces", np.zeros((0, 3), int))
        points = next(arrays[key] for key in ("joints", "vertices", "keypoints_2d") if key in arrays)
        if points.ndim == 2 and "names" not in arrays:
            arrays = {
                key: array.reshape(1, *array.shape) if array.ndim < axes[key] else array
                for key, array in arrays.items()
            }
        count = 0 if points.ndim == 2 and "names" in arrays else len(next(iter(arrays.values())))
        for key, array in arrays.items():
            if array.ndim != axes[key] or len(array) != count:
                raise InputError(f"'{path}' with '{key}' of shape {array.shape}", "one row a person in every array")
        return cls(arrays, () if names is None else joint_names(np.atleast_1d(names).tolist()), faces, count)

    @property
    def names(self) -> list[str]:
        """Whom each row is about; empty without ``names``."""
        return [str(name) for name in self.arrays.get("names", ())]

    def person(self, row: int, scale: float, bodies: Bodies) -> Prediction:
        """One row as a prediction.

        Raises:
            InputError: NaN, or arrays that do not fit ``joint_names`` or ``faces``.
        """
        values = {key: array[row] for key, array in self.arrays.items()}
        mesh = (
            bodies.on_mesh(scale * _floats(values["vertices"], "vertices"), self.faces)
            if "vertices" in values
            else None
        )
        return _assembled(values, self.joint_names, scale, mesh)


def _assembled(
    values: Mapping[str, Any], names: tuple[str, ...], scale: float, prediction: Prediction | None = None
) -> Prediction:
    """A prediction from the arrays that are there; joints that are given go before those found on the mesh."""
    if "joints" in values:
        joints = scale * _floats(values["joints"], "joints")
        given = Prediction(mesh=prediction.mesh if prediction else None, joints_m=joints, joint_names=names)
        prediction = given
    prediction = prediction or Prediction()
    if "keypoints_2d" in values:
        pixels = keypoints_144(_floats(values["keypoints_2d"], "keypoints_2d"), names)
        prediction = replace(prediction, keypoints_px=pixels)
    if "bbox_xyxy" in values:
        prediction = replace(prediction, box_xyxy_px=_shaped(values, "bbox_xyxy", (4,)))
    score, seconds = _scalar(values, "score"), _scalar(values, "seconds")
    return replace(prediction, score=1.0 if score is None else score, seconds=seconds)


def _read_json(path: Path, scale: float, bodies: Bodies) -> list[Prediction]:
    """openexpose's own file (metres), or named joints of one person or a list ``people`` of them."""
    document = read_json(path)
    if not isinstance(document, dict):
        raise InputError(f"'{path}', a JSON {type(document).__name__}", _JSON)
    scale = 1.0 if "openexpose" in document else scale
    people = document.get("people", [document])
    if not isinstance(people, list) or not all(isinstance(person, dict) for person in people):
        raise InputError(f"'{path}' with 'people' that are no list of objects", _JSON)
    shared = {key: document[key] for key in ("joint_names", "seconds") if key in document}
    return [_json_person(shared | person, scale) for person in people]


def _json_person(person: dict[str, Any], scale: float) -> Prediction:
    values = {key: person[key] for key in ("bbox_xyxy", "score", "seconds") if key in person}
    joints, joints_2d = (_named(person, keys) for keys in (("joints_3d", "joints"), ("joints_2d", "keypoints_2d")))
    if joints is None and joints_2d is None:
        raise InputError("a person without joints", _JSON)
    prediction = None
    if joints_2d is not None:
        prediction = _assembled({"keypoints_2d": joints_2d[1]}, joints_2d[0], scale)
    result = _assembled(values | ({"joints": joints[1]} if joints else {}), joints[0] if joints else (), scale)
    return replace(result, keypoints_px=prediction.keypoints_px) if prediction else result


def _named(person: dict[str, Any], keys: tuple[str, ...]) -> tuple[tuple[str, ...], list[Any]] | None:
    """Names and points of the first key that is there."""
    value = next((person[key] for key in keys if person.get(key) is not None), None)
    if isinstance(value, dict):
        return joint_names(list(value)), list(value.values())
    if value is None:
        return None
    names = person.get("joint_names")
    if not isinstance(names, list) or not isinstance(value, list):
        raise InputError(f"'{keys[-1]}' without 'joint_names'", _JSON)
    return joint_names(names), value


def _read_fitted(path: Path, scale: float, bodies: Bodies) -> list[Prediction]:
    """SMPLify-X's parameters; in metres, because the body model is."""
    del scale
    content = load_pickle(path)
    if not isinstance(content, dict):
        raise InputError(f"'{path}', a pickle of a {type(content).__name__}", "SMPLify-X's results, a dictionary")
    prediction = bodies.fitted(content)
    return [replace(prediction, seconds=_scalar(content, "seconds"))]


def _read_fitted_mesh(path: Path, scale: float, bodies: Bodies) -> list[Prediction]:
    """SMPLify-X turns its meshes by 180 degrees about x, to y up; here they are turned back to the camera's axes."""
    vertices, faces = _load_mesh(path)
    return [bodies.on_mesh(scale * vertices * _TO_CAMERA, faces)]


def _read_mesh(path: Path, scale: float, bodies: Bodies) -> list[Prediction]:
    vertices, faces = _load_mesh(path)
    return [bodies.on_mesh(scale * vertices, faces)]


def _load_mesh(path: Path) -> tuple[Array, Array]:
    """Vertices in the file's order, and triangles (none for a cloud of points)."""
    import trimesh

    kind = path.suffix.lower()[1:]
    options: dict[str, Any] = (
        {"maintain_order": True, "skip_materials": True} if kind == "obj" else {"fix_texture": False}
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loaded = trimesh.load(path, file_type=kind, process=False, **options)
    except Exception as error:  # damaged meshes raise nearly everything
        raise InputError(f"'{path}', which does not read as {kind.upper()} ({error})", "a triangle mesh") from None
    vertices = getattr(loaded, "vertices", None)
    if vertices is None or not len(vertices):
        raise InputError(f"'{path}' without vertices", "one triangle mesh", "Several objects in a file: join them.")
    faces = getattr(loaded, "faces", None)
    return np.array(vertices, float), np.zeros((0, 3), int) if faces is None else np.array(faces)


@contextmanager
def _opened(path: Path) -> Iterator[np.lib.npyio.NpzFile]:
    """An npz file, never running pickles that are in it."""
    try:
        npz = np.load(path, allow_pickle=False)
    except Exception as error:  # damaged archives raise nearly everything
        raise InputError(f"'{path}', which does not read as npz ({error})", _NPZ, "Copy it again.") from None
    if not isinstance(npz, np.lib.npyio.NpzFile):
        raise InputError(f"'{path}', which is not an npz archive", _NPZ)
    with npz:
        yield npz


def _load(path: Path, wanted: tuple[str, ...]) -> dict[str, Array]:
    """Those of the wanted arrays that are there; others (ExPose writes empty objects) are not touched."""
    arrays: dict[str, Array] = {}
    with _opened(path) as npz:
        for key in wanted:
            if key in npz.files:
                try:
                    arrays[key] = npz[key]
                except Exception as error:  # as above
                    raise InputError(f"'{path}' with an unreadable '{key}' ({error})", _NPZ) from None
    return arrays


def _floats(value: Any, name: str) -> Float[Array, "..."]:
    try:
        numbers = np.asarray(value, float)
    except (TypeError, ValueError):
        raise InputError(f"'{name}' with rows that differ in length, or that are no numbers", "numbers") from None
    if not np.isfinite(numbers).all():
        raise InputError(f"'{name}' with NaN or infinity", "finite numbers", "Leave out people without an answer.")
    return numbers


def _shaped(values: Mapping[str, Any], name: str, shape: tuple[int, ...], absent: Array | None = None) -> Array:
    """Finite numbers in a shape, axes of length 1 apart."""
    if name not in values and absent is not None:
        return absent
    numbers = _floats(values[name], name)
    squeezed = numbers.squeeze()
    if squeezed.ndim != len(shape) or any(n not in (-1, m) for n, m in zip(shape, squeezed.shape, strict=True)):
        raise InputError(f"'{name}' of shape {numbers.shape}", f"shape {str(list(shape)).replace('-1', 'any')}")
    return squeezed


def _scalar(values: Mapping[str, Any], name: str) -> float | None:
    return None if values.get(name) is None else float(_shaped(values, name, ()))
