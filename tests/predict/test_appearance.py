"""Colours of clothes: the same in light and shadow, different on different people."""

import numpy as np
import pytest
from tests.predict.walkers import Walker, scene

from openexpose.predict.appearance import appearance, difference, samples
from openexpose.predict.tracking import ALIKE
from openexpose.predict.tracks import COLOUR_SPREAD

SHIRT, TROUSERS = (150, 90, 60), (70, 80, 140)


def look(shirt: tuple[int, int, int], trousers: tuple[int, int, int], light: float = 1.0):
    now = scene([Walker(lambda t: (0.0, 4.0), shirt, trousers)], 0.0)
    pixels = np.clip(now.pixels * light, 0, 255).astype(np.uint8)
    return appearance(pixels, now.points_px, np.zeros(samples(now.points_px).shape[:2], bool))


@pytest.mark.parametrize("light", [0.5, 1.5])
def test_light_and_shadow_do_not_make_somebody_else(light: float) -> None:
    apart, known = difference(look(SHIRT, TROUSERS), look(SHIRT, TROUSERS, light))
    assert known[0, 0] == 1.0 and apart[0, 0] < ALIKE * COLOUR_SPREAD


@pytest.mark.parametrize("shirt", [(60, 90, 150), (90, 150, 60), (100, 100, 100)])
def test_another_shirt_does(shirt: tuple[int, int, int]) -> None:
    apart, _ = difference(look(SHIRT, TROUSERS), look(shirt, TROUSERS))
    assert apart[0, 0] > ALIKE * COLOUR_SPREAD


def test_black_and_white_differ_though_they_have_no_hue() -> None:
    apart, _ = difference(look((240, 240, 240), (240, 240, 240)), look((20, 20, 20), (20, 20, 20)))
    assert apart[0, 0] > ALIKE * COLOUR_SPREAD
