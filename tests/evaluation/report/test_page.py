"""The page: self-contained, escaped, the same every time."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from tests.evaluation.report import reports as made

pytest.importorskip("matplotlib")

from openexpose.evaluation.report.figures import report_figures
from openexpose.evaluation.report.page import format_page
from openexpose.evaluation.report.pictures import DrawnCase
from openexpose.evaluation.report.rows import report_rows

CASE = DrawnCase("worst", "<script>alert(1)</script>: 5 mm", (("photo & points", np.zeros((640, 300, 3), np.uint8)),))


@pytest.fixture(scope="module")
def page() -> str:
    return format_page(made.full_report(), [CASE])


def test_nothing_is_fetched_and_nothing_runs(page):
    class Tags(HTMLParser):
        def __init__(self):
            super().__init__()
            self.seen = []

        def handle_starttag(self, tag, attributes):
            self.seen.append((tag, dict(attributes)))

    tags = Tags()
    tags.feed(page)
    names = {tag for tag, _ in tags.seen}
    assert not names & {"script", "link", "iframe", "object"} and {"svg", "table", "img"} <= names
    for tag, attributes in tags.seen:
        for key in ("src", "href", "xlink:href"):
            if attributes.get(key):
                assert attributes[key].startswith(("data:image/jpeg;base64,", "#")), (tag, attributes)
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", page)


def test_names_are_escaped(page):
    assert "&lt;script&gt;alert(1)" in page and "Made-up people &lt;with &amp; marks&gt;" in page
    assert "photo &amp; points" in page


def test_it_says_what_the_markdown_says(page):
    for told in ("37/42", "no usable answer for 3 of 42", "ExPose, Table 3", "70.00 [68.00, 73.00]", "Worst cases by"):
        assert told in page, told


def test_plots_are_the_same_every_time_and_take_the_page_colours():
    report = made.full_report()
    first, again = (report_figures(report, report_rows(report)) for _ in range(2))
    assert first == again
    titles = [title for title, _ in first]
    for wanted in ("PA-V2V (mm)", "PA-V2V all, cumulative", "Seconds per subject", "MPJPE body, one by one"):
        assert wanted in titles
    for _, svg in first:
        ElementTree.fromstring(svg)
        assert "var(--ink)" in svg and "viewBox" in svg
        used = set(re.findall(r"#[0-9a-f]{6}\b", svg))
        assert used <= {"#ffffff", "#000000"}, used


def test_many_groups_are_drawn_as_one():
    report = made.full_report(("a", "b", "c", "d"))
    svg = dict(report_figures(report, report_rows(report)))["PA-V2V (mm)"]
    assert svg.count("left hand") == 1


def test_a_report_with_one_system_and_little_in_it():
    from dataclasses import replace

    report = made.full_report()
    bare = replace(report.results[0], seconds={}, detection_seconds={}, derived=[])
    page = format_page(replace(report, results=[bare], published=(), metrics=report.metrics[:1]), [])
    assert "Seconds per subject" not in page and "Published" not in page
