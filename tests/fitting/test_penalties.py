"""Priors as terms of the energy: derivatives, stages, and hands that mirror each other."""

import numpy as np
import pytest

from openexpose.body.keypoints import JOINT_FLIP
from openexpose.fitting.objective import STAGES
from openexpose.fitting.penalties import Priors
from openexpose.geometry.rotation import mirror_rotation, rotvec_to_matrix

PRIORS = Priors.load()


def poses(count: int = 2, spread: float = 0.3) -> np.ndarray:
    return rotvec_to_matrix(spread * np.random.default_rng(3).normal(size=(count, 55, 3)))


@pytest.mark.parametrize(("stage", "spread"), [(0, 0.3), (4, 0.3), (4, 0.9)])
def test_slopes_are_derivatives(stage: int, spread: float) -> None:
    pose, step = poses(spread=spread), 1e-6
    for _, penalty in PRIORS.penalties(STAGES[stage]):
        _, slope, joints = penalty(pose)
        for place in (0, len(joints) // 2, len(joints) - 1):
            for axis in range(3):
                ends = []
                for sign in (1, -1):
                    there = pose.copy()
                    there[:, joints[place]] = pose[:, joints[place]] @ rotvec_to_matrix(sign * step * np.eye(3)[axis])
                    ends.append(penalty(there)[0])
                found = (ends[0] - ends[1]) / (2 * step)
                np.testing.assert_allclose(slope[..., 3 * place + axis], found, atol=1e-4, rtol=1e-4)


def test_the_two_hands_cost_alike() -> None:
    pose = poses()
    mirrored = mirror_rotation(pose)[:, JOINT_FLIP]
    hands = [penalty for _, penalty in PRIORS.penalties(STAGES[4])][1:3]
    here, there = ([np.square(hand(some)[0]).sum(1) for hand in hands] for some in (pose, mirrored))
    np.testing.assert_allclose(here[0], there[1], rtol=1e-6)
    np.testing.assert_allclose(here[1], there[0], rtol=1e-6)
    assert not np.allclose(here[0], here[1])


def test_early_stages_have_the_prior_with_one_minimum() -> None:
    early, late = (PRIORS.penalties(STAGES[k])[0][1](poses())[0] for k in (0, 4))
    np.testing.assert_allclose(0.5 * np.square(early).sum(1), PRIORS.poses.wide.energy(poses()[:, 1:22]))
    np.testing.assert_allclose(0.5 * np.square(late).sum(1), PRIORS.poses.detailed.energy(poses()[:, 1:22]))
    weights = [weight for weight, _ in PRIORS.penalties(STAGES[4])]
    assert weights[0] == STAGES[4].pose and weights[1] == weights[2] == STAGES[4].hand
    assert 2 * weights[3] ** 2 == pytest.approx(3.17 * STAGES[4].pose)


def test_joints_beyond_their_limits_cost_the_same_in_every_stage() -> None:
    pose = np.tile(np.eye(3), (1, 55, 1, 1))
    for stage in STAGES:
        weight, penalty = PRIORS.penalties(stage)[4]
        assert not penalty(pose)[0].any()
        bent = pose.copy()
        high = PRIORS.poses.limits.high[4 - 1, 0]  # left knee, about x
        bent[0, 4] = rotvec_to_matrix(np.array([high + 0.1, 0.0, 0.0]))
        assert weight**2 * np.square(penalty(bent)[0]).sum() == pytest.approx(80.0**2)
