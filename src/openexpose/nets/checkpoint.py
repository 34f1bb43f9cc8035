"""Regressor checkpoints: the only place where weights are read and written."""

from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from openexpose.body.model import load_body_model
from openexpose.errors import InputError
from openexpose.nets.body_layer import BodyLayer
from openexpose.nets.feedback import ResidualFeedback
from openexpose.nets.regressor import Evidence, IterativeRegressor
from openexpose.predict.parts import BODY, SPECS


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


def build_regressor(config: RegressorConfig, body: BodyLayer | None = None) -> IterativeRegressor:
    """A regressor with fresh weights. ``body``: a body layer to share; None builds the packaged free body."""
    spec = SPECS[config.part]
    feedback = None
    if config.feedback:
        layer = body or BodyLayer(load_body_model(num_betas=BODY.num_betas, num_expression=BODY.num_expression))
        feedback = ResidualFeedback(spec, layer)
    evidence = Evidence(torch.zeros(config.evidence), torch.ones(config.evidence))
    return IterativeRegressor(evidence, torch.zeros(spec.size), feedback, config.hidden, config.stages)


def save_regressor(
    path: Path, regressor: IterativeRegressor, config: RegressorConfig, provenance: dict[str, str]
) -> None:
    """Write a checkpoint, whole or not at all. ``provenance``: how the weights were made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    content = {"config": asdict(config), "provenance": provenance, "state": regressor.state_dict()}
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
        InputError: the file is missing, damaged, not a regressor checkpoint of ours, or of another part.
    """
    expected = "a checkpoint written by `openexpose train`"
    if not path.is_file():
        raise InputError(f"'{path}', which is not a file", expected)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        config = RegressorConfig(**content["config"])
        regressor = build_regressor(config, body)
        regressor.load_state_dict(content["state"], strict=True)
        provenance = dict(content["provenance"])
    except Exception as error:  # torch's unpickler meets damaged bytes with whatever they make it stumble over
        raise InputError(f"'{path}', which does not load ({_reason(error)})", expected) from None
    if part not in (None, config.part):
        raise InputError(f"'{path}', which is a checkpoint of the part '{config.part}'", f"one of the part '{part}'")
    return regressor.eval(), provenance


def _reason(error: Exception) -> str:
    """The first line of an error; where torch lists weights on the lines after it, these, too."""
    lines = (str(error) or type(error).__name__).splitlines()
    listed = "state_dict" in lines[0]
    return " ".join(" ".join(lines if listed else lines[:1]).split())[:300]
