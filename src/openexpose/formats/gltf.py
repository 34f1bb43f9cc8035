"""A binary glTF 2.0 file (GLB) under construction: its description and its binary data."""

import json
import struct
from typing import Any

import numpy as np
from jaxtyping import Float

Array = np.ndarray

ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER = 34962, 34963
_COMPONENTS = {"uint8": 5121, "uint16": 5123, "uint32": 5125, "float32": 5126}
_TYPES = {1: "SCALAR", 3: "VEC3", 4: "VEC4", 16: "MAT4"}
"""Numbers and names of the glTF 2.0 specification, sections 5.11 and 5.1."""
_ORDER = "accessors bufferViews meshes materials nodes skins cameras animations".split()

_SKIN = ((0.78, 0.57, 0.46), (0.52, 0.34, 0.25), (0.88, 0.69, 0.58), (0.64, 0.44, 0.33), (0.38, 0.24, 0.17))
"""sRGB colours people get in turn."""


class GltfFile:
    """Pieces are added one by one; each gets its number, by which others name it.

    Args:
        scene: name of the one scene.
        extras: what the file says of itself beside the format's own words; may be empty.
    """

    def __init__(self, scene: str, extras: dict[str, Any] | None = None) -> None:
        self._asset = {"version": "2.0", "generator": "openexpose"} | ({"extras": extras} if extras else {})
        self._scene = scene
        self._pieces: dict[str, list[dict[str, Any]]] = {kind: [] for kind in _ORDER}
        self._blob = bytearray()

    def add(self, kind: str, piece: dict[str, Any]) -> int:
        """Add a piece to one of the format's lists (``nodes``, ``meshes`` ...); returns its number."""
        self._pieces[kind].append(piece)
        return len(self._pieces[kind]) - 1

    def accessor(self, values: Array, target: int | None = None) -> int:
        """Add an array, its rows the elements; returns the number of its accessor.

        Args:
            values: float32 or unsigned integers, [n] or [n, 3], [n, 4], [n, 16].
            target: ARRAY_BUFFER for vertices, ELEMENT_ARRAY_BUFFER for faces.
        """
        return self.add("accessors", {"bufferView": self._view(values, target)} | _described(values))

    def sparse(self, values: Float[Array, "n 3"]) -> int:
        """Add offsets of vertices; stored are those only that are not zero, if they are less than half."""
        rows = np.flatnonzero(values.any(-1))
        if not 0 < 2 * len(rows) < len(values):
            return self.accessor(values, ARRAY_BUFFER)
        kind = np.uint16 if len(values) <= np.iinfo(np.uint16).max else np.uint32
        indices = {"bufferView": self._view(rows.astype(kind)), "componentType": _COMPONENTS[np.dtype(kind).name]}
        stored = {"count": len(rows), "indices": indices, "values": {"bufferView": self._view(values[rows])}}
        return self.add("accessors", _described(values) | {"sparse": stored})

    def packed(self, roots: list[int]) -> bytes:
        """The file: two chunks (glTF 2.0, section 4.4); without data only the first.

        Args:
            roots: the scene's nodes.
        """
        scene: dict[str, Any] = {"name": self._scene} | ({"nodes": roots} if roots else {})
        document: dict[str, Any] = {"asset": self._asset, "scene": 0, "scenes": [scene]}
        document |= {kind: pieces for kind, pieces in self._pieces.items() if pieces}
        if self._blob:
            document["buffers"] = [{"byteLength": len(self._blob)}]
        content = json.dumps(document, separators=(",", ":")).encode()
        content += b" " * (-len(content) % 4)
        chunks = struct.pack("<I4s", len(content), b"JSON") + content
        if self._blob:
            chunks += struct.pack("<I4s", len(self._blob), b"BIN\0") + self._blob
        return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks

    def _view(self, values: Array, target: int | None = None) -> int:
        view = {"buffer": 0, "byteOffset": len(self._blob), "byteLength": values.nbytes}
        self._blob += values.tobytes()
        self._blob += bytes(-len(self._blob) % 4)  # so that every array is aligned
        return self.add("bufferViews", view | ({"target": target} if target else {}))


def skin_material(name: str, person: int) -> dict[str, Any]:
    """A two-sided material in the skin colour of person 0, 1, ..."""
    metallic = {"baseColorFactor": [*skin_colour(person), 1.0], "metallicFactor": 0.0, "roughnessFactor": 0.75}
    return {"name": name, "doubleSided": True, "pbrMetallicRoughness": metallic}


def skin_colour(person: int) -> list[float]:
    """Skin colour of person 0, 1, ...: red, green, blue in linear light, as glTF and USD want it."""
    colour: list[float] = (np.array(_SKIN[person % len(_SKIN)]) ** 2.2).tolist()
    return colour


def _described(values: Array) -> dict[str, Any]:
    rows = values.reshape(len(values), -1)
    columns = rows.shape[1]
    told = {"componentType": _COMPONENTS[values.dtype.name], "count": len(rows), "type": _TYPES[columns]}
    if columns <= 3:
        told |= {"min": rows.min(0).tolist(), "max": rows.max(0).tolist()}
    return told
