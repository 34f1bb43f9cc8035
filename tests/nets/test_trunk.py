"""The shipped trunks in torch: equal to onnxruntime, free of the batch, trainable."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from openexpose.errors import InputError
from openexpose.nets.trunk import OnnxTrunk
from openexpose.nets.trunk_file import read_trunk
from openexpose.predict.bundle import default_bundle

SIZES = {"body": (256, 1152, 39, 39), "hand": (224, 1152, 21, 21), "face": (192, 288, 478, 0)}
"""Part -> side in pixels, feature size, landmarks, world landmarks."""


@pytest.fixture(scope="module", params=sorted(SIZES))
def part(request):
    return request.param


@pytest.fixture(scope="module")
def trunk(part):
    return OnnxTrunk(default_bundle() / f"{part}_trunk.onnx")


@pytest.fixture(scope="module")
def images(part):
    side = SIZES[part][0]
    coarse = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(7))
    return torch.nn.functional.interpolate(coarse, size=(side, side), mode="bilinear")


@pytest.fixture(scope="module")
def output(trunk, images):
    with torch.no_grad():
        return trunk(images)


def _fields(output):
    return {name: value for name, value in vars(output).items() if value is not None}


def test_shapes_and_ranges(part, output):
    _, features, landmarks, world = SIZES[part]
    assert output.feature.shape == (3, features)
    assert output.landmarks.shape == (3, landmarks, 3)
    assert output.visibility.shape == (3, landmarks)
    assert output.presence.shape == (3,)
    assert (output.world is None) if world == 0 else (output.world.shape == (3, world, 3))
    assert (output.handedness is not None) == (part == "hand")
    for probability in (output.visibility, output.presence):
        assert ((probability >= 0) & (probability <= 1)).all()


def test_equals_onnxruntime(part, output, images):
    """As it is without the tuned branch that the packaged file may have."""
    model = read_trunk(default_bundle() / f"{part}_trunk.onnx").SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_outputs()]
    assert set(names) == set(_fields(output))
    for name, expected in zip(names, session.run(None, {"image": images.numpy()}), strict=True):
        np.testing.assert_allclose(getattr(output, name).numpy(), expected, atol=1e-4, rtol=1e-4, err_msg=name)


def test_batch_items_do_not_mix(trunk, output, images):
    with torch.no_grad():
        alone = trunk(images[1:2])
    for name, value in _fields(alone).items():
        torch.testing.assert_close(value[0], getattr(output, name)[1], atol=1e-4, rtol=1e-4)


def test_gradients_reach_image_and_first_weights(trunk, images):
    image = images[:1].clone().requires_grad_()
    result = trunk(image)
    (result.landmarks.square().mean() + result.feature.square().mean()).backward()
    first = next(iter(trunk.weights.values()))
    for gradient in (image.grad, first.grad):
        assert torch.isfinite(gradient).all()
        assert gradient.abs().max() > 0
    trunk.zero_grad(set_to_none=True)


def test_weights_are_float32_parameters_that_survive_a_round_trip(part, trunk, output, images):
    assert all(weight.dtype == torch.float32 and weight.requires_grad for weight in trunk.parameters())
    state = {key: value.clone() for key, value in trunk.state_dict().items()}
    other = OnnxTrunk(default_bundle() / f"{part}_trunk.onnx")
    with torch.no_grad():
        for weight in other.parameters():
            weight.zero_()
        other.load_state_dict(state)
        again = other(images[:1])
    torch.testing.assert_close(again.feature[0], output.feature[0], atol=1e-4, rtol=1e-4)


def test_wrong_image_side_is_refused(trunk):
    with pytest.raises(InputError, match="resample"):
        trunk(torch.zeros(1, 3, 64, 64))


def _write_tiny(path: Path, node: onnx.NodeProto, *initializers: onnx.TensorProto) -> Path:
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 4, 4])
    result = helper.make_tensor_value_info("result", TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "tiny", [image], [result], list(initializers))
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), path)
    return path


def test_unknown_operator_is_refused(tmp_path):
    path = _write_tiny(tmp_path / "sin.onnx", helper.make_node("Sin", ["image"], ["result"]))
    with pytest.raises(InputError, match="operator Sin"):
        OnnxTrunk(path)


def test_uncovered_attribute_is_refused(tmp_path):
    scales = numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales")
    node = helper.make_node("Resize", ["image", "", "scales"], ["result"], mode="nearest")
    with pytest.raises(InputError, match="mode=nearest"):
        OnnxTrunk(_write_tiny(tmp_path / "nearest.onnx", node, scales))


def test_missing_and_broken_files_are_refused(tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"not a network")
    (tmp_path / "empty.onnx").write_bytes(b"")
    for name in ("missing.onnx", "broken.onnx", "empty.onnx"):
        with pytest.raises(InputError, match="an ONNX file"):
            OnnxTrunk(tmp_path / name)


def test_asymmetric_padding_equals_onnxruntime(tmp_path):
    weight = np.random.default_rng(0).normal(size=(2, 3, 3, 3)).astype(np.float32)
    node = helper.make_node("Conv", ["image", "weight"], ["result"], pads=[0, 0, 1, 1], strides=[2, 2])
    path = _write_tiny(tmp_path / "conv.onnx", node, numpy_helper.from_array(weight, "weight"))
    image = np.random.default_rng(1).random((2, 3, 4, 4), dtype=np.float32)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    got = OnnxTrunk(path).run({"image": torch.from_numpy(image)})["result"]
    np.testing.assert_allclose(got.numpy(), session.run(None, {"image": image})[0], atol=1e-5)
