"""Points from crop to crop, and the overlap of boxes: equal to the numpy geometry, with exact gradients."""

import numpy as np
import pytest
import torch

from openexpose.geometry.boxes import Crop, intersection_over_union
from openexpose.losses import crop_to_crop, iou_boxes


def crops(seed: int, mirrored: bool = False) -> Crop:
    rng = np.random.default_rng(seed)
    return Crop(rng.uniform(0, 500, (3, 2)), rng.uniform(20, 300, 3), rng.uniform(-2, 2, 3), mirrored)


@pytest.mark.parametrize("mirrored", [False, True])
def test_crop_to_crop_goes_through_the_picture(mirrored: bool) -> None:
    body, part = crops(0), crops(1, mirrored)
    points = np.random.default_rng(2).uniform(-1, 1, (3, 6, 2))
    there, back = torch.tensor(body.T_image_crop), torch.tensor(part.T_image_crop)
    got = crop_to_crop(torch.tensor(points), there, back)
    np.testing.assert_allclose(got, part.from_image(body.to_image(points)), atol=1e-12)
    np.testing.assert_allclose(crop_to_crop(got, back, there), points, atol=1e-12)


def test_gradients_flow_to_points_and_both_crops() -> None:
    points = torch.rand(3, 4, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    inputs = [points, *(torch.tensor(crops(seed).T_image_crop) for seed in (4, 5))]
    assert torch.autograd.gradcheck(crop_to_crop, [value.requires_grad_() for value in inputs])


def test_overlap_equals_the_pairwise_one() -> None:
    rng = np.random.default_rng(6)
    low = rng.uniform(0, 10, (2, 20, 2))
    a, b = np.concatenate([low, low + rng.uniform(1, 10, low.shape)], -1)
    a[0], a[1] = b[0], b[1] + 100.0
    got = iou_boxes(torch.tensor(a), torch.tensor(b))
    np.testing.assert_allclose(got, intersection_over_union(a, b).diagonal(), atol=1e-12)
    assert float(got[0]) == pytest.approx(1.0) and float(got[1]) == 0.0
