"""Residual feedback: nothing to tell when the landmarks are where the regressor's own body has them."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from openexpose.body.model import load_body_model
from openexpose.nets.body_layer import BodyLayer
from openexpose.nets.build import rest_vector
from openexpose.nets.decode import decode
from openexpose.nets.feedback import ResidualFeedback
from openexpose.predict.landmarks import CORRESPONDENCES, EDGES
from openexpose.predict.parts import SPECS

LANDMARKS = {"body": 39, "hand": 21, "face": 478}


@pytest.fixture(scope="module")
def layer() -> BodyLayer:
    return BodyLayer(load_body_model(num_betas=10, num_expression=20))


@dataclass
class Case:
    """A feedback, parameters, and the landmarks that these parameters explain perfectly."""

    feedback: ResidualFeedback
    vector: Tensor
    landmarks: Tensor
    visibility: Tensor
    world: Tensor

    def __call__(self) -> tuple[Tensor, Tensor]:
        """2D and 3D residuals."""
        residual = self.feedback(self.vector, self.landmarks, self.visibility, self.world)
        flat = 2 * len(self.feedback.landmark)
        return residual[:, :flat].unflatten(1, (-1, 2)), residual[:, flat:].unflatten(1, (-1, 3))


@pytest.fixture(params=["body", "hand", "face"])
def case(request: pytest.FixtureRequest, layer: BodyLayer) -> Case:
    spec, count = SPECS[request.param], LANDMARKS[request.param]
    generator = torch.Generator().manual_seed(0)
    vector = rest_vector(spec) + 0.1 * torch.randn(2, spec.size, generator=generator)
    now = decode(vector, spec)
    points = layer.keypoints(now.pose, now.betas, now.expression)
    points = points - points[:, spec.root_joint, None]
    landmark, keypoint = CORRESPONDENCES[spec.name]
    landmarks, world = torch.randn(2, 2, count, 3, generator=generator)
    landmarks[:, landmark, :2] = now.camera[:, None, :1] * (points[:, keypoint, :2] + now.camera[:, None, 1:])
    world[:, landmark] = points[:, keypoint] + torch.tensor([0.1, 0.2, 0.3])
    return Case(ResidualFeedback(spec, layer), vector, landmarks, torch.ones(2, count), world)


def test_zero_where_the_landmarks_are_explained(case: Case) -> None:
    flat, deep = case()
    assert flat.shape[1] == len(case.feedback.landmark) and deep.shape[1] == len(EDGES[case.feedback.spec.name])
    assert 2 * flat.shape[1] + 3 * deep.shape[1] == case.feedback.size
    torch.testing.assert_close(flat, torch.zeros_like(flat), atol=1e-5, rtol=0)
    torch.testing.assert_close(deep, torch.zeros_like(deep), atol=1e-3, rtol=0)  # short edges: directions in float32


def test_a_moved_landmark_is_told_in_fifths_of_a_crop_unit(case: Case) -> None:
    case.landmarks[..., 0] += 0.1
    flat, _ = case()
    torch.testing.assert_close(flat[..., 0], torch.full_like(flat[..., 0], 0.5), atol=1e-4, rtol=0)
    case.landmarks[..., 0] += 100.0
    assert case()[0].max() == 5.0, "far landmarks count as if one crop unit away"


def test_unseen_landmarks_say_nothing(case: Case) -> None:
    case.landmarks += 0.3
    case.visibility[:] = 0.0
    assert (case()[0] == 0).all()


def test_directions_do_not_depend_on_the_size_of_the_person(case: Case) -> None:
    case.world = 1.7 * case.world
    _, deep = case()
    torch.testing.assert_close(deep, torch.zeros_like(deep), atol=1e-3, rtol=0)
    case.world = -case.world
    assert torch.linalg.norm(case()[1], dim=-1).min() > 1.99
