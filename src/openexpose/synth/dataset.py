"""Shards of rendered pictures: one ``.npz`` each, seeded, resumable, readable without pickle.

A shard holds the pictures as JPEG bytes (``jpeg``, cut at ``jpeg_offsets``), one array per label of its sample type in
:mod:`openexpose.synth.scene` (first axis = pictures), and ``kind``, ``seed``, ``body`` (a digest of the body model).
"""

import os
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from jaxtyping import Int, UInt8

from openexpose.errors import InputError
from openexpose.formats.atomic import check_writable
from openexpose.synth.digest import body_digest
from openexpose.synth.person import Stage, build_stage
from openexpose.synth.scene import (
    BodySample,
    FaceSample,
    HandSample,
    PeopleSample,
    Sample,
    label_names,
    sample_body,
    sample_face_crop,
    sample_hands,
    sample_whole_person,
)

Array = np.ndarray
Kind = Literal["body", "hands", "faces", "people"]

SAMPLE_TYPES: dict[str, type] = {"body": BodySample, "hands": HandSample, "faces": FaceSample, "people": PeopleSample}
_JPEG_QUALITY = 92
# What numpy and zipfile raise on damaged files; RuntimeError: a flag that says "encrypted" or an unknown compression.
_BROKEN = (
    OSError, ValueError, LookupError, EOFError, AttributeError, TypeError, SyntaxError, RuntimeError, MemoryError,
    OverflowError, struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
_STREAM = {"body": 0, "hands": 1, "faces": 2, "people": 3}
_DRAW = {"body": sample_body, "hands": sample_hands, "faces": sample_face_crop, "people": sample_whole_person}


@dataclass(frozen=True)
class Shards:
    """Pictures of one kind, read from one or more shards.

    Attributes:
        kind: ``body``, ``hands``, ``faces`` or ``people``.
        jpeg: all JPEG files one after the other. offsets: [n + 1] where each begins.
        labels: one array [n, ...] per label, named as in the sample types.
        body: digest of the body model, see :func:`openexpose.synth.digest.body_digest`.
    """

    kind: str
    jpeg: UInt8[Array, "bytes"]
    offsets: Int[Array, "n1"]
    labels: Mapping[str, Array]
    body: str

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def file(self, index: int) -> UInt8[Array, "bytes"]:
        """The JPEG file of one picture."""
        return self.jpeg[self.offsets[index] : self.offsets[index + 1]]

    def image(self, index: int) -> UInt8[Array, "s s 3"]:
        """Decode one picture, RGB."""
        data = self.file(index)
        return np.ascontiguousarray(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))[..., ::-1])


def sample_people(kind: Kind, seed: int, start: int, stage: Stage) -> Iterator[Sample]:
    """Endless pictures; person ``k`` depends only on (kind, seed, k), and ``start`` is the first person."""
    while True:
        drawn = _DRAW[kind](np.random.default_rng([seed, _STREAM[kind], start]), stage)
        yield from drawn if isinstance(drawn, tuple) else (drawn,)
        start += 1


def render_shard(kind: Kind, seed: int, start: int, count: int, out: Path, stage: Stage) -> Path:
    """Render ``count`` pictures, beginning with person ``start``, and write them whole or not at all."""
    quality, names = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY], label_names(SAMPLE_TYPES[kind])
    files, labels = [], []
    for sample in islice(sample_people(kind, seed, start, stage), count):  # no pictures kept: a shard's would be large
        files.append(cv2.imencode(".jpg", sample.image[..., ::-1], quality)[1].ravel())
        labels.append([getattr(sample, name) for name in names])
    columns = [_stacked(list(column)) for column in zip(*labels, strict=True)]
    arrays: dict[str, Any] = dict(zip(names, columns, strict=True))
    arrays |= {"jpeg": np.concatenate(files), "jpeg_offsets": np.cumsum([0, *map(len, files)])}
    arrays |= {"kind": np.array(kind), "seed": np.array(seed), "body": np.array(body_digest(stage.model))}
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_suffix(f".part{os.getpid()}")
    with part.open("wb") as file:
        np.savez(file, **arrays)
    part.replace(out)
    return out


def load_shards(paths: Sequence[Path]) -> Shards:
    """Read shards of one kind, in the given order.

    Raises:
        InputError: no paths, an unreadable file, or shards of different kinds or made with different body models.
    """
    if not paths:
        raise InputError("no shards", "at least one .npz file written by 'openexpose synth'")
    loaded = [_read(Path(path)) for path in paths]
    marks = {(str(shard["kind"]), str(shard["body"])) for shard in loaded}
    if len(marks) > 1:
        raise InputError(f"shards of {len(marks)} sorts: {sorted(marks)}", "one kind of crop and one body model")
    kind = str(loaded[0]["kind"])
    sizes = np.concatenate([np.diff(shard["jpeg_offsets"]) for shard in loaded])
    return Shards(
        kind,
        np.concatenate([shard["jpeg"] for shard in loaded]),
        np.concatenate([[0], np.cumsum(sizes)]),
        {name: np.concatenate([shard[name] for shard in loaded]) for name in label_names(SAMPLE_TYPES[kind])},
        str(loaded[0]["body"]),
    )


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

    def shard(self, index: int) -> tuple[str, int, int]:
        """File name, first person and number of pictures of a shard."""
        per_person = 2 if self.kind == "hands" else 1
        count = min(self.shard_size, self.count - index * self.shard_size)
        return f"{self.kind}-{self.seed}-{index:05d}.npz", index * self.shard_size // per_person, count


def synth(job: SynthJob, out: Path, *, workers: int = 1) -> Iterator[Path]:
    """Render a data set; yields each shard's path when it is there. Finished shards of an earlier run are kept.

    Raises:
        InputError: a count is not positive, the seed is negative, a hands shard would split a person, the folder
            cannot be written to, or assets are missing.
    """
    if job.count < 1 or job.shard_size < 1 or workers < 1:
        got = f"count {job.count}, shard size {job.shard_size}, workers {workers}"
        raise InputError(got, "positive numbers")
    if job.seed < 0:
        raise InputError(f"seed {job.seed}", "a seed of 0 or more")
    if job.kind == "hands" and job.shard_size % 2:
        raise InputError(f"shard size {job.shard_size} for hands", "an even number: a person gives two crops")
    check_writable(out)
    stage = build_stage(job.body, job.assets)
    digest = body_digest(stage.model)
    indices = range(-(-job.count // job.shard_size))
    missing = [k for k in indices if not _finished(out / job.shard(k)[0], job.shard(k)[2], digest)]
    yield from (out / job.shard(k)[0] for k in indices if k not in missing)
    if workers == 1:
        cv2.setNumThreads(1)
        for k in missing:
            name, start, count = job.shard(k)
            yield render_shard(job.kind, job.seed, start, count, out / name, stage)
        return
    del stage
    with one_thread_each(), ProcessPoolExecutor(workers, get_context("spawn"), _start_worker, (job,)) as pool:
        yield from pool.map(_work, [(job, k, out) for k in missing])


_worker_stage: list[Stage] = []


def _start_worker(job: SynthJob) -> None:
    cv2.setNumThreads(1)
    _worker_stage.append(build_stage(job.body, job.assets))


def _work(task: tuple[SynthJob, int, Path]) -> Path:
    job, index, out = task
    name, start, count = job.shard(index)
    return render_shard(job.kind, job.seed, start, count, out / name, _worker_stage[0])


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


def _finished(path: Path, count: int, digest: str) -> bool:
    """Whether a shard is whole: everything in it is read, so that damaged ones are rendered again."""
    try:
        shard = _read(path)
    except InputError:
        return False
    return len(shard["jpeg_offsets"]) == count + 1 and str(shard["body"]) == digest


def _read(path: Path) -> dict[str, Array]:
    fix = "Run 'openexpose synth' again with the same words: it renders damaged shards anew."
    expected = "a shard written by 'openexpose synth'"
    shard = read_arrays(path, expected, fix)
    kind = str(shard.get("kind"))
    needed = ("jpeg", "jpeg_offsets", "body", *(label_names(SAMPLE_TYPES[kind]) if kind in SAMPLE_TYPES else ("kind",)))
    missing = [name for name in needed if name not in shard]
    if missing:
        raise InputError(f"{path} without {', '.join(missing)}", expected, fix)
    return shard


def read_arrays(path: Path, expected: str, fix: str = "") -> dict[str, Array]:
    """All arrays of an npz file, without pickle; checksums are checked.

    Raises:
        InputError: the file is missing or damaged; it says ``expected`` and ``fix``.
    """
    try:
        with np.load(path, allow_pickle=False) as npz:
            return {name: npz[name] for name in npz.files}
    except _BROKEN as error:
        reason = " ".join((str(error) or type(error).__name__).split())
        raise InputError(f"{path}, which cannot be read ({reason})", expected, fix) from None


def _stacked(values: list[Array]) -> Array:
    array = np.stack(values)
    return array.astype(np.float32) if array.dtype.kind == "f" else array
