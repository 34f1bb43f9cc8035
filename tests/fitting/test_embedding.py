"""Users' models as bodies of 55 joints: the same vertices as their own skinning, keypoints that they have, and fits."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.fitting import standins

from openexpose.body.keypoints import INDEX, KEYPOINT_NAMES, PARTS
from openexpose.body.mesh import keypoints, posed_mesh
from openexpose.body.model import load_body_model
from openexpose.errors import InputError
from openexpose.fitting.embedding import FitModel, embed, is_smplx_npz, load_fit_model
from openexpose.fitting.fit import aim_at, fit
from openexpose.fitting.lone import fit_lone
from openexpose.fitting.models import JOINTS, load_model
from openexpose.fitting.observed import Observed
from openexpose.fitting.penalties import Priors
from openexpose.fitting.state import State
from openexpose.fitting.transfer_files import Motion, read_content, read_motion, write_motion
from openexpose.fitting.transfer_skin import Parameters, posed_vertices
from openexpose.formats.native import read_npz, write_npz
from openexpose.geometry.camera import project_perspective
from openexpose.geometry.rotation import rotvec_to_matrix

PRIORS = Priors.load()
FAMILIES = ("smpl", "smplh", "smplx", "left-hand", "right-hand", "flame")
FOCAL, SIZE = 700.0, (640, 480)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A stand-in of every family; the face has landmarks in a file beside it."""
    folder, found = tmp_path_factory.mktemp("models"), {}
    for family in FAMILIES:
        arrays = standins.standin(family, cell_m=0.02 if family.startswith("sm") else 0.008)
        kind = standins.write_pkl if family in ("smplx", "flame") else standins.write_npz
        (folder / family).mkdir()
        found[family] = kind(folder / family / ("m.pkl" if kind is standins.write_pkl else "m.npz"), arrays)
    rng, faces = np.random.default_rng(0), len(load_model(found["flame"]).faces)
    weights = rng.dirichlet(np.ones(3), 51)
    content = {"lmk_face_idx": rng.integers(0, faces, 51), "lmk_b_coords": weights}
    (folder / "flame" / "flame_static_embedding.pkl").write_bytes(pickle.dumps(content, 2))
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_vertices_are_those_of_the_familys_own_skinning(files: dict[str, Path], family: str) -> None:
    model = load_model(files[family])
    body = embed(model).body
    given = standins.ordinary(model, 2, seed=3)
    pose = np.tile(np.eye(3), (2, 55, 1, 1))
    for joint in range(model.num_joints):
        if family == "smpl" and joint >= 22:  # the hands stay at rest
            given.pose[:, joint] = np.eye(3)
        else:
            pose[:, 0 if joint == 0 else JOINTS[family][joint]] = given.pose[:, joint]
    mesh = posed_mesh(body, pose, given.betas, given.expression)
    expected = posed_vertices(model, given)
    np.testing.assert_allclose(mesh.vertices + given.transl[:, None], expected, atol=2e-5)
    assert (body.name, len(body.faces)) == (family.replace("left-hand", "mano").replace("right-hand", "mano"),
                                            len(model.faces))  # fmt: skip


def test_keypoints_that_a_model_has(files: dict[str, Path]) -> None:
    def named(model: FitModel) -> set[str]:
        assert model.keypoints[0], "what the global orientation turns about"
        return {KEYPOINT_NAMES[k] for k in np.flatnonzero(model.keypoints)[1:]}

    found = {family: named(embed(load_model(path))) for family, path in files.items()}
    assert found["smpl"] == set(KEYPOINT_NAMES[1:22])
    assert found["smplh"] == {KEYPOINT_NAMES[k] for k in [*range(1, 22), *range(25, 55)]}
    assert found["left-hand"] == {KEYPOINT_NAMES[k] for k in [20, *range(25, 40)]}
    assert found["flame"] == {"neck", "head", "jaw", "left_eye_smplx", "right_eye_smplx"}
    face = load_fit_model(files["flame"], "face")
    assert named(face) == found["flame"] | {KEYPOINT_NAMES[k] for k in PARTS["face"][:51]}
    assert (face.body.num_betas, face.body.num_expression) == (100, 50)
    assert face.joints.sum() == 6 and face.joints[0]


@pytest.mark.parametrize(("family", "tips"), [("left-hand", "left"), ("right-hand", "right")])
def test_finger_tips_are_vertices_of_the_official_mesh(files: dict[str, Path], family: str, tips: str) -> None:
    with np.load(files[family]) as npz:
        arrays = dict(npz)
    more = 778 - len(arrays["v_template"])
    for key in ("v_template", "shapedirs", "posedirs", "weights"):
        arrays[key] = np.concatenate([arrays[key], np.repeat(arrays[key][:1], more, 0)])
    arrays["J_regressor"] = np.pad(arrays["J_regressor"], [(0, 0), (0, more)])
    path = standins.write_npz(files[family].with_name("official.npz"), arrays)
    model = load_fit_model(path, family)
    body, rest = model.body, np.tile(np.eye(3), (1, 55, 1, 1))
    mesh = posed_mesh(body, rest, np.zeros((1, 10)), np.zeros((1, 0)))
    numbers = {"thumb": 744, "index": 320, "middle": 443, "ring": 554, "pinky": 671}
    for finger, vertex in numbers.items():
        keypoint = INDEX[f"{tips}_{finger}"]
        np.testing.assert_array_equal(mesh.joints[0, keypoint], mesh.vertices[0, vertex])
    assert model.keypoints.sum() == 22


@pytest.mark.parametrize(("family", "name"), [("smpl", "smpl"), ("smplh", "smplh"), ("right-hand", "mano")])
def test_written_fits_can_be_transferred(files: dict[str, Path], tmp_path: Path, family: str, name: str) -> None:
    model = load_model(files[family])
    given = standins.ordinary(model, 2, seed=4)
    pose = np.tile(np.eye(3), (2, 55, 1, 1))
    pose[:, JOINTS[family][:22]] = given.pose[:, :22]
    if family == "smplh":
        pose[:, 25:] = given.pose[:, 22:]
    elif family == "right-hand":
        pose[:, 0], pose[:, 21] = given.pose[:, 0], np.eye(3)
    free = load_model("freebody")
    write_motion(tmp_path / "any.npz", free, Parameters.rest(free, 2), Motion("poses"), "native")
    numbers = {"betas": given.betas, "expression": given.expression, "transl": given.transl}
    people = replace(read_npz(tmp_path / "any.npz"), pose=pose, body_model=name, **numbers)
    write_npz(tmp_path / "fit.npz", people, image_name="", focal_source="given")
    found = read_motion(tmp_path / "fit.npz", read_content(tmp_path / "fit.npz"), model).parameters
    assert found is not None
    mesh = posed_mesh(embed(model).body, pose, given.betas, given.expression).vertices + given.transl[:, None]
    np.testing.assert_allclose(posed_vertices(model, found), mesh, atol=2e-5)
    with pytest.raises(InputError, match="parameters of"):
        read_motion(tmp_path / "fit.npz", read_content(tmp_path / "fit.npz"), load_model(files["flame"]))


def seen_of(model: FitModel, state: State, which: np.ndarray) -> Observed:
    points = keypoints(model.body, state.pose, state.betas, state.expression)[0].astype(float) + state.transl[0]
    labels = np.zeros((144, 3))
    labels[which, :2] = project_perspective(points, FOCAL, np.array(SIZE) / 2)[which]
    labels[which, 2] = 1.0
    return Observed("photo.jpg/0", labels, SIZE, "coco").only(model.keypoints)


def missed(model: FitModel, state: State, seen: Observed) -> float:
    """Mean distance in the picture over the size of what was seen."""
    use = seen.keypoints_px[:, 2] > 0
    found = seen_of(model, state, np.flatnonzero(use)).keypoints_px
    size = np.ptp(seen.keypoints_px[use, :2], axis=0).max()
    return float(np.linalg.norm(found[use, :2] - seen.keypoints_px[use, :2], axis=1).mean() / size)


@pytest.mark.parametrize("family", ["smpl", "smplh", "smplx"])
def test_whole_bodies_are_fitted_and_what_they_lack_stays_at_rest(files: dict[str, Path], family: str) -> None:
    model, rng = load_fit_model(files[family], "whole"), np.random.default_rng(1)
    pose = np.tile(np.eye(3), (1, 55, 1, 1))
    pose[0, 1:22] = PRIORS.body_pose @ rotvec_to_matrix(0.1 * rng.normal(size=(21, 3)))
    pose[0, 0] = np.diag([1.0, -1.0, -1.0])
    truth = State(
        pose, 0.3 * rng.normal(size=(1, 10)), np.zeros((1, model.body.num_expression)), np.array([[0, 0, 4.0]])
    )
    seen = seen_of(model, truth, np.arange(144))
    fitted = fit(model.body, PRIORS, aim_at([seen], np.array([FOCAL])))
    assert missed(model, fitted.state, seen) < 0.02
    settled = model.settled(fitted.state)
    lacking = {"smpl": range(22, 55), "smplh": range(22, 25), "smplx": []}[family]
    assert all((settled.pose[0, joint] == np.eye(3)).all() for joint in lacking)
    meshes = [posed_mesh(model.body, s.pose, s.betas, s.expression).vertices for s in (settled, fitted.state)]
    np.testing.assert_allclose(*meshes, atol=1e-6)


@pytest.mark.parametrize("family", ["left-hand", "right-hand", "smplh"])
def test_hands_are_fitted(files: dict[str, Path], family: str) -> None:
    part = "right-hand" if family == "smplh" else family
    model, rng = load_fit_model(files[family], part), np.random.default_rng(2)
    pose = np.tile(np.eye(3), (1, 55, 1, 1))
    slots = slice(25, 40) if part == "left-hand" else slice(40, 55)
    pose[0, slots] = PRIORS.mean_hand(left=part == "left-hand") @ rotvec_to_matrix(0.1 * rng.normal(size=(15, 3)))
    pose[0, 0] = rotvec_to_matrix(rng.normal(size=3))
    none = np.zeros((1, model.body.num_expression))
    own = PARTS[part.replace("-", "_")]
    at = keypoints(model.body, pose, np.zeros((1, 10)), none)[0, own[:15]].astype(float)
    truth = State(pose, np.zeros((1, 10)), none, np.array([[0.0, 0.0, 0.6]]) - at.mean(0))
    seen = seen_of(model, truth, own)
    fitted = fit_lone(model.body, PRIORS, aim_at([seen], np.array([FOCAL])), part)
    assert missed(model, fitted.state, seen) < 0.02


def test_faces_are_fitted(files: dict[str, Path]) -> None:
    model = load_fit_model(files["flame"], "face")
    pose = np.tile(np.eye(3), (1, 55, 1, 1))
    pose[0, 0] = np.diag([1.0, -1.0, -1.0]) @ rotvec_to_matrix(np.array([0.1, 0.3, 0.0]))
    shape = np.zeros((1, 100)), np.zeros((1, 50))
    at = keypoints(model.body, pose, *shape)[0, 76:127].astype(float)
    truth = State(pose, *shape, np.array([[0.0, 0.0, 0.8]]) - at.mean(0))
    seen = seen_of(model, truth, PARTS["face"])
    fitted = fit_lone(model.body, PRIORS, aim_at([seen], np.array([FOCAL])), "face")
    assert missed(model, fitted.state, seen) < 0.01


@pytest.mark.parametrize(
    ("family", "part", "told"),
    [
        ("smpl", "left-hand", "SMPL, with --part left-hand"),
        ("smpl", "face", "SMPL, with --part face"),
        ("smplh", "face", "SMPL-H, with --part face"),
        ("right-hand", "left-hand", r"a right hand \(MANO\), with --part left-hand"),
        ("flame", "whole", "FLAME, with --part whole"),
        ("left-hand", "face", r"a left hand \(MANO\), with --part face"),
    ],
)
def test_models_that_lack_the_part_are_told(files: dict[str, Path], family: str, part: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        load_fit_model(files[family], part)


def test_a_face_without_landmarks_is_told(files: dict[str, Path], tmp_path: Path) -> None:
    alone = tmp_path / "flame.pkl"
    alone.write_bytes(files["flame"].read_bytes())
    with pytest.raises(InputError, match=r"flame_static_embedding\.pkl"):
        load_fit_model(alone, "face")
    beside = tmp_path / "flame_static_embedding.pkl"
    beside.write_bytes(pickle.dumps({"lmk_face_idx": np.arange(51)}))
    with pytest.raises(InputError, match="no landmarks"):
        load_fit_model(alone, "face")
    beside.write_bytes(pickle.dumps({"lmk_face_idx": np.full(51, 10**7), "lmk_b_coords": np.ones((51, 3))}))
    with pytest.raises(InputError, match="lmk_faces_idx"):
        load_fit_model(alone, "face")


def test_the_free_body_has_everything(files: dict[str, Path], tmp_path: Path) -> None:
    model = load_fit_model(None, "whole")
    assert model.keypoints.all() and model.joints.all() and model.body.name == "freebody"
    assert (model.body.num_betas, model.body.num_expression) == (10, 20)
    assert not is_smplx_npz(files["smpl"]) and not is_smplx_npz(files["smplx"])
    with pytest.raises(InputError, match="not a file"):
        is_smplx_npz(tmp_path / "absent.npz")
    whole = embed(load_model("freebody"))
    given = standins.ordinary(load_model("freebody"), 1)
    both = [posed_mesh(m, given.pose, given.betas, given.expression).vertices for m in (whole.body, load_body_model())]
    np.testing.assert_allclose(*both, atol=1e-5)
