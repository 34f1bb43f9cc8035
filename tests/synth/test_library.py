"""The assets are read, and every place has six pictures and a light."""

import pytest

from openexpose.errors import InputError
from openexpose.synth.library import load_library


def test_views_of_places(stage):
    views = stage.library.views
    assert set(views) >= set(stage.places)
    for angles in views.values():
        assert sorted(angles) == [0, 60, 120, 180, 240, 300]
    indices = [index for angles in views.values() for index in angles.values()]
    assert sorted(indices) == list(range(len(stage.library.backgrounds)))
    assert all(picture.shape == (360, 480, 3) for picture in stage.library.backgrounds)


def test_skins_come_in_three_sizes(stage):
    assert all([len(mip) for mip in skin] == [1024, 512, 256] for skin in stage.library.skins)


def test_missing_pictures_are_told(tmp_path):
    with pytest.raises(InputError, match="without"):
        load_library(tmp_path)
