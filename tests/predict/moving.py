"""People in motion, made for tests: known angles over time, known noise."""

from typing import Any

import numpy as np

from openexpose.body.mesh import joint_transforms
from openexpose.body.model import load_body_model
from openexpose.geometry.rotation import rotvec_to_matrix
from openexpose.motion import Clip, Track
from openexpose.people import People

MODEL = load_body_model()
UPRIGHT = np.diag([1.0, -1.0, -1.0])


def people_of(rotvec: np.ndarray, transl: np.ndarray, **fields: Any) -> People:
    """Rows with joint rotations [n, 55, 3] (the first from upright and frontal) and translations [n, 3]."""
    count = len(rotvec)
    pose = rotvec_to_matrix(np.asarray(rotvec, float))
    pose[:, 0] = UPRIGHT @ pose[:, 0]
    made: dict[str, Any] = {
        "pose": pose,
        "betas": np.zeros((count, 10)),
        "expression": np.zeros((count, 20)),
        "transl": np.asarray(transl, float),
        "score": np.ones(count),
        "bbox_xyxy": np.tile([100.0, 100.0, 300.0, 400.0], (count, 1)),
        "part_confidence": np.ones((count, 4)),
        "joint_confidence": np.ones((count, 144)),
        "crop_centre_px": np.tile([320.0, 240.0], (count, 1)),
        "crop_side_px": np.full(count, 400.0),
        "crop_camera": np.ones((count, 3)),
        "focal_px": 1000.0,
        "principal_px": np.array([320.0, 240.0]),
        "image_size": (640, 480),
    }
    return People(**(made | fields))


def track_of(people: People, fps: float = 30.0, times_s: np.ndarray | None = None) -> tuple[Track, Clip]:
    """A track of consecutive frames and its clip."""
    times = np.arange(len(people)) / fps if times_s is None else times_s
    return Track(1, np.arange(len(people)), people), Clip("clip.mp4", times, fps)


def standing(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Rotations and translations of somebody who stands 4 m away."""
    return np.zeros((count, 55, 3)), np.tile([0.0, 0.2, 4.0], (count, 1))


def joints(people: People) -> np.ndarray:
    """The 55 joints in the camera's frame, metres."""
    return joint_transforms(MODEL, people.pose, people.betas, people.expression)[1] + people.transl[:, None]


def angles_between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Angles between rotation matrices, degrees."""
    return np.degrees(np.arccos(np.clip((np.trace(np.swapaxes(a, -1, -2) @ b, axis1=-2, axis2=-1) - 1) / 2, -1, 1)))
