"""``openexpose fit`` on a real photo: from the networks' own keypoints, and from files without any network."""

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from openexpose.body.keypoints import INDEX, KEYPOINT_NAMES
from openexpose.cli.main import main
from openexpose.data.skeletons import BODY25
from openexpose.formats.native import read_npz

PHOTO = Path(__file__).parents[2] / "examples" / "astronaut.jpg"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the default options write."""
    folder = tmp_path_factory.mktemp("out")
    assert main(["fit", str(PHOTO), "--out", str(folder)]) == 0
    return folder


def joints(folder: Path) -> dict[str, list[float]]:
    (person,) = json.loads((folder / "astronaut.json").read_text())["people"]
    assert tuple(person["joints_2d"]) == KEYPOINT_NAMES
    return person["joints_2d"]


def openpose(folder: Path, points: dict[str, list[float]], name: str = "astronaut_keypoints.json") -> Path:
    """Points as OpenPose writes the body's."""
    rows = np.zeros((25, 3))
    for row, keypoint in enumerate(BODY25.tolist()):
        if KEYPOINT_NAMES[keypoint] in points:
            rows[row] = [*points[KEYPOINT_NAMES[keypoint]][:2], 0.9]
    path = folder / name
    path.write_text(json.dumps({"people": [{"pose_keypoints_2d": rows.ravel().tolist()}]}))
    return path


def test_the_fit_lies_on_the_astronaut(out: Path) -> None:
    found = joints(out)
    for name, place in {"nose": (222, 112), "left_shoulder": (320, 230), "right_shoulder": (120, 230)}.items():
        np.testing.assert_allclose(found[name][:2], place, atol=45)
    names = {"astronaut.json", "astronaut.npz", "astronaut.glb", "astronaut_overlay.jpg", "astronaut_fit.json"}
    assert {path.name for path in out.iterdir()} == names
    report = json.loads((out / "astronaut_fit.json").read_text())
    assert report["keypoints"] == ["openexpose"] and report["init"] == "expose" and report["method"] == "fast"
    assert report["energy"][0] > 0 and report["steps"][0] > 3 and report["seconds"] > 0


def test_keypoints_of_a_file_are_met_without_any_network(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {name: point for name, point in joints(out).items() if point[1] < 512}
    openpose(tmp_path, seen)
    monkeypatch.setattr("openexpose.cli.fitting.Predictor.load", lambda **_: pytest.fail("a network is opened"))
    words = ["--keypoints", str(tmp_path), "--init", "mean", "--save", "json", "npz"]
    assert main(["fit", str(PHOTO), "--out", str(tmp_path / "out"), *words]) == 0
    found = joints(tmp_path / "out")
    for name in ("nose", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow"):
        np.testing.assert_allclose(found[name][:2], seen[name][:2], atol=12)
    people = read_npz(tmp_path / "out" / "astronaut.npz")
    assert len(people) == 1 and people.joint_confidence[0, INDEX["nose"]] == pytest.approx(0.9)
    assert people.joint_confidence[0, INDEX["mouth_top"]] == 0


def test_keypoints_of_a_file_with_the_networks_answer(out: Path, tmp_path: Path) -> None:
    file = openpose(tmp_path, {name: point for name, point in joints(out).items() if point[1] < 512})
    words = ["--keypoints", str(file), "--save", "json"]
    assert main(["fit", str(PHOTO), "--out", str(tmp_path / "out"), *words]) == 0
    report = json.loads((tmp_path / "out" / "astronaut_fit.json").read_text())
    assert report["keypoints"] == ["openpose"] and report["init"] == "expose"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--keypoints", "missing.json"], "does not exist"),
        (["--keypoints", "{photo}", "--boxes", "b.json"], "both --keypoints and --boxes"),
        (["--body-model", "model.npz"], "--init mean"),
        (["--fov", "50", "--focal-length", "500"], "both --focal-length and --fov"),
        (["--keypoints", "{folder}", "--init", "mean"], "astronaut_keypoints.json"),
    ],
)
def test_bad_options_are_told(words: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    filled = [word.format(photo=PHOTO, folder=tmp_path) for word in words]
    assert main(["fit", str(PHOTO), "--out", str(tmp_path / "out"), *filled]) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1


def test_one_bad_photo_of_several_is_told_and_the_others_are_fitted(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    (tmp_path / "astronaut.jpg").write_bytes(PHOTO.read_bytes())
    assert main(["fit", str(tmp_path), "--out", str(tmp_path / "out"), "--save", "npz"]) == 1
    assert "broken.jpg" in capsys.readouterr().err
    assert (tmp_path / "out" / "astronaut.npz").is_file()


def test_a_photo_without_people_is_told(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    PIL.Image.new("RGB", (200, 200), (90, 120, 90)).save(tmp_path / "grass.png")
    assert main(["fit", str(tmp_path / "grass.png"), "--out", str(tmp_path / "out")]) == 0
    assert "no people" in capsys.readouterr().err
