"""Props are where the hand holds them, on either side; furniture stands on the floor."""

import numpy as np
import pytest

from openexpose.errors import InputError
from openexpose.geometry.rotation import rotvec_to_matrix
from openexpose.synth.grasp import SHAPES, HeldObject
from openexpose.synth.props import FURNITURE, SEATS, held_thing, sample_furniture, sample_seat
from openexpose.synth.thing import THING

TEXTURE = np.full((4, 4, 4), 255, np.uint8)
ALL_LOOKS = [(shape, look) for shape in ("cylinder", "sphere", "box") for look in SHAPES[shape]]


def _held(shape: str, look: str, half: float = 0.1) -> HeldObject:
    size = np.full(3, 0.03) if shape == "sphere" else np.array([0.02, half, 0.02])
    return HeldObject(look, shape, size, rotvec_to_matrix(np.array([0.3, 0.2, -1.0])), np.array([-0.09, -0.04, 0.01]))


def _check(thing) -> None:
    assert np.isfinite(thing.vertices).all() and thing.faces.min() >= 0 and thing.faces.max() < len(thing.vertices)
    assert thing.corner_uv.shape == (len(thing.faces), 3, 2) and np.isfinite(thing.corner_uv).all()
    assert (thing.parts == THING).all() and len(thing.parts) == len(thing.faces)


@pytest.mark.parametrize(("shape", "look"), [*ALL_LOOKS, ("cylinder", "pen")])
def test_the_grip_of_a_thing_is_the_shape_that_was_grasped(shape, look):
    held = _held(shape, look)
    thing = held_thing(held, np.eye(3), np.zeros(3), TEXTURE, "right")
    _check(thing)
    depth = held.distance(thing.vertices.astype(float))
    near = np.linalg.norm(thing.vertices - held.centre, axis=1) < 0.05
    assert depth.min() > -0.02 and (np.abs(depth) < 1e-4).any()
    if look not in ("mug", "umbrella"):
        assert np.abs(depth[near]).max(initial=0) < 0.013


def test_left_hands_hold_mirror_images_and_things_move_with_the_wrist():
    held, turn, place = _held("cylinder", "bottle"), rotvec_to_matrix(np.array([0.4, 1.0, 0.2])), np.array([1, 2, 3.0])
    right = held_thing(held, np.eye(3), np.zeros(3), TEXTURE, "right")
    left = held_thing(held, np.eye(3), np.zeros(3), TEXTURE, "left")
    np.testing.assert_allclose(left.vertices, right.vertices * [-1, 1, 1], atol=1e-7)
    np.testing.assert_array_equal(left.faces, right.faces[:, ::-1])
    moved = held_thing(held, turn, place, TEXTURE, "right")
    np.testing.assert_allclose(moved.vertices, right.vertices @ turn.T + place, atol=1e-5)
    large = held_thing(held, np.eye(3), np.zeros(3), TEXTURE, "right", hand_scale=1.2)
    np.testing.assert_allclose(large.vertices, 1.2 * right.vertices, atol=1e-6)
    with pytest.raises(InputError, match="middle"):
        held_thing(held, turn, place, TEXTURE, "middle")


def test_long_umbrellas_are_open():
    width = [
        np.ptp(held_thing(_held("cylinder", "umbrella", h), np.eye(3), np.zeros(3), TEXTURE, "left").vertices, axis=0)
        for h in (0.2, 0.45)
    ]
    assert width[1].min() > 2 * width[0].min()


@pytest.mark.parametrize("kind", FURNITURE)
def test_furniture_stands_on_the_floor(kind):
    for seed in range(4):
        thing = sample_furniture(np.random.default_rng(seed), TEXTURE, kind)
        _check(thing)
        low, high = thing.vertices.min(0), thing.vertices.max(0)
        assert low[1] == pytest.approx(0, abs=1e-6) and 0.3 < high[1] < 3.5
        assert low[0] < 0 < high[0] and low[2] < 0 < high[2]


@pytest.mark.parametrize("kind", SEATS)
def test_seats_are_as_high_as_asked_for(kind):
    thing = sample_seat(np.random.default_rng(0), TEXTURE, 0.47, kind)
    middle = np.abs(thing.vertices[:, 1] - 0.47) < 1e-5
    assert middle.sum() >= 4


def test_unknown_furniture_is_refused_and_seeds_repeat():
    with pytest.raises(InputError, match="sofa"):
        sample_furniture(np.random.default_rng(0), TEXTURE, "sofa")
    with pytest.raises(InputError, match="sofa"):
        sample_seat(np.random.default_rng(0), TEXTURE, 0.4, "sofa")
    first, second = (sample_furniture(np.random.default_rng(3), TEXTURE) for _ in range(2))
    np.testing.assert_array_equal(first.vertices, second.vertices)
