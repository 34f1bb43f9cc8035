"""Learning the priors: mixtures find what made the points, faults are dropped, files carry statistics only."""

import json

import numpy as np
import pytest

from openexpose.body.model import load_body_model
from openexpose.errors import InputError
from openexpose.fitting.prior_training import NOISE_DEG, fit_mixture, fit_priors, usable_poses
from openexpose.geometry.rotation import rotvec_to_matrix
from openexpose.synth.library import default_assets
from openexpose.synth.pose_source import PoseSource
from openexpose.synth.prior import load_pose_prior


def clips_of(folder, poses, frames):
    """Write poses and their clips; returns both paths."""
    starts = np.cumsum([0, *frames[:-1]]).tolist()
    clips = [{"start": start, "frames": count} for start, count in zip(starts, frames, strict=True)]
    np.savez(folder / "poses.npz", poses=poses)
    (folder / "clips.json").write_text(json.dumps({"clips": clips}))
    return folder / "poses.npz", folder / "clips.json"


def test_mixture_finds_the_gaussians_that_made_the_points():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal([0, 0], [0.3, 1.0], (3000, 2)), rng.normal([6, 2], [1.0, 0.5], (1000, 2))])
    shares, means, covariances = fit_mixture(x, np.full(4000, 1 / 4000), 2, np.random.default_rng(1))
    first = int(means[0, 0] > 3)
    noise = np.radians(NOISE_DEG) ** 2
    np.testing.assert_allclose(shares[[first, 1 - first]], [0.75, 0.25], atol=0.01)
    np.testing.assert_allclose(means[[first, 1 - first]], [[0, 0], [6, 2]], atol=0.1)
    np.testing.assert_allclose(np.diag(covariances[first]), [0.09 + noise, 1 + noise], rtol=0.1)


def test_points_count_by_their_weights():
    x = np.array([[0.0], [1.0]]).repeat(50, 0)
    weights = np.repeat([0.9, 0.1], 50) / 50
    _, means, _ = fit_mixture(x, weights, 1, np.random.default_rng(0))
    assert means[0, 0] == pytest.approx(0.1)


def test_faults_are_dropped_and_the_head_is_relative_to_its_clip(tmp_path):
    poses = np.zeros((6, 22, 3))
    poses[:3, 15, 0], poses[3:, 15, 0] = 0.4, -0.2
    poses[2, 4, 0] = -1.0  # a knee bent forwards by 57 degrees
    usable = usable_poses(*clips_of(tmp_path, poses, [3, 3]))
    assert len(usable) == 5
    np.testing.assert_allclose(usable[:, 15], 0, atol=1e-12)
    with pytest.raises(InputError, match="do not cover the 6 poses"):
        usable_poses(*clips_of(tmp_path, poses, [3, 2]))


def test_priors_hold_what_they_were_given(tmp_path):
    rng = np.random.default_rng(5)
    poses = np.zeros((300, 22, 3))
    poses[:, 4, 0] = np.abs(rng.normal(0.8, 0.2, 300))  # the left knee only; mirrored: the right one
    hands = np.load(default_assets() / "hand_poses.npz")["right"].astype(float)
    rest = load_body_model().joint_template[:22].astype(float)
    source = PoseSource(load_pose_prior(default_assets() / "pose_prior.npz"), hands, rest)
    files = clips_of(tmp_path, poses, [300])
    priors = fit_priors(*files, source, tmp_path / "prior.npz", components=2, stances=6, stance_share=0.02)
    x = np.zeros((2, 21, 3))
    x[0, 3, 0] = x[1, 3, 0] = x[1, 4, 0] = 0.8
    one_knee, both = priors.detailed.energy(rotvec_to_matrix(x))
    assert both > one_knee + 20
    with np.load(tmp_path / "prior.npz") as npz:
        assert "mocap.cs.cmu.edu" in str(npz["acknowledgement"])
        assert max(npz[key].size for key in npz.files) < 300 * 63
    assert priors.limits.high[3, 0] >= 1.2
    assert priors.hand_mean.shape == (45,)
