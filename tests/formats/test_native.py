"""The native files: what they hold, that they read back, and that they appear whole."""

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from openexpose.body.keypoints import INDEX, KEYPOINT_NAMES
from openexpose.errors import InputError
from openexpose.formats import native
from openexpose.geometry.rotation import rotvec_to_matrix
from openexpose.people import POSE_SLICES, People


@pytest.fixture
def people() -> People:
    rng = np.random.default_rng(0)
    count = 2
    return People(
        pose=rotvec_to_matrix(rng.normal(0, 0.6, (count, 55, 3))).astype(np.float32),
        betas=rng.normal(size=(count, 10)).astype(np.float32),
        expression=rng.normal(size=(count, 20)).astype(np.float32),
        transl=rng.normal((0, 0, 4), 0.1, (count, 3)).astype(np.float32),
        score=np.float32([0.9, 0.2]),
        bbox_xyxy=np.float32([[10, 20, 110, 320], [200, 30, 300, 310]]),
        part_confidence=rng.random((count, 4), np.float32),
        joint_confidence=rng.random((count, 144), np.float32),
        crop_centre_px=rng.random((count, 2), np.float32) * 300,
        crop_side_px=np.float32([380, 350]),
        crop_camera=np.float32([[0.9, 0.01, -0.02], [0.8, 0.0, 0.1]]),
        focal_px=700.0,
        principal_px=np.array([320.0, 240.0]),
        image_size=(640, 480),
    )


@pytest.fixture
def joints_m(people: People) -> np.ndarray:
    return people.transl[:, None] + np.random.default_rng(1).normal(0, 0.3, (len(people), 144, 3))


def written_json(path: Path, people: People, joints_m: np.ndarray) -> dict:
    native.write_json(path, people, joints_m, image_name="a.jpg", focal_source="default")
    return json.loads(path.read_text())


def test_json_names_every_joint_and_projects_it(tmp_path: Path, people: People, joints_m: np.ndarray) -> None:
    document = written_json(tmp_path / "a.json", people, joints_m)
    assert document["image"] == {"name": "a.jpg", "width": 640, "height": 480}
    assert len(document["people"]) == 2
    for index, person in enumerate(document["people"]):
        assert list(person["joints_2d"]) == list(person["joints_3d"]) == list(KEYPOINT_NAMES)
        x, y, z = np.array(list(person["joints_3d"].values())).T
        projected = np.array(list(person["joints_2d"].values()))
        np.testing.assert_allclose(projected[:, 0], 700 * x / z + 320, atol=0.02)
        np.testing.assert_allclose(projected[:, 1], 700 * y / z + 240, atol=0.02)
        np.testing.assert_allclose(projected[:, 2], people.joint_confidence[index], atol=1e-4)
        assert list(person["confidence"]) == ["body", "left_hand", "right_hand", "face"]
        assert person["bbox_xyxy"] == people.bbox_xyxy[index].tolist()
        assert person["camera"]["perspective"]["focal_px"] == 700.0
        assert person["camera"]["weak_perspective"]["s"] == pytest.approx(float(people.crop_camera[index, 0]))


@pytest.mark.parametrize(("part", "count", "name"), [("face", 68, "nose1"), ("left-hand", 21, "left_thumb")])
def test_json_of_a_lone_part_holds_only_its_joints(
    tmp_path: Path, people: People, joints_m: np.ndarray, part: str, count: int, name: str
) -> None:
    person = written_json(tmp_path / "a.json", replace(people, part=part), joints_m)["people"][0]
    assert len(person["joints_2d"]) == len(person["joints_3d"]) == count
    assert person["joints_3d"][name] == pytest.approx(joints_m[0, INDEX[name]].tolist(), abs=1e-5)


def test_an_unknown_part_is_refused(tmp_path: Path, people: People, joints_m: np.ndarray) -> None:
    with pytest.raises(InputError, match="foot"):
        written_json(tmp_path / "a.json", replace(people, part="foot"), joints_m)
    with pytest.raises(InputError, match="foot"):
        native.write_npz(tmp_path / "a.npz", replace(people, part="foot"), image_name="a", focal_source="exif")
    assert not list(tmp_path.iterdir())


def test_nobody_is_an_empty_list(tmp_path: Path, people: People, joints_m: np.ndarray) -> None:
    assert written_json(tmp_path / "a.json", people[:0], joints_m[:0])["people"] == []
    native.write_npz(tmp_path / "a.npz", people[:0], image_name="a.jpg", focal_source="exif")
    assert len(native.read_npz(tmp_path / "a.npz")) == 0


def test_joints_of_the_wrong_shape_are_refused(tmp_path: Path, people: People, joints_m: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"\(1, 144, 3\)"):
        written_json(tmp_path / "a.json", people, joints_m[:1])


def test_names_with_quotes_and_surrogates_survive(tmp_path: Path, people: People, joints_m: np.ndarray) -> None:
    name = 'a "b" [ 1,  2 ] é \udcff.jpg'
    native.write_json(tmp_path / "a.json", people, joints_m, image_name=name, focal_source="given")
    assert json.loads((tmp_path / "a.json").read_text())["image"]["name"] == name


def test_npz_reads_back_exactly(tmp_path: Path, people: People) -> None:
    native.write_npz(tmp_path / "a.npz", people, image_name="a.jpg", focal_source="default")
    back = native.read_npz(tmp_path / "a.npz")
    for field in fields(People):
        np.testing.assert_array_equal(getattr(back, field.name), getattr(people, field.name), field.name)


def test_npz_describes_itself_without_pickle(tmp_path: Path, people: People) -> None:
    native.write_npz(tmp_path / "a.npz", people, image_name="a.jpg", focal_source="default")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as npz:
        arrays = {name: npz[name] for name in npz.files}
    assert not any(array.dtype.hasobject for array in arrays.values())
    joints = {"global_orient": 1, "body_pose": 21, "left_hand_pose": 15, "right_hand_pose": 15, "jaw_pose": 1}
    for name, count in {**joints, "leye_pose": 1, "reye_pose": 1}.items():
        assert arrays[name].shape == (2, count, 3)
        assert arrays[f"{name}_rotmat"].shape == (2, count, 3, 3)
        np.testing.assert_allclose(rotvec_to_matrix(arrays[name].astype(float)), arrays[f"{name}_rotmat"], atol=1e-6)
        np.testing.assert_array_equal(arrays[f"{name}_rotmat"], people.pose[:, POSE_SLICES[name]])
    assert bool(arrays["flat_hand_mean"]) is True
    assert "metres" in str(arrays["units"])
    assert str(arrays["body_model"]) == "freebody"
    assert arrays["joint_names"].tolist() == list(KEYPOINT_NAMES)
    assert arrays["crop_camera"].shape == (2, 3)
    assert arrays["focal_px"] == 700.0


def test_unreadable_npz_are_told(tmp_path: Path, people: People) -> None:
    with pytest.raises(InputError, match="not a file"):
        native.read_npz(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(InputError, match="does not read as npz"):
        native.read_npz(tmp_path / "text.npz")
    np.savez(tmp_path / "other.npz", betas=np.zeros(3))
    with pytest.raises(InputError, match="global_orient_rotmat"):
        native.read_npz(tmp_path / "other.npz")
    native.write_npz(tmp_path / "a.npz", people, image_name="a.jpg", focal_source="default")
    content = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="does not read as npz"):
        native.read_npz(tmp_path / "cut.npz")
    with np.load(tmp_path / "a.npz") as npz:
        np.savez(tmp_path / "mean.npz", **{**npz, "flat_hand_mean": np.array(False)})
    with pytest.raises(InputError, match="flat_hand_mean"):
        native.read_npz(tmp_path / "mean.npz")


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path, people: People, joints_m: np.ndarray) -> None:
    (tmp_path / "a.json").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        written_json(tmp_path / "a.json", people, joints_m)
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
