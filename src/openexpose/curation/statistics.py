"""Numbers about a project: how many photos and fits, what was said of them, how good they look."""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import asdict
from typing import Any

import numpy as np

from openexpose.curation.agreement import agreement, is_disputed
from openexpose.curation.record import VERDICTS, FitRow
from openexpose.curation.store import Store

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def project_statistics(store: Store, exported: Collection[int] = ()) -> dict[str, Any]:
    """All numbers about a project, as JSON holds them.

    ``photos``: done, without people, failed. ``fits``: all, judged, disputed. ``verdicts``: how many of each, of every
    reviewer. ``agreement``: see :class:`~openexpose.curation.agreement.Agreement`. ``licences``: photos under each.
    ``scores``: quantiles of every score and of badness, of all fits and of the exported ones.

    Args:
        store: the project.
        exported: numbers of the exported fits.
    """
    photos, fits = store.photos(), store.fits("id")
    done = [photo for photo in photos if photo.state == "done"]
    shown = {fit.photo.id for fit in fits}
    found = agreement(fits)
    statistics: dict[str, Any] = {
        "photos": {
            "done": len(done),
            "without people": sum(photo.id not in shown for photo in done),
            "failed": len(photos) - len(done),
        },
        "fits": {
            "all": len(fits),
            "judged": sum(bool(fit.verdicts) for fit in fits),
            "disputed": sum(map(is_disputed, fits)),
        },
        "verdicts": verdict_counts(fits),
        "agreement": asdict(found) | {"disputed": len(found.disputed)},
        "licences": dict(Counter(photo.licence for photo in done)),
        "scores": {"all": _distributions(fits)},
    }
    if exported:
        statistics["scores"]["exported"] = _distributions(fit for fit in fits if fit.id in exported)
    return statistics


def verdict_counts(fits: Iterable[FitRow]) -> dict[str, dict[str, int]]:
    """How often each reviewer said each verdict."""
    found: dict[str, dict[str, int]] = {}
    for fit in fits:
        for reviewer, verdict in fit.verdicts.items():
            found.setdefault(reviewer, dict.fromkeys(VERDICTS, 0))[verdict] += 1
    return dict(sorted(found.items()))


def _distributions(fits: Iterable[FitRow]) -> dict[str, dict[str, float]]:
    """Of every score: of how many fits, and its quantiles."""
    values: dict[str, list[float]] = {}
    for fit in fits:
        for name, value in {"badness": fit.badness, **fit.scores}.items():
            values.setdefault(name, []).append(value)
    return {
        name: {"fits": len(some)} | dict(zip(map(str, _QUANTILES), np.quantile(some, _QUANTILES).tolist(), strict=True))
        for name, some in values.items()
    }
