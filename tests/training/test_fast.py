"""The body trunk of the fast bundle: its own evidence, training on it, with a reader of its map, and bundles with the
default as their base."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from openexpose.body.keypoints import PARTS
from openexpose.errors import InputError
from openexpose.nets.branch import CUTS
from openexpose.nets.build import build_part, build_whole
from openexpose.nets.checkpoint import load_branch, read_config
from openexpose.nets.reader import JointReader
from openexpose.nets.trunk_file import read_trunk
from openexpose.predict.bundle import BundleConfig, default_bundle, packaged_trunk
from openexpose.predict.pipeline import Predictor
from openexpose.training import export
from openexpose.training.evidence import (
    await_evidence,
    cache_evidence,
    evidence_path,
    load_evidence,
    load_map,
    map_path,
)
from openexpose.training.export import bundle
from openexpose.training.heads import HeadTask, head_task
from openexpose.training.recipes import DataSet, TrainConfig, train

COUNT, HELD = 12, 3
TOLD = 36 * 28
"""How many numbers a reader tells."""
FULL = packaged_trunk("body", "full")


def config(shards: Path, out: Path, **options: object) -> TrainConfig:
    options = {
        "steps": 1,
        "batch": 4,
        "hidden": 8,
        "held_out": HELD / COUNT,
        "feedback": False,
        "trunk": "full",
    } | options
    return TrainConfig("body", (DataSet("synthetic", shards),), out, **options)


@pytest.fixture(scope="module")
def shard(make_shard: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shard(tmp_path_factory.mktemp("shards"), "body", COUNT, side=64)


@pytest.fixture(scope="module")
def trained(shard: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a plain and a tuned body."""
    folder = tmp_path_factory.mktemp("runs")
    train(config(shard.parent, folder / "plain"))
    train(config(shard.parent, folder / "tuned", tune=True))
    return folder


def test_no_tensor_of_two_trunks_has_one_name() -> None:
    """Kept tensors lie beside the shard under their names, whichever trunk they are of."""
    names = [name for cut in CUTS.values() for name in cut]
    assert len(set(names)) == len(names)


def test_evidence_of_two_trunks_lies_apart(make_shard, make_evidence, tmp_path: Path) -> None:
    path = make_shard(tmp_path, "body", 2)
    before = make_evidence(path, "body").read_bytes()
    assert cache_evidence(tmp_path, "body", trunk="full") == 1
    assert cache_evidence(tmp_path, "body", trunk="full") == cache_evidence(tmp_path, "body") == 0
    await_evidence(tmp_path, "body", trunk="full", patience_s=0.0)
    names = {"body-0-00000.tar", "body-0-00000.evidence.npz", "body-0-00000.evidence-full.npz"}
    assert {file.name for file in tmp_path.iterdir()} == names
    assert evidence_path(path).read_bytes() == before
    one, other = load_evidence(path), load_evidence(path, "full")
    assert one.seen.feature.shape == (2, 4) and other.seen.feature.shape == (2, 1152)


def test_training_on_the_full_trunk_leaves_the_defaults_files_alone(trained: Path, shard: Path) -> None:
    assert evidence_path(shard, "full").is_file() and map_path(shard, "add_365").is_file()
    assert not evidence_path(shard).exists()
    for name in ("plain", "tuned"):
        told = read_config(trained / name / "body.pt")
        assert (told.trunk, told.tuned, told.evidence) == ("full", name == "tuned", 1425 + TOLD * (name == "tuned"))
        assert build_part("body", FULL, trained / name / "body.pt").trunk.side_px == 256


@pytest.fixture
def task(shard: Path, tmp_path: Path) -> HeadTask:
    """The training of a body with a reader."""
    task, _ = head_task(config(shard.parent, tmp_path, tune=True, batch=8, rate=1e-3, tune_rate=4e-4))
    assert isinstance(task, HeadTask) and isinstance(task.module.branch, JointReader)
    return task


def test_what_a_reader_tells_is_taken_as_it_is(task: HeadTask, shard: Path) -> None:
    """Its map's statistics are those of the training samples; those of all else are as without it."""
    field = torch.from_numpy(load_map(shard, CUTS["full"][0])[HELD:].astype(np.float32))
    branch, evidence = task.module.branch, task.module.regressor.evidence
    torch.testing.assert_close(branch.map_mean, field.mean((0, 2, 3)), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(branch.map_std, field.std((0, 2, 3)), atol=2e-3, rtol=1e-3)
    raw = evidence.raw(task.training.seen)
    told = torch.arange(raw.shape[1] + TOLD)
    told = (told >= 1152) & (told < 1152 + TOLD)
    assert (evidence.mean[told] == 0).all() and (evidence.std[told] == 1).all()
    torch.testing.assert_close(evidence.mean[~told], raw.mean(0))
    torch.testing.assert_close(evidence.std[~told], raw.std(0) + 1e-2)
    regressor, branch_ = task.optimiser().param_groups
    assert (regressor["lr"], branch_["lr"]) == (1e-3, 4e-4)
    assert {id(p) for p in branch_["params"]} == {id(p) for p in branch.parameters()}


def test_a_reader_is_told_where_joints_are(task: HeadTask) -> None:
    """In the crop and how deep; of joints beyond the crop nothing, of hidden ones less."""
    batch, branch = task.batch(0, 0, 1), task.module.branch
    assert batch.maps[0].shape == (8, 88, 16, 16)
    batch = replace(batch, target=replace(batch.target, projected=1.4 * batch.target.projected))
    with torch.no_grad():
        terms = task.module(batch)
        told = branch(batch.maps[0].float()).unflatten(1, (36, 28)).double()
    read, depth, beyond, hidden = 0.0, 0.0, 0, 0
    for n in range(8):
        for k, joint in enumerate(PARTS["body"].tolist()):
            spot, deep = batch.target.projected[n, joint], batch.target.points[n, joint, 2]
            if spot.abs().max() > 1:
                beyond += 1
                continue
            seen = batch.target.visible[n, joint] == 1
            hidden += not seen
            weight = (1.0 if seen else 0.3) / (8 * 36)
            read += 4.0 * weight * float((told[n, k, :2] - spot).norm())
            depth += 2.0 * weight * float((told[n, k, 2] - deep).abs())
    assert beyond > 10 and hidden > 10
    assert float(terms["read"].total) == pytest.approx(read, rel=1e-4)
    assert float(terms["depth"].total) == pytest.approx(depth, rel=1e-4)


def test_a_reader_learns(task: HeadTask) -> None:
    batch, optimiser, losses = task.batch(0, 0, 1), torch.optim.Adam(task.module.branch.parameters(), 3e-3), []
    for _ in range(30):
        terms = task.module(batch)
        losses.append({name: terms[name].total.item() for name in ("read", "depth")})
        optimiser.zero_grad()
        (terms["read"].total + terms["depth"].total).backward()
        optimiser.step()
    assert all(losses[-1][name] < 0.4 * losses[0][name] for name in losses[0])


def test_training_starts_from_a_trained_reader(trained: Path, shard: Path, tmp_path: Path) -> None:
    options = {"weights": trained / "tuned", "tune": True, "rate": 1e-3, "tune_rate": 1e-3}
    task, _ = head_task(config(shard.parent, tmp_path, **options))
    weights = load_branch(trained / "tuned" / "body.pt")
    assert isinstance(task, HeadTask) and task.module.branch is not None and weights is not None
    assert all(torch.equal(value, weights[name].float()) for name, value in task.module.branch.state_dict().items())
    assert weights["map_std"].min() > 0 and not (weights["map_mean"] == 0).all(), "statistics are among them"
    with pytest.raises(InputError, match=r"another form.*with a tuned branch"):
        head_task(config(shard.parent, tmp_path, **options | {"weights": trained / "plain"}))


def test_weights_of_another_trunk_are_refused(trained: Path, tiny_weights: Path, shard: Path, tmp_path: Path) -> None:
    train(config(shard.parent, tmp_path / "more", weights=trained / "plain"))
    with pytest.raises(InputError, match=r"body\.pt' on another trunk; expected weights on .*fast"):
        train(config(shard.parent, tmp_path / "other", weights=tiny_weights))


@pytest.fixture
def no_export(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "export_head", lambda regressor, part, path, origin, **_: path.write_bytes(b""))


def test_a_tuned_body_alone_becomes_a_bundle_that_predicts(trained: Path, tmp_path: Path) -> None:
    bundle(trained / "tuned", tmp_path)
    predictor = Predictor.load(tmp_path, threads=1)
    pixels = np.random.default_rng(0).integers(0, 256, (120, 120, 3), np.uint8)
    people = predictor(pixels, boxes=np.array([[5.0, 5, 115, 115]]))
    assert len(people) == 1 and np.isfinite(predictor.mesh(people)).all()


@pytest.mark.parametrize("name", ["plain", "tuned"])
def test_a_body_alone_becomes_a_bundle_based_on_the_default(
    trained: Path, tmp_path: Path, name: str, no_export: None
) -> None:
    bundle(trained / name, tmp_path)
    files = {"bundle.json", "means.npz", "body_trunk.onnx", "body_head.onnx"}
    assert {file.name for file in tmp_path.iterdir()} == files
    raw = json.loads((tmp_path / "bundle.json").read_text("utf-8"))
    assert raw.keys() == {"name", "base", "provenance"} and (raw["name"], raw["base"]) == ("fast", "default")
    assert raw["provenance"].keys() == {"body_trunk.onnx", "body_head.onnx"}
    assert "pose_landmark_full" in raw["provenance"]["body_trunk.onnx"]
    assert '"trunk": "full"' in raw["provenance"]["body_head.onnx"]
    assert (onnx.load(tmp_path / "body_trunk.onnx") == read_trunk(FULL)) == (name == "plain")
    assert read_trunk(tmp_path / "body_trunk.onnx") == read_trunk(FULL)
    with np.load(tmp_path / "means.npz") as means:
        assert means.files == ["body"]


def test_what_lies_in_the_folder_already_is_not_taken_for_a_part(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "hand_head.onnx").write_bytes(b"of an earlier bundle")
    for out in (tmp_path, default_bundle()):
        before = {file.name: file.stat().st_mtime_ns for file in out.iterdir()}
        with pytest.raises(InputError, match=r"with hand_head\.onnx.*and no weights of that"):
            bundle(trained / "plain", out)
        assert {file.name: file.stat().st_mtime_ns for file in out.iterdir()} == before


def test_three_weights_become_a_whole_bundle(
    trained: Path, tiny_weights: Path, tmp_path: Path, no_export: None
) -> None:
    for part in ("hand", "face"):
        shutil.copyfile(tiny_weights / f"{part}.pt", tmp_path / f"{part}.pt")
    shutil.copyfile(trained / "plain" / "body.pt", tmp_path / "body.pt")
    out = tmp_path / "bundle"
    bundle(tmp_path, out)
    told = BundleConfig.read(out)
    assert (told.name, told.base, told.provenance.keys()) == ("fast", None, {f.name for f in out.glob("*.onnx")})
    assert onnx.load(out / "body_trunk.onnx") == read_trunk(FULL)
    assert onnx.load(out / "hand_trunk.onnx") == read_trunk(packaged_trunk("hand"))
    build_whole(out, tmp_path)
