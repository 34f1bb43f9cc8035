"""The trunk of the paper's body network: HRNet without its last stage, and a head that makes one vector of its maps.

Four resolutions, each half of the one before, run beside each other and exchange what they see. The paper's network
takes the vector from the maps that enter stage 4 (the released weights have that stage, but it is never run).
"""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from openexpose.errors import InputError
from openexpose.nets.resnet import BasicBlock, Bottleneck, ConvTrunk, residual_layer

Maps = list[Float[Tensor, "n channels h w"]]
"""One map of each resolution, finest first."""

STEM = 64
"""Channels before the resolutions part."""
STRIDE_PX = 32
"""Pixels of the crop in one cell of the coarsest map."""


def _conv_norm(inputs: int, outputs: int, size: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False), nn.BatchNorm2d(outputs)]


def _halve(inputs: int, outputs: int, *, relu: bool) -> nn.Sequential:
    """3x3 convolution to half the resolution."""
    return nn.Sequential(*_conv_norm(inputs, outputs, 3, 2), *([nn.ReLU()] if relu else []))


def _subsample(*channels: int) -> nn.Sequential:
    """Halve the resolution once between each two numbers of channels; convolutions with an offset."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(channels):
        layers += [nn.Conv2d(inputs, outputs, 3, 2, 1), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers)


def _exchange(channels: list[int], target: int, source: int) -> nn.Module:
    """Bring the map of one resolution to the channels of another; to a coarser one also in size."""
    if source == target:
        return nn.Identity()
    if source > target:
        return nn.Sequential(*_conv_norm(channels[source], channels[target], 1))
    between = [_halve(channels[source], channels[source], relu=True) for _ in range(target - source - 1)]
    return nn.Sequential(*between, _halve(channels[source], channels[target], relu=False))


class ExchangeModule(nn.Module):
    """Four blocks at each resolution; then each resolution becomes the sum of all, brought to its size.

    Args:
        channels: of the maps, finest first.
    """

    def __init__(self, channels: list[int]) -> None:
        super().__init__()
        scales = range(len(channels))
        self.branches = nn.ModuleList(residual_layer(BasicBlock, c, c, 4) for c in channels)
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(_exchange(channels, target, source) for source in scales) for target in scales
        )

    def forward(self, maps: Maps) -> Maps:
        """Maps of the same shapes."""
        maps = [branch(x) for branch, x in zip(self.branches, maps, strict=True)]
        return [self._fuse(layers, maps, target).relu() for target, layers in enumerate(self.fuse_layers)]

    @staticmethod
    def _fuse(layers: nn.Module, maps: Maps, target: int) -> Float[Tensor, "n channels h w"]:
        fused = maps[target]
        for source, layer in enumerate(layers.children()):
            if source == target:
                continue
            term = layer(maps[source])
            if source > target:
                term = functional.interpolate(term, scale_factor=float(2 ** (source - target)), mode="nearest")
            fused = fused + term
        return fused


class HRNet(ConvTrunk):
    """High-resolution network with the paper's feature head.

    Args:
        width: channels of the finest map (released network: 48); the coarser ones have 2, 4, 8 times as many.
        side_px: side of the square crops, a multiple of 32.
        feature_size: length of the feature vector, a multiple of 4 (released network: 2048).

    Raises:
        InputError: a side or a feature size that is not such a multiple.
    """

    head = ("subsample_2.", "subsample_3.", "conv_layers.")
    surplus = ("stage4.", "incre_modules.", "downsamp_modules.", "final_layer.", "classifier.")

    def __init__(self, width: int = 48, side_px: int = 256, feature_size: int = 2048) -> None:
        if side_px % STRIDE_PX or feature_size % Bottleneck.expansion:
            raise InputError(
                f"a side of {side_px} px and features of {feature_size} numbers",
                f"multiples of {STRIDE_PX} and {Bottleneck.expansion}",
            )
        super().__init__(side_px, feature_size)
        channels = [width, 2 * width, 4 * width, 8 * width]
        self.conv1 = nn.Conv2d(3, STEM, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(STEM)
        self.conv2 = nn.Conv2d(STEM, STEM, 3, 2, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(STEM)
        self.layer1 = residual_layer(Bottleneck, STEM, STEM, 4)
        wide = STEM * Bottleneck.expansion
        self.transition1 = nn.ModuleList(
            [
                nn.Sequential(*_conv_norm(wide, channels[0], 3), nn.ReLU()),
                nn.Sequential(_halve(wide, channels[1], relu=True)),
            ]
        )
        self.stage2 = nn.Sequential(ExchangeModule(channels[:2]))
        self.transition2 = self._transition(channels, 2)
        self.stage3 = nn.Sequential(*(ExchangeModule(channels[:3]) for _ in range(4)))
        self.transition3 = self._transition(channels, 3)
        self.subsample_3 = _subsample(channels[1], channels[2], channels[3])
        self.subsample_2 = _subsample(channels[2], channels[3])
        self.conv_layers = self._feature_head(3 * channels[3], feature_size)
        self._initialise()

    @staticmethod
    def _transition(channels: list[int], count: int) -> nn.ModuleList:
        """A further resolution is made of the coarsest of ``count``; the others go through as they are."""
        coarser = nn.Sequential(_halve(channels[count - 1], channels[count], relu=True))
        return nn.ModuleList([*(nn.Identity() for _ in range(count)), coarser])

    @staticmethod
    def _feature_head(inputs: int, outputs: int) -> nn.Sequential:
        """Five blocks, the shortcut of each a 1x1 convolution without normalisation."""
        blocks = []
        for source in (inputs, *(outputs for _ in range(4))):
            shortcut = nn.Conv2d(source, outputs, 1, bias=False)
            blocks.append(Bottleneck(source, outputs // Bottleneck.expansion, 1, shortcut))
        return nn.Sequential(*blocks)

    def _initialise(self) -> None:
        """Draw weights; drop the counters of batches, which the released network does not have."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.001)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for norm in self.norms():
            norm.num_batches_tracked = None
            norm.register_load_state_dict_pre_hook(_drop_counter)

    def feature_map(self, x: Float[Tensor, "n 3 side side"]) -> Float[Tensor, "n feature h w"]:
        """The last map, 1/32 of the side. The head reads finer maps first: 1/8, 1/16, 1/32 of the side."""
        x = self.bn1(self.conv1(x)).relu()
        x = self.layer1(self.bn2(self.conv2(x)).relu())
        maps = self.stage2([layer(x) for layer in self.transition1])
        maps = self.stage3([*maps, self.transition2[-1](maps[-1])])
        coarsest = self.transition3[-1](maps[-1])
        return self.conv_layers(torch.cat([self.subsample_3(maps[1]), self.subsample_2(maps[2]), coarsest], 1))


def _drop_counter(_: nn.Module, state: dict[str, Tensor], prefix: str, *__: object) -> None:
    """Pass over a counter of batches when weights are loaded, whether a file or torch itself put it there."""
    state.pop(f"{prefix}num_batches_tracked", None)
