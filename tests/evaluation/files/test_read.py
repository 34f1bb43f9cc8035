"""Formats of answers: every one gives back what was written, and nothing doubtful is measured."""

import os
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.evaluation.files.fixtures import (
    BOXES,
    CANONICAL,
    FLIP,
    JOINTS,
    STYLES,
    TABLES,
    answer,
    expose_file,
    fitted_file,
    freebody,
    in_camera,
    joints_file,
    mesh_file,
    people,
    posed,
    smplx,
    smplx_tables,
    subject,
)

from openexpose.body.keypoints import INDEX, KEYPOINT_NAMES, PARTS
from openexpose.body.mesh import posed_mesh
from openexpose.data.skeletons import LSP14
from openexpose.errors import InputError
from openexpose.evaluation.files.folder import FolderSystem
from openexpose.evaluation.files.names import joint_name
from openexpose.formats import native
from openexpose.geometry.rotation import rotvec_to_matrix
from openexpose.people import POSE_SLICES


def test_own_npz_gives_meshes_and_keypoints_back_and_boxes_tell_who_is_who(tmp_path: Path) -> None:
    native.write_npz(tmp_path / "a.npz", people(), image_name="a.jpg", focal_source="given")
    truth = posed(freebody())
    for k in (1, 0):
        got = answer(tmp_path, asked=subject(box_xyxy_px=BOXES[k] + 3.0))
        assert got.mesh is not None and got.mesh.topology == "freebody" and got.joints_m is not None
        np.testing.assert_allclose(got.mesh.vertices_m, in_camera(truth.vertices)[k], atol=1e-5)
        np.testing.assert_allclose(got.joints_m, in_camera(truth.joints)[k], atol=1e-5)
        assert got.score == pytest.approx(float(people().score[k])) and got.joint_names == KEYPOINT_NAMES
        x, y, z = got.joints_m.T
        np.testing.assert_allclose(got.keypoints_px, np.stack([700 * x / z + 320, 700 * y / z + 240], 1), atol=1e-3)
    assert FolderSystem(tmp_path, tables=TABLES)(subject(box_xyxy_px=np.array([400.0, 0, 500, 99]))) is None
    first = answer(tmp_path)
    np.testing.assert_array_equal(first.box_xyxy_px, BOXES[0])


def test_own_npz_of_a_lone_part_has_only_its_joints_and_is_in_metres_anyway(tmp_path: Path) -> None:
    native.write_npz(tmp_path / "a.npz", replace(people()[:1], part="face"), image_name="a", focal_source="given")
    got = answer(tmp_path, unit="mm")
    assert set(got.joint_names) == {KEYPOINT_NAMES[k] for k in PARTS["face"]}
    assert got.keypoints_px is not None
    np.testing.assert_array_equal(np.flatnonzero(np.isfinite(got.keypoints_px[:, 0])), np.sort(PARTS["face"]))


def test_own_npz_of_another_body_needs_that_body(tmp_path: Path) -> None:
    owned = replace(people()[:1], body_model="SMPLX_NEUTRAL")
    native.write_npz(tmp_path / "a.npz", owned, image_name="a", focal_source="given")
    got = answer(tmp_path, smplx_tables())
    assert got.mesh is not None
    np.testing.assert_allclose(got.mesh.vertices_m, in_camera(posed(smplx()).vertices)[0], atol=1e-5)
    with pytest.raises(InputError, match=r"'a.npz'.*SMPLX_NEUTRAL.*--body-model"):
        answer(tmp_path)


def test_own_json_gives_joints_back(tmp_path: Path) -> None:
    joints = in_camera(posed(freebody()).joints)
    native.write_json(tmp_path / "a.json", people(), joints, image_name="a.jpg", focal_source="given")
    got = answer(tmp_path, asked=subject(box_xyxy_px=BOXES[1]), unit="mm")
    assert got.mesh is None and got.joint_names == KEYPOINT_NAMES
    np.testing.assert_allclose(got.joints_m, joints[1], atol=1e-5)
    xy = 700 * joints[1, :, :2] / joints[1, :, 2:] + [320, 240]
    np.testing.assert_allclose(got.keypoints_px, xy, atol=0.01)


@pytest.mark.parametrize("name", ["a.jpg_003/a_params.npz", "a_params.npz", "run/a.jpg_000/a.jpg_000_params.npz"])
def test_expose_parameters(tmp_path: Path, name: str) -> None:
    vertices, joints = expose_file(tmp_path / name, seconds=0.5)
    if ".jpg_" in name:
        mesh_file((tmp_path / name).with_name("body_a.ply"), vertices + 7, smplx().faces)
    got = answer(tmp_path)
    transl = np.array([0.1, 0.2, 2 * 5000 / (0.9 * 400)])
    assert got.mesh is not None and got.seconds == 0.5 and got.joint_names == KEYPOINT_NAMES
    np.testing.assert_allclose(got.mesh.vertices_m, vertices + transl, atol=1e-6)
    np.testing.assert_array_equal(got.mesh.faces, smplx().faces)
    np.testing.assert_allclose(got.joints_m, joints + transl, atol=1e-6)
    in_crop = 0.9 * (joints[:, :2] + [0.1, 0.2])  # the crop's side is 400 pixels
    np.testing.assert_allclose(got.keypoints_px, [310, 250] + 200 * in_crop, atol=1e-3)


def test_smplifyx_parameters(tmp_path: Path) -> None:
    fitted_file(tmp_path)
    got = answer(tmp_path, smplx_tables())
    assert got.mesh is not None and got.joints_m is not None
    np.testing.assert_allclose(got.mesh.vertices_m, in_camera(posed(smplx()).vertices)[0], atol=1e-5)
    np.testing.assert_allclose(got.joints_m, in_camera(posed(smplx()).joints)[0], atol=1e-5)
    with pytest.raises(InputError, match=r"'results/a/000.pkl'.*--body-model"):
        answer(tmp_path)


def test_smplifyx_hands_as_principal_components(tmp_path: Path) -> None:
    numbers = np.random.default_rng(1).normal(size=12)
    fitted_file(tmp_path, left_hand_pose=numbers[None], right_hand_pose=np.zeros((1, 12)), expression=np.zeros((1, 10)))
    pose = people().pose[:1].copy()
    hands = smplx().hand_mean + np.stack([numbers @ smplx().hand_components[0, :12], np.zeros(45)])
    for side, name in enumerate(("left_hand_pose", "right_hand_pose")):
        pose[0, POSE_SLICES[name]] = rotvec_to_matrix(hands[side].reshape(15, 3))
    truth = posed_mesh(smplx(), pose, people().betas[:1], np.zeros((1, 20)))
    got = answer(tmp_path, smplx_tables())
    np.testing.assert_allclose(got.joints_m, in_camera(truth.joints)[0], atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"body_pose": np.zeros((1, 32))}, "VPoser.*meshes"),
        ({"body_pose": None}, "no 'body_pose'"),
        ({"betas": np.ones((1, 11))}, "11 betas"),
        ({"jaw_pose": np.full((1, 3), np.nan)}, "'jaw_pose' with NaN"),
        ({"leye_pose": "text"}, "'leye_pose'"),
    ],
)
def test_smplifyx_parameters_that_cannot_be_posed(tmp_path: Path, changes: dict, message: str) -> None:
    fitted_file(tmp_path, **changes)
    with pytest.raises(InputError, match=rf"'results/a/000.pkl'.*{message}"):
        answer(tmp_path, smplx_tables())


def test_smplifyx_meshes_are_turned_back_and_go_before_parameters(tmp_path: Path) -> None:
    fitted_file(tmp_path, body_pose=np.zeros((1, 32)))
    vertices = posed(smplx()).vertices[0]
    mesh_file(tmp_path / "meshes" / "a" / "000.obj", vertices * FLIP, smplx().faces)
    system = FolderSystem(tmp_path, tables=TABLES, name="SMPLify-X")
    got = system(subject())
    assert got is not None and got.mesh is not None and got.joints_m is None
    np.testing.assert_allclose(got.mesh.vertices_m, vertices, atol=1e-6)
    assert system.name == "SMPLify-X" and any("turned back" in note for note in system.notes)
    alone = FolderSystem(tmp_path / "meshes", tables=TABLES)(subject())
    assert alone is not None and alone.mesh is not None
    np.testing.assert_array_equal(alone.mesh.vertices_m, got.mesh.vertices_m)


class _Trap:
    def __reduce__(self) -> tuple:
        return os.mkdir, ("trap",)


def test_malicious_files_are_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "answers"
    fitted_file(folder, betas=_Trap())
    with pytest.raises(InputError, match=r"'results/a/000.pkl'.*not run"):
        answer(folder, smplx_tables())
    np.savez(folder / "a.npz", joints=np.array([_Trap()], object), joint_names=np.array(["nose"]))
    with pytest.raises(InputError, match=r"'a.npz'.*'joints'"):
        answer(folder)
    assert not (tmp_path / "trap").exists()


@pytest.mark.parametrize("suffix", ["ply", "obj"])
@pytest.mark.parametrize("unit", ["m", "mm"])
def test_meshes_keep_their_vertices_and_get_joints(tmp_path: Path, suffix: str, unit: str) -> None:
    vertices = posed(smplx()).vertices[0].astype(float)
    mesh_file(tmp_path / f"a.{suffix}", vertices * (1000 if unit == "mm" else 1), smplx().faces)
    got = answer(tmp_path, smplx_tables(), unit=unit)
    assert got.mesh is not None and got.joints_m is not None
    np.testing.assert_allclose(got.mesh.vertices_m, vertices, atol=2e-6)
    np.testing.assert_allclose(got.joints_m[:55], smplx_tables().regressor @ vertices, atol=1e-5)  # type: ignore[operator]
    np.testing.assert_allclose(got.joints_m[55:127], posed(smplx()).joints[0, 55:127], atol=1e-5)
    assert answer(tmp_path, unit=unit).joints_m is None


def test_joints_on_a_mesh_of_the_free_body(tmp_path: Path) -> None:
    truth = posed(freebody())
    mesh_file(tmp_path / "a.ply", truth.vertices[0], freebody().faces)
    got = answer(tmp_path)
    assert got.joints_m is not None
    np.testing.assert_allclose(got.joints_m[55:127], truth.joints[0, 55:127], atol=1e-5)
    off_m = np.linalg.norm(got.joints_m - truth.joints[0], axis=1)
    assert off_m[:55].mean() < 0.01 and off_m[127:].mean() < 0.003


def test_renumbered_vertices_are_put_in_order(tmp_path: Path) -> None:
    model = freebody()
    vertices = posed(model).vertices[0].astype(float)
    order = np.random.default_rng(2).permutation(len(vertices))
    mesh_file(tmp_path / "a.ply", vertices[order], np.argsort(order)[model.faces])
    got = answer(tmp_path)
    assert got.mesh is not None
    np.testing.assert_allclose(got.mesh.vertices_m, vertices, atol=1e-6)


def test_textured_obj_keeps_its_vertices_and_a_cloud_has_no_faces(tmp_path: Path) -> None:
    corners = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\n"
    (tmp_path / "a.obj").write_text(
        "mtllib no.mtl\n" + corners + "vt 0 0\nvt 1 0\nvt 0 1\nf 1/1 2/2 3/3\nf 1/3 3/1 4/2\n"
    )
    (tmp_path / "b.obj").write_text(corners)
    textured, cloud = answer(tmp_path), answer(tmp_path, asked=subject("set/b", "pictures/b.jpg"))
    assert textured.mesh is not None and cloud.mesh is not None
    for got in (textured.mesh, cloud.mesh):
        np.testing.assert_array_equal(got.vertices_m, [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    assert len(textured.mesh.faces) == 2 and len(cloud.mesh.faces) == 0


@pytest.mark.parametrize("style", STYLES)
def test_named_joints(tmp_path: Path, style: str) -> None:
    joints_file(tmp_path / style, JOINTS, seconds=0.25, score=0.5, bbox_xyxy=[1, 2, 3, 4])
    got = answer(tmp_path)
    np.testing.assert_allclose(got.joints_m, JOINTS)
    assert (got.joint_names, got.seconds, got.score) == (CANONICAL, 0.25, 0.5)
    np.testing.assert_array_equal(got.box_xyxy_px, [1, 2, 3, 4])
    np.testing.assert_allclose(got.joints(["nose", "head_top"]), JOINTS[4:6])


@pytest.mark.parametrize("style", STYLES)
def test_millimetres_are_refused_and_accepted_when_told(tmp_path: Path, style: str) -> None:
    joints_file(tmp_path / style, 1000 * JOINTS)
    with pytest.raises(InputError, match=r"'a\.(npz|json)'.*millimetres: --unit mm"):
        answer(tmp_path)
    np.testing.assert_allclose(answer(tmp_path, unit="mm").joints_m, JOINTS)
    joints_file(tmp_path / style, JOINTS)
    with pytest.raises(InputError, match="leave out --unit mm"):
        answer(tmp_path, unit="mm")


@pytest.mark.parametrize("style", STYLES)
def test_nan_is_refused(tmp_path: Path, style: str) -> None:
    joints = JOINTS.copy()
    joints[2, 1] = np.nan
    joints_file(tmp_path / style, joints)
    with pytest.raises(InputError, match=r"'a\.(npz|json)'.*'joints' with NaN"):
        answer(tmp_path)


def test_nan_in_a_mesh_is_refused(tmp_path: Path) -> None:
    vertices = posed(smplx()).vertices[0].copy()
    vertices[7] = np.nan
    np.savez(tmp_path / "a.npz", vertices=vertices)
    with pytest.raises(InputError, match=r"'a.npz'.*NaN"):
        answer(tmp_path)
    (tmp_path / "a.npz").unlink()
    header = (
        "ply\nformat ascii 1.0\nelement vertex 2\nproperty float x\nproperty float y\nproperty float z\nend_header\n"
    )
    (tmp_path / "a.ply").write_text(header + "0 0 nan\n1 1 1\n")
    with pytest.raises(InputError, match=r"'a.ply'.*NaN"):
        answer(tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.npz", b"PK\x03\x04 no archive"),
        ("a.npz", b""),
        ("a_params.npz", b"junk"),
        ("a.json", b'{"joints": '),
        ("a.json", b"[1, 2]"),
        ("a.json", b'{"people": 3}'),
        ("a.json", b'{"joint_names": ["nose"], "joints": [[0, 0, 1], [1, 1, 1]]}'),
        ("a.json", b'{"joint_names": ["nose", "neck"], "joints": [[0, 0, 1], [1]]}'),
        ("a.json", b'{"joints": [[0, 0, 1]]}'),
        ("a.json", b"{}"),
        ("a.pkl", b"\x80\x02"),
        ("a.pkl", pickle.dumps([1])),
        ("a.obj", b"nothing"),
        ("a.obj", b"v 0 0 0\nv 1 0 0\nf 1 2 9\n"),
        ("a.ply", b"ply\nformat ascii 1.0\nelement vertex 9\n"),
        ("a.ply", b""),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=f"'{name}'"):
        answer(tmp_path, smplx_tables())


def test_cut_archives_are_refused(tmp_path: Path) -> None:
    expose_file(tmp_path / "a_params.npz")
    whole = (tmp_path / "a_params.npz").read_bytes()
    for length in (len(whole) // 2, len(whole) - 30):
        (tmp_path / "a_params.npz").write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"'a_params.npz'"):
            answer(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"joints": np.zeros((5, 3))}, "5 joints"),
        ({"vertices": np.zeros((7, 2))}, "'vertices' of shape"),
        ({"transl": np.zeros(2)}, "'transl' of shape"),
    ],
)
def test_expose_parameters_of_wrong_shapes(tmp_path: Path, changes: dict, message: str) -> None:
    expose_file(tmp_path / "a_params.npz", **changes)
    with pytest.raises(InputError, match=f"'a_params.npz'.*{message}"):
        answer(tmp_path)


def test_names_of_joints() -> None:
    assert all(joint_name(name) == name for name in KEYPOINT_NAMES)
    assert joint_name("MidHip") == "pelvis" and joint_name("RBigToe") == "right_big_toe"
    assert joint_name("left_index4") == "left_index" and joint_name("left_index3") == "left_index3"
    lsp = [joint_name(f"{side}_{joint}") for side in "rl" for joint in ("ankle", "knee", "hip")]
    assert {INDEX[name] for name in lsp} == set(LSP14[:6])
    with pytest.raises(InputError, match=r"left_elbov.*left_elbow"):
        joint_name("left_elbov")


def test_unknown_and_double_names_are_refused(tmp_path: Path) -> None:
    joints_file(tmp_path / "list.json", JOINTS[:2], ["nose", "tail"])
    with pytest.raises(InputError, match=r"'a.json'.*'tail'"):
        answer(tmp_path)
    joints_file(tmp_path / "list.json", JOINTS[:2], ["Nose", "nose"])
    with pytest.raises(InputError, match="two joints"):
        answer(tmp_path)
    np.savez(tmp_path / "a.npz", joints=JOINTS)
    with pytest.raises(InputError, match=r"'a.npz' without 'joint_names'"):
        answer(tmp_path)
