"""Laws of the two cameras and of the way between them."""

import numpy as np
import pytest

from openexpose.errors import InputError
from openexpose.geometry.boxes import Crop
from openexpose.geometry.camera import (
    default_focal_px,
    focal_from_fov,
    locate,
    project_perspective,
    project_weak,
    view_rotation,
)
from openexpose.geometry.rotation import mirror_rotation, rotation_about_z

FOCAL, PRINCIPAL = 800.0, np.array([320.0, 240.0])


def crop(centre: np.ndarray, angle: float = 0.0) -> Crop:
    centre = np.atleast_2d(np.asarray(centre, float))
    return Crop(centre, np.full(len(centre), 100.0), np.full(len(centre), angle))


def view(centre: np.ndarray, angle: float = 0.0, focal: float = FOCAL) -> np.ndarray:
    return view_rotation(crop(centre, angle), focal, PRINCIPAL)


def test_focal_lengths() -> None:
    assert default_focal_px(300, 400) == 500.0
    assert focal_from_fov(90.0, 400, 300) == focal_from_fov(90.0, 300, 400) == pytest.approx(200.0)
    assert focal_from_fov(30.0, 400, 300) > focal_from_fov(60.0, 400, 300)


@pytest.mark.parametrize("angle", [0.0, -20.0, 180.0, float("nan"), float("inf")])
def test_an_impossible_field_of_view_is_refused(angle: float) -> None:
    with pytest.raises(InputError, match="between 1 and 170"):
        focal_from_fov(angle, 400, 300)


def test_perspective_projection() -> None:
    points = np.array([[0.0, 0.0, 2.0], [1.0, 0.0, 2.0], [0.0, -1.0, 4.0]])
    np.testing.assert_allclose(project_perspective(points, FOCAL, PRINCIPAL), [[320, 240], [720, 240], [320, 40]])
    np.testing.assert_allclose(
        project_perspective(3.0 * points, FOCAL, PRINCIPAL), project_perspective(points, FOCAL, PRINCIPAL)
    )
    behind = project_perspective(np.array([[0.1, 0.0, -1.0], [0.1, 0.0, 0.0]]), FOCAL, PRINCIPAL)
    np.testing.assert_allclose(behind[:, 0], 320.0 + FOCAL * 0.1 / 1e-3)


def test_weak_projection() -> None:
    points = np.random.default_rng(0).normal(size=(2, 5, 3))
    camera = np.array([[2.0, 0.1, -0.3], [0.5, 0.0, 0.0]])
    projected = project_weak(points, camera)
    np.testing.assert_allclose(projected[0], 2.0 * (points[0, :, :2] + [0.1, -0.3]))
    np.testing.assert_allclose(projected[1], 0.5 * points[1, :, :2])


def test_a_crop_at_the_centre_of_the_picture_sees_with_the_pictures_camera() -> None:
    np.testing.assert_allclose(view(PRINCIPAL), np.eye(3)[None], atol=1e-12)
    np.testing.assert_allclose(view(PRINCIPAL, 0.7), rotation_about_z(0.7)[None], atol=1e-12)


def test_the_view_points_at_the_crops_centre() -> None:
    centre = np.random.default_rng(0).uniform(0, 640, (8, 2))
    for angle in (0.0, 1.1):
        rotation = view(centre, angle)
        np.testing.assert_allclose(np.swapaxes(rotation, -1, -2) @ rotation, np.tile(np.eye(3), (8, 1, 1)), atol=1e-12)
        axis = rotation[:, None, :, 2]
        np.testing.assert_allclose(project_perspective(axis, FOCAL, PRINCIPAL)[:, 0], centre, atol=1e-9)


def test_the_view_is_symmetric_about_the_centre() -> None:
    """Crops on opposite sides turn oppositely; a mirrored picture has mirrored views."""
    offset = np.random.default_rng(1).uniform(-200, 200, (8, 2))
    there, back = view(PRINCIPAL + offset), view(PRINCIPAL - offset)
    np.testing.assert_allclose(there @ back, np.tile(np.eye(3), (8, 1, 1)), atol=1e-12)
    mirrored = view(PRINCIPAL + offset * [-1.0, 1.0], -0.4)
    np.testing.assert_allclose(mirror_rotation(view(PRINCIPAL + offset, 0.4)), mirrored, atol=1e-12)


def test_a_very_long_lens_leaves_only_the_crops_angle() -> None:
    np.testing.assert_allclose(view(PRINCIPAL + 100.0, 0.3, focal=1e12), rotation_about_z(0.3)[None], atol=1e-9)


def test_locate_recovers_the_translation_exactly() -> None:
    rng = np.random.default_rng(2)
    points = rng.normal(0, 0.4, (6, 22, 3))
    translation = np.concatenate([rng.uniform(-1, 1, (6, 2)), rng.uniform(2.0, 40.0, (6, 1))], 1)
    targets = project_perspective(points + translation[:, None], FOCAL, PRINCIPAL)
    np.testing.assert_allclose(locate(points, targets, FOCAL, PRINCIPAL), translation, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(locate(points[0], targets[0], FOCAL, PRINCIPAL), translation[0], rtol=1e-6, atol=1e-8)
    moved = locate(points + [0.0, 0.5, 0.2], targets, FOCAL, PRINCIPAL)
    np.testing.assert_allclose(moved, translation - [0.0, 0.5, 0.2], rtol=1e-6, atol=1e-8)


def test_a_far_person_is_where_the_weak_camera_says() -> None:
    """Where depth hardly matters, the pinhole camera reproduces the weak-perspective picture."""
    rng = np.random.default_rng(3)
    points, camera = rng.normal(0, 0.4, (4, 22, 3)), np.tile([0.9, 0.05, -0.1], (4, 1))
    focal, square = 1e6, crop(PRINCIPAL + rng.uniform(-50, 50, (4, 2)))
    targets = square.to_image(project_weak(points, camera))
    translation = locate(points, targets, focal, PRINCIPAL)
    got = project_perspective(points + translation[:, None], focal, PRINCIPAL)
    np.testing.assert_allclose(got, targets, atol=0.01)
    np.testing.assert_allclose(translation[:, 2], focal / (0.9 * 50.0), rtol=1e-3)


def test_nobody_stands_in_the_camera() -> None:
    """Targets too far apart, or swapped: the nearest point is kept 10 cm away."""
    points = np.random.default_rng(4).normal(0, 0.4, (3, 22, 3))
    for stretch in (5000.0, -300.0):
        targets = PRINCIPAL + stretch * points[..., :2]
        translation = locate(points, targets, FOCAL, PRINCIPAL)
        assert np.isfinite(translation).all()
        np.testing.assert_allclose((points[..., 2] + translation[:, 2:]).min(-1), 0.1)
