"""Joints, keypoints and meshes of posed bodies, in numpy: blend shapes and linear blend skinning (SMPL-X, section 3.1).

Everything is in the body-model frame (metres, y up) without translation: the pelvis of the rest pose stays in place,
and the global orientation turns the body about it. The leading axis counts people and may be empty.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from openexpose.body.model import NUM_JOINTS, BodyModel, PoseBlendShapes
from openexpose.errors import InputError

Array = np.ndarray

NECK = 12
_LAST_DEGREE = 39


@dataclass(frozen=True)
class PosedMesh:
    """Posed people: vertices [p, v, 3] and the 144 keypoints [p, 144, 3], metres; rotations of the joints [p, 55, 3, 3]
    in the body-model frame; float32."""

    vertices: Float[Array, "p v 3"]
    joints: Float[Array, "p 144 3"]
    rotations: Float[Array, "p 55 3 3"]


def joint_transforms(
    model: BodyModel, pose: Float[Array, "p 55 3 3"], betas: Float[Array, "p b"], expression: Float[Array, "p e"]
) -> tuple[Float[Array, "p 55 3 3"], Float[Array, "p 55 3"]]:
    """Pose the skeleton.

    Args:
        pose: rotation of each joint relative to its parent; the pelvis' is the global orientation.
        betas, expression: coefficients, as many as the model holds.

    Returns:
        Rotations of the joints in the body-model frame, and their positions (metres).

    Raises:
        InputError: an array has a wrong shape.
    """
    pose, betas, expression = _checked(model, pose, betas, expression)
    rotations, joints, _ = _skeleton(model, pose, betas, expression)
    return rotations, joints


def posed_mesh(
    model: BodyModel, pose: Float[Array, "p 55 3 3"], betas: Float[Array, "p b"], expression: Float[Array, "p e"]
) -> PosedMesh:
    """Vertices and all 144 keypoints of posed people. Arguments and errors as :func:`joint_transforms`."""
    pose, betas, expression = _checked(model, pose, betas, expression)
    rotations, joints, offsets = _skeleton(model, pose, betas, expression)
    vertices = _skin(model, _rest_vertices(model, pose, betas, expression), rotations, offsets)
    extra = vertices[:, model.extra_vertices]
    inner = _on_triangles(vertices[:, model.landmark_vertices], model.landmark_barycentric)
    row = contour_row(rotations[:, NECK])
    people = np.arange(len(pose))[:, None, None]
    contour = _on_triangles(vertices[people, model.contour_vertices[row]], model.contour_barycentric[row])
    return PosedMesh(vertices, np.concatenate([joints, extra, inner, contour], 1), rotations)


def keypoints(
    model: BodyModel, pose: Float[Array, "p 55 3 3"], betas: Float[Array, "p b"], expression: Float[Array, "p e"]
) -> Float[Array, "p 144 3"]:
    """The 144 keypoints alone, from the few vertices they lie on. Arguments and errors as :func:`joint_transforms`."""
    return posed_keypoints(model, pose, betas, expression)[1]


def posed_keypoints(
    model: BodyModel, pose: Float[Array, "p 55 3 3"], betas: Float[Array, "p b"], expression: Float[Array, "p e"]
) -> tuple[Float[Array, "p 55 3 3"], Float[Array, "p 144 3"]]:
    """Rotations of the joints and the 144 keypoints, of which the first 55 are the joints: :func:`joint_transforms` and
    :func:`keypoints` in one."""
    posed = posed_mesh(model.keypoint_model, pose, betas, expression)
    return posed.rotations, posed.joints


def rest_joints(
    model: BodyModel, betas: Float[Array, "p b"], expression: Float[Array, "p e"]
) -> Float[Array, "p 55 3"]:
    """The joints of shaped, expressing people before they are posed. One row may stand for all."""
    shaped = model.joint_template + _blend(model.joint_shape_dirs, betas)
    return shaped + _blend(model.joint_expression_dirs, expression)


def rest_vertices(
    model: BodyModel, pose: Float[Array, "p 55 3 3"], betas: Float[Array, "p b"], expression: Float[Array, "p e"]
) -> Float[Array, "p v 3"]:
    """The vertices that skinning takes: shaped, expressing and with the blend shapes of a pose, but not posed.

    They are linear in ``pose``: of a mean of rotation matrices come the mean vertices. Errors as
    :func:`joint_transforms`.
    """
    return _rest_vertices(model, *_checked(model, pose, betas, expression))


def contour_row(neck_rotation: Float[Array, "*batch 3 3"]) -> Int[Array, "*batch"]:
    """Row of the contour table for a neck's rotation in the body-model (or camera) frame.

    The face contour slides over the skin when the head turns away. The yaw in whole degrees picks the triangles:
    rows 0..39 are yaws of 0 to -39 degrees, rows 40..78 yaws of 1 to 39 degrees; larger yaws use the last row.
    """
    yaw = np.arctan2(-neck_rotation[..., 2, 0], np.hypot(neck_rotation[..., 0, 0], neck_rotation[..., 1, 0]))
    degrees = np.clip(np.rint(-np.degrees(yaw)), -_LAST_DEGREE, _LAST_DEGREE).astype(int)
    return np.where(degrees < 0, _LAST_DEGREE - degrees, degrees)


def _checked(model: BodyModel, pose: Array, betas: Array, expression: Array) -> tuple[Array, Array, Array]:
    pose, betas, expression = (np.asarray(array, np.float32) for array in (pose, betas, expression))
    people = pose.shape[:1]
    for name, array, shape in (
        ("pose", pose, (*people, NUM_JOINTS, 3, 3)),
        ("betas", betas, (*people, model.num_betas)),
        ("expression", expression, (*people, model.num_expression)),
    ):
        if array.shape != shape:
            raise InputError(f"{name} of shape {array.shape}", f"shape {shape} for the body model {model.name!r}")
    return pose, betas, expression


def _skeleton(model: BodyModel, pose: Array, betas: Array, expression: Array) -> tuple[Array, Array, Array]:
    """Global rotations, joints, and the translations t with posed = R rest + t."""
    rest = rest_joints(model, betas, expression)
    rotations, joints = pose.copy(), rest.copy()
    for child, parent in model.levels:
        rotations[:, child] = rotations[:, parent] @ pose[:, child]
        bone = rest[:, child] - rest[:, parent]
        joints[:, child] = joints[:, parent] + (rotations[:, parent] @ bone[..., None])[..., 0]
    return rotations, joints, joints - (rotations @ rest[..., None])[..., 0]


def _blend(directions: Float[Array, "n 3 c"], coefficients: Float[Array, "p c"]) -> Float[Array, "p n 3"]:
    count = directions.shape[0]
    flat = directions.reshape(3 * count, directions.shape[-1])
    return (coefficients @ flat.T).reshape(len(coefficients), count, 3)


def _rest_vertices(model: BodyModel, pose: Array, betas: Array, expression: Array) -> Float[Array, "p v 3"]:
    """Template plus the blend shapes of shape, expression and pose."""
    vertices = model.v_template + _blend(model.shape_dirs, betas)
    vertices += _blend(model.expression_dirs, expression)
    vertices += _pose_offsets(model.pose_dirs, pose, len(model.v_template))
    return vertices


def _pose_offsets(shapes: PoseBlendShapes, pose: Array, count: int) -> Float[Array, "p v 3"]:
    people = len(pose)
    feature = (pose[:, 1:] - np.eye(3, dtype=np.float32)).reshape(people, NUM_JOINTS - 1, 9)
    if len(shapes.vertices) == (NUM_JOINTS - 1) * count:  # not sparse: one product
        flat = shapes.directions.reshape(9 * (NUM_JOINTS - 1), 3 * count)
        return (np.swapaxes(feature, 1, 2).reshape(people, len(flat)) @ flat).reshape(people, count, 3)
    directions = shapes.directions.reshape(9, 3 * len(shapes.vertices))
    offsets = np.zeros((people, count, 3), np.float32)
    for joint in np.flatnonzero(np.diff(shapes.starts)):
        start, stop = shapes.starts[joint], shapes.starts[joint + 1]
        part = feature[:, joint] @ directions[:, 3 * start : 3 * stop]
        offsets[:, shapes.vertices[start:stop]] += part.reshape(people, stop - start, 3)
    return offsets


def _skin(model: BodyModel, rest: Array, rotations: Array, offsets: Array) -> Float[Array, "p v 3"]:
    """Linear blend skinning: each vertex moves by the weighted mean of its joints' transforms."""
    transforms = np.concatenate([rotations, offsets[..., None]], -1).reshape(-1, NUM_JOINTS, 12)
    blended = np.swapaxes(transforms, 1, 2) @ model.weights.T  # [p, 12, v]: each entry of the 3x4 matrices in a row
    blended = blended.reshape(-1, 3, 4, len(model.weights))
    posed = blended[:, :, 3].copy()
    for axis in range(3):
        posed += blended[:, :, axis] * rest[:, None, :, axis]
    return np.ascontiguousarray(np.swapaxes(posed, 1, 2))


def _on_triangles(corners: Float[Array, "p *n 3 3"], barycentric: Float[Array, "*n 3"]) -> Float[Array, "p *n 3"]:
    return (corners * barycentric[..., None]).sum(-2)
