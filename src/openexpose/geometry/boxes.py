"""Boxes and the square crops that networks look at.

Pixel coordinates are continuous: an image of width W spans [0, W], the centre of its first pixel is at 0.5.
A box is (x1, y1, x2, y2) in pixels. A crop is a square, possibly turned in the image; its own coordinates are
[-1, 1]^2 with x right and y down.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from openexpose.errors import InputError

Array = np.ndarray

FARTHEST = 100
"""No box may reach farther from the picture's corner than this many times its longer side."""


@dataclass(frozen=True)
class Crop:
    """A batch of square image regions.

    Attributes:
        centre_px: centres [*batch, 2], pixels of the original image.
        side_px: side lengths [*batch], pixels of the original image.
        angle_rad: rotation [*batch] of the crop's x axis from the image's x axis, clockwise as seen.
        mirrored: True where the crop's content is flipped left-right, so that a left hand looks like a right hand.
    """

    centre_px: Float[Array, "*batch 2"]
    side_px: Float[Array, "*batch"]
    angle_rad: Float[Array, "*batch"]
    mirrored: bool = False

    @property
    def T_image_crop(self) -> Float[Array, "*batch 2 3"]:
        """Affine map from crop coordinates ([-1, 1]^2) to image pixels."""
        c, s, half = np.cos(self.angle_rad), np.sin(self.angle_rad), 0.5 * np.asarray(self.side_px)
        flip = -1.0 if self.mirrored else 1.0
        x, y = self.centre_px[..., 0], self.centre_px[..., 1]
        return np.stack([flip * c * half, -s * half, x, flip * s * half, c * half, y], -1).reshape(*half.shape, 2, 3)

    def to_image(self, points: Float[Array, "*batch n 2"]) -> Float[Array, "*batch n 2"]:
        """Points in crop coordinates to image pixels."""
        T = self.T_image_crop
        return points @ np.swapaxes(T[..., :2], -1, -2) + T[..., None, :, 2]

    def from_image(self, points_px: Float[Array, "*batch n 2"]) -> Float[Array, "*batch n 2"]:
        """Image pixels to crop coordinates: the inverse of :meth:`to_image`."""
        T = self.T_image_crop
        linear = np.linalg.inv(T[..., :2])
        return (points_px - T[..., None, :, 2]) @ np.swapaxes(linear, -1, -2)

    def __getitem__(self, index: int | slice | Array) -> "Crop":
        """The crops at ``index`` of the leading batch axis."""
        return Crop(self.centre_px[index], self.side_px[index], self.angle_rad[index], self.mirrored)


def crop_from_boxes(boxes_xyxy_px: Float[Array, "*batch 4"], scale: float) -> Crop:
    """Upright square crops around boxes: the centre stays, the side is ``scale`` times the longer side of the box.

    The side is computed in single precision, as in the torch twin: crops that are cut at whole pixels depend on it.
    """
    low, high = boxes_xyxy_px[..., :2], boxes_xyxy_px[..., 2:]
    side = (np.float32(scale) * (high - low).max(-1).astype(np.float32)).astype(float)
    return Crop((low + high) / 2.0, side, np.zeros_like(side))


def box_around(points_px: Float[Array, "*batch n 2"]) -> Float[Array, "*batch 4"]:
    """The tight box (x1, y1, x2, y2) around points."""
    return np.concatenate([points_px.min(-2), points_px.max(-2)], -1)


def intersection_over_union(a: Float[Array, "n 4"], b: Float[Array, "m 4"]) -> Float[Array, "n m"]:
    """Pairwise overlap of two lists of boxes: area of the intersection over area of the union."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    inter = np.clip(high - low, 0.0, None).prod(-1)
    area_a, area_b = (a[:, 2:] - a[:, :2]).prod(-1), (b[:, 2:] - b[:, :2]).prod(-1)
    return inter / np.maximum(area_a[:, None] + area_b[None] - inter, 1e-12)


def check_boxes(boxes: object, width: int, height: int, source: str) -> Float[Array, "n 4"]:
    """Validate user-given boxes for an image.

    Args:
        boxes: what the user gave: a list of [x1, y1, x2, y2].
        width, height: size of the image, pixels.
        source: what to call the boxes in the error message.

    Raises:
        InputError: not a list of four finite numbers each, no area, entirely outside the picture, or reaching
            farther than ``FARTHEST`` times the picture's longer side.
    """
    expected = "a list of [x1, y1, x2, y2] in pixels with x1 < x2 and y1 < y2"
    try:
        array = np.asarray(boxes, float)
    except (TypeError, ValueError, OverflowError):  # the last: whole numbers beyond the range of floats
        array = np.zeros(())
    if array.shape == (0,):
        array = np.zeros((0, 4))
    if array.ndim != 2 or array.shape[1] != 4:
        raise InputError(f"{source} holds {str(boxes)[:80]!r}", expected)
    for box in array:
        shown = [round(float(v), 2) for v in box]
        if not np.isfinite(box).all():
            raise InputError(f"{source} holds the box {shown}", expected + ", all finite numbers")
        if box[2] <= box[0] or box[3] <= box[1]:
            raise InputError(f"{source} holds the box {shown}, which has no area", expected)
        if box[2] <= 0 or box[3] <= 0 or box[0] >= width or box[1] >= height:
            raise InputError(
                f"{source} holds the box {shown}, which lies outside the {width} x {height} picture",
                "boxes that overlap the picture",
                "Boxes count pixels of the upright picture (after its EXIF rotation).",
            )
        if np.abs(box).max() > FARTHEST * max(width, height):
            raise InputError(
                f"{source} holds the box {shown}, which reaches far beyond the {width} x {height} picture",
                f"boxes within {FARTHEST} times the picture's longer side",
            )
    return array
