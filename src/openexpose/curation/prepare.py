"""From photos to stored fits: photo after photo, each whole, and none twice."""

import hashlib
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from openexpose.body.model import BodyModel
from openexpose.curation.record import FitRecord, PhotoRow
from openexpose.curation.scores import badness, scores
from openexpose.curation.store import Conflict, Store
from openexpose.data.arrays import read_json
from openexpose.errors import InputError
from openexpose.fitting.penalties import Priors
from openexpose.image.read import Image, read_image, real_path

Outcome = Literal["fitted", "kept", "same", "failed"]
"""Of one photo: it was fitted now; it was before; it has the content of another one; it failed."""
EVERY_OTHER = "*"
"""In a file of licences: the photos that it does not name."""


@dataclass(frozen=True)
class Told:
    """What became of one photo."""

    path: Path
    outcome: Outcome
    people: int = 0
    """How many were fitted now."""
    message: str = ""
    """Why it failed, or whose content it has."""


@dataclass(frozen=True)
class Work:
    """How photos become fits.

    Attributes:
        fit: the fits of a photo; raises InputError where it cannot be fitted.
        model, priors: of the fits, for the scores.
        licence: the terms of a photo.
    """

    fit: Callable[[Image], list[FitRecord]]
    model: Callable[[], BodyModel]
    priors: Callable[[], Priors]
    licence: Callable[[Path], str]


def prepare(store: Store, paths: Iterable[Path], work: Work) -> Iterator[Told]:
    """Fit and store photos that the project does not hold yet; those that failed before are tried again.

    Photos are known by their content, so that they may be moved and renamed; what was fitted is never touched, but a
    licence that is told now replaces an earlier one. A photo that cannot be fitted is stored with the reason, and the
    next one follows.

    Yields:
        what became of each photo, once it is on the disk.

    Raises:
        InputError: the project cannot be written to, as on a full disk.
    """
    known = {photo.sha256: photo for photo in store.photos() if photo.state == "done"}
    for path in map(real_path, paths):
        try:
            _check_name(path)
            digest = content_digest(path)
            told = _known(store, known[digest], path, work) if digest in known else None
            found = None if told else _fitted(path, digest, work)
        except InputError as error:
            told, found = Told(path, "failed", message=str(error)), None
        except Exception as error:  # one photo that nobody thought of must not stop ten thousand others
            traceback.print_exc(file=sys.stderr)
            told, found = Told(path, "failed", message=f"not expected: {type(error).__name__}: {error}"), None
        if found is not None:
            photo, fits = found
            try:
                known[digest] = replace(photo, id=store.add_photo(photo, fits))
                told = Told(path, "fitted", people=len(fits))
            except Conflict:  # another process has prepared it meanwhile
                told = Told(path, "kept")
        elif told is not None and told.outcome == "failed":
            store.add_failed(Path(_escaped(str(path))), _escaped(told.message))
        if told is not None:
            yield told


def content_digest(path: Path) -> str:
    """SHA-256 of a file.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path} cannot be read ({reason})", "a picture file", "Check the path.") from None


def check_unchanged(path: Path, sha256: str) -> None:
    """See that a photo is still the one that was fitted.

    Raises:
        InputError: it has gone, or is another one.
    """
    if content_digest(path) != sha256:
        raise InputError(f"{path} is another picture than the one that was fitted", "that picture", "Put it back.")


def licences(given: str | None) -> Callable[[Path], str]:
    """The terms of every photo.

    Args:
        given: a text for all; or a ``.json`` file: photo to text, photos named as they are or with some of their
            folders (``cats/001.jpg``; the longest name counts), and ``*``: those that it does not name.

    Raises:
        InputError: no such file, or not such a file.
    """
    if given is None or not given.lower().endswith(".json"):
        text = (given or "").strip()
        return lambda _: text
    table = read_json(Path(given))
    if not isinstance(table, dict) or not all(isinstance(text, str) for text in table.values()):
        raise InputError(f"'{given}', which is no table of texts", '{"photo.jpg": "CC BY 4.0, somebody", "*": ...}')
    names = sorted(table, key=len, reverse=True)

    def licence(path: Path) -> str:
        called = f"/{path.as_posix()}"
        found = next((name for name in names if called.endswith(f"/{name.removeprefix('./')}")), EVERY_OTHER)
        return table.get(found, "")

    return licence


def _check_name(path: Path) -> None:
    if _escaped(str(path)) != str(path):
        raise InputError(f"{_escaped(str(path))}, a name that is not Unicode", "a name in UTF-8", "Rename the file.")


def _escaped(text: str) -> str:
    """A text as UTF-8 holds it: bytes of a file's name that are none come as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def _known(store: Store, photo: PhotoRow, path: Path, work: Work) -> Told:
    """A photo whose content the project holds: the same, moved, or another copy. A licence that is told now counts."""
    if photo.path != path:
        try:
            there = content_digest(photo.path) == photo.sha256
        except InputError:
            there = False
        if there:
            return Told(path, "same", message=f"the content of {photo.path}")
    licence = work.licence(path) or photo.licence
    if (path, licence) != (photo.path, photo.licence):
        store.change_photo(photo.id, path, licence)
    return Told(path, "kept")


def _fitted(path: Path, digest: str, work: Work) -> tuple[PhotoRow, list[tuple[FitRecord, dict[str, float], float]]]:
    image = read_image(path)
    fits = []
    for record in work.fit(image):
        found = scores(work.model(), work.priors(), record)
        fits.append((record, found, badness(found)))
    return PhotoRow(0, path, digest, image.width, image.height, work.licence(path), "done"), fits
