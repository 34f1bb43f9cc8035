"""Faces open the mouth only, move every expression direction, and stay plausible."""

from importlib.resources import files

import numpy as np
import pytest

from openexpose.synth.face_pose import MOODS, VISEMES, sample_expression, sample_face
from openexpose.synth.pose_source import PoseSource


@pytest.fixture(scope="module")
def drawn(stage):
    rng = np.random.default_rng(6)
    return [sample_expression(rng, stage.poses) for _ in range(600)]


def test_mild_faces_open_the_mouth_only():
    rng = np.random.default_rng(4)
    faces = [sample_face(rng, 20) for _ in range(200)]
    jaw = np.degrees([face.jaw[0] for face in faces])
    assert jaw.min() >= 0 and 15 < jaw.max() <= 25
    assert max(np.abs(face.expression).max() for face in faces) <= 2


def test_every_direction_varies_within_bounds(drawn):
    expression = np.stack([face.expression for face in drawn])
    assert expression.std(0).min() > 0.6 and np.abs(expression).max() <= 4
    jaw = np.degrees([face.jaw for face in drawn])
    assert jaw[:, 0].min() >= 0 and 28 < jaw[:, 0].max() <= 30 and 5 < np.abs(jaw[:, 1]).max() < 14
    gaze = np.degrees([face.eyes for face in drawn])
    assert np.abs(gaze[..., 1]).max() > 30 and np.abs(gaze).max() < 45


def _mild(rng, count):
    return [sample_face(rng, 20) for _ in range(count)]


def test_close_ups_move_more_than_bodies(drawn, stage):
    with (files("openexpose.body") / "data" / "freebody_parts.npz").open("rb") as file:
        face = np.load(file)["face"]
    directions, rng = stage.model.expression_dirs[face], np.random.default_rng(0)
    coefficients = [np.stack([f.expression for f in faces]) for faces in (drawn, _mild(rng, 200))]
    strong, mild = (
        1000 * np.linalg.norm(np.einsum("vce,ne->nvc", directions, c), axis=-1).mean() for c in coefficients
    )
    assert 1.5 < strong < 2.6 and mild < 0.6 * strong


def test_actions_are_known_and_mostly_on_both_sides(drawn, stage):
    names = set(stage.poses.action_names)
    for _, actions in (*VISEMES.values(), *MOODS.values()):
        assert all(stem in names or {f"{stem}Left", f"{stem}Right"} <= names for stem in actions)
    assert len(VISEMES) >= 12
    source = stage.poses
    smile = sum(source.actions[source.action_names.index(f"mouthSmile{side}")] for side in ("Left", "Right"))
    along = np.stack([face.expression for face in drawn]) @ smile / (smile @ smile)
    assert along.max() > 0.6


def test_bodies_without_actions_get_mild_faces(stage):
    source = PoseSource(stage.poses.prior, stage.poses.hands, stage.poses.rest, num_expression=7)
    first, second = (sample_expression(np.random.default_rng(1), source) for _ in range(2))
    assert first.expression.shape == (7,)
    np.testing.assert_array_equal(first.expression, second.expression)
