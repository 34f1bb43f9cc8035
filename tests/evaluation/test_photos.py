"""The photo protocol on a few made-up pictures, with a predictor whose errors are known."""

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from openexpose.body.keypoints import COCO17, IBUG68, LEFT_HAND21, RIGHT_HAND21
from openexpose.cli.main import main
from openexpose.errors import InputError
from openexpose.evaluation.photos import Report, evaluate_photos
from openexpose.evaluation.table import format_table, write_table
from openexpose.geometry.camera import project_perspective
from openexpose.people import People, zero_pose
from openexpose.predict.pipeline import Predictor

FOCAL_PX = 500.0
CENTRE_PX = np.array([160.0, 120.0])
POINTS_M = np.random.default_rng(0).uniform((-1, -1, 4), (1, 1, 5), (144, 3))
POINTS_PX = project_perspective(POINTS_M, FOCAL_PX, CENTRE_PX)


class KnownPredictor:
    """Everyone stands at POINTS_M; without attention hands and face are 1 pixel to the right, a lone left hand 2."""

    refines = True

    def __init__(self) -> None:
        self.calls: list[tuple[str, bool, int]] = []

    def __call__(self, pixels, *, boxes=None, focal_px=None, attention=True, refinement=True, part="whole") -> People:
        self.calls.append((part, attention, len(boxes)))
        count = len(boxes)
        return People(
            pose=zero_pose(count), betas=np.zeros((count, 10)), expression=np.zeros((count, 20)),
            transl=np.full((count, 3), {"left-hand": 2.0, "whole": float(not attention)}.get(part, 0.0)),
            score=np.ones(count), bbox_xyxy=boxes, part_confidence=np.ones((count, 4)),
            joint_confidence=np.ones((count, 144)), crop_centre_px=np.zeros((count, 2)),
            crop_side_px=np.ones(count), crop_camera=np.ones((count, 3)), focal_px=FOCAL_PX,
            principal_px=CENTRE_PX, image_size=(320, 240), part=part,
        )  # fmt: skip

    def keypoints(self, people: People) -> np.ndarray:
        points = np.repeat(POINTS_M[None], len(people), 0)
        parts = np.r_[IBUG68, LEFT_HAND21, RIGHT_HAND21]
        points[:, parts, 0] += people.transl[:, :1] * points[:, parts, 2] / FOCAL_PX
        return points


def labelled(index: np.ndarray) -> list:
    return np.c_[POINTS_PX[index], np.ones(len(index))].tolist()


def entry(name: str, dataset: str, keypoints: dict[str, tuple[str, np.ndarray]], **more: object) -> dict:
    points = {part: {"format": form, "xyv": labelled(index)} for part, (form, index) in keypoints.items()}
    return {"id": name, "dataset": dataset, "image": f"{dataset}.png", "bbox_xywh": [10, 20, 300, 200],
            "keypoints_2d": points, **more}  # fmt: skip


@pytest.fixture
def data(tmp_path: Path) -> Path:
    whole = {"body": ("coco17", COCO17), "face": ("ibug68", IBUG68), "left_hand": ("hand21", LEFT_HAND21),
             "right_hand": ("hand21", RIGHT_HAND21), "halpe_face": ("ibug68", IBUG68)}  # fmt: skip
    entries = [
        entry("1", "people", whole),
        entry("2", "people", whole, valid={"face": False, "lefthand": True, "righthand": False}),
        entry("3", "others", {"body": ("coco17", COCO17)}),
        entry("4", "faces", {"face": ("ibug68", IBUG68)}),
        entry("5", "hands", {"right_hand": ("hand21", RIGHT_HAND21)}),
        entry("6", "unknown", {"hand": ("hand21", RIGHT_HAND21)}),
        entry("7", "absent", {"body": ("coco17", COCO17)}),
    ]
    (tmp_path / "index.json").write_text(json.dumps({"entries": entries}))
    for dataset in {e["dataset"] for e in entries} - {"absent"}:
        PIL.Image.new("RGB", (320, 240)).save(tmp_path / f"{dataset}.png")
    return tmp_path


@pytest.fixture
def report(data: Path) -> Report:
    return evaluate_photos(data, KnownPredictor())


def row(report: Report, metric: str, data: str):
    (found,) = [r for r in report.rows if (r.metric, r.data) == (metric, data)]
    return found


def test_perfect_predictions_score_perfectly(report: Report) -> None:
    assert row(report, "body PCK @ 0.2 torso", "all").result.mean == 100.0
    assert row(report, "body PCK @ 0.2 torso", "all").result.people == 3
    assert row(report, "body error / box diagonal", "people").result.mean == pytest.approx(0.0, abs=1e-9)
    assert row(report, "face error / eye corners", "people").result.people == 1
    assert row(report, "face alone, error / eye corners", "faces").result.mean == pytest.approx(0.0, abs=1e-9)
    assert row(report, "hand alone, error / hand size", "hands").result.mean == pytest.approx(0.0, abs=1e-9)


def test_the_gain_of_attention_is_paired(report: Report) -> None:
    hands = row(report, "hand error / hand size", "people")
    sizes = [np.ptp(POINTS_PX[index], axis=0).max() for index in (LEFT_HAND21, RIGHT_HAND21, LEFT_HAND21)]
    assert hands.result.people == 3
    assert hands.without.mean == pytest.approx(100 * np.mean(1 / np.array(sizes)))
    assert hands.difference.mean == pytest.approx(-hands.without.mean)
    face = row(report, "face error / eye corners", "people")
    eyes = np.linalg.norm(POINTS_PX[IBUG68[36]] - POINTS_PX[IBUG68[45]])
    assert face.without.mean == pytest.approx(100 / eyes)


def test_a_hand_of_unknown_side_takes_the_better_one(report: Report) -> None:
    # The labels are those of the right hand, so the right side's network is exact.
    better = row(report, "hand alone, better of both sides, error / hand size", "unknown")
    assert better.result.mean == pytest.approx(0.0, abs=1e-9)


def test_one_call_a_picture_with_all_boxes(data: Path) -> None:
    predictor = KnownPredictor()
    evaluate_photos(data, predictor)
    assert [call for call in predictor.calls if call[0] == "whole"].count(("whole", True, 2)) == 1
    assert ("whole", False, 2) in predictor.calls
    assert [call[0] for call in predictor.calls].count("left-hand") == 1


def test_missing_pictures_are_counted_and_named(report: Report) -> None:
    assert len(report.missing) == 1
    assert "absent.png" in report.missing[0]
    assert "absent.png" in format_table(report)


def test_table_prints_and_saves_every_row(report: Report, tmp_path: Path) -> None:
    text = format_table(report)
    assert text.count("\n| ") == len(report.rows)
    assert "0.2 x the mean of the two shoulder-hip diagonals" in text
    write_table(tmp_path / "table.json", report)
    saved = json.loads((tmp_path / "table.json").read_text())
    assert [r["metric"] for r in saved["rows"]] == [r.metric for r in report.rows]
    assert saved["rows"][0]["result"]["mean"] == 100.0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "without an index.json"),
        ("{", "does not read as annotations"),
        ('{"entries": [{"id": 1}]}', "bbox_xywh"),
        ('{"entries": []}', "without entries"),
        ("[]", "does not read as annotations"),
        (json.dumps({"entries": [entry("1", "d", {"body": ("coco17", COCO17[:5])})]}), "shape"),
        (json.dumps({"entries": [entry("1", "d", {"body": ("coco17", COCO17)})]}), "not one readable picture"),
    ],
)
def test_unusable_indexes_are_told(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "index.json").write_text(content)
    with pytest.raises(InputError, match=message):
        evaluate_photos(tmp_path, KnownPredictor())


def test_the_command_prints_the_table(data: Path, monkeypatch, capsys, tmp_path: Path) -> None:
    monkeypatch.setattr(Predictor, "load", lambda *_, **__: KnownPredictor())
    assert main(["evaluate", "--data", str(data), "--json", str(tmp_path / "t.json")]) == 1  # one picture is missing
    assert "| body PCK" in capsys.readouterr().out
    assert (tmp_path / "t.json").is_file()
    assert main(["evaluate", "--data", str(tmp_path / "nowhere")]) == 2


@pytest.mark.parametrize("refinement", [True, False])
def test_the_table_says_whether_people_were_refined(refinement: bool, tmp_path: Path) -> None:
    report = Report([], [], refinement)
    assert ("Neither column is refined" in format_table(report)) != refinement
    write_table(tmp_path / "table.json", report)
    assert json.loads((tmp_path / "table.json").read_text())["refinement"] is refinement
