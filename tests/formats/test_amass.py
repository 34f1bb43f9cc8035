"""AMASS's npz: posed by skinning written anew, people are where they were, upright in a world with z up."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from openexpose.body.mesh import posed_mesh
from openexpose.body.model import BodyModel
from openexpose.errors import InputError
from openexpose.formats.amass import write_amass
from openexpose.motion import Clip, Motion, Track


def rodrigues(rotvec: np.ndarray) -> np.ndarray:
    angle = np.linalg.norm(rotvec)
    x, y, z = rotvec / max(angle, 1e-12)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def joints_of(arrays: dict[str, np.ndarray], frame: int, model: BodyModel) -> np.ndarray:
    """The 55 joints as any reader of AMASS's files finds them: forward kinematics in SMPL-X's order."""
    betas, expression = arrays["betas"][: model.num_betas], arrays["expression"][frame]
    rest = model.joint_template + model.joint_shape_dirs @ betas + model.joint_expression_dirs @ expression
    turns = [rodrigues(rotvec) for rotvec in arrays["poses"][frame].reshape(55, 3)]
    whole, places = [turns[0]], [rest[0]]
    for joint in range(1, 55):
        parent = model.parents[joint]
        whole.append(whole[parent] @ turns[joint])
        places.append(places[parent] + whole[parent] @ (rest[joint] - rest[parent]))
    return np.array(places) + arrays["trans"][frame]


def written(path: Path, *arguments: object) -> dict[str, np.ndarray]:
    write_amass(path, *arguments)  # type: ignore[arg-type]
    with np.load(path, allow_pickle=False) as npz:
        return dict(npz)


def in_the_world(track: Track, model: BodyModel) -> np.ndarray:
    """Joints in a world with x right, y away from the camera, z up."""
    people = track.people
    joints = posed_mesh(model, people.pose, people.betas, people.expression).joints[:, :55] + people.transl[:, None]
    return np.stack([joints[..., 0], joints[..., 2], -joints[..., 1]], -1)


def test_joints_are_where_they_were(tmp_path: Path, motion: Motion, body: BodyModel) -> None:
    for track in motion.tracks:
        arrays = written(tmp_path / "a.npz", motion.clip, track, body)
        frames = track.frames - track.frames[0]
        assert len(arrays["poses"]) == frames[-1] + 1, "gaps are filled"
        read = np.array([joints_of(arrays, frame, body) for frame in frames])
        np.testing.assert_allclose(read, in_the_world(track, body), atol=1e-5)


def test_people_stand_upright_and_look_at_the_camera(tmp_path: Path, motion: Motion, body: BodyModel) -> None:
    track = motion.tracks[0]
    people = replace(track.people, pose=np.tile(np.eye(3, dtype=np.float32), (6, 55, 1, 1)))
    people.pose[:, 0] = np.diag([1.0, -1.0, -1.0])
    arrays = written(tmp_path / "a.npz", motion.clip, replace(track, people=people), body)
    joints = joints_of(arrays, 0, body)
    pelvis, head, toes, ankles = joints[0], joints[15], joints[[10, 11]].mean(0), joints[[7, 8]].mean(0)
    assert head[2] > pelvis[2] + 0.4 and pelvis[1] > 2.0
    assert toes[1] < ankles[1] - 0.05, "toes point to the camera, along -y"


def test_keys_and_shapes_are_those_of_amass(tmp_path: Path, motion: Motion, body: BodyModel) -> None:
    arrays = written(tmp_path / "a.npz", motion.clip, motion.tracks[0], body)
    shapes = {"poses": (6, 165), "trans": (6, 3), "betas": (16,), "expression": (6, 20), "root_orient": (6, 3)}
    shapes |= {"pose_body": (6, 63), "pose_hand": (6, 90), "pose_jaw": (6, 3), "pose_eye": (6, 6)}
    assert {name: arrays[name].shape for name in shapes} == shapes
    assert float(arrays["mocap_frame_rate"]) == float(arrays["mocap_framerate"]) == 25.0
    assert str(arrays["gender"]) == "neutral" and str(arrays["surface_model_type"]) == "smplx"
    np.testing.assert_allclose(arrays["betas"][:10], motion.tracks[0].people.betas[0], atol=1e-6)
    parts = [arrays[f"pose_{part}"] for part in ("body", "jaw", "eye", "hand")]
    np.testing.assert_array_equal(np.concatenate([arrays["root_orient"], *parts], 1), arrays["poses"])
    moves = np.ptp(arrays["poses"], axis=0)
    assert (moves[[0, 63, 66, 69, 75, 120, 164]] > 1e-3).all(), "pelvis, arms, jaw, eyes and fingers move"
    assert np.ptp(arrays["expression"], axis=0).min() > 0


def test_another_frame_rate_is_sampled(tmp_path: Path, motion: Motion, body: BodyModel) -> None:
    arrays = written(tmp_path / "a.npz", motion.clip, motion.tracks[0], body, 50.0)
    assert len(arrays["poses"]) == 11 and float(arrays["mocap_frame_rate"]) == 50.0
    read = np.array([joints_of(arrays, frame, body) for frame in range(0, 11, 2)])
    np.testing.assert_allclose(read, in_the_world(motion.tracks[0], body), atol=1e-5)
    with pytest.raises(InputError, match="frame rate"):
        write_amass(tmp_path / "b.npz", motion.clip, motion.tracks[0], body, 0.0)


def test_a_shape_that_varies_becomes_the_mean_one_and_leaves_the_pelvis(
    tmp_path: Path, motion: Motion, body: BodyModel
) -> None:
    track = motion.tracks[0]
    betas = track.people.betas + np.linspace(-1, 1, 6, dtype=np.float32)[:, None]
    people = replace(track.people, betas=betas)
    track = replace(track, people=people)
    arrays = written(tmp_path / "a.npz", motion.clip, track, body)
    np.testing.assert_allclose(arrays["betas"][:10], betas.mean(0), atol=1e-6)
    pelvis = [joints_of(arrays, frame, body)[0] for frame in range(6)]
    np.testing.assert_allclose(pelvis, in_the_world(track, body)[:, 0], atol=1e-5)


def test_a_photo_is_one_pose(tmp_path: Path, motion: Motion, body: BodyModel) -> None:
    track = Track(1, np.zeros(1, int), motion.tracks[0].people[:1])
    arrays = written(tmp_path / "a.npz", Clip("a.jpg", np.zeros(1), 30.0), track, body)
    assert len(arrays["poses"]) == len(arrays["trans"]) == 1
