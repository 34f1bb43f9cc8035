"""Virtual cameras that look straight at a crop: how each network wants its region of interest framed.

A photo's camera sees an off-axis body part turned; a weak-perspective camera about the crop is only right in the frame
of a camera that points at the crop's centre. So every crop is drawn by such a camera, and its labels live there.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from openexpose.body.keypoints import INDEX, LEFT_HAND21, PARTS, RIGHT_HAND21
from openexpose.geometry.rotation import rotation_about_z, rotation_between
from openexpose.predict.landmarks import ATTENTION_SCALE, UP

Array = np.ndarray

_Z = np.array([0.0, 0.0, 1.0])
_PALM = [0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18]
_EYE_CORNERS = [INDEX["right_eye1"], INDEX["left_eye1"]]
_HIPS = [INDEX["left_hip"], INDEX["right_hip"]]
_SHOULDERS = [INDEX["left_shoulder"], INDEX["right_shoulder"]]


@dataclass(frozen=True)
class View:
    """A square pinhole camera.

    Attributes:
        T_view_photo: [3, 3] rotation from the photo's camera frame to the view's.
        half_side: tangent of half the field of view; crop coordinates are (x, y) / (z * half_side).
    """

    T_view_photo: Float[Array, "3 3"]
    half_side: float

    def to_view(self, points: Float[Array, "n 3"]) -> Float[Array, "n 3"]:
        """Points of the photo's camera frame, in the view's frame (metres)."""
        return points @ self.T_view_photo.T

    def to_crop(self, points: Float[Array, "n 3"]) -> Float[Array, "n 2"]:
        """Points of the photo's camera frame, in crop coordinates ([-1, 1]^2 is the picture)."""
        return self.project(self.to_view(points))

    def project(self, points: Float[Array, "n 3"]) -> Float[Array, "n 2"]:
        """Points of the view's own frame, in crop coordinates."""
        return points[:, :2] / (np.maximum(points[:, 2:], 1e-3) * self.half_side)


def _plane(rotation: Array, points: Array) -> Float[Array, "n 2"]:
    p = points @ rotation.T
    return p[:, :2] / np.maximum(p[:, 2:], 1e-3)


def look_at(point: Float[Array, "3"]) -> Float[Array, "3 3"]:
    """The smallest rotation that brings a point of the camera frame onto the optical axis."""
    return rotation_between(np.asarray(point, float), _Z)


def _recentred(rotation: Array, centre: Array, half_side: float) -> View:
    return View(look_at(np.array([*centre, 1.0])) @ rotation, float(half_side))


def _upright(rotation: Array, up: Array, noise_rad: float) -> Array:
    """Roll a view so that the in-plane direction ``up`` points up."""
    return rotation_about_z(-np.arctan2(up[0], -up[1]) + noise_rad) @ rotation


def body_view(joints: Float[Array, "144 3"], vertices: Float[Array, "v 3"], rng: np.random.Generator) -> View:
    """The pose trunk's region: around the middle of the hips, reaching the whole body x 1.25, torso turned upright."""
    rotation = look_at(joints[_HIPS].mean(0))
    hips, shoulders = _plane(rotation, joints[_HIPS]).mean(0), _plane(rotation, joints[_SHOULDERS]).mean(0)
    rotation = _upright(rotation, shoulders - hips, rng.normal(0, 0.1))
    hips = _plane(rotation, joints[_HIPS]).mean(0)
    reach = np.linalg.norm(_plane(rotation, vertices[::5]) - hips, axis=1).max()
    half = 1.25 * reach * np.exp(rng.normal(0, 0.1))
    return _recentred(rotation, hips + rng.normal(0, 0.03, 2) * 2 * half, half)


def box_view(points: Float[Array, "n 3"], scale: float, shift: Float[Array, "2"], grow: float) -> View:
    """An upright square around the tight box of points: side = scale x grow x the longer side, shifted by box sides."""
    rotation = look_at(points.mean(0))
    plane = _plane(rotation, points)
    low, high = plane.min(0), plane.max(0)
    side = (high - low).max()
    return _recentred(rotation, (low + high) / 2 + shift * (high - low), 0.5 * scale * grow * side)


def attention_view(joints: Float[Array, "144 3"], part: str, rng: np.random.Generator) -> View:
    """What the body-driven attention cuts out (paper, section 3.2), with the error of a body network as jitter.

    As in :func:`openexpose.predict.landmarks.attention_crop` the view is turned so that fingers or forehead point up
    as far as the body network knows: the error of the roll is N(0, 25) degrees, for one hand in ten uniform.
    """
    points = joints[PARTS[part]]
    first, second = joints[UP["face" if part == "head" else part]]
    rotation = look_at(points.mean(0))
    a, b = _plane(rotation, np.stack([first, second]))
    wrong = part != "head" and rng.random() < 0.1
    rotation = _upright(rotation, b - a, rng.uniform(-np.pi, np.pi) if wrong else rng.normal(0, np.radians(25)))
    plane = _plane(rotation, points)
    low, high = plane.min(0), plane.max(0)
    grow = 1 + np.clip(rng.normal(0, 0.25), -0.25, 0.25)
    half = 0.5 * ATTENTION_SCALE["face" if part == "head" else "hand"] * grow * (high - low).max()
    return _recentred(rotation, (low + high) / 2 + rng.uniform(-0.2, 0.2, 2) * (high - low), half)


def hand_view(joints: Float[Array, "144 3"], side: str, rng: np.random.Generator) -> View:
    """The hand trunk's own region: middle knuckle above the wrist, 2.0-2.6 x the palm, moved to the fingers."""
    hand = joints[LEFT_HAND21 if side == "left" else RIGHT_HAND21]
    rotation = look_at(hand[[0, 9]].mean(0))
    plane = _plane(rotation, hand)
    knuckle = ((plane[5] + plane[13]) / 2 + plane[9]) / 2
    rotation = _upright(rotation, knuckle - plane[0], rng.normal(0, 0.12))
    palm = _plane(rotation, hand[_PALM])
    low, high = palm.min(0), palm.max(0)
    extent = (high - low).max()
    half = 0.5 * extent * rng.uniform(2.0, 2.6) * np.exp(rng.normal(0, 0.06))
    centre = (low + high) / 2 + [0, -rng.uniform(0.05, 0.15) * extent] + rng.normal(0, 0.05, 2) * extent
    return _recentred(rotation, centre, half)


def face_view(joints: Float[Array, "144 3"], rng: np.random.Generator) -> View:
    """The face trunk's own region: eyes level, 1.5 x the extent of the 68 landmarks."""
    face = joints[PARTS["face"]]
    rotation = look_at(face.mean(0))
    right, left = _plane(rotation, joints[_EYE_CORNERS])
    across = left - right
    if np.linalg.norm(across) > 0.15 * np.ptp(_plane(rotation, face), 0).max():  # not in full profile
        up = np.array([across[1], -across[0]])
    else:
        chin, brow = _plane(rotation, joints[[INDEX["contour_middle"], INDEX["nose1"]]])
        up = brow - chin
    rotation = _upright(rotation, up, rng.normal(0, 0.06))
    plane = _plane(rotation, face)
    low, high = plane.min(0), plane.max(0)
    extent = (high - low).max()
    half = 0.75 * extent * np.exp(rng.normal(0, 0.06))
    return _recentred(rotation, (low + high) / 2 + rng.normal(0, 0.04, 2) * extent, half)
