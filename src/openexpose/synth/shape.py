"""Sampling of body shapes that a human could have."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float

from openexpose.body.model import BodyModel
from openexpose.synth.collision import free_body

Array = np.ndarray
Rng = np.random.Generator

HEIGHT_M = 1.35, 2.1
BODY_MASS_INDEX = 14.5, 45.0
"""Kilogrammes per square metre of height, at the density of water."""
_SPREAD, _LARGEST, _WIDE, _FAR = 1.2, 3.5, 0.15, 0.4


@dataclass(frozen=True, eq=False)
class Measures:
    """Height and volume of a body model's shapes, as polynomials of its betas.

    Attributes:
        height_m: [1 + b] constant and slopes. volume: [1 + b] constant and slopes, cubic metres.
        bend: [b, b] second-order terms of the volume.
    """

    height_m: Float[Array, "c"]
    volume: Float[Array, "c"]
    bend: Float[Array, "b b"]

    def of(self, betas: Float[Array, "b"]) -> tuple[float, float]:
        """Height (metres) and body mass index of a shape; betas beyond those known are ignored."""
        b = np.zeros(len(self.bend))
        count = min(len(b), len(betas))
        b[:count] = betas[:count]
        height = float(self.height_m[0] + self.height_m[1:] @ b)
        volume = float(self.volume[0] + self.volume[1:] @ b + b @ self.bend @ b)
        return height, 1000.0 * volume / height**2


def measure_shapes(model: BodyModel) -> Measures:
    """Height from crown to sole and enclosed volume, the latter without its third-order terms."""
    top, sole = int(model.v_template[:, 1].argmax()), int(model.v_template[:, 1].argmin())
    heights = model.shape_dirs[top, 1] - model.shape_dirs[sole, 1]
    height = np.concatenate([[np.ptp(model.v_template[:, 1])], heights]).astype(float)
    count = model.num_betas
    base = model.v_template.astype(float)
    dirs = np.moveaxis(model.shape_dirs.astype(float), -1, 0)
    gradient = _volume_gradient(base, model.faces)
    slopes = (dirs * gradient).sum((1, 2))
    bend = np.zeros((count, count))
    for k, direction in enumerate(dirs):  # the gradient is quadratic: central differences are exact
        change = _volume_gradient(base + direction, model.faces) - _volume_gradient(base - direction, model.faces)
        bend[k] = (dirs * change).sum((1, 2)) / 4
    volume = np.concatenate([[(base * gradient).sum() / 3], slopes])
    return Measures(height, volume, bend)


def _volume_gradient(vertices: Float[Array, "v 3"], faces: Array) -> Float[Array, "v 3"]:
    """Derivative of the enclosed volume (divergence theorem)."""
    gradient = np.zeros_like(vertices)
    corners = [vertices[faces[:, k]] for k in range(3)]
    for k in range(3):
        push = np.cross(corners[(k + 1) % 3], corners[(k + 2) % 3]) / 6
        for axis in range(3):
            gradient[:, axis] += np.bincount(faces[:, k], push[:, axis], len(vertices))
    return gradient


@lru_cache(maxsize=1)
def default_measures() -> Measures:
    """Those of the packaged free body."""
    return measure_shapes(free_body())


def sample_betas(rng: Rng, count: int, measures: Measures | None = None) -> Float[Array, "b"]:
    """Shape coefficients: normal of width 1.2; in 15 % of the samples some are uniform in +-3.5.

    Drawn anew where height or body mass index leave ``HEIGHT_M``, ``BODY_MASS_INDEX``.

    Args:
        measures: of the body model; None: those of the packaged free body.
    """
    measures = measures or default_measures()
    for _ in range(50):
        betas = np.clip(rng.normal(0, _SPREAD, count), -_LARGEST, _LARGEST)
        if rng.random() < _WIDE:
            far = rng.random(count) < _FAR
            betas[far] = rng.uniform(-_LARGEST, _LARGEST, int(far.sum()))
        height, index = measures.of(betas)
        if HEIGHT_M[0] <= height <= HEIGHT_M[1] and BODY_MASS_INDEX[0] <= index <= BODY_MASS_INDEX[1]:
            return betas
    return np.zeros(count)
