"""Who and what else is there: companions from embracing to far away, things in the way. World frame."""

import numpy as np
from jaxtyping import Float

from openexpose.body.keypoints import PARENTS
from openexpose.geometry.rotation import rotvec_to_matrix
from openexpose.synth.camera import Camera
from openexpose.synth.figure import Actor, Figure, dress, sample_figure, sample_material, turned
from openexpose.synth.person import Stage
from openexpose.synth.photograph import sample_board
from openexpose.synth.props import sample_furniture
from openexpose.synth.thing import Thing

Array = np.ndarray

MANNERS = {"embrace": 0.2, "beside": 0.3, "around": 0.2, "behind": 0.22, "before": 0.08}
"""Where companions are, as seen from the person of interest and the camera, with shares."""
_NEAREST_M = 0.12
_TRIES = 6
_RADII_M = np.array(
    [0.13, 0.1, 0.1, 0.12, 0.05, 0.05, 0.13, 0.04, 0.04, 0.13, 0.04, 0.04, 0.06, 0.08, 0.08, 0.1, 0.07, 0.07, 0.045,
     0.045, 0.04, 0.04]
)  # fmt: skip


def apart(first: Figure, second: Figure) -> bool:
    """Whether two people stand clear of each other: balls at the joints and half-way along the bones do not overlap."""
    (a, r), (b, s) = _balls(first), _balls(second)
    gap = np.linalg.norm(a[:, None] - b[None], axis=-1) - r[:, None] - s[None]
    return bool(gap.min() > 0)


def _balls(figure: Figure) -> tuple[Float[Array, "n 3"], Float[Array, "n"]]:
    joints, parents = figure.joints[:22], np.asarray(PARENTS)[1:22]
    middles = (joints[1:] + joints[parents]) / 2
    radii = (_RADII_M[1:] + _RADII_M[parents]) / 2
    return np.concatenate([joints, middles]), np.concatenate([_RADII_M, radii])


def sample_companions(
    rng: np.random.Generator, stage: Stage, main: Actor, camera: Camera, share: float
) -> tuple[Actor, ...]:
    """For close-ups: nobody, or with the given probability somebody or two near by."""
    if rng.random() >= share:
        return ()
    others: list[Actor] = []
    for _ in range(1 if rng.random() < 0.8 else 2):
        manner = str(rng.choice(["embrace", "beside", "around", "behind"], p=[0.4, 0.3, 0.15, 0.15]))
        other = companion(rng, stage, [main, *others], camera, manner)
        others += [] if other is None else [other]
    return tuple(others)


def companion(rng: np.random.Generator, stage: Stage, others: list[Actor], camera: Camera, manner: str) -> Actor | None:
    """Somebody clear of the others, in front of the camera and in its picture; None if no room is found.

    Args:
        others: the person of interest first. manner: one of ``MANNERS``.
    """
    stance = None if rng.random() < 0.4 else "prior"
    figure = sample_figure(rng, stage, stance=stance)
    for attempt in range(_TRIES):
        place, yaw = _place(rng, others[0].figure, camera, manner, 0.08 * attempt)
        moved = turned(figure, yaw, place)
        seen = camera.to_camera(moved.joints)
        if seen[:, 2].min() < _NEAREST_M or not camera.inside(seen[:76]).any():
            continue
        if all(apart(moved, other.figure) for other in others):
            scale = camera.focal_px / float(np.median(seen[:, 2]))
            return dress(rng, stage, moved, near=scale > 500, mip=2 if scale < 160 else 1)
    return None


def _place(
    rng: np.random.Generator, main: Figure, camera: Camera, manner: str, further_m: float
) -> tuple[Float[Array, "2"], float]:
    """Floor position (x, z) and yaw."""
    here = main.joints[0, [0, 2]]
    away = here - camera.position_m[[0, 2]]
    distance = float(np.linalg.norm(away)) + 1e-6
    away = away / distance
    across = np.array([-away[1], away[0]]) * rng.choice([-1, 1])
    facing = float(np.arctan2(main.pose[0][0, 2], main.pose[0][2, 2]))
    match manner:
        case "embrace" | "beside":
            reach = (rng.uniform(0.22, 0.45) if manner == "embrace" else rng.uniform(0.45, 1.0)) + further_m
            angle = rng.normal(0, 0.6 if manner == "embrace" else 0.35)
            side = np.array([np.cos(facing + angle), -np.sin(facing + angle)]) * rng.choice([-1, 1])
            if manner == "embrace" and rng.random() < 0.35:
                side, reach = np.array([np.sin(facing), np.cos(facing)]) * rng.choice([-1, 1]), reach + 0.05
            spot = here + side * reach
            towards = here - spot
            yaw = facing if rng.random() < 0.65 else float(np.arctan2(towards[0], towards[1]))
            return spot, yaw + rng.normal(0, 0.35)
        case "around":
            angle = rng.uniform(-np.pi, np.pi)
            spot = here + np.array([np.sin(angle), np.cos(angle)]) * (rng.uniform(0.7, 2.5) + further_m)
        case "behind":
            depth = rng.uniform(0.6, 1.5) if rng.random() < 0.5 else rng.uniform(1.5, 8)
            wide = min(0.45 * camera.width / camera.focal_px, 0.8) * (distance + depth)
            spot = here + away * depth + across * rng.uniform(0, 1) * wide
        case _:
            depth = rng.uniform(0.4, 0.8) * distance
            wide = min(0.5 * camera.width / camera.focal_px, 0.8) * depth
            spot = camera.position_m[[0, 2]] + away * depth + across * rng.uniform(0.5, 1.1) * wide
    towards = here - spot
    yaw = float(np.arctan2(towards[0], towards[1])) if rng.random() < 0.4 else rng.uniform(-np.pi, np.pi)
    return spot, float(yaw + rng.normal(0, 0.4))


def occluders(rng: np.random.Generator, stage: Stage, main: Figure, camera: Camera, share: float) -> tuple[Thing, ...]:
    """With the given probability something between the camera and a person: a flat thing or furniture."""
    if rng.random() >= share:
        return ()
    depth = camera.to_camera(main.vertices[::20])[:, 2]
    nearest = float(np.clip(depth[depth > 0.1].min(), 0.15, None))
    if rng.random() < 0.5 or nearest < 0.8:
        return (sample_board(rng, stage.library, camera, nearest * rng.uniform(0.4, 0.9), 0.22),)
    return _furniture(rng, stage, main, camera)


def _furniture(rng: np.random.Generator, stage: Stage, main: Figure, camera: Camera) -> tuple[Thing, ...]:
    """A piece of furniture on the floor on the camera's side, clear of the person; none if there is no room."""
    piece = sample_furniture(rng, sample_material(rng, stage.library))
    turn = rotvec_to_matrix(np.array([0.0, rng.uniform(-np.pi, np.pi), 0.0]))
    here, there = main.joints[0], camera.position_m
    width = float(np.abs(piece.vertices[:, [0, 2]]).max())
    body = main.vertices[::40, [0, 2]]
    for _ in range(_TRIES):
        share = rng.uniform(0.1, 0.75)
        aside = rng.normal(0, 0.3, 2)
        spot = here[[0, 2]] * (1 - share) + there[[0, 2]] * share + aside
        clear = np.linalg.norm(body - spot, axis=1).min() > width + 0.05
        if clear and np.linalg.norm(there[[0, 2]] - spot) > width + 0.3:
            return (piece.moved(turn, np.array([spot[0], 0.0, spot[1]])),)
    return ()
