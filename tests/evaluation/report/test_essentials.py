"""What a report begins with: few numbers, the right ones, with signs that mean what they say."""

from dataclasses import replace
from importlib import import_module

import pytest
from tests.evaluation.report import reports as made

from openexpose.evaluation.report.essentials import ESSENTIAL, absent_names, essential_rows, short_table
from openexpose.evaluation.report.rows import full_table, gain, number, published_table, report_rows
from openexpose.evaluation.report.write import format_markdown


@pytest.mark.parametrize("protocol", sorted(ESSENTIAL))
def test_the_metrics_are_the_protocols(protocol):
    name = "threedpw" if protocol == "3dpw" else protocol.replace("-", "_")
    module = import_module(f"openexpose.evaluation.protocols.{name}")
    if protocol == "3dpw":
        metrics = (*module._FRAME_METRICS, module.ACCELERATION)
    else:
        metrics = getattr(module, "METRICS", None) or module.WHOLE_METRICS
    assert set(ESSENTIAL[protocol]) <= {metric.name for metric in metrics}


def test_one_line_a_metric_in_its_main_group():
    report = replace(made.full_report(("LQ", "HQ")), published=())
    chosen = essential_rows(report, report_rows(report))
    assert [row.metric.name for row in chosen] == [metric.name for metric in made.METRICS]
    assert {row.group for row in chosen} == {"all"}


def test_groups_with_published_numbers_are_the_main_ones():
    report = made.full_report(("LQ", "HQ"))  # published of LQ only
    chosen = essential_rows(report, report_rows(report))
    assert [row.group for row in chosen if row.metric.name == "PA-V2V all"] == ["LQ"]
    assert [row.group for row in chosen if row.metric.name == "PCK"] == ["all"]


def test_gains_are_positive_where_the_first_is_better():
    report = made.full_report()  # of the second system everything is larger by a tenth
    rows = {row.metric.name: row for row in report_rows(report)}
    assert gain(rows["PA-V2V all"], 0).startswith("+") and gain(rows["PCK"], 0).startswith("-")
    low, high = gain(rows["PCK"], 0).split("[")[1].rstrip("]").split(", ")
    assert float(low) < float(high) < 0
    for table in (short_table(report, report_rows(report)), full_table(report, report_rows(report))):
        assert table.head[-2:] == ("openexpose, body only", "openexpose better by [95 %]")


@pytest.mark.parametrize(
    ("value", "shown"), [(0.0, "0.00"), (-0.0, "0.00"), (-0.004, "0.00"), (0.004, "0.00"), (0.006, "+0.01")]
)
def test_nothing_has_no_sign(value, shown):
    assert number(value, "mm", sign=True) == shown


def test_metrics_without_any_number_are_told():
    report = replace(made.full_report(), protocol="freihand")
    assert absent_names(report, report_rows(report)) == ["PA-MPJPE", "PA-V2V", "F-score 15 mm"]
    assert "No number at all of: PA-MPJPE; PA-V2V; F-score 15 mm." in format_markdown(report)
    ehf = replace(made.full_report(), protocol="ehf")
    assert "PA-MPJPE body" in absent_names(ehf, report_rows(ehf))


def test_numbers_over_the_whole_data_set_stand_beside_published_ones():
    report = made.full_report()
    bare = [replace(result, values={}) for result in report.results]
    table = published_table(replace(report, results=bare), [])
    assert table is not None and table.rows[0][:4] == ("PA-V2V all (mm)", "70.00", "77.00", "54.5")
    text = format_markdown(replace(report, results=bare))
    assert text.index("70.00 [68.00, 73.00]") < text.index("## Not measured")
