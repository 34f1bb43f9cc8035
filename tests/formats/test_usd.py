"""USD files, opened and posed by usd-core's own UsdSkel."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pxr")

from pxr import Gf, Usd, UsdGeom, UsdSkel
from tests.body.toy import toy_model
from tests.formats.dancing import AXES, FPS, dance, dancer, freebody, true_joints, true_vertices

from openexpose.body.keypoints import JOINT_NAMES
from openexpose.body.part import part_surface
from openexpose.errors import InputError
from openexpose.formats.usd import write_usd
from openexpose.geometry.camera import project_perspective
from openexpose.motion import Clip, Motion, Track, still


def joints_of(stage: Usd.Stage, person: str, codes: np.ndarray) -> np.ndarray:
    """Places of the joints in the world [n, 55, 3] at time codes, found by UsdSkel."""
    cache = UsdSkel.Cache()
    cache.Populate(UsdSkel.Root.Get(stage, f"/clip/{person}"), Usd.PrimDefaultPredicate)
    query = cache.GetSkelQuery(UsdSkel.Skeleton.Get(stage, f"/clip/{person}/skeleton"))
    return np.array([[m.ExtractTranslation() for m in query.ComputeJointSkelTransforms(float(code))] for code in codes])


def points_of(stage: Usd.Stage, person: str, code: float) -> np.ndarray:
    """The skinned mesh at a time code; changes the stage."""
    root = UsdSkel.Root.Get(stage, f"/clip/{person}")
    assert UsdSkel.BakeSkinning(root, Gf.Interval(code, code))
    return np.array(UsdGeom.Mesh.Get(stage, f"/clip/{person}/mesh").GetPointsAttr().Get(code))


def test_joints_are_where_they_were_in_every_frame(tmp_path: Path) -> None:
    for model in (toy_model(), freebody()):
        motion = dance(model)
        write_usd(tmp_path / f"{model.name}.usdc", motion, model)
        stage = Usd.Stage.Open(str(tmp_path / f"{model.name}.usdc"))
        for track in motion.tracks:
            found = joints_of(stage, f"person_{track.id}", track.frames)
            np.testing.assert_allclose(found, true_joints(track.people, model), atol=1e-4)


def test_skinning_and_blending_give_the_mesh(tmp_path: Path) -> None:
    model = toy_model(pose_density=0.0)
    model = replace(model, joint_expression_dirs=0.0 * model.joint_expression_dirs)
    motion = dance(model)
    write_usd(tmp_path / "a.usdc", motion, model)
    for track in motion.tracks:
        truth = true_vertices(track.people, model)
        for row in (0, 3, 7):
            stage = Usd.Stage.Open(str(tmp_path / "a.usdc"))
            found = points_of(stage, f"person_{track.id}", float(track.frames[row]))
            np.testing.assert_allclose(found, truth[row], atol=1e-4)
            stage.Reload()


def test_a_photo_is_exact(tmp_path: Path) -> None:
    model = freebody()
    people = dancer(np.array([3, 8]), model)
    write_usd(tmp_path / "a.usdc", still(people, "a.jpg"), model)
    stage = Usd.Stage.Open(str(tmp_path / "a.usdc"))
    found = np.stack([points_of(stage, f"person_{k}", 0.0) for k in (1, 2)])
    np.testing.assert_allclose(found, true_vertices(people, model), atol=2e-5)


def test_what_the_stage_says_of_itself(tmp_path: Path) -> None:
    model = toy_model()
    write_usd(tmp_path / "a.usdc", dance(model), model)
    assert (tmp_path / "a.usdc").read_bytes().startswith(b"PXR-USDC")
    stage = Usd.Stage.Open(str(tmp_path / "a.usdc"))
    assert UsdGeom.GetStageUpAxis(stage) == "Y" and UsdGeom.GetStageMetersPerUnit(stage) == 1.0
    assert (stage.GetTimeCodesPerSecond(), stage.GetStartTimeCode(), stage.GetEndTimeCode()) == (FPS, 0.0, 19.0)
    skeleton = UsdSkel.Skeleton.Get(stage, "/clip/person_4/skeleton")
    assert tuple(joint.rsplit("/", 1)[-1] for joint in skeleton.GetJointsAttr().Get()) == JOINT_NAMES
    animation = UsdSkel.Animation.Get(stage, "/clip/person_4/animation")
    assert animation.GetRotationsAttr().GetTimeSamples() == list(range(5, 16))
    assert list(animation.GetBlendShapesAttr().Get())[:2] == ["expression_0_plus", "expression_0_minus"]
    bind = np.array([m.ExtractTranslation() for m in skeleton.GetBindTransformsAttr().Get()])
    rest = np.array([m.ExtractTranslation() for m in skeleton.GetRestTransformsAttr().Get()])
    np.testing.assert_allclose(rest[1:], (bind - bind[model.parents])[1:], atol=1e-6)


def test_usd_finds_no_fault(tmp_path: Path) -> None:
    validation = pytest.importorskip("pxr.UsdValidation")
    model = freebody()
    write_usd(tmp_path / "a.usdc", dance(model), model)
    registry = validation.ValidationRegistry()
    known = registry.GetOrLoadValidatorsByName([told.name for told in registry.GetAllValidatorMetadata()])
    assert len(known) > 10
    errors = validation.ValidationContext(known).Validate(Usd.Stage.Open(str(tmp_path / "a.usdc")))
    assert not [error.GetMessage() for error in errors]


def test_who_is_not_there_is_invisible(tmp_path: Path) -> None:
    model = toy_model()
    write_usd(tmp_path / "a.usdc", dance(model), model)
    stage = Usd.Stage.Open(str(tmp_path / "a.usdc"))
    seen = [UsdGeom.Imageable.Get(stage, "/clip/person_4").ComputeVisibility(float(code)) for code in range(20)]
    assert seen == ["invisible"] * 5 + ["inherited"] * 11 + ["invisible"] * 4
    assert UsdGeom.Imageable.Get(stage, "/clip/person_1").ComputeVisibility(0.0) == "inherited"
    root = UsdGeom.Xformable(stage.GetPrimAtPath("/clip/person_4"))
    sizes = [root.GetLocalTransformation(float(code)).GetRow3(0)[0] for code in range(20)]
    assert sizes == [0.0] * 5 + [1.0] * 11 + [0.0] * 4, "for programs that read no changing visibility"


def test_of_a_lone_part_only_that_is_shown(tmp_path: Path) -> None:
    model = freebody()
    people = replace(dancer(np.array([3]), model), part="right-hand")
    write_usd(tmp_path / "a.usdc", still(people, "a.jpg"), model)
    stage = Usd.Stage.Open(str(tmp_path / "a.usdc"))
    rows, faces = part_surface(model, "right-hand")
    mesh = UsdGeom.Mesh.Get(stage, "/clip/person_1/mesh")
    np.testing.assert_array_equal(np.reshape(mesh.GetFaceVertexIndicesAttr().Get(), (-1, 3)), faces)
    np.testing.assert_allclose(points_of(stage, "person_1", 0.0), true_vertices(people, model)[0, rows], atol=2e-5)


def test_the_camera_sees_what_the_photo_shows(tmp_path: Path) -> None:
    """Also with a principal point that is not the middle."""
    model = toy_model()
    clip = Clip("a.mp4", np.arange(20) / FPS, FPS)
    people = replace(dancer(np.arange(20), model), principal_px=np.array([300.0, 260.0]))
    write_usd(tmp_path / "a.usdc", Motion(clip, (Track(1, np.arange(20), people),)), model)
    stage = Usd.Stage.Open(str(tmp_path / "a.usdc"))
    frustum = UsdGeom.Camera.Get(stage, "/clip/camera").GetCamera(0.0).frustum
    matrix = np.array(frustum.ComputeViewMatrix() * frustum.ComputeProjectionMatrix())
    points = joints_of(stage, "person_1", np.zeros(1))[0]
    clipped = np.pad(points, ((0, 0), (0, 1)), constant_values=1.0) @ matrix
    pixels = (clipped[:, :2] / clipped[:, 3:] * (1, -1) + 1) / 2 * (640, 480)
    truth = project_perspective(points * AXES, people.focal_px, people.principal_px)
    np.testing.assert_allclose(pixels, truth, atol=1e-2)


def test_frames_between_codes_and_another_rate(tmp_path: Path) -> None:
    """A clip of varying frame rate: codes count from its start, whole or not."""
    model = toy_model()
    clip = Clip("a.mp4", np.array([0.0, 0.03, 0.1, 0.14, 0.3]), 20.0)
    frames = np.arange(1, 5)
    motion = Motion(clip, (Track(1, frames, dancer(frames, model)),))
    write_usd(tmp_path / "a.usdc", motion, model)
    stage = Usd.Stage.Open(str(tmp_path / "a.usdc"))
    codes = UsdSkel.Animation.Get(stage, "/clip/person_1/animation").GetRotationsAttr().GetTimeSamples()
    np.testing.assert_allclose(codes, 0.6 + np.arange(6), atol=1e-6)
    first = true_joints(motion.tracks[0].people[:1], model)
    np.testing.assert_allclose(joints_of(stage, "person_1", np.array([0.6])), first, atol=1e-4)


def test_nobody_and_bad_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = toy_model()
    write_usd(tmp_path / "a.usdc", Motion(Clip("a.mp4", np.zeros(1), FPS), ()), model)
    assert Usd.Stage.Open(str(tmp_path / "a.usdc")).GetDefaultPrim().GetName() == "clip"
    before = (tmp_path / "a.usdc").read_bytes()
    for call in (
        lambda: write_usd(tmp_path / "a.usdc", dance(freebody()), model),
        lambda: write_usd(tmp_path / "a.usdc", dance(model), model, fps=0.0),
        lambda: write_usd(tmp_path / "no" / "a.usdc", dance(model), model),
    ):
        with pytest.raises(InputError):
            call()
    assert (tmp_path / "a.usdc").read_bytes() == before and len(list(tmp_path.iterdir())) == 1
    monkeypatch.setattr("openexpose.formats.usd.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'openexpose\[usd\]'"):
        write_usd(tmp_path / "a.usdc", dance(model), model)
