"""Fits made by code, without networks: bodies in random poses that are seen where they are."""

from functools import cache
from pathlib import Path

import numpy as np
import PIL.Image

from openexpose.body.mesh import keypoints
from openexpose.body.model import BodyModel, load_body_model
from openexpose.curation.store import FitRecord, PhotoRow, Store
from openexpose.fitting.observed import OWN_KEYPOINTS, Observed
from openexpose.fitting.result import people_of
from openexpose.fitting.state import State
from openexpose.geometry.camera import project_perspective
from openexpose.geometry.rotation import rotvec_to_matrix
from openexpose.people import zero_pose

FOCAL_PX = 300.0
SIZE = (120, 200)


@cache
def model() -> BodyModel:
    """The free body, as networks answer for it."""
    return load_body_model(num_betas=10, num_expression=20)


def state(seed: int, spread_rad: float = 0.2) -> State:
    """Somebody upright who faces the camera, three metres away."""
    rng = np.random.default_rng(seed)
    pose = zero_pose(1).astype(float)
    pose[0, 1:22] = rotvec_to_matrix(rng.normal(0, spread_rad, (21, 3)))
    pose[0, 25:] = rotvec_to_matrix(rng.normal(0, spread_rad, (30, 3)))
    pose[0, 0] = np.diag([1.0, -1.0, -1.0])
    return State(pose, rng.normal(0, 0.5, (1, 10)), rng.normal(0, 0.5, (1, 20)), np.array([[0.0, -0.2, 3.5]]))


def record(seed: int = 0, *, hidden: tuple[str, ...] = (), off: State | None = None) -> FitRecord:
    """A fit that meets what was seen; ``hidden``: parts of which nothing was; ``off``: another answer and start."""
    ours = state(seed)
    points = keypoints(model(), ours.pose, ours.betas, ours.expression)[0] + ours.transl[0]
    seen = np.c_[project_perspective(points, FOCAL_PX, np.array(SIZE) / 2), np.full(len(points), 0.9)]
    for part in hidden:
        seen[OWN_KEYPOINTS[part]] = 0.0
    observed = Observed(f"photo/{seed}", seen, SIZE, "openexpose")
    people = people_of(model(), ours, [observed], FOCAL_PX)
    return FitRecord(people, observed.keypoints_px, observed.source, off or ours, ours, off or ours)


def photo(path: Path, colour: int = 0) -> Path:
    """A picture of noise; each colour another one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(colour).integers(0, 255, (SIZE[1] // 20, SIZE[0] // 20, 3), np.uint8)
    PIL.Image.fromarray(pixels).resize(SIZE).save(path)
    return path


def project(folder: Path, badnesses: list[list[float]]) -> Store:
    """A store with one photo a list and a fit for each of its numbers; photos do not exist."""
    store = Store.create(folder)
    for k, some in enumerate(badnesses):
        row = PhotoRow(0, Path(f"/photos/{k}.jpg"), f"digest {k}", *SIZE, "CC0", "done")
        store.add_photo(row, [(record(), {"body_seen": 0.5}, badness) for badness in some])
    return store
