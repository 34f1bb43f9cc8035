"""Laws of the wardrobe: garments follow the body, stay outside it, and hide what they cover."""

import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy")
pytest.importorskip("numba")
pytest.importorskip("cv2")

from scipy.spatial import cKDTree

from openexpose.body.keypoints import INDEX
from openexpose.body.mesh import posed_mesh
from openexpose.body.model import BodyModel, load_body_model
from openexpose.errors import InputError
from openexpose.geometry.rotation import rotvec_to_matrix
from openexpose.synth.binding import Binding, fit_nodes, local_coordinates
from openexpose.synth.dye import dyed, pattern, plain, printed, sample_hair_colour, turned
from openexpose.synth.garments import CLOTHES, SLOTS, UNIT_M, Wardrobe, body_parts, read_wardrobe
from openexpose.synth.library import default_assets
from openexpose.synth.raster import rasterise, vertex_normals
from openexpose.synth.thing import MASK_PARTS
from openexpose.synth.wardrobe import Outfit, dress, sample_outfit, wear

POSES: dict[str, dict[str, tuple[float, float, float]]] = {
    "zero": {},
    "arms up": {"left_shoulder": (0, 0, 1.2), "right_shoulder": (0, 0, -1.2)},
    "seated": {
        **{f"{side}_hip": (-1.5, 0.0, 0.0) for side in ("left", "right")},
        **{f"{side}_knee": (1.5, 0.0, 0.0) for side in ("left", "right")},
        "left_shoulder": (0, -0.4, -1.0),
        "right_shoulder": (0, 0.4, 1.0),
    },
    "bent": {"spine1": (0.4, 0, 0), "spine2": (0.4, 0.3, 0), "left_hip": (-0.6, 0, 0.4), "head": (0.3, 0.4, 0)},
}


@pytest.fixture(scope="module")
def model() -> BodyModel:
    return load_body_model()


@pytest.fixture(scope="module")
def wardrobe(model: BodyModel) -> Wardrobe:
    return read_wardrobe(default_assets() / "wardrobe", model)


def posed(model: BodyModel, name: str, seed: int) -> np.ndarray:
    pose = np.tile(np.eye(3), (1, 55, 1, 1))
    for joint, turn in POSES[name].items():
        pose[0, INDEX[joint]] = rotvec_to_matrix(np.array(turn, float))
    rng = np.random.default_rng(seed)
    return posed_mesh(model, pose, rng.normal(size=(1, 10)), rng.normal(size=(1, 20))).vertices[0].astype(np.float32)


def outfit_of(wardrobe: Wardrobe, *names: str, tucked: bool = False) -> Outfit:
    texture = plain(np.full(3, 90, np.float32), 8)
    textures = {}
    for name in names:
        garment = wardrobe.garments[wardrobe.number(name)]
        textures[wardrobe.number(name)] = (garment.textures or (texture,))[0], np.ones(3, np.float32)
    return dress(wardrobe, textures, tucked=tucked)


def test_garments_lie_on_the_base_body_as_they_were_baked(wardrobe: Wardrobe) -> None:
    with np.load(default_assets() / "wardrobe" / "garments.npz") as npz:
        points, starts = npz["points"] * UNIT_M, npz["points_starts"]
    frames = wardrobe.nodes.frames(wardrobe.base)
    for garment, (a, b) in zip(wardrobe.garments, pairwise(starts), strict=True):
        placed = garment.binding.place(frames, wardrobe.base)
        np.testing.assert_allclose(placed, points[a:b], atol=2e-4, err_msg=garment.name)


def test_things_move_rigidly_with_the_body(wardrobe: Wardrobe, model: BodyModel) -> None:
    rng = np.random.default_rng(0)
    outfit = sample_outfit(rng, wardrobe, detail="near")
    body = posed(model, "bent", 1)
    rotation, shift = rotvec_to_matrix(rng.normal(size=3)), rng.normal(size=3)
    things, hidden = wear(outfit, wardrobe, body)
    moved, still_hidden = wear(outfit, wardrobe, body @ rotation.T + shift)
    np.testing.assert_array_equal(hidden, still_hidden)
    for before, after in zip(things, moved, strict=True):
        np.testing.assert_allclose(after.vertices, before.moved(rotation, shift).vertices, atol=2e-5)


def test_flat_nodes_keep_heights_and_volumes_follow_any_linear_map() -> None:
    rng = np.random.default_rng(1)
    sheet = np.concatenate([rng.uniform(-1, 1, (12, 2)), np.zeros((12, 1))], 1)
    ball = rng.normal(size=(20, 3))
    base = np.concatenate([sheet, ball])
    nodes = fit_nodes(base, np.array([0, 12, 32]), np.arange(32), np.array([True, False]))
    points = np.array([[0.2, 0.3, 0.5], [0.1, -0.2, 0.4]])
    local = local_coordinates(points, nodes.frames(base), np.array([[0], [1]]))
    binding = Binding(
        np.array([[0], [1]], np.int32),
        np.ones((2, 1), np.float32),
        local,
        np.zeros((2, 3), np.int32),
        np.zeros((2, 3), np.float32),
        np.full(2, -9, np.float32),
    )
    matrix = rng.normal(size=(3, 3)) + 2 * np.eye(3)
    stretched = np.concatenate([sheet * [3.0, 0.5, 1], ball @ matrix.T])
    placed = binding.place(nodes.frames(stretched), stretched.astype(np.float32))
    np.testing.assert_allclose(placed[0], [0.6, 0.15, 0.5], atol=1e-5)
    np.testing.assert_allclose(placed[1], matrix @ points[1], atol=1e-5)


def test_what_sinks_in_is_pushed_out_to_its_clearance() -> None:
    base = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0.0]], np.float32)
    nodes = fit_nodes(base, np.array([0, 4]), np.arange(4), np.array([True]))
    frames, which = nodes.frames(base), np.zeros((3, 1), np.int32)
    points = np.array([[0.3, 0.3, -0.2], [0.3, 0.3, 0.5], [0.3, 0.3, -0.2]], np.float32)
    corners, foot = np.tile([0, 1, 2], (3, 1)).astype(np.int32), np.tile([0.4, 0.3, 0.3], (3, 1)).astype(np.float32)
    clearance = np.array([0.1, 0.1, -9], np.float32)
    binding = Binding(
        which, np.ones((3, 1), np.float32), local_coordinates(points, frames, which), corners, foot, clearance
    )
    np.testing.assert_allclose(binding.place(frames, base)[:, 2], [0.1, 0.5, -0.2], atol=1e-6)


@pytest.mark.parametrize(("name", "seed"), [(name, k) for k, name in enumerate(POSES)])
def test_clothes_stay_outside_the_body(wardrobe: Wardrobe, model: BodyModel, name: str, seed: int) -> None:
    body = posed(model, name, seed)
    normals, frames = vertex_normals(body, model.faces), wardrobe.nodes.frames(body)
    skin = np.flatnonzero(model.weights.argmax(1) < 22)
    tree = cKDTree(body[skin])
    for garment in wardrobe.garments:
        if garment.slot in CLOTHES:
            points = garment.binding.place(frames, body)
            distance, near = tree.query(points)
            height = ((points - body[skin[near]]) * normals[skin[near]]).sum(1)
            deep = (height < -0.006) & (distance < 0.04)
            assert deep.mean() < (0.002 if garment.slot == "shoes" else 0.06), garment.name


@pytest.mark.parametrize(("name", "seed"), [(name, k) for k, name in enumerate(POSES)])
def test_hidden_faces_are_covered(wardrobe: Wardrobe, model: BodyModel, name: str, seed: int) -> None:
    """Seen from around, next to nothing of the body that is not drawn would have been seen."""
    body = posed(model, name, seed)
    outfit = (
        outfit_of(wardrobe, "shirt", "jeans-b", "shoes-1") if seed % 2 else outfit_of(wardrobe, "tee-a", "leggings")
    )
    things, hidden = wear(outfit, wardrobe, body)
    vertices, faces, start = [body], [model.faces], len(body)
    for thing in things:
        vertices, faces, start = [*vertices, thing.vertices], [*faces, thing.faces + start], start + len(thing.vertices)
    points, triangles = np.concatenate(vertices), np.concatenate(faces).astype(np.int32)
    for yaw in (0.0, 1.6, 3.1, 4.7):
        turned_ = (points - body.mean(0)) @ rotvec_to_matrix(np.array([0, yaw, 0])).T
        screen = (turned_ * [170, -170, 1] + [200, 200, 0]).astype(np.float32)
        depth, face = np.full((400, 400), -1e9, np.float32), np.full((400, 400), -1, np.int32)
        rasterise(screen, triangles, np.float32(1e9), depth, face)
        seen = face[face >= 0]
        holes = np.isin(seen, np.flatnonzero(hidden)).mean()
        assert holes < 0.012, f"{name}, yaw {yaw}: {holes:.3f} of the person"
    assert hidden.mean() > 0.1


def test_outer_garments_lie_over_inner_ones(wardrobe: Wardrobe) -> None:
    for tucked in (False, True):
        outfit = outfit_of(wardrobe, "tee-c", "jeans-b", "shoes-2", tucked=tucked)
        slots = [wardrobe.garments[item.garment].slot for item in outfit.worn]
        assert slots == (["shoes", "top", "bottom"] if tucked else ["shoes", "bottom", "top"])
        inner = wardrobe.garments[outfit.worn[1].garment]
        binding = outfit.worn[2].binding
        below = (inner.cover_m[binding.corners] * binding.barycentric).sum(1)
        assert (below > 0).sum() > 50
        assert (binding.clearance_m[below > 0] >= below[below > 0] + 0.003).all()
    worn = outfit_of(wardrobe, "parka", "jeans-b").worn[0]
    assert len(worn.faces) < 0.97 * len(wardrobe.garments[worn.garment].faces), "what the outer one covers is not drawn"


def test_hats_press_the_hair_down(wardrobe: Wardrobe) -> None:
    bare, under = outfit_of(wardrobe, "bob01"), outfit_of(wardrobe, "bob01", "cap")
    (hair,), _ = wear(bare, wardrobe, wardrobe.base)
    (pressed, cap), _ = wear(under, wardrobe, wardrobe.base)
    assert pressed.vertices[:, 1].max() < cap.vertices[:, 1].max()
    low = hair.vertices[:, 1] < np.quantile(hair.vertices[:, 1], 0.2)
    np.testing.assert_allclose(pressed.vertices[low], hair.vertices[low], atol=1e-6)


def test_expressions_leave_hair_hats_and_glasses_alone(wardrobe: Wardrobe, model: BodyModel) -> None:
    outfit = outfit_of(wardrobe, "short02", "cap", "glasses-square")
    pose, betas = np.tile(np.eye(3), (2, 55, 1, 1)), np.zeros((2, 10))
    expression = np.zeros((2, 20))
    expression[1] = 1.5
    calm, lively = (
        wear(outfit, wardrobe, v.astype(np.float32))[0] for v in posed_mesh(model, pose, betas, expression).vertices
    )
    for before, after, limit_m in zip(calm, lively, (0.004, 0.002, 0.003), strict=True):
        assert np.quantile(np.linalg.norm(before.vertices - after.vertices, axis=1), 0.99) < limit_m


def test_parts_of_the_body_are_named_by_side_and_place(model: BodyModel) -> None:
    parts, centre = body_parts(model), model.v_template[model.faces].mean(1)
    assert set(np.unique(parts)) == set(range(1, MASK_PARTS.index("thing")))
    for k, name in enumerate(MASK_PARTS):
        if name.startswith("left"):
            assert (centre[parts == k, 0] > -0.01).all()
            mirrored = MASK_PARTS.index(name.replace("left", "right"))
            assert (parts == k).sum() == pytest.approx((parts == mirrored).sum(), rel=0.02)
    heights = [
        centre[parts == MASK_PARTS.index(name), 1].mean() for name in ("head", "torso", "left thigh", "left foot")
    ]
    assert heights == sorted(heights, reverse=True)


def test_garments_are_well_formed(wardrobe: Wardrobe) -> None:
    allowed = {
        "shoes": {"shin", "foot"},
        "bottom": {"torso", "thigh", "shin", "foot"},
        "top": {"torso", "upper arm", "forearm", "thigh"},
        "full": {"torso", "upper arm", "forearm", "thigh", "shin", "foot"},
    }
    assert {garment.slot for garment in wardrobe.garments} == set(SLOTS)
    assert len({garment.name for garment in wardrobe.garments}) == len(wardrobe.garments) >= 55
    for garment in wardrobe.garments:
        count = len(garment.below)
        assert garment.faces.min() >= 0 and garment.faces.max() < count, garment.name
        assert garment.corner_uv.shape == (*garment.faces.shape, 2) and garment.parts.shape == garment.faces.shape[:1]
        assert np.abs(garment.corner_uv - 0.5).max() < (0.51 if garment.textures else 3), garment.name
        np.testing.assert_allclose(garment.binding.weights.sum(1), 1, atol=1e-5)
        named = {MASK_PARTS[k].removeprefix("left ").removeprefix("right ") for k in np.unique(garment.parts)}
        assert named <= allowed.get(garment.slot, {"head"}), garment.name
        assert (garment.textures is None) == (garment.slot in ("hat", "glasses")), garment.name


def test_outfits_are_seeded_and_have_their_shares(wardrobe: Wardrobe) -> None:
    first, second = (sample_outfit(np.random.default_rng(3), wardrobe, detail="near") for _ in range(2))
    for one, other in zip(first.worn, second.worn, strict=True):
        assert one.garment == other.garment
        np.testing.assert_array_equal(one.texture, other.texture)
    rng = np.random.default_rng(4)
    outfits = [sample_outfit(rng, wardrobe, detail="far") for _ in range(150)]
    slots = [{wardrobe.garments[item.garment].slot for item in outfit.worn} for outfit in outfits]
    share = {slot: np.mean([slot in worn for worn in slots]) for slot in SLOTS}
    for slot, expected in (("top", 0.7), ("bottom", 0.7), ("shoes", 0.8), ("hair", 0.85), ("hat", 0.1)):
        assert share[slot] == pytest.approx(expected, abs=0.12), slot
    assert share["brows"] == share["lashes"] == 0
    for outfit, worn in zip(outfits, slots, strict=True):
        assert len(worn) == len(outfit.worn), "one of a slot"
        assert not ("full" in worn and worn & {"top", "bottom"})
        assert ("upper" in outfit.replaces) == bool(worn & {"top", "full"})
        assert max(item.texture.shape[0] for item in outfit.worn) <= 256 if outfit.worn else True


def test_dyes_keep_alpha_and_shading() -> None:
    rng = np.random.default_rng(5)
    texture = rng.integers(60, 200, (32, 24, 4)).astype(np.uint8)
    colour = np.array([120.0, 60.0, 30.0], np.float32)
    for made in (
        dyed(texture, colour),
        printed(texture, (colour, sample_hair_colour(rng)), pattern(rng, 32, 24)),
        turned(texture, 1.0, 0.5),
    ):
        assert made.shape == texture.shape and made.dtype == np.uint8
        np.testing.assert_array_equal(made[..., 3], texture[..., 3])
    there = texture[..., 3] > 127
    np.testing.assert_allclose(dyed(texture, colour)[there][:, :3].mean(0), colour, rtol=0.1)
    grey = np.repeat(texture[..., :1], 4, -1)
    np.testing.assert_allclose(turned(grey, 2.0, 1.3)[..., :3], grey[..., :3], atol=2)
    for seed in range(8):
        assert set(np.unique(pattern(np.random.default_rng(seed), 16, 20))) <= {0.0, 1.0}


def test_bad_wardrobes_are_refused(wardrobe: Wardrobe, model: BodyModel, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_wardrobe(tmp_path, model)
    with pytest.raises(InputError, match="a garment 'toga'"):
        wardrobe.number("toga")
    folder = tmp_path / "wardrobe"
    shutil.copytree(default_assets() / "wardrobe", folder)
    with pytest.raises(InputError, match="the free body"):
        read_wardrobe(folder, replace(model, v_template=model.v_template[:-1]))
    (folder / "shoes01_diffuse.jpg").write_bytes(b"no picture")
    with pytest.raises(InputError, match="shoes01_diffuse"):
        read_wardrobe(folder, model)
    (folder / "garments.npz").write_bytes((folder / "garments.npz").read_bytes()[:5000])
    with pytest.raises(InputError, match="cannot be read"):
        read_wardrobe(folder, model)
