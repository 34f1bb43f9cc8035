"""Posed people as a binary glTF 2.0 file (GLB), which any 3D viewer opens."""

from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from openexpose.errors import InputError
from openexpose.formats.atomic import write_whole
from openexpose.formats.gltf import ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER, GltfFile, skin_material
from openexpose.geometry.surface import vertex_normals

Array = np.ndarray


def write_glb(path: str | Path, vertices_m: Float[Array, "p v 3"], faces: Int[Array, "f 3"]) -> None:
    """Write posed meshes: one node ``person_0``, ``person_1`` … each, with normals and a two-sided skin material.

    glTF has y up and looks along -z, so camera-frame points are turned by 180 degrees about x; metres stay.

    Args:
        path: where to; an existing file is replaced, and a file appears whole or not at all.
        vertices_m: camera frame (x right, y down, z forward); may hold nobody.
        faces: triangles, counter-clockwise seen from outside.

    Raises:
        InputError: vertices that are not finite, faces that are not theirs, or a place that cannot be written to.
    """
    vertices = np.asarray(vertices_m, np.float32) * np.array([1.0, -1.0, -1.0], np.float32)
    faces = np.asarray(faces)
    if not np.isfinite(vertices).all():
        raise InputError("vertices that are not finite", "finite positions in metres")
    if len(vertices) and faces.size and (faces.min() < 0 or faces.max() >= vertices.shape[1]):
        raise InputError(f"faces up to vertex {faces.max()} of {vertices.shape[1]}", "faces of the given vertices")
    write_whole(path, _content(vertices, faces.astype(np.uint32)))


def _content(vertices: Float[Array, "p v 3"], faces: Int[Array, "f 3"]) -> bytes:
    """The file of vertices in glTF's axes; all people share one list of faces."""
    file = GltfFile("people")
    index = file.accessor(faces.reshape(-1), ELEMENT_ARRAY_BUFFER) if len(vertices) else 0
    roots = []
    for person, points in enumerate(vertices):
        name = f"person_{person}"
        normals = vertex_normals(points, faces).astype(np.float32)
        attributes = {
            "POSITION": file.accessor(points, ARRAY_BUFFER),
            "NORMAL": file.accessor(normals, ARRAY_BUFFER),
        }
        material = file.add("materials", skin_material(name, person))
        primitive = {"attributes": attributes, "indices": index, "material": material}
        mesh = file.add("meshes", {"name": name, "primitives": [primitive]})
        roots.append(file.add("nodes", {"name": name, "mesh": mesh}))
    return file.packed(roots)
