"""What a part network is compared with."""

from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class PartTarget:
    """Ground truth of a part in its crop's frame. Weights that are None are all ones."""

    pose: Float[Tensor, "n 55 3 3"]
    """Rotations, the part's absolute root rotation in slot 0."""
    betas: Float[Tensor, "n b"]
    expression: Float[Tensor, "n e"]
    points: Float[Tensor, "n k 3"]
    """The part's keypoints from its root joint, metres."""
    projected: Float[Tensor, "n k 2"]
    """The same in crop coordinates."""
    visible: Float[Tensor, "n k"]
    """1 seen, 0 hidden or outside the crop; between them the confidence of a 2D label."""
    camera: Float[Tensor, "n 3"]
    """Weak-perspective (s, tx, ty)."""
    pose_weight: Float[Tensor, "n 55"] | None = None
    """0 where a rotation is not known."""
    betas_weight: Float[Tensor, "n"] | None = None
    expression_weight: Float[Tensor, "n"] | None = None
    points_weight: Float[Tensor, "n k"] | None = None
    """0 where a 3D point is not known."""

    def __getitem__(self, rows: Tensor) -> "PartTarget":
        """The samples ``rows``."""
        chosen: dict[str, Any] = {n: None if value is None else value[rows] for n, value in vars(self).items()}
        return PartTarget(**chosen)
