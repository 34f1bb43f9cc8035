"""Posed people as a binary glTF 2.0 file (GLB), which any 3D viewer opens."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from openexpose.errors import InputError
from openexpose.formats.atomic import write_whole
from openexpose.geometry.surface import vertex_normals

Array = np.ndarray

_SKIN = ((0.78, 0.57, 0.46), (0.52, 0.34, 0.25), (0.88, 0.69, 0.58), (0.64, 0.44, 0.33), (0.38, 0.24, 0.17))
"""sRGB colours people get in turn."""
_ARRAY_BUFFER, _ELEMENT_ARRAY_BUFFER = 34962, 34963
_FLOAT, _UNSIGNED_INT = 5126, 5125
"""Numbers of the glTF 2.0 specification, sections 5.11 and 5.1."""


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
    document, blob = _document(vertices, faces.astype(np.uint32))
    write_whole(path, _pack(json.dumps(document, separators=(",", ":")), blob))


def _pack(text: str, blob: bytes) -> bytes:
    """The two chunks of a GLB file (glTF 2.0, section 4.4); without data only the first."""
    content = text.encode()
    content += b" " * (-len(content) % 4)
    chunks = struct.pack("<I4s", len(content), b"JSON") + content
    if blob:
        chunks += struct.pack("<I4s", len(blob), b"BIN\0") + blob
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def _document(vertices: Float[Array, "p v 3"], faces: Int[Array, "f 3"]) -> tuple[dict[str, Any], bytes]:
    """The description in glTF axes and its binary data; all people share one list of faces."""
    people = [f"person_{k}" for k in range(len(vertices))]
    scene: dict[str, Any] = {"name": "people"}
    document: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "openexpose"},
        "scene": 0,
        "scenes": [scene],
    }
    if not people:
        return document, b""
    scene["nodes"] = list(range(len(people)))
    document |= {"accessors": [], "bufferViews": [], "meshes": []}
    blob = bytearray()
    index = _append(document, blob, faces.reshape(-1), _ELEMENT_ARRAY_BUFFER)
    for person, points in enumerate(vertices):
        normals = vertex_normals(points, faces).astype(np.float32)
        attributes = {
            "POSITION": _append(document, blob, points, _ARRAY_BUFFER),
            "NORMAL": _append(document, blob, normals, _ARRAY_BUFFER),
        }
        primitive = {"attributes": attributes, "indices": index, "material": person}
        document["meshes"].append({"name": people[person], "primitives": [primitive]})
    document["materials"] = [_skin_material(name, k) for k, name in enumerate(people)]
    document["nodes"] = [{"name": name, "mesh": k} for k, name in enumerate(people)]
    document["buffers"] = [{"byteLength": len(blob)}]
    return document, bytes(blob)


def _append(document: dict[str, Any], blob: bytearray, values: Array, target: int) -> int:
    """Add an array to the binary part; returns the number of its accessor."""
    view = {"buffer": 0, "byteOffset": len(blob), "byteLength": values.nbytes, "target": target}
    document["bufferViews"].append(view)
    blob += values.tobytes()  # 4-byte numbers throughout: offsets stay aligned
    points = values.reshape(len(values), -1)
    accessor = {
        "bufferView": len(document["bufferViews"]) - 1,
        "componentType": _FLOAT if values.dtype == np.float32 else _UNSIGNED_INT,
        "count": len(points),
        "type": "VEC3" if values.ndim == 2 else "SCALAR",
        "min": points.min(0).tolist(),
        "max": points.max(0).tolist(),
    }
    document["accessors"].append(accessor)
    return len(document["accessors"]) - 1


def _skin_material(name: str, person: int) -> dict[str, Any]:
    colour = np.array(_SKIN[person % len(_SKIN)]) ** 2.2  # glTF wants linear light
    metallic = {"baseColorFactor": [*colour.tolist(), 1.0], "metallicFactor": 0.0, "roughnessFactor": 0.75}
    return {"name": name, "doubleSided": True, "pbrMetallicRoughness": metallic}
