"""What poses are drawn from: the learned prior, hand poses, facial actions, and the body's measures."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from openexpose.synth.collision import Capsules, default_capsules
from openexpose.synth.prior import PosePrior

Array = np.ndarray


@dataclass(frozen=True)
class PoseSource:
    """What poses are drawn from.

    Attributes:
        prior: learned body-pose prior.
        hands: [n, 15, 3] right-hand poses about the flat hand, axis-angle.
        rest: [22, 3] rest positions of the body joints (metres).
        actions: [a, e] expression coefficients of facial actions at full strength, or None.
        action_names: [a] their names; what ends in Left has a twin that ends in Right.
        num_expression: e, where there are no actions.
        own_capsules: the body's capsules; None: those of the packaged free body.
    """

    prior: PosePrior
    hands: Float[Array, "n 15 3"]
    rest: Float[Array, "22 3"]
    actions: Float[Array, "a e"] | None = None
    action_names: tuple[str, ...] = ()
    num_expression: int = 20
    own_capsules: Capsules | None = None

    @property
    def capsules(self) -> Capsules:
        """Capsules of the mean shape."""
        return self.own_capsules or default_capsules()
