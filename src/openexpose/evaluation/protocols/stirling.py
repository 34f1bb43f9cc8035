"""Stirling/ESRC 3D faces as in the FG2018 challenge (Feng et al. 2018): the distance of a neutral scan from a face.

Two sets of pictures of the same people, ``LQ`` (frames of videos) and ``HQ`` (photos); a scan and seven landmarks a
person. The paper's Table 4 reports mean, median and deviation over the scan points of all pictures of a set.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from openexpose.body.keypoints import IBUG68, KEYPOINT_NAMES
from openexpose.errors import InputError
from openexpose.evaluation.metrics import STIRLING_LANDMARKS, STIRLING_RADIUS, scan_distances
from openexpose.evaluation.protocols.published import PUBLISHED
from openexpose.evaluation.record import Derived, Measured, Mesh, Metric, Prediction, Protocol, Result, Subject
from openexpose.evaluation.statistics import bootstrap
from openexpose.evaluation.tables import Tables
from openexpose.image.read import IMAGE_SUFFIXES

Array = np.ndarray

SPLITS = ("LQ", "HQ")
LANDMARK_NAMES: tuple[str, ...] = tuple(KEYPOINT_NAMES[IBUG68[row]] for row in (36, 39, 42, 45, 33, 48, 54))
"""The seven landmarks of the scans among the 144 keypoints: eye corners from the right outer to the left outer one,
bottom of the nose, right and left corner of the mouth."""

_PICTURES = {"LQ": 1344, "HQ": 656}
"""How many the challenge has."""
_EYES_MM = (40.0, 200.0)
"""What the distance of outer eye corners may be in a scan in millimetres."""
_BIN_MM = 0.01
_BINS = 2500
"""Bins of the kept histogram; the last one takes all that is farther."""
_SUMS = 3
"""Numbers before the kept histogram."""

_ALIGNED = "scan points around the nose from the predicted surface, which is laid on the scan's seven landmarks"
METRICS = (
    Metric("scan-to-mesh mean", "mm", f"Distance of {_ALIGNED} by a similarity; over all points of all pictures."),
    Metric("scan-to-mesh median", "mm", "Median of the same distances over all points of all pictures."),
    Metric("scan-to-mesh std", "mm", "Standard deviation of the same distances over all points of all pictures."),
    Metric("picture's mean", "mm", "Mean of the same distances of one picture."),
    Metric("picture's median", "mm", "Median of the same distances of one picture."),
)


def protocol(data: Path, *, tables: Tables, split: str | None = None) -> Protocol:
    """The challenge's pictures with their scans.

    Files: ``Subset_2D_FG2018/{LQ,HQ}/<person>_*.jpg`` (or ``{LQ,HQ}`` right in the folder); anywhere in the folder
    ``<person>_N.obj`` (the neutral scan, millimetres; capitals do not matter) and ``<person>_N.lnd`` (or ``.txt``: the
    seven landmarks, a row ``number x y z`` each, in the order of
    :data:`~openexpose.evaluation.metrics.STIRLING_LANDMARKS`). Pictures of people without scan or landmarks are
    skipped and counted.

    Args:
        data: the data set's folder.
        tables: not needed; systems are measured with their whole surface.
        split: ``LQ`` or ``HQ``; None: both.

    Raises:
        InputError: no such split, no pictures, or no scans at all.
    """
    if split is not None and split.upper() not in SPLITS:
        raise InputError(f"the split {split!r} of Stirling/ESRC", f"one of {', '.join(SPLITS)}")
    folders = {name: _folder(data, name) for name in ((split.upper(),) if split else SPLITS)}
    found = {name: (folder, _pictures(folder)) for name, folder in folders.items() if folder is not None}
    if not any(pictures for _, pictures in found.values()):
        raise InputError(f"no pictures of faces in '{data}'", "Subset_2D_FG2018/LQ and HQ with JPEG or PNG files")
    scans = _by_stem(data, ".obj")
    landmarks = {**_by_stem(data, ".txt"), **_by_stem(data, ".lnd")}
    if not scans or not landmarks:
        missing = "scans (*_N.obj)" if not scans else "landmarks (*_N.lnd)"
        fix = "Scans come from the data set's site, landmarks from the challenge's repository; put both in the folder."
        raise InputError(f"no {missing} in '{data}'", "<person>_N.obj and <person>_N.lnd", fix)
    subjects, skipped = [], {}
    for group, (folder, pictures) in found.items():
        for picture in pictures:
            name = f"stirling/{group}/{picture.relative_to(folder).with_suffix('').as_posix()}"
            try:
                subjects.append(_subject(name, group, picture, scans, landmarks))
            except InputError as error:
                skipped[name] = str(error)
    groups = {subject.name: subject.group for subject in subjects}
    return Protocol(
        name="stirling",
        title="Stirling/ESRC (FG2018): faces alone against neutral scans",
        metrics=METRICS,
        headline="picture's mean",
        notes=(
            "Part network of the face alone, box: the whole picture.",
            "Alignment: similarity of seven landmarks (eye corners, bottom of the nose, corners of the mouth), without"
            " refinement; predicted ones are the model's own of iBUG's.",
            f"Measured: scan points within {STIRLING_RADIUS:g} x (outer eye distance + nose length) / 2 of the middle"
            " of the face (Feng et al. 2018); distance from the nearest point of the whole predicted surface.",
            "Scans and pictures are of neutral faces: an expression in the prediction counts as an error.",
            "What mmhuman3d calls 3DRMSE is the mean over pictures of each picture's mean: picture's mean here.",
            *(
                f"Only {len(pictures)} of the {_PICTURES[group]} pictures of {group} are here."
                for group, (_, pictures) in found.items()
                if len(pictures) < _PICTURES[group]
            ),
            "Intervals: bootstrap over pictures; pictures of one person are not independent.",
        ),
        subjects=subjects,
        measure=_measure,
        skipped=skipped,
        finish=partial(_finish, groups=groups),
        published=tuple(p for p in PUBLISHED.get("stirling", ()) if p.group in found),
        whole=False,
    )


def read_landmarks(path: Path) -> Float[Array, "7 3"]:
    """Read a scan's seven landmarks, millimetres: rows ``number x y z`` (or ``x y z``).

    Raises:
        InputError: no such file, or other content; eye corners whose distance is no human's in millimetres.
    """
    expected = f"seven rows 'number x y z': {', '.join(STIRLING_LANDMARKS)}"
    try:
        rows = [line.split() for line in path.read_text("utf-8").splitlines() if line.strip()]
        points = np.array([row[-3:] for row in rows], float)
    except (OSError, ValueError) as error:
        raise InputError(f"'{path}', which does not read as landmarks ({error})", expected) from None
    if points.shape != (7, 3) or not np.isfinite(points).all():
        raise InputError(f"'{path}' with landmarks of shape {points.shape}", expected)
    eyes = float(np.linalg.norm(points[0] - points[3]))
    if not _EYES_MM[0] < eyes < _EYES_MM[1]:
        raise InputError(f"'{path}' with eyes {eyes:.3g} mm apart", "the scan's landmarks in millimetres")
    return points


def read_scan(path: Path) -> Float[Array, "s 3"]:
    """Read the vertices of a scan (Wavefront OBJ), in the file's unit.

    Raises:
        InputError: no such file, no vertices, or some that are no numbers.
    """
    try:
        with path.open("rb") as file:
            rows = [line.split()[1:4] for line in file if line.startswith(b"v ")]
        vertices = np.array(rows, float)
    except (OSError, ValueError) as error:
        raise InputError(f"'{path}', which does not read ({error})", "an OBJ file") from None
    if vertices.ndim != 2 or vertices.shape[1] != 3:
        raise InputError(f"'{path}' without vertices", "an OBJ file with rows 'v x y z'")
    return vertices


def _folder(data: Path, name: str) -> Path | None:
    inside = (data / "Subset_2D_FG2018" / name, data / name)
    return next((folder for folder in inside if folder.is_dir()), None)


def _pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)


def _by_stem(data: Path, suffix: str) -> dict[str, Path]:
    return {path.stem.lower(): path for path in sorted(data.rglob("*")) if path.suffix.lower() == suffix}


def _subject(name: str, group: str, picture: Path, scans: dict[str, Path], landmarks: dict[str, Path]) -> Subject:
    person = f"{picture.stem.partition('_')[0]}_N"
    for kind, files in (("scan", scans), ("landmarks", landmarks)):
        if person.lower() not in files:
            suffix = "obj" if files is scans else "lnd"
            raise InputError(f"a picture of a person without a {kind} file", f"'{person}.{suffix}'")
    points_m = read_landmarks(landmarks[person.lower()]) / 1000.0
    return Subject(
        name, group, picture, part="face", mesh=partial(_scan_m, scans[person.lower()]), landmarks_m=points_m
    )


@lru_cache(maxsize=4)  # pictures of a person follow each other
def _scan_m(path: Path) -> Mesh:
    return Mesh(read_scan(path) / 1000.0, np.zeros((0, 3), int))


def _measure(subject: Subject, prediction: Prediction | None) -> Measured:
    if prediction is None or subject.mesh is None or subject.landmarks_m is None:
        return Measured({})
    landmarks = prediction.joints(LANDMARK_NAMES)
    if prediction.mesh is None or not len(prediction.mesh.faces):
        raise InputError("an answer without a surface", "a mesh with triangles")
    if landmarks is None:
        fix = "Give them with their names beside the mesh."
        raise InputError("a face without the landmarks to align it by", ", ".join(LANDMARK_NAMES), fix)
    mesh = prediction.mesh
    distances_mm = 1000.0 * scan_distances(
        subject.mesh().vertices_m, subject.landmarks_m, mesh.vertices_m, mesh.faces, landmarks
    )
    values = {
        "picture's mean": np.array([distances_mm.mean()]),
        "picture's median": np.array([np.median(distances_mm)]),
    }
    return Measured(values, kept=_sums(distances_mm))


def _sums(distances_mm: Float[Array, "k"]) -> Float[Array, "b"]:
    """Number, sum and sum of squares of the distances, then their histogram."""
    bins = np.minimum((distances_mm / _BIN_MM).astype(int), _BINS - 1)
    sums = [len(distances_mm), distances_mm.sum(), (distances_mm**2).sum()]
    return np.concatenate([sums, np.bincount(bins, minlength=_BINS)])


def _finish(result: Result, groups: dict[str, str]) -> None:
    """Add mean, median and deviation over all points of a group's pictures."""
    for group in dict.fromkeys(groups.values()):
        kept = [sums for name, sums in result.kept.items() if groups[name] == group]
        if not kept:
            continue
        stacked = np.stack(kept)
        for metric, total in zip(METRICS, (_mean, _median, _deviation), strict=False):
            needed = stacked if total is _median else stacked[:, :_SUMS]
            low, high = bootstrap(len(needed), partial(_of_drawn, needed, total))
            value = total(needed.sum(0))
            result.derived.append(Derived(metric.name, group, value, low, high, len(stacked)))


def _of_drawn(
    stacked: Float[Array, "n b"], total: Callable[[Float[Array, "b"]], float], chosen: Int[Array, " n"]
) -> float:
    return total(np.bincount(chosen, minlength=len(stacked)) @ stacked)


def _mean(sums: Float[Array, "b"]) -> float:
    return float(sums[1] / sums[0])


def _deviation(sums: Float[Array, "b"]) -> float:
    return float(np.sqrt(max(0.0, sums[2] / sums[0] - (sums[1] / sums[0]) ** 2)))


def _median(sums: Float[Array, "b"]) -> float:
    """The median, interpolated within its bin; NaN if it lies beyond the histogram."""
    counts = sums[_SUMS:]
    before = np.cumsum(counts)
    at = int(np.searchsorted(before, before[-1] / 2.0))
    if at == _BINS - 1:
        return float("nan")
    inside = (before[-1] / 2.0 - (before[at] - counts[at])) / counts[at]
    return float((at + inside) * _BIN_MM)
