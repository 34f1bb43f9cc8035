"""``openexpose evaluate``: how good are the predictions on annotated photos, or on renders with exact labels?"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from openexpose.errors import InputError

if TYPE_CHECKING:
    from openexpose.predict.pipeline import Predictor


@dataclass(frozen=True)
class Evaluate:
    """Measure predictions against annotated keypoints or exact renders and print one table.

    Everybody is predicted twice, with and without attention, so that what attention gains is a paired difference.
    """

    data: Path
    """photos: folder with index.json and the photos that it names. renders: folder of people shards."""
    protocol: Literal["photos", "renders"] = "photos"
    """photos: PCK of bodies, landmark errors of faces and hands. renders: the paper's 3D errors in millimetres, on
    people of `openexpose synth --preset people` (needs the extra 'train'). Boxes are given."""
    refine: bool = True
    """--no-refine: measure the networks' answers as they are."""
    attention: bool = True
    """renders: --no-attention measures the body network alone, in half the time."""
    limit: int | None = None
    """renders: measure on the first so many people."""
    split: Literal["val", "all"] = "val"
    """renders: every tenth person, which training leaves out, or all."""
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
        from openexpose.predict.pipeline import Predictor

        if self.protocol == "photos" and (not self.attention or self.limit is not None or self.split != "val"):
            got = "--no-attention, --limit or --split with the protocol photos"
            raise InputError(got, "--protocol renders with these", "Photos are always measured both ways and whole.")
        predictor = Predictor.load(self.bundle, threads=self.threads, device=self.device)
        return self._photos(predictor) if self.protocol == "photos" else self._renders(predictor)

    def _photos(self, predictor: "Predictor") -> int:
        from openexpose.evaluation.photos import evaluate_photos
        from openexpose.evaluation.table import format_table, write_table

        report = evaluate_photos(self.data, predictor, refinement=self.refine and predictor.refines)
        print(format_table(report))
        if self.json is not None:
            write_table(self.json, report)
        return 1 if report.missing else 0

    def _renders(self, predictor: "Predictor") -> int:
        from openexpose.cli.extras import need

        need("train", "cv2", "numba", "scipy")
        from openexpose.data.synthetic import read_rendered_people
        from openexpose.evaluation.renders import evaluate_renders, format_renders, write_renders

        people = read_rendered_people(self.data, self.split, limit=self.limit)
        refinement = self.refine and predictor.refines
        report = evaluate_renders(predictor, people, attention=self.attention, refinement=refinement)
        print(format_renders(report))
        if self.json is not None:
            write_renders(self.json, report)
        return 0
