"""Residual feedback: what a regressor's current answer leaves unexplained.

The trunks, trained on real photographs, give 2D landmarks and 3D points of their own. A vector regressor that only sees
them as numbers is loose in the image; shown the *difference* between them and the projection of its own body, stage by
stage, it learns to close that difference. Goes beyond the paper; measured in docs/results.md.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as nnf

from openexpose.nets.body_layer import BodyLayer
from openexpose.nets.decode import decode, project_weak
from openexpose.predict.landmarks import CORRESPONDENCES, EDGES
from openexpose.predict.parts import PartSpec


class ResidualFeedback(nn.Module):
    """Landmarks minus own projection, and 3D directions minus own directions.

    Args:
        spec: the part.
        body: the body layer that turns parameters into points.
    """

    landmark: Tensor
    keypoint: Tensor
    edges: Tensor

    def __init__(self, spec: PartSpec, body: BodyLayer) -> None:
        super().__init__()
        self.spec, self.body = spec, body
        landmark, keypoint = CORRESPONDENCES[spec.name]
        edges = torch.tensor(EDGES[spec.name])
        self.register_buffer("landmark", torch.tensor(landmark), persistent=False)
        self.register_buffer("keypoint", torch.tensor(keypoint), persistent=False)
        self.register_buffer("edges", edges, persistent=False)
        self.size = 2 * len(landmark) + 3 * len(edges)

    def forward(
        self,
        vector: Float[Tensor, "n size"],
        landmarks: Float[Tensor, "n l 3"],
        visibility: Float[Tensor, "n l"],
        world: Float[Tensor, "n l 3"],
    ) -> Float[Tensor, "n feedback"]:
        """Residuals of the current parameters; 2D ones in crop units x 5, weighted by the landmark's visibility."""
        now = decode(vector, self.spec)
        points = self.body.keypoints(now.pose, now.betas, now.expression)
        points = points - points[:, self.spec.root_joint, None]
        mine = points[:, self.keypoint]
        seen = visibility[:, self.landmark, None]
        flat = ((landmarks[:, self.landmark, :2] - project_weak(mine, now.camera)) * seen).clamp(-1.0, 1.0) * 5.0
        theirs = world[:, self.landmark]
        deep = self._directions(theirs) - self._directions(mine)
        return torch.cat([flat.flatten(1), deep.flatten(1)], 1)

    def _directions(self, points: Float[Tensor, "n k 3"]) -> Float[Tensor, "n e 3"]:
        return nnf.normalize(points[:, self.edges[:, 1]] - points[:, self.edges[:, 0]], dim=-1, eps=1e-6)
