"""Fits with a calibrated camera: principal point off the middle, oblong pixels, distortion."""

import json
from pathlib import Path

import numpy as np
import pytest

from openexpose.body.keypoints import KEYPOINT_NAMES, PARTS
from openexpose.body.mesh import keypoints
from openexpose.body.model import load_body_model
from openexpose.fitting.camera_file import KnownCamera
from openexpose.fitting.fit import aim_at, fit
from openexpose.fitting.observed import Observed
from openexpose.fitting.penalties import Priors
from openexpose.fitting.result import people_of
from openexpose.fitting.state import State
from openexpose.formats.native import read_npz, write_json, write_npz
from openexpose.geometry.procrustes import align_similarity
from openexpose.geometry.rotation import rotvec_to_matrix

MODEL, PRIORS = load_body_model(num_betas=4, num_expression=3), Priors.load()
SIZE = (900, 700)
CAMERAS = {
    "off the middle": KnownCamera(np.array([950.0, 950.0]), np.array([250.0, 480.0]), np.zeros(5), SIZE),
    "oblong": KnownCamera(np.array([950.0, 760.0]), np.array([400.0, 330.0]), np.zeros(5), SIZE),
    "distorted": KnownCamera(
        np.array([950.0, 940.0]), np.array([430.0, 380.0]), np.array([-0.25, 0.08, 0.002, -0.001, 0.0]), SIZE
    ),
}


def person() -> State:
    rng = np.random.default_rng(0)
    pose = np.tile(np.eye(3), (1, 55, 1, 1))
    pose[0, 1:22] = PRIORS.body_pose @ rotvec_to_matrix(0.12 * rng.normal(size=(21, 3)))
    pose[0, 0] = np.diag([1.0, -1.0, -1.0]) @ rotvec_to_matrix(np.array([0.0, 0.3, 0.0]))
    return State(pose, 0.3 * rng.normal(size=(1, 4)), np.zeros((1, 3)), np.array([[0.6, -0.3, 4.0]]))


def points_of(state: State) -> np.ndarray:
    return keypoints(MODEL, state.pose, state.betas, state.expression).astype(float) + state.transl[:, None]


def seen_by(camera: KnownCamera, state: State) -> Observed:
    """Keypoints as the camera's own photo shows them; OpenCV's formula."""
    points = points_of(state)[0]
    x, y = (points[:, :2] / points[:, 2:]).T
    k1, k2, p1, p2, k3 = camera.lens
    r2 = x * x + y * y
    radial = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
    u = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    v = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    rows = np.zeros((144, 3))
    rows[:, :2] = np.stack([u, v], 1) * camera.focal_px + camera.principal_px
    rows[[*PARTS["body"], *PARTS["left_hand"], *PARTS["right_hand"], *PARTS["face"]], 2] = 1.0
    return Observed("photo.jpg/0", rows, SIZE, "openpose")


@pytest.mark.parametrize("kind", CAMERAS)
def test_files_show_people_where_the_camera_saw_them(kind: str, tmp_path: Path) -> None:
    camera, truth = CAMERAS[kind], person()
    seen = camera.straighten_keypoints(seen_by(camera, truth))
    straight = camera.straight
    people = people_of(MODEL, truth, [seen], float(straight.focal_px[0]), principal_px=straight.principal_px)
    assert people.image_size == straight.image_size
    write_json(tmp_path / "p.json", people, points_of(truth), image_name="photo.jpg", focal_source="given")
    (told,) = json.loads((tmp_path / "p.json").read_text())["people"]
    found = np.array([told["joints_2d"][name][:2] for name in KEYPOINT_NAMES])
    there = seen.keypoints_px[:, 2] > 0
    assert np.abs(found - seen.keypoints_px[:, :2])[there].max() < 0.1
    assert np.abs(camera.shown(found) - seen_by(camera, truth).keypoints_px[:, :2])[there].max() < 0.1
    write_npz(tmp_path / "p.npz", people, image_name="photo.jpg", focal_source="given")
    again = read_npz(tmp_path / "p.npz")
    np.testing.assert_allclose(again.principal_px, straight.principal_px)
    assert again.focal_px == straight.focal_px[0]


@pytest.mark.parametrize("kind", CAMERAS)
def test_people_are_found_where_they_are(kind: str) -> None:
    camera, truth = CAMERAS[kind], person()
    seen = camera.straighten_keypoints(seen_by(camera, truth))
    straight = camera.straight
    aim = aim_at([seen], straight.focal_px[:1], straight.principal_px[None])
    found, there = (points_of(state)[:, :22] for state in (fit(MODEL, PRIORS, aim).state, truth))
    assert 1000 * np.linalg.norm(align_similarity(found, there) - there, axis=-1).mean() < 25
    np.testing.assert_allclose(found[0, 0] / found[0, 0, 2], there[0, 0] / there[0, 0, 2], atol=0.01)
    np.testing.assert_allclose(found[0, 0, 2], there[0, 0, 2], atol=0.5)


def test_without_a_principal_point_it_is_the_middle() -> None:
    seen = seen_by(CAMERAS["off the middle"], person())
    np.testing.assert_allclose(aim_at([seen], np.array([950.0])).principal_px, [[450.0, 350.0]])
    np.testing.assert_allclose(people_of(MODEL, person(), [seen], 950.0).principal_px, [450.0, 350.0])
