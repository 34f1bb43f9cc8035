"""The imported network equals the original one: every number of its reference outputs that has a counterpart here.

Needs a folder with a checkpoint maker and the outputs of the original program, which the project does not carry:
``pytest tests/assets/test_oracle.py --oracle DIR``. It holds make_checkpoint.py, reference_seed1.npz (names as in the
original program) and the pictures ``in/``. The made-up checkpoint (615 MB) lives in a temporary folder meanwhile.

Tolerance: 1e-4 in parameters, features, metres and crop coordinates; in pixels 2e-3 (of up to 1000: single precision
rounds to 6e-5); 2e-3 in the crops, which the reference keeps in half precision.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.conftest import EXAMPLE, EXAMPLE_BOXES
from torch import Tensor

from openexpose.assets.expose import Released, import_expose, read_released
from openexpose.body.model import load_body_model
from openexpose.geometry.boxes import Crop
from openexpose.image.crop import SAMPLINGS, sample_crop
from openexpose.image.read import read_image
from openexpose.nets.decode import matrix_to_sixd, project_weak, sixd_to_matrix
from openexpose.nets.merge import PinholeCamera, absolute_rotation, condition, mirror_rotation
from openexpose.nets.paper import RELEASED_PARTS, build_paper_whole
from openexpose.nets.resnet import IMAGE_MEAN, IMAGE_STD
from openexpose.nets.whole import WholeBody, WholeBodyNet
from openexpose.people import POSE_SLICES, People
from openexpose.predict.pipeline import Predictor

pytestmark = [pytest.mark.assets, pytest.mark.slow]

TOLERANCE, PIXELS = 1e-4, 2e-3
DECODED = ("global_orient", "body_pose", "left_hand_pose", "right_hand_pose", "jaw_pose")
CROPS = {"right_hand": "right_hand", "left_hand": "left_hand", "face": "head"}
"""Our name of an attended part, the reference's."""


@dataclass(frozen=True)
class Imported:
    """A made-up checkpoint of the released layout, imported both ways."""

    released: Released
    bundle: Path

    def net(self) -> WholeBodyNet:
        model = load_body_model(self.bundle / "body_model.npz", num_betas=10, num_expression=10)
        return build_paper_whole(self.released.parts, model, RELEASED_PARTS).eval()


@pytest.fixture(scope="module")
def oracle(request: pytest.FixtureRequest) -> Path:
    folder = request.config.getoption("--oracle")
    if folder is None:
        pytest.skip("compares with the original network: give its reference outputs with --oracle DIR")
    return folder.resolve()


@pytest.fixture(scope="module")
def reference(oracle: Path) -> dict[str, np.ndarray]:
    with np.load(oracle / "reference_seed1.npz") as content:
        return dict(content)


def made(oracle: Path, folder: Path, seed: int) -> Iterator[Imported]:
    try:
        command = [sys.executable, str(oracle / "make_checkpoint.py"), str(folder), "--seed", str(seed)]
        subprocess.run(command, check=True, capture_output=True)
        surplus = import_expose(folder, folder / "models/smplx/SMPLX_NEUTRAL.npz", folder / "bundle")
        assert surplus == ()
        yield Imported(read_released(folder / "checkpoints" / "model.ckpt"), folder / "bundle")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def first(oracle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Imported]:
    yield from made(oracle, tmp_path_factory.mktemp("seed1"), 1)


@pytest.fixture(scope="module")
def images(oracle: Path) -> list[np.ndarray]:
    return [read_image(oracle / "in" / f"img{k}.png").pixels for k in (0, 1)]


@pytest.fixture(scope="module")
def boxes(oracle: Path) -> np.ndarray:
    return np.load(oracle / "in" / "boxes.npy").astype(float)


def camera_of(images: list[np.ndarray]) -> PinholeCamera:
    middle = torch.tensor([[image.shape[1] / 2, image.shape[0] / 2] for image in images])
    return PinholeCamera(torch.full((len(images),), 1000.0), middle, weak=True)


def pictures_of(images: list[np.ndarray]) -> list[Tensor]:
    return [torch.from_numpy(image.astype(np.float32) / 255.0).permute(2, 0, 1) for image in images]


@pytest.fixture(scope="module")
def net(first: Imported) -> WholeBodyNet:
    return first.net()


@pytest.fixture(scope="module")
def whole(net: WholeBodyNet, images, boxes) -> WholeBody:
    with torch.no_grad():
        return net(pictures_of(images), torch.tensor(boxes).float(), camera_of(images))


@pytest.fixture(scope="module")
def people(first: Imported, images, boxes) -> tuple[Predictor, list[People]]:
    """The runtime's answers: one picture at a time, as it takes them."""
    predictor = Predictor.load(first.bundle)
    return predictor, [predictor(image, boxes=boxes[k : k + 1]) for k, image in enumerate(images)]


def same(got: object, expected: np.ndarray, atol: float = TOLERANCE) -> None:
    got = np.asarray(got, np.float64)
    np.testing.assert_allclose(got.reshape(expected.shape), expected, atol=atol, rtol=0)


def hands(values: dict[str, Tensor]) -> Tensor:
    """In the order of the reference: right hands, then left ones, mirrored."""
    return torch.cat([values["right_hand"], values["left_hand"]])


def test_the_body_network(whole: WholeBody, net: WholeBodyNet, reference) -> None:
    body = whole.answers["body"]
    same(body.seen.feature, reference["body/feature"])
    assert len(body.stages) == 3
    for k, stage in enumerate(body.stages):
        same(stage, reference[f"body/stage_{k}"])
    decoded = body.parameters
    for name in DECODED:
        same(decoded.pose[:, POSE_SLICES[name]], reference[f"body/last/{name}"])
    raw = torch.split(body.stages[-1], [6, 126, 90, 90, 6, 10, 10, 3], 1)
    for name, value in zip(DECODED, raw, strict=False):
        same(value, reference[f"body/last/raw_{name}"])
    same(decoded.betas, reference["body/last/betas"])
    same(decoded.expression, reference["body/last/expression"])
    same(decoded.camera[:, :1], reference["camera/scale"])
    same(decoded.camera[:, 1:], reference["camera/translation"])
    shape = decoded.pose, decoded.betas, decoded.expression
    same(net.layer.vertices(*shape), reference["body/last_vertices/v"])
    same(net.layer.keypoints(*shape), reference["body/last/joints"])


def test_body_crops(whole: WholeBody, reference) -> None:
    """The map from picture to body crop; pixels of the crop here count from its corner, in 256 of its side."""
    crops = whole.answers["body"].crops
    same(crops.angle_rad, np.zeros(2), 0.0)
    for k in range(2):
        same(crops.centre_px[k], reference[f"target_{k}/center"], PIXELS)
        transform = reference[f"target_{k}/crop_transform"].astype(float)
        points = torch.tensor([[[0.0, 0.0], [500.0, 0.0], [300.0, 800.0]]])
        theirs = points[0].numpy() @ transform[:2, :2].T + transform[:2, 2]
        ours = (0.5 * crops.from_image(points.expand(2, -1, -1))[k] + 0.5) * 256.0
        same(ours, theirs, PIXELS)


def test_where_hands_and_face_are_looked_for(whole: WholeBody, reference) -> None:
    """One map of the reference goes from the crop's unit square to the picture; the other from the picture to a grid
    that runs from -1 to twice the distance, in samples, of the crop's edges less one."""
    for part, name in CROPS.items():
        crops, size = whole.answers[part].crops, RELEASED_PARTS["face" if part == "face" else "hand"].size
        from_unit, to_grid = (reference[f"body/{name}_{kind}"] for kind in ("crop_transform", "hd_to_crop"))
        corners = crops.centre_px - crops.side_px[:, None] / 2.0
        same(crops.angle_rad, np.zeros(2), 0.0)
        same(crops.side_px, from_unit[:, 0, 0], PIXELS)
        same(crops.side_px, from_unit[:, 1, 1], PIXELS)
        same(corners, from_unit[:, :2, 2], PIXELS)
        scale = 2.0 * (size - 1) / crops.side_px
        same(scale, to_grid[:, 0, 0])
        same(-1.0 - scale[:, None] * corners, to_grid[:, :2, 2], 5 * PIXELS)


def test_crops(whole: WholeBody, net: WholeBodyNet, images, reference) -> None:
    """Person 0's crops, normalised, from both samplers."""
    mean, std = (np.array(v, np.float32)[:, None, None] for v in (IMAGE_MEAN, IMAGE_STD))
    for part, name in CROPS.items():
        network, crops = "face" if part == "face" else "hand", whole.answers[part].crops
        twin = net._images(pictures_of(images), network, crops)[0].numpy()
        where = Crop(crops.centre_px[0].numpy(), crops.side_px[0].numpy(), crops.angle_rad[0].numpy(), crops.mirrored)
        config = RELEASED_PARTS[network]
        sampled = sample_crop(images[0], where, config.size, SAMPLINGS[config.sampling])
        for crop in (twin, sampled):
            crop = crop[:, :, ::-1] if part == "left_hand" else crop
            same((crop - mean) / std, reference[f"crops/{name}_crops"].astype(np.float32), 2e-3)


def test_what_the_hand_network_starts_from(whole: WholeBody, net: WholeBodyNet, images, reference) -> None:
    body, camera = whole.answers["body"].parameters, camera_of(images)
    hand, starts, parents, orients, poses = net.parts["hand"], {}, {}, {}, {}
    for part, elbow in (("right_hand", 19), ("left_hand", 18)):
        crops = whole.answers[part].crops
        starts[part] = condition(hand.spec, body, hand.regressor.mean, crops, camera)
        parent = absolute_rotation(body.pose, elbow)
        parents[part] = mirror_rotation(parent) if crops.mirrored else parent
        orient = body.pose[:, :1]
        orients[part], poses[part] = mirror_rotation(orient) if crops.mirrored else orient, body.pose[:, 1:22]
    same(hands(starts), reference["hand/in/hand_mean"])
    same(hands(parents), reference["hand/in/parent_rots"])
    same(hands(orients), reference["hand/in/global_orient_from_body_net"])
    same(hands(poses), reference["hand/in/body_pose_from_body_net"])


def test_the_hand_network(whole: WholeBody, reference) -> None:
    answers = {part: whole.answers[part] for part in ("right_hand", "left_hand")}
    last = hands({part: answer.stages[-1] for part, answer in answers.items()})
    same(hands({part: answer.seen.feature for part, answer in answers.items()}), reference["hand/feature"])
    for side, joint in (("right", 21), ("left", 20)):  # these are relative to the elbow, and of the merged body
        same(matrix_to_sixd(whole.pose[:, joint]), reference[f"hand/last/raw_{side}_wrist_pose"])
    same(last[:, 6:96], reference["hand/last/raw_right_hand_pose"])
    same(last[:, 96:106], reference["hand/last/betas"])
    fingers = hands({part: answer.parameters.pose[:, 40:55] for part, answer in answers.items()})
    same(fingers, reference["hand/last/right_hand_pose"])
    same(fingers, reference["hand/last/hand_pose"])
    same(sixd_to_matrix(last[:, :6]), reference["hand/last/wrist_pose"])


def test_the_head_network(whole: WholeBody, net: WholeBodyNet, images, reference) -> None:
    face, answer, body = net.parts["face"], whole.answers["face"], whole.answers["body"].parameters
    same(
        condition(face.spec, body, face.regressor.mean, answer.crops, camera_of(images)), reference["head/in/head_mean"]
    )
    same(body.pose[:, :1], reference["head/in/global_orient_from_body_net"])
    same(body.pose[:, 1:22], reference["head/in/body_pose_from_body_net"])
    same(answer.seen.feature, reference["head/feature"])
    same(answer.stages[-1][:, 6:12], reference["head/last/raw_jaw_pose"])
    same(answer.parameters.pose[:, :1], reference["head/last/head_pose"])
    same(answer.parameters.pose[:, 22:23], reference["head/last/jaw_pose"])
    same(answer.parameters.betas, reference["head/last/betas"])
    same(answer.parameters.expression, reference["head/last/expression"])


def test_the_whole_body(whole: WholeBody, net: WholeBodyNet, reference) -> None:
    for name in DECODED:
        same(whole.pose[:, POSE_SLICES[name]], reference[f"final/{name}"])
    same(whole.betas, reference["final/betas"])
    same(whole.expression, reference["final/expression"])
    shape, body = (whole.pose, whole.betas, whole.expression), whole.answers["body"]
    joints = net.layer.keypoints(*shape)
    same(net.layer.vertices(*shape), reference["final/vertices"])
    same(joints, reference["final/joints"])
    projected = project_weak(joints, body.parameters.camera)
    for name in ("final/proj_joints", "body/final_proj_joints", "body/proj_joints"):
        same(projected, reference[name])
    same(body.crops.to_image(projected), reference["body/hd_proj_joints"], PIXELS)


@pytest.mark.parametrize("person", [0, 1])
def test_the_runtime(people, reference, person: int) -> None:
    predictor, answers = people
    found, row = answers[person], slice(person, person + 1)
    for name in DECODED:
        same(found.pose[:, POSE_SLICES[name]], reference[f"final/{name}"][row])
    same(found.betas, reference["final/betas"][row])
    same(found.expression, reference["final/expression"][row])
    same(predictor.mesh(found) - found.transl[:, None], reference["final/vertices"][row])
    same(predictor.keypoints(found) - found.transl[:, None], reference["final/joints"][row])
    scale, shift = found.crop_camera[:, :1], found.crop_camera[:, 1:]
    same(scale, reference["camera/scale"][row])
    same(shift - reference["body/last/joints"][row, 0, :2], reference["camera/translation"][row])
    same(found.crop_centre_px, reference[f"target_{person}/center"], PIXELS)


def test_another_checkpoint_runs_the_same_in_both_runtimes(oracle: Path, tmp_path: Path) -> None:
    """Seed 2, two people of another picture: there are no reference outputs, but torch and onnxruntime agree."""
    image = read_image(EXAMPLE).pixels
    for imported in made(oracle, tmp_path / "seed2", 2):
        predictor, net = Predictor.load(imported.bundle), imported.net()
        found = predictor(image, boxes=EXAMPLE_BOXES)
        with torch.no_grad():
            whole = net(pictures_of([image]), torch.tensor(EXAMPLE_BOXES).float(), camera_of([image]))
            vertices = net.layer.vertices(whole.pose, whole.betas, whole.expression)
        same(whole.pose, found.pose)
        same(whole.betas, found.betas)
        same(whole.expression, found.expression)
        same(vertices, predictor.mesh(found) - found.transl[:, None])
        spread = np.abs(found.pose[0] - found.pose[1]).max()
        assert spread > 0.01  # two people, two answers
