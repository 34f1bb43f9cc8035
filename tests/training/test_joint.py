"""Joint training: crops, cameras and labels agree, gradients flow where they shall, runs can be interrupted."""

import csv
import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.training.paper_fixtures import (
    PARTS_OF_THE_BODY,
    SPECS,
    add_tiny_trunk,
    answer_with,
    copied_task,
    joint_config,
    labelled,
    model_of,
    planar,
    rendered,
    states_of,
    write_weights,
)
from torch import nn

import openexpose.nets.whole as whole_module
from openexpose.body.keypoints import PARTS
from openexpose.body.mesh import keypoints
from openexpose.data.augment import AUGMENTATIONS, AugmentConfig
from openexpose.errors import InputError
from openexpose.geometry.boxes import Crop
from openexpose.geometry.camera import project_perspective
from openexpose.losses import MIN_BOX_OVERLAP
from openexpose.nets.attention import Crops
from openexpose.nets.decode import project_weak
from openexpose.nets.paper import load_paper_part
from openexpose.nets.whole import ATTENDED
from openexpose.training.engine import EngineConfig, run
from openexpose.training.joint import JointBatch, JointModule, JointTask, joint_task
from openexpose.training.recipes import DataSet, train
from openexpose.training.truth import overlap, true_crops

TURNED = AugmentConfig(flip_probability=0.0, rotation_probability=1.0, channel_noise=0.0)
DEFAULT_WEIGHTS = Path(__file__).parents[2] / "weights" / "default"


@pytest.fixture(autouse=True)
def tiny_trunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name ``tiny`` stands for a trunk of one layer."""
    add_tiny_trunk(monkeypatch)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of three networks to start from."""
    return write_weights(tmp_path_factory.mktemp("weights"))


MakeTask = Callable[..., JointTask]


@pytest.fixture(scope="module")
def base(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> JointTask:
    """A task to take copies of."""
    with pytest.MonkeyPatch.context() as patch:
        add_tiny_trunk(patch)
        return joint_task(joint_config(weights, tmp_path_factory.mktemp("base")))[0]


@pytest.fixture
def make_task(base: JointTask) -> MakeTask:
    """``make_task(samples, augmentation=..., **changes)``: the task on people with exact labels."""
    return functools.partial(copied_task, base)


def losses_of(folder: Path) -> list[float]:
    with (folder / "log.csv").open() as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


# The truth has no loss


@pytest.mark.parametrize("from_origin", [True, False])
@pytest.mark.parametrize("flipped", [False, True])
def test_the_truth_has_no_loss(make_task: MakeTask, from_origin: bool, flipped: bool) -> None:
    """In turned crops, with and without a flip, hands of both sides and the face in crops of their own."""
    for seed in range(3):
        sample = labelled("body", seed, expression=0.0 if flipped else 1.0)
        task = make_task([sample], replace(TURNED, flip_probability=float(flipped)), batch=1)
        task.config = replace(task.config, seed=seed)
        part = task.module.net.parts["body"]
        part.spec = replace(part.spec, from_origin=from_origin)
        task.setups["body"] = replace(task.setups["body"], spec=part.spec)
        answer_with(task, sample, seed)
        batch = task.batch(0, 0, 1)
        with torch.no_grad():
            whole, crops, _ = task.module.look(batch, gated=True)
            terms = {name: float(term.value) for name, term in task.module(batch).items()}
        assert abs(float(batch.bodies.angle_rad[0])) > 1e-3
        assert all(bool(whole.answers[part].used.all()) for part in ATTENDED), "crops at the true places are used"
        for part, (expected, known) in true_crops(task.module.net, batch.bodies.target, crops).items():
            assert known.all() and float(overlap(whole.answers[part].crops, expected)) > 0.95
        ours = {name: value for name, value in terms.items() if name.split("_")[0] in ("body", "whole", "crop")}
        assert len(ours) > 15
        points = [name for name in ours if "projected" in name or "points3d" in name or name.startswith("crop")]
        for name, value in ours.items():
            assert value < ((2.9 if flipped else 0.3) if name in points else 0.02), name


def test_the_hands_of_the_truth_are_told_apart_from_wrong_ones(make_task: MakeTask) -> None:
    sample = labelled("body", 1)
    task = make_task([sample], batch=1)
    answer_with(task, sample, 0)
    pose = sample.pose.copy()
    pose[40:55] = pose[25:40]
    other = make_task([replace(sample, pose=pose)], batch=1)
    with torch.no_grad():
        right, wrong = (task.module(made.batch(0, 0, 1)) for made in (task, other))
    changed = {name for name in right if float(right[name].value) < 0.01 < float(wrong[name].value)}
    assert {"body_right_hand", "whole_right_hand"} <= changed and "whole_left_hand" not in changed


# Cameras


@pytest.mark.parametrize("from_origin", [True, False])
def test_the_weak_camera_projects_as_in_the_crop(make_task: MakeTask, from_origin: bool) -> None:
    task = make_task(augmentation=replace(AUGMENTATIONS["body"], cut_probability=0.5), batch=3)
    module = task.module
    part = module.net.parts["body"]
    part.spec = replace(part.spec, from_origin=from_origin)
    batch = task.batch(0, 0, 1)
    with torch.no_grad():
        whole, crops, camera = module.look(batch, gated=True)
        points, projected = module.posed(module.answer(whole, whole.own_pose), whole, crops, camera)
        answer = whole.answers["body"].parameters
        own = module.net.layer.keypoints(answer.pose, answer.betas, answer.expression)
    expected = project_weak(part.spec.from_root(own), answer.camera)
    torch.testing.assert_close(projected, expected, atol=2e-5, rtol=0)
    assert float(crops.angle_rad.abs().max()) > 0.1
    turned = points - points[:, :1]
    for k in range(3):  # in the picture's axes: the crop's, turned by the crop's angle
        c, s = np.cos(float(crops.angle_rad[k])), np.sin(float(crops.angle_rad[k]))
        back = (own[k] - own[k, 0]).numpy() @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
        np.testing.assert_allclose(turned[k].numpy(), back, atol=1e-5)


def test_the_pinhole_camera_projects_the_body_into_the_picture(make_task: MakeTask) -> None:
    task = make_task(augmentation=replace(AUGMENTATIONS["body"], cut_probability=0.0), batch=2)
    module = JointModule(task.module.net, {}, weak=False, freeze_body=False).eval()
    bodies = replace(task.batch(0, 0, 1).bodies, focal_px=torch.full((2,), 150.0))
    batch = JointBatch(bodies, {})
    with torch.no_grad():
        whole, crops, camera = module.look(batch, gated=True)
        answer = module.answer(whole, whole.pose)
        _, projected = module.posed(answer, whole, crops, camera)
    rows = (value.numpy() for value in (answer.pose, answer.betas, answer.expression))
    points = keypoints(model_of("body"), *rows) + whole.transl.numpy()[:, None]
    for k in range(2):
        pixels = project_perspective(points[k], 150.0, batch.bodies.principal_px[k].numpy())
        arrays = (value[k].numpy() for value in (crops.centre_px, crops.side_px, crops.angle_rad))
        np.testing.assert_allclose(projected[k].numpy(), Crop(*arrays).from_image(pixels), atol=1e-3)


def test_a_merged_pose_goes_with_the_merged_expression(make_task: MakeTask) -> None:
    task = make_task()
    with torch.no_grad():
        whole, _, _ = task.module.look(task.batch(0, 0, 1), gated=True)
    body = whole.answers["body"].parameters
    assert torch.equal(task.module.answer(whole, whole.own_pose).expression, body.expression)
    assert torch.equal(task.module.answer(whole, whole.pose).expression, whole.expression)


def test_overlap_of_crops() -> None:
    n = 4
    crops = Crops(torch.rand(n, 2) * 100, torch.full((n,), 20.0), torch.linspace(0, 1, n))
    torch.testing.assert_close(overlap(crops, crops), torch.ones(n))
    along = torch.stack([torch.cos(crops.angle_rad), torch.sin(crops.angle_rad)], -1)
    moved = [overlap(crops, replace(crops, centre_px=crops.centre_px + 20 * s * along)) for s in (0.1, 0.5, 0.9, 1.1)]
    for found, expected in zip(moved, (0.9 / 1.1, 0.5 / 1.5, 0.1 / 1.9, 0.0), strict=True):
        torch.testing.assert_close(found, torch.full((n,), expected), atol=1e-5, rtol=0)
    half = overlap(crops, replace(crops, side_px=crops.side_px / 2, mirrored=True))
    torch.testing.assert_close(half, torch.full((n,), 0.25))


def test_crops_away_from_the_truth_are_not_used(make_task: MakeTask) -> None:
    sample = labelled("body", 1)
    used = []
    for shift in (0.0, 0.1, 0.6):
        task = make_task([sample], batch=1)
        answer_with(task, sample, 0)
        task.module.net.parts["body"].regressor.mean[-2] += shift
        with torch.no_grad():
            whole, crops, _ = task.module.look(task.batch(0, 0, 1), gated=True)
        true = true_crops(task.module.net, task.batch(0, 0, 1).bodies.target, crops)
        for part in ATTENDED:
            near = float(overlap(whole.answers[part].crops, true[part][0])) >= MIN_BOX_OVERLAP
            assert bool(whole.answers[part].used) == near
        used.append([bool(whole.answers[part].used) for part in ATTENDED])
        if not any(used[-1]):
            assert torch.equal(whole.pose, whole.own_pose), "nothing is merged"
    assert all(used[0]) and not any(used[-1])


def test_parts_without_labels_are_not_used_and_few_labels_suffice(make_task: MakeTask) -> None:
    sample = labelled("body", 1)
    bare, some, faceless = (sample.keypoints_px.copy() for _ in range(3))
    bare[25:55], bare[66:], bare[[15, 22, 23, 24]] = 0.0, 0.0, 0.0  # of the head only eyes, ears and nose
    some[PARTS["right_hand"][1::2]] = 0.0
    some[[15, 22, 23, 24]] = 0.0  # data sets of 2D keypoints have a face, but no joints within the head
    faceless[76:] = 0.0
    expected = ([False, False, False], [True, True, True], [True, True, True])
    for keypoints_px, wanted in zip((bare, some, faceless), expected, strict=True):
        marked = replace(sample, keypoints_px=keypoints_px)
        task = make_task([marked], batch=1)
        answer_with(task, sample, 0)
        with torch.no_grad():
            whole, _, _ = task.module.look(task.batch(0, 0, 1), gated=True)
        assert [bool(whole.answers[part].used) for part in ATTENDED] == wanted


# Gradients


def body_gradient(task: JointTask, total: torch.Tensor) -> torch.Tensor:
    parameters = [p for p in task.module.net.parts["body"].parameters() if p.requires_grad]
    found = torch.autograd.grad(total, parameters, allow_unused=True)
    return torch.cat(
        [torch.zeros_like(p).ravel() if g is None else g.ravel() for p, g in zip(parameters, found, strict=True)]
    )


def test_losses_of_the_parts_reach_the_body_network(make_task: MakeTask) -> None:
    sample = labelled("body", 1)
    task = make_task([sample], batch=1)
    answer_with(task, sample, 0)
    for part in task.module.net.parts.values():
        nn.init.normal_(part.regressor.output_layer.weight, std=5e-4)
    batch = task.batch(0, 0, 1)
    torch.manual_seed(0)
    terms = task.module(batch)
    for name in ("crop_right_hand", "crop_left_hand", "crop_head", "whole_right_hand", "whole_left_hand", "whole_jaw"):
        trunk = task.module.net.parts["body"].trunk.conv1.weight
        (gradient,) = torch.autograd.grad(terms[name].value, [trunk], retain_graph=True)
        assert torch.isfinite(gradient).all() and gradient.abs().max() > 0, name
    assert not body_gradient(task, terms["hand_right_hand"].value + terms["face_jaw"].value).any()


def test_detached_crops_pass_no_gradients(make_task: MakeTask, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {}
    for conditioned in (True, False):
        for detached in (False, True):
            task = make_task()
            task.module.net.detach_crops = detached
            whole, _, _ = task.module.look(task.batch(0, 0, 1), gated=True)
            total = sum(whole.answers[part].stages[-1].sum() for part in ATTENDED)
            found[conditioned, detached] = body_gradient(task, total)
        monkeypatch.setattr(
            whole_module, "condition", lambda spec, body, mean, crops, camera: mean.expand(len(body.betas), -1)
        )
    assert found[True, False].abs().max() > 0 and not torch.allclose(found[True, False], found[True, True])
    assert found[False, False].abs().max() > 0, "the attention alone"
    assert not found[False, True].any()


# Runs


def test_an_interrupted_run_ends_with_the_same_bits(weights: Path, tmp_path: Path) -> None:
    scores = train(joint_config(weights, tmp_path / "whole", steps=5))
    train(joint_config(weights, tmp_path / "parts", steps=3))
    train(joint_config(weights, tmp_path / "parts", steps=5))
    one, other, before = states_of(tmp_path / "whole"), states_of(tmp_path / "parts"), states_of(weights)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert losses_of(tmp_path / "whole") == losses_of(tmp_path / "parts")
    changed = {name.split(".")[0] for name in one if not torch.equal(one[name], before[name])}
    assert changed == set(PARTS_OF_THE_BODY)
    assert scores["n"] == 1 and {"loss", "mpjpe_mm", "hands_alone_mm", "hands_merged_mm", "crops_near"} <= set(scores)
    provenance = load_paper_part(tmp_path / "whole" / "hand.pt")[2]
    assert provenance["stage"] == "joint" and provenance["made"] == "by a test"


def test_a_frozen_body_stays_as_it_is(weights: Path, tmp_path: Path) -> None:
    train(joint_config(weights, tmp_path, freeze_body=True))
    before, after = states_of(weights), states_of(tmp_path)
    for name, value in before.items():
        assert torch.equal(value, after[name]) or not name.startswith("body"), name
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"hand", "face"}
    with (tmp_path / "log.csv").open() as file:
        columns = next(csv.reader(file))
    assert not [name for name in columns if name.startswith("body_")] and "whole_right_hand" in columns


def test_it_learns_a_batch_by_heart(make_task: MakeTask, tmp_path: Path) -> None:
    task = make_task(batch=3, part_batch=3, rate=5e-4)
    for layer in task.module.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    batch = task.batch(0, 0, 1)
    task.batch = lambda step, rank, ranks: batch
    run(task, EngineConfig(50, tmp_path / "run", log_every=1, validate_every=50, sheet_every=50))
    losses = losses_of(tmp_path / "run")
    assert np.mean(losses[-5:]) < 0.6 * losses[0]


def test_two_processes_see_together_what_one_sees(make_task: MakeTask) -> None:
    task = make_task(augmentation=AUGMENTATIONS["body"], batch=4, part_batch=2)
    one, two = task.batch(3, 0, 1), [task.batch(3, rank, 2) for rank in (0, 1)]
    assert one.bodies.names == two[0].bodies.names + two[1].bodies.names and len(one.names) == 8
    assert torch.equal(one.bodies.target.projected, torch.cat([half.bodies.target.projected for half in two]))
    for name, part in one.alone.items():
        assert torch.equal(part.image, torch.cat([half.alone[name].image for half in two]))
        assert torch.equal(part.start, torch.cat([half.alone[name].start for half in two]))
    with pytest.raises(InputError, match="a batch of 2 for 4 processes"):
        task.batch(0, 0, 4)


def test_mixed_precision_leaves_crops_and_projections_exact(make_task: MakeTask) -> None:
    sample = labelled("body", 1)
    task = make_task([sample], AUGMENTATIONS["body"], batch=1)
    answer_with(task, sample, 0)  # and no network's answer depends on its trunk
    batch = task.batch(0, 0, 1)
    with torch.no_grad():
        exact = task.module(batch)
        with torch.autocast("cpu", torch.bfloat16):
            mixed = task.module(batch)
    for name, term in exact.items():
        torch.testing.assert_close(mixed[name].value, term.value, msg=name)


def test_all_steps_have_the_same_terms(make_task: MakeTask) -> None:
    """Processes exchange the terms by their order: a batch without a label has them all, too."""
    full, bare = make_task(), make_task([planar(labelled("body", k)) for k in range(2)])
    with torch.no_grad():
        terms = [task.module(task.batch(0, 0, 1)) for task in (full, bare)]
    assert list(terms[0]) == list(terms[1])
    assert float(terms[1]["body_body_pose"].total) == 0 and float(terms[1]["body_projected_body"].total) > 0


def test_broken_held_out_pictures_are_left_out(make_task: MakeTask) -> None:
    task = make_task()
    good, broken = labelled("body", 1), replace(labelled("body", 2), image=b"nothing")
    for held_out, count in (([broken, good], 1), ([broken], 0), ([], 0)):
        task.held_out = held_out
        with torch.no_grad():
            assert task.validate()["n"] == count
            assert (task.sheet() is None) == (count == 0)


def test_the_default_recipe_trains_regressors_only(tmp_path: Path) -> None:
    config = replace(
        joint_config(DEFAULT_WEIGHTS, tmp_path), recipe="default", batch=1, part_batch=None, steps=1, rate=1e-3
    )
    task, _ = joint_task(config)
    task.held_out = []
    before = {name: value.clone() for name, value in task.module.state_dict().items()}
    run(task, EngineConfig(1, tmp_path / "run", log_every=1, clip_norm=1.0))
    after = task.module.state_dict()
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert {name.split(".")[2] for name in changed} == {f"{part}" for part in PARTS_OF_THE_BODY}
    assert all(".regressor." in name for name in changed) and any(".trunk." in name for name in before)
    assert {path.name for path in (tmp_path / "run").glob("*.pt")} == {f"{part}.pt" for part in PARTS_OF_THE_BODY}


# Bad input


def test_impossible_settings_are_told(weights: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for part, source in {"body": "hand", "hand": "hand", "face": "face"}.items():
        (broken / f"{part}.pt").write_bytes((weights / source / f"{source}.pt").read_bytes())
    (broken / "people-0-00000.tar").write_bytes((rendered() / "people-0-00000.tar").read_bytes())
    cases: list[tuple[dict[str, object], str]] = [
        ({"weights": None}, "without --weights"),
        ({"weights": tmp_path}, "without body.pt"),
        ({"weights": broken}, "of the part 'hand'"),
        ({"recipe": "default"}, "weights of the recipe 'paper'"),
        ({"recipe": "default", "body_model": tmp_path / "SMPLX.npz"}, "--body-model with the recipe 'default'"),
        ({"body_model": tmp_path / "SMPLX.npz"}, "not a file"),
        ({"data": (DataSet("synthetic", broken),)}, "without a picture of a hand"),
        ({"data": (DataSet("synthetic", tmp_path / "nothing"),)}, "no folder"),
    ]
    for changes, message in cases:
        with pytest.raises(InputError, match=message):
            train(replace(joint_config(weights, tmp_path / "run"), **changes))


def test_bodies_alone_can_be_trained_jointly(weights: Path, tmp_path: Path) -> None:
    task, steps = joint_task(replace(joint_config(weights, tmp_path), part_batch=0, steps=None, epochs=2))
    assert set(task.mixtures) == {"body"} and steps == 10
    batch: JointBatch = task.batch(0, 0, 1)
    assert not batch.alone and len(batch.names) == 2
    assert not [name for name in task.module(batch) if name.split("_")[0] in SPECS and not name.startswith("body")]
