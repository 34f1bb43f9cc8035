"""Where a photo is taken: a place's light and the piece of its pictures behind the people, or a studio of chance."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from openexpose.geometry.rotation import rotvec_to_matrix
from openexpose.synth.camera import Camera, look_from
from openexpose.synth.lighting import (
    VIEW_DOWN_RAD,
    VIEW_WIDTH_RAD,
    R_world_view,
    harmonic_basis,
    lighting_of,
    sample_lighting,
)
from openexpose.synth.person import Stage
from openexpose.synth.picture import sample_background
from openexpose.synth.thing import Lighting

Array = np.ndarray

IN_PLACE = 0.8
"""Share of photos in a place whose light is known; the others have any light and any background."""
_TAN_X = float(np.tan(VIEW_WIDTH_RAD / 2))
"""Of half the field of view of the places' pictures."""
_BLURRED = 0.6
_WANTED = 0.85
"""Light on a person, of what shows white as white."""


@dataclass(frozen=True, eq=False)
class Surroundings:
    """What is around a photo.

    Attributes:
        name: of the place, ``none`` for a studio. lighting: in the camera's frame. background: behind the people.
    """

    name: str
    lighting: Lighting
    background: UInt8[Array, "h w 3"]


def sample_surroundings(rng: np.random.Generator, stage: Stage, camera: Camera) -> Surroundings:
    """A place turned so that the camera looks into one of its pictures, or a studio."""
    names = sorted(set(stage.places) & set(stage.library.views))
    if not names or rng.random() > IN_PLACE:
        size = max(camera.height, camera.width)
        background = sample_background(rng, stage.library, size)
        top, left = (size - camera.height) // 2, (size - camera.width) // 2
        piece = background[top : top + camera.height, left : left + camera.width]
        return Surroundings("none", sample_lighting(rng), np.ascontiguousarray(piece))
    name = names[rng.integers(len(names))]
    views = stage.library.views[name]
    degrees = list(views)[rng.integers(len(views))]
    level = R_world_view(degrees)
    R_camera_level = tilt(camera) @ rotvec_to_matrix(np.array([0.0, rng.uniform(-0.15, 0.15), 0.0]))
    R_camera_view = R_camera_level @ level.T @ R_world_view(degrees, VIEW_DOWN_RAD)
    lighting = lighting_of(stage.places[name], R_camera_level @ level.T, 1.0)
    exposure = metered(lighting) * float(np.exp(rng.normal(0, 0.2)))
    lighting = Lighting(lighting.direction, exposure * lighting.colour, exposure * lighting.harmonics)
    picture = stage.library.backgrounds[views[degrees]]
    brightness = min(exposure, 0.6 + 0.4 * exposure)  # of what is not lit as the people are
    return Surroundings(name, lighting, behind(picture, R_camera_view, camera, brightness))


def metered(lighting: Lighting) -> float:
    """The factor by which a camera's meter corrects the exposure for what faces it, three quarters of the way."""
    facing = harmonic_basis(np.array([0.0, 0.0, -1.0])) @ lighting.harmonics
    light = float((facing + 0.5 * max(-lighting.direction[2], 0.0) * lighting.colour).mean())
    return float(np.clip((_WANTED / max(light, 1e-3)) ** 0.75, 0.65, 2.0))


def tilt(camera: Camera) -> Float[Array, "3 3"]:
    """Pitch and roll: rotation from the frame of a level camera with the same heading to the camera's."""
    forward = camera.R_camera_world[2] * [1, 0, 1]
    if np.linalg.norm(forward) < 1e-3:
        forward = -camera.R_camera_world[1] * [1, 0, 1]
    return camera.R_camera_world @ look_from(np.zeros(3), forward).T


def behind(
    picture: UInt8[Array, "h w 3"], R_camera_view: Float[Array, "3 3"], camera: Camera, exposure: float
) -> UInt8[Array, "m n 3"]:
    """What a camera shows of a picture that is 75 degrees wide, soft as distant things are.

    A camera that looks beyond the picture's edge is turned back as far as needed, one with a wider field of view shows
    all of it.

    Args:
        R_camera_view: rotation from the picture's frame to the camera's. exposure: factor of the brightness.
    """
    height, width = picture.shape[:2]
    focal, tan_y = width / 2 / _TAN_X, _TAN_X * height / width
    seen = max(camera.focal_px, camera.width / 2 / _TAN_X, camera.height / 2 / tan_y)
    half = np.arctan([camera.width / 2 / seen, camera.height / 2 / seen])
    free = np.arctan([_TAN_X, tan_y]) - half
    axis = R_camera_view[2]
    angles = np.array([np.arctan2(axis[0], axis[2]), np.arctan2(axis[1], np.hypot(axis[0], axis[2]))])
    roll = _axis_frame(angles).T @ R_camera_view.T
    R_view_camera = _axis_frame(np.clip(angles, -free, free)) @ roll
    coarse = min(1.0, 2.0 * focal / seen)  # draws no more pixels than the picture has
    size = max(8, round(camera.width * coarse)), max(8, round(camera.height * coarse))
    scale = size[0] / camera.width
    K_view = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
    K_camera = np.array([[seen * scale, 0, size[0] / 2], [0, seen * scale, size[1] / 2], [0, 0, 1]])
    warp = K_view @ R_view_camera @ np.linalg.inv(K_camera)
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    piece = cv2.warpPerspective(picture, warp, size, flags=how, borderMode=cv2.BORDER_REFLECT_101)
    if coarse < 1:
        if coarse < _BLURRED:  # far behind people who are seen through a long lens
            piece = cv2.GaussianBlur(piece, (0, 0), 1.2)
        piece = cv2.resize(piece, (camera.width, camera.height), interpolation=cv2.INTER_CUBIC)
    return np.ascontiguousarray(cv2.convertScaleAbs(piece, alpha=exposure ** (1 / 2.2)))


def _axis_frame(angles: Float[Array, "2"]) -> Float[Array, "3 3"]:
    """Columns: right, down and forward of a level camera turned right and then down by two angles."""
    (sx, sy), (cx, cy) = np.sin(angles), np.cos(angles)
    forward = np.array([sx * cy, sy, cx * cy])
    right = np.array([cx, 0.0, -sx])
    return np.stack([right, np.cross(forward, right), forward], 1)
