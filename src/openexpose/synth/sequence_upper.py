"""What arms, hands, heads and faces do over time: gestures drawn as poses are for pictures, arms that swing, speech."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from openexpose.geometry.rotation import rotvec_to_matrix
from openexpose.synth.hand_pose import gesture
from openexpose.synth.limits import mirror_hand
from openexpose.synth.pose import PoseSource, sample_body, sample_expression, sample_hands
from openexpose.synth.sequence_body import UPPER, about
from openexpose.synth.sequence_curves import envelope, keyed, keyed_values, mixed
from openexpose.synth.skeleton import ELBOW, HEAD, NECK, SHOULDER, SPINE, WRIST

Array = np.ndarray
Rng = np.random.Generator

_STYLES = {
    "as they are": 0.2, "folded": 0.12, "hips": 0.14, "face": 0.14, "clasped": 0.12, "point": 0.12, "reach": 0.16,
}  # fmt: skip
_AHEAD = np.array([0.0, 0.05, 1.0])
_MOST_SPINE_RAD, _MOST_NECK_RAD = 0.12, 0.3
"""Of each joint, while standing."""


@dataclass(frozen=True, eq=False)
class Acting:
    """Upper body [n, 13, 3, 3], hands [n, 30, 3, 3] (left first), jaw and eyes [n, 3, 3, 3], expression [n, e]."""

    upper: Float[Array, "n 13 3 3"]
    hands: Float[Array, "n 30 3 3"]
    face: Float[Array, "n 3 3 3"]
    expression: Float[Array, "n e"]


def act(rng: Rng, source: PoseSource, betas: Float[Array, "b"], times_s: Float[Array, "n"], talks: bool) -> Acting:
    """Somebody who stands and gestures: every one or two seconds another pose of arms, hands and face.

    Args:
        talks: the mouth moves four times a second; else the face changes about once a second.
    """
    first, last = float(times_s[0]), float(times_s[-1])
    keys, spans, at = [_gesture(rng, source, betas)], [], first + rng.uniform(0.2, 1.0)
    while at < last:
        length = rng.uniform(0.45, 0.9)
        spans.append((at, at + length))
        keys.append(_gesture(rng, source, betas))
        at += length + rng.uniform(0.3, 1.2)
    upper = keyed(times_s, spans, np.stack([key[0] for key in keys]))
    hands = keyed(times_s, spans, np.stack([key[1] for key in keys]))
    face, expression = _faces(rng, source, times_s, talks)
    return Acting(upper, _grips(rng, hands, times_s), face, expression)


def _gesture(rng: Rng, source: PoseSource, betas: Array) -> tuple[Array, Array]:
    """Upper body [13, 3, 3] and hands [30, 3, 3]."""
    style = str(rng.choice(list(_STYLES), p=list(_STYLES.values())))
    body = sample_body(rng, source, stance="prior", arms=style, gaze_at=_AHEAD, betas=betas)
    hands = sample_hands(rng, source, body, holding=0.0)
    pose = body.pose.copy()
    for joints, most in ((SPINE, _MOST_SPINE_RAD), ((NECK, HEAD), _MOST_NECK_RAD)):
        for joint in joints:
            pose[joint] *= min(1.0, most / max(float(np.linalg.norm(pose[joint])), 1e-9))
    fingers = np.concatenate([mirror_hand(hands.left_as_right), hands.right])
    return rotvec_to_matrix(pose[UPPER]), rotvec_to_matrix(fingers)


def _grips(rng: Rng, hands: Array, times_s: Array) -> Array:
    """Now and then a hand opens and closes, one to two times a second."""
    out, at = hands.copy(), float(times_s[0]) + rng.uniform(0, 3)
    while at < times_s[-1]:
        length, hz, side = rng.uniform(1.5, 3.0), rng.uniform(1.0, 2.0), int(rng.integers(2))
        ease = envelope(times_s, [(at, at + length)], 0.4)
        share = ease * (0.5 - 0.5 * np.cos(2 * np.pi * hz * (times_s - at)))
        part = slice(15 * side, 15 * side + 15)
        for name, weight in (("open", ease), ("fist", share)):
            fingers = gesture(rng, name) if side else mirror_hand(gesture(rng, name))
            goal = np.broadcast_to(rotvec_to_matrix(fingers), out[:, part].shape)
            out[:, part] = mixed(out[:, part], goal, weight)
        at += length + rng.uniform(1, 4)
    return out


def _faces(rng: Rng, source: PoseSource, times_s: Array, talks: bool) -> tuple[Array, Array]:
    faces, spans, at = [sample_expression(rng, source)], [], float(times_s[0])
    while at < times_s[-1]:
        length = rng.uniform(0.16, 0.26) if talks else rng.uniform(0.2, 0.5)
        spans.append((at, at + length))
        faces.append(sample_expression(rng, source))
        at += length + (rng.uniform(0.0, 0.08) if talks else rng.uniform(0.3, 1.2))
    turns = np.stack([np.concatenate([face.jaw[None], face.eyes]) for face in faces])
    expression = keyed_values(times_s, spans, np.stack([face.expression for face in faces]))
    return keyed(times_s, spans, rotvec_to_matrix(turns)), expression


def swing_arms(
    upper: Float[Array, "n 13 3 3"], stride_m: Float[Array, "n"], walking: Float[Array, "n"], running: Float[Array, "n"]
) -> Float[Array, "n 13 3 3"]:
    """Arms that swing against the legs, and a chest that turns against the hips, as far as somebody walks or runs.

    Args:
        stride_m: how far the left foot is ahead. walking, running: shares, together at most 1.
    """
    out, moving = upper.copy(), walking + running
    for side, sign in ((0, 1.0), (1, -1.0)):
        ahead = -sign * stride_m
        swing = np.where(moving > 0, (0.75 * walking + 0.85 * running) / np.maximum(moving, 1e-9), 0) * ahead
        bend = 0.3 * walking + 1.45 * running + 0.25 * swing
        goals = {
            SHOULDER: about(0, 0.08 - swing) @ about(2, np.full(len(swing), -sign * 1.3)),
            ELBOW: about(1, -sign * np.maximum(bend, 0.05)),
            WRIST: np.broadcast_to(np.eye(3), (len(swing), 3, 3)),
        }
        for joint, goal in goals.items():
            k = UPPER.index(joint + side)
            out[:, k] = mixed(out[:, k], goal, moving)
    turn = 0.36 * stride_m * moving
    for joint, share in ((SPINE[0], 0.35), (SPINE[1], 0.35), (SPINE[2], 0.3), (NECK, -0.45)):
        k = UPPER.index(joint)
        out[:, k] = about(1, share * turn) @ out[:, k]
    return out
