"""FreiHAND: files in the real format, errors that are known, the challenge's file."""

import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from openexpose.errors import InputError
from openexpose.evaluation.protocols import freihand
from openexpose.evaluation.record import Mesh, Prediction, Protocol, Subject
from openexpose.evaluation.run import System, evaluate
from openexpose.evaluation.tables import Tables
from openexpose.geometry.rotation import rotvec_to_matrix

NO_FACES = np.zeros((0, 3), int)
HANDS = 3
Answer = Callable[[np.ndarray], np.ndarray]


def hands(seed: int = 0, count: int = HANDS) -> tuple[np.ndarray, np.ndarray]:
    """Joints and vertices of made-up hands of 0.2 m, half a metre away."""
    rng = np.random.default_rng(seed)
    joints, vertices = rng.uniform(-0.1, 0.1, (count, 21, 3)), rng.uniform(-0.1, 0.1, (count, 778, 3))
    return joints + [0.0, 0.0, 0.5], vertices + [0.0, 0.0, 0.5]


def write_data(folder: Path, name: str = "evaluation", *, joints: bool = True, vertices: bool = True) -> Path:
    (folder / name / "rgb").mkdir(parents=True)
    for row in range(HANDS):
        Image.new("RGB", (224, 224)).save(folder / name / "rgb" / f"{row:08d}.jpg")
    camera = [[480.0, 0.0, 112.0], [0.0, 480.0, 112.0], [0.0, 0.0, 1.0]]
    (folder / f"{name}_K.json").write_text(json.dumps([camera] * HANDS))
    (folder / f"{name}_scale.json").write_text(json.dumps([0.03] * HANDS))
    xyz, verts = hands()
    if joints:
        (folder / f"{name}_xyz.json").write_text(json.dumps(xyz.tolist()))
    if vertices:
        (folder / f"{name}_verts.json").write_text(json.dumps(verts.tolist()))
    return folder


class Hands(System):
    """A system that answers the truth, changed."""

    name, notes = "changed truth", ()

    def __init__(self, change: Answer, *, mesh: bool = True) -> None:
        self.change, self.mesh = change, mesh

    def __call__(self, subject: Subject) -> Prediction | None:
        row = int(subject.name.rpartition("/")[2])
        joints, vertices = (array[row] for array in hands())
        mesh = Mesh(self.change(vertices), NO_FACES) if self.mesh else None
        return Prediction(mesh, self.change(joints), freihand.HAND21_NAMES)


def measured(protocol: Protocol, answer: Answer, data: Path, *, mesh: bool = True) -> dict[str, float]:
    result = evaluate(protocol, [Hands(answer, mesh=mesh)], data).results[0]
    return {metric: float(np.mean([*subjects.values()])) for (metric, _), subjects in result.values.items()}


def turned(points: np.ndarray) -> np.ndarray:
    return 1.2 * points @ rotvec_to_matrix(np.array([0.3, -1.1, 0.4])).T + [0.1, 0.2, -0.3]


def test_a_similarity_costs_nothing(tmp_path: Path) -> None:
    protocol = freihand.protocol(write_data(tmp_path), tables=Tables())
    found = measured(protocol, turned, tmp_path)
    assert found["PA-MPJPE"] < 1e-3 and found["PA-V2V"] < 1e-3
    assert found["F-score 5 mm"] == found["F-score 15 mm"] == 1.0 and found["AUC PA-PCK 0-50 mm"] > 0.99
    assert found["MPJPE"] > 10.0


def test_wrist_alignment_takes_the_offset_and_leaves_the_size(tmp_path: Path) -> None:
    protocol = freihand.protocol(write_data(tmp_path), tables=Tables())
    assert measured(protocol, lambda points: points + 0.07, tmp_path)["MPJPE"] < 1e-3
    joints, _ = hands()
    expected = 100.0 * np.linalg.norm(joints - joints[:, :1], axis=-1).mean()  # a tenth of the size, in mm
    assert measured(protocol, lambda points: 1.1 * points, tmp_path)["MPJPE"] == pytest.approx(expected, abs=1e-3)


def test_area_under_the_curve_counts_as_the_server_does(tmp_path: Path) -> None:
    protocol = freihand.protocol(write_data(tmp_path), tables=Tables())
    subject = protocol.subjects[0]
    rng = np.random.default_rng(1)
    noisy = subject.joints_m + rng.normal(0.0, 0.015, (21, 3))
    found = protocol.measure(subject, Prediction(None, noisy, freihand.HAND21_NAMES)).values
    thresholds = np.linspace(0.0, 50.0, 100)
    curve = np.array([(found["PA-MPJPE"] <= limit).mean() for limit in thresholds])
    area = np.sum((curve[1:] + curve[:-1]) / 2.0 * np.diff(thresholds)) / 50.0
    assert found["AUC PA-PCK 0-50 mm"] == pytest.approx(area)
    assert len(found["PA-MPJPE"]) == 21


def test_without_mano_vertices_joints_are_measured_alone(tmp_path: Path) -> None:
    protocol = freihand.protocol(write_data(tmp_path), tables=Tables())
    assert set(measured(protocol, turned, tmp_path, mesh=False)) == {"PA-MPJPE", "MPJPE", "AUC PA-PCK 0-50 mm"}
    assert any("free body has none" in note for note in protocol.notes)


def test_vertices_of_smplx_come_in_the_order_of_the_official_ids(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    left, right = np.split(rng.permutation(10475)[:1556], 2)
    with (tmp_path / "MANO_SMPLX_vertex_ids.pkl").open("wb") as file:
        pickle.dump({"left_hand": left, "right_hand": right}, file)
    tables = Tables.read(tmp_path)
    vertices = rng.normal(size=(10475, 3))
    np.testing.assert_array_equal(freihand.mano_vertices(Mesh(vertices, NO_FACES), tables), vertices[right])


def test_millimetres_are_refused_with_the_flag_to_give(tmp_path: Path) -> None:
    protocol = freihand.protocol(write_data(tmp_path), tables=Tables())
    with pytest.raises(InputError, match="--unit mm"):
        evaluate(protocol, [Hands(lambda points: 1000.0 * points)], tmp_path)


def test_splits(tmp_path: Path) -> None:
    trial = freihand.protocol(write_data(tmp_path, "training"), tables=Tables(), split="train")
    assert len(trial.subjects) == HANDS and not trial.published
    assert trial.subjects[0].part == "right-hand" and trial.subjects[0].box_xyxy_px is None
    assert trial.subjects[0].focal_px == 480.0
    with pytest.raises(InputError, match="split"):
        freihand.protocol(tmp_path, tables=Tables(), split="validation")
    with pytest.raises(InputError, match="no pictures"):
        freihand.protocol(tmp_path, tables=Tables())


def test_truth_that_is_not_there_or_does_not_fit(tmp_path: Path) -> None:
    bare = freihand.protocol(write_data(tmp_path / "a", joints=False, vertices=False), tables=Tables())
    assert bare.measure(bare.subjects[0], Hands(turned)(bare.subjects[0])).values == {}
    assert any("submission" in note for note in bare.notes)
    folder = write_data(tmp_path / "b")
    for name, content in (("xyz", [[[0.0] * 3] * 20] * HANDS), ("verts", [[[0.0] * 3] * 778])):
        other = write_data(tmp_path / name)
        (other / f"evaluation_{name}.json").write_text(json.dumps(content))
        with pytest.raises(InputError, match=f"_{name}"):
            freihand.protocol(other, tables=Tables())
    (folder / "evaluation_xyz.json").write_text("[[[0.0, 1.0")
    with pytest.raises(InputError, match="does not read"):
        freihand.protocol(folder, tables=Tables())


def test_the_submission_reads_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert freihand.SUBMISSION_HANDS == 3960
    monkeypatch.setattr(freihand, "SUBMISSION_HANDS", 20)
    joints, vertices = hands(count=20)
    path = tmp_path / "pred.zip"
    freihand.write_submission(path, joints, vertices.astype(np.float32))
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["pred.json"]
        content = json.loads(archive.read("pred.json"))
    assert len(content) == 2
    np.testing.assert_allclose(content[0], joints, atol=1e-6)
    np.testing.assert_allclose(content[1], vertices, atol=1e-6)


def test_submissions_that_the_server_would_refuse(tmp_path: Path) -> None:
    path = tmp_path / "pred.zip"
    joints, vertices = hands(count=10)
    with pytest.raises(InputError, match="778"):
        freihand.write_submission(path, joints, None)
    with pytest.raises(InputError, match="3960"):
        freihand.write_submission(path, joints, vertices)
    many = np.broadcast_to(vertices[:1], (3960, 778, 3))
    with pytest.raises(InputError, match="--unit mm"):
        freihand.write_submission(path, np.zeros((3960, 21, 3)), 1000.0 * many)
    assert not path.exists()


def test_recording_keeps_what_the_run_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freihand, "SUBMISSION_HANDS", HANDS)
    protocol = freihand.protocol(write_data(tmp_path), tables=Tables())
    recording = freihand.Recording(Hands(turned), Tables())
    evaluate(protocol, [recording], tmp_path)
    assert freihand.SUBMISSION_FILE in recording.submit(protocol, tmp_path)
    with zipfile.ZipFile(tmp_path / freihand.SUBMISSION_FILE) as one:
        np.testing.assert_allclose(json.loads(one.read("pred.json"))[0], turned(hands()[0]), atol=1e-6)
    with pytest.raises(InputError, match="2 of 3"):
        partly = freihand.Recording(Hands(turned), Tables())
        partly(protocol.subjects[0])
        partly.write(protocol, tmp_path / "two.zip")
    without = freihand.Recording(Hands(turned, mesh=False), Tables())
    evaluate(protocol, [without], tmp_path)
    assert without.submit(protocol, tmp_path / "none").startswith("No submission written: ")
    assert not (tmp_path / "none").exists()


def test_a_missing_picture_shifts_nothing(tmp_path: Path) -> None:
    data = write_data(tmp_path)
    (data / "evaluation" / "rgb" / "00000001.jpg").unlink()
    protocol = freihand.protocol(data, tables=Tables())
    assert measured(protocol, turned, data)["PA-MPJPE"] == pytest.approx(0.0, abs=1e-3)
    assert "Only 2 of the 3960 pictures are here." in protocol.notes
    (data / "evaluation" / "rgb" / "00000002.jpg").rename(data / "evaluation" / "rgb" / "00000009.jpg")
    with pytest.raises(InputError, match=r"00000009\.jpg"):
        freihand.protocol(data, tables=Tables())
    (data / "evaluation" / "rgb" / "00000009.jpg").rename(data / "evaluation" / "rgb" / "hand.jpg")
    with pytest.raises(InputError, match=r"hand\.jpg"):
        freihand.protocol(data, tables=Tables())
