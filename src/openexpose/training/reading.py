"""The samples of a training: those to learn from, and those to judge by."""

import os
from collections.abc import Sequence

import numpy as np

from openexpose.data.check import read_dataset
from openexpose.data.sample import Sample
from openexpose.errors import InputError
from openexpose.formats.atomic import write_whole
from openexpose.training.mixture import PLANAR_SHARE, Mixture
from openexpose.training.recipes import TrainConfig

VALIDATED = 256
"""At most about so many held-out samples are looked at: of each data set equally many, evenly spread."""


def read_parts(config: TrainConfig, parts: Sequence[str]) -> dict[str, tuple[Mixture, list[Sample]]]:
    """Training mixture and held-out samples of each part from the data sets, each of which is read once.

    Samples that the readers leave out are counted on the screen and named in ``skipped.log`` of the run folder. A data
    set without held-out pictures is told, too.

    Raises:
        InputError: a data set cannot be read, or none has pictures of a part.
    """
    sets: dict[str, list[list[Sample]]] = {part: [] for part in parts}
    held_out: dict[str, list[list[Sample]]] = {part: [] for part in parts}
    skipped, notes = list[str](), list[str]()
    for one in config.data:
        reading = read_dataset(one.name, one.folder, "train", config.body_model)
        skipped += reading.skipped
        if reading.skipped:
            notes.append(f"{one.name}: {len(reading.skipped)} samples left out, see '{config.out / 'skipped.log'}'")
        try:
            held = read_dataset(one.name, one.folder, "val", config.body_model).samples
        except InputError as error:
            held = []
            notes.append(f"{one.name}: no pictures held out to judge by ({error.got})")
        for part in parts:
            sets[part].append(_of_part(reading.samples, part))
            held_out[part].append(_of_part(held, part))
    for part in parts:
        if not any(sets[part]):
            raise InputError(f"data without a picture of a {part}", "at least one data set of that part")
    if os.environ.get("RANK", "0") == "0":  # torchrun's contract: the first process speaks
        for note in notes:
            print(note, flush=True)
        if skipped:
            write_whole(config.out / "skipped.log", "".join(f"{line}\n" for line in skipped).encode())
    return {part: (Mixture(sets[part], PLANAR_SHARE[part], config.seed), _spread(held_out[part])) for part in parts}


def _of_part(samples: Sequence[Sample], part: str) -> list[Sample]:
    return [sample for sample in samples if sample.part == part]


def _spread(sets: Sequence[Sequence[Sample]]) -> list[Sample]:
    """Equally many samples of each set, evenly spread over it."""
    sets = [samples for samples in sets if samples]
    most = VALIDATED // max(len(sets), 1)
    return [
        samples[int(k)]
        for samples in sets
        for k in np.unique(np.linspace(0, len(samples) - 1, min(len(samples), most)).astype(int))
    ]
