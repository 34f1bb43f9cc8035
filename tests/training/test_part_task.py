"""Training of one network of the paper's recipe: it starts at the labels' mean, learns, writes what it promises."""

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.nets.tiny_paper import TinyTrunk
from tests.training.paper_fixtures import (
    PARTS_OF_THE_BODY,
    SPECS,
    add_tiny_trunk,
    labelled,
    model_of,
    planar,
    rendered,
    setup_of,
)

from openexpose.errors import InputError
from openexpose.geometry.camera import project_weak
from openexpose.geometry.rotation import matrix_to_sixd
from openexpose.nets.body_layer import BodyLayer
from openexpose.nets.decode import decode as torch_decode
from openexpose.nets.paper import build_paper_part, load_paper_part
from openexpose.predict.parts import decode, split
from openexpose.training.engine import EngineConfig, run
from openexpose.training.examples import part_batch, part_example
from openexpose.training.mixture import Mixture
from openexpose.training.part_task import (
    MILESTONES,
    PartModule,
    PartTask,
    adam,
    fixed_batch,
    keypoint_errors,
    mean_vector,
    milestones,
    posed,
    read_parts,
)
from openexpose.training.picture import draw_keypoints, tile
from openexpose.training.recipes import DataSet, TrainConfig, train

Train = Callable[..., dict[str, float]]


@pytest.fixture(autouse=True)
def tiny_trunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name ``tiny`` stands for a trunk of one layer."""
    add_tiny_trunk(monkeypatch)


def config_of(stage: str, out: Path, **changes: object) -> TrainConfig:
    known = {"recipe": "paper", "trunk": "tiny", "batch": 4, "steps": 2, "log_every": 1, "validate_every": 2}
    return TrainConfig(stage, out=out, **({"data": (DataSet("synthetic", rendered()),)} | known | changes))


def column(path: Path, name: str) -> list[float]:
    with path.open() as file:
        return [float(row[name]) for row in csv.DictReader(file)]


# Runs


@pytest.mark.parametrize("stage", PARTS_OF_THE_BODY)
def test_a_run_leaves_weights_numbers_and_pictures(stage: str, tmp_path: Path) -> None:
    scores = train(config_of(stage, tmp_path))
    net, config, provenance = load_paper_part(tmp_path / f"{stage}.pt", stage)
    assert (config.part, config.trunk) == (stage, "tiny") and provenance["stage"] == stage
    losses = column(tmp_path / "log.csv", "loss")
    assert len(losses) == 2 and np.isfinite(losses).all()
    assert scores["n"] == (2 if stage == "hand" else 1)
    assert {"loss", "error_2d_percent", "root_deg"} <= set(scores) and np.isfinite(list(scores.values())).all()
    assert column(tmp_path / "validation.csv", "loss")[-1] == pytest.approx(scores["loss"], rel=1e-4)
    assert list(tmp_path.rglob("*.png")) or list(tmp_path.rglob("*events*"))
    assert np.isfinite(net.regressor.mean.numpy()).all()
    start = net.regressor.mean.numpy()
    assert np.array_equal(start[:6], setup_of(stage).mean[:6]) and not np.array_equal(start, setup_of(stage).mean)


def test_an_interrupted_run_ends_with_the_same_bits(tmp_path: Path) -> None:
    train(config_of("hand", tmp_path / "whole", steps=4))
    train(config_of("hand", tmp_path / "parts", steps=2))
    train(config_of("hand", tmp_path / "parts", steps=4, workers=1))
    one, other = (load_paper_part(tmp_path / name / "hand.pt")[0].state_dict() for name in ("whole", "parts"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    losses = [column(tmp_path / name / "log.csv", "loss") for name in ("whole", "parts")]
    assert losses[0] == losses[1] and len(losses[0]) == 4


def test_weights_of_an_earlier_run_go_on_with_their_own_mean_and_trunk(tmp_path: Path) -> None:
    train(config_of("hand", tmp_path / "first"))
    before, _, _ = load_paper_part(tmp_path / "first" / "hand.pt")
    train(config_of("hand", tmp_path / "second", trunk=None, weights=tmp_path / "first", rate=1e-9))
    after, known, _ = load_paper_part(tmp_path / "second" / "hand.pt")
    assert known.trunk == "tiny" and torch.equal(before.regressor.mean, after.regressor.mean)
    torch.testing.assert_close(before.trunk.conv1.weight, after.trunk.conv1.weight, atol=1e-6, rtol=0)


def test_trunk_weights_are_taken(tmp_path: Path) -> None:
    trunk = TinyTrunk(224, 8)
    torch.save(trunk.state_dict(), tmp_path / "trunk.pth")
    train(config_of("hand", tmp_path / "run", trunk_weights=tmp_path / "trunk.pth", rate=1e-9, steps=1))
    found = load_paper_part(tmp_path / "run" / "hand.pt")[0].trunk
    torch.testing.assert_close(found.conv1.weight, trunk.conv1.weight, atol=1e-6, rtol=0)


@pytest.mark.parametrize("part", PARTS_OF_THE_BODY)
def test_it_learns_a_batch_by_heart(part: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    samples = [labelled(part, k) for k in range(3)]
    mixture = Mixture([samples], 0.25)
    setup = replace(setup_of(part), mean=mean_vector(setup_of(part), mixture))
    net = build_paper_part(part, "tiny")
    for layer in net.modules():
        if isinstance(layer, torch.nn.Dropout):
            layer.p = 0.0
    task = PartTask(
        config_of(part, tmp_path, rate=5e-4, batch=3),
        setup,
        PartModule(net, BodyLayer(model_of(part))),
        (mixture, samples),
    )
    batch = task.batch(0, 0, 1)
    task.batch = lambda step, rank, ranks: batch  # the pictures are made once
    engine = EngineConfig(80, tmp_path, log_every=1, validate_every=80, sheet_every=80)
    scores = run(task, engine)
    losses = column(tmp_path / "log.csv", "loss")
    assert np.mean(losses[-5:]) < 0.5 * losses[0]
    assert scores["n"] == 3 and scores["mpjpe_mm"] < {"body": 200, "hand": 100, "face": 60}[part]


def test_mixed_precision_leaves_points_and_projections_exact() -> None:
    for part in PARTS_OF_THE_BODY:
        module = PartModule(build_paper_part(part, "tiny"), BodyLayer(model_of(part))).eval()
        torch.nn.init.zeros_(module.net.regressor.output_layer.weight)
        batch = fixed_batch(setup_of(part), [labelled(part, k) for k in range(2)])
        with torch.no_grad():
            exact = module(batch)
            with torch.autocast("cpu", torch.bfloat16):
                mixed = module(batch)
        for name, term in exact.items():
            torch.testing.assert_close(mixed[name].value, term.value, msg=name)


# The start


@pytest.mark.parametrize("part", PARTS_OF_THE_BODY)
def test_the_mean_of_equal_labels_is_their_vector(part: str) -> None:
    setup, spec, sample = setup_of(part), SPECS[part], labelled(part, 3)
    mean = mean_vector(setup, Mixture([[sample, replace(sample, name="again"), planar(sample)]], 0.25))
    _, target, _ = part_example(setup, sample, np.random.default_rng(0))
    sixd, betas, expression, _ = split(mean[None], spec)
    slots = list(spec.pose_slots)
    np.testing.assert_allclose(sixd[0, 1:], matrix_to_sixd(target["pose"][slots[1:]]), atol=1e-9)
    np.testing.assert_array_equal(sixd[0, 0], setup.mean[:6])
    np.testing.assert_allclose(betas[0], target["betas"])
    np.testing.assert_allclose(expression[0], target["expression"][: spec.num_expression])


@pytest.mark.parametrize("part", PARTS_OF_THE_BODY)
@pytest.mark.parametrize("labels", ["points", "pose alone", "without the root"])
def test_the_mean_camera_projects_the_labels(part: str, labels: str) -> None:
    setup, spec, sample = setup_of(part), SPECS[part], labelled(part, 4)
    _, target, _ = part_example(setup, sample, np.random.default_rng(0))
    if labels == "pose alone":
        sample = replace(sample, points_m=None)
    if labels == "without the root":
        sample = replace(sample, points_m=sample.points_m * (np.arange(144) != spec.root_joint)[:, None])
    camera = decode(mean_vector(setup, Mixture([[sample]], 0.25))[None].astype(np.float32), spec).camera[0]
    root = target["points"][spec.keypoints.index(spec.root_joint)]
    origin = model_of(part).joint_template[0] if spec.from_origin else np.zeros(3)
    projected = project_weak(target["points"] - root + origin, camera)
    np.testing.assert_allclose(projected, target["projected"], atol=0.02)


def test_nothing_known_leaves_the_mean_as_it_is() -> None:
    for part in PARTS_OF_THE_BODY:
        mean = mean_vector(setup_of(part), Mixture([[planar(labelled(part))]], 0.25))
        np.testing.assert_array_equal(mean, setup_of(part).mean)


# Validation


def test_true_answers_have_no_error() -> None:
    for part in PARTS_OF_THE_BODY:
        setup, spec = setup_of(part), SPECS[part]
        target = part_batch(setup, Mixture([[labelled(part, k) for k in range(3)]], 0.25), range(3), 0).target
        errors = keypoint_errors(spec, target.points, target.projected, target)
        assert errors == {"mpjpe_mm": 0.0, "error_2d_percent": 0.0}
        moved = keypoint_errors(spec, target.points + 3.0, target.projected + torch.tensor([0.02, 0.0]), target)
        assert moved["mpjpe_mm"] < 1e-2 and moved["error_2d_percent"] == pytest.approx(1.0, rel=1e-4)
        grown = keypoint_errors(spec, 1.1 * target.points, target.projected, target)
        assert grown["mpjpe_mm"] > 1.0
        unknown = replace(target, points_weight=0 * target.points_weight, visible=0 * target.visible)
        assert all(
            np.isnan(error) for error in keypoint_errors(spec, target.points, target.projected, unknown).values()
        )


def test_projections_are_those_of_the_part_counted_as_its_camera_counts() -> None:
    for part in PARTS_OF_THE_BODY:
        spec, setup = SPECS[part], setup_of(part)
        mean = torch.from_numpy(setup.mean[None]).float()
        answer = torch_decode(mean, spec)
        points, projected = posed(BodyLayer(model_of(part)), answer, spec)
        root = spec.keypoints.index(spec.root_joint)
        middle = model_of(part).joint_template[0] if spec.from_origin else np.zeros(3)
        np.testing.assert_allclose(points[0, root].numpy(), middle, atol=1e-6)
        expected = project_weak(points.numpy(), answer.camera.numpy())
        np.testing.assert_allclose(projected.numpy(), expected, atol=1e-5)


def test_broken_held_out_pictures_are_left_out(tmp_path: Path) -> None:
    good = [labelled("hand", k) for k in range(2)]
    broken = replace(labelled("hand", 5), name="broken", image=b"nothing")
    batch = fixed_batch(setup_of("hand"), [good[0], broken, good[1]])
    assert batch.names == [good[0].name, good[1].name] and len(batch.problems) == 1
    module = PartModule(build_paper_part("hand", "tiny"), BodyLayer(model_of("hand")))
    for held_out, count in (([good[0], broken], 1), ([broken], 0), ([], 0)):
        task = PartTask(config_of("hand", tmp_path), setup_of("hand"), module, (Mixture([good], 0.25), held_out))
        with torch.no_grad():
            assert task.validate()["n"] == count
            assert (task.sheet() is None) == (count == 0)


def test_pictures_of_predictions() -> None:
    truth = np.array([[0.0, 0.0, 1.0], [0.5, 0.5, 0.0]])
    predicted = np.array([[-0.5, 0.5], [np.nan, 0.0], [1e9, -1e9]])
    drawn = draw_keypoints(np.zeros((3, 64, 64), np.float32), truth, predicted)
    assert drawn[32, 32, 1] > 150 and drawn[48, 16, 0] > 150, "green labels, red predictions"
    assert not drawn[48, 48].any(), "what is not labelled is not drawn"
    assert tile([drawn] * 5).shape == (128, 256, 3)
    np.testing.assert_array_equal(tile([drawn] * 5)[64:, :64], drawn)


# Optimiser


def test_offsets_do_not_decay_and_the_rate_falls_at_the_milestones() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    module[1].weight.requires_grad_(False)
    optimiser = adam(module, 1e-3)
    decay = {id(p): group["weight_decay"] for group in optimiser.param_groups for p in group["params"]}
    assert decay == {id(module[0].weight): 1e-4, id(module[0].bias): 0.0, id(module[1].bias): 0.0}
    schedule, rates = milestones(optimiser, 2.0), []
    for _ in range(2 * MILESTONES[-1] + 1):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()
    assert rates[119] == 1e-3 and rates[120] == pytest.approx(1e-4) and rates[200] == pytest.approx(1e-5)


# Bad input


def test_impossible_settings_are_told(tmp_path: Path) -> None:
    train(config_of("hand", tmp_path / "hand", steps=1))
    weights = tmp_path / "hand"
    torch.save(TinyTrunk(224, 9).state_dict(), tmp_path / "other.pth")
    body = tmp_path / "body"
    body.mkdir()
    (body / "body.pt").write_bytes((weights / "hand.pt").read_bytes())
    cases: list[tuple[str, dict[str, object], str]] = [
        ("face", {"weights": weights}, "without face.pt"),
        ("body", {"weights": body}, "of the part 'hand'"),
        ("hand", {"weights": weights, "trunk": "resnet18"}, "--trunk resnet18 with weights of tiny"),
        ("hand", {"trunk": "vgg"}, "the trunk 'vgg'"),
        ("hand", {"trunk_weights": tmp_path / "other.pth"}, "of other shapes"),
        ("hand", {"trunk_weights": tmp_path / "none.pth"}, "not a file"),
        ("hand", {"trunk_weights": tmp_path / "other.pth", "weights": weights, "trunk": None}, "--trunk-weights and"),
        ("hand", {"body_model": tmp_path / "SMPLX.npz"}, "not a file"),
        ("hand", {"batch": 0}, "--batch 0"),
        ("hand", {"steps": 0}, "--steps 0"),
        ("hand", {"data": ()}, "no data"),
    ]
    for stage, changes, message in cases:
        config = replace(config_of(stage, tmp_path / "run"), **changes)
        with pytest.raises(InputError, match=message):
            train(config)


def test_data_without_the_part_are_told(tmp_path: Path) -> None:
    (tmp_path / "hands-0-00000.tar").write_bytes((rendered() / "hands-0-00000.tar").read_bytes())
    one, two = DataSet("synthetic", tmp_path), DataSet("synthetic", rendered())
    with pytest.raises(InputError, match="without a picture of a face"):
        read_parts(config_of("hand", tmp_path, data=(one,)), ["hand", "face"])
    read = read_parts(config_of("hand", tmp_path, data=(one, two)), ["hand", "face"])
    counts = {part: (len(mixture), len(held_out)) for part, (mixture, held_out) in read.items()}
    assert counts == {"hand": (40, 4), "face": (10, 1)}
