"""A part network: trunk + iterative regressor. The body, hand and face networks are three of these."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
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
        self.precision: torch.dtype | None = None

    def forward(
        self, image: Float[Tensor, "n 3 s s"], start: Float[Tensor, "n size"] | None = None
    ) -> tuple[TrunkOutput, list[Float[Tensor, "n size"]]]:
        """What the trunk saw, and the parameter vectors of all stages (the last one is the answer)."""
        seen = self.see(image)
        return seen, self.regressor(seen, start)

    def see(self, image: Float[Tensor, "n 3 s s"]) -> TrunkOutput:
        """Run the trunk, in the type that :func:`trunks_only` chose; its outputs are float32 in any case."""
        if self.precision is None:
            return self.trunk(image)
        with torch.autocast(image.device.type, self.precision):
            seen = vars(self.trunk(image))
        full: dict[str, Any] = {name: None if value is None else value.float() for name, value in seen.items()}
        return TrunkOutput(**full)


@contextmanager
def trunks_only(parts: Iterable[PartNet], device: torch.device) -> Iterator[None]:
    """Inside torch's autocast: let it govern the trunks only.

    Regressors, body models and cameras compute in float32: crops and projections need it.
    """
    if not torch.is_autocast_enabled(device.type):
        yield
        return
    chosen = list(parts)
    for part in chosen:
        part.precision = torch.get_autocast_dtype(device.type)
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        for part in chosen:
            part.precision = None
