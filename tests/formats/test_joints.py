"""Named joints as JSON and CSV, read back by the json and csv modules and by the reader of other systems' files."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from openexpose.body.keypoints import INDEX, KEYPOINT_NAMES
from openexpose.body.mesh import posed_mesh
from openexpose.body.model import BodyModel
from openexpose.evaluation.files.bodies import Bodies
from openexpose.evaluation.files.read import Kind, read_answers
from openexpose.evaluation.tables import Tables
from openexpose.formats.export import export
from openexpose.motion import Motion, still


def true_joints(motion: Motion, track: int, body: BodyModel) -> dict[int, np.ndarray]:
    """The 144 keypoints of a track by frame."""
    people = motion.tracks[track].people
    joints = posed_mesh(body, people.pose, people.betas, people.expression).joints + people.transl[:, None]
    return dict(zip(motion.tracks[track].frames.tolist(), joints, strict=True))


def test_json_reads_back(tmp_path: Path, motion: Motion, body: BodyModel) -> None:
    (path,) = export(motion, "joints-json", tmp_path, "walk", body)
    document = json.loads(path.read_text())
    assert document["joint_names"] == list(KEYPOINT_NAMES)
    assert document["clip"] == {"name": "walk.mp4", "fps": 25.0, "frames": 6}
    assert [frame["frame"] for frame in document["frames"]] == list(range(6))
    assert [[person["id"] for person in frame["people"]] for frame in document["frames"]] == [
        [1], [1], [1, 3], [1, 3], [1], [1, 3],
    ]  # fmt: skip
    for track in range(2):
        for frame, joints in true_joints(motion, track, body).items():
            told = document["frames"][frame]
            person = next(person for person in told["people"] if person["id"] == motion.tracks[track].id)
            assert told["time_s"] == pytest.approx(frame / 25)
            np.testing.assert_allclose(person["joints"], joints, atol=1e-5)
            pixels = np.array(person["keypoints_2d"])
            np.testing.assert_allclose(pixels[:, :2], 700 * joints[:, :2] / joints[:, 2:] + [320, 240], atol=0.02)
            row = np.searchsorted(motion.tracks[track].frames, frame)
            np.testing.assert_allclose(pixels[:, 2], motion.tracks[track].people.joint_confidence[row], atol=1e-4)


def test_csv_reads_back(tmp_path: Path, motion: Motion, body: BodyModel) -> None:
    (path,) = export(motion, "joints-csv", tmp_path, "walk", body)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(int(row["frame"]), int(row["id"])) for row in rows] == [
        (0, 1), (1, 1), (2, 1), (2, 3), (3, 1), (3, 3), (4, 1), (5, 1), (5, 3),
    ]  # fmt: skip
    for row in rows:
        joints = true_joints(motion, int(row["id"] == "3"), body)[int(row["frame"])]
        read = [[float(row[f"{name}_{axis}_m"]) for axis in "xyz"] for name in KEYPOINT_NAMES]
        np.testing.assert_allclose(read, joints, atol=1e-5)
        x, y, z = joints[INDEX["left_pinky"]]
        assert float(row["left_pinky_x_px"]) == pytest.approx(700 * x / z + 320, abs=0.02)
        assert float(row["left_pinky_y_px"]) == pytest.approx(700 * y / z + 240, abs=0.02)
        assert 0.1 <= float(row["left_pinky_confidence"]) <= 1


def test_of_a_lone_part_only_its_joints_are_told(tmp_path: Path, motion: Motion, body: BodyModel) -> None:
    hand = still(replace(motion.tracks[0].people[:1], part="left-hand"), "a.jpg")
    (path,) = export(hand, "joints-json", tmp_path, "a", body)
    document = json.loads(path.read_text())
    assert len(document["joint_names"]) == len(document["frames"][0]["people"][0]["joints"]) == 21
    (path,) = export(hand, "joints-csv", tmp_path, "a", body)
    assert len(path.read_text().splitlines()[0].split(",")) == 4 + 6 * 21


def test_a_frame_of_it_is_named_joints_to_the_evaluation(tmp_path: Path, motion: Motion, body: BodyModel) -> None:
    (path,) = export(motion, "joints-json", tmp_path, "walk", body)
    document = json.loads(path.read_text())
    frame = document["frames"][2] | {"joint_names": document["joint_names"]}
    frame["people"] = [person | {"joint_names": document["joint_names"]} for person in frame["people"]]
    (tmp_path / "one.json").write_text(json.dumps(frame))
    read = read_answers(tmp_path / "one.json", Kind.JSON, scale=1.0, bodies=Bodies(Tables()))
    np.testing.assert_allclose(read[1].joints_m, true_joints(motion, 1, body)[2], atol=1e-5)
