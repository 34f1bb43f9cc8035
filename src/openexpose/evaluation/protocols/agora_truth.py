"""AGORA's labelled pictures: tables ``*_withjv.pkl`` with everybody's joints and vertices (Patel et al., CVPR 2021).

The tables are pickles of pandas; they are read without pandas and without running anything in them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from jaxtyping import Float

from openexpose.data.gathering import check_folder
from openexpose.errors import InputError
from openexpose.evaluation.protocols.frame_pickle import read_frame
from openexpose.evaluation.record import TOPOLOGIES, Mesh
from openexpose.geometry.boxes import box_around

Array = np.ndarray

FULL_SIZE_PX = (3840, 2160)
"""Size of the pictures that all 2D labels are for; smaller copies are scaled."""
SMALL_ENDING = "_1280x720"
"""How the names of AGORA's small copies end."""
_OCCLUDED = 90.0
_NO_FACES = np.zeros((0, 3), int)
_JOINTS = {"smplx": 127, "smpl": 24}
_COLUMNS = ("imgPath", "isValid", "occlusion", "gt_joints_2d", "gt_joints_3d", "gt_verts")
_FOCAL_TOLERANCE_PX = 5.0


@dataclass(frozen=True, eq=False)
class Person:
    """Somebody in a picture, with what is true of them."""

    name: str
    joints_px: Float[Array, "n 2"]
    """Pixels of the full-size picture; SMPL-X's 127 or SMPL's 24 joints (or more)."""
    joints_m: Float[Array, "n 3"]
    """The same, axes of the camera, metres."""
    box_xyxy_px: Float[Array, "4"]
    """Around the vertices (joints, where the camera is unknown) inside the full-size picture."""
    valid: bool
    """Whether the person is to be found: the official flag, and at most 90 % occluded."""
    kid: bool
    mesh: Callable[[], Mesh]


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture and everybody in it."""

    name: str
    """The picture's name in the table, without extension."""
    image: Path
    people: tuple[Person, ...]
    focal_px: float | None
    """Of the full-size picture."""
    scale: float
    """Pixels of the file over pixels of the full-size picture."""
    topology: str
    """``smplx`` or ``smpl``."""


def read_pictures(data: Path, split: str | None = None) -> tuple[list[Picture], dict[str, str]]:
    """Read the tables of a split.

    Args:
        data: holds ``<split>_<number>_withjv.pkl`` (of SMPL-X or of SMPL, not both) and the pictures (PNG), in any
            depth.
        split: ``validation`` (default), ``train``; AGORA's test set has no public labels.

    Returns:
        the pictures, and people whose labels are broken with the reason. Of SMPL-X only the pictures of people with
        labelled hands and faces (``bfh`` in the name), if there are any.

    Raises:
        InputError: no such tables, both kinds, or tables that do not read or lack a column.
    """
    check_folder(data)
    wanted = split or "validation"
    paths = sorted(path for path in data.rglob("*_withjv.pkl") if path.name.startswith(wanted))
    if not paths:
        fix = "They come with AGORA: the Camera dataframes with joints and vertices."
        raise InputError(f"'{data}' without AGORA's tables of the split '{wanted}'", f"{wanted}_0_withjv.pkl ...", fix)
    files = {path.stem: path for path in sorted(data.rglob("*.png"))}
    skipped: dict[str, str] = {}
    pictures = [picture for path in paths for picture in _read_table(path, files, data, skipped)]
    topologies = {picture.topology for picture in pictures}
    if len(topologies) > 1:
        raise InputError(
            f"'{data}' with tables of {' and '.join(sorted(topologies))}", "one of them", "Name its folder."
        )
    detailed = [picture for picture in pictures if "bfh" in picture.name or "smplx" in picture.name]
    return (detailed if detailed and topologies == {"smplx"} else pictures), skipped


def _frame(path: Path) -> dict[str, list[Any]]:
    try:
        state = path.stat()
    except OSError as error:
        raise InputError(f"'{path}', which cannot be read ({error.strerror})", "AGORA's table") from None
    return _read_frame(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=1)
def _read_frame(path: Path, changed: int, size: int) -> dict[str, list[Any]]:
    """The last table is kept: people of one table follow each other."""
    frame = read_frame(path)
    absent = [column for column in _COLUMNS if column not in frame]
    if absent:
        expected = f"the columns {', '.join(_COLUMNS)}"
        raise InputError(f"'{path}' without {', '.join(absent)}", expected, "Take the table that ends on _withjv.pkl.")
    return frame


def _read_table(path: Path, files: Mapping[str, Path], data: Path, skipped: dict[str, str]) -> list[Picture]:
    frame = _frame(path)
    pictures = []
    for row, file in enumerate(frame["imgPath"]):
        stem = Path(str(file)).stem.removesuffix(SMALL_ENDING)
        people, counts = [], set()
        for k in range(np.size(frame["isValid"][row])):
            name = f"agora/{stem}/{k}"
            try:
                person, count = _person(name, path, frame, row, k)
            except (InputError, IndexError, TypeError, ValueError, AttributeError) as error:
                skipped[name] = str(error)
                continue
            people.append(person)
            counts.add(count)
        image = files.get(stem) or files.get(stem + SMALL_ENDING) or data / f"{stem}.png"
        if len(counts) > 1:
            raise InputError(f"'{path}' with people of {sorted(counts)} vertices in one picture", "one body model")
        if people:
            topology = TOPOLOGIES[counts.pop()]
            pictures.append(Picture(stem, image, tuple(people), _focal(people), _scale(image), topology))
    return pictures


def _person(name: str, path: Path, frame: Mapping[str, list[Any]], row: int, k: int) -> tuple[Person, int]:
    vertices = _points(frame["gt_verts"][row][k], 3, "gt_verts")
    topology = TOPOLOGIES.get(len(vertices))
    if topology not in _JOINTS:
        raise InputError(f"{len(vertices)} vertices", "SMPL-X's 10475 or SMPL's 6890")
    joints_m = _points(frame["gt_joints_3d"][row][k], 3, "gt_joints_3d")
    joints_px = _points(frame["gt_joints_2d"][row][k], 2, "gt_joints_2d")
    if min(len(joints_m), len(joints_px)) < _JOINTS[topology]:
        raise InputError(f"{len(joints_m)} and {len(joints_px)} joints", f"{_JOINTS[topology]} of {topology}")
    occlusion = float(frame["occlusion"][row][k])
    count = min(len(joints_m), len(joints_px))
    kid = frame["kid"][row][k] if "kid" in frame else False
    return (
        Person(
            name=name,
            joints_px=joints_px[:count],
            joints_m=joints_m[:count],
            box_xyxy_px=_box(joints_px[:count], joints_m[:count], vertices),
            valid=bool(frame["isValid"][row][k]) and 0.0 <= occlusion <= _OCCLUDED,
            kid=bool(kid),
            mesh=partial(_read_mesh, path, row, k),
        ),
        len(vertices),
    )


def _read_mesh(path: Path, row: int, k: int) -> Mesh:
    return Mesh(_points(_frame(path)["gt_verts"][row][k], 3, "gt_verts"), _NO_FACES)


def _points(value: Any, width: int, what: str) -> Float[Array, "n width"]:
    points = np.array(value, float).squeeze()
    if points.ndim != 2 or points.shape[1] != width or not np.isfinite(points).all():
        raise InputError(f"'{what}' of shape {points.shape}, or not finite", f"finite numbers of shape [n, {width}]")
    return points


def _focal_from(joints_px: Float[Array, "n 2"], joints_m: Float[Array, "n 3"]) -> float | None:
    """The focal length with which 3D joints project onto 2D ones, pixels; None if there is none."""
    if joints_m[:, 2].min() <= 0.0:
        return None
    offset, slope = joints_px - np.array(FULL_SIZE_PX) / 2.0, joints_m[:, :2] / joints_m[:, 2:]
    focal = float((offset * slope).sum() / max((slope**2).sum(), 1e-12))
    return focal if focal > 0.0 and np.abs(offset - focal * slope).max() < _FOCAL_TOLERANCE_PX else None


def _focal(people: list[Person]) -> float | None:
    joints_px, joints_m = (np.concatenate([getattr(p, key) for p in people]) for key in ("joints_px", "joints_m"))
    return _focal_from(joints_px, joints_m)


def _box(joints_px: Array, joints_m: Array, vertices_m: Array) -> Float[Array, "4"]:
    focal = _focal_from(joints_px, joints_m)
    points = joints_px
    if focal is not None and vertices_m[:, 2].min() > 0.0:
        points = focal * vertices_m[:, :2] / vertices_m[:, 2:] + np.array(FULL_SIZE_PX) / 2.0
    box = box_around(points)
    inside = np.clip(box, 0.0, [*FULL_SIZE_PX, *FULL_SIZE_PX])
    return inside if (inside[2:] > inside[:2]).all() else box


def _scale(image: Path) -> float:
    """1 where the picture cannot be read; predicting from it tells why."""
    try:
        with PIL.Image.open(image) as picture:
            return picture.width / FULL_SIZE_PX[0]
    except (OSError, ValueError, SyntaxError):
        return 1.0
