"""Kinematics of the 22 body joints: forwards, and two-bone inverse kinematics. Model frame, metres, axis-angle."""

import numpy as np
from jaxtyping import Float

from openexpose.body.keypoints import INDEX, PARENTS
from openexpose.geometry.rotation import matrix_to_rotvec, rotvec_to_matrix

Array = np.ndarray

BODY_JOINTS = 22
SHOULDER, ELBOW, WRIST, COLLAR = (INDEX[f"left_{n}"] for n in ("shoulder", "elbow", "wrist", "collar"))
"""The left joints; the right ones follow at once."""
HIP, KNEE, ANKLE, FOOT = (INDEX[f"left_{n}"] for n in ("hip", "knee", "ankle", "foot"))
SPINE = [INDEX[f"spine{k}"] for k in (1, 2, 3)]
NECK, HEAD = INDEX["neck"], INDEX["head"]
ARM_JOINTS = tuple([joint + side for joint in (COLLAR, SHOULDER, ELBOW, WRIST)] for side in (0, 1))
LEG_JOINTS = tuple([joint + side for joint in (HIP, KNEE, ANKLE, FOOT)] for side in (0, 1))


def forward(
    pose: Float[Array, "*n 22 3"], rest: Float[Array, "j 3"]
) -> tuple[Float[Array, "*n 22 3 3"], Float[Array, "*n 22 3"]]:
    """Rotations and positions of the body joints; the pelvis stays at ``rest[0]``."""
    local = rotvec_to_matrix(pose)
    rotations = local.copy()
    joints = np.broadcast_to(rest[:BODY_JOINTS], pose.shape).astype(float)
    for k in range(1, BODY_JOINTS):
        parent = PARENTS[k]
        above = rotations[..., parent, :, :]
        rotations[..., k, :, :] = above @ local[..., k, :, :]
        joints[..., k, :] = joints[..., parent, :] + above @ (rest[k] - rest[parent])
    return rotations, joints


def two_bones(
    bones: tuple[Float[Array, "3"], Float[Array, "3"]],
    fold: Float[Array, "3"],
    parent: Float[Array, "3 3"],
    offset: Float[Array, "3"],
    pole: Float[Array, "3"],
) -> tuple[Float[Array, "3"], Float[Array, "3"]]:
    """Two-bone inverse kinematics.

    Args:
        bones: rest vectors of the upper and the lower bone. fold: rest direction, orthogonal to the upper bone, to
            which the lower bone bends.
        parent: global rotation of the joint above.
        offset: from the upper bone's start to where the lower bone shall end; shortened where it is out of reach.
        pole: to where the middle joint points.

    Returns:
        Axis-angles of the upper and of the middle joint; the middle joint is a hinge.
    """
    upper, lower = (float(np.linalg.norm(bone)) for bone in bones)
    distance = float(np.linalg.norm(offset))
    length = np.clip(distance, 0.3 * (upper + lower), 0.99 * (upper + lower))
    aim = offset / max(distance, 1e-6)
    bend = np.pi - np.arccos(np.clip((upper**2 + lower**2 - length**2) / (2 * upper * lower), -1, 1))
    lift = np.arccos(np.clip((upper**2 + length**2 - lower**2) / (2 * upper * length), -1, 1))
    side = pole - aim * (pole @ aim)
    norm = float(np.linalg.norm(side))
    side = side / norm if norm > 1e-6 else _orthogonal(aim)
    bone = aim * np.cos(lift) + side * np.sin(lift)
    folded = aim * np.sin(lift) - side * np.cos(lift)
    along = bones[0] / upper
    hinge = np.cross(along, fold)
    rest_frame = np.stack([along, fold, hinge], 1)
    frame = np.stack([bone, folded, np.cross(bone, folded)], 1)
    straight = np.arctan2(bones[1] @ fold, bones[1] @ along)  # how far the rest pose is bent already
    return matrix_to_rotvec(parent.T @ frame @ rest_frame.T), (bend - straight) * hinge


def _orthogonal(direction: Array) -> Array:
    other = np.cross(direction, [0.0, 0.0, 1.0] if abs(direction[2]) < 0.9 else [1.0, 0.0, 0.0])
    return other / np.linalg.norm(other)


def reach(
    pose: Float[Array, "22 3"],
    rest: Float[Array, "j 3"],
    side: int,
    target: Float[Array, "3"],
    pole: Float[Array, "3"],
    skeleton: tuple[Array, Array],
) -> None:
    """Bend an arm of ``pose`` (changed in place) so that its wrist is at ``target``; see :func:`two_bones`."""
    _bend(pose, rest, (SHOULDER + side, ELBOW + side, WRIST + side), target, pole, skeleton)


def step(
    pose: Float[Array, "22 3"],
    rest: Float[Array, "j 3"],
    side: int,
    target: Float[Array, "3"],
    pole: Float[Array, "3"],
    skeleton: tuple[Array, Array],
) -> None:
    """Bend a leg of ``pose`` (changed in place) so that its ankle is at ``target``; see :func:`two_bones`."""
    _bend(pose, rest, (HIP + side, KNEE + side, ANKLE + side), target, pole, skeleton)


def _bend(
    pose: Array, rest: Array, limb: tuple[int, int, int], target: Array, pole: Array, skeleton: tuple[Array, Array]
) -> None:
    """Elbows fold forwards, knees backwards."""
    rotations, joints = skeleton
    upper, middle, end = limb
    bones = rest[middle] - rest[upper], rest[end] - rest[middle]
    along = bones[0] / np.linalg.norm(bones[0])
    fold = np.array([0.0, 0.0, 1.0]) - along * along[2]
    fold = fold if middle >= ELBOW else -fold
    frame = rotations[PARENTS[upper]]
    pose[upper], pose[middle] = two_bones(bones, fold / np.linalg.norm(fold), frame, target - joints[upper], pole)


def orient_hand(
    pose: Float[Array, "22 3"],
    rest: Float[Array, "j 3"],
    side: int,
    fingers: Float[Array, "3"],
    palm: Float[Array, "3"],
) -> None:
    """Turn forearm and wrist of ``pose`` (changed in place) so that the hand has a direction.

    Args:
        fingers: where the fingers shall point, model frame. palm: where the palm shall face, made orthogonal.
    """
    sign = 1.0 - 2.0 * side
    fingers = fingers / np.linalg.norm(fingers)
    normal = palm - fingers * (palm @ fingers)
    normal = normal / np.linalg.norm(normal) if np.linalg.norm(normal) > 1e-6 else _orthogonal(fingers)
    x, y = sign * fingers, -normal
    wanted = np.stack([x, y, np.cross(x, y)], 1)
    rotations, _ = forward(pose, rest)
    local = rotations[ELBOW + side].T @ wanted
    twist = 2 * np.arctan2(*_quaternion_x(local))
    twist = (twist + np.pi) % (2 * np.pi) - np.pi
    share = rotvec_to_matrix(np.array([0.6 * twist, 0.0, 0.0]))
    pose[ELBOW + side] = matrix_to_rotvec(rotvec_to_matrix(pose[ELBOW + side]) @ share)
    pose[WRIST + side] = matrix_to_rotvec(share.T @ local)


def _quaternion_x(rotation: Float[Array, "3 3"]) -> tuple[float, float]:
    """Components x and w of the quaternion: what the rotation turns about x is ``2 arctan2(x, w)``."""
    vector = matrix_to_rotvec(rotation)
    angle = float(np.linalg.norm(vector))
    return float(np.sinc(angle / 2 / np.pi) * vector[0] / 2), float(np.cos(angle / 2))


def hinge_elbows(pose: Float[Array, "22 3"]) -> Float[Array, "22 3"]:
    """The same arms with elbows that bend about their own axis only (y) and then twist the forearm.

    What a bent elbow turns about the upper arm is given to the shoulder; no joint and no forearm moves.
    """
    pose = pose.copy()
    for side, sign in ((0, 1.0), (1, -1.0)):
        elbow, shoulder = rotvec_to_matrix(pose[[ELBOW + side, SHOULDER + side]])
        forearm = sign * elbow[:, 0]
        if np.hypot(forearm[1], forearm[2]) < 0.12:  # nearly straight: no axis to speak of
            continue
        turn = rotvec_to_matrix(np.array([np.arctan2(-forearm[1], forearm[2]), 0.0, 0.0]))
        pose[SHOULDER + side] = matrix_to_rotvec(shoulder @ turn)
        pose[ELBOW + side] = matrix_to_rotvec(turn.T @ elbow)
    return pose
