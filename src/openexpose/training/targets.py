"""Rendered shards with cached trunk evidence, as training tensors."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from openexpose.losses import PartTarget
from openexpose.nets.trunk import TrunkOutput
from openexpose.people import zero_pose
from openexpose.predict.parts import BODY, PartSpec
from openexpose.synth.dataset import load_shards
from openexpose.training.evidence import FIELDS, find_shards, load_evidence

Array = np.ndarray


@dataclass(frozen=True)
class PartData:
    """Samples of a part: what the frozen trunk saw, and the truth."""

    seen: TrunkOutput
    target: PartTarget
    origin: Int[Tensor, "n 2"]
    """Which shard each sample is of, and its row there."""
    shards: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.target.betas)

    def rows(self, rows: Tensor) -> "PartData":
        """The samples ``rows``."""
        seen = self.seen
        chosen = TrunkOutput(
            seen.feature[rows],
            seen.landmarks[rows],
            seen.visibility[rows],
            None if seen.world is None else seen.world[rows],
            seen.presence[rows],
        )
        return PartData(chosen, self.target[rows], self.origin[rows], self.shards)

    @property
    def names(self) -> list[str]:
        """Shard and row of each sample, to name it by."""
        return [f"{self.shards[shard]}:{row}" for shard, row in self.origin.tolist()]

    def pictures(self) -> list[UInt8[Array, "s s 3"]]:
        """The samples' crops, RGB. Reads the shards: for a few samples."""
        origin = self.origin.tolist()
        opened = {shard: load_shards([self.shards[shard]]) for shard in dict(origin)}
        return [opened[shard].image(row) for shard, row in origin]


def load_data(folders: Sequence[Path], spec: PartSpec) -> PartData:
    """All shards of a part in some folders, in the order of the folders and of their names.

    Raises:
        InputError: a folder without shards, or shards whose evidence is missing.
    """
    paths = [path for folder in folders for path in find_shards(folder, spec.name)]
    evidence: dict[str, list[Array]] = {name: [] for name in FIELDS}
    labels: dict[str, list[Array]] = {}
    origin: list[Tensor] = []
    for shard, path in enumerate(paths):
        cached = load_evidence(path)
        for name in FIELDS:
            value = getattr(cached, name)
            evidence[name] += [] if value is None else [value]
        rows = torch.arange(len(cached.feature))
        origin.append(torch.stack([torch.full_like(rows, shard), rows], 1))
        with np.load(path, allow_pickle=False) as content:
            for name, value in _target(content, spec).items():
                labels.setdefault(name, []).append(value)
    world = _tensor(evidence["world"]) if evidence["world"] else None
    seen = TrunkOutput(world=world, **{name: _tensor(values) for name, values in evidence.items() if name != "world"})
    target = PartTarget(**{name: _tensor(values) for name, values in labels.items()})
    return PartData(seen, target, torch.cat(origin), tuple(paths))


def _tensor(arrays: list[Array]) -> Tensor:
    return torch.from_numpy(np.concatenate(arrays).astype(np.float32))


def _target(content: np.lib.npyio.NpzFile, spec: PartSpec) -> dict[str, Array]:
    """Labels of a shard by the names of :class:`PartTarget`."""
    count = len(content["betas"])
    if spec.name == "body":
        pose = content["pose"]
    else:
        pose = zero_pose(count)
        if spec.name == "hand":
            pose[:, 0], pose[:, 40:55] = content["wrist"], content["fingers"]
        else:
            pose[:, 0], pose[:, 22] = content["head"], content["jaw"]
    expression = content["expression"] if spec.num_expression else np.zeros((count, BODY.num_expression))
    return {
        "pose": pose,
        "betas": content["betas"],
        "expression": expression,
        "points": content["keypoints_3d"],
        "projected": content["keypoints_2d"],
        "visible": content["visibility"] > 0,
        "camera": content["camera"],
    }
