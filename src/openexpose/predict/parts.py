"""The three part networks' parameter vectors, decoded in numpy.

One layout serves all parts (paper, eq. 1, 3, 4): 6D rotations of some joints, betas, expression, camera.
A part's own root (pelvis, wrist or head) is written to slot 0 of the pose as an absolute rotation in the crop's frame,
so that points and projections of every part come from the same body layer.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from openexpose.body.keypoints import IBUG68, INDEX, PARTS, RIGHT_HAND21
from openexpose.geometry.rotation import matrix_to_sixd, sixd_to_matrix
from openexpose.people import zero_pose

Array = np.ndarray


@dataclass(frozen=True)
class PartSpec:
    """What distinguishes the body, hand and face networks."""

    name: str
    """``body``, ``hand`` or ``face``."""
    pose_slots: tuple[int, ...]
    """Pose slots that the rotations of the vector fill, in order; slot 0 is the part's root."""
    num_betas: int
    num_expression: int
    root_joint: int
    """Joint of the whole body that the part's root is: 0 pelvis, 21 right wrist, 15 head. Points count from it."""
    keypoints: tuple[int, ...]
    """Keypoints (of the 144) that the part is supervised on and delivers when it runs alone."""
    rest_expression: int = 0
    """Where the part predicts no expression: as many zeros stand for it when the body is posed."""
    from_origin: bool = False
    """The camera's xy count from the body model's origin and not from the part's root (the released body network)."""
    merges_root: bool = True
    """The part starts at the body's estimate of its root orientation, and its answer replaces it. The paper's face
    network estimates the head's orientation for itself only."""

    @property
    def size(self) -> int:
        """Length of the parameter vector."""
        return 6 * len(self.pose_slots) + self.num_betas + self.num_expression + 3

    @property
    def model_size(self) -> tuple[int, int]:
        """Numbers of shape and expression coefficients of the body model that poses the part."""
        return self.num_betas, self.num_expression or self.rest_expression

    def from_root(self, points: Any) -> Any:
        """Points [n, 144, 3], numpy or torch, counted as the part's camera counts them."""
        return points if self.from_origin else points - points[:, self.root_joint, None]


BODY = PartSpec("body", (*range(22), *range(25, 55), 22), 10, 20, 0, tuple(range(144)))
HAND = PartSpec("hand", (0, *range(40, 55)), 10, 0, INDEX["right_wrist"], tuple(int(k) for k in RIGHT_HAND21), 20)
FACE = PartSpec("face", (0, 22), 10, 20, INDEX["head"], tuple(int(k) for k in IBUG68))
SPECS: dict[str, PartSpec] = {spec.name: spec for spec in (BODY, HAND, FACE)}
_HEAD = tuple(int(k) for k in np.r_[PARTS["head"][:9], IBUG68])
RECIPES: dict[str, dict[str, PartSpec]] = {
    "default": SPECS,
    "paper": {
        "body": replace(BODY, num_expression=10, from_origin=True),
        "hand": replace(HAND, rest_expression=10),
        "face": replace(FACE, num_betas=100, num_expression=50, keypoints=_HEAD, merges_root=False),
    },
}
"""Two recipes of one architecture. ``paper``: the parameter vectors of the paper's networks, 341, 109, 165 numbers."""


@dataclass(frozen=True)
class PartParameters:
    """A decoded parameter vector."""

    pose: Float[Array, "n 55 3 3"]
    """Rotations; slot 0 is the part's root in the crop's frame, unpredicted slots are identity."""
    betas: Float[Array, "n b"]
    expression: Float[Array, "n e"]
    """Zeros where the part predicts none."""
    camera: Float[Array, "n 3"]
    """Weak-perspective (s, tx, ty); xy counts from the part's root joint, or as :attr:`PartSpec.from_origin` says."""
    sixd: Float[Array, "n slots 6"] | None = None
    """The 6D codes as the network gave them, in the order of the vector; None once the pose was changed. Where they are
    known, they start the right hand and the jaw (the paper's networks pass them on before they are orthonormal)."""


def split(vector: Any, spec: PartSpec) -> tuple[Any, Any, Any, Any]:
    """Views of a vector [n, size], numpy or torch: 6D rotations [n, slots, 6], betas, expression, raw camera."""
    ends = np.cumsum([6 * len(spec.pose_slots), spec.num_betas, spec.num_expression])
    rotations = vector[:, : ends[0]].reshape(vector.shape[0], -1, 6)
    return rotations, vector[:, ends[0] : ends[1]], vector[:, ends[1] : ends[2]], vector[:, ends[2] :]


def decode(vector: Float[Array, "n size"], spec: PartSpec) -> PartParameters:
    """Parameter vector to rotations, coefficients and camera (scale = softplus of its raw value: always positive)."""
    rotations, betas, expression, camera = split(vector, spec)
    pose = zero_pose(len(vector))
    pose[:, list(spec.pose_slots)] = sixd_to_matrix(rotations)
    scale = np.logaddexp(0.0, camera[:, :1])
    if not spec.num_expression:
        expression = np.zeros((len(vector), spec.rest_expression), vector.dtype)
    return PartParameters(pose, betas, expression, np.concatenate([scale, camera[:, 1:]], 1), rotations)


def encode(parameters: PartParameters, spec: PartSpec) -> Float[Array, "n size"]:
    """Inverse of :func:`decode`: how a part is started at somebody else's estimate."""
    count = len(parameters.pose)
    sixd = parameters.sixd
    rotations = (matrix_to_sixd(parameters.pose[:, list(spec.pose_slots)]) if sixd is None else sixd).reshape(count, -1)
    raw_scale = np.log(np.expm1(parameters.camera[:, :1]))
    expression = parameters.expression[:, : spec.num_expression]
    camera = np.concatenate([raw_scale, parameters.camera[:, 1:]], 1)
    return np.concatenate([rotations, parameters.betas, expression, camera], 1).astype(np.float32)
