"""The head of a baked body, cut out for placing landmarks (authoring only)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from .rotations import axis_rotation
from .skeleton import joint


@dataclass(frozen=True)
class Head:
    """The head of a baked body: all vertices, but only the triangles of the head."""

    vertices: Float[np.ndarray, "V 3"]
    faces: Int[np.ndarray, "H 3"]
    face_index: Int[np.ndarray, "H"]
    """Row of every head triangle in the whole mesh."""
    outer: Bool[np.ndarray, "H"]
    """Triangles of the skin, without eyeballs and mouth cavity."""
    jaw_weight: Float[np.ndarray, "V"]
    jaw_joint: Float[np.ndarray, "3"]
    centre: Float[np.ndarray, "3"]
    shape: Float[np.ndarray, "V 3 10"]
    colours: UInt8[np.ndarray, "V 3"]

    def posed(self, betas: Float[np.ndarray, "10"], jaw_rad: float) -> Float[np.ndarray, "V 3"]:
        """Vertices of another person with the jaw opened."""
        vertices = self.vertices + self.shape @ betas
        open_jaw = (vertices - self.jaw_joint) @ axis_rotation(np.array([1.0, 0, 0]), jaw_rad).T + self.jaw_joint
        return vertices + self.jaw_weight[:, None] * (open_jaw - vertices)


def read_head(body: Path) -> Head:
    """Head of a baked body file and the parts file beside it."""
    with np.load(body) as file, np.load(body.with_name("freebody_parts.npz")) as parts:
        vertices, faces = file["v_template"].astype(np.float64), file["f"].astype(int)
        inside = np.zeros(len(vertices), bool)
        inside[np.concatenate([parts["eyes"], parts["inner_mouth"]])] = True
        near_head = np.flatnonzero(
            file["weights"][:, joint("neck")] + np.isin(np.arange(len(vertices)), parts["head"]) > 0.2
        )
        chosen = np.flatnonzero(np.isin(faces, near_head).all(1))
        joints = file["J_regressor"].astype(np.float64) @ vertices
        return Head(
            vertices=vertices,
            faces=faces[chosen],
            face_index=chosen,
            outer=~inside[faces[chosen]].any(1),
            jaw_weight=file["weights"][:, joint("jaw")].astype(np.float64),
            jaw_joint=joints[joint("jaw")],
            centre=joints[joint("head")] + np.array([0, 0.03, 0.04]),
            shape=file["shapedirs"][:, :, :10].astype(np.float64),
            colours=parts["vertex_colors"],
        )
