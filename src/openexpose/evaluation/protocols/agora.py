"""AGORA: several people a picture, SMPL-X or SMPL meshes, errors over detection scores (Patel et al., CVPR 2021).

Two designs. With boxes given (:func:`protocol`) every labelled person is a subject, and F1 says no more than who got an
answer. With people detected (:func:`detected`) answers are matched to people as AGORA's evaluator does, and misses and
false alarms count: NMJE and NMVE are errors over F1.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from openexpose.body.keypoints import KEYPOINT_NAMES
from openexpose.errors import InputError
from openexpose.evaluation.metrics import check_unit, joint_errors
from openexpose.evaluation.protocols.agora_answers import SMPL24_NAMES, Answer, Detections
from openexpose.evaluation.protocols.agora_truth import Person, Picture, read_pictures
from openexpose.evaluation.protocols.published import PUBLISHED
from openexpose.evaluation.record import Derived, Measured, Mesh, Metric, Prediction, Protocol, Result, Subject, Values
from openexpose.evaluation.statistics import bootstrap
from openexpose.evaluation.tables import REGRESSED_NAMES, Tables

Array = np.ndarray

_HIPS = ("left_hip", "right_hip")
_FINGERS = {"left hand": KEYPOINT_NAMES[25:40], "right hand": KEYPOINT_NAMES[40:55]}


@dataclass(frozen=True)
class _Part:
    roots: tuple[str, ...]
    """Their mean is the origin."""
    names: tuple[str, ...]
    """Joints; the root of hands and face is one of them, as in AGORA's evaluator, though its error is 0."""


_PARTS = {
    "body": _Part(_HIPS, KEYPOINT_NAMES[:22]),
    **{side: _Part((f"{side[:-5]}_wrist",), (f"{side[:-5]}_wrist", *names)) for side, names in _FINGERS.items()},
    "face": _Part(("neck",), ("neck", *KEYPOINT_NAMES[76:127])),
}
_SMPL_PARTS = {"body": _Part(_HIPS, SMPL24_NAMES)}
_DETAILS = ("left hand", "right hand", "face")
_ORIGIN = {"body": "the middle of the hips", "face": "the neck", "left hand": "the wrist", "right hand": "the wrist"}
_COUNTS = {"body": "22 (SMPL: 24) joints", "face": "neck and 51 landmarks", **dict.fromkeys(_FINGERS, "16 joints")}
_DETECTION = ("F1", "precision", "recall")
METRICS: tuple[Metric, ...] = (
    *(Metric(f"MPJPE {part}", "mm", f"{_COUNTS[part]}, {_ORIGIN[part]} at the same place") for part in _PARTS),
    Metric("MPJPE full body", "mm", "body + (left hand + right hand + face) / 3"),
    *(Metric(f"MVE {part}", "mm", f"vertices of the {part}, {_ORIGIN[part]} at the same place") for part in _PARTS),
    Metric("MVE full body", "mm", "body + (left hand + right hand + face) / 3"),
    *(
        Metric(f"{norm} {part}", "mm", f"{error} {part} over F1")
        for norm, error in (("NMJE", "MPJPE"), ("NMVE", "MVE"))
        for part in ("body", "full body")
    ),
    Metric("F1", "", "harmonic mean of precision and recall, 0 to 1", more_is_better=True),
    Metric("precision", "", "answers that belong to somebody who is to be found, 0 to 1", more_is_better=True),
    Metric("recall", "", "people who are to be found and got an answer, 0 to 1", more_is_better=True),
)
_NOTES = (
    "Means are over people who got an answer. AGORA's evaluator counts misses as an error of 0 in hands and face, and "
    "rounds errors and F1 before it divides; neither is done here.",
    "People who are more than 90 % occluded or flagged as invalid need not be found; an answer about them is a false "
    "alarm, as in AGORA's evaluator.",
)
_GIVEN = (
    "Boxes given, around each person's true vertices: F1 is 1 by construction unless answers are missing, and NMJE and "
    "NMVE are not those of a system that has to find the people."
)


def protocol(data: Path, *, tables: Tables, split: str | None = None) -> Protocol:
    """AGORA with boxes given: every labelled person is a subject.

    Args:
        data: holds ``<split>_<number>_withjv.pkl`` (SMPL-X or SMPL) and the pictures (PNG, 3840 x 2160 or 1280 x 720),
            in any depth; optionally ``body_verts_smplx.npy`` (``_smpl``), AGORA's own vertices of the body.
        tables: vertex sets of the parts; correspondences for other topologies.
        split: ``validation`` (default) or ``train``.

    Raises:
        InputError: see :func:`~openexpose.evaluation.protocols.agora_truth.read_pictures`.
    """
    pictures, skipped = read_pictures(data, split)
    return _protocol(data, pictures, skipped, tables, None)


def detected(
    data: Path,
    find: Callable[[Picture], list[Answer]],
    name: str,
    *,
    tables: Tables,
    split: str | None = None,
    notes: Sequence[str] = (),
) -> tuple[Protocol, Detections]:
    """AGORA for a system that finds the people itself; run the two together, and no other system with them.

    Args:
        data, tables, split: see :func:`protocol`.
        find: :func:`~openexpose.evaluation.protocols.agora_answers.answers_in` a folder, or
            :func:`~openexpose.evaluation.protocols.agora_answers.answers_of` openexpose.
        name: of the system.
        notes: what a reader must know of it.

    Raises:
        InputError: see :func:`~openexpose.evaluation.protocols.agora_truth.read_pictures`.
    """
    pictures, skipped = read_pictures(data, split)
    system = Detections(name, notes, pictures, find)
    return _protocol(data, pictures, skipped, tables, system), system


def _protocol(
    data: Path, pictures: list[Picture], skipped: dict[str, str], tables: Tables, detections: Detections | None
) -> Protocol:
    topology = pictures[0].topology if pictures else "smplx"
    people = {person.name: person for picture in pictures for person in picture.people if person.valid}
    own = _own_body_vertices(data, topology)
    found = "AGORA's own" if own is not None else "those of the tables" if topology == "smplx" else "all of SMPL's"
    notes = (f"Truth: {topology.upper()} meshes; vertices of the body: {found}.", *_NOTES, *tables.notes)
    return Protocol(
        name="agora",
        title="AGORA",
        metrics=METRICS,
        headline="MPJPE body",
        notes=notes if detections else (_GIVEN, *notes),
        subjects=[_subject(person, picture) for picture in pictures for person in picture.people if person.valid],
        measure=partial(_measure, people, tables, own),
        skipped=skipped,
        finish=partial(_finish, pictures, detections),
        published=PUBLISHED.get("agora", ()),
    )


def _subject(person: Person, picture: Picture) -> Subject:
    points = np.zeros((len(KEYPOINT_NAMES), 3))
    names = KEYPOINT_NAMES[:127] if picture.topology == "smplx" else SMPL24_NAMES
    known = len(names) if picture.topology == "smplx" else 22
    points[:known] = np.c_[person.joints_px[:known] * picture.scale, np.ones(known)]
    return Subject(
        name=person.name,
        group="agora",
        image=picture.image,
        box_xyxy_px=person.box_xyxy_px * picture.scale,
        focal_px=None if picture.focal_px is None else picture.focal_px * picture.scale,
        keypoints_px={"all": points},
        joints_m=person.joints_m[: len(names)],
        joint_names=names,
        mesh=person.mesh,
        seen=frozenset(_DETAILS) if picture.topology == "smplx" else frozenset(),
    )


def _own_body_vertices(data: Path, topology: str) -> Int[Array, "k"] | None:
    path = next(iter(sorted(data.rglob(f"body_verts_{topology}.npy"))), None)
    if path is None:
        return None
    count = {"smplx": 10475, "smpl": 6890}[topology]
    try:
        rows = np.load(path, allow_pickle=False).reshape(-1)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"'{path}', which does not read ({error})", "an npy file of vertex numbers") from None
    if rows.dtype.kind not in "iu" or not len(rows) or rows.min() < 0 or rows.max() >= count:
        raise InputError(f"'{path}' of type {rows.dtype}", f"numbers of {topology}'s {count} vertices")
    return rows.astype(int)


def _measure(
    people: Mapping[str, Person],
    tables: Tables,
    own_body: Int[Array, "k"] | None,
    subject: Subject,
    prediction: Prediction | None,
) -> Measured:
    """Errors of joints and vertices, millimetres; keeps whether there was an answer."""
    if prediction is None:
        return Measured({}, kept=np.zeros(1))
    given = prediction.joints_m if prediction.mesh is None else prediction.mesh.vertices_m
    if given is not None and subject.joints_m is not None:
        check_unit(given, subject.joints_m)
    known = _named_joints(prediction, tables)
    true = dict(zip(subject.joint_names, np.asarray(subject.joints_m), strict=True))
    parts = _PARTS if "jaw" in true else _SMPL_PARTS
    values: dict[str, float] = {}
    for part, needs in parts.items():
        if {*needs.names, *needs.roots} <= known.keys():
            joints = [np.array([side[name] for name in needs.names]) for side in (known, true)]
            values[f"MPJPE {part}"] = _error_mm(joints, needs.roots, known, true)
    for part, vertices in _vertices(prediction.mesh, people[subject.name].mesh, tables, own_body).items():
        if part in parts and set(parts[part].roots) <= known.keys():
            values[f"MVE {part}"] = _error_mm(vertices, parts[part].roots, known, true)
    if not values:
        raise InputError("a prediction without joints that can be compared", "named joints, or a mesh of a known model")
    for kind in ("MPJPE", "MVE"):
        if all(f"{kind} {part}" in values for part in _PARTS):
            details = sum(values[f"{kind} {part}"] for part in _DETAILS)
            values[f"{kind} full body"] = values[f"{kind} body"] + details / 3.0
    measured: Values = {name: np.array([value]) for name, value in values.items()}
    groups = dict.fromkeys(measured, ("children",)) if people[subject.name].kid else {}
    return Measured(measured, groups, kept=np.ones(1))


def _named_joints(prediction: Prediction, tables: Tables) -> dict[str, Array]:
    """Joints by name: those that the system gives, else those on its mesh."""
    found: dict[str, Array] = {}
    if prediction.mesh is not None:
        regressed = tables.joints(prediction.mesh)
        found = {} if regressed is None else dict(zip(REGRESSED_NAMES, regressed, strict=True))
    if prediction.joints_m is not None:
        found |= dict(zip(prediction.joint_names, prediction.joints_m, strict=True))
    return found


def _vertices(
    predicted: Mesh | None, true: Callable[[], Mesh], tables: Tables, own_body: Int[Array, "k"] | None
) -> dict[str, list[Array]]:
    """Predicted and true vertices of the parts, where the meshes can be compared."""
    if predicted is None:
        return {}
    mesh = true()
    common = tables.common(predicted, mesh)
    if common is None:
        return {}
    both = [common.predicted_m, common.true_m]
    found = {part: [side[rows] for side in both] for part, rows in common.sets.items()}
    whole = len(common.true_m) == len(mesh.vertices_m)
    if whole and own_body is not None:
        found["body"] = [side[own_body] for side in both]
    elif whole and mesh.topology == "smpl":
        found["body"] = both
    return found


def _error_mm(
    points: Sequence[Float[Array, "n 3"]],
    roots: Sequence[str],
    predicted: Mapping[str, Array],
    true: Mapping[str, Array],
) -> float:
    moved = [
        side - np.mean([joints[name] for name in roots], 0)
        for side, joints in zip(points, (predicted, true), strict=True)
    ]
    return 1000.0 * float(joint_errors(moved[0], moved[1]).mean())


def _finish(pictures: list[Picture], detections: Detections | None, result: Result) -> None:
    """Add precision, recall, F1, and the errors over F1.

    Pictures where nobody is to be found count too, for false alarms, if all others were measured (no ``--limit``).
    """
    everything = all(person.name in result.kept for picture in pictures for person in picture.people if person.valid)
    measured = [p for p in pictures if everything or any(person.name in result.kept for person in p.people)]
    found, missed, strangers = np.zeros((3, len(measured)))
    for row, picture in enumerate(measured):
        answered = [bool(result.kept[person.name][0]) for person in picture.people if person.name in result.kept]
        found[row], missed[row] = answered.count(True), answered.count(False)
        if detections is not None:
            try:
                strangers[row] = detections.strangers(picture)
            except InputError as error:
                result.skipped.setdefault(f"agora/{picture.name}", str(error))
    counts = (found, missed, strangers)
    for number, name in enumerate(_DETECTION):
        _derive(result, name, len(measured), partial(_score, counts, number), int((found + missed).sum()))
    for norm, kind in (("NMJE", "MPJPE"), ("NMVE", "MVE")):
        for part in ("body", "full body"):
            values = result.values.get((f"{kind} {part}", "agora"), {})
            if values:
                of = [[values[person.name][0] for person in p.people if person.name in values] for p in measured]
                sums, people = np.array([sum(rows) for rows in of]), np.array([len(rows) for rows in of])
                value = partial(_normalised, sums, people, counts)
                _derive(result, f"{norm} {part}", len(measured), value, len(values))


def _derive(result: Result, name: str, pictures: int, value: Callable[[Array], float], count: int) -> None:
    low, high = bootstrap(pictures, value)
    result.derived.append(Derived(name, "agora", value(np.arange(pictures)), low, high, count))


def _score(counts: tuple[Array, Array, Array], number: int, drawn: Array) -> float:
    """F1, precision or recall over drawn pictures."""
    found, missed, strangers = (float(array[drawn].sum()) for array in counts)
    whole = (found + 0.5 * (missed + strangers), found + strangers, found + missed)[number]
    return found / whole if whole else float("nan")


def _normalised(sums: Array, people: Array, counts: tuple[Array, Array, Array], drawn: Array) -> float:
    """Mean error over F1; NaN where nobody was found."""
    score, count = _score(counts, 0, drawn), people[drawn].sum()
    return float(sums[drawn].sum() / count / score) if count and score > 0.0 else float("nan")
