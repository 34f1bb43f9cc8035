"""Keypoints of posed bodies with their exact first derivatives, in numpy, in double precision: what fits descend by.

A keypoint is a joint, or lies on the skin, where it is a weighted mean of what bones carry along. Turning joint j about
its own axes by a small rotation vector w (its local rotation becomes ``R exp(w)``) moves a keypoint by
``R_j w x (m_j - s_j c_j)``: R_j and c_j are the joint's rotation and place, s_j is the share of the keypoint that bones
below the joint carry, m_j the sum of the places to which they carry it, times their shares; and on the skin also by
what the joint's pose blend shapes change. Same equations as :mod:`openexpose.body.mesh`.
"""

from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from jaxtyping import Float, Int

from openexpose.body.keypoints import PARENTS
from openexpose.body.mesh import NECK, contour_row
from openexpose.body.model import NUM_JOINTS, BodyModel
from openexpose.geometry.rotation import cross_matrix

Array = np.ndarray

_EXTRA, _INNER, _CONTOUR = NUM_JOINTS, 76, 127
"""The first of the keypoints that are vertices, that lie on triangles, and that slide over the skin."""


@dataclass(frozen=True)
class Slopes:
    """Keypoints of n posed bodies in the axes of their global orientation, metres, and how they move."""

    points: Float[Array, "n k 3"]
    rotations: Float[Array, "n 55 3 3"]
    """Absolute rotations of the joints."""
    joints: Float[Array, "n 55 3"]
    """Where the joints are, metres."""
    turns: Float[Array, "n k 3 j 3"]
    """By turns of joints about their own axes, radians."""
    coefficients: Float[Array, "n k 3 c"]
    """By betas, then expression."""


def keypoint_slopes(
    model: BodyModel,
    pose: Float[Array, "n 55 3 3"],
    betas: Float[Array, "n b"],
    expression: Float[Array, "n e"],
    which: Int[Array, "k"],
    joints: Int[Array, "j"],
) -> Slopes:
    """Keypoints and their derivatives.

    Args:
        pose, betas, expression: as in :mod:`openexpose.body.mesh`.
        which: the keypoints that are asked for, of the 144.
        joints: the joints that turn.

    """
    shape = np.concatenate([betas, expression], 1).astype(float)
    rotations, centres, moving = _skeleton(model, np.asarray(pose, float), shape)
    template, directions = _rest_joints(model)
    rest_joints = template + np.einsum("jac,nc->nja", directions, shape)
    offsets = centres - np.einsum("njab,njb->nja", rotations, rest_joints)

    count = len(pose), len(which)
    points, moves = np.zeros((*count, 3)), np.zeros((*count, 3, shape.shape[1]))
    share, moment = np.zeros((*count, NUM_JOINTS)), np.zeros((*count, NUM_JOINTS, 3))
    turns = np.zeros((*count, 3, len(joints), 3))
    bone, skin = np.flatnonzero(which < NUM_JOINTS), np.flatnonzero(which >= NUM_JOINTS)
    points[:, bone], moves[:, bone] = centres[:, which[bone]], moving[:, which[bone]]
    carried = bone[which[bone] > 0]
    share[:, carried, PARENTS[which[carried]]] = 1.0
    moment[:, carried, PARENTS[which[carried]]] = points[:, carried]
    if len(skin):
        vertices, corner = _on_skin(model, which[skin], rotations[:, NECK])
        weights = corner[..., None] * model.keypoint_model.weights.astype(float)[vertices]
        rest, growth, corrections = _rest_vertices(model, np.asarray(pose, float), shape, vertices, joints)
        blended = (weights @ rotations.reshape(len(pose), 1, NUM_JOINTS, 9)).reshape(*weights.shape[:3], 3, 3)
        share[:, skin] = weights.sum(2)
        moment[:, skin] = np.einsum("nkvj,njab,nkvb->nkja", weights, rotations, rest, optimize=True)
        moment[:, skin] += share[:, skin, :, None] * offsets[:, None]
        points[:, skin] = moment[:, skin].sum(2)
        drift = moving - np.einsum("njab,jbc->njac", rotations, directions)
        moves[:, skin] = np.einsum("nkvab,nkvbc->nkac", blended, growth, optimize=True)
        moves[:, skin] += np.einsum("nkj,njac->nkac", share[:, skin], drift, optimize=True)
        turns[:, skin] = np.einsum("nkvab,nkvbjd->nkajd", blended, corrections, optimize=True)
    hangs = _below()[:, joints]
    arms = np.einsum("nkba,bj->nkja", moment, hangs, optimize=True)
    arms -= (share @ hangs)[..., None] * centres[:, None, joints]
    turns += np.swapaxes(-cross_matrix(arms) @ rotations[:, None, joints], 2, 3)
    return Slopes(points, rotations, centres, turns, moves)


@cache
def _below() -> Float[Array, "55 55"]:
    """1 where a bone (row) hangs on a joint (column), or is it."""
    below = np.eye(NUM_JOINTS)
    for joint in range(1, NUM_JOINTS):
        below[joint] += below[PARENTS[joint]]
    return below


def _rest_joints(model: BodyModel) -> tuple[Float[Array, "55 3"], Float[Array, "55 3 c"]]:
    directions = np.concatenate([model.joint_shape_dirs, model.joint_expression_dirs], -1)
    return model.joint_template.astype(float), directions.astype(float)


def _skeleton(
    model: BodyModel, pose: Float[Array, "n 55 3 3"], shape: Float[Array, "n c"]
) -> tuple[Float[Array, "n 55 3 3"], Float[Array, "n 55 3"], Float[Array, "n 55 3 c"]]:
    """Absolute rotations, posed joints, and how these move by the coefficients."""
    template, directions = _rest_joints(model)
    rotations, joints = pose.copy(), template + np.einsum("jac,nc->nja", directions, shape)
    rest, moves = joints.copy(), np.broadcast_to(directions, (len(pose), *directions.shape)).copy()
    for child, parent in model.levels:
        above = rotations[:, parent]
        rotations[:, child] = above @ pose[:, child]
        joints[:, child] = joints[:, parent] + (above @ (rest[:, child] - rest[:, parent])[..., None])[..., 0]
        moves[:, child] = moves[:, parent] + above @ (directions[child] - directions[parent])
    return rotations, joints, moves


def _rest_vertices(
    model: BodyModel,
    pose: Float[Array, "n 55 3 3"],
    shape: Float[Array, "n c"],
    vertices: Int[Array, "n k 3"],
    joints: Int[Array, "j"],
) -> tuple[Float[Array, "n k 3 3"], Float[Array, "n k 3 3 c"], Float[Array, "n k 3 3 j 3"]]:
    """The places of vertices of the keypoint model before skinning, and how they change by the coefficients and by
    turns of joints."""
    local = model.keypoint_model
    directions = np.concatenate([local.shape_dirs, local.expression_dirs], -1).astype(float)[vertices]
    blend = _pose_directions(model)[vertices]  # n k 3 3 54 9
    feature = (pose[:, 1:] - np.eye(3)).reshape(len(pose), NUM_JOINTS - 1, 9)
    rest = local.v_template[vertices] + np.einsum("nkvac,nc->nkva", directions, shape)
    rest += np.einsum("nkvajr,njr->nkva", blend, feature, optimize=True)
    changed = np.zeros((*vertices.shape, 3, len(joints), 3))
    turned = (pose[:, :, None] @ cross_matrix(np.eye(3))).reshape(len(pose), NUM_JOINTS, 3, 9)
    some = np.flatnonzero(joints > 0)
    chosen = blend[..., joints[some] - 1, :]
    changed[..., some, :] = np.einsum("nkvajr,njdr->nkvajd", chosen, turned[:, joints[some]], optimize=True)
    return rest, directions, changed


@lru_cache(maxsize=8)
def _pose_directions(model: BodyModel) -> Float[Array, "v 3 54 9"]:
    """The pose blend shapes of the vertices of the keypoint model."""
    local = model.keypoint_model
    count = len(local.v_template)
    dense = local.pose_dirs.dense(count).astype(float)
    return np.ascontiguousarray(dense.reshape(NUM_JOINTS - 1, 9, count, 3).transpose(2, 3, 0, 1))


def _on_skin(
    model: BodyModel, which: Int[Array, "k"], neck: Float[Array, "n 3 3"]
) -> tuple[Int[Array, "n k 3"], Float[Array, "n k 3"]]:
    """Vertices of the keypoint model whose weighted mean each keypoint is, and the weights."""
    local, row = model.keypoint_model, contour_row(neck)
    vertices, shares = np.zeros((len(neck), len(which), 3), int), np.zeros((len(neck), len(which), 3))
    for k, keypoint in enumerate(which.tolist()):
        if keypoint < _INNER:
            vertices[:, k], shares[:, k, 0] = local.extra_vertices[keypoint - _EXTRA], 1.0
        elif keypoint < _CONTOUR:
            place = keypoint - _INNER
            vertices[:, k], shares[:, k] = local.landmark_vertices[place], local.landmark_barycentric[place]
        else:
            place = keypoint - _CONTOUR
            vertices[:, k] = local.contour_vertices[row, place]
            shares[:, k] = local.contour_barycentric[row, place]
    return vertices, shares
