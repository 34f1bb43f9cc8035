"""Data sets in shards: every picture by itself, deterministic, resumable, in ranges, on clusters; bad input is told."""

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tests.synth.photos import free_body, make_photo

from openexpose.errors import InputError
from openexpose.synth import dataset
from openexpose.synth.dataset import SynthJob, render_shard, sample, synth
from openexpose.synth.shards import load_shards


@pytest.fixture(autouse=True)
def unrendered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Photos of noise, drawn by the random generator that renders would be drawn by."""

    def fake(kind: str, rng: np.random.Generator, stage: object) -> object:
        return make_photo(kind, int(rng.integers(1 << 30)), people=2 if kind == "people" else 1)

    monkeypatch.setattr(dataset, "sample_photo", fake)
    monkeypatch.setattr(dataset, "build_stage", lambda *_: SimpleNamespace(model=free_body()))
    dataset._stage.cache_clear()
    yield
    dataset._stage.cache_clear()


def test_a_picture_depends_on_kind_seed_and_number(tmp_path: Path) -> None:
    stage = dataset.build_stage()
    alone = load_shards([render_shard("faces", 3, 2, 1, tmp_path / "a.tar", stage)])
    among = load_shards([render_shard("faces", 3, 0, 5, tmp_path / "b.tar", stage)])
    assert alone.file(0) == among.file(2) and alone.name(0) == among.name(2) == "faces-3-0000002"
    np.testing.assert_array_equal(alone.labels["pose"][0], among.labels["pose"][2])
    for kind, seed in (("faces", 4), ("hands", 3)):
        assert not np.array_equal(sample(kind, seed, 2, stage).image, sample("faces", 3, 2, stage).image)


def test_shards_of_a_job_are_all_its_pictures(tmp_path: Path) -> None:
    job = SynthJob("body", count=7, seed=1, shard_size=3)
    paths = list(synth(job, tmp_path))
    assert [path.name for path in paths] == ["body-1-00000.tar", "body-1-00001.tar", "body-1-00002.tar"]
    shards = load_shards(paths)
    assert len(shards) == 7 and shards.numbers.tolist() == list(range(7))
    once = load_shards(list(synth(SynthJob("body", count=7, seed=1, shard_size=7), tmp_path / "once")))
    assert [shards.file(k) for k in range(7)] == [once.file(k) for k in range(7)]
    np.testing.assert_array_equal(shards.labels["transl"], once.labels["transl"])


def test_ranges_of_shards_compose_to_the_whole(tmp_path: Path) -> None:
    job = SynthJob("hands", count=7, seed=2, shard_size=2)
    whole = {path.name: path.read_bytes() for path in synth(job, tmp_path / "whole")}
    for part in (range(2, 4), range(0, 1), range(1, 2)):
        assert len(list(synth(job, tmp_path / "parts", shards=part))) == len(part)
    assert {path.name: path.read_bytes() for path in (tmp_path / "parts").iterdir()} == whole
    for wrong in (range(0, 5), range(3, 3), range(-1, 2)):
        with pytest.raises(InputError, match=r"shards -?\d:\d of 4; expected some of 0:4"):
            next(synth(job, tmp_path, shards=wrong))


def test_a_stopped_run_goes_on(tmp_path: Path) -> None:
    job = SynthJob("faces", count=5, seed=1, shard_size=2)
    run = synth(job, tmp_path)
    first = next(run)
    run.close()
    stamp = first.stat().st_mtime_ns
    (tmp_path / job.shard(1)[0]).write_bytes(first.read_bytes()[:3000])
    paths = sorted(synth(job, tmp_path))
    assert first.stat().st_mtime_ns == stamp and [p.name for p in paths] == [job.shard(k)[0] for k in range(3)]
    assert sorted(tmp_path.iterdir()) == paths, "nothing half-written is left"
    straight = sorted(synth(job, tmp_path / "again"))
    assert [path.read_bytes() for path in paths] == [path.read_bytes() for path in straight]


def test_an_error_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "sample_photo", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        next(synth(SynthJob("body", count=1), tmp_path))
    assert not list(tmp_path.iterdir())


def test_damaged_shards_and_those_of_other_jobs_are_rendered_again(tmp_path: Path) -> None:
    job = SynthJob("faces", count=2, seed=1, shard_size=2)
    (path,) = synth(job, tmp_path)
    whole = path.read_bytes()

    def other(seed: int, first: int, count: int) -> bytes:
        return render_shard("faces", seed, first, count, tmp_path / "other", dataset.build_stage()).read_bytes()

    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for content in (bytes(flipped), whole[: len(whole) // 2], b"", other(1, 0, 1), other(2, 0, 2), other(1, 1, 2)):
        path.write_bytes(content)
        assert list(synth(job, tmp_path)) == [path]
        assert path.read_bytes() == whole


def test_a_cluster_renders_the_same_shards(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed", reason="the extra 'cluster' is not installed")
    job = SynthJob("people", count=5, seed=1, shard_size=2)
    options = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster:
        found = sorted(synth(job, tmp_path / "far", cluster=cluster.scheduler_address, shards=range(0, 3)))
    near = sorted(synth(job, tmp_path / "near"))
    assert [path.read_bytes() for path in found] == [path.read_bytes() for path in near]
    with pytest.raises(InputError, match="a cluster at 'no such' that does not answer"):
        list(synth(job, tmp_path / "none", cluster="no such"))


def test_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="positive"):
        next(synth(SynthJob("body", count=0), tmp_path))
    with pytest.raises(InputError, match="seed -1"):
        next(synth(SynthJob("body", count=1, seed=-1), tmp_path))
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "out"):
        with pytest.raises(InputError, match="cannot be written to"):
            next(synth(SynthJob("body", count=1), out))


def test_threads_of_linear_algebra_are_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    with dataset.one_thread_each():
        assert os.environ["OMP_NUM_THREADS"] == os.environ["OPENBLAS_NUM_THREADS"] == "1"
    assert os.environ["OMP_NUM_THREADS"] == "7" and "OPENBLAS_NUM_THREADS" not in os.environ
