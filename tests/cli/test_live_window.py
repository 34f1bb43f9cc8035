"""The window of ``openexpose predict --camera``, on a real screen or on Xvfb's."""

import gc
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from openexpose.cli.live import TkWindow
from openexpose.errors import InputError

tkinter = pytest.importorskip("tkinter", reason="this Python has no tkinter")
pytest.importorskip("PIL.ImageTk", reason="this Pillow has no ImageTk")

RED = np.full((60, 90, 3), [200, 30, 20], np.uint8)


@pytest.fixture(scope="module", autouse=True)
def screen() -> Iterator[None]:
    """The screen that is there, else one that nobody sees; Xvfb writes its number when it can be used."""
    if os.environ.get("DISPLAY") or sys.platform in ("win32", "darwin"):
        yield
        return
    if shutil.which("Xvfb") is None:
        pytest.skip("no screen and no Xvfb")
    words = ["Xvfb", "-displayfd", "1", "-screen", "0", "640x480x24", "-nolisten", "tcp"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        number = server.stdout.readline().strip()
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv("DISPLAY", f":{number}")
            yield
        gc.collect()
        server.terminate()


class Watched(TkWindow):
    """Tells what is in it."""

    def __init__(self) -> None:
        super().__init__("camera_0")
        self.seen: queue.Queue[tuple[str, int, int]] = queue.Queue()

    def _poll(self) -> None:
        super()._poll()
        self._root.update_idletasks()
        self.seen.put((self._root.title(), self._label.winfo_reqwidth(), self._label.winfo_reqheight()))

    def wait_for(self, title: str) -> tuple[int, int]:
        """Wait until a picture with this title is in the window; returns the size that it takes."""
        while True:
            what, width, height = self.seen.get(timeout=60)
            if what == title:
                return width, height

    def wait_for_end(self) -> None:
        """Show pictures until the window is closed."""
        while not self.closed:
            self.show(RED, "more")
            time.sleep(0.001)


@pytest.fixture
def window() -> Watched:
    gc.collect()  # windows of earlier tests: Tcl's must end in the thread that made them
    try:
        return Watched()
    except InputError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("key", ["<q>", "<Escape>"])
def test_it_shows_pictures_until_a_key_ends_it(window: Watched, key: str) -> None:
    sizes = []

    def work() -> None:
        for k in range(3):
            window.show(RED, f"picture {k}")
            sizes.append(window.wait_for(f"picture {k}"))
        window._root.after(0, lambda: (window._root.focus_force(), window._root.event_generate(key)))
        window.wait_for_end()

    window.run(work)
    assert len(sizes) == 3 and all(width >= 90 and height >= 60 for width, height in sizes)


def test_an_error_of_the_work_is_raised_and_ends_the_window(window: Watched) -> None:
    def work() -> None:
        window.show(RED, "one")
        raise InputError("camera 0 gives no more pictures", "a camera that stays plugged in")

    with pytest.raises(InputError, match="camera 0 gives no more pictures"):
        window.run(work)
    with pytest.raises(tkinter.TclError):
        window._root.title()


def test_work_that_ends_at_once_ends_the_window(window: Watched) -> None:
    """Before the window has begun to listen, too."""
    begin = threading.Thread.start

    def finished(thread: threading.Thread) -> None:
        begin(thread)
        thread.join()

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(threading.Thread, "start", finished)
        window.run(lambda: window.show(RED, "one"))
    assert window.closed


def test_ctrl_c_while_a_picture_is_put_into_it_ends_both(window: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """tkinter swallows what its callbacks raise."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(window._tk, "PhotoImage", interrupted)
    ended: queue.Queue[bool] = queue.Queue()

    def work() -> None:
        window.wait_for_end()
        ended.put(True)

    with pytest.raises(KeyboardInterrupt):
        window.run(work)
    assert ended.get_nowait()
