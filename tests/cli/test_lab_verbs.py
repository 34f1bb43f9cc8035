"""The verbs of the lab: their options reach the functions they wrap, and what is missing is told."""

from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import pytest

from openexpose.cli import extras
from openexpose.cli.main import main
from openexpose.cli.train import Train


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Records the call instead of doing the work."""
    seen = SimpleNamespace()

    def record(target: str, result: object = None) -> None:
        def call(*args: object, **options: object) -> object:
            seen.args, seen.options = args, options
            return result

        monkeypatch.setattr(target, call)

    seen.record = record
    return seen


def test_every_training_option_has_the_meaning_and_default_of_the_trainer() -> None:
    from openexpose.training.heads import TrainConfig

    assert [(f.name, f.default) for f in fields(Train)] == [(f.name, f.default) for f in fields(TrainConfig)]


def test_train(calls, capsys) -> None:
    calls.record("openexpose.training.heads.train", {"points_mm": 80.0})
    assert main(["train", "--part", "hand", "--shards", "s", "--out", "hand.pt", "--epochs", "3"]) == 0
    (config,) = calls.args
    assert (config.part, config.shards, config.epochs, config.feedback) == ("hand", Path("s"), 3, True)
    assert "points_mm: 80" in capsys.readouterr().out


def test_bundle(calls) -> None:
    calls.record("openexpose.training.export.bundle")
    assert main(["bundle", "--weights", "w", "--out", "b", "--trunks", "t"]) == 0
    assert calls.args == (Path("w"), Path("b"))
    assert calls.options == {"name": "default", "trunks": Path("t")}


def test_synth(calls, capsys) -> None:
    calls.record("openexpose.synth.dataset.synth", iter([Path("a"), Path("b")]))
    assert main(["synth", "--preset", "hands", "--count", "20", "--shard-size", "10", "--out", "o", "--seed", "7"]) == 0
    job, out = calls.args
    assert (job.kind, job.count, job.shard_size, job.seed, out) == ("hands", 20, 10, 7, Path("o"))
    assert "20 pictures in 2 shards" in capsys.readouterr().out


def test_a_negative_seed_is_one_sentence(tmp_path: Path, capsys) -> None:
    assert main(["synth", "--preset", "body", "--count", "1", "--out", str(tmp_path), "--seed", "-1"]) == 2
    assert capsys.readouterr().err == "openexpose: seed -1; expected a seed of 0 or more\n"


def test_a_checkpoint_that_cannot_be_written_is_told_before_the_training(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr("openexpose.training.heads.cache_evidence", lambda *_, **__: 1 / 0)
    (tmp_path / "file").touch()
    for out in (tmp_path, tmp_path / "file" / "hand.pt"):
        assert main(["train", "--part", "hand", "--shards", str(tmp_path), "--out", str(out)]) == 2
        error = capsys.readouterr().err
        assert error.startswith("openexpose: ") and error.count("\n") == error.count("; expected ") == 1


def test_import_trunks(calls) -> None:
    pytest.importorskip("tflite", reason="the extra 'assets' is not installed")
    calls.record("openexpose.assets.trunks.import_trunks")
    assert main(["assets", "import-trunks", "--out", "o", "--body", "full"]) == 0
    assert calls.options == {"tarballs": None, "body": "full"}


@pytest.mark.parametrize(
    "words",
    [
        ["train", "--part", "face", "--shards", "s", "--out", "o"],
        ["bundle", "--weights", "w", "--out", "o"],
        ["synth", "--preset", "body", "--count", "1", "--out", "o"],
        ["assets", "bake-body", "--out", "o"],
        ["assets", "import-trunks", "--out", "o"],
    ],
)
def test_a_runtime_installation_says_what_to_install(words: list[str], monkeypatch, capsys) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "pip install 'openexpose[" in error
