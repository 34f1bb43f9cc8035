"""Any system's answers, read from a folder of files: ``openexpose evaluate --pred FOLDER``.

A file belongs to a subject by its name: the name of the subject's picture without extension (``01.jpg``: ``01.obj``),
or, for pictures that are no files, the last part of the subject's name (``test/000012``: ``000012.npz``).
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
from jaxtyping import Float

from openexpose.errors import InputError
from openexpose.evaluation.files.bodies import Bodies, is_upside_down
from openexpose.evaluation.files.read import Kind, Rows, check_size, read_answers, told
from openexpose.evaluation.record import Prediction, Subject
from openexpose.evaluation.run import System
from openexpose.evaluation.tables import Tables
from openexpose.geometry.boxes import box_around, intersection_over_union

Array = np.ndarray

ALL_IN_ONE = "predictions.npz"
"""The one file with answers about many subjects."""
_KINDS = {".npz": Kind.NPZ, ".ply": Kind.PLY, ".obj": Kind.OBJ, ".pkl": Kind.FITTED, ".json": Kind.JSON}
_MESHES = (Kind.FITTED_MESH, Kind.PLY, Kind.OBJ)
_PARAMETERS = "_params"
_EXPOSE_FOLDER = re.compile(r"(?P<picture>.+\.(?:jpe?g|png|webp|bmp))_(?P<number>\d+)", re.IGNORECASE)
_PICTURE = re.compile(r"\.(?:jpe?g|png|webp|bmp)$", re.IGNORECASE)
_NUMBERED = re.compile(r"(?P<name>.+)_(?P<number>\d+)")
_SMALLEST_OVERLAP = 0.5
_WHOLE_NAME = 1000  # fits better than any number of folders
_FORMATS = "openexpose's or ExPose's .npz, SMPLify-X's results and meshes, .ply, .obj, named joints in .npz or .json"


@dataclass(frozen=True)
class _Answer:
    """A file, or a row of :data:`ALL_IN_ONE`, and what its name tells."""

    path: Path
    kind: Kind
    name: str
    """The picture's name."""
    number: int
    """Which of the people of the picture."""
    folders: tuple[str, ...]
    """Folders below the root that may tell where the picture lies."""
    row: int | None = None

    @property
    def key(self) -> tuple[Path, int | None]:
        """Tells answers apart."""
        return self.path, self.row

    @property
    def place(self) -> str:
        """Folders and name."""
        return "/".join((*self.folders, self.name))


class FolderSystem(System):
    """A system whose answers lie in files.

    Formats, the preferred first if there are several for a subject (the others are unused):

    1. a row of ``predictions.npz``: ``names`` [n] with ``joints`` [n, j, 3] and ``joint_names`` [j], or ``vertices``
       [n, v, 3] and ``faces``, or both (optional ``keypoints_2d`` [n, j, 2] in pixels, ``bbox_xyxy``, ``score``,
       ``seconds``);
    2. ExPose's demo: ``NAME.png_000/*_params.npz``, or ``NAME_params.npz``;
    3. ``NAME.npz``: openexpose's own, or the arrays of 1. for one person or several;
    4. SMPLify-X's ``meshes/NAME/000.obj``;
    5. ``NAME.ply``; 6. ``NAME.obj`` (camera axes: y down, z forward; vertices in the body model's order);
    7. SMPLify-X's ``results/NAME/000.pkl`` (needs the body model);
    8. ``NAME.json``: openexpose's own, or ``{"joint_names": [...], "joints": [[x, y, z], ...]}``, or
       ``{"joints": {name: [x, y, z]}}``.

    Several people of a picture are told apart by their boxes (or the boxes around their 2D keypoints), which must
    overlap the subject's by half (intersection over union), each answer for one subject. A subject that is alone in its
    picture gets the only answer, or, where no boxes tell, the first by number: ``NAME_000.obj`` before
    ``NAME_001.obj``. A file whose path is a subject's whole name answers for just that one. Where names repeat,
    folders decide: those named like the picture's folders or parts of the subject's name.
    """

    def __init__(
        self, folder: Path, *, unit: Literal["m", "mm"] = "m", tables: Tables, name: str | None = None
    ) -> None:
        """Look which files there are; they are read later.

        Args:
            folder: the files, in any depth.
            unit: of meshes, named joints and ExPose's parameters; openexpose's own files and SMPLify-X's parameters are
                in metres anyway.
            tables: holds the body model that SMPL-X parameters are posed with.
            name: what to call the system; None: the folder's name.

        Raises:
            InputError: no such folder, another unit, no file of a known format, or a damaged ``predictions.npz``.
        """
        folder = Path(folder)
        if unit not in ("m", "mm"):
            raise InputError(f"the unit '{unit}'", "m or mm")
        if not folder.is_dir():
            raise InputError(f"'{folder}', which is no folder", "a folder of predictions")
        self.name = name or folder.resolve().name
        self._folder, self._unit = folder, unit
        self._bodies = Bodies(tables)
        self._rows: dict[Path, Rows] = {}
        self._by_place: dict[str, list[_Answer]] = {}
        self._exact: dict[str, list[_Answer]] = {}
        self._loose: dict[str, list[_Answer]] = {}
        self._unused = set[tuple[Path, int | None]]()
        self._turned = self._regressed = False
        self._upside_down = set[str]()
        for answer in self._scan():
            self._index(answer)
        if not self._unused:
            raise InputError(f"'{folder}' without predictions", f"files of a known format: {_FORMATS}")
        self._owner: dict[tuple[Path, int | None], object] = {}
        self._named: dict[str, tuple[list[_Answer], int]] = {}
        self._fit: dict[tuple[Path, int | None], int] = {}
        self._ambiguous = set[tuple[Path, int | None]]()
        self._taken: dict[tuple[tuple[Path, int | None], int], str] = {}
        self._groups: dict[object, list[Subject]] = {}
        self._last: tuple[list[_Answer], list[tuple[_Answer, Prediction]]] | None = None
        self._tell()

    def prepare(self, subjects: Sequence[Subject]) -> None:
        """See who is asked about, before anything is asked: the people of one picture can then share its answers out.

        Raises:
            InputError: not one file belongs to a subject.
        """
        self._groups = {}
        for subject in subjects:
            self._groups.setdefault(_picture(subject), []).append(subject)
        if not any(self._find(subject) for subject in subjects):
            example = min(path.relative_to(self._folder).as_posix() for path, _ in self._unused)
            wanted = f", for example '{_names(subjects[0])[0]}.obj' for '{subjects[0].name}'" if subjects else ""
            raise InputError(
                f"no file in '{self._folder}' that belongs to a subject (the first is '{example}')",
                f"files named like the subjects' pictures{wanted}",
            )
        for subject in subjects:
            found, fit = self._named_like(subject)
            self._fit |= {answer.key: max(fit, self._fit.get(answer.key, 0)) for answer in found}
        for subject in subjects:
            self._unused -= {answer.key for answer in self._found(subject)}
            for answer in self._find(subject):
                if self._owner.setdefault(answer.key, _picture(subject)) != _picture(subject):
                    self._ambiguous.add(answer.key)
        self._tell()

    def __call__(self, subject: Subject) -> Prediction | None:
        """The answer about a subject; None without one.

        Raises:
            InputError: the answer is damaged, in a wrong unit, not finite, or it is not clear whose it is.
        """
        answers = self._find(subject)
        if not answers:
            return None
        self._unused -= {answer.key for answer in self._found(subject)}
        self._tell()
        self._claim(answers, subject)
        people = self._read(answers)
        chosen = self._choose(subject, [person for _, person in people])
        if chosen is None:
            return None
        answer, prediction = people[chosen]
        with told(answer.path, self._folder):
            if self._taken.setdefault((answer.key, chosen), subject.name) != subject.name:
                raise InputError("one person for several subjects", "a person a subject", _whole_name(subject))
            check_size(prediction, subject.joints_m, subject.joint_names, self._unit)
        if is_upside_down(prediction, subject.joints_m, subject.joint_names):
            self._upside_down.add(subject.name)
            self._tell()
        return prediction

    def _tell(self) -> None:
        notes = [f"{self.name}: predictions from files, measured as they are; unit {self._unit}."]
        if self._turned:
            notes.append(f"{self.name}: meshes/NAME/000.obj are SMPLify-X's, turned back to the camera's axes.")
        if self._regressed:
            notes.append(f"{self.name}: joints found on meshes by the regressor, millimetres off those of a skeleton.")
        if self._upside_down:
            count = len(self._upside_down)
            notes.append(f"{self.name}: {count} predictions stand on their heads: are the files' axes y up, z back?")
        if self._unused:
            notes.append(f"{self.name}: {len(self._unused)} predictions belong to none of the subjects.")
        self.notes = tuple(notes)

    def _scan(self) -> Iterator[_Answer]:
        """Everything in the folder that looks like an answer, in the order of the names."""
        for parent, folders, files in os.walk(self._folder):
            folders.sort()
            for file in sorted(files):
                path = Path(parent) / file
                kind = _KINDS.get(path.suffix.lower())
                if kind is None or file.startswith("."):
                    continue
                if file == ALL_IN_ONE and (rows := self._read_rows(path)):
                    yield from rows
                else:
                    yield from _parsed(path, path.relative_to(self._folder).parts[:-1], kind)

    def _read_rows(self, path: Path) -> list[_Answer]:
        with told(path, self._folder):
            rows = Rows.read(path)
        found, counts = [], dict[str, int]()
        for row, name in enumerate(rows.names):
            parts = PurePosixPath(_PICTURE.sub("", name)).parts
            number = counts.get(name, 0)
            counts[name] = number + 1
            found.append(_Answer(path, Kind.NAMED, parts[-1] if parts else "", number, parts[:-1], row))
        if found:
            self._rows[path] = rows
        return found

    def _index(self, answer: _Answer) -> None:
        self._unused.add(answer.key)
        self._turned |= answer.kind == Kind.FITTED_MESH
        self._by_place.setdefault(answer.place, []).append(answer)
        self._exact.setdefault(answer.name, []).append(answer)
        numbered = _NUMBERED.fullmatch(answer.name)
        if numbered and answer.kind != Kind.NAMED:
            name, number = numbered["name"], int(numbered["number"])
            loose = _Answer(answer.path, answer.kind, name, number, answer.folders)
            self._loose.setdefault(name, []).append(loose)

    def _found(self, subject: Subject) -> list[_Answer]:
        """All about a subject's picture, of all formats, but what fits another subject better."""
        found, fit = self._named_like(subject)
        return [answer for answer in found if fit >= self._fit.get(answer.key, 0)]

    def _named_like(self, subject: Subject) -> tuple[list[_Answer], int]:
        """All that is named like a subject, in the folders that fit best, and how many folders fit."""
        if subject.name not in self._named:
            self._named[subject.name] = self._look_up(subject)
        return self._named[subject.name]

    def _look_up(self, subject: Subject) -> tuple[list[_Answer], int]:
        _, _, below = subject.name.partition("/")
        for place in (subject.name, below):
            if place and place in self._by_place:
                return self._by_place[place], _WHOLE_NAME
        for index in (self._exact, self._loose):
            for name in _names(subject):
                if name in index:
                    context = _context(subject)
                    fits = [len(context.intersection(answer.folders)) for answer in index[name]]
                    return [a for a, fit in zip(index[name], fits, strict=True) if fit == max(fits)], max(fits)
        return [], 0

    def _find(self, subject: Subject) -> list[_Answer]:
        """The answers of the preferred format about a subject's picture, one a person or one for all of them."""
        found = self._found(subject)
        best = min((answer.kind for answer in found), default=None)
        return sorted((answer for answer in found if answer.kind == best), key=lambda answer: answer.number)

    def _claim(self, answers: Sequence[_Answer], subject: Subject) -> None:
        """Nothing may answer for two pictures, and no two files for one person.

        Raises:
            InputError: that is so.
        """
        shown = [answer.path.relative_to(self._folder).as_posix() for answer in answers]
        for k in range(1, len(answers)):
            if answers[k].number == answers[k - 1].number:
                got = f"'{shown[k - 1]}' and '{shown[k]}', both about '{subject.name}'"
                raise InputError(got, "one file a person", "Remove one, or name folders like the pictures' folders.")
        for answer, path in zip(answers, shown, strict=True):
            owner = self._owner.setdefault(answer.key, _picture(subject))
            if answer.key in self._ambiguous or owner != _picture(subject):
                fits = f"'{path}', which fits several pictures by its name"
                raise InputError(fits, "a file a picture", _whole_name(subject))

    def _read(self, answers: list[_Answer]) -> list[tuple[_Answer, Prediction]]:
        """The people of the answers; the last ones are kept, because people of one picture follow each other."""
        if self._last is None or self._last[0] != answers:
            people: list[tuple[_Answer, Prediction]] = []
            scale = 1e-3 if self._unit == "mm" else 1.0
            for answer in answers:
                with told(answer.path, self._folder):
                    if answer.row is not None:
                        read = [self._rows[answer.path].person(answer.row, scale, self._bodies)]
                    else:
                        read = read_answers(answer.path, answer.kind, scale=scale, bodies=self._bodies)
                people += [(answer, person) for person in read]
                if answer.kind in _MESHES and any(person.joints_m is not None for person in read):
                    self._regressed = True
            self._last = (answers, people)
        return self._last[1]

    def _choose(self, subject: Subject, people: Sequence[Prediction]) -> int | None:
        """Which of a picture's people is the subject."""
        group = [other for other in self._groups.get(_picture(subject), ()) if self._find(other) == self._find(subject)]
        alone = len(group) <= 1
        if alone and len(people) <= 1:
            return 0 if people else None
        boxes = [_box(person) for person in people]
        wanted = [other.box_xyxy_px for other in (group if group else [subject])]
        if all(box is not None for box in (*boxes, *wanted)):
            given = _share_out(np.array(wanted, float), np.array(boxes, float))
            return given.get(0 if alone else [other.name for other in group].index(subject.name))
        if alone:
            return 0
        raise InputError(
            f"{len(people)} people without boxes or 2D keypoints for {len(group)} subjects of one picture",
            "something that tells whose answer it is",
            _whole_name(subject),
        )


def _parsed(path: Path, folders: tuple[str, ...], kind: Kind) -> Iterator[_Answer]:
    """What a file's path tells about it."""
    stem, parent = path.stem, folders[-1] if folders else ""
    if kind == Kind.NPZ and stem.endswith(_PARAMETERS):
        kind, stem = Kind.EXPOSE, stem.removesuffix(_PARAMETERS)
    expose = _EXPOSE_FOLDER.fullmatch(parent) or _EXPOSE_FOLDER.fullmatch(stem)
    if expose and stem.startswith("body_"):
        return  # the mesh before hands and face
    if expose:
        outer = folders[:-1] if _EXPOSE_FOLDER.fullmatch(parent) else folders
        yield _Answer(path, kind, _PICTURE.sub("", expose["picture"]), int(expose["number"]), outer)
    elif parent and stem.isdigit() and (above := path.absolute().parents[1].name) in ("results", "meshes"):
        fitted = Kind.FITTED_MESH if above == "meshes" and kind in (Kind.OBJ, Kind.PLY) else kind
        yield _Answer(path, fitted, parent, int(stem), folders[:-2])
    else:
        yield _Answer(path, kind, _PICTURE.sub("", stem), 0, folders)


def _whole_name(subject: Subject) -> str:
    return f"Name the files by the subjects' whole names, as '{subject.name}.obj'."


def _picture(subject: Subject) -> object:
    """What people of one picture have in common."""
    if isinstance(subject.image, bytes):
        return hash(subject.image)
    return subject.name if subject.image is None else subject.image


def _names(subject: Subject) -> list[str]:
    """What a file about a subject's picture may be called, the likeliest first."""
    last = PurePosixPath(subject.name).name
    return [subject.image.stem, last] if isinstance(subject.image, Path) else [last]


def _context(subject: Subject) -> set[str]:
    """Names of folders that speak for a subject."""
    above = subject.image.parts[:-1] if isinstance(subject.image, Path) else ()
    return {*above, *PurePosixPath(subject.name).parts}


def _box(person: Prediction) -> Float[Array, "4"] | None:
    if person.box_xyxy_px is not None or person.keypoints_px is None:
        return person.box_xyxy_px
    known = person.keypoints_px[np.isfinite(person.keypoints_px).all(1)]
    return box_around(known) if len(known) else None


def _share_out(subjects: Float[Array, "s 4"], people: Float[Array, "p 4"]) -> Mapping[int, int]:
    """Subject to person, the best overlaps first, each of them once."""
    overlap = intersection_over_union(subjects, people)
    given: dict[int, int] = {}
    for flat in np.argsort(-overlap, axis=None, kind="stable"):
        subject, person = divmod(int(flat), len(people))
        if overlap[subject, person] < _SMALLEST_OVERLAP:
            break
        if subject not in given and person not in given.values():
            given[subject] = person
    return given
