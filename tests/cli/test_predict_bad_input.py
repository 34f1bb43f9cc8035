"""Every bad input gives the right result, or one clear sentence and the right exit code."""

import io
import json
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from openexpose.cli import prediction
from openexpose.cli.main import main
from openexpose.errors import InputError
from openexpose.predict import bundle

ORIENTATION = 0x0112


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    gradient(60, 40).save(path)
    return path


def gradient(width: int, height: int) -> PIL.Image.Image:
    y, x = np.mgrid[:height, :width]
    return PIL.Image.fromarray(np.stack([x * 255 // width, y * 255 // height, x * 0 + 90], -1).astype(np.uint8))


def people_of(out: Path, stem: str = "photo") -> list[dict]:
    return json.loads((out / f"{stem}.json").read_text())["people"]


def one_sentence(capsys: pytest.CaptureFixture[str], *words: str) -> None:
    """Exactly one line on stderr, which names the words."""
    error = capsys.readouterr().err
    assert error.startswith("openexpose: ")
    assert error.count("\n") == 1
    assert error.count("; expected ") == 1
    assert "Traceback" not in error
    for word in words:
        assert word in error


def predict(path: Path, out: Path, *options: object) -> int:
    return main(["predict", str(path), "--out", str(out), *map(str, options)])


# ---- files that are no good ----


def huge_png(path: Path) -> None:
    """A PNG header that claims 20,000 x 20,000 pixels."""
    header = struct.pack(">IIBBBBB", 20000, 20000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def large_png(path: Path) -> None:
    """A whole PNG of 108 million pixels: more than we take, less than Pillow refuses by itself."""
    PIL.Image.new("1", (12_000, 9_000)).save(path, "PNG")


def truncated_jpeg(path: Path) -> None:
    gradient(300, 200).save(path, "JPEG")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


BAD_FILES = {
    "missing": (lambda path: None, "does not exist"),
    "a link to itself": (lambda path: path.symlink_to(path), "bad.jpg"),
    "not an image": (lambda path: path.write_text("hello, I am text"), "not a picture"),
    "zero bytes": (lambda path: path.write_bytes(b""), "empty"),
    "truncated": (truncated_jpeg, "damaged or cut short"),
    "12,000 x 9,000": (large_png, "12000 x 9000, which is more than 100 million pixels"),
    "20,000 x 20,000": (huge_png, "million pixels"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_alone_is_one_sentence_and_exit_2(case: str, tmp_path: Path, out: Path, fake, capsys) -> None:
    make, words = BAD_FILES[case]
    make(tmp_path / "bad.jpg")
    assert predict(tmp_path / "bad.jpg", out) == 2
    one_sentence(capsys, "bad.jpg", words)
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_among_many_is_reported_and_the_rest_go_on(
    case: str, tmp_path: Path, out: Path, photo: Path, fake, capsys
) -> None:
    make, words = BAD_FILES[case]
    make(tmp_path / "bad.jpg")
    assert main(["predict", str(tmp_path / "bad.jpg"), str(photo), "--out", str(out)]) == 1
    one_sentence(capsys, "bad.jpg", words)
    assert sorted(p.name for p in out.iterdir()) == ["photo.glb", "photo.json", "photo.npz", "photo_overlay.jpg"]


def test_a_folder_named_like_a_picture(tmp_path: Path, out: Path, photo: Path, fake, capsys) -> None:
    (tmp_path / "in" / "bad.jpg").mkdir(parents=True)
    assert predict(tmp_path / "in", out) == 2
    one_sentence(capsys, "bad.jpg", "is a folder")


def test_no_pictures_at_all(tmp_path: Path, out: Path, fake, capsys) -> None:
    assert main(["predict", "--out", str(out)]) == 2
    one_sentence(capsys, "no pictures")
    (tmp_path / "folder").mkdir()
    assert predict(tmp_path / "folder", out) == 2
    one_sentence(capsys, "holds no pictures")


def test_duplicate_stems_would_overwrite_each_other(tmp_path: Path, out: Path, photo: Path, fake, capsys) -> None:
    gradient(60, 40).save(tmp_path / "photo.png")
    assert main(["predict", str(photo), str(tmp_path / "photo.png"), "--out", str(out)]) == 2
    one_sentence(capsys, "photo.jpg", "photo.png")
    assert not fake.calls


def test_an_output_never_replaces_an_input(tmp_path: Path, photo: Path, fake, capsys) -> None:
    gradient(60, 40).save(tmp_path / "photo_overlay.jpg")
    before = (tmp_path / "photo_overlay.jpg").read_bytes()
    assert predict(tmp_path, tmp_path) == 2
    one_sentence(capsys, "photo_overlay.jpg", "--out")
    assert (tmp_path / "photo_overlay.jpg").read_bytes() == before


# ---- unusual pictures that are fine ----


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "I;16", "P", "1"])
def test_every_pixel_format_is_predicted_as_rgb(mode: str, tmp_path: Path, out: Path, fake) -> None:
    path = tmp_path / ("photo.tif" if mode == "CMYK" else "photo.png")
    if mode == "I;16":
        PIL.Image.fromarray(np.full((40, 60), 51400, np.uint16)).save(path)
    else:
        grey = PIL.Image.new("RGB", (60, 40), (200, 200, 200))
        (grey.quantize() if mode == "P" else grey.convert(mode)).save(path)
    assert predict(path, out) == 0
    (call,) = fake.calls
    assert call.pixels.shape == (40, 60, 3)
    assert call.pixels.dtype == np.uint8
    if mode != "1":
        np.testing.assert_allclose(call.pixels.astype(int), 200, atol=2)
    assert len(people_of(out)) == 1


def test_one_pixel_is_a_picture(tmp_path: Path, out: Path, fake) -> None:
    gradient(1, 1).save(tmp_path / "photo.png")
    assert predict(tmp_path / "photo.png", out) == 0
    assert len(people_of(out)) == 1


def test_exif_rotation_is_applied_and_outputs_are_upright(tmp_path: Path, out: Path, fake) -> None:
    picture = gradient(60, 40)
    exif = picture.getexif()
    exif[ORIENTATION] = 6
    picture.save(tmp_path / "photo.jpg", exif=exif, quality=95)
    assert predict(tmp_path / "photo.jpg", out) == 0
    assert fake.calls[0].pixels.shape == (60, 40, 3)
    document = json.loads((out / "photo.json").read_text())
    assert (document["image"]["width"], document["image"]["height"]) == (40, 60)
    with PIL.Image.open(out / "photo_overlay.jpg") as overlay:
        assert overlay.height == 60
        assert overlay.width > 40


def test_nobody_in_the_picture_is_an_empty_list_and_a_note(tmp_path: Path, out: Path, fake, capsys) -> None:
    PIL.Image.new("RGB", (60, 40)).save(tmp_path / "photo.png")
    assert predict(tmp_path / "photo.png", out) == 0
    assert people_of(out) == []
    assert "no people" in capsys.readouterr().err
    assert sorted(p.suffix for p in out.iterdir()) == [".glb", ".jpg", ".json", ".npz"]


# ---- boxes ----


def boxes_file(tmp_path: Path, boxes: object) -> Path:
    path = tmp_path / "boxes.json"
    path.write_text(boxes if isinstance(boxes, str) else json.dumps(boxes))
    return path


def test_exactly_the_given_people_come_out_in_order(tmp_path: Path, out: Path, photo: Path, fake) -> None:
    boxes = [[30, 5, 50, 35], [-5, 0, 20, 40], [0, 0, 60, 40]]
    assert predict(photo, out, "--boxes", boxes_file(tmp_path, {"photo.jpg": boxes})) == 0
    assert [person["bbox_xyxy"] for person in people_of(out)] == boxes


def test_no_boxes_are_no_people(tmp_path: Path, out: Path, photo: Path, fake) -> None:
    assert predict(photo, out, "--boxes", boxes_file(tmp_path, {"photo.jpg": []})) == 0
    assert people_of(out) == []


@pytest.mark.parametrize(
    ("boxes", "words"),
    [
        ({"photo.jpg": [[100, 0, 120, 30]]}, "outside the 60 x 40 picture"),
        ('{"photo.jpg": [[NaN, 0, 20, 30]]}', "finite"),
        ({"photo.jpg": [[20, 0, 20, 30]]}, "no area"),
        ({"photo.jpg": [[1, 2, 3]]}, "[x1, y1, x2, y2]"),
        ({"photo.jpg": [[]]}, "[x1, y1, x2, y2]"),
        ({"photo.jpg": [[0, 0, 10**400, 9]]}, "[x1, y1, x2, y2]"),
        ({"photo.jpg": [[0, 0, 1e9, 9]]}, "far beyond the 60 x 40 picture"),
        ({"photo.jpg": {"a": 1}}, "[x1, y1, x2, y2]"),
        ({"photo.jpg": "text"}, "[x1, y1, x2, y2]"),
        ({"photo.jpg": None}, "[x1, y1, x2, y2]"),
        ({"other.jpg": []}, "photo.jpg"),
        ([[1, 2, 3, 4]], "list"),
        ("{not json", "not JSON"),
    ],
)
def test_bad_boxes_are_one_sentence(boxes: object, words: str, tmp_path: Path, out: Path, photo: Path, fake, capsys):
    assert predict(photo, out, "--boxes", boxes_file(tmp_path, boxes)) == 2
    one_sentence(capsys, "boxes.json", words)
    assert not fake.calls


def test_missing_boxes_file(tmp_path: Path, out: Path, photo: Path, fake, capsys) -> None:
    assert predict(photo, out, "--boxes", tmp_path / "none.json") == 2
    one_sentence(capsys, "none.json")


# ---- the output folder ----


def test_an_output_folder_that_is_a_file(tmp_path: Path, photo: Path, fake, capsys) -> None:
    (tmp_path / "file").write_text("precious")
    assert predict(photo, tmp_path / "file") == 2
    one_sentence(capsys, "file", "is a file")
    assert predict(photo, tmp_path / "file" / "out") == 2
    one_sentence(capsys, "cannot be written")
    assert (tmp_path / "file").read_text() == "precious"
    assert not fake.loaded_with


def test_a_disk_that_fills_up_leaves_no_half_file(out: Path, photo: Path, fake, capsys, monkeypatch) -> None:
    class Full(io.FileIO):
        def write(self, content: bytes) -> int:
            super().write(content[:10])
            raise OSError(28, "No space left on device")

    opened = Path.open
    monkeypatch.setattr(
        Path, "open", lambda self, *mode: Full(self, "w") if self.suffix == ".part" else opened(self, *mode)
    )
    assert predict(photo, out) == 2
    one_sentence(capsys, "No space left on device")
    assert list(out.iterdir()) == []


# ---- options ----


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--focal-length", "500", "--fov", "60"), "both --focal-length and --fov"),
        (("--focal-length", "-3"), "--focal-length -3.0"),
        (("--focal-length", "nan"), "--focal-length nan"),
        (("--fov", "180"), "180"),
        (("--fov", "nan"), "nan"),
        (("--threads", "0"), "--threads 0"),
        (("--save",), "--save"),
    ],
)
def test_impossible_options_are_one_sentence(options, words, out: Path, photo: Path, fake, capsys) -> None:
    assert predict(photo, out, *options) == 2
    one_sentence(capsys, words)
    assert not out.exists()


def test_a_bundle_that_is_not_there(tmp_path: Path, out: Path, photo: Path, capsys) -> None:
    assert predict(photo, out, "--bundle", tmp_path / "nowhere") == 2
    one_sentence(capsys, "nowhere", "bundle.json")


def test_fast_and_another_bundle_are_one_too_many(out: Path, photo: Path, fake, capsys) -> None:
    assert predict(photo, out, "--fast", "--bundle", "mine") == 2
    one_sentence(capsys, "--fast with --bundle 'mine'; expected one of them")
    assert not out.exists()


def test_a_packaged_bundle_that_is_not_there_is_an_incomplete_installation(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(bundle, "default_bundle", lambda: tmp_path)
    with pytest.raises(InputError, match="install openexpose again") as error:
        bundle.BundleConfig.read(tmp_path)
    assert "--bundle" not in str(error.value)


@pytest.mark.parametrize("words", [["--bogus"], ["photo.jpg", "--out", "x", "--part", "foot"]])
def test_words_that_are_no_command_exit_2(words: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["predict", *words])
    assert stop.value.code == 2


def test_results_need_a_place(photo: Path, fake, capsys) -> None:
    assert main(["predict", str(photo)]) == 2
    one_sentence(capsys, "no --out; expected a folder")


# ---- stopping, and bugs ----


def test_ctrl_c_exits_130(out: Path, photo: Path, fake, monkeypatch, capsys) -> None:
    def stop(path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(prediction, "read_image", stop)
    assert predict(photo, out) == 130
    assert capsys.readouterr().err == "openexpose: stopped\n"


def test_a_reader_that_has_gone_is_no_bug() -> None:
    code = (
        "import sys; from openexpose.cli.main import main; from openexpose.cli.predict import Predict;"
        "Predict.run = lambda self: print('x' * 1_000_000) or 0; sys.exit(main(['predict', 'a', '--out', 'b']))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == 1
    process.stderr.close()


def test_a_bug_keeps_its_traceback(out: Path, photo: Path, fake, monkeypatch) -> None:
    monkeypatch.setattr(prediction, "write_json", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        predict(photo, out)
