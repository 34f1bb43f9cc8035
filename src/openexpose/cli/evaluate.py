"""``openexpose evaluate``: how good are the predictions on photos with human annotations?"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro


@dataclass(frozen=True)
class Evaluate:
    """Measure predictions against annotated keypoints and print one table.

    Every photo is predicted twice, with and without attention, so that what attention gains is a paired difference.
    """

    data: Path
    """Folder with index.json and the photos that it names."""
    protocol: Literal["photos"] = "photos"
    """photos: PCK of bodies, landmark errors of faces and hands, boxes given."""
    refine: bool = True
    """--no-refine: measure the networks' answers as they are."""
    bundle: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER", help_behavior_hint="")] = None
    """Folder with networks and body model. Default: the one in the package."""
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """Write the table as JSON, too."""
    device: Literal["cpu", "cuda", "coreml", "directml"] = "cpu"
    """Where the networks run."""
    threads: int = 2
    """Processor threads of one network."""

    def run(self) -> int:
        """Evaluate; returns the exit code: 1 when pictures were missing."""
        from openexpose.evaluation.photos import evaluate_photos
        from openexpose.evaluation.table import format_table, write_table
        from openexpose.predict.pipeline import Predictor

        predictor = Predictor.load(self.bundle, threads=self.threads, device=self.device)
        report = evaluate_photos(self.data, predictor, refinement=self.refine)
        print(format_table(report))
        if self.json is not None:
            write_table(self.json, report)
        return 1 if report.missing else 0
