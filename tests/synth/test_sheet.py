"""Picture sheets: four cells a picture, labels where they belong."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.synth.photos import make_photos

from openexpose.synth.shard_files import Origin, write_shard
from openexpose.synth.shards import Shards, load_shards
from openexpose.synth.sheet import COLOURS, sheet, write_sheet


def made(folder: Path, kind: str = "people", count: int = 3) -> Shards:
    size, people = ((120, 90), 2) if kind == "people" else ((64, 64), 1)
    photos = make_photos(kind, count, size=size, people=people)
    return load_shards([write_shard(folder / f"{kind}-0-00000.tar", Origin(kind, 0, 0, "b"), photos)])


@pytest.mark.parametrize("kind", ["body", "hands", "faces", "people"])
def test_rows_of_four_cells_in_columns(tmp_path: Path, kind: str) -> None:
    drawn = sheet(made(tmp_path, kind), np.arange(3), side=96, columns=2)
    assert drawn.shape == (2 * 96, 2 * 4 * 96, 3) and drawn.dtype == np.uint8
    assert not drawn[96:, 4 * 96 :].any(), "the fourth place is empty"


def test_cells_are_picture_labels_mask_and_depth(tmp_path: Path) -> None:
    shards = made(tmp_path)
    image, labels, mask, depth = np.split(sheet(shards, np.arange(1), side=120, columns=1), 4, 1)
    np.testing.assert_array_equal(image[:90], shards.image(0))
    assert not image[90:].any()
    photo = shards.photo(0)
    for person in photo.people:
        for spot, seen in zip(person.keypoints_px[:22].astype(int), person.visibility[:22], strict=True):
            if seen and (spot > 2).all() and (spot < [117, 87]).all():
                near = labels[spot[1] - 1 : spot[1] + 2, spot[0] - 1 : spot[0] + 2].reshape(-1, 3)
                assert (np.abs(near - COLOURS[seen]).sum(1) < 10).any() or (np.abs(near[4] - image[0, 0]).sum() > 0)
    for value in np.unique(photo.mask):
        colours = np.unique(mask[:90][photo.mask == value], axis=0)
        assert len(colours) == 1 and colours.any() == (value > 0)
    background = ~np.isfinite(photo.depth_m)
    assert not depth[:90][background].any() and (depth[:90][~background] >= 54).all()
    first, second = (depth[:90][photo.mask // 16 == k].max() for k in range(2) if (photo.mask // 16 == k).any())
    assert first >= second, "the nearer is brighter"


def test_sheets_are_written_as_pictures(tmp_path: Path) -> None:
    made(tmp_path, "faces", 20)
    path = write_sheet([tmp_path / "faces-0-00000.tar"], tmp_path / "faces-0-sheet.jpg")
    assert cv2.imread(str(path)).shape == (8 * 256, 8 * 256, 3)
