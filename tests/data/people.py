"""Synthetic people with exactly known labels, shared by the fixtures of all data sets."""

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from openexpose.body.mesh import posed_mesh
from openexpose.body.model import BodyModel, load_body_model
from openexpose.geometry.camera import project_perspective
from openexpose.geometry.rotation import rotvec_to_matrix


@dataclass(frozen=True)
class Person:
    """One person, the camera and the picture; 3D is in the camera frame (x right, y down, z away), metres."""

    rotvecs: np.ndarray
    """[55, 3] axis-angle of all joints in our order (global, 21 body, jaw, eyes, left hand, right hand)."""
    betas: np.ndarray
    expression: np.ndarray
    vertices_m: np.ndarray
    """[v, 3]."""
    points_m: np.ndarray
    """[144, 3]."""
    points_px: np.ndarray
    """[144, 2]: where ``points_m`` project."""
    focal_px: float
    principal_px: np.ndarray
    pixels: np.ndarray = field(repr=False)

    @property
    def pose(self) -> np.ndarray:
        """[55, 3, 3]."""
        return rotvec_to_matrix(self.rotvecs)

    @property
    def intrinsics(self) -> np.ndarray:
        """The 3 x 3 matrix K of the pinhole camera."""
        (x, y), f = self.principal_px, self.focal_px
        return np.array([[f, 0.0, x], [0.0, f, y], [0.0, 0.0, 1.0]])


@cache
def body_model() -> BodyModel:
    """The packaged free body."""
    return load_body_model()


def people(count: int, *, seed: int = 0, size: int = 96, around: int = 0, reach_m: float = 1.1) -> list[Person]:
    """Make people in modest random poses, upright and about frontal, in square pictures.

    Args:
        count: how many.
        seed: of the poses.
        size: side of the pictures, pixels.
        around: keypoint (of the 144) in the middle of the picture: 0 pelvis, 43 a middle finger, 15 the head.
        reach_m: half the width of what the camera sees at the keypoint's depth, metres.
    """
    rng, model = np.random.default_rng(seed), body_model()
    rotvecs = 0.15 * rng.normal(size=(count, 55, 3))
    rotvecs[:, 0] = [np.pi, 0.0, 0.0]
    rotvecs[:, 0] += 0.1 * rng.normal(size=(count, 3))
    rotvecs[:, 16, 2], rotvecs[:, 17, 2] = -0.8, 0.8  # arms half down
    betas = 0.5 * rng.normal(size=(count, model.num_betas))
    expression = 0.5 * rng.normal(size=(count, model.num_expression))
    mesh = posed_mesh(model, rotvec_to_matrix(rotvecs), betas, expression)
    focal_px, principal_px = 2.0 * size, np.array([0.5 * size + 1.5, 0.5 * size - 2.5])
    depth = focal_px * reach_m / (0.5 * size)
    found = []
    for k in range(count):
        shift = np.array([0.0, 0.0, depth]) - mesh.joints[k, around]
        points_m, vertices_m = mesh.joints[k] + shift, mesh.vertices[k] + shift
        points_px = project_perspective(points_m, focal_px, principal_px)
        pixels = _draw(rng, points_px, size)
        coefficients = (rotvecs[k], betas[k], expression[k])
        found.append(Person(*coefficients, vertices_m, points_m, points_px, focal_px, principal_px, pixels))
    return found


def save_picture(path: Path, pixels: np.ndarray) -> Path:
    """Write a picture, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def _draw(rng: np.random.Generator, points_px: np.ndarray, size: int) -> np.ndarray:
    """Noise with a dot at every keypoint."""
    picture = Image.fromarray(rng.integers(40, 90, (size, size, 3), dtype=np.uint8))
    pen = ImageDraw.Draw(picture)
    for x, y in points_px:
        pen.ellipse((x - 1.0, y - 1.0, x + 1.0, y + 1.0), fill=(220, 180, 150))
    return np.asarray(picture)
