"""ExPose's npz, read back by the reader of ExPose's own files."""

from pathlib import Path

import numpy as np

from openexpose.body.mesh import posed_mesh
from openexpose.body.model import BodyModel
from openexpose.evaluation.files.bodies import Bodies
from openexpose.evaluation.files.read import Kind, read_answers
from openexpose.evaluation.tables import Tables
from openexpose.formats.export import export
from openexpose.geometry.camera import project_perspective
from openexpose.motion import Motion, still

AXES = {"global_orient": 1, "body_pose": 21, "jaw_pose": 1, "left_hand_pose": 15, "right_hand_pose": 15}


def test_the_reader_of_exposes_files_finds_the_same_body(tmp_path: Path, motion: Motion, body: BodyModel) -> None:
    paths = export(motion, "expose", tmp_path, "walk", body)
    assert len(paths) == 9
    assert paths[0].relative_to(tmp_path).as_posix() == "walk_expose/walk_000000.png_000/walk_000000.png_params.npz"
    assert paths[6].parent.name == "walk_000002.png_001", "the second person of the frame"
    people = motion.tracks[1].people
    posed = posed_mesh(body, people.pose, people.betas, people.expression)
    for k, path in enumerate(paths[6:]):
        (read,) = read_answers(path, Kind.EXPOSE, scale=1.0, bodies=Bodies(Tables()))
        np.testing.assert_allclose(read.mesh.vertices_m, posed.vertices[k] + people.transl[k], atol=1e-5)
        np.testing.assert_allclose(read.joints_m, posed.joints[k] + people.transl[k], atol=1e-5)


def test_keys_and_shapes_are_exposes(tmp_path: Path, motion: Motion, body: BodyModel) -> None:
    (path, _) = export(still(motion.tracks[0].people[:2], "a.jpg"), "expose", tmp_path, "a", body)
    assert path == tmp_path / "a.png_000" / "a.png_params.npz"
    people = motion.tracks[0].people
    with np.load(path, allow_pickle=False) as npz:
        arrays = dict(npz)
    for name, count in AXES.items():
        assert arrays[name].shape == (count, 3, 3)
    np.testing.assert_array_equal(arrays["left_hand_pose"], people.pose[0, 25:40])
    shapes = {
        "vertices": body.v_template.shape,
        "joints": (144, 3),
        "proj_joints": (144, 2),
        "transl": (3,),
        "center": (2,),
    }
    assert {name: arrays[name].shape for name in shapes} == shapes
    seen = arrays["joints"] + arrays["transl"]
    pixels = arrays["center"] + arrays["focal_length_in_px"] * seen[:, :2] / seen[:, 2:]
    np.testing.assert_allclose(pixels, project_perspective(seen, 700.0, np.array([320.0, 240.0])), atol=1e-3)
    inside = people.crop_centre_px[0] + arrays["proj_joints"] * people.crop_side_px[0] / 2
    np.testing.assert_allclose(inside, pixels, atol=0.01)
    assert float(arrays["focal_length_in_mm"]) == 700 / 640 * 36
    assert float(arrays["shift_x"]) == float(arrays["shift_y"]) == 0.0
