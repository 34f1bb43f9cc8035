"""``openexpose synth``: render labelled people to train on."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from openexpose.cli.extras import need


@dataclass(frozen=True)
class Synth:
    """Render pictures of synthetic people with exact labels, shard by shard (needs the extra 'train').

    The same seed renders the same pictures; a stopped run goes on where it was.
    """

    preset: Literal["body", "hands", "faces", "people"]
    """Crops of bodies, hands or faces, or larger pictures of whole people."""
    count: int
    """Number of pictures."""
    out: Path
    """Folder for the shards."""
    seed: int = 0
    """Seed of everything random."""
    shard_size: int = 500
    """Pictures in one shard."""
    body: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """Body model in SMPL-X npz format. Default: the free body."""
    assets: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER", help_behavior_hint="")] = None
    """Folder of skins, cloths and backgrounds. Default: that of the checkout."""
    workers: int = 1
    """Processes."""

    def run(self) -> int:
        """Render; returns the exit code."""
        need("train", "cv2", "numba", "scipy")
        from tqdm import tqdm

        from openexpose.synth.dataset import SynthJob, synth

        job = SynthJob(self.preset, self.count, self.seed, self.shard_size, self.body, self.assets)
        total = -(-self.count // max(1, self.shard_size))
        shards = synth(job, self.out, workers=self.workers)
        done = sum(1 for _ in tqdm(shards, total=total, unit="shard", disable=not sys.stderr.isatty()))
        print(f"{self.count} pictures in {done} shards: {self.out}")
        return 0
