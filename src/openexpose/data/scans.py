"""Data sets for evaluation with scanned or tracked bodies, EHF and 3DPW: pictures, boxes, keypoints and joints.

Coordinates are kept as they are.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from openexpose.body.keypoints import indices
from openexpose.data.arrays import Shape, read_json, read_npz
from openexpose.data.labels import binary_confidence, centre_box, labelled_box
from openexpose.data.reading import Reading, check_split, gather, picture_finder
from openexpose.data.safe_pickle import load_pickle
from openexpose.data.sample import NUM_KEYPOINTS, Sample
from openexpose.data.skeletons import LSP14, THREEDPW18, to_keypoints
from openexpose.data.smplx_sets import OPENPOSE137
from openexpose.errors import InputError
from openexpose.geometry.boxes import box_around
from openexpose.geometry.camera import project_perspective
from openexpose.geometry.rotation import rotvec_to_matrix

Array = np.ndarray

EHF_ROTATION: Float[Array, "3 3"] = rotvec_to_matrix(np.array([-2.98747896, 0.01172457, -0.05704687]))
EHF_TRANSLATION_M: Float[Array, "3"] = np.array([-0.03609917, 0.43416458, 2.37101226])
"""World to camera: x_camera = EHF_ROTATION x_world + EHF_TRANSLATION_M."""
EHF_FOCAL_PX = 1498.22426237
EHF_PRINCIPAL_PX: Float[Array, "2"] = np.array([790.263706, 578.90334])

_UNLIKE_OPENPOSE = indices("neck", "left_hip", "right_hip")  # its neck and hips lie elsewhere than the model's joints
_OPENPOSE = {"pose_keypoints_2d": 25, "hand_left_keypoints_2d": 21, "hand_right_keypoints_2d": 21}
_FACE_POINTS = 70
_3DPW_FILES = {"train": "train", "val": "validation", "test": "test"}
_3DPW_CONFIDENCE = 0.05


def read_ehf(folder: Path, split: str = "test") -> Reading:
    """Read EHF: 100 pictures of one person, whose scans have registered SMPL-X meshes. There is one split only.

    Pictures: ``images/*``, or ``*_img.png`` right in the folder. Labels, as far as they are there: ``gt_keyps.npz``
    (``gt_keypoints_2d`` [n, 144, 2], ``gt_keypoints_3d`` [n, 144, 3], in the order of ``annotations.yaml``, else of
    the file names; not distributed); else OpenPose's JSON (``keypoints/*`` or ``*_2Djnt.json``), without neck and
    hips. The box is that of the keypoints, else that of the registered mesh (``alignments/*.pkl``, key ``v``, world
    frame) seen by EHF's camera.

    Raises:
        InputError: there are no pictures, or ``gt_keyps.npz`` does not belong to them.
    """
    pictures = _ehf_pictures(folder)
    truth_path = folder / "gt_keyps.npz"
    truth: dict[str, Array] = {}
    if truth_path.is_file():
        truth = read_npz(truth_path, {"gt_keypoints_2d": (None, 144, 2)}, {"gt_keypoints_3d": (None, 144, 3)})
        if len(truth["gt_keypoints_2d"]) != len(pictures):
            got = f"'{truth_path}' with {len(truth['gt_keypoints_2d'])} rows for {len(pictures)} pictures"
            raise InputError(got, "one row a picture")

    def make(row: int) -> Sample:
        path = pictures[row]
        stem, points = path.stem.removesuffix("_img"), None
        name, ones = f"ehf/{stem}", np.ones((NUM_KEYPOINTS, 1))
        keypoints = np.zeros((NUM_KEYPOINTS, 3))
        if truth:
            keypoints = np.concatenate([truth["gt_keypoints_2d"][row], ones], 1)
            if "gt_keypoints_3d" in truth:
                points = np.concatenate([truth["gt_keypoints_3d"][row], ones], 1)
        elif (labels := _first(folder, _ehf_json(stem))) is not None:
            keypoints = _told(name, lambda: _openpose_person(labels))
        if (keypoints[:, 2] > 0).any():
            box = labelled_box(keypoints, name)
        else:
            box = _told(name, lambda: _ehf_mesh_box(folder / "alignments" / f"{stem.removesuffix('.07_C')}.pkl"))
        return Sample(name, path, "body", box, keypoints, points)

    return gather(range(len(pictures)), make)


def read_threedpw(folder: Path, split: str = "test") -> Reading:
    """Read 3DPW as prepared for ExPose: ``smplx_npz_data/3dpw_{train,validation,test}.npz`` (or in ``npz_data``, or in
    the folder itself) and pictures.

    Keys: ``img_paths``, ``keypoints2d`` [n, 18, 3] (confidence becomes 1 from 0.05 on, else 0), ``joints3d``
    [n, >= 14, 3] (metres, camera's axes, the 14 of LSP), ``center``, ``scale``, ``pid``. Pictures: the paths' last
    parts, relative to the folder or its ``imageFiles``.

    Raises:
        InputError: a file is missing or broken, or has arrays of wrong shapes; no such split.
    """
    check_split(split, tuple(_3DPW_FILES), "threedpw")
    file = f"3dpw_{_3DPW_FILES[split]}.npz"
    path = _first(folder, [f"smplx_npz_data/{file}", f"npz_data/{file}", file]) or folder / "smplx_npz_data" / file
    shapes: dict[str, Shape] = {
        "img_paths": (None,),
        "joints3d": (None, None, 3),
        "center": (None, 2),
        "scale": (None,),
        "pid": (None,),
    }
    data = read_npz(path, shapes, {"keypoints2d": (None, 18, 3), "keypoints2D": (None, 18, 3)})
    labelled = next((data[key] for key in ("keypoints2d", "keypoints2D") if key in data), None)
    if labelled is None or data["joints3d"].shape[1] < len(LSP14):
        raise InputError(f"'{path}' without keypoints2d or 14 joints3d", "the keys " + ", ".join(shapes))
    names = data["img_paths"]
    find = picture_finder(folder, names, ("", "imageFiles", "images"))

    def make(row: int) -> Sample:
        image = find(names[row])
        joints = np.concatenate([data["joints3d"][row, :14], np.ones((14, 1))], 1)
        return Sample(
            name=f"threedpw/{split}/{image.parent.name}/{image.name}/{int(data['pid'][row])}",
            image=image,
            part="body",
            box_xyxy_px=centre_box(data["center"][row], data["scale"][row]),
            keypoints_px=binary_confidence(to_keypoints(labelled[row], THREEDPW18), body=_3DPW_CONFIDENCE),
            points_m=to_keypoints(joints, LSP14),
        )

    return gather(range(len(names)), make)


def _ehf_pictures(folder: Path) -> list[Path]:
    inside = sorted((folder / "images").glob("*")) if (folder / "images").is_dir() else sorted(folder.glob("*_img.*"))
    found = {path.stem: path for path in inside if path.suffix.lower() in (".jpg", ".jpeg", ".png")}
    if not found:
        raise InputError(f"no pictures in '{folder}'", "images/*.png, or *_img.png right there")
    order = folder / "annotations.yaml"
    if order.is_file() and (folder / "gt_keyps.npz").is_file():
        lines = [line.strip() for line in order.read_text("utf-8", "replace").splitlines()]
        stems = [Path(line[1:].strip().strip("'\"")).name for line in lines if line.startswith("-")]
        if sorted(stems) == sorted(found):
            return [found[stem] for stem in stems]
    return list(found.values())


def _ehf_json(stem: str) -> list[str]:
    return [f"keypoints/{stem}_keypoints.json", f"keypoints/{stem}.json", f"{stem}_2Djnt.json"]


def _first(folder: Path, names: list[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _told(name: str, read: Callable[[], Array]) -> Array:
    """Errors of a file told with the sample's name."""
    try:
        return read()
    except InputError as error:
        raise InputError(f"{name}: {error.got}", error.expected, error.fix) from None


def _openpose_person(path: Path) -> Float[Array, "144 3"]:
    """The first person of an OpenPose file, confidence 0 or 1."""
    content: Any = read_json(path)
    try:
        person = content["people"][0]
        lists = [np.array(person[key], float).reshape(count, 3) for key, count in _OPENPOSE.items()]
        lists.append(np.array(person["face_keypoints_2d"], float).reshape(_FACE_POINTS, 3))
    except (KeyError, IndexError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"'{path}' ({reason})", "OpenPose's people with body, hands and face") from None
    keypoints = binary_confidence(to_keypoints(np.concatenate(lists), OPENPOSE137))
    keypoints[_UNLIKE_OPENPOSE, 2] = 0.0
    return keypoints


def _ehf_mesh_box(path: Path) -> Float[Array, "4"]:
    content = load_pickle(path)
    vertices = np.asarray(content.get("v", ()) if isinstance(content, dict) else (), float)
    if vertices.ndim != 2 or vertices.shape[1] != 3 or not np.isfinite(vertices).all() or not len(vertices):
        raise InputError(f"'{path}' without vertices 'v'", "vertices [v, 3]")
    points_m = vertices @ EHF_ROTATION.T + EHF_TRANSLATION_M
    return box_around(project_perspective(points_m, EHF_FOCAL_PX, EHF_PRINCIPAL_PX))
