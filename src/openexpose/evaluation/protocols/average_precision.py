"""Average precision and recall of keypoints, as COCO defines them: answers ranked by score, matched by similarity.

Numbers agree with COCO's evaluator (areas of all sizes, at most 20 answers a picture).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from openexpose.errors import InputError

Array = np.ndarray

THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""Similarities from which an answer is a hit: AP is the mean over these, AP50 and AP75 are at one of them."""
MAX_ANSWERS = 20
"""Of a picture's answers so many count, the best by score."""
_RECALLS = np.linspace(0.0, 1.0, 101)
_NEAR_ONE = 1.0 - 1e-10


@dataclass(frozen=True, eq=False)
class People:
    """The labelled people of one picture.

    Raises:
        InputError: arrays that do not pair up, or a person without area.
    """

    points_px: Float[Array, "g n 3"]
    """x, y, v; v > 0 where labelled."""
    areas_px: Float[Array, "g"]
    """Area of every person's segment, square pixels."""
    boxes_xyxy_px: Float[Array, "g 4"]
    crowd: Bool[Array, "g"]
    """A crowd takes any number of answers, and none of them counts."""

    def __post_init__(self) -> None:
        count = len(self.points_px)
        if self.areas_px.shape != (count,) or self.boxes_xyxy_px.shape != (count, 4) or self.crowd.shape != (count,):
            raise InputError("points, areas, boxes and crowds that differ in number", "one each a person")

    @property
    def ignored(self) -> Bool[Array, "g"]:
        """People that need not be found: crowds, and those without a labelled point."""
        return self.crowd | ~(self.points_px[:, :, 2] > 0).any(1)


@dataclass(frozen=True, eq=False)
class Ranked:
    """The answers about all pictures by falling score, and whether they hit."""

    hits: Bool[Array, "t d"]
    """By threshold: the answer found a person."""
    counted: Bool[Array, "t d"]
    """By threshold: the answer is a hit or a false alarm; False where it lies on someone who is ignored."""
    picture: Int[Array, "d"]
    people: Int[Array, "p"]
    """Of every picture how many people are to be found."""


def similarities(answers_px: Float[Array, "d n 2"], people: People, sigmas: Float[Array, "n"]) -> Float[Array, "d g"]:
    """COCO's object keypoint similarity of every answer with every person, 0 to 1.

    The mean over labelled points of exp(-distance^2 / (2 area (2 sigma)^2)). With people who have no labelled point,
    the distance is that from the box, grown by its own size to all sides. Points that are NaN are infinitely far away.
    """
    points, labels = np.asarray(answers_px, float)[:, None], people.points_px[None]
    offset = points - labels[..., :2]
    corner, end = people.boxes_xyxy_px[:, :2], people.boxes_xyxy_px[:, 2:]
    low, high = (2.0 * corner - end)[None, :, None], (2.0 * end - corner)[None, :, None]
    outside = np.maximum(0.0, low - points) + np.maximum(0.0, points - high)
    seen = labels[..., 2] > 0
    unlabelled = np.asarray(~seen.any(-1, keepdims=True))
    squares = (np.where(unlabelled[..., None], outside, offset) ** 2).sum(-1)
    area = (people.areas_px + np.spacing(1.0))[None, :, None]
    closeness = np.nan_to_num(np.exp(-squares / (2.0 * sigmas) ** 2 / area / 2.0), nan=0.0)
    used = seen | unlabelled
    return np.where(used, closeness, 0.0).sum(-1) / used.sum(-1)


def rank(pictures: Sequence[tuple[Float[Array, "d n 2"], Float[Array, "d"], People]], sigmas: Array) -> Ranked:
    """Match the answers about each picture to its people and sort them by score.

    An answer takes the most similar person that is still free and at least as similar as the threshold; better scores
    choose first; people who are ignored are taken only if nobody else fits.

    Args:
        pictures: points, scores and people of each.
        sigmas: deviation of every point's annotations over the square root of the area.
    """
    hits, counted, scores, picture, people_counts = [], [], [], [], []
    for number, (points, score, people) in enumerate(pictures):
        order = np.argsort(-score, kind="stable")[:MAX_ANSWERS]
        found = similarities(points[order], people, sigmas) if len(order) and len(people.crowd) else None
        matched = [_match(found, people, threshold, len(order)) for threshold in THRESHOLDS]
        hits.append(np.array([hit for hit, _ in matched]))
        counted.append(np.array([count for _, count in matched]))
        scores.append(score[order])
        picture.append(np.full(len(order), number))
        people_counts.append(int((~people.ignored).sum()))
    if not pictures:
        empty = np.zeros((len(THRESHOLDS), 0), bool)
        return Ranked(empty, empty, np.zeros(0, int), np.zeros(0, int))
    order = np.argsort(-np.concatenate(scores), kind="stable")
    return Ranked(
        np.concatenate(hits, 1)[:, order],
        np.concatenate(counted, 1)[:, order],
        np.concatenate(picture)[order],
        np.array(people_counts),
    )


def _match(found: Array | None, people: People, threshold: float, answers: int) -> tuple[Array, Array]:
    """Hits and counted answers (by falling score) of one picture."""
    hits, counted = np.zeros(answers, bool), np.ones(answers, bool)
    if found is None:
        return hits, counted
    ignored, free = people.ignored, np.ones(len(people.crowd), bool)
    for answer, row in enumerate(found):
        fits = (free | people.crowd) & (row >= min(threshold, _NEAR_ONE))
        candidates = np.flatnonzero(fits & ~ignored)
        if not len(candidates):
            candidates = np.flatnonzero(fits)
        if len(candidates):
            best = candidates[len(candidates) - 1 - np.argmax(row[candidates][::-1])]  # of equals the last
            free[best] = False
            hits[answer], counted[answer] = not ignored[best], not ignored[best]
    return hits, counted


def average_precision(
    ranked: Ranked, thresholds: Sequence[int] = range(len(THRESHOLDS)), drawn: Int[Array, "k"] | None = None
) -> float:
    """Mean over thresholds and 101 recalls of the best precision at this recall or a higher one; 0 to 1.

    Args:
        thresholds: indices into :data:`THRESHOLDS`.
        drawn: pictures to take, an index may occur several times (bootstrap); None: each once.

    Returns:
        NaN where nobody is to be found.
    """
    weights, people = _weights(ranked, drawn)
    if not people:
        return float("nan")
    precisions = []
    for row in thresholds:
        true = np.cumsum(weights * ranked.hits[row])
        false = np.cumsum(weights * (ranked.counted[row] & ~ranked.hits[row]))
        precision = true / (true + false + np.spacing(1.0))
        best_later = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
        precisions.append(best_later[np.searchsorted(true / people, _RECALLS, side="left")].mean())
    return float(np.mean(precisions))


def average_recall(
    ranked: Ranked, thresholds: Sequence[int] = range(len(THRESHOLDS)), drawn: Int[Array, "k"] | None = None
) -> float:
    """Mean over thresholds of the share of people who were found; arguments and NaN as :func:`average_precision`."""
    weights, people = _weights(ranked, drawn)
    return float((ranked.hits[list(thresholds)] @ weights / people).mean()) if people else float("nan")


def _weights(ranked: Ranked, drawn: Array | None) -> tuple[Float[Array, "d"], float]:
    """How often every answer counts, and how many people are to be found."""
    if drawn is None:
        return np.ones(len(ranked.picture)), float(ranked.people.sum())
    times = np.bincount(drawn, minlength=len(ranked.people))
    return times[ranked.picture].astype(float), float(times @ ranked.people)
