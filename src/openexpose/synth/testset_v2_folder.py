"""The folder of test-v2: shards of ``people``, the frozen numbers, ``table.csv`` and ``README.md``."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from openexpose.body.model import load_body_model
from openexpose.errors import InputError
from openexpose.formats.atomic import check_writable, write_whole
from openexpose.synth.dataset import SynthJob, synth
from openexpose.synth.library import default_assets
from openexpose.synth.shards import load_shards
from openexpose.synth.testset import SEEN_PARTS, check_body, seen_parts
from openexpose.synth.testset_v2 import (
    FILE,
    LEAST_LIMBS,
    LEAST_PX,
    NAME,
    PICTURES,
    TEST_SEED,
    TEST_V2_SHA256,
    FrozenScenes,
    compare,
    read_frozen,
)

_SHARD = 60
_COLUMNS = (
    *("picture", "person", "counts", "x1", "y1", "x2", "y2", "person_px", "limb_joints", "depth_m"),
    *("left_hand_seen", "right_hand_seen", "face_seen"),
)


def job(count: int, assets: Path | None = None) -> SynthJob:
    """What is rendered."""
    return SynthJob("people", count, TEST_SEED, _SHARD, assets=assets)


def make_testset(out: Path, *, count: int = PICTURES, assets: Path | None = None, workers: int = 1) -> Iterator[Path]:
    """Make the folder of the test set; yields each shard when it is there. Finished ones of an earlier run are kept.

    Args:
        out: the folder.
        count: make the first so many pictures only, for trying out; the report of an evaluation says so.
        assets: folder of skins, cloths and backgrounds. Default: that of the checkout.
        workers: processes.

    Raises:
        InputError: a count that is not in 1..360, a folder that cannot be written to, missing or changed assets, or
            pictures that are not the frozen ones: their shard is removed.
    """
    if not 1 <= count <= PICTURES or workers < 1:
        raise InputError(f"count {count}, workers {workers}", f"1 to {PICTURES} pictures, one worker or more")
    source = (assets or default_assets()) / FILE
    frozen = read_frozen(source)
    check_body(load_body_model())
    check_writable(out)
    for path in synth(job(count, assets), out, workers=workers):
        try:
            compare(load_shards([path]), frozen)
        except InputError:
            path.unlink()
            raise
        yield path
    write_whole(out / FILE, source.read_bytes())
    write_whole(out / "table.csv", table_csv(frozen).encode())
    write_whole(out / "README.md", readme(frozen, count).encode())


def table_csv(frozen: FrozenScenes) -> str:
    """One line a person: whether it counts, its box, how far away it is, what can be seen of it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for picture, (first, last) in enumerate(zip(frozen.starts[:-1].tolist(), frozen.starts[1:].tolist(), strict=True)):
        for row in range(first, last):
            seen = seen_parts(frozen.visibility[row])
            numbers = (int(frozen.height_px[row]), int(frozen.limbs[row]), f"{frozen.transl[row, 2] / 1e4:.3f}")
            who = (f"{picture:04d}", row - first, int(frozen.counts[row]), *frozen.box[row].tolist())
            writer.writerow([*who, *numbers, *(int(part in seen) for part in SEEN_PARTS)])
    return text.getvalue()


def readme(frozen: FrozenScenes, count: int) -> str:
    """What the folder is, how it is measured on, who may use it.

    Args:
        frozen: all of it.
        count: how many pictures there are.
    """
    part = "" if count == PICTURES else f"\n**Here are the first {count} of its {PICTURES} pictures, to try it out.**\n"
    counts, heights = frozen.counts, frozen.height_px[frozen.counts]
    seen = [seen_parts(visibility) for visibility in frozen.visibility[counts]]
    return _README.format(
        name=NAME, pictures=PICTURES, people=counts.sum(), labelled=len(counts), sha256=TEST_V2_SHA256, part=part,
        least_px=LEAST_PX, least_limbs=LEAST_LIMBS, low=heights.min(), high=heights.max(),
        median=np.median(heights), share=100 * ((heights >= 400) & (heights <= 1000)).mean(),
        seen=", ".join(f"{name} {sum(name in parts for parts in seen)}" for name in SEEN_PARTS), seed=TEST_SEED,
        alone=100 * (frozen.people == 1).mean(),
    )  # fmt: skip


_README = """\
# {name}: {people} people in {pictures} rendered scenes, with exact labels

Scenes with one to six clothed people, rendered by `openexpose synth --preset {name}`: pictures 0 to {pictures}
(exclusive) of the preset `people`, drawn from random numbers that no training seed reaches. Nobody trains on it:
training refuses these shards. The set is frozen: labels and thumbnails are compared with `{name}.npz` when it is made
and when it is measured on; a generator that makes other pictures no longer makes {name}. SHA-256 of its numbers:
`{sha256}`.
{part}
Of {labelled} labelled people {people} count: those whose box is at least {least_px} px on its longer side and of whom
at least {least_limbs} of the 12 limb joints (shoulders, elbows, wrists, hips, knees, ankles) are in the picture and not
behind anything or anybody else. They are {low} to {high} px on the longer side (median {median:.0f}; {share:.0f} %
between 400 and 1,000). {alone:.0f} % of the pictures show one person alone. Of those who count, parts can be seen (half
of their keypoints) of: {seen}.

Skins, garments, backgrounds and the prior of poses are those of training pictures: the set measures people that were
never trained on, not the step to photographs. There are no children in it.

## Files

- `people-{seed}-00000.tar` ...: shards as `openexpose synth` writes them: pictures, labels, masks, depths. `tar xf`
  unpacks them.
- `{name}.npz`: the frozen numbers. `table.csv`: one line a person: box, size, depth, what can be seen.

## Protocol

As EHF's: given box and focal length, errors in mm after Procrustes alignment (of each part on its own), of 14 joints,
of the hands' joints and of all vertices, the body's, the hands' and the face's.

    openexpose evaluate --protocol renders --data THIS_FOLDER --out report
    openexpose evaluate --protocol renders --data THIS_FOLDER --pred FOLDER --out report

The second line measures anybody's meshes, parameters or joints: one file a person, named by picture and person
(`0007-1.ply`, `0007-1.npz`: person 1 of picture 7).

## Licence

Pictures and labels: CC0-1.0. Skins, hair and garments come from MakeHuman's assets, backgrounds and light from Poly
Haven, all CC0; poses were drawn from statistics of motion capture (the data used in this project was obtained from
mocap.cs.cmu.edu; the database was created with funding from NSF EIA-0196217) and from CC0 hand poses.
"""
