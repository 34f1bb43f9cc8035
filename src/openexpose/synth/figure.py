"""People in the world: posed, dressed, standing on the floor. World frame: metres, y up, floor y = 0, facing +z."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from openexpose.body.keypoints import INDEX
from openexpose.body.mesh import joint_transforms, posed_mesh
from openexpose.geometry.rotation import rotvec_to_matrix
from openexpose.synth.appearance import sample_look
from openexpose.synth.grasp import HeldObject
from openexpose.synth.library import Library
from openexpose.synth.person import HEAD, Stage
from openexpose.synth.pose import full_pose, sample_betas, sample_body, sample_expression, sample_face, sample_hands
from openexpose.synth.props import held_thing, sample_seat
from openexpose.synth.raster import vertex_normals
from openexpose.synth.skeleton import SPINE, forward, reach
from openexpose.synth.thing import Body, Thing
from openexpose.synth.wardrobe import sample_outfit, wear

Array = np.ndarray


@dataclass(frozen=True)
class Figure:
    """A posed person, bare; in the world or in a camera's frame, metres.

    Attributes:
        pose: [55, 3, 3], the first is the global orientation in the frame. betas, expression: coefficients.
        vertices: [v, 3]. joints: [144, 3]. rotations: [55, 3, 3] of the joints in the frame.
        stance: one of :data:`openexpose.synth.pose.STANCES`. held: what the ``left`` and ``right`` hand holds.
    """

    pose: Float[Array, "55 3 3"]
    betas: Float[Array, "b"]
    expression: Float[Array, "e"]
    vertices: Float[Array, "v 3"]
    joints: Float[Array, "144 3"]
    rotations: Float[Array, "55 3 3"]
    stance: str = "prior"
    held: Mapping[str, HeldObject] = field(default_factory=dict)

    def moved(self, rotation: Float[Array, "3 3"], shift: Float[Array, "3"]) -> "Figure":
        """The same person at ``rotation @ x + shift``."""
        return replace(
            self,
            pose=np.concatenate([(rotation @ self.pose[0])[None], self.pose[1:]]),
            vertices=_moved(self.vertices, rotation, shift),
            joints=_moved(self.joints, rotation, shift),
            rotations=rotation @ self.rotations,
        )


@dataclass(frozen=True)
class Actor:
    """A figure and how it looks, in the same frame; ``seats``: what it sits on."""

    figure: Figure
    body: Body
    seats: tuple[Thing, ...] = ()

    def moved(self, rotation: Float[Array, "3 3"], shift: Float[Array, "3"]) -> "Actor":
        """The same person at ``rotation @ x + shift``."""
        things = tuple(thing.moved(rotation, shift) for thing in self.body.things)
        vertices = _moved(self.body.vertices, rotation, shift)
        seats = tuple(thing.moved(rotation, shift) for thing in self.seats)
        return Actor(self.figure.moved(rotation, shift), replace(self.body, vertices=vertices, things=things), seats)

    @property
    def lowest_m(self) -> float:
        """Height of the lowest vertex, shoes included, in a frame whose y is up."""
        worn = [thing.vertices[:, 1].min() for thing in self.body.things if len(thing.vertices)]
        return float(min([self.body.vertices[:, 1].min(), *worn]))


def _moved(points: Array, rotation: Array, shift: Array) -> Array:
    return points @ rotation.T.astype(points.dtype) + np.asarray(shift).astype(points.dtype)


def sample_figure(
    rng: np.random.Generator,
    stage: Stage,
    *,
    stance: str | None = None,
    arms: str | None = None,
    gaze_at: Float[Array, "3"] | None = None,
) -> Figure:
    """Somebody at the world's origin, facing +z, on the floor.

    Args:
        stance: one of ``STANCES``, None: drawn.
        arms: as :func:`openexpose.synth.pose.sample_body`; or ``selfie``: one arm holds a camera before the face.
        gaze_at: as there.
    """
    betas = sample_betas(rng, stage.model.num_betas, stage.measures)
    selfie = arms == "selfie"
    usual = "as they are" if selfie else arms
    body = sample_body(rng, stage.poses, stance=stance, arms=usual, gaze_at=gaze_at, betas=betas)
    hands = sample_hands(rng, stage.poses, body)
    if selfie:
        _hold_out(rng, stage, body.pose)
    lively = rng.random() < 0.7
    face = sample_expression(rng, stage.poses) if lively else sample_face(rng, stage.model.num_expression)
    pose = full_pose(body.pose, hands.right, hands.left_as_right, face)
    held = {side: thing for side, thing in hands.props.items() if thing is not None and not selfie}
    return _on_floor(replace(pose_figure(stage, pose, betas, face.expression), stance=body.stance, held=held))


def _hold_out(rng: np.random.Generator, stage: Stage, pose: Float[Array, "22 3"]) -> None:
    """Stretch an arm out in front of the face, a little to its side."""
    rest = stage.poses.capsules.rest
    rotations, joints = forward(pose, rest)
    side = int(rng.integers(2))
    sign = 1 - 2 * side
    aim = rotations[HEAD] @ np.array([sign * rng.uniform(-0.02, 0.3), rng.uniform(-0.15, 0.25), 0.7])
    pole = rotations[SPINE[-1]] @ np.array([0.6 * sign, -1.0, -0.3])
    reach(pose, rest, side, joints[HEAD] + aim, pole, (rotations, joints))


def pose_figure(stage: Stage, pose: Array, betas: Array, expression: Array) -> Figure:
    """A figure of known pose and shape in the body model's frame. Arguments as :class:`Figure`."""
    batch = pose[None], betas[None], expression[None]
    mesh, (rotations, _) = posed_mesh(stage.model, *batch), joint_transforms(stage.model, *batch)
    vertices, joints = mesh.vertices[0].astype(np.float32), mesh.joints[0].astype(float)
    return Figure(pose, betas, expression, vertices, joints, rotations[0].astype(float))


def _on_floor(figure: Figure) -> Figure:
    shift = -figure.joints[0] * [1, 0, 1]
    shift[1] = -float(figure.vertices[:, 1].min())
    return figure.moved(np.eye(3), shift)


def turned(figure: Figure, yaw_rad: float, place_m: Float[Array, "2"]) -> Figure:
    """A figure that stands elsewhere on the floor: turned about the vertical, its pelvis over (x, z)."""
    rotation = rotvec_to_matrix(np.array([0.0, yaw_rad, 0.0]))
    pelvis = rotation @ figure.joints[0]
    return figure.moved(rotation, np.array([place_m[0] - pelvis[0], 0.0, place_m[1] - pelvis[2]]))


def dress(rng: np.random.Generator, stage: Stage, figure: Figure, *, near: bool, mip: int) -> Actor:
    """Clothes, hair, skin and what is held for a figure of the world, its feet on the floor, a seat under it.

    Args:
        near: the person is large in the picture: finer hair and clothes.
        mip: size of the skin texture, see :func:`openexpose.synth.appearance.sample_look`.
    """
    things, hidden, bare = _worn(rng, stage, figure, near)
    look = sample_look(rng, stage.template, stage.library, mip, bare=bare)
    vertices = figure.vertices
    if look.offset_m.any():
        vertices = vertices + vertex_normals(vertices, stage.template.faces) * look.offset_m[:, None]
    body = Body(vertices, look.surface, hidden, stage.template.parts, things)
    low = min([float(vertices[:, 1].min()), *(float(thing.vertices[:, 1].min()) for thing in things)])
    actor = Actor(figure, body).moved(np.eye(3), np.array([0.0, -low, 0.0]))
    held = tuple(_held(rng, stage, actor.figure, side) for side in figure.held)
    return replace(actor, body=replace(actor.body, things=actor.body.things + held), seats=_seats(rng, stage, actor))


def _held(rng: np.random.Generator, stage: Stage, figure: Figure, side: str) -> Thing:
    wrist, knuckle = INDEX[f"{side}_wrist"], INDEX[f"{side}_middle1"]
    at_rest = stage.model.joint_template[knuckle] - stage.model.joint_template[wrist]
    scale = np.linalg.norm(figure.joints[knuckle] - figure.joints[wrist]) / np.linalg.norm(at_rest)
    return held_thing(
        figure.held[side], figure.rotations[wrist], figure.joints[wrist], sample_material(rng, stage.library), side,
        hand_scale=float(scale),
    )  # fmt: skip


def _seats(rng: np.random.Generator, stage: Stage, actor: Actor) -> tuple[Thing, ...]:
    """Something under the hips of those who sit."""
    if actor.figure.stance != "sit" or rng.random() < 0.1:
        return ()
    vertices, pelvis = actor.body.vertices, actor.figure.joints[0]
    near = np.abs(vertices[:, [0, 2]] - pelvis[[0, 2]]).max(1) < 0.14
    height = float(vertices[near, 1].min())
    if not 0.2 < height < 1.2:
        return ()
    forward_ = actor.figure.pose[0][:, 2]
    yaw = rotvec_to_matrix(np.array([0.0, np.arctan2(forward_[0], forward_[2]), 0.0]))
    seat = sample_seat(rng, sample_material(rng, stage.library), height)
    return (seat.moved(yaw, np.array([pelvis[0], 0.0, pelvis[2]])),)


def sample_material(rng: np.random.Generator, library: Library) -> UInt8[Array, "t t 4"]:
    """An opaque texture of things: a plain colour, cloth or a piece of a picture."""
    size, kind = 64, rng.random()
    if kind < 0.45:
        colour = np.tile(255 * rng.beta(0.8, 0.8, 3) ** 1.2, (size, size, 1)) + rng.normal(0, 4, (size, size, 1))
        colour = np.clip(colour, 0, 255).astype(np.uint8)
    else:
        source = library.cloth if kind < 0.75 else library.backgrounds
        picture = source[rng.integers(len(source))]
        side = int(rng.uniform(0.1, 0.5) * min(picture.shape[:2]))
        y, x = (int(rng.integers(n - side)) for n in picture.shape[:2])
        colour = np.asarray(cv2.resize(picture[y : y + side, x : x + side], (size, size), interpolation=cv2.INTER_AREA))
    return np.ascontiguousarray(np.concatenate([colour, np.full((size, size, 1), 255, np.uint8)], 2))


def _worn(
    rng: np.random.Generator, stage: Stage, figure: Figure, near: bool
) -> tuple[tuple[Thing, ...], Array, frozenset[str]]:
    """What is worn, the faces it hides, and the painted layers it stands for."""
    if stage.wardrobe is None:
        return (), np.zeros(len(stage.template.faces), bool), frozenset()
    outfit = sample_outfit(rng, stage.wardrobe, detail="near" if near else "far")
    things, hidden = wear(outfit, stage.wardrobe, figure.vertices)
    return things, hidden, outfit.replaces
