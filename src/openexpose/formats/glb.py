"""Posed people as a binary glTF 2.0 file (GLB), which any 3D viewer opens."""

import struct
from pathlib import Path

import numpy as np
import pygltflib
from jaxtyping import Float, Int

from openexpose.errors import InputError
from openexpose.formats.atomic import write_whole
from openexpose.geometry.surface import vertex_normals

Array = np.ndarray

_SKIN = ((0.78, 0.57, 0.46), (0.52, 0.34, 0.25), (0.88, 0.69, 0.58), (0.64, 0.44, 0.33), (0.38, 0.24, 0.17))
"""sRGB colours people get in turn."""


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
    write_whole(path, _pack(document.gltf_to_json(indent=None, separators=(",", ":")), blob))


def _pack(text: str, blob: bytes) -> bytes:
    """The two chunks of a GLB file; without data only the first (what pygltflib writes then is not valid)."""
    json = text.encode()
    json += b" " * (-len(json) % 4)
    chunks = struct.pack("<I4s", len(json), b"JSON") + json
    if blob:
        chunks += struct.pack("<I4s", len(blob), b"BIN\0") + blob
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def _document(vertices: Float[Array, "p v 3"], faces: Int[Array, "f 3"]) -> tuple[pygltflib.GLTF2, bytes]:
    """The description in glTF axes and its binary data; all people share one list of faces."""
    document = pygltflib.GLTF2(
        asset=pygltflib.Asset(generator="openexpose"), scene=0, scenes=[pygltflib.Scene(name="people")]
    )
    if not len(vertices):
        return document, b""
    blob = bytearray()
    index = _append(document, blob, faces.reshape(-1), pygltflib.ELEMENT_ARRAY_BUFFER)
    for person, points in enumerate(vertices):
        name = f"person_{person}"
        normals = vertex_normals(points, faces).astype(np.float32)
        attributes = pygltflib.Attributes(
            POSITION=_append(document, blob, points, pygltflib.ARRAY_BUFFER),
            NORMAL=_append(document, blob, normals, pygltflib.ARRAY_BUFFER),
        )
        primitive = pygltflib.Primitive(attributes=attributes, indices=index, material=person)
        document.materials.append(_skin_material(name, person))
        document.meshes.append(pygltflib.Mesh(name=name, primitives=[primitive]))
        document.nodes.append(pygltflib.Node(name=name, mesh=person))
    document.scenes[0].nodes = list(range(len(vertices)))
    document.buffers.append(pygltflib.Buffer(byteLength=len(blob)))
    return document, bytes(blob)


def _append(document: pygltflib.GLTF2, blob: bytearray, values: Array, target: int) -> int:
    """Add an array to the binary part; returns the number of its accessor."""
    document.bufferViews.append(
        pygltflib.BufferView(buffer=0, byteOffset=len(blob), byteLength=values.nbytes, target=target)
    )
    blob += values.tobytes()  # 4-byte numbers throughout: offsets stay aligned
    points = values.reshape(len(values), -1)
    accessor = pygltflib.Accessor(
        bufferView=len(document.bufferViews) - 1,
        componentType=pygltflib.FLOAT if values.dtype == np.float32 else pygltflib.UNSIGNED_INT,
        count=len(points),
        type=pygltflib.VEC3 if values.ndim == 2 else pygltflib.SCALAR,
        min=points.min(0).tolist(),
        max=points.max(0).tolist(),
    )
    document.accessors.append(accessor)
    return len(document.accessors) - 1


def _skin_material(name: str, person: int) -> pygltflib.Material:
    colour = np.array(_SKIN[person % len(_SKIN)]) ** 2.2  # glTF wants linear light
    return pygltflib.Material(
        name=name,
        doubleSided=True,
        alphaMode=pygltflib.OPAQUE,
        alphaCutoff=None,
        pbrMetallicRoughness=pygltflib.PbrMetallicRoughness(
            baseColorFactor=[*colour.tolist(), 1.0], metallicFactor=0.0, roughnessFactor=0.75
        ),
    )
