"""Cutting square crops out of photos: the one sampler of the runtime."""

import numpy as np
from jaxtyping import Float, UInt8

from openexpose.errors import InputError
from openexpose.geometry.boxes import Crop

Picture = UInt8[np.ndarray, "height width 3"] | Float[np.ndarray, "height width 3"]


def sample_crop(image: Picture, crop: Crop, size: int) -> Float[np.ndarray, "3 {size} {size}"]:
    """Sample a crop of a photo as a network's input: bilinear, antialiased, black outside the photo.

    Sample i of ``size`` lies at crop coordinate ``2 (i + 0.5) / size - 1``. Where the crop has ``k`` >= 1.5 photo
    pixels a sample, blocks of round(k) x round(k) photo pixels are averaged first; pixel centres stay where they are.

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
    block = max(1, int(side / size + 0.5))
    grid = (2.0 * np.arange(size) + 1.0) / size - 1.0
    reach = np.abs(T[:, :2]).sum(1) + block
    low = np.maximum(np.floor(T[:, 2] - reach), 0).astype(np.int64)
    high = np.minimum(np.ceil(T[:, 2] + reach), image.shape[1::-1]).astype(np.int64)
    if (high <= low).any():
        return np.zeros((3, size, size), np.float32)
    planes = _block_means(image, low, high, block)
    # Positions in the block grid with its border: block (0, 0) of the region has its centre at (1, 1).
    T = T / block
    T[:, 2] += 0.5 - low / block
    if T[0, 1] == 0.0 and T[1, 0] == 0.0:
        return _sample_upright(planes, T[0, 0] * grid + T[0, 2], T[1, 1] * grid + T[1, 2])
    x, y = (row[0] * grid[None, :] + row[1] * grid[:, None] + row[2] for row in T)
    return _sample_anywhere(planes, x, y)


def _block_means(image: Picture, low: np.ndarray, high: np.ndarray, block: int) -> Float[np.ndarray, "3 h w"]:
    """Means of block x block pixels from corner ``low`` on, with a border of one black block around; 0..1.

    Blocks that reach over the edge of the photo count black there.
    """
    counts = -(-(high - low) // block)
    high = np.minimum(low + counts * block, image.shape[1::-1])
    region = image[low[1] : high[1], low[0] : high[0]]
    scale = 1.0 / (block * block * (255 if image.dtype == np.uint8 else 1))
    if block > 1:
        region = _sum_blocks(_sum_blocks(region, 0, block), 1, block)
    planes = np.zeros((3, counts[1] + 2, counts[0] + 2), np.float32)
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
