"""Two processes train as one does: the same global batch, the same steps, the same decisions."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from openexpose.training.engine import EngineConfig, run
from openexpose.training.run_files import Checkpoints

sys.path.insert(0, str(Path(__file__).parent))
toy = importlib.import_module("toy_task")
SETTINGS = {"steps": 6, "log_every": 1, "validate_every": 4, "sheet_every": 99}
OPTIONS = {"bad_steps": [3], "problems": True, "adam": False}


def launch(folder: Path, **options: object) -> subprocess.CompletedProcess[str]:
    """Train the toy with two processes."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command = [*launcher, toy.__file__, str(folder), json.dumps(OPTIONS | options), json.dumps(SETTINGS)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    return subprocess.run(command, capture_output=True, text=True, timeout=100, env=environment)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of two processes."""
    folder = tmp_path_factory.mktemp("two")
    done = launch(folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("6 steps in") == 1, "one process prints"
    return folder


def table(folder: Path) -> list[list[str]]:
    lines = [line.split(",") for line in (folder / "log.csv").read_text().splitlines()]
    return [line[:1] + line[2:] for line in lines]


def test_two_processes_take_the_steps_of_one(two: Path, tmp_path: Path) -> None:
    task = toy.ToyTask(toy.Options(**OPTIONS))
    shares = [task.module(task.batch(0, rank, 2))["points"] for rank in (0, 1)]
    assert shares[0].count != shares[1].count
    means = [float((share.total / share.count).detach()) for share in shares]
    run(task, EngineConfig(out=tmp_path, **SETTINGS))
    one, other = torch.load(tmp_path / "final.pt"), torch.load(two / "final.pt")
    for name in one:
        torch.testing.assert_close(one[name], other[name], atol=1e-6, rtol=0)
    header, *rows = table(two)
    for row, expected in zip(rows, table(tmp_path)[1:], strict=True):
        numbers, wanted = [float(text) for text in row], [float(text) for text in expected]
        assert numbers == pytest.approx(wanted, abs=1e-6, nan_ok=True)
    first = float(rows[0][header.index("points")])
    assert abs(first - sum(means) / 2) > 1e-2, "an average of averages would not be told from the average"


def test_a_bad_share_is_skipped_by_all_and_named(two: Path) -> None:
    state, _ = Checkpoints(two / "checkpoints").load()
    assert state is not None and state.skipped == 1 and state.problems == 12
    named = (two / "problems.log").read_text().splitlines()
    assert sorted(named)[:4] == [f"picture {rank}-{half} is broken" for rank in (0, 1) for half in (0, 1)]
    assert len(named) == 5
    assert any(line.startswith("step 4: skipped") and "sample-3-0" in line and "sample-3-5" in line for line in named)


def test_a_signal_to_one_stops_all_and_changes_nothing(two: Path, tmp_path: Path) -> None:
    stopped = launch(tmp_path, term_at=1)
    assert stopped.returncode != 0 and "stopped after step 2" in stopped.stdout
    done = launch(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "going on from step 2 of 6" in done.stdout
    one, other = torch.load(two / "final.pt"), torch.load(tmp_path / "final.pt")
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert table(two) == table(tmp_path)
    assert (two / "problems.log").read_text() == (tmp_path / "problems.log").read_text()
