"""Sampled poses stay inside the limits; mirroring is an involution; the prior carries its acknowledgement."""

import numpy as np
import pytest

from openexpose.body.keypoints import INDEX
from openexpose.errors import InputError
from openexpose.synth import limits
from openexpose.synth.library import default_assets
from openexpose.synth.pose import _forward, _reach, sample_body_pose, sample_expression, sample_face, sample_hand_pose
from openexpose.synth.prior import fit_pose_prior, load_pose_prior


def test_body_samples_respect_the_limits(stage):
    rng = np.random.default_rng(0)
    poses = np.stack([sample_body_pose(rng, stage.poses) for _ in range(300)])
    assert np.isfinite(poses).all()
    assert (poses >= limits.BODY_LOW - 1e-9).all() and (poses <= limits.BODY_HIGH + 1e-9).all()
    assert poses[:, 1:].std(0).max() > 0.3


def test_hand_samples_respect_the_limits(stage):
    rng = np.random.default_rng(1)
    poses = np.stack([sample_hand_pose(rng, stage.poses) for _ in range(300)])
    assert (poses >= limits.RIGHT_HAND_LOW - 1e-9).all() and (poses <= limits.RIGHT_HAND_HIGH + 1e-9).all()
    assert poses[:, :12, 2].mean() > 0.2  # right fingers close about +z


def test_limits_are_symmetric_and_mirroring_undoes_itself():
    pose = np.random.default_rng(2).normal(size=(22, 3))
    np.testing.assert_array_equal(limits.mirror_body(limits.mirror_body(pose)), pose)
    np.testing.assert_allclose(limits.mirror_body(limits.clip_body(pose)), limits.clip_body(limits.mirror_body(pose)))


@pytest.mark.parametrize("side", [0, 1])
def test_reaching_puts_the_wrist_on_the_target(stage, side):
    rng = np.random.default_rng(3)
    pose, rest = 0.1 * rng.normal(size=(22, 3)), stage.poses.rest
    rotations, joints = _forward(pose, rest)
    shoulder, wrist = INDEX["left_shoulder"] + side, INDEX["left_wrist"] + side
    target = joints[shoulder] + np.array([0.1, -0.2, 0.3])
    pose[shoulder], pose[shoulder + 2] = _reach(side, target, rng, (rotations, joints, rest))
    np.testing.assert_allclose(_forward(pose, rest)[1][wrist], target, atol=0.03)


def test_faces_open_the_mouth_only(stage):
    rng = np.random.default_rng(4)
    faces = [sample_face(rng, 20) for _ in range(200)]
    jaw = np.degrees([face.jaw[0] for face in faces])
    assert jaw.min() >= 0 and 15 < jaw.max() <= 25
    assert max(np.abs(face.expression).max() for face in faces) <= 2


def test_expressions_mix_facial_actions_mostly_on_both_sides(stage):
    rng = np.random.default_rng(6)
    source = stage.poses
    assert source.actions.shape == (len(source.action_names), 20)
    drawn = np.stack([sample_expression(rng, source).expression for _ in range(300)])
    assert (
        np.linalg.norm(drawn, axis=1).mean()
        > 1.3 * np.linalg.norm([sample_face(rng, 20).expression for _ in range(300)], axis=1).mean()
    )
    smile = (
        source.actions[source.action_names.index("mouthSmileLeft")]
        + source.actions[source.action_names.index("mouthSmileRight")]
    )
    assert (drawn @ smile / (smile @ smile)).max() > 0.5


def test_prior_fits_what_it_is_given(tmp_path):
    rng = np.random.default_rng(5)
    poses = np.zeros((400, 22, 3))
    poses[:, 4, 0] = np.abs(rng.normal(0.8, 0.2, 400))  # left knee only
    np.savez(tmp_path / "poses.npz", poses=poses)
    prior = fit_pose_prior(tmp_path / "poses.npz", tmp_path / "prior.npz", rank=4, components=3)
    drawn = np.stack([prior.sample(rng) for _ in range(500)])
    assert abs(drawn[:, 4:6, 0].mean() - 0.4) < 0.08  # half of the time the mirrored knee
    assert np.abs(drawn[:, 6:]).max() < 1e-3
    with np.load(default_assets() / "pose_prior.npz") as npz:
        assert "mocap.cs.cmu.edu" in str(npz["acknowledgement"])


def test_prior_errors(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        load_pose_prior(tmp_path / "none.npz")
    np.savez(tmp_path / "bad.npz", mean=np.zeros(66))
    with pytest.raises(InputError, match="without"):
        load_pose_prior(tmp_path / "bad.npz")
