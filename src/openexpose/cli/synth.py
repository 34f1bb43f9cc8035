"""``openexpose synth``: render labelled people to train on, or the frozen test set."""

import re
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

    To train on: shard by shard; the same seed renders the same pictures. To measure on: --preset test-v2 makes the
    frozen scenes of test-v2, --preset test the 500 people of test-v1, the same everywhere; --preset video makes
    sequences of frames in which people move. A stopped run goes on where it was. A sheet of pictures with their labels
    drawn is written beside shards to train on.
    """

    preset: Literal["body", "hands", "faces", "people", "test", "test-v2", "video"]
    """To train on: close-ups of bodies, hands or faces; people: whole scenes.
    Frozen test sets: test-v2, of such scenes; test: test-v1, plainer pictures of one person each.
    video: ten seconds of four people who walk, gesture, exercise and hide one another."""
    out: Annotated[Path, tyro.conf.arg(metavar="FOLDER")]
    """Folder for the shards, the test set, or the sequences."""
    count: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="")] = None
    """Number of pictures or of video sequences; needed but for a test set, of which N are the first ones, to try it
    out."""
    seed: int = 0
    """Seed of everything random. Test sets have none."""
    shard_size: int = 500
    """Pictures in one shard."""
    body: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """Body model in SMPL-X npz format. Default: the free body."""
    assets: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER", help_behavior_hint="")] = None
    """Folder of skins, cloths and backgrounds. Default: that of the checkout."""
    workers: int = 1
    """Processes that render."""
    shards: Annotated[str | None, tyro.conf.arg(metavar="FIRST:END", help_behavior_hint="")] = None
    """Render only these shards, so that the jobs of any scheduler share a data set: 0:50, then 50:100 ..."""
    cluster: Annotated[str | None, tyro.conf.arg(metavar="ADDRESS", help_behavior_hint="")] = None
    """Scheduler of a running distributed cluster that renders instead (needs the extra 'cluster')."""

    def run(self) -> int:
        """Render; returns the exit code."""
        need("train", "cv2", "numba", "scipy")
        if self.cluster is not None:
            need("cluster", "distributed")
        if self.preset == "video":
            return self._video()
        return self._test() if self.preset in ("test", "test-v2") else self._shards()

    def _shards(self) -> int:
        from tqdm import tqdm

        from openexpose.synth.dataset import SynthJob, synth
        from openexpose.synth.sheet import write_sheet

        if self.preset == "test" or self.preset == "test-v2" or self.preset == "video" or self.count is None:
            raise InputError(f"--preset {self.preset} without --count", "how many pictures to render")
        if self.seed < 0:
            raise InputError(f"seed {self.seed}", "a seed of 0 or more")
        job = SynthJob(self.preset, self.count, self.seed, self.shard_size, self.body, self.assets)
        chosen = _range(self.shards)
        done = synth(job, self.out, workers=self.workers, shards=chosen, cluster=self.cluster)
        total = -(-self.count // max(1, self.shard_size)) if chosen is None else len(chosen)
        paths = sorted(tqdm(done, total=total, unit="shard", disable=not sys.stderr.isatty()))
        pictures = sum(job.shard(k)[2] for k in chosen or range(job.shards))
        print(f"{pictures} pictures in {len(paths)} shards: {self.out}")
        if chosen is None or chosen.start == 0:  # else another job's: one sheet a data set
            print(write_sheet(paths, self.out / f"{self.preset}-{self.seed}-sheet.jpg"))
        return 0

    def _video(self) -> int:
        """Sequences of frames."""
        from tqdm import tqdm

        from openexpose.synth.sequence import SequenceJob, make_sequence

        if self.count is None or self.count < 1 or self.workers < 1:
            got = f"count {self.count}, workers {self.workers}"
            raise InputError(f"--preset video with {got}", "how many sequences to render, and by one process or more")
        changed = [flag for flag, given in {"--shards": self.shards, "--cluster": self.cluster}.items() if given]
        if changed:
            raise InputError(f"--preset video with {' and '.join(changed)}", "neither: sequences are no shards")
        for number in range(self.count):
            job = SequenceJob(self.seed, number)
            made = make_sequence(job, self.out, body=self.body, assets=self.assets, workers=self.workers)
            done = tqdm(made, total=len(job.times_s), unit="frame", desc=job.name, disable=not sys.stderr.isatty())
            print(f"{sum(1 for _ in done)} frames: {self.out / job.name}")
        return 0

    def _test(self) -> int:
        """A frozen test set."""
        from tqdm import tqdm

        from openexpose.synth import testset, testset_pictures, testset_v2, testset_v2_folder

        second = self.preset == "test-v2"
        name, total, what = testset.NAME, testset.PEOPLE, "people"
        if second:
            name, total, what = testset_v2.NAME, testset_v2.PICTURES, "pictures"
        options = {"--seed": self.seed, "--body": self.body, "--shards": self.shards, "--cluster": self.cluster}
        changed = [flag for flag, given in options.items() if given]
        if changed:
            raise InputError(f"--preset {self.preset} with {' and '.join(changed)}", f"{name} as it is frozen")
        count = total if self.count is None else self.count
        make = testset_v2_folder.make_testset if second else testset_pictures.make_testset
        made = make(self.out, count=count, assets=self.assets, workers=self.workers)
        steps, unit = (None, "shard") if second else (count, "picture")
        for _ in tqdm(made, total=steps, unit=unit, disable=not sys.stderr.isatty()):
            pass
        print(f"{name}, {f'{total} {what}' if count == total else f'first {count} of {total} {what}'}: {self.out}")
        return 0


def _range(text: str | None) -> range | None:
    """``FIRST:END`` as a range.

    Raises:
        InputError: it is none, or empty.
    """
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,9}):(\d{1,9})", text)
    if not found or int(found[1]) >= int(found[2]):
        raise InputError(f"--shards {text}", "FIRST:END, such as 0:50 for the first fifty")
    return range(int(found[1]), int(found[2]))
