"""What a reader of a data set returns, and how readers find pictures and leave out broken samples."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from openexpose.data.sample import Sample
from openexpose.errors import InputError


@dataclass(frozen=True)
class Reading:
    """The samples of a data set, and those that were left out."""

    samples: list[Sample]
    skipped: list[str] = field(default_factory=list)
    """One sentence each, naming the sample and the reason."""

    def __len__(self) -> int:
        return len(self.samples)


def gather(rows: Iterable[int], make: Callable[[int], Sample]) -> Reading:
    """Make a sample of each row; those that raise InputError (a label is NaN, a box has no area) are skipped.

    ``make`` must name the sample in what it raises; :class:`~openexpose.data.sample.Sample` does.
    """
    reading = Reading([])
    for row in rows:
        try:
            reading.samples.append(make(row))
        except InputError as error:
            reading.skipped.append(str(error))
    return reading


def join(readings: Iterable[Reading]) -> Reading:
    """Several readings as one."""
    every = list(readings)
    return Reading([s for one in every for s in one.samples], [s for one in every for s in one.skipped])


def check_split(split: str, known: Sequence[str], dataset: str) -> None:
    """Refuse a split that the data set does not have.

    Raises:
        InputError: it has none of this name.
    """
    if split not in known:
        raise InputError(f"the split {split!r} of {dataset}", f"one of {', '.join(known)}")


def picture_finder(folder: Path, names: Sequence[str] | np.ndarray, subfolders: Sequence[str]) -> Callable[[str], Path]:
    """How names in a data set's files become paths below the user's folder.

    Names may be paths on the authors' disks and pictures may have been converted from PNG to JPEG. The first of the
    first 50 names that is found (with leading folders dropped one by one, in each of ``subfolders``) decides for all.

    Args:
        folder: the data set.
        names: some names as the files give them.
        subfolders: where pictures may lie, the likeliest first; "" is the folder itself.

    Returns:
        a function from name to path; the file need not exist.
    """
    for name in names[:50]:
        parts = _parts(name)
        for drop in range(len(parts)):
            for subfolder in subfolders:
                inside = folder / subfolder / PurePosixPath(*parts[drop:])
                for suffix in (inside.suffix, ".jpg", ".png"):
                    if inside.with_suffix(suffix).is_file():
                        forced = None if suffix == inside.suffix else suffix
                        return partial(_placed, folder / subfolder, drop, forced)
    absolute = len(names) > 0 and PurePosixPath(names[0]).is_absolute()
    return partial(_placed, folder / subfolders[0], max(len(_parts(names[0])) - 2, 0) if absolute else 0, None)


def picture_size(path: Path, default: tuple[int, int]) -> tuple[int, int]:
    """Width and height from the header of a picture; ``default`` where it is missing or damaged."""
    try:
        with Image.open(path) as opened:
            return opened.size
    except (OSError, ValueError, SyntaxError):
        return default


def _parts(name: str) -> tuple[str, ...]:
    return tuple(part for part in PurePosixPath(name.replace("\\", "/")).parts if part not in ("/", ".."))


def _placed(root: Path, drop: int, suffix: str | None, name: str) -> Path:
    parts = _parts(name)
    path = root / PurePosixPath(*parts[min(drop, len(parts) - 1) :]) if parts else root
    return path if suffix is None or not path.name else path.with_suffix(suffix)
