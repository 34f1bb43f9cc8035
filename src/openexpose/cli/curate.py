"""``openexpose curate``: photos, fitted, judged by people, become a training set."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from openexpose.cli.extras import need


@dataclass(frozen=True)
class Prepare:
    """Find and fit the people of photos, and score the fits. Called again, it goes on: new photos are added, those that
    failed are tried again, what is there stays as it is.

    Exit code 0, or 1 when some photos failed.
    """

    paths: Annotated[
        tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="PHOTO [PHOTO ...]", help_behavior_hint="")
    ]
    """Photos, or folders of photos."""
    project: Path
    """Folder of the project; made if it is not there. It holds no photos: leave those where they are."""
    keypoints: Annotated[Path | None, tyro.conf.arg(metavar="FILE|FOLDER", help_behavior_hint="")] = None
    """Keypoints to fit to, as in `openexpose fit`. Default: what the networks see."""
    licence: Annotated[str | None, tyro.conf.arg(metavar="TEXT|FILE.json", help_behavior_hint="")] = None
    """Terms that the photos may be used under: a text for all, or {"photo.jpg": "CC BY 4.0, somebody", "*": ...}."""
    boxes: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """Boxes of the people, as in `openexpose predict`; not with --keypoints."""
    focal_length: Annotated[float | None, tyro.conf.arg(metavar="PX", help_behavior_hint="")] = None
    """Focal length in pixels. Default: from the photo's EXIF data, else the length of the photo's diagonal."""
    fov: Annotated[float | None, tyro.conf.arg(metavar="DEGREES", help_behavior_hint="")] = None
    """Field of view across the photo's longer side, instead of a focal length."""
    bundle: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER", help_behavior_hint="")] = None
    """Folder with networks, as `openexpose bundle` makes it. Default: the one in the package."""
    threads: int = 2
    """Processor threads of one network."""

    def run(self) -> int:
        """Prepare; returns the exit code."""
        from openexpose.cli.curating import prepare_photos

        return prepare_photos(self)


@dataclass(frozen=True)
class Review:
    """Judge the fits of a project on a page in the browser, until Ctrl-C (needs the extra 'curate').

    Several people may, at once. Every verdict is stored the moment it is made.
    """

    project: Path
    """Folder of the project."""
    host: str = "127.0.0.1"
    """Address to listen on. Any other than loopback's can be reached from outside: the address that is printed then
    holds a token, and the connection is not encrypted."""
    port: int = 8321
    """Port to listen on."""
    reviewer: Annotated[str | None, tyro.conf.arg(metavar="NAME", help_behavior_hint="")] = None
    """Who judges. Default: the page asks."""
    browser: bool = True
    """Open the page in the default browser."""

    def run(self) -> int:
        """Serve; returns the exit code."""
        need("curate", "starlette", "uvicorn")
        from openexpose.curation.server import serve

        serve(self.project, self.host, self.port, self.reviewer or "", browser=self.browser)
        return 0


@dataclass(frozen=True)
class Status:
    """Tell how far a project is, and how far its reviewers agree."""

    project: Path
    """Folder of the project."""

    def run(self) -> int:
        """Tell; returns the exit code."""
        from openexpose.cli.curating import tell_status

        return tell_status(self)


@dataclass(frozen=True)
class Export:
    """Write the accepted fits as a data set: `samples-*.tar` to train on, the layout of the paper's curated fits (npz
    and pictures), and statistics.

    Exit code 0, or 1 when some photos are gone or changed.
    """

    project: Path
    """Folder of the project."""
    out: Path
    """Folder for the data set: new, empty, or an earlier export, which is replaced."""
    agreed: Literal["one", "majority", "all"] = "majority"
    """Who must have accepted a fit: one reviewer, most of those who judged it, or all of them."""

    def run(self) -> int:
        """Export; returns the exit code."""
        from openexpose.cli.curating import export_fits

        return export_fits(self)


@dataclass(frozen=True)
class Curate:
    """Make a training set of photos: fit, judge, export (docs/curation.md)."""

    command: tyro.conf.OmitSubcommandPrefixes[
        Annotated[Prepare, tyro.conf.subcommand("prepare")]
        | Annotated[Review, tyro.conf.subcommand("review")]
        | Annotated[Status, tyro.conf.subcommand("status")]
        | Annotated[Export, tyro.conf.subcommand("export")]
    ]

    def run(self) -> int:
        """Run the chosen command; returns the exit code."""
        return self.command.run()
