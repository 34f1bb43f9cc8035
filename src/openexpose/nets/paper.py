"""The paper's networks: the same part networks and attention as the default recipe, with trunks trained on the task.

Body: HRNet-W48, 2048 + 341 -> 341. Hand: ResNet18, 512 + 109 -> 109. Face: ResNet18, 512 + 165 -> 165 (paper, section
4.1). The regressors read the feature vector and the current parameters, nothing else.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from openexpose.body.model import BodyModel
from openexpose.errors import InputError
from openexpose.nets.body_layer import BodyLayer
from openexpose.nets.checkpoint import RegressorConfig, build_regressor, read_content, write_content
from openexpose.nets.decode import matrix_to_sixd
from openexpose.nets.hrnet import HRNet
from openexpose.nets.part import PartNet
from openexpose.nets.resnet import ConvTrunk, ResNet
from openexpose.nets.whole import WholeBodyNet
from openexpose.predict.bundle import PartConfig
from openexpose.predict.parts import RECIPES

TRUNKS: dict[str, Callable[[int], ConvTrunk]] = {
    "hrnet_w48": lambda side: HRNet(48, side),
    "hrnet_w18": lambda side: HRNet(18, side),
    "resnet18": lambda side: ResNet(18, side),
    "resnet34": lambda side: ResNet(34, side),
    "resnet50": lambda side: ResNet(50, side),
    "resnet18_w16": lambda side: ResNet(18, side, width=16),
}
"""Trunks by name, built for a side of the crop in pixels. The last, a quarter as wide, is for trying things out."""
PAPER_TRUNKS = {"body": "hrnet_w48", "hand": "resnet18", "face": "resnet18"}
"""The paper's choice. It expects ResNet50 to help the hands and the face."""


_ANY_SHIFT = 1e9
"""As good as infinite, which JSON cannot say."""


def _part(size: int, crop_scale: float, sampling: str = "area") -> PartConfig:
    return PartConfig(
        size, crop_scale, upright=False, looks=1, wider=False, min_presence=0.0, max_shift=_ANY_SHIFT, sampling=sampling
    )


PAPER_PARTS = {"body": _part(256, 1.2), "hand": _part(224, 3.0), "face": _part(256, 2.0)}
"""How the paper's networks are run: upright crops, looked at once, always believed."""
RELEASED_PARTS = {
    "body": _part(256, 1.2, "whole-pixels"),
    "hand": _part(224, 3.0, "corners"),
    "face": _part(256, 2.0, "corners"),
}
"""The same with the released networks' ways of sampling."""
CAMERA_SCALE = {"body": 0.9, "hand": 0.9, "face": 8.0}
"""Mean scale of the weak-perspective camera, in the released networks' units: half crops a metre."""


@dataclass(frozen=True)
class PaperPartConfig:
    """What is needed to rebuild a part network of the paper's recipe before its weights are loaded."""

    part: str
    """``body``, ``hand`` or ``face``."""
    trunk: str
    """A name in :data:`TRUNKS`."""
    recipe: str = "paper"


def build_paper_part(part: str, trunk: str | None = None) -> PartNet:
    """A part network with fresh weights, which starts from the paper's mean: the camera's mean scale, rest pose.

    Args:
        part: ``body``, ``hand`` or ``face``.
        trunk: a name in :data:`TRUNKS`; None for the paper's.

    Raises:
        InputError: no such part or trunk.
    """
    specs, trunk = RECIPES["paper"], trunk or PAPER_TRUNKS.get(part, "")
    if part not in specs:
        raise InputError(f"the part '{part}'", f"one of {sorted(specs)}")
    if trunk not in TRUNKS:
        raise InputError(f"the trunk '{trunk}'", f"one of {sorted(TRUNKS)}")
    net = TRUNKS[trunk](PAPER_PARTS[part].size)
    config = RegressorConfig(part, net.feature_size, hidden=1024, feedback=False, recipe="paper")
    regressor = build_regressor(config)
    regressor.mean.copy_(paper_mean(part))
    return PartNet(specs[part], net, regressor)


def paper_mean(part: str) -> Float[Tensor, "size"]:
    """Where a fresh network starts: facing the camera (the hand: identity), at rest, the paper's mean camera scale."""
    spec = RECIPES["paper"][part]
    rotations = torch.eye(3).repeat(len(spec.pose_slots), 1, 1)
    if part != "hand":
        rotations[0] = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    raw_scale = math.log(math.expm1(CAMERA_SCALE[part]))
    rest = torch.zeros(spec.num_betas + spec.num_expression)
    return torch.cat([matrix_to_sixd(rotations).flatten(), rest, torch.tensor([raw_scale, 0.0, 0.0])])


def build_paper_whole(
    parts: Mapping[str, PartNet], model: BodyModel, configs: Mapping[str, PartConfig] | None = None
) -> WholeBodyNet:
    """The whole-body network of the paper. Give it a camera with ``weak=True``.

    Args:
        parts: the networks ``body``, ``hand``, ``face``.
        model: the body model, with the body's 10 + 10 coefficients.
        configs: how each is run; None for :data:`PAPER_PARTS`.
    """
    return WholeBodyNet(dict(parts), dict(configs or PAPER_PARTS), BodyLayer(model))


def save_paper_part(path: Path, net: PartNet, config: PaperPartConfig, provenance: Mapping[str, str]) -> None:
    """Write trunk and regressor of a part, whole or not at all. ``provenance``: how the weights were made."""
    write_content(path, {"config": asdict(config), "provenance": dict(provenance), "state": net.state_dict()})


def load_paper_part(path: Path, part: str | None = None) -> tuple[PartNet, PaperPartConfig, dict[str, str]]:
    """Read a part network strictly: every weight present, none left over.

    Args:
        path: the checkpoint.
        part: the part that it must be of; None takes any.

    Raises:
        InputError: the file is missing, damaged, no checkpoint of the paper's recipe, or of another part.
    """

    def build(content: dict[str, Any]) -> tuple[PartNet, PaperPartConfig, dict[str, str]]:
        config = PaperPartConfig(**content["config"])
        net = build_paper_part(config.part, config.trunk)
        net.load_state_dict(content["state"], strict=True)
        return net.eval(), config, dict(content["provenance"])

    expected = "a checkpoint written by `openexpose train --recipe paper`"
    net, config, provenance = read_content(path, expected, build, recipe="paper")
    if part not in (None, config.part):
        raise InputError(f"'{path}', which is a checkpoint of the part '{config.part}'", f"one of the part '{part}'")
    return net, config, provenance
