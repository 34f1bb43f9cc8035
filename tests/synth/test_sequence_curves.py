"""Functions of time: they go where their keys say, and have no corners."""

import numpy as np
import pytest

from openexpose.geometry.rotation import rotvec_to_matrix
from openexpose.synth.sequence_curves import Route, bump, envelope, keyed, keyed_values, mixed, ramp, rise_and_fall

ROUTE = Route(np.array([0.0, 2.0, 3.0, 6.0]), np.array([[0.0, 1.0], [2.0, 1.0], [2.0, 1.0], [-1.0, 4.0]]), 0.25)


def test_a_route_keeps_to_its_polyline_away_from_the_corners() -> None:
    at = np.array([-1.0, 0.0, 1.0, 1.75, 2.5, 5.0, 8.0])
    straight = [[-1, 1], [0, 1], [1, 1], [1.75, 1], [2, 1], [0, 3], [-3, 6]]
    np.testing.assert_allclose(ROUTE(at), straight, atol=1e-12)
    assert 0.01 < np.linalg.norm(ROUTE(np.array([2.0]))[0] - [2, 1]) < 0.1, "corners are rounded"


@pytest.mark.parametrize(
    "curve",
    [
        lambda t: ROUTE(t)[:, 0],
        lambda t: ramp(t, 1.0, 2.0),
        lambda t: bump(t, 1.0, 2.0),
        lambda t: rise_and_fall(t, (1.0, 1.5, 3.0)),
        lambda t: envelope(t, [(0.5, 1.0), (1.0, 4.0)], 0.4),
        lambda t: keyed_values(t, [(1.0, 2.0), (1.5, 3.0)], np.array([[0.0], [1.0], [-1.0]]))[:, 0],
    ],
)
def test_acceleration_does_not_jump(curve) -> None:
    """Where the speed jumped, the second difference would grow like 1 / step; here the third one stays bounded."""
    jerk = [np.abs(np.diff(curve(np.arange(0, 6, step)), n=3)).max() / step**3 for step in (1e-2, 5e-3)]
    assert jerk[1] < 1.3 * jerk[0]


def test_envelopes_are_one_inside_and_zero_outside() -> None:
    np.testing.assert_allclose(
        envelope(np.array([0.0, 1.0, 2.0, 2.9, 3.0]), [(1.0, 3.0)], 0.5)[[0, 1, 2, 4]], [0, 0, 1, 0]
    )


def test_rotations_reach_their_keys_and_stay_there() -> None:
    keys = rotvec_to_matrix(np.random.default_rng(0).normal(size=(4, 5, 3)))
    spans = [(1.0, 2.0), (2.5, 3.0), (3.0, 4.5)]
    found = keyed(np.array([0.0, 1.0, 2.0, 2.4, 3.0, 4.5, 9.0]), spans, keys)
    np.testing.assert_allclose(found, keys[[0, 0, 1, 1, 2, 3, 3]], atol=1e-12)


def test_mixing_goes_half_the_angle() -> None:
    first, axis = rotvec_to_matrix(np.array([0.3, 0.2, -0.4])), np.array([0.0, 1.2, 0.0])
    second = first @ rotvec_to_matrix(axis)
    pair = np.stack([first] * 3), np.stack([second] * 3)
    found = mixed(*pair, np.array([0.0, 0.5, 1.0]))
    np.testing.assert_allclose(found, [first, first @ rotvec_to_matrix(axis / 2), second], atol=1e-12)
