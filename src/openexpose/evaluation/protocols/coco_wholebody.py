"""COCO-WholeBody: 133 keypoints of body, feet, face and hands in everyday photos (Jin et al., ECCV 2020).

People are given by their annotated boxes; the measure is COCO's average precision over object keypoint similarity.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from openexpose.body.keypoints import COCO17, IBUG68, LEFT_HAND21, RIGHT_HAND21
from openexpose.data.arrays import read_json
from openexpose.data.gathering import check_folder, find_file, labelled
from openexpose.data.skeletons import BODY25
from openexpose.errors import InputError
from openexpose.evaluation.planar import COCO_SIGMAS, contour_error, face_error, hand_error, oks
from openexpose.evaluation.protocols import average_precision as precision
from openexpose.evaluation.protocols.published import PUBLISHED
from openexpose.evaluation.record import Derived, Measured, Metric, Prediction, Protocol, Result, Subject, Values
from openexpose.evaluation.statistics import bootstrap
from openexpose.evaluation.tables import Tables

Array = np.ndarray

NAME = "coco-wholebody"
WHOLEBODY133 = np.r_[COCO17, BODY25[19:], IBUG68, LEFT_HAND21, RIGHT_HAND21]
"""Index among the 144 of every keypoint of COCO-WholeBody: body 17, feet 6, face 68, left hand 21, right hand 21."""
_LABELS = {
    "body": ("keypoints", None, 17),
    "foot": ("foot_kpts", "foot_valid", 6),
    "face": ("face_kpts", "face_valid", 68),
    "left_hand": ("lefthand_kpts", "lefthand_valid", 21),
    "right_hand": ("righthand_kpts", "righthand_valid", 21),
}
_ENDS = np.cumsum([count for _, _, count in _LABELS.values()])
_PIECES = dict(zip(_LABELS, np.split(np.arange(133), _ENDS[:-1]), strict=True))
PARTS: dict[str, Array] = {
    **{name.replace("_", " "): rows for name, rows in _PIECES.items()},
    "whole body": np.arange(133),
}
"""What is measured by itself: rows of the 133."""
HANDS = ("left hand", "right hand")

_FACE_SIGMAS = (
    *(0.042, 0.043, 0.044, 0.043, 0.040, 0.035, 0.031, 0.025, 0.020, 0.023, 0.029, 0.032, 0.037, 0.038, 0.043, 0.041),
    *(0.045, 0.013, 0.012, 0.011, 0.011, 0.012, 0.012, 0.011, 0.011, 0.013, 0.015, 0.009, 0.007, 0.007, 0.007, 0.012),
    *(0.009, 0.008, 0.016, 0.010, 0.017, 0.011, 0.009, 0.011, 0.009, 0.007, 0.013, 0.008, 0.011, 0.012, 0.010, 0.034),
    *(0.008, 0.008, 0.009, 0.008, 0.008, 0.007, 0.010, 0.008, 0.009, 0.009, 0.009, 0.007, 0.007, 0.008, 0.011, 0.008),
    *(0.008, 0.008, 0.010, 0.008),
)
_HAND_SIGMAS = (
    *(0.029, 0.022, 0.035, 0.037, 0.047, 0.026, 0.025, 0.024, 0.035, 0.018, 0.024),
    *(0.022, 0.026, 0.017, 0.021, 0.021, 0.032, 0.020, 0.019, 0.022, 0.031),
)
SIGMAS: Float[Array, "133"] = np.array(
    [*COCO_SIGMAS, 0.068, 0.066, 0.066, 0.092, 0.094, 0.094, *_FACE_SIGMAS, *_HAND_SIGMAS, *_HAND_SIGMAS]
)
"""COCO-WholeBody's published deviations of annotators, over the square root of the person's area."""

_CURVES: dict[str, tuple[Callable[..., float], Sequence[int], str]] = {
    "AP": (precision.average_precision, range(10), "average precision, mean over similarities .5, .55 ... .95"),
    "AP50": (precision.average_precision, (0,), "average precision at a similarity of .5"),
    "AP75": (precision.average_precision, (5,), "average precision at a similarity of .75"),
    "AR": (precision.average_recall, range(10), "average recall, mean over similarities .5, .55 ... .95"),
}
_MEAN = "; mean of left and right, as COCO-WholeBody's tables have it"
METRICS: tuple[Metric, ...] = (
    *(
        Metric(f"{key} {part}", "%", how + (_MEAN if part == "hands" else ""), more_is_better=True)
        for key, (_, _, how) in _CURVES.items()
        for part in (*PARTS, "hands")
    ),
    *(
        Metric(f"OKS {part}", "%", f"object keypoint similarity of the {part}, person by person", more_is_better=True)
        for part in PARTS
    ),
    Metric("NME face", "%", "mean distance of the inner 51 landmarks over the distance of the outer eye corners"),
    Metric(
        "NME face contour", "%", "mean distance of the 17 contour points over the distance of the outer eye corners"
    ),
    *(
        Metric(f"error {side}", "%", "mean distance of the 21 points over the longer side of their box")
        for side in HANDS
    ),
)
_NOTES = (
    "People are given by their annotated boxes; one answer a box, ranked by its score.",
    "Areas are those of the people's segments, also for feet, faces and hands; at most 20 answers a picture count.",
    "Answers about nobody are not seen when boxes are given; for boxes that a system detected, AP is an upper bound.",
    "Measured are the 133 of the 144 keypoints that correspond: joints and surface points of the body model, which lie "
    "up to a few centimetres off what annotators click.",
    "A person without an answer counts as a similarity of 0, and in no error.",
)


@dataclass(frozen=True, eq=False)
class _Person:
    name: str
    picture: int
    file: Path
    points_px: Float[Array, "133 3"]
    box_xyxy_px: Float[Array, "4"]
    area_px: float
    crowd: bool

    @property
    def counts(self) -> bool:
        return not self.crowd and bool((self.points_px[:, 2] > 0).any())

    def subject(self) -> Subject:
        points = {part: self.points_px[rows] for part, rows in _PIECES.items()}
        seen = {part: rows for part, rows in points.items() if (rows[:, 2] > 0).any()}
        parts = {part.replace("_", " ") for part in seen} & {*HANDS, "face"}
        return Subject(self.name, NAME, self.file, self.box_xyxy_px, keypoints_px=seen, seen=frozenset(parts))


def protocol(data: Path, *, tables: Tables, split: str | None = None) -> Protocol:
    """COCO-WholeBody's protocol.

    Args:
        data: holds ``annotations/coco_wholebody_<split>_v1.0.json`` (or the file itself) and COCO's 2017 pictures in
            ``<split>2017/`` (or ``images/<split>2017/``, ``images/``).
        tables: not used.
        split: ``val`` (default) or ``train``.

    Raises:
        InputError: no such files, or not COCO-WholeBody's JSON.
    """
    people, skipped = _read(data, split or "val")
    considered = {person.name: person for person in people if person.counts}
    unlabelled = len(people) - len(considered)
    ignored = (f"{unlabelled} crowds and people without labels need not be found.",)
    return Protocol(
        name=NAME,
        title="COCO-WholeBody",
        metrics=METRICS,
        headline="OKS whole body",
        notes=_NOTES + (ignored if unlabelled else ()),
        subjects=[person.subject() for person in considered.values()],
        measure=functools.partial(_measure, considered),
        skipped=skipped,
        finish=functools.partial(_finish, people),
        published=PUBLISHED.get(NAME, ()),
    )


def _read(data: Path, split: str) -> tuple[list[_Person], dict[str, str]]:
    """All annotated people by picture, crowds included, and those whose labels are broken."""
    check_folder(data)
    names = [f"{place}coco_wholebody_{split}{end}.json" for place in ("annotations/", "") for end in ("", "_v*")]
    path = find_file(data, names)
    if path is None:
        expected = f"annotations/coco_wholebody_{split}_v1.0.json"
        raise InputError(f"'{data}' without COCO-WholeBody's labels of the split '{split}'", expected)
    places = [data / f"{split}2017", data / "images" / f"{split}2017", data / "images"]
    pictures = next((place for place in places if place.is_dir()), places[0])
    content = read_json(path)
    try:
        files = {image["id"]: pictures / image["file_name"] for image in content["images"]}
        entries = sorted(content["annotations"], key=lambda entry: entry["image_id"])
    except (KeyError, TypeError):
        raise InputError(f"'{path}' without 'images' and 'annotations'", "COCO-WholeBody's JSON") from None
    people, skipped = [], {}
    for row, entry in enumerate(entries):
        name = f"{NAME}/{entry.get('id', f'row {row}')}"
        try:
            people.append(_person(name, entry, files))
        except KeyError as error:
            skipped[name] = f"labels without {error}"
        except (InputError, TypeError, ValueError) as error:
            skipped[name] = str(error)
    return people, skipped


def _person(name: str, entry: dict[str, Any], files: dict[int, Path]) -> _Person:
    if entry["image_id"] not in files:
        raise InputError(f"the image_id {entry['image_id']}", "one that 'images' lists")
    x, y, width, height = map(float, entry["bbox"])
    points = [
        labelled(entry[key], count, key, 0.5) if valid is None or entry[valid] else np.zeros((count, 3))
        for key, valid, count in _LABELS.values()
    ]
    if not (float(entry["area"]) > 0 and width > 0 and height > 0):
        raise InputError(f"a person with the area {entry['area']} and the box {entry['bbox']}", "positive extents")
    return _Person(
        name,
        entry["image_id"],
        files[entry["image_id"]],
        np.concatenate(points),
        np.array([x, y, x + width, y + height]),
        float(entry["area"]),
        bool(entry.get("iscrowd", 0)),
    )


def _measure(people: dict[str, _Person], subject: Subject, prediction: Prediction | None) -> Measured:
    """Similarities of the parts, errors of face and hands; keeps score and the 133 points (nothing: no answer)."""
    person = people[subject.name]
    labels = {part: rows for part, rows in PARTS.items() if (person.points_px[rows, 2] > 0).any()}
    if prediction is None:
        return Measured({f"OKS {part}": np.zeros(1) for part in labels}, kept=np.zeros(0))
    if prediction.keypoints_px is None:
        raise InputError(
            "a prediction without keypoints in the picture", "keypoints_px", "3D alone is not measured here."
        )
    points = np.asarray(prediction.keypoints_px, float)[WHOLEBODY133]
    numbers = {
        f"OKS {part}": oks(points[rows], person.points_px[rows], person.area_px, SIGMAS[rows])
        for part, rows in labels.items()
    }
    face = (points[PARTS["face"]], person.points_px[PARTS["face"]])
    numbers |= {"NME face": face_error(*face), "NME face contour": contour_error(*face)}
    numbers |= {f"error {side}": hand_error(points[PARTS[side]], person.points_px[PARTS[side]]) for side in HANDS}
    values: Values = {name: np.array([100.0 * value]) for name, value in numbers.items() if value is not None}
    return Measured(values, kept=np.r_[prediction.score, points.ravel()])


def _finish(people: list[_Person], result: Result) -> None:
    """Add AP and AR over the pictures that have a measured person (``--limit`` leaves out others)."""
    pictures = [picture for picture in _by_picture(people) if any(person.name in result.kept for person in picture)]
    ranked = {part: [_rank(pictures, result, rows)] for part, rows in PARTS.items()}
    ranked["hands"] = [side for name in HANDS for side in ranked[name]]
    for key, (average, thresholds, _) in _CURVES.items():
        for part, sides in ranked.items():
            value = functools.partial(_percent, average, thresholds, sides)
            if count := int(sum(side.people.sum() for side in sides)):
                low, high = bootstrap(len(pictures), value)
                result.derived.append(Derived(f"{key} {part}", NAME, value(), low, high, count))


def _percent(
    average: Callable[..., float],
    thresholds: Sequence[int],
    sides: Sequence[precision.Ranked],
    drawn: Array | None = None,
) -> float:
    """Mean of AP or AR over the sides that are labelled; NaN if none is."""
    known = [value for value in (average(side, thresholds, drawn) for side in sides) if not np.isnan(value)]
    return 100.0 * float(np.mean(known)) if known else float("nan")


def _by_picture(people: list[_Person]) -> Iterator[list[_Person]]:
    """People of the same picture; they follow each other."""
    starts = [k for k in range(len(people)) if k == 0 or people[k].picture != people[k - 1].picture]
    return (people[start:end] for start, end in zip(starts, [*starts[1:], len(people)], strict=True))


def _rank(pictures: list[list[_Person]], result: Result, rows: Array) -> precision.Ranked:
    sorted_out = []
    for picture in pictures:
        present = [person for person in picture if person.name in result.kept or not person.counts]
        kept = [result.kept[person.name] for person in present if len(result.kept.get(person.name, ()))]
        points = np.array([row[1:].reshape(133, 2)[rows] for row in kept]).reshape(-1, len(rows), 2)
        labels = precision.People(
            np.array([person.points_px[rows] for person in present]),
            np.array([person.area_px for person in present]),
            np.array([person.box_xyxy_px for person in present]) + 0.5,  # COCO compares it with indices of pixels
            np.array([person.crowd for person in present]),
        )
        sorted_out.append((points, np.array([row[0] for row in kept]), labels))
    return precision.rank(sorted_out, SIGMAS[rows])
