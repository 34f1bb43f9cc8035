"""Model files of the family: what is read, and what is refused."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from tests.fitting import standins

from openexpose.body.mesh import posed_mesh
from openexpose.body.model import load_body_model
from openexpose.errors import InputError
from openexpose.fitting.models import JOINTS, load_model
from openexpose.fitting.transfer_skin import posed_vertices


@pytest.fixture(scope="module")
def hand() -> dict[str, np.ndarray]:
    return standins.standin("left-hand", cell_m=0.012)


def test_freebody_is_skinned_as_the_runtime_skins_it() -> None:
    model, body = load_model("freebody"), load_body_model()
    given = standins.ordinary(model, 2)
    expected = posed_mesh(body, given.pose, given.betas, given.expression).vertices + given.transl[:, None]
    assert np.abs(posed_vertices(model, given) - expected).max() < 5e-6
    assert (model.family, model.part, model.num_joints, model.num_expression) == ("smplx", "whole", 55, 20)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_with_sparse_and_chumpy_objects_reads_like_the_npz(hand, tmp_path: Path, protocol: int) -> None:
    one = load_model(standins.write_npz(tmp_path / "a.npz", hand))
    other = load_model(standins.write_pkl(tmp_path / "a.pkl", hand, protocol))
    for name in ("v_template", "faces", "shape_dirs", "joint_template", "joint_shape_dirs", "parents"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    assert one.name == "a" and np.abs(one.joint_template - hand["J_regressor"] @ hand["v_template"]).max() < 1e-5


@pytest.mark.parametrize("family", ["left-hand", "right-hand", "flame"])
def test_families_are_told_by_joints_and_hands_by_their_side(family: str, tmp_path: Path) -> None:
    model = load_model(standins.write_npz(tmp_path / "x.npz", standins.standin(family, cell_m=0.02)))
    assert model.family == family and model.part == {"flame": "face"}.get(family, family)
    assert model.num_expression == (10 if family == "flame" else 0) and len(model.joints) == model.num_joints


def test_every_family_names_a_joint_of_smplx_for_each_of_its_own() -> None:
    assert {name: len(joints) for name, joints in JOINTS.items()} == {
        "smpl": 24, "smplh": 52, "smplx": 55, "left-hand": 16, "right-hand": 16, "flame": 5,
    }  # fmt: skip


def change(arrays: dict[str, np.ndarray], **changes: object) -> dict[str, np.ndarray]:
    return {key: value for key, value in (arrays | changes).items() if value is not None}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"weights": None}, "weights"),
        ({"kintree_table": np.zeros((2, 7), int)}, "7 joints"),
        ({"kintree_table": np.array([np.arange(16), np.arange(16)])}, "parents before their children"),
        ({"v_template": np.full((5, 3), np.nan)}, "NaN"),
        ({"shapedirs": np.zeros((5, 3, 10))}, "shape"),
        ({"f": np.array([[0, 1, 10**6]])}, "'f' between"),
    ],
)
def test_broken_files_are_told(hand, changes, told: str, tmp_path: Path) -> None:
    path = standins.write_npz(tmp_path / "bad.npz", change(hand, **changes))
    with pytest.raises(InputError, match=told):
        load_model(path)


def test_weights_that_do_not_sum_to_one_and_too_many_coefficients(hand, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="do not sum to 1"):
        load_model(standins.write_npz(tmp_path / "w.npz", change(hand, weights=2 * hand["weights"])))
    with pytest.raises(InputError, match="num_betas = 11"):
        load_model(standins.write_npz(tmp_path / "b.npz", hand), num_betas=11)
    with pytest.raises(InputError, match="no file"):
        load_model(tmp_path / "absent.npz")


def test_pickles_do_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "ran",))

    (tmp_path / "evil.pkl").write_bytes(pickle.dumps({"v_template": Evil()}))
    with pytest.raises(InputError, match="not run"):
        load_model(tmp_path / "evil.pkl")
    assert not (tmp_path / "ran").exists()
    (tmp_path / "list.pkl").write_bytes(pickle.dumps([1]))
    with pytest.raises(InputError, match="a pickle of a list"):
        load_model(tmp_path / "list.pkl")
