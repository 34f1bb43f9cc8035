"""The frozen test set ``test-v2``: the first pictures of ``people`` from a stream of random numbers of its own.

The generator renders them as it renders any shard. ``test-v2.npz`` holds what they were when the set was frozen:
quantised labels of everybody in them, and thumbnails. A SHA-256 of it stands below, and shards are compared with it
whenever they are made or measured on: a generator that makes other pictures no longer makes test-v2.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from openexpose.body.keypoints import INDEX
from openexpose.errors import InputError
from openexpose.geometry.rotation import matrix_to_rotvec, rotvec_to_matrix
from openexpose.synth.photo import HIDDEN
from openexpose.synth.shard_files import read_arrays
from openexpose.synth.shards import Shards
from openexpose.synth.testset import STEPS, digest_of, quantised
from openexpose.synth.testset_thumbnail import difference, thumbnail

Array = np.ndarray

NAME, PICTURES = "test-v2", 360
TEST_SEED = -2
"""What its shards are marked with; seeds of training are 0 or more."""
FILE = "test-v2.npz"
"""In the folder of assets, and a copy of it beside the shards."""
TEST_V2_SHA256 = "29c9e7586d669e27a75383f428bbdf569f4109d1d88a714228731035104a67b9"
"""Of the numbers of the file, see :meth:`FrozenScenes.digest`."""
LIMBS = np.array(
    [
        INDEX[f"{side}_{joint}"]
        for side in ("left", "right")
        for joint in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    ]
)
LEAST_PX, LEAST_LIMBS = 200, 6
"""Who counts has a box with a longer side of at least so many pixels, and so many of the 12 limb joints are in the
picture and not behind anything or anybody else."""
TOLERANCES = {
    "pose": (0.03, "rad"),
    "betas": (0.01, ""),
    "expression": (0.01, ""),
    "transl": (0.005, "m"),
    "focal length": (0.5, "px"),
    "box": (3.0, "px"),
    "visibility": (0.05, "of the keypoints"),
    "thumbnail": (3.0, "grey levels"),
}
"""By how much a picture may differ from the frozen one. A processor without AVX and FMA made differences of up to
0.003 rad and 0.02 grey levels; other random numbers, or what they mean, make other people altogether."""
_EXPECTED = f"the numbers of {NAME}"
_FIX = f"Make the folder again: openexpose synth --preset {NAME}"


@dataclass(frozen=True, eq=False)
class FrozenScenes:
    """What was frozen: [n] pictures, and [m] people in them, picture by picture. Whole numbers, little-endian."""

    people: UInt8[Array, "n"]
    """How many are labelled in each picture."""
    image_size: Int[Array, "n 2"]
    """int16: width and height, pixels."""
    focal: Int[Array, "n"]
    """int32, 0.01 px."""
    thumbnails: UInt8[Array, "n 8 8 3"]
    pose: Int[Array, "m 55 3"]
    """int16, 1e-4 rad: axis-angle, SMPL-X order; the first is the global orientation in the camera."""
    betas: Int[Array, "m b"]
    """int16, 1e-3."""
    expression: Int[Array, "m e"]
    """int16, 1e-3."""
    transl: Int[Array, "m 3"]
    """int32, 0.1 mm, camera frame."""
    box: Int[Array, "m 4"]
    """int16: x1, y1, x2, y2, pixels."""
    visibility: UInt8[Array, "m 144"]
    """As :class:`openexpose.synth.photo.Subject` has it."""

    def __len__(self) -> int:
        return len(self.people)

    def digest(self) -> str:
        """SHA-256 of names, types, shapes and numbers, as 64 hexadecimal digits."""
        return digest_of({field.name: getattr(self, field.name) for field in fields(self)})

    @cached_property
    def starts(self) -> Int[Array, "n1"]:
        """The people of picture k are the rows ``starts[k]`` to ``starts[k + 1]``."""
        return np.cumsum([0, *self.people])

    @cached_property
    def height_px(self) -> Int[Array, "m"]:
        """Longer side of each box."""
        return (self.box[:, 2:] - self.box[:, :2]).max(1)

    @cached_property
    def limbs(self) -> Int[Array, "m"]:
        """How many of the 12 limb joints are in the picture and not behind anything or anybody else."""
        return (self.visibility[:, LIMBS] != HIDDEN).sum(1)

    @cached_property
    def counts(self) -> Bool[Array, "m"]:
        """Who is measured. It depends on labels alone."""
        return (self.height_px >= LEAST_PX) & (self.limbs >= LEAST_LIMBS)


def frozen_from(shards: Shards) -> FrozenScenes:
    """The numbers of rendered pictures."""
    numbers = {name: quantised(name, shards.labels[name]) for name in ("betas", "expression", "transl")}
    return FrozenScenes(
        people=np.diff(shards.starts).astype(np.uint8),
        image_size=quantised("image_size", shards.image_size),
        focal=quantised("focal", shards.focal_px),
        thumbnails=np.stack([_thumbnail(shards, row) for row in range(len(shards))]),
        pose=quantised("pose", matrix_to_rotvec(shards.labels["pose"].astype(float))),
        box=quantised("box", shards.labels["box_xyxy_px"]),
        visibility=shards.labels["visibility"].astype(np.uint8),
        **numbers,
    )


def read_frozen(path: Path) -> FrozenScenes:
    """Read the file of the test set.

    Raises:
        InputError: no such file, or its numbers are not test-v2's.
    """
    arrays = read_arrays(path, _EXPECTED, _FIX)
    names = [field.name for field in fields(FrozenScenes)]
    missing = [name for name in names if name not in arrays]
    if missing:
        raise InputError(f"{path} without {', '.join(missing)}", _EXPECTED, _FIX)
    frozen = FrozenScenes(**{name: arrays[name] for name in names})
    if frozen.digest() != TEST_V2_SHA256:
        raise InputError(f"{path} whose numbers are not {NAME}'s", f"SHA-256 {TEST_V2_SHA256[:16]}...", _FIX)
    return frozen


def compare(shards: Shards, frozen: FrozenScenes) -> None:
    """Refuse pictures that are not the frozen ones.

    Args:
        shards: some of the test set's.
        frozen: all of it.

    Raises:
        InputError: they differ by more than ``TOLERANCES``, or are other pictures at all.
    """
    seeds = {file.origin.seed for file in shards.files}
    if seeds != {TEST_SEED} or shards.kind != "people" or shards.numbers.max(initial=0) >= len(frozen):
        raise InputError(f"shards of {shards.kind} of seed {min(seeds)}", f"those of {NAME}", _FIX)
    for row, number in enumerate(shards.numbers.tolist()):
        for what, away in _differences(shards, row, frozen, number):
            most, unit = TOLERANCES[what]
            if not away <= most:
                raise InputError(
                    f"picture {number:04d} whose {what} differs from {NAME}'s by {away:.3g} {unit}".strip(),
                    f"at most {most:g}: the generator or its assets have changed, this is no longer {NAME}",
                    f"Use the version of openexpose that {NAME} belongs to; a changed set needs a new name.",
                )


def _differences(shards: Shards, row: int, frozen: FrozenScenes, number: int) -> Iterator[tuple[str, float]]:
    """Largest differences of a picture from the frozen one; infinite where there are other people or sizes."""
    here, there = (slice(*starts) for starts in (shards.starts[row : row + 2], frozen.starts[number : number + 2]))
    labels = {name: shards.labels[name][here].astype(float) for name in ("pose", "box_xyxy_px", "transl")}
    same = len(labels["pose"]) == frozen.people[number]
    if not same or (shards.image_size[row] != frozen.image_size[number]).any():
        yield "thumbnail", np.inf
        return
    yield "focal length", abs(float(shards.focal_px[row]) - frozen.focal[number] / STEPS["focal"])
    yield "pose", _angle(labels["pose"], rotvec_to_matrix(frozen.pose[there] / STEPS["pose"]))
    yield "transl", _largest(labels["transl"] - frozen.transl[there] / STEPS["transl"])
    yield "box", _largest(labels["box_xyxy_px"] - frozen.box[there])
    for name in ("betas", "expression"):
        yield name, _largest(shards.labels[name][here] - getattr(frozen, name)[there] / STEPS[name])
    changed = shards.labels["visibility"][here] != frozen.visibility[there]
    yield "visibility", float(changed.mean(1).max(initial=0))
    yield "thumbnail", difference(_thumbnail(shards, row), frozen.thumbnails[number])


def _largest(values: Array) -> float:
    return float(np.abs(values).max(initial=0))


def _angle(first: Float[Array, "m 55 3 3"], second: Float[Array, "m 55 3 3"]) -> float:
    """Largest angle between rotations, radians."""
    return _largest(np.linalg.norm(matrix_to_rotvec(np.swapaxes(first, -1, -2) @ second), axis=-1))


def _thumbnail(shards: Shards, row: int) -> UInt8[Array, "8 8 3"]:
    width, height = shards.image_size[row].tolist()
    return thumbnail(shards.file(row), (width, height))
