"""What the frozen trunks see in rendered close-ups, computed once and kept beside the shards."""

import hashlib
import os
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime as ort
from jaxtyping import Bool, Float, UInt8

from openexpose.data.synthetic import shards_in
from openexpose.errors import InputError
from openexpose.predict.bundle import Seen, default_bundle, open_session
from openexpose.synth.shard_files import open_shard, opened
from openexpose.synth.shards import Shards, load_shards

Array = np.ndarray

KINDS = {"body": "body", "hand": "hands", "face": "faces"}
"""The kind of shard that each part learns from."""
FIELDS = ("feature", "landmarks", "visibility", "world", "presence")
_EXPECTED = "evidence of the frozen trunk beside every shard"
_NEEDED = ("made_from", "feature", "landmarks", "visibility", "presence")  # faces have no world points


def find_shards(folder: Path, part: str) -> list[Path]:
    """The shards of a part in a folder, by name.

    Raises:
        InputError: there are none.
    """
    paths = shards_in(folder, KINDS[part])
    if not paths:
        raise InputError(f"'{folder}' without {KINDS[part]} shards", "a folder made by `openexpose synth`")
    return paths


def evidence_path(shard: Path) -> Path:
    """Where the evidence of a shard lies."""
    return shard.with_suffix(".evidence.npz")


def cache_evidence(
    shards: Path,
    part: str,
    *,
    bundle: Path | None = None,
    threads: int = 1,
    batch: int = 16,
    outputs: Sequence[str] = (),
) -> int:
    """Run a part's trunk over the shards of a folder that have no evidence yet, damaged evidence, or evidence of other
    pictures or of another trunk.

    Args:
        shards: folder of shards made by `openexpose synth`.
        part: ``body``, ``hand`` or ``face``.
        bundle: folder that holds ``{part}_trunk.onnx``; None: the packaged one.
        outputs: further outputs of the trunk to keep; those that it does not have are left out.

    Returns:
        Number of shards done.

    Raises:
        InputError: no shard of that part in the folder, a damaged shard, or no trunk.
    """
    paths = find_shards(shards, part)
    trunk = (bundle or default_bundle()) / f"{part}_trunk.onnx"
    session = open_session(trunk, threads, "cpu")
    names = [output.name for output in session.get_outputs() if output.name in (*FIELDS, *outputs)]
    done = 0
    for path in paths:
        made_from = _made_from(path, trunk)
        if _is_fresh(path, made_from, names):
            continue
        content: dict[str, Any] = {"made_from": np.array(made_from)}
        content |= _look(session, names, load_shards([path]), batch)
        temporary = path.with_suffix(f".{os.getpid()}.part.npz")
        np.savez(temporary, **content)
        temporary.replace(evidence_path(path))
        done += 1
    return done


def _look(session: ort.InferenceSession, names: list[str], shards: Shards, batch: int) -> dict[str, Array]:
    """The trunk's outputs, first axis = pictures, of which no more than a batch is in memory."""
    side, found = session.get_inputs()[0].shape[-1], dict[str, Array]()
    left = is_left(shards)
    for first in range(0, len(shards), batch):
        rows = range(first, min(first + batch, len(shards)))
        images = np.stack([trunk_picture(shards.image(k), side, mirrored=bool(left[k])) for k in rows])
        for name, value in zip(names, session.run(names, {"image": network_input(images)}), strict=True):
            if name not in found:
                found[name] = np.empty((len(shards), *value.shape[1:]), value.dtype)
            found[name][rows.start : rows.stop] = value
    return found


def is_left(shards: Shards) -> Bool[Array, "n"]:
    """Which pictures show left hands: networks see them mirrored."""
    return shards.focus == "left_hand"


def trunk_picture(image: UInt8[Array, "h w 3"], side: int | str | None, *, mirrored: bool) -> UInt8[Array, "s s 3"]:
    """A close-up as a trunk gets it: of its size (not a number: any size will do), left hands mirrored."""
    if isinstance(side, int) and image.shape[:2] != (side, side):
        image = np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA))
    return np.ascontiguousarray(image[:, ::-1]) if mirrored else image


def await_evidence(
    shards: Path, part: str, *, bundle: Path | None = None, patience_s: float = 3600.0, pause_s: float = 1.0
) -> None:
    """Wait until another process, which runs :func:`cache_evidence`, has made the evidence of a folder's shards.

    Args:
        shards, part, bundle: as there.
        patience_s: how long to wait for one shard, seconds.
        pause_s: how long to sleep between two looks, seconds.

    Raises:
        InputError: no shard of that part in the folder, a damaged shard, or the wait is too long.
    """
    trunk = (bundle or default_bundle()) / f"{part}_trunk.onnx"
    for path in find_shards(shards, part):
        made_from, begun = _made_from(path, trunk), time.monotonic()
        while not _is_fresh(path, made_from):
            if time.monotonic() - begun > patience_s:
                fix = "Run it with one process first."
                raise InputError(f"'{path}' without evidence", "that the first process makes it", fix)
            time.sleep(pause_s)


def _made_from(shard: Path, trunk: Path) -> str:
    """What evidence depends on: the pictures of the shard and the trunk, as digests."""
    return f"{open_shard(shard).digest} {_digest(trunk, trunk.stat().st_mtime_ns)}"


@cache
def _digest(trunk: Path, changed_ns: int) -> str:
    return hashlib.sha256(trunk.read_bytes()).hexdigest()[:16]


def _is_fresh(shard: Path, made_from: str, names: Sequence[str] = ()) -> bool:
    """Whether the evidence of a shard is whole, made from just this, and holds the outputs ``names``."""
    try:
        content, kept = _read(evidence_path(shard), ("made_from", *FIELDS))
    except InputError:
        return False
    return {*_NEEDED, *names} <= kept and str(content["made_from"]) == made_from


def network_input(images: UInt8[Array, "n s s 3"]) -> Float[Array, "n 3 s s"]:
    """RGB pictures as the trunks read them: float32, channels first, 0..1."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)).astype(np.float32) / 255.0


def load_evidence(shard: Path) -> Seen:
    """The cached evidence of a shard.

    Raises:
        InputError: it was not computed yet, or is damaged.
    """
    content = load_outputs(shard, ("made_from", *FIELDS))
    missing = [name for name in _NEEDED if name not in content]
    if missing:
        raise InputError(f"'{evidence_path(shard)}' without {', '.join(missing)}", _EXPECTED, "Delete it.")
    feature, landmarks, visibility = (content[name] for name in ("feature", "landmarks", "visibility"))
    return Seen(feature, landmarks, visibility, content.get("world"), content["presence"])


def load_outputs(shard: Path, names: Sequence[str]) -> dict[str, Array]:
    """Cached outputs of a trunk by their names, first axis = pictures; those that were not kept are left out.

    Raises:
        InputError: as :func:`load_evidence`.
    """
    path = evidence_path(shard)
    if not path.is_file():
        raise InputError(f"'{shard.name}' without evidence", _EXPECTED)
    return _read(path, names)[0]


def _read(path: Path, names: Sequence[str]) -> tuple[dict[str, Array], set[str]]:
    """Some arrays of a file, the others not read, and the names of all; checksums are checked."""
    fix = "Delete it: `openexpose train` computes it again."
    with opened(path, _EXPECTED, fix), np.load(path, allow_pickle=False) as content:
        kept = set(content.files)
        return {name: content[name] for name in names if name in kept}, kept
