"""Refinement: its derivatives are those of its residuals, it pulls towards the targets and leaves the rest alone."""

from dataclasses import replace

import numpy as np
import pytest

from openexpose.body.keypoints import INDEX
from openexpose.body.mesh import keypoints
from openexpose.body.model import BodyModel, load_body_model
from openexpose.geometry.camera import project_perspective
from openexpose.geometry.rotation import matrix_to_rotvec, rotvec_to_matrix
from openexpose.people import zero_pose
from openexpose.predict import refine as module
from openexpose.predict.landmarks import CORRESPONDENCES
from openexpose.predict.merge import FullCamera, Located, absolute_rotation
from openexpose.predict.parts import PartParameters
from openexpose.predict.refine import HELD_JOINTS, refine
from openexpose.predict.targets import Targets

CAMERA = FullCamera(900.0, np.array([400.0, 300.0]))
KEYPOINTS = np.array(CORRESPONDENCES["body"][1])
FREE = list(module._FREE)
HOLDS = pytest.mark.parametrize("held", [(), HELD_JOINTS[:1], HELD_JOINTS], ids=["none", "head", "head and wrists"])


@pytest.fixture(scope="module")
def model() -> BodyModel:
    return load_body_model(num_betas=10, num_expression=20)


def people(seed: int = 0, count: int = 3) -> tuple[Located, PartParameters]:
    """Upright people in loose poses before the camera."""
    rng = np.random.default_rng(seed)
    pose = zero_pose(count).astype(float)
    pose[:, FREE] = rotvec_to_matrix(rng.normal(0, 0.25, (count, len(FREE), 3)))
    pose[:, 0] = np.diag([1.0, -1.0, -1.0]) @ pose[:, 0]
    transl = np.stack([rng.uniform(-0.5, 0.5, count), rng.uniform(-0.3, 0.3, count), rng.uniform(2.5, 4, count)], -1)
    shape = PartParameters(pose, rng.normal(size=(count, 10)), np.zeros((count, 20)), np.ones((count, 3)))
    return Located(pose, transl), shape


def turned(placed: Located, angle_rad: float, seed: int = 5) -> Located:
    """The same people with every free joint turned a little about its own axes, hinges about their hinge."""
    rng = np.random.default_rng(seed)
    pose = placed.pose.copy()
    axes = rng.normal(size=(len(pose), len(FREE), 3)) * module._SPREAD_RAD
    axes /= np.linalg.norm(axes, axis=-1, keepdims=True)
    pose[:, FREE] = pose[:, FREE] @ rotvec_to_matrix(angle_rad * axes)
    return Located(pose, placed.transl + rng.normal(0, 0.02, placed.transl.shape))


def points_of(model: BodyModel, placed: Located, shape: PartParameters) -> np.ndarray:
    return keypoints(model, placed.pose, shape.betas, shape.expression) + placed.transl[:, None]


def seen_of(model: BodyModel, placed: Located, shape: PartParameters) -> Targets:
    """Targets that these people explain perfectly."""
    points = points_of(model, placed, shape)[:, KEYPOINTS].astype(float)
    projected = project_perspective(points, CAMERA.focal_px, CAMERA.principal_px)
    return Targets(
        keypoints=KEYPOINTS,
        points_px=projected,
        weight=np.ones(projected.shape[:2]),
        sigma=np.full(len(KEYPOINTS), 0.02),
        size_px=np.ptp(projected, axis=1).max(-1),
    )


def error_px(model: BodyModel, placed: Located, shape: PartParameters, targets: Targets) -> np.ndarray:
    points = points_of(model, placed, shape)[:, targets.keypoints]
    projected = project_perspective(points, CAMERA.focal_px, CAMERA.principal_px)
    return np.linalg.norm(projected - targets.points_px, axis=-1)


def slopes(model: BodyModel, held: tuple[int, ...], which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A block's analytic derivative, and central differences of its residuals over all unknowns."""
    placed, shape = people(1, 1)
    holds = np.isin(HELD_JOINTS, held)[None]
    body = module._Bodies(model, shape.betas, shape.expression, holds)
    rotations, points = body.posed(placed.pose, placed.transl)
    joints = points[:, :55]
    plane = project_perspective(points[:, which], CAMERA.focal_px, CAMERA.principal_px)
    sigma, ones = np.full(len(which), 0.02), np.ones((1, len(which)))
    target = replace(seen_of(model, placed, shape), keypoints=which, points_px=plane, sigma=sigma, weight=0.7 * ones)

    def block(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        moves = module._moves(points, joints, which, holds)
        error, slope = module._image_rows(points, moves, CAMERA, target)
        return error[0], slope[0]

    def residual(unknowns: np.ndarray) -> np.ndarray:
        turns = unknowns[:-3].reshape(1, -1, 3)
        pose = module._turned(placed.pose, rotations, turns, holds)
        return block(body.posed(pose, placed.transl + unknowns[-3:])[1][:, which])[0]

    size, step = 3 * len(FREE) + 3, 4e-3
    numeric = [(residual(row) - residual(-row)) / (2 * step) for row in step * np.eye(size)]
    return block(points[:, which])[1], np.stack(numeric, -1)


@HOLDS
def test_derivatives_are_those_of_the_residuals(model: BodyModel, held: tuple[int, ...]) -> None:
    names = "left_hip left_knee right_knee right_ankle left_elbow left_wrist right_index1 left_pinky3 head jaw pelvis"
    analytic, numeric = slopes(model, held, np.array([INDEX[name] for name in names.split()]))
    assert np.abs(numeric).max() > 0.5
    np.testing.assert_allclose(analytic, numeric, atol=2e-3 * np.abs(numeric).max())


@HOLDS
def test_points_on_the_skin_move_about_as_their_bones_do(model: BodyModel, held: tuple[int, ...]) -> None:
    analytic, numeric = slopes(model, held, KEYPOINTS)
    np.testing.assert_allclose(analytic, numeric, atol=0.03 * np.abs(numeric).max())


def test_the_prior_is_linear_in_what_was_moved() -> None:
    rng = np.random.default_rng(0)
    rotations = rotvec_to_matrix(rng.normal(size=(2, 55, 3)))
    start, moved = np.array([[0.1, 0.2, 3.0], [0.0, 0.3, 5.0]]), rng.normal(0, 0.1, (2, len(FREE), 3))
    shift = np.array([[0.5, -0.5, 0.3], [0.1, 0.2, -0.4]])
    error, slope = module._prior_rows(rotations, moved, start + shift, start)
    unknowns = np.concatenate([moved.reshape(2, -1), shift], 1)
    np.testing.assert_allclose(error, (slope @ unknowns[..., None])[..., 0], atol=1e-12)
    knee = FREE.index(INDEX["left_knee"])
    about = {}
    for axis in range(3):
        moved = np.zeros_like(moved)
        moved[:, knee] = rotations[:, INDEX["left_knee"], :, axis]
        about[axis] = np.linalg.norm(module._prior_rows(rotations, moved, start, start)[0])
    assert about[1] > 5 * about[0] and about[2] > 5 * about[0], "a knee is stiff but about its own x axis"


def test_a_turned_person_is_pulled_back(model: BodyModel) -> None:
    truth, shape = people()
    targets = seen_of(model, truth, shape)
    start = turned(truth, 0.15)
    after = refine(model, start, shape, CAMERA, targets)
    before_px, after_px = (error_px(model, p, shape, targets).mean(-1) for p in (start, after))
    assert (before_px > 5.0).all() and (after_px < before_px / 3).all()
    apart = [
        np.linalg.norm(points_of(model, p, shape) - points_of(model, truth, shape), axis=-1) for p in (start, after)
    ]
    assert apart[1].mean() < apart[0].mean(), "also in depth"


def test_nothing_seen_changes_nothing(model: BodyModel) -> None:
    placed, shape = people()
    targets = seen_of(model, turned(placed, 0.3), shape)
    blind = replace(targets, weight=0 * targets.weight)
    after = refine(model, placed, shape, CAMERA, blind)
    np.testing.assert_allclose(after.pose, placed.pose, atol=1e-6)
    np.testing.assert_allclose(after.transl, placed.transl, atol=1e-9)


def test_what_is_explained_already_changes_nothing(model: BodyModel) -> None:
    placed, shape = people()
    after = refine(model, placed, shape, CAMERA, seen_of(model, placed, shape))
    np.testing.assert_allclose(after.pose, placed.pose, atol=1e-4)
    np.testing.assert_allclose(after.transl, placed.transl, atol=1e-4)


def test_held_joints_keep_their_rotation_and_follow_in_place(model: BodyModel) -> None:
    truth, shape = people()
    targets, start = seen_of(model, truth, shape), turned(truth, 0.15)
    after = refine(model, start, shape, CAMERA, targets, np.ones((3, 3), bool))
    for joint in HELD_JOINTS:
        expected = absolute_rotation(start.pose, joint)
        np.testing.assert_allclose(absolute_rotation(after.pose, joint), expected, atol=1e-5)
    wrists = np.isin(KEYPOINTS, HELD_JOINTS)
    before_px, after_px = (error_px(model, p, shape, targets)[:, wrists].mean() for p in (start, after))
    assert wrists.sum() == 2 and after_px < before_px / 2
    others = sorted(set(range(55)) - {*FREE, *HELD_JOINTS})
    np.testing.assert_allclose(after.pose[:, others], start.pose[:, others], atol=1e-6)


def test_people_of_whom_nothing_new_was_seen_stay(model: BodyModel) -> None:
    truth, shape = people()
    start = turned(truth, 0.15)
    held = np.array([[False, False, False], [False, True, False], [False, False, False]])
    after = refine(model, start, shape, CAMERA, seen_of(model, truth, shape), held)
    for k in (0, 2):
        np.testing.assert_array_equal(after.pose[k], start.pose[k])
        np.testing.assert_array_equal(after.transl[k], start.transl[k])
    assert np.abs(after.pose[1] - start.pose[1]).max() > 0.01
    assert not np.may_share_memory(after.pose, start.pose)


@pytest.mark.parametrize("held", [None, np.array([[True, True, False], [False] * 3, [False, False, True]])])
def test_all_at_once_is_one_by_one(model: BodyModel, held: np.ndarray | None) -> None:
    truth, shape = people()
    noise = np.random.default_rng(4).normal(0, 3, (3, len(KEYPOINTS), 2))
    targets = seen_of(model, truth, shape)
    targets = replace(targets, points_px=targets.points_px + noise, weight=np.abs(noise[..., 0]).clip(0, 1))
    start = turned(truth, 0.15)
    together = refine(model, start, shape, CAMERA, targets, held)
    for k in range(3):
        row = np.array([k])
        own = PartParameters(*(value if value is None else value[row] for value in vars(shape).values()))
        lone = Located(start.pose[row], start.transl[row])
        alone = refine(model, lone, own, CAMERA, targets[row], None if held is None else held[row])
        np.testing.assert_allclose(together.pose[row], alone.pose, atol=1e-5)
        np.testing.assert_allclose(together.transl[row], alone.transl, atol=1e-5)


def test_people_are_independent(model: BodyModel) -> None:
    truth, shape = people()
    targets, start = seen_of(model, truth, shape), turned(truth, 0.15)
    together = refine(model, start, shape, CAMERA, targets)
    order = np.array([2, 0, 1])
    rows = {n: getattr(targets, n)[order] for n in ("points_px", "weight", "size_px")}
    shuffled = PartParameters(*(value if value is None else value[order] for value in vars(shape).values()))
    again = refine(model, Located(start.pose[order], start.transl[order]), shuffled, CAMERA, replace(targets, **rows))
    np.testing.assert_allclose(again.pose, together.pose[order], atol=1e-6)
    np.testing.assert_allclose(again.transl, together.transl[order], atol=1e-6)


def test_rotations_stay_rotations_even_with_wild_targets(model: BodyModel) -> None:
    placed, shape = people()
    targets = seen_of(model, placed, shape)
    wild = replace(
        targets,
        points_px=targets.points_px + np.random.default_rng(3).normal(0, 200, targets.points_px.shape),
    )
    after = refine(model, placed, shape, CAMERA, wild)
    assert np.isfinite(after.transl).all()
    np.testing.assert_allclose(
        after.pose @ np.swapaxes(after.pose, -1, -2), np.tile(np.eye(3), (3, 55, 1, 1)), atol=1e-5
    )
    np.testing.assert_allclose(np.linalg.det(after.pose), 1.0, atol=1e-5)


def test_hinges_give_way_about_their_axis(model: BodyModel) -> None:
    truth, shape = people()
    start = turned(truth, 0.2, seed=7)
    after = refine(model, start, shape, CAMERA, seen_of(model, truth, shape))
    for name, hinge in (("knee", 0), ("elbow", 1)):
        joints = [INDEX[f"left_{name}"], INDEX[f"right_{name}"]]
        turns = np.abs(matrix_to_rotvec(np.swapaxes(start.pose[:, joints], -1, -2) @ after.pose[:, joints]))
        others = [axis for axis in range(3) if axis != hinge]
        assert turns[..., hinge].mean() > 3 * turns[..., others].mean(), name


def test_one_absurd_landmark_is_an_outlier(model: BodyModel) -> None:
    truth, shape = people()
    targets, start = seen_of(model, truth, shape), turned(truth, 0.1)
    elbow = int(KEYPOINTS.tolist().index(INDEX["left_elbow"]))
    points = targets.points_px.copy()
    points[:, elbow] += 400.0
    after = refine(model, start, shape, CAMERA, replace(targets, points_px=points))
    rest = np.arange(len(KEYPOINTS)) != elbow
    before_px, after_px = (error_px(model, p, shape, targets)[:, rest].mean() for p in (start, after))
    assert after_px < before_px / 2
