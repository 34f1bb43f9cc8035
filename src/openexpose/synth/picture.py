"""What happens to a picture: backgrounds, things in front, the border of the photo, and the faults of cameras."""

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from openexpose.synth.library import Library
from openexpose.synth.view import View

Array = np.ndarray


def sample_background(rng: np.random.Generator, library: Library, size: int) -> UInt8[Array, "n n 3"]:
    """A random piece of a background picture, sometimes blurred, mirrored, darker; rarely a plain colour."""
    if rng.random() < 0.06:
        return np.full((size, size, 3), rng.integers(0, 255, 3), np.uint8)
    picture = library.backgrounds[rng.integers(len(library.backgrounds))]
    height, width = picture.shape[:2]
    side = rng.uniform(0.25, 1) * (min(height, width) - 1)
    y, x = rng.uniform(0, height - side - 1), rng.uniform(0, width - side - 1)
    piece = np.ascontiguousarray(picture[int(y) : int(y + side) + 1, int(x) : int(x + side) + 1])
    piece = cv2.resize(piece, (size, size), interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.4:
        piece = cv2.GaussianBlur(piece, (0, 0), rng.uniform(0.5, 4))
    if rng.random() < 0.5:
        piece = piece[:, ::-1]
    return np.ascontiguousarray(np.clip(piece * rng.uniform(0.5, 1.2), 0, 255).astype(np.uint8))


def sample_occluder(
    rng: np.random.Generator, library: Library, size: int, largest: float
) -> tuple[Array, Bool[Array, "n n"]]:
    """Something flat in front: its texture [n, n, 3] and mask; half axes up to ``largest`` of the side."""
    texture = sample_background(rng, library, size)
    mask = np.zeros((size, size), np.uint8)
    a, b = rng.uniform(0.08, largest, 2) * size
    centre = rng.uniform(0.15, 0.85, 2) * size
    if rng.random() < 0.5:
        cv2.ellipse(mask, (tuple(centre), (2 * a, 2 * b), rng.uniform(0, 180)), 1, -1)
    else:
        corners = cv2.boxPoints((tuple(centre), (2 * a, 2 * b), rng.uniform(0, 180)))
        cv2.fillPoly(mask, [corners.astype(np.int32)], 1)
    return texture, mask > 0


def pixel_rays(size: int, half_side: float) -> Float[Array, "n n 3"]:
    """Directions of the pixel centres in the view's frame, z = 1."""
    axis = ((np.arange(size) + 0.5) / size * 2 - 1) * half_side
    x, y = np.meshgrid(axis, axis)
    return np.stack([x, y, np.ones_like(x)], -1)


def outside_photo(view: View, size: int, border: Float[Array, "3"]) -> Bool[Array, "n n"]:
    """Pixels beyond a straight border of the photo: the half space border . ray > 0 in the photo's camera frame."""
    return pixel_rays(size, view.half_side) @ (view.T_view_photo @ border) > 0


def degrade(image: UInt8[Array, "n n 3"], rng: np.random.Generator) -> UInt8[Array, "n n 3"]:
    """Motion blur, low resolution with JPEG, noise, gamma, colour cast, greyscale: each with some probability."""
    size = image.shape[0]
    image = _shaken(image, rng)
    if rng.random() < 0.55:
        small = max(24, int(size / rng.uniform(1, 4 if rng.random() < 0.5 else 2)))
        image = cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA)
        if rng.random() < 0.6:
            quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.uniform(35, 95))]
            image = np.asarray(cv2.imdecode(cv2.imencode(".jpg", image, quality)[1], cv2.IMREAD_COLOR))
        image = cv2.resize(
            image, (size, size), interpolation=cv2.INTER_LINEAR if rng.random() < 0.7 else cv2.INTER_CUBIC
        )
    return _toned(image, rng)


def expose(image: UInt8[Array, "h w 3"], rng: np.random.Generator) -> UInt8[Array, "h w 3"]:
    """As :func:`degrade`, but the resolution stays."""
    return _toned(_shaken(image, rng), rng)


def _shaken(image: Array, rng: np.random.Generator) -> Array:
    if rng.random() < 0.1:
        image = cv2.filter2D(image, -1, _streak(int(rng.integers(3, 9)), rng.uniform(0, np.pi)))
    return image


def _toned(image: Array, rng: np.random.Generator) -> Array:
    value = image.astype(np.float32) * np.float32(1 / 255)
    if rng.random() < 0.7:
        value = value ** np.exp(rng.normal(0, 0.2)) * np.float32(1 + rng.normal(0, 0.05, 3))
    if rng.random() < 0.08:
        value = np.repeat(value.mean(2, keepdims=True), 3, 2)
    if rng.random() < 0.5:
        noise = rng.normal(0, rng.uniform(0.003, 0.03), (*image.shape[:2], 1 if rng.random() < 0.4 else 3))
        value = value + noise.astype(np.float32)
    return np.clip(value * 255, 0, 255).astype(np.uint8)


def _streak(length: int, angle_rad: float) -> Float[Array, "k k"]:
    kernel = np.zeros((9, 9), np.float32)
    d = np.array([np.cos(angle_rad), np.sin(angle_rad)]) * length / 2
    a, b = (4 - d).round().astype(int), (4 + d).round().astype(int)
    cv2.line(kernel, tuple(int(v) for v in a), tuple(int(v) for v in b), 1.0)
    return kernel / kernel.sum()
