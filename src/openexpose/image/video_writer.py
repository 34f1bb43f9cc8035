"""Writing videos that browsers play: H.264 in MP4, each frame at its own time."""

import contextlib
import io
import math
import os
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from jaxtyping import UInt8

from openexpose.errors import InputError
from openexpose.image.decoding import load_av
from openexpose.image.frames import Frame
from openexpose.image.sound import Sound

_CLOCK = 90_000  # ticks a second: what 24, 25, 30, 50 and 60 frames a second divide, and finer than any camera
_ENCODER_THREADS = 2
_KEYFRAME_EVERY_S = 2.0
_ENCODERS = ("libx264", "libopenh264", "h264_videotoolbox", "h264_mf")  # the first of these that PyAV has
_LONGEST_SIDE = 4096  # pixels; of what is larger, players' decoders make nothing
# No B-frames: with them a varying frame rate loses its end, and browsers jump to a neighbour. A short lookahead keeps
# memory small.
_GOOD = {"crf": "20", "preset": "veryfast", "bf": "0", "rc-lookahead": "4", "sync-lookahead": "0"}
_SMALL = {"crf": "29", "preset": "fast", "bf": "0"}
_BITS_A_PIXEL = 0.15  # for encoders other than x264
_BT709, _LIMITED = 1, 1  # numbers of ISO 23091-2 for primaries, curve and matrix; and of FFmpeg for 16..235


class VideoWriter:
    """A video that appears whole: written beside its place and renamed when all went well.

    Used as a context manager. Frames are shown at the times they are given with, so a varying frame rate is kept. Sizes
    that are odd get one more column or row, the last one once more, because H.264 in browsers wants even ones; sides
    longer than 4,096 pixels are shrunk to that.

    Args:
        path: where to, ``.mp4``.
        image_size: width and height of the frames, pixels.
        fps: nominal frame rate; the last frame is shown this long.
        sound_of: the video whose sound is copied, from its first frame to the end of this one; None: silent.

    Raises:
        InputError: PyAV is missing or cannot write H.264; the place cannot be written to.
    """

    def __init__(
        self, path: str | Path, image_size: tuple[int, int], fps: float, sound_of: str | Path | None = None
    ) -> None:
        self.warning: str | None = None
        self._path = Path(path)
        self._part = self._path.with_name(f".{self._path.name}.{os.getpid()}.part")
        self._size, self._fps, self._last_s = image_size, fps, -math.inf
        self._container: Any = None
        self._sound: Sound | None = None
        try:
            self._open(None if sound_of is None else Path(sound_of))
        except BaseException as error:
            self._abort()
            raise self._told(error) from None

    def _open(self, sound_of: Path | None) -> None:
        """Begin the file; without sound where that is damaged so that it cannot be begun."""
        av = load_av()
        self._part.touch()  # PyAV opens it when the header is written only
        self._container = av.open(f"file:{self._part}", "w", "mp4", options={"movflags": "+faststart"})
        size = _shrunk(self._size, _LONGEST_SIDE / max(1, *self._size))
        self._pictures = _Pictures(self._container, self._size, size, self._fps, _GOOD)
        if sound_of is not None:
            self._sound = Sound(sound_of, self._container)
        try:
            self._container.start_encoding()
        except (av.error.InvalidDataError, av.error.ArgumentError):
            if sound_of is None:
                raise
            self._abort()
            self._sound, self.warning = None, f"the sound of {sound_of.name} is damaged: it was left out"
            self._open(None)

    def __enter__(self) -> "VideoWriter":
        return self

    def write(self, pixels: UInt8[np.ndarray, "height width 3"], time_s: float) -> None:
        """Append a frame.

        Args:
            pixels: RGB of the size that was announced.
            time_s: when it is shown, seconds; later than the one before.

        Raises:
            InputError: another size, a time that is not later, or the disk is full. No file is left behind.
        """
        try:
            if not time_s > self._last_s:
                raise InputError(f"a frame at {time_s} s after one at {self._last_s} s", "ascending times")
            self._last_s = time_s
            if self._sound is not None:
                self._sound.write_until(time_s)
            self._pictures.write(pixels, time_s)
        except BaseException as error:
            self._abort()
            raise self._told(error) from None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._abort()
            return
        try:
            if self._last_s == -math.inf:
                raise InputError(f"no frame for {self._path}", "at least one")
            self._pictures.write(None, 0.0)
            if self._sound is not None:
                self._sound.write_until(self._last_s + 1 / self._fps)
                self.warning = self._sound.warning or self.warning
                self._sound.close()
            self._container.close()
            self._part.replace(self._path)
        except BaseException as failed:
            self._abort()
            raise self._told(failed) from None

    def _abort(self) -> None:
        """Leave nothing behind."""
        for thing in (self._sound, self._container):
            with contextlib.suppress(OSError, ValueError, load_av().FFmpegError):
                if thing is not None:
                    thing.close()
        with contextlib.suppress(OSError):
            self._part.unlink()

    def _told(self, error: BaseException) -> BaseException:
        """What the user reads of an error."""
        if isinstance(error, InputError) or not isinstance(error, OSError | load_av().FFmpegError):
            return error
        reason = getattr(error, "strerror", None) or error
        return InputError(f"{self._path} cannot be written ({reason})", "a folder that can be written to and has room")


def preview(frames: Iterable[Frame], image_size: tuple[int, int], fps: float, max_height: int = 480) -> bytes:
    """A small silent video for a web page: H.264 in MP4, every frame at its own time, quick to jump about in.

    Args:
        frames: e.g. of a :class:`~openexpose.image.frames.VideoSource`.
        image_size: their width and height, pixels.
        fps: nominal frame rate.
        max_height: rows that the small video has at most, pixels.

    Raises:
        InputError: PyAV is missing or cannot write H.264; no frames.
    """
    small = _shrunk(image_size, max_height / max(1, image_size[1]))
    memory = io.BytesIO()
    options = _SMALL | {"g": str(max(1, round(fps)))}
    count = 0
    with load_av().open(memory, "w", "mp4") as container:
        pictures = _Pictures(container, image_size, small, fps, options)
        for frame in frames:
            pictures.write(frame.pixels, frame.time_s)
            count += 1
        if count:
            pictures.write(None, 0.0)
    if not count:
        raise InputError("no frames for a preview", "at least one")
    return memory.getvalue()


class _Pictures:
    """RGB frames to the H.264 stream of a container, in the colours of BT.709."""

    def __init__(
        self,
        container: Any,
        image_size: tuple[int, int],
        written_size: tuple[int, int],
        fps: float,
        options: dict[str, str],
    ) -> None:
        if min(image_size) < 1 or not (math.isfinite(fps) and fps > 0):
            raise InputError(f"a video of {image_size[0]} x {image_size[1]} at {fps}", "positive size and frame rate")
        self._av, self._container, self._from = load_av(), container, image_size
        self._scaled = written_size != image_size
        self._size = tuple(side + side % 2 for side in written_size)
        self._reformatter = self._av.video.reformatter.VideoReformatter()
        self._last, self._step = -1, max(1, round(_CLOCK / fps))
        encoder = _encoder(self._av)
        rate = Fraction(fps).limit_denominator(1001)
        self._stream = container.add_stream(encoder, rate=rate if rate > 0 else Fraction(fps))
        context = self._stream.codec_context
        context.width, context.height = self._size
        context.pix_fmt, context.time_base, context.thread_count = "yuv420p", Fraction(1, _CLOCK), _ENCODER_THREADS
        context.color_range, context.colorspace = _LIMITED, _BT709
        context.color_primaries = context.color_trc = _BT709
        context.gop_size = max(1, round(_KEYFRAME_EVERY_S * fps))
        if encoder == "libx264":
            self._stream.options = options
        else:
            context.bit_rate = int(_BITS_A_PIXEL * self._size[0] * self._size[1] * fps)

    def write(self, pixels: UInt8[np.ndarray, "height width 3"] | None, time_s: float) -> None:
        """Encode a frame; None: write what the encoder still holds."""
        if pixels is None:
            self._mux(self._stream.encode(None))
            return
        if pixels.dtype != np.uint8 or pixels.shape != (self._from[1], self._from[0], 3):
            got = f"a frame of {pixels.dtype} {' x '.join(map(str, pixels.shape))}"
            raise InputError(got, f"uint8 {self._from[1]} x {self._from[0]} x 3, like the others")
        frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(self._even(pixels)), format="rgb24")
        frame = self._reformatter.reformat(
            frame,
            *self._size,
            "yuv420p",
            dst_colorspace="ITU709",
            dst_color_range="MPEG",
            interpolation="AREA" if self._scaled else "BICUBIC",
            threads=1,
        )
        self._last = max(self._last + 1, math.floor(time_s * _CLOCK + 1e-3))  # never later than the frame's time
        frame.pts, frame.time_base = self._last, Fraction(1, _CLOCK)
        self._mux(self._stream.encode(frame))

    def _mux(self, packets: list[Any]) -> None:
        for packet in packets:
            packet.duration = self._step  # counts for the last one only: the others last until the next
            self._container.mux(packet)

    def _even(self, pixels: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "height2 width2 3"]:
        """Odd sizes get the last column or row once more; what is scaled anyway stays."""
        if self._scaled:
            return pixels
        more = [(0, wanted - side) for wanted, side in zip(self._size[::-1], pixels.shape[:2], strict=True)]
        return np.pad(pixels, [*more, (0, 0)], mode="edge") if any(end for _, end in more) else pixels


def _shrunk(size: tuple[int, int], factor: float) -> tuple[int, int]:
    """The size times a factor, in even numbers; as it is where that makes it no smaller."""
    if factor >= 1:
        return size
    return max(2, round(size[0] * factor / 2) * 2), max(2, round(size[1] * factor / 2) * 2)


def _encoder(av: Any) -> str:
    for name in _ENCODERS:
        if name in av.codecs_available:
            with contextlib.suppress(ValueError):  # there to decode only
                return av.Codec(name, "w").name
    got = "this PyAV has no encoder for H.264"
    raise InputError(got, "one that has", "Install PyAV's own wheel: pip install --force-reinstall av")
