"""For tests of clips: people whose rows tell who and when by their numbers, and a stand-in for the networks."""

from dataclasses import replace

import numpy as np

from openexpose.body.model import load_body_model
from openexpose.people import People, zero_pose
from openexpose.predict.detector import Detections
from openexpose.predict.follow import Aims

SIZE = (320, 240)
BOX = np.array([[60.0, 40.0, 140.0, 220.0]])


def some_people(count: int, value: float = 0.0) -> People:
    """``count`` people at rest; ``value`` is in every number that may be anything."""
    return People(
        pose=zero_pose(count),
        betas=np.full((count, 10), value, np.float32),
        expression=np.full((count, 20), value, np.float32),
        transl=np.tile([value, 0.0, 3.0], (count, 1)).astype(np.float32),
        score=np.full(count, 0.5, np.float32),
        bbox_xyxy=np.tile(np.float32([10, 20, 110, 220]), (count, 1)),
        part_confidence=np.ones((count, 4), np.float32),
        joint_confidence=np.ones((count, 144), np.float32),
        crop_centre_px=np.full((count, 2), value, np.float32),
        crop_side_px=np.ones(count, np.float32),
        crop_camera=np.ones((count, 3), np.float32),
        focal_px=400.0,
        principal_px=np.array([160.0, 120.0]),
        image_size=SIZE,
    )


class Networks:
    """The frame's first pixel tells whether somebody is there and how far they have moved; their body fills the box."""

    def __init__(self) -> None:
        self.detected: list[int] = []
        self.known: list[list[bool]] = []

    def detector(self, pixels: np.ndarray) -> Detections:
        self.detected.append(int(pixels[0, 0, 0]))
        shift = float(pixels[0, 0, 1])
        boxes = BOX + [shift, 0, shift, 0] if pixels[0, 0, 2] else np.zeros((0, 4))
        return Detections(boxes.astype(np.float32), np.full(len(boxes), 0.9))

    def follow(self, pixels, boxes, aims, *, focal_px, attention, refinement) -> tuple[People, Aims]:
        self.known.append(np.isfinite(aims.crops[:, 0, 0]).tolist())
        shift = float(pixels[0, 0, 1])
        where = np.repeat((BOX + [shift, 0, shift, 0]).astype(np.float32), len(boxes), 0)
        people = replace(some_people(len(boxes)), bbox_xyxy=where)
        people.part_confidence[:] = float(pixels[0, 0, 2])
        crops = np.tile(np.float64([10, 20, 30, 0]), (len(boxes), 4, 1)) + pixels[0, 0, 0]
        return people, Aims(crops, crops[..., :2].copy(), people.part_confidence[:, 0].astype(float))

    def keypoints(self, people: People) -> np.ndarray:
        """Points all over the box, three metres away."""
        rng = np.random.default_rng(0)
        share = np.concatenate([[[0.0, 0.0], [1.0, 1.0]], rng.uniform(size=(142, 2))])
        low, high = people.bbox_xyxy[:, None, :2], people.bbox_xyxy[:, None, 2:]
        plane = (low + share * (high - low) - people.principal_px) / people.focal_px * 3.0
        return np.concatenate([plane, np.full((*plane.shape[:2], 1), 3.0)], -1)


class StandIn(Networks):
    """... with a body: all that the command line asks of a predictor."""

    device = "cpu"

    def __init__(self) -> None:
        super().__init__()
        self.body_model = load_body_model(num_betas=10, num_expression=20)
        self.config = self

    def json(self) -> str:
        return "{}"

    def __call__(self, pixels, *, boxes, focal_px):
        return some_people(0)

    def mesh(self, people):
        return np.zeros((len(people), len(self.body_model.v_template), 3)) + people.transl[:, None]
