"""The record of results: confidences between 0 and 1 where something was looked at, cameras that agree."""

from dataclasses import fields

import numpy as np
import pytest

from openexpose.body.keypoints import IBUG68, INDEX, LEFT_HAND21, PARTS, RIGHT_HAND21
from openexpose.body.mesh import keypoints
from openexpose.body.model import load_body_model
from openexpose.geometry.boxes import Crop
from openexpose.geometry.camera import project_perspective, project_weak, view_rotation
from openexpose.people import PART_NAMES, zero_pose
from openexpose.predict.bundle import Seen
from openexpose.predict.collect import Answer, collect, joint_confidence, nobody
from openexpose.predict.merge import FullCamera, Located
from openexpose.predict.parts import BODY, FACE, HAND, PartParameters, PartSpec

CAMERA = FullCamera(900.0, np.array([400.0, 300.0]))
COUNT = 3
FINE = ("left_hand", "right_hand", "face")
MODEL = load_body_model()


def answer(
    spec: PartSpec, presence: object = (0.2, 0.6, 1.0), mirrored: bool = False, visibility: float = 1.0
) -> Answer:
    rng = np.random.default_rng(4)
    landmarks = {"body": 39, "hand": 21, "face": 478}[spec.name]
    seen = Seen(
        rng.normal(size=(COUNT, 2)),
        rng.normal(size=(COUNT, landmarks, 3)),
        visibility * rng.uniform(size=(COUNT, landmarks)),
        None,
        np.array(presence),
    )
    weak = np.concatenate([rng.uniform(0.5, 2, (COUNT, 1)), rng.normal(0, 0.2, (COUNT, 2))], 1)
    crop = Crop(rng.uniform(0, 600, (COUNT, 2)), rng.uniform(50, 300, COUNT), np.array([0.0, 0.7, -2.0]), mirrored)
    parameters = PartParameters(zero_pose(COUNT), rng.normal(size=(COUNT, 10)), np.zeros((COUNT, 20)), weak)
    return Answer(spec, crop, seen, parameters)


def record(of: Answer, presences: dict[str, np.ndarray]):
    placed = Located(zero_pose(COUNT), np.tile([0.0, 0.0, 3.0], (COUNT, 1)))
    return collect(MODEL, np.tile([0.0, 0.0, 9.0, 9.0], (COUNT, 1)), CAMERA, (800, 600), of, placed, presences)


@pytest.mark.parametrize("overshoot", [1.0, 1.3], ids=["probabilities", "a trunk that overshoots"])
def test_confidences_lie_between_0_and_1(overshoot: float) -> None:
    presence = {name: overshoot * np.array([0.0, 0.4, 1.0]) for name in FINE}
    people = record(answer(BODY, overshoot * np.array([0.1, 0.9, 1.0]), visibility=overshoot), presence)
    for confidence in (people.joint_confidence, people.part_confidence, people.score[:, None]):
        assert confidence.min() >= 0 and confidence.max() <= 1 and confidence.shape[0] == COUNT


def test_a_hand_or_face_that_was_not_seen_has_no_confidence() -> None:
    nothing = {name: np.zeros(COUNT) for name in FINE}
    without, blind = (joint_confidence(answer(BODY), presences) for presences in ({}, nothing))
    for name in FINE:
        fine = PARTS[name] if name == "face" else PARTS[name][1:]
        assert (blind[:, fine] == 0).all() and (without[:, fine] > 0).all()
    rest = np.setdiff1d(
        np.arange(144), np.concatenate([PARTS["face"], PARTS["left_hand"][1:], PARTS["right_hand"][1:]])
    )
    np.testing.assert_array_equal(blind[:, rest], without[:, rest])
    everything = {name: np.ones(COUNT) for name in FINE}
    np.testing.assert_array_equal(joint_confidence(answer(BODY), everything), without)


def test_confidence_grows_with_presence() -> None:
    few, many = (joint_confidence(answer(BODY, np.full(COUNT, presence)), {}) for presence in (0.3, 0.9))
    np.testing.assert_allclose(few, many / 3)


@pytest.mark.parametrize(("spec", "name"), [(HAND, "left_hand"), (HAND, "right_hand"), (FACE, "face")])
def test_a_lone_part_gives_confidence_to_its_own_joints_only(spec: PartSpec, name: str) -> None:
    presence = np.array([0.2, 0.6, 1.0])
    people = record(answer(spec, presence, name == "left_hand"), {name: presence})
    own = np.isin(np.arange(144), PARTS["head" if name == "face" else name])
    np.testing.assert_allclose(people.joint_confidence[:, own], np.repeat(presence[:, None], own.sum(), 1))
    assert (people.joint_confidence[:, ~own] == 0).all()
    np.testing.assert_allclose(people.part_confidence, presence[:, None] * (np.array(PART_NAMES) == name))


def test_part_confidence_is_presence_or_without_a_closer_look_that_of_wrists_and_nose() -> None:
    presences = {"face": np.array([0.1, 0.2, 0.3])}
    people = record(answer(BODY), presences)
    np.testing.assert_allclose(people.part_confidence[:, 0], [0.2, 0.6, 1.0])
    np.testing.assert_allclose(people.part_confidence[:, 3], presences["face"])
    for column, wrist in ((1, "left_wrist"), (2, "right_wrist")):
        np.testing.assert_allclose(people.part_confidence[:, column], people.joint_confidence[:, INDEX[wrist]])


@pytest.mark.parametrize(("spec", "root", "points"), [
    (BODY, "pelvis", np.arange(22)), (HAND, "right_wrist", RIGHT_HAND21), (HAND, "left_wrist", LEFT_HAND21),
    (FACE, "head", IBUG68),
])  # fmt: skip
def test_the_weak_camera_shows_the_result_where_the_pinhole_camera_does(spec, root, points) -> None:
    """Far away the two agree; the axes are those of a camera that points at the crop's centre, turned upright."""
    far = FullCamera(90_000.0, np.array([400.0, 300.0]))
    of = answer(spec, mirrored=root.startswith("left"))
    placed = Located(zero_pose(COUNT), np.array([[0.0, 0.0, 300.0], [0.3, -0.2, 250.0], [-0.4, 0.1, 400.0]]))
    people = collect(MODEL, np.zeros((COUNT, 4)), far, (800, 600), of, placed, {})
    posed = keypoints(MODEL, people.pose, people.betas, people.expression) + people.transl[:, None]
    upright = Crop(people.crop_centre_px, people.crop_side_px, np.zeros(COUNT))
    from_root = (posed[:, points] - posed[:, [INDEX[root]]]) @ view_rotation(upright, far.focal_px, far.principal_px)
    weak = upright.to_image(project_weak(from_root, people.crop_camera))
    pinhole = project_perspective(posed[:, points], far.focal_px, far.principal_px)
    np.testing.assert_allclose(weak, pinhole, atol=0.01 * np.ptp(pinhole, axis=1).max())


def test_nobody() -> None:
    none, some = nobody(CAMERA, (800, 600)), record(answer(BODY), {})
    assert len(none) == 0 and (none.focal_px, none.image_size) == (900.0, (800, 600))
    np.testing.assert_array_equal(none.principal_px, CAMERA.principal_px)
    for field in fields(none):
        empty, full = getattr(none, field.name), getattr(some, field.name)
        if isinstance(full, np.ndarray) and field.name != "principal_px":
            assert empty.shape == (0, *full.shape[1:]), field.name
        else:
            assert type(empty) is type(full)
