"""Errors of predicted 3D points and meshes against true ones: pure functions of arrays.

Both sides share unit and axes; distances come out in that unit. No function changes the unit: a protocol multiplies.
"""

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

from openexpose.errors import InputError
from openexpose.fitting.closest import SurfaceIndex
from openexpose.geometry.procrustes import Similarity, align_similarity, find_similarity

Array = np.ndarray
Points = Float[Array, "n 3"]

LSP_HIPS = (2, 3)
"""Rows of the right and left hip among LSP's 14 joints."""
STIRLING_LANDMARKS = (
    "right_eye_outer",
    "right_eye_inner",
    "left_eye_inner",
    "left_eye_outer",
    "nose_bottom",
    "right_mouth_corner",
    "left_mouth_corner",
)
"""The seven landmarks of :func:`scan_distances`, in order; right is the subject's right."""
STIRLING_RADIUS = 1.2
"""Extent of the measured face in Feng et al. 2018 (see :func:`scan_distances`); the NoW benchmark has 1.4."""

ICP_POINTS = 2000
_ICP_STEPS = 100
_OTHER_UNIT = 300.0
"""No two people, hands or faces differ by such a factor in size: their units do."""


def check_unit(pred_m: Float[Array, "n 3"], true_m: Float[Array, "m 3"]) -> None:
    """Refuse predictions that are hundreds of times larger or smaller than the truth.

    The points need not correspond; metres.

    Raises:
        InputError: that is so.
    """
    size, true = (float(np.ptp(np.asarray(points), axis=0).max()) for points in (pred_m, true_m))
    if min(size, true) > 0.0 and not 1.0 / _OTHER_UNIT < size / true < _OTHER_UNIT:
        fix = "in millimetres: --unit mm." if size > true else "in metres: leave --unit mm out."
        raise InputError(f"a prediction of {size:.3g} m where the truth has {true:.3g} m", "metres", f"It may be {fix}")


def joint_errors(pred: Points, true: Points) -> Float[Array, "n"]:
    """Distances of corresponding points, as they lie.

    Raises:
        InputError: arrays of different or wrong shapes, NaN or infinity.
    """
    pred, true = _pair(pred, true)
    return np.linalg.norm(pred - true, axis=-1)


def pelvis_aligned_errors(
    pred14: Float[Array, "14 3"], true14: Float[Array, "14 3"], hips: tuple[int, int] = LSP_HIPS
) -> Float[Array, "14"]:
    """Distances after each side was moved so that the middle of its hips is the origin (MPJPE's terms).

    Raises:
        InputError: as :func:`joint_errors`, or no such hips.
    """
    pred, true = _pair(pred14, true14)
    if max(hips) >= len(pred):
        raise InputError(f"{len(pred)} joints and hips in rows {hips}", "rows of the joints")
    return joint_errors(pred - pred[list(hips)].mean(0), true - true[list(hips)].mean(0))


def procrustes_errors(pred: Points, true: Points) -> Float[Array, "n"]:
    """Distances after the best similarity (rotation, scale, translation; no reflection): the terms of PA-MPJPE, PA-V2V.

    Raises:
        InputError: as :func:`joint_errors`; fewer than three points, or points that all coincide.
    """
    pred, true = _pair(pred, true)
    return joint_errors(align_similarity(pred, true), true)


def translation_errors(
    pred: Points, true: Points, origins: tuple[Float[Array, "3"], Float[Array, "3"]] | None = None
) -> Float[Array, "n"]:
    """Distances after a translation alone: the terms of TR-V2V.

    Rotation and scale stay in the error, unlike in PA-V2V. Which points are made to coincide differs in the field:
    without ``origins`` the means of the points, which is the best translation in the least-squares sense and what the
    evaluations of signers by region do (SGNify's and after it); the "MPVPE" of AGORA, Hand4Whole and OSX puts a joint
    on a joint (pelvis for bodies, wrist for hands, neck for faces): pass those as ``origins``.

    Args:
        pred: predicted points of one region.
        true: true points.
        origins: points of the prediction and of the truth that shall coincide.

    Raises:
        InputError: as :func:`joint_errors`.
    """
    pred, true = _pair(pred, true)
    origin_pred, origin_true = origins if origins is not None else (pred.mean(0), true.mean(0))
    return joint_errors(pred - origin_pred, true - origin_true)


def f_score(pred: Points, true: Float[Array, "m 3"], threshold: float) -> float:
    """Harmonic mean of precision and recall of two point sets (Knapitsch et al. 2017), as FreiHAND uses it; 0 to 1.

    Precision is the part of the predicted points that have a true point nearer than the threshold, recall the part of
    the true points that have a predicted one. Align the sets before.

    Raises:
        InputError: no points, NaN or infinity, or no positive threshold.
    """
    pred, true = _points(pred), _points(true)
    if not threshold > 0.0:
        raise InputError(f"a threshold of {threshold}", "a positive length")
    precision = float((cKDTree(true).query(pred)[0] < threshold).mean())
    recall = float((cKDTree(pred).query(true)[0] < threshold).mean())
    return 2.0 * precision * recall / (precision + recall) if precision + recall > 0.0 else 0.0


def surface_similarity(
    vertices: Float[Array, "v 3"], faces: Int[Array, "f 3"], points: Float[Array, "n 3"]
) -> Similarity:
    """The similarity that lays a surface on points of which none is known to correspond (iterative closest points).

    It starts from equal middles and sizes with the axes as they are, so that both sides must stand in about the same
    way; at most ``ICP_POINTS`` of the points are used, spread over all.

    Args:
        vertices, faces: the surface.
        points: what it is laid on, same unit and axes.

    Raises:
        InputError: no triangles, or points without extent.
    """
    some = points[np.linspace(0, len(points) - 1, min(len(points), ICP_POINTS)).astype(int)]
    spread = [float(np.linalg.norm(side - side.mean(0), axis=1).mean()) for side in (vertices, some)]
    if min(spread) <= 0.0:
        raise InputError("points that all coincide", "a surface and points with extent")
    scale = spread[1] / spread[0]
    found = Similarity(scale, np.eye(3), some.mean(0) - scale * vertices.mean(0))
    surface, before = SurfaceIndex(vertices, faces), np.inf
    for _ in range(_ICP_STEPS):
        there = (some - found.translation) @ found.rotation / found.scale  # the points in the surface's own frame
        distances, nearest, _ = surface.closest(there)
        error = found.scale * float(distances.mean())
        if error > before * (1.0 - 1e-4):
            break
        before, found = error, find_similarity(nearest, some)
    return found


def scan_distances(
    scan: Float[Array, "s 3"],
    scan_landmarks: Float[Array, "7 3"],
    vertices: Float[Array, "v 3"],
    faces: Int[Array, "f 3"],
    mesh_landmarks: Float[Array, "7 3"],
    radius: float = STIRLING_RADIUS,
) -> Float[Array, "k"]:
    """Distances of a face scan's points from a predicted surface (Feng et al. 2018, section III; Stirling/ESRC).

    The mesh is moved onto the scan by the similarity of the seven landmarks (:data:`STIRLING_LANDMARKS`); there is no
    refinement by nearest points (NoW has one, this protocol has not). Measured are the scan points within
    ``radius * (e + n) / 2`` of the point 0.3 of the way from the nose's bottom to its bridge, where e is the distance
    of the outer eye corners, n that from bridge to bottom, and the bridge lies between the inner eye corners.

    Returns:
        One distance a measured scan point, in the scan's unit (the mesh's may be another).

    Raises:
        InputError: arrays of wrong shapes, degenerate landmarks, landmarks in another unit than their mesh, or no scan
            points there.
    """
    scan, vertices = _points(scan), _points(vertices)
    if np.shape(scan_landmarks) != (7, 3) or np.shape(mesh_landmarks) != (7, 3):
        shapes = f"landmarks of shapes {np.shape(scan_landmarks)} and {np.shape(mesh_landmarks)}"
        raise InputError(shapes, f"[7, 3] each: {', '.join(STIRLING_LANDMARKS)}")
    centre, reach = _face_region(np.asarray(scan_landmarks, float), radius)
    measured = scan[np.linalg.norm(scan - centre, axis=-1) <= reach]
    if not len(measured):
        raise InputError("a scan without points around its landmarks", "landmarks in the scan's unit and axes")
    check_unit(mesh_landmarks, vertices)
    move = find_similarity(_points(mesh_landmarks), _points(scan_landmarks))
    return SurfaceIndex(move(vertices), faces).distances(measured)


def _face_region(landmarks: Float[Array, "7 3"], radius: float) -> tuple[Float[Array, "3"], float]:
    right_outer, right_inner, left_inner, left_outer, nose = landmarks[:5]
    bridge = (right_inner + left_inner) / 2.0
    lengths = np.linalg.norm(right_outer - left_outer) + np.linalg.norm(bridge - nose)
    return nose + 0.3 * (bridge - nose), float(radius * lengths / 2.0)


def acceleration_errors(
    pred: Float[Array, "t n 3"], true: Float[Array, "t n 3"], fps: float = 1.0
) -> Float[Array, " t-2"]:
    """Mean distance over the joints of predicted from true acceleration (second differences), a frame; the unit a s^2.

    With ``fps`` = 1 it is the length per frame^2 that HMMR, VIBE and their successors print as mm/s^2; with the
    video's rate it is really per s^2 (WHAM and newer work, m/s^2).

    Raises:
        InputError: other shapes, fewer than three frames, NaN or infinity.
    """
    pred, true = _video(pred, 3), _video(true, 3)
    if pred.shape != true.shape:
        raise InputError(f"videos of shapes {pred.shape} and {true.shape}", "the same frames and joints")
    return np.linalg.norm(np.diff(pred - true, 2, axis=0), axis=-1).mean(-1) * fps**2


def jitter(pred: Float[Array, "t n 3"], fps: float = 1.0) -> Float[Array, " t-3"]:
    """Mean length over the joints of the jerk (third differences), a frame; the unit a s^3.

    With metres and the video's rate: m/s^3. Papers since TransPose print a tenth of it, in 10 m/s^3.

    Raises:
        InputError: another shape, fewer than four frames, NaN or infinity.
    """
    return np.linalg.norm(np.diff(_video(pred, 4), 3, axis=0), axis=-1).mean(-1) * fps**3


def _points(points: Array) -> Array:
    points = np.asarray(points, float)
    if points.ndim != 2 or points.shape[1] != 3 or not len(points):
        raise InputError(f"points of shape {points.shape}", "shape [n, 3]")
    if not np.isfinite(points).all():
        raise InputError("points with NaN or infinity", "finite numbers")
    return points


def _pair(pred: Array, true: Array) -> tuple[Array, Array]:
    pred, true = _points(pred), _points(true)
    if pred.shape != true.shape:
        raise InputError(f"{len(pred)} predicted and {len(true)} true points", "corresponding points")
    return pred, true


def _video(points: Array, frames: int) -> Array:
    points = np.asarray(points, float)
    if points.ndim != 3 or points.shape[2] != 3 or len(points) < frames or not points.shape[1]:
        raise InputError(f"a video of shape {points.shape}", f"shape [t, n, 3] with at least {frames} frames")
    if not np.isfinite(points).all():
        raise InputError("joints with NaN or infinity", "finite numbers")
    return points
