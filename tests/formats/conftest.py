"""People who move, for the tests of every format."""

import numpy as np
import pytest

from openexpose.body.model import BodyModel, load_body_model
from openexpose.geometry.rotation import rotvec_to_matrix
from openexpose.motion import Clip, Motion, Track
from openexpose.people import People

UPRIGHT = np.diag([1.0, -1.0, -1.0])


def mover(count: int, seed: int) -> People:
    """Somebody in front of the camera of whom everything moves, fingers, jaw, eyes and expression too; one shape."""
    rng = np.random.default_rng(seed)
    swing = np.sin(np.linspace(0.0, 1.5, count))[:, None, None]
    rotvec = rng.normal(0, 0.25, (1, 55, 3)) + swing * rng.normal(0, 0.25, (1, 55, 3))
    pose = rotvec_to_matrix(rotvec)
    pose[:, 0] = UPRIGHT @ pose[:, 0]
    return People(
        pose=pose.astype(np.float32),
        betas=np.tile(rng.normal(size=10), (count, 1)).astype(np.float32),
        expression=(rng.normal(size=20) + swing[:, 0] * rng.normal(size=20)).astype(np.float32),
        transl=(np.array([0.3 * seed, 0.1, 3.0 + seed]) + 0.1 * swing[:, 0]).astype(np.float32),
        score=rng.uniform(0.5, 1.0, count).astype(np.float32),
        bbox_xyxy=np.tile(np.float32([100, 20, 300, 460]), (count, 1)),
        part_confidence=rng.random((count, 4), np.float32),
        joint_confidence=rng.uniform(0.1, 1.0, (count, 144)).astype(np.float32),
        crop_centre_px=np.tile(np.float32([200, 240]), (count, 1)),
        crop_side_px=np.full(count, 500, np.float32),
        crop_camera=np.tile(np.float32([0.9, 0.1, 0.2]), (count, 1)),
        focal_px=700.0,
        principal_px=np.array([320.0, 240.0]),
        image_size=(640, 480),
    )


@pytest.fixture
def motion() -> Motion:
    """Two people in a clip of six frames; the second one comes in frame 2 and is lost in frame 4."""
    clip = Clip("walk.mp4", np.arange(6) / 25.0, 25.0)
    there = np.array([2, 3, 5])
    return Motion(clip, (Track(1, np.arange(6), mover(6, 1)), Track(3, there, mover(3, 2))))


@pytest.fixture(scope="session")
def body() -> BodyModel:
    """The packaged body model."""
    return load_body_model()
