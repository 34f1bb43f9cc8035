"""From one model to another and back, on stand-ins for the licensed models."""

from dataclasses import replace

import numpy as np
import pytest
from tests.fitting import standins

from openexpose.errors import InputError
from openexpose.fitting.correspondence import Correspondence, turned_round
from openexpose.fitting.models import SkinnedModel, load_model
from openexpose.fitting.transfer import find_correspondence, round_trip, transfer
from openexpose.fitting.transfer_skin import Parameters, posed_vertices


@pytest.fixture(scope="module")
def body() -> SkinnedModel:
    return load_model("freebody")


@pytest.fixture(scope="module")
def smpl(tmp_path_factory: pytest.TempPathFactory) -> tuple[SkinnedModel, np.ndarray]:
    """A stand-in with SMPL's joints, other topology, rest pose and shape space; the free body's vertices in it."""
    arrays = standins.standin("smpl", cell_m=0.016)
    path = tmp_path_factory.mktemp("models") / "SMPL_NEUTRAL.pkl"
    return load_model(standins.write_pkl(path, arrays)), arrays["rows"]


def part(family: str, folder, cell_m: float) -> tuple[SkinnedModel, np.ndarray]:
    arrays = standins.standin(family, cell_m=cell_m)
    return load_model(standins.write_npz(folder / f"{family}.npz", arrays)), arrays["rows"]


def body_poses(body: SkinnedModel, frames: int) -> Parameters:
    """Without fingers and face, which SMPL does not have."""
    given = standins.ordinary(body, frames)
    given.pose[:, 22:] = np.eye(3)
    given.expression[:] = 0.0
    return given


def test_the_same_model_comes_back_exactly(body: SkinnedModel) -> None:
    given = standins.ordinary(body, 2)
    way = find_correspondence(body, body)
    done = transfer(body, body, given, way)
    assert done.fit.mean_mm < 0.01 and done.fit.max_mm < 0.5
    assert np.abs(posed_vertices(body, done.parameters) - posed_vertices(body, given)).mean() < 1e-5


def test_freebody_to_smpl_and_back(body: SkinnedModel, smpl) -> None:
    model, rows = smpl
    given = body_poses(body, 4)
    way = standins.counterpart(rows, body.num_vertices)
    done = transfer(body, model, given, way)
    assert done.fit.mean_mm < 2.5 and done.frame_mean_mm.shape == (4,)
    assert round_trip(body, model, given, done.parameters, way).mean_mm < 2.0


def test_smpl_to_freebody_by_registration(body: SkinnedModel, smpl) -> None:
    model, rows = smpl
    way = find_correspondence(model, body)
    given = standins.ordinary(model, 3, seed=2)
    given.pose[:, 22:] = np.eye(3)
    done = transfer(model, body, given, way)
    true = np.linalg.norm(posed_vertices(body, done.parameters)[:, rows] - posed_vertices(model, given), axis=-1)
    fingers = body.weights.toarray().argmax(1) >= 25
    assert fingers.sum() > 1000 and not fingers[way.rows].any()
    assert done.fit.mean_mm < 3.0 and true.mean() * 1e3 < 6.0
    assert round_trip(model, body, given, done.parameters, way).mean_mm < 2.0
    assert (done.parameters.pose[:, 22:] == np.eye(3)).all() and not done.parameters.expression.any()


def test_one_shape_of_a_sequence(body: SkinnedModel, smpl) -> None:
    model, rows = smpl
    given = body_poses(body, 4)
    given = replace(given, betas=np.tile(given.betas[:1], (4, 1)))
    way = standins.counterpart(rows, body.num_vertices)
    told: list[int] = []
    done = transfer(body, model, given, way, one_shape=True, progress=told.append)
    assert np.ptp(done.parameters.betas, axis=0).max() == 0.0 and told == [4]
    assert done.fit.mean_mm < 3.0


def test_meshes_instead_of_parameters(body: SkinnedModel, smpl) -> None:
    model, rows = smpl
    given = body_poses(body, 1)
    way = standins.counterpart(rows, body.num_vertices)
    by_mesh = transfer(body, model, posed_vertices(body, given), way).parameters
    assert np.abs(by_mesh.pose - transfer(body, model, given, way).parameters.pose).max() < 1e-4


@pytest.mark.parametrize(("family", "cell_m"), [("right-hand", 0.007), ("flame", 0.009)])
def test_a_part_goes_into_the_body(family: str, cell_m: float, body: SkinnedModel, tmp_path) -> None:
    model, rows = part(family, tmp_path, cell_m)
    way = turned_round(standins.counterpart(rows, body.num_vertices), body, model)
    given = standins.ordinary(model, 2)
    given = replace(given, betas=0.3 * given.betas)
    done = transfer(model, body, given, way)
    own = [0, *model.joints[1:]]
    still = np.setdiff1d(np.arange(55), own)
    assert done.fit.mean_mm < 1.5 and (done.parameters.pose[:, still] == np.eye(3)).all()
    error = round_trip(model, body, given, done.parameters, way)
    assert error.mean_mm < 1.5
    truth = np.linalg.norm(posed_vertices(body, done.parameters)[:, rows] - posed_vertices(model, given), axis=-1)
    assert np.median(truth) < 2e-3


def test_a_hand_comes_out_of_the_body(body: SkinnedModel, tmp_path) -> None:
    model, rows = part("left-hand", tmp_path, 0.008)
    given = standins.ordinary(body, 2)
    done = transfer(body, model, given, standins.counterpart(rows, body.num_vertices))
    assert done.fit.mean_mm < 1.5
    fingers = np.einsum("fjba,fjbc->fjac", given.pose[:, 25:40], done.parameters.pose[:, 1:])
    assert np.degrees(np.arccos(np.clip((np.trace(fingers, axis1=2, axis2=3) - 1) / 2, -1, 1))).mean() < 5.0


def test_nothing_given(body: SkinnedModel) -> None:
    way: Correspondence = find_correspondence(body, body)
    with pytest.raises(InputError, match="no frames"):
        transfer(body, body, Parameters.rest(body, 0), way)
