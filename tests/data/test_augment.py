"""Augmentation: labels move with the picture, flips undo themselves, draws keep to their limits."""

from dataclasses import replace

import numpy as np
import pytest

from openexpose.body.keypoints import FLIP, INDEX, JOINT_FLIP
from openexpose.data.augment import (
    AUGMENTATIONS,
    CUTS,
    NO_AUGMENTATION,
    Augmentation,
    AugmentConfig,
    augmented_crop,
    channel_noise,
    draw,
    flip,
    labels_in_crop,
    low_resolution,
    training_crop,
)
from openexpose.data.sample import Sample
from openexpose.errors import InputError
from openexpose.geometry.boxes import Crop
from openexpose.geometry.camera import project_weak
from openexpose.geometry.rotation import rotvec_to_matrix
from openexpose.image.crop import sample_crop

W, H = 320, 240
DRAWS = 4000


def _sample(seed: int = 0, part: str = "body", **changes) -> Sample:
    rng = np.random.default_rng(seed)
    keypoints = np.c_[rng.uniform([70, 40], [250, 200], (144, 2)), rng.uniform(0.1, 1, 144)]
    return replace(
        Sample(
            name="test/0",
            image=b"",
            part=part,
            box_xyxy_px=np.array([60.0, 30.0, 260.0, 210.0]),
            keypoints_px=keypoints,
            points_m=np.c_[rng.normal(size=(144, 3)), rng.integers(0, 2, 144)],
            pose=rotvec_to_matrix(rng.normal(size=(55, 3))),
            pose_valid=rng.random(55) < 0.5,
            betas=rng.normal(size=10),
            expression=rng.normal(size=10),
        ),
        **changes,
    )


def _weak_sample(seed: int = 0, part: str = "body") -> Sample:
    """A sample whose keypoints are the weak-perspective picture of its points, and those its root rotation's."""
    sample = _sample(seed, part)
    rest = np.random.default_rng([seed, 1]).normal(0, 0.3, (144, 3))
    points = rest @ sample.pose[0].T
    xy = 80 * (points[:, :2] + [2.0, 1.5])
    return replace(sample, points_m=np.c_[points, np.ones(144)], keypoints_px=np.c_[xy, np.ones(144)])


def _picture() -> np.ndarray:
    return np.random.default_rng(9).integers(0, 256, (H, W, 3), dtype=np.uint8)


def _dot(xy: np.ndarray) -> np.ndarray:
    """A picture with a soft dot, width 1.5 px, at a continuous position."""
    y, x = np.mgrid[:H, :W] + 0.5
    dot = np.exp(-0.5 * ((x - xy[0]) ** 2 + (y - xy[1]) ** 2) / 1.5**2)
    return np.repeat((255 * dot)[..., None], 3, 2).round().astype(np.uint8)


def _position(image: np.ndarray) -> np.ndarray:
    """Centre of mass of a crop [3, s, s], in crop coordinates."""
    grid = 2 * (np.arange(image.shape[-1]) + 0.5) / image.shape[-1] - 1
    weight = image.sum(0)
    return np.array([weight.sum(0) @ grid, weight.sum(1) @ grid]) / weight.sum()


@pytest.mark.parametrize("part", ["body", "hand", "face"])
def test_dots_are_where_the_labels_say(part):
    rng = np.random.default_rng(3)
    size, checked = 128, 0
    for seed in range(12):
        sample = _sample(seed, part, left=part == "hand" and seed % 2 == 0)
        config = replace(AUGMENTATIONS[part], cut_probability=0.5 * (part == "body"), channel_noise=0.0)
        augmentation = replace(draw(rng, config, sample), low_resolution=1.0)
        for k in rng.permutation(144)[:4]:
            crop, labels, _ = augmented_crop(
                _dot(sample.keypoints_px[k, :2]), sample, augmentation, box_scale=1.2, size=size
            )
            name = FLIP[k] if augmentation.flip else k
            if (np.abs(labels.keypoints[name, :2]) < 0.9).all():
                error = np.abs(_position(crop) - labels.keypoints[name, :2]).max() * size / 2
                assert error < 0.3, f"{error:.2f} px off under {augmentation}"
                assert labels.inside[name]
                checked += 1
    assert checked > 15


@pytest.mark.parametrize("part", ["body", "hand", "face"])
def test_flipping_twice_changes_nothing_but_the_dropped_expression(part):
    sample, picture = _sample(1, part), _picture()
    pixels, back = flip(*flip(picture, sample))
    np.testing.assert_array_equal(pixels, picture)
    for name in ("box_xyxy_px", "keypoints_px", "points_m", "pose", "pose_valid", "betas"):
        np.testing.assert_allclose(getattr(back, name), getattr(sample, name), atol=1e-12, err_msg=name)
    assert back.left == sample.left
    assert (back.expression is None) == (part != "hand")


def test_flip_renames_and_mirrors_every_label():
    sample = _sample(2, "hand", left=True)
    before = sample.keypoints_px.copy()
    pixels, mirrored = flip(_picture(), sample)
    np.testing.assert_array_equal(pixels, _picture()[:, ::-1])
    a, b = INDEX["left_index2"], INDEX["right_index2"]
    np.testing.assert_allclose(mirrored.keypoints_px[b], sample.keypoints_px[a] * [-1, 1, 1] + [W, 0, 0])
    np.testing.assert_allclose(mirrored.points_m[b], sample.points_m[a] * [-1, 1, 1, 1])
    D = np.diag([-1.0, 1.0, 1.0])
    np.testing.assert_allclose(mirrored.pose[b], D @ sample.pose[a] @ D)
    np.testing.assert_allclose(mirrored.pose[0], D @ sample.pose[0] @ D)
    np.testing.assert_array_equal(mirrored.pose_valid[JOINT_FLIP], sample.pose_valid)
    np.testing.assert_allclose(mirrored.box_xyxy_px, [W - 260, 30, W - 60, 210])
    assert not mirrored.left
    assert not flip(_picture(), _sample(2))[1].left  # a body has no side
    np.testing.assert_array_equal(sample.keypoints_px, before)  # the input is left alone


def test_flip_leaves_unknown_labels_unknown():
    sample = _sample(3, points_m=None, pose=None, pose_valid=np.zeros(55, bool))
    _, mirrored = flip(_picture(), sample)
    assert mirrored.points_m is None and mirrored.pose is None and not mirrored.pose_valid.any()
    labels = labels_in_crop(mirrored, training_crop(mirrored, 1.2, Augmentation(rotation_deg=20)))
    assert labels.points_m is None and labels.pose is None and labels.root is None


@pytest.mark.parametrize("degrees", [-60.0, 0.0, 25.0])
@pytest.mark.parametrize("mirror", [False, True])
def test_turned_points_and_root_project_onto_the_turned_keypoints(degrees, mirror):
    sample = _weak_sample(4)
    rest = sample.points_m[:, :3] @ sample.pose[0]  # the points before the root turned them
    if mirror:
        sample = flip(_picture(), sample)[1]
        rest = rest[FLIP] * [-1, 1, 1]
    crop = training_crop(sample, 1.2, Augmentation(rotation_deg=degrees, scale=0.9, jitter=(0.1, -0.2)))
    labels = labels_in_crop(sample, crop)
    scale = 2 * 80 / crop.side_px
    for points in (labels.points_m[:, :3], rest @ labels.pose[0].T):
        shift = labels.keypoints[0, :2] / scale - points[0, :2]
        seen = project_weak(points, np.array([scale, *shift]))
        np.testing.assert_allclose(seen, labels.keypoints[:, :2], atol=1e-9)
    np.testing.assert_array_equal(labels.pose[1:], sample.pose[1:])
    assert (labels.root is None) == (not sample.pose_valid[0])


def test_labels_without_augmentation_are_those_of_the_box():
    sample = _sample(5)
    crop = training_crop(sample, 1.2, Augmentation())
    np.testing.assert_allclose(crop.centre_px, [160, 120])
    assert crop.side_px == pytest.approx(240) and crop.angle_rad == 0
    labels = labels_in_crop(sample, crop)
    np.testing.assert_allclose(labels.keypoints[:, :2], (sample.keypoints_px[:, :2] - [160, 120]) / 120)
    np.testing.assert_array_equal(labels.keypoints[:, 2], sample.keypoints_px[:, 2])
    np.testing.assert_allclose(labels.pose, sample.pose)
    np.testing.assert_allclose(labels.points_m, sample.points_m)
    assert labels.inside.all()


def test_keypoints_beyond_the_crop_keep_their_confidence():
    sample = _sample(6)
    sample.keypoints_px[3, 2] = 0
    labels = labels_in_crop(sample, training_crop(sample, 0.4, Augmentation()))
    beyond = (np.abs(labels.keypoints[:, :2]) > 1).any(1)
    assert 0 < beyond.sum() < 144
    np.testing.assert_array_equal(labels.inside, ~beyond & (sample.keypoints_px[:, 2] > 0))
    np.testing.assert_array_equal(labels.keypoints[:, 2], sample.keypoints_px[:, 2])


def test_mirrored_crops_are_refused():
    with pytest.raises(InputError, match=r"flip\(\)"):
        labels_in_crop(_sample(), Crop(np.array([10.0, 10.0]), np.asarray(20.0), np.asarray(0.0), mirrored=True))


@pytest.mark.parametrize("name", CUTS)
def test_a_cut_holds_its_keypoints_and_drops_others(name):
    sample = _sample(7)
    spread = np.random.default_rng(7).uniform([5, 5], [315, 235], (144, 2))
    kept = CUTS[name].keypoints
    spread[kept] = np.random.default_rng(8).uniform([100, 80], [130, 150], (len(kept), 2))
    sample = replace(sample, keypoints_px=np.c_[spread, np.ones(144)])
    labels = labels_in_crop(sample, training_crop(sample, 1.1, Augmentation(cut=name)))
    assert labels.inside[kept].all()
    others = np.setdiff1d(np.arange(144), kept)
    assert labels.inside[others].mean() < 0.5


def test_cuts_look_at_labelled_keypoints_only():
    sample = _sample(8)
    arm = CUTS["left arm"].keypoints
    sample.keypoints_px[:, 2] = 0
    sample.keypoints_px[arm[:5], 2] = 1
    sample.keypoints_px[arm[:5], :2] = [[100, 100], [120, 130], [110, 160], [112, 161], [113, 162]]
    config = AugmentConfig(flip_probability=0, cut_probability=1, scale_sd=0)
    drawn = {draw(np.random.default_rng(k), config, sample).cut for k in range(40)}
    assert drawn == {"left arm", "upper body"}
    mirrored = replace(config, flip_probability=1)  # cuts are named as seen after the flip
    drawn = {draw(np.random.default_rng(k), mirrored, sample).cut for k in range(40)}
    assert drawn == {"right arm", "upper body"}
    crop = training_crop(sample, 1.0, Augmentation(cut="left arm"))
    np.testing.assert_allclose(crop.centre_px, [110, 131])
    assert crop.side_px == pytest.approx(62)
    sample.keypoints_px[:, 2] = 0
    assert draw(np.random.default_rng(0), config, sample).cut == ""
    whole, cut = (training_crop(sample, 1.0, Augmentation(cut=name)) for name in ("", "left arm"))
    assert whole.side_px == cut.side_px


def test_unknown_cuts_are_named():
    with pytest.raises(InputError, match="upper body"):
        training_crop(_sample(), 1.2, Augmentation(cut="tail"))


@pytest.mark.parametrize("part", ["body", "hand", "face"])
def test_the_same_seed_draws_the_same(part):
    config, sample = AUGMENTATIONS[part], _sample(0, part)
    assert draw(np.random.default_rng(5), config, sample) == draw(np.random.default_rng(5), config, sample)
    assert draw(np.random.default_rng(5), config, sample) != draw(np.random.default_rng(6), config, sample)
    # What a draw takes from the generator does not depend on the sample.
    bare = replace(sample, keypoints_px=np.zeros((144, 3)))
    states = []
    for s in (sample, bare):
        rng = np.random.default_rng(5)
        draw(rng, config, s)
        states.append(rng.random())
    assert states[0] == states[1]


@pytest.mark.parametrize("part", ["body", "hand", "face"])
def test_draws_have_the_papers_statistics(part):
    rng, config, sample = np.random.default_rng(11), AUGMENTATIONS[part], _sample(0, part)
    drawn = [draw(rng, config, sample) for _ in range(DRAWS)]

    def share(values, expected):
        sigma = max(np.sqrt(expected * (1 - expected) / DRAWS), 1e-9)
        assert abs(np.mean(values) - expected) < 4 * sigma

    share([a.flip for a in drawn], 0.0 if part == "hand" else 0.5)
    share([a.rotation_deg != 0 for a in drawn], 0.4)
    share([a.cut != "" for a in drawn], config.cut_probability)
    scale, angle = np.array([a.scale for a in drawn]), np.array([a.rotation_deg for a in drawn])
    assert scale.min() == 0.75 and scale.max() == 1.25
    share(scale == 1.25, 0.158655)  # a normal variable beyond one sigma
    assert angle.min() == -60 and angle.max() == 60
    share(np.abs(angle) == 60, 0.4 * 0.0455)
    gains, jitter = np.array([a.gains for a in drawn]), np.array([a.jitter for a in drawn])
    assert 0.6 <= gains.min() < 0.61 and 1.39 < gains.max() <= 1.4
    share(gains[:, 0] < 1, 0.5)
    reach = 0.0 if part == "body" else 0.2
    assert 0.98 * reach <= np.abs(jitter).max() <= reach
    factors = {"body": [1], "hand": [1, 1.2, 1.5, 2, 3, 4], "face": [1, 1.2, 1.5, 2, 3, 4, 8]}[part]
    for factor in factors:
        share([a.low_resolution == factor for a in drawn], 1 / len(factors))


def test_left_hands_are_always_mirrored():
    for config in (NO_AUGMENTATION, AUGMENTATIONS["hand"], AugmentConfig()):
        for seed in range(5):
            for left in (False, True):
                sample = _sample(0, "hand", left=left)
                augmentation = draw(np.random.default_rng(seed), config, sample)
                assert augmentation.flip == left
                *_, seen = augmented_crop(_picture(), sample, augmentation, box_scale=1.2, size=8)
                assert not seen.left


@pytest.mark.parametrize("part", ["body", "face"])
def test_no_augmentation_is_the_plain_crop(part):
    sample = _sample(0, part)
    augmentation = draw(np.random.default_rng(0), NO_AUGMENTATION, sample)
    assert augmentation == Augmentation()
    crop, labels, seen = augmented_crop(_picture(), sample, augmentation, box_scale=1.2, size=32)
    np.testing.assert_array_equal(crop, sample_crop(_picture(), training_crop(sample, 1.2, augmentation), 32))
    assert seen is sample and labels.inside.all() and crop.dtype == np.float32


def test_jitter_moves_the_centre_by_parts_of_the_box():
    sample = _sample()
    plain, moved = (training_crop(sample, 2.0, Augmentation(jitter=j)) for j in ((0, 0), (0.2, -0.1)))
    np.testing.assert_allclose(moved.centre_px - plain.centre_px, [40, -20])
    assert moved.side_px == plain.side_px


def test_channel_noise_multiplies_and_clips():
    image = np.full((3, 2, 2), 0.75, np.float32)
    noisy = channel_noise(image, (0.6, 1.0, 1.4))
    np.testing.assert_allclose(noisy[:, 0, 0], [0.45, 0.75, 1.0])
    assert noisy.dtype == np.float32
    np.testing.assert_array_equal(channel_noise(image, (1, 1, 1)), image)


def test_low_resolution():
    image = sample_crop(_picture(), Crop(np.array([160.0, 120.0]), np.asarray(200.0), np.asarray(0.0)), 96)
    np.testing.assert_array_equal(low_resolution(image, 1), image)
    for factor in (1.2, 2, 4, 8):
        low = low_resolution(image, factor)
        assert low.shape == image.shape and low.dtype == np.float32
        assert np.abs(low.mean((1, 2)) - image.mean((1, 2))).max() < 0.06
        assert low.min() >= image.min() - 1e-6 and low.max() <= image.max() + 1e-6
    constant = np.full((3, 30, 30), 0.3, np.float32)
    np.testing.assert_allclose(low_resolution(constant, 4), constant, atol=1e-6)
    ramp = np.broadcast_to(np.arange(60, dtype=float), (3, 60, 60))
    for factor in (2, 3, 4):  # a ramp stays where it is, to half a pixel, but for its ends
        ends = int(factor)
        assert np.abs(low_resolution(ramp, factor) - ramp)[:, :, ends:-ends].max() <= 0.5 + 1e-9
    with pytest.raises(InputError):
        low_resolution(image, 0.5)


@pytest.mark.parametrize(
    "bad",
    [{"flip_probability": 1.5}, {"scale_limit": 1.0}, {"jitter": -0.1}, {"low_resolution_factors": ()}]
    + [{"low_resolution_factors": (0.5,)}, {"rotation_sd_deg": float("nan")}],
)
def test_impossible_configurations_are_refused(bad):
    with pytest.raises(InputError, match=next(iter(bad))):
        AugmentConfig(**bad)
