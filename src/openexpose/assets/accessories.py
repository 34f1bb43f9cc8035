"""Glasses and hats made by code on the base body's head: metres, frame of the base mesh."""

import numpy as np
from jaxtyping import Float

from openexpose.assets.mhclo import ObjMesh
from openexpose.assets.rebind import BaseBody, eye_centres

Array = np.ndarray

FRAME_UV, LENS_UV = (0.25, 0.5), (0.75, 0.5)
"""Where a texture of glasses has the colour of the frame, and that of the lenses."""
_TUBE = 6


class _Builder:
    """Quads one after the other."""

    def __init__(self) -> None:
        self.vertices: list[Array] = []
        self.uv: list[Array] = []
        self.quads: list[Array] = []
        self.count = 0

    def grid(self, points: Float[Array, "n m 3"], uv: Float[Array, "n m 2"], *, close: bool = False) -> None:
        """A sheet of n by m points; ``close`` joins the last column to the first."""
        n, m = points.shape[:2]
        number = self.count + np.arange(n * m).reshape(n, m)
        right = np.roll(number, -1, 1)
        quads = np.stack([number[:-1], right[:-1], right[1:], number[1:]], -1)
        self.quads.append((quads if close else quads[:, :-1]).reshape(-1, 4))
        self.vertices.append(points.reshape(-1, 3))
        self.uv.append(uv.reshape(-1, 2))
        self.count += n * m

    def tube(self, path: Float[Array, "n 3"], radius_m: float) -> None:
        """A tube along a path, in the colour of the frame."""
        along = np.gradient(path, axis=0)
        along /= np.linalg.norm(along, axis=1, keepdims=True)
        side = np.cross(along, [0.13, 0.97, 0.21])
        side /= np.linalg.norm(side, axis=1, keepdims=True) + 1e-9
        up = np.cross(side, along)
        angle = np.arange(_TUBE) * (2 * np.pi / _TUBE)
        ring = np.cos(angle)[:, None] * side[:, None] + np.sin(angle)[:, None] * up[:, None]
        points = path[:, None] + radius_m * ring
        self.grid(points, np.tile(FRAME_UV, (*points.shape[:2], 1)), close=True)

    def mesh(self) -> ObjMesh:
        """Everything as one mesh."""
        quads = np.concatenate(self.quads)
        return ObjMesh(np.concatenate(self.vertices), np.concatenate(self.uv), quads, quads)


def glasses(body: BaseBody, *, roundness: float, size: float, lenses: bool) -> ObjMesh:
    """Glasses on the nose bridge and the ears.

    Args:
        roundness: exponent of the rims' superellipse: 2 is an ellipse, 4 nearly a rectangle. size: of the rims.
        lenses: dark ones; else there is only the frame.
    """
    eyes = eye_centres(body.vertices, body.label)
    head = body.outer & body.labelled("head")
    front = body.vertices[head & (np.abs(body.vertices[:, 1] - eyes[0, 1]) < 0.012)]
    bridge_z = front[np.abs(front[:, 0]) < 0.01, 2].max()
    ears = front[np.abs(front[:, 0]) > 0.06]
    ear_z, ear_x = np.quantile(ears[:, 2], 0.3), np.abs(ears[:, 0]).max() + 0.001
    width, height, z = 0.027 * size, 0.021 * size, bridge_z + 0.003
    build = _Builder()
    angle = np.linspace(0, 2 * np.pi, 33)
    outline = np.stack([np.cos(angle), np.sin(angle)], 1)
    outline = np.sign(outline) * np.abs(outline) ** (2 / roundness)
    centre_x = max(abs(eyes[0, 0]), width + 0.008)
    for side in (1.0, -1.0):
        middle = np.array([side * centre_x, eyes[0, 1] - 0.004, z])
        rim = middle + np.stack([outline[:, 0] * width, outline[:, 1] * height, np.zeros(33)], 1)
        rim[:, 2] -= 0.006 * ((side * rim[:, 0] - 0.01) / 0.05).clip(0) ** 2
        build.tube(rim, 0.0016)
        if lenses:
            disc = np.stack([rim, np.tile(rim.mean(0), (33, 1))])
            build.grid(disc, np.tile(LENS_UV, (2, 33, 1)))
        corner = middle + [side * width * 0.98, 0.4 * height, -0.002]
        ear = np.array([side * ear_x, corner[1] + 0.004, ear_z])
        hook = ear + np.array([[0, 0, 0], [0, -0.006, -0.012], [0, -0.02, -0.02], [0, -0.034, -0.024]])
        hook[:, 0] -= side * np.array([0, 0.002, 0.004, 0.006])
        build.tube(np.concatenate([np.linspace(corner, ear, 8), hook[1:]]), 0.0018)
    t = np.linspace(-1, 1, 7)
    inner = centre_x - width
    arch = np.stack([t * inner, eyes[0, 1] + 0.002 + 0.004 * (1 - t**2), np.full(7, z) + 0.002 * (1 - t**2)], 1)
    build.tube(arch, 0.0016)
    return build.mesh()


def hat_plane(body: BaseBody) -> Float[Array, "4"]:
    """The plane of a hat's rim, normal up and offset: above points have normal . x > offset."""
    eyes = eye_centres(body.vertices, body.label)
    normal = np.array([0.0, 1.0, -0.22])
    normal /= np.linalg.norm(normal)
    rim = np.array([0, eyes[0, 1] + 0.045, eyes[0, 2]])
    return np.append(normal, normal @ rim)


def hat(body: BaseBody, *, visor_m: float, fold: bool) -> ObjMesh:
    """A dome over the scalp: a cap with a visor, or a beanie with a folded rim."""
    plane = hat_plane(body)
    up = plane[:3]
    forward = np.cross([1.0, 0, 0], up)
    axes = np.stack([[1.0, 0, 0], up, forward])
    scalp = body.vertices[body.outer & body.labelled("head") & (body.vertices @ up > plane[3] - 0.01)]
    centre = scalp.mean(0)
    centre = centre + (plane[3] - centre @ up) * up
    relative = (scalp - centre) @ axes.T
    radius = np.linalg.norm(relative, axis=1)
    azimuth, elevation = np.linspace(0, 2 * np.pi, 41), np.linspace(0, np.pi / 2, 12)
    ring = np.stack([np.sin(azimuth), np.zeros(41), np.cos(azimuth)], 1)
    directions = np.cos(elevation)[:, None, None] * ring + np.sin(elevation)[:, None, None] * np.array([0, 1.0, 0])
    near = np.exp((np.einsum("nmi,si->nms", directions, relative / radius[:, None]) - 1) / 0.01)
    reach = (near * radius).sum(-1) / near.sum(-1) + 0.009
    if fold:
        reach = reach * (1 + 0.07 * np.sin(elevation)[:, None] ** 2)
    dome = directions * reach[..., None]
    uv = np.stack(np.broadcast_arrays(azimuth / np.pi, elevation[:, None] / np.pi), -1)
    build = _Builder()
    build.grid(dome @ axes + centre, uv)
    if fold:
        rim = dome[0]
        band = np.stack([rim - [0, 0.006, 0], 1.045 * rim - [0, 0.002, 0], 1.045 * rim + [0, 0.028, 0], 1.0 * dome[3]])
        uv = np.stack(np.broadcast_arrays(azimuth / np.pi, np.array([[0.0], [0.01], [0.1], [0.11]])), -1)
        build.grid(band @ axes + centre, uv)
    if visor_m:
        front = np.abs(np.angle(np.exp(1j * azimuth))) < 1.15
        order = np.argsort(np.angle(np.exp(1j * azimuth[front])))
        rim, phi = dome[0][front][order], np.angle(np.exp(1j * azimuth[front]))[order]
        out = visor_m * np.cos(phi * 1.3) ** 0.5
        steps = np.linspace(0, 1, 5)[:, None]
        sheet = np.stack([rim + s * out[:, None] * np.array([0, 0, 1.0]) for s in steps[:, 0]])
        sheet[..., 1] -= 0.25 * visor_m * steps**1.5 + 0.02 * np.sin(phi) ** 2 * steps
        build.grid(sheet @ axes + centre, np.stack(np.broadcast_arrays(phi / np.pi, 0.1 * steps), -1))
    return build.mesh()
