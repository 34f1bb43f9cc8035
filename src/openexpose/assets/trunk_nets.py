"""The uniform contract of the perception trunks, wrapped around the raw networks (part of the exported graphs).

Input `image` [n,3,S,S], RGB in 0..1. Outputs: `feature` [n,f]; `landmarks` [n,l,3] in crop units (x right, y down in
[-1,1]; z in the same unit); `visibility` [n,l] and `presence` [n], probabilities; body and hand also `world` [n,l,3]
metres; hand also `handedness` [n], the probability that the crop, seen as it is (not mirrored), shows a right hand.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from openexpose.assets.tflite import TfliteGraph, TfliteNet

HEAT_SIZE = 64
"""Side of the body net's heat maps."""
HEAT_RADIUS = 3
"""The refinement looks at a window of 2 * 3 + 1 heat-map cells."""


@dataclass(frozen=True)
class TrunkSpec:
    """What is needed to wrap one TFLite landmark network."""

    part: str
    file: str
    side_px: int
    tensors: tuple[int, ...]
    """Tensor ids: the feature, then the outputs the wrapper names."""
    outputs: tuple[str, ...]


BODY_OUTPUTS = ("feature", "landmarks", "visibility", "world", "presence")
BODY_SPECS = {
    "heavy": TrunkSpec("body", "pose_landmark_heavy.tflite", 256, (694, 696, 701, 641, 698), BODY_OUTPUTS),
    "full": TrunkSpec("body", "pose_landmark_full.tflite", 256, (335, 337, 342, 298, 339), BODY_OUTPUTS),
}
HAND_SPEC = TrunkSpec(
    "hand", "hand_landmark_full.tflite", 224, (160, 165, 164, 162, 166), (*BODY_OUTPUTS, "handedness")
)
FACE_SPEC = TrunkSpec(
    "face",
    "face_landmark_with_attention.tflite",
    192,
    (183, 719, 720, 721, 723, 722, 724, 710),
    ("feature", "landmarks", "visibility", "presence"),
)


def refine_by_heat(xy: Float[Tensor, "n l 2"], heat: Float[Tensor, "n l 64 64"]) -> Float[Tensor, "n l 2"]:
    """Replace x, y (0..1) by the centroid of the heat map (logits) in a 7x7 window around them.

    Only where the window holds a probability of at least 0.5 and its centre lies inside the map.
    """
    cell = torch.arange(HEAT_SIZE, dtype=xy.dtype, device=xy.device)
    centre = (xy.detach() * HEAT_SIZE).to(torch.int32).to(xy.dtype)
    near = ((cell - centre.unsqueeze(-1)).abs() <= HEAT_RADIUS).to(xy.dtype)
    window = heat.sigmoid() * near[:, :, 1].unsqueeze(-1) * near[:, :, 0].unsqueeze(-2)
    columns, rows = window.sum(2), window.sum(3)
    total = columns.sum(2).clamp(min=1e-6)
    centroid = torch.stack([(columns * cell).sum(2) / total, (rows * cell).sum(2) / total], 2) / HEAT_SIZE
    inside = ((centre >= 0) & (centre < HEAT_SIZE)).to(xy.dtype).amin(2, keepdim=True)
    certain = (window.amax((2, 3)).unsqueeze(-1) >= 0.5) & (inside > 0)
    return torch.where(certain, centroid, xy)


class BodyTrunk(nn.Module):
    """BlazePose: 39 landmarks (33 body, 6 auxiliary), refined by their heat maps."""

    def __init__(self, graph: TfliteGraph, spec: TrunkSpec):
        """Build the network; `spec.tensors` are feature, landmarks, presence, heat maps, world landmarks."""
        super().__init__()
        self.net, self.side_px = TfliteNet(graph, spec.tensors), spec.side_px

    def forward(self, image: Float[Tensor, "n 3 256 256"]) -> tuple[Tensor, ...]:
        """Return feature [n,1152], landmarks [n,39,3], visibility [n,39], world [n,39,3], presence [n]."""
        feature, raw, presence, heat, world = self.net(image)
        raw = raw.reshape(-1, 39, 5)
        xy = refine_by_heat(raw[:, :, :2] / self.side_px, heat)
        landmarks = torch.cat([xy * 2 - 1, raw[:, :, 2:3] * (2 / self.side_px)], 2)
        return (
            feature.flatten(1),
            landmarks,
            raw[:, :, 3].sigmoid(),
            world.reshape(-1, 39, 3),
            presence.reshape(-1),
        )


class HandTrunk(nn.Module):
    """MediaPipe Hands: 21 landmarks of a right hand (mirror the crop of a left one)."""

    def __init__(self, graph: TfliteGraph, spec: TrunkSpec):
        """Build the network; `spec.tensors` are feature, landmarks, presence, handedness, world landmarks."""
        super().__init__()
        self.net, self.side_px = TfliteNet(graph, spec.tensors), spec.side_px

    def forward(self, image: Float[Tensor, "n 3 224 224"]) -> tuple[Tensor, ...]:
        """Return feature [n,1152], landmarks and world [n,21,3], visibility [n,21], presence and handedness [n]."""
        feature, raw, presence, handedness, world = self.net(image)
        raw = raw.reshape(-1, 21, 3) * (2 / self.side_px)
        landmarks = torch.cat([raw[:, :, :2] - 1, raw[:, :, 2:3]], 2)
        visibility = presence.reshape(-1, 1) * torch.ones(21)
        return feature, landmarks, visibility, world.reshape(-1, 21, 3), presence.reshape(-1), handedness.reshape(-1)


class FaceTrunk(nn.Module):
    """Attention Mesh: 468 mesh points, lips and eyes refined, and 10 iris points (left 5, right 5; z = 0)."""

    source: Tensor

    def __init__(self, graph: TfliteGraph, spec: TrunkSpec):
        """Build the network; `spec.tensors` are feature, mesh, lips, left/right eye, left/right iris, presence."""
        super().__init__()
        self.net, self.side_px = TfliteNet(graph, spec.tensors), spec.side_px
        source = torch.arange(478)
        source[468:] += sum(len(box) for box in self.net.boxes)
        refined = torch.tensor([i for box in self.net.boxes for i in box])
        source[refined] = 468 + torch.arange(len(refined))
        self.register_buffer("source", source)

    def forward(self, image: Float[Tensor, "n 3 192 192"]) -> tuple[Tensor, ...]:
        """Return feature [n,288], landmarks [n,478,3], visibility [n,478], presence [n]."""
        feature, mesh, *refined, flag = self.net(image)
        mesh = mesh.reshape(-1, 468, 3)
        xy = torch.cat([mesh[:, :, :2], *(part.reshape(-1, part[0].numel() // 2, 2) for part in refined)], 1)
        xy = xy.index_select(1, self.source)
        z = nn.functional.pad(mesh[:, :, 2:3], (0, 0, 0, 10))
        landmarks = torch.cat([xy * (2 / self.side_px) - 1, z * (2 / self.side_px)], 2)
        presence = flag.reshape(-1).sigmoid()
        return feature.flatten(1), landmarks, presence.reshape(-1, 1) * torch.ones(478), presence


WRAPPERS: dict[str, type[BodyTrunk | HandTrunk | FaceTrunk]] = {
    "body": BodyTrunk,
    "hand": HandTrunk,
    "face": FaceTrunk,
}
