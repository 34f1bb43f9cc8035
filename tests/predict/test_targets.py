"""Targets: what a trunk sees of a projected body is where that body is, whatever the crop."""

from dataclasses import replace

import numpy as np
import pytest

from openexpose.body.keypoints import INDEX, LEFT_HAND21, PARTS, RIGHT_HAND21
from openexpose.body.mesh import keypoints
from openexpose.body.model import load_body_model
from openexpose.geometry.boxes import Crop
from openexpose.geometry.camera import project_perspective, view_rotation
from openexpose.geometry.rotation import rotvec_to_matrix
from openexpose.people import zero_pose
from openexpose.predict.bundle import Seen
from openexpose.predict.collect import Answer
from openexpose.predict.landmarks import CORRESPONDENCES
from openexpose.predict.merge import FullCamera
from openexpose.predict.parts import FACE, HAND, PartParameters
from openexpose.predict.targets import Targets, pose_targets, with_part

CAMERA = FullCamera(900.0, np.array([400.0, 300.0]))
COUNT = 3
NETWORKS = {"left_hand": "hand", "right_hand": "hand", "face": "face"}
NUMBERS = {"body": 39, "hand": 21, "face": 478}
PART = pytest.mark.parametrize("name", list(NETWORKS))


@pytest.fixture(scope="module")
def points() -> np.ndarray:
    """Keypoints [3, 144, 3] of posed people before the camera."""
    rng = np.random.default_rng(0)
    pose = rotvec_to_matrix(rng.normal(0, 0.2, (COUNT, 55, 3)))
    pose[:, 0] = np.diag([1.0, -1.0, -1.0]) @ pose[:, 0]
    model = load_body_model(num_betas=10, num_expression=20)
    return keypoints(model, pose, rng.normal(size=(COUNT, 10)), np.zeros((COUNT, 20))) + np.array([0.4, -0.2, 3.0])


def project(points: np.ndarray) -> np.ndarray:
    return project_perspective(points.astype(float), CAMERA.focal_px, CAMERA.principal_px)


def crops(turned: bool = True, mirrored: bool = False) -> Crop:
    rng = np.random.default_rng(9)
    return Crop(
        rng.uniform(200, 600, (COUNT, 2)), rng.uniform(300, 600, COUNT), turned * np.array([0.3, -1.2, 2.5]), mirrored
    )


def look(points: np.ndarray, crop: Crop, network: str, targets: np.ndarray | None = None) -> Seen:
    """What a perfect trunk sees of these people in crops; landmarks without a keypoint are noise."""
    rng = np.random.default_rng(1)
    landmark, keypoint = (np.array(column) for column in CORRESPONDENCES[network])
    keypoint = keypoint if targets is None else targets
    shape = COUNT, NUMBERS[network], 3
    landmarks, world = rng.normal(size=shape), rng.normal(size=shape)
    landmarks[:, landmark, :2] = crop.from_image(project(points[:, keypoint]))
    view = view_rotation(crop, CAMERA.focal_px, CAMERA.principal_px)
    world[:, landmark] = (points[:, keypoint] - points[:, :1]) @ view
    visibility, presence = rng.uniform(0.2, 1, shape[:2]), np.array([0.9, 0.7, 0.5])
    side = np.array([0.8, 1.0, 0.6]) if network == "hand" else None
    return Seen(np.zeros((COUNT, 1)), landmarks, visibility, world, presence, side)


def part_answer(points: np.ndarray, name: str) -> Answer:
    crop, network = crops(mirrored=name == "left_hand"), NETWORKS[name]
    seen = look(points, crop, network, LEFT_HAND21 if name == "left_hand" else None)
    parameters = PartParameters(zero_pose(COUNT), np.zeros((COUNT, 10)), np.zeros((COUNT, 20)), np.ones((COUNT, 3)))
    return Answer(FACE if network == "face" else HAND, crop, seen, parameters)


@pytest.fixture
def targets(points: np.ndarray) -> Targets:
    return pose_targets(crops(), look(points, crops(), "body"))


@pytest.mark.parametrize("turned", [False, True])
def test_a_perfect_trunk_gives_the_persons_projection(points: np.ndarray, turned: bool) -> None:
    crop = crops(turned)
    targets = pose_targets(crop, look(points, crop, "body"))
    seen = points[:, targets.keypoints]
    np.testing.assert_allclose(targets.points_px, project(seen), atol=1e-3)
    np.testing.assert_allclose(targets.size_px, np.ptp(project(seen), axis=1).max(-1), rtol=1e-4)
    assert (targets.sigma > 0).all() and targets.sigma.shape == targets.keypoints.shape


def test_trust_is_visibility_times_presence(points: np.ndarray, targets: Targets) -> None:
    seen = look(points, crops(), "body")
    landmark = CORRESPONDENCES["body"][0]
    np.testing.assert_allclose(targets.weight, seen.visibility[:, landmark] * seen.presence[:, None])


def test_some_peoples_targets_are_rows(targets: Targets) -> None:
    some = targets[np.array([1])]
    for name, value in vars(targets).items():
        shared = name in ("keypoints", "sigma")
        np.testing.assert_array_equal(getattr(some, name), value if shared else value[[1]])


@PART
def test_a_part_adds_its_own_points_where_they_are(points: np.ndarray, targets: Targets, name: str) -> None:
    answer, old = part_answer(points, name), len(targets.keypoints)
    after = with_part(targets, name, replace(answer, used=np.ones(COUNT, bool)))
    added = after.keypoints[old:]
    assert len(added) >= 5 and np.isin(added, PARTS[name]).all()
    np.testing.assert_allclose(after.points_px[:, old:], project(points[:, added]), atol=1e-3)
    np.testing.assert_allclose(after.weight[:, old:], answer.seen.certainty[:, None].repeat(len(added), 1))
    assert (after.sigma[old:] < targets.sigma.min()).all(), "a closer look is trusted more"
    assert after.sigma.shape == after.keypoints.shape


def test_the_mirrored_crop_is_of_the_left_hand(points: np.ndarray, targets: Targets) -> None:
    sides = {
        name: with_part(targets, name, replace(part_answer(points, name), used=np.ones(COUNT, bool)))
        for name in NETWORKS
    }
    left, right = (sides[name].keypoints[len(targets.keypoints) :] for name in ("left_hand", "right_hand"))
    assert left[0] == INDEX["left_wrist"] and right[0] == INDEX["right_wrist"]
    np.testing.assert_array_equal(
        np.searchsorted(np.sort(LEFT_HAND21), left), np.searchsorted(np.sort(RIGHT_HAND21), right)
    )


@PART
def test_a_part_replaces_only_what_the_pose_trunk_saw_of_it(points: np.ndarray, targets: Targets, name: str) -> None:
    use = np.array([True, False, True])
    after, old = with_part(targets, name, replace(part_answer(points, name), used=use)), len(targets.keypoints)
    part = np.isin(targets.keypoints, PARTS["head" if name == "face" else name])
    assert part.any() and not part.all()
    assert (after.weight[use][:, :old][:, part] == 0).all()
    np.testing.assert_array_equal(after.weight[use][:, :old][:, ~part], targets.weight[use][:, ~part])
    np.testing.assert_array_equal(after.weight[1, :old], targets.weight[1])
    assert (after.weight[1, old:] == 0).all()
    np.testing.assert_array_equal(after.points_px[:, :old], targets.points_px)
    np.testing.assert_array_equal(after.size_px, targets.size_px)
