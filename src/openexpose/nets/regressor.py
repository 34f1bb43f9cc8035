"""The iterative regressor: one small network asked several times to correct its answer (paper, section 3.2)."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as nnf

from openexpose.nets.feedback import ResidualFeedback
from openexpose.nets.trunk import TrunkOutput

FACE_AXES = ((33, 133), (362, 263), (10, 151, 9), (152, 175, 199))
"""Landmarks of the face trunk whose means are the right and left eye, the forehead and the chin: they hold still while
the face moves."""
FACE_MESH = 468
"""The first of the face trunk's landmarks; the irises follow."""


def canonical(
    landmarks: Float[Tensor, "n l 3"], axes: tuple[tuple[int, ...], ...] = FACE_AXES
) -> Float[Tensor, "n c 3"]:
    """Face landmarks in a frame of their own: about their middle, as large as their mean distance from it, x from the
    right to the left eye, y from forehead to chin. What the face does is linear in them, however the head is turned.

    Args:
        landmarks: of the face trunk; without irises afterwards.
        axes: landmarks whose means are right, left, top and bottom.
    """
    right, left, top, bottom = (landmarks[:, list(chosen)].mean(1) for chosen in axes)
    x = nnf.normalize(left - right, dim=-1, eps=1e-6)
    down = bottom - top
    y = nnf.normalize(down - (x * down).sum(-1, keepdim=True) * x, dim=-1, eps=1e-6)
    frame = torch.stack([x, y, torch.linalg.cross(x, y)], 2)
    mesh = landmarks[:, :FACE_MESH]
    turned = (mesh - mesh.mean(1, keepdim=True)) @ frame
    return turned / turned.norm(dim=-1).mean(1).clamp_min(1e-6)[:, None, None]


class Evidence(nn.Module):
    """What the regressor reads of a trunk: feature vector, landmarks and world points, standardised and clipped.

    Args:
        mean, std: statistics [evidence] of the training set.
        canonical: also the landmarks in the face's own frame (:func:`canonical`).
        dropout: probability of dropping an input while training.
        limit: standardised numbers are clipped to +- this.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        mean: Float[Tensor, "evidence"],
        std: Float[Tensor, "evidence"],
        dropout: float = 0.05,
        limit: float = 6.0,
        canonical: bool = False,
    ) -> None:
        super().__init__()
        self.limit, self.canonical = limit, canonical
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self.dropout = nn.Dropout(dropout)

    @staticmethod
    def raw(seen: TrunkOutput, with_canonical: bool = False) -> Float[Tensor, "n evidence"]:
        """The numbers before standardisation, one row a crop."""
        parts = [seen.feature, seen.landmarks.flatten(1), seen.visibility]
        parts += [] if seen.world is None else [seen.world.flatten(1)]
        return torch.cat(parts + ([canonical(seen.landmarks).flatten(1)] if with_canonical else []), 1)

    def forward(self, seen: TrunkOutput) -> Float[Tensor, "n evidence"]:
        """Standardised evidence, clipped."""
        standard = (self.raw(seen, self.canonical) - self.mean) / self.std
        return self.dropout(standard if math.isinf(self.limit) else standard.clamp(-self.limit, self.limit))


@dataclass(frozen=True)
class Width:
    """The two hidden layers of a regressor."""

    hidden: int = 512
    norm: bool = True
    """Layer normalisation before the activation."""
    relu: bool = True
    """ReLU; else no activation at all, as in the released body network."""
    dropout: float = 0.1

    def layers(self) -> list[nn.Module]:
        """What follows a linear layer."""
        norm = nn.LayerNorm(self.hidden) if self.norm else nn.Identity()
        return [norm, nn.ReLU() if self.relu else nn.Identity(), nn.Dropout(self.dropout)]


class IterativeRegressor(nn.Module):
    """p_{k+1} = p_k + MLP(evidence, p_k, feedback(p_k)), from a start vector, the same weights at every stage.

    Args:
        evidence: module that reads the trunk.
        mean: mean parameter vector [size]: the start where none is given.
        feedback: residual feedback, or None for the paper's plain regressor.
        width: the two hidden layers.
        stages: number of corrections (the paper: 3).
    """

    mean: Tensor

    def __init__(
        self,
        evidence: Evidence,
        mean: Float[Tensor, "size"],
        feedback: ResidualFeedback | None,
        width: Width | None = None,
        stages: int = 3,
    ) -> None:
        super().__init__()
        self.evidence, self.feedback, self.stages = evidence, feedback, stages
        self.register_buffer("mean", mean)
        width = width or Width()
        hidden = width.hidden
        self.read = nn.Linear(len(evidence.mean), hidden)
        self.state = nn.Linear(len(mean) + (feedback.size if feedback else 0), hidden, bias=False)
        self.mlp = nn.Sequential(*width.layers(), nn.Linear(hidden, hidden), *width.layers())
        self.output_layer = nn.Linear(hidden, len(mean))
        nn.init.xavier_uniform_(self.output_layer.weight, gain=0.01)
        nn.init.zeros_(self.output_layer.bias)

    def forward(self, seen: TrunkOutput, start: Float[Tensor, "n size"] | None = None) -> list[Float[Tensor, "n size"]]:
        """Parameter vectors after each stage. ``start`` conditions the regressor, as the body does hands and face."""
        read = self.read(self.evidence(seen))
        vector = self.mean.expand(read.shape[0], -1) if start is None else start
        world = seen.landmarks if seen.world is None else seen.world
        answers = []
        for _ in range(self.stages):
            state = vector
            if self.feedback is not None:
                residual = self.feedback(vector, seen.landmarks, seen.visibility, world)
                state = torch.cat([vector, residual], 1)
            vector = vector + self.output_layer(self.mlp(read + self.state(state)))
            answers.append(vector)
        return answers
