"""``openexpose evaluate`` and ``compare`` as users call them, with the shipped networks on one photo."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from openexpose.body.keypoints import COCO17
from openexpose.cli.main import main

ASTRONAUT = Path(__file__).parents[2] / "examples" / "astronaut.jpg"
BOX = [0.0, 0.0, 512.0, 512.0]


@pytest.fixture(scope="module")
def predicted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What predict says about the photo in a given box."""
    folder = tmp_path_factory.mktemp("predicted")
    boxes = folder / "boxes.json"
    boxes.write_text(json.dumps({ASTRONAUT.name: [BOX]}))
    out = folder / "out"
    assert main(["predict", str(ASTRONAUT), "--out", str(out), "--boxes", str(boxes), "--save", "json", "npz"]) == 0
    return out


@pytest.fixture
def data(tmp_path: Path, predicted: Path) -> Path:
    """The photo, annotated with our own prediction; and a second entry of it whose photo is missing."""
    folder = tmp_path / "photos"
    folder.mkdir()
    shutil.copy(ASTRONAUT, folder)
    person = json.loads((predicted / "astronaut.json").read_text())["people"][0]
    points = np.array(list(person["joints_2d"].values()))[COCO17]
    body = {"format": "coco17", "xyv": [[x, y, 1] for x, y, _ in points.tolist()]}
    entry = {"id": "1", "dataset": "nasa", "image": ASTRONAUT.name, "bbox_xywh": BOX, "keypoints_2d": {"body": body}}
    (folder / "index.json").write_text(json.dumps({"entries": [entry]}))
    return folder


def add_missing(data: Path) -> None:
    index = json.loads((data / "index.json").read_text())
    index["entries"].append({**index["entries"][0], "id": "2", "image": "lost.jpg"})
    (data / "index.json").write_text(json.dumps(index))


def values(report: Path, metric: str) -> dict[str, list[float]]:
    """Values of the first system by subject."""
    found = json.loads((report / "report.json").read_text())["results"][0]["values"]
    return next(entry["subjects"] for entry in found if entry["metric"] == metric)


def test_own_predictions_are_their_own_truth(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "report"
    assert main(["evaluate", "--data", str(data), "--out", str(out)]) == 0
    table = capsys.readouterr().out
    assert "body PCK @ 0.2 torso" in table and "nasa" in table and "95 %" in table
    assert np.mean(values(out, "body error / box diagonal")["1"]) < 0.01
    assert {path.name for path in out.iterdir()} == {"index.html", "report.json", "report.md", "worst.jpg"}


@pytest.mark.parametrize("kind", ["json", "npz"])
def test_files_of_predict_measure_as_predicting_does(
    kind: str, data: Path, predicted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = tmp_path / "files"
    files.mkdir()
    shutil.copy(predicted / f"astronaut.{kind}", files)
    out = tmp_path / "report"
    assert main(["evaluate", "--data", str(data), "--pred", str(files), "--out", str(out)]) == 0
    assert np.mean(values(out, "body error / box diagonal")["1"]) < 0.01
    capsys.readouterr()
    assert main(["compare", str(out / "report.json"), str(out / "report.json")]) == 0
    assert "no difference" in capsys.readouterr().out


def test_a_damaged_answer_is_a_miss_and_the_report_is_written(
    data: Path, predicted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(data / ASTRONAUT.name, data / "other.jpg")
    index = json.loads((data / "index.json").read_text())
    index["entries"].append({**index["entries"][0], "id": "2", "image": "other.jpg"})
    (data / "index.json").write_text(json.dumps(index))
    files = tmp_path / "files"
    files.mkdir()
    shutil.copy(predicted / "astronaut.json", files)
    (files / "other.json").write_text("{")
    out = tmp_path / "report"
    assert main(["evaluate", "--data", str(data), "--pred", str(files), "--out", str(out)]) == 1
    told = capsys.readouterr().out
    assert "no usable answer for 1 of 2" in told and "1 of them still count, as misses" in told
    assert np.mean(values(out, "body PCK @ 0.2 torso")["2"]) == 0 and (out / "index.html").is_file()


def test_any_terminal_can_print(data: Path, predicted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = tmp_path / "ünï 報"
    files.mkdir()
    shutil.copy(predicted / "astronaut.json", files)
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", terminal)
    assert main(["evaluate", "--data", str(data), "--pred", str(files)]) == 0
    assert b"\\u5831" in terminal.buffer.getvalue()


def test_a_missing_photo_is_counted_and_named(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add_missing(data)
    assert main(["evaluate", "--data", str(data), "--no-attention"]) == 1
    table = capsys.readouterr().out
    assert "1/2" in table and "lost.jpg" in table


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--unit", "mm"], "--unit mm without --pred"),
        (["--pred", "{data}", "--no-refine"], "--pred with"),
        (["--pred", "{data}", "--fast"], "--pred with"),
        (["--bundle", "{data}", "--fast"], "--fast with --bundle"),
        (["--limit", "0"], "a limit of 0"),
        (["--split", "nowhere"], "nowhere"),
        (["--protocol", "ehf"], "pictures"),
        (["--protocol", "faces", "--no-attention"], ""),
        (["--tables", "{data}/none"], "none"),
    ],
)
def test_bad_input_is_told_in_one_line(
    words: list[str], message: str, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "--data", str(data), *(word.format(data=data) for word in words)]) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 1 and told[0].startswith("openexpose: ") and message in told[0]
