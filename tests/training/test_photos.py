"""Samples teach the default recipe's body what the renders that they were made of teach it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.synth.photos import free_body, make_photos

from openexpose.body.keypoints import PARTS
from openexpose.data.sample import Sample
from openexpose.data.sample_shards import write_samples
from openexpose.data.synthetic import read_synthetic
from openexpose.errors import InputError
from openexpose.predict.parts import BODY
from openexpose.synth.digest import body_digest
from openexpose.synth.shard_files import Origin, write_shard
from openexpose.training.evidence import cache_evidence, find_shards, load_evidence
from openexpose.training.recipes import DataSet, TrainConfig, train
from openexpose.training.targets import load_data


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a shard of scenes, and its evidence."""
    folder = tmp_path_factory.mktemp("scenes")
    photos = make_photos("people", 4, seed=3, size=(420, 360), people=2, distance_m=4.0)
    write_shard(folder / "people-3-00000.tar", Origin("people", 3, 0, body_digest(free_body())), photos)
    assert cache_evidence(folder, "body") == 1
    return folder


@pytest.fixture(scope="module")
def samples(scenes: Path) -> list[Sample]:
    return read_synthetic(scenes, "train", kinds=["people"]).samples


@pytest.fixture(scope="module")
def packed(samples: list[Sample], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the same people as samples, and their evidence."""
    folder = tmp_path_factory.mktemp("samples")
    write_samples(folder, samples)
    assert cache_evidence(folder, "body") == 1 and cache_evidence(folder, "body") == 0
    return folder


def test_evidence_and_targets_are_those_of_the_renders(scenes: Path, packed: Path) -> None:
    one, two = (load_data([folder], BODY) for folder in (scenes, packed))
    assert len(one) == len(two) > 4
    for name in ("feature", "landmarks", "visibility", "presence"):
        value = getattr(one.seen, name)
        np.testing.assert_allclose(getattr(two.seen, name), value, atol=1e-5, err_msg=name)
    np.testing.assert_allclose(two.crop, one.crop, atol=1e-3)
    labelled = two.target.visible.numpy() > 0
    for name in ("pose", "betas", "expression", "points"):
        np.testing.assert_allclose(getattr(two.target, name), getattr(one.target, name), atol=1e-5, err_msg=name)
    np.testing.assert_allclose(two.target.projected[labelled], one.target.projected[labelled], atol=1e-4)
    near = one.target.projected.abs().numpy() < 1.5
    np.testing.assert_allclose(two.target.projected[near], one.target.projected[near], atol=2e-2)
    np.testing.assert_allclose(two.target.camera, one.target.camera, rtol=0.05, atol=0.02)
    np.testing.assert_array_equal(labelled, one.target.visible.numpy() > 0)
    for name in ("pose_weight", "betas_weight", "expression_weight", "points_weight"):
        weight = getattr(two.target, name)
        slots = list(BODY.pose_slots) if name == "pose_weight" else slice(None)
        assert (weight[:, slots] == 1).all() if weight.ndim > 1 else (weight == 1).all()
    for mine, theirs in zip(one.pictures(32), two.pictures(32), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=0.03)  # two JPEG decoders


def test_unlabelled_keypoints_lie_where_the_fit_has_them(samples: list[Sample], tmp_path: Path) -> None:
    hidden = []
    for sample in samples:
        keypoints = sample.keypoints_px.copy()
        keypoints[PARTS["left_hand"]] = 0.0
        valid = sample.pose_valid.copy()
        valid[25:40] = False
        hidden.append(replace(sample, keypoints_px=keypoints, pose_valid=valid, expression=None))
    write_samples(tmp_path, hidden)
    cache_evidence(tmp_path, "body")
    data = load_data([tmp_path], BODY)
    target, hand = data.target, PARTS["left_hand"]
    assert (target.visible[:, hand] == 0).all() and (target.pose_weight[:, 25:40] == 0).all()
    assert (target.expression_weight == 0).all() and (target.expression == 0).all()
    crop = load_evidence(find_shards(tmp_path, "body")[0]).crop
    truth = crop.from_image(np.stack([np.asarray(s.keypoints_px[:, :2], float) for s in samples]))[:, hand]
    known = np.stack([s.keypoints_px[hand, 2] > 0 for s in samples])
    off = np.linalg.norm(target.projected[:, hand].numpy() - truth, axis=-1)[known]
    assert off.max() < 0.01, "of the crop's half side"


def test_points_that_are_not_known_change_nothing(scenes: Path, samples: list[Sample], tmp_path: Path) -> None:
    hand, unknown = PARTS["left_hand"][1:], []
    for sample in samples:
        keypoints, points = sample.keypoints_px.copy(), sample.points_m + [0.3, -0.2, 4.0, 0.0]  # any origin
        keypoints[hand] = points[hand] = 0.0  # as exports write them
        unknown.append(replace(sample, keypoints_px=keypoints, points_m=points))
    write_samples(tmp_path, unknown)
    cache_evidence(tmp_path, "body")
    one, two = (load_data([folder], BODY).target for folder in (scenes, tmp_path))
    others = np.setdiff1d(np.arange(144), hand)
    np.testing.assert_allclose(two.points[:, others], one.points[:, others], atol=1e-5)
    np.testing.assert_allclose(two.camera, one.camera, rtol=0.08, atol=0.05)
    assert (two.points_weight[:, hand] == 0).all() and (two.points[:, hand] == 0).all()
    assert (two.projected[:, hand].abs() < 3).all()


def test_fits_that_do_not_agree_with_their_keypoints_are_left_out(samples: list[Sample], tmp_path: Path) -> None:
    keypoints = samples[1].keypoints_px.copy()
    keypoints[:, :2] = keypoints[:, :2].mean(0) - 0.7 * (keypoints[:, :2] - keypoints[:, :2].mean(0))  # upside down
    write_samples(tmp_path, [samples[0], replace(samples[1], keypoints_px=keypoints), *samples[2:]])
    cache_evidence(tmp_path, "body")
    data = load_data([tmp_path], BODY)
    assert data.origin[:, 1].tolist() == [0, *range(2, len(samples))]
    np.testing.assert_allclose(
        data.target.betas, np.stack([s.betas for k, s in enumerate(samples) if k != 1]), atol=1e-6
    )
    assert data.target.camera.abs().max() < 10 and len(data.pictures(16)) == len(samples) - 1


def test_renders_and_samples_train_together(scenes: Path, packed: Path, tmp_path: Path) -> None:
    data = load_data([scenes, packed], BODY)
    assert len(data) == 2 * len(load_data([scenes], BODY))
    assert (data.target.pose_weight[: len(data) // 2] == 1).all(), "renders know everything"
    config = TrainConfig(
        stage="body", data=(DataSet("synthetic", scenes), DataSet("samples", packed)), out=tmp_path / "run",
        steps=2, batch=4, hidden=16,
    )  # fmt: skip
    scores = train(config)
    assert np.isfinite(list(scores.values())).all() and (tmp_path / "run" / "body.pt").is_file()


def test_only_whole_fitted_bodies_of_the_free_body_teach(samples: list[Sample], tmp_path: Path) -> None:
    write_samples(tmp_path / "other", [replace(sample, coefficients="smplx") for sample in samples])
    with pytest.raises(InputError, match="without body, people or samples shards"):
        find_shards(tmp_path / "other", "body")
    write_samples(tmp_path / "some", [*samples[:-1], replace(samples[-1], points_m=None)])
    cache_evidence(tmp_path / "some", "body")
    assert len(load_data([tmp_path / "some"], BODY)) == len(samples) - 1
    with pytest.raises(InputError, match="rendered shards"):
        train(TrainConfig(stage="hand", data=(DataSet("samples", tmp_path / "some"),), out=tmp_path / "run"))


def test_other_samples_make_the_evidence_stale(samples: list[Sample], tmp_path: Path) -> None:
    write_samples(tmp_path, samples)
    assert cache_evidence(tmp_path, "body") == 1
    write_samples(tmp_path, samples[:2])
    assert cache_evidence(tmp_path, "body") == 1
    assert len(load_data([tmp_path], BODY)) == 2
