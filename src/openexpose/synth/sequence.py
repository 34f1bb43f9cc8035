"""Rendered video: several people who walk, gesture and exercise, with exact truth; written to and read from a folder.

A sequence is a folder ``video-<seed>-<number>`` that appears whole: ``frames/000000.jpg`` ..., ``person_1.npz`` ...
(native track files with what is seen of the person beside it) and ``truth.json``, which says what happens.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from threadpoolctl import threadpool_limits

from openexpose.body.keypoints import KEYPOINT_NAMES, PARTS
from openexpose.body.mesh import keypoints
from openexpose.errors import InputError
from openexpose.formats.atomic import check_writable, write_whole
from openexpose.formats.native import indented, read_arrays, write_arrays
from openexpose.formats.tracks import read_motion, write_track
from openexpose.geometry.boxes import crop_from_boxes
from openexpose.geometry.camera import fit_weak, project_perspective, view_rotation
from openexpose.motion import Clip, Motion, Track
from openexpose.people import PART_NAMES, People
from openexpose.synth.dataset import one_thread_each
from openexpose.synth.digest import body_digest
from openexpose.synth.person import Stage, build_stage
from openexpose.synth.sequence_film import SequenceJob, sample_film
from openexpose.synth.sequence_render import Film, Seen, encoded, shoot
from openexpose.synth.sequence_visibility import Shares, hidings, stacked

__all__ = ["Sequence", "SequenceJob", "make_sequence", "read_sequence"]

Array = np.ndarray

_FILE = "truth.json"
_CROP_SCALE = 1.2
_LABELS = (
    "visible_share", "hidden_by_people", "hidden_by_things", "outside", "box_visible_xyxy", "joints_2d", "joints_3d",
    "joint_visibility", "feet_planted",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Labels:
    """What is seen of one person; the first axis is the frames of the track.

    Attributes:
        visible_share, hidden_by_people, hidden_by_things, outside: of the person's silhouette; they add up to 1.
        box_visible_xyxy: around what is seen, pixels; zeros if nothing is. (The whole person's box, which may reach
            beyond the picture, is ``bbox_xyxy`` of the track's people.)
        joints_2d, joints_3d: 144 keypoints; pixels; metres, camera frame.
        joint_visibility: 0 outside the picture or behind others or things, 1 behind the own body, 2 seen.
        feet_planted: whether the left and the right foot stand on the floor.
    """

    visible_share: Float[Array, "n"]
    hidden_by_people: Float[Array, "n"]
    hidden_by_things: Float[Array, "n"]
    outside: Float[Array, "n"]
    box_visible_xyxy: Float[Array, "n 4"]
    joints_2d: Float[Array, "n 144 2"]
    joints_3d: Float[Array, "n 144 3"]
    joint_visibility: UInt8[Array, "n 144"]
    feet_planted: Array


@dataclass(frozen=True, eq=False)
class Sequence:
    """A sequence that was read: pictures and truth.

    Attributes:
        name: of the folder. frames: the pictures, in order; their times are ``motion.clip.times_s``.
        motion: everybody in every frame, seen or not; tracks 1, 2, ...
        labels: of each track, by its id. about: what ``truth.json`` says, with ``events`` and ``moves``.
    """

    name: str
    frames: tuple[Path, ...]
    motion: Motion
    labels: Mapping[int, Labels]
    about: Mapping[str, Any]


def make_sequence(
    job: SequenceJob, out: Path, *, body: Path | None = None, assets: Path | None = None, workers: int = 1
) -> Iterator[int]:
    """Render a sequence into ``out/<name>``; yields the number of each finished frame. A finished sequence is kept.

    Args:
        out: folder of the sequences. body, assets: as :func:`openexpose.synth.person.build_stage`.
        workers: processes that render.

    Raises:
        InputError: the folder cannot be written to, assets are missing, or the job has no room for crossings.
    """
    folder = out / job.name
    if (folder / _FILE).is_file():
        yield from range(len(job.times_s))
        return
    check_writable(out)
    part = out / f".{job.name}.part"
    shutil.rmtree(part, ignore_errors=True)
    (part / "frames").mkdir(parents=True)
    try:
        seen = []
        for number, (jpeg, row) in enumerate(_frames(job, body, assets, workers)):
            write_whole(part / "frames" / f"{number:06d}.jpg", jpeg)
            seen.append(row)
            yield number
        with threadpool_limits(1):
            stage, film = _film(job, body, assets)
            _write_truth(part, job, stage, film, seen)
        shutil.rmtree(folder, ignore_errors=True)
        part.replace(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def read_sequence(folder: Path) -> Sequence:
    """Read what :func:`make_sequence` wrote.

    Raises:
        InputError: no such folder, or files are missing or damaged.
    """
    expected, again = "a sequence of `openexpose synth --preset video`", "Render it again."
    try:
        about = json.loads((folder / _FILE).read_text())
        names, count = about["people"], int(about["frames"])
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"'{folder}' without a readable {_FILE}", expected) from None
    frames = tuple(folder / "frames" / f"{number:06d}.jpg" for number in range(count))
    missing = [path.name for path in frames if not path.is_file()]
    if missing:
        raise InputError(f"'{folder}' without {len(missing)} of its frames ({missing[0]} ...)", expected, again)
    paths = [folder / str(person["file"]) for person in names]
    motion = read_motion(paths)
    labels = {}
    for track, path in zip(motion.tracks, paths, strict=True):
        arrays = read_arrays(path)
        lacking = [name for name in _LABELS if name not in arrays]
        if lacking:
            raise InputError(f"'{path}' without {', '.join(lacking)}", expected, again)
        labels[track.id] = Labels(**{name: arrays[name] for name in _LABELS})
    return Sequence(folder.name, frames, motion, labels, about)


def _frames(job: SequenceJob, body: Path | None, assets: Path | None, workers: int) -> Iterator[tuple[bytes, Seen]]:
    """JPEG and truth of every frame, in order."""
    numbers = range(len(job.times_s))
    if workers == 1:
        cv2.setNumThreads(1)
        for number in numbers:
            yield _shot(job, body, assets, number)
        return
    with one_thread_each(), ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        try:
            words = ([word] * len(numbers) for word in (job, body, assets))
            yield from pool.map(_shot, *words, numbers, chunksize=5)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _shot(job: SequenceJob, body: Path | None, assets: Path | None, number: int) -> tuple[bytes, Seen]:
    cv2.setNumThreads(1)
    with threadpool_limits(1):  # sums in the same order, whatever the processes
        stage, film = _film(job, body, assets)
        image, seen = shoot(stage, film, number, _noise_seed(job, number))
        return encoded(image), seen


def _noise_seed(job: SequenceJob, number: int) -> int:
    return int(np.random.SeedSequence([job.seed, 4, job.number, number]).generate_state(1)[0])


@lru_cache(maxsize=1)
def _film(job: SequenceJob, body: Path | None, assets: Path | None) -> tuple[Stage, Film]:
    stage = build_stage(body, assets)
    return stage, sample_film(job, stage)


def _write_truth(folder: Path, job: SequenceJob, stage: Stage, film: Film, seen: list[Seen]) -> None:
    """Track files and ``truth.json``."""
    clip = Clip(job.name, job.times_s, float(job.fps))
    measured = stacked([row.shares for row in seen])
    for k in range(job.people):
        people, labels = _person(stage, film, job, seen, k)
        path = folder / f"person_{k + 1}.npz"
        write_track(path, clip, Track(k + 1, np.arange(len(seen)), people), focal_source="given")
        shown = {
            "visible_share": measured.visible, "hidden_by_people": measured.people,
            "hidden_by_things": measured.things, "outside": measured.outside,
        }  # fmt: skip
        arrays: dict[str, Any] = read_arrays(path)
        arrays |= labels | {name: column[:, k].astype(np.float32) for name, column in shown.items()}
        write_arrays(path, arrays)
    write_whole(folder / _FILE, indented(_about(job, stage, film, measured)))


def _person(stage: Stage, film: Film, job: SequenceJob, seen: list[Seen], k: int) -> tuple[People, dict[str, Array]]:
    """A person's row of every frame, and its labels."""
    count, camera, performance = len(seen), film.plan.camera, film.performances[k]
    column = lambda name: np.stack([getattr(row, name)[k] for row in seen])  # noqa: E731
    pose = performance.pose.copy()
    pose[:, 0] = column("orientation")
    betas = np.repeat(film.cast[k].betas[None], count, 0)
    transl, boxes = column("transl"), column("box_full")
    points = keypoints(stage.model, pose, betas, performance.expression).astype(float) + transl[:, None]
    principal = np.array([camera.width, camera.height]) / 2
    crop = crop_from_boxes(boxes, _CROP_SCALE)
    body = points[:, PARTS["body"]]
    spots = project_perspective(body, camera.focal_px, principal)
    weak = fit_weak((body - points[:, :1]) @ view_rotation(crop, camera.focal_px, principal), crop.from_image(spots))
    people = People(
        pose=pose.astype(np.float32),
        betas=betas.astype(np.float32),
        expression=performance.expression.astype(np.float32),
        transl=transl,
        score=np.ones(count),
        bbox_xyxy=boxes,
        part_confidence=np.ones((count, len(PART_NAMES))),
        joint_confidence=np.ones((count, len(KEYPOINT_NAMES))),
        crop_centre_px=crop.centre_px,
        crop_side_px=crop.side_px,
        crop_camera=weak,
        focal_px=camera.focal_px,
        principal_px=principal,
        image_size=job.image_size,
        body_model="freebody" if stage.is_free else "smplx",
    )
    labels = {
        "box_visible_xyxy": column("box_visible"),
        "joints_2d": column("joints_2d").astype(np.float32),
        "joints_3d": column("joints_3d").astype(np.float32),
        "joint_visibility": column("joint_visibility"),
        "feet_planted": performance.planted,
    }
    return people, labels


def _about(job: SequenceJob, stage: Stage, film: Film, measured: Shares) -> dict[str, Any]:
    """What ``truth.json`` says."""
    camera = film.plan.camera
    events: list[dict[str, Any]] = [
        {"track": h.person + 1, "hidden_by": h.cause, "start_s": h.start_s, "end_s": h.end_s}
        for h in hidings(measured, job.times_s)
    ]
    moves: list[dict[str, Any]] = [
        {"track": k + 1, "move": span.move, "start_s": span.start_s, "end_s": span.end_s, "hz": round(span.hz, 6),
         "side": ("left", "right")[span.side]}
        for k, script in enumerate(film.plan.scripts) for span in script.moves
    ]  # fmt: skip
    return {
        "preset": "video",
        "seed": job.seed,
        "number": job.number,
        "frames": len(job.times_s),
        "fps": job.fps,
        "image_size": list(job.image_size),
        "focal_px": camera.focal_px,
        "place": film.around.name,
        "body": body_digest(stage.model),
        "people": [{"track": k + 1, "file": f"person_{k + 1}.npz"} for k in range(job.people)],
        "floor": {
            "normal": camera.R_camera_world[:, 1].tolist(),
            "offset_m": float(-camera.R_camera_world[:, 1] @ camera.R_camera_world @ camera.position_m),
        },
        "events": events,
        "moves": [move for move in moves if move["start_s"] < job.seconds],
    }
