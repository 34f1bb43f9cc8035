"""The one record that every data set is read into: a picture of one person, hand or face, and what is known of it."""

import io
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image

from openexpose.body.keypoints import KEYPOINT_NAMES
from openexpose.errors import InputError
from openexpose.image.read import read_image

Array = np.ndarray

NUM_KEYPOINTS = len(KEYPOINT_NAMES)
Part = Literal["body", "hand", "face"]


@dataclass(frozen=True)
class Packed:
    """A picture file inside another file."""

    path: Path
    start: int
    """Its first byte there."""
    size: int
    """Bytes."""

    def read_bytes(self) -> bytes:
        """The picture file's content."""
        with self.path.open("rb") as file:
            file.seek(self.start)
            return file.read(self.size)


@dataclass(frozen=True)
class Sample:
    """A labelled picture. What is not known is None, or has confidence or validity 0."""

    name: str
    """Data set and picture, as in ``freihand/00000012``: how error messages call the sample."""
    image: Path | Packed | bytes
    """The picture file, or its content (JPEG, PNG)."""
    part: Part
    """What the picture shows: a whole ``body``, or a ``hand`` or ``face`` alone."""
    box_xyxy_px: Float[Array, "4"]
    """Box around the part, pixels of the picture."""
    keypoints_px: Float[Array, "144 3"]
    """x, y (pixels; the centre of the first pixel is at 0.5) and confidence 0..1 (0: not labelled)."""
    points_m: Float[Array, "144 4"] | None = None
    """x, y, z in metres, axes of the camera (x right, y down, z away), any origin, and validity 0 or 1."""
    pose: Float[Array, "55 3 3"] | None = None
    """Rotations relative to the parent joint. Slot 0 is absolute in the camera's axes: of the pelvis for bodies, of the
    wrist for hands, of the head for faces. A right hand's fingers lie in slots 40..54, a left one's in 25..39."""
    pose_valid: Bool[Array, "55"] = field(default_factory=lambda: np.zeros(55, bool))
    """Which slots of ``pose`` are known."""
    betas: Float[Array, "b"] | None = None
    expression: Float[Array, "e"] | None = None
    coefficients: str = "smplx"
    """The model that ``betas`` and ``expression`` belong to: ``smplx``, ``mano``, ``flame`` or ``freebody``."""
    focal_px: float | None = None
    """Focal length of the picture's camera, pixels."""
    left: bool = False
    """Hands: the picture shows a left hand; training mirrors picture and labels."""

    def __post_init__(self) -> None:
        shapes = {"box_xyxy_px": (4,), "keypoints_px": (NUM_KEYPOINTS, 3), "points_m": (NUM_KEYPOINTS, 4)}
        shapes |= {"pose": (55, 3, 3), "pose_valid": (55,)}
        for entry in fields(self):
            value = getattr(self, entry.name)
            if not isinstance(value, np.ndarray):
                continue
            expected = shapes.get(entry.name, (value.size,))
            if value.shape != expected:
                raise InputError(f"{self.name}: '{entry.name}' of shape {value.shape}", f"shape {expected}")
            if not np.isfinite(value).all():
                raise InputError(f"{self.name}: '{entry.name}' holds NaN or infinity", "finite numbers")
        x1, y1, x2, y2 = self.box_xyxy_px
        if not (x1 < x2 and y1 < y2):
            raise InputError(f"{self.name}: the box {self.box_xyxy_px.tolist()}", "x1 < x2 and y1 < y2")

    def read_pixels(self) -> UInt8[Array, "h w 3"]:
        """Decode the picture, RGB.

        Raises:
            InputError: the picture is missing or damaged; the message names the sample.
        """
        try:
            if isinstance(self.image, Path):
                return read_image(self.image).pixels
            content = self.image if isinstance(self.image, bytes) else self.image.read_bytes()
            with Image.open(io.BytesIO(content)) as picture:
                return np.asarray(picture.convert("RGB"))
        except InputError as error:
            raise InputError(f"{self.name}: {error.got}", error.expected, error.fix) from None
        except (OSError, SyntaxError, ValueError) as error:
            raise InputError(f"{self.name}: a picture that does not decode ({error})", "JPEG or PNG bytes") from None
