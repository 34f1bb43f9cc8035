"""Files that are transferred, and files that come of it."""

from pathlib import Path

import numpy as np
import pytest
from tests.fitting import standins

from openexpose.errors import InputError
from openexpose.fitting.models import SkinnedModel, load_model
from openexpose.fitting.transfer_files import Motion, read_content, read_motion, told_model, write_motion
from openexpose.fitting.transfer_skin import Parameters, posed_vertices
from openexpose.formats.native import read_npz, write_npz
from openexpose.formats.tracks import read_motion as read_clip
from openexpose.formats.tracks import write_track
from openexpose.geometry.rotation import matrix_to_rotvec
from openexpose.motion import Clip, Track


@pytest.fixture(scope="module")
def body() -> SkinnedModel:
    return load_model("freebody")


@pytest.fixture(scope="module")
def hand(tmp_path_factory: pytest.TempPathFactory) -> SkinnedModel:
    path = tmp_path_factory.mktemp("models") / "MANO_RIGHT.npz"
    return load_model(standins.write_npz(path, standins.standin("right-hand", cell_m=0.015)))


def read(path: Path, model: SkinnedModel) -> Motion:
    return read_motion(path, read_content(path), model)


def save(path: Path, **arrays: object) -> Path:
    np.savez(path, **arrays)
    return path


def same(found: Parameters | None, given: Parameters) -> None:
    assert found is not None
    for name in ("pose", "betas", "expression", "transl"):
        np.testing.assert_allclose(getattr(found, name), getattr(given, name), atol=1e-5, err_msg=name)


def rotvecs(given: Parameters) -> np.ndarray:
    return matrix_to_rotvec(given.pose).reshape(len(given), -1)


@pytest.mark.parametrize("layout", ["native", "poses", "pose"])
def test_what_is_written_reads_back(body, tmp_path: Path, layout: str) -> None:
    given = standins.ordinary(body, 3)
    write_motion(tmp_path / "a.npz", body, given, Motion("poses"), layout)
    motion = read(tmp_path / "a.npz", body)
    same(motion.parameters, given)
    assert motion.layout == layout and told_model(read_content(tmp_path / "a.npz")) == "freebody"


def test_the_camera_of_native_files_is_kept(body, tmp_path: Path) -> None:
    given = standins.ordinary(body, 2)
    write_motion(tmp_path / "a.npz", body, given, Motion("poses"), "native")
    people = read_npz(tmp_path / "a.npz")
    object.__setattr__(people, "focal_px", 777.0)
    write_npz(tmp_path / "b.npz", people, image_name="x", focal_source="given")
    motion = read(tmp_path / "b.npz", body)
    write_motion(tmp_path / "c.npz", body, given[:2], motion, "native")
    assert read_npz(tmp_path / "c.npz").focal_px == 777.0


def test_tracks_stay_tracks(body, tmp_path: Path) -> None:
    given = standins.ordinary(body, 2)
    write_motion(tmp_path / "a.npz", body, given, Motion("poses"), "native")
    track = Track(7, np.array([1, 3]), read_npz(tmp_path / "a.npz"))
    write_track(tmp_path / "walk_7.npz", Clip("walk.mp4", np.arange(4) / 25.0, 25.0), track, focal_source="exif")
    motion = read(tmp_path / "walk_7.npz", body)
    write_motion(tmp_path / "out_7.npz", body, given, motion, "native")
    clip = read_clip([tmp_path / "out_7.npz"])
    assert clip.clip.name == "walk.mp4" and clip.tracks[0].id == 7
    np.testing.assert_array_equal(clip.tracks[0].frames, [1, 3])


def test_amass(body, tmp_path: Path) -> None:
    given = standins.ordinary(body, 4)
    path = save(
        tmp_path / "walk.npz", poses=rotvecs(given), betas=given.betas[0], trans=given.transl,
        mocap_framerate=120.0, gender="neutral",
    )  # fmt: skip
    motion = read(path, body)
    assert motion.one_shape and motion.parameters is not None
    np.testing.assert_allclose(motion.parameters.betas, np.tile(given.betas[0], (4, 1)))
    write_motion(tmp_path / "out.npz", body, motion.parameters, motion, "poses")
    made = np.load(tmp_path / "out.npz")
    assert made["poses"].shape == (4, 165) and made["betas"].shape == (10,) and made["mocap_framerate"] == 120.0


def test_spin_keeps_what_training_needs(hand, body, tmp_path: Path) -> None:
    """The file that comes of it is the one that ``read_spin`` reads."""
    from openexpose.data.smplx_sets import _read_spin_file

    given = standins.ordinary(hand, 2)
    path = save(
        tmp_path / "in.npz", pose=rotvecs(given), betas=given.betas, imgname=["a.jpg", "b.jpg"], scale=[1.0, 1.2],
        center=np.full((2, 2), 100.0), part=np.ones((2, 24, 3)), has_smpl=[1, 1],
    )  # fmt: skip
    motion = read(path, hand)
    found = standins.ordinary(body, 2)
    write_motion(tmp_path / "coco.npz", body, found, motion, "pose")
    made = np.load(tmp_path / "coco.npz")
    assert made["pose"].shape == (2, 165) and {"imgname", "scale", "center", "part", "has_smpl"} <= set(made.files)
    (tmp_path / "images").mkdir()
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / "images" / name).write_bytes(b"x")
    reading = _read_spin_file(tmp_path, tmp_path / "coco.npz")
    assert len(reading.samples) == 2
    np.testing.assert_allclose(reading.samples[1].pose, found.pose[1], atol=1e-5)


def test_exposes_parameters(body, tmp_path: Path) -> None:
    given = standins.ordinary(body, 1)
    path = save(
        tmp_path / "x_params.npz", global_orient=given.pose[0, :1], body_pose=given.pose[0, 1:22],
        jaw_pose=given.pose[0, 22:23], left_hand_pose=given.pose[0, 25:40], right_hand_pose=given.pose[0, 40:],
        betas=given.betas[0], expression=given.expression[0, :10], transl=given.transl[0], vertices=np.zeros((4, 3)),
    )  # fmt: skip
    found = read(path, body).parameters
    assert found is not None
    kept = np.r_[0:23, 25:55]
    np.testing.assert_allclose(found.pose[0, kept], given.pose[0, kept])
    assert (found.expression[0, 10:] == 0).all() and (found.pose[0, 23:25] == np.eye(3)).all()


def test_meshes(hand, tmp_path: Path) -> None:
    vertices = posed_vertices(hand, standins.ordinary(hand, 2))
    (tmp_path / "meshes").mkdir()
    for k, mesh in enumerate(vertices):
        lines = [f"v {x:.9f} {y:.9f} {z:.9f}" for x, y, z in mesh] + ["vn 0 0 1", "f 1//1 2//1 3//1"]
        (tmp_path / "meshes" / f"{k:03}.obj").write_text("\n".join(lines))
    motion = read(tmp_path / "meshes", hand)
    np.testing.assert_allclose(motion.vertices, vertices, atol=1e-8)
    assert len(motion) == 2 and len(read(save(tmp_path / "v.npz", vertices=vertices[0]), hand)) == 1
    (tmp_path / "meshes" / "odd.obj").write_text("v 0 0 0\n")
    with pytest.raises(InputError, match=r"odd.obj' with 1 vertices"):
        read_content(tmp_path / "meshes")


def test_ply(hand, tmp_path: Path) -> None:
    trimesh = pytest.importorskip("trimesh")
    trimesh.Trimesh(hand.v_template, hand.faces, process=False).export(tmp_path / "a.ply")
    np.testing.assert_allclose(read_content(tmp_path / "a.ply")["vertices"][0], hand.v_template, atol=1e-6)


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"poses": np.zeros((2, 72))}, "72 numbers of pose a row"),
        ({"pose": np.zeros((2, 48)), "betas": np.zeros((3, 10))}, "one row a pose"),
        ({"pose": np.zeros((2, 48)), "betas": np.ones((2, 12))}, "12 betas"),
        ({"pose": np.full((2, 48), np.nan)}, r"NaN or infinity in 'pose' \(row 0\)"),
        ({"vertices": np.zeros((2, 7, 3))}, "vertices of shape"),
        ({"pose": np.zeros((2, 48)), "flat_hand_mean": False}, "flat_hand_mean = False"),
        ({"other": np.zeros(3)}, "with the keys other"),
        ({"pose": np.zeros((0, 48))}, "empty 'pose'"),
        ({"pose": np.array(["a"])}, "does not hold numbers"),
    ],
)
def test_bad_numbers_are_told(arrays, told: str, hand, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=told):
        read(save(tmp_path / "bad.npz", **arrays), hand)


def test_bad_files_are_told(body, hand, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file or folder"):
        read_content(tmp_path / "absent.npz")
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(InputError, match="does not read as npz"):
        read_content(tmp_path / "text.npz")
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(InputError, match="holds joints and no rotations"):
        read_content(tmp_path / "x.json")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"without .obj or .ply"):
        read_content(tmp_path / "empty")
    latent = save(tmp_path / "z.npz", global_orient=np.zeros((1, 3)), body_pose=np.zeros((1, 32)))
    with pytest.raises(InputError, match="VPoser"):
        read(latent, body)
    with pytest.raises(InputError, match="55 joints"):
        write_motion(tmp_path / "o.npz", hand, Parameters.rest(hand, 1), Motion("pose"), "native")
