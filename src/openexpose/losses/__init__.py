"""Losses of the part networks (paper, eq. 6 and following): of the default recipe, and of the paper's."""

from openexpose.losses.crops import crop_to_crop, iou_boxes
from openexpose.losses.default import (
    LossWeights,
    SkinMotion,
    coefficient_loss,
    part_loss,
    rotation_loss,
    skin_factor,
    weighted_l1,
)
from openexpose.losses.paper import (
    MIN_BOX_OVERLAP,
    PAPER_WEIGHTS,
    PaperWeights,
    keypoint_groups,
    paper_terms,
    part_crop_terms,
)
from openexpose.losses.target import PartTarget
from openexpose.losses.terms import (
    Term,
    geodesic,
    l1_2d,
    l1_3d_hip_centred,
    l1_3d_root,
    l2,
    rotation_l2,
    threshold_prior,
)

__all__ = [
    "MIN_BOX_OVERLAP",
    "PAPER_WEIGHTS",
    "LossWeights",
    "PaperWeights",
    "PartTarget",
    "SkinMotion",
    "Term",
    "coefficient_loss",
    "crop_to_crop",
    "geodesic",
    "iou_boxes",
    "keypoint_groups",
    "l1_2d",
    "l1_3d_hip_centred",
    "l1_3d_root",
    "l2",
    "paper_terms",
    "part_crop_terms",
    "part_loss",
    "rotation_l2",
    "rotation_loss",
    "skin_factor",
    "threshold_prior",
    "weighted_l1",
]
