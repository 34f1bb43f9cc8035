"""Photos without rendering: noise for pixels, and labels that agree with each other and with the free body."""

from collections.abc import Iterator
from functools import cache

import numpy as np

from openexpose.body.keypoints import IBUG68, INDEX, LEFT_HAND21, RIGHT_HAND21
from openexpose.body.mesh import joint_transforms, keypoints
from openexpose.body.model import BodyModel, load_body_model
from openexpose.geometry.boxes import box_around
from openexpose.geometry.camera import project_perspective
from openexpose.geometry.rotation import rotvec_to_matrix
from openexpose.people import zero_pose
from openexpose.synth.photo import HIDDEN, OCCLUDED, VISIBLE, Focus, Photo, Subject

HEAD = INDEX["head"]
SHOWN = {
    "body": np.arange(144),
    "people": np.arange(144),
    "left_hand": LEFT_HAND21,
    "right_hand": RIGHT_HAND21,
    "face": IBUG68,
}


@cache
def free_body() -> BodyModel:
    return load_body_model()


def focus_of(kind: str, number: int) -> Focus:
    """Every other hand is a left one."""
    return {"faces": "face", "hands": ("right_hand", "left_hand")[number % 2]}.get(kind, kind)  # type: ignore[return-value]


def make_photo(
    kind: str, number: int, *, seed: int = 0, size: tuple[int, int] = (32, 32), people: int = 1, distance_m: float = 4.0
) -> Photo:
    """A picture of ``size`` (width, height); what its kind shows of person 0 is in the middle, others stand beside."""
    rng, focus = np.random.default_rng([seed, number, 99]), focus_of(kind, number)
    width, height = size
    bodies = [_body(rng) for _ in range(people)]
    points = _points(*bodies[0])[SHOWN[focus]]
    centre = (points.min(0) + points.max(0)) / 2
    focal = 0.42 * min(size) * distance_m / float(np.abs(points - centre)[:, :2].max()) / (people if people > 1 else 1)
    labelled = []
    for k, body in enumerate(bodies):
        transl = np.array([1.2 * (k + 1) // 2 * (-1) ** k, 0.0, distance_m + 0.3 * k]) - centre
        labelled.append(_subject(rng, body, transl, focal, size))
    image = np.repeat(rng.integers(0, 256, (1, 1, 3)), width, 1) + rng.integers(-40, 40, (height, width, 1))
    mask, depth = np.zeros((height, width), np.uint8), np.full((height, width), np.inf, np.float32)
    for k, person in enumerate(labelled):
        x1, y1, x2, y2 = person.box_xyxy_px.astype(int)
        mask[y1:y2, x1:x2], depth[y1:y2, x1:x2] = 16 * k + 1 + rng.integers(14), person.keypoints_m[0, 2]
    return Photo(image.clip(0, 255).astype(np.uint8), mask, depth, focal, focus, tuple(labelled), "nowhere")


def make_photos(kind: str, count: int, first: int = 0, **options: object) -> Iterator[Photo]:
    for number in range(first, first + count):
        yield make_photo(kind, number, **options)  # type: ignore[arg-type]


def _body(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    model = free_body()
    pose = rotvec_to_matrix(0.2 * rng.normal(size=(55, 3)))
    pose[0] = np.diag([1.0, -1.0, -1.0]) @ pose[0]
    return pose, rng.normal(size=model.num_betas), 0.5 * rng.normal(size=model.num_expression)


def _points(pose: np.ndarray, betas: np.ndarray, expression: np.ndarray) -> np.ndarray:
    return keypoints(free_body(), pose[None], betas[None], expression[None])[0].astype(float)


def _subject(rng: np.random.Generator, body: tuple, transl: np.ndarray, focal: float, size: tuple[int, int]) -> Subject:
    points = _points(*body) + transl
    spots = project_perspective(points, focal, np.array(size) / 2)
    inside = ((spots >= 0) & (spots < size)).all(1)
    visibility = np.where(inside, rng.choice([HIDDEN, OCCLUDED, VISIBLE], 144, p=[0.1, 0.1, 0.8]), HIDDEN)
    low, high = np.clip(box_around(spots).reshape(2, 2), 0, size)
    pose, betas, expression = body
    return Subject(
        pose=pose,
        betas=betas,
        expression=expression,
        transl=transl,
        keypoints_px=spots,
        keypoints_m=points,
        visibility=visibility.astype(np.uint8),
        contour_m=contour_without_neck(*body) + points[HEAD],
        box_xyxy_px=np.concatenate([low, np.maximum(high, low + 1)]),
    )


def contour_without_neck(pose: np.ndarray, betas: np.ndarray, expression: np.ndarray) -> np.ndarray:
    """The face's contour from the head joint, of a body whose neck is straight and whose head is as it is."""
    alone = zero_pose(1)[0].astype(float)
    alone[0] = joint_transforms(free_body(), pose[None], betas[None], expression[None])[0][0, HEAD]
    alone[22] = pose[22]
    points = _points(alone, betas, expression)
    return points[IBUG68[:17]] - points[HEAD]
