"""Looking at people and their parts: where a trunk's crops begin, and which of several looks is believed.

A trunk wants crops of its own making: upright, centred, not too tight. The first look rarely is one, but its landmarks
tell the next.
"""

from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from openexpose.geometry.boxes import Crop, crop_from_boxes
from openexpose.image.crop import SAMPLINGS, sample_crop
from openexpose.predict.bundle import Seen, Stopwatch, TrunkRunner
from openexpose.predict.landmarks import TRUNK_CROPS, agreement, cut_off, overlap

Array = np.ndarray

WIDER_STARTS = ((1.44, False), (1.76, True))
"""Wider first crops of a person, in sides of the usual one; true: only for boxes that the picture's border cuts."""
TURNED_START = 1.2
"""First crop that is turned by quarters, for people who seem to be neither upright nor seen, in sides of the usual."""
DOUBTFUL, SURELY_BETTER = 0.3, 0.2
"""Agreement with the box below which turned crops are tried, and by how much they must agree better."""
EXPLAINED = 0.3
"""Overlap of a person's box with the landmarks seen from which on presence is believed as it is."""


@dataclass(frozen=True)
class Sight:
    """What a trunk saw in n crops."""

    crop: Crop
    seen: Seen

    @property
    def landmarks_px(self) -> Float[Array, "n l 2"]:
        """The trunk's landmarks in the picture."""
        return self.crop.to_image(self.seen.landmarks[..., :2].astype(float))

    def agreement(self, boxes: Float[Array, "n 4"]) -> Float[Array, "n"]:
        """How well it explains people's boxes (:func:`agreement`), times the presence."""
        return self.seen.presence * agreement(self.landmarks_px, self.seen.visibility, boxes)

    def where(self, use: Bool[Array, "n"], other: "Sight") -> "Sight":
        """Crops of ``other`` where ``use`` is true, else of self."""
        return Sight(chosen(self.crop, other.crop, use), self.seen.where(use, other.seen))


@dataclass(frozen=True)
class Looker:
    """A part's trunk before one picture.

    Attributes:
        runner: the part's trunk.
        pixels: RGB picture.
        watch: where the time is written down.
        alone: somebody says which part this is: the trunk's opinion on the side of a hand does not count.
    """

    runner: TrunkRunner
    pixels: UInt8[Array, "h w 3"]
    watch: Stopwatch = field(default_factory=Stopwatch)
    alone: bool = False

    def look(self, crop: Crop) -> Sight:
        """Look at crops."""
        config = self.runner.config
        with self.watch.stage("crops"):
            sampling, count = SAMPLINGS[config.sampling], len(crop.side_px)
            images = np.stack([sample_crop(self.pixels, crop[k], config.size, sampling) for k in range(count)])
        with self.watch.stage(f"{self.runner.spec.name} trunk"):
            return Sight(crop, self.runner.look(images))

    def turned(self, crop: Crop, quarters: int) -> Sight:
        """Look at crops turned by quarters."""
        return self.look(replace(crop, angle_rad=crop.angle_rad + quarters * np.pi / 2))

    def follow(self, sight: Sight) -> Sight:
        """Look again at the crops that the trunk's own landmarks ask for, unless the part is then hardly there."""
        for _ in range(self.runner.config.looks - 1):
            before = self._certainty(sight)
            crop, sane = next_crop(self.runner.spec.name, sight, before)
            if not sane.any():
                break
            again = self.look(crop)
            sight = sight.where(still_there(sane, before, self._certainty(again)), again)
        return sight

    def _certainty(self, sight: Sight) -> Float[Array, "n"]:
        return sight.seen.presence if self.alone else sight.seen.certainty


def next_crop(network: str, sight: Sight, certainty: Float[Array, "n"]) -> tuple[Crop, Bool[Array, "n"]]:
    """The crops that a trunk's own landmarks ask for, and whose they are sane; else the crops that they come from.

    Args:
        network: ``body``, ``hand`` or ``face``.
        sight: what was seen.
        certainty: how surely the part is there, 0..1.
    """
    crop = sight.crop
    own = TRUNK_CROPS[network](sight.landmarks_px, crop.mirrored)
    sane = (own.side_px > 0.1 * crop.side_px) & (own.side_px < 4.0 * crop.side_px) & (own.side_px > 4.0)
    sane &= certainty > 0.3
    return chosen(crop, own, sane), sane


def still_there(sane: Bool[Array, "n"], before: Float[Array, "n"], after: Float[Array, "n"]) -> Bool[Array, "n"]:
    """Which of the looks at the crops of :func:`next_crop` count: unless the part is then hardly there."""
    return sane & (after > before - 0.3)


def look_at_people(looker: Looker, boxes: Float[Array, "n 4"]) -> Sight:
    """Look at people in boxes (pixels): from the usual crop and, if the bundle says so, from wider and turned ones.

    A tight crop of somebody whom the picture's border cuts off misleads the trunk into a small whole body. The first
    look that agrees best with the box is followed up; the usual one if it is nearly as good. Who then still cannot be
    made out may be lying, or the picture on its side. Presence falls where what is seen overlaps little with the box:
    that is somebody else, or nobody.
    """
    config, size = looker.runner.config, looker.pixels.shape[1::-1]
    sight = looker.look(crop_from_boxes(boxes, config.crop_scale))
    if not looker.runner.has_landmarks:
        return sight
    best = 1.02 * sight.agreement(boxes)
    cut = cut_off(boxes, *size)
    for factor, only_cut in WIDER_STARTS if config.wider else ():
        rows = np.flatnonzero(cut) if only_cut else np.arange(len(boxes))
        if len(rows):
            wider = looker.look(crop_from_boxes(boxes[rows], factor * config.crop_scale))
            sight, best = _better(sight, best, wider, boxes, rows)
    sight = looker.follow(sight)
    if config.wider:
        sight = _turned(looker, sight, boxes)
    return with_presence(sight, boxes)


def with_presence(sight: Sight, boxes: Float[Array, "n 4"]) -> Sight:
    """What was seen of people, their presence less where it overlaps little with their box (pixels)."""
    explained = np.clip(overlap(sight.landmarks_px, sight.seen.visibility, boxes) / EXPLAINED, 0.0, 1.0)
    return Sight(sight.crop, replace(sight.seen, presence=sight.seen.presence * explained))


def look_at_parts(looker: Looker, crop: Crop) -> Sight:
    """Look at crops of hands or faces, then follow up.

    Of a lone part nobody knows which way is up: if the trunk wants its crops upright, all four quarter turns are looked
    at, and the best is followed.
    """
    sight = looker.look(crop)
    for quarters in (1, 2, 3) if looker.alone and looker.runner.config.upright else ():
        other = looker.turned(crop, quarters)
        sight = sight.where(other.seen.presence > sight.seen.presence, other)
    return looker.follow(sight)


def _turned(looker: Looker, sight: Sight, boxes: Float[Array, "n 4"]) -> Sight:
    """What was seen, or what is seen in turned crops where that agrees far better with the boxes."""
    score = sight.agreement(boxes)
    rows = np.flatnonzero(score < DOUBTFUL)
    if not len(rows):
        return sight
    crop = crop_from_boxes(boxes[rows], TURNED_START * looker.runner.config.crop_scale)
    turned = looker.turned(crop, 1)
    for quarters in (2, 3):
        other = looker.turned(crop, quarters)
        turned = turned.where(other.agreement(boxes[rows]) > turned.agreement(boxes[rows]), other)
    return _better(sight, score + SURELY_BETTER, looker.follow(turned), boxes, rows)[0]


def _better(
    sight: Sight, best: Float[Array, "n"], other: Sight, boxes: Float[Array, "n 4"], rows: Int[Array, "m"]
) -> tuple[Sight, Float[Array, "n"]]:
    """What was seen, or for the people ``rows`` what was seen otherwise, where that agrees better; and how well."""
    score, spread = np.full(len(boxes), -1.0), np.zeros(len(boxes), int)
    score[rows], spread[rows] = other.agreement(boxes[rows]), np.arange(len(rows))
    everyone = Sight(other.crop[spread], other.seen[spread])
    return sight.where(score > best, everyone), np.maximum(best, score)


def chosen(first: Crop, second: Crop, use: Bool[Array, "n"]) -> Crop:
    """Crops of ``second`` where ``use`` is true, else of ``first``."""
    return Crop(
        np.where(use[:, None], second.centre_px, first.centre_px),
        np.where(use, second.side_px, first.side_px),
        np.where(use, second.angle_rad, first.angle_rad),
        first.mirrored,
    )
