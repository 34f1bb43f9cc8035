"""Feet that stand: where a foot is still and low it is held, by moving the person a little and bending the leg.

Both corrections are smooth curves over time that fade out where no foot stands, so that nothing pops. No floor is
known; what is low is told by the person's own up and by the other foot.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from openexpose.body.keypoints import INDEX, indices
from openexpose.body.mesh import joint_transforms
from openexpose.body.model import BodyModel
from openexpose.geometry.rotation import cross_matrix, project_to_so3, rotvec_to_matrix
from openexpose.motion import Clip, Track, joined
from openexpose.people import People
from openexpose.predict.cutoffs import LONGEST_GAP_S
from openexpose.predict.placement import place_points, placed, places
from openexpose.predict.two_pass import low_pass

Array = np.ndarray

HIPS, KNEES, ANKLES, TOES = (indices(f"left_{name}", f"right_{name}") for name in ("hip", "knee", "ankle", "foot"))
_NECK = INDEX["neck"]

_STILL_M_S = 0.3
_DEPTH_SHARE = 0.2
"""Of the speed along the ray, which is told far less exactly, so much counts."""
_LOW_M = 0.1
_SHORTEST_S = 0.12
_BODY_HZ, _LEG_HZ = 1.5, 8.0
"""Cut-offs of the corrections of the translation and of the legs."""
_PULL = 0.02
"""Weight of "no correction" at every moment, beside 1 of each standing foot."""
_ROUNDS = 12
_STEPS = 5
_FARTHEST_M = 0.1
_SOFTNESS_M = 0.03
"""Damping of the leg: nearly straight knees do not jump."""


@dataclass(frozen=True)
class Contacts:
    """When the left and the right foot stand."""

    standing: Bool[Array, "n 2"]
    number: Int[Array, "n 2"]
    """Which contact it is, counted from 0 over both feet; -1 where the foot does not stand."""


def lock_feet(track: Track, clip: Clip, model: BodyModel) -> Track:
    """Hold the feet of a person where they stand; best after :func:`openexpose.predict.smoothing.smooth`.

    A foot stands while its ball (the joint ``left_foot`` or ``right_foot``) is slower than 0.3 m/s, of which along the
    ray a fifth counts, and at most 10 cm above the other, for at least 0.12 s. What both feet ask for slowly moves
    the whole person; the rest bends hip and knee, at most 10 cm; the foot keeps its orientation.

    Args:
        track: the person; a lone part comes back as it is.
        clip: when its frames are shown.
        model: the body model of the person.
    """
    if track.people.part != "whole":
        return track
    ends = np.flatnonzero(np.diff(clip.times_s[track.frames]) > LONGEST_GAP_S + 1e-9) + 1
    stretches = np.split(np.arange(len(track.frames)), ends)
    people = [_locked(track.people[rows], clip.times_s[track.frames[rows]], model) for rows in stretches]
    return replace(track, people=joined(people))


def find_contacts(joints: Float[Array, "n 55 3"], times_s: Float[Array, "n"]) -> Contacts:
    """When the feet stand. ``joints``: in the camera's frame, metres."""
    toes = joints[:, TOES]
    velocity = np.gradient(toes, times_s, axis=0)
    ray = toes / np.linalg.norm(toes, axis=-1, keepdims=True)
    velocity -= (1.0 - _DEPTH_SHARE) * (velocity * ray).sum(-1, keepdims=True) * ray
    speed = np.linalg.norm(velocity, axis=-1)
    axis = joints[:, ANKLES].mean(1) - joints[:, _NECK]
    down = (axis / np.linalg.norm(axis, axis=-1, keepdims=True)).mean(0)
    low = toes @ (down / np.linalg.norm(down))
    standing = (speed < _STILL_M_S) & (low.max(1, keepdims=True) - low < _LOW_M)
    number = np.full(standing.shape, -1)
    count = 0
    for foot in range(2):
        edges = np.flatnonzero(np.diff(np.r_[0, standing[:, foot].astype(int), 0]))
        for start, stop in edges.reshape(-1, 2):
            if times_s[stop - 1] - times_s[start] >= _SHORTEST_S:
                number[start:stop, foot] = count
                count += 1
    return Contacts(number >= 0, number)


def _locked(people: People, times_s: Float[Array, "n"], model: BodyModel) -> People:
    """A stretch without long gaps."""
    if len(people) < 4:
        return people
    joints = _joints(model, people)
    contacts = find_contacts(joints, times_s)
    if not contacts.standing.any():
        return people
    shift = np.zeros((len(people), 3))
    for _ in range(_ROUNDS):
        missing = _anchors(joints[:, TOES] + shift[:, None], contacts) - joints[:, TOES]
        shift = _eased(missing, contacts.standing, times_s, _BODY_HZ)
    toes = joints[:, TOES] + shift[:, None]
    missing = _anchors(toes, contacts) - toes
    legs = [_eased(missing[:, [k]], contacts.standing[:, [k]], times_s, _LEG_HZ) for k in range(2)]
    bends = np.stack(legs, 1)
    bends *= np.minimum(1.0, _FARTHEST_M / np.maximum(np.linalg.norm(bends, axis=-1, keepdims=True), 1e-9))
    bent = _bent(model, people, joints[:, ANKLES] + bends)
    bent = replace(bent, transl=people.transl + shift.astype(people.transl.dtype))
    return placed(model, bent, places(place_points(model, bent), bent))


def _joints(model: BodyModel, people: People) -> Float[Array, "n 55 3"]:
    """Joints in the camera's frame."""
    return joint_transforms(model, people.pose, people.betas, people.expression)[1] + people.transl[:, None]


def _anchors(toes: Float[Array, "n 2 3"], contacts: Contacts) -> Float[Array, "n 2 3"]:
    """Where each standing foot stands: the median over its contact; of the others their own places."""
    anchors = toes.copy()
    for foot in range(2):
        number = contacts.number[:, foot]
        edges = np.flatnonzero(np.diff(number)) + 1
        for rows in np.split(np.arange(len(number)), edges):
            if number[rows[0]] >= 0:
                anchors[rows, foot] = np.median(toes[rows, foot], 0)
    return anchors


def _eased(
    missing: Float[Array, "n f 3"], standing: Bool[Array, "n f"], times_s: Float[Array, "n"], cutoff_hz: float
) -> Float[Array, "n 3"]:
    """The smooth curve that follows what standing feet lack, and fades out where none stands."""
    weights = standing.sum(1)[:, None] + _PULL
    wanted = (missing * standing[..., None]).sum(1) / weights
    return low_pass(wanted, np.repeat(weights, 3, 1), times_s, np.full(3, cutoff_hz))


def _bent(model: BodyModel, people: People, ankles: Float[Array, "n 2 3"]) -> People:
    """Turn hips and bend knees until the ankles are there; the feet keep their orientation. Damped least squares."""
    pose = people.pose.astype(float)
    legs = np.r_[0, HIPS, KNEES, ANKLES]
    feet = None
    for _ in range(_STEPS):
        rotations, joints = joint_transforms(model, pose, people.betas, people.expression)
        rotations = rotations.astype(float)
        rotations[:, legs] = project_to_so3(rotations[:, legs])
        feet = rotations[:, ANKLES] if feet is None else feet
        joints = joints + people.transl[:, None]
        error = ankles - joints[:, ANKLES]
        axis = rotations[:, HIPS][..., 0]  # knees bend about the thigh's x axis
        levers = -cross_matrix(joints[:, ANKLES] - joints[:, HIPS])
        swing = np.cross(axis, joints[:, ANKLES] - joints[:, KNEES])
        slope = np.concatenate([levers, swing[..., None]], -1)  # [n, 2, 3, 4]
        square = slope @ np.swapaxes(slope, -1, -2) + _SOFTNESS_M**2 * np.eye(3)
        step = (np.swapaxes(slope, -1, -2) @ np.linalg.solve(square, error[..., None]))[..., 0]
        turn = rotvec_to_matrix(step[..., :3])
        thighs = turn @ rotations[:, HIPS]
        shanks = turn @ rotvec_to_matrix(step[..., 3:] * axis) @ rotations[:, KNEES]
        pose[:, HIPS] = np.swapaxes(rotations[:, :1], -1, -2) @ thighs
        pose[:, KNEES] = np.swapaxes(thighs, -1, -2) @ shanks
        pose[:, ANKLES] = np.swapaxes(shanks, -1, -2) @ feet
    return replace(people, pose=pose.astype(people.pose.dtype))
