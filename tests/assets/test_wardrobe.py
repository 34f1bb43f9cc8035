"""Baking garments: binding, cover, and a made-up garment from its files to the renderer's wardrobe."""

import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy")
pytest.importorskip("numba")
pytest.importorskip("cv2")

import cv2

from openexpose.assets import rebind
from openexpose.assets.accessories import glasses, hat, hat_plane
from openexpose.assets.rebind import VOLUMES, BaseBody, eye_centres, read_base_body
from openexpose.assets.wardrobe import Source, _bled, _without_print, bake_garment, own_garments, write_wardrobe
from openexpose.body.keypoints import INDEX
from openexpose.body.model import BodyModel, load_body_model
from openexpose.errors import InputError
from openexpose.synth.wardrobe import dress, read_wardrobe, wear


@pytest.fixture(scope="module")
def model() -> BodyModel:
    return load_body_model()


@pytest.fixture(scope="module")
def parts() -> dict[str, np.ndarray]:
    with (files("openexpose.body") / "data" / "freebody_parts.npz").open("rb") as file:
        return dict(np.load(file, allow_pickle=False))


@pytest.fixture(scope="module")
def base(model: BodyModel, parts: dict[str, np.ndarray]) -> np.ndarray:
    """The free body itself as base mesh, metres."""
    out = np.zeros((parts["makehuman_index"].max() + 1, 3))
    out[parts["makehuman_index"]] = model.v_template
    return out


@pytest.fixture(scope="module")
def body(model: BodyModel, base: np.ndarray, parts: dict[str, np.ndarray]) -> BaseBody:
    return read_base_body(model, base, parts)


def skin_patch(body: BaseBody) -> tuple[np.ndarray, np.ndarray]:
    """Vertices of the left thigh's skin and their triangles, renumbered."""
    thigh = body.outer & body.labelled("left_hip", "left_knee") & (np.abs(body.vertices[:, 0]) > 0.03)
    faces = body.faces[thigh[body.faces].all(1)]
    used, faces = np.unique(faces, return_inverse=True)
    return used, faces.reshape(-1, 3)


def made_up(folder: Path, body: BaseBody, parts: dict[str, np.ndarray], texture: bool = True) -> Path:
    """A stocking that lies on the skin, as MakeHuman's files."""
    used, faces = skin_patch(body)
    where = folder / "geometry" / "clothes" / "stocking"
    where.mkdir(parents=True)
    lines = [f"v {x} {y} {z}" for x, y, z in body.vertices[used]]
    lines += [f"vt {y} {z}" for _, y, z in body.vertices[used] % 1]
    lines += ["f " + " ".join(f"{k + 1}/{k + 1}" for k in face) for face in faces]
    (where / "stocking.obj").write_text("\n".join(lines))
    rows = parts["makehuman_index"]
    a, b = rows[used[0]], rows[used[-1]]
    scales = "".join(f"{axis}_scale {a} {b} 1.0\n" for axis in "xyz")
    head = f"basemesh hm08\nname stocking\nobj_file stocking.obj\nmaterial stocking.mhmat\n{scales}verts 0\n"
    (where / "stocking.mhclo").write_text(head + "\n".join(str(rows[k]) for k in used))
    (where / "stocking.mhmat").write_text("diffuseTexture stocking.png\n")
    if texture:
        (folder / "clothes" / "stocking").mkdir(parents=True)
        picture = np.full((40, 40, 4), 255, np.uint8)
        picture[:, :20, 3] = 0
        cv2.imwrite(str(folder / "clothes" / "stocking" / "stocking.png"), picture)
    return folder


STOCKING = Source("stocking", "bottom", "clothes/stocking/stocking.mhclo")


def test_a_made_up_garment_goes_from_its_files_to_a_body(
    tmp_path: Path, model: BodyModel, body: BaseBody, base: np.ndarray, parts: dict[str, np.ndarray]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    baked = bake_garment(STOCKING, made_up(tmp_path, body, parts), base * 10, body, out)
    used, faces = skin_patch(body)
    lifted = ((baked.bound.points - body.vertices[used]) * body.normals[used]).sum(1)
    assert np.quantile(lifted, [0.02, 0.5, 0.98]) == pytest.approx([0.006, 0.006, 0.006], abs=0.002)
    hidden = np.isin(body.faces[baked.hidden], used).all(1)
    assert hidden.all() and 0.5 * len(faces) < len(baked.hidden) < len(faces)
    assert np.nanmedian(baked.cover) == pytest.approx(0.006, abs=0.001)
    write_wardrobe(body, [baked], out)
    assert {p.name for p in out.iterdir()} == {"garments.npz", "index.json", "stocking.jpg", "stocking.png"}
    assert "CC0" in json.loads((out / "index.json").read_text())["garments"][0]["origin"]
    wardrobe = read_wardrobe(out, model)
    (garment,) = wardrobe.garments
    assert garment.textures is not None and garment.textures[0].shape == (40, 40, 4)
    assert set(np.unique(garment.textures[0][:, [0, -1], 3])) == {0, 255}
    outfit = dress(wardrobe, {0: (garment.textures[0], np.ones(3, np.float32))})
    (thing,), covered = wear(outfit, wardrobe, model.v_template)
    np.testing.assert_allclose(thing.vertices, baked.bound.points, atol=3e-4)
    np.testing.assert_array_equal(np.flatnonzero(covered), baked.hidden)


def test_a_garment_without_texture_has_none(
    tmp_path: Path, body: BaseBody, base: np.ndarray, parts: dict[str, np.ndarray]
) -> None:
    baked = bake_garment(STOCKING, made_up(tmp_path, body, parts, texture=False), base * 10, body, tmp_path)
    assert baked.entry["texture"] is None


def test_other_meshes_and_missing_files_are_refused(
    tmp_path: Path, model: BodyModel, body: BaseBody, base: np.ndarray, parts: dict[str, np.ndarray]
) -> None:
    with pytest.raises(InputError, match="free body"):
        read_base_body(model, base[:100], parts)
    with pytest.raises(InputError, match="not a file"):
        bake_garment(STOCKING, tmp_path, base * 10, body, tmp_path)
    folder = made_up(tmp_path, body, parts)
    path = folder / "geometry" / STOCKING.path
    path.write_text(path.read_text().rsplit("\n", 1)[0])
    with pytest.raises(InputError, match="equally many"):
        bake_garment(STOCKING, folder, base * 10, body, tmp_path)


def test_nearest_points_are_those_of_all_triangles(body: BaseBody) -> None:
    rng = np.random.default_rng(0)
    vertices = rng.normal(size=(30, 3))
    faces = rng.permuted(np.tile(np.arange(30), (40, 1)), axis=1)[:, :3]
    points = rng.normal(size=(50, 3)) * 2
    face, weights = rebind.nearest(points, vertices, faces, 40)
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(1), 1)
    found = np.linalg.norm(np.einsum("pc,pci->pi", weights, vertices[faces[face]]) - points, axis=1)
    samples = rng.dirichlet(np.ones(3), 4000)
    everywhere = np.einsum("sc,fci->fsi", samples, vertices[faces]).reshape(-1, 3)
    best = np.array([np.linalg.norm(everywhere - point, axis=1).min() for point in points])
    assert (found <= best + 1e-9).all()
    assert (best - found).max() < 0.1


def test_nodes_lie_on_the_skin_and_patches_keep_to_their_limb(body: BaseBody) -> None:
    nodes = body.nodes
    assert len(nodes.flat) == body.distance.shape[1] == len(body.fine)
    np.testing.assert_allclose(np.add.reduceat(nodes.coefficients[:, 0], nodes.starts[:-1]), 1, atol=1e-4)
    spread = [
        np.ptp(body.vertices[nodes.vertices[a:b]], axis=0).max()
        for a, b in zip(nodes.starts[len(VOLUMES) : -1], nodes.starts[len(VOLUMES) + 1 :], strict=True)
    ]
    assert np.median(spread) < 0.1 and max(spread) < 0.2
    assert body.outer[nodes.vertices].all()


def test_border_rings_are_taken_off(body: BaseBody) -> None:
    everything = np.ones(len(body.vertices), bool)
    assert body.rings(everything, 3).all()
    half = body.vertices[:, 1] > 0
    once, twice = body.rings(half, 1), body.rings(half, 2)
    assert (once <= half).all() and (twice <= once).all() and twice.sum() < once.sum() < half.sum()
    assert half[body.faces[once[body.faces].any(1)]].all()


def test_glasses_sit_before_the_eyes_and_hats_over_the_skull(body: BaseBody) -> None:
    eyes = eye_centres(body.vertices, body.label)
    for lenses in (False, True):
        frame = glasses(body, roundness=2.5, size=1.0, lenses=lenses)
        front = frame.vertices[frame.vertices[:, 2] > eyes[0, 2]]
        assert abs(front[:, 1].mean() - eyes[0, 1]) < 0.015
        assert 0.11 < np.ptp(frame.vertices[:, 0]) < 0.2
        assert frame.vertices[:, 2].min() < eyes[0, 2] - 0.06
    plane = hat_plane(body)
    crown = body.vertices[body.labelled("head")]
    for fold in (False, True):
        dome = hat(body, visor_m=0.0, fold=fold)
        assert dome.vertices[:, 1].max() > crown[:, 1].max()
        assert (dome.vertices @ plane[:3] > plane[3] - 0.02).all()
    assert (hat(body, visor_m=0.07, fold=False).vertices[:, 2]).max() > crown[:, 2].max() + 0.03


def test_own_garments_follow_the_head_alone(body: BaseBody) -> None:
    own = own_garments(body)
    assert {g.slot for g in own} == {"glasses", "hat"}
    for garment in own:
        assert set(np.unique(garment.bound.nodes[garment.bound.weights > 0])) <= {
            VOLUMES.index("skull"),
            VOLUMES.index("glasses"),
        }
        assert garment.mesh.quads.max() < len(garment.mesh.vertices)
        assert len(garment.hidden) == 0


def test_shoes_belong_to_the_foot_of_their_side(body: BaseBody) -> None:
    feet = body.outer & body.labelled("left_ankle", "right_ankle", "left_foot", "right_foot")
    points = body.vertices[feet]
    shares = rebind.foot_shares(body, points, feet)
    np.testing.assert_allclose(np.sum(list(shares.values()), 0), 1)
    left = sum(share for name, share in shares.items() if name.startswith("left"))
    np.testing.assert_allclose(left, points[:, 0] > 0)
    assert body.label[feet].max() <= INDEX["right_foot"]


def test_prints_are_taken_off_and_the_cloth_stays() -> None:
    rng = np.random.default_rng(1)
    cloth = (rng.normal(0, 3, (60, 80, 3)) + [150, 90, 40]).clip(0, 255).astype(np.uint8)
    printed = cloth.copy()
    printed[20:30, 30:45] = 250
    clean = _without_print(printed, (0.25, 0.2, 0.75, 0.7))
    assert np.abs(clean[20:30, 30:45].astype(int) - [150, 90, 40]).mean() < 8
    np.testing.assert_array_equal(clean[:10], cloth[:10])


def test_transparent_texels_take_the_colour_of_their_neighbours() -> None:
    colour, alpha = np.zeros((50, 50, 3), np.uint8), np.zeros((50, 50), np.uint8)
    colour[20:30, 20:30], alpha[20:30, 20:30] = (10, 200, 90), 255
    np.testing.assert_allclose(_bled(colour, alpha), np.tile([10, 200, 90], (50, 50, 1)), atol=1)
