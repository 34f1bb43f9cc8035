"""A track as animation programs want it: a mesh, the skeleton that it hangs on, and the skeleton's motion.

Here camera-frame people get the axes of those files: y up, the camera at the origin looking along -z; metres. At rest
(all rotations the identity) a body stands upright around the origin and faces +z, the zero pose of its model.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from openexpose.body.mesh import rest_joints, rest_vertices
from openexpose.body.model import NUM_JOINTS, BodyModel
from openexpose.body.part import part_surface
from openexpose.geometry.rotation import matrix_to_quaternion
from openexpose.motion import Clip, Motion, Track, at_times, even_times
from openexpose.people import People

Array = np.ndarray

_FLIP = np.array([1.0, -1.0, -1.0])
"""Diagonal of the turn by 180 degrees about x that takes the camera frame to those axes."""
_STILL_M = 1e-5
"""Joints that expressions move less than this (relative to their parents) do not move."""
_REACH = 3.0
"""Coefficient of an expression that its slider reaches at least."""
_CHUNK = 1000
"""Frames that are worked on at once: bounds the memory."""


@dataclass(frozen=True, eq=False)
class Rig:
    """One person of a clip, at a constant frame rate.

    The shape is the track's mean, and so are the pose blend shapes in the rest mesh: skinning alone cannot change
    them over time, and the mean leaves the least error (of a still: none).
    """

    id: int
    """Number of the track."""
    fps: float
    """Frames a second."""
    times_s: Float[Array, "n"]
    """When each pose is held, seconds of the clip."""
    vertices: Float[Array, "v 3"]
    """All of the body's vertices at rest, without expression."""
    joints: Float[Array, "55 3"]
    """The skeleton at rest: the joints' places in the same frame."""
    rotations: Float[Array, "n 55 3 3"]
    """Of each joint relative to its parent; of the pelvis in the world."""
    translations: Float[Array, "n 55 3"]
    """Place of each joint from its parent, in the parent's axes; of the pelvis in the world."""
    expression: Float[Array, "n e"]
    """Coefficients of the model's expression directions."""
    appears: bool
    """Whether the clip begins without this person."""
    leaves: bool
    """Whether it ends without them."""

    @property
    def ends_s(self) -> float:
        """When the last pose ends."""
        return float(self.times_s[-1]) + 1.0 / self.fps

    @cached_property
    def quaternions(self) -> Float[Array, "n 55 4"]:
        """The rotations as unit quaternions (x, y, z, w) whose signs do not jump over time."""
        quat = np.stack([matrix_to_quaternion(self.rotations[:, j].astype(float)) for j in range(NUM_JOINTS)], 1)
        jumps = (quat[1:] * quat[:-1]).sum(-1, keepdims=True) < 0
        quat[1:] *= np.cumprod(np.where(jumps, -1.0, 1.0), 0)
        return quat[..., [1, 2, 3, 0]].astype(np.float32)


def rig_of(track: Track, clip: Clip, model: BodyModel, fps: float | None = None) -> Rig:
    """Make a track's rig.

    Args:
        track: the person; gaps are filled (:func:`openexpose.motion.even_times`).
        clip: when its frames are shown.
        model: the body model that the coefficients belong to.
        fps: frames a second; None: the clip's.

    Raises:
        InputError: a frame rate that is none, or more or fewer coefficients than the model has.
    """
    times = even_times(track, clip, fps)
    parts = [at_times(track, clip, times[start : start + _CHUNK]) for start in range(0, len(times), _CHUNK)]
    pose = np.concatenate([part.pose for part in parts])
    betas = track.people.betas.mean(0, dtype=float).astype(np.float32)[None]
    expression = np.concatenate([part.expression for part in parts])
    vertices = rest_vertices(model, pose.mean(0, dtype=float)[None], betas, 0.0 * expression[:1])[0]
    joints, translations = _skeleton(model, betas, expression)
    translations[:, 0] = np.concatenate([_pelvis(model, part) for part in parts])
    pose[:, 0] = _FLIP[:, None] * pose[:, 0]
    return Rig(
        id=track.id,
        fps=clip.fps if fps is None else fps,
        times_s=times,
        vertices=vertices,
        joints=joints,
        rotations=pose,
        translations=translations,
        expression=expression,
        appears=bool(track.frames[0] > 0),
        leaves=bool(track.frames[-1] < len(clip.times_s) - 1),
    )


def influences(model: BodyModel, most: int = 8) -> tuple[Int[Array, "v k"], Float[Array, "v k"]]:
    """The joints that hold each vertex and their weights, largest first: 4 a vertex, or 8 if the model has more.

    Args:
        model: the body model.
        most: the most that a vertex may have; the smallest of more are dropped and the rest sums to 1 again.
    """
    used = int(np.count_nonzero(model.weights, axis=1).max())
    order = np.argsort(-model.weights, axis=1, kind="stable")[:, : 4 if used <= 4 else most]
    weights = np.take_along_axis(model.weights, order, 1).astype(float)
    weights /= weights.sum(1, keepdims=True)
    return np.where(weights > 0, order, 0), weights.astype(np.float32)


@dataclass(frozen=True, eq=False)
class BlendShapes:
    """What moves a mesh at rest beside its skeleton, as sliders from 0 to 1: some programs clamp them to that.

    An expression has two: at 1 ``expression_0_plus`` is the coefficient ``reach``, ``expression_0_minus`` -``reach``.
    At 1 ``shape_0`` is one unit of the shape coefficient more than the track's.
    """

    model: BodyModel
    reach: float
    """Largest expression coefficient."""
    part: str = "whole"
    """``People.part``: of a lone part the mesh is only that."""

    @cached_property
    def surface(self) -> tuple[Int[Array, "m"], Int[Array, "f 3"]]:
        """The mesh: which of the model's vertices it has, and triangles that count in them."""
        return part_surface(self.model, self.part)

    @cached_property
    def offsets(self) -> dict[str, Float[Array, "m 3"]]:
        """Offsets of the mesh's vertices by name, metres."""
        rows = self.surface[0]
        expressions, shapes = self.model.expression_dirs[rows], self.model.shape_dirs[rows]
        signs = (("plus", self.reach), ("minus", -self.reach))
        named = {
            f"expression_{k}_{sign}": value * expressions[..., k]
            for k in range(expressions.shape[-1])
            for sign, value in signs
        }
        return named | {f"shape_{k}": shapes[..., k] for k in range(shapes.shape[-1])}

    def weights(self, rig: Rig) -> Float[Array, "n sliders"]:
        """The sliders of a rig over time, in the order of :attr:`offsets`; shape stays at 0."""
        sides = np.stack([rig.expression, -rig.expression], -1).reshape(len(rig.expression), -1)
        sides = np.clip(sides / self.reach, 0.0, 1.0)
        return np.pad(sides, ((0, 0), (0, len(self.offsets) - sides.shape[1]))).astype(np.float32)


def blend_shapes_for(motion: Motion, model: BodyModel) -> BlendShapes:
    """Sliders that reach all expressions of a motion: coefficients up to 3, or to the next whole number above all."""
    highest = max((float(np.abs(track.people.expression).max(initial=0.0)) for track in motion.tracks), default=0.0)
    part = motion.tracks[0].people.part if motion.tracks else "whole"
    return BlendShapes(model, max(_REACH, float(np.ceil(highest))), part)


def _skeleton(
    model: BodyModel, betas: Float[Array, "1 b"], expression: Float[Array, "n e"]
) -> tuple[Float[Array, "55 3"], Float[Array, "n 55 3"]]:
    """The mean rest joints of a track, and every frame's translations; the pelvis' are for the caller to set."""
    rest = np.concatenate(
        [
            rest_joints(model, betas, expression[start : start + _CHUNK]).astype(float)
            for start in range(0, len(expression), _CHUNK)
        ]
    )
    mean = rest.mean(0)
    parents = np.maximum(model.parents, 0)
    translations, still = rest - rest[:, parents], mean - mean[parents]
    stands = (np.abs(translations - still) < _STILL_M).all((0, 2))
    translations[:, stands] = still[stands]
    return mean.astype(np.float32), translations.astype(np.float32)


def _pelvis(model: BodyModel, people: People) -> Float[Array, "n 3"]:
    """Where the pelvis is, in the axes of the file."""
    place = rest_joints(model, people.betas, people.expression)[:, 0] + people.transl
    return (_FLIP * place).astype(np.float32)
