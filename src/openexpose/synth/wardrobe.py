"""Dressing people: which garments, in which colours, and where they are on a posed body."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from openexpose.synth.binding import Binding
from openexpose.synth.dye import dyed, pattern, plain, printed, sample_colour, sample_hair_colour, turned
from openexpose.synth.garments import CLOTHES, CUTOUT_SLOTS, Garment, Wardrobe, body_parts, read_wardrobe
from openexpose.synth.thing import Thing

__all__ = ["Outfit", "Wardrobe", "Worn", "body_parts", "dress", "read_wardrobe", "sample_outfit", "wear"]

Array = np.ndarray

Detail = Literal["far", "near"]
_GAP_M = 0.007
_PAINTED = {"shoes": ("shoes",), "bottom": ("lower",), "full": ("upper", "lower"), "top": ("upper",),
            "hair": ("hair",), "hat": ("hair",), "brows": ("brows",)}  # fmt: skip
_SKIN_BETWEEN_HAIRS = np.array([28, 20, 16], np.float32)


@dataclass(frozen=True)
class Worn:
    """A garment of an outfit.

    Attributes:
        garment: its number. texture: RGBA. gain: [3]. faces, corner_uv, parts: of what other garments leave in sight.
        binding: where its vertices are; what lies over others keeps a larger distance from the body.
    """

    garment: int
    texture: UInt8[Array, "h w 4"]
    gain: Float[Array, "3"]
    faces: Int[Array, "f 3"]
    corner_uv: Float[Array, "f 3 2"]
    parts: UInt8[Array, "f"]
    binding: Binding


@dataclass(frozen=True)
class Outfit:
    """What a person wears, whatever the pose.

    Attributes:
        worn: from the inside out. hidden: [f] body faces that the garments cover.
        replaces: names of :data:`openexpose.synth.appearance.LAYERS` that need not be painted on the skin.
        hair_colour: [3] 0 to 255.
    """

    worn: tuple[Worn, ...]
    hidden: Bool[Array, "f"]
    replaces: frozenset[str]
    hair_colour: Float[Array, "3"]


def sample_outfit(rng: np.random.Generator, wardrobe: Wardrobe, *, detail: Detail) -> Outfit:
    """Choose garments that go together, and their colours.

    Args:
        detail: ``near``: large textures, brows and lashes; ``far``: small textures.
    """
    names: list[int] = []
    pick = lambda slot: wardrobe.slots[slot][rng.integers(len(wardrobe.slots[slot]))]  # noqa: E731
    tucked = False
    if rng.random() < 0.8:
        names.append(pick("shoes"))
    if rng.random() < 0.08:
        names.append(pick("full"))
    else:
        lower = pick("bottom") if rng.random() < 0.75 else None
        upper = pick("top") if rng.random() < 0.75 else None
        if upper is not None and "formal" in wardrobe.garments[upper].tags and rng.random() < 0.7:
            lower = next((k for k in wardrobe.slots["bottom"] if "formal" in wardrobe.garments[k].tags), lower)
        if upper is not None:
            tucked = "tucked" in wardrobe.garments[upper].tags and rng.random() < 0.7
        names += [k for k in (lower, upper) if k is not None]
    names += _sample_head(rng, wardrobe, detail)
    hair = sample_hair_colour(rng)
    mip = 0 if detail == "near" else 1
    textures = {}
    for k in names:
        textures[k] = _coloured(rng, wardrobe.garments[k], hair, mip)
    return dress(wardrobe, textures, tucked=tucked, hair_colour=hair)


_FRINGE_SHARE = 0.3
"""How often hair is worn that hides an eye, against other hair."""


def _sample_head(rng: np.random.Generator, wardrobe: Wardrobe, detail: Detail) -> list[int]:
    """Hair, a hat, glasses, brows and lashes."""
    slots, garments = wardrobe.slots, wardrobe.garments
    names = []
    has_hat = rng.random() < 0.1
    if rng.random() < 0.85:
        hair = [k for k in slots["hair"] if not (has_hat and "big" in garments[k].tags)]
        share = np.array([_FRINGE_SHARE if "fringe" in garments[k].tags else 1.0 for k in hair])
        names.append(hair[rng.choice(len(hair), p=share / share.sum())])
    if has_hat:
        names.append(slots["hat"][rng.integers(len(slots["hat"]))])
    if rng.random() < 0.12:
        names.append(slots["glasses"][rng.integers(len(slots["glasses"]))])
    if detail == "near":
        if rng.random() < 0.95:
            names.append(slots["brows"][rng.integers(len(slots["brows"]))])
        if rng.random() < 0.55:
            names.append(slots["lashes"][rng.integers(len(slots["lashes"]))])
    return names


def dress(
    wardrobe: Wardrobe,
    textures: Mapping[int, tuple[UInt8[Array, "h w 4"], Float[Array, "3"]]],
    *,
    tucked: bool = False,
    hair_colour: Float[Array, "3"] | None = None,
) -> Outfit:
    """Put garments over each other.

    Args:
        textures: RGBA texture and gain of each garment by its number. tucked: tops lie inside bottoms.
        hair_colour: remembered in the outfit.
    """
    order = [*CLOTHES, "hair", "hat", "glasses", "brows", "lashes"]
    if tucked:
        order[1], order[3] = order[3], order[1]
    numbers = sorted(textures, key=lambda k: order.index(wardrobe.garments[k].slot))
    hidden = np.zeros(len(wardrobe.body_faces), bool)
    cover = np.zeros(len(wardrobe.base), np.float32)
    has_hat = any(wardrobe.garments[k].slot == "hat" for k in numbers)
    worn = []
    for place, k in enumerate(numbers):
        garment = wardrobe.garments[k]
        hidden[garment.hidden] = True
        binding = garment.binding
        if garment.slot in CLOTHES:
            binding = replace(binding, clearance_m=_over(garment, cover))
            cover = np.maximum(cover, garment.cover_m)
        elif has_hat and garment.under_hat is not None:
            binding = replace(binding, local=garment.under_hat)
        kept = _in_sight(garment, [wardrobe.garments[q] for q in numbers[place + 1 :]], len(hidden))
        texture, gain = textures[k]
        worn.append(Worn(k, texture, gain, garment.faces[kept], garment.corner_uv[kept], garment.parts[kept], binding))
    painted = {layer for k in numbers for layer in _PAINTED.get(wardrobe.garments[k].slot, ())}
    colour = np.full(3, 60, np.float32) if hair_colour is None else hair_colour
    return Outfit(tuple(worn), hidden, frozenset(painted), colour)


def _over(garment: Garment, cover_m: Float[Array, "b"]) -> Float[Array, "v"]:
    """Clearance of a garment that lies over others, of which ``cover_m`` is the height above each body vertex."""
    binding = garment.binding
    inner = (cover_m[binding.corners] * binding.barycentric).sum(1)
    return np.where(inner > 0, np.maximum(binding.clearance_m, inner + _GAP_M), binding.clearance_m).astype(np.float32)


def _in_sight(garment: Garment, outer: Sequence[Garment], body_faces: int) -> Bool[Array, "f"]:
    """Faces that no garment farther out covers."""
    if garment.slot not in CLOTHES:
        return np.ones(len(garment.faces), bool)
    under = np.zeros(body_faces, bool)
    for other in outer:
        under[other.hidden] = True
    return ~under[garment.below][garment.faces].all(1)


def _coloured(
    rng: np.random.Generator, garment: Garment, hair: Float[Array, "3"], mip: int
) -> tuple[UInt8[Array, "h w 4"], Float[Array, "3"]]:
    """Texture and gain of a garment."""
    white = np.ones(3, np.float32)
    slot = garment.slot
    if slot == "glasses":
        frame = sample_colour(rng) * np.float32(0.5) if rng.random() < 0.5 else np.full(3, rng.uniform(8, 60))
        mix = np.repeat(np.arange(8) > 3, 8).reshape(8, 8).T.astype(np.float32)
        return plain(frame, 8, np.full(3, rng.uniform(6, 30)), mix), white
    if garment.textures is None:
        colours = sample_colour(rng), sample_colour(rng)
        if rng.random() < 0.65:
            return plain(colours[0], 8), white
        return plain(colours[0], 64, colours[1], pattern(rng, 64, 64)), white
    texture = garment.textures[mip]
    if slot == "hair":
        return dyed(texture, hair, contrast=rng.uniform(0.6, 1.1)), white
    if slot == "brows":
        return dyed(texture, hair * np.float32(rng.uniform(0.45, 0.85)) + _SKIN_BETWEEN_HAIRS, contrast=0.3), white
    if slot == "lashes":
        return dyed(texture, np.full(3, rng.uniform(8, 40), np.float32), contrast=0.5), white
    gain = (rng.uniform(0.75, 1.2) * (1 + rng.normal(0, 0.04, 3))).astype(np.float32)
    style = rng.choice(4, p=[0.35, 0.2, 0.3, 0.15] if slot != "shoes" else [0.55, 0.2, 0.25, 0.0])
    if style == 1:
        texture = turned(texture, rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 1.5))
    elif style == 2:
        texture = dyed(texture, sample_colour(rng), contrast=rng.uniform(0.5, 1.0))
    elif style == 3:
        mix = pattern(rng, *texture.shape[:2])
        texture = printed(texture, (sample_colour(rng), sample_colour(rng)), mix)
    return texture, gain


def wear(
    outfit: Outfit, wardrobe: Wardrobe, bare_vertices: Float[Array, "v 3"]
) -> tuple[tuple[Thing, ...], Bool[Array, "f"]]:
    """The garments on a posed body, and which of its faces they hide [f].

    Args:
        bare_vertices: of the body without painted clothes, metres, any frame: the things are in the same.
    """
    body = np.ascontiguousarray(bare_vertices, np.float32)
    frames = wardrobe.nodes.frames(body)
    things = []
    for item in outfit.worn:
        garment = wardrobe.garments[item.garment]
        things.append(
            Thing(
                item.binding.place(frames, body),
                item.faces,
                item.corner_uv,
                item.texture,
                item.gain,
                garment.gloss,
                garment.slot in CUTOUT_SLOTS,
                item.parts,
            )
        )
    return tuple(things), outfit.hidden
