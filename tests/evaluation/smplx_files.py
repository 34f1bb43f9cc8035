"""Files of SMPL-X's format and size with no relation to any real body, and meshes that fit them."""

import pickle
from pathlib import Path

import numpy as np
import scipy.sparse
from tests.body.toy import save_arrays, toy_arrays

VERTICES = 10475
SETS = {
    "left hand": np.arange(1777, 999, -1),
    "right hand": np.arange(2000, 2778),
    "face": np.arange(4000, 9023),
    "body": np.r_[0:1000, 3000:4000],
}
"""Vertices of the field's sets, in the fake files."""
LABELS = {20: (100, 110), 30: (110, 200), 21: (300, 310), 45: (310, 400), 15: (500, 600), 22: (600, 700)}
"""Joint to the vertices that are its skin in the fake model; all others belong to the pelvis."""


def write_tables(folder: Path, *, sparse: bool = True) -> np.ndarray:
    """The field's tables, somewhere inside the folder; returns the regressor [14, 10475]."""
    rng = np.random.default_rng(5)
    j14 = np.zeros((14, VERTICES))
    for row in j14:
        row[rng.choice(VERTICES, 20, replace=False)] = rng.dirichlet(np.ones(20))
    ids = {name.replace(" ", "_"): SETS[name] for name in ("left hand", "right hand")}
    inside = folder / "utils" / "more"
    inside.mkdir(parents=True)
    (folder / "SMPLX_to_J14.pkl").write_bytes(pickle.dumps(scipy.sparse.csr_matrix(j14) if sparse else j14, 2))
    (inside / "MANO_SMPLX_vertex_ids.pkl").write_bytes(pickle.dumps(ids, 2))
    np.save(inside / "SMPL-X__FLAME_vertex_ids.npy", SETS["face"])
    np.save(inside / "body_verts.npy", SETS["body"])
    return j14


def write_model(path: Path) -> np.ndarray:
    """An SMPL-X model file; returns its joint regressor [55, 10475]."""
    arrays = toy_arrays(columns=20)
    count = len(arrays["v_template"])
    for key in ("v_template", "shapedirs", "posedirs", "weights"):
        arrays[key] = np.concatenate([arrays[key], np.zeros_like(arrays[key][: VERTICES - count])])
    regressor = np.zeros((55, VERTICES))
    regressor[np.arange(55), np.random.default_rng(6).choice(VERTICES, 55, replace=False)] = 1.0
    weights = np.zeros((VERTICES, 55), np.float32)
    weights[:, 0] = 1.0
    for joint, (start, stop) in LABELS.items():
        weights[start:stop] = np.eye(55)[joint]
    save_arrays(path, arrays | {"J_regressor": regressor, "weights": weights})
    return regressor


def cloud(seed: int = 0, count: int = VERTICES) -> np.ndarray:
    """Vertices [count, 3] of about a person's size, three metres away."""
    rng = np.random.default_rng(seed)
    return rng.uniform(-0.9, 0.9, (count, 3)) * [0.4, 1.0, 0.2] + [0.1, 0.2, 3.0]


def strip(count: int = VERTICES) -> np.ndarray:
    """Triangles [count - 2, 3] that use every vertex."""
    return np.arange(count - 2)[:, None] + np.arange(3)
