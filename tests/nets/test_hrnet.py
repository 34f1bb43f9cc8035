"""The body trunk: names and shapes of the released network, its maps and head against plain arithmetic, its weights."""

import copy
import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from openexpose.errors import InputError
from openexpose.nets.hrnet import ExchangeModule, HRNet
from openexpose.nets.onnx_export import PARITY_TOLERANCE, export_onnx, measure_parity, noise_images
from openexpose.nets.resnet import load_trunk_weights

SIDE = 64
SMALL = {"width": 4, "side_px": SIDE, "feature_size": 32}


def released(title: str) -> dict[str, list[int]]:
    """Name -> shape of all weights of a released network that are used."""
    table = json.loads((Path(__file__).parent / "paper_trunk_keys.json").read_text())[title]
    norms = {f"{name}.{word}": [count] for name, count in table["norms"].items() for word in table["norm"]}
    return table["others"] | norms


def lively(net: nn.Module, seed: int = 0) -> nn.Module:
    """Weights that let a picture through, and statistics that are not those of a new network."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.Conv2d):
                fan_in = module.weight[0].numel()
                module.weight.normal_(0, (2 / fan_in) ** 0.5, generator=generator)
                if module.bias is not None:
                    module.bias.normal_(0, 0.1, generator=generator)
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.0, generator=generator)
                module.bias.normal_(0, 0.1, generator=generator)
                module.running_mean.normal_(0, 0.1, generator=generator)
                module.running_var.uniform_(0.8, 1.5, generator=generator)
    return net.eval()


@pytest.fixture
def trunk() -> HRNet:
    return lively(HRNet(**SMALL))


@pytest.fixture
def images() -> Tensor:
    return noise_images(SIDE)[1]["image"]


def normed(x: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    """Batch normalisation by hand."""
    weight, bias, mean, var = (
        state[f"{name}.{word}"].view(-1, 1, 1) for word in ("weight", "bias", "running_mean", "running_var")
    )
    return (x - mean) / (var + 1e-5).sqrt() * weight + bias


def test_names_and_shapes_are_those_of_the_released_network():
    with torch.device("meta"):
        trunk = HRNet()
    assert {name: list(value.shape) for name, value in trunk.state_dict().items()} == released("hrnet_w48")


@pytest.mark.parametrize("width", [18, 32, 48])
def test_the_feature_has_the_same_size_at_every_width(width):
    with torch.device("meta"):
        trunk = HRNet(width)
        seen = trunk(torch.zeros(2, 3, 256, 256))
    assert (trunk.side_px, trunk.feature_size) == (256, 2048)
    assert seen.feature.shape == (2, 2048)


def test_there_is_a_feature_and_nothing_else(trunk, images):
    seen = trunk(images)
    assert seen.feature.shape == (3, 32)
    assert seen.landmarks.shape == (3, 0, 3) and seen.visibility.shape == (3, 0)
    assert seen.world is None and seen.handedness is None
    assert torch.equal(seen.presence, torch.ones(3)) and torch.equal(seen.certainty, seen.presence)


def test_the_head_reads_the_finer_maps_first(trunk, images):
    """By hand from the maps of stage 3: 1/8 halved twice, 1/16 halved once, 1/32; then five blocks and the mean."""
    kept = []
    trunk.stage3.register_forward_hook(lambda _, __, maps: kept.extend(maps))
    with torch.no_grad():
        feature = trunk(images).feature
    state = trunk.state_dict()

    def halved(x: Tensor, conv: str, norm: str) -> Tensor:
        y = functional.conv2d(x, state[f"{conv}.weight"], state.get(f"{conv}.bias"), stride=2, padding=1)
        return normed(y, state, norm).clamp(min=0)

    fine = halved(halved(kept[1], "subsample_3.0", "subsample_3.1"), "subsample_3.3", "subsample_3.4")
    middle = halved(kept[2], "subsample_2.0", "subsample_2.1")
    coarse = halved(kept[2], "transition3.3.0.0", "transition3.3.0.1")
    x = torch.cat([fine, middle, coarse], 1)
    for block in (f"conv_layers.{k}" for k in range(5)):
        y = x
        for k, padding in ((1, 0), (2, 1), (3, 0)):
            y = normed(functional.conv2d(y, state[f"{block}.conv{k}.weight"], padding=padding), state, f"{block}.bn{k}")
            y = y.clamp(min=0) if k < 3 else y
        x = (y + functional.conv2d(x, state[f"{block}.downsample.weight"])).clamp(min=0)
    assert x.shape == (3, 32, 2, 2)
    torch.testing.assert_close(feature, x.mean((2, 3)), atol=1e-5, rtol=1e-5)
    assert feature.std() > 0.01


def test_resolutions_exchange_by_sums():
    """With branches that change nothing: coarse maps are repeated, fine ones convolved with step 2, all added."""
    module = lively(ExchangeModule([2, 4, 8]))
    module.branches = nn.ModuleList(nn.Identity() for _ in range(3))
    generator = torch.Generator().manual_seed(1)
    maps = [torch.randn(2, 2 << k, 8 >> k, 8 >> k, generator=generator) for k in range(3)]
    state = module.state_dict()

    def conv(x: Tensor, name: str, stride: int) -> Tensor:
        weight = state[f"fuse_layers.{name}.0.weight"]
        y = functional.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)
        return normed(y, state, f"fuse_layers.{name}.1")

    def repeated(x: Tensor, times: int) -> Tensor:
        return x.repeat_interleave(times, 2).repeat_interleave(times, 3)

    twice = conv(conv(maps[0], "2.0.0", 2).clamp(min=0), "2.0.1", 2)
    expected = [
        maps[0] + repeated(conv(maps[1], "0.1", 1), 2) + repeated(conv(maps[2], "0.2", 1), 4),
        conv(maps[0], "1.0.0", 2) + maps[1] + repeated(conv(maps[2], "1.2", 1), 2),
        twice + conv(maps[1], "2.1.0", 2) + maps[2],
    ]
    with torch.no_grad():
        for got, want in zip(module(maps), expected, strict=True):
            torch.testing.assert_close(got, want.clamp(min=0), atol=1e-5, rtol=1e-5)


def test_gradients_reach_all_weights_but_those_of_the_finest_map_that_nobody_reads(trunk, images):
    image = images.clone().requires_grad_()
    trunk(image).feature.square().sum().backward()
    assert image.grad.abs().max() > 0
    idle = {name for name, value in trunk.named_parameters() if value.grad is None or not value.grad.any()}
    assert idle == {name for name, _ in trunk.named_parameters() if name.startswith("stage3.3.fuse_layers.0.")}


def test_frozen_normalisations_do_not_move(images):
    trunk = lively(HRNet(**SMALL)).train()
    trunk.freeze_norm()
    before = {name: value.clone() for name, value in trunk.state_dict().items()}
    optimiser = torch.optim.SGD([value for value in trunk.parameters() if value.requires_grad], lr=1e-3)
    trunk(images).feature.sum().backward()
    optimiser.step()
    moved = {name for name, value in trunk.state_dict().items() if not torch.equal(value, before[name])}
    norms = {name for name, module in trunk.named_modules() if isinstance(module, nn.BatchNorm2d)}
    assert "conv_layers.4.conv3.weight" in moved
    assert not {name.rpartition(".")[0] for name in moved} & norms


def test_new_convolutions_are_small_and_have_no_offset():
    torch.manual_seed(0)
    trunk = HRNet(**SMALL)
    values = torch.cat([module.weight.flatten() for module in trunk.modules() if isinstance(module, nn.Conv2d)])
    assert values.std().item() == pytest.approx(0.001, rel=0.02)
    assert not trunk.subsample_2[0].bias.any()


def test_weights_travel_without_counters(trunk):
    other = HRNet(**SMALL)
    load_trunk_weights(other, trunk.state_dict())
    again = copy.deepcopy(HRNet(**SMALL))
    again.load_state_dict(dict(trunk.state_dict()), strict=True)  # a plain dict: torch would add counters
    expected = trunk.state_dict()
    for net in (other, again):
        assert all(torch.equal(value, expected[name]) for name, value in net.state_dict().items())


def imagenet(trunk: HRNet) -> dict[str, Tensor]:
    """What a file of an ImageNet classifier with the weights of this trunk holds."""
    body = {name: value for name, value in trunk.state_dict().items() if not name.startswith(trunk.head)}
    counters = {
        name.replace("running_mean", "num_batches_tracked"): torch.tensor(7) for name in body if "running_mean" in name
    }
    others = (
        "stage4.0.branches.3.0.conv1.weight",
        "stage4.2.fuse_layers.3.0.0.1.num_batches_tracked",
        "incre_modules.0.0.conv1.weight",
        "downsamp_modules.0.0.bias",
        "final_layer.0.weight",
        "classifier.weight",
    )
    return body | counters | {name: torch.zeros(3) for name in others}


def test_an_imagenet_classifier_gives_all_but_the_head(trunk):
    torch.manual_seed(1)
    other = HRNet(**SMALL)
    before = {name: value.clone() for name, value in other.state_dict().items()}
    load_trunk_weights(other, imagenet(trunk), headless=True)
    given = trunk.state_dict()
    for name, value in other.state_dict().items():
        assert torch.equal(value, (before if name.startswith(trunk.head) else given)[name]), name


def test_without_the_head_only_when_asked(trunk):
    with pytest.raises(InputError, match=r"without subsample_3\.0\.weight.*in all.*headless"):
        load_trunk_weights(HRNet(**SMALL), imagenet(trunk))
    state = imagenet(trunk)
    del state["transition3.3.0.0.weight"]
    with pytest.raises(InputError, match=r"without transition3\.3\.0\.0\.weight; expected"):
        load_trunk_weights(HRNet(**SMALL), state, headless=True)


def test_weights_of_another_width_are_refused(trunk):
    with pytest.raises(InputError, match=r"of other shapes: .*\[8, 256, 3, 3\] instead of \[16, 256, 3, 3\].* in all"):
        load_trunk_weights(HRNet(8, SIDE, 32), trunk.state_dict())


class FeatureOnly(nn.Module):
    def __init__(self, trunk: HRNet) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(self, image: Tensor) -> Tensor:
        return self.trunk(image).feature


def test_onnx_computes_the_same(trunk):
    """Of each kind of layer one: exporting all of them takes long and tells nothing else."""
    trunk.stage3, trunk.conv_layers, trunk.layer1 = trunk.stage3[:1], trunk.conv_layers[:2], trunk.layer1[:2]
    for branch in [branch for stage in (trunk.stage2, trunk.stage3) for branch in stage[0].branches]:
        del branch[1:]
    net = FeatureOnly(trunk).eval()
    model = export_onnx(net, {"image": torch.zeros(2, 3, SIDE, SIDE)}, ["feature"], {})
    assert measure_parity(model, net, noise_images(SIDE))["feature"] < PARITY_TOLERANCE


@pytest.mark.parametrize("wrong", [{"side_px": 100}, {"feature_size": 30}])
def test_sizes_that_do_not_divide_are_refused(wrong):
    with pytest.raises(InputError, match="multiples of 32 and 4"):
        HRNet(**{**SMALL, **wrong})
