"""The frozen test set: its numbers are fixed, its pictures follow from them, training cannot reach its seeds."""

import csv
import re
from collections import Counter
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest

from openexpose.body.keypoints import INDEX
from openexpose.body.mesh import posed_mesh
from openexpose.cli.main import main
from openexpose.cli.prediction import read_boxes
from openexpose.errors import InputError
from openexpose.geometry.camera import project_perspective
from openexpose.geometry.rotation import rotvec_to_matrix
from openexpose.image.read import read_image
from openexpose.people import POSE_SLICES
from openexpose.synth import testset_freeze as freezing
from openexpose.synth import testset_pictures
from openexpose.synth.dataset import _STREAM as TRAINING_STREAMS
from openexpose.synth.pose import ARMS, STANCES, sample_body_pose
from openexpose.synth.testset import ARMS as TESTSET_ARMS
from openexpose.synth.testset import (
    PEOPLE,
    TEST_V1_SHA256,
    appearance_rng,
    checked,
    from_truth,
    quantised,
)
from openexpose.synth.testset import STANCES as TESTSET_STANCES
from openexpose.synth.testset_pictures import make_testset, read_frozen, shoot
from openexpose.synth.testset_thumbnail import difference

FROZEN = read_frozen()
EVERYONE = [FROZEN.people.person(k) for k in range(PEOPLE)]


def keypoints_px(stage, person) -> np.ndarray:
    joints = posed_mesh(stage.model, person.pose[None], person.betas[None], person.expression[None]).joints[0]
    return project_perspective(joints + person.transl, person.focal_px, np.array(person.image_size) / 2)


def test_the_numbers_are_frozen():
    assert FROZEN.people.digest() == TEST_V1_SHA256 and len(FROZEN.people) == PEOPLE == 500
    for name in FROZEN.people.__dataclass_fields__:
        changed = getattr(FROZEN.people, name).copy()
        changed.reshape(-1)[7] += 1
        with pytest.raises(InputError, match="whose numbers are not test-v1's"):
            checked(replace(FROZEN.people, **{name: changed}), "x")


def test_the_truth_is_the_numbers_dequantised():
    truth = FROZEN.people.truth()
    assert from_truth(truth, "x").digest() == TEST_V1_SHA256
    pose = np.concatenate([truth[name].reshape(PEOPLE, -1, 3) for name in POSE_SLICES], 1)
    np.testing.assert_allclose(pose * 1e4, FROZEN.people.pose, atol=1e-9)
    np.testing.assert_allclose(EVERYONE[9].pose, rotvec_to_matrix(pose[9]))
    for name, step in (("global_orient", 1e-4), ("betas", 1e-3), ("transl", 1e-4), ("focal_px", 0.01)):
        moved = truth[name].copy()
        moved.reshape(-1)[5] += step
        with pytest.raises(InputError, match="not test-v1's"):
            from_truth(truth | {name: moved}, "x")
    with pytest.raises(InputError, match="not test-v1's"):
        from_truth(truth | {"stance": np.full(PEOPLE, "fly")}, "x")
    with pytest.raises(InputError, match="'betas' with NaN"):
        quantised("betas", np.array([0.0, np.nan]))


def test_what_is_in_it():
    cuts = Counter(person.truncation for person in EVERYONE)
    assert cuts == {"whole": 300, "legs": 50, "half": 50, "side": 45, "bust": 30, "bottom": 25}
    assert Counter(person.stance for person in EVERYONE)["prior"] == 300
    assert {person.arms for person in EVERYONE} == set(TESTSET_ARMS)
    assert Counter(person.face for person in EVERYONE)["actions"] == 425
    assert all(400 <= person.height_px <= 1000 for person in EVERYONE)
    sizes = np.array([person.image_size for person in EVERYONE])
    assert sizes.min() >= 480 and sizes.max(1).min() >= 600 and sizes.max() <= 1400 and not (sizes % 2).any()
    assert all(1.2 < np.linalg.norm(person.transl) < 8.5 for person in EVERYONE)
    seen = [person.seen for person in EVERYONE]
    assert np.mean(["face" in parts for parts in seen]) >= 0.6
    assert np.mean([bool(parts & {"left hand", "right hand"}) for parts in seen]) >= 0.7
    assert len(np.unique(FROZEN.people.appearance)) == PEOPLE == len(np.unique(FROZEN.people.pose[:, 1:], axis=0))


def test_the_borders_cut_what_the_table_says(stage):
    for person in [p for k in ("whole", "legs", "half", "bust") for p in EVERYONE if p.truncation == k][::60]:
        spots = keypoints_px(stage, person)
        inside = dict(zip(INDEX, ((spots >= 0) & (spots <= person.image_size)).all(1), strict=False))
        inside = {name: inside[name] for name in ("head", "left_hip", "left_knee", "left_ankle")}
        shown = {"whole": "head left_hip left_knee left_ankle", "legs": "head left_hip", "half": "head", "bust": "head"}
        cut = {"whole": "", "legs": "left_ankle", "half": "left_ankle left_knee", "bust": "left_hip left_knee"}
        assert all(inside[name] for name in shown[person.truncation].split())
        assert not any(inside[name] for name in cut[person.truncation].split())
        x1, y1, x2, y2 = person.box_xyxy_px
        assert x1 >= 0 and y1 >= 0 and x2 <= person.image_size[0] and y2 <= person.image_size[1]
        near = spots[person.visibility == 2]
        assert ((near > [x1 - 5, y1 - 5]) & (near < [x2 + 5, y2 + 5])).all()


def test_pictures_follow_from_the_numbers(stage):
    for k in (0, 7, 301):
        shot = shoot(stage, EVERYONE[k], int(FROZEN.people.appearance[k]))
        assert difference(shot.thumbnail, FROZEN.thumbnails[k]) < 0.5
        assert (shot.visibility != EVERYONE[k].visibility).mean() < 0.03
    other = shoot(stage, EVERYONE[7], 1)
    assert difference(other.thumbnail, FROZEN.thumbnails[7]) > testset_pictures.TOLERANCE


def test_training_cannot_reach_its_random_numbers():
    """A seed is a list of 32-bit words. Training's end with its stream and the person's number; those here do not."""
    words = (5, *b"openexpose test-v1")
    np.testing.assert_array_equal(appearance_rng(5).random(4), np.random.default_rng(words).random(4))
    assert words[-2] not in TRAINING_STREAMS.values() and words[-1] != 0  # (missing words are zeros)
    same_length = sum(word << (32 * k) for k, word in enumerate(words[:-2]))  # the nearest that a --seed can come
    np.testing.assert_array_equal(
        np.random.default_rng([same_length, *words[-2:]]).random(4), appearance_rng(5).random(4)
    )
    reached = {tuple(np.random.default_rng([same_length, s, words[-1]]).random(2)) for s in TRAINING_STREAMS.values()}
    assert tuple(appearance_rng(5).random(2)) not in reached


def test_a_folder_is_made_and_goes_on(tmp_path, capsys):
    words = ["synth", "--preset", "test", "--count", "3", "--out", str(tmp_path)]
    assert main(words) == 0
    assert "test-v1, first 3 of 500 people" in capsys.readouterr().out
    pictures = sorted((tmp_path / "images").iterdir())
    assert [path.name for path in pictures] == ["0000.jpg", "0001.jpg", "0002.jpg"]
    assert all(PIL.Image.open(p).size == q.image_size for p, q in zip(pictures, EVERYONE, strict=False))
    for path, person in zip(pictures, EVERYONE, strict=False):
        assert read_image(path).focal_px == pytest.approx(person.focal_px, rel=1e-6)
    with np.load(tmp_path / "truth.npz", allow_pickle=False) as truth:
        assert truth["rendered"].sum() == 3 and from_truth(truth, "x").digest() == TEST_V1_SHA256
    assert read_boxes(tmp_path / "boxes.json")["0001.jpg"] == [EVERYONE[1].box_xyxy_px.tolist()]
    table = list(csv.DictReader((tmp_path / "table.csv").open()))
    assert len(table) == 500 and table[2]["truncation"] == EVERYONE[2].truncation
    text = (tmp_path / "README.md").read_text()
    assert "first 3 of its 500" in text and TEST_V1_SHA256 in text and "CC0" in text and not re.search(r"\{\w*\}", text)
    stamps, whole = [path.stat().st_mtime_ns for path in pictures], pictures[1].read_bytes()
    pictures[1].write_bytes(whole[:500])
    pictures[2].write_bytes(pictures[0].read_bytes())
    assert main(words) == 0
    assert pictures[1].read_bytes() == whole and not list(tmp_path.rglob("*.part"))
    assert [p.stat().st_mtime_ns == s for p, s in zip(pictures, stamps, strict=True)] == [True, False, False]


def test_a_changed_renderer_is_told(stage, tmp_path, monkeypatch):
    monkeypatch.setattr(testset_pictures, "build_stage", lambda *_: stage)
    away = replace(FROZEN, thumbnails=FROZEN.thumbnails[::-1])
    monkeypatch.setattr(testset_pictures, "read_frozen", lambda _: away)
    with pytest.raises(InputError, match=r"picture 0000 that differs from test-v1's by \d+"):
        list(make_testset(tmp_path, count=1))
    monkeypatch.setattr("openexpose.synth.testset.TEST_V1_BODY", "other")
    with pytest.raises(InputError, match=r"the body model \w+; expected other, which test-v1"):
        list(make_testset(tmp_path, count=1))
    assert not list((tmp_path / "images").iterdir())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["test", "--seed", "3"], "--preset test with --seed"),
        (["test", "--body", "x.npz"], "--preset test with --body"),
        (["test", "--count", "501"], "count 501, workers 1; expected 1 to 500 pictures"),
        (["test", "--count", "0"], "count 0"),
        (["body"], "--preset body without --count"),
    ],
)
def test_bad_words(words, told, tmp_path, capsys):
    assert main(["synth", "--preset", *words, "--out", str(tmp_path)]) == 2
    assert told in capsys.readouterr().err


def test_a_file_without_the_numbers_is_told(tmp_path):
    with pytest.raises(InputError, match=r"test-v1\.npz.*cannot be read"):
        read_frozen(tmp_path)
    np.savez(tmp_path / "test-v1.npz", pose=np.zeros(3))
    with pytest.raises(InputError, match="without betas"):
        read_frozen(tmp_path)


def test_people_are_drawn_to_order(stage):
    kinds = freezing.kinds()
    assert len(kinds) == PEOPLE and Counter(k.truncation for k in kinds)["whole"] == 300
    assert not [k for k in kinds if k.stance == "lie" and k.truncation in ("legs", "half", "bust")]
    draft, shot = freezing.draw(3, kinds[3], stage)
    width, height = draft["image_size"].tolist()
    x1, y1, x2, y2 = draft["box"].tolist()
    assert 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height and 400 <= max(x2 - x1, y2 - y1) <= 1000
    assert kinds[3].truncation == "whole" and ((shot.vertices_px >= 0) & (shot.vertices_px <= [width, height])).all()
    assert draft["stance"] == TESTSET_STANCES.index(kinds[3].stance)


def test_stance_and_arms_can_be_chosen(stage):
    source, rng = stage.poses, np.random.default_rng
    assert set(TESTSET_STANCES) <= set(STANCES) and set(TESTSET_ARMS) <= {"as they are", *ARMS}
    lying = [sample_body_pose(rng(k), source, stance="lie", arms="as they are")[0] for k in range(5)]
    assert min(np.linalg.norm(lying, axis=1)) > np.radians(60)
    assert all(np.isfinite(sample_body_pose(rng(1), source, arms=arms)).all() for arms in ARMS)
