"""The whole bake, start to end: under a minute on one core, plus one to three minutes for anny's first parse."""

from pathlib import Path

import numpy as np
from jaxtyping import Float

from .correctives import fit_pose_blendshapes
from .expression import fit_expressions
from .hands import fit_hands
from .landmarks import load_landmarks
from .parts import hidden_in_head, outer_skin, paint_vertices, part_indices, read_face_labels
from .picks import format_order, pick_vertices
from .regressor import fit_joint_regressor
from .shape import Population, ShapeSpace, fit_shape_space, mirror_map, project, sample_population, symmetrise
from .skinning import fit_skinning
from .source import load_source
from .write import BakedBody, write_body

PEOPLE = 1600
FRESH_PEOPLE = 300
SEED = 1


def bake_body(out: Path, *, pose_blendshapes: bool = True, cache: Path | None = None) -> None:
    """Bake the free body from MakeHuman's assets: write `out` (SMPL-X layout) and `freebody_parts.npz` beside it.

    Parameters
    ----------
    out
        Path of the body file; name it SMPLX_*.npz if loaders that read the model's type off the name shall take it.
    pose_blendshapes
        False writes zeros for `posedirs`.
    cache
        Folder for what anny parses (about a minute to make); None keeps nothing.

    Needs the authoring dependencies anny, torch and scipy; raises ImportError without them.
    """
    source = load_source(cache)
    population = sample_population(source, PEOPLE, SEED)
    mirror = mirror_map(population.vertices.mean(0))
    symmetrise(population, mirror)
    shape = fit_shape_space(source.faces, population, mirror)
    skinning = fit_skinning(source, shape)
    labels, count = read_face_labels(source), len(shape.template)
    expression = fit_expressions(source, shape, skinning.eyeballs, hidden_in_head(labels, count))
    regressor = fit_joint_regressor(population, shape, skinning, expression.moved)
    posedirs = np.zeros((count, 3, 486), np.float32)
    if pose_blendshapes:
        posedirs = fit_pose_blendshapes(source, shape, skinning)
    picks = pick_vertices(source, shape, skinning, outer_skin(labels, count))
    parts = part_indices(labels, skinning, expression.moved)
    fresh = sample_population(source, FRESH_PEOPLE, SEED + 1)
    symmetrise(fresh, mirror)
    body = BakedBody(
        source=source,
        shape=shape,
        skinning=skinning,
        expression=expression,
        regressor=regressor,
        posedirs=posedirs,
        hands=fit_hands(shape.joints),
        landmarks=load_landmarks(),
        parts=parts | {"vertex_colors": paint_vertices(source, shape, skinning)},
        order=format_order(picks, count),
        report=measure(shape, regressor, fresh),
    )
    write_body(body, out)


def measure(
    shape: ShapeSpace, regressor: Float[np.ndarray, "55 V"], fresh: Population
) -> dict[str, Float[np.ndarray, "_"]]:
    """Errors on people the bake has not seen, millimetres, against MakeHuman's bone heads and skin.

    `joint_error_mm` [55,2]: mean and largest error of every regressed joint, on the people's full detail.
    `shape_error_mm` [3,3]: columns used (10, 20, 50), mean and 95th percentile of the vertex error.
    `shape_explained` [S]: cumulative share of the variance of the bake's own people.
    """
    error = 1000 * np.linalg.norm(
        np.einsum("jv,nvi->nji", regressor, fresh.vertices, optimize=True) - fresh.joints, axis=2
    )
    rows = []
    for columns in (10, 20, 50):
        coefficients = project(shape, fresh.vertices, columns)
        rebuilt = shape.template + np.einsum(
            "nk,vik->nvi", coefficients, shape.directions[:, :, :columns], optimize=True
        )
        distance = 1000 * np.linalg.norm(rebuilt - fresh.vertices, axis=2)
        rows.append((columns, distance.mean(), np.percentile(distance, 95)))
    return {
        "joint_error_mm": np.stack([error.mean(0), error.max(0)], axis=1).astype(np.float32),
        "shape_error_mm": np.array(rows, np.float32),
        "shape_explained": shape.explained.astype(np.float32),
    }
