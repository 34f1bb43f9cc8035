"""Cameras. This module and docs/conventions.md own every camera convention.

Camera frame: OpenCV axes (x right, y down, z away from the viewer), metres. Two cameras describe a person:

* the weak-perspective camera (s, tx, ty) of a crop, p_crop = s * (xy + t), which the networks regress (paper, eq. 2);
* the full-frame pinhole camera (focal length and principal point in pixels) in which results are delivered.

A crop away from the picture's centre is looked at along its own ray, so a network sees the person through a virtual
camera that points at the crop's centre. :func:`view_rotation` takes that virtual camera's frame to the full camera's.
"""

import numpy as np
from jaxtyping import Float

from openexpose.errors import InputError
from openexpose.geometry.boxes import Crop
from openexpose.geometry.rotation import rotation_about_z, rotation_between

Array = np.ndarray


def default_focal_px(width: int, height: int) -> float:
    """Focal length assumed when a picture tells none: its diagonal, a 53 degree field of view across the diagonal."""
    return float(np.hypot(width, height))


def focal_from_fov(fov_deg: float, width: int, height: int) -> float:
    """Focal length in pixels from the field of view across the longer image side, in degrees.

    Raises:
        InputError: the angle is not between 1 and 170 degrees.
    """
    if not 1.0 <= fov_deg <= 170.0:
        raise InputError(f"a field of view of {fov_deg} degrees", "an angle between 1 and 170 degrees")
    return 0.5 * max(width, height) / float(np.tan(np.radians(fov_deg) / 2.0))


def project_perspective(
    points_m: Float[Array, "*batch n 3"], focal_px: float, principal_px: Float[Array, "2"]
) -> Float[Array, "*batch n 2"]:
    """Pinhole projection of camera-frame points to image pixels. Points at or behind the camera get depth 1 mm."""
    depth = np.maximum(points_m[..., 2:], 1e-3)
    return focal_px * points_m[..., :2] / depth + principal_px


def project_weak(points_m: Float[Array, "*batch n 3"], camera: Float[Array, "*batch 3"]) -> Float[Array, "*batch n 2"]:
    """Weak-perspective projection to crop coordinates: s * (xy + t), camera = (s, tx, ty) (paper, eq. 2)."""
    return camera[..., None, :1] * (points_m[..., :2] + camera[..., None, 1:])


def fit_weak(points_m: Float[Array, "*batch n 3"], targets: Float[Array, "*batch n 2"]) -> Float[Array, "*batch 3"]:
    """Weak-perspective camera (s, tx, ty) under which points project nearest to targets in crop coordinates."""
    xy = points_m[..., :2]
    middle, aim = xy.mean(-2, keepdims=True), targets.mean(-2, keepdims=True)
    centred = xy - middle
    spread = np.maximum((centred**2).sum((-1, -2)), 1e-12)
    scale = np.maximum((centred * (targets - aim)).sum((-1, -2)) / spread, 1e-6)
    shift = aim[..., 0, :] / scale[..., None] - middle[..., 0, :]
    return np.concatenate([scale[..., None], shift], -1)


def view_rotation(
    crop: Crop, focal_px: float | Float[Array, "*batch 1"], principal_px: Float[Array, "*batch 2"]
) -> Float[Array, "*batch 3 3"]:
    """Rotation from the frame of a crop's virtual camera to the full camera's frame.

    It turns the optical axis to the ray through the crop's centre, after turning the crop upright. With an infinite
    focal length only the crop's own angle is left. ``mirrored`` crops: mirror before applying this rotation.
    """
    offset = (crop.centre_px - principal_px) / focal_px
    ray = np.concatenate([offset, np.ones_like(offset[..., :1])], -1)
    axis = np.broadcast_to(np.array([0.0, 0.0, 1.0]), ray.shape)
    return rotation_between(axis, ray) @ rotation_about_z(crop.angle_rad)


def locate(
    points_m: Float[Array, "*batch n 3"],
    targets_px: Float[Array, "*batch n 2"],
    focal_px: float,
    principal_px: Float[Array, "2"],
) -> Float[Array, "*batch 3"]:
    """Translation that makes points project onto targets, by linear least squares on the pinhole equations.

    Args:
        points_m: points in camera orientation, any origin, metres.
        targets_px: where they should appear, pixels.
        focal_px, principal_px: the pinhole camera.

    Returns:
        translation [*batch, 3] in metres, with a depth that keeps every point at least 10 cm before the camera.
    """
    target = targets_px - principal_px
    batch, n = points_m.shape[:-2], points_m.shape[-2]
    system = np.zeros((*batch, 2 * n, 3))
    system[..., :n, 0] = focal_px
    system[..., n:, 1] = focal_px
    system[..., :n, 2] = -target[..., 0]
    system[..., n:, 2] = -target[..., 1]
    value = np.concatenate(
        [
            target[..., 0] * points_m[..., 2] - focal_px * points_m[..., 0],
            target[..., 1] * points_m[..., 2] - focal_px * points_m[..., 1],
        ],
        -1,
    )
    transposed = np.swapaxes(system, -1, -2)
    translation = np.linalg.solve(transposed @ system, transposed @ value[..., None])[..., 0]
    nearest = 0.1 - points_m[..., 2].min(-1)
    depth = np.maximum(translation[..., 2], nearest)
    factor = np.where(translation[..., 2] > 1e-3, depth / np.maximum(translation[..., 2], 1e-3), 1.0)
    return np.concatenate([translation[..., :2] * factor[..., None], depth[..., None]], -1)
