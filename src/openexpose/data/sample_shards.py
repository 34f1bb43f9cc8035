"""Samples in files: labelled photos of one's own, packed as WebDataset reads them.

``samples-000000.tar`` and so on hold of every picture KEY (seven digits)

==================  ===================================================================
``KEY.jpg``         the picture, upright (or ``.png``)
``KEY.0.npz``       the first :class:`~openexpose.data.sample.Sample` in it, without its picture; then ``KEY.1.npz`` ...
``KEY.0.json``      notes about it, such as its licence: text by name
==================  ===================================================================
"""

import contextlib
import io
import itertools
import json
import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import IO, Any

import numpy as np
import PIL.Image

from openexpose.data.reading import Reading, check_split, join
from openexpose.data.sample import Packed, Sample
from openexpose.errors import InputError
from openexpose.image.read import read_image

Array = np.ndarray

SPLITS = ("train", "val", "all")
HELD_OUT = 10
"""The last of every so many pictures is ``val``, the others are ``train``."""
_LARGEST_LABELS = 1 << 20
_ORIENTATION = 0x0112
_QUALITY = 95
_PATTERN = "samples-*.tar"
_LABELS = tuple(field.name for field in fields(Sample) if field.name != "image")
_EXPECTED = "a file that `openexpose fit --save samples` or `openexpose curate export` wrote"
_BROKEN = (
    OSError, ValueError, LookupError, EOFError, TypeError, RuntimeError, zipfile.BadZipFile, zlib.error,
    tarfile.TarError,
)  # fmt: skip


def write_samples(
    folder: Path, samples: Iterable[Sample], *, notes: Iterable[dict[str, str]] | None = None, per_shard: int = 500
) -> list[Path]:
    """Write samples; those of an earlier call are replaced, and each file appears whole or not at all.

    Pictures are kept as their files are, but for those that are neither JPEG nor PNG or not upright: these become JPEG
    of quality 95.

    Args:
        folder: is made if it is not there.
        samples: those of one picture follow each other.
        notes: of every sample, text by name.
        per_shard: pictures in one file.

    Returns:
        The files.

    Raises:
        InputError: no samples, a picture that cannot be read, or a file that cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    noted = zip(samples, itertools.repeat({}) if notes is None else notes, strict=False)
    pictures = itertools.groupby(noted, key=lambda pair: pair[0].image)
    paths: list[Path] = []
    first = 0
    while some := [list(group) for _, group in itertools.islice(pictures, per_shard)]:
        path = folder / f"samples-{len(paths):06d}.tar"
        _write(path, first, some)
        paths.append(path)
        first += len(some)
    if not paths:
        raise InputError("no samples to write", "at least one")
    for old in {*sample_shards_in(folder)} - {*paths}:
        old.unlink()
    return paths


def read_samples(folder: Path, split: str = "train") -> Reading:
    """Read exported samples, `samples-*.tar`; pictures stay in the files until they are wanted.

    Args:
        folder: holds ``samples-*.tar``.
        split: ``train``, ``val`` (the last of every ten pictures) or ``all``.

    Raises:
        InputError: no such files in the folder, a damaged one, or no such split.
    """
    check_split(split, SPLITS, "samples")
    paths = sample_shards_in(folder)
    if not paths:
        raise InputError(f"'{folder}' without {_PATTERN}", _EXPECTED)
    return join(read_sample_shard(path, split) for path in paths)


def sample_shards_in(folder: Path) -> list[Path]:
    """The files of :func:`write_samples` in a folder, by name."""
    return sorted(folder.glob(_PATTERN))


def read_sample_shard(path: Path, split: str = "train") -> Reading:
    """The samples of one file, as :func:`read_samples` reads them."""
    reading = Reading([])
    for number, sample in _read(path, reading.skipped):
        if split == "all" or (split == "val") == (number % HELD_OUT == HELD_OUT - 1):
            reading.samples.append(sample)
    return reading


def read_notes(folder: Path) -> dict[str, dict[str, str]]:
    """The notes of the samples in a folder, by the samples' names.

    Raises:
        InputError: as :func:`read_samples`.
    """
    found: dict[str, dict[str, str]] = {}
    for path in sample_shards_in(folder):
        with _opened(path) as (file, members):
            named = {member.name: member for member in members}
            for name, member in named.items():
                stem, _, suffix = name.rpartition(".")
                if suffix == "json" and (labels := named.get(f"{stem}.npz")):
                    found[str(_arrays(file, labels)["name"])] = json.loads(_content(file, member))
    return found


def _write(path: Path, first: int, pictures: list[list[tuple[Sample, dict[str, str]]]]) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file, tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as archive:
            for number, people in enumerate(pictures, first):
                content, suffix = upright_file(people[0][0])
                _add(archive, f"{number:07d}.{suffix}", content)
                for person, (sample, note) in enumerate(people):
                    labels = {name: getattr(sample, name) for name in _LABELS}
                    labels["left"] = np.array(labels["left"])
                    packed = io.BytesIO()
                    np.savez(packed, **{name: value for name, value in labels.items() if value is not None})
                    _add(archive, f"{number:07d}.{person}.npz", packed.getvalue())
                    if note:
                        _add(archive, f"{number:07d}.{person}.json", json.dumps(note).encode())
        part.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror})", "a folder that can be written to") from None
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)  # without time and owner: the same samples are the same bytes
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


def upright_file(sample: Sample) -> tuple[bytes, str]:
    """The content of the sample's picture file, which becomes JPEG if it is neither JPEG nor PNG or not upright, and
    what kind it is: ``jpg`` or ``png``.

    Raises:
        InputError: the picture is missing or damaged.
    """
    try:
        content = sample.image.read_bytes() if not isinstance(sample.image, bytes) else sample.image
        with PIL.Image.open(io.BytesIO(content)) as picture:
            kind, upright = picture.format, picture.getexif().get(_ORIENTATION, 1) == 1
    except (OSError, SyntaxError, ValueError):
        kind, upright = None, False
    if upright and kind in ("JPEG", "PNG"):
        return content, "jpg" if kind == "JPEG" else "png"
    pixels = read_image(sample.image).pixels if isinstance(sample.image, Path) else sample.read_pixels()
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, "JPEG", quality=_QUALITY, subsampling=0)
    return file.getvalue(), "jpg"


def _read(path: Path, skipped: list[str]) -> Iterator[tuple[int, Sample]]:
    """The samples of a file, and the numbers of their pictures."""
    with _opened(path) as (file, members):
        pictures: dict[str, Packed] = {}
        for member in members:
            key, _, rest = member.name.partition(".")
            if rest in ("jpg", "png"):
                pictures[key] = Packed(path, member.offset_data, member.size)
            elif rest.endswith(".npz"):
                labels = {name: value for name, value in _arrays(file, member).items() if name in _LABELS}
                told: dict[str, Any] = {name: value if value.ndim else value.item() for name, value in labels.items()}
                try:
                    yield int(key), Sample(image=pictures[key], **told)
                except InputError as error:
                    skipped.append(str(error))


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[IO[bytes], list[tarfile.TarInfo]]]:
    """A file and its members; what reading damaged ones raises becomes an InputError that names the file."""
    try:
        with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
            yield file, archive.getmembers()
    except InputError:
        raise
    except _BROKEN as error:
        raise InputError(f"{path}, which cannot be read ({error})", _EXPECTED, "Export it again.") from None


def _content(file: IO[bytes], member: tarfile.TarInfo) -> bytes:
    if member.size > _LARGEST_LABELS:
        raise ValueError(f"labels of {member.size} bytes")
    file.seek(member.offset_data)
    return file.read(member.size)


def _arrays(file: IO[bytes], member: tarfile.TarInfo) -> dict[str, Array]:
    content = _content(file, member)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ValueError("its labels are compressed")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}
