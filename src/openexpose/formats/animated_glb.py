"""People over time as one binary glTF 2.0 file (GLB): skinned meshes that skeletons and expressions move."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from openexpose.body.keypoints import JOINT_NAMES
from openexpose.body.model import BodyModel
from openexpose.formats.atomic import write_whole
from openexpose.formats.gltf import ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER, GltfFile, skin_material
from openexpose.formats.rig import BlendShapes, Rig, blend_shapes_for, influences, rig_of
from openexpose.geometry.surface import vertex_normals
from openexpose.motion import Motion
from openexpose.people import People

Array = np.ndarray

_NEAR_M, _FAR_M = 0.05, 1000.0
"""What the camera sees."""


def write_animated_glb(path: str | Path, motion: Motion, model: BodyModel, fps: float | None = None) -> None:
    """Write a clip's people: each a skeleton of 55 nodes with SMPL-X's names below the node ``person_<id>``, and a
    mesh skinned to it with morph targets (:class:`openexpose.formats.rig.BlendShapes`): expressions and, for editing,
    shapes, which change the mesh and not the skeleton.

    One animation moves all of them at a constant frame rate, its times counting from the start of the clip. Who is not
    there yet, or no more, is hidden: their ``person_<id>`` has the scale 0. A clip of one frame has no animation. Of a
    lone part the mesh is only that. The camera stands at the origin with the clip's field of view; glTF takes the
    principal point to be the middle.

    Args:
        path: where to; an existing file is replaced, and a file appears whole or not at all.
        motion: whom; may hold nobody.
        model: the body model that the coefficients belong to.
        fps: frames a second; None: the clip's.

    Raises:
        InputError: a frame rate that is none, coefficients that are not the model's, or a place that cannot be written
            to.
    """
    clip = motion.clip
    file = GltfFile("people", {"clip": clip.name, "fps": fps or clip.fps, "body_model": model.name})
    roots: list[int] = []
    if motion.tracks:
        shared = _share(file, blend_shapes_for(motion, model))
        channels = _Channels(file)
        for number, track in enumerate(motion.tracks):
            person = _add_person(file, shared, rig_of(track, clip, model, fps), number)
            roots += [person.root, person.mesh]
            if len(clip.times_s) > 1:
                _animate(channels, shared.blend, person)
        roots.append(_add_camera(file, motion.tracks[0].people))
        if channels.channels:
            file.add("animations", {"name": clip.name, "samplers": channels.samplers, "channels": channels.channels})
    write_whole(path, file.packed(roots))


@dataclass(frozen=True)
class _Shared:
    """What all people have in common; numbers are those of accessors."""

    blend: BlendShapes
    faces: int
    skin: dict[str, int]
    """Attributes of the vertices: their joints and weights."""
    targets: list[dict[str, int]]
    """Morph targets, in the order of ``blend``."""


@dataclass(frozen=True)
class _Person:
    """Somebody's motion and their nodes in the file."""

    rig: Rig
    root: int
    joints: list[int]
    mesh: int


class _Channels:
    """What changes over time: one sampler and one channel for each quantity of a node."""

    def __init__(self, file: GltfFile) -> None:
        self._file = file
        self.samplers: list[dict[str, Any]] = []
        self.channels: list[dict[str, Any]] = []

    def times(self, times_s: Array) -> int:
        """Add the times of keys, [n] seconds; returns the number of their accessor."""
        return self._file.accessor(np.asarray(times_s, np.float32))

    def move(self, node: int, path: str, times: int, values: Array, interpolation: str = "LINEAR") -> None:
        """Let a node's ``path`` (rotation, translation, scale or weights) take a row of values at each time."""
        output = self._file.accessor(np.ascontiguousarray(values, np.float32))
        self.channels.append({"sampler": len(self.samplers), "target": {"node": node, "path": path}})
        self.samplers.append({"input": times, "output": output, "interpolation": interpolation})


def _share(file: GltfFile, blend: BlendShapes) -> _Shared:
    model = blend.model
    rows, triangles = blend.surface
    joints, weights = (values[rows] for values in influences(model))
    skin: dict[str, int] = {}
    for k in range(joints.shape[1] // 4):
        part = slice(4 * k, 4 * k + 4)
        skin[f"JOINTS_{k}"] = file.accessor(joints[:, part].astype(np.uint8), ARRAY_BUFFER)
        skin[f"WEIGHTS_{k}"] = file.accessor(np.ascontiguousarray(weights[:, part]), ARRAY_BUFFER)
    targets = [{"POSITION": file.sparse(np.ascontiguousarray(offsets))} for offsets in blend.offsets.values()]
    kind = np.uint16 if len(rows) < np.iinfo(np.uint16).max else np.uint32
    faces = file.accessor(triangles.reshape(-1).astype(kind), ELEMENT_ARRAY_BUFFER)
    return _Shared(blend, faces, skin, targets)


def _add_person(file: GltfFile, shared: _Shared, rig: Rig, number: int) -> _Person:
    """A mesh at rest, and a skeleton in the pose of the first frame."""
    name, parents = f"person_{rig.id}", shared.blend.model.parents
    root: dict[str, Any] = {"name": name}
    top = file.add("nodes", root)
    nodes: list[dict[str, Any]] = []
    joints: list[int] = []
    for j, joint_name in enumerate(JOINT_NAMES):
        translation, rotation = rig.translations[0, j].tolist(), rig.quaternions[0, j].tolist()
        nodes.append({"name": joint_name, "translation": translation, "rotation": rotation})
        joints.append(file.add("nodes", nodes[j]))
        (nodes[parents[j]] if j else root).setdefault("children", []).append(joints[j])
    inverse = np.tile(np.eye(4, dtype=np.float32), (len(joints), 1, 1))
    inverse[:, 3, :3] = -rig.joints  # column by column, as the format has matrices
    bind = file.accessor(inverse.reshape(-1, 16))
    skin = file.add("skins", {"name": name, "joints": joints, "skeleton": top, "inverseBindMatrices": bind})
    surface = file.add("meshes", _mesh(file, shared, rig, number))
    mesh = file.add("nodes", {"name": f"{name}_mesh", "mesh": surface, "skin": skin})
    return _Person(rig, top, joints, mesh)


def _mesh(file: GltfFile, shared: _Shared, rig: Rig, number: int) -> dict[str, Any]:
    name, rows = f"person_{rig.id}", shared.blend.surface[0]
    normals = vertex_normals(rig.vertices, shared.blend.model.faces).astype(np.float32)
    attributes = {
        "POSITION": file.accessor(rig.vertices[rows], ARRAY_BUFFER),
        "NORMAL": file.accessor(normals[rows], ARRAY_BUFFER),
    }
    material = file.add("materials", skin_material(name, number))
    primitive: dict[str, Any] = {"attributes": attributes | shared.skin, "indices": shared.faces, "material": material}
    mesh: dict[str, Any] = {"name": name, "primitives": [primitive]}
    if shared.targets:
        primitive["targets"] = shared.targets
        mesh["weights"] = shared.blend.weights(rig)[0].tolist()
        mesh["extras"] = {"targetNames": list(shared.blend.offsets), "expression_reach": shared.blend.reach}
    return mesh


def _animate(channels: _Channels, blend: BlendShapes, person: _Person) -> None:
    """Let everything of a person move that does; what stands still is said by the nodes."""
    rig = person.rig
    times = channels.times(rig.times_s)
    turns = (rig.quaternions != rig.quaternions[:1]).any((0, 2))
    moves = (rig.translations != rig.translations[:1]).any((0, 2))
    for j, node in enumerate(person.joints):
        if turns[j]:
            channels.move(node, "rotation", times, rig.quaternions[:, j])
        if moves[j]:
            channels.move(node, "translation", times, rig.translations[:, j])
    if (rig.expression != rig.expression[:1]).any():
        channels.move(person.mesh, "weights", times, blend.weights(rig).reshape(-1))
    if rig.appears or rig.leaves:
        keys, shown = _presence(rig)
        channels.move(person.root, "scale", channels.times(keys), np.repeat(shown[:, None], 3, 1), "STEP")


def _presence(rig: Rig) -> tuple[Array, Array]:
    """When somebody comes and goes: times, and 1 from where they are there and 0 from where they are not."""
    keys = [(rig.times_s[0], 1.0)]
    if rig.appears:
        keys.insert(0, (0.0, 0.0))
    if rig.leaves:
        keys.append((rig.ends_s, 0.0))
    return np.array([time for time, _ in keys]), np.array([shown for _, shown in keys])


def _add_camera(file: GltfFile, people: People) -> int:
    width, height = people.image_size
    field = 2.0 * float(np.arctan2(height / 2.0, people.focal_px))
    lens = {"yfov": field, "aspectRatio": width / height, "znear": _NEAR_M, "zfar": _FAR_M}
    camera = file.add("cameras", {"name": "camera", "type": "perspective", "perspective": lens})
    return file.add("nodes", {"name": "camera", "camera": camera})
