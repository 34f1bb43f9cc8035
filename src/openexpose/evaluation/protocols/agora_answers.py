"""Who was found in AGORA's pictures: everybody that a system detects is matched to the people who are there."""

import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float

from openexpose.body.keypoints import KEYPOINT_NAMES
from openexpose.data.gathering import check_folder
from openexpose.data.safe_pickle import load_pickle
from openexpose.errors import InputError
from openexpose.evaluation.protocols.agora_truth import FULL_SIZE_PX, SMALL_ENDING, Picture
from openexpose.evaluation.record import Mesh, Prediction, Subject
from openexpose.evaluation.run import System
from openexpose.geometry.camera import project_perspective
from openexpose.image.read import read_image
from openexpose.predict.pipeline import Predictor

Array = np.ndarray

MATCHED_JOINTS = 24
"""So many joints, the first ones of SMPL-X or SMPL, tell by their places in the picture who is who."""
SMPL24_NAMES: tuple[str, ...] = (*KEYPOINT_NAMES[:22], "left_hand", "right_hand")
_SMALLEST_OVERLAP = 0.1
_LARGEST_M = 20.0
_SHAPES = {10475: ("smplx", 127), 6890: ("smpl", 24)}
_WIDTHS = {"joints": 2, "verts": 3, "allSmplJoints3d": 3}
_FIX = "Write vertices and joints: the evaluator's own format 'uploading joints and vertices'."

Answer = tuple[Float[Array, "n 2"], Prediction]
"""Joints in the full-size picture, pixels, in SMPL-X's or SMPL's order; and all that the system says."""


def match_people(
    answers_px: Sequence[Float[Array, "n 2"]], people_px: Sequence[Float[Array, "m 2"]], valid: Bool[Array, "p"]
) -> dict[int, int]:
    """Match detected to labelled people as AGORA's evaluator does (Patel et al. 2021, section 5; its public code).

    Pairs are taken by the distance of their first 24 joints, the nearest first. A pair whose boxes (around all given
    joints) overlap by less than 0.1 is rejected. It ends when everybody is matched, or when matched answers and
    rejected pairs together are as many as answers. Whoever need not be found takes no answer, so that an answer about
    them is a false alarm.

    Args:
        answers_px: joints of each detected person.
        people_px: joints of each labelled person.
        valid: who is to be found.

    Returns:
        index of the labelled person to that of the detected one.
    """
    found: dict[int, int] = {}
    if not answers_px or not people_px:
        return found
    distances = np.array(
        [[np.linalg.norm(a[:MATCHED_JOINTS] - p[:MATCHED_JOINTS]) for p in people_px] for a in answers_px]
    )
    settled, rejected = np.zeros(len(people_px), bool), 0
    for flat in np.argsort(distances, axis=None, kind="stable"):
        answer, person = divmod(int(flat), len(people_px))
        if settled.all() or len(found) + rejected >= len(answers_px):
            break
        if _overlap(answers_px[answer], people_px[person]) < _SMALLEST_OVERLAP:
            rejected += 1
            settled[person] |= not valid[person]
        elif not settled[person] and answer not in found.values():
            settled[person] = True
            if valid[person]:
                found[person] = answer
    return found


def _overlap(first_px: Array, second_px: Array) -> float:
    """Intersection over union of the boxes around points; extents count the pixels at both ends."""
    low = np.maximum(first_px.min(0), second_px.min(0))
    high = np.minimum(first_px.max(0), second_px.max(0))
    shared = np.maximum(0.0, high - low + 1.0).prod()
    areas = [(np.ptp(points, axis=0) + 1.0).prod() for points in (first_px, second_px)]
    return float(shared / (areas[0] + areas[1] - shared))


class Detections(System):
    """A system that finds the people itself."""

    def __init__(
        self, name: str, notes: Sequence[str], pictures: Sequence[Picture], find: Callable[[Picture], list[Answer]]
    ) -> None:
        """Nothing is found yet.

        Args:
            name: of the system.
            notes: what a reader must know of it.
            pictures: the labelled pictures.
            find: everybody that the system sees in a picture; raises InputError if that cannot be told.
        """
        self.name = name
        self.notes = (*notes, f"{name}: people were detected and matched by their {MATCHED_JOINTS} joints in 2D.")
        self._pictures = {person.name: picture for picture in pictures for person in picture.people}
        self._find = find
        self._last: tuple[Picture, dict[str, Prediction]] | None = None
        self._strangers: dict[str, int] = {}

    def __call__(self, subject: Subject) -> Prediction | None:
        """What was found of a person; None for a miss.

        Raises:
            InputError: the answers about the picture cannot be read.
        """
        picture = self._pictures[subject.name]
        if self._last is None or self._last[0] is not picture:
            self._last = (picture, self._match(picture))
        return self._last[1].get(subject.name)

    def strangers(self, picture: Picture) -> int:
        """How many answers about a picture belong to nobody who is to be found.

        Raises:
            InputError: the answers cannot be read.
        """
        if picture.name not in self._strangers:
            self._match(picture)
        return self._strangers[picture.name]

    def _match(self, picture: Picture) -> dict[str, Prediction]:
        answers = self._find(picture)
        valid = np.array([person.valid for person in picture.people])
        joints_px = [joints for joints, _ in answers]
        found = match_people(joints_px, [person.joints_px for person in picture.people], valid)
        self._strangers[picture.name] = len(answers) - len(found)
        return {picture.people[person].name: answers[answer][1] for person, answer in found.items()}


def answers_in(folder: Path, unit: Literal["m", "mm"] = "m") -> Callable[[Picture], list[Answer]]:
    """Answers in the files that AGORA's evaluator takes: ``<picture>_personId_<k>.pkl`` (or ``.npz``).

    Each holds ``joints`` [24 or more, 2] (pixels of the 3840 x 2160 picture; of the 1280 x 720 one if the picture's
    name ends on ``_1280x720``), ``allSmplJoints3d`` [127 or 24, 3] and ``verts`` [10475 or 6890, 3].

    Args:
        folder: the files.
        unit: of joints and vertices.

    Raises:
        InputError: no such folder or no such file in it, or another unit.
    """
    check_folder(folder)
    if unit not in ("m", "mm"):
        raise InputError(f"the unit '{unit}'", "m or mm")
    files: dict[str, list[tuple[int, Path]]] = {}
    for path in sorted(folder.iterdir()):
        name, found, number = path.stem.rpartition("_personId_")
        if found and number.isdigit() and path.suffix in (".pkl", ".npz"):
            files.setdefault(name.removesuffix(SMALL_ENDING), []).append((int(number), path))
    if not files:
        raise InputError(f"'{folder}' without predictions", "files <picture>_personId_<k>.pkl, one a person")

    def find(picture: Picture) -> list[Answer]:
        paths = [path for _, path in sorted(files.get(picture.name, []))]
        return [_read_answer(path, 0.001 if unit == "mm" else 1.0, picture.scale) for path in paths]

    return find


def _read_answer(path: Path, metres: float, picture_scale: float) -> Answer:
    content: Any = _read_npz(path) if path.suffix == ".npz" else load_pickle(path)
    if not isinstance(content, dict) or not _WIDTHS.keys() <= content.keys():
        raise InputError(f"'{path}' that does not hold all of {', '.join(_WIDTHS)}", "a dictionary of these", _FIX)
    arrays = {}
    for key, width in _WIDTHS.items():
        try:
            arrays[key] = np.array(content[key], float).squeeze()
        except (TypeError, ValueError):
            raise InputError(f"'{path}' with '{key}' that holds no numbers", f"numbers of shape [n, {width}]") from None
        if arrays[key].ndim != 2 or arrays[key].shape[1] != width or not np.isfinite(arrays[key]).all():
            got = f"'{path}' with '{key}' of shape {arrays[key].shape}, or not finite"
            raise InputError(got, f"finite numbers of shape [n, {width}]")
    topology, count = _SHAPES.get(len(arrays["verts"]), ("", 0))
    if not topology or len(arrays["allSmplJoints3d"]) < count or len(arrays["joints"]) < MATCHED_JOINTS:
        shapes = ", ".join(f"{key} {list(array.shape)}" for key, array in arrays.items())
        raise InputError(f"'{path}' with {shapes}", "[24, 2], and [10475, 3] and [127, 3], or [6890, 3] and [24, 3]")
    extent = float(np.ptp(arrays["verts"], axis=0).max()) * metres
    if extent > _LARGEST_M:
        raise InputError(f"'{path}' with a person of {extent:.0f} m", "metres", "Are these millimetres? --unit mm")
    small = path.stem.rpartition("_personId_")[0].endswith(SMALL_ENDING)
    joints_px = arrays["joints"] * (3.0 if small else 1.0)
    keypoints_px = np.full((len(KEYPOINT_NAMES), 2), np.nan)
    known = MATCHED_JOINTS if topology == "smplx" else 22
    keypoints_px[:known] = joints_px[:known] * picture_scale
    prediction = Prediction(
        mesh=Mesh(arrays["verts"] * metres, np.zeros((0, 3), int)),
        joints_m=arrays["allSmplJoints3d"][:count] * metres,
        joint_names=KEYPOINT_NAMES[:127] if topology == "smplx" else SMPL24_NAMES,
        keypoints_px=keypoints_px,
    )
    return joints_px, prediction


def _read_npz(path: Path) -> dict[str, Array]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in _WIDTHS if key in archive}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"'{path}', which does not read as npz ({error})", "an npz file", "Copy it again.") from None


def answers_of(predictor: Predictor) -> Callable[[Picture], list[Answer]]:
    """openexpose's own answers: people as its detector finds them, the focal length given."""

    def find(picture: Picture) -> list[Answer]:
        image = read_image(picture.image)
        scale = image.pixels.shape[1] / FULL_SIZE_PX[0]
        people = predictor(image.pixels, focal_px=None if picture.focal_px is None else picture.focal_px * scale)
        if not len(people.score):
            return []
        joints_m = predictor.keypoints(people).astype(float)
        joints_px = project_perspective(joints_m, people.focal_px, people.principal_px)
        faces = predictor.body_model.faces
        return [
            (
                joints_px[k] / scale,
                Prediction(
                    mesh=Mesh(vertices.astype(float), faces),
                    joints_m=joints_m[k],
                    joint_names=KEYPOINT_NAMES,
                    keypoints_px=joints_px[k],
                    score=float(people.score[k]),
                    box_xyxy_px=people.bbox_xyxy[k],
                ),
            )
            for k, vertices in enumerate(predictor.mesh(people))
        ]

    return find
