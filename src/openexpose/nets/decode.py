"""Differentiable twins of ``predict/parts.py``'s decoding and of the crops' camera; tests hold them equal."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as nnf

from openexpose.predict.parts import PartSpec, split


@dataclass(frozen=True)
class Decoded:
    """A decoded parameter vector; see :class:`openexpose.predict.parts.PartParameters`."""

    pose: Float[Tensor, "n 55 3 3"]
    betas: Float[Tensor, "n b"]
    expression: Float[Tensor, "n e"]
    camera: Float[Tensor, "n 3"]
    sixd: Float[Tensor, "n slots 6"] | None = None
    """The 6D codes as the network gave them, in the order of the vector; None once the pose was changed."""


def sixd_to_matrix(sixd: Float[Tensor, "*batch 6"]) -> Float[Tensor, "*batch 3 3"]:
    """Zhou et al.'s 6D code, as 3x2 row-major whose columns span the first two axes, to rotation matrices."""
    ab = sixd.reshape(*sixd.shape[:-1], 3, 2)
    x = nnf.normalize(ab[..., 0], dim=-1)
    y = nnf.normalize(ab[..., 1] - (x * ab[..., 1]).sum(-1, keepdim=True) * x, dim=-1)
    return torch.stack([x, y, torch.linalg.cross(x, y)], -1)


def matrix_to_sixd(matrix: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 6"]:
    """Inverse of :func:`sixd_to_matrix` on rotation matrices."""
    return matrix[..., :, :2].reshape(*matrix.shape[:-2], 6)


def project_weak(points_m: Float[Tensor, "n k 3"], camera: Float[Tensor, "n 3"]) -> Float[Tensor, "n k 2"]:
    """Weak-perspective projection to crop coordinates: s * (xy + t), camera = (s, tx, ty) (paper, eq. 2).

    Twin of :func:`openexpose.geometry.camera.project_weak`.
    """
    return camera[:, None, :1] * (points_m[..., :2] + camera[:, None, 1:])


def decode(vector: Float[Tensor, "n size"], spec: PartSpec) -> Decoded:
    """Parameter vector of a part to rotations, coefficients and camera (paper, eq. 1-4)."""
    rotations, betas, expression, camera = split(vector, spec)
    matrices = sixd_to_matrix(rotations)
    identity = torch.eye(3, dtype=vector.dtype, device=vector.device).expand(vector.shape[0], 3, 3)
    slots = {slot: k for k, slot in enumerate(spec.pose_slots)}
    pose = torch.stack([matrices[:, slots[j]] if j in slots else identity for j in range(55)], 1)
    if not spec.num_expression:
        expression = torch.zeros_like(vector[:, :1]).expand(-1, spec.rest_expression)
    camera = torch.cat([nnf.softplus(camera[:, :1]), camera[:, 1:]], 1)
    return Decoded(pose, betas, expression, camera, rotations)
