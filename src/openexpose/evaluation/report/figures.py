"""Plots as SVG text that takes its colours from the page around it (CSS variables), so that they suit light and dark.

matplotlib is imported only here, and its global state (pyplot) is not touched.
"""

import io
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from openexpose.evaluation.record import Metric, Report
from openexpose.evaluation.report.essentials import essential_names
from openexpose.evaluation.report.rows import (
    EVERYTHING,
    Row,
    detected_seconds,
    entry_means,
    finite_subjects,
    published_seconds,
    with_unit,
)

Array = np.ndarray
Figure = Any
"""A matplotlib Figure."""

_INK, _GRID = "#010203", "#040506"
_SERIES = ("#0a0b01", "#0a0b02", "#0a0b03", "#0a0b04", "#0a0b05", "#0a0b06")
_VARIABLES = {_INK: "--ink", _GRID: "--grid", **{colour: f"--series{k}" for k, colour in enumerate(_SERIES)}}
_MARKERS = "DosvP^X*"
_WIDTH_IN = 5.4
_MOST_ROWS = 14
_PART = re.compile(r"^(.*?) (all|body|left hand|right hand|hands|face|feet)$")
_FAMILIES_SHOWN, _CURVES_SHOWN = 8, 6
_NAMES_IN_TITLE = 2
_FARTHEST = 6  # times the median: curves are cut off before single outliers
_LABEL_CHARACTERS = 24


def report_figures(report: Report, rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Title and SVG of every plot of a report: errors per part, cumulative curves, seconds, errors per joint.

    Of the metrics that matter; all others are in the tables.
    """
    figures: list[tuple[str, str]] = []
    rank = {name: place for place, name in enumerate(essential_names(report))}
    shown = sorted((row for row in rows if row.metric.name in rank), key=lambda row: rank[row.metric.name])
    for title, family in list(_families(shown).items())[:_FAMILIES_SHOWN]:
        figures.append((title if figures else title.replace("Others", "Results"), _bars(report, family)))
    for metric in _curve_metrics(report, rank):
        figures.append((f"{metric.name}, cumulative", _curves(report, metric, rows)))
    if any(result.seconds for result in report.results):
        figures.append(("Seconds per subject", _timing(report)))
    for metric in (metric for metric in report.metrics if metric.name in rank):
        means = [(result.system, entry_means(result, metric)) for result in report.results]
        known = [(system, values) for system, values in means if values is not None]
        if known:
            figures.append((f"{metric.name}, one by one", _entries(metric, known)))
    return figures


def _families(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows that belong into one plot: the same error of several parts; lone metrics of one unit together.

    Of many groups only the row over all of them is drawn.
    """
    families: dict[str, list[Row]] = {}
    for row in rows:
        part = _PART.match(row.metric.name)
        families.setdefault(with_unit(part[1] if part else row.metric.name, row.metric.unit), []).append(row)
    joined: dict[str, list[Row]] = {}
    for title, family in families.items():
        unit = family[0].metric.unit
        alone = len({row.metric.name for row in family}) == 1
        joined.setdefault((f"Others ({unit})" if unit else "Others, plain numbers") if alone else title, []).extend(
            family
        )
    named = {}
    for title, family in joined.items():
        metrics = {row.metric.name: row.metric for row in family}
        only = next(iter(metrics.values()))
        few = "Others" in title and len(metrics) <= _NAMES_IN_TITLE
        named[with_unit(", ".join(metrics), only.unit) if few or len(metrics) == 1 else title] = _few(family)
    return named


def _few(family: list[Row]) -> list[Row]:
    """Of too many rows those over all groups, where there are such."""
    if len(family) <= _MOST_ROWS:
        return family
    over_all = {row.metric.name for row in family if row.group == EVERYTHING}
    return [row for row in family if row.group == EVERYTHING or row.metric.name not in over_all][: 2 * _MOST_ROWS]


def _bars(report: Report, rows: Sequence[Row]) -> str:
    """Means with intervals as horizontal bars, one a system, and published numbers as markers."""
    systems = [result.system for result in report.results]
    groups = {row.group for row in rows}
    parts = {row.metric.name: _PART.match(row.metric.name) for row in rows}
    strip = all(parts.values()) and len({part[1] for part in parts.values() if part}) == 1 and len(parts) > 1
    published = list(dict.fromkeys(p.system for p in report.published))
    shown: dict[str, Any] = {}
    thick = 0.8 / len(systems)
    figure, axes = _axes(1.3 + 0.24 * len(rows) * max(2, len(systems)) / 1.4)
    for place, row in enumerate(rows):
        for k, summary in enumerate(row.summaries):
            if summary is None:
                continue
            at = place - 0.4 + thick * (k + 0.5)
            ends = [[summary.mean - summary.low], [summary.high - summary.mean]]
            bar = axes.barh(at, summary.mean, 0.92 * thick, color=_SERIES[k % len(_SERIES)], alpha=0.85)
            axes.errorbar(summary.mean, at, xerr=ends, color=_INK, capsize=3, linewidth=1.2)
            shown.setdefault(systems[k], bar)
        for p in report.published:
            if (p.metric, p.group) == (row.metric.name, row.group):
                marker = _MARKERS[published.index(p.system) % len(_MARKERS)]
                style = dict(marker=marker, color=_INK, markerfacecolor="none", markersize=7, linestyle="none")
                shown[p.system] = axes.plot([p.value], [place], **style, zorder=5)[0]
    names = [parts[row.metric.name][2] if strip else row.metric.name for row in rows]  # type: ignore[index]
    labels = [f"{name}, {row.group}" if len(groups) > 1 else name for name, row in zip(names, rows, strict=True)]
    wrapped = ["\n".join(textwrap.wrap(label, _LABEL_CHARACTERS)) for label in labels]
    figure.set_figheight(figure.get_figheight() + 0.13 * sum(label.count("\n") for label in wrapped))
    axes.set_yticks(range(len(rows)), wrapped)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(left=0)
    _legend(figure, list(shown.items()))
    axes.set_xlabel(rows[0].metric.unit)
    return _svg(figure)


def _curve_metrics(report: Report, rank: Mapping[str, int]) -> list[Metric]:
    """The headline metric, then others in their order: errors with one value a subject."""
    ranked = sorted((m for m in report.metrics if m.name in rank), key=lambda metric: rank[metric.name])
    ordered = sorted(ranked, key=lambda metric: metric.name != report.headline)
    errors = [metric for metric in ordered if not metric.more_is_better and not metric.entries]
    present = {name for result in report.results for (name, _), of in result.values.items() if finite_subjects(of)}
    return [metric for metric in errors if metric.name in present][:_CURVES_SHOWN]


def _curves(report: Report, metric: Metric, rows: Sequence[Row]) -> str:
    """Share of subjects, of all that could have a value, whose mean error is below the value on the x axis."""
    figure, axes = _axes(3.0)
    most = max(row.could[1] for row in rows if row.metric.name == metric.name)
    longest, lines = 0.0, []
    for k, result in enumerate(report.results):
        means = np.sort(subject_means(report, k, metric.name))
        if not len(means):
            continue
        longest = max(longest, 1.05 * float(min(np.percentile(means, 98), _FARTHEST * np.median(means))))
        share = 100.0 * np.arange(len(means) + 1) / most
        style = dict(color=_SERIES[k % len(_SERIES)], linewidth=2.0, linestyle=("-", "--", ":", "-.")[k % 4])
        x = np.concatenate([[0.0], means, [max(float(means[-1]), 1e6)]])
        lines.append((result.system, axes.plot(x, np.r_[share, share[-1]], drawstyle="steps-post", **style)[0]))
    axes.set(xlim=(0, longest or 1), ylim=(0, 101), ylabel="% of subjects")
    axes.set_xlabel(f"at most this {with_unit(metric.name, metric.unit)}")
    axes.grid(True, color=_GRID, linewidth=0.8)
    _legend(figure, lines)
    return _svg(figure)


def subject_means(report: Report, system: int, metric: str) -> Array:
    """Every subject's mean of a metric, all groups together."""
    everybody: dict[str, float] = {}
    for (name, _), of in report.results[system].values.items():
        if name == metric:
            everybody |= {subject: float(np.nanmean(values)) for subject, values in finite_subjects(of).items()}
    return np.array([*everybody.values()])


def _timing(report: Report) -> str:
    """Median seconds with and without detection, and published ones, on a logarithmic axis."""
    bars = []
    for k, result in enumerate(report.results):
        if result.seconds:
            bars.append((result.system, float(np.median([*result.seconds.values()])), _SERIES[k % len(_SERIES)], 0.9))
            if both := detected_seconds(result):
                bars.append(("+ detection", float(np.median(both)), _SERIES[k % len(_SERIES)], 0.5))
    bars += [(f"{system} (published)", seconds, _INK, 0.35) for system, seconds in published_seconds(report).items()]
    figure, axes = _axes(0.8 + 0.34 * len(bars))
    for place, (_, seconds, colour, alpha) in enumerate(bars):
        axes.barh(place, seconds, 0.7, color=colour, alpha=alpha)
        axes.text(seconds, place, f" {seconds:.3g} s", va="center", color=_INK)
    axes.set_yticks(range(len(bars)), [name for name, *_ in bars])
    axes.set_xscale("log")
    low, high = min(bar[1] for bar in bars), max(bar[1] for bar in bars)
    axes.set(ylim=(len(bars) - 0.4, -0.6), xlim=(low / 3, high * 6), xlabel="seconds, logarithmic")
    return _svg(figure)


def _entries(metric: Metric, means: Sequence[tuple[str, Array]]) -> str:
    """Mean of every joint as horizontal bars."""
    count = len(metric.entries)
    figure, axes = _axes(1.0 + (0.30 if count <= 30 else 0.2) * count)
    thick, shown = 0.8 / len(means), []
    for k, (system, values) in enumerate(means):
        places = np.arange(count) - 0.4 + thick * (k + 0.5)
        style = dict(color=_SERIES[k % len(_SERIES)], alpha=0.85)
        shown.append((system, axes.barh(places, np.nan_to_num(values), 0.92 * thick, **style)))
    axes.set_yticks(range(count), [name.replace("_", " ") for name in metric.entries])
    axes.set(ylim=(count - 0.4, -0.6), xlabel=with_unit(metric.name, metric.unit))
    _legend(figure, shown)
    return _svg(figure)


def scatter(title: str, first: Array, second: Array, names: tuple[str, str]) -> str:
    """Two runs against each other, one dot a subject, with the diagonal; as SVG."""
    figure, axes = _axes(4.4)
    axes.plot(first, second, "o", color=_SERIES[0], alpha=0.6, markersize=5, markeredgewidth=0)
    low, high = min(first.min(), second.min()), max(first.max(), second.max())
    margin = 0.04 * (high - low or 1.0)
    ends = (max(0.0, low - margin) if low >= 0 else low - margin, high + margin)
    axes.plot(ends, ends, color=_INK, linewidth=1.0)
    axes.set(xlim=ends, ylim=ends, aspect="equal", xlabel=f"{title}: {names[0]}", ylabel=names[1])
    axes.grid(True, color=_GRID, linewidth=0.8)
    return _svg(figure)


def differences(labels: Sequence[str], means: Array, lows: Array, highs: Array, axis: str) -> str:
    """Differences with their intervals, one a row, and a line at zero; as SVG."""
    figure, axes = _axes(1.0 + 0.3 * len(labels))
    places = np.arange(len(labels))
    for place, low, high in zip(places, lows, highs, strict=True):
        colour = _INK if low <= 0 <= high else _SERIES[0]
        axes.plot([low, high], [place, place], color=colour, linewidth=2.0)
    axes.plot(means, places, "o", color=_INK, markersize=5)
    axes.axvline(0.0, color=_INK, linewidth=1.0)
    axes.set_yticks(places, labels)
    axes.set(ylim=(len(labels) - 0.4, -0.6), xlabel=axis)
    return _svg(figure)


def _axes(height_in: float) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure as MatplotlibFigure

    figure = MatplotlibFigure(figsize=(_WIDTH_IN, height_in), layout="constrained")
    figure.patch.set_alpha(0.0)
    axes = figure.add_subplot()
    axes.patch.set_alpha(0.0)
    axes.tick_params(colors=_INK, labelsize=11)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(_GRID)
    axes.grid(True, axis="x", color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def _legend(figure: Figure, shown: Sequence[tuple[str, Any]]) -> None:
    """Names of what is drawn, above the plot."""
    if len(shown) < 2:
        return
    labels = [name for name, _ in shown]
    columns = 1 if max(map(len, labels)) > 24 else 2
    figure.set_figheight(figure.get_figheight() + 0.22 * (-(-len(labels) // columns) - 1))
    handles = [handle for _, handle in shown]
    figure.legend(handles, labels, loc="outside upper left", ncols=columns, frameon=False, labelcolor=_INK, fontsize=11)


def _svg(figure: Figure) -> str:
    """The figure as an SVG element; the same figure always gives the same text."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    for axes in figure.axes:
        for label in (axes.xaxis.label, axes.yaxis.label):
            label.set(color=_INK, size=11)
    file = io.StringIO()
    settings = {"svg.hashsalt": "openexpose", "svg.fonttype": "none", "font.family": "DejaVu Sans", "font.size": 11.0}
    with matplotlib.rc_context(settings):  # type: ignore[arg-type]
        FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    text = re.sub(r'<g id="[^"]*"', "<g", text[text.index("<svg") :])
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" role="img">', text, count=1)
    text = text.replace("xlink:href", "href")
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    return text
