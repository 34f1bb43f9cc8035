"""Following people through a clip, with a stand-in for the networks: who is looked at when, and going on."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.predict.people_over_time import SIZE, Networks, some_people

from openexpose.errors import InputError
from openexpose.image.frames import Frame, VideoSource
from openexpose.people import People
from openexpose.predict.follow import Aims
from openexpose.predict.journal import Journal
from openexpose.predict.video import Follower, VideoConfig, predict_clip


class Pictures(VideoSource):
    """Frames whose first pixel tells their number, how far the person has moved, and whether anybody is there."""

    def __init__(self, there: list[bool]) -> None:
        super().__init__("test", 10.0, SIZE, len(there), False)
        self.there = there

    def frames(self, start: int = 0) -> Iterator[Frame]:
        for k in range(start, len(self.there)):
            pixels = np.full((SIZE[1], SIZE[0], 3), 60, np.uint8)
            pixels[0, 0] = [k, 2 * k, self.there[k]]
            yield Frame(k, k / self.fps, pixels)


def predicted(folder: Path, there: list[bool], every: int = 3) -> tuple[Journal, Networks]:
    journal, _ = Journal.open(folder, {}, some_people(0))
    networks = Networks()
    predict_clip(Pictures(there), journal, Follower(networks, SIZE, VideoConfig(every)))
    return journal, networks


def test_the_detector_looks_at_one_frame_in_three_and_people_are_followed_between(tmp_path: Path) -> None:
    journal, networks = predicted(tmp_path, [True] * 10)
    assert sorted(networks.detected) == [0, 3, 6, 9]
    assert networks.known == [[False]] + [[True]] * 9
    assert journal.complete and journal.index().tolist() == [[k, 1] for k in range(10)]
    x = journal.track(1, np.arange(10)).people.bbox_xyxy[:, 0]
    assert (np.diff(x) >= 0).all() and x[9] - x[0] == pytest.approx(18, abs=4)


def test_where_nobody_is_followed_the_detector_looks_at_every_frame(tmp_path: Path) -> None:
    journal, networks = predicted(tmp_path, [False] * 5 + [True] * 5)
    assert set(networks.detected) == {0, 1, 2, 3, 4, 5, 6, 9}
    assert journal.index()[:, 0].tolist() == [5, 6, 7, 8, 9]


def test_an_empty_clip_has_frames_and_nobody(tmp_path: Path) -> None:
    journal, networks = predicted(tmp_path, [False] * 4)
    assert journal.frames == 4 and len(journal.index()) == 0 and journal.complete
    assert networks.known == [[]] * 4


@pytest.mark.parametrize("stop", [1, 4, 5])
def test_stopped_anywhere_it_goes_on_to_the_same_end(tmp_path: Path, stop: int) -> None:
    there = [True] * 4 + [False] * 2 + [True] * 4
    whole, _ = predicted(tmp_path / "whole", there)
    journal, _ = Journal.open(tmp_path / "parts", {}, some_people(0))

    def seen(people: int) -> None:
        if journal.frames == stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_clip(Pictures(there), journal, Follower(Networks(), SIZE, VideoConfig()), seen)
    journal.close()
    predicted(tmp_path / "parts", there)
    for name in ("times", "index", "people"):
        assert (tmp_path / "parts" / f"{name}.bin").read_bytes() == (tmp_path / "whole" / f"{name}.bin").read_bytes()
    whole.close()


def test_people_of_whom_little_is_seen_are_looked_at_anew_where_the_detector_looked(tmp_path: Path) -> None:
    class Faint(Networks):
        def follow(self, *arguments, **options) -> tuple[People, Aims]:
            people, aims = super().follow(*arguments, **options)
            people.part_confidence[:] = 0.4
            return people, replace(aims, presence=np.full(len(people), 0.4))

    networks = Faint()
    journal, _ = Journal.open(tmp_path, {}, some_people(0))
    predict_clip(Pictures([True] * 7), journal, Follower(networks, SIZE, VideoConfig()))
    assert networks.known == [[False], [True], [True], [False], [True], [True], [False]]


def test_a_state_that_lacks_something_is_refused() -> None:
    follower = Follower(Networks(), SIZE, VideoConfig())
    state = follower.state()
    follower.restore(state)
    del state["follower.crops"]
    with pytest.raises(InputError, match=r"a state without 'follower\.crops'"):
        follower.restore(state)


def test_every_zeroth_frame_is_none() -> None:
    with pytest.raises(InputError, match="1 or more"):
        VideoConfig(detect_every=0)
