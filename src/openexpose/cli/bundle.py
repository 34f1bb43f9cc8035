"""``openexpose bundle``: trained weights to a folder that ``openexpose predict`` runs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from openexpose.cli.extras import need


@dataclass(frozen=True)
class Bundle:
    """Export trained weights of body, hand and face to a runtime bundle (needs the extra 'train')."""

    weights: Path
    """Folder with body.pt, hand.pt and face.pt, or with the run folders body, hand and face; all of one recipe.
    Of the default recipe some may be missing: these parts are the packaged bundle's, then and later."""
    out: Path
    """Bundle folder to write."""
    name: Annotated[str | None, tyro.conf.arg(metavar="NAME", help_behavior_hint="")] = None
    """What to call it. Default: the recipe's name, or fast for a body trained with --trunk full."""
    trunks: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER", help_behavior_hint="")] = None
    """Folder with the trunks and the detector as ONNX; of the paper's recipe with the detector. Default: those in the
    package that the weights belong to."""
    body_model: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """Paper's recipe: the SMPL-X file (npz) that the networks were trained with, to be copied into the bundle. Default:
    the free body."""

    def run(self) -> int:
        """Export; returns the exit code."""
        need("train", "torch", "onnx", "onnxscript", "cv2", "scipy")
        from openexpose.training.export import bundle

        bundle(self.weights, self.out, name=self.name, trunks=self.trunks, body_model=self.body_model)
        return 0
