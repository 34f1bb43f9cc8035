"""What hides people: others, things, the picture's edges; and for how long."""

import numpy as np
import pytest

from openexpose.synth.camera import Camera
from openexpose.synth.person import Stage
from openexpose.synth.props import sample_furniture
from openexpose.synth.sequence_cast import actor_of, sample_character
from openexpose.synth.sequence_visibility import Shares, hidings, shares
from openexpose.synth.thing import Body, Thing

CAMERA = Camera(np.eye(3), np.zeros(3), 400.0, 640, 360)
UP = np.diag([1.0, -1.0, -1.0])


@pytest.fixture(scope="module")
def at(stage: Stage):
    """Somebody at a place of the camera's frame."""
    rng = np.random.default_rng(0)
    who = sample_character(rng, stage)
    pose = np.tile(np.eye(3), (55, 1, 1))
    pose[16], pose[17] = ([[0, 1, 0], [-1, 0, 0], [0, 0, 1]], [[0, -1, 0], [1, 0, 0], [0, 0, 1]])  # arms down
    actor = actor_of(stage, who, pose, np.zeros(stage.model.num_expression), np.zeros(3))

    def place(x: float, z: float) -> Body:
        return actor.moved(UP, np.array([x, 0.0, z])).body

    return place


def pillar(x: float, z: float) -> Thing:
    texture = np.full((8, 8, 4), 255, np.uint8)
    piece = sample_furniture(np.random.default_rng(1), texture, "pillar")
    wide = 1.5 / float(np.ptp(piece.vertices[:, 0]))
    stretched = piece.vertices * np.array([wide, 1.0, 1.0], np.float32)
    moved = Thing(**{**vars(piece), "vertices": stretched})
    return moved.moved(UP, np.array([x, 1.5, z]))


def test_alone_everything_is_seen(at) -> None:
    found = shares([at(0, 4)], [], CAMERA, 2)
    assert found.visible[0] == 1 and found.outside[0] == 0


def test_who_stands_behind_somebody_is_hidden_by_people(at) -> None:
    found = shares([at(0, 2.5), at(0, 6)], [], CAMERA, 2)
    assert found.visible[0] == 1
    assert found.visible[1] < 0.03 and found.people[1] > 0.97
    apart = shares([at(0, 2.5), at(2, 6)], [], CAMERA, 2)
    assert apart.visible[1] == 1


def test_a_pillar_hides_and_so_do_edges(at) -> None:
    found = shares([at(0, 5), at(0.8 * 5, 5), at(30, 5)], [pillar(0, 3)], CAMERA, 2)
    assert found.things[0] > 0.97
    assert 0.2 < found.outside[1] < 0.8 and found.visible[1] == pytest.approx(1 - found.outside[1])
    assert found.outside[2] == 1
    total = found.visible + found.people + found.things + found.outside
    np.testing.assert_allclose(total, 1, atol=1e-12)


def test_times_of_hiding() -> None:
    visible = np.array([[0.0, 1], [1, 1], [0.02, 0.5], [0, 0], [1, 0], [1, 0.9], [0, 1]])
    zeros = np.zeros_like(visible)
    people, outside = zeros.copy(), zeros.copy()
    people[2:4, 0] = 1
    outside[3:5, 1] = 1
    found = hidings(Shares(visible, people, zeros, outside), np.arange(7) / 10)
    told = [(h.person, h.cause, h.start_s, h.end_s) for h in found]
    assert told == [(0, "people", 0.2, 0.4), (1, "outside", 0.3, 0.5)], "not what begins or ends the sequence"
