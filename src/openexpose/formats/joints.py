"""Named joints of a whole clip in one file: JSON or CSV."""

import json
from pathlib import Path

import numpy as np

from openexpose import __version__
from openexpose.body.keypoints import KEYPOINT_NAMES
from openexpose.body.model import BodyModel
from openexpose.formats.atomic import whole_file
from openexpose.formats.moments import Moment, moments, valid_keypoints
from openexpose.formats.native import CONVENTIONS
from openexpose.motion import Motion

Array = np.ndarray

_NUMBERS = ("x_m", "y_m", "z_m", "x_px", "y_px", "confidence")


def write_joints_json(path: Path, motion: Motion, model: BodyModel) -> None:
    """Write the keypoints of every frame as JSON, one frame a line.

    ``joint_names`` [j]; ``frames``, each with ``frame``, ``time_s`` and ``people``, and of each person ``id``,
    ``score``, ``joints`` [j][x, y, z] (camera frame, metres, rounded to 0.01 mm) and ``keypoints_2d``
    [j][x, y, confidence] (pixels, rounded to 0.01 px). Of a lone part only its keypoints.

    Args:
        path: the file to make.
        motion: the people.
        model: their body model.

    Raises:
        InputError: the file cannot be written.
    """
    valid = valid_keypoints(motion)
    names = [KEYPOINT_NAMES[k] for k in valid]
    told = {
        "openexpose": __version__,
        "clip": {"name": motion.clip.name, "fps": motion.clip.fps, "frames": len(motion.clip.times_s)},
        "conventions": {key: CONVENTIONS[key] for key in ("units", "image", "camera_frame", "perspective")},
    }
    if motion.tracks:
        people = motion.tracks[0].people
        told["image"] = {"width": people.image_size[0], "height": people.image_size[1]}
        told["camera"] = {"focal_px": people.focal_px, "principal_px": np.asarray(people.principal_px, float).tolist()}
        told["body_model"] = people.body_model
    head = json.dumps(told | {"joint_names": names})[:-1]
    with whole_file(path) as file:
        file.write(f'{head},\n"frames": ['.encode())
        for moment in moments(motion, model):
            row = {
                "frame": moment.frame,
                "time_s": round(moment.time_s, 6),
                "people": [
                    {
                        "id": number,
                        "score": round(float(moment.score[k]), 4),
                        "joints": np.round(moment.joints_m[k, valid].astype(float), 5).tolist(),
                        "keypoints_2d": _pixels(moment, k, valid).tolist(),
                    }
                    for k, number in enumerate(moment.ids)
                ],
            }
            file.write(((",\n" if moment.frame else "\n") + json.dumps(row, allow_nan=False)).encode())
        file.write(b"\n]}\n")


def write_joints_csv(path: Path, motion: Motion, model: BodyModel) -> None:
    """Write the keypoints of every frame as CSV: a row a frame and person.

    Columns ``frame``, ``time_s``, ``id``, ``score``, and of each joint ``NAME_x_m``, ``NAME_y_m``, ``NAME_z_m``
    (camera frame, metres), ``NAME_x_px``, ``NAME_y_px`` and ``NAME_confidence``. Rounded as in
    :func:`write_joints_json`, with its arguments and errors.
    """
    valid = valid_keypoints(motion)
    columns = ["frame", "time_s", "id", "score"]
    columns += [f"{KEYPOINT_NAMES[k]}_{number}" for k in valid for number in _NUMBERS]
    with whole_file(path) as file:
        file.write((",".join(columns) + "\n").encode())
        for moment in moments(motion, model):
            for k, number in enumerate(moment.ids):
                joints = np.round(moment.joints_m[k, valid].astype(float), 5)
                values = np.concatenate([joints, _pixels(moment, k, valid)], 1).ravel().tolist()
                row = [moment.frame, round(moment.time_s, 6), number, round(float(moment.score[k]), 4), *values]
                file.write((",".join(map(repr, row)) + "\n").encode())


def _pixels(moment: Moment, k: int, valid: Array) -> Array:
    """Rows x, y, confidence, rounded."""
    points = np.round(moment.joints_px[k, valid].astype(float), 2)
    return np.concatenate([points, np.round(moment.confidence[k, valid, None].astype(float), 4)], 1)
