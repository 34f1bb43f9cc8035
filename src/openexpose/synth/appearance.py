"""How a person looks: skin, eyes, hair and clothes as covering fields over the template, found by geometry."""

from collections.abc import Collection
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from openexpose.body.keypoints import INDEX
from openexpose.body.model import BodyModel
from openexpose.errors import InputError
from openexpose.synth.library import Library
from openexpose.synth.raster import EYE, MOUTH, SKIN, Surface
from openexpose.synth.thing import MASK_PARTS

Array = np.ndarray

LAYERS = ("gloves", "shoes", "hair", "brows", "upper", "lower")
"""Layers in the order in which they cover each other."""
_HEAD_JOINTS = ("head", "jaw", "left_eye_smplx", "right_eye_smplx")
_LIMB_JOINTS = {
    "shoulder": "upper arm", "elbow": "forearm", "wrist": "hand", "hip": "thigh", "knee": "shin", "ankle": "foot",
    "foot": "foot",
}  # fmt: skip
_TILE = 128
_IRIS_RAD = np.radians(30.0)
_IRIS_IN_TILE = 0.21  # radius of the iris in a one-eye texture, in units of its side


@dataclass(frozen=True)
class Template:
    """What clothing needs to know about a body model: made once per process by :func:`read_template`.

    Attributes:
        rest: [v, 3] template vertices. faces: [f, 3]. label: [v] the joint that moves each vertex most.
        kinds: [f]. corner_uv: [f, 3, 2], v down. joints: [55, 3] rest joints.
        brow_distance_m: [v] distance to the arcs through the brow landmarks.
        parts: [f] part of the body that each face belongs to, an index of :data:`openexpose.synth.thing.MASK_PARTS`.
    """

    rest: Float[Array, "v 3"]
    faces: Int[Array, "f 3"]
    label: Int[Array, "v"]
    kinds: UInt8[Array, "f"]
    corner_uv: Float[Array, "f 3 2"]
    joints: Float[Array, "55 3"]
    brow_distance_m: Float[Array, "v"]
    parts: UInt8[Array, "f"]


@dataclass(frozen=True)
class Look:
    """A dressed surface, and how far [v] it stands off the skin (metres, along the normal)."""

    surface: Surface
    offset_m: Float[Array, "v"]


def read_template(model: BodyModel) -> Template:
    """Find eyes and mouth parts by connectivity, and unwrap the eyes so that the pupil is at uv (0.5, 0.5).

    Raises:
        InputError: the body model has no texture coordinates.
    """
    if model.uv is None or model.uv_faces is None:
        raise InputError(f"body model {model.name!r} without texture coordinates", "the keys 'vt' and 'ft'")
    faces, rest = model.faces.astype(np.int32), model.v_template.astype(np.float32)
    label = model.weights.argmax(1)
    ends = faces[:, [0, 1]].ravel(), faces[:, [1, 2]].ravel()
    edges = coo_matrix((np.ones(len(ends[0])), ends), (len(rest),) * 2)
    _, part = connected_components(edges, directed=False)
    main = np.bincount(part).argmax()
    uv = model.uv[model.uv_faces].astype(np.float32)
    uv[..., 1] = 1 - uv[..., 1]
    eye_joints = INDEX["left_eye_smplx"], INDEX["right_eye_smplx"]
    kinds = np.full(len(faces), SKIN, np.uint8)
    for component in range(part.max() + 1):
        vertices = part == component
        if component == main:
            continue
        inside = vertices[faces[:, 0]]
        joint = np.bincount(label[vertices]).argmax()
        kinds[inside] = EYE if joint in eye_joints else MOUTH
        if joint in eye_joints:
            uv[inside] = _eye_uv(rest, faces[inside], vertices)
    inner = (rest[model.landmark_vertices] * model.landmark_barycentric[..., None]).sum(1)
    distance = np.min([_distance_to_arc(rest, brow) for brow in (inner[:5], inner[5:10])], 0)
    joints, parts = model.joint_template.astype(np.float32), _part_of_joint()[label[faces[:, 0]]]
    return Template(rest, faces, label, kinds, uv, joints, distance.astype(np.float32), parts)


def _part_of_joint() -> UInt8[Array, "55"]:
    """The part of a mask that moves with each joint."""
    parts = np.full(55, MASK_PARTS.index("torso"), np.uint8)
    parts[[INDEX[name] for name in _HEAD_JOINTS]] = MASK_PARTS.index("head")
    for first, side in ((25, "left"), (40, "right")):
        parts[first : first + 15] = MASK_PARTS.index(f"{side} hand")
        for name, part in _LIMB_JOINTS.items():
            parts[INDEX[f"{side}_{name}"]] = MASK_PARTS.index(f"{side} {part}")
    return parts


def _distance_to_arc(points: Array, arc: Float[Array, "n 3"]) -> Float[Array, "v"]:
    nearest = np.full(len(points), np.inf)
    for a, b in pairwise(arc):
        t = np.clip((points - a) @ (b - a) / ((b - a) @ (b - a)), 0, 1)
        nearest = np.minimum(nearest, np.linalg.norm(points - a - t[:, None] * (b - a), axis=1))
    return nearest


def _eye_uv(rest: Array, faces: Array, vertices: Array) -> Array:
    ball = rest[vertices]
    centre = (ball.min(0) + ball.max(0)) / 2
    d = rest[faces] - centre
    d /= np.linalg.norm(d, axis=-1, keepdims=True) + 1e-9
    angle = np.arccos(np.clip(d[..., 2:], -1, 1))
    across = d[..., :2] / (np.linalg.norm(d[..., :2], axis=-1, keepdims=True) + 1e-9) * [1, -1]
    return (0.5 + across * angle * (_IRIS_IN_TILE / _IRIS_RAD)).astype(np.float32)


def smooth_noise(points: Float[Array, "v 3"], rng: np.random.Generator, frequency: float) -> Float[Array, "v"]:
    """Band-limited noise over space, about in [-1, 1]; frequency in radians a metre."""
    waves, phases = rng.normal(0, frequency, (3, 6)), rng.uniform(0, 6.3, 6)
    return np.sin(points @ waves.astype(np.float32) + phases.astype(np.float32)).mean(1) * 1.6


def sample_look(
    rng: np.random.Generator, template: Template, library: Library, mip: int, *, bare: Collection[str] | None = None
) -> Look:
    """Paint clothes onto a person.

    Args:
        mip: picks the skin texture: 0 = 1024 px (close-ups), 1 = 512, 2 = 256 (whole bodies).
        bare: layers of :data:`LAYERS` that are not painted, because geometry is worn there. None: paint all, with the
            random numbers of the frozen test set, of which other values use fewer.
    """
    fields = np.full((len(template.rest), len(LAYERS)), -1.0, np.float32)
    heights, painted = np.zeros(len(LAYERS)), np.ones(len(LAYERS), bool)
    drawn = {
        "gloves": (rng.random() < 0.06, _gloves, 0.002),
        "shoes": (rng.random() < 0.88, _shoes, 0.006),
        "hair": (rng.random() < 0.9, _hair, rng.uniform(0.006, 0.035)),
        "brows": (rng.random() < 0.93, _brows, 0.0008),
        "upper": (rng.random() < 0.97, _upper, rng.uniform(0.003, 0.02)),
        "lower": (rng.random() < 0.985, _lower, rng.uniform(0.003, 0.018)),
    }
    for k, name in enumerate(LAYERS):
        worn, field, heights[k] = drawn[name]
        painted[k] = bare is None or (worn and name not in bare)
        if worn and painted[k]:
            fields[:, k] = field(rng, template)
    offset = np.zeros(len(fields), np.float32)
    for k, height in enumerate(heights):
        if not painted[k]:
            continue
        rise = np.clip(fields[:, k] / 0.02, 0, 1)
        wrinkle = 1 + 0.45 * smooth_noise(template.rest, rng, rng.uniform(12, 30))
        offset = np.maximum(offset, rise * height * wrinkle)
    kind = library.skins[rng.integers(len(library.skins))][mip]
    gain = (rng.uniform(0.75, 1.2) * (1 + rng.normal(0, 0.025, 3))).astype(np.float32)
    blank = np.zeros((_TILE, _TILE, 3), np.uint8)
    tiles = np.stack([_tile(rng, library, name) if painted[k] else blank for k, name in enumerate(LAYERS)])
    if rng.random() < 0.8 and painted[LAYERS.index("hair")]:  # brows usually match the hair
        tiles[LAYERS.index("brows")] = tiles[LAYERS.index("hair")] * np.float32(rng.uniform(0.6, 1))
    gloss = np.array([0.02, 0.08, 0.05, 0.0, 0.01, 0.01, rng.uniform(0, 0.06), 0.5, 0.1], np.float32)
    scale = np.array([8, 6, 16, 24, rng.uniform(2, 9), rng.uniform(2, 9)], np.float32)
    eye = library.eyes[rng.integers(len(library.eyes))]
    surface = Surface(template.faces, template.kinds, template.corner_uv, kind, eye, gain, fields, tiles, scale, gloss)
    return Look(surface, offset)


def _gloves(rng: np.random.Generator, template: Template) -> Array:
    wrist = template.joints[INDEX["left_wrist"], 0]
    return np.abs(template.rest[:, 0]) - wrist + rng.uniform(-0.03, 0.08)


def _shoes(rng: np.random.Generator, template: Template) -> Array:
    ankle = template.joints[INDEX["left_ankle"], 1]
    return ankle + rng.choice([-0.02, 0.02, 0.08, 0.2], p=[0.35, 0.35, 0.2, 0.1]) - template.rest[:, 1]


def _head_mask(template: Template) -> Array:
    return np.isin(template.label, [INDEX[n] for n in _HEAD_JOINTS])


def _hair(rng: np.random.Generator, template: Template) -> Array:
    """Scalp above a hairline in front, down to a random height behind; long hair also covers the neck."""
    p, eyes = template.rest, template.joints[[INDEX["left_eye_smplx"], INDEX["right_eye_smplx"]]].mean(0)
    ears_z = eyes[2] - 0.085
    front = p[:, 1] - (eyes[1] + rng.uniform(0.05, 0.075)) + 0.35 * np.minimum(0, p[:, 2] - eyes[2] + 0.03)
    low = rng.choice([0.03, -0.03, -0.1, -0.22], p=[0.3, 0.35, 0.2, 0.15])
    back = np.minimum(ears_z - p[:, 2] + rng.uniform(-0.01, 0.02), p[:, 1] - (eyes[1] + low))
    field = np.maximum(front, back) + 0.008 * smooth_noise(p, rng, 60)
    near = _head_mask(template) | ((template.label == INDEX["neck"]) & (low < -0.05))
    return np.where(near, field, -1)


def _brows(rng: np.random.Generator, template: Template) -> Array:
    return np.maximum(rng.uniform(0.002, 0.0065) - template.brow_distance_m, -1)


def _upper(rng: np.random.Generator, template: Template) -> Array:
    """A shirt: sleeve end, hem and neckline are random; open at the head."""
    p, joints = template.rest, template.joints
    shoulder, elbow, wrist = (joints[INDEX[f"left_{n}"], 0] for n in ("shoulder", "elbow", "wrist"))
    style = rng.choice(4, p=[0.12, 0.36, 0.12, 0.4])
    sleeve = [
        shoulder - rng.uniform(0, 0.03),
        rng.uniform(shoulder + 0.06, elbow),
        elbow + 0.1,
        wrist - rng.uniform(-0.02, 0.04),
    ][style]
    hem = joints[INDEX["left_hip"], 1] + rng.uniform(-0.14, 0.12)
    neck = joints[INDEX["neck"]] + np.array([0, -0.02, rng.uniform(0.0, 0.06)], np.float32)
    collar = np.linalg.norm((p - neck) * [1, rng.uniform(0.6, 1.1), 1], axis=1) - rng.uniform(0.075, 0.15)
    if rng.random() < 0.25:  # a high collar
        collar = neck[1] + rng.uniform(0.0, 0.06) - p[:, 1]
    field = np.minimum(np.minimum(sleeve - np.abs(p[:, 0]), p[:, 1] - hem), collar)
    return np.where(_head_mask(template), -1, field)


def _lower(rng: np.random.Generator, template: Template) -> Array:
    p, joints = template.rest, template.joints
    hip, knee, ankle = (joints[INDEX[f"left_{n}"], 1] for n in ("hip", "knee", "ankle"))
    style = rng.choice(3, p=[0.12, 0.23, 0.65])
    end = [hip - 0.14, rng.uniform(knee - 0.1, knee + 0.12), ankle + rng.uniform(-0.02, 0.06)][style]
    waist = joints[INDEX["spine1"], 1] + rng.uniform(-0.03, 0.08)
    return np.minimum(np.minimum(waist - p[:, 1], p[:, 1] - end), 0.4 * (p[:, 1] < 1))


def _colour(rng: np.random.Generator) -> Float[Array, "3"]:
    hsv = rng.integers(180), 255 * rng.beta(1.1, 1.8), 255 * rng.uniform(0.08, 1)
    return cv2.cvtColor(np.array(hsv, np.uint8).reshape(1, 1, 3), cv2.COLOR_HSV2RGB)[0, 0].astype(np.float32)


_HAIR_COLOURS = np.array(
    [[25, 20, 18], [60, 40, 28], [105, 72, 45], [180, 145, 95], [140, 138, 135], [115, 52, 28]], np.float32
)


def _tile(rng: np.random.Generator, library: Library, layer: str) -> UInt8[Array, "t t 3"]:
    """A repeating texture: plain, stripes, checks, blotches, weave, or a piece of a cloth or other picture."""
    n = _TILE
    if layer in ("hair", "brows"):
        strands = cv2.GaussianBlur(
            rng.normal(0, 1, (n, n)).astype(np.float32), (0, 0), sigmaX=0.8, sigmaY=6, borderType=cv2.BORDER_REFLECT
        )
        strands = 1 + 0.3 * strands / strands.std()
        base = _HAIR_COLOURS[rng.integers(len(_HAIR_COLOURS))] * rng.uniform(0.6, 1.2)
        return np.clip(base * strands[..., None], 0, 255).astype(np.uint8)
    a, b = _colour(rng), _colour(rng)
    style = rng.choice(["plain", "stripes", "checks", "blotches", "picture"], p=[0.42, 0.14, 0.1, 0.1, 0.24])
    y, x = np.mgrid[:n, :n] * (2 * np.pi / n)
    k = rng.integers(1, 6)
    if style == "picture":
        source = library.cloth if rng.random() < 0.7 else library.backgrounds
        return _piece(rng, source[rng.integers(len(source))], n)
    mix = np.zeros((n, n), np.float32)
    if style == "stripes":
        mix = (np.sin(k * (x if rng.random() < 0.5 else y)) > rng.uniform(-0.7, 0.7)).astype(np.float32)
    elif style == "checks":
        mix = (0.5 * (np.sin(k * x) > 0) + 0.5 * (np.sin(k * y) > 0)).astype(np.float32)
    elif style == "blotches":
        smooth = cv2.resize(rng.random((8, 8)).astype(np.float32), (n, n), interpolation=cv2.INTER_CUBIC)
        mix = (np.asarray(smooth) > 0.55).astype(np.float32)
    weave = 1 + rng.uniform(0, 0.08) * rng.normal(size=(n, n, 1))
    return np.clip((a + (b - a) * mix[..., None]) * weave, 0, 255).astype(np.uint8)


def _piece(rng: np.random.Generator, picture: Array, size: int) -> Array:
    """A random piece of a picture, mirrored to tile without seams."""
    height, width = picture.shape[:2]
    side = int(rng.uniform(0.15, 0.5) * min(height, width))
    y, x = rng.integers(height - side), rng.integers(width - side)
    piece = cv2.resize(picture[y : y + side, x : x + side], (size // 2, size // 2), interpolation=cv2.INTER_AREA)
    half = np.concatenate([piece, piece[:, ::-1]], 1)
    return np.ascontiguousarray(np.concatenate([half, half[::-1]], 0))
