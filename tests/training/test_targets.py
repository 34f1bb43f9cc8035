"""Training data: labels of the shards in their slots, consistent with each other, beside the evidence of the trunk."""

from pathlib import Path

import numpy as np
import pytest
import torch

from openexpose.body.model import load_body_model
from openexpose.errors import InputError
from openexpose.nets.body_layer import BodyLayer
from openexpose.nets.decode import decode
from openexpose.predict.parts import SPECS
from openexpose.synth.dataset import SynthJob, load_shards, synth
from openexpose.training.evidence import KINDS
from openexpose.training.heads import _points, _vector
from openexpose.training.targets import PartData, load_data

PARTS = pytest.mark.parametrize("part", SPECS)
NUMBERS = {"body": (39, 144), "hand": (21, 21), "face": (478, 68)}
OPTIONAL = ("world", "handedness", "pose_weight", "betas_weight", "expression_weight", "points_weight")
SLOTS = {
    "body": {"pose": slice(0, 55)},
    "hand": {"wrist": 0, "fingers": slice(40, 55)},
    "face": {"head": 0, "jaw": 22},
}


@pytest.fixture
def folder(make_shard, make_evidence, tmp_path: Path) -> Path:
    """Two shards of each part, of 8 and of 3 crops, with evidence."""
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
    paths = [folder / f"{KINDS[part]}-{seed}-00000.npz" for seed in (0, 1)]
    betas = np.concatenate([np.load(path)["betas"] for path in paths])
    np.testing.assert_allclose(data.target.betas, betas, atol=1e-6)


@PARTS
def test_labels_lie_in_the_slots_of_the_part(folder: Path, part: str) -> None:
    pose = load_data([folder], SPECS[part]).target.pose[:8].numpy()
    with np.load(folder / f"{KINDS[part]}-0-00000.npz") as labels:
        for name, slots in SLOTS[part].items():
            np.testing.assert_allclose(pose[:, slots], labels[name], atol=1e-6)
    rest = sorted(set(range(55)) - set(SPECS[part].pose_slots))
    if part != "body":
        np.testing.assert_array_equal(pose[:, rest], np.broadcast_to(np.eye(3), (8, len(rest), 3, 3)))


@pytest.fixture(scope="module")
def layer() -> BodyLayer:
    return BodyLayer(load_body_model(num_betas=10, num_expression=20))


def decoded_truth(data: PartData, part: str, layer: BodyLayer) -> tuple[torch.Tensor, torch.Tensor]:
    """Points and projections of the true parameter vectors."""
    answer = decode(_vector(data.target, SPECS[part]), SPECS[part])
    points = _points(answer, SPECS[part], layer)
    return points, answer.camera[:, None, :1] * (points[..., :2] + answer.camera[:, None, 1:])


@PARTS
def test_the_decoded_truth_has_the_labels_points(folder: Path, part: str, layer: BodyLayer) -> None:
    """Labels, parameter vector, decoding and body layer speak of one person."""
    data = load_data([folder], SPECS[part])
    points, projected = decoded_truth(data, part, layer)
    torch.testing.assert_close(points, data.target.points, atol=2e-5, rtol=0)
    torch.testing.assert_close(projected, data.target.projected, atol=3e-4, rtol=0)


@pytest.mark.parametrize(("part", "first", "close_m"), [("body", 0, 0.008), ("hand", 0, 1e-5), ("face", 17, 0.003)])
def test_and_so_has_that_of_rendered_crops(
    make_evidence, tmp_path: Path, layer: BodyLayer, part: str, first: int, close_m: float
) -> None:
    """Up to perspective and what a part leaves out: the eyes' turn; the neck, by which the face's contour is chosen."""
    for path in synth(SynthJob(KINDS[part], count=4, seed=3, shard_size=4), tmp_path):
        make_evidence(path, part)
    data = load_data([tmp_path], SPECS[part])
    points, projected = decoded_truth(data, part, layer)
    assert len(data) == 4
    assert (points - data.target.points)[:, first:].norm(dim=-1).max() < close_m
    assert (projected - data.target.projected)[:, first:].norm(dim=-1).mean() < 0.03


def test_a_hand_has_no_expression_and_only_seen_points_are_visible(folder: Path) -> None:
    target = load_data([folder], SPECS["hand"]).target
    assert (target.expression == 0).all()
    with np.load(folder / "hands-0-00000.npz") as labels:
        np.testing.assert_array_equal(target.visible[:8].numpy() == 1.0, labels["visibility"] > 0)
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


def test_several_folders_are_one_data_set(make_shard, make_evidence, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("b", "a")]
    for folder, count in zip(folders, (3, 2), strict=True):
        make_evidence(make_shard(folder, "hand", count), "hand")
    both = load_data(folders, SPECS["hand"])
    assert both.names == [
        f"{f / 'hands-0-00000.npz'}:{k}" for f, n in zip(folders, (3, 2), strict=True) for k in range(n)
    ]
    chosen = both.rows(torch.tensor([4, 1]))
    assert chosen.names == [both.names[4], both.names[1]]
    alone = load_data(folders[1:], SPECS["hand"])
    torch.testing.assert_close(chosen.target.points[0], alone.target.points[1], atol=0, rtol=0)


def test_pictures_are_those_of_the_samples(folder: Path) -> None:
    data = load_data([folder], SPECS["hand"]).rows(torch.tensor([9, 2]))
    shards = [load_shards([folder / f"hands-{seed}-00000.npz"]) for seed in (1, 0)]
    for picture, shard, row in zip(data.pictures(), shards, (1, 2), strict=True):
        np.testing.assert_array_equal(picture, shard.image(row))


def test_what_is_missing_is_told(make_shard, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"without faces shards.*openexpose synth"):
        load_data([tmp_path], SPECS["face"])
    make_shard(tmp_path, "face")
    with pytest.raises(InputError, match=r"'faces-0-00000\.npz' without evidence"):
        load_data([tmp_path], SPECS["face"])
    with pytest.raises(InputError, match="without hands shards"):
        load_data([tmp_path], SPECS["hand"])
