"""The conventions of docs/conventions.md that no other test holds, and the promises of the documentation itself."""

import hashlib
import json
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from openexpose.body.keypoints import (
    FLIP,
    IBUG68,
    INDEX,
    JOINT_FLIP,
    JOINT_NAMES,
    KEYPOINT_NAMES,
    LEFT_HAND21,
    PARENTS,
    PARTS,
    RIGHT_HAND21,
)
from openexpose.body.mesh import keypoints
from openexpose.body.model import BodyModel, load_body_model
from openexpose.formats.native import CONVENTIONS, write_json, write_npz
from openexpose.geometry.boxes import Crop
from openexpose.geometry.camera import (
    default_focal_px,
    focal_from_fov,
    locate,
    project_perspective,
    project_weak,
    view_rotation,
)
from openexpose.geometry.rotation import mirror_rotation, rotation_about_z, rotvec_to_matrix
from openexpose.people import POSE_SLICES, zero_pose
from openexpose.predict.bundle import BundleConfig, PartConfig, Seen, default_bundle
from openexpose.predict.landmarks import attention_crop
from openexpose.predict.merge import FullCamera, condition, locate_part, merge_part
from openexpose.predict.parts import BODY, FACE, HAND, PartParameters, PartSpec, decode, encode
from openexpose.predict.pipeline import Predictor

ROOT = Path(__file__).parents[1]
UPRIGHT = np.diag([1.0, -1.0, -1.0])
CAMERA = FullCamera(900.0, np.array([320.0, 240.0]))


@pytest.fixture(scope="module")
def body() -> BodyModel:
    return load_body_model()


def random_parameters(rng: np.random.Generator, spec: PartSpec, count: int) -> PartParameters:
    pose = zero_pose(count)
    slots = list(spec.pose_slots)
    pose[:, slots] = rotvec_to_matrix(rng.normal(0, 0.4, (count, len(slots), 3)))
    expression = rng.normal(size=(count, 20)) * (spec.num_expression > 0)
    camera = np.stack([rng.uniform(0.5, 9.0, count), *rng.normal(0, 0.1, (2, count))], -1)
    return PartParameters(pose, rng.normal(size=(count, 10)), expression, camera)


def random_crop(rng: np.random.Generator, count: int, mirrored: bool) -> Crop:
    return Crop(rng.uniform(50, 400, (count, 2)), rng.uniform(30, 200, count), rng.uniform(-3, 3, count), mirrored)


class FakeRunner:
    """A part network that sees the same in every picture and always gives the same answer."""

    has_landmarks = True

    def __init__(self, spec: PartSpec, answer: np.ndarray, landmarks: np.ndarray, own_crop: bool) -> None:
        self.spec, self.mean, self.answer, self.landmarks = spec, answer, answer, landmarks
        self.config = PartConfig(64, 1.25, False, 2 if own_crop else 1, False, 0.5, 10.0)

    def look(self, images: np.ndarray) -> Seen:
        count, points = len(images), len(self.landmarks)
        landmarks = np.tile(self.landmarks, (count, 1, 1))
        return Seen(np.zeros((count, 4)), landmarks, np.ones((count, points)), None, np.full(count, 0.9))

    def regress(self, seen: Seen, start: np.ndarray) -> np.ndarray:
        return np.repeat(self.answer[None], len(seen.presence), 0)


def fake_predictor(body: BodyModel, name: str, runner: FakeRunner) -> Predictor:
    predictor = Predictor.__new__(Predictor)
    predictor.parts, predictor.timings = {name: runner}, {}
    predictor.config = BundleConfig.read(default_bundle())
    predictor.__dict__["body_model"] = body
    return predictor


def test_camera_frame_is_x_right_y_down_z_away() -> None:
    points = np.array([[0.0, 0.0, 2.0], [1.0, 0.0, 2.0], [0.0, 1.0, 2.0], [1.0, 0.0, 4.0]])
    pixels = project_perspective(points, 100.0, np.array([320.0, 240.0]))
    np.testing.assert_allclose(pixels, [[320, 240], [370, 240], [320, 290], [345, 240]])


def test_weak_perspective_shifts_before_it_scales() -> None:
    point = np.array([[0.5, -0.25, 7.0]])
    np.testing.assert_allclose(project_weak(point, np.array([2.0, 0.1, 0.2])), [[1.2, -0.1]])


def test_default_focal_length_is_the_diagonal_and_fov_spans_the_longer_side() -> None:
    assert default_focal_px(300, 400) == default_focal_px(400, 300) == pytest.approx(500.0)
    assert focal_from_fov(90.0, 400, 300) == focal_from_fov(90.0, 300, 400) == pytest.approx(200.0)


def test_view_rotation_points_the_virtual_camera_at_the_crop() -> None:
    crop = random_crop(np.random.default_rng(0), 8, False)
    view = view_rotation(crop, CAMERA.focal_px, CAMERA.principal_px)
    np.testing.assert_allclose(view @ view.swapaxes(-1, -2), np.tile(np.eye(3), (8, 1, 1)), atol=1e-12)
    seen = project_perspective(view @ [0, 0, 3.0], CAMERA.focal_px, CAMERA.principal_px)
    np.testing.assert_allclose(seen, crop.centre_px, atol=1e-9)
    far = view_rotation(crop, 1e12, CAMERA.principal_px)
    np.testing.assert_allclose(far, rotation_about_z(crop.angle_rad), atol=1e-9)


def test_view_rotation_turns_like_the_crop() -> None:
    crop = Crop(CAMERA.principal_px, np.array(100.0), np.array(0.7))
    view = view_rotation(crop, CAMERA.focal_px, CAMERA.principal_px)
    step = np.array([[0.01, 0.0, 1.0], [0.0, 0.01, 1.0]]) @ view.T
    direction = project_perspective(step, CAMERA.focal_px, CAMERA.principal_px) - crop.centre_px
    np.testing.assert_allclose(direction / 9.0, (crop.to_image(np.eye(2)) - crop.centre_px) / 50.0, atol=1e-12)


def test_locate_inverts_the_projection() -> None:
    rng = np.random.default_rng(1)
    points, transl = rng.normal(0, 0.4, (5, 12, 3)), rng.uniform([-1, -1, 2], [1, 1, 9], (5, 3))
    pixels = project_perspective(points + transl[:, None], CAMERA.focal_px, CAMERA.principal_px)
    np.testing.assert_allclose(locate(points, pixels, CAMERA.focal_px, CAMERA.principal_px), transl, atol=1e-9)


def test_upright_frontal_person_has_global_orientation_diag_1_m1_m1(body: BodyModel) -> None:
    pose = zero_pose(1)
    pose[:, 0] = UPRIGHT
    points = keypoints(body, pose, np.zeros((1, 10)), np.zeros((1, 20)))[0] + [0, 0, 4.0]
    nose, pelvis, left, right = points[[INDEX[n] for n in ("nose", "pelvis", "left_shoulder", "right_shoulder")]]
    assert nose[1] < pelvis[1] - 0.5, "the head is up in the picture (y down)"
    assert left[0] > right[0] + 0.2, "the left shoulder is right in the picture"
    assert nose[2] < points[INDEX["head"], 2], "the nose is nearer than the head joint"


def test_order_of_joints_and_keypoints(body: BodyModel) -> None:
    assert (len(JOINT_NAMES), len(KEYPOINT_NAMES), len(set(KEYPOINT_NAMES))) == (55, 144, 144)
    assert KEYPOINT_NAMES[:55] == JOINT_NAMES
    known = "pelvis head left_wrist jaw left_index1 left_pinky1 left_thumb1 right_index1 nose right_eye".split()
    known += "left_eye left_thumb right_pinky right_eye_brow1 right_contour_1 contour_middle left_contour_1".split()
    places = [0, 15, 20, 22, 25, 31, 37, 40, 55, 56, 57, 66, 75, 76, 127, 135, 143]
    assert [KEYPOINT_NAMES[place] for place in places] == known
    np.testing.assert_array_equal(PARENTS, body.parents)
    np.testing.assert_array_equal(FLIP[FLIP], np.arange(144))
    np.testing.assert_array_equal(PARENTS[JOINT_FLIP[1:]], JOINT_FLIP[PARENTS[1:]])
    assert [len(PARTS[name]) for name in ("body", "left_hand", "right_hand", "face", "head")] == [36, 21, 21, 68, 77]
    assert IBUG68[[0, 8, 17, 67]].tolist() == [127, 135, 76, 126]
    assert RIGHT_HAND21[:6].tolist() == [21, 52, 53, 54, 71, 40]
    np.testing.assert_array_equal(np.sort(FLIP[RIGHT_HAND21]), np.sort(LEFT_HAND21))


def test_named_poses_cover_the_55_joints_in_order() -> None:
    slots = [(s.start, s.stop) for s in POSE_SLICES.values()]
    assert slots[0][0] == 0 and slots[-1][1] == 55
    assert all(left[1] == right[0] for left, right in pairwise(slots))
    for name, joint in {"jaw_pose": "jaw", "leye_pose": "left_eye_smplx", "right_hand_pose": "right_index1"}.items():
        assert JOINT_NAMES[POSE_SLICES[name].start] == joint


@pytest.mark.parametrize("spec", [BODY, HAND, FACE], ids=lambda spec: spec.name)
def test_parameter_vector_layout(spec: PartSpec) -> None:
    """Rotations 6D, betas, expression, camera; the first rotation is the part's root; encode inverts decode."""
    assert (BODY.size, HAND.size, FACE.size) == (351, 109, 45)
    assert [JOINT_NAMES[part.root_joint] for part in (BODY, HAND, FACE)] == ["pelvis", "right_wrist", "head"]
    parameters = random_parameters(np.random.default_rng(2), spec, 4)
    vector = encode(parameters, spec)
    assert vector.shape == (4, spec.size)
    np.testing.assert_allclose(vector[:, :6], parameters.pose[:, 0, :, :2].reshape(4, 6), atol=1e-6)
    again = decode(vector, spec)
    for name in ("pose", "betas", "expression", "camera"):
        np.testing.assert_allclose(getattr(again, name), getattr(parameters, name), atol=1e-5, err_msg=name)


@pytest.mark.parametrize("spec", [BODY, HAND, FACE], ids=lambda spec: spec.name)
def test_torch_decodes_like_numpy(spec: PartSpec) -> None:
    torch = pytest.importorskip("torch")
    from openexpose.nets import decode as torch_decode

    vector = np.random.default_rng(3).normal(size=(3, spec.size)).astype(np.float32)
    ours, theirs = decode(vector, spec), torch_decode.decode(torch.from_numpy(vector), spec)
    for name in ("pose", "betas", "expression", "camera"):
        np.testing.assert_allclose(getattr(theirs, name).numpy(), getattr(ours, name), atol=1e-5, err_msg=name)
    points = np.random.default_rng(4).normal(size=(3, 7, 3)).astype(np.float32)
    flat = torch_decode.project_weak(torch.from_numpy(points), theirs.camera)
    np.testing.assert_allclose(flat.numpy(), project_weak(points, ours.camera), atol=1e-5)


def test_a_hand_is_certain_only_as_the_hand_of_its_side() -> None:
    rows, presence, side = np.zeros((3, 1)), np.array([0.9, 0.8, 0.1]), np.array([1.0, 0.5, 0.9])
    hand = Seen(rows, np.zeros((3, 1, 3)), rows, None, presence, side)
    np.testing.assert_allclose(hand.certainty, [0.9, 0.4, 0.09])
    face = Seen(rows, np.zeros((3, 1, 3)), rows, None, presence)
    np.testing.assert_array_equal(face.certainty, presence)


def test_losses_vanish_at_the_truth_and_only_there(body: BodyModel) -> None:
    torch = pytest.importorskip("torch")
    from openexpose.losses import LossWeights, PartTarget, SkinMotion, part_loss, skin_factor
    from openexpose.nets.body_layer import BodyLayer
    from openexpose.nets.decode import decode as torch_decode

    rng, points_of = np.random.default_rng(9), list(HAND.keypoints)
    vectors = [torch.tensor(encode(random_parameters(rng, HAND, 3), HAND)) for _ in range(2)]
    truth, other = (torch_decode(vector, HAND) for vector in vectors)
    layer = BodyLayer(body)
    points, others = (layer.keypoints(a.pose, a.betas, a.expression)[:, points_of] for a in (truth, other))
    points, others = points - points[:, :1], others - others[:, :1]
    projected = truth.camera[:, None, :1] * (points[..., :2] + truth.camera[:, None, 1:])
    seen = torch.ones(points.shape[:2])
    target = PartTarget(truth.pose, truth.betas, truth.expression, points, projected, seen, truth.camera)
    skin = SkinMotion(*(skin_factor(torch.tensor(d)) for d in (body.shape_dirs, body.expression_dirs)))
    arguments = target, list(HAND.pose_slots), torch.ones(len(points_of)), LossWeights(), skin
    assert all(float(term) == pytest.approx(0, abs=1e-5) for term in part_loss(truth, points, *arguments).values())
    terms = part_loss(other, others, *arguments)
    assert all(float(term) > 1e-3 for name, term in terms.items() if name != "expression")
    naive = 5.0 * np.abs(others.numpy() - points.numpy()).sum(-1).mean()
    assert float(terms["points"]) == pytest.approx(naive, rel=1e-5)


@pytest.mark.parametrize("part", ["left_hand", "right_hand"])
def test_attention_crop_turns_fingers_up_and_mirrors_left_hands(part: str) -> None:
    rng = np.random.default_rng(4)
    points = rng.uniform(100, 200, (5, 144, 2))
    crop = attention_crop(points, part, 3.0, True)
    assert crop.mirrored == (part == "left_hand")
    inside = crop.from_image(points[:, PARTS[part]])
    np.testing.assert_allclose(np.abs(inside).max((1, 2)), 1 / 3, atol=1e-9)
    wrist, knuckle = (crop.from_image(points[:, [INDEX[part.replace("hand", name)]]]) for name in ("wrist", "middle1"))
    np.testing.assert_allclose((knuckle - wrist)[..., 0], 0, atol=1e-9)
    assert ((knuckle - wrist)[..., 1] < 0).all()


@pytest.mark.parametrize(("spec", "mirrored"), [(HAND, False), (HAND, True), (FACE, False)])
def test_merging_the_start_of_a_part_changes_nothing(body: BodyModel, spec: PartSpec, mirrored: bool) -> None:
    """Body to part (crop frame, left hand mirrored) and part to body undo each other."""
    rng = np.random.default_rng(5)
    whole, mean = random_parameters(rng, BODY, 3), random_parameters(rng, spec, 3)
    crop = random_crop(rng, 3, mirrored)
    start = condition(spec, whole, mean, crop, CAMERA)
    located = locate_part(body, spec, start, crop, CAMERA)
    merged = merge_part(whole.pose, spec, located.pose, mirrored, np.ones(3, bool))
    np.testing.assert_allclose(merged, whole.pose, atol=1e-5)


def test_a_left_hand_is_the_mirror_image_of_a_right_hand(body: BodyModel) -> None:
    answer = encode(random_parameters(np.random.default_rng(6), HAND, 1), HAND)[0]
    predictor = fake_predictor(body, "hand", FakeRunner(HAND, answer, np.zeros((21, 3)), False))
    pixels = np.zeros((480, 640, 3), np.uint8)
    right = predictor(pixels, boxes=np.array([[100.0, 80, 180, 200]]), part="right-hand")
    left = predictor(pixels, boxes=np.array([[460.0, 80, 540, 200]]), part="left-hand")
    np.testing.assert_allclose(left.pose, mirror_rotation(right.pose)[:, JOINT_FLIP], atol=1e-6)
    points, mirrored = predictor.keypoints(right)[0, RIGHT_HAND21], predictor.keypoints(left)[0, LEFT_HAND21]
    np.testing.assert_allclose(mirrored, points * [-1, 1, 1], atol=5e-3)


def test_crop_camera_belongs_to_the_upright_crop(body: BodyModel) -> None:
    """The second look may turn the crop; what is reported is the camera of the upright square about the same centre."""
    parameters = random_parameters(np.random.default_rng(7), BODY, 1)
    parameters.camera[:, 0] = 0.9
    landmarks = np.zeros((39, 3))
    landmarks[34, :2] = 0.7 * np.array([np.sin(0.5), -np.cos(0.5)])
    runner = FakeRunner(BODY, encode(parameters, BODY)[0], landmarks, True)
    predictor = fake_predictor(body, "body", runner)
    focal = 1e6  # far away the two cameras agree
    people = predictor(
        np.zeros((480, 640, 3), np.uint8),
        boxes=np.array([[220.0, 40, 420, 440]]),
        focal_px=focal,
        attention=False,
        refinement=False,
    )
    points = predictor.keypoints(people)
    crop = Crop(people.crop_centre_px, people.crop_side_px, np.zeros(1))
    weak = crop.to_image(project_weak(points - points[:, :1], people.crop_camera))
    np.testing.assert_allclose(weak, project_perspective(points, focal, people.principal_px), atol=0.1)
    np.testing.assert_allclose(people.principal_px, [320, 240])


def test_files_hold_what_the_page_lists(body: BodyModel, tmp_path: Path) -> None:
    answer = encode(random_parameters(np.random.default_rng(8), BODY, 1), BODY)[0]
    predictor = fake_predictor(body, "body", FakeRunner(BODY, answer, np.zeros((39, 3)), False))
    people = predictor(np.zeros((480, 640, 3), np.uint8), boxes=np.array([[220.0, 40, 420, 440]]), attention=False)
    assert people.focal_px == pytest.approx(800.0)
    write_json(tmp_path / "a.json", people, predictor.keypoints(people), image_name="a.jpg", focal_source="default")
    write_npz(tmp_path / "a.npz", people, image_name="a.jpg", focal_source="default")
    document = json.loads((tmp_path / "a.json").read_text())
    assert document["conventions"] == CONVENTIONS
    (person,) = document["people"]
    names = [*document, *person, *person["camera"]["perspective"], *person["camera"]["weak_perspective"]]
    with np.load(tmp_path / "a.npz", allow_pickle=False) as npz:
        names += [name for name in npz.files if not name.endswith("_rotmat")]
    page = (ROOT / "docs" / "conventions.md").read_text("utf-8")
    assert [name for name in names if f"`{name}`" not in page] == []


@pytest.mark.parametrize("page", ["conventions.md", "paper.md"])
def test_tests_and_files_named_by_the_documentation_exist(page: str) -> None:
    text = (ROOT / "docs" / page).read_text("utf-8")
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", text)
    assert named
    missing = [f"{file}::{test}" for file, test in named if f"def {test}" not in (ROOT / file).read_text("utf-8")]
    assert missing == []
    files = re.findall(r"`((?:src|docs|runs|bench|examples)/[\w/.]+\.\w+)`", text)
    assert [file for file in files if not (ROOT / file).exists()] == []


def test_the_licence_page_lists_every_converted_network() -> None:
    page = (ROOT / "docs" / "licences.md").read_text("utf-8")
    folder = ROOT / "src" / "openexpose" / "predict" / "bundles" / "default"
    for name in ("body_trunk", "hand_trunk", "face_trunk", "detector"):
        digest = hashlib.sha256((folder / f"{name}.onnx").read_bytes()).hexdigest()
        assert digest in page, f"{name}.onnx changed: update docs/licences.md"
