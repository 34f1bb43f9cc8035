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


def load_regressor(path: Path, body: BodyLayer | None = None) -> tuple[IterativeRegressor, dict[str, str]]:
    """Read a checkpoint strictly: every weight present, none left over; returns the regressor and its provenance.

    Raises:
        InputError: the file is missing, damaged, or not a regressor checkpoint of ours.
    """
    expected = "a checkpoint written by `openexpose train`"
    if not path.is_file():
        raise InputError(f"'{path}', which is not a file", expected)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        regressor = build_regressor(RegressorConfig(**content["config"]), body)
        regressor.load_state_dict(content["state"], strict=True)
        provenance = dict(content["provenance"])
    except Exception as error:  # torch's unpickler meets damaged bytes with whatever they make it stumble over
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f"'{path}', which does not load ({reason})", expected) from None
    return regressor.eval(), provenance
