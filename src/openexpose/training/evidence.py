"""What the frozen trunks see in rendered crops, computed once and kept beside the shards."""

import hashlib
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from openexpose.errors import InputError
from openexpose.predict.bundle import Seen, default_bundle, open_session
from openexpose.synth.dataset import load_shards, read_arrays

Array = np.ndarray

KINDS = {"body": "body", "hand": "hands", "face": "faces"}
"""The kind of shard that each part learns from."""
FIELDS = ("feature", "landmarks", "visibility", "world", "presence")
_NEEDED = ("made_from", "feature", "landmarks", "visibility", "presence")  # faces have no world points


def find_shards(folder: Path, part: str) -> list[Path]:
    """The shards of a part in a folder, by name.

    Raises:
        InputError: there are none.
    """
    paths = [path for path in sorted(folder.glob(f"{KINDS[part]}-*.npz")) if len(path.suffixes) == 1]
    if not paths:
        raise InputError(f"'{folder}' without {KINDS[part]} shards", "a folder made by `openexpose synth`")
    return paths


def evidence_path(shard: Path) -> Path:
    """Where the evidence of a shard lies."""
    return shard.with_suffix(".evidence.npz")


def cache_evidence(shards: Path, part: str, *, bundle: Path | None = None, threads: int = 1, batch: int = 16) -> int:
    """Run a part's trunk over the shards of a folder that have no evidence yet, damaged evidence, or evidence of other
    pictures or of another trunk.

    Args:
        shards: folder of shards made by `openexpose synth`.
        part: ``body``, ``hand`` or ``face``.
        bundle: folder that holds ``{part}_trunk.onnx``; None: the packaged one.

    Returns:
        Number of shards done.

    Raises:
        InputError: no shard of that part in the folder, a damaged shard, or no trunk.
    """
    paths = find_shards(shards, part)
    trunk = (bundle or default_bundle()) / f"{part}_trunk.onnx"
    session = open_session(trunk, threads, "cpu")
    names = [output.name for output in session.get_outputs() if output.name in FIELDS]
    done = 0
    for path in paths:
        made_from = _made_from(path, trunk)
        if _is_fresh(path, made_from):
            continue
        crops = load_shards([path])
        rows = []
        for k in range(0, len(crops), batch):
            images = np.stack([crops.image(i) for i in range(k, min(k + batch, len(crops)))])
            rows.append(session.run(names, {"image": network_input(images)}))
        content: dict[str, Any] = {"made_from": np.array(made_from)}
        content |= {name: np.concatenate([row[i] for row in rows]) for i, name in enumerate(names)}
        temporary = path.with_suffix(f".{os.getpid()}.part.npz")
        np.savez(temporary, **content)
        temporary.replace(evidence_path(path))
        done += 1
    return done


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
    pictures = hashlib.sha256(load_shards([shard]).jpeg.tobytes()).hexdigest()[:16]
    return f"{pictures} {hashlib.sha256(trunk.read_bytes()).hexdigest()[:16]}"


def _is_fresh(shard: Path, made_from: str) -> bool:
    """Whether the evidence of a shard is whole and made from just this."""
    try:
        content = read_arrays(evidence_path(shard), "evidence")
    except InputError:
        return False
    return set(_NEEDED) <= set(content) and str(content["made_from"]) == made_from


def network_input(images: UInt8[Array, "n s s 3"]) -> Float[Array, "n 3 s s"]:
    """RGB pictures as the trunks read them: float32, channels first, 0..1."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)).astype(np.float32) / 255.0


def load_evidence(shard: Path) -> Seen:
    """The cached evidence of a shard.

    Raises:
        InputError: it was not computed yet, or is damaged.
    """
    path, expected = evidence_path(shard), "evidence of the frozen trunk beside every shard"
    if not path.is_file():
        raise InputError(f"'{shard.name}' without evidence", expected)
    content = read_arrays(path, expected, "Delete it: `openexpose train` computes it again.")
    missing = [name for name in _NEEDED if name not in content]
    if missing:
        raise InputError(f"'{path}' without {', '.join(missing)}", expected, "Delete it.")
    feature, landmarks, visibility = (content[name] for name in ("feature", "landmarks", "visibility"))
    return Seen(feature, landmarks, visibility, content.get("world"), content["presence"])
