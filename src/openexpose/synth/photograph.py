"""Takes a photo of a set: actors and things in the world, drawn, labelled, and spoilt as cameras do."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from openexpose.synth.camera import Camera
from openexpose.synth.drawing import draw
from openexpose.synth.figure import Actor
from openexpose.synth.labels import subject
from openexpose.synth.library import Library
from openexpose.synth.person import Stage
from openexpose.synth.photo import Focus, Photo
from openexpose.synth.picture import degrade, sample_background
from openexpose.synth.surroundings import sample_surroundings
from openexpose.synth.thing import THING, Drawing, Floor, Thing

Array = np.ndarray

MOST_PEOPLE = 14
_SHADOW_M = 2.5


@dataclass(frozen=True)
class Scenery:
    """What a camera looks at; world frame.

    Attributes:
        actors: the person of interest first. things: what belongs to nobody.
        border: of the photo, which cuts a close-up: rays of the camera's frame with border . ray > 0 are not in it.
    """

    actors: tuple[Actor, ...]
    things: tuple[Thing, ...] = ()
    border: Float[Array, "3"] | None = None


def photograph(rng: np.random.Generator, stage: Stage, camera: Camera, scenery: Scenery, focus: Focus) -> Photo:
    """Draw a set and label everybody of whom a vertex is in the picture."""
    rotation, shift = camera.R_camera_world, -camera.R_camera_world @ camera.position_m
    actors = [actor.moved(rotation, shift) for actor in scenery.actors]
    actors = [actor for actor in actors if camera.inside(actor.body.vertices[::3]).any()][:MOST_PEOPLE]
    around = sample_surroundings(rng, stage, camera)
    floor = Floor(rotation[:, 1], float(rotation[:, 1] @ shift)) if _shows_floor(camera, scenery.actors) else None
    things = [thing.moved(rotation, shift) for thing in scenery.things]
    things += [seat for actor in actors for seat in actor.seats]
    drawing = draw(
        [actor.body for actor in actors],
        things,
        around.lighting,
        floor,
        camera.focal_px,
        around.background,
        supersampling=2,
        shadow_size=288 if max(camera.width, camera.height) <= 300 else 768,
    )
    beyond = _beyond(camera, scenery.border)
    people = tuple(subject(stage.model, actor, camera, drawing, k, beyond) for k, actor in enumerate(actors))
    drawing = _cut(replace(drawing, image=degrade(drawing.image, rng)), beyond)
    return Photo(drawing.image, drawing.mask, drawing.depth_m, camera.focal_px, focus, people, around.name)


def _shows_floor(camera: Camera, actors: tuple[Actor, ...]) -> bool:
    """Whether floor near anybody is in the picture, so that shadows on it can be seen."""
    x, y = np.meshgrid(np.linspace(-0.5, 0.5, 4) * camera.width, np.linspace(-0.5, 0.5, 4) * camera.height)
    rays = np.stack([x.ravel(), y.ravel(), np.full(x.size, camera.focal_px)], 1) @ camera.R_camera_world
    rays = rays[rays[:, 1] < -1e-6]
    spots = camera.position_m[[0, 2]] - rays[:, [0, 2]] * (camera.position_m[1] / rays[:, 1])[:, None]
    people = np.array([actor.figure.joints[0, [0, 2]] for actor in actors])
    gaps = np.linalg.norm(spots[:, None] - people[None], axis=-1)
    return bool((gaps < _SHADOW_M).any())


def _beyond(camera: Camera, border: Array | None) -> Bool[Array, "h w"]:
    """Pixels beyond the border of the photo."""
    if border is None:
        return np.zeros((camera.height, camera.width), bool)
    x = (np.arange(camera.width) + 0.5 - camera.width / 2) / camera.focal_px
    y = (np.arange(camera.height) + 0.5 - camera.height / 2) / camera.focal_px
    return np.asarray(border[0] * x[None] + border[1] * y[:, None] + border[2] > 0)


def _cut(drawing: Drawing, beyond: Bool[Array, "h w"]) -> Drawing:
    if not beyond.any():
        return drawing
    return Drawing(
        np.where(beyond[..., None], np.uint8(0), drawing.image),
        np.where(beyond, np.inf, drawing.depth_m).astype(drawing.depth_m.dtype),
        np.where(beyond, np.uint8(0), drawing.mask),
    )


def sample_board(rng: np.random.Generator, library: Library, camera: Camera, depth_m: float, largest: float) -> Thing:
    """Something flat in front, in the world: an ellipse or rectangle, half axes up to ``largest`` of the picture."""
    side = min(camera.width, camera.height)
    half = rng.uniform(0.08, largest, 2) * side
    spot = rng.uniform(0.12, 0.88, 2) * [camera.width, camera.height] - [camera.width / 2, camera.height / 2]
    count = 24 if rng.random() < 0.5 else 4
    angles = np.arange(count) * (2 * np.pi / count) + np.pi / 4
    rim = np.stack([np.cos(angles), np.sin(angles)], 1) * (1 if count > 4 else np.sqrt(2))
    turn = rng.uniform(0, np.pi)
    c, s = np.cos(turn), np.sin(turn)
    pixels = np.concatenate([np.zeros((1, 2)), rim]) * half @ np.array([[c, s], [-s, c]]) + spot
    z = depth_m * (1 + 0.1 * np.clip(pixels @ rng.normal(0, 1 / side, 2), -1, 1))
    points = np.concatenate([pixels / camera.focal_px, np.ones((count + 1, 1))], 1) * z[:, None]
    k = np.arange(count)
    faces = np.stack([np.zeros(count, int), k + 1, (k + 1) % count + 1], 1).astype(np.int32)
    uv = np.concatenate([np.full((1, 2), 0.5), 0.5 + rim / 3])[faces].astype(np.float32)
    colour = sample_background(rng, library, 128)
    texture = np.ascontiguousarray(np.concatenate([colour, np.full((128, 128, 1), 255, np.uint8)], 2))
    parts = np.full(count, THING, np.uint8)
    board = Thing(points.astype(np.float32), faces, uv, texture, np.ones(3, np.float32), 0.0, False, parts)
    return board.moved(camera.R_camera_world.T, camera.position_m)
