"""Files that appear whole or not at all."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from openexpose.errors import InputError


def check_writable(folder: str | Path) -> None:
    """See before long work that files can be written into a folder, which is made if it is not there.

    Raises:
        InputError: they cannot.
    """
    probe = Path(folder) / f".openexpose.{os.getpid()}.part"
    try:
        probe.parent.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        reason = "it is a file" if isinstance(error, FileExistsError) else error.strerror
        raise InputError(f"'{folder}' cannot be written to ({reason})", "a folder that can be written to") from None


def write_whole(path: str | Path, content: bytes) -> None:
    """Write a file beside its place, then rename it into place, so that no half-written file is ever seen.

    Raises:
        InputError: the place cannot be written to.
    """
    with whole_file(path) as file:
        file.write(content)


@contextlib.contextmanager
def whole_file(path: str | Path) -> Iterator[BinaryIO]:
    """A file to write to bit by bit; it takes its place when the block ends, and never if the block fails.

    Raises:
        InputError: the place cannot be written to.
    """
    path = Path(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with beside.open("wb") as file:
            yield file
        beside.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror})", "a folder that can be written to") from None
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()
