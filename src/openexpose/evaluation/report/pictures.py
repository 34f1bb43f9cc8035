"""Pictures of single cases: the photo with true and predicted points, the mesh on it, both surfaces shaded."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image, ImageDraw, ImageFont

from openexpose.body.keypoints import COCO17, IBUG68, KEYPOINT_NAMES, LEFT_HAND21, RIGHT_HAND21, indices
from openexpose.errors import InputError
from openexpose.evaluation.record import Case, Metric, Prediction, Subject
from openexpose.evaluation.run import read_picture
from openexpose.geometry.camera import project_perspective
from openexpose.geometry.procrustes import align_similarity
from openexpose.geometry.surface import vertex_normals
from openexpose.render.overlay import render_overlay
from openexpose.render.raster import rasterize

Array = np.ndarray
Picture = UInt8[Array, "h w 3"]
Camera = tuple[float, float, float]
"""Focal length and principal point, pixels."""

HEIGHT_PX = 640
TRUE_COLOUR, PREDICTED_COLOUR = (40, 220, 90), (255, 60, 90)
_WIDEST_PX = 900
_GROUND = 244
_FINE = 2  # samples a pixel and axis of the shaded surfaces
_TRUE_RGB, _PREDICTED_RGB = np.array([0.66, 0.80, 0.70]), np.array([0.66, 0.76, 0.95])
_RAMP = np.array([[0.20, 0.35, 0.85], [0.35, 0.80, 0.85], [0.98, 0.88, 0.35], [0.85, 0.15, 0.15]])
_FEET6 = indices("left_big_toe", "left_small_toe", "left_heel", "right_big_toe", "right_small_toe", "right_heel")
_POINTS = {
    **{"body": COCO17, "face": IBUG68, "foot": _FEET6, "left_hand": LEFT_HAND21, "right_hand": RIGHT_HAND21},
    "all": np.arange(144),
}


@dataclass(frozen=True, eq=False)
class DrawnCase:
    """The pictures of a case."""

    rank: str
    caption: str
    """Name and value."""
    panels: tuple[tuple[str, Picture], ...]
    """Title and picture, all ``HEIGHT_PX`` high; none where there is nothing to see."""


def draw_case(case: Case, metric: Metric | None = None) -> DrawnCase:
    """Draw everything that can be seen of a case.

    Args:
        case: subject and prediction.
        metric: what ``case.value`` is a value of.
    """
    what = f"{metric.name} {case.value:.3g} {metric.unit}" if metric else f"{case.value:.3g}"
    panels = [*_photo_panels(case), *_surface_panels(case)]
    return DrawnCase(case.rank, f"{case.subject.name}: {what.strip()}", tuple(panels))


def case_picture(case: Case, metric: Metric | None = None) -> Picture:
    """All panels of a case side by side under a line with its name and value."""
    return _compose(draw_case(case, metric))


def sheet(cases: Sequence[DrawnCase], height_px: int = 360) -> Picture:
    """Several cases below each other, each panel ``height_px`` high.

    Raises:
        InputError: no cases.
    """
    if not cases:
        raise InputError("no cases to draw", "at least one")
    rows = [_compose(case, height_px) for case in cases]
    width = max(row.shape[1] for row in rows)
    return np.concatenate([np.pad(r, ((0, 0), (0, width - r.shape[1]), (0, 0)), constant_values=255) for r in rows])


def _compose(case: DrawnCase, height_px: int = HEIGHT_PX) -> Picture:
    """Panels under their titles, under the caption, on white."""
    gap, line = 8, 26
    panels = [(title, _resized(picture, height_px)) for title, picture in case.panels]
    widths = [panel.shape[1] for _, panel in panels]
    canvas = Image.new("RGB", (max(700, sum(widths) + gap * (len(panels) + 1)), height_px + 2 * line + gap), "white")
    drawing = ImageDraw.Draw(canvas)
    drawing.text((gap, 4), f"{case.rank}   {case.caption}", (0, 0, 0), _font(17))
    x = gap
    for (title, panel), width in zip(panels, widths, strict=True):
        drawing.text((x, line + 4), _fitting(title, width), (90, 90, 90), _font(13))
        canvas.paste(Image.fromarray(panel), (x, 2 * line))
        x += width + gap
    if not panels:
        drawing.text((gap, line + 4), "nothing to see: neither picture nor surface", (90, 90, 90), _font(13))
    return np.asarray(canvas)


def _resized(picture: Picture, height_px: int) -> Picture:
    if picture.shape[0] == height_px:
        return picture
    width = max(1, round(picture.shape[1] * height_px / picture.shape[0]))
    return np.asarray(Image.fromarray(picture).resize((width, height_px), Image.Resampling.LANCZOS))


def _fitting(text: str, width: int) -> str:
    while len(text) > 3 and _font(13).getlength(text) > width:
        text = text[:-4] + "..."
    return text


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _photo_panels(case: Case) -> list[tuple[str, Picture]]:
    """The person's region of the photo with the points, and with the mesh where it is known how it projects."""
    subject, prediction = case.subject, case.prediction
    if subject.image is None:
        return []
    try:
        pixels, _ = read_picture(subject)
    except InputError:
        return []
    pairs = point_pairs(subject, prediction)
    box = _region(subject, pairs, pixels.shape[1], pixels.shape[0])
    zoom = min(HEIGHT_PX / (box[3] - box[1]), _WIDEST_PX / (box[2] - box[0]))
    size = max(1, round((box[2] - box[0]) * zoom)), max(1, round((box[3] - box[1]) * zoom))
    photo = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS, box=box))
    title = "photo" if not pairs else "true points green, predicted red"
    panels = [(title, _filled(_with_points(photo, pairs, box[:2], zoom)))]
    camera = mesh_camera(subject, prediction, pixels.shape[1], pixels.shape[0])
    if camera is not None and prediction.mesh is not None and len(prediction.mesh.faces):
        K = camera[0] * zoom, (camera[1] - box[0]) * zoom, (camera[2] - box[1]) * zoom
        shown = render_overlay(photo, prediction.mesh.vertices_m[None], prediction.mesh.faces, K)
        panels.append(("predicted mesh", _filled(shown)))
    return panels


def _filled(picture: Picture) -> Picture:
    """The picture in the middle of a panel ``HEIGHT_PX`` high."""
    missing = HEIGHT_PX - picture.shape[0]
    rows = (missing // 2, missing - missing // 2)
    return np.pad(picture, (rows, (0, 0), (0, 0)), constant_values=_GROUND) if missing > 0 else picture[:HEIGHT_PX]


def _region(
    subject: Subject, pairs: Sequence[tuple[Array, Array]], width: int, height: int
) -> tuple[float, float, float, float]:
    """What to show of the photo: the box and the true points with a margin, inside the picture."""
    points = [true for true, _ in pairs]
    if subject.box_xyxy_px is not None:
        points.append(subject.box_xyxy_px.reshape(2, 2))
    if not points or (subject.box_xyxy_px is None and subject.part == "whole"):
        return 0.0, 0.0, float(width), float(height)
    everything = np.concatenate(points)
    low, high = everything.min(0), everything.max(0)
    margin = max(8.0, 0.12 * float((high - low).max()))
    low, high = np.clip(low - margin, 0, (width - 1, height - 1)), np.clip(high + margin, 1, (width, height))
    high = np.maximum(high, low + 1)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def point_pairs(subject: Subject, prediction: Prediction) -> list[tuple[Float[Array, "n 2"], Float[Array, "n 2"]]]:
    """Labelled points and the predicted ones that belong to them, pixels; NaN where the system has no such point.

    The 21 points of a hand of unknown side are paired with the nearer of both hands.
    """
    predicted = prediction.keypoints_px
    pairs = []
    for key, labelled in subject.keypoints_px.items():
        seen = labelled[:, 2] > 0
        if not seen.any():
            continue
        true = labelled[seen, :2]
        if predicted is None:
            pairs.append((true, np.full_like(true, np.nan, float)))
        elif key == "hand":
            sides = [predicted[index][seen] for index in (LEFT_HAND21, RIGHT_HAND21)]
            pairs.append((true, min(sides, key=lambda side: _distance(side, true))))
        elif key in _POINTS and len(labelled) == len(_POINTS[key]):
            pairs.append((true, predicted[_POINTS[key]][seen]))
    return pairs


def _distance(points: Array, true: Array) -> float:
    distance = np.linalg.norm(points - true, axis=-1)
    return float(distance[np.isfinite(distance)].mean()) if np.isfinite(distance).any() else np.inf


def _with_points(
    photo: Picture, pairs: Sequence[tuple[Array, Array]], origin_px: Sequence[float], zoom: float
) -> Picture:
    canvas = Image.fromarray(photo)
    drawing = ImageDraw.Draw(canvas)
    for true, predicted in pairs:
        radius = 5 if len(true) <= 30 else 3
        at_true, at_predicted = (true - origin_px[:2]) * zoom, (predicted - origin_px[:2]) * zoom
        for a, b in zip(at_true, at_predicted, strict=True):
            if np.isfinite(b).all():
                b = np.clip(b, -4 * HEIGHT_PX, 4 * HEIGHT_PX)
                drawing.line([*map(float, a), *map(float, b)], (255, 255, 255), 2)
                _dot(drawing, b, radius, PREDICTED_COLOUR)
            _dot(drawing, a, radius, TRUE_COLOUR)
    return np.asarray(canvas)


def _dot(drawing: ImageDraw.ImageDraw, point: Array, radius: int, colour: tuple[int, int, int]) -> None:
    x, y = map(float, point)
    drawing.ellipse([x - radius, y - radius, x + radius, y + radius], colour, (0, 0, 0))


def mesh_camera(subject: Subject, prediction: Prediction, width: int, height: int) -> Camera | None:
    """The pinhole camera that the predicted mesh belongs to; None if none explains what is known.

    It is the one that takes the predicted joints to the predicted keypoints, else the subject's focal length with the
    principal point in the middle of the picture, if the mesh then covers the subject's box.
    """
    if prediction.joints_m is not None and prediction.keypoints_px is not None:
        names = [name for name in prediction.joint_names if name in KEYPOINT_NAMES]
        joints = prediction.joints(names)
        pixels = prediction.keypoints_px[indices(*names)] if names else np.zeros((0, 2))
        return None if joints is None else _fit_camera(joints, pixels)
    if subject.focal_px is None or prediction.mesh is None:
        return None
    middle = np.array([width / 2, height / 2])
    vertices = prediction.mesh.vertices_m
    if (vertices[:, 2] < 0.05).any():
        return None
    points = project_perspective(vertices, subject.focal_px, middle)
    box = subject.box_xyxy_px if subject.box_xyxy_px is not None else np.array([0.0, 0.0, width, height])
    low, high = np.maximum(points.min(0), box[:2]), np.minimum(points.max(0), box[2:])
    shared = np.prod(np.maximum(high - low, 0.0))
    union = np.prod(np.ptp(points, axis=0)) + np.prod(box[2:] - box[:2]) - shared
    return (subject.focal_px, width / 2, height / 2) if shared > 0.3 * union else None


def _fit_camera(joints: Float[Array, "n 3"], pixels: Float[Array, "n 2"]) -> Camera | None:
    """Least squares for focal length and principal point; None where the projection misses by more than 1 %."""
    known = np.isfinite(pixels).all(-1)
    joints, pixels = joints[known], pixels[known]
    if len(joints) < 4 or (joints[:, 2] < 0.05).any():
        return None
    ratio = joints[:, :2] / joints[:, 2:]
    one, zero = np.ones(len(joints)), np.zeros(len(joints))
    system = np.r_[np.c_[ratio[:, 0], one, zero], np.c_[ratio[:, 1], zero, one]]
    solution = np.linalg.lstsq(system, pixels.T.ravel(), rcond=None)[0]
    missed = np.abs(system @ solution - pixels.T.ravel()).max()
    if solution[0] <= 0 or missed > max(1.0, 0.01 * float(np.ptp(pixels, axis=0).max())):
        return None
    return float(solution[0]), float(solution[1]), float(solution[2])


def _surface_panels(case: Case) -> list[tuple[str, Picture]]:
    """True and predicted surface from the front and from the side; distances as colours where vertices correspond."""
    predicted = case.prediction.mesh
    try:
        true = case.subject.mesh() if case.subject.mesh is not None else None
    except InputError:
        return []
    if true is None or predicted is None or not len(true.faces) or not len(predicted.faces):
        return []
    size = float(np.ptp(true.vertices_m, axis=0).max())
    if true.topology == predicted.topology and len(true.vertices_m) == len(predicted.vertices_m):
        worst_mm = 100.0 if size > 0.6 else 20.0
        moved = align_similarity(predicted.vertices_m, true.vertices_m)
        distance_mm = 1000.0 * np.linalg.norm(moved - true.vertices_m, axis=-1)
        colours = _ramp(distance_mm / worst_mm)
        what = f"aligned, blue 0 to red {worst_mm:g} mm"
    else:
        moved = predicted.vertices_m - _middle(predicted.vertices_m) + _middle(true.vertices_m)
        colours = np.broadcast_to(_PREDICTED_RGB, moved.shape)
        what = "predicted, same centre"
    plain = np.broadcast_to(_TRUE_RGB, true.vertices_m.shape)
    low = np.minimum(true.vertices_m.min(0), moved.min(0))
    high = np.maximum(true.vertices_m.max(0), moved.max(0))
    panels = []
    for view in ("front", "side"):
        panels.append((f"true, {view}", _shaded(true.vertices_m, true.faces, plain, (low, high), view)))
        panels.append((f"{what}, {view}" if view == "front" else f"the same, {view}",
                       _shaded(moved, predicted.faces, colours, (low, high), view)))  # fmt: skip
    return panels


def _middle(points: Float[Array, "n 3"]) -> Float[Array, "3"]:
    return (points.min(0) + points.max(0)) / 2


def _ramp(level: Float[Array, "n"]) -> Float[Array, "n 3"]:
    """Colours from blue (0) over yellow to red (1 and more)."""
    steps = np.linspace(0.0, 1.0, len(_RAMP))
    return np.stack([np.interp(level, steps, channel) for channel in _RAMP.T], -1)


def _shaded(
    vertices_m: Float[Array, "v 3"], faces: Int[Array, "f 3"], colours: Float[Array, "v 3"],
    extent: tuple[Float[Array, "3"], Float[Array, "3"]], view: str,
) -> Picture:  # fmt: skip
    """A surface without perspective, lit from the viewer, in a panel around ``extent`` (metres)."""
    low, high = extent
    turn = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]]) if view == "side" else np.eye(3)
    points, corners = (vertices_m - (low + high) / 2) @ turn.T, np.abs((high - low) @ turn.T)
    scale = 0.94 * min(HEIGHT_PX / max(corners[1], 1e-6), _WIDEST_PX / max(corners[0], 1e-6)) * _FINE
    width = int(np.clip(corners[0] * scale / _FINE / 0.94, HEIGHT_PX // 3, _WIDEST_PX)) * _FINE
    height = HEIGHT_PX * _FINE
    at_px = points[:, :2] * scale + (width / 2, height / 2)
    triangle = at_px[faces]
    e1, e2 = triangle[:, 1] - triangle[:, 0], triangle[:, 2] - triangle[:, 0]
    kept = faces[np.abs(e1[:, 0] * e2[:, 1] - e1[:, 1] * e2[:, 0]) > 1e-6]
    facing = np.abs(vertex_normals(points, faces)[:, 2])
    seen = rasterize(at_px[kept], -points[kept, 2], 0.3 + 0.7 * facing[kept], width, height)
    canvas = np.full((height * width, 3), float(_GROUND))
    canvas[seen.sample] = 255.0 * colours[kept].mean(1)[seen.triangle] * np.clip(seen.value, 0.0, 1.0)[:, None]
    blocks = canvas.reshape(HEIGHT_PX, _FINE, width // _FINE, _FINE, 3).mean((1, 3))
    return np.rint(np.clip(blocks, 0, 255)).astype(np.uint8)
