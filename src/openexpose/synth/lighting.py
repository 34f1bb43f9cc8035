"""Light of photographed places and of a studio.

World frame of a place: y up; the panorama's middle column lies towards -z, and columns further right towards +x.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numba
import numpy as np
from jaxtyping import Float

from openexpose.errors import InputError
from openexpose.synth.thing import Lighting

Array = np.ndarray

VIEW_WIDTH_RAD = np.radians(75.0)
"""Horizontal field of view of the background pictures."""
VIEW_DOWN_RAD = np.radians(4.2)
"""How far their cameras look down."""
_JIT: dict[str, Any] = {"nogil": True, "fastmath": True, "cache": True, "error_model": "numpy"}
_ZERO, _ONE = np.float32(0), np.float32(1)
_BANDS = np.array([0.28209479, 0.48860251, 1.09254843, 0.31539157, 0.54627422], np.float32)
_WARM = np.array([1.0, 0.1, -1.0])


@dataclass(frozen=True)
class Place:
    """Light of a photographed place, in its world frame.

    Attributes:
        harmonics: [9, 3] as :class:`openexpose.synth.thing.Lighting`, without the sun.
        direction: [3] towards the sun, or what is most like one. colour: [3] its intensity.
    """

    name: str
    harmonics: Float[Array, "9 3"]
    direction: Float[Array, "3"]
    colour: Float[Array, "3"]


def read_places(folder: Path) -> dict[str, Place]:
    """Light of all places that have background pictures, by name.

    Args: folder: the synthetic-data assets.

    Raises:
        InputError: ``lights.npz`` is missing.
    """
    path = folder / "lights.npz"
    if not path.is_file():
        raise InputError(f"{folder} without lights.npz", "the synthetic-data assets")
    with np.load(path, allow_pickle=False) as file:
        rows = zip(*(file[key] for key in ("names", "harmonics", "direction", "colour")), strict=True)
        return {str(name): Place(str(name), *(a.astype(float) for a in arrays)) for name, *arrays in rows}


def R_world_view(yaw_deg: float, down_rad: float = 0.0) -> Float[Array, "3 3"]:
    """Rotation from the camera of the background picture ``<place>_<yaw_deg>`` to the place's world frame.

    Args: down_rad: how far the camera looks down; the pictures' own is :data:`VIEW_DOWN_RAD`.
    """
    s, c = np.sin(np.radians(yaw_deg)), np.cos(np.radians(yaw_deg))
    level = np.array([[-c, 0, -s], [0, -1, 0], [-s, 0, c]])
    s, c = np.sin(down_rad), np.cos(down_rad)
    return level @ np.array([[1, 0, 0], [0, c, s], [0, -s, c]])


def harmonic_basis(directions: Float[Array, "*n 3"]) -> Float[Array, "*n 9"]:
    """Real spherical harmonics up to order 2 of unit vectors (Ramamoorthi and Hanrahan 2001, equation 3)."""
    x, y, z = np.moveaxis(np.asarray(directions), -1, 0)
    b0, b1, b2, b3, b4 = _BANDS
    rows = [b0 + 0 * x, b1 * y, b1 * z, b1 * x, b2 * x * y, b2 * y * z, b3 * (3 * z * z - 1), b2 * x * z]
    return np.stack([*rows, b4 * (x * x - y * y)], -1)


def rotate_harmonics(harmonics: Float[Array, "9 c"], rotation: Float[Array, "3 3"]) -> Float[Array, "9 c"]:
    """Harmonics of the same light after it was turned: light from d now comes from rotation @ d."""
    directions = np.random.default_rng(0).normal(size=(64, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    basis = np.linalg.pinv(harmonic_basis(directions))
    return basis @ (harmonic_basis(directions @ rotation) @ harmonics)


def lighting_of(place: Place, R_camera_world: Float[Array, "3 3"], exposure: float) -> Lighting:
    """A place's light in a camera's frame, times ``exposure``; 1 shows a white wall at about 0.8 of full white."""
    turned = rotate_harmonics(place.harmonics, R_camera_world)
    return Lighting(R_camera_world @ place.direction, exposure * place.colour, exposure * turned)


def sample_lighting(rng: np.random.Generator) -> Lighting:
    """Light of no place: a key from above, mostly from the camera's side, and a soft gradient from anywhere above."""
    direction, up = rng.normal(size=(2, 3))
    direction[1] = -abs(direction[1]) - 0.2
    direction[2] = -abs(direction[2]) * (1 if rng.random() < 0.8 else -1)
    up[1] = -abs(up[1]) - 1
    key = rng.uniform(0.1, 1.4)
    ambient = rng.uniform(0.35, 0.85) * (1.15 - 0.45 * key)
    tint = lambda spread: 1 + spread * (rng.normal() * _WARM + 0.4 * rng.normal(size=3))  # noqa: E731
    sky, ground = ambient * 1.15 * tint(0.1), ambient * rng.uniform(0.3, 0.85) * tint(0.1)
    harmonics = np.zeros((9, 3))
    harmonics[0] = (sky + ground) / 2 / _BANDS[0]
    axis = up / np.linalg.norm(up)
    harmonics[[3, 1, 2]] = axis[:, None] * (sky - ground) / 2 / _BANDS[1]
    return Lighting(direction / np.linalg.norm(direction), key * tint(0.1), harmonics)


@numba.njit(inline="always", **_JIT)
def ambient_light(harmonics: Array, x: float, y: float, z: float) -> tuple[float, float, float]:
    """Light of the surroundings on a unit normal (compiled); never negative."""
    b0, b1, b2 = np.float32(0.28209479), np.float32(0.48860251), np.float32(1.09254843)
    b3, b4 = np.float32(0.31539157) * (np.float32(3) * z * z - _ONE), np.float32(0.54627422) * (x * x - y * y)
    xy, yz, xz = b2 * x * y, b2 * y * z, b2 * x * z
    h, x1, y1, z1 = harmonics, x * b1, y * b1, z * b1
    red = b0 * h[0, 0] + y1 * h[1, 0] + z1 * h[2, 0] + x1 * h[3, 0] + xy * h[4, 0] + yz * h[5, 0]
    green = b0 * h[0, 1] + y1 * h[1, 1] + z1 * h[2, 1] + x1 * h[3, 1] + xy * h[4, 1] + yz * h[5, 1]
    blue = b0 * h[0, 2] + y1 * h[1, 2] + z1 * h[2, 2] + x1 * h[3, 2] + xy * h[4, 2] + yz * h[5, 2]
    red += b3 * h[6, 0] + xz * h[7, 0] + b4 * h[8, 0]
    green += b3 * h[6, 1] + xz * h[7, 1] + b4 * h[8, 1]
    blue += b3 * h[6, 2] + xz * h[7, 2] + b4 * h[8, 2]
    return max(red, _ZERO), max(green, _ZERO), max(blue, _ZERO)
