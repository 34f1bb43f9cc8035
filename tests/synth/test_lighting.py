"""Spherical harmonics against integrals, and places against their pictures."""

import numpy as np
import pytest

from openexpose.assets.lights import panorama_directions
from openexpose.errors import InputError
from openexpose.geometry.rotation import rotvec_to_matrix
from openexpose.synth.library import default_assets
from openexpose.synth.lighting import (
    VIEW_DOWN_RAD,
    VIEW_WIDTH_RAD,
    Place,
    R_world_view,
    ambient_light,
    harmonic_basis,
    lighting_of,
    read_places,
    rotate_harmonics,
    sample_lighting,
)


def _directions(n: int, seed: int = 0) -> np.ndarray:
    d = np.random.default_rng(seed).normal(size=(n, 3))
    return d / np.linalg.norm(d, axis=1, keepdims=True)


def test_basis_is_orthonormal():
    directions, weight = panorama_directions(128)
    basis = harmonic_basis(directions).reshape(-1, 9)
    np.testing.assert_allclose(basis.T @ (basis * weight.reshape(-1, 1)), np.eye(9), atol=1e-3)


def test_compiled_and_plain_light_agree():
    harmonics = np.random.default_rng(1).normal(size=(9, 3)) * 0.1 + np.eye(9)[:, :1]
    for d in _directions(20):
        np.testing.assert_allclose(
            ambient_light(harmonics, *d), np.maximum(harmonic_basis(d) @ harmonics, 0), rtol=1e-4
        )


def test_turned_harmonics_give_turned_light():
    harmonics = np.random.default_rng(1).normal(size=(9, 3))
    R, d = rotvec_to_matrix(np.array([0.3, -1.2, 0.7])), _directions(50)
    expected = harmonic_basis(d) @ harmonics
    np.testing.assert_allclose(harmonic_basis(d @ R.T) @ rotate_harmonics(harmonics, R), expected, atol=1e-9)


def test_turning_world_and_camera_together_changes_nothing():
    rng = np.random.default_rng(2)
    place = Place("x", rng.normal(size=(9, 3)), _directions(1)[0], rng.uniform(size=3))
    R, turn = rotvec_to_matrix(rng.normal(size=3)), rotvec_to_matrix(rng.normal(size=3))
    turned = Place("x", rotate_harmonics(place.harmonics, turn), turn @ place.direction, place.colour)
    one, two = lighting_of(place, R, 1.3), lighting_of(turned, R @ turn.T, 1.3)
    for name in ("direction", "colour", "harmonics"):
        np.testing.assert_allclose(getattr(one, name), getattr(two, name), atol=1e-9)


@pytest.mark.parametrize("yaw", range(0, 360, 60))
def test_views_are_rotations_that_look_ahead(yaw):
    R = R_world_view(yaw, 0.1)
    np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(R) > 0 and R[1, 1] < -0.9 and R[1, 2] == pytest.approx(-np.sin(0.1))
    np.testing.assert_allclose(R_world_view(yaw + 60)[:, 2] @ R_world_view(yaw)[:, 0], np.sin(np.radians(60)))


def _sun_spots() -> list[tuple[str, int, int, int]]:
    """Place, yaw, and the pixel where the sun should be, of pictures 480 x 360."""
    spots, focal = [], 240 / np.tan(VIEW_WIDTH_RAD / 2)
    for name, place in read_places(default_assets()).items():
        for yaw in range(0, 360, 60):
            x, y, z = R_world_view(yaw, VIEW_DOWN_RAD).T @ place.direction
            u, v = 240 + focal * x / max(z, 1e-6), 180 + focal * y / max(z, 1e-6)
            if z > 0 and place.colour.mean() > 0.2 and 40 < u < 440 and 40 < v < 320:
                spots.append((name, yaw, int(u), int(v)))
    return spots


def test_the_sun_is_where_the_pictures_show_it():
    cv2 = pytest.importorskip("cv2")
    ranks = []
    for name, yaw, u, v in _sun_spots():
        picture = cv2.imread(str(default_assets() / "backgrounds" / f"{name}_{yaw:03d}.jpg")).mean(-1)
        smooth = cv2.blur(picture, (25, 25))
        ranks.append((smooth <= smooth[v, u]).mean())
    assert len(ranks) >= 6 and np.median(ranks) > 0.97 and np.mean(ranks) > 0.9


def test_white_walls_are_neither_black_nor_burnt():
    angles = np.arange(8) * np.pi / 4
    walls = np.stack([np.sin(angles), 0 * angles, np.cos(angles)], -1)
    for place in read_places(default_assets()).values():
        total = harmonic_basis(walls) @ place.harmonics + np.maximum(walls @ place.direction, 0)[:, None] * place.colour
        assert 0.3 < total.mean() < 1.1, place.name
        assert np.linalg.norm(place.direction) == pytest.approx(1, abs=1e-5) and (place.colour >= 0).all()


def test_missing_lights_are_named(tmp_path):
    with pytest.raises(InputError, match=r"lights\.npz"):
        read_places(tmp_path)


def test_sampled_light_is_seeded_and_sensible():
    one, two = (sample_lighting(np.random.default_rng(4)) for _ in range(2))
    np.testing.assert_array_equal(one.harmonics, two.harmonics)
    rng = np.random.default_rng(0)
    for _ in range(200):
        lighting = sample_lighting(rng)
        ambient = harmonic_basis(_directions(30)) @ lighting.harmonics
        assert (ambient > 0).all() and ambient.max() < 2 and (lighting.colour > 0).all()
        assert np.linalg.norm(lighting.direction) == pytest.approx(1)
