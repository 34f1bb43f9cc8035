"""Looks: a trunk that knows one way up only is shown the others, where it makes nothing of people."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from openexpose.predict.bundle import PartConfig, Seen, Stopwatch
from openexpose.predict.looks import DOUBTFUL, Looker, look_at_people
from openexpose.predict.parts import SPECS

CONFIG = PartConfig(32, 1.25, upright=False, looks=1, wider=True, min_presence=0.0, max_shift=10.0)
BOX = np.array([[30.0, 30.0, 90.0, 90.0]])


@dataclass
class HeadUpRunner:
    """A trunk that sees people, of whom the bright side is the head, if that is up in the crop."""

    config: PartConfig = CONFIG
    looks: int = 0
    has_landmarks: bool = True
    spec = SPECS["body"]
    clear: float = 0.95

    def look(self, images: np.ndarray) -> Seen:
        self.looks += 1
        half = images.shape[2] // 2
        up = images[:, :, :half].mean((1, 2, 3)) > images[:, :, half:].mean((1, 2, 3)) + 0.2
        corners = np.array([[x, y, 0.0] for x in (-0.75, 0.75) for y in (-0.75, 0.75)])
        landmarks = np.tile(corners, (len(images), 10, 1))[:, :39]
        presence = np.where(up, self.clear, 0.05)
        return Seen(np.zeros((len(images), 1)), landmarks, np.full((len(images), 39), 0.9), None, presence)


def picture(quarters: int) -> np.ndarray:
    """A person whose bright head is up, or turned by quarters."""
    pixels = np.full((120, 120, 3), 40, np.uint8)
    pixels[:60] = 230
    return np.rot90(pixels, quarters).copy()


def looker(quarters: int, **changes: object) -> tuple[HeadUpRunner, Looker]:
    runner = HeadUpRunner(replace(CONFIG, **changes))
    return runner, Looker(runner, picture(quarters), Stopwatch())


def test_who_is_upright_is_not_turned() -> None:
    runner, look = looker(0)
    sight = look_at_people(look, BOX)
    assert runner.looks == 2, "the usual crop and a wider one"
    assert sight.crop.angle_rad[0] == 0 and sight.seen.presence[0] == pytest.approx(0.95)
    assert sight.agreement(BOX)[0] > DOUBTFUL


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_who_is_not_is_seen_in_a_turned_crop(quarters: int) -> None:
    runner, look = looker(quarters)
    sight = look_at_people(look, BOX)
    assert runner.looks == 5
    assert np.cos(sight.crop.angle_rad[0] + quarters * np.pi / 2) == pytest.approx(1.0)
    assert sight.seen.presence[0] == pytest.approx(0.95)


def test_only_those_who_cannot_be_made_out_are_turned() -> None:
    pixels = np.concatenate([picture(0), picture(1)], 1)
    runner = HeadUpRunner()
    boxes = np.concatenate([BOX, BOX + np.array([120.0, 0, 120, 0])])
    sight = look_at_people(Looker(runner, pixels, Stopwatch()), boxes)
    np.testing.assert_allclose(sight.crop.angle_rad[0], 0.0)
    assert abs(np.sin(sight.crop.angle_rad[1])) == pytest.approx(1.0)


def test_a_little_better_is_not_enough() -> None:
    runner, look = looker(2)
    runner.clear = 0.2
    assert look_at_people(look, BOX).crop.angle_rad[0] == 0 and runner.looks == 5


def test_bundles_that_want_one_look_get_one() -> None:
    runner, look = looker(2, wider=False)
    assert look_at_people(look, BOX).crop.angle_rad[0] == 0 and runner.looks == 1
