"""`openexpose compare`: from files to the terminal, and bad input in one sentence."""

import json
from pathlib import Path

import numpy as np
import pytest

from openexpose.cli.compare import Compare
from openexpose.errors import InputError
from openexpose.evaluation.record import Metric, Report, Result
from openexpose.evaluation.report.write import report_json


def write(folder: Path, offset: float, protocol: str = "made-up") -> Path:
    rng = np.random.default_rng(0)
    of = {f"s/{k}": rng.normal(50.0, 5.0, 1) + offset * (1 + 0.1 * k) for k in range(12)}
    metric = Metric("PVE", "mm", "mean over vertices")
    result = Result("openexpose", values={("PVE", "s"): of})
    report = Report(protocol, "Made up", "data", (metric,), "PVE", (), 12, {}, [result])
    folder.mkdir()
    (folder / "report.json").write_text(json.dumps(report_json(report)))
    return folder


def test_two_runs(tmp_path, capsys):
    first, later = write(tmp_path / "old", 0.0), write(tmp_path / "new", -3.0)
    assert Compare((first, later / "report.json")).run() == 0
    told = capsys.readouterr().out
    assert "new/openexpose (this) against old/openexpose (first)" in told
    assert [line.split("|")[-2].strip() for line in told.splitlines() if line.startswith("| PVE")] == ["better"]


def test_files_are_written(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    folders = write(tmp_path / "old", 0.0), write(tmp_path / "new", 2.0)
    assert Compare(folders, out=tmp_path / "made" / "out").run() == 0
    assert {path.name for path in (tmp_path / "made" / "out").iterdir()} == {"compare.md", "compare.html"}


def test_bad_input(tmp_path):
    first = write(tmp_path / "old", 0.0)
    with pytest.raises(InputError, match="no reports"):
        Compare(()).run()
    with pytest.raises(InputError, match="cannot be read"):
        Compare((first, tmp_path / "absent")).run()
    with pytest.raises(InputError, match="'other' with the protocol 'ehf'"):
        Compare((first, write(tmp_path / "other", 0.0, "ehf"))).run()
    with pytest.raises(InputError, match="cannot be written to"):
        Compare((first, first), out=first / "report.json").run()
