"""A user's SMPL, SMPL-H, MANO or FLAME model as a body of 55 joints, so that fits know one kind of model only.

Joints that the model lacks lie on the nearest joint above them that it has, or on its root, and carry no skin. So the
global orientation turns a hand about its wrist and a head about its neck, and parameters mean what they mean to the
model's own makers: rotations of its joints in the slots of SMPL-X's, its own betas, expression and translation.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Int

from openexpose.body.keypoints import INDEX, KEYPOINT_NAMES, PARENTS
from openexpose.body.model import EXTRA_VERTICES, NUM_JOINTS, BodyModel, PoseBlendShapes, load_body_model
from openexpose.body.model_file import ModelFile, open_npz
from openexpose.data.safe_pickle import load_pickle
from openexpose.errors import InputError
from openexpose.fitting.state import State
from openexpose.predict.parts import BODY

if TYPE_CHECKING:
    from openexpose.fitting.models import SkinnedModel

Array = np.ndarray

_MANO_TIPS = (744, 320, 443, 554, 671)
_VERTICES: dict[int, Int[Array, "21"]] = {
    6890: np.array(
        [332, 6260, 2800, 4071, 583, 3216, 3226, 3387, 6617, 6624, 6787]
        + [2746, 2319, 2445, 2556, 2673, 6191, 5782, 5905, 6016, 6133]
    ),
    10475: EXTRA_VERTICES,
    778: np.array([-1] * 11 + 2 * [*_MANO_TIPS]),
}
"""By a mesh's number of vertices those that are the keypoints 55 to 75 (-1: none): SMPL and SMPL-H, SMPL-X, MANO."""
_TIPS = {INDEX["left_index3"]: np.arange(66, 71), INDEX["right_index3"]: np.arange(71, 76)}
"""Finger tips, which nothing bends without a finger."""
_KNUCKLES = {INDEX["left_middle1"]: 22, INDEX["right_middle1"]: 23}
"""Where SMPL's joints in the palms are, which fits leave at rest."""
_FLAME_LANDMARKS = "flame_static_embedding.pkl"
_FLAME_SIZE = 100, 50
"""Coefficients of shape and expression, as the paper's face network has; ten each of the others."""
_LANDMARKS: tuple[tuple[str, tuple[int, ...]], ...] = (("lmk", (51,)), ("dynamic_lmk", (79, 17)))
_SHOWN = {"smpl": "SMPL", "smplh": "SMPL-H", "smplx": "SMPL-X", "flame": "FLAME", "left-hand": "a left hand (MANO)",
          "right-hand": "a right hand (MANO)"}  # fmt: skip
_FITTING = {
    "whole": ("smpl", "smplh", "smplx"),
    "face": ("smplx", "flame"),
    "left-hand": ("smplh", "smplx", "left-hand"),
    "right-hand": ("smplh", "smplx", "right-hand"),
}


@dataclass(frozen=True, eq=False)
class FitModel:
    """A body model to fit.

    Attributes:
        body: the model; its name is that of ``People.body_model``.
        joints: those of the 55 that it has, and the first, which turns all of it.
        keypoints: those of the 144 that it has, and the first, about which that turns.
    """

    body: BodyModel
    joints: Bool[Array, "55"] = field(default_factory=lambda: np.ones(NUM_JOINTS, bool))
    keypoints: Bool[Array, "144"] = field(default_factory=lambda: np.ones(len(KEYPOINT_NAMES), bool))

    def settled(self, state: State) -> State:
        """The same people; joints that the model lacks are at rest."""
        return replace(state, pose=np.where(self.joints[:, None, None], state.pose, np.eye(3)))


def is_smplx_npz(path: Path) -> bool:
    """Whether a file is an npz of SMPL-X, which reads without scipy.

    Raises:
        InputError: it is no model file.
    """
    if path.suffix.lower() != ".npz":
        return False
    with open_npz(path, "a model file (.npz or .pkl) of SMPL, SMPL-H, SMPL-X, MANO or FLAME") as arrays:
        return ModelFile(path, arrays).read("kintree_table", (2, None), "iu").shape[1] == NUM_JOINTS


def load_fit_model(path: Path | None, part: str) -> FitModel:
    """The model of a fit.

    Args:
        path: the user's file; None: the free body.
        part: what is fitted, as in ``People.part``.

    Raises:
        InputError: the file does not read, or its model lacks the part.
    """
    if path is None:
        return FitModel(load_body_model(num_betas=BODY.num_betas, num_expression=BODY.num_expression))
    if is_smplx_npz(path):
        return FitModel(replace(load_body_model(path, num_betas=10, num_expression=10), name="smplx"))
    from openexpose.fitting.models import load_model  # scipy

    model = load_model(path)
    if model.family not in _FITTING[part]:
        wanted = " or ".join(_SHOWN[family] for family in _FITTING[part])
        raise InputError(f"--body-model '{path}', {_SHOWN[model.family]}, with --part {part}", wanted)
    if model.family == "flame":
        betas, expression = _FLAME_SIZE
        model = load_model(path, num_betas=betas, num_expression=expression)
        model = model if model.landmarks else replace(model, landmarks=_static_embedding(path, len(model.faces)))
    return embed(model)


def embed(model: "SkinnedModel") -> FitModel:
    """A model of any family as a body."""
    ids, count, own = model.joints, model.num_vertices, np.arange(1, model.num_joints)
    joints = np.arange(NUM_JOINTS) == 0
    joints[ids] = True
    at = np.zeros(NUM_JOINTS, int)
    for joint in range(1, NUM_JOINTS):
        at[joint] = np.flatnonzero(ids == joint)[0] if joint in ids else at[PARENTS[joint]]
    if model.family == "smpl":
        at[list(_KNUCKLES)], own = list(_KNUCKLES.values()), own[:21]
    weights, directions = np.zeros((count, NUM_JOINTS), np.float32), np.zeros((count, 3, NUM_JOINTS - 1, 9), np.float32)
    np.add.at(weights.T, ids, model.weights.toarray().T)
    pose_dirs = model.pose_dirs if isinstance(model.pose_dirs, np.ndarray) else model.pose_dirs.toarray()
    directions[:, :, ids[own] - 1] = pose_dirs.reshape(count, 3, -1, 9)[:, :, own - 1]
    vertices = _VERTICES.get(count, np.full(21, -1))
    keypoints = np.concatenate([joints, vertices >= 0, np.zeros(68, bool)])
    for finger, tips in _TIPS.items():
        keypoints[tips] &= joints[finger]
    inner, contour = (_on_faces(model, *which) for which in _LANDMARKS)
    keypoints[76:127], keypoints[127:] = inner[1].any(), contour[1].any()
    body = BodyModel(
        name=model.called,
        v_template=model.v_template,
        faces=model.faces,
        shape_dirs=model.shape_dirs,
        expression_dirs=model.expression_dirs,
        pose_dirs=PoseBlendShapes.from_dense(directions.reshape(count, 3, -1)),
        joint_template=model.joint_template[at],
        joint_shape_dirs=model.joint_shape_dirs[at],
        joint_expression_dirs=model.joint_expression_dirs[at],
        weights=weights,
        parents=PARENTS,
        extra_vertices=np.maximum(vertices, 0),
        landmark_vertices=inner[0],
        landmark_barycentric=inner[1],
        contour_vertices=contour[0],
        contour_barycentric=contour[1],
        hand_mean=np.zeros((2, 45), np.float32),
        hand_components=np.zeros((2, 45, 45), np.float32),
    )
    return FitModel(body, joints, keypoints)


def _on_faces(model: "SkinnedModel", key: str, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """Vertices and barycentric coordinates of landmarks; zeros where the model has none."""
    if f"{key}_faces_idx" not in model.landmarks:
        return np.zeros((*shape, 3), int), np.zeros((*shape, 3), np.float32)
    return model.faces[model.landmarks[f"{key}_faces_idx"]], model.landmarks[f"{key}_bary_coords"]


def _static_embedding(model: Path, faces: int) -> dict[str, Array]:
    """The inner landmarks of the file that FLAME's users have beside their model.

    Raises:
        InputError: it is not there, or does not read.
    """
    path = model.with_name(_FLAME_LANDMARKS)
    if not path.is_file():
        fix = f"Put FLAME's '{_FLAME_LANDMARKS}' into the folder of the model."
        raise InputError(f"--body-model '{model}', FLAME without landmarks", "those of SMPL-X's format", fix)
    content = load_pickle(path)
    renamed = {"lmk_faces_idx": "lmk_face_idx", "lmk_bary_coords": "lmk_b_coords"}
    if not isinstance(content, dict) or not set(renamed.values()) <= content.keys():
        raise InputError(f"'{path}', which holds no landmarks", "a pickle with lmk_face_idx and lmk_b_coords")
    arrays = {key: np.asarray(content[name]) for key, name in renamed.items()}
    return ModelFile(path, arrays, finite=True).landmarks(faces)
