"""Numbers that others published, to be shown beside ours: the paper's Tables 1-4 and a public re-run.

Metric names are those of the protocols; millimetres, except for the F-scores (0 to 1). Every number has its source;
"second-hand" marks what was not compared with the paper or a document that cites it.
"""

from collections.abc import Iterator, Sequence

from openexpose.evaluation.record import Published

EXPOSE = "ExPose"
_RERUN = "ExPose, re-run by mmhuman3d"
_MMHUMAN3D = "mmhuman3d, results of its ExPose configuration"

_SECOND_HAND = ", second-hand"

_PW3D = ("PA-MPJPE body", "MPJPE body", "PA-V2V body")
_PW3D_ROWS: dict[str, Sequence[float | None]] = {
    "HMR": (81.3, 130.0, None),
    "SPIN": (59.2, 96.9, None),
    EXPOSE: (60.7, 93.4, 55.6),
}
_PW3D_SECOND_HAND: dict[str, float] = {"HMR": 65.2, "SPIN": 53.0}
"""PA-V2V body."""

_EHF = (
    *("PA-V2V all", "PA-V2V body", "PA-V2V left hand", "PA-V2V right hand", "PA-V2V face"),
    *("PA-MPJPE body", "PA-MPJPE left hand", "PA-MPJPE right hand", "P2S mean", "P2S median"),
)
_EHF_ROWS: dict[str, Sequence[float | None]] = {
    "MTC": (67.2, None, None, None, None, 107.8, 16.3, 17.0, 41.3, 29.0),
    "SPIN": (None, 60.6, None, None, None, 102.9, None, None, 40.8, 28.7),
    "SMPLify-X'": (65.3, 75.4, 11.6, 12.9, 6.3, 87.6, 12.2, 13.5, 36.8, 23.0),
    EXPOSE: (54.5, 52.6, 13.1, 12.5, 5.8, 62.8, 13.5, 12.7, 28.9, 18.0),
}
_EHF_SECONDS = {"MTC": 20.0, "SPIN": 0.01, "SMPLify-X'": 50.0, EXPOSE: 0.16}
"""A picture, boxes given, on the authors' GPU; 50 stands for the paper's 40 to 60."""
_EHF_ABLATIONS: dict[str, Sequence[float | None]] = {
    "ExPose, body network only": (57.3, 55.9, 14.3, 14.8, 5.8),
    "ExPose, attention without joint training": (56.4, 52.6, 14.1, 13.9, 6.0),
}
_EHF_RERUN = (56.65, None, 14.5, 14.6, 6.90, 55.70, 14.4, 14.6)

_FREIHAND = ("PA-MPJPE", "PA-V2V", "F-score 5 mm", "F-score 15 mm")
_FREIHAND_ROWS: dict[str, Sequence[float | None]] = {
    "MANO CNN": (11.0, 10.9, 0.516, 0.934),
    "ExPose, hand network": (12.2, 11.8, 0.484, 0.918),
}

_STIRLING = ("scan-to-mesh mean", "scan-to-mesh median", "scan-to-mesh std")
_STIRLING_ROWS: dict[tuple[str, str], Sequence[float | None]] = {
    ("RingNet", "LQ"): (2.08, 1.63, 1.79),
    ("RingNet", "HQ"): (2.02, 1.58, 1.69),
    ("ExPose, face network", "LQ"): (2.27, 1.76, 1.97),
    ("ExPose, face network", "HQ"): (2.42, 1.91, 2.03),
}


def _row(
    system: str,
    group: str,
    metrics: Sequence[str],
    values: Sequence[float | None],
    source: str,
    seconds: float | None = None,
) -> Iterator[Published]:
    for metric, value in zip(metrics, values, strict=False):
        if value is not None:
            yield Published(system, metric, group, value, source, seconds)


def _source(table: str, system: str) -> str:
    """Rows of systems other than ExPose itself were not compared with the paper."""
    return table if system.startswith(EXPOSE) else table + _SECOND_HAND


PUBLISHED: dict[str, tuple[Published, ...]] = {
    "3dpw": (
        *(one for name, row in _PW3D_ROWS.items() for one in _row(name, "3dpw", _PW3D, row, "ExPose, Table 1")),
        *(
            Published(name, "PA-V2V body", "3dpw", value, "ExPose, Table 1" + _SECOND_HAND)
            for name, value in _PW3D_SECOND_HAND.items()
        ),
        *_row(_RERUN, "3dpw", ("MPJPE body", "PA-MPJPE body"), (92.59, 60.43), _MMHUMAN3D),
    ),
    "ehf": (
        *(
            one
            for name, row in _EHF_ROWS.items()
            for one in _row(name, "ehf", _EHF, row, _source("ExPose, Table 3", name), _EHF_SECONDS[name])
        ),
        *(one for name, row in _EHF_ABLATIONS.items() for one in _row(name, "ehf", _EHF, row, "ExPose, Table 2")),
        *_row(_RERUN, "ehf", _EHF, _EHF_RERUN, _MMHUMAN3D),
    ),
    "freihand": (
        *(
            one
            for name, row in _FREIHAND_ROWS.items()
            for one in _row(name, "freihand", _FREIHAND, row, "ExPose, Table 4")
        ),
        *_row(_RERUN, "freihand", _FREIHAND, (10.03, 9.61), _MMHUMAN3D),
    ),
    "stirling": (
        *(
            one
            for (name, group), row in _STIRLING_ROWS.items()
            for one in _row(name, group, _STIRLING, row, _source("ExPose, Table 4", name))
        ),
        *_row(_RERUN, "HQ", ("picture's mean",), (2.40,), _MMHUMAN3D),
    ),
}
"""Published numbers by the name of the protocol. A re-run's own preparation may differ from the paper's."""
