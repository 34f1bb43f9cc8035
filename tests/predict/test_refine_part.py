"""Refinement of lone parts: derivatives are right, parts are pulled onto what was seen, the unseen stays."""

from dataclasses import replace

import numpy as np
import pytest

from openexpose.body.mesh import keypoints
from openexpose.body.model import BodyModel, load_body_model
from openexpose.geometry.boxes import Crop
from openexpose.geometry.camera import project_perspective
from openexpose.geometry.rotation import matrix_to_rotvec, rotvec_to_matrix
from openexpose.people import zero_pose
from openexpose.predict import refine_part as module
from openexpose.predict.bundle import Seen
from openexpose.predict.collect import Answer
from openexpose.predict.merge import FullCamera, Located
from openexpose.predict.parts import FACE, HAND, PartParameters
from openexpose.predict.refine_part import refine_part

CAMERA = FullCamera(900.0, np.array([400.0, 300.0]))
PARTS = pytest.mark.parametrize("part", ["left_hand", "right_hand", "face"])
LANDMARKS = {"left_hand": 21, "right_hand": 21, "face": 478}


@pytest.fixture(scope="module")
def model() -> BodyModel:
    return load_body_model(num_betas=10, num_expression=20)


def parts(model: BodyModel, part: str, seed: int = 0, count: int = 2) -> tuple[Located, PartParameters]:
    """Hands or faces half a metre before the camera."""
    rng, chain = np.random.default_rng(seed), module._CHAINS[part]
    pose = zero_pose(count).astype(float)
    pose[:, 0] = np.diag([1.0, -1.0, -1.0]) @ rotvec_to_matrix(rng.normal(0, 0.3, (count, 3)))
    if part == "face":
        pose[:, module._JAW] = rotvec_to_matrix(np.array([0.15, 0.0, 0.0]))
    else:
        bend = rng.normal(0, 1, (count, 15, 3)) * 0.6 * chain.spread[1:]
        pose[:, chain.joints[1:]] = rotvec_to_matrix(bend)
    betas, expression = rng.normal(0, 0.5, (count, 10)), np.zeros((count, 20))
    if part == "face":
        expression = rng.normal(0, 0.3, (count, 20))
    root = keypoints(model, pose, betas, expression)[:, chain.root]
    transl = np.array([0.02, -0.03, 0.6]) - root
    return Located(pose, transl), PartParameters(pose, betas, expression, np.ones((count, 3)))


def projected(model: BodyModel, part: str, placed: Located, shape: PartParameters) -> np.ndarray:
    points = keypoints(model, placed.pose, shape.betas, shape.expression) + placed.transl[:, None]
    return project_perspective(points[:, module._CHAINS[part].keypoints], CAMERA.focal_px, CAMERA.principal_px)


def answer_of(
    model: BodyModel, part: str, truth: tuple[Located, PartParameters], start: PartParameters, presence: float = 1.0
) -> Answer:
    """A network that answered ``start`` where its trunk saw the truth."""
    count = len(truth[0].pose)
    crop = Crop(np.tile([400.0, 300.0], (count, 1)), np.full(count, 400.0), np.zeros(count), part == "left_hand")
    landmarks = np.zeros((count, LANDMARKS[part], 3))
    landmarks[:, module._CHAINS[part].landmarks, :2] = crop.from_image(projected(model, part, *truth))
    seen = Seen(np.zeros((count, 1)), landmarks, np.ones(landmarks.shape[:2]), None, np.full(count, presence))
    return Answer(FACE if part == "face" else HAND, crop, seen, start)


def disturbed(model: BodyModel, part: str, truth: tuple[Located, PartParameters]) -> tuple[Located, PartParameters]:
    """The truth with the root 8 degrees off about the camera's axes, without expression or bent fingers."""
    placed, shape = truth
    pose, chain = placed.pose.copy(), module._CHAINS[part]
    pose[:, 0] = rotvec_to_matrix(np.array([0.06, 0.1, 0.08])) @ pose[:, 0]
    pose[:, list(chain.joints[1:])] = np.eye(3)
    start = replace(shape, expression=np.zeros_like(shape.expression))
    roots = [
        keypoints(model, p, shape.betas, e)[:, chain.root]
        for p, e in ((placed.pose, shape.expression), (pose, start.expression))
    ]
    return Located(pose, placed.transl + roots[0] - roots[1] + [0.004, -0.006, 0.01]), replace(start, pose=pose)


@PARTS
def test_a_disturbed_part_is_pulled_onto_its_landmarks(model: BodyModel, part: str) -> None:
    truth = parts(model, part)
    placed, start = disturbed(model, part, truth)
    better, answer = refine_part(model, part, placed, answer_of(model, part, truth, start), CAMERA)
    wanted = projected(model, part, *truth)
    before = np.linalg.norm(projected(model, part, placed, start) - wanted, axis=-1)
    after = np.linalg.norm(projected(model, part, better, answer.parameters) - wanted, axis=-1)
    assert (after.mean(1) < 0.3 * before.mean(1)).all()


@PARTS
def test_what_is_explained_already_and_what_is_not_seen_change_nothing(model: BodyModel, part: str) -> None:
    truth = parts(model, part)
    same, answer = refine_part(model, part, truth[0], answer_of(model, part, truth, truth[1]), CAMERA)
    np.testing.assert_allclose(same.pose, truth[0].pose, atol=1e-3)
    np.testing.assert_allclose(answer.parameters.betas, truth[1].betas, atol=1e-2)
    placed, start = disturbed(model, part, truth)
    blind, answer = refine_part(model, part, placed, answer_of(model, part, truth, start, 0.0), CAMERA)
    np.testing.assert_allclose(blind.pose, placed.pose, atol=1e-9)
    np.testing.assert_allclose(blind.transl, placed.transl, atol=1e-6)
    np.testing.assert_array_equal(answer.parameters.expression, start.expression)


@PARTS
def test_derivatives_are_those_of_the_projection(model: BodyModel, part: str) -> None:
    (placed, shape), chain = parts(model, part, seed=3, count=1), module._CHAINS[part]
    person = module._Part(model, chain, CAMERA, np.zeros((len(chain.keypoints), 2)), 1.0)
    pose, betas, expression = placed.pose[0], shape.betas[0], shape.expression[0]
    points, rotations, joints = person._posed(pose, betas, expression)
    turning = person._turns(points, joints)
    step = 1e-5
    for column in range(turning.shape[2]):
        turns = np.zeros((len(chain.joints), 3))
        turns.flat[column] = step
        moved, _, now = person._posed(person._turned(pose, rotations, turns), betas, expression)
        change = (moved - now[chain.root]) - (points - joints[chain.root])
        np.testing.assert_allclose(turning[..., column], change / step, atol=2e-2)  # skin follows its bones about


def test_fingers_give_way_where_they_bend(model: BodyModel) -> None:
    truth = parts(model, "right_hand", seed=1, count=1)
    placed, start = disturbed(model, "right_hand", truth)
    better, _ = refine_part(model, "right_hand", placed, answer_of(model, "right_hand", truth, start), CAMERA)
    turns = np.abs(matrix_to_rotvec(better.pose[0, 40:55]))
    assert turns[[1, 2, 4, 5], 2].max() > 0.05 and turns[[1, 2, 4, 5], :2].max() < 0.15


@PARTS
def test_parts_are_independent_and_rotations_stay_rotations(model: BodyModel, part: str) -> None:
    truth = parts(model, part, seed=2)
    placed, start = disturbed(model, part, truth)
    answer = answer_of(model, part, truth, start)
    wild = answer.seen.landmarks.copy()
    wild[1] = np.random.default_rng(0).uniform(-3, 3, wild[1].shape)
    both, _ = refine_part(model, part, placed, replace(answer, seen=replace(answer.seen, landmarks=wild)), CAMERA)
    alone, _ = refine_part(model, part, placed, answer, CAMERA)
    np.testing.assert_allclose(both.pose[0], alone.pose[0])
    identity = both.pose @ np.swapaxes(both.pose, -1, -2)
    np.testing.assert_allclose(identity, np.broadcast_to(np.eye(3), identity.shape), atol=1e-6)
    assert np.isfinite(both.transl).all()
