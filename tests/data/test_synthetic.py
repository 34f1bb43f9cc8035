"""Shards of every kind become samples whose labels pose, project and split as they should."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.synth.photos import free_body, make_photos

from openexpose.body.keypoints import IBUG68, LEFT_HAND21, PARTS, RIGHT_HAND21
from openexpose.body.mesh import keypoints
from openexpose.data.sample import Sample
from openexpose.data.synthetic import read_rendered_people, read_synthetic
from openexpose.errors import InputError
from openexpose.geometry.boxes import crop_from_boxes
from openexpose.geometry.camera import project_perspective
from openexpose.synth.digest import body_digest
from openexpose.synth.photo import OCCLUDED, VISIBLE, Photo
from openexpose.synth.shard_files import Origin, write_shard
from openexpose.synth.shards import load_shards

COUNTS = {"body": 2, "people": 11, "hands": 22, "faces": 2}
SIZE = (480, 400)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("shards")
    digest = body_digest(free_body())
    for kind, count in COUNTS.items():
        options = {"size": SIZE, "people": 2} if kind == "people" else {"size": (64, 64)}
        photos = list(make_photos(kind, count, **options))
        if kind == "people":
            photos[0] = far_and_hidden(photos[0])
        half = count // 2
        write_shard(out / f"{kind}-0-00000.tar", Origin(kind, 0, 0, digest), photos[:half])
        write_shard(out / f"{kind}-0-00001.tar", Origin(kind, 0, half, digest), photos[half:])
    (out / "hands-0-00000.evidence.npz").write_bytes(b"not a shard")
    return out


def far_and_hidden(photo: Photo) -> Photo:
    """Person 0 is too small, of person 1 only seven body keypoints are seen."""
    first, second = photo.people
    seen = np.full(144, VISIBLE, np.uint8)
    seen[PARTS["body"][7:]] = OCCLUDED
    small = np.array([10.0, 10.0, 60.0, 109.0])
    return replace(photo, people=(replace(first, box_xyxy_px=small), replace(second, visibility=seen)))


def labels_of(folder: Path, kind: str) -> dict[str, np.ndarray]:
    return load_shards(sorted(folder.glob(f"{kind}-*.tar"))).labels


def of_kind(folder: Path, kind: str, split: str = "all") -> list[Sample]:
    return read_synthetic(folder, split, kinds=[kind]).samples


def posed(sample: Sample, slots: dict[int, int] | None = None) -> np.ndarray:
    """Keypoints of the free body; ``slots``: where else rotations of the sample's pose go."""
    model = free_body()
    pose = sample.pose.copy()
    for source, target in (slots or {}).items():
        pose[target], pose[source] = sample.pose[source], np.eye(3)
    expression = np.zeros(model.num_expression) if sample.expression is None else sample.expression
    return keypoints(model, pose[None], sample.betas[None], expression[None])[0].astype(float)


def test_all_kinds_are_found(folder):
    reading = read_synthetic(folder, "all")
    assert len(reading) == sum(COUNTS.values()) + 9 and not reading.skipped
    assert {s.coefficients for s in reading.samples} == {"freebody"}
    assert len({s.name for s in reading.samples}) == len(reading) and isinstance(reading.samples[0].image, bytes)


@pytest.mark.parametrize("kind", ["body", "people"])
def test_whole_people_pose_to_their_points(folder, kind):
    for sample in of_kind(folder, kind)[:3]:
        joints = posed(sample)
        np.testing.assert_allclose(joints - joints[0], sample.points_m[:, :3], atol=1e-4)
        assert sample.pose_valid.all() and sample.points_m[:, 3].all() and sample.part == "body"


def test_everybody_large_enough_in_a_picture_is_a_sample(folder):
    samples = of_kind(folder, "people")
    assert [s.name for s in samples] == [f"people-0-{k:07d}-{p}" for k in range(1, 11) for p in range(2)]
    pixels = [sample.read_pixels() for sample in samples[:2]]
    assert samples[0].image is samples[1].image and pixels[0].shape == (*SIZE[::-1], 3)


def test_people_project_by_their_camera(folder):
    people = read_rendered_people(folder, "all")
    for sample, person in zip(of_kind(folder, "people"), people, strict=True):
        joints = posed(sample) + person.transl
        found = project_perspective(joints, person.focal_px, np.array(person.image_size) / 2)
        np.testing.assert_allclose(found, sample.keypoints_px[:, :2], atol=0.1)
        np.testing.assert_allclose(joints - joints[0], sample.points_m[:, :3], atol=1e-4)
        assert person.jpeg == sample.image and person.name == sample.name and person.image_size == SIZE
        assert person.focal_px == sample.focal_px


def test_boxes(folder):
    for sample in of_kind(folder, "people"):
        x1, y1, x2, y2 = sample.box_xyxy_px
        assert 0 <= x1 < x2 <= SIZE[0] and 0 <= y1 < y2 <= SIZE[1]
    crop = crop_from_boxes(of_kind(folder, "body")[0].box_xyxy_px, 1.2)
    np.testing.assert_allclose([*crop.centre_px, crop.side_px], [32, 32, 64])
    for kind in ("faces", "hands"):
        np.testing.assert_array_equal(of_kind(folder, kind)[0].box_xyxy_px, [0, 0, 64, 64])


def test_hands_keep_their_side_and_slot_0_is_the_wrist(folder):
    for number, sample in enumerate(of_kind(folder, "hands")[:6]):
        left = number % 2 == 1
        chosen, wrist, first = (LEFT_HAND21, 20, 25) if left else (RIGHT_HAND21, 21, 40)
        hand = posed(sample, {0: wrist})[chosen]
        np.testing.assert_allclose(hand - hand[0], sample.points_m[chosen, :3], atol=3e-4)
        assert sample.left == left and sample.part == "hand" and sample.expression is None
        assert np.flatnonzero(sample.pose_valid).tolist() == [0, *range(first, first + 15)]
        others = np.setdiff1d(np.arange(144), chosen)
        assert not sample.keypoints_px[others].any() and not sample.points_m[others].any()


def test_faces_have_slot_0_for_the_head_and_its_contour(folder):
    heads = labels_of(folder, "faces")["keypoints_m"][:, 15]
    for sample, head in zip(of_kind(folder, "faces"), heads, strict=True):
        points = posed(sample)
        np.testing.assert_allclose((points - points[15])[IBUG68], sample.points_m[IBUG68, :3], atol=3e-4)
        assert np.flatnonzero(sample.pose_valid).tolist() == [0, 22, 23, 24] and sample.part == "face"
        found = project_perspective(sample.points_m[IBUG68, :3] + head, sample.focal_px, np.array([32, 32]))
        np.testing.assert_allclose(found, sample.keypoints_px[IBUG68, :2], atol=0.01)


def test_hidden_keypoints_have_no_confidence(folder):
    visibility = labels_of(folder, "people")["visibility"][2:]
    confidence = np.stack([s.keypoints_px[:, 2] for s in of_kind(folder, "people")])
    np.testing.assert_array_equal(confidence, visibility > 0)


def test_of_ten_pictures_the_last_is_held_out(folder):
    for kind, held_out in {"people": [9], "hands": [9, 19]}.items():
        names = {split: [s.name for s in of_kind(folder, kind, split)] for split in ("train", "val", "all")}
        assert {name.split("-")[2] for name in names["val"]} == {f"{k:07d}" for k in held_out}
        assert sorted(names["train"] + names["val"]) == names["all"]
    assert [person.name for person in read_rendered_people(folder)] == ["people-0-0000009-0", "people-0-0000009-1"]


def test_bad_input_is_told(folder, tmp_path):
    with pytest.raises(InputError, match="the split 'test'"):
        read_synthetic(folder, "test")
    with pytest.raises(InputError, match="kind 'feet'"):
        read_synthetic(folder, kinds=["feet"])
    with pytest.raises(InputError, match="without shards"):
        read_synthetic(tmp_path)
    path = tmp_path / "people-0-00000.tar"
    write_shard(path, Origin("people", 0, 0, body_digest(free_body())), make_photos("people", 2))
    with pytest.raises(InputError, match=r"the empty split 'val'.*at least 10 pictures"):
        read_rendered_people(tmp_path)
    write_shard(path, Origin("people", 0, 0, "other"), make_photos("people", 2))
    with pytest.raises(InputError, match="made with another body model"):
        read_synthetic(tmp_path)
    with pytest.raises(InputError, match="without hands shards"):
        read_synthetic(tmp_path, kinds=["hands"])
    path.write_bytes(b"nothing")
    with pytest.raises(InputError, match="cannot be read"):
        read_rendered_people(tmp_path)
