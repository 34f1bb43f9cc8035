"""Measuring a whole body against a true one, in millimetres: what EHF, 3DPW and renders share.

Names and alignments are those of the paper, section 4.2, Tables 1 and 2, and of successors (PVE, TR-V2V).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from openexpose.body.keypoints import KEYPOINT_NAMES, LEFT_HAND21, RIGHT_HAND21
from openexpose.errors import InputError
from openexpose.evaluation import metrics as compute
from openexpose.evaluation.record import Mesh, Metric, Prediction, Values
from openexpose.evaluation.tables import LSP14_NAMES, REGRESSED_NAMES, SETS, CommonVertices, Tables
from openexpose.fitting.closest import SurfaceIndex
from openexpose.geometry.procrustes import Similarity, find_similarity

Array = np.ndarray
Pair = tuple[Float[Array, "n 3"], Float[Array, "n 3"]]
"""Predicted and true points, metres."""

LIMBS12_NAMES: tuple[str, ...] = LSP14_NAMES[:12]
"""The 14 of LSP without neck and top of the head: joints that most skeletons have."""
HAND21_NAMES: Mapping[str, tuple[str, ...]] = {
    "left hand": tuple(KEYPOINT_NAMES[k] for k in LEFT_HAND21),
    "right hand": tuple(KEYPOINT_NAMES[k] for k in RIGHT_HAND21),
}
F_THRESHOLDS_M: Mapping[str, float] = {"F-score 5 mm hands": 0.005, "F-score 15 mm hands": 0.015}
_HIPS = (2, 3)
_MM = 1000.0
_LIMBS = " 12 limb joints"
_BODY = " body"

_UNALIGNED = (
    "in the camera's axes, not aligned: mostly the error of the distance from the camera, which one picture hardly "
    "tells."
)
_PA = "after the best rotation, scale and translation"


def _whole_metrics() -> Iterator[Metric]:
    joints = {_BODY: ("the 14 LSP joints", LSP14_NAMES), _LIMBS: ("the 12 limb joints of LSP", LIMBS12_NAMES)}
    for name, (which, names) in joints.items():
        how = f"Mean distance of {which}, the middle of the hips moved onto the true one."
        yield Metric(f"MPJPE{name}", "mm", how, entries=names)
    for name, (which, names) in joints.items():
        yield Metric(f"PA-MPJPE{name}", "mm", f"Mean distance of {which} {_PA} of these joints.", entries=names)
    for name, names in HAND21_NAMES.items():
        how = f"Mean distance of the 21 joints and tips of the {name} {_PA} of these."
        yield Metric(f"PA-MPJPE {name}", "mm", how, entries=names)
    for name in SETS:
        what = "all vertices" if name == "all" else f"the {name}'s vertices"
        yield Metric(f"PA-V2V {name}", "mm", f"Mean distance of {what} {_PA} of these vertices.")
    for name in SETS:
        what = "all vertices" if name == "all" else f"the {name}'s vertices"
        yield Metric(f"V2V {name}", "mm", f"Mean distance of {what} {_UNALIGNED}")
    pelvis = "the pelvis joint (where a side has none, the middle of the hips) moved onto the true one"
    yield Metric("PVE", "mm", f"Mean distance of all vertices, {pelvis}.")
    yield Metric("TR-V2V", "mm", "Mean distance of all vertices, their mean moved onto the true one.")
    surface = (
        "distance of the true vertices from the predicted surface after a similarity of all vertices; other "
        "topologies: of the common body joints"
    )
    yield Metric("P2S mean", "mm", f"Mean {surface}.")
    yield Metric("P2S median", "mm", f"Median over each subject's vertices of the {surface}; then the subjects' mean.")
    nearest = "the same, the predicted surface laid on the true vertices by iterative closest points: for bare meshes"
    yield Metric("P2S mean, ICP", "mm", f"Mean of {nearest} of which neither joints nor vertices correspond.")
    yield Metric("P2S median, ICP", "mm", f"Median of {nearest}; flatters, because nothing holds part on part.")
    for name, threshold in F_THRESHOLDS_M.items():
        near = f"{threshold * _MM:.0f} mm"
        how = (
            f"Harmonic mean of the shares of predicted and true hand vertices nearer than {near} to the other hand's, "
        )
        yield Metric(name, "", how + f"each hand {_PA}.", True, ("left hand", "right hand"))


WHOLE_METRICS: tuple[Metric, ...] = tuple(_whole_metrics())
"""Everything that :func:`measure_whole` measures. ``... body`` are the 14 LSP joints, ``... 12 limb joints`` stand in
where they are not known of both sides."""


def choose_metrics(*names: str) -> tuple[Metric, ...]:
    """Those of :data:`WHOLE_METRICS` with these names, in the order of the names.

    Raises:
        KeyError: there is none.
    """
    by_name = {metric.name: metric for metric in WHOLE_METRICS}
    return tuple(by_name[name] for name in names)


@dataclass(frozen=True, eq=False)
class Truth:
    """What is true of a whole person: metres, axes of the camera."""

    mesh: Mesh | None = None
    joints_m: Float[Array, "n 3"] | None = None
    joint_names: tuple[str, ...] = ()
    joints14_m: Float[Array, "14 3"] | None = None
    """The 14 LSP joints (:data:`~openexpose.evaluation.tables.LSP14_NAMES`), where the data set has them."""
    together: bool = True
    """Whether joints and mesh have one origin. If not, what is aligned by joints and measured on the mesh takes the
    mesh's own joints."""


def measure_whole(
    truth: Truth, prediction: Prediction, tables: Tables, metrics: Sequence[Metric] = WHOLE_METRICS
) -> Values:
    """Measure a predicted whole body.

    A metric is left out where a side lacks what it needs: joints, the vertex sets of the topology, triangles, or a
    correspondence between the topologies (see :meth:`~openexpose.evaluation.tables.Tables.common`). The joint metrics
    have one value a joint, F-scores one a hand, all others one. Joints are taken as they are named; those that a
    side does not name are regressed from its mesh.

    Args:
        truth: what is true.
        prediction: what is measured.
        tables: vertex sets, joint regressors and correspondences.
        metrics: which of :data:`WHOLE_METRICS` to measure; the surface's and the F-scores take the longest.

    Returns:
        mm, F-scores 0 to 1.

    Raises:
        InputError: nothing to compare, points without extent, or a unit other than metres.
    """
    wanted = {metric.name for metric in metrics}
    sides = _Sides(truth, prediction, tables)
    _check_unit(truth, prediction)
    body, limbs = sides.body()
    vertices = sides.vertices()
    surface = truth.mesh is not None and prediction.mesh is not None
    values: Values = {}
    for name, pair in ((_BODY, body), (_LIMBS, limbs)):
        if pair is not None:
            values[f"MPJPE{name}"] = compute.pelvis_aligned_errors(*pair, hips=_HIPS)
            values[f"PA-MPJPE{name}"] = compute.procrustes_errors(*pair)
    for name, names in HAND21_NAMES.items():
        hand = sides.pair(names)
        if hand is not None and f"PA-MPJPE {name}" in wanted:
            values[f"PA-MPJPE {name}"] = compute.procrustes_errors(*hand)
    if vertices is not None:
        values |= _vertex_values(vertices, sides.with_mesh().pelvis() if "PVE" in wanted else None, wanted)
    if surface and wanted & {"P2S mean", "P2S median", "P2S mean, ICP", "P2S median, ICP"}:
        values |= _surface_values(sides.with_mesh(), vertices)
    found = {name: _MM * np.atleast_1d(value) for name, value in values.items()}
    if vertices is not None:
        found |= _f_scores(vertices, wanted)
    chosen = {name: value for name, value in found.items() if name in wanted}
    if not chosen:
        raise InputError(
            "a prediction that has nothing in common with the truth",
            "a mesh of the same topology, or named joints",
            "Name the joints, or give SMPL-X tables (--tables) or a correspondence file (--correspondence).",
        )
    return chosen


def body_joints(truth: Truth, prediction: Prediction, tables: Tables) -> Pair | None:
    """Predicted and true body joints, metres: the 14 of LSP, or the 12 limb joints where a side lacks the others; None
    if it lacks these, too. Rows 2 and 3 are the hips."""
    body, limbs = _Sides(truth, prediction, tables).body()
    return body or limbs


@dataclass(frozen=True, eq=False)
class _Sides:
    """Truth and prediction, asked for what both have."""

    truth: Truth
    prediction: Prediction
    tables: Tables

    def joints14(self) -> Pair | None:
        """The 14 LSP joints of both sides."""
        named = self.truth.joints14_m
        true = self._joints14(self.truth.mesh, _named(self.truth, LSP14_NAMES) if named is None else named)
        predicted = self._joints14(self.prediction.mesh, self.prediction.joints(LSP14_NAMES))
        return None if true is None or predicted is None else (predicted, true)

    def pair(self, names: tuple[str, ...]) -> Pair | None:
        """Named joints of both sides: both as they are named, or both from their meshes, or else one of each."""
        named = self.prediction.joints(names), _named(self.truth, names)
        if named[0] is not None and named[1] is not None:
            return named[0], named[1]
        found = self._found(self.prediction.mesh, names), self._found(self.truth.mesh, names)
        if found[0] is not None and found[1] is not None:
            return found[0], found[1]
        predicted, true = (a if a is not None else b for a, b in zip(named, found, strict=True))
        return None if predicted is None or true is None else (predicted, true)

    def vertices(self) -> CommonVertices | None:
        """The vertices that both meshes have."""
        if self.truth.mesh is None or self.prediction.mesh is None:
            return None
        return self.tables.common(self.prediction.mesh, self.truth.mesh)

    def body(self) -> tuple[Pair | None, Pair | None]:
        """The 14 LSP joints; or, where a side lacks them, the 12 limb joints."""
        joints = self.joints14()
        return joints, self.pair(LIMBS12_NAMES) if joints is None else None

    def pelvis(self) -> Pair | None:
        """The pelvis joint [1, 3] of both sides, else the middle of the hips of the body joints."""
        pelvis, (body, limbs) = self.pair(("pelvis",)), self.body()
        joints = body or limbs
        if pelvis is None and joints is not None:
            return joints[0][list(_HIPS)].mean(0)[None], joints[1][list(_HIPS)].mean(0)[None]
        return pelvis

    def with_mesh(self) -> "_Sides":
        """The same without true joints that have another origin than the true mesh."""
        if self.truth.together:
            return self
        return replace(self, truth=replace(self.truth, joints_m=None, joint_names=(), joints14_m=None))

    def faces(self) -> Int[Array, "f 3"] | None:
        """Triangles of the predicted mesh: its own, or those of its topology."""
        predicted, true = self.prediction.mesh, self.truth.mesh
        if predicted is None:
            return None
        if len(predicted.faces):
            return predicted.faces
        faces = self.tables.faces(predicted.topology)
        if faces is None and true is not None and len(true.vertices_m) == len(predicted.vertices_m):
            faces = true.faces
        return faces if faces is not None and len(faces) else None

    def _joints14(self, mesh: Mesh | None, named: Array | None) -> Array | None:
        return self.tables.joints14(mesh) if named is None and mesh is not None else named

    def _found(self, mesh: Mesh | None, names: tuple[str, ...]) -> Float[Array, "n 3"] | None:
        """Joints that the tables find on a mesh."""
        if mesh is None:
            return None
        joints = self.tables.joints(mesh)
        if joints is not None and set(names) <= set(REGRESSED_NAMES):
            return joints[[REGRESSED_NAMES.index(name) for name in names]]
        lsp = self.tables.joints14(mesh)
        if lsp is not None and set(names) <= set(LSP14_NAMES):
            return lsp[[LSP14_NAMES.index(name) for name in names]]
        return None


def _named(truth: Truth, names: Sequence[str]) -> Float[Array, "n 3"] | None:
    if truth.joints_m is None or not set(names) <= set(truth.joint_names):
        return None
    return truth.joints_m[[truth.joint_names.index(name) for name in names]]


def _vertex_values(vertices: CommonVertices, pelvis: Pair | None, wanted: set[str]) -> Values:
    predicted, true = vertices.predicted_m, vertices.true_m
    values: Values = {}
    for name, rows in vertices.sets.items():
        if f"V2V {name}" in wanted:
            values[f"V2V {name}"] = compute.joint_errors(predicted[rows], true[rows]).mean()
        if f"PA-V2V {name}" in wanted:
            values[f"PA-V2V {name}"] = compute.procrustes_errors(predicted[rows], true[rows]).mean()
    if "all" in vertices.sets:
        predicted, true = predicted[vertices.sets["all"]], true[vertices.sets["all"]]
        if "PVE" in wanted and pelvis is not None:
            values["PVE"] = compute.joint_errors(predicted - pelvis[0], true - pelvis[1]).mean()
        if "TR-V2V" in wanted:
            values["TR-V2V"] = compute.translation_errors(predicted, true).mean()
    return values


def _surface_values(sides: _Sides, vertices: CommonVertices | None) -> Values:
    predicted, true, faces = sides.prediction.mesh, sides.truth.mesh, sides.faces()
    if predicted is None or true is None or faces is None:
        return {}
    body, limbs = sides.body()
    similarity = _surface_similarity(predicted, true, body or limbs, vertices)
    how = "" if similarity is not None else ", ICP"
    if similarity is None:
        similarity = compute.surface_similarity(predicted.vertices_m, faces, true.vertices_m)
    distances = SurfaceIndex(similarity(predicted.vertices_m), faces).distances(true.vertices_m)
    return {f"P2S mean{how}": distances.mean(), f"P2S median{how}": np.median(distances)}


def _surface_similarity(
    predicted: Mesh, true: Mesh, joints: Pair | None, vertices: CommonVertices | None
) -> Similarity | None:
    """From all vertices of one topology; else from the joints; else from the vertices that correspond; else None."""
    one = len(predicted.vertices_m) == len(true.vertices_m)
    if vertices is not None and (one or joints is None):
        return find_similarity(vertices.predicted_m, vertices.true_m)
    return None if joints is None else find_similarity(*joints)


def _f_scores(vertices: CommonVertices, wanted: set[str]) -> Values:
    """F-scores of the left and right hand; none unless both are known."""
    chosen = {name: threshold for name, threshold in F_THRESHOLDS_M.items() if name in wanted}
    if not chosen or not set(HAND21_NAMES) <= set(vertices.sets):
        return {}
    scores: dict[str, list[float]] = {name: [] for name in chosen}
    for hand in HAND21_NAMES:
        rows = vertices.sets[hand]
        predicted, true = vertices.predicted_m[rows], vertices.true_m[rows]
        aligned = find_similarity(predicted, true)(predicted)
        for name, threshold in chosen.items():
            scores[name].append(compute.f_score(aligned, true, threshold))
    return {name: np.array(values) for name, values in scores.items()}


def _check_unit(truth: Truth, prediction: Prediction) -> None:
    """Refuse predictions in another unit than the truth's."""
    pred, true = (side.mesh.vertices_m if side.mesh is not None else side.joints_m for side in (prediction, truth))
    if pred is not None and true is not None:
        compute.check_unit(pred, true)
