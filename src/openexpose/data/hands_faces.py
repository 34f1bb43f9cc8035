"""Data sets of hands or faces alone: FreiHAND, FFHQ with FLAME fits, Stirling/ESRC.

Their pictures show nothing but the hand or face, so the box is the whole picture. Coordinates are kept as they are.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from openexpose.data.arrays import Shape, count_rows, read_json_array, read_npz
from openexpose.data.reading import Reading, check_split, gather, join, picture_finder, picture_size
from openexpose.data.safe_pickle import load_pickle
from openexpose.data.sample import NUM_KEYPOINTS, Sample
from openexpose.data.skeletons import FFHQ73, FREIHAND21, to_keypoints
from openexpose.errors import InputError
from openexpose.geometry.rotation import rotvec_to_matrix
from openexpose.image.read import IMAGE_SUFFIXES
from openexpose.people import POSE_SLICES

Array = np.ndarray

FREIHAND_TRAIN_SHARE = 0.8
FREIHAND_BACKGROUNDS = 4
"""Every labelled hand comes with the green screen and three composed backgrounds."""
FREIHAND_SIZE = (224, 224)
FFHQ_TRAIN_SHARE = 0.95
FFHQ_SIZE = (1024, 1024)
_JAW, _RIGHT_HAND = POSE_SLICES["jaw_pose"].start, POSE_SLICES["right_hand_pose"]


def read_freihand(folder: Path, split: str = "train", hand_mean: Float[Array, "45"] | Path | None = None) -> Reading:
    """Read FreiHAND: right hands with MANO fits and 21 joints in 3D.

    Files: ``training/rgb/*.jpg`` with ``training_{K,mano,xyz}.json`` or ``training.npz`` (keys ``intrinsics``,
    ``param``, ``xyz``). The first 80 % of the hands are ``train``, the rest ``val``, each with up to four backgrounds
    (as many as there are pictures for); ``test`` is ``evaluation/`` likewise.

    ``points_m`` are the joints in the camera frame and ``keypoints_px`` their projections by K. The pose's slot 0 is
    the wrist's absolute rotation. MANO stores finger rotations as differences from the mean right hand, which is part
    of the licensed model: without ``hand_mean`` the fingers' rotations are left out (invalid) and only the joints say
    what they do.

    Args:
        folder: the data set.
        split: ``train``, ``val`` or ``test``.
        hand_mean: mean right hand, axis-angle [45], or a file that :func:`read_hand_mean` reads.

    Raises:
        InputError: a file is missing or broken, or has arrays of wrong shapes; no such split.
    """
    check_split(split, ("train", "val", "test"), "freihand")
    key = "evaluation" if split == "test" else "training"
    intrinsics, params, xyz = _freihand_arrays(folder, key)
    mean = read_hand_mean(hand_mean) if isinstance(hand_mean, Path) else hand_mean
    rotvecs = params[:, :48].reshape(-1, 16, 3).astype(np.float64)
    if mean is not None:
        rotvecs[:, 1:] += _checked_mean(mean, "hand_mean")
    rotations = rotvec_to_matrix(rotvecs).astype(np.float32)
    total = len(xyz)
    middle = int(FREIHAND_TRAIN_SHARE * total)
    rows = {"train": range(middle), "val": range(middle, total), "test": range(total)}[split]
    pictures = folder / key / "rgb"
    size = picture_size(pictures / f"{rows.start:08d}.jpg", FREIHAND_SIZE)

    def make(row: int) -> Sample:
        projected = xyz[row] @ intrinsics[row].T
        ones = np.ones((len(projected), 1))
        pose, valid = np.tile(np.eye(3, dtype=np.float32), (55, 1, 1)), np.arange(55) == 0
        pose[0] = rotations[row, 0]
        if mean is not None:
            pose[_RIGHT_HAND], valid[_RIGHT_HAND] = rotations[row, 1:], True
        return Sample(
            name=f"freihand/{key}/{row:08d}",
            image=pictures / f"{row:08d}.jpg",
            part="hand",
            box_xyxy_px=_whole(size),
            keypoints_px=to_keypoints(np.concatenate([projected[:, :2] / projected[:, 2:], ones], 1), FREIHAND21),
            points_m=to_keypoints(np.concatenate([xyz[row], ones], 1), FREIHAND21),
            pose=pose,
            pose_valid=valid,
            betas=params[row, 48:58],
            coefficients="mano",
        )

    green = gather(rows, make)
    backgrounds = 1 if split == "test" else FREIHAND_BACKGROUNDS
    return join(_with_background(green, pictures, k, total) for k in range(backgrounds))


def read_hand_mean(path: Path) -> Float[Array, "45"]:
    """The mean right hand, axis-angle, from a file of the user's: SMPL-X npz (``hands_meanr``), ``all_means.pkl`` of
    ExPose's release (``right_hand_pose``) or a MANO pickle without foreign classes (``hands_mean``).

    Raises:
        InputError: it is none of these.
    """
    if path.suffix == ".npz":
        return _checked_mean(read_npz(path, {"hands_meanr": (None,)})["hands_meanr"], str(path)).ravel()
    content = load_pickle(path)
    found = None
    if isinstance(content, dict):
        found = content.get("hands_mean", content.get("right_hand_pose"))
        found = found.get("aa") if isinstance(found, dict) else found
    if found is None:
        raise InputError(f"'{path}' without a mean right hand", "hands_mean, or right_hand_pose with aa")
    return _checked_mean(np.asarray(found), str(path)).ravel()


def read_ffhq(folder: Path, split: str = "train") -> Reading:
    """Read FFHQ with FLAME fits: ``ffhq_parameters_with_keyps.npz`` (or ``ffhq_annotations.npz``) and pictures.

    Keys: ``global_pose`` [n, 3] (absolute rotation of the head in the camera's axes), ``jaw_pose`` [n, 3], ``betas``,
    ``expression``, ``keypoints2D`` [n, 73, 2] (pixels of the 1024 x 1024 pictures; smaller copies do not fit them),
    ``img_fnames``. The first 95 % are ``train``, the rest ``val``. Pictures (PNG or JPEG): relative to ``images``,
    ``ffhq_global_images_1024``, ``images1024x1024`` or the folder. The fits' camera has a focal length of
    4754.98 * H / 256 pixels.

    Raises:
        InputError: a file is missing or broken, or has arrays of wrong shapes; no such split.
    """
    check_split(split, ("train", "val"), "ffhq")
    path, other = folder / "ffhq_parameters_with_keyps.npz", folder / "ffhq_annotations.npz"
    path = other if other.is_file() and not path.is_file() else path
    shapes: dict[str, Shape] = {
        "img_fnames": (None,),
        "betas": (None, None),
        "expression": (None, None),
        "global_pose": (None, 3),
        "jaw_pose": (None, 3),
    }
    point_keys = ("keypoints2D", "keypoints2d")
    data = read_npz(path, shapes, {key: (None, 73, None) for key in point_keys})
    poses = {key: rotvec_to_matrix(data[key].astype(float)) for key in ("global_pose", "jaw_pose")}
    points = next((data[key] for key in point_keys if key in data), None)
    if points is None:
        raise InputError(f"'{path}' without keypoints2D", "the keys img_fnames, betas, expression, keypoints2D")
    names = data["img_fnames"]
    find = picture_finder(folder, names, ("images", "ffhq_global_images_1024", "images1024x1024", ""))
    total = len(names)
    middle = int(FFHQ_TRAIN_SHARE * total)
    size = picture_size(find(names[0]), FFHQ_SIZE) if total else FFHQ_SIZE
    valid = np.isin(np.arange(55), (0, _JAW))

    def make(row: int) -> Sample:
        pose = np.tile(np.eye(3, dtype=np.float32), (55, 1, 1))
        pose[0], pose[_JAW] = poses["global_pose"][row], poses["jaw_pose"][row]
        labelled = np.concatenate([points[row][:, :2], np.ones((73, 1))], 1)
        return Sample(
            name=f"ffhq/{names[row]}",
            image=find(names[row]),
            part="face",
            box_xyxy_px=_whole(size),
            keypoints_px=to_keypoints(labelled, FFHQ73),
            pose=pose,
            pose_valid=valid,
            betas=data["betas"][row],
            expression=data["expression"][row],
            coefficients="flame",
        )

    return gather(range(middle) if split == "train" else range(middle, total), make)


def read_stirling(folder: Path, split: str = "HQ") -> Reading:
    """Read the pictures of the Stirling/ESRC 3D face benchmark, for evaluation: faces without labels.

    Pictures: all below ``Subset_2D_FG2018/<split>`` (``HQ`` or ``LQ``), or below the folder itself if it has no such
    subfolder.

    Raises:
        InputError: there are no pictures.
    """
    inside = folder / "Subset_2D_FG2018" / split.upper()
    root = next((one for one in (inside, folder / split.upper()) if one.is_dir()), folder)
    paths = sorted(path for path in root.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        raise InputError(f"no pictures in '{root}'", "pictures of faces, in Subset_2D_FG2018/HQ or right here")
    unlabelled = np.zeros((NUM_KEYPOINTS, 3), np.float32)

    def make(row: int) -> Sample:
        name = f"stirling/{paths[row].relative_to(root)}"
        size = picture_size(paths[row], (0, 0))
        if not size[0]:
            raise InputError(f"{name}: a picture that does not open", "a JPEG or PNG")
        return Sample(name, paths[row], "face", _whole(size), unlabelled)

    return gather(range(len(paths)), make)


def _freihand_arrays(folder: Path, key: str) -> tuple[Array, Array, Array]:
    """K [n, 3, 3], parameters [n, >= 58] and joints [n, 21, 3], from JSON or npz."""
    npz = folder / f"{key}.npz"
    if npz.is_file() and not (folder / f"{key}_xyz.json").is_file():
        data = read_npz(npz, {"intrinsics": (None, 3, 3), "param": (None, None), "xyz": (None, 21, 3)})
        arrays = data["intrinsics"], data["param"], data["xyz"]
    else:
        shapes: dict[str, Shape] = {"K": (None, 3, 3), "mano": (None, None), "xyz": (None, 21, 3)}
        found = {name: read_json_array(folder / f"{key}_{name}.json", shape) for name, shape in shapes.items()}
        count_rows(found, f"{folder / key}_*.json")
        arrays = found["K"], found["mano"], found["xyz"]
    if arrays[1].shape[1] < 58:
        raise InputError(f"'{folder}' with {arrays[1].shape[1]} MANO parameters a hand", "48 of pose, 10 of shape")
    return arrays


def _with_background(green: Reading, pictures: Path, number: int, total: int) -> Reading:
    """The hands of the green screen before another background: the same labels, pictures ``total`` further on."""
    if number == 0:
        return green
    samples: list[Sample] = []
    for sample in green.samples:
        picture = f"{int(sample.name.rpartition('/')[2]) + number * total:08d}"
        if not samples and not (pictures / f"{picture}.jpg").is_file():
            return Reading([])
        name = f"{sample.name.rpartition('/')[0]}/{picture}"
        samples.append(replace(sample, name=name, image=pictures / f"{picture}.jpg"))
    return Reading(samples)


def _checked_mean(mean: Array, name: str) -> Float[Array, "15 3"]:
    if mean.size != 45 or not np.isfinite(mean).all():
        raise InputError(f"'{name}' of {mean.size} numbers", "45 finite ones: axis-angle of 15 finger joints")
    return np.asarray(mean, float).reshape(15, 3)


def _whole(size: tuple[int, int]) -> Float[Array, "4"]:
    return np.array([0.0, 0.0, *size])
