"""A webcam: always the newest frame."""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from openexpose.errors import InputError
from openexpose.image.decoding import DECODER_THREADS, FrameTimes, Upright, load_av, upright_of
from openexpose.image.frames import Frame, VideoSource

PATIENCE_S = 10.0
"""How long a camera may give no frame before it counts as gone."""

_WANTED: tuple[dict[str, str], ...] = (
    {"video_size": "1280x720", "framerate": "30", "input_format": "mjpeg"},  # what USB 2 has room for
    {"video_size": "1280x720", "framerate": "30"},
    {"framerate": "30"},
    {},
)
_FORMATS = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}
_USUAL_FPS = 30.0
_FAREWELL_S = 0.5  # how long a reading thread may take to end


@dataclass
class LiveSource(VideoSource):
    """A camera. Its frames are the newest at the moment that each is asked for; those in between are left out.

    ``time_s`` is when a frame arrived, seconds after the first one.
    """

    upright: Upright
    container: Any = field(repr=False)

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """The newest frame, again and again, until the caller stops.

        Args:
            start: number that the first frame gets.

        Raises:
            InputError: the camera was unplugged, or gives nothing any more.
        """
        reformatter = load_av().video.reformatter.VideoReformatter()
        newest, times, index = _Newest(self.container), FrameTimes(self.fps), start
        try:
            while True:
                arrived_s, decoded = newest.wait(self.name)
                yield Frame(index, times(Fraction(arrived_s)), self.upright.pixels(decoded, reformatter))
                index += 1
        finally:
            newest.stop()


def open_webcam(number: int, opener: Callable[[int], Any] | None = None) -> LiveSource:
    """A webcam, ready to be read once.

    Args:
        number: which of the machine's cameras, from 0.
        opener: gives a PyAV container for the number; None: the camera of that number.

    Raises:
        InputError: PyAV is missing, there is no such camera, or it gives no picture.
    """
    name = f"camera {number}"
    container = (opener or _camera)(number)
    stream = container.streams.video[0]
    stream.codec_context.thread_count = DECODER_THREADS
    frame = None
    with contextlib.suppress(OSError, load_av().FFmpegError):
        frame = next(_decoded(container, lambda: False, time.monotonic() + PATIENCE_S), None)
    if frame is None:
        container.close()
        raise InputError(f"{name} gives no pictures", "a camera that no other program uses", "Close other programs.")
    upright = upright_of(frame, stream.sample_aspect_ratio)
    fps = float(stream.guessed_rate or stream.average_rate or _USUAL_FPS)
    return LiveSource(name, fps, upright.image_size, None, False, upright, container)


class _Newest:
    """A thread that reads all frames, so that none waits, and keeps the last one."""

    def __init__(self, container: Any) -> None:
        self._container = container
        self._changed = threading.Condition()
        self._frame: tuple[float, Any] | None = None
        self._ended: str | None = None
        self._stopped = False
        self._thread = threading.Thread(target=self._read, name="webcam", daemon=True)
        self._thread.start()

    def wait(self, name: str) -> tuple[float, Any]:
        """The newest frame that was not yet given and when it arrived, monotonic seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._frame or self._ended, PATIENCE_S)
            frame, self._frame = self._frame, None
            if frame is not None:
                return frame
            reason = self._ended or f"nothing came for {PATIENCE_S:.0f} s"
        raise InputError(f"{name} gives no more pictures ({reason})", "a camera that stays plugged in")

    def stop(self) -> None:
        """End the thread, which closes the camera."""
        self._stopped = True
        self._thread.join(timeout=_FAREWELL_S)

    def _read(self) -> None:
        reason = "it ended"
        try:
            for frame in _decoded(self._container, lambda: self._stopped):
                with self._changed:
                    self._frame = (time.monotonic(), frame)
                    self._changed.notify()
        except (OSError, load_av().FFmpegError) as error:
            reason = getattr(error, "strerror", None) or str(error)
        finally:
            with self._changed:
                self._ended = reason
                self._changed.notify()
            with contextlib.suppress(OSError):
                self._container.close()


def _decoded(container: Any, stopped: Callable[[], bool], until_s: float = float("inf")) -> Iterator[Any]:
    """Frames of a camera as they come; spoilt ones are left out, and one that is not yet there is waited for."""
    av = load_av()
    stream = container.streams.video[0]
    waiting = True
    while waiting and not stopped() and time.monotonic() < until_s:
        waiting = False
        try:
            for packet in container.demux(stream):
                with contextlib.suppress(av.error.InvalidDataError):
                    yield from stream.codec_context.decode(packet) if packet.size else ()
                if stopped() or time.monotonic() > until_s:
                    return
        except BlockingIOError:  # macOS says so where Linux waits
            waiting = True
            time.sleep(0.005)


def _camera(number: int) -> Any:
    """The camera of that number, at 720p where it can."""
    av = load_av()
    kind = _FORMATS.get(sys.platform, "v4l2")
    there = _cameras(av, kind)
    target = {"v4l2": f"/dev/video{number}", "avfoundation": f"{number}:none"}.get(kind, f"video={there.get(number)}")
    reason: OSError | ValueError | None = None
    for wanted in _WANTED:
        try:
            return av.open(target, format=kind, container_options=wanted)
        except (OSError, ValueError) as error:  # av.FFmpegError is one or the other
            reason = error
            if isinstance(error, FileNotFoundError | PermissionError):
                break
    known = ", ".join(f"{k} ({name})" for k, name in sorted(there.items()))
    expected = f"one of the cameras that are there: {known}" if known else "a camera; none was found"
    if number in there:
        text = getattr(reason, "strerror", None) or reason
        raise InputError(f"camera {number} ({there[number]}) cannot be opened ({text})", "a camera that may be used")
    raise InputError(f"there is no camera {number}", expected, "Plug one in, or name another number.")


def _cameras(av: Any, kind: str) -> dict[int, str]:
    """Names of the cameras that are there, by number."""
    if kind == "v4l2":
        found = {}
        for device in Path("/sys/class/video4linux").glob("video*"):
            with contextlib.suppress(OSError, ValueError):
                found[int(device.name.removeprefix("video"))] = (device / "name").read_text().strip()
        return found
    try:
        devices = av.device.enumerate_input_devices(kind)
    except (AttributeError, OSError, ValueError):  # older PyAV cannot tell
        return {}
    return {
        number: device.description if kind == "avfoundation" else device.name
        for number, device in enumerate(device for device in devices if "video" in device.media_types)
    }
