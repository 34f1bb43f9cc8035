"""The USD stage of a clip: what :mod:`openexpose.formats.usd` writes. Imports usd-core."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float
from pxr import Gf, Sdf, Usd, UsdGeom, UsdShade, UsdSkel, Vt

from openexpose.body.keypoints import JOINT_NAMES
from openexpose.body.model import BodyModel
from openexpose.formats.gltf import skin_colour
from openexpose.formats.rig import BlendShapes, Rig, blend_shapes_for, influences, rig_of
from openexpose.geometry.surface import vertex_normals
from openexpose.motion import Motion
from openexpose.people import People

Array = np.ndarray

_APERTURE = 0.36
"""Width of the camera's film, 36 mm, in tenths of a metre as USD wants it."""
_NEAR_FAR_M = (0.05, 1000.0)
_INSTANT = 1e-3
"""Of a frame: how fast people come and go, because numbers change steadily between two time codes."""
_MARGIN_M = 0.1
"""Room around the reach of the mesh at rest, for what bending adds."""


def stage_of(motion: Motion, model: BodyModel, fps: float | None = None) -> Usd.Stage:
    """Build the stage in memory. Arguments and errors as :func:`openexpose.formats.usd.write_usd`."""
    clip = motion.clip
    rate = clip.fps if fps is None else fps
    stage = Usd.Stage.CreateInMemory()
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.y)
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    stage.SetTimeCodesPerSecond(rate)
    stage.SetFramesPerSecond(rate)
    top = UsdGeom.Xform.Define(stage, "/clip").GetPrim()
    top.SetCustomDataByKey("openexpose", {"clip": clip.name, "body_model": model.name})
    stage.SetDefaultPrim(top)
    rigged = _Rigged(model, blend_shapes_for(motion, model))
    last = 0.0
    for number, track in enumerate(motion.tracks):
        person = _Person(stage, rigged, rig_of(track, clip, model, fps))
        person.add(number)
        last = max(last, person.codes[-1])
    if motion.tracks:
        _add_camera(stage, motion.tracks[0].people)
    stage.SetStartTimeCode(0.0)
    stage.SetEndTimeCode(last)
    return stage


@dataclass(frozen=True, eq=False)
class _Rigged:
    """What all people have in common."""

    model: BodyModel
    blend: BlendShapes

    @cached_property
    def joints(self) -> list[str]:
        """Each joint's path from the root: ``pelvis/left_hip/left_knee``."""
        paths = [JOINT_NAMES[0]]
        for joint in range(1, len(JOINT_NAMES)):
            paths.append(f"{paths[self.model.parents[joint]]}/{JOINT_NAMES[joint]}")
        return paths

    @cached_property
    def influences(self) -> tuple[Array, Array]:
        """Joints and weights of the mesh's vertices."""
        joints, weights = influences(self.model)
        rows = self.blend.surface[0]
        return joints[rows], weights[rows]


@dataclass(frozen=True, eq=False)
class _Person:
    """Somebody to be added to the stage."""

    stage: Usd.Stage
    rigged: _Rigged
    rig: Rig

    @property
    def path(self) -> str:
        return f"/clip/person_{self.rig.id}"

    @cached_property
    def codes(self) -> list[float]:
        """Time codes of the frames: numbers of frames from the start of the clip, whole ones where it is even."""
        codes = self.rig.times_s * self.rig.fps
        whole = np.rint(codes)
        return np.where(np.abs(codes - whole) < 1e-3, whole, codes).tolist()

    def add(self, number: int) -> None:
        """Add everything of this person, who is person 0, 1, ... of the clip."""
        root = UsdSkel.Root.Define(self.stage, self.path)
        root.CreateExtentAttr(self._extent())
        if self.rig.appears or self.rig.leaves:
            self._hide(root)
        self._add_skeleton()
        self._add_animation()
        self._add_mesh(number)

    def _hide(self, root: UsdSkel.Root) -> None:
        """While the person is not there: invisible, and of no size for programs that read no changing visibility
        (Blender)."""
        visibility, scale = root.CreateVisibilityAttr(), root.AddScaleOp()
        comes, goes = self.codes[0], self.codes[-1] + 1.0
        visibility.Set(UsdGeom.Tokens.inherited, comes)
        scale.Set(Gf.Vec3f(1.0), comes)
        if self.rig.appears:
            visibility.Set(UsdGeom.Tokens.invisible, 0.0)
            scale.Set(Gf.Vec3f(0.0), comes - _INSTANT)
        if self.rig.leaves:
            visibility.Set(UsdGeom.Tokens.invisible, goes)
            scale.Set(Gf.Vec3f(1.0), goes - _INSTANT)
            scale.Set(Gf.Vec3f(0.0), goes)

    def _extent(self) -> Vt.Vec3fArray:
        """A box around all that the person ever reaches."""
        reach = float(np.linalg.norm(self.rig.vertices - self.rig.joints[0], axis=-1).max()) + _MARGIN_M
        pelvis = self.rig.translations[:, 0]
        return _vectors(np.stack([pelvis.min(0) - reach, pelvis.max(0) + reach]))

    def _add_skeleton(self) -> None:
        skeleton = UsdSkel.Skeleton.Define(self.stage, f"{self.path}/skeleton")
        joints, parents = self.rig.joints, np.maximum(self.rigged.model.parents, 0)
        local = joints - joints[parents]
        local[0] = joints[0]
        skeleton.CreateJointsAttr(self.rigged.joints)
        skeleton.CreateBindTransformsAttr(_translations(joints))
        skeleton.CreateRestTransformsAttr(_translations(local))
        UsdSkel.BindingAPI.Apply(skeleton.GetPrim()).CreateAnimationSourceRel().SetTargets([f"{self.path}/animation"])

    def _add_animation(self) -> None:
        rig, blend = self.rig, self.rigged.blend
        animation = UsdSkel.Animation.Define(self.stage, f"{self.path}/animation")
        animation.CreateJointsAttr(self.rigged.joints)
        animation.CreateBlendShapesAttr(list(blend.offsets))
        animation.CreateScalesAttr(Vt.Vec3hArray.FromNumpy(np.ones((len(JOINT_NAMES), 3), np.float16)))
        weights = blend.weights(rig)
        rotations, translations = animation.CreateRotationsAttr(), animation.CreateTranslationsAttr()
        shapes = animation.CreateBlendShapeWeightsAttr()
        samples = list(enumerate(self.codes))
        if len(samples) == 1:
            samples.append((0, self.codes[0] + 1.0))  # Blender takes no notice of a single one
        with Sdf.ChangeBlock():
            for k, code in samples:
                rotations.Set(Vt.QuatfArray.FromNumpy(rig.quaternions[k]), code)
                translations.Set(_vectors(rig.translations[k]), code)
                shapes.Set(Vt.FloatArray.FromNumpy(weights[k]), code)

    def _add_mesh(self, number: int) -> None:
        rows, faces = self.rigged.blend.surface
        vertices = self.rig.vertices[rows]
        mesh = UsdGeom.Mesh.Define(self.stage, f"{self.path}/mesh")
        mesh.CreatePointsAttr(_vectors(vertices))
        mesh.CreateExtentAttr(_vectors(np.stack([vertices.min(0), vertices.max(0)])))
        mesh.CreateFaceVertexCountsAttr(_integers(np.full(len(faces), 3)))
        mesh.CreateFaceVertexIndicesAttr(_integers(faces.reshape(-1)))
        mesh.CreateNormalsAttr(_vectors(vertex_normals(self.rig.vertices, self.rigged.model.faces)[rows]))
        mesh.SetNormalsInterpolation(UsdGeom.Tokens.vertex)
        mesh.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
        mesh.CreateDoubleSidedAttr(True)
        binding = UsdSkel.BindingAPI.Apply(mesh.GetPrim())
        binding.CreateSkeletonRel().SetTargets([f"{self.path}/skeleton"])
        binding.CreateGeomBindTransformAttr(Gf.Matrix4d(1.0))
        joints, weights = self.rigged.influences
        binding.CreateJointIndicesPrimvar(False, joints.shape[1]).Set(_integers(joints.reshape(-1)))
        binding.CreateJointWeightsPrimvar(False, joints.shape[1]).Set(Vt.FloatArray.FromNumpy(weights.reshape(-1)))
        self._add_blend_shapes(binding)
        material = _add_material(self.stage, f"{self.path}/skin", number)
        UsdShade.MaterialBindingAPI.Apply(mesh.GetPrim()).Bind(material)

    def _add_blend_shapes(self, binding: UsdSkel.BindingAPI) -> None:
        paths = []
        for name, offsets in self.rigged.blend.offsets.items():
            paths.append(f"{self.path}/mesh/{name}")
            rows = np.flatnonzero(offsets.any(-1))
            shape = UsdSkel.BlendShape.Define(self.stage, paths[-1])
            shape.CreateOffsetsAttr(_vectors(offsets[rows]))
            shape.CreatePointIndicesAttr(_integers(rows))
        binding.CreateBlendShapesAttr(list(self.rigged.blend.offsets))
        binding.CreateBlendShapeTargetsRel().SetTargets(paths)


def _add_material(stage: Usd.Stage, path: str, number: int) -> UsdShade.Material:
    material = UsdShade.Material.Define(stage, path)
    shader = UsdShade.Shader.Define(stage, f"{path}/surface")
    shader.CreateIdAttr("UsdPreviewSurface")
    shader.CreateInput("diffuseColor", Sdf.ValueTypeNames.Color3f).Set(Gf.Vec3f(*skin_colour(number)))
    shader.CreateInput("roughness", Sdf.ValueTypeNames.Float).Set(0.75)
    material.CreateSurfaceOutput().ConnectToSource(shader.ConnectableAPI(), "surface")
    return material


def _add_camera(stage: Usd.Stage, people: People) -> None:
    """The pinhole camera; films whose middle is not the principal point are shifted."""
    width, height = people.image_size
    a_pixel = _APERTURE / width
    centre = a_pixel * (np.array([width / 2.0, height / 2.0]) - people.principal_px)
    camera = UsdGeom.Camera.Define(stage, "/clip/camera")
    camera.CreateProjectionAttr(UsdGeom.Tokens.perspective)
    camera.CreateFocalLengthAttr(a_pixel * people.focal_px)
    camera.CreateHorizontalApertureAttr(_APERTURE)
    camera.CreateVerticalApertureAttr(a_pixel * height)
    camera.CreateHorizontalApertureOffsetAttr(float(centre[0]))
    camera.CreateVerticalApertureOffsetAttr(-float(centre[1]))
    camera.CreateClippingRangeAttr(Gf.Vec2f(*_NEAR_FAR_M))


def _vectors(values: Float[Array, "n 3"]) -> Vt.Vec3fArray:
    return Vt.Vec3fArray.FromNumpy(np.ascontiguousarray(values, np.float32))


def _integers(values: Array) -> Vt.IntArray:
    return Vt.IntArray.FromNumpy(np.ascontiguousarray(values, np.int32))


def _translations(places: Float[Array, "n 3"]) -> Vt.Matrix4dArray:
    """Matrices that move to places; USD's turn row vectors."""
    matrices = np.tile(np.eye(4), (len(places), 1, 1))
    matrices[:, 3, :3] = places
    return Vt.Matrix4dArray.FromNumpy(matrices)
