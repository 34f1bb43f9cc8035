"""The energy of fits: its gradient is its derivative, its terms are those of the objective."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from openexpose.body.mesh import joint_transforms, keypoints
from openexpose.body.model import load_body_model
from openexpose.fitting.capsules import capsules_of, overlaps
from openexpose.fitting.descent import Rule, lbfgs, levenberg_marquardt
from openexpose.fitting.energy import Energy
from openexpose.fitting.objective import STAGES, Aim, keypoint_weights
from openexpose.fitting.state import FREE_JOINTS, State
from openexpose.geometry.camera import project_perspective
from openexpose.geometry.rotation import matrix_to_rotvec, right_jacobian, rotvec_to_matrix

MODEL = load_body_model(num_betas=5, num_expression=4)
LEGS = np.array([1, 2, 4, 5])


def stiff_legs(pose: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A penalty: the rotation vectors of the legs."""
    turned = matrix_to_rotvec(pose[:, LEGS])
    slope = np.zeros((len(pose), 4, 3, 4, 3))
    slope[:, range(4), :, range(4)] = np.linalg.inv(right_jacobian(turned)).swapaxes(0, 1)
    return turned.reshape(len(pose), -1), slope.reshape(len(pose), 12, 12), LEGS


def people(count: int = 2, seed: int = 0, spread: float = 0.25) -> State:
    rng = np.random.default_rng(seed)
    pose = rotvec_to_matrix(spread * rng.normal(size=(count, 55, 3)))
    pose[:, 0] = np.diag([1.0, -1.0, -1.0]) @ pose[:, 0]
    betas, expression = 0.5 * rng.normal(size=(count, 5)), 0.3 * rng.normal(size=(count, 4))
    return State(pose, betas, expression, np.array([0.1, 0.2, 4.0]) + 0.2 * rng.normal(size=(count, 3)))


def aim_at(state: State, focal: float = 900.0) -> Aim:
    """What a camera sees of people."""
    points = keypoints(MODEL, state.pose, state.betas, state.expression).astype(float) + state.transl[:, None]
    seen = project_perspective(points, focal, np.array([320.0, 240.0]))
    confidence = np.random.default_rng(5).uniform(0.3, 1.0, (len(state), 144, 1))
    size = np.ptp(seen, axis=1).max(-1)
    centre = np.tile([320.0, 240.0], (len(state), 1))
    return Aim(np.concatenate([seen, confidence], -1), np.full(len(state), focal), centre, size)


@pytest.mark.parametrize("stage", [1, 3, 4])
def test_the_gradient_is_the_energys_derivative(stage: int) -> None:
    state, weights = people(seed=1, spread=0.6), STAGES[stage]
    aim = aim_at(people())
    if stage == 3:
        aim = replace(aim, answer=people().pose, answer_betas=people().betas)
    energy = Energy(MODEL, aim, weights, ((3.0, stiff_legs),))
    joints = joint_transforms(MODEL, state.pose, state.betas, state.expression)[1]
    assert (overlaps(capsules_of(MODEL), joints.astype(float)).depth > 0.0).any(), "some capsules overlap"
    told, rng = energy.gradient(state), np.random.default_rng(0)
    for _ in range(12):
        way = rng.normal(size=(len(state), state.layout.size))
        step = 1e-5
        found = (energy(state.moved(step * way)) - energy(state.moved(-step * way))) / (2 * step)
        np.testing.assert_allclose(found, (told * way).sum(1), rtol=2e-4)


def test_the_energy_is_the_objectives() -> None:
    """Term by term, as the objective's docstring has it."""
    state, weights = people(seed=2), STAGES[3]
    answer, betas = people(seed=4).pose, people(seed=4).betas
    aim = replace(aim_at(people()), answer=answer, answer_betas=betas)
    joints = joint_transforms(MODEL, state.pose, state.betas, state.expression)[1].astype(float)
    points = keypoints(MODEL, state.pose, state.betas, state.expression).astype(float) + state.transl[:, None]
    expected = np.zeros(2)
    for k in range(2):
        flat = project_perspective(points[k], aim.focal_px[k], aim.principal_px[k])
        for i in range(144):
            fine = 0.1 if 25 <= i < 55 or 66 <= i < 76 else 0.0 if i >= 76 else 1.0
            weight = 0.0 if i in (1, 2, 12) else fine * aim.keypoints_px[k, i, 2]
            squared = np.square((flat[i] - aim.keypoints_px[k, i, :2]) * 1000.0 / aim.size_px[k]).sum()
            expected[k] += weight**2 * 100.0**2 * squared / (100.0**2 + squared)
        jaw = matrix_to_rotvec(state.pose[k, 22])
        expected[k] += np.square(np.array([47.8, 478.0, 478.0]) * jaw).sum()
        expected[k] += 25.0 * (np.square(state.betas[k]).sum() + np.square(state.expression[k]).sum())
        expected[k] += 4.0 * np.square(matrix_to_rotvec(state.pose[k, LEGS])).sum()
        deep = overlaps(capsules_of(MODEL), joints[k : k + 1]).depth
        away = matrix_to_rotvec(answer[k].swapaxes(1, 2) @ state.pose[k])
        expected[k] += np.square(48.0 * np.delete(away, [23, 24], 0)).sum()
        expected[k] += np.square(20.0 * (state.betas[k] - betas[k])).sum()
        expected[k] += np.square(0.01 * deep[deep > 0] / 0.002).sum()
    found = Energy(MODEL, aim, weights, ((2.0, stiff_legs),))(state)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize(("descend", "count", "steps"), [(levenberg_marquardt, 3, 40), (lbfgs, 1, 150)])
def test_steps_find_what_was_seen(descend: Callable, count: int, steps: int) -> None:
    truth = people(count, spread=0.15)
    aim, easy = aim_at(truth), replace(STAGES[4], shape=0.1, jaw=(1.0, 1.0, 1.0), collision=0.0)
    rng = np.random.default_rng(1)
    begin = truth.moved(0.08 * rng.normal(size=(count, truth.layout.size)))
    energy = Energy(MODEL, aim, easy, ())
    found, values, taken = descend(energy, begin, Rule(steps, 1e-6))
    assert (values < 1e-2 * energy(begin)).all() and (taken > 2).all()
    points = keypoints(MODEL, found.pose, found.betas, found.expression).astype(float) + found.transl[:, None]
    seen = np.flatnonzero(keypoint_weights(easy, aim.keypoints_px[..., 2]).all(0))
    assert np.abs(aim.missed(points[:, seen], seen)).mean() < 4.0


def test_each_person_is_fitted_as_if_alone_and_other_joints_stay() -> None:
    truth = people(3, spread=0.15)
    aim = aim_at(truth)
    begin = truth.moved(0.05 * np.random.default_rng(1).normal(size=(3, truth.layout.size)))
    energy = Energy(MODEL, aim, STAGES[3], ((2.0, stiff_legs),), free=np.array([0, 16, 17]))
    together, values, steps = levenberg_marquardt(energy, begin, Rule(12))
    for k in range(3):
        rows = np.array([k])
        alone, value, step = levenberg_marquardt(energy.of(rows), begin[rows], Rule(12))
        assert step[0] == steps[k]
        np.testing.assert_allclose(value[0], values[k], rtol=1e-9)
        np.testing.assert_allclose(alone.pose[0], together.pose[k], atol=1e-9)
    stay = np.setdiff1d(FREE_JOINTS, energy.free)
    np.testing.assert_allclose(together.pose[:, stay], begin.pose[:, stay], atol=1e-12)


def test_the_jacobian_of_rotation_vectors() -> None:
    rng = np.random.default_rng(0)
    vector = rng.normal(size=(20, 3)) * np.logspace(-6, 0, 20)[:, None]
    jacobian, step = right_jacobian(vector), 1e-6
    for axis in range(3):
        there = rotvec_to_matrix(vector + step * np.eye(3)[axis])
        back = rotvec_to_matrix(vector - step * np.eye(3)[axis])
        turned = matrix_to_rotvec(np.swapaxes(back, -1, -2) @ there) / (2 * step)
        np.testing.assert_allclose(jacobian[..., axis], turned, atol=1e-6)
