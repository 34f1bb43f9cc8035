"""Parameter vectors: sizes, order, and the codes' inverses."""

from dataclasses import replace

import numpy as np
import pytest

from openexpose.geometry.rotation import matrix_to_sixd, rotvec_to_matrix
from openexpose.people import POSE_SLICES, zero_pose
from openexpose.predict.parts import BODY, FACE, HAND, SPECS, PartParameters, PartSpec, decode, encode, split

ALL = pytest.mark.parametrize("spec", SPECS.values(), ids=list(SPECS))


def parameters(spec: PartSpec, count: int = 4) -> PartParameters:
    rng = np.random.default_rng(0)
    pose = zero_pose(count)
    slots = list(spec.pose_slots)
    pose[:, slots] = rotvec_to_matrix(rng.normal(0, 1.0, (count, len(slots), 3)))
    expression = rng.normal(size=(count, 20)) if spec.num_expression else np.zeros((count, 20))
    camera = np.concatenate([rng.uniform(0.05, 12.0, (count, 1)), rng.normal(size=(count, 2))], 1)
    return PartParameters(pose, rng.normal(size=(count, 10)), expression, camera)


def test_sizes() -> None:
    assert (BODY.size, HAND.size, FACE.size) == (351, 109, 45)
    assert replace(BODY, num_expression=10).size == 341, "the paper's body vector has 10 expression coefficients"
    assert len(FACE.keypoints) == 68 and len(HAND.keypoints) == 21 and len(BODY.keypoints) == 144


def test_the_order_is_the_papers() -> None:
    """global_orient, body_pose, left hand, right hand, jaw, betas, expression, camera."""
    names = ("global_orient", "body_pose", "left_hand_pose", "right_hand_pose", "jaw_pose")
    order = [slot for name in names for slot in range(55)[POSE_SLICES[name]]]
    assert list(BODY.pose_slots) == order
    answer = parameters(BODY, 1)
    vector = encode(answer, BODY)[0]
    np.testing.assert_allclose(vector[:318], matrix_to_sixd(answer.pose[0, order]).ravel(), atol=1e-6)
    np.testing.assert_allclose(vector[318:328], answer.betas[0], rtol=1e-6)
    np.testing.assert_allclose(vector[328:348], answer.expression[0], rtol=1e-6)
    np.testing.assert_allclose(vector[349:], answer.camera[0, 1:], rtol=1e-6)
    assert HAND.pose_slots == (0, *range(55)[POSE_SLICES["right_hand_pose"]])
    assert FACE.pose_slots == (0, *range(55)[POSE_SLICES["jaw_pose"]])


@ALL
def test_decode_inverts_encode(spec: PartSpec) -> None:
    answer = parameters(spec)
    back = decode(encode(answer, spec), spec)
    for name, value in vars(replace(answer, sixd=matrix_to_sixd(answer.pose[:, list(spec.pose_slots)]))).items():
        np.testing.assert_allclose(getattr(back, name), value, atol=2e-6, rtol=2e-6, err_msg=name)


@ALL
def test_encode_inverts_decode_on_codes_of_rotations(spec: PartSpec) -> None:
    vector = encode(parameters(spec), spec)
    assert vector.shape == (4, spec.size) and vector.dtype == np.float32
    np.testing.assert_allclose(encode(decode(vector, spec), spec), vector, atol=3e-6, rtol=3e-6)


@ALL
def test_any_vector_decodes_to_rotations_and_a_positive_scale(spec: PartSpec) -> None:
    vector = np.random.default_rng(1).normal(0, 3, (6, spec.size)).astype(np.float32)
    answer = decode(vector, spec)
    identity = np.broadcast_to(np.eye(3), (6, 55, 3, 3))
    np.testing.assert_allclose(np.swapaxes(answer.pose, -1, -2) @ answer.pose, identity, atol=1e-5)
    np.testing.assert_allclose(np.linalg.det(answer.pose), 1.0, atol=1e-5)
    assert (answer.camera[:, 0] > 0).all()
    others = sorted(set(range(55)) - set(spec.pose_slots))
    assert (answer.pose[:, others] == np.eye(3)).all()
    assert answer.expression.shape == (6, 20) and answer.betas.shape == (6, 10)
    rotations, betas, expression, camera = split(vector, spec)
    assert rotations.shape == (6, len(spec.pose_slots), 6)
    assert sum(a[0].size for a in (rotations, betas, expression, camera)) == spec.size


@ALL
def test_torch_decodes_the_same(spec: PartSpec) -> None:
    torch = pytest.importorskip("torch", reason="the extra 'train' is not installed")
    from openexpose.nets.decode import decode as torch_decode

    vector = np.random.default_rng(2).normal(size=(5, spec.size)).astype(np.float32)
    twin = torch_decode(torch.tensor(vector), spec)
    for name, value in vars(decode(vector, spec)).items():
        np.testing.assert_allclose(getattr(twin, name).numpy(), value, atol=2e-5, err_msg=name)
