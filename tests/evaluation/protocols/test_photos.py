"""The photo protocol on a few made-up pictures, with a predictor whose errors are known."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import PIL.Image
import pytest

from openexpose.body.keypoints import COCO17, IBUG68, LEFT_HAND21, RIGHT_HAND21
from openexpose.errors import InputError
from openexpose.evaluation.protocols.photos import (
    ALIGNED,
    BETTER,
    BODY_ERROR,
    CONTOUR,
    HAND,
    INNER,
    METRICS,
    PCK,
    TRUNK,
    protocol,
)
from openexpose.evaluation.record import Prediction, Report, Subject
from openexpose.evaluation.run import OwnSystem, System, choose_cases, evaluate
from openexpose.geometry.camera import project_perspective
from openexpose.people import People, zero_pose

FOCAL_PX = 500.0
CENTRE_PX = np.array([160.0, 120.0])
POINTS_M = np.random.default_rng(0).uniform((-1, -1, 4), (1, 1, 5), (144, 3))
POINTS_PX = project_perspective(POINTS_M, FOCAL_PX, CENTRE_PX)
EYES_PX = float(np.linalg.norm(POINTS_PX[IBUG68[36]] - POINTS_PX[IBUG68[45]]))
SIDES = {"left_hand": LEFT_HAND21, "right_hand": RIGHT_HAND21}
SIZE_PX = {side: float(np.ptp(POINTS_PX[rows], axis=0).max()) for side, rows in SIDES.items()}
SHIFT = {"left-hand": 2.0, "whole": 0.0}
"""How many pixels the face and hands of the made-up predictor are too far to the right."""


class KnownPredictor:
    """Everyone stands at POINTS_M; without attention face and hands are 1 pixel to the right, a lone left hand 2.

    Its trunks see whole people exactly, and lone parts 3 pixels too low.
    """

    refines = True
    body_model = face_model = SimpleNamespace(name="made up", faces=np.array([[0, 1, 2]]))
    config = SimpleNamespace(detector=None)

    def __call__(self, pixels, *, boxes=None, focal_px=None, attention=True, refinement=True, part="whole") -> People:
        count = len(boxes)
        self.last = part, attention
        return People(
            pose=zero_pose(count), betas=np.zeros((count, 10)), expression=np.zeros((count, 20)),
            transl=np.full((count, 3), 1.0 if not attention and part == "whole" else SHIFT.get(part, 0.0)),
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

    def mesh(self, people: People) -> np.ndarray:
        return self.keypoints(people)

    def trunk_points(self, person: int) -> dict[str, np.ndarray]:
        part, attention = self.last
        rows = {"body": COCO17, "face": IBUG68, **SIDES}
        if part != "whole":
            name = part.replace("-", "_")
            return {name: np.c_[POINTS_PX[rows[name]] + [0.0, 3.0], np.ones(len(rows[name]))]}
        looked = rows if attention else {"body": COCO17}
        return {name: np.c_[POINTS_PX[index], np.ones(len(index))] for name, index in looked.items()}


def labelled(index: np.ndarray) -> list:
    return np.c_[POINTS_PX[index], np.ones(len(index))].tolist()


def entry(name: str, dataset: str, keypoints: dict[str, tuple[str, np.ndarray]], **more: object) -> dict:
    points = {part: {"format": form, "xyv": labelled(index)} for part, (form, index) in keypoints.items()}
    return {"id": name, "dataset": dataset, "image": f"{dataset}.png", "bbox_xywh": [10, 20, 300, 200],
            "keypoints_2d": points, **more}  # fmt: skip


def write_index(folder: Path, entries: list[dict]) -> Path:
    (folder / "index.json").write_text(json.dumps({"entries": entries}))
    for dataset in {e["dataset"] for e in entries} - {"absent"}:
        PIL.Image.new("RGB", (320, 240)).save(folder / f"{dataset}.png")
    return folder


BODY = {"body": ("coco17", COCO17)}
WHOLE = BODY | {
    "face": ("ibug68", IBUG68), "left_hand": ("hand21", LEFT_HAND21), "right_hand": ("hand21", RIGHT_HAND21),
    "halpe_face": ("ibug68", IBUG68),
}  # fmt: skip
ENTRIES = [
    entry("1", "people", WHOLE),
    entry("2", "people", WHOLE, valid={"face": False, "lefthand": True, "righthand": False}),
    entry("3", "others", BODY),
    entry("4", "faces", {"face": ("ibug68", IBUG68)}),
    entry("5", "hands", {"right_hand": ("hand21", RIGHT_HAND21)}),
    entry("6", "unknown", {"hand": ("hand21", RIGHT_HAND21)}),
    entry("7", "absent", BODY),
    entry("8", "both", {"left_hand": ("hand21", LEFT_HAND21), "right_hand": ("hand21", RIGHT_HAND21)}),
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_index(tmp_path, ENTRIES)


@pytest.fixture
def report(data: Path) -> Report:
    systems = [OwnSystem(KnownPredictor()), OwnSystem(KnownPredictor(), attention=False)]
    return evaluate(protocol(data, tables=None), systems, data)


def values(report: Report, metric: str, group: str, system: int = 0) -> dict[str, np.ndarray]:
    return report.results[system].values.get((metric, group), {})


def test_perfect_predictions_score_perfectly(report: Report) -> None:
    for group, names in (("people", ["1", "2"]), ("others", ["3"])):
        hits, errors = values(report, PCK, group), values(report, BODY_ERROR, group)
        assert list(hits) == list(errors) == names
        for name in names:
            np.testing.assert_array_equal(hits[name], np.full(12, 100.0))
            np.testing.assert_allclose(errors[name], np.zeros(12), atol=1e-9)
    for metric, group, name in (
        (f"face {INNER}", "people", "1"),
        (f"face {CONTOUR}", "people", "1"),
        (f"face alone, {INNER}", "faces", "4"),
        (f"face alone, {CONTOUR}", "faces", "4"),
        (f"hand alone, {HAND}", "hands", "5"),
        (f"hand alone, {ALIGNED}", "hands", "5"),
        (f"hand alone, {HAND}", "both", "8#right-hand"),
    ):
        np.testing.assert_allclose(values(report, metric, group)[name], [0.0], atol=1e-9)
    assert list(values(report, f"face {INNER}", "people")) == ["1"]  # the other face is not valid


def test_values_pair_up_with_and_without_attention(report: Report) -> None:
    with_it, without = (values(report, f"hand {HAND}", "people", system) for system in (0, 1))
    np.testing.assert_allclose(with_it["1"], [0.0, 0.0], atol=1e-9)
    np.testing.assert_allclose(without["1"], [100 / SIZE_PX["left_hand"], 100 / SIZE_PX["right_hand"]])
    np.testing.assert_allclose(without["2"], [100 / SIZE_PX["left_hand"], np.nan])  # the right hand is not valid
    np.testing.assert_allclose(values(report, f"hand {ALIGNED}", "people", 1)["1"], [0.0, 0.0], atol=1e-9)
    for name in (INNER, CONTOUR):
        np.testing.assert_allclose(values(report, f"face {name}", "people", 1)["1"], [100 / EYES_PX])


def test_the_trunks_own_landmarks_stand_beside(report: Report) -> None:
    np.testing.assert_array_equal(values(report, f"{PCK}, trunk", "people")["1"], np.full(12, 100.0))
    for name in (f"{BODY_ERROR}, trunk", f"face {INNER}, trunk", f"face {CONTOUR}, trunk", f"hand {HAND}, trunk"):
        np.testing.assert_allclose(values(report, name, "people")["1"], 0.0, atol=1e-9)
    lone = values(report, f"face alone, {INNER}, trunk", "faces")["4"]
    np.testing.assert_allclose(lone, [300 / EYES_PX])
    lone = values(report, f"hand alone, {HAND}, trunk", "hands")["5"]
    np.testing.assert_allclose(lone, [300 / SIZE_PX["right_hand"]])
    # Without attention nobody looks at hands and faces.
    assert values(report, f"{PCK}, trunk", "people", 1) and not values(report, f"face {INNER}, trunk", "people", 1)
    assert not values(report, f"hand {HAND}, trunk", "people", 1)


def test_a_hand_of_unknown_side_takes_the_better_one(report: Report) -> None:
    # The labels are those of the right hand, so the right side's network is exact.
    np.testing.assert_allclose(values(report, BETTER, "unknown")["6"], [0.0], atol=1e-9)
    np.testing.assert_allclose(values(report, f"{BETTER}, trunk", "unknown")["6"], [300 / SIZE_PX["right_hand"]])
    assert not values(report, f"hand alone, {HAND}", "unknown")


def test_one_look_at_a_hand_of_unknown_side_is_no_answer(data: Path) -> None:
    right = OwnSystem(KnownPredictor())

    class OneSide(System):
        name, notes = "one side", ()

        def __call__(self, subject: Subject) -> Prediction | None:
            return None if subject.part == "left-hand" else right(subject)

    found = evaluate(protocol(data, tables=None), [OneSide()], data)
    assert not values(found, BETTER, "unknown")
    assert found.results[0].skipped["6#as-left-hand"] == "no answer"


def test_people_without_an_answer_are_missed(data: Path) -> None:
    photos = protocol(data, tables=None)
    by_name = {subject.name: subject for subject in photos.subjects}
    missed = photos.measure(by_name["1"], None)
    assert set(missed.values) == {PCK}
    np.testing.assert_array_equal(missed.values[PCK], np.zeros(12))
    for name in ("4", "5", "6#as-left-hand"):
        assert not photos.measure(by_name[name], None).values
    # An unlabelled knee is no miss; an unlabelled hip leaves the torso unknown; an unreadable picture is no fault.
    body = by_name["1"].keypoints_px["body"]
    for joint, expected in ((13, [0.0] * 8 + [np.nan] + [0.0] * 3), (11, None)):
        part = np.where(np.arange(17)[:, None] == joint, 0.0, body)
        found = photos.measure(replace(by_name["1"], keypoints_px={"body": part}), None).values
        assert (expected is None and not found) or np.array_equal(found[PCK], expected, equal_nan=True)
    assert not photos.measure(by_name["7"], None).values


def test_pictures_that_do_not_read_are_counted_and_named(report: Report) -> None:
    assert "absent.png" in report.results[0].skipped["7"]
    assert len(report.results[0].skipped) == 1
    assert all(group != "absent" for _, group in report.results[0].values)


def test_predictions_without_keypoints_cannot_be_measured(data: Path) -> None:
    photos = protocol(data, tables=None)
    with pytest.raises(InputError, match="without 2D keypoints"):
        photos.measure(photos.subjects[0], Prediction())


def test_unlabelled_points_do_not_count(tmp_path: Path) -> None:
    index = entry("1", "people", WHOLE)
    index["keypoints_2d"]["body"]["xyv"][9] = [float("nan"), 0.0, 0.0]
    index["keypoints_2d"]["face"]["xyv"][:17] = [[0.0, 0.0, 0.0]] * 17
    photos = protocol(write_index(tmp_path, [index]), tables=None)
    result = evaluate(photos, [OwnSystem(KnownPredictor())], tmp_path).results[0]
    expected = np.where(np.arange(12) == 4, np.nan, 100.0)
    np.testing.assert_array_equal(result.values[PCK, "people"]["1"], expected)
    assert (f"face {INNER}", "people") in result.values and (f"face {CONTOUR}", "people") not in result.values


def test_metrics_and_headline_belong_together(data: Path, tmp_path: Path) -> None:
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)
    photos = protocol(data, tables=None)
    assert photos.headline == PCK and photos.whole
    for dataset, headline in (("faces", f"face alone, {INNER}"), ("hands", f"hand alone, {HAND}"), ("unknown", BETTER)):
        some = protocol(data, tables=None, split=dataset)
        assert {subject.group for subject in some.subjects} == {dataset}
        assert some.headline == headline in names and not some.whole
    with pytest.raises(InputError, match="absent, both, faces"):
        protocol(data, tables=None, split="val")


def test_reported_values_are_of_known_metrics_and_cases_are_found(report: Report, data: Path) -> None:
    entries = {metric.name: len(metric.entries) for metric in METRICS}
    for result in report.results:
        for (metric, _), found in result.values.items():
            assert all(len(array) == (entries[metric.removesuffix(TRUNK)] or 1) for array in found.values())
    cases = choose_cases(report, protocol(data, tables=None), OwnSystem(KnownPredictor()))
    assert {case.subject.name for case in cases} == {"1", "2", "3"}


NOWHERE = {"body": {"format": "coco17", "xyv": [[float("nan"), 0.0, 1.0]] * 17}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "without an index.json"),
        ("{", "does not read as annotations"),
        ('{"entries": [{"id": 1}]}', "bbox_xywh"),
        ('{"entries": []}', "without entries"),
        ("[]", "does not read as annotations"),
        (json.dumps({"entries": [entry("1", "d", {"body": ("coco17", COCO17[:5])})]}), "shape"),
        (json.dumps({"entries": [entry("1", "d", BODY), entry("1", "e", BODY)]}), "2 entries of the id '1'"),
        (json.dumps({"entries": [entry("1", "d", BODY, bbox_xywh=[0, 0, 0, 9])]}), "no area"),
        (json.dumps({"entries": [entry("1", "d", {}, keypoints_2d=NOWHERE)]}), "without a place"),
        (json.dumps({"entries": [entry("1", "d", BODY)]}), "not one usable answer"),
        (json.dumps({"entries": [entry("1", "d", {"foot": ("coco_foot6", COCO17[:6])})]}), "nothing to measure on"),
    ],
)  # fmt: skip
def test_unusable_indexes_are_told(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "index.json").write_text(content)
    with pytest.raises(InputError, match=message):
        evaluate(protocol(tmp_path, tables=None), [OwnSystem(KnownPredictor())], tmp_path)


@pytest.mark.parametrize(("name", "rows"), [("3", COCO17[-1:]), ("1", IBUG68[:1])])
def test_half_answers_are_no_means_over_the_rest(data: Path, name: str, rows: np.ndarray) -> None:
    class Half(OwnSystem):
        def __call__(self, subject: Subject) -> Prediction:
            found = super().__call__(subject)
            points = np.array(found.keypoints_px)
            points[rows] = np.nan
            return replace(found, keypoints_px=points) if subject.name == name else found

    report = evaluate(protocol(data, tables=None), [Half(KnownPredictor())], data)
    metric = BODY_ERROR if name == "3" else f"face {CONTOUR}"
    assert all(name not in of for (key, _), of in report.results[0].values.items() if key == metric)
    if name == "3":
        assert np.sum(values(report, PCK, "others")["3"] == 0.0) == 1  # a miss


def test_an_answer_without_the_hand_is_named(data: Path) -> None:
    found = OwnSystem(KnownPredictor())
    toy = protocol(data, tables=None)
    hand = next(subject for subject in toy.subjects if subject.name == "6#as-left-hand")
    answer = replace(found(hand), keypoints_px=np.full((144, 2), np.nan))
    with pytest.raises(InputError, match="without the hand"):
        toy.measure(hand, answer)
