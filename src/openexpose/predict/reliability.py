"""Which samples of a track are believed: by the confidence in what was seen, and by their neighbours in time."""

import numpy as np
from jaxtyping import Bool, Float, Int

from openexpose.body.keypoints import INDEX, indices
from openexpose.people import People
from openexpose.predict.columns import COLUMNS, EXPRESSION, Columns
from openexpose.predict.cutoffs import LONGEST_GAP_S

Array = np.ndarray

SURE = 0.5
"""From this confidence on a sample counts fully; below, its weight falls with the square."""
UNSEEN = 0.1
"""Below this confidence a sample is rejected."""
_LEAST_WEIGHT = 1e-3
_RATIO = 3.0
_TYPICAL = 4.0
_FLOORS = np.repeat([0.15, 0.03, 0.05, 0.5], [55, 1, 1, 1])
"""No sample nearer to its neighbours is an outlier: radians, shares of the depth (twice), expression coefficients."""

_BIWEIGHT = 4.7
_LIMITS = np.repeat([0.3, 0.03, 0.07, 2.0], [55, 1, 1, 1])
"""Nothing nearer to the smooth curve loses all its weight; units as before."""

_SIDED = {"hip": "knee", "knee": "ankle", "ankle": "foot", "foot": "foot"} | {
    "collar": "shoulder",
    "shoulder": "elbow",
    "elbow": "wrist",
}
_LIMBS = indices(*(f"{side}_{joint}" for side in ("left", "right") for joint in _SIDED))
_ENDS = indices(*(f"{side}_{joint}" for side in ("left", "right") for joint in _SIDED.values()))
_HEAD = np.r_[INDEX["neck"], INDEX["head"], 22:25, EXPRESSION]
_LEFT_HAND = np.r_[INDEX["left_wrist"], 25:40]
_RIGHT_HAND = np.r_[INDEX["right_wrist"], 40:55]


def confidence(people: People) -> Float[Array, "n 58"]:
    """Confidence 0..1 in each column.

    A limb's rotation is as sure as the joint at its end; wrist and fingers as the hand; neck, head, jaw, eyes and
    expression as the face; the rest as the body; nothing is surer than the person's score. Of a lone part everything
    is as sure as that part.
    """
    parts = people.part_confidence.astype(float)
    if people.part != "whole":
        return np.minimum(np.repeat(parts.max(1)[:, None], COLUMNS, 1), people.score[:, None])
    told = np.repeat(parts[:, :1], COLUMNS, 1)
    told[:, _LIMBS] = people.joint_confidence[:, _ENDS]
    for columns, part in ((_LEFT_HAND, 1), (_RIGHT_HAND, 2), (_HEAD, 3)):
        told[:, columns] = parts[:, [part]]
    return np.minimum(told, people.score[:, None])


def weights_of(confidences: Float[Array, "n c"]) -> Float[Array, "n c"]:
    """Weights of samples by their confidence: 1 where it is at least ``SURE``."""
    return np.maximum(np.clip(confidences / SURE, 0.0, 1.0) ** 2, _LEAST_WEIGHT)


def outliers(columns: Columns) -> Bool[Array, "n 58"]:
    """Samples that lie apart from their neighbours while most of those agree with each other.

    Looked at are the four nearest rows. Up to two bad ones in a row are found; a motion that takes its time is none,
    as it spreads the neighbours, too. Fewer than five rows have no outliers.
    """
    count = len(columns)
    if count < 5:
        return np.zeros((count, COLUMNS), bool)
    window = np.clip(np.arange(count) - 2, 0, count - 5)[:, None] + np.arange(5)
    others: Int[Array, "n 4"] = window[window != np.arange(count)[:, None]].reshape(count, 4)
    apart = np.sort([columns.distances_from(columns[other]) for other in others.T], 0)[1]
    pairs = [columns[others[:, a]].distances_from(columns[others[:, b]]) for a in range(4) for b in range(a)]
    agreed = np.sort(pairs, 0)[2]
    usual = np.maximum(_TYPICAL * np.median(apart, 0), _FLOORS)
    return apart > np.maximum(_RATIO * agreed, usual)


def agreement(columns: Columns, smooth: Columns) -> Float[Array, "n 58"]:
    """Factors on weights by the distance from a smooth curve: Tukey's biweight, 1 at none, least beyond the limit.

    The limit is 4.7 times the usual distance of the column, and no less than what a quick motion may differ.
    """
    distance = columns.distances_from(smooth)
    limit = np.maximum(_BIWEIGHT * 1.4826 * np.median(distance, 0), _LIMITS)
    return np.maximum(np.clip(1.0 - (distance / limit) ** 2, 0.0, 1.0) ** 2, _LEAST_WEIGHT)


def bridged(times_s: Float[Array, "n"], kept: Bool[Array, "n"], missing: Bool[Array, "n"]) -> Bool[Array, "n"]:
    """Which samples are to be replaced by what lies between kept ones.

    Those that are not kept and have kept ones on both sides, at most ``LONGEST_GAP_S`` apart; the others are better
    than nothing. Missing ones always.
    """
    good = np.flatnonzero(kept)
    if not len(good):
        return missing
    after = np.searchsorted(good, np.arange(len(kept)))
    inside = (after > 0) & (after < len(good))
    span = times_s[good[np.minimum(after, len(good) - 1)]] - times_s[good[np.maximum(after - 1, 0)]]
    return missing | (~kept & inside & (span <= LONGEST_GAP_S + 1e-9))


def repair(
    values: Float[Array, "n c"],
    times_s: Float[Array, "n"],
    kept: Bool[Array, "n"],
    replaced: Bool[Array, "n"],
    turns: bool,
) -> Float[Array, "n c"]:
    """Put samples on the straight line between their neighbours that stay.

    Args:
        values: the samples of a column.
        times_s: when.
        kept: which are believed.
        replaced: which are put anew; not all.
        turns: the values are quaternions. Each believed one gets the sign nearer to the believed one before, the
            others that of their last believed one, so that wild samples wind nothing up; and length 1.
    """
    if turns:
        good = np.flatnonzero(kept) if kept.any() else np.arange(len(kept))
        chain = values[good]
        sign = np.where((chain[1:] * chain[:-1]).sum(-1) < 0.0, -1.0, 1.0)
        chain = chain * np.cumprod(np.r_[1.0, sign])[:, None]
        last = chain[np.maximum(np.searchsorted(good, np.arange(len(kept)), side="right") - 1, 0)]
        values = np.where((values * last).sum(-1, keepdims=True) < 0.0, -values, values)
    stay = np.flatnonzero(~replaced)
    result = np.stack([np.interp(times_s, times_s[stay], column) for column in values[stay].T], -1)
    return result / np.linalg.norm(result, axis=-1, keepdims=True) if turns else result


def shape_weights(people: People) -> Float[Array, "n"]:
    """Weights of shapes: by what is seen of the body (of a lone part: of it) and by the person's score."""
    seen = people.joint_confidence[:, :22].mean(1) if people.part == "whole" else people.part_confidence.max(1)
    return weights_of(np.minimum(seen, people.score))


def lasting_betas(people: People) -> Float[Array, "b"]:
    """The one shape of a track: the geometric median of its shapes, weighted by how well they were seen.

    Half of the rows may be wrong by any amount.
    """
    betas = people.betas.astype(float)
    sure = shape_weights(people)[:, None]
    middle = (sure * betas).sum(0) / sure.sum()
    for _ in range(100):
        weight = sure / np.maximum(np.linalg.norm(betas - middle, axis=1, keepdims=True), 1e-6)
        moved = (weight * betas).sum(0) / weight.sum()
        if np.abs(moved - middle).max() < 1e-7:
            break
        middle = moved
    return moved
