"""How well people were followed: IDF1, identity switches and MOTA, from boxes and numbers of people in each frame.

IDF1 (Ristani et al. 2016) asks for how long each person bore one number: true and predicted tracks are paired one to
one for the whole clip so that most boxes agree. MOTA (Bernardin and Stiefelhagen 2008, CLEAR MOT) counts misses, false
boxes and switches, frame by frame; a switch is a person found under another number than the last time.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Int

from openexpose.errors import InputError
from openexpose.geometry.boxes import intersection_over_union
from openexpose.predict.assignment import assign

Array = np.ndarray

_NOBODY = np.iinfo(int).min


@dataclass(frozen=True)
class FrameBoxes:
    """The people of one frame."""

    id: Int[Array, "n"]
    """Number of each person, once in a frame."""
    boxes_xyxy_px: Float[Array, "n 4"]
    """Their boxes, pixels."""
    ignored: Bool[Array, "n"] = field(default_factory=lambda: np.zeros(0, bool))
    """Of the truth: people who need not be found, and whose boxes are not false either (hidden ones). Empty: nobody."""

    def __post_init__(self) -> None:
        if self.boxes_xyxy_px.shape != (len(self.id), 4) or len(self.ignored) not in (0, len(self.id)):
            got = f"boxes of shape {self.boxes_xyxy_px.shape} and {len(self.ignored)} marks for {len(self.id)} people"
            raise InputError(got, "one box a person")
        if len(np.unique(self.id)) != len(self.id):
            raise InputError(f"the numbers {list(self.id)} in one frame", "each number once")

    def __getitem__(self, keep: Bool[Array, "n"]) -> "FrameBoxes":
        return FrameBoxes(self.id[keep], self.boxes_xyxy_px[keep])


@dataclass(frozen=True)
class TrackingScores:
    """The measures and the counts they are made of."""

    idf1: float
    """Share of boxes, true and predicted, that bear the right number; 1 is best."""
    mota: float
    """1 minus misses, false boxes and switches for each true box; can be negative."""
    switches: int
    """How often a person was found under another number than the last time."""
    misses: int
    """True boxes that nobody's box met."""
    false_boxes: int
    """Predicted boxes that met nobody."""
    right_boxes: int
    """Predicted boxes that bear their person's number (IDTP)."""
    true_boxes: int
    predicted_boxes: int


def tracking_scores(
    truth: Sequence[FrameBoxes], predicted: Sequence[FrameBoxes], *, min_iou: float = 0.5
) -> TrackingScores:
    """Compare two clips frame by frame.

    Args:
        truth: true boxes of each frame.
        predicted: predicted boxes of the same frames.
        min_iou: overlap (intersection over union) from which two boxes may be the same person.

    Raises:
        InputError: different numbers of frames.
    """
    if len(truth) != len(predicted):
        raise InputError(f"{len(predicted)} predicted frames for {len(truth)} true ones", "the same frames")
    counted = [_without_ignored(true, found, min_iou) for true, found in zip(truth, predicted, strict=True)]
    true_boxes = sum(len(true.id) for true, _ in counted)
    predicted_boxes = sum(len(found.id) for _, found in counted)
    right = _right_boxes(counted, min_iou)
    met, switches = _clear_mot(counted, min_iou)
    misses, false_boxes = true_boxes - met, predicted_boxes - met
    total = true_boxes + predicted_boxes
    return TrackingScores(
        idf1=2 * right / total if total else 1.0,
        mota=1.0 - (misses + false_boxes + switches) / true_boxes if true_boxes else float(not predicted_boxes),
        switches=switches,
        misses=misses,
        false_boxes=false_boxes,
        right_boxes=right,
        true_boxes=true_boxes,
        predicted_boxes=predicted_boxes,
    )


def _pairs(true: FrameBoxes, found: FrameBoxes, min_iou: float) -> Int[Array, "k 2"]:
    """Most pairs of overlapping boxes, among these those that overlap most."""
    overlap = intersection_over_union(true.boxes_xyxy_px, found.boxes_xyxy_px)
    return assign(np.where(overlap >= min_iou, 1.0 - overlap, np.inf), 1e3)


def _without_ignored(true: FrameBoxes, found: FrameBoxes, min_iou: float) -> tuple[FrameBoxes, FrameBoxes]:
    """A frame without the people who do not count, and without the boxes that met them."""
    if not true.ignored.any():
        return true, found
    pairs = _pairs(true, found, min_iou)
    keep = np.ones(len(found.id), bool)
    keep[pairs[true.ignored[pairs[:, 0]], 1]] = False
    return true[~true.ignored], found[keep]


def _right_boxes(frames: Sequence[tuple[FrameBoxes, FrameBoxes]], min_iou: float) -> int:
    """Boxes that agree under the best one-to-one pairing of true and predicted numbers over the clip."""
    together: dict[tuple[int, int], int] = {}
    for true, found in frames:
        overlap = intersection_over_union(true.boxes_xyxy_px, found.boxes_xyxy_px)
        for t, f in np.argwhere(overlap >= min_iou):
            pair = int(true.id[t]), int(found.id[f])
            together[pair] = together.get(pair, 0) + 1
    if not together:
        return 0
    true_ids, found_ids = (sorted({pair[side] for pair in together}) for side in (0, 1))
    agree = np.zeros((len(true_ids), len(found_ids)))
    for (t, f), count in together.items():
        agree[true_ids.index(t), found_ids.index(f)] = count
    pairs = assign(-agree, 0.0)
    return int(agree[pairs[:, 0], pairs[:, 1]].sum())


def _clear_mot(frames: Sequence[tuple[FrameBoxes, FrameBoxes]], min_iou: float) -> tuple[int, int]:
    """Boxes met and switches: a pair of the frame before stays while it overlaps, the rest is paired anew."""
    last: dict[int, int] = {}
    met = switches = 0
    for true, found in frames:
        overlap = intersection_over_union(true.boxes_xyxy_px, found.boxes_xyxy_px)
        before = np.array([last.get(int(number), _NOBODY) for number in true.id], int)
        stays = (before[:, None] == found.id[None]) & (overlap >= min_iou)
        free = ~stays.any(1)[:, None] & ~stays.any(0)[None]
        cost = np.where(free & (overlap >= min_iou), 1.0 - overlap, np.inf)
        pairs = np.concatenate([np.argwhere(stays), assign(cost, 1e3)])
        for t, f in pairs:
            person, number = int(true.id[t]), int(found.id[f])
            switches += person in last and last[person] != number
            last[person] = number
        met += len(pairs)
    return met, switches
