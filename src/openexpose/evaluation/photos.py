"""The photo protocol: 2D errors of bodies, faces and hands on annotated photos, boxes given.

Whole people are predicted twice, with and without attention, so that what attention gains is a paired difference.
Lone faces and hands run through their own network (part-only use, paper, Table 4).
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from tqdm import tqdm

from openexpose.body.keypoints import COCO17, IBUG68, LEFT_HAND21, RIGHT_HAND21
from openexpose.errors import InputError
from openexpose.evaluation import metrics
from openexpose.evaluation.annotations import Annotation, read_annotations
from openexpose.evaluation.metrics import Summary, paired_difference, summarise
from openexpose.geometry.camera import project_perspective
from openexpose.image.read import Image, read_image
from openexpose.predict.pipeline import Predictor

Array = np.ndarray
Values = Array | float | None

_HANDS = {"left_hand": LEFT_HAND21, "right_hand": RIGHT_HAND21}


@dataclass(frozen=True)
class Row:
    """One line of the table; numbers in percent. For errors less is better, for PCK more."""

    metric: str
    data: str
    box: str
    """Whose annotated box was given."""
    result: Summary
    """With attention, or of the part network alone."""
    without: Summary | None = None
    """Without attention."""
    difference: Summary | None = None
    """With minus without attention, person by person."""


@dataclass(frozen=True)
class Report:
    """What the photo protocol found."""

    rows: list[Row]
    missing: list[str]
    """Pictures that could not be read; their people are not in the numbers."""
    refinement: bool = True
    """Whether whole people were laid on the trunks' landmarks, with and without attention."""


@dataclass
class _Scores:
    """Values by (metric, data set): one array a person, with and without attention."""

    attended: dict[tuple[str, str], list[Array]] = field(default_factory=dict)
    plain: dict[tuple[str, str], list[Array]] = field(default_factory=dict)

    def add(self, metric: str, dataset: str, attended: Values, plain: Values = None) -> None:
        """Add a person's values as percentages; None and empty arrays are left out."""
        for values, kept in ((attended, self.attended), (plain, self.plain)):
            if values is not None and np.size(values):
                kept.setdefault((metric, dataset), []).append(100.0 * np.atleast_1d(values))

    def row(self, metric: str, data: str, datasets: list[str]) -> Row | None:
        """Summary over data sets; None without values."""
        attended = [value for name in datasets for value in self.attended.get((metric, name), [])]
        plain = [value for name in datasets for value in self.plain.get((metric, name), [])]
        result = summarise(attended)
        if result is None:
            return None
        if not plain:
            return Row(metric, data, "part's", result)
        return Row(metric, data, "person's", result, summarise(plain), paired_difference(attended, plain))


WHOLE_METRICS = (
    "body PCK @ 0.2 torso",
    "body error / box diagonal",
    "face error / eye corners",
    "hand error / hand size",
    "hand error / hand size, wrist-aligned",
)
PART_METRICS = (
    "face alone, error / eye corners",
    "hand alone, error / hand size",
    "hand alone, error / hand size, wrist-aligned",
    "hand alone, better of both sides, error / hand size",
)
NOTES = (
    "All numbers in percent, 2D, annotated boxes given; [95 % interval of the mean: bootstrap over people].",
    "body PCK @ 0.2 torso: labelled shoulders, elbows, wrists, hips, knees, ankles nearer than 0.2 x the mean of the "
    "two shoulder-hip diagonals; people with all four labelled.",
    "body error: the same joints, all people; over the diagonal of the box.",
    "face error: inner 51 landmarks over the distance of the outer eye corners.",
    "hand error: labelled points over the longer side of the box around them. Better of both sides: the data do not "
    "say which hand it is, so both networks' sides run and the lower error counts, which flatters.",
)


def evaluate_photos(data: Path, predictor: Predictor, *, refinement: bool = True) -> Report:
    """Run the photo protocol.

    Args:
        data: folder with ``index.json`` (see :func:`read_annotations`) and its pictures.
        predictor: what to measure.
        refinement: with or without laying whole people on the trunks' landmarks.

    Raises:
        InputError: no usable index, or not one picture of it can be read.
    """
    by_image: dict[Path, list[Annotation]] = {}
    for annotation in read_annotations(data):
        by_image.setdefault(annotation.image, []).append(annotation)
    scores, missing = _Scores(), []
    for path, annotations in tqdm(by_image.items(), unit="photo", file=sys.stderr, disable=not sys.stderr.isatty()):
        try:
            image = read_image(path)
        except InputError as error:
            missing.append(str(error))
            continue
        people = [annotation for annotation in annotations if "body" in annotation.keypoints]
        _score_people(image, people, predictor, scores, refinement)
        for annotation in annotations:
            if "body" not in annotation.keypoints:
                _score_part(image, annotation, predictor, scores)
    if len(missing) == len(by_image):
        raise InputError(f"not one readable picture in '{data}' ({missing[0]})", "the pictures that index.json names")
    return Report(_rows(scores), missing, refinement)


def _rows(scores: _Scores) -> list[Row]:
    rows = []
    for metric in (*WHOLE_METRICS, *PART_METRICS):
        datasets = sorted(name for key, name in scores.attended if key == metric)
        groups = [(name, [name]) for name in datasets] + ([("all", datasets)] if len(datasets) > 1 else [])
        rows += [scores.row(metric, label, names) for label, names in groups]
    return [row for row in rows if row is not None]


def _score_people(
    image: Image, people: list[Annotation], predictor: Predictor, scores: _Scores, refinement: bool
) -> None:
    """Predict the whole people of a photo with and without attention and add their scores."""
    if not people:
        return
    boxes = np.stack([person.box_xyxy_px for person in people])
    attended = _points_px(image, boxes, predictor, attention=True, refinement=refinement)
    plain = _points_px(image, boxes, predictor, attention=False, refinement=refinement)
    for person, *both in zip(people, attended, plain, strict=True):
        labelled = person.keypoints["body"]
        pck = [metrics.pck_hits(points[COCO17], labelled) for points in both]
        scores.add("body PCK @ 0.2 torso", person.dataset, *pck)
        error = [metrics.limb_errors(points[COCO17], labelled, person.box_xyxy_px) for points in both]
        scores.add("body error / box diagonal", person.dataset, *error)
        if "face" in person.keypoints:
            face = [metrics.face_error(points[IBUG68], person.keypoints["face"]) for points in both]
            scores.add("face error / eye corners", person.dataset, *face)
        for side in _HANDS.keys() & person.keypoints.keys():
            hand = [_hand_errors(points, side, person.keypoints[side]) for points in both]
            scores.add("hand error / hand size", person.dataset, hand[0][0], hand[1][0])
            scores.add("hand error / hand size, wrist-aligned", person.dataset, hand[0][1], hand[1][1])


def _score_part(image: Image, label: Annotation, predictor: Predictor, scores: _Scores) -> None:
    """Predict a lone face or hand and add its scores."""
    boxes = label.box_xyxy_px[None]
    if "face" in label.keypoints:
        points = _points_px(image, boxes, predictor, part="face")[0]
        error = metrics.face_error(points[IBUG68], label.keypoints["face"])
        scores.add("face alone, error / eye corners", label.dataset, error)
    for side in _HANDS.keys() & label.keypoints.keys():
        points = _points_px(image, boxes, predictor, part=side.replace("_", "-"))[0]
        error, aligned = _hand_errors(points, side, label.keypoints[side])
        scores.add("hand alone, error / hand size", label.dataset, error)
        scores.add("hand alone, error / hand size, wrist-aligned", label.dataset, aligned)
    if "hand" in label.keypoints:
        errors = []
        for side in _HANDS:
            points = _points_px(image, boxes, predictor, part=side.replace("_", "-"))[0]
            errors.append(_hand_errors(points, side, label.keypoints["hand"])[0])
        if None not in errors:
            scores.add("hand alone, better of both sides, error / hand size", label.dataset, min(errors))


def _hand_errors(points: Float[Array, "144 2"], side: str, labelled: Float[Array, "21 3"]) -> tuple:
    """Error and wrist-aligned error of a hand (None where undefined)."""
    hand = points[_HANDS[side]]
    return metrics.hand_error(hand, labelled), metrics.hand_error(hand, labelled, wrist_aligned=True)


def _points_px(image: Image, boxes: Float[Array, "p 4"], predictor: Predictor, **how: Any) -> Float[Array, "p 144 2"]:
    """The 144 keypoints of the predicted people in the picture; ``how``: options of the predictor."""
    people = predictor(image.pixels, boxes=boxes, focal_px=image.focal_px, **how)
    return project_perspective(predictor.keypoints(people), people.focal_px, people.principal_px)
