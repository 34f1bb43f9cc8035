"""Simulated clips: people who walk, seen by a simulated detector and a simulated predictor.

The predictor has the failure that matters: it shows whoever is seen most in the box, so that somebody looked for behind
another comes out as the other.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from openexpose.body.keypoints import INDEX, indices
from openexpose.body.mesh import keypoints
from openexpose.body.model import load_body_model
from openexpose.evaluation.tracking import FrameBoxes
from openexpose.geometry.boxes import intersection_over_union
from openexpose.geometry.camera import project_perspective
from openexpose.geometry.rotation import rotvec_to_matrix
from openexpose.people import People, zero_pose
from openexpose.predict.detector import Detections
from openexpose.predict.tracking import Candidates, Tracker
from openexpose.predict.tracks import body_box

SIZE = (640, 360)
FOCAL_PX = 500.0
MODEL = load_body_model(num_betas=10, num_expression=20)
Path = Callable[[float], tuple[float, float]]


@dataclass(frozen=True)
class Walker:
    """Somebody who is at ``path(time)`` (x to the right, depth; metres) in a shirt and trousers of two colours."""

    path: Path
    shirt: tuple[int, int, int] = (200, 40, 40)
    trousers: tuple[int, int, int] = (40, 40, 160)


def line(start: tuple[float, float], end: tuple[float, float], seconds: float) -> Path:
    """From one place to another at constant speed, and on."""
    (x, z), (to_x, to_z) = start, end
    return lambda time: (x + (to_x - x) * time / seconds, z + (to_z - z) * time / seconds)


@dataclass(frozen=True)
class Scene:
    """One moment: keypoints in the camera frame and in the picture, boxes, shares seen, the picture."""

    points_m: np.ndarray
    points_px: np.ndarray
    boxes: np.ndarray
    seen: np.ndarray
    pixels: np.ndarray


def scene(walkers: list[Walker], time_s: float) -> Scene:
    """What there is to see of everybody."""
    pose, place = zero_pose(len(walkers)), np.zeros((len(walkers), 1, 3))
    for row, walker in enumerate(walkers):
        (x, z), (next_x, next_z) = walker.path(time_s), walker.path(time_s + 0.1)
        place[row, 0] = x, 0.3, z
        yaw = np.arctan2(next_x - x, -(next_z - z)) if (next_x, next_z) != (x, z) else 0.0
        swing = 0.5 * np.sin(2 * np.pi * time_s + row)
        turns = {0: [0.0, yaw, 0.0], 1: [swing, 0, 0], 2: [-swing, 0, 0], 16: [0, 0, -1.2], 17: [0, 0, 1.2]}
        for joint, turn in turns.items():
            pose[row, joint] = rotvec_to_matrix(np.array(turn, float))
        pose[row, 0] = np.diag([1.0, -1.0, -1.0]) @ pose[row, 0]
    points = keypoints(MODEL, pose, np.zeros((len(walkers), 10)), np.zeros((len(walkers), 20)))
    points = points - points[:, :1] + place
    points_px = project_perspective(points, FOCAL_PX, np.array(SIZE) / 2)
    order = np.argsort(-place[:, 0, 2], kind="stable")
    picture, mask = Image.new("RGB", SIZE, (120, 125, 110)), Image.new("L", SIZE, 0)
    whole = np.zeros(len(walkers))
    for row in order:
        box = body_box(points_px[row : row + 1])[0]
        alone = Image.new("L", tuple(np.ceil(box[2:] - box[:2] + 40).astype(int).tolist()), 0)
        _paint(alone, points_px[row] - box[:2] + 20, (1, 1))
        whole[row] = np.count_nonzero(np.asarray(alone))
        _paint(picture, points_px[row], (walkers[row].shirt, walkers[row].trousers))
        _paint(mask, points_px[row], (int(row) + 1, int(row) + 1))
    shown = np.bincount(np.asarray(mask).ravel(), minlength=len(walkers) + 1)[1:]
    return Scene(points, points_px, _inside(body_box(points_px)), shown / np.maximum(whole, 1), np.asarray(picture))


def _paint(picture: Image.Image, points: np.ndarray, colours: tuple) -> None:
    pen = ImageDraw.Draw(picture)
    width = max(2, int(0.09 * np.ptp(points[:, 1])))
    for side in ("left", "right"):
        leg = points[indices(f"{side}_hip", f"{side}_knee", f"{side}_ankle")]
        pen.line([tuple(p) for p in leg], fill=colours[1], width=width)
        arm = points[indices(f"{side}_shoulder", f"{side}_elbow", f"{side}_wrist")]
        pen.line([tuple(p) for p in arm], fill=colours[0], width=max(2, width // 2))
    spine = points[indices("neck", "pelvis")]
    pen.line([tuple(p) for p in spine], fill=colours[0], width=2 * width)
    x, y = points[INDEX["head"]]
    pen.ellipse([x - width * 0.7, y - width, x + width * 0.7, y + width * 0.6], fill=colours[0])


def _inside(boxes: np.ndarray) -> np.ndarray:
    return np.clip(boxes, 0.0, np.array([*SIZE, *SIZE], float))


def detect(rng: np.random.Generator, now: Scene, *, least: float = 0.4, false: float = 0.1) -> Detections:
    """Boxes of who is seen well enough, a little off, now and then of nobody."""
    found = [row for row in range(len(now.seen)) if now.seen[row] > least and rng.random() < 0.97]
    height = np.ptp(now.boxes[found][:, 1::2], axis=1)[:, None] if found else np.zeros((0, 1))
    boxes = now.boxes[found] + 0.02 * height * rng.normal(size=(len(found), 4))
    score = 0.2 + 0.7 * now.seen[found]
    if rng.random() < false:
        corner = rng.uniform(0, [500, 200])
        boxes, score = np.concatenate([boxes, [[*corner, *(corner + [50, 120])]]]), np.append(score, 0.35)
    return Detections(_inside(boxes).astype(np.float32), score.astype(np.float32))


def predict(rng: np.random.Generator, now: Scene, boxes: np.ndarray) -> tuple[People, np.ndarray]:
    """Whoever is seen most in each box, a little off; or a body of chance, hardly there."""
    count = len(boxes)
    overlap = intersection_over_union(_inside(boxes), now.boxes) * now.seen
    who = overlap.argmax(1) if len(now.boxes) else np.zeros(count, int)
    there = overlap.max(1, initial=0.0) > 0.15
    size = np.ptp(now.points_px[who][..., 1], axis=1)[:, None, None] if count else np.zeros((0, 1, 1))
    points = now.points_px[who] + 0.01 * size * (rng.normal(size=(count, 1, 2)) + rng.normal(size=(count, 144, 2)))
    for row in np.flatnonzero(~there):
        low, high = boxes[row, :2], boxes[row, 2:]
        points[row] = rng.uniform(low, high, (144, 2))
    depth = now.points_m[who][:, 0, 2] * np.exp(0.03 * rng.normal(size=count))
    people = people_at(depth, np.where(there, 0.95, 0.2))
    return people, points


def people_at(depth_m: np.ndarray | list[float], presence: np.ndarray | list[float]) -> People:
    """Records of people at some depths; the rest means nothing."""
    depth_m, presence = np.asarray(depth_m, float), np.asarray(presence, float)
    count = len(depth_m)
    return People(
        pose=zero_pose(count),
        betas=np.zeros((count, 10)),
        expression=np.zeros((count, 20)),
        transl=np.column_stack([np.zeros((count, 2)), depth_m]),
        score=np.ones(count),
        bbox_xyxy=np.zeros((count, 4)),
        part_confidence=np.tile(np.asarray(presence, float)[:, None], 4),
        joint_confidence=np.ones((count, 144)),
        crop_centre_px=np.zeros((count, 2)),
        crop_side_px=np.ones(count),
        crop_camera=np.ones((count, 3)),
        focal_px=FOCAL_PX,
        principal_px=np.array(SIZE) / 2,
        image_size=SIZE,
    )


class Film:
    """Follows walkers frame by frame and keeps truth and answers."""

    def __init__(self, walkers: list[Walker], seed: int = 0, tracker: Tracker | None = None) -> None:
        self.walkers, self.rng = walkers, np.random.default_rng(seed)
        self.tracker = tracker or Tracker(SIZE)
        self.truth: list[FrameBoxes] = []
        self.answers: list[FrameBoxes] = []
        self.candidates: Candidates | None = None
        self.frame = 0

    def shoot(self, times_s: np.ndarray, *, every: int = 3, least: float = 0.4, false: float = 0.1) -> "Film":
        """Follow everybody at these times, with a detection in one of ``every`` frames."""
        for time_s in times_s:
            now = scene(self.walkers, float(time_s))
            found = None
            if self.frame % every == 0 or not len(self.tracker.following):
                found = detect(self.rng, now, least=least, false=false)
            self.candidates = self.tracker.look_at(self.frame, float(time_s), found)
            people, points = predict(self.rng, now, self.candidates.boxes_xyxy_px)
            ids = self.tracker.accept(self.frame, float(time_s), self.candidates, people, points, now.pixels)
            self.truth.append(FrameBoxes(np.arange(len(now.seen)) + 1, now.boxes, now.seen < 0.4))
            self.answers.append(FrameBoxes(ids[ids > 0], _inside(body_box(points[ids > 0]))))
            self.frame += 1
        return self

    @property
    def final(self) -> list[FrameBoxes]:
        """The answers under the numbers that they have at the end; of two of one person the last."""
        frames = []
        for frame in self.answers:
            ids = self.tracker.final(frame.id)
            rows = [row for row, number in enumerate(ids) if number > 0 and number not in ids[row + 1 :]]
            frames.append(FrameBoxes(ids[rows], frame.boxes_xyxy_px[rows]))
        return frames
