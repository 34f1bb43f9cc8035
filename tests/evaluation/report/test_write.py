"""Reports: nothing is hidden, nothing is lost between writing and reading."""

import json
from dataclasses import replace

import numpy as np
import pytest
from tests.evaluation.report import reports as made

from openexpose.errors import InputError
from openexpose.evaluation.record import Result
from openexpose.evaluation.report.rows import report_rows, skipped_lines
from openexpose.evaluation.report.write import format_markdown, read_report, report_from_json, report_json, write_report


@pytest.fixture(scope="module")
def report():
    return made.full_report()


def test_reading_gives_back_every_value(report, tmp_path):
    write_report(report, [], tmp_path)
    read = read_report(tmp_path)
    again = read_report(tmp_path / "report.json")
    assert replace(read, results=[]) == replace(report, results=[]) == replace(again, results=[])
    for one, other in zip(read.results, report.results, strict=True):
        assert replace(one, values={}) == replace(other, values={})
        assert one.values.keys() == other.values.keys()
        for key, of in other.values.items():
            assert one.values[key].keys() == of.keys()
            for name, values in of.items():
                np.testing.assert_array_equal(one.values[key][name], values)
    assert {path.name for path in tmp_path.iterdir()} == {"report.json", "report.md", "index.html"}


def test_json_is_strict_and_says_what_wrote_it(report):
    document = json.loads(json.dumps(report_json(report), allow_nan=False))
    assert document["format_version"] == 1 and document["openexpose"]
    assert None in document["results"][0]["values"][5]["subjects"]["made-up/00"]
    assert document["table"][0]["systems"]["openexpose"]["people"] == 37


def test_rows_count_who_could_have_been_measured(report):
    rows = report_rows(report)
    assert all(row.could == (42, 42) and row.summaries[0].people == 37 for row in rows)
    assert rows[0].differences[0].mean == pytest.approx(rows[0].summaries[1].mean - rows[0].summaries[0].mean)


def test_several_groups_have_a_row_over_all_and_ranges_where_membership_is_unknown():
    rows = report_rows(made.full_report(("LQ", "HQ")))
    found = {row.group: (row.summaries[0].people, row.could) for row in rows if row.metric.name == "PA-V2V all"}
    assert found == {"LQ": (19, (19, 24)), "HQ": (18, (18, 23)), "all": (37, (42, 42))}
    assert "19/19-24" in format_markdown(made.full_report(("LQ", "HQ")))


def test_a_subject_that_only_one_system_measured_counts_in_n_of_both(report):
    fewer = made.without(report, {made.subject(k) for k in range(4)})
    mixed = replace(report, results=[fewer.results[0], report.results[1]])
    row = report_rows(mixed)[0]
    assert (row.summaries[0].people, row.summaries[1].people, row.differences[0].people) == (33, 37, 33)
    assert row.could == (42, 42)
    text = format_markdown(mixed)
    assert "33/42" in text and ", n 33" in text


def test_markdown_tells_everything(report):
    text = format_markdown(report)
    for told in (
        "# Made-up people <with & marks>", "- Boxes: annotated.", "37/42", "Measured of 42 subjects: openexpose 37",
        "The data set could not give 2 of 42 subjects", "openexpose: no usable answer for 3 of 42 subjects",
        "- 2 x no answer (made-up/39, made-up/38)", "NaN in 12 of 400", "SMPLify-X'", "ExPose, Table 3", "54.5",
        "median s with detection", "0.255", "70.00 [68.00, 73.00]", "right_knee", "More is better: PCK, F-score 5 mm",
    ):  # fmt: skip
        assert told in text, told
    lengths = {len(line) for line in text.split("\n\n")[2].splitlines()}
    assert len(lengths) == 1  # columns are aligned
    assert text.isascii()  # any terminal can print it
    assert "right_knee" not in format_markdown(report, details=False)


def test_nothing_skipped_is_said_too(report):
    full = replace(report, skipped={}, subjects=37, results=[replace(r, skipped={}) for r in report.results])
    assert skipped_lines(full) == ["Nothing was skipped: every system was measured on all 37 subjects."]


def test_who_was_not_asked_is_not_called_measured(report):
    asked = [report.results[0], made.without(report, {made.subject(k) for k in range(10)}).results[1]]
    mixed = replace(report, results=asked)
    assert "openexpose 37; openexpose, body only 27." in format_markdown(mixed)
    assert "openexpose, body only: no number of 10 further subjects" in "\n".join(skipped_lines(mixed))


def test_reasons_are_counted_by_kind(report):
    skipped = {f"p/{k}": f"p/{k}: 'p{k}.jpg' with {k} faults" for k in range(50)} | {
        f"q{c}": 9 * c for c in "abcdefghi"
    }
    lines = skipped_lines(replace(report, skipped={}, results=[Result("x", skipped=skipped)]))
    assert lines[0] == "x: no usable answer for 59 of 42 subjects:"
    assert lines[1].startswith("- 50 x p/0: 'p0.jpg' with 0 faults (p/0, p/1, p/2, ...)")
    assert lines[-1] == "- 2 for 2 other reasons, all of them in report.json"


def test_misses_that_count_are_told(report):
    of = {made.subject(0): np.array([0.0]), made.subject(1): np.array([100.0])}
    missed = Result("x", values={("PCK", "made-up"): of}, skipped={made.subject(0): "no answer"})
    assert "1 of them still count, as misses" in "\n".join(skipped_lines(replace(report, results=[missed])))


def test_bad_files_are_told(tmp_path, report):
    def refused(content: str | None) -> str:
        path = tmp_path / "report.json"
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_text(content)
        with pytest.raises(InputError) as error:
            read_report(tmp_path)
        return str(error.value)

    assert "cannot be read" in refused(None)
    assert "no JSON" in refused("{")
    assert "no evaluation report" in refused("[1]") and "no evaluation report" in refused("{}")
    document = report_json(report)
    assert "format 99" in refused(json.dumps({**document, "format_version": 99}))
    assert "damaged" in refused(json.dumps({**document, "results": [{}]}))
    assert report_from_json(document).protocol == "made-up"


def test_a_folder_that_cannot_be_written_is_refused(tmp_path, report):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="it is a file"):
        write_report(report, [], tmp_path / "file")
