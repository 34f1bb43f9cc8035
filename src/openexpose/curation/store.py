"""A curation project on disk: one SQLite file that holds every photo, fit and decision the moment it is made.

Photos are stored whole or not at all, decisions are never deleted, and both are on the disk before a call returns: who
kills the process loses nothing that was told.
"""

import json
import sqlite3
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from openexpose.curation.database import Conflict, Database
from openexpose.curation.record import VERDICTS, Decision, FitRecord, FitRow, PhotoRow, Verdict
from openexpose.errors import InputError

__all__ = ["Conflict", "Decision", "FitRecord", "FitRow", "PhotoRow", "Queue", "Store", "Verdict"]

Queue = Literal["open", "flagged", "disputed", "all"]
RESERVED_S = 120.0
"""So long is a fit that one tab shows not given to another tab of the same reviewer."""
_LONGEST_NAME, _LONGEST_NOTE = 80, 2000

_MINE = "(SELECT verdict FROM verdicts WHERE fit = f.id AND reviewer = :reviewer)"
_QUEUES: dict[str, str] = {
    "open": f"{_MINE} IS NULL",
    "flagged": "EXISTS (SELECT 1 FROM verdicts WHERE fit = f.id AND verdict = 'flag')"
    f" AND COALESCE({_MINE}, 'flag') = 'flag'",
    "disputed": "(SELECT COUNT(DISTINCT verdict) FROM verdicts WHERE fit = f.id) > 1",
    "all": "TRUE",
}


class Store(Database):
    """Photos, fits and decisions of a project. Opened by one thread; another one opens its own."""

    def photos(self) -> list[PhotoRow]:
        """All photos in the order in which they came."""
        return [_photo(row) for row in self.all("SELECT * FROM photos ORDER BY id")]

    def add_photo(self, photo: PhotoRow, fits: Iterable[tuple[FitRecord, dict[str, float], float]]) -> int:
        """Store a photo with its fits (record, scores, badness), none if it shows nobody, in one transaction.

        An earlier failure of the same file is forgotten.

        Returns:
            the photo's number.

        Raises:
            Conflict: a photo of the same content is there.
            InputError: the disk is full.
        """
        values = (str(photo.path), photo.sha256, photo.width, photo.height, photo.licence, "done", photo.message)
        contents = [(json.dumps(scores), badness, record.to_bytes()) for record, scores, badness in fits]
        with self.change():
            self._forget_failure(photo.path)
            number = self._insert_photo(values)
            for person, content in enumerate(contents):
                insert = "INSERT INTO fits (photo, person, scores, badness, record) VALUES (?, ?, ?, ?, ?)"
                self._connection.execute(insert, (number, person, *content))
        return number

    def add_failed(self, path: Path, message: str) -> int:
        """Store that a photo failed, and why; returns its number."""
        with self.change():
            self._forget_failure(path)
            return self._insert_photo((str(path), "", 0, 0, "", "failed", message))

    def change_photo(self, number: int, path: Path, licence: str) -> None:
        """Store where a photo lies now, and the terms that it may be used under."""
        with self.change():
            self._forget_failure(path)
            values = str(path), licence, number
            self._connection.execute("UPDATE photos SET path = ?, licence = ? WHERE id = ?", values)

    def _forget_failure(self, path: Path) -> None:
        self._connection.execute("DELETE FROM photos WHERE path = ? AND state = 'failed'", (str(path),))

    def _insert_photo(self, values: tuple[Any, ...]) -> int:
        names = "path, sha256, width, height, licence, state, message"
        added = self._connection.execute(f"INSERT INTO photos ({names}) VALUES (?, ?, ?, ?, ?, ?, ?)", values)
        return int(added.lastrowid or 0)

    def fits(self, order: Literal["badness", "id"] = "badness") -> list[FitRow]:
        """All fits, the best first, or in the order in which they came."""
        return self._fits("TRUE", (), "f.badness, f.id" if order == "badness" else "f.id")

    def fit(self, number: int) -> FitRow:
        """One fit.

        Raises:
            InputError: there is none of this number.
        """
        found = self._fits("f.id = ?", (number,), "f.id")
        if not found:
            raise InputError(f"the fit {number}", "the number of a fit of this project")
        return found[0]

    def record(self, number: int) -> FitRecord:
        """All that is known of a fit.

        Raises:
            InputError: there is none of this number, or it is damaged.
        """
        found = self.all("SELECT record FROM fits WHERE id = ?", (number,))
        if not found:
            raise InputError(f"the fit {number}", "the number of a fit of this project")
        return FitRecord.from_bytes(found[0]["record"])

    def _fits(self, where: str, values: tuple[Any, ...], order: str) -> list[FitRow]:
        query = "SELECT f.id AS fit, person, scores, badness, p.* FROM fits f JOIN photos p ON p.id = f.photo"
        rows = self.all(f"{query} WHERE {where} ORDER BY {order}", values)
        one = f" WHERE fit = {rows[0]['fit']}" if len(rows) == 1 else ""
        said: dict[int, dict[str, tuple[Verdict, int]]] = {}
        for row in self.all(f"SELECT * FROM verdicts{one} ORDER BY id"):
            said.setdefault(row["fit"], {})[row["reviewer"]] = row["verdict"], row["id"]
        found = []
        for row in rows:
            mine = said.get(row["fit"], {})
            verdicts, last = ({name: pair[k] for name, pair in mine.items()} for k in (0, 1))
            scores = json.loads(row["scores"])
            found.append(FitRow(row["fit"], _photo(row), row["person"], scores, row["badness"], verdicts, last))  # type: ignore[arg-type]
        return found

    def decide(self, fit: int, reviewer: str, verdict: Verdict, *, note: str = "", seen: int | None) -> int:
        """Store what a reviewer says of a fit; it is on the disk when this returns.

        Args:
            fit: its number.
            reviewer: their name, up to 80 characters.
            verdict: what they say.
            note: why, up to 2000 characters.
            seen: the number of their current decision on this fit as they saw it (``FitRow.last``); None: none.

        Returns:
            the decision's number.

        Raises:
            Conflict: their current decision is another one: another tab was faster.
            InputError: no such fit or verdict, a name or note that is empty or too long, the disk is full.
        """
        reviewer = check_reviewer(reviewer)
        if verdict not in VERDICTS:
            raise InputError(f"the verdict {verdict!r}", f"one of {', '.join(VERDICTS)}")
        if len(note) > _LONGEST_NOTE:
            raise InputError(f"a note of {len(note)} characters", f"at most {_LONGEST_NOTE}")
        with self.change():
            if not self.all("SELECT 1 FROM fits WHERE id = ?", (fit,)):
                raise InputError(f"the fit {fit}", "the number of a fit of this project")
            now = self.all("SELECT id, verdict FROM verdicts WHERE fit = ? AND reviewer = ?", (fit, reviewer))
            if (now[0]["id"] if now else None) != seen:
                stands = f"'{now[0]['verdict']}'" if now else "nothing"
                got = f"a decision on fit {fit} after {reviewer} said {stands} in another tab"
                raise Conflict(got, "a decision on what is known now", "Look at the fit again.")
            insert = "INSERT INTO decisions (fit, reviewer, verdict, note, made_at) VALUES (?, ?, ?, ?, ?)"
            number = self._connection.execute(insert, (fit, reviewer, verdict, note, _now())).lastrowid
            self._connection.execute("DELETE FROM reservations WHERE fit = ? AND reviewer = ?", (fit, reviewer))
        return int(number or 0)

    def undo(self, reviewer: str) -> int | None:
        """Take back a reviewer's last standing decision; it is kept, marked as undone, and what they said of that fit
        before counts again.

        Returns:
            the fit's number; None if nothing is left to take back.
        """
        with self.change():
            query = "SELECT id, fit FROM decisions WHERE reviewer = ? AND undone_at IS NULL ORDER BY id DESC LIMIT 1"
            found = self.all(query, (reviewer.strip(),))
            if not found:
                return None
            self._connection.execute("UPDATE decisions SET undone_at = ? WHERE id = ?", (_now(), found[0]["id"]))
        return int(found[0]["fit"])

    def decisions(self) -> list[Decision]:
        """Everything that was ever said, in order, also what was taken back."""
        return [Decision(**dict(row)) for row in self.all("SELECT * FROM decisions ORDER BY id")]

    def next(self, reviewer: str, tab: str, *, after: int | None = None, queue: Queue = "open") -> int | None:
        """The next fit for a tab of a reviewer's, the best first, reserved for this tab for two minutes: other tabs of
        the reviewer skip it. Other reviewers get it, too, because theirs is another opinion.

        Args:
            reviewer: their name.
            tab: anything that tells tabs apart.
            after: only fits that come after this one; of open ones then those before it, as long as there are some.
            queue: ``open``: without a verdict of theirs. ``flagged``: flagged by anybody, and by themselves at most
                flagged. ``disputed``: with different verdicts. ``all``: every one.

        Returns:
            the fit's number; None if there is none.

        Raises:
            InputError: no such queue or fit ``after``.
        """
        if queue not in _QUEUES:
            raise InputError(f"the queue {queue!r}", f"one of {', '.join(_QUEUES)}")
        now = time.time()
        values: dict[str, Any] = {"reviewer": check_reviewer(reviewer), "tab": tab, "now": now}
        where, order = _QUEUES[queue], "f.badness, f.id"
        if after is not None:
            values |= {"after": after, "badness": self.fit(after).badness}
            later = "(f.badness, f.id) > (:badness, :after)"
            where, order = (where, f"{later} DESC, {order}") if queue == "open" else (f"{where} AND {later}", order)
        free = """NOT EXISTS (SELECT 1 FROM reservations r WHERE r.fit = f.id AND r.reviewer = :reviewer
                  AND r.tab <> :tab AND r.until > :now)"""
        with self.change():
            query = f"SELECT f.id FROM fits f WHERE {where} AND {free} ORDER BY {order} LIMIT 1"
            found = self.all(query, values)
            held = "DELETE FROM reservations WHERE until <= ? OR (reviewer = ? AND tab = ?)"
            self._connection.execute(held, (now, values["reviewer"], tab))
            if not found:
                return None
            held = "INSERT INTO reservations (fit, reviewer, tab, until) VALUES (?, ?, ?, ?)"
            held += " ON CONFLICT DO UPDATE SET tab = excluded.tab, until = excluded.until"
            self._connection.execute(held, (found[0]["id"], values["reviewer"], tab, now + RESERVED_S))
        return int(found[0]["id"])

    def progress(self, reviewer: str) -> dict[str, Any]:
        """How far a reviewer is: ``total`` fits, ``decided``, ``accepted``, ``rejected``, ``flagged``; and
        ``reviewers``: name to the same four numbers of everybody."""
        everybody: dict[str, dict[str, int]] = {}
        names = {"accept": "accepted", "reject": "rejected", "flag": "flagged"}
        nothing = dict.fromkeys(("decided", *names.values()), 0)
        for row in self.all("SELECT reviewer, verdict, COUNT(*) AS count FROM verdicts GROUP BY reviewer, verdict"):
            theirs = everybody.setdefault(row["reviewer"], dict(nothing))
            theirs[names[row["verdict"]]] += row["count"]
            theirs["decided"] += row["count"]
        total = self.all("SELECT COUNT(*) FROM fits")[0][0]
        return {"total": total, **everybody.get(reviewer.strip(), nothing), "reviewers": everybody}


def check_reviewer(name: str) -> str:
    """A reviewer's name without the spaces around it.

    Raises:
        InputError: it is empty, too long or holds control characters.
    """
    name = name.strip()
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise InputError(f"the reviewer {name[:100]!r}", f"a name of 1 to {_LONGEST_NAME} printable characters")
    return name


def _photo(row: sqlite3.Row) -> PhotoRow:
    names = ("sha256", "width", "height", "licence", "state", "message")
    return PhotoRow(row["id"], Path(row["path"]), *(row[name] for name in names))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
