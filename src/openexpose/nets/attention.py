"""Body-driven attention, differentiable: crops around projected joints, and a sampler that passes gradients to them.

Twins of ``geometry/boxes.Crop``, ``predict/landmarks.py`` and ``image/crop.py``, in the same pixel conventions; tests
hold them equal. The paper (section 3.2) cuts hands and face out of the ORIGINAL picture with such a sampler, so that
the losses of the hand and face networks can move the body network's crops.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as nnf

from openexpose.body.keypoints import PARTS
from openexpose.errors import InputError
from openexpose.image.crop import SAMPLINGS, Sampling, whole_pixels
from openexpose.predict.landmarks import UP


@dataclass(frozen=True)
class Crops:
    """Square image regions; see :class:`openexpose.geometry.boxes.Crop`."""

    centre_px: Float[Tensor, "n 2"]
    side_px: Float[Tensor, "n"]
    angle_rad: Float[Tensor, "n"]
    mirrored: bool = False

    @property
    def T_image_crop(self) -> Float[Tensor, "n 2 3"]:
        """Affine map from crop coordinates ([-1, 1]^2) to image pixels."""
        c, s = (0.5 * self.side_px * turn for turn in (torch.cos(self.angle_rad), torch.sin(self.angle_rad)))
        flip = -1.0 if self.mirrored else 1.0
        x, y = self.centre_px.unbind(-1)
        return torch.stack([flip * c, -s, x, flip * s, c, y], -1).unflatten(-1, (2, 3))

    def to_image(self, points: Float[Tensor, "n k 2"]) -> Float[Tensor, "n k 2"]:
        """Points in crop coordinates to image pixels."""
        T = self.T_image_crop
        return points @ T[..., :2].mT + T[:, None, :, 2]

    def from_image(self, points_px: Float[Tensor, "n k 2"]) -> Float[Tensor, "n k 2"]:
        """Image pixels to crop coordinates: the inverse of :meth:`to_image`."""
        T = self.T_image_crop
        return (points_px - T[:, None, :, 2]) @ torch.linalg.inv(T[..., :2]).mT

    def detach(self) -> "Crops":
        """The same crops without gradients."""
        return Crops(self.centre_px.detach(), self.side_px.detach(), self.angle_rad.detach(), self.mirrored)

    def where(self, use: Bool[Tensor, "n"], other: "Crops") -> "Crops":
        """Crops of ``other`` where ``use`` is true, else of self."""
        return Crops(
            torch.where(use[:, None], other.centre_px, self.centre_px),
            torch.where(use, other.side_px, self.side_px),
            torch.where(use, other.angle_rad, self.angle_rad),
            self.mirrored,
        )


def crops_from_boxes(boxes_xyxy_px: Float[Tensor, "n 4"], scale: float) -> Crops:
    """Upright crops around boxes: the centre stays, the side is ``scale`` times the longer side of the box."""
    low, high = boxes_xyxy_px[:, :2], boxes_xyxy_px[:, 2:]
    side = scale * (high - low).amax(-1)
    return Crops((low + high) / 2.0, side, torch.zeros_like(side))


def attention_crop(
    projected_px: Float[Tensor, "n 144 2"],
    part: str,
    scale: float,
    turn: bool,
    angle_rad: Float[Tensor, "n"] | None = None,
) -> Crops:
    """The crop around a part's projected joints: see :func:`openexpose.predict.landmarks.attention_crop`."""
    first, second = (int(k) for k in UP[part])
    angle = torch.zeros_like(projected_px[:, 0, 0]) if angle_rad is None else angle_rad
    if turn:
        angle = _upright(projected_px[:, first], projected_px[:, second])
    points = projected_px[:, PARTS["head" if part == "face" else part]]
    return _turned_crop(points, angle, scale, 0.0, part == "left_hand")


def trunk_crop(network: str, landmarks_px: Float[Tensor, "n l 2"], mirrored: bool) -> Crops:
    """The crop that a trunk's own landmarks ask for: see ``TRUNK_CROPS`` in :mod:`openexpose.predict.landmarks`."""
    points = landmarks_px
    if network == "body":
        centre, rim = points[:, 33], points[:, 34]
        return Crops(centre, 2.5 * torch.linalg.norm(rim - centre, dim=-1), _upright(centre, rim))
    if network == "hand":
        knuckles = 0.25 * points[:, 5] + 0.5 * points[:, 9] + 0.25 * points[:, 13]
        stable = points[:, [0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18]]
        return _turned_crop(stable, _upright(points[:, 0], knuckles), 2.0, -0.1, mirrored)
    right_eye, left_eye = points[:, 33], points[:, 263]
    direction = left_eye - right_eye
    return _turned_crop(points[:, :468], torch.atan2(direction[:, 1], direction[:, 0]), 1.5, 0.0, False)


def _upright(from_points: Tensor, to_points: Tensor) -> Float[Tensor, "n"]:
    direction = to_points - from_points
    return torch.atan2(direction[:, 0], -direction[:, 1])


def _turned_crop(points_px: Tensor, angle_rad: Tensor, scale: float, shift_y: float, mirrored: bool) -> Crops:
    """Square around points in a frame turned by ``angle_rad``; its centre moves by ``shift_y`` of their height."""
    c, s = torch.cos(angle_rad), torch.sin(angle_rad)
    turn = torch.stack([c, -s, s, c], -1).unflatten(-1, (2, 2))
    turned = points_px @ turn
    low, high = turned.amin(1), turned.amax(1)
    extent = high - low
    down = torch.stack([torch.zeros_like(c), shift_y * extent[:, 1]], -1)
    centre = (low + high) / 2.0 + down
    return Crops((turn @ centre[..., None])[..., 0], scale * extent.amax(-1), angle_rad, mirrored)


Pictures = Float[Tensor, "m 3 h w"] | Sequence[Float[Tensor, "3 _ _"]]
"""Pictures of one size, or a list of pictures of any sizes; RGB, 0..1."""


def sample_crops(
    pictures: Pictures, crops: Crops, size: int, sampling: Sampling = SAMPLINGS["area"]
) -> Float[Tensor, "n 3 {size} {size}"]:
    """Cut crops out of pictures, as :func:`openexpose.image.crop.sample_crop` does; gradients flow to the crops.

    Bilinear, black outside the picture. A crop with 1.5 picture pixels a sample or more is cut out of block means;
    the size of the blocks is a choice without gradient.

    Args:
        pictures: RGB, 0..1: one for each crop, or one for all.
        crops: the crops, in pixels of the pictures.
        size: side of the result, samples.
        sampling: how.

    Raises:
        InputError: as many pictures as neither 1 nor n, or a crop that is not finite or has no extent.
    """
    count = len(crops.side_px)
    if len(pictures) not in (1, count):
        raise InputError(f"{len(pictures)} pictures for {count} crops", "one picture, or one for each crop")
    T = crops.T_image_crop
    if not (torch.isfinite(T).all() and (crops.side_px > 0).all()):
        raise InputError("a crop that is not finite or has no extent", "finite centre and angle, side above 0")
    steps = (2.0 * torch.arange(size, dtype=T.dtype, device=T.device) + 1.0) / size - 1.0
    if sampling.corners:
        steps = torch.linspace(-1.0, 1.0, size, dtype=T.dtype, device=T.device)
    grid = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1)
    rows = [_sample(pictures[k if len(pictures) > 1 else 0], T[k], grid, sampling) for k in range(count)]
    return torch.stack(rows) if rows else T.new_zeros(0, 3, size, size)


def _sample(
    picture: Float[Tensor, "3 h w"], T: Float[Tensor, "2 3"], grid: Float[Tensor, "s s 2"], sampling: Sampling
) -> Tensor:
    """One crop: the picture's region under it, averaged in blocks, sampled where the crop's grid lies in it."""
    size, limit = len(grid), T.new_tensor(picture.shape[:0:-1])
    fill = T.new_tensor(sampling.outside)[:, None, None]
    inner = None
    if sampling.corners:
        T = T + T.new_tensor([[0.0, 0.0, 0.5]])
    if sampling.whole_pixels:
        cut, inner = whole_pixels(T.detach().cpu().double().numpy())
        T = T.new_tensor(cut)
    with torch.no_grad():
        side = 2.0 * torch.linalg.norm(T[:, 0])
        block = max(1, int(side / size + 0.5)) if sampling.antialias else 1
        reach = T[:, :2].abs().sum(1) + block
        low = torch.clamp(torch.floor(T[:, 2] - reach), min=0.0)
        high = torch.minimum(torch.ceil(T[:, 2] + reach), limit)
    if (high <= low).any():
        return fill.expand(3, size, size)
    x, y = (int(v) for v in low)
    columns, rows = (-(-int(v) // block) for v in high - low)
    region = picture[:, y : y + rows * block, x : x + columns * block]
    missing = (0, columns * block - region.shape[2], 0, rows * block - region.shape[1])
    means = nnf.avg_pool2d(nnf.pad(region, missing), block) - fill
    places = grid @ T[:, :2].mT + T[:, 2]
    if inner is not None:
        places = torch.minimum(torch.maximum(places, T.new_tensor(inner[:, 0])), T.new_tensor(inner[:, 1]))
    inside = (places - low) / block
    unit = 2.0 * inside / T.new_tensor([columns, rows]) - 1.0
    return nnf.grid_sample(means[None], unit[None], "bilinear", "zeros", align_corners=False)[0] + fill
