"""Laws of reading videos: which frame, when, which way up, in which colours; and what is said of damage."""

import tracemalloc
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from tests.image.videos import beep, coded_sound, number_of, picture, turned, write_sound, write_video

from openexpose.errors import InputError
from openexpose.image.read import MAX_PIXELS
from openexpose.image.video import Frame, VideoSource, is_video, open_video

CLOSE = 6.0  # mean error of a coded picture, of 255


def read(source: VideoSource, start: int = 0) -> list[Frame]:
    return list(source.frames(start))


def error(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(int) - b).mean()) if a.shape == b.shape else np.inf


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv", "a.ts", "a.avi"])
def test_every_frame_comes_once_in_order_at_its_time(tmp_path: Path, name: str) -> None:
    source = open_video(write_video(tmp_path / name, 40))
    frames = read(source)
    assert [number_of(frame.pixels) for frame in frames] == [frame.index for frame in frames] == list(range(40))
    np.testing.assert_allclose([frame.time_s for frame in frames], np.arange(40) / 25, atol=1e-3)
    assert error(frames[7].pixels, picture(7)) < CLOSE
    assert (source.name, source.fps, source.image_size) == (name, 25.0, (64, 48))
    assert (source.frame_count_estimate, source.has_audio, source.warning) == (40, False, None)


def test_a_varying_frame_rate_is_kept(tmp_path: Path) -> None:
    times = np.cumsum(np.random.default_rng(0).uniform(0.01, 0.2, 30)) + 3.0
    source = open_video(write_video(tmp_path / "a.mp4", 30, times_s=times))
    np.testing.assert_allclose([frame.time_s for frame in source.frames()], times - times[0], atol=1e-4)
    assert source.fps == pytest.approx(30 / (times[-1] - times[0]), rel=0.1)


@pytest.mark.parametrize("start", [0, 1, 13, 29, 30, 50])
def test_frames_after_a_start_are_those_of_a_full_read(tmp_path: Path, start: int) -> None:
    times = np.cumsum(np.random.default_rng(1).uniform(0.01, 0.2, 30))
    source = open_video(write_video(tmp_path / "a.mp4", 30, times_s=times))
    full, rest = read(source), read(source, start)
    assert [(frame.index, frame.time_s) for frame in rest] == [(frame.index, frame.time_s) for frame in full[start:]]
    for got, expected in zip(rest, full[start:], strict=True):
        np.testing.assert_array_equal(got.pixels, expected.pixels)


@pytest.mark.parametrize(
    ("columns", "upright"),
    [
        ((1, 0, 0, 1), lambda a: a),
        ((0, 1, -1, 0), lambda a: np.rot90(a, -1)),  # right becomes down: a quarter turn clockwise
        ((-1, 0, 0, -1), lambda a: np.rot90(a, 2)),
        ((0, -1, 1, 0), lambda a: np.rot90(a, 1)),
        ((-1, 0, 0, 1), lambda a: a[:, ::-1]),
        ((1, 0, 0, -1), lambda a: a[::-1]),
        ((0, 1, 1, 0), lambda a: a.swapaxes(0, 1)),
        ((0, -1, -1, 0), lambda a: a[::-1, ::-1].swapaxes(0, 1)),
    ],
    ids=["upright", "right", "half", "left", "mirrored", "flipped", "transposed", "transversed"],
)
def test_the_rotation_that_a_phone_writes_down_is_applied(tmp_path: Path, columns: tuple, upright: object) -> None:
    path = turned(write_video(tmp_path / "a.mp4", 3), columns)
    source = open_video(path)
    expected = upright(picture(2))  # type: ignore[operator]
    assert source.image_size == (expected.shape[1], expected.shape[0])
    assert error(read(source)[2].pixels, expected) < CLOSE


@pytest.mark.parametrize(("aspect", "size"), [(Fraction(3, 2), (96, 48)), (Fraction(2, 3), (64, 72))])
def test_pixels_that_are_not_square_are_made_so(tmp_path: Path, aspect: Fraction, size: tuple[int, int]) -> None:
    source = open_video(write_video(tmp_path / "a.mp4", 3, pixel_aspect=aspect))
    assert source.image_size == size
    assert error(read(source)[1].pixels, picture(1, size)) < 12


@pytest.mark.parametrize(
    ("codec", "pixel_format", "name"),
    [
        ("libx264", "yuv420p10le", "a.mp4"),
        ("libx264", "yuv444p", "a.mp4"),
        ("libx264", "gray", "a.mp4"),
        ("prores_ks", "yuva444p10le", "a.mov"),
        ("mjpeg", "yuvj420p", "a.avi"),
        ("png", "rgba", "a.mov"),
        ("ffv1", "gbrp16le", "a.mkv"),
        ("libvpx-vp9", "yuv420p", "a.webm"),
    ],
)
def test_any_kind_of_pixels_becomes_rgb(tmp_path: Path, codec: str, pixel_format: str, name: str) -> None:
    frames = read(open_video(write_video(tmp_path / name, 5, codec=codec, pixel_format=pixel_format)))
    assert [number_of(frame.pixels) for frame in frames] == list(range(5))
    expected = picture(3)
    if pixel_format == "gray":
        expected = np.repeat(np.rint(expected @ [0.299, 0.587, 0.114]).astype(np.uint8)[..., None], 3, -1)
    assert frames[3].pixels.dtype == np.uint8 and error(frames[3].pixels, expected) < CLOSE


@pytest.mark.parametrize("size", [(65, 47), (33, 64), (101, 99)])
def test_odd_sizes(tmp_path: Path, size: tuple[int, int]) -> None:
    path = write_video(tmp_path / "a.mkv", 3, size=size, codec="ffv1", pixel_format="yuv444p")
    source = open_video(path)
    assert source.image_size == size and error(read(source)[2].pixels, picture(2, size)) < CLOSE


def test_sound_is_seen_and_a_cover_is_not_taken_for_a_video(tmp_path: Path) -> None:
    assert open_video(write_video(tmp_path / "a.mp4", 5, sound=("aac", beep(0.2, [0.0])))).has_audio
    with av.open(str(tmp_path / "b.m4a"), "w", "mp4") as container:
        cover = container.add_stream("png", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic.value
        track = container.add_stream("aac", rate=48_000)
        track.codec_context.layout = "mono"
        container.mux(cover.encode(av.VideoFrame.from_ndarray(picture(99), format="rgb24")))
        container.mux(coded_sound(track, beep(0.5, [0.1]), 0.0))
    with av.open(str(tmp_path / "b.m4a")) as container:
        assert len(container.streams.video) == 1
    with pytest.raises(InputError, match="only sound"):
        open_video(tmp_path / "b.m4a")


def test_a_video_cut_short_gives_what_is_there_and_says_so(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 100, options={"movflags": "+faststart"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    source = open_video(path)
    frames = read(source)
    assert 30 < len(frames) < 90
    assert [number_of(frame.pixels) for frame in frames[:-3]] == list(range(len(frames) - 3))
    assert source.warning is not None and "cut short" in source.warning and "of 4.0 s" in source.warning
    assert "a.mp4" in source.warning and "\n" not in source.warning


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.avi"])
def test_damage_anywhere_never_raises_anything_else(tmp_path: Path, name: str) -> None:
    rng = np.random.default_rng(0)
    content = np.frombuffer(write_video(tmp_path / name, 40).read_bytes(), np.uint8)
    warned = 0
    for _ in range(12):
        broken = content.copy()
        broken[rng.integers(0, len(broken), 12)] = rng.integers(0, 256, 12)
        (tmp_path / name).write_bytes(broken.tobytes())
        try:
            source = open_video(tmp_path / name)
            frames = read(source)
        except InputError as told:
            assert "\n" not in str(told)
            continue
        times = [frame.time_s for frame in frames]
        assert times[0] == 0 and (np.diff(times) > 0).all() and times[-1] < 60
        assert [frame.index for frame in frames] == list(range(len(frames)))
        assert {frame.pixels.shape[::-1][1:] for frame in frames} == {source.image_size}
        again = read(source, 5)
        assert [(frame.index, frame.time_s) for frame in again] == [(frame.index, frame.time_s) for frame in frames[5:]]
        warned += source.warning is not None
    assert warned > 2


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "0 bytes"), (b"hello, I am no video" * 20, "header cannot be read"), (None, "does not exist")],
)
def test_what_is_no_video(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "a.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=said) as told:
        open_video(path)
    assert "a.mp4" in str(told.value)


def test_without_its_header_a_video_is_refused(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 40)  # its table of contents comes last
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match="damaged or cut short"):
        open_video(path)


@pytest.mark.parametrize("name", ["a.m4a", "a.mkv", "a.mp3"])
def test_sound_alone_is_refused(tmp_path: Path, name: str) -> None:
    codec = "libmp3lame" if name == "a.mp3" else "aac"
    with pytest.raises(InputError, match="only sound"):
        open_video(write_sound(tmp_path / name, codec))


def test_a_header_without_frames_is_refused(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.avi"), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()
    with pytest.raises(InputError, match=r"no frame|damaged"):
        open_video(tmp_path / "a.avi")


def test_frames_of_too_many_pixels_are_refused_from_the_header(tmp_path: Path) -> None:
    side = 10_016
    assert side * side > MAX_PIXELS
    path = write_video(tmp_path / "a.mkv", 1, codec="ffv1", pixel_format="yuv420p")
    content = path.read_bytes()
    for old, tag in ((64, b"\xb0"), (48, b"\xba")):  # Matroska's PixelWidth and PixelHeight, of one byte each
        at = content.index(tag + b"\x81" + bytes([old]))
        content = content[:at] + tag + b"\x82" + side.to_bytes(2, "big") + content[at + 3 :]
    path.write_bytes(content)
    with pytest.raises(InputError, match="10016 x 10016"):
        open_video(path)


def test_a_playlist_opens_no_other_file(tmp_path: Path) -> None:
    write_video(tmp_path / "b.ts", 5)
    (tmp_path / "a.mp4").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nb.ts\n#EXT-X-ENDLIST\n")
    (tmp_path / "c.ts").write_text("ffconcat version 1.0\nfile b.ts\n")
    for name in ("a.mp4", "c.ts"):
        with pytest.raises(InputError):
            open_video(tmp_path / name)


def test_memory_stays_the_same_at_any_length(tmp_path: Path) -> None:
    psutil = pytest.importorskip("psutil")
    source = open_video(write_video(tmp_path / "a.mp4", 1000, fps=100.0))
    process, seen = psutil.Process(), []
    tracemalloc.start()
    for frame in source.frames():
        if frame.index in (200, 990):
            seen.append((tracemalloc.get_traced_memory()[0], process.memory_info().rss))
    tracemalloc.stop()
    assert frame.index == 999
    frame_bytes = 64 * 48 * 3
    assert seen[1][0] - seen[0][0] < 10 * frame_bytes
    assert seen[1][1] - seen[0][1] < 200 * frame_bytes  # 790 frames later


def test_what_a_video_is_called() -> None:
    assert is_video("a.MP4") and is_video("missing.webm")
    assert not is_video("a.jpg") and not is_video("a.gif") and not is_video("missing") and not is_video("a\0b")


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.avi"])
def test_a_video_without_a_suffix_is_known_by_its_first_bytes(tmp_path: Path, name: str) -> None:
    path = write_video(tmp_path / name, 30).rename(tmp_path / "noname")
    assert is_video(path) and len(read(open_video(path))) == 30
    path.write_bytes(b"hello")
    assert not is_video(path) and not is_video(tmp_path)
