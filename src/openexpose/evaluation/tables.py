"""Tables for meshes of known topologies: vertex sets, joint regressors, faces, correspondences.

Those of SMPL-X are licensed to the user and read from the user's folder; those of the free body are packaged.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from openexpose.body.keypoints import KEYPOINT_NAMES
from openexpose.body.model import EXTRA_VERTICES, NUM_JOINTS, BodyModel, load_body_model
from openexpose.data.safe_pickle import SparseMatrix, load_pickle
from openexpose.errors import InputError
from openexpose.evaluation.correspondence import Correspondence, read_correspondence
from openexpose.evaluation.record import Mesh

Array = np.ndarray

LSP14_NAMES: tuple[str, ...] = (
    *"right_ankle right_knee right_hip left_hip left_knee left_ankle right_wrist right_elbow right_shoulder".split(),
    *"left_shoulder left_elbow left_wrist neck head_top".split(),
)
"""The 14 joints of the LSP skeleton, in the order of SMPLX_to_J14 and of 3DPW's prepared files."""
SETS = ("all", "body", "left hand", "right hand", "face")
"""Names of the vertex sets."""
REGRESSED_NAMES: tuple[str, ...] = KEYPOINT_NAMES[: NUM_JOINTS + len(EXTRA_VERTICES)]
"""The joints that :meth:`Tables.joints` finds on a mesh."""

_SMPLX_VERTICES = 10475
_COMMON_SHARE = 0.95
_J14, _HANDS, _FACE, _BODY = (
    *("SMPLX_to_J14.pkl", "MANO_SMPLX_vertex_ids.pkl"),
    *("SMPL-X__FLAME_vertex_ids.npy", "body_verts.npy"),
)
_MODEL = "SMPLX_NEUTRAL.npz"
_LABELS = {"left hand": (20, *range(25, 40)), "right hand": (21, *range(40, 55)), "face": (15, 22, 23, 24)}
"""Joints whose skin is the set, where the field's files are missing."""


@dataclass(frozen=True, eq=False)
class CommonVertices:
    """Two meshes on the vertices that both have."""

    predicted_m: Float[Array, "n 3"]
    true_m: Float[Array, "n 3"]
    sets: Mapping[str, Int[Array, "k"]]
    """Rows of each known set; ``all`` is there if nearly all vertices of the topology are."""


@dataclass(frozen=True, eq=False)
class Tables:
    """What is known of meshes beyond their vertices."""

    smplx_sets: Mapping[str, Int[Array, "k"]] | None = None
    j14: Float[Array, "14 10475"] | None = None
    model: BodyModel | None = None
    """The user's SMPL-X, ten coefficients of shape and of expression."""
    regressor: Float[Array, "55 10475"] | None = field(default=None, repr=False)
    """Joint regressor of ``model``."""
    correspondence: Correspondence | None = None
    notes: tuple[str, ...] = ()
    """Which tables are used, which are missing and what follows, one sentence each."""

    @classmethod
    def read(
        cls, folder: Path | None = None, body_model: Path | None = None, correspondence: Path | None = None
    ) -> "Tables":
        """Find the user's tables.

        Args:
            folder: any folder that holds, in any depth, some of ``SMPLX_to_J14.pkl`` ([14, 10475], dense or sparse),
                ``MANO_SMPLX_vertex_ids.pkl`` (``left_hand``, ``right_hand``), ``SMPL-X__FLAME_vertex_ids.npy``,
                ``body_verts.npy`` (without it the body is all vertices without hands and face) and
                ``SMPLX_NEUTRAL.npz``; the released ``data`` folder of ExPose is one.
            body_model: the user's SMPL-X npz. Without the field's files the vertex sets come from its skinning weights.
            correspondence: see :func:`~openexpose.evaluation.correspondence.read_correspondence`.

        Raises:
            InputError: a file that is there does not read or does not belong to SMPL-X; no such folder or file.
        """
        found = {} if folder is None else _find(folder, (_J14, _HANDS, _FACE, _BODY, _MODEL))
        path = body_model or found.get(_MODEL)
        model = None if path is None else load_body_model(path, num_betas=10, num_expression=10)
        notes: list[str] = []
        if model is not None and len(model.v_template) != _SMPLX_VERTICES:
            notes.append(f"The body model '{model.name}' is not SMPL-X: it tells nothing about SMPL-X meshes.")
            model = None
        j14 = _read_j14(found[_J14]) if _J14 in found else None
        notes.append(
            f"14 joints of SMPL-X meshes: '{_J14}'."
            if j14 is not None
            else f"No '{_J14}': the 14 joints of SMPL-X meshes are unknown."
        )
        sets, told = _smplx_sets(found, model)
        table = None if correspondence is None else read_correspondence(correspondence)
        return cls(
            smplx_sets=sets,
            j14=j14,
            model=model,
            regressor=None if model is None or path is None else _read_regressor(path),
            correspondence=table,
            notes=(*notes, *told, *(() if table is None else (table.note,))),
        )

    @property
    def given(self) -> bool:
        """Whether the user has any of them."""
        return any(table is not None for table in (self.smplx_sets, self.j14, self.model, self.correspondence))

    def vertex_sets(self, topology: str) -> Mapping[str, Int[Array, "k"]] | None:
        """Vertices of ``all`` and, as far as known, ``body``, ``left hand``, ``right hand``, ``face``, in the order of
        the field's files (hands: MANO's); None if nothing is known about the topology."""
        if topology == "freebody":
            return _freebody_sets()
        return self.smplx_sets if topology == "smplx" else None

    def faces(self, topology: str) -> Int[Array, "f 3"] | None:
        """Triangles of a topology, if its model is at hand."""
        if topology == "freebody":
            return _freebody().faces
        return self.model.faces if topology == "smplx" and self.model is not None else None

    def joints14(self, mesh: Mesh) -> Float[Array, "14 3"] | None:
        """The 14 LSP joints (:data:`LSP14_NAMES`) of an SMPL-X mesh, metres; of others if they convert to SMPL-X as a
        whole; None without the tables."""
        if mesh.topology != "smplx":
            converted = self.convert(mesh, "smplx")
            return None if converted is None else self.joints14(converted)
        return None if self.j14 is None else self.j14 @ np.asarray(mesh.vertices_m, float)

    def joints(self, mesh: Mesh) -> Float[Array, "76 3"] | None:
        """Joints and picked vertices (:data:`REGRESSED_NAMES`) of an SMPL-X or freebody mesh, metres, by the model's
        joint regressor; None if the model is not at hand."""
        regressor = self.regressor if mesh.topology == "smplx" else None
        if mesh.topology == "freebody":
            regressor = _freebody_regressor()
        if regressor is None:
            return None
        vertices = np.asarray(mesh.vertices_m, float)
        return np.concatenate([regressor @ vertices, vertices[EXTRA_VERTICES]])

    def convert(self, mesh: Mesh, topology: str) -> Mesh | None:
        """A mesh laid out in another topology, through the correspondence file.

        None if the file does not lead there, or not for every vertex: then only :meth:`common` compares."""
        table = self.correspondence
        if mesh.topology == topology:
            return mesh
        if table is None or len(mesh.vertices_m) != table.source or len(table.rows) != table.target:
            return None
        faces = self.faces(topology)
        vertices = table.apply(mesh.vertices_m)
        made = Mesh(vertices, np.zeros((0, 3), int) if faces is None or faces.max() >= len(vertices) else faces)
        return made if made.topology == topology else None

    def common(self, predicted: Mesh, true: Mesh) -> CommonVertices | None:
        """Both meshes on their common vertices.

        Meshes with equally many vertices correspond one to one, unless their triangles tell otherwise. Else the
        correspondence file leads from one of the two to the other, and the vertices with a counterpart are compared. A
        set is told if at least 95 % of its vertices are among them. None without a way.
        """
        first, second = np.asarray(predicted.vertices_m, float), np.asarray(true.vertices_m, float)
        if len(first) == len(second):
            if not _like(predicted.faces, true.faces):
                return None
            return CommonVertices(first, second, self.vertex_sets(true.topology) or {"all": np.arange(len(second))})
        table = self.correspondence
        if table is None or {len(first), len(second)} != {table.source, table.target}:
            return None
        forward = len(first) == table.source
        meshes = (predicted, true) if forward else (true, predicted)
        sets = _carried(table, *(self.vertex_sets(mesh.topology) for mesh in meshes))
        if forward:
            return CommonVertices(table.apply(first), second[table.rows], sets)
        return CommonVertices(first[table.rows], table.apply(second), sets)


def _like(first: Int[Array, "f 3"], second: Int[Array, "g 3"]) -> bool:
    """Whether two meshes with equally many vertices can be one topology: at least half of the triangles are the same.
    Unknown triangles are no objection."""
    if not len(first) or not len(second) or np.array_equal(first, second):
        return True
    count = 1 + max(int(first.max()), int(second.max()))
    one, other = (np.sort(faces.astype(np.int64), 1) @ [count * count, count, 1] for faces in (first, second))
    return bool(np.isin(one, other).mean() >= 0.5)


def _carried(
    table: Correspondence, source: Mapping[str, Array] | None, target: Mapping[str, Array] | None
) -> dict[str, Array]:
    """Rows of the sets among the target vertices that have a counterpart."""
    count = len(table.rows)
    if target is None and source is not None and "body" in source:
        nearest = table.nearest()
        sets = {name: np.flatnonzero(np.isin(nearest, rows)) for name, rows in source.items() if name != "all"}
        sets = {name: rows for name, rows in sets.items() if len(rows) > 2}
    else:
        known = {} if target is None else {name: rows for name, rows in target.items() if name != "all"}
        position = np.full(table.target, -1)
        position[table.rows] = np.arange(count)
        sets = {name: position[rows] for name, rows in known.items()}
        sets = {name: rows[rows >= 0] for name, rows in sets.items() if (rows >= 0).mean() >= _COMMON_SHARE}
    if count >= _COMMON_SHARE * table.target:
        sets["all"] = np.arange(count)
    return sets


def _find(folder: Path, names: tuple[str, ...]) -> dict[str, Path]:
    """Files by name, in any depth; of several the least deep."""
    if not folder.is_dir():
        raise InputError(f"no folder '{folder}'", "a folder with tables such as " + _J14, "Check --tables.")
    found: dict[str, Path] = {}
    level = [folder]
    while level and len(found) < len(names):
        entries = sorted((entry for path in level for entry in os.scandir(path)), key=lambda entry: entry.path)
        for entry in entries:
            if entry.name in names and entry.is_file():
                found.setdefault(entry.name, Path(entry.path))
        level = [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    return found


def _read_j14(path: Path) -> Float[Array, "14 10475"]:
    content = load_pickle(path)
    matrix = content.dense() if isinstance(content, SparseMatrix) else content
    matrix = np.asarray(matrix) if isinstance(matrix, np.ndarray | list) else np.zeros(())
    if matrix.shape != (14, _SMPLX_VERTICES) or matrix.dtype.kind not in "fiu" or not np.isfinite(matrix).all():
        raise InputError(f"'{path}' with shape {matrix.shape}", f"a matrix [14, {_SMPLX_VERTICES}]")
    return matrix.astype(float)


def _read_regressor(path: Path) -> Float[Array, "55 10475"]:
    """The joint regressor of a file that :func:`load_body_model` has accepted."""
    with np.load(path, allow_pickle=False) as archive:
        return np.asarray(archive["J_regressor"], float)


def _smplx_sets(found: dict[str, Path], model: BodyModel | None) -> tuple[dict[str, Array] | None, list[str]]:
    sets, notes = {}, []
    if _HANDS in found:
        content = load_pickle(found[_HANDS])
        content = content if isinstance(content, dict) else {}
        sets = {name: _ids(content.get(name.replace(" ", "_")), found[_HANDS]) for name in ("left hand", "right hand")}
    if _FACE in found:
        sets["face"] = _ids(_load_npy(found[_FACE]), found[_FACE])
    if _BODY in found:
        sets["body"] = _ids(_load_npy(found[_BODY]), found[_BODY])
    used = [f"'{name}'" for name in (_HANDS, _FACE, _BODY) if name in found]
    if used:
        notes.append(f"Vertex sets of SMPL-X: {', '.join(used)}.")
    guessed = [name for name in _LABELS if name not in sets]
    if model is not None and guessed:
        label = model.weights.argmax(1)
        sets |= {name: np.flatnonzero(np.isin(label, _LABELS[name])) for name in guessed}
        notes.append(
            f"Vertices of {', '.join(guessed)} from the body model's skinning weights, because the field's files are "
            "missing: V2V of these sets is not comparable with published numbers."
        )
    missing = [name for name in _LABELS if name not in sets]
    if missing:
        notes.append(f"No vertex sets of SMPL-X for {', '.join(missing)}: give --tables or --body-model.")
    if "body" not in sets and not missing:
        others = np.concatenate([sets[name] for name in _LABELS])
        sets["body"] = np.setdiff1d(np.arange(_SMPLX_VERTICES), others)
        notes.append(f"No '{_BODY}': the body is every vertex that is in neither hand and not in the face's set.")
    return ({"all": np.arange(_SMPLX_VERTICES)} | sets if sets else None), notes


def _load_npy(path: Path) -> Array:
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"'{path}', which does not read ({error})", "an npy file of vertex numbers") from None


def _ids(value: Any, path: Path) -> Int[Array, "k"]:
    """Vertex numbers of SMPL-X, given as numbers (their order, e.g. MANO's, is kept) or as a mask."""
    array = np.asarray(value if value is not None else ()).reshape(-1)
    if array.dtype == bool and len(array) == _SMPLX_VERTICES:
        array = np.flatnonzero(array)
    if len(array) < 3 or array.dtype.kind not in "iu" or array.min() < 0 or array.max() >= _SMPLX_VERTICES:
        raise InputError(f"'{path}' with {array.size} entries of type {array.dtype}", "vertex numbers of SMPL-X")
    if len(np.unique(array)) < len(array):
        raise InputError(f"'{path}' that names a vertex twice", "each vertex once")
    return array.astype(int)


@cache
def _freebody() -> BodyModel:
    return load_body_model()


@cache
def _freebody_sets() -> dict[str, Array]:
    with (files("openexpose.body") / "data" / "freebody_parts.npz").open("rb") as file:
        parts = np.load(file, allow_pickle=False)
        known = {name: parts[name.replace(" ", "_")].astype(int) for name in SETS if name != "all"}
    return {"all": np.arange(len(_freebody().v_template)), **known}


@cache
def _freebody_regressor() -> Float[Array, "55 v"]:
    with as_file(files("openexpose.body") / "data" / "SMPLX_FREEBODY.npz") as path:
        return _read_regressor(path)
