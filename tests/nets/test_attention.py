"""Differentiable attention: equal to the runtime's crops and sampler, with gradients to the crops."""

from dataclasses import asdict

import numpy as np
import pytest
import torch
from torch import Tensor

from openexpose.body.keypoints import PARTS
from openexpose.errors import InputError
from openexpose.geometry.boxes import Crop, crop_from_boxes
from openexpose.image.crop import sample_crop
from openexpose.nets.attention import Crops, attention_crop, crops_from_boxes, sample_crops, trunk_crop
from openexpose.predict import landmarks

SIZE = 32


def picture(height: int = 150, width: int = 200) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def tensor(pixels: np.ndarray) -> Tensor:
    return torch.tensor(pixels.transpose(2, 0, 1)[None] / 255.0, dtype=torch.float32)


def tensors(crop: Crop) -> Crops:
    return Crops(**{k: torch.tensor(v, dtype=torch.float32) if k != "mirrored" else v for k, v in asdict(crop).items()})


def agree(ours: Crops, runtime: Crop, atol: float = 1e-3) -> None:
    assert ours.mirrored == runtime.mirrored
    np.testing.assert_allclose(ours.T_image_crop.numpy(), runtime.T_image_crop, atol=atol)


@pytest.mark.parametrize("mirrored", [False, True])
def test_sampling_equals_the_runtime(mirrored: bool) -> None:
    """Inside, over the edge, outside and around the picture; enlarged, and reduced by up to 12 (block means)."""
    rng = np.random.default_rng(1)
    sides = np.array([9.0, 20.0, 33.0, 47.0, 48.1, 90.0, 160.0, 400.0, 20.0])
    centres = np.concatenate([rng.uniform(20, 130, (8, 2)), [[-300.0, 20.0]]])
    crop = Crop(centres, sides, np.where(np.arange(9) % 2 == 0, 0.0, rng.uniform(-3, 3, 9)), mirrored)
    expected = np.stack([sample_crop(picture(), crop[k], SIZE) for k in range(9)])
    got = sample_crops(tensor(picture()), tensors(crop), SIZE)
    np.testing.assert_allclose(got.numpy(), expected, atol=2e-4)  # float32 positions: 1e-5 px on a noise picture
    assert (got[-1] == 0).all() and (got[:-1] > 0).any()


def test_a_crop_of_exactly_the_picture_is_the_picture() -> None:
    pixels = picture(SIZE, SIZE)
    crop = tensors(Crop(np.array([[16.0, 16.0]]), np.array([32.0]), np.zeros(1)))
    torch.testing.assert_close(sample_crops(tensor(pixels), crop, SIZE), tensor(pixels), atol=1e-5, rtol=0)


def test_one_picture_each_or_one_for_all() -> None:
    first, second = tensor(picture()), tensor(picture()[::-1].copy())
    crops = tensors(Crop(np.full((2, 2), 70.0), np.full(2, 40.0), np.zeros(2)))
    both = sample_crops(torch.cat([first, second]), crops, SIZE)
    torch.testing.assert_close(both[:1], sample_crops(first, crops, SIZE)[:1])
    torch.testing.assert_close(both[1:], sample_crops(second, crops, SIZE)[1:])
    nobody = Crops(torch.zeros(0, 2), torch.zeros(0), torch.zeros(0))
    assert sample_crops(first, nobody, SIZE).shape == (0, 3, SIZE, SIZE)
    with pytest.raises(InputError, match="2 pictures for 3 crops"):
        sample_crops(torch.cat([first, second]), Crops(torch.ones(3, 2), torch.ones(3), torch.zeros(3)), SIZE)


@pytest.mark.parametrize("side", [0.0, -1.0, float("nan"), float("inf")])
def test_a_crop_without_extent_is_refused(side: float) -> None:
    with pytest.raises(InputError, match="crop"):
        sample_crops(tensor(picture()), Crops(torch.ones(1, 2), torch.tensor([side]), torch.zeros(1)), SIZE)


@pytest.mark.parametrize("side", [20.0, 100.0])
def test_gradients_are_the_derivatives_by_centre_side_and_angle(side: float) -> None:
    """On a ramp the derivative of every sample by the centre is known: the ramp's slope."""
    x = torch.arange(200.0) + 0.5
    ramp = (0.004 * x).expand(1, 3, 150, 200)
    centre = torch.tensor([[100.0, 75.0]], requires_grad=True)
    size, angle = torch.tensor([side], requires_grad=True), torch.zeros(1, requires_grad=True)
    samples = sample_crops(ramp, Crops(centre, size, angle), SIZE)
    steps = (2.0 * torch.arange(SIZE) + 1.0) / SIZE - 1.0
    torch.testing.assert_close(samples[0, 0, 0], 0.004 * (100.0 + 0.5 * side * steps), atol=1e-5, rtol=0)
    (by_centre,) = torch.autograd.grad(samples.mean(), centre, retain_graph=True)
    torch.testing.assert_close(by_centre, torch.tensor([[0.004, 0.0]]), atol=1e-6, rtol=0)
    right = samples[0, 0, :, SIZE // 2 :].mean()
    by_side, _ = torch.autograd.grad(right, (size, angle), retain_graph=True)
    torch.testing.assert_close(by_side, torch.tensor([0.004 * 0.25]), atol=1e-6, rtol=0)
    (by_angle,) = torch.autograd.grad(samples[0, 0, SIZE // 2 :].mean(), angle)
    torch.testing.assert_close(by_angle, torch.tensor([-0.004 * 0.25 * side]), atol=1e-5, rtol=0)


def test_crops_from_boxes_equals_the_runtime() -> None:
    boxes = np.array([[1.0, 2.0, 30.0, 90.0], [5.0, 5.0, 60.0, 20.0]])
    agree(crops_from_boxes(torch.tensor(boxes), 1.25), crop_from_boxes(boxes, 1.25))


@pytest.mark.parametrize("turn", [False, True])
@pytest.mark.parametrize("part", ["left_hand", "right_hand", "face"])
def test_attention_crop_equals_the_runtime_and_contains_the_part(part: str, turn: bool) -> None:
    projected = np.random.default_rng(2).uniform(0, 300, (5, 144, 2))
    runtime = landmarks.attention_crop(projected, part, 2.0, turn)
    crops = attention_crop(torch.tensor(projected, dtype=torch.float32), part, 2.0, turn)
    agree(crops, runtime)
    points = projected[:, PARTS["head" if part == "face" else part]]
    reach = np.abs(runtime.from_image(points))
    np.testing.assert_allclose(reach.max((1, 2)), 0.5, atol=1e-6)  # scale 2: the longer side fills half of the crop


@pytest.mark.parametrize(("network", "count"), [("body", 39), ("hand", 21), ("face", 478)])
@pytest.mark.parametrize("mirrored", [False, True])
def test_the_trunks_own_crop_equals_the_runtime(network: str, count: int, mirrored: bool) -> None:
    points = np.random.default_rng(3).uniform(0, 300, (4, count, 2))
    mirrored = mirrored and network == "hand"
    crops = trunk_crop(network, torch.tensor(points, dtype=torch.float32), mirrored)
    agree(crops, landmarks.TRUNK_CROPS[network](points, mirrored))


def test_the_crops_follow_the_points() -> None:
    """Gradients of the attention: moving all joints moves the centre as much; spreading them widens the side."""
    projected = torch.rand(2, 144, 2, generator=torch.Generator().manual_seed(4)).mul(100).requires_grad_()
    crops = attention_crop(projected, "right_hand", 3.0, False)
    (by_points,) = torch.autograd.grad(crops.centre_px.sum(), projected, retain_graph=True)
    torch.testing.assert_close(by_points.sum(1), torch.ones(2, 2))
    (by_points,) = torch.autograd.grad(crops.side_px.sum(), projected)
    torch.testing.assert_close((by_points * projected).sum((1, 2)), crops.side_px)
