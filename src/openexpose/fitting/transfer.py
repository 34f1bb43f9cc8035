"""Parameters of one body model from those of another, or from its meshes.

The source's vertices are laid out in the target's topology through a correspondence, and the target is fitted to them:
a closed form for each bone, then Gauss-Newton on vertices (ExPose, section 3.3, gets its SMPL-X labels from SMPL fits
in a like way).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from openexpose.errors import InputError
from openexpose.fitting.correspondence import (
    Correspondence,
    identity,
    read_correspondence,
    same_topology,
    turned_round,
)
from openexpose.fitting.models import SkinnedModel
from openexpose.fitting.transfer_register import part_joints, register, without_foreign_fingers
from openexpose.fitting.transfer_skin import Parameters, posed_vertices
from openexpose.fitting.transfer_solve import VertexFitter, with_shape

Array = np.ndarray

_BATCH = 16
_SHAPE_FRAMES = 16
_CHECKED_FRAMES = 16


@dataclass(frozen=True)
class Errors:
    """Distances of vertices, millimetres."""

    mean_mm: float
    max_mm: float

    @classmethod
    def of(cls, distances_m: Float[Array, "..."]) -> "Errors":
        """Mean and maximum."""
        return cls(float(np.mean(distances_m)) * 1e3, float(np.max(distances_m)) * 1e3)


@dataclass(frozen=True)
class Transferred:
    """The result.

    Attributes:
        parameters: of the target model.
        fit: distance of the target's vertices from the source's surface, as the correspondence has it.
        frame_mean_mm: mean of it in each frame.
        seconds: of the transfer, without finding the correspondence.
    """

    parameters: Parameters
    fit: Errors
    frame_mean_mm: Float[Array, "f"]
    seconds: float


def find_correspondence(source: SkinnedModel, target: SkinnedModel, path: Path | None = None) -> Correspondence:
    """Which points of the source the target's vertices are: themselves, or from a file, or by registration.

    Vertices of fingers are left out where one of the models has no joints for them.

    Raises:
        InputError: a file that does not fit, or models that have no limb in common.
    """
    if path is not None:
        way = read_correspondence(path, source, target)
    elif same_topology(source, target):
        way = identity(target.num_vertices)
    else:
        way = register(source, target)
    return without_foreign_fingers(way, source, target)


def transfer(
    source: SkinnedModel,
    target: SkinnedModel,
    given: Parameters | Float[Array, "f v 3"],
    way: Correspondence,
    *,
    one_shape: bool = False,
    progress: Callable[[int], object] | None = None,
) -> Transferred:
    """Fit the target to what the source shows.

    Args:
        source: the model of what is given.
        target: the model whose parameters are wanted.
        given: parameters of the source, or meshes of its topology (metres).
        way: of :func:`find_correspondence`.
        one_shape: all frames show one person: one shape for all of them, found on up to 16 frames together.
        progress: is told how many frames are done.

    Raises:
        InputError: nothing is given, or NaN.
    """
    frames = len(given)
    if not frames:
        raise InputError("no frames", "at least one")
    started = time.perf_counter()

    def goals(index: slice | Array) -> Float[Array, "f r 3"]:
        chosen = given[index]
        return way.apply(posed_vertices(source, chosen) if isinstance(chosen, Parameters) else chosen)

    joints, expression = part_joints(source, target), source.num_expression > 0
    model, betas = target, None
    if one_shape and frames > 1:
        some = np.unique(np.linspace(0, frames - 1, min(frames, _SHAPE_FRAMES)).round().astype(int))
        fitter = VertexFitter(target, way.rows, joints, expression=expression)
        betas = fitter.fit(goals(some), shared=True).parameters.betas[0]
        model = with_shape(target, betas)
    fitter = VertexFitter(model, way.rows, joints, expression=expression)
    parts, means, largest = [], [], 0.0
    for begin in range(0, frames, _BATCH):
        fit = fitter.fit(goals(slice(begin, begin + _BATCH)))
        parts.append(fit.parameters)
        means.append(fit.errors_m.mean(1))
        largest = max(largest, float(fit.errors_m.max()))
        if progress is not None:
            progress(min(begin + _BATCH, frames))
    parameters = Parameters.joined(parts)
    if betas is not None:
        parameters = replace(parameters, betas=np.tile(betas, (frames, 1)))
    mean_mm = np.concatenate(means) * 1e3
    fit_errors = Errors(float(mean_mm.mean()), largest * 1e3)
    return Transferred(parameters, fit_errors, mean_mm, time.perf_counter() - started)


def round_trip(
    source: SkinnedModel,
    target: SkinnedModel,
    given: Parameters | Float[Array, "f v 3"],
    parameters: Parameters,
    way: Correspondence,
) -> Errors:
    """There and back again: how far the source's vertices come out from where they were, on up to 16 frames.

    The way back is the same correspondence turned round. Vertices without a counterpart are not compared.

    Args:
        source, target, given, way: as in :func:`transfer`.
        parameters: what it found.
    """
    some = np.unique(np.linspace(0, len(given) - 1, min(len(given), _CHECKED_FRAMES)).round().astype(int))
    back = way
    if not same_topology(source, target):
        back = without_foreign_fingers(turned_round(way, source, target), target, source)
    chosen = given[some]
    before = posed_vertices(source, chosen) if isinstance(chosen, Parameters) else np.asarray(chosen)
    returned = transfer(target, source, parameters[some], back)
    after = posed_vertices(source, returned.parameters)
    return Errors.of(np.linalg.norm(after - before, axis=-1)[:, back.rows])
