"""How much of each part's motion the smoothers keep: cut-off frequencies, and the strength that scales them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from openexpose.body.keypoints import INDEX
from openexpose.errors import InputError

Array = np.ndarray

LONGEST_GAP_S = 0.5
"""Over a longer gap nothing is filled in, and smoothing starts anew behind it."""

_GROUPS = ("trunk", "legs", "arms", "head", "jaw", "eyes", "hands")


def _groups() -> Int[Array, "55"]:
    """The group of each of the 55 joints, as its place in ``_GROUPS``."""
    group = np.zeros(55, int)
    for side in ("left", "right"):
        group[[INDEX[f"{side}_{name}"] for name in ("hip", "knee", "ankle", "foot")]] = 1
        group[[INDEX[f"{side}_{name}"] for name in ("collar", "shoulder", "elbow", "wrist")]] = 2
    group[[INDEX["neck"], INDEX["head"]]] = 3
    group[22], group[23:25], group[25:55] = 4, 5, 6
    return group


_GROUP = _groups()


@dataclass(frozen=True)
class Cutoffs:
    """Frequencies in Hz, one a part: of the offline smoother what it halves, of the causal one where it starts."""

    trunk: float
    """Orientation of the whole body, and the spine."""
    legs: float
    arms: float
    """From the collars to the wrists."""
    head: float
    """Neck and head."""
    jaw: float
    eyes: float
    hands: float
    """The fingers."""
    expression: float
    place: float
    """Where the body stands in the picture."""
    depth: float
    """How far away it is, along the ray: seen far less exactly than the place in the picture."""

    @property
    def joints(self) -> Float[Array, "55"]:
        """The cut-off of each joint's rotation."""
        return np.array([getattr(self, name) for name in _GROUPS])[_GROUP]

    @property
    def columns(self) -> Float[Array, "58"]:
        """The cut-off of each column (:mod:`openexpose.predict.columns`)."""
        return np.concatenate([self.joints, [self.place, self.depth, self.expression]])


def scale_of(strength: float) -> float:
    """Factor on all cut-offs: 1 at strength 0.5, 2 at 0.25, a half at 1; inversely proportional to the strength.

    Raises:
        InputError: no number above 0 and up to 1.
    """
    check_strength(strength)
    return 0.5 / strength


def check_strength(strength: float) -> None:
    """Refuse anything but numbers from 0 to 1.

    Raises:
        InputError: that is so.
    """
    if not 0.0 <= strength <= 1.0:
        raise InputError(f"a smoothing strength of {strength}", "a number from 0 (none) to 1 (very smooth)")
