"""Shards: deterministic, resumable, whole or absent; bad input is told."""

import numpy as np
import pytest

from openexpose.errors import InputError
from openexpose.synth.dataset import SAMPLE_TYPES, SynthJob, load_shards, read_arrays, render_shard, synth
from openexpose.synth.scene import label_names
from openexpose.synth.sheet import sheet


@pytest.mark.parametrize("kind", ["body", "hands", "faces", "people"])
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


def damaged(path, at=0.5):
    """The same file with one byte changed."""
    content = bytearray(path.read_bytes())
    content[int(at * len(content))] ^= 0xFF
    path.write_bytes(bytes(content))


def test_damaged_shards_are_told_and_rendered_again(tmp_path):
    job = SynthJob("faces", count=2, seed=1, shard_size=2)
    (path,) = synth(job, tmp_path)
    whole = path.read_bytes()
    for damage in (damaged, lambda p: p.write_bytes(whole[: len(whole) // 2]), lambda p: np.savez(p, other=np.ones(1))):
        damage(path)
        assert list(synth(job, tmp_path)) == [path]
        assert path.read_bytes() == whole
    damaged(path)
    with pytest.raises(InputError, match=r"which cannot be read .*'openexpose synth' again"):
        load_shards([path])


def test_no_damage_is_a_traceback(tmp_path):
    rng, path = np.random.default_rng(0), tmp_path / "a.npz"
    for save in (np.savez, np.savez_compressed):
        save(path, jpeg=rng.integers(0, 9, 40, np.uint8), kind=np.array("faces"), floats=rng.random((3, 2)))
        whole = np.frombuffer(path.read_bytes(), np.uint8)
        for k in range(len(whole)):
            broken = whole.copy()
            broken[k] ^= rng.integers(1, 256, dtype=np.uint8)
            path.write_bytes(broken.tobytes())
            try:
                read_arrays(path, "whole")
            except InputError as error:
                assert "\n" not in str(error)


def test_bad_input(stage, tmp_path):
    with pytest.raises(InputError, match="positive"):
        next(synth(SynthJob("body", count=0), tmp_path))
    with pytest.raises(InputError, match="seed -1"):
        next(synth(SynthJob("body", count=1, seed=-1), tmp_path))
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "out"):
        with pytest.raises(InputError, match="cannot be written to"):
            next(synth(SynthJob("body", count=1), out))
    with pytest.raises(InputError, match="even"):
        next(synth(SynthJob("hands", count=4, shard_size=3), tmp_path))
    with pytest.raises(InputError, match="no shards"):
        load_shards([])
    (tmp_path / "x.npz").write_bytes(b"nothing")
    with pytest.raises(InputError, match="cannot be read"):
        load_shards([tmp_path / "x.npz"])
    np.savez(tmp_path / "y.npz", kind=np.array("feet"))
    with pytest.raises(InputError, match=r"y\.npz without jpeg"):
        load_shards([tmp_path / "y.npz"])
    two = [render_shard(kind, 0, 0, 2, tmp_path / f"{kind}.npz", stage) for kind in ("faces", "hands")]
    with pytest.raises(InputError, match="2 sorts"):
        load_shards(two)
