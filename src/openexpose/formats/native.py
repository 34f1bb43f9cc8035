"""openexpose's own files: ``<stem>.json`` for reading, ``<stem>.npz`` for going on with the SMPL-X parameters.

Both describe themselves: units, frames, body model and version are written beside the numbers. Both appear whole or
not at all.
"""

import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from openexpose import __version__
from openexpose.body.keypoints import IBUG68, JOINT_NAMES, KEYPOINT_NAMES, LEFT_HAND21, RIGHT_HAND21
from openexpose.errors import InputError
from openexpose.formats.atomic import write_whole
from openexpose.geometry.camera import project_perspective
from openexpose.geometry.rotation import matrix_to_rotvec
from openexpose.people import PART_NAMES, POSE_SLICES, People

Array = np.ndarray

CONVENTIONS: dict[str, str] = {
    "units": "metres, radians, pixels",
    "image": "pixels of the upright picture, x right, y down, spanning [0, width] x [0, height]: the centre of the "
    "first pixel is (0.5, 0.5)",
    "camera_frame": "x right, y down, z away from the camera (OpenCV), metres",
    "model_frame": "y up, x to the subject's left, z forward; global_orient takes it to the camera frame, "
    "turning about the pelvis",
    "pose": "axis-angle (and, as <name>_rotmat, rotation matrices) relative to the parent joint, SMPL-X order; fingers "
    "count from the flat hand (flat_hand_mean = true)",
    "perspective": "pixel = focal_px * (x, y) / z + principal_px, with x, y, z in the camera frame",
    "weak_perspective": "p = s * (xy + (tx, ty)), p in [-1, 1]^2 of the square crop, xy in metres from the pelvis "
    "(from the wrist or the head where a hand or the face was predicted alone), in the axes of a camera that points at "
    "the crop's centre; fitted to the pinhole projection of the result",
}
"""What the numbers in both files mean."""

_PLAIN = (
    *("betas", "expression", "transl", "score", "bbox_xyxy", "part_confidence", "joint_confidence"),
    *("crop_centre_px", "crop_side_px", "crop_camera"),
)
_CAMERA = ("focal_px", "principal_px", "image_size", "body_model", "part", "flat_hand_mean")
_NPZ = "an .npz file that openexpose wrote"
_PART_KEYPOINTS = {"face": IBUG68, "left-hand": LEFT_HAND21, "right-hand": RIGHT_HAND21}


def part_keypoints(part: str) -> Int[Array, "k"]:
    """Positions, in the list of 144, of the keypoints that are valid for ``People.part``: all of them for ``whole``.

    Raises:
        InputError: no such part.
    """
    if part == "whole":
        return np.arange(len(KEYPOINT_NAMES))
    if part not in _PART_KEYPOINTS:
        raise InputError(f"the part {part!r}", f"one of {['whole', *_PART_KEYPOINTS]}")
    return np.sort(_PART_KEYPOINTS[part])


def write_json(
    path: Path, people: People, joints_3d: Float[Array, "people 144 3"], *, image_name: str, focal_source: str
) -> None:
    """Write people as JSON: keypoints by name in 2D and 3D, cameras and confidences.

    ``joints_2d`` is the pinhole projection of ``joints_3d``. 2D numbers are rounded to 0.01 px, 3D to 0.01 mm.

    Args:
        path: the file to make.
        people: what was predicted; may be empty.
        joints_3d: their keypoints, camera frame, metres; NaN of those that the body model lacks, which are left out.
        image_name: file name of the picture.
        focal_source: where the focal length comes from: ``given``, ``exif`` or ``default``.

    Raises:
        InputError: joints of another shape, an unknown part, or the file cannot be written.
    """
    shape = (len(people), len(KEYPOINT_NAMES), 3)
    if joints_3d.shape != shape:
        raise InputError(f"joints_3d of shape {joints_3d.shape}", f"shape {shape}")
    joints_2d = project_perspective(joints_3d, people.focal_px, people.principal_px)
    document = {
        "openexpose": __version__,
        "image": {"name": image_name, "width": people.image_size[0], "height": people.image_size[1]},
        "part": people.part,
        "body_model": people.body_model,
        "focal_length_from": focal_source,
        "conventions": CONVENTIONS,
        "people": [_person(people, index, joints_2d[index], joints_3d[index]) for index in range(len(people))],
    }
    write_whole(path, indented(document))


def write_npz(path: Path, people: People, *, image_name: str, focal_source: str) -> None:
    """Write people as SMPL-X parameters, one array a name, the first axis counting people.

    For each of SMPL-X's poses (``global_orient``, ``body_pose``, ``jaw_pose``, ``leye_pose``, ``reye_pose``,
    ``left_hand_pose``, ``right_hand_pose``) axis-angle [P, J, 3] and, as ``<name>_rotmat``, matrices [P, J, 3, 3];
    then the other fields of :class:`People` under their own names, the names of joints and parts, and what the
    numbers mean. Every array loads with ``allow_pickle=False``. Arguments and errors as :func:`write_json`.
    """
    write_arrays(path, people_arrays(people, image_name=image_name, focal_source=focal_source))


def people_arrays(people: People, *, image_name: str, focal_source: str) -> dict[str, Array]:
    """What :func:`write_npz` writes."""
    part_keypoints(people.part)  # refuses unknown parts
    arrays: dict[str, Array] = {}
    for name, rotations in people.pose_parts():
        arrays[name] = matrix_to_rotvec(np.asarray(rotations, float)).astype(np.float32)
        arrays[f"{name}_rotmat"] = rotations.astype(np.float32)
    for name in _PLAIN:
        arrays[name] = getattr(people, name).astype(np.float32)
    return arrays | {
        "focal_px": np.array(people.focal_px, np.float64),
        "principal_px": np.asarray(people.principal_px, np.float64),
        "image_size": np.array(people.image_size, np.int64),
        "flat_hand_mean": np.array(True),
        "part_names": np.array(PART_NAMES),
        "joint_names": np.array(KEYPOINT_NAMES),
        "pose_joint_names": np.array(JOINT_NAMES),
        "conventions": np.array(json.dumps(CONVENTIONS)),
        "units": np.array(CONVENTIONS["units"]),
        "body_model": np.array(people.body_model),
        "part": np.array(people.part),
        "image_name": np.array(image_name),
        "focal_length_from": np.array(focal_source),
        "openexpose_version": np.array(__version__),
    }


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write named arrays as one npz file, whole."""
    file = io.BytesIO()
    np.savez(file, **arrays)
    write_whole(path, file.getvalue())


def read_npz(path: Path) -> People:
    """Read what :func:`write_npz` wrote. Rotations come from the matrices, not from the axis-angle copies.

    Raises:
        InputError: no such file, not an npz, a key is missing, or fingers that do not count from the flat hand.
    """
    return people_from(read_arrays(path), path)


def read_arrays(path: Path) -> dict[str, Array]:
    """Every array of an npz file.

    Raises:
        InputError: no such file, or not an npz.
    """
    if not Path(path).is_file():
        raise InputError(f"'{path}', which is not a file", _NPZ)
    try:
        with np.load(path, allow_pickle=False) as npz:
            return {name: npz[name] for name in npz.files}
    except (ValueError, OSError, EOFError, AttributeError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"'{path}', which does not read as npz ({error})", _NPZ) from None


def people_from(arrays: dict[str, Array], path: Path) -> People:
    """The people in the arrays of a file; errors as :func:`read_npz`."""
    missing = [name for name in (*(f"{key}_rotmat" for key in POSE_SLICES), *_PLAIN, *_CAMERA) if name not in arrays]
    if missing:
        raise InputError(f"'{path}' without {', '.join(missing)}", _NPZ)
    if not arrays["flat_hand_mean"]:
        raise InputError(f"'{path}' with flat_hand_mean = False", "fingers that count from the flat hand")
    return People(
        pose=np.concatenate([arrays[f"{name}_rotmat"] for name in POSE_SLICES], 1),
        **{name: arrays[name] for name in _PLAIN},
        focal_px=float(arrays["focal_px"]),
        principal_px=arrays["principal_px"],
        image_size=(int(arrays["image_size"][0]), int(arrays["image_size"][1])),
        body_model=str(arrays["body_model"]),
        part=str(arrays["part"]),
    )


def _person(people: People, index: int, joints_2d: Float[Array, "144 2"], joints_3d: Float[Array, "144 3"]) -> dict:
    confidence = people.joint_confidence[index]
    valid = part_keypoints(people.part)
    valid = valid[np.isfinite(joints_3d[valid]).all(-1)]
    s, tx, ty = _rounded(people.crop_camera[index], 6)
    return {
        "score": _rounded(people.score[index], 4),
        "bbox_xyxy": _rounded(people.bbox_xyxy[index], 2),
        "confidence": dict(zip(PART_NAMES, _rounded(people.part_confidence[index], 4), strict=True)),
        "camera": {
            "perspective": {
                "focal_px": _rounded(people.focal_px, 3),
                "principal_px": _rounded(people.principal_px, 3),
                "transl_m": _rounded(people.transl[index], 5),
            },
            "weak_perspective": {
                **{"s": s, "tx": tx, "ty": ty},
                "crop_centre_px": _rounded(people.crop_centre_px[index], 2),
                "crop_side_px": _rounded(people.crop_side_px[index], 2),
            },
        },
        "joints_2d": {
            KEYPOINT_NAMES[k]: [*_rounded(joints_2d[k], 2), _rounded(confidence[k], 4)] for k in valid.tolist()
        },
        "joints_3d": {KEYPOINT_NAMES[k]: _rounded(joints_3d[k], 5) for k in valid.tolist()},
    }


def _rounded(values: Array | float, decimals: int) -> Any:
    """A plain Python number, or a list of them."""
    return np.round(np.asarray(values, float), decimals).tolist()


def indented(document: dict[str, Any]) -> bytes:
    """A JSON file with one line an entry, but a list of numbers on one line."""
    return (_indented(document) + "\n").encode()


def _indented(value: object, margin: str = "\n") -> str:
    inner = margin + " "
    if isinstance(value, dict) and value:
        rows = (f"{json.dumps(key)}: {_indented(entry, inner)}" for key, entry in value.items())
        return "{" + ",".join(inner + row for row in rows) + margin + "}"
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "[" + ",".join(inner + _indented(entry, inner) for entry in value) + margin + "]"
    return json.dumps(value, allow_nan=False)
