"""Readers of whole-body fits: keypoints and rotations are the truth's, and confidences follow the paper's rules."""

from pathlib import Path

import numpy as np
import pytest
from tests.data import fixtures as made
from tests.data.people import Person

from openexpose.body.keypoints import INDEX, PARTS
from openexpose.data.labels import MIN_KEYPOINTS, binary_confidence
from openexpose.data.sample import Sample
from openexpose.data.smplx_sets import read_curated_fits, read_h36m, read_spin
from openexpose.errors import InputError

FINGERS = {side: np.setdiff1d(PARTS[side], [20, 21]) for side in ("left_hand", "right_hand")}


def agree(sample: Sample, person: Person, names: list) -> None:
    """Exactly the named keypoints are labelled, with confidence 1, where the truth projects."""
    expected = sorted({INDEX[name] for name in names if name})
    assert np.flatnonzero(sample.keypoints_px[:, 2]).tolist() == expected
    assert (sample.keypoints_px[expected, 2] == 1.0).all()
    np.testing.assert_allclose(sample.keypoints_px[expected, :2], person.points_px[expected], atol=1e-3)


def same_pose(sample: Sample, person: Person, joints: np.ndarray) -> None:
    """Exactly these joints are valid and are the truth's."""
    assert np.flatnonzero(sample.pose_valid).tolist() == joints.tolist()
    np.testing.assert_allclose(sample.pose[joints], person.pose[joints], atol=1e-5)


@pytest.mark.parametrize("eyes", [True, False])
def test_curated_fits_are_the_truth(tmp_path: Path, eyes: bool) -> None:
    crowd = made.write_curated_fits(tmp_path, eyes=eyes)
    reading = read_curated_fits(tmp_path)
    assert len(reading) == len(crowd) and not reading.skipped
    names = made.BODY_25 + made.LEFT_HAND + made.RIGHT_HAND + made.FACE
    for sample, person in zip(reading.samples, crowd, strict=True):
        agree(sample, person, names)
        same_pose(sample, person, np.r_[0:23, 25:55])
        np.testing.assert_allclose(sample.betas, person.betas)
        np.testing.assert_allclose(sample.expression, person.expression[:10])
        labelled = person.points_px[[INDEX[name] for name in names]]
        np.testing.assert_allclose(sample.box_xyxy_px, np.r_[labelled.min(0), labelled.max(0)], atol=1e-3)
        assert (sample.read_pixels() == person.pixels).all()
        left, right = (sample.keypoints_px[INDEX[f"{side}_index1"], 0] for side in ("left", "right"))
        assert left > right  # seen from the front, the person's left is on the right


def test_left_and_right_fingers_lie_in_their_own_slots(tmp_path: Path) -> None:
    person = made.write_curated_fits(tmp_path)[0]
    sample = read_curated_fits(tmp_path).samples[0]
    assert np.abs(person.pose[25:40] - person.pose[40:55]).max() > 0.1
    np.testing.assert_allclose(sample.pose[25], person.pose[INDEX["left_index1"]], atol=1e-5)
    np.testing.assert_allclose(sample.pose[40], person.pose[INDEX["right_index1"]], atol=1e-5)


def test_thresholds_differ_by_part_and_confidence_becomes_binary() -> None:
    keypoints = np.ones((144, 3))
    face, left = PARTS["face"], FINGERS["left_hand"]
    keypoints[[0, 1], 2] = 0.1, 0.09
    keypoints[left[:2], 2] = 0.2, 0.19
    keypoints[face[:2], 2] = 0.4, 0.39
    keypoints[2, 2] = -1.0
    found = binary_confidence(keypoints)[:, 2]
    assert set(found) == {0.0, 1.0}
    assert np.flatnonzero(found == 0).tolist() == sorted([1, 2, left[1], face[1]])


@pytest.mark.parametrize("part", ["left_hand", "right_hand"])
@pytest.mark.parametrize("count", [MIN_KEYPOINTS - 1, MIN_KEYPOINTS])
def test_hands_of_few_keypoints_count_as_unlabelled(part: str, count: int) -> None:
    keypoints = np.ones((144, 3))
    keypoints[FINGERS[part][count - 1 :], 2] = 0.0  # the wrist is one of them
    found = binary_confidence(keypoints)[FINGERS[part], 2]
    assert found.sum() == (count - 1 if count >= MIN_KEYPOINTS else 0)
    assert binary_confidence(keypoints)[[20, 21], 2].all()


def test_what_has_no_keypoints_has_no_rotations_and_no_expression(tmp_path: Path) -> None:
    made.write_curated_fits(tmp_path)
    with np.load(tmp_path / "train.npz") as file:
        keypoints = file["keypoints2D"]
    keypoints[0, 25:46, 2] = 0.19
    keypoints[1, 46:67, 2] = 0.19
    keypoints[2, 67:, 2] = 0.39
    keypoints[2, [0, 15, 16, 17, 18], 2] = 0.0
    made.rewrite(tmp_path / "train.npz", keypoints2D=keypoints)
    no_left, no_right, no_face, whole = read_curated_fits(tmp_path).samples
    assert not no_left.pose_valid[25:40].any() and no_left.pose_valid[40:].all() and no_left.expression is not None
    assert not no_right.pose_valid[40:].any() and no_right.pose_valid[25:40].all()
    assert not no_face.pose_valid[22] and no_face.expression is None and no_face.pose_valid[25:].all()
    assert whole.pose_valid[22] and not whole.pose_valid[23:25].any()
    assert no_left.keypoints_px[INDEX["left_wrist"], 2] == 1.0  # the body's wrist stays


def test_broken_samples_are_skipped_and_named(tmp_path: Path) -> None:
    made.write_curated_fits(tmp_path)
    with np.load(tmp_path / "train.npz") as file:
        keypoints, pose, betas = file["keypoints2D"], file["pose"], file["betas"]
    keypoints[0, 3, 0], pose[1, 5, 1], betas[2, 0] = np.nan, np.nan, np.inf
    made.rewrite(tmp_path / "train.npz", keypoints2D=keypoints, pose=pose, betas=betas)
    reading = read_curated_fits(tmp_path)
    assert [sample.name for sample in reading.samples] == ["curated_fits/train/train_3.png"]
    assert [f"train_{k}.png" in sentence for k, sentence in enumerate(reading.skipped)] == [True] * 3
    keypoints[3, :, 2] = 0.0
    made.rewrite(tmp_path / "train.npz", keypoints2D=keypoints)
    reading = read_curated_fits(tmp_path)
    assert not reading.samples and "at least two" in reading.skipped[3]


def test_curated_fits_say_what_is_missing_or_wrong(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no file .*train\.npz"):
        read_curated_fits(tmp_path)
    made.write_curated_fits(tmp_path)
    with pytest.raises(InputError, match=r"no file .*val\.npz"):
        read_curated_fits(tmp_path, "val")
    with pytest.raises(InputError, match="split 'dev'"):
        read_curated_fits(tmp_path, "dev")
    path = tmp_path / "train.npz"
    made.rewrite(path, betas=np.zeros((3, 10)))
    with pytest.raises(InputError, match="different lengths"):
        read_curated_fits(tmp_path)
    made.rewrite(path, betas=np.zeros((4, 10)), keypoints2D=np.zeros((4, 135, 3)))
    with pytest.raises(InputError, match=r"keypoints2D.*\[4, 135, 3\].*\[any, 137, 3\]"):
        read_curated_fits(tmp_path)
    made.rewrite(path, keypoints2D=np.zeros((4, 137, 3)), pose=np.zeros((4, 54, 3)))
    with pytest.raises(InputError, match="54 rotations"):
        read_curated_fits(tmp_path)
    made.rewrite(path, pose=None)
    with pytest.raises(InputError, match="without pose"):
        read_curated_fits(tmp_path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match="does not read as npz"):
        read_curated_fits(tmp_path)


def test_spin_keeps_fitted_rows_and_their_bodies(tmp_path: Path) -> None:
    crowd = made.write_spin(tmp_path)
    reading = read_spin(tmp_path)
    assert len(reading) == len(crowd)
    for sample, person in zip(reading.samples, crowd, strict=True):
        agree(sample, person, made.SPIN)
        same_pose(sample, person, np.arange(22))
        assert sample.expression is None
        low, high = person.points_px.min(0), person.points_px.max(0)
        side = (high - low).max()
        np.testing.assert_allclose(sample.box_xyxy_px[2:] - sample.box_xyxy_px[:2], side, rtol=1e-6)
        np.testing.assert_allclose(sample.box_xyxy_px[:2] + side / 2, (low + high) / 2, rtol=1e-6)
        assert sample.image.is_file()


def test_spin_with_hands_and_faces_gives_whole_fits(tmp_path: Path) -> None:
    crowd = made.write_spin(tmp_path, name="coco", whole=True)
    made.write_spin(tmp_path, name="lspet", count=1)
    reading = read_spin(tmp_path)
    assert [sample.name.split("/")[1] for sample in reading.samples] == ["lspet"] + ["coco"] * len(crowd)
    for sample, person in zip(reading.samples[1:], crowd, strict=True):
        agree(sample, person, made.BODY_25 + made.LEFT_HAND + made.RIGHT_HAND + made.FACE)
        same_pose(sample, person, np.r_[0:23, 25:55])
        np.testing.assert_allclose(sample.expression, person.expression[:10])


def test_the_swapped_arms_of_lsp_are_put_right(tmp_path: Path) -> None:
    made.write_spin(tmp_path, name="lsp", count=1)
    with np.load(tmp_path / "lsp.npz") as file:
        arrays = {key: np.repeat(file[key][:1], 30, 0) for key in file.files}
    part = arrays["part"]
    part[26] = part[26, [*range(9), 11, 10, 9, *range(12, 24)]]
    np.savez(tmp_path / "lsp.npz", **arrays)
    samples = read_spin(tmp_path).samples
    assert all((sample.keypoints_px == samples[0].keypoints_px).all() for sample in samples)


def test_spin_without_any_file_names_them_all(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"mpii\.npz, lsp\.npz, lspet\.npz, coco\.npz"):
        read_spin(tmp_path)


def test_h36m_has_joints_in_metres(tmp_path: Path) -> None:
    crowd = made.write_h36m(tmp_path)
    for sample, person in zip(read_h36m(tmp_path).samples, crowd, strict=True):
        agree(sample, person, made.H36M)
        same_pose(sample, person, np.arange(22))
        valid = sorted(INDEX[name] for name in made.H36M if name)
        assert np.flatnonzero(sample.points_m[:, 3]).tolist() == valid
        np.testing.assert_allclose(sample.points_m[valid, :3], (person.points_m - person.points_m[0])[valid], atol=1e-6)
        assert sample.image.is_file()
    made.rewrite(tmp_path / "h36m_train.npz", body_pose=np.zeros((2, 69)))
    with pytest.raises(InputError, match=r"body_pose.*\[2, 69\]"):
        read_h36m(tmp_path)
    with pytest.raises(InputError, match=r"no file .*val\.npz"):
        read_h36m(tmp_path, "val")
