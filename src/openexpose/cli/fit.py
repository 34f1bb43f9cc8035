"""``openexpose fit``: bodies laid on 2D keypoints."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

Saved = Literal["json", "npz", "overlay", "glb", "html", "samples"]


@dataclass(frozen=True)
class Fit:
    """Fit bodies with hands and faces, or lone hands or faces, to 2D keypoints (SMPLify-X).

    Writes for each photo what `openexpose predict` writes, and STEM_fit.json: energies, steps and seconds. Called
    again, it goes on: photos whose results are there, made of the same files and options, are not fitted again.
    """

    paths: Annotated[
        tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="PHOTO [PHOTO ...]", help_behavior_hint="")
    ]
    """Photos, or folders of photos."""
    out: Path
    """Folder for the results; made if it is not there."""
    keypoints: Annotated[Path | None, tyro.conf.arg(metavar="FILE|FOLDER", help_behavior_hint="")] = None
    """Keypoints of OpenPose, COCO-WholeBody or MediaPipe as JSON (docs/fitting.md): a file about all photos, or a
    folder with STEM.json or STEM_keypoints.json for each. Default: what the networks of `openexpose predict` see."""
    init: Literal["expose", "mean"] = "expose"
    """Begin at the networks' answer and stay near it, or at the mean pose."""
    method: Literal["fast", "full"] = "fast"
    """fast: Levenberg-Marquardt, a fraction of a second a person. full: L-BFGS in all stages, as SMPLify-X (needs the
    extra 'evaluate')."""
    part: Literal["whole", "face", "left-hand", "right-hand"] = "whole"
    """whole: people. Else just this part, with that network's answer to begin at: the boxes (or the whole photo) show
    one each, or the --keypoints hold it."""
    boxes: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """Boxes of the people (or parts), as in `openexpose predict`; not with --keypoints."""
    focal_length: Annotated[float | None, tyro.conf.arg(metavar="PX", help_behavior_hint="")] = None
    """Focal length in pixels. Default: from the photo's EXIF data, else the length of the photo's diagonal."""
    fov: Annotated[float | None, tyro.conf.arg(metavar="DEGREES", help_behavior_hint="")] = None
    """Field of view across the photo's longer side, instead of a focal length."""
    camera: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """Calibrated camera of all photos, or of each by its name, as JSON: K, distortion, R and t as OpenCV has them
    (docs/fitting.md); instead of a focal length."""
    body_model: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """Model file of yours (.npz or .pkl) to fit, with --init mean: SMPL-X, SMPL-H or SMPL; with --part also MANO or
    FLAME (docs/fitting.md). All but SMPL-X's npz need the extra 'evaluate'. Default: the free body."""
    save: tuple[Saved, ...] = ("json", "npz", "overlay", "glb")
    """What to write besides. samples: npz, and all fits as data to train on, OUT/samples-000000.tar and so on
    (docs/data.md)."""
    threads: int = 2
    """Processor threads of one network."""

    def run(self) -> int:
        """Fit; returns the exit code."""
        from openexpose.cli.fitting import fit_photos

        return fit_photos(self)
