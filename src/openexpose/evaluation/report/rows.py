"""What a report says, as rows and tables: the numbers are summarised once, for the terminal, the files and the page."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from openexpose.evaluation.record import Metric, Published, Report, Result
from openexpose.evaluation.statistics import Summary, paired_difference, summarise

Array = np.ndarray
Subjects = Mapping[str, Array]
"""Subject to its values of one metric."""

EVERYTHING = "all"
"""Name of the row over all groups."""
_REASONS_SHOWN, _NAMES_SHOWN = 8, 3


@dataclass(frozen=True)
class Table:
    """Text in rows and columns."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    """Sentences that belong under it."""


@dataclass(frozen=True)
class Row:
    """A metric in a group of subjects, for every system."""

    metric: Metric
    group: str
    could: tuple[int, int]
    """Fewest and most subjects that could have a value: those with one by any system, and those that no system has any
    value for. The two differ where it is not known whether the latter belong here (group, labels)."""
    summaries: tuple[Summary | None, ...]
    """One a system."""
    differences: tuple[Summary | None, ...]
    """Every further system minus the first, over the subjects that both have."""


def finite_subjects(values: Subjects) -> dict[str, Array]:
    """The subjects that have at least one value that is not NaN."""
    return {name: array for name, array in values.items() if np.isfinite(array).any()}


def groups_of(result_values: Mapping[tuple[str, str], Subjects], metric: str) -> dict[str, dict[str, Array]]:
    """Group to subjects with values, for one metric; a last group over all of them where there are several.

    There is none such where one of the groups already holds every subject.
    """
    groups = {group: finite_subjects(of) for (name, group), of in result_values.items() if name == metric}
    groups = {group: of for group, of in groups.items() if of}
    everything = {name: array for of in groups.values() for name, array in of.items()}
    if groups and max(len(of) for of in groups.values()) < len(everything):
        groups[EVERYTHING if EVERYTHING not in groups else "all groups"] = everything
    return groups


def compare_pairs(other: Subjects, base: Subjects) -> Summary | None:
    """Mean of ``other`` minus ``base`` over the subjects that both have, with its interval; None without any."""
    names = [name for name in other if name in base and other[name].shape == base[name].shape]
    return paired_difference([other[name] for name in names], [base[name] for name in names])


def report_rows(report: Report) -> list[Row]:
    """Every metric in every group, in the order of the protocol's metrics; rows without any value are left out."""
    answered = {name for result in report.results for of in result.values.values() for name in finite_subjects(of)}
    lost = len(unmeasured(report) - answered)
    rows = []
    for metric in report.metrics:
        by_system = [groups_of(result.values, metric.name) for result in report.results]
        for group in dict.fromkeys(group for groups in by_system for group in groups):
            of = [groups.get(group, {}) for groups in by_system]
            known = set().union(*of)
            everybody = len(known) == len(answered)
            rows.append(
                Row(
                    metric=metric,
                    group=group,
                    could=(len(known) + lost if everybody else len(known), len(known) + lost),
                    summaries=tuple(summarise(list(values.values())) for values in of),
                    differences=tuple(compare_pairs(values, of[0]) for values in of[1:]),
                )
            )
    return rows


def unmeasured(report: Report) -> set[str]:
    """Subjects that the data set could not give, or that some system has no usable answer for."""
    return set(report.skipped) | {name for result in report.results for name in result.skipped}


def measured_count(report: Report, result: Result) -> int:
    """Subjects that a system has both an answer and a number of."""
    numbered = {name for of in result.values.values() for name in finite_subjects(of)} - result.skipped.keys()
    return min(len(numbered), report.subjects - len(set(report.skipped) | set(result.skipped)))  # tracks have names too


def with_unit(name: str, unit: str) -> str:
    """A metric's name with its unit, as in ``PVE (mm)``."""
    return f"{name} ({unit})" if unit else name


def decimals(unit: str) -> int:
    """Decimals that the tables show: two, three where there is no unit."""
    return 2 if unit else 3


def number(value: float, unit: str, sign: bool = False) -> str:
    """A value as the tables write it; with ``sign`` positive ones have one, and nothing has none."""
    digits = decimals(unit)
    rounded = round(value, digits) + 0.0  # + 0.0: no -0.00
    return f"{rounded:{'+' if sign and rounded > 0 else ''}.{digits}f}"


def interval(summary: Summary, unit: str, sign: bool = False) -> str:
    """``mean [low, high]``."""
    low, high = number(summary.low, unit, sign), number(summary.high, unit, sign)
    return f"{number(summary.mean, unit, sign)} [{low}, {high}]"


def count(row: Row, system: int = 0) -> str:
    """``n/N``: measured subjects of those that could have a value, as in ``97/100`` or ``48/50-52``."""
    summary, (fewest, most) = row.summaries[system], row.could
    return f"{summary.people if summary else 0}/{fewest}" + (f"-{most}" if most > fewest else "")


def negated(difference: Summary) -> Summary:
    """A difference the other way round."""
    low, high = -difference.high, -difference.low
    return replace(difference, mean=-difference.mean, median=-difference.median, low=low, high=high)


def gain(row: Row, other: int) -> str:
    """By how much the first system is better than a further one (0: the second of the report), with its interval."""
    difference = row.differences[other]
    if difference is None:
        return "-"
    if row.metric.more_is_better:
        difference = negated(difference)
    most = max(summary.people for summary in (row.summaries[0], row.summaries[1 + other]) if summary)
    fewer = f", n {difference.people}" if difference.people < most else ""
    return interval(difference, row.metric.unit, sign=True) + fewer


def full_table(report: Report, rows: Sequence[Row]) -> Table:
    """Metric x group: the first system with interval, median and spread; the others, and what it gains over them."""
    first, *others = [result.system for result in report.results]
    head: tuple[str, ...] = ("metric", "group", "n/N", f"{first} [95 %]", "median", "(std)")
    for system in others:
        head += (system, f"{first} better by [95 %]")
    cells = [_full_cells(row) for row in rows]
    notes = ["n/N: subjects measured, of those that could be (measured by any system, or skipped by all)."]
    if any(row.could[0] < row.could[1] for row in rows):
        notes.append("N as a range: of subjects without any answer it is not known whether they belong in the row.")
    notes.append("95 %: interval of the mean by bootstrap over subjects. median, std: over the subjects' own means.")
    if others:
        notes.append("better by: paired, over the subjects that both systems have; n where these are fewer.")
    more = [metric.name for metric in report.metrics if metric.more_is_better]
    if more:
        notes.append(f"More is better: {', '.join(more)}. Less is better for all others.")
    return Table("All metrics and groups", head, tuple(cells), tuple(notes))


def _full_cells(row: Row) -> tuple[str, ...]:
    unit, own = row.metric.unit, row.summaries[0]
    cells = [with_unit(row.metric.name, unit), row.group, count(row)]
    cells += [interval(own, unit), number(own.median, unit), f"({number(own.std, unit)})"] if own else ["-", "-", "-"]
    for k, summary in enumerate(row.summaries[1:]):
        cells += [number(summary.mean, unit) if summary else "-", gain(row, k)]
    return tuple(cells)


def published_table(report: Report, rows: Sequence[Row]) -> Table | None:
    """Published numbers beside the measured ones; None without any."""
    if not report.published:
        return None
    units = {metric.name: metric.unit for metric in report.metrics}
    order = {metric.name: k for k, metric in enumerate(report.metrics)}
    keys = sorted(
        dict.fromkeys((p.metric, p.group) for p in report.published), key=lambda k: order.get(k[0], len(order))
    )
    grouped = len({group for _, group in keys}) > 1
    systems = list(dict.fromkeys(published.system for published in report.published))
    value = {(p.system, p.metric, p.group): f"{p.value:g}" for p in report.published}
    here = [_measured(rows, result, k) for k, result in enumerate(report.results)]
    cells = []
    for metric, group in keys:
        unit = units.get(metric, "")
        ours = [number(of[metric, group], unit) if (metric, group) in of else "-" for of in here]
        theirs = [value.get((system, metric, group), "-") for system in systems]
        cells.append((with_unit(metric, unit), *((group,) if grouped else ()), *ours, *theirs))
    head = ("metric", *(("group",) if grouped else ()), *(f"{result.system} (here)" for result in report.results))
    return Table("Published numbers", head + tuple(systems), tuple(cells), tuple(_sources(report.published)))


def _measured(rows: Sequence[Row], result: Result, system: int) -> dict[tuple[str, str], float]:
    """(metric, group) to the number of one system: a mean over subjects, or one over the whole data set."""
    means = {(row.metric.name, row.group): row.summaries[system] for row in rows}
    found = {(d.metric, d.group): d.value for d in result.derived}
    return found | {key: summary.mean for key, summary in means.items() if summary}


def _sources(published: Sequence[Published]) -> Iterator[str]:
    systems: dict[str, dict[str, None]] = {}
    for p in published:
        systems.setdefault(p.source, {})[p.system] = None
    for source, of in systems.items():
        yield f"{source}: {'; '.join(of)}."


def detected_seconds(result: Result) -> list[float]:
    """Seconds with detection, of the subjects that both times are known of."""
    return [result.seconds[name] + more for name, more in result.detection_seconds.items() if name in result.seconds]


def timing_table(report: Report) -> Table | None:
    """Seconds with and without detection, published ones beside; None where nothing was timed."""
    cells = []
    for result in report.results:
        if result.seconds:
            with_detection = detected_seconds(result)
            both = f"{np.median(with_detection):.3f}" if with_detection else "-"
            cells.append(
                (result.system, str(len(result.seconds)), f"{np.median([*result.seconds.values()]):.3f}", both, "here")
            )
    if not cells:
        return None
    for system, seconds in published_seconds(report).items():
        source = next(p.source for p in report.published if p.system == system and p.seconds is not None)
        cells.append((system, "-", f"{seconds:g}", "-", source))
    head = ("system", "n", "median s, box given", "median s with detection", "where")
    note = "As in the paper's Table 3 the box is given; with detection: plus the detector on the same picture."
    return Table("Seconds per subject", head, tuple(cells), (note,))


def published_seconds(report: Report) -> dict[str, float]:
    """System to the seconds that were published of it."""
    return {p.system: p.seconds for p in report.published if p.seconds is not None}


def derived_table(report: Report, names: Sequence[str] = ()) -> Table | None:
    """Numbers that are no means over subjects, such as an average precision; None without any.

    Args:
        report: what was measured.
        names: these metrics, in this order; empty: all.
    """
    wanted = names or [metric.name for metric in report.metrics]
    units = {metric.name: metric.unit for metric in report.metrics}
    found = {(d.metric, d.group, result.system): d for result in report.results for d in result.derived}
    keys = sorted(
        (key for key in dict.fromkeys(k[:2] for k in found) if key[0] in wanted), key=lambda k: wanted.index(k[0])
    )
    grouped = len({group for _, group in keys}) > 1
    cells = []
    for metric, group in keys:
        unit = units.get(metric, "")
        of = [found.get((metric, group, result.system)) for result in report.results]
        values = [f"{number(d.value, unit)} [{number(d.low, unit)}, {number(d.high, unit)}]" if d else "-" for d in of]
        people = "/".join(dict.fromkeys(str(d.count) for d in of if d))
        cells.append((with_unit(metric, unit), *((group,) if grouped else ()), people, *values))
    head = ("number", *(("group",) if grouped else ()), "n", *(f"{result.system} [95 %]" for result in report.results))
    title = "Numbers over the whole data set"
    return Table(title if names else f"{title}, all", head, tuple(cells)) if cells else None


def entry_means(result: Result, metric: Metric) -> Array | None:
    """Mean of every entry (joint, landmark) over the subjects, NaN where nobody has it; None without any."""
    everybody = {name: v for (key, _), of in result.values.items() if key == metric.name for name, v in of.items()}
    arrays = [v for v in everybody.values() if len(v) == len(metric.entries) and np.isfinite(v).any()]
    if not arrays or not metric.entries:
        return None
    stacked = np.stack(arrays)
    known = np.isfinite(stacked)
    sums, counts = np.where(known, stacked, 0.0).sum(0), known.sum(0)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def entry_tables(report: Report) -> list[Table]:
    """One table a metric that has a value a joint: the means of each joint, all groups together."""
    tables = []
    for metric in report.metrics:
        found = [(result.system, entry_means(result, metric)) for result in report.results]
        means = [(system, values) for system, values in found if values is not None]
        if means:
            cells = [
                (name, *("-" if np.isnan(values[k]) else number(values[k], metric.unit) for _, values in means))
                for k, name in enumerate(metric.entries)
            ]
            title = f"{with_unit(metric.name, metric.unit)}, one by one"
            tables.append(Table(title, ("", *(system for system, _ in means)), tuple(cells)))
    return tables


def definitions(report: Report) -> list[str]:
    """How each metric is measured; metrics with the same words together."""
    names: dict[str, list[str]] = {}
    for metric in report.metrics:
        names.setdefault(metric.how, []).append(metric.name)
    return [f"{', '.join(of)}: {how}" for how, of in names.items()]


def skipped_lines(report: Report) -> list[str]:
    """Plain sentences on what was not measured: how many of how many, counts by reason, the first names."""
    lines = []
    if report.skipped:
        lines.append(f"The data set could not give {len(report.skipped)} of {report.subjects} subjects:")
        lines += _by_reason(report.skipped)
    for result in report.results:
        if not result.skipped:
            continue
        lines.append(f"{result.system}: no usable answer for {len(result.skipped)} of {report.subjects} subjects:")
        lines += _by_reason(result.skipped)
        counted = {name for of in result.values.values() for name in finite_subjects(of)} & result.skipped.keys()
        if counted:
            lines.append(f"{len(counted)} of them still count, as misses, where the protocol says so.")
    for result in report.results:
        rest = report.subjects - len(set(report.skipped) | set(result.skipped)) - measured_count(report, result)
        if rest > 0:
            why = (
                "not asked about them (lone parts), measured with another (hands of unknown side), or nothing labelled"
            )
            lines.append(f"{result.system}: no number of {rest} further subjects: {why}.")
    return lines or [f"Nothing was skipped: every system was measured on all {report.subjects} subjects."]


def _by_reason(skipped: Mapping[str, str]) -> Iterator[str]:
    """Bullets, reasons that differ in names and numbers alone together, the most frequent first."""
    kinds: dict[str, list[str]] = {}
    for name, reason in skipped.items():
        kinds.setdefault(re.sub(r"'[^']*'|\d+", "#", reason.replace(name, "#")), []).append(name)
    counts = Counter({kind: len(names) for kind, names in kinds.items()})
    for kind, times in counts.most_common(_REASONS_SHOWN):
        names = kinds[kind]
        more = ", ..." if times > _NAMES_SHOWN else ""
        yield f"- {times} x {skipped[names[0]]} ({', '.join(names[:_NAMES_SHOWN])}{more})"
    rest = sum(counts.values()) - sum(times for _, times in counts.most_common(_REASONS_SHOWN))
    if rest:
        yield f"- {rest} for {len(counts) - _REASONS_SHOWN} other reasons, all of them in report.json"
