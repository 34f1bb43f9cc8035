"""Known changes of a known body give known errors."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from tests.data.people import Person, body_model, people
from tests.evaluation import smplx_files as made

from openexpose.body.keypoints import INDEX, KEYPOINT_NAMES, LEFT_HAND21
from openexpose.errors import InputError
from openexpose.evaluation.protocols.whole import (
    LIMBS12_NAMES,
    WHOLE_METRICS,
    Truth,
    body_joints,
    choose_metrics,
    measure_whole,
)
from openexpose.evaluation.record import Mesh, Prediction, Values
from openexpose.evaluation.tables import LSP14_NAMES, SETS, Tables
from openexpose.geometry.rotation import rotvec_to_matrix

NO_FACES = np.zeros((0, 3), int)
ROTATION = rotvec_to_matrix(np.array([0.3, -0.2, 0.5]))
QUICK = tuple(metric for metric in WHOLE_METRICS if not metric.name.startswith("P2S"))
HEAD_TOP = (*KEYPOINT_NAMES, "head_top")


@cache
def person() -> Person:
    return people(1, seed=4)[0]


def truth() -> Truth:
    someone = person()
    return Truth(Mesh(someone.vertices_m.astype(float), body_model().faces), someone.points_m, KEYPOINT_NAMES)


def moved(scale: float, rotation: np.ndarray, offset: np.ndarray) -> Prediction:
    """The true body after a similarity."""
    true = truth()
    assert true.mesh is not None and true.joints_m is not None
    vertices, joints = (scale * points @ rotation.T + offset for points in (true.mesh.vertices_m, true.joints_m))
    return Prediction(Mesh(vertices, true.mesh.faces), joints, KEYPOINT_NAMES)


def measured(prediction: Prediction, true: Truth | None = None, tables: Tables | None = None) -> Values:
    return measure_whole(true or truth(), prediction, tables or Tables(), QUICK)


def test_every_metric_is_named_once_and_says_how() -> None:
    names = [metric.name for metric in WHOLE_METRICS]
    assert len(set(names)) == len(names) and all(metric.how.endswith(".") for metric in WHOLE_METRICS)
    assert [metric.name for metric in choose_metrics("PVE", "V2V all")] == ["PVE", "V2V all"]


def test_the_truth_itself_has_no_error() -> None:
    values = measure_whole(truth(), moved(1.0, np.eye(3), np.zeros(3)), Tables())
    elsewhere = ("MPJPE body", ", ICP")  # need what this truth lacks; stand in where nothing corresponds
    assert set(values) == {metric.name for metric in WHOLE_METRICS if not metric.name.endswith(elsewhere)}
    for metric in WHOLE_METRICS:
        if metric.name in values:
            assert values[metric.name].shape == (len(metric.entries) or 1,)
            expected = 1.0 if metric.name.startswith("F-score") else 0.0
            np.testing.assert_allclose(values[metric.name], expected, atol=1e-6)


def test_a_similarity_is_no_error_after_alignment() -> None:
    values = measure_whole(truth(), moved(1.3, ROTATION, np.array([0.2, 0.1, 4.0])), Tables())
    for name, value in values.items():
        if name.startswith(("PA-", "P2S")):
            np.testing.assert_allclose(value, 0.0, atol=1e-6)
        elif name.startswith("F-score"):
            np.testing.assert_allclose(value, 1.0)
        else:
            assert value.mean() > 10.0, name


def test_an_offset_is_what_unaligned_vertices_see() -> None:
    values = measured(moved(1.0, np.eye(3), np.array([0.03, 0.0, -0.04])))
    for name in SETS:
        np.testing.assert_allclose(values[f"V2V {name}"], 50.0)
    for name in ("MPJPE 12 limb joints", "PVE", "TR-V2V"):
        np.testing.assert_allclose(values[name], 0.0, atol=1e-6)


def test_scale_stays_in_what_is_only_moved() -> None:
    true = truth()
    assert true.mesh is not None and true.joints_m is not None
    values = measured(moved(1.1, np.eye(3), np.zeros(3)))
    vertices, pelvis = true.mesh.vertices_m, true.joints_m[INDEX["pelvis"]]
    np.testing.assert_allclose(values["PVE"], 100.0 * np.linalg.norm(vertices - pelvis, axis=1).mean(), rtol=1e-5)
    from_mean = np.linalg.norm(vertices - vertices.mean(0), axis=1).mean()
    np.testing.assert_allclose(values["TR-V2V"], 100.0 * from_mean, rtol=1e-5)
    hips = true.joints_m[[INDEX["left_hip"], INDEX["right_hip"]]].mean(0)
    joints = true.joints_m[[INDEX[name] for name in LIMBS12_NAMES]]
    expected = 100.0 * np.linalg.norm(joints - hips, axis=1)
    np.testing.assert_allclose(values["MPJPE 12 limb joints"], expected, rtol=1e-5)


def test_an_error_of_one_part_stays_in_its_sets() -> None:
    prediction = moved(1.0, np.eye(3), np.zeros(3))
    assert prediction.mesh is not None and prediction.joints_m is not None
    sets = Tables().vertex_sets("freebody")
    assert sets is not None
    vertices, joints = prediction.mesh.vertices_m.copy(), prediction.joints_m.copy()
    rng = np.random.default_rng(1)
    vertices[sets["left hand"]] += rng.normal(size=(len(sets["left hand"]), 3)) * 0.004
    joints[LEFT_HAND21[1:]] += rng.normal(size=(20, 3)) * 0.004
    values = measured(replace(prediction, mesh=Mesh(vertices, prediction.mesh.faces), joints_m=joints))
    for name in ("PA-V2V left hand", "PA-MPJPE left hand", "V2V left hand"):
        assert 3.0 < values[name].mean() < 8.0
    assert values["F-score 5 mm hands"][0] < 1.0 and values["F-score 5 mm hands"][1] == 1.0
    for name in ("PA-V2V right hand", "PA-V2V face", "PA-V2V body", "MPJPE 12 limb joints", "PA-MPJPE right hand"):
        np.testing.assert_allclose(values[name], 0.0, atol=1e-6)


def test_a_mirrored_body_keeps_its_error() -> None:
    true = truth()
    assert true.mesh is not None
    values = measured(Prediction(Mesh(true.mesh.vertices_m * [-1.0, 1.0, 1.0], true.mesh.faces)))
    assert values["PA-V2V all"] > 20.0


def test_fourteen_joints_need_the_top_of_the_head_on_both_sides() -> None:
    true, prediction = truth(), moved(1.0, np.eye(3), np.ones(3))
    assert true.joints_m is not None and prediction.joints_m is not None
    top = np.array([[0.0, -0.6, 3.0]])
    full = replace(true, joints_m=np.concatenate([true.joints_m, top]), joint_names=HEAD_TOP)
    other = replace(prediction, joints_m=np.concatenate([prediction.joints_m, top + 1.0]), joint_names=HEAD_TOP)
    values = measured(other, full)
    np.testing.assert_allclose(values["MPJPE body"], np.zeros(14), atol=1e-6)
    assert "MPJPE 12 limb joints" not in values
    assert "MPJPE body" not in measured(prediction, full) and "MPJPE body" not in measured(other, true)
    given = replace(true, joints14_m=full.joints_m[[HEAD_TOP.index(name) for name in LSP14_NAMES]])
    np.testing.assert_allclose(measured(other, given)["MPJPE body"], np.zeros(14), atol=1e-6)
    pair = body_joints(full, other, Tables())
    assert pair is not None and len(pair[0]) == 14


def test_joints_of_smplx_meshes_come_from_the_tables(tmp_path: Path) -> None:
    j14 = made.write_tables(tmp_path)
    tables = Tables.read(tmp_path)
    a, b = made.cloud(1), made.cloud(2)
    values = measure_whole(Truth(Mesh(a, made.strip())), Prediction(Mesh(b, made.strip())), tables, QUICK)
    left, right = ((points - points[[2, 3]].mean(0)) for points in (j14 @ a, j14 @ b))
    np.testing.assert_allclose(values["MPJPE body"], 1000.0 * np.linalg.norm(left - right, axis=1))
    for name, rows in made.SETS.items():
        np.testing.assert_allclose(values[f"V2V {name}"], 1000.0 * np.linalg.norm(a - b, axis=1)[rows].mean())


def test_joints_alone_are_measured() -> None:
    prediction = moved(1.2, ROTATION, np.zeros(3))
    values = measured(replace(prediction, mesh=None))
    assert set(values) == {
        *(f"{kind} 12 limb joints" for kind in ("MPJPE", "PA-MPJPE")),
        *(f"PA-MPJPE {side} hand" for side in ("left", "right")),
    }
    np.testing.assert_allclose(values["PA-MPJPE left hand"], 0.0, atol=1e-6)


@pytest.mark.parametrize("extra", [0, 7])
def test_a_shuffled_mesh_still_lies_on_the_surface(extra: int) -> None:
    prediction = moved(0.8, ROTATION, np.ones(3))
    assert prediction.mesh is not None
    vertices = np.concatenate([prediction.mesh.vertices_m, prediction.mesh.vertices_m[:extra]])
    order = np.random.default_rng(3).permutation(len(vertices))
    shuffled = Mesh(vertices[order], np.argsort(order)[prediction.mesh.faces])
    values = measure_whole(truth(), replace(prediction, mesh=shuffled), Tables())
    np.testing.assert_allclose(values["P2S mean"], 0.0, atol=1e-6)
    np.testing.assert_allclose(values["P2S median"], 0.0, atol=1e-6)
    assert not any("V2V" in name or name == "PVE" for name in values)


@pytest.mark.parametrize("extra", [0, 7])
def test_a_bare_mesh_of_an_unknown_body_is_laid_on_the_truth_by_its_surface(extra: int) -> None:
    turn = rotvec_to_matrix(np.array([0.1, -0.15, 0.05]))
    prediction = moved(1.2, turn, np.array([0.3, -0.2, 2.0]))
    assert prediction.mesh is not None
    vertices = np.concatenate([prediction.mesh.vertices_m, prediction.mesh.vertices_m[: 7 + extra]])  # not freebody's
    values = measure_whole(truth(), Prediction(Mesh(vertices, prediction.mesh.faces)), Tables())
    assert set(values) == {"P2S mean, ICP", "P2S median, ICP"}
    assert values["P2S mean, ICP"] < 1.0


def test_an_identical_correspondence_gives_the_same_numbers(tmp_path: Path) -> None:
    prediction = people(2, seed=4)[1]
    mesh = Mesh(prediction.vertices_m.astype(float), body_model().faces)
    count = len(mesh.vertices_m)
    longer = Mesh(np.concatenate([mesh.vertices_m, mesh.vertices_m[-1:]]), mesh.faces)
    path = tmp_path / "map.npz"
    np.savez(path, indices=np.arange(count)[:, None], weights=np.ones((count, 1)), source=count + 1, target="freebody")
    tables = Tables.read(correspondence=path)
    names, joints = KEYPOINT_NAMES, prediction.points_m
    direct = measure_whole(truth(), Prediction(mesh, joints, names), tables, QUICK)
    through = measure_whole(truth(), Prediction(longer, joints, names), tables, QUICK)
    assert set(direct) == set(through)
    for name, value in direct.items():
        np.testing.assert_allclose(through[name], value, rtol=1e-9)


def test_joints_with_an_origin_of_their_own_do_not_align_the_mesh() -> None:
    true, prediction = truth(), moved(1.0, np.eye(3), np.array([0.0, 0.0, 1.0]))
    assert true.joints_m is not None
    elsewhere = replace(true, joints_m=true.joints_m - true.joints_m[0], together=False)
    values = measured(prediction, elsewhere)
    np.testing.assert_allclose(values["PVE"], 0.0, atol=5.0)  # by the regressed pelvis
    np.testing.assert_allclose(values["MPJPE 12 limb joints"], 0.0, atol=1e-6)


@pytest.mark.parametrize("joints", [True, False])
@pytest.mark.parametrize("factor", [1000.0, 0.001])
def test_millimetres_are_refused_with_the_remedy(joints: bool, factor: float) -> None:
    prediction = moved(factor, np.eye(3), np.zeros(3))
    with pytest.raises(InputError, match="--unit mm"):
        measured(replace(prediction, mesh=None) if joints else replace(prediction, joints_m=None, joint_names=()))


def test_nothing_in_common_is_told() -> None:
    cloud = Mesh(made.cloud(0, 50), NO_FACES)
    with pytest.raises(InputError, match="--correspondence"):
        measured(Prediction(joints_m=np.zeros((1, 3)), joint_names=("nose",)))
    with pytest.raises(InputError, match="nothing in common"):
        measured(Prediction(cloud))


def test_unaligned_distances_say_what_they_are() -> None:
    by_name = {metric.name: metric.how for metric in WHOLE_METRICS}
    assert all("distance from the camera" in by_name[f"V2V {name}"] for name in made.SETS)
