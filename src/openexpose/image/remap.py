"""A picture as another camera at the same place would have taken it: every pixel looked up where a map says."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, UInt8

Array = np.ndarray
Picture = UInt8[Array, "h w 3"]
Map = Callable[[Float[Array, "n 2"]], Float[Array, "n 2"]]

_BAND_PX = 1_000_000  # pixels made at a time: bounds the memory


def remap(
    pixels: Picture, size: tuple[int, int], places: Callable[[Float[Array, "n 2"]], Float[Array, "n 2"]]
) -> Picture:
    """Bilinear samples of a picture, black outside.

    Args:
        pixels: RGB.
        size: width and height of the new picture.
        places: where in ``pixels`` a point of the new picture lies; the first pixel's centre is at 0.5 in both.
    """
    width, height = size
    made = np.zeros((height, width, 3), np.uint8)
    rows = max(1, _BAND_PX // width)
    for top in range(0, height, rows):
        y, x = np.mgrid[top : min(top + rows, height), :width] + 0.5
        made[top : top + rows] = _bilinear(pixels, places(np.stack([x, y], -1).reshape(-1, 2))).reshape(*x.shape, 3)
    return made


def _bilinear(pixels: Picture, places: Float[Array, "n 2"]) -> UInt8[Array, "n 3"]:
    limits = np.array(pixels.shape[1::-1])
    inside = ((places >= 0) & (places <= limits)).all(-1)  # NaN is not
    spots = np.clip(places[inside] - 0.5, 0.0, limits - 1.0)
    low = np.minimum(spots.astype(np.int64), np.maximum(limits - 2, 0))
    high = np.minimum(low + 1, limits - 1)
    right, down = (spots - low).astype(np.float32).T[..., None]
    upper = pixels[low[:, 1], low[:, 0]] * (1 - right) + pixels[low[:, 1], high[:, 0]] * right
    lower = pixels[high[:, 1], low[:, 0]] * (1 - right) + pixels[high[:, 1], high[:, 0]] * right
    found = np.zeros((len(places), 3), np.uint8)
    found[inside] = np.rint(upper * (1 - down) + lower * down)
    return found
