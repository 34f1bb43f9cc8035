"""Where a person stands: the place of the root in the picture and its depth; another shape in the same place.

Depth is known far less exactly than the place in the picture, so both are smoothed apart: (x / z, y / z, log z) of the
root joint. The pelvis does not move when the body turns about it, so that no rotation leaks into the place.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from openexpose.body.keypoints import IBUG68, INDEX, LEFT_HAND21, RIGHT_HAND21
from openexpose.body.mesh import joint_transforms, keypoints
from openexpose.body.model import BodyModel
from openexpose.geometry.boxes import Crop
from openexpose.geometry.camera import locate, project_perspective
from openexpose.people import People
from openexpose.predict.collect import weak_camera
from openexpose.predict.merge import FullCamera

Array = np.ndarray

_NEAREST_M = 0.05
_PARTS = {
    "whole": (0, np.arange(22)),
    "face": (INDEX["head"], IBUG68),
    "left-hand": (INDEX["left_wrist"], LEFT_HAND21),
    "right-hand": (INDEX["right_wrist"], RIGHT_HAND21),
}


@dataclass(frozen=True)
class Points:
    """The points by which people are placed, in the axes of the camera but without translation, metres."""

    root: Float[Array, "n 3"]
    """Pelvis; of a lone part the wrist or the head."""
    fit: Float[Array, "n k 3"]
    """The 22 body joints; the keypoints of a lone part."""


def place_points(model: BodyModel, people: People) -> Points:
    """The points of posed people."""
    root, fit = _PARTS[people.part]
    if people.part == "whole":
        posed = joint_transforms(model, people.pose, people.betas, people.expression)[1].astype(float)
    else:
        posed = keypoints(model, people.pose, people.betas, people.expression).astype(float)
    return Points(posed[:, root], posed[:, fit])


def reshaped(model: BodyModel, people: People, betas: Float[Array, "n b"]) -> People:
    """The same people in another shape, moved so that they are seen where and as large as before.

    A taller body stands farther away: the translation is the one under which the joints' pinhole projections agree
    best with those of the shape before.
    """
    before = place_points(model, people)
    changed = replace(people, betas=betas.astype(people.betas.dtype))
    after = place_points(model, changed)
    seen = project_perspective(before.fit + people.transl[:, None], people.focal_px, people.principal_px)
    transl = locate(after.fit, seen, people.focal_px, people.principal_px)
    return replace(changed, transl=transl.astype(people.transl.dtype))


def places(points: Points, people: People) -> Float[Array, "n 3"]:
    """(x / z, y / z, log z) of the roots."""
    root = points.root + people.transl
    depth = np.maximum(root[:, 2:], _NEAREST_M)
    return np.concatenate([root[:, :2] / depth, np.log(depth)], -1)


def placed(model: BodyModel, people: People, place: Float[Array, "n 3"]) -> People:
    """The people with their roots at places; ``crop_camera`` is made to agree with the result."""
    points = place_points(model, people)
    depth = np.exp(place[:, 2:])
    transl = np.concatenate([place[:, :2] * depth, depth], -1) - points.root
    camera = FullCamera(people.focal_px, people.principal_px)
    crop = Crop(people.crop_centre_px, people.crop_side_px, np.zeros(len(people)))
    fitted = weak_camera(points.fit + transl[:, None], points.root + transl, crop, camera)
    return replace(
        people, transl=transl.astype(people.transl.dtype), crop_camera=fitted.astype(people.crop_camera.dtype)
    )
