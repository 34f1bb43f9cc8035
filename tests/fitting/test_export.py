"""Fits as data to train on: written, read again, and made into batches of the paper's recipe."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.fitting import test_fit, test_lone
from tests.training.paper_fixtures import setup_of

from openexpose.body.keypoints import PARTS
from openexpose.body.mesh import keypoints
from openexpose.data.sample import Sample
from openexpose.data.sample_shards import read_samples, write_samples
from openexpose.errors import InputError
from openexpose.fitting.export import samples_of
from openexpose.fitting.lone import fit_lone
from openexpose.fitting.observed import Observed
from openexpose.fitting.result import people_of
from openexpose.fitting.state import State
from openexpose.formats.native import part_keypoints
from openexpose.geometry.camera import fit_weak
from openexpose.people import People
from openexpose.training.examples import PartBatch, part_batch
from openexpose.training.mixture import Mixture


def photo(folder: Path, size: tuple[int, int]) -> Path:
    path = folder / "photo.png"
    pixels = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def exported(state: State, seen: Observed, part: str, folder: Path, focal: float, model: object) -> list[Sample]:
    """Samples as a network's training reads them."""
    people = people_of(model, state, [seen], focal, part=part)  # type: ignore[arg-type]
    joints = keypoints(model, people.pose, people.betas, people.expression) + people.transl[:, None]  # type: ignore[arg-type]
    samples = samples_of(people, joints, [seen], photo(folder, seen.image_size))
    write_samples(folder / "out", samples)
    return read_samples(folder / "out", "all").samples


def batch_of(part: str, samples: list[Sample]) -> PartBatch:
    return part_batch(setup_of(part), Mixture([samples], 0.25), range(2), seed=0)


def check_targets(batch: PartBatch, least: int, furthest: float = 0.03) -> None:
    """Finite; and the 3D points, through the weak-perspective camera that suits best, lie on the keypoints."""
    for name, value in vars(batch.target).items():
        assert np.isfinite(value.numpy()).all(), name
    points, projected = batch.target.points.numpy(), batch.target.projected.numpy()
    use = (batch.target.points_weight.numpy() > 0) & (batch.target.visible.numpy() > 0)
    assert use.sum(1).min() >= least and (np.abs(projected[use]) < 1.0).all()
    for k in range(len(points)):
        mine, its = points[k, use[k]], projected[k, use[k]]
        scale, *shift = fit_weak(mine[None], its[None])[0]
        found = scale * (mine[:, :2] + shift)
        assert np.linalg.norm(found - its, axis=1).mean() < furthest * np.ptp(its, axis=0).max()


@pytest.mark.parametrize("part", test_lone.PART_NAMES)
def test_fits_of_parts_train_a_parts_network(part: str, tmp_path: Path) -> None:
    truth = test_lone.lone(part)
    seen = test_lone.seen_of(truth, part)
    fitted = fit_lone(test_lone.MODEL, test_lone.PRIORS, test_lone.aim_of(seen), part)
    samples = exported(fitted.state, seen, part, tmp_path, test_lone.FOCAL, test_lone.MODEL)
    (sample,) = samples
    name = "face" if part == "face" else "hand"
    assert (sample.part, sample.left, sample.coefficients) == (name, part == "left-hand", "freebody")
    slots = {"face": [0, 22], "left-hand": [0, *range(25, 40)], "right-hand": [0, *range(40, 55)]}[part]
    assert np.flatnonzero(sample.pose_valid).tolist() == slots
    assert (sample.expression is None) == (name == "hand")
    np.testing.assert_allclose(sample.keypoints_px, seen.keypoints_px)
    low, high = sample.box_xyxy_px.reshape(2, 2)
    extent = np.ptp(seen.keypoints_px[part_keypoints(part), :2], axis=0).max()
    np.testing.assert_allclose(high - low, 2.0 * extent)
    batch = batch_of(name, samples)
    assert not batch.problems
    check_targets(batch, least=len(part_keypoints(part)))
    assert (batch.target.pose_weight.numpy()[:, [0, 22 if name == "face" else 41]] == 1.0).all()


def test_fits_of_whole_bodies_tell_only_what_was_seen(tmp_path: Path) -> None:
    truth = test_fit.person(0.3)
    seen = test_fit.seen_of(truth)
    blind = np.setdiff1d(np.arange(144), [*PARTS["left_hand"][1:], *PARTS["face"]])
    samples = exported(truth, seen.only(blind), "whole", tmp_path, test_fit.FOCAL, test_fit.MODEL)
    (sample,) = samples
    assert sample.part == "body" and sample.expression is None and sample.betas is not None
    valid = sample.pose_valid
    assert valid[:22].all() and valid[40:].all() and not valid[22:40].any()
    assert not sample.points_m[PARTS["left_hand"][1:], 3].any() and sample.points_m[PARTS["right_hand"], 3].all()
    batch = batch_of("body", samples)
    assert not batch.problems
    check_targets(batch, least=30, furthest=0.06)


def test_unknown_keypoints_and_models(tmp_path: Path) -> None:
    truth = test_lone.lone("face")
    seen = test_lone.seen_of(truth, "face")
    people = people_of(test_lone.MODEL, truth, [seen], test_lone.FOCAL, part="face")
    joints = np.full((1, 144, 3), np.nan)
    joints[0, PARTS["face"][:51]] = 1.0
    (sample,) = samples_of(people, joints, [seen], tmp_path / "a.jpg")
    assert np.flatnonzero(sample.points_m[:, 3]).tolist() == PARTS["face"][:51].tolist()
    smpl: People = replace(people, body_model="smpl")
    with pytest.raises(InputError, match="openexpose transfer"):
        samples_of(smpl, joints, [seen], tmp_path / "a.jpg")
