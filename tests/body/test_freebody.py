"""Laws of the shipped body files, SMPLX_FREEBODY.npz and freebody_parts.npz (without the bake's dependencies)."""

from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

DATA = Path(str(files("openexpose.body"))) / "data"
BODY, PARTS = DATA / "SMPLX_FREEBODY.npz", DATA / "freebody_parts.npz"
REFLECT = np.array([-1.0, 1.0, 1.0], np.float32)
BETAS, EXPRESSIONS = slice(0, 50), slice(300, 340)
HALF = 6e-5  # metres: float16 rounding of the largest shape directions


@pytest.fixture(scope="module")
def body() -> dict[str, np.ndarray]:
    with np.load(BODY, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="module")
def parts() -> dict[str, np.ndarray]:
    with np.load(PARTS, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="module")
def swapped(body) -> np.ndarray:
    """Joint on the other side of the body."""
    names = body["joint_names"].tolist()
    swap = {"left": "right", "right": "left"}
    return np.array([names.index("_".join(swap.get(word, word) for word in name.split("_"))) for name in names])


def joints_of(body, vertices: np.ndarray) -> np.ndarray:
    return body["J_regressor"] @ vertices


def shaped(body, betas: np.ndarray) -> np.ndarray:
    return body["v_template"] + body["shapedirs"][:, :, : len(betas)].astype(np.float32) @ betas.astype(np.float32)


def test_layout_is_that_of_smplx_files(body):
    count, faces = len(body["v_template"]), len(body["f"])
    expected = {
        "v_template": (count, 3), "f": (faces, 3), "shapedirs": (count, 3, 400), "posedirs": (count, 3, 486),
        "J_regressor": (55, count), "weights": (count, 55), "kintree_table": (2, 55), "hands_meanl": (45,),
        "hands_meanr": (45,), "hands_componentsl": (45, 45), "hands_componentsr": (45, 45), "lmk_faces_idx": (51,),
        "lmk_bary_coords": (51, 3), "dynamic_lmk_faces_idx": (79, 17), "dynamic_lmk_bary_coords": (79, 17, 3),
        "ft": (faces, 3),
    }  # fmt: skip
    assert {name: body[name].shape for name in expected} == expected
    assert all(np.isfinite(body[name]).all() for name in expected)
    assert not body["shapedirs"][:, :, 50:300].any() and not body["shapedirs"][:, :, 340:].any()
    assert body["ft"].max() < len(body["vt"])
    parents = body["kintree_table"][0].astype(np.int64)
    assert parents[0] == 2**32 - 1 and (parents[1:] < np.arange(1, 55)).all()


def test_files_are_small():
    assert BODY.stat().st_size + PARTS.stat().st_size <= 8_000_000


def test_mesh_is_closed(body):
    edges = np.sort(body["f"][:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    _, uses = np.unique(edges, axis=0, return_counts=True)
    assert (uses == 2).all()
    assert np.array_equal(np.unique(body["f"]), np.arange(len(body["v_template"])))


def test_body_is_its_own_mirror_image(body, parts, swapped):
    mirror = parts["mirror"]
    assert np.array_equal(mirror[mirror], np.arange(len(mirror)))
    np.testing.assert_allclose(body["v_template"][mirror] * REFLECT, body["v_template"], atol=2e-6)
    np.testing.assert_allclose(body["weights"][mirror][:, swapped], body["weights"], atol=1e-6)
    np.testing.assert_allclose(body["J_regressor"][:, mirror][swapped], body["J_regressor"], atol=1e-6)
    directions = body["shapedirs"][:, :, BETAS].astype(np.float32)
    np.testing.assert_allclose(directions[mirror] * REFLECT[:, None], directions, atol=HALF)


def test_pose_blendshapes_are_their_own_mirror_image(body, parts, swapped):
    """A reflected pose (R -> M R M, sides exchanged) deforms the reflected vertex."""
    directions = body["posedirs"].reshape(-1, 3, 54, 9)
    rows, joints = np.nonzero(directions.any(axis=(1, 3)))
    signs = np.outer(REFLECT, REFLECT).ravel()
    here = directions[rows, :, joints].astype(np.float32)
    there = directions[parts["mirror"][rows], :, swapped[joints + 1] - 1].astype(np.float32)
    np.testing.assert_allclose(there * REFLECT[:, None] * signs, here, atol=1e-3)


def test_weights_sum_to_one(body):
    assert (body["weights"] >= 0).all()
    np.testing.assert_allclose(body["weights"].sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(body["J_regressor"].sum(1), 1, atol=1e-5)
    assert (body["weights"] > 0).sum(1).max() <= 8


def test_landmarks_lie_on_the_head(body, parts):
    on_head = np.zeros(len(body["v_template"]), bool)
    on_head[parts["head"]] = True
    for prefix in ("", "dynamic_"):
        faces, weights = body[f"{prefix}lmk_faces_idx"], body[f"{prefix}lmk_bary_coords"]
        assert (weights >= 0).all()
        np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-6)
        assert on_head[body["f"][faces]].any(-1).all()


def test_contour_points_are_evenly_spaced_and_slide_smoothly(body):
    corners = body["v_template"][body["f"][body["dynamic_lmk_faces_idx"]]]
    contour = np.einsum("rpc,rpci->rpi", body["dynamic_lmk_bary_coords"], corners)
    gaps = np.linalg.norm(np.diff(contour[0], axis=0), axis=1)
    assert gaps.min() > 0.6 * gaps.mean()
    by_yaw = np.concatenate([contour[39:0:-1], contour[:1], contour[40:]])
    np.testing.assert_allclose(by_yaw[::-1, ::-1] * REFLECT, by_yaw, atol=2e-3)
    assert np.linalg.norm(np.diff(by_yaw, axis=0), axis=-1).max() < 0.03


def test_stored_joint_errors_are_small(body):
    """Measured by the bake against MakeHuman's bone heads on 300 people it had not seen, millimetres."""
    mean, largest = body["report_joint_error_mm"].T
    assert mean.mean() < 1.5 and mean.max() < 7 and largest.max() < 25
    assert mean[25:].max() < 1
    assert body["report_shape_error_mm"][0, 1] < 7


def test_expressions_do_not_move_joints(body):
    moved = np.einsum("jv,vik->jik", body["J_regressor"], body["shapedirs"][:, :, EXPRESSIONS].astype(np.float32))
    assert np.abs(moved).max() < 5e-5


def test_joints_stay_in_place_over_shapes(body, parts):
    names, rng = body["joint_names"].tolist(), np.random.default_rng(0)
    legs = {
        side: np.flatnonzero(
            np.isin(parts["joint_label"], [names.index(f"{side}_{part}") for part in ("hip", "knee", "ankle")])
        )
        for side in ("left", "right")
    }
    for betas in rng.normal(size=(8, 10)).clip(-2, 2):
        vertices = shaped(body, betas)
        joints = joints_of(body, vertices)
        assert np.linalg.norm(joints[0]) < 2e-3  # betas leave the pelvis at the origin
        np.testing.assert_allclose(joints[1] * REFLECT, joints[2], atol=2e-4)
        for side, leg in legs.items():
            hip, knee, ankle = (joints[names.index(f"{side}_{part}")] for part in ("hip", "knee", "ankle"))
            assert hip[1] > knee[1] > ankle[1]
            near = vertices[leg][np.abs(vertices[leg][:, 1] - knee[1]) < 0.02]
            assert (near.min(0) < knee)[[0, 2]].all() and (knee < near.max(0))[[0, 2]].all()


def test_rest_pose_is_the_documented_one(body):
    names = body["joint_names"].tolist()
    joints = joints_of(body, body["v_template"])

    def direction(start: str, end: str) -> np.ndarray:
        link = joints[names.index(end)] - joints[names.index(start)]
        return link / np.linalg.norm(link)

    for start, end in (("left_shoulder", "left_elbow"), ("left_elbow", "left_wrist")):
        assert direction(start, end)[0] > np.cos(np.deg2rad(2))
    for finger in ("index", "middle", "ring", "pinky", "thumb"):
        first, second = direction(f"left_{finger}1", f"left_{finger}2"), direction(f"left_{finger}2", f"left_{finger}3")
        assert first @ second > np.cos(np.deg2rad(2)) and abs(first[1]) < np.sin(np.deg2rad(2))
    thumb = direction("left_thumb1", "left_thumb2")
    assert np.rad2deg(np.arctan2(thumb[2], thumb[0])) == pytest.approx(45, abs=2)
    assert -direction("left_hip", "left_ankle")[1] > np.cos(np.deg2rad(2))


def test_keypoint_vertices_sit_where_loaders_look(body):
    """The vertex numbers are those the SMPL-X format's loaders use for single-vertex keypoints."""
    template, names = body["v_template"], body["joint_names"].tolist()
    joints = joints_of(body, template)
    assert abs(template[9120, 0]) < 1e-3 and template[9120, 2] > joints[names.index("left_eye"), 2]
    assert np.linalg.norm(template[9448] - joints[names.index("left_eye")]) < 0.02
    tips = dict(zip(("thumb", "index", "middle", "ring", "pinky"), (5361, 4933, 5058, 5169, 5286), strict=True))
    for finger, vertex in tips.items():
        last = joints[names.index(f"left_{finger}3")]
        assert 0.01 < np.linalg.norm(template[vertex] - last) < 0.04
        assert np.linalg.norm(template[vertex]) > np.linalg.norm(last)
    heel, big_toe, small_toe = template[[8846, 5770, 5780]]
    ankle = joints[names.index("left_ankle")]
    assert heel[2] < ankle[2] < small_toe[2] < big_toe[2]
    assert small_toe[0] > big_toe[0] > 0


def test_hand_components_are_orthonormal_and_mirrored(body):
    left, right = body["hands_componentsl"], body["hands_componentsr"]
    np.testing.assert_allclose(left @ left.T, np.eye(45), atol=1e-5)
    signs = np.tile([1.0, -1.0, -1.0], 15)
    np.testing.assert_allclose(left * signs, right, atol=1e-6)
    np.testing.assert_allclose(body["hands_meanl"] * signs, body["hands_meanr"], atol=1e-6)


def test_parts_cover_the_body(body, parts):
    count = len(body["v_template"])
    whole = np.concatenate([parts[name] for name in ("left_hand", "right_hand", "head", "body")])
    assert np.array_equal(np.sort(whole), np.arange(count))
    assert np.isin(parts["eyes"], parts["head"]).all() and np.isin(parts["inner_mouth"], parts["head"]).all()
    assert np.array_equal(np.sort(parts["mirror"][parts["left_hand"]]), parts["right_hand"])
    assert parts["vertex_colors"].shape == (count, 3) and parts["vertex_colors"].dtype == np.uint8
    assert np.array_equal(parts["joint_label"], body["weights"].argmax(1))
    index = parts["makehuman_index"]
    assert len(np.unique(index)) == count and index.min() >= 0 and index.max() < 19158


def test_named_actions_mirror_each_other(body, parts):
    """A one-sided facial action and its partner are mirror images as fields of motion."""
    names = parts["action_names"].tolist()
    directions = body["shapedirs"][:, :, EXPRESSIONS].astype(np.float32)

    def field(action: str) -> np.ndarray:
        return directions @ parts["action_coefficients"][names.index(action)]

    for action in ("mouthSmile", "eyeBlink", "browOuterUp"):
        left, right = field(f"{action}Left"), field(f"{action}Right")
        error = np.linalg.norm(left[parts["mirror"]] * REFLECT - right) / np.linalg.norm(right)
        assert error < 0.1
    blink = field("eyeBlinkLeft")
    lid = np.argmax(np.linalg.norm(blink, axis=1))
    assert blink[lid, 1] < -0.005 and body["v_template"][lid, 0] > 0


def test_stock_loader_reads_the_file(body):
    smplx = pytest.importorskip("smplx")
    torch = pytest.importorskip("torch")
    model = smplx.create(str(BODY), use_face_contour=True, num_expression_coeffs=20, use_pca=False, flat_hand_mean=True)
    with torch.no_grad():
        output = model()
    assert output.joints.shape == (1, 144, 3)
    np.testing.assert_allclose(output.vertices[0].numpy(), body["v_template"], atol=1e-5)
