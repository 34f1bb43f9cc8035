"""People of a clip frame by frame, in constant memory: their keypoints, or one person's mesh."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from openexpose.body.mesh import keypoints, posed_mesh
from openexpose.body.model import BodyModel
from openexpose.errors import InputError
from openexpose.formats.native import part_keypoints
from openexpose.geometry.camera import project_perspective
from openexpose.motion import Clip, Motion, Track, joined

Array = np.ndarray

_FRAMES = 64
_MESHES = 8
"""How many frames are posed at once."""


@dataclass(frozen=True)
class Moment:
    """The people of one frame, by track; the first axis of every array counts them.

    Attributes:
        frame: number of the clip's frame, from 0.
        time_s: when it is shown.
        ids: numbers of the tracks.
        score: of the detector, 0..1.
        joints_m: the 144 keypoints, camera frame, metres.
        joints_px: their pinhole projection, pixels.
        confidence: of each keypoint, 0..1.
    """

    frame: int
    time_s: float
    ids: tuple[int, ...]
    score: Float[Array, "p"]
    joints_m: Float[Array, "p 144 3"]
    joints_px: Float[Array, "p 144 2"]
    confidence: Float[Array, "p 144"]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Posed:
    """One person in one frame.

    Attributes:
        frame: number of the clip's frame, from 0.
        row: which row of the track's people.
        vertices_m: camera frame, metres.
        joints_m: the 144 keypoints, camera frame, metres.
    """

    frame: int
    row: int
    vertices_m: Float[Array, "v 3"]
    joints_m: Float[Array, "144 3"]


def check_model(motion: Motion, model: BodyModel) -> None:
    """Refuse people of another body model.

    Raises:
        InputError: their coefficients mean nothing to this one.
    """
    for track in motion.tracks:
        if track.people.body_model != model.name:
            wanted = track.people.body_model
            fix = "Leave out --body-model." if wanted == "freebody" else f"Give --body-model {wanted}.npz"
            raise InputError(f"parameters of the body model '{wanted}' for '{model.name}'", f"'{wanted}'", fix)


def valid_keypoints(motion: Motion) -> Int[Array, "k"]:
    """Positions, in the list of 144, of the keypoints that mean something: those of a lone part, or all."""
    return part_keypoints(motion.tracks[0].people.part if motion.tracks else "whole")


def moments(motion: Motion, model: BodyModel) -> Iterator[Moment]:
    """Every frame of the clip in turn, also those without people."""
    for start in range(0, len(motion.clip.times_s), _FRAMES):
        stop = min(start + _FRAMES, len(motion.clip.times_s))
        parts, frames, ids = [], [np.zeros(0, int)], [np.zeros(0, int)]
        for track in motion.tracks:
            rows = slice(*np.searchsorted(track.frames, [start, stop]))
            parts.append(track.people[rows])
            frames.append(track.frames[rows])
            ids.append(np.full(len(track.frames[rows]), track.id))
        frame, number = np.concatenate(frames), np.concatenate(ids)
        joints, pixels, confidence, score = (np.zeros((0, *shape)) for shape in ((144, 3), (144, 2), (144,), ()))
        if len(frame):
            people = joined(parts)
            joints = keypoints(model, people.pose, people.betas, people.expression) + people.transl[:, None]
            pixels = project_perspective(joints, people.focal_px, people.principal_px)
            confidence, score = people.joint_confidence, people.score
        for k in range(start, stop):
            here = np.flatnonzero(frame == k)
            told = tuple(number[here].tolist())
            time_s = float(motion.clip.times_s[k])
            yield Moment(k, time_s, told, score[here], joints[here], pixels[here], confidence[here])


def meshes(track: Track, model: BodyModel) -> Iterator[Posed]:
    """The mesh of a person in each of the track's frames."""
    for start in range(0, len(track.frames), _MESHES):
        people = track.people[start : start + _MESHES]
        posed = posed_mesh(model, people.pose, people.betas, people.expression)
        shift = people.transl[:, None]
        rows = range(start, start + len(people))
        for row, vertices, joints in zip(rows, posed.vertices + shift, posed.joints + shift, strict=True):
            yield Posed(int(track.frames[row]), row, vertices, joints)


def is_still(clip: Clip) -> bool:
    """Whether the clip is a photo: one frame, whose files need no folder and no number."""
    return len(clip.times_s) == 1
