"""The priors of the fit: right derivatives, likely poses below unlikely ones, no jumps, limbs that bend one way."""

from importlib.resources import files

import numpy as np
import pytest

from openexpose.body.keypoints import INDEX
from openexpose.body.mesh import joint_transforms
from openexpose.body.model import load_body_model
from openexpose.errors import InputError
from openexpose.fitting.prior import PosePrior, load_priors, mixture
from openexpose.geometry.rotation import rotvec_to_matrix

PRIORS = load_priors()
BOTH = (PRIORS.wide, PRIORS.detailed)


def pose_of(**joints_deg):
    """[1, 21, 3, 3]: rotation vectors of some joints in degrees, the others at rest."""
    vectors = np.zeros((1, 21, 3))
    for name, vector in joints_deg.items():
        vectors[0, INDEX[name] - 1] = np.radians(vector)
    return rotvec_to_matrix(vectors)


STANDING = {"left_shoulder": (0, 0, -70), "right_shoulder": (0, 0, 70), "left_elbow": (0, -20, 0)}
STANDING |= {"right_elbow": (0, 20, 0), "left_knee": (8, 0, 0), "right_knee": (8, 0, 0)}
WALKING = STANDING | {"left_hip": (-28, 0, 0), "right_hip": (15, 0, 0), "right_knee": (35, 0, 0)}
SITTING = STANDING | {"left_hip": (-85, 0, 5), "right_hip": (-85, 0, -5), "left_knee": (85, 0, 0)}
SITTING |= {"right_knee": (85, 0, 0)}


def random_poses(count, spread=0.5, seed=0):
    return rotvec_to_matrix(np.random.default_rng(seed).normal(0, spread, (count, 21, 3)))


def numeric(function, pose, step=1e-6):
    """Central differences [n, r, 63] of residuals by turns of each joint in its own frame."""
    columns = []
    for joint in range(21):
        for axis in range(3):
            ends = []
            for sign in (1.0, -1.0):
                turned = pose.copy()
                turned[:, joint] = turned[:, joint] @ rotvec_to_matrix(sign * step * np.eye(3)[axis])
                ends.append(function(turned)[0])
            columns.append((ends[0] - ends[1]) / (2 * step))
    return np.stack(columns, -1)


@pytest.mark.parametrize("function", [PRIORS.wide.residuals, PRIORS.detailed.residuals, PRIORS.limits.hinge_residuals])
def test_derivatives_equal_finite_differences(function):
    pose = random_poses(3)
    pose[0, 15] = rotvec_to_matrix(np.array([0.3, 2.7, 0.4]))  # read twice
    np.testing.assert_allclose(function(pose)[1], numeric(function, pose), atol=2e-6, rtol=1e-6)


def test_derivative_of_the_box_equals_finite_differences():
    pose = random_poses(3, spread=1.2)
    residuals, slopes = PRIORS.limits.residuals(pose)
    assert (residuals != 0).sum() > 20
    np.testing.assert_allclose(slopes, numeric(PRIORS.limits.residuals, pose), atol=1e-5)


@pytest.mark.parametrize("prior", BOTH)
def test_energy_is_half_the_squared_residuals(prior):
    pose = random_poses(4)
    np.testing.assert_allclose(prior.energy(pose), 0.5 * (prior.residuals(pose)[0] ** 2).sum(1))


def test_energy_is_the_negative_log_density_of_the_nearest_gaussian():
    rng = np.random.default_rng(3)
    half = rng.normal(0, 0.1, (2, 63, 63))
    covariances = half @ half.swapaxes(1, 2) + 0.05 * np.eye(63)
    means, weights = rng.normal(0, 0.2, (2, 63)), np.array([0.3, 0.7])
    centres = rotvec_to_matrix(rng.normal(0, 1, (21, 3)))
    x = rng.normal(0, 0.3, (6, 21, 3))
    log_p = np.empty((6, 2))
    for k in range(2):
        apart = x.reshape(6, 63) - means[k]
        mahalanobis = (apart * np.linalg.solve(covariances[k], apart.T).T).sum(1)
        log_p[:, k] = np.log(weights[k]) - 0.5 * mahalanobis - 0.5 * np.linalg.slogdet(covariances[k])[1]
    energy = mixture(centres, weights, means, covariances).energy(centres @ rotvec_to_matrix(x))
    difference = energy + log_p.max(1)
    np.testing.assert_allclose(difference, difference[0], atol=1e-8)


@pytest.mark.parametrize("prior", BOTH)
@pytest.mark.parametrize("likely", [STANDING, WALKING, SITTING])
def test_likely_poses_are_cheap_and_broken_ones_dear(prior, likely):
    energy = prior.energy(pose_of(**likely))[0]
    assert energy < 2 * 31.5
    for broken in (
        {"left_knee": (-60, 0, 0)},
        {"right_knee": (20, 0, 60)},
        {"left_elbow": (0, 80, 0)},
        {"spine2": (-60, 0, 0)},
        {"head": (0, 130, 0)},
        {"left_wrist": (0, 90, 0)},
    ):
        assert prior.energy(pose_of(**(likely | broken)))[0] > energy + 5, broken


def test_the_mixture_charges_combinations_more_than_the_single_gaussian():
    """Legs that swing as in walking together with the hips of sitting: each joint is likely, not all of them."""
    odd = WALKING | {"left_hip": (-85, 0, 0), "right_hip": (30, 0, 0), "left_knee": (0, 0, 0)}
    gain = [prior.energy(pose_of(**odd))[0] - prior.energy(pose_of(**WALKING))[0] for prior in BOTH]
    assert gain[1] > gain[0]


@pytest.mark.parametrize("prior", BOTH)
@pytest.mark.parametrize("joint", ["left_shoulder", "left_knee", "right_wrist"])
def test_no_jump_where_a_joint_turns_past_half_a_turn(prior, joint):
    axis = np.array([0.36, 0.48, -0.8])
    degrees = np.arange(100.0, 260.0, 0.25)
    pose = np.repeat(pose_of(**STANDING), len(degrees), 0)
    pose[:, INDEX[joint] - 1] = rotvec_to_matrix(np.radians(degrees)[:, None] * axis)
    energy, (residuals, slopes) = prior.energy(pose), prior.residuals(pose)
    steepest = np.abs(np.einsum("nr,nrk->nk", residuals, slopes)).max()
    assert np.isfinite(slopes).all()
    assert np.abs(slopes).max() < 100
    assert np.abs(np.diff(energy)).max() < 3 * steepest * np.radians(0.25)


def test_box_has_no_jump_at_half_a_turn():
    degrees = np.arange(100.0, 330.0, 0.05)
    pose = np.repeat(pose_of(**STANDING), len(degrees), 0)
    pose[:, INDEX["left_knee"] - 1] = rotvec_to_matrix(np.radians(degrees)[:, None] * np.array([1.0, 0.0, 0.0]))
    energy = 0.5 * (PRIORS.limits.residuals(pose)[0] ** 2).sum(1)
    assert np.abs(np.diff(energy)).max() < 0.02 * energy.max()


def test_hinges_cost_more_the_way_limbs_of_freebody_do_not_bend():
    """Which way is told by where ankle and wrist of the body go, not by signs."""
    model = load_body_model()

    def moved(name, axis, degrees, end):
        pose = np.repeat(np.eye(3)[None, None], 55, 1)
        pose[0, INDEX[name]] = rotvec_to_matrix(np.radians(degrees) * np.eye(3)[axis])
        posed = joint_transforms(model, pose, np.zeros((1, model.num_betas)), np.zeros((1, model.num_expression)))[1]
        cost = 0.5 * (PRIORS.limits.hinge_residuals(pose[:, 1:22])[0] ** 2).sum()
        outside = 0.5 * (PRIORS.limits.residuals(pose[:, 1:22])[0] ** 2).sum()
        return (posed[0, INDEX[end]] - model.joint_template[INDEX[end]])[2], cost, outside

    for side in ("left", "right"):
        for degrees in (40.0, -40.0):
            forwards, cost, outside = moved(f"{side}_knee", 0, degrees, f"{side}_ankle")
            assert abs(forwards) > 0.1
            assert (cost > 4) == (outside > 1) == (forwards > 0)  # shins fold backwards
            forwards, cost, outside = moved(f"{side}_elbow", 1, degrees, f"{side}_wrist")
            assert abs(forwards) > 0.05
            assert (cost > 4) == (outside > 1) == (forwards < 0)  # forearms fold forwards
    rest = 0.5 * (PRIORS.limits.hinge_residuals(pose_of())[0] ** 2).sum()
    assert rest == pytest.approx(4.0)


def test_rest_and_usual_poses_are_inside_the_limits():
    for pose in (pose_of(), pose_of(**WALKING), pose_of(**SITTING)):
        assert not PRIORS.limits.residuals(pose)[0].any()


def test_packaged_file_is_small_and_acknowledges_the_data_base():
    path = files("openexpose.fitting") / "data" / "pose_prior.npz"
    content = path.read_bytes()
    assert len(content) < 1_000_000
    with path.open("rb") as file, np.load(file, allow_pickle=False) as npz:
        assert "mocap.cs.cmu.edu" in str(npz["acknowledgement"])
        assert np.linalg.eigvalsh(npz["detailed_covariances"].astype(float)).min() > np.radians(3) ** 2
        assert npz["detailed_weights"].sum() == pytest.approx(1, abs=1e-5)
    assert isinstance(PRIORS.wide, PosePrior)
    assert len(PRIORS.wide.offsets) == 1


def test_unreadable_priors_are_told(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        load_priors(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(InputError, match="not an npz"):
        load_priors(tmp_path / "text.npz")
    with np.load(files("openexpose.fitting") / "data" / "pose_prior.npz") as npz:
        good = dict(npz)
    for change, told in (
        ({"hand_mean": np.zeros(44)}, "hand_mean.*of shape"),
        ({"wide_means": np.zeros((2, 63))}, "wide_.*lengths"),
        ({"wide_covariances": np.zeros((1, 63, 63))}, "no inverse"),
        ({"limits_rad": np.full((2, 21, 3), np.nan)}, "not finite"),
    ):
        np.savez(tmp_path / "bad.npz", **(good | change))
        with pytest.raises(InputError, match=told):
            load_priors(tmp_path / "bad.npz")
    del good["limits_rad"]
    np.savez(tmp_path / "less.npz", **good)
    with pytest.raises(InputError, match="without 'limits_rad'"):
        load_priors(tmp_path / "less.npz")


def test_poses_of_other_shapes_are_told():
    with pytest.raises(InputError, match="21"):
        PRIORS.wide.energy(np.zeros((1, 22, 3, 3)))
