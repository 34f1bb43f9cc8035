"""The losses of the paper's recipe (eq. 6-12), in the forms and with the weights of its released training."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from openexpose.body.keypoints import INDEX, PARTS
from openexpose.errors import InputError
from openexpose.losses.crops import crop_to_crop
from openexpose.losses.target import PartTarget
from openexpose.losses.terms import (
    Count,
    Term,
    geodesic,
    l1_2d,
    l1_3d_hip_centred,
    l1_3d_root,
    l2,
    rotation_l2,
    threshold_prior,
)
from openexpose.nets.decode import Decoded
from openexpose.predict.parts import PartSpec

MIN_BOX_OVERLAP = 0.4
"""A part's crop takes part in training where its box overlaps the true one at least so much."""


@dataclass(frozen=True)
class PaperWeights:
    """Weights and forms of the terms; a term of weight 0 is left out. Defaults: a picture of a body."""

    projected_body: float = 1.0
    """2D keypoints, L1 in crop coordinates."""
    projected_hands: float = 1.0
    projected_face: float = 1.0
    points3d_body: float = 1.0
    """3D keypoints, L1 in metres: from the middle of the hips in a body, from the root joint in a hand or face."""
    points3d_hands: float = 0.0
    points3d_face: float = 0.0
    global_orient: float = 1.0
    """Slot 0: orientation of the body, hand or head."""
    body_pose: float = 1.0
    left_hand: float = 1.0
    right_hand: float = 1.0
    jaw: float = 1.0
    expression: float = 1.0
    betas: float = 0.001
    betas_prior: float = 1.0
    betas_limit: float = 3.0
    """The prior charges coefficients beyond this."""
    crop_hands: float = 1.0
    """2D keypoints, L1 in the coordinates of the part's crop."""
    crop_head: float = 1.0
    rotation: Literal["geodesic", "l2"] = "geodesic"
    """Rotations by angle (released training) or by squared Frobenius distance (text of the paper)."""
    trust_keypoints: bool = True
    """Fingers, jaw and expression are weighted with the mean confidence of the hand's or face's 2D keypoints."""


PAPER_WEIGHTS: dict[str, PaperWeights] = {
    "body": PaperWeights(),
    "hand": PaperWeights(points3d_hands=1.0, betas=1.0),
    "face": PaperWeights(betas=1.0),
}
"""The released weights for pictures of whole bodies, hands alone and faces alone."""

ROTATIONS: dict[str, tuple[tuple[int, ...], Count, str | None]] = {
    "global_orient": ((0,), "batch", None),
    "body_pose": (tuple(range(1, 22)), "batch", None),
    "left_hand": (tuple(range(25, 40)), "pairs", "left_hand"),
    "right_hand": (tuple(range(40, 55)), "pairs", "right_hand"),
    "jaw": ((22,), "pairs", "face"),
}
"""Rotation terms: slots of the pose, what divides the sum, and whose keypoints' confidence weighs them."""
_WRISTS = (INDEX["left_wrist"], INDEX["right_wrist"])


def keypoint_groups(spec: PartSpec) -> dict[str, list[int]]:
    """Columns of a part's keypoints that are its ``body``, ``left_hand``, ``right_hand`` and ``face``.

    In a body the groups are disjoint: the wrists are the body's. A hand or face network has one group of all its
    keypoints.
    """
    if spec.name != "body":
        return {{"hand": "right_hand"}.get(spec.name, spec.name): list(range(len(spec.keypoints)))}
    groups = {name: set(PARTS[name].tolist()) for name in ("body", "left_hand", "right_hand", "face")}
    for side in ("left_hand", "right_hand"):
        groups[side] -= set(_WRISTS)
    return {name: [c for c, k in enumerate(spec.keypoints) if k in chosen] for name, chosen in groups.items()}


def paper_terms(
    answer: Decoded,
    points: Float[Tensor, "n k 3"],
    projected: Float[Tensor, "n k 2"],
    target: PartTarget,
    spec: PartSpec,
    weights: PaperWeights,
) -> dict[str, Term]:
    """All terms of one network's last stage, weighted; the sum of their values is its loss (paper, eq. 6-12).

    Which terms there are depends on the part and the weights only, never on the samples. Coefficients are compared as
    far as answer and target both have them (:func:`openexpose.losses.terms.l2`).

    Args:
        answer: decoded parameters.
        points: the part's keypoints of the posed body layer, metres; any origin.
        projected: the same in crop coordinates.
        target: truth; ``visible`` is the confidence of the 2D keypoints.
        spec: the part.
        weights: usually ``PAPER_WEIGHTS[spec.name]``.

    Raises:
        InputError: points or targets that are not the part's keypoints.
    """
    shapes = {tuple(value.shape[:2]) for value in (points, projected, target.points, target.projected, target.visible)}
    expected = (len(answer.betas), len(spec.keypoints))
    if shapes != {expected}:
        raise InputError(f"keypoints of shapes {sorted(shapes)}", f"{expected}: the keypoints of the {spec.name} part")
    terms = _projected_terms(projected, target, spec, weights) | _points_terms(points, target, spec, weights)
    terms |= _rotation_terms(answer, target, spec, weights)
    ones = torch.ones_like(answer.betas[:, 0])
    if weights.expression and spec.num_expression:
        known = ones if target.expression_weight is None else target.expression_weight
        trust = _trust(target, spec, "face", weights)
        terms["expression"] = l2(answer.expression, target.expression, known * trust).scaled(weights.expression)
    if weights.betas:
        known = ones if target.betas_weight is None else target.betas_weight
        terms["betas"] = l2(answer.betas, target.betas, known).scaled(weights.betas)
    if weights.betas_prior:
        terms["betas_prior"] = threshold_prior(answer.betas, weights.betas_limit).scaled(weights.betas_prior)
    return terms


def part_crop_terms(
    projected: Float[Tensor, "n k 2"],
    target: PartTarget,
    T_image_body: Float[Tensor, "n 2 3"],
    T_image_part: Mapping[str, Float[Tensor, "n 2 3"]],
    use: Mapping[str, Bool[Tensor, "n"]],
    weights: PaperWeights,
) -> dict[str, Term]:
    """2D keypoints of hands and head in the coordinates of their own crops, where errors weigh by the part's size.

    Both sides are taken from the body's crop to the part's (the paper's T_h T_b^-1). Gradients flow to the crops as
    well; a crop that grows shrinks this loss, so hand over detached ``T_image_part`` unless that is wanted.

    Args:
        projected: the whole body's 144 keypoints in coordinates of the body crop.
        target: truth of the body, in the same coordinates.
        T_image_body: body crop to picture.
        T_image_part: part crop to picture, by ``left_hand``, ``right_hand``, ``head``; parts left out have no term.
        use: for each of those parts, the samples whose crop is good enough (``MIN_BOX_OVERLAP``). The others add
            nothing to the sum, which is divided by the whole batch.

    Raises:
        InputError: not 144 keypoints, an unknown part, or no ``use`` of a part.
    """
    shapes = sorted({value.shape[1] for value in (projected, target.projected, target.visible)})
    if shapes != [len(INDEX)]:
        raise InputError(f"{shapes} keypoints", f"the body's {len(INDEX)}")
    factors = {"left_hand": weights.crop_hands, "right_hand": weights.crop_hands, "head": weights.crop_head}
    unknown = (set(T_image_part) - set(factors)) | (set(T_image_part) - set(use))
    if unknown:
        raise InputError(f"crops of {sorted(unknown)}", f"crops of {sorted(factors)}, each with its 'use'")
    terms = {}
    for part, T in T_image_part.items():
        if factors[part]:
            chosen = PARTS[part].tolist()
            sides = [crop_to_crop(side[:, chosen], T_image_body, T) for side in (projected, target.projected)]
            seen = target.visible[:, chosen] * use[part][:, None]
            terms[f"crop_{part}"] = l1_2d(sides[0], sides[1], seen).scaled(factors[part])
    return terms


def _by_weight(spec: PartSpec) -> dict[str, list[int]]:
    """Columns of keypoints as the weights name them: ``body``, ``hands``, ``face``; groups without points left out."""
    columns: dict[str, list[int]] = {}
    for name, chosen in keypoint_groups(spec).items():
        columns.setdefault("hands" if name.endswith("_hand") else name, []).extend(chosen)
    return {name: chosen for name, chosen in columns.items() if chosen}


def _projected_terms(projected: Tensor, target: PartTarget, spec: PartSpec, weights: PaperWeights) -> dict[str, Term]:
    factors = {"body": weights.projected_body, "hands": weights.projected_hands, "face": weights.projected_face}
    return {
        f"projected_{name}": l1_2d(projected[:, chosen], target.projected[:, chosen], target.visible[:, chosen]).scaled(
            factors[name]
        )
        for name, chosen in _by_weight(spec).items()
        if factors[name]
    }


def _points_terms(points: Tensor, target: PartTarget, spec: PartSpec, weights: PaperWeights) -> dict[str, Term]:
    factors = {"body": weights.points3d_body, "hands": weights.points3d_hands, "face": weights.points3d_face}
    known = torch.ones_like(points[..., 0]) if target.points_weight is None else target.points_weight
    where = {k: c for c, k in enumerate(spec.keypoints)}
    terms = {}
    for name, chosen in _by_weight(spec).items():
        if not factors[name]:
            continue
        if spec.name == "body":
            hips = where[INDEX["left_hip"]], where[INDEX["right_hip"]]
            term = l1_3d_hip_centred(points, target.points, known, *hips, chosen)
        elif spec.root_joint in where:
            term = l1_3d_root(points, target.points, known, where[spec.root_joint], chosen)
        else:
            raise InputError(f"3D keypoints of the {spec.name} part", "a part whose keypoints hold its root joint")
        terms[f"points3d_{name}"] = term.scaled(factors[name])
    return terms


def _rotation_terms(answer: Decoded, target: PartTarget, spec: PartSpec, weights: PaperWeights) -> dict[str, Term]:
    distance = geodesic if weights.rotation == "geodesic" else rotation_l2
    known = torch.ones_like(answer.pose[..., 0, 0]) if target.pose_weight is None else target.pose_weight
    terms = {}
    for name, (slots, count, group) in ROTATIONS.items():
        factor, chosen = getattr(weights, name), [slot for slot in slots if slot in spec.pose_slots]
        if factor and chosen:
            weight = known[:, chosen]
            if group is not None:
                weight = weight * _trust(target, spec, group, weights)[:, None]
            terms[name] = distance(answer.pose[:, chosen], target.pose[:, chosen], weight, count).scaled(factor)
    return terms


def _trust(target: PartTarget, spec: PartSpec, group: str, weights: PaperWeights) -> Float[Tensor, "n"]:
    """Mean confidence of a group's 2D keypoints; ones if keypoints are not asked."""
    if not weights.trust_keypoints:
        return torch.ones_like(target.projected[:, 0, 0])
    chosen = keypoint_groups(spec)[group]
    return target.visible[:, chosen].to(target.projected.dtype).mean(1)
