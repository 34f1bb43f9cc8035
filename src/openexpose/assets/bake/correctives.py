"""Pose blend shapes: what linear blend skinning gets wrong, expressed linearly in the joint rotations (R - I).

Nothing here is learnt from scans.  For every joint we pose the template many times with a better but slower rule
(dual-quaternion skinning with the twist spread over MakeHuman's sub-bones, mixed with a little linear skinning) and
regress the difference on the nine entries of R - I.  The jaw corrective is what is left of the action "jawOpen"
after skinning; the eyelids follow the eyeballs as in the actions "eyeLook*"."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from .rotations import swing_twist
from .shape import REFLECT, ShapeSpace
from .skeleton import JOINTS, descendants, joint, joint_of_bones, mirrored_joints
from .skinning import Skinning
from .source import MakeHumanSource

DUAL_QUATERNION_SHARE = 0.75
LARGEST_OFFSET_M = 0.05
SMALLEST_ENTRY_M = 1.5e-4
"""Entries below this are set to zero: the array is 99 % empty and packs small."""
GAZE_RAD = np.deg2rad(25.0)
"""Eye rotation that the actions eyeLook* stand for."""

#: range of the rotation vector (degrees, low and high) each joint is exercised in; left side or centre
_RANGES = {
    "left_hip": ((-110, -30, -35), (35, 30, 45)), "left_knee": ((-5, -8, -8), (130, 8, 8)),
    "left_ankle": ((-40, -20, -20), (35, 20, 20)), "left_foot": ((-45, -3, -3), (30, 3, 3)),
    "spine1": ((-25, -25, -25), (45, 25, 25)), "spine2": ((-25, -25, -25), (45, 25, 25)),
    "spine3": ((-25, -25, -25), (45, 25, 25)), "neck": ((-30, -40, -25), (40, 40, 25)),
    "head": ((-30, -40, -25), (35, 40, 25)), "left_collar": ((-8, -20, -10), (8, 20, 30)),
    "left_shoulder": ((-60, -70, -85), (60, 50, 75)), "left_elbow": ((-60, -140, -10), (60, 5, 10)),
    "left_wrist": ((-80, -25, -60), (80, 25, 60)),
}  # fmt: skip
_FINGER_RANGE = ((-20, -25, -95), (20, 25, 30))
_THUMB_RANGE = ((-40, -50, -50), (40, 50, 50))
#: share of the twist about the bone's axis that a MakeHuman sub-bone follows: joint -> (axis, {bone: share})
_TWISTS = {
    "left_shoulder": ((1.0, 0.0, 0.0), {"upperarm01.L": 0.35}),
    "left_elbow": ((1.0, 0.0, 0.0), {"lowerarm01.L": 0.35}),
    "left_hip": ((0.0, -1.0, 0.0), {"upperleg01.L": 0.4}),
}
_REFLECT_ROTATION = np.array([[1, -1, -1], [-1, 1, 1], [-1, 1, 1]], float).ravel()


@dataclass(frozen=True)
class _Bend:
    """One joint of the template: skin weights around it and its sub-bones."""

    centre: Float[np.ndarray, "3"]
    vertices: Float[np.ndarray, "A 3"]
    moving: Float[np.ndarray, "A"]
    """Weight of the joint and all below it."""
    sub_weights: dict[str, Float[np.ndarray, "A"]]
    sub_moves: dict[str, bool]


def fit_pose_blendshapes(
    source: MakeHumanSource, shape: ShapeSpace, skinning: Skinning, seed: int = 7
) -> Float[np.ndarray, "V 3 486"]:
    """posedirs of the SMPL-X format: metres per entry of R - I (row-major) of joints 1..54."""
    rng = np.random.default_rng(seed)
    directions = np.zeros((len(shape.template), 3, len(JOINTS) - 1, 9), np.float32)
    fingers = [name for name in JOINTS if name.startswith("left_") and name[-1].isdigit()]
    ranges = _RANGES | {name: _THUMB_RANGE if "thumb" in name else _FINGER_RANGE for name in fingers}
    other = mirrored_joints()
    for name, (low, high) in ranges.items():
        vectors = np.deg2rad(rng.uniform(low, high, (40 if name in fingers else 70, 3)))
        affected, response = _fit_joint(source, shape, skinning, name, vectors)
        directions[affected, :, joint(name) - 1] += response
        if name.startswith("left_"):
            mirrored = response * REFLECT[:, None] * _REFLECT_ROTATION
            directions[shape.mirror[affected], :, other[joint(name)] - 1] += mirrored
    _add_jaw(source, shape, skinning, directions)
    _add_eyelids(source, skinning, directions)
    _symmetrise(shape, directions)
    directions[np.abs(directions) < SMALLEST_ENTRY_M] = 0
    return directions.reshape(len(directions), 3, -1)


def _symmetrise(shape: ShapeSpace, directions: Float[np.ndarray, "V 3 54 9"]) -> None:
    """Average with the mirror image, in place (the samples of the central joints are not symmetric)."""
    for index, other in enumerate(mirrored_joints()[1:] - 1):
        if other < index:
            continue
        here, there = directions[:, :, index].copy(), directions[:, :, other].copy()
        signs = REFLECT[:, None] * _REFLECT_ROTATION
        directions[:, :, index] = 0.5 * (here + there[shape.mirror] * signs)
        directions[:, :, other] = 0.5 * (there + here[shape.mirror] * signs)


def _fit_joint(
    source: MakeHumanSource, shape: ShapeSpace, skinning: Skinning, name: str, vectors: Float[np.ndarray, "N 3"]
) -> tuple[np.ndarray, Float[np.ndarray, "A 3 9"]]:
    """Vertices affected by a joint and their least-squares response to R - I."""
    below = descendants(joint(name))
    moving = skinning.weights[:, below].sum(1).astype(np.float64)
    subs = list(_sub_rotations(name, Rotation.identity()))
    sub_weights = {bone: source.bone_weights[:, source.bone(bone)].astype(np.float64) for bone in subs}
    affected = (moving > 0) & (moving < 1)
    for weight in sub_weights.values():
        affected |= weight > 0
    owner = joint_of_bones(source)
    bend = _Bend(
        centre=shape.joints[joint(name)],
        vertices=shape.template[affected].astype(np.float64),
        moving=moving[affected],
        sub_weights={bone: weight[affected] for bone, weight in sub_weights.items()},
        sub_moves={bone: bool(below[owner[source.bone(bone)]]) for bone in subs},
    )
    rotations = Rotation.from_rotvec(vectors)
    features = (rotations.as_matrix() - np.eye(3)).reshape(-1, 9)
    offsets = np.stack([_offsets(bend, name, rotation) for rotation in rotations])
    gram = features.T @ features
    gram += 0.01 * np.trace(gram) / 9 * np.eye(9)
    response = np.linalg.solve(gram, features.T @ offsets.reshape(len(vectors), -1))
    return np.flatnonzero(affected), response.reshape(9, -1, 3).transpose(1, 2, 0)


def _offsets(bend: _Bend, name: str, rotation: Rotation) -> Float[np.ndarray, "A 3"]:
    """Displacement before skinning that makes linear skinning hit the better rule, at most 5 cm."""
    matrix = rotation.as_matrix()
    weights, matrices = [1 - bend.moving, bend.moving], [np.eye(3), matrix]
    for bone, sub_rotation in _sub_rotations(name, rotation).items():
        source = int(bend.sub_moves[bone])
        share = np.minimum(bend.sub_weights[bone], weights[source])
        weights[source] = weights[source] - share
        weights.append(share)
        matrices.append(sub_rotation.as_matrix())
    blend, rotations = np.stack(weights, 1), np.stack(matrices)
    shifts = bend.centre - rotations @ bend.centre
    linear = np.einsum("vb,bij,vj->vi", blend, rotations, bend.vertices, optimize=True) + blend @ shifts
    smooth = _dual_quaternion_skin(blend, rotations, shifts, bend.vertices)
    target = DUAL_QUATERNION_SHARE * smooth + (1 - DUAL_QUATERNION_SHARE) * linear
    return _undo_skinning(target, bend.vertices, bend.moving, matrix, bend.centre)


def _undo_skinning(
    target: np.ndarray, vertices: np.ndarray, moving: np.ndarray, matrix: np.ndarray, centre: np.ndarray
) -> Float[np.ndarray, "A 3"]:
    """x - vertices, where x is what a single moving joint would skin onto `target` (zero where that is ill-posed)."""
    blended = (1 - moving)[:, None, None] * np.eye(3) + moving[:, None, None] * matrix
    safe = np.abs(np.linalg.det(blended)) > 0.05
    blended[~safe] = np.eye(3)
    right = target - moving[:, None] * (centre - matrix @ centre)
    offset = np.linalg.solve(blended, right[..., None])[..., 0] - vertices
    offset[~safe] = 0
    length = np.linalg.norm(offset, axis=1, keepdims=True)
    return offset * np.minimum(1, LARGEST_OFFSET_M / np.maximum(length, 1e-9))


def _sub_rotations(name: str, rotation: Rotation) -> dict[str, Rotation]:
    """Rotation of the sub-bones that share a joint's rotation."""
    if name == "left_wrist":
        _, twist = swing_twist(rotation, np.array([1.0, 0.0, 0.0]))
        return {"lowerarm02.L": twist**0.65, "lowerarm01.L": twist**0.2}
    if name not in _TWISTS:
        return {}
    axis, shares = _TWISTS[name]
    swing, twist = swing_twist(rotation, np.array(axis))
    parts = {bone: swing * twist**share for bone, share in shares.items()}
    if name == "left_shoulder":
        parts["shoulder01.L"] = rotation**0.25
    return parts


def _dual_quaternion_skin(
    blend: np.ndarray, rotations: np.ndarray, shifts: np.ndarray, vertices: np.ndarray
) -> Float[np.ndarray, "A 3"]:
    """Dual-quaternion linear blending (Kavan et al. 2008, eq. 5-6 and algorithm 1)."""
    real = Rotation.from_matrix(rotations).as_quat(scalar_first=True)
    scalar, vector = real[:, :1], real[:, 1:]
    dual = 0.5 * np.concatenate(
        [-(shifts * vector).sum(1, keepdims=True), scalar * shifts + np.cross(shifts, vector)], axis=1
    )
    pivot = real[blend.argmax(1)]
    signed = blend * np.where((pivot @ real.T) < 0, -1.0, 1.0)
    real, dual = signed @ real, signed @ dual
    norm = np.linalg.norm(real, axis=1, keepdims=True)
    real, dual = real / norm, dual / norm
    scalar, vector, dual_scalar, dual_vector = real[:, :1], real[:, 1:], dual[:, :1], dual[:, 1:]
    turned = vertices + 2 * np.cross(vector, np.cross(vector, vertices) + scalar * vertices)
    return turned + 2 * (scalar * dual_vector - dual_scalar * vector + np.cross(vector, dual_vector))


def _add_jaw(source: MakeHumanSource, shape: ShapeSpace, skinning: Skinning, directions: np.ndarray) -> None:
    """Residual of "jawOpen" after skinning, attached to sin(angle) about x: entries (1,2) and (2,1) of R - I."""
    index, motion, hinge = joint("jaw"), source.action("jawOpen").astype(np.float64), skinning.jaw_open
    moving = skinning.weights[:, index].astype(np.float64)
    vertices = shape.template.astype(np.float64)
    residual = _undo_skinning(vertices + motion, vertices, moving, hinge, shape.joints[index])
    residual[skinning.tongue | (np.linalg.norm(motion, axis=1) < 1e-5)] = 0
    residual = 0.5 * (residual + residual[shape.mirror] * REFLECT)
    directions[:, :, index - 1, 5] -= residual / (2 * hinge[2, 1])
    directions[:, :, index - 1, 7] += residual / (2 * hinge[2, 1])


def _add_eyelids(source: MakeHumanSource, skinning: Skinning, directions: np.ndarray) -> None:
    """Lids and sockets follow the gaze: vertical motion on sin(angle about x), horizontal on sin(angle about y)."""
    for side, outward in (("Left", 1.0), ("Right", -1.0)):
        index = joint(f"{side.lower()}_eye") - 1
        down, up, out, inward = (
            np.where(skinning.eyeballs[:, None], 0, source.action(f"eyeLook{way}{side}"))
            for way in ("Down", "Up", "Out", "In")
        )
        vertical = 0.5 * (down - up) / np.sin(GAZE_RAD)
        horizontal = outward * 0.5 * (out - inward) / np.sin(GAZE_RAD)
        directions[:, :, index, 5] -= 0.5 * vertical
        directions[:, :, index, 7] += 0.5 * vertical
        directions[:, :, index, 2] += 0.5 * horizontal
        directions[:, :, index, 6] -= 0.5 * horizontal
