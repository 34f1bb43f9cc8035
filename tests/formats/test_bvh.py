"""BVH files, read back by bvhio."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

bvhio = pytest.importorskip("bvhio")

from tests.body.toy import toy_model  # noqa: E402
from tests.formats.dancing import FPS, dance, dancer, freebody, true_joints  # noqa: E402

from openexpose.body.keypoints import INDEX, JOINT_NAMES  # noqa: E402
from openexpose.body.mesh import keypoints  # noqa: E402
from openexpose.body.model import BodyModel  # noqa: E402
from openexpose.errors import InputError  # noqa: E402
from openexpose.formats.bvh import write_bvh  # noqa: E402
from openexpose.geometry.rotation import rotvec_to_matrix  # noqa: E402
from openexpose.motion import Clip, Track  # noqa: E402
from openexpose.people import zero_pose  # noqa: E402


def read_back(path: Path, frames: int) -> dict[str, np.ndarray]:
    """Place of every joint in every frame, metres."""
    root = bvhio.readAsHierarchy(str(path))
    places: dict[str, list[np.ndarray]] = {}
    for frame in range(frames):
        root.loadPose(frame)
        for joint, _, _ in root.layout():
            places.setdefault(joint.Name, []).append(np.array(joint.PositionWorld) / 100.0)
    return {name: np.stack(place) for name, place in places.items()}


def test_joints_are_where_they_were_in_every_frame(tmp_path: Path) -> None:
    model = freebody()
    motion = dance(model)
    for track in motion.tracks:
        write_bvh(tmp_path / "a.bvh", motion.clip, track, model)
        found = read_back(tmp_path / "a.bvh", len(track.frames))
        assert set(found) == set(JOINT_NAMES)
        joints = np.stack([found[name] for name in JOINT_NAMES], 1)
        np.testing.assert_allclose(joints, true_joints(track.people, model), atol=1e-4)


def test_mixamos_names_are_those_of_the_same_joints(tmp_path: Path) -> None:
    model = freebody()
    motion = dance(model, frames=12)
    track = motion.tracks[0]
    write_bvh(tmp_path / "a.bvh", motion.clip, track, model, names="mixamo")
    found = read_back(tmp_path / "a.bvh", len(track.frames))
    assert len(found) == 52 and all(name.startswith("mixamorig:") for name in found)
    truth = true_joints(track.people, model)
    for theirs, ours in (
        ("Hips", "pelvis"),
        ("Spine2", "spine3"),
        ("Head", "head"),
        ("LeftShoulder", "left_collar"),
        ("LeftArm", "left_shoulder"),
        ("RightForeArm", "right_elbow"),
        ("RightHand", "right_wrist"),
        ("LeftHandThumb3", "left_thumb3"),
        ("RightHandPinky2", "right_pinky2"),
        ("LeftUpLeg", "left_hip"),
        ("RightLeg", "right_knee"),
        ("RightFoot", "right_ankle"),
        ("LeftToeBase", "left_foot"),
    ):
        np.testing.assert_allclose(found[f"mixamorig:{theirs}"], truth[:, INDEX[ours]], atol=1e-4)


def test_the_file_says_its_frames_and_rests_in_the_zero_pose(tmp_path: Path) -> None:
    model = freebody()
    motion = dance(model)
    frames, people = motion.tracks[1].frames, motion.tracks[1].people
    track = Track(4, frames, replace(people, pose=zero_pose(len(frames))))
    write_bvh(tmp_path / "a.bvh", motion.clip, track, model, fps=50.0)
    read = bvhio.readAsBvh(str(tmp_path / "a.bvh"))
    assert read.FrameTime == pytest.approx(0.02) and read.FrameCount == 21
    assert read.Root.Channels[:3] == ["Xposition", "Yposition", "Zposition"]
    assert read.Root.Channels[3:] == ["Zrotation", "Xrotation", "Yrotation"] and not any(read.Root.Offset)
    ends = {joint.Name: np.array(joint.EndSite) for joint, _, _ in read.Root.layout() if not joint.Children}
    assert len(ends) == 15, "two feet, ten fingers, jaw and eyes"
    rest = keypoints(model, zero_pose(1), people.betas[:1], np.zeros((1, 20)))[0]
    tip = rest[INDEX["left_index"]] - rest[INDEX["left_index3"]]
    np.testing.assert_allclose(ends["left_index3"] / 100, tip, atol=1e-4)
    chin = rest[INDEX["contour_middle"]] - rest[INDEX["jaw"]]
    np.testing.assert_allclose(ends["jaw"] / 100, chin, atol=1e-4)


@pytest.mark.parametrize("angle_deg", [90.0, -90.0, 89.9999, 180.0])
def test_no_rotation_is_lost_where_axes_coincide(angle_deg: float, tmp_path: Path) -> None:
    model = still_faced(toy_model())
    frames = np.arange(4)
    rotvec = np.random.default_rng(3).normal(0, 0.5, (4, 55, 3))
    turn = rotvec_to_matrix(np.array([np.radians(angle_deg), 0.0, 0.0]))
    about_z, about_y = (rotvec_to_matrix(rotvec * axis) for axis in ((0, 0, 1), (0, 1, 0)))
    people = replace(dancer(frames, model), pose=(about_z @ turn @ about_y).astype(np.float32))
    write_bvh(tmp_path / "a.bvh", Clip("a", frames / FPS, FPS), Track(1, frames, people), model)
    found = read_back(tmp_path / "a.bvh", 4)
    joints = np.stack([found[name] for name in JOINT_NAMES], 1)
    np.testing.assert_allclose(joints, true_joints(people, model), atol=1e-4)


def test_angles_do_not_jump(tmp_path: Path) -> None:
    """Somebody who turns round and round: the angle goes on beyond 180 degrees."""
    model = toy_model()
    frames = np.arange(60)
    people = dancer(frames, model)
    write_bvh(tmp_path / "a.bvh", Clip("a", frames / FPS, FPS), Track(1, frames, people), model)
    text = (tmp_path / "a.bvh").read_text().split("Frame Time: 0.04\n")[1]
    rows = np.array([[float(word) for word in line.split()] for line in text.splitlines()])
    assert rows.shape == (60, 6 + 3 * 54)
    assert rows[-1, 5] - rows[0, 5] > 700 and np.abs(np.diff(rows[:, 3:], axis=0)).max() < 45


def still_faced(model: BodyModel) -> BodyModel:
    """Without joints that expressions move: a bone of a BVH file has one length."""
    return replace(model, joint_expression_dirs=0.0 * model.joint_expression_dirs)


def test_bad_input(tmp_path: Path) -> None:
    model = toy_model()
    motion = dance(model)
    with pytest.raises(InputError, match="smplx or mixamo"):
        write_bvh(tmp_path / "a.bvh", motion.clip, motion.tracks[0], model, names="unreal")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="frame rate"):
        write_bvh(tmp_path / "a.bvh", motion.clip, motion.tracks[0], model, fps=-1.0)
    with pytest.raises(InputError, match="cannot be written"):
        write_bvh(tmp_path / "no" / "a.bvh", motion.clip, motion.tracks[0], model)
    assert not list(tmp_path.iterdir())
