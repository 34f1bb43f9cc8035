"""The photo or video that a page shows with the people."""

import io
from dataclasses import dataclass
from typing import Literal

import numpy as np
import PIL.Image
from jaxtyping import UInt8

from openexpose.errors import InputError

_LONGEST_PX = 1600
_JPEG_QUALITY = 86
MIMES = {"photo": ("image/jpeg", "image/png", "image/webp"), "video": ("video/mp4", "video/webm")}


@dataclass(frozen=True)
class Media:
    """A picture or video of the clip, upright. It may be smaller than the original."""

    kind: Literal["photo", "video"]
    """What it is. A video shows frame k at the time ``Clip.times_s[k]``, counted from its first frame."""
    content: bytes
    """The file."""
    mime: str
    """Its media type: one of :data:`MIMES`."""

    def __post_init__(self) -> None:
        if self.mime not in MIMES[self.kind]:
            raise InputError(f"a {self.kind} of the type {self.mime!r}", f"one of {', '.join(MIMES[self.kind])}")


def photo(pixels: UInt8[np.ndarray, "height width 3"]) -> Media:
    """A photo for a page: a JPEG of at most 1600 pixels a side, which keeps pages small.

    Args:
        pixels: the upright RGB photo.
    """
    picture = PIL.Image.fromarray(pixels)
    picture.thumbnail((_LONGEST_PX, _LONGEST_PX), PIL.Image.Resampling.LANCZOS)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=_JPEG_QUALITY)
    return Media("photo", file.getvalue(), "image/jpeg")
