"""People over time: times, gaps and the motion between frames."""

import numpy as np
import pytest

from openexpose.errors import InputError
from openexpose.geometry.rotation import matrix_to_rotvec, rotvec_to_matrix
from openexpose.motion import Clip, Motion, Track, at_times, even_times, joined, still
from openexpose.people import People


def walker(frames: np.ndarray, seed: int = 0) -> People:
    """Somebody who turns steadily about y and walks along x: row k is frame ``frames[k]``."""
    count = len(frames)
    rng = np.random.default_rng(seed)
    rotvec = rng.normal(0, 0.3, (1, 55, 3)).repeat(count, 0)
    rotvec[:, 0] = 0.0
    rotvec[:, 0, 1] = 0.05 * frames
    zeros = np.zeros((count, 3), np.float32)
    return People(
        pose=rotvec_to_matrix(rotvec).astype(np.float32),
        betas=np.zeros((count, 10), np.float32),
        expression=np.zeros((count, 20), np.float32),
        transl=(zeros + frames[:, None] * np.array([0.1, 0.0, 0.0])).astype(np.float32),
        score=np.ones(count, np.float32),
        bbox_xyxy=np.tile(np.array([0.0, 0.0, 50.0, 100.0], np.float32), (count, 1)),
        part_confidence=np.ones((count, 4), np.float32),
        joint_confidence=np.ones((count, 144), np.float32),
        crop_centre_px=zeros[:, :2],
        crop_side_px=np.ones(count, np.float32),
        crop_camera=zeros + 1.0,
        focal_px=1000.0,
        principal_px=np.array([320.0, 240.0]),
        image_size=(640, 480),
    )


def test_between_frames_people_turn_and_walk_steadily() -> None:
    clip = Clip("walk.mp4", np.arange(10) / 25.0, 25.0)
    frames = np.array([0, 1, 2, 7, 8])
    track = Track(1, frames, walker(frames))
    times = even_times(track, clip)
    np.testing.assert_array_equal(times, clip.times_s[:9])
    people = at_times(track, clip, times)
    turn = matrix_to_rotvec(people.pose[:, 0].astype(float))[:, 1]
    np.testing.assert_allclose(turn, 0.05 * np.arange(9), atol=1e-6)
    np.testing.assert_allclose(people.transl[:, 0], 0.1 * np.arange(9), atol=1e-6)
    np.testing.assert_array_equal(people.pose[[0, 1, 2, 7, 8]], track.people.pose)


def test_a_varying_frame_rate_becomes_an_even_one() -> None:
    clip = Clip("walk.mp4", np.array([0.0, 0.04, 0.12, 0.2, 0.4]), 12.5)
    track = Track(3, np.arange(5), walker(clip.times_s * 25))
    times = even_times(track, clip, 50.0)
    np.testing.assert_allclose(times, np.arange(21) / 50)
    np.testing.assert_allclose(at_times(track, clip, times).transl[:, 0], 2.5 * times, atol=1e-6)


def test_before_the_first_and_after_the_last_frame_people_stand() -> None:
    clip = Clip("walk.mp4", np.arange(10) / 25.0, 25.0)
    track = Track(1, np.array([3, 4]), walker(np.array([3, 4])))
    people = at_times(track, clip, np.array([-1.0, 9.0]))
    np.testing.assert_array_equal(people.transl, track.people.transl)


def test_a_photo_is_a_clip_of_one_frame() -> None:
    people = walker(np.arange(3))
    motion = still(people, "photo.jpg")
    assert [track.id for track in motion.tracks] == [1, 2, 3]
    assert [len(even_times(track, motion.clip)) for track in motion.tracks] == [1, 1, 1]
    np.testing.assert_array_equal(joined([track.people for track in motion.tracks]).transl, people.transl)


def test_impossible_clips_and_tracks_are_refused() -> None:
    people = walker(np.arange(2))
    clip = Clip("a", np.arange(2) / 25.0, 25.0)
    for broken in (
        lambda: Clip("a", np.array([0.0, 0.0]), 25.0),
        lambda: Clip("a", np.zeros(0), 25.0),
        lambda: Clip("a", np.zeros(1), 0.0),
        lambda: Track(1, np.array([1, 0]), people),
        lambda: Track(1, np.array([0]), people),
        lambda: Motion(clip, (Track(1, np.array([1, 2]), people),)),
        lambda: Motion(clip, (Track(1, np.arange(2), people), Track(1, np.arange(2), people))),
        lambda: even_times(Track(1, np.arange(2), people), clip, 0.0),
        lambda: joined([]),
    ):
        with pytest.raises(InputError):
            broken()
