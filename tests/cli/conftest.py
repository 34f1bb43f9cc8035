"""A predictor without networks, so that the command line can be tested quickly."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest

from openexpose.people import People, zero_pose

TETRAHEDRON = np.array([[0, 0, 0], [0.3, 0, 0], [0, 0.3, 0], [0, 0, 0.3]])


@dataclass
class FakePredictor:
    """Finds one person in every picture that is not black; remembers its calls."""

    calls: list[SimpleNamespace] = field(default_factory=list)
    loaded_with: dict = field(default_factory=dict)

    @property
    def body_model(self) -> SimpleNamespace:
        weights = np.zeros((4, 55))
        weights[:, [15, 25, 40]] = 1.0  # all of it belongs to every part
        faces = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
        return SimpleNamespace(v_template=TETRAHEDRON, faces=faces, weights=weights)

    def __call__(self, pixels, *, boxes=None, focal_px=None, attention=True, refinement=True, part="whole") -> People:
        call = dict(
            pixels=pixels, boxes=boxes, focal_px=focal_px, attention=attention, refinement=refinement, part=part
        )
        self.calls.append(SimpleNamespace(**call))
        height, width = pixels.shape[:2]
        if boxes is None:
            boxes = np.array([[0.0, 0.0, width, height]])[: int(pixels.max() > 0)]
        count = len(boxes)
        return People(
            pose=zero_pose(count), betas=np.zeros((count, 10)), expression=np.zeros((count, 20)),
            transl=np.tile([0.0, 0.0, 3.0], (count, 1)), score=np.ones(count), bbox_xyxy=boxes,
            part_confidence=np.ones((count, 4)), joint_confidence=np.ones((count, 144)),
            crop_centre_px=np.zeros((count, 2)), crop_side_px=np.ones(count), crop_camera=np.ones((count, 3)),
            focal_px=focal_px or float(np.hypot(width, height)), principal_px=np.array([width / 2, height / 2]),
            image_size=(width, height), part=part,
        )  # fmt: skip

    def keypoints(self, people: People) -> np.ndarray:
        return np.zeros((len(people), 144, 3)) + people.transl[:, None]

    def mesh(self, people: People) -> np.ndarray:
        return TETRAHEDRON + people.transl[:, None]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakePredictor:
    """The predictor that ``openexpose predict`` gets."""
    from openexpose.cli import prediction

    predictor = FakePredictor()

    def load(bundle, **options):
        predictor.loaded_with = {"bundle": bundle, **options}
        return predictor

    monkeypatch.setattr(prediction.Predictor, "load", load)
    return predictor
