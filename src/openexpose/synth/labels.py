"""What is known about the people of a picture: keypoints, their visibility, boxes."""

import numpy as np
from jaxtyping import Bool, Float, UInt8

from openexpose.body.keypoints import IBUG68, INDEX
from openexpose.body.mesh import keypoints
from openexpose.body.model import BodyModel
from openexpose.people import zero_pose
from openexpose.synth.camera import Camera
from openexpose.synth.figure import HEAD, Actor, Figure
from openexpose.synth.person import Person
from openexpose.synth.photo import HIDDEN, OCCLUDED, VISIBLE, Subject
from openexpose.synth.thing import THING, Drawing
from openexpose.synth.view import View

Array = np.ndarray

ALL = np.arange(144)
CONTOUR = 17
"""The first of the 68 face landmarks slide over the skin with the head's yaw."""

# Thickness of the body over each keypoint: a joint lies inside, so nothing nearer than this hides it.
_COVER_M = np.full(144, 0.03)
_COVER_M[25:55], _COVER_M[66:76] = 0.02, 0.013
_COVER_M[[INDEX[n] for n in ("pelvis", "spine1", "spine2", "spine3", "left_hip", "right_hip")]] = 0.17
_COVER_M[
    [INDEX[n] for n in ("neck", "head", "left_collar", "right_collar", "left_shoulder", "right_shoulder", "jaw")]
] = 0.12
_COVER_M[[INDEX[f"{s}_{n}"] for s in ("left", "right") for n in ("knee", "elbow", "ankle")]] = 0.09
_COVER_M[[INDEX["left_wrist"], INDEX["right_wrist"]]] = 0.06
_ON_SKIN = np.arange(55, 144)
_SLOPE_PX = 2.0


def subject(
    model: BodyModel, actor: Actor, camera: Camera, drawing: Drawing, number: int, beyond: Bool[Array, "h w"]
) -> Subject:
    """The labels of a person.

    Args:
        actor: in the camera's frame; at least one of its vertices is in the picture.
        camera: that drew the picture; only its focal length and size matter.
        drawing: the picture, in whose mask the person has the given number. beyond: what the photo does not show.
    """
    figure = actor.figure
    batch = figure.pose[None], figure.betas[None], figure.expression[None]
    points = keypoints(model, *batch)[0].astype(float)
    transl = figure.joints[0] - points[0]
    points = points + transl
    pixels = camera.to_pixels(points)
    return Subject(
        pose=figure.pose,
        betas=figure.betas,
        expression=figure.expression,
        transl=transl,
        keypoints_px=pixels,
        keypoints_m=points,
        visibility=visibility(points, pixels, drawing, (number, camera.focal_px, beyond)),
        contour_m=head_contour(model, figure) + points[HEAD],
        box_xyxy_px=box_of(actor, camera, drawing, number),
    )


def visibility(
    points: Float[Array, "144 3"],
    pixels: Float[Array, "144 2"],
    drawing: Drawing,
    whose: tuple[int, float, Bool[Array, "h w"]],
) -> UInt8[Array, "144"]:
    """HIDDEN, OCCLUDED or VISIBLE, by what is drawn at each keypoint.

    A point lies inside the body: the person's own surface is in front of it if it is nearer by more than the body's
    thickness over that point (for points on the skin: what a few pixels may be nearer); somebody or something else is
    if it is nearer at all.

    Args:
        whose: number of the person in the mask, focal length (pixels), and what the photo does not show: it hides all.
    """
    number, focal_px, beyond = whose
    height, width = drawing.mask.shape
    inside = ((pixels >= 0) & (pixels < [width, height])).all(1) & (points[:, 2] > 0)
    x, y = np.clip(pixels, 0, [width - 1, height - 1]).astype(int).T
    mask, depth = drawing.mask[y, x], drawing.depth_m[y, x]
    own = (mask >> 4 == number) & (mask & 15 != THING) & (mask > 0)
    nearer = points[:, 2] > depth
    behind_other = nearer & ~own & (mask > 0) | beyond[y, x]
    cover = _COVER_M.copy()
    cover[_ON_SKIN] = np.minimum(cover[_ON_SKIN], 0.012) + _SLOPE_PX * points[_ON_SKIN, 2] / focal_px
    behind_own = own & (points[:, 2] > depth + cover)
    seen = np.where(behind_own, OCCLUDED, VISIBLE)
    return np.where(inside & ~behind_other, seen, HIDDEN).astype(np.uint8)


def head_contour(model: BodyModel, figure: Figure) -> Float[Array, "17 3"]:
    """Contour landmarks from the head joint (metres, the figure's frame) by the head's yaw: a face network knows no
    neck."""
    pose = zero_pose(1)
    pose[0, 0], pose[0, INDEX["jaw"]] = figure.rotations[HEAD], figure.pose[INDEX["jaw"]]
    points = keypoints(model, pose, figure.betas[None], figure.expression[None])[0].astype(float)
    return points[IBUG68[:CONTOUR]] - points[HEAD]


def box_of(actor: Actor, camera: Camera, drawing: Drawing, number: int) -> Float[Array, "4"]:
    """Tight box around the body's and its clothes' vertices within the picture, and what is drawn of them."""
    corners = [_drawn_box(drawing, number)]
    for vertices in (actor.body.vertices, *(thing.vertices for thing in actor.body.things if thing.parts[0] != THING)):
        z = vertices[:, 2]
        with np.errstate(divide="ignore", invalid="ignore"):
            x = vertices[:, 0] * np.float32(camera.focal_px) / z + np.float32(camera.width / 2)
            y = vertices[:, 1] * np.float32(camera.focal_px) / z + np.float32(camera.height / 2)
        seen = (z > 0.03) & (x >= 0) & (x <= camera.width) & (y >= 0) & (y <= camera.height)
        if seen.any():
            x, y = x[seen], y[seen]
            corners.append(np.array([x.min(), y.min(), x.max(), y.max()], float))
    boxes = np.stack([box for box in corners if box is not None])
    return np.concatenate([boxes[:, :2].min(0), boxes[:, 2:].max(0)])


def _drawn_box(drawing: Drawing, number: int) -> Float[Array, "4"] | None:
    """Box around the pixels of a person, without what is held."""
    mask = drawing.mask
    own = (mask > 16 * number) & (mask < 16 * number + THING)
    columns, rows = np.flatnonzero(own.any(0)), np.flatnonzero(own.any(1))
    if not len(rows):
        return None
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], float)


def point_visibility(
    person: Person, view: View, depth_m: Float[Array, "n n"], hidden: Bool[Array, "n n"], ids: Array
) -> UInt8[Array, "n"]:
    """HIDDEN, OCCLUDED or VISIBLE for keypoints of a person alone in a square picture, as the frozen test set has it.

    A point is behind the body if the surface is nearer by its cover; ``hidden`` marks pixels that hide all.
    """
    size = len(hidden)
    points = view.to_view(person.joints[ids])
    pixel = (view.to_crop(person.joints[ids]) + 1) * (size / 2)
    inside = ((pixel >= 0) & (pixel < size)).all(1)
    x, y = np.clip(pixel, 0, size - 1).astype(int).T
    shown = inside & ~hidden[y, x]
    behind = points[:, 2] > depth_m[y, x] + _COVER_M[ids]
    return np.where(shown, np.where(behind, OCCLUDED, VISIBLE), HIDDEN).astype(np.uint8)
