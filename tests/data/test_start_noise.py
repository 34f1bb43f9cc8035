"""Start noise: turned about the right axis, spread as the paper says, everything else at the mean."""

import numpy as np
import pytest

from openexpose.body.model import load_body_model
from openexpose.data.start_noise import (
    START_NOISE,
    HandPrior,
    StartNoise,
    StartState,
    jaw_open,
    noisy_start,
    pca_fingers,
    turn_about_own_axis,
)
from openexpose.errors import InputError
from openexpose.geometry.rotation import matrix_to_rotvec, rotvec_to_matrix

DRAWS = 3000
AXIS = np.array([0.48, -0.6, 0.64])
TRUTH = rotvec_to_matrix(AXIS * 1.1)
RNG = np.random.default_rng(0)
PRIOR = HandPrior(RNG.normal(0, 0.2, 45), np.linalg.qr(RNG.normal(size=(45, 45)))[0])


def _mean(part: str) -> StartState:
    count, shape, face = (15, 10, 0) if part == "hand" else (1, 100, 50)
    return StartState(np.diag([1.0, -1.0, -1.0]), np.tile(np.eye(3), (count, 1, 1)), np.zeros(shape), np.zeros(face))


def _starts(part: str, noise: StartNoise | None = None, truth=TRUTH, draws: int = DRAWS) -> list[StartState]:
    rng, mean = np.random.default_rng(2), _mean(part)
    return [noisy_start(rng, part, mean, truth, PRIOR if part == "hand" else None, noise) for _ in range(draws)]


def test_turning_keeps_the_axis_and_adds_the_angle():
    for degrees in (-90.0, -20.0, 0.0, 50.0):
        turned = turn_about_own_axis(TRUTH, degrees)
        np.testing.assert_allclose(matrix_to_rotvec(turned), AXIS * (1.1 + np.radians(degrees)), atol=1e-9)
        np.testing.assert_allclose(turned @ TRUTH, TRUTH @ turned, atol=1e-12)
    batch = turn_about_own_axis(np.stack([TRUTH, TRUTH]), np.array([10.0, 20.0]))
    np.testing.assert_allclose(batch[1], turn_about_own_axis(TRUTH, 20.0))


def test_the_identity_turns_about_x_and_half_turns_about_their_axis():
    np.testing.assert_allclose(turn_about_own_axis(np.eye(3), 30.0), rotvec_to_matrix(np.radians([30.0, 0, 0])))
    half = np.diag([1.0, -1.0, -1.0])
    relative = matrix_to_rotvec(turn_about_own_axis(half, 40.0) @ half.T)
    np.testing.assert_allclose(np.abs(relative), [np.radians(40), 0, 0], atol=1e-9)


def test_jaw_opens_downwards():
    chin = np.array([0.0, 0.0, 1.0])  # before the jaw joint; the model's y points up
    opened = jaw_open(np.array([0.0, 30.0])) @ chin
    np.testing.assert_allclose(opened, [[0, 0, 1], [0, -0.5, np.sqrt(0.75)]], atol=1e-12)


def test_fingers_are_a_linear_model_of_axis_angles():
    np.testing.assert_allclose(
        pca_fingers(PRIOR.mean, PRIOR.components, np.zeros(3)), rotvec_to_matrix(PRIOR.mean.reshape(15, 3))
    )
    coefficients = np.array([0.5, -1.0, 0.2])
    fingers = matrix_to_rotvec(pca_fingers(PRIOR.mean, PRIOR.components, coefficients)).reshape(45)
    back = (fingers - PRIOR.mean) @ PRIOR.components.T
    np.testing.assert_allclose(back, [*coefficients, *np.zeros(42)], atol=1e-9)
    with pytest.raises(InputError, match="46"):
        pca_fingers(PRIOR.mean, PRIOR.components, np.zeros(46))


def test_fits_the_packaged_body_model():
    model = load_body_model(None)
    prior = HandPrior(model.hand_mean[1], model.hand_components[1])
    start = noisy_start(
        np.random.default_rng(0), "hand", _mean("hand"), TRUTH, prior, StartNoise(root_deg=90, probability=1)
    )
    np.testing.assert_allclose(start.joints @ start.joints.swapaxes(1, 2), np.tile(np.eye(3), (15, 1, 1)), atol=1e-5)


@pytest.mark.parametrize("part", ["hand", "face"])
def test_each_entry_is_replaced_in_three_of_ten_starts_independently(part):
    mean = _mean(part)
    names = ["root", "joints", "betas"] + ["expression"] * (part == "face")
    starts = _starts(part)
    replaced = np.array([[not np.array_equal(getattr(s, n), getattr(mean, n)) for n in names] for s in starts], float)
    sigma = np.sqrt(0.3 * 0.7 / DRAWS)
    assert np.abs(replaced.mean(0) - 0.3).max() < 4 * sigma
    correlation = np.corrcoef(replaced.T) - np.eye(len(names))
    assert np.abs(correlation).max() < 4 / np.sqrt(DRAWS)
    assert all(s.expression.size == mean.expression.size for s in starts)


@pytest.mark.parametrize(("part", "limit"), [("hand", 90.0), ("face", 45.0)])
def test_roots_are_uniform_about_the_axis_of_the_truth(part, limit):
    assert START_NOISE[part].root_deg == limit
    starts = _starts(part, StartNoise(root_deg=limit, probability=1.0))
    relative = np.degrees(matrix_to_rotvec(np.stack([s.root for s in starts]) @ TRUTH.T))
    angle = relative @ AXIS
    np.testing.assert_allclose(relative, angle[:, None] * AXIS, atol=1e-6)
    assert np.abs(angle).max() <= limit
    counts = np.histogram(angle, 10, (-limit, limit))[0]
    assert np.abs(counts - DRAWS / 10).max() < 4 * np.sqrt(DRAWS * 0.09)


def test_jaw_betas_and_expression_are_spread_as_the_paper_says():
    starts = _starts("face", StartNoise(root_deg=45.0, probability=1.0))
    jaw = np.degrees(matrix_to_rotvec(np.stack([s.joints[0] for s in starts])))
    assert np.abs(jaw[:, 1:]).max() < 1e-9
    assert 0 <= jaw[:, 0].min() < 1 and 44 < jaw[:, 0].max() <= 45
    assert abs(jaw[:, 0].mean() - 22.5) < 4 * 45 / np.sqrt(12 * DRAWS)
    for name in ("betas", "expression"):
        values = np.stack([getattr(s, name) for s in starts])
        assert abs(values.mean()) < 4 / np.sqrt(values.size)
        assert abs(values.var() - 1) < 4 * np.sqrt(2 / values.size)


def test_fingers_use_three_components():
    starts = _starts("hand", StartNoise(root_deg=90.0, probability=1.0), draws=400)
    fingers = np.stack([pca_back(s.joints) for s in starts])
    np.testing.assert_allclose(fingers[:, 3:], 0, atol=1e-9)
    assert np.abs(fingers[:, :3].mean(0)).max() < 4 / 20
    assert np.abs(fingers[:, :3].var(0) - 1).max() < 4 * np.sqrt(2 / 400)


def pca_back(fingers: np.ndarray) -> np.ndarray:
    return (matrix_to_rotvec(fingers).reshape(45) - PRIOR.mean) @ PRIOR.components.T


def test_an_unknown_truth_keeps_the_mean_root_and_the_rest_as_it_was():
    noise = StartNoise(root_deg=90.0, probability=1.0)
    known, unknown = _starts("hand", noise, TRUTH, 5), _starts("hand", noise, None, 5)
    for a, b in zip(known, unknown, strict=True):
        np.testing.assert_array_equal(b.root, _mean("hand").root)
        np.testing.assert_array_equal(a.joints, b.joints)
        np.testing.assert_array_equal(a.betas, b.betas)


def test_seeded_and_without_noise_the_mean():
    for a, b in zip(_starts("face", draws=20), _starts("face", draws=20), strict=True):
        for name in ("root", "joints", "betas", "expression"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    mean = _mean("face")
    assert noisy_start(np.random.default_rng(0), "face", mean, TRUTH, None, StartNoise(45.0, 0.0)) is mean


@pytest.mark.parametrize(
    ("part", "mean", "hand", "message"),
    [
        ("body", "face", None, "body"),
        ("hand", "hand", None, "HandPrior"),
        ("face", "hand", None, "(15, 3, 3)"),
    ],
)
def test_bad_input_is_named(part, mean, hand, message):
    with pytest.raises(InputError) as caught:
        noisy_start(np.random.default_rng(0), part, _mean(mean), TRUTH, hand)
    assert message in str(caught.value)
