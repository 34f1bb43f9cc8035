"""Laws of frame times and of HDR."""

from collections.abc import Sequence
from fractions import Fraction

import av
import numpy as np
import pytest

from openexpose.image.decoding import FrameTimes, upright_of


def times_of(stamps_s: Sequence[float | None], fps: float = 10.0, duration_s: float | None = None) -> list[float]:
    times = FrameTimes(fps, duration_s)
    return [times(None if stamp is None else Fraction(stamp).limit_denominator(1000)) for stamp in stamps_s]


@pytest.mark.parametrize(
    ("stamps_s", "expected"),
    [
        ([5.0, 5.1, 5.35, 9.0], [0.0, 0.1, 0.35, 4.0]),
        ([0.0, None, 0.2, None], [0.0, 0.1, 0.2, 0.3]),
        ([None, None, 7.0, 7.1], [0.0, 0.1, 0.2, 0.3]),
        ([0.0, 0.1, 0.1, 0.2], [0.0, 0.1, 0.11, 0.2]),
        ([0.0, 0.3, 0.2, 0.4], [0.0, 0.3, 0.31, 0.4]),
        ([50.0, 50.1, 50.2, 0.0, 0.1], [0.0, 0.1, 0.2, 1.3 - 1.0, 0.4]),
    ],
    ids=["varying", "missing", "missing at first", "repeated", "back a little", "a count that begins anew"],
)
def test_times_of_stamps(stamps_s: list[float | None], expected: list[float]) -> None:
    if stamps_s[0] == 50.0:
        stamps_s = [50.0 + k for k in range(20)] + [0.0, 0.5]
        expected = [*map(float, range(20)), 19.1, 19.6]
    np.testing.assert_allclose(times_of(stamps_s), expected)


def test_a_stamp_beyond_the_end_is_not_believed() -> None:
    np.testing.assert_allclose(times_of([0, 0.1, 95_000, 0.3], duration_s=10.0), [0, 0.1, 0.2, 0.3])


def test_times_ascend_whatever_comes() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        stamps = [None if rng.random() < 0.2 else float(rng.normal(0, 10 ** rng.uniform(-3, 3))) for _ in range(40)]
        assert (np.diff(times_of(stamps, fps=float(rng.uniform(1, 240)))) > 0).all()


def test_hdr_looks_like_its_ordinary_twin() -> None:
    """Grey of a known light: PQ's white of 203 candela is bright, its half (in light) lies where the half of an
    ordinary picture lies, and order is kept."""
    light = np.array([0.0, 20.0, 100.0, 203.0, 1000.0])
    power = (light / 10_000) ** (2610 / 16384)
    code = ((3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32)
    pixels = np.repeat(np.rint(code * 255).astype(np.uint8)[None, :, None], 3, -1)
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
    frame.color_trc = 16
    grey = upright_of(frame, None).pixels(frame, av.video.reformatter.VideoReformatter())[0, :, 0].astype(int)
    assert grey[0] == 0 and (np.diff(grey) > 0).all() and grey[-1] == 255
    assert abs(grey[1] - 255 * (20 / 203) ** (1 / 2.2)) < 8 and abs(grey[2] - 255 * (100 / 203) ** (1 / 2.2)) < 12
    assert grey[3] > 215
