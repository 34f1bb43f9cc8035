"""The trunk of hands and head, what all convolutional trunks share, and files of weights."""

import argparse
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from openexpose.errors import InputError
from openexpose.nets.onnx_export import PARITY_TOLERANCE, export_onnx, measure_parity, noise_images
from openexpose.nets.resnet import IMAGE_MEAN, Bottleneck, ResNet, load_trunk_weights, read_trunk_file

SIDE = 64


@pytest.fixture
def trunk() -> ResNet:
    torch.manual_seed(0)
    trunk = ResNet(18, SIDE)
    for norm in trunk.norms():
        nn.init.normal_(norm.running_mean, std=0.1)
        nn.init.uniform_(norm.running_var, 0.8, 1.5)
    return trunk.eval()


@pytest.fixture
def images() -> Tensor:
    return noise_images(SIDE)[1]["image"]


def empty(depth: int) -> ResNet:
    with torch.device("meta"):
        return ResNet(depth)


def test_names_and_shapes_are_those_of_the_released_networks():
    table = json.loads((Path(__file__).parent / "paper_trunk_keys.json").read_text())["resnet18"]
    expected = dict(table["others"])
    for name, count in table["norms"].items():
        expected |= {f"{name}.{word}": [] if word.startswith("num") else [count] for word in table["norm"]}
    assert {name: list(value.shape) for name, value in empty(18).state_dict().items()} == expected


@pytest.mark.parametrize(("depth", "size", "millions"), [(18, 512, 11.177), (34, 512, 21.285), (50, 2048, 23.508)])
def test_depths_have_their_known_numbers_of_weights(depth, size, millions):
    trunk = empty(depth)
    assert trunk.feature_size == size
    assert sum(value.numel() for value in trunk.parameters()) / 1e6 == pytest.approx(millions, abs=1e-3)
    with torch.device("meta"):
        assert trunk(torch.zeros(2, 3, 224, 224)).feature.shape == (2, size)


def test_an_unknown_depth_is_refused():
    with pytest.raises(InputError, match="depth 20"):
        ResNet(20)


def test_there_is_a_feature_and_nothing_else(trunk, images):
    seen = trunk(images)
    assert seen.feature.shape == (3, 512)
    assert seen.landmarks.shape == (3, 0, 3) and seen.visibility.shape == (3, 0)
    assert seen.world is None and seen.handedness is None
    assert torch.equal(seen.certainty, torch.ones(3))


@pytest.mark.parametrize("shape", [(1, 3, 32, 32), (1, 1, SIDE, SIDE), (3, SIDE, SIDE)])
def test_a_wrong_shape_is_refused(trunk, shape):
    with pytest.raises(InputError, match="resample"):
        trunk(torch.zeros(shape))


def test_colours_are_normalised_inside(trunk):
    """The mean colour is zero to the network; the constants are no weights."""
    mean = torch.tensor(IMAGE_MEAN).view(3, 1, 1).expand(1, 3, SIDE, SIDE)
    with torch.no_grad():
        expected = trunk.feature_map(torch.zeros(1, 3, SIDE, SIDE)).mean((2, 3))
        torch.testing.assert_close(trunk(mean).feature, expected)
    assert not any("image" in name for name in trunk.state_dict())


def test_against_plain_arithmetic(trunk, images):
    """The layers of ResNet-18 one by one, from its weights."""
    state = trunk.state_dict()

    def conv(x: Tensor, name: str, norm: str, stride: int) -> Tensor:
        weight = state[f"{name}.weight"]
        y = functional.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)
        statistics = (state[f"{norm}.{word}"] for word in ("running_mean", "running_var", "weight", "bias"))
        return functional.batch_norm(y, *statistics)

    x = (images - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    x = functional.max_pool2d(conv(x, "conv1", "bn1", 2).relu(), 3, 2, 1)
    for layer in (1, 2, 3, 4):
        for block in (0, 1):
            name, stride = f"layer{layer}.{block}", 2 if layer > 1 and block == 0 else 1
            y = conv(conv(x, f"{name}.conv1", f"{name}.bn1", stride).relu(), f"{name}.conv2", f"{name}.bn2", 1)
            shortcut = conv(x, f"{name}.downsample.0", f"{name}.downsample.1", 2) if stride == 2 else x
            x = (y + shortcut).relu()
    with torch.no_grad():
        torch.testing.assert_close(trunk(images).feature, x.mean((2, 3)), atol=1e-4, rtol=1e-4)


def test_the_middle_convolution_of_a_bottleneck_takes_the_step():
    trunk = empty(50)
    block = trunk.layer2[0]
    assert isinstance(block, Bottleneck)
    assert [conv.stride[0] for conv in (block.conv1, block.conv2, block.conv3)] == [1, 2, 1]


def test_pictures_of_a_batch_do_not_mix(trunk, images):
    with torch.no_grad():
        torch.testing.assert_close(trunk(images).feature[1:2], trunk(images[1:2]).feature, atol=1e-5, rtol=1e-5)


def test_gradients_reach_the_picture_and_all_weights(trunk, images):
    image = images.clone().requires_grad_()
    trunk(image).feature.square().sum().backward()
    assert image.grad.abs().max() > 0
    assert all(value.grad is not None and value.grad.any() for value in trunk.parameters())


def test_frozen_normalisations_do_not_move(trunk, images):
    def statistics() -> list[Tensor]:
        return [value.clone() for norm in trunk.norms() for value in norm.state_dict().values()]

    before = statistics()
    trunk.freeze_norm()
    nn.Sequential(trunk).train()
    trunk(images)
    assert trunk.training and not any(norm.training for norm in trunk.norms())
    assert all(torch.equal(a, b) for a, b in zip(before, statistics(), strict=True))
    assert {name for name, value in trunk.named_parameters() if not value.requires_grad} == {
        f"{name}.{word}"
        for name, module in trunk.named_modules()
        if isinstance(module, nn.BatchNorm2d)
        for word in ("weight", "bias")
    }


def test_other_normalisations_move(trunk, images):
    before = trunk.bn1.running_mean.clone()
    trunk.train()(images)
    assert not torch.equal(trunk.bn1.running_mean, before)


def test_onnx_computes_the_same(trunk):
    class FeatureOnly(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk = trunk

        def forward(self, image: Tensor) -> Tensor:
            return self.trunk(image).feature

    net = FeatureOnly().eval()
    model = export_onnx(net, {"image": torch.zeros(2, 3, SIDE, SIDE)}, ["feature"], {})
    assert measure_parity(model, net, noise_images(SIDE))["feature"] < PARITY_TOLERANCE


def published(trunk: ResNet) -> dict[str, Tensor]:
    """The weights as in a file of an old ImageNet classifier: with its last layer, without counters."""
    state = {name: value for name, value in trunk.state_dict().items() if "num_batches" not in name}
    return state | {"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}


def test_a_classifier_is_loaded_without_its_last_layer(trunk):
    other = ResNet(18, SIDE)
    load_trunk_weights(other, published(trunk))
    expected = trunk.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in other.state_dict().items())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda state: state.pop("bn1.running_var"), "without bn1.running_var; expected those of a ResNet"),
        (lambda state: state.update({"layer5.weight": torch.zeros(1)}), "with the unknown layer5.weight;"),
        (lambda state: state.update({"layer5.num_batches_tracked": torch.tensor(0)}), "unknown layer5.num"),
        (
            lambda state: state.update({"bn1.bias": torch.zeros(3)}),
            r"of other shapes: bn1.bias \[3\] instead of \[",
        ),
        (lambda state: [state.pop(name) for name in list(state) if "conv" in name], r"layer2\.0\.conv2.*\(17 in all\)"),
    ],
    ids="gone unknown unknown-counter resized many".split(),
)
def test_loading_is_strict_and_all_or_nothing(trunk, change, told):
    state = published(trunk)
    change(state)
    other = ResNet(18, SIDE)
    before = {name: value.clone() for name, value in other.state_dict().items()}
    with pytest.raises(InputError, match=told):
        load_trunk_weights(other, state, headless=True)
    assert all(torch.equal(value, before[name]) for name, value in other.state_dict().items())


STATE: dict[str, Tensor] = {"conv1.weight": torch.arange(3.0), "bn1.bias": torch.ones(2)}


@pytest.mark.parametrize("key", [None, "state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_weights_are_found_in_files(tmp_path, key, prefix):
    content = {prefix + name: value for name, value in STATE.items()}
    torch.save({key: content, "iteration": 3} if key else content, tmp_path / "a.pth")
    got = read_trunk_file(tmp_path / "a.pth")
    assert list(got) == list(STATE) and all(torch.equal(got[name], STATE[name]) for name in STATE)


def test_a_first_word_that_only_some_share_stays(tmp_path):
    torch.save({"module.a": torch.ones(1), "b": torch.ones(1)}, tmp_path / "a.pth")
    assert set(read_trunk_file(tmp_path / "a.pth")) == {"module.a", "b"}


class Intruder:
    """Would run code when it is unpickled."""

    ran: ClassVar[list[str]] = []

    def __reduce__(self) -> tuple[object, ...]:
        return Intruder.ran.append, ("ran",)


@pytest.mark.parametrize(
    "content",
    [{}, [torch.ones(1)], {"a": 1.0}, {1: torch.ones(1)}, {"model": {}}, {"model": 3}, torch.ones(2), Intruder()],
    ids="empty list number unnamed empty-model no-model tensor code".split(),
)
def test_other_content_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(InputError, match=r"a\.pth', which .*a PyTorch file of named weights"):
        read_trunk_file(tmp_path / "a.pth")
    assert not Intruder.ran


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04" + bytes(40), pickle.dumps({"a": 1}, 2)])
def test_damaged_and_missing_files_are_refused(tmp_path, content):
    (tmp_path / "a.pth").write_bytes(content)
    torch.save(STATE, tmp_path / "b.pth")
    (tmp_path / "b.pth").write_bytes((tmp_path / "b.pth").read_bytes()[:-200])
    for name in ("a.pth", "b.pth", "none.pth", ""):
        with pytest.raises(InputError, match=r"which does not load|not a file|something else") as error:
            read_trunk_file(tmp_path / name)
        assert "\n" not in str(error.value) and not error.value.fix


@pytest.mark.parametrize("text", ["hello\n", "import os\n", "cargparse\nNamespace\n.", "class Net:\n    pass\n"])
def test_a_text_is_not_advised_to_be_run(tmp_path: Path, text: str) -> None:
    """Not even where its first letters are words of the language of pickles."""
    (tmp_path / "notes.pth").write_text(text)
    with pytest.raises(InputError, match=r"does not load \(damaged, or not a PyTorch file\)") as error:
        read_trunk_file(tmp_path / "notes.pth")
    assert not error.value.fix


class Shell:
    """Would run a program when it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("false",)


def test_what_is_known_to_run_programs_is_not_advised_to_be_run(tmp_path: Path) -> None:
    torch.save({"model": {"fc.weight": torch.ones(2)}, "more": Shell()}, tmp_path / "a.pth")
    with pytest.raises(InputError, match=rf"more than weights: {os.name}\.system\)") as error:
        read_trunk_file(tmp_path / "a.pth")
    assert not error.value.fix


def test_numbers_of_numpy_beside_the_weights_are_read_over(tmp_path: Path) -> None:
    state = {"fc.weight": torch.ones(2)}
    beside = {"epoch": np.int64(3), "best": np.float64(0.5), "loss": np.float32(1.0)}
    torch.save({"model": state, **beside}, tmp_path / "model.ckpt")
    torch.testing.assert_close(read_trunk_file(tmp_path / "model.ckpt"), state)


def test_a_file_with_more_than_weights_is_refused_with_the_way_to_rewrite_it(tmp_path: Path) -> None:
    path = tmp_path / "model.ckpt"
    torch.save({"model": {"fc.weight": torch.ones(2)}, "options": argparse.Namespace(lr=1)}, path)
    with pytest.raises(InputError, match=r"does not load \(it holds more than weights: argparse\.Namespace\)") as error:
        read_trunk_file(path)
    assert "trust" in error.value.fix
    program = error.value.fix.split('python -c "')[1].rstrip('"')
    subprocess.run([sys.executable, "-c", program], check=True)
    assert set(read_trunk_file(tmp_path / "model.ckpt.weights")) == {"fc.weight"}
