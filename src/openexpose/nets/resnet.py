"""Convolutional trunks of the paper: shared pieces, ResNet for hands and head (paper, section 3.3), weight files.

Parameter names are those of the files that such networks are published in, so that published weights can be loaded.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from openexpose.errors import InputError
from openexpose.nets.trunk import TrunkOutput

IMAGE_MEAN = (0.485, 0.456, 0.406)
"""Mean of the RGB values 0..1 of ImageNet."""
IMAGE_STD = (0.229, 0.224, 0.225)
"""Standard deviation of the RGB values 0..1 of ImageNet."""

_COUNTER = "num_batches_tracked"
_LISTED = 10


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut. ``downsample`` brings the input to the shape of the output, if needed."""

    expansion = 1

    def __init__(self, inputs: int, planes: int, stride: int = 1, downsample: nn.Module | None = None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = nn.Identity() if downsample is None else downsample

    def forward(self, x: Float[Tensor, "n inputs h w"]) -> Float[Tensor, "n planes h2 w2"]:
        """h2, w2: h, w divided by the stride."""
        y = self.bn1(self.conv1(x)).relu()
        return (self.bn2(self.conv2(y)) + self.downsample(x)).relu()


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride) and 1x1 convolution beside a shortcut; 4 x ``planes`` channels come out."""

    expansion = 4

    def __init__(self, inputs: int, planes: int, stride: int = 1, downsample: nn.Module | None = None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, 4 * planes, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * planes)
        self.downsample = nn.Identity() if downsample is None else downsample

    def forward(self, x: Float[Tensor, "n inputs h w"]) -> Float[Tensor, "n outputs h2 w2"]:
        """h2, w2: h, w divided by the stride."""
        y = self.bn1(self.conv1(x)).relu()
        y = self.bn2(self.conv2(y)).relu()
        return (self.bn3(self.conv3(y)) + self.downsample(x)).relu()


def residual_layer(
    block: type[BasicBlock | Bottleneck], inputs: int, planes: int, count: int, stride: int = 1
) -> nn.Sequential:
    """``count`` blocks, the first with the stride and, where the shape changes, a 1x1 convolution as its shortcut."""
    outputs = planes * block.expansion
    downsample = None
    if stride != 1 or inputs != outputs:
        downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
    others = (block(outputs, planes) for _ in range(count - 1))
    return nn.Sequential(block(inputs, planes, stride, downsample), *others)


class ConvTrunk(nn.Module, ABC):
    """A trunk that gives a feature vector and nothing else: no landmarks, presence always 1.

    Args:
        side_px: side of the square crops.
        feature_size: length of the feature vector.
    """

    image_mean: Tensor
    image_std: Tensor
    head: ClassVar[tuple[str, ...]] = ()
    """First words of the names of weights that files of ImageNet classifiers do not have."""
    surplus: ClassVar[tuple[str, ...]] = ()
    """First words of the names of weights that published files have and this trunk does not need."""

    def __init__(self, side_px: int, feature_size: int) -> None:
        super().__init__()
        self.side_px, self.feature_size, self.frozen = side_px, feature_size, False
        self.register_buffer("image_mean", torch.tensor(IMAGE_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("image_std", torch.tensor(IMAGE_STD).view(3, 1, 1), persistent=False)

    @abstractmethod
    def feature_map(self, x: Float[Tensor, "n 3 side side"]) -> Float[Tensor, "n feature h w"]:
        """The last map, of a picture that is normalised already."""

    def forward(self, image: Float[Tensor, "n 3 side side"]) -> TrunkOutput:
        """Feature vectors of RGB crops in 0..1: the mean of the last map. Raises `InputError` for a wrong shape."""
        if image.ndim != 4 or image.shape[1:] != (3, self.side_px, self.side_px):
            raise InputError(
                got=f"an image of shape {tuple(image.shape)}",
                expected=f"[n,3,{self.side_px},{self.side_px}]",
                fix="resample the crop to the trunk's side",
            )
        feature = self.feature_map((image - self.image_mean) / self.image_std).mean((2, 3))
        count = image.shape[0]
        return TrunkOutput(
            feature=feature,
            landmarks=feature.new_zeros(count, 0, 3),
            visibility=feature.new_zeros(count, 0),
            world=None,
            presence=feature.new_ones(count),
        )

    def norms(self) -> Iterator[nn.BatchNorm2d]:
        """All batch normalisations."""
        return (module for module in self.modules() if isinstance(module, nn.BatchNorm2d))

    def freeze_norm(self) -> None:
        """Normalise by the running statistics from now on, while training too, and do not train scale and offset."""
        self.frozen = True
        for norm in self.norms():
            norm.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Switch between training and evaluation; frozen normalisations stay in evaluation."""
        super().train(mode)
        if self.frozen:
            for norm in self.norms():
                norm.eval()
        return self


_LAYERS: dict[int, tuple[type[BasicBlock | Bottleneck], tuple[int, ...]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
}
"""Depth -> kind of block, blocks of each layer."""


class ResNet(ConvTrunk):
    """Residual network without a classifier: the paper's trunk of hands and head is ResNet(18).

    Args:
        depth: 18, 34 or 50 layers; features of 512, 512 or 2048 numbers.
        side_px: side of the square crops (released networks: hands 224, head 256).
        width: channels of the first layer; features are in proportion.

    Raises:
        InputError: another depth.
    """

    surplus = ("fc.",)

    def __init__(self, depth: int = 18, side_px: int = 224, *, width: int = 64) -> None:
        if depth not in _LAYERS:
            raise InputError(f"a ResNet of depth {depth}", f"one of {sorted(_LAYERS)}")
        block, counts = _LAYERS[depth]
        planes = [width, 2 * width, 4 * width, 8 * width]
        super().__init__(side_px, planes[3] * block.expansion)
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = residual_layer(block, width, planes[0], counts[0])
        self.layer2 = residual_layer(block, planes[0] * block.expansion, planes[1], counts[1], 2)
        self.layer3 = residual_layer(block, planes[1] * block.expansion, planes[2], counts[2], 2)
        self.layer4 = residual_layer(block, planes[2] * block.expansion, planes[3], counts[3], 2)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def feature_map(self, x: Float[Tensor, "n 3 side side"]) -> Float[Tensor, "n feature h w"]:
        """The last map, 1/32 of the side."""
        x = self.maxpool(self.bn1(self.conv1(x)).relu())
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
        return x


def load_trunk_weights(trunk: ConvTrunk, state: Mapping[str, Tensor], *, headless: bool = False) -> None:
    """Put published weights into a trunk, all or none.

    Counters of batches are passed over: nothing depends on them. Weights of `ConvTrunk.surplus` may be left over.

    Args:
        trunk: the trunk.
        state: name -> weights; the names of the released networks and of ImageNet classifiers are the same.
        headless: let the weights of `ConvTrunk.head` be missing; the trunk then keeps those that it has.

    Raises:
        InputError: weights are missing, of another shape, or unknown.
    """
    own = {name: value for name, value in trunk.state_dict().items() if not name.endswith(_COUNTER)}
    optional = trunk.head if headless else ()
    missing = [name for name in own if name not in state and not name.startswith(optional)]
    known = {*own, *(name.replace("running_mean", _COUNTER) for name in own)}
    unknown = [name for name in state if name not in known and not name.startswith(trunk.surplus)]
    reshaped = [
        f"{name} {list(state[name].shape)} instead of {list(value.shape)}"
        for name, value in own.items()
        if name in state and state[name].shape != value.shape
    ]
    faults = {"without": missing, "with the unknown": unknown, "of other shapes:": reshaped}
    told = "; ".join(f"{fault} {_listed(names)}" for fault, names in faults.items() if names)
    if told:
        raise InputError(
            got=f"weights {told}",
            expected=f"those of a {type(trunk).__name__} of this size",
            fix="" if headless or not trunk.head else "A file of an ImageNet classifier has no head: load it headless",
        )
    with torch.no_grad():
        for name, value in own.items():
            if name in state:
                value.copy_(state[name])


_NUMBERS: list[Any] = [
    (np.float64(0).__reduce__()[0], "numpy.core.multiarray.scalar"),
    (np.float64(0).__reduce__()[0], "numpy._core.multiarray.scalar"),
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8", "?")),
]
"""numpy's numbers, which training programs leave beside the weights: plain data."""


_FOREIGN = re.compile(r"(Unsupported global: GLOBAL|Unsupported class|unsupported GLOBAL) ([\w.]+)", re.ASCII)
"""How torch names what it will not unpickle. The last words: what it will not even if told that all is well."""
_MAGIC = (b"PK", b"\x80")
"""How PyTorch files begin, new ones and old ones."""
_REWRITE = (
    "If you trust where it comes from, rewrite it once (this runs what it holds): "
    'python -c "import torch; '
    "torch.save({{'model': torch.load('{0}', weights_only=False)['model']}}, '{0}.weights')\""
)


def read_trunk_file(path: Path) -> dict[str, Tensor]:
    """Read weights from a .pth or .ckpt file without running code of it: name -> weights.

    The weights may lie under ``state_dict`` or ``model``; a first word ``module`` that all names share is dropped.

    Raises:
        InputError: no such file, a damaged one, or one that holds something else than named weights.
    """
    expected = "a PyTorch file of named weights"
    if not path.is_file():
        raise InputError(f"'{path}', which is not a file", expected)
    try:
        with torch.serialization.safe_globals(_NUMBERS):
            content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch's unpickler meets damaged bytes with whatever they make it stumble over
        reason, fix = _why_unreadable(path, str(error))
        raise InputError(f"'{path}', which does not load ({reason})", expected, fix) from None
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    named = isinstance(content, Mapping) and all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()
    )
    if not named or not content:
        raise InputError(f"'{path}', which holds something else", expected)
    prefix = "module." if all(name.startswith("module.") for name in content) else ""
    return {name.removeprefix(prefix): value for name, value in content.items()}


def _why_unreadable(path: Path, error: str) -> tuple[str, str]:
    """Why a file is not read, and what to do: nothing is advised that would run what a file of unknown kind holds."""
    foreign = _FOREIGN.search(error)
    if not foreign or not path.read_bytes()[:2].startswith(_MAGIC):
        return "damaged, or not a PyTorch file", ""
    trusted = not foreign[1].startswith("unsupported")
    return f"it holds more than weights: {foreign[2]}", _REWRITE.format(path) if trusted else ""


def _listed(names: list[str]) -> str:
    """The first names, and how many there are."""
    more = f", ... ({len(names)} in all)" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
