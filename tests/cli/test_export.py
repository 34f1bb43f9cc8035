"""``openexpose export``: files in, files out, and what goes wrong in one line."""

from dataclasses import replace
from importlib.resources import as_file
from importlib.resources import files as files_of
from pathlib import Path

import numpy as np
import pytest
import trimesh

from openexpose.cli.main import main
from openexpose.formats.native import write_npz
from openexpose.formats.tracks import write_track
from openexpose.motion import Clip, Track
from openexpose.people import People, zero_pose


def somebody(count: int) -> People:
    """People at rest, three metres before the camera."""
    pose = zero_pose(count)
    pose[:, 0] = np.diag([1.0, -1.0, -1.0])
    return People(
        pose=pose,
        betas=np.zeros((count, 10), np.float32),
        expression=np.zeros((count, 20), np.float32),
        transl=np.tile(np.float32([0, 0.2, 3]), (count, 1)),
        score=np.ones(count, np.float32),
        bbox_xyxy=np.tile(np.float32([10, 20, 110, 320]), (count, 1)),
        part_confidence=np.ones((count, 4), np.float32),
        joint_confidence=np.ones((count, 144), np.float32),
        crop_centre_px=np.full((count, 2), 100, np.float32),
        crop_side_px=np.full(count, 200, np.float32),
        crop_camera=np.ones((count, 3), np.float32),
        focal_px=700.0,
        principal_px=np.array([320.0, 240.0]),
        image_size=(640, 480),
    )


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A photo of two people and a clip of two tracks."""
    folder = tmp_path / "results"
    folder.mkdir()
    write_npz(folder / "photo.npz", somebody(2), image_name="photo.jpg", focal_source="exif")
    clip = Clip("walk.mp4", np.arange(4) / 25.0, 25.0)
    for number in (1, 2):
        track = Track(number, np.arange(4), somebody(4))
        write_track(folder / f"walk_{number}.npz", clip, track, focal_source="default")
    return folder


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_folder_is_exported_clip_by_clip(results: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "out"
    assert main(["export", str(results), "--to", "amass", "joints-csv", "--out", str(out), "--fps", "50"]) == 0
    assert files(out) == [
        *("photo_1_amass.npz", "photo_2_amass.npz", "photo_joints.csv"),
        *("walk_1_amass.npz", "walk_2_amass.npz", "walk_joints.csv"),
    ]
    told = capsys.readouterr()
    assert told.out.startswith("2 exported, 6 files: ")
    assert "openexpose transfer" in told.err, "the free body's coefficients mean nothing to SMPL-X"
    with np.load(out / "walk_1_amass.npz") as npz:
        assert len(npz["poses"]) == 7
    assert len((out / "walk_joints.csv").read_text().splitlines()) == 1 + 8, "joints keep the clip's frames"


def test_of_a_photo_without_people_just_that_is_said(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    write_npz(tmp_path / "empty.npz", somebody(0), image_name="empty.jpg", focal_source="exif")
    assert main(["export", str(tmp_path), "--to", "amass", "glb", "--out", str(tmp_path / "out")]) == 0
    told = capsys.readouterr()
    assert told.err == "openexpose: empty: no people\n" and told.out.startswith("1 exported, 1 file: ")
    assert files(tmp_path / "out") == ["empty.glb"]


def test_a_broken_file_does_not_stop_the_others(results: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with np.load(results / "photo.npz") as npz:
        np.savez(results / "photo.npz", **{name: npz[name] for name in npz.files if name != "betas"})
    assert main(["export", str(results), "--to", "openpose", "--out", str(tmp_path / "out")]) == 1
    told = capsys.readouterr()
    assert "photo.npz' without betas" in told.err and "1 exported, 1 failed, 4 files" in told.out


def test_a_body_model_of_the_users_is_posed(results: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """A stand-in: the free body, raised by a metre."""
    with as_file(files_of("openexpose.body") / "data" / "SMPLX_FREEBODY.npz") as packaged, np.load(packaged) as npz:
        arrays = dict(npz)
    arrays["v_template"] = arrays["v_template"] + np.float32([0, 1, 0])
    np.savez(tmp_path / "SMPLX_NEUTRAL.npz", **arrays)
    people = replace(somebody(1), body_model="SMPLX_NEUTRAL")
    write_npz(tmp_path / "a.npz", people, image_name="a.jpg", focal_source="exif")
    for name, model in {"ours": (), "theirs": ("--body-model", str(tmp_path / "SMPLX_NEUTRAL.npz"))}.items():
        place = results / "photo.npz" if name == "ours" else tmp_path / "a.npz"
        assert main(["export", str(place), "--to", "ply", "--out", str(tmp_path / name), *model]) == 0
    ours, theirs = (trimesh.load(tmp_path / place, process=False) for place in ("ours/photo_1.ply", "theirs/a_1.ply"))
    shift = np.tile([0, -1, 0], (len(ours.vertices), 1))  # the root turns about the pelvis, which lies a metre higher
    np.testing.assert_allclose(theirs.vertices - ours.vertices, shift, atol=1e-5)
    words = ["export", str(tmp_path / "a.npz"), "--to", "glb", "--out", str(tmp_path / "theirs")]
    capsys.readouterr()
    assert main([*words, "--body-model", str(tmp_path / "SMPLX_NEUTRAL.npz")]) == 0
    assert "shapes of 'SMPLX_NEUTRAL', which its licence may forbid to pass on" in capsys.readouterr().err


def test_bad_input_is_told_in_one_line(results: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = str(tmp_path / "out")
    other = tmp_path / "other"
    other.mkdir()
    write_npz(other / "photo.npz", somebody(1), image_name="photo.jpg", focal_source="exif")
    smplx = replace(somebody(1), body_model="SMPLX_NEUTRAL")
    write_npz(tmp_path / "smplx.npz", smplx, image_name="a.jpg", focal_source="exif")
    np.savez(tmp_path / "foreign.npz", poses=np.zeros((3, 165)))
    for words, told in {
        (str(tmp_path / "none.npz"), "--to", "obj", "--out", out): "not there",
        (str(tmp_path / "foreign.npz"), "--to", "obj", "--out", out): "another program",
        (str(tmp_path / "smplx.npz"), "--to", "obj", "--out", out): "--body-model SMPLX_NEUTRAL.npz",
        (str(results), "--to", "amass", "--out", out, "--fps", "0"): "--fps 0",
        (str(results), str(other), "--to", "obj", "--out", out): "two clips or photos called 'photo'",
        (str(results), "--to", "npz", "--out", str(results)): "another folder",
        (str(results), "--to", "obj", "--out", str(results / "photo.npz")): "cannot be written",
    }.items():
        assert main(["export", *words]) == 2
        err = capsys.readouterr().err
        assert told in err and len(err.splitlines()) == 1, words
    assert not (tmp_path / "out").exists() or not files(tmp_path / "out")


def test_help_names_every_format(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        main(["export", "--help"])
    told = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for words in ("AMASS's npz", "UsdSkel", "OpenPose's JSON", "a page to look at"):
        assert words in told


def test_without_out_files_lie_beside_what_came_in(results: Path, capsys: pytest.CaptureFixture) -> None:
    before = files(results)
    assert main(["export", str(results / "walk_2.npz"), "--to", "bvh"]) == 0
    assert files(results) == sorted([*before, "walk_2.bvh"])
    assert main(["export", str(results), "--to", "npz"]) == 2
    assert "--out" in capsys.readouterr().err
