"""Synthetic photos of every kind."""

from typing import Literal

import numpy as np

from openexpose.synth.closeup import sample_body, sample_face, sample_hand
from openexpose.synth.crowd import sample_people
from openexpose.synth.labels import ALL, point_visibility
from openexpose.synth.person import Stage
from openexpose.synth.photo import Photo

Kind = Literal["body", "hands", "faces", "people"]

__all__ = ["ALL", "Kind", "point_visibility", "sample_photo"]

_SAMPLE = {"body": sample_body, "hands": sample_hand, "faces": sample_face, "people": sample_people}


def sample_photo(kind: Kind, rng: np.random.Generator, stage: Stage) -> Photo:
    """A photo and its labels.

    Args:
        kind: ``body``, ``hands``, ``faces``: close-ups of 256 px; ``people``: a scene of 480 to 1,200 px a side.
    """
    return _SAMPLE[kind](rng, stage)
