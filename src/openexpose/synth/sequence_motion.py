"""From a script to a body's motion."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from openexpose.synth.hand_pose import relaxed
from openexpose.synth.person import Stage
from openexpose.synth.sequence_body import Doing, Performance, perform, stride_m
from openexpose.synth.sequence_cast import Character
from openexpose.synth.sequence_curves import envelope
from openexpose.synth.sequence_moves import Channels, add
from openexpose.synth.sequence_script import Script
from openexpose.synth.sequence_steps import RUN, WALK, walk_feet
from openexpose.synth.sequence_upper import act, swing_arms
from openexpose.synth.skeleton import ANKLE, HIP, KNEE

Array = np.ndarray

_FINER = 4
"""Steps of the computation in a frame."""
_BEYOND_S = 0.25
"""Before the first and after the last frame motion is computed, too: smoothing looks so far."""
_EASE_S = 0.45


def animate(
    rng: np.random.Generator, stage: Stage, character: Character, script: Script, times_s: Float[Array, "n"]
) -> Performance:
    """The motion of somebody who follows a script, at evenly spaced times."""
    frame = float(times_s[1] - times_s[0])
    step, more = frame / _FINER, int(np.ceil(_BEYOND_S / frame))
    fine = times_s[0] + step * np.arange(-_FINER * more, _FINER * (len(times_s) + more))
    root = script.root(fine)
    leg_m = float(np.linalg.norm(np.diff(character.rest[[HIP, KNEE, ANKLE]], axis=0), axis=1).sum())
    feet = walk_feet(fine, script.root, script.swings(leg_m, int(rng.integers(2))), character.shoe)
    acting = act(rng, stage.poses, character.betas, fine, script.talks)
    walking, running = (_shares(fine, script, manner) for manner in (WALK, RUN))
    upper = swing_arms(acting.upper, stride_m(root, feet), walking, running)
    channels = Channels(fine, upper, acting.hands.copy(), character.rest)
    channels.fingers(relaxed(rng), 0.85 * (walking + running))
    for span in script.moves:
        add(channels, span, envelope(fine, [(span.start_s - _EASE_S, span.end_s + _EASE_S)], _EASE_S))
    channels.lean[:, 0] += 0.05 * walking + 0.16 * running
    sway = rng.uniform(0, 2 * np.pi, 2)
    still = 1 - walking - running
    for axis, size in ((0, 0.012), (1, 0.008)):
        channels.shift_m[:, axis] += size * still * np.sin(2 * np.pi * (0.23 + 0.06 * axis) * fine + sway[axis])
    doing = Doing(
        channels.lean, channels.shift_m, channels.drop_m, channels.jump_m, channels.feet_m, channels.feet_pitch,
        channels.upper, channels.hands, acting.face, acting.expression,
    )  # fmt: skip
    return perform(root, feet, doing, character.rest, step, slice(_FINER * more, -_FINER * more, _FINER))


def _shares(times_s: Array, script: Script, manner: str) -> Float[Array, "n"]:
    """How far somebody walks, or runs, 0 to 1."""
    spans: list[tuple[float, float]] = []
    for start, end, how, speed in script.walks:
        if how == manner and speed > 0:  # turning on the spot takes no swing of the arms
            spans.append((start - _EASE_S / 2, end + _EASE_S / 2))
    return envelope(times_s, _apart(spans), _EASE_S)


def _apart(spans: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    out: list[tuple[float, float]] = []
    for start, end in sorted(spans):
        if out and start < out[-1][1]:
            out[-1] = (out[-1][0], max(end, out[-1][1]))
        else:
            out.append((start, end))
    return out
