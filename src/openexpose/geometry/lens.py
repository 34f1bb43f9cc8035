"""Lens distortion in OpenCV's terms: radial k1, k2, k3 and tangential p1, p2, in the plane at depth 1.

A point (x, y) = (X / Z, Y / Z), r^2 = x^2 + y^2, is seen where the ideal camera would see

    x (1 + k1 r^2 + k2 r^4 + k3 r^6) + 2 p1 x y + p2 (r^2 + 2 x^2)
    y (1 + k1 r^2 + k2 r^4 + k3 r^6) + 2 p2 x y + p1 (r^2 + 2 y^2).
"""

import numpy as np
from jaxtyping import Float

Array = np.ndarray

_STEPS = 30
_CLOSE = 1e-9


def distorted(plane: Float[Array, "*n 2"], lens: Float[Array, "5"]) -> Float[Array, "*n 2"]:
    """Where a lens (k1, k2, p1, p2, k3) shows points of the plane at depth 1."""
    k1, k2, p1, p2, k3 = lens
    x, y = plane[..., 0], plane[..., 1]
    squared = x * x + y * y
    radial = 1.0 + squared * (k1 + squared * (k2 + squared * k3))
    across = 2.0 * x * y
    return np.stack(
        [
            x * radial + p1 * across + p2 * (squared + 2.0 * x * x),
            y * radial + p2 * across + p1 * (squared + 2.0 * y * y),
        ],
        -1,
    )


def undistorted(seen: Float[Array, "*n 2"], lens: Float[Array, "5"]) -> Float[Array, "*n 2"]:
    """The points of the plane at depth 1 that a lens shows at ``seen``, by Newton's method from ``seen`` on.

    Returns:
        NaN where the lens shows no such point, or where it folds: beyond what its coefficients were measured for.
    """
    plane = np.array(seen, float)
    with np.errstate(all="ignore"):
        for _ in range(_STEPS):
            missed = distorted(plane, lens) - seen
            if not (np.abs(missed) > _CLOSE).any():
                break
            plane = plane - np.linalg.solve(_regular(_slope(plane, lens)), missed[..., None])[..., 0]
        found = (np.abs(distorted(plane, lens) - seen).max(-1) < 1e3 * _CLOSE) & _unfolded(plane, lens)
    return np.where(found[..., None], plane, np.nan)


def _slope(plane: Float[Array, "*n 2"], lens: Float[Array, "5"]) -> Float[Array, "*n 2 2"]:
    """Derivative of :func:`distorted`."""
    k1, k2, p1, p2, k3 = lens
    x, y = plane[..., 0], plane[..., 1]
    squared = x * x + y * y
    radial = 1.0 + squared * (k1 + squared * (k2 + squared * k3))
    steeper = 2.0 * (k1 + squared * (2.0 * k2 + 3.0 * squared * k3))
    mixed = steeper * x * y + 2.0 * p1 * x + 2.0 * p2 * y
    across = radial + steeper * x * x + 2.0 * p1 * y + 6.0 * p2 * x
    down = radial + steeper * y * y + 2.0 * p2 * x + 6.0 * p1 * y
    return np.stack([np.stack([across, mixed], -1), np.stack([mixed, down], -1)], -2)


def _regular(slope: Float[Array, "*n 2 2"]) -> Float[Array, "*n 2 2"]:
    """The derivative; the identity where it has no inverse."""
    good = np.isfinite(slope).all((-1, -2)) & (np.abs(np.linalg.det(slope)) > 1e-12)
    return np.where(good[..., None, None], slope, np.eye(2))


def _unfolded(plane: Float[Array, "*n 2"], lens: Float[Array, "5"]) -> Array:
    """Whether the lens keeps the order of points all the way from the axis to these."""
    share = np.linspace(0.0, 1.0, 17)[:, None]
    slopes = _slope(plane[..., None, :] * share, lens)
    return ((np.linalg.det(slopes) > 0) & (np.einsum("...ii", slopes) > 0)).all(-1)
