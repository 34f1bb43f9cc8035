"""The records of an evaluation: what is true, what a system says, what was measured.

A *protocol* (:class:`Protocol`) knows a data set's subjects and how the field measures them; a *system* answers about a
subject with a :class:`Prediction`. :func:`openexpose.evaluation.run.evaluate` brings the two together.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from openexpose.data.sample import Packed
from openexpose.errors import InputError

Array = np.ndarray

_FARTHEST_M = 1e6
"""Nothing that is measured lies farther from the camera; squares of such lengths cannot overflow."""
TOPOLOGIES: dict[int, str] = {10475: "smplx", 6890: "smpl", 778: "mano", 5023: "flame", 13718: "freebody"}
"""Body models by their number of vertices."""


@dataclass(frozen=True, eq=False)
class Mesh:
    """A triangle mesh.

    Raises:
        InputError: arrays of wrong shapes or types, NaN, infinity or absurd places, faces that name vertices which are
            not there.
    """

    vertices_m: Float[Array, "v 3"]
    """Metres, camera frame."""
    faces: Int[Array, "f 3"]
    """Triangles; empty for a cloud of points."""

    def __post_init__(self) -> None:
        vertices, faces = np.asarray(self.vertices_m), np.asarray(self.faces)
        if vertices.ndim != 2 or vertices.shape[1] != 3 or not len(vertices):
            raise InputError(f"vertices of shape {vertices.shape}", "shape [v, 3]")
        if not np.isfinite(vertices).all():
            bad = int((~np.isfinite(vertices).all(1)).sum())
            raise InputError(f"a mesh with NaN or infinity in {bad} of {len(vertices)} vertices", "finite numbers")
        _check_places(vertices, "a mesh")
        if faces.ndim != 2 or faces.shape[1] != 3:
            raise InputError(f"faces of shape {faces.shape}", "shape [f, 3]")
        if len(faces) and faces.dtype.kind not in "iu":
            raise InputError(f"faces of type {faces.dtype}", "whole numbers: indices of vertices")
        if len(faces) and (faces.min() < 0 or faces.max() >= len(vertices)):
            raise InputError(f"faces that name vertex {faces.max()} of {len(vertices)}", "indices of vertices")

    @property
    def topology(self) -> str:
        """Which body model's vertices these are: a value of :data:`TOPOLOGIES`, or ``unknown``."""
        return TOPOLOGIES.get(len(self.vertices_m), "unknown")


@dataclass(frozen=True, eq=False)
class Subject:
    """One person, hand or face of a data set, with what is known of it. Unknown things are None or empty."""

    name: str
    """Unique in the data set; the same for every system, so that runs can be compared, as in ``ehf/01``."""
    group: str
    """Row of the table that it belongs to: the data set, the resolution (LQ, HQ). One group: the protocol's name."""
    image: Path | Packed | bytes | None = None
    """The picture file, or its content (JPEG, PNG)."""
    box_xyxy_px: Float[Array, "4"] | None = None
    """Box around the person or part, pixels; None: the whole picture."""
    part: str = "whole"
    """What the picture shows: ``whole``, ``face``, ``left-hand``, ``right-hand``."""
    focal_px: float | None = None
    keypoints_px: Mapping[str, Float[Array, "n 3"]] = field(default_factory=dict)
    """2D truth: ``body`` (COCO-17), ``face`` (iBUG-68), ``left_hand``, ``right_hand``, ``hand`` (21, side unknown),
    ``foot`` (COCO-WholeBody's 6), or ``all`` (the 144): rows x, y (pixels; the first pixel's centre is at 0.5), v > 0
    where labelled."""
    joints_m: Float[Array, "n 3"] | None = None
    """3D truth, metres, axes of the camera; names in ``joint_names``."""
    joint_names: tuple[str, ...] = ()
    """Names as in :data:`openexpose.body.keypoints.KEYPOINT_NAMES`, and ``head_top`` for LSP's 14th joint."""
    mesh: Callable[[], Mesh] | None = None
    """Reads the true surface (metres, axes of the camera)."""
    landmarks_m: Float[Array, "n 3"] | None = None
    """Landmarks on a scan (Stirling: 7), metres."""
    seen: frozenset[str] = frozenset()
    """Parts that can be seen, of ``left hand``, ``right hand``, ``face``."""
    frame: tuple[str, int] | None = None
    """Video: track and number of the frame."""
    detected: bool = False
    """Whether the box was detected, not annotated."""

    def faults(self) -> Sequence[str]:
        """What is wrong with its numbers, one sentence each."""
        named = {"joints_m": self.joints_m, "landmarks_m": self.landmarks_m, "box_xyxy_px": self.box_xyxy_px}
        arrays = {key: value for key, value in (named | dict(self.keypoints_px)).items() if value is not None}
        faults = [f"{key} holds NaN or infinity" for key, value in arrays.items() if not np.isfinite(value).all()]
        if self.joints_m is not None and len(self.joints_m) != len(self.joint_names):
            faults.append(f"{len(self.joints_m)} joints with {len(self.joint_names)} names")
        if self.box_xyxy_px is not None and (self.box_xyxy_px[2:] <= self.box_xyxy_px[:2]).any():
            faults.append(f"the box {np.round(self.box_xyxy_px, 1).tolist()} has no area")
        return [f"{self.name}: {fault}" for fault in faults]


@dataclass(frozen=True, eq=False)
class Coefficients:
    """Shape and expression in a body model's own terms."""

    body_model: str
    """``freebody``, or another model's name: whose coefficients these are."""
    betas: Float[Array, "b"]
    expression: Float[Array, "e"]


@dataclass(frozen=True, eq=False)
class Prediction:
    """What one system says about one subject.

    Raises:
        InputError: NaN or infinity where it does not mean "no such keypoint", or joints and names that do not pair up.
    """

    mesh: Mesh | None = None
    """Axes of the camera, metres."""
    joints_m: Float[Array, "n 3"] | None = None
    """Named joints, axes of the camera, metres, same origin as ``mesh``."""
    joint_names: tuple[str, ...] = ()
    keypoints_px: Float[Array, "144 2"] | None = None
    """The 144 keypoints in the picture, pixels; NaN rows where the system has no such keypoint."""
    trunk_px: Mapping[str, Float[Array, "n 3"]] = field(default_factory=dict)
    """The trunk networks' own 2D landmarks by the names of ``Subject.keypoints_px``, where there are any."""
    coefficients: Coefficients | None = None
    """Shape and expression, where the system answers with a body model."""
    score: float = 1.0
    """Confidence of the detection."""
    box_xyxy_px: Float[Array, "4"] | None = None
    seconds: float | None = None
    """Time it took, the box given."""
    detection_seconds: float | None = None
    """Time that the detector took on the same picture."""

    def __post_init__(self) -> None:
        if self.joints_m is not None:
            if self.joints_m.shape != (len(self.joint_names), 3):
                raise InputError(f"joints of shape {self.joints_m.shape} for {len(self.joint_names)} names", "one each")
            if not np.isfinite(self.joints_m).all():
                raise InputError("predicted joints with NaN or infinity", "finite numbers")
            _check_places(self.joints_m, "predicted joints")
            if len(set(self.joint_names)) < len(self.joint_names):
                double = next(name for name in self.joint_names if self.joint_names.count(name) > 1)
                raise InputError(f"two predicted joints called {double}", "a name of its own for each joint")
        if self.keypoints_px is not None:
            if self.keypoints_px.shape != (144, 2):
                raise InputError(f"keypoints of shape {self.keypoints_px.shape}", "shape [144, 2]")
            if np.isinf(self.keypoints_px).any():
                raise InputError("predicted keypoints at infinity", "finite pixels, or NaN: no such keypoint")
        if not np.isfinite(self.score):
            raise InputError(f"the score {self.score}", "a finite number")

    def joints(self, names: Sequence[str]) -> Float[Array, "n 3"] | None:
        """Joints by name, metres; None if one of them is not there."""
        if self.joints_m is None or not set(names) <= set(self.joint_names):
            return None
        return self.joints_m[[self.joint_names.index(name) for name in names]]


def _check_places(points_m: Array, what: str) -> None:
    """Refuse places with which lengths would overflow, and then count as not labelled."""
    if np.abs(points_m).max(initial=0.0) > _FARTHEST_M:
        raise InputError(f"{what} up to {np.abs(points_m).max():.1g} m away", "a person near the camera, in metres")


@dataclass(frozen=True)
class Metric:
    """A column of numbers."""

    name: str
    """As the field calls it, as in ``PA-V2V left hand``."""
    unit: str
    """``mm``, ``%``, ``mm/s2``; "" for a plain number."""
    how: str
    """One sentence: which points, aligned how, over what."""
    more_is_better: bool = False
    entries: tuple[str, ...] = ()
    """If every subject has one value a joint (or landmark), in this order: their names."""


Values = dict[str, Array]
"""Metric name to a subject's values, 1-D; one for most metrics, one a joint for others. NaN: not labelled."""


@dataclass(frozen=True)
class Measured:
    """What a protocol measures on one subject."""

    values: Values
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Metric to further groups (rows) that the value also belongs to, beside ``Subject.group``."""
    kept: Array | None = None
    """What :attr:`Protocol.finish` needs of it, e.g. aligned joints of a video's frames. Small."""


@dataclass(frozen=True)
class Derived:
    """A number that is no mean over subjects, such as an average precision or an error over a detection score."""

    metric: str
    group: str
    value: float
    low: float
    high: float
    """Ends of the 95 % interval (bootstrap over pictures)."""
    count: int
    """Pictures or people that it was made from."""


@dataclass(frozen=True)
class Published:
    """A number that somebody published."""

    system: str
    metric: str
    """Name of one of the protocol's metrics."""
    group: str
    value: float
    source: str
    """As in ``ExPose, Table 3``."""
    seconds: float | None = None


@dataclass(frozen=True)
class Result:
    """What one system did on a data set."""

    system: str
    values: dict[tuple[str, str], dict[str, Array]] = field(default_factory=dict)
    """(metric, group) to subject to values."""
    skipped: dict[str, str] = field(default_factory=dict)
    """Subject to the reason why there is no number of it."""
    seconds: dict[str, float] = field(default_factory=dict)
    detection_seconds: dict[str, float] = field(default_factory=dict)
    kept: dict[str, Array] = field(default_factory=dict)
    derived: list[Derived] = field(default_factory=list)


@dataclass(frozen=True)
class Protocol:
    """A data set and how the field measures on it."""

    name: str
    """As ``--protocol`` has it."""
    title: str
    metrics: tuple[Metric, ...]
    """In the order of the table."""
    headline: str
    """The metric by which best, median and worst cases are chosen."""
    notes: tuple[str, ...]
    """What a reader must know, one sentence each: alignment, joints, source of boxes, conversion of body models."""
    subjects: list[Subject]
    measure: Callable[[Subject, Prediction | None], Measured]
    """None: the system has no answer for the subject; return what that counts as, mostly nothing.
    Raises InputError for a prediction that cannot be measured."""
    skipped: dict[str, str] = field(default_factory=dict)
    """Subjects that the data set itself cannot give, and why."""
    finish: Callable[[Result], None] | None = None
    """Adds to a result what needs all subjects: values along videos, derived numbers."""
    published: tuple[Published, ...] = ()
    whole: bool = True
    """Whether subjects are whole people, so that attention can be switched off for comparison."""


@dataclass(frozen=True)
class Report:
    """An evaluation: one protocol, one or several systems. The first system is the main one."""

    protocol: str
    title: str
    data: str
    """Name of the data folder (not its path)."""
    metrics: tuple[Metric, ...]
    headline: str
    notes: tuple[str, ...]
    subjects: int
    """Subjects that there should be: measured and skipped ones."""
    skipped: dict[str, str]
    """Those that the data set itself could not give."""
    results: list[Result]
    published: tuple[Published, ...] = ()


@dataclass(frozen=True, eq=False)
class Case:
    """A subject whose picture belongs into the report."""

    rank: str
    """``best``, ``median`` or ``worst``."""
    subject: Subject
    value: float
    """The subject's mean of the headline metric, of the main system."""
    prediction: Prediction
