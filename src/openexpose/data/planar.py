"""Readers of data sets with 2D keypoints only: COCO, COCO-WholeBody, MPII, LSP, LSP-extended, OpenPose's output.

All are person-centric: a left wrist is the person's own left. Every reader takes the folder as it was unpacked and the
name of a split, and returns one body sample a person. Pictures are named, not opened. Confidence is 1 where a keypoint
is labelled, seen or occluded, and 0 elsewhere; OpenPose's is its own. The box is the annotated one, else the tight box
around the labelled keypoints (ankles and wrists are in it; toes and finger tips may not be).

People with fewer than 4 labelled body keypoints are counted in one sentence of ``Reading.skipped``; a person whose
labels are broken gets a sentence of its own.
"""

import glob
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from openexpose.body.keypoints import IBUG68
from openexpose.data.arrays import read_json
from openexpose.data.gathering import People, check_folder, combine, find_file, labelled, load_mat, records
from openexpose.data.openpose import read_openpose
from openexpose.data.reading import Reading, check_split
from openexpose.data.skeletons import (
    BODY25,
    COCO17,
    LSP14,
    MPII16,
    OPENPOSE_LEFT_HAND,
    OPENPOSE_RIGHT_HAND,
    to_keypoints,
)
from openexpose.errors import InputError
from openexpose.geometry.boxes import box_around

__all__ = ["read_coco", "read_coco_wholebody", "read_lsp", "read_lsp_extended", "read_mpii", "read_openpose"]

Array = np.ndarray

MPII_SCALE_PX = 200.0
"""MPII's ``scale`` is the person's height over this many pixels."""
LSP_TRAIN = 1000
"""So many pictures of LSP, the first ones, are for training; the others for testing."""

FROM_INDEX_PX, _FROM_MATLAB_PX = 0.5, -0.5
"""Added to coordinates in which the first pixel is called 0, and in which it is called 1."""
_COCO_PARTS = {"keypoints": ("", COCO17)}
WHOLEBODY_PARTS = {
    **_COCO_PARTS,
    "foot_kpts": ("foot_valid", BODY25[19:]),
    "lefthand_kpts": ("lefthand_valid", OPENPOSE_LEFT_HAND),
    "righthand_kpts": ("righthand_valid", OPENPOSE_RIGHT_HAND),
    "face_kpts": ("face_valid", IBUG68),
}
"""COCO-WholeBody's keys of keypoints: the key that says whether they count, and which of the 144 they are."""


def read_coco(folder: Path, split: str = "train") -> Reading:
    """COCO keypoints: ``annotations/person_keypoints_<split><year>.json`` and the pictures in ``<split><year>/``.

    Labels are indices of pixels (whole numbers from 0 to W - 1), so 0.5 is added to the keypoints; boxes are measured
    from the picture's corner (fractions, up to W) and stay. Visibility 1 (occluded) and 2 (seen) give confidence 1.
    Crowds (``iscrowd``) are left out.

    Args:
        folder: holds ``annotations`` and the pictures (directly, or in ``images``).
        split: ``train`` or ``val``, for the latest year there is; or with its year, ``val2014``.

    Raises:
        InputError: no such files, or not COCO's JSON.
    """
    check_folder(folder)
    stem = f"person_keypoints_{glob.escape(split)}"
    path = find_file(folder, [f"{place}{stem}{year}.json" for place in ("annotations/", "") for year in ("", "20??")])
    if path is None:
        expected = f"annotations/person_keypoints_{split}2017.json"
        raise InputError(f"'{folder}' without COCO's keypoints of the split '{split}'", expected)
    return _read_coco(path, f"coco/{path.stem}", _coco_pictures(folder, path.stem.rpartition("_")[2]), _COCO_PARTS)


def read_coco_wholebody(folder: Path, split: str = "train") -> Reading:
    """COCO-WholeBody: ``annotations/coco_wholebody_<split>_v1.0.json`` and COCO's 2017 pictures, see :func:`read_coco`.

    17 keypoints of the body, 6 of the feet, 68 of the face (iBUG's order), 21 of each hand; all are indices of pixels.
    Feet, face and hands count only where their ``..._valid`` is true. The body's wrists go before the hands'.

    Args:
        folder: holds ``annotations`` and the pictures (directly, or in ``images``).
        split: ``train`` or ``val``.

    Raises:
        InputError: no such files, or not such JSON.
    """
    check_folder(folder)
    stem = f"coco_wholebody_{glob.escape(split)}"
    path = find_file(folder, [f"{place}{stem}{end}.json" for place in ("annotations/", "") for end in ("", "_v*")])
    if path is None:
        expected = f"annotations/coco_wholebody_{split}_v1.0.json"
        raise InputError(f"'{folder}' without COCO-WholeBody's labels of the split '{split}'", expected)
    return _read_coco(path, f"coco-wholebody/{path.stem}", _coco_pictures(folder, f"{split}2017"), WHOLEBODY_PARTS)


def read_mpii(folder: Path, split: str = "train") -> Reading:
    """MPII Human Pose: pictures in ``images``, labels as JSON lists or the original MATLAB file.

    First choice is ``annot/<split>.json`` (or in ``annotations`` or beside ``images``, also called
    ``mpii_<split>.json``): the common list with ``image``, ``joints`` [16, 2], ``joints_vis`` [16], ``center``,
    ``scale``. Else ``mpii_human_pose_v1_u12_1.mat``, whose only split with labels is ``train`` (the JSON lists'
    ``trainval``). In both the first pixel is at 1 (MATLAB), so 0.5 is subtracted. The JSON's ``joints_vis`` 0 means not
    labelled; in the MATLAB file every joint that is there is labelled, occluded or not. Thorax, neck and top of the
    head have no counterpart among the 144.

    The box is the annotated square of ``200 * scale`` px, widened to the labelled joints, because it often cuts feet.

    Args:
        folder: holds ``images`` and the labels.
        split: ``train``, ``val`` (also ``valid``), ``trainval``.

    Raises:
        InputError: no such files, or not in these formats.
    """
    check_folder(folder)
    names = {"val": ("val", "valid"), "valid": ("valid", "val")}.get(split, (split,))
    places = ("annot/", "annotations/", "")
    prefixed = [f"{prefix}{glob.escape(name)}.json" for prefix in ("", "mpii_") for name in names]
    if path := find_file(folder, [place + name for place in places for name in prefixed]):
        return _read_mpii_json(path, folder / "images")
    path = find_file(folder, [f"{place}mpii_human_pose_v1*.mat" for place in (*places, "*/")])
    if path and split in ("train", "trainval"):
        return _read_mpii_mat(path, folder / "images")
    expected = f"annot/{split}.json" + ("" if path else " or mpii_human_pose_v1_u12_1.mat")
    fix = "The MATLAB file has labels for the split 'train' only." if path else ""
    raise InputError(f"'{folder}' without MPII's labels of the split '{split}'", expected, fix)


def read_lsp(folder: Path, split: str = "train") -> Reading:
    """Leeds Sports Pose: ``joints.mat`` [3, 14, 2000] and ``images/im0001.jpg`` ...; also the original-size edition.

    All joints are labelled; the third row tells which are occluded (1) and is not used. MATLAB's coordinates (the
    first pixel is at 1): 0.5 is subtracted. The top of the head has no counterpart among the 144 but widens the box.

    Args:
        folder: holds ``joints.mat`` and ``images``.
        split: ``train`` (the first 1000 pictures) or ``test`` (the others).

    Raises:
        InputError: no such files or split, or another array.
    """
    check_split(split, ("train", "test"), "LSP")
    joints = _lsp_joints(folder, (3, 14), "LSP").transpose(2, 1, 0)
    joints[..., 2] = 1.0
    return _read_lsp(folder, "lsp/im{:04d}", joints, slice(LSP_TRAIN) if split == "train" else slice(LSP_TRAIN, None))


def read_lsp_extended(folder: Path, split: str = "train") -> Reading:
    """Leeds Sports Pose Extended: ``joints.mat`` [14, 3, 10000] and ``images/im00001.jpg`` ...

    Here the third column is 1 where a joint is labelled. The high-resolution edition (PNG pictures with gaps in their
    numbers) reads, too: its pictures are taken in the order of their names. Otherwise as :func:`read_lsp`.

    Args:
        folder: holds ``joints.mat`` and ``images``.
        split: ``train``; there is no other.

    Raises:
        InputError: no such files or split, or another array.
    """
    check_split(split, ("train",), "LSP-extended")
    joints = _lsp_joints(folder, (14, 3), "LSP-extended").transpose(2, 0, 1)
    return _read_lsp(folder, "lsp-extended/im{:05d}", joints, slice(None))


def _coco_pictures(folder: Path, name: str) -> Path:
    places = (folder / name, folder / "images" / name, folder / "images")
    return next((place for place in places if place.is_dir()), places[0])


def _read_coco(path: Path, name: str, pictures: Path, parts: dict[str, tuple[str, Array]]) -> Reading:
    content = read_json(path)
    if not isinstance(content, dict) or not all(
        isinstance(content.get(key), list) and content[key] for key in ("images", "annotations")
    ):
        raise InputError(f"'{path}' without 'images' and 'annotations'", "COCO's JSON with labels of people")
    try:
        files = {image["id"]: image["file_name"] for image in content["images"]}
    except (KeyError, TypeError):
        raise InputError(f"'{path}' with images that lack 'id' or 'file_name'", "COCO's JSON") from None
    people = People()
    for row, entry in enumerate(content["annotations"]):
        with people.told(f"{name}/row {row}"):
            sample, crowd = f"{name}/{entry['id']}", entry.get("iscrowd")
            with people.told(sample):
                if crowd:
                    continue
                if entry["image_id"] not in files:
                    raise InputError(f"the image_id {entry['image_id']}", "one that 'images' lists")
                x, y, width, height = map(float, entry["bbox"])
                box = np.array([x, y, x + width, y + height])
                people.add(sample, pictures / files[entry["image_id"]], _coco_keypoints(entry, parts), box)
    return people.reading()


def _coco_keypoints(entry: dict[str, Any], parts: dict[str, tuple[str, Array]]) -> Float[Array, "144 3"]:
    found = []
    for key, (valid, table) in parts.items():
        if valid and not entry[valid]:
            continue
        points = labelled(entry[key], len(table), key, FROM_INDEX_PX)
        points[:, 2] = points[:, 2] > 0  # WholeBody has fractions: anything above 0 is reliable
        found.append(to_keypoints(points, table))
    return combine(found)


def _read_mpii_json(path: Path, pictures: Path) -> Reading:
    entries = read_json(path)
    if not isinstance(entries, list) or not entries:
        raise InputError(f"'{path}' without people", "a list of image, joints, joints_vis, center and scale")
    people = People()
    for row, entry in enumerate(entries):
        name = f"mpii/{path.stem}/{row}"
        with people.told(name):
            points = np.column_stack([np.array(entry["joints"], float), np.array(entry["joints_vis"], float)])
            square = np.r_[np.array(entry["center"], float), float(entry["scale"])]
            _add_mpii(people, name, pictures / entry["image"], points, square)
    return people.reading()


def _read_mpii_mat(path: Path, pictures: Path) -> Reading:
    try:
        release = load_mat(path)["RELEASE"]
        images, is_train = records(release["annolist"]), np.atleast_1d(release["img_train"])
    except (KeyError, TypeError, IndexError):
        raise InputError(f"'{path}' without RELEASE.annolist and RELEASE.img_train", "MPII's MATLAB file") from None
    if len(images) != len(is_train):
        raise InputError(f"'{path}' with {len(images)} pictures in annolist, {len(is_train)} in img_train", "as many")
    people = People()
    for row in np.flatnonzero(is_train):
        with people.told(f"mpii/picture {row}"):
            file = images[row]["image"]["name"]
            for k, entry in enumerate(records(images[row]["annorect"])):
                name = f"mpii/{Path(file).stem}/{k}"
                with people.told(name):
                    _add_mpii(people, name, pictures / file, _mat_joints(entry), _mat_square(entry))
    return people.reading()


def _mat_joints(entry: dict[str, Any]) -> Float[Array, "16 3"]:
    points = np.zeros((len(MPII16), 3))
    for annopoints in records(entry.get("annopoints")):
        for point in records(annopoints["point"]):
            if not 0 <= point["id"] < len(MPII16):
                raise InputError(f"a joint with the id {point['id']}", f"ids from 0 to {len(MPII16) - 1}")
            points[int(point["id"])] = [float(point["x"]), float(point["y"]), 1.0]
    return points


def _mat_square(entry: dict[str, Any]) -> Float[Array, "3"]:
    positions = records(entry.get("objpos"))
    if not positions or np.size(entry.get("scale", [])) != 1:
        return np.full(3, -1.0)
    return np.array([positions[0]["x"], positions[0]["y"], entry["scale"]], float)


def _add_mpii(people: People, name: str, image: Path, joints: Float[Array, "16 3"], square: Float[Array, "3"]) -> None:
    """``square`` is (x, y, scale); the scale is -1 where MPII has none."""
    points = labelled(joints, len(MPII16), "joints", _FROM_MATLAB_PX)
    points[:, 2] = points[:, 2] > 0
    points[(points[:, :2] <= _FROM_MATLAB_PX).all(1)] = 0.0  # (0, 0) and (-1, -1) mean: not labelled
    corners = points[points[:, 2] > 0, :2]
    if square[2] > 0:
        half = 0.5 * MPII_SCALE_PX * square[2]
        corners = np.concatenate([corners, square[:2] + _FROM_MATLAB_PX + np.array([[-half], [half]])])
    people.add(name, image, to_keypoints(points, MPII16), box_around(corners) if len(corners) else None)


def _lsp_joints(folder: Path, shape: tuple[int, int], name: str) -> Float[Array, "a b n"]:
    check_folder(folder)
    path = folder / "joints.mat"
    joints = np.asarray(load_mat(path).get("joints", 0))
    if joints.ndim != 3 or joints.shape[:2] != shape or joints.dtype.kind not in "fiub":
        fix = {"LSP": "This is LSP-extended.", "LSP-extended": "This is LSP."}[name]
        raise InputError(
            f"'{path}' with 'joints' of shape {joints.shape}",
            f"shape {(*shape, 'n')} for {name}",
            fix if joints.shape[:2] == shape[::-1] else "",
        )
    return joints.astype(float)


def _read_lsp(folder: Path, name: str, joints: Float[Array, "n 14 3"], chosen: slice) -> Reading:
    names = [name.format(k) for k in range(1, len(joints) + 1)]
    files = [folder / "images" / f"{Path(name).name}.jpg" for name in names]
    if len(portable := sorted((folder / "images").glob("im*.png"))) == len(joints):
        files = portable
    people = People()
    for sample, file, points in list(zip(names, files, joints, strict=True))[chosen]:
        with people.told(sample):
            points = labelled(points, len(LSP14), "joints", _FROM_MATLAB_PX)
            points[:, 2] = points[:, 2] > 0
            corners = points[points[:, 2] > 0, :2]
            people.add(sample, file, to_keypoints(points, LSP14), box_around(corners) if len(corners) else None)
    return people.reading()
