"""Errors of a part's answers: nothing at the truth, known values beside it, blind to what they should be blind to."""

import numpy as np
import pytest
import torch

from openexpose.body.model import load_body_model
from openexpose.losses import PartTarget
from openexpose.nets.body_layer import BodyLayer
from openexpose.nets.decode import decode, matrix_to_sixd, project_weak
from openexpose.predict.parts import SPECS, PartSpec
from openexpose.training.head_errors import part_errors, posed_points, skin_motion

MODEL = load_body_model(num_betas=10, num_expression=20)
LAYER = BodyLayer(MODEL)
COUNT = 4


def truth(spec: PartSpec) -> tuple[torch.Tensor, PartTarget]:
    """Vectors, and labels that they are the answers to."""
    torch.manual_seed(0)
    vector = torch.randn(COUNT, spec.size)
    answer = decode(vector, spec)
    points = posed_points(answer, spec, LAYER)
    seen = torch.ones(points.shape[:2])
    flat = project_weak(points, answer.camera)
    return vector, PartTarget(answer.pose, answer.betas, answer.expression, points, flat, seen, answer.camera)


def errors(vector: torch.Tensor, target: PartTarget, spec: PartSpec) -> dict[str, float]:
    return part_errors(vector, vector.mean(0), target, spec, LAYER, skin_motion(MODEL, spec))


@pytest.mark.parametrize("spec", SPECS.values(), ids=list(SPECS))
def test_the_truth_has_no_error(spec: PartSpec) -> None:
    vector, target = truth(spec)
    found = errors(vector, target, spec)
    assert found.pop("n") == COUNT and found.pop("mean_pose_mpjpe_mm") > 1
    assert found.pop("no_shape_mm") > 1 and (found.pop("no_expression_mm", 1.0) > 0.1)
    assert ("expression_mm" in found) == bool(spec.num_expression)
    assert all(value == pytest.approx(0, abs=0.2) for value in found.values()), found


def test_turning_the_root_moves_joints_but_not_after_alignment() -> None:
    spec = SPECS["hand"]
    vector, target = truth(spec)
    turn = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    turned = vector.clone()
    turned[:, :6] = matrix_to_sixd(turn @ target.pose[:, 0])
    found = errors(turned, target, spec)
    assert found["root_deg"] == pytest.approx(90, abs=0.1) and found["joints_deg"] == pytest.approx(0, abs=0.1)
    assert found["mpjpe_mm"] > 20 and found["pa_mpjpe_mm"] == pytest.approx(0, abs=1e-2)


@pytest.mark.parametrize("spec", SPECS.values(), ids=list(SPECS))
def test_coefficients_count_by_how_far_they_move_the_skin(spec: PartSpec) -> None:
    """Root mean square over the vertices, mean over the samples: as written out with vertices."""
    vector, target = truth(spec)
    other = vector[torch.tensor([1, 2, 3, 0])]
    found, answer = errors(other, target, spec), decode(other, spec)

    def moved(difference: torch.Tensor, directions: np.ndarray) -> float:
        shifts = 1000 * np.einsum("vdc,nc->nvd", directions, difference.numpy())
        return float(np.sqrt((shifts**2).sum(-1).mean(-1)).mean())

    def moved_at_one_size(difference: torch.Tensor) -> float:
        """With the place and overall scale that fit best, to first order."""
        shifts = 1000 * np.einsum("vdc,nc->nvd", MODEL.shape_dirs, difference.numpy())
        growth = MODEL.v_template - MODEL.v_template.mean(0)
        ways = np.concatenate([np.eye(3)[:, None].repeat(len(growth), 1), growth[None]]).reshape(4, -1).T
        flat = shifts.reshape(len(shifts), -1).T
        left = flat - ways @ np.linalg.lstsq(ways, flat, rcond=None)[0]
        return float(np.sqrt((left**2).sum(0) / len(growth)).mean())

    if spec.name == "body":
        assert found["shape_mm"] == pytest.approx(moved_at_one_size(answer.betas - target.betas), rel=1e-3)
        assert found["no_shape_mm"] == pytest.approx(moved_at_one_size(target.betas), rel=1e-3)
    if spec.num_expression:
        face = MODEL.expression_dirs[np.abs(MODEL.expression_dirs).max((1, 2)) > 1e-4]
        assert found["expression_mm"] == pytest.approx(moved(answer.expression - target.expression, face), rel=1e-3)
        assert found["no_expression_mm"] == pytest.approx(moved(target.expression, face), rel=1e-3)
