"""The paper's primitives: the naive formula, exact gradients, masks, and sums and counts that add up over batches."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from openexpose.losses import Term, geodesic, l1_2d, l1_3d_hip_centred, l1_3d_root, l2, rotation_l2, threshold_prior
from openexpose.nets.decode import sixd_to_matrix

N, K, J = 4, 5, 3
LEFT, RIGHT = 1, 3


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rotations(seed: int) -> Tensor:
    return sixd_to_matrix(normal(seed, N, J, 6))


FLAT = normal(1, N, K, 2), normal(2, N, K, 2)
DEEP = normal(3, N, K, 3), normal(4, N, K, 3)
TURNS = rotations(5), rotations(6)
COEFFICIENTS = normal(7, N, 6), normal(8, N, 4)
BETAS = 3.0 * normal(9, N, 10)
SEEN = torch.tensor([[1, 1, 0, 1, 0.3], [0, 1, 1, 1, 0], [1, 0, 1, 1, 1], [1, 0.5, 1, 0.2, 0]], dtype=torch.float64)
TURN_WEIGHT = torch.tensor([[1, 0, 0.5], [0, 0, 0], [2, 1, 1], [0, 0.1, 0]], dtype=torch.float64)
SAMPLE_WEIGHT = torch.tensor([1.0, 0.0, 0.5, 2.0], dtype=torch.float64)

Case = tuple[Callable[..., Term], tuple[Tensor, ...]]
CASES: dict[str, Case] = {
    "l1_2d": (l1_2d, (*FLAT, SEEN)),
    "l1_3d_hip_centred": (lambda a, b, w: l1_3d_hip_centred(a, b, w, LEFT, RIGHT), (*DEEP, SEEN)),
    "l1_3d_hip_centred_some": (lambda a, b, w: l1_3d_hip_centred(a, b, w, LEFT, RIGHT, [0, 4]), (*DEEP, SEEN)),
    "l1_3d_root": (lambda a, b, w: l1_3d_root(a, b, w, 0), (*DEEP, SEEN)),
    "geodesic_batch": (geodesic, (*TURNS, TURN_WEIGHT)),
    "geodesic_pairs": (lambda a, b, w: geodesic(a, b, w, "pairs"), (*TURNS, TURN_WEIGHT)),
    "rotation_l2_batch": (rotation_l2, (*TURNS, TURN_WEIGHT)),
    "rotation_l2_pairs": (lambda a, b, w: rotation_l2(a, b, w, "pairs"), (*TURNS, TURN_WEIGHT)),
    "l2": (l2, (*COEFFICIENTS, SAMPLE_WEIGHT)),
    "threshold_prior": (threshold_prior, (BETAS,)),
}
COMPARING = [name for name in CASES if name != "threshold_prior"]


def naive_2d() -> tuple[float, float]:
    (a, b), seen = (side.numpy() for side in FLAT), SEEN.numpy()
    return sum(abs(a[n, k, d] - b[n, k, d]) for n in range(N) for k in range(K) for d in (0, 1) if seen[n, k] > 0), N


def naive_3d(origin: list[int], chosen: list[int]) -> tuple[float, float]:
    (a, b), seen, total = (side.numpy() for side in DEEP), SEEN.numpy(), 0.0
    for n in range(N):
        if not all(seen[n, k] > 0 for k in origin):
            continue
        for d in range(3):
            middle_a = sum(a[n, k, d] for k in origin) / len(origin)
            middle_b = sum(b[n, k, d] for k in origin) / len(origin)
            total += sum(seen[n, k] * abs((a[n, k, d] - middle_a) - (b[n, k, d] - middle_b)) for k in chosen)
    return total, N


def naive_rotation(distance: Callable[[np.ndarray, np.ndarray], float], count: str) -> tuple[float, float]:
    (a, b), weight, total, pairs = (side.numpy() for side in TURNS), TURN_WEIGHT.numpy(), 0.0, 0
    for n in range(N):
        for j in range(J):
            total += weight[n, j] * distance(a[n, j], b[n, j])
            pairs += weight[n, j] > 0
    return total, N if count == "batch" else pairs


def angle(a: np.ndarray, b: np.ndarray) -> float:
    return math.acos((np.trace(a.T @ b) - 1.0) / 2.0)


def frobenius(a: np.ndarray, b: np.ndarray) -> float:
    return sum((a[i, j] - b[i, j]) ** 2 for i in range(3) for j in range(3))


def naive_l2() -> tuple[float, float]:
    (a, b), weight = (side.numpy() for side in COEFFICIENTS), SAMPLE_WEIGHT.numpy()
    return sum(weight[n] * (a[n, c] - b[n, c]) ** 2 for n in range(N) for c in range(4)), N


def naive_prior() -> tuple[float, float]:
    beyond = [float(b) for b in BETAS.flatten() if abs(b) > 3.0]
    return sum(b**2 for b in beyond), len(beyond)


EXPECTED: dict[str, tuple[float, float]] = {
    "l1_2d": naive_2d(),
    "l1_3d_hip_centred": naive_3d([LEFT, RIGHT], list(range(K))),
    "l1_3d_hip_centred_some": naive_3d([LEFT, RIGHT], [0, 4]),
    "l1_3d_root": naive_3d([0], list(range(K))),
    "geodesic_batch": naive_rotation(angle, "batch"),
    "geodesic_pairs": naive_rotation(angle, "pairs"),
    "rotation_l2_batch": naive_rotation(frobenius, "batch"),
    "rotation_l2_pairs": naive_rotation(frobenius, "pairs"),
    "l2": naive_l2(),
    "threshold_prior": naive_prior(),
}


@pytest.mark.parametrize("name", CASES)
def test_equals_the_naive_formula(name: str) -> None:
    loss, arguments = CASES[name]
    term, (total, count) = loss(*arguments), EXPECTED[name]
    assert float(term.total) == pytest.approx(total) and total > 0
    assert float(term.count) == count
    assert float(term.value) == pytest.approx(total / count)
    assert float(term.scaled(3.0).value) == pytest.approx(3.0 * total / count)


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_exact_and_counts_have_none(name: str) -> None:
    loss, (predicted, *rest) = CASES[name]
    predicted = predicted.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda p: loss(p, *rest).value, predicted)
    assert not loss(predicted, *rest).count.requires_grad


@pytest.mark.parametrize("name", CASES)
def test_sums_and_counts_of_two_halves_are_those_of_the_whole(name: str) -> None:
    """What lets processes that see a share of the batch each take the loss of all."""
    loss, arguments = CASES[name]
    whole = loss(*arguments)
    for cut in (1, 2):
        both = loss(*(a[:cut] for a in arguments)) + loss(*(a[cut:] for a in arguments))
        torch.testing.assert_close((both.total, both.count), (whole.total, whole.count))
        torch.testing.assert_close(both.value, whole.value)


@pytest.mark.parametrize("name", COMPARING)
def test_the_truth_costs_nothing(name: str) -> None:
    loss, (_, target, weight) = CASES[name]
    allowed = 1e-3 if name.startswith("geodesic") else 0.0
    assert float(loss(target, target, weight).value) <= allowed
    single = loss(target.float(), target.float(), weight.float()).value
    assert single.dtype == torch.float32 and float(single) <= allowed


@pytest.mark.parametrize("name", COMPARING)
def test_without_weight_nothing_counts(name: str) -> None:
    loss, (predicted, target, weight) = CASES[name]
    predicted = predicted.clone().requires_grad_()
    term = loss(predicted, target, 0.0 * weight)
    assert float(term.value.detach()) == 0.0
    assert float(term.count) == (0.0 if name.endswith("pairs") else N)
    (gradient,) = torch.autograd.grad(term.value, predicted)
    assert not gradient.any()


def test_3d_errors_ignore_where_each_side_is() -> None:
    shift = normal(11, N, 1, 3)
    for name in ("l1_3d_hip_centred", "l1_3d_root"):
        loss, (a, b, w) = CASES[name]
        torch.testing.assert_close(loss(a + shift, b, w).total, loss(a, b - 2 * shift, w).total)


def test_one_unknown_hip_silences_a_sample() -> None:
    loss, (a, b, _) = CASES["l1_3d_hip_centred"]
    weight = torch.ones_like(SEEN)
    weight[0, LEFT] = weight[1, RIGHT] = 0.0
    moved = a.clone()
    moved[:2] += normal(12, 2, K, 3)
    torch.testing.assert_close(loss(moved, b, weight).total, loss(a, b, weight).total)
    torch.testing.assert_close(loss(a, b, weight).total, loss(a[2:], b[2:], weight[2:]).total)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("degrees", [0.0, 1e-5, 1e-3, 90.0, 179.999, 180.0])
def test_angles_are_known_and_gradients_finite(degrees: float, dtype: torch.dtype) -> None:
    turn = math.radians(degrees)
    c, s = math.cos(turn), math.sin(turn)
    predicted = torch.tensor([[[[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]]], dtype=dtype, requires_grad=True)
    term = geodesic(predicted, torch.eye(3, dtype=dtype)[None, None], torch.ones(1, 1, dtype=dtype))
    assert float(term.value.detach()) == pytest.approx(turn, abs=6e-4)
    (gradient,) = torch.autograd.grad(term.total, predicted)
    assert torch.isfinite(gradient).all()
    if degrees in (0.0, 180.0):
        assert not gradient.any()


def test_frobenius_distance_of_a_half_turn_is_known() -> None:
    half_turn = torch.diag(torch.tensor([1.0, -1.0, -1.0]))[None, None]
    assert float(rotation_l2(torch.eye(3)[None, None], half_turn, torch.ones(1, 1)).value) == pytest.approx(8.0)


def test_the_prior_charges_whole_values_beyond_the_limit_only() -> None:
    betas = torch.tensor([[3.0, -3.0, 0.5], [4.0, -5.0, 2.9]], requires_grad=True)
    assert float(threshold_prior(betas).value.detach()) == pytest.approx((16.0 + 25.0) / 2)
    assert float(threshold_prior(betas, limit=4.5).value.detach()) == pytest.approx(25.0)
    tame = threshold_prior(0.1 * betas)
    assert float(tame.value.detach()) == float(tame.count) == 0.0
    (gradient,) = torch.autograd.grad(tame.value, betas)
    assert not gradient.any()


def test_coefficients_are_compared_over_the_common_length() -> None:
    a, b, weight = normal(13, N, 10), normal(14, N, 50), torch.ones(N, dtype=torch.float64)
    torch.testing.assert_close(l2(a, b, weight).total, l2(a, b[:, :10], weight).total)
    torch.testing.assert_close(l2(b, a, weight).total, l2(a, b, weight).total)
