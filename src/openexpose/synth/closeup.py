"""Close-ups: what a network sees of a body, a hand or a face, drawn by a virtual camera that looks straight at it."""

import numpy as np
from jaxtyping import Float

from openexpose.body.keypoints import IBUG68, LEFT_HAND21, PARTS, RIGHT_HAND21
from openexpose.synth.camera import Camera, around, look_from, sample_distance, sample_pitch, sample_roll, sample_yaw
from openexpose.synth.company import occluders, sample_companions
from openexpose.synth.figure import HEAD, Figure, dress, sample_figure
from openexpose.synth.labels import visibility
from openexpose.synth.person import Stage
from openexpose.synth.photo import VISIBLE, Focus, Photo
from openexpose.synth.photograph import Scenery, photograph
from openexpose.synth.raster import depth_map
from openexpose.synth.thing import Drawing
from openexpose.synth.view import View, attention_view, body_view, box_view, face_view, hand_view

Array = np.ndarray

BODY_PX = HAND_PX = FACE_PX = 256
_LOOK_PX, _TRIES = 64, 4
_IN_FRONT_M = 0.08
"""No keypoint is nearer to the camera, or behind it."""
_HANDS = {"left": LEFT_HAND21, "right": RIGHT_HAND21}
_LEAST_SEEN = {"body": (np.arange(55), 0.25), "face": (IBUG68, 0.3), "left_hand": (LEFT_HAND21, 0.5)}
_LEAST_SEEN["right_hand"] = RIGHT_HAND21, 0.5
_TURN = np.cos(np.radians(100))


def sample_body(rng: np.random.Generator, stage: Stage) -> Photo:
    """A body, three in four as the pose trunk frames it, one in four as the upright box around it."""
    while True:
        figure = sample_figure(rng, stage)
        target = figure.joints[:3].mean(0)
        for _ in range(_TRIES):
            place = around(target, sample_distance(rng, 0.9, 10), sample_yaw(rng), sample_pitch(rng))
            camera = _aside(rng, place, target)
            vertices = camera.to_camera(figure.vertices)
            if vertices[:, 2].min() > 0.25:
                break
        else:
            continue
        joints = camera.to_camera(figure.joints)
        border = _body_border(joints, rng) if rng.random() < 0.25 else None
        view = body_view(joints, vertices, rng)
        if rng.random() < 0.25:
            seen = vertices[::5] if border is None else vertices[::5][vertices[::5] @ border < 0]
            if len(seen) < 50:
                continue
            view = box_view(seen, 1.25, rng.normal(0, 0.03, 2), np.exp(rng.normal(0, 0.1)))
        if not _in_front(joints, view):
            continue
        photo = _taken(rng, stage, figure, (camera, view, border), "body")
        if photo is not None:
            return photo


def sample_hand(rng: np.random.Generator, stage: Stage) -> Photo:
    """A hand of either side, half of them as the attention cuts them out, half as the hand trunk frames them."""
    while True:
        figure = sample_figure(rng, stage)
        side = ("left", "right")[rng.integers(2)]
        ids = _HANDS[side]
        target = figure.joints[ids[[0, 9]]].mean(0)
        for _ in range(_TRIES):
            anywhere = rng.random() < 0.4
            pitch = float(np.arcsin(rng.uniform(-0.6, 1))) if anywhere else sample_pitch(rng)
            yaw = rng.uniform(-np.pi, np.pi) if anywhere else sample_yaw(rng)
            near = rng.random() < 0.5
            distance = sample_distance(rng, 0.3, 1.0) if near else sample_distance(rng, 1.0, 8)
            camera = _aside(rng, around(target, distance, yaw, pitch), target)
            joints = camera.to_camera(figure.joints)
            attention = rng.random() < 0.5
            view = attention_view(joints, f"{side}_hand", rng) if attention else hand_view(joints, side, rng)
            if _in_front(joints, view) and _in_sight(stage, figure, (camera, view), ids, 0.5):
                break
        else:
            continue
        border = _border_through(joints[ids], rng) if rng.random() < 0.08 else None
        focus: Focus = "left_hand" if side == "left" else "right_hand"
        photo = _taken(rng, stage, figure, (camera, view, border), focus)
        if photo is not None:
            return photo


def sample_face(rng: np.random.Generator, stage: Stage) -> Photo:
    """A face turned less than 100 degrees away, strong profiles often; half as the attention cuts them out."""
    while True:
        figure = sample_figure(rng, stage, arms="face" if rng.random() < 0.2 else None)
        target = figure.joints[PARTS["face"]].mean(0)
        for _ in range(_TRIES):
            camera = _aside(rng, _before_face(rng, figure, target), target)
            towards = _unit(camera.position_m - target) @ figure.rotations[HEAD][:, 2]
            joints = camera.to_camera(figure.joints)
            if towards < _TURN or camera.position_m[1] < 0.03:
                continue
            view = attention_view(joints, "head", rng) if rng.random() < 0.5 else face_view(joints, rng)
            if _in_front(joints, view) and _in_sight(stage, figure, (camera, view), IBUG68, 0.3):
                break
        else:
            continue
        border = _border_through(joints[PARTS["head"]], rng) if rng.random() < 0.06 else None
        photo = _taken(rng, stage, figure, (camera, view, border), "face")
        if photo is not None:
            return photo


def _before_face(rng: np.random.Generator, figure: Figure, target: Array) -> Float[Array, "3"]:
    """A camera's place in front or at the side of a head."""
    wide = rng.random() < 0.45
    yaw = rng.uniform(-1, 1) * np.radians(105) if wide else rng.normal(0, 0.4)
    pitch = rng.normal(0.05, 0.3)
    direction = np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
    return target + figure.rotations[HEAD] @ direction * sample_distance(rng, 0.3, 6)


def _unit(vector: Array) -> Float[Array, "3"]:
    return vector / max(float(np.linalg.norm(vector)), 1e-9)


def _aside(rng: np.random.Generator, place: Array, target: Array) -> Camera:
    """A photo's camera that shows the target anywhere near its middle. Its focal length does not matter."""
    camera = Camera(look_from(place, target, sample_roll(rng)), place, 1.0, 2, 2)
    tangents = np.tan(np.clip(rng.normal(0, [0.22, 0.15]), -0.6, 0.6))
    return camera.aimed(target, 1 + tangents)


def _taken(
    rng: np.random.Generator, stage: Stage, figure: Figure, how: tuple[Camera, View, Array | None], focus: Focus
) -> Photo | None:
    """Dress the person, add company and things in the way, draw; None if too little is seen of what was framed."""
    camera, view, border = how
    size = {"body": BODY_PX, "face": FACE_PX}.get(focus, HAND_PX)
    close = camera.through(view.T_view_photo, view.half_side, size)
    actor = dress(rng, stage, figure, near=focus == "face", mip=_mip(figure, close))
    lifted = actor.figure.joints[0] - figure.joints[0]  # shoes raise people
    close = Camera(close.R_camera_world, close.position_m + lifted, close.focal_px, size, size)
    company = sample_companions(rng, stage, actor, close, 0.3 if focus == "body" else 0.2)
    things = occluders(rng, stage, actor.figure, close, 0.2 if focus == "body" else 0.12)
    turned_border = None if border is None else view.T_view_photo @ border
    photo = photograph(rng, stage, close, Scenery((actor, *company), things, turned_border), focus)
    ids, share = _LEAST_SEEN[focus]
    if not photo.people or (photo.people[0].visibility[ids] == VISIBLE).mean() < share:
        return None
    return photo


def _mip(figure: Figure, camera: Camera) -> int:
    """The skin texture that has about as many texels as the picture has pixels."""
    pixels_per_m = camera.focal_px / max(float(camera.to_camera(figure.joints[:1])[0, 2]), 0.1)
    return 2 if pixels_per_m < 160 else 1 if pixels_per_m < 500 else 0


def _in_front(joints: Float[Array, "144 3"], view: View) -> bool:
    """Whether all keypoints are before the view's camera."""
    return bool(view.to_view(joints)[:, 2].min() > _IN_FRONT_M)


def _in_sight(stage: Stage, figure: Figure, how: tuple[Camera, View], ids: Array, share: float) -> bool:
    """Whether a quick look shows enough of some keypoints past the person's own body."""
    camera, view = how
    close = camera.through(view.T_view_photo, view.half_side, _LOOK_PX)
    vertices, points = close.to_camera(figure.vertices), close.to_camera(figure.joints)
    depth = depth_map(vertices, stage.template.faces, 1 / view.half_side, _LOOK_PX)
    mask = np.where(np.isfinite(depth), np.uint8(1), np.uint8(0))
    drawn = Drawing(np.zeros((_LOOK_PX, _LOOK_PX, 3), np.uint8), depth, mask)
    seen = visibility(points, close.to_pixels(points), drawn, (0, close.focal_px, np.zeros(mask.shape, bool)))
    return bool((seen[ids] == VISIBLE).mean() >= share)


def _body_border(joints: Float[Array, "144 3"], rng: np.random.Generator) -> Float[Array, "3"]:
    """A border of the photo that cuts off the legs (mostly), a side or the head's top; border . ray > 0 outside."""
    plane = joints[:, :2] / joints[:, 2:]
    low, high = plane[:55].min(0), plane[:55].max(0)
    kind = rng.choice(["bottom", "left", "right", "top"], p=[0.62, 0.14, 0.14, 0.1])
    if kind == "bottom":
        return np.array([0, 1, -(low[1] + rng.uniform(0.33, 0.92) * (high[1] - low[1]))])
    if kind == "top":
        return np.array([0, -1, low[1] + rng.uniform(-0.02, 0.15) * (high[1] - low[1])])
    x = low[0] + rng.uniform(0.05, 0.38) * (high[0] - low[0])
    return np.array([-1, 0, x]) if kind == "left" else np.array([1, 0, x - low[0] - high[0]])


def _border_through(points: Float[Array, "n 3"], rng: np.random.Generator) -> Float[Array, "3"]:
    """An upright or level photo border that cuts up to a third off the points."""
    plane = points[:, :2] / points[:, 2:]
    axis, sign = rng.integers(2), rng.choice([-1.0, 1.0])
    values = sign * plane[:, axis]
    cut = values.max() - rng.uniform(-0.1, 0.35) * np.ptp(values)
    border = np.array([0.0, 0.0, -cut])
    border[axis] = sign
    return border
