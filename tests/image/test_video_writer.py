"""Laws of writing videos: what is read again is what was written, when it was shown, with the sound of then."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from tests.image.videos import beep, number_of, onsets_s, picture, samples_of, turned, write_video

from openexpose.errors import InputError
from openexpose.image.video import open_video
from openexpose.image.video_writer import VideoWriter, preview

IRREGULAR_S = np.cumsum(np.random.default_rng(0).uniform(0.01, 0.15, 30)) - 0.01


def written(path: Path, times_s: np.ndarray, size: tuple[int, int] = (64, 48), **options: object) -> VideoWriter:
    with VideoWriter(path, size, len(times_s) / times_s[-1], **options) as writer:  # type: ignore[arg-type]
        for k, time_s in enumerate(times_s):
            writer.write(picture(k, size), float(time_s))
    return writer


def test_frames_come_back_at_their_own_times(tmp_path: Path) -> None:
    times = IRREGULAR_S - IRREGULAR_S[0]
    written(tmp_path / "a.mp4", times)
    frames = list(open_video(tmp_path / "a.mp4").frames())
    assert [number_of(frame.pixels) for frame in frames] == list(range(30))
    np.testing.assert_allclose([frame.time_s for frame in frames], times, atol=2e-5)
    assert all(frame.time_s <= time_s + 1e-7 for frame, time_s in zip(frames, times, strict=True))
    assert np.abs(frames[9].pixels.astype(int) - picture(9)).mean() < 4
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert float(stream.duration * stream.time_base) == pytest.approx(times[-1] * (1 + 1 / 30), abs=1e-4)


@pytest.mark.parametrize("size", [(65, 48), (64, 47), (33, 21), (1, 1)])
def test_odd_sizes_get_their_last_column_or_row_twice(tmp_path: Path, size: tuple[int, int]) -> None:
    written(tmp_path / "a.mp4", np.arange(1, 4) / 10, size)
    source = open_video(tmp_path / "a.mp4")
    assert source.image_size == (size[0] + size[0] % 2, size[1] + size[1] % 2)
    last = list(source.frames())[-1].pixels
    if size[0] > 1:
        inside = np.abs(last[: size[1], : size[0]].astype(int) - picture(2, size))
        assert inside.mean() < 8 and np.abs(last[-1].astype(int) - last[size[1] - 1]).mean() < 8


def test_frames_that_no_player_takes_are_shrunk(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", (6001, 301), 10.0) as writer:
        writer.write(picture(5, (6001, 301)), 0.0)
    frame = next(open_video(tmp_path / "a.mp4").frames())
    assert frame.pixels.shape == (206, 4096, 3) and number_of(frame.pixels) == 5


def test_colours_are_tagged_and_kept(tmp_path: Path) -> None:
    colours = np.array([[200, 60, 30], [20, 180, 60], [40, 50, 210], [128, 128, 128], [255, 255, 255], [0, 0, 0]])
    pixels = np.repeat(np.repeat(colours.astype(np.uint8)[None], 64, 0), 32, 1)
    with VideoWriter(tmp_path / "a.mp4", (192, 64), 10.0) as writer:
        writer.write(pixels, 0.0)
    frame = next(open_video(tmp_path / "a.mp4").frames())
    assert np.abs(frame.pixels[32, 16::32].astype(int) - colours).max() <= 6
    with av.open(str(tmp_path / "a.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt, context.colorspace, context.color_range) == ("h264", "yuv420p", 1, 1)


def test_a_colon_in_a_name_is_no_protocol(tmp_path: Path) -> None:
    name = "take 1: walk.mp4" if sys.platform != "win32" else "take 1.mp4"
    written(tmp_path / name, np.arange(1, 4) / 10)
    assert len(list(open_video(tmp_path / name).frames())) == 3


def test_its_table_of_contents_comes_first(tmp_path: Path) -> None:
    written(tmp_path / "a.mp4", np.arange(1, 9) / 10)
    content = (tmp_path / "a.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


@pytest.mark.parametrize(
    ("name", "codec"),
    [("s.mp4", "aac"), ("s.ts", "aac"), ("s.mkv", "libopus"), ("s.mkv", "flac"), ("s.mkv", "libmp3lame")],
)
@pytest.mark.parametrize("from_s", [0.0, 0.3])
def test_sound_is_heard_with_its_picture(tmp_path: Path, name: str, codec: str, from_s: float) -> None:
    """A tone at 1.0 s and 1.8 s of the source's clock, where its pictures begin at 0.2 s."""
    source = write_video(
        tmp_path / name,
        50,
        times_s=0.2 + np.arange(50) / 25,
        sound=(codec, beep(3.0, [1.0 - from_s, 1.8 - from_s])),
        sound_from_s=from_s,
    )
    writer = written(tmp_path / "a.mp4", np.arange(50) / 25, sound_of=source)
    assert writer.warning is None
    np.testing.assert_allclose(onsets_s(samples_of(tmp_path / "a.mp4")), [0.8, 1.6], atol=0.03)
    with av.open(str(tmp_path / "a.mp4")) as container:
        track = container.streams.audio[0]
        assert track.codec_context.name == {"libmp3lame": "mp3float"}.get(codec, "aac")
        end_s = float((track.start_time + track.duration) * track.time_base)
        assert abs(end_s - 2.0) < 0.05, "the sound ends with the pictures"


def test_copied_sound_is_the_same_to_the_bit(tmp_path: Path) -> None:
    source = write_video(tmp_path / "s.mp4", 50, sound=("aac", beep(1.9, [0.5])))
    written(tmp_path / "a.mp4", np.arange(50) / 25, sound_of=source)

    def packets(path: Path) -> list[bytes]:
        with av.open(str(path)) as container:
            found = [packet for packet in container.demux(audio=0) if packet.dts is not None and packet.pts >= 0]
            return [bytes(packet) for packet in found]

    assert packets(tmp_path / "a.mp4") == packets(source) and len(packets(source)) > 80


def test_a_source_without_sound_gives_none(tmp_path: Path) -> None:
    source = write_video(tmp_path / "s.mp4", 5)
    written(tmp_path / "a.mp4", np.arange(1, 6) / 25, sound_of=source)
    assert not open_video(tmp_path / "a.mp4").has_audio


def test_damaged_sound_ends_early_and_the_pictures_go_on(tmp_path: Path) -> None:
    source = write_video(tmp_path / "s.mp4", 100, sound=("aac", beep(4, [0.5])), options={"movflags": "+faststart"})
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    written(tmp_path / "a.mp4", np.arange(100) / 25, sound_of=source)
    result = open_video(tmp_path / "a.mp4")
    assert result.has_audio and len(list(result.frames())) == 100 and result.warning is None


def fail_by_size(writer: VideoWriter) -> None:
    writer.write(picture(1, (48, 64)), 1.0)


def fail_by_time(writer: VideoWriter) -> None:
    writer.write(picture(1), 0.0)


def fail_by_type(writer: VideoWriter) -> None:
    writer.write(picture(1).astype(float), 1.0)


@pytest.mark.parametrize(
    ("fail", "said"), [(fail_by_size, "64 x 48"), (fail_by_time, "ascending"), (fail_by_type, "float64")]
)
def test_bad_frames_are_refused_and_nothing_is_left(tmp_path: Path, fail: Callable, said: str) -> None:
    with pytest.raises(InputError, match=said), VideoWriter(tmp_path / "a.mp4", (64, 48), 25.0) as writer:
        writer.write(picture(0), 0.0)
        fail(writer)
    assert not list(tmp_path.iterdir())


def test_what_goes_wrong_outside_leaves_the_older_file(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"older")
    with pytest.raises(KeyboardInterrupt), VideoWriter(tmp_path / "a.mp4", (64, 48), 25.0) as writer:
        writer.write(picture(0), 0.0)
        raise KeyboardInterrupt
    with pytest.raises(InputError, match="no frame"), VideoWriter(tmp_path / "a.mp4", (64, 48), 25.0):
        pass
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"older"]


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"missing.a\.mp4 cannot be written \(No such file or directory\)"):
        VideoWriter(tmp_path / "missing" / "a.mp4", (64, 48), 25.0)


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files by POSIX")
@pytest.mark.parametrize(("frames", "room"), [(4, 1500), (60, 6000)], ids=["at the end", "on the way"])
def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path, frames: int, room: int) -> None:
    script = f"""
import resource, numpy as np
from openexpose.errors import InputError
from openexpose.image.video_writer import VideoWriter
resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room}))
noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
try:
    with VideoWriter({str(tmp_path / "a.mp4")!r}, (64, 48), 25.0) as writer:
        for k in range({frames}):
            writer.write(np.roll(noise, 7 * k, 1), k / 25)
except InputError as error:
    print(error)
"""
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert "a.mp4 cannot be written (File too large)" in told
    assert not list(tmp_path.iterdir())


def test_a_preview_shows_every_frame_at_its_time(tmp_path: Path) -> None:
    times = IRREGULAR_S - IRREGULAR_S[0]
    source = open_video(write_video(tmp_path / "s.mkv", 30, size=(200, 301), times_s=times, pixel_format="yuv444p"))
    content = preview(source.frames(), source.image_size, source.fps, 100)
    (tmp_path / "p.mp4").write_bytes(content)
    small = open_video(tmp_path / "p.mp4")
    assert small.image_size == (66, 100)
    frames, originals = list(small.frames()), list(source.frames())
    assert [number_of(frame.pixels) for frame in frames] == list(range(30))
    assert all(0 <= a.time_s - b.time_s < 2e-5 for a, b in zip(originals, frames, strict=True))
    with av.open(str(tmp_path / "p.mp4")) as container:
        stamps = [packet for packet in container.demux(video=0) if packet.size]
        keys = [k for k, packet in enumerate(stamps) if packet.is_keyframe]
        assert all(packet.pts == packet.dts for packet in stamps) and np.diff([*keys, 30]).max() <= source.fps + 1


def test_a_preview_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="no frames"):
        preview(iter(()), (64, 48), 25.0)


def test_a_turned_source_is_written_upright(tmp_path: Path) -> None:
    source = open_video(turned(write_video(tmp_path / "s.mp4", 3), (0, 1, -1, 0)))
    with VideoWriter(tmp_path / "a.mp4", source.image_size, source.fps, tmp_path / "s.mp4") as writer:
        for frame in source.frames():
            writer.write(frame.pixels, frame.time_s)
    again = open_video(tmp_path / "a.mp4")
    assert again.image_size == (48, 64)
    assert np.abs(next(again.frames()).pixels.astype(int) - np.rot90(picture(0), -1)).mean() < 6
