"""Stand-ins for licensed models, made of the free body: other topology, rest pose, shape space and joints."""

import pickle
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
from scipy.sparse import csc_matrix, csr_matrix

from openexpose.body.mesh import posed_mesh
from openexpose.body.model import BodyModel, load_body_model
from openexpose.fitting.correspondence import Correspondence
from openexpose.fitting.models import JOINTS, SkinnedModel
from openexpose.fitting.transfer_skin import Parameters
from openexpose.geometry.rotation import rotvec_to_matrix
from openexpose.people import zero_pose


def coarse(vertices: np.ndarray, faces: np.ndarray, keep: np.ndarray, cell_m: float) -> tuple[np.ndarray, np.ndarray]:
    """Vertices that stand for their grid cell, and the triangles that remain between them."""
    cell = np.unique(np.floor(vertices / cell_m), axis=0, return_inverse=True)[1].ravel()
    first = np.full(cell.max() + 1, -1)
    first[cell[keep[::-1]]] = keep[::-1]
    chosen = np.unique(first[first >= 0])
    number = np.full(len(vertices), -1)
    number[chosen] = np.arange(len(chosen))
    inside = np.isin(faces, keep).all(1)
    made = number[first[cell[faces[inside]]]]
    sides = (made != np.roll(made, 1, 1)).all(1) & (made >= 0).all(1)
    return chosen, np.unique(made[sides], axis=0)


def standin(family: str, *, cell_m: float = 0.009, seed: int = 0) -> dict[str, np.ndarray]:
    """The arrays of a model file of a family."""
    body, rng = load_body_model(), np.random.default_rng(seed)
    ids = JOINTS[family]
    owner = owners(body, ids)
    turned = np.zeros((55, 3))
    if family == "smpl":  # another rest pose: arms and legs a little down and apart
        turned[[16, 17], 2], turned[[1, 2], 2] = (-0.12, 0.12), (0.05, -0.05)
    pose = zero_pose(1) @ rotvec_to_matrix(turned)[None].astype(np.float32)
    mean = 0.4 * rng.normal(size=(1, 10)).astype(np.float32)
    template = posed_mesh(body, pose, mean, np.zeros((1, 20))).vertices[0].astype(float)
    rotations = np.tile(np.eye(3), (55, 1, 1))
    for joint in range(55):
        parent = body.parents[joint]
        rotations[joint] = (rotations[parent] if joint else np.eye(3)) @ pose[0, joint]
    turns = np.einsum("vj,jab->vab", body.weights, rotations)
    mixing = np.linalg.qr(rng.normal(size=(10, 10)))[0]
    shapes = np.einsum("vab,vbc->vac", turns, body.shape_dirs) @ mixing
    expressions = np.einsum("vab,vbc->vac", turns, body.expression_dirs)
    visible = np.flatnonzero((owner >= 0)[body.weights.argmax(1)])
    rows, faces = coarse(body.v_template, body.faces, visible, cell_m)
    weights = np.zeros((len(rows), len(ids)))
    for joint, to in enumerate(owner):
        weights[:, max(to, 0)] += body.weights[rows, joint]
    joints = posed_mesh(body, pose, mean, np.zeros((1, 20))).joints[0, :55].astype(float)
    rest = joints[ids]
    if family == "smpl":
        rest[[22, 23]] = joints[[28, 43]]
    regressor = regress(template[rows], rest)
    dense = body.pose_dirs.dense(len(template)).reshape(54, 9, len(template), 3)
    posedirs = np.zeros((len(rows), 3, len(ids) - 1, 9))
    for k, number in enumerate(ids[1:]):
        if number and (k + 1 < 22 or family != "smpl"):
            posedirs[:, :, k] = dense[number - 1][:, rows].transpose(1, 2, 0)
    columns = {"smplx": 20, "flame": 400}.get(family, 10)
    shapedirs = np.zeros((len(rows), 3, columns))
    shapedirs[..., :10] = shapes[rows]
    if family in ("smplx", "flame"):
        start = 10 if family == "smplx" else 300
        shapedirs[..., start : start + 10] = expressions[rows][..., :10]
    tree = {int(number): k for k, number in reversed(list(enumerate(ids)))}
    parents = [0]
    for k, number in enumerate(ids[1:], 1):
        above = int(body.parents[number]) if not (family == "smpl" and k > 21) else int(number)
        while above not in tree and above > 0:
            above = int(body.parents[above])
        parents.append(tree.get(above, 0))
    return {
        "v_template": template[rows],
        "f": faces.astype(np.uint32),
        "shapedirs": shapedirs,
        "posedirs": posedirs.reshape(len(rows), 3, -1),
        "J_regressor": regressor,
        "weights": weights,
        "kintree_table": np.array([parents, np.arange(len(ids))]),
        "rows": rows,
    }


def owners(body: BodyModel, ids: np.ndarray) -> np.ndarray:
    """The family's joint that moves what each of the 55 joints moves; -1: not in the family's mesh."""
    owner = np.full(55, -1)
    for joint in range(55):
        if joint in ids:
            owner[joint] = np.flatnonzero(ids == joint)[0]
        elif joint:
            owner[joint] = owner[body.parents[joint]]
    if len(ids) == 24:
        owner[25:40], owner[40:55] = 22, 23
    return owner


def regress(vertices: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """A joint regressor of 40 vertices a joint (least squares, weights that sum to 1)."""
    matrix = np.zeros((len(joints), len(vertices)))
    for joint, place in enumerate(joints):
        near = np.argsort(((vertices - place) ** 2).sum(1))[:40]
        system = np.concatenate([vertices[near].T, 100.0 * np.ones((1, 40))])
        matrix[joint, near] = (
            1 / 40 + np.linalg.lstsq(system, np.r_[place, 100.0] - system @ np.full(40, 1 / 40), rcond=None)[0]
        )
    return matrix


def ordinary(model: SkinnedModel, frames: int, seed: int = 0) -> Parameters:
    """Random poses of the ordinary kind (standard deviation 15 degrees, the trunk's less), shapes, places."""
    rng = np.random.default_rng(seed)
    turns = rng.normal(0.0, 0.26, (frames, model.num_joints, 3))
    turns[:, np.isin(model.joints, [3, 6, 9, 12, 13, 14, 15, 22, 23, 24])] *= 0.4
    turns[:, np.isin(model.joints, [18, 19]), 0] *= 0.3
    turns[:, 0] = rng.normal(0.0, 1.0, (frames, 3))
    return Parameters(
        rotvec_to_matrix(turns),
        rng.normal(0.0, 1.0, (frames, model.num_betas)),
        rng.normal(0.0, 1.0, (frames, model.num_expression)),
        rng.normal(0.0, 1.0, (frames, 3)),
    )


def counterpart(rows: np.ndarray, count: int) -> Correspondence:
    """The true way from the free body to a stand-in."""
    at = np.arange(len(rows))
    return Correspondence(csr_matrix((np.ones(len(rows)), (at, rows)), (len(rows), count)), at)


def write_npz(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    """As SMPL-H's and newer files are."""
    np.savez(path, **{key: value for key, value in arrays.items() if key != "rows"})
    return path


def write_pkl(path: Path, arrays: dict[str, np.ndarray], protocol: int = 2) -> Path:
    """As the released SMPL, MANO and FLAME files are: a sparse regressor, and shapes in objects of chumpy."""
    names = ("chumpy", "chumpy.ch", "chumpy.reordering")
    fakes = {name: ModuleType(name) for name in names}
    ch = type("Ch", (), {"__module__": "chumpy.ch"})
    select = type("Select", (), {"__module__": "chumpy.reordering"})
    fakes["chumpy.ch"].Ch, fakes["chumpy.reordering"].Select = ch, select
    base, chosen = ch(), select()
    shapes = arrays["shapedirs"]
    wide = np.concatenate([shapes, np.ones_like(shapes)], -1)
    base.__dict__.update(x=wide, _dirty_vars=set())
    places = np.arange(wide.size).reshape(wide.shape)[..., : shapes.shape[-1]]
    chosen.__dict__.update(a=base, idxs=places.ravel(), preferred_shape=shapes.shape)
    content = {key: value for key, value in arrays.items() if key != "rows"}
    content |= {"shapedirs": chosen, "J_regressor": csc_matrix(arrays["J_regressor"]), "bs_type": "lrotmin"}
    content["v_template"] = ch()
    content["v_template"].__dict__.update(x=arrays["v_template"])
    sys.modules.update(fakes)
    try:
        path.write_bytes(pickle.dumps(content, protocol))
    finally:
        for name in names:
            del sys.modules[name]
    return path
