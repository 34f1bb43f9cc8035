"""The protocol of renders: 3D errors, in millimetres, of whole people whose truth is exact.

The columns are those of the paper's Table 2. Truth and prediction are posed with the same body model, the free body, so
that vertices correspond. Boxes and focal length are given.
"""

import io
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from itertools import product
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image
from tqdm import tqdm

from openexpose import __version__
from openexpose.body.keypoints import IBUG68, LEFT_HAND21, RIGHT_HAND21, indices
from openexpose.body.mesh import PosedMesh, posed_mesh
from openexpose.body.model import BodyModel, load_body_model
from openexpose.errors import InputError
from openexpose.evaluation.metrics import Summary, paired_difference, summarise
from openexpose.formats.atomic import write_whole
from openexpose.geometry.procrustes import align_similarity
from openexpose.predict.pipeline import Predictor

Array = np.ndarray

LSP14 = indices(
    *"right_ankle right_knee right_hip left_hip left_knee left_ankle right_wrist right_elbow right_shoulder".split(),
    *"left_shoulder left_elbow left_wrist neck head".split(),
)
"""The 14 joints of the LSP skeleton, by name, among the 144 keypoints."""
HIPS = (2, 3)
"""Rows of the hips in ``LSP14``; their middle is the pelvis that MPJPE aligns."""
SUBSETS = ("all", "body", "left hand", "right hand", "face")
"""Vertex sets of PA-V2V, each aligned on its own."""
METRICS = (
    *("MPJPE body", "PA-MPJPE body", "PA-MPJPE left hand", "PA-MPJPE right hand"),
    *(f"PA-V2V {name}" for name in SUBSETS),
)
EVERYONE, SEEN = "all", "part seen"
_PARTS = {"left hand": LEFT_HAND21, "right hand": RIGHT_HAND21, "face": IBUG68}
_VISIBLE = 2

NOTES = (
    "All numbers in mm on renders, boxes and focal length given; [95 % interval of the mean: bootstrap over people].",
    "MPJPE: 14 joints named as LSP's (the model's own neck and head joints), aligned at the middle of the hips.",
    "PA-: after the best rotation, scale and translation, found for each subset of joints or vertices separately.",
    "V2V: mean over the vertices of the free body, of its parts as freebody_parts.npz has them.",
    "part seen: only people of whom at least half of the part's keypoints are in the picture and not hidden.",
)
_HEAD = ("metric", "people", "n", "mean [95 %]", "median", "no attention", "median", "attention's change [95 %]")


@dataclass(frozen=True)
class RenderedPerson:
    """A picture of one person and its truth, in the camera frame of the picture."""

    name: str
    """Shard and number, as error messages call it."""
    jpeg: bytes
    """The picture; its camera's axis goes through the centre."""
    box_xyxy_px: Float[Array, "4"]
    focal_px: float
    pose: Float[Array, "55 3 3"]
    betas: Float[Array, "b"]
    expression: Float[Array, "e"]
    visibility: UInt8[Array, "144"]
    """0 not in the picture or behind a thing, 1 behind the person's own body, 2 seen."""

    def read_pixels(self) -> UInt8[Array, "h w 3"]:
        """Decode the picture, RGB.

        Raises:
            InputError: it does not decode.
        """
        try:
            with Image.open(io.BytesIO(self.jpeg)) as picture:
                return np.asarray(picture.convert("RGB"))
        except (OSError, SyntaxError, ValueError) as error:
            raise InputError(f"{self.name}: a picture that does not decode ({error})", "a JPEG file") from None


@dataclass(frozen=True)
class RenderRow:
    """One line of the table, mm: less is better."""

    metric: str
    people: str
    """``all``, or ``part seen``: those of whom the part can be seen."""
    result: Summary
    """With attention, or, where that is off, of the body network alone."""
    without: Summary | None = None
    """Without attention."""
    difference: Summary | None = None
    """With minus without attention, person by person."""


@dataclass(frozen=True)
class RendersReport:
    """What the protocol of renders found."""

    rows: list[RenderRow]
    attention: bool
    """Whether hands and face were looked at; if not, there is one column."""
    refinement: bool
    """Whether people were laid on the trunks' landmarks."""


@dataclass
class _Scores:
    """Errors by (metric, people): one value a person, with attention (or the only ones) and without."""

    first: dict[tuple[str, str], list[Array]] = field(default_factory=dict)
    second: dict[tuple[str, str], list[Array]] = field(default_factory=dict)

    def add(self, person: RenderedPerson, errors: list[dict[str, float]]) -> None:
        for kept, values in zip((self.first, self.second), errors, strict=False):
            for metric, value in values.items():
                for people in (EVERYONE, SEEN) if _seen(person, metric) else (EVERYONE,):
                    kept.setdefault((metric, people), []).append(np.array([value]))

    def rows(self) -> list[RenderRow]:
        rows = []
        for metric, people in product(METRICS, (EVERYONE, SEEN)):
            values, other = self.first.get((metric, people), []), self.second.get((metric, people))
            result = summarise(values)
            if result is None:
                continue
            extra = (summarise(other), paired_difference(values, other)) if other else ()
            rows.append(RenderRow(metric, people, result, *extra))
        return rows


def evaluate_renders(
    predictor: Predictor, people: Sequence[RenderedPerson], *, attention: bool = True, refinement: bool = True
) -> RendersReport:
    """Run the protocol of renders.

    Args:
        predictor: what to measure; its body model must be the free body.
        people: pictures with their truth, which belongs to the free body, too.
        attention: also look at hands and face. People are then predicted twice, with and without, so that what
            attention gains is a paired difference.
        refinement: with or without laying people on the trunks' landmarks.

    Raises:
        InputError: no people, a bundle with another body model, or a picture that does not decode.
    """
    if predictor.body_model.name != "freebody":
        raise InputError(
            f"a bundle whose body model is '{predictor.body_model.name}'",
            "one whose body model is the free body: the truth of renders is posed with it",
            "Coefficients of two body models mean different things; measure this bundle on photos.",
        )
    if not people:
        raise InputError("no people to measure on", "at least one")
    truth_model = load_body_model(num_betas=len(people[0].betas), num_expression=len(people[0].expression))
    subsets, scores = _vertex_subsets(truth_model), _Scores()
    ways = (True, False) if attention else (False,)
    for person in tqdm(people, unit="person", file=sys.stderr, disable=not sys.stderr.isatty()):
        truth = posed_mesh(truth_model, person.pose[None], person.betas[None], person.expression[None])
        answers = [_predicted(predictor, person, way, refinement) for way in ways]
        scores.add(person, [person_errors(answer, truth, subsets) for answer in answers])
    return RendersReport(scores.rows(), attention, refinement)


def person_errors(predicted: PosedMesh, truth: PosedMesh, subsets: dict[str, Array]) -> dict[str, float]:
    """Errors of one person by the names of ``METRICS``, mm; ``subsets``: vertex indices by the names of ``SUBSETS``."""
    joints, vertices = (predicted.joints[0], truth.joints[0]), (predicted.vertices[0], truth.vertices[0])
    body = [points[LSP14] - points[LSP14[list(HIPS)]].mean(0) for points in joints]
    points = [_aligned_mm(*joints, rows) for rows in (LSP14, LEFT_HAND21, RIGHT_HAND21)]
    surface = [_aligned_mm(*vertices, subsets[name]) for name in SUBSETS]
    return dict(zip(METRICS, [_mean_distance_mm(*body), *points, *surface], strict=True))


def format_renders(report: RendersReport) -> str:
    """The report as an aligned text table (Markdown), with notes on how the numbers were made."""
    lines: list[tuple[str, ...]] = [_HEAD if report.attention else (*_HEAD[:3], "no attention [95 %]", "median")]
    for row in report.rows:
        cells = [row.metric, row.people, str(row.result.people), _mean(row.result), f"{row.result.median:.1f}"]
        if row.without and row.difference:
            change = row.difference
            cells += [_mean(row.without), f"{row.without.median:.1f}"]
            cells.append(f"{change.mean:+.1f} [{change.low:+.1f}, {change.high:+.1f}]")
        lines.append(tuple(cells))
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    table = ["| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |" for line in lines]
    table.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    refined = "Refined on the trunks' landmarks." if report.refinement else "Not refined: the networks' own answers."
    return "\n".join([*table, "", *NOTES, refined])


def write_renders(path: Path, report: RendersReport) -> None:
    """Write the report as JSON.

    Raises:
        InputError: the file cannot be written.
    """
    document = {"openexpose": __version__, "notes": NOTES, **asdict(report)}
    write_whole(path, (json.dumps(document, indent=1) + "\n").encode())


def _predicted(predictor: Predictor, person: RenderedPerson, attention: bool, refinement: bool) -> PosedMesh:
    people = predictor(
        person.read_pixels(),
        boxes=person.box_xyxy_px[None],
        focal_px=person.focal_px,
        attention=attention,
        refinement=refinement,
    )
    return PosedMesh(predictor.mesh(people), predictor.keypoints(people))


def _vertex_subsets(model: BodyModel) -> dict[str, Array]:
    with (files("openexpose.body") / "data" / "freebody_parts.npz").open("rb") as file:
        parts = np.load(file, allow_pickle=False)
        known = {name: parts[name.replace(" ", "_")] for name in SUBSETS if name != "all"}
    return {"all": np.arange(len(model.v_template)), **known}


def _seen(person: RenderedPerson, metric: str) -> bool:
    part = next((points for name, points in _PARTS.items() if metric.endswith(name)), None)
    return part is not None and bool((person.visibility[part] == _VISIBLE).mean() >= 0.5)


def _aligned_mm(predicted: Array, truth: Array, rows: Array) -> float:
    source, target = predicted[rows].astype(float), truth[rows].astype(float)
    return _mean_distance_mm(align_similarity(source, target), target)


def _mean_distance_mm(a: Array, b: Array) -> float:
    return float(1000.0 * np.linalg.norm(a - b, axis=-1).mean())


def _mean(summary: Summary) -> str:
    return f"{summary.mean:.1f} [{summary.low:.1f}, {summary.high:.1f}]"
