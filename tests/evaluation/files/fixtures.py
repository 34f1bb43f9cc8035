"""Files as other systems write them, for the tests of ``--pred``."""

import json
import pickle
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import trimesh

from openexpose.body.mesh import PosedMesh, posed_mesh
from openexpose.body.model import BodyModel, load_body_model
from openexpose.evaluation.files.folder import FolderSystem
from openexpose.evaluation.record import Prediction, Subject
from openexpose.evaluation.tables import Tables
from openexpose.geometry.rotation import matrix_to_rotvec, rotvec_to_matrix
from openexpose.people import People

COUNT = 10475
TABLES = Tables()
FLIP = np.array([1.0, -1.0, -1.0])
BOXES = np.float32([[10, 20, 110, 320], [200, 30, 300, 310]])


@cache
def smplx() -> BodyModel:
    """A stand-in for the user's SMPL-X: the free body's first 10475 vertices."""
    model = freebody()
    rows = np.arange(COUNT)
    return replace(
        model,
        name="SMPLX_NEUTRAL",
        v_template=model.v_template[rows],
        faces=model.faces[(model.faces < COUNT).all(1)],
        shape_dirs=model.shape_dirs[rows],
        expression_dirs=model.expression_dirs[rows],
        pose_dirs=model.pose_dirs.subset(rows, len(model.v_template)),
        weights=model.weights[rows],
        landmark_vertices=model.landmark_vertices % COUNT,
        contour_vertices=model.contour_vertices % COUNT,
        uv=None,
        uv_faces=None,
    )


@cache
def smplx_tables() -> Tables:
    regressor = np.random.default_rng(4).dirichlet(np.full(COUNT, 0.01), 55)
    return Tables(model=smplx(), regressor=regressor)


@cache
def people() -> People:
    rng = np.random.default_rng(0)
    pose = rotvec_to_matrix(rng.normal(0, 0.2, (2, 55, 3))).astype(np.float32)
    pose[:, 0] = np.diag(np.float32([1, -1, -1])) @ pose[:, 0]
    return People(
        pose=pose,
        betas=rng.normal(size=(2, 10)).astype(np.float32),
        expression=rng.normal(size=(2, 20)).astype(np.float32),
        transl=np.float32([[0.1, 0.2, 4], [-0.5, 0.1, 3]]),
        score=np.float32([0.9, 0.2]),
        bbox_xyxy=BOXES,
        part_confidence=np.ones((2, 4), np.float32),
        joint_confidence=np.ones((2, 144), np.float32),
        crop_centre_px=np.ones((2, 2), np.float32),
        crop_side_px=np.ones(2, np.float32),
        crop_camera=np.ones((2, 3), np.float32),
        focal_px=700.0,
        principal_px=np.array([320.0, 240.0]),
        image_size=(640, 480),
    )


@cache
def freebody() -> BodyModel:
    return load_body_model()


@cache
def posed(model: BodyModel) -> PosedMesh:
    return posed_mesh(model, people().pose, people().betas, people().expression)


def in_camera(points: np.ndarray) -> np.ndarray:
    return points + people().transl[:, None]


def subject(name: str = "set/a", image: str | None = "pictures/a.jpg", **known: object) -> Subject:
    return Subject(name=name, group="set", image=Path(image) if image else None, **known)  # type: ignore[arg-type]


def answer(folder: Path, tables: Tables = TABLES, asked: Subject | None = None, **options: str) -> Prediction:
    prediction = FolderSystem(folder, tables=tables, **options)(asked or subject())  # type: ignore[arg-type]
    assert prediction is not None
    return prediction


def mesh_file(path: Path, vertices: np.ndarray, faces: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    trimesh.Trimesh(vertices, faces, process=False).export(path)
    return path


def expose_file(path: Path, **changes: object) -> tuple[np.ndarray, np.ndarray]:
    """What ExPose's demo writes, with the objects None in it; and its vertices and joints."""
    path.parent.mkdir(parents=True, exist_ok=True)
    vertices, joints = posed(smplx()).vertices[0], posed(smplx()).joints[0]
    content = {
        "vertices": vertices,
        "joints": joints,
        "proj_joints": 0.9 * (joints[:, :2] + [0.1, 0.2]),
        "faces": smplx().faces.astype(np.int64),
        "body_pose": people().pose[0, 1:22],
        "transl": np.array([0.1, 0.2, 2 * 5000 / (0.9 * 400)]),
        "center": np.array([310.0, 250.0]),
        "focal_length_in_px": np.array(5000.0),
        "full_pose": None,
        "v_shaped": None,
        **changes,
    }
    np.savez(path, **content)  # type: ignore[arg-type]
    return vertices, joints


def fitted(**changes: object) -> dict[str, object]:
    """SMPLify-X's result for the first person, fingers as 45 numbers from the mean hand."""
    aa = {name: matrix_to_rotvec(np.asarray(m[0], float)).reshape(1, -1) for name, m in people().pose_parts()}
    for side, name in enumerate(("left_hand_pose", "right_hand_pose")):
        aa[name] = aa[name] - smplx().hand_mean[side]
    camera = {"camera_rotation": np.eye(3)[None], "camera_translation": people().transl[:1]}
    return {**aa, **camera, "betas": people().betas[:1], "expression": people().expression[:1], **changes}


def fitted_file(folder: Path, **changes: object) -> None:
    path = folder / "results" / "a" / "000.pkl"
    path.parent.mkdir(parents=True)
    path.write_bytes(pickle.dumps(fitted(**changes), protocol=2))


NAMES = ["Right ankle", "r_hip", "LAnkle", "left_shoulder", "nose", "head_top", "left_thumb_tip"]
CANONICAL = ("right_ankle", "right_hip", "left_ankle", "left_shoulder", "nose", "head_top", "left_thumb")
JOINTS = np.random.default_rng(3).normal(0, 0.4, (len(NAMES), 3)) + [0, 0, 3]


def joints_file(path: Path, joints: np.ndarray, names: list[str] = NAMES, **more: object) -> None:
    """Named joints in one of the three ways."""
    style = path.name.partition(".")[0]
    target = path.with_name("a" + path.suffix)
    if path.suffix == ".npz":
        np.savez(target, joints=joints, joint_names=names, **more)  # type: ignore[arg-type]
    elif style == "list":
        target.write_text(json.dumps({"joint_names": names, "joints": joints.tolist(), **more}))
    else:
        target.write_text(json.dumps({"joints": dict(zip(names, joints.tolist(), strict=True)), **more}))


STYLES = ["arrays.npz", "list.json", "mapping.json"]
