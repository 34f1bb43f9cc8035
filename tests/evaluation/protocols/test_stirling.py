"""Stirling/ESRC: files in the real layout, distances that are known, totals over all scan points."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from openexpose.body.keypoints import KEYPOINT_NAMES
from openexpose.errors import InputError
from openexpose.evaluation.metrics import STIRLING_LANDMARKS
from openexpose.evaluation.protocols import stirling
from openexpose.evaluation.record import Mesh, Prediction, Protocol, Subject
from openexpose.evaluation.run import System, evaluate
from openexpose.evaluation.tables import Tables
from openexpose.geometry.rotation import rotvec_to_matrix

LANDMARKS_MM = np.array(
    [[-45, 40, 0], [-20, 38, 0], [20, 38, 0], [45, 40, 0], [0, 0, 0], [-25, -25, 0], [25, -25, 0]], float
)
"""A flat face: seven landmarks in a plane."""


def plate(step_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """A flat square of 400 mm, as vertices and triangles."""
    ticks = np.arange(-200.0, 200.1, step_mm)
    x, y = np.meshgrid(ticks, ticks)
    vertices = np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], -1)
    corner = (np.arange(len(ticks) - 1)[:, None] * len(ticks) + np.arange(len(ticks) - 1)).ravel()
    right, down = corner + 1, corner + len(ticks)
    return vertices, np.concatenate([np.stack([corner, right, down], -1), np.stack([right, down + 1, down], -1)])


def write_data(folder: Path, heights_mm: dict[str, float], pictures: dict[str, list[str]]) -> Path:
    """Scans of flat faces, so many millimetres before their landmarks."""
    for person, height in heights_mm.items():
        scans, labels = folder / f"{person[0].upper()}_3D_N", folder / "annotations" / f"{person[0].upper()}_3D_N"
        for made in (scans, labels):
            made.mkdir(parents=True, exist_ok=True)
        vertices = plate(10.0)[0] + [0.0, 0.0, height]
        lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in vertices]
        (scans / f"{person}_N.obj").write_text("\n".join(["# scan", "mtllib a.mtl", *lines, "vt 0 0", "f 1/1 2/1 3/1"]))
        rows = [f"{number} {x:g} {y:g} {z:g}" for number, (x, y, z) in enumerate(LANDMARKS_MM, 1)]
        (labels / f"{person.lower()}_N.lnd").write_text("\n".join(rows) + "\n")
    for group, names in pictures.items():
        (folder / "Subset_2D_FG2018" / group).mkdir(parents=True)
        for name in names:
            Image.new("RGB", (32, 32)).save(folder / "Subset_2D_FG2018" / group / name)
    return folder


def flat_face(linear: np.ndarray | None = None, offset: np.ndarray | float = 0.0) -> Prediction:
    vertices, faces = plate(50.0)
    linear = np.eye(3) if linear is None else linear
    moved, landmarks = ((points / 1000.0) @ linear.T + offset for points in (vertices, LANDMARKS_MM))
    return Prediction(Mesh(moved, faces), landmarks, stirling.LANDMARK_NAMES)


class FlatFaces(System):
    name, notes = "flat faces", ()

    def __call__(self, subject: Subject) -> Prediction | None:
        return flat_face()


@pytest.fixture
def three(tmp_path: Path) -> tuple[Protocol, Path]:
    people = {"F1001": 2.0, "m1002": 5.0}
    pictures = {"LQ": ["F1001_1.jpg", "F1001_2.jpg", "M1002_a_b.JPG"], "HQ": ["F1001_x.png", "F1099_x.png"]}
    data = write_data(tmp_path, people, pictures)
    return stirling.protocol(data, tables=Tables()), data


def test_landmarks_have_the_order_of_the_scans() -> None:
    assert len(stirling.LANDMARK_NAMES) == len(STIRLING_LANDMARKS) == 7
    assert (
        *("right_eye1", "right_eye4", "left_eye4", "left_eye1", "nose_middle"),
        *("right_mouth_1", "left_mouth_1"),
    ) == stirling.LANDMARK_NAMES
    assert set(stirling.LANDMARK_NAMES) <= set(KEYPOINT_NAMES)


def test_distance_of_the_scan_is_found_whatever_size_and_place_the_answer_has(three: tuple[Protocol, Path]) -> None:
    protocol, _ = three
    linear = 0.01 * rotvec_to_matrix(np.array([0.4, 2.0, -0.7]))
    answer = flat_face(linear, np.array([0.3, -0.2, 4.0]))
    for subject, height in zip(protocol.subjects, (2.0, 2.0, 5.0), strict=False):
        values = protocol.measure(subject, answer).values
        assert values["picture's mean"] == pytest.approx(height, abs=1e-6)
        assert values["picture's median"] == pytest.approx(height, abs=1e-6)


def test_a_face_like_its_scan_costs_nothing(tmp_path: Path) -> None:
    protocol = stirling.protocol(write_data(tmp_path, {"F1001": 0.0}, {"HQ": ["F1001_1.jpg"]}), tables=Tables())
    assert protocol.measure(protocol.subjects[0], flat_face()).values["picture's mean"] < 1e-6


def measured_points(height_mm: float) -> int:
    """Scan points within 1.2 x (90 + 38) / 2 mm of the point 0.3 of the way up the nose."""
    offset = plate(10.0)[0] + [0.0, 0.0, height_mm] - [0.0, 0.3 * 38.0, 0.0]
    return int((np.linalg.norm(offset, axis=-1) <= 76.8).sum())


def test_totals_are_over_all_points_of_a_group(three: tuple[Protocol, Path]) -> None:
    protocol, data = three
    report = evaluate(protocol, [FlatFaces()], data)
    derived = {(d.metric, d.group): d for d in report.results[0].derived}
    points = np.repeat([2.0, 2.0, 5.0], [measured_points(2.0), measured_points(2.0), measured_points(5.0)])
    assert derived["scan-to-mesh mean", "LQ"].value == pytest.approx(points.mean(), abs=1e-6)
    assert derived["scan-to-mesh median", "LQ"].value == pytest.approx(2.0, abs=0.02)
    assert derived["scan-to-mesh std", "LQ"].value == pytest.approx(points.std(), abs=1e-6)
    assert derived["scan-to-mesh mean", "HQ"].value == pytest.approx(2.0, abs=1e-6)
    mean = derived["scan-to-mesh mean", "LQ"]
    assert mean.count == 3 and 2.0 <= mean.low < mean.value < mean.high <= 5.0


def test_people_without_a_scan_are_counted(three: tuple[Protocol, Path]) -> None:
    protocol, data = three
    assert list(protocol.skipped) == ["stirling/HQ/F1099_x"]
    assert len(protocol.subjects) == 4
    assert evaluate(protocol, [FlatFaces()], data).subjects == 5


def test_kept_sums_give_the_same_numbers_as_the_points() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.gamma(2.0, 1.0, 4000), rng.gamma(2.0, 1.5, 1000)
    both = np.concatenate([first, second])
    sums = stirling._sums(first) + stirling._sums(second)
    assert stirling._mean(sums) == pytest.approx(both.mean())
    assert stirling._deviation(sums) == pytest.approx(both.std())
    assert stirling._median(sums) == pytest.approx(np.median(both), abs=0.01)


def test_splits_and_missing_files(three: tuple[Protocol, Path], tmp_path: Path) -> None:
    _, data = three
    assert {s.group for s in stirling.protocol(data, tables=Tables(), split="hq").subjects} == {"HQ"}
    with pytest.raises(InputError, match="split"):
        stirling.protocol(data, tables=Tables(), split="MQ")
    with pytest.raises(InputError, match="no pictures"):
        stirling.protocol(tmp_path / "annotations", tables=Tables())
    bare = write_data(tmp_path / "bare", {}, {"HQ": ["F1001_1.jpg"]})
    with pytest.raises(InputError, match="scans"):
        stirling.protocol(bare, tables=Tables())


def test_landmark_files_in_another_unit_or_number_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.lnd"
    for points in (LANDMARKS_MM / 1000.0, LANDMARKS_MM[:6]):
        path.write_text("\n".join(f"{k} {x} {y} {z}" for k, (x, y, z) in enumerate(points)))
        with pytest.raises(InputError):
            stirling.read_landmarks(path)
    path.write_text("\n".join(f"{x} {y} {z}" for x, y, z in LANDMARKS_MM))
    np.testing.assert_array_equal(stirling.read_landmarks(path), LANDMARKS_MM)


def test_answers_without_surface_or_landmarks_are_refused(three: tuple[Protocol, Path]) -> None:
    protocol, _ = three
    whole = flat_face()
    assert whole.mesh is not None
    cloud = Mesh(whole.mesh.vertices_m, np.zeros((0, 3), int))
    for answer in (Prediction(cloud, whole.joints_m, whole.joint_names), Prediction(whole.mesh)):
        with pytest.raises(InputError):
            protocol.measure(protocol.subjects[0], answer)


def test_a_median_beyond_the_histogram_is_not_flattered() -> None:
    assert np.isnan(stirling._median(stirling._sums(np.full(9, 400.0))))


def test_missing_pictures_are_told(three: tuple[Protocol, Path]) -> None:
    assert "Only 3 of the 1344 pictures of LQ are here." in three[0].notes
