"""Training data: labels of the shards in their slots, in the frame of the crop that the trunk saw, consistent with each
other, beside the evidence of the trunk."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.synth.photos import make_photos

from openexpose.body.keypoints import FLIP, JOINT_FLIP, LEFT_HAND21, RIGHT_HAND21
from openexpose.body.mesh import joint_transforms, keypoints
from openexpose.body.model import load_body_model
from openexpose.errors import InputError
from openexpose.geometry.boxes import Crop
from openexpose.geometry.rotation import mirror_rotation
from openexpose.nets.body_layer import BodyLayer
from openexpose.nets.decode import decode
from openexpose.predict.parts import SPECS
from openexpose.synth.dataset import SynthJob, synth
from openexpose.synth.photo import HIDDEN, Photo
from openexpose.synth.shard_files import Origin, write_shard
from openexpose.synth.shards import Shards, load_shards
from openexpose.training.evidence import KINDS, map_path, people_shown
from openexpose.training.head_errors import posed_points
from openexpose.training.heads import _vector
from openexpose.training.targets import PartData, load_data, part_labels

PARTS = pytest.mark.parametrize("part", SPECS)
NUMBERS = {"body": (39, 144), "hand": (21, 21), "face": (478, 68)}
OPTIONAL = ("world", "handedness", "pose_weight", "betas_weight", "expression_weight", "points_weight")
ROOT = {"body": 0, "left_hand": 20, "right_hand": 21, "face": 15}
DISTANCE_M = {"body": 3.0, "hands": 0.5, "faces": 0.4}
"""From so near, crops far from the middle look at their part from aside."""


def whole(shards: Shards) -> Crop:
    """Crops of whole pictures."""
    return Crop(shards.image_size / 2.0, shards.image_size[:, 0].astype(float), np.zeros(len(shards)))


def anywhere(shards: Shards, seed: int = 0) -> Crop:
    """Crops that are smaller, turned, and away from the middle."""
    rng, size = np.random.default_rng(seed), shards.image_size
    share = rng.uniform(0.4, 0.9, len(size))
    return Crop(size * rng.uniform(0.2, 0.8, size.shape), share * size[:, 0], rng.uniform(-3, 3, len(size)))


CROPS = pytest.mark.parametrize("crops", [whole, anywhere])


def near_shards(folder: Path, kind: str, count: int = 6) -> Shards:
    photos = make_photos(kind, count, distance_m=DISTANCE_M[kind], size=(64, 64))
    return load_shards([write_shard(folder / "a.tar", Origin(kind, 0, 0, "made by a test"), photos)])


@pytest.fixture
def folder(make_shard, make_evidence, tmp_path: Path) -> Path:
    """Two shards of each part, of 8 and of 3 close-ups, with evidence from whole close-ups."""
    for part in SPECS:
        for seed, count in ((0, 8), (1, 3)):
            make_evidence(make_shard(tmp_path, part, count, seed), part)
    return tmp_path


@PARTS
def test_shapes_and_order(folder: Path, part: str) -> None:
    data = load_data([folder], SPECS[part])
    landmarks, points = NUMBERS[part]
    assert len(data) == 11 and data.seen.landmarks.shape == (11, landmarks, 3)
    assert (data.seen.world is None) == (part == "face")
    assert data.target.points.shape == (11, points, 3) and data.target.projected.shape == (11, points, 2)
    assert data.target.pose.shape == (11, 55, 3, 3) and data.target.expression.shape == (11, 20)
    tensors = [*vars(data.seen).values(), *vars(data.target).values()]
    assert all(len(value) == 11 and value.dtype == torch.float32 for value in tensors if value is not None)
    shards = load_shards([folder / f"{KINDS[part][0]}-{seed}-00000.tar" for seed in (0, 1)])
    np.testing.assert_allclose(data.target.betas, shards.labels["betas"], atol=1e-6)


@PARTS
def test_labels_lie_in_the_slots_of_the_part(folder: Path, part: str) -> None:
    pose = load_data([folder], SPECS[part]).target.pose[:8].numpy()
    shards = load_shards([folder / f"{KINDS[part][0]}-0-00000.tar"])
    body = shards.labels["pose"], shards.labels["betas"], shards.labels["expression"]
    turned, _ = joint_transforms(load_body_model(), *body)
    for row in range(8):
        focus = str(shards.focus[row])
        root, fingers = turned[row, ROOT[focus]], body[0][row, 25:40]
        if focus == "left_hand":
            root, fingers = mirror_rotation(root), mirror_rotation(fingers)
        np.testing.assert_allclose(pose[row, 0], root, atol=1e-5)
        if part != "face":
            np.testing.assert_allclose(pose[row, 40:55], fingers if focus == "left_hand" else body[0][row, 40:55])
        if part != "hand":
            np.testing.assert_allclose(pose[row, 22:25], body[0][row, 22:25])
    if part != "body":
        rest = sorted(set(range(25)) - {0, *([] if part == "hand" else range(22, 25))})
        np.testing.assert_array_equal(pose[:, rest], np.broadcast_to(np.eye(3), (8, len(rest), 3, 3)))
    assert {str(focus) for focus in shards.focus} == {name for name in ROOT if name.endswith(part)}


def mirrored(photo: Photo) -> Photo:
    """The photo in a mirror: its people are others, whose left is the first ones' right."""
    width, people = photo.image.shape[1], []
    for one in photo.people:
        told = {"pose": mirror_rotation(one.pose)[JOINT_FLIP], "transl": one.transl * [-1, 1, 1]}
        told |= {name: (getattr(one, name) * [-1, 1, 1]) for name in ("keypoints_m", "contour_m")}
        told["keypoints_m"], told["visibility"] = told["keypoints_m"][FLIP], one.visibility[FLIP]
        told |= {"keypoints_px": (one.keypoints_px * [-1, 1] + [width, 0])[FLIP]}
        people.append(replace(one, **told))
    focus = {"left_hand": "right_hand", "right_hand": "left_hand"}[photo.focus]
    return replace(photo, image=photo.image[:, ::-1], people=tuple(people), focus=focus)


@CROPS
def test_targets_of_hands_are_those_of_the_mirrored_picture(tmp_path: Path, crops: Callable[[Shards], Crop]) -> None:
    origin, photos = Origin("hands", 0, 0, "made by a test"), list(make_photos("hands", 6))
    one = load_shards([write_shard(tmp_path / "a.tar", origin, photos)])
    other = load_shards([write_shard(tmp_path / "b.tar", origin, map(mirrored, photos))])
    assert (one.focus != other.focus).all()
    labels, expected = (part_labels(shards, "hand", crops(shards)) for shards in (one, other))
    for name, value in expected.items():
        np.testing.assert_allclose(labels[name], value, atol=2e-5, err_msg=name)


@PARTS
def test_of_whole_pictures_labels_are_those_of_the_picture(tmp_path: Path, part: str) -> None:
    shards, spec = near_shards(tmp_path, KINDS[part][0]), SPECS[part]
    labels, rows = part_labels(shards, part, whole(shards)), [k for k in spec.keypoints if part != "face" or k < 127]
    for k in range(len(shards)):
        left = shards.focus[k] == "left_hand"
        root, shown = ROOT[str(shards.focus[k])], [FLIP[k] for k in rows] if left else rows
        places, pixels = (shards.labels[name][k].astype(float) for name in ("keypoints_m", "keypoints_px"))
        side = np.array([-1.0 if left else 1.0, 1.0, 1.0])
        np.testing.assert_allclose(labels["points"][k, -len(rows) :], (places[shown] - places[root]) * side, atol=1e-6)
        np.testing.assert_allclose(labels["projected"][k, -len(rows) :], (pixels[shown] / 32 - 1) * side[:2], atol=1e-5)


@PARTS
def test_a_camera_that_looks_at_the_crop_sees_the_labels_where_they_are(tmp_path: Path, part: str) -> None:
    """Points in the frame of a pinhole camera turned to the crop's middle: where its rays meet the picture, the crop
    has the points' projections."""
    shards = near_shards(tmp_path, KINDS[part][0])
    crop, focal = anywhere(shards), shards.focal_px
    labels = part_labels(shards, part, crop)
    for k in range(len(shards)):
        view = camera_at((crop.centre_px[k] - 32) / focal[k], crop.angle_rad[k])
        root = shards.labels["keypoints_m"][k, ROOT[str(shards.focus[k])]].astype(float)
        if shards.focus[k] == "left_hand":
            root[0] *= -1
        points = labels["points"][k] @ view.T + root
        seen = focal[k] * points[:, :2] / points[:, 2:] + 32
        np.testing.assert_allclose(crop[k].to_image(labels["projected"][k]), seen, atol=0.02)
        middle = crop[k].from_image(focal[k] * view[None, :2, 2] / view[2, 2] + 32)
        np.testing.assert_allclose(middle, 0.0, atol=1e-9)
    assert (np.abs(crop.centre_px - 32) / focal[:, None]).max() > 0.1, "some look aside"


def test_people_in_scenes_have_labels_in_the_frames_of_their_crops(tmp_path: Path) -> None:
    photos = make_photos("people", 3, size=(420, 360), people=2)
    shards = load_shards([write_shard(tmp_path / "a.tar", Origin("people", 0, 0, "made by a test"), photos)])
    people, pictures = people_shown(shards)
    rng, focal, middle = np.random.default_rng(0), shards.focal_px[pictures], np.array([210.0, 180.0])
    assert len(people) > 3
    box = shards.labels["box_xyxy_px"][people].astype(float)
    side = (box[:, 2:] - box[:, :2]).max(1)
    crop = Crop((box[:, :2] + box[:, 2:]) / 2, side * rng.uniform(0.8, 1.5, len(box)), rng.uniform(-3, 3, len(box)))
    labels = part_labels(shards, "body", crop)
    for k, row in enumerate(people.tolist()):
        view = camera_at((crop.centre_px[k] - middle) / focal[k], crop.angle_rad[k])
        points = labels["points"][k] @ view.T + shards.labels["keypoints_m"][row, 0]
        np.testing.assert_allclose(points, shards.labels["keypoints_m"][row], atol=1e-5)
        np.testing.assert_allclose(view @ labels["pose"][k, 0], shards.labels["pose"][row, 0], atol=1e-5)
        np.testing.assert_allclose(labels["pose"][k, 1:], shards.labels["pose"][row, 1:], atol=1e-6)
        pixels = crop[k].to_image(labels["projected"][k])
        np.testing.assert_allclose(pixels, shards.labels["keypoints_px"][row], atol=1e-2)
        np.testing.assert_array_equal(labels["visible"][k], shards.labels["visibility"][row] != HIDDEN)


def camera_at(ray_xy: np.ndarray, angle_rad: float) -> np.ndarray:
    """Axes of a camera, as columns, turned about its axis and then by the shortest way to a ray (x, y, 1)."""
    to, (c, s) = np.append(ray_xy, 1.0), (np.cos(angle_rad), np.sin(angle_rad))
    to /= np.linalg.norm(to)
    v = np.cross([0, 0, 1], to)
    cross = np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])
    return (np.eye(3) + cross + cross @ cross / (1 + to[2])) @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


@CROPS
@pytest.mark.parametrize("kind", ["hands", "faces"])
def test_targets_are_the_posed_body_model(tmp_path: Path, kind: str, crops: Callable[[Shards], Crop]) -> None:
    """A hand or head at the root's place, of a body that is else at rest, has the points of the labels."""
    shards = load_shards([write_shard(tmp_path / "a.tar", Origin(kind, 0, 0, "b"), make_photos(kind, 6))])
    part, crop = {"hands": "hand", "faces": "face"}[kind], crops(shards)
    labels, spec, model = part_labels(shards, part, crop), SPECS[part], load_body_model()
    points = keypoints(model, labels["pose"], labels["betas"], shards.labels["expression"])
    points = (points - points[:, spec.root_joint, None])[:, list(spec.keypoints)]
    left = shards.focus == "left_hand"
    assert left.sum() == (3 if part == "hand" else 0)
    first = 17 if part == "face" and crops is anywhere else 0  # the contour is chosen in the picture's frame
    np.testing.assert_allclose(points[~left][:, first:], labels["points"][~left][:, first:], atol=3e-4)
    np.testing.assert_allclose(points[left], labels["points"][left], atol=5e-3)  # the free body is not quite symmetric
    scale, shift = labels["camera"][:, None, :1], labels["camera"][:, None, 1:]
    off = np.abs(scale * (points[..., :2] + shift) - labels["projected"]) * crop.side_px[:, None, None]
    assert off.mean() < 0.015 * 2 * 32


@pytest.fixture(scope="module")
def layer() -> BodyLayer:
    return BodyLayer(load_body_model(num_betas=10, num_expression=20))


def decoded_truth(data: PartData, part: str, layer: BodyLayer) -> tuple[torch.Tensor, torch.Tensor]:
    """Points and projections of the true parameter vectors."""
    answer = decode(_vector(data.target, SPECS[part]), SPECS[part])
    points = posed_points(answer, SPECS[part], layer)
    return points, answer.camera[:, None, :1] * (points[..., :2] + answer.camera[:, None, 1:])


@PARTS
def test_the_decoded_truth_has_the_labels_points(folder: Path, part: str, layer: BodyLayer) -> None:
    """Labels, parameter vector, decoding and body layer speak of one person, up to what a part leaves out: the eyes'
    turn; the neck, by which the face's contour is chosen; and that the free body is not quite symmetric."""
    data = load_data([folder], SPECS[part])
    points, projected = decoded_truth(data, part, layer)
    first, close = {"body": (0, 0.008), "hand": (0, 0.005), "face": (17, 0.003)}[part]
    torch.testing.assert_close(points[:, first:], data.target.points[:, first:], atol=close, rtol=0)
    torch.testing.assert_close(projected[:, first:], data.target.projected[:, first:], atol=0.05, rtol=0)


@pytest.mark.parametrize(
    ("part", "main", "close_m"),
    [("body", slice(127), 0.008), ("hand", slice(21), 0.005), ("face", slice(17, None), 0.003)],
)
def test_and_so_has_that_of_rendered_crops(
    make_evidence, tmp_path: Path, layer: BodyLayer, part: str, main: slice, close_m: float
) -> None:
    """Up to that, up to the face's contour, which is chosen in the picture's frame, and up to perspective."""
    for path in synth(SynthJob(KINDS[part][0], count=4, seed=3, shard_size=4), tmp_path):
        make_evidence(path, part, anywhere(load_shards([path])))
    data = load_data([tmp_path], SPECS[part])
    points, projected = decoded_truth(data, part, layer)
    assert len(data) == 4 and all(picture.shape == (3, 192, 192) for picture in data.pictures())
    assert (points - data.target.points)[:, main].norm(dim=-1).max() < close_m
    off = (projected - data.target.projected)[:, main].norm(dim=-1) * data.crop[:, 2:3] / 256
    assert off.mean() < 0.1


def test_a_hand_has_no_expression_and_only_seen_points_are_visible(folder: Path) -> None:
    target = load_data([folder], SPECS["hand"]).target
    assert (target.expression == 0).all()
    shards = load_shards([folder / "hands-0-00000.tar"])
    for row in range(8):
        hand = LEFT_HAND21 if shards.focus[row] == "left_hand" else RIGHT_HAND21
        seen = shards.labels["visibility"][row, hand] != HIDDEN
        np.testing.assert_array_equal(target.visible[row].numpy() == 1.0, seen)
    assert set(target.visible.unique().tolist()) == {0.0, 1.0}


@PARTS
def test_rows(folder: Path, part: str) -> None:
    data = load_data([folder], SPECS[part])
    rows = torch.tensor([4, 10, 0])
    chosen = data.rows(rows)
    assert isinstance(chosen, PartData) and len(chosen) == 3
    for whole, some in ((data.seen, chosen.seen), (data.target, chosen.target)):
        for name, value in vars(whole).items():
            if name in OPTIONAL and value is None:
                assert getattr(some, name) is None
            else:
                torch.testing.assert_close(getattr(some, name), value[rows], atol=0, rtol=0)
    assert torch.equal(chosen.crop, data.crop[rows]) and chosen.names == [data.names[k] for k in rows]


def test_several_folders_are_one_data_set(make_shard, make_evidence, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("b", "a")]
    for folder, count in zip(folders, (3, 2), strict=True):
        make_evidence(make_shard(folder, "hand", count), "hand")
    both = load_data(folders, SPECS["hand"])
    assert both.names == [
        f"{f / 'hands-0-00000.tar'}:{k}" for f, n in zip(folders, (3, 2), strict=True) for k in range(n)
    ]
    chosen = both.rows(torch.tensor([4, 1]))
    assert chosen.names == [both.names[4], both.names[1]]
    alone = load_data(folders[1:], SPECS["hand"])
    torch.testing.assert_close(chosen.target.points[0], alone.target.points[1], atol=0, rtol=0)


def test_pictures_are_those_of_the_samples(folder: Path) -> None:
    data = load_data([folder], SPECS["hand"]).rows(torch.tensor([9, 2]))
    assert data.crop.tolist() == [[4.0, 4.0, 8.0, 0.0]] * 2
    shards = [load_shards([folder / f"hands-{seed}-00000.tar"]) for seed in (1, 0)]
    for picture, shard, row in zip(data.pictures(8), shards, (1, 2), strict=True):
        np.testing.assert_allclose(picture, as_seen(shard, row), atol=1e-5)
    assert [shard.focus[row] for shard, row in zip(shards, (1, 2), strict=True)] == ["left_hand", "right_hand"]


def as_seen(shards: Shards, row: int) -> np.ndarray:
    image = shards.image(row)[:, ::-1] if shards.focus[row] == "left_hand" else shards.image(row)
    return image.transpose(2, 0, 1) / 255.0


def test_pictures_are_the_crops_that_the_trunk_saw(make_shard, make_evidence, tmp_path: Path) -> None:
    """A quarter turn, clockwise; and a quarter of the picture at its upper right."""
    shards = load_shards([make_shard(tmp_path, "hand", 4)])
    centre = np.array([[4.0, 4.0]] * 2 + [[6.0, 2.0]] * 2)
    crop = Crop(centre, np.array([8.0, 8, 4, 4]), np.array([np.pi / 2, np.pi / 2, 0, 0]))
    make_evidence(shards.files[0].path, "hand", crop)
    data = load_data([tmp_path], SPECS["hand"])
    quarters = data.rows(torch.tensor([3, 2])).pictures(4)
    for picture, row in zip([*data.pictures(8)[:2], *quarters], (0, 1, 3, 2), strict=True):
        seen = as_seen(shards, row)
        np.testing.assert_allclose(
            picture, np.rot90(seen, axes=(1, 2)) if row < 2 else seen[:, :4, 4:], atol=1e-5, err_msg=str(row)
        )
    plain = part_labels(shards, "hand", whole(shards))["projected"]
    x, y = (torch.from_numpy(plain[..., axis]).float() for axis in (0, 1))
    expected = torch.cat([torch.stack([y, -x], -1)[:2], torch.stack([2 * x - 1, 2 * y + 1], -1)[2:]])
    torch.testing.assert_close(data.target.projected, expected, atol=1e-5, rtol=1e-5)


def test_what_is_missing_is_told(make_shard, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"without faces shards.*openexpose synth"):
        load_data([tmp_path], SPECS["face"])
    make_shard(tmp_path, "face")
    with pytest.raises(InputError, match=r"'faces-0-00000\.tar' without evidence"):
        load_data([tmp_path], SPECS["face"])
    with pytest.raises(InputError, match="without hands shards"):
        load_data([tmp_path], SPECS["hand"])


def test_tensors_of_the_inside_are_read_for_a_batch_in_its_order(folder: Path) -> None:
    for seed, count in ((0, 8), (1, 3)):
        shard = folder / f"hands-{seed}-00000.tar"
        for k, name in enumerate(("a", "b")):
            numbers = 100 * k + 10 * seed + np.arange(count, dtype=np.float16)
            np.save(map_path(shard, name), np.broadcast_to(numbers[:, None, None, None], (count, 2 + k, 1, 1)))
    rows = torch.tensor([9, 0, 7, 8, 0, 10])
    data = load_data([folder], SPECS["hand"]).rows(rows)
    assert data.maps == ()
    with_maps = data.with_maps(("a", "b"))
    a, b = with_maps.maps
    assert a.shape == (6, 2, 1, 1) and b.shape == (6, 3, 1, 1) and a.dtype == torch.float16
    assert a[:, 1, 0, 0].tolist() == [11, 0, 7, 10, 0, 12] and torch.equal(b[:, :2], a + 100)
    some = with_maps.rows(torch.tensor([2, 0]))
    assert some.maps[0][:, 0, 0, 0].tolist() == [7, 11] and len(some) == 2
    with pytest.raises(InputError, match="maps-c"):
        data.with_maps(("c",))
