"""The verbs of the lab: their options reach the functions they wrap, and what is missing is told."""

import subprocess
import sys
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
    from openexpose.training.recipes import TrainConfig

    assert [(f.name, f.default) for f in fields(Train)] == [(f.name, f.default) for f in fields(TrainConfig)]


def test_train(calls, capsys) -> None:
    calls.record("openexpose.training.recipes.train", {"points_mm": 80.0})
    assert main(["train", "hand", "--data", "s", "--out", "run", "--epochs", "3"]) == 0
    (config,) = calls.args
    assert (config.stage, config.out, config.epochs, config.feedback) == ("hand", Path("run"), 3, True)
    assert [(d.name, d.folder) for d in config.data] == [("synthetic", Path("s"))]
    assert "points_mm: 80" in capsys.readouterr().out


def test_train_words(calls) -> None:
    calls.record("openexpose.training.recipes.train", {})
    words = ["train", "joint", "--recipe", "paper", "--data", "a", "h36m=b=c", "--data", "freihand=d", "--out", "run"]
    words += ["--weights", "w", "--freeze-body", "--detach-crops", "--no-augment", "--no-feedback", "--steps", "9"]
    words += ["--part-batch", "4", "--rate", "1e-3", "--precision", "bfloat16", "--device", "cuda"]
    assert main(words) == 0
    (config,) = calls.args
    assert [(d.name, str(d.folder)) for d in config.data] == [("synthetic", "a"), ("h36m", "b=c"), ("freihand", "d")]
    assert (config.stage, config.recipe, config.weights, config.steps) == ("joint", "paper", Path("w"), 9)
    assert (config.freeze_body, config.detach_crops, config.augment, config.feedback) == (True, True, False, False)
    assert (config.part_batch, config.rate, config.precision, config.device) == (4, 1e-3, "bfloat16", "cuda")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["hand", "--data", "imagenet=s"], "the data set 'imagenet' in 'imagenet=s'; expected one of coco"),
        (["hand"], "no data to train on"),
        (["hand", "--data", "nowhere"], "'nowhere' without hands shards; expected a folder made by `openexpose synth`"),
        (["hand", "--data", "s", "coco=c"], "the data set coco; expected for the default recipe rendered shards"),
        (["hand", "--data", "s", "--batch", "0"], "--batch 0; expected a positive number"),
        (["joint", "--data", "s"], "the joint stage without --weights"),
    ],
)
def test_what_cannot_be_trained_is_one_sentence(words: list[str], told: str, tmp_path: Path, capsys) -> None:
    assert main(["train", *words, "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"openexpose: {told}") and error.count("\n") == 1


def test_an_unknown_stage_is_told(capsys) -> None:
    with pytest.raises(SystemExit) as refusal:
        main(["train", "foot", "--data", "s", "--out", "o"])
    assert refusal.value.code == 2 and "foot" in capsys.readouterr().err


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from openexpose.cli.main import main\n"
        "try: main([sys.argv[1], '--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('torch', 'cv2', 'scipy', 'numba', 'onnx', 'onnxruntime') if m in sys.modules])"
    )
    for verb in ("train", "bundle"):
        done = subprocess.run([sys.executable, "-c", code, verb], capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == "[]"


def test_bundle(calls) -> None:
    calls.record("openexpose.training.export.bundle")
    assert main(["bundle", "--weights", "w", "--out", "b", "--trunks", "t"]) == 0
    assert calls.args == (Path("w"), Path("b"))
    assert calls.options == {"name": None, "trunks": Path("t"), "body_model": None}


def test_a_negative_seed_is_one_sentence(tmp_path: Path, capsys) -> None:
    assert main(["synth", "--preset", "body", "--count", "1", "--out", str(tmp_path), "--seed", "-1"]) == 2
    assert capsys.readouterr().err == "openexpose: seed -1; expected a seed of 0 or more\n"


def test_import_trunks(calls) -> None:
    pytest.importorskip("tflite", reason="the extra 'assets' is not installed")
    calls.record("openexpose.assets.trunks.import_trunks")
    assert main(["assets", "import-trunks", "--out", "o", "--body", "full"]) == 0
    assert calls.options == {"tarballs": None, "body": "full"}


@pytest.mark.parametrize(
    "words",
    [
        ["train", "face", "--data", "s", "--out", "o"],
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
