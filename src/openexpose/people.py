"""People: the one record that predictions, fits, synthetic ground truth and data-set labels share."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import numpy as np
from jaxtyping import Float

from openexpose.errors import InputError

Array = np.ndarray

POSE_SLICES: dict[str, slice] = {
    "global_orient": slice(0, 1),
    "body_pose": slice(1, 22),
    "jaw_pose": slice(22, 23),
    "leye_pose": slice(23, 24),
    "reye_pose": slice(24, 25),
    "left_hand_pose": slice(25, 40),
    "right_hand_pose": slice(40, 55),
}
"""Where SMPL-X's named pose parameters lie in the [55, 3, 3] pose."""

PART_NAMES: tuple[str, ...] = ("body", "left_hand", "right_hand", "face")


@dataclass(frozen=True)
class People:
    """The people of one image, in SMPL-X parameters and one pinhole camera. The first axis of every array is people.

    Vertices in the camera frame (x right, y down, z away, metres) are ``LBS(pose, betas, expression) + transl``, where
    the global orientation turns the body about its pelvis and takes the model frame (y up) to the camera frame.
    Finger rotations are full rotations from the flat zero pose (``flat_hand_mean=True``).
    """

    pose: Float[Array, "people 55 3 3"]
    """Rotation matrices of the 55 joints relative to their parents, SMPL-X order."""
    betas: Float[Array, "people betas"]
    """Shape coefficients of ``body_model``."""
    expression: Float[Array, "people expressions"]
    """Expression coefficients of ``body_model``."""
    transl: Float[Array, "people 3"]
    """Translation, metres, camera frame."""
    score: Float[Array, "people"]
    """Detector's confidence in the person, 0..1 (1 for boxes that the user gave)."""
    bbox_xyxy: Float[Array, "people 4"]
    """Box, pixels of the original upright picture."""
    part_confidence: Float[Array, "people 4"]
    """Confidence 0..1 in body, left hand, right hand and face: was the part seen?"""
    joint_confidence: Float[Array, "people 144"]
    """Confidence 0..1 of each named joint."""
    crop_centre_px: Float[Array, "people 2"]
    """Centre of the upright square body crop, pixels."""
    crop_side_px: Float[Array, "people"]
    """Side of that crop, pixels."""
    crop_camera: Float[Array, "people 3"]
    """Weak-perspective camera (s, tx, ty) in that crop: p = s * (xy + t) with p in [-1, 1]^2 and xy from
    the pelvis (of a lone part: its root), in the axes of a camera that points at the crop's centre. It is the one that
    agrees best with the pinhole projection of this result."""
    focal_px: float
    """Focal length of the full-frame pinhole camera, pixels."""
    principal_px: Float[Array, "2"]
    """Principal point of the full-frame pinhole camera, pixels."""
    image_size: tuple[int, int]
    """Width and height of the picture, pixels."""
    body_model: str = "freebody"
    """Which body model the coefficients belong to."""
    part: str = "whole"
    """``whole``, or the one part that was looked at: ``face``, ``left-hand`` or ``right-hand``. The rest is at rest."""

    def __post_init__(self) -> None:
        count = len(self.pose)
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray) and field.name != "principal_px":
                if len(value) != count:
                    raise InputError(f"{field.name} for {len(value)} people", f"one row for each of {count} people")
                if not np.isfinite(value).all():
                    raise InputError(f"{field.name} holds NaN or infinity", "finite numbers")

    def __len__(self) -> int:
        return len(self.pose)

    def __getitem__(self, index: slice | Array) -> "People":
        """The people at ``index`` (a slice or an index array)."""
        chosen = {
            field.name: getattr(self, field.name)[index]
            for field in fields(self)
            if isinstance(getattr(self, field.name), np.ndarray) and field.name != "principal_px"
        }
        return replace(self, **chosen)

    def pose_parts(self) -> Iterator[tuple[str, Float[Array, "people joints 3 3"]]]:
        """SMPL-X's named pose parameters with their rotation matrices."""
        for name, part in POSE_SLICES.items():
            yield name, self.pose[:, part]


def zero_pose(count: int) -> Float[Array, "count 55 3 3"]:
    """The pose with every joint at rest."""
    return np.tile(np.eye(3, dtype=np.float32), (count, 55, 1, 1))
