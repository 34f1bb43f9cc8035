"""Light of photographed places from their panoramas: a sun, and spherical harmonics of the rest."""

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float

from openexpose.errors import InputError
from openexpose.synth.lighting import Place, harmonic_basis

Array = np.ndarray

_COSINE_BANDS = np.array([1.0, *[2 / 3] * 3, *[1 / 4] * 5])
"""Irradiance over pi from radiance, each band (Ramamoorthi and Hanrahan 2001, equation 8, over pi)."""
_SUN_RAD, _RING_RAD = np.radians(14.0), np.radians(22.0)
_LOWEST = np.sin(np.radians(8.0))
_WALL, _BRIGHTEST, _SUN_WEIGHT, _WHITE_BALANCE = 0.8, 1.6, 0.3, 0.35


def panorama_directions(height: int) -> tuple[Float[Array, "h w 3"], Float[Array, "h w"]]:
    """Unit directions (world frame of a place) and solid angles (sr) of the pixels of a panorama twice as wide."""
    lat = np.pi / 2 - (np.arange(height) + 0.5) / height * np.pi
    lon = ((np.arange(2 * height) + 0.5) / (2 * height) - 0.5) * 2 * np.pi
    lon, lat = np.meshgrid(lon, lat)
    directions = np.stack([np.sin(lon) * np.cos(lat), np.sin(lat), -np.cos(lon) * np.cos(lat)], -1)
    return directions, np.cos(lat) * (np.pi / height) ** 2


def irradiance_harmonics(radiance: Float[Array, "h w 3"]) -> Float[Array, "9 3"]:
    """Irradiance over pi of a panorama as harmonics of the normal, up to order 2."""
    directions, weight = panorama_directions(radiance.shape[0])
    basis = harmonic_basis(directions) * weight[..., None]
    return np.einsum("hwk,hwc->kc", basis, radiance) * _COSINE_BANDS[:, None]


def split_sun(radiance: Float[Array, "h w 3"]) -> tuple[Float[Array, "h w 3"], Float[Array, "3"], Float[Array, "3"]]:
    """Take the brightest compact region above the horizon out of a panorama.

    What of it is taken grows with its share of all light that falls on a surface facing it: everything above its
    surroundings for a sun, a third of that for a bright wall.

    Returns: the rest, the unit direction [3] towards the region, and the light [3] that a white surface facing it lost.
    """
    directions, weight = panorama_directions(radiance.shape[0])
    light = radiance.mean(-1) * weight
    candidates = directions[::4, ::4].reshape(-1, 3)
    candidates = candidates[candidates[:, 1] > _LOWEST]
    flat, spots = light.ravel(), directions.reshape(-1, 3).astype(np.float32)
    inside = candidates.astype(np.float32) @ spots.T > np.cos(_SUN_RAD / 2)
    best = candidates[(inside @ flat.astype(np.float32)).argmax()]
    near = directions @ best > np.cos(_SUN_RAD)
    direction = (directions * (light * near)[..., None]).sum((0, 1))
    direction /= np.linalg.norm(direction)
    cosine = directions @ direction
    near, ring = cosine > np.cos(_SUN_RAD), (cosine <= np.cos(_SUN_RAD)) & (cosine > np.cos(_RING_RAD))
    excess = np.maximum(radiance - np.median(radiance[ring], axis=0), 0) * near[..., None]
    facing = np.maximum(cosine, 0) * weight
    share = (excess.mean(-1) * facing).sum() / max((radiance.mean(-1) * facing).sum(), 1e-9)
    excess = excess * np.clip((share - 0.05) / 0.35, 1 / 3, 1)
    return radiance - excess, direction, (excess * facing[..., None]).sum((0, 1)) / np.pi


def place_light(name: str, radiance: Float[Array, "h w 3"]) -> Place:
    """Light of a panorama (linear RGB), exposed as photographs are.

    White walls are at 0.8 on the average over their directions. Where what faces the sun were then beyond 1.6, the
    exposure goes half the way (in stops) towards what holds that, and the sun is dimmed for the rest, as the tone
    curves of cameras do.
    """
    rest, direction, colour = split_sun(radiance.astype(float))
    harmonics = irradiance_harmonics(rest)
    angles = np.arange(8) * np.pi / 4
    walls = np.stack([np.sin(angles), 0 * angles, np.cos(angles)], -1)
    sky, sun = (harmonic_basis(walls) @ harmonics).mean(0), np.maximum(walls @ direction, 0).mean() * colour
    white = ((sky + sun) / (sky + sun).mean()) ** -_WHITE_BALANCE
    gain = _WALL / max((sky + _SUN_WEIGHT * sun).mean(), 1e-9)
    behind = (harmonic_basis(direction) @ harmonics).mean()
    gain = min(gain, _BRIGHTEST / max(behind, (harmonic_basis(np.array([0, 1.0, 0])) @ harmonics).mean(), 1e-9))
    bright = _BRIGHTEST / max(behind + colour.mean(), 1e-9)
    if bright < gain:
        gain = np.sqrt(gain * bright)
        colour = colour * np.clip((_BRIGHTEST / gain - behind) / max(colour.mean(), 1e-9), 0.3, 1)
    return Place(name, harmonics * gain * white, direction, colour * gain * white)


def bake_lights(folder: Path, out: Path) -> dict[str, Place]:
    """Bake ``lights.npz`` of the synthetic-data assets from panoramas.

    Args:
        folder: holds ``<place>_512.hdr`` (equirectangular, Radiance RGBE). out: the file to write.

    Raises:
        InputError: no panoramas there, or one that cannot be read or is not twice as wide as high.
    """
    places = {}
    for path in sorted(folder.glob("*.hdr")):
        picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if picture is None or picture.ndim != 3 or picture.shape[1] != 2 * picture.shape[0]:
            raise InputError(f"{path}", "an equirectangular panorama of Radiance RGBE, twice as wide as high")
        name = path.stem.rsplit("_", 1)[0]
        places[name] = place_light(name, np.asarray(picture, float)[..., 2::-1])
    if not places:
        raise InputError(f"{folder} without .hdr files", "panoramas")
    rows = places.values()
    np.savez_compressed(
        out,
        names=np.array(list(places)),
        harmonics=np.stack([place.harmonics for place in rows]).astype(np.float32),
        direction=np.stack([place.direction for place in rows]).astype(np.float32),
        colour=np.stack([place.colour for place in rows]).astype(np.float32),
    )
    return places
