"""AMASS's npz of SMPL-X animations, which the SMPL-X add-on of Blender and most tools for motion capture read."""

from pathlib import Path

import numpy as np
from jaxtyping import Float

from openexpose.body.mesh import rest_joints
from openexpose.body.model import BodyModel
from openexpose.formats.native import write_arrays
from openexpose.geometry.rotation import matrix_to_rotvec
from openexpose.motion import Clip, Track, at_times, even_times

Array = np.ndarray

T_WORLD_CAMERA: Float[Array, "3 3"] = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
"""From the camera frame (y down, z away) to AMASS's world (z up): who faces the camera looks along -y. The camera is
taken to be level, and stays at the origin."""
_BETAS = 16
"""Files of AMASS have so many; missing ones are zero."""


def write_amass(path: Path, clip: Clip, track: Track, model: BodyModel, fps: float | None = None) -> None:
    """Write one person's motion at a constant frame rate; gaps are filled.

    Poses are axis-angle in SMPL-X's order: ``poses`` [n, 165] and its parts ``root_orient``, ``pose_body``,
    ``pose_jaw``, ``pose_eye``, ``pose_hand``; fingers count from the flat hand. ``betas`` [16] are the track's mean
    shape, ``expression`` [n, e] is there for readers that know it, ``trans`` [n, 3] in metres such that the pelvis
    is where the track has it: z up, x right, y away from the camera, the camera at the origin.

    Args:
        path: the file to make.
        clip: when the track's frames are shown.
        track: the person.
        model: the person's body model; tells where the pelvis lies, about which the root turns.
        fps: frames a second; None: the clip's.

    Raises:
        InputError: an impossible frame rate, or the file cannot be written.
    """
    times = even_times(track, clip, fps)
    rate = clip.fps if fps is None else fps
    people = at_times(track, clip, times)
    pose = people.pose.astype(float)
    betas = track.people.betas.astype(float).mean(0)
    pelvis = rest_joints(model, betas[None], people.expression)[:, 0]
    place = rest_joints(model, people.betas, people.expression)[:, 0] + people.transl
    pose[:, 0] = T_WORLD_CAMERA @ pose[:, 0]
    poses = matrix_to_rotvec(pose).reshape(len(times), -1)
    arrays = {
        "gender": np.array("neutral"),
        "surface_model_type": np.array("smplx"),
        "mocap_frame_rate": np.array(rate, float),
        "mocap_framerate": np.array(rate, float),
        "mocap_time_length": np.array(len(times) / rate),
        "trans": place @ T_WORLD_CAMERA.T - pelvis,
        "poses": poses,
        "root_orient": poses[:, :3],
        "pose_body": poses[:, 3:66],
        "pose_jaw": poses[:, 66:69],
        "pose_eye": poses[:, 69:75],
        "pose_hand": poses[:, 75:],
        "betas": np.pad(betas, (0, max(0, _BETAS - len(betas)))),
        "num_betas": np.array(max(_BETAS, len(betas))),
        "expression": people.expression,
        "flat_hand_mean": np.array(True),
        "body_model": np.array(track.people.body_model),
    }
    write_arrays(path, arrays)
