"""Distances from surfaces: against plain loops, against another library, and by laws."""

import numpy as np
import pytest

from openexpose.errors import InputError
from openexpose.fitting.closest import SurfaceIndex
from openexpose.geometry.rotation import rotvec_to_matrix

RNG = np.random.default_rng


def on_segment(p: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    square = (b - a) @ (b - a)
    return a if square == 0 else a + min(max((p - a) @ (b - a) / square, 0), 1) * (b - a)


def on_triangle(p: np.ndarray, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """The best of the foot of the perpendicular and of the closest points on the edges, in long doubles."""
    p, a, b, c = (np.asarray(x, np.longdouble) for x in (p, a, b, c))
    found = [on_segment(p, *edge) for edge in ((a, b), (b, c), (c, a))]
    normal = np.cross(b - a, c - a)
    if normal @ normal > 0:
        second = np.cross(p - a, c - a) @ normal / (normal @ normal)
        third = np.cross(b - a, p - a) @ normal / (normal @ normal)
        if second >= 0 and third >= 0 and second + third <= 1:
            found.append(a + second * (b - a) + third * (c - a))
    return min(found, key=lambda point: (p - point) @ (p - point)).astype(float)


def brute(vertices: np.ndarray, faces: np.ndarray, points: np.ndarray) -> np.ndarray:
    distances = [[np.linalg.norm(p - on_triangle(p, *vertices[face])) for face in faces] for p in points]
    return np.min(distances, axis=1)


def soup(rng: np.random.Generator, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Triangles that share no vertices: even ones, needles, of very uneven sizes, without area."""
    corners = rng.normal(size=(40, 1, 3)) + 0.3 * rng.normal(size=(40, 3, 3))
    if kind == "needles":
        corners[:, 2] = corners[:, 1] + 10.0 ** rng.uniform(-12, -2, (40, 1)) * rng.normal(size=(40, 3))
        corners[::2, 2] = corners[::2, :2].mean(1) + 10.0 ** rng.uniform(-12, -2, (20, 1)) * rng.normal(size=(20, 3))
    elif kind == "uneven":
        centre = corners.mean(1, keepdims=True)
        corners = centre + (corners - centre) * 10.0 ** rng.uniform(-4, 2, (40, 1, 1))
    elif kind == "degenerate":
        corners[:10] = corners[:10, :1]
        corners[10:30, 2] = corners[10:30, 0] + rng.uniform(-1, 2, (20, 1)) * (corners[10:30, 1] - corners[10:30, 0])
    return corners.reshape(-1, 3), np.arange(120).reshape(40, 3)


@pytest.mark.parametrize("kind", ["even", "needles", "uneven", "degenerate"])
def test_agrees_with_plain_loops(kind: str) -> None:
    rng = RNG(1)
    vertices, faces = soup(rng, kind)
    on_surface = np.einsum("fk,fkd->fd", rng.dirichlet([1, 1, 1], 40), vertices[faces])
    near = [on_surface + offset * rng.normal(size=(40, 3)) for offset in (0.0, 1e-6, 0.01)]
    points = np.concatenate([*near, vertices[:10], 3 * rng.normal(size=(20, 3)), [[0, 0, 500.0]]])
    distances, closest, triangles = SurfaceIndex(vertices, faces).closest(points)
    np.testing.assert_allclose(distances, brute(vertices, faces, points), atol=1e-9, rtol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(points - closest, axis=1), distances, atol=1e-12)
    for point, place, triangle in zip(points, closest, triangles, strict=True):  # the triangle holds the closest point
        held = on_triangle(place, *vertices[faces[triangle]])
        np.testing.assert_allclose(held, place, atol=1e-9 * max(1, np.abs(point).max()))


def test_agrees_with_trimesh_on_a_closed_mesh() -> None:
    trimesh = pytest.importorskip("trimesh")
    mesh, rng = trimesh.creation.icosphere(2), RNG(2)
    vertices = mesh.vertices + 0.05 * rng.normal(size=mesh.vertices.shape)
    points = np.concatenate([1.5 * rng.normal(size=(80, 3)), vertices[:40] * 1.01])
    every = [trimesh.triangles.closest_point(vertices[mesh.faces], np.tile(p, (len(mesh.faces), 1))) for p in points]
    expected = [np.linalg.norm(p - closest, axis=1).min() for p, closest in zip(points, every, strict=True)]
    np.testing.assert_allclose(SurfaceIndex(vertices, mesh.faces).distances(points), expected, atol=1e-9)


def test_agrees_with_libigl_on_a_big_mesh_near_and_far() -> None:
    igl, trimesh = pytest.importorskip("igl"), pytest.importorskip("trimesh")
    mesh, rng = trimesh.creation.icosphere(4), RNG(3)
    vertices = mesh.vertices * [0.2, 0.9, 0.15] + 0.002 * rng.normal(size=mesh.vertices.shape)
    near = vertices[::2] + 0.02 * rng.normal(size=vertices[::2].shape)
    points = np.concatenate([near, near[::4] + [0, 0, 1.0], np.zeros((1, 3))])
    squares = igl.point_mesh_squared_distance(points, vertices, mesh.faces.astype(np.int64))[0]
    np.testing.assert_allclose(SurfaceIndex(vertices, mesh.faces).distances(points), np.sqrt(squares), atol=1e-9)


def test_all_regions_of_a_triangle() -> None:
    surface = SurfaceIndex(np.array([[0, 0, 0], [4, 0, 0], [0, 3, 0.0]]), np.array([[0, 1, 2]]))
    points = np.array([[1, 1, 2], [2, -1, 0], [-1, 1, 0], [4, 3, 0], [-3, -4, 0], [7, -4, 0], [0, 5, 0], [1, 1, 0.0]])
    distances, closest, triangles = surface.closest(points)
    np.testing.assert_allclose(distances, [2, 1, 1, 2.4, 5, 5, 2, 0], atol=1e-12)
    expected = [[1, 1, 0], [2, 0, 0], [0, 1, 0], [2.56, 1.08, 0], [0, 0, 0], [4, 0, 0], [0, 3, 0], [1, 1, 0]]
    np.testing.assert_allclose(closest, expected, atol=1e-12)
    assert (triangles == 0).all()


def test_inside_a_large_triangle_far_from_its_corners() -> None:
    """A big triangle is nearer than the many small ones whose centres and vertices are nearer."""
    small = 0.01 * RNG(4).normal(size=(50, 3, 3)) + [0, 0, 1.0]
    corners = np.concatenate([[[[-1e3, -1e3, 0], [1e3, -1e3, 0], [0, 2e3, 0]]], small]).reshape(-1, 3)
    distances, _, triangles = SurfaceIndex(corners, np.arange(len(corners)).reshape(-1, 3)).closest([[0.1, 0.2, 0.3]])
    assert distances[0] == pytest.approx(0.3, abs=1e-9) and triangles[0] == 0


def test_distances_of_a_sphere_from_its_middle_where_nothing_can_be_given_up() -> None:
    trimesh = pytest.importorskip("trimesh")
    mesh = trimesh.creation.icosphere(3)
    distance = SurfaceIndex(mesh.vertices, mesh.faces).distances(np.zeros((100, 3)))
    inner = np.abs(np.einsum("fd,fd->f", mesh.face_normals, mesh.triangles_center)).min()
    np.testing.assert_allclose(distance, inner, atol=1e-9)


def test_moves_with_the_surface_and_scales_with_it() -> None:
    rng = RNG(5)
    vertices, faces = soup(rng, "even")
    points, turn = rng.normal(size=(30, 3)), rotvec_to_matrix(rng.normal(size=3))
    expected, places, _ = SurfaceIndex(vertices, faces).closest(points)
    distances, moved, _ = SurfaceIndex(7 * vertices @ turn.T + 3, faces).closest(7 * points @ turn.T + 3)
    np.testing.assert_allclose(distances, 7 * expected, atol=1e-9)
    np.testing.assert_allclose(moved, 7 * places @ turn.T + 3, atol=1e-9)


def test_order_of_triangles_and_unused_vertices_do_not_matter() -> None:
    rng = RNG(6)
    vertices, faces = soup(rng, "uneven")
    points = rng.normal(size=(50, 3))
    expected = SurfaceIndex(vertices, faces).distances(points)
    more = np.concatenate([vertices, points])  # vertices of no triangle are no surface
    shuffled = faces[rng.permutation(40)][:, [1, 2, 0]]
    np.testing.assert_allclose(SurfaceIndex(more, shuffled).distances(points), expected, atol=1e-12)


def test_no_points_no_distances() -> None:
    distances, closest, triangles = SurfaceIndex(np.eye(3), np.array([[0, 1, 2]])).closest(np.zeros((0, 3)))
    assert distances.shape == (0,) and closest.shape == (0, 3) and triangles.shape == (0,)


def test_bad_input_is_told() -> None:
    face = np.array([[0, 1, 2]])
    for vertices, faces in (
        (np.eye(3), np.zeros((0, 3), int)),
        (np.eye(3), face + 1),
        (np.eye(3), face - 1),
        (np.eye(3) * np.nan, face),
        (np.eye(2), face),
    ):
        with pytest.raises(InputError):
            SurfaceIndex(vertices, faces)
    with pytest.raises(InputError):
        SurfaceIndex(np.eye(3), face).distances(np.array([[0.0, np.inf, 0.0]]))
