"""``openexpose predict``: photos or videos in, bodies with hands and faces out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from openexpose.cli.export import Format

Output = Literal["json", "npz", "overlay", "glb", "html"]
"""Files of a photo."""
Saved = Literal[Output, Format]
"""... of photos and videos, with the formats of other tools."""


@dataclass(frozen=True)
class Predict:
    """Predict every person of photos and videos: body, hands and facial expression.

    Writes for each photo, flat into one folder: STEM.json (keypoints in pixels and metres), STEM.npz (SMPL-X
    parameters), STEM_overlay.jpg (the mesh drawn over the photo) and STEM.glb (the mesh).

    Writes for each video: STEM_1.npz, STEM_2.npz ... (SMPL-X parameters over time, a file a person), STEM.json (who is
    in which frames) and STEM_overlay.mp4, with sound. Needs the extra 'video'. A video that was stopped goes on with
    the frame where it stopped when the same command is given again.
    """

    paths: Annotated[
        tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="PHOTO|VIDEO ...", help_behavior_hint="")
    ] = ()
    """Photos, videos, folders of photos, or patterns such as 'frames/*.jpg' or 'clips/*.mp4'."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER", help_behavior_hint="(required but for --camera)")] = (
        None
    )
    """Folder for the results; made if it is not there."""
    frames: bool = False
    """The photos of each folder or pattern are the frames of one video, in the order of the numbers in their names."""
    fps: Annotated[float | None, tyro.conf.arg(metavar="RATE", help_behavior_hint="")] = None
    """Frames a second of --frames. Default: 30."""
    camera: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="")] = None
    """Instead of files: the webcam with this number (0 is the first one), live in a window; q ends it. With --out, the
    people are written as those of a video."""
    detect_every: int = 3
    """Videos: the detector looks for people at every so many frames; in between they are followed."""
    smooth: float = 0.5
    """Videos: how much motion is smoothed, 0 (not at all) to 1."""
    lock_feet: bool = False
    """Videos: feet that stand stay where they stand."""
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
    save: Annotated[tuple[Saved, ...] | None, tyro.conf.arg(help_behavior_hint="")] = None
    """What to write. Default: of photos json npz overlay glb, of videos json npz overlay. glb: of videos bodies with
    bones that move, of photos plain meshes (with bones: `openexpose export --to glb`). html: a page to look at, in one
    file; the others are formats of other tools (`openexpose export --help`)."""
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
        if self.camera is not None:
            from openexpose.cli.live import live

            return live(self)
        from openexpose.cli.prediction import predict

        return predict(self)
