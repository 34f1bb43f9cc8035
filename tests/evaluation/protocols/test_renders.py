"""The protocol of renders with systems whose errors are known, on the frozen test set's numbers and on shards."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.synth.photos import free_body, make_photos

from openexpose.body.keypoints import INDEX, KEYPOINT_NAMES
from openexpose.body.mesh import posed_mesh
from openexpose.body.model import load_body_model
from openexpose.errors import InputError
from openexpose.evaluation.protocols.renders import (
    COEFFICIENT_METRICS,
    CUT,
    EXPRESSION,
    MEAN_SHAPE,
    NEUTRAL,
    SEEN,
    SHAPE,
    WHOLE,
    protocol,
)
from openexpose.evaluation.record import Coefficients, Mesh, Prediction, Protocol, Report, Subject
from openexpose.evaluation.run import System, evaluate
from openexpose.evaluation.tables import Tables
from openexpose.geometry.rotation import rotvec_to_matrix
from openexpose.synth.digest import body_digest
from openexpose.synth.photo import HIDDEN, VISIBLE
from openexpose.synth.shard_files import Origin, write_shard
from openexpose.synth.shards import load_shards
from openexpose.synth.testset_pictures import read_frozen
from openexpose.synth.testset_v2 import LIMBS, TEST_SEED, frozen_from

FROZEN = read_frozen().people
COUNT = 8
TABLES = Tables.read()


class Known(System):
    """Answers the truth, changed."""

    notes = ()

    def __init__(self, change: Callable[[Subject, Mesh, np.ndarray], Prediction], name: str = "known") -> None:
        self.change, self.name = change, name

    def __call__(self, subject: Subject) -> Prediction:
        return self.change(subject, subject.mesh(), subject.joints_m[:144])


def moved(scale: float = 1.0, offset_m: float = 0.0, angle_rad: float = 0.0) -> Known:
    """The truth after a similarity."""
    turn = scale * rotvec_to_matrix(np.array([0.0, 0.0, angle_rad]))
    return Known(
        lambda _, mesh, joints: Prediction(
            Mesh(mesh.vertices_m @ turn.T + offset_m, mesh.faces), joints @ turn.T + offset_m, KEYPOINT_NAMES
        )
    )


def means(report: Report, metric: str, group: str = "renders") -> float:
    return float(np.mean([values.mean() for values in report.results[0].values[metric, group].values()]))


def write_testset(folder: Path, count: int = COUNT, **changed: np.ndarray) -> Path:
    np.savez(folder / "truth.npz", **FROZEN.truth() | {"rendered": np.arange(500) < count} | changed)
    return folder


@pytest.fixture(scope="module")
def testset(tmp_path_factory: pytest.TempPathFactory) -> Protocol:
    return protocol(write_testset(tmp_path_factory.mktemp("testset")), tables=TABLES)


@pytest.fixture(scope="module")
def exact(testset: Protocol) -> Report:
    return evaluate(testset, [moved()], Path("t"), limit=4)


def test_subjects_are_the_frozen_people(testset: Protocol) -> None:
    assert [s.name for s in testset.subjects] == [f"test-v1/{k:04d}" for k in range(COUNT)]
    assert "first 8 of the 500" in testset.notes[0] and testset.whole
    model = load_body_model()
    for k, subject in enumerate(testset.subjects[:3]):
        person = FROZEN.person(k)
        posed = posed_mesh(model, person.pose[None], person.betas[None], person.expression[None])
        np.testing.assert_allclose(subject.mesh().vertices_m, posed.vertices[0] + person.transl, atol=1e-6)
        np.testing.assert_allclose(subject.joints_m[:144], posed.joints[0] + person.transl, atol=1e-5)
        assert subject.image.as_posix().endswith(f"images/{k:04d}.jpg") and subject.mesh().topology == "freebody"
        spots = subject.keypoints_px["all"]
        near = spots[person.visibility == 2, :2]
        low, high = subject.box_xyxy_px.reshape(2, 2)
        assert ((near > low - 5) & (near < high + 5)).all() and len(near) > 20
        np.testing.assert_array_equal(spots[:, 2] > 0, person.visibility > 0)
        assert subject.seen == person.seen and subject.focal_px == person.focal_px


def test_the_truth_has_no_error(testset: Protocol, exact: Report) -> None:
    found = {metric for metric, _ in exact.results[0].values}
    stand_ins = ("12 limb joints", ", ICP")  # for what lacks the 14 joints, or anything that corresponds
    measured = set(testset.metrics) - set(COEFFICIENT_METRICS)  # of a mesh nobody knows the coefficients
    assert found == {m.name for m in measured if not m.name.endswith(stand_ins)}
    for metric in testset.metrics:
        if metric.name in found:
            assert means(exact, metric.name) == pytest.approx(1.0 if metric.more_is_better else 0.0, abs=1e-3)


def test_expressions_and_shapes_are_measured_beside_the_answers_that_say_nothing(testset: Protocol) -> None:
    people = {f"test-v1/{k:04d}": FROZEN.person(k) for k in range(2)}
    model = load_body_model()

    def answered(share: float, body: str = "freebody") -> Report:
        def answer(subject: Subject, mesh: Mesh, joints: np.ndarray) -> Prediction:
            true = people[subject.name]
            coefficients = Coefficients(body, share * true.betas, share * true.expression)
            return Prediction(mesh, joints, KEYPOINT_NAMES, coefficients=coefficients)

        return evaluate(testset, [Known(answer)], Path("t"), limit=2)

    exact, nothing, half = answered(1.0), answered(0.0), answered(0.5)
    assert means(exact, EXPRESSION) == pytest.approx(0, abs=1e-3) == means(exact, SHAPE)
    assert means(nothing, EXPRESSION) == pytest.approx(means(nothing, NEUTRAL)) and means(nothing, NEUTRAL) > 0.1
    assert means(nothing, SHAPE) == pytest.approx(means(nothing, MEAN_SHAPE)) and means(nothing, MEAN_SHAPE) > 1
    assert means(half, EXPRESSION) == pytest.approx(0.5 * means(half, NEUTRAL), rel=1e-3)
    true = people["test-v1/0000"]
    offsets = TABLES.vertex_sets("freebody")["face"]
    naive = [1000 * np.linalg.norm(model.expression_dirs[v] @ true.expression) for v in offsets]
    assert nothing.results[0].values[NEUTRAL, "renders"]["test-v1/0000"][0] == pytest.approx(np.mean(naive), rel=1e-4)
    assert (EXPRESSION, "renders") not in answered(1.0, "smplx").results[0].values


def test_a_similarity_counts_only_unaligned(testset: Protocol) -> None:
    report = evaluate(testset, [moved(1.2, 0.1, 0.2)], Path("t"), limit=2)
    for metric in testset.metrics:
        if metric.name.startswith(("PA-", "P2S")) and (metric.name, "renders") in report.results[0].values:
            assert means(report, metric.name) == pytest.approx(0, abs=1e-2)
    shifted = evaluate(testset, [moved(offset_m=0.1)], Path("t"), limit=2)
    assert means(shifted, "V2V all") == pytest.approx(100 * np.sqrt(3), rel=1e-4)
    assert means(shifted, "TR-V2V") == pytest.approx(0, abs=1e-2)
    assert means(shifted, "MPJPE body") == pytest.approx(0, abs=1e-2)


def test_rows_of_seen_parts_and_truncation(testset: Protocol, exact: Report) -> None:
    subjects = testset.subjects[:4]
    values = exact.results[0].values
    for part in ("left hand", "right hand", "face"):
        seen = {s.name for s in subjects if part in s.seen}
        assert set(values.get((f"PA-V2V {part}", SEEN), {})) == seen
        assert len(values[f"PA-V2V {part}", "renders"]) == 4
    truncations = {s.name: FROZEN.person(k).truncation for k, s in enumerate(subjects)}
    whole = {name for name, kind in truncations.items() if kind == "whole"}
    assert set(values["PA-V2V all", WHOLE]) == whole and set(values["PA-V2V all", CUT]) == set(truncations) - whole
    assert ("V2V all", WHOLE) not in values and ("PA-V2V body", SEEN) not in values


def test_fourteen_joints_end_with_the_head_joint(testset: Protocol) -> None:
    def raised(_: Subject, mesh: Mesh, joints: np.ndarray) -> Prediction:
        joints = joints.copy()
        joints[INDEX["head"], 1] -= 0.014
        return Prediction(mesh, joints, KEYPOINT_NAMES)

    report = evaluate(testset, [Known(raised)], Path("t"), limit=2)
    (values, _) = report.results[0].values["MPJPE body", "renders"].values()
    np.testing.assert_allclose(values, [0] * 13 + [14], atol=1e-2)


def test_a_mesh_alone_has_its_joints_regressed(testset: Protocol) -> None:
    report = evaluate(testset, [Known(lambda _, mesh, __: Prediction(mesh))], Path("t"), limit=1)
    values = report.results[0].values["MPJPE body", "renders"]
    assert 0 < max(v.mean() for v in values.values()) < 25  # of the posed mesh, so only about the posed joints


def test_another_body_model_is_measured_by_joints_and_surface(testset: Protocol) -> None:
    def sparse(_: Subject, mesh: Mesh, joints: np.ndarray) -> Prediction:
        kept = np.flatnonzero((mesh.faces < 9000).all(1))
        return Prediction(Mesh(mesh.vertices_m[:9000], mesh.faces[kept]), joints, KEYPOINT_NAMES)

    report = evaluate(testset, [Known(sparse)], Path("t"), limit=1)
    found = {metric for metric, _ in report.results[0].values}
    assert {"MPJPE body", "PA-MPJPE body", "PA-MPJPE left hand", "P2S mean"} <= found
    assert not [metric for metric in found if "V2V" in metric or "F-score" in metric]


def test_people_shards(tmp_path: Path) -> None:
    photos = make_photos("people", 10, size=(480, 400), people=2)
    write_shard(tmp_path / "people-0-00000.tar", Origin("people", 0, 0, body_digest(free_body())), photos)
    made = protocol(tmp_path, tables=TABLES)
    subject, other = made.subjects
    assert subject.name == "people-0-0000009-0" and isinstance(subject.image, bytes) and other.image is subject.image
    assert "split val: 2 people" in made.notes[0] and len(protocol(tmp_path, tables=TABLES, split="all").subjects) == 20
    report = evaluate(made, [moved()], tmp_path)
    assert means(report, "V2V all") == pytest.approx(0, abs=1e-2)
    assert ("PA-V2V all", WHOLE) not in report.results[0].values


def test_the_second_test_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = list(make_photos("people", 3, size=(960, 800), people=2))
    seen = np.full(144, VISIBLE, np.uint8)
    seen[LIMBS[:7]] = HIDDEN
    photos[1] = replace(photos[1], people=(photos[1].people[0], replace(photos[1].people[1], visibility=seen)))
    shift = np.full((144, 2), 600.0)
    near = replace(photos[2].people[0], keypoints_px=photos[2].people[0].keypoints_px + shift)
    photos[2] = replace(photos[2], people=(near, photos[2].people[1]))
    shard = tmp_path / f"people-{TEST_SEED}-00000.tar"
    write_shard(shard, Origin("people", TEST_SEED, 0, body_digest(free_body())), photos)
    with pytest.raises(InputError, match=r"test-v2\.npz.*synth --preset test-v2"):
        protocol(tmp_path, tables=TABLES)
    frozen = frozen_from(load_shards([shard]))
    monkeypatch.setattr("openexpose.data.synthetic.read_frozen", lambda _: frozen)
    made = protocol(tmp_path, tables=TABLES)
    assert [s.name for s in made.subjects] == [
        f"test-v2/{k}" for k in ("0000-0", "0000-1", "0001-0", "0002-0", "0002-1")
    ]
    assert made.title == "Renders: test-v2" and "5 people of the first 3 of 360 pictures" in made.notes[0]
    report = evaluate(made, [moved()], tmp_path)
    assert means(report, "V2V all") == pytest.approx(0, abs=1e-2)
    assert set(report.results[0].values["PA-V2V all", CUT]) >= {"test-v2/0002-0"}
    assert len(report.results[0].values["PA-V2V all", CUT] | report.results[0].values["PA-V2V all", WHOLE]) == 5
    with pytest.raises(InputError, match="the split 'val' of test-v2"):
        protocol(tmp_path, tables=TABLES, split="val")
    monkeypatch.setattr("openexpose.data.synthetic.read_frozen", lambda _: replace(frozen, pose=frozen.pose[::-1]))
    with pytest.raises(InputError, match=r"picture 0000 whose pose differs.*this is no longer test-v2"):
        protocol(tmp_path, tables=TABLES)


def test_bad_input_is_told(tmp_path: Path, testset: Protocol) -> None:
    with pytest.raises(InputError, match="without people shards"):
        protocol(tmp_path, tables=TABLES)
    (tmp_path / "images").mkdir()
    with pytest.raises(InputError, match="synth --preset test` again"):
        protocol(tmp_path, tables=TABLES)
    write_testset(tmp_path)
    with pytest.raises(InputError, match="the split 'val' of test-v1"):
        protocol(tmp_path, tables=TABLES, split="val")
    write_testset(tmp_path, betas=FROZEN.betas / 1e3 + 0.001)
    with pytest.raises(InputError, match=r"truth\.npz.*whose numbers are not test-v1's"):
        protocol(tmp_path, tables=TABLES)
    write_testset(tmp_path, count=0)
    with pytest.raises(InputError, match="without a rendered picture"):
        protocol(tmp_path, tables=TABLES)
    (tmp_path / "truth.npz").write_bytes(b"nothing")
    with pytest.raises(InputError, match="does not read as npz"):
        protocol(tmp_path, tables=TABLES)
    in_mm = Known(lambda _, mesh, joints: Prediction(replace(mesh, vertices_m=1000 * mesh.vertices_m)))
    with pytest.raises(InputError, match="--unit mm"):
        evaluate(testset, [in_mm], tmp_path, limit=1)
