"""What happens to a picture: backgrounds, the border of the photo, and the faults of cameras."""

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from openexpose.synth.library import Library

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


CLEAN = 1 / 3
"""Share of pictures without any fault."""


def degrade(image: UInt8[Array, "h w 3"], rng: np.random.Generator) -> UInt8[Array, "h w 3"]:
    """The faults of cameras, each with some probability; a third of the pictures is left as it is.

    Defocus, motion blur, low resolution up-sampled, vignette, wrong exposure, contrast, haze and colour balance,
    noise, greyscale, JPEG.
    """
    if rng.random() < CLEAN:
        return image
    chosen = rng.random(len(_FAULTS))
    for fault, (share, function) in enumerate(_FAULTS):
        if chosen[fault] < share:
            image = function(image, rng)
    return image


def _scale(image: Array) -> float:
    """Blurs are larger in larger pictures."""
    return float(max(image.shape[:2])) / 400


def _defocused(image: Array, rng: np.random.Generator) -> Array:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.8) * _scale(image)))


def _moved(image: Array, rng: np.random.Generator) -> Array:
    length = int(np.clip(rng.uniform(2, 9) * _scale(image), 2, 25))
    return np.asarray(cv2.filter2D(image, -1, _line(length, rng.uniform(0, np.pi))))


def _coarse(image: Array, rng: np.random.Generator) -> Array:
    height, width = image.shape[:2]
    factor = rng.uniform(1.2, 4 if rng.random() < 0.4 else 2.2)
    size = max(24, int(width / factor)), max(24, int(height / factor))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    if rng.random() < 0.5:
        small = _packed(small, rng)
    how = cv2.INTER_LINEAR if rng.random() < 0.6 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(small, (width, height), interpolation=how))


def _packed(image: Array, rng: np.random.Generator) -> Array:
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.uniform(25, 92))]
    return np.asarray(cv2.imdecode(cv2.imencode(".jpg", image, quality)[1], cv2.IMREAD_COLOR))


def _shaded(image: Array, rng: np.random.Generator) -> Array:
    """Darker towards the corners."""
    height, width = image.shape[:2]
    y, x = np.linspace(-1, 1, height, dtype=np.float32), np.linspace(-1, 1, width, dtype=np.float32)
    fall = 256 * (1 - rng.uniform(0.1, 0.5) * (x[None] ** 2 + y[:, None] ** 2) / 2)
    return np.asarray((image * fall.astype(np.uint16)[..., None]) >> 8, np.uint8)


def _exposed(image: Array, rng: np.random.Generator) -> Array:
    """Over- or under-exposed, flat or hard."""
    value = np.linspace(0, 1, 256)
    value = np.minimum(value**2.2 * 2 ** rng.normal(0, 0.6), 1) ** (1 / 2.2)
    value = value ** np.exp(rng.normal(0, 0.15))
    return _looked_up(image, 0.5 + (value - 0.5) * np.exp(rng.normal(0, 0.12)))


def _hazy(image: Array, rng: np.random.Generator) -> Array:
    value, haze = np.linspace(0, 1, 256), rng.uniform(0.05, 0.4)
    return _looked_up(image, value[:, None] * (1 - haze) + haze * rng.uniform(0.4, 1) * (1 + rng.normal(0, 0.05, 3)))


def _cast(image: Array, rng: np.random.Generator) -> Array:
    """Wrong white balance: mostly along warm to cold."""
    gain = 1 + rng.normal(0, 0.08) * np.array([1, 0.1, -1]) + rng.normal(0, 0.02, 3)
    return _looked_up(image, np.linspace(0, 1, 256)[:, None] * gain)


def _looked_up(image: Array, curve: Array) -> Array:
    table = np.clip(curve * 255 + 0.5, 0, 255).astype(np.uint8).reshape(256, -1)
    return np.asarray(cv2.LUT(image, np.ascontiguousarray(np.broadcast_to(table, (256, 3)).reshape(1, 256, 3))))


def _noisy(image: Array, rng: np.random.Generator) -> Array:
    """The sum of two uniform variables, about normal; coloured or grey."""
    height, width = image.shape[:2]
    channels, spread = (1 if rng.random() < 0.4 else 3), rng.uniform(1, 9)
    count = height * width * channels
    raw = np.frombuffer(rng.bytes(2 * count), np.uint8).astype(np.float32).reshape(2, height, width, channels)
    noise = (raw[0] + raw[1] - 255) * np.float32(spread / 104)  # a standard deviation of ``spread`` grey levels
    if rng.random() < 0.3:  # coarse grain
        noise = np.asarray(cv2.GaussianBlur(noise, (0, 0), 0.8)).reshape(height, width, channels) * np.float32(1.8)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def _grey(image: Array, rng: np.random.Generator) -> Array:
    del rng
    return np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, 2)


_FAULTS = (
    (0.18, _defocused), (0.12, _moved), (0.3, _coarse), (0.15, _shaded), (0.45, _exposed), (0.1, _hazy), (0.4, _cast),
    (0.35, _noisy), (0.07, _grey), (0.4, _packed),
)  # fmt: skip
"""Share and function, in the order in which they happen."""


def expose(image: UInt8[Array, "h w 3"], rng: np.random.Generator) -> UInt8[Array, "h w 3"]:
    """Motion blur, gamma, colour cast, greyscale and noise, as the frozen test set has them."""
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


def _line(length: int, angle_rad: float) -> Float[Array, "k k"]:
    side = length | 1
    kernel, middle = np.zeros((side, side), np.float32), side // 2
    dx, dy = (round(float(f(angle_rad)) * middle) for f in (np.cos, np.sin))
    cv2.line(kernel, (middle - dx, middle - dy), (middle + dx, middle + dy), 1.0)
    return kernel / kernel.sum()


def _streak(length: int, angle_rad: float) -> Float[Array, "k k"]:
    kernel = np.zeros((9, 9), np.float32)
    d = np.array([np.cos(angle_rad), np.sin(angle_rad)]) * length / 2
    a, b = (4 - d).round().astype(int), (4 + d).round().astype(int)
    cv2.line(kernel, tuple(int(v) for v in a), tuple(int(v) for v in b), 1.0)
    return kernel / kernel.sum()
