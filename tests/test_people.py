"""The record of people: what does not fit together is refused."""

from dataclasses import fields, replace

import numpy as np
import pytest

from openexpose.errors import InputError
from openexpose.people import POSE_SLICES, People, zero_pose


def people(count: int = 3) -> People:
    rng = np.random.default_rng(0)
    return People(
        pose=zero_pose(count), betas=rng.normal(size=(count, 10)), expression=rng.normal(size=(count, 20)),
        transl=rng.normal(size=(count, 3)), score=rng.uniform(size=count), bbox_xyxy=rng.uniform(size=(count, 4)),
        part_confidence=np.ones((count, 4)), joint_confidence=np.ones((count, 144)),
        crop_centre_px=np.zeros((count, 2)), crop_side_px=np.ones(count), crop_camera=np.ones((count, 3)),
        focal_px=500.0, principal_px=np.array([320.0, 240.0]), image_size=(640, 480),
    )  # fmt: skip


ROWS = [
    f.name for f in fields(People) if isinstance(getattr(people(), f.name), np.ndarray) and f.name != "principal_px"
]


@pytest.mark.parametrize("name", [name for name in ROWS if name != "pose"])
def test_every_array_needs_one_row_a_person(name: str) -> None:
    with pytest.raises(InputError, match=f"{name} for 2 people; expected one row for each of 3 people"):
        replace(people(), **{name: getattr(people(), name)[:2]})


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ROWS)
def test_every_number_is_finite(name: str, value: float) -> None:
    array = getattr(people(), name).copy()
    array.flat[-1] = value
    with pytest.raises(InputError, match=f"{name} holds NaN or infinity"):
        replace(people(), **{name: array})


def test_choosing_people_chooses_all_their_rows() -> None:
    everyone = people()
    chosen = everyone[np.array([2, 0])]
    assert len(everyone) == 3 and len(chosen) == 2 and len(everyone[1:]) == 2 and len(everyone[:0]) == 0
    for name in ROWS:
        np.testing.assert_array_equal(getattr(chosen, name), getattr(everyone, name)[[2, 0]])
    for name in ("focal_px", "image_size", "body_model", "part"):
        assert getattr(chosen, name) == getattr(everyone, name)
    np.testing.assert_array_equal(chosen.principal_px, everyone.principal_px)


def test_the_named_pose_parameters_are_all_joints_in_order() -> None:
    everyone = people()
    everyone.pose[:] = np.arange(55.0)[:, None, None]
    parts = dict(everyone.pose_parts())
    assert list(parts) == list(POSE_SLICES)
    np.testing.assert_array_equal(np.concatenate(list(parts.values()), 1), everyone.pose)


def test_nobody_is_a_valid_picture() -> None:
    assert len(people(0)) == 0
    assert zero_pose(2).shape == (2, 55, 3, 3) and zero_pose(0).shape == (0, 55, 3, 3)
