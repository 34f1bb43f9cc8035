"""Cutting square crops out of photos: the one sampler of the runtime."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from openexpose.errors import InputError
from openexpose.geometry.boxes import Crop

Picture = UInt8[np.ndarray, "height width 3"] | Float[np.ndarray, "height width 3"]


@dataclass(frozen=True)
class Sampling:
    """How crops become a network's input. All are bilinear; networks want the way that they were trained with."""

    antialias: bool = True
    """Where the crop has ``k`` >= 1.5 photo pixels a sample, average blocks of round(k) x round(k) photo pixels first;
    pixel centres stay where they are."""
    corners: bool = False
    """The first and last samples lie on the crop's edges, not half a sample inside; and the pixel in column c is taken
    to be at x = c, not at c + 0.5."""
    whole_pixels: bool = False
    """The crop's edges are cut down to whole pixels (towards zero), and nothing beyond them is read."""
    outside: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Colour outside the photo, 0..1."""


SAMPLINGS: dict[str, Sampling] = {
    "area": Sampling(),
    "whole-pixels": Sampling(antialias=False, whole_pixels=True),
    "corners": Sampling(antialias=False, corners=True, outside=(0.485, 0.456, 0.406)),
}
"""``area``: ours. ``whole-pixels`` and ``corners``: of the released body network, and of the hand and face networks,
which sample the normalised photo, so that outside it lies the mean colour of ImageNet."""


def sample_crop(
    image: Picture, crop: Crop, size: int, sampling: Sampling = SAMPLINGS["area"]
) -> Float[np.ndarray, "3 {size} {size}"]:
    """Sample a crop of a photo as a network's input: bilinear, antialiased, black outside the photo.

    Sample i of ``size`` lies at crop coordinate ``2 (i + 0.5) / size - 1``. ``sampling`` tells other ways.

    Args:
        image: RGB photo, uint8 (0..255) or float (0..1).
        crop: one crop (no batch axis), in pixels of the photo.
        size: side of the result, samples.

    Returns:
        float32, 0..1.

    Raises:
        InputError: the crop is not finite or has no extent.
    """
    side = float(crop.side_px)
    if not (np.isfinite([side, crop.angle_rad, *crop.centre_px]).all() and side > 0):
        raise InputError(f"a crop of side {side} px at {np.asarray(crop.centre_px).tolist()}", "finite, side above 0")
    T = np.asarray(crop.T_image_crop, float)
    block = max(1, int(side / size + 0.5)) if sampling.antialias else 1
    grid = np.linspace(-1.0, 1.0, size) if sampling.corners else (2.0 * np.arange(size) + 1.0) / size - 1.0
    fill = np.asarray(sampling.outside, np.float32)[:, None, None]
    if sampling.corners:
        T[:, 2] += 0.5
    inner = None
    if sampling.whole_pixels:
        T, inner = whole_pixels(T)
    reach = np.abs(T[:, :2]).sum(1) + block
    low = np.maximum(np.floor(T[:, 2] - reach), 0).astype(np.int64)
    high = np.minimum(np.ceil(T[:, 2] + reach), image.shape[1::-1]).astype(np.int64)
    if (high <= low).any():
        return np.broadcast_to(fill, (3, size, size)).copy()
    planes = _block_means(image, low, high, block, sampling.outside)
    # Positions in the block grid with its border: block (0, 0) of the region has its centre at (1, 1).
    T = T / block
    T[:, 2] += 0.5 - low / block
    if T[0, 1] == 0.0 and T[1, 0] == 0.0:
        x, y = (T[axis, axis] * grid + T[axis, 2] for axis in (0, 1))
        if inner is not None:
            x, y = (np.clip(v, *(inner[axis] + 0.5 - low[axis])) for axis, v in enumerate((x, y)))
        return _sample_upright(planes, x, y)
    x, y = (row[0] * grid[None, :] + row[1] * grid[:, None] + row[2] for row in T)
    return _sample_anywhere(planes, x, y)


def whole_pixels(T: Float[np.ndarray, "2 3"]) -> tuple[Float[np.ndarray, "2 3"], Float[np.ndarray, "2 2"]]:
    """The affine map of an upright crop whose edges are cut down to whole pixels, and for x and y the centres of the
    first and last pixel inside.

    Raises:
        InputError: the crop is turned, or less than a pixel is left.
    """
    if T[0, 1] != 0.0 or T[1, 0] != 0.0:
        raise InputError("a turned crop", "an upright one: this network's crops are cut at whole pixels")
    first, last = np.trunc(T[:, 2] - np.diag(T)), np.trunc(T[:, 2] + np.diag(T))
    if (last - first < 1).any():
        raise InputError(f"a crop of {(last - first).tolist()} pixels", "at least one pixel")
    cut = np.concatenate([np.diag((last - first) / 2.0), (first + last)[:, None] / 2.0], 1)
    return cut, np.stack([first + 0.5, last - 0.5], 1)


def _block_means(
    image: Picture, low: np.ndarray, high: np.ndarray, block: int, outside: tuple[float, float, float]
) -> Float[np.ndarray, "3 h w"]:
    """Means of block x block pixels from corner ``low`` on, with a border of one block of ``outside`` around; 0..1.

    Blocks that reach over the edge of the photo count black there.
    """
    counts = -(-(high - low) // block)
    high = np.minimum(low + counts * block, image.shape[1::-1])
    region = image[low[1] : high[1], low[0] : high[0]]
    scale = 1.0 / (block * block * (255 if image.dtype == np.uint8 else 1))
    if block > 1:
        region = _sum_blocks(_sum_blocks(region, 0, block), 1, block)
    planes = np.empty((3, counts[1] + 2, counts[0] + 2), np.float32)
    planes[:] = np.asarray(outside, np.float32)[:, None, None]
    np.multiply(region.transpose(2, 0, 1), np.float32(scale), out=planes[:, 1:-1, 1:-1], casting="unsafe")
    return planes


def _sum_blocks(values: np.ndarray, axis: int, block: int) -> np.ndarray:
    """Sums over runs of ``block`` along an axis; the last run may be shorter."""
    values = np.moveaxis(values, axis, 0)
    if values.dtype.kind == "f":
        dtype: type = np.float32
    else:
        dtype = np.uint16 if values.dtype == np.uint8 and block <= 257 else np.uint32
    sums = np.zeros((-(-len(values) // block), *values.shape[1:]), dtype)
    for offset in range(min(block, len(values))):
        part = values[offset::block]
        sums[: len(part)] += part
    return np.moveaxis(sums, 0, axis)


def _cells(positions: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Index of the lower neighbour and weight of the upper one; beyond the border everything is the border."""
    positions = np.clip(positions, 0.0, count - 1.0)
    index = np.minimum(positions.astype(np.int64), count - 2)
    return index, (positions - index).astype(np.float32)


def _sample_upright(planes: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Bilinear samples at the grid of columns x [n] and rows y [n]."""
    column, right = _cells(x, planes.shape[2])
    row, lower = _cells(y, planes.shape[1])
    upper_rows = planes[:, row]
    rows = upper_rows + (planes[:, row + 1] - upper_rows) * lower[:, None]
    left_columns = rows[:, :, column]
    return left_columns + (rows[:, :, column + 1] - left_columns) * right


def _sample_anywhere(planes: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Bilinear samples at points x, y [n, n]."""
    width = planes.shape[2]
    column, right = _cells(x, width)
    row, lower = _cells(y, planes.shape[1])
    index = row * width + column
    flat = planes.reshape(3, -1)
    left, low_left = flat.take(index, 1, mode="clip"), flat.take(index + width, 1, mode="clip")
    left += (flat.take(index + 1, 1, mode="clip") - left) * right
    low_left += (flat.take(index + width + 1, 1, mode="clip") - low_left) * right
    left += (low_left - left) * lower
    return left
