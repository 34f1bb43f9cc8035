"""How test-v2 was frozen: its authors ran ``python -m openexpose.synth.testset_v2_freeze`` once.

It renders the pictures, writes ``synth_assets/test-v2.npz`` and prints the SHA-256 that belongs into
:mod:`openexpose.synth.testset_v2`. Another run with changed code makes another set, which needs another name.
"""

import io
import sys
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from openexpose.formats.atomic import write_whole
from openexpose.synth.dataset import synth
from openexpose.synth.library import default_assets
from openexpose.synth.shards import load_shards
from openexpose.synth.testset_v2 import FILE, PICTURES, frozen_from
from openexpose.synth.testset_v2_folder import job


def freeze(out: Path, shards: Path, *, workers: int = 1) -> str:
    """Render the pictures and write the file of the test set; returns the SHA-256 of its numbers.

    Args:
        out: the file.
        shards: folder for the pictures.
        workers: processes.
    """
    frozen = frozen_from(load_shards(sorted(synth(job(PICTURES), shards, workers=workers))))
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{field.name: getattr(frozen, field.name) for field in fields(frozen)})
    write_whole(out, buffer.getvalue())
    return frozen.digest()


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        print(freeze(default_assets() / FILE, Path(folder), workers=int(sys.argv[1]) if len(sys.argv) > 1 else 1))
