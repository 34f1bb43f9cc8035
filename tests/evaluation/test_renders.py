"""The protocol of renders with predictors whose errors are known."""

import io
import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import PIL.Image
import pytest

from openexpose.body.keypoints import PARTS
from openexpose.body.mesh import PosedMesh, posed_mesh
from openexpose.body.model import load_body_model
from openexpose.cli.main import main
from openexpose.errors import InputError
from openexpose.evaluation.renders import (
    HIPS,
    LSP14,
    METRICS,
    RenderedPerson,
    evaluate_renders,
    format_renders,
    person_errors,
    write_renders,
)
from openexpose.geometry.rotation import rotvec_to_matrix

MODEL = load_body_model()


def made_people(count: int = 3) -> list[RenderedPerson]:
    rng, buffer = np.random.default_rng(0), io.BytesIO()
    PIL.Image.new("RGB", (16, 16)).save(buffer, "JPEG")
    people = []
    for k in range(count):
        visibility = np.full(144, 2, np.uint8)
        visibility[PARTS["left_hand"]] = 2 * (k > 0)  # the first person's left hand is hidden
        pose = rotvec_to_matrix(rng.normal(0, 0.2, (55, 3)))
        people.append(
            RenderedPerson(
                f"p/{k}", buffer.getvalue(), np.array([0.0, 0, 1 + k, 9]), 20.0, pose, np.zeros(10), np.zeros(20),
                visibility,
            )
        )  # fmt: skip
    return people


PEOPLE = made_people()


class KnownPredictor:
    """Answers the truth after a similarity; without attention the fingers of left hands are straight."""

    refines = True

    def __init__(self, scale: float = 1.0, body_model: object = MODEL) -> None:
        self.scale, self.body_model = scale, body_model
        self.calls: list[dict] = []

    def __call__(self, pixels, *, boxes, **how) -> SimpleNamespace:
        self.calls.append(how)
        person = PEOPLE[int(boxes[0, 2]) - 1]
        pose = person.pose.copy()
        if not how["attention"]:
            pose[25:40] = np.eye(3)
        return SimpleNamespace(posed=posed_mesh(MODEL, pose[None], person.betas[None], person.expression[None]))

    def mesh(self, people) -> np.ndarray:
        return self.scale * people.posed.vertices + 0.3

    def keypoints(self, people) -> np.ndarray:
        return self.scale * people.posed.joints + 0.3


def row(report, metric: str, people: str = "all"):
    (found,) = [r for r in report.rows if (r.metric, r.people) == (metric, people)]
    return found


def test_the_truth_has_no_error_and_scale_counts_only_unaligned():
    report = evaluate_renders(KnownPredictor(), PEOPLE)
    assert [r.metric for r in report.rows if r.people == "all"] == list(METRICS)
    assert all(r.result.mean == pytest.approx(0, abs=1e-2) and r.result.people > 0 for r in report.rows)
    scaled = evaluate_renders(KnownPredictor(1.3), PEOPLE, attention=False)
    assert row(scaled, "MPJPE body").result.mean > 50
    assert row(scaled, "PA-MPJPE body").result.mean == pytest.approx(0, abs=1e-2)
    assert row(scaled, "PA-V2V face").result.mean == pytest.approx(0, abs=1e-2)


def test_the_gain_of_attention_is_paired_and_stays_in_its_part():
    report = evaluate_renders(KnownPredictor(), PEOPLE)
    left = row(report, "PA-V2V left hand")
    assert left.without.mean > 2
    assert left.difference.mean == pytest.approx(left.result.mean - left.without.mean)
    assert row(report, "PA-V2V right hand").without.mean == pytest.approx(0, abs=1e-2)
    assert row(report, "PA-MPJPE left hand").without.mean > 2
    assert 0.01 < row(report, "PA-V2V all").without.mean < left.without.mean


def test_hidden_parts_are_told_apart():
    report = evaluate_renders(KnownPredictor(), PEOPLE)
    assert row(report, "PA-V2V left hand").result.people == 3
    assert row(report, "PA-V2V left hand", "part seen").result.people == 2
    assert row(report, "PA-MPJPE right hand", "part seen").result.people == 3
    assert not [r for r in report.rows if r.people == "part seen" and r.metric.endswith("body")]


def test_known_distances():
    rng = np.random.default_rng(1)
    truth = PosedMesh(rng.normal(size=(1, 40, 3)), rng.normal(size=(1, 144, 3)))
    subsets = {"all": np.arange(40), "body": np.arange(20), "face": np.arange(20, 40)}
    subsets |= {"left hand": np.arange(10), "right hand": np.arange(10, 20)}
    joints, vertices = truth.joints.copy(), truth.vertices.copy()
    moved = np.delete(LSP14, HIPS)
    joints[0, moved, 0] += 0.01  # all but the hips move by 10 mm
    vertices[0, :20] = 2 * vertices[0, :20] @ rotvec_to_matrix(np.array([0.3, -1.0, 0.2])).T + 5
    errors = person_errors(PosedMesh(vertices, joints), truth, subsets)
    assert errors["MPJPE body"] == pytest.approx(10 * len(moved) / 14)
    assert errors["PA-MPJPE body"] < errors["MPJPE body"]
    for name in ("body", "left hand", "right hand", "face"):  # each part is aligned on its own
        assert errors[f"PA-V2V {name}"] == pytest.approx(0, abs=1e-9)
    assert errors["PA-V2V all"] > 100


def test_the_camera_is_given_and_no_attention_runs_once():
    predictor = KnownPredictor()
    report = evaluate_renders(predictor, PEOPLE, attention=False, refinement=False)
    assert predictor.calls == [{"focal_px": 20.0, "attention": False, "refinement": False}] * 3
    assert all(r.without is None for r in report.rows)
    assert "no attention [95 %]" in format_renders(report) and "Not refined" in format_renders(report)


def test_table_prints_and_saves_every_row(tmp_path):
    report = evaluate_renders(KnownPredictor(), PEOPLE)
    text = format_renders(report)
    assert text.count("\n| ") == len(report.rows) and "Refined on" in text
    write_renders(tmp_path / "t.json", report)
    saved = json.loads((tmp_path / "t.json").read_text())
    assert [r["metric"] for r in saved["rows"]] == [r.metric for r in report.rows]
    assert saved["attention"] is True and saved["rows"][0]["result"]["people"] == 3


def test_bad_input_is_told():
    with pytest.raises(InputError, match="body model is 'SMPLX_NEUTRAL'"):
        evaluate_renders(KnownPredictor(body_model=SimpleNamespace(name="SMPLX_NEUTRAL")), PEOPLE)
    with pytest.raises(InputError, match="no people"):
        evaluate_renders(KnownPredictor(), [])
    with pytest.raises(InputError, match="p/0: a picture that does not decode"):
        evaluate_renders(KnownPredictor(), [replace(PEOPLE[0], jpeg=b"nothing")])


def test_the_command_prints_the_table(monkeypatch, capsys, tmp_path):
    asked = {}

    def read(folder, split, *, limit):
        asked.update(split=split, limit=limit)
        return PEOPLE[:limit]

    monkeypatch.setattr("openexpose.predict.pipeline.Predictor.load", lambda *_, **__: KnownPredictor())
    monkeypatch.setattr("openexpose.data.synthetic.read_rendered_people", read)
    words = ["evaluate", "--protocol", "renders", "--data", "d", "--limit", "2", "--no-attention"]
    assert main([*words, "--json", str(tmp_path / "t.json")]) == 0
    assert asked == {"split": "val", "limit": 2} and (tmp_path / "t.json").is_file()
    assert "| PA-V2V left hand" in capsys.readouterr().out
    assert main(["evaluate", "--data", "d", "--limit", "2"]) == 2
    assert capsys.readouterr().err.startswith("openexpose: --no-attention, --limit or --split")
