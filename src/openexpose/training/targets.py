"""Rendered shards with cached trunk evidence, as training tensors."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from openexpose.losses import PartTarget
from openexpose.nets.trunk import TrunkOutput
from openexpose.people import zero_pose
from openexpose.predict.parts import BODY, PartSpec
from openexpose.training.evidence import FIELDS, find_shards, load_evidence

Array = np.ndarray


@dataclass(frozen=True)
class PartData:
    """Samples of a part: what the frozen trunk saw, and the truth."""

    seen: TrunkOutput
    target: PartTarget

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
        return PartData(chosen, self.target[rows])


def load_data(shards: Path, spec: PartSpec) -> PartData:
    """All shards of a part in a folder, in the order of their names.

    Raises:
        InputError: no shards, or shards whose evidence is missing.
    """
    paths = find_shards(shards, spec.name)
    evidence: dict[str, list[Array]] = {name: [] for name in FIELDS}
    labels: dict[str, list[Array]] = {}
    for path in paths:
        cached = load_evidence(path)
        for name in FIELDS:
            value = getattr(cached, name)
            evidence[name] += [] if value is None else [value]
        with np.load(path, allow_pickle=False) as content:
            for name, value in _target(content, spec).items():
                labels.setdefault(name, []).append(value)
    world = _tensor(evidence["world"]) if evidence["world"] else None
    seen = TrunkOutput(world=world, **{name: _tensor(values) for name, values in evidence.items() if name != "world"})
    return PartData(seen, PartTarget(**{name: _tensor(values) for name, values in labels.items()}))


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
