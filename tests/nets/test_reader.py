"""Joints read off a map: each is where its heat is, a mirror mirrors them, they are learnt from examples; and in a file
the reader stands beside the trunk, of which it changes nothing."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from openexpose.errors import InputError
from openexpose.nets.branch import CHANNELS, CUTS, TunedTrunk, fresh_branch
from openexpose.nets.onnx_export import PARITY_TOLERANCE
from openexpose.nets.part_export import export_tuned_trunk, round_branch
from openexpose.nets.reader import JointReader
from openexpose.nets.trunk import OnnxTrunk
from openexpose.nets.trunk_file import read_trunk, with_reader, without_branch
from openexpose.predict.bundle import packaged_trunk

TRUNKS = {"body": None, "full": "full"}
JOINTS, SHOWN = 36, 24


def reader(channels: int = 6, joints: int = 4, *, seed: int = 0, width: int = 16, shown: int = 5) -> JointReader:
    torch.manual_seed(seed)
    return JointReader("somewhere", channels, joints, width, shown)


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def one_to_one(layer: nn.Conv2d | nn.Linear, factor: float = 1.0) -> None:
    """Output k of a layer is ``factor`` times its input k."""
    nn.init.zeros_(layer.bias)
    weight = layer.weight.data
    weight.copy_(factor * torch.eye(*weight.shape[:2]).reshape(weight.shape))


def transparent(joints: int, shown: int) -> JointReader:
    """A reader whose heat of joint k is channel k, steeply; depth of joint k: channel ``joints`` + k; shown: the
    channels, as they are."""
    net = reader(16, joints, shown=shown)
    for layer, factor in ((net.enter, 1.0), (net.heat, 100.0), (net.depth, 0.0), (net.look, 1.0), (net.tell, 1.0)):
        one_to_one(layer, factor)
    for block in net.blocks:
        nn.init.zeros_(block.across.weight)
        nn.init.zeros_(block.across.bias)
    net.depth.weight.data[range(joints), range(joints, 2 * joints)] = 1.0
    return net


def test_a_joint_is_at_the_centre_of_the_cell_that_its_heat_is_in() -> None:
    """Of a map that is no square: 4 rows, 10 columns. Depth and what is to be seen are those of the cell."""
    rows, columns = torch.tensor([[0, 3, 2], [1, 0, 3]]), torch.tensor([[9, 0, 4], [7, 2, 9]])
    field = noise(2, 16, 4, 10).abs()
    field[:, :3] = 0.0
    for n in range(2):
        field[n, range(3), rows[n], columns[n]] = 1.0
    net = transparent(3, 16)
    assert net.size == 3 * (4 + 16)
    with torch.no_grad():
        told = net(field)
    reading, each = net.reading(told), told.unflatten(1, (3, 20))
    torch.testing.assert_close(reading.points[..., 0], (columns + 0.5) / 5 - 1)
    torch.testing.assert_close(reading.points[..., 1], (rows + 0.5) / 2 - 1)
    cells = torch.stack([field[n][:, rows[n], columns[n]] for n in range(2)])
    torch.testing.assert_close(reading.depth, torch.stack([cells[:, 3 + k, k] for k in range(3)], 1))
    torch.testing.assert_close(each[..., 3], torch.ones(2, 3))
    torch.testing.assert_close(each[..., 4:], cells.mT)


def test_heat_in_two_cells_is_a_joint_between_them() -> None:
    field = torch.zeros(1, 16, 5, 8)
    field[0, 0, 1, 2] = field[0, 0, 3, 4] = 1.0
    field[0, 1, 1, 2], field[0, 1, 3, 4] = 2.0, 4.0
    with torch.no_grad():
        told = transparent(1, 1)(field)
    torch.testing.assert_close(told[0], torch.tensor([-0.125, 0.0, 3.0, 0.5, 0.5 * 2]))  # (3.5 / 4 - 1, 2.5 / 2.5 - 1)


def test_places_are_within_the_crop() -> None:
    net = reader()
    with torch.no_grad():
        points = net.reading(net(100 * noise(8, 6, 7, 9))).points
    reach = 1 - 1 / torch.tensor([9.0, 7.0])
    assert (points.abs() <= reach + 1e-5).all() and points.std() > 0.1


def test_a_mirror_mirrors_what_a_symmetric_reader_says() -> None:
    net, field = reader(), 3 * noise(3, 6, 8, 11)
    for block in net.blocks:
        kernel = block.around.weight.data
        block.around.weight.data = (kernel + kernel.flip(-1)) / 2
    with torch.no_grad():
        one, other = (net(some).unflatten(1, (4, -1)) for some in (field, field.flip(-1)))
    assert one[..., 0].abs().max() > 0.02
    torch.testing.assert_close(other, one * torch.tensor([-1.0] + 8 * [1.0]), atol=1e-5, rtol=1e-4)


def test_gradients_reach_all_that_matters() -> None:
    net = reader()
    (net(noise(4, 6, 7, 9)) * noise(4, net.size)).sum().backward()
    reached = {name: float(weight.grad.abs().max()) for name, weight in net.named_parameters()}
    assert reached.pop("heat.bias") < 1e-5, "heat that is everywhere is nowhere"
    assert min(reached.values()) > 1e-4
    for kind in (0, 1, 2, 3, slice(4, None)):
        net.zero_grad()
        net(noise(4, 6, 7, 9)).unflatten(1, (4, -1))[..., kind].square().sum().backward()
        assert net.heat.weight.grad.abs().max() > 1e-5, "whatever is told is told of where the joint is"


def test_statistics_make_the_reader_blind_to_the_size_of_numbers() -> None:
    field, factor, shift = noise(5, 6, 7, 9), torch.linspace(3, 90, 6), torch.linspace(-40, 70, 6)
    large = field * factor[:, None, None] + shift[:, None, None]
    one, other = reader(), reader()
    one.calibrate(field)
    other.calibrate(large)
    torch.testing.assert_close(other.map_mean, large.mean((0, 2, 3)))
    with torch.no_grad():
        torch.testing.assert_close(other(large), one(field), atol=5e-3, rtol=5e-3)
        assert (other(field) - one(field)).abs().max() > 0.1
    again = reader(seed=9)
    again.load_state_dict(other.state_dict())
    assert torch.equal(again(large), other(large)), "a checkpoint holds them"


def blobs(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Maps 10 x 16 of noise with a blob at a random place in each of two channels, and the places (crop units)."""
    generator = torch.Generator().manual_seed(seed)
    places = 1.6 * torch.rand(count, 2, 2, generator=generator) - 0.8
    x, y = ((torch.arange(n) + 0.5) * 2 / n - 1 for n in (16, 10))
    off = (x - places[..., None, None, 0]) ** 2 * 64 + (y[:, None] - places[..., None, None, 1]) ** 2 * 25
    field = 0.1 * torch.randn(count, 5, 10, 16, generator=generator)
    field[:, 1:3] += torch.exp(-off / 2)
    return field, places


def test_it_learns_to_find_blobs() -> None:
    net = reader(5, 2, width=16)
    net.calibrate(blobs(64, 0)[0])
    optimiser = torch.optim.Adam(net.parameters(), 5e-3)
    for step in range(80):
        field, places = blobs(32, step)
        loss = (net.reading(net(field)).points - places).norm(dim=-1).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    field, places = blobs(64, 1000)
    with torch.no_grad():
        off = (net.reading(net(field)).points - places) * torch.tensor([8.0, 5.0])
    assert off.norm(dim=-1).mean() < 0.35, "cells"


@pytest.fixture(scope="module", params=TRUNKS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def path(name: str) -> Path:
    return packaged_trunk("body", TRUNKS[name])


@pytest.fixture(scope="module")
def trunk(path: Path) -> OnnxTrunk:
    return OnnxTrunk(path)


@pytest.fixture(scope="module")
def image() -> Tensor:
    coarse = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(7))
    return torch.nn.functional.interpolate(coarse, size=(256, 256), mode="bilinear")


@pytest.fixture(scope="module")
def tuned(trunk: OnnxTrunk, name: str, image: Tensor) -> TunedTrunk:
    """A trunk with a reader that says something else of each picture."""
    torch.manual_seed(5)
    branch = fresh_branch(trunk, name)
    assert isinstance(branch, JointReader)
    with torch.no_grad():
        branch.calibrate(trunk.see(image, CUTS[name])[1][0])
        branch.heat.weight *= 20
    return TunedTrunk(trunk, branch)


def test_of_bodies_the_branch_is_a_reader_of_the_map(name: str, trunk: OnnxTrunk, tuned: TunedTrunk, image: Tensor):
    branch = tuned.branch
    assert isinstance(branch, JointReader) and branch.cut == CUTS[name] and branch.size == JOINTS * (4 + SHOWN)
    with torch.no_grad():
        seen, maps = trunk.see(image, branch.cut)
        both = tuned(image)
        assert [tuple(some.shape[1:]) for some in maps] == [(CHANNELS[name], 16, 16)]
        torch.testing.assert_close(both.feature[:, -branch.size :], branch(*maps), atol=0, rtol=0)
    assert torch.equal(both.feature[:, : -branch.size], seen.feature) and torch.equal(both.world, seen.world)
    assert branch.reading(branch(*maps)).points.std(0).max() > 0.02, "the pictures differ"


def test_as_onnx_it_stands_beside_the_trunk(
    path: Path, trunk: OnnxTrunk, tuned: TunedTrunk, image: Tensor, tmp_path: Path
) -> None:
    out, bare = tmp_path / "tuned.onnx", read_trunk(path)
    assert max(export_tuned_trunk(tuned, out, "by a test").values()) < PARITY_TOLERANCE
    before, after = (onnxruntime.InferenceSession(m) for m in (bare.SerializeToString(), out.read_bytes()))
    names = [output.name for output in after.get_outputs()]
    assert names == [output.name for output in before.get_outputs()]
    (length,) = (output.shape[1] for output in after.get_outputs() if output.name == "feature")
    assert length == 1152 + tuned.branch.size
    for count in (1, 3):
        feed = {"image": image[:count].numpy()}
        got, old = (dict(zip(names, session.run(None, feed), strict=True)) for session in (after, before))
        for told in names:
            kept = got[told][:, :1152] if told == "feature" else got[told]
            np.testing.assert_array_equal(kept, old[told], err_msg=told)
        with torch.no_grad():
            expected = tuned(image[:count]).feature.numpy()
        np.testing.assert_allclose(got["feature"], expected, atol=1e-3, rtol=1e-3)
        if count == 3:
            assert np.ptp(got["feature"][:, 1152:], axis=0).max() > 0.02, "the pictures differ"

    weights = sum(weight.numel() for weight in tuned.branch.parameters())
    assert out.stat().st_size - bare.ByteSize() < 2.2 * weights + 100_000, "in half precision"
    model = onnx.load(out)
    told = {entry.key: entry.value for entry in model.metadata_props}
    assert (told["tuned"], told["frozen length"]) == ("by a test", "1152")
    assert without_branch(model) == bare == read_trunk(out)
    again = OnnxTrunk(out).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in trunk.state_dict().items())


def test_it_is_rounded_to_what_the_file_holds(trunk: OnnxTrunk, name: str) -> None:
    torch.manual_seed(3)
    tuned = TunedTrunk(trunk, fresh_branch(trunk, name))
    exact = {key: value.clone() for key, value in tuned.branch.state_dict().items()}
    round_branch(tuned)
    changed = tuned.branch.state_dict()
    assert all(torch.equal(changed[key], value.half().float()) for key, value in exact.items())
    assert any(not torch.equal(changed[key], value) for key, value in exact.items())


def test_a_tensor_that_is_not_there_is_told(path: Path) -> None:
    model = read_trunk(path)
    with pytest.raises(InputError, match=r"trunk\.onnx' without the tensors \['nowhere'\]"):
        with_reader(model, "nowhere", model, 3, "", str(path))
