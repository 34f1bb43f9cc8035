"""Pictures over time: the record of one frame, what a video is to the rest of the program, and folders of frames."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from openexpose.errors import InputError
from openexpose.image.read import IMAGE_SUFFIXES, read_image


@dataclass(frozen=True)
class Frame:
    """One frame of a video."""

    index: int
    """Number of the frame, from 0."""
    time_s: float
    """When it is shown, seconds after the first frame."""
    pixels: UInt8[np.ndarray, "height width 3"]
    """RGB, 8 bits, upright, square pixels."""


@dataclass
class VideoSource(ABC):
    """A video, or a folder of frames: known before it is read, then read frame by frame in constant memory."""

    name: str
    """File name of the video, or name of the folder."""
    fps: float
    """Frame rate, frames a second: the nominal one, or the mean one where it varies."""
    image_size: tuple[int, int]
    """Width and height of every frame, pixels, upright."""
    frame_count_estimate: int | None
    """How many frames there seem to be; None where the file does not tell."""
    has_audio: bool
    """Whether there is sound beside the pictures."""
    warning: str | None = field(default=None, init=False)
    """One sentence on what was damaged, known when :meth:`frames` has come to its end; None: nothing was."""

    @abstractmethod
    def frames(self, start: int = 0) -> Iterator[Frame]:
        """The frames in order, times strictly ascending.

        Args:
            start: number of the first frame that is wanted. Frames before it are passed over cheaply; the others have
                the same number and time as when all are read.

        Raises:
            InputError: a file can no longer be read, or a picture of a folder is gone or of another size.
        """


def open_frames(paths: Sequence[Path], name: str, fps: float = 30.0) -> VideoSource:
    """Pictures as the frames of one clip.

    Args:
        paths: the pictures, in order; all of one size.
        name: what the clip is called.
        fps: frames a second.

    Raises:
        InputError: no pictures, the first one cannot be read, or the frame rate is no positive number.
    """
    if not paths:
        raise InputError("no pictures", "at least one picture as a frame")
    if not (np.isfinite(fps) and fps > 0):
        raise InputError(f"a frame rate of {fps}", "a positive number of frames a second")
    first = read_image(paths[0])
    return _Pictures(name, fps, (first.width, first.height), len(paths), False, tuple(map(Path, paths)))


def find_frames(path_or_glob: str | Path, suffixes: tuple[str, ...] = IMAGE_SUFFIXES) -> list[Path]:
    """The pictures of a folder, or those that a pattern like ``frames/*.jpg`` names, ``frame2`` before ``frame10``.

    Hidden files are left out, and whatever is no picture by its name. A file named directly comes alone.

    Args:
        path_or_glob: the folder, pattern or file.
        suffixes: what files that are looked for end in.

    Raises:
        InputError: there are none.
    """
    path = Path(path_or_glob)
    try:
        if path.is_dir():
            found = [p for p in path.iterdir() if _is_wanted(p, suffixes)]
            where = f"the folder {path} holds no pictures"
        elif path.exists():
            return [path]
        else:
            beside = path.parent.is_dir()  # whose name may hold brackets, too
            root, pattern = (
                (path.parent, path.name) if beside else (Path(path.anchor), str(path.relative_to(path.anchor)))
            )
            found = [p for p in root.glob(pattern) if _is_wanted(p, suffixes)]
            where = f"no {'pictures' if suffixes == IMAGE_SUFFIXES else 'files'} match '{path_or_glob}'"
    except (OSError, ValueError, NotImplementedError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"'{str(path)[:200]}' cannot be read ({reason})", "a folder of pictures") from None
    if not found:
        raise InputError(where, f"files ending in {', '.join(suffixes)}", "Check the path.")
    return sorted(found, key=_natural)


def _is_wanted(path: Path, suffixes: tuple[str, ...]) -> bool:
    return path.suffix.lower() in suffixes and path.name[0] != "." and path.is_file()


def _natural(path: Path) -> tuple[list[str | int], str]:
    """Sorts numbers in names by their value; names that differ in nothing else by their letters."""
    pieces = re.split(r"(\d+)", str(path).casefold())
    return [int(piece) if k % 2 else piece for k, piece in enumerate(pieces)], str(path)


@dataclass
class _Pictures(VideoSource):
    """A folder of frames. For a damaged picture the one before it stands in, so that numbers and times stay."""

    paths: tuple[Path, ...] = ()

    def frames(self, start: int = 0) -> Iterator[Frame]:
        self.warning = None
        damaged, last = [], None
        for index in range(start, len(self.paths)):
            pixels = self._read(index)
            if pixels is None:
                damaged.append(self.paths[index].name)
                pixels = self._last_before(index) if last is None else last
            last = pixels
            yield Frame(index, index / self.fps, pixels)
        if damaged:
            many = "a damaged picture" if len(damaged) == 1 else f"{len(damaged)} damaged pictures, the first one"
            self.warning = f"{self.name} has {many} {damaged[0]}: the picture before stands in"

    def _read(self, index: int) -> UInt8[np.ndarray, "height width 3"] | None:
        """One picture; None: it is there, but damaged. The first one must not be."""
        path = self.paths[index]
        try:
            image = read_image(path)
        except InputError:
            if index and path.is_file():
                return None
            raise
        size = (image.width, image.height)
        if size != self.image_size:
            raise InputError(
                f"{image.path} is {size[0]} x {size[1]} pixels",
                f"{self.image_size[0]} x {self.image_size[1]}, as the first frame of '{self.name}' is",
                "Frames of one clip have one size.",
            )
        return image.pixels

    def _last_before(self, index: int) -> UInt8[np.ndarray, "height width 3"]:
        """The last picture before one that can be read."""
        pixels = None
        while pixels is None:
            index -= 1
            pixels = self._read(index)
        return pixels
