"""The recipe that CI can afford: ``runs/tiny.sh``, reduced to a few steps."""

import csv
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from openexpose.data.sample_shards import read_samples

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_tiny_runs_from_renders_to_the_table(tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = ["bash", str(ROOT / "runs" / "tiny.sh"), str(tmp_path), "2"]
    done = subprocess.run(command, env=os.environ | {"PATH": path}, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    for stage in ("body", "hand", "face", "joint"):
        with (tmp_path / stage / "validation.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert rows and all(math.isfinite(float(row["loss"])) for row in rows), stage
        assert list((tmp_path / stage / "sheets").glob("step_*.png")), stage
    for part in ("body", "hand", "face"):
        parts, joint = (tmp_path / folder / f"{part}.pt" for folder in (part, "joint"))
        assert parts.is_file() and joint.is_file() and parts.read_bytes() != joint.read_bytes()
    for row in ("parts", "joint"):
        report = json.loads((tmp_path / row / "report.json").read_text())
        assert report["results"][0]["values"], row


@pytest.mark.slow
def test_results_measure_networks_and_refinement_on_the_test_set(tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = ["bash", str(ROOT / "runs" / "results.sh"), str(tmp_path)]
    environment = os.environ | {"PATH": path, "PEOPLE": "2"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    for run in ("renders-networks", "renders"):
        assert "first 2 of the 500 people" in (tmp_path / run / "report.md").read_text()
    assert "difference" in (tmp_path / "compared" / "compare.md").read_text()


@pytest.mark.slow
def test_the_bootstrapping_loop_runs_from_renders_to_the_table(tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = ["bash", str(ROOT / "runs" / "curated.sh"), str(tmp_path), "1"]
    done = subprocess.run(command, env=os.environ | {"PATH": path}, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    row = json.loads(done.stdout.splitlines()[-1])
    assert row["rows"].keys() == {"none", "all", "curated", "random", "scores", "truth"} and row["people"] > 5
    assert all(math.isfinite(value) for scores in row["rows"].values() for some in scores.values() for value in some)
    sets = {name: len(read_samples(tmp_path / "sets" / name, "all")) for name in row["rows"] if name != "none"}
    assert sets["all"] > sets["curated"] == sets["random"] == sets["scores"] > 0
    statistics = json.loads((tmp_path / "sets" / "curated" / "statistics.json").read_text())
    assert statistics["exported"]["fits"] == sets["curated"]
