"""Index tables: each holds what the data sets' documentation names, spelled out in the fixtures."""

import numpy as np
import pytest
from tests.data import fixtures as made
from tests.data import fixtures_planar as planar

from openexpose.body.keypoints import INDEX
from openexpose.data import skeletons
from openexpose.errors import InputError

LISTS = {
    "BODY25": made.BODY_25,
    "COCO17": planar.COCO,
    "FFHQ73": made.FFHQ,
    "FREIHAND21": made.RIGHT_HAND,
    "H36M17": made.H36M,
    "IBUG68": made.FACE,
    "LSP14": made.LSP_NAMES,
    "MPII16": planar.MPII,
    "OPENPOSE_LEFT_HAND": made.LEFT_HAND,
    "OPENPOSE_RIGHT_HAND": made.RIGHT_HAND,
    "SPIN24": made.SPIN,
    "THREEDPW18": made.THREEDPW,
}


@pytest.mark.parametrize("table", LISTS)
def test_tables_hold_the_documented_names(table: str) -> None:
    assert getattr(skeletons, table).tolist() == [INDEX[name] if name else -1 for name in LISTS[table]]


def test_known_entries() -> None:
    assert skeletons.BODY25[[0, 4, 8, 19]].tolist() == [55, 21, 0, 60]
    assert skeletons.OPENPOSE_LEFT_HAND[[0, 4, 17]].tolist() == [20, 66, 31]
    assert skeletons.IBUG68[[0, 17]].tolist() == [127, 76]


def test_points_go_to_their_places_and_the_first_wrist_wins() -> None:
    table = np.r_[skeletons.BODY25, skeletons.OPENPOSE_LEFT_HAND, -1]
    points = np.c_[np.arange(47.0), np.arange(47.0) + 100, np.ones(47)]
    found = skeletons.to_keypoints(points, table)
    assert found[20].tolist() == [7.0, 107.0, 1.0]  # row 25, too, is a left wrist
    assert found[37].tolist() == [26.0, 126.0, 1.0]
    assert (found[:, 2] == 1).sum() == 45 and not found[INDEX["right_index1"]].any()
    assert skeletons.to_keypoints(np.ones((21, 4)), skeletons.FREIHAND21).shape == (144, 4)
    with pytest.raises(InputError, match="47 rows"):
        skeletons.to_keypoints(points[1:], table)
