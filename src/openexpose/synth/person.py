"""One seeded person in front of a photo's camera: the truth that crops and labels are made from."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.resources import files
from pathlib import Path

import numpy as np
from jaxtyping import Float

from openexpose.body.keypoints import INDEX
from openexpose.body.mesh import joint_transforms, posed_mesh
from openexpose.body.model import BodyModel, load_body_model
from openexpose.geometry.rotation import rotvec_to_matrix
from openexpose.synth.appearance import Template, read_template, sample_look
from openexpose.synth.collision import fit_capsules
from openexpose.synth.library import Library, default_assets, load_library
from openexpose.synth.lighting import Place, read_places
from openexpose.synth.pose import (
    PoseSource,
    full_pose,
    sample_betas,
    sample_body_pose,
    sample_expression,
    sample_face,
    sample_hand_pose,
)
from openexpose.synth.raster import Light, Surface, vertex_normals
from openexpose.synth.shape import Measures, measure_shapes
from openexpose.synth.wardrobe import Wardrobe, read_wardrobe

Array = np.ndarray

HEAD = INDEX["head"]
_TO_HEAD = [INDEX[n] for n in ("spine1", "spine2", "spine3", "neck", "head")]
_UPRIGHT = np.diag([1.0, -1.0, -1.0])
_WARM = np.array([1.0, 0.1, -1.0])


@dataclass(frozen=True)
class Stage:
    """Everything that is the same for all people: body model, its template, pictures, pose sources.

    Attributes:
        assets: folder of pictures, lights and clothes. is_free: whether the body is the free one, which clothes fit.
    """

    model: BodyModel
    template: Template
    library: Library
    poses: PoseSource
    assets: Path
    is_free: bool

    @cached_property
    def wardrobe(self) -> Wardrobe | None:
        """Clothes with their own geometry, hair, hats and glasses; None for a user's body: its clothes are painted."""
        return read_wardrobe(self.assets / "wardrobe", self.model) if self.is_free else None

    @cached_property
    def measures(self) -> Measures:
        """Height and volume of the body's shapes."""
        return measure_shapes(self.model)

    @cached_property
    def places(self) -> Mapping[str, Place]:
        """Light of the places that the backgrounds show."""
        return read_places(self.assets)


@dataclass(frozen=True)
class Person:
    """A posed, dressed person in the photo's camera frame (metres).

    Attributes:
        pose: [55, 3, 3], global orientation relative to the photo's camera.
        betas, expression: coefficients.
        vertices: [v, 3] with clothes. joints: [144, 3] of the bare body. rotations: [55, 3, 3] of the joints in the
            camera frame.
        surface, light: how the person is drawn.
    """

    pose: Float[Array, "55 3 3"]
    betas: Float[Array, "b"]
    expression: Float[Array, "e"]
    vertices: Float[Array, "v 3"]
    joints: Float[Array, "144 3"]
    rotations: Float[Array, "55 3 3"]
    surface: Surface
    light: Light

    def moved(self, rotation: Float[Array, "3 3"], pivot: Float[Array, "3"], target: Float[Array, "3"]) -> "Person":
        """The same person turned rigidly about ``pivot``, which goes to ``target``; the light stays."""
        move = lambda x: x @ rotation.T.astype(x.dtype) + (target - rotation @ pivot).astype(x.dtype)  # noqa: E731
        return replace(
            self,
            pose=np.concatenate([(rotation @ self.pose[0])[None], self.pose[1:]]),
            vertices=move(self.vertices),
            joints=move(self.joints),
            rotations=rotation @ self.rotations,
        )


def build_stage(body: Path | None = None, assets: Path | None = None) -> Stage:
    """Load the body model (default: the free body) and the pictures (default: the checkout's ``synth_assets``).

    Raises:
        InputError: a file is missing or the body model has no texture coordinates.
    """
    model, library = load_body_model(body), load_library(assets)
    rest = model.joint_template[:22].astype(float)
    names, actions = ((), None) if body is not None else _facial_actions(model)
    capsules = None if body is None else fit_capsules(model)
    poses = PoseSource(library.prior, library.hands, rest, actions, names, model.num_expression, capsules)
    return Stage(model, read_template(model), library, poses, assets or default_assets(), body is None)


def _facial_actions(model: BodyModel) -> tuple[tuple[str, ...], Float[Array, "a e"]]:
    """Names and expression coefficients of the free body's facial actions."""
    with (files("openexpose.body") / "data" / "freebody_parts.npz").open("rb") as file:
        parts = np.load(file, allow_pickle=False)
        return tuple(parts["action_names"].tolist()), parts["action_coefficients"][:, : model.num_expression]


def sample_person(rng: np.random.Generator, stage: Stage, *, facing: bool = False, mip: int = 0) -> Person:
    """One person with the pelvis at the origin of the camera frame.

    Args:
        facing: the head looks roughly to the camera (for face crops); otherwise any direction.
        mip: size of the skin texture, see :func:`openexpose.synth.appearance.sample_look`.
    """
    body = sample_body_pose(rng, stage.poses)
    face = sample_expression(rng, stage.poses) if facing else sample_face(rng, stage.model.num_expression)
    right, left = (sample_hand_pose(rng, stage.poses) for _ in range(2))
    if rng.random() < 0.25:
        left = right + rng.normal(0, 0.05, (15, 3))
    pose = full_pose(body, right, left, face)
    betas = sample_betas(rng, stage.model.num_betas)
    pose[0] = _orientation(rng, pose, facing)
    return dressed_person(rng, stage, pose, betas, face.expression, mip=mip)


def dressed_person(
    rng: np.random.Generator,
    stage: Stage,
    pose: Float[Array, "55 3 3"],
    betas: Float[Array, "b"],
    expression: Float[Array, "e"],
    *,
    mip: int,
) -> Person:
    """A person of known pose and shape, the pelvis at the origin of the camera frame; only clothes and light are drawn.

    Args: see :class:`Person` and :func:`sample_person`.
    """
    batch = pose[None], betas[None], expression[None]
    mesh = posed_mesh(stage.model, *batch)
    rotations, _ = joint_transforms(stage.model, *batch)
    look = sample_look(rng, stage.template, stage.library, mip)
    vertices = mesh.vertices[0].astype(np.float32)
    vertices = vertices + vertex_normals(vertices, stage.template.faces) * look.offset_m[:, None]
    person = Person(
        pose,
        betas,
        expression,
        vertices,
        mesh.joints[0].astype(float),
        rotations[0].astype(float),
        look.surface,
        sample_light(rng),
    )
    return person.moved(np.eye(3), person.joints[0], np.zeros(3))


def _orientation(rng: np.random.Generator, pose: Array, facing: bool) -> Float[Array, "3 3"]:
    """Camera pitch and roll x yaw x the pose's own tilt; ``facing``: what brings the head to the front."""
    yaw = rng.uniform(-np.pi, np.pi) if rng.random() < 0.45 else rng.normal(0, 0.8)
    roll, pitch = rng.normal(0, 0.1), rng.normal(0.12, 0.25)
    camera = rotvec_to_matrix(np.array([0, 0, roll])) @ rotvec_to_matrix(np.array([pitch, 0, 0]))
    if not facing:
        return camera @ _UPRIGHT @ rotvec_to_matrix(np.array([0, yaw, 0])) @ pose[0]
    above = np.eye(3)
    for joint in _TO_HEAD:
        above = above @ pose[joint]
    wide = rng.random() < 0.25
    angles = rng.normal(0, [0.28, 0.9 if wide else 0.4, 0.18])
    head = rotvec_to_matrix(np.array([0, angles[1], 0])) @ rotvec_to_matrix(np.array([angles[0], 0, angles[2]]))
    return _UPRIGHT @ head @ above.T


def sample_light(rng: np.random.Generator) -> Light:
    """A key light from above, mostly from the camera's side, with a soft sky and ground."""
    direction = rng.normal(size=3)
    direction[1] = -abs(direction[1]) - 0.2
    direction[2] = -abs(direction[2]) * (1 if rng.random() < 0.8 else -1)
    key = rng.uniform(0.1, 1.6)
    ambient = rng.uniform(0.3, 0.8) * (1.15 - 0.45 * key)
    tint = lambda spread: 1 + spread * (rng.normal() * _WARM + 0.4 * rng.normal(size=3))  # noqa: E731
    return Light(
        direction / np.linalg.norm(direction),
        key * tint(0.1),
        np.clip(ambient * 1.1 * tint(0.1), 0.03, 2),
        np.clip(ambient * rng.uniform(0.35, 0.9) * tint(0.1), 0.02, 2),
        np.array([0.0, -1.0, 0.0]),
    )
