"""A made-up report with everything that a report can hold, for the tests of what is made of reports."""

from dataclasses import replace

import numpy as np

from openexpose.evaluation.record import Derived, Metric, Published, Report, Result

JOINTS = ("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle", "right_wrist")
PARTS = ("all", "body", "left hand", "right hand", "face")
METRICS = (
    *(Metric(f"PA-V2V {part}", "mm", "mean over vertices, each set aligned by a similarity") for part in PARTS),
    Metric("MPJPE body", "mm", "joints aligned at the pelvis", entries=JOINTS),
    Metric("PCK", "%", "joints nearer than 0.2 x torso", more_is_better=True),
    Metric("F-score 5 mm", "", "vertices nearer than 5 mm", more_is_better=True),
)
LEVELS = {
    **{"PA-V2V all": 60.0, "PA-V2V body": 58.0, "PA-V2V left hand": 14.0, "PA-V2V right hand": 13.0},
    **{"PA-V2V face": 6.0, "MPJPE body": 90.0, "PCK": 93.0, "F-score 5 mm": 0.48},
}
SUBJECTS, UNREADABLE, UNANSWERED = 40, 2, 3


def subject(k: int) -> str:
    return f"made-up/{k:02d}"


def result(system: str, factor: float, seed: int, groups: tuple[str, ...] = ("made-up",)) -> Result:
    """Values around the levels times the factor; the last subjects have no answer."""
    common, own = np.random.default_rng(7), np.random.default_rng(seed)
    made = Result(system)
    for metric in METRICS:
        for k in range(SUBJECTS):
            shape = max(1, len(metric.entries))
            values = LEVELS[metric.name] * (1 + 0.2 * common.standard_normal(shape))
            values = values * (1 + 0.05 * own.standard_normal(shape)) * factor
            if len(values) > 1 and k % 5 == 0:
                values[1] = np.nan
            of = made.values.setdefault((metric.name, groups[k % len(groups)]), {})
            if k < SUBJECTS - UNANSWERED:
                of[subject(k)] = values
    for k in range(SUBJECTS - UNANSWERED):
        made.seconds[subject(k)] = 0.2 + 0.01 * own.random()
        made.detection_seconds[subject(k)] = 0.05
    made.skipped[subject(SUBJECTS - 1)] = "no answer"
    made.skipped[subject(SUBJECTS - 2)] = "no answer"
    made.skipped[subject(SUBJECTS - 3)] = (
        f"'{subject(SUBJECTS - 3)}.obj' with NaN in 12 of 400 vertices; expected numbers"
    )
    made.derived.append(Derived("PA-V2V all", "made-up", 70.0 * factor, 68.0 * factor, 73.0 * factor, SUBJECTS))
    return made


def full_report(groups: tuple[str, ...] = ("made-up",)) -> Report:
    """Two systems, skipped subjects, published numbers, joints, derived numbers, timings."""
    published = [
        Published("ExPose", f"PA-V2V {part}", groups[0], value, "ExPose, Table 3", 0.16)
        for part, value in zip(PARTS, (54.5, 52.6, 13.1, 12.5, 5.8), strict=True)
    ]
    published += [Published("SMPLify-X'", "PA-V2V all", groups[0], 65.3, "ExPose, Table 3", 50.0)]
    published += [Published("SPIN", "PA-V2V body", groups[0], 60.6, "ExPose, Table 3")]
    return Report(
        protocol="made-up",
        title="Made-up people <with & marks>",
        data="people",
        metrics=METRICS,
        headline="PA-V2V all",
        notes=("PA-: aligned by a similarity, each set on its own.", "Boxes: annotated."),
        subjects=SUBJECTS + UNREADABLE,
        skipped={"made-up/x": "'x.jpg' does not exist", "made-up/y": "'y.jpg' does not exist"},
        results=[
            result("openexpose", 1.0, 1, groups),
            result("openexpose, body only", 1.1, 2, groups),
        ],
        published=tuple(published),
    )


def without(report: Report, names: set[str]) -> Report:
    """The report without the values of some subjects of every system."""
    results = [
        replace(r, values={key: {n: v for n, v in of.items() if n not in names} for key, of in r.values.items()})
        for r in report.results
    ]
    return replace(report, results=results)
