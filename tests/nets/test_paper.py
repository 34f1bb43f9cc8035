"""The paper's networks: sizes, order and start of the vectors, files, and the whole network in both runtimes."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.conftest import EXAMPLE, EXAMPLE_BOXES
from tests.nets.tiny_paper import FEATURES, trained_parts, write_paper_bundle
from torch import Tensor, nn

from openexpose.body.keypoints import JOINT_FLIP
from openexpose.body.model import BodyModel, load_body_model
from openexpose.errors import InputError
from openexpose.image.read import read_image
from openexpose.nets.attention import Crops
from openexpose.nets.decode import decode
from openexpose.nets.hrnet import HRNet
from openexpose.nets.merge import PinholeCamera, mirror_rotation
from openexpose.nets.paper import (
    PAPER_PARTS,
    RELEASED_PARTS,
    PaperPartConfig,
    build_paper_part,
    build_paper_whole,
    load_paper_part,
    paper_mean,
    save_paper_part,
)
from openexpose.nets.resnet import ResNet
from openexpose.nets.whole import WholeBodyNet
from openexpose.predict.bundle import PartConfig
from openexpose.predict.parts import RECIPES, split
from openexpose.predict.pipeline import Predictor

BOXES = torch.tensor(EXAMPLE_BOXES, dtype=torch.float32)
CONFIGS = {"ours": PAPER_PARTS, "released": RELEASED_PARTS}


@pytest.mark.parametrize(
    ("part", "trunk", "kind", "read", "size"),
    [
        ("body", None, HRNet, 2389, 341),
        ("hand", None, ResNet, 621, 109),
        ("face", None, ResNet, 677, 165),
        ("hand", "resnet50", ResNet, 2048 + 109, 109),
        ("face", "resnet50", ResNet, 2048 + 165, 165),
        ("body", "hrnet_w18", HRNet, 2389, 341),
    ],
)
def test_sizes(part: str, trunk: str | None, kind: type, read: int, size: int) -> None:
    """The regressor reads feature and parameters, in two hidden layers of 1024; three stages."""
    with torch.device("meta"):
        net = build_paper_part(part, trunk)
    regressor = net.regressor
    assert isinstance(net.trunk, kind) and net.trunk.feature_size == regressor.read.in_features
    assert regressor.read.in_features + regressor.state.in_features == read
    assert regressor.state.in_features == regressor.output_layer.out_features == size == net.spec.size
    linear = [layer for layer in regressor.mlp if isinstance(layer, nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in linear] == [(1024, 1024)]
    assert regressor.stages == 3 and regressor.feedback is None
    active = [layer for layer in regressor.mlp if isinstance(layer, nn.ReLU)]
    assert len(active) == (0 if part == "body" else 2)
    assert [layer.p for layer in regressor.mlp if isinstance(layer, nn.Dropout)] == [0.5, 0.5]


def test_the_crops_are_the_papers() -> None:
    for configs in CONFIGS.values():
        assert {part: (c.size, c.crop_scale) for part, c in configs.items()} == {
            "body": (256, 1.2),
            "hand": (224, 3.0),
            "face": (256, 2.0),
        }
        assert not any(c.upright or c.wider or c.looks > 1 or c.min_presence for c in configs.values())


def test_unknown_names_are_told() -> None:
    with pytest.raises(InputError, match="the part 'foot'"):
        build_paper_part("foot")
    with pytest.raises(InputError, match=r"the trunk 'resnet19'.*resnet50"):
        build_paper_part("hand", "resnet19")


@pytest.mark.parametrize(
    ("part", "slots", "coefficients"),
    [
        ("body", [0, *range(1, 22), *range(25, 40), *range(40, 55), 22], (10, 10)),
        ("hand", [0, *range(40, 55)], (10, 0)),
        ("face", [0, 22], (100, 50)),
    ],
)
def test_the_order_of_a_vector(part: str, slots: list[int], coefficients: tuple[int, int]) -> None:
    """Body: orientation, body, left hand, right hand, jaw; all: rotations, betas, expression, camera."""
    spec = RECIPES["paper"][part]
    assert list(spec.pose_slots) == slots
    numbers = torch.arange(float(spec.size))[None]
    rotations, betas, expression, camera = split(numbers, spec)
    assert (betas.shape[1], expression.shape[1], camera.shape[1]) == (*coefficients, 3)
    in_order = torch.cat([rotations.flatten(1), betas, expression, camera], 1)
    assert torch.equal(in_order, numbers) and rotations.shape[1] == len(slots)


@pytest.mark.parametrize(("part", "raw_scale"), [("body", 0.378164), ("hand", 0.378164), ("face", 7.999664)])
def test_the_mean(part: str, raw_scale: float) -> None:
    """At rest, facing the camera (the hand: identity), the camera's mean scale; a mean is where a network starts."""
    mean, spec = paper_mean(part)[None], RECIPES["paper"][part]
    sixd, betas, expression, camera = split(mean, spec)
    upright = [1, 0, 0, 1, 0, 0] if part == "hand" else [1, 0, 0, -1, 0, 0]
    assert sixd[0, 0].tolist() == upright and (sixd[0, 1:] == torch.tensor([1.0, 0, 0, 1, 0, 0])).all()
    assert not betas.any() and not expression.any()
    torch.testing.assert_close(camera[0], torch.tensor([raw_scale, 0.0, 0.0]), atol=1e-6, rtol=0)
    torch.testing.assert_close(
        decode(mean, spec).camera[0, 0].item(), 8.0 if part == "face" else 0.9, atol=1e-5, rtol=0
    )


def test_a_fresh_network_starts_at_the_mean() -> None:
    net = build_paper_part("hand").eval()
    torch.testing.assert_close(net.regressor.mean, paper_mean("hand"))
    with torch.no_grad():
        _, stages = net(torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0)))
    assert (stages[-1][0] - paper_mean("hand")).abs().max() < 0.2  # the last layer's gain is 0.01


@pytest.fixture(scope="module")
def hand_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(3)
    path = tmp_path_factory.mktemp("part") / "hand.pt"
    save_paper_part(path, build_paper_part("hand"), PaperPartConfig("hand", "resnet18"), {"made": "by a test"})
    return path


def test_what_is_saved_comes_back(hand_file: Path) -> None:
    net, config, provenance = load_paper_part(hand_file, "hand")
    assert config == PaperPartConfig("hand", "resnet18") and provenance == {"made": "by a test"}
    torch.manual_seed(3)
    before = build_paper_part("hand").state_dict()
    after = net.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    assert not net.training and {path.name for path in hand_file.parent.iterdir()} == {"hand.pt"}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda c: c["state"].pop("trunk.layer1.0.conv1.weight"), r"Missing.*layer1\.0\.conv1"),
        (lambda c: c["state"].update(more=torch.zeros(1)), "Unexpected.*more"),
        (lambda c: c["state"].update({"regressor.mean": torch.zeros(3)}), r"mismatch.*regressor\.mean"),
        (lambda c: c["config"].update(trunk="resnet50"), "state_dict"),
        (lambda c: c["config"].update(part="foot"), "the part 'foot'"),
        (lambda c: c["config"].update(colour="red"), "colour"),
        (lambda c: c.pop("provenance"), "provenance"),
    ],
)
def test_loading_is_strict(hand_file: Path, tmp_path: Path, change: Callable[[dict], object], told: str) -> None:
    content = torch.load(hand_file, weights_only=True)
    change(content)
    torch.save(content, tmp_path / "hand.pt")
    with pytest.raises(InputError, match=told):
        load_paper_part(tmp_path / "hand.pt")


def test_another_part_is_told(hand_file: Path) -> None:
    with pytest.raises(InputError, match=r"of the part 'hand'.*'face'"):
        load_paper_part(hand_file, "face")


# The whole network, with one-layer trunks.


@pytest.fixture(scope="module")
def model() -> BodyModel:
    return load_body_model(num_betas=10, num_expression=10)


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return read_image(EXAMPLE).pixels


@pytest.fixture(scope="module")
def picture(pixels: np.ndarray) -> Tensor:
    return torch.tensor(pixels.transpose(2, 0, 1)[None] / 255.0, dtype=torch.float32)


@pytest.fixture(scope="module")
def camera(pixels: np.ndarray) -> PinholeCamera:
    height, width = pixels.shape[:2]
    middle = torch.tensor([[width / 2, height / 2]])
    return PinholeCamera(torch.tensor([math.hypot(width, height)]), middle, weak=True)


@pytest.fixture
def net(model: BodyModel) -> WholeBodyNet:
    return build_paper_whole(trained_parts(), model).eval()


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    return Predictor.load(write_paper_bundle(tmp_path_factory.mktemp("bundle"), trained_parts()), threads=1)


def run_as(predictor: Predictor, configs: dict[str, PartConfig]) -> Predictor:
    for part, runner in predictor.parts.items():
        runner.config = configs[part]
    return predictor


@pytest.mark.parametrize("attention", [True, False])
@pytest.mark.parametrize("which", CONFIGS)
def test_equal_to_the_runtime(net, predictor, pixels, picture, camera, which: str, attention: bool) -> None:
    """Torch in single precision against onnxruntime with geometry in double. Measured: pose 2e-6, vertices 6e-7 m,
    translation 5e-7 m; the tolerances leave room for other machines."""
    net.configs = CONFIGS[which]
    people = run_as(predictor, CONFIGS[which])(pixels, boxes=EXAMPLE_BOXES, attention=attention)
    with torch.no_grad():
        whole = net(picture, BOXES, camera, attention)
        vertices = net.layer.vertices(whole.pose, whole.betas, whole.expression)
        body = whole.answers["body"]
        pelvis = net.layer.keypoints(body.parameters.pose, body.parameters.betas, body.parameters.expression)[:, 0]
    np.testing.assert_allclose(whole.pose, people.pose, atol=2e-5)
    np.testing.assert_allclose(whole.betas, people.betas, atol=1e-5)
    np.testing.assert_allclose(whole.expression, people.expression, atol=1e-5)
    np.testing.assert_allclose(whole.transl, people.transl, atol=2e-5)
    np.testing.assert_allclose(vertices, predictor.mesh(people) - people.transl[:, None], atol=2e-5)
    np.testing.assert_allclose(body.crops.centre_px, people.crop_centre_px, atol=1e-3)
    scale, shift = body.parameters.camera.split([1, 2], 1)
    np.testing.assert_allclose(torch.cat([scale, shift + pelvis[:, :2]], 1), people.crop_camera, atol=2e-5)
    assert set(whole.answers) == ({"body", "right_hand", "left_hand", "face"} if attention else {"body"})
    assert np.abs(people.pose[0] - people.pose[1]).max() > 1e-3  # the networks see the picture


def test_the_ways_of_sampling_matter(net, picture, camera) -> None:
    with torch.no_grad():
        ours = net(picture, BOXES, camera)
        net.configs = RELEASED_PARTS
        theirs = net(picture, BOXES, camera)
    assert (ours.pose - theirs.pose).abs().max() > 1e-3


def test_without_attention_the_body_is_alone(net, picture, camera) -> None:
    with torch.no_grad():
        alone, whole = net(picture, BOXES, camera, attention=False), net(picture, BOXES, camera)
    body = alone.answers["body"].parameters
    for got, own in ((alone.pose, body.pose), (alone.betas, body.betas), (alone.expression, body.expression)):
        assert torch.equal(got, own)
    changed = (whole.pose - alone.pose).abs().amax((0, 2, 3)) > 1e-6
    assert set(torch.nonzero(changed).flatten().tolist()) == {20, 21, 22, *range(25, 55)}
    assert torch.equal(whole.transl, alone.transl) and torch.equal(whole.betas, alone.betas)
    assert not torch.allclose(whole.expression, alone.expression)


def test_all_crops_are_upright_and_lead_back(net, picture, camera) -> None:
    with torch.no_grad():
        whole = net(picture, BOXES, camera)
    points = torch.rand(2, 9, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for part, answer in whole.answers.items():
        crops = answer.crops
        assert not crops.angle_rad.any() and crops.mirrored == (part == "left_hand")
        torch.testing.assert_close(crops.from_image(crops.to_image(points)), points, atol=1e-4, rtol=0)


def test_people_do_not_see_each_other(net, picture, camera) -> None:
    """Nor does a picture's size matter to the people of another one: batches of pictures come as a list."""
    small = picture[0, :, 60:420, 10:460]
    boxes = BOXES.clone()
    boxes[1] -= torch.tensor([10.0, 60.0, 10.0, 60.0])
    middle = torch.cat([camera.principal_px, torch.tensor([[225.0, 180.0]])])
    cameras = PinholeCamera(camera.focal_px.expand(2), middle, weak=True)
    with torch.no_grad():
        both = net([picture[0], small], boxes, cameras)
        first = net(picture, boxes[:1], camera)
        second = net(small[None], boxes[1:], PinholeCamera(camera.focal_px, middle[1:], weak=True))
    for name in ("pose", "betas", "expression", "transl"):
        separate = torch.cat([getattr(first, name), getattr(second, name)])
        torch.testing.assert_close(getattr(both, name), separate, atol=1e-5, rtol=1e-5)


def test_a_left_hand_is_a_mirrored_right_hand(net, picture, camera) -> None:
    """Condition, look, regress and merge in the mirrored picture: the same answer, merged into the other side.

    The 6D codes that start the right hand are not handed on to the left: both start at rotations here.
    """
    vectors = paper_mean("body") + 0.3 * torch.randn(2, 341, generator=torch.Generator().manual_seed(0))
    body = replace(decode(vectors, RECIPES["paper"]["body"]), sixd=None)
    other = replace(body, pose=mirror_rotation(body.pose)[:, JOINT_FLIP])
    centre, side = torch.tensor([[350.0, 380.0], [222.0, 100.0]]), torch.tensor([200.0, 190.0])
    crops = Crops(centre, side, torch.zeros(2))
    mirrored = Crops(torch.stack([picture.shape[-1] - centre[:, 0], centre[:, 1]], 1), side, torch.zeros(2), True)
    with torch.no_grad():
        whole = net(picture, BOXES, camera, attention=False)
        right = net.look_and_answer(picture, "hand", crops, body, camera)
        left = net.look_and_answer(picture.flip(-1), "hand", mirrored, other, camera)
        merged = net.merge(replace(whole, pose=body.pose), "right_hand", right, camera)
        other_merged = net.merge(replace(whole, pose=other.pose), "left_hand", left, camera)
    torch.testing.assert_close(left.stages[-1], right.stages[-1], atol=1e-4, rtol=0)
    torch.testing.assert_close(mirror_rotation(other_merged.pose)[:, JOINT_FLIP], merged.pose, atol=1e-4, rtol=0)
    changed = (merged.pose - body.pose).abs().amax((0, 2, 3)) > 1e-6
    assert set(torch.nonzero(changed).flatten().tolist()) == {21, *range(40, 55)}


@pytest.mark.parametrize("part", ["right_hand", "left_hand", "face"])
def test_losses_of_a_part_reach_the_body_network(net, picture, camera, part: str) -> None:
    """Through the crops alone (started at the part's own mean), and through the start alone (crops held)."""
    body_net, network = net.parts["body"], "face" if part == "face" else "hand"
    whole = net(picture, BOXES, camera)
    body = whole.answers["body"]
    crops, _ = net.attend(body.parameters, body.crops, whole.transl, camera)[part]
    held = Crops(crops.centre_px.detach(), crops.side_px.detach(), crops.angle_rad.detach(), crops.mirrored)
    ways = {
        "both": whole.answers[part],
        "crops": net.look_and_answer(picture, network, crops),
        "start": net.look_and_answer(picture, network, held, body.parameters, camera),
    }
    for way, answer in ways.items():
        loss = answer.parameters.pose.sum() + answer.stages[-1].square().sum()
        weights = [body_net.trunk.conv1.weight, body_net.regressor.output_layer.weight]
        for gradient in torch.autograd.grad(loss, weights, retain_graph=True):
            assert torch.isfinite(gradient).all() and gradient.abs().max() > 1e-7, way


def test_a_frozen_body_normalisation_stays_while_training(net, picture, camera) -> None:
    for part in net.parts.values():
        for module in part.regressor.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
    with torch.no_grad():
        before = net(picture, BOXES, camera)
    net.parts["body"].trunk.freeze_norm()
    body, hand = (dict(net.parts[name].trunk.bn1.named_buffers()) for name in ("body", "hand"))
    kept, moving = {name: value.clone() for name, value in body.items()}, hand["running_mean"].clone()
    net.train()
    whole = net(picture, BOXES, camera)
    assert all(torch.equal(body[name], value) for name, value in kept.items())
    assert not torch.equal(hand["running_mean"], moving)
    torch.testing.assert_close(whole.answers["body"].stages[-1], before.answers["body"].stages[-1])
    assert not net.parts["body"].trunk.bn1.weight.requires_grad


@pytest.mark.parametrize("part", ["hand", "face"])
def test_pictures_of_a_part_alone_are_seen_in_the_same_batch(net, picture, camera, part: str) -> None:
    side = PAPER_PARTS[part].size
    alone = torch.rand(3, 3, side, side, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        whole, expected = net(picture, BOXES, camera, alone={part: alone}), net.parts[part].trunk(alone).feature
        torch.testing.assert_close(whole.alone[part].feature, expected)
        torch.testing.assert_close(whole.pose, net(picture, BOXES, camera).pose)
    assert set(whole.alone) == {part} and expected.shape == (3, FEATURES[part])
