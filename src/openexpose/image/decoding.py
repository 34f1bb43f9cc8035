"""What PyAV decodes, as upright RGB with ascending times."""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from jaxtyping import UInt8

from openexpose.errors import InputError

DECODER_THREADS = 1
"""A decoder's threads: one keeps memory small and damaged files reproducible. The networks are what takes time."""

_OLDEST_AV = 17
_PQ, _BT709, _UNSPECIFIED = 16, 1, 2  # numbers of ISO 23091-2 for transfer curves and colour matrices
_TALLEST_OF_BT601 = 576  # untagged video of more lines than television had is BT.709, as players have it
_BELIEVABLE_PIXEL_ASPECT = (0.25, 4.0)
_CLOCK_RESTARTS_S = 1  # a time stamp that lies farther back than this begins a new count


def load_av() -> Any:
    """PyAV.

    Raises:
        InputError: it is not installed, or too old.
    """
    try:
        import av
    except ImportError:
        raise InputError(
            "a video, but no PyAV to read and write videos", "the extra 'video'", "pip install 'openexpose[video]'"
        ) from None
    if int(av.__version__.split(".")[0]) < _OLDEST_AV:
        upgrade = "pip install --upgrade 'openexpose[video]'"
        raise InputError(f"PyAV {av.__version__}", f"PyAV {_OLDEST_AV} or newer", upgrade)
    return av


class FrameTimes:
    """Time stamps as they come, as strictly ascending seconds from the first frame.

    A missing stamp is one frame after the last; one that repeats or lies a little back follows closely; one that lies
    far back begins a new count, which goes on one frame after the last; one beyond the end is not believed.

    Args:
        fps: nominal frame rate.
        duration_s: how long the video says it is, or None.
    """

    def __init__(self, fps: float, duration_s: float | None = None) -> None:
        self._step = 1 / Fraction(fps).limit_denominator(100_000)
        self._limit = None if duration_s is None else Fraction(duration_s) + _CLOCK_RESTARTS_S
        self._zero: Fraction | None = None
        self._last: Fraction | None = None

    def __call__(self, stamp_s: Fraction | None) -> float:
        """Time of the next frame, seconds."""
        if self._last is None:
            self._zero, self._last = stamp_s, Fraction(0)
            return 0.0
        time = self._last + self._step
        if stamp_s is not None:
            if self._zero is None or stamp_s - self._zero < self._last - _CLOCK_RESTARTS_S:
                self._zero = stamp_s - time
            stated = stamp_s - self._zero
            if self._limit is None or stated <= max(self._limit, time):
                time = stated if stated > self._last else self._last + self._step / 10
        self._last = time
        return float(time)


@dataclass(frozen=True)
class Upright:
    """How decoded pictures become upright ones with square pixels."""

    stored_size: tuple[int, int]
    """Width and height before turning, pixels made square."""
    mirrored: bool
    """Whether left and right are swapped before turning."""
    quarters: int
    """Quarter turns clockwise."""

    @property
    def image_size(self) -> tuple[int, int]:
        """Width and height of the upright picture, pixels."""
        width, height = self.stored_size
        return (height, width) if self.quarters % 2 else (width, height)

    def pixels(self, frame: Any, reformatter: Any) -> UInt8[np.ndarray, "height width 3"]:
        """Upright RGB of a decoded frame; one of another size is scaled to the first one's.

        Raises:
            av.FFmpegError: pixels of a kind that cannot be converted.
        """
        width, height = self.stored_size
        untagged = frame.colorspace == _UNSPECIFIED and frame.height > _TALLEST_OF_BT601
        matrix = _BT709 if untagged else None
        rgb = reformatter.reformat(frame, width, height, "rgb24", src_colorspace=matrix, threads=1).to_ndarray()
        if getattr(frame, "color_trc", None) == _PQ:
            rgb = _SDR_OF_PQ[rgb]
        return np.ascontiguousarray(np.rot90(rgb[:, ::-1] if self.mirrored else rgb, -self.quarters))


def upright_of(frame: Any, pixel_aspect: Fraction | None) -> Upright:
    """What the first frame says of all.

    Args:
        frame: decoded.
        pixel_aspect: width by height of a stored pixel; None, or one that cannot be believed: square.
    """
    width, height = frame.width, frame.height
    aspect = float(pixel_aspect or 1)
    if not _BELIEVABLE_PIXEL_ASPECT[0] <= aspect <= _BELIEVABLE_PIXEL_ASPECT[1]:
        aspect = 1.0
    size = (max(1, round(width * max(aspect, 1.0))), max(1, round(height / min(aspect, 1.0))))
    try:
        matrix = np.frombuffer(bytes(frame.side_data["DISPLAYMATRIX"]), np.int32).reshape(3, 3)
    except (KeyError, ValueError):
        return Upright(size, False, 0)
    # Rows are where the picture's axes (right; down) go: a point p goes to p @ matrix.
    (right_x, right_y), (down_x, down_y) = (matrix[:2, :2] / 65536.0).tolist()
    mirrored = right_x * down_y - right_y * down_x < 0
    sign = -1.0 if mirrored else 1.0
    return Upright(size, mirrored, round(math.atan2(sign * right_y, sign * right_x) / (math.pi / 2)) % 4)


def _sdr_of_pq() -> UInt8[np.ndarray, "256"]:
    """Table from PQ code values (HDR10) to those of an ordinary screen: white at 203 candela a square metre (ITU-R
    BT.2408), brighter light rolled off. HLG needs none: it was made to be shown as it is."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128  # SMPTE ST 2084
    root = (np.arange(256) / 255.0) ** (1 / m2)
    light = 10_000 / 203 * (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)
    return np.rint(255 * np.tanh(light) ** (1 / 2.2)).astype(np.uint8)


_SDR_OF_PQ = _sdr_of_pq()
