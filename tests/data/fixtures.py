"""Data sets with body-model labels, written in their own formats from synthetic people.

Every ``write_*`` returns the people in the order of the file. All of them at once, to look at or to train on:
``python -c "from tests.data.fixtures import write_all; write_all('folder')"``.
"""

import json
import pickle
from pathlib import Path

import numpy as np
from tests.data.fixtures_planar import BODY_25, FACE, LEFT_HAND, RIGHT_HAND, openpose_person, write_json
from tests.data.fixtures_planar import LSP as LSP_NAMES
from tests.data.people import Person, people, save_picture

from openexpose.body.keypoints import INDEX, PARENTS
from openexpose.geometry.camera import project_perspective
from openexpose.geometry.rotation import matrix_to_rotvec, rotvec_to_matrix

SPIN = [*LSP_NAMES, "pelvis", None, None, None, None, "nose", "left_eye", "right_eye", "left_ear", "right_ear"]
THREEDPW = (
    "nose neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist right_hip right_knee "
    "right_ankle left_hip left_knee left_ankle right_eye left_eye right_ear left_ear"
).split()
H36M: list[str | None] = [
    *"pelvis left_hip left_knee left_ankle right_hip right_knee right_ankle".split(),
    *(None, "neck", None, "head"),
    *"left_shoulder left_elbow left_wrist right_shoulder right_elbow right_wrist".split(),
]
FFHQ: list[str | None] = [None, "neck", "jaw", "left_eye", "right_eye", *FACE[17:], *FACE[:17]]
HAND_MEAN = np.linspace(-0.4, 0.5, 45)
"""Stands for the mean hand of the licensed model."""


def listed(person: Person, names: list[str] | list[str | None], confidence: float = 0.9) -> np.ndarray:
    """[k, 3]: the named keypoints in pixels; those without counterpart lie at the corner with confidence."""
    rows = [[*person.points_px[INDEX[name]], confidence] if name else [1.0, 1.0, confidence] for name in names]
    return np.array(rows)


def listed_m(person: Person, names: list[str] | list[str | None]) -> np.ndarray:
    """[k, 3]: the named keypoints in metres, from the pelvis; 9 where there is no counterpart."""
    rows = [person.points_m[INDEX[name]] - person.points_m[0] if name else [9.0, 9.0, 9.0] for name in names]
    return np.array(rows)


def absolute(person: Person, joint: int) -> np.ndarray:
    """Rotation [3, 3] of a joint in the camera's axes."""
    rotation = person.pose[joint]
    while (joint := int(PARENTS[joint])) >= 0:
        rotation = person.pose[joint] @ rotation
    return rotation


def centre_scale(person: Person) -> tuple[np.ndarray, float]:
    """Centre and scale as SPIN has them: 200 * scale is 1.2 times the longer side of the box."""
    low, high = person.points_px.min(0), person.points_px.max(0)
    return (low + high) / 2.0, 1.2 * float((high - low).max()) / 200.0


def write_curated_fits(folder: Path, *, split: str = "train", eyes: bool = True, count: int = 4) -> list[Person]:
    """``{split}.npz``; file names as bytes, pictures in the folder itself."""
    crowd = people(count, seed=11)
    order = np.r_[0:23, 23:25, 25:40, 40:55] if eyes else np.r_[0:23, 25:55]
    keypoints = [
        np.concatenate(
            [listed(p, BODY_25), listed(p, LEFT_HAND), listed(p, RIGHT_HAND), listed(p, [*FACE, None, None])]
        )
        for p in crowd
    ]
    names = [f"{split}_{k}.png" for k in range(count)]
    _pictures(folder, names, crowd)
    np.savez(
        folder / f"{split}.npz",
        img_fns=np.array([name.encode() for name in names]),
        betas=np.array([p.betas for p in crowd]),
        expression=np.array([p.expression[:10] for p in crowd]),
        keypoints2D=np.array(keypoints),
        pose=np.array([p.rotvecs[order] for p in crowd]),
    )
    return crowd


def write_spin(folder: Path, *, name: str = "mpii", count: int = 3, whole: bool = False) -> list[Person]:
    """``{name}.npz`` and ``{name}/images``; every second row has no fit. ``whole``: with hands and face."""
    crowd = people(2 * count, seed=12)
    frames = [centre_scale(p) for p in crowd]
    names = [f"images/{k:05d}.jpg" for k in range(len(crowd))]
    _pictures(folder / name, names, crowd)
    arrays = {
        "has_smpl": np.arange(len(crowd)) % 2 == 0,
        "imgname": np.array(names),
        "center": np.array([centre for centre, _ in frames]),
        "scale": np.array([scale for _, scale in frames]),
        "part": np.array([listed(p, SPIN) for p in crowd]),
        "pose": np.array([p.rotvecs.ravel() for p in crowd]),
        "betas": np.array([p.betas for p in crowd]),
    }
    if whole:
        lists = {"body": BODY_25, "left_hand": LEFT_HAND, "right_hand": RIGHT_HAND, "face": FACE}
        arrays |= {f"{part}_keypoints": np.array([listed(p, chosen) for p in crowd]) for part, chosen in lists.items()}
        arrays["expression"] = np.array([p.expression[:10] for p in crowd])
    np.savez(folder / f"{name}.npz", **arrays)
    return crowd[::2]


def write_h36m(folder: Path, *, count: int = 2) -> list[Person]:
    """``h36m_train.npz``, paths with the folders of a sequence."""
    crowd = people(count, seed=13)
    frames = [centre_scale(p) for p in crowd]
    names = [f"S1/S1_Walk.5413/{k:06d}.png" for k in range(count)]
    _pictures(folder / "images", names, crowd)
    np.savez(
        folder / "h36m_train.npz",
        imgname=np.array(names),
        center=np.array([centre for centre, _ in frames]),
        scale=np.array([scale for _, scale in frames]),
        global_pose=np.array([p.rotvecs[0] for p in crowd]),
        body_pose=np.array([p.rotvecs[1:22].ravel() for p in crowd]),
        betas=np.array([p.betas for p in crowd]),
        part=np.array([listed(p, H36M) for p in crowd]),
        S=np.array([np.c_[listed_m(p, H36M), np.ones(17)] for p in crowd]),
    )
    return crowd


def write_freihand(folder: Path, *, count: int = 5, backgrounds: int = 2, npz: bool = False) -> list[Person]:
    """``training``: right hands, fingers as differences from ``HAND_MEAN``; as JSON or npz."""
    crowd = people(count, seed=14, size=64, around=INDEX["right_middle1"], reach_m=0.15)
    for k in range(backgrounds * count):
        save_picture(folder / "training" / "rgb" / f"{k:08d}.jpg", crowd[k % count].pixels)
    params = np.zeros((count, 61))
    for row, person in zip(params, crowd, strict=True):
        row[:3] = matrix_to_rotvec(absolute(person, INDEX["right_wrist"]))
        row[3:48] = person.rotvecs[40:55].ravel() - HAND_MEAN
        row[48:58] = person.betas
    xyz = np.array([p.points_m[[INDEX[name] for name in RIGHT_HAND]] for p in crowd])
    intrinsics = np.array([p.intrinsics for p in crowd])
    if npz:
        np.savez(folder / "training.npz", intrinsics=intrinsics, param=params, xyz=xyz)
    else:
        contents = {"K": intrinsics, "mano": params[:, None], "xyz": xyz}
        for name, content in contents.items():
            write_json(folder / f"training_{name}.json", content.tolist())
    return crowd


def write_ffhq(folder: Path, *, count: int = 20) -> list[Person]:
    """``ffhq_parameters_with_keyps.npz``: its names end in .png, the pictures are JPEG."""
    crowd = people(count, seed=15, size=64, around=INDEX["nose"], reach_m=0.2)
    _pictures(folder / "images", [f"{k:05d}.jpg" for k in range(count)], crowd)
    np.savez(
        folder / "ffhq_parameters_with_keyps.npz",
        global_pose=np.array([matrix_to_rotvec(absolute(p, INDEX["head"])) for p in crowd]),
        jaw_pose=np.array([p.rotvecs[INDEX["jaw"]] for p in crowd]),
        betas=np.zeros((count, 100)) + np.arange(count)[:, None],
        expression=np.zeros((count, 50)) - np.arange(count)[:, None],
        keypoints2D=np.array([listed(p, FFHQ)[:, :2] for p in crowd]),
        img_fnames=np.array([f"{k:05d}.png" for k in range(count)]),
    )
    return crowd


def write_stirling(folder: Path) -> list[Person]:
    """``Subset_2D_FG2018/{HQ,LQ}``: two large and one small picture."""
    crowd = people(3, seed=16, size=64, around=INDEX["nose"], reach_m=0.2)
    for person, name in zip(crowd, ("HQ/F1001_1.jpg", "HQ/M1002_1.jpg", "LQ/F1001_a.jpg"), strict=True):
        pixels = person.pixels[:, ::2] if name.startswith("LQ") else person.pixels
        save_picture(folder / "Subset_2D_FG2018" / name, pixels)
    return crowd


def write_ehf(folder: Path, *, count: int = 3) -> list[Person]:
    """The layout with ``images``, ``keypoints`` and ``alignments``. The last picture has no keypoints.

    The meshes are moved to the world frame, in which EHF's camera sees them where the fixtures' camera does not: the
    box of the last picture belongs to EHF's camera.
    """
    crowd = people(count, seed=17)
    rotation, translation = rotvec_to_matrix(EHF_ROTVEC), EHF_TRANSLATION
    (folder / "alignments").mkdir(parents=True)
    for k, person in enumerate(crowd):
        save_picture(folder / "images" / f"{k + 1:02d}_img.png", person.pixels)
        world = (person.vertices_m - translation) @ rotation  # the transpose is the inverse
        (folder / "alignments" / f"{k + 1:02d}.pkl").write_bytes(pickle.dumps({"v": world, "f": [0]}, protocol=2))
        if k < count - 1:
            people_found = {"people": [openpose_person(person)]}
            write_json(folder / "keypoints" / f"{k + 1:02d}_keypoints.json", people_found)
    return crowd


EHF_ROTVEC = np.array([-2.98747896, 0.01172457, -0.05704687])
EHF_TRANSLATION = np.array([-0.03609917, 0.43416458, 2.37101226])


def ehf_box(person: Person) -> np.ndarray:
    """Where EHF's camera sees the mesh."""
    pixels = project_perspective(person.vertices_m, 1498.22426237, np.array([790.263706, 578.90334]))
    return np.r_[pixels.min(0), pixels.max(0)]


def write_threedpw(folder: Path, *, split: str = "validation", count: int = 2) -> list[Person]:
    """``smplx_npz_data/3dpw_{split}.npz``, whose pictures have absolute paths of someone else's disk."""
    crowd = people(count, seed=18)
    frames = [centre_scale(p) for p in crowd]
    names = [f"imageFiles/downtown_00/image_{k:05d}.jpg" for k in range(count)]
    _pictures(folder, names, crowd)
    (folder / "smplx_npz_data").mkdir()
    np.savez(
        folder / "smplx_npz_data" / f"3dpw_{split}.npz",
        img_paths=np.array([f"/disk/of/authors/{name}" for name in names], dtype=object),
        keypoints2d=np.array([listed(p, THREEDPW, 0.06) for p in crowd]),
        joints3d=np.array([listed_m(p, LSP_NAMES) for p in crowd]),
        pid=np.arange(count),
        center=np.array([centre for centre, _ in frames]),
        scale=np.array([scale for _, scale in frames]),
        bbox_size=np.array([200.0 * scale for _, scale in frames]),
        cam_intrinsics=np.array([p.intrinsics for p in crowd]),
    )
    return crowd


def write_all(folder: Path | str) -> None:
    """Every data set of this file, each in a folder of its name."""
    root = Path(folder)
    writers = {
        "curated-fits": write_curated_fits,
        "spin": write_spin,
        "h36m": write_h36m,
        "freihand": write_freihand,
        "ffhq": write_ffhq,
        "stirling": write_stirling,
        "ehf": write_ehf,
        "threedpw": write_threedpw,
    }
    for name, write in writers.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        write(root / name)


def rewrite(path: Path, **changes: np.ndarray) -> None:
    """Change arrays of an npz file; None removes one."""
    with np.load(path, allow_pickle=True) as file:
        arrays = {key: file[key] for key in file.files}
    arrays |= changes
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})


def rewrite_json(path: Path, content: object) -> None:
    """Replace a JSON file."""
    path.write_text(json.dumps(content), "utf-8")


def _pictures(folder: Path, names: list[str], crowd: list[Person]) -> None:
    for name, person in zip(names, crowd, strict=True):
        save_picture(folder / name, person.pixels)
