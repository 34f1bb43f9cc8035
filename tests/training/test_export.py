"""Export: the ONNX heads are the checkpoints, nothing unproven is written, and a bundle is a folder that predicts."""

import json
import shutil
from importlib.resources import files
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from openexpose.errors import InputError
from openexpose.nets import paper, part_export
from openexpose.nets.checkpoint import RegressorConfig, build_regressor, load_regressor
from openexpose.nets.onnx_export import PARITY_TOLERANCE, measure_parity, write_checked
from openexpose.nets.paper import PAPER_PARTS, PaperPartConfig, build_paper_part, save_paper_part
from openexpose.nets.part_export import example_inputs, export_head
from openexpose.nets.regressor import Evidence
from openexpose.nets.resnet import ConvTrunk
from openexpose.nets.trunk import TrunkOutput
from openexpose.nets.trunk_file import read_trunk
from openexpose.predict.bundle import BundleConfig, default_bundle
from openexpose.predict.parts import SPECS
from openexpose.predict.pipeline import Predictor
from openexpose.training import export
from openexpose.training.export import DEFAULT_PARTS, DETECTOR, TRUNK_ORIGINS, bundle, recipe_of

PARTS = pytest.mark.parametrize("part", SPECS)
EVIDENCE = {"body": 1425, "hand": 1299, "face": 2200}


@PARTS
def test_a_bundles_heads_are_the_checkpoints(tiny_weights: Path, tiny_bundle: Path, part: str) -> None:
    regressor, _ = load_regressor(tiny_weights / f"{part}.pt")
    model = onnx.load(tiny_bundle / f"{part}_head.onnx")
    batches = [example_inputs(part, count, seed=10 + count) for count in (1, 2, 5)]
    assert max(measure_parity(model, part_export._Head(regressor).eval(), batches).values()) < PARITY_TOLERANCE
    with np.load(tiny_bundle / "means.npz", allow_pickle=False) as means:
        np.testing.assert_array_equal(means[part], regressor.mean.numpy())
    assert "made" in {prop.key: prop.value for prop in model.metadata_props}["origin"]


@PARTS
def test_example_inputs_are_what_a_trunk_gives(part: str) -> None:
    inputs = example_inputs(part, 2)
    read = {name: value for name, value in inputs.items() if name != "start"}
    assert sum(value[0].numel() for value in read.values()) == EVIDENCE[part]
    assert inputs["start"].shape == (2, SPECS[part].size)
    torch.testing.assert_close(example_inputs(part, 2), inputs)
    assert example_inputs(part, 2, more=7)["feature"].shape[1] == inputs["feature"].shape[1] + 7


@pytest.mark.parametrize(("part", "canonical"), [("hand", False), ("face", True)])
def test_a_head_reads_as_much_more_as_its_regressor(tmp_path: Path, part: str, canonical: bool) -> None:
    """However long a tuned trunk's feature is."""
    torch.manual_seed(0)
    plain = example_inputs(part)
    numbers = Evidence.raw(as_seen(plain), canonical).shape[1] + 7
    config = RegressorConfig(part, numbers, hidden=8, stages=1, feedback=False, canonical=canonical)
    regressor = build_regressor(config).eval()
    torch.nn.init.normal_(regressor.output_layer.weight, std=0.05)
    assert max(export_head(regressor, part, tmp_path / "head.onnx").values()) < PARITY_TOLERANCE
    session = onnxruntime.InferenceSession(str(tmp_path / "head.onnx"))
    lengths = {entry.name: entry.shape[1] for entry in session.get_inputs()}
    assert lengths["feature"] == plain["feature"].shape[1] + 7
    inputs = example_inputs(part, 3, seed=4, more=7)
    with torch.no_grad():
        expected = regressor(as_seen(inputs), inputs["start"])[-1]
    got = session.run(None, {name: value.numpy() for name, value in inputs.items() if name in lengths})[0]
    np.testing.assert_allclose(got, expected, atol=1e-4)


def as_seen(inputs: dict[str, torch.Tensor]) -> TrunkOutput:
    visibility = inputs["visibility"]
    return TrunkOutput(inputs["feature"], inputs["landmarks"], visibility, inputs.get("world"), visibility[:, 0])


def test_a_disturbed_model_is_refused_and_nothing_written(
    tiny_weights: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    regressor, _ = load_regressor(tiny_weights / "hand.pt")
    model, batches = onnx.load(tiny_bundle / "hand_head.onnx"), [example_inputs("hand", 2)]
    head, path = part_export._Head(regressor).eval(), tmp_path / "new" / "hand_head.onnx"
    write_checked(model, head, batches, path)
    assert onnx.load(path) == model and [file.name for file in path.parent.iterdir()] == [path.name]
    with torch.no_grad():
        regressor.output_layer.bias[3] += 0.01
    before = path.read_bytes()
    for refused in (path, tmp_path / "other.onnx"):
        with pytest.raises(InputError, match=r"differences .*0\.0"):
            write_checked(model, head, batches, refused)
    assert path.read_bytes() == before and not (tmp_path / "other.onnx").exists()
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_weights_are_rounded_to_float16(tmp_path: Path) -> None:
    torch.manual_seed(0)
    regressor = build_regressor(RegressorConfig("face", EVIDENCE["face"], hidden=8, stages=1, feedback=False)).eval()
    before = [parameter.detach().clone() for parameter in regressor.parameters()]
    parity = export_head(regressor, "face", tmp_path / "face_head.onnx", "made by a test")
    assert max(parity.values()) < PARITY_TOLERANCE
    for parameter, exact in zip(regressor.parameters(), before, strict=True):
        torch.testing.assert_close(parameter, exact.half().float(), atol=0, rtol=0)
    initializers = onnx.load(tmp_path / "face_head.onnx").graph.initializer
    halves = {tuple(sorted(i.dims)) for i in initializers if i.data_type == onnx.TensorProto.FLOAT16}
    assert {(8, EVIDENCE["face"]), (8, SPECS["face"].size)} <= halves


def test_a_bundle_is_a_folder_that_predicts(tiny_bundle: Path) -> None:
    predictor, config = Predictor.load(tiny_bundle), BundleConfig.read(tiny_bundle)
    assert (config.name, config.body_model, config.parts) == ("tiny", "freebody", DEFAULT_PARTS)
    names = {f"{part}_{kind}.onnx" for part in SPECS for kind in ("trunk", "head")} | {"detector.onnx"}
    assert {path.name for path in tiny_bundle.iterdir()} == {*names, "means.npz", "bundle.json"}
    assert all("Apache-2.0" in config.provenance[name] for name in names)
    for name in set(TRUNK_ORIGINS) - {DETECTOR}:
        assert onnx.load(tiny_bundle / name) == read_trunk(default_bundle() / name)
    assert (tiny_bundle / DETECTOR).read_bytes() == (default_bundle() / DETECTOR).read_bytes()
    people = predictor(np.zeros((64, 64, 3), np.uint8), boxes=np.zeros((0, 4)))
    assert len(people) == 0


@pytest.fixture
def no_export(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "export_head", lambda regressor, part, path, origin, **_: path.write_bytes(b""))


def test_a_missing_checkpoint_is_told(tmp_path: Path, no_export: None) -> None:
    with pytest.raises(InputError, match=r"body\.pt.*openexpose train"):
        bundle(tmp_path / "weights", tmp_path / "out")
    assert not (tmp_path / "out" / "bundle.json").exists()


def test_a_checkpoint_under_anothers_name_is_told(tiny_weights: Path, tmp_path: Path, no_export: None) -> None:
    (tmp_path / "weights").mkdir()
    for part, name in (("body", "body"), ("face", "hand"), ("hand", "face")):
        shutil.copyfile(tiny_weights / f"{part}.pt", tmp_path / "weights" / f"{name}.pt")
    with pytest.raises(InputError, match=r"hand\.pt', which is a checkpoint of the part 'face'"):
        bundle(tmp_path / "weights", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_told_before_the_work(tiny_weights: Path, tmp_path: Path, monkeypatch):
    exported: list[str] = []
    monkeypatch.setattr(export, "export_head", lambda regressor, part, path, origin, **_: exported.append(part))
    (tmp_path / "file").write_text("precious")
    for out in (tmp_path / "file", tmp_path / "file" / "out"):
        with pytest.raises(InputError, match="no bundle can be written"):
            bundle(tiny_weights, out)
    assert not exported and (tmp_path / "file").read_text() == "precious"


@pytest.mark.parametrize("at", ["face_head.onnx", "detector.onnx", "means.npz"])
def test_a_failure_midway_leaves_the_old_bundle(
    tiny_weights: Path, tmp_path: Path, no_export: None, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    bundle(tiny_weights, tmp_path / "out", name="old")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}

    def full(path: Path) -> None:
        Path(path).write_bytes(b"half")
        if Path(path).name == at:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(export, "export_head", lambda regressor, part, path, origin, **_: full(path))
    monkeypatch.setattr(export.shutil, "copyfile", lambda source, path: full(path))
    monkeypatch.setattr(part_export.np, "savez", lambda path, **arrays: full(path))
    with pytest.raises(InputError, match="No space left on device"):
        bundle(tiny_weights, tmp_path / "out", name="new")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


@pytest.mark.parametrize("missing", TRUNK_ORIGINS)
def test_a_missing_trunk_is_told(tiny_weights: Path, tmp_path: Path, no_export: None, missing: str) -> None:
    trunks = tmp_path / "trunks"
    trunks.mkdir()
    for name in set(TRUNK_ORIGINS) - {missing}:
        (trunks / name).write_bytes(b"a network")
    with pytest.raises(InputError, match=f"trunks' without {missing}"):
        bundle(tiny_weights, tmp_path / "out", trunks=trunks)
    assert not (tmp_path / "out" / "bundle.json").exists()


def test_trunks_may_lie_in_the_bundle_itself(tiny_weights: Path, tmp_path: Path, no_export: None) -> None:
    for name in TRUNK_ORIGINS:
        shutil.copyfile(default_bundle() / name, tmp_path / name)
    bundle(tiny_weights, tmp_path, name="again", trunks=tmp_path)
    assert (tmp_path / DETECTOR).read_bytes() == (default_bundle() / DETECTOR).read_bytes()
    for name in set(TRUNK_ORIGINS) - {DETECTOR}:
        assert onnx.load(tmp_path / name) == read_trunk(default_bundle() / name)
    assert BundleConfig.read(tmp_path).name == "again"


class TinyTrunk(ConvTrunk):
    """Two strided convolutions."""

    def __init__(self, side_px: int) -> None:
        super().__init__(side_px, 6)
        self.layers = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 8, 8), torch.nn.ReLU(), torch.nn.Conv2d(4, 6, 8, 8))

    def feature_map(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


@pytest.fixture
def paper_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Run folders of the paper's recipe with small trunks."""
    monkeypatch.setitem(paper.TRUNKS, "tiny", TinyTrunk)
    for seed, part in enumerate(SPECS):
        torch.manual_seed(seed)
        net = build_paper_part(part, "tiny")
        torch.nn.init.normal_(net.regressor.output_layer.weight, std=0.02)
        path = tmp_path / "runs" / part / f"{part}.pt"
        save_paper_part(path, net, PaperPartConfig(part, "tiny"), {"made": "by a test"})
    return tmp_path / "runs"


def test_weights_of_the_paper_recipe_become_a_bundle_that_predicts(paper_weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    bundle(paper_weights, out)
    config = BundleConfig.read(out)
    assert (config.name, config.recipe, config.weak_camera, config.parts) == ("paper", "paper", True, PAPER_PARTS)
    assert config.body_model == "freebody" and "tiny" in config.provenance["hand_trunk.onnx"]
    names = {f"{part}_{kind}.onnx" for part in SPECS for kind in ("trunk", "head")} | {"detector.onnx"}
    assert {path.name for path in out.iterdir()} == {*names, "means.npz", "bundle.json"} and names == set(
        config.provenance
    )

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    json.loads((out / "bundle.json").read_text(), parse_constant=refuse)

    predictor = Predictor.load(out, threads=1)
    pixels = np.random.default_rng(0).integers(0, 256, (80, 60, 3), np.uint8)
    people = predictor(pixels, boxes=np.array([[5.0, 5.0, 55.0, 75.0]]))
    assert len(people) == 1 and np.isfinite(predictor.mesh(people)).all()


def test_a_paper_bundle_holds_the_users_body_model(paper_weights: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(export, "export_plain_part", lambda net, side_px, folder, origin: None)
    body, out = tmp_path / "mine.npz", tmp_path / "bundle"
    shutil.copyfile(str(files("openexpose.body") / "data" / "SMPLX_FREEBODY.npz"), body)
    bundle(paper_weights, out, name="own", body_model=body)
    config = BundleConfig.read(out)
    assert (config.name, config.body_model) == ("own", "body_model.npz")
    assert "owned by the user" in config.provenance["body_model.npz"]
    assert (out / "body_model.npz").read_bytes() == body.read_bytes()


def test_what_does_not_fit_a_recipe_is_told(paper_weights: Path, tiny_weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    with pytest.raises(InputError, match="free body"):
        bundle(tiny_weights, out, body_model=tmp_path / "body.npz")
    with pytest.raises(InputError, match=r"body\.npz"):
        bundle(paper_weights, out, body_model=tmp_path / "body.npz")
    with pytest.raises(InputError, match=r"without detector\.onnx"):
        bundle(paper_weights, out, trunks=tmp_path)
    (paper_weights / "hand" / "hand.pt").unlink()
    shutil.copyfile(tiny_weights / "hand.pt", paper_weights / "hand" / "hand.pt")
    with pytest.raises(InputError, match=r"several recipes \(body: paper, hand: default, face: paper\)"):
        bundle(paper_weights, out)
    assert not out.exists()


def test_the_recipe_of_a_checkpoint(paper_weights: Path, tiny_weights: Path, tmp_path: Path) -> None:
    assert recipe_of(paper_weights / "face" / "face.pt") == "paper" and recipe_of(tiny_weights / "face.pt") == "default"
    torch.save({"config": {"recipe": "soup"}}, tmp_path / "soup.pt")
    torch.save({"config": {"part": "hand"}}, tmp_path / "old.pt")
    assert recipe_of(tmp_path / "old.pt") == "default"
    with pytest.raises(InputError, match="the recipe 'soup'"):
        recipe_of(tmp_path / "soup.pt")
    (tmp_path / "soup.pt").write_bytes(b"noodles")
    with pytest.raises(InputError, match="does not load"):
        recipe_of(tmp_path / "soup.pt")
