"""Labels obey their laws: the body layer reproduces them, cameras project them, mirrored hands are right hands."""

import numpy as np
import pytest

from openexpose.body.keypoints import IBUG68, LEFT_HAND21, PARTS, RIGHT_HAND21
from openexpose.body.mesh import posed_mesh
from openexpose.geometry.camera import fit_weak
from openexpose.synth.person import HEAD, sample_person
from openexpose.synth.scene import PEOPLE_PX, VISIBLE, sample_body, sample_face_crop, sample_hands, sample_whole_person
from openexpose.synth.view import attention_view, body_view, face_view, hand_view


def _joints(stage, rotations: dict[int, np.ndarray], betas: np.ndarray, expression: np.ndarray | None = None):
    pose = np.tile(np.eye(3), (1, 55, 1, 1))
    for joint, rotation in rotations.items():
        pose[0, joint] = rotation
    expression = np.zeros(stage.model.num_expression) if expression is None else expression
    return posed_mesh(stage.model, pose, betas[None], expression[None]).joints[0]


def _check_cameras(sample):
    points = sample.keypoints_3d + np.array([0, 0, sample.depth_m])
    root = sample.keypoints_2d - sample.keypoints_3d[:, :2] / (points[:, 2:] * sample.half_side)
    offset = root * points[:, 2:] * sample.half_side  # where the root stands: the same for every point
    np.testing.assert_allclose(offset, np.broadcast_to(offset[0], offset.shape), atol=1e-4)
    camera = sample.camera
    weak = camera[0] * (sample.keypoints_3d[:, :2] + camera[1:])
    size = np.ptp(sample.keypoints_2d, 0).max()
    thickness = np.ptp(points[:, 2]) / points[:, 2].min()
    assert np.abs(weak - sample.keypoints_2d).mean() < 0.02 * size + 0.25 * thickness * size
    assert all(np.isfinite(getattr(sample, name)).all() for name in sample.__dataclass_fields__)
    assert camera[0] > 0


def test_body_labels(stage):
    for seed in range(4):
        sample = sample_body(np.random.default_rng(seed), stage)
        joints = posed_mesh(stage.model, sample.pose[None], sample.betas[None], sample.expression[None]).joints[0]
        np.testing.assert_allclose(joints - joints[0], sample.keypoints_3d, atol=1e-5)
        _check_cameras(sample)
        assert sample.image.shape == (256, 256, 3)


def test_people_labels(stage):
    reach, hands = [], []
    for seed in range(12):
        sample = sample_whole_person(np.random.default_rng(seed), stage)
        joints = posed_mesh(stage.model, sample.pose[None], sample.betas[None], sample.expression[None]).joints[0]
        np.testing.assert_allclose(joints - joints[0], sample.keypoints_3d, atol=1e-5)
        _check_cameras(sample)
        assert sample.image.shape == (PEOPLE_PX, PEOPLE_PX, 3)
        low, high = sample.box_xyxy_px[:2], sample.box_xyxy_px[2:]
        assert (low >= 0).all() and (high <= PEOPLE_PX).all()
        seen = (sample.keypoints_2d[sample.visibility == VISIBLE] + 1) * PEOPLE_PX / 2
        assert ((seen > low - 4) & (seen < high + 4)).all()
        reach.append((high - low).max() / PEOPLE_PX)
        hands += [(sample.visibility[PARTS[f"{side}_hand"]] == VISIBLE).mean() > 0.5 for side in ("left", "right")]
    assert min(reach) > 0.45 and np.median(reach) > 0.6 and np.mean(hands) > 0.4


def test_hands_are_right_hands(stage):
    for seed in range(3):
        left, right = sample_hands(np.random.default_rng(seed), stage)
        assert left.is_left and not right.is_left
        for sample in (left, right):
            rotations = {21: sample.wrist} | {40 + k: r for k, r in enumerate(sample.fingers)}
            joints = _joints(stage, rotations, sample.betas)[RIGHT_HAND21]
            np.testing.assert_allclose(joints - joints[0], sample.keypoints_3d, atol=2e-4)
            _check_cameras(sample)
            assert (sample.visibility == VISIBLE).sum() >= 4


def test_face_labels(stage):
    for seed in range(3):
        sample = sample_face_crop(np.random.default_rng(seed), stage)
        rotations = {HEAD: sample.head, 22: sample.jaw, 23: sample.eyes[0], 24: sample.eyes[1]}
        joints = _joints(stage, rotations, sample.betas, sample.expression)
        inner = joints[IBUG68[17:]] - joints[HEAD]
        np.testing.assert_allclose(inner, sample.keypoints_3d[17:], atol=2e-4)
        _check_cameras(sample)


def test_the_same_seed_gives_the_same_sample(stage):
    a, b = (sample_body(np.random.default_rng([5, 1]), stage) for _ in range(2))
    for name in a.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


@pytest.mark.parametrize("kind", ["body", "attention", "hand", "face"])
def test_views_hold_what_they_are_for(stage, kind):
    rng = np.random.default_rng(11)
    for _ in range(5):
        person = sample_person(rng, stage, facing=True)
        person = person.moved(np.eye(3), np.zeros(3), np.array([0.8, -0.3, 3.0]))
        view, part = {
            "body": lambda p: (body_view(p.joints, p.vertices, rng), np.arange(55)),
            "attention": lambda p: (attention_view(p.joints, "head", rng), PARTS["head"]),
            "hand": lambda p: (hand_view(p.joints, "left", rng), LEFT_HAND21[:1]),
            "face": lambda p: (face_view(p.joints, rng), IBUG68),
        }[kind](person)
        np.testing.assert_allclose(view.T_view_photo @ view.T_view_photo.T, np.eye(3), atol=1e-9)
        assert np.abs(view.to_crop(person.joints[part])).mean() < 0.8
        assert np.abs(view.to_crop(person.joints[part])).max() < 1.6


def test_weak_camera_is_exact_for_flat_points():
    points = np.random.default_rng(0).normal(size=(20, 3))
    camera = np.array([1.7, 0.2, -0.4])
    np.testing.assert_allclose(fit_weak(points, camera[0] * (points[:, :2] + camera[1:])), camera, atol=1e-9)
