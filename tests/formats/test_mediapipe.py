"""MediaPipe's JSON, read back by the reader of MediaPipe's own results."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from openexpose.body.keypoints import INDEX, LEFT_HAND21
from openexpose.body.mediapipe import FACE_MESH_68
from openexpose.body.model import BodyModel
from openexpose.fitting.mediapipe import is_mediapipe, mediapipe_keypoints
from openexpose.formats.export import export
from openexpose.formats.mediapipe import POSE33
from openexpose.formats.moments import moments
from openexpose.motion import Motion, still


def test_our_reader_of_mediapipes_results_finds_the_same_points(
    tmp_path: Path, motion: Motion, body: BodyModel
) -> None:
    paths = export(motion, "mediapipe", tmp_path, "walk", body)
    assert [path.name for path in paths] == [f"{k:06d}.json" for k in range(6)]
    for path, moment in zip(paths, moments(motion, body), strict=True):
        document = json.loads(path.read_text())
        assert is_mediapipe(document) and document["ids"] == list(moment.ids)
        assert document["timestampMs"] == pytest.approx(1000 * moment.time_s)
        found = mediapipe_keypoints(document, (640, 480))
        for person, points, confidence in zip(found, moment.joints_px, moment.confidence, strict=True):
            seen = person[:, 2] > 0
            assert seen.sum() == 29 + 2 * 20 - 6, "three knuckles of each hand are among the 33"
            np.testing.assert_allclose(person[seen, :2], points[seen], atol=1e-2)
            np.testing.assert_allclose(person[seen, 2], confidence[seen], atol=1e-5)


def rows(landmarks: list[dict[str, float]]) -> np.ndarray:
    return np.array([[landmark[axis] for axis in "xyz"] for landmark in landmarks])


def test_world_landmarks_are_metres_from_hips_and_hands(tmp_path: Path, motion: Motion, body: BodyModel) -> None:
    path = export(motion, "mediapipe", tmp_path, "walk", body)[2]
    moment = list(moments(motion, body))[2]
    document = json.loads(path.read_text())
    for k in range(2):
        pose = rows(document["poseWorldLandmarks"][k])
        np.testing.assert_allclose(pose[[23, 24]].mean(0), 0, atol=1e-6)
        joints = moment.joints_m[k, POSE33]
        np.testing.assert_allclose(pose - pose[0], joints - joints[0], atol=1e-5)
        hand = rows(document["leftHandWorldLandmarks"][k])
        np.testing.assert_allclose(hand.mean(0), 0, atol=1e-6)
        np.testing.assert_allclose(hand - hand[0], moment.joints_m[k, LEFT_HAND21] - moment.joints_m[k, 20], atol=1e-5)
        flat, hips = rows(document["poseLandmarks"][k]), moment.joints_m[k, [1, 2]].mean(0)
        depth = flat[:, 2] * 640 * hips[2] / 700 + hips[2]
        np.testing.assert_allclose(depth, joints[:, 2], atol=1e-4)


def test_the_33_landmarks_of_a_body_have_their_names() -> None:
    names = "nose left_eye4 left_eye left_eye1 right_eye4 right_eye right_eye1 left_ear right_ear".split()
    assert POSE33[:9].tolist() == [INDEX[name] for name in names]
    assert len(POSE33) == len(set(POSE33)) == 33


def test_of_the_face_only_what_we_have_is_told(tmp_path: Path, motion: Motion, body: BodyModel) -> None:
    face = still(replace(motion.tracks[0].people[:1], part="face"), "a.jpg")
    (path,) = export(face, "mediapipe", tmp_path, "a", body)
    document = json.loads(path.read_text())
    assert document["poseLandmarks"] == document["leftHandLandmarks"] == []
    assert "faceLandmarks" not in document, "readers expect 478 of them"
    assert document["faceLandmarks68Indices"] == list(FACE_MESH_68)
    (moment,) = moments(face, body)
    flat = rows(document["faceLandmarks68"][0])[:, :2] * [640, 480]
    np.testing.assert_allclose(flat[30], moment.joints_px[0, INDEX["nose4"]], atol=1e-3)
