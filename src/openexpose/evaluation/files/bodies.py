"""Meshes and joints from other systems' numbers: body parameters are posed, joints are found on meshes."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Float

from openexpose.body.keypoints import KEYPOINT_NAMES
from openexpose.body.mesh import NECK, contour_row, posed_mesh
from openexpose.body.model import BodyModel, load_body_model
from openexpose.errors import InputError
from openexpose.evaluation.record import Mesh, Prediction
from openexpose.evaluation.tables import Tables
from openexpose.formats.native import part_keypoints
from openexpose.geometry.camera import project_perspective
from openexpose.geometry.procrustes import find_similarity
from openexpose.geometry.rotation import project_to_so3, rotvec_to_matrix
from openexpose.people import POSE_SLICES, People, zero_pose

Array = np.ndarray

_NEED_MODEL = "Give the SMPL-X body model: --body-model SMPLX_NEUTRAL.npz"
_NECK_SKIN = 0.05  # weight from which a vertex tells about the neck
_NECK_DRAW = 1e-4
_HALF_TURN = 0.8  # cosine


@cache
def freebody(num_betas: int = 10, num_expression: int = 20) -> BodyModel:
    """The packaged body model, read once."""
    return load_body_model(num_betas=num_betas, num_expression=num_expression)


@dataclass(frozen=True)
class Bodies:
    """The body models that are at hand."""

    tables: Tables

    def of_topology(self, topology: str) -> BodyModel | None:
        """The model with the vertices and faces of a :attr:`Mesh.topology`."""
        if topology == "freebody":
            return freebody()
        return self.tables.model if topology == "smplx" else None

    def people(self, people: People) -> list[Prediction]:
        """openexpose's own results, posed: mesh, keypoints in 3D and 2D.

        Raises:
            InputError: their body model is not at hand.
        """
        model = self._model_of(people)
        betas = _coefficients(people.betas, model.num_betas, "betas", model)
        expression = _coefficients(people.expression, model.num_expression, "expression", model)
        posed = posed_mesh(model, people.pose, betas, expression)
        shift = people.transl[:, None].astype(float)
        vertices, joints = posed.vertices + shift, posed.joints + shift
        pixels = project_perspective(joints, people.focal_px, people.principal_px)
        valid = part_keypoints(people.part)
        pixels[:, np.setdiff1d(np.arange(len(KEYPOINT_NAMES)), valid)] = np.nan
        return [
            Prediction(
                mesh=Mesh(vertices[k], model.faces),
                joints_m=joints[k, valid],
                joint_names=tuple(KEYPOINT_NAMES[i] for i in valid),
                keypoints_px=pixels[k],
                score=float(people.score[k]),
                box_xyxy_px=people.bbox_xyxy[k].astype(float),
            )
            for k in range(len(people))
        ]

    def _model_of(self, people: People) -> BodyModel:
        if people.body_model == "freebody":
            return freebody(people.betas.shape[1], people.expression.shape[1])
        model = self.tables.model
        if model is None or model.name != people.body_model:
            given = "none was given" if model is None else f"'{model.name}' was given"
            raise InputError(f"parameters of the body model '{people.body_model}' ({given})", "that model", _NEED_MODEL)
        return model

    def fitted(self, content: dict[str, Any]) -> Prediction:
        """SMPLify-X's numbers, posed and moved to the camera's frame (facts: its results' ``000.pkl``).

        Args:
            content: axis-angle ``global_orient``, ``body_pose`` (63), ``jaw_pose``, ``leye_pose``, ``reye_pose``;
                ``left_hand_pose``, ``right_hand_pose``: 45 numbers or fewer principal components, from the mean hand
                (from the flat one where ``flat_hand_mean`` is true); ``betas``, ``expression``; ``camera_rotation``,
                ``camera_translation``. All but the first two and ``betas`` may be absent.

        Raises:
            InputError: no model, a number is missing or not finite, or the pose is a VPoser latent.
        """
        model = self.tables.model
        if model is None:
            raise InputError("SMPL-X parameters, and no body model to pose", "a body model", _NEED_MODEL)
        flat = bool(np.asarray(content.get("flat_hand_mean", False)).any())
        axis_angle = {name: _pose(content, name, model, flat) for name in POSE_SLICES}
        pose = zero_pose(1)
        for name, where in POSE_SLICES.items():
            pose[0, where] = rotvec_to_matrix(axis_angle[name].reshape(-1, 3))
        betas = _coefficients(_numbers(content, "betas")[None], model.num_betas, "betas", model)
        expression = _numbers(content, "expression", 0)[None]
        expression = _coefficients(expression, model.num_expression, "expression", model)
        posed = posed_mesh(model, pose, betas, expression)
        shift = _numbers(content, "transl", 3)
        rotation = _numbers(content, "camera_rotation", np.eye(3)).reshape(3, 3)
        translation = _numbers(content, "camera_translation", 3)
        vertices, joints = ((points[0] + shift) @ rotation.T + translation for points in (posed.vertices, posed.joints))
        return Prediction(mesh=Mesh(vertices, model.faces), joints_m=joints, joint_names=KEYPOINT_NAMES)

    def on_mesh(self, vertices_m: Float[Array, "v 3"], faces: Array) -> Prediction:
        """A mesh with the 144 keypoints on it, where its topology's joint regressor is at hand.

        Faces that are missing are filled in, and vertices that were only renumbered (some programs merge and sort
        them) get the body model's order again: both where the topology's model is at hand.

        Raises:
            InputError: see :class:`Mesh`.
        """
        mesh = Mesh(np.asarray(vertices_m, float), np.asarray(faces))
        model = self.of_topology(mesh.topology)
        if model is None:
            return Prediction(mesh=mesh)
        mesh = _in_order(mesh, model)
        joints = self.tables.joints(mesh)
        if joints is None:
            return Prediction(mesh=mesh)
        joints = np.concatenate([joints, face_landmarks(mesh.vertices_m, model)])
        return Prediction(mesh=mesh, joints_m=joints, joint_names=KEYPOINT_NAMES)


def face_landmarks(vertices_m: Float[Array, "v 3"], model: BodyModel) -> Float[Array, "68 3"]:
    """The last 68 of the 144 keypoints on a posed mesh of a body model: 51 inner landmarks and 17 of the contour.

    The contour's row comes from the neck's rotation, which the mesh does not tell exactly: about half a degree, and as
    many rows, off.

    Raises:
        InputError: the mesh's neck has no extent.
    """
    row = contour_row(_neck_rotation(vertices_m, model))
    inner = (vertices_m[model.landmark_vertices] * model.landmark_barycentric[..., None]).sum(1)
    contour = (vertices_m[model.contour_vertices[row]] * model.contour_barycentric[row][..., None]).sum(1)
    return np.concatenate([inner, contour])


def is_upside_down(prediction: Prediction, true_m: Float[Array, "n 3"] | None, names: tuple[str, ...]) -> bool:
    """Whether named joints come out turned by about half a turn around x against true ones: axes with y up."""
    shared = [k for k, name in enumerate(names) if name in prediction.joint_names]
    predicted = prediction.joints([names[k] for k in shared])
    if true_m is None or predicted is None or len(shared) < 4:
        return False
    try:
        turn = find_similarity(predicted, true_m[shared]).rotation
    except InputError:  # all on a line: the metrics will say
        return False
    return bool((np.diag(turn) * [1.0, -1.0, -1.0] > _HALF_TURN).all())


def _neck_rotation(vertices_m: Float[Array, "v 3"], model: BodyModel) -> Float[Array, "3 3"]:
    """The neck joint's rotation from the rest pose: linear blend skinning of the template around the neck is solved for
    the affine maps of the joints there (linear least squares, drawn a little to one common rotation)."""
    rows = np.flatnonzero(model.weights[:, NECK] > _NECK_SKIN)
    weights = model.weights[rows].astype(float)
    joints = np.flatnonzero(weights.sum(0) > 0.5)
    weights = weights[:, joints] / weights[:, joints].sum(1, keepdims=True)
    source, target = model.v_template[rows].astype(float), vertices_m[rows]
    common = find_similarity(source, target).rotation
    source, target = source - source.mean(0), target - target.mean(0)
    ones = np.ones((len(rows), 1))
    system = (weights[:, :, None] * np.concatenate([source, ones], 1)[:, None]).reshape(len(rows), -1)
    change = np.linalg.solve(
        system.T @ system + _NECK_DRAW * np.eye(system.shape[1]), system.T @ (target - source @ common.T)
    )
    neck = change.reshape(len(joints), 4, 3)[np.flatnonzero(joints == NECK)[0]]
    return project_to_so3(common + neck[:3].T)


def _in_order(mesh: Mesh, model: BodyModel) -> Mesh:
    """The mesh in its model's order of vertices, if it differs from it by a permutation; with the model's faces."""
    if not len(mesh.faces):
        return Mesh(mesh.vertices_m, model.faces)
    if mesh.faces.shape != model.faces.shape or np.array_equal(mesh.faces, model.faces):
        return mesh
    place = np.arange(len(mesh.vertices_m))
    place[model.faces] = mesh.faces
    permuted = np.array_equal(place[model.faces], mesh.faces) and len(np.unique(place)) == len(place)
    return Mesh(mesh.vertices_m[place], model.faces) if permuted else mesh


def _pose(content: dict[str, Any], name: str, model: BodyModel, flat: bool) -> Float[Array, "n"]:
    where = POSE_SLICES[name]
    wanted = 3 * (where.stop - where.start)
    required = name in ("global_orient", "body_pose")
    numbers = _numbers(content, name, None if required else wanted)
    if name in ("left_hand_pose", "right_hand_pose") and name in content:
        side = int(name.startswith("right"))
        if numbers.size < wanted:
            numbers = numbers @ model.hand_components[side, : numbers.size]
        if numbers.size == wanted and not flat:
            numbers = numbers + model.hand_mean[side]
    if numbers.size == wanted:
        return numbers
    fix = ""
    if name == "body_pose" and numbers.size == 32:
        fix = "32 numbers are VPoser's latent code, which cannot be decoded here: give the meshes, meshes/NAME/000.obj."
    raise InputError(f"'{name}' with {numbers.size} numbers", f"{wanted} numbers (axis-angle)", fix)


def _numbers(content: dict[str, Any], name: str, absent: int | Array | None = None) -> Float[Array, "n"]:
    """A key's numbers in one row; ``absent``: what an absent key counts as (so many zeros, or numbers)."""
    value = content.get(name)
    if value is None:
        if absent is None:
            raise InputError(f"no '{name}'", "SMPL-X parameters")
        return np.zeros(absent) if isinstance(absent, int) else absent.ravel()
    try:
        numbers = np.asarray(value, float).ravel()
    except (TypeError, ValueError):
        raise InputError(f"'{name}' that does not hold numbers", "SMPL-X parameters") from None
    if not np.isfinite(numbers).all():
        raise InputError(f"'{name}' with NaN or infinity", "finite numbers")
    return numbers


def _coefficients(values: Float[Array, "p n"], count: int, name: str, model: BodyModel) -> Float[Array, "p count"]:
    """As many coefficients as the model has: zeros are added or cut off."""
    if values[:, count:].any():
        raise InputError(f"{values.shape[1]} {name}", f"at most {count}, as the body model '{model.name}' has")
    padded = np.zeros((len(values), count))
    padded[:, : values.shape[1]] = values[:, :count]
    return padded
