"""The default recipe: each term is what its formula says, its gradients are right, and the truth costs nothing."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from openexpose.losses import (
    LossWeights,
    PartTarget,
    SkinMotion,
    coefficient_loss,
    part_loss,
    rotation_loss,
    skin_factor,
    weighted_l1,
)
from openexpose.nets.decode import Decoded, sixd_to_matrix

COUNT, POINTS = 2, 4
SLOTS = [0, 22, 40]
WEIGHTS = LossWeights(rotation=2.0, points=3.0, projected=5.0, betas=7.0, expression=11.0, camera=13.0)
IMPORTANCE = torch.tensor([1.0, 0.1, 0.5, 2.0], dtype=torch.float64)
DIRECTIONS = 1e-3 * torch.randn(50, 3, 30, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
"""Of fifty vertices: ten of shape, twenty of expression, metres."""
SKIN = SkinMotion(skin_factor(DIRECTIONS[..., :10]), skin_factor(DIRECTIONS[..., 10:]))


def case(seed: int = 0) -> tuple[Decoded, Tensor, PartTarget]:
    """An answer, its points and a target, all random; the last sample's last point is hidden."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    answer = Decoded(sixd_to_matrix(normal(COUNT, 55, 6)), normal(COUNT, 10), normal(COUNT, 20), normal(COUNT, 3).exp())
    target = PartTarget(
        pose=sixd_to_matrix(normal(COUNT, 55, 6)),
        betas=normal(COUNT, 10),
        expression=normal(COUNT, 20),
        points=normal(COUNT, POINTS, 3),
        projected=normal(COUNT, POINTS, 2),
        visible=torch.tensor([[1.0, 1.0, 0.0, 1.0], [1.0, 1.0, 1.0, 0.0]], dtype=torch.float64),
        camera=normal(COUNT, 3).exp(),
    )
    return answer, normal(COUNT, POINTS, 3), target


def terms(answer: Decoded, points: Tensor, target: PartTarget) -> dict[str, Tensor]:
    return part_loss(answer, points, target, SLOTS, IMPORTANCE, WEIGHTS, SKIN)


def test_rotation_loss_is_the_mean_squared_frobenius_distance() -> None:
    answer, _, target = case()
    total = sum(
        (float(answer.pose[n, j, r, c]) - float(target.pose[n, j, r, c])) ** 2
        for n in range(COUNT)
        for j in range(55)
        for r in range(3)
        for c in range(3)
    )
    assert float(rotation_loss(answer.pose, target.pose)) == pytest.approx(total / (COUNT * 55))


def test_rotation_loss_of_two_rotations_is_known() -> None:
    """|R - S|^2 = 4 (1 - cos of the angle between them)."""
    half_turn = torch.diag(torch.tensor([1.0, -1.0, -1.0]))[None, None]
    assert float(rotation_loss(torch.eye(3)[None, None], half_turn)) == pytest.approx(8.0)


def test_weighted_l1_is_the_weighted_mean_of_l1_distances() -> None:
    _, points, target = case()
    weight = target.visible * IMPORTANCE
    total = sum(
        float(weight[n, k]) * sum(abs(float(points[n, k, d]) - float(target.points[n, k, d])) for d in range(3))
        for n in range(COUNT)
        for k in range(POINTS)
    )
    assert float(weighted_l1(points, target.points, weight)) == pytest.approx(total / float(weight.sum()))
    torch.testing.assert_close(
        weighted_l1(points, target.points, 3 * weight), weighted_l1(points, target.points, weight)
    )
    assert float(weighted_l1(points, target.points, 0 * weight)) == 0.0, "nothing to see is no error, and no NaN"


def test_coefficient_loss_is_how_far_the_skin_moves() -> None:
    answer, _, target = case()
    moved = 1000.0 * (DIRECTIONS[..., :10] @ (answer.betas - target.betas).T)
    expected = moved.square().sum(1).mean(0).sqrt().mean()
    torch.testing.assert_close(coefficient_loss(answer.betas, target.betas, SKIN.betas), expected, rtol=1e-2, atol=0.0)


def test_coefficients_that_move_nothing_cost_nothing() -> None:
    still = DIRECTIONS[..., :10].clone()
    still[..., 3] = 0.0
    target = case()[2]
    other = target.betas.clone()
    other[:, 3] += 5.0
    assert float(coefficient_loss(other, target.betas, skin_factor(still))) == pytest.approx(0.0, abs=1e-6)


def test_the_terms_of_a_part() -> None:
    answer, points, target = case()
    got = terms(answer, points, target)
    flat = weight = log = deep = 0.0
    for n in range(COUNT):
        s, tx, ty = answer.camera[n].tolist()
        log += abs(torch.log(torch.tensor(s / float(target.camera[n, 0]), dtype=torch.float64)).item())
        for k in range(POINTS):
            x, y = s * (float(points[n, k, 0]) + tx), s * (float(points[n, k, 1]) + ty)
            u, v = (min(max(float(value), -3.0), 3.0) for value in target.projected[n, k])
            trust = (1.0 if target.visible[n, k] else 0.1) * float(IMPORTANCE[k])
            flat, weight = flat + trust * (abs(x - u) + abs(y - v)), weight + trust
            deep += float(IMPORTANCE[k]) * float((points[n, k] - target.points[n, k]).abs().sum())
    expected = {
        "rotation": 2.0 * float(rotation_loss(answer.pose[:, SLOTS], target.pose[:, SLOTS])),
        "points": 3.0 * deep / (COUNT * float(IMPORTANCE.sum())),
        "projected": 5.0 * flat / weight,
        "betas": 7.0 * float(coefficient_loss(answer.betas, target.betas, SKIN.betas)),
        "expression": 11.0 * float(coefficient_loss(answer.expression, target.expression, SKIN.expression)),
        "camera": 13.0 * log / COUNT,
    }
    assert {name: float(value) for name, value in got.items()} == pytest.approx(expected)


def test_the_truth_costs_nothing() -> None:
    _, points, target = case()
    answer = Decoded(target.pose, target.betas, target.expression, target.camera)
    points = 0.1 * points
    camera = torch.tensor([[2.0, 0.1, -0.2]], dtype=torch.float64).expand(COUNT, 3)
    answer, truth = replace(answer, camera=camera), replace(target, camera=camera, points=points)
    truth = replace(truth, projected=camera[:, None, :1] * (points[..., :2] + camera[:, None, 1:]))
    assert all(float(value) == pytest.approx(0.0, abs=1e-12) for value in terms(answer, points, truth).values())
    assert all(float(value) > 0.0 for value in terms(*case()).values())


def test_what_is_not_known_costs_nothing() -> None:
    answer, points, target = case()
    ones = {
        "pose_weight": torch.ones(COUNT, 55),
        "betas_weight": torch.ones(COUNT),
        "expression_weight": torch.ones(COUNT),
        "points_weight": torch.ones(COUNT, POINTS),
    }
    torch.testing.assert_close(terms(answer, points, replace(target, **ones)), terms(answer, points, target))
    first = {name: weight.clone() for name, weight in ones.items()}
    for weight in first.values():
        weight[1] = 0.0
    unknown = replace(target, **first, camera=torch.cat([target.camera[:1], answer.camera[1:]]))
    got, alone = (
        terms(answer, points, unknown),
        terms(
            Decoded(*(value[:1] for value in (answer.pose, answer.betas, answer.expression, answer.camera))),
            points[:1],
            target[torch.tensor([0])],
        ),
    )
    for name in ("rotation", "points", "projected", "betas", "expression"):
        torch.testing.assert_close(got[name], alone[name])
    nothing = replace(target, **{name: 0.0 * weight for name, weight in ones.items()})
    assert all(float(value) == 0.0 for name, value in terms(answer, points, nothing).items() if name != "camera")


def test_other_joints_than_the_parts_do_not_count() -> None:
    answer, points, target = case()
    other = answer.pose.clone()
    other[:, [j for j in range(55) if j not in SLOTS]] = 0.0
    torch.testing.assert_close(terms(replace(answer, pose=other), points, target), terms(answer, points, target))


def test_a_landmark_far_outside_the_crop_counts_as_three_crop_units_away() -> None:
    answer, points, target = case()
    far, further = (replace(target, projected=target.projected + shift) for shift in (50.0, 5000.0))
    torch.testing.assert_close(terms(answer, points, far), terms(answer, points, further))


def test_gradients() -> None:
    answer, points, target = case()
    inputs = [answer.pose[:, SLOTS], answer.betas, answer.expression, answer.camera, points]
    inputs = [value.detach().clone().requires_grad_() for value in inputs]
    whole = PartTarget(**{**vars(target), "pose": target.pose[:, SLOTS]})

    def loss(pose: Tensor, betas: Tensor, expression: Tensor, camera: Tensor, points: Tensor) -> tuple[Tensor, ...]:
        answer = Decoded(pose, betas, expression, camera)
        return tuple(part_loss(answer, points, whole, [0, 1, 2], IMPORTANCE, WEIGHTS, SKIN).values())

    assert torch.autograd.gradcheck(loss, inputs)


def test_targets_are_chosen_by_row() -> None:
    _, _, target = case()
    rows = torch.tensor([1, 0, 1])
    weighted = replace(target, betas_weight=torch.tensor([0.0, 1.0]), points_weight=0.5 * target.visible)
    for name, value in vars(weighted[rows]).items():
        if name in ("pose_weight", "expression_weight"):
            assert value is None
        else:
            torch.testing.assert_close(value, getattr(weighted, name)[rows])
