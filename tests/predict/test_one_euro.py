"""The causal smoother: a One-Euro filter of rotations and places, one state a person."""

from dataclasses import fields, replace

import numpy as np
import pytest
from tests.predict.moving import MODEL, angles_between, joints, people_of, standing
from tests.predict.test_smoothing import ELBOW, FPS, SHOULDER, WRIST, noisy, waving

from openexpose.errors import InputError
from openexpose.evaluation.metrics import jitter
from openexpose.motion import joined
from openexpose.people import People
from openexpose.predict.one_euro import CAUSAL, SLOPES
from openexpose.predict.smoothing import CausalSmoother


def run(people: People, strength: float = 0.5, times: np.ndarray | None = None) -> People:
    """Frame after frame, as track 1."""
    smoother = CausalSmoother(MODEL, strength)
    times = np.arange(len(people)) / FPS if times is None else times
    return joined([smoother(np.array([1]), float(time), people[k : k + 1]) for k, time in enumerate(times)])


def scalar_one_euro(values: np.ndarray, times: np.ndarray, cutoff: float, slope: float) -> np.ndarray:
    """The paper's filter of one number."""

    def alpha(hz: float, step: float) -> float:
        return 1 / (1 + 1 / (2 * np.pi * hz * step))

    found, speed = [values[0]], 0.0
    for value, step in zip(values[1:], np.diff(times), strict=True):
        share = alpha(1.0, step)
        speed = share * (value - found[-1]) / step + (1 - share) * speed
        share = alpha(cutoff + slope * abs(speed), step)
        found.append(share * value + (1 - share) * found[-1])
    return np.array(found)


def test_about_one_axis_it_is_the_papers_filter() -> None:
    """Beyond half turns, too, at uneven times."""
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.uniform(0.02, 0.05, 100))
    angle = 4.0 * np.sin(2 * np.pi * 0.4 * times) + rng.normal(0, 0.05, 100)
    rotvec, transl = standing(100)
    rotvec[:, ELBOW, 1] = angle
    found = run(people_of(rotvec, transl), times=times).pose[:, ELBOW]
    expected = scalar_one_euro(angle, times, CAUSAL.arms, SLOPES.arms)
    rotvec[:, ELBOW, 1] = expected
    assert angles_between(found, people_of(rotvec, transl).pose[:, ELBOW]).max() < 0.01


def test_strength_0_changes_no_bit() -> None:
    people = noisy(waving(10, 2.0))
    same = run(people, 0.0)
    for field in fields(People):
        np.testing.assert_array_equal(getattr(same, field.name), getattr(people, field.name))


def test_noise_goes_and_quick_motion_stays() -> None:
    true = waving(240, 2.5)
    people = noisy(true)
    aim, raw, soft = (joints(each)[:, :22] for each in (true, people, run(people)))
    assert jitter(soft, FPS).mean() < jitter(raw, FPS).mean() / 3
    kept = joints(run(true))[:, :22]
    for wrist in (WRIST, WRIST + 1):
        ranges = [np.ptp((points[:, wrist] - points[:, 0])[30:-30], axis=0).max() for points in (aim, kept)]
        assert ranges[1] > 0.95 * ranges[0]


def test_who_stands_still_is_left_in_place() -> None:
    people = people_of(*standing(30))
    result = run(people)
    assert angles_between(result.pose, people.pose).max() < 1e-3
    np.testing.assert_allclose(result.transl, people.transl, atol=1e-6)


def test_it_never_turns_farther_than_it_must() -> None:
    """Somebody who turns through 180 degrees with noise about it: each step stays a small one."""
    rotvec, transl = standing(90)
    rotvec[:, 0, 1] = np.linspace(2.6, 3.7, 90) + np.random.default_rng(1).normal(0, 0.1, 90)
    rotvec[:, SHOULDER, 2] = np.pi + np.random.default_rng(2).normal(0, 0.1, 90)
    result = run(people_of(rotvec, transl)).pose
    assert angles_between(result[1:], result[:-1]).max() < 15.0


def test_people_do_not_mix() -> None:
    """Two tracks that come and go in any order of rows are smoothed as each alone."""
    first, second = noisy(waving(30, 1.0), 1), noisy(waving(30, 2.0), 2)
    smoother, rows = CausalSmoother(MODEL), []
    for k in range(30):
        both = joined([second[k : k + 1], first[k : k + 1]]) if k % 2 else joined([first[k : k + 1], second[k : k + 1]])
        ids = [4, 9] if k % 2 == 0 else [9, 4]
        result = smoother(np.array(ids), k / FPS, both)
        rows.append(result[ids.index(9) : ids.index(9) + 1])
    np.testing.assert_array_equal(joined(rows).pose, run(second).pose)


@pytest.mark.parametrize("how", ["forgotten", "away for long"])
def test_who_comes_back_starts_fresh(how: str) -> None:
    people = noisy(waving(20, 1.0))
    smoother = CausalSmoother(MODEL)
    for k in range(10):
        smoother(np.array([3]), k / FPS, people[k : k + 1])
    if how == "forgotten":
        smoother.forget(np.array([3, 8]))
    time = 10 / FPS if how == "forgotten" else 9 / FPS + 0.6
    result = smoother(np.array([3]), time, people[15:16])
    assert angles_between(result.pose, people.pose[15:16]).max() < 1e-3


def test_the_shape_settles() -> None:
    people = noisy(waving(120, 1.0))
    shapes = run(people).betas
    assert np.abs(np.diff(shapes[60:], axis=0)).max() < 0.1 * np.abs(np.diff(people.betas, axis=0)).max()
    assert np.abs(shapes[-1]).max() < 0.3


def test_unseen_samples_pull_less() -> None:
    rotvec, transl = standing(30)
    people = people_of(rotvec, transl)
    rotvec[15:17, ELBOW, 2] = 1.0
    bent, unseen = people_of(rotvec, transl), people.joint_confidence.copy()
    unseen[15:17, WRIST] = 0.02
    pulled = [run(each).pose[16, ELBOW] for each in (bent, replace(bent, joint_confidence=unseen))]
    sure, doubted = (angles_between(each, people.pose[16, ELBOW]) for each in pulled)
    assert doubted < 0.2 * sure


def test_impossible_calls_are_refused() -> None:
    people = people_of(*standing(2))
    smoother = CausalSmoother(MODEL)
    smoother(np.array([1, 2]), 1.0, people)
    for ids, time in (([1, 1], 2.0), ([1], 2.0), ([1, 2], 1.0), ([1, 2], 0.5)):
        with pytest.raises(InputError):
            smoother(np.array(ids), time, people)
    with pytest.raises(InputError):
        CausalSmoother(MODEL, 2.0)
    assert len(smoother(np.zeros(0, int), 3.0, people[:0])) == 0
