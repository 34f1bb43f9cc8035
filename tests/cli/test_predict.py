"""``openexpose predict`` with the packaged networks on a real photo."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import trimesh

from openexpose.body.keypoints import KEYPOINT_NAMES
from openexpose.body.mesh import keypoints
from openexpose.body.model import load_body_model
from openexpose.cli.main import main
from openexpose.formats.native import read_npz

PHOTO = Path(__file__).parents[2] / "examples" / "astronaut.jpg"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that the default options write for one photo."""
    folder = tmp_path_factory.mktemp("out")
    assert main(["predict", str(PHOTO), "--out", str(folder)]) == 0
    return folder


def document(folder: Path) -> dict:
    return json.loads((folder / "astronaut.json").read_text())


def joints(person: dict, kind: str) -> np.ndarray:
    assert tuple(person[kind]) == KEYPOINT_NAMES
    return np.array(list(person[kind].values()))


def with_boxes(folder: Path, boxes: list, *options: str) -> list[dict]:
    file = folder / "boxes.json"
    file.write_text(json.dumps({PHOTO.name: boxes}))
    words = ["--boxes", str(file), "--save", "json", *options]
    assert main(["predict", str(PHOTO), "--out", str(folder), *words]) == 0
    return document(folder)["people"]


def test_the_astronaut_is_found_where_she_is(out: Path) -> None:
    (person,) = document(out)["people"]
    x1, y1, x2, y2 = person["bbox_xyxy"]
    assert person["score"] > 0.5
    assert x1 < 100 < 300 < x2
    assert y1 < 50 < 450 < y2
    nose = person["joints_2d"]["nose"]
    np.testing.assert_allclose(nose[:2], [222, 112], atol=30)
    assert person["joints_2d"]["left_shoulder"][0] > nose[0] > person["joints_2d"]["right_shoulder"][0]
    assert person["joints_3d"]["nose"][2] > 0.3


def test_joints_in_the_picture_are_projected_joints_in_space(out: Path) -> None:
    (person,) = document(out)["people"]
    x, y, z = joints(person, "joints_3d").T
    camera = person["camera"]["perspective"]
    projected = camera["focal_px"] * np.stack([x, y], -1) / z[:, None] + camera["principal_px"]
    np.testing.assert_allclose(projected, joints(person, "joints_2d")[:, :2], atol=0.05)


def test_the_parameters_give_the_same_joints(out: Path) -> None:
    people = read_npz(out / "astronaut.npz")
    points = keypoints(load_body_model(), people.pose, people.betas, people.expression) + people.transl[:, None]
    np.testing.assert_allclose(points[0], joints(document(out)["people"][0], "joints_3d"), atol=1e-4)
    np.testing.assert_allclose(np.linalg.det(people.pose), 1.0, atol=1e-4)


def test_the_overlay_is_drawn_on_the_person(out: Path) -> None:
    photo = np.asarray(PIL.Image.open(PHOTO).convert("RGB"), float)
    overlay = np.asarray(PIL.Image.open(out / "astronaut_overlay.jpg"), float)
    height, width = photo.shape[:2]
    assert overlay.shape[0] == height
    assert overlay.shape[1] > width
    changed = np.abs(overlay[:, :width] - photo).max(-1) > 40
    x, y = document(out)["people"][0]["joints_2d"]["spine3"][:2]
    assert changed[int(y) - 5 : int(y) + 5, int(x) - 5 : int(x) + 5].mean() > 0.9
    assert changed[:40, -40:].mean() < 0.1  # a corner without her


def test_the_glb_holds_her_mesh(out: Path) -> None:
    scene = trimesh.load(out / "astronaut.glb", process=False)
    assert list(scene.geometry) == ["person_0"]
    assert len(scene.geometry["person_0"].vertices) == len(load_body_model().v_template)


def test_given_boxes_come_out_in_order_even_without_anybody_inside(tmp_path: Path) -> None:
    boxes = [[16, 10, 370, 510], [460, 400, 510, 510], [16, 10, 370, 510]]
    first, nobody, again = with_boxes(tmp_path, boxes)
    assert [first["bbox_xyxy"], nobody["bbox_xyxy"]] == boxes[:2]
    np.testing.assert_allclose(joints(first, "joints_3d"), joints(again, "joints_3d"), atol=1e-4)
    assert nobody["confidence"]["body"] < first["confidence"]["body"]


def test_without_attention_only_the_finer_parts_change(tmp_path: Path) -> None:
    """Bodies are compared without the refinement, which would move them to what attention saw."""
    box = [[16, 10, 370, 510]]
    body, face = slice(0, KEYPOINT_NAMES.index("neck")), slice(KEYPOINT_NAMES.index("right_eye_brow1"), None)
    (attended,), (plain,) = (with_boxes(tmp_path, box, "--no-refine", *how) for how in ((), ("--no-attention",)))
    assert np.abs(joints(attended, "joints_3d") - joints(plain, "joints_3d"))[body].max() < 1e-4
    (attended,), (plain,) = (with_boxes(tmp_path, box, *how) for how in ((), ("--no-attention",)))
    assert attended["confidence"]["face"] > 0.9
    assert np.abs(joints(attended, "joints_3d") - joints(plain, "joints_3d"))[face].max() > 1e-3


@pytest.mark.parametrize(("part", "count"), [("face", 68), ("left-hand", 21), ("right-hand", 21)])
def test_a_part_alone_delivers_its_joints(part: str, count: int, tmp_path: Path) -> None:
    (person,) = with_boxes(tmp_path, [[170, 60, 275, 175]], "--part", part)
    assert len(person["joints_2d"]) == len(person["joints_3d"]) == count
    if part == "face":
        points = np.array(list(person["joints_2d"].values()))[:, :2]
        np.testing.assert_allclose(points.mean(0), [222, 118], atol=30)


def test_an_empty_picture_has_nobody(tmp_path: Path) -> None:
    PIL.Image.new("RGB", (320, 240), (70, 80, 90)).save(tmp_path / "grey.png")
    assert main(["predict", str(tmp_path / "grey.png"), "--out", str(tmp_path / "out")]) == 0
    assert json.loads((tmp_path / "out" / "grey.json").read_text())["people"] == []


@pytest.mark.parametrize("size", [(1, 1), (2, 300), (300, 2)])
def test_tiny_pictures_with_a_box_are_answered(size: tuple[int, int], tmp_path: Path) -> None:
    PIL.Image.new("RGB", size, (70, 80, 90)).save(tmp_path / "tiny.png")
    (tmp_path / "boxes.json").write_text(json.dumps({"tiny.png": [[0, 0, *size]]}))
    words = ["--boxes", str(tmp_path / "boxes.json"), "--out", str(tmp_path / "out")]
    assert main(["predict", str(tmp_path / "tiny.png"), *words]) == 0
    assert len(json.loads((tmp_path / "out" / "tiny.json").read_text())["people"]) == 1


def test_a_whole_run_imports_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from openexpose.cli.main import main;"
        f"code = main(['predict', {str(PHOTO)!r}, '--out', {str(tmp_path)!r}]);"
        "lab = [m for m in ('torch', 'cv2', 'scipy', 'numba', 'onnx') if m in sys.modules];"
        "sys.exit(code or bool(lab))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
