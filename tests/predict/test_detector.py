"""The person detector: decoding and suppression by law, the shipped network on generated pictures."""

import numpy as np
import pytest

from openexpose.errors import InputError
from openexpose.predict.bundle import default_bundle
from openexpose.predict.detector import (
    BINS,
    NMS_IOU,
    PADDING_RGB,
    SIDE_PX,
    STRIDES_PX,
    THRESHOLD,
    Detector,
    cell_centres,
    decode_boxes,
    letterbox,
    suppress_overlaps,
)

CELLS = sum((SIDE_PX // stride) ** 2 for stride in STRIDES_PX)


@pytest.fixture(scope="module")
def detector():
    return Detector(default_bundle() / "detector.onnx", threads=1)


def _one_hot_distance(left, top, right, bottom):
    """Logits whose distances are whole numbers of strides."""
    logits = np.full((4, BINS), -40.0)
    logits[range(4), (left, top, right, bottom)] = 40.0
    return logits.ravel()


def _iou(a, b):
    sides = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None)
    shared = sides.prod()
    return shared / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - shared)


def test_cells_tile_the_input():
    centre, stride = cell_centres()
    assert centre.shape == (CELLS, 2)
    np.testing.assert_allclose((stride**2).sum(), len(STRIDES_PX) * SIDE_PX**2)
    np.testing.assert_allclose(centre[0], [4, 4])
    np.testing.assert_allclose(centre[1], [12, 4])
    np.testing.assert_allclose(centre[-1], [SIDE_PX - 16, SIDE_PX - 16])


def test_decode_known_box():
    box = decode_boxes(_one_hot_distance(1, 2, 3, 10)[None], np.array([[100.0, 200.0]]), np.array([8.0]))
    np.testing.assert_allclose(box, [[92, 184, 124, 280]])


def test_decode_is_the_mean_of_the_distribution():
    flat = np.zeros((1, 4 * BINS))
    np.testing.assert_allclose(decode_boxes(flat, np.zeros((1, 2)), np.array([16.0])), [[-80, -80, 80, 80]])
    logits = np.random.default_rng(0).normal(size=(5, 4 * BINS))
    shifted = decode_boxes(logits + 7, np.zeros((5, 2)), np.full(5, 8.0))
    np.testing.assert_allclose(shifted, decode_boxes(logits, np.zeros((5, 2)), np.full(5, 8.0)))


@pytest.mark.parametrize(("height", "width"), [(100, 200), (900, 300), (416, 416), (1, 50)])
def test_letterbox_keeps_the_shape_and_pads_with_the_mean(height, width):
    image = np.full((height, width, 3), 255, np.uint8)
    canvas, scale = letterbox(image)
    assert canvas.shape == (1, 3, SIDE_PX, SIDE_PX)
    assert canvas.dtype == np.float32
    rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
    assert max(rows, columns) == SIDE_PX
    np.testing.assert_array_equal(canvas[0, :, :rows, :columns], 1)
    outside = np.ones((SIDE_PX, SIDE_PX), bool)
    outside[:rows, :columns] = False
    colour = np.array(PADDING_RGB, np.float32)[:, None] / 255
    np.testing.assert_allclose(canvas[0][:, outside], np.broadcast_to(colour, (3, outside.sum())), rtol=1e-6)


def test_suppression_laws():
    rng = np.random.default_rng(3)
    corner = rng.uniform(0, 60, (80, 2))
    boxes, score = np.concatenate([corner, corner + rng.uniform(10, 60, (80, 2))], 1), rng.random(80)
    kept = suppress_overlaps(boxes, score)
    assert (np.diff(score[kept]) <= 0).all()
    for i in range(len(boxes)):
        rivals = [_iou(boxes[i], boxes[k]) for k in kept if k != i and score[k] >= score[i]]
        assert (max(rivals, default=0) <= NMS_IOU) == (i in kept)
    assert suppress_overlaps(boxes[kept], score[kept]) == list(range(len(kept)))


def test_suppression_of_nothing():
    assert suppress_overlaps(np.zeros((0, 4)), np.zeros(0)) == []


def test_select_returns_to_image_pixels_sorted_and_clipped(detector):
    score, distance = np.zeros(CELLS, np.float32), np.zeros((CELLS, 4 * BINS), np.float32)
    low, high = 52 * 20 + 10, 52 * 20 + 30  # stride 8: centres (84, 164) and (244, 164)
    score[[low, high, high + 1]] = 0.5, 0.9, 0.8
    distance[low] = _one_hot_distance(10, 5, 5, 5)
    distance[[high, high + 1]] = _one_hot_distance(5, 5, 5, 5)  # neighbours: one of them is suppressed
    people = detector.select(score, distance, scale=0.5, size_px=(400, 560))
    assert len(people) == 2
    np.testing.assert_allclose(people.score, [0.9, 0.5])
    np.testing.assert_allclose(people.boxes_xyxy_px, [[408, 248, 560, 400], [8, 248, 248, 400]], atol=1e-3)


def test_boxes_beside_the_picture_are_nobody(detector):
    """The network also looks at the padding: what it sees there has no area once it is cut to the picture."""
    score, distance = np.zeros(CELLS, np.float32), np.zeros((CELLS, 4 * BINS), np.float32)
    beside, edge, across = 52 * 20 + 40, 52 * 20 + 30, 52 * 20 + 22  # centres (324, 164), (244, 164), (180, 164)
    score[[beside, edge, across]] = 0.9, 0.8, 0.5
    distance[[beside, edge, across]] = _one_hot_distance(5, 5, 5, 5)
    people = detector.select(score, distance, scale=1.0, size_px=(416, 204))
    np.testing.assert_allclose(people.score, [0.5])
    np.testing.assert_allclose(people.boxes_xyxy_px, [[140, 124, 204, 204]], atol=1e-3)


def test_scores_below_the_threshold_are_nobody(detector):
    score = np.full(CELLS, THRESHOLD - 0.01, np.float32)
    people = detector.select(score, np.zeros((CELLS, 4 * BINS), np.float32), 1.0, (416, 416))
    assert len(people) == 0
    assert people.boxes_xyxy_px.shape == (0, 4)


@pytest.mark.parametrize("kind", ["black", "white", "noise"])
def test_nobody_in_an_empty_picture(detector, kind):
    image = np.random.default_rng(0).integers(0, 256, (240, 320, 3)).astype(np.uint8)
    image = {"black": image * 0, "white": image * 0 + 255, "noise": image}[kind]
    assert len(detector(image)) == 0


def test_bad_pictures_and_files_are_refused(detector, tmp_path):
    for image in (np.zeros((10, 10), np.uint8), np.zeros((10, 10, 3), np.float32), np.zeros((0, 10, 3), np.uint8)):
        with pytest.raises(InputError):
            detector(image)
    with pytest.raises(InputError):
        Detector(tmp_path / "missing.onnx")
    with pytest.raises(InputError, match="score, distance"):
        Detector(default_bundle() / "hand_trunk.onnx")
