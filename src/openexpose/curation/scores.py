"""How good a fit looks without knowing the truth: what reviewers see first, and which fits they see last."""

import numpy as np
from jaxtyping import Float

from openexpose.body.keypoints import INDEX, LEFT_HAND21, RIGHT_HAND21
from openexpose.body.mesh import keypoints
from openexpose.body.model import BodyModel
from openexpose.curation.record import FitRecord
from openexpose.fitting.capsules import capsules_of, overlaps
from openexpose.fitting.observed import FEWEST_BODY, FEWEST_FINE, OWN_KEYPOINTS
from openexpose.fitting.penalties import Priors
from openexpose.fitting.result import start_of
from openexpose.fitting.state import State
from openexpose.geometry.boxes import box_around
from openexpose.geometry.camera import project_perspective
from openexpose.geometry.procrustes import align_similarity

Array = np.ndarray

_LOOSE = [INDEX[name] for name in ("neck", "left_hip", "right_hip")]  # detectors have them elsewhere
_SCALE = 0.091
_STARTS_POWER, _ANSWER_POWER, _REPROJECTION_POWER, _UNSEEN_RATE = 0.2, 0.35, 0.1, 0.8
_FLOOR_MM, _FLOOR_SHARE = 5.0, 0.002
"""Of :func:`badness`: regression of the logarithm of the true error, rounded (bench/curate.py)."""
_JOINTS = {"body": np.arange(22), "left_hand": LEFT_HAND21, "right_hand": RIGHT_HAND21}


def scores(model: BodyModel, priors: Priors, record: FitRecord) -> dict[str, float]:
    """The scores of a fit; those of what was not seen are left out.

    - ``<part>_reprojection`` of ``body``, ``left_hand``, ``right_hand`` and ``face``: mean distance between seen
      keypoints (weighted by their confidences; without neck and hips) and the fit's, as a share of the person's size,
      the longer side of what was seen.
    - ``<part>_seen``: mean confidence of the part's keypoints, 0..1.
    - ``prior``: negative log density of the body's pose, over that of the prior's likeliest one.
    - ``penetration_mm``: by how much the pair of capsules overlaps that overlaps most.
    - ``starts_apart_mm`` and ``hands_apart_mm``: PA-MPJPE of the 22 joints, and of the seen hands' 21 each, between the
      fits from the networks' answer and from the mean pose.
    - ``answer_apart_mm``: PA-MPJPE of the 22 joints between the fit and the networks' answer.

    Args:
        model: the body model of the fit.
        priors: its poses'.
        record: the fit.
    """
    people, seen = record.people, record.keypoints_px
    fitted = start_of(people)
    points = _points(model, fitted)
    box = box_around(seen[seen[:, 2] > 0, :2])
    projected = project_perspective(points + people.transl[0], people.focal_px, people.principal_px)
    missed = np.linalg.norm(projected - seen[:, :2], axis=-1)
    found: dict[str, float] = {}
    for part, own in OWN_KEYPOINTS.items():
        found[f"{part}_seen"] = float(seen[own, 2].mean())
        weight = seen[:, 2] * np.isin(np.arange(len(seen)), np.setdiff1d(own, _LOOSE))
        if np.count_nonzero(weight) >= (FEWEST_BODY if part == "body" else FEWEST_FINE):
            share = weight @ missed / weight.sum() / max(float((box[2:] - box[:2]).max()), 1.0)
            found[f"{part}_reprojection"] = float(share)
    found["prior"] = float(priors.poses.detailed.energy(fitted.pose[:, 1:22])[0])
    deep = overlaps(capsules_of(model), points[None, :55]).depth[0]
    found["penetration_mm"] = float(max(1000.0 * deep.max(), 0.0))
    if record.from_answer is not None and record.from_mean is not None:
        pair = [_points(model, state) for state in (record.from_answer, record.from_mean)]
        found["starts_apart_mm"] = _apart_mm(pair[0], pair[1], "body")
        hands = [
            _apart_mm(pair[0], pair[1], hand) for hand in ("left_hand", "right_hand") if f"{hand}_reprojection" in found
        ]
        if hands:
            found["hands_apart_mm"] = float(np.mean(hands))
    if record.answer is not None:
        found["answer_apart_mm"] = _apart_mm(points, _points(model, record.answer), "body")
    return {name: round(value, 5) for name, value in found.items()}


def badness(found: dict[str, float]) -> float:
    """One number to sort fits by: their expected PA-MPJPE in units of 100 mm.

    It is a product of powers of how far apart the two starts' fits lie, and the fit and the networks' answer, and of
    how far the body's keypoints are missed, times an exponential of how little of the body was seen: a regression on
    rendered people, whose errors are known. The pose prior's energy and penetration told nothing more about errors
    there; they are for reviewers to look at.

    Args:
        found: of :func:`scores`; what is missing counts as small.
    """
    starts, answer = (found.get(f"{name}_apart_mm", 0.0) + _FLOOR_MM for name in ("starts", "answer"))
    missed, unseen = found.get("body_reprojection", 0.0) + _FLOOR_SHARE, 1.0 - found["body_seen"]
    product = starts**_STARTS_POWER * answer**_ANSWER_POWER * missed**_REPROJECTION_POWER
    return float(_SCALE * product * np.exp(_UNSEEN_RATE * unseen))


def _points(model: BodyModel, state: State) -> Float[Array, "144 3"]:
    return keypoints(model, state.pose, state.betas, state.expression)[0].astype(float)


def _apart_mm(points: Float[Array, "144 3"], others: Float[Array, "144 3"], part: str) -> float:
    """PA-MPJPE between two sets of keypoints."""
    rows = _JOINTS[part]
    target = others[rows].astype(float)
    return 1000.0 * float(np.linalg.norm(align_similarity(points[rows].astype(float), target) - target, axis=-1).mean())
