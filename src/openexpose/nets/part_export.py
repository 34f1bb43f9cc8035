"""Part networks as the ONNX files of a bundle: trunks without landmarks, regressor heads, and the folder itself."""

from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from openexpose.errors import InputError
from openexpose.nets.branch import TunedTrunk
from openexpose.nets.onnx_export import export_onnx, noise_images, write_checked
from openexpose.nets.part import PartNet
from openexpose.nets.reader import JointReader
from openexpose.nets.regressor import Evidence, IterativeRegressor
from openexpose.nets.trunk import TrunkOutput, kept_as
from openexpose.nets.trunk_file import GOAL, in_steps, read_trunk, with_branch, with_reader
from openexpose.predict.bundle import BundleConfig
from openexpose.predict.parts import SPECS

_LANDMARKS = {"body": 39, "hand": 21, "face": 478}
_FEATURES = {"body": 1152, "hand": 1152, "face": 288}


class _Head(nn.Module):
    """A regressor with plain tensors as inputs and the last stage as output."""

    def __init__(self, regressor: IterativeRegressor) -> None:
        super().__init__()
        self.regressor = regressor

    def forward(
        self, feature: Tensor, landmarks: Tensor, visibility: Tensor, start: Tensor, world: Tensor | None = None
    ) -> Tensor:
        seen = TrunkOutput(feature, landmarks, visibility, world, visibility[:, 0])
        return self.regressor(seen, start)[-1]


def example_inputs(part: str, count: int = 2, seed: int = 0, *, more: int = 0) -> dict[str, Tensor]:
    """Random inputs of a part's head, by name; its feature has so many numbers ``more`` than the trunk's."""
    generator = torch.Generator().manual_seed(seed)
    landmarks = _LANDMARKS[part]
    inputs = {
        "feature": torch.randn(count, _FEATURES[part] + more, generator=generator),
        "landmarks": 0.5 * torch.randn(count, landmarks, 3, generator=generator),
        "visibility": torch.rand(count, landmarks, generator=generator),
        "start": torch.randn(count, SPECS[part].size, generator=generator),
    }
    if part != "face":
        inputs["world"] = 0.3 * torch.randn(count, landmarks, 3, generator=generator)
    return inputs


def export_head(regressor: IterativeRegressor, part: str, path: Path, provenance: str = "") -> dict[str, float]:
    """Write a regressor as ONNX: feature, landmarks, visibility, start (and world) to parameters; free batch size.

    The weights are rounded to float16 first: the file is half as large and equal to the regressor as it then is.

    Returns:
        The largest difference between torch and onnxruntime, which is checked before the file is written.
    """
    _halve(regressor)
    head, more = _Head(regressor).eval(), _more(regressor, part)
    model = export_onnx(head, example_inputs(part, more=more), ["parameters"], {"origin": provenance})
    batches = [example_inputs(part, count, seed=count, more=more) for count in (1, 3)]
    return write_checked(model, head, batches, path)


def _more(regressor: IterativeRegressor, part: str) -> int:
    """How many numbers a tuned trunk's feature has that the frozen one's has not, by what the regressor reads."""
    plain = example_inputs(part)
    seen = TrunkOutput(
        plain["feature"], plain["landmarks"], plain["visibility"], plain.get("world"), plain["visibility"][:, 0]
    )
    return len(regressor.evidence.mean) - Evidence.raw(seen, regressor.evidence.canonical).shape[1]


class _AllOutputs(nn.Module):
    """A trunk with its outputs in their order."""

    def __init__(self, trunk: TunedTrunk) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        seen = self.trunk(image)
        return tuple(getattr(seen, name) for name in self.trunk.output_names)


def export_tuned_trunk(trunk: TunedTrunk, path: Path, provenance: str = "") -> dict[str, float]:
    """Write a trunk with its branch as ONNX: its own file and the branch's steps; feature: [frozen, tuned].

    The branch's weights are rounded first to what the file holds: float16 of a reader, of a copy's see
    :func:`openexpose.nets.trunk_file.in_steps`.

    Returns:
        The largest difference of each output between torch and onnxruntime, checked before the file is written.

    Raises:
        InputError: torch and onnxruntime differ.
    """
    branch, source = trunk.branch, trunk.trunk.path
    round_branch(trunk)
    if isinstance(branch, JointReader):
        with torch.no_grad():
            maps = trunk.trunk.see(torch.zeros(2, 3, trunk.side_px, trunk.side_px), branch.cut)[1]
        reader = export_onnx(branch.eval(), {"field": maps[0]}, [GOAL], {})
        model = with_reader(read_trunk(source), branch.cut[0], reader, branch.size, provenance, str(source))
        return write_checked(model, _AllOutputs(trunk).eval(), noise_images(trunk.side_px), path)

    def tuned(name: str) -> Float[np.ndarray, "..."]:
        return branch.weights[kept_as(name)].detach().numpy()

    model = with_branch(read_trunk(source), branch.cut, tuned, provenance, str(source))
    return write_checked(model, _AllOutputs(trunk).eval(), noise_images(trunk.side_px), path)


def round_branch(trunk: TunedTrunk) -> None:
    """Round the branch's weights to what a file holds of them."""
    if isinstance(trunk.branch, JointReader):
        _halve(trunk.branch)
        return
    for name, weight in trunk.branch.weights.items():
        frozen = trunk.trunk.weights[name].detach()
        count, step = in_steps((weight.detach() - frozen).numpy())
        weight.data = frozen + torch.from_numpy(count * step)


def _halve(net: nn.Module) -> None:
    """Round weights to what float16 can hold."""
    for parameter in net.parameters():
        parameter.data = parameter.data.half().float()


class _PlainHead(nn.Module):
    """A regressor that reads nothing but the feature vector."""

    def __init__(self, regressor: IterativeRegressor) -> None:
        super().__init__()
        self.regressor = regressor

    def forward(self, feature: Tensor, start: Tensor) -> Tensor:
        nothing = feature[:, :0]
        return self.regressor(TrunkOutput(feature, nothing[:, :, None], nothing, None, feature[:, 0]), start)[-1]


class _PlainTrunk(nn.Module):
    """A trunk of which only the feature vector is wanted."""

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(self, image: Tensor) -> Tensor:
        return self.trunk(image).feature


def export_plain_part(net: PartNet, side_px: int, folder: Path, origin: str) -> None:
    """Write ``{part}_trunk.onnx`` (picture to feature vector) and ``{part}_head.onnx`` (feature and start vectors to
    parameters) of a part network of the paper's recipe, each checked against torch before it is written.

    Raises:
        InputError: torch and onnxruntime differ.
    """
    net.eval()
    name, trunk = net.spec.name, _PlainTrunk(net.trunk).eval()
    images = noise_images(side_px)
    model = export_onnx(trunk, {"image": torch.cat([images[0]["image"]] * 2)}, ["feature"], {"origin": origin})
    write_checked(model, trunk, images, folder / f"{name}_trunk.onnx")
    size, head = len(net.regressor.evidence.mean), _PlainHead(net.regressor).eval()

    def batch(count: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(count)
        feature = torch.rand(count, size, generator=generator)
        return {"feature": feature, "start": torch.randn(count, net.spec.size, generator=generator)}

    model = export_onnx(head, batch(2), ["parameters"], {"origin": origin})
    write_checked(model, head, [batch(1), batch(3)], folder / f"{name}_head.onnx")


def write_bundle(out: Path, config: BundleConfig, means: Mapping[str, Tensor], fill: Callable[[Path], None]) -> None:
    """Write a bundle's folder: files appear whole, ``bundle.json`` last; after an error the folder is as it was.

    Args:
        out: the folder, made if it is not there.
        config: content of ``bundle.json``.
        means: mean parameter vector of each part that is not the base's.
        fill: writes everything else into the folder that it is given.

    Raises:
        InputError: the folder cannot be written to.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=out, prefix=".", suffix=".part", ignore_cleanup_errors=True) as folder:
            beside = Path(folder)
            fill(beside)
            np.savez(beside / "means.npz", **{part: mean.cpu().numpy() for part, mean in means.items()})  # type: ignore[arg-type]
            (beside / "bundle.json").write_text(config.json(), "utf-8")
            for path in sorted(beside.iterdir(), key=lambda path: path.name == "bundle.json"):
                path.replace(out / path.name)
    except OSError as error:
        expected = "a folder that can be written to"
        raise InputError(f"'{out}', where no bundle can be written ({error.strerror or error})", expected) from None
