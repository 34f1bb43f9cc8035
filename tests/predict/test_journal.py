"""The journal: what was added is there after any end of the program, and nothing else."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from tests.predict.people_over_time import some_people

from openexpose.errors import InputError
from openexpose.people import People
from openexpose.predict.journal import Journal, PeopleFile, discard

ABOUT = {"clip": "one", "every": 3}


def filled(folder: Path, frames: int = 5) -> Journal:
    """A journal in which track 1 is in every frame and track 2 in every other one."""
    journal, _ = Journal.open(folder, ABOUT, some_people(0))
    for k in range(journal.frames, frames):
        ids = np.array([1, 2] if k % 2 else [1])
        journal.add(k / 10, ids, some_people(len(ids), k + 0.25), {"last": np.array([k]), "more": np.eye(2) * k})
    return journal


def test_tracks_come_back_as_they_were_added(tmp_path: Path) -> None:
    with filled(tmp_path / "j") as journal:
        track = journal.track(2, np.flatnonzero(journal.index()[:, 1] == 2))
        np.testing.assert_array_equal(journal.times_s(), np.arange(5) / 10)
        np.testing.assert_array_equal(track.frames, [1, 3])
        np.testing.assert_array_equal(track.people.betas[:, 0], [1.25, 3.25])
        (expected,) = (some_people(1, 3.25),)
        for field in fields(People):
            np.testing.assert_array_equal(
                getattr(track.people[1:], field.name), getattr(expected, field.name), err_msg=field.name
            )


def test_opened_again_it_goes_on(tmp_path: Path) -> None:
    filled(tmp_path / "j", 3).close()
    journal, reason = Journal.open(tmp_path / "j", ABOUT, some_people(0))
    assert (journal.frames, reason, journal.complete) == (3, "", False)
    assert set(journal.state) == {"last", "more"} and journal.state["last"].tolist() == [2]
    journal.close()
    filled(tmp_path / "j").finish("cut short")
    again, _ = Journal.open(tmp_path / "j", ABOUT, some_people(0))
    assert (again.frames, again.complete, again.note) == (5, True, "cut short")
    whole = filled(tmp_path / "other")
    for name in ("times", "index", "people"):
        assert (tmp_path / "j" / f"{name}.bin").read_bytes() == (tmp_path / "other" / f"{name}.bin").read_bytes()
    whole.close()


def test_what_was_written_without_its_state_is_cut_off(tmp_path: Path) -> None:
    """The program ended in the middle of a frame."""
    filled(tmp_path / "j", 4).close()
    for name in ("times", "index", "people"):
        with (tmp_path / "j" / f"{name}.bin").open("ab") as file:
            file.write(b"half a row")
    journal, reason = Journal.open(tmp_path / "j", ABOUT, some_people(0))
    assert (journal.frames, reason) == (4, "")
    assert (
        len(journal.times_s()) == 4
        and len(journal.index()) == 6
        and len(journal.track(1, np.arange(6)[[0, 1, 3, 4]]).frames) == 4
    )
    assert (tmp_path / "j" / "times.bin").stat().st_size == 32


@pytest.mark.parametrize("harm", ["other", "shorter", "state", "head"])
def test_it_begins_anew_where_it_cannot_go_on(tmp_path: Path, harm: str) -> None:
    filled(tmp_path / "j").close()
    about = ABOUT | {"every": 4} if harm == "other" else ABOUT
    if harm == "shorter":
        (tmp_path / "j" / "people.bin").write_bytes(b"")
    if harm == "state":
        (tmp_path / "j" / "state.npz").write_bytes(b"PK nonsense")
    if harm == "head":
        (tmp_path / "j" / "head.json").write_bytes(b"\xff\xfe")
    journal, reason = Journal.open(tmp_path / "j", about, some_people(0))
    assert reason == ("the clip or the options are others" if harm == "other" else "the journal is damaged")
    assert (journal.frames, journal.state) == (0, {}) and len(journal.index()) == 0


def test_a_full_disk_is_told_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = filled(tmp_path / "j", 3)

    class Full:
        def write(self, content: bytes) -> int:
            raise OSError(28, "No space left on device")

        def close(self) -> None: ...

    monkeypatch.setattr(journal._people, "_file", Full())
    with pytest.raises(InputError, match=r"No space left on device.*the same command again"):
        journal.add(0.3, np.array([1]), some_people(1), {})
    journal.close()
    again, reason = Journal.open(tmp_path / "j", ABOUT, some_people(0))
    assert (again.frames, reason) == (3, "")


def test_nobody_needs_no_room(tmp_path: Path) -> None:
    file = PeopleFile(tmp_path / "people.bin", some_people(3))
    file.append(some_people(0))
    assert len(file.read(np.zeros(0, int))) == 0 and (tmp_path / "people.bin").stat().st_size == 0


def test_discarding_what_is_not_there_is_fine(tmp_path: Path) -> None:
    filled(tmp_path / "j").close()
    discard(tmp_path / "j")
    discard(tmp_path / "j")
    assert not (tmp_path / "j").exists()


def test_one_program_at_a_time(tmp_path: Path) -> None:
    """Whatever it is about to predict: it does not throw away what another one is writing."""
    journal = filled(tmp_path / "j", 3)
    for about in (ABOUT, {"clip": "another"}):
        with pytest.raises(InputError, match="is being written by another openexpose; expected one run at a time"):
            Journal.open(tmp_path / "j", about, some_people(0))
    journal.close()
    again, reason = Journal.open(tmp_path / "j", ABOUT, some_people(0))
    assert (again.frames, reason) == (3, "")
    again.close()
