"""``openexpose curate`` on a real photo, and what it says of bad input."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from openexpose.body.keypoints import INDEX
from openexpose.cli.main import main
from openexpose.curation.store import Store
from openexpose.data.check import check_dataset
from openexpose.data.skeletons import BODY25

PHOTO = Path(__file__).parents[2] / "examples" / "astronaut.jpg"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``photos`` of one astronaut, of grass, and a broken one; ``project``, prepared."""
    folder = tmp_path_factory.mktemp("curate")
    photos = folder / "photos"
    photos.mkdir()
    (photos / "astronaut.jpg").write_bytes(PHOTO.read_bytes())
    (photos / "broken.jpg").write_bytes(b"no picture")
    PIL.Image.new("RGB", (200, 200), (90, 120, 90)).save(photos / "grass.png")
    words = ["--project", str(folder / "project"), "--licence", "public domain, NASA", "--threads", "1"]
    assert main(["curate", "prepare", str(photos), *words]) == 1
    return folder


def test_prepare_tells_and_stores(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--project", str(folder / "project")]
    assert main(["curate", "prepare", str(folder / "photos"), *words]) == 1
    told = capsys.readouterr()
    assert "0 photos, 0 fits, 2 there already, 1 failed" in told.out and "broken.jpg is not a picture" in told.err
    with Store.open(folder / "project") as store:
        assert next((row.path.name, row.state) for row in store.photos()) == ("astronaut.jpg", "done")
        (fit,) = store.fits()
        assert fit.photo.licence == "public domain, NASA" and 0.2 < fit.badness < 2.0
        assert {"body_reprojection", "prior", "starts_apart_mm"} <= fit.scores.keys()


def test_status_and_export(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = ["--project", str(folder / "project")]
    assert main(["curate", "export", *project, "--out", str(folder / "out")]) == 2
    assert "no accepted fit" in capsys.readouterr().err
    with Store.open(folder / "project") as store:
        store.decide(1, "ann", "accept", seen=None)
        store.decide(1, "bob", "accept", seen=None)
    assert main(["curate", "status", *project]) == 0
    told = capsys.readouterr().out
    for line in (
        "2 photos (1 without people), 1 failed",
        "1 fit, 1 judged, 0 disputed",
        "ann: 1 accept, 0 reject, 0 flag",
        "ann and bob, 1 fit: 100 % the same, Cohen's kappa undefined",
        "failed: ",
    ):
        assert line in told
    assert main(["curate", "export", *project, "--out", str(folder / "out"), "--agreed", "all"]) == 0
    assert "1 fit in 1 photo" in capsys.readouterr().out
    for name in ("samples", "curated-fits"):
        assert check_dataset(name, folder / "out").complete


def test_keypoints_of_a_file(tmp_path: Path) -> None:
    seen = np.zeros((25, 3))
    places = {"nose": (222, 112), "left_shoulder": (320, 230), "right_shoulder": (120, 230), "neck": (220, 220)}
    places |= {"left_eye": (243, 97), "right_eye": (203, 97)}
    for name, place in places.items():
        seen[BODY25.tolist().index(INDEX[name])] = [*place, 0.8]
    people = [{"pose_keypoints_2d": seen.ravel().tolist()}]
    (tmp_path / "astronaut_keypoints.json").write_text(json.dumps({"people": people}))
    words = ["--keypoints", str(tmp_path), "--project", str(tmp_path / "p"), "--focal-length", "700"]
    assert main(["curate", "prepare", str(PHOTO), *words]) == 0
    with Store.open(tmp_path / "p") as store:
        record = store.record(1)
        assert record.source == "openpose" and record.people.focal_px == 700.0
        assert store.fit(1).scores["body_reprojection"] < 0.1 and "face_reprojection" not in store.fit(1).scores


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["prepare", "{photo}", "--project", "{folder}", "--keypoints", "missing.json"], "does not exist"),
        (["prepare", "{photo}", "--project", "{folder}", "--keypoints", "{photo}", "--boxes", "b"], "one of them"),
        (["prepare", "{photo}", "--project", "{folder}", "--fov", "50", "--focal-length", "5"], "both"),
        (["prepare", "{photo}", "--project", "{folder}", "--threads", "0"], "--threads 0"),
        (["prepare", "{photo}", "--project", "{folder}", "--licence", "none.json"], "no file"),
        (["prepare", "{folder}", "--project", "{folder}"], "holds no pictures"),
        (["prepare", "{photo}", "--project", "{photo}"], "cannot be made"),
        (["status", "--project", "{folder}"], "curate prepare"),
        (["export", "--project", "{folder}", "--out", "{folder}/out"], "curate prepare"),
    ],
)
def test_bad_input_is_told_in_one_line(
    words: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    filled = [word.format(photo=PHOTO, folder=tmp_path) for word in words]
    assert main(["curate", *filled]) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1


def test_photos_of_one_name_are_told_apart_unless_files_go_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, name in enumerate(("a", "b")):
        (tmp_path / name).mkdir()
        PIL.Image.new("RGB", (60, 60), (number, 0, 0)).save(tmp_path / name / "x.png")
    words = ["curate", "prepare", str(tmp_path / "a"), str(tmp_path / "b"), "--project", str(tmp_path / "p")]
    assert main(words) == 0
    assert "2 photos, 0 fits" in capsys.readouterr().out
    (tmp_path / "boxes.json").write_text("{}")
    assert main([*words, "--boxes", str(tmp_path / "boxes.json")]) == 2
    assert "two pictures called 'x'" in capsys.readouterr().err


def test_the_base_installation_is_enough() -> None:
    """Neither torch nor scipy, OpenCV or the review page's packages are imported."""
    code = (
        "import sys\nimport openexpose.cli.curating\n"
        "print([name for name in ('torch', 'scipy', 'cv2', 'starlette', 'uvicorn') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
