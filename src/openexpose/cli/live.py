"""``openexpose predict --camera 0``: a webcam's people in a window, at the speed that the machine gives."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import PIL.Image
from jaxtyping import UInt8

from openexpose.cli.choice import chosen_bundle
from openexpose.cli.inputs import ClipInput
from openexpose.cli.predict import Predict
from openexpose.cli.predicting_video import ClipWork, check_clip_options, counted
from openexpose.cli.prediction import check_options
from openexpose.errors import InputError
from openexpose.formats.atomic import check_writable
from openexpose.image.frames import Frame
from openexpose.image.video import open_webcam
from openexpose.people import People
from openexpose.predict.journal import Journal
from openexpose.predict.overlay_video import draw
from openexpose.predict.pipeline import Predictor
from openexpose.predict.smoothing import CausalSmoother
from openexpose.predict.video import Follower

Array = np.ndarray
Picture = UInt8[Array, "h w 3"]

SHOWN_HEIGHT = 480
"""Rows of the picture in the window: drawing people over it must not take long."""
_POLL_MS = 15


class Window(Protocol):
    """Where pictures are shown."""

    closed: bool
    """Whether the user has ended it."""

    def show(self, picture: Picture, title: str) -> None:
        """Show a picture as soon as possible; called from any thread."""

    def run(self, work: Callable[[], None]) -> None:
        """Do the work in a thread and show pictures until both have ended; raises what the work raised."""


def live(options: Predict, window: Window | None = None) -> int:
    """Show a webcam's people; returns the exit code.

    Args:
        options: the command's.
        window: where to show them; None: a window on the screen.

    Raises:
        InputError: wrong options, no screen, no such camera, or it was unplugged.
    """
    check_options(options)
    check_clip_options(options)
    if options.paths:
        raise InputError(f"--camera with the file {options.paths[0]}", "one of them")
    if options.save and "overlay" in options.save:
        raise InputError("--save overlay with --camera", "other formats: a webcam's pictures are not kept")
    if options.out is not None:
        check_writable(options.out)
    number = options.camera or 0
    stem = f"camera_{number}"
    window = window or TkWindow(stem)
    source = open_webcam(number)
    predictor = Predictor.load(
        chosen_bundle(options.bundle, options.fast), threads=options.threads, device=options.device
    )
    clip = ClipWork(ClipInput(stem, (), lambda: source), source, options, predictor, ("json", "npz"))
    follower = clip.follower()
    journal = None if options.out is None else clip.journal(f"{stem} {time.time_ns()}")[0]
    try:
        window.run(lambda: _watch(clip, follower, journal, window))
    finally:
        people = 0
        if journal is not None and journal.frames:
            journal.finish()
            people = clip.finish(journal, follower)
            frames = counted(journal.frames, "frame", "frames")
            print(f"{frames}, {counted(people, 'person', 'people')}: {options.out}")
    return 0


def _watch(clip: ClipWork, follower: Follower, journal: Journal | None, window: Window) -> None:
    """Predict the newest frame, draw it, and so on until the window is closed."""
    predictor = clip.predictor
    smoother = CausalSmoother(predictor.body_model, clip.options.smooth)
    shown: set[int] = set()
    last = time.perf_counter()
    rate = 0.0
    for frame in clip.source.frames():
        if window.closed:
            return
        found = predictor.detector(frame.pixels) if follower.wants_detection(frame.index) else None
        ids, people = follower(frame, found)
        if journal is not None:
            journal.add(frame.time_s, ids, people, follower.state())
        smoother.forget(np.array(sorted(shown - set(ids.tolist())), int))
        shown = set(ids.tolist())
        picture = small_overlay(frame, smoother(ids, frame.time_s, people), predictor, ids)
        now = time.perf_counter()
        rate = 0.9 * rate + 0.1 / max(now - last, 1e-6) if rate else 1.0 / max(now - last, 1e-6)
        last = now
        window.show(picture, f"{clip.source.name}: {rate:.0f} frames/s, {counted(len(ids), 'person', 'people')}")


def small_overlay(frame: Frame, people: People, predictor: Predictor, ids: Array) -> Picture:
    """The frame at most :data:`SHOWN_HEIGHT` pixels high, with people drawn over it."""
    height, width = frame.pixels.shape[:2]
    shrink = min(1.0, SHOWN_HEIGHT / height)
    size = max(1, round(width * shrink)), max(1, round(height * shrink))
    picture = np.asarray(PIL.Image.fromarray(frame.pixels).resize(size, PIL.Image.Resampling.BILINEAR))
    small = replace(
        people, focal_px=people.focal_px * shrink, principal_px=people.principal_px * shrink, image_size=size
    )
    return draw(picture, small, predictor, ids)


class TkWindow:
    """A window on the screen; q, Escape or its cross ends it.

    Raises:
        InputError: no tkinter in this Python, or no screen.
    """

    def __init__(self, title: str) -> None:
        try:
            import tkinter

            import PIL.ImageTk
        except ImportError:
            fix = "Install it (Debian: python3-tk), or predict a video file."
            raise InputError("a Python without tkinter, which --camera needs for its window", "tkinter", fix) from None
        try:
            self._root = tkinter.Tk()
        except tkinter.TclError as error:
            raise InputError(f"no screen to show a window on ({error})", "a desktop session") from None
        self.closed = False
        self._tk = PIL.ImageTk
        self._next: tuple[Picture, str] | None = None
        self._root.title(title)
        self._label: Any = tkinter.Label(self._root, text="waiting for the camera ...", padx=40, pady=40)
        self._label.pack()
        for key in ("q", "<Escape>"):
            self._root.bind(key, lambda _: self._close())
        self._root.protocol("WM_DELETE_WINDOW", self._close)

    def show(self, picture: Picture, title: str) -> None:
        """Show a picture as soon as possible; one that was not yet shown is replaced."""
        self._next = (picture, title)

    def run(self, work: Callable[[], None]) -> None:
        """Do the work in a thread and show pictures until both have ended."""
        failed: list[BaseException] = []

        def worker() -> None:
            try:
                work()
            except BaseException as error:  # raised below, in the thread that asked
                failed.append(error)
            self.closed = True

        def stopped(_: type, error: BaseException, __: object) -> None:  # tkinter would print it, and go on
            failed.append(error)
            self._root.quit()

        self._root.report_callback_exception = stopped
        thread = threading.Thread(target=worker, name="predict", daemon=True)
        thread.start()
        try:
            self._root.after(0, self._poll)  # not at once: a loop that has not begun cannot be ended
            self._root.mainloop()
        finally:
            self.closed = True
            thread.join()
            self._root.destroy()
        if failed:
            raise failed[0]

    def _poll(self) -> None:
        """Show what is new; end when the work has ended."""
        if self.closed:
            self._root.quit()
            return
        if self._next is not None:
            (picture, title), self._next = self._next, None
            photo = self._tk.PhotoImage(PIL.Image.fromarray(picture))
            self._label.configure(image=photo)
            self._label.image = photo  # kept: tkinter itself holds no reference
            self._root.title(title)
        self._root.after(_POLL_MS, self._poll)

    def _close(self) -> None:
        self.closed = True
