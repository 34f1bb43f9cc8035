"""The work behind ``openexpose predict clip.mp4``: clip after clip, each through its journal to its files."""

import glob
import sys
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from openexpose import __version__
from openexpose.body.model import BodyModel
from openexpose.cli.extras import need
from openexpose.cli.inputs import ClipInput
from openexpose.cli.predict import Predict, Saved
from openexpose.cli.progress import Progress
from openexpose.errors import InputError
from openexpose.formats.clip import TrackFile, write_clip
from openexpose.formats.export import export
from openexpose.formats.tracks import write_track
from openexpose.geometry.camera import focal_from_fov
from openexpose.image.decoding import load_av
from openexpose.image.frames import VideoSource
from openexpose.motion import Clip, Motion
from openexpose.predict.finish import Finish, FinishedPeople, clip_of, finished_tracks
from openexpose.predict.journal import Journal, discard
from openexpose.predict.overlay_video import write_overlay
from openexpose.predict.pipeline import Predictor
from openexpose.predict.video import Follower, VideoConfig, example_of, predict_clip

if TYPE_CHECKING:
    from openexpose.viewer.media import Media

LONGEST_SHOWN_S = 600.0
"""A page holds the video of clips that are not longer: 3 to 9 MB a minute, all of it in the browser's memory."""


def predict_clips(clips: Sequence[ClipInput], options: Predict, predictor: Predictor, alone: bool) -> int:
    """Predict all clips; returns how many failed. The error of one that is ``alone`` is raised."""
    failed = people = frames = 0
    for given in clips:
        try:
            count, length = ClipWork(given, given.open(), options, predictor).predict()
        except InputError as error:
            if alone:
                raise
            failed += 1
            print(f"openexpose: {error}", file=sys.stderr)
            continue
        people, frames = people + count, frames + length
    done = f"{counted(len(clips) - failed, 'clip', 'clips')}, {counted(frames, 'frame', 'frames')}"
    ending = f", {failed} failed" if failed else ""
    print(f"{done}, {counted(people, 'person', 'people')}{ending}: {options.out}")
    return failed


def check_clip_options(options: Predict) -> None:
    """Refuse options that only photos have.

    Raises:
        InputError: --boxes or --part.
    """
    if options.boxes is not None:
        raise InputError("--boxes with a video", "no --boxes: people are detected and followed")
    if options.part != "whole":
        raise InputError(f"--part {options.part} with a video", "whole people")


def check_libraries(save: Sequence[Saved] | None, clips: bool) -> None:
    """See before any work that what the files need is installed.

    Args:
        save: what to write, as the user says.
        clips: whether there are videos.

    Raises:
        InputError: it is not.
    """
    if clips and (save is None or {"overlay", "html"} & set(save)):
        load_av()
    if save and "usd" in save:
        need("usd", "pxr")


@dataclass
class ClipWork:
    """One clip on its way from its file to its results."""

    given: ClipInput
    source: VideoSource
    options: Predict
    predictor: Predictor
    default_save: tuple[Saved, ...] = ("json", "npz", "overlay")
    """What is written unless --save says otherwise."""

    @property
    def out(self) -> Path:
        """Folder of the results."""
        return self.options.out or Path()

    @property
    def focal_px(self) -> float | None:
        """The focal length that the user gives, pixels."""
        if self.options.fov is not None:
            return focal_from_fov(self.options.fov, *self.source.image_size)
        return self.options.focal_length

    @property
    def folder(self) -> Path:
        """Where the journal lies."""
        return self.out / f".{self.given.stem}.openexpose"

    @property
    def config(self) -> VideoConfig:
        """How the clip is predicted."""
        options = self.options
        return VideoConfig(options.detect_every, self.focal_px, options.attention, options.refine)

    def follower(self) -> Follower:
        """What finds and follows the people, at the beginning of the clip."""
        return Follower(self.predictor, self.source.image_size, self.config)

    def journal(self, digest: str) -> tuple[Journal, str]:
        """The journal, and why it begins anew (:meth:`Journal.open`); ``digest`` tells the clip from others."""
        example = example_of(self.predictor, self.source.image_size, self.focal_px)
        return Journal.open(self.folder, self._about(digest), example)

    def predict(self) -> tuple[int, int]:
        """Predict, write the results and remove the journal; returns the numbers of people and frames."""
        follower = self.follower()
        journal, reason = self.journal(self.given.digest())
        with journal:
            if reason:
                self._say(f"begins anew ({reason})")
            elif journal.frames and not journal.complete:
                self._say(f"goes on with frame {journal.frames}")
            try:
                self._follow(journal, follower)
                if journal.note:
                    self._say(journal.note)
                count = self.finish(journal, follower)
            except KeyboardInterrupt:
                self._say(f"{counted(journal.frames, 'frame', 'frames')} done; the same command goes on from there")
                raise
        return count, journal.frames

    def finish(self, journal: Journal, follower: Follower) -> int:
        """The last step: from the journal to the files; then the journal is removed. Returns the number of people."""
        finished = FinishedPeople(self.folder / "finished.bin", journal.example)
        try:
            count = self._write(journal, follower, finished)
        finally:
            finished.close()
        journal.close()
        discard(self.folder)
        return count

    def _follow(self, journal: Journal, follower: Follower) -> None:
        """Predict what is left, with a bar."""
        follower.restore(journal.state)
        if journal.complete:
            return
        with Progress(self.source.name, self.source.frame_count_estimate, journal.frames) as progress:
            predict_clip(self.source, journal, follower, progress.step)

    def _write(self, journal: Journal, follower: Follower, finished: FinishedPeople) -> int:
        """Write all files; returns the number of people."""
        save = self.default_save if self.options.save is None else self.options.save
        clip = clip_of(journal, self.source.name, self.source.fps)
        model = self.predictor.body_model
        source = "default" if self.focal_px is None else "given"
        how = Finish(self.options.smooth, self.options.lock_feet)
        files = []
        for track in finished_tracks(journal, clip, follower.tracker.final, model, how):
            path = self.out / f"{self.given.stem}_{track.id}.npz"
            if "npz" in save:
                write_track(path, clip, track, focal_source=source)
            finished.add(track)
            files.append(TrackFile.of(track, clip, path.name if "npz" in save else None))
        if "npz" in save:
            _remove_stale(self.out, self.given.stem, len(files), clip.name)
        if "overlay" in save:
            self._draw(finished, len(clip.times_s))
        names = export_names(save, ("json", "npz", "overlay"))
        if names:
            write_exports(self.out, self.given.stem, names, finished.motion(clip), model, lambda: self._media(clip))
        if "json" in save:
            write_clip(self.out / f"{self.given.stem}.json", clip, journal.example, files, source, journal.note)
        if not files:
            self._say("no people")
        return len(files)

    def _draw(self, finished: FinishedPeople, count: int) -> None:
        """Write the overlay, with a bar."""
        path = self.out / f"{self.given.stem}_overlay.mp4"
        for left in self.out.glob(f".{glob.escape(path.name)}.*.part"):  # of a run that was killed
            left.unlink(missing_ok=True)
        with Progress(f"{self.source.name}, overlay", count) as progress:
            warning = write_overlay(path, self.source, finished, self.predictor, self.given.sound, progress.step)
        if warning:
            self._say(warning)

    def _media(self, clip: Clip) -> "Media | None":
        """The clip as a page shows it; None: it would be more than a browser can hold."""
        from openexpose.image.video_writer import preview
        from openexpose.viewer.media import Media

        if clip.times_s[-1] > LONGEST_SHOWN_S:
            longest = f"{LONGEST_SHOWN_S / 60:g} minutes"
            self._say(f"lasts longer than {longest}: the page shows the people without the video")
            return None
        return Media("video", preview(self.source.frames(), self.source.image_size, self.source.fps), "video/mp4")

    def _about(self, digest: str) -> dict[str, object]:
        """What the journal's content depends on."""
        config = self.config
        return {
            "openexpose": __version__,
            "clip": digest,
            "fps": self.source.fps,
            "image_size": list(self.source.image_size),
            "config": [config.detect_every, config.focal_px, config.attention, config.refinement],
            "bundle": self.predictor.config.json(),
            "device": self.predictor.device,
        }

    def _say(self, text: str) -> None:
        tqdm.write(f"openexpose: {self.source.name}: {text.removeprefix(f'{self.source.name} ')}", file=sys.stderr)


def export_names(save: Sequence[Saved] | None, own: Container[Saved]) -> list[Saved]:
    """What is asked for beside a command's own files."""
    return [name for name in save or () if name not in own]


def write_exports(
    out: Path,
    stem: str,
    names: Sequence[Saved],
    motion: Motion,
    model: BodyModel,
    media: Callable[[], "Media | None"] | None = None,
) -> None:
    """Write people in the formats of other tools, and as a page.

    Args:
        out, stem: where to, and what the files are named after.
        names: the formats.
        motion: the people.
        model: their body model.
        media: makes what the page shows with the people; None: it shows them alone.
    """
    for name in names:
        if name == "html":
            from openexpose.viewer.html import write_html

            write_html(out / f"{stem}.html", motion, model, None if media is None else media())
        else:
            export(motion, name, out, stem, model)


def counted(count: int, one: str, many: str) -> str:
    """A number with its noun."""
    return f"{count} {one if count == 1 else many}"


def _remove_stale(out: Path, stem: str, count: int, clip_name: str) -> None:
    """Remove tracks of the same clip from an earlier run that had more of them."""
    for path in out.glob(f"{glob.escape(stem)}_*.npz"):
        number = path.stem.removeprefix(f"{stem}_")
        if not number.isdecimal() or int(number) <= count:
            continue
        try:
            with np.load(path, allow_pickle=False) as npz:
                stale = "track_id" in npz.files and str(npz["clip_name"]) == clip_name
        except Exception:  # whatever it is, it is not ours
            continue
        if stale:
            path.unlink(missing_ok=True)
