"""What a curation project holds: photos, fits of the people in them, and what reviewers said."""

import io
import zipfile
import zlib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from openexpose.errors import InputError
from openexpose.fitting.state import State
from openexpose.people import People

Array = np.ndarray
Verdict = Literal["accept", "reject", "flag"]
VERDICTS: tuple[Verdict, ...] = ("accept", "reject", "flag")
"""What a reviewer may say of a fit; ``flag``: to be looked at again."""

_STATES = ("answer", "from_answer", "from_mean")
_ARRAYS = tuple(one.name for one in fields(People) if one.name not in ("focal_px", "image_size", "body_model", "part"))
_TEXTS = ("body_model", "part")


@dataclass(frozen=True)
class PhotoRow:
    """A photo of the project."""

    id: int
    """Number in the project; 0 of one that is not stored yet."""
    path: Path
    """Where it lies, absolute."""
    sha256: str
    """Digest of the file, by which it is known again; empty where the file could not be read."""
    width: int
    """Of the upright picture, pixels, as ``height``."""
    height: int
    licence: str
    """Terms that the photo may be used under, in the user's words; empty if they gave none."""
    state: Literal["done", "failed"]
    message: str = ""
    """Why it failed."""


@dataclass(frozen=True)
class FitRow:
    """The fit of one person, with what everybody said of it."""

    id: int
    photo: PhotoRow
    person: int
    """Number among the people of the photo, from 0."""
    scores: dict[str, float]
    """Measured quality, see :mod:`openexpose.curation.scores`."""
    badness: float
    """One number of the scores, to sort by; 0 is good."""
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    """Reviewer to current verdict."""
    last: dict[str, int] = field(default_factory=dict)
    """Reviewer to the number of that decision."""


@dataclass(frozen=True)
class Decision:
    """Something that a reviewer said at some time."""

    id: int
    fit: int
    reviewer: str
    verdict: Verdict
    note: str
    made_at: str
    """UTC, ISO 8601."""
    undone_at: str | None
    """When it was taken back, if it was."""


@dataclass(frozen=True, eq=False)
class FitRecord:
    """All that is known of a fit."""

    people: People
    """The fit, of one person: the label."""
    keypoints_px: Float[Array, "144 3"]
    """What it was fitted to: x, y (pixels of the upright picture; first pixel's centre at 0.5) and confidence 0..1."""
    source: str
    """Whose keypoints they are: ``openexpose``, ``openpose``, ``coco`` or ``mediapipe``."""
    answer: State | None
    """The networks' answer."""
    from_answer: State | None
    """The fit that began there."""
    from_mean: State | None
    """The fit that began at the mean pose."""

    def to_bytes(self) -> bytes:
        """The record as the content of an npz file; the same record gives the same bytes."""
        people = self.people
        arrays: dict[str, Any] = {f"people_{name}": np.asarray(getattr(people, name), np.float32) for name in _ARRAYS}
        arrays["people_transl"] = np.asarray(people.transl, np.float64)
        arrays |= {f"people_{name}": np.array(getattr(people, name)) for name in _TEXTS}
        arrays["people_focal_px"] = np.array(people.focal_px, np.float64)
        arrays["people_image_size"] = np.array(people.image_size, np.int64)
        arrays["keypoints_px"] = np.asarray(self.keypoints_px, np.float32)
        arrays["source"] = np.array(self.source)
        for name in _STATES:
            state = getattr(self, name)
            if state is not None:
                arrays |= {f"{name}_{key}": np.asarray(value, np.float32) for key, value in vars(state).items()}
        file = io.BytesIO()
        np.savez_compressed(file, **arrays)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> "FitRecord":
        """Read what :meth:`to_bytes` made.

        Raises:
            InputError: it is damaged.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as npz:
                arrays = {name: npz[name] for name in npz.files}
            width, height = arrays["people_image_size"].tolist()
            people = People(
                **{name: arrays[f"people_{name}"] for name in _ARRAYS},
                **{name: str(arrays[f"people_{name}"]) for name in _TEXTS},  # type: ignore[arg-type]
                focal_px=float(arrays["people_focal_px"]),
                image_size=(width, height),
            )
            states = [_state(arrays, name) for name in _STATES]
            return cls(people, arrays["keypoints_px"], str(arrays["source"]), *states)
        except (ValueError, KeyError, OSError, EOFError, TypeError, zipfile.BadZipFile, zlib.error) as error:
            raise InputError(f"a stored fit that does not read ({error})", "a fit that openexpose stored") from None


def _state(arrays: dict[str, Array], name: str) -> State | None:
    names = [one.name for one in fields(State)]
    if f"{name}_{names[0]}" not in arrays:
        return None
    return State(*(arrays[f"{name}_{key}"].astype(float) for key in names))
