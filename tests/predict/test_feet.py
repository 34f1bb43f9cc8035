"""Feet that stand: found, held, without trembling or jumping; nothing else moves."""

from dataclasses import replace

import numpy as np
from tests.predict.moving import MODEL, angles_between, joints, people_of, standing, track_of

from openexpose.evaluation.metrics import jitter
from openexpose.geometry.rotation import rotvec_to_matrix
from openexpose.people import People
from openexpose.predict.feet import ANKLES, HIPS, KNEES, TOES, find_contacts, lock_feet
from openexpose.predict.smoothing import smooth

FPS = 30.0
COUNT = 120
STRIDE_S, SPEED, STANCE = 1.0, 0.55, 0.6


def stepping() -> People:
    """Somebody who walks across the picture: each ankle follows its own plan, by exact two-bone geometry."""
    times = np.arange(COUNT) / FPS
    rotvec, transl = standing(COUNT)
    rotvec[:, 0, 1] = np.pi / 2  # looks along the camera's x
    transl[:, 0] = -1.0 + SPEED * times
    people = people_of(rotvec, transl + [0.0, 0.06, 0.0])
    rest = joints(people)
    pose = people.pose.copy()
    for side, phase in ((0, 0.0), (1, 0.5)):
        turns = times / STRIDE_S + phase
        swing = np.clip((turns % 1.0 - STANCE) / (1 - STANCE), 0, 1)
        gone = np.floor(turns) + swing**3 * (10 - 15 * swing + 6 * swing**2) - phase + STANCE / 2
        goal = rest[0, ANKLES[side]] + np.zeros((COUNT, 3))
        goal[:, 0] += gone * STRIDE_S * SPEED
        goal[:, 1] -= 0.06 + 0.12 * np.sin(np.pi * swing) ** 2
        hip = rest[:, HIPS[side]]
        thigh, shank = (
            np.linalg.norm(rest[0, b[side]] - rest[0, a[side]]) for a, b in ((HIPS, KNEES), (KNEES, ANKLES))
        )
        aim = goal - hip
        reach = np.linalg.norm(aim, axis=1)
        assert reach.max() < thigh + shank
        knee = np.pi - np.arccos((thigh**2 + shank**2 - reach**2) / (2 * thigh * shank))
        lead = np.arccos((thigh**2 + reach**2 - shank**2) / (2 * thigh * reach))
        hip_angle = -(np.arctan2(aim[:, 0], aim[:, 1]) + lead)
        for joint, angle in ((HIPS, hip_angle), (KNEES, knee), (ANKLES, -hip_angle - knee)):
            pose[:, joint[side]] = rotvec_to_matrix(angle[:, None] * np.array([1.0, 0.0, 0.0]))
    return replace(people, pose=pose)


def slips(points: np.ndarray, people_joints: np.ndarray, times: np.ndarray) -> np.ndarray:
    """How far each standing ball of a foot strays from its middle, metres; contacts found in ``people_joints``."""
    contacts = find_contacts(people_joints, times)
    found = []
    for number in range(contacts.number.max() + 1):
        rows, feet = np.nonzero(contacts.number == number)
        place = points[rows, TOES[feet[0]]]
        found.append(np.linalg.norm(place - place.mean(0), axis=1).max())
    return np.array(found)


def sliding(people: People) -> People:
    """The same, but drifting as predictions do: slowly, and most along the ray; the legs tremble a little."""
    rng = np.random.default_rng(0)
    times = np.arange(len(people)) / FPS
    drift = np.stack([np.sin(2 * np.pi * hz * times + phase) for hz, phase in ((0.4, 0.0), (0.3, 1.0), (0.5, 2.0))], -1)
    shaken = people.pose @ rotvec_to_matrix(0.01 * rng.normal(size=(len(people), 55, 3)))
    return replace(people, pose=shaken, transl=people.transl + drift * [0.02, 0.01, 0.08])


def test_a_clean_walk_is_found_and_left_alone() -> None:
    people = stepping()
    track, clip = track_of(people)
    contacts = find_contacts(joints(people), clip.times_s)
    np.testing.assert_allclose(contacts.standing.mean(0), STANCE, atol=0.08)
    result = lock_feet(track, clip, MODEL).people
    np.testing.assert_allclose(joints(result), joints(people), atol=0.01)


def test_sliding_feet_are_held_without_new_jitter() -> None:
    track, clip = track_of(sliding(stepping()))
    before = smooth(track, clip, MODEL)
    after = lock_feet(before, clip, MODEL)
    loose, held = joints(before.people), joints(after.people)
    assert slips(loose, loose, clip.times_s).max() > 0.02
    assert slips(held, loose, clip.times_s).max() < 0.005
    for part in (np.arange(22), TOES, KNEES):
        assert jitter(held[:, part], FPS).mean() < 1.1 * jitter(loose[:, part], FPS).mean()


def test_only_the_legs_bend_and_the_feet_keep_their_orientation() -> None:
    track, clip = track_of(smooth(*track_of(sliding(stepping())), MODEL).people)
    after = lock_feet(track, clip, MODEL).people
    rest = np.setdiff1d(np.arange(55), np.concatenate([HIPS, KNEES, ANKLES]))
    np.testing.assert_array_equal(after.pose[:, rest], track.people.pose[:, rest])
    for side in range(2):
        chains = [
            people.pose[:, 0] @ people.pose[:, HIPS[side]] @ people.pose[:, KNEES[side]] @ people.pose[:, ANKLES[side]]
            for people in (after, track.people)
        ]
        assert angles_between(*chains).max() < 0.1


def test_who_never_stands_is_not_touched() -> None:
    people = stepping()
    flying = replace(people, transl=people.transl + np.arange(COUNT)[:, None] * [0.05, 0.0, 0.0])
    track, clip = track_of(flying)
    np.testing.assert_array_equal(lock_feet(track, clip, MODEL).people.pose, flying.pose)


def test_a_lone_part_has_no_feet() -> None:
    people = people_of(*standing(20))
    track, clip = track_of(replace(people, part="face"))
    assert lock_feet(track, clip, MODEL) is track
