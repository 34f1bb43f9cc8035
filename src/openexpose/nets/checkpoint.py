"""Regressor checkpoints: the only place where weights are read and written."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from openexpose.body.model import load_body_model
from openexpose.errors import InputError
from openexpose.nets.body_layer import BodyLayer
from openexpose.nets.feedback import ResidualFeedback
from openexpose.nets.regressor import Evidence, IterativeRegressor, Width
from openexpose.predict.parts import RECIPES, PartSpec

T = TypeVar("T")
_OURS = "a checkpoint written by `openexpose train`"


@dataclass(frozen=True)
class RegressorConfig:
    """What is needed to rebuild a regressor before its weights are loaded."""

    part: str
    """``body``, ``hand`` or ``face``."""
    evidence: int
    """Length of the evidence vector."""
    hidden: int = 512
    """Width of the hidden layers."""
    stages: int = 3
    """Number of corrections."""
    feedback: bool = True
    """Residual feedback, or the paper's plain regressor."""
    recipe: str = "default"
    """Which parameter vectors: a name in :data:`openexpose.predict.parts.RECIPES`. The regressors of ``paper`` read
    nothing but the feature vector, as it is; no normalisation, dropout 0.5, in the body's no activation."""

    canonical: bool = False
    """Face: the landmarks in the face's own frame are evidence, too."""
    tuned: bool = False
    """The feature vector is [frozen, tuned]; the weights of the tuned branch lie in the same file."""
    trunk: str | None = None
    """Body: ``full``, if it reads the fast bundle's trunk. None: the default bundle's."""

    @property
    def spec(self) -> PartSpec:
        """The part."""
        return RECIPES[self.recipe][self.part]


def build_regressor(config: RegressorConfig, body: BodyLayer | None = None) -> IterativeRegressor:
    """A regressor with fresh weights. ``body``: a body layer to share; None builds the packaged free body."""
    spec = config.spec
    feedback = None
    if config.feedback:
        num_betas, num_expression = spec.model_size
        layer = body or BodyLayer(load_body_model(num_betas=num_betas, num_expression=num_expression))
        feedback = ResidualFeedback(spec, layer)
    size = config.evidence
    if config.recipe == "paper":
        evidence = Evidence(torch.zeros(size), torch.ones(size), dropout=0.0, limit=math.inf)
        width = Width(config.hidden, norm=False, relu=config.part != "body", dropout=0.5)
    else:
        evidence = Evidence(torch.zeros(size), torch.ones(size), canonical=config.canonical)
        width = Width(config.hidden)
    return IterativeRegressor(evidence, torch.zeros(spec.size), feedback, width, config.stages)


def save_regressor(
    path: Path,
    regressor: IterativeRegressor,
    config: RegressorConfig,
    provenance: dict[str, str],
    branch: nn.Module | None = None,
) -> None:
    """Write a checkpoint, whole or not at all.

    Args:
        path: the file.
        regressor, config: what to keep, and how to build it again.
        provenance: how the weights were made.
        branch: the tuned branch of a ``tuned`` regressor, whose weights are kept as float16.
    """
    content = {"config": asdict(config), "provenance": provenance, "state": regressor.state_dict()}
    if branch is not None:
        content["branch"] = {name: value.half() for name, value in branch.state_dict().items()}
    write_content(path, content)


def load_branch(path: Path) -> dict[str, torch.Tensor] | None:
    """Weights of the tuned branch of a checkpoint, float16; None: its regressor is not tuned. Errors as
    :func:`load_regressor`; also weights that should be there and are not, or should not be there and are."""

    def find(content: dict[str, Any]) -> tuple[dict[str, torch.Tensor] | None]:
        branch = content.get("branch")
        if RegressorConfig(**content["config"]).tuned != isinstance(branch, dict):
            raise ValueError("weights of a tuned branch, or a tuned regressor, without the other")
        return (branch,)

    return read_content(path, _OURS, find, recipe="default")[0]


def read_config(path: Path) -> RegressorConfig:
    """The configuration of a checkpoint written by :func:`save_regressor`. Errors as :func:`load_regressor`."""
    return read_content(path, _OURS, lambda c: RegressorConfig(**c["config"]), recipe="default")


def write_content(path: Path, content: dict[str, Any]) -> None:
    """Write a file of weights, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    torch.save(content, temporary)
    temporary.replace(path)


def load_regressor(
    path: Path, body: BodyLayer | None = None, *, part: str | None = None
) -> tuple[IterativeRegressor, dict[str, str]]:
    """Read a checkpoint strictly: every weight present, none left over; returns the regressor and its provenance.

    Args:
        path: the checkpoint.
        body: a body layer to share; None builds the packaged free body.
        part: the part that it must be of; None takes any.

    Raises:
        InputError: the file is missing, damaged, not a regressor checkpoint of ours, or of another part or
            recipe.
    """

    def build(content: dict[str, Any]) -> tuple[IterativeRegressor, RegressorConfig, dict[str, str]]:
        config = RegressorConfig(**content["config"])
        regressor = build_regressor(config, body)
        regressor.load_state_dict(content["state"], strict=True)
        return regressor, config, dict(content["provenance"])

    regressor, config, provenance = read_content(path, _OURS, build, recipe="default")
    if part not in (None, config.part):
        raise InputError(f"'{path}', which is a checkpoint of the part '{config.part}'", f"one of the part '{part}'")
    return regressor.eval(), provenance


def read_content(path: Path, expected: str, build: Callable[[dict[str, Any]], T], *, recipe: str | None = None) -> T:
    """Read a file of weights, never running code of it, and build from its content.

    Raises:
        InputError: the file is missing or damaged, or of another recipe than ``recipe`` (None takes any), or ``build``
            fails on its content.
    """
    if not path.is_file():
        raise InputError(f"'{path}', which is not a file", expected)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        found = content["config"].get("recipe", "default")
        built = build(content) if recipe in (None, found) else None
    except Exception as error:  # torch's unpickler meets damaged bytes with whatever they make it stumble over
        raise InputError(f"'{path}', which does not load ({_reason(error)})", expected) from None
    if built is None:
        raise InputError(f"'{path}', which holds weights of the recipe '{found}'", f"those of the recipe '{recipe}'")
    return built


def _reason(error: Exception) -> str:
    """The first line of an error; where torch lists weights on the lines after it, these, too."""
    lines = (str(error) or type(error).__name__).splitlines()
    listed = "state_dict" in lines[0]
    return " ".join(" ".join(lines if listed else lines[:1]).split())[:300]
