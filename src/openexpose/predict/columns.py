"""What is smoothed of a person: numbers over time, in *columns* of which each is smoothed by itself.

58 columns: the 55 rotations (quaternions), the place in the picture, the depth, the expression.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from openexpose.body.model import BodyModel
from openexpose.geometry.rotation import matrix_to_quaternion, quaternion_to_matrix
from openexpose.people import People
from openexpose.predict.placement import place_points, placed, places

Array = np.ndarray

COLUMNS = 58
PLACE, DEPTH, EXPRESSION = 55, 56, 57


@dataclass(frozen=True)
class Columns:
    """A person's rows over time, or several persons' rows."""

    rotations: Float[Array, "n 55 4"]
    """Unit quaternions; q and -q are the same rotation."""
    place: Float[Array, "n 2"]
    """The root's x / z and y / z."""
    depth: Float[Array, "n 1"]
    """log z of the root."""
    expression: Float[Array, "n e"]

    def __len__(self) -> int:
        return len(self.place)

    @property
    def owners(self) -> Int[Array, "c"]:
        """Which column each number of :attr:`numbers` belongs to."""
        return np.repeat(np.arange(COLUMNS), [4] * 55 + [2, 1, self.expression.shape[1]])

    @property
    def numbers(self) -> Float[Array, "n c"]:
        """All numbers in a row."""
        return np.concatenate([self.rotations.reshape(-1, 220), self.place, self.depth, self.expression], -1)

    @classmethod
    def of_numbers(cls, numbers: Float[Array, "n c"]) -> "Columns":
        """Inverse of :attr:`numbers`; quaternions get length 1."""
        rotations = numbers[:, :220].reshape(-1, 55, 4)
        rotations = rotations / np.linalg.norm(rotations, axis=-1, keepdims=True)
        return cls(rotations, numbers[:, 220:222], numbers[:, 222:223], numbers[:, 223:])

    def __getitem__(self, rows: Int[Array, "m"]) -> "Columns":
        return Columns(self.rotations[rows], self.place[rows], self.depth[rows], self.expression[rows])

    def distances_from(self, other: "Columns") -> Float[Array, "n 58"]:
        """Distances of rows from another's rows: radians, shares of the depth (twice), expression coefficients."""
        chords = [np.linalg.norm(self.rotations + sign * other.rotations, axis=-1) for sign in (-1.0, 1.0)]
        angle = 4.0 * np.arcsin(np.clip(0.5 * np.minimum(*chords), 0.0, 1.0))
        pairs = ((self.place, other.place), (self.depth, other.depth), (self.expression, other.expression))
        rest = [np.linalg.norm(mine - theirs, axis=-1) for mine, theirs in pairs]
        return np.concatenate([angle, np.stack(rest, -1)], -1)


def columns_of(model: BodyModel, people: People) -> Columns:
    """The columns of people."""
    place = places(place_points(model, people), people)
    return Columns(
        matrix_to_quaternion(people.pose.astype(float)), place[:, :2], place[:, 2:], people.expression.astype(float)
    )


def with_columns(model: BodyModel, people: People, columns: Columns) -> People:
    """The people with other columns; ``crop_camera`` is made to agree."""
    changed = replace(
        people,
        pose=quaternion_to_matrix(columns.rotations).astype(people.pose.dtype),
        expression=columns.expression.astype(people.expression.dtype),
    )
    return placed(model, changed, np.concatenate([columns.place, columns.depth], -1))
