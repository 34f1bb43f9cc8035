"""The user's tables and correspondence files."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
from tests.evaluation import smplx_files as made

from openexpose.body.keypoints import INDEX
from openexpose.errors import InputError
from openexpose.evaluation.correspondence import read_correspondence
from openexpose.evaluation.record import Mesh
from openexpose.evaluation.tables import LSP14_NAMES, REGRESSED_NAMES, SETS, Tables

NO_FACES = np.zeros((0, 3), int)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "SMPLX_NEUTRAL.npz"
    made.write_model(path)
    return path


def write_npz(path: Path, **arrays: object) -> Path:
    np.savez(path, **{key: np.asarray(value) for key, value in arrays.items()})
    return path


@pytest.mark.parametrize("sparse", [True, False])
def test_the_fields_files_are_found_anywhere_in_the_folder(tmp_path: Path, sparse: bool) -> None:
    j14 = made.write_tables(tmp_path, sparse=sparse)
    tables = Tables.read(tmp_path)
    sets = tables.vertex_sets("smplx")
    assert sets is not None and tuple(sets) == ("all", "left hand", "right hand", "face", "body")
    for name, rows in made.SETS.items():
        np.testing.assert_array_equal(sets[name], rows)
    mesh = Mesh(made.cloud(), NO_FACES)
    np.testing.assert_allclose(tables.joints14(mesh), j14 @ mesh.vertices_m, atol=1e-12)
    assert len(LSP14_NAMES) == 14 and LSP14_NAMES[2:4] == ("right_hip", "left_hip") and LSP14_NAMES[-1] == "head_top"
    assert tables.joints14(Mesh(made.cloud(count=6890), NO_FACES)) is None
    assert not any("weights" in note for note in tables.notes)


def test_without_body_verts_the_body_is_what_is_left(tmp_path: Path) -> None:
    made.write_tables(tmp_path)
    (tmp_path / "utils" / "more" / "body_verts.npy").unlink()
    tables = Tables.read(tmp_path)
    sets = tables.vertex_sets("smplx")
    assert sets is not None
    parts = np.concatenate([sets[name] for name in SETS if name != "all"])
    np.testing.assert_array_equal(np.sort(parts), np.arange(made.VERTICES))
    assert any("No 'body_verts.npy'" in note for note in tables.notes)


def test_without_files_the_skinning_weights_tell_and_a_note_says_so(model: Path) -> None:
    tables = Tables.read(body_model=model)
    sets = tables.vertex_sets("smplx")
    assert sets is not None
    np.testing.assert_array_equal(sets["left hand"], np.arange(100, 200))
    np.testing.assert_array_equal(sets["right hand"], np.arange(300, 400))
    np.testing.assert_array_equal(sets["face"], np.arange(500, 700))
    assert len(sets["body"]) == made.VERTICES - 400
    assert any("not comparable" in note for note in tables.notes)
    assert any("14 joints of SMPL-X meshes are unknown" in note for note in tables.notes)


def test_the_model_in_the_folder_regresses_joints(model: Path) -> None:
    tables = Tables.read(model.parent)
    mesh = Mesh(made.cloud(1), NO_FACES)
    joints = tables.joints(mesh)
    assert joints is not None and joints.shape == (len(REGRESSED_NAMES), 3)
    with np.load(model) as archive:
        np.testing.assert_allclose(joints[:55], archive["J_regressor"] @ mesh.vertices_m)
    np.testing.assert_array_equal(joints[INDEX["nose"]], mesh.vertices_m[9120])
    assert tables.faces("smplx") is not None and tables.faces("smpl") is None


def test_nothing_given_leaves_the_free_body_only() -> None:
    tables = Tables.read()
    sets = tables.vertex_sets("freebody")
    assert tables.vertex_sets("smplx") is None and sets is not None and set(sets) == set(SETS)
    assert tables.vertex_sets("mano") is None
    faces = tables.faces("freebody")
    assert faces is not None and faces.max() < 13718


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("SMPLX_to_J14.pkl", np.zeros((14, 6890)), r"\[14, 10475\]"),
        ("SMPLX_to_J14.pkl", np.full((14, 10475), np.nan), r"\[14, 10475\]"),
        ("MANO_SMPLX_vertex_ids.pkl", {"left_hand": [1, 2, 3]}, "vertex numbers"),
        ("MANO_SMPLX_vertex_ids.pkl", {"left_hand": [1, 2, 10475], "right_hand": [1, 2, 3]}, "vertex numbers"),
    ],
)
def test_files_of_another_model_are_refused(tmp_path: Path, name: str, content: object, message: str) -> None:
    (tmp_path / name).write_bytes(pickle.dumps(content))
    with pytest.raises(InputError, match=message):
        Tables.read(tmp_path)
    with pytest.raises(InputError, match="no folder"):
        Tables.read(tmp_path / "absent")


def test_a_correspondence_takes_weighted_means(tmp_path: Path) -> None:
    path = write_npz(
        tmp_path / "map.npz", indices=[[0, 1], [2, 2]], weights=[[0.25, 0.75], [0.5, 0.5]], source=3, target=2
    )
    table = read_correspondence(path)
    points = np.array([[0.0, 0.0, 0.0], [4.0, 0.0, 0.0], [0.0, 1.0, 2.0]])
    np.testing.assert_allclose(table.apply(points), [[3.0, 0.0, 0.0], [0.0, 1.0, 2.0]])
    assert table.nearest().tolist() == [1, 2] and "all vertices" in table.note
    with pytest.raises(InputError, match="vertices of shape"):
        table.apply(points[:2])


def test_rows_without_a_counterpart_are_left_out(tmp_path: Path) -> None:
    path = write_npz(
        tmp_path / "m.npz", indices=[[1], [0]], weights=[[1.0], [1.0]], source="smpl", target=4, rows=[3, 1]
    )
    table = read_correspondence(path)
    points = made.cloud(count=6890)
    assert table.rows.tolist() == [1, 3] and table.source == 6890 and "2 of 4" in table.note
    np.testing.assert_array_equal(table.apply(points), points[[0, 1]])


@pytest.mark.parametrize("layout", ["csr_matrix", "csc_matrix", "coo_matrix", None])
def test_the_left_half_of_a_deformation_transfer_is_used(tmp_path: Path, layout: str | None) -> None:
    matrix = np.zeros((4, 6))
    matrix[[0, 1, 2], [2, 0, 1]] = 1.0  # vertex 3 has no counterpart
    matrix[:, 3:] = 7.0
    path = tmp_path / "smplx2smpl_deftrafo_setup.pkl"
    path.write_bytes(pickle.dumps({"mtx": matrix if layout is None else getattr(scipy.sparse, layout)(matrix)}, 2))
    table = read_correspondence(path)
    points = made.cloud(count=3)
    assert (table.source, table.target, table.rows.tolist()) == (3, 4, [0, 1, 2])
    np.testing.assert_array_equal(table.apply(points), points[[2, 0, 1]])


GOOD = {"indices": [[0], [1]], "weights": [[1.0], [1.0]], "source": 2}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": 1}, "indices up to 1"),
        ({"source": "robot"}, "robot"),
        ({"weights": [[1.0], [0.5]]}, "sum to 1"),
        ({"weights": [[1.0], [np.nan]]}, "sum to 1"),
        ({"weights": [[1.0, 0.0], [0.5, 0.5]]}, "indices"),
        ({"target": 5}, "2 rows for 5 vertices"),
        ({"target": 5, "rows": [0, 7]}, "rows up to 7"),
        ({"target": 5, "rows": [0, 0]}, "twice"),
    ],
)
def test_broken_correspondences_are_told(tmp_path: Path, change: dict[str, object], message: str) -> None:
    assert len(read_correspondence(write_npz(tmp_path / "good.npz", **GOOD)).rows) == 2
    with pytest.raises(InputError, match=message):
        read_correspondence(write_npz(tmp_path / "bad.npz", **(GOOD | change)))


def test_correspondences_that_are_none_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="source"):
        read_correspondence(write_npz(tmp_path / "a.npz", indices=[[0]], weights=[[1.0]]))
    (tmp_path / "b.pkl").write_bytes(pickle.dumps({"other": 1}))
    with pytest.raises(InputError, match="without a matrix"):
        read_correspondence(tmp_path / "b.pkl")
    (tmp_path / "c.pkl").write_bytes(pickle.dumps(np.zeros((3, 3))))
    with pytest.raises(InputError, match="sums to 1"):
        read_correspondence(tmp_path / "c.pkl")
    with pytest.raises(InputError, match="no file"):
        read_correspondence(tmp_path / "d.npz")


def test_converted_meshes_are_laid_out_in_the_target(tmp_path: Path) -> None:
    made.write_tables(tmp_path)
    order = np.random.default_rng(2).integers(0, 6890, made.VERTICES)
    path = write_npz(tmp_path / "m.npz", indices=order[:, None], weights=np.ones((made.VERTICES, 1)), source="smpl")
    tables = Tables.read(tmp_path, correspondence=path)
    mesh = Mesh(made.cloud(count=6890), NO_FACES)
    converted = tables.convert(mesh, "smplx")
    assert converted is not None and converted.topology == "smplx"
    np.testing.assert_array_equal(converted.vertices_m, mesh.vertices_m[order])
    np.testing.assert_array_equal(tables.joints14(mesh), tables.joints14(converted))
    assert tables.convert(converted, "smpl") is None and tables.convert(mesh, "smpl") is mesh


def test_vertices_are_compared_in_either_direction(tmp_path: Path) -> None:
    made.write_tables(tmp_path)
    valid = np.setdiff1d(np.arange(made.VERTICES), made.SETS["face"])
    order = np.random.default_rng(2).integers(0, 6890, len(valid))
    path = write_npz(
        tmp_path / "m.npz",
        **{"indices": order[:, None], "weights": np.ones((len(valid), 1)), "rows": valid},
        **{"source": "smpl", "target": "smplx"},
    )
    tables = Tables.read(tmp_path, correspondence=path)
    smpl, smplx = Mesh(made.cloud(3, 6890), NO_FACES), Mesh(made.cloud(4), NO_FACES)
    there, back = tables.common(smpl, smplx), tables.common(smplx, smpl)
    assert there is not None and back is not None
    assert set(there.sets) == {"left hand", "right hand", "body"}  # neither the face nor all
    for name, rows in there.sets.items():
        np.testing.assert_array_equal(there.true_m[rows], smplx.vertices_m[made.SETS[name]])
        np.testing.assert_array_equal(back.predicted_m[rows], smplx.vertices_m[made.SETS[name]])
    np.testing.assert_array_equal(there.predicted_m, smpl.vertices_m[order])
    np.testing.assert_array_equal(back.true_m, there.predicted_m)
    assert tables.convert(smpl, "smplx") is None
    assert tables.common(smplx, Mesh(made.cloud(5, 778), NO_FACES)) is None


def test_sets_are_carried_to_a_topology_without_sets(tmp_path: Path) -> None:
    made.write_tables(tmp_path)
    order = np.random.default_rng(2).integers(0, made.VERTICES, 6890)
    matrix = scipy.sparse.csr_matrix((np.ones(6890), (np.arange(6890), order)), (6890, 2 * made.VERTICES))
    (tmp_path / "smplx2smpl_deftrafo_setup.pkl").write_bytes(pickle.dumps({"mtx": matrix}))
    tables = Tables.read(tmp_path, correspondence=tmp_path / "smplx2smpl_deftrafo_setup.pkl")
    common = tables.common(Mesh(made.cloud(3, 6890), NO_FACES), Mesh(made.cloud(4), NO_FACES))
    assert common is not None and set(common.sets) == set(SETS)
    for name, rows in made.SETS.items():
        assert np.isin(order[common.sets[name]], rows).all() and np.isin(order, rows).sum() == len(common.sets[name])


def test_equally_many_vertices_with_other_triangles_are_another_topology() -> None:
    shuffled = np.random.default_rng(0).permutation(made.VERTICES)
    faces, vertices = made.strip(), made.cloud()
    one, other = Mesh(vertices, faces), Mesh(vertices[shuffled], np.argsort(shuffled)[faces])
    tables = Tables.read()
    assert tables.common(one, other) is None
    assert tables.common(one, Mesh(vertices, faces[::-1, [1, 2, 0]])) is not None
    assert tables.common(one, Mesh(vertices, NO_FACES)) is not None
