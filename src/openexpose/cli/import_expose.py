"""``openexpose import-expose``: released ExPose weights to a bundle that ``openexpose predict`` runs."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from openexpose.cli.extras import need


@dataclass(frozen=True)
class ImportExpose:
    """Make a bundle of the released ExPose weights and the SMPL-X file that you own (needs the extra 'train').

    The bundle stays under the licences of those files: do not pass it on.
    """

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DATA")]
    """The released data folder, its zip, or the checkpoint (.ckpt)."""
    body_model: Path
    """SMPLX_NEUTRAL.npz."""
    out: Path
    """Bundle folder to write."""
    body_buffers: Literal["checkpoint", "file"] = "checkpoint"
    """The checkpoint carries body-model arrays (SMPL-X 1.0) that the original program lets replace those of the file
    (today 1.1): take the checkpoint's, as it does, or the file's."""

    def run(self) -> int:
        """Import; returns the exit code."""
        need("train", "torch", "onnx", "onnxscript")
        from openexpose.assets.expose import import_expose

        surplus = import_expose(self.source, self.body_model, self.out, self.body_buffers)
        if surplus:
            shown = ", ".join(surplus[:10]) + (", ..." if len(surplus) > 10 else "")
            print(
                f"openexpose: {len(surplus)} arrays of the checkpoint are not known and not used: {shown}",
                file=sys.stderr,
            )
        print(f"{self.out}: predict with `openexpose predict PHOTO --bundle {self.out}`")
        return 0
