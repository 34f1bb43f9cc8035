"""Cameras point where they are told to, and all sorts of framings come up."""

import numpy as np
import pytest

from openexpose.synth.camera import Camera, around, fits, look_from, sample_pitch, sample_roll
from openexpose.synth.crowd import FRAMINGS, _camera, _sample_main
from openexpose.synth.thing import MASK_PARTS


def _any_camera(rng: np.random.Generator) -> Camera:
    place = rng.normal(0, 2, 3)
    return Camera(look_from(place, rng.normal(0, 1, 3), rng.normal()), place, rng.uniform(200, 2000), 640, 480)


def test_the_target_is_on_the_axis():
    rng = np.random.default_rng(0)
    for _ in range(20):
        place, target = rng.normal(0, 2, (2, 3))
        rotation = look_from(place, target, rng.normal())
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
        assert np.linalg.det(rotation) == pytest.approx(1)
        seen = rotation @ (target - place)
        np.testing.assert_allclose(seen, [0, 0, np.linalg.norm(target - place)], atol=1e-9)


def test_up_is_up():
    rotation = look_from(np.array([0, 1.5, 3.0]), np.array([0, 1.0, 0]))
    assert rotation[1] @ [0, 1, 0] < -0.9  # the picture's y points down
    np.testing.assert_allclose(rotation[0], [1, 0, 0], atol=1e-9)  # who looks at us has the left hand on our right


def test_aimed_cameras_show_the_target_at_the_spot():
    rng = np.random.default_rng(1)
    for _ in range(20):
        camera = _any_camera(rng)
        target = camera.position_m + rng.normal(0, 2, 3)
        spot = rng.uniform(0, 480, 2)
        aimed = camera.aimed(target, spot)
        np.testing.assert_allclose(aimed.to_pixels(aimed.to_camera(target[None]))[0], spot, atol=1e-6)
        np.testing.assert_allclose(aimed.R_camera_world @ aimed.R_camera_world.T, np.eye(3), atol=1e-9)


def test_virtual_cameras_agree_with_views():
    camera = _any_camera(np.random.default_rng(2))
    turn = look_from(np.zeros(3), np.array([0.2, 0.1, 1.0]))
    close = camera.through(turn, 0.25, 256)
    points = camera.position_m + np.random.default_rng(3).normal(0, 1, (10, 3)) @ camera.R_camera_world
    np.testing.assert_allclose(close.to_camera(points), camera.to_camera(points) @ turn.T, atol=1e-9)
    edge = close.to_pixels(np.array([[0.25, -0.25, 1.0]]))
    np.testing.assert_allclose(edge, [[256, 0]], atol=1e-9)


def test_cameras_stay_above_the_floor():
    rng = np.random.default_rng(4)
    for _ in range(200):
        target = np.array([0, rng.uniform(0.05, 2), 0])
        distance = rng.uniform(0.3, 10)
        place = around(target, distance, rng.uniform(-3, 3), sample_pitch(rng))
        assert place[1] > 0.03
        assert np.linalg.norm(place - target) == pytest.approx(distance)


def test_rolls_are_mostly_small():
    rng = np.random.default_rng(5)
    rolls = np.degrees(np.abs([sample_roll(rng) for _ in range(2000)]))
    assert 0.8 < (rolls < 8).mean() < 0.95 and rolls.max() > 120
    pitches = np.degrees([sample_pitch(rng) for _ in range(2000)])
    assert pitches.min() >= -35 and pitches.max() <= 60 and np.ptp(pitches) > 70


def test_fields_of_view():
    assert fits(500, 500) and not fits(200, 500) and not fits(5000, 500)


@pytest.mark.parametrize("framing", list(FRAMINGS))
def test_every_framing_happens(stage, framing):
    """Each framing cuts off what it says, and keeps what it is about."""
    part = {name: np.unique(stage.template.faces[stage.template.parts == k]) for k, name in enumerate(MASK_PARTS)}
    cut = {name: [] for name in MASK_PARTS[1:-1]}
    for seed in range(4):
        rng = np.random.default_rng(seed)
        camera = None
        while camera is None:
            figure = _sample_main(rng, stage, framing)
            camera = _camera(rng, stage, figure, framing)
        inside = camera.inside(camera.to_camera(figure.vertices))
        assert fits(camera.focal_px, camera.height)
        for name, shares in cut.items():
            shares.append(1 - inside[part[name]].mean())
    cut = {name: float(np.mean(shares)) for name, shares in cut.items()}
    whole = max(cut.values())
    match framing:
        case "whole":
            assert whole < 0.01
        case "head" | "selfie" | "bust":
            assert cut["head"] < 0.3 and cut["left foot"] > 0.5
        case "arm":
            assert min(cut["left hand"], cut["right hand"]) < 0.6 and cut["torso"] > 0.1
        case _:
            assert whole > 0.02
