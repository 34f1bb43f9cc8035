"""Small curation projects made by code: bodies in poses set by hand, rendered as "photos", with fits that are off."""

import hashlib
from pathlib import Path

import numpy as np
import PIL.Image

from openexpose.body.mesh import posed_mesh
from openexpose.body.model import load_body_model
from openexpose.curation.store import FitRecord, PhotoRow, Store
from openexpose.fitting.observed import Observed
from openexpose.fitting.result import people_of
from openexpose.fitting.state import State
from openexpose.geometry.camera import project_perspective
from openexpose.geometry.rotation import rotvec_to_matrix
from openexpose.people import zero_pose
from openexpose.render.overlay import render_overlay

FOCAL_PX = 700.0
UPRIGHT = np.diag([1.0, -1.0, -1.0])  # from y up to the camera's axes, facing it
ARMS = {16: (0.0, 0.1, -1.1), 17: (0.0, -0.1, 1.1), 18: (0.0, -0.6, 0.0), 19: (0.0, 0.9, 0.3)}


def make_project(
    folder: Path, count: int = 4, *, size: tuple[int, int] = (480, 640), people: int = 1, seed: int = 0
) -> Path:
    """A project with ``count`` photos of ``people`` bodies each; fit k is the k-th best."""
    rng = np.random.default_rng(seed)
    photos = folder / "photos"
    photos.mkdir(parents=True)
    with Store.create(folder) as store:
        for number in range(count):
            add_photo(store, photos / f"photo{number}.png", size, people, number, rng)
    return folder


def add_photo(
    store: Store, path: Path, size: tuple[int, int], people: int, number: int, rng: np.random.Generator
) -> None:
    """Render a photo, and store fits that are a little off."""
    model, (width, height) = load_body_model(), size
    principal = np.array([width, height]) / 2
    picture = backdrop(width, height, rng)
    states, truth = [], []
    for person in range(people):
        pose = zero_pose(1).astype(float)
        for joint, turn in ARMS.items():
            pose[0, joint] = rotvec_to_matrix(np.array(turn) * rng.uniform(0.5, 1.0))
        pose[0, 25:55] = rotvec_to_matrix(rng.normal(0, 0.15, (30, 3)))
        pose[0, 0] = UPRIGHT @ rotvec_to_matrix(np.array([0.0, rng.uniform(-0.6, 0.6), 0.0]))
        across = (person - (people - 1) / 2) * 0.9
        place = np.array([[across, 0.15, 2.5 + 0.3 * people]])
        states.append(State(pose, rng.normal(0, 0.5, (1, 10)), rng.normal(0, 0.5, (1, 20)), place))
        state = states[-1]
        posed = posed_mesh(model, state.pose, state.betas, state.expression)
        truth.append((posed.vertices + place.astype(np.float32), posed.joints[0] + place))
    picture = render_overlay(picture, np.concatenate([v for v, _ in truth]), model.faces, (FOCAL_PX, *principal))
    PIL.Image.fromarray(picture).save(path)
    fits = []
    for state, (_, joints) in zip(states, truth, strict=True):
        seen = np.c_[project_perspective(joints, FOCAL_PX, principal), rng.uniform(0.3, 1.0, 144)]
        seen[:, :2] += rng.normal(0, 1.0, (144, 2))
        seen[[3, 6, 9]] = 0.0  # nobody sees spines
        observed = Observed(f"{path.name}/0", seen, size, "openexpose")
        off = State(state.pose, state.betas, state.expression, state.transl + [[0.004 * number, 0.0, 0.0]])
        record = FitRecord(people_of(model, off, [observed], FOCAL_PX), seen, "openexpose", None, off, None)
        fits.append((record, scores(number), 0.3 + 0.1 * number))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    store.add_photo(PhotoRow(0, path.resolve(), digest, width, height, "CC0-1.0", "done"), fits)


def backdrop(width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    """A wall and a floor in soft colours, so that no two photos are alike."""
    wall, floor = rng.integers(90, 200, (2, 3))
    rows = np.linspace(0.75, 1.1, height)[:, None, None]
    colours = np.where(np.arange(height)[:, None, None] < 0.82 * height, wall, floor)
    return np.clip(rows * colours + rng.normal(0, 3, (height, width, 1)), 0, 255).astype(np.uint8)


def scores(number: int) -> dict[str, float]:
    """Scores as the project's own would be: worse with every photo."""
    return {
        "body_seen": 0.6,
        "body_reprojection": 0.008 * (number + 1),
        "left_hand_reprojection": 0.004,
        "face_reprojection": 0.005,
        "starts_apart_mm": 30.0 * (number + 1),
        "penetration_mm": 0.0,
        "prior": 40.0,
    }
