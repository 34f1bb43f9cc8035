"""Files that appear whole or not at all."""

import contextlib
import os
from pathlib import Path

from openexpose.errors import InputError


def write_whole(path: str | Path, content: bytes) -> None:
    """Write a file beside its place, then rename it into place, so that no half-written file is ever seen.

    Raises:
        InputError: the place cannot be written to.
    """
    path = Path(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror})", "a folder that can be written to") from None
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()
