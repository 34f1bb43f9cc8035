"""Frames of a sequence, and what is true in each."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from openexpose.body.mesh import keypoints
from openexpose.synth.camera import Camera
from openexpose.synth.drawing import draw
from openexpose.synth.figure import Actor
from openexpose.synth.labels import visibility
from openexpose.synth.person import Stage
from openexpose.synth.sequence_body import Performance
from openexpose.synth.sequence_cast import Character, actor_of
from openexpose.synth.sequence_plan import Plan
from openexpose.synth.sequence_visibility import Shares, shares
from openexpose.synth.surroundings import Surroundings
from openexpose.synth.thing import Body, Drawing, Floor, Thing

Array = np.ndarray

_SHADOW_PX = 1024
_ROWS = 180
"""Rows of the coarse picture in which shares are counted."""


@dataclass(frozen=True, eq=False)
class Film:
    """Everything that frames are drawn from; one character and one performance a person."""

    plan: Plan
    around: Surroundings
    cast: tuple[Character, ...]
    performances: tuple[Performance, ...]
    noise: float
    """Standard deviation of the camera's noise, grey levels."""


@dataclass(frozen=True, eq=False)
class Seen:
    """What is true about everybody in a frame; camera frame, metres; the first axis is people.

    Attributes:
        orientation: [p, 3, 3] global orientation. transl: [p, 3]; vertices are the posed body's plus this.
        joints_3d, joints_2d: the 144 keypoints; pixels. joint_visibility: 0 outside the picture or behind others, 1
            behind the person's own body, 2 seen. box_visible, box_full: x1, y1, x2, y2 pixels; zeros if nothing is
            seen; the full one as if nothing hid the person and the picture had no edges. shares: what is seen.
    """

    orientation: Float[Array, "p 3 3"]
    transl: Float[Array, "p 3"]
    joints_3d: Float[Array, "p 144 3"]
    joints_2d: Float[Array, "p 144 2"]
    joint_visibility: UInt8[Array, "p 144"]
    box_visible: Float[Array, "p 4"]
    box_full: Float[Array, "p 4"]
    shares: Shares


def shoot(stage: Stage, film: Film, number: int, seed: int) -> tuple[UInt8[Array, "h w 3"], Seen]:
    """Frame ``number`` and its truth; ``seed``: of the camera's noise."""
    camera, plan = film.plan.camera, film.plan
    rotation, shift = camera.R_camera_world, -camera.R_camera_world @ camera.position_m
    actors = [
        actor_of(stage, character, p.pose[number], p.expression[number], p.pelvis[number]).moved(rotation, shift)
        for character, p in zip(film.cast, film.performances, strict=True)
    ]
    things = [thing.moved(rotation, shift) for thing in plan.things]
    floor = Floor(rotation[:, 1], float(rotation[:, 1] @ shift))
    drawing = draw(
        [actor.body for actor in actors],
        things,
        film.around.lighting,
        floor,
        camera.focal_px,
        film.around.background,
        supersampling=2,
        shadow_size=_SHADOW_PX,
    )
    return _noisy(drawing.image, film.noise, seed), _truth(stage, (actors, things), camera, drawing)


def _noisy(image: Array, spread: float, seed: int) -> UInt8[Array, "h w 3"]:
    """The sum of two uniform variables, about normal, in luminance."""
    rng = np.random.default_rng(seed)
    raw = np.frombuffer(rng.bytes(2 * image.shape[0] * image.shape[1]), np.uint8).reshape(2, *image.shape[:2], 1)
    noise = (raw.astype(np.float32).sum(0) - 255) * np.float32(spread / 104)
    return np.clip(image + noise + 0.5, 0, 255).astype(np.uint8)


def _truth(stage: Stage, shown: tuple[list[Actor], list[Thing]], camera: Camera, drawing: Drawing) -> Seen:
    actors, things = shown
    nothing = np.zeros(drawing.mask.shape, bool)
    rows = []
    for k, actor in enumerate(actors):
        figure = actor.figure
        points = keypoints(stage.model, figure.pose[None], figure.betas[None], figure.expression[None])[0].astype(float)
        transl = figure.joints[0] - points[0]
        points = points + transl
        pixels = camera.to_pixels(points)
        seen = visibility(points, pixels, drawing, (k, camera.focal_px, nothing))
        mine = (drawing.mask >> 4 == k) & (drawing.mask > 0)
        whole = _whole_box(actor.body, camera)
        rows.append((figure.pose[0], transl, points, pixels, seen, _box(mine), whole))
    measured = shares([actor.body for actor in actors], things, camera, max(1, camera.height // _ROWS))
    turns, transl, points, pixels, seen, boxes, wholes = (np.stack(column) for column in zip(*rows, strict=True))
    return Seen(turns, transl, points, pixels, seen, boxes, wholes, measured)


def _whole_box(body: Body, camera: Camera) -> Float[Array, "4"]:
    """Tight box around body and clothes, beyond the picture's edges, too."""
    points = camera.to_pixels(np.concatenate([body.vertices, *(thing.vertices for thing in body.things)]))
    return np.concatenate([points.min(0), points.max(0)]).astype(float)


def _box(mine: Array) -> Float[Array, "4"]:
    rows, columns = np.flatnonzero(mine.any(1)), np.flatnonzero(mine.any(0))
    if not len(rows):
        return np.zeros(4)
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], float)


def encoded(image: UInt8[Array, "h w 3"]) -> bytes:
    """As JPEG."""
    return cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes()
