"""Laying garments of MakeHuman's base mesh onto the free body's skin: nodes, weights, what covers what."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import cKDTree

from openexpose.body.keypoints import INDEX
from openexpose.body.model import BodyModel
from openexpose.errors import InputError
from openexpose.synth.binding import Nodes, fit_nodes
from openexpose.synth.raster import vertex_normals

Array = np.ndarray

WIDTH = 6
"""Nodes a vertex follows at most."""
_SPACING_M, _PATCH = 0.035, 20
_FINE_SPACING_M, _FINE_PATCH = 0.005, 9
_REACH_M = 0.16
_STILL_M = 3e-4
_JIT: dict[str, Any] = {"nogil": True, "cache": True}
_LIMB_JOINTS = {"shin": "knee", "foot": "ankle", "toes": "foot", "thigh": "hip"}
_FOOT = [f"{side} {limb}" for side in ("left", "right") for limb in ("shin", "foot", "toes")]
VOLUMES = ("skull", "chest", "glasses", "pelvis", *_FOOT, "left thigh", "right thigh")
"""Nodes that are whole limbs; the first ones of all nodes."""


@dataclass(frozen=True)
class BaseBody:
    """The free body's vertices on MakeHuman's base mesh, metres, and what can be bound to.

    Attributes:
        vertices: [v, 3]. normals: [v, 3]. faces: [f, 3]. outer: [v] the outer skin, without eyes and mouth.
        label: [v] the joint that moves each vertex most. distance: [v, n] along the skin from every node.
        nodes: of all kinds, :data:`VOLUMES` first. fine: [n] the small patches about the eyes.
        starts, patches: what :func:`openexpose.synth.binding.fit_nodes` took.
        weights: [v, 55] skinning weights.
    """

    vertices: Float[Array, "v 3"]
    normals: Float[Array, "v 3"]
    faces: Int[Array, "f 3"]
    outer: Bool[Array, "v"]
    label: Int[Array, "v"]
    distance: Float[Array, "v n"]
    nodes: Nodes
    fine: Bool[Array, "n"]
    weights: Float[Array, "v 55"]

    def labelled(self, *names: str) -> Bool[Array, "v"]:
        """Vertices that the named joints move most."""
        return np.isin(self.label, [INDEX[name] for name in names])

    def rings(self, mask: Bool[Array, "v"], count: int) -> Bool[Array, "v"]:
        """The vertices of ``mask`` without ``count`` rings of its border."""
        for _ in range(count):
            border = ~mask[self.faces].all(1)
            mask = mask.copy()
            mask[self.faces[border]] = False
        return mask


@dataclass(frozen=True)
class Bound:
    """A garment on the base body.

    Attributes:
        points: [v, 3] metres. nodes: [v, WIDTH]. weights: [v, WIDTH]. faces: [v] body triangle below.
        barycentric: [v, 3]. height_m: [v] above it.
    """

    points: Float[Array, "v 3"]
    nodes: Int[Array, "v k"]
    weights: Float[Array, "v k"]
    faces: Int[Array, "v"]
    barycentric: Float[Array, "v 3"]
    height_m: Float[Array, "v"]


def read_base_body(model: BodyModel, base: Float[Array, "b 3"], parts: dict[str, Array]) -> BaseBody:
    """Spread nodes over the body.

    Args:
        base: all vertices of the base mesh hm08, metres. parts: the arrays of ``freebody_parts.npz``.

    Raises:
        InputError: the base mesh or the model is another one.
    """
    rows = parts["makehuman_index"]
    if len(rows) != len(model.v_template) or rows.max() >= len(base):
        raise InputError(
            f"{len(base)} base and {len(model.v_template)} body vertices", "MakeHuman's base.obj and the free body"
        )
    vertices = base[rows]
    outer = np.ones(len(vertices), bool)
    outer[parts["eyes"]] = outer[parts["inner_mouth"]] = False
    label = model.weights.argmax(1)
    graph = _edge_graph(vertices, model.faces)
    fingers = np.isin(label, np.arange(25, 55))
    head = np.zeros(len(vertices), bool)
    head[parts["head"]] = True
    landmarks = np.einsum("lc,lci->li", model.landmark_barycentric, vertices[model.landmark_vertices])
    from_eyes = cKDTree(np.concatenate([landmarks[:10], landmarks[19:31]])).query(vertices)[0]
    coarse = _spread(vertices, outer & ~fingers & ~head, _SPACING_M)
    fine = _spread(vertices, outer & head & (from_eyes < 0.025), _FINE_SPACING_M)
    volumes = _volumes(model, vertices, outer, parts)
    seeds = np.concatenate([coarse, fine])
    distance = dijkstra(graph, indices=seeds, limit=_REACH_M).T.astype(np.float32)
    patches = [np.flatnonzero(mask) for mask in volumes]
    for k in range(len(seeds)):
        near = np.argsort(np.where(outer, distance[:, k], np.inf))
        patches.append(near[: _PATCH if k < len(coarse) else _FINE_PATCH])
    flat = np.ones(len(patches), bool)
    flat[: len(VOLUMES)] = [name == "glasses" for name in VOLUMES]
    starts = np.cumsum([0, *map(len, patches)])
    nodes = fit_nodes(vertices, starts, np.concatenate(patches), flat)
    everywhere = np.full((len(vertices), len(VOLUMES)), np.inf, np.float32)
    normals = vertex_normals(vertices.astype(np.float32), model.faces)
    is_fine = np.arange(len(patches)) >= len(VOLUMES) + len(coarse)
    distance = np.concatenate([everywhere, distance], 1)
    return BaseBody(vertices, normals, model.faces, outer, label, distance, nodes, is_fine, model.weights)


def _volumes(model: BodyModel, vertices: Array, outer: Array, parts: dict[str, Array]) -> list[Bool[Array, "v"]]:
    """Vertices of the limbs of :data:`VOLUMES`: of the skull, and for glasses, only what expressions leave alone."""
    label = model.weights.argmax(1)
    still = outer & (np.abs(model.expression_dirs).max((1, 2)) < _STILL_M)
    head = np.isin(label, [INDEX["head"]])
    eyes = eye_centres(vertices, label)
    crown = still & head & (vertices[:, 1] > eyes[:, 1].mean())
    ears = still & head & (np.abs(vertices[:, 1] - eyes[0, 1]) < 0.02) & (np.abs(vertices[:, 0]) > 0.06)
    bridge = outer & head & (np.abs(vertices[:, 0]) < 0.012) & (np.abs(vertices[:, 1] - eyes[0, 1]) < 0.015)
    bridge &= vertices[:, 2] > eyes[0, 2]
    chest, pelvis = (outer & (label == INDEX[name]) for name in ("spine3", "pelvis"))
    masks = [crown, chest, ears | bridge, pelvis]
    for name in VOLUMES[len(masks) :]:
        side, limb = name.split()
        masks.append(outer & (label == INDEX[f"{side}_{_LIMB_JOINTS[limb]}"]))
    if min(mask.sum() for mask in masks) < 8:
        raise InputError("a body model without enough skin of some limb", "the free body")
    return masks


def eye_centres(vertices: Array, label: Array) -> Float[Array, "2 3"]:
    """Middles of the left and the right eyeball."""
    balls = [vertices[label == INDEX[name]] for name in ("left_eye_smplx", "right_eye_smplx")]
    return np.stack([(ball.min(0) + ball.max(0)) / 2 for ball in balls])


def _edge_graph(vertices: Array, faces: Array) -> csr_matrix:
    ends = faces.ravel(), np.roll(faces, -1, 1).ravel()
    length = np.linalg.norm(vertices[ends[0]] - vertices[ends[1]], axis=1) + 1e-9
    graph = coo_matrix((length, ends), (len(vertices),) * 2).tocsr()
    return graph.maximum(graph.T)


def _spread(vertices: Array, allowed: Bool[Array, "v"], spacing: float) -> Int[Array, "n"]:
    """Allowed vertices that lie ``spacing`` or more apart."""
    rows = np.flatnonzero(allowed)
    tree, free, chosen = cKDTree(vertices[rows]), np.ones(len(rows), bool), []
    for k in range(len(rows)):
        if free[k]:
            chosen.append(rows[k])
            free[tree.query_ball_point(vertices[rows[k]], spacing)] = False
    return np.array(chosen, int)


def nearest(
    points: Float[Array, "p 3"], vertices: Float[Array, "v 3"], faces: Int[Array, "f 3"], candidates: int = 60
) -> tuple[Int[Array, "p"], Float[Array, "p 3"]]:
    """Nearest triangle, among those with the nearest centroids, and barycentric weights of the nearest point of it."""
    corners = vertices[faces]
    _, near = cKDTree(corners.mean(1)).query(points, k=min(candidates, len(faces)))
    near = near.reshape(len(points), -1)
    best = np.empty(len(points), int)
    weights = np.empty((len(points), 3))
    _nearest(points.astype(float), corners.astype(float), near, best, weights)
    return best, weights


@numba.njit(**_JIT)
def _nearest(points: Array, corners: Array, near: Array, best: Array, weights: Array) -> None:
    """Nearest point of each candidate by its inside or its three edges; writes the best."""
    trial = np.empty(3)
    for p in range(points.shape[0]):
        least = np.inf
        for q in range(near.shape[1]):
            tri = corners[near[p, q]]
            for case in range(4):
                if case == 0:
                    ab, ac, ap = tri[1] - tri[0], tri[2] - tri[0], points[p] - tri[0]
                    aa, cc, m = (ab * ab).sum(), (ac * ac).sum(), (ab * ac).sum()
                    det = aa * cc - m * m
                    if det < 1e-18:
                        continue
                    d1, d2 = (ab * ap).sum(), (ac * ap).sum()
                    trial[1], trial[2] = (cc * d1 - m * d2) / det, (aa * d2 - m * d1) / det
                    trial[0] = 1 - trial[1] - trial[2]
                    if trial.min() < 0:
                        continue
                else:
                    i, j = case - 1, case % 3
                    edge = tri[j] - tri[i]
                    t = ((points[p] - tri[i]) * edge).sum() / max((edge * edge).sum(), 1e-18)
                    t = min(max(t, 0.0), 1.0)
                    trial[:] = 0
                    trial[i] = 1 - t
                    trial[j] += t
                gap = points[p] - trial[0] * tri[0] - trial[1] * tri[1] - trial[2] * tri[2]
                distance = (gap * gap).sum()
                if distance < least:
                    least = distance
                    best[p] = near[p, q]
                    weights[p] = trial


def below(body: BaseBody, points: Array, allowed: Bool[Array, "v"]) -> tuple[Array, Array, Array]:
    """Triangle of the allowed skin nearest to each point, barycentric weights, and height above it (metres)."""
    rows = np.flatnonzero(allowed[body.faces].all(1))
    face, weights = nearest(points, body.vertices, body.faces[rows])
    face = rows[face]
    foot = np.einsum("pc,pci->pi", weights, body.vertices[body.faces[face]])
    normal = np.einsum("pc,pci->pi", weights, body.normals[body.faces[face]])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-12
    return face, weights, ((points - foot) * normal).sum(1)


def lift_out(
    body: BaseBody, points: Array, quads: Array, allowed: Bool[Array, "v"], least_m: float
) -> Float[Array, "v 3"]:
    """Move points that are less than ``least_m`` above the skin outwards; neighbours follow a little."""
    smooth = _smoother(quads, len(points))
    points = points.copy()
    for _ in range(3):
        face, weights, height = below(body, points, allowed)
        normal = np.einsum("pc,pci->pi", weights, body.normals[body.faces[face]])
        push = normal * np.clip(least_m - height, 0, 0.04)[:, None]
        spread = smooth @ (smooth @ push)
        points += np.where(np.linalg.norm(spread, axis=1, keepdims=True) > np.linalg.norm(push, axis=1, keepdims=True),
                           spread, push)  # fmt: skip
    return points


def _smoother(quads: Array, count: int) -> csr_matrix:
    """Mean over a vertex and its neighbours."""
    ends = quads.ravel(), np.roll(quads, -1, 1).ravel()
    graph = coo_matrix((np.ones(len(ends[0])), ends), (count, count)).tocsr()
    graph = ((graph + graph.T) > 0).astype(float)
    graph.setdiag(1)
    return csr_matrix(graph.multiply(1 / graph.sum(1)))


def bind_skin(body: BaseBody, points: Array, quads: Array, allowed: Bool[Array, "v"], *, fine: bool = False) -> Bound:
    """Bind cloth to the patches near the skin below it; the farther off, the more patches share a vertex."""
    face, bary, height = below(body, points, allowed)
    distance = np.einsum("vc,vcn->vn", bary, np.minimum(body.distance[body.faces[face]], 1.0))
    distance[:, body.fine != fine] = 1.0
    spacing = _FINE_SPACING_M if fine else _SPACING_M
    width = 0.7 * spacing + 0.5 * np.clip(height, 0, 0.1)[:, None]
    weights = np.exp(
        -0.5 * (distance - distance.min(1, keepdims=True)) * (distance + distance.min(1, keepdims=True)) / width**2
    )
    weights /= weights.sum(1, keepdims=True)
    smooth, loose = _smoother(quads, len(points)), np.clip((height - 0.005) / 0.03, 0, 1)[:, None]
    for _ in range(2 if fine else 12):
        weights = weights + (0.25 + 0.75 * loose) * (smooth @ weights - weights)
    return _bound(points, weights, face, bary, height)


def bind_volumes(
    body: BaseBody, points: Array, quads: Array, allowed: Bool[Array, "v"], shares: dict[str, Array], smoothing: int = 6
) -> Bound:
    """Bind to whole limbs with given shares [v] of :data:`VOLUMES`."""
    face, bary, height = below(body, points, allowed)
    weights = np.zeros((len(points), len(body.fine)))
    for name, share in shares.items():
        weights[:, VOLUMES.index(name)] = share
    smooth = _smoother(quads, len(points))
    for _ in range(smoothing):
        weights = smooth @ weights
    return _bound(points, weights, face, bary, height)


def _bound(points: Array, weights: Array, face: Array, bary: Array, height: Array) -> Bound:
    nodes = np.argsort(-weights, 1)[:, :WIDTH]
    kept = np.take_along_axis(weights, nodes, 1)
    kept = np.round(255 * kept / kept.sum(1, keepdims=True))
    kept[:, 0] += 255 - kept.sum(1)
    return Bound(points, nodes, kept / 255, face, bary, height)


def foot_shares(body: BaseBody, points: Array, allowed: Bool[Array, "v"]) -> dict[str, Float[Array, "v"]]:
    """Shares of shins, feet and toes in shoes: the skinning weights of the skin below, each shoe of one side."""
    face, bary, _ = below(body, points, allowed)
    shares = {}
    for name in _FOOT:
        side, limb = name.split()
        weight = body.weights[:, INDEX[f"{side}_{_LIMB_JOINTS[limb]}"]]
        on_side = points[:, 0] > 0 if side == "left" else points[:, 0] < 0
        shares[name] = np.where(on_side, (bary * weight[body.faces[face]]).sum(1) + 1e-6 * (limb == "foot"), 0)
    total = np.sum(list(shares.values()), 0)
    return {name: share / total for name, share in shares.items()}


def skirt_shares(points: Array) -> dict[str, Float[Array, "v"]]:
    """Shares of the pelvis and the thighs in a skirt: by height, and from one thigh smoothly to the other."""
    top, crotch = points[:, 1].max(), points[:, 1].max() - 0.22
    low = _step((top - 0.06 - points[:, 1]) / (top - 0.06 - crotch))
    left = _step(0.5 + points[:, 0] / 0.2)
    return {"pelvis": 1 - low, "left thigh": low * left, "right thigh": low * (1 - left)}


def _step(t: Array) -> Array:
    """From 0 to 1 smoothly."""
    t = np.clip(t, 0, 1)
    return t * t * (3 - 2 * t)


def cover(
    body: BaseBody, points: Array, triangles: Int[Array, "t 3"], allowed: Bool[Array, "v"], reach_m: float
) -> Float[Array, "v"]:
    """How far above each vertex of the skin a garment is, along the normal (metres); NaN where it is not."""
    out = np.full(len(body.vertices), np.nan)
    rows = np.flatnonzero(allowed)
    corners = points[triangles]
    radius = np.linalg.norm(corners - corners.mean(1, keepdims=True), axis=2).max()
    near = cKDTree(corners.mean(1)).query_ball_point(body.vertices[rows], reach_m + radius)
    starts = np.cumsum([0, *map(len, near)])
    flat = np.array([k for group in near for k in group], int)
    out[rows] = _rays(
        body.vertices[rows].astype(float),
        body.normals[rows].astype(float),
        corners.astype(float),
        starts,
        flat,
        reach_m,
    )
    return out


@numba.njit(**_JIT)
def _rays(points: Array, normals: Array, corners: Array, starts: Array, flat: Array, reach: float) -> Array:
    """Highest hit of each ray from 1 cm below to ``reach`` above the skin; NaN without."""
    out = np.full(points.shape[0], np.nan)
    for p in range(points.shape[0]):
        d = normals[p]
        for e in range(starts[p], starts[p + 1]):
            tri = corners[flat[e]]
            ab, ac = tri[1] - tri[0], tri[2] - tri[0]
            h = np.cross(d, ac)
            det = (ab * h).sum()
            if abs(det) < 1e-14:
                continue
            s = points[p] - tri[0]
            u = (s * h).sum() / det
            q = np.cross(s, ab)
            v = (d * q).sum() / det
            t = (ac * q).sum() / det
            if u >= -0.02 and v >= -0.02 and u + v <= 1.02 and -0.01 < t < reach and not t <= out[p]:
                out[p] = t
    return out


def split(quads: Int[Array, "q 4"]) -> Int[Array, "t 3"]:
    """Triangles of quads, those without area left out; the first halves come first."""
    both = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    return both[(both[:, 0] != both[:, 1]) & (both[:, 1] != both[:, 2]) & (both[:, 0] != both[:, 2])]


def concatenated(parts: Sequence[Array]) -> tuple[Array, Int[Array, "n1"]]:
    """Arrays one after the other, and where each starts."""
    return np.concatenate(parts), np.cumsum([0, *map(len, parts)])
