"""``openexpose fit`` goes on where it was stopped: by a new photo, kill -9, a full disk."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from openexpose.body.mesh import keypoints
from openexpose.body.model import load_body_model
from openexpose.cli.main import main
from openexpose.data.openpose import BODY
from openexpose.data.sample_shards import read_samples
from openexpose.data.skeletons import BODY25
from openexpose.fitting.penalties import Priors
from openexpose.geometry.camera import default_focal_px, project_perspective
from openexpose.people import zero_pose

SIZE = (320, 400)


def photos(folder: Path, names: str = "abc") -> list[Path]:
    """Pictures of nothing, and what OpenPose would see of a body in each; the last one shows nobody."""
    model = load_body_model(num_betas=10, num_expression=20)
    pose = zero_pose(1).astype(float)
    pose[:, 1:22] = Priors.load().body_pose
    pose[:, 0] = np.diag([1.0, -1.0, -1.0])
    points = keypoints(model, pose, np.zeros((1, 10)), np.zeros((1, 20)))[0]
    found = []
    for k, name in enumerate(names):
        spots = project_perspective(
            points + [0.1 * k, 0.0, 3.0 + k], default_focal_px(*SIZE), np.array(SIZE, float) / 2
        )
        rows = np.column_stack([spots[BODY25], np.full(25, 0.9)])
        people = [] if k == len(names) - 1 else [{BODY: rows.ravel().tolist()}]
        (folder / f"{name}_keypoints.json").write_text(json.dumps({"people": people}))
        PIL.Image.new("RGB", SIZE, (90, 100 + k, 110)).save(folder / f"{name}.png")
        found.append(folder / f"{name}.png")
    return found


def words(folder: Path, out: Path, *more: str) -> list[str]:
    """A fit of all photos of a folder, without networks."""
    return ["fit", str(folder), "--keypoints", str(folder), "--init", "mean", "--out", str(out), *more]


def written(out: Path) -> dict[str, bytes]:
    """All results; without the seconds that a fit took."""
    found = {path.name: path.read_bytes() for path in out.iterdir()}
    for name in [name for name in found if name.endswith("_fit.json")]:
        found[name] = json.dumps(json.loads(found[name]) | {"seconds": 0}).encode()
    return found


def test_what_is_there_is_not_fitted_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths, out = photos(tmp_path), tmp_path / "out"
    command = words(tmp_path, out, "--save", "npz", "json")
    assert main(command) == 0
    assert "3 photos, 2 people: " in capsys.readouterr().out
    times = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    assert main(command) == 0
    assert "3 photos, 2 people, 3 of them fitted before: " in capsys.readouterr().out
    assert {path.name: path.stat().st_mtime_ns for path in out.iterdir()} == times
    # a changed file, a result that is gone, and another option make it anew
    (tmp_path / "a_keypoints.json").write_text((tmp_path / "b_keypoints.json").read_text())
    assert main(command) == 0 and "2 of them" in capsys.readouterr().out
    (out / "b.json").unlink()
    assert main(command) == 0 and "2 of them" in capsys.readouterr().out
    assert (out / "b.json").is_file()
    PIL.Image.new("RGB", SIZE, (1, 2, 3)).save(paths[2])
    assert main(command) == 0 and "2 of them" in capsys.readouterr().out
    assert main([*command, "--fov", "40"]) == 0 and "of them" not in capsys.readouterr().out
    content = (out / "b.npz").read_bytes()
    (out / "b.npz").write_bytes(content[: len(content) // 2])
    assert main([*command, "--fov", "40"]) == 0 and "2 of them" in capsys.readouterr().out
    (out / "a_fit.json").write_text("{")
    assert main([*command, "--fov", "40"]) == 0 and "2 of them" in capsys.readouterr().out


def test_samples_of_two_runs_are_those_of_one(tmp_path: Path) -> None:
    paths = photos(tmp_path)
    whole, twice = tmp_path / "whole", tmp_path / "twice"
    assert main(words(tmp_path, whole, "--save", "samples")) == 0
    command = words(tmp_path, twice, "--save", "samples")
    assert main([command[0], str(paths[0]), *command[2:]]) == 0
    assert len(read_samples(twice, "all")) == 1
    assert main(command) == 0
    (one,), (other,) = (list(folder.glob("samples-*.tar")) for folder in (whole, twice))
    assert one.read_bytes() == other.read_bytes() and len(read_samples(twice, "all")) == 2
    assert [sample.name for sample in read_samples(twice, "all").samples] == ["a.png/0", "b.png/0"]


def test_where_nobody_is_left_no_samples_are(tmp_path: Path) -> None:
    photos(tmp_path, "ab")
    command = words(tmp_path, tmp_path / "out", "--save", "samples")
    assert main(command) == 0 and len(read_samples(tmp_path / "out", "all")) == 1
    (tmp_path / "a_keypoints.json").write_text((tmp_path / "b_keypoints.json").read_text())
    assert main(command) == 0 and not list((tmp_path / "out").glob("samples-*"))


def test_a_photo_called_like_the_report_of_another_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = photos(tmp_path)
    paths[1].rename(tmp_path / "a_fit.png")
    assert main(words(tmp_path, tmp_path / "out")) == 2
    error = capsys.readouterr().err
    assert "'a.png' and 'a_fit.png'" in error and error.count("\n") == 1
    assert main(words(tmp_path, tmp_path / "out", "--threads", "0")) == 2


def test_killed_and_called_again_it_writes_the_same(tmp_path: Path) -> None:
    photos(tmp_path, "abcdefgh")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert main(words(tmp_path, whole, "--save", "npz", "json")) == 0
    command = words(tmp_path, killed, "--save", "npz", "json")
    with subprocess.Popen([sys.executable, "-m", "openexpose.cli.main", *command]) as process:
        while process.poll() is None and not (killed / "b_fit.json").is_file():
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    assert len(list(killed.glob("*_fit.json"))) < 8, "it was killed in the middle"
    assert main(command) == 0
    results = {name: content for name, content in written(killed).items() if not name.endswith(".part")}
    assert results == written(whole)


@pytest.mark.skipif(os.name == "nt", reason="needs limits of POSIX")
def test_on_a_full_disk_it_says_so_and_goes_on_later(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    photos(tmp_path)
    whole, full = tmp_path / "whole", tmp_path / "full"
    save = ("--save", "json", "npz", "glb")
    assert main(words(tmp_path, whole, *save)) == 0
    limit = (whole / "a.glb").stat().st_size // 2
    code = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}));"
    code += "import sys; from openexpose.cli.main import main; sys.exit(main(sys.argv[1:]))"
    command = words(tmp_path, full, *save)
    done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.count("a.glb cannot be written") == done.stderr.count("b.glb cannot be written") == 1
    assert "Traceback" not in done.stderr and "2 failed" in done.stdout
    assert {path.name for path in full.iterdir()} == {"a.json", "a.npz", "b.json", "b.npz", "c_fit.json"}
    capfd.readouterr()
    assert main(command) == 0
    assert "1 of them fitted before" in capfd.readouterr().out
    assert written(full) == written(whole)
