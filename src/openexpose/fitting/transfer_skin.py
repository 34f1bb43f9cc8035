"""Skinning of any model of the family, with what the fit of its parameters to vertices needs on the way."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from openexpose.fitting.models import SkinnedModel

Array = np.ndarray


@dataclass(frozen=True)
class Parameters:
    """Parameters of frames (the first axis): a vertex lies at LBS(pose, betas, expression) + transl.

    Attributes:
        pose: rotations of the joints relative to their parents, the root's being the global orientation.
        betas, expression: coefficients.
        transl: metres. The global orientation turns about the root joint, which stays in place.
    """

    pose: Float[Array, "f j 3 3"]
    betas: Float[Array, "f b"]
    expression: Float[Array, "f e"]
    transl: Float[Array, "f 3"]

    def __len__(self) -> int:
        return len(self.pose)

    def __getitem__(self, index: slice | Array) -> "Parameters":
        """The frames at ``index`` (a slice or an index array)."""
        return Parameters(self.pose[index], self.betas[index], self.expression[index], self.transl[index])

    @classmethod
    def rest(cls, model: SkinnedModel, count: int) -> "Parameters":
        """The mean shape at rest."""
        return cls(
            np.tile(np.eye(3), (count, model.num_joints, 1, 1)),
            np.zeros((count, model.num_betas)),
            np.zeros((count, model.num_expression)),
            np.zeros((count, 3)),
        )

    @classmethod
    def joined(cls, parts: list["Parameters"]) -> "Parameters":
        """All frames of several."""
        return cls(
            np.concatenate([part.pose for part in parts]),
            np.concatenate([part.betas for part in parts]),
            np.concatenate([part.expression for part in parts]),
            np.concatenate([part.transl for part in parts]),
        )


@dataclass(frozen=True)
class Skeleton:
    """Posed joints, metres, without ``transl``.

    Attributes:
        rest: rest joints of the shape.
        rotations: of the joints from the rest pose.
        joints: where they lie.
        offsets: t, with R x + t being where joint k takes the rest point x.
    """

    rest: Float[Array, "f j 3"]
    rotations: Float[Array, "f j 3 3"]
    joints: Float[Array, "f j 3"]
    offsets: Float[Array, "f j 3"]


@dataclass(frozen=True)
class Skinned:
    """Posed vertices and how they came about (metres, float32).

    Attributes:
        rest: rest vertices with all blend shapes.
        turns: the blended rotation of each vertex.
        vertices: without ``transl``.
    """

    rest: Float[Array, "f v 3"]
    turns: Float[Array, "f v 3 3"]
    vertices: Float[Array, "f v 3"]


def pose_skeleton(model: SkinnedModel, parameters: Parameters) -> Skeleton:
    """Forward kinematics, in double precision."""
    rest = model.joint_template + blend(model.joint_shape_dirs, parameters.betas)
    rest = rest + blend(model.joint_expression_dirs, parameters.expression)
    rotations, joints = parameters.pose.astype(float), rest.copy()
    for child in range(1, model.num_joints):
        parent = model.parents[child]
        rotations[:, child] = rotations[:, parent] @ parameters.pose[:, child]
        bone = rest[:, child] - rest[:, parent]
        joints[:, child] = joints[:, parent] + np.einsum("fij,fj->fi", rotations[:, parent], bone)
    return Skeleton(rest, rotations, joints, joints - np.einsum("fjab,fjb->fja", rotations, rest))


def pose_vertices(model: SkinnedModel, parameters: Parameters, skeleton: Skeleton) -> Skinned:
    """Blend shapes and linear blend skinning of all vertices."""
    frames, count = len(parameters), model.num_vertices
    rest = model.v_template + blend(model.shape_dirs, parameters.betas.astype(np.float32))
    if model.num_expression:
        rest += blend(model.expression_dirs, parameters.expression.astype(np.float32))
    feature = (parameters.pose[:, 1:] - np.eye(3)).reshape(frames, -1).astype(np.float32)
    rest += np.asarray(model.pose_dirs @ feature.T).T.reshape(frames, count, 3)
    transforms = np.concatenate([skeleton.rotations, skeleton.offsets[..., None]], -1).astype(np.float32)
    blended = model.weights @ transforms.transpose(1, 0, 2, 3).reshape(model.num_joints, 12 * frames)
    blended = blended.reshape(count, frames, 3, 4).swapaxes(0, 1)
    turns = blended[..., :3]
    vertices = np.matmul(turns, rest[..., None])[..., 0] + blended[..., 3]
    return Skinned(rest, turns, vertices)


def posed_vertices(model: SkinnedModel, parameters: Parameters) -> Float[Array, "f v 3"]:
    """Vertices of all frames, metres, with ``transl`` (double precision, so that far translations cost nothing)."""
    skinned = pose_vertices(model, parameters, pose_skeleton(model, parameters))
    return skinned.vertices + parameters.transl[:, None]


def blend(directions: Float[Array, "n 3 c"], coefficients: Float[Array, "f c"]) -> Float[Array, "f n 3"]:
    """Offsets of coefficients."""
    count = directions.shape[0]
    flat = directions.reshape(3 * count, directions.shape[-1])
    return (coefficients @ flat.T).reshape(len(coefficients), count, 3)
