"""Bundles of the paper's recipe at run time: lone parts, the numbers of coefficients, nobody, damaged bundles."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import EXAMPLE, EXAMPLE_BOXES

from openexpose.body.keypoints import IBUG68, PARTS
from openexpose.body.mesh import posed_mesh
from openexpose.body.model import load_body_model
from openexpose.errors import InputError
from openexpose.formats.native import write_json, write_npz
from openexpose.geometry.boxes import Crop
from openexpose.geometry.camera import project_perspective, project_weak
from openexpose.image.read import read_image
from openexpose.people import POSE_SLICES
from openexpose.predict.follow import unknown
from openexpose.predict.parts import RECIPES
from openexpose.predict.pipeline import Predictor

FACE_BOX = np.array([[170.0, 50.0, 280.0, 170.0]])


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.nets.tiny_paper import trained_parts, write_paper_bundle

    return write_paper_bundle(tmp_path_factory.mktemp("bundle"), trained_parts())


@pytest.fixture(scope="module")
def predictor(bundle: Path) -> Predictor:
    return Predictor.load(bundle, threads=1)


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return read_image(EXAMPLE).pixels


def test_whole_people(predictor: Predictor, pixels: np.ndarray, tmp_path: Path) -> None:
    """Ten shape and ten expression coefficients; everything is believed; all formats take the result."""
    people = predictor(pixels, boxes=EXAMPLE_BOXES)
    assert people.betas.shape == people.expression.shape == (2, 10)
    assert (people.part_confidence == 1).all() and (people.joint_confidence == 1).all()
    mesh, joints = predictor.mesh(people), predictor.keypoints(people)
    assert np.isfinite(mesh).all() and joints.shape == (2, 144, 3)
    eyes = people.pose[:, 23:25]
    np.testing.assert_array_equal(eyes, np.broadcast_to(np.eye(3), eyes.shape))
    names = {"image_name": "a.jpg", "focal_source": "default"}
    write_json(tmp_path / "a.json", people, joints, **names)
    write_npz(tmp_path / "a.npz", people, **names)
    with np.load(tmp_path / "a.npz") as content:
        assert content["expression"].shape == (2, 10)


def test_refinement_needs_landmarks(predictor: Predictor, pixels: np.ndarray) -> None:
    """There are none, so asking for it changes nothing."""
    with_it, without = (predictor(pixels, boxes=EXAMPLE_BOXES, refinement=r) for r in (True, False))
    np.testing.assert_array_equal(with_it.pose, without.pose)
    np.testing.assert_array_equal(with_it.transl, without.transl)
    assert "refine" not in predictor.timings
    assert predictor.trunk_points(0) == {}


def test_a_person_is_placed_where_the_weak_camera_shows_it(predictor: Predictor, pixels: np.ndarray) -> None:
    """Both cameras show the joints at the same places, but for the perspective that the weak one does not know."""
    people = predictor(pixels, boxes=EXAMPLE_BOXES, attention=False)
    joints = predictor.keypoints(people)
    crop = Crop(people.crop_centre_px, people.crop_side_px, np.zeros(2))
    weak = crop.to_image(project_weak(joints - joints[:, :1], people.crop_camera))[:, :22]
    pinhole = project_perspective(joints, people.focal_px, people.principal_px)[:, :22]
    gap = np.linalg.norm(weak - pinhole, axis=-1) / people.crop_side_px[:, None]
    assert np.median(gap) < 0.05 and gap.max() < 0.3


@pytest.mark.parametrize("box", [None, FACE_BOX])
def test_a_lone_face_has_all_its_coefficients(predictor: Predictor, bundle: Path, pixels, box) -> None:
    """100 of shape and 50 of expression, and a mesh that they move."""
    people = predictor(pixels, boxes=box, part="face")
    assert people.betas.shape == (1, 100) and people.expression.shape == (1, 50)
    assert np.abs(people.betas[:, 10:]).min() > 0 and np.abs(people.expression[:, 10:]).min() > 0
    mesh, joints = predictor.mesh(people), predictor.keypoints(people)
    model = load_body_model(num_betas=100, num_expression=50)
    expected = posed_mesh(model, people.pose, people.betas, people.expression).vertices + people.transl[:, None]
    np.testing.assert_allclose(mesh, expected, atol=1e-6)
    rest = np.delete(people.pose[0], [0, 22], 0)
    np.testing.assert_array_equal(rest, np.broadcast_to(np.eye(3), rest.shape))
    crop = Crop(people.crop_centre_px, people.crop_side_px, np.zeros(1))
    weak = crop.to_image(project_weak(joints - joints[:, [15]], people.crop_camera))[0, IBUG68]
    pinhole = project_perspective(joints, people.focal_px, people.principal_px)[0, IBUG68]
    assert np.linalg.norm((weak - pinhole).mean(0)) < 0.05 * people.crop_side_px[0]  # perspective distorts, far out
    assert (people.joint_confidence[0, PARTS["head"]] == 1).all() and people.joint_confidence[0, 0] == 0


def test_a_lone_left_hand_is_a_mirrored_right_one(predictor: Predictor, pixels: np.ndarray) -> None:
    box, width = np.array([[300.0, 300.0, 360.0, 370.0]]), pixels.shape[1]
    mirrored_box = np.stack([width - box[:, 2], box[:, 1], width - box[:, 0], box[:, 3]], 1)
    right = predictor(pixels, boxes=box, part="right-hand")
    left = predictor(np.ascontiguousarray(pixels[:, ::-1]), boxes=mirrored_box, part="left-hand")
    sign = np.array([[1, -1, -1], [-1, 1, 1], [-1, 1, 1]])
    ours, theirs = POSE_SLICES["right_hand_pose"], POSE_SLICES["left_hand_pose"]
    np.testing.assert_allclose(left.pose[:, theirs] * sign, right.pose[:, ours], atol=1e-5)
    np.testing.assert_allclose(left.pose[:, 0] * sign, right.pose[:, 0], atol=1e-5)
    np.testing.assert_allclose(left.betas, right.betas, atol=1e-5)


def test_nobody(predictor: Predictor, pixels: np.ndarray) -> None:
    none = np.zeros((0, 4))
    for part in ("whole", "face", "left-hand"):
        people = predictor(pixels, boxes=none, part=part)
        assert len(people) == 0 and predictor.mesh(people).shape[0] == 0
    assert predictor(pixels, boxes=none, part="face").betas.shape == (0, 100)
    assert predictor(pixels, boxes=none).expression.shape == (0, 10)


def test_without_a_detector_boxes_are_needed(predictor: Predictor, pixels: np.ndarray) -> None:
    with pytest.raises(InputError, match="without a person detector"):
        predictor(pixels)


@pytest.mark.parametrize(
    ("change", "told"),
    [({"recipe": "soup"}, "the recipe 'soup'"), ({"sampling": "nearest"}, r"the sampling \['nearest'\]")],
)
def test_unknown_recipes_and_samplings_are_told(bundle: Path, tmp_path: Path, change: dict, told: str) -> None:
    content = json.loads((bundle / "bundle.json").read_text())
    if "sampling" in change:
        content["parts"]["hand"] |= change
    else:
        content |= change
    shutil.copytree(bundle, tmp_path / "bundle")
    (tmp_path / "bundle" / "bundle.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=told):
        Predictor.load(tmp_path / "bundle")


def test_the_numbers_of_the_recipe() -> None:
    specs = RECIPES["paper"]
    assert [specs[part].size for part in ("body", "hand", "face")] == [341, 109, 165]
    assert [specs[part].model_size for part in ("body", "hand", "face")] == [(10, 10), (10, 10), (100, 50)]
    assert [specs[part].merges_root for part in ("body", "hand", "face")] == [True, True, False]
    assert [specs[part].from_origin for part in ("body", "hand", "face")] == [True, False, False]


def test_every_frame_of_a_clip_is_looked_at_as_a_photo(predictor: Predictor, pixels: np.ndarray) -> None:
    """Trunks without landmarks tell nothing of the next frame."""
    box = EXAMPLE_BOXES[:1]
    people, aims = predictor.follow(pixels, box, unknown(1))
    again, _ = predictor.follow(pixels, box, aims)
    assert np.isnan(aims.crops).all()
    for some in (people, again):
        np.testing.assert_allclose(some.pose, predictor(pixels, boxes=box).pose, atol=1e-5)
