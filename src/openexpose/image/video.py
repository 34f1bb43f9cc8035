"""Reading videos: upright RGB frames with their times, in constant memory at any length.

Everything that gives frames is found here: :func:`open_video` for a file, :func:`open_frames` for pictures,
:func:`open_webcam` for a camera.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from openexpose.errors import InputError
from openexpose.image.decoding import DECODER_THREADS, FrameTimes, Upright, load_av, upright_of
from openexpose.image.frames import Frame, VideoSource, find_frames, open_frames
from openexpose.image.read import IMAGE_SUFFIXES, MAX_PIXELS
from openexpose.image.webcam import LiveSource, open_webcam

__all__ = [
    "Frame",
    "LiveSource",
    "VideoSource",
    "find_frames",
    "is_video",
    "open_frames",
    "open_video",
    "open_webcam",
]

VIDEO_SUFFIXES = (
    *(".3g2", ".3gp", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts"),
    *(".mxf", ".ogv", ".ts", ".vob", ".webm", ".wmv"),
)
"""What counts as a video by its name."""

_READABLE = "a video such as MP4, MOV, MKV, WebM or AVI"
# FFmpeg's names of what may be opened: no playlists, which would make it open other files, and no single pictures.
_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,asf,mpeg,mpegts,mpegvideo,ogg,gif,apng,mxf,nut,dv,ivf,rm,wtv,"
    "h264,hevc,m4v,obu,av1,yuv4mpegpipe,mp3,wav,flac,aac"
)
_OPTIONS = {"protocol_whitelist": "file", "format_whitelist": _FORMATS}
_USUAL_FPS = 30.0
_BELIEVABLE_FPS = (0.01, 1000.0)
_CUT_SHORT_S = 0.5  # a video that ends this much before the end that it states is cut short


def open_video(path: str | Path) -> VideoSource:
    """A video file, ready to be read.

    Frames come upright (the rotation that phones write down is applied), with square pixels, as 8-bit RGB whatever was
    stored (10 bits, grey, HDR; transparency is ignored), all of the first one's size. Times are those of the file, so
    a varying frame rate is kept. Of several video streams the first is read; cover pictures are not taken for one.

    Raises:
        InputError: PyAV is missing; no such file; not a video; damaged from its start; only sound; no frames; or more
            than ``MAX_PIXELS`` a frame.
    """
    av, path = load_av(), Path(path)
    with opened_video(path) as container:
        stream = _video_stream(path, container)
        frame = next(_decoded(stream, container, _Damage()), None)
        if frame is None:
            raise InputError(f"{path} has no frame that can be decoded", _READABLE, "Copy or export the file again.")
        aspect = stream.codec_context.sample_aspect_ratio or stream.sample_aspect_ratio
        upright = upright_of(frame, aspect)
        if upright.stored_size[0] * upright.stored_size[1] > MAX_PIXELS:
            raise _too_large(path, upright.stored_size)
        try:
            upright.pixels(frame, av.video.reformatter.VideoReformatter())
        except (av.FFmpegError, ValueError):
            raise InputError(f"{path} has pixels stored as {frame.format.name}", "pixels that can be read") from None
        fps, duration_s = _fps(stream), _duration_s(stream, container)
        count = None if duration_s is None else max(1, round(duration_s * fps))
        audio = any(other.type == "audio" for other in container.streams)
        return _VideoFile(path.name, fps, upright.image_size, count, audio, path, upright, duration_s)


def is_video(path: str | Path) -> bool:
    """Whether a path names a video: by its suffix, or by its first bytes where the suffix says nothing."""
    path = Path(path)
    if path.suffix.lower() in VIDEO_SUFFIXES:
        try:
            return not path.is_dir()
        except (OSError, ValueError):
            return False
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return False
    try:
        with path.open("rb") as file:
            head = file.read(192)
    except (OSError, ValueError):
        return False
    if head[4:8] == b"ftyp":
        return head[8:12] not in (b"heic", b"heix", b"mif1", b"msf1", b"avif", b"M4A ")
    starts = (b"\x1a\x45\xdf\xa3", b"FLV\x01", b"\x00\x00\x01\xba", b"\x30\x26\xb2\x75")
    transport = len(head) > 188 and head[0] == head[188] == 0x47
    return head.startswith(starts) or (head[:4] == b"RIFF" and head[8:12] == b"AVI ") or transport


def source_start_s(path: Path) -> Fraction:
    """When the first frame of a video is shown by the file's own clock, seconds; 0 where it does not tell."""
    with opened_video(path) as container:
        stream = _video_stream(path, container)
        frame = None if _lacks_times(container) else next(_decoded(stream, container, _Damage()), None)
        return Fraction(0) if frame is None else _stamp_s(frame, stream, container) or Fraction(0)


@dataclass
class _Damage:
    """What went wrong while decoding."""

    pieces: int = 0


@dataclass
class _VideoFile(VideoSource):
    """A video file."""

    path: Path
    upright: Upright
    duration_s: float | None

    def frames(self, start: int = 0) -> Iterator[Frame]:
        av = load_av()
        damage, times, time_s = _Damage(), FrameTimes(self.fps, self.duration_s), 0.0
        self.warning = None
        with opened_video(self.path) as container:
            stream = _video_stream(self.path, container)
            reformatter = av.video.reformatter.VideoReformatter()
            for index, decoded in enumerate(_decoded(stream, container, damage)):
                time_s = times(_stamp_s(decoded, stream, container))
                if index >= start:
                    yield Frame(index, time_s, self.upright.pixels(decoded, reformatter))
        self.warning = self._told(damage, time_s)

    def _told(self, damage: _Damage, last_s: float) -> str | None:
        """What to warn of at the end."""
        end_s = last_s + 1 / self.fps
        cut = self.duration_s is not None and end_s < self.duration_s - max(_CUT_SHORT_S, 3 / self.fps)
        if cut:
            return f"{self.name} is damaged or cut short: its pictures end at {end_s:.1f} s of {self.duration_s:.1f} s"
        if damage.pieces:
            where = "one place" if damage.pieces == 1 else f"{damage.pieces} places"
            return f"{self.name} is damaged in {where}: pictures there are missing or spoilt"
        return None


def opened_video(path: Path) -> Any:
    """The file as a PyAV container."""
    av = load_av()
    try:
        if path.is_dir():
            raise InputError(f"{path} is a folder", "a video file")
        with path.open("rb") as file:
            head = file.read(16)
    except (OSError, ValueError) as error:  # InputError is a ValueError, too
        if isinstance(error, InputError):
            raise
        if isinstance(error, FileNotFoundError):
            raise InputError(f"{path} does not exist", "a video file", "Check the path.") from None
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"'{str(path)[:200]}' cannot be opened ({reason})", "a video file") from None
    if not head:
        raise InputError(f"{path} is empty (0 bytes)", _READABLE, "Copy the file again.")
    try:
        return av.open(f"file:{path}", container_options=_OPTIONS, metadata_errors="replace")
    except av.error.ArgumentError:
        raise InputError(f"{path} is not a video that can be read", _READABLE) from None
    except (av.FFmpegError, UnicodeError):
        if path.suffix.lower() in VIDEO_SUFFIXES:
            got = f"{path} is damaged or cut short: its header cannot be read"
            raise InputError(got, _READABLE, "Copy or export the file again.") from None
        raise InputError(f"{path} is not a video that can be read", _READABLE) from None


def _video_stream(path: Path, container: Any) -> Any:
    """The first stream of pictures that move, its decoder set up."""
    av = load_av()
    covers = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
    streams = [stream for stream in container.streams.video if not stream.disposition & covers]
    if not streams:
        sound = any(stream.type == "audio" for stream in container.streams)
        raise InputError(f"{path} holds {'only sound' if sound else 'no pictures'}", "a video with pictures")
    stream = streams[0]
    if stream.codec_context is None:
        raise InputError(f"{path} is coded in a way that cannot be decoded", _READABLE, "Export it as H.264.")
    size = stream.codec_context.width, stream.codec_context.height
    if size[0] * size[1] > MAX_PIXELS:
        raise _too_large(path, size)
    stream.codec_context.thread_count = DECODER_THREADS
    return stream


def _too_large(path: Path, size: tuple[int, int]) -> InputError:
    limit = f"at most {MAX_PIXELS // 1_000_000} million pixels a frame"
    return InputError(f"{path} has frames of {size[0]} x {size[1]}", limit, "Make the video smaller first.")


def _decoded(stream: Any, container: Any, damage: _Damage) -> Iterator[Any]:
    """Everything that can be decoded; what cannot is counted."""
    av = load_av()
    packets = container.demux(stream)
    ended = False
    while not ended:
        try:
            packet = next(packets, None)
        except av.FFmpegError:
            damage.pieces += 1
            packet = None
        except IndexError:  # PyAV's own, at the end of a file in which streams appeared late
            packet = None
        ended = packet is None
        if packet is not None and packet.size == 0:
            continue
        try:
            frames = stream.codec_context.decode(packet)  # None: what is still inside
        except EOFError:
            continue
        except av.FFmpegError:
            damage.pieces += 1
            continue
        for frame in frames:
            damage.pieces += bool(frame.is_corrupt)
            yield frame


def _stamp_s(frame: Any, stream: Any, container: Any) -> Fraction | None:
    """Time stamp of a decoded frame by the file's own clock, seconds."""
    stamp = frame.dts if _lacks_times(container) else frame.pts
    return None if stamp is None else stamp * stream.time_base


def _lacks_times(container: Any) -> bool:
    """Whether the file knows only the order of decoding, from 0."""
    return container.format.name == "avi"


def _fps(stream: Any) -> float:
    for rate in (stream.guessed_rate, stream.average_rate, stream.base_rate):
        if rate and _BELIEVABLE_FPS[0] <= rate <= _BELIEVABLE_FPS[1]:
            return float(rate)
    return _USUAL_FPS


def _duration_s(stream: Any, container: Any) -> float | None:
    """How long the pictures last as the header states, seconds; None where it states nothing of them alone."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    pieces = stream.metadata.get("DURATION", "").split(":")  # Matroska's, as hours:minutes:seconds
    start_s = float((stream.start_time or 0) * stream.time_base)
    try:
        return max(0.0, sum(float(piece) * 60**k for k, piece in enumerate(reversed(pieces))) - start_s) or None
    except ValueError:
        alone = all(other is stream for other in container.streams)
        return container.duration / 1e6 if container.duration and alone else None
