"""``openexpose export``: results in the formats of other tools."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from openexpose.cli.extras import need
from openexpose.cli.printing import say
from openexpose.errors import InputError
from openexpose.formats.export import FORMATS

if TYPE_CHECKING:
    from openexpose.body.model import BodyModel
    from openexpose.formats.tracks import Recording
    from openexpose.motion import Motion

Format = Literal[
    "npz",
    "expose",
    "amass",
    "glb",
    "usd",
    "bvh",
    "bvh-mixamo",
    "obj",
    "ply",
    "joints-json",
    "joints-csv",
    "openpose",
    "mediapipe",
    "html",
]
_PAGE = {"html": "a page to look at, in one file, without photo or video (`predict --save html` has them)"}
_HELP = "What to write.\n" + "\n".join(f"{name}: {what}" for name, what in {**FORMATS, **_PAGE}.items())
_FASTEST = 1000.0


@dataclass(frozen=True)
class Export:
    """Write results in the formats of other tools: animations, meshes, joints.

    Units, axes, frame rate and rest pose of each format are in docs/conventions.md. Hands and faces move in all of
    them as far as a format goes: bvh has no expression, and Mixamo's skeleton no jaw.
    """

    paths: Annotated[
        tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="IN [IN ...]", help_behavior_hint="")
    ]
    """Files of `openexpose predict` or `openexpose fit` (.npz), or folders of them: tracks of a clip belong together,
    photos stand alone."""
    to: Annotated[tuple[Format, ...], tyro.conf.arg(help=_HELP)]
    out: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER", help_behavior_hint="")] = None
    """Folder for the files; made if it is not there. Default: beside the (first) file that came in."""
    fps: Annotated[float | None, tyro.conf.arg(metavar="RATE", help_behavior_hint="")] = None
    """Frames a second of amass, glb, usd and bvh, which have a constant rate. Default: the clip's; the other formats
    keep the clip's frames."""
    body_model: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """SMPL-X model file (.npz) that the parameters belong to. Default: the free body."""

    @property
    def folder(self) -> Path:
        """Where files go."""
        if self.out is not None:
            return self.out
        return self.paths[0] if self.paths[0].is_dir() else self.paths[0].parent

    def run(self) -> int:
        """Export; returns the exit code: 0, or 1 when some of several clips and photos failed."""
        from openexpose.formats.atomic import check_writable
        from openexpose.formats.tracks import find_recordings

        if not self.to:
            raise InputError("--to without anything", f"some of {', '.join((*FORMATS, *_PAGE))}")
        if self.fps is not None and not 0.1 <= self.fps <= _FASTEST:
            raise InputError(f"--fps {self.fps}", f"frames a second, up to {_FASTEST:g}")
        if "usd" in self.to:
            need("usd", "pxr")
        recordings = find_recordings(self.paths)
        self._check_places(recordings)
        check_writable(self.folder)
        failed = files = 0
        for recording in recordings:
            try:
                files += self._export(recording)
            except InputError as error:
                if len(recordings) == 1:
                    raise
                failed += 1
                print(f"openexpose: {error}", file=sys.stderr)
        done = len(recordings) - failed
        told = f"{files} file{'' if files == 1 else 's'}"
        say(f"{done} exported{f', {failed} failed' if failed else ''}, {told}: {self.folder}")
        return 1 if failed else 0

    def _check_places(self, recordings: list["Recording"]) -> None:
        """See before any work that nothing would be replaced that came in."""
        stems = [recording.stem for recording in recordings]
        twice = next((stem for stem in stems if stems.count(stem) > 1), None)
        if twice is not None:
            raise InputError(f"two clips or photos called '{twice}'", "each name once", "Export them one by one.")
        folders = {path.resolve().parent for recording in recordings for path in recording.paths}
        if "npz" in self.to and self.folder.resolve() in folders:
            got = f"the folder '{self.folder}', from which the files came,"
            raise InputError(got, "another folder for --to npz", "Choose one with --out.")

    def _export(self, recording: "Recording") -> int:
        """Write one clip or photo; returns the number of files."""
        from openexpose.formats.export import export
        from openexpose.formats.tracks import read_motion

        motion = read_motion(recording.paths)
        model = self._model(motion)
        for note in self._notes(motion, model):
            print(f"openexpose: {recording.stem}: {note}", file=sys.stderr)
        count = 0
        for name in self.to:
            if name == "html":
                from openexpose.viewer.html import write_html

                write_html(self.folder / f"{recording.stem}.html", motion, model)
                count += 1
            else:
                count += len(export(motion, name, self.folder, recording.stem, model, self.fps))
        return count

    def _notes(self, motion: "Motion", model: "BodyModel") -> Iterator[str]:
        """What to know about the files of a clip or photo."""
        if not motion.tracks:
            yield "no people"
        elif model.name != "freebody" and {"glb", "usd"} & set(self.to):
            yield f"glb and usd hold mesh, skin and shapes of '{model.name}', which its licence may forbid to pass on"
        elif model.name == "freebody" and {"amass", "expose"} & set(self.to):
            yield (
                "shape and expression are the free body's, which mean nothing to SMPL-X; `openexpose transfer` turns "
                "them into SMPL-X's"
            )

    def _model(self, motion: "Motion") -> "BodyModel":
        """The people's body model, with as many coefficients as they have."""
        from openexpose.body.model import load_body_model

        if not motion.tracks:
            return load_body_model(self.body_model)
        people = motion.tracks[0].people
        return load_body_model(
            self.body_model, num_betas=people.betas.shape[1], num_expression=people.expression.shape[1]
        )
