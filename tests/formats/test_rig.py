"""Tracks as rigs: what all animated files are made from."""

from dataclasses import replace

import numpy as np
import pytest
from tests.body.toy import toy_model
from tests.formats.dancing import FPS, dance, dancer, freebody

from openexpose.errors import InputError
from openexpose.formats.rig import blend_shapes_for, influences, rig_of
from openexpose.geometry.rotation import matrix_to_quaternion
from openexpose.motion import Clip, Motion, Track


def test_quaternions_are_the_rotations_and_never_jump() -> None:
    model = toy_model()
    clip = Clip("a", np.arange(60) / FPS, FPS)
    rig = rig_of(Track(1, np.arange(60), dancer(np.arange(60), model)), clip, model)
    own = matrix_to_quaternion(rig.rotations.astype(float))[..., [1, 2, 3, 0]]
    np.testing.assert_allclose(np.abs((own * rig.quaternions).sum(-1)), 1.0, atol=1e-6)
    assert (rig.quaternions[..., 3] < 0).any(), "somebody who turns round passes w = 0"
    assert ((rig.quaternions[1:] * rig.quaternions[:-1]).sum(-1) > 0.9).all()


def test_gaps_are_filled_and_frame_rates_changed() -> None:
    model = toy_model()
    clip = Clip("a", np.arange(20) / FPS, FPS)
    frames = np.array([2, 3, 8, 9])
    track = Track(1, frames, dancer(frames, model))
    rig = rig_of(track, clip, model)
    np.testing.assert_allclose(rig.times_s, np.arange(2, 10) / FPS)
    np.testing.assert_array_equal(rig.rotations[[0, 1, 6, 7], 1:], track.people.pose[:, 1:])
    assert rig.appears and rig.leaves and rig.ends_s == pytest.approx(10 / FPS)
    np.testing.assert_allclose(rig_of(track, clip, model, 50.0).times_s, 2 / FPS + np.arange(15) / 50.0)
    with pytest.raises(InputError, match="frame rate"):
        rig_of(track, clip, model, 0.0)


def test_long_tracks_are_worked_on_in_parts() -> None:
    """As long as several parts; each frame is as it is alone."""
    model = toy_model()
    frames = np.arange(2100)
    people = dancer(frames, model)
    clip = Clip("a", frames / FPS, FPS)
    rig = rig_of(Track(1, frames, people), clip, model)
    few = np.arange(990, 1010)
    alone = rig_of(Track(1, few, people[few]), clip, model)
    np.testing.assert_array_equal(rig.rotations[few], alone.rotations)
    np.testing.assert_array_equal(rig.translations[few], alone.translations)
    np.testing.assert_array_equal(rig.expression[few], alone.expression)


def test_a_track_has_one_shape_the_mean() -> None:
    model = toy_model()
    motion = dance(model)
    track = motion.tracks[0]
    wobble = np.where(np.arange(20)[:, None] % 2, 0.1, -0.1).astype(np.float32)
    wobbling = Track(1, track.frames, replace(track.people, betas=track.people.betas + wobble))
    even, uneven = (rig_of(one, motion.clip, model) for one in (track, wobbling))
    np.testing.assert_allclose(uneven.vertices, even.vertices, atol=1e-5)
    np.testing.assert_allclose(uneven.joints, even.joints, atol=1e-5)
    np.testing.assert_allclose(uneven.translations[:, 1:], even.translations[:, 1:], atol=1e-5)


def test_bones_that_expressions_hardly_move_do_not_move() -> None:
    model = freebody()
    motion = dance(model)
    calm = replace(motion.tracks[0].people, expression=0.2 * motion.tracks[0].people.expression)
    rig = rig_of(Track(1, motion.tracks[0].frames, calm), motion.clip, model)
    moving = (rig.translations != rig.translations[:1]).any((0, 2))
    assert moving[0] and not moving[1:].any()
    bones = rig.joints[1:] - rig.joints[model.parents[1:]]
    np.testing.assert_allclose(rig.translations[0, 1:], bones, atol=1e-6)


def test_influences_are_the_weights_without_loss_up_to_eight() -> None:
    model = freebody()
    joints, weights = influences(model)
    assert joints.shape == (len(model.v_template), 8)
    dense = np.zeros_like(model.weights)
    np.add.at(dense, (np.arange(len(dense))[:, None], joints), weights)
    np.testing.assert_allclose(dense, model.weights, atol=1e-6)
    assert (np.diff(weights) <= 0).all(), "programs that read four get the largest"
    assert (joints[weights == 0] == 0).all()
    assert influences(toy_model())[0].shape[1] == 4


def test_of_more_influences_the_largest_stay() -> None:
    spread = np.random.default_rng(0).dirichlet(np.ones(55), 40).astype(np.float32)
    joints, weights = influences(replace(toy_model(), weights=spread))
    np.testing.assert_allclose(weights.sum(1), 1.0, atol=1e-6)
    largest = np.take_along_axis(spread, joints, 1)
    np.testing.assert_allclose(weights, largest / largest.sum(1, keepdims=True), rtol=1e-5)
    assert (largest.min(1) >= np.sort(spread, 1)[:, -8]).all()


@pytest.mark.parametrize("size", [1.0, 4.2])
def test_sliders_lie_between_0_and_1_and_make_the_expressions(size: float) -> None:
    model = toy_model()
    motion = dance(model)
    track = motion.tracks[0]
    people = replace(track.people, expression=(size * track.people.expression).astype(np.float32))
    motion = Motion(motion.clip, (Track(1, track.frames, people),))
    blend = blend_shapes_for(motion, model)
    assert blend.reach == (3.0 if size == 1.0 else 7.0)
    weights = blend.weights(rig_of(motion.tracks[0], motion.clip, model))
    assert weights.min() >= 0 and weights.max() <= 1 and not weights[:, -model.num_betas :].any()
    moved = np.einsum("ns,svc->nvc", weights, np.stack(list(blend.offsets.values())))
    np.testing.assert_allclose(moved, np.einsum("vce,ne->nvc", model.expression_dirs, people.expression), atol=1e-5)
    assert list(blend.offsets)[:2] == ["expression_0_plus", "expression_0_minus"]
    np.testing.assert_array_equal(blend.offsets["shape_1"], model.shape_dirs[..., 1])
