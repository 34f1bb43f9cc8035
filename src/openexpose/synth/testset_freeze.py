"""How the numbers of the frozen test set were made: its authors ran ``python -m openexpose.synth.testset_freeze`` once.

It draws 500 people to fixed counts of stances, arms and truncations, quantises them, renders them for visibility, boxes
and thumbnails, writes ``synth_assets/test-v1.npz`` and prints the SHA-256 and the body model's digest that
belong into :mod:`openexpose.synth.testset`. Another run with changed code makes another set, which needs another name.
"""

import io
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float
from tqdm import tqdm

from openexpose.body.keypoints import INDEX
from openexpose.body.model import load_body_model
from openexpose.formats.atomic import write_whole
from openexpose.geometry.boxes import box_around
from openexpose.geometry.rotation import matrix_to_rotvec, rotvec_to_matrix
from openexpose.synth.dataset import one_thread_each
from openexpose.synth.digest import body_digest
from openexpose.synth.library import default_assets
from openexpose.synth.person import Person, Stage, build_stage, dressed_person
from openexpose.synth.pose import (
    Face,
    full_pose,
    sample_body_pose,
    sample_expression,
    sample_face,
    sample_hand_pose,
)
from openexpose.synth.testset import ARMS, FACES, PEOPLE, STANCES, TRUNCATIONS, FrozenPeople, quantised
from openexpose.synth.testset_pictures import FILE, Shot, shoot
from openexpose.synth.view import look_at

Array = np.ndarray
Draft = dict[str, Array]

_SEED = tuple(b"openexpose test-v1 people")
_STANCE_COUNTS = {"prior": 300, "sit": 75, "crouch": 40, "kneel": 35, "lie": 50}
_ARM_COUNTS = {"as they are": 225, "reach": 75, "face": 45, "up": 45, "folded": 40, "hips": 35, "knees": 20, "free": 15}
_FACE_COUNTS = {"actions": 425, "coefficients": 75}
_CUT_COUNTS = {  # those of people who lie, those of all others
    True: {"whole": 30, "side": 12, "bottom": 8},
    False: {"whole": 270, "legs": 50, "half": 50, "bust": 30, "side": 33, "bottom": 17},
}
_SMALLEST_PX, _LARGEST_PX = 400, 1000
_NARROWEST_PX, _SMALLEST_LONG_PX, _WIDEST_PX = 480, 600, 1400
_NEAREST_M, _FARTHEST_M = 1.5, 8.0
_FOCALS = 0.6, 4.0  # in longer sides of the picture: 80 to 14 degrees
_ASPECTS = (3 / 4, 2 / 3, 9 / 16, 1.0, 4 / 3, 3 / 2)
_TALL = 3
_UPRIGHT = np.diag([1.0, -1.0, -1.0])
_TORSO = [INDEX[n] for n in ("pelvis", "spine1", "spine2", "spine3", "neck")]
_KNEES, _ANKLES, _HIPS, _SHOULDERS, _WRISTS, _HANDS = (
    [INDEX[f"{side}_{n}"] for side in ("left", "right")]
    for n in ("knee", "ankle", "hip", "shoulder", "wrist", "middle1")
)


@dataclass(frozen=True)
class Kind:
    """What sort of person and picture is wanted."""

    stance: str
    arms: str
    face: str
    truncation: str


def kinds() -> list[Kind]:
    """The 500 sorts, shuffled."""
    rng = np.random.default_rng([*_SEED, 0])
    stances, arms, faces = (_shuffled(rng, counts) for counts in (_STANCE_COUNTS, _ARM_COUNTS, _FACE_COUNTS))
    cuts = {lying: iter(_shuffled(rng, counts)) for lying, counts in _CUT_COUNTS.items()}
    return [Kind(s, a, f, next(cuts[s == "lie"])) for s, a, f in zip(stances, arms, faces, strict=True)]


def draw(index: int, kind: Kind, stage: Stage) -> tuple[Draft, Shot]:
    """One person of a kind: drawn anew until the picture is what the kind says."""
    rng = np.random.default_rng([*_SEED, 1, index])
    while True:
        pose, betas, face = _sample(rng, kind, stage)
        look = int(rng.integers(2**31))
        person = dressed_person(np.random.default_rng(look), stage, pose, betas, face.expression, mip=2)
        if not _apart(person.joints):
            continue
        draft = _frame(rng, kind.truncation, person, stage)
        if draft is None:
            continue
        draft |= {"appearance": quantised("appearance", np.array(look)), **_codes(kind)}
        draft |= {"box": np.zeros(4, "<i2"), "visibility": np.zeros(144, np.uint8)}
        shot = shoot(stage, _people([draft]).person(0), look)
        width, height = draft["image_size"].tolist()
        if not _as_wanted(kind.truncation, shot, (width, height), _project(draft, stage)):
            continue
        spots = shot.vertices_px
        box = box_around(spots[((spots >= 0) & (spots <= [width, height])).all(1)].astype(float))
        box = np.concatenate([np.floor(box[:2]), np.ceil(box[2:])])
        if _SMALLEST_PX <= (box[2:] - box[:2]).max() <= _LARGEST_PX:
            return draft | {"box": quantised("box", box), "visibility": shot.visibility}, shot


def freeze(out: Path, *, workers: int = 1) -> str:
    """Make the file of the test set; returns the SHA-256 of its numbers.

    Args:
        out: the file.
        workers: processes.
    """
    context = get_context("spawn")
    with one_thread_each(), ProcessPoolExecutor(workers, context, _start_worker) as pool:
        drawn = list(tqdm(pool.map(_work, range(PEOPLE)), total=PEOPLE, file=sys.stderr))
    people = _people([draft for draft, _ in drawn])
    arrays = {field.name: getattr(people, field.name) for field in fields(people)}
    thumbnails, buffer = np.stack([thumb for _, thumb in drawn]), io.BytesIO()
    np.savez_compressed(buffer, **arrays, thumbnails=thumbnails)
    write_whole(out, buffer.getvalue())
    return people.digest()


def _shuffled(rng: np.random.Generator, counts: dict[str, int]) -> list[str]:
    names = [name for name, count in counts.items() for _ in range(count)]
    return [names[k] for k in rng.permutation(len(names))]


def _codes(kind: Kind) -> Draft:
    tables = {"stance": STANCES, "arms": ARMS, "face": FACES, "truncation": TRUNCATIONS}
    return {name: np.array(values.index(getattr(kind, name)), np.uint8) for name, values in tables.items()}


def _people(drafts: list[Draft]) -> FrozenPeople:
    return FrozenPeople(**{field.name: np.stack([d[field.name] for d in drafts]) for field in fields(FrozenPeople)})


def _sample(rng: np.random.Generator, kind: Kind, stage: Stage) -> tuple[Array, Array, Face]:
    """Pose, shape and face."""
    body = sample_body_pose(rng, stage.poses, stance=kind.stance, arms=kind.arms)
    actions = kind.face == "actions"
    face = sample_expression(rng, stage.poses) if actions else sample_face(rng, stage.model.num_expression)
    right, left = (sample_hand_pose(rng, stage.poses) for _ in range(2))
    if rng.random() < 0.2:
        left = right + rng.normal(0, 0.05, (15, 3))
    pose = full_pose(body, right, left, face)
    lying = kind.stance == "lie"
    yaw = rng.uniform(-np.pi, np.pi) if lying or rng.random() < 0.25 else rng.normal(0, 0.6)
    pitch = rng.uniform(0.05, 1.1) if lying else rng.normal(0.08, 0.16)
    camera = rotvec_to_matrix(np.array([0, 0, rng.normal(0, 0.06)])) @ rotvec_to_matrix(np.array([pitch, 0, 0]))
    pose[0] = camera @ _UPRIGHT @ rotvec_to_matrix(np.array([0, yaw, 0])) @ pose[0]
    betas = np.clip(rng.normal(0, 1.2, stage.model.num_betas), -2.5, 2.5)
    return pose, betas, Face(np.clip(face.expression, -4, 4), face.jaw, face.eyes)


def _apart(joints: Float[Array, "144 3"]) -> bool:
    """Whether hands are outside the torso and the head, and legs not in one another, as far as joints tell."""
    torso = np.concatenate([joints[a] + t * (joints[b] - joints[a]) for a, b, t in _spans()]).reshape(-1, 3)
    hands = joints[_WRISTS + _HANDS]
    distance = np.linalg.norm(hands[:, None] - torso, axis=-1).min()
    head = np.linalg.norm(hands - (joints[INDEX["head"]] + joints[INDEX["jaw"]]) / 2, axis=-1).min()
    legs = min(float(np.linalg.norm(np.subtract(*joints[pair]))) for pair in (_KNEES, _ANKLES))
    return bool(distance > 0.13 and head > 0.13 and legs > 0.1)


def _spans() -> Iterator[tuple[int, int, float]]:
    for a, b in pairwise(_TORSO):
        for t in (0.0, 0.33, 0.67):
            yield a, b, t


def _frame(rng: np.random.Generator, cut: str, person: Person, stage: Stage) -> Draft | None:
    """Choose distance, focal length and borders; None: an impossible camera."""
    distance = np.exp(rng.uniform(np.log(_NEAREST_M), np.log(_FARTHEST_M)))
    offset = np.array([0, 0, distance])
    vertices, joints = person.vertices + offset, person.joints + offset
    plane, spots = vertices[:, :2] / vertices[:, 2:], joints[:, :2] / joints[:, 2:]
    low, high = plane.min(0), plane.max(0)
    kept = _kept_box(rng, cut, (low, high), spots)
    shown = plane[((plane >= kept[0]) & (plane <= kept[1])).all(1)]
    if vertices[:, 2].min() < 0.5 or len(shown) < 300:
        return None
    low_seen, high_seen = shown.min(0), shown.max(0)
    length_px = np.exp(rng.uniform(np.log(_SMALLEST_PX + 12), np.log(_LARGEST_PX - 12)))
    focal = length_px / (high_seen - low_seen).max()
    border = np.stack([kept[0] <= low, kept[1] >= high])  # where there is room for a margin
    borders = _borders(rng, focal * np.stack([low_seen, high_seen]), focal * kept, border)
    size = np.rint((borders[1] - borders[0]) / 2) * 2
    if not (size.min() >= _NARROWEST_PX and _SMALLEST_LONG_PX <= size.max() <= _WIDEST_PX):
        return None
    if not _FOCALS[0] <= focal / size.max() <= _FOCALS[1]:
        return None
    turn = look_at(np.array([*(borders.mean(0) / focal), 1.0]))
    pose = np.concatenate([(turn @ person.pose[0])[None], person.pose[1:]])
    rest_pelvis = stage.model.joint_template[0] + stage.model.joint_shape_dirs[0] @ person.betas
    return {
        "pose": quantised("pose", matrix_to_rotvec(pose)),
        "betas": quantised("betas", person.betas),
        "expression": quantised("expression", person.expression),
        "transl": quantised("transl", turn @ offset - rest_pelvis),
        "focal": quantised("focal", np.array(focal)),
        "image_size": quantised("image_size", size),
    }


def _kept_box(rng: np.random.Generator, cut: str, box: tuple[Array, Array], spots: Array) -> Float[Array, "2 2"]:
    """Lower and upper corner of what the picture's borders keep, in the plane z = 1; far away where nothing is cut."""
    low, high = box
    kept = np.array([[-9.0, -9.0], [9.0, 9.0]])
    y = {n: spots[ids, 1].mean() for n, ids in (("knee", _KNEES), ("ankle", _ANKLES), ("hip", _HIPS))}
    shoulder = spots[_SHOULDERS, 1].mean()
    match cut:
        case "legs":
            kept[1, 1] = y["knee"] + rng.uniform(0.1, 0.8) * (y["ankle"] - y["knee"])
        case "half":
            kept[1, 1] = y["hip"] + rng.uniform(-0.1, 0.75) * (y["knee"] - y["hip"])
        case "bust":
            kept[1, 1] = shoulder + rng.uniform(0.15, 0.75) * (y["hip"] - shoulder)
        case "bottom":
            kept[1, 1] = high[1] - rng.uniform(0.12, 0.45) * (high - low)[1]
        case "side":
            side, share = rng.integers(2), rng.uniform(0.12, 0.45) * (high - low)[0]
            kept[side, 0] = high[0] - share if side else low[0] + share
    return kept


def _borders(rng: np.random.Generator, shown: Array, kept: Array, free: Array) -> Float[Array, "2 2"]:
    """Corners of the picture, pixels: margins where nothing is cut, then more of them until the shape is usual."""
    length = (shown[1] - shown[0]).max()
    margins = np.where(free, length * rng.uniform(0.03, 0.2, (2, 2)), 0.0)
    corners = np.where(free, shown + margins * [[-1], [1]], kept)
    aspect = rng.choice(_ASPECTS if free[:, 0].all() else _ASPECTS[:_TALL])
    size = corners[1] - corners[0]
    wanted = np.maximum(size, [size[1] * aspect, size[0] / aspect])
    wanted = np.clip(wanted, rng.uniform(_NARROWEST_PX + 2, _SMALLEST_LONG_PX + 50), _WIDEST_PX - 2)
    more, share = np.maximum(wanted - size, 0), rng.uniform(0.15, 0.85, 2)
    share = np.where(free.all(0), share, np.where(free[0], 1.0, 0.0))
    return corners + np.stack([-more * share, more * (1 - share)])


def _project(draft: Draft, stage: Stage) -> Float[Array, "144 2"]:
    """Keypoints in the picture, pixels."""
    person = _people([draft]).person(0)
    bare = dressed_person(np.random.default_rng(0), stage, person.pose, person.betas, person.expression, mip=2)
    rest_pelvis = stage.model.joint_template[0] + stage.model.joint_shape_dirs[0] @ person.betas
    points = bare.joints + rest_pelvis + person.transl
    return points[:, :2] / points[:, 2:] * person.focal_px + np.array(person.image_size) / 2


def _as_wanted(cut: str, shot: Shot, size: tuple[int, int], joints: Float[Array, "144 2"]) -> bool:
    """Whether the picture cuts off what its kind says, and no more."""
    inside: Array = np.all((joints >= 0) & (joints <= size), axis=1)
    spots = shot.vertices_px
    out_left_right, out_below = (spots[:, 0] < 0) | (spots[:, 0] > size[0]), spots[:, 1] > size[1]
    above, head = bool((spots[:, 1] < 0).any()), bool(inside[[INDEX["head"], INDEX["jaw"]]].all())
    if cut == "whole":
        margin = 0.01 * max(size)
        return bool(((spots >= margin) & (spots <= np.array(size) - margin)).all())
    if cut == "side":
        return bool(0.1 <= out_left_right.mean() <= 0.5) and not above and not out_below.any()
    if above or out_left_right.mean() > 0.01:
        return False
    knees, ankles, hips, shoulders = (inside[ids] for ids in (_KNEES, _ANKLES, _HIPS, _SHOULDERS))
    return {
        "legs": head and bool(hips.all() and knees.any() and not ankles.any()),
        "half": head and bool(shoulders.all() and not knees.any()),
        "bust": head and bool(not hips.any()),
        "bottom": bool(0.06 <= out_below.mean() <= 0.5),
    }[cut]


_worker_stage: list[Stage] = []


def _start_worker() -> None:
    cv2.setNumThreads(1)
    _worker_stage.append(build_stage())


def _work(index: int) -> tuple[Draft, Array]:
    draft, shot = draw(index, kinds()[index], _worker_stage[0])
    return draft, shot.thumbnail


if __name__ == "__main__":
    print(freeze(default_assets() / FILE, workers=2), body_digest(load_body_model()))
