"""What a fit changes: pose, shape, expression and place of some people, and the layout of their unknowns."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from openexpose.body.keypoints import INDEX
from openexpose.geometry.rotation import project_to_so3, rotvec_to_matrix

Array = np.ndarray

_EYES = INDEX["left_eye_smplx"], INDEX["right_eye_smplx"]
FREE_JOINTS: Int[Array, "53"] = np.array([joint for joint in range(55) if joint not in _EYES])
"""Joints that turn: all but the eyes, which no keypoint shows."""


@dataclass(frozen=True)
class Layout:
    """Where each unknown lies in a step: turns of :data:`FREE_JOINTS` about their own axes, betas, expression,
    translation."""

    num_betas: int
    num_expression: int

    @property
    def size(self) -> int:
        """Number of unknowns of a person."""
        return 3 * len(FREE_JOINTS) + self.num_betas + self.num_expression + 3

    def turns(self, joints: Int[Array, "j"]) -> Int[Array, "j 3"]:
        """The unknowns of some joints."""
        return 3 * np.searchsorted(FREE_JOINTS, joints)[:, None] + np.arange(3)

    @property
    def betas(self) -> slice:
        """The unknowns of shape."""
        start = 3 * len(FREE_JOINTS)
        return slice(start, start + self.num_betas)

    @property
    def expression(self) -> slice:
        """The unknowns of expression."""
        return slice(self.betas.stop, self.betas.stop + self.num_expression)

    @property
    def transl(self) -> slice:
        """The unknowns of the translation."""
        return slice(self.expression.stop, self.size)


@dataclass(frozen=True)
class State:
    """n people in the camera's frame: vertices are ``LBS(pose, betas, expression) + transl``, metres."""

    pose: Float[Array, "n 55 3 3"]
    betas: Float[Array, "n b"]
    expression: Float[Array, "n e"]
    transl: Float[Array, "n 3"]

    @property
    def layout(self) -> Layout:
        """The layout of a step."""
        return Layout(self.betas.shape[1], self.expression.shape[1])

    def moved(self, step: Float[Array, "n u"]) -> "State":
        """The people after a step."""
        layout, count = self.layout, len(FREE_JOINTS)
        pose = self.pose.astype(float)
        turns = rotvec_to_matrix(step[:, : 3 * count].reshape(-1, count, 3))
        pose[:, FREE_JOINTS] = project_to_so3(pose[:, FREE_JOINTS] @ turns)
        return State(
            pose,
            self.betas + step[:, layout.betas],
            self.expression + step[:, layout.expression],
            self.transl + step[:, layout.transl],
        )

    def where(self, use: Bool[Array, "n"], other: "State") -> "State":
        """People of ``other`` where ``use`` is true, else of self."""
        mine, theirs = vars(self), vars(other)
        rows = {name: np.where(use.reshape(-1, *[1] * (v.ndim - 1)), theirs[name], v) for name, v in mine.items()}
        return replace(self, **rows)

    def __getitem__(self, rows: Array) -> "State":
        """The people ``rows``."""
        return State(**{name: value[rows] for name, value in vars(self).items()})

    def __len__(self) -> int:
        return len(self.pose)
