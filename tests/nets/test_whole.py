"""The whole-body network in torch equals the runtime's pipeline; its losses reach the body through the attention."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.conftest import EXAMPLE, EXAMPLE_BOXES, random_weights

from openexpose.body.keypoints import JOINT_FLIP
from openexpose.errors import InputError
from openexpose.geometry.boxes import Crop
from openexpose.geometry.camera import locate as numpy_locate
from openexpose.geometry.camera import view_rotation as numpy_view_rotation
from openexpose.image.read import read_image
from openexpose.nets.attention import Crops, crops_from_boxes
from openexpose.nets.build import build_part, build_whole, rest_vector
from openexpose.nets.decode import Decoded, decode
from openexpose.nets.merge import PinholeCamera, locate, mirror_rotation, view_rotation
from openexpose.nets.whole import WholeBodyNet
from openexpose.predict.bundle import Stopwatch, default_bundle
from openexpose.predict.looks import Looker, look_at_parts
from openexpose.predict.merge import FullCamera
from openexpose.predict.parts import SPECS, PartParameters
from openexpose.predict.pipeline import Predictor
from openexpose.training.export import bundle

BOXES = torch.tensor(EXAMPLE_BOXES, dtype=torch.float32)


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return read_image(EXAMPLE).pixels


@pytest.fixture(scope="module")
def picture(pixels: np.ndarray) -> torch.Tensor:
    return torch.tensor(pixels.transpose(2, 0, 1)[None] / 255.0, dtype=torch.float32)


@pytest.fixture(scope="module")
def camera(pixels: np.ndarray) -> PinholeCamera:
    height, width = pixels.shape[:2]
    return PinholeCamera(torch.tensor([float(np.hypot(width, height))]), torch.tensor([[width / 2, height / 2]]))


@pytest.fixture(scope="module")
def net(tiny_bundle: Path, tiny_weights: Path) -> WholeBodyNet:
    return build_whole(tiny_bundle, tiny_weights).eval()


def open_gates(owner: WholeBodyNet | Predictor, least: float, **changes: int) -> None:
    """Merge hands and faces however little they are seen."""
    if isinstance(owner, WholeBodyNet):
        owner.configs = {
            name: replace(config, min_presence=least, max_shift=10.0, **changes)
            for name, config in owner.configs.items()
        }
    else:
        for runner in owner.parts.values():
            runner.config = replace(runner.config, min_presence=least, max_shift=10.0, **changes)


def assert_same(net: WholeBodyNet, predictor: Predictor, pixels, picture, camera, attention: bool = True) -> None:
    """Torch in float32 against onnxruntime in float32 with geometry in float64.

    Measured: crops 3e-4 px, pose 2e-5, vertices 3e-6 m, translation 8e-6 m; the tolerances leave a factor of ten for
    other machines.
    """
    people = predictor(pixels, boxes=EXAMPLE_BOXES, attention=attention, refinement=False)
    with torch.no_grad():
        whole = net(picture, BOXES, camera, attention)
        layer, coefficients = net.layer, (whole.betas, whole.expression)
        vertices = layer.vertices(whole.pose, *coefficients) + whole.transl[:, None]
        points = layer.keypoints(whole.pose, *coefficients) + whole.transl[:, None]
    body = whole.answers["body"]
    np.testing.assert_allclose(body.crops.centre_px.numpy(), people.crop_centre_px, atol=5e-3)
    np.testing.assert_allclose(body.crops.side_px.numpy(), people.crop_side_px, atol=5e-3)
    np.testing.assert_allclose(whole.pose.numpy(), people.pose, atol=3e-4)
    np.testing.assert_allclose(whole.betas.numpy(), people.betas, atol=3e-4)
    np.testing.assert_allclose(whole.expression.numpy(), people.expression, atol=3e-4)
    np.testing.assert_allclose(whole.transl.numpy(), people.transl, atol=1e-4)
    mesh = predictor.mesh(people)
    np.testing.assert_allclose((vertices - whole.transl[:, None]).numpy(), mesh - people.transl[:, None], atol=3e-5)
    np.testing.assert_allclose(points.numpy(), predictor.keypoints(people), atol=2e-4)
    for k, part in enumerate(("left_hand", "right_hand", "face"), start=1):
        if attention:
            np.testing.assert_allclose(whole.answers[part].seen.certainty, people.part_confidence[:, k], atol=1e-3)


@pytest.mark.parametrize(("attention", "least"), [(True, 0.0), (True, 1e-3), (True, 0.5), (False, 0.5)])
def test_equal_to_the_runtime(net, tiny_bundle, pixels, picture, camera, attention: bool, least: float) -> None:
    predictor = Predictor.load(tiny_bundle, threads=1)
    open_gates(predictor, least)
    open_gates(net, least)
    assert_same(net, predictor, pixels, picture, camera, attention)


def test_the_second_look_equals_the_runtime(net, tiny_bundle, pixels, picture, camera) -> None:
    """At the face that is there, both look a second time, at the same crop, and answer the same."""
    predictor, config = Predictor.load(tiny_bundle, threads=1), net.configs["face"]
    crops = crops_from_boxes(torch.tensor([[170.0, 50.0, 280.0, 170.0]]), config.crop_scale)
    region = Crop(*(a.numpy() for a in (crops.centre_px, crops.side_px, crops.angle_rad)))
    body = decode(rest_vector(SPECS["body"])[None], SPECS["body"])
    estimate = PartParameters(*(getattr(body, f.name).numpy() for f in fields(body)))
    full = FullCamera(float(camera.focal_px), camera.principal_px[0].numpy())
    sight = look_at_parts(Looker(predictor.parts["face"], pixels), region)
    expected = predictor._answer("face", sight, estimate, full, Stopwatch())
    with torch.no_grad():
        answer = net.look_and_answer(picture, "face", crops, body, camera)
    assert answer.seen.presence > 0.9 and abs(answer.crops.side_px - crops.side_px) > 5.0
    np.testing.assert_allclose(answer.crops.centre_px.numpy(), expected.crop.centre_px, atol=5e-3)
    np.testing.assert_allclose(answer.crops.side_px.numpy(), expected.crop.side_px, atol=5e-3)
    np.testing.assert_allclose(answer.parameters.pose.numpy(), expected.parameters.pose, atol=3e-4)
    np.testing.assert_allclose(answer.parameters.camera.numpy(), expected.parameters.camera, atol=2e-3)


@pytest.mark.slow
def test_equal_to_the_runtime_with_residual_feedback(pixels, picture, camera, tmp_path: Path) -> None:
    bundle(random_weights(tmp_path, feedback=True), tmp_path / "bundle")
    predictor, net = Predictor.load(tmp_path / "bundle", threads=1), build_whole(tmp_path / "bundle", tmp_path).eval()
    for owner in (predictor, net):  # two looks: each further one multiplies the rounding of the crop before it
        open_gates(owner, 0.0, looks=2, wider=False)
    assert_same(net, predictor, pixels, picture, camera)


def test_people_do_not_see_each_other(net, picture, camera) -> None:
    open_gates(net, 0.0)
    with torch.no_grad():
        both = net(picture.expand(2, -1, -1, -1), BOXES, camera)
        alone = [net(picture, BOXES[k : k + 1], camera) for k in range(2)]
    for name in ("pose", "betas", "expression", "transl"):
        separate = torch.cat([getattr(one, name) for one in alone])
        torch.testing.assert_close(getattr(both, name), separate, atol=1e-4, rtol=0)


def mirrored_crops(crops: Crops, width: float) -> Crops:
    centre = torch.stack([width - crops.centre_px[:, 0], crops.centre_px[:, 1]], 1)
    return Crops(centre, crops.side_px, -crops.angle_rad, not crops.mirrored)


def mirrored_body(body: Decoded) -> Decoded:
    return replace(body, pose=mirror_rotation(body.pose)[:, JOINT_FLIP])


@pytest.mark.parametrize("looks", [1, 2])
def test_a_left_hand_is_a_mirrored_right_hand(net, picture, camera, looks: int, monkeypatch) -> None:
    """Look, condition, regress and merge in the mirrored picture: the same answer, merged into the other side.

    ``looks``: 2 makes the trunk sure of a hand that is not there, so that it looks at its own crop.
    """
    open_gates(net, 0.0)
    if looks == 2:
        look = net._trunk
        monkeypatch.setattr(
            net, "_trunk", lambda *a: replace(look(*a), presence=torch.ones(2), handedness=torch.ones(2))
        )
    width = float(picture.shape[-1])
    centre, side = torch.tensor([[350.0, 380.0], [222.0, 100.0]]), torch.tensor([200.0, 190.0])
    crops = Crops(centre, side, torch.tensor([0.3, -1.0]))
    generator = torch.Generator().manual_seed(0)
    vectors = rest_vector(SPECS["body"]) + 0.3 * torch.randn(2, SPECS["body"].size, generator=generator)
    body = replace(decode(vectors, SPECS["body"]), sixd=None)
    other = mirrored_body(body)
    with torch.no_grad():
        whole = net(picture, BOXES, camera, attention=False)
        right = net.look_and_answer(picture, "hand", crops, body, camera)
        left = net.look_and_answer(picture.flip(-1), "hand", mirrored_crops(crops, width), other, camera)
        merged = net.merge(replace(whole, pose=body.pose), "right_hand", right, camera)
        other_merged = net.merge(replace(whole, pose=other.pose), "left_hand", left, camera)
    assert left.crops.mirrored and not right.crops.mirrored
    assert (right.crops.side_px != side).all() == (looks == 2)
    torch.testing.assert_close(
        mirrored_crops(left.crops, width).T_image_crop, right.crops.T_image_crop, atol=0.02, rtol=0
    )
    torch.testing.assert_close(left.stages[-1], right.stages[-1], atol=1e-3, rtol=0)
    torch.testing.assert_close(mirror_rotation(other_merged.pose)[:, JOINT_FLIP], merged.pose, atol=1e-3, rtol=0)
    changed = (merged.pose - body.pose).abs().amax((0, 2, 3)) > 1e-6
    assert set(torch.nonzero(changed).flatten().tolist()) <= {21, *range(40, 55)}


@pytest.mark.parametrize("part", ["right_hand", "left_hand", "face"])
def test_losses_of_a_part_reach_the_body_through_its_crop_and_its_start(net, picture, camera, part: str) -> None:
    """Started from its own mean (None), only a part's crop depends on the body: the attention carries the gradient."""
    open_gates(net, 0.0)
    network = "face" if part == "face" else "hand"
    vector = rest_vector(SPECS["body"]).repeat(1, 1).requires_grad_()
    body = decode(vector, SPECS["body"])
    transl = torch.tensor([[0.0, 0.3, 2.5]])
    body_crops = Crops(torch.zeros(1, 2), torch.ones(1), torch.zeros(1))
    crops, _ = net.attend(body, body_crops, transl, camera)[part]
    for start in (None, body):
        answer = net.look_and_answer(picture, network, crops, start, camera)
        (gradient,) = torch.autograd.grad(answer.stages[-1].square().sum(), vector, retain_graph=True)
        assert torch.isfinite(gradient).all() and gradient.abs().max() > 1e-6


def test_every_network_learns_from_the_merged_body(net, picture, camera) -> None:
    open_gates(net, 0.0)
    whole = net(picture, BOXES[:1], camera)
    points = net.layer.keypoints(whole.pose, whole.betas, whole.expression) + whole.transl[:, None]
    loss = camera.project(points).square().mean() + whole.expression.square().mean()
    net.zero_grad()
    loss.backward()
    for name, part in net.parts.items():
        for kind in ("trunk", "regressor"):
            sizes = [p.grad.abs().max() for p in getattr(part, kind).parameters() if p.grad is not None]
            assert sizes and torch.isfinite(torch.stack(sizes)).all() and max(sizes) > 0, (name, kind)
    net.zero_grad()


def random_crops(count: int) -> Crop:
    rng = np.random.default_rng(0)
    return Crop(rng.uniform(0, 900, (count, 2)), rng.uniform(40, 500, count), rng.uniform(-3, 3, count))


def test_view_rotation_equals_the_runtime() -> None:
    crop, principal = random_crops(7), np.array([450.0, 300.0])
    crops = Crops(*(torch.tensor(a) for a in (crop.centre_px, crop.side_px, crop.angle_rad)))
    camera = PinholeCamera(torch.tensor([700.0], dtype=torch.float64), torch.tensor(principal)[None])
    np.testing.assert_allclose(view_rotation(crops, camera), numpy_view_rotation(crop, 700.0, principal), atol=1e-12)


@pytest.mark.parametrize("near", [False, True])
def test_locate_equals_the_runtime(near: bool) -> None:
    """``near``: targets so far apart that the best depth would put points behind the camera."""
    rng = np.random.default_rng(1)
    points, principal = rng.normal(0, 0.4, (5, 22, 3)), np.array([300.0, 200.0])
    targets = principal + (3000.0 if near else 150.0) * points[..., :2] + rng.normal(0, 5, (5, 22, 2))
    camera = PinholeCamera(torch.tensor([700.0]), torch.tensor(principal, dtype=torch.float32)[None])
    arguments = (torch.tensor(a, dtype=torch.float32) for a in (points, targets))
    expected = numpy_locate(points, targets, 700.0, principal)
    np.testing.assert_allclose(locate(*arguments, camera), expected, atol=1e-4)
    np.testing.assert_allclose((expected[:, 2] + points[..., 2].min(-1) < 0.1001).all(), near)


def test_building_from_nothing_starts_at_rest(tiny_bundle: Path) -> None:
    net = build_part("face", tiny_bundle / "face_trunk.onnx", None).eval()
    side = net.trunk.side_px
    with torch.no_grad():
        _, stages = net(torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0)))
    rest = decode(rest_vector(SPECS["face"])[None], SPECS["face"])
    torch.testing.assert_close(decode(stages[-1], SPECS["face"]).pose, rest.pose, atol=0.2, rtol=0)


def test_wrong_files_are_refused(tiny_bundle: Path, tiny_weights: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the part 'foot'"):
        build_part("foot", tiny_bundle / "face_trunk.onnx", None)
    with pytest.raises(InputError, match="parameters from"):
        build_part("face", default_bundle() / "face_trunk.onnx", tiny_weights / "hand.pt")
    with pytest.raises(InputError, match="not a file"):
        build_whole(tiny_bundle, tmp_path)
