"""The crop sampler: laws of sampling in continuous pixel coordinates."""

import numpy as np
import pytest

from openexpose.errors import InputError
from openexpose.geometry.boxes import Crop
from openexpose.image.crop import sample_crop


def crop(x: float, y: float, side: float, angle: float = 0.0, mirrored: bool = False) -> Crop:
    return Crop(np.array([x, y]), np.array(side), np.array(angle), mirrored)


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)


def channels_first(image: np.ndarray) -> np.ndarray:
    return image.transpose(2, 0, 1).astype(np.float32) / 255.0


def naive(image: np.ndarray, where: Crop, size: int) -> np.ndarray:
    """Bilinear sampling pixel by pixel, without antialiasing: the oracle."""
    height, width = image.shape[:2]
    out = np.zeros((3, size, size))
    for i in range(size):
        for j in range(size):
            point = (2 * np.array([[j, i]]) + 1.0) / size - 1.0
            x, y = where.to_image(point)[0] - 0.5
            for row in (int(np.floor(y)), int(np.floor(y)) + 1):
                for column in (int(np.floor(x)), int(np.floor(x)) + 1):
                    if 0 <= row < height and 0 <= column < width:
                        weight = (1 - abs(x - column)) * (1 - abs(y - row))
                        out[:, i, j] += weight * image[row, column] / 255.0
    return out


def test_crop_of_the_whole_image_is_the_image() -> None:
    image = noise(32, 32)
    sampled = sample_crop(image, crop(16, 16, 32), 32)
    assert sampled.dtype == np.float32 and sampled.shape == (3, 32, 32)
    np.testing.assert_allclose(sampled, channels_first(image), atol=1e-6)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_quarter_turns(quarters: int) -> None:
    image = noise(32, 32)
    sampled = sample_crop(image, crop(16, 16, 32, quarters * np.pi / 2), 32)
    np.testing.assert_allclose(sampled, channels_first(np.rot90(image, quarters)), atol=1e-5)


@pytest.mark.parametrize("angle", [0.0, 0.4])
def test_mirrored_is_flipped(angle: float) -> None:
    image = noise(40, 50)
    plain, flipped = (sample_crop(image, crop(22, 17, 30, angle, m), 24) for m in (False, True))
    np.testing.assert_allclose(flipped, plain[..., ::-1], atol=1e-5)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize(("side", "angle"), [(12.0, 0.0), (12.0, 0.7), (30.0, 0.0), (30.0, -2.0), (3.0, 0.1)])
def test_equals_the_naive_sampler(side: float, angle: float, mirrored: bool) -> None:
    image = noise(25, 31)
    for x, y in ((15.3, 12.2), (0.2, 1.7), (30.0, 26.0)):
        where = crop(x, y, side, angle, mirrored)
        np.testing.assert_allclose(sample_crop(image, where, 24), naive(image, where, 24), atol=1e-5)


@pytest.mark.parametrize("side", [10.0, 40.0, 63.0, 64.0, 90.5, 150.0])
@pytest.mark.parametrize("angle", [0.0, 0.5])
def test_a_linear_ramp_stays_one_at_every_scale(side: float, angle: float) -> None:
    """Wherever the crop lies well inside; so averaging blocks moves nothing."""
    y, x = np.mgrid[:300, :400] + 0.5
    image = np.stack([x / 400, y / 300, (x - y) / 800 + 0.5], -1).astype(np.float32)
    where = crop(201.3, 148.9, side, angle)
    grid = (2 * np.arange(32) + 1.0) / 32 - 1.0
    points = np.stack(np.meshgrid(grid, grid), -1).reshape(-1, 2)
    px, py = where.to_image(points).reshape(32, 32, 2).transpose(2, 0, 1)
    expected = np.stack([px / 400, py / 300, (px - py) / 800 + 0.5])
    np.testing.assert_allclose(sample_crop(image, where, 32), expected, atol=2e-6)


@pytest.mark.parametrize("k", [2, 3, 7])
def test_a_far_bigger_crop_is_the_area_average(k: int) -> None:
    image = noise(16 * k, 16 * k)
    sampled = sample_crop(image, crop(8 * k, 8 * k, 16 * k), 16)
    mean = channels_first(image).reshape(3, 16, k, 16, k).mean((2, 4))
    np.testing.assert_allclose(sampled, mean, atol=1e-5)


def test_averages_hold_for_hundreds_of_white_pixels() -> None:
    """Sums of blocks do not overflow."""
    image = np.full((1200, 1200, 3), 255, np.uint8)
    np.testing.assert_allclose(sample_crop(image, crop(600, 600, 1200), 3), 1.0, atol=1e-5)


@pytest.mark.parametrize("side", [20.0, 100.0])
def test_black_outside(side: float) -> None:
    image = np.full((20, 20, 3), 255, np.uint8)
    sampled = sample_crop(image, crop(0, 10, side), 20)
    assert (sampled[..., : 20 // 2 - 1] == 0).all()
    assert sampled[:, 10, 11].min() > 0.6
    for x, y in ((-100, 10), (10, 1e6), (-1e9, -1e9)):
        assert (sample_crop(image, crop(x, y, side, 0.3), 20) == 0).all()


@pytest.mark.parametrize("angle", [0.0, 1.0])
@pytest.mark.parametrize("side", [0.01, 1.0, 50.0, 1e6])
def test_one_pixel_image(side: float, angle: float) -> None:
    sampled = sample_crop(np.full((1, 1, 3), 255, np.uint8), crop(0.5, 0.5, side, angle), 9)
    assert sampled.shape == (3, 9, 9) and np.isfinite(sampled).all()
    assert sampled.min() >= 0.0 and sampled.max() <= 1.0 + 1e-6
    if side <= 1.0:
        assert sampled[:, 4, 4] == pytest.approx(1.0)


def test_uint8_and_float_agree() -> None:
    image = noise(90, 70)
    for where in (crop(30, 40, 25, 0.2), crop(30, 40, 100), crop(30, 40, 100, 0.2)):
        floats = sample_crop((image / 255.0).astype(np.float32), where, 20)
        np.testing.assert_allclose(sample_crop(image, where, 20), floats, atol=1e-5)


def test_translation_equivariance() -> None:
    image = noise(120, 120)
    for side in (20.0, 77.0):  # 8 is a whole number of the blocks averaged
        moved = np.zeros_like(image)
        moved[8:, 8:] = image[:-8, :-8]
        there = sample_crop(moved, crop(68, 63, side, 0.2), 10)
        np.testing.assert_allclose(there, sample_crop(image, crop(60, 55, side, 0.2), 10), atol=1e-5)


@pytest.mark.parametrize("bad", [crop(np.nan, 1, 5), crop(1, 1, 0), crop(1, 1, -3), crop(1, 1, np.inf)])
def test_senseless_crops_are_refused(bad: Crop) -> None:
    with pytest.raises(InputError):
        sample_crop(noise(4, 4), bad, 8)
