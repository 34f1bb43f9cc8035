"""EHF on fixtures in its own formats."""

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh
from tests.data import fixtures
from tests.data.people import Person, body_model
from tests.evaluation import smplx_files as made

from openexpose.body.keypoints import KEYPOINT_NAMES
from openexpose.data.scans import EHF_ROTATION, EHF_TRANSLATION_M
from openexpose.errors import InputError
from openexpose.evaluation.protocols.ehf import protocol
from openexpose.evaluation.record import Mesh, Prediction, Subject
from openexpose.evaluation.run import System, evaluate
from openexpose.evaluation.tables import Tables


class Known(System):
    """Answers with the truth, moved by ``offset``; None for the names in ``silent``."""

    name = "known"
    notes = ("Knows the truth.",)

    def __init__(self, crowd: list[Person], offset: float = 0.0, silent: tuple[str, ...] = ()) -> None:
        self.people = {f"ehf/{k + 1:02d}": person for k, person in enumerate(crowd)}
        self.offset, self.silent = offset, silent

    def __call__(self, subject: Subject) -> Prediction | None:
        if subject.name in self.silent:
            return None
        person = self.people[subject.name]
        mesh = Mesh(person.vertices_m.astype(float) + self.offset, body_model().faces)
        return Prediction(mesh, person.points_m + self.offset, KEYPOINT_NAMES)


def means(report: object, system: int = 0) -> dict[str, float]:
    values = report.results[system].values  # type: ignore[attr-defined]
    return {metric: float(np.mean([v.mean() for v in found.values()])) for (metric, _), found in values.items()}


def test_the_truth_has_no_error_and_what_is_missing_is_counted(tmp_path: Path) -> None:
    crowd = fixtures.write_ehf(tmp_path)
    (tmp_path / "alignments" / "02.pkl").unlink()
    found = protocol(tmp_path, tables=Tables.read())
    assert [subject.name for subject in found.subjects] == ["ehf/01", "ehf/03"] and set(found.skipped) == {"ehf/02"}
    offset = 0.03 / np.sqrt(3.0)
    report = evaluate(found, [Known(crowd), Known(crowd, offset, silent=("ehf/03",))], tmp_path)
    numbers = means(report)
    for metric in ("PA-V2V all", "PA-V2V face", "PA-MPJPE left hand", "MPJPE 12 limb joints", "P2S mean", "V2V body"):
        assert numbers[metric] < 0.2, metric
    assert means(report, 1)["V2V all"] == pytest.approx(30.0, abs=0.1) and means(report, 1)["PVE"] < 0.2
    assert report.subjects == 3 and report.results[1].skipped == {"ehf/03": "no answer"}
    assert any("1 around OpenPose's keypoints, 1 around the true mesh" in note for note in report.notes)
    assert {entry.metric for entry in report.published} <= {metric.name for metric in report.metrics}
    assert {entry.group for entry in report.published} == {subject.group for subject in found.subjects}


def test_registered_meshes_may_be_ply(tmp_path: Path) -> None:
    crowd = fixtures.write_ehf(tmp_path)
    for k, person in enumerate(crowd):
        (tmp_path / "alignments" / f"{k + 1:02d}.pkl").unlink()
        world = (person.vertices_m - EHF_TRANSLATION_M) @ EHF_ROTATION
        mesh = trimesh.Trimesh(world, body_model().faces, process=False)
        (tmp_path / f"{k + 1:02d}_align.ply").write_bytes(mesh.export(file_type="ply"))
    (tmp_path / "images" / "03_img.png").unlink()  # it has no keypoints for a box
    found = protocol(tmp_path, tables=Tables.read())
    mesh_of: Callable[[], Mesh] | None = found.subjects[0].mesh
    assert mesh_of is not None
    np.testing.assert_allclose(mesh_of().vertices_m, crowd[0].vertices_m, atol=1e-5)
    np.testing.assert_array_equal(mesh_of().faces, body_model().faces)
    (tmp_path / "01_align.ply").write_bytes(b"ply\nbroken")
    with pytest.raises(InputError, match=r"01_align\.ply"):
        mesh_of()


@pytest.mark.parametrize("frame", ["camera", "scanner", "own"])
def test_true_joints_are_moved_to_the_camera(tmp_path: Path, frame: str) -> None:
    crowd = fixtures.write_ehf(tmp_path)
    names = [*(name for name in fixtures.LSP_NAMES if name), "head"]
    rows = [KEYPOINT_NAMES.index(name) for name in names]
    points, pixels = (np.array([getattr(p, key) for p in crowd]).astype(float) for key in ("points_m", "points_px"))
    told = points
    if frame == "scanner":
        told = (points - EHF_TRANSLATION_M) @ EHF_ROTATION
    if frame == "own":
        told = points - points[:, :1] + 20.0
    np.savez(tmp_path / "gt_keyps.npz", gt_keypoints_2d=pixels, gt_keypoints_3d=told, gt_joints14=told[:, rows])
    found = protocol(tmp_path, tables=Tables.read())
    assert any(frame in note for note in found.notes if "gt_keyps" in note)
    subject = found.subjects[2]
    assert subject.joints_m is not None
    if frame != "own":
        np.testing.assert_allclose(subject.joints_m, points[2], atol=1e-9)
    answer = Known(crowd)(subject)
    assert answer is not None and answer.joints_m is not None
    full = np.concatenate([answer.joints_m, answer.joints_m[rows[-1:]]])
    values = found.measure(subject, replace(answer, joints_m=full, joint_names=(*KEYPOINT_NAMES, "head_top"))).values
    np.testing.assert_allclose(values["MPJPE body"], np.zeros(14), atol=1e-3)
    np.testing.assert_allclose(values["PA-MPJPE right hand"], np.zeros(21), atol=1e-3)
    assert values["PVE"] < (5.0 if frame == "own" else 0.01)


def test_smplx_meshes_use_the_fields_tables(tmp_path: Path) -> None:
    crowd = fixtures.write_ehf(tmp_path / "ehf")
    j14 = made.write_tables(tmp_path / "tables")
    true = made.cloud(7)
    world = (true - EHF_TRANSLATION_M) @ EHF_ROTATION
    for path in (tmp_path / "ehf" / "alignments").iterdir():
        path.write_bytes(pickle.dumps({"v": world}, 2))
    found = protocol(tmp_path / "ehf", tables=Tables.read(tmp_path / "tables"))
    moved = true + np.random.default_rng(0).normal(size=true.shape) * 0.01
    values = found.measure(found.subjects[0], Prediction(Mesh(moved, np.zeros((0, 3), int)))).values
    joints = [points - points[[2, 3]].mean(0) for points in (j14 @ moved, j14 @ true)]
    np.testing.assert_allclose(values["MPJPE body"], 1000.0 * np.linalg.norm(joints[0] - joints[1], axis=1))
    assert {f"PA-V2V {name}" for name in made.SETS} < set(values) and "P2S mean" not in values
    assert found.measure(found.subjects[0], None).values == {}
    assert len(crowd) == 3 and any("SMPLX_to_J14" in note for note in found.notes)


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    fixtures.write_ehf(tmp_path)
    with pytest.raises(InputError, match="split"):
        protocol(tmp_path, tables=Tables(), split="train")
    for path in (tmp_path / "alignments").iterdir():
        path.unlink()
    with pytest.raises(InputError, match="without registered meshes"):
        protocol(tmp_path, tables=Tables())


def test_rows_with_nan_belong_to_nobody_else(tmp_path: Path) -> None:
    crowd = fixtures.write_ehf(tmp_path)
    points, pixels = (np.array([getattr(p, key) for p in crowd]).astype(float) for key in ("points_m", "points_px"))
    pixels[0, 5] = np.nan
    np.savez(tmp_path / "gt_keyps.npz", gt_keypoints_2d=pixels, gt_keypoints_3d=points)
    found = protocol(tmp_path, tables=Tables.read())
    assert [subject.name for subject in found.subjects] == ["ehf/02", "ehf/03"] and set(found.skipped) == {"ehf/01"}
    for subject, expected in zip(found.subjects, points[1:], strict=True):
        np.testing.assert_allclose(subject.joints_m, expected, atol=1e-9)


def test_a_damaged_first_mesh_does_not_end_everything(tmp_path: Path) -> None:
    crowd = fixtures.write_ehf(tmp_path)
    points, pixels = (np.array([getattr(p, key) for p in crowd]).astype(float) for key in ("points_m", "points_px"))
    np.savez(tmp_path / "gt_keyps.npz", gt_keypoints_2d=pixels, gt_keypoints_3d=points)
    (tmp_path / "alignments" / "01.pkl").write_bytes(b"broken")
    report = evaluate(protocol(tmp_path, tables=Tables.read()), [Known(crowd)], tmp_path)
    assert "01.pkl" in report.results[0].skipped["ehf/01"] and len(report.results[0].values["PA-V2V all", "ehf"]) == 2


def test_meshes_without_a_picture_are_counted(tmp_path: Path) -> None:
    fixtures.write_ehf(tmp_path)
    next((tmp_path / "images").glob("02*")).unlink()
    assert set(protocol(tmp_path, tables=Tables.read()).skipped) == {"ehf/02"}
