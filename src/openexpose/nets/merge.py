"""Differentiable twins of ``geometry/camera.py`` and ``predict/merge.py``; tests hold them equal.

They carry a part's answer between three frames: its crop's virtual camera, the full camera, and the parent joint.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from openexpose.body.keypoints import JOINT_FLIP, PARENTS
from openexpose.nets.attention import Crops
from openexpose.nets.body_layer import BodyLayer
from openexpose.nets.decode import Decoded, matrix_to_sixd, project_weak
from openexpose.predict.parts import BODY, PartSpec, split

_BODY_JOINTS = 22
_NEAREST_M = 0.1


@dataclass(frozen=True)
class PinholeCamera:
    """The pinhole camera of the whole picture: one for each person, or one for all."""

    focal_px: Float[Tensor, "m"]
    principal_px: Float[Tensor, "m 2"]
    weak: bool = False
    """Orientations are those of the crops: see :class:`openexpose.predict.merge.FullCamera`."""

    def project(self, points_m: Float[Tensor, "n k 3"]) -> Float[Tensor, "n k 2"]:
        """Camera-frame points to pixels. Points at or behind the camera get depth 1 mm."""
        depth = points_m[..., 2:].clamp(min=1e-3)
        return self.focal_px[:, None, None] * points_m[..., :2] / depth + self.principal_px[:, None]


def view_rotation(crops: Crops, camera: PinholeCamera) -> Float[Tensor, "n 3 3"]:
    """Rotation from a crop's virtual camera to the full camera: the smallest one from the optical axis to the ray
    through the crop's centre, after the crop's own angle. See :func:`openexpose.geometry.camera.view_rotation`."""
    offset = (crops.centre_px - camera.principal_px) / camera.focal_px[:, None]
    offset = torch.zeros_like(offset) if camera.weak else offset
    z = torch.rsqrt(1.0 + offset.square().sum(1))
    x, y = z * offset[:, 0], z * offset[:, 1]
    xx, xy, yy = x * x / (1.0 + z), x * y / (1.0 + z), y * y / (1.0 + z)
    tilt = torch.stack([1.0 - xx, -xy, x, -xy, 1.0 - yy, y, -x, -y, z], 1)
    c, s, zero = torch.cos(crops.angle_rad), torch.sin(crops.angle_rad), torch.zeros_like(crops.angle_rad)
    turn = torch.stack([c, -s, zero, s, c, zero, zero, zero, zero + 1.0], 1)
    return tilt.unflatten(1, (3, 3)) @ turn.unflatten(1, (3, 3))


def locate(
    points_m: Float[Tensor, "n k 3"], targets_px: Float[Tensor, "n k 2"], camera: PinholeCamera
) -> Float[Tensor, "n 3"]:
    """Translation [n, 3] (metres) that makes points project onto targets: least squares on the pinhole equations, with
    a depth that keeps every point 10 cm before the camera. See :func:`openexpose.geometry.camera.locate`.

    Solved in float64: a body of 50 pixels in a picture of 1000 makes the normal equations' condition about 10^4.
    """
    points = points_m.double()
    target = ((targets_px - camera.principal_px[:, None]) / camera.focal_px[:, None, None]).double()
    eye = torch.eye(2, dtype=points.dtype, device=points.device).expand(*target.shape, 2)
    system = torch.cat([eye, -target[..., None]], -1).flatten(1, 2)
    value = (target * points[..., 2:] - points[..., :2]).flatten(1)
    translation = torch.linalg.solve(system.mT @ system, system.mT @ value[..., None])[..., 0]
    depth = torch.maximum(translation[:, 2], _NEAREST_M - points[..., 2].amin(1))
    found = translation[:, 2]
    factor = torch.where(found > 1e-3, depth / found.clamp_min(1e-3), torch.ones_like(found))
    return torch.cat([translation[:, :2] * factor[:, None], depth[:, None]], 1).to(points_m.dtype)


def place_body(
    layer: BodyLayer, spec: PartSpec, answer: Decoded, crops: Crops, camera: PinholeCamera
) -> tuple[Tensor, Tensor]:
    """Pose [n, 55, 3, 3] and translation [n, 3] (metres) of a body network's answer in the full camera's frame."""
    joints = layer.joints(answer.pose, answer.betas, answer.expression)
    pelvis = joints[:, :1]
    points = joints[:, :_BODY_JOINTS] - pelvis
    view = view_rotation(crops, camera)
    projected = project_weak(spec.from_root(joints)[:, :_BODY_JOINTS], answer.camera)
    root = locate(points @ view.mT, crops.to_image(projected), camera)
    pose = torch.cat([(view @ answer.pose[:, 0])[:, None], answer.pose[:, 1:]], 1)
    return pose, root - pelvis[:, 0]


def absolute_rotation(pose: Float[Tensor, "n 55 3 3"], joint: int) -> Float[Tensor, "n 3 3"]:
    """Rotation of a joint in the camera's frame: the product of its chain from the pelvis."""
    rotation = pose[:, joint]
    while (joint := int(PARENTS[joint])) >= 0:
        rotation = pose[:, joint] @ rotation
    return rotation


def condition(
    spec: PartSpec,
    body: Decoded,
    mean: Float[Tensor, "size"],
    crops: Crops,
    camera: PinholeCamera,
) -> Float[Tensor, "n size"]:
    """Start vector of a hand or face network: the body's estimate of that part, seen from its crop (paper, eq. 3, 4).

    Root orientation, fingers or jaw, and expression come from ``body`` (its pose in the full camera's frame); betas and
    camera from the part's mean.
    """
    joint, source, slots = _joint(spec, crops.mirrored), body.pose, list(spec.pose_slots[1:])
    count = source.shape[0]
    mean_sixd, betas, expression, raw_camera = split(mean.expand(count, -1), spec)
    root = view_rotation(crops, camera).mT @ absolute_rotation(body.pose, joint)
    if crops.mirrored:
        root, source = mirror_rotation(root), mirror_rotation(source)[:, JOINT_FLIP]
    first = matrix_to_sixd(root)[:, None] if spec.merges_root else mean_sixd[:, :1]
    fine = matrix_to_sixd(source[:, slots])
    if body.sixd is not None and not crops.mirrored:
        fine = body.sixd[:, [BODY.pose_slots.index(slot) for slot in slots]]
    known = min(spec.num_expression, body.expression.shape[1])
    expression = torch.cat([body.expression[:, :known], expression[:, known:]], 1)
    return torch.cat([torch.cat([first, fine], 1).flatten(1), betas, expression, raw_camera], 1)


def merge_part(
    pose: Float[Tensor, "n 55 3 3"],
    spec: PartSpec,
    answer: Decoded,
    crops: Crops,
    camera: PinholeCamera,
    use: Bool[Tensor, "n"],
) -> Float[Tensor, "n 55 3 3"]:
    """Replace a part's joints in the body's pose where ``use`` is true (paper, eq. 5).

    The answer is mirrored back if its crop was mirrored, and its root turned to the full camera's frame; relative to
    the parent it is then the transpose of the parent's absolute rotation times it.
    """
    joint, part = _joint(spec, crops.mirrored), answer.pose
    slots = list(spec.pose_slots[1:])
    if crops.mirrored:
        part, slots = mirror_rotation(part)[:, JOINT_FLIP], JOINT_FLIP[slots].tolist()
    merged = pose.clone()
    if spec.merges_root:
        parent = absolute_rotation(pose, int(PARENTS[joint]))
        merged[:, joint] = parent.mT @ view_rotation(crops, camera) @ part[:, 0]
    merged[:, slots] = part[:, slots]
    return torch.where(use[:, None, None, None], merged, pose)


def mirror_rotation(matrix: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3 3"]:
    """The rotation seen in a mirror across x: D R D with D = diag(-1, 1, 1). Its own inverse."""
    return matrix * matrix.new_tensor([[1, -1, -1], [-1, 1, 1], [-1, 1, 1]])


def _joint(spec: PartSpec, mirrored: bool) -> int:
    return int(JOINT_FLIP[spec.root_joint]) if mirrored else spec.root_joint
