"""From samples to batches: labels stay where they are in the picture, poses those of the points, chance is seeded."""

import io
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.training.paper_fixtures import PARTS_OF_THE_BODY, SPECS, labelled, model_of, planar, rendered, setup_of

from openexpose.body.keypoints import FLIP, PARTS
from openexpose.body.mesh import keypoints
from openexpose.body.model import load_body_model
from openexpose.data.augment import AUGMENTATIONS, NO_AUGMENTATION, AugmentConfig, flip
from openexpose.data.sample import Sample
from openexpose.data.synthetic import read_synthetic
from openexpose.errors import InputError
from openexpose.geometry.boxes import Crop
from openexpose.geometry.camera import default_focal_px, fit_weak, project_weak
from openexpose.image.crop import sample_crop
from openexpose.predict.parts import RECIPES
from openexpose.training.examples import PartSetup, body_batch, body_example, make_examples, part_batch, part_example
from openexpose.training.mixture import Mixture

VARIED = {part: replace(AUGMENTATIONS[part], channel_noise=0.0, low_resolution_factors=(1.0,)) for part in SPECS}
"""Geometry varies, colours do not."""
TURNED = AugmentConfig(flip_probability=0.0, rotation_probability=1.0, channel_noise=0.0)
SEEDS = range(6)


def rng_of(seed: int) -> np.random.Generator:
    return np.random.default_rng([seed, 5])


def centre_of(image: np.ndarray) -> np.ndarray:
    """Centre of mass of a crop [3, s, s], in crop coordinates."""
    grid = (2.0 * np.arange(image.shape[-1]) + 1.0) / image.shape[-1] - 1.0
    weight = image.sum(0).astype(float)
    return np.array([weight.sum(0) @ grid, weight.sum(1) @ grid]) / weight.sum()


def crop_of(view: dict[str, np.ndarray]) -> Crop:
    return Crop(view["centre_px"], view["side_px"], view["angle_rad"])


def posed(part: str, target: dict[str, np.ndarray]) -> np.ndarray:
    """The part's keypoints of the free body in the target's pose, from the part's root."""
    rows = (target[name][None] for name in ("pose", "betas", "expression"))
    points = keypoints(model_of(part), *rows)[0].astype(float)
    return (points - points[SPECS[part].root_joint])[list(SPECS[part].keypoints)]


# Pictures and labels


@pytest.mark.parametrize("part", PARTS_OF_THE_BODY)
@pytest.mark.parametrize("left", [False, True])
def test_labels_lie_where_the_picture_shows_them(part: str, left: bool) -> None:
    if left and part != "hand":
        part = "body"  # flipped
    seen = 0
    for seed in SEEDS:
        told = {"body": [4, 55, 71], "hand": [27, 70] if left else [42, 75], "face": [15, 90, 120]}[part]
        for dot in told:
            sample = labelled(part, seed, left=left and part == "hand", dot=dot)
            config = replace(VARIED[part], flip_probability=float(left), jitter=0.1)
            setup = setup_of(part, config)
            image, target, _ = part_example(setup, sample, rng_of(seed))
            column = SPECS[part].keypoints.index(int(FLIP[dot]) if left else dot)
            expected = target["projected"][column]
            if np.abs(expected).max() > 0.8:
                continue
            seen += 1
            assert target["visible"][column] == 1
            np.testing.assert_allclose(centre_of(image), expected, atol=0.01)
            if part == "body":
                region, target, view = body_example(setup, sample, rng_of(seed))
                again = sample_crop(region.transpose(1, 2, 0), crop_of(view), 256)
                np.testing.assert_allclose(centre_of(again), target["projected"][column], atol=0.01)
    assert seen > 6


@pytest.mark.parametrize("seed", SEEDS)
def test_body_pictures_and_body_crops_agree(seed: int) -> None:
    setup, sample = setup_of("body", VARIED["body"]), labelled("body", seed)
    image, target, _ = part_example(setup, sample, rng_of(seed))
    region, whole, view = body_example(setup, sample, rng_of(seed))
    again = sample_crop(region.transpose(1, 2, 0), crop_of(view), 256)
    inside = np.abs(again - image) < 2e-3
    assert inside.mean() > 0.999, "what lies in the body crop is in the picture"
    np.testing.assert_allclose(whole["projected"], target["projected"], atol=1e-6)
    np.testing.assert_array_equal(whole["visible"], target["visible"])
    turn = np.eye(3)
    turn[:2, :2] = [[np.cos(view["angle_rad"]), -np.sin(view["angle_rad"])], [np.sin(view["angle_rad"]), 0]]
    turn[1, 1] = turn[0, 0]
    np.testing.assert_allclose(turn @ target["pose"][0], whole["pose"][0], atol=1e-9)
    np.testing.assert_allclose(target["points"] @ turn.T, whole["points"], atol=1e-9)
    np.testing.assert_array_equal(target["pose"][1:], whole["pose"][1:])


def test_what_is_cut_away_from_the_picture_moves_no_labels_and_hides_no_hand() -> None:
    config = replace(VARIED["body"], cut_probability=1.0, flip_probability=0.0)
    for seed in SEEDS:
        sample = labelled("body", seed)
        region, target, view = body_example(setup_of("body", config), sample, rng_of(seed))
        crop = crop_of(view)
        found = crop.to_image(target["projected"])
        low, size = np.round(found - sample.keypoints_px[:, :2]), np.array(region.shape[:0:-1])
        assert (low == low[0]).all() and (low <= 0).all()
        np.testing.assert_allclose(found, sample.keypoints_px[:, :2] + low[0], atol=1e-6)
        pixels = sample.read_pixels().transpose(2, 0, 1)
        x, y = (-low[0]).astype(int)
        np.testing.assert_array_equal(region, pixels[:, y : y + size[1], x : x + size[0]])
        assert (found > 0).all() and (found < size).all(), "all of the person is there, hands outside the crop, too"
        middle = np.array([60.0, 60.0]) + low[0]
        np.testing.assert_allclose(view["principal_px"], middle)


def test_surroundings_are_as_large_as_the_attention_needs_and_no_larger() -> None:
    sample = labelled("body")
    large = np.zeros((900, 1200, 3), np.uint8)
    large[400:520, 600:720] = sample.read_pixels()
    shift = np.array([600.0, 400.0])
    sample = replace(
        sample,
        image=png(large),
        box_xyxy_px=sample.box_xyxy_px + np.tile(shift, 2),
        keypoints_px=sample.keypoints_px + [*shift, 0],
        focal_px=None,
    )
    region, _, view = body_example(setup_of("body"), sample, rng_of(0))
    side = float(view["side_px"])
    assert 1.9 * side < min(region.shape[1:]) and max(region.shape[1:]) < 2.2 * side
    assert view["focal_px"] == default_focal_px(1200, 900)
    np.testing.assert_allclose(view["principal_px"] - view["centre_px"], [600, 450] - box_centre(sample))
    crop = sample_crop(large, Crop(box_centre(sample), view["side_px"], np.zeros(())), 64)
    np.testing.assert_array_equal(sample_crop(region.transpose(1, 2, 0), crop_of(view), 64), crop)


def box_centre(sample: Sample) -> np.ndarray:
    return (sample.box_xyxy_px[:2] + sample.box_xyxy_px[2:]) / 2


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


# Poses and points


@pytest.mark.parametrize("part", PARTS_OF_THE_BODY)
@pytest.mark.parametrize("mirrored", [False, True])
def test_the_target_pose_poses_the_body_to_the_target_points(part: str, mirrored: bool) -> None:
    """Under rotations and flips, which drop the expression: mirrored people are without one."""
    for seed in SEEDS:
        sample = labelled(part, seed, left=mirrored and part == "hand", expression=0.0 if mirrored else 1.0)
        config = replace(TURNED, flip_probability=float(mirrored))
        _, target, _ = part_example(setup_of(part, config), sample, rng_of(seed))
        root = SPECS[part].keypoints.index(SPECS[part].root_joint)
        given = target["points"] - target["points"][root]
        assert target["points_weight"].all() and target["betas_weight"] == 1
        assert target["pose_weight"][list(SPECS[part].pose_slots)].all()
        error = np.linalg.norm(posed(part, target) - given, axis=1)
        rim = np.isin(SPECS[part].keypoints, PARTS["face"][51:])  # slides over the skin as the neck turns
        assert error[~rim].max() < (1e-3 if mirrored else 2e-4)
        assert rim.sum() == (0 if part == "hand" else 17) and (part == "face" or mirrored or error.max() < 2e-4)


@pytest.mark.parametrize("part", PARTS_OF_THE_BODY)
def test_target_points_project_to_target_pixels(part: str) -> None:
    for seed in SEEDS:
        sample = labelled(part, seed, left=part == "hand" and seed % 2 == 1)
        _, target, _ = part_example(setup_of(part, VARIED[part]), sample, rng_of(seed))
        camera = fit_weak(target["points"], target["projected"])
        np.testing.assert_allclose(project_weak(target["points"], camera), target["projected"], atol=3e-3)


def test_rendered_pictures_agree_as_well() -> None:
    """With the default recipe's parts, which have all coefficients that are rendered."""
    samples, model = read_synthetic(rendered(), "train").samples, load_body_model()
    for part, spec in RECIPES["default"].items():
        setup = replace(setup_of(part, TURNED), spec=spec, model=model)
        for k, sample in enumerate([sample for sample in samples if sample.part == part][:4]):
            _, target, _ = part_example(setup, sample, rng_of(k))
            rows = (target[name][None] for name in ("pose", "betas", "expression"))
            rows = [*rows][: 3 if spec.num_expression else 2] + [np.zeros((1, 20))] * (not spec.num_expression)
            points = spec.from_root(keypoints(model, *rows))[0][list(spec.keypoints)]
            inner = ~np.isin(spec.keypoints, PARTS["face"][51:])
            assert target["points_weight"].all()
            assert np.linalg.norm(points - target["points"], axis=1)[inner].max() < 5e-4


# What counts


def test_unknown_labels_have_no_weight() -> None:
    for part in PARTS_OF_THE_BODY:
        _, target, _ = part_example(setup_of(part), planar(labelled(part)), rng_of(0))
        weights = {name: value for name, value in target.items() if name.endswith("weight")}
        assert len(weights) == 4 and not any(value.any() for value in weights.values())
        assert target["visible"].all() and all(np.isfinite(value).all() for value in target.values())
    sample = labelled("body")
    some = replace(sample, pose_valid=np.arange(55) < 22, points_m=sample.points_m * (np.arange(144)[:, None] < 9))
    some = replace(some, keypoints_px=sample.keypoints_px * [1, 1, 0.5])
    _, target, _ = part_example(setup_of("body"), some, rng_of(0))
    np.testing.assert_array_equal(target["pose_weight"], np.arange(55) < 22)
    np.testing.assert_array_equal(target["points_weight"], np.arange(144) < 9)
    np.testing.assert_array_equal(target["visible"], np.full(144, 0.5))


@pytest.mark.parametrize(
    ("theirs", "ours", "betas", "expression"),
    [
        ("freebody", "freebody", 1, 1),
        ("smplx", "smplx", 1, 1),
        ("flame", "smplx", 0, 1),
        ("mano", "smplx", 0, 0),
        ("smplx", "freebody", 0, 0),
        ("freebody", "smplx", 0, 0),
        ("flame", "freebody", 0, 0),
        ("mano", "freebody", 0, 0),
    ],
)
def test_coefficients_count_for_their_own_model_only(theirs: str, ours: str, betas: int, expression: int) -> None:
    setup = setup_of("face")
    if ours == "smplx":
        setup = replace(setup, model=replace(setup.model, name="SMPLX_NEUTRAL"))
    sample = replace(labelled("face"), coefficients=theirs)
    _, target, _ = part_example(setup, sample, rng_of(0))
    assert (target["betas_weight"], target["expression_weight"]) == (betas, expression)
    np.testing.assert_array_equal(target["betas"][:10], betas * sample.betas)
    np.testing.assert_array_equal(target["expression"][:10], expression * sample.expression)


def test_coefficients_are_cut_or_filled_with_zeros() -> None:
    sample = replace(labelled("body"), betas=np.arange(1.0, 17), expression=np.arange(1.0, 4))
    _, target, _ = part_example(setup_of("body"), sample, rng_of(0))
    np.testing.assert_array_equal(target["betas"], np.arange(1.0, 11))
    np.testing.assert_array_equal(target["expression"], [1, 2, 3, 0, 0, 0, 0, 0, 0, 0])
    assert len(part_example(setup_of("face"), labelled("face"), rng_of(0))[1]["betas"]) == 100


def test_without_augmentation_the_crop_is_the_box() -> None:
    for part, scale in (("body", 1.2), ("hand", 1.0), ("face", 1.0)):
        sample = labelled(part)
        _, target, _ = part_example(setup_of(part), sample, rng_of(0))
        side = scale * (sample.box_xyxy_px[2:] - sample.box_xyxy_px[:2]).max()
        expected = (sample.keypoints_px[list(SPECS[part].keypoints), :2] - box_centre(sample)) * 2 / side
        np.testing.assert_allclose(target["projected"], expected, atol=1e-6)
    left = labelled("hand", left=True)
    _, target, _ = part_example(setup_of("hand"), left, rng_of(0))
    _, again, _ = part_example(setup_of("hand"), flip(left.read_pixels(), left)[1], rng_of(0))
    np.testing.assert_allclose(target["pose"], again["pose"])
    assert target["visible"].all() and target["pose_weight"][40:55].all(), "left hands are mirrored all the same"


# Start vectors


def test_starts_are_the_mean_unless_noise_is_asked_for() -> None:
    for part in PARTS_OF_THE_BODY:
        setup = replace(setup_of(part, AUGMENTATIONS[part]), mean=np.arange(float(SPECS[part].size)))
        for noise in (False, True):
            starts = [part_example(replace(setup, noise=noise), labelled(part, k), rng_of(k))[2] for k in range(12)]
            same = [np.allclose(start, setup.mean, rtol=1e-6) for start in starts]
            assert all(same) if part == "body" or not noise else 0 < sum(same) < 12
        assert np.array_equal(setup.mean, np.arange(float(SPECS[part].size))), "the mean itself stays"


def test_noise_keeps_the_camera_and_turns_the_root_about_the_truth() -> None:
    setup = setup_of("hand", TURNED, noise=True)
    turned = 0
    for seed in range(20):
        _, target, start = part_example(setup, labelled("hand", seed, left=seed % 2 == 1), rng_of(seed))
        np.testing.assert_array_equal(start[-3:], setup.mean[-3:])
        if np.array_equal(start[:6], setup.mean[:6]):
            continue
        turned += 1
        first = start[:6].reshape(3, 2)
        rotation = np.concatenate([first, np.cross(first[:, 0], first[:, 1])[:, None]], 1)
        np.testing.assert_allclose(rotation @ target["pose"][0], target["pose"][0] @ rotation, atol=1e-5)
        cosine = (np.trace(rotation.T @ target["pose"][0]) - 1) / 2
        assert np.degrees(np.arccos(np.clip(cosine, -1, 1))) < 90.1
    assert 2 < turned < 15


# Batches


def flat(batch: object) -> dict[str, torch.Tensor | list]:
    rows = {f.name: getattr(batch, f.name) for f in fields(batch)}
    target = rows.pop("target")
    return rows | vars(target)


@pytest.mark.parametrize("part", PARTS_OF_THE_BODY)
def test_two_processes_see_together_what_one_sees(part: str) -> None:
    mixture = Mixture([[labelled(part, k) for k in range(5)], [planar(labelled(part, 9))]], 0.25)
    setup = setup_of(part, AUGMENTATIONS[part], noise=True)
    makers = [part_batch] + ([body_batch] if part == "body" else [])
    for make in makers:
        one = flat(make(setup, mixture, range(4, 8), 3))
        two = [flat(make(setup, mixture, numbers, 3)) for numbers in (range(4, 6), range(6, 8))]
        for name, value in one.items():
            if isinstance(value, torch.Tensor):
                torch.testing.assert_close(torch.cat([half[name] for half in two]), value, rtol=0, atol=0)
            elif isinstance(value, list):
                halves = two[0][name] + two[1][name]
                assert len(halves) == len(value)
                pairs = zip(halves, value, strict=True)
                assert all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in pairs)
        other = flat(make(setup, mixture, range(4, 8), 4))
        assert not torch.equal(other["projected"], one["projected"]), "the seed does not matter"
        later = flat(make(setup, mixture, range(9, 13), 3))
        assert not torch.equal(later["projected"], one["projected"])


def test_epochs_vary_the_same_picture() -> None:
    mixture, setup = Mixture([[labelled("body")]], 0.25), setup_of("body", AUGMENTATIONS["body"])
    images = part_batch(setup, mixture, range(3), 0).image
    assert not torch.equal(images[0], images[1]) and not torch.equal(images[1], images[2])


def test_broken_pictures_are_replaced_and_named(tmp_path: Path) -> None:
    broken = [
        replace(labelled("hand", 1), name="bytes/1", image=b"no picture"),
        replace(labelled("hand", 2), name="file/2", image=tmp_path / "missing.png"),
        replace(labelled("hand", 3), name="bare/3", keypoints_px=np.zeros((144, 3))),
        replace(labelled("face", 4), name="other/4"),
    ]
    good = [labelled("hand", k) for k in range(4, 9)]
    mixture = Mixture([broken + good], 0.25)
    batch = part_batch(setup_of("hand"), mixture, range(9), 0)
    assert len(batch.names) == len(batch.image) == 9 and set(batch.names) == {sample.name for sample in good}
    for name in ("bytes/1", "file/2", "bare/3", "other/4"):
        assert any(name in problem for problem in batch.problems)
    with pytest.raises(InputError, match="21 broken samples in a row"):
        part_batch(setup_of("hand"), Mixture([broken], 0.25), range(1), 0)


def test_other_errors_are_not_hidden() -> None:
    def make(sample: Sample, rng: np.random.Generator) -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        make_examples(Mixture([[labelled("hand")]], 0.25), range(1), make, 0)


def test_the_setup_knows_its_model() -> None:
    setup: PartSetup = setup_of("body", NO_AUGMENTATION)
    assert setup.coefficients == "freebody"
    assert replace(setup, model=replace(setup.model, name="SMPLX_MALE")).coefficients == "smplx"
