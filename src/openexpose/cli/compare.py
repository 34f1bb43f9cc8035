"""``openexpose compare``: is one run better than another, or is it noise?"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from openexpose.cli.extras import need
from openexpose.cli.printing import say


@dataclass(frozen=True)
class Compare:
    """Compare reports of `openexpose evaluate --out` on the same data, subject by subject: progress, or noise?

    Every later run is compared with the first: by how much it is better in each metric, with a 95 % interval, over the
    subjects that both measured. Of several reports the main systems are compared, of one report all its systems.
    Reports of other protocols or data are refused.
    """

    reports: Annotated[
        tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="REPORT [REPORT ...]", help_behavior_hint="")
    ]
    """Folders of `openexpose evaluate --out`, or their report.json. The first is what the others are compared with."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER", help_behavior_hint="")] = None
    """Write compare.md and compare.html, with plots, into this folder (needs the extra 'evaluate')."""

    def run(self) -> int:
        """Compare; returns the exit code."""
        from openexpose.errors import InputError
        from openexpose.evaluation.report.compare import compare_reports, format_comparison, write_comparison
        from openexpose.evaluation.report.write import read_report
        from openexpose.formats.atomic import check_writable

        if not self.reports:
            raise InputError("no reports", "one report with several systems, or several reports")
        if self.out is not None:
            need("evaluate", "matplotlib")
            check_writable(self.out)
        names = [path.resolve().name if path.is_dir() else path.resolve().parent.name for path in self.reports]
        comparison = compare_reports([read_report(path) for path in self.reports], names)
        say(format_comparison(comparison, details=False))
        if self.out is not None:
            write_comparison(comparison, self.out)
        say(f"All metrics and groups, and plots: {self.out / 'compare.html' if self.out else '--out FOLDER'}")
        return 0
