"""Data sets of photos with fitted SMPL-X bodies: curated fits, SPIN's fits, Human3.6M.

Poses are axis-angle in the order global, 21 body, jaw, [eyes], left hand, right hand; the global rotation takes the
model to the camera's axes (y down). Finger rotations count from the flat hand. Betas and expression are SMPL-X's.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Float

from openexpose.data.arrays import Shape, read_npz
from openexpose.data.labels import BODY_SLOTS, binary_confidence, centre_box, labelled_box, smplx_pose, visible_slots
from openexpose.data.reading import Reading, check_split, gather, join, picture_finder
from openexpose.data.sample import Sample
from openexpose.data.skeletons import (
    BODY25,
    H36M17,
    IBUG68,
    OPENPOSE_LEFT_HAND,
    OPENPOSE_RIGHT_HAND,
    SPIN24,
    to_keypoints,
)
from openexpose.errors import InputError

Array = np.ndarray

OPENPOSE137 = np.r_[BODY25, OPENPOSE_LEFT_HAND, OPENPOSE_RIGHT_HAND, IBUG68, -1, -1]
"""OpenPose's body, hands and 70 face points, the last two of which are the pupils."""
SPIN_SETS = ("mpii", "lsp", "lspet", "coco")
_SWAPPED_IN_LSP = 26  # the released lsp.npz has the arms of this person (counted among those with a fit) swapped
_EXTRA = {"body_keypoints": 25, "left_hand_keypoints": 21, "right_hand_keypoints": 21}


def read_curated_fits(folder: Path, split: str = "train") -> Reading:
    """Read the curated SMPL-X fits of ExPose: ``{train,val}.npz`` and pictures.

    Keys: ``img_fns``, ``betas`` and ``expression`` [n, 10], ``keypoints2D`` [n, 137, 3] (OpenPose), ``pose``
    [n, 53 or 55, 3]; of ``openexpose curate`` also ``coefficients`` [n], the body model that they belong to.
    Confidences become 0 or 1 (see :func:`~openexpose.data.labels.binary_confidence`); a hand or face without keypoints
    has no rotations and no expression. Pictures: named relative to the folder or its ``images``. The box is that of
    the keypoints.

    Raises:
        InputError: a file is missing or broken, or has arrays of wrong shapes; no such split.
    """
    check_split(split, ("train", "val"), "curated_fits")
    shapes: dict[str, Shape] = {
        "img_fns": (None,),
        "betas": (None, None),
        "expression": (None, None),
        "keypoints2D": (None, 137, 3),
        "pose": (None, None, 3),
    }
    data = read_npz(folder / f"{split}.npz", shapes, {"coefficients": (None,)})
    pose = smplx_pose(data["pose"])
    models = data.get("coefficients", np.full(len(pose), "smplx"))
    find = picture_finder(folder, data["img_fns"], ("", "images", split))

    def make(row: int) -> Sample:
        name = f"curated_fits/{split}/{data['img_fns'][row]}"
        keypoints = binary_confidence(to_keypoints(data["keypoints2D"][row], OPENPOSE137))
        numbers = pose[row], data["betas"][row], data["expression"][row]
        return _fit(name, find(data["img_fns"][row]), keypoints, *numbers, coefficients=str(models[row]))

    return gather(range(len(pose)), make)


def read_spin(folder: Path, split: str = "train") -> Reading:
    """Read SPIN's fits converted to SMPL-X: any of ``{mpii,lsp,lspet,coco}.npz`` and pictures.

    Keys: ``has_smpl`` (rows without a fit are left out), ``imgname``, ``center`` and ``scale`` (the side of the crop
    is 200 * scale pixels), ``part`` [n, 24, 3], ``pose`` [n, 165], ``betas`` [n, 10]. These fits know nothing of hands
    and face, so only global and body rotations are valid. Files with ``body_keypoints`` [n, 25, 3], ``left_hand_`` and
    ``right_hand_keypoints`` [n, 21, 3], ``face_keypoints`` [n, 68 or 70, 3] and ``expression``, too, give these, and
    hands and jaw where they have keypoints. Pictures: relative to ``images``, ``<set>``, ``<set>/images`` or the
    folder.

    Raises:
        InputError: none of the files is there, one is broken, or has arrays of wrong shapes; no such split.
    """
    check_split(split, ("train",), "spin")
    paths = [path for name in SPIN_SETS if (path := folder / f"{name}.npz").is_file()]
    if not paths:
        raise InputError(f"no fits in '{folder}'", f"at least one of {', '.join(f'{n}.npz' for n in SPIN_SETS)}")
    return join(_read_spin_file(folder, path) for path in paths)


def read_h36m(folder: Path, split: str = "train") -> Reading:
    """Read Human3.6M with SMPL-X fits: ``{split}.npz`` (or the one npz with the split in its name) and pictures.

    Keys: ``imgname``, ``center``, ``scale``, ``global_pose`` [n, 3], ``body_pose`` [n, 63], ``betas``, ``part``
    [n, 17, 3], ``S`` [n, 17, 3 or 4] (metres, camera's axes; a fourth column is validity). Hands and face were not
    captured. Pictures: relative to ``images`` or the folder.

    Raises:
        InputError: a file is missing or broken, or has arrays of wrong shapes.
    """
    exact = folder / f"{split}.npz"
    path = next(iter([exact] if exact.is_file() else sorted(folder.glob(f"*{split}*.npz"))), exact)
    shapes: dict[str, Shape] = {
        "imgname": (None,),
        "center": (None, 2),
        "scale": (None,),
        "global_pose": (None, 3),
        "body_pose": (None, 63),
        "betas": (None, None),
        "part": (None, 17, 3),
        "S": (None, 17, None),
    }
    data = read_npz(path, shapes)
    rotvecs = np.zeros((len(data["part"]), 55, 3))
    rotvecs[:, 0], rotvecs[:, 1:22] = data["global_pose"], data["body_pose"].reshape(-1, 21, 3)
    pose = smplx_pose(rotvecs)
    find = picture_finder(folder, data["imgname"], ("images", ""))

    def make(row: int) -> Sample:
        points = data["S"][row]
        if points.shape[1] == 3:
            points = np.concatenate([points, np.ones((17, 1))], 1)
        keypoints = to_keypoints(data["part"][row], H36M17)
        return Sample(
            name=f"h36m/{data['imgname'][row]}",
            image=find(data["imgname"][row]),
            part="body",
            box_xyxy_px=centre_box(data["center"][row], data["scale"][row]),
            keypoints_px=binary_confidence(keypoints),
            points_m=to_keypoints(points, H36M17),
            pose=pose[row],
            pose_valid=BODY_SLOTS,
            betas=data["betas"][row],
        )

    return gather(range(len(pose)), make)


def _read_spin_file(folder: Path, path: Path) -> Reading:
    shapes: dict[str, Shape] = {
        "has_smpl": (None,),
        "imgname": (None,),
        "center": (None, 2),
        "scale": (None,),
        "part": (None, 24, 3),
        "pose": (None, 165),
        "betas": (None, None),
    }
    extra: dict[str, Shape] = {key: (None, count, 3) for key, count in _EXTRA.items()}
    extra |= {"face_keypoints": (None, None, 3), "expression": (None, None)}
    data = read_npz(path, shapes, extra)
    fitted = data.pop("has_smpl").astype(bool)
    data = {key: array[fitted] for key, array in data.items()}
    if path.stem == "lsp" and len(data["part"]) > _SWAPPED_IN_LSP:
        data["part"][_SWAPPED_IN_LSP, [9, 11]] = data["part"][_SWAPPED_IN_LSP, [11, 9]]
    pose = smplx_pose(data["pose"].reshape(-1, 55, 3))
    names = data["imgname"]
    find = picture_finder(folder, names, ("images", path.stem, f"{path.stem}/images", "", f"images/{path.stem}"))
    whole = extra.keys() <= data.keys()

    def make(row: int) -> Sample:
        name, box = f"spin/{path.stem}/{names[row]}", centre_box(data["center"][row], data["scale"][row])
        if whole:
            lists = [data[key][row] for key in _EXTRA]
            face = data["face_keypoints"][row][:68]
            keypoints = binary_confidence(to_keypoints(np.concatenate([*lists, face]), OPENPOSE137[:135]))
            numbers = pose[row], data["betas"][row], data["expression"][row]
            return _fit(name, find(names[row]), keypoints, *numbers, box=box)
        keypoints = binary_confidence(to_keypoints(data["part"][row], SPIN24))
        fit = {"pose": pose[row], "pose_valid": BODY_SLOTS, "betas": data["betas"][row]}
        return Sample(name, find(names[row]), "body", box, keypoints, **fit)

    return gather(range(len(pose)), make)


def _fit(
    name: str,
    image: Path,
    keypoints_px: Float[Array, "144 3"],
    pose: Float[Array, "55 3 3"],
    betas: Float[Array, "b"],
    expression: Float[Array, "e"],
    *,
    box: Float[Array, "4"] | None = None,
    coefficients: str = "smplx",
) -> Sample:
    """A whole-body fit; what has no keypoints is not believed."""
    valid = visible_slots(keypoints_px)
    return Sample(
        name=name,
        image=image,
        part="body",
        box_xyxy_px=labelled_box(keypoints_px, name) if box is None else box,
        keypoints_px=keypoints_px,
        pose=pose,
        pose_valid=valid,
        betas=betas,
        expression=expression if valid[22] else None,
        coefficients=coefficients,
    )
