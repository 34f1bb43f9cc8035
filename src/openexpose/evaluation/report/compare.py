"""Comparing runs: paired differences over the subjects that both measured, so that noise is not called progress."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path

import numpy as np

from openexpose.errors import InputError
from openexpose.evaluation.record import Metric, Report, Result
from openexpose.evaluation.report.essentials import essential_names
from openexpose.evaluation.report.rows import (
    Table,
    compare_pairs,
    decimals,
    detected_seconds,
    groups_of,
    interval,
    negated,
    number,
    with_unit,
)
from openexpose.evaluation.report.write import markdown_table
from openexpose.evaluation.statistics import Summary, summarise
from openexpose.formats.atomic import check_writable, write_whole

BETTER, WORSE, SAME, FEW = "better", "worse", "no difference shown", "too few subjects"
_FEWEST = 5
"""Below so many pairs a bootstrap interval means little, so that no verdict is given."""


@dataclass(frozen=True)
class Difference:
    """A later run minus the first one, in one metric and group."""

    run: str
    metric: Metric
    group: str
    first: Summary
    """Of the first run, over the shared subjects."""
    later: Summary
    change: Summary
    """Later minus first, subject by subject."""
    only_first: int
    """Subjects that only the first run has a value of."""
    only_later: int

    @property
    def verdict(self) -> str:
        """``better``, ``worse``, ``no difference shown`` (the interval holds 0, as printed) or ``too few subjects``."""
        if self.change.people < _FEWEST:
            return FEW
        least = 0.5 * 10.0 ** -decimals(self.metric.unit)  # less is not even printed
        if self.change.low <= least and self.change.high >= -least:
            return SAME
        return BETTER if self.gain.mean > 0 else WORSE

    @property
    def gain(self) -> Summary:
        """By how much the later run is better: the change where more is better, else less it."""
        return self.change if self.metric.more_is_better else negated(self.change)


@dataclass(frozen=True)
class Comparison:
    """Several runs on the same data; the first is what the others are compared with."""

    report: Report
    """The first report, holding the runs of all reports under their own names."""
    differences: list[Difference]

    @property
    def names(self) -> list[str]:
        """The runs' names, the first one's first."""
        return [result.system for result in self.report.results]


def compare_reports(reports: Sequence[Report], names: Sequence[str]) -> Comparison:
    """Compare the main systems of several reports with the first one's, or the systems of one report with its main one.

    Args:
        reports: of one protocol on one data set.
        names: of the reports; they tell runs of the same system apart.

    Raises:
        InputError: fewer than two runs, other protocols, data or ways to measure, or no subject that both measured.
    """
    first = reports[0]
    for report, name in zip(reports, names, strict=True):
        for what, got, wanted in (
            ("protocol", report.protocol, first.protocol),
            ("data", report.data, first.data),
        ):
            if got != wanted:
                raise InputError(f"'{name}' with the {what} '{got}'", f"'{wanted}', as in '{names[0]}'")
        _check_metrics(report, first, name)
    runs = list(_runs(reports, names))
    if len(runs) < 2:
        raise InputError("one run", "at least two, in one report or in several", "Name a second report.")
    differences = [difference for run in runs[1:] for difference in _differences(first, runs[0], run)]
    missing = [run.system for run in runs[1:] if run.system not in {d.run for d in differences}]
    if missing:
        raise InputError(f"{runs[0].system} and {missing[0]} without a common subject", "runs on the same subjects")
    return Comparison(replace(first, results=runs), differences)


def _check_metrics(report: Report, first: Report, name: str) -> None:
    known = {metric.name: metric for metric in first.metrics}
    for metric in report.metrics:
        base = known.get(metric.name, metric)
        if (metric.unit, metric.how, metric.more_is_better) != (base.unit, base.how, base.more_is_better):
            got = f"'{name}' with '{metric.name}' measured as: {metric.how} ({metric.unit})"
            raise InputError(got, f"as in the first report: {base.how} ({base.unit})", "Evaluate both alike.")


def _runs(reports: Sequence[Report], names: Sequence[str]) -> Iterator[Result]:
    """The systems of the only report, or the main system of each; renamed where several are called the same."""
    if len(reports) == 1:
        yield from reports[0].results
        return
    times = Counter(report.results[0].system for report in reports)
    repeated = Counter(names)
    for k, (report, name) in enumerate(zip(reports, names, strict=True)):
        main = report.results[0]
        label = f"{name} ({k + 1})" if repeated[name] > 1 else name
        yield replace(main, system=main.system if times[main.system] == 1 else f"{label}/{main.system}")


def _differences(report: Report, first: Result, later: Result) -> Iterator[Difference]:
    for metric in report.metrics:
        base, other = groups_of(first.values, metric.name), groups_of(later.values, metric.name)
        for group in (group for group in base if group in other):
            shared = [name for name in base[group] if name in other[group]]
            change = compare_pairs(other[group], base[group])
            of_first = summarise([base[group][name] for name in shared])
            of_later = summarise([other[group][name] for name in shared])
            if change is None or of_first is None or of_later is None:
                continue
            only = len(base[group]) - len(shared), len(other[group]) - len(shared)
            yield Difference(later.system, metric, group, of_first, of_later, change, *only)


def first_tables(comparison: Comparison) -> list[Table]:
    """The numbers that matter, one table a later run; then seconds side by side."""
    tables = [_differences_table(comparison, name, _essential(comparison, name)) for name in comparison.names[1:]]
    derived = _derived(comparison, essential_names(comparison.report))
    return tables + [table for table in (derived, _seconds(comparison)) if table]


def detail_tables(comparison: Comparison) -> list[Table]:
    """All metrics and groups, one table a later run; then derived numbers, which have no pairs, side by side."""
    tables = []
    for name in comparison.names[1:]:
        found = [d for d in comparison.differences if d.run == name]
        tables.append(_differences_table(comparison, name, found, ", all metrics and groups"))
    derived = _derived(comparison, tuple(metric.name for metric in comparison.report.metrics))
    return tables + ([derived] if derived else [])


def _essential(comparison: Comparison, run: str) -> list[Difference]:
    """One difference a metric that matters: in the group with the most pairs."""
    chosen = []
    for name in essential_names(comparison.report):
        of = [d for d in comparison.differences if (d.run, d.metric.name) == (run, name)]
        chosen += sorted(of, key=lambda d: d.change.people, reverse=True)[:1]
    return chosen or [d for d in comparison.differences if d.run == run]


def _differences_table(comparison: Comparison, run: str, found: Sequence[Difference], more: str = "") -> Table:
    uneven = any(d.only_first or d.only_later for d in found)
    grouped = {d.group for d in found} != {comparison.report.protocol}
    head: tuple[str, ...] = ("metric", *(("group",) if grouped else ()), "n")
    head += (*(("only first", "only this") if uneven else ()), "first", "this", "this better by [95 %]", "verdict")
    cells = []
    for d in found:
        unit = d.metric.unit
        line = [with_unit(d.metric.name, unit), *((d.group,) if grouped else ()), str(d.change.people)]
        line += [str(d.only_first), str(d.only_later)] if uneven else []
        line += [number(d.first.mean, unit), number(d.later.mean, unit), interval(d.gain, unit, sign=True), d.verdict]
        cells.append(tuple(line))
    return Table(f"{run} (this) against {comparison.names[0]} (first){more}", head, tuple(cells))


def _derived(comparison: Comparison, names: Sequence[str]) -> Table | None:
    results = comparison.report.results
    units = {metric.name: metric.unit for metric in comparison.report.metrics}
    found = {(d.metric, d.group, r.system): d for r in results for d in r.derived if d.metric in names}
    cells = []
    for metric, group in dict.fromkeys(key[:2] for key in found):
        row = [with_unit(metric, units.get(metric, "")), group]
        for result in results:
            d, unit = found.get((metric, group, result.system)), units.get(metric, "")
            row.append(f"{number(d.value, unit)} [{number(d.low, unit)}, {number(d.high, unit)}]" if d else "-")
        cells.append(tuple(row))
    note = "These are no means over subjects, so that there are no pairs and no verdict."
    head = ("number", "group", *comparison.names)
    return Table("Numbers over the whole data set [95 %]", head, tuple(cells), (note,)) if cells else None


def _seconds(comparison: Comparison) -> Table | None:
    cells = []
    for result in comparison.report.results:
        if result.seconds:
            both = detected_seconds(result)
            with_detection = f"{np.median(both):.3f}" if both else "-"
            cells.append((result.system, f"{np.median([*result.seconds.values()]):.3f}", with_detection))
    head = ("system", "median s, box given", "median s with detection")
    return Table("Seconds per subject", head, tuple(cells), ("On the machines where each was run.",)) if cells else None


def comparison_notes(comparison: Comparison) -> list[str]:
    """How to read the tables."""
    report, judged = comparison.report, len(comparison.differences)
    notes = [
        f"Protocol {report.protocol}, data '{report.data}'. First: {comparison.names[0]}.",
        "better by: paired, over the n subjects that both runs measured; negative is worse.",
        f"{SAME}: the 95 % interval (bootstrap over subjects) holds 0. {FEW}: fewer than {_FEWEST} pairs.",
        f"Chance alone would call {0.05 * judged:.1f} of {judged} rows better or worse.",
    ]
    for result in report.results:
        if result.skipped:
            notes.append(f"{result.system}: no usable answer for {len(result.skipped)} of its subjects.")
    uneven = [d for d in comparison.differences if d.only_first or d.only_later]
    if uneven:
        notes.append(f"In {len(uneven)} of {judged} rows some subjects were measured by one of the two runs only.")
    return notes


def format_comparison(comparison: Comparison, *, details: bool = True) -> str:
    """The comparison as Markdown, the numbers that matter first; the terminal goes without ``details``."""
    lines = [f"# {comparison.report.title}: runs compared"]
    for table in first_tables(comparison):
        lines += ["", f"## {table.title}", "", markdown_table(table)]
    lines += ["", "## How to read this", "", *(f"- {note}" for note in comparison_notes(comparison))]
    for table in detail_tables(comparison) if details else ():
        lines += ["", f"## {table.title}", "", markdown_table(table)]
    return "\n".join(lines) + "\n"


def comparison_page(comparison: Comparison) -> str:
    """The comparison as an HTML file with plots of differences and of the headline metric's pairs."""
    from openexpose.evaluation.report.page import bullets, document, folded, html_table

    parts = []
    for table in first_tables(comparison):
        parts += [f"<h2>{escape(table.title)}</h2>", html_table(table)]
    parts += ["<h2>How to read this</h2>", bullets(comparison_notes(comparison))]
    figures = [f"<div><h3>{escape(title)}</h3>{svg}</div>" for title, svg in _plots(comparison)]
    parts += ["<h2>Plots</h2>", f'<div class="plots">{"".join(figures)}</div>', "<h2>Details</h2>"]
    parts += [folded(table.title, html_table(table)) for table in detail_tables(comparison)]
    return document(f"{comparison.report.title}: runs compared", parts)


def _plots(comparison: Comparison) -> list[tuple[str, str]]:
    from openexpose.evaluation.report.figures import differences, scatter

    first, *others = comparison.names
    plots = []
    for name in others:
        of = [d for d in _essential(comparison, name) if abs(d.first.mean) > 0]
        if of:
            scale = np.array([100.0 / abs(d.first.mean) for d in of])
            mean, low, high = (np.array([getattr(d.gain, key) for d in of]) * scale for key in ("mean", "low", "high"))
            several = len({d.group for d in of}) > 1
            labels = [f"{d.metric.name}, {d.group}" if several else d.metric.name for d in of]
            plots.append(
                (f"{name} against {first}", differences(labels, mean, low, high, "better by % of the first's mean"))
            )
        pairs = headline_pairs(comparison, name)
        if len(pairs):
            title = comparison.report.headline
            plots.append((f"{title}, subject by subject", scatter(title, pairs[:, 0], pairs[:, 1], (first, name))))
    return plots


def headline_pairs(comparison: Comparison, name: str) -> np.ndarray:
    """Means of the headline metric of the subjects that the first run and run ``name`` both measured: [n, 2]."""
    means = []
    for wanted in (comparison.names[0], name):
        result = next(result for result in comparison.report.results if result.system == wanted)
        groups = groups_of(result.values, comparison.report.headline).values()
        means.append({subject: float(np.nanmean(values)) for of in groups for subject, values in of.items()})
    return np.array([(means[0][subject], means[1][subject]) for subject in means[0] if subject in means[1]]).reshape(
        -1, 2
    )


def write_comparison(comparison: Comparison, out: str | Path) -> None:
    """Write compare.md and compare.html into a folder, which is made if it is not there.

    Raises:
        InputError: the folder cannot be written to.
    """
    out = Path(out)
    check_writable(out)
    write_whole(out / "compare.md", format_comparison(comparison).encode())
    write_whole(out / "compare.html", comparison_page(comparison).encode())
