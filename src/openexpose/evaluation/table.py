"""Evaluation results as a text table and as JSON."""

import json
from dataclasses import asdict
from pathlib import Path

from openexpose import __version__
from openexpose.evaluation.metrics import Summary
from openexpose.evaluation.photos import NOTES, Report
from openexpose.formats.atomic import write_whole

_HEAD = ("metric", "data", "box", "n", "mean [95 %]", "median", "no attention", "median", "attention's change [95 %]")

_REFINED = (
    "Both columns are refined on the landmarks that the trunks saw: without attention on the body's alone, so that "
    "attention's change includes what the refinement makes of hand and face landmarks."
)
_UNREFINED = "Neither column is refined: attention's change is that of the networks alone."


def format_table(report: Report) -> str:
    """The report as an aligned text table (Markdown), with notes on how the numbers were made."""
    rows: list[tuple[str, ...]] = [_HEAD]
    for row in report.rows:
        cells = [row.metric, row.data, row.box, str(row.result.people), _mean(row.result), f"{row.result.median:.2f}"]
        cells += [_mean(row.without), f"{row.without.median:.2f}"] if row.without else ["", ""]
        change = row.difference
        cells.append(f"{change.mean:+.2f} [{change.low:+.2f}, {change.high:+.2f}]" if change else "")
        rows.append(tuple(cells))
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    padded = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]
    lines = ["| " + " | ".join(row) + " |" for row in padded]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    lines += ["", *NOTES, _REFINED if report.refinement else _UNREFINED]
    if report.missing:
        lines += ["", f"Not measured, {len(report.missing)} pictures could not be read:", *report.missing]
    return "\n".join(lines)


def write_table(path: Path, report: Report) -> None:
    """Write the report as JSON.

    Raises:
        InputError: the file cannot be written.
    """
    document = {"openexpose": __version__, "notes": NOTES, **asdict(report)}
    write_whole(path, (json.dumps(document, indent=1) + "\n").encode())


def _mean(summary: Summary) -> str:
    return f"{summary.mean:.2f} [{summary.low:.2f}, {summary.high:.2f}]"
