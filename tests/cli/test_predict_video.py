"""``openexpose predict clip.mp4`` with the packaged networks: files, going on after a kill, bad input."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from tests.predict.people_over_time import SIZE as SMALL
from tests.predict.people_over_time import StandIn

from openexpose.cli import predicting_video, prediction
from openexpose.cli.inputs import find_inputs
from openexpose.cli.main import main
from openexpose.cli.predict import Predict
from openexpose.formats.native import read_npz
from openexpose.formats.tracks import read_motion
from openexpose.viewer import html

av = pytest.importorskip("av", reason="the extra 'video' is not installed")

ROOT = Path(__file__).parents[2]
PHOTO = ROOT / "examples" / "astronaut.jpg"
FRAMES, SIZE = 10, (321, 240)
FAST = ("--fast", "--threads", "1")
DIES = """
import os, signal, sys
from openexpose.predict import journal
from openexpose.cli.main import main

commit = journal.Journal._commit

def dying(self, state):
    if self.frames == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)  # rows of this frame are written, the state still tells of the last one
    commit(self, state)

journal.Journal._commit = dying
sys.exit(main(sys.argv[2:]))
"""


def picture(k: int) -> PIL.Image.Image:
    """The astronaut on a grey ground, a little farther right in each frame."""
    canvas = PIL.Image.new("RGB", SIZE, (90, 110, 120))
    canvas.paste(PIL.Image.open(PHOTO).convert("RGB").resize((230, 230)), (10 + 4 * k, 5))
    return canvas


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten frames at 12.5 frames a second, of odd width."""
    path = tmp_path_factory.mktemp("clip") / "walk.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "bgr0"
        for k in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(np.asarray(picture(k)), format="rgb24")
            frame.pts = 2 * k
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def out(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one uninterrupted command writes."""
    folder = tmp_path_factory.mktemp("out")
    assert main(["predict", str(clip), "--out", str(folder), *FAST]) == 0
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_clip_gives_tracks_a_summary_and_an_overlay(out: Path) -> None:
    """And nothing else: the journal is gone."""
    assert sorted(content(out)) == ["walk.json", "walk_1.npz", "walk_overlay.mp4"]
    told = json.loads((out / "walk.json").read_text())
    assert told["clip"]["frames"] == FRAMES and (told["clip"]["width"], told["clip"]["height"]) == SIZE
    (track,) = told["tracks"]
    assert (track["id"], track["file"], track["first_frame"], track["last_frame"]) == (1, "walk_1.npz", 0, FRAMES - 1)
    assert track["last_s"] == pytest.approx((FRAMES - 1) * 0.08, abs=2e-3) and 0.3 < track["mean_score"] <= 1.0


def test_the_track_moves_as_the_person_does(out: Path) -> None:
    motion = read_motion([out / "walk_1.npz"])
    assert motion.clip.name == "walk.mkv" and len(motion.clip.times_s) == FRAMES
    people = motion.tracks[0].people
    assert people.image_size == SIZE and len(read_npz(out / "walk_1.npz")) == FRAMES
    x = people.focal_px * people.transl[:, 0] / people.transl[:, 2]
    assert np.corrcoef(x, np.arange(FRAMES))[0, 1] > 0.9
    assert (people.betas == people.betas[0]).all()


def test_the_overlay_has_the_frames_and_shows_the_person(out: Path) -> None:
    with av.open(str(out / "walk_overlay.mp4")) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == FRAMES
    for k in (0, FRAMES - 1):
        changed = np.abs(frames[k][: SIZE[1], : SIZE[0]] - np.asarray(picture(k), float)).max(-1) > 40
        assert 0.05 < changed.mean() < 0.6
        assert abs(changed.nonzero()[1].mean() - (115 + 4 * k)) < 40


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_a_killed_command_goes_on_and_ends_with_the_same_files(clip: Path, out: Path, tmp_path: Path) -> None:
    """Killed in the middle of frame 3, then of frame 7; then it finishes, bit for bit the same."""
    command = ["predict", str(clip), "--out", str(tmp_path), *FAST]
    for frame in (3, 7):
        environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
        dead = subprocess.run([sys.executable, "-c", DIES, str(frame), *command], env=environment, capture_output=True)
        assert dead.returncode == -signal.SIGKILL
        assert [path.name for path in tmp_path.iterdir()] == [".walk.openexpose"]
    seen = subprocess.run(
        [sys.executable, "-m", "openexpose.cli.main", *command], env=environment, capture_output=True, text=True
    )
    assert seen.returncode == 0, seen.stderr
    assert "goes on with frame 6" in seen.stderr
    assert content(tmp_path) == content(out)


# ---- with a stand-in for the networks ----


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    predictor = StandIn()
    monkeypatch.setattr(prediction.Predictor, "load", lambda *_, **__: predictor)
    return predictor


def frames_in(folder: Path, there: list[bool], name: str = "f{}.png") -> Path:
    """A folder of frames as the stand-in reads them; numbers without leading zeros."""
    folder.mkdir()
    for k, somebody in enumerate(there):
        pixels = np.full((SMALL[1], SMALL[0], 3), 60, np.uint8)
        pixels[0, 0] = [k, 2 * k, somebody]
        PIL.Image.fromarray(pixels).save(folder / name.format(k))
    return folder


def predict(out: Path, *words: object) -> int:
    return main(["predict", *map(str, words), "--out", str(out)])


def test_a_folder_of_frames_is_a_clip(stand_in: StandIn, tmp_path: Path, capsys) -> None:
    """In the order of their numbers: frame 2 comes before frame 10."""
    frames_in(tmp_path / "walk", [True] * 12)
    assert predict(tmp_path / "out", "--frames", tmp_path / "walk", "--fps", "12", "--save", "json", "npz") == 0
    assert sorted(content(tmp_path / "out")) == ["walk.json", "walk_1.npz"]
    clip = read_motion([tmp_path / "out" / "walk_1.npz"]).clip
    assert (clip.name, clip.fps) == ("walk", 12.0)
    np.testing.assert_allclose(clip.times_s, np.arange(12) / 12)
    assert sorted(stand_in.detected) == [0, 3, 6, 9]
    assert "1 clip, 12 frames, 1 person" in capsys.readouterr().out


def test_a_pattern_names_frames_or_photos(stand_in: StandIn, tmp_path: Path) -> None:
    frames_in(tmp_path / "walk", [True] * 3)
    pattern = str(tmp_path / "walk" / "*.png")
    assert predict(tmp_path / "out", "--frames", pattern, "--save", "json") == 0
    assert list(content(tmp_path / "out")) == ["walk.json"]
    assert find_inputs(Predict(paths=(Path(pattern),))).photos == [tmp_path / "walk" / f"f{k}.png" for k in range(3)]


def test_a_clip_without_people_has_a_summary_and_no_tracks(stand_in: StandIn, tmp_path: Path, capsys) -> None:
    frames_in(tmp_path / "walk", [False] * 5)
    assert predict(tmp_path / "out", "--frames", tmp_path / "walk") == 0
    assert json.loads((tmp_path / "out" / "walk.json").read_text())["tracks"] == []
    assert sorted(content(tmp_path / "out")) == ["walk.json", "walk_overlay.mp4"]
    assert "walk: no people" in capsys.readouterr().err


def test_ctrl_c_keeps_what_is_done_and_says_how_to_go_on(stand_in, tmp_path: Path, monkeypatch, capsys) -> None:
    frames_in(tmp_path / "walk", [True] * 6)
    words = (tmp_path / "out", "--frames", tmp_path / "walk", "--save", "npz")
    follow = stand_in.follow

    def stopped(pixels, *arguments, **options):
        if pixels[0, 0, 0] == 4:
            raise KeyboardInterrupt
        return follow(pixels, *arguments, **options)

    monkeypatch.setattr(stand_in, "follow", stopped)
    assert predict(*words) == 130
    assert "walk: 4 frames done; the same command goes on from there" in capsys.readouterr().err
    monkeypatch.setattr(stand_in, "follow", follow)
    stand_in.known.clear()
    assert predict(*words) == 0
    assert len(stand_in.known) == 2 and "goes on with frame 4" in capsys.readouterr().err


def test_other_options_begin_anew_and_say_so(stand_in, tmp_path: Path, monkeypatch, capsys) -> None:
    """Smoothing and formats are of the last step: they don't."""
    frames_in(tmp_path / "walk", [True] * 6)
    words = (tmp_path / "out", "--frames", tmp_path / "walk", "--save", "npz")
    with monkeypatch.context() as patched:
        patched.setattr(predicting_video, "finished_tracks", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        assert predict(*words) == 130
    stand_in.known.clear()
    assert predict(*words, "--smooth", "0", "--save", "npz", "json") == 0 and not stand_in.known
    with monkeypatch.context() as patched:
        patched.setattr(predicting_video, "finished_tracks", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        assert predict(*words) == 130
    capsys.readouterr()
    stand_in.known.clear()
    assert predict(*words, "--detect-every", "2") == 0 and len(stand_in.known) == 6
    assert "begins anew (the clip or the options are others)" in capsys.readouterr().err


def test_tracks_of_an_earlier_run_are_removed_and_other_files_stay(stand_in, tmp_path: Path) -> None:
    frames_in(tmp_path / "walk", [True] * 6)
    words = (tmp_path / "out", "--frames", tmp_path / "walk", "--save", "npz")
    assert predict(*words) == 0
    old = (tmp_path / "out" / "walk_1.npz").read_bytes()
    (tmp_path / "out" / "walk_2.npz").write_bytes(old)
    np.savez(tmp_path / "out" / "walk_3.npz", mine=np.ones(1))
    assert predict(*words) == 0
    assert sorted(content(tmp_path / "out")) == ["walk_1.npz", "walk_3.npz"]


def test_one_bad_clip_among_several(stand_in, clip: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"nonsense")
    assert predict(tmp_path / "out", tmp_path / "bad.mp4", clip, "--save", "json") == 1
    told = capsys.readouterr()
    assert "bad.mp4" in told.err and "1 clip, 10 frames" in told.out and "1 failed" in told.out
    assert predict(tmp_path / "out", tmp_path / "bad.mp4") == 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--part", "face"], "--part face with a video"),
        (["--smooth", "2"], "--smooth 2.0; expected a number from 0 to 1"),
        (["--detect-every", "0"], "--detect-every 0; expected 1 or more"),
        (["--frames"], "--frames with the video"),
        (["--fps", "0"], "--fps 0.0"),
        (["--fps", "nan"], "--fps nan"),
        (["--fps", "25"], "--fps 25.0 without --frames"),
        (["--smooth", "nan"], "--smooth nan"),
    ],
)
def test_what_a_clip_has_not(stand_in, clip: Path, tmp_path: Path, capsys, words: list[str], told: str) -> None:
    assert predict(tmp_path / "out", clip, *words) == 2
    assert told in capsys.readouterr().err


def test_results_of_two_inputs_never_meet(stand_in, clip: Path, tmp_path: Path, capsys) -> None:
    photo = frames_in(tmp_path / "photos", [True], "Walk.png") / "Walk.png"
    assert predict(tmp_path / "out", clip, photo) == 2
    assert "two inputs called 'walk'" in capsys.readouterr().err
    (tmp_path / "photos" / "Walk.png").rename(tmp_path / "photos" / "Walk_2.png")
    assert predict(tmp_path / "out", clip, tmp_path / "photos" / "Walk_2.png") == 2
    assert "a picture called 'Walk_2' beside walk.mkv, whose people are written as that" in capsys.readouterr().err
    shutil.copy(clip, tmp_path / "walk_overlay.mp4")
    shutil.copy(clip, tmp_path / "walk.mkv")
    assert predict(tmp_path, tmp_path / "walk.mkv", tmp_path / "walk_overlay.mp4") == 2
    assert "an input 'walk_overlay.mp4' that the result of 'walk' would replace" in capsys.readouterr().err


def test_a_pattern_names_videos_too(stand_in, clip: Path, tmp_path: Path) -> None:
    for name in ("b.mkv", "a.mp4"):
        shutil.copy(clip, tmp_path / name)
    found = find_inputs(Predict(paths=(tmp_path / "*.m*",)))
    assert [given.stem for given in found.clips] == ["a", "b"] and not found.photos


def test_what_is_not_installed_is_told_before_any_work(stand_in, tmp_path: Path, monkeypatch, capsys) -> None:
    frames_in(tmp_path / "walk", [True] * 3)
    monkeypatch.setitem(sys.modules, "av", None)
    assert predict(tmp_path / "out", "--frames", tmp_path / "walk") == 2
    assert "pip install 'openexpose[video]'" in capsys.readouterr().err and not stand_in.known
    assert predict(tmp_path / "out", "--frames", tmp_path / "walk", "--save", "npz") == 0


def test_a_second_run_leaves_the_first_one_alone(stand_in, tmp_path: Path, monkeypatch, capsys) -> None:
    frames_in(tmp_path / "walk", [True] * 6)
    words = (tmp_path / "out", "--frames", tmp_path / "walk", "--save", "npz")
    follow, seconds = stand_in.follow, []

    def busy(pixels, *arguments, **options):
        if pixels[0, 0, 0] == 3 and not seconds:
            seconds.append(None)
            seconds[0] = predict(*words, "--detect-every", "2")
        return follow(pixels, *arguments, **options)

    monkeypatch.setattr(stand_in, "follow", busy)
    assert predict(*words) == 0 and seconds == [2]
    assert "is being written by another openexpose" in capsys.readouterr().err
    assert len(stand_in.known) == 6 and sorted(content(tmp_path / "out")) == ["walk_1.npz"]


def test_what_a_killed_overlay_left_is_removed(stand_in, tmp_path: Path) -> None:
    frames_in(tmp_path / "walk", [True] * 3)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".walk_overlay.mp4.77.part").touch()
    (tmp_path / "out" / ".walk_overlay.mp4").touch()
    assert predict(tmp_path / "out", "--frames", tmp_path / "walk", "--save", "overlay") == 0
    assert sorted(content(tmp_path / "out")) == [".walk_overlay.mp4", "walk_overlay.mp4"]


def test_names_that_look_like_patterns(stand_in, tmp_path: Path) -> None:
    """Tracks of an earlier run are found by name."""
    frames_in(tmp_path / "a[1]**b", [True] * 3)
    words = (tmp_path / "out", "--frames", tmp_path / "a[1]**b", "--save", "npz", "overlay")
    assert predict(*words) == 0
    shutil.copy(tmp_path / "out" / "a[1]**b_1.npz", tmp_path / "out" / "a[1]**b_2.npz")
    assert predict(*words) == 0
    assert sorted(content(tmp_path / "out")) == ["a[1]**b_1.npz", "a[1]**b_overlay.mp4"]


def test_a_damaged_frame_is_told_and_stops_nothing(stand_in, tmp_path: Path, capsys) -> None:
    frames_in(tmp_path / "walk", [True] * 6)
    (tmp_path / "walk" / "f3.png").write_bytes(b"nothing")
    assert predict(tmp_path / "out", "--frames", tmp_path / "walk", "--save", "json") == 0
    told = "has a damaged picture f3.png: the picture before stands in"
    assert f"walk: {told}" in capsys.readouterr().err
    assert json.loads((tmp_path / "out" / "walk.json").read_text())["clip"]["warning"] == f"walk {told}"


@pytest.mark.parametrize("longest_s", [0.1, 10.0])
def test_the_page_of_a_long_clip_goes_without_the_video(
    stand_in, tmp_path: Path, monkeypatch, capsys, longest_s
) -> None:
    frames_in(tmp_path / "walk", [True] * 6)
    pages: dict[str, object] = {}
    monkeypatch.setattr(html, "write_html", lambda path, motion, model, media: pages.update({path.name: media}))
    monkeypatch.setattr(predicting_video, "LONGEST_SHOWN_S", longest_s)
    assert predict(tmp_path / "out", "--frames", tmp_path / "walk", "--save", "html") == 0
    told = capsys.readouterr().err
    assert ("the page shows the people without the video" in told) == (pages["walk.html"] is None) == (longest_s < 1)
