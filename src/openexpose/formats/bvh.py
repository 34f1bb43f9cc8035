"""Motion of one person as a BVH file (Biovision hierarchy), which animation programs retarget to their characters."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float

from openexpose.body.keypoints import INDEX, JOINT_NAMES, SIDES
from openexpose.body.model import NUM_JOINTS, BodyModel
from openexpose.errors import InputError
from openexpose.formats.atomic import write_whole
from openexpose.formats.rig import Rig, rig_of
from openexpose.motion import Clip, Track

Array = np.ndarray

Names = Literal["smplx", "mixamo"]
"""Whose names the joints have."""

_CM = 100.0
_CHIN = 8
"""Of the 17 points of the face's contour."""

_MIXAMO_BODY = {
    "pelvis": "Hips",
    "spine1": "Spine",
    "spine2": "Spine1",
    "spine3": "Spine2",
    "neck": "Neck",
    "head": "Head",
}
_MIXAMO_SIDE = {
    "hip": "UpLeg",
    "knee": "Leg",
    "ankle": "Foot",
    "foot": "ToeBase",
    "collar": "Shoulder",
    "shoulder": "Arm",
    "elbow": "ForeArm",
    "wrist": "Hand",
} | {f"{f}{k}": f"Hand{f.capitalize()}{k}" for f in ("thumb", "index", "middle", "ring", "pinky") for k in (1, 2, 3)}


def write_bvh(
    path: str | Path, clip: Clip, track: Track, model: BodyModel, names: Names = "smplx", fps: float | None = None
) -> None:
    """Write a person's motion, from their first frame to their last, gaps filled.

    Centimetres, y up, the camera at the origin looking along -z. With all rotations 0 the body has the model's zero
    pose: upright, arms level, facing +z. Rotations are Euler angles in degrees, channels Z X Y: R = Rz Rx Ry. The root
    has offset 0 and its place in its channels. A bone has the mean length of the track; BVH has no mesh and no
    expression.

    Args:
        path: where to; the file appears whole or not at all.
        clip: when the track's frames are shown.
        track: the person.
        model: the body model that the coefficients belong to.
        names: ``smplx``: 55 joints under SMPL-X's names; ``mixamo``: the 52 that Mixamo's characters have, under
            theirs (``mixamorig:Hips``); jaw and eyes stay away.
        fps: frames a second; None: the clip's.

    Raises:
        InputError: unknown names, a frame rate that is none, coefficients that are not the model's, or a place that
            cannot be written to.
    """
    if names not in ("smplx", "mixamo"):
        raise InputError(f"the joint names {names!r}", "smplx or mixamo")
    rig = rig_of(track, clip, model, fps)
    called = dict(enumerate(JOINT_NAMES)) if names == "smplx" else _mixamo()
    skeleton = _Skeleton(called, model, rig)
    heading = [*skeleton.described(0), "MOTION", f"Frames: {len(rig.times_s)}", f"Frame Time: {1.0 / rig.fps:.10g}"]
    text = ["HIERARCHY\n", *(f"{line}\n" for line in heading), *_rows(rig, skeleton.order(0))]
    write_whole(path, "".join(text).encode())


@dataclass(frozen=True)
class _Skeleton:
    """The joints that the file has."""

    called: dict[int, str]
    """Their names, by number."""
    model: BodyModel
    rig: Rig

    def children(self, joint: int) -> list[int]:
        """Those right below a joint."""
        return [child for child in self.called if child and self.model.parents[child] == joint]

    def order(self, joint: int) -> list[int]:
        """A joint and all below, in the order of the file."""
        return [joint, *(below for child in self.children(joint) for below in self.order(child))]

    def described(self, joint: int) -> list[str]:
        """Lines of the hierarchy: a joint and all below."""
        place, parent = self.rig.joints[joint], max(self.model.parents[joint], 0)
        kind, position = ("JOINT", "3") if joint else ("ROOT", "6 Xposition Yposition Zposition")
        inside = [
            f"OFFSET {_offset(place - self.rig.joints[parent])}",
            f"CHANNELS {position} Zrotation Xrotation Yrotation",
        ]
        for child in self.children(joint):
            inside += self.described(child)
        if not self.children(joint):
            inside += ["End Site", "{", f"\tOFFSET {_offset(self._tip(joint) - place)}", "}"]
        return [f"{kind} {self.called[joint]}", "{", *(f"\t{line}" for line in inside), "}"]

    def _tip(self, joint: int) -> Float[Array, "3"]:
        """Where the last bone of a limb ends: at its finger tip, big toe, chin, the eye's surface or the crown."""
        name, vertices = JOINT_NAMES[joint], self.rig.vertices
        if name == "head":
            return vertices[vertices[:, 1].argmax()]
        if name == "jaw":
            return self.model.contour_barycentric[0, _CHIN] @ vertices[self.model.contour_vertices[0, _CHIN]]
        keypoint = name.removesuffix("_smplx").replace("foot", "big_toe").rstrip("3")
        return vertices[self.model.extra_vertices[INDEX[keypoint] - NUM_JOINTS]]


def _offset(place_m: Float[Array, "3"]) -> str:
    return " ".join(f"{_CM * value:.6f}" for value in place_m)


def _rows(rig: Rig, order: list[int]) -> Iterator[str]:
    """The lines of the frames."""
    angles = np.stack([_euler_deg(rig.rotations[:, joint].astype(float)) for joint in order], 1)
    rows = np.concatenate([_CM * rig.translations[:, 0], angles.reshape(len(angles), -1)], 1)
    line = " ".join(["%.5f"] * rows.shape[1]) + "\n"
    for row in rows:
        yield line % tuple(row)


def _euler_deg(rotations: Float[Array, "n 3 3"]) -> Float[Array, "n 3"]:
    """Angles (z, x, y) in degrees with R = Rz Rx Ry, without jumps of whole turns from frame to frame.

    Where x is 90 degrees, z and y turn about the same axis: then y is 0.
    """
    cosine = np.hypot(rotations[:, 2, 0], rotations[:, 2, 2])
    x, locked = np.arctan2(rotations[:, 2, 1], cosine), cosine < 1e-5
    z = np.where(
        locked,
        np.arctan2(rotations[:, 1, 0], rotations[:, 0, 0]),
        np.arctan2(-rotations[:, 0, 1], rotations[:, 1, 1]),
    )
    y = np.where(locked, 0.0, np.arctan2(-rotations[:, 2, 0], rotations[:, 2, 2]))
    return np.unwrap(np.degrees(np.stack([z, x, y], -1)), axis=0, period=360.0)


def _mixamo() -> dict[int, str]:
    """Mixamo's names of the joints that its characters have."""
    called = {INDEX[ours]: theirs for ours, theirs in _MIXAMO_BODY.items()}
    for side in SIDES:
        called |= {INDEX[f"{side}_{ours}"]: side.capitalize() + theirs for ours, theirs in _MIXAMO_SIDE.items()}
    return {joint: f"mixamorig:{called[joint]}" for joint in sorted(called)}
