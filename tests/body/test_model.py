"""Reading body model files: the packaged one, the two column layouts, and files that are not what they should be."""

from pathlib import Path

import numpy as np
import pytest
from tests.body.toy import save_arrays, toy_arrays, toy_model

from openexpose.body.keypoints import PARENTS
from openexpose.body.model import PoseBlendShapes, load_body_model
from openexpose.errors import InputError


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    return toy_arrays()


def test_packaged_body_holds_what_it_promises() -> None:
    model = load_body_model()
    assert model.name == "freebody"
    assert (model.num_betas, model.num_expression) == (10, 20)
    np.testing.assert_array_equal(model.parents, PARENTS)
    np.testing.assert_allclose(model.weights.sum(1), 1.0, atol=1e-5)
    np.testing.assert_allclose(model.landmark_barycentric.sum(-1), 1.0, atol=1e-5)
    np.testing.assert_allclose(model.contour_barycentric.sum(-1), 1.0, atol=1e-5)
    np.testing.assert_allclose(
        model.hand_components @ model.hand_components.swapaxes(1, 2), [np.eye(45)] * 2, atol=1e-4
    )
    floats = (
        model.v_template,
        model.shape_dirs,
        model.pose_dirs.directions,
        model.joint_template,
        model.joint_shape_dirs,
    )
    assert all(array.dtype == np.float32 and np.isfinite(array).all() for array in floats)


def test_packaged_body_stands_upright_and_looks_along_z() -> None:
    model = load_body_model()
    joint, extra = model.joint_template, model.v_template[model.extra_vertices]
    pelvis, left_ankle, right_ankle, head, left_wrist = joint[[0, 7, 8, 15, 20]]
    assert head[1] > pelvis[1] > left_ankle[1]
    assert left_ankle[0] > 0 > right_ankle[0] and left_wrist[0] > 0.4
    assert extra[0, 2] > head[2], "the nose is in front of the head joint"
    assert extra[1, 0] < 0 < extra[2, 0], "keypoint 56 is the right eye"
    assert 1.4 < np.ptp(model.v_template[:, 1]) < 2.0


@pytest.mark.parametrize(("columns", "first_expression"), [(400, 300), (20, 10), (410, 300), (50, 10)])
def test_expression_columns_follow_the_layout_of_the_file(
    arrays: dict[str, np.ndarray], tmp_path: Path, columns: int, first_expression: int
) -> None:
    shapedirs = np.broadcast_to(np.arange(columns, dtype=np.float32), (len(arrays["v_template"]), 3, columns))
    path = save_arrays(tmp_path / "SMPLX_TOY.npz", arrays | {"shapedirs": shapedirs})
    model = load_body_model(path, num_betas=4, num_expression=3)
    assert model.name == "SMPLX_TOY"
    np.testing.assert_array_equal(model.shape_dirs[0, 0], np.arange(4))
    np.testing.assert_array_equal(model.expression_dirs[-1, 2], first_expression + np.arange(3))
    np.testing.assert_allclose(model.joint_expression_dirs[7, 1], first_expression + np.arange(3), rtol=1e-6)


@pytest.mark.parametrize(("columns", "betas", "expression"), [(400, 301, 5), (400, 5, 101), (20, 11, 5), (20, 10, 11)])
def test_more_coefficients_than_the_file_holds(
    arrays: dict[str, np.ndarray], tmp_path: Path, columns: int, betas: int, expression: int
) -> None:
    path = save_arrays(tmp_path / "toy.npz", arrays | {"shapedirs": arrays["shapedirs"][..., :columns]})
    with pytest.raises(InputError, match=rf"{columns} columns"):
        load_body_model(path, num_betas=betas, num_expression=expression)


def test_joints_are_regressed_from_the_vertices(arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    model = load_body_model(save_arrays(tmp_path / "toy.npz", arrays))
    np.testing.assert_allclose(model.joint_template, arrays["J_regressor"] @ arrays["v_template"], atol=1e-6)
    np.testing.assert_array_equal(model.landmark_vertices, arrays["f"][arrays["lmk_faces_idx"]])
    np.testing.assert_array_equal(model.hand_mean, np.stack([np.zeros(45), np.ones(45)]))


def test_pose_blend_shapes_keep_only_what_is_not_zero(arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    shapes = load_body_model(save_arrays(tmp_path / "toy.npz", arrays)).pose_dirs
    np.testing.assert_array_equal(shapes.vertices, [5])
    np.testing.assert_array_equal(shapes.starts, [0] * 3 + [1] * 52)
    assert shapes.directions[4, 0, 1] == 0.25 and np.count_nonzero(shapes.directions) == 1


@pytest.mark.parametrize("density", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_pose_blend_shapes_survive_the_round_trip(density: float, kind: type) -> None:
    rng = np.random.default_rng(1)
    posedirs = (rng.normal(size=(30, 3, 486)) * (rng.random((30, 1, 486)) < density / 5)).astype(kind)
    shapes = PoseBlendShapes.from_dense(posedirs)
    expected = posedirs.astype(np.float32).reshape(90, 486).T
    np.testing.assert_array_equal(shapes.dense(30), expected)
    rows = np.array([2, 3, 11, 29])
    np.testing.assert_array_equal(
        shapes.subset(rows, 30).dense(4).reshape(486, 4, 3), expected.reshape(486, 30, 3)[:, rows]
    )


def test_negative_zeros_are_zeros() -> None:
    posedirs = np.full((4, 3, 486), -0.0, np.float16)
    posedirs[1, 2, 485] = -6e-8  # the smallest half-precision number
    shapes = PoseBlendShapes.from_dense(posedirs)
    np.testing.assert_array_equal(shapes.vertices, [1])
    assert shapes.directions[8, 0, 2] < 0


def test_levels_visit_each_joint_after_its_parent() -> None:
    seen = {0}
    for children, parents in toy_model().levels:
        assert set(parents) <= seen
        seen |= set(children)
    assert seen == set(range(55))


def test_the_optional_texture_coordinates(arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    assert load_body_model(save_arrays(tmp_path / "without.npz", arrays)).uv is None
    more = {"vt": np.ones((7, 2)), "ft": np.full((30, 3), 6)}
    model = load_body_model(save_arrays(tmp_path / "with.npz", arrays | more))
    assert model.uv.shape == (7, 2) and model.uv_faces.shape == (30, 3)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("v_template", np.zeros((10000, 2))),
        ("v_template", np.zeros((100, 3))),
        ("f", np.full((30, 3), 99999)),
        ("f", np.zeros((30, 3))),
        ("shapedirs", np.zeros((4, 3, 400))),
        ("J_regressor", np.zeros((24, 9930))),
        ("weights", np.zeros((9930, 24))),
        ("kintree_table", np.tile(np.arange(55), (2, 1))),
        ("lmk_faces_idx", np.full(51, 30)),
        ("lmk_bary_coords", np.zeros((50, 3))),
        ("dynamic_lmk_faces_idx", np.full((79, 17), -1)),
        ("hands_meanl", np.zeros(12)),
        ("hands_componentsr", np.array([{}], object)),
        ("posedirs", np.zeros((9930, 3, 207), np.float16)),
        ("posedirs", None),
        ("v_template", None),
        ("weights", None),
    ],
)
def test_bad_arrays_are_named(
    arrays: dict[str, np.ndarray], tmp_path: Path, key: str, value: np.ndarray | None
) -> None:
    changed = {name: array for name, array in (arrays | {key: value}).items() if array is not None}
    path = save_arrays(tmp_path / "bad.npz", changed)
    with pytest.raises(InputError) as error:
        load_body_model(path)
    assert key in str(error.value) and "bad.npz" in str(error.value)


def test_what_is_no_npz_archive(arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    bad = {"empty.npz": b"", "text.npz": b"not a model", "model.pkl": b"\x80\x04N.", "cut.npz": b"PK\x03\x04 cut short"}
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
    np.save(tmp_path / "array.npy", np.zeros(3))
    for name in (*bad, "array.npy", "missing.npz", "."):
        with pytest.raises(InputError, match="npz"):
            load_body_model(tmp_path / name)


def test_a_damaged_member_is_named(arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    path = tmp_path / "damaged.npz"
    np.savez_compressed(path, **{**arrays, "posedirs": arrays["posedirs"][:, :, :2], "shapedirs": np.zeros(3)})
    content = bytearray(path.read_bytes())
    start = content.index(b"v_template.npy") + 200
    content[start : start + 2000] = bytes(2000)
    path.write_bytes(content)
    with pytest.raises(InputError, match="v_template"):
        load_body_model(path)
