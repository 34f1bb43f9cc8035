"""Rendered shards as samples, and as people to measure on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8

from openexpose.body.keypoints import IBUG68, INDEX, LEFT_HAND21, PARTS, RIGHT_HAND21
from openexpose.body.model import load_body_model
from openexpose.data.reading import Reading, check_split
from openexpose.data.sample import NUM_KEYPOINTS, Part, Sample
from openexpose.errors import InputError
from openexpose.geometry.camera import project_perspective
from openexpose.people import zero_pose
from openexpose.synth.digest import body_digest
from openexpose.synth.photo import HIDDEN, VISIBLE
from openexpose.synth.shard_files import KINDS
from openexpose.synth.shards import Shards, load_shards
from openexpose.synth.testset_v2 import FILE, NAME, TEST_SEED, compare, read_frozen

Array = np.ndarray

SPLITS = ("train", "val", "all")
HELD_OUT = 10
"""The last of every so many pictures is ``val``, the others are ``train``."""
BODY_CROP_SCALE = 1.2
"""Side of a body crop over its box: training's own factor gives the rendered crop back."""
MIN_SIDE_PX = 100.0
"""People in whole pictures whose box has no longer side teach and measure nothing,"""
MIN_SEEN = 8
"""nor do those of whose body fewer keypoints are seen."""
CONTOUR = 17
"""The first of the 68 face landmarks slide over the skin with the head's yaw."""


@dataclass(frozen=True)
class FocusSpec:
    """What a close-up of something teaches.

    Attributes:
        part: what the picture shows.
        keypoints: which of the 144 are labelled.
        root: the joint whose absolute rotation fills slot 0 of the pose.
        slots: other slots of the pose that are known.
    """

    part: Part
    keypoints: Int[Array, "k"]
    root: int
    slots: tuple[int, ...]


_WHOLE = FocusSpec("body", np.arange(NUM_KEYPOINTS), 0, tuple(range(1, 55)))
_FACE_SLOTS = tuple(INDEX[name] for name in ("jaw", "left_eye_smplx", "right_eye_smplx"))
FOCUSES: dict[str, FocusSpec] = {
    "body": _WHOLE,
    "people": _WHOLE,
    "left_hand": FocusSpec("hand", LEFT_HAND21, INDEX["left_wrist"], tuple(range(25, 40))),
    "right_hand": FocusSpec("hand", RIGHT_HAND21, INDEX["right_wrist"], tuple(range(40, 55))),
    "face": FocusSpec("face", IBUG68, INDEX["head"], _FACE_SLOTS),
}
"""By the picture's focus."""


@dataclass(frozen=True, eq=False)
class RenderedPerson:
    """A person in a picture and the truth, in the camera frame of the picture."""

    name: str
    """Picture and number of the person in it, as error messages call it."""
    jpeg: bytes
    """The picture; its camera's axis goes through the centre."""
    image_size: tuple[int, int]
    """Width and height, pixels."""
    box_xyxy_px: Float[Array, "4"]
    focal_px: float
    pose: Float[Array, "55 3 3"]
    betas: Float[Array, "b"]
    expression: Float[Array, "e"]
    transl: Float[Array, "3"]
    """Metres: vertices in the camera frame are the posed body's plus this."""
    visibility: UInt8[Array, "144"]
    """0 not in the picture or behind a thing or somebody, 1 behind the person's own body or clothes, 2 seen."""
    cut: bool
    """Whether a keypoint of the body lies beyond the border of the picture."""


@dataclass(frozen=True)
class _Shown:
    """A person in a picture of a shard."""

    name: str
    shard: Shards
    picture: int
    row: int
    """Of the shard's labels."""
    jpeg: bytes

    def label(self, name: str) -> Array:
        return np.asarray(self.shard.labels[name][self.row], float)


def read_synthetic(
    folder: Path, split: str = "train", *, kinds: Sequence[str] | None = None, body: Path | None = None
) -> Reading:
    """Read the shards of a folder made by ``openexpose synth``.

    Close-ups give one sample each; of whole pictures every labelled person is one whose box is at least 100 px long
    and of whose body at least eight keypoints are seen. The betas of hands and faces are the whole body's. Keypoints
    hidden by the person's own body or clothes count as labelled, those outside the picture or behind a thing or
    somebody else do not; in 3D all are valid, metres from pelvis, wrist or head.

    Args:
        folder: holds ``KIND-SEED-NUMBER.tar``.
        split: ``train``, ``val`` (of every ten pictures of a kind and seed the last) or ``all``.
        kinds: of ``body``, ``hands``, ``faces``, ``people``; None: all that are there.
        body: the body model file that the shards were rendered with; None: the free body. It decides what
            ``coefficients`` says: ``smplx`` or ``freebody``.

    Raises:
        InputError: an unknown split or kind, no shards of a kind, a damaged shard, or one of another body model.
    """
    samples = []
    digest = _digest() if body is None else body_digest(load_body_model(body))
    coefficients = "freebody" if body is None else "smplx"
    for kind in _kinds_in(folder, kinds):
        samples += [_sample(shown, coefficients) for shown in _people(folder, kind, split, digest)]
    return Reading(samples)


def read_rendered_people(folder: Path, split: str = "val") -> list[RenderedPerson]:
    """The people of a folder's ``people`` shards, rendered with the free body, that are large enough to measure on.

    Raises:
        InputError: as :func:`read_synthetic`; or the split is empty.
    """
    _kinds_in(folder, ["people"])
    people = [_rendered(shown) for shown in _people(folder, "people", split, _digest())]
    if not people:
        fix = "Render more people, or measure on all of them if none was trained on."
        raise InputError(f"the empty split '{split}' of '{folder}'", f"at least {HELD_OUT} pictures", fix)
    return people


def holds_test_set(folder: Path) -> bool:
    """Whether there are shards of test-v2 in a folder."""
    return any(folder.glob(f"people-{TEST_SEED}-*.tar"))


def read_test_people(folder: Path) -> tuple[list[RenderedPerson], int]:
    """The people of test-v2 that count, and of how many of its pictures they are: of all, or of the first ones.

    Raises:
        InputError: pictures that are not the frozen ones, damaged or missing shards.
    """
    frozen, people, count = read_frozen(folder / FILE), [], 0
    for path in shards_in(folder, f"people-{TEST_SEED}"):
        shard = load_shards([path])
        if shard.numbers[0] != count:
            got = f"'{path}', which begins with picture {shard.numbers[0]}"
            fix = f"Make the folder again: openexpose synth --preset {NAME}"
            raise InputError(got, f"picture {count} of {NAME}, the next one", fix)
        compare(shard, frozen)
        for picture, number in enumerate(shard.numbers.tolist()):
            first, last = shard.starts[picture : picture + 2].tolist()
            jpeg, counts = shard.file(picture), frozen.counts[slice(*frozen.starts[number : number + 2])]
            for row in (np.arange(first, last)[counts]).tolist():
                name = f"{NAME}/{number:04d}-{row - first}"
                people.append(_rendered(_Shown(name, shard, picture, row, jpeg)))
        count += len(shard)
    return people, count


@cache
def _digest() -> str:
    """Of the free body."""
    return body_digest(load_body_model())


def shards_in(folder: Path, kind: str) -> list[Path]:
    """The shards of a kind in a folder, by name."""
    return sorted(folder.glob(f"{kind}-*.tar"))


def _kinds_in(folder: Path, wanted: Sequence[str] | None) -> list[str]:
    for kind in wanted or ():
        if kind not in KINDS:
            raise InputError(f"shards of the kind {kind!r}", f"one of {', '.join(KINDS)}")
    kinds = [kind for kind in KINDS if (wanted is None or kind in wanted) and shards_in(folder, kind)]
    missing = [kind for kind in wanted or () if kind not in kinds]
    if missing or not kinds:
        what = f"{', '.join(missing)} shards" if missing else "shards"
        raise InputError(f"'{folder}' without {what}", "a folder made by `openexpose synth`")
    return kinds


def _people(folder: Path, kind: str, split: str, digest: str) -> Iterator[_Shown]:
    """Those of a split that teach something, shard by shard; people of one picture share its file."""
    check_split(split, SPLITS, "rendered shards")
    for path in shards_in(folder, kind):
        shard = load_shards([path])
        if shard.body != digest:
            expected = "shards made with the body model in use"
            raise InputError(f"'{path}' made with another body model", expected, "Render it again.")
        if shard.files[0].origin.seed == TEST_SEED:
            fix = "Measure on it: openexpose evaluate --protocol renders."
            raise InputError(f"'{path}' of {NAME}, the frozen test set", "pictures to train on", fix)
        jpeg, last = b"", -1
        for row, picture in zip(*(places.tolist() for places in who_teaches(shard, split)), strict=True):
            if picture != last:
                jpeg, last = shard.file(picture), picture
            number = f"-{row - shard.starts[picture]}" if kind == "people" else ""
            yield _Shown(shard.name(picture) + number, shard, picture, row, jpeg)


def who_teaches(shard: Shards, split: str) -> tuple[Int[Array, "m"], Int[Array, "m"]]:
    """People of a split that teach something, and the pictures they are in.

    Args:
        shard: pictures of one kind.
        split: as in :func:`read_synthetic`.

    Returns:
        Rows of the shard's labels, of close-ups one a picture; numbers of pictures in the shard.
    """
    held_out = shard.numbers % HELD_OUT == HELD_OUT - 1
    wanted = held_out | ~held_out if split == "all" else held_out == (split == "val")
    picture = np.repeat(np.arange(len(shard)), np.diff(shard.starts))
    row = np.arange(len(picture))
    teaches = _large_enough(shard) if shard.kind == "people" else row == shard.starts[picture]
    rows = np.flatnonzero(wanted[picture] & teaches)
    return rows, picture[rows]


def _large_enough(shard: Shards) -> Array:
    """Of which labelled people enough is seen, [m] bool."""
    boxes, seen = shard.labels["box_xyxy_px"], shard.labels["visibility"] == VISIBLE
    if not len(boxes):
        return np.zeros(0, bool)
    return ((boxes[:, 2:] - boxes[:, :2]).max(1) >= MIN_SIDE_PX) & (seen[:, PARTS["body"]].sum(1) >= MIN_SEEN)


def _sample(shown: _Shown, coefficients: str) -> Sample:
    """A person in a picture as a sample."""
    shard, row, focus = shown.shard, np.array([shown.row]), str(shown.shard.focus[shown.picture])
    spec, focal = FOCUSES[focus], float(shard.focal_px[shown.picture])
    size = shard.image_size[shown.picture]
    spots, places = shown.label("keypoints_px"), shown.label("keypoints_m")
    root = places[spec.root].copy()
    if focus == "face":
        places[IBUG68[:CONTOUR]] = shown.label("contour_m")
        spots[IBUG68[:CONTOUR]] = project_perspective(shown.label("contour_m"), focal, size / 2)
    keypoints, points = np.zeros((NUM_KEYPOINTS, 3)), np.zeros((NUM_KEYPOINTS, 4))
    keypoints[spec.keypoints, :2] = spots[spec.keypoints]
    keypoints[spec.keypoints, 2] = shown.label("visibility")[spec.keypoints] != HIDDEN
    points[spec.keypoints, :3], points[spec.keypoints, 3] = places[spec.keypoints] - root, 1
    pose, slots = zero_pose(1)[0].astype(float), list(spec.slots)
    pose[0], pose[slots] = shard.rotations(spec.root, row)[0], shown.label("pose")[slots]
    return Sample(
        name=shown.name, image=shown.jpeg, part=spec.part, box_xyxy_px=_box(shown, size), keypoints_px=keypoints,
        points_m=points, pose=pose, pose_valid=np.isin(np.arange(55), [0, *slots]), betas=shown.label("betas"),
        expression=None if spec.part == "hand" else shown.label("expression"), coefficients=coefficients,
        focal_px=focal, left=focus == "left_hand",
    )  # fmt: skip


def _box(shown: _Shown, size: Array) -> Float[Array, "4"]:
    """Around the person; of close-ups the box whose crop is the picture."""
    if shown.shard.kind == "people":
        return shown.label("box_xyxy_px")
    half = size / 2 / (BODY_CROP_SCALE if shown.shard.kind == "body" else 1.0)
    return np.concatenate([size / 2 - half, size / 2 + half])


def _rendered(shown: _Shown) -> RenderedPerson:
    width, height = shown.shard.image_size[shown.picture].tolist()
    spots = shown.label("keypoints_px")[PARTS["body"]]
    return RenderedPerson(
        name=shown.name,
        jpeg=shown.jpeg,
        image_size=(width, height),
        focal_px=float(shown.shard.focal_px[shown.picture]),
        visibility=shown.label("visibility").astype(np.uint8),
        cut=bool(((spots < 0) | (spots > [width, height])).any()),
        **{name: shown.label(name) for name in ("box_xyxy_px", "pose", "betas", "expression", "transl")},
    )
