"""Networks of the paper's recipe with one-layer trunks: every code path of the full ones, in milliseconds."""

from pathlib import Path

import torch
from torch import Tensor, nn

from openexpose.nets.checkpoint import RegressorConfig, build_regressor
from openexpose.nets.paper import PAPER_PARTS, paper_mean
from openexpose.nets.part import PartNet
from openexpose.nets.part_export import export_plain_part, write_bundle
from openexpose.nets.resnet import ConvTrunk
from openexpose.predict.bundle import BundleConfig
from openexpose.predict.parts import RECIPES

FEATURES = {"body": 7, "hand": 5, "face": 6}
SIDE = {part: config.size for part, config in PAPER_PARTS.items()}


class TinyTrunk(ConvTrunk):
    """One convolution and its normalisation."""

    def __init__(self, side_px: int, feature_size: int) -> None:
        super().__init__(side_px, feature_size)
        self.conv1 = nn.Conv2d(3, feature_size, 4, 4, bias=False)
        self.bn1 = nn.BatchNorm2d(feature_size)

    def feature_map(self, x: Tensor) -> Tensor:
        """[n, feature, side / 4, side / 4]."""
        return self.bn1(self.conv1(x)).relu()


def tiny_part(part: str, hidden: int = 8) -> PartNet:
    """In place of ``build_paper_part``: a fresh network, which starts from the paper's mean."""
    config = RegressorConfig(part, FEATURES[part], hidden, feedback=False, recipe="paper")
    regressor = build_regressor(config)
    regressor.mean.copy_(paper_mean(part))
    return PartNet(RECIPES["paper"][part], TinyTrunk(SIDE[part], FEATURES[part]), regressor)


def trained_parts() -> dict[str, PartNet]:
    """Networks whose answers depend on the picture and differ from their start, with nothing left at zero or one.

    In tests/conftest.py's example they look for hands and faces inside the picture, and for one hand over its border.
    """
    parts = {}
    for part, seed in {"body": 5, "hand": 1, "face": 2}.items():
        torch.manual_seed(seed)
        net = tiny_part(part)
        nn.init.normal_(net.regressor.output_layer.weight, std=0.15)
        nn.init.normal_(net.regressor.output_layer.bias, std=0.01)
        nn.init.normal_(net.trunk.bn1.bias, std=0.3)
        nn.init.normal_(net.trunk.bn1.running_mean, std=0.3)
        nn.init.uniform_(net.trunk.bn1.running_var, 0.5, 2.0)
        parts[part] = net.eval()
    return parts


def write_paper_bundle(folder: Path, parts: dict[str, PartNet]) -> Path:
    """The networks as a bundle with the packaged free body and without a detector."""
    config = BundleConfig("tiny", "freebody", PAPER_PARTS, None, {}, recipe="paper", weak_camera=True)

    def fill(place: Path) -> None:
        for part, net in parts.items():
            export_plain_part(net, SIDE[part], place, "a test")

    write_bundle(folder, config, {part: net.regressor.mean for part, net in parts.items()}, fill)
    return folder
