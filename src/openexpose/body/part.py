"""Which of the body is shown where a hand or a face was looked at alone."""

import numpy as np
from jaxtyping import Int

from openexpose.body.model import BodyModel

Array = np.ndarray

_PART_JOINTS = {"face": (15, 22, 23, 24), "left-hand": (20, *range(25, 40)), "right-hand": (21, *range(40, 55))}


def part_surface(model: BodyModel, part: str) -> tuple[Int[Array, "n"], Int[Array, "f 3"]]:
    """What to draw of the body for ``People.part``: vertices, and triangles that count in them.

    A vertex belongs to a part when more than half of its skinning weight is on the part's joints.
    """
    if part == "whole":
        return np.arange(len(model.v_template)), model.faces
    inside = model.weights[:, list(_PART_JOINTS[part])].sum(1) > 0.5
    number = np.cumsum(inside) - 1
    return np.flatnonzero(inside), number[model.faces[inside[model.faces].all(1)]]
