"""Picture sheets: rendered pictures with their labels drawn, to be looked at."""

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from openexpose.body.keypoints import INDEX
from openexpose.formats.atomic import write_whole
from openexpose.synth.photo import Photo
from openexpose.synth.shards import Shards, load_shards
from openexpose.synth.thing import MASK_PARTS

Array = np.ndarray

COLOURS = np.array([[255, 0, 0], [255, 190, 0], [0, 255, 0]])
"""Of keypoints: hidden, behind the person's own body or clothes, seen."""
AXES = np.array([[255, 60, 60], [60, 255, 60], [80, 120, 255]])
"""Of rotations: x, y, z."""
ROOTS = {"body": 0, "people": 0, "left_hand": INDEX["left_wrist"], "right_hand": INDEX["right_wrist"]}
_AXIS_M = {"body": 0.35, "people": 0.35, "left_hand": 0.06, "right_hand": 0.06, "face": 0.12}
_NOBODY = 15
_SHOWN, _CELL_PX, _WHOLE_PX = 16, 256, 480


def write_sheet(paths: list[Path], out: Path) -> Path:
    """A sheet of up to 16 pictures, evenly spread over shards of one kind, as JPEG.

    Raises:
        InputError: a shard is damaged, or the file cannot be written.
    """
    shards = load_shards(paths)
    chosen = np.unique(np.linspace(0, len(shards) - 1, min(_SHOWN, len(shards))).round().astype(int))
    side = _WHOLE_PX if shards.kind == "people" else _CELL_PX
    picture = sheet(shards, chosen, side=side, columns=2)
    write_whole(out, cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])[1].tobytes())
    return out


def sheet(shards: Shards, indices: Int[Array, "k"], *, side: int = 256, columns: int = 2) -> UInt8[Array, "h w 3"]:
    """Pictures in a grid, each as four cells: the picture; its labels; its mask; its depth.

    Labels are keypoints (red: not in sight, amber: behind the person's own body or clothes, green: seen), boxes of
    people, and the axes (x red, y green, z blue) of what is framed: global orientation, wrist or head. In the mask each
    part has a colour and each person a brightness; things of nobody are grey. Near is bright.

    Args:
        side: of a cell, pixels; larger pictures are shrunk, smaller ones grow.
        columns: pictures beside each other.
    """
    rows = [_row(shards.photo(int(k)), _roots(shards, int(k)), side) for k in indices]
    rows += [np.zeros_like(rows[0])] * (-len(rows) % columns)
    return np.concatenate([np.concatenate(rows[k : k + columns], 1) for k in range(0, len(rows), columns)])


def _roots(shards: Shards, index: int) -> Float[Array, "p 3 3"]:
    joint = ROOTS.get(str(shards.focus[index]), INDEX["head"])
    return shards.rotations(joint, np.arange(shards.starts[index], shards.starts[index + 1]))


def _row(photo: Photo, roots: Float[Array, "p 3 3"], side: int) -> UInt8[Array, "s w 3"]:
    scale = side / max(photo.mask.shape)
    image = _fitted(photo.image, side, cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    labels, mask = _labelled(image, photo, roots, scale), _fitted(_mask_colours(photo.mask), side, cv2.INTER_NEAREST)
    return np.concatenate([image, labels, mask, _fitted(_depth_greys(photo.depth_m), side, cv2.INTER_NEAREST)], 1)


def _labelled(image: Array, photo: Photo, roots: Array, scale: float) -> Array:
    """The fitted picture with keypoints, boxes and axes."""
    image, close = image.copy(), photo.focus != "people"
    joint = ROOTS.get(photo.focus, INDEX["head"])
    for person, root in zip(photo.people, roots, strict=True):
        if not close:
            x1, y1, x2, y2 = (person.box_xyxy_px * scale).astype(int).tolist()
            cv2.rectangle(image, (x1, y1), (x2, y2), (255, 255, 255), 1)
        for spot, seen in zip(person.keypoints_px * scale, person.visibility, strict=True):
            cv2.circle(image, _pixel(spot), 1, COLOURS[seen].tolist(), -1)
        start = person.keypoints_m[joint]
        for axis, colour in zip(root.T, AXES, strict=True):
            ends = np.stack([start, start + axis * _AXIS_M[photo.focus]])
            flat = ends @ photo.intrinsics.T
            spots = scale * flat[:, :2] / np.maximum(flat[:, 2:], 1e-3)
            cv2.line(image, _pixel(spots[0]), _pixel(spots[1]), colour.tolist(), 1, cv2.LINE_AA)
    return image


def _mask_colours(mask: UInt8[Array, "h w"]) -> UInt8[Array, "h w 3"]:
    """A hue for each part, a brightness for each person."""
    person, part = np.divmod(np.arange(256), 16)
    hue = (part * 67 % 180).astype(np.uint8)
    value = np.where(part == 0, 0, 255 - 35 * (person % 5)).astype(np.uint8)
    grey = (person == _NOBODY) | (part == MASK_PARTS.index("thing"))
    hsv = np.stack([hue, np.where(grey, 0, 200).astype(np.uint8), value], 1)[None]
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB))[0][mask]


def _depth_greys(depth_m: Float[Array, "h w"]) -> UInt8[Array, "h w 3"]:
    """Bright is near, black the background."""
    seen = np.isfinite(depth_m)
    near, far = (depth_m[seen].min(), depth_m[seen].max()) if seen.any() else (0.0, 1.0)
    grey = 255 - 200 * (np.where(seen, depth_m, far) - near) / max(float(far - near), 1e-6)
    return np.repeat(np.where(seen, grey, 0).astype(np.uint8)[..., None], 3, 2)


def _fitted(image: UInt8[Array, "h w 3"], side: int, how: int) -> UInt8[Array, "s s 3"]:
    """A picture scaled into the upper left of a square."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    canvas = np.zeros((side, side, 3), np.uint8)
    canvas[: size[1], : size[0]] = cv2.resize(image, size, interpolation=how)
    return canvas


def _pixel(point: Array) -> tuple[int, int]:
    x, y = np.clip(point, -1e4, 1e4).astype(int)
    return int(x), int(y)
