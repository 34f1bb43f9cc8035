"""One shard: a tar file of pictures and labels, as WebDataset reads it, with an index so that nothing is unpacked.

A picture KEY has four members, in this order: ``KEY.jpg``, ``KEY.npz`` (labels), ``KEY.mask.png``, ``KEY.depth.png``.
Two more end the shard, which WebDataset passes over: all labels stacked, and the index with sizes and check values.
Members follow each other without gaps under headers that depend on name and size alone: the same pictures are the same
bytes, and a file with anything else in it is no shard.
"""

import contextlib
import hashlib
import io
import json
import mmap
import os
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from openexpose.errors import InputError
from openexpose.synth.photo import SUBJECT_LABELS, Photo, Subject

Array = np.ndarray

KINDS = ("body", "hands", "faces", "people")
MEMBERS = ("jpg", "npz", "mask.png", "depth.png")
PHOTO_LABELS = ("focal_px", "image_size", "focus", "place")
"""What is known of a picture as a whole."""
NEAREST_MM, FARTHEST_MM = 1, 65535
LARGEST_MEMBER = 1 << 30
"""No member may be larger, bytes."""
_EXPECTED = "a shard written by 'openexpose synth'"
_FIX = "Run 'openexpose synth' again with the same words: it renders damaged shards anew."
_FORMAT = "openexpose shard 1"
_LABELS, _INDEX = "__shard__/labels.npz", "__shard__/index.json"
_BLOCK, _RECORD = 512, 10240
_JPEG, _PNG = [cv2.IMWRITE_JPEG_QUALITY, 92], [cv2.IMWRITE_PNG_COMPRESSION, 3]
# What readers raise on damaged files; RuntimeError: a flag that says "encrypted" or an unknown compression.
BROKEN = (
    OSError, ValueError, LookupError, EOFError, AttributeError, TypeError, SyntaxError, RuntimeError, MemoryError,
    OverflowError, struct.error, zipfile.BadZipFile, tarfile.TarError, zlib.error,
)  # fmt: skip


@dataclass(frozen=True)
class Origin:
    """What the pictures of a shard depend on: kind, seed, the number of its first picture, digest of the body model."""

    kind: str
    seed: int
    first: int
    body: str

    def key(self, row: int) -> str:
        """Name of a picture of the shard, the same in whatever shard it is."""
        return f"{self.kind}-{self.seed}-{self.first + row:07d}"


@dataclass(frozen=True)
class ShardFile:
    """A shard whose index was read.

    Attributes:
        sizes, checks, starts: [n, 4] bytes, CRC-32 and place of each picture's members, in the order of ``MEMBERS``.
        labels: size, CRC-32 and place of the stacked labels.
        digest: of all that the shard holds, by its check values.
    """

    path: Path
    origin: Origin
    sizes: Int[Array, "n 4"]
    checks: Int[Array, "n 4"]
    starts: Int[Array, "n 4"]
    labels: tuple[int, int, int]
    digest: str

    def __len__(self) -> int:
        return len(self.sizes)

    def read(self, row: int, member: str) -> bytes:
        """A member of a picture, its check value compared.

        Raises:
            InputError: the file is damaged or has changed.
        """
        k = MEMBERS.index(member)
        place = (self.sizes[row, k], self.checks[row, k], self.starts[row, k])
        with opened(self.path) as file:
            return _member(file, f"{self.origin.key(row)}.{member}", *map(int, place))

    def stacked(self) -> dict[str, Array]:
        """All labels: those of :class:`Subject`, first axis = labelled people of the whole shard; ``people`` [n], how
        many each picture has; and ``PHOTO_LABELS``, first axis = pictures.

        Raises:
            InputError: the file is damaged or has changed.
        """
        with opened(self.path) as file:
            arrays = _unpacked(_member(file, _LABELS, *self.labels))
            missing = [name for name in ("people", *SUBJECT_LABELS, *PHOTO_LABELS) if name not in arrays]
            if missing:
                raise ValueError(f"labels without {', '.join(missing)}")
            if len(arrays["people"]) != len(self) or len(arrays["pose"]) != arrays["people"].sum():
                raise ValueError("labels of other pictures")
        return arrays


def write_shard(path: Path, origin: Origin, photos: Iterable[Photo]) -> Path:
    """Write pictures as they come, none of them kept in memory; the file appears whole or not at all."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    written, labels = [], []
    try:
        with part.open("wb") as file:
            for row, photo in enumerate(photos):
                told = _labels(photo)
                contents = [_jpeg(photo), packed(told | _marks(photo, origin, row)), _mask(photo), _depth(photo)]
                names = [f"{origin.key(row)}.{member}" for member in MEMBERS]
                written.append([_append(file, *pair) for pair in zip(names, contents, strict=True)])
                labels.append(told)
            stacked = _append(file, _LABELS, packed(_stack(labels)))
            index = {"format": _FORMAT, **vars(origin), "labels": stacked, "members": written}
            _append(file, _INDEX, json.dumps(index, separators=(",", ":")).encode())
            file.write(bytes(2 * _BLOCK + -(file.tell() + 2 * _BLOCK) % _RECORD))
        part.replace(path)
    finally:
        with contextlib.suppress(OSError):
            part.unlink()
    return path


def open_shard(path: Path) -> ShardFile:
    """Read the index of a shard. What the index tells of is read, and found damaged, when it is needed.

    Raises:
        InputError: the file is missing, cut short, damaged, or not such a shard.
    """
    with opened(path) as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        at = content.rfind(_INDEX.encode() + b"\0")
        if at < 0:
            raise ValueError("it is cut short, or no shard: it has no index")
        size = tarfile.TarInfo.frombuf(content[at : at + _BLOCK], "ascii", "strict").size
        if content[at : at + _BLOCK] != _header(_INDEX, size) or size > LARGEST_MEMBER:
            raise ValueError("the header of its index is damaged")
        text = content[at + _BLOCK : at + _BLOCK + size]
        if any(content[at + _BLOCK + size :]):
            raise ValueError("something follows its index")
    return _parsed(path, text, at)


def check_shard(path: Path) -> ShardFile:
    """Read a shard and compare every byte with its index.

    Raises:
        InputError: as :func:`open_shard`; the file is damaged anywhere.
    """
    shard = open_shard(path)
    with opened(path) as file:
        for row in range(len(shard)):
            for k, member in enumerate(MEMBERS):
                place = (shard.sizes[row, k], shard.checks[row, k], shard.starts[row, k])
                _member(file, f"{shard.origin.key(row)}.{member}", *map(int, place))
        _member(file, _LABELS, *shard.labels)
    return shard


def read_arrays(path: Path, expected: str, fix: str = "") -> dict[str, Array]:
    """All arrays of an npz file, without pickle; checksums are checked.

    Raises:
        InputError: the file is missing or damaged; it says ``expected`` and ``fix``.
    """
    with opened(path, expected, fix), np.load(path, allow_pickle=False) as npz:
        return {name: npz[name] for name in npz.files}


@contextlib.contextmanager
def opened(path: Path, expected: str = _EXPECTED, fix: str = _FIX) -> Iterator[IO[bytes]]:
    """A file open for reading; what reading damaged files raises inside becomes an InputError that names it."""
    try:
        with path.open("rb") as file:
            yield file
    except InputError:
        raise
    except BROKEN as error:
        reason = " ".join((str(error) or type(error).__name__).split())
        raise InputError(f"{path}, which cannot be read ({reason})", expected, fix) from None


def packed(arrays: dict[str, Array]) -> bytes:
    """An npz file, uncompressed: the same arrays are the same bytes."""
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def decoded_picture(jpeg: bytes) -> UInt8[Array, "h w 3"]:
    """A JPEG file as RGB."""
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    return np.ascontiguousarray(np.asarray(image)[..., ::-1])


def decoded_plane(png: bytes) -> Array:
    """A PNG file of one channel, 8 or 16 bits, as it is."""
    return np.asarray(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED))


def half_depth_mm(depth_m: Float[Array, "h w"]) -> Array:
    """The depth as it is stored: uint16 [ceil(h / 2), ceil(w / 2)], millimetres, the nearest of four pixels; 0 on the
    background."""
    height, width = depth_m.shape
    whole = np.full((height + height % 2, width + width % 2), np.inf, np.float32)
    whole[:height, :width] = depth_m
    nearest = whole.reshape(len(whole) // 2, 2, -1, 2).min((1, 3))
    seen = np.isfinite(nearest)
    return np.where(seen, np.clip(np.rint(1000 * np.where(seen, nearest, 0)), NEAREST_MM, FARTHEST_MM), 0).astype("u2")


def _labels(photo: Photo) -> dict[str, Array]:
    """The labels of a picture; those of people have the people as first axis."""
    columns = {name: [np.asarray(getattr(person, name)) for person in photo.people] for name in SUBJECT_LABELS}
    told = {name: np.stack(values) if values else np.zeros((0, 0)) for name, values in columns.items()}
    told |= {"focal_px": np.array(photo.focal_px), "image_size": np.array(photo.image.shape[1::-1], np.int32)}
    told |= {"focus": np.array(photo.focus), "place": np.array(photo.place)}
    return {name: value.astype(np.float32) if value.dtype.kind == "f" else value for name, value in told.items()}


def _marks(photo: Photo, origin: Origin, row: int) -> dict[str, Array]:
    """What only the labels of a single picture say: they are read alone."""
    of = {"kind": origin.kind, "seed": origin.seed, "index": origin.first + row, "body": origin.body}
    return {"K": photo.intrinsics} | {name: np.array(value) for name, value in of.items()}


def _stack(labels: list[dict[str, Array]]) -> dict[str, Array]:
    stacked = {name: np.stack([told[name] for told in labels]) for name in PHOTO_LABELS}
    for name in SUBJECT_LABELS:
        some = [told[name] for told in labels if len(told[name])]
        stacked[name] = np.concatenate(some) if some else np.zeros((0, 0), np.float32)
    return stacked | {"people": np.array([len(told["pose"]) for told in labels], np.int32)}


def subjects(arrays: Mapping[str, Array], rows: range) -> tuple[Subject, ...]:
    """People from stacked labels."""
    return tuple(Subject(**{name: arrays[name][k] for name in SUBJECT_LABELS}) for k in rows)


def _jpeg(photo: Photo) -> bytes:
    return cv2.imencode(".jpg", photo.image[..., ::-1], _JPEG)[1].tobytes()


def _mask(photo: Photo) -> bytes:
    return cv2.imencode(".png", photo.mask, _PNG)[1].tobytes()


def _depth(photo: Photo) -> bytes:
    return cv2.imencode(".png", half_depth_mm(photo.depth_m), _PNG)[1].tobytes()


def _header(name: str, size: int) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size = size
    return entry.tobuf(tarfile.USTAR_FORMAT)


def _append(file: IO[bytes], name: str, content: bytes) -> tuple[int, int]:
    """Add a member; returns its size and CRC-32."""
    file.write(_header(name, len(content)) + content + bytes(-len(content) % _BLOCK))
    return len(content), zlib.crc32(content)


def _member(file: IO[bytes], name: str, size: int, check: int, start: int) -> bytes:
    file.seek(start)
    found = file.read(_BLOCK + size)
    if found[:_BLOCK] != _header(name, size) or zlib.crc32(content := found[_BLOCK:]) != check:
        raise ValueError(f"'{name}' is damaged")
    return content


def _parsed(path: Path, text: bytes, end: int) -> ShardFile:
    """The index, believed only if its members fill the file up to ``end`` exactly."""
    with opened(path):
        index = json.loads(text)
        if not isinstance(index, dict) or index.get("format") != _FORMAT:
            raise ValueError(f"its index is none of '{_FORMAT}'")
        origin = Origin(*(index[name] for name in Origin.__dataclass_fields__))
        if tuple(map(type, astuple(origin))) != (str, int, int, str) or origin.kind not in KINDS or origin.first < 0:
            raise ValueError("its index is damaged")
        table = np.array([*index["members"], [index["labels"]] * len(MEMBERS)], np.int64)
        if table.shape[1:] != (len(MEMBERS), 2) or table.min() < 0 or table[..., 0].max() > LARGEST_MEMBER:
            raise ValueError("its index is damaged, or a member is larger than any of a shard")
        sizes = np.append(table[:-1, :, 0].ravel(), table[-1, 0, 0])
        ends = np.cumsum(_BLOCK + sizes + -sizes % _BLOCK)
        if ends[-1] != end:
            raise ValueError("its members are not those of its index")
    places = np.concatenate([[0], ends[:-1]])
    starts = places[:-1].reshape(-1, len(MEMBERS))
    size, check = map(int, table[-1, 0])
    digest = hashlib.sha256(text).hexdigest()[:16]
    return ShardFile(path, origin, table[:-1, :, 0], table[:-1, :, 1], starts, (size, check, int(places[-1])), digest)


def _unpacked(npz: bytes) -> dict[str, Any]:
    with zipfile.ZipFile(io.BytesIO(npz)) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ValueError("its labels are compressed")
    with np.load(io.BytesIO(npz), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}
