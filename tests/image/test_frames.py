"""Laws of folders of frames."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from tests.image.videos import number_of, picture

from openexpose.errors import InputError
from openexpose.image.video import find_frames, open_frames


def folder_of(path: Path, names: list[str], size: tuple[int, int] = (64, 48)) -> Path:
    path.mkdir(exist_ok=True)
    for k, name in enumerate(names):
        PIL.Image.fromarray(picture(k, size)).save(path / name, quality=95)
    return path


def test_frames_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    names = ["f1.jpg", "f2.jpg", "F10.jpg", "f010.jpg", "f11.png"]
    folder = folder_of(tmp_path / "frames", [*names, "100.bmp"])
    (folder / "notes.txt").touch()
    (folder / ".f3.jpg").touch()
    (folder / "f5.jpg").mkdir()
    expected = ["100.bmp", "f1.jpg", "f2.jpg", "F10.jpg", "f010.jpg", "f11.png"]
    assert [path.name for path in find_frames(folder)] == expected
    assert [path.name for path in find_frames(f"{folder}/*.jpg")] == ["f1.jpg", "f2.jpg", "F10.jpg", "f010.jpg"]
    assert find_frames(str(folder / "f?.jpg")) == [folder / "f1.jpg", folder / "f2.jpg"]
    assert find_frames(folder / "f2.jpg") == [folder / "f2.jpg"]


def test_brackets_in_a_name_that_is_there_are_no_pattern(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "take[1]", ["a.jpg"])
    assert find_frames(folder) == find_frames(folder / "*.jpg") == [folder / "a.jpg"]
    assert find_frames(tmp_path / "t*" / "*.jpg") == [folder / "a.jpg"]


@pytest.mark.parametrize("what", ["empty", "missing", "frames/*.jpg", "a\0b"])
def test_no_frames_are_refused(tmp_path: Path, what: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError):
        find_frames(f"{tmp_path}/{what}")


def test_pictures_are_frames_at_a_constant_rate(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "walk", [f"{k}.jpg" for k in range(12)])
    source = open_frames(find_frames(folder), "walk", 24.0)
    assert (source.name, source.fps, source.image_size) == ("walk", 24.0, (64, 48))
    assert (source.frame_count_estimate, source.has_audio, source.warning) == (12, False, None)
    frames = list(source.frames())
    assert [number_of(frame.pixels) for frame in frames] == [frame.index for frame in frames] == list(range(12))
    np.testing.assert_allclose([frame.time_s for frame in frames], np.arange(12) / 24)
    rest = list(source.frames(7))
    assert [(frame.index, frame.time_s) for frame in rest] == [(frame.index, frame.time_s) for frame in frames[7:]]


def test_a_frame_of_another_size_is_named(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "walk", ["1.png", "2.png", "3.png"])
    folder_of(folder, ["3.png"], (48, 64))
    frames = open_frames(find_frames(folder), "walk").frames()
    assert next(frames).index == 0 and next(frames).index == 1
    with pytest.raises(InputError, match=r"3\.png is 48 x 64 pixels; expected 64 x 48"):
        next(frames)


def test_nothing_to_open_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no pictures"):
        open_frames([], "none")
    with pytest.raises(InputError, match="frame rate"):
        open_frames(find_frames(folder_of(tmp_path / "walk", ["1.png"])), "walk", 0.0)


def test_the_picture_before_stands_in_for_a_damaged_one(tmp_path: Path) -> None:
    """Wherever reading begins; numbers and times stay."""
    folder = folder_of(tmp_path / "walk", [f"{k}.jpg" for k in range(6)])
    for k in (2, 3):
        (folder / f"{k}.jpg").write_bytes((folder / f"{k}.jpg").read_bytes()[:300])
    source = open_frames(find_frames(folder), "walk")
    for start in range(6):
        frames = list(source.frames(start))
        assert [frame.index for frame in frames] == list(range(start, 6))
        assert [number_of(frame.pixels) for frame in frames] == [0, 1, 1, 1, 4, 5][start:]
    assert source.warning is None  # of what was read last
    list(source.frames(3))
    assert source.warning == "walk has a damaged picture 3.jpg: the picture before stands in"
    list(source.frames())
    assert source.warning == "walk has 2 damaged pictures, the first one 2.jpg: the picture before stands in"


def test_a_picture_that_is_gone_is_no_damaged_one(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "walk", ["1.png", "2.png"])
    source = open_frames(find_frames(folder), "walk")
    (folder / "2.png").unlink()
    with pytest.raises(InputError, match=r"2\.png does not exist"):
        list(source.frames())
