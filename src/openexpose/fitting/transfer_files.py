"""What is transferred, and what comes of it, as files: parameters of any model of the family, and meshes."""

import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from openexpose.data.safe_pickle import load_pickle
from openexpose.errors import InputError
from openexpose.fitting.models import SkinnedModel
from openexpose.fitting.transfer_skin import Parameters
from openexpose.formats.atomic import write_whole
from openexpose.formats.native import people_arrays, write_arrays
from openexpose.formats.native import read_npz as read_people
from openexpose.formats.tracks import TRACK_KEYS
from openexpose.geometry.rotation import matrix_to_rotvec, rotvec_to_matrix
from openexpose.people import POSE_SLICES, People

Array = np.ndarray
Layout = Literal["native", "poses", "pose"]

_EXPECTED = (
    "an .npz or .pkl with poses (AMASS), pose (SPIN, MANO, FLAME) or global_orient and body_pose (openexpose, ExPose), "
    "an .npz with vertices [n, v, 3], or a folder of .obj or .ply meshes"
)
_PARAMETERS = frozenset({"poses", "pose", "betas", "trans", "transl", "expression", "vertices", "faces"})
_MESHES = (".obj", ".ply")
_TOLD = {"image_name": "", "focal_length_from": "given"}
"""What native files tell besides parameters, and what they tell if the source did not."""
_BROKEN = (ValueError, OSError, EOFError, KeyError)


@dataclass(frozen=True)
class Motion:
    """Parameters of a source model, or meshes of its topology: one row a frame or person.

    Attributes:
        layout: of the file: ``native``, ``poses`` (AMASS), ``pose`` (SPIN) or ``vertices``.
        parameters: of the model, or None.
        vertices: metres, or None.
        one_shape: whether the file tells one shape for all rows.
        people: what a native file holds.
        others: the file's arrays that are no parameters.
    """

    layout: str
    parameters: Parameters | None = None
    vertices: Float[Array, "n v 3"] | None = None
    one_shape: bool = False
    people: People | None = None
    others: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.vertices) if self.parameters is None else len(self.parameters)  # type: ignore[arg-type]


def read_content(path: Path) -> dict[str, Any]:
    """The arrays of a file, or ``vertices`` of a folder of meshes; nothing in it is run.

    Raises:
        InputError: no such file or folder, it does not read, or holds nothing.
    """
    if path.is_dir():
        return {"vertices": _read_meshes(path)}
    if not path.is_file():
        raise InputError(f"no file or folder '{path}'", _EXPECTED)
    if path.suffix.lower() == ".json":
        fix = "openexpose's JSON holds joints and no rotations: give the .npz (predict --save npz)."
        raise InputError(f"'{path}', a JSON file", _EXPECTED, fix)
    if path.suffix.lower() == ".pkl":
        content = load_pickle(path)
        if not isinstance(content, dict):
            raise InputError(f"'{path}', a pickle of a {type(content).__name__}", _EXPECTED)
        return {str(key): value for key, value in content.items()}
    if path.suffix.lower() in _MESHES:
        return {"vertices": _read_mesh(path)[None]}
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files if archive[key].dtype.kind != "O"}
    except (*_BROKEN, AttributeError, TypeError) as error:
        raise InputError(f"'{path}', which does not read as npz ({error})", _EXPECTED) from None


def told_model(content: Mapping[str, Any]) -> str:
    """The model that a file names as its own, or ''."""
    return str(content.get("body_model", ""))


def read_motion(path: Path, content: Mapping[str, Any], model: SkinnedModel) -> Motion:
    """Parameters or meshes of a model.

    Args:
        path: for messages; native files are read from it.
        content: of :func:`read_content`.
        model: the source model, which the numbers must fit.

    Raises:
        InputError: a key is missing, counts do not fit the model, or numbers are NaN or infinite.
    """
    if "flat_hand_mean" in content and not np.asarray(content["flat_hand_mean"]).any():
        raise InputError(f"'{path}' with flat_hand_mean = False", "fingers that count from the flat hand")
    others = {key: value for key, value in content.items() if key not in _PARAMETERS}
    if "global_orient_rotmat" in content:
        people = read_people(path)
        numbers = {"betas": people.betas, "expression": people.expression, "transl": people.transl}
        pose = _native_pose(path, people, model)
        whole = people if model.part == "whole" else None
        told = {key: content[key] for key in (*TRACK_KEYS, *_TOLD) if key in content}
        return Motion("native", _parameters(path, pose, numbers, model), people=whole, others=told)
    if "vertices" in content and not {"poses", "pose", "body_pose"} & content.keys():
        vertices = _floats(path, content, "vertices")
        vertices = vertices[None] if vertices.ndim == 2 else vertices
        if vertices.ndim != 3 or vertices.shape[1:] != (model.num_vertices, 3):
            fix = "Name the model that the meshes are of: --from FILE."
            got = f"'{path}' with vertices of shape {vertices.shape}"
            raise InputError(got, f"[n, {model.num_vertices}, 3] for '{model.name}'", fix)
        return Motion("vertices", vertices=vertices, others=others)
    key = next((key for key in ("poses", "pose") if key in content), None)
    if key is not None:
        rotvecs = _floats(path, content, key)
        rotvecs = rotvecs.reshape(1, -1) if rotvecs.ndim == 1 else rotvecs.reshape(len(rotvecs), -1)
        if rotvecs.shape[1] != 3 * model.num_joints:
            got = f"'{path}' with {rotvecs.shape[1]} numbers of pose a row"
            fix = "Name the model that the parameters are of: --from FILE."
            raise InputError(got, f"{3 * model.num_joints} (axis-angle) for '{model.name}'", fix)
        pose = rotvec_to_matrix(rotvecs.reshape(len(rotvecs), -1, 3).astype(float))
        layout = key
    elif {"global_orient", "body_pose"} <= content.keys():
        pose, layout = _named_pose(path, content, model), "poses"
    else:
        raise InputError(f"'{path}' with the keys {', '.join(content) or '(none)'}", _EXPECTED)
    numbers = {name: _floats(path, content, name) for name in ("betas", "expression", "transl") if name in content}
    if "trans" in content:
        numbers["transl"] = _floats(path, content, "trans")
    parameters = _parameters(path, pose, numbers, model)
    one_shape = len(pose) > 1 and numbers.get("betas", np.zeros(0)).ndim == 1
    return Motion(layout, parameters, one_shape=one_shape, others=others)


def write_motion(path: Path, model: SkinnedModel, parameters: Parameters, source: Motion, layout: Layout) -> None:
    """Write parameters of the target model.

    Args:
        layout: ``native`` (:func:`~openexpose.formats.native.write_npz`: the frames are the people; only SMPL-X's
            format; a track stays one), ``poses`` (AMASS's names) or ``pose`` (SPIN's). The last two keep the source's
            other arrays.

    Raises:
        InputError: native parameters of another format, or the file cannot be written.
    """
    if layout == "native":
        if not model.is_smplx:
            raise InputError(f"the layout native for '{model.name}'", "a model with SMPL-X's 55 joints")
        told = {name: str(source.others.get(name, default)) for name, default in _TOLD.items()}
        people = _people(model, parameters, source)
        native = people_arrays(people, image_name=told["image_name"], focal_source=told["focal_length_from"])
        write_arrays(path, native | {name: source.others[name] for name in TRACK_KEYS if name in source.others})
        return
    rotvecs = matrix_to_rotvec(parameters.pose).reshape(len(parameters), -1)
    arrays: dict[str, Any] = dict(source.others)
    arrays |= {layout: rotvecs, "betas": parameters.betas, "trans": parameters.transl}
    arrays |= {"body_model": np.array(model.name), "flat_hand_mean": np.array(True)}
    if model.num_expression:
        arrays["expression"] = parameters.expression
    if layout == "poses" and (parameters.betas == parameters.betas[:1]).all():
        arrays["betas"] = parameters.betas[0]
    file = io.BytesIO()
    np.savez(file, **arrays)
    write_whole(path, file.getvalue())


def _people(model: SkinnedModel, parameters: Parameters, source: Motion) -> People:
    numbers: dict[str, Any] = {
        "pose": parameters.pose.astype(np.float32),
        "betas": parameters.betas.astype(np.float32),
        "expression": parameters.expression.astype(np.float32),
        "transl": parameters.transl.astype(np.float32),
    }
    if source.people is not None:
        return replace(source.people, **numbers, body_model=model.name)
    count = len(parameters)
    return People(
        **numbers,
        score=np.ones(count),
        bbox_xyxy=np.zeros((count, 4)),
        part_confidence=np.ones((count, 4)),
        joint_confidence=np.ones((count, 144)),
        crop_centre_px=np.zeros((count, 2)),
        crop_side_px=np.ones(count),
        crop_camera=np.tile([1.0, 0.0, 0.0], (count, 1)),
        focal_px=1.0,
        principal_px=np.zeros(2),
        image_size=(1, 1),
        body_model=model.name,
    )


def _parameters(path: Path, pose: Array, numbers: Mapping[str, Array], model: SkinnedModel) -> Parameters:
    count = len(pose)
    return Parameters(
        np.asarray(pose, float),
        _rows(path, numbers, "betas", count, model.num_betas),
        _rows(path, numbers, "expression", count, model.num_expression),
        _rows(path, numbers, "transl", count, 3),
    )


def _rows(path: Path, numbers: Mapping[str, Array], name: str, count: int, width: int) -> Float[Array, "n w"]:
    """Numbers a row: zeros if absent, repeated if the file has one row, padded with zeros to the model's width."""
    value = numbers.get(name)
    if value is None:
        return np.zeros((count, width))
    value = np.atleast_2d(value)
    if value.ndim != 2 or len(value) not in (1, count):
        raise InputError(f"'{path}' with '{name}' of shape {value.shape} for {count} poses", "one row a pose, or one")
    if value[:, width:].any():
        fix = "" if name == "transl" else "Keep more of the source model: --betas."
        raise InputError(f"'{path}' with {value.shape[1]} {name}", f"at most {width}", fix)
    rows = np.zeros((count, width))
    rows[:, : value.shape[1]] = value[:, :width]
    return rows


def _native_pose(path: Path, people: People, model: SkinnedModel) -> Float[Array, "n j 3 3"]:
    """The rotations of a model's own joints; slot 0 turns its root, as :mod:`openexpose.fitting.embedding` has it."""
    if model.is_smplx:
        return people.pose
    if people.body_model != model.called:
        raise InputError(
            f"'{path}', parameters of '{people.body_model}', for '{model.name}'", f"those of {model.called}"
        )
    pose = people.pose[:, model.joints]
    pose[:, 0] = people.pose[:, 0]
    if model.family == "smpl":
        pose[:, 22:] = np.eye(3)  # the hands, which fits leave at rest
    return pose


def _named_pose(path: Path, content: Mapping[str, Any], model: SkinnedModel) -> Float[Array, "n 55 3 3"]:
    """SMPL-X's named poses, as matrices or axis-angle; absent ones are at rest."""
    if not model.is_smplx:
        raise InputError(f"'{path}', SMPL-X's named poses, for '{model.name}'", "a model with 55 joints")
    parts = []
    count = 1
    for name, where in POSE_SLICES.items():
        joints = where.stop - where.start
        value = _floats(path, content, name) if name in content else np.zeros((1, 3 * joints))
        matrices = value.shape[-2:] == (3, 3)
        size = (9 if matrices else 3) * joints
        if value.size == 0 or value.size % size:
            fix = "Principal components of hands and VPoser's codes cannot be decoded here: give axis-angle."
            raise InputError(f"'{path}' with '{name}' of shape {value.shape}", f"{size} numbers a person", fix)
        shaped = value.reshape(-1, joints, 3, 3) if matrices else rotvec_to_matrix(value.reshape(-1, joints, 3))
        parts.append(shaped)
        count = max(count, len(shaped))
    if any(len(part) not in (1, count) for part in parts):
        raise InputError(f"'{path}' with named poses of different lengths", "one row a person in each")
    return np.concatenate([np.broadcast_to(part, (count, *part.shape[1:])) for part in parts], 1)


def _floats(path: Path, content: Mapping[str, Any], name: str) -> Array:
    try:
        array = np.asarray(content[name], float)
    except (TypeError, ValueError):
        raise InputError(f"'{path}' with '{name}' that does not hold numbers", _EXPECTED) from None
    if not array.size:
        raise InputError(f"'{path}' with an empty '{name}'", _EXPECTED)
    bad = ~np.isfinite(array.reshape(len(array), -1)).all(1) if array.ndim else ~np.isfinite(array)
    if bad.any():
        raise InputError(f"'{path}' with NaN or infinity in '{name}' (row {int(np.argmax(bad))})", "finite numbers")
    return array


def _read_meshes(folder: Path) -> Float[Array, "n v 3"]:
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in _MESHES)
    if not paths:
        raise InputError(f"'{folder}' without .obj or .ply files", _EXPECTED)
    meshes = [_read_mesh(path) for path in paths]
    odd = next((k for k, mesh in enumerate(meshes) if mesh.shape != meshes[0].shape), None)
    if odd is not None:
        got = f"'{paths[odd]}' with {len(meshes[odd])} vertices beside '{paths[0].name}' with {len(meshes[0])}"
        raise InputError(got, "meshes of one topology")
    return np.stack(meshes)


def _read_mesh(path: Path) -> Float[Array, "v 3"]:
    """Vertices in the file's order."""
    kind = path.suffix.lower()[1:]
    if kind == "obj":
        try:
            lines = path.read_text("utf-8", "replace").splitlines()
            points = [line.split()[1:4] for line in lines if line.startswith("v ")]
            return np.array(points, float).reshape(-1, 3)
        except (OSError, ValueError) as error:
            raise InputError(f"'{path}', which does not read as OBJ ({error})", "a triangle mesh") from None
    import trimesh

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            mesh = trimesh.load(path, file_type=kind, process=False, fix_texture=False)
    except Exception as error:  # damaged meshes raise nearly everything
        raise InputError(f"'{path}', which does not read as PLY ({error})", "a triangle mesh") from None
    return np.asarray(getattr(mesh, "vertices", np.zeros((0, 3))), float)
