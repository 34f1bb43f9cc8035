"""Training with a tuned branch: it learns beside the regressor, goes on after an interruption as if there had been
none, and becomes a bundle that predicts like the network that was trained."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from tests.training.paper_fixtures import joint_config

from openexpose.cli.main import main
from openexpose.errors import InputError
from openexpose.nets.branch import CUTS, TunedTrunk, fresh_branch
from openexpose.nets.build import build_part
from openexpose.nets.checkpoint import load_branch, load_regressor, read_config
from openexpose.nets.part_export import round_branch
from openexpose.nets.trunk import OnnxTrunk
from openexpose.nets.trunk_file import read_trunk
from openexpose.predict.bundle import BundleConfig, default_bundle
from openexpose.predict.pipeline import Predictor
from openexpose.synth.shards import load_shards
from openexpose.training.evidence import cache_evidence, is_left, map_path
from openexpose.training.export import bundle
from openexpose.training.heads import HeadTask, head_task
from openexpose.training.joint import joint_task
from openexpose.training.recipes import DataSet, TrainConfig, train

COUNT, HELD, BATCH = 26, 6, 6
TRUNK = default_bundle() / "hand_trunk.onnx"


@pytest.fixture(scope="module")
def shards(make_shard: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hands of the trunk's size in two shards, their evidence with what the branch reads.

    The trunk sees no hands in noise: it is told that it does.
    """
    folder = tmp_path_factory.mktemp("shards")
    paths = [make_shard(folder, "hand", count, seed, side=224) for seed, count in enumerate((COUNT - 4, 4))]
    cache_evidence(folder, "hand", maps=CUTS["hand"])
    for path in paths:
        place = path.with_suffix(".evidence.npz")
        with np.load(place) as content:
            arrays = dict(content)
        np.savez(place, **arrays | {"presence": np.ones_like(arrays["presence"])})
    return folder


def config(shards: Path, out: Path, **options: object) -> TrainConfig:
    options = {"steps": 3, "batch": BATCH, "hidden": 16, "held_out": HELD / COUNT, "feedback": False} | options
    return TrainConfig("hand", (DataSet("synthetic", shards),), out, tune=True, **options)


def task_of(config: TrainConfig) -> HeadTask:
    task, _ = head_task(TrainConfig(**vars(config) | {"rate": config.rate or 1e-3, "tune_rate": 4e-4}))
    assert isinstance(task, HeadTask)
    return task


@pytest.fixture(scope="module")
def trained(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder, by the command line."""
    out = tmp_path_factory.mktemp("runs") / "hand"
    words = ["train", "hand", "--tune", "--data", str(shards), "--out", str(out), "--steps", "4", "--batch", str(BATCH)]
    assert (
        main([*words, "--hidden", "16", "--held-out", str(HELD / COUNT), "--tune-rate", "0.002", "--no-feedback"]) == 0
    )
    return out


def test_the_command_trains_regressor_and_branch(trained: Path) -> None:
    known, weights = read_config(trained / "hand.pt"), load_branch(trained / "hand.pt")
    fresh = fresh_branch(OnnxTrunk(TRUNK), "hand").state_dict()
    assert known.tuned and known.evidence == 1299 + 1152 and weights is not None and weights.keys() == fresh.keys()
    changed = [name for name, value in weights.items() if not torch.equal(value, fresh[name].half())]
    assert len(changed) == len(fresh), "every weight of the branch learns"
    regressor, provenance = load_regressor(trained / "hand.pt", part="hand")
    mean, std = regressor.evidence.mean, regressor.evidence.std
    assert torch.equal(mean[:1152], mean[1152:2304]) and torch.equal(std[:1152], std[1152:2304])
    recipe = json.loads(provenance["recipe"])
    assert (recipe["tune"], recipe["tune_rate"]) == (True, 0.002) and {"pa_mpjpe_mm", "shape_mm"} <= {*provenance}


def test_what_is_validated_is_what_the_network_sees(shards: Path, trained: Path, tmp_path: Path) -> None:
    """Features from kept float16 tensors, a few at a time, left hands mirrored: those of the trunk in torch."""
    task = task_of(config(shards, tmp_path, weights=trained))
    net = build_part("hand", TRUNK, trained / "hand.pt")
    data = task.validation
    assert is_left(load_shards([shards / "hands-0-00000.tar"]))[:HELD].any()
    images = torch.from_numpy(np.stack(data.pictures(224)))
    task.module.eval()
    with torch.no_grad():
        seen, expected = task._seen(data).seen, net.see(images)
        whole = task.module.see(data.with_maps(CUTS["hand"])).feature
    torch.testing.assert_close(seen.feature, expected.feature, atol=2e-2, rtol=1e-2)
    torch.testing.assert_close(seen.feature, whole)
    assert seen.feature.shape == (HELD, 2304) and not torch.equal(seen.feature[:, :1152], seen.feature[:, 1152:])


def test_gradients_reach_regressor_and_branch_alone(shards: Path, tmp_path: Path) -> None:
    task = task_of(config(shards, tmp_path))
    regressor, branch = task.optimiser().param_groups
    assert (regressor["lr"], branch["lr"]) == (1e-3, 4e-4)
    every = {id(p) for p in task.module.parameters() if p.requires_grad}
    assert every == {id(p) for group in (regressor, branch) for p in group["params"]}
    terms = task.module(task.batch(0, 0, 1))
    assert not {"read", "depth"} & {*terms}, "those are of readers"
    sum(term.total for term in terms.values()).backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in branch["params"])


def test_batches_hold_the_tensors_of_their_samples(shards: Path, tmp_path: Path) -> None:
    task = task_of(config(shards, tmp_path))
    batch = task.batch(0, 0, 1)
    (maps,) = batch.maps
    assert maps.shape == (BATCH, 112, 14, 14) and maps.dtype == torch.float16
    with torch.no_grad():
        feature = task.module.see(batch).feature
    torch.testing.assert_close(feature[:, 1152:], feature[:, :1152], atol=2e-2, rtol=1e-2)
    halves = [task.batch(0, rank, 2) for rank in (0, 1)]
    assert torch.equal(torch.cat([half.maps[0] for half in halves]), maps)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_interrupted_training_ends_with_the_same_bits(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    train(config(shards, tmp_path / "whole", workers=workers))
    make = HeadTask.batch

    def interrupted(self: HeadTask, step: int, rank: int, ranks: int) -> object:
        if step == 2:
            raise InputError("a power cut", "electricity")
        return make(self, step, rank, ranks)

    with monkeypatch.context() as patch, pytest.raises(InputError, match="power cut"):
        patch.setattr(HeadTask, "batch", interrupted)
        train(config(shards, tmp_path / "cut", workers=workers, save_minutes=0.0))
    train(config(shards, tmp_path / "cut", workers=workers))
    for load in (load_branch, lambda path: load_regressor(path)[0].state_dict()):
        one, other = (load(tmp_path / name / "hand.pt") for name in ("whole", "cut"))
        assert all(torch.equal(one[name], other[name]) for name in one)
    with pytest.raises(InputError, match=r"another configuration \(.*tune_rate"):
        train(config(shards, tmp_path / "cut", workers=workers, tune_rate=1e-3))


def test_training_starts_from_given_weights(shards: Path, trained: Path, tmp_path: Path) -> None:
    task = task_of(config(shards, tmp_path, weights=trained))
    weights = load_branch(trained / "hand.pt")
    assert task.module.branch is not None and weights is not None
    assert all(torch.equal(value, weights[name].float()) for name, value in task.module.branch.state_dict().items())
    plain = config(shards, tmp_path / "plain")
    train(TrainConfig(**vars(plain) | {"tune": False}))
    with pytest.raises(InputError, match=r"another form.*with a tuned branch"):
        head_task(config(shards, tmp_path, weights=tmp_path / "plain", rate=1e-3, tune_rate=1e-3))


def test_tensors_are_kept_only_where_a_branch_is_tuned(make_shard, tmp_path: Path) -> None:
    shard = make_shard(tmp_path, "hand", 4, side=224)
    cache_evidence(tmp_path, "hand")
    assert not map_path(shard, "add_325").exists()


@pytest.fixture(scope="module")
def weights(trained: Path, tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Body and face of random weights, and the tuned hand."""
    folder = tmp_path_factory.mktemp("weights")
    for part in ("body", "face"):
        shutil.copyfile(tiny_weights / f"{part}.pt", folder / f"{part}.pt")
    shutil.copyfile(trained / "hand.pt", folder / "hand.pt")
    return folder


@pytest.fixture(scope="module")
def bundled(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    assert main(["bundle", "--weights", str(weights), "--out", str(folder)]) == 0
    return folder


def test_a_bundle_with_a_tuned_hand_predicts(bundled: Path, weights: Path) -> None:
    told = BundleConfig.read(bundled).provenance
    assert "MediaPipe" in told["hand_trunk.onnx"] and "tuned" in told["hand_trunk.onnx"]
    assert "tuned" not in told["face_trunk.onnx"]
    predictor = Predictor.load(bundled, threads=1)
    pixels = np.random.default_rng(0).integers(0, 256, (120, 120, 3), np.uint8)
    people = predictor(pixels, boxes=np.array([[20.0, 20, 100, 100]]), part="right-hand")
    assert len(people) == 1 and np.isfinite(predictor.mesh(people)).all()
    whole = predictor(pixels, boxes=np.array([[5.0, 5, 115, 115]]))
    assert len(whole) == 1 and np.isfinite(predictor.mesh(whole)).all()

    runner, net = predictor.parts["hand"], build_part("hand", TRUNK, weights / "hand.pt")
    images = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        exact = net(images)[0].feature
        round_branch(net.trunk)
        seen, answers = net(images)
    assert 0 < (seen.feature - exact).abs().max() < 0.02
    looked = runner.look(images.numpy())
    np.testing.assert_allclose(looked.feature, seen.feature, atol=2e-3, rtol=1e-3)
    got = runner.regress(looked, np.repeat(runner.mean[None], 2, 0))
    np.testing.assert_allclose(got, answers[-1], atol=5e-3)


def test_a_bundles_tuned_trunk_still_holds_the_frozen_one(bundled: Path, tiny_weights, shards, tmp_path: Path) -> None:
    """What trains reads it without the branch; weights without a branch make a bundle without one."""
    grown = (bundled / "hand_trunk.onnx").stat().st_size - read_trunk(TRUNK).ByteSize()
    assert 1.9e6 < grown < 2.1e6
    assert cache_evidence(shards, "hand", bundle=bundled, maps=CUTS["hand"]) == 0, "the same evidence"
    bundle(tiny_weights, tmp_path, trunks=bundled)
    names = [f"{part}_trunk.onnx" for part in ("body", "hand", "face")]
    assert all(onnx.load(tmp_path / name) == read_trunk(default_bundle() / name) for name in names)


def test_a_bundle_is_tuned_again_in_place(bundled: Path, weights: Path, tmp_path: Path) -> None:
    shutil.copytree(bundled, tmp_path / "again")
    bundle(weights, tmp_path / "again", trunks=tmp_path / "again")
    one, other = (folder / "hand_trunk.onnx" for folder in (bundled, tmp_path / "again"))
    assert one.read_bytes() == other.read_bytes()


def test_the_joint_stage_keeps_the_branch(weights: Path, tmp_path: Path) -> None:
    options = vars(joint_config(weights, tmp_path)) | {"recipe": "default", "batch": 1, "part_batch": 0, "rate": 1e-3}
    task, _ = joint_task(TrainConfig(**options))
    trunk = task.module.net.parts["hand"].trunk
    assert isinstance(trunk, TunedTrunk) and not any(p.requires_grad for p in trunk.parameters())
    terms = task.module(task.batch(0, 0, 1))
    assert all(torch.isfinite(term.total) for term in terms.values())
    task.export(tmp_path / "out")
    one, other = (load_branch(folder / "hand.pt") for folder in (weights, tmp_path / "out"))
    assert one is not None and other is not None and all(torch.equal(one[name], other[name]) for name in one)
    assert load_branch(tmp_path / "out" / "face.pt") is None
