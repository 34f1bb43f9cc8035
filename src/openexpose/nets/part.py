"""A part network: trunk + iterative regressor. The body, hand and face networks are three of these."""

from jaxtyping import Float
from torch import Tensor, nn

from openexpose.nets.regressor import IterativeRegressor
from openexpose.nets.trunk import TrunkOutput
from openexpose.predict.parts import PartSpec


class PartNet(nn.Module):
    """image crop -> trunk -> (feature, landmarks) -> iterative regressor -> parameter vector.

    Args:
        spec: which joints and coefficients the vector holds.
        trunk: module from image [n, 3, s, s] to :class:`TrunkOutput`.
        regressor: module from TrunkOutput and start vector to the answers of all stages.
    """

    def __init__(self, spec: PartSpec, trunk: nn.Module, regressor: IterativeRegressor) -> None:
        super().__init__()
        self.spec, self.trunk, self.regressor = spec, trunk, regressor

    def forward(
        self, image: Float[Tensor, "n 3 s s"], start: Float[Tensor, "n size"] | None = None
    ) -> tuple[TrunkOutput, list[Float[Tensor, "n size"]]]:
        """What the trunk saw, and the parameter vectors of all stages (the last one is the answer)."""
        seen = self.trunk(image)
        return seen, self.regressor(seen, start)
