"""The store: decisions survive everything, and tabs and reviewers do not get into each other's way."""

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from tests.curation.fits import SIZE, project, record

from openexpose.curation import store as module
from openexpose.curation.store import Conflict, FitRecord, PhotoRow, Store
from openexpose.errors import InputError


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Fits 1 to 4, of badness .4, .1, .3, .2."""
    return project(tmp_path, [[0.4, 0.1], [0.3, 0.2], []])


def test_a_record_comes_back(store: Store) -> None:
    mine = record(3)
    again = FitRecord.from_bytes(mine.to_bytes())
    assert again.to_bytes() == mine.to_bytes()
    np.testing.assert_allclose(again.people.pose, mine.people.pose)
    np.testing.assert_allclose(again.keypoints_px, mine.keypoints_px, rtol=1e-6)
    np.testing.assert_allclose(again.from_mean.pose, mine.from_mean.pose, atol=1e-6)  # type: ignore[union-attr]
    assert again.people.focal_px == mine.people.focal_px and again.people.image_size == SIZE
    without = FitRecord(mine.people, mine.keypoints_px, "coco", None, mine.from_answer, None)
    assert FitRecord.from_bytes(without.to_bytes()).answer is None
    with pytest.raises(InputError, match="does not read"):
        FitRecord.from_bytes(mine.to_bytes()[:500])
    assert store.record(2).to_bytes() == record().to_bytes()


def test_fits_come_in_order_with_what_was_said(store: Store) -> None:
    assert [fit.id for fit in store.fits()] == [2, 4, 3, 1]
    number = store.decide(4, "ann", "flag", note="look", seen=None)
    fit = store.fit(4)
    assert (fit.photo.id, fit.person, fit.verdicts, fit.last) == (2, 1, {"ann": "flag"}, {"ann": number})
    assert [photo.path.name for photo in store.photos()] == ["0.jpg", "1.jpg", "2.jpg"]
    with pytest.raises(InputError, match="the fit 9"):
        store.fit(9)


def test_the_queue_of_a_reviewer(store: Store) -> None:
    assert store.next("ann", "tab") == 2
    assert store.next("ann", "tab", after=2) == 4
    store.decide(2, "ann", "accept", seen=None)
    store.decide(1, "ann", "reject", seen=None)
    assert store.next("ann", "tab", after=3) == 4, "those before come last"
    assert store.next("bob", "other") == 2, "everybody judges on their own"
    assert store.next("ann", "tab", queue="all", after=3) == 1
    assert store.next("ann", "tab", queue="all", after=1) is None
    store.decide(4, "ann", "accept", seen=None)
    store.decide(3, "ann", "accept", seen=None)
    assert store.next("ann", "tab") is None


def test_two_tabs_get_different_fits_for_two_minutes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(module.time, "time", lambda: now[0])
    assert [store.next("ann", tab) for tab in ("a", "b", "a", "c")] == [2, 4, 2, 3]
    now[0] += 121.0
    assert store.next("ann", "d") == 2


def test_flagged_and_disputed(store: Store) -> None:
    store.decide(1, "ann", "flag", seen=None)
    store.decide(3, "ann", "accept", seen=None)
    store.decide(3, "bob", "reject", seen=None)
    assert store.next("bob", "t", queue="flagged") == 1
    assert store.next("ann", "t", queue="disputed") == 3
    store.decide(1, "bob", "accept", seen=None)
    assert store.next("bob", "t", queue="flagged") is None, "bob has settled it for himself"
    assert store.next("ann", "u", queue="flagged") == 1
    assert store.next("ann", "u", queue="disputed", after=3) == 1


def test_a_second_tab_is_told_that_the_first_was_faster(store: Store) -> None:
    first = store.decide(1, "ann", "accept", seen=None)
    with pytest.raises(Conflict, match="'accept' in another tab"):
        store.decide(1, "ann", "reject", seen=None)
    store.decide(1, "ann", "reject", seen=first)
    assert store.fit(1).verdicts == {"ann": "reject"}
    with pytest.raises(Conflict):
        store.decide(1, "ann", "flag", seen=first)


def test_undo_brings_back_what_was_said_before_and_deletes_nothing(store: Store) -> None:
    first = store.decide(1, "ann", "accept", seen=None)
    store.decide(1, "bob", "flag", seen=None)
    store.decide(1, "ann", "reject", seen=first)
    assert store.undo("ann") == 1
    assert store.fit(1).verdicts == {"ann": "accept", "bob": "flag"}
    assert store.undo("ann") == 1 and store.undo("ann") is None
    assert store.fit(1).verdicts == {"bob": "flag"}
    assert [(one.verdict, one.undone_at is None) for one in store.decisions()] == [
        ("accept", False),
        ("flag", True),
        ("reject", False),
    ]


def test_progress(store: Store) -> None:
    store.decide(1, "ann", "accept", seen=None)
    store.decide(2, "ann", "flag", seen=None)
    store.decide(2, "bob", "reject", seen=None)
    found = store.progress("ann")
    everybody = found.pop("reviewers")
    assert found == {"total": 4, "decided": 2, "accepted": 1, "rejected": 0, "flagged": 1}
    assert everybody["bob"] == {"decided": 1, "accepted": 0, "rejected": 1, "flagged": 0}
    assert store.progress("nobody")["decided"] == 0


@pytest.mark.parametrize(
    ("reviewer", "verdict", "note", "told"),
    [
        (" ", "accept", "", "reviewer"),
        ("a\nb", "accept", "", "reviewer"),
        ("x" * 81, "accept", "", "reviewer"),
        ("ann", "maybe", "", "verdict"),
        ("ann", "accept", "x" * 2001, "note"),
    ],
)
def test_nonsense_is_refused(store: Store, reviewer: str, verdict: str, note: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        store.decide(1, reviewer, verdict, note=note, seen=None)  # type: ignore[arg-type]
    assert store.decisions() == []


def test_photos_fail_and_succeed_and_move(store: Store, tmp_path: Path) -> None:
    store.add_failed(Path("/photos/new.jpg"), "damaged")
    store.add_failed(Path("/photos/new.jpg"), "damaged again")
    assert [(photo.state, photo.message) for photo in store.photos()][3:] == [("failed", "damaged again")]
    row = PhotoRow(0, Path("/photos/new.jpg"), "digest new", *SIZE, "", "done")
    number = store.add_photo(row, [])
    assert [photo.state for photo in store.photos()] == ["done"] * 4
    store.change_photo(number, tmp_path / "moved.jpg", "CC0")
    assert (store.photos()[-1].path, store.photos()[-1].licence) == (tmp_path / "moved.jpg", "CC0")
    with pytest.raises(InputError, match="has already"):
        store.add_photo(row, [])


def test_no_project_a_newer_one_and_damaged_ones_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="curate prepare"):
        Store.open(tmp_path)
    project(tmp_path, [[0.1]]).close()
    path = tmp_path / "curation.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 2")
    for way in (Store.open, Store.create):
        with pytest.raises(InputError, match=r"version 2.*newer openexpose"):
            way(tmp_path)
    path.write_bytes(b"no database at all, but long enough to look like one" * 50)
    for way in (Store.open, Store.create):
        with pytest.raises(InputError, match="damaged"):
            way(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be made"):
        Store.create(tmp_path / "file")


def test_a_full_disk_is_told_and_loses_nothing(tmp_path: Path) -> None:
    with project(tmp_path, [[0.1]]) as store:
        pages = store.all("PRAGMA page_count")[0][0]
        store._connection.execute(f"PRAGMA max_page_count = {pages + 2}")
        row = PhotoRow(0, Path("/photos/next.jpg"), "next", *SIZE, "", "done")
        with pytest.raises(InputError, match=r"full.*Everything stored before is kept"):
            store.add_photo(row, [(record(k), {}, 0.0) for k in range(9)])
        assert len(store.photos()) == 1
    with Store.open(tmp_path) as store:
        store.add_photo(row, [(record(k), {}, 0.0) for k in range(9)])
        assert len(store.fits()) == 10


def test_a_killed_reviewer_loses_nothing_that_was_answered(tmp_path: Path) -> None:
    project(tmp_path, [[0.1] * 50]).close()
    code = (
        "import sys\nfrom pathlib import Path\nfrom openexpose.curation.store import Store\n"
        "with Store.open(Path(sys.argv[1])) as store:\n"
        "    for fit in range(1, 51):\n"
        "        store.decide(fit, 'ann', 'accept', seen=None)\n        print(fit, flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    told = 0
    for line in process.stdout:
        told = int(line)
        if told == 7:
            os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with Store.open(tmp_path) as store:
        assert told <= len(store.decisions()) <= told + 1
        assert store.all("PRAGMA integrity_check")[0][0] == "ok"
