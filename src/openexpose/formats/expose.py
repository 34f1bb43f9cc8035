"""The npz files of the original ExPose's demo (``--save-params``), one a frame and person."""

from pathlib import Path

import numpy as np

from openexpose.body.model import BodyModel
from openexpose.formats.atomic import check_writable
from openexpose.formats.moments import Posed, is_still, meshes
from openexpose.formats.native import write_arrays
from openexpose.geometry.camera import project_perspective
from openexpose.motion import Motion
from openexpose.people import People

Array = np.ndarray

_SENSOR_MM = 36.0
_PARTS = ("global_orient", "body_pose", "jaw_pose", "left_hand_pose", "right_hand_pose")


def write_expose(out: Path, stem: str, motion: Motion, model: BodyModel) -> list[Path]:
    """Write ``STEM.png_000/STEM.png_params.npz`` of a photo's first person and so on; of a clip
    ``STEM_expose/STEM_000012.png_000/STEM_000012.png_params.npz`` of frame 12.

    Names, shapes and rotation matrices are ExPose's, and ``vertices + transl`` is the body in the camera frame. Unlike
    ExPose's, the camera is the true one of the whole picture: its focal length in place of 5000, and ``center`` is
    the principal point. ``full_pose`` holds all 55 rotations; coefficients are as many as ours.

    Args:
        out: folder to write into.
        stem: name of the clip or photo.
        motion: the people.
        model: their body model.

    Returns:
        The files, by person and frame.

    Raises:
        InputError: a file cannot be written.
    """
    single = is_still(motion.clip)
    count = np.zeros(len(motion.clip.times_s), int)
    paths = []
    for track in motion.tracks:
        for posed in meshes(track, model):
            name = f"{stem}.png" if single else f"{stem}_{posed.frame:06d}.png"
            folder = out if single else out / f"{stem}_expose"
            folder = folder / f"{name}_{count[posed.frame]:03d}"
            check_writable(folder)
            paths.append(folder / f"{name}_params.npz")
            write_arrays(paths[-1], _arrays(track.people[posed.row : posed.row + 1], posed, model, name))
            count[posed.frame] += 1
    return paths


def _arrays(person: People, posed: Posed, model: BodyModel, name: str) -> dict[str, Array]:
    """What ExPose calls the numbers of one person."""
    width, height = person.image_size
    cx, cy = person.principal_px
    rotations = dict(person.pose_parts())
    pixels = project_perspective(posed.joints_m, person.focal_px, person.principal_px)
    inside = (pixels - person.crop_centre_px[0]) / (0.5 * person.crop_side_px[0])
    return {key: rotations[key][0] for key in _PARTS} | {
        "full_pose": person.pose[0],
        "betas": person.betas[0],
        "expression": person.expression[0],
        "vertices": (posed.vertices_m - person.transl[0]).astype(np.float32),
        "joints": (posed.joints_m - person.transl[0]).astype(np.float32),
        "proj_joints": inside.astype(np.float32),
        "faces": model.faces,
        "transl": person.transl[0],
        "center": np.asarray(person.principal_px, float),
        "shift_x": np.array(-(cx / width - 0.5)),
        "shift_y": np.array((cy - 0.5 * height) / width),
        "focal_length_in_px": np.array(person.focal_px, float),
        "focal_length_in_mm": np.array(person.focal_px / width * _SENSOR_MM),
        "sensor_width": np.array(_SENSOR_MM),
        "fname": np.array(name),
        "body_model": np.array(person.body_model),
    }
