"""Pictures of cases: what is shown is where it should be."""

import io

import numpy as np
import pytest
from PIL import Image

from openexpose.body.keypoints import COCO17, KEYPOINT_NAMES, LEFT_HAND21, RIGHT_HAND21
from openexpose.errors import InputError
from openexpose.evaluation.record import Case, Mesh, Metric, Prediction, Subject
from openexpose.evaluation.report.pictures import HEIGHT_PX, case_picture, draw_case, mesh_camera, point_pairs, sheet
from openexpose.geometry.camera import project_perspective

METRIC = Metric("PA-V2V all", "mm", "made up")
FOCAL_PX, WIDTH, HEIGHT = 500.0, 320, 240
MIDDLE = np.array([160.0, 120.0])
JOINTS = np.random.default_rng(0).uniform((-0.5, -0.5, 3), (0.5, 0.5, 4), (144, 3))
POINTS = project_perspective(JOINTS, FOCAL_PX, MIDDLE)
BOX = np.array([60.0, 40.0, 260.0, 200.0])


def cube(centre=(0.0, 0.0, 3.5), side=0.8) -> Mesh:
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)]) - 0.5
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = [t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))]
    return Mesh(corners * side + centre, np.array(faces))


def picture() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (WIDTH, HEIGHT), (30, 60, 120)).save(file, "png")
    return file.getvalue()


def case(**of_subject) -> Case:
    labels = {"body": np.c_[POINTS[COCO17] + 3.0, np.ones(17)]}
    subject = Subject("s/1", "s", **{"image": picture(), "box_xyxy_px": BOX, "keypoints_px": labels, **of_subject})
    prediction = Prediction(cube(), JOINTS, KEYPOINT_NAMES, POINTS)
    return Case("worst", subject, 12.345, prediction)


def test_all_panels_of_a_case_with_a_true_mesh():
    drawn = draw_case(case(mesh=lambda: cube((0.1, 0, 3.5))), METRIC)
    assert drawn.caption == "s/1: PA-V2V all 12.3 mm"
    assert [title for title, _ in drawn.panels] == [
        "true points green, predicted red", "predicted mesh", "true, front", "aligned, blue 0 to red 100 mm, front",
        "true, side", "the same, side",
    ]  # fmt: skip
    assert all(panel.shape[0] == HEIGHT_PX and panel.dtype == np.uint8 for _, panel in drawn.panels)
    aligned = drawn.panels[3][1].reshape(-1, 3)[::7].astype(int)
    coloured = aligned[(aligned.max(1) - aligned.min(1)) > 30]
    assert len(coloured) and (coloured[:, 2] > coloured[:, 0]).all()  # no distance after alignment: blue


def test_points_are_where_they_are_labelled():
    labels = {"body": np.array([[160.0, 120.0, 1.0], *[[0.0, 0.0, 0.0]] * 16])}
    shown = dict(draw_case(case(keypoints_px=labels)).panels)["true points green, predicted red"]
    green = (shown[..., 1].astype(int) - shown[..., 0] > 150) & (shown[..., 2] < 120)
    rows, columns = np.nonzero(green)
    zoom = shown.shape[1] / (BOX[2] - BOX[0] + 2 * 24.0)
    top = (HEIGHT_PX - (BOX[3] - BOX[1] + 48.0) * zoom) / 2
    expected = np.array([160 - BOX[0] + 24, 120 - BOX[1] + 24]) * zoom + (0, top)
    np.testing.assert_allclose([np.median(columns), np.median(rows)], expected, atol=3)


def test_camera_comes_from_joints_and_keypoints_or_the_focal_length_or_not_at_all():
    subject = Subject("s", "s", box_xyxy_px=np.array([103.0, 63.0, 217.0, 177.0]), focal_px=FOCAL_PX)
    known = Prediction(cube(), JOINTS, KEYPOINT_NAMES, POINTS + (7.0, 0.0))
    np.testing.assert_allclose(mesh_camera(subject, known, WIDTH, HEIGHT), (FOCAL_PX, 167.0, 120.0), atol=1e-6)
    wrong = Prediction(cube(), JOINTS, KEYPOINT_NAMES, POINTS[::-1].copy())
    assert mesh_camera(subject, wrong, WIDTH, HEIGHT) is None
    assert mesh_camera(subject, Prediction(cube()), WIDTH, HEIGHT) == (FOCAL_PX, 160.0, 120.0)
    assert mesh_camera(subject, Prediction(cube((2.0, 0, 3.5))), WIDTH, HEIGHT) is None
    assert mesh_camera(subject, Prediction(cube((0, 0, 0))), WIDTH, HEIGHT) is None
    assert mesh_camera(Subject("s", "s"), Prediction(cube()), WIDTH, HEIGHT) is None


def test_a_hand_of_unknown_side_is_paired_with_the_nearer_one():
    prediction = Prediction(keypoints_px=POINTS)
    for index in (LEFT_HAND21, RIGHT_HAND21):
        subject = Subject("h", "h", keypoints_px={"hand": np.c_[POINTS[index] + 1.0, np.ones(21)]})
        ((true, predicted),) = point_pairs(subject, prediction)
        np.testing.assert_allclose(true - predicted, 1.0)


def test_little_is_known_and_still_something_is_drawn():
    assert case_picture(case(image=None, keypoints_px={})).shape[0] > HEIGHT_PX
    assert [title for title, _ in draw_case(case(image=b"damaged")).panels] == []
    other = Mesh(np.r_[cube().vertices_m, [[0.0, 0.0, 3.0]]], cube().faces)
    titles = [title for title, _ in draw_case(case(image=None, mesh=lambda: other)).panels]
    assert titles == ["true, front", "predicted, same centre, front", "true, side", "the same, side"]
    cloud = Mesh(cube().vertices_m, np.zeros((0, 3), int))
    assert draw_case(case(image=None, mesh=lambda: cloud)).panels == ()


def test_unreadable_truth_leaves_the_photo():
    def broken() -> Mesh:
        raise InputError("a damaged file", "a mesh")

    assert len(draw_case(case(mesh=broken)).panels) == 2


def test_a_sheet_has_a_row_a_case():
    one, three = sheet([draw_case(case())]), sheet([draw_case(case())] * 3)
    assert three.shape == (3 * one.shape[0], *one.shape[1:])
    with pytest.raises(InputError, match="no cases"):
        sheet([])
