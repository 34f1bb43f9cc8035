"""Photos with annotated keypoints: a folder with ``index.json`` and the pictures that it names."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from openexpose.errors import InputError

Array = np.ndarray

FORMATS = {"body": "coco17", "face": "ibug68", "left_hand": "hand21", "right_hand": "hand21", "hand": "hand21"}
"""The parts that are measured and the keypoint format of each."""
_POINTS = {"coco17": 17, "ibug68": 68, "hand21": 21}
_VALID = {"left_hand": "lefthand", "right_hand": "righthand"}


@dataclass(frozen=True, eq=False)
class Annotation:
    """One annotated person, hand or face."""

    name: str
    """Unique in the file."""
    dataset: str
    image: Path
    box_xyxy_px: Float[Array, "4"]
    keypoints: dict[str, Float[Array, "n 3"]]
    """``body`` (COCO-17), ``face`` (iBUG-68), ``left_hand``, ``right_hand``, ``hand`` (21 points, side unknown): rows
    (x, y, v) in pixels, labelled where v > 0, zeros elsewhere. Only what the annotators marked as valid."""


def read_annotations(data: Path) -> list[Annotation]:
    """Read ``data/index.json``.

    Its ``entries`` hold ``id`` (unique), ``dataset``, ``image`` (a path inside the folder), ``bbox_xywh`` and
    ``keypoints_2d``: ``{part: {"format": ..., "xyv": [[x, y, v], ...]}}``; optional ``valid`` switches ``face``,
    ``lefthand`` and ``righthand`` off. Parts in formats that are not measured are left out, as are all other fields.

    Raises:
        InputError: no such file, or not such a file.
    """
    path = data / "index.json"
    expected = "an index.json with entries: id, dataset, image, bbox_xywh, keypoints_2d"
    if not path.is_file():
        raise InputError(f"'{data}' without an index.json", "a folder with index.json and photos", "Check --data.")
    try:
        entries = json.loads(path.read_text("utf-8"))["entries"]
        annotations = [_annotation(entry, data) for entry in entries]
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"'{path}', which does not read as annotations ({reason})", expected) from None
    if not annotations:
        raise InputError(f"'{path}' without entries", expected)
    name, count = Counter(annotation.name for annotation in annotations).most_common(1)[0]
    if count > 1:
        raise InputError(f"'{path}' with {count} entries of the id '{name}'", "another id for every entry")
    return annotations


def _annotation(entry: dict[str, Any], data: Path) -> Annotation:
    x, y, width, height = map(float, entry["bbox_xywh"])
    if not (np.isfinite([x, y, width, height]).all() and width > 0 and height > 0):
        raise ValueError(f"the bbox_xywh of {entry['id']} has no area")
    return Annotation(
        str(entry["id"]),
        str(entry["dataset"]),
        data / entry["image"],
        np.array([x, y, x + width, y + height]),
        dict(_keypoints(entry)),
    )


def _keypoints(entry: dict[str, Any]) -> Iterator[tuple[str, Array]]:
    valid = entry.get("valid", {})
    for part, labels in entry["keypoints_2d"].items():
        if FORMATS.get(part, "") != labels["format"] or not valid.get(_VALID.get(part, part), True):
            continue
        points = np.array(labels["xyv"], float)
        expected = (_POINTS[labels["format"]], 3)
        if points.shape != expected:
            raise ValueError(f"{part} of {entry['id']} has shape {points.shape} instead of {expected}")
        points[~(points[:, 2] > 0)] = 0.0
        if not np.isfinite(points).all():
            raise ValueError(f"{part} of {entry['id']} has labelled points without a place")
        yield part, points
