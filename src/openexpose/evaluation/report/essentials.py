"""The few numbers that matter, which a report begins with: the columns of the papers' own tables."""

from collections.abc import Sequence

from openexpose.evaluation.record import Report
from openexpose.evaluation.report.rows import Row, Table, count, gain, interval, number, with_unit

_SETS = ("all", "body", "left hand", "right hand", "face")
_WHOLE = (
    *(f"PA-V2V {part}" for part in _SETS),
    *("PA-MPJPE body", "PA-MPJPE 12 limb joints", "PA-MPJPE left hand", "PA-MPJPE right hand"),
    *("P2S mean", "P2S median", "P2S mean, ICP", "P2S median, ICP"),
)
ESSENTIAL: dict[str, tuple[str, ...]] = {
    "renders": (
        *(*_WHOLE, "MPJPE body", "expression", "expression, neutral answer"),
        *("shape without scale", "shape without scale, mean's answer"),
    ),
    "ehf": _WHOLE,
    "3dpw": (
        *("PA-MPJPE body", "MPJPE body", "PA-MPJPE 12 limb joints", "MPJPE 12 limb joints"),
        *("PA-V2V body", "PVE", "acceleration error"),
    ),
    "freihand": ("PA-MPJPE", "PA-V2V", "F-score 5 mm", "F-score 15 mm"),
    "stirling": ("scan-to-mesh mean", "scan-to-mesh median", "scan-to-mesh std"),
    "agora": (
        *("NMVE full body", "NMVE body", "NMJE full body", "NMJE body", "F1"),
        *("MVE full body", "MVE body", "MVE face", "MVE left hand", "MVE right hand"),
    ),
    "coco-wholebody": (
        *("AP whole body", "AR whole body", "AP body", "AP foot", "AP face", "AP hands"),
        *("NME face", "error left hand", "error right hand"),
    ),
    "faces": ("NME inner 51", "NME contour 17", "failure rate 10 %"),
    "photos": (
        *("body PCK @ 0.2 torso", "face NME inner 51", "hand error / hand size, wrist-aligned"),
        *("face alone, NME inner 51", "hand alone, error / hand size, wrist-aligned"),
    ),
}
"""Protocol to its metrics that come first, in this order. Of other protocols all come first."""


def essential_names(report: Report) -> tuple[str, ...]:
    """The metrics that a report begins with."""
    return ESSENTIAL.get(report.protocol) or tuple(metric.name for metric in report.metrics)


def essential_rows(report: Report, rows: Sequence[Row]) -> list[Row]:
    """One row a metric: the group with the most people; more only where numbers were published of several groups."""
    published = {(p.metric, p.group) for p in report.published}
    chosen = []
    for name in essential_names(report):
        of = [row for row in rows if row.metric.name == name]
        known = [row for row in of if (name, row.group) in published]
        chosen += known or sorted(of, key=lambda row: row.could, reverse=True)[:1]
    return chosen


def short_table(report: Report, rows: Sequence[Row]) -> Table | None:
    """What a report begins with: mean, interval, median, the other systems' means, what the first gains over them.

    None where none of the metrics that matter is a mean over subjects.
    """
    chosen = essential_rows(report, rows)
    if not chosen:
        return None
    grouped = {row.group for row in chosen} != {report.protocol}
    first, *others = [result.system for result in report.results]
    head: tuple[str, ...] = ("metric", *(("group",) if grouped else ()), "n/N", f"{first} [95 %]", "median")
    for system in others:
        head += (system, f"{first} better by [95 %]")
    cells = []
    for row in chosen:
        unit, own = row.metric.unit, row.summaries[0]
        line = [with_unit(row.metric.name, unit), *((row.group,) if grouped else ()), count(row)]
        line += [interval(own, unit), number(own.median, unit)] if own else ["-", "-"]
        for k, summary in enumerate(row.summaries[1:]):
            line += [number(summary.mean, unit) if summary else "-", gain(row, k)]
        cells.append(tuple(line))
    return Table("Results", head, tuple(cells), _notes(report, chosen))


def _notes(report: Report, rows: Sequence[Row]) -> tuple[str, ...]:
    notes = ["n/N: subjects measured, of those that could be. Means, 95 %: their interval (bootstrap over subjects)."]
    if len(report.results) > 1:
        notes.append(
            "better by: paired, subject by subject; negative is worse; an interval with 0 in it shows nothing."
        )
    more = list(dict.fromkeys(row.metric.name for row in rows if row.metric.more_is_better))
    if more:
        notes.append(f"More is better: {', '.join(more)}. Less is better for all others.")
    return tuple(notes)


def absent_names(report: Report, rows: Sequence[Row]) -> list[str]:
    """Metrics that a report should begin with, and that no system has any value of."""
    present = {row.metric.name for row in rows} | {d.metric for result in report.results for d in result.derived}
    instead = {f"{kind} body": f"{kind} 12 limb joints" for kind in ("MPJPE", "PA-MPJPE")}
    instead |= {f"P2S {kind}": f"P2S {kind}, ICP" for kind in ("mean", "median")}
    instead |= {there: name for name, there in instead.items()}
    return [name for name in essential_names(report) if name not in present and instead.get(name) not in present]
