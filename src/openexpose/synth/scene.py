"""Labelled pictures of a person: crops of the body (256 px), hands (224 px) and face (192 px), and larger pictures of
whole people (512 px). All labels are in the picture's own camera frame."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, UInt8

from openexpose.body.keypoints import IBUG68, INDEX, LEFT_HAND21, PARTS, RIGHT_HAND21
from openexpose.body.mesh import keypoints
from openexpose.body.model import BodyModel
from openexpose.geometry.boxes import box_around
from openexpose.geometry.camera import fit_weak
from openexpose.geometry.rotation import mirror_rotation, rotvec_to_matrix
from openexpose.people import zero_pose
from openexpose.synth.person import HEAD, Person, Stage, sample_person
from openexpose.synth.picture import degrade, outside_photo, sample_background, sample_occluder
from openexpose.synth.raster import depth_map, render
from openexpose.synth.view import View, attention_view, body_view, box_view, face_view, hand_view, look_at

Array = np.ndarray

ALL = np.arange(144)
CONTOUR = 17
"""The first of the 68 face landmarks slide over the skin with the head's yaw."""
BODY_PX, HAND_PX, FACE_PX, PEOPLE_PX = 256, 224, 192, 512
HIDDEN, OCCLUDED, VISIBLE = 0, 1, 2
"""Visibility: outside the picture or behind a thing; behind the person's own body; seen."""


@dataclass(frozen=True)
class BodySample:
    """A body crop. ``keypoints_3d``: metres from the pelvis; ``camera`` is (s, tx, ty) with crop = s * (xy + t)."""

    image: UInt8[Array, "256 256 3"]
    pose: Float[Array, "55 3 3"]
    betas: Float[Array, "b"]
    expression: Float[Array, "e"]
    keypoints_2d: Float[Array, "144 2"]
    keypoints_3d: Float[Array, "144 3"]
    visibility: UInt8[Array, "144"]
    camera: Float[Array, "3"]
    depth_m: float
    half_side: float
    upright_box: bool


@dataclass(frozen=True)
class HandSample:
    """A hand crop in right-hand space (left hands are mirrored, picture and labels alike); points from the wrist."""

    image: UInt8[Array, "224 224 3"]
    wrist: Float[Array, "3 3"]
    fingers: Float[Array, "15 3 3"]
    betas: Float[Array, "b"]
    keypoints_2d: Float[Array, "21 2"]
    keypoints_3d: Float[Array, "21 3"]
    visibility: UInt8[Array, "21"]
    camera: Float[Array, "3"]
    depth_m: float
    half_side: float
    is_left: bool
    is_attention: bool


@dataclass(frozen=True)
class FaceSample:
    """A face crop; the 68 landmarks (iBUG order) are relative to the head joint."""

    image: UInt8[Array, "192 192 3"]
    head: Float[Array, "3 3"]
    jaw: Float[Array, "3 3"]
    eyes: Float[Array, "2 3 3"]
    expression: Float[Array, "e"]
    betas: Float[Array, "b"]
    keypoints_2d: Float[Array, "68 2"]
    keypoints_3d: Float[Array, "68 3"]
    visibility: UInt8[Array, "68"]
    camera: Float[Array, "3"]
    depth_m: float
    half_side: float
    is_attention: bool


@dataclass(frozen=True)
class PeopleSample:
    """A picture of a whole person, large enough that crops of hands and face show more than the body crop does.

    Labels as :class:`BodySample`, whose crop coordinates are here those of the picture. The camera's axis goes through
    the picture's centre, its focal length is ``PEOPLE_PX / (2 * half_side)`` pixels. ``box_xyxy_px`` is the tight box
    around the vertices (clothes included) that lie within the picture.
    """

    image: UInt8[Array, "512 512 3"]
    pose: Float[Array, "55 3 3"]
    betas: Float[Array, "b"]
    expression: Float[Array, "e"]
    keypoints_2d: Float[Array, "144 2"]
    keypoints_3d: Float[Array, "144 3"]
    visibility: UInt8[Array, "144"]
    camera: Float[Array, "3"]
    depth_m: float
    half_side: float
    box_xyxy_px: Float[Array, "4"]


Sample = BodySample | HandSample | FaceSample | PeopleSample

# Thickness of the body over each keypoint: a joint lies inside, so nothing nearer than this hides it.
_COVER_M = np.full(144, 0.03)
_COVER_M[25:55], _COVER_M[66:76] = 0.02, 0.013
_COVER_M[[INDEX[n] for n in ("pelvis", "spine1", "spine2", "spine3", "left_hip", "right_hip")]] = 0.17
_COVER_M[
    [INDEX[n] for n in ("neck", "head", "left_collar", "right_collar", "left_shoulder", "right_shoulder", "jaw")]
] = 0.12
_COVER_M[[INDEX[f"{s}_{n}"] for s in ("left", "right") for n in ("knee", "elbow", "ankle")]] = 0.09
_COVER_M[[INDEX["left_wrist"], INDEX["right_wrist"]]] = 0.06


def sample_body(rng: np.random.Generator, stage: Stage) -> BodySample:
    """One person, one body crop: three in four as the pose trunk frames it, one in four the upright box."""
    person = _standing(rng, stage, mip=2)
    border = _photo_border(person, rng) if rng.random() < 0.25 else None
    upright = bool(rng.random() < 0.25)
    view = body_view(person.joints, person.vertices, rng)
    if upright:
        seen = person.vertices[::5]
        seen = seen if border is None else seen[seen @ border < 0]
        view = box_view(seen, 1.25, rng.normal(0, 0.03, 2), np.exp(rng.normal(0, 0.1)))
    image, depth, mask = _draw(person, view, rng, stage, (BODY_PX, 0.28, border))
    labels = _whole_labels(person, view, stage)
    return BodySample(image, visibility=point_visibility(person, view, depth, mask, ALL), upright_box=upright, **labels)


def sample_whole_person(rng: np.random.Generator, stage: Stage) -> PeopleSample:
    """One person in a larger picture, anywhere near its middle; one in five is cut by the picture's border."""
    person = _standing(rng, stage, mip=1)
    view = _picture_view(person.vertices[::5], rng)
    image, depth, mask = _draw(person, view, rng, stage, (PEOPLE_PX, 0.2, None))
    labels, seen = _whole_labels(person, view, stage), point_visibility(person, view, depth, mask, ALL)
    spots = (view.to_crop(person.vertices) + 1) * (PEOPLE_PX / 2)
    inside = spots[((spots >= 0) & (spots <= PEOPLE_PX)).all(1)]
    return PeopleSample(image, visibility=seen, box_xyxy_px=box_around(inside.astype(float)), **labels)


def _standing(rng: np.random.Generator, stage: Stage, mip: int) -> Person:
    """A person 1.2 to 8 metres from the photo's camera."""
    person = sample_person(rng, stage, mip=mip)
    distance = rng.uniform(1.2, 2) if rng.random() < 0.15 else rng.uniform(2, 8)
    return person.moved(np.eye(3), np.zeros(3), _ray(rng) * distance)


def _picture_view(points: Float[Array, "n 3"], rng: np.random.Generator) -> View:
    """An upright picture of points: their longer extent is 0.6 to 0.9 of its side (1 to 1.9 where the border cuts),
    their middle up to 0.15 of its side off its centre. Of cut people the upper, left or right end is kept."""
    cut = rng.random() < 0.2
    view = box_view(points, 1 / (rng.uniform(1, 1.9) if cut else rng.uniform(0.6, 0.9)), np.zeros(2), 1.0)
    offset = rng.uniform(-0.3, 0.3, 2)  # of the picture's centre, half sides
    half = np.abs(view.to_crop(points)).max(0)
    if cut:
        ends = np.array([rng.choice([-1, 1]), -1 if rng.random() < 0.95 else 1])
        offset = np.where(half > 1, ends * (half - 1 + rng.uniform(0, 0.2, 2)), offset)
    centre = np.array([*(offset * view.half_side), 1.0])
    return View(look_at(centre) @ view.T_view_photo, view.half_side)


def _whole_labels(person: Person, view: View, stage: Stage) -> dict[str, Any]:
    """The labels that all pictures of whole people have, by the names of :class:`BodySample`; not the visibility."""
    pose, points = _in_view(person, view, stage)
    root = points[:1]
    p3, p2 = points - root, view.project(points)
    return {
        "pose": pose, "betas": person.betas, "expression": person.expression, "keypoints_2d": p2, "keypoints_3d": p3,
        "camera": fit_weak(p3, p2), "depth_m": float(root[0, 2]), "half_side": view.half_side,
    }  # fmt: skip


def sample_hands(rng: np.random.Generator, stage: Stage) -> tuple[HandSample, HandSample]:
    """One person, the left and the right hand; people whose own body hides a hand are drawn anew."""
    while True:
        person = sample_person(rng, stage)
        left = _hand(person, "left", rng, stage)
        right = _hand(person, "right", rng, stage) if left else None
        if left and right:
            return left, right


def _hand(person: Person, side: str, rng: np.random.Generator, stage: Stage) -> HandSample | None:
    ids = LEFT_HAND21 if side == "left" else RIGHT_HAND21
    attention = bool(rng.random() < 0.5)
    turned = rng.random() < 0.5
    for _ in range(4):  # until most of the hand can be seen
        spin = _random_rotation(rng) if turned else np.eye(3)
        near = rng.random() < 0.45
        target = _ray(rng) * (rng.uniform(0.35, 1.2) if near else rng.uniform(1.2, 6))
        shown = person.moved(spin, person.joints[ids[[0, 9]]].mean(0), target)
        view = attention_view(shown.joints, f"{side}_hand", rng) if attention else hand_view(shown.joints, side, rng)
        if _in_sight(shown, view, ids):
            break
        turned = True
    else:
        return None
    border = _border_through(shown.joints[ids], rng) if rng.random() < 0.08 else None
    image, depth, mask = _draw(shown, view, rng, stage, (HAND_PX, 0.16, border))
    wrist = view.to_view(shown.joints[ids[:1]])
    p3, p2 = view.to_view(shown.joints[ids]) - wrist, view.to_crop(shown.joints[ids])
    first = INDEX[f"{side}_index1"]
    rotation, fingers = view.T_view_photo @ shown.rotations[ids[0]], shown.pose[first : first + 15]
    if side == "left":
        image, p2, p3 = np.ascontiguousarray(image[:, ::-1]), p2 * [-1, 1], p3 * [-1, 1, 1]
        rotation, fingers = mirror_rotation(rotation), mirror_rotation(fingers)
    return HandSample(
        image, rotation, fingers, person.betas, p2, p3, point_visibility(shown, view, depth, mask, ids),
        fit_weak(p3, p2), float(wrist[0, 2]), view.half_side, side == "left", attention,
    )  # fmt: skip


def sample_face_crop(rng: np.random.Generator, stage: Stage) -> FaceSample:
    """One person whose head is turned less than 100 degrees from the camera, one face crop."""
    while True:
        person = sample_person(rng, stage, facing=True)
        near = rng.random() < 0.4
        distance = rng.uniform(0.4, 1.2) if near else rng.uniform(1.2, 6)
        person = person.moved(np.eye(3), person.joints[HEAD], _ray(rng) * distance)
        away = person.rotations[HEAD][:, 2] @ person.joints[HEAD] / float(np.linalg.norm(person.joints[HEAD]))
        if away > np.cos(np.radians(80)):
            continue
        attention = bool(rng.random() < 0.5)
        view = attention_view(person.joints, "head", rng) if attention else face_view(person.joints, rng)
        if _in_sight(person, view, IBUG68):
            break
    border = _border_through(person.joints[PARTS["head"]], rng) if rng.random() < 0.06 else None
    image, depth, mask = _draw(person, view, rng, stage, (FACE_PX, 0.14, border))
    origin = view.to_view(person.joints[HEAD : HEAD + 1])
    points = _in_view(person, view, stage)[1][IBUG68]
    points[:CONTOUR] = head_contour(stage.model, person, view) + origin
    p3, p2 = points - origin, view.project(points)
    jaw, left_eye = INDEX["jaw"], INDEX["left_eye_smplx"]
    return FaceSample(
        image, view.T_view_photo @ person.rotations[HEAD], person.pose[jaw], person.pose[left_eye : left_eye + 2],
        person.expression, person.betas, p2, p3, point_visibility(person, view, depth, mask, IBUG68),
        fit_weak(p3, p2), float(origin[0, 2]), view.half_side, attention,
    )  # fmt: skip


def head_contour(model: BodyModel, person: Person, view: View) -> Float[Array, "17 3"]:
    """Contour landmarks from the head joint (metres, view's frame) by the head's yaw: a face network knows no neck."""
    pose = zero_pose(1)
    pose[0, 0], pose[0, INDEX["jaw"]] = view.T_view_photo @ person.rotations[HEAD], person.pose[INDEX["jaw"]]
    points = keypoints(model, pose, person.betas[None], person.expression[None])[0].astype(float)
    return points[IBUG68[:CONTOUR]] - points[HEAD]


def _in_view(person: Person, view: View, stage: Stage) -> tuple[Float[Array, "55 3 3"], Float[Array, "144 3"]]:
    """Pose and keypoints (metres) in the view's frame; the face contour is the one of that frame."""
    pose = np.concatenate([(view.T_view_photo @ person.pose[0])[None], person.pose[1:]])
    points = keypoints(stage.model, pose[None], person.betas[None], person.expression[None])[0].astype(float)
    return pose, points - points[0] + view.to_view(person.joints[:1])


def label_names(kind: type) -> tuple[str, ...]:
    """Names of a sample type's labels: all its fields but the image."""
    return tuple(field.name for field in fields(kind) if field.name != "image")


def _ray(rng: np.random.Generator) -> Float[Array, "3"]:
    """A direction in the photo: mostly near the optical axis."""
    ray = np.array([*np.tan(np.clip(rng.normal(0, [0.22, 0.12]), -0.6, 0.6)), 1.0])
    return ray / float(np.linalg.norm(ray))


def _random_rotation(rng: np.random.Generator) -> Float[Array, "3 3"]:
    q = rng.normal(size=4)
    q /= float(np.linalg.norm(q))
    angle = 2 * np.arccos(np.clip(q[0], -1, 1))
    axis = q[1:] / max(float(np.linalg.norm(q[1:])), 1e-9)
    return rotvec_to_matrix(axis * angle)


def _photo_border(person: Person, rng: np.random.Generator) -> Float[Array, "3"]:
    """A border of the photo that cuts off the legs (mostly), a side or the head's top; border . ray > 0 outside."""
    plane = person.joints[:, :2] / person.joints[:, 2:]
    low, high = plane[:55].min(0), plane[:55].max(0)
    kind = rng.choice(["bottom", "left", "right", "top"], p=[0.62, 0.14, 0.14, 0.1])
    if kind == "bottom":
        return np.array([0, 1, -(low[1] + rng.uniform(0.33, 0.92) * (high[1] - low[1]))])
    if kind == "top":
        return np.array([0, -1, low[1] + rng.uniform(-0.02, 0.15) * (high[1] - low[1])])
    x = low[0] + rng.uniform(0.05, 0.38) * (high[0] - low[0])
    return np.array([-1, 0, x]) if kind == "left" else np.array([1, 0, x - low[0] - high[0]])


def _border_through(points: Array, rng: np.random.Generator) -> Float[Array, "3"]:
    """An upright or level photo border that cuts up to a third off the points."""
    plane = points[:, :2] / points[:, 2:]
    axis, sign = rng.integers(2), rng.choice([-1.0, 1.0])
    values = sign * plane[:, axis]
    cut = values.max() - rng.uniform(-0.1, 0.35) * np.ptp(values)
    border = np.array([0.0, 0.0, -cut])
    border[axis] = sign
    return border


def _in_sight(person: Person, view: View, ids: Array) -> bool:
    """Whether a quick look shows at least half of the keypoints that are in the picture, and enough of them are."""
    depth = depth_map(view.to_view(person.vertices), person.surface.faces, 1 / view.half_side, 64)
    seen = point_visibility(person, view, depth, np.zeros((64, 64), bool), ids)
    return bool((seen == VISIBLE).sum() >= max(0.5 * (seen != HIDDEN).sum(), 0.3 * len(ids)))


def _draw(
    person: Person, view: View, rng: np.random.Generator, stage: Stage, how: tuple[int, float, Array | None]
) -> tuple[UInt8[Array, "n n 3"], Float[Array, "n n"], Bool[Array, "n n"]]:
    """The final picture, the rendering's depth, the mask of what is hidden; ``how`` = size, largest thing, border."""
    size, largest, border = how
    background = sample_background(rng, stage.library, size)
    picture = render(view.to_view(person.vertices), person.surface, person.light, 1 / view.half_side, background)
    image, hidden = picture.image, np.zeros((size, size), bool)
    if rng.random() < 0.15:
        texture, hidden = sample_occluder(rng, stage.library, size, largest)
        image = np.where(hidden[..., None], texture, image)
    image = degrade(image, rng)
    if border is not None:
        beyond = outside_photo(view, size, border)
        image, hidden = np.where(beyond[..., None], np.uint8(0), image), hidden | beyond
    return image, picture.depth_m, hidden


def point_visibility(person: Person, view: View, depth_m: Array, hidden: Array, ids: Array) -> UInt8[Array, "n"]:
    """HIDDEN, OCCLUDED or VISIBLE for keypoints; a point is behind the body if the surface is nearer by its cover."""
    size = len(hidden)
    points = view.to_view(person.joints[ids])
    pixel = (view.to_crop(person.joints[ids]) + 1) * (size / 2)
    inside = ((pixel >= 0) & (pixel < size)).all(1)
    x, y = np.clip(pixel, 0, size - 1).astype(int).T
    shown = inside & ~hidden[y, x]
    behind = points[:, 2] > depth_m[y, x] + _COVER_M[ids]
    return np.where(shown, np.where(behind, OCCLUDED, VISIBLE), HIDDEN).astype(np.uint8)
