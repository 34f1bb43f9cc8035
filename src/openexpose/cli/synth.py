"""``openexpose synth``: render labelled people to train on, or the frozen test set."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from openexpose.cli.extras import need
from openexpose.errors import InputError


@dataclass(frozen=True)
class Synth:
    """Render pictures of synthetic people with exact labels (needs the extra 'train').

    To train on: shard by shard; the same seed renders the same pictures. To measure on: --preset test makes the 500
    people of test-v1, the same everywhere. A stopped run goes on where it was.
    """

    preset: Literal["body", "hands", "faces", "people", "test"]
    """To train on: crops of bodies, hands or faces; people: larger pictures of whole people.
    test: the frozen test set."""
    out: Annotated[Path, tyro.conf.arg(metavar="FOLDER")]
    """Folder for the shards, or for the test set."""
    count: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="")] = None
    """Number of pictures; needed but for the test set, of which N are the first ones, to try it out."""
    seed: int = 0
    """Seed of everything random. The test set has none."""
    shard_size: int = 500
    """Pictures in one shard."""
    body: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """Body model in SMPL-X npz format. Default: the free body."""
    assets: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER", help_behavior_hint="")] = None
    """Folder of skins, cloths and backgrounds. Default: that of the checkout."""
    workers: int = 1
    """Processes that render."""

    def run(self) -> int:
        """Render; returns the exit code."""
        need("train", "cv2", "numba", "scipy")
        return self._test() if self.preset == "test" else self._shards()

    def _shards(self) -> int:
        from tqdm import tqdm

        from openexpose.synth.dataset import SynthJob, synth

        if self.preset == "test" or self.count is None:
            raise InputError(f"--preset {self.preset} without --count", "how many pictures to render")
        job = SynthJob(self.preset, self.count, self.seed, self.shard_size, self.body, self.assets)
        total = -(-self.count // max(1, self.shard_size))
        shards = synth(job, self.out, workers=self.workers)
        done = sum(1 for _ in tqdm(shards, total=total, unit="shard", disable=not sys.stderr.isatty()))
        print(f"{self.count} pictures in {done} shards: {self.out}")
        return 0

    def _test(self) -> int:
        from tqdm import tqdm

        from openexpose.synth.testset import NAME, PEOPLE
        from openexpose.synth.testset_pictures import make_testset

        changed = [flag for flag, given in (("--seed", self.seed), ("--body", self.body)) if given]
        if changed:
            raise InputError(f"--preset test with {' and '.join(changed)}", f"{NAME} as it is frozen")
        count = PEOPLE if self.count is None else self.count
        pictures = make_testset(self.out, count=count, assets=self.assets, workers=self.workers)
        for _ in tqdm(pictures, total=count, unit="picture", disable=not sys.stderr.isatty()):
            pass
        which = f"{PEOPLE} people" if count == PEOPLE else f"first {count} of {PEOPLE} people"
        print(f"{NAME}, {which}: {self.out}")
        return 0
