"""What a fit aims at: the 2D keypoints of one person in one picture, and those that our own trunks see."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from openexpose.body.keypoints import KEYPOINT_NAMES, PARTS
from openexpose.errors import InputError
from openexpose.geometry.boxes import box_around
from openexpose.people import People
from openexpose.predict.pipeline import Predictor

Array = np.ndarray

OWN_KEYPOINTS: dict[str, Array] = {
    "body": PARTS["body"],
    "left_hand": PARTS["left_hand"][1:],
    "right_hand": PARTS["right_hand"][1:],
    "face": PARTS["face"],
}
"""Each of the 144 keypoints in one part: wrists, nose, eyes and ears are the body's."""

FEWEST_BODY, FEWEST_FINE = 4, 8
"""With fewer keypoints a body, and a hand or face, is not there (hands and faces: as in the paper's curated fits)."""


@dataclass(frozen=True, eq=False)
class Observed:
    """One person's 2D keypoints in one picture."""

    name: str
    """Picture and number, as in ``photo.jpg/0``: how error messages call the person."""
    keypoints_px: Float[Array, "144 3"]
    """x, y (pixels; the centre of the first pixel is at 0.5) and confidence 0..1, in the order of
    :mod:`openexpose.body.keypoints`. Rows of confidence 0 were not seen and are zero."""
    image_size: tuple[int, int]
    """Width and height of the picture, pixels."""
    source: str
    """Whose keypoints they are: ``openexpose``, ``openpose``, ``coco`` or ``mediapipe``."""

    def __post_init__(self) -> None:
        points = np.array(self.keypoints_px, float)
        if points.shape != (len(KEYPOINT_NAMES), 3):
            raise InputError(f"{self.name}: keypoints of shape {points.shape}", f"shape ({len(KEYPOINT_NAMES)}, 3)")
        confidence = points[:, 2]
        if not ((confidence >= 0.0) & (confidence <= 1.0)).all():
            raise InputError(f"{self.name}: confidences that are not from 0 to 1", "0 (not seen) to 1")
        points[confidence == 0.0] = 0.0
        if not np.isfinite(points).all():
            raise InputError(f"{self.name}: seen keypoints that hold NaN or infinity", "finite pixels")
        if len(self.image_size) != 2 or min(self.image_size) < 1:
            raise InputError(f"{self.name}: a picture of the size {self.image_size}", "width and height in pixels")
        object.__setattr__(self, "keypoints_px", points)

    @property
    def box_xyxy_px(self) -> Float[Array, "4"]:
        """The tight box around the keypoints that were seen, pixels.

        Raises:
            InputError: none was.
        """
        points = self.keypoints_px
        if not points[:, 2].any():
            raise InputError(f"{self.name}: no keypoint that was seen", "at least one")
        return box_around(points[points[:, 2] > 0, :2])

    def has(self, part: str) -> bool:
        """Whether enough of a part was seen: ``body`` (4 keypoints), ``left_hand``, ``right_hand``, ``face`` (8)."""
        fewest = FEWEST_BODY if part == "body" else FEWEST_FINE
        return int(np.count_nonzero(self.keypoints_px[OWN_KEYPOINTS[part], 2])) >= fewest

    def only(self, keypoints: Bool[Array, "144"] | Int[Array, "k"]) -> "Observed":
        """What was seen of some keypoints."""
        points = np.zeros_like(self.keypoints_px)
        points[keypoints] = self.keypoints_px[keypoints]
        return replace(self, keypoints_px=points)

    def confidence(self, part: str) -> float:
        """Mean confidence of the keypoints of a part, 0..1."""
        return float(self.keypoints_px[OWN_KEYPOINTS[part], 2].mean())


def confident(
    observed: Observed, body: float = 0.1, hand: float = 0.2, face: float = 0.4, *, fewest: int = FEWEST_FINE
) -> Observed:
    """Only the keypoints that a detector was sure of, as in the paper's curated fits.

    Args:
        observed: one person.
        body, hand, face: confidence below which a keypoint of the part counts as not seen.
        fewest: a hand or face that is then left with fewer keypoints of its own (wrists, nose and eyes are the body's)
            is dropped; 0 keeps the single knuckles and mouth corners that body detectors tell.
    """
    points = observed.keypoints_px.copy()
    for part, least in {"body": body, "left_hand": hand, "right_hand": hand, "face": face}.items():
        own = OWN_KEYPOINTS[part]
        kept = (points[own, 2] >= least) & (points[own, 2] > 0)
        if part != "body" and np.count_nonzero(kept) < fewest:
            kept[:] = False
        points[own[~kept]] = 0.0
    return replace(observed, keypoints_px=points)


def observe(predictor: Predictor, people: People, name: str) -> list[Observed]:
    """What the predictor's trunks saw of people: keypoints of any photo, without another detector.

    Args:
        predictor: its last call was about this picture.
        people: what that call returned.
        name: of the picture.

    Returns:
        one a person, in the order of ``people``; also of somebody in whom the trunks saw nothing.

    Raises:
        InputError: the bundle's trunks tell no landmarks, or the last call was about others.
    """
    keypoints = predictor.seen_keypoints()
    if len(keypoints) != len(people):
        got = f"{len(people)} people of '{name}' after a prediction of {len(keypoints)}"
        raise InputError(got, "the people of the predictor's last call")
    return [Observed(f"{name}/{k}", points, people.image_size, "openexpose") for k, points in enumerate(keypoints)]
