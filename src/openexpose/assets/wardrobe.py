"""Bake the wardrobe of the renderer: MakeHuman's CC0 clothes and hair on the free body's skin, and a few of our own."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int

from openexpose.assets import rebind
from openexpose.assets.accessories import glasses, hat, hat_plane
from openexpose.assets.mhclo import ObjMesh, components, cut, part_of, read_fit, read_material, read_obj, refined
from openexpose.assets.rebind import BaseBody, Bound, read_base_body
from openexpose.body.model import load_body_model
from openexpose.errors import InputError
from openexpose.formats.atomic import check_writable, write_whole
from openexpose.synth.garments import UNIT_M, VERSION

Array = np.ndarray

_DECIMETRE = 0.1
_SIDE_PX, _SMALL_PX = 512, 256
_CLEAR_M = {"top": 0.006, "bottom": 0.006, "full": 0.006, "shoes": 0.003}
_HIDE_M, _HAT_M = 0.05, 0.01
_ALPHA = {"brows": 1.7}  # cut out at one half: hairs that are half there stay
_TEE = ((0.70, 0.14, 0.88, 0.32),)
_BLANK = {
    "female_casualsuit01_diffuse": _TEE,
    "female_casualsuit02_diffuse": _TEE,
    "male_casualsuit02_diffuse": ((0.48, 0.095, 0.64, 0.245),),
    "male_casualsuit04_diffuse": ((0.48, 0.09, 0.64, 0.24),),
    "male_casualsuit06_diffuse": ((0.18, 0.1, 0.31, 0.18), (0.44, 0.105, 0.64, 0.22), (0.72, 0.145, 0.76, 0.19)),
}
"""Where textures show a logo, which every shirt would have: boxes x, y, x, y as shares of the picture."""
_MAKEHUMAN = "MakeHuman assets ({}), CC0-1.0"
_OWN = "made by openexpose"


@dataclass(frozen=True)
class Source:
    """A garment to bake.

    Attributes:
        name: of the garment. slot: see :data:`openexpose.synth.garments.SLOTS`. path: mhclo file below the geometry.
        pieces: which connected components, by size; empty: all. keep: of the vertices on the base mesh (metres) and
            the number of their piece; where it is negative is cut away. gloss: specular strength. tags: what it
            goes with.
    """

    name: str
    slot: str
    path: str
    pieces: tuple[int, ...] = ()
    keep: Callable[[Float[Array, "v 3"], Int[Array, "v"]], Float[Array, "v"]] | None = None
    gloss: float = 0.01
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Baked:
    """A garment on the base body, ready to be written."""

    name: str
    slot: str
    mesh: ObjMesh
    bound: Bound
    hidden: Array
    cover: Float[Array, "b"]
    entry: dict[str, Any]


def _suit(name: str) -> str:
    return f"clothes/{name}/{name}.mhclo"


def _front_below_collar(points: Float[Array, "v 3"], piece: Int[Array, "v"]) -> Float[Array, "v"]:
    """All of the first piece; of what is worn under it only what its opening shows."""
    return np.where(piece == 0, 1.0, points[:, 2] - 0.02 + 10 * np.maximum(points[:, 1] - 0.45, 0))


def _above(height_m: float) -> Callable[[Array, Array], Array]:
    """Legs that end at a height, square to the legs of the base mesh."""
    return lambda points, _: points[:, 1] - height_m + 0.12 * np.abs(points[:, 0])


SOURCES = (
    Source("tee-a", "top", _suit("female_casualsuit01"), (0,)),
    Source("tee-b", "top", _suit("female_casualsuit02"), (1,)),
    Source("blouse", "top", _suit("female_elegantsuit01"), (0,), tags=("tucked",)),
    Source("crop-top", "top", _suit("female_sportsuit01"), (0,)),
    Source("long-sleeve", "top", _suit("male_casualsuit02"), (0,)),
    Source("shirt", "top", _suit("male_casualsuit03"), (0,)),
    Source("tee-c", "top", _suit("male_casualsuit04"), (1,)),
    Source("vest", "top", _suit("male_casualsuit04"), (1,), lambda p, _: 0.31 - np.abs(p[:, 0]) - 0.25 * p[:, 1]),
    Source("parka", "top", _suit("male_casualsuit05"), (0, 2, 3), _front_below_collar),
    Source("polo", "top", _suit("male_casualsuit06"), (0,)),
    Source("jacket", "top", _suit("male_elegantsuit01"), (0,), tags=("formal",)),
    Source("jeans-a", "bottom", _suit("female_casualsuit01"), (1,)),
    Source("hot-pants", "bottom", _suit("female_casualsuit02"), (0, 2)),
    Source("skirt", "bottom", _suit("female_elegantsuit01"), (1,), tags=("skirt",)),
    Source("leggings", "bottom", _suit("female_sportsuit01"), (1,), gloss=0.04),
    Source("capri", "bottom", _suit("female_sportsuit01"), (1,), _above(-0.5), gloss=0.04),
    Source("jeans-b", "bottom", _suit("male_casualsuit02"), (1,)),
    Source("shorts", "bottom", _suit("male_casualsuit02"), (1,), _above(-0.3)),
    Source("trousers", "bottom", _suit("male_elegantsuit01"), (1,), tags=("formal",)),
    Source("overall", "full", _suit("male_casualsuit01")),
    Source("dungarees", "full", _suit("male_worksuit01")),
    *(Source(f"shoes-{k}", "shoes", _suit(f"shoes0{k}"), gloss=0.08) for k in range(1, 7)),
    *(
        Source(name, "hair", f"hair/{name}/{name}.mhclo", gloss=0.06, tags=tags)
        for name, tags in (
            ("afro01", ("big",)), ("bob01", ("fringe",)), ("bob02", ("fringe",)), ("braid01", ()), ("long01", ()),
            ("ponytail01", ()), ("short01", ()), ("short02", ()), ("short03", ("fringe",)), ("short04", ()),
        )
    ),
    Source("fedora", "hat", "clothes/fedora01/fedora.mhclo"),
    Source("fedora-cocked", "hat", "clothes/fedora01/fedora_cocked.mhclo"),
    *(Source(f"brows-{k}", "brows", f"eyebrows/eyebrow{k:03d}/eyebrow{k:03d}.mhclo", gloss=0) for k in range(1, 13)),
    *(Source(f"lashes-{k}", "lashes", f"eyelashes/eyelashes0{k}/eyelashes0{k}.mhclo", gloss=0) for k in range(1, 5)),
)  # fmt: skip
"""What is baked of MakeHuman's assets."""


def bake_wardrobe(source: Path, base_mesh: Path, out: Path) -> None:
    """Bake all garments: ``garments.npz``, ``index.json`` and textures appear in ``out``.

    Args:
        source: folder with ``geometry/clothes/...`` and so on, and the textures in ``clothes/...``.
        base_mesh: MakeHuman's ``base.obj`` (hm08, 19,158 vertices, decimetres).

    Raises:
        InputError: something is missing or is no such file.
    """
    check_writable(out)
    base = read_obj(base_mesh).vertices
    body = _base_body(base * _DECIMETRE)
    garments = [bake_garment(item, source, base, body, out) for item in SOURCES]
    garments += own_garments(body)
    write_wardrobe(body, garments, out)


def _base_body(base: Float[Array, "b 3"]) -> BaseBody:
    with (files("openexpose.body") / "data" / "freebody_parts.npz").open("rb") as file:
        parts = dict(np.load(file, allow_pickle=False))
    return read_base_body(load_body_model(), base, parts)


def bake_garment(item: Source, source: Path, base: Float[Array, "b 3"], body: BaseBody, out: Path) -> Baked:
    """One garment of MakeHuman's, and its textures written into ``out``.

    Args: see :func:`bake_wardrobe`; base in decimetres.

    Raises:
        InputError: a file is missing, or the mesh does not have as many vertices as its fit.
    """
    path = source / "geometry" / item.path
    fit = read_fit(path)
    mesh = read_obj(path.parent / fit.obj_file)
    if len(mesh.vertices) != len(fit.corners):
        raise InputError(
            f"{path} with {len(fit.corners)} vertices, {fit.obj_file} with {len(mesh.vertices)}", "equally many"
        )
    placed = fit.place(base)
    keep = np.isin(components(mesh), item.pieces) if item.pieces else np.ones(len(placed), bool)
    mesh = part_of(replace(mesh, vertices=placed * _DECIMETRE), keep)
    if item.keep is not None:
        mesh = cut(mesh, item.keep(mesh.vertices, components(mesh)))
    if "skirt" in item.tags:
        mesh = refined(mesh)
    bound = bind(item, mesh, body)
    cover, hidden = covered(item, replace(mesh, vertices=bound.points), body)
    material = path.parent / fit.material
    image = material.parent.relative_to(source / "geometry") / read_material(material).get("diffuseTexture", "")
    entry = {
        "texture": _write_texture(source / image, item.slot, out),
        "gloss": item.gloss,
        "tags": list(item.tags),
        "origin": _MAKEHUMAN.format(path.relative_to(source / "geometry").as_posix()),
    }
    return Baked(item.name, item.slot, mesh, bound, hidden, cover, entry)


def bind(item: Source, mesh: ObjMesh, body: BaseBody) -> Bound:
    """Bind a garment in the way of its slot: cloth to skin, shoes to feet, hair, hats and glasses to the skull."""
    slot, points, quads = item.slot, mesh.vertices, mesh.quads
    head = body.labelled("head", "jaw", "neck") & body.outer
    if slot in ("brows", "lashes"):
        return rebind.bind_skin(body, points, quads, body.outer & body.labelled("head", "jaw"), fine=True)
    if slot in ("hat", "glasses"):
        node = "skull" if slot == "hat" else "glasses"
        if slot == "hat":
            points = rebind.lift_out(body, points, quads, head, _HAT_M)
        return rebind.bind_volumes(body, points, quads, head, {node: np.ones(len(points))}, 0)
    if slot == "hair":
        chin = body.vertices[body.labelled("jaw") & body.outer, 1].min()
        low = 0.9 * np.clip((chin + 0.01 - points[:, 1]) / 0.14, 0, 1)
        allowed = body.outer & body.labelled("head", "jaw", "neck", "spine3", "left_collar", "right_collar")
        return rebind.bind_volumes(body, points, quads, allowed, {"skull": 1 - low, "chest": low}, 2)
    allowed = _wearable(body)
    if slot == "shoes":
        allowed &= body.labelled(
            *(f"{side}_{limb}" for side in ("left", "right") for limb in ("knee", "ankle", "foot"))
        )
    points = rebind.lift_out(body, points, quads, allowed, _CLEAR_M[slot])
    if slot == "shoes":
        return rebind.bind_volumes(body, points, quads, allowed, rebind.foot_shares(body, points, allowed))
    if "skirt" in item.tags:
        return rebind.bind_volumes(body, points, quads, allowed, rebind.skirt_shares(points))
    return rebind.bind_skin(body, points, quads, allowed)


def _wearable(body: BaseBody) -> Bool[Array, "b"]:
    """The skin clothes lie on: neither head nor hands."""
    away = ["head", "jaw", "left_wrist", "right_wrist"]
    return body.outer & ~body.labelled(*away) & (body.label < 25)


def covered(item: Source, mesh: ObjMesh, body: BaseBody) -> tuple[Float[Array, "b"], Array]:
    """Height of the garment above each vertex of the skin (NaN: not covered), and body faces that are not drawn."""
    none = np.full(len(body.vertices), np.nan), np.empty(0, int)
    if item.slot not in _CLEAR_M:
        return none
    allowed = _wearable(body)
    if item.slot == "shoes":
        allowed &= body.labelled(
            *(f"{side}_{limb}" for side in ("left", "right") for limb in ("knee", "ankle", "foot"))
        )
    reach = 1.6 * _HIDE_M if "skirt" in item.tags else _HIDE_M
    height = rebind.cover(body, mesh.vertices, rebind.split(mesh.quads), allowed, reach)
    inside = body.rings(~np.isnan(height), 1)
    return height, np.flatnonzero(inside[body.faces].all(1))


def own_garments(body: BaseBody) -> list[Baked]:
    """Glasses, cap and beanie."""
    made = {
        "glasses-square": ("glasses", glasses(body, roundness=3.4, size=1.0, lenses=False), 0.3),
        "glasses-round": ("glasses", glasses(body, roundness=2.0, size=0.95, lenses=False), 0.3),
        "sunglasses": ("glasses", glasses(body, roundness=2.8, size=1.08, lenses=True), 0.6),
        "cap": ("hat", hat(body, visor_m=0.07, fold=False), 0.01),
        "beanie": ("hat", hat(body, visor_m=0.0, fold=True), 0.0),
    }
    out = []
    for name, (slot, mesh, gloss) in made.items():
        entry: dict[str, Any] = {"texture": None, "gloss": gloss, "tags": [], "origin": _OWN}
        empty = np.full(len(body.vertices), np.nan), np.empty(0, int)
        out.append(Baked(name, slot, mesh, bind(Source(name, slot, ""), mesh, body), empty[1], empty[0], entry))
    return out


def _write_texture(image: Path, slot: str, out: Path) -> str | None:
    """Write a colour picture (jpg) and, where it has one, its alpha (png); the name without ending, or None."""
    found = [path for path in (image, image.with_suffix(".jpg"), image.with_suffix(".png")) if path.is_file()]
    if not found or not image.suffix:
        return None
    picture = cv2.imread(str(found[0]), cv2.IMREAD_UNCHANGED)
    if picture is None:
        raise InputError(f"{found[0]}, which cannot be read", "a jpg or png picture")
    side = _SMALL_PX if slot in ("brows", "lashes") else _SIDE_PX
    scale = min(1.0, side / max(picture.shape[:2]))
    alpha = picture[..., 3] if picture.ndim == 3 and picture.shape[2] == 4 else None
    colour = np.ascontiguousarray(picture[..., :3]) if picture.ndim == 3 else cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)
    if alpha is not None:
        colour = _bled(colour, alpha)
    for box in _BLANK.get(image.stem, ()):
        colour = _without_print(colour, box)
    size = round(picture.shape[1] * scale), round(picture.shape[0] * scale)
    shrink = lambda x: cv2.resize(x, size, interpolation=cv2.INTER_AREA)  # noqa: E731
    name = image.stem
    _encode(out / f"{name}.jpg", shrink(colour), [cv2.IMWRITE_JPEG_QUALITY, 82])
    if alpha is not None:
        levels = np.round(shrink(alpha).astype(float) * _ALPHA.get(slot, 1.0) / 17) * 17
        _encode(out / f"{name}.png", levels.clip(0, 255).astype(np.uint8), [cv2.IMWRITE_PNG_COMPRESSION, 9])
    return name


def _without_print(colour: Array, box: tuple[float, float, float, float]) -> Array:
    """A picture without what stands out from the cloth in a box."""
    height, width = colour.shape[:2]
    x0, y0, x1, y1 = (round(share * side) for share, side in zip(box, (width, height) * 2, strict=True))
    piece = colour[y0:y1, x0:x1].astype(np.int32)
    cloth = np.median(piece.reshape(-1, 3), 0)
    mask = np.zeros((height, width), np.uint8)
    mask[y0:y1, x0:x1] = (np.abs(piece - cloth).sum(-1) > 36) * 255
    wide = cv2.dilate(mask, np.ones((7, 7), np.uint8))
    return np.asarray(cv2.inpaint(colour, wide, 5, cv2.INPAINT_TELEA))


def _bled(colour: Array, alpha: Array) -> Array:
    """Colours of what is there, spread over what is not, so that edges keep their colour."""
    weight = (alpha > 127).astype(np.float32)
    if weight.min() == 1 or weight.max() == 0:
        return colour
    out = colour.astype(np.float32)
    for size in (9, 33, 129):
        blur = cv2.blur(weight, (size, size))
        spread = cv2.blur(colour.astype(np.float32) * weight[..., None], (size, size)) / (blur[..., None] + 1e-6)
        if size == 9:
            filled = weight > 0
        take = ~filled & (blur > 1e-3)
        out[take] = spread[take]
        filled |= take
    out[~filled] = colour[weight > 0].mean(0)
    return np.clip(out, 0, 255).astype(np.uint8)


def _encode(path: Path, picture: Array, options: list[int]) -> None:
    good, data = cv2.imencode(path.suffix, picture, options)
    if not good:
        raise InputError(f"a picture {picture.shape} for {path}", "one that can be encoded")
    write_whole(path, data.tobytes())


def _units(points: Array) -> Array:
    return np.round(points / UNIT_M).astype(np.int16)


def write_wardrobe(body: BaseBody, garments: list[Baked], out: Path) -> None:
    """Write ``garments.npz`` (lengths in units of :data:`UNIT_M`) and ``index.json``."""
    nodes = body.nodes
    arrays: dict[str, Any] = {
        "version": np.array(VERSION), "base": _units(body.vertices), "flat": nodes.flat,
        "node_starts": nodes.starts.astype(np.uint32), "node_vertices": nodes.vertices.astype(np.uint16),
        "hat_plane": hat_plane(body).astype(np.float32),
    }  # fmt: skip
    columns = {
        "points": [_units(g.bound.points) for g in garments],
        "nodes": [g.bound.nodes.astype(np.uint16) for g in garments],
        "weights": [np.round(255 * g.bound.weights).astype(np.uint8) for g in garments],
        "faces": [g.bound.faces.astype(np.uint16) for g in garments],
        "barycentric": [np.round(255 * g.bound.barycentric[:, :2]).astype(np.uint8) for g in garments],
        "quads": [g.mesh.quads.astype(np.uint16) for g in garments],
        "uv_quads": [g.mesh.uv_quads.astype(np.uint16) for g in garments],
        "uv": [g.mesh.uv.astype(np.float16) for g in garments],
        "hidden": [g.hidden.astype(np.uint16) for g in garments],
        "cover_vertices": [np.flatnonzero(~np.isnan(g.cover)).astype(np.uint16) for g in garments],
        "cover_height": [_units(g.cover[~np.isnan(g.cover)]) for g in garments],
    }
    for name, parts in columns.items():
        arrays[name], starts = rebind.concatenated(parts)
        arrays[f"{name}_starts"] = starts.astype(np.uint32)
    stream = BytesIO()
    np.savez_compressed(stream, **arrays)
    write_whole(out / "garments.npz", stream.getvalue())
    entries = [{"name": g.name, "slot": g.slot} | g.entry for g in garments]
    note = "Garments of the synthetic data generator; made by 'openexpose assets bake-wardrobe'."
    write_whole(out / "index.json", (json.dumps({"note": note, "garments": entries}, indent=1) + "\n").encode())
