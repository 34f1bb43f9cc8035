"""Readers of hands and faces: joints, absolute rotations, splits and backgrounds."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from tests.data import fixtures as made

from openexpose.body.keypoints import INDEX, PARTS
from openexpose.data.hands_faces import read_ffhq, read_freihand, read_hand_mean, read_stirling
from openexpose.errors import InputError

RIGHT = sorted(PARTS["right_hand"].tolist())


@pytest.mark.parametrize("npz", [False, True])
def test_freihand_joints_and_projections_are_the_truth(tmp_path: Path, npz: bool) -> None:
    crowd = made.write_freihand(tmp_path, npz=npz)
    samples = read_freihand(tmp_path).samples
    assert [sample.image.name for sample in samples] == [f"{k:08d}.jpg" for k in (0, 1, 2, 3, 5, 6, 7, 8)]
    for k, sample in enumerate(samples):
        person = crowd[k % 4]
        assert np.flatnonzero(sample.keypoints_px[:, 2]).tolist() == RIGHT
        assert np.flatnonzero(sample.points_m[:, 3]).tolist() == RIGHT
        np.testing.assert_allclose(sample.keypoints_px[RIGHT, :2], person.points_px[RIGHT], atol=1e-3)
        np.testing.assert_allclose(sample.points_m[RIGHT, :3], person.points_m[RIGHT], atol=1e-6)
        np.testing.assert_allclose(sample.pose[0], made.absolute(person, INDEX["right_wrist"]), atol=1e-5)
        np.testing.assert_allclose(sample.betas, person.betas)
        assert (sample.part, sample.left, sample.coefficients) == ("hand", False, "mano")
        assert sample.box_xyxy_px.tolist() == [0, 0, 64, 64] and sample.image.is_file()
        thumb, pinky = (sample.keypoints_px[INDEX[f"right_{finger}"], :2] for finger in ("thumb", "pinky"))
        assert np.linalg.norm(thumb - pinky) > 1.0


def test_freihand_fingers_need_the_mean_hand(tmp_path: Path) -> None:
    crowd = made.write_freihand(tmp_path)
    for sample in read_freihand(tmp_path).samples:
        assert np.flatnonzero(sample.pose_valid).tolist() == [0]
        assert (sample.pose[40:] == np.eye(3)).all()
    for sample, person in zip(read_freihand(tmp_path, hand_mean=made.HAND_MEAN).samples[:4], crowd, strict=False):
        assert np.flatnonzero(sample.pose_valid).tolist() == [0, *range(40, 55)]
        np.testing.assert_allclose(sample.pose[40:], person.pose[40:], atol=1e-5)
    with pytest.raises(InputError, match="44 numbers"):
        read_freihand(tmp_path, hand_mean=made.HAND_MEAN[1:])


def test_the_mean_hand_reads_from_users_files(tmp_path: Path) -> None:
    np.savez(tmp_path / "SMPLX.npz", hands_meanr=made.HAND_MEAN, hands_meanl=-made.HAND_MEAN)
    (tmp_path / "all_means.pkl").write_bytes(pickle.dumps({"right_hand_pose": {"aa": made.HAND_MEAN.reshape(1, 45)}}))
    (tmp_path / "mano.pkl").write_bytes(pickle.dumps({"hands_mean": made.HAND_MEAN}, protocol=2))
    for name in ("SMPLX.npz", "all_means.pkl", "mano.pkl"):
        np.testing.assert_allclose(read_hand_mean(tmp_path / name), made.HAND_MEAN)
    (tmp_path / "other.pkl").write_bytes(pickle.dumps({"body_pose": 1}))
    with pytest.raises(InputError, match="without a mean right hand"):
        read_hand_mean(tmp_path / "other.pkl")


def test_freihand_splits_share_no_hand(tmp_path: Path) -> None:
    made.write_freihand(tmp_path, count=10, backgrounds=4)
    train, val = (read_freihand(tmp_path, split).samples for split in ("train", "val"))
    hands = [{int(sample.image.stem) % 10 for sample in part} for part in (train, val)]
    assert hands == [set(range(8)), {8, 9}] and len(train) == 32 and len(val) == 8


def test_freihand_skips_broken_hands_in_every_background(tmp_path: Path) -> None:
    made.write_freihand(tmp_path, npz=True)
    with np.load(tmp_path / "training.npz") as file:
        xyz = file["xyz"]
    xyz[1, 3, 2] = np.nan
    made.rewrite(tmp_path / "training.npz", xyz=xyz)
    reading = read_freihand(tmp_path)
    assert [int(sample.image.stem) for sample in reading.samples] == [0, 2, 3, 5, 7, 8]
    assert len(reading.skipped) == 1 and "freihand/training/00000001" in reading.skipped[0]


def test_freihand_says_what_is_missing_or_wrong(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no file .*training_K\.json"):
        read_freihand(tmp_path)
    made.write_freihand(tmp_path)
    with pytest.raises(InputError, match=r"no file .*evaluation_K\.json"):
        read_freihand(tmp_path, "test")
    (tmp_path / "training_mano.json").unlink()
    with pytest.raises(InputError, match=r"no file .*training_mano\.json"):
        read_freihand(tmp_path)
    made.rewrite_json(tmp_path / "training_mano.json", np.zeros((4, 61)).tolist())
    with pytest.raises(InputError, match="different lengths"):
        read_freihand(tmp_path)
    made.rewrite_json(tmp_path / "training_mano.json", [[0.0], ["a", "b"]])
    with pytest.raises(InputError, match=r"training_mano.*rows that differ"):
        read_freihand(tmp_path)
    (tmp_path / "training_mano.json").write_text("[[1, 2")
    with pytest.raises(InputError, match="does not read as JSON"):
        read_freihand(tmp_path)


def test_ffhq_is_the_truth(tmp_path: Path) -> None:
    crowd = made.write_ffhq(tmp_path)
    samples = read_ffhq(tmp_path).samples
    expected = sorted(INDEX[name] for name in made.FFHQ if name)
    for k, (sample, person) in enumerate(zip(samples, crowd[:19], strict=True)):
        assert np.flatnonzero(sample.keypoints_px[:, 2]).tolist() == expected
        np.testing.assert_allclose(sample.keypoints_px[expected, :2], person.points_px[expected], atol=1e-3)
        assert np.flatnonzero(sample.pose_valid).tolist() == [0, 22]
        np.testing.assert_allclose(sample.pose[0], made.absolute(person, INDEX["head"]), atol=1e-5)
        np.testing.assert_allclose(sample.pose[22], person.pose[22], atol=1e-5)
        assert sample.betas.tolist() == [k] * 100 and sample.expression.tolist() == [-k] * 50
        assert (sample.part, sample.coefficients) == ("face", "flame") and sample.points_m is None
        assert sample.image.name == f"{k:05d}.jpg" and sample.image.is_file()
        assert sample.box_xyxy_px.tolist() == [0, 0, 64, 64]
        x = sample.keypoints_px[:, 0]
        assert x[INDEX["left_eye"]] > x[INDEX["right_eye"]] and x[INDEX["left_mouth_1"]] > x[INDEX["right_mouth_1"]]
        assert x[INDEX["left_contour_1"]] > x[INDEX["right_contour_1"]]


def test_ffhq_splits_and_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no file .*ffhq_parameters_with_keyps\.npz"):
        read_ffhq(tmp_path)
    made.write_ffhq(tmp_path)
    names = [{sample.name for sample in read_ffhq(tmp_path, split).samples} for split in ("train", "val")]
    assert len(names[0]) == 19 and names[1] == {"ffhq/00019.png"}
    path = tmp_path / "ffhq_parameters_with_keyps.npz"
    jaw = np.zeros((20, 3))
    jaw[4] = np.nan
    made.rewrite(path, jaw_pose=jaw)
    reading = read_ffhq(tmp_path)
    assert len(reading) == 18 and "ffhq/00004.png" in reading.skipped[0]
    made.rewrite(path, keypoints2D=None)
    with pytest.raises(InputError, match="without keypoints2D"):
        read_ffhq(tmp_path)


def test_stirling_boxes_are_whole_pictures(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no pictures"):
        read_stirling(tmp_path)
    made.write_stirling(tmp_path)
    high, low = (read_stirling(tmp_path, split).samples for split in ("HQ", "LQ"))
    assert [sample.image.name for sample in high] == ["F1001_1.jpg", "M1002_1.jpg"]
    assert high[0].box_xyxy_px.tolist() == [0, 0, 64, 64] and low[0].box_xyxy_px.tolist() == [0, 0, 32, 64]
    assert not high[0].keypoints_px.any() and high[0].pose is None
    (tmp_path / "Subset_2D_FG2018" / "HQ" / "F1001_1.jpg").write_bytes(b"no picture")
    reading = read_stirling(tmp_path, "HQ")
    assert len(reading) == 1 and "F1001_1.jpg" in reading.skipped[0]
