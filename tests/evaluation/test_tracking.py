"""IDF1, switches and MOTA against cases counted by hand and against motmetrics 1.4.0 (numbers written down here)."""

import numpy as np
import pytest

from openexpose.errors import InputError
from openexpose.evaluation.tracking import FrameBoxes, tracking_scores


def frame(*people: tuple[int, float], ignored: tuple[bool, ...] = ()) -> FrameBoxes:
    """People by number and place: boxes of 10 x 20 px at x = 100 times the place."""
    boxes = [[100 * place, 0.0, 100 * place + 10, 20.0] for _, place in people]
    return FrameBoxes(np.array([n for n, _ in people], int), np.array(boxes).reshape(-1, 4), np.array(ignored, bool))


def wandering(seed: int = 5, people: int = 6, frames: int = 60) -> tuple[list[FrameBoxes], list[FrameBoxes]]:
    """Wandering people, and a poor tracker: misses, false boxes, jitter, swapped and renewed numbers."""
    rng = np.random.default_rng(seed)
    centre, speed = rng.uniform(0, 300, (people, 2)), rng.normal(0, 4, (people, 2))
    number, truth, found = np.arange(people) + 1, [], []
    for _ in range(frames):
        centre = centre + speed
        low = centre - [20, 40]
        truth.append(FrameBoxes(np.arange(people) + 1, np.concatenate([low, low + [40, 80]], 1)))
        if rng.random() < 0.15:
            first, second = rng.choice(people, 2, replace=False)
            number[[first, second]] = number[[second, first]]
        if rng.random() < 0.1:
            number[rng.integers(people)] = number.max() + 1
        seen = rng.random(people) > 0.2
        boxes = truth[-1].boxes_xyxy_px[seen] + rng.normal(0, 5, (seen.sum(), 4))
        false = rng.uniform(0, 300, (rng.integers(0, 3), 2))
        boxes = np.concatenate([boxes, np.concatenate([false, false + [40, 80]], 1)])
        numbers = np.concatenate([number[seen], 1000 + 10 * len(truth) + np.arange(len(false))])
        found.append(FrameBoxes(numbers, boxes))
    return truth, found


def test_perfect_under_other_numbers() -> None:
    truth = [frame((1, 0), (2, 1)), frame((1, 0), (2, 1))]
    found = [frame((7, 0), (5, 1)), frame((7, 0), (5, 1))]
    scores = tracking_scores(truth, found)
    assert (scores.idf1, scores.mota, scores.switches, scores.misses, scores.false_boxes) == (1.0, 1.0, 0, 0, 0)


def test_one_switch() -> None:
    """One person of 4 frames bears two numbers: half the boxes are right, one of 4 steps is a switch."""
    scores = tracking_scores([frame((1, 0))] * 4, [frame((7, 0))] * 2 + [frame((8, 0))] * 2)
    assert (scores.idf1, scores.switches, scores.mota) == (0.5, 1, 0.75)


def test_swapped_numbers_after_a_crossing() -> None:
    """Of 2 x 4 boxes 2 x 3 bear the number of their longer part; both people switch once."""
    truth = [frame((1, 0), (2, 1))] * 4
    found = [frame((1, 0), (2, 1))] * 3 + [frame((2, 0), (1, 1))]
    scores = tracking_scores(truth, found)
    assert (scores.idf1, scores.switches, scores.mota, scores.right_boxes) == (0.75, 2, 0.75, 6)


def test_misses_and_false_boxes() -> None:
    """4 true boxes, one missed; 4 found, one of nobody: IDF1 = 2 * 3 / 8, MOTA = 1 - 2 / 4."""
    truth = [frame((1, 0), (2, 1)), frame((1, 0), (2, 1))]
    found = [frame((1, 0), (2, 1)), frame((1, 0), (2, 5))]
    scores = tracking_scores(truth, found)
    assert (scores.misses, scores.false_boxes, scores.switches) == (1, 1, 0)
    assert (scores.idf1, scores.mota) == (0.75, 0.5)


def test_found_again_under_the_old_number_is_no_switch_and_under_another_is_one() -> None:
    gap = [frame((1, 0)), frame(), frame((1, 0))]
    assert tracking_scores([frame((1, 0))] * 3, gap).switches == 0
    assert tracking_scores([frame((1, 0))] * 3, [*gap[:2], frame((2, 0))]).switches == 1


def test_ignored_people_cost_nothing_found_or_not() -> None:
    truth = [frame((1, 0), (2, 1), ignored=(False, True))] * 2
    for found in (frame((7, 0)), frame((7, 0), (8, 1))):
        scores = tracking_scores(truth, [found] * 2)
        assert (scores.idf1, scores.mota, scores.true_boxes, scores.predicted_boxes) == (1.0, 1.0, 2, 2)


def test_nobody() -> None:
    assert tracking_scores([frame()], [frame()]).idf1 == 1.0
    assert tracking_scores([frame()], [frame((1, 0))]).idf1 == 0.0


def test_equals_motmetrics() -> None:
    """The same 60 frames in motmetrics: MOTAccumulator with 1 - IoU, pairs below 0.5 forbidden."""
    scores = tracking_scores(*wandering())
    assert (scores.true_boxes, scores.predicted_boxes) == (360, 335)
    assert (scores.misses, scores.false_boxes, scores.switches, scores.right_boxes) == (83, 58, 15, 156)
    assert scores.idf1 == pytest.approx(0.4489208633093525, abs=1e-12)
    assert scores.mota == pytest.approx(0.5666666666666667, abs=1e-12)


def test_bad_input_is_told() -> None:
    with pytest.raises(InputError, match="frames"):
        tracking_scores([frame()], [])
    with pytest.raises(InputError, match="one frame"):
        frame((1, 0), (1, 1))
    with pytest.raises(InputError, match="one box a person"):
        FrameBoxes(np.array([1]), np.zeros((2, 4)))
