"""Animated GLB files, read by pygltflib and posed by skinning written here anew."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pygltflib = pytest.importorskip("pygltflib")

from tests.body.toy import toy_model  # noqa: E402
from tests.formats.dancing import AXES, FPS, dance, dancer, freebody, true_joints, true_vertices  # noqa: E402

from openexpose.body.keypoints import JOINT_NAMES  # noqa: E402
from openexpose.body.model import BodyModel  # noqa: E402
from openexpose.body.part import part_surface  # noqa: E402
from openexpose.errors import InputError  # noqa: E402
from openexpose.formats.animated_glb import write_animated_glb  # noqa: E402
from openexpose.geometry.camera import project_perspective  # noqa: E402
from openexpose.motion import Clip, Motion, still  # noqa: E402

_NUMPY = {5121: np.uint8, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}
_COLUMNS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}


class Reader:
    """A GLB file after the specification: arrays, node transforms at any time, skinning."""

    def __init__(self, path: Path) -> None:
        self.file = pygltflib.GLTF2().load(path)
        self.blob = self.file.binary_blob()
        self.channels = {
            (channel.target.node, channel.target.path): animation.samplers[channel.sampler]
            for animation in self.file.animations
            for channel in animation.channels
        }

    def raw(self, view: int, dtype: type, count: int, columns: int) -> np.ndarray:
        start = self.file.bufferViews[view].byteOffset
        return np.frombuffer(self.blob, dtype, count * columns, start).reshape(count, columns)

    def array(self, accessor: int) -> np.ndarray:
        told = self.file.accessors[accessor]
        dtype, columns = _NUMPY[told.componentType], _COLUMNS[told.type]
        if told.bufferView is not None:
            return self.raw(told.bufferView, dtype, told.count, columns)
        values, sparse = np.zeros((told.count, columns), dtype), told.sparse
        rows = self.raw(sparse.indices.bufferView, _NUMPY[sparse.indices.componentType], sparse.count, 1)[:, 0]
        values[rows] = self.raw(sparse.values.bufferView, dtype, sparse.count, columns)
        return values

    def node(self, name: str) -> int:
        return next(k for k, node in enumerate(self.file.nodes) if node.name == name)

    def value(self, node: int, path: str, time_s: float, at_rest: object) -> np.ndarray:
        """A node's quantity at the time of a key or, for steps, at any time."""
        sampler = self.channels.get((node, path))
        if sampler is None:
            return np.array(at_rest, float)
        keys = self.array(sampler.input)[:, 0]
        values = self.array(sampler.output).reshape(len(keys), -1)
        if sampler.interpolation == "STEP":
            return values[max(np.searchsorted(keys, time_s + 1e-6, side="right") - 1, 0)]
        key = np.abs(keys - time_s).argmin()
        assert abs(keys[key] - time_s) < 1e-5, "the file has a key at this frame"
        return values[key]

    def local(self, number: int, time_s: float) -> np.ndarray:
        node = self.file.nodes[number]
        matrix = np.eye(4)
        matrix[:3, 3] = self.value(number, "translation", time_s, node.translation or [0, 0, 0])
        x, y, z, w = self.value(number, "rotation", time_s, node.rotation or [0, 0, 0, 1])
        matrix[:3, :3] = [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
        matrix[:3, :3] *= self.value(number, "scale", time_s, node.scale or [1, 1, 1])
        return matrix

    def world(self, root: int, time_s: float) -> dict[int, np.ndarray]:
        """Transforms of a node and all below."""
        found = {root: self.local(root, time_s)}
        todo = [root]
        for parent in todo:
            for child in self.file.nodes[parent].children or []:
                found[child] = found[parent] @ self.local(child, time_s)
                todo.append(child)
        return found

    def joints(self, person: str, time_s: float) -> np.ndarray:
        skin = self.file.skins[self.file.nodes[self.node(f"{person}_mesh")].skin]
        world = self.world(self.node(person), time_s)
        return np.stack([world[joint][:3, 3] for joint in skin.joints])

    def vertices(self, person: str, time_s: float) -> np.ndarray:
        number = self.node(f"{person}_mesh")
        node = self.file.nodes[number]
        mesh, skin = self.file.meshes[node.mesh], self.file.skins[node.skin]
        primitive = mesh.primitives[0]
        points = self.array(primitive.attributes.POSITION).astype(float)
        weights = self.value(number, "weights", time_s, mesh.weights)
        for weight, target in zip(weights, primitive.targets, strict=True):
            points = points + weight * self.array(target["POSITION"])
        bind = self.array(skin.inverseBindMatrices).reshape(-1, 4, 4).transpose(0, 2, 1)
        world = self.world(self.node(person), time_s)
        matrices = np.stack([world[joint] for joint in skin.joints]) @ bind
        blended = np.zeros((len(points), 4, 4))
        for k in (0, 1):
            if getattr(primitive.attributes, f"JOINTS_{k}", None) is not None:
                held = self.array(getattr(primitive.attributes, f"JOINTS_{k}"))
                share = self.array(getattr(primitive.attributes, f"WEIGHTS_{k}"))
                blended += (matrices[held] * share[..., None, None]).sum(1)
        return np.einsum("vab,vb->va", blended[:, :3, :3], points) + blended[:, :3, 3]


def bare(model: BodyModel) -> BodyModel:
    """Without what skinning cannot do: pose blend shapes, joints that expressions move."""
    return replace(model, joint_expression_dirs=0.0 * model.joint_expression_dirs)


def test_joints_are_where_they_were_in_every_frame(tmp_path: Path) -> None:
    """Also where expressions move joints, as they much do in the toy."""
    for model in (toy_model(), freebody()):
        motion = dance(model)
        write_animated_glb(tmp_path / "a.glb", motion, model)
        read = Reader(tmp_path / "a.glb")
        for track in motion.tracks:
            truth = true_joints(track.people, model)
            for row, time in enumerate(motion.clip.times_s[track.frames]):
                np.testing.assert_allclose(read.joints(f"person_{track.id}", time), truth[row], atol=1e-4)


def test_skinning_and_morphing_give_the_mesh_in_every_frame(tmp_path: Path) -> None:
    model = bare(toy_model(pose_density=0.0))
    motion = dance(model)
    write_animated_glb(tmp_path / "a.glb", motion, model)
    read = Reader(tmp_path / "a.glb")
    for track in motion.tracks:
        truth = true_vertices(track.people, model)
        for row, time in enumerate(motion.clip.times_s[track.frames]):
            np.testing.assert_allclose(read.vertices(f"person_{track.id}", time), truth[row], atol=1e-4)


def test_of_a_moving_body_only_the_changing_pose_blend_shapes_are_lost(tmp_path: Path) -> None:
    model = freebody()
    motion = dance(model)
    write_animated_glb(tmp_path / "a.glb", motion, model)
    read = Reader(tmp_path / "a.glb")
    truth = true_vertices(motion.tracks[0].people, model)
    read_back = np.stack([read.vertices("person_1", motion.clip.times_s[row]) for row in (0, 9)])
    error_mm = 1000 * np.linalg.norm(read_back - truth[[0, 9]], axis=-1)
    assert error_mm.mean() < 0.5 and error_mm.max() < 10.0


def test_a_photo_is_exact_to_the_last_wrinkle(tmp_path: Path) -> None:
    model = freebody()
    people = dancer(np.array([3, 8]), model)
    write_animated_glb(tmp_path / "a.glb", still(people, "a.jpg"), model)
    read = Reader(tmp_path / "a.glb")
    assert not read.file.animations
    truth = true_vertices(people, model)
    for row in (0, 1):
        np.testing.assert_allclose(read.vertices(f"person_{row + 1}", 0.0), truth[row], atol=2e-5)


def test_who_is_not_there_is_hidden(tmp_path: Path) -> None:
    model = toy_model()
    write_animated_glb(tmp_path / "a.glb", dance(model), model)
    read = Reader(tmp_path / "a.glb")
    scale = [read.value(read.node("person_4"), "scale", frame / FPS, None)[0] for frame in range(20)]
    assert scale == [0] * 5 + [1] * 11 + [0] * 4
    assert (read.node("person_1"), "scale") not in read.channels


def test_of_a_lone_part_only_that_is_shown(tmp_path: Path) -> None:
    model = freebody()
    for part in ("right-hand", "face"):
        people = replace(dancer(np.array([3]), model), part=part)
        write_animated_glb(tmp_path / "a.glb", still(people, "a.jpg"), model)
        read, (rows, faces) = Reader(tmp_path / "a.glb"), part_surface(model, part)
        primitive = read.file.meshes[0].primitives[0]
        np.testing.assert_array_equal(read.array(primitive.indices).reshape(-1, 3), faces)
        truth = true_vertices(people, model)[0, rows]
        np.testing.assert_allclose(read.vertices("person_1", 0.0), truth, atol=2e-5)


def test_names_rest_pose_and_sliders(tmp_path: Path) -> None:
    model = bare(toy_model())
    write_animated_glb(tmp_path / "a.glb", dance(model), model)
    read = Reader(tmp_path / "a.glb")
    skin = read.file.skins[0]
    assert tuple(read.file.nodes[joint].name for joint in skin.joints) == JOINT_NAMES
    rest = -read.array(skin.inverseBindMatrices)[:, 12:15]
    shaped = model.joint_template + model.joint_shape_dirs @ dance(model).tracks[0].people.betas[0]
    np.testing.assert_allclose(rest, shaped, atol=1e-5)
    names = read.file.meshes[0].extras["targetNames"]
    assert names == [f"expression_{k}_{sign}" for k in (0, 1) for sign in ("plus", "minus")] + [
        f"shape_{k}" for k in range(3)
    ]
    sampler = read.channels[read.node("person_1_mesh"), "weights"]
    weights = read.array(sampler.output).reshape(20, 7)
    assert weights.min() == 0 and 0 < weights[:, :4].max() <= 1 and not weights[:, 4:].any()


def test_targets_of_the_face_are_stored_where_they_are_not_zero(tmp_path: Path) -> None:
    model = freebody()
    write_animated_glb(tmp_path / "a.glb", dance(model), model)
    read = Reader(tmp_path / "a.glb")
    first = read.file.meshes[0].primitives[0].targets[0]["POSITION"]
    assert read.file.accessors[first].sparse is not None
    np.testing.assert_allclose(read.array(first), 3.0 * model.expression_dirs[..., 0], rtol=1e-6)


def test_the_camera_sees_what_the_photo_shows(tmp_path: Path) -> None:
    model = toy_model()
    motion = dance(model)
    write_animated_glb(tmp_path / "a.glb", motion, model)
    read = Reader(tmp_path / "a.glb")
    lens = read.file.cameras[read.file.nodes[read.node("camera")].camera].perspective
    points = read.joints("person_1", 0.0)
    half = np.tan(lens.yfov / 2)
    clip = points[:, :2] / -points[:, 2:] / (half * lens.aspectRatio, half)
    pixels = (clip * (1, -1) + 1) / 2 * (640, 480)
    people = motion.tracks[0].people
    np.testing.assert_allclose(
        pixels, project_perspective(points * AXES, people.focal_px, people.principal_px), atol=1e-2
    )


def test_another_frame_rate(tmp_path: Path) -> None:
    model = toy_model()
    write_animated_glb(tmp_path / "a.glb", dance(model), model, fps=10.0)
    read = Reader(tmp_path / "a.glb")
    keys = read.array(read.channels[read.node("pelvis"), "rotation"].input)[:, 0]
    np.testing.assert_allclose(keys, np.arange(9) / 10.0, atol=1e-6)


def test_nobody_and_bad_input(tmp_path: Path) -> None:
    model = toy_model()
    nobody = Motion(Clip("a.mp4", np.arange(3) / FPS, FPS), ())
    write_animated_glb(tmp_path / "a.glb", nobody, model)
    assert not Reader(tmp_path / "a.glb").file.nodes
    before = (tmp_path / "a.glb").read_bytes()
    with pytest.raises(InputError, match="betas"):
        write_animated_glb(tmp_path / "a.glb", dance(freebody()), model)
    with pytest.raises(InputError, match="frame rate"):
        write_animated_glb(tmp_path / "a.glb", dance(model), model, fps=0.0)
    with pytest.raises(InputError, match="cannot be written"):
        write_animated_glb(tmp_path / "no" / "a.glb", dance(model), model)
    assert (tmp_path / "a.glb").read_bytes() == before and len(list(tmp_path.iterdir())) == 1
