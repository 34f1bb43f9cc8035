"""People who move everything they have: body, fingers, jaw, eyes, expression and place."""

from functools import cache

import numpy as np

from openexpose.body.keypoints import INDEX
from openexpose.body.mesh import joint_transforms, posed_mesh
from openexpose.body.model import BodyModel, load_body_model
from openexpose.geometry.rotation import rotvec_to_matrix
from openexpose.motion import Clip, Motion, Track
from openexpose.people import People

FPS = 25.0
AXES = np.array([1.0, -1.0, -1.0])
"""From the camera frame to y up, viewed along -z."""


@cache
def freebody() -> BodyModel:
    return load_body_model()


def dancer(frames: np.ndarray, model: BodyModel, seed: int = 0) -> People:
    """Row k is frame ``frames[k]``: every joint swings, mostly the elbows, the fingers and the jaw."""
    rng = np.random.default_rng(seed)
    count, time = len(frames), frames / FPS
    swing = np.sin(2 * np.pi * time[:, None, None] + rng.uniform(0, 6, (1, 55, 3)))
    rotvec = rng.normal(0, 0.1, (1, 55, 3)) + 0.1 * swing
    rotvec[:, INDEX["left_elbow"], 1] -= 1.0 + 0.5 * swing[:, 0, 0]
    rotvec[:, 25:40, 2] -= 0.6 * (1 + swing[:, :1, 0])
    rotvec[:, 40:, 2] += 0.6 * (1 + swing[:, :1, 0])
    rotvec[:, INDEX["jaw"], 0] = 0.15 * (1 + swing[:, 0, 1])
    rotvec[:, 0, 1] += 6 * time  # round and round: quaternions and angles change their sign
    pose = rotvec_to_matrix(rotvec)
    pose[:, 0] = np.diag(AXES) @ pose[:, 0]
    expression = 1.5 * np.sin(4 * time[:, None] + rng.uniform(0, 6, (1, model.num_expression)))
    place = np.stack([0.3 * seed + 0.2 * time, 0.1 * np.cos(time), 3.0 + 0.1 * time], -1)
    zeros = np.zeros((count, 3), np.float32)
    return People(
        pose=pose.astype(np.float32),
        betas=np.tile(rng.normal(size=(1, model.num_betas)), (count, 1)).astype(np.float32),
        expression=expression.astype(np.float32),
        transl=place.astype(np.float32),
        score=np.ones(count, np.float32),
        bbox_xyxy=np.tile(np.array([0.0, 0.0, 50.0, 100.0], np.float32), (count, 1)),
        part_confidence=np.ones((count, 4), np.float32),
        joint_confidence=np.ones((count, 144), np.float32),
        crop_centre_px=zeros[:, :2],
        crop_side_px=np.ones(count, np.float32),
        crop_camera=zeros + 1.0,
        focal_px=700.0,
        principal_px=np.array([320.0, 240.0]),
        image_size=(640, 480),
        body_model=model.name,
    )


def dance(model: BodyModel, frames: int = 20) -> Motion:
    """Two people; the second comes at frame 5 and goes before the end."""
    clip = Clip("dance.mp4", np.arange(frames) / FPS, FPS)
    whole, part = np.arange(frames), np.arange(5, frames - 4)
    return Motion(clip, (Track(1, whole, dancer(whole, model)), Track(4, part, dancer(part, model, seed=1))))


def true_joints(people: People, model: BodyModel) -> np.ndarray:
    """Where the 55 joints are, in the files' axes, metres: [frames, 55, 3]."""
    joints = joint_transforms(model, people.pose, people.betas, people.expression)[1]
    return (joints + people.transl[:, None]) * AXES


def true_vertices(people: People, model: BodyModel) -> np.ndarray:
    """The mesh in the files' axes, metres: [frames, v, 3]."""
    mesh = posed_mesh(model, people.pose, people.betas, people.expression)
    return (mesh.vertices + people.transl[:, None]) * AXES
