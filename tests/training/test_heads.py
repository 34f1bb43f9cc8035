"""Training: it learns what its evidence tells, repeats itself, writes what it has learnt, and tells what is missing."""

import ast
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from openexpose.body.model import load_body_model
from openexpose.errors import InputError
from openexpose.nets.body_layer import BodyLayer
from openexpose.nets.checkpoint import load_regressor
from openexpose.nets.decode import sixd_to_matrix
from openexpose.predict.parts import SPECS
from openexpose.training import evidence
from openexpose.training.heads import TrainConfig, _rotation, _start, _vector, importance, train, validate
from openexpose.training.targets import load_data

COUNT, HELD = 72, 24
PARTS = pytest.mark.parametrize("part", SPECS)


@pytest.fixture(scope="module")
def shards(make_shard, make_evidence, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    for part in SPECS:
        make_evidence(make_shard(folder, part, COUNT), part)
    return folder


def config(shards: Path, part: str, out: Path, **options: object) -> TrainConfig:
    options = {"epochs": 10, "batch": 24, "hidden": 64, "held_out": HELD / COUNT, "rate": 5e-3} | options
    return TrainConfig(part, shards, out, **options)


@pytest.mark.parametrize(("part", "feedback"), [("body", False), ("hand", True), ("face", True)])
def test_training_learns_and_writes_what_it_has_learnt(
    shards: Path, tmp_path: Path, part: str, feedback: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = train(config(shards, part, tmp_path / "x.pt", feedback=feedback))
    shown = re.findall(r"^step .*({.*})$", capsys.readouterr().out, re.MULTILINE)
    losses = [sum(ast.literal_eval(terms).values()) for terms in shown]
    assert losses[-1] < 0.75 * losses[0]
    assert scores["mpjpe_mm"] < scores["mean_pose_mpjpe_mm"] and scores["n"] == HELD

    regressor, provenance = load_regressor(tmp_path / "x.pt")
    data = load_data(shards, SPECS[part]).rows(torch.arange(HELD))
    layer = BodyLayer(load_body_model(num_betas=10, num_expression=20))
    again = validate(regressor, data, SPECS[part], layer)
    assert again == pytest.approx(scores, rel=1e-5), "the checkpoint answers as the trained regressor did"
    assert provenance["samples"] == str(COUNT - HELD) and f"{scores['mpjpe_mm']:.3f}" == provenance["mpjpe_mm"]
    assert "epochs" in provenance["recipe"]


def test_the_same_seed_trains_the_same_weights(shards: Path, tmp_path: Path) -> None:
    states = []
    for k, seed in enumerate((3, 3, 4)):
        train(config(shards, "hand", tmp_path / f"{k}.pt", epochs=1, seed=seed, feedback=False))
        states.append(load_regressor(tmp_path / f"{k}.pt")[0].state_dict())
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, atol=0, rtol=0)
    assert any((states[2][name] != value).any() for name, value in states[0].items())


def test_statistics_come_from_the_training_samples_alone(shards: Path, tmp_path: Path) -> None:
    train(config(shards, "hand", tmp_path / "hand.pt", epochs=1, feedback=False))
    regressor, _ = load_regressor(tmp_path / "hand.pt")
    training = load_data(shards, SPECS["hand"]).rows(torch.arange(HELD, COUNT))
    torch.testing.assert_close(regressor.mean, _vector(training.target, SPECS["hand"]).mean(0))
    raw = regressor.evidence.raw(training.seen)
    torch.testing.assert_close(regressor.evidence.mean, raw.mean(0))


def test_hands_that_the_trunk_does_not_see_teach_nothing(make_shard, make_evidence, tmp_path: Path) -> None:
    path = make_evidence(make_shard(tmp_path, "hand", 40), "hand")
    with np.load(path) as content:
        arrays = dict(content)
    arrays["presence"][:12] = 0.0
    np.savez(path, **arrays)
    train(config(tmp_path, "hand", tmp_path / "hand.pt", epochs=1, batch=8, held_out=0.25, feedback=False))
    assert load_regressor(tmp_path / "hand.pt")[1]["samples"] == "21"


def test_what_is_missing_is_told(shards: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.pt"
    with pytest.raises(InputError, match="without hands shards"):
        train(config(tmp_path, "hand", out))
    with pytest.raises(InputError, match=r"72 samples.*more than 49"):
        train(config(shards, "hand", out, batch=49))
    with pytest.raises(InputError, match=r"the part 'foot'.*'body', 'face', 'hand'"):
        train(config(shards, "foot", out))
    for option in ("epochs", "batch"):
        with pytest.raises(InputError, match="positive"):
            train(config(shards, "hand", out, **{option: 0}))
    assert not out.exists()


@pytest.mark.parametrize("epochs", [1, 10])
def test_trainings_of_few_steps(shards: Path, tmp_path: Path, epochs: int) -> None:
    batch = COUNT - HELD
    train(config(shards, "hand", tmp_path / "hand.pt", epochs=epochs, batch=batch, hidden=8, feedback=False))
    assert (tmp_path / "hand.pt").is_file()


def test_something_is_always_held_out(shards: Path, tmp_path: Path) -> None:
    scores = train(config(shards, "hand", tmp_path / "hand.pt", epochs=1, held_out=0.0, feedback=False))
    assert scores["n"] == 2 and all(np.isfinite(value) for value in scores.values())


@PARTS
def test_starts(shards: Path, part: str) -> None:
    """A body starts at the mean; a hand or face at the mean or somewhere between it and the truth, its root turned."""
    spec, target = SPECS[part], load_data(shards, SPECS[part]).target
    truth, mean = _vector(target, spec), _vector(target, spec).mean(0)
    torch.manual_seed(0)
    start = _start(target, mean, spec)
    same = (start == mean).all(1)
    if part == "body":
        assert same.all()
        return
    assert 0.15 < same.float().mean() < 0.45
    kept = 6 * len(spec.pose_slots)
    for unknown in (slice(kept, kept + spec.num_betas), slice(-3, None)):
        torch.testing.assert_close(start[:, unknown], mean[unknown].expand(COUNT, -1))
    root = sixd_to_matrix(start[~same, :6])
    torch.testing.assert_close(start[~same, :6], root[..., :2].flatten(1), atol=1e-5, rtol=0)
    cosine = ((root * target.pose[~same, 0]).sum((-1, -2)) - 1) / 2
    angle = torch.rad2deg(torch.arccos(cosine.clamp(-1, 1)))
    assert 8 < angle.median() < 30 and angle.max() < 91
    share = (start - mean)[~same, 6:kept] / (truth - mean)[~same, 6:kept]
    low, high = torch.nanquantile(share, torch.tensor([0.1, 0.9]), dim=1)
    torch.testing.assert_close(low, high, atol=1e-2, rtol=0)
    assert (low > -1e-2).all() and (high < 1.01).all()


def test_rotations_about_axes() -> None:
    generator = torch.Generator().manual_seed(0)
    axis = torch.nn.functional.normalize(torch.randn(5, 3, generator=generator), dim=1)
    angle = torch.tensor([0.0, 0.3, 1.0, 2.0, 3.0])
    turn = _rotation(axis, angle)
    torch.testing.assert_close(turn @ turn.transpose(-1, -2), torch.eye(3).expand(5, 3, 3), atol=1e-6, rtol=0)
    torch.testing.assert_close((turn @ axis[..., None])[..., 0], axis, atol=1e-6, rtol=0)
    torch.testing.assert_close(turn.diagonal(dim1=-2, dim2=-1).sum(-1), 1 + 2 * torch.cos(angle))


@PARTS
def test_importance(part: str) -> None:
    weight = importance(SPECS[part])
    assert weight.shape == (len(SPECS[part].keypoints),) and (weight > 0).all()
    assert (weight == 1.0).sum() == {"body": 36, "hand": 21, "face": 68}[part]


def test_evidence_is_kept_by_training(shards: Path, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in shards.glob("*.evidence.npz")}
    train(config(shards, "hand", tmp_path / "hand.pt", epochs=1, feedback=False))
    assert {path: path.stat().st_mtime_ns for path in evidence_files(shards)} == before and len(before) == 3


def evidence_files(folder: Path) -> list[Path]:
    return [evidence.evidence_path(path) for part in SPECS for path in evidence.find_shards(folder, part)]
