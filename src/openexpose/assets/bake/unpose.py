"""From MakeHuman's bind pose (arms half lowered, limbs and fingers slightly bent) to the zero pose of the free body.

The zero pose is defined by anatomy and by MakeHuman's own bone heads, nothing else:

* arm: upper arm and forearm along +-x, the elbow's hinge axis vertical (the forearm swings forward), palm facing
  down;
* shoulder girdle: of the arm's elevation, one third comes from the girdle (scapulo-humeral rhythm 2:1), half of
  that in the clavicle and half in MakeHuman's `shoulder01`;
* forearm twist (pronation) spread along `lowerarm01`/`lowerarm02`, upper-arm twist along `upperarm01`/`upperarm02`;
* fingers: three phalanges in one line, in the palm plane, each finger in its own natural direction (knuckle to tip,
  projected into the palm plane, mean over people);
* thumb: metacarpal and phalanges in one line, in the palm plane, abducted 45 deg from the middle finger;
* legs: the mechanical axis (hip centre to ankle) vertical seen from the front; the knee keeps MakeHuman's slight
  bend;
* trunk, neck, head, feet, face: as MakeHuman binds them (upright)."""

import numpy as np
from jaxtyping import Float

from .rotations import axis_rotation, exp_rotation, log_rotation, rotation_aligning, shortest_rotation, unit
from .source import MakeHumanSource

THUMB_ABDUCTION_RAD = np.deg2rad(45.0)
GIRDLE_SHARE = 1.0 / 3.0
_UP = np.array([0.0, 1.0, 0.0])
_FORWARD = np.array([0.0, 0.0, 1.0])


def zero_pose(
    source: MakeHumanSource, coefficients: Float[np.ndarray, "N K"]
) -> tuple[Float[np.ndarray, "N V 3"], Float[np.ndarray, "N B 3"]]:
    """Vertices and bone heads (metres) of people given by blend-shape coefficients, moved to the zero pose."""
    vertices, heads, tails = (
        (base.reshape(1, -1) + coefficients @ shapes.reshape(len(shapes), -1)).reshape(len(coefficients), -1, 3)
        for base, shapes in (
            (source.template, source.blendshapes),
            (source.heads, source.head_blendshapes),
            (source.tails, source.tail_blendshapes),
        )
    )
    rotations = _bone_rotations(source, heads, tails)
    return _skin(source, vertices, heads, rotations)


def _bone_rotations(source: MakeHumanSource, heads: np.ndarray, tails: np.ndarray) -> Float[np.ndarray, "N B 3 3"]:
    """World rotation of every bone about its head."""
    rotations = np.tile(np.eye(3), (*heads.shape[:2], 1, 1))
    for letter in ("L", "R"):
        side = _Side(source, heads, tails, rotations, letter)
        side.straighten_arm()
        side.straighten_fingers()
        side.straighten_leg()
    return rotations


class _Side:
    """One half of the body; `sign` is +1 on the subject's left (x > 0).  Writes into `rotations`."""

    def __init__(
        self, source: MakeHumanSource, heads: np.ndarray, tails: np.ndarray, rotations: np.ndarray, letter: str
    ) -> None:
        self.source, self.heads, self.tails, self.rotations = source, heads, tails, rotations
        self.sign, self.letter = (1.0 if letter == "L" else -1.0), letter
        self.out = np.array([self.sign, 0.0, 0.0])

    def head(self, bone: str) -> np.ndarray:
        """Heads [N, 3] (metres) of a bone of this side."""
        return self.heads[:, self.source.bone(f"{bone}.{self.letter}")]

    def tail(self, bone: str) -> np.ndarray:
        """Tails [N, 3] (metres) of a bone of this side."""
        return self.tails[:, self.source.bone(f"{bone}.{self.letter}")]

    def turn(self, rotation: np.ndarray, *bones: str) -> None:
        """Set the world rotation ([N, 3, 3] or [3, 3]) of bones of this side."""
        for bone in bones:
            self.rotations[:, self.source.bone(f"{bone}.{self.letter}")] = rotation

    def rotation(self, bone: str) -> np.ndarray:
        """World rotation [N, 3, 3] that a bone of this side has so far."""
        return self.rotations[:, self.source.bone(f"{bone}.{self.letter}")]

    def straighten_arm(self) -> None:
        """Level the arm, share its elevation with the girdle, and spread its twist; the palm faces down."""
        upper = self.head("lowerarm01") - self.head("upperarm01")
        lower = self.head("wrist") - self.head("lowerarm01")
        elevation = np.arccos(np.clip(unit(upper) @ self.out, -1, 1))
        girdle = GIRDLE_SHARE * elevation * self.sign
        self.turn(axis_rotation(_FORWARD, 0.5 * girdle), "clavicle")
        self.turn(axis_rotation(_FORWARD, girdle), "shoulder01")

        hinge = np.cross(upper, lower) * self.sign
        turn_upper = rotation_aligning(upper, hinge, self.out, -_UP)
        turn_lower = rotation_aligning(lower, hinge, self.out, -_UP)
        swing = shortest_rotation(upper, self.out)
        twist = log_rotation(turn_upper @ np.swapaxes(swing, -1, -2))
        self.turn(exp_rotation(0.5 * twist) @ swing, "upperarm01")
        self.turn(turn_upper, "upperarm02")

        along = self.head("finger3-1") - self.head("wrist")
        across = self.head("finger5-1") - self.head("finger2-1")
        turn_hand = rotation_aligning(along, across, self.out, -_FORWARD)
        pronation = log_rotation(turn_hand @ np.swapaxes(turn_lower, -1, -2)) * np.abs(self.out)
        self.turn(exp_rotation(0.25 * pronation) @ turn_lower, "lowerarm01")
        self.turn(exp_rotation(0.75 * pronation) @ turn_lower, "lowerarm02")
        self.turn(turn_hand, "wrist", *(f"metacarpal{k}" for k in (1, 2, 3, 4)))

    def straighten_fingers(self) -> None:
        """Straighten fingers and thumb in the palm plane; the hand must have been turned before."""
        turn_hand = self.rotation("wrist")
        thumb = np.cos(THUMB_ABDUCTION_RAD) * self.out + np.sin(THUMB_ABDUCTION_RAD) * _FORWARD
        for finger in (1, 2, 3, 4, 5):
            bones = [f"finger{finger}-{k}" for k in (1, 2, 3)]
            ends = [self.head(bones[1]), self.head(bones[2]), self.tail(bones[2])]
            links = [
                np.einsum("nij,nj->ni", turn_hand, end - self.head(bone)) for end, bone in zip(ends, bones, strict=True)
            ]
            target = thumb if finger == 1 else unit((sum(links) * (1 - _UP)).mean(0))
            for bone, link in zip(bones, links, strict=True):
                self.turn(shortest_rotation(link, target) @ turn_hand, bone)

    def straighten_leg(self) -> None:
        """Turn the leg in the frontal plane until the ankle is below the hip."""
        axis = self.head("foot") - self.head("upperleg01")
        angle = -np.arctan2(axis[:, 0], -axis[:, 1])
        turn = axis_rotation(_FORWARD, angle)
        # the turn fades in over the hip's bones, so that no skin takes it all at once
        self.turn(axis_rotation(_FORWARD, 0.2 * angle), "pelvis")
        self.turn(axis_rotation(_FORWARD, 0.7 * angle), "upperleg01")
        self.turn(turn, "upperleg02", "lowerleg01", "lowerleg02")


def _skin(
    source: MakeHumanSource, vertices: np.ndarray, heads: np.ndarray, rotations: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Linear blend skinning with all of MakeHuman's bones, given world rotations about the bone heads."""
    posed = np.zeros_like(heads)
    for bone, parent in enumerate(source.bone_parents):
        if parent < 0:
            posed[:, bone] = heads[:, bone]
        else:
            offset = heads[:, bone] - heads[:, parent]
            posed[:, bone] = np.einsum("nij,nj->ni", rotations[:, parent], offset) + posed[:, parent]
    shifts = posed - np.einsum("nbij,nbj->nbi", rotations, heads)
    transforms = np.concatenate([rotations, shifts[..., None]], axis=-1).astype(np.float32)
    skinned = np.empty_like(vertices)
    for person, transform in enumerate(transforms):
        blended = (source.bone_weights @ transform.reshape(len(transform), 12)).reshape(-1, 3, 4)
        skinned[person] = np.einsum("vij,vj->vi", blended[:, :, :3], vertices[person]) + blended[:, :, 3]
    return skinned, posed
