"""Camera files: what they hold, pictures and keypoints as a pinhole camera would have them, and bad files."""

import json
from pathlib import Path

import numpy as np
import pytest

from openexpose.body.keypoints import INDEX
from openexpose.errors import InputError
from openexpose.fitting.camera_file import Cameras, read_cameras
from openexpose.fitting.observed import Observed
from openexpose.geometry.camera import project_perspective
from openexpose.image.read import Image

FOUR = {"fx": 800.0, "fy": 820.0, "cx": 300.0, "cy": 250.0}
LENS = [-0.2, 0.05, 0.001, -0.002, 0.01]
EHF = {
    "fx": 1498.22426237,
    "fy": 1498.22426237,
    "cx": 790.263706,
    "cy": 578.90334,
    "R": [-2.98747896, 0.01172457, -0.05704687],
    "t": [-0.03609917, 0.43416458, 2.37101226],
}


def read(folder: Path, content: object) -> Cameras:
    path = folder / "camera.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_cameras(path)


def shown(points: np.ndarray, camera: dict) -> np.ndarray:
    """OpenCV's camera by its formula; pixels whose first centre is at 0.5."""
    k1, k2, p1, p2, k3 = camera.get("distortion", [0.0] * 5)
    x, y = (points[:, :2] / points[:, 2:]).T
    r2 = x * x + y * y
    radial = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
    u = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    v = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    return np.stack([camera["fx"] * u + camera["cx"], camera["fy"] * v + camera["cy"]], 1) + 0.5


def test_one_camera_and_one_a_photo(tmp_path: Path) -> None:
    K = [[800.0, 0.0, 300.0], [0.0, 820.0, 250.0], [0.0, 0.0, 1.0]]
    for content in ({"K": K}, FOUR, {"a.jpg": FOUR, "b.jpg": EHF}):
        camera = read(tmp_path, content).of("a.jpg", (640, 480))
        np.testing.assert_allclose(camera.focal_px, [800, 820])
        np.testing.assert_allclose(camera.principal_px, [300.5, 250.5])
        assert camera.image_size == (640, 480) and camera.rotation is None and not camera.pinhole
    cameras = read(tmp_path, {"a.jpg": FOUR | {"image_size": [640, 480]}})
    assert cameras.of("a.jpg", (640, 480)).image_size == (640, 480)
    with pytest.raises(InputError, match=r"without 'b\.jpg'"):
        cameras.of("b.jpg", (640, 480))
    with pytest.raises(InputError, match="640 x 480 pixels as in"):
        cameras.of("a.jpg", (320, 240))


def test_a_pinhole_camera_leaves_everything_as_it_is(tmp_path: Path) -> None:
    camera = read(tmp_path, EHF).of("01.png", (1600, 1200))
    image = Image(np.zeros((1200, 1600, 3), np.uint8), None, Path("01.png"))
    assert camera.pinhole and camera.straight is camera and camera.straighten(image) is image


@pytest.mark.parametrize("lens", [[0.0] * 5, LENS])
def test_keypoints_and_boxes_are_those_of_a_pinhole_camera(tmp_path: Path, lens: list[float]) -> None:
    points = np.random.default_rng(0).uniform(-1, 1, (144, 3)) + [0.0, 0.0, 4.0]
    camera = read(tmp_path, FOUR | {"distortion": lens}).of("a.jpg", (640, 480))
    rows = np.concatenate([shown(points, FOUR | {"distortion": lens}), np.ones((144, 1))], 1)
    rows[INDEX["nose"]] = 0.0
    seen = camera.straighten_keypoints(Observed("a.jpg/0", rows, (640, 480), "coco"))
    assert seen.image_size == (640, round(480 * 800 / 820))
    straight = camera.straight
    assert straight.focal_px.tolist() == [800.0, 800.0]
    expected = project_perspective(points, 800.0, straight.principal_px)
    there = rows[:, 2] > 0
    np.testing.assert_allclose(seen.keypoints_px[there, :2], expected[there], atol=1e-4)
    assert not seen.keypoints_px[INDEX["nose"]].any()
    box = np.concatenate([rows[there, :2].min(0), rows[there, :2].max(0)])
    found = camera.straighten_boxes(box[None], "a box")[0]
    assert (found[:2] < expected[there].min(0) + 2).all() and (found[2:] > expected[there].max(0) - 2).all()


def test_a_picture_is_that_of_a_pinhole_camera(tmp_path: Path) -> None:
    """A ramp in the scene is a ramp in the picture."""
    y, x = np.mgrid[:480, :640]
    content = FOUR | {"distortion": LENS}
    camera = read(tmp_path, content).of("a.jpg", (640, 480))
    pixels = np.stack([x / 640, y / 480, 0 * x], -1) * 250
    made = camera.straighten(Image(pixels.round().astype(np.uint8), None, Path("a.jpg")))
    assert made.path == Path("a.jpg") and (made.width, made.height) == camera.straight.image_size
    spots = np.array([[320, 240], [200, 150], [450, 330], [330, 400]])
    plane = (spots + 0.5 - camera.straight.principal_px) / 800.0
    expected = (shown(np.c_[plane, np.ones(4)], content) - 0.5) / [640, 480] * 250
    np.testing.assert_allclose(made.pixels[spots[:, 1], spots[:, 0], :2], expected, atol=1.1)


def test_points_in_the_world(tmp_path: Path) -> None:
    camera = read(tmp_path, EHF).of("01.png", (1600, 1200))
    angle = np.linalg.norm(EHF["R"])
    axis = np.array(EHF["R"]) / angle
    world = np.random.default_rng(0).normal(size=(6, 3))
    turned = world * np.cos(angle) + np.cross(axis, world) * np.sin(angle)  # Rodrigues
    turned += np.outer(world @ axis, axis) * (1 - np.cos(angle))
    np.testing.assert_allclose(camera.to_world(turned + EHF["t"]), world, atol=1e-9)
    with pytest.raises(InputError, match="without R and t"):
        read(tmp_path, FOUR).of("a.jpg", (640, 480)).to_world(world)


def test_keypoints_that_no_lens_shows_are_told(tmp_path: Path) -> None:
    camera = read(tmp_path, FOUR | {"distortion": [-0.9, 0, 0, 0]}).of("a.jpg", (2000, 2000))
    rows = np.zeros((144, 3))
    rows[0] = [1900.0, 1900.0, 1.0]
    rows[1] = [1900.0, -2500.0, 1.0]
    with pytest.raises(InputError, match=r"a\.jpg/0: a keypoint at \[1900, 1900\]"):
        camera.straighten_keypoints(Observed("a.jpg/0", rows, (2000, 2000), "coco"))
    rows[0] = [300.5, 250.5, 1.0]
    seen = camera.straighten_keypoints(Observed("a.jpg/0", rows, (2000, 2000), "coco"))
    assert seen.keypoints_px[0].tolist() == [300.5, 250.5 * 800 / 820, 1.0] and not seen.keypoints_px[1].any()
    box = camera.straighten_boxes(np.array([[100.0, -2500.0, 500.0, 400.0]]), "a box")
    assert np.isfinite(box).all() and 390 < box[0, 3] < 410


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "does not read as JSON"),
        ("[" * 100_000, "does not read as JSON"),
        ("[1]", "without a camera"),
        ("{}", "without a camera"),
        ({"fx": 800.0, "cx": 1, "cy": 1}, "without fy"),
        ({"R": [0, 0, 0], "t": [0, 0, 0]}, "without fx, fy, cx, cy"),
        (FOUR | {"K": np.eye(3).tolist()}, "K and fx"),
        (FOUR | {"focal": 3}, "with 'focal'"),
        ({"K": [[800, 5, 300], [0, 800, 300], [0, 0, 1]]}, "with K ="),
        ({"K": [[800, 0], [0, 800]]}, "9 finite numbers"),
        ({"K": "camera"}, "9 finite numbers"),
        ({"K": [[1, 2], [3]]}, "9 finite numbers"),
        (FOUR | {"fx": float("nan")}, "1 finite number"),
        (FOUR | {"fx": True}, "1 finite number"),
        (FOUR | {"fx": -800.0}, "focal lengths"),
        (FOUR | {"fx": 80.0}, "focal lengths"),
        (FOUR | {"distortion": [0.1, 0, 0]}, "4 or 5 finite numbers"),
        (FOUR | {"image_size": [0, 10]}, "image_size"),
        (FOUR | {"R": [0, 0, 0]}, "only one of R and t"),
        (FOUR | {"R": (2 * np.eye(3)).tolist(), "t": [0, 0, 0]}, "R that does not turn"),
        (FOUR | {"R": np.diag([1, 1, -1]).tolist(), "t": [0, 0, 0]}, "R that does not turn"),
        (FOUR | {"R": [0, 0, 0], "t": [0, 0, 2500.0]}, "expected metres"),
        ({"a.jpg": FOUR, "b.jpg": {"fx": 1}}, "for 'b.jpg' without fy"),
    ],
)
def test_bad_files_are_told(content: object, told: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        read(tmp_path, content)
    assert told in str(error.value) and "camera.json" in str(error.value) and "\n" not in str(error.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file"):
        read_cameras(tmp_path / "none.json")
