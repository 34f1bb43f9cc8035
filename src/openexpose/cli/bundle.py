"""``openexpose bundle``: trained weights to a folder that ``openexpose predict`` runs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from openexpose.cli.extras import need


@dataclass(frozen=True)
class Bundle:
    """Export body.pt, hand.pt and face.pt to a runtime bundle (needs the extra 'train')."""

    weights: Path
    """Folder with the three checkpoints."""
    out: Path
    """Bundle folder to write."""
    name: str = "default"
    """What to call it."""
    trunks: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER", help_behavior_hint="")] = None
    """Folder with the trunks and the detector as ONNX. Default: those in the package."""

    def run(self) -> int:
        """Export; returns the exit code."""
        need("train", "torch", "onnx", "onnxscript")
        from openexpose.training.export import bundle

        bundle(self.weights, self.out, name=self.name, trunks=self.trunks)
        return 0
