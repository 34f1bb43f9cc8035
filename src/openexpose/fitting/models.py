"""Body models of the SMPL family, read into one record: SMPL, SMPL-H, SMPL-X, MANO, FLAME and the free body.

They differ in joints and topology only; the mathematics is that of SMPL (section 3). Axes as everywhere: metres, y up,
x to the subject's left, z forward.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import csr_matrix

from openexpose.body.model import BodyModel, PoseBlendShapes, load_body_model
from openexpose.body.model_file import ModelFile, open_npz
from openexpose.errors import InputError
from openexpose.fitting.model_pickle import load_model_pickle

Array = np.ndarray

FREEBODY = "freebody"
JOINTS: dict[str, Int[Array, "j"]] = {
    "smpl": np.r_[0:22, 20, 21],
    "smplh": np.r_[0:22, 25:55],
    "smplx": np.arange(55),
    "left-hand": np.r_[20, 25:40],
    "right-hand": np.r_[21, 40:55],
    "flame": np.array([12, 15, 22, 23, 24]),
}
"""SMPL-X's joint for each joint of a family, whose order is that of its files. SMPL's hands count as wrists."""

_FAMILY = {24: "smpl", 52: "smplh", 55: "smplx", 16: "hand", 5: "flame"}
_EXPECTED = "a model file (.npz or .pkl) of SMPL, SMPL-H, SMPL-X, MANO or FLAME, or freebody"
_TOLERANCE = 1e-3
_DENSE = 0.3
"""Share of entries from which pose blend shapes are kept as an ordinary array."""


@dataclass(frozen=True, eq=False)
class SkinnedModel:
    """A body, hand or head with blend shapes and linear blend skinning.

    Attributes:
        name: ``freebody`` or the stem of the file.
        family: a key of :data:`JOINTS`.
        v_template: rest vertices [v, 3].
        faces: triangles [f, 3].
        shape_dirs, expression_dirs: [v, 3, b], [v, 3, e] metres per unit of a coefficient.
        pose_dirs: [3 v, 9 (j - 1)] metres per unit of R - I (row-major) of all joints but the root; sparse or dense.
        joint_template, joint_shape_dirs, joint_expression_dirs: rest joints [j, 3] and their directions.
        weights: skinning weights [v, j], rows sum to 1.
        parents: [j], the root has -1; a parent comes before its children.
        landmarks: triangles and barycentric coordinates of the face's landmarks by SMPL-X's keys, if the file has them.
    """

    name: str
    family: str
    v_template: Float[Array, "v 3"]
    faces: Int[Array, "f 3"]
    shape_dirs: Float[Array, "v 3 b"]
    expression_dirs: Float[Array, "v 3 e"]
    pose_dirs: Any
    joint_template: Float[Array, "j 3"]
    joint_shape_dirs: Float[Array, "j 3 b"]
    joint_expression_dirs: Float[Array, "j 3 e"]
    weights: csr_matrix
    parents: Int[Array, "j"]
    landmarks: Mapping[str, Array] = field(default_factory=dict)

    @property
    def num_vertices(self) -> int:
        """Number of vertices."""
        return len(self.v_template)

    @property
    def num_joints(self) -> int:
        """Number of joints."""
        return len(self.parents)

    @property
    def num_betas(self) -> int:
        """Number of shape coefficients."""
        return int(self.shape_dirs.shape[-1])

    @property
    def num_expression(self) -> int:
        """Number of expression coefficients."""
        return int(self.expression_dirs.shape[-1])

    @property
    def joints(self) -> Int[Array, "j"]:
        """SMPL-X's joint for each joint."""
        return JOINTS[self.family]

    @property
    def is_smplx(self) -> bool:
        """Whether its parameters are those of :class:`~openexpose.people.People`."""
        return self.family == "smplx"

    @property
    def called(self) -> str:
        """As in ``People.body_model``."""
        return "mano" if self.family.endswith("hand") else self.family

    @property
    def part(self) -> str:
        """What it shows, as in ``People.part``: ``whole``, ``face``, ``left-hand`` or ``right-hand``."""
        return {"flame": "face", "left-hand": "left-hand", "right-hand": "right-hand"}.get(self.family, "whole")

    @cached_property
    def ancestors(self) -> Bool[Array, "j j"]:
        """Whether joint k is moved by joint j: row k, column j; each moves itself."""
        table = np.eye(self.num_joints, dtype=bool)
        for joint in range(1, self.num_joints):
            table[joint] |= table[self.parents[joint]]
        return table

    def subset(self, rows: Int[Array, "r"]) -> "SkinnedModel":
        """The same model reduced to some vertices, in this order; without faces."""
        coordinates = (3 * np.asarray(rows)[:, None] + np.arange(3)).ravel()
        return replace(
            self,
            v_template=self.v_template[rows],
            faces=self.faces[:0],
            shape_dirs=self.shape_dirs[rows],
            expression_dirs=self.expression_dirs[rows],
            pose_dirs=self.pose_dirs[coordinates],
            weights=self.weights[rows],
        )


def load_model(path: Path | str, *, num_betas: int = 10, num_expression: int | None = None) -> SkinnedModel:
    """Read a model.

    Args:
        path: a file, or ``freebody``.
        num_betas: shape coefficients to keep.
        num_expression: expression coefficients to keep; None: 20 of freebody, up to 10 of others that have them.

    Raises:
        InputError: no such file, it does not read, is of none of the families, or has fewer coefficients.
    """
    if str(path) == FREEBODY:
        wanted = 20 if num_expression is None else num_expression
        return from_body_model(load_body_model(num_betas=num_betas, num_expression=wanted))
    with _opened(Path(path)) as file:
        joints = file.read("kintree_table", (2, None), "iu").shape[1]
        if joints not in _FAMILY:
            raise InputError(f"'{path}' with {joints} joints", _EXPECTED)
        if _FAMILY[joints] == "smplx" and file.path.suffix.lower() == ".npz":
            wanted = 10 if num_expression is None else num_expression
            return from_body_model(load_body_model(path, num_betas=num_betas, num_expression=wanted))
        return _build(file, joints, num_betas, num_expression)


@contextmanager
def _opened(path: Path) -> Iterator[ModelFile]:
    """A model file: an npz, or a pickle's dictionary."""
    if not path.is_file():
        raise InputError(f"no file '{path}'", _EXPECTED)
    if path.suffix.lower() == ".npz":
        with open_npz(path, _EXPECTED) as arrays:
            yield ModelFile(path, arrays, finite=True)
    else:
        yield ModelFile(path, load_model_pickle(path), finite=True)


def from_body_model(model: BodyModel) -> SkinnedModel:
    """A model that :func:`~openexpose.body.model.load_body_model` read."""
    return SkinnedModel(
        name=model.name,
        family="smplx",
        v_template=model.v_template,
        faces=model.faces,
        shape_dirs=model.shape_dirs,
        expression_dirs=model.expression_dirs,
        pose_dirs=_pose_dirs(model.pose_dirs, len(model.v_template)),
        joint_template=model.joint_template,
        joint_shape_dirs=model.joint_shape_dirs,
        joint_expression_dirs=model.joint_expression_dirs,
        weights=csr_matrix(model.weights.astype(np.float32)),
        parents=model.parents,
    )


def _pose_dirs(shapes: PoseBlendShapes, count: int) -> Any:
    if len(shapes.vertices) > _DENSE * count * (len(shapes.starts) - 1):
        return np.ascontiguousarray(shapes.dense(count).T)
    joints = np.repeat(np.arange(len(shapes.starts) - 1), np.diff(shapes.starts))
    columns = np.broadcast_to((9 * joints + np.arange(9)[:, None])[..., None], shapes.directions.shape)
    rows = np.broadcast_to(3 * shapes.vertices[:, None] + np.arange(3), shapes.directions.shape)
    entries = (shapes.directions.ravel(), (rows.ravel(), columns.ravel()))
    return csr_matrix(entries, (3 * count, 9 * (len(shapes.starts) - 1)), dtype=np.float32)


def _build(file: ModelFile, joints: int, num_betas: int, num_expression: int | None) -> SkinnedModel:
    template = file.read("v_template", (None, 3)).astype(np.float32)
    count = len(template)
    faces = file.indices("f", (None, 3), count, "iuf").astype(np.int32)
    weights = file.read("weights", (count, joints)).astype(np.float32)
    if (abs(weights.sum(1) - 1.0) > _TOLERANCE).any():
        raise InputError(f"'{file.path}' with skinning weights that do not sum to 1", _EXPECTED)
    shape_dirs, expression_dirs = file.directions(joints, count, num_betas, num_expression)
    rest, joint_shape_dirs, joint_expression_dirs = file.joints(joints, template, shape_dirs, expression_dirs)
    pose_dirs = file.read("posedirs", (count, 3, 9 * (joints - 1))).reshape(3 * count, -1).astype(np.float32)
    family = _FAMILY[joints]
    if family == "hand":  # the left hand of a body with level arms points to the left
        family = "left-hand" if rest[:, 0].mean() > rest[0, 0] else "right-hand"
    return SkinnedModel(
        name=file.path.stem,
        family=family,
        v_template=template,
        faces=faces,
        shape_dirs=shape_dirs,
        expression_dirs=expression_dirs,
        pose_dirs=csr_matrix(pose_dirs) if (pose_dirs != 0).mean() < _DENSE else pose_dirs,
        joint_template=rest,
        joint_shape_dirs=joint_shape_dirs,
        joint_expression_dirs=joint_expression_dirs,
        weights=csr_matrix(weights),
        parents=file.parents(joints),
        landmarks=file.landmarks(len(faces)),
    )
