"""Smoothing without lag: what stays, what goes, and what is not believed."""

from dataclasses import fields, replace

import numpy as np
import pytest
from tests.predict.moving import MODEL, angles_between, joints, people_of, standing, track_of

from openexpose.errors import InputError
from openexpose.evaluation.metrics import jitter
from openexpose.geometry.boxes import Crop
from openexpose.geometry.camera import project_perspective, project_weak, view_rotation
from openexpose.geometry.rotation import rotation_about_z, rotvec_to_matrix
from openexpose.motion import Track
from openexpose.people import People
from openexpose.predict import smoothing
from openexpose.predict.placement import reshaped
from openexpose.predict.smoothing import smooth

ELBOW, WRIST, SHOULDER = 18, 20, 16
FPS = 30.0


def noisy(people: People, seed: int = 0, size: float = 1.0) -> People:
    """White and correlated noise as networks have it: depth far worse than the place in the picture."""
    rng = np.random.default_rng(seed)

    def noise(*shape: int) -> np.ndarray:
        white = rng.normal(size=(len(people), *shape))
        slow = np.zeros_like(white)
        for k in range(1, len(people)):
            slow[k] = 0.7 * slow[k - 1] + 0.5 * white[k]
        return size * slow

    return replace(
        people,
        pose=people.pose @ rotvec_to_matrix(0.04 * noise(55, 3)),
        betas=people.betas + 0.3 * noise(10),
        expression=people.expression + 0.3 * noise(20),
        transl=people.transl + noise(3) * [0.005, 0.005, 0.05],
    )


def waving(count: int, hz: float) -> People:
    """Both forearms swing, the trunk turns a little, the person comes slowly nearer."""
    rotvec, transl = standing(count)
    times = np.arange(count) / FPS
    rotvec[:, [SHOULDER, SHOULDER + 1], 2] = 0.5 * np.sin(2 * np.pi * hz * times)[:, None]
    rotvec[:, [ELBOW, ELBOW + 1], 1] = 0.8 * np.cos(2 * np.pi * hz * times)[:, None]
    rotvec[:, 0, 1] = 0.3 * np.sin(2 * np.pi * 0.3 * times)
    transl[:, 2] -= 0.3 * times
    return people_of(rotvec, transl)


def test_strength_0_changes_no_bit() -> None:
    track, clip = track_of(noisy(waving(20, 2.0)))
    same = smooth(track, clip, MODEL, 0.0)
    for field in fields(People):
        np.testing.assert_array_equal(getattr(same.people, field.name), getattr(track.people, field.name))


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_strengths_are_from_0_to_1(strength: float) -> None:
    track, clip = track_of(waving(5, 2.0))
    with pytest.raises(InputError, match=r"0 .* to 1"):
        smooth(track, clip, MODEL, strength)


def test_steady_motion_stays_through_several_turns() -> None:
    """Turning at 200 degrees a second, and moving evenly across the picture: no flip at 180 degrees, no lag."""
    rotvec, transl = standing(150)
    times = np.arange(150) / FPS
    rotvec[:, 0, 1] = 3.5 * times
    rotvec[:, ELBOW, 0] = -2.0 * times
    transl[:, 0] = -1.0 + 0.4 * times
    track, clip = track_of(people_of(rotvec, transl))
    people = smooth(track, clip, MODEL).people
    assert angles_between(people.pose, track.people.pose).max() < 0.2
    np.testing.assert_allclose(people.transl, track.people.transl, atol=1e-3)


def test_noise_goes_and_quick_motion_stays() -> None:
    """The acceptance of the smoother: jitter falls to a third or less, no error grows, swings keep 95 %."""
    true = waving(240, 2.5)
    track, clip = track_of(noisy(true))
    aim, raw, soft = (joints(each)[:, :22] for each in (true, track.people, smooth(track, clip, MODEL).people))
    assert jitter(soft, FPS).mean() < jitter(raw, FPS).mean() / 3
    assert np.linalg.norm(soft - aim, axis=-1).mean() < np.linalg.norm(raw - aim, axis=-1).mean()
    clean, clip = track_of(true)
    kept = joints(smooth(clean, clip, MODEL).people)[:, :22]
    for wrist in (WRIST, WRIST + 1):
        ranges = [np.ptp((points[:, wrist] - points[:, 0])[30:-30], axis=0).max() for points in (aim, kept)]
        assert ranges[1] > 0.95 * ranges[0]


def test_stronger_is_smoother() -> None:
    track, clip = track_of(noisy(waving(120, 1.0)))
    found = [jitter(joints(smooth(track, clip, MODEL, strength).people), FPS).mean() for strength in (0.25, 0.5, 1.0)]
    assert found[0] > 2 * found[1] > 4 * found[2]


def test_backwards_in_time_it_is_the_same() -> None:
    people = noisy(waving(90, 2.0))
    times = np.cumsum(np.random.default_rng(5).uniform(0.02, 0.06, 90))
    ahead, clip = track_of(people, times_s=times)
    back, clip_back = track_of(people[::-1], times_s=times[-1] - times[::-1])
    one, two = smooth(ahead, clip, MODEL).people, smooth(back, clip_back, MODEL).people[::-1]
    assert angles_between(one.pose, two.pose).max() < 0.01
    np.testing.assert_allclose(one.transl, two.transl, atol=1e-5)
    np.testing.assert_allclose(one.expression, two.expression, atol=1e-6)


def test_a_camera_turned_about_its_axis_sees_the_turned_result() -> None:
    people = noisy(waving(60, 2.0))
    turn = rotation_about_z(0.7)

    def turned(people: People) -> People:
        pelvis = joints(people)[:, 0] - people.transl
        pose = people.pose.copy()
        pose[:, 0] = turn @ pose[:, 0]
        return replace(people, pose=pose, transl=(pelvis + people.transl) @ turn.T - pelvis)

    first, second = (smooth(*track_of(each), MODEL).people for each in (people, turned(people)))
    expected = turned(first)
    assert angles_between(second.pose, expected.pose).max() < 0.05
    np.testing.assert_allclose(second.transl, expected.transl, atol=1e-4)


@pytest.mark.parametrize("told", ["unseen", "sure"])
def test_wild_samples_do_not_pull(told: str) -> None:
    """An elbow bent the other way for two frames: told as unseen, or only unlike its neighbours."""
    people = noisy(waving(90, 1.0), size=0.3)
    wild, seen = people.pose.copy(), people.joint_confidence.copy()
    wild[40:42, ELBOW] = rotvec_to_matrix(np.array([0.0, 0.0, 2.5])) @ wild[40:42, ELBOW]
    far = people.transl.copy()
    far[41, 2] *= 0.5
    if told == "unseen":
        seen[40:42, WRIST] = 0.02
    spoilt = replace(people, pose=wild, joint_confidence=seen, transl=far)
    clean, result = (smooth(*track_of(each), MODEL).people for each in (people, spoilt))
    assert angles_between(result.pose[:, ELBOW], clean.pose[:, ELBOW]).max() < 3.0
    np.testing.assert_allclose(result.transl[:, 2], clean.transl[:, 2], rtol=0.005)


def test_the_shape_is_one_and_wrong_shapes_do_not_count() -> None:
    people = noisy(waving(60, 1.0), size=0.5)
    betas = people.betas.copy()
    betas[::3] += 5.0
    shapes = smooth(*track_of(replace(people, betas=betas)), MODEL).people.betas
    assert np.ptp(shapes, axis=0).max() == 0
    assert np.abs(shapes[0]).max() < 0.3


def test_another_shape_is_seen_where_and_as_large_as_before() -> None:
    rotvec, transl = standing(4)
    people = people_of(rotvec, transl + [[0, 0, 0], [0.8, 0, 0], [-0.5, 0.1, 1.0], [0, 0, -1.0]])
    taller = np.zeros((4, 10))
    taller[:, 0] = 2.0
    before, after = joints(people), joints(reshaped(MODEL, people, taller))
    pixels = [project_perspective(points, people.focal_px, people.principal_px)[:, :22] for points in (before, after)]
    heights = [np.ptp(points[:, :22, 1], axis=1) for points in (before, after)]
    assert (np.abs(heights[1] / heights[0] - 1) > 0.02).all()
    np.testing.assert_allclose(after[:, 0, 2] / before[:, 0, 2], heights[1] / heights[0], rtol=0.03)
    size = np.ptp(pixels[0][..., 1], axis=1)
    assert (np.linalg.norm(pixels[1] - pixels[0], axis=-1).max(1) < 0.03 * size).all()


def test_the_crop_camera_belongs_to_the_result() -> None:
    people = smooth(*track_of(noisy(waving(30, 1.0))), MODEL).people
    points = joints(people)[:, :22]
    upright = Crop(people.crop_centre_px, people.crop_side_px, np.zeros(len(people)))
    view = view_rotation(upright, people.focal_px, people.principal_px)
    weak = upright.to_image(project_weak((points - points[:, :1]) @ view, people.crop_camera))
    pinhole = project_perspective(points, people.focal_px, people.principal_px)
    assert np.abs(weak - pinhole).max() < 0.04 * np.ptp(pinhole[..., 1], axis=1).max()


def test_short_gaps_are_filled_with_unseen_rows_and_long_ones_stay() -> None:
    people = waving(120, 0.5)
    frames = np.r_[0:40, 50:70, 100:120]  # a third of a second, and a whole one
    whole, clip = track_of(people)
    result = smooth(Track(7, frames, people[frames]), clip, MODEL)
    np.testing.assert_array_equal(result.frames, np.r_[0:70, 100:120])
    filled = (result.frames >= 40) & (result.frames < 50)
    np.testing.assert_array_equal(result.people.score, np.where(filled, 0.0, 1.0))
    assert not result.people.joint_confidence[filled].any() and not result.people.part_confidence[filled].any()
    error = np.linalg.norm(joints(result.people) - joints(whole.people[result.frames]), axis=-1)
    assert error.max() < 0.06


def test_uneven_frames_count_with_their_times() -> None:
    rng = np.random.default_rng(3)
    times = np.cumsum(rng.choice([1 / 60, 1 / 30, 1 / 20], 200))
    rotvec, transl = standing(200)
    rotvec[:, SHOULDER, 2] = 0.6 * np.sin(2 * np.pi * 2.0 * times)
    track, clip = track_of(people_of(rotvec, transl), times_s=times)
    people = smooth(track, clip, MODEL).people
    assert angles_between(people.pose[15:-15, SHOULDER], track.people.pose[15:-15, SHOULDER]).max() < 1.0


def test_long_tracks_are_smoothed_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    people = noisy(waving(200, 1.0))
    frames = np.r_[0:95, 100:205]
    clip = track_of(waving(205, 1.0))[1]
    track = Track(1, frames, people)
    whole = smooth(track, clip, MODEL)
    monkeypatch.setattr(smoothing, "_PIECE", 50)
    monkeypatch.setattr(smoothing, "_MARGIN", 60)
    pieces = smooth(track, clip, MODEL)
    np.testing.assert_array_equal(pieces.frames, whole.frames)
    assert np.abs(joints(pieces.people) - joints(whole.people)).max() < 0.003


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_short_tracks(count: int) -> None:
    people = noisy(waving(count, 1.0))
    result = smooth(*track_of(people), MODEL)
    assert len(result.people) == count
    assert np.isfinite(joints(result.people)).all()
