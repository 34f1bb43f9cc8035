"""The 55 joints of the free body as combinations of MakeHuman bone heads, and which bones follow which joint.

Names, order and parents are those of the SMPL-X file format.  Positions come from MakeHuman's rig alone:

* limbs, neck, head, clavicles, eyes, fingers: the head of the bone of that name (`FINGERS`: MakeHuman counts the
  thumb 1);
* pelvis: head of `spine05`, the lowest vertebral bone (lumbo-sacral joint), where MakeHuman's two pelvis bones also
  start;
* spine1, spine2, spine3: heads of `spine03`, `spine02`, `spine01`.  MakeHuman has five vertebral bones below the
  neck and the format has room for four joints; leaving out `spine04` divides the trunk most evenly (its skin stays
  with the pelvis);
* foot: mean of the five toe roots (one joint bends all toes);
* jaw: a point between the heads of `jaw` and `head`, fitted so that the CC0 action "jawOpen" is a pure hinge
  (`skinning.py`).

Metacarpals, twist bones (`*02`), `shoulder01`, `breast` and face bones have no joint of their own and follow their
parent's."""

import numpy as np
from jaxtyping import Float, Int

from .source import MakeHumanSource

FINGERS = {"index": 2, "middle": 3, "pinky": 5, "ring": 4, "thumb": 1}
"""SMPL-X finger order -> MakeHuman finger number."""

JOINTS: tuple[str, ...] = (
    "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle", "right_ankle",
    "spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head", "left_shoulder",
    "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist", "jaw", "left_eye", "right_eye",
    *(f"{side}_{finger}{k}" for side in ("left", "right") for finger in FINGERS for k in (1, 2, 3)),
)  # fmt: skip

_BODY_PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 15, 15, 15)
PARENTS: tuple[int, ...] = (
    *_BODY_PARENTS,
    *(wrist if k % 3 == 0 else first + k - 1 for wrist, first in ((20, 25), (21, 40)) for k in range(15)),
)

#: the spine bone that carries each trunk joint (see the module's docstring)
TRUNK_BONES = {"pelvis": "spine05", "spine1": "spine03", "spine2": "spine02", "spine3": "spine01"}

_LIMB_BONES = {
    "hip": "upperleg01", "knee": "lowerleg01", "ankle": "foot", "collar": "clavicle", "shoulder": "upperarm01",
    "elbow": "lowerarm01", "wrist": "wrist", "eye": "eye",
}  # fmt: skip

JAW_PIVOT = (0.685, 0.315)
"""Weights of the bone heads `jaw` and `head` in the jaw joint: there the action jawOpen is a hinge (Kabsch fit)."""


def joint(name: str) -> int:
    """Index of a joint; raises ValueError for an unknown name."""
    return JOINTS.index(name)


def mirrored_joints() -> Int[np.ndarray, "55"]:
    """Index of the joint on the other side of the body (central joints: themselves)."""
    swap = {"left": "right", "right": "left"}
    return np.array([joint("_".join(swap.get(part, part) for part in name.split("_"))) for name in JOINTS])


def descendants(index: int) -> np.ndarray:
    """Boolean [55]: the joint itself and everything below it."""
    below = np.zeros(len(JOINTS), bool)
    below[index] = True
    for child, parent in enumerate(PARENTS):
        if parent >= 0 and below[parent]:
            below[child] = True
    return below


def joint_from_bones(source: MakeHumanSource) -> Float[np.ndarray, "55 B"]:
    """Matrix that maps bone heads [B,3] to joints [55,3]; rows sum to one."""
    matrix = np.zeros((len(JOINTS), len(source.bones)))
    for row, name in zip(matrix, JOINTS, strict=True):
        for bone, weight in _bones_of_joint(name).items():
            row[source.bone(bone)] = weight
    return matrix


def _bones_of_joint(name: str) -> dict[str, float]:
    if name in TRUNK_BONES:
        return {TRUNK_BONES[name]: 1.0}
    if name == "neck":
        return {"neck01": 1.0}
    if name == "head":
        return {"head": 1.0}
    if name == "jaw":
        return {"jaw": JAW_PIVOT[0], "head": JAW_PIVOT[1]}
    side, part = name.split("_")
    letter = side[0].upper()
    if part == "foot":
        return {f"toe{toe}-1.{letter}": 0.2 for toe in range(1, 6)}
    if part in _LIMB_BONES:
        return {f"{_LIMB_BONES[part]}.{letter}": 1.0}
    return {f"finger{FINGERS[part[:-1]]}-{part[-1]}.{letter}": 1.0}


def joint_of_bones(source: MakeHumanSource) -> Int[np.ndarray, "B"]:
    """Joint that moves the skin of every MakeHuman bone."""
    return np.array([joint(_joint_of_bone(source, index)) for index in range(len(source.bones))])


def _joint_of_bone(source: MakeHumanSource, index: int) -> str:
    name, _, letter = str(source.bones[index]).partition(".")
    side = {"L": "left", "R": "right"}.get(letter, "")
    trunk = {bone: joint_name for joint_name, bone in TRUNK_BONES.items()}
    if name in trunk:
        return trunk[name]
    if name in ("root", "pelvis", "spine04"):
        return "pelvis"
    if name == "breast":
        return _joint_of_bone(source, int(source.bone_parents[index]))
    if name.startswith("neck"):
        return "neck"
    for prefix, part in (
        ("clavicle", "collar"), ("shoulder", "collar"), ("upperarm", "shoulder"), ("lowerarm", "elbow"),
        ("wrist", "wrist"), ("metacarpal", "wrist"), ("upperleg", "hip"), ("lowerleg", "knee"), ("foot", "ankle"),
        ("toe", "foot"),
    ):  # fmt: skip
        if name.startswith(prefix):
            return f"{side}_{part}"
    if name == "eye":
        return f"{side}_eye"
    if name.startswith("finger"):
        finger = {number: finger for finger, number in FINGERS.items()}[int(name[6])]
        return f"{side}_{finger}{name[-1]}"
    while str(source.bones[index]) not in ("jaw", "head"):  # bones of the face
        index = int(source.bone_parents[index])
    return str(source.bones[index])
