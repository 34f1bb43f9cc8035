"""OpenPose's JSON (BODY_25, hands, face), one file a frame, as its ``--write_json`` makes them."""

import json
from pathlib import Path

import numpy as np
from jaxtyping import Float

from openexpose.body.keypoints import BODY25, IBUG68, KEYPOINT_NAMES, LEFT_HAND21, RIGHT_HAND21
from openexpose.body.model import BodyModel
from openexpose.formats.atomic import check_writable, write_whole
from openexpose.formats.moments import Moment, is_still, moments, valid_keypoints
from openexpose.motion import Motion

Array = np.ndarray

_NONE = -1
_PARTS = {
    "pose": BODY25,
    "face": np.r_[IBUG68, _NONE, _NONE],  # the last two are the pupils, which we do not have
    "hand_left": LEFT_HAND21,
    "hand_right": RIGHT_HAND21,
}


def write_openpose(out: Path, stem: str, motion: Motion, model: BodyModel) -> list[Path]:
    """Write ``STEM_keypoints.json`` of a photo; of a clip's frame 12 ``STEM_000000000012_keypoints.json``, in the
    folder ``STEM_openpose``.

    Every frame has a file. 2D points are pixels of the picture, [0, width] x [0, height]; 3D points (``..._3d``) are
    metres in the camera frame. A point that there is not (pupils, and the rest of a lone part) is 0, 0, 0, as OpenPose
    has it; hidden points are told with their confidence. ``person_id`` is the track's number.

    Args:
        out: folder to write into.
        stem: name of the clip or photo.
        motion: the people.
        model: their body model.

    Returns:
        The files, by frame.

    Raises:
        InputError: a file cannot be written.
    """
    folder = out if is_still(motion.clip) else out / f"{stem}_openpose"
    check_writable(folder)
    known = np.zeros(len(KEYPOINT_NAMES), bool)
    known[valid_keypoints(motion)] = True
    paths = []
    for moment in moments(motion, model):
        people = [_person(moment, k, known) for k in range(len(moment))]
        paths.append(folder / (f"{stem}_keypoints.json" if is_still(motion.clip) else _name(stem, moment.frame)))
        write_whole(paths[-1], json.dumps({"version": 1.3, "people": people}).encode())
    return paths


def _name(stem: str, frame: int) -> str:
    return f"{stem}_{frame:012d}_keypoints.json"


def _person(moment: Moment, k: int, known: Array) -> dict[str, list[float]]:
    person: dict[str, list[float]] = {"person_id": [moment.ids[k]]}
    for dimensions, points in (("2d", moment.joints_px[k]), ("3d", moment.joints_m[k])):
        decimals = 3 if dimensions == "2d" else 5
        for part, table in _PARTS.items():
            rows = _rows(points, moment.confidence[k], np.where(known[table], table, _NONE))
            person[f"{part}_keypoints_{dimensions}"] = np.round(rows, decimals).ravel().tolist()
    return person


def _rows(points: Float[Array, "144 d"], confidence: Float[Array, "144"], table: Array) -> Float[Array, "n d1"]:
    """Points and confidence, zero where there is none."""
    rows = np.concatenate([points, confidence[:, None]], 1).astype(float)
    return np.where((table >= 0)[:, None], rows[table], 0.0)
