"""Following people from frame to frame: attention in time.

A trunk wants crops of its own making (:mod:`openexpose.predict.looks`), which take several looks to find. In a clip the
crops that the landmarks of one frame ask for are right in the next one, too, when they move on with the person: one
look does then. Whoever is not where they were expected is looked at as in a photo.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from openexpose.errors import InputError
from openexpose.geometry.boxes import Crop
from openexpose.people import PART_NAMES
from openexpose.predict.landmarks import TRUNK_CROPS
from openexpose.predict.looks import Looker, Sight, look_at_people, next_crop, with_presence

Array = np.ndarray

SURE = 0.5
"""Certainty from which on one look at a part does."""
NEAR, LIKE, LEVEL_RAD = 0.12, 1.25, 0.35
"""... and the landmarks ask for much the same crop: centre nearer than this share of its side, side within this factor,
turned by less than this angle."""
THERE = 0.3
"""Presence below which nothing is remembered of a body."""
LOST = 0.2
"""Whoever is there less surely than in the frame before, by this much, and not surely, is looked at anew."""
STRIDE = 0.5
"""Share of a person's last step that the next one is expected to have."""


@dataclass(frozen=True)
class Aims:
    """Where to look in the next frame: what is remembered of each person. NaN of parts that were not seen."""

    crops: Float[Array, "p 4 4"]
    """The crop that each part's landmarks ask for (:data:`~openexpose.people.PART_NAMES`): centre x, y and side in
    pixels, angle in radians."""
    anchors_px: Float[Array, "p 4 2"]
    """What the crop moves with: of hands and face the middle of the region that the body tells. Of the body the middle
    of its crop in the frame before."""
    presence: Float[Array, "p"]
    """How surely the body was there, 0..1."""

    def __len__(self) -> int:
        """Return the number of people."""
        return len(self.crops)

    def __getitem__(self, rows: Array | slice) -> "Aims":
        """What is remembered of the people ``rows``."""
        return Aims(self.crops[rows], self.anchors_px[rows], self.presence[rows])

    def body(self) -> Crop:
        """Where the bodies are expected: moved on by a share of their last step."""
        middle = self.crops[:, 0, :2]
        return Crop(middle + STRIDE * (middle - self.anchors_px[:, 0]), self.crops[:, 0, 2], self.crops[:, 0, 3])

    def part(self, name: str, region: Crop) -> tuple[Crop, Bool[Array, "p"]]:
        """Where a hand or face is expected, and of whom anything is remembered; of the others the region.

        Args:
            name: one of :data:`~openexpose.people.PART_NAMES`.
            region: where the body has it in this frame.
        """
        k = PART_NAMES.index(name)
        crop, known = self.crops[:, k], np.isfinite(self.crops[:, k]).all(-1)
        with np.errstate(invalid="ignore"):
            moved = crop[:, :2] + region.centre_px - self.anchors_px[:, k]
        expected = Crop(
            np.where(known[:, None], moved, region.centre_px),
            np.where(known, crop[:, 2], region.side_px),
            np.where(known, crop[:, 3], region.angle_rad),
            region.mirrored,
        )
        return expected, known


def unknown(count: int) -> Aims:
    """What is known of people who were never seen."""
    return Aims(np.full((count, 4, 4), np.nan), np.full((count, 4, 2), np.nan), np.zeros(count))


def remembered(sights: dict[str, Sight], regions: dict[str, Crop], before: Aims | None) -> Aims:
    """Where to look at the same people in the next frame.

    Args:
        sights: what the trunks saw in this one, by part.
        regions: where the body had hands and face.
        before: what was remembered of these people in this frame.
    """
    count = len(sights["body"].crop.side_px) if "body" in sights else 0
    aims = unknown(count)
    aims.presence[:] = sights["body"].seen.presence
    for name, sight in sights.items():
        k = PART_NAMES.index(name)
        crop, sane = next_crop("hand" if name.endswith("hand") else name, sight, sight.seen.certainty)
        rows = np.concatenate([crop.centre_px, crop.side_px[:, None], crop.angle_rad[:, None]], 1)
        known = aims.presence >= THERE if name == "body" else sane
        aims.crops[:, k] = np.where(known[:, None], rows, np.nan)
        if name in regions:
            aims.anchors_px[:, k] = regions[name].centre_px
    middle = aims.crops[:, 0, :2]
    last = middle if before is None else before.crops[:, 0, :2]
    aims.anchors_px[:, 0] = np.where(np.isfinite(last), last, middle)
    return aims


def follow_people(looker: Looker, boxes: Float[Array, "n 4"], aims: Aims) -> Sight:
    """Look at people where they are expected; as :func:`look_at_people` at those of whom nothing is known, and at those
    who are not there.

    Args:
        looker: the body's trunk before the frame.
        boxes: around the people, pixels.
        aims: what is remembered of them.

    Raises:
        InputError: not one row a person.
    """
    if len(aims) != len(boxes):
        raise InputError(f"aims at {len(aims)} people with {len(boxes)} boxes", "one each")
    known = np.isfinite(aims.crops[:, 0]).all(-1)
    if not looker.runner.has_landmarks or not known.any():
        return look_at_people(looker, boxes)
    rows = np.flatnonzero(known)
    sight = looker.look(aims[rows].body())
    enough = np.minimum(aims.presence[rows] - LOST, SURE)
    sight = with_presence(_followed_up(looker, sight, doubtful("body", sight, enough)), boxes[rows])
    there = sight.seen.presence >= enough
    anew = np.union1d(np.flatnonzero(~known), rows[~there])
    seen = _spread(sight, rows, len(boxes))
    if not len(anew):
        return seen
    again = _spread(look_at_people(looker, boxes[anew]), anew, len(boxes))
    return again.where(np.isin(np.arange(len(boxes)), rows[there]), seen)


def follow_parts(looker: Looker, crop: Crop, known: Bool[Array, "n"]) -> Sight:
    """Look at hands or faces once where they are expected, and follow up where nothing was known or it is doubtful."""
    sight = looker.look(crop)
    return _followed_up(looker, sight, ~known | doubtful(looker.runner.spec.name, sight))


def doubtful(network: str, sight: Sight, enough: Float[Array, "n"] | float = SURE) -> Bool[Array, "n"]:
    """Whether another look is needed: the part is not certain enough, or its landmarks ask for quite another crop."""
    own = TRUNK_CROPS[network](sight.landmarks_px, sight.crop.mirrored)
    shift = np.linalg.norm(own.centre_px - sight.crop.centre_px, axis=-1) / sight.crop.side_px
    turn = np.angle(np.exp(1j * (own.angle_rad - sight.crop.angle_rad)))
    ratio = np.maximum(own.side_px / sight.crop.side_px, sight.crop.side_px / np.maximum(own.side_px, 1e-6))
    same = (shift < NEAR) & (ratio < LIKE) & (np.abs(turn) < LEVEL_RAD)
    return np.asarray(~same | (sight.seen.certainty < enough))


def _followed_up(looker: Looker, sight: Sight, use: Bool[Array, "n"]) -> Sight:
    """Follow up what was seen of the people ``use``, where the part is there at all."""
    _, sane = next_crop(looker.runner.spec.name, sight, sight.seen.certainty)
    rows = np.flatnonzero(use & sane)
    if not len(rows):
        return sight
    again = looker.follow(Sight(sight.crop[rows], sight.seen[rows]))
    return sight.where(use & sane, _spread(again, rows, len(use)))


def _spread(sight: Sight, rows: Array, count: int) -> Sight:
    """Row k of what was seen as row ``rows[k]`` of ``count``; the others hold anything."""
    place = np.zeros(count, int)
    place[rows] = np.arange(len(rows))
    return Sight(sight.crop[place], sight.seen[place])
