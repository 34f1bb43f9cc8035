"""FreiHAND (Zimmermann et al. 2019): single right hands, 21 joints and MANO's 778 vertices; and the challenge's file.

The field's numbers are those of the challenge's server; who has the ground truth, which was released later, measures
them here.
"""

import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from openexpose.body.keypoints import KEYPOINT_NAMES, RIGHT_HAND21
from openexpose.data.arrays import read_json_array
from openexpose.errors import InputError
from openexpose.evaluation.metrics import check_unit, f_score, joint_errors, procrustes_errors
from openexpose.evaluation.protocols.published import PUBLISHED
from openexpose.evaluation.record import Measured, Mesh, Metric, Prediction, Protocol, Subject, Values
from openexpose.evaluation.run import System
from openexpose.evaluation.tables import Tables
from openexpose.formats.atomic import write_whole
from openexpose.geometry.procrustes import align_similarity

Array = np.ndarray

HAND21_NAMES: tuple[str, ...] = tuple(KEYPOINT_NAMES[k] for k in RIGHT_HAND21)
"""FreiHAND's joints: wrist, then thumb, index, middle, ring, pinky from the palm to the tip."""
MANO_VERTICES = 778
SUBMISSION_HANDS = 3960
"""Pictures of the evaluation split."""
SUBMISSION_FILE = "freihand-submission.zip"
_SPLITS = {None: "evaluation", "evaluation": "evaluation", "test": "evaluation", "train": "training"}
_GREEN_SCREEN_HANDS = 32560
_THRESHOLDS_MM = np.linspace(0.0, 50.0, 100)
_HUMAN_HAND_M = (0.02, 0.5)

_SERVER = "as the challenge's server measures it, except that hands are never mirrored"
METRICS = (
    Metric("PA-MPJPE", "mm", f"21 joints after the best similarity, {_SERVER}.", entries=HAND21_NAMES),
    Metric("MPJPE", "mm", "21 joints with the wrists at one point; rotation and scale as they are."),
    Metric("PA-V2V", "mm", f"MANO's 778 vertices after their own best similarity, {_SERVER}."),
    Metric("F-score 5 mm", "", "Vertices aligned as for PA-V2V; nearest vertices within 5 mm.", more_is_better=True),
    Metric("F-score 15 mm", "", "Vertices aligned as for PA-V2V; nearest vertices within 15 mm.", more_is_better=True),
    Metric(
        "AUC PA-PCK 0-50 mm",
        "",
        "Area under the curve of joints within 0 to 50 mm after the best similarity (100 thresholds).",
        more_is_better=True,
    ),
)


def protocol(data: Path, *, tables: Tables, split: str | None = None) -> Protocol:
    """FreiHAND's evaluation split, or, as a trial, the green-screen pictures of its training split.

    Files: ``<split>/rgb/*.jpg``, ``<split>_K.json`` [n, 3, 3]; if there, ``<split>_xyz.json`` [n, 21, 3] and
    ``<split>_verts.json`` [n, 778, 3] (metres, camera frame), where ``<split>`` is ``evaluation`` or ``training``.
    Without ``_xyz`` nothing is measured, but a submission can be written.

    Args:
        data: the data set's folder.
        tables: vertex sets, to find MANO's vertices in SMPL-X meshes.
        split: ``evaluation`` (the default, also ``test``) or ``train``.

    Raises:
        InputError: no such split, no pictures, or a file that is missing, damaged or of another shape.
    """
    if split not in _SPLITS:
        raise InputError(f"the split {split!r} of FreiHAND", "evaluation or train")
    name = _SPLITS[split]
    pictures = sorted((data / name / "rgb").glob("*.jpg"))[:_GREEN_SCREEN_HANDS]
    if not pictures:
        raise InputError(f"no pictures in '{data / name / 'rgb'}'", f"FreiHAND: {name}/rgb/*.jpg and {name}_K.json")
    intrinsics = read_json_array(data / f"{name}_K.json", (None, 3, 3))
    xyz = _rows(data / f"{name}_xyz.json", 21)
    vertices = _rows(data / f"{name}_verts.json", MANO_VERTICES)
    numbers = _row_numbers(pictures)
    for called, rows in ((f"{name}_K", intrinsics), (f"{name}_xyz", xyz), (f"{name}_verts", vertices)):
        if rows is not None and len(rows) <= numbers[-1]:
            raise InputError(f"'{pictures[-1].name}' and {len(rows)} rows of {called}.json", "a row a picture")
    subjects = []
    for row, picture in zip(numbers, pictures, strict=True):
        truth: dict[str, Any] = {}
        if xyz is not None:
            truth |= {"joints_m": xyz[row].astype(float), "joint_names": HAND21_NAMES}
        if vertices is not None:
            truth["mesh"] = _TrueHand(vertices[row])
        subject = Subject(
            f"freihand/{name}/{picture.stem}",
            "freihand" if name == "evaluation" else "freihand training",
            picture,
            part="right-hand",
            focal_px=float(intrinsics[row, 0, 0]),
            **truth,
        )
        subjects.append(subject)
    return Protocol(
        name="freihand",
        title="FreiHAND: right hands alone",
        metrics=METRICS,
        headline="PA-MPJPE",
        notes=(*_notes(name, xyz is not None, vertices is not None, tables), *_count_note(name, len(pictures))),
        subjects=subjects,
        measure=lambda subject, prediction: _measure(subject, prediction, tables),
        published=PUBLISHED.get("freihand", ()) if name == "evaluation" else (),
        whole=False,
    )


def mano_vertices(mesh: Mesh | None, tables: Tables) -> Float[Array, "778 3"] | None:
    """The right hand's vertices in MANO's order, metres; None where a mesh has no such vertices.

    A mesh of 778 vertices is MANO's; of SMPL-X's mesh the 778 that the official ids name; others through
    ``tables.convert``.
    """
    if mesh is None:
        return None
    if mesh.topology == "mano":
        return mesh.vertices_m
    if mesh.topology == "smplx":
        ids = _hand_ids(tables)
        if ids is not None:
            return mesh.vertices_m[ids]
    converted = tables.convert(mesh, "mano")
    return None if converted is None else converted.vertices_m


def write_submission(path: Path, joints_m: Float[Array, "n 21 3"], vertices_m: Float[Array, "n 778 3"] | None) -> None:
    """Write the challenge's file: a zip that holds ``pred.json`` = [joints, vertices] of all 3,960 pictures in order.

    Args:
        path: the zip file.
        joints_m: FreiHAND's joints (:data:`HAND21_NAMES`), metres, camera frame.
        vertices_m: MANO's vertices of the same hands.

    Raises:
        InputError: no vertices, another number of hands, arrays of wrong shapes, sizes that are no hand's in metres,
            or a place that cannot be written to.
    """
    if vertices_m is None:
        raise InputError(
            "hands without MANO's 778 vertices",
            "a body model that has them: the challenge takes joints and vertices together",
            "Predict with SMPL-X as the body model and give MANO_SMPLX_vertex_ids.pkl (--tables).",
        )
    for called, array, count in (("joints", joints_m, 21), ("vertices", vertices_m, MANO_VERTICES)):
        if array.shape != (SUBMISSION_HANDS, count, 3):
            expected = f"[{SUBMISSION_HANDS}, {count}, 3]: a hand for every picture of the evaluation split"
            raise InputError(f"{called} of shape {list(array.shape)}", expected, "Run on all pictures, no --limit.")
        if not np.isfinite(array).all():
            raise InputError(f"{called} with NaN or infinity", "finite numbers")
    size = float(np.median(np.ptp(vertices_m, axis=1).max(-1)))
    if not _HUMAN_HAND_M[0] <= size <= _HUMAN_HAND_M[1]:
        fix = "Are these millimetres? Give --unit mm." if 20.0 <= size <= 500.0 else ""
        raise InputError(f"hands of {size:.3g} m", f"{_HUMAN_HAND_M[0]} to {_HUMAN_HAND_M[1]} m", fix)
    packed = io.BytesIO()
    with (
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("pred.json", "w") as file,
    ):
        for piece in _json_pieces(joints_m, vertices_m):
            file.write(piece.encode())
    write_whole(path, packed.getvalue())


class Recording(System):
    """A system whose hands are kept, so that one run gives both the report and the submission."""

    def __init__(self, system: System, tables: Tables) -> None:
        """Args: system: who answers; tables: as for :func:`protocol`."""
        self.system, self.tables = system, tables
        self.name = system.name
        self._hands: dict[str, tuple[Array | None, Array | None]] = {}

    @property
    def notes(self) -> tuple[str, ...]:  # type: ignore[override]
        """The system's."""
        return self.system.notes

    def concerns(self, subject: Subject) -> bool:
        """As the system says."""
        return self.system.concerns(subject)

    def prepare(self, subjects: Sequence[Subject]) -> None:
        """As the system does."""
        self.system.prepare(subjects)

    def __call__(self, subject: Subject) -> Prediction | None:
        """The system's answer; raises what it raises."""
        prediction = self.system(subject)
        if prediction is not None:
            joints, vertices = prediction.joints(HAND21_NAMES), mano_vertices(prediction.mesh, self.tables)
            kept = [None if points is None else points.astype(np.float32) for points in (joints, vertices)]
            self._hands[subject.name] = kept[0], kept[1]
        return prediction

    def write(self, protocol: Protocol, path: Path) -> None:
        """Write the submission of what was answered (:func:`write_submission`).

        Raises:
            InputError: subjects without an answer or joints, no MANO vertices, or as :func:`write_submission`.
        """
        hands = [self._hands.get(subject.name, (None, None)) for subject in protocol.subjects]
        missing = [s.name for s, hand in zip(protocol.subjects, hands, strict=True) if hand[0] is None]
        if missing:
            got = f"{len(missing)} of {len(hands)} pictures without joints of a hand (the first: {missing[0]})"
            raise InputError(got, "an answer for every picture: the challenge takes no fewer")
        with_mesh = all(hand[1] is not None for hand in hands)
        joints = np.stack([hand[0] for hand in hands if hand[0] is not None])
        vertices = np.stack([hand[1] for hand in hands if hand[1] is not None]) if with_mesh else None
        write_submission(path, joints, vertices)

    def submit(self, protocol: Protocol, out: Path) -> str:
        """Write ``freihand-submission.zip`` into a folder.

        Returns:
            a sentence: where it is, or why there is none.
        """
        try:
            self.write(protocol, out / SUBMISSION_FILE)
        except InputError as error:
            return f"No submission written: {error}"
        return f"Submission for the challenge: {out / SUBMISSION_FILE}"


class _TrueHand:
    """Reads a true hand: 778 vertices, no triangles (MANO's are licensed)."""

    def __init__(self, vertices_m: Float[Array, "778 3"]) -> None:
        self.vertices_m = vertices_m

    def __call__(self) -> Mesh:
        return Mesh(self.vertices_m.astype(float), np.zeros((0, 3), int))


def _row_numbers(pictures: Sequence[Path]) -> list[int]:
    """The rows that pictures belong to: their names are numbers, so that a missing picture shifts nothing."""
    strange = next((picture for picture in pictures if not picture.stem.isdecimal()), None)
    if strange is not None:
        raise InputError(f"a picture called '{strange.name}'", "FreiHAND's names: 00000000.jpg and so on")
    return [int(picture.stem) for picture in pictures]


def _count_note(name: str, count: int) -> tuple[str, ...]:
    whole = SUBMISSION_HANDS if name == "evaluation" else _GREEN_SCREEN_HANDS
    return () if count == whole else (f"Only {count} of the {whole} pictures are here.",)


def _hand_ids(tables: Tables) -> Int[Array, "778"] | None:
    """MANO's vertices among SMPL-X's, in MANO's order; None if the hand is known from skinning weights only."""
    ids = (tables.vertex_sets("smplx") or {}).get("right hand")
    return ids if ids is not None and len(ids) == MANO_VERTICES else None


def _measure(subject: Subject, prediction: Prediction | None, tables: Tables) -> Measured:
    if prediction is None or subject.joints_m is None:
        return Measured({})
    joints = prediction.joints(HAND21_NAMES)
    if joints is None:
        raise InputError("an answer without the 21 joints of the right hand", ", ".join(HAND21_NAMES))
    check_unit(joints, subject.joints_m)
    aligned_mm = 1000.0 * procrustes_errors(joints, subject.joints_m)
    at_wrist = 1000.0 * joint_errors(joints - joints[0], subject.joints_m - subject.joints_m[0])
    hits = (aligned_mm[:, None] <= _THRESHOLDS_MM).mean(0)
    values: Values = {
        "PA-MPJPE": aligned_mm,
        "MPJPE": np.array([at_wrist.mean()]),
        "AUC PA-PCK 0-50 mm": np.array([(hits[1:] + hits[:-1]).mean() / 2.0]),
    }
    vertices = mano_vertices(prediction.mesh, tables)
    if vertices is not None and subject.mesh is not None:
        true = subject.mesh().vertices_m
        aligned = align_similarity(vertices.astype(float), true)
        values["PA-V2V"] = np.array([1000.0 * joint_errors(aligned, true).mean()])
        values["F-score 5 mm"] = np.array([f_score(aligned, true, 0.005)])
        values["F-score 15 mm"] = np.array([f_score(aligned, true, 0.015)])
    return Measured(values)


def _rows(path: Path, count: int) -> Float[Array, "n count 3"] | None:
    """Rows of a big JSON file, decoded one by one to save memory; None without such a file."""
    if not path.is_file():
        return None
    expected = f"a JSON list of hands: [n, {count}, 3], metres"
    try:
        text = path.read_text("utf-8")
        rows = [np.array(row, np.float32) for row in _decoded(text)]
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"'{path}', which does not read ({error})", expected, "Copy it again.") from None
    shapes = {row.shape for row in rows}
    if shapes != {(count, 3)}:
        raise InputError(f"'{path}' with hands of shapes {sorted(shapes)}", expected)
    array = np.stack(rows)
    if not np.isfinite(array).all() or np.median(np.ptp(array, axis=1).max(-1)) > _HUMAN_HAND_M[1]:
        raise InputError(f"'{path}' with hands larger than {_HUMAN_HAND_M[1]} m, or NaN", expected)
    return array


def _decoded(text: str) -> Iterator[Any]:
    decoder, at = json.JSONDecoder(), text.index("[") + 1
    while True:
        while at < len(text) and text[at] in ", \r\n\t":
            at += 1
        if text[at : at + 1] in ("]", ""):
            return
        row, at = decoder.raw_decode(text, at)
        yield row


def _json_pieces(*arrays: Array) -> Iterator[str]:
    yield "["
    for number, array in enumerate(arrays):
        yield ", [" if number else "["
        for row, hand in enumerate(array):
            yield (", " if row else "") + json.dumps(np.round(hand.astype(float), 6).tolist())
        yield "]"
    yield "]"


def _notes(name: str, joints: bool, vertices: bool, tables: Tables) -> tuple[str, ...]:
    notes = [
        "FreiHAND: part network of the right hand alone, box: the whole picture (224 x 224); focal length given.",
        "PA-: after the best similarity, for joints and vertices separately; evaluation_scale.json is not used.",
        "Vertices are measured only of systems that have MANO's 778: MANO, or SMPL-X with the official vertex ids."
        " The free body has none: its joints alone are measured.",
        "MANO's vertices in SMPL-X meshes: by the official ids."
        if _hand_ids(tables) is not None
        else "No 'MANO_SMPLX_vertex_ids.pkl': the vertices of SMPL-X hands are left out.",
    ]
    if name == "training":
        notes.append("Trial on the training split (green-screen pictures): comparable with nothing that was published.")
    if not joints:
        notes.append(f"No {name}_xyz.json: nothing can be measured here; a submission can be written.")
    elif not vertices:
        notes.append(f"No {name}_verts.json: PA-V2V and F-scores are left out.")
    return tuple(notes)
