"""The engine's laws: an interruption changes nothing, bad samples do no harm, the files tell the truth."""

import csv
import importlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

from openexpose.errors import InputError
from openexpose.training.engine import MAX_BAD_STEPS, EngineConfig, run
from openexpose.training.prefetch import prefetch, to_device
from openexpose.training.processes import Processes
from openexpose.training.run_files import Checkpoints, Table

sys.path.insert(0, str(Path(__file__).parent))
toy = importlib.import_module("toy_task")
Options, ToyTask = toy.Options, toy.ToyTask
STEPS = 7


def settings(folder: Path, **changes: Any) -> EngineConfig:
    return EngineConfig(
        **{"steps": STEPS, "out": folder, "log_every": 1, "validate_every": 2, "sheet_every": 4} | changes
    )


def rows(path: Path) -> list[dict[str, str]]:
    """A table without its times."""
    with path.open(newline="") as file:
        return [{name: text for name, text in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return one == other


def assert_same_run(one: Path, other: Path, *, finished: bool = True) -> None:
    """Two run folders hold the same training, bit for bit."""
    states = [vars(Checkpoints(folder / "checkpoints").load()[0]) | {"seconds": 0} for folder in (one, other)]
    for name in states[0]:
        assert equal(states[0][name], states[1][name]), name
    assert rows(one / "log.csv") == rows(other / "log.csv")
    assert rows(one / "validation.csv") == rows(other / "validation.csv")
    assert [row["step"] for row in rows(one / "log.csv")] == [str(k + 1) for k in range(states[0]["step"])]
    if finished:
        assert equal(torch.load(one / "final.pt"), torch.load(other / "final.pt"))


def interrupt(options: Any, config: EngineConfig, step: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(ToyTask(replace(options, term_at=step)), config)
    state, _ = Checkpoints(config.out / "checkpoints").load()
    assert state is not None and state.step == step + 1  # the step was finished


@pytest.mark.parametrize("precision", ["float32", "float16"])
@pytest.mark.parametrize("workers", [0, 2])
def test_an_interruption_at_any_step_changes_nothing(tmp_path: Path, workers: int, precision: str) -> None:
    options = Options(dropout=0.5, norm=True, problems=True, bad_steps=(4,))
    step = int(np.random.default_rng((workers, len(precision))).integers(STEPS - 1))
    whole = settings(tmp_path / "whole", precision=precision, clip_norm=0.5)
    parts = replace(whole, out=tmp_path / "parts", workers=workers)
    expected = run(ToyTask(options), whole)
    interrupt(options, parts, step)
    assert run(ToyTask(options), parts) == expected
    assert_same_run(whole.out, parts.out)
    state, _ = Checkpoints(whole.out / "checkpoints").load()
    assert state is not None and 1 <= state.skipped <= 4
    assert (whole.out / "problems.log").read_text() == (parts.out / "problems.log").read_text()
    again = run(ToyTask(options), parts)  # there is nothing left to do
    assert again == expected
    assert_same_run(whole.out, parts.out)


def test_dropout_differs_between_steps_and_seeds(tmp_path: Path) -> None:
    """Else the law above would say little."""
    for seed in (0, 1):
        run(ToyTask(Options(dropout=0.5)), settings(tmp_path / str(seed), seed=seed, steps=2))
    assert rows(tmp_path / "0" / "log.csv")[0] != rows(tmp_path / "1" / "log.csv")[0]


def test_a_process_that_is_told_to_stop_goes_on_as_another(tmp_path: Path) -> None:
    whole, parts = settings(tmp_path / "whole"), settings(tmp_path / "parts", workers=2)
    run(ToyTask(Options(dropout=0.5)), whole)
    options = json.dumps({"dropout": 0.5, "term_all_at": 4})
    given = json.dumps({"steps": STEPS, "log_every": 1, "validate_every": 2, "sheet_every": 4, "workers": 2})
    command = [sys.executable, toy.__file__, str(parts.out), options, given]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    assert subprocess.run(command, timeout=60, env=environment, start_new_session=True).returncode == 130
    run(ToyTask(Options(dropout=0.5)), parts)
    assert_same_run(whole.out, parts.out)


@pytest.mark.parametrize("damage", ["flipped", "cut", "deleted"])
def test_a_crash_and_a_damaged_checkpoint_change_nothing(
    tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, parts = settings(tmp_path / "whole"), settings(tmp_path / "parts", save_minutes=0.0)
    run(ToyTask(Options(dropout=0.3)), whole)
    with pytest.raises(RuntimeError, match="power failure"):
        run(ToyTask(Options(dropout=0.3, crash_at=5)), parts)
    saved = sorted((parts.out / "checkpoints").iterdir())
    assert [path.name for path in saved] == ["step_00000004.pt", "step_00000005.pt"]
    content = bytearray(saved[-1].read_bytes())
    content[content.find(b"data/0") + 100] ^= 16
    if damage == "deleted":
        saved[-1].unlink()
    else:
        saved[-1].write_bytes(content if damage == "flipped" else content[: len(content) // 2])
    assert rows(parts.out / "log.csv")[-1]["step"] == "5"  # beyond the checkpoint that is left
    capsys.readouterr()
    run(ToyTask(Options(dropout=0.3)), parts)
    printed = capsys.readouterr().out
    assert "going on from step 4 of 7" in printed
    assert ("step_00000005.pt' is damaged" in printed) == (damage != "deleted")
    assert_same_run(whole.out, parts.out)


def test_no_whole_checkpoint_is_no_fresh_start(tmp_path: Path) -> None:
    run(ToyTask(Options()), settings(tmp_path))
    for path in (tmp_path / "checkpoints").iterdir():
        path.write_bytes(b"PK")
    with pytest.raises(InputError, match="no checkpoint loads"):
        run(ToyTask(Options()), settings(tmp_path))


def test_another_configuration_is_refused(tmp_path: Path) -> None:
    identity = {"data": "hands", "hidden": "8"}
    run(ToyTask(Options()), settings(tmp_path, steps=2, identity=identity))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for options, changes, name in [
        (Options(), {"seed": 1}, "seed"),
        (Options(), {"identity": {"data": "others", "hidden": "8"}}, "data"),
        (Options(), {"identity": {}}, "data, hidden"),
        (Options(), {"identity": {"data": "hands", "hidden": "8", "weights": "w"}}, "weights"),
        (Options(), {"clip_norm": 1.0}, "clip_norm"),
        (Options(rate=0.1), {}, "optimiser, schedule"),
        (Options(adam=False), {}, "optimiser"),
        (Options(norm=True), {}, "network"),
    ]:
        with pytest.raises(InputError, match=rf"another configuration \({name}\)"):
            run(ToyTask(options), settings(tmp_path, **{"identity": identity} | changes))
    with pytest.raises(InputError, match="holds 2 steps"):
        run(ToyTask(Options()), settings(tmp_path, steps=1, identity=identity))
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


@pytest.mark.parametrize("what", ["loss", "gradient"])
@pytest.mark.parametrize("adam", [False, True])
def test_a_step_that_is_not_finite_leaves_everything_as_it_was(tmp_path: Path, adam: bool, what: str) -> None:
    options = Options(adam=adam, norm=True)
    bad = {"bad_steps" if what == "loss" else "bad_gradients": (2,)}
    run(ToyTask(options), settings(tmp_path / "short", steps=2))
    run(ToyTask(replace(options, **bad)), settings(tmp_path / "long", steps=3))
    short, long = (Checkpoints(tmp_path / name / "checkpoints").load()[0] for name in ("short", "long"))
    assert equal(short.module, long.module)  # running statistics, too
    assert equal(short.optimiser["state"], long.optimiser["state"])
    assert (short.skipped, long.skipped) == (0, 1)
    named = (tmp_path / "long" / "problems.log").read_text()
    assert named.startswith(f"step 3: skipped, {what} not finite") and "sample-2-5" in named
    assert (rows(tmp_path / "long" / "log.csv")[-1]["loss"] == "nan") == (what == "loss")


def test_too_many_bad_steps_in_a_row_end_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    allowed = tuple(range(1, 1 + MAX_BAD_STEPS)) + (2 + MAX_BAD_STEPS,)
    run(ToyTask(Options(bad_steps=allowed)), settings(tmp_path / "a", steps=MAX_BAD_STEPS + 4))
    assert f"{MAX_BAD_STEPS + 1} skipped" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"21 steps in a row .* sample-1-0, sample-1-1"):
        run(
            ToyTask(Options(bad_steps=tuple(range(1, 2 + MAX_BAD_STEPS)))),
            settings(tmp_path / "b", steps=40, sheet_every=99),
        )


def test_problems_are_counted_and_named_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(ToyTask(Options(problems=True)), settings(tmp_path, log_every=3))
    assert (tmp_path / "problems.log").read_text() == "picture 0-0 is broken\npicture 0-1 is broken\n"
    printed = capsys.readouterr().out
    assert f"{STEPS} problems of samples" in printed and "problems.log" in printed
    assert "images/s" in printed
    assert [row["step"] for row in rows(tmp_path / "log.csv")] == ["3", "6"]


def test_values_are_totals_over_counts_and_the_norm_is_clipped(tmp_path: Path) -> None:
    options, task = Options(adam=False), ToyTask(Options(adam=False))
    batch = task.batch(0, 0, 1)
    before = torch.nn.utils.parameters_to_vector(task.module.parameters()).detach().clone()
    expected = {name: float((term.total / term.count).detach()) for name, term in task.module(batch).items()}
    run(task, settings(tmp_path, steps=1, clip_norm=0.01))
    row = rows(tmp_path / "log.csv")[0]
    assert {name: float(row[name]) for name in expected} == pytest.approx(expected)
    assert float(row["loss"]) == pytest.approx(sum(expected.values()))
    assert float(row["rate"]) == options.rate
    moved = (torch.nn.utils.parameters_to_vector(task.module.parameters()) - before).norm().detach()
    assert float(moved) == pytest.approx(0.01 * options.rate, rel=1e-3)


def test_a_term_without_samples_is_nothing() -> None:
    weight = torch.ones((), requires_grad=True)
    loss, values = Processes().loss({"none": toy.Term(weight * 0.0, torch.zeros(()))})
    loss.backward()
    assert values == {"none": 0.0} and weight.grad == 0.0


def test_pictures_and_tensorboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    run(ToyTask(Options()), settings(tmp_path / "with", sheet_every=3))
    sheets = sorted((tmp_path / "with" / "sheets").iterdir())
    assert [path.name for path in sheets] == ["step_000003.png", "step_000006.png"]
    assert np.array_equal(np.asarray(Image.open(sheets[0])), ToyTask(Options()).sheet())
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    capsys.readouterr()
    run(ToyTask(Options()), settings(tmp_path / "without"))
    assert capsys.readouterr().out.count("no TensorBoard") == 1
    assert not (tmp_path / "without" / "tensorboard").exists()
    assert rows(tmp_path / "with" / "log.csv") == rows(tmp_path / "without" / "log.csv")


def test_tensorboard_has_the_numbers(tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    interrupt(Options(), settings(tmp_path), 3)
    run(ToyTask(Options()), settings(tmp_path))
    accumulator = events.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    found = {event.step: event.value for event in accumulator.Scalars("train/loss")}
    assert found == {int(row["step"]): pytest.approx(float(row["loss"])) for row in rows(tmp_path / "log.csv")}


@pytest.mark.parametrize("workers", [0, 2])
def test_a_task_that_refuses_is_told_in_one_line(tmp_path: Path, workers: int) -> None:
    with pytest.raises(InputError, match=r"^no pictures; expected pictures\. Get some$"):
        run(ToyTask(Options(refuse_at=2)), settings(tmp_path, workers=workers))


def test_batches_come_in_order_whatever_the_workers_do() -> None:
    with prefetch(lambda step: {"step": step}, 3, 40, 2) as batches:
        assert [batch["step"] for batch in batches] == list(range(3, 40))


def test_impossible_settings_are_refused(tmp_path: Path) -> None:
    wrong = [{"steps": 0}, {"device": "abacus"}, {"precision": "float8"}, {"log_every": 0}, {"workers": -1}]
    for changes in [*wrong, {"clip_norm": 0.0}, {"seed": -1}]:
        with pytest.raises(InputError):
            run(ToyTask(Options()), settings(tmp_path, **changes))
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        run(ToyTask(Options()), settings(tmp_path / "file"))


def test_tables_grow_columns_and_forget_what_is_done_again(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    table = Table(path, 0)
    for step in range(1, 5):
        table.add(step, {"loss": step / 3})
    table.add(5, {"loss": 1.0, "hands": 2.0})
    table.add(5, {"loss": 9.0})
    assert rows(path)[3:] == [
        {"step": "4", "loss": repr(4 / 3), "hands": ""},
        {"step": "5", "loss": "1.0", "hands": "2.0"},
    ]
    path.write_text(path.read_text() + "6,0.")  # a crash while writing
    assert Table(path, 6) and [row["step"] for row in rows(path)] == list("12345")
    Table(path, 3).add(4, {"loss": 7.0})
    assert [row["loss"] for row in rows(path)] == [repr(1 / 3), repr(2 / 3), "1.0", "7.0"]
    Table(path, 0).add(1, {"other": 1.0})
    assert rows(path) == [{"step": "1", "other": "1.0"}]


class Pair(NamedTuple):
    one: Any
    two: Any


def test_to_device_moves_tensors_and_nothing_else() -> None:
    batch = ToyTask(Options()).batch(0, 0, 1)
    tree = {
        "batch": batch,
        "pair": Pair(torch.ones(2), "text"),
        "list": [torch.ones(1), None],
        "tuple": (3, torch.ones(1)),
    }
    moved = to_device(tree, "meta")
    assert moved["batch"].inputs.is_meta and moved["batch"].names == batch.names and type(moved["batch"]) is type(batch)
    assert isinstance(moved["pair"], Pair) and moved["pair"].one.is_meta and moved["pair"].two == "text"
    assert moved["list"][0].is_meta and moved["list"][1] is None
    assert moved["tuple"][0] == 3 and moved["tuple"][1].is_meta
