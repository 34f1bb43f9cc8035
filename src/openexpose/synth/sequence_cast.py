"""The people of a sequence: who they are stays, how they stand changes."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from openexpose.body.keypoints import INDEX
from openexpose.body.mesh import joint_transforms, posed_mesh
from openexpose.people import zero_pose
from openexpose.synth.appearance import Look, sample_look
from openexpose.synth.figure import Actor, pose_figure
from openexpose.synth.person import Stage
from openexpose.synth.pose import sample_betas
from openexpose.synth.raster import vertex_normals
from openexpose.synth.sequence_steps import Shoe
from openexpose.synth.skeleton import ANKLE, FOOT
from openexpose.synth.thing import Body, Thing
from openexpose.synth.wardrobe import Outfit, sample_outfit, wear

Array = np.ndarray
_NO_LAYERS: frozenset[str] = frozenset()


@dataclass(frozen=True, eq=False)
class Character:
    """Somebody: shape, skin and clothes.

    Attributes:
        outfit: None for a user's body, whose clothes are painted. rest: [22, 3] joints at rest. shoe: how it stands.
    """

    betas: Float[Array, "b"]
    look: Look
    outfit: Outfit | None
    rest: Float[Array, "22 3"]
    shoe: Shoe


def sample_character(rng: np.random.Generator, stage: Stage) -> Character:
    """Anybody, in clothes fine enough for a picture of 720 lines."""
    betas = sample_betas(rng, stage.model.num_betas, stage.measures)
    outfit = None if stage.wardrobe is None else sample_outfit(rng, stage.wardrobe, detail="near")
    bare = _NO_LAYERS if outfit is None else outfit.replaces
    look = sample_look(rng, stage.template, stage.library, 1, bare=bare)
    plain = Character(betas, look, outfit, np.zeros((22, 3)), Shoe(0.1, np.zeros(2), np.zeros((2, 3)), 0.05))
    batch = zero_pose(1), betas[None], np.zeros((1, stage.model.num_expression))
    rest = joint_transforms(stage.model, *batch)[1][0, :22].astype(float)
    actor = _at_rest(stage, plain)
    feet = np.concatenate([actor.body.vertices, *(thing.vertices for thing in actor.body.things)])
    ankles, balls = rest[[ANKLE, ANKLE + 1]], rest[[FOOT, FOOT + 1]]
    near = [(np.abs(feet - ankle) < [0.08, 0.3, 0.35]).all(1) for ankle in ankles]
    heel = posed_mesh(stage.model, *batch).joints[0, INDEX["left_heel"]]
    shoe = Shoe(
        apart_m=float(np.clip(0.85 * ankles[0, 0], 0.06, 0.12)),
        ankle_m=ankles[:, 1] - np.array([feet[beside, 1].min() for beside in near]),
        balls=balls - ankles,
        heel_m=float(ankles[0, 2] - heel[2]),
    )
    return replace(plain, rest=rest, shoe=shoe)


def _at_rest(stage: Stage, character: Character) -> Actor:
    pose, expression = zero_pose(1)[0].astype(float), np.zeros(stage.model.num_expression)
    return actor_of(stage, character, pose, expression, character.rest[0])


def actor_of(
    stage: Stage, character: Character, pose: Float[Array, "55 3 3"], expression: Float[Array, "e"],
    pelvis_m: Float[Array, "3"],
) -> Actor:  # fmt: skip
    """The person in a pose, the pelvis where it shall be."""
    figure = pose_figure(stage, pose, character.betas, expression)
    figure = figure.moved(np.eye(3), np.asarray(pelvis_m) - figure.joints[0])
    things: tuple[Thing, ...] = ()
    hidden = np.zeros(len(stage.template.faces), bool)
    if character.outfit is not None and stage.wardrobe is not None:
        things, hidden = wear(character.outfit, stage.wardrobe, figure.vertices)
    vertices = figure.vertices
    if character.look.offset_m.any():
        vertices = vertices + vertex_normals(vertices, stage.template.faces) * character.look.offset_m[:, None]
    return Actor(figure, Body(vertices, character.look.surface, hidden, stage.template.parts, things))
