"""From a way, footsteps and what the upper body does to poses: legs by inverse kinematics on feet that stand."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.ndimage import convolve1d, minimum_filter1d

from openexpose.geometry.rotation import rotvec_to_matrix
from openexpose.synth.sequence_steps import Feet
from openexpose.synth.skeleton import (
    ANKLE,
    COLLAR,
    ELBOW,
    FOOT,
    HEAD,
    HIP,
    KNEE,
    NECK,
    SHOULDER,
    SPINE,
    WRIST,
    two_bones,
)

Array = np.ndarray

UPPER = [*SPINE, NECK, HEAD, *(joint + side for joint in (COLLAR, SHOULDER, ELBOW, WRIST) for side in (0, 1))]
"""The 13 joints above the pelvis, in the order of :attr:`Doing.upper`."""
_STRETCHED = 0.985
"""Length of a leg that is as straight as people have it, over the sum of its bones."""
_ROUND_S = 0.06
_YAW_RAD_PER_M, _SWAY_M, _LIST_RAD = 0.2, 0.022, 0.045


@dataclass(frozen=True, eq=False)
class Doing:
    """What a person does besides stepping, over time.

    Attributes:
        lean: [n, 3] of the pelvis, axis-angle, in the frame of where the person looks. shift_m: [n, 2] of the pelvis to
            the left and forwards. drop_m: [n] how much lower it is: crouching. jump_m: [n] height of the whole body.
        feet_m: [n, 2, 3] of the ankles off their place, in the frame of where the person looks. feet_pitch: [n, 2].
        upper: [n, 13, 3, 3] of the joints ``UPPER``. hands: [n, 30, 3, 3], the left hand first.
        face: [n, 3, 3, 3] of jaw and eyes. expression: [n, e].
    """

    lean: Float[Array, "n 3"]
    shift_m: Float[Array, "n 2"]
    drop_m: Float[Array, "n"]
    jump_m: Float[Array, "n"]
    feet_m: Float[Array, "n 2 3"]
    feet_pitch: Float[Array, "n 2"]
    upper: Float[Array, "n 13 3 3"]
    hands: Float[Array, "n 30 3 3"]
    face: Float[Array, "n 3 3 3"]
    expression: Float[Array, "n e"]


@dataclass(frozen=True, eq=False)
class Performance:
    """A person's motion in the world, one row a frame.

    Attributes:
        pose: [n, 55, 3, 3]; the first takes the model's frame to the world's. pelvis: [n, 3] metres.
        expression: [n, e]. planted: [n, 2] whether the left and the right foot stand.
    """

    pose: Float[Array, "n 55 3 3"]
    pelvis: Float[Array, "n 3"]
    expression: Float[Array, "n e"]
    planted: Array


def about(axis: int, angle: Float[Array, "n"]) -> Float[Array, "n 3 3"]:
    """Rotations about x, y or z."""
    vector = np.zeros((*np.shape(angle), 3))
    vector[..., axis] = angle
    return rotvec_to_matrix(vector)


def stride_m(root: Float[Array, "n 3"], feet: Feet) -> Float[Array, "n"]:
    """How far the left foot is ahead of the right one, as the person looks."""
    forward = np.stack([np.sin(root[:, 2]), 0 * root[:, 2], np.cos(root[:, 2])], 1)
    return ((feet.ankles[:, 0] - feet.ankles[:, 1]) * forward).sum(1)


def perform(
    root: Float[Array, "n 3"], feet: Feet, doing: Doing, rest: Float[Array, "22 3"], step_s: float, shown: slice
) -> Performance:
    """Put a body on its feet.

    Args:
        root: where the pelvis is on the floor and where the person looks: x, z (metres), yaw (radians).
        rest: the body's joints at rest. step_s: between rows. shown: the rows that are frames of the result.
    """
    yaw, stride = root[:, 2], stride_m(root, feet)
    heading = about(1, yaw)
    weight = feet.lift[:, 1] - feet.lift[:, 0]  # on the left foot
    turn = about(1, -_YAW_RAD_PER_M * stride)
    pelvis_R = heading @ turn @ rotvec_to_matrix(doing.lean) @ about(2, _LIST_RAD * weight)
    aside = np.zeros((len(root), 3))
    aside[:, 0], aside[:, 2] = doing.shift_m[:, 0] + _SWAY_M * weight, doing.shift_m[:, 1]
    pelvis = np.stack([root[:, 0], 0 * yaw, root[:, 1]], 1) + (heading @ aside[..., None])[..., 0]
    ankles = feet.ankles + np.einsum("nij,nkj->nki", heading, doing.feet_m)
    free = np.linalg.norm(doing.feet_m, axis=-1) > 1e-6
    pelvis[:, 1] = _height(pelvis, pelvis_R, (ankles, free), rest, round(_ROUND_S / step_s)) - doing.drop_m
    pelvis[:, 1] += doing.jump_m
    ankles[..., 1] += doing.jump_m[:, None]
    pose = np.broadcast_to(np.eye(3), (len(root[shown]), 55, 3, 3)).copy()
    pose[:, 0] = pelvis_R[shown]
    pose[:, UPPER] = doing.upper[shown]
    pose[:, 22:25], pose[:, 25:] = doing.face[shown], doing.hands[shown]
    pitch = (feet.pitch + doing.feet_pitch)[shown]
    soles = about(1, feet.yaw[shown]) @ about(0, pitch)
    for n in range(len(pose)):
        for k in (0, 1):
            place = pelvis[shown][n], ankles[shown][n, k]
            _stand(pose[n], k, place, soles[n, k], rest)
    pose[:, FOOT : FOOT + 2] = about(0, -feet.toes[shown])
    planted = feet.planted & ~free & (doing.jump_m < 1e-6)[:, None]
    return Performance(pose, pelvis[shown], doing.expression[shown], planted[shown])


def _height(pelvis: Array, pelvis_R: Array, feet: tuple[Array, Array], rest: Array, half: int) -> Float[Array, "n"]:
    """Height of the pelvis: as high as the legs allow, never beyond, smooth."""
    ankles, free = feet
    highest = np.full(len(pelvis), np.inf)
    for k in (0, 1):
        bones = np.linalg.norm(np.diff(rest[[HIP + k, KNEE + k, ANKLE + k]], axis=0), axis=1).sum()
        hip = (pelvis_R @ (rest[HIP + k] - rest[0])[:, None])[..., 0]
        level = np.linalg.norm((ankles[:, k] - pelvis - hip)[:, [0, 2]], axis=1)
        far = np.sqrt(np.maximum((_STRETCHED * bones) ** 2 - level**2, (0.5 * bones) ** 2))
        highest = np.minimum(highest, np.where(free[:, k], np.inf, ankles[:, k, 1] + far - hip[:, 1]))
    triangle = np.bartlett(2 * half + 3)[1:-1]
    return convolve1d(minimum_filter1d(highest, 2 * half + 1), triangle / triangle.sum(), mode="nearest")


def _stand(pose: Array, side: int, place: tuple[Array, Array], sole: Array, rest: Array) -> None:
    """Bend a leg of ``pose``, in place, so that its ankle is where it shall be and its sole turned as it shall be."""
    pelvis, ankle = place
    hip, knee, end = HIP + side, KNEE + side, ANKLE + side
    bones = rest[knee] - rest[hip], rest[end] - rest[knee]
    along = bones[0] / np.linalg.norm(bones[0])
    fold = np.array([0.0, 0.0, -1.0]) + along * along[2]
    outwards = pose[0] @ np.array([0.08 * (1 - 2 * side), 0, 0])
    ahead = pose[0][:, 2] + 0.6 * np.array([-sole[2, 0], 0, sole[0, 0]]) + outwards
    offset = ankle - pelvis - pose[0] @ (rest[hip] - rest[0])
    aim = offset
    for _ in range(3):  # a shin that is not in the plane in which the knee bends misses by millimetres
        upper, lower = two_bones(bones, fold / np.linalg.norm(fold), pose[0], aim, ahead)
        pose[hip], pose[knee] = rotvec_to_matrix(upper), rotvec_to_matrix(lower)
        thigh = pose[0] @ pose[hip]
        aim = aim + offset - thigh @ (bones[0] + pose[knee] @ bones[1])
    pose[end] = (pose[0] @ pose[hip] @ pose[knee]).T @ sole
