"""Errors of predicted 2D keypoints against labelled ones: pure functions of arrays.

Labelled keypoints are rows (x, y, v) in pixels; v > 0 where the point is labelled. Predicted ones are rows (x, y); NaN
where a system has no such keypoint: a miss for hit rates, and no value for errors.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from openexpose.errors import InputError

Array = np.ndarray

LIMBS = np.arange(5, 17)
"""Of COCO's 17 points the twelve from shoulders to ankles."""
LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_HIP, RIGHT_HIP = 5, 6, 11, 12
PCK_FRACTION = 0.2
CONTOUR = np.arange(17)
"""Of the 68 iBUG landmarks the 17 along the contour."""
INNER_FACE = np.arange(17, 68)
"""Of the 68 iBUG landmarks the 51 inside the contour."""
OUTER_EYE_CORNERS = (36, 45)
HAND_WRIST = 0
COCO_SIGMAS = np.array(
    [0.026, *[0.025] * 2, *[0.035] * 2, *[0.079] * 2, *[0.072] * 2]
    + [*[0.062] * 2, *[0.107] * 2, *[0.087] * 2, *[0.089] * 2]
)
"""COCO's deviations of human annotators for its 17 keypoints, over the square root of the person's area."""


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


def face_errors_68(predicted: Float[Array, "68 2"], labelled: Float[Array, "68 3"]) -> Float[Array, "68"]:
    """Distance of every landmark over the distance of the outer eye corners (300-W's normalisation).

    Returns:
        NaN where a landmark is unlabelled; all NaN where an eye corner is, or both lie at one place.
    """
    between = _eye_corners_px(labelled)
    if between is None:
        return np.full(68, np.nan)
    distances = np.linalg.norm(predicted - labelled[:, :2], axis=-1) / between
    return np.where(labelled[:, 2] > 0, distances, np.nan)


def face_error(predicted: Float[Array, "68 2"], labelled: Float[Array, "68 3"]) -> float | None:
    """Mean distance of the labelled inner 51 landmarks over the distance of the outer eye corners (300-W's NME).

    None where an eye corner is unlabelled or both lie at one place, or without predicted landmarks.
    """
    return _mean_nme(predicted, labelled, INNER_FACE)


def contour_error(predicted: Float[Array, "68 2"], labelled: Float[Array, "68 3"]) -> float | None:
    """:func:`face_error` of the 17 landmarks along the contour; None also where none of them is labelled."""
    return _mean_nme(predicted, labelled, CONTOUR)


def _mean_nme(predicted: Array, labelled: Array, rows: Array) -> float | None:
    labelled_rows = rows[labelled[rows, 2] > 0]
    errors = face_errors_68(predicted, labelled)[labelled_rows]
    return float(errors.mean()) if len(errors) and np.isfinite(errors).all() else None


def _eye_corners_px(labelled: Float[Array, "68 3"]) -> float | None:
    corners = labelled[list(OUTER_EYE_CORNERS)]
    between = float(np.linalg.norm(corners[0, :2] - corners[1, :2]))
    return between if (corners[:, 2] > 0).all() and between > 0.0 else None


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
        None where that is undefined: no labelled extent, (aligned) no labelled wrist, or no predicted points.
    """
    seen = labelled[:, 2] > 0
    size = hand_size_px(labelled)
    if size == 0.0 or (wrist_aligned and not seen[HAND_WRIST]):
        return None
    offset = predicted - labelled[:, :2]
    if wrist_aligned:
        offset = offset - offset[HAND_WRIST]
        seen = seen & (np.arange(21) != HAND_WRIST)
    error = float(np.linalg.norm(offset[seen], axis=-1).mean()) / size
    return error if np.isfinite(error) else None


def oks(
    predicted: Float[Array, "n 2"],
    labelled: Float[Array, "n 3"],
    area_px: float,
    sigmas: Float[Array, "n"] | Sequence[float] = COCO_SIGMAS,
) -> float | None:
    """COCO's object keypoint similarity: the mean over labelled points of exp(-d^2 / (2 s^2 k^2)).

    d is a point's distance in pixels, s^2 the person's area, k = 2 sigma. A predicted point that is NaN counts as 0.

    Args:
        area_px: area of the person's segment in square pixels (COCO's ``area``, not that of the box).
        sigmas: deviation of every point's annotations over the square root of the area.

    Returns:
        Between 0 and 1; None where nothing is labelled (COCO ignores such people).

    Raises:
        InputError: the arrays do not pair up, or no area.
    """
    predicted, labelled, sigmas = np.asarray(predicted, float), np.asarray(labelled, float), np.asarray(sigmas, float)
    if predicted.shape != (len(sigmas), 2) or labelled.shape != (len(sigmas), 3):
        shapes = f"points of shapes {predicted.shape} and {labelled.shape} with {len(sigmas)} sigmas"
        raise InputError(shapes, "[n, 2], [n, 3] and n")
    if not area_px > 0.0:
        raise InputError(f"an area of {area_px}", "a positive number of square pixels")
    seen = labelled[:, 2] > 0
    if not seen.any():
        return None
    squares = ((predicted - labelled[:, :2]) ** 2).sum(-1)
    similarity = np.nan_to_num(np.exp(-squares / (2.0 * area_px * (2.0 * sigmas) ** 2)), nan=0.0)
    return float(similarity[seen].mean())


def failure_rate(errors: Float[Array, "n"] | Sequence[float], limit: float) -> float:
    """Which part of the faces has a normalised mean error above ``limit`` (0.08 or 0.1 in the field); 0 to 1.

    Args:
        errors: one a face, over the same length as ``limit``. Infinity: no answer, a failure. NaN: left out.

    Returns:
        NaN without faces.
    """
    known = _known(errors, limit)
    return float((known > limit).mean()) if len(known) else float("nan")


def area_under_curve(errors: Float[Array, "n"] | Sequence[float], limit: float) -> float:
    """Area under the curve "which part of the faces has at most this error" from 0 to ``limit``; 0 to 1.

    It is divided by ``limit``. Exact: the curve is a staircase, so the area is the mean of max(0, 1 - error / limit).
    Arguments and NaN as for :func:`failure_rate`.
    """
    known = _known(errors, limit)
    return float(np.maximum(0.0, 1.0 - known / limit).mean()) if len(known) else float("nan")


def _known(errors: Array | Sequence[float], limit: float) -> Array:
    if not limit > 0.0:
        raise InputError(f"a limit of {limit}", "a positive error")
    array = np.asarray(errors, float).reshape(-1)
    return array[~np.isnan(array)]
