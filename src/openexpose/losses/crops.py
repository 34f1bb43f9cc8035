"""From one crop's coordinates to another's, and the overlap of boxes, with gradients."""

import torch
from jaxtyping import Float
from torch import Tensor


def crop_to_crop(
    points: Float[Tensor, "n k 2"], T_image_from: Float[Tensor, "n 2 3"], T_image_to: Float[Tensor, "n 2 3"]
) -> Float[Tensor, "n k 2"]:
    """Points in one crop's coordinates in those of another crop of the same picture (the paper's T_h T_b^-1).

    Args:
        points: in [-1, 1]^2 of the first crop.
        T_image_from, T_image_to: maps of the crops' coordinates to the picture's pixels, as
            :attr:`openexpose.nets.attention.Crops.T_image_crop`. Gradients flow to both.
    """
    image = points @ T_image_from[..., :2].mT + T_image_from[:, None, :, 2]
    return torch.linalg.solve(T_image_to[..., :2], (image - T_image_to[:, None, :, 2]).mT).mT


def iou_boxes(a: Float[Tensor, "n 4"], b: Float[Tensor, "n 4"]) -> Float[Tensor, "n"]:
    """Overlap of each box with its counterpart: area of the intersection over that of the union; boxes xyxy.

    Rows of :func:`openexpose.geometry.boxes.intersection_over_union`, which compares all with all.
    """
    low, high = torch.maximum(a[:, :2], b[:, :2]), torch.minimum(a[:, 2:], b[:, 2:])
    inter = (high - low).clamp_min(0.0).prod(-1)
    area_a, area_b = (a[:, 2:] - a[:, :2]).prod(-1), (b[:, 2:] - b[:, :2]).prod(-1)
    return inter / (area_a + area_b - inter).clamp_min(1e-12)
