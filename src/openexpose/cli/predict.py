"""``openexpose predict``: photos in, bodies with hands and faces out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

Output = Literal["json", "npz", "overlay", "glb", "html"]


@dataclass(frozen=True)
class Predict:
    """Predict every person of a photo: body, hands and facial expression.

    Writes for each photo, flat into one folder: STEM.json (keypoints in pixels and metres), STEM.npz (SMPL-X
    parameters), STEM_overlay.jpg (the mesh drawn over the photo) and STEM.glb (the mesh).
    """

    paths: Annotated[
        tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="PHOTO [PHOTO ...]", help_behavior_hint="")
    ]
    """Photos, or folders of photos."""
    out: Path
    """Folder for the results; made if it is not there."""
    boxes: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """JSON file with the boxes of people: {"photo.jpg": [[x1, y1, x2, y2], ...]} in pixels of the upright photo.
    Exactly these people come out, in that order; [] says that there are none, and a photo that the file does not name
    is an error. Default: people are detected."""
    focal_length: Annotated[float | None, tyro.conf.arg(metavar="PX", help_behavior_hint="")] = None
    """Focal length in pixels. Default: from the photo's EXIF data, else the length of the photo's diagonal."""
    fov: Annotated[float | None, tyro.conf.arg(metavar="DEGREES", help_behavior_hint="")] = None
    """Field of view across the photo's longer side, instead of a focal length."""
    part: Literal["whole", "face", "left-hand", "right-hand"] = "whole"
    """whole: people. Else the boxes (or the whole photo) show just this part, and its network runs alone."""
    attention: bool = True
    """--no-attention: the body network alone, without a closer look at hands and face."""
    refine: bool = True
    """--no-refine: the networks' answers as they are, not laid on the landmarks that their trunks saw."""
    save: tuple[Output, ...] = ("json", "npz", "overlay", "glb")
    """What to write. html: a page to look at, STEM.html, with photo, mesh and sliders; it needs no network."""
    bundle: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER", help_behavior_hint="")] = None
    """Folder with networks and body model, as `openexpose bundle` makes it. Default: the one in the package."""
    fast: bool = False
    """Use the packaged bundle with a smaller body network: half the time, less exact."""
    device: Literal["cpu", "cuda", "coreml", "directml"] = "cpu"
    """Where the networks run; all but cpu need another build of onnxruntime."""
    threads: int = 2
    """Processor threads of one network."""

    def run(self) -> int:
        """Predict; returns the exit code."""
        from openexpose.cli.prediction import predict

        return predict(self)
