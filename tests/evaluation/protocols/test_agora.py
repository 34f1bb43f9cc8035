"""AGORA's protocol on synthetic people in its own files: known errors, known detection scores."""

import dataclasses
import os
import pickle
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from tests.evaluation.protocols.agora_fixtures import (
    FOCAL_PX,
    Body,
    columns_of,
    make_body,
    pickled_frame,
    write_answer,
    write_table,
)

from openexpose.body.keypoints import KEYPOINT_NAMES, indices
from openexpose.errors import InputError
from openexpose.evaluation import statistics
from openexpose.evaluation.protocols import agora
from openexpose.evaluation.protocols.agora_answers import SMPL24_NAMES, answers_in, answers_of, match_people
from openexpose.evaluation.protocols.agora_truth import read_pictures
from openexpose.evaluation.protocols.frame_pickle import read_frame
from openexpose.evaluation.record import Mesh, Prediction, Result, Subject
from openexpose.evaluation.run import System, evaluate
from openexpose.evaluation.tables import Tables

FIRST, SECOND = "ag_validationset_x_bfh_hdri_5_10_00001", "ag_validationset_x_bfh_cam00_00002"
TABLES = Tables(
    smplx_sets={
        "all": np.arange(10475),
        "body": np.arange(8000),
        "left hand": np.arange(8000, 8500),
        "right hand": np.arange(8500, 9000),
        "face": np.arange(9000, 10475),
    }
)


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "RESAMPLES", 50)


@pytest.fixture(scope="module")
def people() -> dict[str, list[Body]]:
    """Four who are to be found, and one who is hardly seen."""
    return {
        FIRST: [make_body(0, -1.2), make_body(1, 0.0, kid=True), make_body(2, 1.2, occlusion=95.0)],
        SECOND: [make_body(3, -0.8), make_body(4, 0.8)],
    }


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, people: dict[str, list[Body]]) -> Path:
    folder = tmp_path_factory.mktemp("agora")
    write_table(folder / "SMPLX/validation_0_withjv.pkl", people)
    (folder / "validation").mkdir()
    Image.new("RGB", (1280, 720)).save(folder / f"validation/{FIRST}_1280x720.png")
    return folder


class Knowing(System):
    """Answers with the truth, changed."""

    name, notes = "knowing", ()

    def __init__(
        self, joints_m: np.ndarray | None = None, vertices_m: float = 0.0, silent: tuple[str, ...] = ()
    ) -> None:
        self.joints_m, self.vertices_m, self.silent = joints_m, vertices_m, silent

    def __call__(self, subject: Subject) -> Prediction | None:
        if subject.name in self.silent or subject.mesh is None or subject.joints_m is None:
            return None
        mesh = subject.mesh()
        moved = subject.joints_m + (0.0 if self.joints_m is None else self.joints_m)
        return Prediction(
            Mesh(mesh.vertices_m + [0.0, self.vertices_m, 0.0], mesh.faces), moved, joint_names=subject.joint_names
        )


def derived(result: Result) -> dict[str, float]:
    return {one.metric: one.value for one in result.derived}


def mean(result: Result, metric: str, group: str = "agora") -> float:
    return float(np.mean([value[0] for value in result.values[metric, group].values()]))


def measure(data: Path, answers: Path, **how: str) -> tuple[Result, dict[str, float]]:
    """Measure a folder of answers with detection."""
    protocol, system = agora.detected(data, answers_in(answers, **how), "theirs", tables=TABLES)  # type: ignore[arg-type]
    result = evaluate(protocol, [system], data).results[0]
    return result, derived(result)


def write_answers(folder: Path, people: dict[str, list[Body]], **changed: object) -> Path:
    """Everybody who is to be found, correctly."""
    for name, bodies in people.items():
        for k, body in enumerate(body for body in bodies if body.occlusion <= 90):
            write_answer(folder, name, k, body, **changed)
    return folder


def test_who_is_there(data: Path, people: dict[str, list[Body]]) -> None:
    pictures, skipped = read_pictures(data)
    assert [picture.name for picture in pictures] == [FIRST, SECOND] and not skipped
    assert [[person.valid for person in picture.people] for picture in pictures] == [[True, True, False], [True, True]]
    first = pictures[0]
    assert first.focal_px == pytest.approx(FOCAL_PX) and first.scale == pytest.approx(1 / 3)
    assert first.image.name == f"{FIRST}_1280x720.png"
    vertices = first.people[0].mesh().vertices_m
    assert np.allclose(vertices, people[FIRST][0].vertices_m, atol=1e-6)
    points = FOCAL_PX * vertices[:, :2] / vertices[:, 2:] + [1920.0, 1080.0]
    assert first.people[0].box_xyxy_px == pytest.approx(np.r_[points.min(0), points.max(0)], abs=0.01)


def test_subjects_lie_in_the_pictures_that_are_there(data: Path, people: dict[str, list[Body]]) -> None:
    subjects = agora.protocol(data, tables=TABLES).subjects
    assert [subject.name for subject in subjects] == [f"agora/{FIRST}/{k}" for k in (0, 1)] + [
        f"agora/{SECOND}/{k}" for k in (0, 1)
    ]
    small, large = subjects[0], subjects[2]
    assert small.keypoints_px["all"][:127, :2] == pytest.approx(people[FIRST][0].joints_px / 3.0)
    assert large.keypoints_px["all"][:127, :2] == pytest.approx(people[SECOND][0].joints_px)
    assert small.focal_px == pytest.approx(FOCAL_PX / 3.0) and large.focal_px == pytest.approx(FOCAL_PX)
    assert not any(subject.faults() for subject in subjects)


def test_knowing_answers_have_no_error(data: Path) -> None:
    report = evaluate(agora.protocol(data, tables=TABLES), [Knowing()], data)
    result = report.results[0]
    names = {metric.name for metric in report.metrics}
    assert {metric for metric, _ in result.values} | set(derived(result)) == names
    assert all(mean(result, metric, group) == pytest.approx(0.0, abs=1e-9) for metric, group in result.values)
    assert derived(result) == pytest.approx(dict.fromkeys(derived(result), 0.0) | dict.fromkeys(agora._DETECTION, 1.0))
    assert any("F1 is 1 by construction" in note for note in report.notes)
    assert len(result.values["MVE body", "children"]) == 1


def test_an_offset_is_the_error_but_a_translation_is_none(data: Path) -> None:
    protocol = agora.protocol(data, tables=TABLES)
    away = np.zeros((127, 3))
    away[:, 0] = 0.05
    result = evaluate(protocol, [Knowing(away)], data).results[0]
    assert mean(result, "MPJPE body") == pytest.approx(0.0, abs=1e-9)
    assert mean(result, "MVE body") == pytest.approx(50.0)  # the hips went, the vertices stayed
    away[indices("left_hip", "right_hip", "neck", "left_wrist", "right_wrist")] = 0.0
    result = evaluate(protocol, [Knowing(away, 0.02)], data).results[0]
    expected = {
        "body": 50.0 * 17 / 22,
        "left hand": 50.0 * 15 / 16,
        "right hand": 50.0 * 15 / 16,
        "face": 50.0 * 51 / 52,
    }
    for part, error in expected.items():
        assert mean(result, f"MPJPE {part}") == pytest.approx(error)
        assert mean(result, f"MVE {part}") == pytest.approx(20.0)
    full = expected["body"] + sum(expected[part] for part in ("left hand", "right hand", "face")) / 3.0
    assert mean(result, "MPJPE full body") == pytest.approx(full)
    assert mean(result, "MVE full body") == pytest.approx(40.0)
    assert derived(result)["NMJE full body"] == pytest.approx(full)


def test_no_answer_lowers_recall_also_with_boxes_given(data: Path) -> None:
    result = evaluate(agora.protocol(data, tables=TABLES), [Knowing(silent=(f"agora/{FIRST}/0",))], data).results[0]
    assert derived(result)["recall"] == 0.75 and derived(result)["precision"] == 1.0
    assert derived(result)["F1"] == pytest.approx(6 / 7)


def test_correct_detections_are_perfect(data: Path, people: dict[str, list[Body]], tmp_path: Path) -> None:
    result, numbers = measure(data, write_answers(tmp_path / "theirs", people))
    assert numbers["F1"] == numbers["precision"] == numbers["recall"] == 1.0
    assert numbers["NMVE full body"] == pytest.approx(0.0, abs=1e-3) and not result.skipped
    assert numbers["NMJE body"] == pytest.approx(0.0, abs=1e-9)


def test_one_of_four_is_missed(data: Path, people: dict[str, list[Body]], tmp_path: Path) -> None:
    for name, bodies in people.items():
        for body in bodies:
            moved = body.vertices_m + [0.0, 0.03, 0.0]
            if body is not people[SECOND][1] and body.occlusion < 90:
                write_answer(tmp_path, name, int(100 * abs(body.joints_m[0, 0])), body, verts=moved)
    result, numbers = measure(data, tmp_path)
    assert list(result.skipped) == [f"agora/{SECOND}/1"]
    assert (numbers["recall"], numbers["precision"]) == (0.75, 1.0)
    assert numbers["F1"] == pytest.approx(6 / 7)
    assert mean(result, "MVE body") == pytest.approx(30.0, abs=1e-3)
    assert numbers["NMVE body"] == pytest.approx(30.0 * 7 / 6, abs=1e-3)
    low, high = next((one.low, one.high) for one in result.derived if one.metric == "recall")
    assert low == 0.5 and high == 1.0  # one picture has both, the other one of two


def test_false_alarms_lower_precision(data: Path, people: dict[str, list[Body]], tmp_path: Path) -> None:
    write_answers(tmp_path / "a", people)
    write_answer(tmp_path / "a", SECOND, 7, make_body(9, 2.0))
    assert measure(data, tmp_path / "a")[1]["precision"] == pytest.approx(4 / 5)
    write_answer(tmp_path / "a", FIRST, 7, people[FIRST][2])  # hardly seen, need not be found
    numbers = measure(data, tmp_path / "a")[1]
    assert numbers["precision"] == pytest.approx(4 / 6) and numbers["recall"] == 1.0
    assert numbers["F1"] == pytest.approx(8 / 10)


def test_a_limit_counts_only_its_pictures(data: Path, people: dict[str, list[Body]], tmp_path: Path) -> None:
    protocol, system = agora.detected(data, answers_in(write_answers(tmp_path, people)), "theirs", tables=TABLES)
    one = next(one for one in evaluate(protocol, [system], data, limit=1).results[0].derived if one.metric == "recall")
    assert (one.value, one.count) == (1.0, 1)


def test_matching_does_not_depend_on_the_order() -> None:
    bodies = [make_body(k, x) for k, x in enumerate((-1.5, -0.5, 0.5, 1.5))]
    truth = [body.joints_px for body in bodies]
    rng = np.random.default_rng(0)
    for _ in range(5):
        order = rng.permutation(4)
        answers = [truth[k] + rng.normal(0, 5, truth[k].shape) for k in order]
        found = match_people(answers, truth, np.ones(4, bool))
        assert [int(order[found[person]]) for person in range(4)] == [0, 1, 2, 3]


def test_matching_takes_the_nearest_and_needs_overlap() -> None:
    truth = [make_body(0, 0.0).joints_px]
    near, nearer = truth[0] + 40.0, truth[0] + 20.0
    assert match_people([near, nearer], truth, np.ones(1, bool)) == {0: 1}
    assert match_people([truth[0] + 2000.0], truth, np.ones(1, bool)) == {}
    assert match_people([truth[0]], truth, np.zeros(1, bool)) == {}
    assert match_people([], truth, np.ones(1, bool)) == match_people(truth, [], np.ones(0, bool)) == {}


def test_predictions_of_other_makes(data: Path, people: dict[str, list[Body]], tmp_path: Path) -> None:
    for name, bodies in people.items():
        for k, body in enumerate(body for body in bodies if body.occlusion <= 90):
            arrays = {"joints": body.joints_px / 3.0, "verts": body.vertices_m * 1000.0}
            path = tmp_path / f"{name}_1280x720_personId_{k}.npz"
            np.savez(path, allSmplJoints3d=body.joints_m * 1000.0, **arrays)
    assert measure(data, tmp_path, unit="mm")[1]["F1"] == 1.0
    with pytest.raises(InputError, match="--unit mm"):
        measure(data, tmp_path)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"verts": None, "params": {"betas": np.zeros(10)}}, "uploading joints and vertices"),
        ({"joints": np.zeros((17, 2))}, r"joints \[17, 2\]"),
        ({"allSmplJoints3d": np.full((127, 3), np.nan)}, "not finite"),
        ({"verts": "many"}, "no numbers"),
    ],
)
def test_broken_predictions_are_told(
    data: Path, people: dict[str, list[Body]], tmp_path: Path, changed: dict, reason: str
) -> None:
    write_answers(tmp_path, people)
    write_answer(tmp_path, FIRST, 0, people[FIRST][0], **changed)
    result, numbers = measure(data, tmp_path)
    assert set(result.skipped) >= {f"agora/{FIRST}/0", f"agora/{FIRST}/1"}
    with pytest.raises(InputError, match=reason):
        answers_in(tmp_path)(read_pictures(data)[0][0])
    assert numbers["recall"] == 0.5


def test_folders_without_predictions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="personId"):
        answers_in(tmp_path)
    with pytest.raises(InputError, match="no folder"):
        answers_in(tmp_path / "absent")
    with pytest.raises(InputError, match="the unit"):
        answers_in(tmp_path, "cm")  # type: ignore[arg-type]


def test_own_detections(data: Path, people: dict[str, list[Body]]) -> None:
    """A predictor that sees all who are to be found, in the pictures that are there."""
    for name in (f"{FIRST}_1280x720", SECOND):
        Image.new("RGB", (1280, 720)).save(data / f"validation/{name}.png")
    bodies = iter([body for body in people[FIRST] if body.occlusion < 90] + people[SECOND])

    def predict(pixels: np.ndarray, focal_px: float | None) -> SimpleNamespace:
        assert pixels.shape == (720, 1280, 3) and focal_px == pytest.approx(FOCAL_PX / 3.0)
        pair = [next(bodies), next(bodies)]
        points = np.array([np.r_[body.joints_m, np.tile(body.joints_m[:1], (17, 1))] for body in pair])
        return SimpleNamespace(
            score=np.ones(2),
            bbox_xyxy=np.zeros((2, 4)),
            focal_px=np.float64(focal_px or 0.0),
            principal_px=np.array([640.0, 360.0]),
            points=points,
            vertices=[body.vertices_m for body in pair],
        )

    class Fake:
        body_model = SimpleNamespace(faces=np.zeros((0, 3), int))
        __call__ = staticmethod(predict)

        def keypoints(self, found: SimpleNamespace) -> np.ndarray:
            return found.points

        def mesh(self, found: SimpleNamespace) -> list[np.ndarray]:
            return found.vertices

    protocol, system = agora.detected(data, answers_of(Fake()), "ours", tables=TABLES)  # type: ignore[arg-type]
    numbers = derived(evaluate(protocol, [system], data).results[0])
    assert numbers["F1"] == 1.0 and numbers["NMVE full body"] == pytest.approx(0.0, abs=1e-3)


def test_smpl(tmp_path: Path) -> None:
    body = make_body(0, 0.0, joints=45, vertices=6890)
    write_table(tmp_path / "validation_0_withjv.pkl", {"ag_validationset_body": [body]})
    away = np.zeros((24, 3))
    away[0, 2] = 0.24
    subject = agora.protocol(tmp_path, tables=TABLES).subjects[0]
    assert subject.joint_names == SMPL24_NAMES
    result = evaluate(agora.protocol(tmp_path, tables=TABLES), [Knowing(away, 0.01)], tmp_path).results[0]
    assert mean(result, "MPJPE body") == pytest.approx(10.0) and mean(result, "MVE body") == pytest.approx(10.0)
    np.save(tmp_path / "body_verts_smpl.npy", np.arange(100))
    protocol = agora.protocol(tmp_path, tables=TABLES)
    assert any("AGORA's own" in note for note in protocol.notes)
    mesh = protocol.subjects[0].mesh()  # type: ignore[misc]
    vertices = mesh.vertices_m.copy()
    vertices[:50, 0] += 0.1
    answer = Prediction(Mesh(vertices, mesh.faces), subject.joints_m, joint_names=subject.joint_names)
    assert protocol.measure(subject, answer).values["MVE body"] == pytest.approx(50.0)


def test_bad_truth_is_told(data: Path, people: dict[str, list[Body]], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="train_0_withjv"):
        agora.protocol(data, tables=TABLES, split="train")
    broken = dataclasses.replace(people[FIRST][0], vertices_m=np.zeros((12, 3)))
    write_table(tmp_path / "validation_0_withjv.pkl", {FIRST: [broken, people[FIRST][1]]})
    protocol = agora.protocol(tmp_path, tables=TABLES)
    assert "12 vertices" in protocol.skipped[f"agora/{FIRST}/0"] and len(protocol.subjects) == 1
    columns = columns_of(people)
    del columns["gt_verts"]
    (tmp_path / "validation_0_withjv.pkl").write_bytes(pickled_frame(columns))
    with pytest.raises(InputError, match="without gt_verts"):
        read_pictures(tmp_path / ".")
    subject = protocol.subjects[0]
    with pytest.raises(InputError, match="without joints"):
        agora.protocol(data, tables=TABLES).measure(
            subject, Prediction(joints_m=np.zeros((1, 3)), joint_names=("nose",))
        )


def test_tables_are_read_as_pandas_reads_them(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    columns = columns_of({FIRST: [make_body(0, 0.0)], SECOND: [make_body(1, 0.0), make_body(2, 1.0)]})
    columns |= {"camX": [1.5, 2.5], "count": [1, 2]}
    frame = pandas.DataFrame(columns)
    for table in (frame, frame.astype(object), frame.iloc[::-1], pandas.concat([frame, frame])):
        for protocol in (2, 4, 5):
            table.to_pickle(tmp_path / "table.pkl", protocol=protocol)
            read = read_frame(tmp_path / "table.pkl")
            assert set(read) == set(columns)
            for name in columns:
                for found, true in zip(read[name], table[name], strict=True):
                    both = [side if isinstance(side, list) else [side] for side in (found, true)]
                    assert all(np.array_equal(a, b) for a, b in zip(*both, strict=True))


class _Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


def test_nothing_in_a_table_is_run(tmp_path: Path) -> None:
    path = tmp_path / "validation_0_withjv.pkl"
    path.write_bytes(pickle.dumps(_Evil(tmp_path / "made")))
    with pytest.raises(InputError, match="mkdir"):
        agora.protocol(tmp_path, tables=TABLES)
    frame = pickled_frame({"imgPath": [_Evil(tmp_path / "made")]})
    path.write_bytes(frame)
    with pytest.raises(InputError, match="mkdir"):
        read_frame(path)
    assert not (tmp_path / "made").exists()
    for content in (frame[:-40], b"", pickle.dumps([1, 2])):
        path.write_bytes(content)
        with pytest.raises(InputError):
            read_frame(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_frame(tmp_path / "absent.pkl")


def test_names_are_those_of_the_body_model() -> None:
    assert SMPL24_NAMES[:22] == KEYPOINT_NAMES[:22] and len(SMPL24_NAMES) == 24
    assert [len(part.names) for part in agora._PARTS.values()] == [22, 16, 16, 52]
    assert agora._PARTS["left hand"].names[0] == "left_wrist" and KEYPOINT_NAMES[76:127][-1] == "right_lip_3"


def test_answers_in_another_unit_are_refused(data: Path) -> None:
    found = agora.protocol(data, tables=TABLES)
    answer = Knowing()(found.subjects[0])
    assert answer is not None and answer.joints_m is not None
    with pytest.raises(InputError, match="--unit mm"):
        found.measure(found.subjects[0], dataclasses.replace(answer, mesh=None, joints_m=1000.0 * answer.joints_m))
