"""OpenPose's JSON, read back by the reader of OpenPose's own files."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from openexpose.body.keypoints import BODY25, IBUG68, LEFT_HAND21, RIGHT_HAND21
from openexpose.body.model import BodyModel
from openexpose.fitting.keypoint_files import read_keypoints
from openexpose.formats.export import export
from openexpose.formats.moments import moments
from openexpose.motion import Motion, still

TABLES = {"pose": BODY25, "face": IBUG68, "hand_left": LEFT_HAND21, "hand_right": RIGHT_HAND21}


def test_every_frame_reads_back(tmp_path: Path, motion: Motion, body: BodyModel) -> None:
    paths = export(motion, "openpose", tmp_path, "walk", body)
    assert [path.name for path in paths] == [f"walk_{k:012d}_keypoints.json" for k in range(6)]
    for path, moment in zip(paths, moments(motion, body), strict=True):
        people = json.loads(path.read_text())["people"]
        assert [person["person_id"] for person in people] == [[number] for number in moment.ids]
        for k, person in enumerate(people):
            for part, table in TABLES.items():
                flat = np.array(person[f"{part}_keypoints_2d"]).reshape(-1, 3)[: len(table)]
                np.testing.assert_allclose(flat[:, :2], moment.joints_px[k, table], atol=1e-3)
                np.testing.assert_allclose(flat[:, 2], moment.confidence[k, table], atol=1e-3)
                deep = np.array(person[f"{part}_keypoints_3d"]).reshape(-1, 4)[: len(table)]
                np.testing.assert_allclose(deep[:, :3], moment.joints_m[k, table], atol=1e-4)
            assert len(person["face_keypoints_2d"]) == 210 and person["face_keypoints_2d"][-6:] == [0.0] * 6


def test_our_reader_of_openposes_files_finds_the_same_points(tmp_path: Path, motion: Motion, body: BodyModel) -> None:
    (path,) = export(still(motion.tracks[0].people[:2], "a.jpg"), "openpose", tmp_path, "a", body)
    assert path.name == "a_keypoints.json"
    found = read_keypoints(path, image="a.jpg", image_size=(640, 480))
    (moment,) = moments(still(motion.tracks[0].people[:2], "a.jpg"), body)
    told = np.unique(np.concatenate(list(TABLES.values())))
    for person, points in zip(found, moment.joints_px, strict=True):
        seen = person.keypoints_px[:, 2] > 0
        np.testing.assert_array_equal(np.flatnonzero(seen), told)
        np.testing.assert_allclose(person.keypoints_px[seen, :2], points[seen], atol=1e-2)


@pytest.mark.parametrize(("part", "key"), [("face", "face"), ("right-hand", "hand_right")])
def test_of_a_lone_part_the_rest_is_zero(part: str, key: str, tmp_path: Path, motion: Motion, body: BodyModel) -> None:
    (path,) = export(still(replace(motion.tracks[0].people[:1], part=part), "a.jpg"), "openpose", tmp_path, "a", body)
    (person,) = json.loads(path.read_text())["people"]
    for name, table in TABLES.items():
        confidence = np.array(person[f"{name}_keypoints_2d"])[2 : 3 * len(table) : 3]
        assert (confidence > 0).all() if name == key else (confidence > 0).sum() <= 1, name
