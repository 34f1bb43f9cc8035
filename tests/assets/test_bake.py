"""Laws of the bake's geometry on small made-up inputs; anny is not needed."""

import numpy as np
import pytest

pytest.importorskip("scipy")

from scipy.spatial.transform import Rotation

from openexpose.assets.bake.contour import resample_contour
from openexpose.assets.bake.hands import flexion_axis, sample_left_hands, thumb_axes
from openexpose.assets.bake.landmarks import MIRROR_68, load_landmarks
from openexpose.assets.bake.picks import FORMAT_VERTEX, format_order
from openexpose.assets.bake.rasterise import View, rasterise
from openexpose.assets.bake.regressor import _ridge
from openexpose.assets.bake.rotations import rotation_aligning, shortest_rotation, swing_twist, unit
from openexpose.assets.bake.shape import mirror_map, vertex_areas
from openexpose.assets.bake.skeleton import JOINTS, PARENTS, descendants, joint, mirrored_joints
from openexpose.assets.bake.surface import Surface
from openexpose.assets.bake.write import new_index, save_npz

CUBE = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
CUBE_FACES = np.array(
    [[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1], [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4],
     [1, 5, 7], [1, 7, 3]]
)  # fmt: skip


def test_shortest_rotation_takes_one_direction_onto_the_other():
    source, target = np.random.default_rng(0).normal(size=(2, 50, 3))
    rotation = shortest_rotation(source, target)
    np.testing.assert_allclose(np.einsum("nij,nj->ni", rotation, unit(source)), unit(target), atol=1e-12)
    angle = Rotation.from_matrix(rotation).magnitude()
    np.testing.assert_allclose(angle, np.arccos((unit(source) * unit(target)).sum(1)), atol=1e-9)


def test_rotation_aligning_recovers_a_rotation():
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=(2, 20, 3))
    expected = Rotation.random(20, rng=rng).as_matrix()
    turned = [np.einsum("nij,nj->ni", expected, vector) for vector in (first, second)]
    np.testing.assert_allclose(rotation_aligning(first, second, *turned), expected, atol=1e-12)


def test_swing_twist_recombines_and_swing_has_no_twist():
    axis = np.array([0.0, 0.6, 0.8])
    for rotation in Rotation.random(20, rng=2):
        swing, twist = swing_twist(rotation, axis)
        np.testing.assert_allclose((swing * twist).as_matrix(), rotation.as_matrix(), atol=1e-12)
        assert abs(swing.as_quat()[:3] @ axis) < 1e-12
        np.testing.assert_allclose(np.cross(twist.as_rotvec(), axis), 0, atol=1e-12)


def test_nearest_point_on_a_cube_is_the_clamped_point():
    surface, allowed = Surface(CUBE, CUBE_FACES), np.ones(len(CUBE_FACES), bool)
    for point in np.random.default_rng(3).uniform(-3, 3, (100, 3)):
        if (np.abs(point) < 1).all():
            continue
        face, weights = surface.nearest(point, allowed)
        np.testing.assert_allclose(surface.point(face, weights), point.clip(-1, 1), atol=1e-9)
        assert weights.min() >= 0 and weights.sum() == pytest.approx(1)


def test_rasteriser_sees_the_front_of_a_cube():
    view = View(np.zeros(3), side_m=4.0, size_px=40)
    fragments = rasterise(view, CUBE, CUBE_FACES)
    rows, columns = np.nonzero(fragments.face >= 0)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (10, 29, 10, 29)
    points = np.einsum("nc,nci->ni", fragments.weights[rows, columns], CUBE[CUBE_FACES[fragments.face[rows, columns]]])
    np.testing.assert_allclose(points[:, 2], 1, atol=1e-6)
    np.testing.assert_allclose(view.project(points)[:, :2], np.stack([columns, rows], 1) + 0.5, atol=1e-6)


def test_vertex_areas_sum_to_the_surface():
    assert vertex_areas(CUBE, CUBE_FACES).sum() == pytest.approx(24)


def test_mirror_map_pairs_vertices_and_refuses_lopsided_meshes():
    mirror = mirror_map(CUBE)
    np.testing.assert_array_equal(CUBE[mirror], CUBE * (-1, 1, 1))
    with pytest.raises(ValueError, match="mirror-symmetric"):
        mirror_map(np.array([[0.0, 0, 0], [1, 0, 0], [1.2, 0, 0]]))


def test_ridge_finds_a_joint_that_is_a_mixture_of_vertices():
    rng = np.random.default_rng(4)
    vertices = rng.normal(size=(200, 6, 3))
    weights = np.array([0.7, 0.5, -0.4, 0.2, 0.0, 0.0])
    found = _ridge(vertices - np.einsum("v,nvi->ni", weights, vertices)[:, None])
    np.testing.assert_allclose(found, weights, atol=1e-3)
    assert found.sum() == pytest.approx(1)


def test_skeleton_is_a_tree_and_symmetric():
    other = mirrored_joints()
    np.testing.assert_array_equal(other[other], np.arange(55))
    assert [PARENTS[other[index]] for index in range(1, 55)] == [other[PARENTS[index]] for index in range(1, 55)]
    assert [JOINTS[index] for index in np.flatnonzero(descendants(joint("right_knee")))] == [
        "right_knee", "right_ankle", "right_foot"
    ]  # fmt: skip
    assert descendants(0).all()


def test_format_order_is_a_permutation_that_places_every_pick():
    picks = {name: 3 * number + 1 for number, name in enumerate(FORMAT_VERTEX)}
    picks["nose"] = FORMAT_VERTEX["lear"]  # a pick may sit on another one's place
    order = format_order(picks, 10000)
    assert all(order[number] == picks[name] for name, number in FORMAT_VERTEX.items())
    np.testing.assert_array_equal(new_index(order)[order], np.arange(10000))


def test_fingers_bend_towards_the_palm():
    joints = np.zeros((55, 3))
    for finger, z in (("index", 0.03), ("middle", 0.01), ("ring", -0.01), ("pinky", -0.03)):
        for k in (1, 2, 3):
            joints[joint(f"left_{finger}{k}")] = (0.1 + 0.03 * k, 0, z)
    for k in (1, 2, 3):
        joints[joint(f"left_thumb{k}")] = (0.03 * k, 0, 0.03 + 0.03 * k)
    turn = Rotation.from_rotvec(0.5 * flexion_axis(joints, "index"))
    assert turn.apply([1.0, 0, 0])[1] < -0.4
    opposition, _ = thumb_axes(joints)
    assert Rotation.from_rotvec(0.3 * opposition).apply([1.0, 0, 1.0])[1] < 0
    poses = sample_left_hands(joints, 200, np.random.default_rng(0))
    assert poses.shape == (200, 15, 3) and np.linalg.norm(poses, axis=-1).max() < np.deg2rad(130)


def test_contour_is_symmetric_and_even():
    angle = np.linspace(0, np.pi / 2, 8)
    oval = np.stack([-np.cos(angle), -np.sin(angle), np.zeros(8)], axis=1)
    flat = Surface(np.array([[-9.0, -9, 0], [9, -9, 0], [0, 9, 0]]), np.array([[0, 1, 2]]))
    contour = resample_contour(oval, np.array([0.0, -0.1, 0.0]), flat, np.array([True]))
    gaps = np.linalg.norm(np.diff(contour, axis=0), axis=1)
    np.testing.assert_allclose(gaps, gaps.mean(), rtol=0.01)
    np.testing.assert_allclose(contour[::-1] * (-1, 1, 1), contour, atol=1e-12)
    np.testing.assert_allclose(contour[8], (0, -1, 0), atol=1e-9)


def test_frozen_landmarks_have_the_formats_shapes():
    landmarks = load_landmarks()
    assert {name: array.shape for name, array in landmarks.items()} == {
        "lmk_faces_idx": (51,), "lmk_bary_coords": (51, 3),
        "dynamic_lmk_faces_idx": (79, 17), "dynamic_lmk_bary_coords": (79, 17, 3),
    }  # fmt: skip
    assert [MIRROR_68[MIRROR_68[index]] for index in range(68)] == list(range(68))


def test_save_refuses_python_objects(tmp_path):
    with pytest.raises(TypeError, match="allow_pickle"):
        save_npz(tmp_path / "x.npz", {"a": np.array([None])})
    assert not list(tmp_path.iterdir())
