"""The last step of a clip."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.predict.people_over_time import some_people

from openexpose.body.model import load_body_model
from openexpose.motion import Clip, Track
from openexpose.predict.finish import Finish, FinishedPeople, chosen_tracks, clip_of, finished_tracks
from openexpose.predict.journal import Journal


def journal_of(folder: Path, frames: int, present: dict[int, range], fps: float = 10.0) -> Journal:
    """A journal with these tracks in these frames."""
    journal, _ = Journal.open(folder, {}, some_people(0))
    for k in range(frames):
        ids = np.array([number for number, where in present.items() if k in where], int)
        journal.add(k / fps, ids, some_people(len(ids), 0.01 * k), {})
    journal.finish()
    return journal


def only(*numbers: int) -> Callable[[np.ndarray], np.ndarray]:
    """These numbers were people, the others nobody."""
    return lambda ids: np.where(np.isin(ids, numbers), ids, 0)


def frames_of(journal: Journal, final: Callable[[np.ndarray], np.ndarray]) -> list[list[int]]:
    """The frames of each person who is kept."""
    return [journal.index()[rows, 0].tolist() for rows in chosen_tracks(journal, final)]


def test_who_is_seen_for_a_moment_or_by_chance_was_nobody(tmp_path: Path) -> None:
    journal = journal_of(tmp_path, 20, {1: range(20), 2: range(3, 6), 4: range(8, 13), 7: range(0, 20, 2)})
    first, fourth, seventh = list(range(20)), list(range(8, 13)), list(range(0, 20, 2))
    assert frames_of(journal, only(1, 2, 4, 7)) == [first, fourth, seventh]
    assert frames_of(journal, only(4, 7, 9)) == [fourth, seventh]


def test_who_only_blinks_up_was_nobody_however_often(tmp_path: Path) -> None:
    blinks = [k for k in range(60) if k % 20 < 3]
    journal = journal_of(tmp_path, 60, {1: range(60), 2: blinks, 3: range(0, 60, 3)}, fps=10.0)
    assert frames_of(journal, only(1, 2, 3)) == [list(range(60)), list(range(0, 60, 3))]


def test_of_two_rows_of_one_person_in_a_frame_the_one_that_proved_right_stays(tmp_path: Path) -> None:
    journal = journal_of(tmp_path, 20, {1: range(12), 2: range(10, 20)})
    (rows,) = chosen_tracks(journal, lambda ids: np.ones_like(ids))
    assert journal.index()[rows].tolist() == [[k, 1] for k in range(10)] + [[k, 2] for k in range(10, 20)]


def test_who_proved_to_be_somebody_lost_before_is_one_person(tmp_path: Path) -> None:
    journal = journal_of(tmp_path, 20, {1: range(20), 2: range(6), 5: range(10, 20), 6: range(10, 12)})
    frames = frames_of(journal, lambda ids: np.array([{1: 1, 2: 2, 5: 2, 6: 2}[k] for k in ids.tolist()]))
    assert frames == [list(range(20)), [*range(6), *range(10, 20)]]


@pytest.mark.parametrize("frames", [1, 2, 4])
def test_in_a_moment_everybody_counts(tmp_path: Path, frames: int) -> None:
    journal = journal_of(tmp_path, frames, {1: range(frames)})
    assert frames_of(journal, only(1)) == [list(range(frames))]


def test_tracks_are_numbered_by_appearance_and_raw_without_smoothing(tmp_path: Path) -> None:
    journal = journal_of(tmp_path, 20, {2: range(20), 5: range(4, 15)})
    model = load_body_model(num_betas=10, num_expression=20)
    clip = clip_of(journal, "a.mp4", 10.0)
    first, second = finished_tracks(journal, clip, only(2, 5), model, Finish(smooth=0.0))
    assert (first.id, second.id) == (1, 2) and second.frames.tolist() == list(range(4, 15))
    np.testing.assert_allclose(second.people.transl[:, 0], 0.01 * np.arange(4, 15), rtol=1e-6)
    (_, smoothed) = finished_tracks(journal, clip, only(2, 5), model, Finish(smooth=0.5))
    assert (smoothed.people.betas == smoothed.people.betas[0]).all()  # one shape a track


def test_finished_people_are_found_by_frame(tmp_path: Path) -> None:
    finished = FinishedPeople(tmp_path / "f.bin", some_people(0))
    people = some_people(3)
    people.transl[:, 0] = [1, 2, 3]
    finished.add(Track(1, np.array([0, 2, 3]), people))
    finished.add(Track(2, np.array([2]), some_people(1, 9.0)))
    ids, there = finished.at(2)
    assert ids.tolist() == [1, 2] and there.transl[:, 0].tolist() == [2.0, 9.0]
    assert len(finished.at(1)[1]) == 0 and len(finished.at(9)[0]) == 0
    motion = finished.motion(Clip("a", np.arange(4.0), 1.0))
    assert [track.frames.tolist() for track in motion.tracks] == [[0, 2, 3], [2]]
    finished.close()
