"""Tiny body models for tests: random numbers in the layout of SMPL-X, no relation to any real body."""

from pathlib import Path

import numpy as np

from openexpose.body.keypoints import PARENTS
from openexpose.body.model import EXTRA_VERTICES, BodyModel, PoseBlendShapes
from openexpose.geometry.rotation import rotvec_to_matrix


def toy_model(
    num_vertices: int = 40, num_betas: int = 3, num_expression: int = 2, pose_density: float = 0.1
) -> BodyModel:
    """A random model whose every array matters: blend shapes of all kinds, four joints a vertex, all keypoints."""
    rng = np.random.default_rng(7)
    normal, count = rng.normal, num_vertices
    weights = np.zeros((count, 55))
    for row in weights:
        row[rng.choice(55, 4, replace=False)] = rng.dirichlet(np.ones(4))
    posedirs = normal(size=(count, 3, 54, 9)) * 0.05 * (rng.random((count, 1, 54, 1)) < pose_density)
    return BodyModel(
        name="toy",
        v_template=normal(size=(count, 3)).astype(np.float32),
        faces=rng.integers(0, count, (60, 3)).astype(np.int32),
        shape_dirs=(0.1 * normal(size=(count, 3, num_betas))).astype(np.float32),
        expression_dirs=(0.1 * normal(size=(count, 3, num_expression))).astype(np.float32),
        pose_dirs=PoseBlendShapes.from_dense(posedirs.reshape(count, 3, 486).astype(np.float32)),
        joint_template=(0.3 * normal(size=(55, 3))).astype(np.float32),
        joint_shape_dirs=(0.1 * normal(size=(55, 3, num_betas))).astype(np.float32),
        joint_expression_dirs=(0.1 * normal(size=(55, 3, num_expression))).astype(np.float32),
        weights=weights.astype(np.float32),
        parents=PARENTS,
        extra_vertices=rng.integers(0, count, 21),
        landmark_vertices=rng.integers(0, count, (51, 3)),
        landmark_barycentric=rng.dirichlet(np.ones(3), 51).astype(np.float32),
        contour_vertices=rng.integers(0, count, (79, 17, 3)),
        contour_barycentric=rng.dirichlet(np.ones(3), (79, 17)).astype(np.float32),
        hand_mean=np.zeros((2, 45), np.float32),
        hand_components=np.stack([np.eye(45, dtype=np.float32)] * 2),
    )


def toy_arrays(columns: int = 400) -> dict[str, np.ndarray]:
    """The arrays of a readable model file: the smallest that holds all numbered vertices, mostly zeros."""
    rng = np.random.default_rng(8)
    count = int(EXTRA_VERTICES.max()) + 1
    regressor = np.zeros((55, count))
    regressor[np.arange(55), rng.choice(count, 55, replace=False)] = 1.0
    weights = np.zeros((count, 55), np.float32)
    weights[:, 0] = 1.0
    shapedirs = np.zeros((count, 3, columns), np.float16)
    shapedirs[:] = np.arange(columns)  # a column's value is its number
    posedirs = np.zeros((count, 3, 486), np.float16)
    posedirs[5, 1, 9 * 2 + 4] = 0.25  # vertex 5, y, third posed joint, centre of its R - I
    return {
        "v_template": rng.normal(size=(count, 3)),
        "f": rng.integers(0, count, (30, 3)).astype(np.uint32),
        "shapedirs": shapedirs,
        "posedirs": posedirs,
        "J_regressor": regressor,
        "weights": weights,
        "kintree_table": np.stack([PARENTS, np.arange(55)]).astype(np.uint32),
        "lmk_faces_idx": rng.integers(0, 30, 51),
        "lmk_bary_coords": rng.dirichlet(np.ones(3), 51),
        "dynamic_lmk_faces_idx": rng.integers(0, 30, (79, 17)),
        "dynamic_lmk_bary_coords": rng.dirichlet(np.ones(3), (79, 17)),
        "hands_meanl": np.zeros(45),
        "hands_meanr": np.ones(45),
        "hands_componentsl": np.eye(45),
        "hands_componentsr": np.eye(45),
    }


def save_arrays(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    """Write a model file."""
    np.savez(path, **arrays)
    return path


def random_pose(rng: np.random.Generator, people: int, angle: float = 0.4) -> np.ndarray:
    """Rotations [people, 55, 3, 3], about ``angle`` radians about each axis."""
    return rotvec_to_matrix(angle * rng.normal(size=(people, 55, 3))).astype(np.float32)
