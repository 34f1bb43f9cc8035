"""Laws of the posed body, on the packaged model and on a toy."""

from pathlib import Path

import numpy as np
import pytest
from tests.body.toy import random_pose, toy_model

from openexpose.body.keypoints import FLIP, INDEX, JOINT_FLIP, PARENTS
from openexpose.body.mesh import contour_row, joint_transforms, keypoints, posed_keypoints, posed_mesh
from openexpose.body.model import BodyModel, load_body_model
from openexpose.errors import InputError
from openexpose.geometry.rotation import mirror_rotation, rotvec_to_matrix

FREEBODY = Path(__file__).parents[2] / "src/openexpose/body/data/SMPLX_FREEBODY.npz"


@pytest.fixture(scope="module")
def freebody() -> BodyModel:
    return load_body_model()


def coefficients(model: BodyModel, rng: np.random.Generator, people: int) -> tuple[np.ndarray, np.ndarray]:
    return rng.normal(size=(people, model.num_betas)), rng.normal(size=(people, model.num_expression))


def naive_vertices(model: BodyModel, pose: np.ndarray, betas: np.ndarray, expression: np.ndarray) -> np.ndarray:
    """One person, one vertex at a time, with 4x4 matrices, straight from the equations."""
    rest_joints = model.joint_template + model.joint_shape_dirs @ betas + model.joint_expression_dirs @ expression
    world = np.zeros((55, 4, 4))
    for joint, parent in enumerate(PARENTS):
        local = np.eye(4)
        local[:3, :3] = pose[joint]
        local[:3, 3] = rest_joints[joint] - (rest_joints[parent] if parent >= 0 else 0.0)
        world[joint] = local if parent < 0 else world[parent] @ local
    feature = np.concatenate([(rotation - np.eye(3)).ravel() for rotation in pose[1:]])
    rest = model.v_template + model.shape_dirs @ betas + model.expression_dirs @ expression
    rest = rest + (feature @ model.pose_dirs.dense(len(rest))).reshape(-1, 3)
    posed = np.zeros_like(rest)
    for vertex, weights in enumerate(model.weights):
        for joint in np.flatnonzero(weights):
            moved = world[joint] @ [*(rest[vertex] - rest_joints[joint]), 1.0]
            posed[vertex] += weights[joint] * moved[:3]
    return posed


@pytest.mark.parametrize("density", [0.0, 0.1, 0.9])
def test_vertices_agree_with_the_naive_equations(density: float) -> None:
    rng, model = np.random.default_rng(0), toy_model(pose_density=density)
    pose, (betas, expression) = random_pose(rng, 3), coefficients(model, rng, 3)
    mesh = posed_mesh(model, pose, betas, expression)
    for person in range(3):
        expected = naive_vertices(model, pose[person], betas[person], expression[person])
        np.testing.assert_allclose(mesh.vertices[person], expected, atol=1e-5)


def test_zero_pose_is_template_plus_shape_and_expression(freebody: BodyModel) -> None:
    rng = np.random.default_rng(1)
    betas, expression = coefficients(freebody, rng, 2)
    pose = np.broadcast_to(np.eye(3), (2, 55, 3, 3))
    mesh = posed_mesh(freebody, pose, betas, expression)
    shaped = freebody.v_template + np.einsum("vcb,pb->pvc", freebody.shape_dirs, betas)
    shaped += np.einsum("vce,pe->pvc", freebody.expression_dirs, expression)
    np.testing.assert_allclose(mesh.vertices, shaped, atol=1e-5)
    np.testing.assert_allclose(mesh.joints[:, 55:76], shaped[:, freebody.extra_vertices], atol=1e-5)


def test_keypoints_are_those_of_the_mesh(freebody: BodyModel) -> None:
    rng = np.random.default_rng(2)
    pose, (betas, expression) = random_pose(rng, 6), coefficients(freebody, rng, 6)
    alone = keypoints(freebody, pose, betas, expression)
    assert alone.shape == (6, 144, 3) and alone.dtype == np.float32
    np.testing.assert_allclose(alone, posed_mesh(freebody, pose, betas, expression).joints, atol=1e-6)


def test_posed_keypoints_come_with_the_rotations_of_the_joints(freebody: BodyModel) -> None:
    rng = np.random.default_rng(3)
    pose, (betas, expression) = random_pose(rng, 2), coefficients(freebody, rng, 2)
    rotations, points = posed_keypoints(freebody, pose, betas, expression)
    expected, joints = joint_transforms(freebody, pose, betas, expression)
    np.testing.assert_allclose(rotations, expected, atol=1e-6)
    np.testing.assert_allclose(points[:, :55], joints, atol=1e-5)
    np.testing.assert_array_equal(points, keypoints(freebody, pose, betas, expression))


def test_global_orientation_turns_everything_about_the_pelvis(freebody: BodyModel) -> None:
    rng = np.random.default_rng(3)
    pose, (betas, expression) = random_pose(rng, 4), coefficients(freebody, rng, 4)
    pose[:, 0] = np.eye(3)
    turn = rotvec_to_matrix(rng.normal(size=(4, 1, 3)))[:, 0].astype(np.float32)
    turned = pose.copy()
    turned[:, 0] = turn
    before, after = (posed_mesh(freebody, p, betas, expression) for p in (pose, turned))
    pelvis = before.joints[:, :1]
    np.testing.assert_allclose(after.joints[:, 0], pelvis[:, 0], atol=1e-6)
    for old, new in ((before.joints[:, :127], after.joints[:, :127]), (before.vertices, after.vertices)):
        np.testing.assert_allclose(new - pelvis, (old - pelvis) @ turn.swapaxes(1, 2), atol=1e-5)


def test_bones_keep_their_length_and_rotations_chain() -> None:
    rng, model = np.random.default_rng(4), toy_model()
    pose, (betas, expression) = random_pose(rng, 3, 1.0), coefficients(model, rng, 3)
    rotations, joints = joint_transforms(model, pose, betas, expression)
    _, rest = joint_transforms(model, np.broadcast_to(np.eye(3), pose.shape), betas, expression)
    for joint in range(1, 55):
        parent = PARENTS[joint]
        np.testing.assert_allclose(rotations[:, joint], rotations[:, parent] @ pose[:, joint], atol=1e-5)
        bone = (rotations[:, parent] @ (rest[:, joint] - rest[:, parent])[..., None])[..., 0]
        np.testing.assert_allclose(joints[:, joint] - joints[:, parent], bone, atol=1e-5)


def test_only_the_children_of_a_bent_elbow_move(freebody: BodyModel) -> None:
    pose = np.tile(np.eye(3, dtype=np.float32), (2, 55, 1, 1))
    pose[1, INDEX["left_elbow"]] = rotvec_to_matrix(np.array([0.0, -1.5, 0.0]))
    points = keypoints(freebody, pose, np.zeros((2, 10)), np.zeros((2, 20)))
    moved = np.flatnonzero(np.abs(points[1] - points[0]).max(-1) > 1e-3)
    np.testing.assert_array_equal(moved, [20, *range(25, 40), *range(66, 71)])
    assert points[1, 20, 2] > points[0, 20, 2] + 0.15, "the left forearm swings forward"


def test_a_mirrored_pose_gives_the_mirrored_body(freebody: BodyModel) -> None:
    rng = np.random.default_rng(5)
    pose, betas, expression = random_pose(rng, 10), np.zeros((10, 10)), np.zeros((10, 20))
    mirrored = mirror_rotation(pose)[:, JOINT_FLIP]
    points, others = (keypoints(freebody, p, betas, expression) for p in (pose, mirrored))
    np.testing.assert_allclose(others, (points * [-1, 1, 1])[:, FLIP], atol=2e-3)


def test_people_do_not_influence_each_other(freebody: BodyModel) -> None:
    rng = np.random.default_rng(6)
    pose, (betas, expression) = random_pose(rng, 3), coefficients(freebody, rng, 3)
    together = posed_mesh(freebody, pose, betas, expression)
    alone = posed_mesh(freebody, pose[1:2], betas[1:2], expression[1:2])
    np.testing.assert_allclose(together.vertices[1], alone.vertices[0], atol=1e-6)
    np.testing.assert_allclose(together.joints[1], alone.joints[0], atol=1e-6)


def test_nobody_is_fine(freebody: BodyModel) -> None:
    mesh = posed_mesh(freebody, np.zeros((0, 55, 3, 3)), np.zeros((0, 10)), np.zeros((0, 20)))
    assert mesh.vertices.shape == (0, len(freebody.v_template), 3) and mesh.joints.shape == (0, 144, 3)


def test_inputs_are_not_changed() -> None:
    rng, model = np.random.default_rng(7), toy_model()
    pose, (betas, expression) = random_pose(rng, 2), coefficients(model, rng, 2)
    copy = pose.copy()
    posed_mesh(model, pose, betas, expression)
    np.testing.assert_array_equal(pose, copy)


@pytest.mark.parametrize("wrong", ["pose", "betas", "expression"])
def test_wrong_shapes_are_named(wrong: str) -> None:
    model = toy_model()
    arrays = {"pose": np.zeros((2, 55, 3, 3)), "betas": np.zeros((2, 3)), "expression": np.zeros((2, 2))}
    arrays[wrong] = arrays[wrong][:, :1]
    with pytest.raises(InputError, match=wrong):
        keypoints(model, **arrays)


def test_contour_row_by_yaw() -> None:
    yaw_deg = np.array([0.0, 10.2, -10.2, 39.0, -39.0, 80.0, -80.0, 0.6, -0.6])
    neck = rotvec_to_matrix(np.radians(yaw_deg)[:, None] * np.array([0.0, 1.0, 0.0]))
    rows = contour_row(neck)
    np.testing.assert_array_equal(rows, [0, 49, 10, 78, 39, 78, 39, 40, 1])
    upside_down = np.diag([1.0, -1.0, -1.0])
    np.testing.assert_array_equal(contour_row(upside_down @ neck), contour_row(neck.swapaxes(1, 2)))


def test_the_contour_follows_the_silhouette(freebody: BodyModel) -> None:
    yaw = np.radians([-35.0, 0.0, 35.0])
    pose = np.tile(np.eye(3), (3, 55, 1, 1))
    pose[:, 0] = rotvec_to_matrix(yaw[:, None] * np.array([0.0, 1.0, 0.0]))
    contour = keypoints(freebody, pose, np.zeros((3, 10)), np.zeros((3, 20)))[:, 127:]
    local = (contour @ pose[:, 0])[..., 0]  # back in the head's frame
    assert np.abs(local[0] - local[1]).max() > 5e-3 and np.abs(local[2] - local[1]).max() > 5e-3
    np.testing.assert_allclose(local[0], -local[2, ::-1], atol=2e-3)


@pytest.mark.assets
def test_equal_to_the_stock_smplx_package_on_the_same_file() -> None:
    smplx = pytest.importorskip("smplx")
    torch = pytest.importorskip("torch")
    model, rng, people = load_body_model(), np.random.default_rng(8), 100
    stock = smplx.SMPLX(
        str(FREEBODY), num_betas=10, num_expression_coeffs=20, use_face_contour=True, use_pca=False, flat_hand_mean=True
    )
    angles = 0.25 * rng.normal(size=(people, 55, 3))
    angles[:, 0] *= 4.0
    angles[:79] = 0.0
    angles[:79, 0, 1] = np.radians(np.arange(-39, 40) + 0.3)  # one person for each row of the contour table
    betas, expression = coefficients(model, rng, people)
    fields = {"global_orient": (0, 1), "body_pose": (1, 22), "jaw_pose": (22, 23), "leye_pose": (23, 24)}
    fields |= {"reye_pose": (24, 25), "left_hand_pose": (25, 40), "right_hand_pose": (40, 55)}
    arrays = {name: angles[:, start:stop].reshape(people, -1) for name, (start, stop) in fields.items()}
    arrays |= {"betas": betas, "expression": expression}
    with torch.no_grad():
        theirs = stock(**{name: torch.tensor(array, dtype=torch.float32) for name, array in arrays.items()})
    ours = posed_mesh(model, rotvec_to_matrix(angles), betas, expression)
    np.testing.assert_allclose(ours.vertices, theirs.vertices.numpy(), atol=1e-5)
    np.testing.assert_allclose(ours.joints, theirs.joints.numpy(), atol=1e-5)
