"""Photo cameras in the world: where people hold them, from selfie to telephoto.

World frame: metres, y up, floor y = 0.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from openexpose.geometry.rotation import rotation_about_z, rotation_between

Array = np.ndarray

NEAREST_M, FARTHEST_M = 0.3, 10.0
NARROWEST_DEG, WIDEST_DEG = 12.0, 85.0
"""Vertical fields of view."""
LOWEST_DEG, STEEPEST_DEG = -35.0, 60.0
"""Pitch: how far a camera looks down."""
_LOWEST_M = 0.04
_DOWN = np.array([0.0, -1.0, 0.0])
_Z = np.array([0.0, 0.0, 1.0])


@dataclass(frozen=True)
class Camera:
    """A pinhole camera whose axis goes through the centre of its picture.

    Attributes:
        R_camera_world: [3, 3] rotation from the world to the camera's frame (x right, y down, z forward).
        position_m: [3], world frame. focal_px: focal length. width, height: of the picture, pixels.
    """

    R_camera_world: Float[Array, "3 3"]
    position_m: Float[Array, "3"]
    focal_px: float
    width: int
    height: int

    def to_camera(self, points: Float[Array, "n 3"]) -> Float[Array, "n 3"]:
        """Points of the world in the camera's frame, metres."""
        return (points - self.position_m) @ self.R_camera_world.T

    def to_pixels(self, points: Float[Array, "n 3"]) -> Float[Array, "n 2"]:
        """Points of the camera's own frame in the picture; those behind it lie far away."""
        depth = np.maximum(points[:, 2:], 1e-3)
        return self.focal_px * points[:, :2] / depth + [self.width / 2, self.height / 2]

    def inside(self, points: Float[Array, "n 3"]) -> Array:
        """Whether points of the camera's own frame are in the picture, [n]."""
        pixels = self.to_pixels(points)
        return (points[:, 2] > 0.03) & ((pixels >= 0) & (pixels < [self.width, self.height])).all(1)

    def through(self, T_view_photo: Float[Array, "3 3"], half_side: float, size: int) -> "Camera":
        """A square virtual camera in the same place, see :class:`openexpose.synth.view.View`; ``size`` in pixels."""
        return Camera(T_view_photo @ self.R_camera_world, self.position_m, size / (2 * half_side), size, size)

    def aimed(self, target: Float[Array, "3"], spot_px: Float[Array, "2"]) -> "Camera":
        """Turned by the smallest rotation that shows a point of the world at a pixel."""
        ray = np.array([spot_px[0] - self.width / 2, spot_px[1] - self.height / 2, self.focal_px])
        seen = self.R_camera_world @ (np.asarray(target, float) - self.position_m)
        return replace(self, R_camera_world=rotation_between(_unit(seen), _unit(ray)) @ self.R_camera_world)


def _unit(vector: Array) -> Float[Array, "3"]:
    return vector / max(float(np.linalg.norm(vector)), 1e-9)


def look_from(position: Float[Array, "3"], target: Float[Array, "3"], roll_rad: float = 0.0) -> Float[Array, "3 3"]:
    """R_camera_world of a camera at ``position`` with ``target`` on its axis, the world's up on the picture's."""
    forward = _unit(np.asarray(target, float) - position)
    down = _DOWN if abs(forward[1]) < 0.999 else _Z
    right = _unit(np.cross(down, forward))
    return rotation_about_z(roll_rad) @ np.stack([right, np.cross(forward, right), forward])


def sample_distance(rng: np.random.Generator, nearest: float, farthest: float) -> float:
    """Log-uniform, metres."""
    return float(np.exp(rng.uniform(np.log(nearest), np.log(farthest))))


def sample_roll(rng: np.random.Generator) -> float:
    """Roll of a photo, radians: mostly below 8 degrees, in one of 20 anything, in one of 25 a quarter turn."""
    kind = rng.random()
    if kind < 0.05:
        return float(rng.uniform(-np.pi, np.pi))
    if kind < 0.09:
        return float(rng.choice([-1, 1]) * np.pi / 2 + rng.normal(0, 0.05))
    return float(np.radians(rng.normal(0, 3.5)))


def sample_pitch(rng: np.random.Generator) -> float:
    """How far a camera looks down, radians: mostly a little, -35 to 60 degrees."""
    kind = rng.random()
    if kind < 0.6:
        degrees = rng.normal(5, 8)
    else:
        degrees = rng.uniform(-20, 35) if kind < 0.85 else rng.uniform(LOWEST_DEG, STEEPEST_DEG)
    return float(np.radians(np.clip(degrees, LOWEST_DEG, STEEPEST_DEG)))


def sample_yaw(rng: np.random.Generator) -> float:
    """Direction of the camera as the person in front of it sees it, radians: mostly in front, else from anywhere."""
    return float(rng.uniform(-np.pi, np.pi) if rng.random() < 0.4 else rng.normal(0, 0.8))


def around(target: Float[Array, "3"], distance_m: float, yaw_rad: float, pitch_rad: float) -> Float[Array, "3"]:
    """A place [3] at a distance from a target, above the floor; yaw 0 is the side that people face (+z)."""
    up = np.sin(pitch_rad)
    up = max(up, (_LOWEST_M - target[1]) / distance_m)
    up = float(np.clip(up, -0.99, 0.99))
    level = np.sqrt(1 - up * up)
    return target + distance_m * np.array([level * np.sin(yaw_rad), up, level * np.cos(yaw_rad)])


def held_by(
    wrist: Float[Array, "3"], head: Float[Array, "3"], facing: Float[Array, "3"], rng: np.random.Generator
) -> Float[Array, "3"]:
    """Where a telephone is that an arm holds out for a selfie: beyond the hand, aside of it to the face's front."""
    out = _unit(wrist - head)
    aside = facing + [0, rng.uniform(0.1, 0.8), 0] + rng.normal(0, 0.15, 3)
    return wrist + out * rng.uniform(0.18, 0.26) + _unit(aside - out * (aside @ out)) * rng.uniform(0.12, 0.28)


def fits(focal_px: float, height: int) -> bool:
    """Whether a field of view is one that cameras have."""
    field = 2 * np.degrees(np.arctan(height / (2 * focal_px)))
    return bool(NARROWEST_DEG <= field <= WIDEST_DEG)
