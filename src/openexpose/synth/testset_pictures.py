"""Pictures of the frozen test set: rendered from its numbers, compared with the frozen thumbnails, written as a folder.

The folder holds ``images/0000.jpg`` ..., ``truth.npz`` (:meth:`openexpose.synth.testset.FrozenPeople.truth`, and
``rendered``: whether the picture was made), ``boxes.json`` (for ``openexpose predict --boxes``), ``table.csv`` and
``README.md``.
"""

import io
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
from jaxtyping import Float, UInt8
from PIL.TiffImagePlugin import IFDRational

from openexpose.body.mesh import joint_transforms
from openexpose.body.model import load_body_model
from openexpose.errors import InputError
from openexpose.formats.atomic import check_writable, write_whole
from openexpose.synth.dataset import one_thread_each
from openexpose.synth.library import default_assets
from openexpose.synth.person import Person, Stage, build_stage, dressed_person
from openexpose.synth.picture import expose, sample_background
from openexpose.synth.raster import render
from openexpose.synth.scene import ALL, point_visibility
from openexpose.synth.shard_files import read_arrays
from openexpose.synth.testset import NAME, PEOPLE, FrozenPeople, TruePerson, appearance_rng, check_body, checked
from openexpose.synth.testset_folder import boxes_json, readme, table_csv
from openexpose.synth.testset_thumbnail import difference, thumbnail
from openexpose.synth.view import View

Array = np.ndarray

FILE = "test-v1.npz"
"""In the folder of assets."""
TOLERANCE = 3.0
"""Grey levels by which a picture's thumbnail may differ from the frozen one, mean absolute difference."""
_QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 95]
_EXIF, _FOCAL_LENGTH, _PLANE_X_RESOLUTION, _PLANE_UNIT, _MILLIMETRES = 0x8769, 0x920A, 0xA20E, 0xA210, 4
_PIXELS_IN_MM = 100


@dataclass(frozen=True, eq=False)
class Frozen:
    """The file of the frozen test set."""

    people: FrozenPeople
    thumbnails: UInt8[Array, "n 8 8 3"]


@dataclass(frozen=True, eq=False)
class Shot:
    """A picture of a person."""

    jpeg: bytes
    thumbnail: UInt8[Array, "8 8 3"]
    visibility: UInt8[Array, "144"]
    vertices_px: Float[Array, "v 2"]
    """Of the clothed body, pixels."""


def read_frozen(assets: Path | None = None) -> Frozen:
    """Read the frozen test set.

    Args:
        assets: folder of skins, cloths and backgrounds. Default: that of the checkout.

    Raises:
        InputError: no such file, or its numbers are not test-v1's.
    """
    path = (assets or default_assets()) / FILE
    expected = f"the numbers of {NAME}"
    arrays = read_arrays(path, expected, "Take the file from the repository.")
    missing = [f.name for f in fields(FrozenPeople) if f.name not in arrays]
    missing += [name for name in ("thumbnails",) if name not in arrays]
    if missing:
        raise InputError(f"{path} without {', '.join(missing)}", expected)
    people = checked(FrozenPeople(**{f.name: arrays[f.name] for f in fields(FrozenPeople)}), str(path))
    return Frozen(people, arrays["thumbnails"])


def make_testset(out: Path, *, count: int = PEOPLE, assets: Path | None = None, workers: int = 1) -> Iterator[Path]:
    """Make the folder of the test set; yields each picture when it is there. Right pictures of an earlier run are kept.

    Args:
        out: the folder.
        count: make the first so many pictures only, for trying out; the report of an evaluation says so.
        assets: see :func:`read_frozen`.
        workers: processes.

    Raises:
        InputError: a count that is not in 1..500, a folder that cannot be written to, missing or changed assets, or a
            picture that is not the frozen one.
    """
    if not 1 <= count <= PEOPLE or workers < 1:
        raise InputError(f"count {count}, workers {workers}", f"1 to {PEOPLE} pictures, one worker or more")
    frozen = read_frozen(assets)
    check_body(load_body_model())
    check_writable(out / "images")
    paths = [out / "images" / f"{k:04d}.jpg" for k in range(count)]
    missing = [k for k in range(count) if not _kept(paths[k], frozen, k)]
    yield from (path for k, path in enumerate(paths) if k not in missing)
    jpegs = _render(frozen.people, missing, assets, workers)
    yield from (_write(paths[k], jpeg, frozen, k) for k, jpeg in zip(missing, jpegs, strict=True))
    _write_labels(out, frozen.people, count)


def _render(people: FrozenPeople, indices: list[int], assets: Path | None, workers: int) -> Iterator[bytes]:
    """The JPEG files of people, in order."""
    if not indices:
        return
    rows, seeds = [people.person(k) for k in indices], people.appearance[indices].tolist()
    if workers == 1:
        cv2.setNumThreads(1)
        stage = build_stage(None, assets)
        yield from (shoot(stage, person, seed).jpeg for person, seed in zip(rows, seeds, strict=True))
        return
    with one_thread_each(), ProcessPoolExecutor(workers, get_context("spawn"), _start_worker, (assets,)) as pool:
        try:
            yield from pool.map(_work, rows, seeds)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def shoot(stage: Stage, person: TruePerson, appearance: int) -> Shot:
    """Draw a person as the numbers say; ``appearance``: the seed of everything that is not a label."""
    rng = appearance_rng(appearance)
    dressed = placed(stage, person, dressed_person(rng, stage, person.pose, person.betas, person.expression, mip=0))
    (width, height), side = person.image_size, max(person.image_size)
    view = View(np.eye(3), side / (2 * person.focal_px))
    background = sample_background(rng, stage.library, side)
    drawn = render(dressed.vertices, dressed.surface, dressed.light, 1 / view.half_side, background, shadow_size=side)
    rows, columns = slice((side - height) // 2, (side + height) // 2), slice((side - width) // 2, (side + width) // 2)
    outside = np.ones((side, side), bool)
    outside[rows, columns] = False
    image = expose(np.ascontiguousarray(drawn.image[rows, columns]), rng)
    jpeg = _with_focal_length(cv2.imencode(".jpg", image[..., ::-1], _QUALITY)[1].tobytes(), person.focal_px)
    seen = point_visibility(dressed, view, drawn.depth_m, outside, ALL)
    spots = (view.to_crop(dressed.vertices) + 1) * (side / 2) - [columns.start, rows.start]
    return Shot(jpeg, thumbnail(jpeg, person.image_size), seen, spots)


def placed(stage: Stage, person: TruePerson, dressed: Person) -> Person:
    """A dressed person where its translation says."""
    batch = person.pose[None], person.betas[None], person.expression[None]
    pelvis = joint_transforms(stage.model, *batch)[1][0, 0].astype(float)
    return dressed.moved(np.eye(3), dressed.joints[0], pelvis + person.transl)


def _with_focal_length(jpeg: bytes, focal_px: float) -> bytes:
    """A JPEG file with EXIF data: the focal length of a sensor that has 100 pixels in a millimetre."""
    exif = PIL.Image.Exif()
    exif.get_ifd(_EXIF)[_FOCAL_LENGTH] = IFDRational(round(focal_px * 100), 100 * _PIXELS_IN_MM)
    exif.get_ifd(_EXIF)[_PLANE_X_RESOLUTION] = IFDRational(_PIXELS_IN_MM, 1)
    exif.get_ifd(_EXIF)[_PLANE_UNIT] = _MILLIMETRES
    content = exif.tobytes()
    return jpeg[:2] + b"\xff\xe1" + (len(content) + 2).to_bytes(2, "big") + content + jpeg[2:]


_worker_stage: list[Stage] = []


def _start_worker(assets: Path | None) -> None:
    cv2.setNumThreads(1)
    _worker_stage.append(build_stage(None, assets))


def _work(person: TruePerson, appearance: int) -> bytes:
    return shoot(_worker_stage[0], person, appearance).jpeg


def _write(path: Path, jpeg: bytes, frozen: Frozen, index: int) -> Path:
    away = difference(thumbnail(jpeg, frozen.people.person(index).image_size), frozen.thumbnails[index])
    if away > TOLERANCE:
        raise InputError(
            f"picture {index:04d} that differs from {NAME}'s by {away:.1f} grey levels",
            f"at most {TOLERANCE:g}: the renderer or its assets have changed",
            f"Use the version of openexpose that {NAME} belongs to; a changed set needs a new name.",
        )
    write_whole(path, jpeg)
    return path


def _kept(path: Path, frozen: Frozen, index: int) -> bool:
    """Whether a picture of an earlier run is there and right."""
    size = frozen.people.person(index).image_size
    try:
        return difference(thumbnail(path.read_bytes(), size), frozen.thumbnails[index]) <= TOLERANCE
    except (OSError, InputError):
        return False


def _write_labels(out: Path, people: FrozenPeople, count: int) -> None:
    buffer = io.BytesIO()
    arrays: dict[str, Any] = people.truth() | {"rendered": np.arange(PEOPLE) < count}
    np.savez_compressed(buffer, **arrays)
    write_whole(out / "truth.npz", buffer.getvalue())
    rows = [people.person(k) for k in range(PEOPLE)]
    write_whole(out / "boxes.json", boxes_json(rows).encode())
    write_whole(out / "table.csv", table_csv(rows).encode())
    write_whole(out / "README.md", readme(rows, count).encode())
