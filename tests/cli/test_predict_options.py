"""What the options of ``openexpose predict`` do, and what predicting imports."""

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from openexpose.body.keypoints import LEFT_HAND21
from openexpose.cli.main import main
from openexpose.cli.prediction import overlay_jpeg
from openexpose.errors import InputError
from openexpose.formats.native import read_npz
from openexpose.predict.bundle import fast_bundle
from openexpose.predict.collect import nobody
from openexpose.predict.merge import FullCamera

EXIF_IFD, FOCAL_35MM = 0x8769, 0xA405


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    PIL.Image.new("RGB", (400, 300), (90, 120, 30)).save(path)
    return path


def predict(photo: Path, *options: object) -> tuple[int, dict]:
    code = main(["predict", str(photo), "--out", str(photo.parent / "out"), *map(str, options)])
    return code, json.loads((photo.parent / "out" / f"{photo.stem}.json").read_text())


def test_focal_length_is_given_or_from_the_field_of_view(photo: Path, fake) -> None:
    _, document = predict(photo, "--focal-length", 512)
    assert fake.calls[-1].focal_px == 512
    assert document["focal_length_from"] == "given"
    predict(photo, "--fov", 90)
    assert fake.calls[-1].focal_px == pytest.approx(200.0)  # half of 400 pixels over tan 45 degrees


def test_focal_length_comes_from_exif_else_default(photo: Path, fake) -> None:
    _, document = predict(photo)
    assert fake.calls[-1].focal_px is None
    assert document["focal_length_from"] == "default"
    assert document["people"][0]["camera"]["perspective"]["focal_px"] == 500.0  # the diagonal
    with PIL.Image.open(photo) as picture:
        exif = picture.getexif()
        exif.get_ifd(EXIF_IFD)[FOCAL_35MM] = 50
        picture.save(photo, exif=exif)
    _, document = predict(photo)
    assert fake.calls[-1].focal_px == pytest.approx(50 / 43.27 * 500, rel=1e-3)
    assert document["focal_length_from"] == "exif"


def test_save_chooses_the_outputs(photo: Path, fake) -> None:
    assert main(["predict", str(photo), "--out", str(photo.parent / "o"), "--save", "npz", "glb"]) == 0
    assert sorted(path.name for path in (photo.parent / "o").iterdir()) == ["photo.glb", "photo.npz"]
    assert len(read_npz(photo.parent / "o" / "photo.npz")) == 1


def test_part_and_attention_reach_the_predictor(photo: Path, fake) -> None:
    _, document = predict(photo, "--part", "left-hand")
    assert fake.calls[-1].part == document["part"] == "left-hand"
    assert len(document["people"][0]["joints_2d"]) == len(LEFT_HAND21)
    predict(photo, "--no-attention")
    assert fake.calls[-1].attention is False


def test_bundle_threads_and_device_reach_the_predictor(photo: Path, fake) -> None:
    predict(photo, "--bundle", "weights", "--threads", 1, "--device", "cuda")
    assert fake.loaded_with == {"bundle": Path("weights"), "threads": 1, "device": "cuda"}


def test_fast_is_a_packaged_bundle(photo: Path, fake) -> None:
    predict(photo, "--fast")
    assert fake.loaded_with["bundle"] == fast_bundle()
    predict(photo)
    assert fake.loaded_with["bundle"] is None


def test_a_folder_and_files_are_predicted_in_one_run(photo: Path, fake, capsys) -> None:
    folder = photo.parent / "more"
    folder.mkdir()
    for name in "ab":
        PIL.Image.new("RGB", (20, 20), (9, 9, 9)).save(folder / f"{name}.png")
    assert main(["predict", str(photo), str(folder), "--out", str(photo.parent / "out")]) == 0
    assert sorted(p.stem for p in (photo.parent / "out").glob("*.json")) == ["a", "b", "photo"]
    assert capsys.readouterr().out.startswith("3 photos, 3 people: ")


def test_predicting_imports_nothing_of_the_lab() -> None:
    code = (
        "import sys, openexpose.cli.main, openexpose.cli.prediction;"
        "print([m for m in ('torch', 'cv2', 'scipy', 'numba', 'onnx') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_command_line_itself_imports_nothing_heavy() -> None:
    code = "import sys, openexpose.cli.main; print([m for m in ('numpy', 'onnxruntime', 'PIL') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_overlay_that_no_jpeg_can_hold_is_refused_and_a_wide_one_loses_its_side_view() -> None:
    camera = FullCamera(1000.0, np.array([500.0, 1.0]))
    nothing, faces = np.zeros((0, 3, 3)), np.zeros((0, 3), int)
    wide = overlay_jpeg(np.zeros((600, 65_400, 3), np.uint8), nobody(camera, (65_400, 600)), nothing, faces)
    assert PIL.Image.open(io.BytesIO(wide)).size == (65_400, 600)
    with pytest.raises(InputError, match="--save json npz glb"):
        overlay_jpeg(np.zeros((2, 65_600, 3), np.uint8), nobody(camera, (65_600, 2)), nothing, faces)
