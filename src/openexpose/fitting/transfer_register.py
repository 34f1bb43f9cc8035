"""A correspondence without a file: one model is laid on the other at rest, limb on limb; closest points correspond."""

from dataclasses import replace

import numpy as np
from jaxtyping import Int
from scipy.sparse import csr_matrix, identity, issparse, vstack

from openexpose.errors import InputError
from openexpose.fitting.closest import SurfaceIndex
from openexpose.fitting.correspondence import Correspondence, closest_points, facing_points
from openexpose.fitting.models import SkinnedModel
from openexpose.fitting.transfer_skin import Parameters, posed_vertices
from openexpose.fitting.transfer_solve import VertexFitter
from openexpose.geometry.surface import vertex_normals

Array = np.ndarray

_ROUNDS = 30
_CENTRED_ROUNDS = 4
_RIDGE_M = 5e-4
_EVERY = 3
_REACH_M = 0.06
_SKIN = 0.02
_ANCHOR = 25
"""A joint counts as much as so many vertices."""
_LOOSE = (3, 6, 9, 13, 14, 15, 22)
"""Spine, collars, head and jaw: models put these pivots at other places."""


def register(source: SkinnedModel, target: SkinnedModel) -> Correspondence:
    """Counterparts of the target's vertices on the source's surface.

    The target is posed and shaped onto the source's rest pose by iterated closest points, each limb (the joints that
    both models name) on its own counterpart, at first with their centres laid on each other. Vertices without a near
    counterpart that faces the same way (inside the mouth, backs of the eyes) have none.

    Raises:
        InputError: the models have too little in common.
    """
    common = np.intersect1d(source.joints, target.joints)
    mine, others = _limbs(source, common), _limbs(target, common)
    shared = np.intersect1d(mine[mine >= 0], others[others >= 0])
    rows = np.flatnonzero(np.isin(others, shared))
    if len(shared) < 2 or len(rows) < 3:
        got = f"'{source.name}' and '{target.name}', which have {len(shared)} limbs in common"
        raise InputError(got, "models of the same body, hand or face")
    surfaces = {limb: SurfaceIndex(source.v_template, _surface(source, common, limb)) for limb in shared}
    joints = part_joints(source, target)
    some = rows[::_EVERY]
    anchored, at = _anchors(source, target)
    anchors = target.num_vertices + np.tile(anchored, _ANCHOR)
    pinned = np.tile(source.joint_template[at], (_ANCHOR, 1))
    fitter = VertexFitter(
        _with_joints(target), np.concatenate([some, anchors]), joints, expression=False, ridge_m=_RIDGE_M
    )
    parameters = Parameters.rest(target, 1)
    centres = {limb: source.v_template[np.unique(one.faces)].mean(0) for limb, one in surfaces.items()}
    first = np.mean([centres[limb] - target.v_template[others == limb].mean(0) for limb in shared], 0)
    parameters.transl[0] = first
    for turn in range(_ROUNDS):
        vertices = posed_vertices(target, parameters)[0]
        normals = vertex_normals(vertices, target.faces)
        goals = vertices[some].copy()
        for limb, surface in surfaces.items():
            own = np.flatnonzero(others[some] == limb)
            if not len(own):
                continue
            points = goals[own]
            shift = centres[limb] - points.mean(0) if turn < _CENTRED_ROUNDS else np.zeros(3)
            placed, _, near = facing_points(points + shift, normals[some[own]], surface, _REACH_M)
            goals[own[near]] = placed[near]
        parameters = fitter.fit(np.concatenate([goals, pinned])[None], start=parameters, iterations=2).parameters
    vertices = posed_vertices(target, parameters)[0]
    normals = vertex_normals(vertices, target.faces)
    parts = [
        closest_points(vertices, np.flatnonzero(others == limb), normals, surface) for limb, surface in surfaces.items()
    ]
    matrix = csr_matrix(sum(part.matrix for part in parts))
    return Correspondence(matrix, np.sort(np.concatenate([part.rows for part in parts])))


def part_joints(source: SkinnedModel, target: SkinnedModel) -> Int[Array, "n"]:
    """Joints of the target that the source tells about.

    A hand or face turns a body as a whole (its root joint) and by its own joints. Jaw, eyes and fingers stay at rest
    where the source has none.
    """
    numbers = target.joints
    if source.part != "whole" and target.part == "whole":
        inner = np.setdiff1d(source.joints, source.joints[:1])
        return np.flatnonzero(np.isin(numbers, inner) | (np.arange(len(numbers)) == 0))
    unknown = np.setdiff1d(np.r_[22:55], source.joints)
    return np.flatnonzero(~np.isin(numbers, unknown))


def without_foreign_fingers(way: Correspondence, source: SkinnedModel, target: SkinnedModel) -> Correspondence:
    """The correspondence without vertices that fingers move in one model, where the other has no fingers."""
    foreign = [np.setdiff1d(np.arange(25, 55), other.joints) for other in (source, target)]
    owner = np.asarray(target.weights.argmax(1)).ravel()
    ours = np.isin(target.joints[owner], foreign[0])
    owner = np.asarray(source.weights.argmax(1)).ravel()
    theirs = np.isin(source.joints[owner], foreign[1]).astype(float)
    moved = ours[way.rows] | ((way.matrix[way.rows] @ theirs) > _SKIN)
    return Correspondence(way.matrix, way.rows[~moved])


def _anchors(source: SkinnedModel, target: SkinnedModel) -> tuple[Int[Array, "n"], Int[Array, "n"]]:
    """Joints of the target and of the source that lie at the same place in any body: limbs' ends, not the trunk's."""
    numbers = np.setdiff1d(np.intersect1d(source.joints, target.joints), _LOOSE)
    return tuple(np.array([np.flatnonzero(m.joints == k)[0] for k in numbers], int) for m in (target, source))  # type: ignore[return-value]


def _with_joints(model: SkinnedModel) -> SkinnedModel:
    """The model with its joints as further vertices, each carried by itself."""
    still = (3 * model.num_joints, model.pose_dirs.shape[1])
    pose_dirs = model.pose_dirs
    if issparse(pose_dirs):
        pose_dirs = vstack([pose_dirs, csr_matrix(still, dtype=np.float32)]).tocsr()
    else:
        pose_dirs = np.concatenate([pose_dirs, np.zeros(still, np.float32)])
    return replace(
        model,
        v_template=np.concatenate([model.v_template, model.joint_template]),
        shape_dirs=np.concatenate([model.shape_dirs, model.joint_shape_dirs]),
        expression_dirs=np.concatenate([model.expression_dirs, model.joint_expression_dirs]),
        pose_dirs=pose_dirs,
        weights=vstack([model.weights, identity(model.num_joints, np.float32)]).tocsr(),
    )


def _joint_limbs(model: SkinnedModel, common: Int[Array, "n"]) -> Int[Array, "j"]:
    """The common joint that each joint belongs to: itself or the nearest one above; -1 if there is none."""
    limb = np.full(model.num_joints, -1)
    for joint, number in enumerate(model.joints):
        above = limb[model.parents[joint]] if joint else -1
        limb[joint] = number if number in common else above
    return limb


def _limbs(model: SkinnedModel, common: Int[Array, "n"]) -> Int[Array, "v"]:
    """The common joint that each vertex belongs to, or -1."""
    return _joint_limbs(model, common)[np.asarray(model.weights.argmax(1)).ravel()]


def _surface(model: SkinnedModel, common: Int[Array, "n"], limb: int) -> Int[Array, "f 3"]:
    """Triangles of a limb and, at its borders, what its joints still move a little."""
    joints = np.flatnonzero(_joint_limbs(model, common) == limb)
    moved = np.asarray(model.weights[:, joints].sum(1)).ravel() > _SKIN
    return model.faces[moved[model.faces].any(1)]
