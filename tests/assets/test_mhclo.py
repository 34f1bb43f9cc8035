"""The parser of MakeHuman's clothes on tiny made-up files."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy")

from openexpose.assets.mhclo import (
    ObjMesh,
    components,
    cut,
    part_of,
    read_fit,
    read_material,
    read_obj,
    refined,
)
from openexpose.errors import InputError

OBJ = """# a square and a triangle
o thing
v 0 0 0
v 1 0 0
v 1 1 0
v 0 1 0
v 5 0 0
v 6 0 0
v 5 1 0
vt 0 0
vt 1 0
vt 1 1
vt 0 1
f 1/1 2/2 3/3 4/4
f 5/1 6/2 7/3
"""
MHCLO = """# comment
basemesh hm08
name thing
obj_file thing.obj
x_scale 0 1 2.0
y_scale 0 2 1.0
z_scale 0 3 4.0
material thing.mhmat
verts 0
tag late
0 1 2 0.5 0.25 0.25 0.1 0.2 0.3
3
delete_verts
0 2 - 4 9
"""
BASE = np.array([[0, 0, 0], [4, 0, 0], [0, 3, 0], [0, 0, 2.0]])


def written(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_a_mesh_is_read_with_triangles_as_quads(tmp_path: Path) -> None:
    mesh = read_obj(written(tmp_path, "a.obj", OBJ))
    assert (len(mesh.vertices), len(mesh.uv)) == (7, 4)
    np.testing.assert_array_equal(mesh.quads, [[0, 1, 2, 3], [4, 5, 6, 6]])
    np.testing.assert_array_equal(mesh.uv_quads, [[0, 1, 2, 3], [0, 1, 2, 2]])
    np.testing.assert_array_equal(components(mesh), [0, 0, 0, 0, 1, 1, 1])
    part = part_of(mesh, components(mesh) == 1)
    np.testing.assert_array_equal(part.vertices, mesh.vertices[4:])
    np.testing.assert_array_equal(part.quads, [[0, 1, 2, 2]])


def test_a_fit_places_vertices_by_three_corners_and_scaled_offsets(tmp_path: Path) -> None:
    fit = read_fit(written(tmp_path, "a.mhclo", MHCLO))
    assert (fit.name, fit.obj_file, fit.material) == ("thing", "thing.obj", "thing.mhmat")
    np.testing.assert_array_equal(fit.deleted, [0, 2, 3, 4, 9])
    expected = [[0.25 * 4 + 0.1 * 2, 0.25 * 3 + 0.2 * 3, 0.3 * 0.5], [0, 0, 2]]
    np.testing.assert_allclose(fit.place(BASE), expected)
    shifted = fit.place(2 * BASE + [1.0, 2, 3])
    np.testing.assert_allclose(shifted, 2 * np.array(expected) + [1, 2, 3])


def test_a_material_is_read_as_words(tmp_path: Path) -> None:
    path = written(tmp_path, "a.mhmat", "# c\nname x\ndiffuseTexture a b.png\nlonely\n")
    assert read_material(path) == {"name": "x", "diffuseTexture": "a b.png"}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.obj", OBJ.replace("v 5 0 0", "v 5 zero 0"), "line 7"),
        ("a.obj", OBJ + "f 1 2 3 4 5\n", "triangles and quads"),
        ("a.obj", OBJ + "f 1 2 30\n", "faces beyond"),
        ("a.mhclo", MHCLO.replace("hm08", "other"), "hm08"),
        ("a.mhclo", MHCLO.replace("0.25 0.25", "0.25"), "line 11"),
        ("a.mhclo", MHCLO.replace("x_scale 0 1 2.0\n", ""), "x_scale"),
        ("a.mhclo", MHCLO.split("verts 0")[0], "without vertices"),
    ],
)
def test_broken_files_are_refused_with_their_place(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = written(tmp_path, name, text)
    with pytest.raises(InputError, match=message):
        (read_obj if name.endswith("obj") else read_fit)(path)


def test_missing_files_and_small_base_meshes_are_refused(tmp_path: Path) -> None:
    for read in (read_obj, read_fit, read_material):
        with pytest.raises(InputError, match="not a file"):
            read(tmp_path / "nowhere.obj")
    with pytest.raises(InputError, match="3 vertices"):
        read_fit(written(tmp_path, "a.mhclo", MHCLO)).place(BASE[:3])


def grid(count: int) -> ObjMesh:
    x, y = np.meshgrid(np.arange(count + 1.0), np.arange(count + 1.0))
    number = np.arange((count + 1) ** 2).reshape(count + 1, -1)
    quads = np.stack([number[:-1, :-1], number[:-1, 1:], number[1:, 1:], number[1:, :-1]], -1).reshape(-1, 4)
    vertices = np.stack([x.ravel(), y.ravel(), 0 * x.ravel()], 1)
    return ObjMesh(vertices, vertices[:, :2] / count, quads, quads)


def area(mesh: ObjMesh) -> float:
    a, b, c, d = (mesh.vertices[mesh.quads[:, k]] for k in range(4))
    return float(0.5 * (np.cross(b - a, c - a)[:, 2] + np.cross(c - a, d - a)[:, 2]).sum())


@pytest.mark.parametrize("border", [1.25, 2.0, 3.5])
def test_a_cut_ends_at_its_border_and_keeps_the_texture_in_place(border: float) -> None:
    mesh = grid(5)
    part = cut(mesh, border - mesh.vertices[:, 1])
    assert part.vertices[:, 1].max() == pytest.approx(border)
    assert area(part) == pytest.approx(5 * border)
    np.testing.assert_allclose(part.uv[part.uv_quads] * 5, part.vertices[part.quads][..., :2], atol=1e-12)


def test_refining_keeps_the_surface_and_quarters_its_faces() -> None:
    mesh = grid(3)
    fine = refined(mesh)
    assert (len(fine.quads), len(fine.vertices)) == (4 * len(mesh.quads), 49)
    assert area(fine) == pytest.approx(area(mesh))
    np.testing.assert_allclose(fine.uv[fine.uv_quads] * 3, fine.vertices[fine.quads][..., :2], atol=1e-12)
