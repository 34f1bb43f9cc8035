"""Errors of predicted 2D keypoints against labelled ones, and bootstrap intervals: pure functions of arrays.

Labelled keypoints are rows (x, y, v) in pixels; v > 0 where the point is labelled.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from openexpose.errors import InputError

Array = np.ndarray

LIMBS = np.arange(5, 17)
"""Of COCO's 17 points the twelve from shoulders to ankles."""
LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_HIP, RIGHT_HIP = 5, 6, 11, 12
PCK_FRACTION = 0.2
INNER_FACE = np.arange(17, 68)
"""Of the 68 iBUG landmarks the 51 inside the contour."""
OUTER_EYE_CORNERS = (36, 45)
HAND_WRIST = 0
_RESAMPLES = 2000


def torso_px(points: Float[Array, "17 2"]) -> float:
    """Mean of the two diagonals between shoulders and hips of COCO-17 points, pixels."""
    down_right = np.linalg.norm(points[LEFT_SHOULDER] - points[RIGHT_HIP])
    down_left = np.linalg.norm(points[RIGHT_SHOULDER] - points[LEFT_HIP])
    return float(down_right + down_left) / 2.0


def pck_hits(predicted: Float[Array, "17 2"], labelled: Float[Array, "17 3"]) -> Bool[Array, "n"]:
    """Which labelled limb joints are nearer to the truth than a fifth of the torso (see :func:`torso_px`).

    Returns:
        One entry a labelled limb joint; none where a shoulder or hip is unlabelled, because the torso is unknown then.
    """
    seen = labelled[:, 2] > 0
    if not seen[[LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_HIP, RIGHT_HIP]].all():
        return np.zeros(0, bool)
    limbs = LIMBS[seen[LIMBS]]
    return np.linalg.norm(predicted - labelled[:, :2], axis=-1)[limbs] < PCK_FRACTION * torso_px(labelled[:, :2])


def limb_errors(
    predicted: Float[Array, "17 2"], labelled: Float[Array, "17 3"], box_xyxy_px: Float[Array, "4"]
) -> Float[Array, "n"]:
    """Distances of the labelled limb joints from the truth, over the diagonal of the person's box."""
    limbs = LIMBS[labelled[LIMBS, 2] > 0]
    diagonal = np.hypot(box_xyxy_px[2] - box_xyxy_px[0], box_xyxy_px[3] - box_xyxy_px[1])
    return np.linalg.norm(predicted - labelled[:, :2], axis=-1)[limbs] / diagonal


def face_error(predicted: Float[Array, "68 2"], labelled: Float[Array, "68 3"]) -> float | None:
    """Mean distance of the labelled inner 51 landmarks over the distance of the outer eye corners (300-W's NME).

    None where an eye corner is unlabelled or both lie at one place.
    """
    seen = labelled[:, 2] > 0
    corners = labelled[list(OUTER_EYE_CORNERS), :2]
    between = float(np.linalg.norm(corners[0] - corners[1]))
    if not seen[list(OUTER_EYE_CORNERS)].all() or between == 0.0:
        return None
    inner = INNER_FACE[seen[INNER_FACE]]
    return float(np.linalg.norm(predicted - labelled[:, :2], axis=-1)[inner].mean()) / between


def hand_size_px(labelled: Float[Array, "21 3"]) -> float:
    """Longer side of the tight box around the labelled points, pixels; 0 without two of them."""
    points = labelled[labelled[:, 2] > 0, :2]
    return float(np.ptp(points, axis=0).max()) if len(points) else 0.0


def hand_error(
    predicted: Float[Array, "21 2"], labelled: Float[Array, "21 3"], *, wrist_aligned: bool = False
) -> float | None:
    """Mean distance of the labelled hand points over :func:`hand_size_px`.

    Args:
        wrist_aligned: move the predicted hand so that its wrist lies on the labelled wrist first, and leave the wrist
            out of the mean.

    Returns:
        None where that is undefined: no labelled extent, or (aligned) no labelled wrist.
    """
    seen = labelled[:, 2] > 0
    size = hand_size_px(labelled)
    if size == 0.0 or (wrist_aligned and not seen[HAND_WRIST]):
        return None
    offset = predicted - labelled[:, :2]
    if wrist_aligned:
        offset = offset - offset[HAND_WRIST]
        seen = seen & (np.arange(21) != HAND_WRIST)
    return float(np.linalg.norm(offset[seen], axis=-1).mean()) / size


@dataclass(frozen=True)
class Summary:
    """A mean over people with its uncertainty."""

    people: int
    """How many people (or hands, or faces) have a value."""
    mean: float
    """Mean over all values, every value weighing the same."""
    median: float
    low: float
    """Lower end of the 95 % bootstrap interval of the mean."""
    high: float


def summarise(values: list[Array], seed: int = 0) -> Summary | None:
    """Mean, median and a 95 % interval of the mean, by resampling people with replacement.

    Args:
        values: one array a person, e.g. the errors of its joints; people with an empty array do not count.
        seed: of the resampling.

    Returns:
        None without any value.
    """
    values = [np.asarray(array, float).reshape(-1) for array in values if np.size(array)]
    if not values:
        return None
    pooled = np.concatenate(values)
    sums, counts = np.array([array.sum() for array in values]), np.array([len(array) for array in values])
    rng = np.random.default_rng(seed)
    chosen = rng.integers(len(values), size=(_RESAMPLES, len(values)))
    means = sums[chosen].sum(1) / counts[chosen].sum(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return Summary(len(values), float(pooled.mean()), float(np.median(pooled)), float(low), float(high))


def paired_difference(first: list[Array], second: list[Array], seed: int = 0) -> Summary | None:
    """:func:`summarise` of ``first - second``, where entry i of both lists is about the same person and values.

    Raises:
        InputError: the lists do not pair up.
    """
    if [np.shape(a) for a in first] != [np.shape(b) for b in second]:
        raise InputError("values that do not pair up", "the same people and values in both lists")
    return summarise([np.asarray(a, float) - np.asarray(b, float) for a, b in zip(first, second, strict=True)], seed)
