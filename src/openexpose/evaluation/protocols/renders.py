"""Renders: whole people whose truth is exact, measured as EHF is (paper, Table 2).

The data are a frozen test set (``openexpose synth --preset test-v2``, or ``test`` for test-v1) or held-out ``people``
shards. Truth is posed with the free body; boxes and focal length are given.
"""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int

from openexpose.body.keypoints import INDEX, KEYPOINT_NAMES
from openexpose.body.mesh import keypoints, posed_mesh
from openexpose.body.model import BodyModel, load_body_model
from openexpose.data.arrays import Shape, read_npz
from openexpose.errors import InputError
from openexpose.evaluation.protocols.published import PUBLISHED
from openexpose.evaluation.protocols.whole import WHOLE_METRICS, Truth, measure_whole
from openexpose.evaluation.record import (
    Coefficients,
    Measured,
    Mesh,
    Metric,
    Prediction,
    Protocol,
    Subject,
    Values,
)
from openexpose.evaluation.tables import REGRESSED_NAMES, Tables
from openexpose.geometry.camera import project_perspective
from openexpose.synth.testset import NAME, PEOPLE, SEEN_PARTS, TruePerson, check_body, from_truth, seen_parts

if TYPE_CHECKING:
    from openexpose.data.synthetic import RenderedPerson

SEEN, WHOLE, CUT = "part seen", "whole in the picture", "cut by the border"
"""Further rows: people of whom the part can be seen; people in the picture as a whole, and others."""
_NAME = "renders"
_TRUTH = "truth.npz"
_FOR_TRYING = "for trying out, not comparable with all of them."
_HEAD_TOP = "head_top"
_BY_TRUNCATION = frozenset({"PA-MPJPE body", "PA-V2V all", "PA-V2V body"})
_FOCAL_NOTE = (
    "Boxes and focal lengths are given.",
    "14 joints: those of LSP by name, the body model's own neck joint, its head joint for the top of the head.",
    "V2V: vertices of the free body, parts as freebody_parts.npz has them.",
    f"{SEEN}: only people of whom at least half of the part's keypoints are in the picture and not hidden.",
)


EXPRESSION, NEUTRAL, SHAPE, MEAN_SHAPE = (
    *("expression", "expression, neutral answer"),
    *("shape without scale", "shape without scale, mean's answer"),
)
COEFFICIENT_METRICS = (
    Metric(EXPRESSION, "mm", "Mean distance of the face's vertices as the expressions alone move them, jaw at rest."),
    Metric(NEUTRAL, "mm", "The same for an answer without any expression: what there is to gain."),
    Metric(SHAPE, "mm", "Mean distance of the shapes' vertices in T-pose, centred, after the best overall scale."),
    Metric(MEAN_SHAPE, "mm", "The same for the mean shape: what there is to gain."),
)
METRICS = (*WHOLE_METRICS, *COEFFICIENT_METRICS)


@dataclass(frozen=True, eq=False)
class _Person:
    """A picture, its truth in the camera frame, and whether the border cuts the person (None: not known)."""

    name: str
    image: Path | bytes
    truth: "TruePerson | RenderedPerson"
    truncated: bool | None


@dataclass(frozen=True, eq=False)
class _Data:
    """What a folder holds."""

    title: str
    note: str
    """How many people of what."""
    people: list[_Person]


def protocol(data: Path, *, tables: Tables, split: str | None = None) -> Protocol:
    """Renders: a frozen test set, or ``people`` shards.

    Files: ``people-*.tar`` of ``openexpose synth --preset people``, or the folder of ``--preset test-v2``; or
    ``truth.npz`` and ``images/0000.jpg`` ... as ``--preset test`` writes them.

    Args:
        data: the folder.
        tables: the user's; meshes of other topologies need them for joints.
        split: of shards ``val`` (default: every tenth picture), ``train`` or ``all``; test sets are one piece.

    Raises:
        InputError: neither is there, labels or pictures that are not the frozen ones, damaged shards, or an empty
            split.
    """
    found = _found(data, split)
    people = found.people
    first = people[0].truth
    model = load_body_model(num_betas=len(first.betas), num_expression=len(first.expression))
    subjects = [_subject(person, model) for person in people]
    truncated = {person.name: person.truncated for person in people}
    coefficients = {p.name: Coefficients(model.name, p.truth.betas, p.truth.expression) for p in people}
    face = (Tables.read().vertex_sets("freebody") or {})["face"]

    def measure(subject: Subject, prediction: Prediction | None) -> Measured:
        if prediction is None:
            return Measured({})
        mesh = None if subject.mesh is None else subject.mesh()
        truth = Truth(mesh, subject.joints_m, subject.joint_names)
        values = measure_whole(truth, _with_joints(prediction, tables), tables)
        values |= _measure_coefficients(coefficients[subject.name], prediction.coefficients, model, face)
        rows = {name: _rows(name, subject, truncated[subject.name]) for name in values}
        return Measured(values, {name: groups for name, groups in rows.items() if groups})

    return Protocol(
        name=_NAME,
        title=f"Renders: {found.title}",
        metrics=METRICS,
        headline="PA-V2V all",
        notes=(found.note, *_FOCAL_NOTE, *(tables.notes if tables.given else ())),
        subjects=subjects,
        measure=measure,
        published=tuple(PUBLISHED.get(_NAME, ())),
    )


def _found(folder: Path, split: str | None) -> _Data:
    if (folder / _TRUTH).is_file():
        _check_whole(split, NAME)
        people = _testset_people(folder)
        note = f"{NAME}: all {PEOPLE} people; labels checked by their SHA-256."
        if len(people) < PEOPLE:
            note = f"The first {len(people)} of the {PEOPLE} people of {NAME}: {_FOR_TRYING}"
        return _Data(NAME, note, people)
    if (folder / "images").is_dir() and not any(folder.glob("people-*.tar")):
        fix = "Run `openexpose synth --preset test` again: it goes on where it was."
        raise InputError(f"'{folder}' without {_TRUTH}", "a finished test set, or shards of people", fix)
    from openexpose.data.synthetic import holds_test_set, read_rendered_people  # brings OpenCV

    if holds_test_set(folder):
        return _second_test_set(folder, split)
    people = [_Person(p.name, p.jpeg, p, None) for p in read_rendered_people(folder, split or "val")]
    return _Data("people shards", f"Rendered shards, split {split or 'val'}: {len(people)} people.", people)


def _second_test_set(folder: Path, split: str | None) -> _Data:
    """test-v2."""
    from openexpose.data.synthetic import read_test_people
    from openexpose.synth import testset_v2

    name, pictures = testset_v2.NAME, testset_v2.PICTURES
    _check_whole(split, name)
    found, count = read_test_people(folder)
    if not found:
        raise InputError(f"'{folder}', in whose {count} pictures nobody counts", f"more pictures of {name}")
    which = f"all {pictures} pictures, {len(found)} people who count"
    note = f"{name}: {which}; labels and pictures compared with the frozen ones."
    if count < pictures:
        note = f"{name}: {len(found)} people of the first {count} of {pictures} pictures: {_FOR_TRYING}"
    return _Data(name, note, [_Person(p.name, p.jpeg, p, p.cut) for p in found])


def _check_whole(split: str | None, name: str) -> None:
    if split not in (None, "test", "all"):
        raise InputError(f"the split '{split}' of {name}", "no split: it is one piece")


def _testset_people(folder: Path) -> list[_Person]:
    shapes: dict[str, Shape] = {"global_orient": (None, 3), "body_pose": (None, 63), "jaw_pose": (None, 3)}
    shapes |= {"leye_pose": (None, 3), "reye_pose": (None, 3), "left_hand_pose": (None, 45)}
    shapes |= {"right_hand_pose": (None, 45), "betas": (None, None), "expression": (None, None), "transl": (None, 3)}
    shapes |= {"focal_px": (None,), "image_size": (None, 2), "box_xyxy_px": (None, 4), "visibility": (None, 144)}
    shapes |= {name: (None,) for name in ("appearance", "stance", "arms", "face", "truncation", "rendered")}
    arrays = read_npz(folder / _TRUTH, shapes)
    frozen = from_truth(arrays, f"'{folder / _TRUTH}'")
    count = int(np.asarray(arrays["rendered"], bool).sum())
    if not count:
        raise InputError(f"'{folder / _TRUTH}' without a rendered picture", "a folder of the test set")
    check_body(load_body_model())
    people = [frozen.person(k) for k in range(count)]
    return [
        _Person(f"{NAME}/{p.name}", folder / "images" / f"{p.name}.jpg", p, p.truncation != "whole") for p in people
    ]


def _subject(person: _Person, model: BodyModel) -> Subject:
    true = person.truth
    joints = keypoints(model, true.pose[None], true.betas[None], true.expression[None])[0].astype(float) + true.transl
    spots = project_perspective(joints[None], true.focal_px, np.array(true.image_size) / 2)[0]
    return Subject(
        name=person.name,
        group=_NAME,
        image=person.image,
        box_xyxy_px=true.box_xyxy_px,
        focal_px=true.focal_px,
        keypoints_px={"all": np.concatenate([spots, (true.visibility > 0)[:, None]], 1)},
        joints_m=np.concatenate([joints, joints[INDEX["head"]][None]]),
        joint_names=(*KEYPOINT_NAMES, _HEAD_TOP),
        mesh=partial(_mesh, true, model),
        seen=seen_parts(true.visibility),
    )


def _mesh(true: "TruePerson | RenderedPerson", model: BodyModel) -> Mesh:
    posed = posed_mesh(model, true.pose[None], true.betas[None], true.expression[None])
    return Mesh(posed.vertices[0] + true.transl, model.faces)


def _measure_coefficients(
    true: Coefficients, answer: Coefficients | None, model: BodyModel, face: Int[np.ndarray, "k"]
) -> Values:
    """Errors of shape and expression, mm, beside those of the mean shape and of a neutral face."""
    if answer is None or answer.body_model != true.body_model or len(answer.expression) != len(true.expression):
        return {}
    move = 1000.0 * model.expression_dirs[face]
    shapes = [model.v_template + model.shape_dirs @ betas for betas in (answer.betas, 0 * true.betas, true.betas)]
    answered, mean, wanted = (1000.0 * (shape - shape.mean(0)) for shape in shapes)
    errors = {
        EXPRESSION: move @ (answer.expression - true.expression),
        NEUTRAL: move @ true.expression,
        SHAPE: answered * ((answered * wanted).sum() / (answered**2).sum()) - wanted,
        MEAN_SHAPE: mean * ((mean * wanted).sum() / (mean**2).sum()) - wanted,
    }
    return {name: np.array([np.linalg.norm(error, axis=1).mean()]) for name, error in errors.items()}


def _with_joints(prediction: Prediction, tables: Tables) -> Prediction:
    """The prediction with joints, which a mesh alone can tell, too, and the head joint as top of the head."""
    joints, names = prediction.joints_m, prediction.joint_names
    if joints is None and prediction.mesh is not None:
        joints, names = tables.joints(prediction.mesh), REGRESSED_NAMES
    if joints is None or "head" not in names or _HEAD_TOP in names:
        return prediction
    head = joints[names.index("head")][None]
    return replace(prediction, joints_m=np.concatenate([joints, head]), joint_names=(*names, _HEAD_TOP))


def _rows(metric: str, subject: Subject, truncated: bool | None) -> tuple[str, ...]:
    """Further rows that a value belongs to."""
    part = next((name for name in SEEN_PARTS if metric.endswith(name)), None)
    rows: tuple[str, ...] = (SEEN,) if part in subject.seen else ()
    if truncated is not None and metric in _BY_TRUNCATION:
        rows += (CUT if truncated else WHOLE,)
    return rows
