"""Merging: what a part says about itself in its crop holds for the merged body in the full camera."""

from dataclasses import replace

import numpy as np
import pytest

from openexpose.body.keypoints import INDEX, JOINT_FLIP
from openexpose.body.mesh import joint_transforms, keypoints
from openexpose.body.model import BodyModel, load_body_model
from openexpose.geometry.boxes import Crop
from openexpose.geometry.camera import project_perspective, project_weak, view_rotation
from openexpose.geometry.rotation import mirror_rotation, rotvec_to_matrix
from openexpose.people import zero_pose
from openexpose.predict.merge import FullCamera, absolute_rotation, condition, locate_part, merge_part
from openexpose.predict.parts import BODY, FACE, HAND, PartParameters, PartSpec

CAMERA = FullCamera(900.0, np.array([400.0, 300.0]))
PARTS = pytest.mark.parametrize(
    ("spec", "mirrored", "joint"),
    [(HAND, False, INDEX["right_wrist"]), (HAND, True, INDEX["left_wrist"]), (FACE, False, INDEX["head"])],
    ids=["right hand", "left hand", "face"],
)


@pytest.fixture(scope="module")
def model() -> BodyModel:
    return load_body_model(num_betas=10, num_expression=20)


def answer(spec: PartSpec, seed: int, count: int = 3) -> PartParameters:
    rng = np.random.default_rng(seed)
    pose, slots = zero_pose(count), list(spec.pose_slots)
    pose[:, slots] = rotvec_to_matrix(rng.normal(0, 0.4, (count, len(slots), 3)))
    expression = rng.normal(size=(count, 20)) * bool(spec.num_expression)
    camera = np.concatenate([rng.uniform(0.8, 1.2, (count, 1)), rng.normal(0, 0.1, (count, 2))], 1)
    return PartParameters(pose, rng.normal(size=(count, 10)), expression, camera)


def crops(mirrored: bool = False, count: int = 3) -> Crop:
    rng = np.random.default_rng(9)
    return Crop(rng.uniform(0, 700, (count, 2)), rng.uniform(60, 300, count), rng.uniform(-2, 2, count), mirrored)


def slots_of(spec: PartSpec, mirrored: bool) -> list[int]:
    slots = list(spec.pose_slots[1:])
    return JOINT_FLIP[slots].tolist() if mirrored else slots


def test_absolute_rotation_is_the_product_of_the_chain(model: BodyModel) -> None:
    pose = answer(BODY, 0).pose
    rotations, _ = joint_transforms(model, pose, np.zeros((3, 10)), np.zeros((3, 20)))
    for joint in range(55):
        np.testing.assert_allclose(absolute_rotation(pose, joint), rotations[:, joint], atol=1e-5)


@PARTS
def test_the_merged_body_has_the_parts_absolute_rotation(model, spec, mirrored, joint) -> None:
    body, part, crop = answer(BODY, 0), answer(spec, 1), crops(mirrored)
    placed = locate_part(model, spec, part, crop, CAMERA)
    merged = merge_part(body.pose, spec, placed.pose, mirrored, np.ones(3, bool))
    root = mirror_rotation(part.pose[:, 0]) if mirrored else part.pose[:, 0]
    expected = view_rotation(crop, CAMERA.focal_px, CAMERA.principal_px) @ root
    np.testing.assert_allclose(absolute_rotation(merged, joint), expected, atol=1e-5)
    fine = part.pose[:, list(spec.pose_slots[1:])]
    slots = slots_of(spec, mirrored)
    np.testing.assert_allclose(merged[:, slots], mirror_rotation(fine) if mirrored else fine, atol=1e-6)
    others = sorted(set(range(55)) - {joint, *slots})
    np.testing.assert_array_equal(merged[:, others], body.pose[:, others])


@PARTS
def test_an_unseen_part_leaves_the_body_alone(model, spec, mirrored, joint) -> None:
    body, part = answer(BODY, 0), answer(spec, 1)
    placed = locate_part(model, spec, part, crops(mirrored), CAMERA)
    use = np.array([True, False, True])
    merged = merge_part(body.pose, spec, placed.pose, mirrored, use)
    np.testing.assert_array_equal(merged[1], body.pose[1])
    assert (merged[use, joint] != body.pose[use, joint]).any()
    np.testing.assert_array_equal(merge_part(body.pose, spec, placed.pose, mirrored, np.zeros(3, bool)), body.pose)


@PARTS
def test_a_part_that_repeats_its_start_changes_nothing(model, spec, mirrored, joint) -> None:
    """Condition and merge are inverse to each other, whatever the crop."""
    body, mean, crop = answer(BODY, 0), answer(spec, 1, count=1), crops(mirrored)
    start = condition(spec, body, mean, crop, CAMERA)
    np.testing.assert_array_equal(start.betas, mean.betas[[0, 0, 0]])
    np.testing.assert_array_equal(start.camera, mean.camera[[0, 0, 0]])
    placed = locate_part(model, spec, start, crop, CAMERA)
    merged = merge_part(body.pose, spec, placed.pose, mirrored, np.ones(3, bool))
    np.testing.assert_allclose(merged, body.pose, atol=1e-5)


def test_hands_and_face_can_be_merged_in_any_order(model: BodyModel) -> None:
    body, use = answer(BODY, 0), np.ones(3, bool)
    parts = [(s, m, locate_part(model, s, answer(s, k), crops(m), CAMERA)) for k, (s, m, _) in enumerate(PARTS.args[1])]
    orders = []
    for order in (parts, parts[::-1]):
        pose = body.pose
        for spec, mirrored, placed in order:
            pose = merge_part(pose, spec, placed.pose, mirrored, use)
        orders.append(pose)
    np.testing.assert_allclose(*orders, atol=1e-6)


@pytest.mark.parametrize("mirrored", [False, True])
def test_hands_merge_in_a_mirror_as_they_do_in_front_of_it(model: BodyModel, mirrored: bool) -> None:
    body, part, crop = answer(BODY, 0), answer(HAND, 1), crops(mirrored)
    width = 2.0 * CAMERA.principal_px[0]
    centre = np.stack([width - crop.centre_px[:, 0], crop.centre_px[:, 1]], -1)
    other_crop = Crop(centre, crop.side_px, -crop.angle_rad, not mirrored)
    other_body = replace(body, pose=mirror_rotation(body.pose)[:, JOINT_FLIP])
    start, other_start = (condition(HAND, b, part, c, CAMERA) for b, c in ((body, crop), (other_body, other_crop)))
    np.testing.assert_allclose(other_start.pose, start.pose, atol=1e-6)
    placed, other_placed = (locate_part(model, HAND, part, c, CAMERA) for c in (crop, other_crop))
    merged = merge_part(body.pose, HAND, placed.pose, mirrored, np.ones(3, bool))
    other = merge_part(other_body.pose, HAND, other_placed.pose, not mirrored, np.ones(3, bool))
    np.testing.assert_allclose(mirror_rotation(other)[:, JOINT_FLIP], merged, atol=1e-5)


@PARTS
def test_a_located_part_appears_where_its_weak_camera_puts_it(model, spec, mirrored, joint) -> None:
    """Through a long lens both projections agree, in turned and mirrored crops too."""
    camera = FullCamera(90000.0, CAMERA.principal_px)
    part, crop = answer(spec, 1), crops(mirrored)
    points = keypoints(model, part.pose, part.betas, part.expression)
    weak = crop.to_image(project_weak(points - points[:, [spec.root_joint]], part.camera))[:, spec.root_joint]
    placed = locate_part(model, spec, part, crop, camera)
    there = keypoints(model, placed.pose, part.betas, part.expression)[:, joint] + placed.transl
    np.testing.assert_allclose(project_perspective(there, camera.focal_px, camera.principal_px), weak, atol=0.5)
    depth = 2.0 * camera.focal_px / (part.camera[:, 0] * crop.side_px)
    np.testing.assert_allclose(there[:, 2], depth, rtol=0.02)


def test_a_located_body_appears_where_its_weak_camera_puts_it(model: BodyModel) -> None:
    """At an ordinary focal length all joints stay within a few hundredths of the crop."""
    part, crop = answer(BODY, 1), crops()
    part = replace(part, pose=np.concatenate([np.tile(np.diag([1, -1, -1]), (3, 1, 1, 1)), part.pose[:, 1:]], 1))
    placed = locate_part(model, BODY, part, crop, CAMERA)
    points = keypoints(model, part.pose, part.betas, part.expression)
    weak = crop.to_image(project_weak(points - points[:, :1], part.camera))[:, :22]
    there = keypoints(model, placed.pose, part.betas, part.expression) + placed.transl[:, None]
    shown = project_perspective(there, CAMERA.focal_px, CAMERA.principal_px)[:, :22]
    off = np.linalg.norm(shown - weak, axis=-1) / crop.side_px[:, None]
    assert off.mean() < 0.02 and off.max() < 0.1
