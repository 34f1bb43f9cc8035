"""Smooth functions of time that motions are made of: twice differentiable, so that nothing jumps or jerks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from openexpose.geometry.rotation import matrix_to_rotvec, rotvec_to_matrix

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class Route:
    """A polyline over time whose corners are rounded: constant speed between the keys, C2 everywhere.

    It is the polyline convolved with a triangle of half width ``round_s``; before the first and after the last key it
    goes on at the speed that it has there.

    Attributes:
        times_s: [k] ascending, at least two. values: [k, d]. round_s: seconds.
    """

    times_s: Float[Array, "k"]
    values: Float[Array, "k d"]
    round_s: float

    def __call__(self, times_s: Float[Array, "n"]) -> Float[Array, "n d"]:
        """Values at any times."""
        speeds = np.diff(self.values, axis=0) / np.diff(self.times_s)[:, None]
        out = self.values[0] + speeds[0] * (times_s[:, None] - self.times_s[0])
        for k in range(1, len(speeds)):
            out = out + (speeds[k] - speeds[k - 1]) * _rounded_ramp(times_s - self.times_s[k], self.round_s)[:, None]
        return out


def _rounded_ramp(x: Array, width: float) -> Array:
    """max(x, 0) convolved with a triangle."""
    return np.maximum(width - np.abs(x), 0) ** 3 / (6 * width**2) + np.maximum(x, 0)


def envelope(times_s: Float[Array, "n"], spans: Sequence[tuple[float, float]], ease_s: float) -> Float[Array, "n"]:
    """1 inside the spans, 0 outside, eased over ``ease_s`` inside each end; spans do not overlap."""
    out = np.zeros(len(times_s))
    for start, end in spans:
        ease = max(min(ease_s, (end - start) / 2), 1e-6)
        out = out + ramp(times_s, start, start + ease) - ramp(times_s, end - ease, end)
    return out


def ramp(times_s: Float[Array, "n"], start: float, end: float) -> Float[Array, "n"]:
    """From 0 to 1 between two times with the least jerk: speed and acceleration are 0 at both ends."""
    x = np.clip((times_s - start) / (end - start), 0, 1)
    return x**3 * (10 - 15 * x + 6 * x * x)


def bump(times_s: Float[Array, "n"], start: float, end: float) -> Float[Array, "n"]:
    """From 0 to 1 and back between two times, C2."""
    x = np.clip((times_s - start) / (end - start), 0, 1)
    return 64 * (x * (1 - x)) ** 3


def rise_and_fall(times_s: Float[Array, "n"], corners: tuple[float, float, float]) -> Float[Array, "n"]:
    """From 0 to 1 between the first two times, back to 0 until the third."""
    start, peak, end = corners
    return ramp(times_s, start, peak) - ramp(times_s, peak, end)


def mixed(
    first: Float[Array, "*b 3 3"], second: Float[Array, "*b 3 3"], share: Float[Array, "*s"]
) -> Float[Array, "*b 3 3"]:
    """Rotations a share of the way from the first to the second, on the shortest arc.

    Args:
        share: of the leading axes of the rotations.
    """
    turn = matrix_to_rotvec(np.swapaxes(first, -1, -2) @ second)
    weight = np.asarray(share).reshape(*np.shape(share), *(1,) * (turn.ndim - np.ndim(share)))
    return first @ rotvec_to_matrix(turn * weight)


def keyed(
    times_s: Float[Array, "n"], keys_s: Sequence[tuple[float, float]], rotations: Float[Array, "k j 3 3"]
) -> Float[Array, "n j 3 3"]:
    """Rotations that move from key to key, in cumulative form (Kim, Kim, Shin 1995): C2, also where moves overlap.

    Args:
        keys_s: k - 1 spans in which the next key is gone to. rotations: k keys.
    """
    out = np.broadcast_to(rotations[0], (len(times_s), *rotations.shape[1:])).copy()
    for (start, end), before, after in zip(keys_s, rotations[:-1], rotations[1:], strict=True):
        turn = matrix_to_rotvec(np.swapaxes(before, -1, -2) @ after)
        out = out @ rotvec_to_matrix(ramp(times_s, start, end)[:, None, None] * turn)
    return out


def keyed_values(
    times_s: Float[Array, "n"], keys_s: Sequence[tuple[float, float]], values: Float[Array, "k d"]
) -> Float[Array, "n d"]:
    """As :func:`keyed`, of plain numbers."""
    out = np.broadcast_to(values[0], (len(times_s), values.shape[1])).astype(float)
    for (start, end), before, after in zip(keys_s, values[:-1], values[1:], strict=True):
        out = out + ramp(times_s, start, end)[:, None] * (after - before)
    return out
