"""What people's clothes look like: colours along torso and legs, cheap enough for every frame.

A region's colours are told by the quantiles of each channel; the mean difference of two people's quantiles is then the
earth mover's distance of their colours, and averaging quantiles over time averages people without blurring colours.

Light and shadow multiply all of a pixel's channels by much the same. So hues are told relative to brightness, and
brightness by its logarithm, which counts little.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8

from openexpose.body.keypoints import indices

Array = np.ndarray

REGIONS = 2
"""Torso, legs."""
QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.9)
CHANNEL_WEIGHTS = (25.0, 100.0, 100.0)
"""Of brightness, red against green, yellow against blue."""
DARK = 20.0
"""Brightness (0..255) below which hue fades: it is noise there."""
_TORSO = indices("left_shoulder", "right_shoulder", "left_hip", "right_hip")
_LEGS = indices("left_hip", "left_knee", "left_ankle", "right_hip", "right_knee", "right_ankle")


@dataclass(frozen=True)
class Appearance:
    """Colours of n people."""

    colour: Float[Array, "n regions 3 quantiles"]
    """Quantiles of brightness (logarithm), red against green and yellow against blue (shares of brightness), times the
    channels' weights."""
    seen: Float[Array, "n regions"]
    """How much of the region was in the picture and not behind somebody, 0..1."""

    def __getitem__(self, index: slice | Array) -> "Appearance":
        return Appearance(self.colour[index], self.seen[index])


def unseen(count: int) -> Appearance:
    """People of whom nothing is known."""
    return Appearance(np.zeros((count, REGIONS, 3, len(QUANTILES))), np.zeros((count, REGIONS)))


def appearance(
    pixels: UInt8[Array, "h w 3"], points_px: Float[Array, "n 144 2"], hidden: Bool[Array, "n samples"]
) -> Appearance:
    """The colours of people.

    Args:
        pixels: RGB picture.
        points_px: their keypoints.
        hidden: which of their samples (:func:`samples`) lie behind somebody.
    """
    count = len(points_px)
    if not count:
        return unseen(0)
    places = samples(points_px)
    column, row = np.floor(places[..., 0]), np.floor(places[..., 1])
    height, width = pixels.shape[:2]
    good = (column >= 0) & (row >= 0) & (column < width) & (row < height) & ~hidden
    row, column = (np.where(good, index, 0).astype(int) for index in (row, column))
    red, green, blue = np.moveaxis(pixels[row, column].astype(float), -1, 0)
    light = (red + green + blue) / 3 + DARK
    channels = np.stack([np.log(light), (red - green) / light, ((red + green) / 2 - blue) / light], -1)
    channels *= CHANNEL_WEIGHTS
    colour, seen = np.zeros((count, REGIONS, 3, len(QUANTILES))), np.zeros((count, REGIONS))
    for region, part in enumerate((slice(0, TORSO_SAMPLES), slice(TORSO_SAMPLES, None))):
        use = good[:, part]
        number = use.sum(1)
        ordered = np.sort(np.where(use[..., None], channels[:, part], np.inf), axis=1)
        place = np.rint(np.array(QUANTILES) * (np.maximum(number, 1)[:, None] - 1)).astype(int)
        picked = np.take_along_axis(ordered, place[:, :, None], 1)
        colour[:, region] = np.where(number[:, None, None] > 0, np.swapaxes(picked, 1, 2), 0.0)
        seen[:, region] = use.mean(1)
    return Appearance(colour, seen)


def samples(points_px: Float[Array, "n 144 2"]) -> Float[Array, "n samples 2"]:
    """Where colours are read: a grid over the torso, then points along both legs."""
    torso = np.einsum("sk,nkd->nsd", _TORSO_GRID, points_px[:, _TORSO])
    legs = np.einsum("sk,nkd->nsd", _LEG_LINES, points_px[:, _LEGS])
    return np.concatenate([torso, legs], 1)


def difference(a: Appearance, b: Appearance) -> tuple[Float[Array, "n m"], Float[Array, "n m"]]:
    """How differently people of two lists are coloured, from 0, and how surely that is known, 0..1."""
    known = np.minimum(a.seen[:, None], b.seen[None])
    apart = np.abs(a.colour[:, None] - b.colour[None]).mean((-1, -2))
    total = known.sum(-1)
    return (known * apart).sum(-1) / np.maximum(total, 1e-9), total / REGIONS


def blend(known: Appearance, new: Appearance, share: Float[Array, "n"]) -> Appearance:
    """What is known of people after seeing them once more.

    New colours count ``share`` of what is seen of the region, more if it was seen less before; with a share of 0 they
    do not count.
    """
    better = 1.0 - known.seen / np.maximum(new.seen, 1e-9)
    weight = np.where(share[:, None] > 0, np.clip(np.maximum(better, share[:, None] * new.seen), 0.0, 1.0), 0.0)
    weight = np.where(new.seen >= np.minimum(CLEAR, known.seen), weight, 0.0)
    colour = known.colour + weight[..., None, None] * (new.colour - known.colour)
    return Appearance(colour, np.maximum(known.seen, np.where(weight > 0, new.seen, 0.0)))


CLEAR = 0.6
"""A region of which less than this is seen (and less than before) teaches nothing: it may be somebody else's."""


def _torso_grid() -> Float[Array, "samples 4"]:
    across, down = (grid.ravel() for grid in np.meshgrid(np.linspace(0.2, 0.8, 4), np.linspace(0.1, 0.9, 6)))
    return np.stack([(1 - across) * (1 - down), across * (1 - down), (1 - across) * down, across * down], 1)


def _leg_lines() -> Float[Array, "samples 6"]:
    rows = []
    for leg in (0, 3):
        for bone in (0, 1):
            for along in np.linspace(0.15, 0.85, 4):
                row = np.zeros(6)
                row[leg + bone], row[leg + bone + 1] = 1 - along, along
                rows.append(row)
    return np.array(rows)


_TORSO_GRID, _LEG_LINES = _torso_grid(), _leg_lines()
TORSO_SAMPLES = len(_TORSO_GRID)
