"""The fit from start to end: people of whom the truth is known are found again, whichever way they face."""

import numpy as np
import pytest

from openexpose.body.keypoints import INDEX, PARTS
from openexpose.body.mesh import keypoints
from openexpose.body.model import load_body_model
from openexpose.errors import InputError
from openexpose.fitting.fit import aim_at, fit
from openexpose.fitting.objective import STAGES, Aim
from openexpose.fitting.observed import Observed
from openexpose.fitting.penalties import Priors
from openexpose.fitting.result import people_of, start_of
from openexpose.fitting.start import begin, turned_round
from openexpose.fitting.state import State
from openexpose.geometry.camera import project_perspective
from openexpose.geometry.procrustes import align_similarity
from openexpose.geometry.rotation import matrix_to_rotvec, rotation_about_z, rotvec_to_matrix

MODEL, PRIORS = load_body_model(num_betas=4, num_expression=3), Priors.load()
FOCAL, SIZE = 900.0, (640, 480)
DETECTED = [*PARTS["body"][12:], *PARTS["left_hand"], *PARTS["right_hand"], *PARTS["face"], 4, 5, 7, 8, 1, 2]


def person(turn_rad: float, roll_rad: float = 0.0, seed: int = 0) -> State:
    """Somebody who stands, turned about the upright axis (0: towards the camera) and in the picture."""
    rng = np.random.default_rng(seed)
    pose = np.tile(np.eye(3), (1, 55, 1, 1))
    pose[0, 1:22] = PRIORS.body_pose @ rotvec_to_matrix(0.12 * rng.normal(size=(21, 3)))
    yaw = rotvec_to_matrix(np.array([0.0, turn_rad, 0.0]))
    pose[0, 0] = rotation_about_z(np.array(roll_rad)) @ np.diag([1.0, -1.0, -1.0]) @ yaw
    return State(pose, 0.3 * rng.normal(size=(1, 4)), np.zeros((1, 3)), np.array([[0.1, 0.1, 4.0]]))


def seen_of(state: State, name: str = "photo.jpg/0") -> Observed:
    """What a perfect detector sees."""
    points = keypoints(MODEL, state.pose, state.betas, state.expression)[0].astype(float) + state.transl[0]
    labels = np.zeros((144, 3))
    labels[DETECTED, :2] = project_perspective(points, FOCAL, np.array(SIZE) / 2)[DETECTED]
    labels[DETECTED, 2] = 1.0
    return Observed(name, labels, SIZE, "openpose")


def aim_of(*states: State) -> Aim:
    return aim_at([seen_of(state) for state in states], np.full(len(states), FOCAL))


def body_error_mm(found: State, truth: State) -> np.ndarray:
    posed = [keypoints(MODEL, s.pose, s.betas, s.expression)[:, :22].astype(float) for s in (found, truth)]
    return 1000 * np.linalg.norm(align_similarity(*posed) - posed[1], axis=-1).mean(-1)


def turned_rad(one: State, other: State) -> np.ndarray:
    """Mean angle between the body's joints."""
    return np.linalg.norm(matrix_to_rotvec(np.swapaxes(one.pose, -1, -2) @ other.pose)[:, :22], axis=-1).mean(1)


def together(*states: State) -> State:
    return State(*(np.concatenate([vars(one)[name] for one in states]) for name in vars(states[0])))


def test_people_are_found_from_the_mean_pose() -> None:
    truth = [person(0.3), person(np.pi - 0.4, seed=1), person(-0.2, roll_rad=2.0, seed=2)]
    fitted = fit(MODEL, PRIORS, aim_of(*truth))
    assert (body_error_mm(fitted.state, together(*truth)) < [25, 25, 25]).all()
    assert (fitted.steps > 5).all() and fitted.seconds > 0
    assert len(fitted.after) == 2 + len(STAGES)
    np.testing.assert_array_equal(fitted.after[-1].pose, fitted.state.pose)
    assert (body_error_mm(fitted.after[0], together(*truth)) > body_error_mm(fitted.state, together(*truth))).all()
    np.testing.assert_allclose(fitted.state.transl[:, 2], 4.0, atol=0.4)


def test_the_fit_from_an_answer_takes_fewer_steps_and_stays_near_it() -> None:
    truth = together(*[person(0.5, seed=3)] * 3)
    answers = truth.moved(0.05 * np.random.default_rng(0).normal(size=(3, truth.layout.size)))
    near = fit(MODEL, PRIORS, aim_of(*[person(0.5, seed=3)] * 3), start=answers)
    far = fit(MODEL, PRIORS, aim_of(person(0.5, seed=3)))
    assert (near.steps < far.steps[0]).all()
    assert (body_error_mm(near.state, truth) < 25).all()
    free = fit(MODEL, PRIORS, aim_of(*[person(0.5, seed=3)] * 3))
    assert (turned_rad(near.state, answers) < 0.6 * turned_rad(free.state, answers)).all()
    apart = [np.abs(one.state.betas - answers.betas).mean(1) for one in (near, free)]
    assert (apart[0] < 0.6 * apart[1]).all()
    np.testing.assert_array_equal(near.after[0].pose, answers.pose)


def test_who_stands_in_profile_is_tried_both_ways() -> None:
    truth = person(np.pi / 2 - 0.1)
    state, unsure = begin(MODEL, aim_of(truth), PRIORS.body_pose)
    assert unsure.tolist() == [True]
    _, sure = begin(MODEL, aim_of(person(0.1)), PRIORS.body_pose)
    assert sure.tolist() == [False]
    points = [keypoints(MODEL, s.pose, s.betas, s.expression)[0] for s in (state, turned_round(state))]
    shoulders = [INDEX["left_shoulder"], INDEX["right_shoulder"]]
    across = [float(np.subtract(*p[shoulders, 0])) for p in points]
    assert across[0] * across[1] < 0 and np.allclose(points[0][0], points[1][0], atol=1e-6)
    assert body_error_mm(fit(MODEL, PRIORS, aim_of(truth)).state, truth)[0] < 40


def test_a_face_alone_is_enough_to_begin_with() -> None:
    truth = person(0.2)
    seen = seen_of(truth)
    labels = seen.keypoints_px.copy()
    labels[:55] = labels[60:76] = 0.0
    fitted = fit(MODEL, PRIORS, aim_at([Observed("photo.jpg/0", labels, SIZE, "coco")], np.array([FOCAL])))
    points = keypoints(MODEL, fitted.state.pose, fitted.state.betas, fitted.state.expression)[0].astype(float)
    found = project_perspective(points + fitted.state.transl[0], FOCAL, np.array(SIZE) / 2)
    use = labels[:, 2] > 0
    assert np.abs(found[use] - labels[use, :2]).mean() < 0.05 * np.ptp(labels[use, 1])


def test_too_little_to_begin_with_is_told() -> None:
    labels = np.zeros((144, 3))
    labels[INDEX["nose"]] = [100.0, 100.0, 1.0]
    labels[INDEX["left_eye"]] = [110.0, 95.0, 1.0]
    aim = aim_at([Observed("photo.jpg/0", labels, SIZE, "coco")], np.array([FOCAL]))
    with pytest.raises(InputError, match="2 keypoints of a body"):
        fit(MODEL, PRIORS, aim)


def test_keypoints_at_one_place_are_told() -> None:
    labels = np.zeros((144, 3))
    labels[PARTS["body"]] = [100.0, 100.0, 1.0]
    with pytest.raises(InputError, match="keypoints that all lie at one place"):
        aim_at([Observed("photo.jpg/0", labels, SIZE, "coco")], np.array([FOCAL]))


def test_the_record_of_fitted_people() -> None:
    truth = person(0.2)
    seen = seen_of(truth)
    people = people_of(MODEL, truth, [seen], FOCAL)
    assert people.body_model == "freebody" and people.image_size == SIZE and len(people) == 1
    np.testing.assert_allclose(people.bbox_xyxy[0], seen.box_xyxy_px)
    np.testing.assert_allclose(people.joint_confidence[0], seen.keypoints_px[:, 2])
    scale, shift = people.crop_camera[0, 0], people.crop_camera[0, 1:]
    assert scale > 0 and np.abs(shift).max() < 2
    again = start_of(people)
    np.testing.assert_allclose(again.pose, truth.pose, atol=1e-6)
    np.testing.assert_allclose(again.transl, truth.transl)
