"""Answers from a folder: which file is about whom."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.evaluation.files.fixtures import (
    BOXES,
    CANONICAL,
    FLIP,
    JOINTS,
    NAMES,
    TABLES,
    answer,
    joints_file,
    mesh_file,
    posed,
    smplx,
    subject,
)

from openexpose.body.keypoints import INDEX
from openexpose.errors import InputError
from openexpose.evaluation.files.folder import FolderSystem
from openexpose.evaluation.record import Subject


def test_sizes_far_from_the_truth_are_refused(tmp_path: Path) -> None:
    joints_file(tmp_path / "list.json", JOINTS)
    known = subject(joints_m=JOINTS / 1000, joint_names=CANONICAL)
    with pytest.raises(InputError, match="millimetres"):
        answer(tmp_path, asked=known)
    assert answer(tmp_path, asked=replace(known, joints_m=JOINTS * 1.5)) is not None


def test_one_file_for_all_goes_first(tmp_path: Path) -> None:
    joints_file(tmp_path / "list.json", JOINTS)
    vertices = np.stack([posed(smplx()).vertices[k % 2] + k for k in range(3)])
    stack = np.stack([JOINTS, JOINTS + 1, JOINTS + 2])
    keypoints = np.random.default_rng(5).uniform(0, 99, (3, len(NAMES), 2))
    arrays = {"joints": stack, "vertices": vertices, "faces": smplx().faces, "keypoints_2d": keypoints}
    names = ["a.jpg", "set/b", "stranger"]
    np.savez(tmp_path / "predictions.npz", names=names, joint_names=NAMES, seconds=[1.0, 2, 3], **arrays)
    system = FolderSystem(tmp_path, tables=TABLES)
    asked = [subject(), subject("set/b", None), subject("set/c", None)]
    system.prepare(asked)
    first, second, third = (system(one) for one in asked)
    assert first is not None and second is not None and third is None
    for k, got in enumerate((first, second)):
        assert got.mesh is not None and got.keypoints_px is not None and got.seconds == k + 1
        np.testing.assert_allclose(got.joints_m, stack[k])
        np.testing.assert_allclose(got.mesh.vertices_m, vertices[k], atol=1e-6)
        np.testing.assert_allclose(got.keypoints_px[INDEX["nose"]], keypoints[k, 4])
        assert np.isfinite(got.keypoints_px).all(1).sum() == 6  # without head_top
    assert any("1 predictions belong to none" in note for note in system.notes)


def test_one_file_for_all_must_have_a_row_a_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "predictions.npz", names=["a", "b"], joints=JOINTS[None], joint_names=NAMES)
    with pytest.raises(InputError, match=r"'predictions.npz'.*one row"):
        FolderSystem(tmp_path, tables=TABLES)


def test_subjects_without_a_file_and_files_without_a_subject(tmp_path: Path) -> None:
    joints_file(tmp_path / "list.json", JOINTS)
    (tmp_path / "other.json").write_text("{}")
    (tmp_path / "notes.txt").write_text("no prediction")
    system = FolderSystem(tmp_path, tables=TABLES)
    asked = [subject(), subject("set/b", "pictures/b.jpg")]
    system.prepare(asked)
    assert system(asked[0]) is not None and system(asked[1]) is None
    assert any("1 predictions belong to none" in note for note in system.notes)
    with pytest.raises(InputError, match=r"'a.json'.*'q.obj' for 'set/q'"):
        FolderSystem(tmp_path, tables=TABLES).prepare([subject("set/q", "pictures/q.jpg")])


@pytest.mark.parametrize("make", [lambda path: path, lambda path: path / "missing"])
def test_folders_without_predictions(tmp_path: Path, make: object) -> None:
    with pytest.raises(InputError, match="predictions"):
        FolderSystem(make(tmp_path), tables=TABLES)  # type: ignore[operator]


def test_pictures_that_are_no_files_go_by_the_subjects_name(tmp_path: Path) -> None:
    joints_file(tmp_path / "list.json", JOINTS)
    asked = Subject("test/a", "test", image=b"JPEG")
    assert FolderSystem(tmp_path, tables=TABLES)(asked) is not None


def numbered_people(folder: Path, *, boxes: bool) -> None:
    """Three people of picture a: boxes 0 and 1 the other way round, and a stranger."""
    for k, box in enumerate([BOXES[1] + 2, BOXES[0] - 4, BOXES[0] + 9]):
        more = {"bbox_xyxy": box.tolist()} if boxes else {}
        document = {"joint_names": NAMES, "joints": (JOINTS + k).tolist(), **more}
        (folder / f"a_{k:03d}.json").write_text(json.dumps(document))


def test_people_of_a_picture_are_shared_out_by_boxes(tmp_path: Path) -> None:
    numbered_people(tmp_path, boxes=True)
    system = FolderSystem(tmp_path, tables=TABLES)
    boxes = [*BOXES, np.array([500.0, 10, 550, 90])]
    asked = [subject(f"set/a/{k}", box_xyxy_px=box.astype(float)) for k, box in enumerate(boxes)]
    system.prepare(asked)
    first, second, third = (system(one) for one in asked)
    assert first is not None and second is not None and third is None
    np.testing.assert_allclose(first.joints_m, JOINTS + 1)
    np.testing.assert_allclose(second.joints_m, JOINTS)
    again = system(asked[0])
    assert again is not None
    np.testing.assert_array_equal(again.joints_m, first.joints_m)


def test_boxes_may_come_from_2d_keypoints(tmp_path: Path) -> None:
    corners = [np.stack([box[:2], box[2:], (box[:2] + box[2:]) / 2]) for box in BOXES]
    document = {"people": [{"joints": dict(zip(NAMES, JOINTS.tolist(), strict=True))} for _ in BOXES]}
    for person, points in zip(document["people"], corners, strict=True):
        person["joints_2d"] = dict(zip(["nose", "left_ankle", "pelvis"], points.tolist(), strict=True))
    (tmp_path / "a.json").write_text(json.dumps(document))
    got = answer(tmp_path, asked=subject(box_xyxy_px=BOXES[1].astype(float)))
    assert got.keypoints_px is not None
    np.testing.assert_allclose(got.keypoints_px[INDEX["pelvis"]], corners[1][2])


def test_people_without_boxes_are_taken_by_number_only_if_the_subject_is_alone(tmp_path: Path) -> None:
    numbered_people(tmp_path, boxes=False)
    np.testing.assert_allclose(answer(tmp_path).joints_m, JOINTS)
    asked = [subject(f"set/a/{k}", box_xyxy_px=box.astype(float)) for k, box in enumerate(BOXES)]
    system = FolderSystem(tmp_path, tables=TABLES)
    system.prepare(asked)
    with pytest.raises(InputError, match="whole names"):
        system(asked[1])
    unmatched = FolderSystem(tmp_path, tables=TABLES)
    assert unmatched(asked[0]) is not None
    with pytest.raises(InputError, match=r"'a_000.json'.*several subjects"):
        unmatched(asked[1])


def test_whole_names_answer_for_one_person(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for k in range(2):
        document = {"joint_names": NAMES, "joints": (JOINTS + k).tolist()}
        (tmp_path / "a" / f"{k}.json").write_text(json.dumps(document))
    asked = [subject(f"set/a/{k}") for k in range(2)]
    system = FolderSystem(tmp_path, tables=TABLES)
    system.prepare(asked)
    for k, one in enumerate(asked):
        got = system(one)
        assert got is not None
        np.testing.assert_allclose(got.joints_m, JOINTS + k)


def test_folders_tell_pictures_of_one_name_apart(tmp_path: Path) -> None:
    asked = [subject(f"set/{place}/a/0", f"pictures/{place}/a.jpg") for place in ("street", "lawn", "pool")]
    for k, place in enumerate(("street", "lawn")):
        (tmp_path / place).mkdir()
        joints_file(tmp_path / place / "list.json", JOINTS + k)
    system = FolderSystem(tmp_path, tables=TABLES)
    system.prepare(asked)
    street, lawn, pool = (system(one) for one in asked)
    assert street is not None and lawn is not None
    np.testing.assert_allclose(lawn.joints_m, JOINTS + 1)
    assert pool is None


def test_two_files_for_one_person_and_one_file_for_two_pictures_are_refused(tmp_path: Path) -> None:
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
        joints_file(tmp_path / place / "list.json", JOINTS)
    with pytest.raises(InputError, match=r"'one/a.json' and 'two/a.json'"):
        answer(tmp_path)
    system = FolderSystem(tmp_path / "one", tables=TABLES)
    asked = [subject(f"set/{place}/a", f"pictures/{place}/a.jpg") for place in ("street", "lawn")]
    system.prepare(asked)
    for one in asked:
        with pytest.raises(InputError, match="fits several pictures"):
            system(one)


def test_axes_with_y_up_are_told(tmp_path: Path) -> None:
    joints_file(tmp_path / "list.json", JOINTS * FLIP)
    system = FolderSystem(tmp_path, tables=TABLES)
    assert system(subject(joints_m=JOINTS, joint_names=CANONICAL)) is not None
    assert any("1 predictions stand on their heads" in note for note in system.notes)
    joints_file(tmp_path / "list.json", JOINTS)
    assert system(subject("set/a", joints_m=JOINTS, joint_names=CANONICAL)) is not None


def test_preferred_formats(tmp_path: Path) -> None:
    vertices = posed(smplx()).vertices[0].astype(float)
    joints_file(tmp_path / "list.json", JOINTS)
    order = ["a.json", "a.obj", "a.ply", "a.npz", "a_params.npz"]
    mesh_file(tmp_path / "a.obj", vertices + 1, smplx().faces)
    mesh_file(tmp_path / "a.ply", vertices + 2, smplx().faces)
    np.savez(tmp_path / "a.npz", vertices=vertices + 3)
    np.savez(tmp_path / "a_params.npz", vertices=vertices + 4)
    for k in range(4, 0, -1):
        got = answer(tmp_path)
        assert got.mesh is not None
        np.testing.assert_allclose(got.mesh.vertices_m, vertices + k, atol=1e-5)
        (tmp_path / order[k]).unlink()
    assert answer(tmp_path).mesh is None
