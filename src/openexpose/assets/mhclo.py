"""MakeHuman's clothes: a mesh (Wavefront obj) and its fit to the base mesh hm08 (mhclo), as plain arrays."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from openexpose.errors import InputError

Array = np.ndarray

_AXES = ("x_scale", "y_scale", "z_scale")
_SECTIONS = ("verts", "delete_verts", "weights")


@dataclass(frozen=True)
class ObjMesh:
    """A Wavefront mesh of triangles and quads.

    Attributes:
        vertices: [v, 3], in the file's unit. uv: [t, 2], v up.
        quads, uv_quads: [q, 4] corners; triangles repeat the last one. Files without uv have ``uv_quads`` all zero.
    """

    vertices: Float[Array, "v 3"]
    uv: Float[Array, "t 2"]
    quads: Int[Array, "q 4"]
    uv_quads: Int[Array, "q 4"]


@dataclass(frozen=True)
class Fit:
    """How a garment lies on the base mesh.

    Attributes:
        name: as the file says. obj_file, material: file names beside the mhclo file; material may be empty.
        corners: [v, 3] vertices of the base mesh. weights: [v, 3]. offsets: [v, 3] along x, y, z.
        scales: of each axis (two vertices of the base mesh, their distance along the axis on the garment's own body).
        deleted: [d] vertices of the base mesh that the garment hides.
    """

    name: str
    obj_file: str
    material: str
    corners: Int[Array, "v 3"]
    weights: Float[Array, "v 3"]
    offsets: Float[Array, "v 3"]
    scales: tuple[tuple[int, int, float], ...]
    deleted: Int[Array, "d"]

    def place(self, base: Float[Array, "b 3"]) -> Float[Array, "v 3"]:
        """Vertices of the garment [v, 3] on a base mesh ``base``, in its unit.

        Raises:
            InputError: the base mesh has too few vertices.
        """
        needed = max(int(self.corners.max(initial=0)), *(max(a, b) for a, b, _ in self.scales))
        if needed >= len(base):
            raise InputError(
                f"a base mesh of {len(base)} vertices for {self.name!r}", f"more than {needed}: the base mesh hm08"
            )
        scale = [abs(base[a, k] - base[b, k]) / length for k, (a, b, length) in enumerate(self.scales)]
        return np.einsum("vc,vci->vi", self.weights, base[self.corners]) + self.offsets * scale


def read_obj(path: Path) -> ObjMesh:
    """Read a Wavefront file; groups and materials are ignored.

    Raises:
        InputError: there is no such file, or a line of it is no triangle or quad or no numbers.
    """
    vertices, uv, quads, uv_quads = [], [], [], []
    for number, line in enumerate(_lines(path), 1):
        words = line.split()
        try:
            if words[:1] == ["v"]:
                vertices.append([float(word) for word in words[1:4]])
            elif words[:1] == ["vt"]:
                uv.append([float(word) for word in words[1:3]])
            elif words[:1] == ["f"]:
                corner, texture = _corners(words[1:])
                quads.append(corner)
                uv_quads.append(texture)
        except ValueError:
            raise InputError(f"{path}, line {number}: {line.strip()!r}", "vertices, triangles and quads") from None
    mesh = ObjMesh(
        np.array(vertices, float).reshape(-1, 3),
        np.array(uv or [[0.0, 0.0]], float).reshape(-1, 2),
        np.array(quads, int).reshape(-1, 4),
        np.array(uv_quads, int).reshape(-1, 4),
    )
    for array, count, what in ((mesh.quads, len(vertices), "v"), (mesh.uv_quads, len(mesh.uv), "vt")):
        if array.size and not 0 <= array.min() <= array.max() < count:
            raise InputError(f"{path} with faces beyond its {count} {what!r} lines", "faces of its own vertices")
    return mesh


def _corners(words: list[str]) -> tuple[list[int], list[int]]:
    if len(words) not in (3, 4):
        raise ValueError(words)
    pairs = [(*word.split("/"), "")[:2] for word in words]
    corner = [int(a) - 1 for a, _ in pairs]
    texture = [int(b) - 1 if b else 0 for _, b in pairs]
    return (corner + corner[-1:])[:4], (texture + texture[-1:])[:4]


def read_fit(path: Path) -> Fit:
    """Read an mhclo file.

    Raises:
        InputError: there is no such file, it is for another base mesh, or lacks or garbles what :class:`Fit` holds.
    """
    words: dict[str, list[str]] = {}
    rows, deleted, section = [], [], ""
    for number, line in enumerate(_lines(path), 1):
        fields = line.split()
        if not fields or line.startswith("#"):
            continue
        try:
            if fields[0] in _SECTIONS:
                section = fields[0]
            elif fields[0].lstrip("-").isdigit():
                if section == "verts":
                    rows.append(_binding(fields))
                elif section == "delete_verts":
                    deleted += _ranges(fields)
            else:
                words[fields[0]] = fields[1:]
        except (ValueError, IndexError):
            raise InputError(f"{path}, line {number}: {line.strip()!r}", f"an entry of {section!r}") from None
    if words.get("basemesh") != ["hm08"]:
        raise InputError(f"{path} for the base mesh {words.get('basemesh')}", "clothes for the base mesh hm08")
    try:
        scales = tuple((int(words[k][0]), int(words[k][1]), float(words[k][2])) for k in _AXES)
        name, obj_file, material = words["name"][0], words["obj_file"][0], words.get("material", [""])[0]
    except (KeyError, ValueError, IndexError):
        raise InputError(f"{path} without one of name, obj_file, {', '.join(_AXES)}", "an mhclo file") from None
    if not rows:
        raise InputError(f"{path} without vertices", "an mhclo file with a section 'verts'")
    table = np.array(rows, float)
    corners = table[:, :3].astype(int)
    return Fit(name, obj_file, material, corners, table[:, 3:6], table[:, 6:], scales, np.array(deleted, int))


def _binding(fields: list[str]) -> list[float]:
    if len(fields) == 1:
        return [int(fields[0])] * 3 + [1.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    if len(fields) != 9:
        raise ValueError(fields)
    return [*map(int, fields[:3]), *map(float, fields[3:])]


def _ranges(fields: list[str]) -> list[int]:
    """Numbers and ranges, ``7 9 - 12``."""
    out: list[int] = []
    k = 0
    while k < len(fields):
        if k + 2 < len(fields) and fields[k + 1] == "-":
            out += range(int(fields[k]), int(fields[k + 2]) + 1)
            k += 3
        else:
            out.append(int(fields[k]))
            k += 1
    return out


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise InputError(f"{path}, which is not a file", f"a {path.suffix or 'text'} file")
    return path.read_text("utf-8", errors="replace").splitlines()


def read_material(path: Path) -> dict[str, str]:
    """Key and rest of every line of an mhmat file; the last of a key wins.

    Raises:
        InputError: there is no such file.
    """
    words = (line.split(None, 1) for line in _lines(path) if line.strip() and not line.startswith(("#", "//")))
    return {pair[0]: pair[1].strip() for pair in words if len(pair) == 2}


def components(mesh: ObjMesh) -> Int[Array, "v"]:
    """Number of the connected component of each vertex, the largest first."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    ends = mesh.quads.ravel(), np.roll(mesh.quads, -1, 1).ravel()
    graph = coo_matrix((np.ones(len(ends[0])), ends), (len(mesh.vertices),) * 2)
    _, label = connected_components(graph, directed=False)
    order = np.argsort(-np.bincount(label), kind="stable")
    return np.argsort(order)[label]


def part_of(mesh: ObjMesh, keep: Bool[Array, "v"]) -> ObjMesh:
    """The mesh of those faces whose corners are all in ``keep``."""
    faces = keep[mesh.quads].all(1)
    used, quads = np.unique(mesh.quads[faces], return_inverse=True)
    used_uv, uv_quads = np.unique(mesh.uv_quads[faces], return_inverse=True)
    return ObjMesh(mesh.vertices[used], mesh.uv[used_uv], quads.reshape(-1, 4), uv_quads.reshape(-1, 4))


def cut(mesh: ObjMesh, side: Float[Array, "v"]) -> ObjMesh:
    """The part of a mesh where ``side`` is positive: corners beyond the border slide along an edge onto it."""
    vertices, uv = mesh.vertices.copy(), mesh.uv.copy()
    kept = (side[mesh.quads] > 0).any(1)
    best = np.full(len(vertices), -np.inf)
    for shift in (1, 3):
        a, b = mesh.quads[kept].ravel(), np.roll(mesh.quads[kept], shift, 1).ravel()
        uv_a, uv_b = mesh.uv_quads[kept].ravel(), np.roll(mesh.uv_quads[kept], shift, 1).ravel()
        crossing = (side[a] <= 0) & (side[b] > 0)
        for p, q, s, t in zip(a[crossing], b[crossing], uv_a[crossing], uv_b[crossing], strict=True):
            share = side[p] / (side[p] - side[q])
            if share > best[p]:
                best[p] = share
                vertices[p] = (1 - share) * mesh.vertices[p] + share * mesh.vertices[q]
            uv[s] = (1 - share) * mesh.uv[s] + share * mesh.uv[t]
    kept &= ((side > 0) | np.isfinite(best))[mesh.quads].all(1)
    used, quads = np.unique(mesh.quads[kept], return_inverse=True)
    used_uv, uv_quads = np.unique(mesh.uv_quads[kept], return_inverse=True)
    return ObjMesh(vertices[used], uv[used_uv], quads.reshape(-1, 4), uv_quads.reshape(-1, 4))


def refined(mesh: ObjMesh) -> ObjMesh:
    """Every quad in four: at the middles of its edges and of itself; repeated corners stay repeated."""
    vertices, quads = _quartered(mesh.vertices, mesh.quads)
    uv, uv_quads = _quartered(mesh.uv, mesh.uv_quads)
    return ObjMesh(vertices, uv, quads, uv_quads)


def _quartered(points: Float[Array, "v d"], quads: Int[Array, "q 4"]) -> tuple[Float[Array, "w d"], Int[Array, "q4 4"]]:
    edges = np.sort(np.stack([quads, np.roll(quads, -1, 1)], -1), -1)
    unique, number = np.unique(edges.reshape(-1, 2), axis=0, return_inverse=True)
    middle = len(points) + number.reshape(-1, 4)
    centre = (len(points) + len(unique) + np.arange(len(quads)))[:, None]
    corner = [np.stack([quads[:, k], middle[:, k], centre[:, 0], middle[:, k - 1]], 1) for k in range(4)]
    return np.concatenate([points, points[unique].mean(1), points[quads].mean(1)]), np.concatenate(corner)
