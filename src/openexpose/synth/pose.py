"""Sampling of body poses, hand poses, faces and shapes. Poses are axis-angle (radians) in the body-model frame."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from openexpose.body.keypoints import INDEX, PARENTS
from openexpose.geometry.rotation import matrix_to_rotvec, rotvec_to_matrix
from openexpose.synth.limits import clip_body, clip_right_hand, mirror_body, mirror_hand
from openexpose.synth.prior import PosePrior

Array = np.ndarray

_HIP, _KNEE, _ANKLE = INDEX["left_hip"], INDEX["left_knee"], INDEX["left_ankle"]
_SHOULDER, _ELBOW, _WRIST = INDEX["left_shoulder"], INDEX["left_elbow"], INDEX["left_wrist"]
_SPINE = [INDEX[f"spine{k}"] for k in (1, 2, 3)]
_NECK, _HEAD = INDEX["neck"], INDEX["head"]
STANCES = {"prior": 0.66, "sit": 0.14, "crouch": 0.08, "kneel": 0.06, "lie": 0.06}
"""How people hold themselves (``prior``: as the learned prior has it, mostly standing or walking), with shares."""
ARMS = {"reach": 0.3, "up": 0.13, "folded": 0.1, "hips": 0.12, "face": 0.17, "knees": 0.08, "free": 0.1}
"""Where arms that are replaced go, with shares."""


@dataclass(frozen=True)
class PoseSource:
    """What poses are drawn from.

    Attributes:
        prior: learned body-pose prior.
        hands: [n, 15, 3] right-hand poses about the flat hand, axis-angle.
        rest: [22, 3] rest positions of the body joints (metres), for reaching.
        actions: [a, e] expression coefficients of facial actions at full strength, or None.
        action_names: [a] their names; what ends in Left has a twin that ends in Right.
        num_expression: e, where there are no actions.
    """

    prior: PosePrior
    hands: Float[Array, "n 15 3"]
    rest: Float[Array, "22 3"]
    actions: Float[Array, "a e"] | None = None
    action_names: tuple[str, ...] = ()
    num_expression: int = 20


def sample_body_pose(
    rng: np.random.Generator, source: PoseSource, *, stance: str | None = None, arms: str | None = None
) -> Float[Array, "22 3"]:
    """One body pose inside the joint limits; joint 0 is the tilt of the pelvis, without yaw.

    Args:
        stance: one of ``STANCES``, None: drawn.
        arms: one of ``ARMS``, or ``as they are`` for those of the stance. None: drawn, replaced in 45 % of the poses.
    """
    pose = clip_body(source.prior.sample(rng))
    if rng.random() < 0.2:  # the upper half of one, the lower half of another
        upper = [*_SPINE, _NECK, *range(13, 22)]
        pose[upper] = clip_body(source.prior.sample(rng))[upper]
    kind = stance or rng.choice(list(STANCES), p=list(STANCES.values()))
    if kind != "prior":
        pose = {"sit": _sit, "crouch": _crouch, "kneel": _kneel, "lie": _lie}[kind](pose, rng)
    if rng.random() < 0.5:
        pose[_NECK] += rng.normal(0, [0.18, 0.3, 0.12])
        pose[_HEAD] += rng.normal(0, [0.18, 0.3, 0.12])
    pose[1:] += rng.normal(0, 0.05, (21, 3))
    if arms is None:
        arms = rng.choice(list(ARMS), p=list(ARMS.values())) if rng.random() <= 0.45 else "as they are"
    pose = clip_body(pose)
    if arms in ARMS:
        pose = _arms(pose, rng, source.rest, arms)
    for wrist in (_WRIST, _WRIST + 1):
        if rng.random() < 0.7:
            pose[wrist] = rng.normal(0, np.radians([32, 14, 30]))
    if rng.random() < 0.5:
        pose = mirror_body(pose)
    return clip_body(pose)


def _legs(pose: Array, rng: np.random.Generator, hip_deg: tuple[float, float], knee_deg: tuple[float, float]) -> Array:
    """Both legs bent: hip and knee angles uniform in the given ranges, nearly equal in three cases of four."""
    hips, knees = rng.uniform(*hip_deg, 2), rng.uniform(*knee_deg, 2)
    if rng.random() < 0.75:
        hips[1], knees[1] = hips[0] + rng.normal(0, 7), knees[0] + rng.normal(0, 8)
    for side, sign in ((0, 1), (1, -1)):
        turn, spread = sign * rng.normal(0, 12), sign * rng.uniform(-6, 30)
        pose[_HIP + side] = np.radians([-hips[side], turn, spread])
        pose[_KNEE + side] = np.radians([knees[side], 0, 0])
        pose[_ANKLE + side] = np.radians([rng.uniform(-20, 15), 0, 0])
    return pose


def _sit(pose: Array, rng: np.random.Generator) -> Array:
    pose = _legs(pose, rng, (60, 110), (20, 120))
    pose[0] = np.radians([rng.normal(-5, 12), 0, rng.normal(0, 5)])
    pose[_SPINE, 0] += rng.uniform(-0.05, 0.25)
    return pose


def _crouch(pose: Array, rng: np.random.Generator) -> Array:
    pose = _legs(pose, rng, (50, 130), (60, 145))
    pose[0] = np.radians([rng.uniform(5, 50), 0, rng.normal(0, 6)])
    return pose


def _kneel(pose: Array, rng: np.random.Generator) -> Array:
    pose = _legs(pose, rng, (-5, 40), (80, 140))
    if rng.random() < 0.5:  # one foot in front
        pose[_HIP], pose[_KNEE] = (
            np.radians([-90 + rng.normal(0, 12), 0, 8]),
            np.radians([90 + rng.normal(0, 15), 0, 0]),
        )
    pose[0] = np.radians([rng.uniform(-5, 30), 0, rng.normal(0, 5)])
    return pose


def _lie(pose: Array, rng: np.random.Generator) -> Array:
    angle = rng.choice([-1, 1]) * rng.uniform(65, 100)
    axis = np.array([1.0, 0, 0]) if rng.random() < 0.7 else np.array([0, 0, 1.0])
    pose[0] = np.radians(angle) * axis
    return pose


def _arms(pose: Array, rng: np.random.Generator, rest: Array, style: str) -> Array:
    """Replace one or both arms: reach for a random or a meaningful point."""
    rotations, joints = _forward(pose, rest)
    sides = (0, 1) if style in ("folded", "knees") or rng.random() < 0.5 else (int(rng.integers(2)),)
    if style == "free":
        for side in sides:
            sign = 1 - 2 * side
            angles = rng.normal(0, 30), -sign * rng.uniform(-25, 85), sign * rng.uniform(-75, 70)
            pose[_SHOULDER + side] = np.radians(angles)
            pose[_ELBOW + side] = np.radians([rng.normal(0, 15), -sign * rng.uniform(0, 135), sign * rng.normal(0, 10)])
        return clip_body(pose)
    chest = rotations[_SPINE[2]]
    for side in sides:
        target = _target(style, side, rng, joints, (chest, rotations[_HEAD]))
        pose[_SHOULDER + side], pose[_ELBOW + side] = _reach(side, target, rng, (rotations, joints, rest))
    return clip_body(pose)


def _target(style: str, side: int, rng: np.random.Generator, joints: Array, frames: tuple[Array, Array]) -> Array:
    """Where the wrist should go, model frame, metres."""
    sign = 1.0 - 2.0 * side
    shoulder, (chest, head) = joints[_SHOULDER + side], frames
    match style:
        case "up":
            return shoulder + chest @ np.array(
                [sign * rng.normal(0.1, 0.15), rng.uniform(0.25, 0.55), rng.normal(0.08, 0.12)]
            )
        case "folded":
            across = np.array([-sign * rng.uniform(0.02, 0.12), rng.uniform(-0.05, 0.05), rng.uniform(0.17, 0.24)])
            return joints[_SPINE[2]] + chest @ across
        case "hips":
            return joints[_HIP + side] + chest @ np.array(
                [sign * rng.uniform(0.08, 0.14), rng.uniform(0.06, 0.2), rng.normal(0.02, 0.03)]
            )
        case "face":
            return joints[_HEAD] + head @ np.array(
                [sign * rng.normal(0.08, 0.07), rng.normal(-0.04, 0.08), rng.uniform(0.12, 0.26)]
            )
        case "knees":
            return joints[_KNEE + side] + rng.normal(0, 0.06, 3) + [0, 0.1, 0]
    direction = rng.normal(0, 1, 3) * [0.8, 1, 0.7] + [sign * 0.35, 0, 0.6]
    return shoulder + chest @ (direction / np.linalg.norm(direction)) * rng.uniform(0.2, 0.5)


def _forward(pose: Array, rest: Array) -> tuple[Array, Array]:
    """Rotations and positions of the 22 body joints in the model frame."""
    local = rotvec_to_matrix(pose)
    rotations, joints = local.copy(), rest.copy()
    for k in range(1, 22):
        parent = PARENTS[k]
        rotations[k] = rotations[parent] @ local[k]
        joints[k] = joints[parent] + rotations[parent] @ (rest[k] - rest[parent])
    return rotations, joints


def _reach(
    side: int, target: Array, rng: np.random.Generator, skeleton: tuple[Array, Array, Array]
) -> tuple[Array, Array]:
    """Two-bone inverse kinematics with a random elbow swivel: shoulder and elbow axis-angles."""
    rotations, joints, rest = skeleton
    shoulder, elbow, wrist = _SHOULDER + side, _ELBOW + side, _WRIST + side
    upper = np.linalg.norm(rest[elbow] - rest[shoulder])
    lower = np.linalg.norm(rest[wrist] - rest[elbow])
    offset = target - joints[shoulder]
    length = np.clip(np.linalg.norm(offset), 0.35 * (upper + lower), 0.985 * (upper + lower))
    aim = offset / max(np.linalg.norm(offset), 1e-6)
    bend = np.pi - np.arccos(np.clip((upper**2 + lower**2 - length**2) / (2 * upper * lower), -1, 1))
    lift = np.arccos(np.clip((upper**2 + length**2 - lower**2) / (2 * upper * length), -1, 1))
    sign = 1.0 - 2.0 * side
    chest = rotations[_SPINE[2]]
    pole = chest @ (np.array([0.6 * sign, -1.0, -0.4]) + rng.normal(0, 0.45, 3))  # elbows hang down and out
    pole -= aim * (pole @ aim)
    pole /= np.linalg.norm(pole)
    bone = aim * np.cos(lift) + pole * np.sin(lift)
    fold = aim * np.sin(lift) - pole * np.cos(lift)  # where the forearm turns to: orthogonal to the bone
    rest_frame = np.stack([[sign, 0, 0], [0, 0, 1.0], np.cross([sign, 0, 0], [0, 0, 1.0])], 1)
    frame = np.stack([bone, fold, np.cross(bone, fold)], 1)
    local = rotations[PARENTS[shoulder]].T @ frame @ rest_frame.T
    return matrix_to_rotvec(local), bend * rest_frame[:, 2]


def sample_hand_pose(rng: np.random.Generator, source: PoseSource) -> Float[Array, "15 3"]:
    """A right-hand pose: two library poses blended, some fingers from others, noise, limits. Mirror it for the left."""
    pick = lambda: source.hands[rng.integers(len(source.hands))]  # noqa: E731
    t = rng.beta(0.6, 0.6)
    pose = t * pick() + (1 - t) * pick()
    if rng.random() < 0.5:
        for finger in rng.integers(0, 5, 2):
            pose[3 * finger : 3 * finger + 3] = pick()[3 * finger : 3 * finger + 3]
    pose = pose + rng.normal(0, 0.08, (15, 3)) + np.repeat(rng.normal(0, 0.08, (5, 3)), 3, 0)
    pose[0:12:3, 1] += rng.normal(0, 0.06, 4)  # spread
    return clip_right_hand(pose)


@dataclass(frozen=True)
class Face:
    """Expression coefficients, jaw opening and gaze: what the face does.

    Attributes:
        expression: [e] coefficients. jaw: [3] and eyes: [2, 3], axis-angle (radians).
    """

    expression: Float[Array, "e"]
    jaw: Float[Array, "3"]
    eyes: Float[Array, "2 3"]


def sample_face(rng: np.random.Generator, num_expression: int) -> Face:
    """A face: neutral-ish in 15 % of the samples, else a few expression directions; the jaw opens in half of them."""
    strength = rng.uniform(0.2, 1.0) if rng.random() < 0.85 else 0.1
    active = rng.random(num_expression) < 0.5
    expression = np.clip(strength * active * rng.normal(0, 1, num_expression), -2, 2)
    opening = np.radians(25 * rng.beta(1, 1.5)) * (rng.random() < 0.5)
    jaw = np.array([opening, rng.normal(0, 0.03), rng.normal(0, 0.015)])
    gaze = np.array([rng.normal(0, 0.12), rng.normal(0, 0.22), 0.0])
    return Face(expression, jaw, np.stack([gaze, gaze + np.array([0, rng.normal(0, 0.02), 0])]))


_OFTEN = {"mouthSmile": 0.3, "eyeBlink": 0.18, "browInnerUp": 0.22, "browOuterUp": 0.18, "browDown": 0.18}
_SELDOM = {"jawForward": 0.03, "mouthClose": 0.0, "cheekPuff": 0.05}


def sample_expression(rng: np.random.Generator, source: PoseSource) -> Face:
    """A face for close-ups: a mixture of facial actions (smile, frown, blink, brows up, ...), mostly on both sides.

    Falls back on :func:`sample_face` for a body model whose facial actions are not known.
    """
    if source.actions is None:
        return sample_face(rng, source.num_expression)
    face = sample_face(rng, source.actions.shape[1])
    strength = np.zeros(len(source.action_names))
    for index, name in enumerate(source.action_names):
        stem = name.removesuffix("Left").removesuffix("Right")
        if name == f"{stem}Right" and stem != "mouth":
            continue
        if rng.random() < {**_OFTEN, **_SELDOM}.get(stem, 0.1):
            strength[index] = rng.beta(1.2, 1.2)
            if name == f"{stem}Left" and stem != "mouth" and rng.random() < 0.8:
                twin = source.action_names.index(f"{stem}Right")
                strength[twin] = np.clip(strength[index] + rng.normal(0, 0.08), 0, 1)
    expression = strength @ source.actions + 0.3 * face.expression
    return Face(expression, face.jaw, face.eyes)


def sample_betas(rng: np.random.Generator, count: int) -> Float[Array, "b"]:
    """Body shape coefficients: standard normal, clipped at 2.5."""
    return np.clip(rng.normal(0, 1, count), -2.5, 2.5)


def full_pose(
    body: Float[Array, "22 3"], right: Float[Array, "15 3"], left_as_right: Float[Array, "15 3"], face: Face
) -> Float[Array, "55 3 3"]:
    """All 55 joint rotations as matrices; the left hand is given as a right one and mirrored here."""
    parts = [body, face.jaw[None], face.eyes, mirror_hand(left_as_right), right]
    return rotvec_to_matrix(np.concatenate(parts))
