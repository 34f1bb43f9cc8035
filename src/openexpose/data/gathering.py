"""What readers share: files that may be damaged, and people whose labels may be few or broken."""

import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from openexpose.body.keypoints import KEYPOINT_NAMES, PARTS
from openexpose.data.reading import Reading
from openexpose.data.sample import Sample
from openexpose.errors import InputError
from openexpose.geometry.boxes import box_around

Array = np.ndarray

MIN_BODY_KEYPOINTS = 4
"""A person with fewer labelled body keypoints is no sample."""


@dataclass
class People:
    """Gathers body samples, and the sentences about people who are none."""

    samples: list[Sample] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    sparse: int = 0
    """How many people had too few labels."""

    @contextmanager
    def told(self, name: str) -> Iterator[None]:
        """Turn the errors of broken labels into one sentence that names the sample."""
        try:
            yield
        except KeyError as error:
            self.skipped.append(f"{name}: labels without {error}")
        except InputError as error:
            self.skipped.append(str(error) if str(error).startswith(name) else f"{name}: {error}")
        except (AttributeError, IndexError, TypeError, ValueError, OverflowError) as error:
            self.skipped.append(f"{name}: labels that do not read ({error})")

    def add(
        self, name: str, image: Path, keypoints: Float[Array, "144 3"], box_xyxy_px: Float[Array, "4"] | None = None
    ) -> None:
        """Take a person as a sample, or count them as too sparsely labelled.

        Args:
            name: of the sample.
            image: the picture; it is not opened.
            keypoints: x, y (pixels) and confidence.
            box_xyxy_px: None for the tight box around the labelled keypoints.

        Raises:
            InputError: numbers that are not finite, or a box without area.
        """
        if np.count_nonzero(keypoints[PARTS["body"], 2] > 0) < MIN_BODY_KEYPOINTS:
            self.sparse += 1
            return
        box = box_around(keypoints[keypoints[:, 2] > 0, :2]) if box_xyxy_px is None else box_xyxy_px
        self.samples.append(Sample(name, image, "body", box, keypoints))

    def reading(self) -> Reading:
        """The samples and the sentences; the count of sparsely labelled people comes last."""
        count = f"{self.sparse} people with fewer than {MIN_BODY_KEYPOINTS} labelled keypoints"
        return Reading(self.samples, self.skipped + [count] * (self.sparse > 0))


def labelled(values: Any, count: int, what: str, shift_px: float = 0.0) -> Float[Array, "n 3"]:
    """Check labels of a data set.

    Args:
        values: x, y and confidence of each keypoint, in any nesting.
        count: how many keypoints there must be.
        what: what to call them in the error message.
        shift_px: added to x and y, so that the first pixel's centre comes to 0.5.

    Returns:
        rows (x, y, confidence), zero where the confidence is not above 0.

    Raises:
        InputError: another number of keypoints; NaN or infinity in a confidence or at a labelled keypoint.
    """
    points = np.array(values, float)
    if points.size != 3 * count:
        raise InputError(f"'{what}' of {points.size} numbers", f"{3 * count}")
    points = points.reshape(count, 3) + [shift_px, shift_px, 0.0]
    if np.isnan(points[:, 2]).any() or not np.isfinite(points[points[:, 2] > 0]).all():
        raise InputError(f"'{what}' that hold NaN or infinity", "finite numbers")
    return np.where(points[:, 2:] > 0, points, 0.0)


def combine(parts: Iterable[Float[Array, "144 3"]]) -> Float[Array, "144 3"]:
    """Labels of several parts; where two name the same keypoint, the first that is labelled counts."""
    found = np.zeros((len(KEYPOINT_NAMES), 3), np.float32)
    for part in parts:
        found = np.where(found[:, 2:] > 0, found, part)
    return found


def check_folder(folder: Path) -> None:
    """Raise InputError if there is no such folder."""
    if not folder.is_dir():
        raise InputError(f"no folder '{folder}'", "the folder of an unpacked data set", "Check the path.")


def find_file(folder: Path, patterns: list[str]) -> Path | None:
    """The last file by name (the latest year) that matches the first glob pattern which matches any."""
    return next((sorted(found)[-1] for pattern in patterns if (found := list(folder.glob(pattern)))), None)


def load_mat(path: Path) -> dict[str, Any]:
    """Read a MATLAB file: structs as dicts, arrays of structs as lists of dicts.

    Raises:
        InputError: it is missing, damaged or of MATLAB's version 7.3.
    """
    if not path.is_file():
        raise InputError(f"no file '{path}'", "the data set's MATLAB file")
    from scipy.io import loadmat  # readers of other files do without
    from scipy.io.matlab import MatReadError

    try:
        return loadmat(str(path), simplify_cells=True)
    except (MatReadError, OSError, ValueError, TypeError, KeyError, NotImplementedError, zlib.error) as error:
        raise InputError(f"'{path}', which does not read ({error})", "a MATLAB file up to version 7.2") from None


def records(value: Any) -> list[dict[str, Any]]:
    """MATLAB's struct, array of structs or empty array, as :func:`load_mat` gives them, as a list of dicts."""
    if isinstance(value, dict):
        return [value]
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []
