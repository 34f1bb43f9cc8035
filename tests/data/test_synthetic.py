"""Shards of every kind become samples whose labels pose, project and split as they should."""

from pathlib import Path

import numpy as np
import pytest

from openexpose.body.keypoints import IBUG68, RIGHT_HAND21
from openexpose.body.mesh import keypoints
from openexpose.body.model import load_body_model
from openexpose.data.sample import Sample
from openexpose.data.synthetic import read_rendered_people, read_synthetic
from openexpose.errors import InputError
from openexpose.geometry.boxes import crop_from_boxes
from openexpose.geometry.camera import project_perspective
from openexpose.synth.dataset import load_shards, render_shard
from openexpose.synth.person import build_stage

COUNTS = {"body": 2, "people": 11, "hands": 22, "faces": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    stage, out = build_stage(), tmp_path_factory.mktemp("shards")
    for kind, count in COUNTS.items():
        render_shard(kind, 0, 0, count, out / f"{kind}-0-00000.npz", stage)
    (out / "hands-0-00000.evidence.npz").write_bytes(b"not a shard")
    return out


def of_kind(folder: Path, kind: str, split: str = "all") -> list[Sample]:
    return read_synthetic(folder, split, kinds=[kind]).samples


def posed(sample: Sample, slots: dict[int, int] | None = None) -> np.ndarray:
    """Keypoints of the free body; ``slots``: where else rotations of the sample's pose go."""
    model = load_body_model()
    pose = sample.pose.copy()
    for source, target in (slots or {}).items():
        pose[target], pose[source] = sample.pose[source], np.eye(3)
    expression = np.zeros(model.num_expression) if sample.expression is None else sample.expression
    return keypoints(model, pose[None], sample.betas[None], expression[None])[0].astype(float)


def test_all_kinds_are_found(folder):
    reading = read_synthetic(folder, "all")
    assert len(reading) == sum(COUNTS.values()) and not reading.skipped
    assert {s.coefficients for s in reading.samples} == {"freebody"}
    assert len({s.name for s in reading.samples}) == len(reading) and isinstance(reading.samples[0].image, bytes)


@pytest.mark.parametrize("kind", ["body", "people"])
def test_whole_people_pose_to_their_points(folder, kind):
    for sample in of_kind(folder, kind)[:3]:
        joints = posed(sample)
        np.testing.assert_allclose(joints - joints[0], sample.points_m[:, :3], atol=1e-4)
        assert sample.pose_valid.all() and sample.points_m[:, 3].all() and sample.part == "body"


def test_people_project_by_their_camera(folder):
    depths = load_shards([folder / "people-0-00000.npz"]).labels["depth_m"]
    people = read_rendered_people(folder, "all")
    for sample, person, depth in zip(of_kind(folder, "people"), people, depths, strict=True):
        joints = posed(sample) + person.transl
        found = project_perspective(joints, person.focal_px, np.array(person.image_size) / 2)
        np.testing.assert_allclose(found, sample.keypoints_px[:, :2], atol=0.1)
        assert joints[0, 2] == pytest.approx(depth, abs=1e-4)
        assert sample.read_pixels().shape == (512, 512, 3) and person.jpeg == sample.image


def test_boxes(folder):
    for sample in of_kind(folder, "people"):
        x1, y1, x2, y2 = sample.box_xyxy_px
        assert 0 <= x1 < x2 <= 512 and 0 <= y1 < y2 <= 512
        seen = sample.keypoints_px[sample.keypoints_px[:, 2] > 0, :2]
        assert ((seen > [x1 - 25, y1 - 25]) & (seen < [x2 + 25, y2 + 25])).mean() > 0.95
    crop = crop_from_boxes(of_kind(folder, "body")[0].box_xyxy_px, 1.2)
    np.testing.assert_allclose([*crop.centre_px, crop.side_px], [128, 128, 256])
    np.testing.assert_array_equal(of_kind(folder, "faces")[0].box_xyxy_px, [0, 0, 192, 192])
    np.testing.assert_array_equal(of_kind(folder, "hands")[0].box_xyxy_px, [0, 0, 224, 224])


def test_hands_are_right_hands_whose_slot_0_is_the_wrist(folder):
    for sample in of_kind(folder, "hands")[:4]:
        hand = posed(sample, {0: 21})[RIGHT_HAND21]
        np.testing.assert_allclose(hand - hand[0], sample.points_m[RIGHT_HAND21, :3], atol=3e-4)
        assert not sample.left and sample.part == "hand" and sample.expression is None
        assert np.flatnonzero(sample.pose_valid).tolist() == [0, *range(40, 55)]
        others = np.setdiff1d(np.arange(144), RIGHT_HAND21)
        assert not sample.keypoints_px[others].any() and not sample.points_m[others].any()


def test_faces_have_slot_0_for_the_head(folder):
    for sample in of_kind(folder, "faces"):
        points = posed(sample, {0: 15})
        np.testing.assert_allclose((points - points[15])[IBUG68[17:]], sample.points_m[IBUG68[17:], :3], atol=3e-4)
        assert np.flatnonzero(sample.pose_valid).tolist() == [0, 22, 23, 24] and sample.part == "face"


def test_hidden_keypoints_have_no_confidence(folder):
    visibility = load_shards([folder / "people-0-00000.npz"]).labels["visibility"]
    confidence = np.stack([s.keypoints_px[:, 2] for s in of_kind(folder, "people")])
    np.testing.assert_array_equal(confidence, visibility > 0)


def test_every_tenth_person_is_held_out(folder):
    for kind, held_out in {"people": [9], "hands": [18, 19]}.items():
        names = {split: [s.name for s in of_kind(folder, kind, split)] for split in ("train", "val", "all")}
        assert names["val"] == [names["all"][k] for k in held_out]
        assert sorted(names["train"] + names["val"]) == names["all"]
    assert [person.name for person in read_rendered_people(folder)] == ["people-0-00000/00009"]


def test_bad_input_is_told(folder, tmp_path):
    with pytest.raises(InputError, match="the split 'test'"):
        read_synthetic(folder, "test")
    with pytest.raises(InputError, match="kind 'feet'"):
        read_synthetic(folder, kinds=["feet"])
    with pytest.raises(InputError, match="without shards"):
        read_synthetic(tmp_path)
    with np.load(folder / "people-0-00000.npz") as shard:
        content = dict(shard)
    np.savez(tmp_path / "people-0-00000.npz", **(content | {"body": np.array("other")}))
    with pytest.raises(InputError, match="made with another body model"):
        read_synthetic(tmp_path)
    with pytest.raises(InputError, match="without hands shards"):
        read_synthetic(tmp_path, kinds=["hands"])
    (tmp_path / "people-0-00000.npz").write_bytes(b"nothing")
    with pytest.raises(InputError, match="cannot be read"):
        read_rendered_people(tmp_path)
