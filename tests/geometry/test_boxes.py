"""Laws of crops and boxes."""

import numpy as np
import pytest

from openexpose.errors import InputError
from openexpose.geometry.boxes import Crop, box_around, check_boxes, crop_from_boxes, intersection_over_union


def crops(mirrored: bool) -> Crop:
    rng = np.random.default_rng(0)
    return Crop(rng.uniform(0, 500, (6, 2)), rng.uniform(20, 300, 6), rng.uniform(-4, 4, 6), mirrored)


@pytest.mark.parametrize("mirrored", [False, True])
def test_from_image_inverts_to_image(mirrored: bool) -> None:
    crop = crops(mirrored)
    points = np.random.default_rng(1).uniform(-2, 2, (6, 9, 2))
    np.testing.assert_allclose(crop.from_image(crop.to_image(points)), points, atol=1e-12)
    np.testing.assert_allclose(crop.to_image(crop.from_image(300 * points)), 300 * points, atol=1e-9)


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_crop_is_a_similarity(mirrored: bool) -> None:
    crop = crops(mirrored)
    corners = np.tile([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], (6, 1, 1))
    image = crop.to_image(corners)
    np.testing.assert_allclose(image[:, 0], crop.centre_px, atol=1e-12)
    x, y = image[:, 1] - image[:, 0], image[:, 2] - image[:, 0]
    np.testing.assert_allclose(np.linalg.norm(x, axis=-1), crop.side_px / 2)
    np.testing.assert_allclose(np.linalg.norm(y, axis=-1), crop.side_px / 2)
    np.testing.assert_allclose((x * y).sum(-1), 0.0, atol=1e-9)
    area = x[:, 0] * y[:, 1] - x[:, 1] * y[:, 0]
    assert (np.sign(area) == (-1 if mirrored else 1)).all()


def test_known_values() -> None:
    points = np.array([[1.0, 0.0], [0.0, 1.0]])
    upright = Crop(np.array([50.0, 40.0]), np.array(20.0), np.array(0.0))
    np.testing.assert_allclose(upright.to_image(points), [[60, 40], [50, 50]])
    turned = Crop(np.array([50.0, 40.0]), np.array(20.0), np.array(np.pi / 2))  # the crop's x axis points down
    np.testing.assert_allclose(turned.to_image(points), [[50, 50], [40, 40]], atol=1e-12)
    mirrored = Crop(np.array([50.0, 40.0]), np.array(20.0), np.array(0.0), True)
    np.testing.assert_allclose(mirrored.to_image(points), [[40, 40], [50, 50]])


def test_mirroring_flips_the_crop_left_right() -> None:
    plain, mirrored = crops(False), crops(True)
    points = np.random.default_rng(2).uniform(-1, 1, (6, 5, 2))
    np.testing.assert_allclose(mirrored.to_image(points), plain.to_image(points * [-1, 1]), atol=1e-12)


def test_indexing_takes_crops_of_the_batch() -> None:
    crop, points = crops(True), np.random.default_rng(3).uniform(-1, 1, (6, 4, 2))
    whole = crop.to_image(points)
    np.testing.assert_array_equal(crop[2].to_image(points[2]), whole[2])
    np.testing.assert_array_equal(crop[1:4].to_image(points[1:4]), whole[1:4])
    np.testing.assert_array_equal(crop[np.array([5, 0])].to_image(points[[5, 0]]), whole[[5, 0]])
    assert crop[0].mirrored


def test_crop_from_boxes_is_square_upright_and_centred() -> None:
    boxes = np.array([[10.0, 20.0, 110.0, 60.0], [0.0, 0.0, 10.0, 30.0]])
    crop = crop_from_boxes(boxes, 1.5)
    np.testing.assert_allclose(crop.centre_px, [[60, 40], [5, 15]])
    np.testing.assert_allclose(crop.side_px, [150, 45])
    np.testing.assert_array_equal(crop.angle_rad, [0, 0])
    assert not crop.mirrored and crop_from_boxes(boxes[:0], 1.2).side_px.shape == (0,)


def test_box_around_is_tight() -> None:
    points = np.random.default_rng(4).normal(size=(3, 8, 2))
    boxes = box_around(points)
    assert (points >= boxes[:, None, :2]).all() and (points <= boxes[:, None, 2:]).all()
    np.testing.assert_array_equal(box_around(boxes.reshape(3, 2, 2)), boxes)


def test_intersection_over_union() -> None:
    a = np.array([[0.0, 0.0, 10.0, 10.0], [5.0, 0.0, 15.0, 10.0], [20.0, 20.0, 30.0, 40.0]])
    overlap = intersection_over_union(a, a)
    np.testing.assert_allclose(overlap, [[1, 1 / 3, 0], [1 / 3, 1, 0], [0, 0, 1]], atol=1e-12)
    np.testing.assert_allclose(intersection_over_union(7 * a + 3, 7 * a + 3), overlap, atol=1e-12)
    assert intersection_over_union(a, a[:0]).shape == (3, 0)
    point = np.array([[3.0, 3.0, 3.0, 3.0]])
    assert np.isfinite(intersection_over_union(point, point)).all()


def test_good_boxes_are_returned() -> None:
    boxes = [[0, 0, 10, 20], [-5.5, -5, 700, 3], [-64_000, 0, 64_000, 10]]
    np.testing.assert_array_equal(check_boxes(boxes, 640, 480, "boxes"), boxes)
    assert check_boxes([], 640, 480, "boxes").shape == (0, 4)
    assert check_boxes(np.zeros((0, 4)), 640, 480, "boxes").shape == (0, 4)


@pytest.mark.parametrize(
    ("boxes", "said"),
    [
        ([[0, 0, 10]], "holds"),
        ([[0, 0, 10, 10, 1]], "holds"),
        ([[0, 0, 10, 10, 20, 20, 30, 30]], "holds"),
        ([0, 0, 10, 10], "holds"),
        ([[0, 0], [10, 10]], "holds"),
        ([[0, 0, 10, 10], [1, 2]], "holds"),
        ("abc", "holds"),
        ({"box": 1}, "holds"),
        (5, "holds"),
        ([[0, 0, float("nan"), 10]], "finite"),
        ([[0, 0, float("inf"), 10]], "finite"),
        ([[10, 0, 10, 10]], "no area"),
        ([[0, 20, 10, 10]], "no area"),
        ([[640, 0, 700, 10]], "outside"),
        ([[0, -20, 10, 0]], "outside"),
        ([[0, 0, 10**400, 10]], "holds"),
        ([[]], "holds"),
        ([[], []], "holds"),
        ([[0, 0, 1e300, 10]], "far beyond"),
        ([[-64_001, 0, 10, 10]], "far beyond"),
    ],
)
def test_bad_boxes_are_named(boxes: object, said: str) -> None:
    with pytest.raises(InputError, match=said) as error:
        check_boxes(boxes, 640, 480, "people.json")
    assert "people.json" in str(error.value)
