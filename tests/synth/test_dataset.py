"""Shards: deterministic, resumable, whole or absent; bad input is told."""

import numpy as np
import pytest

from openexpose.errors import InputError
from openexpose.synth.dataset import SAMPLE_TYPES, SynthJob, load_shards, render_shard, synth
from openexpose.synth.scene import label_names
from openexpose.synth.sheet import sheet


@pytest.mark.parametrize("kind", ["body", "hands", "faces"])
def test_shards_hold_every_label_and_repeat(stage, tmp_path, kind):
    paths = [render_shard(kind, 3, 10, 4, tmp_path / f"{k}.npz", stage) for k in "ab"]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    shards = load_shards(paths)
    assert len(shards) == 8 and set(shards.labels) == set(label_names(SAMPLE_TYPES[kind]))
    assert all(len(values) == 8 and np.isfinite(values).all() for values in shards.labels.values())
    np.testing.assert_array_equal(shards.image(1), shards.image(5))
    assert sheet(shards, np.arange(5), columns=4).shape == (
        2 * shards.image(0).shape[0],
        4 * shards.image(0).shape[0],
        3,
    )


def test_a_stopped_run_goes_on(tmp_path):
    job = SynthJob("faces", count=5, seed=1, shard_size=2)
    run = synth(job, tmp_path)
    first = next(run)
    run.close()
    stamp = first.stat().st_mtime_ns
    (tmp_path / job.shard(1)[0]).write_bytes(b"half a file")
    paths = sorted(synth(job, tmp_path))
    assert first.stat().st_mtime_ns == stamp and [p.name for p in paths] == [job.shard(k)[0] for k in range(3)]
    assert len(load_shards(paths)) == 5 and not list(tmp_path.glob("*.part*"))
    straight = sorted(synth(job, tmp_path / "again"))
    np.testing.assert_array_equal(load_shards(paths).jpeg, load_shards(straight).jpeg)


def test_bad_input(stage, tmp_path):
    with pytest.raises(InputError, match="positive"):
        next(synth(SynthJob("body", count=0), tmp_path))
    with pytest.raises(InputError, match="even"):
        next(synth(SynthJob("hands", count=4, shard_size=3), tmp_path))
    with pytest.raises(InputError, match="no shards"):
        load_shards([])
    (tmp_path / "x.npz").write_bytes(b"nothing")
    with pytest.raises(InputError, match="cannot be read"):
        load_shards([tmp_path / "x.npz"])
    two = [render_shard(kind, 0, 0, 2, tmp_path / f"{kind}.npz", stage) for kind in ("faces", "hands")]
    with pytest.raises(InputError, match="2 sorts"):
        load_shards(two)
