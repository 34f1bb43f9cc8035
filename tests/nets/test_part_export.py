"""Networks without landmarks as ONNX files, and the folder of a bundle: whole or as it was before."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from tests.nets.tiny_paper import SIDE, trained_parts
from torch import Tensor

from openexpose.errors import InputError
from openexpose.nets import onnx_export
from openexpose.nets.checkpoint import RegressorConfig, build_regressor
from openexpose.nets.hrnet import HRNet
from openexpose.nets.paper import RELEASED_PARTS, paper_mean
from openexpose.nets.part import PartNet
from openexpose.nets.part_export import export_plain_part, write_bundle
from openexpose.nets.resnet import ResNet
from openexpose.predict.bundle import BundleConfig
from openexpose.predict.parts import RECIPES

CONFIG = BundleConfig("made", "freebody", RELEASED_PARTS, None, {"a": "b"}, recipe="paper", weak_camera=True)
MEANS = {part: paper_mean(part) for part in RECIPES["paper"]}


def run(path: Path, **feed: Tensor) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert {entry.name for entry in session.get_inputs()} == set(feed)
    return session.run(None, {name: value.numpy() for name, value in feed.items()})[0]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[PartNet, Path]:
    net, folder = trained_parts()["hand"].train(), tmp_path_factory.mktemp("onnx")
    export_plain_part(net, SIDE["hand"], folder, "by a test")
    return net, folder


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_files_compute_what_the_network_does(exported: tuple[PartNet, Path], count: int) -> None:
    """At any batch size, and without dropout, though the network was in training."""
    net, folder = exported
    generator = torch.Generator().manual_seed(count)
    image = torch.rand(count, 3, 224, 224, generator=generator)
    start = paper_mean("hand") + 0.3 * torch.randn(count, 109, generator=generator)
    with torch.no_grad():
        seen, stages = net.eval()(image, start)
    feature = run(folder / "hand_trunk.onnx", image=image)
    np.testing.assert_allclose(feature, seen.feature, atol=1e-5)
    got = run(folder / "hand_head.onnx", feature=seen.feature, start=start)
    np.testing.assert_allclose(got, stages[-1], atol=1e-5)
    assert np.abs(got - start.numpy()).max() > 0.05


def test_weights_keep_their_precision_and_no_traces_are_left(exported: tuple[PartNet, Path]) -> None:
    """Rounding to half precision, as the default heads do, would not be the released network any more."""
    net, folder = exported
    assert {path.name for path in folder.iterdir()} == {"hand_trunk.onnx", "hand_head.onnx"}
    weight = net.regressor.output_layer.weight.detach()
    assert not torch.equal(weight.half().float(), weight)
    for path in folder.iterdir():
        content = path.read_bytes()
        assert (
            b"by a test" in content and b".py" not in content and str(Path(__file__).parents[2]).encode() not in content
        )


@pytest.mark.slow
@pytest.mark.parametrize("trunk", [HRNet(4, 64, 16), ResNet(18, 64)], ids=["hrnet", "resnet18"])
def test_the_papers_trunks_export(trunk: HRNet | ResNet, tmp_path: Path) -> None:
    config = RegressorConfig("face", trunk.feature_size, 8, feedback=False, recipe="paper")
    export_plain_part(PartNet(RECIPES["paper"]["face"], trunk, build_regressor(config)), 64, tmp_path, "")
    image = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = trunk.eval()(image).feature
    np.testing.assert_allclose(run(tmp_path / "face_trunk.onnx", image=image), expected, atol=1e-4)


def test_files_that_compute_something_else_are_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_export, "PARITY_TOLERANCE", -1.0)
    with pytest.raises(InputError, match=r"differences .* for hand_trunk\.onnx"):
        export_plain_part(trained_parts()["hand"], SIDE["hand"], tmp_path, "")
    assert not any(tmp_path.iterdir())


def fill(content: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / "body_trunk.onnx").write_bytes(content) and None


def test_a_bundle_reads_back(tmp_path: Path) -> None:
    out = tmp_path / "new" / "bundle"
    write_bundle(out, CONFIG, MEANS, fill(b"net"))
    assert BundleConfig.read(out) == CONFIG
    assert {path.name for path in out.iterdir()} == {"bundle.json", "means.npz", "body_trunk.onnx"}
    with np.load(out / "means.npz") as content:
        assert set(content.files) == set(MEANS)
        assert all(np.array_equal(content[part], mean) for part, mean in MEANS.items())


def test_bundle_json_is_json_for_everybody(tmp_path: Path) -> None:
    """No NaN and no Infinity, which only Python's reader takes."""
    write_bundle(tmp_path, CONFIG, MEANS, fill(b"net"))

    def refuse(word: str) -> None:
        raise AssertionError(word)

    json.loads((tmp_path / "bundle.json").read_text("utf-8"), parse_constant=refuse)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), InputError("a", "b"), KeyboardInterrupt()])
def test_after_an_error_the_old_bundle_is_as_it_was(tmp_path: Path, error: BaseException) -> None:
    write_bundle(tmp_path, CONFIG, MEANS, fill(b"old"))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def fail(folder: Path) -> None:
        (folder / "body_trunk.onnx").write_bytes(b"half")
        raise error

    with pytest.raises(InputError if isinstance(error, OSError) else type(error)):
        write_bundle(tmp_path, CONFIG, {}, fail)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_place_that_cannot_be_written_to_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for out in (tmp_path / "file", tmp_path / "file" / "bundle"):
        with pytest.raises(InputError, match="where no bundle can be written"):
            write_bundle(out, CONFIG, MEANS, fill(b""))
