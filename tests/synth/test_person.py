"""People stand on the floor, dressed, clear of each other; the frozen test set's people stay as they were."""

from importlib import resources

import numpy as np
import pytest

from openexpose.body.keypoints import INDEX
from openexpose.synth.camera import Camera, look_from
from openexpose.synth.company import MANNERS, apart, companion
from openexpose.synth.figure import dress, sample_figure, turned
from openexpose.synth.person import build_stage, sample_person
from openexpose.synth.pose import STANCES
from openexpose.synth.scene import sample_photo
from openexpose.synth.thing import MASK_PARTS


@pytest.mark.parametrize("stance", list(STANCES))
def test_people_touch_the_floor(stage, stance):
    figure = sample_figure(np.random.default_rng(2), stage, stance=stance)
    assert figure.vertices[:, 1].min() == pytest.approx(0, abs=1e-5)
    actor = dress(np.random.default_rng(3), stage, figure, near=False, mip=2)
    assert abs(actor.lowest_m) < 0.01
    np.testing.assert_allclose(actor.figure.joints[0, [0, 2]], 0, atol=1e-6)


def test_who_sits_has_a_seat_under_the_hips(stage):
    seats = 0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        figure = turned(sample_figure(rng, stage, stance="sit"), rng.uniform(-3, 3), np.array([1.0, -2.0]))
        actor = dress(rng, stage, figure, near=False, mip=2)
        for seat in actor.seats:
            seats += 1
            top = seat.vertices[:, 1]
            assert top.min() == pytest.approx(0, abs=0.01)
            np.testing.assert_allclose(seat.vertices[:, [0, 2]].mean(0), [1, -2], atol=0.3)
            assert top[np.isclose(top, top.max()) | (top > 0.2)].min() < actor.figure.joints[0, 1]
    assert seats >= 3


def test_moving_an_actor_moves_all_of_it(stage):
    rng = np.random.default_rng(1)
    actor = dress(rng, stage, sample_figure(rng, stage), near=True, mip=2)
    rotation = look_from(np.zeros(3), np.array([0.3, -0.2, 1.0]), 0.4)
    shift = np.array([0.1, 0.2, 3.0])
    moved = actor.moved(rotation, shift)
    back = moved.moved(rotation.T, -rotation.T @ shift)
    np.testing.assert_allclose(back.body.vertices, actor.body.vertices, atol=1e-5)
    np.testing.assert_allclose(back.figure.pose, actor.figure.pose, atol=1e-9)
    for a, b in zip(back.body.things, actor.body.things, strict=True):
        np.testing.assert_allclose(a.vertices, b.vertices, atol=1e-5)
    np.testing.assert_allclose(moved.figure.rotations[0], moved.figure.pose[0], atol=1e-5)


def test_geometry_replaces_paint(stage):
    """Where garments with geometry are worn nothing is painted, and what they cover is not drawn."""
    found = False
    for seed in range(8):
        rng = np.random.default_rng(seed)
        actor = dress(rng, stage, sample_figure(rng, stage, stance="prior"), near=False, mip=2)
        found |= bool(actor.body.hidden.any() and actor.body.things)
        assert actor.body.hidden.shape == actor.body.parts.shape == (len(stage.template.faces),)
    assert found


def test_parts_of_the_body(stage):
    rest, faces, parts = stage.template.rest, stage.template.faces, stage.template.parts
    middle = rest[faces].mean(1)
    mean = lambda name: middle[parts == MASK_PARTS.index(name)].mean(0)  # noqa: E731
    assert mean("head")[1] > mean("torso")[1] > mean("left thigh")[1] > mean("left shin")[1] > mean("left foot")[1]
    assert mean("left hand")[0] > mean("left forearm")[0] > mean("left upper arm")[0] > 0 > mean("right hand")[0]
    assert set(np.unique(parts)) == set(range(1, MASK_PARTS.index("thing")))


def test_companions_keep_clear(stage):
    found = 0
    for seed, manner in enumerate([*MANNERS, "embrace"]):
        rng = np.random.default_rng(seed)
        main = dress(rng, stage, sample_figure(rng, stage, stance="prior"), near=False, mip=2)
        place = np.array([0.5, 1.5, 4.0])
        camera = Camera(look_from(place, main.figure.joints[0]), place, 600.0, 800, 800)
        other = companion(rng, stage, [main], camera, manner)
        if other is not None:
            found += 1
            assert apart(main.figure, other.figure)
            assert camera.inside(camera.to_camera(other.figure.joints)).any()
            assert abs(other.lowest_m) < 0.01
    assert found >= 4
    assert not apart(main.figure, main.figure)


def test_frozen_people_face_the_camera(stage):
    person = sample_person(np.random.default_rng(0), stage, facing=True, mip=2)
    assert person.rotations[INDEX["head"]][2, 2] < 0
    np.testing.assert_allclose(person.joints[0], 0, atol=1e-6)


def test_a_users_body_wears_painted_clothes():
    file = resources.files("openexpose.body") / "data" / "SMPLX_FREEBODY.npz"
    with resources.as_file(file) as path:
        stage = build_stage(path)
    assert stage.wardrobe is None
    photo = sample_photo("body", np.random.default_rng(0), stage)
    assert photo.people[0].betas.shape == (stage.model.num_betas,)
