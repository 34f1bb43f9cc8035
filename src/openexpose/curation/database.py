"""The SQLite file of a curation project: its tables, and how it is opened, changed and read."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Self

from openexpose.errors import InputError

FILE = "curation.sqlite"
VERSION = 1
_WAIT_S = 30.0

_SCHEMA = (
    """CREATE TABLE photos (id INTEGER PRIMARY KEY AUTOINCREMENT, path TEXT NOT NULL, sha256 TEXT NOT NULL,
       width INTEGER NOT NULL, height INTEGER NOT NULL, licence TEXT NOT NULL,
       state TEXT NOT NULL CHECK (state IN ('done', 'failed')), message TEXT NOT NULL)""",
    "CREATE UNIQUE INDEX photo_content ON photos (sha256) WHERE state = 'done'",
    """CREATE TABLE fits (id INTEGER PRIMARY KEY AUTOINCREMENT, photo INTEGER NOT NULL REFERENCES photos,
       person INTEGER NOT NULL, scores TEXT NOT NULL, badness REAL NOT NULL, record BLOB NOT NULL,
       UNIQUE (photo, person))""",
    "CREATE INDEX fit_order ON fits (badness, id)",
    """CREATE TABLE decisions (id INTEGER PRIMARY KEY AUTOINCREMENT, fit INTEGER NOT NULL REFERENCES fits,
       reviewer TEXT NOT NULL, verdict TEXT NOT NULL CHECK (verdict IN ('accept', 'reject', 'flag')),
       note TEXT NOT NULL, made_at TEXT NOT NULL, undone_at TEXT)""",
    "CREATE INDEX decision_fit ON decisions (fit, reviewer, id)",
    """CREATE TABLE reservations (fit INTEGER NOT NULL REFERENCES fits, reviewer TEXT NOT NULL, tab TEXT NOT NULL,
       until REAL NOT NULL, PRIMARY KEY (fit, reviewer))""",
    """CREATE VIEW verdicts AS SELECT id, fit, reviewer, verdict FROM decisions AS d WHERE undone_at IS NULL AND id =
       (SELECT MAX(id) FROM decisions WHERE fit = d.fit AND reviewer = d.reviewer AND undone_at IS NULL)""",
)


class Conflict(InputError):  # noqa: N818
    """Something else is there than the caller saw: another tab or process was faster."""


class Database:
    """A project's file, opened by one thread. Use :meth:`create` or :meth:`open`, and close it (``with`` does)."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection, self.path = connection, path

    @classmethod
    def create(cls, folder: Path) -> Self:
        """Open the project of a folder, which is begun if there is none.

        Raises:
            InputError: the folder cannot be written to, or holds a project that :meth:`open` refuses.
        """
        path = Path(folder) / FILE
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            got = f"'{folder}' cannot be made ({error.strerror})"
            raise InputError(got, "a folder that can be written to") from None
        store = cls._connect(path, "rwc")
        with _closed_on_error(store), store.change():
            if not store._version() and not store.all("SELECT 1 FROM sqlite_master"):
                for statement in (*_SCHEMA, f"PRAGMA user_version = {VERSION}"):
                    store._connection.execute(statement)
        return store._checked()

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open the project of a folder.

        Raises:
            InputError: there is none, or it is damaged or was written by a newer version.
        """
        path = Path(folder) / FILE
        if not path.is_file():
            fix = "Begin one with 'openexpose curate prepare PHOTOS --project FOLDER'."
            raise InputError(f"no curation project in '{folder}'", f"a folder with {FILE}", fix)
        return cls._connect(path, "rw")._checked()

    @classmethod
    def _connect(cls, path: Path, mode: str) -> Self:
        with _told(path):
            address = f"{path.absolute().as_uri()}?mode={mode}"
            connection = sqlite3.connect(address, uri=True, timeout=_WAIT_S, isolation_level=None)
        connection.row_factory = sqlite3.Row
        store = cls(connection, path)
        with _closed_on_error(store), _told(path):
            for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
                connection.execute(f"PRAGMA {pragma}")
        return store

    def _version(self) -> int:
        return int(self.all("PRAGMA user_version")[0][0])

    def _checked(self) -> Self:
        with _closed_on_error(self):
            version = self._version()
            if version > VERSION:
                expected = f"version {VERSION} or older"
                raise InputError(f"'{self.path}' of version {version}", expected, "Install a newer openexpose.")
            if not version:
                raise InputError(f"'{self.path}', which is no curation project", "a file that 'prepare' wrote")
        return self

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def change(self) -> Iterator[None]:
        """One transaction: all of it or nothing."""
        with _told(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # a full disk may have ended it already
                    self._connection.execute("ROLLBACK")
                raise

    def all(self, query: str, values: Sequence[Any] | dict[str, Any] = ()) -> list[sqlite3.Row]:
        """All rows of a query."""
        with _told(self.path), closing(self._connection.execute(query, values)) as cursor:
            return cursor.fetchall()


@contextmanager
def _closed_on_error(store: Database) -> Iterator[None]:
    try:
        yield
    except BaseException:
        store.close()
        raise


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn what goes wrong with a file into one sentence."""
    try:
        yield
    except sqlite3.IntegrityError as error:
        if "photos.sha256" not in str(error):
            raise
        raise Conflict(f"a photo whose content '{path}' has already", "a new photo") from None
    except sqlite3.OperationalError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        full = code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
        fix = "Everything stored before is kept: free some space and go on." if full else ""
        expected = "a disk with free space" if full else "a project's file that can be written to"
        raise InputError(f"'{path}' cannot be read or written ({error})", expected, fix) from None
    except sqlite3.DatabaseError as error:
        fix = "Restore a copy of the file."
        raise InputError(f"'{path}', which is damaged ({error})", "a file that 'prepare' wrote", fix) from None
