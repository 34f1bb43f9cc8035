"""Picture sheets: rendered pictures with their labels drawn, to be looked at."""

import cv2
import numpy as np
from jaxtyping import UInt8

from openexpose.synth.dataset import Shards

Array = np.ndarray

_COLOURS = np.array([[255, 0, 0], [255, 190, 0], [0, 255, 0]])  # hidden, behind the body, visible
_AXES = np.array([[255, 60, 60], [60, 255, 60], [80, 120, 255]])


def sheet(shards: Shards, indices: Array, *, columns: int = 8, labels: bool = True) -> UInt8[Array, "h w 3"]:
    """A grid of pictures. With ``labels``: keypoints by visibility (red hidden, amber behind the body, green seen), the
    axes of the labelled rotation (global orientation, wrist or head), drawn by the weak-perspective camera, and the
    box of whole people.
    """
    cells = [_cell(shards, int(k), labels) for k in indices]
    cells += [np.zeros_like(cells[0])] * (-len(cells) % columns)
    return np.concatenate([np.concatenate(cells[k : k + columns], 1) for k in range(0, len(cells), columns)])


def _cell(shards: Shards, index: int, labels: bool) -> Array:
    image = shards.image(index)
    if not labels:
        return image
    half = image.shape[0] / 2
    for point, seen in zip(shards.labels["keypoints_2d"][index], shards.labels["visibility"][index], strict=True):
        cv2.circle(image, _pixel(point, half), 1, _COLOURS[seen].tolist(), -1)
    whole = shards.kind in ("body", "people")
    rotation = shards.labels["pose" if whole else {"hands": "wrist", "faces": "head"}[shards.kind]][index]
    rotation = rotation[0] if whole else rotation
    camera = shards.labels["camera"][index]
    length = 0.35 / camera[0]
    for axis, colour in zip(rotation.T, _AXES, strict=True):
        start, end = camera[0] * camera[1:], camera[0] * (axis[:2] * length + camera[1:])
        cv2.line(image, _pixel(start, half), _pixel(end, half), colour.tolist(), 1)
    if shards.kind == "people":
        x1, y1, x2, y2 = shards.labels["box_xyxy_px"][index].astype(int).tolist()
        cv2.rectangle(image, (x1, y1), (x2, y2), (255, 255, 255), 1)
    return image


def _pixel(point: Array, half: float) -> tuple[int, int]:
    x, y = np.clip((point + 1) * half, -1e4, 1e4).astype(int)
    return int(x), int(y)
