"""Reports as one HTML file that needs nothing else: plots as SVG, pictures embedded, light and dark."""

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape

from PIL import Image

from openexpose import __version__
from openexpose.evaluation.record import Report
from openexpose.evaluation.report.figures import report_figures
from openexpose.evaluation.report.pictures import DrawnCase, Picture
from openexpose.evaluation.report.rows import Row, Table, definitions, report_rows

_RANKS = {"best": "Best", "median": "Median", "worst": "Worst"}
_EMBEDDED_PX, _QUALITY = 480, 78
_STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1d2125; --soft: #5b6570; --grid: #d8dde2; --band: #f4f6f8;
  --series0: #2f74c0; --series1: #e08a1e; --series2: #3f9c57; --series3: #b0508f;
  --series4: #7a68c8; --series5: #8a7a5c; }
@media (prefers-color-scheme: dark) { :root { --paper: #14181c; --ink: #e8ebee; --soft: #a3adb8; --grid: #3a434c;
  --band: #1d2329; --series0: #62a5ee; --series1: #f0a548; --series2: #67c481; --series3: #dd86be; --series4: #a99af0;
  --series5: #c0ad88; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1200px; padding: 1rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: .5rem 0; }
h2 { font-size: 1.2rem; margin: 2rem 0 .5rem; }
h3 { font-size: 1rem; margin: 0 0 .25rem; }
.soft { color: var(--soft); } .note { font-size: .9rem; }
ul { padding-left: 1.2rem; } li { margin: .15rem 0; }
.wide { overflow-x: auto; margin-bottom: .4rem; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--grid);
  overflow-wrap: normal; }
td { white-space: nowrap; } td:not(:first-child), th:not(:first-child) { min-width: 4rem; }
thead th { border-bottom: 2px solid var(--grid); max-width: 15rem; }
tbody tr:nth-child(even) { background: var(--band); }
.plots { display: grid; gap: 1.5rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 460px), 1fr));
  align-items: start; }
.plots > div { min-width: 0; max-width: 640px; }
svg { width: 100%; height: auto; display: block; }
svg text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, sans-serif !important; }
figure { margin: 0 0 1.5rem; }
figcaption { font-weight: 600; margin-bottom: .3rem; }
.panels { display: flex; flex-wrap: wrap; gap: .5rem; }
.panels div { max-width: 100%; }
.panels img { display: block; max-width: 100%; height: 230px; object-fit: contain;
  border-radius: 4px; background: #f4f4f4; }
.panels small { display: block; color: var(--soft); width: 0; min-width: 100%; overflow-wrap: normal; }
@media (max-width: 600px) { .panels img { height: 170px; }
  table { font-size: .8rem; } th, td { padding: .25rem .45rem; } }
summary { cursor: pointer; }
"""


def format_page(report: Report, cases: Sequence[DrawnCase], rows: Sequence[Row] | None = None) -> str:
    """The report as an HTML file.

    Args:
        report: what was measured.
        cases: pictures of best, median and worst cases; may be empty.
        rows: the report's rows, if they are known already.
    """
    from openexpose.evaluation.report.write import (
        beside_tables,
        detail_tables,
        first_tables,
        headline,
        not_measured,
    )

    rows = report_rows(report) if rows is None else rows
    parts = [f"<p>{escape(headline(report))}</p>"]
    for table in first_tables(report, rows):
        parts += [*([f"<h2>{escape(table.title)}</h2>"] if len(parts) > 1 else []), html_table(table)]
    parts += ["<h2>Not measured</h2>", bullets(not_measured(report, rows))]
    for table in beside_tables(report, rows):
        parts += [f"<h2>{escape(table.title)}</h2>", html_table(table)]
    parts += ["<h2>How it was measured</h2>", bullets(report.notes)]
    figures = [f"<div><h3>{escape(title)}</h3>{svg}</div>" for title, svg in report_figures(report, rows)]
    parts += ["<h2>Plots</h2>", f'<div class="plots">{"".join(figures)}</div>', *_cases(cases, report.headline)]
    parts.append("<h2>Details</h2>")
    parts += [folded(table.title, html_table(table)) for table in detail_tables(report, rows)]
    parts.append(folded("What the metrics mean", bullets(definitions(report))))
    return document(report.title, parts)


def folded(title: str, content: str) -> str:
    """HTML that opens at a click on its title (plain text)."""
    return f"<details><summary>{escape(title)}</summary>{content}</details>"


def document(title: str, parts: Iterable[str]) -> str:
    """A whole HTML file.

    Args:
        title: plain text.
        parts: HTML of the body, below the title.
    """
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>\n<h1>{escape(title)}</h1>\n"
        + "\n".join(parts)
        + f'\n<p class="soft">openexpose {escape(__version__)}</p>\n</body></html>\n'
    )


def html_table(table: Table) -> str:
    """A table, its notes below; every cell is escaped."""
    head = "".join(f"<th>{escape(cell).replace('95 %', '95&nbsp;%')}</th>" for cell in table.head)
    rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in table.rows)
    notes = "".join(f'<div class="soft note">{escape(note)}</div>' for note in table.notes)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>{notes}'


def bullets(lines: Sequence[str]) -> str:
    """Sentences as a list; lines that begin with a dash are indented."""
    items = [
        f'<li style="margin-left:1.2rem">{escape(line[2:])}</li>'
        if line.startswith("- ")
        else f"<li>{escape(line)}</li>"
        for line in lines
    ]
    return f"<ul>{''.join(items)}</ul>"


def _cases(cases: Sequence[DrawnCase], headline: str) -> list[str]:
    parts = []
    for rank, title in _RANKS.items():
        chosen = [case for case in cases if case.rank == rank]
        if chosen:
            parts.append(f"<h2>{title} cases by {escape(headline)}</h2>")
            parts += [_case(case) for case in chosen]
    return parts


def _case(case: DrawnCase) -> str:
    panels = "".join(
        f'<div><img alt="{escape(title)}" src="{_embedded(picture)}"><small>{escape(title)}</small></div>'
        for title, picture in case.panels
    )
    return f'<figure><figcaption>{escape(case.caption)}</figcaption><div class="panels">{panels}</div></figure>'


def _embedded(picture: Picture) -> str:
    image, file = Image.fromarray(picture), io.BytesIO()
    width = max(1, round(image.width * _EMBEDDED_PX / image.height))
    image.resize((width, _EMBEDDED_PX), Image.Resampling.LANCZOS).save(file, "jpeg", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
