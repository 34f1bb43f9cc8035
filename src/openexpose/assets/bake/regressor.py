"""Joint regressor: every joint a signed combination of skin vertices, weights summing to one.

Ridge regression over the population with an exact sum constraint.  MakeHuman's joint centres move relative to the
skin in ways no convex combination of nearby vertices follows; signed weights follow them.  Vertices that any facial
action moves are never used, so expressions cannot move a joint.  Left joints are fitted, right ones mirrored,
central ones averaged with their mirror image."""

import numpy as np
from jaxtyping import Float, Int

from .shape import Population, ShapeSpace
from .skeleton import JOINTS, PARENTS, joint, mirrored_joints
from .skinning import Skinning

MOST_VERTICES = 500
RIDGE = 1e-5
"""Added to the diagonal, in m^2 per person: prefers many small weights to few large ones."""
STILL_M = 2e-4


def fit_joint_regressor(
    population: Population, shape: ShapeSpace, skinning: Skinning, moved: Float[np.ndarray, "V"], seed: int = 0
) -> Float[np.ndarray, "55 V"]:
    """J_regressor of the SMPL-X format.  `moved`: largest motion (m) of every vertex under any facial action."""
    rng = np.random.default_rng(seed)
    regressor = np.zeros((len(JOINTS), len(shape.template)))
    other = mirrored_joints()
    for index, name in enumerate(JOINTS):
        if name.startswith("right_"):
            regressor[index, shape.mirror] = regressor[other[index]]
            continue
        chosen = _candidates(index, shape, skinning, moved, rng)
        regressor[index, chosen] = _ridge(population.vertices[:, chosen] - population.joints[:, index : index + 1])
        if not name.startswith("left_"):
            regressor[index] = 0.5 * (regressor[index] + regressor[index, shape.mirror])
    return regressor.astype(np.float32)


def _ridge(offsets: Float[np.ndarray, "N C 3"]) -> Float[np.ndarray, "C"]:
    """Weights w minimising |sum_c w_c offset_c|^2 + RIDGE |w|^2 under sum w = 1."""
    rows = offsets.astype(np.float64).transpose(0, 2, 1).reshape(-1, offsets.shape[1])
    gram = rows.T @ rows / len(offsets)
    weights = np.linalg.solve(gram + RIDGE * np.eye(len(gram)), np.ones(len(gram)))
    return weights / weights.sum()


def _candidates(
    index: int, shape: ShapeSpace, skinning: Skinning, moved: np.ndarray, rng: np.random.Generator
) -> Int[np.ndarray, "C"]:
    """Still vertices skinned to the joint or its neighbours: the nearest half, and a random half within 25 cm."""
    name, weights = JOINTS[index], skinning.weights
    near = (weights[:, index] > 0.02) | (weights[:, max(PARENTS[index], 0)] > 0.02)
    for child in np.flatnonzero(np.array(PARENTS) == index):
        near |= weights[:, child] > 0.3
    near &= moved < STILL_M
    if name == "jaw":
        near = ((weights[:, joint("head")] > 0.2) | (weights[:, index] > 0.01)) & (moved < STILL_M)
    if name.endswith("_eye"):
        near = skinning.eyeballs & (weights[:, index] > 0.5)
    if name.startswith("left_"):
        near &= shape.template[:, 0] > -0.002
    chosen = np.flatnonzero(near)
    distance = np.linalg.norm(shape.template[chosen] - shape.joints[index], axis=1)
    chosen, distance = chosen[np.argsort(distance)], np.sort(distance)
    half = MOST_VERTICES // 2
    if len(chosen) <= MOST_VERTICES:
        return chosen
    within = chosen[half:][distance[half:] < max(0.25, distance[half])]
    return np.concatenate([chosen[:half], rng.permutation(within)[: MOST_VERTICES - half]])
