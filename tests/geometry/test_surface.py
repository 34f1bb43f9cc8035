"""Normals of triangle surfaces."""

import numpy as np

from openexpose.geometry.surface import vertex_normals


def cube() -> tuple[np.ndarray, np.ndarray]:
    """A closed cube around the origin, corners split into two triangles a side, counter-clockwise from outside."""
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    return corners, np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))])


def test_normals_point_out_have_unit_length_and_turn_with_the_surface() -> None:
    vertices, faces = cube()
    normals = vertex_normals(vertices, faces)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=-1), 1.0)
    assert ((normals * vertices).sum(-1) > 0).all()
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    turn *= np.sign(np.linalg.det(turn))
    np.testing.assert_allclose(vertex_normals(3 * vertices @ turn.T + 5, faces), normals @ turn.T, atol=1e-12)
    np.testing.assert_allclose(vertex_normals(vertices, faces[:, ::-1]), -normals)


def test_flat_surface_and_lonely_vertex() -> None:
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [9, 9, 9]], float)
    np.testing.assert_array_equal(vertex_normals(vertices, np.array([[0, 1, 2]])), np.tile([0.0, 0.0, 1.0], (4, 1)))
