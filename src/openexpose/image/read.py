"""Reading photos from disk: upright RGB pixels and the focal length the camera wrote down."""

import math
import struct
import warnings
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageOps
from jaxtyping import UInt8

from openexpose.errors import InputError

MAX_PIXELS = 100_000_000
"""Pictures with more pixels are refused from their header, before any of them are decoded."""

IMAGE_SUFFIXES = (".avif", ".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""What counts as a picture when a folder is given. A file named directly is read whatever it is called."""

_FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP")
_READABLE = "a JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF, JPEG 2000 or PPM picture"
# What Pillow's decoders raise on damaged files.
_BROKEN = (OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, OverflowError, struct.error, zlib.error)

_FULL_FRAME_DIAGONAL_MM = 43.27  # of a 36 x 24 mm film frame: what "35 mm equivalent" refers to
_FOCAL_OVER_DIAGONAL = (0.2, 30.0)  # a 9 mm to a 1,300 mm lens on a film frame; the rest are typing errors and fisheyes
_EXIF_ORIENTATION, _EXIF_IFD = 0x0112, 0x8769
_FOCAL_LENGTH_MM, _FOCAL_LENGTH_35MM = 0x920A, 0xA405
_PLANE_X_RESOLUTION, _PLANE_UNIT = 0xA20E, 0xA210
_PLANE_UNIT_MM = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}
_PIXEL_X_DIMENSION, _PIXEL_Y_DIMENSION = 0xA002, 0xA003


@dataclass(frozen=True)
class Image:
    """One upright photo.

    Attributes:
        pixels: RGB, 8 bits, EXIF orientation applied.
        focal_px: focal length in pixels from EXIF, or None where EXIF holds none that is believable.
        path: the file it came from.
    """

    pixels: UInt8[np.ndarray, "height width 3"]
    focal_px: float | None
    path: Path

    @property
    def width(self) -> int:
        """Width of the upright picture, pixels."""
        return self.pixels.shape[1]

    @property
    def height(self) -> int:
        """Height of the upright picture, pixels."""
        return self.pixels.shape[0]


def read_image(path: str | Path) -> Image:
    """Read one picture as upright 8-bit RGB.

    Grey becomes three equal channels, 16 bits are scaled to 8 (65535 becomes 255), CMYK is converted, what is
    transparent is laid on white (as viewers show it), and of an animation the first frame is taken.

    Raises:
        InputError: no such file, not a picture, damaged or cut short, or more than ``MAX_PIXELS``.
    """
    path = Path(path)
    _check_file(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of large pictures (our own limit follows) and of odd EXIF
        try:
            PIL.Image.init()
            known = tuple(name for name in _FORMATS if name in PIL.Image.OPEN)  # old Pillows know no AVIF
            with PIL.Image.open(path, formats=known) as opened:
                _check_size(path, opened.size)
                opened.load()
                focal_px = _focal_from_exif(opened)
                upright = _transpose_upright(opened)
        except InputError:  # a ValueError, too, but not Pillow's
            raise
        except PIL.Image.DecompressionBombError:
            raise _too_large(path, "more than") from None
        except PIL.UnidentifiedImageError:
            raise InputError(f"{path} is not a picture that can be read", _READABLE, _hint(path)) from None
        except _BROKEN as error:
            raise InputError(
                f"{path} is damaged or cut short ({' '.join(str(error).split())})",
                "a complete picture",
                "Copy or export the file again.",
            ) from None
    return Image(_to_rgb(upright, path), focal_px, path)


def find_images(paths: Iterable[str | Path], *, same_names: bool = False) -> list[Path]:
    """The pictures that a list of files and folders names, in order; a folder's own pictures come sorted by name.

    Files are passed on as they are (:func:`read_image` says what is wrong with one); one named twice comes once.

    Args:
        paths: files and folders.
        same_names: whether pictures may have the same stem.

    Raises:
        InputError: nothing given, a folder without pictures, or two pictures with the same stem (outputs are named
            by the stem, so one would overwrite the other; some file systems don't tell letter cases apart).
    """
    found: dict[Path, Path] = {}
    for path in map(Path, paths):
        for picture in _pictures_in(path) if _is_folder(path) else [path]:
            found.setdefault(real_path(picture), picture)
    if not found:
        raise InputError("no pictures", "at least one picture or folder of pictures")
    by_stem: dict[str, Path] = {}
    for path in () if same_names else found.values():
        other = by_stem.setdefault(path.stem.casefold(), path)
        if other is not path:
            raise InputError(
                f"two pictures called {path.stem!r}: {other} and {path}",
                "different names, because outputs are named after the picture",
                "Rename one or predict them into different folders.",
            )
    return list(found.values())


def real_path(path: Path) -> Path:
    """The path without links, or as it is where it cannot be followed (a link to itself, a NUL in the name)."""
    try:
        return path.resolve()
    except (OSError, ValueError, RuntimeError):
        return path


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def _pictures_in(folder: Path) -> list[Path]:
    """The pictures right inside a folder, by name; hidden files are left out."""
    try:
        inside = sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p.name[0] != ".")
    except OSError as error:
        raise InputError(f"the folder {folder} cannot be read ({error.strerror})", "a folder of pictures") from None
    if not inside:
        raise InputError(
            f"the folder {folder} holds no pictures", f"at least one file ending in {', '.join(IMAGE_SUFFIXES)}"
        )
    return inside


def _check_file(path: Path) -> None:
    """Raise InputError for what can be told without opening the file."""
    try:
        is_folder, is_there = path.is_dir(), path.exists()
        size = path.stat().st_size if is_there else 0
    except (OSError, ValueError) as error:  # a name too long, no permission, a NUL in the name
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{str(path)[:200]!r} cannot be opened ({reason})", "a picture file") from None
    if is_folder:
        raise InputError(f"{path} is a folder", "a picture file")
    if not is_there:
        raise InputError(f"{path} does not exist", "a picture file", "Check the path.")
    if size == 0:
        raise InputError(f"{path} is empty (0 bytes)", _READABLE, "Copy the file again.")


def _check_size(path: Path, size: tuple[int, int]) -> None:
    if size[0] * size[1] > MAX_PIXELS:
        raise _too_large(path, f"{size[0]} x {size[1]}, which is more than")


def _too_large(path: Path, how: str) -> InputError:
    return InputError(
        f"{path} is {how} {MAX_PIXELS // 1_000_000} million pixels",
        f"at most {MAX_PIXELS // 1_000_000} million pixels",
        "Make the picture smaller first.",
    )


def _hint(path: Path) -> str:
    """What to do about a file Pillow does not know: iPhone pictures deserve a word of their own."""
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError as error:
        return f"It could not be opened: {error.strerror}."
    if head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"mif1", b"msf1", b"hevc"):
        return "This is an HEIC picture: export it as JPEG."
    return "Export it as JPEG or PNG."


def _transpose_upright(opened: PIL.Image.Image) -> PIL.Image.Image:
    """Apply the EXIF orientation; an orientation that cannot be read is none."""
    try:
        return PIL.ImageOps.exif_transpose(opened)
    except _BROKEN:
        return opened.copy()


def _to_rgb(image: PIL.Image.Image, path: Path) -> UInt8[np.ndarray, "height width 3"]:
    """Any of Pillow's modes to RGB uint8."""
    if image.mode.startswith("I") or image.mode == "F":
        grey = np.asarray(image)
        if image.mode == "F" or (grey.size and (grey.max() > 65535 or grey.min() < 0)):
            raise InputError(
                f"{path} has pixels of more than 16 bits", "8 or 16 bits a channel", "Export it as JPEG or PNG."
            )
        grey8 = ((grey.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
        return np.repeat(grey8[..., None], 3, -1)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = PIL.Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        image = PIL.Image.alpha_composite(white, rgba)
    return np.array(image.convert("RGB"))


def _focal_from_exif(opened: PIL.Image.Image) -> float | None:
    """Focal length in pixels of the stored picture from its EXIF tags, or None.

    The 35 mm equivalent comes first (it knows about digital zoom; by diagonals, as CIPA defines it), then the focal
    length with the resolution of the focal plane. Where EXIF states a picture of another shape, this one was cropped
    and nothing is known.
    """
    try:
        exif = opened.getexif().get_ifd(_EXIF_IFD)
        width, height = opened.size
        stated = [_number(exif, tag) for tag in (_PIXEL_X_DIMENSION, _PIXEL_Y_DIMENSION)]
    except _BROKEN:
        return None
    if stated[0] and stated[1]:
        ratio = max(width, height) / min(width, height) * min(stated) / max(stated)
        if abs(ratio - 1.0) > 0.02:
            return None
    diagonal_px = math.hypot(width, height)
    focal_px = _number(exif, _FOCAL_LENGTH_35MM) / _FULL_FRAME_DIAGONAL_MM * diagonal_px
    if not focal_px:
        unit_mm = _PLANE_UNIT_MM.get(exif.get(_PLANE_UNIT, 2), 0.0)
        if unit_mm:
            focal_px = _number(exif, _FOCAL_LENGTH_MM) * _number(exif, _PLANE_X_RESOLUTION) / unit_mm
            focal_px *= max(width, height) / max(stated) if all(stated) else 1.0
    low, high = _FOCAL_OVER_DIAGONAL
    return focal_px if low * diagonal_px <= focal_px <= high * diagonal_px else None


def _number(exif: dict, tag: int) -> float:
    """A positive finite EXIF number, or 0 where there is none."""
    try:
        value = float(exif[tag])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return 0.0
    return value if math.isfinite(value) and value > 0 else 0.0
