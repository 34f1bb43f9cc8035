"""Options of a training: those of other recipes and stages are refused; all that matters is identity."""

from dataclasses import fields
from pathlib import Path

import pytest

from openexpose.errors import InputError
from openexpose.training.recipes import STAGES, DataSet, TrainConfig, _check_scopes, _completed, _identity, train

PARTS = ("body", "hand", "face")
GIVEN: dict[str, tuple[object, str, set[tuple[str, str]]]] = {
    "hidden": (64, "--hidden", {("default", part) for part in PARTS}),
    "feedback": (False, "--no-feedback", {("default", part) for part in PARTS}),
    "held_out": (0.5, "--held-out", {("default", part) for part in PARTS}),
    "tune": (True, "--tune", {("default", part) for part in PARTS}),
    "tune_rate": (1e-3, "--tune-rate", {("default", part) for part in PARTS}),
    "trunk": ("full", "--trunk", {("default", "body"), *(("paper", part) for part in PARTS)}),
    "trunk_weights": (Path("t"), "--trunk-weights", {("paper", part) for part in PARTS}),
    "body_model": (Path("b"), "--body-model", {("paper", stage) for stage in STAGES}),
    "freeze_body": (True, "--freeze-body", {("default", "joint"), ("paper", "joint")}),
    "detach_crops": (True, "--detach-crops", {("default", "joint"), ("paper", "joint")}),
    "part_batch": (0, "--part-batch", {("default", "joint"), ("paper", "joint")}),
    "augment": (False, "--no-augment", {("default", "joint"), *(("paper", stage) for stage in STAGES)}),
    "weights": (Path("w"), "--weights", {(recipe, stage) for recipe in ("default", "paper") for stage in STAGES}),
}


def config(recipe: str = "paper", stage: str = "hand", **options: object) -> TrainConfig:
    return TrainConfig(stage, (DataSet("synthetic", Path("s")),), Path("out"), recipe=recipe, **options)


@pytest.mark.parametrize("recipe", ["default", "paper"])
@pytest.mark.parametrize("stage", STAGES)
def test_options_of_others_are_refused(recipe: str, stage: str) -> None:
    for option, (value, flag, allowed) in GIVEN.items():
        chosen = config(recipe, stage, **{option: value})
        if (recipe, stage) in allowed:
            _check_scopes(chosen)
            continue
        with pytest.raises(InputError, match=rf"{flag} with the recipe '{recipe}', stage '{stage}'; expected {flag} f"):
            _check_scopes(chosen)


def test_several_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        train(config("default", trunk="resnet18", trunk_weights=Path("t"), body_model=Path("b")))
    told = "--trunk for one part of the recipe 'paper' or the body only; --trunk-weights for one part of the recipe "
    told += "'paper' only; --body-model for the recipe 'paper' only"
    assert error.value.expected == told


def test_numbers_that_cannot_be() -> None:
    for options, told in [
        ({"stage": "joint", "weights": Path("w"), "part_batch": -1}, "--part-batch -1"),
        ({"batch": 0}, "--batch 0"),
        ({"rate": float("nan")}, "--rate nan"),
        ({"steps": 0}, "--steps 0"),
        ({"recipe": "default", "stage": "body", "trunk": "heavy"}, "--trunk heavy"),
        ({"recipe": "default", "tune_rate": 1e-4}, "--tune-rate without --tune"),
        ({"recipe": "default", "tune": True, "tune_rate": 0.0}, "--tune-rate 0"),
    ]:
        with pytest.raises(InputError, match=told):
            _completed(config(**options))
    assert _completed(config(stage="joint", weights=Path("w"), part_batch=0)).part_batch == 0


def test_what_a_run_is_made_of_is_its_identity() -> None:
    """Other data, starts and bodies are another training; longer, elsewhere, more often written is the same one."""
    base = _identity(config())
    for option in ("weights", "trunk_weights", "body_model"):
        assert base[option] == "None" and _identity(config(**{option: Path("x")}))[option] == "x"
    assert base["data"] == "synthetic=s"
    free = {field.name for field in fields(TrainConfig)} - set(base)
    assert {"steps", "epochs", "out", "device", "workers"} <= free and not free & {"batch", "rate", "recipe", "stage"}
    assert _identity(config(steps=9, threads=4, workers=3)) == base


def test_tuning_has_defaults_of_its_own() -> None:
    plain, tuned = (_completed(config("default", tune=tune)) for tune in (False, True))
    assert (plain.batch, plain.rate, plain.tune_rate, plain.epochs) == (256, 1.5e-3, None, 40)
    assert (tuned.batch, tuned.rate, tuned.tune_rate, tuned.epochs) == (64, 1e-3, 1.5e-4, 8)
    given = _completed(config("default", tune=True, batch=32, tune_rate=1e-3))
    assert (given.batch, given.tune_rate) == (32, 1e-3)
    assert _identity(plain)["tune"] == "False" and _identity(given)["tune_rate"] == "0.001"
