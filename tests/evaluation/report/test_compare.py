"""Comparing runs: signs, verdicts and pairs, and what is refused."""

from dataclasses import replace

import pytest
from tests.evaluation.report import reports as made

from openexpose.errors import InputError
from openexpose.evaluation.report.compare import compare_reports, format_comparison, headline_pairs, write_comparison


def one(factor: float, seed: int, name: str = "openexpose"):
    return replace(made.full_report(), results=[made.result(name, factor, seed)])


def verdicts(comparison) -> dict[str, str]:
    return {d.metric.name: d.verdict for d in comparison.differences}


def test_less_error_is_better_and_less_of_what_should_be_much_is_worse():
    found = verdicts(compare_reports([one(1.0, 1), one(0.8, 2)], ["old", "new"]))
    assert found["PA-V2V all"] == found["MPJPE body"] == "better"
    assert found["PCK"] == found["F-score 5 mm"] == "worse"


def test_noise_is_not_called_progress():
    found = [verdicts(compare_reports([one(1.0, 1), one(1.0, seed)], ["a", "b"])) for seed in range(2, 12)]
    told = [verdict for run in found for verdict in run.values()]
    assert told.count("no difference shown") > 0.8 * len(told)


def test_a_run_does_not_differ_from_itself():
    comparison = compare_reports([one(1.0, 1), one(1.0, 1)], ["a", "b"])
    assert comparison.names == ["a/openexpose", "b/openexpose"]
    assert all(d.change.mean == 0 and d.verdict == "no difference shown" for d in comparison.differences)
    same = compare_reports([one(1.0, 1), one(1.0, 1)], ["a", "a"])
    assert len(set(same.names)) == 2


def test_pairs_are_subjects_of_both_and_the_others_are_counted():
    first = made.without(one(1.0, 1), {made.subject(0), made.subject(1)})
    later = made.without(one(0.5, 2), {made.subject(2)})
    comparison = compare_reports([first, later], ["a", "b"])
    d = comparison.differences[0]
    assert (d.change.people, d.only_first, d.only_later) == (34, 1, 2)
    assert d.change.mean == pytest.approx(d.later.mean - d.first.mean)
    assert headline_pairs(comparison, "b/openexpose").shape == (34, 2)
    assert "some subjects were measured by one of the two runs only" in format_comparison(comparison)


def test_few_pairs_give_no_verdict():
    few = made.without(one(0.5, 2), {made.subject(k) for k in range(4, made.SUBJECTS)})
    assert set(verdicts(compare_reports([one(1.0, 1), few], ["a", "b"])).values()) == {"too few subjects"}


def test_of_several_reports_the_main_systems_are_compared():
    both = made.full_report()
    comparison = compare_reports([both, both], ["old", "new"])
    main = both.results[0].system
    assert comparison.names == [f"old/{main}", f"new/{main}"]


def test_systems_of_one_report_are_runs():
    comparison = compare_reports([made.full_report()], ["a"])
    assert comparison.names == ["openexpose", "openexpose, body only"]
    assert "openexpose, body only (this) against openexpose (first)" in format_comparison(comparison)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (dict(protocol="ehf"), "'b' with the protocol 'ehf'"),
        (dict(data="others"), "'b' with the data 'others'"),
        (dict(metrics=(replace(made.METRICS[0], how="otherwise"),)), "measured as: otherwise"),
    ],
)
def test_what_cannot_be_compared_is_refused(change, told):
    with pytest.raises(InputError, match=told):
        compare_reports([one(1.0, 1), replace(one(1.0, 1), **change)], ["a", "b"])


def test_lone_runs_and_strangers_are_refused():
    with pytest.raises(InputError, match="at least two"):
        compare_reports([one(1.0, 1)], ["a"])
    nobody = made.without(one(1.0, 1), {made.subject(k) for k in range(made.SUBJECTS)})
    with pytest.raises(InputError, match="without a common subject"):
        compare_reports([one(1.0, 1), nobody], ["a", "b"])


def test_files(tmp_path):
    pytest.importorskip("matplotlib")
    write_comparison(compare_reports([made.full_report(("LQ", "HQ"))], ["a"]), tmp_path)
    page = (tmp_path / "compare.html").read_text()
    assert page.count("<svg") == 2 and "<with" not in page
    assert "worse" in (tmp_path / "compare.md").read_text()
    assert len(page) < 500_000


def test_what_rounds_to_nothing_is_no_difference():
    later = one(1.0, 1)
    later.results[0].values.update(
        {key: {name: values + 1e-6 for name, values in of.items()} for key, of in later.results[0].values.items()}
    )
    assert set(verdicts(compare_reports([one(1.0, 1), later], ["a", "b"])).values()) == {"no difference shown"}
