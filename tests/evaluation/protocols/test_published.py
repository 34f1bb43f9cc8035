"""Published numbers."""

import math

import pytest

from openexpose.evaluation.protocols import freihand, stirling
from openexpose.evaluation.protocols.published import PUBLISHED


def numbers(protocol: str, system: str) -> dict[tuple[str, str], float]:
    return {(p.metric, p.group): p.value for p in PUBLISHED[protocol] if p.system == system}


@pytest.mark.parametrize("protocol", PUBLISHED)
def test_every_number_is_once_there_with_its_source(protocol: str) -> None:
    keys = [(p.system, p.metric, p.group) for p in PUBLISHED[protocol]]
    assert len(keys) == len(set(keys))
    assert all(p.source and math.isfinite(p.value) and p.value > 0 for p in PUBLISHED[protocol])


def test_names_are_those_of_the_protocols() -> None:
    for name, metrics in (("freihand", freihand.METRICS), ("stirling", stirling.METRICS)):
        assert {p.metric for p in PUBLISHED[name]} <= {metric.name for metric in metrics}


def test_headline_numbers_of_the_paper() -> None:
    ehf = numbers("ehf", "ExPose")
    assert [ehf[f"PA-V2V {part}", "ehf"] for part in ("all", "body", "left hand", "right hand", "face")] == [
        *(54.5, 52.6, 13.1),
        *(12.5, 5.8),
    ]
    assert numbers("3dpw", "ExPose")["MPJPE body", "3dpw"] == 93.4
    assert numbers("freihand", "MANO CNN")["F-score 5 mm", "freihand"] == 0.516
    assert numbers("stirling", "ExPose, face network")["scan-to-mesh median", "HQ"] == 1.91
    seconds = {p.system: p.seconds for p in PUBLISHED["ehf"]}
    assert seconds["ExPose"] == 0.16


def test_joints_of_the_rerun_are_not_its_vertices() -> None:
    rerun = numbers("freihand", "ExPose, re-run by mmhuman3d")
    assert rerun == {("PA-MPJPE", "freihand"): 10.03, ("PA-V2V", "freihand"): 9.61}
