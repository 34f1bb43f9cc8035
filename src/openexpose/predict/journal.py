"""The journal of a clip: what was found in its frames, on the disk at once, so that a stopped prediction goes on.

    head.json    what is predicted, and how: a journal of something else is thrown away
    times.bin    when each frame is shown, seconds, a float64 a frame
    index.bin    frame and track of each person seen, two int64 a row
    people.bin   the person, a fixed number of bytes a row
    state.npz    how much of these files counts, and what the next frame depends on; replaced as a whole
    lock         held by the program that writes the others

Rows are only added. Whatever lies behind what the state tells of was being written when the program ended, and is cut
off. Nothing of the clip is held in memory.
"""

import contextlib
import io
import json
import shutil
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Float, Int

from openexpose.errors import InputError
from openexpose.formats.atomic import write_whole
from openexpose.formats.lock import hold
from openexpose.motion import Track
from openexpose.people import People

Array = np.ndarray

_FILES = {"times": 8, "index": 16}
_COUNTS = ("frames", "rows")
_LOCK = "lock"


def row_type(example: People) -> np.dtype:
    """How one person is stored: the arrays of :class:`People` one after the other, in single precision."""
    return np.dtype([(name, "<f4", array.shape[1:]) for name, array in _arrays(example).items()])


class PeopleFile:
    """Rows of people on the disk.

    Args:
        path: the file; made if it is not there.
        example: what all rows share: camera, picture size, body model, numbers of coefficients. May be of nobody.
        rows: how many rows of the file count; what is behind them is cut off.
    """

    def __init__(self, path: Path, example: People, rows: int = 0) -> None:
        self._path, self._example, self._type = path, example[:0], row_type(example)
        self._file = _opened(path, rows * self._type.itemsize)
        self.rows = rows

    def append(self, people: People) -> None:
        """Add rows."""
        rows = np.zeros(len(people), self._type)
        for name, array in _arrays(people).items():
            rows[name] = array
        _write(self._file, self._path, rows.tobytes())
        self.rows += len(people)

    def read(self, rows: Int[Array, "n"] | slice) -> People:
        """The people of some rows, and nothing else of the file."""
        if not self.rows:
            return self._example
        chosen = np.memmap(self._path, self._type, "r", shape=(self.rows,))[rows]
        arrays: dict[str, Any] = {name: np.ascontiguousarray(chosen[name]) for name in self._type.names or ()}
        return replace(self._example, **arrays)

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(OSError):
            self._file.close()


class Journal:
    """The journal of one clip. Use :meth:`open`; a ``with`` block closes it.

    Attributes:
        example: nobody's record: what all people share.
        state: what the next frame depends on, as the last :meth:`add` was given it; empty at the beginning.
        frames: how many frames are done.
        complete: whether these are all.
        note: what there is to say about the clip as a whole, known when it is complete.
    """

    def __init__(self, folder: Path, example: People, state: dict[str, Array], lock: BinaryIO) -> None:
        self.folder, self.example, self._lock = folder, example[:0], lock
        self.frames, self.rows = (int(state.pop(f"journal.{name}", 0)) for name in _COUNTS)
        self.complete = bool(state.pop("journal.complete", False))
        self.note = str(state.pop("journal.note", ""))
        self.state = state
        counts = {"times": self.frames, "index": self.rows}
        self._files = {name: _opened(folder / f"{name}.bin", counts[name] * size) for name, size in _FILES.items()}
        self._people = PeopleFile(folder / "people.bin", example, self.rows)

    @classmethod
    def open(cls, folder: Path, about: Mapping[str, Any], example: People) -> tuple["Journal", str]:
        """Go on with the journal of a folder, or begin one.

        Args:
            folder: where it lies; made if it is not there.
            about: what the results depend on, as JSON: digest of the clip, options, version.
            example: as in :class:`PeopleFile`.

        Returns:
            The journal, and why it begins anew although there was one (empty: it does not).

        Raises:
            InputError: the folder cannot be written to, or another program works at it.
        """
        head = json.dumps(dict(about), sort_keys=True, indent=1)
        lock = _held(folder)
        try:
            state, reason = _readable(folder, head, example)
            if state is None:
                _clear(folder)
                write_whole(folder / "head.json", head.encode())
            return cls(folder, example, state or {}, lock), reason
        except BaseException:
            lock.close()
            raise

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close its files; another program may go on with it."""
        for file in (*self._files.values(), self._lock):
            with contextlib.suppress(OSError):
                file.close()
        self._people.close()

    def add(self, time_s: float, ids: Int[Array, "n"], people: People, state: Mapping[str, Array]) -> None:
        """Add the next frame: once this returns it will not be predicted again.

        Args:
            time_s: when it is shown.
            ids: tracks of the people.
            people: who was found.
            state: what the frame after it depends on: plain arrays.

        Raises:
            InputError: the disk is full. What was added before stays.
        """
        self._people.append(people)
        index = np.stack([np.full(len(ids), self.frames), ids], -1).astype("<i8")
        _write(self._files["index"], self.folder, index.tobytes())
        _write(self._files["times"], self.folder, np.array(time_s, "<f8").tobytes())
        self.frames, self.rows = self.frames + 1, self.rows + len(ids)
        self._commit(dict(state))

    def finish(self, note: str = "") -> None:
        """Note that all frames are done, and what there is to say about the clip."""
        self.complete, self.note = True, note
        self._commit(self.state)

    def times_s(self) -> Float[Array, "frames"]:
        """When each frame is shown, seconds."""
        return np.fromfile(self.folder / "times.bin", "<f8", self.frames)

    def index(self) -> Int[Array, "rows 2"]:
        """Frame and track of each row."""
        return np.fromfile(self.folder / "index.bin", "<i8", 2 * self.rows).reshape(-1, 2)

    def track(self, number: int, rows: Int[Array, "n"]) -> Track:
        """Some rows, read from the disk, as the track of one person with this number."""
        return Track(number, self.index()[rows, 0].astype(int), self._people.read(rows))

    def _commit(self, state: dict[str, Array]) -> None:
        self.state = state
        own: dict[str, Any] = {"journal.frames": self.frames, "journal.rows": self.rows}
        own |= {"journal.complete": self.complete, "journal.note": self.note, **state}
        file = io.BytesIO()
        np.savez(file, **own)
        write_whole(self.folder / "state.npz", file.getvalue())


def discard(folder: Path) -> None:
    """Remove a journal, if there is one."""
    shutil.rmtree(folder, ignore_errors=True)


def _held(folder: Path) -> BinaryIO:
    """The lock of a journal's folder, which is made if it is not there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = hold(folder / _LOCK)
    except OSError as error:
        got = f"{folder} cannot be made ({error.strerror})"
        raise InputError(got, "a folder that can be written to") from None
    if lock is None:
        got = f"{folder} is being written by another openexpose"
        raise InputError(got, "one run at a time", "Wait until it has ended, or choose another --out.")
    return lock


def _clear(folder: Path) -> None:
    """Remove a journal, but not its lock."""
    for path in folder.iterdir():
        if path.name != _LOCK:
            with contextlib.suppress(OSError):
                path.unlink()


def _readable(folder: Path, head: str, example: People) -> tuple[dict[str, Array] | None, str]:
    """The state of a journal that can be gone on with, else why there is none (empty: there is no journal at all)."""
    if not (folder / "head.json").is_file():
        return None, ""
    try:
        if (folder / "head.json").read_text("utf-8") != head:
            return None, "the clip or the options are others"
        if not (folder / "state.npz").is_file():
            return {}, ""
        with np.load(folder / "state.npz", allow_pickle=False) as npz:
            state = {name: npz[name] for name in npz.files}
        frames, rows = (int(state[f"journal.{name}"]) for name in _COUNTS)
        sizes = {"times": 8 * frames, "index": 16 * rows, "people": row_type(example).itemsize * rows}
        if any((folder / f"{name}.bin").stat().st_size < size for name, size in sizes.items()):
            return None, "the journal is damaged"
        return state, ""
    except Exception:  # a damaged npz raises nearly everything
        return None, "the journal is damaged"


def _arrays(people: People) -> dict[str, Array]:
    return {
        field.name: getattr(people, field.name)
        for field in fields(People)
        if isinstance(getattr(people, field.name), Array) and field.name != "principal_px"
    }


def _opened(path: Path, length: int) -> BinaryIO:
    """A file to add to, cut to a length in bytes."""
    try:
        file = path.open("r+b" if path.exists() else "w+b", buffering=0)
        file.truncate(length)
        file.seek(length)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror})", "a folder that can be written to") from None
    return file


def _write(file: BinaryIO, path: Path, content: bytes) -> None:
    """Write all of it, past Python: what was handed over survives the death of the process."""
    view = memoryview(content)
    try:
        while view:
            view = view[file.write(view) :]
    except OSError as error:
        got = f"{path} cannot be written any more ({error.strerror})"
        fix = "Make room and give the same command again: it goes on with the frame where it stopped."
        raise InputError(got, "room on the disk", fix) from None
