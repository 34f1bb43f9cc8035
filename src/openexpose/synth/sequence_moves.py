"""Quick motions of known frequency: waving, punches, jumping jacks, kicks, squats. They show what smoothing takes."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from openexpose.geometry.rotation import rotvec_to_matrix
from openexpose.synth.hand_pose import gesture
from openexpose.synth.limits import mirror_hand
from openexpose.synth.sequence_body import UPPER
from openexpose.synth.sequence_curves import bump, mixed
from openexpose.synth.sequence_steps import HOP, Swing
from openexpose.synth.skeleton import ELBOW, SHOULDER, SPINE, WRIST, forward, orient_hand, reach

Array = np.ndarray

MOVES = ("wave", "punch", "jack", "kick", "squat")
FREQUENCY_HZ: Mapping[str, tuple[float, float]] = {
    "wave": (2.0, 3.0), "punch": (1.1, 1.6), "jack": (0.9, 1.15), "kick": (0.8, 1.1), "squat": (0.5, 0.7),
}  # fmt: skip
"""Repetitions a second: of ``punch`` of each arm, of ``jack`` out and in again."""
_GRAVITY = 9.81


@dataclass(frozen=True)
class Span:
    """A quick motion from ``start_s`` to ``end_s``, ``hz`` times a second.

    Attributes:
        move: one of ``MOVES``. side: of ``wave`` and ``kick``: 0 left, 1 right.
    """

    move: str
    start_s: float
    end_s: float
    hz: float
    side: int = 0


@dataclass(eq=False)
class Channels:
    """What moves add to a body; changed in place. See :class:`openexpose.synth.sequence_body.Doing`."""

    times_s: Float[Array, "n"]
    upper: Float[Array, "n 13 3 3"]
    hands: Float[Array, "n 30 3 3"]
    rest: Float[Array, "22 3"]
    lean: Float[Array, "n 3"] = field(init=False)
    shift_m: Float[Array, "n 2"] = field(init=False)
    drop_m: Float[Array, "n"] = field(init=False)
    jump_m: Float[Array, "n"] = field(init=False)
    feet_m: Float[Array, "n 2 3"] = field(init=False)
    feet_pitch: Float[Array, "n 2"] = field(init=False)

    def __post_init__(self) -> None:
        n = len(self.times_s)
        self.lean, self.shift_m = np.zeros((n, 3)), np.zeros((n, 2))
        self.drop_m, self.jump_m = np.zeros(n), np.zeros(n)
        self.feet_m, self.feet_pitch = np.zeros((n, 2, 3)), np.zeros((n, 2))

    def arms(self, pose: Float[Array, "22 3"], share: Float[Array, "n"], sides: tuple[int, ...] = (0, 1)) -> None:
        """Bring arms a share of the way to those of a pose."""
        for joint in (SHOULDER, ELBOW, WRIST):
            for side in sides:
                k = UPPER.index(joint + side)
                goal = np.broadcast_to(rotvec_to_matrix(pose[joint + side]), self.upper[:, k].shape)
                self.upper[:, k] = mixed(self.upper[:, k], goal, share)

    def fingers(self, right: Float[Array, "15 3"], share: Float[Array, "n"]) -> None:
        """Bring both hands a share of the way to the pose of a right hand."""
        goal = rotvec_to_matrix(np.concatenate([mirror_hand(right), right]))
        self.hands[:] = mixed(self.hands, np.broadcast_to(goal, self.hands.shape), share)

    def bend(self, rotvec: Float[Array, "n 3"]) -> None:
        """Turn the spine by so much in all."""
        third = rotvec_to_matrix(rotvec / 3)
        for joint in SPINE:
            k = UPPER.index(joint)
            self.upper[:, k] = third @ self.upper[:, k]


def hops(span: Span) -> list[Swing]:
    """Steps of a move: jumping jacks take both feet out and in again."""
    if span.move != "jack":
        return []
    half, swings = 0.5 / span.hz, []
    count = 2 * max(1, int((span.end_s - span.start_s) * span.hz))
    for k in range(count):
        start, end = _flight(span, k, half)
        swings += [Swing(foot, start, end, HOP, 0.2 if k % 2 == 0 else 0.0) for foot in (0, 1)]
    return swings


def _flight(span: Span, k: int, half: float) -> tuple[float, float]:
    """When hop k leaves the floor and lands: three tenths of it are on the floor."""
    start = span.start_s + k * half
    return start + 0.3 * half, start + half


def add(channels: Channels, span: Span, ease: Float[Array, "n"]) -> None:
    """Add a move; ``ease`` [n] is 1 while it goes on and 0 elsewhere, eased."""
    {"wave": _wave, "punch": _punch, "jack": _jack, "kick": _kick, "squat": _squat}[span.move](channels, span, ease)


def _phase(channels: Channels, span: Span) -> Array:
    return (channels.times_s - span.start_s) * span.hz


def _arm_pose(
    rest: Array, wrist: tuple[float, float, float], pole: tuple[float, float, float],
    fingers: tuple[float, float, float], palm: tuple[float, float, float],
) -> Float[Array, "22 3"]:  # fmt: skip
    """Both arms with wrists at places from the shoulders, over the arm's length; told for the left, mirrored."""
    pose = np.zeros((22, 3))
    length = float(np.linalg.norm(np.diff(rest[[SHOULDER, ELBOW, WRIST]], axis=0), axis=1).sum())
    for side, sign in ((0, 1.0), (1, -1.0)):
        flip = np.array([sign, 1, 1])
        skeleton = forward(pose, rest)
        reach(pose, rest, side, skeleton[1][SHOULDER + side] + length * flip * wrist, flip * pole, skeleton)
        orient_hand(pose, rest, side, flip * fingers, flip * palm)
    return pose


def _wave(channels: Channels, span: Span, ease: Array) -> None:
    """A raised forearm swings to both sides."""
    pole = (0.9, -0.55, -0.1)
    inner = _arm_pose(channels.rest, (0.08, 0.44, 0.2), pole, (-0.6, 1.0, 0.1), (0, 0, 1))
    outer = _arm_pose(channels.rest, (0.7, 0.26, 0.2), pole, (0.9, 0.65, 0.1), (0, 0, 1))
    share = 0.5 - 0.5 * np.cos(2 * np.pi * _phase(channels, span))
    channels.arms(inner, ease, (span.side,))
    channels.arms(outer, ease * share, (span.side,))
    channels.shift_m[:, 0] += (1 - 2 * span.side) * -0.02 * ease


def _punch(channels: Channels, span: Span, ease: Array) -> None:
    """Fists at the chin go out in turn; the trunk turns with them."""
    guard = _arm_pose(channels.rest, (-0.12, 0.12, 0.42), (0.5, -1, -0.2), (-0.15, 0.9, 0.3), (-1, 0, -0.1))
    out = _arm_pose(channels.rest, (-0.25, 0.1, 0.93), (0.7, -0.7, 0), (-0.1, 0.02, 1), (0, -1, 0))
    phase = _phase(channels, span)
    channels.arms(guard, ease)
    channels.fingers(gesture(np.random.default_rng(0), "fist"), ease)
    for side in (0, 1):
        at = (phase + 0.5 * side) % 1.0
        share = ease * bump(at, 0.05, 0.6)
        channels.arms(out, share, (side,))
        turn = np.zeros((len(phase), 3))
        turn[:, 1] = -(1 - 2 * side) * 0.5 * share
        channels.bend(turn)
    channels.drop_m += 0.05 * ease
    channels.lean[:, 0] += 0.08 * ease


def _jack(channels: Channels, span: Span, ease: Array) -> None:
    """Arms from the thighs over the head while the feet hop apart, and back."""
    up = _arm_pose(channels.rest, (0.12, 0.93, 0.05), (1, 0, -0.2), (-0.3, 1, 0), (-1, -0.2, 0))
    out = _arm_pose(channels.rest, (0.96, 0.02, 0.08), (0.2, -0.3, -1), (1, 0.05, 0), (0, -1, 0))
    down = _arm_pose(channels.rest, (0.3, -0.93, 0.05), (1, 0, -0.3), (0.2, -1, 0), (-1, 0, 0))
    half = 0.5 / span.hz
    raised = 0.5 - 0.5 * np.cos(2 * np.pi * np.clip(_phase(channels, span) - 0.15, 0, None))
    for joint in (SHOULDER, SHOULDER + 1, ELBOW, ELBOW + 1, WRIST, WRIST + 1):
        keys = [np.broadcast_to(rotvec_to_matrix(pose[joint]), (len(raised), 3, 3)) for pose in (down, out, up)]
        arc = mixed(mixed(keys[0], keys[1], raised), mixed(keys[1], keys[2], raised), raised)  # de Casteljau's
        k = UPPER.index(joint)
        channels.upper[:, k] = mixed(channels.upper[:, k], arc, ease)
    count = 2 * max(1, int((span.end_s - span.start_s) * span.hz))
    for k in range(count):
        start, end = _flight(span, k, half)
        high = min(_GRAVITY * (end - start) ** 2 / 8, 0.14)
        channels.jump_m += high * bump(channels.times_s, start, end) ** 0.67
        channels.drop_m += 0.05 * bump(channels.times_s, start - 0.3 * half - 0.06, start + 0.06)
    landed = span.start_s + count * half
    channels.drop_m += 0.05 * bump(channels.times_s, landed - 0.03, landed + 0.22)


def _kick(channels: Channels, span: Span, ease: Array) -> None:
    """Kicks to the front with one leg, arms before the chest."""
    guard = _arm_pose(channels.rest, (0.0, -0.05, 0.5), (0.6, -1, -0.2), (-0.3, 0.8, 0.4), (-1, 0, -0.2))
    channels.arms(guard, ease)
    channels.fingers(gesture(np.random.default_rng(0), "fist"), ease)
    sign = 1 - 2 * span.side
    leg = float(np.linalg.norm(channels.rest[1] - channels.rest[7]))
    for k in range(max(1, int((span.end_s - span.start_s) * span.hz))):
        start, length = span.start_s + k / span.hz, 1 / span.hz
        lifted = bump(channels.times_s, start + 0.08 * length, start + 0.92 * length)
        thrown = bump(channels.times_s, start + 0.22 * length, start + 0.74 * length)
        channels.feet_m[:, span.side, 1] += leg * (0.45 * lifted + 0.35 * thrown)
        channels.feet_m[:, span.side, 2] += leg * (0.1 * lifted + 0.75 * thrown)
        channels.feet_pitch[:, span.side] += 0.5 * lifted - 0.9 * thrown
        channels.lean[:, 0] -= 0.22 * thrown
    channels.shift_m[:, 0] += -sign * 0.085 * ease
    channels.drop_m += 0.02 * ease


def _squat(channels: Channels, span: Span, ease: Array) -> None:
    """Knees bend and stretch, arms forward."""
    ahead = _arm_pose(channels.rest, (0.05, 0.5, 0.82), (0.7, -0.7, 0), (0, 0.5, 0.85), (0, -0.85, 0.5))
    deep = ease * (0.5 - 0.5 * np.cos(2 * np.pi * _phase(channels, span)))
    channels.arms(ahead, deep)
    channels.drop_m += 0.34 * deep
    channels.lean[:, 0] += 0.55 * deep
    channels.shift_m[:, 1] -= 0.14 * deep
