"""Other colours for the textures of garments, cheaply: tables of the brightness, turned hues, printed patterns."""

import cv2
import numpy as np
from jaxtyping import Float, UInt8

Array = np.ndarray

HAIR_COLOURS = np.array(
    [
        [22, 19, 18], [38, 28, 22], [62, 42, 30], [92, 62, 40], [128, 90, 58], [168, 128, 82], [205, 172, 120],
        [142, 140, 138], [200, 198, 194], [112, 50, 26], [150, 78, 40],
    ],
    np.float32,
)  # fmt: skip
_HAIR_SHARES = np.array([0.2, 0.16, 0.15, 0.13, 0.09, 0.08, 0.05, 0.05, 0.03, 0.03, 0.03])
_DARK = 70.0


def sample_colour(rng: np.random.Generator) -> Float[Array, "3"]:
    """A colour of cloth, 0 to 255: greys, blues and muted colours more often than bright ones."""
    hue = rng.normal(108, 12) % 180 if rng.random() < 0.3 else rng.uniform(0, 180)
    saturation = 255 * (rng.beta(1.0, 2.2) if rng.random() < 0.85 else rng.uniform(0.6, 1))
    hsv = np.array([hue, saturation, 255 * rng.uniform(0.1, 0.95)], np.uint8)
    return cv2.cvtColor(hsv.reshape(1, 1, 3), cv2.COLOR_HSV2RGB)[0, 0].astype(np.float32)


def sample_hair_colour(rng: np.random.Generator) -> Float[Array, "3"]:
    """A colour of hair, 0 to 255; rarely a bright one."""
    if rng.random() < 0.02:
        return sample_colour(rng)
    return HAIR_COLOURS[rng.choice(len(HAIR_COLOURS), p=_HAIR_SHARES)] * np.float32(rng.uniform(0.75, 1.25))


def plain(
    colour: Float[Array, "3"], size: int = 64, other: Float[Array, "3"] | None = None, mix: Array | None = None
) -> UInt8[Array, "n n 4"]:
    """A texture of one colour, or of two mixed by ``mix`` [n, n]."""
    out = np.full((size, size, 4), 255, np.uint8)
    out[..., :3] = colour if other is None or mix is None else colour + (other - colour) * mix[..., None]
    return out


def dyed(texture: UInt8[Array, "h w 4"], colour: Float[Array, "3"], *, contrast: float = 1.0) -> UInt8[Array, "h w 4"]:
    """The texture's shading in another colour; its alpha stays."""
    grey = cv2.cvtColor(texture, cv2.COLOR_RGBA2GRAY)
    alpha = cv2.extractChannel(texture, 3)
    return np.asarray(cv2.LUT(cv2.merge([grey, grey, grey, alpha]), _table(grey, alpha, colour, contrast)))


def _table(grey: Array, alpha: Array, colour: Array, contrast: float) -> UInt8[Array, "1 256 4"]:
    there = grey[::4, ::4][alpha[::4, ::4] > 127]
    middle = max(float(there.mean()) if there.size else 128.0, _DARK)
    shade = (np.arange(256, dtype=np.float32) / middle) ** contrast
    coloured = np.clip(shade[:, None] * colour, 0, 255).astype(np.uint8)
    return np.concatenate([coloured, np.arange(256, dtype=np.uint8)[:, None]], 1)[None]


def printed(
    texture: UInt8[Array, "h w 4"], colours: tuple[Array, Array], mix: Float[Array, "h w"]
) -> UInt8[Array, "h w 4"]:
    """The texture's shading with a pattern: the second colour where ``mix`` is 1."""
    out, second = (dyed(texture, colour) for colour in colours)
    cv2.copyTo(second, (mix > 0.5).astype(np.uint8), out)
    return out


def turned(texture: UInt8[Array, "h w 4"], angle_rad: float, saturation: float) -> UInt8[Array, "h w 4"]:
    """The texture with its hues turned and its saturation multiplied: a linear map of the colours."""
    grey = np.full((3, 3), 1 / 3)
    axis = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)
    rotation = grey + saturation * (np.cos(angle_rad) * (np.eye(3) - grey) + np.sin(angle_rad) * axis)
    full = np.eye(4)
    full[:3, :3] = rotation
    return np.asarray(cv2.transform(texture, full))


def pattern(rng: np.random.Generator, height: int, width: int) -> Float[Array, "h w"]:
    """Stripes, checks, dots or blotches: 0 or 1, repeating without seams."""
    style, count = rng.choice(["stripes", "checks", "dots", "blotches"], p=[0.5, 0.2, 0.15, 0.15]), rng.integers(6, 30)
    x = np.sin(np.arange(width) * (2 * np.pi * count / width))[None]
    y = np.sin(np.arange(height) * (2 * np.pi * count / height))[:, None]
    if style == "stripes":
        stripe = np.broadcast_to(x if rng.random() < 0.5 else y, (height, width))
        return (stripe > rng.uniform(-0.6, 0.8)).astype(np.float32)
    if style == "checks":
        return ((x > 0) ^ (y > 0)).astype(np.float32)
    if style == "dots":
        return (x + y > 1.1).astype(np.float32)
    coarse = rng.random((int(count), int(count))).astype(np.float32)
    return (np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)) > 0.55).astype(np.float32)
