"""A synthetic photo and everything that is known about it."""

from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
from jaxtyping import Float, UInt8

Array = np.ndarray

Focus = Literal["body", "left_hand", "right_hand", "face", "people"]
HIDDEN, OCCLUDED, VISIBLE = 0, 1, 2
"""Visibility of a keypoint: outside the picture or behind something or somebody else; behind the person's own body,
clothes or hair; seen."""


@dataclass(frozen=True)
class Subject:
    """A person of a photo; frame: the photo's camera (x right, y down, z forward), metres.

    Attributes:
        pose: [55, 3, 3], slot 0 = global orientation in the camera frame. betas, expression: coefficients.
        transl: [3], vertices in the camera frame are the posed body's plus this.
        keypoints_px: [144, 2]. keypoints_m: [144, 3], camera frame. visibility: [144] of HIDDEN, OCCLUDED, VISIBLE.
        contour_m: [17, 3] the face's contour as a network sees it that knows the head's yaw but no neck.
        box_xyxy_px: [4] tight box around the body's and its clothes' vertices within the picture.
    """

    pose: Float[Array, "55 3 3"]
    betas: Float[Array, "b"]
    expression: Float[Array, "e"]
    transl: Float[Array, "3"]
    keypoints_px: Float[Array, "144 2"]
    keypoints_m: Float[Array, "144 3"]
    visibility: UInt8[Array, "144"]
    contour_m: Float[Array, "17 3"]
    box_xyxy_px: Float[Array, "4"]


SUBJECT_LABELS = tuple(field.name for field in fields(Subject))


@dataclass(frozen=True)
class Photo:
    """A picture; the camera's axis goes through its centre.

    Attributes:
        image: RGB. mask: as :class:`openexpose.synth.thing.Drawing`; person k of it is ``people[k]``.
        depth_m: metres, infinite on the background. focal_px: focal length.
        focus: what was framed: close-ups show that part of ``people[0]``; others are in them by chance.
        people: those that are labelled, at most 14.
        place: name of the surroundings.
    """

    image: UInt8[Array, "h w 3"]
    mask: UInt8[Array, "h w"]
    depth_m: Float[Array, "h w"]
    focal_px: float
    focus: Focus
    people: tuple[Subject, ...]
    place: str

    @property
    def intrinsics(self) -> Float[Array, "3 3"]:
        """Camera matrix K, pixels."""
        height, width = self.mask.shape
        return np.array([[self.focal_px, 0, width / 2], [0, self.focal_px, height / 2], [0, 0, 1]])
