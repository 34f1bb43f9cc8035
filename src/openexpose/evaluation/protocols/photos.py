"""The photo protocol: 2D errors of bodies, faces and hands on annotated photos, boxes given.

Whole people run through everything; lone faces and hands through their own network (part-only use, paper, Table 4).
Beside what the mesh shows stands what the trunk networks themselves see in the same crops: landmarks without a body.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from openexpose.body.keypoints import COCO17, IBUG68, KEYPOINT_NAMES, LEFT_HAND21, RIGHT_HAND21
from openexpose.errors import InputError
from openexpose.evaluation import planar
from openexpose.evaluation.protocols.annotations import Annotation, read_annotations
from openexpose.evaluation.protocols.published import PUBLISHED
from openexpose.evaluation.record import Array, Measured, Metric, Prediction, Protocol, Result, Subject, Values
from openexpose.image.read import read_image

if TYPE_CHECKING:
    from openexpose.evaluation.tables import Tables

TRUNK = ", trunk"
"""Ends the names of the metrics of the trunks' own landmarks."""
PCK = "body PCK @ 0.2 torso"
BODY_ERROR = "body error / box diagonal"
INNER = "NME inner 51"
CONTOUR = "NME contour 17"
HAND = "error / hand size"
ALIGNED = "error / hand size, wrist-aligned"
BETTER = "hand alone, better of both sides, error / hand size"
_SIDES = {"left_hand": LEFT_HAND21, "right_hand": RIGHT_HAND21}
_LIMBS = tuple(KEYPOINT_NAMES[k].replace("_", " ") for k in COCO17[planar.LIMBS])
_HANDS = ("left hand", "right hand")
_HAND_HOW = "distance of the labelled hand points over the longer side of the box around them, mean"
_HOW = {
    INNER: "distance of the labelled inner 51 of iBUG's 68 landmarks over that of the outer eye corners, mean",
    CONTOUR: "distance of the 17 contour landmarks, places along an outline, over that of the outer eye corners, mean",
    HAND: _HAND_HOW,
    ALIGNED: f"{_HAND_HOW}, after the predicted wrist was moved onto the labelled one; without the wrist",
}
_OWN = (
    Metric(
        PCK,
        "%",
        "share of the labelled shoulders, elbows, wrists, hips, knees and ankles nearer than 0.2 x the mean of the two "
        "shoulder-hip diagonals; people with all four labelled; people without an answer count as missed",
        more_is_better=True,
        entries=_LIMBS,
    ),
    Metric(
        BODY_ERROR, "%", "distance of the same joints, of all answers, over the diagonal of the box", entries=_LIMBS
    ),
    *(Metric(f"face {name}", "%", f"{_HOW[name]}; faces of whole people") for name in (INNER, CONTOUR)),
    *(Metric(f"hand {name}", "%", f"{_HOW[name]}; hands of whole people", entries=_HANDS) for name in (HAND, ALIGNED)),
    *(Metric(f"face alone, {name}", "%", f"{_HOW[name]}; the face network alone") for name in (INNER, CONTOUR)),
    *(Metric(f"hand alone, {name}", "%", f"{_HOW[name]}; the hand network alone") for name in (HAND, ALIGNED)),
    Metric(
        BETTER,
        "%",
        f"{_HOW[HAND]}; nobody says which hand it is: both sides run and the lower error counts, which flatters",
    ),
)
_SEEN = "of the landmarks that the trunk network itself saw in the same crops"


def _of_trunk(metric: Metric) -> Metric:
    """The same measured on the trunk's landmarks."""
    how = f"'{metric.name}' {_SEEN}"
    if CONTOUR in metric.name:
        how += "; it has points near the contour, not on it"
    if metric.name == PCK:
        how += ", of people with an answer"
    return Metric(metric.name + TRUNK, metric.unit, how, metric.more_is_better)


METRICS = tuple(both for metric in _OWN for both in (metric, _of_trunk(metric)))
_NOTES = (
    "2D errors in percent; the annotated boxes are given.",
    f"Metrics that end in '{TRUNK}' are a reference: the 2D landmarks of the pretrained trunks, without a body.",
    "Only the PCK counts people without an answer; errors are means over those with one.",
    "A hand of unknown side is two subjects, one a side; their lower error is one hand.",
)


def protocol(data: Path, *, tables: "Tables", split: str | None = None) -> Protocol:
    """Annotated photos.

    Args:
        data: folder with ``index.json`` (see :func:`read_annotations`) and its pictures.
        tables: not used.
        split: measure only the entries of this ``dataset``.

    Raises:
        InputError: no usable index, or no entry of that data set.
    """
    annotations = read_annotations(data)
    names = sorted({annotation.dataset for annotation in annotations})
    if split is not None and split not in names:
        raise InputError(f"the split '{split}'", f"one of the data sets of index.json: {', '.join(names)}")
    chosen = [annotation for annotation in annotations if split in (None, annotation.dataset)]
    subjects = [subject for annotation in chosen for subject in _subjects(annotation)]
    return Protocol(
        name="photos",
        title="Annotated photos, 2D",
        metrics=METRICS,
        headline=_headline(subjects),
        notes=_NOTES,
        subjects=subjects,
        measure=measure,
        finish=partial(_finish, {subject.name: subject.group for subject in subjects}),
        published=PUBLISHED.get("photos", ()),
        whole=any(subject.part == "whole" for subject in subjects),
    )


def _headline(subjects: list[Subject]) -> str:
    """The first metric that these subjects have."""
    kinds = {(subject.part == "whole", key) for subject in subjects for key in subject.keypoints_px}
    if (True, "body") in kinds or not kinds:
        return PCK
    if (False, "face") in kinds:
        return f"face alone, {INNER}"
    return BETTER if kinds == {(False, "hand")} else f"hand alone, {HAND}"


def _subjects(annotation: Annotation) -> Iterator[Subject]:
    """A whole person, or lone parts; a hand of unknown side is looked at as both."""
    if "body" in annotation.keypoints:
        yield _subject(annotation, annotation.name, "whole", annotation.keypoints)
        return
    for part, points in annotation.keypoints.items():
        for side in _SIDES if part == "hand" else (part,):
            alone = part != "hand" and len(annotation.keypoints) == 1
            name = annotation.name if alone else f"{annotation.name}#{_ending(part, side)}"
            yield _subject(annotation, name, side.replace("_", "-"), {part: points})


def _ending(part: str, side: str) -> str:
    return f"as-{side.replace('_', '-')}" if part == "hand" else part.replace("_", "-")


def _subject(annotation: Annotation, name: str, part: str, keypoints: Mapping[str, Array]) -> Subject:
    return Subject(
        name=name,
        group=annotation.dataset,
        image=annotation.image,
        box_xyxy_px=annotation.box_xyxy_px,
        part=part,
        keypoints_px=keypoints,
    )


def measure(subject: Subject, prediction: Prediction | None) -> Measured:
    """The 2D errors of a subject, percent.

    A person without a prediction is missed, unless the picture itself cannot be read; faces and hands without one do
    not count.

    Raises:
        InputError: a prediction without 2D keypoints.
    """
    if prediction is None:
        return Measured(_missed(subject) if _readable(subject) else {})
    points = prediction.keypoints_px
    if points is None:
        raise InputError("a prediction without 2D keypoints", "the 144 keypoints in the picture")
    own = {"body": points[COCO17], "face": points[IBUG68]} | {side: points[rows] for side, rows in _SIDES.items()}
    seen = {part: np.asarray(rows)[:, :2] for part, rows in prediction.trunk_px.items()}
    if "hand" in subject.keypoints_px:
        side = subject.part.replace("-", "_")
        if planar.hand_size_px(subject.keypoints_px["hand"]) > 0.0 and not np.isfinite(points[_SIDES[side]]).all():
            raise InputError("an answer without the hand's keypoints", f"the 21 points of the {side.replace('_', ' ')}")
        errors = [_hand(some.get(side), subject.keypoints_px["hand"], aligned=False) for some in (own, seen)]
        return Measured({}, kept=np.array(errors))
    values = _values(subject, own)
    values |= {name + TRUNK: value for name, value in _values(subject, seen).items()}
    return Measured({name: value for name, value in values.items() if np.isfinite(value).any()})


def _missed(subject: Subject) -> Values:
    """What a person without an answer counts as."""
    if subject.part != "whole":
        return {}
    hits = _pck(np.full((17, 2), np.nan), subject.keypoints_px["body"])
    return {PCK: hits} if np.isfinite(hits).any() else {}


def _readable(subject: Subject) -> bool:
    """Whether the subject's picture decodes."""
    try:
        return isinstance(subject.image, Path) and read_image(subject.image).pixels.size > 0
    except InputError:
        return False


def _values(subject: Subject, found: Mapping[str, Float[Array, "n 2"]]) -> Values:
    """All metrics of a subject and predicted points by part; NaN where undefined."""
    true = subject.keypoints_px
    whole = subject.part == "whole"
    separator = " " if whole else " alone, "
    values: Values = {}
    if {"body"} <= true.keys() & found.keys():
        values[PCK] = _pck(found["body"], true["body"])
        if subject.box_xyxy_px is not None:
            errors = planar.limb_errors(found["body"], true["body"], subject.box_xyxy_px)
            if np.isfinite(errors).all():  # never a mean over the easy joints
                values[BODY_ERROR] = _spread(100.0 * errors, true["body"])
    if {"face"} <= true.keys() & found.keys():
        for name, error in ((INNER, planar.face_error), (CONTOUR, planar.contour_error)):
            values[f"face{separator}{name}"] = _percent(error(found["face"], true["face"]))
    sides = [side for side in _SIDES if whole or side in true]
    for name, aligned in ((HAND, False), (ALIGNED, True)):
        if sides:
            errors = np.array([_hand(found.get(side), true.get(side), aligned=aligned) for side in sides])
            values[f"hand{separator}{name}"] = errors
    return values


def _percent(value: float | None) -> Float[Array, "1"]:
    return np.array([np.nan if value is None else 100.0 * value])


def _pck(predicted: Float[Array, "17 2"], labelled: Float[Array, "17 3"]) -> Float[Array, "12"]:
    """100 for every labelled limb joint that is near enough, 0 for the others; NaN where unlabelled."""
    hits = planar.pck_hits(predicted, labelled)
    return _spread(100.0 * hits, labelled) if len(hits) else np.full(len(planar.LIMBS), np.nan)


def _spread(values: Float[Array, "k"], labelled: Float[Array, "17 3"]) -> Float[Array, "12"]:
    """Values of the labelled limb joints at the places of all twelve."""
    all_limbs = np.full(len(planar.LIMBS), np.nan)
    all_limbs[labelled[planar.LIMBS, 2] > 0] = values
    return all_limbs


def _hand(predicted: Array | None, labelled: Array | None, *, aligned: bool) -> float:
    """Error of a hand, percent; NaN where undefined."""
    if predicted is None or labelled is None:
        return np.nan
    error = planar.hand_error(predicted, labelled, wrist_aligned=aligned)
    return np.nan if error is None else 100.0 * error


def _finish(groups: Mapping[str, str], result: Result) -> None:
    """The lower error of both looks at hands of unknown side."""
    for name, left in result.kept.items():
        stem, ending = name.rsplit("#", 1)
        other = result.kept.get(f"{stem}#as-right-hand")
        if ending != "as-left-hand" or other is None:
            continue
        for metric, error in zip((BETTER, BETTER + TRUNK), np.minimum(left, other), strict=True):
            if np.isfinite(error):
                result.values.setdefault((metric, groups[name]), {})[stem] = np.array([error])
