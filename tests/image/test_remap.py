"""Pictures looked up where a map says."""

import numpy as np

from openexpose.image.remap import remap

PICTURE = np.random.default_rng(0).integers(0, 256, (23, 31, 3)).astype(np.uint8)


def test_the_same_place_is_the_same_picture() -> None:
    np.testing.assert_array_equal(remap(PICTURE, (31, 23), lambda places: places), PICTURE)


def test_whole_pixels_shift_and_outside_is_black() -> None:
    made = remap(PICTURE, (20, 23), lambda places: places + [25.0, 0.0])
    np.testing.assert_array_equal(made[:, :6], PICTURE[:, 25:])
    assert not made[:, 6:].any()


def test_between_pixels_lies_their_mean(monkeypatch) -> None:
    monkeypatch.setattr("openexpose.image.remap._BAND_PX", 40)  # in bands of a row
    made = remap(PICTURE, (30, 22), lambda places: places + 0.5)
    corners = [PICTURE[y : y + 22, x : x + 30].astype(float) for y in (0, 1) for x in (0, 1)]
    np.testing.assert_allclose(made, np.mean(corners, 0), atol=0.51)


def test_a_map_to_nowhere_is_black() -> None:
    assert not remap(PICTURE, (4, 3), lambda places: np.full_like(places, np.nan)).any()
