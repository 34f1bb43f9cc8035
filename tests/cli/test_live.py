"""``openexpose predict --camera 0`` with a stand-in for camera, window and networks."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.predict.people_over_time import SIZE, StandIn

from openexpose.cli import live as module
from openexpose.cli.main import main
from openexpose.cli.predict import Predict
from openexpose.errors import InputError
from openexpose.formats.tracks import read_motion
from openexpose.image.frames import Frame, VideoSource


class Camera(VideoSource):
    """Somebody walks; unplugged after ``frames`` frames."""

    def __init__(self, frames: int = 100) -> None:
        super().__init__("camera 0", 30.0, SIZE, None, False)
        self.count = frames

    def frames(self, start: int = 0) -> Iterator[Frame]:
        for k in range(self.count):
            pixels = np.full((SIZE[1], SIZE[0], 3), 60, np.uint8)
            pixels[0, 0] = [k, 2 * k, 1]
            yield Frame(k, k / 10 + 0.01 * (k % 2), pixels)
        raise InputError("camera 0 gives no more pictures (unplugged)", "a camera that stays plugged in")


class FakeWindow:
    """Closed by the user after some pictures."""

    def __init__(self, pictures: int) -> None:
        self.closed, self.left = False, pictures
        self.shown: list[tuple[tuple[int, ...], str]] = []

    def show(self, picture: np.ndarray, title: str) -> None:
        self.shown.append((picture.shape, title))
        self.left -= 1
        self.closed = self.left == 0

    def run(self, work: Callable[[], None]) -> None:
        work()


@pytest.fixture
def camera(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    def plug(frames: int) -> None:
        monkeypatch.setattr(module, "open_webcam", lambda number: Camera(frames))

    monkeypatch.setattr(module.Predictor, "load", lambda *_, **__: StandIn())
    plug(100)
    return plug


def test_pictures_are_shown_until_the_window_is_closed(camera) -> None:
    window = FakeWindow(8)
    assert module.live(Predict(camera=0), window) == 0
    assert len(window.shown) == 8
    assert window.shown[-1][0] == (SIZE[1], SIZE[0], 3) and window.shown[-1][1].endswith("frames/s, 1 person")


def test_with_out_the_people_are_written_at_the_end(camera, tmp_path: Path, capsys) -> None:
    assert module.live(Predict(camera=0, out=tmp_path), FakeWindow(8)) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["camera_0.json", "camera_0_1.npz"]
    motion = read_motion([tmp_path / "camera_0_1.npz"])
    assert len(motion.clip.times_s) == 8 and motion.clip.times_s[1] == pytest.approx(0.11)
    assert "8 frames, 1 person" in capsys.readouterr().out


def test_an_unplugged_camera_is_told_and_loses_nothing(camera, tmp_path: Path) -> None:
    camera(6)
    with pytest.raises(InputError, match="unplugged"):
        module.live(Predict(camera=0, out=tmp_path), FakeWindow(99))
    assert (tmp_path / "camera_0_1.npz").is_file()


def test_without_a_screen_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    tkinter = pytest.importorskip("tkinter")

    def no_screen() -> None:
        raise tkinter.TclError("no display name")

    monkeypatch.setattr(tkinter, "Tk", no_screen)
    assert main(["predict", "--camera", "0"]) == 2
    assert "no screen to show a window on (no display name); expected" in capsys.readouterr().err


def test_without_tkinter_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "tkinter", None)
    assert main(["predict", "--camera", "0"]) == 2
    assert "a Python without tkinter" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["photo.jpg"], "--camera with the file photo.jpg"),
        (["--save", "overlay"], "--save overlay with --camera"),
        (["--part", "face"], "--part face with a video"),
    ],
)
def test_what_a_camera_has_not(words: list[str], told: str, capsys) -> None:
    assert main(["predict", "--camera", "0", *words]) == 2
    assert told in capsys.readouterr().err
