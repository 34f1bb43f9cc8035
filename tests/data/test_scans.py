"""Readers of EHF and 3DPW."""

from pathlib import Path

import numpy as np
import pytest
from tests.data import fixtures as made

from openexpose.body.keypoints import INDEX
from openexpose.data.scans import read_ehf, read_threedpw
from openexpose.errors import InputError


def test_ehf_takes_openpose_but_for_neck_and_hips(tmp_path: Path) -> None:
    crowd = made.write_ehf(tmp_path)
    reading = read_ehf(tmp_path)
    assert [sample.name for sample in reading.samples] == ["ehf/01", "ehf/02", "ehf/03"] and not reading.skipped
    names = made.BODY_25 + made.LEFT_HAND + made.RIGHT_HAND + made.FACE
    expected = sorted({INDEX[name] for name in names} - {INDEX[n] for n in ("neck", "left_hip", "right_hip")})
    for sample, person in zip(reading.samples[:2], crowd, strict=False):
        assert np.flatnonzero(sample.keypoints_px[:, 2]).tolist() == expected
        np.testing.assert_allclose(sample.keypoints_px[expected, :2], person.points_px[expected], atol=1e-3)
        labelled = person.points_px[expected]
        np.testing.assert_allclose(sample.box_xyxy_px, np.r_[labelled.min(0), labelled.max(0)], atol=1e-3)


def test_ehf_without_keypoints_takes_the_box_of_the_mesh(tmp_path: Path) -> None:
    crowd = made.write_ehf(tmp_path)
    sample = read_ehf(tmp_path).samples[2]
    assert not sample.keypoints_px.any()
    np.testing.assert_allclose(sample.box_xyxy_px, made.ehf_box(crowd[2]), atol=1e-3)
    (tmp_path / "alignments" / "03.pkl").unlink()
    reading = read_ehf(tmp_path)
    assert len(reading) == 2 and "ehf/03" in reading.skipped[0] and "03.pkl" in reading.skipped[0]


def test_ehf_ground_truth_follows_the_order_of_the_annotations(tmp_path: Path) -> None:
    crowd = made.write_ehf(tmp_path)
    order = [2, 0, 1]
    (tmp_path / "annotations.yaml").write_text("train:\n- 03_img\ntest:\n- 01_img\n- 02_img\n")
    points_px, points_m = (np.array([getattr(crowd[k], key) for k in order]) for key in ("points_px", "points_m"))
    np.savez(tmp_path / "gt_keyps.npz", gt_keypoints_2d=points_px, gt_keypoints_3d=points_m)
    for sample, k in zip(read_ehf(tmp_path).samples, order, strict=True):
        assert sample.image.name == f"{k + 1:02d}_img.png"
        np.testing.assert_allclose(sample.keypoints_px[:, :2], crowd[k].points_px)
        np.testing.assert_allclose(sample.points_m[:, :3], crowd[k].points_m)
        assert sample.points_m[:, 3].all()
    np.savez(tmp_path / "gt_keyps.npz", gt_keypoints_2d=points_px[:2])
    with pytest.raises(InputError, match="2 rows for 3 pictures"):
        read_ehf(tmp_path)


def test_ehf_as_it_is_distributed_lies_in_one_folder(tmp_path: Path) -> None:
    made.write_ehf(tmp_path / "a")
    flat = tmp_path / "b"
    flat.mkdir()
    for k in (1, 2):
        (tmp_path / "a" / "images" / f"{k:02d}_img.png").rename(flat / f"{k:02d}_img.png")
        (tmp_path / "a" / "keypoints" / f"{k:02d}_keypoints.json").rename(flat / f"{k:02d}_2Djnt.json")
    assert [sample.name for sample in read_ehf(flat).samples] == ["ehf/01", "ehf/02"]
    (flat / "01_2Djnt.json").write_text('{"people": []}')
    reading = read_ehf(flat)
    assert len(reading) == 1 and "01_2Djnt.json" in reading.skipped[0]
    with pytest.raises(InputError, match="no pictures"):
        read_ehf(tmp_path)


def test_threedpw_is_the_truth(tmp_path: Path) -> None:
    crowd = made.write_threedpw(tmp_path)
    reading = read_threedpw(tmp_path, "val")
    assert reading.samples[1].name == "threedpw/val/downtown_00/image_00001.jpg/1"
    for sample, person in zip(reading.samples, crowd, strict=True):
        expected = sorted(INDEX[name] for name in made.THREEDPW)
        assert np.flatnonzero(sample.keypoints_px[:, 2] == 1.0).tolist() == expected
        np.testing.assert_allclose(sample.keypoints_px[expected, :2], person.points_px[expected], atol=1e-3)
        joints = sorted(INDEX[name] for name in made.LSP_NAMES if name)
        assert np.flatnonzero(sample.points_m[:, 3]).tolist() == joints
        truth = (person.points_m - person.points_m[0])[joints]
        np.testing.assert_allclose(sample.points_m[joints, :3], truth, atol=1e-6)
        assert sample.image.is_file()  # though the file names someone else's disk


def test_threedpw_says_what_is_missing(tmp_path: Path) -> None:
    made.write_threedpw(tmp_path)
    with pytest.raises(InputError, match=r"no file .*3dpw_test\.npz"):
        read_threedpw(tmp_path)
    path = tmp_path / "smplx_npz_data" / "3dpw_validation.npz"
    joints = np.zeros((2, 14, 3))
    joints[0, 0, 0] = np.nan
    made.rewrite(path, joints3d=joints)
    reading = read_threedpw(tmp_path, "val")
    assert len(reading) == 1 and "image_00000.jpg" in reading.skipped[0]
    made.rewrite(path, keypoints2d=None)
    with pytest.raises(InputError, match="without keypoints2d"):
        read_threedpw(tmp_path, "val")
