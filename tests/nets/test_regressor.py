"""The iterative regressor: starts at its start, corrects it as often as told, with the same weights."""

import pytest
import torch

from openexpose.nets.regressor import Evidence, IterativeRegressor, Width, canonical
from openexpose.nets.trunk import TrunkOutput

SIZE, LANDMARKS, FEATURES = 12, 4, 5


def seen(count: int = 3, world: bool = True) -> TrunkOutput:
    generator = torch.Generator().manual_seed(0)
    landmarks, points = torch.randn(2, count, LANDMARKS, 3, generator=generator)
    feature = torch.randn(count, FEATURES, generator=generator)
    visibility = torch.rand(count, LANDMARKS, generator=generator)
    return TrunkOutput(feature, landmarks, visibility, points if world else None, visibility[:, 0])


def regressor(stages: int = 3, zero: bool = False) -> IterativeRegressor:
    torch.manual_seed(1)
    numbers = Evidence.raw(seen()).shape[1]
    evidence = Evidence(torch.zeros(numbers), torch.ones(numbers))
    net = IterativeRegressor(evidence, torch.arange(float(SIZE)), None, width=Width(16), stages=stages)
    if zero:
        torch.nn.init.zeros_(net.output_layer.weight)
    return net.eval()


@pytest.mark.parametrize("stages", [1, 3, 5])
def test_one_answer_a_stage_from_the_same_weights(stages: int) -> None:
    net, start = regressor(stages), torch.randn(3, SIZE, generator=torch.Generator().manual_seed(2))
    answers = net(seen(), start)
    assert [answer.shape for answer in answers] == [(3, SIZE)] * stages
    torch.testing.assert_close(answers, regressor(5)(seen(), start)[:stages])


def test_an_untrained_regressor_answers_about_its_start() -> None:
    start = torch.randn(3, SIZE, generator=torch.Generator().manual_seed(2))
    for answer in regressor()(seen(), start):
        torch.testing.assert_close(answer, start, atol=0.1, rtol=0)
        assert (answer != start).any()
    for answer in regressor(zero=True)(seen(), start):
        torch.testing.assert_close(answer, start, atol=0, rtol=0)


def test_without_a_start_it_starts_at_its_mean() -> None:
    net = regressor()
    torch.testing.assert_close(net(seen()), net(seen(), net.mean.expand(3, -1)))


def test_every_stage_continues_from_the_one_before() -> None:
    once, thrice = regressor(1), regressor(3)
    (first,) = once(seen())
    (second,) = once(seen(), first)
    torch.testing.assert_close(thrice(seen())[:2], [first, second])


def test_rows_are_independent_in_evaluation() -> None:
    net, rows = regressor(), seen()
    alone = TrunkOutput(*(None if value is None else value[1:2] for value in list(vars(rows).values())[:5]))
    torch.testing.assert_close(net(alone)[-1], net(rows)[-1][1:2])


def test_stages_are_not_detached_from_each_other() -> None:
    start = torch.zeros(3, SIZE, requires_grad=True)
    net = regressor()
    torch.nn.init.normal_(net.output_layer.weight)
    (gradient,) = torch.autograd.grad(net(seen(), start)[-1][:, 0].sum(), start)
    assert (gradient[:, 1:] != 0).any(), "the first parameter depends on the others' starts through the stages"


def test_evidence_is_standardised_and_clipped() -> None:
    raw = Evidence.raw(seen(50))
    assert raw.shape == (50, FEATURES + 7 * LANDMARKS)
    assert Evidence.raw(seen(world=False)).shape == (3, FEATURES + 4 * LANDMARKS)
    read = Evidence(raw.mean(0), raw.std(0)).eval()(seen(50))
    torch.testing.assert_close(read.mean(0), torch.zeros(raw.shape[1]), atol=1e-4, rtol=0)
    torch.testing.assert_close(read.std(0), torch.ones(raw.shape[1]), atol=1e-4, rtol=0)
    wild = Evidence(raw.mean(0) - 1e3, raw.std(0)).eval()(seen(50))
    torch.testing.assert_close(wild, torch.full_like(wild, 6.0))


def test_canonical_landmarks_do_not_know_where_the_head_is_nor_how_it_is_turned() -> None:
    generator = torch.Generator().manual_seed(0)
    face = torch.randn(2, 478, 3, generator=generator, dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))[0]
    turn = turn * torch.linalg.det(turn)
    moved = 2.5 * face @ turn.T + torch.tensor([0.3, -0.2, 0.1], dtype=torch.float64)
    torch.testing.assert_close(canonical(moved), canonical(face))
    torch.testing.assert_close(canonical(face).norm(dim=-1).mean(1), torch.ones(2, dtype=torch.float64))
    mirrored = face * torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64)
    assert float((canonical(mirrored) - canonical(face)).abs().max()) > 0.1


def test_canonical_landmarks_are_evidence_where_asked_for() -> None:
    face = TrunkOutput(torch.zeros(2, 5), torch.randn(2, 478, 3), torch.ones(2, 478), None, torch.ones(2))
    plain, more = Evidence.raw(face), Evidence.raw(face, True)
    torch.testing.assert_close(more[:, : plain.shape[1]], plain)
    torch.testing.assert_close(more[:, plain.shape[1] :], canonical(face.landmarks).flatten(1))
