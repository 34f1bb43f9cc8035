"""Energies of the numpy priors for the fit in torch: the same numbers, with gradients."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from openexpose.geometry.rotation import cross_matrix

Residuals = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Poses [n, 21, 3, 3] to residuals [n, r] and their derivative [n, r, 63] by small turns R exp(w)."""


def energy(residuals: Residuals, pose: Float[Tensor, "n 21 3 3"]) -> Float[Tensor, "n"]:
    """0.5 |r|^2 of each pose, differentiable once.

    Args:
        residuals: :meth:`openexpose.fitting.prior.PosePrior.residuals`, or those of the joint limits.
        pose: rotation matrices. The gradient is the one along the rotations: right for whatever parameters ``pose``
            was computed from, as long as it stays rotations; what leads off them is not charged.
    """
    return _Energy.apply(residuals, pose)


class _Energy(torch.autograd.Function):
    """The gradient G by a rotation R is R [g]x / 2 with g that by small turns w: <G, R [w]x> = g.w."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, residuals: Residuals, pose: Tensor) -> Tensor:
        """Residuals in numpy; keeps the gradient."""
        matrices = pose.detach().cpu().double().numpy()
        errors, slopes = residuals(matrices)
        turns = np.einsum("nr,nrk->nk", errors, slopes).reshape(*matrices.shape[:2], 3)
        ctx.save_for_backward(torch.as_tensor(matrices @ cross_matrix(turns) / 2).to(pose))
        return torch.as_tensor(0.5 * (errors**2).sum(-1)).to(pose)

    @staticmethod
    def backward(ctx: torch.autograd.function.BackwardCFunction, *upstream: Tensor) -> tuple[None, Tensor]:
        """The kept gradient, scaled."""
        (gradient,) = ctx.saved_tensors
        return None, upstream[0][:, None, None, None] * gradient
