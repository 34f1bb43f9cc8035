"""Fits of lone hands and faces: what is recovered, what stays at rest, and where they lie in People's convention."""

from dataclasses import replace

import numpy as np
import pytest

from openexpose.body.keypoints import PARTS
from openexpose.body.mesh import keypoints, posed_mesh
from openexpose.body.model import load_body_model
from openexpose.errors import InputError
from openexpose.fitting.fit import aim_at
from openexpose.fitting.lone import LONE_PARTS, _begin, alone, fit_lone, less_contour
from openexpose.fitting.objective import Aim
from openexpose.fitting.observed import Observed
from openexpose.fitting.penalties import Priors
from openexpose.fitting.result import people_of
from openexpose.fitting.state import State
from openexpose.formats.native import part_keypoints
from openexpose.geometry.camera import project_perspective
from openexpose.geometry.procrustes import align_similarity
from openexpose.geometry.rotation import rotvec_to_matrix

MODEL, PRIORS = load_body_model(num_betas=6, num_expression=5), Priors.load()
FOCAL, SIZE = 500.0, (400, 300)
PART_NAMES = ("face", "left-hand", "right-hand")


def lone(part: str, seed: int = 0) -> State:
    """A part somewhere before the camera, as People holds it: the rest of the body is at rest."""
    rng = np.random.default_rng(seed)
    pose = np.tile(np.eye(3), (1, 55, 1, 1))
    if part == "face":
        pose[0, 22] = rotvec_to_matrix(np.array([0.25, 0.0, 0.0]))
        pose[0, 0] = np.diag([1.0, -1.0, -1.0]) @ rotvec_to_matrix(rng.uniform(-0.5, 0.5, 3))
    else:
        fingers = PRIORS.mean_hand(left=part == "left-hand")
        slots = slice(25, 40) if part == "left-hand" else slice(40, 55)
        pose[0, slots] = fingers @ rotvec_to_matrix(0.15 * rng.normal(size=(15, 3)))
        pose[0, 0] = rotvec_to_matrix(rng.normal(size=3))
    betas, expression = 0.4 * rng.normal(size=(1, 6)), 0.5 * rng.normal(size=(1, 5)) * (part == "face")
    points = keypoints(MODEL, pose, betas, expression)[0, part_keypoints(part)].astype(float)
    return State(pose, betas, expression, np.array([[0.02, -0.01, 0.7]]) - points.mean(0))


def points_of(state: State, part: str) -> np.ndarray:
    points = keypoints(MODEL, state.pose, state.betas, state.expression)[0].astype(float) + state.transl[0]
    return points[part_keypoints(part)]


def seen_of(state: State, part: str, name: str = "photo.jpg/0") -> Observed:
    labels = np.zeros((144, 3))
    plane = project_perspective(points_of(state, part), FOCAL, np.array(SIZE) / 2)
    labels[part_keypoints(part)] = np.c_[plane, np.ones(len(plane))]
    return Observed(name, labels, SIZE, "openpose")


def aim_of(*observed: Observed) -> Aim:
    return aim_at(observed, np.full(len(observed), FOCAL))


def errors(found: State, truth: State, part: str) -> tuple[float, float]:
    """Of landmarks in the picture over the part's size in it, and of aligned points, mm."""
    mine, its = points_of(found, part), points_of(truth, part)
    planes = [project_perspective(points, FOCAL, np.array(SIZE) / 2) for points in (mine, its)]
    across = np.linalg.norm(planes[0] - planes[1], axis=1).mean() / np.ptp(planes[1], axis=0).max()
    return across, 1000 * np.linalg.norm(align_similarity(mine[None], its[None])[0] - its, axis=1).mean()


@pytest.mark.parametrize("part", PART_NAMES)
def test_parts_are_found_from_the_mean_pose_and_the_rest_stays_at_rest(part: str) -> None:
    truth = [lone(part, seed) for seed in range(3)]
    fitted = fit_lone(MODEL, PRIORS, aim_of(*(seen_of(one, part) for one in truth)), part)
    for k, one in enumerate(truth):
        across, apart_mm = errors(fitted.state[np.array([k])], one, part)
        assert across < 0.02 and apart_mm < 6.0
    stays = np.setdiff1d(np.arange(55), LONE_PARTS[part].joints)
    np.testing.assert_allclose(fitted.state.pose[:, stays], np.tile(np.eye(3), (3, len(stays), 1, 1)), atol=1e-12)
    assert (fitted.steps > 3).all() and fitted.seconds > 0


@pytest.mark.parametrize("part", PART_NAMES)
def test_a_fit_from_a_good_answer_is_better_than_it(part: str) -> None:
    truth = lone(part, 5)
    rng = np.random.default_rng(1)
    step = np.zeros((1, truth.layout.size))
    step[:, truth.layout.turns(np.array(LONE_PARTS[part].joints[1:])).ravel()] = 0.1 * rng.normal()
    answer = truth.moved(step)
    answer.transl[:] += [0.01, 0.0, 0.05]
    fitted = fit_lone(MODEL, PRIORS, aim_of(seen_of(truth, part)), part, start=answer)
    assert errors(fitted.state, truth, part)[0] < 0.3 * errors(answer, truth, part)[0]


def test_an_answer_that_looks_the_wrong_way_is_left() -> None:
    truth = lone("face", 2)
    turned = truth.pose.copy()
    turned[:, 0] = turned[:, 0] @ rotvec_to_matrix(np.array([0.0, 2.6, 0.0]))
    answer = State(turned, truth.betas, truth.expression, truth.transl)
    fitted = fit_lone(MODEL, PRIORS, aim_of(seen_of(truth, "face")), "face", start=answer)
    assert errors(fitted.state, truth, "face")[0] < 0.02


def test_the_full_method_goes_down_as_far() -> None:
    pytest.importorskip("scipy")
    truth, part = lone("right-hand", 3), "right-hand"
    aim = aim_of(seen_of(truth, part))
    fast, full = (fit_lone(MODEL, PRIORS, aim, part, start=truth, method=method) for method in ("fast", "full"))
    assert full.energy[0] < 1.02 * fast.energy[0]


@pytest.mark.parametrize("part", PART_NAMES)
def test_the_model_of_a_part_is_turned_about_its_root(part: str) -> None:
    state, turning = lone(part, 4), alone(MODEL, part)
    both = [keypoints(model, state.pose, state.betas, state.expression)[0].astype(float) for model in (MODEL, turning)]
    own = part_keypoints(part)
    shape = [points[own] - points[own].mean(0) for points in both]
    np.testing.assert_allclose(*shape, atol=2e-6)
    root = LONE_PARTS[part].root
    turned = state.pose.copy()
    turned[:, 0] = np.eye(3)
    there = keypoints(turning, turned, state.betas, state.expression)[0, root]
    np.testing.assert_allclose(both[1][root], there, atol=1e-6)


def test_fits_begin_where_the_keypoints_are_also_of_other_shapes() -> None:
    truth = lone("face", 2)
    shaped = replace(truth, betas=np.full_like(truth.betas, 2.0))
    turning, part, aim = alone(MODEL, "face"), LONE_PARTS["face"], aim_of(seen_of(shaped, "face"))
    starts, _ = _begin(turning, part, shaped, aim)
    points = keypoints(turning, starts.pose, starts.betas, starts.expression).astype(float) + starts.transl[:, None]
    own = part_keypoints("face")
    middle = project_perspective(points[:, own], FOCAL, np.array(SIZE) / 2).mean(1)
    labels = aim.keypoints_px[0, own, :2]
    assert np.linalg.norm(middle - labels.mean(0), axis=1).max() < 0.1 * np.ptp(labels, axis=0).max()


def test_several_are_fitted_as_each_would_be_alone() -> None:
    seen = [seen_of(lone("left-hand", seed), "left-hand") for seed in (1, 2)]
    together = fit_lone(MODEL, PRIORS, aim_of(*seen), "left-hand").state
    for k, one in enumerate(seen):
        single = fit_lone(MODEL, PRIORS, aim_of(one), "left-hand").state
        np.testing.assert_allclose(together.pose[k], single.pose[0], atol=1e-6)
        np.testing.assert_allclose(together.transl[k], single.transl[0], atol=1e-6)


def test_too_little_to_begin_with_is_told() -> None:
    labels = np.zeros((144, 3))
    labels[PARTS["left_hand"][:3]] = [[1, 1, 1], [9, 9, 1], [5, 9, 1]]
    with pytest.raises(InputError, match="3 keypoints of a left-hand"):
        fit_lone(MODEL, PRIORS, aim_of(Observed("p/0", labels, SIZE, "coco")), "left-hand")


@pytest.mark.parametrize("part", PART_NAMES)
def test_the_record_is_that_of_a_predicted_part(part: str) -> None:
    truth = lone(part)
    people = people_of(MODEL, truth, [seen_of(truth, part)], FOCAL, part=part)
    assert people.part == part and people.part_confidence[0].tolist().count(0.0) == 3
    mesh = posed_mesh(MODEL, people.pose, people.betas, people.expression)
    plane = project_perspective(mesh.joints[0] + people.transl[0], FOCAL, people.principal_px)
    own = part_keypoints(part)
    np.testing.assert_allclose(plane[own], seen_of(truth, part).keypoints_px[own, :2], atol=0.01)
    scale, shift = people.crop_camera[0, 0], people.crop_camera[0, 1:]
    root = mesh.joints[0, LONE_PARTS[part].root].astype(float)
    inside = scale * (mesh.joints[0, own, :2] - root[:2] + shift)
    middle = np.abs(inside).max()
    assert 0.35 < middle < 0.75, "the crop has twice the size of the part"


def test_a_trunks_contour_counts_half() -> None:
    seen = seen_of(lone("face"), "face")
    less = less_contour(seen)
    assert (less.keypoints_px[127:, 2] == 0.5).all() and (less.keypoints_px[76:127, 2] == 1.0).all()
    np.testing.assert_array_equal(less.keypoints_px[:, :2], seen.keypoints_px[:, :2])
