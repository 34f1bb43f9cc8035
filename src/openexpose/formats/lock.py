"""A file that one program holds at a time."""

import errno
import sys
from pathlib import Path
from typing import BinaryIO

_HELD = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)


def hold(path: Path) -> BinaryIO | None:
    """Hold a file until it is closed or the program ends, however it ends.

    Where the file system knows no locks, nobody is kept out.

    Args:
        path: the file; made if it is not there.

    Returns:
        The open file; None: it is held already.

    Raises:
        OSError: it cannot be opened.
    """
    file = path.open("ab")
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD:
            file.close()
            return None
    return file
