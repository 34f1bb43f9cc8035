"""The files of a training's run folder: checkpoints, tables, problems, pictures. Only the first process writes them.

::

    checkpoints/step_00001200.pt   the last two
    log.csv validation.csv         a row every so many steps
    problems.log                   bad samples and steps, each named once
    sheets/step_000100.png         pictures of predictions
    tensorboard/                   the same numbers and pictures for TensorBoard
"""

import csv
import hashlib
import io
import os
import re
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image

from openexpose.errors import InputError
from openexpose.formats.atomic import write_whole


@dataclass(frozen=True)
class State:
    """All that a training needs to go on as if it had not stopped."""

    step: int
    """Steps done."""
    seconds: float
    """Time they took."""
    skipped: int
    """Steps among them without a finite loss or gradient."""
    problems: int
    """Problems that the data reported in them."""
    configuration: dict[str, str]
    """What must be the same when the training goes on."""
    processes: int
    module: dict[str, Any]
    optimiser: dict[str, Any]
    schedule: dict[str, Any]
    scaler: dict[str, Any]


def digest(tree: Any) -> str:
    """A fingerprint of the numbers and texts of a tree of mappings, lists and tuples; without all else in it."""
    return hashlib.sha256(repr(_numbers(tree)).encode()).hexdigest()[:16]


def _numbers(tree: Any) -> Any:
    """The numbers and texts of a tree, without switches, functions and tensors."""
    if isinstance(tree, Mapping):
        return {str(name): _numbers(leaf) for name, leaf in sorted(tree.items(), key=lambda item: str(item[0]))}
    if isinstance(tree, list | tuple):
        return [_numbers(leaf) for leaf in tree]
    return tree if isinstance(tree, int | float | str) and not isinstance(tree, bool) else None


class Checkpoints:
    """The last two states of a training.

    Args:
        folder: where they are; made when the first is written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, state: State) -> None:
        """Write a state, whole or not at all, then delete all but it and the one before it.

        Raises:
            InputError: it cannot be written.
        """
        path = self._folder / f"step_{state.step:08d}.pt"
        beside = path.with_suffix(f".{os.getpid()}.part")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with beside.open("wb") as file:
                torch.save(vars(state), file)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
            _sync(self._folder)
            before = [step for step in self._steps() if step < state.step][-1:]
            for step, old in self._steps().items():
                if step not in (state.step, *before):
                    old.unlink()
        except (OSError, RuntimeError) as error:  # a full disk is a RuntimeError of torch's writer
            beside.unlink(missing_ok=True)
            expected = "a folder with room that can be written to"
            raise InputError(f"'{path}', which cannot be written ({error})", expected) from None

    def load(self) -> tuple[State | None, list[str]]:
        """The last state that is whole, or None if none was ever written; and a message for every damaged one.

        Raises:
            InputError: there are states and all are damaged.
        """
        messages: list[str] = []
        for path in reversed(self._steps().values()):
            try:
                return _read(path), messages
            except Exception as error:  # torch's unpickler meets damaged bytes with whatever they make it stumble over
                reason = (str(error) or type(error).__name__).splitlines()[0][:200]
                messages.append(f"'{path}' is damaged ({reason}); going back to the checkpoint before it")
        if messages:
            fix = "Delete the folder to begin anew"
            raise InputError(f"'{self._folder}', of which no checkpoint loads", "a whole one among them", fix)
        return None, messages

    def _steps(self) -> dict[int, Path]:
        found = {path: re.fullmatch(r"step_(\d+)\.pt", path.name) for path in self._folder.glob("step_*.pt")}
        return dict(sorted((int(match[1]), path) for path, match in found.items() if match))


def _read(path: Path) -> State:
    with zipfile.ZipFile(path) as archive:  # torch does not check the checksums that it writes
        damaged = archive.testzip()
    if damaged:
        raise InputError(f"a wrong checksum of '{damaged}'", "the bytes that were written")
    return State(**torch.load(path, map_location="cpu", weights_only=True))


def _sync(path: Path) -> None:
    """Have the file or folder on the disk, not only on its way there. Some systems cannot open folders."""
    if os.name == "nt" and path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class Table:
    """A CSV file with one row a step, columns added as they come.

    Args:
        path: the file. What it holds of later steps than ``step`` is dropped: those steps are done again.
        step: the step that the training goes on from.
    """

    def __init__(self, path: Path, step: int) -> None:
        self._path = path
        rows = [row for row in _rows(path) if int(row["step"]) <= step] if path.exists() else []
        self._last = int(rows[-1]["step"]) if rows else -1
        self._columns = list(rows[0]) if rows else []
        if path.exists():
            self._rewrite(rows)

    def add(self, step: int, row: Mapping[str, str | float]) -> None:
        """Append a row; a step that is already there stays as it is."""
        if step <= self._last:
            return
        texts = {"step": str(step)} | {name: v if isinstance(v, str) else repr(float(v)) for name, v in row.items()}
        new = [name for name in texts if name not in self._columns]
        if new:
            self._columns += new
            self._rewrite(_rows(self._path) if self._path.exists() else [])
        with self._path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self._columns, restval="").writerow(texts)
        self._last = step

    def sync(self) -> None:
        """Have all rows on the disk."""
        if self._path.exists():
            _sync(self._path)

    def _rewrite(self, rows: Iterable[dict[str, str]]) -> None:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self._columns, restval="")
        if self._columns:
            writer.writeheader()
        writer.writerows(rows)
        write_whole(self._path, text.getvalue().encode())


def _rows(path: Path) -> list[dict[str, str]]:
    """The rows of a table, without what a crash left of the last one."""
    with path.open(newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    whole = [row for row in found if None not in row and None not in row.values()]
    return [row for row in whole if row.get("step", "").isdigit()]


class Problems:
    """A text file of bad samples and steps, each named once, however often it is met or the training goes on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known = set(path.read_text(encoding="utf-8").splitlines()) if path.exists() else set()

    def add(self, problems: Iterable[str]) -> None:
        """Name those that are new."""
        lines = dict.fromkeys(" ".join(problem.split()) for problem in problems)
        new = [line for line in lines if line not in self._known]
        self._known.update(new)
        if new:
            with self.path.open("a", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in new)

    def __len__(self) -> int:
        return len(self._known)


class Board:
    """TensorBoard, where its package is installed, and sheets as PNG files.

    Args:
        folder: the run folder.
        step: the step that the training goes on from; TensorBoard hides what it has of later ones.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self._sheets = folder / "sheets"
        self._writer: Any = None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            print("no TensorBoard (pip install tensorboard): numbers go to CSV files only", flush=True)
            return
        self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1 if step else None)

    def numbers(self, group: str, step: int, row: Mapping[str, float]) -> None:
        """Show numbers under ``group``."""
        if self._writer:
            for name, value in row.items():
                self._writer.add_scalar(f"{group}/{name}", value, step)

    def sheet(self, step: int, picture: UInt8[np.ndarray, "h w 3"]) -> None:
        """Keep a picture."""
        self._sheets.mkdir(exist_ok=True)
        content = io.BytesIO()
        Image.fromarray(picture).save(content, "PNG")
        write_whole(self._sheets / f"step_{step:06d}.png", content.getvalue())
        if self._writer:
            self._writer.add_image("sheet", picture, step, dataformats="HWC")

    def flush(self) -> None:
        """Have all of it in the files."""
        if self._writer:
            self._writer.flush()

    def close(self) -> None:
        """Write the rest and end."""
        if self._writer:
            self._writer.close()


class RunFiles:
    """What the first process writes beside checkpoints.

    Args:
        folder: the run folder.
        step: the step that the training goes on from.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self.log, self.validation = Table(folder / "log.csv", step), Table(folder / "validation.csv", step)
        self.problems = Problems(folder / "problems.log")
        self.board = Board(folder, step)

    def sync(self) -> None:
        """Have all of it on the disk."""
        self.log.sync()
        self.validation.sync()
        self.board.flush()
