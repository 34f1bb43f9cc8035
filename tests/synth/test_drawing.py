"""The renderer of whole scenes against raster.render, closed forms and naive rays."""

import numpy as np
import pytest

from openexpose.errors import InputError
from openexpose.geometry.rotation import rotvec_to_matrix
from openexpose.synth.drawing import draw
from openexpose.synth.raster import Light, Surface, render
from openexpose.synth.thing import THING, Body, Floor, Lighting, Thing

WHITE = np.full((4, 4, 4), 255, np.uint8)
UP = np.array([0.0, -1, 0])
FLOOR = Floor(UP, -1.0)  # y = 1
GREY = np.full((96, 128, 3), 100, np.uint8)


def _sphere(centre: tuple, radius: float = 1.0, n: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Closed; faces counter-clockwise from outside."""
    theta, phi = np.meshgrid(np.linspace(0, np.pi, n), np.arange(2 * n) / n * np.pi, indexing="ij")
    xyz = np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], -1).reshape(-1, 3)
    i, j = (a.ravel() for a in np.meshgrid(np.arange(n - 1), np.arange(2 * n), indexing="ij"))
    a, b = i * 2 * n + j, i * 2 * n + (j + 1) % (2 * n)
    faces = np.concatenate([np.stack([a, a + 2 * n, b], 1), np.stack([b, a + 2 * n, b + 2 * n], 1)])
    return (xyz * radius + centre).astype(np.float32), faces.astype(np.int32)


def _surface(vertices: np.ndarray, faces: np.ndarray) -> Surface:
    white = WHITE[..., :3].copy()
    return Surface(
        faces, np.zeros(len(faces), np.uint8), np.zeros((len(faces), 3, 2), np.float32), white, white,
        np.ones(3, np.float32), np.full((len(vertices), 1), -1, np.float32), white[None], np.ones(1, np.float32),
        np.zeros(4, np.float32),
    )  # fmt: skip


def _body(centre: tuple, radius: float = 1.0, things: tuple = (), n: int = 24) -> Body:
    vertices, faces = _sphere(centre, radius, n)
    return Body(vertices, _surface(vertices, faces), np.zeros(len(faces), bool), np.ones(len(faces), np.uint8), things)


def _quad(corners: list, texture: np.ndarray = WHITE, cutout: bool = False) -> Thing:
    uv = np.array([[[0, 0], [1, 0], [1, 1]], [[0, 0], [1, 1], [0, 1]]], np.float32)
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    return Thing(np.array(corners, np.float32), faces, uv, texture, np.ones(3), 0.0, cutout, np.full(2, 5, np.uint8))


def _facing(z: float, half: float = 1.0, **kwargs: object) -> Thing:
    return _quad([[-half, -half, z], [half, -half, z], [half, half, z], [-half, half, z]], **kwargs)


def _light(ambient: float = 1.0, sun: float = 0.0, direction: tuple = (0, 0, -1)) -> Lighting:
    harmonics = np.zeros((9, 3))
    harmonics[0] = ambient / 0.28209479
    return Lighting(np.array(direction) / np.linalg.norm(direction), np.full(3, sun), harmonics)


def test_a_lone_body_has_the_silhouette_and_depth_of_the_plain_rasteriser():
    one, two = _sphere((0.2, 0.1, 4)), _sphere((-0.5, -0.4, 3.5), 0.7)
    vertices, faces = np.concatenate([one[0], two[0]]), np.concatenate([one[1], two[1] + len(one[0])])
    surface, square = _surface(vertices, faces), np.zeros((90, 90, 3), np.uint8)
    body = Body(vertices, surface, np.zeros(len(faces), bool), np.ones(len(faces), np.uint8))
    light = Light(-np.eye(3)[2], np.ones(3), np.ones(3), np.ones(3), UP)
    expected, drawing = render(vertices, surface, light, 2.0, square), draw([body], [], _light(), None, 90.0, square)
    np.testing.assert_array_equal(drawing.mask == 1, np.isfinite(expected.depth_m))
    np.testing.assert_allclose(drawing.depth_m, expected.depth_m, rtol=1e-5)


def test_a_white_sphere_under_constant_light_is_that_value_everywhere():
    image = draw([_body((0, 0, 4))], [], _light(0.25), None, 100.0, np.full((100, 120, 3), 128, np.uint8)).image
    assert np.abs(image.astype(int) - 128).max() <= 2


def test_turning_everything_about_the_optical_axis_turns_the_picture():
    turn = rotvec_to_matrix(np.array([0, 0, np.pi / 2]))
    body, quad = _body((0.3, 0.2, 4), 0.6), _facing(3.2, 0.3)
    lighting = _light(0.3, 0.9, (-0.5, -0.6, -0.7))
    plain = draw([body], [quad], lighting, None, 120.0, GREY[:, :96])
    turned = draw(
        [Body((body.vertices @ turn.T).astype(np.float32), body.surface, body.hidden, body.parts)],
        [quad.moved(turn, np.zeros(3))],
        Lighting(turn @ lighting.direction, lighting.colour, lighting.harmonics),
        None, 120.0, GREY[:, :96],
    )  # fmt: skip
    difference = np.abs(np.rot90(plain.image, -1).astype(int) - turned.image)
    assert (difference > 12).mean() < 0.01 and (np.rot90(plain.mask, -1) != turned.mask).mean() < 0.002


def test_cut_outs_show_what_is_behind_and_let_light_through():
    half = np.zeros((2, 2, 4), np.uint8)
    half[:, 0] = 0, 255, 0, 255  # green on the left, nothing on the right
    front, back = _facing(2.0, 0.5, texture=half, cutout=True), _facing(3.0, 1.2)
    for lighting in (_light(1.0), _light(0.0, 1.0)):
        drawing = draw([], [front, back], lighting, None, 100.0, GREY)
        assert drawing.image[48, 64 - 12].tolist() == [0, 255, 0] and drawing.depth_m[48, 64 - 12] == pytest.approx(2)
        assert drawing.image[48, 64 + 12].min() >= 250 and drawing.depth_m[48, 64 + 12] == pytest.approx(3)


def test_mask_and_depth_are_those_of_the_nearer_object():
    centres = [(-0.4, 0, 4.0), (0.3, 0.1, 3.5)]
    bodies = [
        _body(centres[0], 0.8, (_quad([[-2, 0.5, 4], [2, 0.5, 4], [2, 0.9, 4], [-2, 0.9, 4]]),)),
        _body(centres[1], 0.6),
    ]
    drawing = draw(bodies, [_facing(3.6, 0.1)], _light(), None, 100.0, GREY)
    alone = [draw([body], [], _light(), None, 100.0, GREY).depth_m for body in bodies]
    alone.append(draw([], [_facing(3.6, 0.1)], _light(), None, 100.0, GREY).depth_m)
    np.testing.assert_allclose(drawing.depth_m, np.min(alone, 0), rtol=1e-6)
    owner = np.where(np.isfinite(drawing.depth_m), np.argmin(alone, 0), -1)
    np.testing.assert_array_equal(owner == 1, drawing.mask == 16 + 1)
    np.testing.assert_array_equal(owner == 2, drawing.mask == 16 * 15 + THING)
    assert set(np.unique(drawing.mask[owner == 0])) == {1, 5}


def test_faces_that_the_camera_stands_in_are_drawn():
    floor = _quad([[-5, 0.5, -5], [5, 0.5, -5], [5, 0.5, 5], [-5, 0.5, 5]])
    depth = draw([], [floor], _light(), None, 60.0, GREY).depth_m
    y = (np.arange(96) + 0.5 - 48 + 0.25) / 60  # the lower row of samples is nearer
    expected = np.where((y > 0.1), 0.5 / np.maximum(y, 1e-6), np.inf)
    np.testing.assert_allclose(depth[60:, 64], expected[60:], rtol=2e-3)
    assert not np.isfinite(depth[:48]).any()


def test_things_are_lit_on_the_side_that_is_seen():
    towards, away = _light(0.0, 0.5, (0, 0, -1)), _light(0.0, 0.5, (0, 0, 1))
    quad = _facing(3.0, 0.5)
    for corners in (quad.vertices, quad.vertices[::-1]):
        thing = _quad(corners.tolist())
        lit = draw([], [thing], towards, None, 100.0, GREY).image[48, 64]
        np.testing.assert_allclose(lit, np.sqrt(0.5) * 255, atol=2)
        assert draw([], [thing], away, None, 100.0, GREY).image[48, 64].max() == 0


def test_a_thing_throws_a_shadow_on_a_body_and_none_on_itself():
    body, blocker = _body((0, 0, 4)), _quad([[-0.6, -2, 2], [0.6, -2, 2], [0.6, -2, 3.8], [-0.6, -2, 3.8]])
    lighting = _light(0.0, 1.0, (0, -1, -0.35))
    free = draw([body], [], lighting, None, 60.0, GREY).image.astype(int)
    shaded = draw([body], [blocker], lighting, None, 60.0, GREY).image.astype(int)
    assert free[40, 64].min() > 120 and shaded[40, 64].max() < 20
    normal = (np.stack(np.meshgrid(np.arange(128) - 63.5, np.arange(96) - 47.5), -1) / 60 * 3.2)[..., 1]
    assert (free[(normal < -0.2) & (normal > -0.5)].max(1)[::7] > 60).mean() > 0.95  # no acne


def _hit_by(rays: np.ndarray, origins: np.ndarray, vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Is there a triangle on each ray?"""
    a, b, c = (vertices[faces[:, k]].astype(float) for k in range(3))
    p = np.cross(rays, c - a)
    k = 1 / ((p * (b - a)).sum(-1) + 1e-30)
    t = origins[:, None] - a
    q = np.cross(t, b - a)
    u, v, w = (t * p).sum(-1) * k, (q @ rays) * k, (q * (c - a)).sum(-1) * k
    return ((u >= 0) & (v >= 0) & (u + v <= 1) & (w > 0)).any(1)


def test_the_shadow_on_the_floor_lies_where_rays_to_the_sun_meet_the_body():
    body, lighting = _body((-0.5, 0.2, 5), 0.6, n=12), _light(0.2, 1.0, (-1, -1.3, 0.3))
    background = np.full((120, 160, 3), 200, np.uint8)
    drawing = draw([body], [], lighting, FLOOR, 120.0, background)
    y, x = np.mgrid[:120, :160]
    rays = np.stack([(x + 0.5 - 80) / 120, (y + 0.5 - 60) / 120, np.ones((120, 160))], -1)
    ground = (drawing.mask == 0) & (rays[..., 1] > 0.05)
    points = rays[ground] / rays[ground][:, 1:2]
    expected = _hit_by(lighting.direction, points, body.vertices, body.surface.faces)
    dark = drawing.image[ground].mean(1) < 150
    assert expected.sum() > 150 and (dark & expected).sum() > 0.88 * (dark | expected).sum()
    assert (drawing.image[(drawing.mask == 0) & (y < 58)] == 200).all()


def test_contact_darkens_the_floor_without_a_sun():
    drawing = draw([_body((0, 0.5, 5), 0.5)], [], _light(1.0), FLOOR, 120.0, np.full((120, 160, 3), 200, np.uint8))
    assert drawing.image[85, 80].max() < 185 and drawing.image[115, 5].min() >= 198  # in front of it; far off
    column = drawing.image[60 + 26 :, 80, 0].astype(int)
    assert (np.diff(column) >= -1).all()


@pytest.mark.parametrize("floor", [None, Floor(UP, 1.0), Floor(np.array([0, 0, 1.0]), -2.0)])
def test_no_floor_above_or_behind_leaves_the_background_alone(floor):
    background = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    drawing = draw([_body((0, 0, 5), 0.3)], [], _light(0.3, 1.0, (0, -1, -1)), floor, 64.0, background)
    np.testing.assert_array_equal(drawing.image[drawing.mask == 0], background[drawing.mask == 0])


def test_hidden_faces_are_not_drawn_and_empty_scenes_are_their_background():
    body = _body((0, 0, 4))
    nothing = Body(body.vertices, body.surface, np.ones(len(body.parts), bool), body.parts)
    for bodies in ([nothing], []):
        drawing = draw(bodies, [], _light(), FLOOR, 100.0, GREY)
        assert (drawing.image == GREY).all() and not drawing.mask.any() and np.isinf(drawing.depth_m).all()
    with pytest.raises(InputError):
        draw([body] * 16, [], _light(), None, 100.0, GREY)
