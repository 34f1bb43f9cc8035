"""Ways of sampling crops: the runtime's sampler and its torch twin against loops over pixels."""

import numpy as np
import pytest
import torch

from openexpose.errors import InputError
from openexpose.geometry.boxes import Crop
from openexpose.image.crop import SAMPLINGS, Sampling, sample_crop, whole_pixels
from openexpose.nets.attention import Crops, sample_crops

WIDTH, HEIGHT = 40, 30
COLOUR = (0.485, 0.456, 0.406)
PLACES = {
    "inside": (19.3, 14.8, 17.0),
    "over the left edge": (2.2, 14.5, 13.0),
    "over the lower right corner": (36.7, 27.1, 20.0),
    "around the picture": (20.4, 14.6, 75.0),
    "exactly the border": (6.0, 6.0, 12.0),
    "at negative corners": (3.6, 2.3, 11.7),
    "small": (21.3, 9.7, 3.1),
    "reduced by four": (18.9, 16.2, 61.0),
}


def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def crop_at(x: float, y: float, side: float, mirrored: bool = False, angle: float = 0.0) -> Crop:
    return Crop(np.array([x, y]), np.array(side), np.array(angle), mirrored)


def both(picture: np.ndarray, crop: Crop, size: int, sampling: Sampling) -> list[np.ndarray]:
    """The runtime's samples and the twin's."""
    tensors = (
        torch.tensor(np.asarray(v)[None], dtype=torch.float32) for v in (crop.centre_px, crop.side_px, crop.angle_rad)
    )
    pixels = torch.tensor(picture.transpose(2, 0, 1)[None] / 255.0, dtype=torch.float32)
    twin = sample_crops(pixels, Crops(*tensors, mirrored=crop.mirrored), size, sampling)[0].numpy()
    return [sample_crop(picture, crop, size, sampling), twin]


def bilinear(picture: np.ndarray, x: float, y: float, outside: tuple[float, ...]) -> np.ndarray:
    """At column x and row y, which count from the centre of the first pixel."""
    total = np.zeros(3)
    for row in (int(np.floor(y)), int(np.floor(y)) + 1):
        for column in (int(np.floor(x)), int(np.floor(x)) + 1):
            inside = 0 <= row < picture.shape[0] and 0 <= column < picture.shape[1]
            value = picture[row, column] / 255.0 if inside else np.array(outside)
            total += (1 - abs(x - column)) * (1 - abs(y - row)) * value
    return total


def naive_corners(picture: np.ndarray, crop: Crop, size: int) -> np.ndarray:
    """First and last samples on the crop's edges; the pixel in column c at x = c; ImageNet's colour outside."""
    out = np.zeros((3, size, size))
    for i in range(size):
        for j in range(size):
            u = (size - 1 - j if crop.mirrored else j) / (size - 1)
            x, y = crop.centre_px + float(crop.side_px) * (np.array([u, i / (size - 1)]) - 0.5)
            out[:, i, j] = bilinear(picture, x, y, COLOUR)
    return out


def naive_whole_pixels(picture: np.ndarray, crop: Crop, size: int) -> np.ndarray:
    """The square cut at whole pixels, copied onto black, then resized bilinearly; its border repeats outwards."""
    first = [int(v) for v in crop.centre_px - float(crop.side_px) / 2.0]  # int() cuts towards zero
    last = [int(v) for v in crop.centre_px + float(crop.side_px) / 2.0]
    square = np.zeros((last[1] - first[1], last[0] - first[0], 3))
    for row in range(square.shape[0]):
        for column in range(square.shape[1]):
            y, x = row + first[1], column + first[0]
            if 0 <= y < picture.shape[0] and 0 <= x < picture.shape[1]:
                square[row, column] = picture[y, x]
    out = np.zeros((3, size, size))
    for i in range(size):
        for j in range(size):
            y, x = ((k + 0.5) * n / size - 0.5 for k, n in zip((i, j), square.shape, strict=False))
            out[:, i, j] = bilinear(
                square, np.clip(x, 0, square.shape[1] - 1), np.clip(y, 0, square.shape[0] - 1), (0.0, 0.0, 0.0)
            )
    return out


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("place", PLACES)
def test_corners(place: str, mirrored: bool) -> None:
    crop = crop_at(*PLACES[place], mirrored)
    expected = naive_corners(image(), crop, 16)
    for got in both(image(), crop, 16, SAMPLINGS["corners"]):
        np.testing.assert_allclose(got, expected, atol=1e-4)


@pytest.mark.parametrize("place", [place for place in PLACES if place != "small"])
def test_whole_pixels(place: str) -> None:
    crop = crop_at(*PLACES[place])
    expected = naive_whole_pixels(image(), crop, 16)
    for got in both(image(), crop, 16, SAMPLINGS["whole-pixels"]):
        np.testing.assert_allclose(got, expected, atol=1e-4)


def test_edges_are_cut_towards_zero() -> None:
    """-2.7 becomes -2, and 9.9 becomes 9: the square is 11 pixels wide, not 12.6, nor the same left and right."""
    cut, inner = whole_pixels(crop_at(3.6, 3.6, 12.6).T_image_crop)
    np.testing.assert_allclose(cut, [[5.5, 0.0, 3.5], [0.0, 5.5, 3.5]])
    np.testing.assert_allclose(inner, [[-1.5, 8.5], [-1.5, 8.5]])


def test_a_crop_of_whole_pixels_is_the_picture_there() -> None:
    for sampling in ("whole-pixels", "area"):
        for got in both(image(), crop_at(18.0, 12.0, 16.0), 16, SAMPLINGS[sampling]):
            np.testing.assert_allclose(got, image()[4:20, 10:26].transpose(2, 0, 1) / 255.0, atol=1e-5)


def test_a_corner_grid_hits_pixels_by_their_number() -> None:
    """Samples from x = 10 to x = 25, one a pixel: columns 10 to 25."""
    for got in both(image(), crop_at(17.5, 11.5, 15.0), 16, SAMPLINGS["corners"]):
        np.testing.assert_allclose(got, image()[4:20, 10:26].transpose(2, 0, 1) / 255.0, atol=1e-5)


@pytest.mark.parametrize(("name", "colour"), [("area", (0, 0, 0)), ("whole-pixels", (0, 0, 0)), ("corners", COLOUR)])
@pytest.mark.parametrize("centre", [(-60.0, 10.0), (20.0, 90.0), (500.0, -300.0)])
def test_outside_the_picture(name: str, colour: tuple, centre: tuple[float, float]) -> None:
    for got in both(image(), crop_at(*centre, 20.0), 8, SAMPLINGS[name]):
        assert got.shape == (3, 8, 8) and got.dtype == np.float32
        np.testing.assert_allclose(got, np.broadcast_to(np.array(colour)[:, None, None], got.shape), atol=1e-6)


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize("angle", [0.0, 0.7])
def test_both_samplers_agree_in_any_mixture(antialias: bool, corners: bool, angle: float) -> None:
    """In a picture that is large enough for averaging to matter, over its border, any colour outside."""
    sampling = Sampling(antialias=antialias, corners=corners, outside=(0.2, 0.7, 1.0))
    picture = np.random.default_rng(1).integers(0, 256, (90, 130, 3), np.uint8)
    for x, y, side in ((70.0, 40.0, 60.0), (10.0, 80.0, 75.0), (66.0, 44.0, 300.0)):
        for mirrored in (False, True):
            ours, twin = both(picture, crop_at(x, y, side, mirrored, angle), 20, sampling)
            np.testing.assert_allclose(twin, ours, atol=3e-4)


def test_antialiasing_only_where_pixels_are_skipped() -> None:
    """Enlarged, both ways are the same; reduced by four, the unaveraged one keeps the contrast of noise."""
    plain = Sampling(antialias=False)
    small, large = crop_at(20.0, 15.0, 12.0), crop_at(20.0, 15.0, 28.0)
    np.testing.assert_allclose(sample_crop(image(), small, 16, plain), sample_crop(image(), small, 16), atol=1e-6)
    assert sample_crop(image(), large, 7, plain).std() > 1.5 * sample_crop(image(), large, 7).std()


@pytest.mark.parametrize(
    ("crop", "told"),
    [
        (crop_at(20.0, 15.0, 10.0, angle=0.3), "a turned crop"),
        (crop_at(20.6, 15.6, 0.5), r"a crop of \[0\.0, 0\.0\] pixels"),
        (crop_at(20.0, 15.0, 10.0, mirrored=True), "a crop of"),
        (crop_at(20.0, 15.0, 0.0), "side 0"),
    ],
)
def test_crops_that_cannot_be_cut_at_whole_pixels_are_told(crop: Crop, told: str) -> None:
    with pytest.raises(InputError, match=told):
        sample_crop(image(), crop, 8, SAMPLINGS["whole-pixels"])


def test_gradients_reach_the_corner_grid() -> None:
    """On a ramp, the derivative of a sample by the centre is the ramp's slope, by the side its place in the crop."""
    ramp = (0.004 * torch.arange(200.0)).expand(1, 3, 150, 200)
    centre, side = torch.tensor([[100.0, 75.0]], requires_grad=True), torch.tensor([50.0], requires_grad=True)
    samples = sample_crops(ramp, Crops(centre, side, torch.zeros(1)), 11, SAMPLINGS["corners"])
    torch.testing.assert_close(samples[0, 0, 0], 0.004 * torch.linspace(75.0, 125.0, 11), atol=1e-5, rtol=0)
    by_centre, by_side = torch.autograd.grad(samples[0, 0, 0, -1], (centre, side))
    torch.testing.assert_close(by_centre, torch.tensor([[0.004, 0.0]]), atol=1e-6, rtol=0)
    torch.testing.assert_close(by_side, torch.tensor([0.002]), atol=1e-6, rtol=0)
