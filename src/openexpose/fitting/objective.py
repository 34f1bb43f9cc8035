"""The objective of SMPLify-X (Pavlakos et al., CVPR 2019, eq. 1 to 5): its terms' weights, stage by stage.

The energy of a person is

    E = sum_i (a_i g_i c_i)^2 rho(u (x_i - x'_i)) + w_pose^2 |z|^2 + w_shape^2 |betas|^2 + w_expression^2 |psi|^2
        + w_hand^2 (|h_left|^2 + |h_right|^2) + |w_jaw jaw|^2 + 3.17 w_pose sum exp(bend) + w_collision E_collision
        + w_limits^2 |beyond|^2 + w_answer^2 |turns|^2 + w_answered^2 |betas - betas'|^2

with seen keypoints x_i of confidence c_i, projections x'_i of the body's, annealing weights a_i (g_i: 0 for hands and
face in early stages), rho(e) = p^2 |e|^2 / (p^2 + |e|^2), p = 100, and u = 1000 / (size of the person in pixels); the
paper takes the picture's height for that size, under which small people hardly count. z are standardised coordinates of
the pose prior, h of that of hands, bend the angles of elbows and knees against their hinges. Not in the paper: beyond,
how far the body's joints are beyond their limits, in tenths of a radian; and, where the fit began at a network's
answer, turns, the rotation vectors of the joints away from it, and betas', its shape.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from openexpose.body.keypoints import INDEX, PARTS

Array = np.ndarray

UNIT_PX = 1000.0
"""People are fitted as if they were so large in the picture."""
ROBUST_PX = 100.0
"""p: residuals beyond it count less and less (Geman and McClure)."""
BEND = 3.17
"""Weight of the exponentials of bent-back elbows and knees, over the pose prior's (which is squared)."""
LIMITS = 80.0
"""A joint a tenth of a radian beyond its limits costs the square of it, in every stage."""
NEAREST_M = 0.1
"""Nothing is nearer to the camera."""
ANSWER = 48.0
"""A joint turned by one radian away from the network's answer, where a fit began at one, costs the square of it."""
ANSWER_SHAPE = 20.0
"""A shape coefficient one away from the network's answer costs the square of it: keypoints hardly tell how tall people
are, and how far away."""
OVERLAP_M = 0.002
"""Capsules that overlap by so much cost the square of the stage's weight."""
_IGNORED = ("neck", "left_hip", "right_hip")


@dataclass(frozen=True)
class Weights:
    """Weights of the terms in one stage, not yet squared."""

    pose: float
    shape: float
    hand: float
    jaw: tuple[float, float, float]
    """About x, y and z."""
    hand_joints: float
    face_joints: float
    collision: float
    hips: float = 0.0
    """Of hips and neck, which lie elsewhere in detectors' skeletons than in the body model."""

    @property
    def detailed(self) -> bool:
        """Whether the pose prior has many modes: in the first stages it has one, lest a fit gets stuck."""
        return self.hand_joints > 0

    @property
    def expression(self) -> float:
        """As shape."""
        return self.shape


STAGES: tuple[Weights, ...] = (
    Weights(404.0, 100.0, 404.0, (4040.0, 40400.0, 40400.0), 0.0, 0.0, 0.0),
    Weights(404.0, 50.0, 404.0, (4040.0, 40400.0, 40400.0), 0.0, 0.0, 0.0),
    Weights(57.4, 10.0, 57.4, (574.0, 5740.0, 5740.0), 0.0, 0.0, 0.0),
    Weights(4.78, 5.0, 4.78, (47.8, 478.0, 478.0), 0.1, 0.0, 0.01),
    Weights(4.78, 5.0, 4.78, (47.8, 478.0, 478.0), 2.0, 2.0, 1.0),
)
"""The paper's."""

FINE = np.zeros((2, 144), bool)
FINE[0, [*PARTS["left_hand"][1:], *PARTS["right_hand"][1:]]] = True
FINE[1, PARTS["face"]] = True
"""Keypoints of fingers, and of the face's landmarks."""


def keypoint_weights(stage: Weights, confidence: Float[Array, "n 144"]) -> Float[Array, "n 144"]:
    """a_i g_i c_i of every keypoint."""
    weight = confidence.copy()
    weight[:, FINE[0]] *= stage.hand_joints
    weight[:, FINE[1]] *= stage.face_joints
    weight[:, [INDEX[name] for name in _IGNORED]] *= stage.hips
    return weight


@dataclass(frozen=True)
class Aim:
    """What the fits of n people aim at."""

    keypoints_px: Float[Array, "n 144 3"]
    """x, y and confidence."""
    focal_px: Float[Array, "n"]
    principal_px: Float[Array, "n 2"]
    size_px: Float[Array, "n"]
    """Longer side of what was seen of each."""
    answer: Float[Array, "n 55 3 3"] | None = None
    """The pose that a network answered, if the fit shall stay near it."""
    answer_betas: Float[Array, "n b"] | None = None
    """The shape that a network answered, likewise."""

    def __getitem__(self, rows: Array) -> "Aim":
        """What those of the people ``rows`` aim at."""
        chosen: dict[str, Any] = {name: None if value is None else value[rows] for name, value in vars(self).items()}
        return Aim(**chosen)

    def missed(self, points_m: Float[Array, "n k 3"], which: Int[Array, "k"]) -> Float[Array, "n k 2"]:
        """Projections minus what was seen, in thousandths of the person's size.

        Args:
            points_m: of keypoints, camera's frame.
            which: which keypoints these are.
        """
        plane = points_m[..., :2] / np.maximum(points_m[..., 2:], NEAREST_M)
        found = self.focal_px[:, None, None] * plane + self.principal_px[:, None]
        return (found - self.keypoints_px[:, which, :2]) * (UNIT_PX / self.size_px)[:, None, None]

    def slope(self, points_m: Float[Array, "n k 3"], moves: Float[Array, "n k 3 u"]) -> Float[Array, "n k 2 u"]:
        """Derivative of :meth:`missed` from those of the points."""
        depth = np.maximum(points_m[..., 2:], NEAREST_M)[..., None]
        plane = points_m[..., :2, None] / depth
        factor = (UNIT_PX * self.focal_px / self.size_px)[:, None, None, None]
        return factor * (moves[..., :2, :] - plane * moves[..., 2:, :]) / depth
