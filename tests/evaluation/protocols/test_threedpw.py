"""3DPW on fixtures in the format prepared for ExPose."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.evaluation import smplx_files as made

from openexpose.errors import InputError
from openexpose.evaluation.protocols.threedpw import protocol
from openexpose.evaluation.record import Mesh, Prediction, Report, Subject
from openexpose.evaluation.run import System, evaluate
from openexpose.evaluation.tables import LSP14_NAMES, Tables

NO_FACES = np.zeros((0, 3), int)
FRAMES = (0, 1, 2, 3, 4, 7, 8)
"""Of one track: two runs, of which one is too short for acceleration."""


@dataclass
class Clip:
    """What :func:`write` wrote: true vertices and joints of each row."""

    folder: Path
    tables: Tables
    vertices: list[np.ndarray] = field(default_factory=list)
    joints: list[np.ndarray] = field(default_factory=list)


@pytest.fixture
def clip(tmp_path: Path) -> Clip:
    """Two people who move along parabolas, five frames and two more."""
    j14 = made.write_tables(tmp_path / "tables")
    written = Clip(tmp_path / "3dpw", Tables.read(tmp_path / "tables"))
    names, people = [], []
    for frame in FRAMES:
        name = f"imageFiles/walk_00/image_{frame:05d}.jpg"
        path = written.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 64)).save(path)
        for person in (0, 1):
            vertices = made.cloud(person) + [0.01 * frame**2, 0.0, 0.0]
            written.vertices.append(vertices)
            written.joints.append(j14 @ vertices)
            names.append(f"/disk/of/authors/{name}")
            people.append(person)
    count = len(names)
    (written.folder / "smplx_npz_data").mkdir()
    (written.folder / "smplx_vertices").mkdir()
    np.savez(
        written.folder / "smplx_npz_data" / "3dpw_test.npz",
        img_paths=np.array(names, dtype=object),
        keypoints2d=np.tile([30.0, 30.0, 1.0], (count, 18, 1)),
        joints3d=np.array([joints - joints[[2, 3]].mean(0) for joints in written.joints]),  # another origin
        center=np.full((count, 2), 32.0),
        scale=np.full(count, 0.2),
        pid=np.array(people),
        cam_intrinsics=np.tile(np.diag([1900.0, 1900.0, 1.0]), (count, 1, 1)),
    )
    for row, vertices in enumerate(written.vertices):
        np.save(written.folder / "smplx_vertices" / f"{row:06d}.npy", vertices.astype(np.float32))
    return written


class Known(System):
    """Answers with the truth, each frame moved by what ``offset`` says."""

    name = "known"
    notes = ()

    def __init__(self, clip: Clip, silent: str = "nobody", shake_m: float = 0.0) -> None:
        self.rows = {
            f"threedpw/test/walk_00/image_{frame:05d}.jpg/{person}": 2 * k + person
            for k, frame in enumerate(FRAMES)
            for person in (0, 1)
        }
        self.clip, self.silent, self.shake_m = clip, silent, shake_m

    def __call__(self, subject: Subject) -> Prediction | None:
        if subject.name == self.silent:
            return None
        row = self.rows[subject.name]
        vertices = self.clip.vertices[row] + 0.5
        joints = self.clip.joints[row].copy()
        if self.shake_m:
            joints[0, 0] += self.shake_m * (-1) ** (row // 2)
            return Prediction(joints_m=joints, joint_names=LSP14_NAMES)
        return Prediction(Mesh(vertices, NO_FACES))


def values(report: Report, metric: str) -> dict[str, np.ndarray]:
    return report.results[0].values[metric, "3dpw"]


def test_the_truth_has_no_error(clip: Clip) -> None:
    found = protocol(clip.folder, tables=clip.tables)
    report = evaluate(found, [Known(clip)], clip.folder)
    assert report.subjects == 14 and found.subjects[0].focal_px == 1900.0
    for metric in ("MPJPE body", "PA-MPJPE body", "PA-V2V body", "PVE", "acceleration error"):
        for value in values(report, metric).values():
            np.testing.assert_allclose(value, 0.0, atol=1e-3)
    assert values(report, "MPJPE body")["threedpw/test/walk_00/image_00002.jpg/1"].shape == (14,)
    assert {entry.metric for entry in report.published} <= {metric.name for metric in report.metrics}
    assert {entry.group for entry in report.published} == {"3dpw"}
    assert any("14 of 14 people" in note for note in report.notes)


def test_motion_is_followed_through_consecutive_frames_only(clip: Clip) -> None:
    found = protocol(clip.folder, tables=clip.tables)
    shaken = evaluate(found, [Known(clip, shake_m=0.01)], clip.folder)
    acceleration = values(shaken, "acceleration error")
    assert set(acceleration) == {"3dpw/track/walk_00/0", "3dpw/track/walk_00/1"}
    for value in acceleration.values():
        np.testing.assert_allclose(value, np.full(3, 40.0 / 14.0), rtol=1e-4)  # x, -x, x: 4 x, of one joint in 14
    for value in values(shaken, "jitter").values():
        np.testing.assert_allclose(value, np.full(2, 8.0 * 0.01 / 14.0 * 30.0**3), rtol=1e-4)
    assert any("2 tracks, 10 consecutive frames" in note for note in found.notes)


def test_a_frame_without_answer_leaves_a_gap_of_known_length(clip: Clip) -> None:
    found = protocol(clip.folder, tables=clip.tables)
    report = evaluate(found, [Known(clip, silent="threedpw/test/walk_00/image_00004.jpg/0")], clip.folder)
    value = values(report, "acceleration error")["3dpw/track/walk_00/0"]
    assert np.isfinite(value).tolist() == [True, True, False]
    assert list(report.results[0].skipped) == ["threedpw/test/walk_00/image_00004.jpg/0"]


def test_smpl_meshes_are_compared_through_the_correspondence(clip: Clip, tmp_path: Path) -> None:
    order = np.random.default_rng(0).permutation(made.VERTICES)[:6890]
    path = tmp_path / "map.npz"
    np.savez(path, indices=order[:, None], weights=np.ones((6890, 1)), source="smplx", target="smpl")
    tables = Tables.read(tmp_path / "tables", correspondence=path)
    found = protocol(clip.folder, tables=tables)
    subject = found.subjects[0]
    joints = clip.joints[0]
    answer = Prediction(Mesh(clip.vertices[0][order], NO_FACES), joints, LSP14_NAMES)
    measured = found.measure(subject, answer).values
    for metric in ("PA-V2V body", "PA-V2V all", "MPJPE body"):
        np.testing.assert_allclose(measured[metric], 0.0, atol=1e-3)
    none = protocol(clip.folder, tables=Tables.read(tmp_path / "tables"))
    assert not any("V2V" in metric for metric in none.measure(none.subjects[0], answer).values)


def test_meshes_and_cameras_are_optional_and_what_is_broken_is_told(clip: Clip) -> None:
    path = clip.folder / "smplx_npz_data" / "3dpw_test.npz"
    with np.load(path, allow_pickle=True) as archive:
        arrays = {key: archive[key] for key in archive.files}
    (clip.folder / "smplx_vertices" / "000000.npy").write_bytes(b"broken")
    found = protocol(clip.folder, tables=clip.tables)
    with pytest.raises(InputError, match=r"000000\.npy"):
        found.measure(found.subjects[0], Prediction(joints_m=clip.joints[0], joint_names=LSP14_NAMES))
    for file in (clip.folder / "smplx_vertices").iterdir():
        file.unlink()
    del arrays["cam_intrinsics"]
    np.savez(path, **arrays)
    found = protocol(clip.folder, tables=clip.tables, split="test")
    assert found.subjects[0].focal_px is None and found.subjects[0].mesh is None
    measured = found.measure(found.subjects[1], Prediction(joints_m=clip.joints[1], joint_names=LSP14_NAMES))
    assert set(measured.values) == {"MPJPE body", "PA-MPJPE body"}
    np.savez(path, **(arrays | {"pid": np.zeros(14, int)}))
    with pytest.raises(InputError, match="twice"):
        protocol(clip.folder, tables=clip.tables)
    with pytest.raises(InputError, match="split"):
        protocol(clip.folder, tables=clip.tables, split="other")
