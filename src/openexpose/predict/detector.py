"""Find people in an image: NanoDet-416 in onnxruntime, and the decoding of its raw outputs.

The network is RangiLyu/nanodet (Generalized Focal Loss head, Li et al. 2020): at each cell of three grids a person
score and, for each side of the box, a distribution over 0..10 strides whose mean is the distance to that side.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from openexpose.errors import InputError
from openexpose.geometry.boxes import intersection_over_union
from openexpose.predict.bundle import open_session

SIDE_PX = 416
"""Side of the network's square input."""
STRIDES_PX = (8, 16, 32)
"""Cell sizes of the three grids; the cells come row by row, the finest grid first."""
BINS = 11
"""A distance is the mean of a distribution over 0..10 strides."""
THRESHOLD = 0.3
"""Default score from which a box counts as a person."""
PADDING_RGB = (123.675, 116.28, 103.53)
"""Colour (0..255) of the input beside the image: the mean colour of the network's training images."""
NMS_IOU = 0.5
"""Of two boxes that overlap more than this, the one with the lower score is dropped."""


@dataclass(frozen=True)
class Detections:
    """People found in one image, best first."""

    boxes_xyxy_px: Float[np.ndarray, "d 4"]
    """Boxes in pixels of the original image, inside it."""
    score: Float[np.ndarray, "d"]
    """Probability of a person."""

    def __len__(self) -> int:
        """Return the number of people."""
        return len(self.score)


def letterbox(image: UInt8[np.ndarray, "h w 3"]) -> tuple[Float[np.ndarray, "1 3 416 416"], float]:
    """Shrink or enlarge an image into the top left of the network input (RGB in 0..1); also return the scale.

    The scale is network pixels per image pixel.
    """
    height, width = image.shape[:2]
    scale = SIDE_PX / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = Image.fromarray(image).resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    canvas = np.full((SIDE_PX, SIDE_PX, 3), PADDING_RGB, np.float32)
    canvas[: size[1], : size[0]] = np.asarray(small)
    return np.ascontiguousarray(canvas.transpose(2, 0, 1)[None] / 255), scale


def cell_centres() -> tuple[Float[np.ndarray, "c 2"], Float[np.ndarray, "c"]]:
    """Return the centre (x, y) and the stride of every cell, in pixels of the network input."""
    centres, strides = [], []
    for stride in STRIDES_PX:
        grid = SIDE_PX // stride
        y, x = np.mgrid[:grid, :grid]
        centres.append((np.stack([x.ravel(), y.ravel()], 1) + 0.5) * stride)
        strides.append(np.full(grid * grid, float(stride)))
    return np.concatenate(centres), np.concatenate(strides)


def decode_boxes(
    distance: Float[np.ndarray, "c 44"], centre_px: Float[np.ndarray, "c 2"], stride_px: Float[np.ndarray, "c"]
) -> Float[np.ndarray, "c 4"]:
    """Turn distance logits (left, top, right, bottom; 11 bins each) into boxes in pixels of the network input."""
    logits = distance.reshape(-1, 4, BINS)
    weight = np.exp(logits - logits.max(-1, keepdims=True))
    mean = (weight @ np.arange(BINS)) / weight.sum(-1) * stride_px[:, None]
    return np.concatenate([centre_px - mean[:, :2], centre_px + mean[:, 2:]], 1)


def suppress_overlaps(
    boxes: Float[np.ndarray, "d 4"], score: Float[np.ndarray, "d"], iou: float = NMS_IOU
) -> list[int]:
    """Return the indices that greedy non-maximum suppression keeps, best score first."""
    order, kept = np.argsort(-score, kind="stable"), []
    while len(order):
        best, order = int(order[0]), order[1:]
        kept.append(best)
        order = order[intersection_over_union(boxes[best, None], boxes[order])[0] <= iou]
    return kept


class Detector:
    """The person detector of a bundle; construction loads the network, calling it finds people."""

    def __init__(self, path: Path, *, threads: int = 1, device: str = "cpu", threshold: float = THRESHOLD):
        """Load `detector.onnx`. Raises `InputError` when the file is missing, not ONNX or another network."""
        self._session = open_session(path, threads, device)
        outputs = [output.name for output in self._session.get_outputs()]
        if outputs != ["score", "distance"]:
            raise InputError(got=f"{path} with outputs {outputs}", expected="score, distance", fix="check the bundle")
        self.threshold = threshold
        self._centre_px, self._stride_px = cell_centres()

    def __call__(self, image: UInt8[np.ndarray, "h w 3"]) -> Detections:
        """Find people in an RGB image. Raises `InputError` for another shape or dtype, or an empty image."""
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
            raise InputError(
                got=f"an image of shape {image.shape}, {image.dtype}",
                expected="[h,w,3] uint8 RGB, not empty",
                fix="read it with openexpose.image.read",
            )
        network_input, scale = letterbox(image)
        score, distance = self._session.run(["score", "distance"], {"image": network_input})
        return self.select(score[0], distance[0], scale, image.shape[:2])

    def select(
        self,
        score: Float[np.ndarray, "c"],
        distance: Float[np.ndarray, "c 44"],
        scale: float,
        size_px: tuple[int, int],
    ) -> Detections:
        """Turn the raw outputs for an image of `size_px` (h, w), shrunk by `scale`, into people.

        Boxes are cut to the image; those beside it, without area then, are dropped.
        """
        likely = np.flatnonzero(score >= self.threshold)
        boxes = decode_boxes(distance[likely], self._centre_px[likely], self._stride_px[likely]) / scale
        boxes = np.clip(boxes, 0, np.array([size_px[1], size_px[0]] * 2))
        inside = (boxes[:, 2:] > boxes[:, :2]).all(1)
        boxes, likely = boxes[inside], likely[inside]
        kept = suppress_overlaps(boxes, score[likely])
        return Detections(boxes[kept].astype(np.float32), score[likely][kept])
