"""Sampling of faces: mixtures of facial actions, visemes, blinks, gaze; a jaw that opens with its lips."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from openexpose.synth.pose_source import PoseSource

Array = np.ndarray
Rng = np.random.Generator

_LARGEST = 4.0
_JAW_DEG = 30.0


@dataclass(frozen=True)
class Face:
    """Expression coefficients, jaw opening and gaze: what the face does.

    Attributes:
        expression: [e] coefficients. jaw: [3] and eyes: [2, 3], axis-angle (radians).
    """

    expression: Float[Array, "e"]
    jaw: Float[Array, "3"]
    eyes: Float[Array, "2 3"]


VISEMES: Mapping[str, tuple[float, dict[str, float]]] = {
    "aa": (20, {"mouthLowerDown": 0.6, "mouthUpperUp": 0.25}),
    "E": (11, {"mouthStretch": 0.45, "mouthLowerDown": 0.4, "mouthUpperUp": 0.2}),
    "ih": (8, {"mouthSmile": 0.2, "mouthLowerDown": 0.35, "mouthUpperUp": 0.2}),
    "ee": (4, {"mouthSmile": 0.35, "mouthStretch": 0.4, "mouthLowerDown": 0.4}),
    "oh": (14, {"mouthFunnel": 0.75}),
    "ou": (6, {"mouthPucker": 0.8, "mouthFunnel": 0.3}),
    "PP": (0, {"mouthPress": 0.6, "mouthRollLower": 0.3, "mouthRollUpper": 0.3}),
    "FF": (2, {"mouthRollLower": 0.7, "mouthUpperUp": 0.35}),
    "TH": (7, {"mouthLowerDown": 0.3, "mouthUpperUp": 0.25}),
    "DD": (5, {"mouthLowerDown": 0.35, "mouthUpperUp": 0.3, "mouthShrugUpper": 0.15}),
    "kk": (9, {"mouthLowerDown": 0.25, "mouthStretch": 0.15}),
    "CH": (4, {"mouthFunnel": 0.55, "mouthPucker": 0.35, "mouthUpperUp": 0.2}),
    "SS": (2, {"mouthStretch": 0.3, "mouthLowerDown": 0.45, "mouthUpperUp": 0.35}),
    "RR": (6, {"mouthPucker": 0.45, "mouthFunnel": 0.2}),
}
"""Shapes of a speaking mouth: opening of the jaw in degrees, and facial actions of both sides."""

MOODS: Mapping[str, tuple[float, dict[str, float]]] = {
    "smile": (0, {"mouthSmile": 0.8, "cheekSquint": 0.35, "eyeSquint": 0.3}),
    "smile with teeth": (5, {"mouthSmile": 0.85, "mouthUpperUp": 0.6, "mouthLowerDown": 0.5, "cheekSquint": 0.5}),
    "laugh": (19, {"mouthSmile": 0.85, "mouthUpperUp": 0.5, "cheekSquint": 0.6, "eyeSquint": 0.6}),
    "anger": (3, {"browDown": 0.9, "noseSneer": 0.5, "mouthPress": 0.4, "eyeSquint": 0.4}),
    "shout": (26, {"browDown": 0.7, "mouthStretch": 0.5, "mouthUpperUp": 0.5, "noseSneer": 0.4}),
    "surprise": (18, {"browInnerUp": 0.9, "browOuterUp": 0.8, "eyeWide": 0.8, "mouthFunnel": 0.3}),
    "fear": (8, {"browInnerUp": 0.9, "eyeWide": 0.8, "mouthStretch": 0.7}),
    "sadness": (0, {"browInnerUp": 0.9, "mouthFrown": 0.8, "mouthShrugLower": 0.4}),
    "disgust": (4, {"noseSneer": 0.9, "mouthUpperUp": 0.7, "browDown": 0.5, "mouthFrown": 0.3}),
    "pain": (8, {"eyeBlink": 0.8, "cheekSquint": 0.7, "browDown": 0.7, "mouthStretch": 0.6}),
    "doubt": (0, {"mouthPress": 0.5, "mouthDimple": 0.5, "browDown": 0.3}),
    "kiss": (0, {"mouthPucker": 1.0}),
    "puff": (0, {"cheekPuff": 0.45, "mouthPress": 0.3}),
    "yawn": (28, {"eyeBlink": 0.8, "browInnerUp": 0.4, "mouthFunnel": 0.25}),
    "sleep": (2, {"eyeBlink": 1.0}),
}
"""Whole expressions: opening of the jaw in degrees, and facial actions of both sides."""

_STRENGTH_AT = {"jawForward": 0.6, "mouthLeft": 0.8, "mouthRight": 0.8, "cheekPuff": 0.6, "mouthClose": 0.0}
"""Actions that are drawn at less than full strength: they move far, or make sense with an open jaw only."""
_OFTEN = {"mouthSmile": 0.16, "eyeBlink": 0.12, "browInnerUp": 0.2, "browOuterUp": 0.16, "browDown": 0.16}
_SELDOM = {"jawForward": 0.04, "mouthClose": 0.0, "cheekPuff": 0.03, "mouth": 0.05}


def sample_face(rng: Rng, num_expression: int) -> Face:
    """A milder face, for whole bodies, from the expression directions alone: neutral-ish in 15 % of the samples."""
    strength = rng.uniform(0.2, 1.0) if rng.random() < 0.85 else 0.1
    active = rng.random(num_expression) < 0.5
    expression = np.clip(strength * active * rng.normal(0, 1, num_expression), -2, 2)
    opening = np.radians(25 * rng.beta(1, 1.5)) * (rng.random() < 0.5)
    jaw = np.array([opening, rng.normal(0, 0.03), rng.normal(0, 0.015)])
    return Face(expression, jaw, _gaze(rng, 0.1))


def sample_expression(rng: Rng, source: PoseSource) -> Face:
    """A face for close-ups: a mood, a viseme or single actions at any strength, lids, brows, gaze; jaw with its lips.

    Coefficients stay within +-4. Falls back on :func:`sample_face` for a body model whose actions are not known.
    """
    if source.actions is None:
        return sample_face(rng, source.num_expression)
    strength: dict[str, float] = {}
    opening = 0.0
    kind = rng.choice(["mood", "viseme", "actions", "calm"], p=[0.4, 0.25, 0.28, 0.07])
    if kind in ("mood", "viseme"):
        table = MOODS if kind == "mood" else VISEMES
        jaw_deg, actions = table[str(rng.choice(list(table)))]
        amount = rng.uniform(0.45, 1.6)
        opening = jaw_deg * np.clip(amount + rng.normal(0, 0.15), 0, 1.5)
        uneven = 0.25 if rng.random() < 0.2 else 0.06
        for stem, value in actions.items():
            _add(strength, stem, value * amount * rng.uniform(0.7, 1.2), rng.normal(0, uneven))
    if kind != "calm":
        _single_actions(rng, strength, 1.5 if kind == "actions" else 0.6)
    _lids(rng, strength)
    if kind in ("actions", "calm") and rng.random() < 0.4:
        opening = _JAW_DEG * rng.beta(1, 1.4)
        _add(strength, "mouthLowerDown", opening / 60, 0.0)
    jaw = np.radians([np.clip(opening, 0, _JAW_DEG), 0, 0])
    if rng.random() < 0.15:  # sideways, with the lips
        side = rng.uniform(-1, 1)
        jaw[1] = np.radians(9) * side
        strength["mouthLeft" if side > 0 else "mouthRight"] = 0.25 * abs(side)
    jaw[1:] += rng.normal(0, [0.012, 0.01])
    return Face(_coefficients(rng, source, strength), jaw, _gaze(rng, 0.25))


def _coefficients(rng: Rng, source: PoseSource, strength: Mapping[str, float]) -> Float[Array, "e"]:
    """Coefficients of actions, with a little of every direction, so that none is ever the same."""
    if source.actions is None:
        raise TypeError("no facial actions")
    weights = np.zeros(len(source.action_names))
    for index, name in enumerate(source.action_names):
        stem = name.removesuffix("Left").removesuffix("Right")
        value = strength.get(name, 0.0) if name in ("mouthLeft", "mouthRight") else 0.0
        if stem != "mouth":
            value = strength.get(name, 0.0)
        weights[index] = np.clip(value, 0, 1.35) * _STRENGTH_AT.get(name, 1.0)
    count = source.actions.shape[1]
    noise = rng.normal(0, 0.65, count) * rng.uniform(0.3, 1.4)
    if rng.random() < 0.25:  # a few directions at large
        few = rng.random(count) < 0.2
        noise += few * rng.normal(0, 1.3, count)
    return np.clip(weights @ source.actions + noise, -_LARGEST, _LARGEST)


_PAIRED = (
    "browDown", "browOuterUp", "cheekSquint", "eyeBlink", "eyeSquint", "eyeWide", "mouthDimple", "mouthFrown",
    "mouthLowerDown", "mouthPress", "mouthSmile", "mouthStretch", "mouthUpperUp", "noseSneer",
)  # fmt: skip
_SINGLE = (
    "browInnerUp", "cheekPuff", "jawForward", "mouthFunnel", "mouthLeft", "mouthPucker", "mouthRight",
    "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper",
)  # fmt: skip


def _add(strength: dict[str, float], stem: str, value: float, difference: float) -> None:
    """Raise an action; of a paired one both sides, the left by ``difference`` more."""
    if stem in _PAIRED:
        strength[f"{stem}Left"] = max(strength.get(f"{stem}Left", 0.0), value + difference)
        strength[f"{stem}Right"] = max(strength.get(f"{stem}Right", 0.0), value - difference)
    else:
        strength[stem] = max(strength.get(stem, 0.0), value)


def _single_actions(rng: Rng, strength: dict[str, float], often: float) -> None:
    for stem in (*_PAIRED, *_SINGLE):
        name = "mouth" if stem in ("mouthLeft", "mouthRight") else stem
        if rng.random() >= often * {**_OFTEN, **_SELDOM}.get(name, 0.1):
            continue
        value = float(rng.beta(1.3, 1.0))
        if stem in _PAIRED and rng.random() < 0.25:  # one side only
            strength[f"{stem}{rng.choice(['Left', 'Right'])}"] = value
        else:
            _add(strength, stem, value, rng.normal(0, 0.05))


def _lids(rng: Rng, strength: dict[str, float]) -> None:
    """Blinks of both eyes or of one, half-closed and wide eyes."""
    kind = rng.choice(["as is", "blink", "half", "wink", "wide"], p=[0.74, 0.09, 0.08, 0.04, 0.05])
    if kind == "blink":
        _add(strength, "eyeBlink", rng.uniform(0.85, 1.0), 0.0)
    elif kind == "half":
        _add(strength, "eyeBlink", rng.uniform(0.2, 0.7), 0.0)
    elif kind == "wink":
        strength[f"eyeBlink{rng.choice(['Left', 'Right'])}"] = rng.uniform(0.8, 1.0)
    elif kind == "wide":
        _add(strength, "eyeWide", rng.uniform(0.5, 1.0), 0.0)


def _gaze(rng: Rng, extreme: float) -> Float[Array, "2 3"]:
    """Both eyes, nearly parallel; far to a side or up or down in a share ``extreme`` of the samples."""
    if rng.random() < extreme:
        gaze = np.radians([rng.uniform(-22, 25), rng.uniform(-35, 35), 0.0])
    else:
        gaze = np.array([rng.normal(0, 0.1), rng.normal(0, 0.18), 0.0])
    cross = rng.uniform(0, 0.06)  # near things are looked at with both eyes turned inwards
    return np.stack([gaze - [0, cross, 0], gaze + [0, cross, 0]])
