"""Motion: feet that stand stay, nobody jumps that does not hop, quick motions have the frequency they are said to."""

from functools import cache

import numpy as np
import pytest

from openexpose.body.keypoints import INDEX
from openexpose.body.mesh import keypoints
from openexpose.synth.person import Stage
from openexpose.synth.sequence_cast import Character, actor_of, sample_character
from openexpose.synth.sequence_motion import animate
from openexpose.synth.sequence_moves import MOVES
from openexpose.synth.sequence_script import Part, Script
from openexpose.synth.sequence_steps import RUN, WALK

FPS, SECONDS = 25, 5.0
BALLS = [INDEX["left_foot"], INDEX["right_foot"]]
SPEED = {WALK: 1.3, RUN: 2.7}


@cache
def script_of(kind: str) -> Script:
    rng = np.random.default_rng(5)
    if kind in SPEED:
        part = Part(-3.0, -4.0, 1.0)
        part.go(-3.0 + 9 * SPEED[kind], -4.0, 9.0, kind)
    elif kind == "turn":
        part = Part(0.0, -4.0, 0.2)
        part.wait(1.0)
        part.turn(3.0, 1.2)
        part.wait(SECONDS)
    elif kind == "stop":
        part = Part(-4.0, -4.0, 1.0)
        part.go(0.0, -4.0, 4.0)
        part.wait(3.0)
        part.go(-2.0, -3.0, 2.0)
        part.wait(9.0)
    else:
        part = Part(0.0, -4.0, 0.0, time_s=-0.3)
        part.move(rng, kind, 4.0)
    return part.script()


@pytest.fixture(scope="module")
def person(stage: Stage) -> Character:
    return sample_character(np.random.default_rng(3), stage)


def joints(stage: Stage, person: Character, kind: str, fps: int = FPS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The 144 keypoints in the world, whether feet stand, and times."""
    times = np.arange(round(SECONDS * fps)) / fps
    done = animate(np.random.default_rng(7), stage, person, script_of(kind), times)
    betas = np.repeat(person.betas[None], len(times), 0)
    points = keypoints(stage.model, done.pose, betas, done.expression).astype(float)
    return points + (done.pelvis - points[:, 0])[:, None], done.planted, times


KINDS = (WALK, RUN, "stop", "turn", *MOVES)


@pytest.mark.parametrize("kind", KINDS)
def test_feet_that_stand_stay_where_they_are(kind: str, stage: Stage, person: Character) -> None:
    points, planted, _ = joints(stage, person, kind)
    for side, ball in enumerate(BALLS):
        still = planted[1:, side] & planted[:-1, side]
        slide_mm = 1e3 * np.linalg.norm(np.diff(points[:, ball], axis=0), axis=1)[still]
        assert still.mean() > (0.15 if kind == RUN else 0.25)
        assert slide_mm.max() < 1.5, "millimetres a frame"
        assert np.ptp(points[planted[:, side], ball, 1]) < 3e-3


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_jumps(kind: str, stage: Stage, person: Character) -> None:
    """Speeds are those of people; accelerations do not grow with the frame rate, as they would where speed jumps."""
    slow, fast = joints(stage, person, kind, 50)[0], joints(stage, person, kind, 100)[0]
    assert np.linalg.norm(np.diff(slow[:, :22], axis=0), axis=2).max() * 50 < 10, "metres a second"
    accelerations = [
        np.linalg.norm(np.diff(p[:, :22], n=2, axis=0), axis=2).max() * fps**2 for p, fps in ((slow, 50), (fast, 100))
    ]
    assert accelerations[1] < min(1.35 * accelerations[0], 200), "metres per square second"


@pytest.mark.parametrize("kind", [WALK, RUN])
def test_who_goes_somewhere_steps_with_both_feet_in_turn(kind: str, stage: Stage, person: Character) -> None:
    points, planted, times = joints(stage, person, kind)
    way = points[-1, 0, 0] - points[0, 0, 0]
    assert way == pytest.approx(SPEED[kind] * (times[-1] - times[0]), abs=0.1)
    ahead = points[:, BALLS[0], 0] - points[:, BALLS[1], 0]
    swaps = np.flatnonzero(np.diff(np.sign(ahead)))
    lengths = np.diff(times[swaps])
    assert len(swaps) >= 7 and lengths.max() < 1.5 * lengths.min(), "even steps"
    assert 0.25 < np.median(np.abs(way)) / (len(swaps) + 1) < 1.5
    assert (~planted).all(1).any() == (kind == RUN) or kind == WALK, "who runs flies"
    assert 0.01 < np.ptp(points[:, 0, 1]) < 0.12, "the pelvis bobs"
    wrists = points[:, INDEX["left_wrist"], 0] - points[:, INDEX["right_wrist"], 0]
    assert np.corrcoef(ahead, wrists)[0, 1] < -0.8, "arms swing against the legs"


def test_nobody_sinks_into_the_floor(stage: Stage, person: Character) -> None:
    times = np.arange(0, SECONDS, 0.2)
    for kind in (WALK, "squat", "kick", "jack"):
        done = animate(np.random.default_rng(7), stage, person, script_of(kind), times)
        for n in range(len(times)):
            actor = actor_of(stage, person, done.pose[n], done.expression[n], done.pelvis[n])
            assert actor.lowest_m > -0.02
            assert actor.lowest_m < (0.2 if kind == "jack" else 0.02)


@pytest.mark.parametrize("move", MOVES)
def test_quick_motions_have_their_frequency(move: str, stage: Stage, person: Character) -> None:
    points, _, times = joints(stage, person, move, 50)
    (span,) = script_of(move).moves
    side = ("left", "right")[span.side]
    name = {
        "wave": f"{side}_wrist",
        "punch": "left_wrist",
        "jack": "left_wrist",
        "kick": f"{side}_ankle",
        "squat": "pelvis",
    }
    axis = {"wave": 0, "punch": 2, "jack": 1, "kick": 2, "squat": 1}[move]
    inside = (times > span.start_s + 0.5) & (times < min(span.end_s, SECONDS) - 0.1)
    signal = points[inside, INDEX[name[move]], axis]
    rates = np.linspace(0.3, 4, 500)
    angles = 2 * np.pi * rates[:, None] * times[inside]
    window = np.hanning(len(signal))
    power = np.abs((np.exp(1j * angles) * window * (signal - signal.mean())).sum(1))
    assert rates[power.argmax()] == pytest.approx(span.hz, rel=0.12)
    assert np.ptp(signal) > 0.15, "metres"


def test_fingers_jaw_and_expression_move(stage: Stage, person: Character) -> None:
    times = np.arange(round(SECONDS * FPS)) / FPS
    done = animate(np.random.default_rng(7), stage, person, script_of("turn"), times)
    for part in (done.pose[:, 22], done.pose[:, 25:40], done.pose[:, 40:55], done.expression):
        assert part.std(0).max() > 0.03
    assert np.abs(np.diff(done.expression, axis=0)).max() < 3
