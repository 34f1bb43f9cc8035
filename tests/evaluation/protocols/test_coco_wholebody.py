"""COCO-WholeBody's protocol on people in the data set's own JSON, and average precision against COCO's evaluator."""

import contextlib
import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
from tests.data.fixtures_planar import coco_entry, wholebody_entry, write_coco
from tests.data.people import Person, people, save_picture

from openexpose.errors import InputError
from openexpose.evaluation import statistics
from openexpose.evaluation.protocols import average_precision as precision
from openexpose.evaluation.protocols import coco_wholebody
from openexpose.evaluation.record import Prediction, Protocol, Result, Subject
from openexpose.evaluation.run import System, evaluate
from openexpose.evaluation.tables import Tables

PARTS = ("body", "foot", "face", "left hand", "right hand", "whole body")


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "RESAMPLES", 30)


@pytest.fixture(scope="module")
def four() -> list[Person]:
    return people(4, seed=3, size=256)


@pytest.fixture
def data(tmp_path: Path, four: list[Person]) -> Path:
    """Four people in two pictures, a crowd and someone without labels."""
    entries = [wholebody_entry(person, k) | {"area": 9000.0} for k, person in enumerate(four)]
    for entry in entries:
        entry["keypoints"] = [value + 0.0 for value in entry["keypoints"]]
    unlabelled = coco_entry(four[0], 90) | {"image_id": 7, "area": 50.0, "keypoints": [0] * 51, "iscrowd": 0}
    crowd = unlabelled | {"id": 91, "iscrowd": 1}
    empty = {f"{part}_valid": False for part in ("foot", "face", "lefthand", "righthand")}
    empty |= {f"{part}_kpts": [] for part in ("foot", "face", "lefthand", "righthand")}
    write_coco(tmp_path / "annotations/coco_wholebody_val_v1.0.json", [*entries, unlabelled | empty, crowd | empty])
    for k in (7, 8):
        save_picture(tmp_path / f"val2017/{k:012d}.jpg", four[0].pixels)
    return tmp_path


@pytest.fixture
def protocol(data: Path) -> Protocol:
    return coco_wholebody.protocol(data, tables=Tables())


def labelled_points(subject: Subject, shift_px: float = 0.0) -> np.ndarray:
    """The 144 with the subject's labels."""
    points = np.full((144, 2), np.nan)
    labels = np.concatenate(
        [subject.keypoints_px[part] for part in ("body", "foot", "face", "left_hand", "right_hand")]
    )
    points[coco_wholebody.WHOLEBODY133[::-1]] = labels[::-1, :2] + [shift_px, 0.0]  # the body's wrists are written last
    return points


class Knowing(System):
    """Answers with the labels, moved."""

    name, notes = "knowing", ()

    def __init__(self, shift_px: float = 0.0, silent: tuple[str, ...] = ()) -> None:
        self.shift_px, self.silent = shift_px, silent

    def __call__(self, subject: Subject) -> Prediction | None:
        if subject.name in self.silent:
            return None
        return Prediction(keypoints_px=labelled_points(subject, self.shift_px), score=0.5)


def derived(result: Result) -> dict[str, float]:
    return {one.metric: one.value for one in result.derived}


def test_the_tables_of_the_133() -> None:
    assert len(coco_wholebody.WHOLEBODY133) == len(coco_wholebody.SIGMAS) == 133
    assert [len(rows) for rows in coco_wholebody.PARTS.values()] == [17, 6, 68, 21, 21, 133]
    assert np.concatenate([coco_wholebody.PARTS[part] for part in PARTS[:-1]]).tolist() == list(range(133))
    # symmetric points were given about equal deviations; a shifted list would not be
    face = coco_wholebody.SIGMAS[23:91]
    assert np.abs(face[17:22] - face[22:27][::-1]).max() < 0.005
    assert np.allclose(coco_wholebody.SIGMAS[91:112], coco_wholebody.SIGMAS[112:])
    sums = [coco_wholebody.SIGMAS[rows].sum() for rows in coco_wholebody.PARTS.values()]
    assert sums == pytest.approx([1.138, 0.48, 1.137, 0.553, 0.553, 3.861])  # of the published list


def test_subjects_are_the_labelled_people(protocol: Protocol, four: list[Person]) -> None:
    assert [subject.name for subject in protocol.subjects] == [f"coco-wholebody/{1000 + k}" for k in range(4)]
    assert not protocol.skipped
    assert any("2 crowds and people without labels" in note for note in protocol.notes)
    for subject, person in zip(protocol.subjects, four, strict=True):
        labels = subject.keypoints_px
        face = person.points_px[coco_wholebody.WHOLEBODY133[coco_wholebody.PARTS["face"]]]
        assert np.allclose(labels["face"][:, :2], face)  # fractions: half a pixel less in the file
        assert np.abs(labels["body"][:, :2] - person.points_px[coco_wholebody.WHOLEBODY133[:17]]).max() <= 0.5
        assert isinstance(subject.image, Path) and subject.image.is_file()
        assert subject.seen == {"left hand", "right hand", "face"} and not subject.faults()


def test_knowing_answers_are_perfect(protocol: Protocol, data: Path) -> None:
    report = evaluate(protocol, [Knowing()], data)
    values = derived(report.results[0])
    assert set(values) == {f"{key} {part}" for key in ("AP", "AP50", "AP75", "AR") for part in (*PARTS, "hands")}
    wrists = ("left hand", "right hand", "hands", "whole body")  # labelled twice, as whole pixels and as fractions
    assert all(value == pytest.approx(100.0) for name, value in values.items() if not name.endswith(wrists))
    assert all(value > 80.0 for value in values.values())
    for metric in ("OKS body", "OKS face", "OKS foot"):
        assert all(
            value == pytest.approx(100.0) for value in report.results[0].values[metric, "coco-wholebody"].values()
        )
    assert report.results[0].values["NME face", "coco-wholebody"]["coco-wholebody/1000"] == pytest.approx(0.0)
    assert {metric for metric, _ in report.results[0].values} | set(values) == {
        metric.name for metric in report.metrics
    }


def test_a_shift_gives_the_similarity_of_the_formula(protocol: Protocol, data: Path) -> None:
    shift = 6.0
    result = evaluate(protocol, [Knowing(shift)], data).results[0]
    sigmas = coco_wholebody.SIGMAS[:17]
    similarity = np.exp(-(shift**2) / (2.0 * 9000.0 * (2.0 * sigmas) ** 2)).mean()
    found = [float(value[0]) for value in result.values["OKS body", "coco-wholebody"].values()]
    assert found == pytest.approx([100.0 * similarity] * 4)
    assert derived(result)["AP body"] == pytest.approx(100.0 * (similarity >= precision.THRESHOLDS).mean())
    size = np.ptp(protocol.subjects[0].keypoints_px["left_hand"][:, :2], axis=0).max()
    found = result.values["error left hand", "coco-wholebody"]["coco-wholebody/1000"]
    assert found == pytest.approx(100.0 * shift / size, abs=100.0 * 1.0 / size)


def test_people_without_an_answer_are_misses(protocol: Protocol, data: Path) -> None:
    result = evaluate(protocol, [Knowing(silent=("coco-wholebody/1001",))], data).results[0]
    assert list(result.skipped) == ["coco-wholebody/1001"]
    assert derived(result)["AR body"] == pytest.approx(75.0)
    assert derived(result)["AP body"] == pytest.approx(100.0 * 76 / 101)  # recalls 0, .01 ... .75
    assert result.values["OKS body", "coco-wholebody"]["coco-wholebody/1001"] == 0.0
    assert "coco-wholebody/1001" not in result.values["NME face", "coco-wholebody"]


def test_a_limit_does_not_count_the_others_as_misses(protocol: Protocol, data: Path) -> None:
    result = evaluate(protocol, [Knowing()], data, limit=1).results[0]
    one = next(one for one in result.derived if one.metric == "AR body")
    assert (one.value, one.count) == (100.0, 1)


def test_bad_input_is_named(protocol: Protocol, data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="coco_wholebody_train"):
        coco_wholebody.protocol(data, tables=Tables(), split="train")
    with pytest.raises(InputError, match="no folder"):
        coco_wholebody.protocol(tmp_path / "absent", tables=Tables())
    with pytest.raises(InputError, match="without keypoints"):
        protocol.measure(protocol.subjects[0], Prediction())
    write_coco(data / "annotations/coco_wholebody_val_v1.0.json", [{"id": 5, "image_id": 7}])
    assert "bbox" in coco_wholebody.protocol(data, tables=Tables()).skipped["coco-wholebody/5"]


def random_pictures(rng: np.random.Generator, count: int, points: int) -> list[tuple]:
    """Pictures with people, some crowds or unlabelled, and answers: near a person, at random or with gaps."""
    pictures = []
    for _ in range(count):
        people_count, answers = (
            int(rng.integers(0, 5)),
            int(rng.integers(0, 25) if rng.random() < 0.1 else rng.integers(6)),
        )
        corner = rng.uniform(0, 200, (people_count, 1, 2))
        labels = np.concatenate(
            [corner + rng.uniform(0, 80, (people_count, points, 2)), rng.integers(0, 3, (people_count, points, 1))], 2
        )
        labels[rng.random(people_count) < 0.2, :, 2] = 0
        labels = np.where(labels[..., 2:] > 0, labels, 0.0)
        boxes = np.concatenate([corner[:, 0], corner[:, 0] + 80.0], 1)
        areas = rng.uniform(500, 5000, people_count)
        whole = precision.People(labels, areas, boxes, rng.random(people_count) < 0.1)
        guess = rng.uniform(0, 250, (answers, points, 2))
        for row in range(answers):
            if people_count and rng.random() < 0.8:
                guess[row] = labels[rng.integers(people_count), :, :2] + rng.normal(
                    0, rng.choice([0.3, 6]), (points, 2)
                )
        pictures.append((guess, np.round(rng.random(answers), 1), whole))
    return pictures


def coco_numbers(pictures: list[tuple], sigmas: np.ndarray) -> dict[str, float]:
    """What COCO's own evaluator makes of them."""
    coco, cocoeval = pytest.importorskip("pycocotools.coco"), pytest.importorskip("pycocotools.cocoeval")
    labels, answers = [], []
    for number, (points, scores, whole) in enumerate(pictures, 1):
        for k in range(len(whole.crowd)):
            x, y, right, bottom = whole.boxes_xyxy_px[k]
            flat = whole.points_px[k].ravel().tolist()
            seen = int((whole.points_px[k, :, 2] > 0).sum())
            entry = {"id": len(labels) + 1, "image_id": number, "category_id": 1, "keypoints": flat}
            entry |= {"num_keypoints": seen, "area": float(whole.areas_px[k]), "iscrowd": int(whole.crowd[k])}
            labels.append(entry | {"bbox": [x, y, right - x, bottom - y]})
        for row, score in zip(points, scores, strict=True):
            flat = np.c_[row, np.ones(len(row))].ravel().tolist()
            answers.append({"image_id": number, "category_id": 1, "keypoints": flat, "score": float(score)})
    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco.COCO()
        images = [{"id": k + 1} for k in range(len(pictures))]
        truth.dataset = {"info": {}, "images": images, "categories": [{"id": 1}], "annotations": labels}
        truth.createIndex()
        evaluator = cocoeval.COCOeval(truth, truth.loadRes(answers), "keypoints")
        evaluator.params.kpt_oks_sigmas = sigmas
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return dict(zip(("AP", "AP50", "AP75"), evaluator.stats[:3], strict=True)) | {"AR": evaluator.stats[5]}


@pytest.mark.parametrize(("seed", "part"), [(0, "body"), (1, "foot"), (2, "left hand"), (3, "whole body"), (4, "face")])
def test_average_precision_is_cocos(seed: int, part: str) -> None:
    sigmas = coco_wholebody.SIGMAS[coco_wholebody.PARTS[part]]
    pictures = random_pictures(np.random.default_rng(seed), 60, len(sigmas))
    ranked = precision.rank(pictures, sigmas)
    expected = coco_numbers(pictures, sigmas)
    for key, (average, thresholds, _) in coco_wholebody._CURVES.items():
        assert average(ranked, thresholds) == pytest.approx(expected[key], abs=1e-9), key
        assert 0.02 < expected[key] < 0.98


def test_drawing_pictures_is_having_them_several_times() -> None:
    rng = np.random.default_rng(5)
    sigmas = coco_wholebody.SIGMAS[:17]
    pictures = random_pictures(rng, 20, 17)
    pictures = [(points, rng.random(len(points)), whole) for points, _, whole in pictures]
    drawn = rng.integers(20, size=20)
    again = precision.rank([pictures[k] for k in drawn], sigmas)
    ranked = precision.rank(pictures, sigmas)
    assert precision.average_recall(ranked, drawn=drawn) == pytest.approx(precision.average_recall(again))
    assert precision.average_precision(ranked, drawn=drawn) == pytest.approx(
        precision.average_precision(again),
        abs=0.02,  # equal answers one by one or at once: one step of the curve
    )


def test_missing_points_are_far_away_and_nobody_gives_no_number() -> None:
    whole = precision.People(np.ones((1, 4, 3)), np.array([100.0]), np.array([[0.0, 0.0, 2.0, 2.0]]), np.array([False]))
    points = np.ones((1, 4, 2))
    points[0, 0] = np.nan
    sigmas = np.full(4, 0.05)
    assert precision.similarities(points, whole, sigmas) == pytest.approx(0.75)
    nobody = dataclasses.replace(whole, crowd=np.array([True]))
    ranked = precision.rank([(points, np.ones(1), nobody)], sigmas)
    assert np.isnan(precision.average_precision(ranked)) and np.isnan(precision.average_recall(ranked))
    assert np.isnan(precision.average_precision(precision.rank([], sigmas)))
