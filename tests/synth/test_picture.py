"""Faults of cameras keep size and type; a third of the pictures stays clean; backgrounds fit their camera."""

import cv2
import numpy as np
import pytest

from openexpose.geometry.rotation import rotvec_to_matrix
from openexpose.synth import picture
from openexpose.synth.camera import Camera, look_from
from openexpose.synth.lighting import harmonic_basis
from openexpose.synth.surroundings import behind, metered, sample_surroundings, tilt
from openexpose.synth.thing import Lighting


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    smooth = cv2.GaussianBlur(np.random.default_rng(0).random((90, 130, 3)), (0, 0), 2)
    return (255 * (smooth - smooth.min()) / np.ptp(smooth)).astype(np.uint8)


@pytest.mark.parametrize("fault", [function for _, function in picture._FAULTS])
def test_faults_keep_the_size_and_change_something(image, fault):
    changes = []
    for seed in range(5):
        spoilt = fault(image, np.random.default_rng(seed))
        assert spoilt.shape == image.shape and spoilt.dtype == np.uint8
        changes.append(np.abs(spoilt.astype(int) - image).mean())
    assert 0 < max(changes) < 90


def test_a_third_is_clean(image):
    same = [np.array_equal(picture.degrade(image, np.random.default_rng(k)), image) for k in range(300)]
    assert 0.25 < np.mean(same) < 0.45


def test_noise_has_the_spread_it_says():
    grey = np.full((200, 200, 3), 128, np.uint8)
    spreads = [picture._noisy(grey, np.random.default_rng(k)).astype(float).std() for k in range(30)]
    assert min(spreads) > 0.6 and max(spreads) < 13


def _gradient() -> np.ndarray:
    """Red grows to the right, green downwards."""
    x, y = np.meshgrid(np.linspace(0, 255, 480), np.linspace(0, 255, 360))
    return np.stack([x, y, 0 * x], -1).astype(np.uint8)


def test_a_camera_like_the_pictures_shows_it_whole():
    focal = 240 / np.tan(np.radians(37.5))
    camera = Camera(np.eye(3), np.zeros(3), focal, 480, 360)
    shown = behind(_gradient(), np.eye(3), camera, 1.0)
    assert np.abs(shown[5:-5, 5:-5].astype(int) - _gradient()[5:-5, 5:-5]).mean() < 2


def test_turned_cameras_look_elsewhere():
    camera = Camera(np.eye(3), np.zeros(3), 900.0, 300, 300)
    middle = behind(_gradient(), np.eye(3), camera, 1.0)[140:160, 140:160].mean((0, 1))
    right = look_from(np.zeros(3), np.array([0.3, 0, 1.0])) @ look_from(np.zeros(3), np.array([0, 0, 1.0])).T
    flip = np.diag([-1.0, -1.0, 1.0])  # look_from's frame has y down and x right of somebody who looks along z
    turned = behind(_gradient(), flip @ right @ flip, camera, 1.0)[140:160, 140:160].mean((0, 1))
    assert abs(turned[0] - middle[0]) > 30 and abs(turned[1] - middle[1]) < 6
    down = rotvec_to_matrix(np.array([0.2, 0.0, 0.0]))  # y down: the world turns up in the camera that looks down
    lower = behind(_gradient(), down, camera, 1.0)[140:160, 140:160].mean((0, 1))
    assert abs(lower[1] - middle[1]) > 30 and abs(lower[0] - middle[0]) < 6


def test_backgrounds_fill_every_picture(stage):
    rng = np.random.default_rng(0)
    for width, height, focal in ((256, 256, 150.0), (900, 1200, 900.0), (1200, 500, 4000.0)):
        place = np.array([1.0, 1.6, 2.0])
        camera = Camera(look_from(place, rng.normal(0, 1, 3), 0.1), place, focal, width, height)
        around = sample_surroundings(rng, stage, camera)
        assert around.background.shape == (height, width, 3) and around.background.dtype == np.uint8
        assert np.linalg.norm(around.lighting.direction) == pytest.approx(1, abs=1e-5)


def test_tilt_leaves_out_the_heading():
    for yaw in (0.0, 1.0, -2.5):
        forward = np.array([np.sin(yaw) * 0.8, -0.6, np.cos(yaw) * 0.8])
        camera = Camera(look_from(np.zeros(3), forward), np.zeros(3), 1.0, 2, 2)
        pitch = rotvec_to_matrix(np.array([np.arcsin(0.6), 0, 0]))
        np.testing.assert_allclose(tilt(camera), pitch, atol=1e-9)


def test_the_meter_brightens_the_dark():
    dark, bright = (Lighting(np.array([0, -1.0, 0]), np.zeros(3), np.zeros((9, 3))) for _ in range(2))
    basis = harmonic_basis(np.array([0.0, 0, -1]))
    dark.harmonics[0], bright.harmonics[0] = 0.3 / basis[0], 1.5 / basis[0]
    assert metered(dark) > 1.5 and metered(bright) < 0.9
