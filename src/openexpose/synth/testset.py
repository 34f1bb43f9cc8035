"""The frozen test set ``test-v1``: what its 500 people are, as integers.

The labels of the pictures *are* these numbers, dequantised, so they are the same everywhere; a SHA-256 of them stands
below and is checked whenever they are read. Pixels are rendered from them (:mod:`openexpose.synth.testset_pictures`)
and compared with thumbnails. ``python -m openexpose.synth.testset_freeze`` made the numbers, once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from hashlib import sha256
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from openexpose.body.keypoints import IBUG68, LEFT_HAND21, RIGHT_HAND21
from openexpose.body.model import BodyModel
from openexpose.errors import InputError
from openexpose.geometry.rotation import rotvec_to_matrix
from openexpose.people import POSE_SLICES
from openexpose.synth.digest import body_digest

Array = np.ndarray

NAME, PEOPLE = "test-v1", 500
TEST_V1_SHA256 = "b1f2bb49f46bfb28227239b7919009fc79b6a61db22bab312597e03c3cd52bce"
"""Of the integers of all people, see :meth:`FrozenPeople.digest`."""
TEST_V1_BODY = "1f00c10136b8"
"""Of the body model that the coefficients belong to (:func:`openexpose.synth.digest.body_digest`): the free body."""
STANCES = ("prior", "sit", "crouch", "kneel", "lie")
"""``prior``: as the learned prior of body poses has it, mostly standing or walking."""
ARMS = ("as they are", "reach", "up", "folded", "hips", "face", "knees", "free")
"""Where one or both arms were put."""
FACES = ("actions", "coefficients")
"""A mixture of facial actions (smile, blink, ...), or random coefficients, some nearly neutral."""
TRUNCATIONS = ("whole", "legs", "half", "bust", "side", "bottom")
"""What the border of the picture cuts off: nothing; the lower legs; all below the hips or thighs; all below the chest;
a part at the left or right; a part at the bottom."""
SEEN_PARTS = {"left hand": LEFT_HAND21, "right hand": RIGHT_HAND21, "face": IBUG68}
"""Keypoints of the parts that a person may show."""
_VISIBLE = 2
_STREAM = tuple(b"openexpose test-v1")  # as words of the seed; training's seeds end with a stream of 0..3 and a number
_CATEGORIES = {"stance": STANCES, "arms": ARMS, "face": FACES, "truncation": TRUNCATIONS}
STEPS = {"pose": 1e4, "betas": 1e3, "expression": 1e3, "transl": 1e4, "focal": 1e2}
"""Whole numbers to a unit."""
_FIX = "Make the folder again: openexpose synth --preset test"


@dataclass(frozen=True, eq=False)
class FrozenPeople:
    """People as integers, one row each; all little-endian."""

    pose: Int[Array, "n 55 3"]
    """int16, 1e-4 rad: axis-angle of the 55 joints, SMPL-X order; the first is the global orientation in the camera."""
    betas: Int[Array, "n b"]
    """int16, 1e-3."""
    expression: Int[Array, "n e"]
    """int16, 1e-3."""
    transl: Int[Array, "n 3"]
    """int32, 0.1 mm, camera frame."""
    focal: Int[Array, "n"]
    """int32, 0.01 px."""
    image_size: Int[Array, "n 2"]
    """int16: width and height, even numbers of pixels."""
    box: Int[Array, "n 4"]
    """int16: x1, y1, x2, y2, pixels, around what can be seen of the clothed body."""
    visibility: UInt8[Array, "n 144"]
    """0: outside the picture; 1: behind the person's own body; 2: seen."""
    appearance: Int[Array, "n"]
    """int32: seed of skin, clothes, light, background and the camera's faults."""
    stance: UInt8[Array, "n"]
    """Index into ``STANCES``."""
    arms: UInt8[Array, "n"]
    """Index into ``ARMS``."""
    face: UInt8[Array, "n"]
    """Index into ``FACES``."""
    truncation: UInt8[Array, "n"]
    """Index into ``TRUNCATIONS``."""

    def __len__(self) -> int:
        return len(self.pose)

    def digest(self) -> str:
        """SHA-256 of names, types, shapes and numbers, as 64 hexadecimal digits."""
        return digest_of({field.name: getattr(self, field.name) for field in fields(self)})

    def person(self, index: int) -> "TruePerson":
        """One person, dequantised."""
        row = {field.name: getattr(self, field.name)[index] for field in fields(self)}
        numbers = {name: row[name] / step for name, step in STEPS.items()}
        return TruePerson(
            name=f"{index:04d}",
            pose=rotvec_to_matrix(numbers["pose"]),
            betas=numbers["betas"],
            expression=numbers["expression"],
            transl=numbers["transl"],
            focal_px=float(numbers["focal"]),
            image_size=(int(row["image_size"][0]), int(row["image_size"][1])),
            box_xyxy_px=row["box"].astype(float),
            visibility=row["visibility"],
            **{name: values[row[name]] for name, values in _CATEGORIES.items()},
        )

    def truth(self) -> dict[str, Array]:
        """The dequantised numbers by SMPL-X's names: the content of ``truth.npz``."""
        pose = self.pose / STEPS["pose"]
        arrays: dict[str, Any] = {name: pose[:, part].reshape(len(self), -1) for name, part in POSE_SLICES.items()}
        arrays |= {name: getattr(self, name) / STEPS[name] for name in ("betas", "expression", "transl")}
        arrays |= {"focal_px": self.focal / STEPS["focal"], "image_size": self.image_size, "box_xyxy_px": self.box}
        arrays |= {"visibility": self.visibility, "appearance": self.appearance}
        arrays |= {name: np.array(values)[getattr(self, name)] for name, values in _CATEGORIES.items()}
        return arrays | {"names": np.array([f"{k:04d}" for k in range(len(self))])}


@dataclass(frozen=True, eq=False)
class TruePerson:
    """What is true of one picture. Its camera's axis goes through the picture's centre."""

    name: str
    """The picture's name without ``.jpg``."""
    pose: Float[Array, "55 3 3"]
    """Rotations relative to the parent joint; the first is the global orientation in the camera's axes."""
    betas: Float[Array, "b"]
    expression: Float[Array, "e"]
    transl: Float[Array, "3"]
    """Metres: vertices in the camera frame are the posed body's plus this."""
    focal_px: float
    image_size: tuple[int, int]
    """Width and height, pixels."""
    box_xyxy_px: Float[Array, "4"]
    visibility: UInt8[Array, "144"]
    stance: str
    arms: str
    face: str
    truncation: str

    @property
    def height_px(self) -> int:
        """Longer side of what can be seen of the person, pixels."""
        x1, y1, x2, y2 = self.box_xyxy_px
        return round(max(x2 - x1, y2 - y1))

    @property
    def seen(self) -> frozenset[str]:
        """Parts of which at least half of the keypoints can be seen, of ``SEEN_PARTS``."""
        return seen_parts(self.visibility)


def seen_parts(visibility: UInt8[Array, "144"]) -> frozenset[str]:
    """Parts of which at least half of the keypoints can be seen, of ``SEEN_PARTS``."""
    return frozenset(part for part, ids in SEEN_PARTS.items() if (visibility[ids] == _VISIBLE).mean() >= 0.5)


def digest_of(arrays: Mapping[str, Array]) -> str:
    """SHA-256 of names, types, shapes and numbers, in the given order, as 64 hexadecimal digits."""
    found = sha256()
    for name, values in arrays.items():
        array = np.ascontiguousarray(values)
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        found.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        found.update(array.tobytes())
    return found.hexdigest()


def appearance_rng(seed: int) -> np.random.Generator:
    """Random numbers that no training picture was made with, whatever its seed, kind and number."""
    return np.random.default_rng([seed, *_STREAM])


def quantised(name: str, values: Array) -> Array:
    """Numbers as frozen test sets hold them; ``name``: the attribute of :class:`FrozenPeople`.

    Raises:
        InputError: a number that is not finite or too large.
    """
    kind = np.dtype("<i4" if name in ("transl", "focal", "appearance") else "<i2")
    whole = np.rint(np.asarray(values, float) * STEPS.get(name, 1.0))
    if not (np.abs(whole) <= np.iinfo(kind).max).all():
        raise InputError(f"'{name}' with NaN, infinity or huge numbers", "the numbers of a frozen test set", _FIX)
    return whole.astype(kind)


def from_truth(arrays: Mapping[str, Array], where: str) -> FrozenPeople:
    """The inverse of :meth:`FrozenPeople.truth`, checked.

    Args:
        arrays: content of ``truth.npz``.
        where: the file's name, for messages.

    Raises:
        InputError: an array is missing or has a wrong shape, or a number is not test-v1's.
    """
    expected = f"the numbers of {NAME}"
    try:
        pose = np.concatenate([np.reshape(arrays[name], (PEOPLE, -1, 3)) for name in POSE_SLICES], 1)
        numbers = {"pose": pose, "focal": arrays["focal_px"], "box": arrays["box_xyxy_px"]}
        numbers |= {name: arrays[name] for name in ("betas", "expression", "transl", "image_size", "appearance")}
        codes = {name: [values.index(str(v)) for v in arrays[name]] for name, values in _CATEGORIES.items()}
        seen = np.asarray(arrays["visibility"]).astype(np.uint8)
        people = FrozenPeople(
            **{name: quantised(name, values) for name, values in numbers.items()},
            visibility=seen,
            **{name: np.array(values, np.uint8) for name, values in codes.items()},
        )
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(f"{where} that is not {NAME}'s ({error})", expected, _FIX) from None
    return checked(people, where)


def check_body(model: BodyModel) -> None:
    """Refuse a body model that the coefficients do not belong to.

    Raises:
        InputError: the free body is another one than that of test-v1.
    """
    if body_digest(model) != TEST_V1_BODY:
        got, fix = f"the body model {body_digest(model)}", f"Use the version of openexpose that {NAME} belongs to."
        raise InputError(got, f"{TEST_V1_BODY}, which {NAME} was made with", fix)


def checked(people: FrozenPeople, where: str) -> FrozenPeople:
    """The people, if they are test-v1's.

    Raises:
        InputError: a number differs.
    """
    if people.digest() != TEST_V1_SHA256:
        raise InputError(f"{where} whose numbers are not {NAME}'s", f"SHA-256 {TEST_V1_SHA256[:16]}...", _FIX)
    return people
