"""The predictor, run with random heads behind the packaged trunks: laws that hold whatever the heads say."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import EXAMPLE, EXAMPLE_BOXES

from openexpose.body.keypoints import COCO17, FLIP, IBUG68, JOINT_FLIP, LEFT_HAND21, PARTS, RIGHT_HAND21
from openexpose.errors import InputError
from openexpose.geometry.boxes import Crop
from openexpose.geometry.camera import project_perspective, project_weak
from openexpose.geometry.rotation import mirror_rotation
from openexpose.image.read import read_image
from openexpose.people import People
from openexpose.predict.pipeline import PART_CHOICES, Predictor

pytest.importorskip("torch", reason="the random heads are exported with torch: the extra 'train' is not installed")
FACE_BOX = np.array([[175.0, 60.0, 275.0, 165.0]])
HAND_BOX = np.array([[300.0, 300.0, 390.0, 400.0]])


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return read_image(EXAMPLE).pixels


@pytest.fixture(scope="module")
def predictor(tiny_bundle: Path) -> Predictor:
    predictor = Predictor.load(tiny_bundle, threads=1)
    for runner in predictor.parts.values():
        runner.config = replace(runner.config, min_presence=0.0, max_shift=10.0)
    return predictor


@pytest.fixture(scope="module")
def people(predictor: Predictor, pixels: np.ndarray) -> People:
    return predictor(pixels, boxes=EXAMPLE_BOXES, refinement=False)


def assert_same(some: People, others: People) -> None:
    for name in ("pose", "betas", "expression", "transl", "part_confidence", "joint_confidence", "crop_side_px"):
        np.testing.assert_allclose(getattr(some, name), getattr(others, name), atol=1e-4, err_msg=name)


def test_results_follow_the_boxes(predictor: Predictor, people: People, pixels: np.ndarray) -> None:
    """One person each, in the order of the boxes, whoever else is in the picture."""
    np.testing.assert_array_equal(people.bbox_xyxy, EXAMPLE_BOXES)
    assert_same(predictor(pixels, boxes=EXAMPLE_BOXES[::-1], refinement=False), people[::-1])
    assert_same(predictor(pixels, boxes=EXAMPLE_BOXES[1:], refinement=False), people[1:])


def test_results_are_bodies_in_the_pictures_camera(predictor: Predictor, people: People, pixels: np.ndarray) -> None:
    height, width = pixels.shape[:2]
    assert people.image_size == (width, height) and people.focal_px == pytest.approx(np.hypot(width, height))
    product = np.swapaxes(people.pose, -1, -2) @ people.pose
    np.testing.assert_allclose(product, np.broadcast_to(np.eye(3), product.shape), atol=1e-5)
    np.testing.assert_allclose(np.linalg.det(people.pose), 1.0, atol=1e-5)
    points, vertices = predictor.keypoints(people), predictor.mesh(people)
    assert points.shape == (2, 144, 3) and vertices.shape == (2, len(predictor.body_model.v_template), 3)
    assert (people.transl[:, 2] > 0.1).all() and (points[:, 0, 2] > 0).all()
    for confidence in (people.part_confidence, people.joint_confidence):
        assert (confidence >= 0).all() and (confidence <= 1).all()


@pytest.mark.parametrize("full", [False, True], ids=["body network alone", "attention and refinement"])
def test_both_cameras_show_the_body_at_the_same_place(predictor: Predictor, pixels: np.ndarray, full: bool) -> None:
    """The recorded upright crop camera agrees with the pinhole camera up to perspective: a long lens has none."""
    people = predictor(pixels, boxes=EXAMPLE_BOXES, focal_px=1e5, attention=full, refinement=full)
    points = predictor.keypoints(people)[:, :22]
    crop = Crop(people.crop_centre_px, people.crop_side_px, np.zeros(2))
    weak = crop.to_image(project_weak(points - points[:, :1], people.crop_camera))
    shown = project_perspective(points, people.focal_px, people.principal_px)
    assert np.abs(weak - shown).max() < 0.01 * people.crop_side_px.min()


def test_the_focal_length_moves_people_away_but_not_in_the_picture(predictor: Predictor, pixels: np.ndarray) -> None:
    near, far = (
        predictor(pixels, boxes=EXAMPLE_BOXES, focal_px=f, attention=False, refinement=False) for f in (2000.0, 4000.0)
    )
    np.testing.assert_allclose(far.transl[:, 2] / near.transl[:, 2], 2.0, rtol=0.05)
    shown = [project_perspective(predictor.keypoints(p), p.focal_px, p.principal_px)[:, 0] for p in (near, far)]
    np.testing.assert_allclose(*shown, atol=0.01 * people_size(near))


def people_size(people: People) -> float:
    return float(people.crop_side_px.max())


def test_without_attention_hands_and_face_are_the_body_networks(predictor, people, pixels) -> None:
    alone = predictor(pixels, boxes=EXAMPLE_BOXES, attention=False, refinement=False)
    merged = {15, 20, 21, 22, *range(25, 55)}
    changed = np.abs(alone.pose - people.pose).max((0, 2, 3)) > 1e-6
    assert set(np.flatnonzero(changed)) == merged
    assert (alone.expression != people.expression).any()
    for name in ("betas", "transl"):
        np.testing.assert_array_equal(getattr(alone, name), getattr(people, name))


def test_parts_that_are_not_seen_keep_the_bodys_estimate(tiny_bundle: Path, pixels: np.ndarray) -> None:
    predictor = Predictor.load(tiny_bundle, threads=1)
    for runner in predictor.parts.values():
        runner.config = replace(runner.config, min_presence=1.1)
    gated = predictor(pixels, boxes=EXAMPLE_BOXES, refinement=False)
    alone = predictor(pixels, boxes=EXAMPLE_BOXES, attention=False, refinement=False)
    np.testing.assert_array_equal(gated.pose, alone.pose)
    np.testing.assert_array_equal(gated.expression, alone.expression)
    assert (gated.part_confidence[:, 1:] <= 1).all()


@pytest.mark.parametrize("conditioned", [False, True])
def test_hands_and_face_start_where_the_bundle_says(
    tiny_bundle: Path, pixels: np.ndarray, conditioned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At their own mean, or at the body's estimate (paper, eq. 3, 4)."""
    predictor = Predictor.load(tiny_bundle, threads=1)
    starts: dict[str, np.ndarray] = {}
    for name, runner in predictor.parts.items():
        runner.config = replace(runner.config, conditioned=conditioned)

        def regress(seen: object, start: np.ndarray, name: str = name, known=runner.regress) -> np.ndarray:
            starts[name] = start
            return known(seen, start)

        monkeypatch.setattr(runner, "regress", regress)
    predictor(pixels, boxes=EXAMPLE_BOXES)
    means = {name: np.repeat(predictor.parts[name].mean[None], len(EXAMPLE_BOXES), 0) for name in starts}
    np.testing.assert_array_equal(starts["body"], means["body"])
    assert starts.keys() == means.keys() == {"body", "hand", "face"}
    for name in ("hand", "face"):
        assert np.allclose(starts[name], means[name], atol=1e-4) != conditioned, name


def test_the_detector_finds_the_astronaut(predictor: Predictor, pixels: np.ndarray) -> None:
    found = predictor(pixels, attention=False, refinement=False)
    assert len(found) == 1 and found.score[0] > 0.5
    assert {"detector", "crops", "body trunk", "body head", "merge"} == set(predictor.timings)
    assert all(seconds >= 0 for seconds in predictor.timings.values())
    given = predictor(pixels, boxes=found.bbox_xyxy, attention=False, refinement=False)
    assert_same(given, found)
    assert given.score[0] == 1.0


@pytest.mark.parametrize("part", PART_CHOICES)
def test_no_boxes_no_people(predictor: Predictor, pixels: np.ndarray, part: str) -> None:
    nobody = predictor(pixels, boxes=np.zeros((0, 4)), part=part)
    assert len(nobody) == 0 and nobody.part == part
    assert predictor.keypoints(nobody).shape == (0, 144, 3)
    assert predictor.mesh(nobody).shape[0] == 0


def test_a_box_beside_the_picture_gives_finite_numbers(predictor: Predictor, pixels: np.ndarray) -> None:
    assert len(predictor(pixels, boxes=np.array([[-900.0, -900.0, -700.0, -600.0]]))) == 1
    assert len(predictor(np.zeros((5, 3, 3), np.uint8), boxes=np.array([[0.0, 0.0, 3.0, 5.0]]))) == 1


def test_a_lone_left_hand_is_a_lone_right_hand_in_the_mirror(predictor: Predictor, pixels: np.ndarray) -> None:
    width = pixels.shape[1]
    other_box = np.stack([width - HAND_BOX[:, 2], HAND_BOX[:, 1], width - HAND_BOX[:, 0], HAND_BOX[:, 3]], -1)
    right = predictor(pixels, boxes=HAND_BOX, part="right-hand")
    left = predictor(np.ascontiguousarray(pixels[:, ::-1]), boxes=other_box, part="left-hand")
    np.testing.assert_allclose(mirror_rotation(left.pose)[:, JOINT_FLIP], right.pose, atol=1e-3)
    np.testing.assert_allclose(left.betas, right.betas, atol=1e-3)
    np.testing.assert_allclose(left.joint_confidence[:, FLIP], right.joint_confidence, atol=1e-3)
    mirrored = [width - left.crop_centre_px[0, 0], left.crop_centre_px[0, 1]]
    np.testing.assert_allclose(mirrored, right.crop_centre_px[0], atol=1e-2)
    np.testing.assert_allclose(left.crop_camera * [1.0, -1.0, 1.0], right.crop_camera, atol=1e-3)
    assert set(np.flatnonzero(right.joint_confidence[0])) <= set(PARTS["right_hand"])


@pytest.mark.parametrize("quarter", [1, 2, 3])
def test_a_lone_face_is_found_whichever_way_up(predictor: Predictor, pixels: np.ndarray, quarter: int) -> None:
    """The picture turned by quarter turns: as well seen, and the head's rotation turned by as much."""
    upright = predictor(pixels, boxes=FACE_BOX, part="face", focal_px=1e6)
    assert upright.part_confidence[0, 3] > 0.9
    size = pixels.shape[0]
    corners = FACE_BOX.reshape(2, 2)
    for _ in range(quarter):  # np.rot90 turns counter-clockwise: (x, y) -> (y, size - x)
        corners = np.stack([corners[:, 1], size - corners[:, 0]], -1)
    box = np.concatenate([corners.min(0), corners.max(0)])[None]
    turned = predictor(np.ascontiguousarray(np.rot90(pixels, quarter)), boxes=box, part="face", focal_px=1e6)
    c, s = np.round(np.cos(-quarter * np.pi / 2)), np.round(np.sin(-quarter * np.pi / 2))
    turn = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    np.testing.assert_allclose(turned.pose[0, 0], turn @ upright.pose[0, 0], atol=2e-2)
    np.testing.assert_allclose(turned.part_confidence, upright.part_confidence, atol=1e-2)


def test_the_trunks_own_landmarks_of_the_last_call(predictor: Predictor, pixels: np.ndarray) -> None:
    predictor(pixels, boxes=EXAMPLE_BOXES)
    both = [predictor.trunk_points(person) for person in (0, 1)]
    assert {part: points.shape for part, points in both[0].items()} == {
        "body": (17, 3), "face": (68, 3), "left_hand": (21, 3), "right_hand": (21, 3),
    }  # fmt: skip
    predictor(pixels, boxes=EXAMPLE_BOXES[1:])
    for part, points in predictor.trunk_points(0).items():
        np.testing.assert_allclose(points, both[1][part], atol=1e-2)
    with pytest.raises(InputError, match="person 1"):
        predictor.trunk_points(1)
    predictor(pixels, boxes=EXAMPLE_BOXES, attention=False)
    assert set(predictor.trunk_points(1)) == {"body"}
    np.testing.assert_allclose(predictor.trunk_points(1)["body"], both[1]["body"], atol=1e-2)
    predictor(pixels, boxes=np.zeros((0, 4)))
    assert predictor.trunk_points(0) == {}


def test_all_that_the_trunks_saw_in_the_last_call(predictor: Predictor, pixels: np.ndarray) -> None:
    """Of parts that are believed the fine trunks' landmarks; else, and without attention, the pose trunk's alone."""
    predictor(pixels, boxes=EXAMPLE_BOXES)
    seen = predictor.seen_keypoints()
    assert seen.shape == (2, 144, 3) and seen[..., 2].min() >= 0.0 and seen[..., 2].max() <= 1.0
    assert not seen[seen[..., 2] == 0].any()
    for person in (0, 1):
        trunks = predictor.trunk_points(person)
        np.testing.assert_allclose(seen[person, IBUG68, :2], trunks["face"][:, :2])
        np.testing.assert_allclose(seen[person, LEFT_HAND21[1:], :2], trunks["left_hand"][1:, :2])
        body = COCO17[(seen[person, COCO17, 2] >= 0.1)]
        np.testing.assert_allclose(seen[person, body, :2], trunks["body"][np.isin(COCO17, body), :2])
    predictor(pixels, boxes=EXAMPLE_BOXES[1:])
    np.testing.assert_allclose(predictor.seen_keypoints()[0], seen[1], atol=2e-2)
    predictor(pixels, boxes=EXAMPLE_BOXES, attention=False)
    body_alone = predictor.seen_keypoints()
    np.testing.assert_allclose(body_alone[:, COCO17[:9]], seen[:, COCO17[:9]], atol=2e-2)
    assert np.count_nonzero(body_alone[0, PARTS["face"], 2]) == 2  # the corners of the mouth
    assert predictor(pixels, boxes=np.zeros((0, 4))) is not None and predictor.seen_keypoints().shape == (0, 144, 3)


def test_parts_that_are_not_believed_are_not_seen(tiny_bundle: Path, pixels: np.ndarray) -> None:
    doubting = Predictor.load(tiny_bundle, threads=1)
    for runner in doubting.parts.values():
        runner.config = replace(runner.config, min_presence=2.0)
    doubting(pixels, boxes=EXAMPLE_BOXES[:1])
    whole = doubting.seen_keypoints()
    doubting(pixels, boxes=EXAMPLE_BOXES[:1], attention=False)
    np.testing.assert_array_equal(whole, doubting.seen_keypoints())


@pytest.mark.parametrize(("part", "rows"), [("left-hand", LEFT_HAND21), ("right-hand", RIGHT_HAND21), ("face", IBUG68)])
def test_a_lone_part_is_all_that_is_seen(predictor: Predictor, pixels: np.ndarray, part: str, rows: np.ndarray) -> None:
    predictor(pixels, boxes=FACE_BOX if part == "face" else HAND_BOX, part=part)
    seen, trunk = predictor.seen_keypoints()[0], predictor.trunk_points(0)[part.replace("-", "_")]
    assert set(np.flatnonzero(seen[:, 2])) == set(rows)
    np.testing.assert_allclose(seen[rows, :2], trunk[:, :2])


def test_the_face_trunk_sees_the_same_face_in_the_mirror(predictor: Predictor, pixels: np.ndarray) -> None:
    """The nose lies in the face's box, between eyes and mouth; the mirror swaps the sides."""
    predictor(pixels, boxes=FACE_BOX, part="face")
    (seen,) = predictor.trunk_points(0).values()
    nose, eyes, mouth = seen[30, :2], seen[36:48, :2].mean(0), seen[48:, :2].mean(0)
    assert (nose > FACE_BOX[0, :2]).all() and (nose < FACE_BOX[0, 2:]).all() and eyes[1] < nose[1] < mouth[1]
    predictor(pixels, boxes=EXAMPLE_BOXES[:1])
    whole = predictor.trunk_points(0)
    extent = np.ptp(seen[:, 0])
    assert np.linalg.norm(whole["face"][17:, :2] - seen[17:, :2], axis=-1).max() < 0.1 * extent
    assert np.linalg.norm(whole["body"][0, :2] - nose) < 0.2 * extent
    width = pixels.shape[1]
    other_box = np.stack([width - FACE_BOX[:, 2], FACE_BOX[:, 1], width - FACE_BOX[:, 0], FACE_BOX[:, 3]], -1)
    predictor(np.ascontiguousarray(pixels[:, ::-1]), boxes=other_box, part="face")
    order = [list(IBUG68).index(k) for k in FLIP[IBUG68]]
    swapped = predictor.trunk_points(0)["face"][order] * [-1, 1, 1] + [width, 0, 0]
    assert np.linalg.norm(swapped[:, :2] - seen[:, :2], axis=-1).max() < 0.1 * extent


@pytest.mark.parametrize("part", ["left-hand", "right-hand"])
def test_the_hand_trunk_sees_a_lone_hand_in_the_picture(predictor: Predictor, pixels: np.ndarray, part: str) -> None:
    predictor(pixels, boxes=HAND_BOX, part=part)
    seen = predictor.trunk_points(0)
    assert list(seen) == [part.replace("-", "_")]
    points = seen[part.replace("-", "_")]
    assert points.shape == (21, 3) and np.abs(points[:, :2].mean(0) - HAND_BOX.reshape(2, 2).mean(0)).max() < 90.0


def test_bad_requests_are_refused(predictor: Predictor, pixels: np.ndarray, tiny_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the part 'foot'"):
        predictor(pixels, part="foot")
    with pytest.raises(InputError, match=r"without a bundle\.json"):
        Predictor.load(tmp_path)
    with pytest.raises(InputError, match="the device 'abacus'"):
        Predictor.load(tiny_bundle, device="abacus")
    for name in ("bundle.json", "means.npz"):
        shutil.copy(tiny_bundle / name, tmp_path)
    with pytest.raises(InputError, match=r"without '\w+_trunk\.onnx'"):
        Predictor.load(tmp_path)
    (tmp_path / "body_trunk.onnx").write_bytes(b"not a network")
    with pytest.raises(InputError, match="cannot load"):
        Predictor.load(tmp_path)
    (tmp_path / "bundle.json").write_text("{}", "utf-8")
    with pytest.raises(InputError, match="does not read as a bundle"):
        Predictor.load(tmp_path)
