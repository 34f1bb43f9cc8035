"""The contour of the face: 17 points along the jaw line, and where they slide to when the head turns."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.ndimage import median_filter

from .head import Head
from .rasterise import View, rasterise
from .shape import REFLECT
from .surface import Surface

CONTOUR_ROWS = 79
_MOST_DEG = 39
_PICTURE_PX = 700
_PICTURE_M = 0.26


@dataclass(frozen=True)
class ContourTable:
    """Contour points per degree of yaw (rows as in `landmarks`), in rows of the head's triangles."""

    faces: Int[np.ndarray, "79 17"]
    weights: Float[np.ndarray, "79 17 3"]


def resample_contour(
    oval: Float[np.ndarray, "O 3"], eye_corner: Float[np.ndarray, "3"], surface: Surface, outer: Bool[np.ndarray, "H"]
) -> Float[np.ndarray, "17 3"]:
    """17 points evenly spaced on the skin from the eye corner's height down to the chin and up again.

    `oval`: the jaw line on the subject's right, from the temple down to the chin (last point, put on the mid plane).
    """
    half = oval.copy()
    half[-1, 0] = 0.0
    dense = np.concatenate([np.linspace(a, b, 20, endpoint=False) for a, b in pairwise(half)])
    dense = np.concatenate([dense, half[-1:]])
    below = np.flatnonzero(dense[:, 1] <= eye_corner[1])
    dense = dense[below[0] :]
    on_skin = np.stack([surface.point(*surface.nearest(point, outer)) for point in dense])
    length = np.concatenate([[0.0], np.linalg.norm(np.diff(on_skin, axis=0), axis=1).cumsum()])
    stops = np.linspace(0, length[-1], 9)
    right = np.stack([np.interp(stops, length, on_skin[:, axis]) for axis in range(3)], axis=1)
    return np.concatenate([right, right[-2::-1] * REFLECT])


def silhouette_table(
    head: Head, surface: Surface, contour: Float[np.ndarray, "17 3"], nose_base: Float[np.ndarray, "3"]
) -> ContourTable:
    """Contour for every degree of yaw from -39 to +39: the outermost point of the face along 17 fixed directions.

    The face is the skin in front of and above the static contour, so on the near side the points stay on the jaw line
    and on the far side they move to the silhouette.  Positions are median-filtered over yaw; turns to the right mirror
    turns to the left.
    """
    centre = np.array([0.0, nose_base[1] + 0.005, 0.6 * nose_base[2]])
    region = _face_region(head, contour)
    angles = np.arctan2(contour[:, 1] - centre[1], contour[:, 0])
    turned = np.stack([_outermost(head, region, centre, angles, np.deg2rad(yaw)) for yaw in range(_MOST_DEG + 1)])
    turned[0] = 0.5 * (turned[0] + turned[0, ::-1] * REFLECT)
    mirrored = turned[:, ::-1] * REFLECT
    by_yaw = np.concatenate([mirrored[:0:-1], turned])  # yaw -39 .. 39
    by_yaw = median_filter(by_yaw, size=(7, 1, 1), mode="nearest")
    rows = np.concatenate([by_yaw[_MOST_DEG:], by_yaw[_MOST_DEG - 1 :: -1]])  # 0, +1 .. +39, then -1 .. -39
    faces, weights = np.zeros((CONTOUR_ROWS, 17), int), np.zeros((CONTOUR_ROWS, 17, 3))
    for row, points in enumerate(rows):
        for column, point in enumerate(points):
            faces[row, column], weights[row, column] = surface.nearest(point, head.outer)
    return ContourTable(faces, weights)


def _face_region(head: Head, contour: Float[np.ndarray, "17 3"]) -> Bool[np.ndarray, "H"]:
    """Skin in front of the contour's ends, above the jaw line, not wider than the contour."""
    middle = head.vertices[head.faces].mean(1)
    half = contour[8::-1]  # chin to the right ear: z falls, y rises
    order = np.argsort(half[:, 2])
    jaw_line = np.interp(middle[:, 2], half[order, 2], half[order, 1])
    width = np.abs(contour[:, 0]).max() + 0.002
    return (
        head.outer
        & (middle[:, 1] > jaw_line - 0.002)
        & (middle[:, 2] > contour[0, 2] - 0.003)
        & (abs(middle[:, 0]) < width)
    )


def _outermost(
    head: Head,
    region: Bool[np.ndarray, "H"],
    centre: Float[np.ndarray, "3"],
    angles: Float[np.ndarray, "17"],
    yaw_rad: float,
) -> Float[np.ndarray, "17 3"]:
    """Last visible point of the region on rays from the middle of the face, at the given angles in the picture."""
    view = View(np.array([0.0, centre[1], 0.05]), _PICTURE_M, _PICTURE_PX, yaw_rad)
    fragments = rasterise(view, head.vertices, head.faces)
    inside = (fragments.face >= 0) & region[fragments.face]
    start = view.project(centre[None])[0, :2]
    points = np.zeros((len(angles), 3))
    for index, angle in enumerate(angles):
        steps = start + np.arange(_PICTURE_PX)[:, None] * np.array([np.cos(angle), -np.sin(angle)])
        columns, rows = np.clip(steps.astype(int), 0, _PICTURE_PX - 1).T
        last = np.flatnonzero(inside[rows, columns])[-1]
        pixel = rows[last], columns[last]
        points[index] = fragments.weights[pixel] @ head.vertices[head.faces[fragments.face[pixel]]]
    return points
