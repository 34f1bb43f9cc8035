"""Tracking on simulated clips: crossings, occlusions, people who leave, detections of nobody, any frame rate."""

from dataclasses import replace

import numpy as np
import pytest
from tests.predict.walkers import SIZE, Film, Walker, detect, line, people_at, predict, scene

from openexpose.errors import InputError
from openexpose.evaluation.tracking import tracking_scores
from openexpose.predict.detector import Detections
from openexpose.predict.tracking import Tracker, TrackerConfig

RED, GREEN, YELLOW, WHITE = (200, 40, 40), (40, 160, 60), (230, 220, 60), (240, 240, 240)
BLUE, BROWN, BLACK = (40, 40, 160), (120, 80, 40), (40, 40, 40)
FPS = 25.0
NOBODY = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))


def crossing() -> list[Walker]:
    """Two people pass one another, a third comes to the front between them, a fourth sways in a corner."""
    return [
        Walker(line((-2.5, 5.0), (2.5, 5.0), 8), RED, BLUE),
        Walker(line((2.5, 6.0), (-2.5, 6.0), 8), YELLOW, BLACK),
        Walker(line((-1.0, 8.0), (0.8, 3.8), 8), GREEN, BROWN),
        Walker(lambda t: (1.5 + 0.3 * np.sin(t), 4.2), WHITE, BLUE),
    ]


def behind(seconds_hidden: float) -> list[Walker]:
    """Somebody stands in front; another walks behind them, waits there and goes on."""

    def path(time: float) -> tuple[float, float]:
        going = np.clip(time, 0, 2) + np.clip(time - 2 - seconds_hidden, 0, None)
        return -1.9 + 0.95 * going, 6.0

    return [Walker(lambda t: (0.0, 3.0), WHITE, BROWN), Walker(path, RED, BLUE)]


def seconds(start: float, end: float, fps: float = FPS) -> np.ndarray:
    return np.arange(round(start * fps), round(end * fps)) / fps


def number_of(film: Film, person: int, frame: int) -> int:
    """Number that a person bears in a frame, by the nearest box; 0: none."""
    box = film.truth[frame].boxes_xyxy_px[person]
    answer = film.final[frame]
    apart = np.abs(answer.boxes_xyxy_px - box).max(1) if len(answer.id) else np.zeros(0)
    return int(answer.id[apart.argmin()]) if len(apart) and apart.min() < 0.3 * (box[3] - box[1]) else 0


def empty(tracker: Tracker, frame: int, time_s: float, found: Detections | None = NOBODY) -> np.ndarray:
    """A frame without anybody."""
    candidates = tracker.look_at(frame, time_s, found)
    count = len(candidates)
    return tracker.accept(
        frame, time_s, candidates, people_at(np.ones(count), np.zeros(count)), np.zeros((count, 144, 2))
    )


@pytest.mark.parametrize("seed", [0, 1])
def test_people_who_cross_keep_their_numbers(seed: int) -> None:
    film = Film(crossing(), seed).shoot(seconds(0, 8))
    scores = tracking_scores(film.truth, film.final)
    assert scores.idf1 >= 0.95 and scores.switches == 0 and scores.false_boxes == 0


def test_the_simulation_has_the_failure_that_matters() -> None:
    """Somebody looked for behind another comes out as the other: the boxes of two rows are then one person's."""
    film = Film(behind(1.0)).shoot(seconds(0, 2))
    now = scene(film.walkers, 2.0)
    assert now.seen[1] < 0.2
    _, points = predict(np.random.default_rng(0), now, now.boxes)
    assert np.abs(points[0] - points[1]).mean() < 0.05 * np.ptp(points[0], axis=0).max()


@pytest.mark.parametrize(("hidden_s", "same"), [(0.6, True), (4.5, False)])
def test_who_was_hidden_gets_the_number_back_within_two_seconds(hidden_s: float, same: bool) -> None:
    film = Film(behind(hidden_s)).shoot(seconds(0, 4 + hidden_s))
    hidden = np.flatnonzero([frame.ignored[1] for frame in film.truth])
    before, after = number_of(film, 1, 5), number_of(film, 1, len(film.truth) - 5)
    assert before > 0 and after > 0 and (before == after) == same
    deep = hidden[len(hidden) // 2]
    assert list(film.final[deep].id) == [number_of(film, 0, 5)], "nobody is shown twice"
    assert {number_of(film, 0, frame) for frame in range(5, len(film.truth))} == {number_of(film, 0, 5)}


@pytest.mark.parametrize(("away_s", "same"), [(0.8, True), (4.5, False)])
def test_who_leaves_the_picture_and_is_soon_back_keeps_the_number(away_s: float, same: bool) -> None:
    def path(time: float) -> tuple[float, float]:
        return 3.2 + 1.2 * (away_s / 2 - abs(time - 1.5 - away_s / 2)), 5.0  # the border is at 3.2 m

    film = Film([Walker(path), Walker(lambda t: (-1.0, 5.0), WHITE, BLACK)]).shoot(seconds(0, 3 + away_s))
    assert film.truth[round(FPS * (1.5 + away_s / 2))].ignored[0]
    first, last = number_of(film, 0, 5), number_of(film, 0, len(film.truth) - 3)
    assert first > 0 and last > 0 and (first == last) == same


def test_colours_tell_who_comes_out_on_which_side() -> None:
    """Two people of one size meet behind a third, and both turn back; place and motion alone say that they passed."""

    def there_and_back(side: float) -> Walker:
        path = lambda t: (side * max(0.15, abs(t - 2.4) * 0.95), 6.0)  # noqa: E731
        return Walker(path, RED if side < 0 else GREEN, BLUE if side < 0 else BROWN)

    walkers = [Walker(lambda t: (0.0, 2.6), WHITE, BLACK), there_and_back(-1), there_and_back(1)]
    film = Film(walkers).shoot(seconds(0, 4.8))
    assert film.truth[60].ignored[1] and film.truth[60].ignored[2]
    for person in (1, 2):
        assert number_of(film, person, 5) == number_of(film, person, len(film.truth) - 5) > 0


def test_detections_of_nobody_leave_no_track() -> None:
    film = Film(crossing()[:1], seed=3).shoot(seconds(0, 4), every=1, false=0.6)
    assert len({int(number) for frame in film.final for number in frame.id}) == 1
    assert len(film.tracker.confirmed) == 1


def test_a_doubtful_person_counts_from_the_second_detection_on_with_all_rows() -> None:
    sights = scene([Walker(lambda t: (0.0, 5.0))], 0.0)
    weak = Detections(sights.boxes.astype(np.float32), np.array([0.35], np.float32))
    tracker = Tracker(SIZE)
    given = []
    for frame in range(4):
        found = weak if frame in (0, 3) else None
        candidates = tracker.look_at(frame, frame / FPS, found)
        given.append(tracker.accept(frame, frame / FPS, candidates, people_at([5.0], [0.9]), sights.points_px)[0])
        assert list(tracker.final(np.array(given))) == ([1] * 4 if frame == 3 else [0] * (frame + 1))
    assert given == [1, 1, 1, 1]
    once = Tracker(SIZE)
    for frame in range(20):
        found = weak if frame == 0 else None if frame % 3 else NOBODY
        candidates = once.look_at(frame, frame / FPS, found)
        count = len(candidates)
        ids = once.accept(
            frame, frame / FPS, candidates, people_at([5.0] * count, [0.9] * count), sights.points_px[:count]
        )
    assert not len(ids) and not len(once.following) and list(once.final(np.array([1]))) == [0]


def test_a_new_track_of_somebody_whose_own_slipped_off_becomes_theirs() -> None:
    """The row that leads on slips off; the detector finds the person anew; both rows come to show them."""
    walker = Walker(lambda t: (0.0, 4.0), RED, BLUE)
    tracker, given = Tracker(SIZE), []
    for frame in range(30):
        now = scene([walker], frame / FPS)
        found = None if frame % 3 else Detections(now.boxes.astype(np.float32), np.array([0.8], np.float32))
        candidates = tracker.look_at(frame, frame / FPS, found)
        points = np.repeat(now.points_px, len(candidates), 0)
        slip = min(90.0, 22.5 * (frame - 12)) if 12 <= frame < 20 else 0.0
        points[candidates.id == 1] += [slip, 0.0]
        people = people_at([4.0] * len(points), [0.9] * len(points))
        given.append(tracker.accept(frame, frame / FPS, candidates, people, points, now.pixels))
    assert any(2 in ids for ids in given)
    assert given[-1].tolist() == [1] and tracker.final(np.array([1, 2])).tolist() == [1, 1]


def test_followed_boxes_move_on_with_people() -> None:
    film = Film([Walker(line((-2.0, 5.0), (2.0, 5.0), 4))]).shoot(seconds(0, 1))
    candidates = film.tracker.look_at(25, 1.0 + 5 / FPS, None)
    true, before = scene(film.walkers, 1.0 + 5 / FPS).boxes[0], film.truth[-1].boxes_xyxy_px[0]
    height = true[3] - true[1]
    assert candidates.followed.all() and not candidates.detected.any() and list(candidates.id) == [1]
    assert abs(candidates.boxes_xyxy_px[0, ::2].mean() - true[::2].mean()) < 0.05 * height
    assert true[::2].mean() - before[::2].mean() > 0.1 * height, "the test would pass without motion"


def test_a_detection_elsewhere_is_looked_at_anew() -> None:
    film = Film([Walker(lambda t: (0.0, 5.0))]).shoot(seconds(0, 1))
    width = np.ptp(film.truth[-1].boxes_xyxy_px[0, ::2])
    aside = film.truth[-1].boxes_xyxy_px + np.array([0.45, 0, 0.45, 0]) * width
    candidates = film.tracker.look_at(25, 1.0, Detections(aside.astype(np.float32), np.array([0.8], np.float32)))
    assert list(candidates.id) == [1] and not candidates.followed[0] and candidates.detected[0]
    np.testing.assert_allclose(candidates.boxes_xyxy_px, aside, rtol=1e-6)


def test_seconds_count_and_not_frames() -> None:
    """The same walk at 12 and 50 frames a second and at uneven ones: the same people, found again alike."""
    rng = np.random.default_rng(1)
    uneven = np.cumsum(rng.uniform(0.01, 0.08, 110))
    for times, every in ((seconds(0, 4.6, 12), 2), (seconds(0, 4.6, 50), 6), (uneven, 3)):
        film = Film(behind(0.6)).shoot(times, every=every)
        assert number_of(film, 1, 5) == number_of(film, 1, len(times) - 2) > 0
        assert len({int(number) for frame in film.final for number in frame.id}) == 2


def test_stopped_and_restored_it_goes_on_bit_by_bit(tmp_path) -> None:
    whole = Film(crossing(), 5).shoot(seconds(0, 4))
    begun = Film(crossing(), 5).shoot(seconds(0, 2))
    np.savez(tmp_path / "state.npz", **begun.tracker.state())
    with np.load(tmp_path / "state.npz", allow_pickle=False) as state:
        begun.tracker = Tracker(SIZE)
        begun.tracker.restore(dict(state))
    begun.shoot(seconds(2, 4))
    for one, other in zip(whole.answers, begun.answers, strict=True):
        np.testing.assert_array_equal(one.id, other.id)
        np.testing.assert_array_equal(one.boxes_xyxy_px, other.boxes_xyxy_px)
    for name, array in whole.tracker.state().items():
        np.testing.assert_array_equal(array, begun.tracker.state()[name], err_msg=name)


def test_a_state_is_a_copy() -> None:
    film = Film(crossing()).shoot(seconds(0, 0.4))
    state = film.tracker.state()
    before = {name: array.copy() for name, array in state.items()}
    film.shoot(seconds(0.4, 0.8))
    for name, array in before.items():
        np.testing.assert_array_equal(array, state[name])


def test_minutes_without_anybody() -> None:
    film = Film([Walker(lambda t: (0.0, 5.0))]).shoot(seconds(0, 0.4))
    for frame in range(600):
        empty(film.tracker, frame, 1.0 + frame / 2)
    assert not len(film.tracker.following) and not len(film.tracker.state()["id"])
    film.shoot(400.0 + seconds(0, 0.4))
    assert list(film.final[-1].id) == [2]


def test_fifty_people() -> None:
    spots = [(0.9 * (k % 10) - 4.05, 7.5 + 2.4 * (k // 10)) for k in range(50)]
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 255, (50, 2, 3)).tolist()
    walkers = [
        Walker(lambda t, x=x, z=z: (x + 0.1 * t, z), tuple(shirt), tuple(trousers))
        for (x, z), (shirt, trousers) in zip(spots, colours, strict=True)
    ]
    film = Film(walkers).shoot(seconds(0, 0.6), least=0.25, false=0.0)
    scores = tracking_scores(film.truth, film.final)
    assert scores.idf1 > 0.85 and scores.switches == 0 and len(film.tracker.confirmed) <= 50


def test_without_pixels_people_are_told_apart_by_place_and_size() -> None:
    film = Film(crossing()[:2], 1)
    for frame, time_s in enumerate(seconds(0, 1)):
        now = scene(film.walkers, time_s)
        candidates = film.tracker.look_at(frame, time_s, detect(film.rng, now, false=0.0))
        people = people_at(now.points_m[: len(candidates), 0, 2], np.ones(len(candidates)))
        order = np.abs(candidates.boxes_xyxy_px[:, None] - now.boxes[None]).max(-1).argmin(1)
        people = replace(people, transl=np.column_stack([np.zeros((len(order), 2)), now.points_m[order, 0, 2]]))
        ids = film.tracker.accept(frame, time_s, candidates, people, now.points_px[order])
    assert sorted(ids) == [1, 2]


def test_bad_input_is_told() -> None:
    film = Film(crossing()).shoot(seconds(0, 0.2))
    with pytest.raises(InputError, match="order of time"):
        film.tracker.look_at(9, 0.0, None)
    candidates = film.tracker.look_at(9, 9.0, None)
    with pytest.raises(InputError, match="one each"):
        film.tracker.accept(9, 9.0, candidates, people_at([], []), np.zeros((0, 144, 2)))
    with pytest.raises(InputError, match="without"):
        Tracker(SIZE).restore({"id": np.zeros(0, int)})
    with pytest.raises(InputError, match="remember_s"):
        TrackerConfig(remember_s=-1.0)
