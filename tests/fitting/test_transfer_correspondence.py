"""Correspondences: from files of all kinds, turned round, by registration."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csc_matrix, csr_matrix, hstack
from tests.fitting import standins

from openexpose.errors import InputError
from openexpose.fitting.closest import SurfaceIndex
from openexpose.fitting.correspondence import closest_points, read_correspondence, turned_round
from openexpose.fitting.models import SkinnedModel, load_model
from openexpose.fitting.transfer_register import part_joints, register


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[SkinnedModel, SkinnedModel, np.ndarray]:
    """The free body, a hand, and the body's vertex for each of the hand's."""
    path = tmp_path_factory.mktemp("models") / "hand.npz"
    arrays = standins.standin("left-hand", cell_m=0.008)
    return load_model("freebody"), load_model(standins.write_npz(path, arrays)), arrays["rows"]


def write(path: Path, content: object) -> Path:
    path.write_bytes(pickle.dumps(content, 2))
    return path


def test_every_kind_of_file_tells_the_same(pair, tmp_path: Path) -> None:
    body, hand, rows = pair
    matrix = standins.counterpart(rows, body.num_vertices).matrix
    np.save(tmp_path / "ids.npy", rows)
    np.savez(tmp_path / "w.npz", indices=rows[:, None], weights=np.ones((len(rows), 1)))
    paths = [
        write(tmp_path / "sparse.pkl", csc_matrix(matrix)),
        write(tmp_path / "deformation.pkl", {"mtx": csr_matrix(hstack([matrix, 3.0 * matrix]))}),
        write(tmp_path / "named.pkl", {"matrix": csr_matrix(matrix)}),
        write(tmp_path / "MANO_SMPLX_vertex_ids.pkl", {"left_hand": rows, "right_hand": rows[:5]}),
        tmp_path / "ids.npy",
        tmp_path / "w.npz",
    ]
    for path in paths:
        way = read_correspondence(path, body, hand)
        np.testing.assert_array_equal(way.rows, np.arange(len(rows)), err_msg=path.name)
        np.testing.assert_array_equal(way.apply(body.v_template[None])[0], body.v_template[rows], err_msg=path.name)
    for path in paths[3:5]:  # of numbers the other way is exact, too
        back = read_correspondence(path, hand, body)
        np.testing.assert_array_equal(back.rows, np.sort(rows))
        placed = back.apply(hand.v_template[None])[0][np.searchsorted(back.rows, rows)]
        np.testing.assert_array_equal(placed, hand.v_template)


def test_a_matrix_turned_round_finds_the_neighbouring_surface(pair) -> None:
    body, hand, rows = pair
    back = turned_round(standins.counterpart(rows, body.num_vertices), body, hand)
    laid = back.apply(body.v_template[rows][None])[0]
    distance = np.linalg.norm(laid - body.v_template[back.rows], axis=1)
    assert len(back.rows) > 0.8 * (np.asarray(body.weights[:, 25:40].sum(1)) > 0.9).sum()
    assert distance.mean() < 1e-3 and np.isin(rows, back.rows).mean() > 0.95


def test_counterparts_are_the_closest_points_that_are_near_and_face_the_same_way() -> None:
    rng = np.random.default_rng(0)
    vertices, faces = 0.01 * rng.normal(size=(12, 3)), np.array([[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]])
    points, normals = 0.02 * rng.normal(size=(60, 3)), rng.normal(size=(60, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    among = np.arange(0, 60, 2)
    way = closest_points(points, among, normals, SurfaceIndex(vertices, faces))
    grid = np.array([(i, j, 60 - i - j) for i in range(61) for j in range(61 - i)]) / 60.0
    dense = np.einsum("gk,fkx->fgx", grid, vertices[faces])
    brute = np.linalg.norm(points[:, None, None] - dense, axis=-1).min(2)
    facing = np.cross(vertices[faces[:, 1]] - vertices[faces[:, 0]], vertices[faces[:, 2]] - vertices[faces[:, 0]])
    facing /= np.linalg.norm(facing, axis=1, keepdims=True)
    nearest, distance = brute.argmin(1), brute.min(1)
    wanted = (distance < 0.015) & ((facing[nearest] * normals).sum(1) > 0.3)
    assert way.rows.tolist() == among[wanted[among]].tolist() and len(way.rows) > 3
    found = np.linalg.norm(way.apply(vertices[None])[0] - points[way.rows], axis=1)
    assert (found <= distance[way.rows] + 1e-12).all() and (distance[way.rows] - found).max() < 5e-4
    weights = way.matrix[way.rows].toarray()
    assert (weights >= 0).all() and np.abs(weights.sum(1) - 1).max() < 1e-12


def test_a_hand_is_registered_with_the_body_without_a_file(pair) -> None:
    body, hand, rows = pair
    way = register(body, hand)
    slip = np.linalg.norm(way.apply(body.v_template[None])[0] - body.v_template[rows[way.rows]], axis=1)
    assert len(way.rows) > 0.9 * hand.num_vertices and np.mean(slip) < 3e-3


def test_a_hand_turns_a_body_by_its_root_and_fingers(pair) -> None:
    body, hand, _ = pair
    assert part_joints(hand, body).tolist() == [0, *range(25, 40)]
    assert part_joints(body, hand).tolist() == list(range(16))
    assert part_joints(body, body).tolist() == list(range(55))


def test_bad_files_are_told(pair, tmp_path: Path) -> None:
    body, hand, rows = pair
    with pytest.raises(InputError, match="no file"):
        read_correspondence(tmp_path / "absent.pkl", body, hand)
    with pytest.raises(InputError, match="leads from 7 to 5 vertices"):
        read_correspondence(write(tmp_path / "size.pkl", np.ones((5, 7))), body, hand)
    with pytest.raises(InputError, match="without a matrix"):
        read_correspondence(write(tmp_path / "none.pkl", {"other": 1}), body, hand)
    with pytest.raises(InputError, match="vertex numbers up to"):
        read_correspondence(write(tmp_path / "ids.pkl", {"left_hand": rows[:-1]}), body, hand)
    empty = csr_matrix((hand.num_vertices, body.num_vertices))
    with pytest.raises(InputError, match="no row of which sums to 1"):
        read_correspondence(write(tmp_path / "zero.pkl", empty), body, hand)


def test_models_without_a_common_limb_cannot_be_registered(pair, tmp_path: Path) -> None:
    head = load_model(standins.write_npz(tmp_path / "head.npz", standins.standin("flame", cell_m=0.02)))
    with pytest.raises(InputError, match="0 limbs in common"):
        register(pair[1], head)
