"""The prior learns what it is given and carries its acknowledgement."""

import numpy as np
import pytest

from openexpose.errors import InputError
from openexpose.synth.library import default_assets
from openexpose.synth.prior import fit_pose_prior, load_pose_prior


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
