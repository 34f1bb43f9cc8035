"""The default recipe's training: it learns what its evidence tells, repeats itself, goes on after an interruption as
if there had been none, writes what it has learnt, and tells what is missing."""

import csv
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from openexpose.body.model import load_body_model
from openexpose.errors import InputError
from openexpose.nets.body_layer import BodyLayer
from openexpose.nets.checkpoint import load_regressor
from openexpose.predict.parts import SPECS
from openexpose.training import evidence, heads
from openexpose.training.head_errors import importance, part_errors, skin_motion
from openexpose.training.heads import HeadTask, _vector, head_task
from openexpose.training.recipes import DataSet, TrainConfig, train
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
    return TrainConfig(part, (DataSet("synthetic", shards),), out, **options)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def state(folder: Path, part: str = "hand") -> dict[str, torch.Tensor]:
    return load_regressor(folder / f"{part}.pt")[0].state_dict()


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(("part", "feedback"), [("body", False), ("hand", True), ("face", True)])
def test_training_learns_and_writes_what_it_has_learnt(shards: Path, tmp_path: Path, part: str, feedback: bool) -> None:
    options = {"epochs": 24, "log_every": 1, "validate_every": 12}
    scores = train(config(shards, part, tmp_path, feedback=feedback, **options))
    losses = [float(row["loss"]) for row in rows(tmp_path / "log.csv")]
    assert np.mean(losses[-4:]) < 0.75 * losses[0]
    held_out = rows(tmp_path / "validation.csv")
    assert len(held_out) == 5 and float(held_out[-1]["loss"]) == scores["loss"] < float(held_out[0]["loss"])
    assert scores["mpjpe_mm"] < scores["mean_pose_mpjpe_mm"] and scores["n"] == HELD

    regressor, provenance = load_regressor(tmp_path / f"{part}.pt", part=part)
    data = load_data([shards], SPECS[part]).rows(torch.arange(HELD))
    model = load_body_model(num_betas=10, num_expression=20)
    skin, answer = skin_motion(model, SPECS[part]), regressor(data.seen)[-1]
    again = part_errors(answer, regressor.mean, data.target, SPECS[part], BodyLayer(model), skin)
    assert again == pytest.approx({name: scores[name] for name in again}, rel=1e-5)
    assert provenance["samples"] == str(COUNT - HELD) and f"{scores['mpjpe_mm']:.3f}" == provenance["mpjpe_mm"]
    assert "epochs" in provenance["recipe"]


def test_the_loss_on_held_out_samples_falls(make_shard, make_evidence, tmp_path: Path) -> None:
    """Landmarks tell the hand that made them: what is learnt from some holds for others."""
    make_evidence(make_shard(tmp_path, "hand", 160), "hand")
    out = tmp_path / "out"
    options = {"epochs": None, "steps": 200, "batch": 16, "held_out": 0.2, "validate_every": 20, "feedback": False}
    train(config(tmp_path, "hand", out, **options))
    losses = [float(row["loss"]) for row in rows(out / "validation.csv")]
    assert len(losses) == 11 and losses[-1] < 0.8 * losses[0] and losses[-1] < losses[4]


@pytest.mark.parametrize(("part", "workers"), [("hand", 0), ("face", 1)])
def test_an_interrupted_training_ends_with_the_same_bits(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str, workers: int
) -> None:
    options = {"epochs": None, "steps": 6, "workers": workers}
    train(config(shards, part, tmp_path / "whole", **options))
    make = HeadTask.batch

    def interrupted(self: HeadTask, step: int, rank: int, ranks: int) -> object:
        if step == 3:
            raise InputError("a power cut", "electricity")
        return make(self, step, rank, ranks)

    with monkeypatch.context() as patch, pytest.raises(InputError, match="power cut"):
        patch.setattr(HeadTask, "batch", interrupted)
        train(config(shards, part, tmp_path / "cut", **options, save_minutes=0.0))
    assert not (tmp_path / "cut" / f"{part}.pt").exists()
    train(config(shards, part, tmp_path / "cut", **options))
    assert same(state(tmp_path / "whole", part), state(tmp_path / "cut", part))


def test_a_run_folder_of_another_training_is_refused(shards: Path, tmp_path: Path) -> None:
    train(config(shards, "hand", tmp_path, epochs=1))
    with pytest.raises(InputError, match=r"another configuration \(batch"):
        train(config(shards, "hand", tmp_path, epochs=1, batch=12))
    both = (DataSet("synthetic", shards),) * 2
    with pytest.raises(InputError, match=r"another configuration \(data,"):
        train(replace(config(shards, "hand", tmp_path, epochs=1), data=both))


def test_batches_are_functions_of_the_step_and_cover_every_epoch(shards: Path, tmp_path: Path) -> None:
    task, steps = head_task(config(shards, "hand", tmp_path, batch=20, epochs=3))
    assert isinstance(task, HeadTask) and steps == 3 * ((COUNT - HELD) // 20)
    first = task.batch(0, 0, 1).names + task.batch(1, 0, 1).names
    second = task.batch(2, 0, 1).names + task.batch(3, 0, 1).names
    assert len(set(first)) == len(set(second)) == 40 and first != second
    assert task.batch(1, 0, 1).names == first[20:]
    shared = [name for rank in range(4) for name in task.batch(1, rank, 4).names]
    assert shared == first[20:], "processes share the batch of one"
    with pytest.raises(InputError, match="a multiple of 3"):
        task.batch(0, 0, 3)


def test_the_same_seed_trains_the_same_weights(shards: Path, tmp_path: Path) -> None:
    states = []
    for k, seed in enumerate((3, 3, 4)):
        train(config(shards, "hand", tmp_path / str(k), epochs=1, seed=seed, feedback=False))
        states.append(state(tmp_path / str(k)))
    assert same(states[0], states[1]) and not same(states[0], states[2])


def test_statistics_come_from_the_training_samples_alone(shards: Path, tmp_path: Path) -> None:
    train(config(shards, "hand", tmp_path, epochs=1, feedback=False))
    regressor, _ = load_regressor(tmp_path / "hand.pt")
    training = load_data([shards], SPECS["hand"]).rows(torch.arange(HELD, COUNT))
    torch.testing.assert_close(regressor.mean, _vector(training.target, SPECS["hand"]).mean(0))
    raw = regressor.evidence.raw(training.seen)
    torch.testing.assert_close(regressor.evidence.mean, raw.mean(0))


def test_hands_that_the_trunk_does_not_see_teach_nothing(make_shard, make_evidence, tmp_path: Path) -> None:
    path = make_evidence(make_shard(tmp_path, "hand", 40), "hand")
    with np.load(path) as content:
        arrays = dict(content)
    arrays["presence"][:12] = 0.0
    np.savez(path, **arrays)
    train(config(tmp_path, "hand", tmp_path / "out", epochs=1, batch=8, held_out=0.25, feedback=False))
    assert load_regressor(tmp_path / "out" / "hand.pt")[1]["samples"] == "21"


def test_training_starts_from_given_weights(shards: Path, tmp_path: Path) -> None:
    train(config(shards, "hand", tmp_path / "hand", epochs=1))
    for weights in (tmp_path, tmp_path / "hand"):
        task, _ = head_task(config(shards, "hand", tmp_path / "more", weights=weights))
        assert isinstance(task, HeadTask) and same(task.module.regressor.state_dict(), state(tmp_path / "hand"))
    with pytest.raises(InputError, match=r"another form.*with feedback, 32 wide"):
        head_task(config(shards, "hand", tmp_path / "more", weights=tmp_path, hidden=32))
    with pytest.raises(InputError, match=r"without face\.pt"):
        head_task(config(shards, "face", tmp_path / "more", weights=tmp_path))


def test_a_sheet_shows_truth_and_answer(shards: Path, tmp_path: Path) -> None:
    task, _ = head_task(config(shards, "hand", tmp_path))
    with torch.no_grad():
        task.module.eval()
        picture = task.sheet()
    assert picture is not None and picture.shape == (2 * 192, 6 * 192, 3) and picture.dtype == np.uint8
    for colour in ((0, 255, 0), (255, 60, 60)):
        assert (picture == colour).all(-1).sum() > 100


def test_what_is_missing_is_told(shards: Path, tmp_path: Path) -> None:
    out = tmp_path / "x"
    with pytest.raises(InputError, match="without hands shards"):
        train(config(tmp_path, "hand", out))
    with pytest.raises(InputError, match=r"72 samples.*more than 49"):
        train(config(shards, "hand", out, batch=49))
    with pytest.raises(InputError, match=r"the stage 'foot'"):
        train(config(shards, "foot", out))
    for option in ("epochs", "batch"):
        with pytest.raises(InputError, match="positive"):
            train(config(shards, "hand", out, **{option: 0}))
    with pytest.raises(InputError, match=r"the data set freihand.*rendered shards"):
        train(TrainConfig("hand", (DataSet("synthetic", shards), DataSet("freihand", shards)), out))
    with pytest.raises(InputError, match="--held-out 1"):
        train(config(shards, "hand", out, held_out=1.0))
    assert not (out / "hand.pt").exists()


def test_a_folder_that_cannot_be_written_is_told_before_the_work(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heads, "cache_evidence", lambda *_, **__: 1 / 0)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written to"):
        train(config(shards, "hand", tmp_path / "file"))


def test_other_processes_leave_the_evidence_to_the_first(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heads, "cache_evidence", lambda *_, **__: 1 / 0)
    monkeypatch.setitem(os.environ, "RANK", "1")
    task, _ = head_task(config(shards, "hand", tmp_path))
    assert len(task.batch(0, 1, 2).names) == 12


@pytest.mark.parametrize("epochs", [1, 10])
def test_trainings_of_few_steps(shards: Path, tmp_path: Path, epochs: int) -> None:
    batch = COUNT - HELD
    train(config(shards, "hand", tmp_path, epochs=epochs, batch=batch, hidden=8, feedback=False))
    assert (tmp_path / "hand.pt").is_file()


def test_something_is_always_held_out(shards: Path, tmp_path: Path) -> None:
    scores = train(config(shards, "hand", tmp_path, epochs=1, held_out=0.0, feedback=False))
    assert scores["n"] == 2 and all(np.isfinite(value) for value in scores.values())


@PARTS
def test_the_loss_starts_at_the_mean_whatever_the_truth(shards: Path, part: str, tmp_path: Path) -> None:
    """A start that tells of the truth, as no body network's estimate does, would be believed in prediction, too."""
    task, _ = head_task(config(shards, part, tmp_path))
    starts: list[object] = []
    task.module.regressor.register_forward_pre_hook(lambda _, given: starts.append(given[1]))
    task.module.train()
    task.module(task.batch(0, 0, 1))
    assert starts == [None]


@PARTS
def test_importance(part: str) -> None:
    weight = importance(SPECS[part])
    assert weight.shape == (len(SPECS[part].keypoints),) and (weight > 0).all()
    assert (weight == 1.0).sum() == {"body": 36, "hand": 21, "face": 68}[part]


def test_evidence_is_kept_by_training(shards: Path, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in shards.glob("*.evidence.npz")}
    train(config(shards, "hand", tmp_path, epochs=1, feedback=False))
    assert {path: path.stat().st_mtime_ns for path in evidence_files(shards)} == before and len(before) == 3


def evidence_files(folder: Path) -> list[Path]:
    return [evidence.evidence_path(path) for part in SPECS for path in evidence.find_shards(folder, part)]
