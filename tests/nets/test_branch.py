"""Tuned branches: copies say at first what the trunk says; they learn and the trunk does not; as ONNX beside the trunk
they change none of its other outputs; and without them the trunk is as it was. Readers: see test_reader."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor

from openexpose.errors import InputError
from openexpose.nets.branch import CUTS, Branch, TunedTrunk, fresh_branch
from openexpose.nets.build import build_part, build_trunk
from openexpose.nets.checkpoint import RegressorConfig, build_regressor, load_branch, load_regressor, save_regressor
from openexpose.nets.onnx_export import PARITY_TOLERANCE
from openexpose.nets.part_export import export_tuned_trunk
from openexpose.nets.trunk import OnnxTrunk
from openexpose.nets.trunk_file import in_steps, read_trunk, with_outputs, without_branch
from openexpose.predict.bundle import default_bundle, packaged_trunk

SIDES = {"body": 256, "hand": 224, "face": 192}
CUT_SHAPES = {"hand": [(112, 14, 14)], "face": [(64, 24, 24)]}
EVIDENCE = {"body": 1425 + 36 * 28, "hand": 1299 + 1152, "face": 2200 + 288}
COPIES = pytest.mark.parametrize("part", ["face", "hand"], indirect=True)


def trunk_file(part: str) -> Path:
    return default_bundle() / f"{part}_trunk.onnx"


@pytest.fixture(scope="module", params=sorted(SIDES))
def part(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def trunk(part: str) -> OnnxTrunk:
    return OnnxTrunk(trunk_file(part))


@pytest.fixture(scope="module")
def image(part: str) -> Tensor:
    coarse = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(7))
    return torch.nn.functional.interpolate(coarse, size=(SIDES[part],) * 2, mode="bilinear")


def disturbed(trunk: OnnxTrunk, part: str, seed: int = 0) -> TunedTrunk:
    """A trunk with a branch that has gone somewhere else."""
    branch, generator = fresh_branch(trunk, part), torch.Generator().manual_seed(seed)
    for weight in branch.parameters():
        weight.data *= 1 + 0.2 * torch.rand(weight.shape, generator=generator)
    return TunedTrunk(trunk, branch)


@COPIES
def test_a_fresh_branch_says_what_the_trunk_says(part: str, trunk: OnnxTrunk, image: Tensor) -> None:
    branch = fresh_branch(trunk, part)
    assert isinstance(branch, Branch) and branch.cut == CUTS[part]
    with torch.no_grad():
        seen, maps = trunk.see(image, CUTS[part])
        assert [tuple(some.shape[1:]) for some in maps] == CUT_SHAPES[part]
        torch.testing.assert_close(branch(*maps), seen.feature, atol=0, rtol=0)
        last = [some.contiguous(memory_format=torch.channels_last) for some in maps]
        torch.testing.assert_close(branch(*last), seen.feature, atol=1e-4, rtol=1e-4)
        tuned = TunedTrunk(trunk, branch)(image)
    torch.testing.assert_close(tuned.feature, torch.cat([seen.feature] * 2, 1), atol=0, rtol=0)
    assert torch.equal(tuned.landmarks, seen.landmarks) and torch.equal(tuned.presence, seen.presence)


def test_a_branch_may_go_from_several_tensors() -> None:
    trunk, cut = OnnxTrunk(trunk_file("body")), ("add_1487", "add_982")
    with torch.no_grad():
        seen, maps = trunk.see(torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(7)), cut)
        assert [tuple(some.shape[1:]) for some in maps] == [(192, 16, 16), (272, 8, 8)]
        torch.testing.assert_close(Branch(trunk, cut)(*maps), seen.feature, atol=0, rtol=0)


def test_gradients_reach_the_branch_and_not_the_trunk(part: str, image: Tensor) -> None:
    tuned = TunedTrunk(OnnxTrunk(trunk_file(part)), fresh_branch(OnnxTrunk(trunk_file(part)), part))
    tuned(image[:1]).feature.square().sum().backward()
    assert all(weight.grad is not None and torch.isfinite(weight.grad).all() for weight in tuned.branch.parameters())
    assert any(weight.grad.abs().max() > 0 for weight in tuned.branch.parameters() if weight.grad is not None)
    assert all(weight.grad is None and not weight.requires_grad for weight in tuned.trunk.parameters())
    shared = {id(weight) for weight in tuned.trunk.parameters()} & {id(w) for w in tuned.branch.parameters()}
    assert not shared
    if isinstance(tuned.branch, Branch):
        assert set(tuned.branch.state_dict()) < {*tuned.trunk.state_dict()}


@COPIES
def test_as_onnx_it_is_what_torch_says_and_all_else_is_as_it_was(
    part: str, trunk: OnnxTrunk, image: Tensor, tmp_path: Path
) -> None:
    tuned, path = disturbed(trunk, part), tmp_path / "tuned.onnx"
    assert max(export_tuned_trunk(tuned, path, "by a test").values()) < PARITY_TOLERANCE
    bare = read_trunk(trunk_file(part)).SerializeToString()
    before, after = (onnxruntime.InferenceSession(content) for content in (bare, path.read_bytes()))
    names = [output.name for output in after.get_outputs()]
    assert names == [output.name for output in before.get_outputs()]
    assert after.get_outputs()[0].shape == ["batch", 2 * before.get_outputs()[0].shape[1]]
    got, old = (dict(zip(names, run.run(None, {"image": image.numpy()}), strict=True)) for run in (after, before))
    with torch.no_grad():
        expected = tuned(image)
    for name in names:
        want = getattr(expected, name).numpy()
        np.testing.assert_allclose(got[name], want, atol=2e-4, rtol=1e-3, err_msg=name)
        kept = got[name][:, : old[name].shape[1]] if name == "feature" else got[name]
        np.testing.assert_array_equal(kept, old[name], err_msg=name)
    assert np.abs(got["feature"][:, old["feature"].shape[1] :] - old["feature"]).max() > 0.01

    grown = path.stat().st_size - len(bare)
    assert grown < 1.2 * sum(weight.numel() for weight in tuned.branch.parameters()) + 60_000
    model = onnx.load(path)
    told = {entry.key: entry for entry in model.metadata_props}
    assert (told["tuned"].value, told["frozen length"].value) == ("by a test", str(old["feature"].shape[1]))
    assert without_branch(model) == read_trunk(trunk_file(part)) == read_trunk(path)
    model.metadata_props.remove(told["frozen length"])
    assert without_branch(model) == read_trunk(trunk_file(part)), "an older file"
    again = OnnxTrunk(path)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in trunk.state_dict().items())


def test_differences_in_steps_lose_half_a_step_of_their_row() -> None:
    difference = np.random.default_rng(3).normal(size=(5, 4, 3, 3)) * np.array([1, 1e-3, 0, 10, 1])[:, None, None, None]
    count, step = in_steps(difference.astype(np.float32))
    assert count.dtype == np.int8 and step.dtype == np.float32 and step.shape == (5, 1, 1, 1)
    assert (np.abs(count * step - difference) <= 0.501 * step).all()
    np.testing.assert_array_equal(np.abs(count).max((1, 2, 3)), [127, 127, 0, 127, 127])
    bias = np.array([0.5, -2.0, 0.0], np.float32)
    np.testing.assert_allclose(np.prod(in_steps(bias), axis=0), bias, rtol=1e-6)


def write_checkpoint(path: Path, part: str, tuned: TunedTrunk) -> RegressorConfig:
    config = RegressorConfig(part, EVIDENCE[part], hidden=8, stages=2, feedback=False, tuned=True)
    save_regressor(path, build_regressor(config), config, {"made": "by a test"}, tuned.branch)
    return config


def test_a_checkpoint_brings_the_branch_back(part: str, trunk: OnnxTrunk, image: Tensor, tmp_path: Path) -> None:
    tuned, path = disturbed(trunk, part), tmp_path / f"{part}.pt"
    write_checkpoint(path, part, tuned)
    assert path.stat().st_size < 2.2 * sum(w.numel() for w in tuned.branch.parameters()) + 300_000
    net = build_part(part, trunk_file(part), path)
    for name, value in net.trunk.branch.state_dict().items():
        assert value.dtype == torch.float32 and torch.equal(value, tuned.branch.state_dict()[name].half().float())
    with torch.no_grad():
        seen, answers = net(image)
        expected = tuned(image)
    torch.testing.assert_close(seen.feature, expected.feature, atol=2e-2, rtol=1e-2)
    assert torch.equal(seen.landmarks, expected.landmarks) and len(answers) == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.pop("branch"),
        lambda content: content["config"].update(tuned=False),
        lambda content: content.update(branch=[1]),
    ],
    ids="branch-gone not-tuned no-weights".split(),
)
def test_a_checkpoint_without_its_branch_is_refused(tmp_path: Path, change) -> None:
    path = tmp_path / "face.pt"
    write_checkpoint(path, "face", disturbed(OnnxTrunk(trunk_file("face")), "face"))
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)
    with pytest.raises(InputError, match=r"face\.pt', which does not load .*tuned"):
        load_branch(path)
    with pytest.raises(InputError, match=r"face\.pt"):
        build_trunk("face", trunk_file("face"), path)


def test_a_branch_of_another_trunk_is_told(tmp_path: Path) -> None:
    face = tmp_path / "face.pt"
    write_checkpoint(face, "face", disturbed(OnnxTrunk(trunk_file("face")), "face"))
    with pytest.raises(InputError, match=r"tuned branch of another trunk; expected one of hand_trunk\.onnx"):
        build_trunk("hand", trunk_file("hand"), face)
    assert load_regressor(face)[1] == {"made": "by a test"}


def test_cuts_that_cannot_be_are_told() -> None:
    trunk = OnnxTrunk(trunk_file("body"))
    with pytest.raises(InputError, match=r"body_trunk\.onnx' without the tensors \['nowhere'\]"):
        Branch(trunk, ("nowhere", "add_982"))
    for one in ("add_1487", "add_982"):
        with pytest.raises(InputError, match=r"body_trunk\.onnx' cut at .*feature follows"):
            Branch(trunk, (one,))
    with pytest.raises(InputError, match=r"face_trunk\.onnx' without the tensors \['nowhere'\]"):
        with_outputs(read_trunk(trunk_file("face")), ["nowhere"], "face_trunk.onnx")


def test_a_reader_without_its_map_is_told() -> None:
    with pytest.raises(InputError, match=r"body_trunk\.onnx' without the tensor 'add_1487'"):
        fresh_branch(OnnxTrunk(packaged_trunk("body", "full")), "body")
