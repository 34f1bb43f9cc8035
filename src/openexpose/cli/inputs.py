"""What ``openexpose predict`` is given: which paths are photos, and which are clips."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from openexpose.cli.predict import Predict
from openexpose.errors import InputError
from openexpose.image.frames import VideoSource, find_frames, open_frames
from openexpose.image.read import IMAGE_SUFFIXES, find_images, real_path
from openexpose.image.video import VIDEO_SUFFIXES, is_video, open_video

_DIGEST_BYTES = 1 << 20
_USUAL_FPS = 30.0


@dataclass(frozen=True)
class ClipInput:
    """A clip that is to be predicted.

    Attributes:
        stem: what its results are called.
        files: the video, or the frames.
        open: opens it.
        sound: the file whose sound goes into the overlay; None: there is none.
    """

    stem: str
    files: tuple[Path, ...]
    open: Callable[[], VideoSource]
    sound: Path | None = None

    def digest(self) -> str:
        """Tells the clip from others: names and sizes of its files, and the first, middle and last bytes of a video.

        Raises:
            InputError: a file cannot be read.
        """
        summary = hashlib.sha256()
        try:
            for path in self.files:
                size = path.stat().st_size
                summary.update(f"{path.name}\0{size}\0".encode("utf-8", "surrogateescape"))
                if len(self.files) > 1:
                    summary.update(str(path.stat().st_mtime_ns).encode())
                    continue
                with path.open("rb") as file:
                    for place in (0, size // 2, max(0, size - _DIGEST_BYTES)):
                        file.seek(place)
                        summary.update(file.read(_DIGEST_BYTES))
        except OSError as error:
            raise InputError(f"{self.files[0]} cannot be read ({error.strerror})", "a file that can be read") from None
        return summary.hexdigest()


@dataclass(frozen=True)
class Inputs:
    """Everything that is to be predicted."""

    photos: list[Path]
    clips: list[ClipInput]


def find_inputs(options: Predict) -> Inputs:
    """Sort the paths of a command.

    Raises:
        InputError: nothing given, a folder or pattern without pictures, or two inputs with the same stem.
    """
    paths = options.paths
    if options.frames:
        inputs = Inputs([], _frame_clips(paths, _USUAL_FPS if options.fps is None else options.fps))
    else:
        named = list(dict.fromkeys(file for path in paths for file in _matching(path)))
        videos = [path for path in named if is_video(path)]
        others = [path for path in named if path not in videos]
        photos = find_images(others) if others or not videos else []
        inputs = Inputs(photos, [_video(path) for path in videos])
    if not inputs.photos and not inputs.clips:
        raise InputError("no pictures", "at least one picture, video or folder of pictures")
    _check_stems(inputs)
    return inputs


def check_video_options(options: Predict) -> None:
    """Refuse impossible values of the options of videos.

    Raises:
        InputError: they are.
    """
    if not 0.0 <= options.smooth <= 1.0:
        raise InputError(f"--smooth {options.smooth}", "a number from 0 to 1")
    if options.detect_every < 1:
        raise InputError(f"--detect-every {options.detect_every}", "1 or more")
    if options.fps is not None and not 0.1 <= options.fps <= 1000.0:
        raise InputError(f"--fps {options.fps}", "frames a second, from 0.1 to 1000")
    if options.fps is not None and not options.frames:
        raise InputError(f"--fps {options.fps} without --frames", "pictures as frames: a video has its own times")


def check_clip_outputs(out: Path, inputs: Inputs) -> None:
    """See before any work that no video that comes in would be replaced by a result.

    Raises:
        InputError: one would.
    """
    given = {real_path(path) for clip in inputs.clips for path in clip.files} | set(map(real_path, inputs.photos))
    for clip in inputs.clips:
        if real_path(out / f"{clip.stem}_overlay.mp4") in given:
            got = f"an input '{clip.stem}_overlay.mp4' that the result of '{clip.stem}' would replace"
            raise InputError(got, "an output folder without inputs", "Choose another --out.")


def _matching(path: Path) -> list[Path]:
    """The path, or the pictures and videos that it names as a pattern."""
    is_pattern = any(sign in str(path) for sign in "*?[")
    return find_frames(path, IMAGE_SUFFIXES + VIDEO_SUFFIXES) if is_pattern and not path.exists() else [path]


def _video(path: Path) -> ClipInput:
    return ClipInput(path.stem, (path,), lambda: open_video(path), path)


def _frame_clips(paths: tuple[Path, ...], fps: float) -> list[ClipInput]:
    """Clips of --frames: one a folder or pattern; pictures that are named one by one are one clip together."""
    clips, single = [], []
    for path in paths:
        if is_video(path):
            raise InputError(f"--frames with the video {path}", "folders of photos, or patterns", "Leave --frames out.")
        if path.is_file():
            single.append(path)
            continue
        files = tuple(find_frames(path))
        clips.append(_frames(path.resolve() if path.is_dir() else path.resolve().parent, files, fps))
    if single:
        clips.append(_frames(single[0].resolve().parent, tuple(single), fps))
    return clips


def _frames(folder: Path, files: tuple[Path, ...], fps: float) -> ClipInput:
    name = folder.name or "frames"
    return ClipInput(name, files, lambda: open_frames(files, name, fps))


def _check_stems(inputs: Inputs) -> None:
    """See that results have names of their own."""
    known: dict[str, str] = {path.stem.casefold(): path.name for path in inputs.photos}
    for clip in inputs.clips:
        name = clip.files[0].name
        if clip.stem.casefold() in known:
            raise InputError(
                f"two inputs called '{clip.stem}': {known[clip.stem.casefold()]} and {name}",
                "different names, because results are named after the input",
                "Rename one or predict them into different folders.",
            )
        known[clip.stem.casefold()] = name
    for clip in inputs.clips:  # whose people are called STEM_1, STEM_2 ...
        for photo in inputs.photos:
            if re.fullmatch(re.escape(clip.stem) + r"_[1-9]\d*", photo.stem, re.IGNORECASE):
                raise InputError(
                    f"a picture called '{photo.stem}' beside {clip.files[0].name}, whose people are written as that",
                    "different names, because results are named after the input",
                    "Rename one or predict them into different folders.",
                )
