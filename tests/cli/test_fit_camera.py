"""``openexpose fit --camera`` on a real photo."""

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from openexpose.body.keypoints import KEYPOINT_NAMES
from openexpose.body.mesh import keypoints
from openexpose.body.model import load_body_model
from openexpose.cli.main import main
from openexpose.data.skeletons import BODY25
from openexpose.formats.native import read_npz
from openexpose.geometry.rotation import rotvec_to_matrix

PHOTO = Path(__file__).parents[2] / "examples" / "astronaut.jpg"
BOX = [20.0, 5.0, 505.0, 510.0]
FOCAL = 724.0
TURN, PLACE = np.array([-2.9, 0.1, 0.2]), np.array([0.1, 0.4, 2.4])
SEEN = {"nose": (222, 112), "right_eye": (207, 92), "left_eye": (240, 92), "left_shoulder": (320, 230)}
SEEN |= {"right_shoulder": (120, 230), "left_elbow": (390, 400), "right_elbow": (70, 410)}


def fitted(folder: Path, camera: dict | None, *words: str, photo: Path = PHOTO) -> Path:
    """The folder with the results."""
    out = folder / "out"
    given: list[str] = []
    if camera is not None:
        (folder / "camera.json").write_text(json.dumps(camera))
        given = ["--camera", str(folder / "camera.json")]
    assert main(["fit", str(photo), "--out", str(out), *given, *words]) == 0
    return out


def boxes(folder: Path, name: str, box: list[float]) -> list[str]:
    (folder / "boxes.json").write_text(json.dumps({name: [box]}))
    return ["--boxes", str(folder / "boxes.json"), "--save", "npz", "json"]


def openpose(folder: Path) -> list[str]:
    rows = np.zeros((25, 3))
    for row, keypoint in enumerate(BODY25.tolist()):
        if KEYPOINT_NAMES[keypoint] in SEEN:
            rows[row] = [*SEEN[KEYPOINT_NAMES[keypoint]], 0.9]
    (folder / "seen.json").write_text(json.dumps({"people": [{"pose_keypoints_2d": rows.ravel().tolist()}]}))
    return ["--keypoints", str(folder / "seen.json"), "--init", "mean"]


def test_a_principal_point_goes_where_the_person_goes(tmp_path: Path) -> None:
    """A photo, and the same with black on both sides, not alike."""
    (tmp_path / "alone").mkdir()
    alone = fitted(tmp_path / "alone", None, "--focal-length", str(FOCAL), *boxes(tmp_path, "astronaut.jpg", BOX))
    wide = np.zeros((512, 1112, 3), np.uint8)
    with PIL.Image.open(PHOTO) as photo:
        wide[:, 100:612] = np.asarray(photo.convert("RGB"))
    PIL.Image.fromarray(wide).save(tmp_path / "aside.png")
    camera = {"fx": FOCAL, "fy": FOCAL, "cx": 100 + 255.5, "cy": 255.5}
    shifted = boxes(tmp_path, "aside.png", [BOX[0] + 100, BOX[1], BOX[2] + 100, BOX[3]])
    out = fitted(tmp_path, camera, *shifted, photo=tmp_path / "aside.png")
    one, other = read_npz(alone / "astronaut.npz"), read_npz(out / "aside.npz")
    np.testing.assert_allclose(other.principal_px, [356.0, 256.0])
    np.testing.assert_allclose(other.transl, one.transl, atol=0.001)
    np.testing.assert_allclose(other.pose, one.pose, atol=0.003)
    report = json.loads((out / "aside_fit.json").read_text())
    assert report["camera"] == {"focal_px": FOCAL, "principal_px": [356.0, 256.0], "undistorted": False}
    assert "world" not in report and not (out / "aside_undistorted.jpg").exists()


def test_people_in_the_world_and_an_undistorted_picture(tmp_path: Path) -> None:
    camera = {"fx": FOCAL, "fy": 0.8 * FOCAL, "cx": 240.0, "cy": 260.0, "distortion": [-0.2, 0.05, 0.001, 0.0, 0.0]}
    camera |= {"R": TURN.tolist(), "t": PLACE.tolist(), "image_size": [512, 512]}
    out = fitted(tmp_path, camera, *openpose(tmp_path), "--save", "npz", "json", "overlay")
    report = json.loads((out / "astronaut_fit.json").read_text())
    (person,) = report["world"]
    people = read_npz(out / "astronaut.npz")
    assert people.image_size == (512, 640) and report["camera"]["undistorted"] and len(people) == 1
    np.testing.assert_allclose(people.principal_px, [240.5, 1.25 * 260.5])
    with PIL.Image.open(out / "astronaut_undistorted.jpg") as straight, PIL.Image.open(PHOTO) as photo:
        assert straight.size == (512, 640)
        mine, theirs = (np.asarray(picture.convert("RGB"), float) for picture in (straight, photo))
    np.testing.assert_allclose(mine[324:328, 238:242].mean((0, 1)), theirs[259:262, 238:242].mean((0, 1)), atol=6)
    with PIL.Image.open(out / "astronaut_overlay.jpg") as overlay:
        assert overlay.height == 640
    (told,) = json.loads((out / "astronaut.json").read_text())["people"]
    in_camera = np.array([told["joints_3d"][name] for name in KEYPOINT_NAMES])
    in_world = np.array([person["joints_3d"][name] for name in KEYPOINT_NAMES])
    np.testing.assert_allclose(in_world @ rotvec_to_matrix(TURN).T + PLACE, in_camera, atol=1e-4)
    pose = people.pose.copy()
    pose[0, 0] = rotvec_to_matrix(np.array(person["global_orient"]))
    model = load_body_model(num_betas=people.betas.shape[1], num_expression=people.expression.shape[1])
    posed = keypoints(model, pose, people.betas, people.expression)[0] + person["transl_m"]
    inside = np.arange(127)  # the contour's table is made for rotations into a camera's frame
    np.testing.assert_allclose(posed[inside], in_world[inside], atol=1e-4)
    x, y = in_camera[KEYPOINT_NAMES.index("left_shoulder"), :2] / in_camera[KEYPOINT_NAMES.index("left_shoulder"), 2:]
    radial = 1 - 0.2 * (x * x + y * y) + 0.05 * (x * x + y * y) ** 2
    np.testing.assert_allclose([FOCAL * x * radial + 240, 0.8 * FOCAL * y * radial + 260], (320, 230), atol=15)


def test_the_networks_look_at_the_undistorted_picture(tmp_path: Path) -> None:
    camera = {"fx": FOCAL, "fy": 0.8 * FOCAL, "cx": 255.5, "cy": 255.5}
    out = fitted(tmp_path, camera, *boxes(tmp_path, "astronaut.jpg", BOX))
    people = read_npz(out / "astronaut.npz")
    (told,) = json.loads((out / "astronaut.json").read_text())["people"]
    np.testing.assert_allclose(told["joints_2d"]["nose"][:2], (222, 1.25 * 112), atol=30)
    assert people.image_size == (512, 640)


@pytest.mark.parametrize(
    ("content", "words", "told"),
    [
        ({"fx": 1}, [], "without fy"),
        ({"other.jpg": {"fx": 700, "fy": 700, "cx": 256, "cy": 256}}, [], "without 'astronaut.jpg'"),
        ({"fx": 7, "fy": 7, "cx": 2, "cy": 2, "image_size": [640, 480]}, [], "640 x 480 pixels"),
        ({"fx": 700, "fy": 700, "cx": 256, "cy": 256}, ["--fov", "50"], "--camera with --focal-length or --fov"),
        ({"fx": 700, "fy": 700, "cx": 256, "cy": 256}, ["--focal-length", "500"], "--camera with"),
    ],
)
def test_bad_cameras_are_told(
    content: dict, words: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "camera.json").write_text(json.dumps(content))
    given = ["--camera", str(tmp_path / "camera.json"), *openpose(tmp_path), *words]
    assert main(["fit", str(PHOTO), "--out", str(tmp_path / "out"), *given]) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1


def test_no_photo_is_replaced_by_an_undistorted_one(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for name in ("a.jpg", "a_undistorted.jpg"):
        (tmp_path / name).write_bytes(PHOTO.read_bytes())
    (tmp_path / "camera.json").write_text(json.dumps({"fx": 700, "fy": 700, "cx": 256, "cy": 256}))
    given = ["--camera", str(tmp_path / "camera.json"), "--save", "npz"]
    assert main(["fit", str(tmp_path), "--out", str(tmp_path), *given]) == 2
    assert "undistorted 'a.jpg' would replace" in capsys.readouterr().err
