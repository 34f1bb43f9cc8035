"""Small videos made with PyAV: every frame tells its own number, so that a reader can be held to it."""

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

CLOCK = 90_000
RATE = 48_000


def picture(number: int, size: tuple[int, int] = (64, 48)) -> np.ndarray:
    """Frame ``number``: ten blocks along the top, white for a 1 of its binary digits; below it a red left, a green
    right and a blue lower half, so that turned and mirrored ones differ."""
    width, height = size
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2, 0] = 200
    pixels[:, width // 2 :, 1] = 160
    pixels[height // 2 :, :, 2] = 220
    edges = np.linspace(0, width, 11).round().astype(int)
    for digit in range(10):
        pixels[: height // 4, edges[digit] : edges[digit + 1]] = 235 if number >> digit & 1 else 16
    return pixels


def number_of(pixels: np.ndarray) -> int:
    """Which frame a picture is, read off its blocks."""
    height, width = pixels.shape[:2]
    edges = np.linspace(0, width, 11).round().astype(int)
    middles = (edges[:-1] + edges[1:]) // 2
    return sum(int(pixels[height // 8, x].mean() > 128) << digit for digit, x in enumerate(middles))


def beep(seconds: float, at_s: Sequence[float], length_s: float = 0.1) -> np.ndarray:
    """Silence with a 1 kHz tone from each of ``at_s``, samples in -1..1."""
    times = np.arange(int(seconds * RATE)) / RATE
    heard = sum((times >= start) & (times < start + length_s) for start in at_s)
    return (0.8 * heard * np.sin(2 * np.pi * 1000 * times)).astype(np.float32)


def write_video(
    path: Path,
    frames: int | Sequence[np.ndarray] = 30,
    *,
    size: tuple[int, int] = (64, 48),
    fps: float = 25.0,
    times_s: Sequence[float] | None = None,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    pixel_aspect: Fraction | None = None,
    sound: tuple[str, np.ndarray] | None = None,
    sound_from_s: float = 0.0,
    options: dict[str, str] | None = None,
) -> Path:
    """A video of numbered frames; the container is that of the file's name.

    Args:
        path: where to.
        frames: how many numbered ones, or the pictures themselves.
        size: width and height, pixels.
        fps: nominal frame rate.
        times_s: when each frame is shown; None: evenly.
        codec: of the pictures, FFmpeg's name.
        pixel_format: FFmpeg's name.
        pixel_aspect: width by height of a stored pixel.
        sound: codec and samples, or none.
        sound_from_s: when the sound begins.
        options: for the container, e.g. ``{"movflags": "+faststart"}``.
    """
    shown = [picture(k, size) for k in range(frames)] if isinstance(frames, int) else frames
    times = [k / fps for k in range(len(shown))] if times_s is None else times_s
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1001))
        stream.width, stream.height, stream.pix_fmt = *size, pixel_format
        base = Fraction(1, round(fps)) if path.suffix == ".avi" else Fraction(1, CLOCK)
        stream.codec_context.time_base = base
        stream.codec_context.gop_size = 12
        stream.codec_context.thread_count = 1
        if pixel_aspect is not None:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        if pixel_format == "gray":
            stream.codec_context.color_range = 2  # 0..255
        if codec == "libx264":
            stream.options = {"crf": "16", "preset": "veryfast"}
        track = None
        if sound is not None:
            track = container.add_stream(sound[0], rate=RATE)
            track.codec_context.layout = "mono"
            packets = coded_sound(track, sound[1], sound_from_s)
            container.mux(packets)
        for pixels, time_s in zip(shown, times, strict=True):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format=pixel_format)
            frame.pts, frame.time_base = round(time_s / base), base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_sound(path: Path, codec: str = "aac", seconds: float = 1.0) -> Path:
    """A file with sound only."""
    with av.open(str(path), "w") as container:
        track = container.add_stream(codec, rate=RATE)
        track.codec_context.layout = "mono"
        container.mux(coded_sound(track, beep(seconds, [0.2]), 0.0))
    return path


def coded_sound(track: av.AudioStream, samples: np.ndarray, from_s: float) -> list[av.Packet]:
    """All packets of a sound track that begins at ``from_s`` seconds."""
    packets = []
    resampler = av.AudioResampler(track.codec_context.format.name, "mono", RATE, track.codec_context.frame_size or 1024)
    for first in range(0, len(samples), 4800):
        frame = av.AudioFrame.from_ndarray(samples[None, first : first + 4800], format="flt", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, first + round(from_s * RATE), Fraction(1, RATE)
        for piece in resampler.resample(frame):
            packets += track.encode(piece)
    for piece in resampler.resample(None):
        packets += track.encode(piece)
    return packets + track.encode(None)


def turned(path: Path, columns: tuple[int, int, int, int]) -> Path:
    """The MP4 with another display matrix: (a, b, c, d) of ISO 14496-12, which take a stored point (x, y) to
    (a x + c y, b x + d y)."""
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 44
    a, b, c, d = (value * 65536 for value in columns)
    content[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    return path


def samples_of(path: Path) -> np.ndarray:
    """The sound of a video as samples of one channel from its time 0 on, at ``RATE``."""
    heard = np.zeros(RATE * 60, np.float32)
    end = 0
    with av.open(str(path)) as container:
        resampler = av.AudioResampler("flt", "mono", RATE)
        for frame in [*container.decode(audio=0), None]:
            for piece in resampler.resample(frame):
                values = piece.to_ndarray()[0]
                first = round(float(piece.pts * piece.time_base) * RATE)
                values = values[max(0, -first) :]
                first = max(0, first)
                heard[first : first + len(values)] = values
                end = first + len(values)
    return heard[:end]


def onsets_s(samples: np.ndarray) -> list[float]:
    """When tones of :func:`beep` begin, seconds."""
    loud = np.convolve(np.abs(samples), np.ones(48) / 48, "same") > 0.2
    starts = np.flatnonzero(loud[1:] & ~loud[:-1]) / RATE
    return [float(start) for k, start in enumerate(starts) if k == 0 or start - starts[k - 1] > 0.15]
