"""Laws of a live source, on a camera made of frames."""

import itertools
import queue
import threading
from collections.abc import Iterator
from fractions import Fraction
from types import SimpleNamespace

import av
import pytest
from tests.image.videos import number_of, picture

from openexpose.errors import InputError
from openexpose.image import webcam
from openexpose.image.video import open_webcam


class Camera:
    """A camera that gives what it is told to: numbers of frames, and errors instead of frames."""

    def __init__(self, *items: int | Exception) -> None:
        self.queue: queue.Queue[int | Exception] = queue.Queue()
        self.closed = threading.Event()
        self.asked = threading.Semaphore(0)
        codec = SimpleNamespace(thread_count=0, decode=self.decode)
        stream = SimpleNamespace(
            codec_context=codec, sample_aspect_ratio=None, guessed_rate=Fraction(30), average_rate=None
        )
        self.streams = SimpleNamespace(video=[stream])
        for item in items:
            self.queue.put(item)

    def show(self, *items: int | Exception) -> None:
        """Give these, and wait until all of them were taken."""
        while self.asked.acquire(blocking=False):
            pass
        for item in items:
            self.queue.put(item)
        for _ in items:
            assert self.asked.acquire(timeout=10.0)

    def demux(self, stream: object) -> Iterator[SimpleNamespace]:
        while True:
            item = self.queue.get()
            if isinstance(item, OSError):
                self.asked.release()
                raise item
            yield SimpleNamespace(size=1, item=item)
            self.asked.release()

    def decode(self, packet: SimpleNamespace) -> list[av.VideoFrame]:
        if isinstance(packet.item, Exception):
            raise packet.item
        return [av.VideoFrame.from_ndarray(picture(packet.item), format="rgb24")]

    def close(self) -> None:
        self.closed.set()


def test_the_newest_frame_comes_and_those_between_are_left_out() -> None:
    camera = Camera(0, 1)
    source = open_webcam(0, lambda number: camera)
    assert (source.name, source.fps, source.image_size) == ("camera 0", 30.0, (64, 48))
    frames = source.frames()
    seen = [next(frames)]
    for shown in ([2, 3, 4], [5], [6, 7, 8, 9]):
        camera.show(*shown)
        seen.append(next(frames))
    assert [number_of(frame.pixels) for frame in seen] == [1, 4, 5, 9]
    assert [frame.index for frame in seen] == [0, 1, 2, 3]
    assert seen[0].time_s == 0 and all(a.time_s < b.time_s for a, b in itertools.pairwise(seen))
    camera.queue.put(10)
    frames.close()  # type: ignore[attr-defined]
    assert camera.closed.wait(10.0)


def test_spoilt_frames_and_those_not_yet_there_are_passed_over() -> None:
    camera = Camera(0, av.error.InvalidDataError(1, "spoilt"), BlockingIOError(35, "not yet"), 3)
    frames = open_webcam(0, lambda number: camera).frames()
    assert number_of(next(frames).pixels) == 3


def test_an_unplugged_camera_is_told_after_its_last_frame() -> None:
    camera = Camera(0)
    frames = open_webcam(3, lambda number: camera).frames()
    camera.queue.put(1)
    assert number_of(next(frames).pixels) == 1
    camera.show(2, OSError(19, "No such device"))
    assert number_of(next(frames).pixels) == 2
    with pytest.raises(InputError, match=r"camera 3 gives no more pictures \(No such device\)"):
        next(frames)
    assert camera.closed.wait(10.0)


def test_a_camera_that_falls_silent_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    camera = Camera(0)
    frames = open_webcam(0, lambda number: camera).frames()
    monkeypatch.setattr(webcam, "PATIENCE_S", 0.05)
    with pytest.raises(InputError, match="nothing came"):
        next(frames)


def test_a_camera_that_fails_at_once_is_refused() -> None:
    with pytest.raises(InputError, match="camera 0 gives no pictures"):
        open_webcam(0, lambda number: Camera(OSError(5, "Input/output error")))


def test_the_cameras_that_are_there_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webcam, "_cameras", lambda av, kind: {0: "Built-in", 2: "USB"})
    with pytest.raises(InputError, match=r"no camera 77; expected one of .* 0 \(Built-in\), 2 \(USB\)"):
        open_webcam(77)
    monkeypatch.setattr(webcam, "_cameras", lambda av, kind: {})
    with pytest.raises(InputError, match="none was found"):
        open_webcam(77)
