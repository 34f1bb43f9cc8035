"""The rasteriser against areas and depths known in closed form."""

import numpy as np

from openexpose.synth.raster import Light, Surface, depth_map, render, vertex_normals


def _sphere(n: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Unit sphere; faces counter-clockwise from outside in the camera frame."""
    theta, phi = np.meshgrid(np.linspace(0, np.pi, n), np.linspace(0, 2 * np.pi, 2 * n), indexing="ij")
    vertices = np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], -1).reshape(-1, 3)
    i, j = np.meshgrid(np.arange(n - 1), np.arange(2 * n - 1), indexing="ij")
    a = (i * 2 * n + j).ravel()
    faces = np.concatenate([np.stack([a, a + 2 * n, a + 1], 1), np.stack([a + 1, a + 2 * n, a + 2 * n + 1], 1)])
    return vertices.astype(np.float32), faces.astype(np.int32)


def _plain(vertices: np.ndarray, faces: np.ndarray) -> Surface:
    white = np.full((4, 4, 3), 255, np.uint8)
    return Surface(
        faces, np.zeros(len(faces), np.uint8), np.zeros((len(faces), 3, 2), np.float32), white, white,
        np.ones(3, np.float32), np.full((len(vertices), 1), -1, np.float32), white[None], np.ones(1, np.float32),
        np.zeros(4, np.float32),
    )  # fmt: skip


def test_triangle_covers_its_area_and_has_its_depth():
    triangle = np.array([[-0.5, -0.5, 2], [0.5, -0.5, 2], [-0.5, 0.5, 2]], np.float32)
    depth = depth_map(triangle, np.array([[0, 1, 2]], np.int32), 2.0, 200)
    hit = np.isfinite(depth)
    assert abs(hit.mean() - 0.125) < 0.01  # legs of half the picture's side
    np.testing.assert_allclose(depth[hit], 2, rtol=1e-5)
    assert not hit[150:].any() and not hit[:, 150:].any()


def test_depth_of_a_slanted_plane_is_perspective_correct():
    quad = np.array([[-1, -1, 1], [1, -1, 1], [3, 3, 3], [-3, 3, 3]], np.float32)
    depth = depth_map(quad, np.array([[0, 1, 2], [0, 2, 3]], np.int32), 1.0, 101)
    ray = (np.arange(101) + 0.5) / 101 * 2 - 1  # y / z of the rows; the plane is y = 2 z - 3
    np.testing.assert_allclose(depth[:, 50], 3 / (2 - ray), rtol=1e-3)


def test_sphere_outline_and_nearest_point():
    vertices, faces = _sphere()
    depth = depth_map(vertices + np.array([0, 0, 4], np.float32), faces, 3.0, 201)
    radius = 3 / np.sqrt(4**2 - 1)  # tangent cone
    assert abs(np.isfinite(depth).mean() - np.pi * radius**2 / 4) < 0.01
    assert abs(depth.min() - 3) < 0.01


def test_normals_of_a_sphere_point_outward():
    vertices, faces = _sphere()
    used = np.abs(vertices[:, 2]) < 0.99
    assert ((vertex_normals(vertices, faces) * vertices).sum(1)[used] > 0.98).all()


def test_light_falls_on_the_lit_side_and_a_blocker_throws_a_shadow():
    vertices, faces = _sphere()
    zero, one = np.zeros(3), np.ones(3)
    light = Light(np.array([-1.0, 0, 0]), one, zero, zero, np.array([0, -1.0, 0]))
    centred = vertices + np.array([0, 0, 4], np.float32)
    image = render(centred, _plain(vertices, faces), light, 3.0, np.zeros((64, 64, 3), np.uint8)).image
    assert image[32, 16].min() > 180 and image[32, 40].max() < 5
    both = np.concatenate([centred, 0.8 * vertices + np.array([-2.5, 0, 3.2], np.float32)])
    surface = _plain(both, np.concatenate([faces, faces + len(vertices)]))
    shadowed = render(both, surface, light, 1.5, np.zeros((64, 64, 3), np.uint8)).image
    assert shadowed[32, 24].max() < 5


def test_background_shows_where_nothing_is():
    vertices, faces = _sphere(8)
    background = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
    light = Light(np.array([0, 0, -1.0]), np.ones(3), np.ones(3), np.ones(3), np.array([0, -1.0, 0]))
    picture = render(vertices + np.array([0, 0, -4], np.float32), _plain(vertices, faces), light, 1.0, background)
    np.testing.assert_array_equal(picture.image, background)
