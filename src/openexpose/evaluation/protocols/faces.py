"""HELEN and 300-W: faces in pictures with 68 landmarks, measured by the normalised mean error (NME)."""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float

from openexpose.body.keypoints import IBUG68, KEYPOINT_NAMES
from openexpose.errors import InputError
from openexpose.evaluation.planar import area_under_curve, contour_error, face_error, face_errors_68, failure_rate
from openexpose.evaluation.record import Measured, Metric, Prediction, Protocol, Subject
from openexpose.evaluation.tables import Tables
from openexpose.image.read import IMAGE_SUFFIXES

Array = np.ndarray

LANDMARKS = 68
FAILURE = 0.1
"""Mean error, over the distance of the outer eye corners, above which a face has failed."""
SETS = ("helen", "lfpw", "ibug", "afw", "300w")
"""Data sets by names of folders."""
SPLITS = ("test", "train", "all")
GROUPS = {"common": ("helen", "lfpw"), "challenging": ("ibug",), "full": ("helen", "lfpw", "ibug")}
"""Rows of 300-W by the sets that they are made of."""
_TRAINING = ("trainset", "train", "training")
_FIRST_PIXEL = 0.5
"""A .pts file calls the centre of the first pixel (1, 1), which lies at (0.5, 0.5) here."""

_OVER = "over the distance of the outer eye corners"
METRICS = (
    Metric("NME inner 51", "%", f"Mean distance of the 51 landmarks inside the contour, {_OVER}."),
    Metric("NME contour 17", "%", f"Mean distance of the 17 landmarks along the contour, {_OVER}."),
    Metric(
        "NME 68",
        "%",
        f"Mean distance of all 68 landmarks, {_OVER} (inter-ocular NME of 300-W).",
        entries=tuple(KEYPOINT_NAMES[k] for k in IBUG68),
    ),
    Metric("failure rate 10 %", "%", "Faces whose NME 68 is above 10 %; a face without an answer has failed."),
    Metric(
        "AUC 10 %",
        "%",
        "Area under the curve 'faces with at most this NME 68' from 0 to 10 %; without an answer 0.",
        more_is_better=True,
    ),
)


def protocol(data: Path, *, tables: Tables, split: str | None = None) -> Protocol:
    """Faces with 68 landmarks (iBUG's order): HELEN, 300-W, or any folder of the kind.

    Files: pictures with a ``.pts`` file of the same name beside them, in any depth. Folders called ``helen``, ``lfpw``,
    ``ibug``, ``afw``, ``300w`` name the set. Where HELEN, LFPW and iBUG are all there, they are also grouped as in
    300-W's protocol (:data:`GROUPS`).

    Args:
        data: the folder.
        tables: not needed.
        split: ``test`` (the default) leaves folders called ``trainset`` (or ``train``, ``training``) and AFW out, as
            300-W's protocol does, unless nothing else is there; ``train`` takes these alone; ``all`` takes everything.

    Raises:
        InputError: no such split, or no landmark files.
    """
    split = split or "test"
    if split not in SPLITS:
        raise InputError(f"the split {split!r} of faces", f"one of {', '.join(SPLITS)}")
    paths = sorted(path for path in data.rglob("*") if path.suffix.lower() == ".pts")
    if not paths:
        raise InputError(f"no landmark files in '{data}'", "pictures with .pts files of the same names beside them")
    chosen = [path for path in paths if split == "all" or _for_training(path, data) == (split == "train")]
    notes = []
    if not chosen and split == "test":
        chosen = paths
        notes.append("Only training pictures are here: measured on these.")
    elif len(chosen) < len(paths):
        notes.append(f"Split '{split}': {len(paths) - len(chosen)} of {len(paths)} faces belong to the other one.")
    subjects, skipped = [], {}
    for path in chosen:
        name = f"faces/{path.relative_to(data).with_suffix('').as_posix()}"
        try:
            subjects.append(_subject(name, path, data))
        except InputError as error:
            skipped[name] = str(error)
    sets = {subject.group for subject in subjects}
    groups = GROUPS if sets >= set(GROUPS["full"]) else {}
    if groups:
        notes.append("300-W's groups: common = HELEN and LFPW, challenging = iBUG, full = both.")
    return Protocol(
        name="faces",
        title="Faces alone: 68 landmarks (HELEN, 300-W)",
        metrics=METRICS,
        headline="NME 68",
        notes=(
            "Part network of the face alone, box: the tight box around the 68 true landmarks (no detector).",
            "Predicted landmarks are the model's own 68, projected; those of the contour lie on the turned mesh.",
            *notes,
        ),
        subjects=subjects,
        measure=partial(_measure, all_groups=groups),
        skipped=skipped,
        whole=False,
    )


def read_pts(path: Path) -> Float[Array, "n 2"]:
    """Read landmarks from a ``.pts`` file (``version``, ``n_points``, points between braces), in pixels.

    The file counts from 1 (Matlab); what is returned counts as the project does: the first pixel's centre is at 0.5.

    Raises:
        InputError: no such file, no braces, another number of points than it says, or some that are no numbers.
    """
    expected = "a .pts file: version, n_points: 68, then 'x y' in rows between braces"
    try:
        text = path.read_text("utf-8")
        head, _, rest = text.partition("{")
        body, end, _ = rest.partition("}")
        points = np.array([row.split()[:2] for row in body.splitlines() if row.strip()], float)
        told = [line.partition(":")[2] for line in head.splitlines() if line.strip().lower().startswith("n_points")]
        count = int(told[0]) if told else len(points)
    except (OSError, ValueError) as error:
        raise InputError(f"'{path}', which does not read as landmarks ({error})", expected) from None
    if not end or points.shape != (count, 2) or not np.isfinite(points).all():
        raise InputError(f"'{path}' with landmarks of shape {points.shape}, {count} announced", expected)
    return points - 1.0 + _FIRST_PIXEL


def _subject(name: str, path: Path, data: Path) -> Subject:
    points = read_pts(path)
    if len(points) != LANDMARKS:
        raise InputError(f"{len(points)} landmarks", f"{LANDMARKS} in iBUG's order")
    low, high = points.min(0), points.max(0)
    if not (high > low).all():
        raise InputError("landmarks in one place", "a face")
    return Subject(
        name,
        _set(path, data),
        _picture(path),
        np.concatenate([low, high]),
        part="face",
        keypoints_px={"face": np.concatenate([points, np.ones((LANDMARKS, 1))], 1)},
    )


def _picture(path: Path) -> Path:
    beside = (path.with_suffix(made) for suffix in sorted(IMAGE_SUFFIXES) for made in (suffix, suffix.upper()))
    found = next((picture for picture in beside if picture.is_file()), None)
    if found is None:
        raise InputError("landmarks without a picture", f"a picture called '{path.stem}' beside them")
    return found


def _folders(path: Path, data: Path) -> Iterator[str]:
    """Names of the folders around a file, the nearest first, up to the data folder itself."""
    for part in reversed(path.relative_to(data).parts[:-1]):
        yield part.lower()
    yield data.resolve().name.lower()


def _set(path: Path, data: Path) -> str:
    known = (name for folder in _folders(path, data) for name in SETS if folder.replace("-", "") == name)
    return next(known, "faces")


def _for_training(path: Path, data: Path) -> bool:
    return _set(path, data) == "afw" or any(folder in _TRAINING for folder in _folders(path, data))


def _measure(subject: Subject, prediction: Prediction | None, all_groups: Mapping[str, tuple[str, ...]]) -> Measured:
    labelled = subject.keypoints_px["face"]
    rows = tuple(group for group, sets in all_groups.items() if subject.group in sets)
    groups = {metric.name: rows for metric in METRICS}
    if prediction is None:
        return Measured({"failure rate 10 %": np.array([100.0]), "AUC 10 %": np.array([0.0])}, groups)
    if prediction.keypoints_px is None or not np.isfinite(prediction.keypoints_px[IBUG68]).all():
        raise InputError("an answer without the 68 landmarks of the face in the picture", "all of them, in pixels")
    predicted = prediction.keypoints_px[IBUG68]
    errors = face_errors_68(predicted, labelled)
    values = {
        "NME inner 51": face_error(predicted, labelled),
        "NME contour 17": contour_error(predicted, labelled),
        "NME 68": errors,
        "failure rate 10 %": failure_rate([errors.mean()], FAILURE),
        "AUC 10 %": area_under_curve([errors.mean()], FAILURE),
    }
    return Measured({k: 100.0 * np.atleast_1d(v) for k, v in values.items() if v is not None}, groups)
