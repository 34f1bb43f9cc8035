"""The paper's losses of whole networks: every term by its formula, at the truth, masked, and over half batches."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from openexpose.body.keypoints import PARTS
from openexpose.errors import InputError
from openexpose.losses import (
    PAPER_WEIGHTS,
    PaperWeights,
    PartTarget,
    Term,
    keypoint_groups,
    paper_terms,
    part_crop_terms,
)
from openexpose.nets.decode import Decoded, sixd_to_matrix
from openexpose.predict.parts import BODY, FACE, HAND, PartSpec

N = 4
SLOTS = {"global_orient": [0], "body_pose": range(1, 22), "left_hand": range(25, 40), "right_hand": range(40, 55)}
SLOTS |= {"jaw": [22]}
SPECS = {"body": BODY, "hand": HAND, "face": FACE}
TERMS = {
    "body": "projected_body projected_hands projected_face points3d_body global_orient body_pose left_hand right_hand "
    "jaw expression betas betas_prior",
    "hand": "projected_hands points3d_hands global_orient right_hand betas betas_prior",
    "face": "projected_face global_orient jaw expression betas betas_prior",
}
Inputs = tuple[Decoded, Tensor, Tensor, PartTarget]


def case(spec: PartSpec, seed: int = 0) -> Inputs:
    """Random answer and target; in the target some keypoints, points, rotations and coefficients are not known."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    def weight(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64) * (normal(*shape) > -0.5)

    k = len(spec.keypoints)
    pose = sixd_to_matrix(normal(N, 55, 6))
    answer = Decoded(pose, 3 * normal(N, spec.num_betas), normal(N, 20), normal(N, 3).exp())
    points, known = normal(N, k, 3), weight(N, k)
    if spec.name == "body":
        known[1, 1:3] = torch.tensor([1.0, 0.0])
        known[2:, 1:3] = 1.0
    target = PartTarget(
        pose=sixd_to_matrix(normal(N, 55, 6)),
        betas=normal(N, 13),
        expression=normal(N, 7),
        points=normal(N, k, 3),
        projected=normal(N, k, 2),
        visible=weight(N, k),
        camera=normal(N, 3).exp(),
        pose_weight=(weight(N, 55) > 0).double(),
        betas_weight=weight(N),
        expression_weight=weight(N),
        points_weight=known,
    )
    target.visible[0, :] = target.visible[0, :].clamp_min(0.5)
    target.visible[3, list(range(25, min(k, 40)))] = 0.0
    return answer, points, normal(N, k, 2), target


def rows(inputs: Inputs, chosen: Tensor) -> Inputs:
    answer, points, projected, target = inputs
    part = Decoded(*(getattr(answer, name)[chosen] for name in ("pose", "betas", "expression", "camera")))
    return part, points[chosen], projected[chosen], target[chosen]


def group_columns(name: str, spec: PartSpec) -> list[int]:
    if spec.name != "body":
        return list(range(len(spec.keypoints)))
    return [k for k in PARTS[name].tolist() if name == "body" or k not in (20, 21)]


def naive(inputs: Inputs, spec: PartSpec) -> dict[str, tuple[float, float]]:
    """Total and count of every term by loops over numbers, without the terms' weights."""
    answer, points, projected, target = inputs
    flat, truth_flat, deep, truth_deep = (x.numpy() for x in (projected, target.projected, points, target.points))
    seen, known = target.visible.numpy(), target.points_weight.numpy()
    result: dict[str, tuple[float, float]] = {}
    groups = {"body": ["body"], "hands": ["left_hand", "right_hand"], "face": ["face"]}
    groups = groups if spec.name == "body" else {{"hand": "hands", "face": "face"}[spec.name]: ["all"]}
    for name, members in groups.items():
        columns = [c for member in members for c in group_columns(member, spec)]
        total = solid = 0.0
        for n in range(N):
            total += sum(np.abs(flat[n, c] - truth_flat[n, c]).sum() for c in columns if seen[n, c] > 0)
            origin = [1, 2] if spec.name == "body" else [0]
            if min(known[n, origin]) > 0:
                a, b = deep[n] - deep[n, origin].mean(0), truth_deep[n] - truth_deep[n, origin].mean(0)
                solid += sum(known[n, c] * np.abs(a[c] - b[c]).sum() for c in columns)
        result[f"projected_{name}"], result[f"points3d_{name}"] = (total, N), (solid, N)
    trusted = {"left_hand": "left_hand", "right_hand": "right_hand", "jaw": "face"}
    for name, slots in SLOTS.items():
        total, pairs = 0.0, 0
        for n in range(N):
            trust = seen[n, group_columns(trusted[name], spec)].mean() if name in trusted else 1.0
            for j in slots:
                weight = float(target.pose_weight[n, j]) * trust
                relative = answer.pose[n, j].numpy().T @ target.pose[n, j].numpy()
                total, pairs = total + weight * math.acos((np.trace(relative) - 1) / 2), pairs + (weight > 0)
        result[name] = (total, pairs if name in trusted else N)
    total = shape = 0.0
    for n in range(N):
        trust = float(target.expression_weight[n]) * seen[n, group_columns("face", spec)].mean()
        total += trust * sum(float(answer.expression[n, c] - target.expression[n, c]) ** 2 for c in range(7))
        shape += float(target.betas_weight[n]) * float(((answer.betas[n] - target.betas[n, :10]) ** 2).sum())
    beyond = [float(b) for b in answer.betas.flatten() if abs(b) > 3]
    result |= {"expression": (total, N), "betas": (shape, N), "betas_prior": (sum(b * b for b in beyond), len(beyond))}
    return result


@pytest.mark.parametrize("part", SPECS)
def test_every_term_equals_the_naive_formula(part: str) -> None:
    spec, weights = SPECS[part], PAPER_WEIGHTS[part]
    inputs = case(spec)
    got, expected = paper_terms(*inputs, spec, weights), naive(inputs, spec)
    assert list(got) == TERMS[part].split()
    for name, term in got.items():
        factor = weights.betas if name == "betas" else 1.0
        total, count = expected[name]
        assert float(term.total) == pytest.approx(factor * total) and total > 0, name
        assert float(term.count) == count, name


def test_3d_terms_of_hands_and_face_in_a_body_are_off_but_there() -> None:
    inputs = case(BODY)
    weights = replace(PAPER_WEIGHTS["body"], points3d_hands=2.0, points3d_face=3.0)
    got, expected = paper_terms(*inputs, BODY, weights), naive(inputs, BODY)
    assert float(got["points3d_hands"].total) == pytest.approx(2 * expected["points3d_hands"][0])
    assert float(got["points3d_face"].total) == pytest.approx(3 * expected["points3d_face"][0])


def test_the_released_weights() -> None:
    body, hand, face = (PAPER_WEIGHTS[part] for part in ("body", "hand", "face"))
    ones = "projected_body projected_hands projected_face points3d_body global_orient body_pose left_hand right_hand"
    ones += " jaw expression betas_prior crop_hands crop_head"
    assert all(getattr(body, name) == 1.0 for name in ones.split())
    assert (body.betas, hand.betas, face.betas, body.betas_limit) == (0.001, 1.0, 1.0, 3.0)
    assert (body.points3d_hands, body.points3d_face, hand.points3d_hands, face.points3d_face) == (0.0, 0.0, 1.0, 0.0)


@pytest.mark.parametrize("part", SPECS)
def test_the_truth_costs_nothing(part: str) -> None:
    spec = SPECS[part]
    *_, target = case(spec)
    answer = Decoded(target.pose, target.betas.clamp(-3, 3), target.expression, target.camera)
    shifted = target.points + 0.7 if spec.name == "body" else target.points
    target = replace(target, betas=answer.betas)
    terms = paper_terms(answer, shifted, target.projected, target, spec, PAPER_WEIGHTS[part])
    allowed = {name: 22 * 5e-4 for name in SLOTS}
    assert all(float(term.value) <= allowed.get(name, 1e-12) for name, term in terms.items())
    exact = paper_terms(answer, shifted, target.projected, target, spec, PaperWeights(rotation="l2"))
    assert all(float(term.value) <= 1e-12 for term in exact.values())


@pytest.mark.parametrize("part", SPECS)
@pytest.mark.parametrize("rotation", ["geodesic", "l2"])
def test_two_half_batches_are_the_whole(part: str, rotation: str) -> None:
    spec, weights = SPECS[part], replace(PAPER_WEIGHTS[part], rotation=rotation)
    inputs = case(spec)
    whole = paper_terms(*inputs, spec, weights)
    halves = [paper_terms(*rows(inputs, torch.tensor(half)), spec, weights) for half in ([0], [1, 2, 3])]
    for name, term in whole.items():
        both = halves[0][name] + halves[1][name]
        torch.testing.assert_close((both.total, both.count), (term.total, term.count))


@pytest.mark.parametrize("part", SPECS)
def test_gradients(part: str) -> None:
    spec, weights = SPECS[part], PAPER_WEIGHTS[part]
    answer, points, projected, target = rows(case(spec), torch.tensor([0, 3]))
    slots = [0, 5, 22, 30, 50]
    inputs = [answer.pose[:, slots], answer.betas, answer.expression, points[:, :4], projected[:, -3:]]
    inputs = [value.clone().requires_grad_() for value in inputs]

    def loss(pose: Tensor, betas: Tensor, expression: Tensor, first: Tensor, last: Tensor) -> Tensor:
        whole = answer.pose.index_copy(1, torch.tensor(slots), pose)
        moved = Decoded(whole, betas, expression, answer.camera)
        near, flat = torch.cat([first, points[:, 4:]], 1), torch.cat([projected[:, :-3], last], 1)
        return torch.stack([term.value for term in paper_terms(moved, near, flat, target, spec, weights).values()])

    assert torch.autograd.gradcheck(loss, inputs)


def test_gradients_at_the_truth_are_finite() -> None:
    *_, target = case(BODY)
    leaves = [value.float().requires_grad_() for value in (target.pose, target.betas, target.expression)]
    truth = PartTarget(**{name: value.float() for name, value in vars(target).items()})
    answer = Decoded(*leaves, truth.camera)
    terms = paper_terms(answer, truth.points, truth.projected, truth, BODY, PAPER_WEIGHTS["body"])
    loss = torch.stack([term.value for term in terms.values()]).sum()
    assert all(torch.isfinite(g).all() for g in torch.autograd.grad(loss, leaves))


def test_what_is_not_known_has_no_influence() -> None:
    answer, points, projected, target = case(BODY)
    none = replace(
        target,
        visible=0 * target.visible,
        pose_weight=0 * target.pose_weight,
        betas_weight=0 * target.betas_weight,
        expression_weight=0 * target.expression_weight,
        points_weight=0 * target.points_weight,
    )
    terms = paper_terms(answer, points, projected, none, BODY, PAPER_WEIGHTS["body"])
    assert [name for name, term in terms.items() if float(term.value) > 0] == ["betas_prior"]


def test_missing_weights_are_ones() -> None:
    answer, points, projected, target = case(BODY)
    names = ("pose_weight", "betas_weight", "expression_weight", "points_weight")
    ones = {name: torch.ones_like(getattr(target, name)) for name in names}
    one, none = replace(target, **ones), replace(target, **dict.fromkeys(names))
    got = [paper_terms(answer, points, projected, truth, BODY, PAPER_WEIGHTS["body"]) for truth in (one, none)]
    for name, term in got[0].items():
        torch.testing.assert_close((term.total, term.count), (got[1][name].total, got[1][name].count))


def test_trust_in_keypoints_can_be_switched_off() -> None:
    inputs = case(BODY)
    weights = replace(PAPER_WEIGHTS["body"], trust_keypoints=False)
    blind = replace(inputs[3], visible=0 * inputs[3].visible)
    terms = [paper_terms(*inputs[:3], target, BODY, weights) for target in (inputs[3], blind)]
    for name in ("left_hand", "right_hand", "jaw", "expression"):
        torch.testing.assert_close(terms[0][name].total, terms[1][name].total)
        assert float(terms[1][name].value) > 0


def test_terms_of_weight_zero_are_left_out() -> None:
    weights = replace(PAPER_WEIGHTS["face"], betas=0.0, jaw=0.0, projected_face=0.0)
    assert list(paper_terms(*case(FACE), FACE, weights)) == ["global_orient", "expression", "betas_prior"]


def test_groups_of_a_bodys_keypoints_are_disjoint_and_complete() -> None:
    groups = keypoint_groups(BODY)
    assert sorted(k for chosen in groups.values() for k in chosen) == list(range(144))
    assert {20, 21} < set(groups["body"]) and [len(g) for g in groups.values()] == [36, 20, 20, 68]


def crop_case() -> tuple[Tensor, PartTarget, Tensor, dict[str, Tensor], dict[str, Tensor]]:
    _, _, projected, target = case(BODY)
    rng = np.random.default_rng(0)
    body = torch.tensor(np.stack([np.array([[100.0, 0, c], [0, 100.0, c]]) for c in rng.uniform(50, 90, N)]))
    parts = {
        name: torch.tensor(np.stack([np.array([[flip * s, 0, 5.0], [0, s, 9.0]]) for s in rng.uniform(10, 30, N)]))
        for name, flip in (("left_hand", -1.0), ("right_hand", 1.0), ("head", 1.0))
    }
    use = {name: torch.tensor([True, False, True, True]) for name in parts}
    return projected, target, body, parts, use


def crop_terms(sides: tuple[Tensor, PartTarget, Tensor, dict, dict], weights: PaperWeights) -> dict[str, Term]:
    return part_crop_terms(*sides, weights)


def test_part_crop_terms_are_the_2d_errors_enlarged_to_the_parts_crop() -> None:
    projected, target, body, parts, use = crop_case()
    weights = replace(PAPER_WEIGHTS["body"], crop_hands=2.0)
    terms = crop_terms((projected, target, body, parts, use), weights)
    assert list(terms) == ["crop_left_hand", "crop_right_hand", "crop_head"]
    for part, T in parts.items():
        total = 0.0
        for n in (0, 2, 3):
            for k in PARTS[part]:
                if target.visible[n, k] > 0:
                    error = float((projected[n, k] - target.projected[n, k]).abs().sum())
                    total += error * 100.0 / float(T[n, 1, 1])
        factor = 1.0 if part == "head" else 2.0
        assert float(terms[f"crop_{part}"].total) == pytest.approx(factor * total) and total > 0
        assert float(terms[f"crop_{part}"].count) == N


def test_part_crop_terms_at_the_truth_over_halves_and_with_gradients() -> None:
    projected, target, body, parts, use = crop_case()
    weights = PAPER_WEIGHTS["body"]
    whole = crop_terms((projected, target, body, parts, use), weights)
    exact = crop_terms((target.projected, target, body, parts, use), weights)
    assert all(float(term.value) == pytest.approx(0.0, abs=1e-12) for term in exact.values())
    halves = []
    for half in (slice(0, 1), slice(1, N)):
        cut = [{name: value[half] for name, value in table.items()} for table in (parts, use)]
        rows_of_half = target[torch.arange(N)[half]]
        halves.append(crop_terms((projected[half], rows_of_half, body[half], *cut), weights))
    for name, term in whole.items():
        both = halves[0][name] + halves[1][name]
        torch.testing.assert_close((both.total, both.count), (term.total, term.count))
    chosen = list(range(20, 24))

    def loss(some: Tensor, T: Tensor) -> Tensor:
        moved = projected.index_copy(1, torch.tensor(chosen), some)
        return crop_terms((moved, target, body, parts | {"left_hand": T}, use), weights)["crop_left_hand"].value

    leaves = [projected[:, chosen].clone().requires_grad_(), parts["left_hand"].clone().requires_grad_()]
    assert torch.autograd.gradcheck(loss, leaves)


def test_bad_input_is_named() -> None:
    answer, points, projected, target = case(FACE)
    with pytest.raises(InputError, match="keypoints of shapes"):
        paper_terms(answer, points[:, 1:], projected, target, FACE, PAPER_WEIGHTS["face"])
    with pytest.raises(InputError, match="3D keypoints of the face part"):
        weights = replace(PAPER_WEIGHTS["face"], points3d_face=1.0)
        paper_terms(answer, points, projected, target, FACE, weights)
    projected, target, body, parts, use = crop_case()
    with pytest.raises(InputError, match="foot"):
        part_crop_terms(projected, target, body, {"foot": body}, use, PaperWeights())
    with pytest.raises(InputError, match="head"):
        part_crop_terms(projected, target, body, parts, {k: v for k, v in use.items() if k != "head"}, PaperWeights())
    with pytest.raises(InputError, match="144"):
        part_crop_terms(projected[:, :5], target, body, parts, use, PaperWeights())
