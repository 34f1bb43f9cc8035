"""Track files: what was written is read back, photos are clips of one frame, and files that do not belong are told."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from openexpose.errors import InputError
from openexpose.formats.native import read_npz, write_npz
from openexpose.formats.tracks import find_recordings, read_motion, write_track
from openexpose.geometry.rotation import rotvec_to_matrix
from openexpose.motion import Clip, Track
from openexpose.people import People

CLIP = Clip("walk.mp4", np.array([0.0, 0.04, 0.09, 0.12, 0.16]), 25.0)


def somebody(count: int, seed: int = 0) -> People:
    rng = np.random.default_rng(seed)
    return People(
        pose=rotvec_to_matrix(rng.normal(0, 0.6, (count, 55, 3))).astype(np.float32),
        betas=rng.normal(size=(count, 10)).astype(np.float32),
        expression=rng.normal(size=(count, 20)).astype(np.float32),
        transl=rng.normal((0, 0, 4), 0.1, (count, 3)).astype(np.float32),
        score=rng.random(count, np.float32),
        bbox_xyxy=np.tile(np.float32([10, 20, 110, 320]), (count, 1)),
        part_confidence=rng.random((count, 4), np.float32),
        joint_confidence=rng.random((count, 144), np.float32),
        crop_centre_px=rng.random((count, 2), np.float32) * 300,
        crop_side_px=rng.random(count, np.float32),
        crop_camera=rng.random((count, 3), np.float32),
        focal_px=700.0,
        principal_px=np.array([320.0, 240.0]),
        image_size=(640, 480),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two people of a clip."""
    for number, frames in {2: [0, 1, 4], 11: [2, 3]}.items():
        track = Track(number, np.array(frames), somebody(len(frames), number))
        write_track(tmp_path / f"walk_{number}.npz", CLIP, track, focal_source="default")
    return tmp_path


def test_tracks_read_back_exactly(folder: Path) -> None:
    motion = read_motion([folder])
    assert motion.clip.name == "walk.mp4" and motion.clip.fps == 25.0
    np.testing.assert_array_equal(motion.clip.times_s, CLIP.times_s)
    assert [track.id for track in motion.tracks] == [2, 11]
    np.testing.assert_array_equal(motion.tracks[0].frames, [0, 1, 4])
    for track in motion.tracks:
        expected = somebody(len(track.frames), track.id)
        for field in fields(People):
            np.testing.assert_array_equal(getattr(track.people, field.name), getattr(expected, field.name), field.name)


def test_a_track_reads_as_people_too(folder: Path) -> None:
    np.testing.assert_array_equal(read_npz(folder / "walk_2.npz").pose, somebody(3, 2).pose)
    with np.load(folder / "walk_2.npz", allow_pickle=False) as npz:
        np.testing.assert_array_equal(npz["time_s"], CLIP.times_s[[0, 1, 4]])
        assert str(npz["image_name"]) == str(npz["clip_name"]) == "walk.mp4"


def test_a_photo_is_read_as_a_clip_of_one_frame(tmp_path: Path) -> None:
    write_npz(tmp_path / "a.npz", somebody(3), image_name="a.jpg", focal_source="exif")
    motion = read_motion([tmp_path / "a.npz"])
    assert (motion.clip.name, len(motion.clip.times_s), len(motion.tracks)) == ("a.jpg", 1, 3)
    np.testing.assert_array_equal(motion.tracks[2].people.pose, somebody(3).pose[2:])


def test_files_are_grouped_by_clip_and_photo(folder: Path) -> None:
    write_npz(folder / "a_2.npz", somebody(1), image_name="a_2.jpg", focal_source="exif")
    write_track(
        folder / "run_1.npz",
        Clip("run.mp4", np.zeros(1), 25.0),
        Track(1, np.zeros(1, int), somebody(1)),
        focal_source="exif",
    )
    np.savez(folder / "other.npz", betas=np.zeros(3))
    (folder / "walk.json").write_text("{}")
    found = find_recordings([folder, folder / "walk_2.npz"])
    names = [(recording.stem, [path.name for path in recording.paths]) for recording in found]
    assert names == [("a_2", ["a_2.npz"]), ("run", ["run_1.npz"]), ("walk", ["walk_2.npz", "walk_11.npz"])]
    with pytest.raises(InputError, match="3 clips or photos"):
        read_motion([folder])


def test_files_that_do_not_belong_are_told(folder: Path) -> None:
    empty = folder / "empty"
    empty.mkdir()
    np.savez(folder / "other.npz", betas=np.zeros(3))
    (folder / "text.npz").write_text("hello")
    for path, told in {
        folder / "none.npz": "not there",
        folder / "other.npz": "another program",
        folder / "text.npz": "does not read as npz",
        empty: "without results",
    }.items():
        with pytest.raises(InputError, match=told):
            read_motion([path])
    with pytest.raises(InputError, match="no files"):
        read_motion([])


def test_damaged_and_mixed_tracks_are_told(folder: Path) -> None:
    with np.load(folder / "walk_2.npz") as npz:
        arrays = dict(npz)
    for name in ("frame", "clip_times_s"):
        np.savez(folder / "walk_2.npz", **{key: array for key, array in arrays.items() if key != name})
        with pytest.raises(InputError, match=f"without {name}"):
            read_motion([folder])
    np.savez(folder / "walk_2.npz", **arrays | {"clip_times_s": CLIP.times_s * 2})
    with pytest.raises(InputError, match="frames are not those"):
        read_motion([folder])
    np.savez(folder / "walk_2.npz", **arrays | {"frame": np.array([0, 1, 7])})
    with pytest.raises(InputError, match="frame 7"):
        read_motion([folder])
    np.savez(folder / "walk_2.npz", **arrays)
    np.savez(folder / "copy_2.npz", **arrays)
    with pytest.raises(InputError, match="2 clips"):
        read_motion([folder])


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    track = Track(1, np.array([7]), somebody(1))
    with pytest.raises(InputError, match="frame 7"):
        write_track(tmp_path / "a_1.npz", CLIP, track, focal_source="exif")
    track = Track(1, np.array([0]), replace(somebody(1), part="foot"))
    with pytest.raises(InputError, match="foot"):
        write_track(tmp_path / "a_1.npz", CLIP, track, focal_source="exif")
    assert not list(tmp_path.iterdir())
