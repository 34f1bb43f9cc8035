"""Template, shape directions and mirror map, learnt from a population of unposed adults."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from .population import sample_people
from .skeleton import joint_from_bones, mirrored_joints
from .source import MakeHumanSource
from .unpose import zero_pose

SHAPE_COLUMNS = 50
REFLECT = np.array([-1.0, 1.0, 1.0], np.float32)


@dataclass(frozen=True)
class Population:
    """People in the zero pose with their pelvis joint at the origin, metres."""

    vertices: Float[np.ndarray, "N V 3"]
    joints: Float[np.ndarray, "N 55 3"]


@dataclass(frozen=True)
class ShapeSpace:
    """Mean person and principal directions of shape; a coefficient of 1 is one standard deviation."""

    template: Float[np.ndarray, "V 3"]
    joints: Float[np.ndarray, "55 3"]
    """Joints of the mean person (bone heads, before any regressor)."""
    directions: Float[np.ndarray, "V 3 S"]
    mirror: Int[np.ndarray, "V"]
    """Vertex on the other side of the body."""
    vertex_area: Float[np.ndarray, "V"]
    explained: Float[np.ndarray, "S"]
    """Cumulative share of the variance (metric of `_metric`)."""


def sample_population(source: MakeHumanSource, count: int, seed: int, chunk: int = 50) -> Population:
    """Draw adults, unpose them and put every pelvis at the origin, so that betas never move it."""
    coefficients = sample_people(source, count, seed)
    matrix = joint_from_bones(source)
    vertices = np.empty((count, len(source.template), 3), np.float32)
    joints = np.empty((count, len(matrix), 3), np.float32)
    for start in range(0, count, chunk):
        part = slice(start, min(start + chunk, count))
        posed, heads = zero_pose(source, coefficients[part])
        located = np.einsum("jb,nbi->nji", matrix, heads)
        vertices[part], joints[part] = posed - located[:, :1], located - located[:, :1]
    return Population(vertices, joints)


def symmetrise(population: Population, mirror: Int[np.ndarray, "V"]) -> None:
    """Average every person with its mirror image, in place."""
    swapped = mirrored_joints()
    for vertices in population.vertices:
        vertices[:] = 0.5 * (vertices + vertices[mirror] * REFLECT)
    population.joints[:] = 0.5 * (population.joints + population.joints[:, swapped] * REFLECT)


def mirror_map(template: Float[np.ndarray, "V 3"]) -> Int[np.ndarray, "V"]:
    """For every vertex the one on the other side; raises ValueError unless the map is its own inverse."""
    from scipy.spatial import cKDTree

    _, mirror = cKDTree(template).query(template * REFLECT)
    if not np.array_equal(mirror[mirror], np.arange(len(template))):
        message = "mesh is not mirror-symmetric: nearest mirrored vertices do not pair up"
        raise ValueError(message)
    return mirror


def fit_shape_space(faces: Int[np.ndarray, "F 3"], population: Population, mirror: Int[np.ndarray, "V"]) -> ShapeSpace:
    """Principal components of a symmetrised population.

    The first direction is signed so that + means taller, as is every other that correlates with height at all.
    """
    template, joints = population.vertices.mean(0), population.joints.mean(0)
    area = vertex_areas(template, faces)
    centred = population.vertices - template
    weighted = (centred * _metric(area)[:, None]).reshape(len(centred), -1)
    eigenvalues, eigenvectors = np.linalg.eigh(weighted @ weighted.T)
    scores = eigenvectors[:, ::-1][:, :SHAPE_COLUMNS] * np.sqrt(len(centred))
    height = np.ptp(population.vertices[:, :, 1], axis=1)
    scores *= np.where((height - height.mean()) @ scores < 0, -1.0, 1.0)
    directions = np.einsum("nk,nx->xk", scores, centred.reshape(len(centred), -1)) / len(centred)
    return ShapeSpace(
        template=template,
        joints=joints,
        directions=directions.reshape(*template.shape, -1).astype(np.float32),
        mirror=mirror,
        vertex_area=area,
        explained=(np.cumsum(eigenvalues[::-1]) / eigenvalues.sum())[:SHAPE_COLUMNS],
    )


def vertex_areas(vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"]) -> Float[np.ndarray, "V"]:
    """A third of the area of the triangles around every vertex, m^2."""
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    face_area = 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1)
    return np.bincount(faces.ravel(), np.repeat(face_area / 3, 3), minlength=len(vertices))


def _metric(area: Float[np.ndarray, "V"]) -> Float[np.ndarray, "V"]:
    """Square root of vertex weights: half by area, half by count, so that hands and faces are heard too."""
    return np.sqrt(0.5 * area / area.sum() + 0.5 / len(area)).astype(np.float32)


def project(space: ShapeSpace, vertices: Float[np.ndarray, "N V 3"], columns: int) -> Float[np.ndarray, "N S"]:
    """Shape coefficients of people in the zero pose, in the metric of the principal components."""
    weights = _metric(space.vertex_area) ** 2
    directions = space.directions[:, :, :columns]
    norms = np.einsum("vik,v,vik->k", directions, weights, directions)
    return np.einsum("nvi,v,vik->nk", vertices - space.template, weights, directions, optimize=True) / norms
