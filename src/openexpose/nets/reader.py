"""Joints read off a map of the frozen trunk: heat maps, depths, and what is to be seen at each joint.

The trunk's landmarks come from a pooled vector. Where it is led astray, a vector cannot tell; the map still shows where
things are. Goes beyond the paper; measured in docs/results.md.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as nnf


@dataclass(frozen=True)
class JointReading:
    """What a reader says of each joint."""

    points: Float[Tensor, "n j 2"]
    """Crop units, x right, y down in [-1, 1]."""
    depth: Float[Tensor, "n j"]
    """Metres behind the part's root."""


class _Block(nn.Module):
    """A separable convolution beside the identity: 5 x 5 of each channel, then across channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.around = nn.Conv2d(width, width, 5, padding=2, groups=width)
        self.norm = nn.GroupNorm(8, width)
        self.across = nn.Conv2d(width, width, 1)

    def forward(self, field: Tensor) -> Tensor:
        return field + nnf.relu(self.across(nnf.relu(self.norm(self.around(field)))))


class JointReader(nn.Module):
    """Finds joints in a map, each as the mean place of a heat map (integral regression: Sun et al., ECCV 2018), and
    reads what the map shows there.

    Args:
        cut: name of the trunk's tensor that is read.
        channels: of the map.
        joints: how many to find.
        width: channels inside.
        shown: numbers about what is to be seen at a joint.
    """

    map_mean: Tensor
    map_std: Tensor

    def __init__(self, cut: str, channels: int, joints: int, width: int = 128, shown: int = 24) -> None:
        super().__init__()
        self.cut, self.joints, self.each = (cut,), joints, 4 + shown
        self.register_buffer("map_mean", torch.zeros(channels))
        self.register_buffer("map_std", torch.ones(channels))
        self.enter = nn.Conv2d(channels, width, 1)
        self.blocks = nn.Sequential(*(_Block(width) for _ in range(3)))
        self.heat, self.depth = nn.Conv2d(width, joints, 1), nn.Conv2d(width, joints, 1)
        self.look = nn.Conv2d(width, 64, 1)
        self.tell = nn.Linear(64, shown)

    @property
    def size(self) -> int:
        """Length of what :meth:`forward` tells."""
        return self.joints * self.each

    def calibrate(self, field: Float[Tensor, "n c h w"]) -> None:
        """Take the statistics of the map's channels from some samples."""
        self.map_mean.copy_(field.mean((0, 2, 3)))
        self.map_std.copy_(field.std((0, 2, 3)) + 1e-3)

    def forward(self, field: Float[Tensor, "n c h w"]) -> Float[Tensor, "n f"]:
        """Of each joint: place (crop units), depth (metres), the heat map's peak, and what is to be seen there."""
        height, width = field.shape[-2:]
        inside = self.enter((field - self.map_mean[:, None, None]) / self.map_std[:, None, None])
        inside = self.blocks(nnf.relu(inside))
        heat = self.heat(inside).flatten(2).softmax(-1)
        x = (heat.unflatten(-1, (height, width)).sum(2) * _centres(width, field)).sum(-1)
        y = (heat.unflatten(-1, (height, width)).sum(3) * _centres(height, field)).sum(-1)
        depth = (heat * self.depth(inside).flatten(2)).sum(-1)
        shown = self.tell(heat @ self.look(inside).flatten(2).mT)
        told = torch.stack([x, y, depth, heat.amax(-1)], -1)
        return torch.cat([told, shown], -1).flatten(1)

    def reading(self, told: Float[Tensor, "n f"]) -> JointReading:
        """The joints in what :meth:`forward` told."""
        each = told.unflatten(1, (self.joints, self.each))
        return JointReading(each[..., :2], each[..., 2])


def _centres(count: int, like: Tensor) -> Float[Tensor, "count"]:
    """Centres of the cells of a map, crop units."""
    return (torch.arange(count, device=like.device, dtype=like.dtype) + 0.5) * (2 / count) - 1
