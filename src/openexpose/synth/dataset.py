"""Data sets of rendered pictures: seeded, in shards, resumable, on one machine or on many.

A picture depends on kind, seed and its number alone, so that any shard can be rendered anywhere, by itself.
:mod:`openexpose.synth.shard_files` says what a shard is.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from threadpoolctl import threadpool_limits

from openexpose.errors import InputError
from openexpose.formats.atomic import check_writable
from openexpose.synth.digest import body_digest
from openexpose.synth.person import Stage, build_stage
from openexpose.synth.photo import Photo
from openexpose.synth.scene import Kind, sample_photo
from openexpose.synth.shard_files import Origin, check_shard, write_shard
from openexpose.synth.testset_v2 import TEST_SEED

_STREAM = {"body": 0, "hands": 1, "faces": 2, "people": 3}
_TEST_STREAM = tuple(b"openexpose test-v2")  # as words of the seed, where training's end with its stream and a number


@dataclass(frozen=True)
class SynthJob:
    """What to render.

    Attributes:
        kind: ``body``, ``hands``, ``faces`` or ``people``.
        count: number of pictures in all. shard_size: pictures in one shard. seed: of everything random.
        body: body model file, None for the free body. assets: folder of pictures, None for the checkout's.
    """

    kind: Kind
    count: int
    seed: int = 0
    shard_size: int = 500
    body: Path | None = None
    assets: Path | None = None

    @property
    def shards(self) -> int:
        """How many there are in all."""
        return -(-self.count // self.shard_size)

    def shard(self, index: int) -> tuple[str, int, int]:
        """File name, first picture and number of pictures of a shard."""
        first = index * self.shard_size
        return f"{self.kind}-{self.seed}-{index:05d}.tar", first, min(self.shard_size, self.count - first)


def sample(kind: Kind, seed: int, number: int, stage: Stage) -> Photo:
    """Picture ``number`` of a kind and seed."""
    return sample_photo(kind, generator(kind, seed, number), stage)


def generator(kind: Kind, seed: int, number: int) -> np.random.Generator:
    """The random numbers of a picture. Those of test-v2 are out of reach of every other seed."""
    words = [number, *_TEST_STREAM] if seed == TEST_SEED else [seed, _STREAM[kind], number]
    return np.random.default_rng(words)


def render_shard(kind: Kind, seed: int, first: int, count: int, out: Path, stage: Stage) -> Path:
    """Render ``count`` pictures, beginning with picture ``first``, and write them whole or not at all."""
    photos = (sample(kind, seed, number, stage) for number in range(first, first + count))
    return write_shard(out, Origin(kind, seed, first, body_digest(stage.model)), photos)


def synth(
    job: SynthJob, out: Path, *, workers: int = 1, shards: range | None = None, cluster: str | None = None
) -> Iterator[Path]:
    """Render a data set; yields each shard's path when it is there. Finished shards of an earlier run are kept.

    Args:
        job: what to render.
        out: folder of the shards.
        workers: processes on this machine.
        shards: only these, so that many machines render one data set; None: all.
        cluster: address of the scheduler of a ``distributed`` cluster that renders instead of this machine. Its workers
            have openexpose and the assets, and see the folder by the same path.

    Raises:
        InputError: a count is not positive, the seed is negative, there are no such shards, the folder cannot be
            written to, assets are missing, or the cluster does not answer or writes elsewhere.
    """
    if job.count < 1 or job.shard_size < 1 or workers < 1:
        got = f"count {job.count}, shard size {job.shard_size}, workers {workers}"
        raise InputError(got, "positive numbers")
    if job.seed < 0 and (job.seed, job.kind) != (TEST_SEED, "people"):
        raise InputError(f"seed {job.seed}", "a seed of 0 or more")
    indices = range(job.shards) if shards is None else shards
    if not (indices and 0 <= indices.start < indices.stop <= job.shards):
        raise InputError(f"shards {indices.start}:{indices.stop} of {job.shards}", f"some of 0:{job.shards}")
    check_writable(out)
    digest = body_digest(_stage(job.body, job.assets).model)
    missing = [k for k in indices if not _finished(out / job.shard(k)[0], job, k, digest)]
    yield from (out / job.shard(k)[0] for k in indices if k not in missing)
    tasks = [(job, k, out.resolve()) for k in missing]
    if cluster is not None:
        yield from (out / name for name in _on_cluster(cluster, tasks))
    elif workers == 1 or len(tasks) < 2:
        yield from (out / _work(task) for task in tasks)
    else:
        _stage.cache_clear()
        with one_thread_each(), ProcessPoolExecutor(workers, get_context("spawn")) as pool:
            try:
                yield from (out / name for name in pool.map(_work, tasks))
            finally:
                pool.shutdown(wait=False, cancel_futures=True)


@cache
def _stage(body: Path | None, assets: Path | None) -> Stage:
    """Read once in each process."""
    return build_stage(body, assets)


def _work(task: tuple[SynthJob, int, Path]) -> str:
    """Render a shard on one core; returns its name."""
    job, index, out = task
    cv2.setNumThreads(1)
    name, first, count = job.shard(index)
    with threadpool_limits(1):
        render_shard(job.kind, job.seed, first, count, out / name, _stage(job.body, job.assets))
    return name


def _on_cluster(address: str, tasks: list[tuple[SynthJob, int, Path]]) -> Iterator[str]:
    """Render shards on an existing cluster; their names in the order in which they get ready."""
    from distributed import Client, as_completed

    try:
        client = Client(address)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"a cluster at '{address}' that does not answer ({reason})", "a scheduler's address") from None
    with client:
        for future in as_completed(client.map(_work, tasks, pure=False)):
            name = future.result()
            out = tasks[0][2]
            if not (out / name).is_file():
                got = f"a cluster whose workers wrote '{out / name}' where this machine does not see it"
                raise InputError(got, "a folder that all machines share")
            yield name


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Processes started inside use one thread for linear algebra."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _finished(path: Path, job: SynthJob, index: int, digest: str) -> bool:
    """Whether a shard is whole: everything in it is read, so that damaged ones are rendered again."""
    _, first, count = job.shard(index)
    try:
        shard = check_shard(path)
    except InputError:
        return False
    return shard.origin == Origin(job.kind, job.seed, first, digest) and len(shard) == count
