"""Whole scenes: one to six people, a photo's camera from selfie to telephoto, pictures up to 1,200 px."""

import numpy as np
from jaxtyping import Float, Int

from openexpose.body.keypoints import INDEX
from openexpose.synth.camera import (
    Camera,
    around,
    fits,
    held_by,
    look_from,
    sample_distance,
    sample_pitch,
    sample_roll,
    sample_yaw,
)
from openexpose.synth.company import MANNERS, companion, occluders
from openexpose.synth.figure import HEAD, Actor, Figure, dress, sample_figure
from openexpose.synth.person import Stage
from openexpose.synth.photo import VISIBLE, Photo
from openexpose.synth.photograph import Scenery, photograph
from openexpose.synth.thing import MASK_PARTS

Array = np.ndarray

FRAMINGS = {
    "whole": (0.46, 1.5, 10.0), "legs": (0.11, 1.2, 8.0), "half": (0.13, 0.8, 6.0), "bust": (0.09, 0.6, 4.0),
    "head": (0.04, 0.4, 3.0), "side": (0.05, 1.2, 8.0), "hands": (0.03, 1.2, 8.0), "arm": (0.02, 0.5, 3.0),
    "selfie": (0.07, 0.4, 0.9),
}  # fmt: skip
"""What of the main person the picture is about, with its share and the range of distances, metres."""
_COMPANIONS = (0.34, 0.28, 0.16, 0.1, 0.07, 0.05)
_ASPECTS = (3 / 4, 3 / 4, 9 / 16, 2 / 3, 1.0, 4 / 3, 4 / 3, 16 / 9, 3 / 2)
_LONGEST_PX, _SHORTEST_PX, _SMALLEST_LONG_PX = 1200, 480, 640
_TALLEST_PX, _SMALLEST_PX = 1000, 400
_IN_FRONT_M = 0.06
_LEAST_SEEN = 8
"""Of the main person's 144 keypoints."""
_ARM_PARTS = {side: [MASK_PARTS.index(f"{side} {n}") for n in ("forearm", "hand")] for side in ("left", "right")}
_LOWER = [MASK_PARTS.index(f"{side} {n}") for side in ("left", "right") for n in ("shin", "foot")]
_LEGS = [MASK_PARTS.index(f"{side} thigh") for side in ("left", "right")]
_ARMS = [MASK_PARTS.index(f"{side} {n}") for side in ("left", "right") for n in ("upper arm", "forearm", "hand")]


def sample_people(rng: np.random.Generator, stage: Stage) -> Photo:
    """A photo of one to six people; the first is framed as one of ``FRAMINGS`` says."""
    names = list(FRAMINGS)
    framing = str(rng.choice(names, p=[FRAMINGS[name][0] for name in names]))
    while True:
        figure = _sample_main(rng, stage, framing)
        camera = _camera(rng, stage, figure, framing)
        if camera is None:
            continue
        scale = camera.focal_px / float(np.median(camera.to_camera(figure.joints)[:, 2]))
        main = dress(rng, stage, figure, near=scale > 350, mip=1 if scale < 450 else 0)
        actors = [main, *_others(rng, stage, main, camera)]
        things = occluders(rng, stage, main.figure, camera, 0.15)
        photo = photograph(rng, stage, camera, Scenery(tuple(actors), things), "people")
        if photo.people and (photo.people[0].visibility == VISIBLE).sum() >= _LEAST_SEEN:
            return photo


def _sample_main(rng: np.random.Generator, stage: Stage, framing: str) -> Figure:
    if framing != "selfie":
        return sample_figure(rng, stage)
    stance = str(rng.choice(["prior", "sit", "floor"], p=[0.75, 0.15, 0.1]))
    return sample_figure(rng, stage, stance=stance, arms="selfie", gaze_at=np.array([0.0, 0.1, 1.0]))


def _others(rng: np.random.Generator, stage: Stage, main: Actor, camera: Camera) -> list[Actor]:
    actors = [main]
    for _ in range(int(rng.choice(len(_COMPANIONS), p=_COMPANIONS))):
        manner = str(rng.choice(list(MANNERS), p=list(MANNERS.values())))
        other = companion(rng, stage, actors, camera, manner)
        actors += [] if other is None else [other]
    return actors[1:]


def _size(rng: np.random.Generator) -> tuple[int, int]:
    """Width and height as telephones have them, pixels."""
    aspect = float(rng.choice(_ASPECTS))
    longest = rng.uniform(max(_SMALLEST_LONG_PX, _SHORTEST_PX / min(aspect, 1 / aspect)), _LONGEST_PX)
    width, height = (longest * aspect, longest) if aspect < 1 else (longest, longest / aspect)
    return round(width), round(height)


def _camera(rng: np.random.Generator, stage: Stage, figure: Figure, framing: str) -> Camera | None:
    """A camera that frames a person; None if chance gave none that exists."""
    points = figure.vertices[_shown(rng, stage, framing)]
    target = (points.min(0) + points.max(0)) / 2
    _, nearest, farthest = FRAMINGS[framing]
    for _ in range(12):
        width, height = _size(rng)
        if framing == "selfie":
            place = _selfie(rng, figure)
            if place is None:
                return None
        else:
            place = around(target, sample_distance(rng, nearest, farthest), sample_yaw(rng), sample_pitch(rng))
        start = Camera(look_from(place, target, sample_roll(rng)), place, 0.3 * height, width, height)
        if start.to_camera(points)[:, 2].min() < _IN_FRONT_M:
            continue
        camera = _of_arm(rng, start, target) if framing == "selfie" else _framed(rng, start, points, framing)
        if camera is not None and camera.to_camera(figure.joints)[:, 2].min() > _IN_FRONT_M:
            return camera
    return None


def _of_arm(rng: np.random.Generator, start: Camera, target: Array) -> Camera:
    """A selfie: wide angle, the face somewhere in the middle."""
    focal = start.height / (2 * np.tan(np.radians(rng.uniform(45, 80)) / 2))
    camera = Camera(start.R_camera_world, start.position_m, float(focal), start.width, start.height)
    return camera.aimed(target, rng.uniform([0.3, 0.3], [0.7, 0.6]) * [start.width, start.height])


def _framed(rng: np.random.Generator, camera: Camera, points: Array, framing: str) -> Camera | None:
    """Zoom and turn so that points fill the picture as the framing says; None if no camera could."""
    picture = np.array([camera.width, camera.height])
    fill = rng.uniform(0.55, 0.95) if framing in ("whole", "side") else rng.uniform(0.8, 1.05)
    offset, bottom = rng.uniform(-0.48, 0.48, 2), rng.uniform(0.46, 0.52)
    cut, left = rng.uniform(0.15, 0.6), rng.random() < 0.5
    for _ in range(4):  # perspective: the box changes as the camera turns
        low, high = _box(camera, points)
        factor = float((fill * picture / (high - low)).min())
        extent = factor * (high - low)
        spot = picture / 2 + offset * (picture - extent)
        if framing in ("legs", "half", "bust", "head"):
            spot[1] = picture[1] - extent[1] * bottom
        if framing == "side":
            edge = extent[0] * (0.5 - cut)
            spot[0] = edge if left else picture[0] - edge
        focal = factor * camera.focal_px
        if not fits(focal, camera.height):
            return None
        ray = np.array([*((low + high) / 2 - picture / 2), camera.focal_px]) @ camera.R_camera_world
        camera = Camera(camera.R_camera_world, camera.position_m, focal, camera.width, camera.height)
        camera = camera.aimed(ray + camera.position_m, spot)
        if camera.to_camera(points)[:, 2].min() < _IN_FRONT_M:
            return None
    low, high = _box(camera, points)
    if not _SMALLEST_PX <= (high - low).max() <= _TALLEST_PX:
        return None
    inside = (low > -2).all() and (high < picture + 2).all()
    return camera if inside or framing != "whole" else None


def _box(camera: Camera, points: Array) -> tuple[Array, Array]:
    pixels = camera.to_pixels(camera.to_camera(points))
    return pixels.min(0), pixels.max(0)


def _selfie(rng: np.random.Generator, figure: Figure) -> Float[Array, "3"] | None:
    """Where a person holds the camera for a selfie; None if no arm reaches out in front of the face."""
    head, facing = figure.joints[HEAD], figure.rotations[HEAD][:, 2]
    sides = [str(side) for side in rng.permutation(["left", "right"])]
    for side in sides:
        wrist = figure.joints[INDEX[f"{side}_wrist"]]
        out = wrist - head
        length = float(np.linalg.norm(out))
        if length > 0.3 and out @ facing > 0.5 * length:
            return held_by(wrist, head, facing, rng)
    return None


def _shown(rng: np.random.Generator, stage: Stage, framing: str) -> Int[Array, "n"]:
    """Vertices that the picture is to show."""
    parts, faces = stage.template.parts, stage.template.faces
    heights = stage.template.rest[:, 1]
    match framing:
        case "head" | "selfie":
            keep = parts == MASK_PARTS.index("head")
        case "arm":
            keep = np.isin(parts, _ARM_PARTS[str(rng.choice(["left", "right"]))])
        case "hands":
            keep = ~np.isin(parts, _ARMS)
        case "legs":
            keep = ~np.isin(parts, _LOWER)
        case "half":
            keep = ~np.isin(parts, [*_LOWER, *_LEGS])
        case "bust":
            keep = ~np.isin(parts, [*_LOWER, *_LEGS, *_ARMS]) & (heights[faces[:, 0]] > stage.template.joints[6, 1])
        case _:
            keep = np.ones(len(faces), bool)
    return np.unique(faces[keep])[::7]
