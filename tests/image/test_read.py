"""Reading pictures: every sort of file gives upright 8-bit RGB or one clear sentence."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from openexpose.errors import InputError
from openexpose.image.read import MAX_PIXELS, find_images, read_image

ORIENTATION, EXIF_IFD = 0x0112, 0x8769


def photo(width: int = 48, height: int = 32) -> np.ndarray:
    """A smooth colour picture without any symmetry."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 / width, y * 255 / height, (x + 2 * y) * 255 / (width + 2 * height)], -1).astype(np.uint8)


def save(path: Path, pixels: np.ndarray, mode: str | None = None, **options: object) -> Path:
    image = PIL.Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def png_header(width: int, height: int, colour_type: int, bits: int, rows: bytes) -> bytes:
    """A PNG written by hand, for what Pillow does not write."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def exif_jpeg(path: Path, pixels: np.ndarray, orientation: int = 1, **tags: object) -> Path:
    """A JPEG with EXIF tags given by number as ``t<number>``."""
    exif = PIL.Image.Exif()
    exif[ORIENTATION] = orientation
    exif.get_ifd(EXIF_IFD).update({int(name[1:]): value for name, value in tags.items()})
    return save(path, pixels, quality=95, exif=exif)


def one_sentence(error: pytest.ExceptionInfo) -> str:
    text = str(error.value)
    assert "\n" not in text and len(text) < 400 and text.count("; expected ") == 1
    return text


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "ppm", "webp"])
def test_lossless_formats_give_the_pixels(tmp_path: Path, suffix: str) -> None:
    options = {"lossless": True} if suffix == "webp" else {}
    image = read_image(save(tmp_path / f"a.{suffix}", photo(), **options))
    np.testing.assert_array_equal(image.pixels, photo())
    assert image.pixels.dtype == np.uint8 and image.pixels.flags.writeable
    assert (image.width, image.height) == (48, 32) and image.focal_px is None


def test_multi_picture_jpeg_of_phones_gives_the_first_picture(tmp_path: Path) -> None:
    first = PIL.Image.fromarray(photo())
    first.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[PIL.Image.new("RGB", (20, 10))], quality=95)
    assert np.abs(read_image(tmp_path / "a.jpg").pixels.astype(int) - photo()).mean() < 6


def test_grey_becomes_three_equal_channels(tmp_path: Path) -> None:
    pixels = read_image(save(tmp_path / "a.png", photo(), "L")).pixels
    assert pixels.shape == (32, 48, 3)
    np.testing.assert_array_equal(pixels, np.asarray(PIL.Image.fromarray(photo()).convert("L"))[..., None].repeat(3, 2))
    assert set(np.unique(read_image(save(tmp_path / "b.png", photo(), "1")).pixels)) == {0, 255}


def test_palette(tmp_path: Path) -> None:
    pixels = read_image(save(tmp_path / "a.gif", photo(), "P")).pixels
    assert np.abs(pixels.astype(int) - photo()).mean() < 20


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_is_laid_on_white(tmp_path: Path, mode: str) -> None:
    image = PIL.Image.fromarray(photo()).convert(mode)
    alpha = np.zeros((32, 48), np.uint8)
    alpha[:, 24:] = 255
    image.putalpha(PIL.Image.fromarray(alpha))
    image.save(tmp_path / "a.png")
    pixels = read_image(tmp_path / "a.png").pixels
    assert (pixels[:, :24] == 255).all()
    opaque = PIL.Image.fromarray(photo()).convert(mode[:-1]).convert("RGB")
    np.testing.assert_array_equal(pixels[:, 24:], np.asarray(opaque)[:, 24:])


def test_transparent_palette_entry_is_laid_on_white(tmp_path: Path) -> None:
    image = PIL.Image.new("P", (4, 4), 0)
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 1), 1)
    image.save(tmp_path / "a.png", transparency=0)
    pixels = read_image(tmp_path / "a.png").pixels
    assert pixels[0, 0].tolist() == [255] * 3 and pixels[1, 1].tolist() == [200, 100, 50]


@pytest.mark.parametrize(("colour_type", "channels"), [(0, 1), (2, 3)])
def test_16_bits_are_scaled_down(tmp_path: Path, colour_type: int, channels: int) -> None:
    values = np.linspace(0, 65535, 20).astype(">u2")
    rows = b"".join(b"\0" + np.repeat(values, channels).tobytes() for _ in range(3))
    (tmp_path / "a.png").write_bytes(png_header(20, 3, colour_type, 16, rows))
    pixels = read_image(tmp_path / "a.png").pixels
    assert pixels.shape == (3, 20, 3) and pixels[0, 0, 0] == 0 and pixels[0, -1, 0] == 255
    np.testing.assert_allclose(pixels, np.broadcast_to((values / 257.0)[None, :, None], pixels.shape), atol=1)


def test_16_bit_grey_tiff_and_float_tiff(tmp_path: Path) -> None:
    grey = np.linspace(0, 65535, 20).astype(np.uint16).reshape(4, 5)
    pixels = read_image(save(tmp_path / "a.tiff", grey)).pixels
    np.testing.assert_array_equal(pixels[..., 1], np.rint(grey / 257.0))
    save(tmp_path / "b.tiff", np.ones((4, 5), np.float32))
    with pytest.raises(InputError, match="16 bits") as error:
        read_image(tmp_path / "b.tiff")
    one_sentence(error)


def test_cmyk_jpeg_is_not_inverted(tmp_path: Path) -> None:
    pixels = read_image(save(tmp_path / "a.jpg", photo(), "CMYK", quality=95)).pixels
    assert np.abs(pixels.astype(int) - photo()).mean() < 6


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    stored = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
        8: lambda a: np.rot90(a, -1),
    }[orientation](photo())
    image = read_image(exif_jpeg(tmp_path / "a.jpg", np.ascontiguousarray(stored), orientation, t41989=50))
    assert image.pixels.shape == (32, 48, 3)
    assert np.abs(image.pixels.astype(int) - photo()).mean() < 6
    assert image.focal_px == pytest.approx(50 / 43.27 * np.hypot(32, 48))


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"t41989": 26}, 26 / 43.27 * np.hypot(48, 32)),
        ({"t37386": 6.0, "t41486": 25.4 * 10, "t41488": 2}, 60.0),
        ({"t37386": 6.0, "t41486": 100.0, "t41488": 3}, 60.0),
        ({"t37386": 6.0, "t41486": 200.0, "t41488": 3, "t40962": 96, "t40963": 64}, 60.0),
        ({"t41989": 0, "t37386": 6.0}, None),
        ({"t41989": 3}, None),
        ({"t41989": 60000}, None),
        ({"t41989": 26, "t40962": 96, "t40963": 96}, None),
        ({}, None),
    ],
    ids=["35mm", "plane-inch", "plane-cm", "plane-resized", "no-plane", "fisheye", "typing-error", "cropped", "none"],
)
def test_focal_length_from_exif(tmp_path: Path, tags: dict, expected: float | None) -> None:
    assert read_image(exif_jpeg(tmp_path / "a.jpg", photo(), **tags)).focal_px == (
        expected and pytest.approx(expected, rel=1e-3)
    )


def test_damaged_exif_does_not_stop_reading(tmp_path: Path) -> None:
    save(tmp_path / "a.jpg", photo(), exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    image = read_image(tmp_path / "a.jpg")
    assert image.pixels.shape == (32, 48, 3) and image.focal_px is None


def test_one_pixel(tmp_path: Path) -> None:
    assert read_image(save(tmp_path / "a.png", photo(1, 1))).pixels.shape == (1, 1, 3)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.97])
def test_truncated_jpeg_is_refused(tmp_path: Path, kept: float, progressive: bool) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    content = save(tmp_path / "a.jpg", noise, progressive=progressive).read_bytes()
    (tmp_path / "a.jpg").write_bytes(content[: int(kept * len(content))])
    with pytest.raises(InputError, match="damaged or cut short") as error:
        read_image(tmp_path / "a.jpg")
    one_sentence(error)


def test_truncated_png_is_refused(tmp_path: Path) -> None:
    content = save(tmp_path / "a.png", photo()).read_bytes()
    (tmp_path / "a.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="damaged or cut short"):
        read_image(tmp_path / "a.png")


def test_flipped_bytes_never_raise_anything_else(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("a.png", "a.jpg", "a.tiff", "a.gif", "a.webp", "a.bmp"):
        content = np.frombuffer(save(tmp_path / name, photo()).read_bytes(), np.uint8)
        for _ in range(15):
            broken = content.copy()
            broken[rng.integers(0, len(broken), 6)] = rng.integers(0, 256, 6)
            (tmp_path / name).write_bytes(broken.tobytes())
            try:
                assert read_image(tmp_path / name).pixels.dtype == np.uint8
            except InputError:
                continue


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "0 bytes"), (b"hello, I am no picture", "not a picture"), (b"\0\0\0\x18ftypheic" + b"\0" * 20, "HEIC")],
    ids=["empty", "text", "heic"],
)
def test_what_is_not_a_picture(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(InputError, match=said) as error:
        read_image(tmp_path / "a.jpg")
    assert "a.jpg" in one_sentence(error)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    for path, said in (("missing.jpg", "does not exist"), ("", "is a folder"), ("x" * 5000, "cannot be opened")):
        with pytest.raises(InputError, match=said) as error:
            read_image(tmp_path / path)
        one_sentence(error)


@pytest.mark.parametrize("side", [10_001, 20_000, 200_000])
def test_too_many_pixels_are_refused_from_the_header(tmp_path: Path, side: int) -> None:
    assert side * side > MAX_PIXELS
    (tmp_path / "a.png").write_bytes(png_header(side, side, 2, 8, b""))
    with pytest.raises(InputError, match="100 million pixels") as error:
        read_image(tmp_path / "a.png")
    one_sentence(error)


def test_a_whole_picture_that_is_too_large_is_not_called_damaged(tmp_path: Path) -> None:
    PIL.Image.new("1", (12_000, 9_000)).save(tmp_path / "a.png")  # Pillow alone refuses from 179 million pixels
    with pytest.raises(InputError, match="12000 x 9000, which is more than 100 million pixels") as error:
        read_image(tmp_path / "a.png")
    assert "damaged" not in one_sentence(error)


def test_no_warning_reaches_the_user(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    buffer = io.BytesIO()
    PIL.Image.new("1", (9_700, 9_700)).save(buffer, "PNG")  # Pillow alone warns from 89 million pixels
    (tmp_path / "a.png").write_bytes(buffer.getvalue()[:-40])
    with pytest.raises(InputError):
        read_image(tmp_path / "a.png")
    assert not recwarn.list


def test_find_images_sorts_folders_and_keeps_the_order_given(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("b.PNG", "a.jpg", "notes.txt", ".hidden.jpg"):
        (folder / name).touch()
    single = tmp_path / "z.dat"
    single.touch()
    expected = [single, folder / "a.jpg", folder / "b.PNG"]
    assert find_images([single, folder]) == expected
    assert find_images([single, folder, str(folder / "a.jpg")]) == expected
    assert find_images([tmp_path / "missing.jpg"]) == [tmp_path / "missing.jpg"]


def test_find_images_refuses(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no pictures"):
        find_images([])
    with pytest.raises(InputError, match="holds no pictures"):
        find_images([tmp_path])
    with pytest.raises(InputError, match="two pictures called 'a'") as error:
        find_images([tmp_path / "a.jpg", tmp_path / "a.png"])
    assert "a.jpg" in str(error.value) and "a.png" in one_sentence(error)


def test_names_that_differ_only_in_letter_case_clash(tmp_path: Path) -> None:
    for first, second in (("a.jpg", "A.png"), ("straße.jpg", "STRASSE.jpg")):
        with pytest.raises(InputError, match="two pictures called"):
            find_images([tmp_path / first, tmp_path / second])
