"""Running a protocol: every system answers about every subject, and everything that has no number is counted."""

import io
import sys
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import PIL.Image
from jaxtyping import UInt8
from tqdm import tqdm

from openexpose.body.keypoints import KEYPOINT_NAMES
from openexpose.errors import InputError
from openexpose.evaluation.record import Case, Coefficients, Mesh, Prediction, Protocol, Report, Result, Subject
from openexpose.geometry.camera import project_perspective
from openexpose.image.read import read_image
from openexpose.predict.pipeline import Predictor

Array = np.ndarray
Picture = UInt8[Array, "h w 3"]


class System(ABC):
    """What is measured."""

    name: str
    notes: tuple[str, ...]
    """What a reader must know of it, one sentence each."""

    def concerns(self, subject: Subject) -> bool:
        """Whether it is to be asked about a subject at all."""
        return True

    def prepare(self, subjects: Sequence[Subject]) -> None:  # noqa: B027
        """Called before the first subject.

        Raises:
            InputError: what is there cannot be about these subjects, or has other units or axes.
        """

    @abstractmethod
    def __call__(self, subject: Subject) -> Prediction | None:
        """Answer about a subject; None without an answer.

        Raises:
            InputError: there is something, but it cannot be used.
        """


class OwnSystem(System):
    """openexpose itself: the box is given, the detector only timed."""

    def __init__(self, predictor: Predictor, *, attention: bool = True, refinement: bool = True) -> None:
        """Args: see :meth:`openexpose.predict.pipeline.Predictor.__call__`."""
        self.predictor, self.attention = predictor, attention
        self.refinement = refinement and predictor.refines
        self.name = "openexpose" if attention else "openexpose, body only"
        refined = "laid on the trunks' landmarks" if self.refinement else "the networks' answers as they are"
        model = predictor.body_model.name
        self.notes = (f"{self.name}: boxes given, body model '{model}', {refined}.",)
        self._last: tuple[object, tuple[Picture, float | None]] | None = None
        self._detection_seconds: dict[object, float] = {}

    def concerns(self, subject: Subject) -> bool:
        """Lone parts are no business of the body network alone."""
        return self.attention or subject.part == "whole"

    def __call__(self, subject: Subject) -> Prediction | None:
        """Predict the subject from its picture.

        Raises:
            InputError: no picture, or one that does not decode.
        """
        pixels, focal_px = self._picture(subject)
        boxes = None if subject.box_xyxy_px is None else subject.box_xyxy_px[None]
        if boxes is None and subject.part == "whole":
            boxes = np.array([[0.0, 0.0, pixels.shape[1], pixels.shape[0]]])
        start = time.perf_counter()
        people = self.predictor(
            pixels,
            boxes=boxes,
            focal_px=subject.focal_px or focal_px,
            attention=self.attention,
            refinement=self.refinement,
            part=subject.part,
        )
        seconds = time.perf_counter() - start
        joints = self.predictor.keypoints(people)
        model = self.predictor.face_model if subject.part == "face" else self.predictor.body_model
        return Prediction(
            mesh=Mesh(self.predictor.mesh(people)[0].astype(float), model.faces),
            joints_m=joints[0].astype(float),
            joint_names=KEYPOINT_NAMES,
            keypoints_px=project_perspective(joints, people.focal_px, people.principal_px)[0],
            trunk_px=self.predictor.trunk_points(0),
            coefficients=Coefficients(people.body_model, people.betas[0], people.expression[0]),
            score=float(people.score[0]),
            box_xyxy_px=people.bbox_xyxy[0],
            seconds=seconds,
            detection_seconds=self._detection(subject, pixels) if subject.part == "whole" else None,
        )

    def _picture(self, subject: Subject) -> tuple[Picture, float | None]:
        """A subject's picture; the last one is kept, because the people of one picture follow each other."""
        if self._last is None or self._last[0] != subject.image:
            self._last = (subject.image, read_picture(subject))
        return self._last[1]

    def _detection(self, subject: Subject, pixels: Picture) -> float | None:
        if self.predictor.config.detector is None:
            return None
        if subject.image not in self._detection_seconds:
            start = time.perf_counter()
            self.predictor.detector(pixels)
            self._detection_seconds = {subject.image: time.perf_counter() - start}
        return self._detection_seconds[subject.image]


def read_picture(subject: Subject) -> tuple[Picture, float | None]:
    """The upright RGB pixels of a subject's picture, and the focal length in pixels if its EXIF data tell it.

    Raises:
        InputError: the subject has no picture, or one that does not decode.
    """
    if subject.image is None:
        raise InputError(f"{subject.name} without a picture", "pictures to predict from", "Measure files: --pred.")
    if isinstance(subject.image, Path):
        image = read_image(subject.image)
        return image.pixels, image.focal_px
    try:
        content = subject.image if isinstance(subject.image, bytes) else subject.image.read_bytes()
        with PIL.Image.open(io.BytesIO(content)) as picture:
            return np.asarray(picture.convert("RGB")), None
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{subject.name}: a picture that does not decode ({error})", "JPEG or PNG bytes") from None


def evaluate(protocol: Protocol, systems: Sequence[System], data: Path, limit: int | None = None) -> Report:
    """Measure systems on a protocol's subjects.

    A subject that a system has no answer for, or one that cannot be used, is in ``Result.skipped`` with the reason.

    Args:
        protocol: what to measure, and how.
        systems: the main one first.
        data: the data set's folder; its name is reported.
        limit: measure on the first so many subjects only; the report says so.

    Raises:
        InputError: no subjects, two of one name, a subject with NaN in its truth, or not one answer of a system can be
            used.
    """
    if limit is not None and limit < 1:
        raise InputError(f"a limit of {limit}", "a positive number")
    subjects = protocol.subjects[:limit]
    if not subjects:
        reason = next(iter(protocol.skipped.values()), "it is empty")
        raise InputError(f"nothing to measure on in '{data}' ({reason})", "a data set with labelled subjects")
    name, count = Counter(subject.name for subject in protocol.subjects).most_common(1)[0]
    if count > 1:
        raise InputError(f"{count} subjects called '{name}'", "another name for each", "Rename or remove a picture.")
    faults = [fault for subject in subjects for fault in subject.faults()]
    if faults:
        raise InputError(faults[0], "finite numbers", "Mend the data set's labels.")
    results = [_run(protocol, system, subjects) for system in systems]
    notes = [*protocol.notes, *(note for system in systems for note in system.notes)]
    gaps: dict[str, list[str]] = {}
    for system, result in zip(systems, results, strict=True):
        for gap in _gaps(protocol, result, [subject for subject in subjects if system.concerns(subject)]):
            gaps.setdefault(gap, []).append(system.name)
    notes += [f"{'; '.join(names)}: {gap}" for gap, names in gaps.items()]
    if len(subjects) < len(protocol.subjects):
        notes.append(f"Only the first {len(subjects)} of {len(protocol.subjects)} subjects (--limit).")
    return Report(
        protocol=protocol.name,
        title=protocol.title,
        data=data.resolve().name,
        metrics=protocol.metrics,
        headline=protocol.headline,
        notes=tuple(notes),
        subjects=len(subjects) + len(protocol.skipped),
        skipped=protocol.skipped,
        results=results,
        published=protocol.published,
    )


def _run(protocol: Protocol, system: System, subjects: Sequence[Subject]) -> Result:
    result = Result(system.name)
    subjects = [subject for subject in subjects if system.concerns(subject)]
    system.prepare(protocol.subjects)
    quiet = not sys.stderr.isatty()
    for subject in tqdm(subjects, desc=system.name, unit="subject", file=sys.stderr, disable=quiet):
        try:
            prediction = system(subject)
            if prediction is None:
                result.skipped[subject.name] = "no answer"
            _add(result, protocol, subject, prediction)
        except InputError as error:
            result.skipped[subject.name] = str(error)
            _add(result, protocol, subject, None)
    if len(result.skipped) == len(subjects):
        reason = next(iter(result.skipped.values()), "nothing that it could be asked about")
        raise InputError(
            f"not one usable answer of {system.name}", "answers about the subjects", f"The first: {reason}"
        )
    if protocol.finish is not None:
        protocol.finish(result)
    return result


def _add(result: Result, protocol: Protocol, subject: Subject, prediction: Prediction | None) -> None:
    measured = protocol.measure(subject, prediction)
    for metric, values in measured.values.items():
        if np.isinf(values).any():
            raise InputError(f"an infinite {metric}", "finite numbers")
    for metric, values in measured.values.items():
        for group in (subject.group, *measured.groups.get(metric, ())):
            result.values.setdefault((metric, group), {})[subject.name] = np.atleast_1d(values)
    if measured.kept is not None:
        result.kept[subject.name] = measured.kept
    if prediction is not None and prediction.seconds is not None:
        result.seconds[subject.name] = prediction.seconds
    if prediction is not None and prediction.detection_seconds is not None:
        result.detection_seconds[subject.name] = prediction.detection_seconds


def _gaps(protocol: Protocol, result: Result, subjects: Sequence[Subject]) -> list[str]:
    """Sentences on means over fewer subjects than have an answer, where others with the same kind of truth count."""
    answered = [subject for subject in subjects if subject.name not in result.skipped]
    kinds = {subject.name: _kind(subject) for subject in answered}
    metrics: dict[tuple[int, int], list[str]] = {}
    for metric in protocol.metrics:
        found = {
            name
            for (key, _), of in result.values.items()
            if key == metric.name
            for name, values in of.items()
            if name in kinds and np.isfinite(values).any()
        }
        measurable = {kinds[name] for name in found}
        alike = sum(kind in measurable for kind in kinds.values())
        if len(found) < alike:
            metrics.setdefault((len(found), alike), []).append(metric.name)
    return [
        f"only {found} of {alike} subjects with an answer and with such labels count in "
        f"{', '.join(map(repr, names))}; the others lack points of it, in the labels or in the answer."
        for (found, alike), names in metrics.items()
    ]


def _kind(subject: Subject) -> tuple[object, ...]:
    """What is known of a subject."""
    labelled = frozenset(part for part, points in subject.keypoints_px.items() if (points[:, 2] > 0).any())
    return subject.part, subject.mesh is None, subject.joint_names, labelled


def choose_cases(report: Report, protocol: Protocol, system: System, worst: int = 10) -> list[Case]:
    """The best three, the median three and the worst ``worst`` subjects by the headline metric, predicted again."""
    more = next(metric.more_is_better for metric in report.metrics if metric.name == report.headline)
    means: dict[str, float] = {}
    for (metric, _), values in report.results[0].values.items():
        if metric == report.headline:
            means |= {name: float(np.nanmean(array)) for name, array in values.items() if np.isfinite(array).any()}
    ordered = sorted(means, key=lambda name: (-1 if more else 1) * means[name])
    middle = max(0, len(ordered) // 2 - 1)
    ranks = {"best": ordered[:3], "median": ordered[middle : middle + 3], "worst": ordered[::-1][:worst]}
    by_name = {subject.name: subject for subject in protocol.subjects}
    return [case for rank, names in ranks.items() for case in _cases(rank, names, by_name, means, system)]


def _cases(
    rank: str, names: Sequence[str], subjects: dict[str, Subject], means: dict[str, float], system: System
) -> Iterator[Case]:
    for name in names:
        try:
            prediction = system(subjects[name]) if name in subjects else None
        except InputError:  # counted as a miss, and told as such
            continue
        if prediction is not None:
            yield Case(rank, subjects[name], means[name], prediction)
