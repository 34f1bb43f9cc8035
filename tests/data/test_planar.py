"""Readers of 2D data sets: every keypoint lands where the truth is, and broken labels are told in a sentence."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat
from tests.data import fixtures_planar as made
from tests.data.people import Person, people, save_picture

from openexpose.body.keypoints import INDEX, PARTS
from openexpose.data.planar import (
    read_coco,
    read_coco_wholebody,
    read_lsp,
    read_lsp_extended,
    read_mpii,
    read_openpose,
)
from openexpose.data.sample import Sample
from openexpose.errors import InputError

SPARSE = "people with fewer than 4 labelled keypoints"


@pytest.fixture(scope="module")
def crowd() -> list[Person]:
    return people(3, seed=5, size=400)


def agree(sample: Sample, person: Person, names: list, *, confidence: float = 1.0, tolerance_px: float = 1e-4) -> None:
    """Exactly the named keypoints are labelled, at the truth; the person's left is on the picture's right."""
    expected = sorted({INDEX[name] for name in names if name is not None})
    assert np.flatnonzero(sample.keypoints_px[:, 2]).tolist() == expected
    np.testing.assert_allclose(sample.keypoints_px[expected, 2], confidence, rtol=1e-6)
    np.testing.assert_allclose(sample.keypoints_px[expected, :2], person.points_px[expected], atol=tolerance_px)
    assert not sample.keypoints_px[sample.keypoints_px[:, 2] == 0].any()
    for part in ("shoulder", "hip"):
        left, right = (sample.keypoints_px[INDEX[f"{side}_{part}"]] for side in ("left", "right"))
        assert left[0] > right[0] + 10.0
    assert sample.part == "body"


def write_coco(folder: Path, entries: list[dict]) -> Path:
    return made.write_coco(folder / "annotations" / "person_keypoints_train2017.json", entries)


def test_coco(tmp_path: Path, crowd: list[Person]) -> None:
    entries = [made.coco_entry(person, k) for k, person in enumerate(crowd)]
    group = {**entries[0], "id": 5000, "iscrowd": 1, "keypoints": [0] * 51}
    faint = {**entries[0], "id": 5001, "keypoints": entries[0]["keypoints"][:9] + [0] * 42}
    write_coco(tmp_path, [*entries, group, faint, {**faint, "id": 5002}])
    made.write_coco(tmp_path / "annotations" / "person_keypoints_train2014.json", entries[:1])
    save_picture(tmp_path / "train2017" / "000000000007.jpg", crowd[0].pixels)

    reading = read_coco(tmp_path)

    assert [sample.name.rpartition("/")[2] for sample in reading.samples] == ["1000", "1001", "1002"]
    assert reading.skipped == [f"2 {SPARSE}"]
    for sample, person in zip(reading.samples, crowd, strict=True):
        agree(sample, person, made.COCO, tolerance_px=0.5001)
        x, y, width, height = made.box_xywh(person)
        np.testing.assert_allclose(sample.box_xyxy_px, [x, y, x + width, y + height])
    errors = [s.keypoints_px[s.keypoints_px[:, 2] > 0, :2] for s in reading.samples]
    truths = [p.points_px[s.keypoints_px[:, 2] > 0] for s, p in zip(reading.samples, crowd, strict=True)]
    assert abs(np.mean(np.array(errors) - np.array(truths))) < 0.12, "half a pixel off"
    assert reading.samples[0].image == reading.samples[1].image == tmp_path / "train2017" / "000000000007.jpg"
    assert reading.samples[0].read_pixels().shape == crowd[0].pixels.shape
    assert len(read_coco(tmp_path, "train2014")) == 1


def test_coco_unlabelled_keypoints_have_no_confidence(tmp_path: Path, crowd: list[Person]) -> None:
    entry = made.coco_entry(crowd[0], 0)
    entry["keypoints"][9 * 3 : 10 * 3] = [0, 0, 0]
    write_coco(tmp_path, [entry])
    (sample,) = read_coco(tmp_path).samples
    agree(sample, crowd[0], [name for name in made.COCO if name != "left_wrist"], tolerance_px=0.5001)


def test_coco_broken_people_are_told(tmp_path: Path, crowd: list[Person]) -> None:
    good = made.coco_entry(crowd[0], 0)
    changes = {
        1: {"keypoints": [float("nan"), *good["keypoints"][1:]]},
        2: {"keypoints": good["keypoints"][:-3]},
        3: {"bbox": [5.0, 5.0, 0.0, 9.0]},
        4: {"image_id": 99},
        5: {"bbox": None},
    }
    entries = [{**good, **change, "id": k} for k, change in changes.items()]
    del good["keypoints"]
    write_coco(tmp_path, [*entries, {**good, "id": 6}, made.coco_entry(crowd[1], 1)])
    reading = read_coco(tmp_path)
    assert len(reading) == 1
    told = dict(enumerate(reading.skipped, 1))
    words = {1: "NaN", 2: "48 numbers; expected 51", 3: "box", 4: "image_id 99", 5: "not read", 6: "'keypoints'"}
    assert len(told) == len(words)
    for k, word in words.items():
        assert word in told[k]
        assert told[k].startswith(f"coco/person_keypoints_train2017/{k}: ")


def test_wholebody(tmp_path: Path, crowd: list[Person]) -> None:
    entries = [made.wholebody_entry(person, k) for k, person in enumerate(crowd)]
    entries[0]["keypoints"][9 * 3 : 10 * 3] = [0, 0, 0]  # the left wrist is known from the hand alone
    entries[1] |= {"face_valid": False, "righthand_valid": False, "foot_valid": False}
    made.write_coco(tmp_path / "annotations" / "coco_wholebody_val_v1.0.json", entries)
    (tmp_path / "images" / "val2017").mkdir(parents=True)

    reading = read_coco_wholebody(tmp_path, "val")

    everything = made.COCO + made.FEET + made.FACE + made.LEFT_HAND + made.RIGHT_HAND
    assert len(set(everything)) == 17 + 6 + 68 + 20 + 20
    agree(reading.samples[0], crowd[0], everything, tolerance_px=0.5001)
    agree(reading.samples[1], crowd[1], made.COCO + made.LEFT_HAND, tolerance_px=0.5001)
    for sample, person in zip(reading.samples[::2], crowd[::2], strict=True):
        beyond = [INDEX[name] for name in everything if name not in made.COCO]
        np.testing.assert_allclose(sample.keypoints_px[beyond, :2], person.points_px[beyond], atol=1e-4)
    wrist = INDEX["left_wrist"]
    np.testing.assert_allclose(reading.samples[0].keypoints_px[wrist, :2], crowd[0].points_px[wrist], atol=1e-4)
    body_wrist = np.floor(crowd[1].points_px[wrist]) + 0.5
    np.testing.assert_array_equal(reading.samples[1].keypoints_px[wrist, :2], body_wrist)
    assert reading.samples[2].image == tmp_path / "images" / "val2017" / "000000000008.jpg"
    assert not reading.skipped


def test_mpii_json(tmp_path: Path, crowd: list[Person]) -> None:
    entries = [made.mpii_entry(person, k) for k, person in enumerate(crowd)]
    entries[1]["joints_vis"][0] = 0
    entries[2]["joints"][15], entries[2]["center"], entries[2]["scale"] = [-1.0, -1.0], [-1.0, -1.0], -1.0
    sparse = {**entries[0], "joints_vis": [1, 1, 1] + [0] * 13}
    broken = {**entries[0], "joints": entries[0]["joints"][:15]}
    nan = {**entries[0], "joints": [[float("nan"), 3.0], *entries[0]["joints"][1:]]}
    made.write_json(tmp_path / "annot" / "valid.json", [*entries, sparse, broken, nan])

    reading = read_mpii(tmp_path, "val")

    agree(reading.samples[0], crowd[0], made.MPII)
    assert reading.samples[0].image == tmp_path / "images" / "000000000.jpg"
    labelled = reading.samples[1].keypoints_px[:, 2] > 0
    assert not labelled[INDEX["right_ankle"]]
    assert labelled.sum() == 12
    agree(reading.samples[2], crowd[2], [name for name in made.MPII if name != "left_wrist"])
    check_mpii_box(reading.samples[0], crowd[0])
    joints = made.points_px(crowd[2], made.MPII)[:15]
    np.testing.assert_allclose(reading.samples[2].box_xyxy_px, [*joints.min(0), *joints.max(0)])
    assert len(reading.skipped) == 3
    assert reading.skipped[0].startswith("mpii/valid/4: ")
    assert "NaN" in reading.skipped[1]
    assert reading.skipped[2] == f"1 {SPARSE}"


def check_mpii_box(sample: Sample, person: Person) -> None:
    """The square about the pelvis, widened to the joints."""
    half = 0.25 * np.ptp(person.points_px[:, 1])
    points = np.concatenate([made.points_px(person, made.MPII), person.points_px[0] + [[-half], [half]]])
    np.testing.assert_allclose(sample.box_xyxy_px, [*points.min(0), *points.max(0)])


def test_mpii_matlab(tmp_path: Path, crowd: list[Person]) -> None:
    made.write_mpii_mat(tmp_path / "mpii_human_pose_v1_u12_2", crowd)

    reading = read_mpii(tmp_path)

    assert [s.name for s in reading.samples] == [f"mpii/00000000{k}" for k in ("0/0", "1/0", "2/0", "3/0", "3/2")]
    for sample, person in zip(reading.samples, [*crowd, crowd[0], crowd[0]], strict=True):
        agree(sample, person, made.MPII)
    for sample, person in zip(reading.samples[:3], crowd, strict=True):
        check_mpii_box(sample, person)
    joints = made.points_px(crowd[0], made.MPII)
    np.testing.assert_allclose(reading.samples[4].box_xyxy_px, [*joints.min(0), *joints.max(0)])
    assert reading.skipped == [f"1 {SPARSE}"]
    with pytest.raises(InputError, match="for the split 'train' only"):
        read_mpii(tmp_path, "val")


def test_mpii_formats_agree(tmp_path: Path, crowd: list[Person]) -> None:
    made.write_json(tmp_path / "a" / "annot" / "train.json", [made.mpii_entry(p, k) for k, p in enumerate(crowd)])
    made.write_mpii_mat(tmp_path / "b", crowd)
    for one, other in zip(read_mpii(tmp_path / "a").samples, read_mpii(tmp_path / "b").samples[:3], strict=True):
        np.testing.assert_allclose(one.keypoints_px, other.keypoints_px, atol=1e-4)
        np.testing.assert_allclose(one.box_xyxy_px, other.box_xyxy_px)
        assert one.image.name == other.image.name


def test_lsp(tmp_path: Path, crowd: list[Person]) -> None:
    made.write_lsp(tmp_path, crowd)
    train, test = read_lsp(tmp_path), read_lsp(tmp_path, "test")
    assert len(train) == len(test) == 1000
    agree(train.samples[0], crowd[0], made.LSP)
    agree(train.samples[1], crowd[1], made.LSP)
    agree(test.samples[0], crowd[2], made.LSP)
    assert [s.image.name for s in (train.samples[0], test.samples[-1])] == ["im0001.jpg", "im2000.jpg"]
    assert train.samples[1].read_pixels().shape == crowd[1].pixels.shape
    head_and_joints = made.points_px(crowd[0], made.LSP)
    np.testing.assert_allclose(train.samples[0].box_xyxy_px, [*head_and_joints.min(0), *head_and_joints.max(0)])


def test_lsp_extended(tmp_path: Path, crowd: list[Person]) -> None:
    joints = made.write_lsp_extended(tmp_path, crowd)
    reading = read_lsp_extended(tmp_path)
    assert len(reading) == 2
    agree(reading.samples[0], crowd[0], made.LSP)
    labelled = np.flatnonzero(reading.samples[1].keypoints_px[:, 2])
    assert sorted(labelled) == sorted(INDEX[name] for name in made.LSP[3:] if name)
    np.testing.assert_allclose(reading.samples[1].keypoints_px[labelled, :2], crowd[1].points_px[labelled])
    assert reading.samples[1].box_xyxy_px.min() > 0, "unlabelled joints do not widen the box"
    assert reading.skipped == [f"9998 {SPARSE}"]
    assert reading.samples[1].image.name == "im00002.jpg"

    savemat(tmp_path / "joints.mat", {"joints": np.where(joints == joints[9, 0, 0], np.nan, joints)[..., :3]})
    for name in ("im00003", "im00017", "im00040"):
        save_picture(tmp_path / "images" / f"{name}.png", crowd[0].pixels[:9, :9])
    reading = read_lsp_extended(tmp_path)
    assert [sample.image.name for sample in reading.samples] == ["im00017.png"]
    assert reading.skipped[0].startswith("lsp-extended/im00001: ")
    assert "NaN" in reading.skipped[0]


def test_openpose(tmp_path: Path, crowd: list[Person]) -> None:
    whole = made.openpose_person(crowd[0])
    whole["pose_keypoints_2d"][2] = 1.02  # OpenPose's confidences can exceed 1
    no_hands = made.openpose_person(crowd[1], hands=False)
    faint = {**no_hands, "pose_keypoints_2d": no_hands["pose_keypoints_2d"][:9] + [0.0] * 66}
    old = {**no_hands, "pose_keypoints_2d": [5.0] * 54}
    scaled = {**no_hands, "pose_keypoints_2d": [0.5] * 75}
    files = {"a b": [whole, no_hands, faint, old, scaled, 7], "nobody": [], "lost": [whole]}
    for stem, found in files.items():
        made.write_json(tmp_path / "keypoints" / f"{stem}_keypoints.json", {"version": 1.3, "people": found})
    (tmp_path / "keypoints" / "torn_keypoints.json").write_text('{"people": [')
    save_picture(tmp_path / "images" / "a b.png", crowd[0].pixels)

    reading = read_openpose(tmp_path)

    assert [sample.name for sample in reading.samples] == ["openpose/a b/0", "openpose/a b/1"]
    agree(reading.samples[1], crowd[1], made.BODY_25, confidence=0.9)
    sample, body = reading.samples[0], np.setdiff1d(PARTS["body"], [INDEX["nose"]])
    assert sample.image == tmp_path / "images" / "a b.png"
    known = {INDEX[name] for name in made.BODY_25 + made.LEFT_HAND + made.RIGHT_HAND + made.FACE}
    assert known == set(np.flatnonzero(sample.keypoints_px[:, 2]))
    rows = sorted(known)
    np.testing.assert_allclose(sample.keypoints_px[rows, :2], crowd[0].points_px[rows])
    assert sample.keypoints_px[INDEX["nose"], 2] == 1.0
    confidence = np.round(sample.keypoints_px[:, 2].astype(float), 6)
    assert set(confidence[body]) == {0.0, 0.9}, "the body's wrists go before the hands'"
    assert (confidence[[INDEX["left_thumb2"], INDEX["right_pinky"]]] == 0.6).all()
    assert (confidence[PARTS["face"]] == 0.5).all()
    points = crowd[0].points_px[rows]
    np.testing.assert_allclose(sample.box_xyxy_px, [*points.min(0), *points.max(0)])
    words = ["54 numbers", "--keypoint_scale 0", "not read", "no picture 'lost'", "JSON", "1 pictures in which", SPARSE]
    assert len(reading.skipped) == len(words)
    for sentence, word in zip(reading.skipped, words, strict=True):
        assert word in sentence


def test_openpose_all_in_one_folder(tmp_path: Path, crowd: list[Person]) -> None:
    made.write_json(tmp_path / "x_keypoints.json", {"people": [made.openpose_person(crowd[0])]})
    save_picture(tmp_path / "x.jpg", crowd[0].pixels)
    (sample,) = read_openpose(tmp_path).samples
    assert sample.image == tmp_path / "x.jpg"


READERS = [read_coco, read_coco_wholebody, read_mpii, read_lsp, read_lsp_extended, read_openpose]


@pytest.mark.parametrize("read", READERS)
def test_missing_folders_and_files_are_told(read: Callable, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder"):
        read(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"without|no file"):
        read(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"images": [], "annotations": []}', "[[]", "\x00", "7"])
@pytest.mark.parametrize(
    ("read", "name"),
    [
        (read_coco, "annotations/person_keypoints_train2017.json"),
        (read_coco_wholebody, "annotations/coco_wholebody_train_v1.0.json"),
        (read_mpii, "annot/train.json"),
    ],
)
def test_damaged_json_is_told(read: Callable, name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir()
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=name.rpartition("/")[2]):
        read(tmp_path)


@pytest.mark.parametrize(
    ("read", "name"),
    [(read_mpii, "mpii_human_pose_v1_u12_1.mat"), (read_lsp, "joints.mat"), (read_lsp_extended, "joints.mat")],
)
def test_damaged_matlab_files_are_told(read: Callable, name: str, tmp_path: Path) -> None:
    savemat(tmp_path / name, {"else": np.zeros((2, 2)), "joints": np.zeros((4, 4))})
    with pytest.raises(InputError, match=name):
        read(tmp_path)
    whole = (tmp_path / name).read_bytes()
    for content in (b"", b"x" * 300, whole[: len(whole) // 2], b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" * 9):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=name):
            read(tmp_path)


def test_lsp_and_its_extension_are_told_apart(tmp_path: Path, crowd: list[Person]) -> None:
    made.write_lsp(tmp_path / "lsp", crowd)
    made.write_lsp_extended(tmp_path / "lspet", crowd)
    with pytest.raises(InputError, match="This is LSP-extended"):
        read_lsp(tmp_path / "lspet")
    with pytest.raises(InputError, match="This is LSP"):
        read_lsp_extended(tmp_path / "lsp")
    with pytest.raises(InputError, match="split"):
        read_lsp(tmp_path / "lsp", "val")
    with pytest.raises(InputError, match="split"):
        read_lsp_extended(tmp_path / "lspet", "test")
