"""HELEN and 300-W: landmark files, groups, errors that are known."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from openexpose.body.keypoints import IBUG68
from openexpose.errors import InputError
from openexpose.evaluation.protocols import faces
from openexpose.evaluation.record import Prediction, Subject
from openexpose.evaluation.run import System, evaluate
from openexpose.evaluation.tables import Tables

EYES_PX = 50.0


def landmarks(seed: int = 0) -> np.ndarray:
    """68 points in pixels, the outer eye corners 50 px apart."""
    points = np.random.default_rng(seed).uniform(20.0, 120.0, (68, 2))
    points[36], points[45] = (40.0, 60.0), (40.0 + EYES_PX, 60.0)
    return points


def pts(points: np.ndarray) -> str:
    """Matlab's pixels: the centre of the first is (1, 1)."""
    rows = "\n".join(f"{x:.6f} {y:.6f}" for x, y in points + 0.5)
    return f"version: 1\nn_points: {len(points)}\n{{\n{rows}\n}}\n"


def write_face(path: Path, seed: int = 0, suffix: str = ".jpg") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".pts").write_text(pts(landmarks(seed)))
    Image.new("RGB", (140, 140)).save(path.with_suffix(suffix))


def answer(points: np.ndarray) -> Prediction:
    keypoints = np.full((144, 2), np.nan)
    keypoints[IBUG68] = points
    return Prediction(keypoints_px=keypoints)


class Shifted(System):
    """The truth, so many pixels to the right; nothing for names with ``lost``."""

    name, notes = "shifted", ()

    def __init__(self, pixels: float) -> None:
        self.pixels = pixels

    def __call__(self, subject: Subject) -> Prediction | None:
        if "lost" in subject.name:
            return None
        return answer(subject.keypoints_px["face"][:, :2] + [self.pixels, 0.0])


def test_first_pixel_of_a_file_is_one(tmp_path: Path) -> None:
    path = tmp_path / "a.pts"
    path.write_text("version: 1\r\nn_points:  2\r\n{\r\n1 1\r\n224.000 3.5\r\n}\r\n")
    np.testing.assert_array_equal(faces.read_pts(path), [[0.5, 0.5], [223.5, 3.0]])


@pytest.mark.parametrize(
    "text", ["", "version: 1\n1 2\n", "n_points: 3\n{\n1 2\n}", "n_points: 1\n{\n1 x\n}", "n_points: 1\n{\n1 2"]
)
def test_broken_files_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.pts").write_text(text)
    with pytest.raises(InputError):
        faces.read_pts(tmp_path / "a.pts")


def test_truth_costs_nothing_and_a_shift_its_share_of_the_eye_distance(tmp_path: Path) -> None:
    write_face(tmp_path / "one")
    protocol = faces.protocol(tmp_path, tables=Tables())
    subject = protocol.subjects[0]
    np.testing.assert_allclose(subject.keypoints_px["face"][:, :2], landmarks(), atol=1e-5)
    for pixels in (0.0, 3.0):
        found = protocol.measure(subject, Shifted(pixels)(subject)).values
        share = 100.0 * pixels / EYES_PX
        for name in ("NME inner 51", "NME contour 17", "NME 68"):
            np.testing.assert_allclose(found[name], share, atol=1e-4)
        assert found["failure rate 10 %"] == 0.0
        assert found["AUC 10 %"] == pytest.approx(100.0 * (1.0 - share / 10.0), abs=1e-3)
    assert len(found["NME 68"]) == 68 and len(found["NME contour 17"]) == 1


def test_contour_and_inside_are_apart(tmp_path: Path) -> None:
    write_face(tmp_path / "one")
    protocol = faces.protocol(tmp_path, tables=Tables())
    points = landmarks()
    points[:17] += [5.0, 0.0]
    found = protocol.measure(protocol.subjects[0], answer(points)).values
    assert found["NME contour 17"] == pytest.approx(10.0, abs=1e-4)
    assert found["NME inner 51"] == pytest.approx(0.0, abs=1e-4)
    assert found["NME 68"].mean() == pytest.approx(10.0 * 17 / 68, abs=1e-4)


def test_boxes_are_tight(tmp_path: Path) -> None:
    write_face(tmp_path / "one")
    box = faces.protocol(tmp_path, tables=Tables()).subjects[0].box_xyxy_px
    points = landmarks()
    assert box == pytest.approx([*points.min(0), *points.max(0)], abs=1e-5)


def test_groups_and_splits_of_300w(tmp_path: Path) -> None:
    for k, name in enumerate(("helen/testset/a", "lfpw/testset/b", "ibug/c _01", "helen/trainset/d", "afw/e")):
        write_face(tmp_path / name, k, ".png" if "lfpw" in name else ".jpg")
    protocol = faces.protocol(tmp_path, tables=Tables())
    assert {s.name: s.group for s in protocol.subjects} == {
        "faces/helen/testset/a": "helen",
        "faces/lfpw/testset/b": "lfpw",
        "faces/ibug/c _01": "ibug",
    }
    values = evaluate(protocol, [Shifted(1.0)], tmp_path).results[0].values
    counts = {group: len(values["NME 68", group]) for group in ("helen", "common", "challenging", "full")}
    assert counts == {"helen": 1, "common": 2, "challenging": 1, "full": 3}
    alone = evaluate(faces.protocol(tmp_path / "helen", tables=Tables()), [Shifted(1.0)], tmp_path).results[0].values
    assert {group for _, group in alone} == {"helen"}
    assert len(faces.protocol(tmp_path, tables=Tables(), split="train").subjects) == 2
    assert len(faces.protocol(tmp_path, tables=Tables(), split="all").subjects) == 5
    assert faces.protocol(tmp_path / "afw", tables=Tables()).subjects[0].group == "afw"
    with pytest.raises(InputError, match="split"):
        faces.protocol(tmp_path, tables=Tables(), split="dev")


def test_a_face_without_an_answer_has_failed(tmp_path: Path) -> None:
    write_face(tmp_path / "helen" / "one")
    write_face(tmp_path / "helen" / "lost", 1)
    protocol = faces.protocol(tmp_path, tables=Tables())
    result = evaluate(protocol, [Shifted(0.0)], tmp_path).results[0]
    means = {metric: np.mean([*of.values()]) for (metric, group), of in result.values.items() if group == "helen"}
    assert means["failure rate 10 %"] == 50.0 and means["AUC 10 %"] == pytest.approx(50.0, abs=1e-3)
    assert len(result.values["NME 68", "helen"]) == 1
    assert list(result.skipped) == ["faces/helen/lost"]


def test_large_errors_fail(tmp_path: Path) -> None:
    write_face(tmp_path / "one")
    protocol = faces.protocol(tmp_path, tables=Tables())
    found = protocol.measure(protocol.subjects[0], Shifted(6.0)(protocol.subjects[0])).values
    assert found["failure rate 10 %"] == 100.0 and found["AUC 10 %"] == 0.0


def test_unusable_faces_are_counted_and_unusable_answers_refused(tmp_path: Path) -> None:
    write_face(tmp_path / "one")
    (tmp_path / "alone.pts").write_text(pts(landmarks()))
    (tmp_path / "profile.pts").write_text(pts(landmarks()[:39]))
    protocol = faces.protocol(tmp_path, tables=Tables())
    assert sorted(protocol.skipped) == ["faces/alone", "faces/profile"]
    for bad in (Prediction(), answer(np.full((68, 2), np.nan))):
        with pytest.raises(InputError):
            protocol.measure(protocol.subjects[0], bad)
    with pytest.raises(InputError, match="no landmark files"):
        faces.protocol(tmp_path / "nothing", tables=Tables())
