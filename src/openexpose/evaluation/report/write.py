"""Reports as text and as files: report.json, report.md, index.html, worst.jpg."""

import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from openexpose import __version__
from openexpose.errors import InputError
from openexpose.evaluation.record import Case, Derived, Metric, Published, Report, Result
from openexpose.evaluation.report.essentials import absent_names, essential_names, short_table
from openexpose.evaluation.report.rows import (
    Row,
    Table,
    definitions,
    derived_table,
    entry_tables,
    full_table,
    measured_count,
    published_table,
    report_rows,
    skipped_lines,
    timing_table,
)
from openexpose.formats.atomic import check_writable, write_whole

Array = np.ndarray

FORMAT_VERSION = 1
_FIX = "Give a report.json of `openexpose evaluate --out`."


def first_tables(report: Report, rows: Sequence[Row]) -> list[Table]:
    """What a reader wants first: the numbers that matter."""
    tables = short_table(report, rows), derived_table(report, essential_names(report))
    return [table for table in tables if table is not None]


def beside_tables(report: Report, rows: Sequence[Row]) -> list[Table]:
    """What belongs beside the numbers that matter: seconds, and what others published."""
    return [table for table in (timing_table(report), published_table(report, rows)) if table is not None]


def detail_tables(report: Report, rows: Sequence[Row]) -> list[Table]:
    """Everything: all metrics in all groups, and single joints and landmarks."""
    tables = [full_table(report, rows), derived_table(report), *entry_tables(report)]
    return [table for table in tables if table is not None]


def not_measured(report: Report, rows: Sequence[Row]) -> list[str]:
    """Plain sentences on what has no number: subjects, and whole metrics."""
    absent = absent_names(report, rows)
    return skipped_lines(report) + ([f"No number at all of: {'; '.join(absent)}."] if absent else [])


def format_markdown(report: Report, rows: Sequence[Row] | None = None, *, details: bool = True) -> str:
    """The report as Markdown with aligned columns, the numbers that matter first.

    Args:
        report: what was measured.
        rows: its :func:`~openexpose.evaluation.report.rows.report_rows`, if they are known already.
        details: with all metrics and groups, single joints, and what each metric means. The terminal goes without.
    """
    rows = report_rows(report) if rows is None else rows
    lines = [f"# {report.title}", "", headline(report), ""]
    for table in first_tables(report, rows):
        lines += [*([f"## {table.title}", ""] if len(lines) > 4 else []), markdown_table(table), ""]
    lines += ["## Not measured", "", *not_measured(report, rows), ""]
    for table in beside_tables(report, rows):
        lines += [f"## {table.title}", "", markdown_table(table), ""]
    lines += ["## How it was measured", "", *(f"- {note}" for note in report.notes), ""]
    if details:
        for table in detail_tables(report, rows):
            lines += [f"## {table.title}", "", markdown_table(table), ""]
        lines += ["## What the metrics mean", "", *(f"- {line}" for line in definitions(report)), ""]
    return "\n".join(lines)


def headline(report: Report) -> str:
    """One sentence: which protocol and data, and how many of how many subjects each system was measured on."""
    parts = [f"{result.system} {measured_count(report, result)}" for result in report.results]
    return (
        f"Protocol {report.protocol}, data '{report.data}'. Measured of {report.subjects} subjects: {'; '.join(parts)}."
    )


def markdown_table(table: Table) -> str:
    """A table with aligned columns, its notes below."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in (table.head, *table.rows)]
    widths = [max(3, *(len(row[k]) for row in cells)) for k in range(len(table.head))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in cells]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join([*lines, *(["", *table.notes] if table.notes else [])])


def report_json(report: Report, rows: Sequence[Row] | None = None) -> dict[str, Any]:
    """The report as what JSON can hold: everything but ``Result.kept``, values subject by subject, NaN as null.

    ``table`` repeats the summaries for readers who want no more; :func:`report_from_json` makes them anew.
    """
    rows = report_rows(report) if rows is None else rows
    return {
        "format": "openexpose evaluation",
        "format_version": FORMAT_VERSION,
        "openexpose": __version__,
        **{
            f.name: getattr(report, f.name) for f in fields(report) if f.name not in ("metrics", "results", "published")
        },
        "metrics": [asdict(metric) for metric in report.metrics],
        "table": [_row_json(report, row) for row in rows],
        "published": [asdict(published) for published in report.published],
        "results": [_result_json(result) for result in report.results],
    }


def _row_json(report: Report, row: Row) -> dict[str, Any]:
    names = [result.system for result in report.results]
    return {
        "metric": row.metric.name,
        "group": row.group,
        "could": list(row.could),
        "systems": {n: asdict(s) if s else None for n, s in zip(names, row.summaries, strict=True)},
        "minus_first": {n: asdict(d) if d else None for n, d in zip(names[1:], row.differences, strict=True)},
    }


def _result_json(result: Result) -> dict[str, Any]:
    return {
        "system": result.system,
        "values": [
            {"metric": metric, "group": group, "subjects": {name: _numbers(array) for name, array in of.items()}}
            for (metric, group), of in result.values.items()
        ],
        "skipped": result.skipped,
        "seconds": result.seconds,
        "detection_seconds": result.detection_seconds,
        "derived": [{k: _number(v) for k, v in asdict(derived).items()} for derived in result.derived],
    }


def _numbers(array: Array) -> list[Any]:
    return [_number(value) for value in np.asarray(array, float).tolist()]


def _number(value: Any) -> Any:
    """NaN as null, infinity as text, because JSON has neither; everything else as it is."""
    if not isinstance(value, float) or math.isfinite(value):
        return value
    return None if math.isnan(value) else str(value)


def _float(value: Any) -> float:
    return math.nan if value is None else float(value)


def report_from_json(document: Mapping[str, Any]) -> Report:
    """Inverse of :func:`report_json`, without ``Result.kept``.

    Raises:
        InputError: not a report, or one of a later format.
    """
    if not isinstance(document, Mapping) or document.get("format") != "openexpose evaluation":
        raise InputError("JSON that is no evaluation report", "a report of `openexpose evaluate`", _FIX)
    if document.get("format_version") != FORMAT_VERSION:
        got = f"a report of format {document.get('format_version')}, written by openexpose {document.get('openexpose')}"
        raise InputError(got, f"format {FORMAT_VERSION}", "Use that version, or evaluate again.")
    try:
        metrics = [Metric(**{**metric, "entries": tuple(metric["entries"])}) for metric in document["metrics"]]
        return Report(
            protocol=document["protocol"],
            title=document["title"],
            data=document["data"],
            metrics=tuple(metrics),
            headline=document["headline"],
            notes=tuple(document["notes"]),
            subjects=int(document["subjects"]),
            skipped=dict(document["skipped"]),
            results=[_result(result) for result in document["results"]],
            published=tuple(Published(**published) for published in document["published"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"a damaged report ({error!r})", "a whole one", _FIX) from None


def _result(document: Mapping[str, Any]) -> Result:
    values = {
        (entry["metric"], entry["group"]): {
            name: np.array([_float(value) for value in array]) for name, array in entry["subjects"].items()
        }
        for entry in document["values"]
    }
    derived = [
        Derived(d["metric"], d["group"], _float(d["value"]), _float(d["low"]), _float(d["high"]), int(d["count"]))
        for d in document["derived"]
    ]
    return Result(
        system=document["system"],
        values=values,
        skipped=dict(document["skipped"]),
        seconds=dict(document["seconds"]),
        detection_seconds=dict(document["detection_seconds"]),
        derived=derived,
    )


def read_report(path: str | Path) -> Report:
    """Read a report.

    Args:
        path: report.json, or the folder that holds it.

    Raises:
        InputError: no such file, not JSON, not a report, or one of a later format.
    """
    path = Path(path)
    path = path / "report.json" if path.is_dir() else path
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"'{path}' cannot be read ({error.strerror})", "a report", _FIX) from None
    except ValueError as error:
        raise InputError(f"'{path}' is no JSON ({error})", "a report", _FIX) from None
    try:
        return report_from_json(document)
    except InputError as error:
        raise InputError(f"'{path}': {error.got}", error.expected, error.fix) from None


def write_report(report: Report, cases: Sequence[Case], out: str | Path) -> None:
    """Write report.json, report.md, index.html and, of the worst cases, worst.jpg; each whole or not at all.

    Args:
        report: what was measured.
        cases: whose pictures to show; may be empty.
        out: folder; made if it is not there.

    Raises:
        InputError: the folder cannot be written to.
    """
    from PIL import Image

    from openexpose.evaluation.report.page import format_page
    from openexpose.evaluation.report.pictures import draw_case, sheet

    out = Path(out)
    check_writable(out)
    rows = report_rows(report)
    document = json.dumps(report_json(report, rows), allow_nan=False, separators=(",", ":"))
    write_whole(out / "report.json", (document + "\n").encode())
    write_whole(out / "report.md", format_markdown(report, rows).encode())
    metric = next((metric for metric in report.metrics if metric.name == report.headline), None)
    drawn = [draw_case(case, metric) for case in cases]
    worst = [case for case in drawn if case.rank == "worst"]
    if worst:
        file = io.BytesIO()
        Image.fromarray(sheet(worst)).save(file, "jpeg", quality=85)
        write_whole(out / "worst.jpg", file.getvalue())
    else:
        (out / "worst.jpg").unlink(missing_ok=True)  # of an earlier run
    write_whole(out / "index.html", format_page(report, drawn, rows).encode())
