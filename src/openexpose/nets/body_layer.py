"""The body model as a differentiable torch module: linear blend skinning with blend shapes (SMPL-X, section 3.1).

Same equations and frame as :mod:`openexpose.body.mesh` (its numpy twin; a test holds the two equal): metres, y up, no
translation, the global orientation turns the body about its pelvis. Works on any device and in any float type.
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as nnf

from openexpose.body.model import NUM_JOINTS, BodyModel

NECK = 12
_LAST_DEGREE = 39
_DENSE_ENTRIES = 1_000_000


class BodyLayer(nn.Module):
    """Joints, keypoints and vertices of a body model as functions of pose, shape and expression.

    Every method takes ``pose`` [n, 55, 3, 3] (rotations relative to the parent joint; the pelvis' is the global
    orientation), ``betas`` [n, b] and ``expression`` [n, e], as many coefficients as the model holds, in the layer's
    float type. ``joints`` and ``keypoints`` touch only the joints and the few vertices that keypoints lie on: cheap
    enough for training; both can be exported to ONNX. The model's arrays are buffers that no checkpoint stores.

    Args:
        model: the body model; its arrays are copied.
    """

    joint_template: Tensor
    joint_directions: Tensor
    bone_parents: Tensor
    joint_order: Tensor
    extra_vertices: Tensor
    landmark_vertices: Tensor
    landmark_barycentric: Tensor
    contour_vertices: Tensor
    contour_barycentric: Tensor

    def __init__(self, model: BodyModel) -> None:
        super().__init__()
        self.surface = _Surface(model)
        self.landmark_surface = _Surface(model.keypoint_model)
        self._keep("joint_template", model.joint_template)
        directions = np.concatenate([model.joint_shape_dirs, model.joint_expression_dirs], -1)
        self._keep("joint_directions", np.moveaxis(directions, -1, 0).reshape(-1, 3 * NUM_JOINTS))
        self._keep("bone_parents", np.maximum(model.parents, 0))
        self._keep_tree(model)
        local = model.keypoint_model
        self._keep("extra_vertices", local.extra_vertices)
        self._keep("landmark_vertices", local.landmark_vertices)
        self._keep("landmark_barycentric", local.landmark_barycentric)
        self._keep("contour_vertices", local.contour_vertices)
        self._keep("contour_barycentric", local.contour_barycentric)

    def _keep(self, name: str, array: np.ndarray) -> None:
        self.register_buffer(name, torch.tensor(array), persistent=False)

    def _keep_tree(self, model: BodyModel) -> None:
        """The joint tree by level: which joints it has and where their parents stand in the level above."""
        self.depth = len(model.levels)
        above = np.zeros(1, int)
        order = [above]
        for level, (children, parents) in enumerate(model.levels):
            self._keep(f"children_{level}", children)
            self._keep(f"parents_{level}", np.searchsorted(above, parents))
            above = children
            order.append(children)
        self._keep("joint_order", np.argsort(np.concatenate(order)))

    def transforms(
        self, pose: Float[Tensor, "n 55 3 3"], betas: Float[Tensor, "n b"], expression: Float[Tensor, "n e"]
    ) -> tuple[Float[Tensor, "n 55 3 3"], Float[Tensor, "n 55 3"]]:
        """Rotations of the joints in the body-model frame, and their positions (metres)."""
        rotations, joints, _ = self._skeleton(pose, torch.cat([betas, expression], -1))
        return rotations, joints

    def joints(
        self, pose: Float[Tensor, "n 55 3 3"], betas: Float[Tensor, "n b"], expression: Float[Tensor, "n e"]
    ) -> Float[Tensor, "n 55 3"]:
        """Positions of the 55 skeleton joints, metres."""
        return self.transforms(pose, betas, expression)[1]

    def keypoints(
        self, pose: Float[Tensor, "n 55 3 3"], betas: Float[Tensor, "n b"], expression: Float[Tensor, "n e"]
    ) -> Float[Tensor, "n 144 3"]:
        """Positions of the 144 keypoints, metres. The choice of contour triangles (by yaw) has no gradient."""
        coefficients = torch.cat([betas, expression], -1)
        rotations, joints, offsets = self._skeleton(pose, coefficients)
        vertices = self.landmark_surface(pose, coefficients, rotations, offsets)
        inner = (vertices[:, self.landmark_vertices] * self.landmark_barycentric[..., None]).sum(-2)
        row = contour_row(rotations[:, NECK])
        corners = self.contour_vertices[row].flatten(1)[..., None].expand(-1, -1, 3)
        triangles = torch.gather(vertices, 1, corners).unflatten(1, (-1, 3))
        contour = (triangles * self.contour_barycentric[row][..., None]).sum(-2)
        return torch.cat([joints, vertices[:, self.extra_vertices], inner, contour], 1)

    def vertices(
        self,
        pose: Float[Tensor, "n 55 3 3"],
        betas: Float[Tensor, "n b"],
        expression: Float[Tensor, "n e"],
        rows: Int[Tensor, "r"] | None = None,
    ) -> Float[Tensor, "n v 3"]:
        """Vertices, metres: all of them, or those numbered ``rows`` (each at most once), in that order."""
        coefficients = torch.cat([betas, expression], -1)
        rotations, _, offsets = self._skeleton(pose, coefficients)
        return self.surface(pose, coefficients, rotations, offsets, rows)

    def _skeleton(self, pose: Tensor, coefficients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Global rotations, joints, and the translations t with posed = R rest + t."""
        rest = self.joint_template + (coefficients @ self.joint_directions).unflatten(-1, (NUM_JOINTS, 3))
        bones = (rest - rest[:, self.bone_parents])[..., None]
        rotation, joint = pose[:, :1], rest[:, :1, :, None]
        rotations, joints = [rotation], [joint]
        for level in range(self.depth):
            children, parents = getattr(self, f"children_{level}"), getattr(self, f"parents_{level}")
            above = rotation[:, parents]
            joint = joint[:, parents] + above @ bones[:, children]
            rotation = above @ pose[:, children]
            rotations.append(rotation)
            joints.append(joint)
        posed_rotations = torch.cat(rotations, 1)[:, self.joint_order]
        posed = torch.cat(joints, 1)[:, self.joint_order]
        return posed_rotations, posed[..., 0], (posed - posed_rotations @ rest[..., None])[..., 0]


def contour_row(neck_rotation: Float[Tensor, "n 3 3"]) -> Int[Tensor, "n"]:
    """Row of the contour table for the neck's rotation: see :func:`openexpose.body.mesh.contour_row`."""
    m = neck_rotation.detach()
    yaw = torch.atan2(-m[:, 2, 0], torch.sqrt(m[:, 0, 0] ** 2 + m[:, 1, 0] ** 2))
    degrees = torch.round(-torch.rad2deg(yaw)).clamp(-_LAST_DEGREE, _LAST_DEGREE).long()
    return torch.where(degrees < 0, _LAST_DEGREE - degrees, degrees)


class _Surface(nn.Module):
    """Blend shapes and skinning of a set of vertices.

    Pose blend shapes are one matrix over the joints that have any (few vertices, or a file whose blend shapes are not
    sparse), or else stay sparse: a small product for each joint, added at the vertices that the joint corrects.
    """

    template: Tensor
    directions: Tensor
    weights: Tensor
    pose_joints: Tensor
    pose_vertices: Tensor
    pose_directions: Tensor

    def __init__(self, model: BodyModel) -> None:
        super().__init__()
        count, shapes = len(model.v_template), model.pose_dirs
        directions = np.concatenate([model.shape_dirs, model.expression_dirs], -1)
        sizes = np.diff(shapes.starts)
        used = np.flatnonzero(sizes)
        self.count = count
        self.dense = len(used) * 27 * count <= max(4 * shapes.directions.size, _DENSE_ENTRIES)
        self.sizes = [int(size) for size in sizes[used]]
        self.register_buffer("template", torch.tensor(model.v_template), persistent=False)
        moved = torch.tensor(np.moveaxis(directions, -1, 0).copy())
        self.register_buffer("directions", moved, persistent=False)
        self.register_buffer("weights", torch.tensor(model.weights), persistent=False)
        self.register_buffer("pose_joints", torch.tensor(used + 1), persistent=False)
        self.register_buffer("pose_vertices", torch.tensor(shapes.vertices), persistent=False)
        entries = shapes.directions
        if self.dense:
            entries = shapes.dense(count).reshape(-1, 9, count, 3)[used].reshape(9 * len(used), count, 3)
        self.register_buffer("pose_directions", torch.tensor(entries), persistent=False)

    def forward(
        self, pose: Tensor, coefficients: Tensor, rotations: Tensor, offsets: Tensor, rows: Tensor | None = None
    ) -> Float[Tensor, "n r 3"]:
        """Skinned vertices from the posed skeleton (rotations, and translations t with posed = R rest + t)."""
        feature = (pose[:, self.pose_joints] - torch.eye(3, dtype=pose.dtype, device=pose.device)).flatten(2)
        template, directions, weights = self.template, self.directions, self.weights
        if rows is not None:
            template, directions, weights = template[rows], directions[:, rows], weights[rows]
        rest = template + (coefficients @ directions.flatten(1)).unflatten(-1, template.shape)
        rest = rest + self._pose_offsets(feature, rows)
        transforms = torch.cat([rotations, offsets[..., None]], -1).flatten(2)
        blended = (transforms.transpose(1, 2) @ weights.T).unflatten(1, (3, 4))
        homogeneous = nnf.pad(rest, (0, 1), value=1.0).transpose(1, 2)
        return (blended * homogeneous[:, None]).sum(2).transpose(1, 2)

    def _pose_offsets(self, feature: Float[Tensor, "n j 9"], rows: Tensor | None) -> Float[Tensor, "n r 3"]:
        matrix = self._pose_matrix(rows)
        if matrix is not None:
            return (feature.flatten(1) @ matrix.flatten(1)).unflatten(-1, matrix.shape[1:])
        parts = self.pose_directions.flatten(1).split([3 * size for size in self.sizes], 1)
        offsets = torch.cat([feature[:, joint] @ part for joint, part in enumerate(parts)], 1)
        zero = offsets.new_zeros(len(feature), self.count, 3)
        return zero.index_add(1, self.pose_vertices, offsets.unflatten(-1, (len(self.pose_vertices), 3)))

    def _pose_matrix(self, rows: Tensor | None) -> Float[Tensor, "j9 r 3"] | None:
        """The blend shapes as one matrix; None for all vertices of a sparse set."""
        if self.dense:
            return self.pose_directions if rows is None else self.pose_directions[:, rows]
        if rows is None:
            return None
        number = torch.full((self.count,), -1, device=rows.device)
        number[rows] = torch.arange(len(rows), device=rows.device)
        column = number[self.pose_vertices]
        keep = column >= 0
        sizes = torch.tensor(self.sizes, device=rows.device)
        joint = torch.arange(len(self.sizes), device=rows.device).repeat_interleave(sizes)
        matrix = self.pose_directions.new_zeros(len(self.sizes), 9, len(rows), 3)
        matrix[joint[keep], :, column[keep]] = self.pose_directions[:, keep].transpose(0, 1)
        return matrix.flatten(0, 1)
