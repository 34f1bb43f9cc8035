"""Scores against errors that were put in."""

from dataclasses import replace

import numpy as np
import pytest
from tests.curation.fits import model, record, state

from openexpose.body.keypoints import INDEX, PARTS
from openexpose.body.mesh import keypoints
from openexpose.curation.scores import badness, scores
from openexpose.curation.store import FitRecord
from openexpose.fitting.penalties import Priors
from openexpose.fitting.state import State
from openexpose.geometry.rotation import rotvec_to_matrix


@pytest.fixture(scope="module")
def priors() -> Priors:
    """The packaged ones."""
    return Priors.load()


def test_a_fit_on_its_keypoints_from_two_starts_that_agree(priors: Priors) -> None:
    found = scores(model(), priors, record(1))
    for part in ("body", "left_hand", "right_hand", "face"):
        assert found[f"{part}_reprojection"] == pytest.approx(0.0, abs=1e-5)
        assert found[f"{part}_seen"] == pytest.approx(0.9)
    assert found["starts_apart_mm"] == found["hands_apart_mm"] == found["answer_apart_mm"] == pytest.approx(0, abs=0.01)
    assert badness(found) < 0.15


def test_what_was_not_seen_has_no_score(priors: Priors) -> None:
    found = scores(model(), priors, record(1, hidden=("left_hand", "face")))
    assert not {"left_hand_reprojection", "face_reprojection"} & found.keys()
    assert found["left_hand_seen"] == 0.0 and found["right_hand_reprojection"] == pytest.approx(0.0, abs=1e-5)


def test_keypoints_that_are_off_are_off_by_that_share(priors: Priors) -> None:
    """Moved by 5 % of the person's size; neck and hips, which lie elsewhere in other skeletons, count for nothing."""
    fit = record(1)
    size = float(np.ptp(fit.keypoints_px[:, :2], axis=0).max())
    moved = fit.keypoints_px.copy()
    moved[PARTS["right_hand"][1:], 0] += 0.05 * size
    moved[[INDEX["neck"], INDEX["left_hip"], INDEX["right_hip"]], :2] += 0.2
    found = scores(model(), priors, replace(fit, keypoints_px=moved))
    assert found["right_hand_reprojection"] == pytest.approx(0.05, rel=0.03)
    assert found["body_reprojection"] == pytest.approx(0.0, abs=1e-5)


def test_starts_that_part_are_as_far_apart_as_procrustes_leaves_them(priors: Priors) -> None:
    fit, other = record(1), state(2)
    found = scores(model(), priors, replace(fit, from_mean=other))
    points = [
        keypoints(model(), one.pose, one.betas, one.expression)[0, :22].astype(float) for one in (state(1), other)
    ]
    a, b = (one - one.mean(0) for one in points)
    u, singular, vt = np.linalg.svd(a.T @ b)
    flip = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    scale = (singular * np.diag(flip)).sum() / (a**2).sum()
    expected = 1000 * np.linalg.norm(scale * a @ u @ flip @ vt - b, axis=1).mean()
    assert found["starts_apart_mm"] == pytest.approx(expected, rel=1e-3)
    assert found["answer_apart_mm"] == pytest.approx(0.0, abs=0.01)


def test_crossed_legs_penetrate_and_strange_poses_cost(priors: Priors) -> None:
    def of(turn: dict[str, tuple[float, float, float]]) -> dict[str, float]:
        pose = state(0, 0.0).pose
        for name, vector in turn.items():
            pose[0, INDEX[name]] = rotvec_to_matrix(np.array(vector))
        still = State(pose, np.zeros((1, 10)), np.zeros((1, 20)), np.array([[0.0, 0.0, 3.0]]))
        fit = record(0)
        people = replace(fit.people, pose=pose.astype(np.float32), betas=still.betas, expression=still.expression)
        return scores(model(), priors, FitRecord(people, fit.keypoints_px, fit.source, still, still, still))

    rest = of({"left_shoulder": (0, 0, -1.0), "right_shoulder": (0, 0, 1.0)})
    through = of({"left_hip": (0, 0, -0.25), "right_hip": (0, 0, 0.25)})
    assert rest["penetration_mm"] == 0.0 and through["penetration_mm"] > 20.0
    assert of({"left_knee": (-1.5, 0, 0)})["prior"] > rest["prior"] + 20.0


def test_badness_grows_with_every_error() -> None:
    good = {"body_seen": 0.5, "body_reprojection": 0.01, "starts_apart_mm": 50.0, "answer_apart_mm": 25.0}
    assert badness(good) == pytest.approx(0.65, abs=0.1), "65 mm expected: as measured"
    for name, value in {"body_seen": 0.2, "body_reprojection": 0.1, "starts_apart_mm": 300.0}.items():
        assert badness(good | {name: value}) > badness(good)
    assert np.isfinite(badness({"body_seen": 0.5}))
