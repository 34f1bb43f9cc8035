"""Training by recipe: which stage, on which data, how, and the defaults of each recipe."""

from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from openexpose.data.check import READERS
from openexpose.errors import InputError
from openexpose.formats.atomic import check_writable
from openexpose.training.engine import EngineConfig, Task, run

Stage = Literal["body", "hand", "face", "joint"]
Recipe = Literal["default", "paper"]
STAGES: tuple[Stage, ...] = ("body", "hand", "face", "joint")


@dataclass(frozen=True)
class DataSet:
    """A data set to train on."""

    name: str
    """A name in :data:`openexpose.data.check.READERS`."""
    folder: Path

    @classmethod
    def parse(cls, text: str) -> "DataSet":
        """``NAME=FOLDER``; a folder alone holds rendered shards.

        Raises:
            InputError: no such data set.
        """
        name, equals, folder = text.partition("=")
        if not equals:
            return cls("synthetic", Path(text))
        if name not in READERS:
            raise InputError(f"the data set '{name}' in '{text}'", f"one of {', '.join(READERS)}")
        return cls(name, Path(folder))


@dataclass(frozen=True)
class TrainConfig:
    """One stage of training. None: the recipe's default, see :data:`DEFAULTS`."""

    stage: Stage
    """``body``, ``hand`` or ``face``: that network alone; ``joint``: all three, end to end through the attention."""
    data: tuple[DataSet, ...]
    """What to train on."""
    out: Path
    """Run folder: checkpoints, logs, pictures, at the end the weights ``{part}.pt``. An interrupted run goes on."""
    recipe: Recipe = "default"
    """``default``: frozen landmark trunks, regressors with residual feedback. ``paper``: trunks trained on the task."""
    weights: Path | None = None
    """Weights to start from: the run folder of an earlier stage, or a folder of those. ``joint`` needs all three."""
    trunk: str | None = None
    """Paper, one part: name of its trunk in :data:`openexpose.nets.paper.TRUNKS`. Default recipe, body: ``full``, the
    fast bundle's trunk; None: the default bundle's."""
    trunk_weights: Path | None = None
    """Paper, one part: file of an ImageNet classifier to start the trunk from."""
    body_model: Path | None = None
    """SMPL-X file of the labels; None: the free body."""
    epochs: int | None = None
    """Passes over the data; for ``joint`` over the pictures of bodies."""
    steps: int | None = None
    """Steps to do, instead of ``epochs``."""
    batch: int | None = None
    """Samples a step; for ``joint`` pictures of bodies."""
    part_batch: int | None = None
    """Joint: pictures of hands alone, and of faces alone, a step."""
    rate: float | None = None
    """Learning rate (paper: Adam, constant, a tenth at milestones; default: peak of one cycle of AdamW)."""
    augment: bool = True
    """Vary the pictures, and the start vectors of pictures of parts (paper recipe)."""
    feedback: bool = True
    """Default recipe: residual feedback; off gives the paper's plain regressor."""
    hidden: int = 512
    """Default recipe: width of the regressors."""
    tune: bool = False
    """Default recipe, one part: also train a branch beside the frozen trunk: of hands and faces a copy of its last
    stages, of bodies what reads joints off its map."""
    tune_rate: float | None = None
    """Learning rate of that branch (peak of the cycle)."""
    freeze_body: bool = False
    """Joint: leave the body network as it is, as in the released last stage."""
    detach_crops: bool = False
    """Joint: no gradients from the crops to the body network (ablation of the attention's end-to-end training)."""
    held_out: float = 0.08
    """Default recipe, one part: share of the samples kept for validation. Data sets with a ``val`` split use that."""
    seed: int = 0
    """Seed of everything random."""
    device: str = "cpu"
    """``cpu`` or ``cuda``."""
    threads: int = 1
    """Torch threads of each process."""
    workers: int = 0
    """Processes that make batches ahead."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Type that the networks compute in."""
    save_minutes: float = 5.0
    """A dead process loses at most this much work."""
    log_every: int | None = None
    """Steps from one row of numbers to the next."""
    validate_every: int | None = None
    """Steps from one validation, and one picture of predictions, to the next."""


@dataclass(frozen=True)
class Defaults:
    """What a recipe does where nothing else is asked for."""

    epochs: int
    batch: int
    part_batch: int
    rate: float
    log_every: int
    validate_every: int


DEFAULTS: dict[tuple[str, str], Defaults] = {
    ("default", "body"): Defaults(30, 256, 0, 1.5e-3, 50, 500),
    ("default", "hand"): Defaults(40, 256, 0, 1.5e-3, 50, 500),
    ("default", "face"): Defaults(40, 256, 0, 1.5e-3, 50, 500),
    ("default", "joint"): Defaults(2, 8, 0, 1e-4, 10, 100),
    ("paper", "body"): Defaults(100, 48, 0, 1e-4, 50, 2000),
    ("paper", "hand"): Defaults(100, 64, 0, 1e-4, 50, 2000),
    ("paper", "face"): Defaults(100, 64, 0, 1e-4, 50, 2000),
    ("paper", "joint"): Defaults(100, 48, 64, 1e-4, 50, 2000),
}
"""The paper's: Adam at 1e-4, batches of 48 bodies, 64 hands, 64 faces. How many epochs it took is not published."""

TUNED: dict[str, dict[str, float]] = {
    part: {"epochs": epochs, "batch": 64, "rate": 1e-3, "tune_rate": tune_rate}
    for part, epochs, tune_rate in (("body", 12, 1e-3), ("hand", 8, 1.5e-4), ("face", 25, 1.5e-4))
}
"""Defaults of the default recipe where a branch is trained. Of hands and faces it is a copy of the trunk's last stages,
which forgets what it knows at higher rates."""


def train(config: TrainConfig) -> dict[str, float]:
    """Train one stage, or go on with it; writes ``{part}.pt`` into the run folder at the end.

    Returns:
        The last validation.

    Raises:
        InputError: impossible settings, data or weights; and what :func:`openexpose.training.engine.run` raises.
    """
    config = _completed(config)
    check_writable(config.out)
    task, steps = _task(config)
    return run(task, _engine(config, steps, _identity(config)))


_NOT_IDENTITY = {
    *("out", "device", "threads", "workers", "save_minutes", "log_every", "validate_every", "steps", "epochs"),
    *("precision", "seed"),
}
"""What may change when a run goes on, or is checked by the engine itself."""


def _identity(config: TrainConfig) -> dict[str, str]:
    """What must be the same for a run to go on, by the names of the options; files and folders as they were given."""
    told = {f.name: str(getattr(config, f.name)) for f in fields(config) if f.name not in _NOT_IDENTITY}
    return told | {"data": ", ".join(f"{dataset.name}={dataset.folder}" for dataset in config.data)}


_PARTS = [stage for stage in STAGES if stage != "joint"]
_SCOPES: dict[str, set[tuple[str, str]]] = {
    "one part of the recipe 'default'": {("default", part) for part in _PARTS},
    "one part of the recipe 'paper'": {("paper", part) for part in _PARTS},
    "one part of the recipe 'paper' or the body": {("default", "body"), *(("paper", part) for part in _PARTS)},
    "the recipe 'paper'": {("paper", stage) for stage in STAGES},
    "the stage 'joint'": {("default", "joint"), ("paper", "joint")},
    "the recipe 'paper' or the stage 'joint'": {("default", "joint"), *(("paper", stage) for stage in STAGES)},
}
"""Recipes and stages, in words."""
_SCOPE_OF = {
    **dict.fromkeys(("hidden", "feedback", "held_out", "tune", "tune_rate"), "one part of the recipe 'default'"),
    "trunk": "one part of the recipe 'paper' or the body",
    "trunk_weights": "one part of the recipe 'paper'",
    "body_model": "the recipe 'paper'",
    **dict.fromkeys(("freeze_body", "detach_crops", "part_batch"), "the stage 'joint'"),
    "augment": "the recipe 'paper' or the stage 'joint'",
}
"""Options that some recipes and stages do not have -> those that do. The others have none but the default."""


def _check_scopes(config: TrainConfig) -> None:
    """See that no option is given that this recipe and stage would ignore."""
    wrong: dict[str, list[str]] = {}
    for option in fields(config):
        scope, value = _SCOPE_OF.get(option.name), getattr(config, option.name)
        if scope and value != option.default and (config.recipe, config.stage) not in _SCOPES[scope]:
            wrong.setdefault(scope, []).append(("--no-" if value is False else "--") + option.name.replace("_", "-"))
    if wrong:
        got = ", ".join(flag for flags in wrong.values() for flag in flags)
        expected = "; ".join(f"{', '.join(flags)} for {scope} only" for scope, flags in wrong.items())
        raise InputError(f"{got} with the recipe '{config.recipe}', stage '{config.stage}'", expected, "Leave it out.")


def _completed(config: TrainConfig) -> TrainConfig:
    """The configuration with the recipe's defaults filled in.

    Raises:
        InputError: there is no such stage or recipe, nothing to train on, a number is not positive, or an option
            is given that belongs to another recipe or stage.
    """
    key = (config.recipe, config.stage)
    if key not in DEFAULTS:
        raise InputError(f"the stage '{config.stage}' of the recipe '{config.recipe}'", f"one of {sorted(DEFAULTS)}")
    if not config.data:
        raise InputError("no data to train on", "at least one --data")
    defaults: dict[str, Any] = asdict(DEFAULTS[key])
    _check_scopes(config)
    if config.recipe == "default" and config.trunk not in (None, "full"):
        raise InputError(f"--trunk {config.trunk}", "--trunk full, the fast bundle's; or none, the default's")
    if config.tune:
        defaults |= TUNED[config.stage]
    elif config.tune_rate is not None:
        raise InputError("--tune-rate without --tune", "both", "Leave it out.")
    given = {name: value for name, value in defaults.items() if getattr(config, name) is None}
    config = replace(config, **given)
    positive = ("epochs", "batch", "rate", "log_every", "validate_every")
    for name in (*positive, "tune_rate") if config.tune else positive:
        if not getattr(config, name) > 0:
            raise InputError(f"--{name.replace('_', '-')} {getattr(config, name)}", "a positive number")
    if config.part_batch is not None and config.part_batch < 0:
        raise InputError(f"--part-batch {config.part_batch}", "0 or more")
    if config.steps is not None and config.steps < 1:
        raise InputError(f"--steps {config.steps}", "a positive number")
    if config.stage == "joint" and config.weights is None:
        fix = "Train body, hand and face first."
        raise InputError("the joint stage without --weights", "the folder of the three networks' weights", fix)
    return config


def _task(config: TrainConfig) -> tuple[Task, int]:
    """What is to be trained, and for how many steps."""
    if config.stage == "joint":
        from openexpose.training.joint import joint_task

        return joint_task(config)
    if config.recipe == "paper":
        from openexpose.training.part_task import part_task

        return part_task(config)
    from openexpose.training.heads import head_task

    return head_task(config)


def _engine(config: TrainConfig, steps: int, identity: dict[str, str]) -> EngineConfig:
    log_every, validate_every = config.log_every or 50, config.validate_every or 1000
    return EngineConfig(
        steps=steps,
        out=config.out,
        identity=identity,
        seed=config.seed,
        device=config.device,
        threads=config.threads,
        workers=config.workers,
        precision=config.precision,
        log_every=min(log_every, steps),
        validate_every=min(validate_every, steps),
        sheet_every=min(validate_every, steps),
        save_minutes=config.save_minutes,
        clip_norm=1.0 if config.recipe == "default" else None,
    )


def parts_with_weights(folder: Path) -> list[str]:
    """The parts of which :func:`find_weights` finds weights."""
    return [part for part in _PARTS if any(path.is_file() for path in _places(folder, part))]


def _places(folder: Path, part: str) -> tuple[Path, Path]:
    return folder / f"{part}.pt", folder / part / f"{part}.pt"


def find_weights(folder: Path, part: str) -> Path:
    """``{part}.pt`` in a folder or in its folder named after the part.

    Raises:
        InputError: it is in neither.
    """
    for path in _places(folder, part):
        if path.is_file():
            return path
    raise InputError(f"'{folder}' without {part}.pt", f"weights of the {part} network", f"openexpose train {part}")
