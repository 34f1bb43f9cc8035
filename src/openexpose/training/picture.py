"""Pictures of predictions while training: crops with labelled and predicted keypoints."""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float, UInt8

Array = np.ndarray

LABELLED, PREDICTED = (60, 220, 60), (255, 60, 60)
"""Green and red."""


def draw_keypoints(
    image: Float[Array, "3 s s"], truth: Float[Array, "k 3"], predicted: Float[Array, "k 2"]
) -> UInt8[Array, "s s 3"]:
    """A crop (RGB, 0..1) with labels (x, y, confidence) in green and predictions (x, y) in red, crop coordinates."""
    picture = np.ascontiguousarray((255 * image.transpose(1, 2, 0)).clip(0, 255).astype(np.uint8))
    half = len(picture) / 2.0
    for points, colour in ((truth[truth[:, 2] > 0, :2], LABELLED), (predicted, PREDICTED)):
        for x, y in np.clip((points[np.isfinite(points).all(1)] + 1.0) * half, -9999, 9999):
            cv2.circle(picture, (int(8 * x), int(8 * y)), 12, colour, -1, cv2.LINE_AA, 3)
    return picture


def tile(pictures: Sequence[UInt8[Array, "s s 3"]], columns: int = 4) -> UInt8[Array, "h w 3"]:
    """Pictures of one size side by side, in rows."""
    blank = np.zeros_like(pictures[0])
    padded = [*pictures, *[blank] * (-len(pictures) % columns)]
    return np.concatenate([np.concatenate(padded[k : k + columns], 1) for k in range(0, len(padded), columns)])
