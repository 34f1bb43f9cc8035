"""Overlays: what is drawn lies where the pinhole camera sees it, and the nearer hides the farther."""

import numpy as np
import pytest

from openexpose.errors import InputError
from openexpose.render import overlay as module
from openexpose.render.overlay import compose, person_colour, render_overlay, side_view

K = (300.0, 160.0, 120.0)


def photo(width: int = 320, height: int = 240) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 40, (height, width, 3), dtype=np.uint8)


def sphere(x: float = 0.0, y: float = 0.0, z: float = 3.0, radius: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """A closed ball, its triangles counter-clockwise seen from outside (in a right-handed frame)."""
    rows, columns = 40, 80
    theta, phi = np.meshgrid(np.linspace(0, np.pi, rows), np.arange(columns) * 2 * np.pi / columns, indexing="ij")
    points = np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], -1).reshape(-1, 3)
    i, j = np.meshgrid(np.arange(rows - 1), np.arange(columns), indexing="ij")
    a, b = i * columns + j, i * columns + (j + 1) % columns
    quads = np.stack([a, a + columns, b + columns, b], -1).reshape(-1, 4)
    faces = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    return radius * points + (x, y, z), faces


def spheres(*places: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    return np.stack([sphere(*place)[0] for place in places]), sphere()[1]


def drawn(picture: np.ndarray, before: np.ndarray) -> np.ndarray:
    return (picture != before).any(-1)


def hues_like(picture: np.ndarray, person: int, people: int) -> np.ndarray:
    """Where the picture's colour is nearer to this person's than to any other's, brightness aside."""
    unit = picture / np.maximum(np.linalg.norm(picture.astype(float), axis=-1, keepdims=True), 1)
    colours = np.stack([person_colour(i) / np.linalg.norm(person_colour(i)) for i in range(people)])
    return (unit @ colours.T).argmax(-1) == person


def ball_silhouette(x: float, y: float, z: float, radius: float) -> np.ndarray:
    """Pixels whose ray meets the ball."""
    focal_px, cx, cy = K
    column, row = np.meshgrid(np.arange(320) + 0.5, np.arange(240) + 0.5)
    ray = np.stack([(column - cx) / focal_px, (row - cy) / focal_px, np.ones_like(row)], -1)
    ray /= np.linalg.norm(ray, axis=-1, keepdims=True)
    centre = np.array([x, y, z])
    along = ray @ centre
    return (centre @ centre - along**2 <= radius**2) & (along > 0)


@pytest.mark.parametrize("place", [(0, 0, 3, 0.5), (0.6, -0.3, 2, 0.4), (-1.5, 1.0, 4, 0.8), (0.1, 0.1, 30, 0.5)])
def test_a_ball_covers_the_pixels_whose_rays_meet_it(place: tuple[float, float, float, float]) -> None:
    vertices, faces = spheres(place)
    seen, expected = drawn(render_overlay(photo(), vertices, faces, K), photo()), ball_silhouette(*place)
    # a pixel counts as drawn when any quarter of it is: judge larger balls by overlap, the small one by the pixel
    if expected.sum() > 1000:
        assert (seen & expected).sum() / (seen | expected).sum() > 0.97
    assert (seen & ~expected).sum() <= 2.5 * np.sqrt(expected.sum()) + 4
    assert not (expected & ~seen)[1:-1, 1:-1].sum() > 4


@pytest.mark.parametrize("fine_below", [0, 10**9])
@pytest.mark.parametrize("band", [500, 10**9])
def test_bands_and_sampling_change_little(monkeypatch: pytest.MonkeyPatch, fine_below: int, band: int) -> None:
    vertices, faces = spheres((0, 0, 3, 0.5), (0.3, 0.1, 2.5, 0.3))
    usual = render_overlay(photo(), vertices, faces, K)
    monkeypatch.setattr(module, "_FINE_BELOW_PX", fine_below)
    monkeypatch.setattr(module, "_BAND_SAMPLES", band)
    other = render_overlay(photo(), vertices, faces, K)
    if fine_below:
        np.testing.assert_array_equal(other, usual)
    else:
        assert (np.abs(other.astype(int) - usual).max(-1) > 30).mean() < 0.01


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_nearer_person_hides_the_farther(order: tuple[int, int]) -> None:
    places = [(0.0, 0.0, 2.0, 0.3), (0.1, 0.0, 4.0, 1.0)]
    vertices, faces = spheres(*(places[i] for i in order))
    picture = render_overlay(photo(), vertices, faces, K)
    near = ball_silhouette(*places[0])
    assert hues_like(picture, order.index(0), 2)[near].mean() > 0.97
    far = ball_silhouette(*places[1]) & ~near
    assert hues_like(picture, order.index(1), 2)[far].mean() > 0.97


def test_bodies_that_cut_each_other_show_both() -> None:
    vertices, faces = spheres((-0.1, 0, 3, 0.5), (0.1, 0, 3, 0.5))
    picture = render_overlay(photo(), vertices, faces, K)
    both = ball_silhouette(-0.1, 0, 3, 0.5) & ball_silhouette(0.1, 0, 3, 0.5)
    left = np.arange(320)[None, :] + 0.5 < 160
    assert (hues_like(picture, 0, 2) == left)[both].mean() > 0.95


def test_nobody_leaves_the_photo_as_it_is() -> None:
    before = photo()
    picture = render_overlay(before, np.zeros((0, 10, 3)), np.zeros((0, 3), int), K)
    np.testing.assert_array_equal(picture, before)
    assert picture is not before


def test_the_photo_given_is_not_changed() -> None:
    before = photo()
    vertices, faces = spheres((0, 0, 3, 0.5))
    assert drawn(render_overlay(before, vertices, faces, K), before).any()
    np.testing.assert_array_equal(before, photo())


@pytest.mark.parametrize(
    "place",
    [(0, 0, -3, 0.5), (50, 0, 3, 0.5), (0, -50, 3, 0.5), (0, 0, 0, 0.04)],
    ids=["behind", "right", "above", "eye"],
)
def test_people_who_cannot_be_seen_leave_no_trace(place: tuple[float, ...]) -> None:
    vertices, faces = spheres(place)
    np.testing.assert_array_equal(render_overlay(photo(), vertices, faces, K), photo())


def test_people_across_the_camera_and_broken_ones_do_not_stop_the_others() -> None:
    vertices, faces = spheres((0, 0, 3, 0.5), (0, 0, 0.2, 0.5), (0, 0, 3, 0.2), (1e7, 0, 1e7, 10))
    vertices[2, :100] = np.nan
    picture = render_overlay(photo(), vertices, faces, K)
    assert drawn(picture, photo()).any()
    assert side_view(vertices, faces, K, 100).shape[0] == 100


def test_back_faces_are_not_drawn() -> None:
    triangle = np.array([[[-0.5, -0.5, 3.0], [0.5, -0.5, 3.0], [0.0, 0.5, 3.0]]])  # its normal is +z, away from us
    assert not drawn(render_overlay(photo(), triangle, np.array([[0, 1, 2]]), K), photo()).any()
    assert drawn(render_overlay(photo(), triangle, np.array([[0, 2, 1]]), K), photo()).sum() > 4000


def test_colours_are_fixed_and_told_apart() -> None:
    colours = np.stack([person_colour(i) for i in range(8)])
    assert ((colours >= 0) & (colours <= 1)).all()
    np.testing.assert_array_equal(colours[3], person_colour(3))
    distance = np.linalg.norm(colours[:, None] - colours[None], axis=-1) + 9 * np.eye(8)
    assert distance.min() > 0.1
    vertices, faces = spheres((0, 0, 3, 0.5), (0.5, 0, 2, 0.2))
    first, second = (render_overlay(photo(), vertices, faces, K) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (7, 3)])
def test_tiny_photos(size: tuple[int, int]) -> None:
    vertices, faces = spheres((0, 0, 3, 0.5))
    before = photo(*size)
    whole = compose(render_overlay(before, vertices, faces, (5.0, 1.0, 1.0)), side_view(vertices, faces, K, size[1]))
    assert whole.shape[0] == size[1] and whole.shape[1] > size[0] and whole.dtype == np.uint8


def test_side_view_has_the_photos_rows_and_scale() -> None:
    vertices, faces = spheres((0.7, -0.2, 3, 0.4))
    panel = side_view(vertices, faces, K, 240)
    rows, columns = np.nonzero(drawn(panel, np.full_like(panel, panel[0, 0])))
    assert rows.min() == pytest.approx(120 - 300 * 0.6 / 3, abs=1.5)
    assert rows.max() + 1 == pytest.approx(120 + 300 * 0.2 / 3, abs=1.5)
    assert columns.min() + columns.max() + 1 == pytest.approx(panel.shape[1], abs=2)


def test_side_view_shows_depth_with_the_camera_to_the_left() -> None:
    vertices, faces = spheres((0, 0, 3, 0.2), (0, 0, 4, 0.2))
    panel = side_view(vertices, faces, K, 240)
    people = drawn(panel, np.full_like(panel, panel[0, 0]))
    nearer, farther = (np.nonzero(people & hues_like(panel, i, 2))[1] for i in range(2))
    assert nearer.max() < farther.min()


def test_side_view_shrinks_deep_scenes_and_survives_nobody() -> None:
    vertices, faces = spheres((0, 0, 3, 0.2), (0, 0, 8, 0.2))
    panel = side_view(vertices, faces, K, 240)
    assert panel.shape == (240, 240, 3)
    people = drawn(panel, np.full_like(panel, panel[0, 0]))
    assert not people[:, [0, -1]].any() and people[:, :30].any() and people[:, -30:].any()
    assert (side_view(np.zeros((0, 4, 3)), faces, K, 90) == panel[0, 0]).all()


def test_side_view_leaves_out_people_who_look_small() -> None:
    near, faces = spheres((0, 0, 3, 0.2))
    both, _ = spheres((0, 0, 3, 0.2), (0, 0, 40, 0.2))
    np.testing.assert_array_equal(side_view(both, faces, K, 240), side_view(near, faces, K, 240))


def test_compose_puts_them_side_by_side() -> None:
    left, right = photo(30, 20), photo(10, 20)
    whole = compose(left, right)
    np.testing.assert_array_equal(whole[:, :30], left)
    np.testing.assert_array_equal(whole[:, 30:], right)
    with pytest.raises(InputError, match="high"):
        compose(left, photo(10, 21))
