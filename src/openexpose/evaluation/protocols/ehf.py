"""EHF: 100 pictures of one person with SMPL-X meshes registered to scans (SMPLify-X, section 4.1; paper, Table 2)."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from openexpose.body.keypoints import KEYPOINT_NAMES
from openexpose.data.arrays import Shape, read_npz
from openexpose.data.safe_pickle import load_pickle
from openexpose.data.sample import Sample
from openexpose.data.scans import EHF_FOCAL_PX, EHF_ROTATION, EHF_TRANSLATION_M, read_ehf
from openexpose.errors import InputError
from openexpose.evaluation.protocols.published import PUBLISHED
from openexpose.evaluation.protocols.whole import WHOLE_METRICS, Truth, measure_whole
from openexpose.evaluation.record import Measured, Mesh, Prediction, Protocol, Subject
from openexpose.evaluation.tables import Tables

Array = np.ndarray

_NAME = "ehf"
_CAMERA, _SCANNER, _OWN = "camera's frame", "scanner's frame", "own origin, camera's axes"
_NEAR_M = 0.5
"""Joints whose mean is farther from that of the mesh in both frames have an origin of their own."""


def protocol(data: Path, *, tables: Tables, split: str | None = None) -> Protocol:
    """EHF, all 100 pictures.

    Files: ``images/*`` (or ``*_img.png`` right in the folder); the true meshes, in the scanner's frame,
    ``alignments/<stem>.pkl`` (key ``v`` [10475, 3], optional ``f``) or ``<stem>_align.ply``; optional OpenPose
    keypoints ``keypoints/<stem>_keypoints.json`` or ``<stem>_2Djnt.json``; optional ``gt_keyps.npz`` with
    ``gt_joints14`` [n, 14, 3], ``gt_keypoints_2d`` and ``gt_keypoints_3d`` [n, 144, .].

    Args:
        data: the folder.
        tables: the user's; without the 14 joints' regressor only limb joints are measured.
        split: there is none to choose.

    Raises:
        InputError: no pictures, no meshes, or files that do not belong together.
    """
    if split not in (None, "test"):
        raise InputError(f"the split {split!r} of EHF", "no split, or 'test'")
    reading = read_ehf(data)
    skipped = {_name_of(sentence, k): sentence for k, sentence in enumerate(reading.skipped)}
    meshes: dict[str, Path] = {}
    for sample in reading.samples:
        path = _mesh_path(data, sample)
        if path is None:
            skipped[sample.name] = "no registered mesh"
        else:
            meshes[sample.name] = path
    skipped |= {f"ehf/{stem}": "a registered mesh without a picture" for stem in _strangers(data, reading.samples)}
    if not meshes:
        got = f"'{data}' without registered meshes"
        raise InputError(got, "alignments/<stem>.pkl or <stem>_align.ply", "They come with EHF, from its own site.")
    samples = [sample for sample in reading.samples if sample.name in meshes]
    read = {name: partial(_read_mesh, path, tables) for name, path in meshes.items()}
    joints = _read_joints(data, samples, read)
    boxes = Counter(_box_source(data, sample) for sample in samples)

    def measure(subject: Subject, prediction: Prediction | None) -> Measured:
        if prediction is None:
            return Measured({})
        mesh = read[subject.name]()
        joints14 = joints.lsp14.get(subject.name)
        truth = Truth(mesh, subject.joints_m, subject.joint_names, joints14, together=joints.together)
        return Measured(measure_whole(truth, prediction, tables))

    return Protocol(
        name=_NAME,
        title="EHF: expressive hands and faces",
        metrics=WHOLE_METRICS,
        headline="PA-V2V all",
        notes=(
            "EHF: SMPL-X meshes registered to scans, moved to the camera by EHF's calibration; its focal length is "
            "given.",
            "Boxes: " + ", ".join(f"{count} around {source}" for source, count in boxes.items()) + ".",
            joints.note,
            *tables.notes,
        ),
        subjects=[_subject(sample, joints, read[sample.name]) for sample in samples],
        measure=measure,
        skipped=skipped,
        published=tuple(PUBLISHED.get(_NAME, ())),
    )


@dataclass(frozen=True, eq=False)
class _Joints:
    """Labelled joints by subject, camera's axes, metres."""

    lsp14: dict[str, Float[Array, "14 3"]]
    all144: dict[str, Float[Array, "144 3"]]
    together: bool
    note: str


def _subject(sample: Sample, joints: _Joints, mesh: Callable[[], Mesh]) -> Subject:
    points = joints.all144.get(sample.name)
    return Subject(
        name=sample.name,
        group=_NAME,
        image=sample.image,
        box_xyxy_px=sample.box_xyxy_px,
        focal_px=EHF_FOCAL_PX,
        keypoints_px={"all": sample.keypoints_px} if (sample.keypoints_px[:, 2] > 0).any() else {},
        joints_m=points,
        joint_names=() if points is None else KEYPOINT_NAMES,
        mesh=mesh,
    )


def _mesh_path(data: Path, sample: Sample) -> Path | None:
    stem = sample.name.partition("/")[2]
    short = stem.removesuffix(".07_C")
    names = [f"{s}{end}" for s in (stem, short) for end in (".pkl", ".ply", "_align.ply")]
    places = (data / "alignments", data)
    return next((place / name for place in places for name in names if (place / name).is_file()), None)


def _strangers(data: Path, samples: list[Sample]) -> list[str]:
    """Meshes of pictures that are not here, and that no other sentence tells of."""
    pictures = (*(data / "images").glob("*"), *data.glob("*_img.*"), *(sample.image for sample in samples))
    here = {path.stem.removesuffix("_img").removesuffix(".07_C") for path in pictures if isinstance(path, Path)}
    found = (*(data / "alignments").glob("*.pkl"), *data.glob("*_align.ply"))
    return sorted({path.stem.removesuffix("_align") for path in found} - here)


def _read_mesh(path: Path, tables: Tables) -> Mesh:
    """A registered mesh in the camera's frame."""
    vertices, faces = _read_ply(path) if path.suffix == ".ply" else _read_pickled(path)
    points_m = vertices @ EHF_ROTATION.T + EHF_TRANSLATION_M
    if not len(faces):
        known = tables.faces(Mesh(points_m, np.zeros((0, 3), int)).topology)
        faces = faces if known is None else known
    return Mesh(points_m, faces)


def _read_pickled(path: Path) -> tuple[Array, Array]:
    content = load_pickle(path)
    try:
        vertices = np.asarray(content["v"], float)
    except (KeyError, TypeError, ValueError, IndexError):
        raise InputError(f"'{path}' without vertices 'v'", "vertices [v, 3]") from None
    if vertices.ndim != 2 or vertices.shape[1] != 3:
        raise InputError(f"'{path}' with vertices of shape {vertices.shape}", "vertices [v, 3]")
    faces = np.asarray(content.get("f", ()))
    proper = faces.ndim == 2 and faces.shape[1] == 3 and faces.dtype.kind in "iuf"
    return vertices, faces.astype(int) if proper else np.zeros((0, 3), int)


def _read_ply(path: Path) -> tuple[Array, Array]:
    import trimesh

    try:
        mesh: Any = trimesh.load(path, process=False, maintain_order=True)
        vertices: Array = np.array(mesh.vertices, dtype=float)
        faces = np.array(getattr(mesh, "faces", np.zeros((0, 3), int)))
    except Exception as error:  # damaged files raise nearly everything
        raise InputError(f"'{path}', which does not read ({error})", "a PLY mesh", "Copy it again.") from None
    return vertices, faces


def _first_readable(meshes: Iterable[Callable[[], Mesh]]) -> tuple[int, Mesh]:
    """The first mesh that reads, and its number; who is measured on a damaged one is skipped later."""
    for number, read in enumerate(meshes):
        try:
            return number, read()
        except InputError as error:
            last = error
    raise last


def _read_joints(data: Path, samples: list[Sample], meshes: Mapping[str, Callable[[], Mesh]]) -> _Joints:
    """Joints of ``gt_keyps.npz``, moved to the camera if they lie in the scanner's frame."""
    path = data / "gt_keyps.npz"
    if not path.is_file():
        note = "True joints: found on the true meshes (no gt_keyps.npz, which is not distributed)."
        return _Joints({}, {}, True, note)
    optional: dict[str, Shape] = {"gt_keypoints_3d": (None, 144, 3), "gt_joints14": (None, 14, 3)}
    held = read_npz(path, {"gt_keypoints_2d": (None, 144, 2)}, optional)
    rows = [_row(held["gt_keypoints_2d"], sample) for sample in samples]
    points = {key: held[key].astype(float)[rows] for key in optional if key in held}
    if not all(np.isfinite(array).all() for array in points.values()):
        raise InputError(f"'{path}' with NaN or infinity", "finite numbers")
    first, mesh = _first_readable(meshes[sample.name] for sample in samples)
    frames = {key: _frame(array[first], mesh.vertices_m) for key, array in points.items()}
    points = {
        key: array @ EHF_ROTATION.T + EHF_TRANSLATION_M if frames[key] == _SCANNER else array
        for key, array in points.items()
    }
    names = [sample.name for sample in samples]
    told = ", ".join(f"{key} ({frame})" for key, frame in frames.items()) or "no 3D joints"
    return _Joints(
        dict(zip(names, points.get("gt_joints14", ()), strict=False)),
        dict(zip(names, points.get("gt_keypoints_3d", ()), strict=False)),
        _OWN not in frames.values(),
        f"True joints: gt_keyps.npz, {told}; others are found on the true meshes.",
    )


def _row(keypoints_px: Float[Array, "n 144 2"], sample: Sample) -> int:
    """The row of gt_keyps.npz that the sample's keypoints were read from. Rows with NaN belong to no sample."""
    rows = np.flatnonzero((keypoints_px == sample.keypoints_px[:, :2]).all((1, 2)))
    if len(rows) != 1:
        raise InputError(f"'gt_keyps.npz' with {len(rows)} rows for {sample.name}", "keypoints of one picture a row")
    return int(rows[0])


def _frame(joints: Float[Array, "n 3"], vertices: Float[Array, "v 3"]) -> str:
    """Whose coordinates joints are, judged by where the mesh (in the camera's frame) is."""
    places = {_CAMERA: vertices, _SCANNER: (vertices - EHF_TRANSLATION_M) @ EHF_ROTATION}
    gaps = {name: float(np.linalg.norm(points.mean(0) - joints.mean(0))) for name, points in places.items()}
    nearest = min(gaps, key=lambda name: gaps[name])
    return nearest if gaps[nearest] < _NEAR_M else _OWN


def _box_source(data: Path, sample: Sample) -> str:
    if not (sample.keypoints_px[:, 2] > 0).any():
        return "the true mesh as the camera sees it"
    return "the true keypoints (gt_keyps.npz)" if (data / "gt_keyps.npz").is_file() else "OpenPose's keypoints"


def _name_of(sentence: str, number: int) -> str:
    """The subject that a reader's sentence is about."""
    name, found, _ = sentence.partition(": ")
    return name if found else f"ehf/unnamed {number}"
