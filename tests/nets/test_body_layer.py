"""The torch body layer: equal to its numpy twin, exact derivatives, exportable."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.body.toy import random_pose, toy_model
from torch import Tensor

from openexpose.body.mesh import contour_row as numpy_contour_row
from openexpose.body.mesh import joint_transforms, posed_mesh
from openexpose.body.model import BodyModel, load_body_model
from openexpose.nets.body_layer import BodyLayer, contour_row


@pytest.fixture(scope="module")
def freebody() -> BodyModel:
    return load_body_model()


def inputs(model: BodyModel, people: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    rng = np.random.default_rng(0)
    arrays = random_pose(rng, people), rng.normal(size=(people, model.num_betas))
    arrays += (rng.normal(size=(people, model.num_expression)),)
    return tuple(torch.tensor(array, dtype=dtype) for array in arrays)


def agree(layer: BodyLayer, model: BodyModel, people: int) -> None:
    arguments = inputs(model, people)
    arrays = [argument.numpy() for argument in arguments]
    mesh, (rotations, joints) = posed_mesh(model, *arrays), joint_transforms(model, *arrays)
    torch.testing.assert_close(layer.vertices(*arguments), torch.tensor(mesh.vertices), atol=1e-5, rtol=0)
    torch.testing.assert_close(layer.keypoints(*arguments), torch.tensor(mesh.joints), atol=1e-5, rtol=0)
    torch.testing.assert_close(layer.joints(*arguments), torch.tensor(joints), atol=1e-5, rtol=0)
    torch.testing.assert_close(layer.transforms(*arguments)[0], torch.tensor(rotations), atol=1e-5, rtol=0)


@pytest.mark.parametrize("people", [0, 1, 4])
def test_equal_to_numpy_on_the_packaged_body(freebody: BodyModel, people: int) -> None:
    layer = BodyLayer(freebody)
    assert not layer.surface.dense and layer.landmark_surface.dense, "this test should cover both kinds"
    agree(layer, freebody, people)


@pytest.mark.parametrize("density", [0.0, 0.1, 0.9])
def test_equal_to_numpy_on_a_toy(density: float) -> None:
    model = toy_model(pose_density=density)
    agree(BodyLayer(model), model, 3)


def test_rows_are_rows_of_the_whole(freebody: BodyModel) -> None:
    layer, arguments = BodyLayer(freebody), inputs(freebody, 2)
    rows = torch.randperm(len(freebody.v_template), generator=torch.Generator().manual_seed(1))[:300]
    torch.testing.assert_close(layer.vertices(*arguments, rows), layer.vertices(*arguments)[:, rows], atol=1e-6, rtol=0)
    toy = toy_model()
    layer, arguments, rows = BodyLayer(toy), inputs(toy, 2), torch.tensor([9, 3, 30])
    assert layer.surface.dense
    torch.testing.assert_close(layer.vertices(*arguments, rows), layer.vertices(*arguments)[:, rows], atol=1e-6, rtol=0)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("method", ["keypoints", "vertices", "joints"])
def test_derivatives_are_exact(monkeypatch: pytest.MonkeyPatch, method: str, sparse: bool) -> None:
    if sparse:
        monkeypatch.setattr("openexpose.nets.body_layer._DENSE_ENTRIES", 0)
    model = toy_model(num_vertices=12, num_betas=2, num_expression=2, pose_density=0.05)
    layer = BodyLayer(model).double()
    assert layer.surface.dense is not sparse
    arguments = tuple(argument.requires_grad_() for argument in inputs(model, 1, torch.float64))
    assert torch.autograd.gradcheck(getattr(layer, method), arguments, fast_mode=method != "vertices")


def test_pose_blend_shapes_have_a_gradient() -> None:
    model = toy_model(pose_density=0.5)
    layer = BodyLayer(model).double()
    layer.surface.weights[:] = 0.0
    layer.surface.weights[:, 0] = 1.0  # only the pelvis moves the skin: the rest of the pose acts through blend shapes
    pose, betas, expression = inputs(model, 1, torch.float64)
    pose.requires_grad_()
    layer.vertices(pose, betas, expression).sum().backward()
    used = torch.tensor(np.flatnonzero(np.diff(model.pose_dirs.starts)) + 1)
    assert len(used) > 30 and (pose.grad[0, used].abs().amax((1, 2)) > 1e-4).all()


def test_gradients_of_people_are_independent(freebody: BodyModel) -> None:
    layer, (pose, betas, expression) = BodyLayer(freebody), inputs(freebody, 3)
    betas.requires_grad_()
    layer.keypoints(pose, betas, expression)[1].sum().backward()
    assert betas.grad[1].abs().min() > 0 and not betas.grad[[0, 2]].any()


def test_contour_row_is_the_numpy_one() -> None:
    rng = np.random.default_rng(2)
    neck = random_pose(rng, 20, 0.8)[:, :20].reshape(-1, 3, 3)
    np.testing.assert_array_equal(contour_row(torch.tensor(neck)).numpy(), numpy_contour_row(neck))


def test_nothing_is_stored_in_checkpoints_or_trained(freebody: BodyModel) -> None:
    layer = BodyLayer(freebody)
    assert not layer.state_dict() and not list(layer.parameters())


class Keypoints(torch.nn.Module):
    def __init__(self, model: BodyModel) -> None:
        super().__init__()
        self.body = BodyLayer(model)

    def forward(self, pose: Tensor, betas: Tensor, expression: Tensor) -> tuple[Tensor, Tensor]:
        return self.body.joints(pose, betas, expression), self.body.keypoints(pose, betas, expression)


@pytest.mark.slow
def test_joints_and_keypoints_export_to_onnx(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    model, names = toy_model(), ("pose", "betas", "expression")
    module, path = Keypoints(model).eval(), str(tmp_path / "body.onnx")
    axes = tuple({0: torch.export.Dim("people", min=1)} for _ in names)
    torch.onnx.export(
        module, inputs(model, 2), path, input_names=names, dynamic_shapes=axes, dynamo=True, verbose=False
    )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    arguments = inputs(model, 5)
    outputs = session.run(None, {name: argument.numpy() for name, argument in zip(names, arguments, strict=True)})
    for exported, expected in zip(outputs, module(*arguments), strict=True):
        np.testing.assert_allclose(exported, expected.numpy(), atol=1e-5)
