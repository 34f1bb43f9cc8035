"""Sampling of body poses, hand poses, faces and shapes, gathered. Axis-angle (radians) in the body-model frame."""

import numpy as np
from jaxtyping import Float

from openexpose.geometry.rotation import rotvec_to_matrix
from openexpose.synth.arms import ARMS
from openexpose.synth.body_pose import BodyPose, sample_body, sample_body_pose
from openexpose.synth.face_pose import Face, sample_expression, sample_face
from openexpose.synth.hand_pose import Hands, sample_hand_pose, sample_hands
from openexpose.synth.limits import mirror_hand
from openexpose.synth.pose_source import PoseSource
from openexpose.synth.shape import sample_betas
from openexpose.synth.stances import STANCES

Array = np.ndarray

__all__ = [
    "ARMS",
    "STANCES",
    "BodyPose",
    "Face",
    "Hands",
    "PoseSource",
    "full_pose",
    "sample_betas",
    "sample_body",
    "sample_body_pose",
    "sample_expression",
    "sample_face",
    "sample_hand_pose",
    "sample_hands",
]


def full_pose(
    body: Float[Array, "22 3"], right: Float[Array, "15 3"], left_as_right: Float[Array, "15 3"], face: Face
) -> Float[Array, "55 3 3"]:
    """All 55 joint rotations as matrices; the left hand is given as a right one and mirrored here."""
    parts = [body, face.jaw[None], face.eyes, mirror_hand(left_as_right), right]
    return rotvec_to_matrix(np.concatenate(parts))
