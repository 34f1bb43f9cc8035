"""Rendered shards as samples, and as people to measure on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from openexpose.body.keypoints import IBUG68, INDEX, RIGHT_HAND21
from openexpose.body.mesh import joint_transforms
from openexpose.body.model import BodyModel, load_body_model
from openexpose.data.reading import Reading, check_split
from openexpose.data.sample import NUM_KEYPOINTS, Part, Sample
from openexpose.errors import InputError
from openexpose.people import zero_pose
from openexpose.synth.dataset import SAMPLE_TYPES, Shards, load_shards
from openexpose.synth.digest import body_digest
from openexpose.synth.scene import BODY_PX, FACE_PX, HAND_PX, PEOPLE_PX

Array = np.ndarray

SPLITS = ("train", "val", "all")
HELD_OUT = 10
"""The last of every so many people is ``val``, the others are ``train``."""
BODY_CROP_SCALE = 1.2
"""Side of a body crop over its box: training's own factor gives the rendered crop back."""

_LABELLED: dict[str, tuple[Part, Array, int]] = {
    "body": ("body", np.arange(NUM_KEYPOINTS), BODY_PX),
    "people": ("body", np.arange(NUM_KEYPOINTS), PEOPLE_PX),
    "hands": ("hand", RIGHT_HAND21, HAND_PX),
    "faces": ("face", IBUG68, FACE_PX),
}
"""What the pictures of a kind show, which of the 144 keypoints are labelled, and the side of the picture, pixels."""
_SLOTS: dict[str, dict[str, list[int]]] = {
    "body": {"pose": list(range(55))},
    "people": {"pose": list(range(55))},
    "hands": {"wrist": [0], "fingers": list(range(40, 55))},
    "faces": {"head": [0], "jaw": [INDEX["jaw"]], "eyes": [INDEX["left_eye_smplx"], INDEX["right_eye_smplx"]]},
}
"""Which slots of the pose each label of a kind fills."""


@dataclass(frozen=True, eq=False)
class RenderedPerson:
    """A picture of one person and its truth, in the camera frame of the picture."""

    name: str
    """Shard and number, as error messages call it."""
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
    """0 not in the picture or behind a thing, 1 behind the person's own body, 2 seen."""


@dataclass(frozen=True)
class _Picture:
    """One picture of a shard."""

    name: str
    shard: Shards
    row: int

    def label(self, name: str) -> Array:
        return np.asarray(self.shard.labels[name][self.row], float)

    @property
    def jpeg(self) -> bytes:
        return self.shard.file(self.row).tobytes()


def read_synthetic(
    folder: Path, split: str = "train", *, kinds: Sequence[str] | None = None, body: Path | None = None
) -> Reading:
    """Read the shards of a folder made by ``openexpose synth``.

    Hands are right hands: left ones were mirrored when they were rendered. Their betas, and those of faces, are the
    whole body's. Keypoints hidden behind the person's own body count as labelled, those outside the picture or behind
    a thing do not; in 3D all are valid.

    Args:
        folder: holds ``KIND-SEED-NUMBER.npz``.
        split: ``train``, ``val`` (every tenth person, counted through the shards of a kind by name) or ``all``.
        kinds: of ``body``, ``people``, ``hands``, ``faces``; None: all that are there.
        body: the body model file that the shards were rendered with; None: the free body. It decides what
            ``coefficients`` says: ``smplx`` or ``freebody``.

    Raises:
        InputError: an unknown split or kind, no shards of a kind, a damaged shard, or one of another body model.
    """
    samples = []
    digest = body_digest(load_body_model(body))
    coefficients = "freebody" if body is None else "smplx"
    for kind in _kinds_in(folder, kinds):
        samples += [_sample(picture, coefficients) for picture in _pictures(folder, kind, split, digest)]
    return Reading(samples)


def read_rendered_people(folder: Path, split: str = "val") -> list[RenderedPerson]:
    """The whole people of a folder's ``people`` shards, rendered with the free body, to measure on.

    Raises:
        InputError: as :func:`read_synthetic`; or the split is empty.
    """
    _kinds_in(folder, ["people"])
    model = load_body_model()
    people = [_rendered(picture, model) for picture in _pictures(folder, "people", split, body_digest(model))]
    if not people:
        fix = "Render more people, or measure on all of them if none was trained on."
        raise InputError(f"the empty split '{split}' of '{folder}'", f"at least {HELD_OUT} people", fix)
    return people


def _kinds_in(folder: Path, wanted: Sequence[str] | None) -> list[str]:
    for kind in wanted or ():
        if kind not in SAMPLE_TYPES:
            raise InputError(f"shards of the kind {kind!r}", f"one of {', '.join(SAMPLE_TYPES)}")
    kinds = [kind for kind in SAMPLE_TYPES if (wanted is None or kind in wanted) and _shards_in(folder, kind)]
    missing = [kind for kind in wanted or () if kind not in kinds]
    if missing or not kinds:
        what = f"{', '.join(missing)} shards" if missing else "shards"
        raise InputError(f"'{folder}' without {what}", "a folder made by `openexpose synth`")
    return kinds


def _shards_in(folder: Path, kind: str) -> list[Path]:
    """The shards of a kind, by name; what lies beside them, such as ``*.evidence.npz``, is left out."""
    return [path for path in sorted(folder.glob(f"{kind}-*.npz")) if len(path.suffixes) == 1]


def _pictures(folder: Path, kind: str, split: str, digest: str) -> Iterator[_Picture]:
    """The pictures of a split, shard by shard, so that no more than one shard is in memory."""
    check_split(split, SPLITS, "rendered shards")
    per_person = 2 if kind == "hands" else 1  # a person's two hands go to one side
    count = 0
    for path in _shards_in(folder, kind):
        shard = load_shards([path])
        if shard.body != digest:
            expected = "shards made with the body model in use"
            raise InputError(f"'{path}' made with another body model", expected, "Render it again.")
        for row in range(len(shard)):
            held_out = count // per_person % HELD_OUT == HELD_OUT - 1
            count += 1
            if split == "all" or held_out == (split == "val"):
                yield _Picture(f"{path.stem}/{row:05d}", shard, row)


def _sample(picture: _Picture, coefficients: str) -> Sample:
    """A picture as a sample."""
    kind = picture.shard.kind
    part, places, side = _LABELLED[kind]
    keypoints, points = np.zeros((NUM_KEYPOINTS, 3)), np.zeros((NUM_KEYPOINTS, 4))
    keypoints[places, :2] = (picture.label("keypoints_2d") + 1) * (side / 2)
    keypoints[places, 2] = picture.label("visibility") > 0
    points[places, :3], points[places, 3] = picture.label("keypoints_3d"), 1
    pose, valid = zero_pose(1)[0].astype(float), np.zeros(55, bool)
    for name, slots in _SLOTS[kind].items():
        pose[slots] = picture.label(name)
        valid[slots] = True
    return Sample(
        name=picture.name, image=picture.jpeg, part=part, box_xyxy_px=_box(kind, picture, side), keypoints_px=keypoints,
        points_m=points, pose=pose, pose_valid=valid, betas=picture.label("betas"),
        expression=None if kind == "hands" else picture.label("expression"), coefficients=coefficients,
        focal_px=side / (2 * float(picture.label("half_side"))),
    )  # fmt: skip


def _box(kind: str, picture: _Picture, side: int) -> Float[Array, "4"]:
    if kind == "people":
        return picture.label("box_xyxy_px")
    half = side / 2 / (BODY_CROP_SCALE if kind == "body" else 1.0)
    return side / 2 + np.array([-half, -half, half, half])


def _rendered(picture: _Picture, model: BodyModel) -> RenderedPerson:
    pose, betas, expression = (picture.label(name) for name in ("pose", "betas", "expression"))
    depth, half_side = float(picture.label("depth_m")), float(picture.label("half_side"))
    pelvis = depth * np.array([*(half_side * picture.label("keypoints_2d")[0]), 1.0])
    at_rest = joint_transforms(model, pose[None], betas[None], expression[None])[1][0, 0]
    return RenderedPerson(
        name=picture.name,
        jpeg=picture.jpeg,
        image_size=(PEOPLE_PX, PEOPLE_PX),
        box_xyxy_px=picture.label("box_xyxy_px"),
        focal_px=PEOPLE_PX / (2 * half_side),
        pose=pose,
        betas=betas,
        expression=expression,
        transl=pelvis - at_rest,
        visibility=picture.label("visibility").astype(np.uint8),
    )
