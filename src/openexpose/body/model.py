"""The body model file (SMPL-X npz format), read into one immutable record."""

from dataclasses import dataclass, replace
from functools import cached_property
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from openexpose.body.model_file import ModelFile, open_npz
from openexpose.errors import InputError

Array = np.ndarray

NUM_JOINTS = 55
EXTRA_VERTICES = np.array(
    [
        *(9120, 9929, 9448, 616, 6),  # nose, right eye, left eye, right ear, left ear
        *(5770, 5780, 8846, 8463, 8474, 8635),  # big toe, small toe, heel: left, right
        *(5361, 4933, 5058, 5169, 5286),  # left finger tips: thumb, index, middle, ring, pinky
        *(8079, 7669, 7794, 7905, 8022),  # right finger tips
    ]
)
"""Vertices of the 21 keypoints that follow the 55 joints; the same numbers in every SMPL-X file and in freebody."""


@dataclass(frozen=True, eq=False)
class PoseBlendShapes:
    """Pose blend shapes, stored joint by joint for the vertices that the joint corrects.

    The offset of vertex v is the sum over its joints j of ``directions`` applied to the nine entries (row-major) of
    R_j - I, with R_j the local rotation of joint j (SMPL, section 3, B_P).

    Attributes:
        starts: [55]; the entries of joint j (1..54) are ``starts[j - 1]:starts[j]``.
        vertices: [Q] vertex of each entry, ascending and unique within a joint.
        directions: [9, Q, 3] metres per unit of R_j - I.
    """

    starts: Int[Array, "55"]
    vertices: Int[Array, "q"]
    directions: Float[Array, "9 q 3"]

    @classmethod
    def from_dense(cls, posedirs: Float[Array, "v 3 486"]) -> "PoseBlendShapes":
        """Keep the (joint, vertex) pairs that have a non-zero entry; all pairs if that is more than half of them."""
        count = posedirs.shape[0]
        bits = np.ascontiguousarray(posedirs).view(f"u{posedirs.dtype.itemsize}").reshape(-1)
        position = np.flatnonzero(bits << 1)  # without the sign: faster than comparing floats
        used = np.zeros((NUM_JOINTS - 1, count), bool)
        used[position % 486 // 9, position // 1458] = True
        used |= used.mean() > 0.5
        joints, vertices = np.nonzero(used)
        blocks = posedirs.reshape(count, 3, NUM_JOINTS - 1, 9)[vertices, :, joints]
        starts = np.searchsorted(joints, np.arange(NUM_JOINTS))
        directions = np.ascontiguousarray(blocks.transpose(2, 0, 1), np.float32)
        return cls(starts, vertices, directions)

    def subset(self, rows: Int[Array, "r"], count: int) -> "PoseBlendShapes":
        """The same blend shapes for the vertices ``rows`` (ascending) out of ``count``, renumbered 0..r-1."""
        number = np.full(count, -1)
        number[rows] = np.arange(len(rows))
        keep = np.flatnonzero(number[self.vertices] >= 0)
        return PoseBlendShapes(
            np.searchsorted(keep, self.starts), number[self.vertices[keep]], self.directions[:, keep]
        )

    def dense(self, count: int) -> Float[Array, "486 v3"]:
        """As one matrix: (R - I flattened) @ matrix = offsets of ``count`` vertices, flattened."""
        matrix = np.zeros((NUM_JOINTS - 1, 9, count, 3), self.directions.dtype)
        joints = np.repeat(np.arange(NUM_JOINTS - 1), np.diff(self.starts))
        matrix[joints, :, self.vertices] = self.directions.transpose(1, 0, 2)
        return matrix.reshape((NUM_JOINTS - 1) * 9, count * 3)


@dataclass(frozen=True, eq=False)
class BodyModel:
    """A body of the SMPL-X family: metres, y up, x to the subject's left, z forward.

    Attributes:
        name: ``freebody`` or the stem of the file.
        v_template: rest vertices [v, 3].
        faces: triangles [f, 3].
        shape_dirs, expression_dirs: [v, 3, b], [v, 3, e] metres per unit of a coefficient.
        pose_dirs: pose blend shapes.
        joint_template, joint_shape_dirs, joint_expression_dirs: rest joints [55, 3] and their directions
            [55, 3, b], [55, 3, e]: the vertex quantities multiplied by the joint regressor.
        weights: skinning weights [v, 55], rows sum to 1.
        parents: [55], the pelvis has -1; a parent comes before its children.
        extra_vertices: [21] vertices that are keypoints 55..75.
        landmark_vertices, landmark_barycentric: [51, 3] triangles and coordinates of keypoints 76..126.
        contour_vertices, contour_barycentric: [79, 17, 3] the same for keypoints 127..143, one row a degree of yaw.
        hand_mean, hand_components: [2, 45] and [2, 45, 45] (left, right): axis-angle of the relaxed hand (radians) and
            its principal components, one a row.
        uv, uv_faces: texture coordinates [t, 2] and their triangles [f, 3], or None.
    """

    name: str
    v_template: Float[Array, "v 3"]
    faces: Int[Array, "f 3"]
    shape_dirs: Float[Array, "v 3 b"]
    expression_dirs: Float[Array, "v 3 e"]
    pose_dirs: PoseBlendShapes
    joint_template: Float[Array, "55 3"]
    joint_shape_dirs: Float[Array, "55 3 b"]
    joint_expression_dirs: Float[Array, "55 3 e"]
    weights: Float[Array, "v 55"]
    parents: Int[Array, "55"]
    extra_vertices: Int[Array, "21"]
    landmark_vertices: Int[Array, "51 3"]
    landmark_barycentric: Float[Array, "51 3"]
    contour_vertices: Int[Array, "79 17 3"]
    contour_barycentric: Float[Array, "79 17 3"]
    hand_mean: Float[Array, "2 45"]
    hand_components: Float[Array, "2 45 45"]
    uv: Float[Array, "t 2"] | None = None
    uv_faces: Int[Array, "f 3"] | None = None

    @property
    def num_betas(self) -> int:
        """Number of shape coefficients."""
        return self.shape_dirs.shape[-1]

    @property
    def num_expression(self) -> int:
        """Number of expression coefficients."""
        return self.expression_dirs.shape[-1]

    @cached_property
    def levels(self) -> tuple[tuple[Array, Array], ...]:
        """The joint tree by depth: (children, their parents) of each level below the pelvis."""
        depth = np.zeros(NUM_JOINTS, int)
        for joint in range(1, NUM_JOINTS):
            depth[joint] = depth[self.parents[joint]] + 1
        children = [np.flatnonzero(depth == level) for level in range(1, depth.max() + 1)]
        return tuple((child, self.parents[child]) for child in children)

    @cached_property
    def keypoint_vertices(self) -> Int[Array, "r"]:
        """The vertices on which some keypoint lies, ascending."""
        return np.unique(
            np.concatenate([self.extra_vertices, self.landmark_vertices.ravel(), self.contour_vertices.ravel()])
        )

    @cached_property
    def keypoint_model(self) -> "BodyModel":
        """This model reduced to :attr:`keypoint_vertices`: the same keypoints at a fraction of the work, no faces."""
        rows = self.keypoint_vertices
        return replace(
            self,
            v_template=self.v_template[rows],
            faces=self.faces[:0],
            shape_dirs=self.shape_dirs[rows],
            expression_dirs=self.expression_dirs[rows],
            pose_dirs=self.pose_dirs.subset(rows, len(self.v_template)),
            weights=self.weights[rows],
            extra_vertices=np.searchsorted(rows, self.extra_vertices),
            landmark_vertices=np.searchsorted(rows, self.landmark_vertices),
            contour_vertices=np.searchsorted(rows, self.contour_vertices),
            uv=None,
            uv_faces=None,
        )


def load_body_model(path: Path | str | None = None, *, num_betas: int = 10, num_expression: int = 20) -> BodyModel:
    """Read a body model.

    Args:
        path: an SMPL-X ``.npz`` file (the official ones work unchanged), or None for the packaged free body.
        num_betas, num_expression: how many coefficients to keep.

    Raises:
        InputError: the file does not exist, is no npz, lacks a key, holds one of a wrong shape or type, or has fewer
            coefficients than asked for.
    """
    if path is None:
        with as_file(files("openexpose.body") / "data" / "SMPLX_FREEBODY.npz") as packaged:
            return load_body_model(packaged, num_betas=num_betas, num_expression=num_expression)
    path = Path(path)
    with open_npz(path) as arrays:
        return _build(ModelFile(path, arrays), num_betas, num_expression)


def _build(file: ModelFile, num_betas: int, num_expression: int) -> BodyModel:
    v_template = file.read("v_template", (None, 3)).astype(np.float32)
    count = len(v_template)
    if count <= EXTRA_VERTICES.max():
        got = f"{file.path} with {count} vertices in 'v_template'"
        raise InputError(got, f"more than {EXTRA_VERTICES.max()} vertices: some keypoints are vertices by number")
    parents = file.parents(NUM_JOINTS)
    faces = file.indices("f", (None, 3), count)
    shape_dirs, expression_dirs = file.directions(NUM_JOINTS, count, num_betas, num_expression)
    joints = file.joints(NUM_JOINTS, v_template, shape_dirs, expression_dirs)
    has_uv = {"vt", "ft"} <= file.arrays.keys()
    uv = file.read("vt", (None, 2)).astype(np.float32) if has_uv else None
    stem = file.path.stem
    return BodyModel(
        name="freebody" if stem == "SMPLX_FREEBODY" else stem,
        v_template=v_template,
        faces=faces.astype(np.int32),
        shape_dirs=shape_dirs,
        expression_dirs=expression_dirs,
        joint_template=joints[0],
        joint_shape_dirs=joints[1],
        joint_expression_dirs=joints[2],
        weights=file.read("weights", (count, NUM_JOINTS)).astype(np.float32),
        parents=parents,
        extra_vertices=EXTRA_VERTICES,
        landmark_vertices=faces[file.indices("lmk_faces_idx", (51,), len(faces))],
        landmark_barycentric=file.read("lmk_bary_coords", (51, 3)).astype(np.float32),
        contour_vertices=faces[file.indices("dynamic_lmk_faces_idx", (79, 17), len(faces))],
        contour_barycentric=file.read("dynamic_lmk_bary_coords", (79, 17, 3)).astype(np.float32),
        hand_mean=np.stack([file.read(f"hands_mean{side}", (45,)) for side in "lr"]).astype(np.float32),
        hand_components=np.stack([file.read(f"hands_components{s}", (45, 45)) for s in "lr"]).astype(np.float32),
        uv=uv,
        uv_faces=file.indices("ft", (len(faces), 3), len(uv)).astype(np.int32) if uv is not None else None,
        pose_dirs=PoseBlendShapes.from_dense(file.read("posedirs", (count, 3, 9 * (NUM_JOINTS - 1)))),
    )
