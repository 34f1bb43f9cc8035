"""Expression directions from the facial actions: uncentred principal components, so that zero is the neutral face.

40 of the 52 actions are used.  The jaw (jawOpen/Left/Right), the gaze (eyeLook*) and the tongue are left out: the
first two are joint rotations in this body model.  There are therefore 40 directions and no more.

Plain components of realistic activations spend the first columns on the strong actions of mouth and eyelids and
leave the weak ones (brows, upper lip) to the end.  So the *order* of the directions comes from activations whose
strength is evened out (`EVENING`), while their *size* comes from the realistic activations: a coefficient of 1 is
one root mean square."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from .shape import ShapeSpace
from .source import MakeHumanSource

EVENING = 0.8
"""0: actions count by their own visible motion (m RMS over the skin); 1: every action counts the same."""
SAMPLES = 20000
ONE_SIDED_SHARE = 0.2
"""How often left and right act independently of each other."""
_EXCLUDED = ("jawOpen", "jawLeft", "jawRight", "tongueOut", "eyeLook")
#: how often an action takes part in a face (prefix -> probability); hand-set, 0.2 for the others
_PROBABILITY = {
    "eyeBlink": 0.35, "mouthSmile": 0.3, "browInner": 0.5, "browOuter": 0.5, "browDown": 0.4, "eyeWide": 0.4,
    "mouthLeft": 0.08, "mouthRight": 0.08, "cheekSquint": 0.1, "cheekPuff": 0.12,
    "jawForward": 0.05, "mouthClose": 0.05,
}  # fmt: skip


@dataclass(frozen=True)
class ExpressionSpace:
    """Directions (metres per unit coefficient), strongest first."""

    directions: Float[np.ndarray, "V 3 40"]
    moved: Float[np.ndarray, "V"]
    """Largest motion of every vertex under any action, metres."""
    actions: tuple[str, ...]
    action_coefficients: Float[np.ndarray, "40 40"]
    """Expression coefficients (row) of every action at full strength: faces can be mixed from named actions."""


def fit_expressions(
    source: MakeHumanSource,
    shape: ShapeSpace,
    eyeballs: Bool[np.ndarray, "V"],
    hidden: Bool[np.ndarray, "V"],
    seed: int = 3,
) -> ExpressionSpace:
    """Expression directions; `eyeballs` never move, `hidden` vertices (inside the head) don't count in the metric."""
    labels = source.actions.tolist()
    used = [index for index, label in enumerate(labels) if not label.startswith(_EXCLUDED)]
    fields = source.action_shapes()[used].astype(np.float64)
    fields[:, eyeballs] = 0
    activations = _sample_activations([labels[index] for index in used], np.random.default_rng(seed))
    covariance = activations.T @ activations / len(activations)

    metric = np.sqrt(shape.vertex_area * ~hidden)
    visible = (fields * (metric / np.linalg.norm(metric))[:, None]).reshape(len(fields), -1)
    strength = np.linalg.norm(visible, axis=1)
    even = (strength / np.median(strength)) ** -EVENING
    root = np.linalg.cholesky(covariance * np.outer(even, even) + 1e-12 * np.eye(len(even)))
    vectors = np.linalg.svd(root.T @ visible, full_matrices=False)[0]
    mixture = root @ vectors  # [action, direction] in evened activations; fields stay at their own strength
    coefficients = np.linalg.solve(mixture, activations.T)
    mixture = mixture * np.sqrt((coefficients**2).mean(1))
    mixture = mixture * np.where(mixture.sum(0) < 0, -1.0, 1.0)
    directions = np.einsum("ak,avi->vik", mixture, fields)
    return ExpressionSpace(
        directions=directions.astype(np.float32),
        moved=np.linalg.norm(fields, axis=2).max(0),
        actions=tuple(labels[index] for index in used),
        action_coefficients=np.linalg.inv(mixture).T,
    )


def _sample_activations(labels: list[str], rng: np.random.Generator) -> Float[np.ndarray, "N A"]:
    activations = np.zeros((SAMPLES, len(labels)))
    for column, label in enumerate(labels):
        probability = next((p for prefix, p in _PROBABILITY.items() if label.startswith(prefix)), 0.2)
        alone = (rng.random(SAMPLES) < probability) * rng.random(SAMPLES)
        partner = label.replace("Right", "Left")
        if label == "mouthRight" or not label.endswith("Right"):
            activations[:, column] = alone
            continue
        left = activations[:, labels.index(partner)]
        together = np.clip(left + 0.08 * rng.standard_normal(SAMPLES) * (left > 0), 0, 1)
        activations[:, column] = np.where(rng.random(SAMPLES) < ONE_SIDED_SHARE, alone, together)
    return activations
