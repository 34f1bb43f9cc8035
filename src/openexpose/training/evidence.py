"""What the frozen trunks see in pictures, computed once and kept beside the shards.

As in prediction, a trunk looks at a close-up and then at the crop that its own landmarks ask for: it wants people and
hands upright and of one size. What it saw there is the evidence; labels go to that crop's frame. The body's also looks
at the people of whole scenes (``people`` shards) and of photos (``samples``), in all ways in which prediction looks at
people in boxes.

<shard>.evidence.npz          the trunk's outputs, their crops, what they were made from, and which maps were kept
<shard>.evidence-full.npz     the same of the fast bundle's body trunk
<shard>.maps-<tensor>.npy     float16: a tensor of a trunk's inside, from which a tuned branch goes
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

import cv2
import numpy as np
import onnxruntime as ort
from jaxtyping import Bool, Float, Int, UInt8

from openexpose.data.synthetic import holds_test_set, shards_in, who_teaches
from openexpose.errors import InputError
from openexpose.geometry.boxes import Crop
from openexpose.image.crop import sample_crop
from openexpose.nets.trunk_file import read_trunk, with_outputs
from openexpose.predict.bundle import (
    BundleConfig,
    Seen,
    TrunkRunner,
    default_bundle,
    fast_bundle,
    open_session,
    packaged_trunk,
)
from openexpose.predict.looks import Looker, Sight, chosen, look_at_people, next_crop, still_there
from openexpose.predict.parts import SPECS
from openexpose.synth.shard_files import open_shard, opened, read_arrays
from openexpose.synth.shards import Shards, load_shards
from openexpose.training.photos import is_photos, people_in_photos, photos_digest, photos_with_boxes

Array = np.ndarray

KINDS = {"body": ("body", "people", "samples"), "hand": ("hands",), "face": ("faces",)}
"""The kinds of shards that each part learns from; ``samples``: fitted people in photos."""
FIELDS = ("feature", "landmarks", "visibility", "world", "presence")
_UNUSED = ("handedness",)
_EXPECTED = "evidence of the frozen trunk beside every shard"
_FIX = "Delete it: `openexpose train` computes it again."
_LARGEST_HALF = float(np.finfo(np.float16).max)
_CROP = ("centre_px", "side_px", "angle_rad")
_NEEDED = ("made_from", "feature", "landmarks", "visibility", "presence", *_CROP)  # faces have no world points


def find_shards(folder: Path, part: str) -> list[Path]:
    """The shards of a part in a folder, by kind and name; without scenes in which nobody is learnt from.

    Raises:
        InputError: there are none, or they are of a test set.
    """
    paths = [
        path
        for kind in KINDS[part]
        for path in shards_in(folder, kind)
        if kind not in ("people", "samples") or count_shown(path)
    ]
    if not paths:
        wanted = " or ".join(", ".join(KINDS[part]).rsplit(", ", 1))
        raise InputError(f"'{folder}' without {wanted} shards", "a folder made by `openexpose synth`")
    if holds_test_set(folder):
        raise InputError(f"the frozen test set in '{folder}'", "pictures to train on", "Measure on it.")
    return paths


def count_shown(shard: Path) -> int:
    """How many people of a shard are learnt from."""
    return len(people_in_photos(shard) if is_photos(shard) else people_shown(load_shards([shard]))[0])


def people_shown(shards: Shards) -> tuple[Int[Array, "m"], Int[Array, "m"]]:
    """People that are learnt from, and their pictures, as :func:`who_teaches` tells them: those of all close-ups, of
    scenes only of the split ``train``."""
    return who_teaches(shards, "train" if shards.kind == "people" else "all")


def evidence_path(shard: Path, trunk: str | None = None) -> Path:
    """Where the evidence of a shard lies; ``trunk`` as in :func:`openexpose.predict.bundle.packaged_trunk`."""
    return shard.with_suffix(f".evidence{'' if trunk is None else f'-{trunk}'}.npz")


def map_path(shard: Path, name: str) -> Path:
    """Where a tensor of the trunk's inside lies."""
    return shard.with_suffix(f".maps-{name}.npy")


def cache_evidence(
    shards: Path,
    part: str,
    *,
    bundle: Path | None = None,
    threads: int = 1,
    batch: int = 16,
    trunk: str | None = None,
    maps: Sequence[str] = (),
) -> int:
    """Run a part's trunk over the shards of a folder that have no evidence yet, damaged evidence, or evidence of other
    pictures or of another trunk.

    Args:
        shards: folder of shards made by `openexpose synth`.
        part: ``body``, ``hand`` or ``face``.
        bundle: folder that holds ``{part}_trunk.onnx``; None: the packaged one.
        trunk: ``full``: the fast bundle's body trunk; None: the default bundle's.
        maps: tensors of the trunk's inside to keep, too.

    Returns:
        Number of shards done.

    Raises:
        InputError: no shard of that part in the folder, a damaged shard, or no trunk with such tensors.
    """
    paths = find_shards(shards, part)
    network = _network(part, bundle, trunk)
    session = _open_trunk(network, maps, threads)
    done = 0
    for path in paths:
        made_from, place = _made_from(path, network), evidence_path(path, trunk)
        if _is_fresh(path, place, made_from, maps):
            continue
        looks, beside = _looks(session, part, path, trunk, batch), f".{os.getpid()}.part"
        with _written([map_path(path, name) for name in maps], beside) as files:
            seen = _gathered(looks, count_shown(path), dict(zip(maps, files, strict=True)))
        temporary = path.with_suffix(f"{beside}.npz")
        seen |= {"made_from": np.array(made_from), "maps": np.array(maps, "U")}
        np.savez(temporary, **seen)  # type: ignore[arg-type]
        temporary.replace(place)
        done += 1
    return done


def _network(part: str, bundle: Path | None, trunk: str | None) -> Path:
    """The file of a trunk."""
    return packaged_trunk(part, trunk) if bundle is None else bundle / f"{part}_trunk.onnx"


def _open_trunk(trunk: Path, maps: Sequence[str], threads: int) -> ort.InferenceSession:
    """A session of the frozen trunk, without a tuned branch, that also tells tensors of its inside."""
    if not trunk.is_file():
        raise InputError(f"'{trunk.parent}' without {trunk.name}", "a folder with the trunks")
    with TemporaryDirectory() as folder:
        model = with_outputs(read_trunk(trunk), maps, str(trunk))
        extended = Path(folder) / trunk.name
        extended.write_bytes(model.SerializeToString())
        return open_session(extended, threads, "cpu")


@contextmanager
def _written(paths: Sequence[Path], beside: str) -> Iterator[list[IO[bytes]]]:
    """Files to write, which are in their places after the context, if it ends well."""
    places = [path.with_suffix(f"{beside}.npy") for path in paths]
    try:
        with ExitStack() as stack:
            yield [stack.enter_context(place.open("wb")) for place in places]
        for path, place in zip(paths, places, strict=True):
            place.replace(path)
    finally:
        for place in places:
            place.unlink(missing_ok=True)


def _gathered(looks: Iterable[dict[str, Array]], count: int, maps: Mapping[str, IO[bytes]]) -> dict[str, Array]:
    """What was seen of ``count`` people, first axis = people, of whom no more than a batch is in memory; maps go into
    files."""
    found, first = dict[str, Array](), 0
    for look in looks:
        rows = slice(first, first := first + len(look["presence"]))
        for name, value in look.items():
            shape = (count, *value.shape[1:])
            if name in maps:
                _append(maps[name], value, shape)
                continue
            if name not in found:
                found[name] = np.empty(shape, value.dtype)
            found[name][rows] = value
    return found


def _runner(session: ort.InferenceSession) -> Callable[[Float[Array, "n 3 s s"]], dict[str, Array]]:
    """The trunk: from pictures to all that evidence needs."""
    names = [output.name for output in session.get_outputs() if output.name not in _UNUSED]
    return lambda images: dict(zip(names, session.run(names, {"image": images}), strict=True))


def _looks(
    session: ort.InferenceSession, part: str, path: Path, trunk: str | None, batch: int
) -> Iterator[dict[str, Array]]:
    """What the trunk sees in a shard."""
    if is_photos(path):
        return _of_people(session, photos_with_boxes(path), trunk)
    shard = load_shards([path])
    if shard.kind == "people":
        return _of_people(session, _scenes(shard), trunk)
    return _of_closeups(session, part, shard, batch)


def _of_closeups(session: ort.InferenceSession, part: str, shards: Shards, batch: int) -> Iterator[dict[str, Array]]:
    """What the trunk sees of close-ups."""
    run, side, left = _runner(session), session.get_inputs()[0].shape[-1], is_left(shards)
    pictures = people_shown(shards)[1].tolist()
    for first in range(0, len(pictures), batch):
        some = [trunk_picture(shards.image(k), None, mirrored=bool(left[k])) for k in pictures[first : first + batch]]
        yield _followed(run, part, some, side)


def _scenes(shards: Shards) -> Iterator[tuple[UInt8[Array, "h w 3"], Float[Array, "n 4"]]]:
    """The pictures of scenes in which somebody is learnt from, and their boxes."""
    people, pictures = people_shown(shards)
    for picture in np.unique(pictures).tolist():
        yield shards.image(picture), shards.labels["box_xyxy_px"][people[pictures == picture]].astype(float)


def _of_people(
    session: ort.InferenceSession,
    pictures: Iterable[tuple[UInt8[Array, "h w 3"], Float[Array, "n 4"]]],
    trunk: str | None,
) -> Iterator[dict[str, Array]]:
    """What the body's trunk sees of the people in whole pictures, in the crops in which it last looks at them."""
    config = BundleConfig.read(fast_bundle() if trunk else default_bundle()).parts["body"]
    run, runner = _runner(session), TrunkRunner(SPECS["body"], config, session)
    for pixels, boxes in pictures:
        crop = look_at_people(Looker(runner, pixels), boxes).crop
        yield run(np.stack([sample_crop(pixels, crop[k], config.size) for k in range(len(boxes))])) | _told(crop)


def _followed(
    run: Callable[[Float[Array, "n 3 s s"]], dict[str, Array]], part: str, pictures: Sequence[Array], side: int | str
) -> dict[str, Array]:
    """The outputs of a trunk for some pictures, each of the crop that its first look asks for, and these crops."""
    sizes = np.array([picture.shape[0] for picture in pictures], float)
    crop = Crop(np.repeat(sizes[:, None] / 2, 2, 1), sizes, np.zeros(len(sizes)))
    found = run(np.concatenate([network_input(trunk_picture(p, side, mirrored=False)[None]) for p in pictures]))
    if isinstance(side, int):
        sight = Sight(crop, Seen(*(found.get(name) for name in FIELDS)))  # type: ignore[arg-type]
        asked, sane = next_crop(part, sight, found["presence"])
        if sane.any():
            again = run(np.stack([sample_crop(p, asked[k], side) for k, p in enumerate(pictures)]))
            use = still_there(sane, found["presence"], again["presence"])
            found = {name: np.where(use.reshape(-1, *[1] * (v.ndim - 1)), again[name], v) for name, v in found.items()}
            crop = chosen(crop, asked, use)
    return found | _told(crop)


def _told(crop: Crop) -> dict[str, Array]:
    return {name: getattr(crop, name) for name in _CROP}


def _append(file: IO[bytes], value: Float[Array, "n c h w"], shape: tuple[int, ...]) -> None:
    """Write rows of an npy file of float16, which will have this shape."""
    if not file.tell():
        header = {"descr": "<f2", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
    file.write(value.clip(-_LARGEST_HALF, _LARGEST_HALF).astype("<f2").tobytes())


def is_left(shards: Shards) -> Bool[Array, "n"]:
    """Which pictures show left hands: networks see them mirrored."""
    return shards.focus == "left_hand"


def trunk_picture(image: UInt8[Array, "h w 3"], side: int | str | None, *, mirrored: bool) -> UInt8[Array, "s s 3"]:
    """A close-up as a trunk gets it: of its size (not a number: any size will do), left hands mirrored."""
    if isinstance(side, int) and image.shape[:2] != (side, side):
        image = np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA))
    return np.ascontiguousarray(image[:, ::-1]) if mirrored else image


def await_evidence(
    shards: Path,
    part: str,
    *,
    bundle: Path | None = None,
    trunk: str | None = None,
    maps: Sequence[str] = (),
    patience_s: float = 3600.0,
    pause_s: float = 1.0,
) -> None:
    """Wait until another process, which runs :func:`cache_evidence`, has made the evidence of a folder's shards.

    Args:
        shards, part, bundle, trunk, maps: as there.
        patience_s: how long to wait for one shard, seconds.
        pause_s: how long to sleep between two looks, seconds.

    Raises:
        InputError: no shard of that part in the folder, a damaged shard, or the wait is too long.
    """
    network = _network(part, bundle, trunk)
    for path in find_shards(shards, part):
        made_from, begun = _made_from(path, network), time.monotonic()
        while not _is_fresh(path, evidence_path(path, trunk), made_from, maps):
            if time.monotonic() - begun > patience_s:
                fix = "Run it with one process first."
                raise InputError(f"'{path}' without evidence", "that the first process makes it", fix)
            time.sleep(pause_s)


def _made_from(shard: Path, trunk: Path) -> str:
    """What evidence depends on: the pictures of the shard and the trunk, as digests."""
    pictures = photos_digest(shard) if is_photos(shard) else open_shard(shard).digest
    return f"{pictures} {_digest(trunk, trunk.stat().st_mtime_ns)}"


@cache
def _digest(trunk: Path, changed_ns: int) -> str:
    return hashlib.sha256(read_trunk(trunk).SerializeToString()).hexdigest()[:16]


def _is_fresh(shard: Path, place: Path, made_from: str, maps: Sequence[str]) -> bool:
    """Whether the evidence at a place is whole, made from just this, and the tensors ``maps`` were kept with it."""
    try:
        content = _read(place)
        fresh = content.keys() >= {*_NEEDED} and str(content["made_from"]) == made_from
        if not fresh or not {*maps} <= {*content.get("maps", np.array([], "U")).tolist()}:
            return False
        return all(len(load_map(shard, name)) == len(content["feature"]) for name in maps)
    except InputError:
        return False


def network_input(images: UInt8[Array, "n s s 3"]) -> Float[Array, "n 3 s s"]:
    """RGB pictures as the trunks read them: float32, channels first, 0..1."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)).astype(np.float32) / 255.0


def load_evidence(shard: Path, trunk: str | None = None) -> Sight:
    """The cached evidence of a shard, and the crops, in pictures as :func:`trunk_picture` makes them (left hands
    mirrored), of the people of :func:`people_shown`; ``trunk`` as in :func:`cache_evidence`.

    Raises:
        InputError: it was not computed yet, or is damaged.
    """
    path = evidence_path(shard, trunk)
    if not path.is_file():
        raise InputError(f"'{shard.name}' without evidence", _EXPECTED)
    content = _read(path)
    missing = [name for name in _NEEDED if name not in content]
    if missing:
        raise InputError(f"'{path}' without {', '.join(missing)}", _EXPECTED, "Delete it.")
    feature, landmarks, visibility = (content[name] for name in ("feature", "landmarks", "visibility"))
    crop = Crop(content["centre_px"], content["side_px"], content["angle_rad"])
    return Sight(crop, Seen(feature, landmarks, visibility, content.get("world"), content["presence"]))


def load_map(shard: Path, name: str) -> Float[Array, "n c h w"]:
    """A kept tensor of the trunk's inside, float16, first axis = pictures: in the file, not in memory.

    Raises:
        InputError: it was not kept, or is damaged.
    """
    path = map_path(shard, name)
    with opened(path, f"a tensor of the frozen trunk beside '{shard.name}'", _FIX):
        kept = np.load(path, mmap_mode="r", allow_pickle=False)
        if kept.dtype != np.float16:
            raise ValueError(f"numbers of type {kept.dtype}")
    return kept


def _read(path: Path) -> dict[str, Array]:
    """All arrays of a file; checksums are checked."""
    return read_arrays(path, _EXPECTED, _FIX)
