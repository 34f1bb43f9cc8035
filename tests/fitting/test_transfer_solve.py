"""The fit of a skinned model to vertices: derivatives, exactness, one shape, the closed form."""

from dataclasses import replace

import numpy as np
import pytest
from tests.fitting import standins

from openexpose.errors import InputError
from openexpose.fitting.models import SkinnedModel, load_model
from openexpose.fitting.transfer_equations import Equations
from openexpose.fitting.transfer_skin import Parameters, pose_skeleton, pose_vertices, posed_vertices
from openexpose.fitting.transfer_solve import VertexFitter
from openexpose.geometry.rotation import rotvec_to_matrix


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> SkinnedModel:
    """A model with everything: blend shapes of shape, expression and pose."""
    path = tmp_path_factory.mktemp("models") / "head.npz"
    return load_model(standins.write_npz(path, standins.standin("flame", cell_m=0.009)))


def head_poses(head: SkinnedModel, frames: int) -> Parameters:
    """The coarse head has no eyeballs that would tell about the eyes."""
    given = standins.ordinary(head, frames)
    given.pose[:, 3:] = np.eye(3)
    return given


def turned(parameters: Parameters, joint: int, turn: np.ndarray, model: SkinnedModel) -> Parameters:
    """A joint and all below it turned about world axes."""
    above = np.eye(3) if joint == 0 else pose_skeleton(model, parameters).rotations[0, model.parents[joint]]
    pose = parameters.pose.copy()
    pose[0, joint] = above.T @ rotvec_to_matrix(turn) @ above @ pose[0, joint]
    return replace(parameters, pose=pose)


def test_the_gradient_is_the_numerical_one(head: SkinnedModel) -> None:
    given = standins.ordinary(head, 1, seed=3)
    goal = posed_vertices(head, standins.ordinary(head, 1, seed=4))
    equations = Equations(head, np.arange(5), head.num_expression, head.num_betas)

    def half_squares(parameters: Parameters) -> float:
        return 0.5 * float(((goal - posed_vertices(head, parameters)) ** 2).sum())

    skeleton = pose_skeleton(head, given)
    skinned = pose_vertices(head, given, skeleton)
    residual = (goal - skinned.vertices - given.transl[:, None]).astype(np.float32)
    gradient = equations.gradient(given, skeleton, skinned, residual)[0]
    step, found = 1e-3, []
    for joint in range(5):
        for axis in np.eye(3):
            ahead, back = (half_squares(turned(given, joint, sign * step * axis, head)) for sign in (1, -1))
            found.append((back - ahead) / (2 * step))
    for name in ("transl", "expression", "betas"):
        for k in range(getattr(given, name).shape[1]):
            moved = [getattr(given, name) + sign * step * np.eye(getattr(given, name).shape[1])[k] for sign in (1, -1)]
            ahead, back = (half_squares(replace(given, **{name: value})) for value in moved)
            found.append((back - ahead) / (2 * step))
    np.testing.assert_allclose(gradient, found, rtol=2e-3, atol=2e-3 * np.abs(found).max())


def test_the_matrix_is_near_the_product_of_the_derivatives(head: SkinnedModel) -> None:
    """With every vertex as its own representative it is exact."""
    given = standins.ordinary(head, 1, seed=5)
    equations = Equations(head, np.arange(5), head.num_expression, head.num_betas)
    skeleton = pose_skeleton(head, given)
    matrix = equations.matrix(given, skeleton, pose_vertices(head, given, skeleton))[0]
    step, columns = 1e-3, []
    for joint in range(5):
        for axis in np.eye(3):
            ahead, back = (posed_vertices(head, turned(given, joint, s * step * axis, head)) for s in (1, -1))
            columns.append(((ahead - back) / (2 * step)).ravel())
    true = np.array(columns) @ np.array(columns).T
    scale = np.sqrt(np.diag(true))
    difference = np.abs(matrix[:15, :15] - true) / scale / scale[:, None]
    assert difference.max() < 0.25
    assert np.linalg.eigvalsh(matrix).min() > 0.0


def test_own_vertices_come_back_exactly() -> None:
    model = load_model("freebody")
    given = standins.ordinary(model, 3)
    fit = VertexFitter(model, np.arange(model.num_vertices)).fit(posed_vertices(model, given))
    assert fit.errors_m.mean() < 1e-5
    assert np.abs(fit.parameters.betas - given.betas).max() < 0.05
    assert np.abs(fit.parameters.pose[:, :22] - given.pose[:, :22]).max() < 0.02


def test_one_shape_for_all_frames(head: SkinnedModel) -> None:
    given = head_poses(head, 5)
    given = replace(given, betas=np.tile(given.betas[:1], (5, 1)))
    fit = VertexFitter(head, np.arange(head.num_vertices)).fit(posed_vertices(head, given), shared=True)
    assert np.ptp(fit.parameters.betas, axis=0).max() == 0.0
    assert fit.errors_m.mean() < 1e-5 and np.abs(fit.parameters.expression - given.expression).max() < 0.1


def test_the_closed_form_finds_a_rigid_motion(head: SkinnedModel) -> None:
    rest = Parameters.rest(head, 2)
    rest.pose[:, 0] = rotvec_to_matrix(np.array([[2.0, 1.0, 0.5], [-1.0, 2.5, 0.0]]))
    found = VertexFitter(head, np.arange(head.num_vertices)).start(posed_vertices(head, rest).astype(np.float32))
    assert np.abs(found.pose - rest.pose).max() < 1e-4


def test_far_places_cost_no_precision(head: SkinnedModel) -> None:
    given = head_poses(head, 1)
    given = replace(given, transl=np.array([[50.0, -20.0, 400.0]]))
    fit = VertexFitter(head, np.arange(head.num_vertices)).fit(posed_vertices(head, given))
    assert fit.errors_m.mean() < 1e-5 and np.abs(fit.parameters.transl - given.transl).max() < 1e-3


def test_joints_that_no_vertex_tells_about_stay_at_rest() -> None:
    model = load_model("freebody")
    rows = np.flatnonzero(model.weights[:, :3].toarray().sum(1) > 0.99)
    given = standins.ordinary(model, 1)
    fit = VertexFitter(model, rows).fit(posed_vertices(model, given)[:, rows])
    assert (fit.parameters.pose[0, 25:] == np.eye(3)).all() and fit.errors_m.mean() < 1e-4


def test_bad_targets(head: SkinnedModel) -> None:
    fitter = VertexFitter(head, np.arange(100))
    with pytest.raises(InputError, match="targets of shape"):
        fitter.fit(np.zeros((1, 99, 3)))
    with pytest.raises(InputError, match="not finite"):
        fitter.fit(np.full((1, 100, 3), np.nan))
    with pytest.raises(InputError, match="2 vertices"):
        VertexFitter(head, np.arange(2))
