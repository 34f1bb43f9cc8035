"""3DPW, as prepared for ExPose: 14 joints of people in outdoor videos, SMPL-X meshes where the user has them (Table 1).

Errors of frames are those of the field; acceleration error and jitter follow each person through consecutive frames.
"""

import re
from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from openexpose.data.arrays import read_npz
from openexpose.data.sample import Sample
from openexpose.data.scans import read_threedpw
from openexpose.errors import InputError
from openexpose.evaluation import metrics as compute
from openexpose.evaluation.protocols.published import PUBLISHED
from openexpose.evaluation.protocols.whole import Truth, body_joints, choose_metrics, measure_whole
from openexpose.evaluation.record import Measured, Mesh, Metric, Prediction, Protocol, Result, Subject
from openexpose.evaluation.tables import LSP14_NAMES, Tables

Array = np.ndarray

_NAME = "3dpw"
_FPS = 30.0
_FRAME_METRICS = choose_metrics(
    *("MPJPE body", "PA-MPJPE body", "MPJPE 12 limb joints", "PA-MPJPE 12 limb joints"),
    *("PA-V2V body", "PA-V2V all", "PVE"),
)
ACCELERATION = Metric(
    "acceleration error",
    "mm/frame2",
    "Mean length of the difference of predicted and true acceleration (second differences of the pelvis-aligned "
    "joints, a frame apart; papers call this unit mm/s2).",
)
JITTER = Metric(
    "jitter",
    "m/s3",
    "Mean length of the jerk (third differences) of the predicted, pelvis-aligned joints at 30 frames a second, "
    "whatever the truth does; papers print a tenth of it.",
)
_SPLITS = {"train": "train", "val": "validation", "test": "test"}


def protocol(data: Path, *, tables: Tables, split: str | None = None) -> Protocol:
    """3DPW's split ``test`` (or ``val``, ``train``).

    Files: ``smplx_npz_data/3dpw_test.npz`` with ``img_paths``, ``keypoints2d``, ``joints3d`` [n, >= 14, 3] (metres,
    camera's axes, order of LSP), ``center``, ``scale``, ``pid``, optional ``cam_intrinsics`` [n, 3, 3]; pictures
    ``imageFiles/<sequence>/image_00000.jpg``; optional true meshes ``smplx_vertices/000000.npy`` [10475, 3] (or in a
    subfolder named ``test``), numbered like the rows.

    Args:
        data: the folder.
        tables: the user's; SMPL-X meshes need the regressor of the 14 joints.
        split: ``test`` if None.

    Raises:
        InputError: a file is missing or broken.
    """
    split = split or "test"
    reading = read_threedpw(data, split)
    rows = _read_rows(data, split)
    numbers = {sample.name: rows.number(sample) for sample in reading.samples}
    meshes = _mesh_files(data, split)
    subjects = [_subject(sample, rows, numbers[sample.name], meshes, tables) for sample in reading.samples]
    tracks = _tracks(subjects)

    def measure(subject: Subject, prediction: Prediction | None) -> Measured:
        if prediction is None:
            return Measured({})
        mesh = subject.mesh() if subject.mesh is not None else None
        truth = Truth(mesh, subject.joints_m, subject.joint_names, together=False)
        values = measure_whole(truth, prediction, tables, _FRAME_METRICS)
        pair = body_joints(truth, prediction, tables)
        centred = None if pair is None else np.stack([side - side[[2, 3]].mean(0) for side in pair]).astype(np.float32)
        return Measured(values, kept=centred)

    with_mesh = sum(subject.mesh is not None for subject in subjects)
    return Protocol(
        name=_NAME,
        title="3DPW: people in the wild",
        metrics=(*_FRAME_METRICS, ACCELERATION, JITTER),
        headline="PA-MPJPE body" if tables.j14 is not None else "PA-MPJPE 12 limb joints",
        notes=(
            f"3DPW, split {split}: 14 joints of LSP as labelled; predicted ones as the system names them, else from "
            "its SMPL-X mesh (SMPLX_to_J14); of other bodies the 12 limb joints, which lie a little elsewhere.",
            "Boxes: the data set's own (center, scale).",
            f"True meshes (SMPL-X, converted from 3DPW's SMPL fits) of {with_mesh} of {len(subjects)} people: V2V and "
            "PVE are measured on these.",
            _track_note(tracks),
            *tables.notes,
        ),
        subjects=subjects,
        measure=measure,
        skipped={sentence.partition(": ")[0]: sentence for sentence in reading.skipped},
        finish=partial(_add_motion, tracks),
        published=tuple(PUBLISHED.get(_NAME, ())),
    )


@dataclass(frozen=True, eq=False)
class _Rows:
    """What the prepared file says of each person."""

    by_key: dict[tuple[str, str, int], int]
    joints14: Float[Array, "n 14 3"]
    focal_px: Float[Array, "n"] | None

    def number(self, sample: Sample) -> int:
        """The row of a sample, whose picture may have another ending than in the file."""
        *_, sequence, image, person = sample.name.split("/")
        return self.by_key[sequence, Path(image).stem, int(person)]


def _read_rows(data: Path, split: str) -> _Rows:
    file = f"3dpw_{_SPLITS[split]}.npz"
    path = next(path for place in ("smplx_npz_data", "npz_data", "") if (path := data / place / file).is_file())
    shapes: dict[str, Any] = {"img_paths": (None,), "joints3d": (None, None, 3), "pid": (None,)}
    held = read_npz(path, shapes, {"cam_intrinsics": (None, 3, 3)})
    names = [Path(str(name).replace("\\", "/")) for name in held["img_paths"]]
    keys = [(name.parent.name, name.stem, int(pid)) for name, pid in zip(names, held["pid"], strict=True)]
    if len(set(keys)) < len(keys):
        double = next(key for k, key in enumerate(keys) if key in keys[:k])
        raise InputError(f"'{path}' with person {double} twice", "one row a picture and person")
    cameras = held.get("cam_intrinsics")
    return _Rows(
        {key: row for row, key in enumerate(keys)},
        held["joints3d"][:, :14].astype(float),
        None if cameras is None else cameras[:, 0, 0].astype(float),
    )


def _subject(sample: Sample, rows: _Rows, row: int, meshes: dict[int, Path], tables: Tables) -> Subject:
    *_, sequence, image, person = sample.name.split("/")
    digits = re.search(r"(\d+)$", Path(image).stem)
    focal = None if rows.focal_px is None else float(rows.focal_px[row])
    return Subject(
        name=sample.name,
        group=_NAME,
        image=sample.image,
        box_xyxy_px=sample.box_xyxy_px,
        focal_px=focal if focal is not None and np.isfinite(focal) and focal > 0 else None,
        keypoints_px={"all": sample.keypoints_px},
        joints_m=rows.joints14[row],
        joint_names=LSP14_NAMES,
        mesh=partial(_read_mesh, meshes[row], tables) if row in meshes else None,
        frame=(f"{sequence}/{person}", int(digits[1])) if digits else None,
    )


def _mesh_files(data: Path, split: str) -> dict[int, Path]:
    """Files of vertices by row."""
    inside = [data / "smplx_vertices" / name for name in (split, _SPLITS[split], f"3dpw_{_SPLITS[split]}", "")]
    files = next((found for place in inside if (found := list(place.glob("*.npy")))), [])
    return {int(path.stem): path for path in files if path.stem.isdecimal()}


def _read_mesh(path: Path, tables: Tables) -> Mesh:
    try:
        vertices = np.asarray(np.load(path, allow_pickle=False), float).reshape(-1, 3)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"'{path}', which does not read ({error})", "an npy file of vertices [v, 3]") from None
    cloud = Mesh(vertices, np.zeros((0, 3), int))
    faces = tables.faces(cloud.topology)
    return cloud if faces is None else Mesh(vertices, faces)


def _tracks(subjects: list[Subject]) -> dict[str, list[list[str]]]:
    """Subjects of each track in runs of consecutive frames, at least three long."""
    frames: dict[str, dict[int, str]] = defaultdict(dict)
    for subject in subjects:
        if subject.frame is not None:
            frames[subject.frame[0]][subject.frame[1]] = subject.name
    tracks: dict[str, list[list[str]]] = {}
    for track, named in frames.items():
        numbers = np.array(sorted(named))
        runs = np.split(numbers, np.flatnonzero(np.diff(numbers) != 1) + 1)
        kept = [[named[int(number)] for number in run] for run in runs if len(run) >= 3]
        if kept:
            tracks[track] = kept
    return tracks


def _track_note(tracks: dict[str, list[list[str]]]) -> str:
    if not tracks:
        return "No consecutive frames: acceleration error and jitter are not measured."
    frames = sum(len(run) for runs in tracks.values() for run in runs)
    return (
        f"Acceleration error and jitter along {len(tracks)} tracks, {frames} consecutive frames, joints relative "
        "to the pelvis; the interval resamples tracks."
    )


def _add_motion(tracks: dict[str, list[list[str]]], result: Result) -> None:
    """Add values along tracks: one subject a track, one entry a frame, NaN where a frame has no answer."""
    for track, runs in tracks.items():
        values: dict[str, list[Array]] = {ACCELERATION.name: [], JITTER.name: []}
        for run in runs:
            count = min((result.kept[name].shape[1] for name in run if name in result.kept), default=14)
            absent = np.full((2, count, 3), np.nan)  # the first 12 of the 14 are the limbs
            pairs = np.stack([result.kept.get(name, absent)[:, :count] for name in run]).astype(float)
            values[ACCELERATION.name].append(1000.0 * _motion(pairs, 3))
            values[JITTER.name].append(_motion(pairs, 4))
        for metric, arrays in values.items():
            found = np.concatenate(arrays)
            if np.isfinite(found).any():
                result.values.setdefault((metric, _NAME), {})[f"{_NAME}/track/{track}"] = found


def _motion(pairs: Float[Array, "t 2 n 3"], frames: int) -> Float[Array, "k"]:
    """Acceleration error (windows of 3 frames) or jitter (of 4); NaN for windows with a frame that is not there."""
    windows = len(pairs) - frames + 1
    values = np.full(max(windows, 0), np.nan)
    for start in range(windows):
        part = pairs[start : start + frames]
        if np.isfinite(part).all():
            predicted, true = part[:, 0], part[:, 1]
            error = compute.acceleration_errors(predicted, true) if frames == 3 else compute.jitter(predicted, fps=_FPS)
            values[start] = error[0]
    return values
