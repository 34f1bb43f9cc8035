"""Light baked from panoramas against brute-force integrals and planted suns."""

import cv2
import numpy as np
import pytest

from openexpose.assets.lights import bake_lights, irradiance_harmonics, panorama_directions, place_light, split_sun
from openexpose.errors import InputError
from openexpose.synth.lighting import R_world_view, harmonic_basis, read_places

SKY = 0.4


def _sunny(direction: np.ndarray, strength: float = 300.0) -> np.ndarray:
    directions, _ = panorama_directions(64)
    return np.full((64, 128, 3), SKY) + strength * (directions @ direction > np.cos(0.06))[..., None]


def _irradiance(radiance: np.ndarray, normal: np.ndarray) -> np.ndarray:
    directions, weight = panorama_directions(radiance.shape[0])
    return (radiance * (np.maximum(directions @ normal, 0) * weight)[..., None]).sum((0, 1)) / np.pi


def test_solid_angles_fill_the_sphere():
    directions, weight = panorama_directions(64)
    assert weight.sum() == pytest.approx(4 * np.pi, rel=1e-3)
    np.testing.assert_allclose(directions[32, 64], [0, 0, -1], atol=0.05)
    assert directions[32, 96, 0] > 0.99 and directions[0, 0, 1] > 0.99


def test_constant_surroundings_light_everything_alike():
    harmonics = irradiance_harmonics(np.full((64, 128, 3), 0.7))
    normals = np.random.default_rng(0).normal(size=(20, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    np.testing.assert_allclose(harmonic_basis(normals) @ harmonics, 0.7, rtol=2e-3)


def test_irradiance_is_that_of_a_brute_force_integral():
    rng = np.random.default_rng(1)
    coarse = rng.gamma(1.0, size=(8, 16, 3)).astype(np.float32)
    radiance = cv2.resize(coarse, (128, 64), interpolation=cv2.INTER_LINEAR).astype(float)
    harmonics = irradiance_harmonics(radiance)
    for normal in np.concatenate([np.eye(3), -np.eye(3)]):
        expected = _irradiance(radiance, normal)
        np.testing.assert_allclose(harmonic_basis(normal) @ harmonics, expected, rtol=0.06)


def test_a_sun_is_found_and_taken_out():
    direction = np.array([0.6, 0.5, -0.62])
    direction /= np.linalg.norm(direction)
    radiance = _sunny(direction)
    rest, found, colour = split_sun(radiance)
    assert found @ direction > np.cos(0.03)
    np.testing.assert_allclose(rest, SKY, rtol=1e-6)
    np.testing.assert_allclose(_irradiance(rest, found) + colour, _irradiance(radiance, found), rtol=1e-9)


def test_even_light_has_no_sun():
    _, _, colour = split_sun(np.full((64, 128, 3), 0.5))
    np.testing.assert_allclose(colour, 0, atol=1e-12)


def test_exposure_does_not_depend_on_the_scale_of_the_panorama():
    radiance = _sunny(np.array([0.0, 0.6, 0.8]))
    one, two = place_light("x", radiance), place_light("x", 7 * radiance)
    np.testing.assert_allclose(one.harmonics, two.harmonics, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(one.colour, two.colour, rtol=1e-6)
    facing = (harmonic_basis(one.direction) @ one.harmonics + one.colour).mean()
    assert facing == pytest.approx(1.6, abs=0.05)


@pytest.mark.parametrize("column", [0, 20, 77, 100])
def test_bright_columns_are_in_the_views_that_look_at_them(column):
    radiance = np.full((64, 128, 3), 0.1)
    radiance[24:32, column] = 50
    _, direction, _ = split_sun(radiance)
    yaw = (column + 0.5) / 128 * 360 - 360
    assert R_world_view(yaw)[:, 2] @ direction > 0.97  # the picture of yaw 0 shows the panorama's first column


def test_baking_writes_what_is_read(tmp_path):
    cv2.imwrite(str(tmp_path / "some_hill_512.hdr"), _sunny(np.array([0, 0.6, 0.8]))[..., ::-1].astype(np.float32))
    baked = bake_lights(tmp_path, tmp_path / "lights.npz")
    read = read_places(tmp_path)
    assert list(read) == ["some_hill"] == list(baked)
    np.testing.assert_allclose(read["some_hill"].harmonics, baked["some_hill"].harmonics, atol=1e-6)


def test_bad_panoramas_are_refused(tmp_path):
    with pytest.raises(InputError, match="panoramas"):
        bake_lights(tmp_path, tmp_path / "lights.npz")
    cv2.imwrite(str(tmp_path / "square_512.hdr"), np.ones((8, 8, 3), np.float32))
    with pytest.raises(InputError, match="twice as wide"):
        bake_lights(tmp_path, tmp_path / "lights.npz")
