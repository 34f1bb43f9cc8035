"""The wardrobe: garments bound to the free body's skin, read once per process."""

import json
import zipfile
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from openexpose.body.keypoints import INDEX
from openexpose.body.model import BodyModel
from openexpose.errors import InputError
from openexpose.synth.binding import Binding, Nodes, fit_nodes, local_coordinates
from openexpose.synth.thing import MASK_PARTS

Array = np.ndarray

VERSION = 1
UNIT_M = 5e-5
"""Lengths in the file are whole numbers of this."""
SLOTS = ("shoes", "bottom", "full", "top", "hair", "hat", "glasses", "brows", "lashes")
"""What garments are for; clothes in the order in which they lie on each other unless tucked in."""
CLOTHES = SLOTS[:4]
CUTOUT_SLOTS = ("hair", "brows", "lashes")
_LOOSE_M = {"top": 0.05, "bottom": 0.05, "full": 0.05, "skirt": 0.09, "shoes": 0.03, "hair": 0.03, "hat": 0.03}
_CLEAR_M, _PRESSED_M = {"skirt": 0.012, "hat": 0.009, "hair": 0.002}, 0.002
_CLOTH_CLEAR_M = 0.004
_FREE_M = -9.0
_PART_JOINTS = {
    "torso": ("pelvis", "spine1", "spine2", "spine3", "neck", "left_collar", "right_collar"),
    "head": ("head", "jaw", "left_eye_smplx", "right_eye_smplx"),
    "upper arm": ("shoulder",), "forearm": ("elbow",), "hand": ("wrist",),
    "thigh": ("hip",), "shin": ("knee",), "foot": ("ankle", "foot"),
}  # fmt: skip


@dataclass(frozen=True)
class Garment:
    """One garment, bound to the body.

    Attributes:
        name: of the garment. slot: one of :data:`SLOTS`. tags: what it goes with. gloss: specular strength.
        faces: [f, 3]. corner_uv: [f, 3, 2], v down. parts: [f], see :data:`openexpose.synth.thing.MASK_PARTS`.
        binding: where its vertices are. below: [v] body face below each vertex.
        hidden: [h] body faces it covers for good. cover_m: [b] its height above each body vertex, 0 where it is not.
        textures: RGBA at two sizes (512 and 256 px at most), or None: any colour.
        under_hat: [v, k, 3] the binding's local coordinates when a hat presses hair to the scalp; else None.
    """

    name: str
    slot: str
    tags: tuple[str, ...]
    gloss: float
    faces: Int[Array, "f 3"]
    corner_uv: Float[Array, "f 3 2"]
    parts: UInt8[Array, "f"]
    binding: Binding
    below: Int[Array, "v"]
    hidden: Int[Array, "h"]
    cover_m: Float[Array, "b"]
    textures: tuple[UInt8[Array, "h w 4"], ...] | None
    under_hat: Float[Array, "v k 3"] | None


@dataclass(frozen=True)
class Wardrobe:
    """All garments of a body model.

    Attributes:
        garments: in the order of the file. nodes: what they follow. base: [v, 3] the body they were bound on, metres.
        body_faces: [f, 3]. body_parts: [f], see :func:`body_parts`.
    """

    garments: tuple[Garment, ...]
    nodes: Nodes
    base: Float[Array, "v 3"]
    body_faces: Int[Array, "f 3"]
    body_parts: UInt8[Array, "f"]

    @cached_property
    def slots(self) -> dict[str, tuple[int, ...]]:
        """Numbers of the garments of each slot."""
        return {slot: tuple(k for k, g in enumerate(self.garments) if g.slot == slot) for slot in SLOTS}

    def number(self, name: str) -> int:
        """Number of a garment.

        Raises:
            InputError: there is none of this name.
        """
        for k, garment in enumerate(self.garments):
            if garment.name == name:
                return k
        names = ", ".join(garment.name for garment in self.garments)
        raise InputError(f"a garment {name!r}", f"one of {names}")


def body_parts(model: BodyModel) -> UInt8[Array, "f"]:
    """Part of the body of each face, an index of :data:`openexpose.synth.thing.MASK_PARTS`, by the skinning weights."""
    part_of_joint = np.zeros(model.weights.shape[1], np.uint8)
    for joint in range(25, 40):
        part_of_joint[joint], part_of_joint[joint + 15] = MASK_PARTS.index("left hand"), MASK_PARTS.index("right hand")
    for name, joints in _PART_JOINTS.items():
        if name in ("torso", "head"):
            part_of_joint[[INDEX[joint] for joint in joints]] = MASK_PARTS.index(name)
            continue
        for side in ("left", "right"):
            part_of_joint[[INDEX[f"{side}_{joint}"] for joint in joints]] = MASK_PARTS.index(f"{side} {name}")
    share = np.zeros((len(model.weights), len(MASK_PARTS)), np.float32)
    for part in range(1, len(MASK_PARTS)):
        share[:, part] = model.weights[:, part_of_joint == part].sum(1)
    return share[model.faces].sum(1).argmax(1).astype(np.uint8)


def read_wardrobe(folder: Path, model: BodyModel) -> Wardrobe:
    """Read a baked wardrobe: ``garments.npz``, ``index.json`` and the textures of a folder.

    Raises:
        InputError: a file is missing or broken, or the model is not the body the garments were baked for.
    """
    expected = "a wardrobe written by 'openexpose assets bake-wardrobe'"
    try:
        entries = json.loads((folder / "index.json").read_text("utf-8"))["garments"]
        with np.load(folder / "garments.npz", allow_pickle=False) as npz:
            arrays = {name: npz[name] for name in npz.files}
        base, starts = arrays["base"].astype(np.float32) * np.float32(UNIT_M), arrays["node_starts"].astype(int)
        if int(arrays["version"]) != VERSION:
            raise InputError(f"{folder} of version {int(arrays['version'])}", f"version {VERSION}", "Bake it anew.")
        if len(base) != len(model.v_template):
            raise InputError(
                f"a wardrobe for {len(base)} vertices, a body model of {len(model.v_template)}", "the free body"
            )
        nodes = fit_nodes(base, starts, arrays["node_vertices"].astype(int), arrays["flat"])
        reader = _Reader(folder, arrays, base, nodes.frames(base), model.faces, body_parts(model))
        garments = tuple(reader.garment(k, entry) for k, entry in enumerate(entries))
    except (OSError, EOFError, KeyError, IndexError, TypeError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{folder} that cannot be read ({error})", expected) from None
    return Wardrobe(garments, nodes, base, model.faces, reader.parts)


@dataclass(frozen=True)
class _Reader:
    folder: Path
    arrays: dict[str, Array]
    base: Float[Array, "v 3"]
    frames: Float[Array, "n 4 3"]
    body_faces: Int[Array, "f 3"]
    parts: UInt8[Array, "f"]

    def column(self, name: str, k: int) -> Array:
        starts = self.arrays[f"{name}_starts"]
        return self.arrays[name][int(starts[k]) : int(starts[k + 1])]

    def garment(self, k: int, entry: dict) -> Garment:
        points = self.column("points", k).astype(np.float32) * np.float32(UNIT_M)
        nodes, below = self.column("nodes", k).astype(np.int32), self.column("faces", k).astype(int)
        uv = self.column("uv", k).astype(np.float32)
        uv[:, 1] = 1 - uv[:, 1]
        faces, uv_faces = _triangles(self.column("quads", k), self.column("uv_quads", k))
        bary = self.column("barycentric", k).astype(np.float32) / 255
        bary = np.concatenate([bary, 1 - bary.sum(1, keepdims=True)], 1)
        corners = np.ascontiguousarray(self.body_faces[below], np.int32)
        slot = entry["slot"]
        binding = Binding(
            nodes,
            self.column("weights", k).astype(np.float32) / 255,
            local_coordinates(points, self.frames, nodes),
            corners,
            bary,
            self._clearance(points, corners, bary, "skirt" if "skirt" in entry["tags"] else slot),
        )
        cover = np.zeros(len(self.base), np.float32)
        cover[self.column("cover_vertices", k)] = self.column("cover_height", k).astype(np.float32) * np.float32(UNIT_M)
        part = self.parts[below] if slot in CLOTHES else np.full(len(below), MASK_PARTS.index("head"), np.uint8)
        pressed = None
        if slot == "hair":
            pressed = local_coordinates(self._pressed(points, corners, bary), self.frames, nodes)
        return Garment(
            entry["name"],
            slot,
            tuple(entry["tags"]),
            float(entry["gloss"]),
            faces,
            np.ascontiguousarray(uv[uv_faces]),
            np.sort(part[faces], 1)[:, 1],
            binding,
            below,
            self.column("hidden", k).astype(int),
            cover,
            _textures(self.folder, entry["texture"]) if entry["texture"] else None,
            pressed,
        )

    def _pressed(self, points: Array, corners: Array, bary: Array) -> Float[Array, "v 3"]:
        """Points above the rim of a hat, brought down to the scalp."""
        plane = self.arrays["hat_plane"]
        share = np.clip((points @ plane[:3] - plane[3] + 0.012) / 0.02, 0, 1)[:, None]
        feet = np.einsum("vc,vci->vi", bary, self.base[corners])
        offset = points - feet
        length = np.linalg.norm(offset, axis=1, keepdims=True)
        flat = feet + offset * np.minimum(1, _PRESSED_M / (length + 1e-9))
        return points + share * (flat - points)

    def _clearance(self, points: Array, corners: Array, bary: Array, slot: str) -> Float[Array, "v"]:
        """What the vertex has at rest, at most a few millimetres; none where it hangs loose."""
        if slot not in _LOOSE_M:
            return np.full(len(points), _FREE_M, np.float32)
        a, b, c = (self.base[corners[:, k]] for k in range(3))
        normal = np.cross(b - a, c - a)
        normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-12
        height = ((points - np.einsum("vc,vci->vi", bary, self.base[corners])) * normal).sum(1)
        least = np.minimum(height, _CLEAR_M.get(slot, _CLOTH_CLEAR_M))
        return np.where(height > _LOOSE_M[slot], _FREE_M, least).astype(np.float32)


def _triangles(quads: Array, uv_quads: Array) -> tuple[Int[Array, "f 3"], Int[Array, "f 3"]]:
    """Two triangles a quad, without those that have no area."""
    halves = np.array([[0, 1, 2], [0, 2, 3]])
    faces, uv_faces = (x.astype(np.int32)[:, halves].reshape(-1, 3) for x in (quads, uv_quads))
    good = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 0] != faces[:, 2])
    return np.ascontiguousarray(faces[good]), uv_faces[good]


def _textures(folder: Path, name: str) -> tuple[UInt8[Array, "h w 4"], ...]:
    paths = folder / f"{name}.jpg", folder / f"{name}.png"
    colour = cv2.imread(str(paths[0]), cv2.IMREAD_COLOR) if paths[0].is_file() else None
    if colour is None:
        raise InputError(f"{folder} without a readable {name}.jpg", "the textures that index.json names")
    alpha = cv2.imread(str(paths[1]), cv2.IMREAD_GRAYSCALE) if paths[1].is_file() else None
    if alpha is None:
        alpha = np.full(colour.shape[:2], 255, np.uint8)
    full = np.ascontiguousarray(np.dstack([np.asarray(colour)[..., ::-1], alpha]))
    half = max(1, full.shape[1] // 2), max(1, full.shape[0] // 2)
    return full, np.asarray(cv2.resize(full, half, interpolation=cv2.INTER_AREA))
