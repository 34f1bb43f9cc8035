"""The body trunk of the fast bundle: its own evidence, training on it, and bundles with the default as their base."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from openexpose.errors import InputError
from openexpose.nets.branch import CUTS, Branch
from openexpose.nets.build import build_part, build_whole
from openexpose.nets.checkpoint import read_config
from openexpose.nets.trunk import OnnxTrunk
from openexpose.nets.trunk_file import read_trunk
from openexpose.predict.bundle import BundleConfig, default_bundle, packaged_trunk
from openexpose.predict.pipeline import Predictor
from openexpose.training import export
from openexpose.training.evidence import await_evidence, cache_evidence, evidence_path, load_evidence, map_path
from openexpose.training.export import bundle
from openexpose.training.recipes import DataSet, TrainConfig, train

COUNT = 12
FULL = packaged_trunk("body", "full")


def config(shards: Path, out: Path, **options: object) -> TrainConfig:
    options = {"steps": 1, "batch": 4, "hidden": 8, "held_out": 0.3, "feedback": False, "trunk": "full"} | options
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


def test_a_branch_of_the_full_trunk_says_at_first_what_the_trunk_says() -> None:
    trunk = OnnxTrunk(FULL)
    image = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        seen, maps = trunk.see(image, CUTS["full"])
        assert [tuple(some.shape[1:]) for some in maps] == [(88, 16, 16)]
        torch.testing.assert_close(Branch(trunk, CUTS["full"])(*maps), seen.feature)


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
    assert load_evidence(path).feature.shape == (2, 4) and load_evidence(path, "full").feature.shape == (2, 1152)


def test_training_on_the_full_trunk_leaves_the_defaults_files_alone(trained: Path, shard: Path) -> None:
    assert evidence_path(shard, "full").is_file() and map_path(shard, "add_365").is_file()
    assert not evidence_path(shard).exists()
    for name in ("plain", "tuned"):
        told = read_config(trained / name / "body.pt")
        assert (told.trunk, told.tuned, told.evidence) == ("full", name == "tuned", 1425 + 1152 * (name == "tuned"))
        assert build_part("body", FULL, trained / name / "body.pt").trunk.side_px == 256


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
