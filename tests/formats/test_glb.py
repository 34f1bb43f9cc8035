"""GLB files, read back by another program's reader."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import trimesh

from openexpose.errors import InputError
from openexpose.formats.glb import write_glb


def people(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Ellipsoids in the camera frame."""
    ball = trimesh.creation.icosphere(subdivisions=2)
    offsets = np.arange(3 * count).reshape(count, 1, 3) + np.array([0.0, 0.0, 3.0])
    return (ball.vertices * (0.3, 0.9, 0.2) + offsets).astype(np.float32), np.asarray(ball.faces)


def description(path: Path) -> dict:
    content = path.read_bytes()
    magic, version, length = struct.unpack("<4sII", content[:12])
    assert (magic, version, length) == (b"glTF", 2, len(content))
    size, kind = struct.unpack("<I4s", content[12:20])
    assert kind == b"JSON" and size % 4 == 0
    return json.loads(content[20 : 20 + size])


def test_read_back(tmp_path: Path) -> None:
    vertices, faces = people(3)
    write_glb(tmp_path / "a.glb", vertices, faces)
    scene = trimesh.load_scene(tmp_path / "a.glb", process=False)
    assert set(scene.graph.nodes_geometry) == {"person_0", "person_1", "person_2"}
    for i in range(3):
        mesh = scene.geometry[f"person_{i}"]
        assert np.array_equal(scene.graph.get(f"person_{i}")[0], np.eye(4))
        np.testing.assert_array_equal(mesh.vertices, vertices[i] * (1, -1, -1))
        np.testing.assert_array_equal(mesh.faces, faces)
        assert mesh.is_watertight and mesh.volume > 0, "faces turn outwards"
        normal = mesh.vertex_normals
        assert ((normal * (mesh.vertices - mesh.vertices.mean(0))).sum(-1) > 0).all()
        np.testing.assert_allclose(np.linalg.norm(normal, axis=-1), 1, atol=1e-5)
        assert mesh.visual.material.doubleSided


def test_someone_upright_in_front_of_the_camera_is_upright_and_faces_the_viewer(tmp_path: Path) -> None:
    """glTF: y up, the viewer looks along -z."""
    vertices, faces = people(1)
    write_glb(tmp_path / "a.glb", vertices, faces)
    read = trimesh.load_scene(tmp_path / "a.glb", process=False).geometry["person_0"].vertices
    assert read[vertices[0, :, 1].argmin(), 1] == read[:, 1].max()
    assert read[:, 2].max() < 0


def test_description_is_what_the_format_demands(tmp_path: Path) -> None:
    vertices, faces = people(2)
    write_glb(tmp_path / "a.glb", vertices, faces)
    told = description(tmp_path / "a.glb")
    assert told["asset"]["version"] == "2.0" and told["scenes"][told["scene"]]["nodes"] == [0, 1]
    assert (
        told["buffers"][0]["byteLength"]
        == told["bufferViews"][-1]["byteOffset"] + told["bufferViews"][-1]["byteLength"]
    )
    assert all(view["byteOffset"] % 4 == 0 for view in told["bufferViews"])
    position = told["accessors"][told["meshes"][1]["primitives"][0]["attributes"]["POSITION"]]
    np.testing.assert_allclose(position["max"], (vertices[1] * (1, -1, -1)).max(0), rtol=1e-6)
    colours = {tuple(m["pbrMetallicRoughness"]["baseColorFactor"]) for m in told["materials"]}
    assert len(colours) == 2


def test_nobody_gives_a_valid_empty_scene(tmp_path: Path) -> None:
    write_glb(tmp_path / "a.glb", np.zeros((0, 4, 3)), np.zeros((0, 3), int))
    told = description(tmp_path / "a.glb")
    assert told["scenes"] == [{"name": "people"}]
    assert all(value for key, value in told.items() if key != "scene"), "glTF forbids empty lists"
    assert "buffers" not in told
    assert not trimesh.load_scene(tmp_path / "a.glb").geometry


def test_files_appear_whole(tmp_path: Path) -> None:
    vertices, faces = people(1)
    write_glb(tmp_path / "a.glb", vertices, faces)
    before = (tmp_path / "a.glb").read_bytes()
    with pytest.raises(InputError, match="finite"):
        write_glb(tmp_path / "a.glb", vertices * np.nan, faces)
    with pytest.raises(InputError, match="faces"):
        write_glb(tmp_path / "a.glb", vertices, faces + 10)
    with pytest.raises(InputError, match="cannot be written"):
        write_glb(tmp_path / "missing" / "a.glb", vertices, faces)
    with pytest.raises(InputError, match="cannot be written"):
        write_glb(tmp_path / "a.glb" / "b.glb", vertices, faces)
    (tmp_path / "folder.glb").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        write_glb(tmp_path / "folder.glb", vertices, faces)
    assert (tmp_path / "a.glb").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.glb", "folder.glb"]
