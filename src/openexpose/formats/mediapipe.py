"""Landmarks as MediaPipe's Holistic Landmarker tells them, as JSON, one file a frame."""

import json
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from openexpose.body.keypoints import IBUG68, INDEX, LEFT_HAND21, RIGHT_HAND21
from openexpose.body.mediapipe import EYE_CORNERS, FACE_MESH_68, POSE
from openexpose.body.model import BodyModel
from openexpose.formats.atomic import check_writable, write_whole
from openexpose.formats.moments import Moment, is_still, moments
from openexpose.motion import Motion
from openexpose.people import People

Array = np.ndarray
Landmarks = list[dict[str, float]]

POSE33: Int[Array, "33"] = np.array([INDEX[({**POSE, **EYE_CORNERS})[k]] for k in range(33)])
"""Which of the 144 keypoints are MediaPipe's 33 landmarks of a body."""
_HIPS = np.array([INDEX["left_hip"], INDEX["right_hip"]])
_HANDS = {"left": LEFT_HAND21, "right": RIGHT_HAND21}


def write_mediapipe(out: Path, stem: str, motion: Motion, model: BodyModel) -> list[Path]:
    """Write ``STEM_mediapipe.json`` of a photo, ``STEM_mediapipe/000012.json`` of frame 12 of a clip.

    Keys are those of the Holistic Landmarker's result in JavaScript: lists with an entry a person, in the order of
    ``ids`` (the tracks' numbers). ``poseLandmarks`` [33], ``leftHandLandmarks`` and ``rightHandLandmarks`` [21]: x and
    y in shares of the picture's width and height, z (from the middle of the hips, or the wrist) in about x's unit;
    ``poseWorldLandmarks`` and so on: metres, x right, y down, z away, from the middle of the hips, or the hand's mean.
    Of the face's 478 landmarks we have 68: ``faceLandmarks68`` (z from the tip of the nose's bridge), with their
    numbers in ``faceLandmarks68Indices``. ``visibility`` is our confidence.

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
    folder = out if is_still(motion.clip) else out / f"{stem}_mediapipe"
    check_writable(folder)
    paths = []
    for moment in moments(motion, model):
        paths.append(folder / (f"{stem}_mediapipe.json" if is_still(motion.clip) else f"{moment.frame:06d}.json"))
        document: dict[str, object] = {"frame": moment.frame, "timestampMs": round(1000 * moment.time_s, 3)}
        document["ids"] = list(moment.ids)
        if motion.tracks:
            document |= _landmarks(moment, motion.tracks[0].people)
        write_whole(paths[-1], json.dumps(document).encode())
    return paths


def _landmarks(moment: Moment, camera: People) -> dict[str, object]:
    """All lists of a frame; those that a lone part does not have are empty."""
    part, every = camera.part, range(len(moment))
    found: dict[str, object] = {}
    whole = every if part == "whole" else []
    hips = moment.joints_m[:, _HIPS].mean(1)
    found["poseLandmarks"] = [_shares(moment, k, POSE33, hips[k], camera) for k in whole]
    found["poseWorldLandmarks"] = [_world(moment, k, POSE33, hips[k]) for k in whole]
    for side, table in _HANDS.items():
        seen = every if part in ("whole", f"{side}-hand") else []
        points = moment.joints_m[:, table]
        found[f"{side}HandLandmarks"] = [_shares(moment, k, table, points[k, 0], camera) for k in seen]
        found[f"{side}HandWorldLandmarks"] = [_world(moment, k, table, points[k].mean(0)) for k in seen]
    seen = every if part in ("whole", "face") else []
    nose = moment.joints_m[:, INDEX["nose4"]]
    found["faceLandmarks68"] = [_shares(moment, k, IBUG68, nose[k], camera) for k in seen]
    found["faceLandmarks68Indices"] = list(FACE_MESH_68)
    return found


def _shares(moment: Moment, k: int, table: Array, origin_m: Float[Array, "3"], camera: People) -> Landmarks:
    """Landmarks in shares of the picture."""
    width, height = camera.image_size
    depth = (moment.joints_m[k, table, 2] - origin_m[2]) * camera.focal_px / origin_m[2] / width
    flat = moment.joints_px[k, table] / np.array([width, height])
    return _listed(np.concatenate([flat, depth[:, None]], 1), moment.confidence[k, table])


def _world(moment: Moment, k: int, table: Array, origin_m: Float[Array, "3"]) -> Landmarks:
    """Landmarks in metres."""
    return _listed(moment.joints_m[k, table] - origin_m, moment.confidence[k, table])


def _listed(points: Float[Array, "n 3"], confidence: Float[Array, "n"]) -> Landmarks:
    rows = np.concatenate([points, confidence[:, None]], 1).astype(float)
    names = ("x", "y", "z", "visibility")
    return [dict(zip(names, row, strict=True)) for row in np.round(rows, 6).tolist()]
