"""Thumbnails, by which the pictures of frozen test sets are known again on any machine."""

import cv2
import numpy as np
from jaxtyping import UInt8

from openexpose.errors import InputError

Array = np.ndarray

THUMB = 8
"""Thumbnails have so many pixels a side."""


def thumbnail(jpeg: bytes, size: tuple[int, int]) -> UInt8[Array, "8 8 3"]:
    """A picture in 8 x 8 pixels, RGB.

    Args:
        jpeg: the file.
        size: width and height that it must have.

    Raises:
        InputError: it does not decode, or has another size.
    """
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR) if jpeg else None
    if image is None or image.shape[1::-1] != tuple(size):
        raise InputError("a picture that does not decode or has another size", f"a JPEG file of {size} pixels")
    return np.ascontiguousarray(cv2.resize(image, (THUMB, THUMB), interpolation=cv2.INTER_AREA)[..., ::-1])


def difference(first: UInt8[Array, "8 8 3"], second: UInt8[Array, "8 8 3"]) -> float:
    """Mean absolute difference of two thumbnails, grey levels."""
    return float(np.abs(first.astype(float) - second).mean())
