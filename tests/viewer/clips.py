"""Made-up people and clips for the viewer's tests."""

import io
from fractions import Fraction

import numpy as np

from openexpose.body.model import BodyModel, load_body_model
from openexpose.geometry.rotation import rotvec_to_matrix
from openexpose.motion import Clip, Motion, Track
from openexpose.people import People

SIZE = (480, 360)
FRAMES = 40
GREYS = 40 + 5 * np.arange(FRAMES)
"""Brightness of the test video's frames, which tells them apart."""


def body() -> BodyModel:
    return load_body_model()


def people(rows: int, seed: int = 0, side_m: float = 0.0, part: str = "whole") -> People:
    """One person moving: any pose, a few metres in front of the camera, upright."""
    rng = np.random.default_rng(seed)
    swing = np.sin(0.3 * np.arange(rows) + seed)[:, None, None]
    vectors = rng.normal(0, 0.3, (1, 55, 3)) + swing * rng.normal(0, 0.2, (1, 55, 3))
    vectors[:, 0] *= 0.3
    pose = rotvec_to_matrix(vectors)
    pose[:, 0] = np.diag([1.0, -1.0, -1.0]) @ pose[:, 0]  # upright, towards the camera
    centre = np.tile(np.array([side_m, 0.2, 3.5]), (rows, 1)) + swing[:, 0] * [0.1, 0.02, 0.2]
    confidence = rng.random((rows, 144))
    return People(
        pose=pose.astype(np.float32),
        betas=np.tile(rng.normal(0, 1, 10), (rows, 1)).astype(np.float32),
        expression=rng.normal(0, 1, (rows, 20)).astype(np.float32),
        transl=centre.astype(np.float32),
        score=np.full(rows, 0.9),
        bbox_xyxy=np.tile([100.0, 20.0, 300.0, 340.0], (rows, 1)),
        part_confidence=np.ones((rows, 4)),
        joint_confidence=confidence,
        crop_centre_px=np.tile([200.0, 180.0], (rows, 1)),
        crop_side_px=np.full(rows, 400.0),
        crop_camera=np.tile([1.0, 0.0, 0.0], (rows, 1)),
        focal_px=520.0,
        principal_px=np.array([231.0, 188.0]),
        image_size=SIZE,
        part=part,
    )


def clip(name: str = "walk.mp4") -> Clip:
    """Frames at changing steps."""
    steps = np.where(np.arange(FRAMES - 1) % 3 == 0, 0.08, 0.04)
    return Clip(name, np.concatenate([[0.0], np.cumsum(steps)]), 20.0)


def motion(name: str = "walk.mp4") -> Motion:
    """Two people; the second is lost for a while."""
    frames = np.r_[5:15, 22:FRAMES]
    tracks = (
        Track(1, np.arange(FRAMES), people(FRAMES, 1, -0.6)),
        Track(2, frames, people(len(frames), 2, 0.6)),
    )
    return Motion(clip(name), tracks)


def video(times_s: np.ndarray) -> bytes:
    """A small MP4 with a plain grey picture a frame, each shown at its time."""
    import av

    file = io.BytesIO()
    with av.open(file, "w", "mp4") as container:
        stream = container.add_stream("libx264", rate=20)
        stream.width, stream.height, stream.pix_fmt = 120, 90, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 90000)
        for grey, time in zip(GREYS, times_s, strict=True):
            frame = av.VideoFrame.from_ndarray(np.full((90, 120, 3), grey, np.uint8), format="rgb24")
            frame.pts, frame.time_base = round(time * 90000), Fraction(1, 90000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()
